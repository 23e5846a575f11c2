"""Where receipts are: by the id of their transaction, and by the nonce that they used.

The keys of both indexes are random, so that each receipt would dirty a page of either table: as much to write as all
that a block itself adds. So the newest receipts are indexed in memory, and go to the tables by the thousand, in one
pass over their pages, with the block that fills the memory. Nothing hangs on them being durable: they follow from the
stored receipts, from which they are made again when the ledger is opened.
"""

from collections.abc import Callable, Sequence
from typing import Final

from ledger.hashing import HASH_BYTES
from ledger.store import Operation, Put, PutMany, Store
from ledger.transaction import Receipt

META_TABLE: Final = "meta"
RECEIPTS_TABLE: Final = "receipts"  # height, index -> receipt
BY_ID_TABLE: Final = "receipts_by_id"  # tx id -> height, index: the newest receipt of it
BY_NONCE_TABLE: Final = "receipts_by_nonce"  # client, nonce -> height, index: the one receipt that used the nonce
INDEXED_KEY: Final = b"indexed"  # in META_TABLE -> height up to which the tables hold everything

PENDING_MAX: Final = 2_048
"""Receipts that the tables lack at most: under 1 MB, and 10 ms when a ledger is opened. In a long chain each of them
is in a page of its own in either table, and LMDB never gives back the memory of what one write changed: 16 MB."""

SCHEDULED_SENDER: Final = bytes(HASH_BYTES)
"""The sender in the receipt of a scheduled call: nobody, so that it uses nobody's nonce."""


class ReceiptIndex:
    """The index of one ledger. Mutable: `adopt` follows each block that is stored."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_id: dict[bytes, bytes] = {}
        self._by_nonce: dict[bytes, bytes] = {}

    def load(self, head: int, read: Callable[[bytes], Receipt]) -> None:
        """Indexes what the tables lack, of blocks up to the head. `read` parses a stored receipt, or raises."""
        stored = self._store.get(META_TABLE, INDEXED_KEY)
        first = 0 if stored is None else int.from_bytes(stored, "big") + 1
        for place, data in self._store.scan(RECEIPTS_TABLE, start=height_key(first)):
            if place[:8] > height_key(head):
                break
            self._add(place, read(data))

    def _add(self, place: bytes, receipt: Receipt) -> None:
        self._by_id[receipt.tx_id] = place
        if receipt.status != "refused" and receipt.sender != SCHEDULED_SENDER:
            self._by_nonce[nonce_place(receipt.sender, receipt.nonce)] = place

    # --- reads: a place (`place_key`), which may be above the head while a snapshot arrives ---

    def find(self, tx_ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """The places of the newest receipts of these transactions, of those that have one."""
        places = self._store.get_many(BY_ID_TABLE, tx_ids)
        for tx_id in tx_ids:
            if tx_id in self._by_id:
                places[tx_id] = max(self._by_id[tx_id], places.get(tx_id, b""))
        return places

    def find_used(self, client: bytes, nonce: int) -> bytes | None:
        """The place of the receipt that used this nonce."""
        key = nonce_place(client, nonce)
        return self._by_nonce.get(key) or self._store.get(BY_NONCE_TABLE, key)

    # --- changes ---

    def compute_operations(self, height: int, receipts: Sequence[Receipt]) -> list[Operation]:
        """What is to be stored with a block: nothing while there is room in memory, else everything."""
        if len(self._by_id) + len(receipts) <= PENDING_MAX:
            return []
        whole = ReceiptIndex(self._store)
        whole._by_id, whole._by_nonce = dict(self._by_id), dict(self._by_nonce)
        whole.adopt(height, receipts, [])
        return whole.compute_settlement(height)

    def adopt(self, height: int, receipts: Sequence[Receipt], stored: Sequence[Operation]) -> None:
        """The block is stored, with these operations."""
        if stored:
            self.clear()
            return
        for index, receipt in enumerate(receipts):
            self._add(place_key(height, index), receipt)

    def compute_settlement(self, head: int) -> list[Operation]:
        """What puts everything into the tables; a newer receipt of a transaction, which came with a snapshot, stays."""
        return [
            PutMany(BY_ID_TABLE, list(self.find(sorted(self._by_id)).items())),
            PutMany(BY_NONCE_TABLE, list(self._by_nonce.items())),
            Put(META_TABLE, INDEXED_KEY, height_key(head)),
        ]

    def clear(self) -> None:
        """The tables hold everything."""
        self._by_id, self._by_nonce = {}, {}


def nonce_place(client: bytes, nonce: int) -> bytes:
    """The key under which the receipt that used a nonce is found."""
    return client + nonce.to_bytes(8, "big")


def height_key(height: int) -> bytes:
    """The key of a height or an epoch: order of keys = order of numbers."""
    return height.to_bytes(8, "big")


def place_key(height: int, index: int) -> bytes:
    """The key of a receipt: height, then index in its block."""
    return height.to_bytes(8, "big") + index.to_bytes(4, "big")
