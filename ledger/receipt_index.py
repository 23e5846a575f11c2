"""Where receipts are: by the id of their transaction, and by the nonce that they used.

Both are one index: its keys are fingerprints, of an id or of a client with a nonce. The newest receipts are indexed in
memory, and go to the table as a sorted run (`ledger.receipt_runs`) with the block that fills the memory. Nothing hangs
on them being durable: they follow from the stored receipts, from which they are indexed again when it is opened.

Nobody asks the table for a receipt that is not there while requests are ordered: whether a nonce is used is in the
state, and the outcome of what was handed in a moment ago is in memory (`find_recent`). So a look into the table may
cost some twenty rows.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.encoding import decode, encode
from ledger.errors import EncodingError, InvariantViolation
from ledger.hashing import HASH_BYTES
from ledger.receipt_runs import KEY_BYTES, Directory, Merges, compute_run, find_value, parse_directory
from ledger.shapes import expect_array, expect_int
from ledger.store import Operation, Put, ReadView, Store
from ledger.transaction import Receipt

META_TABLE: Final = "meta"
RECEIPTS_TABLE: Final = "receipts"  # height, index -> receipt
INDEXED_KEY: Final = b"indexed"  # in META_TABLE -> [height up to which the runs hold everything, their directory]

PENDING_MAX: Final = 4_096
"""Entries that the runs lack at most, two for most receipts; and besides them as many are kept that the newest run has.
2 MB together, and 10 ms when a ledger is opened. More of them would make fewer, larger runs."""

SCHEDULED_SENDER: Final = bytes(HASH_BYTES)
"""The sender in the receipt of a scheduled call: nobody, so that it uses nobody's nonce."""

_HEIGHT_MAX: Final = 2**63 - 1

PlacedReceipt = tuple[bytes, Receipt]
"""(place, receipt): see `place_key`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStep:
    """What receipts add to the index, and what is written with them."""

    operations: list[Operation]
    added: dict[bytes, bytes]  # fingerprint -> place
    directory: Directory
    indexed: int  # the height up to which its runs hold everything
    height: int
    is_run: bool  # whether what was in memory is in a run now, with what was added


class ReceiptIndex:
    """The index of one ledger. Mutable: `adopt` follows each step that is stored."""

    def __init__(self) -> None:
        self._directory = Directory()
        self._indexed = -1  # the height up to which its runs hold everything
        self._height = -1  # up to which these and memory do
        self._young: dict[bytes, bytes] = {}  # what the runs lack: fingerprint -> place
        self._old: dict[bytes, bytes] = {}  # what the newest run has
        self._merges = Merges()

    def load(self, store: Store, head: int, read: Callable[[bytes], Receipt]) -> None:
        """Indexes what the runs lack, of blocks up to the head. `read` parses a stored receipt, or raises.

        Raises InvariantViolation (damaged).
        """
        stored = store.get(META_TABLE, INDEXED_KEY)
        if stored is not None:
            self._indexed, self._directory = _parse_record(stored)
        self._height = head
        for place, data in store.scan(RECEIPTS_TABLE, start=height_key(self._indexed + 1)):
            if place[:8] > height_key(head):
                break
            _add(self._young, _entries([(place, read(data))]))

    def copy(self) -> "ReceiptIndex":
        """The index as it is now, to be read with a view of the same moment."""
        twin = ReceiptIndex()
        twin._directory, twin._indexed, twin._height = self._directory, self._indexed, self._height
        twin._young, twin._old = dict(self._young), dict(self._old)
        return twin

    # --- reads: a place (`place_key`), which may be above the head while a snapshot arrives ---

    def find_recent(self, tx_id: bytes) -> bytes | None:
        """The place of the newest receipt of a transaction, if that is among the newest of all."""
        key = hash_id(tx_id)
        return self._young.get(key) or self._old.get(key)

    def find(self, view: ReadView, tx_id: bytes) -> bytes | None:
        """The place of the newest receipt of a transaction."""
        key = hash_id(tx_id)
        return max(self._young.get(key, b""), find_value(view, self._directory, key) or b"") or None

    def find_used(self, view: ReadView, client: bytes, nonce: int) -> bytes | None:
        """The place of the receipt that used this nonce: there is one at most."""
        key = hash_nonce(client, nonce)
        return self._young.get(key) or self._old.get(key) or find_value(view, self._directory, key)

    # --- changes ---

    def compute_block(self, view: ReadView, height: int, receipts: Sequence[Receipt]) -> IndexStep:
        """What a block adds, the next one, and what is to be stored with it."""
        placed = [(place_key(height, index), receipt) for index, receipt in enumerate(receipts)]
        return self._compute_step(view, height, _entries(placed), is_run=False)

    def compute_answers(self, view: ReadView, placed: Sequence[PlacedReceipt]) -> IndexStep:
        """What receipts add that came with a snapshot, and what is to be stored with them."""
        return self._compute_step(view, self._height, _entries(placed), is_run=False)

    def compute_settlement(self, view: ReadView, head: int) -> IndexStep:
        """What leaves nothing in memory, and lets a start read no receipt up to the head."""
        return self._compute_step(view, head, {}, is_run=True)

    def _compute_step(self, view: ReadView, height: int, added: dict[bytes, bytes], *, is_run: bool) -> IndexStep:
        operations, directory = self._merges.compute_steps(view, self._directory, len(added))
        is_run = is_run or len(self._young) + len(added) > PENDING_MAX
        if is_run:
            everything = dict(self._young)
            _add(everything, added)
            run, directory = compute_run(directory, everything)
            operations += run
        indexed = height if is_run else self._indexed
        if (indexed, directory) != (self._indexed, self._directory):
            operations.append(Put(META_TABLE, INDEXED_KEY, encode((indexed, directory.to_value()))))
        return IndexStep(
            operations=operations, added=added, directory=directory, indexed=indexed, height=height, is_run=is_run
        )

    def adopt(self, step: IndexStep) -> None:
        """The step's operations are stored."""
        _add(self._young, step.added)
        if step.is_run:
            self._young, self._old = {}, self._young
        self._directory, self._indexed, self._height = step.directory, step.indexed, step.height


def _entries(placed: Iterable[PlacedReceipt]) -> dict[bytes, bytes]:
    """Fingerprint -> place of these receipts, in the order of their places."""
    entries: dict[bytes, bytes] = {}
    for place, receipt in placed:
        entries[hash_id(receipt.tx_id)] = place
        if receipt.status != "refused" and receipt.sender != SCHEDULED_SENDER:
            entries[hash_nonce(receipt.sender, receipt.nonce)] = place
    return entries


def _add(entries: dict[bytes, bytes], added: dict[bytes, bytes]) -> None:
    """Adds entries; of two places, the greater one stays."""
    for key, place in added.items():
        if place > entries.get(key, b""):
            entries[key] = place


def _parse_record(data: bytes) -> tuple[int, Directory]:
    try:
        height, directory = expect_array(decode(data), "index", 2)
        return expect_int(height, "height", -1, _HEIGHT_MAX), parse_directory(directory)
    except EncodingError as error:
        raise InvariantViolation("damaged", f"a record of the table {META_TABLE}: {error}") from None


def hash_id(tx_id: bytes) -> bytes:
    """The fingerprint of a transaction's id, which is a hash: 16 bytes of it are as good, nobody finds two alike."""
    return tx_id[:KEY_BYTES]


def hash_nonce(client: bytes, nonce: int) -> bytes:
    """The fingerprint of what used a nonce."""
    return hashlib.sha256(client + nonce.to_bytes(8, "big")).digest()[:KEY_BYTES]


def height_key(height: int) -> bytes:
    """The key of a height or an epoch: order of keys = order of numbers."""
    return height.to_bytes(8, "big")


def place_key(height: int, index: int) -> bytes:
    """The key of a receipt: height, then index in its block."""
    return height.to_bytes(8, "big") + index.to_bytes(4, "big")
