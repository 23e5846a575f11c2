"""The archive: what a ledger store holds, where, and how it is read. It never changes anything.

Every block is kept whole: header, batch with its time, receipts in order; `ledger.receipt_index` leads to receipts.
`ledger.chain` extends it by execution and writes through the operations below, so the layout is known to this module
alone. What does not read back as it was written is damage of the disk, never somebody's input: InvariantViolation
(damaged), and the replica stops.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from ledger.admission import NonceWindow, nonce_key, parse_nonce_key, parse_nonce_window
from ledger.block import (
    RECEIPT_GROUP,
    RECEIPTS_MAX,
    TIME_MAX_MS,
    Block,
    Header,
    ReceiptPath,
    compute_receipt_path,
    parse_header,
)
from ledger.encoding import decode, encode
from ledger.epochs import EpochLink, parse_link
from ledger.errors import InvalidBlock, InvariantViolation, LedgerError
from ledger.hashing import HASH_BYTES, Tag, tagged_hash
from ledger.late_values import LateValues
from ledger.quorum_certificate import QuorumCertificate, parse_certificate
from ledger.receipt_index import META_TABLE, RECEIPTS_TABLE, ReceiptIndex, height_key, place_key
from ledger.receipt_runs import RUNS_TABLE
from ledger.shapes import expect_array, expect_bytes, expect_int
from ledger.store import Operation, Put, PutMany, ReadView, Store
from ledger.transaction import parse_receipt
from ledger.world_state import STATE_TABLES, load_values

HEADERS_TABLE: Final = "headers"  # height -> header
BATCHES_TABLE: Final = "batches"  # height -> [batch time or nil, [raw transactions]]
CERTIFICATES_TABLE: Final = "certificates"  # height -> quorum certificate
EPOCHS_TABLE: Final = "epochs"  # epoch -> the link that ends it: certified header and the next configuration
PAYLOADS_TABLE: Final = "payloads"  # tx id -> private payload, sealed under the key of its period (D50)
RECEIPT_GROUPS_TABLE: Final = "receipt_groups"  # height -> [count, [root of each RECEIPT_GROUP receipts]], if several
RECEIPT_PATHS_TABLE: Final = "receipt_paths"  # height, index -> [count, [siblings]]: receipts whose block is not here
LEDGER_TABLES: Final = (
    META_TABLE,
    HEADERS_TABLE,
    BATCHES_TABLE,
    RECEIPTS_TABLE,
    RUNS_TABLE,
    CERTIFICATES_TABLE,
    EPOCHS_TABLE,
    PAYLOADS_TABLE,
    RECEIPT_GROUPS_TABLE,
    RECEIPT_PATHS_TABLE,
    *STATE_TABLES,
)
"""The tables with which a ledger store is opened."""

NETWORK_KEY: Final = b"network"  # in META_TABLE -> id
HEAD_KEY: Final = b"head"  # -> height
GAPS_KEY: Final = b"gaps"  # -> [[first, last] height without a body, ...]

HEIGHT_MAX: Final = 2**63 - 1

Record = TypeVar("Record")
StoredBatch = tuple[int | None, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReceipt:
    """A receipt and where it stands."""

    height: int
    index: int  # among the block's receipts
    receipt: bytes  # canonical bytes; parse_receipt reads them
    header_hash: bytes


class Archive:
    """Reads of a ledger store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._head: Header | None = None  # of the last executed block; None before genesis
        self.gaps = read_gaps(store)
        """The heights whose blocks were skipped by a snapshot: (first, last), ascending. Their headers are here."""
        self._index = ReceiptIndex()
        head = store.get(META_TABLE, HEAD_KEY)
        if head is not None:
            self._index.load(store, int.from_bytes(head, "big"), partial(read_record, RECEIPTS_TABLE, parse_receipt))

    def header(self, height: int) -> Header:
        """The header of an executed height. Raises InvalidBlock (unknown)."""
        return read_record(HEADERS_TABLE, parse_header, self._header_bytes(height))

    def header_hash(self, height: int) -> bytes:
        """The hash of the header of an executed height, from the stored bytes alone. Raises InvalidBlock (unknown)."""
        return tagged_hash(Tag.HEADER, self._header_bytes(height))

    def _header_bytes(self, height: int) -> bytes:
        is_executed = self._head is None or 0 <= height <= self._head.height
        data = self._store.get(HEADERS_TABLE, height_key(height)) if height >= 0 and is_executed else None
        if data is None:
            raise InvalidBlock("unknown", "no block is stored at this height", got=height)
        return data

    def block(self, height: int) -> Block:
        """The block of an executed height. Raises InvalidBlock: unknown, or skipped where a snapshot passed it."""
        header = self.header(height)
        if not self.has_body(height):
            raise InvalidBlock("skipped", "a snapshot took this replica past the block", got=height)
        data = self._store.get(BATCHES_TABLE, height_key(height)) or b""
        batch_time_ms, transactions = read_record(BATCHES_TABLE, _parse_batch, data)
        return Block(
            header=header,
            batch_time_ms=batch_time_ms,
            transactions=transactions,
            receipts=tuple(data for _, data in self._store.scan(RECEIPTS_TABLE, height_key(height))),
        )

    def has_body(self, height: int) -> bool:
        """Whether a snapshot did not skip this height's block."""
        return not any(first <= height <= last for first, last in self.gaps)

    def receipt_path(self, height: int, index: int) -> ReceiptPath:
        """The path from a stored receipt to its header."""
        return read_receipt_path(self._store, height, index)

    def receipt(self, tx_id: bytes) -> StoredReceipt | None:
        """The newest receipt of a transaction: a refused one may be followed by a final one (D45, D49)."""
        with self._store.snapshot() as view:
            return self._located(self._index.find(view, tx_id))

    def recent_receipts(self, tx_ids: Sequence[bytes]) -> dict[bytes, StoredReceipt]:
        """The same of many, by id, without those that are not among the newest few thousand of all: nothing is looked
        for in the store, most of it in vain."""
        found = {tx_id: self._located(self._index.find_recent(tx_id)) for tx_id in tx_ids}
        return {tx_id: stored for tx_id, stored in found.items() if stored is not None}

    def find_used(self, client: bytes, nonce: int) -> StoredReceipt | None:
        """The receipt that used this nonce: the answer to every transaction with it, for ever (D43)."""
        with self._store.snapshot() as view:
            return self._located(self._index.find_used(view, client, nonce))

    def _located(self, place: bytes | None) -> StoredReceipt | None:
        if place is None:
            return None
        height, index = int.from_bytes(place[:8], "big"), int.from_bytes(place[8:], "big")
        if self._head is not None and height > self._head.height:
            return None  # it came with a snapshot that is not installed
        receipt = self._store.get(RECEIPTS_TABLE, place)
        if receipt is None:
            raise InvariantViolation("receipt", "an index names a receipt that is not stored", height=height)
        return StoredReceipt(height=height, index=index, receipt=receipt, header_hash=self.header_hash(height))

    def sealed_payload(self, tx_id: bytes) -> bytes | None:
        """The private payload of a transaction in a block, as it is sealed; None where it declares none (D50)."""
        return self._store.get(PAYLOADS_TABLE, tx_id)

    def nonce_window(self, client: bytes) -> NonceWindow:
        """Which nonces of a client are used, as the state after the head says."""
        with self._store.snapshot() as view:
            values = self._values(view)
            data = values.get(view, nonce_key(client))
        return NonceWindow() if data is None else read_record(values.table, parse_nonce_window, data)

    def nonce_windows(self, clients: Collection[bytes]) -> dict[bytes, NonceWindow]:
        """The same for many clients, read in one pass; without those that have used none."""
        with self._store.snapshot() as view:
            values = self._values(view)
            found = values.get_many(view, sorted(map(nonce_key, clients)))
        return {
            parse_nonce_key(key): read_record(values.table, parse_nonce_window, data) for key, data in found.items()
        }

    def _values(self, view: ReadView) -> LateValues:
        """The values of the state that a view of now shows."""
        return load_values(view)

    def certificate(self, height: int) -> QuorumCertificate | None:
        """The stored certificate of exactly this height."""
        data = self._store.get(CERTIFICATES_TABLE, height_key(height))
        return None if data is None else read_record(CERTIFICATES_TABLE, parse_certificate, data)

    def epoch_link(self, epoch: int) -> EpochLink | None:
        """What ends an epoch, for whoever is still in it and for proofs; None until its last height is certified."""
        data = self._store.get(EPOCHS_TABLE, height_key(epoch))
        return None if data is None else read_record(EPOCHS_TABLE, parse_link, data)

    def epoch_links(self, epoch: int) -> tuple[EpochLink, ...]:
        """The way from genesis to an epoch that has begun here: the end of every epoch before it, ascending."""
        links = [self.epoch_link(before) for before in range(epoch)]
        return tuple(link for link in links if link is not None)

    def first_certificate(self, height: int) -> QuorumCertificate | None:
        """The stored certificate of the lowest height at or above this one."""
        for _, data in self._store.scan(CERTIFICATES_TABLE, start=height_key(height)):
            return read_record(CERTIFICATES_TABLE, parse_certificate, data)
        return None


def read_record(table: str, parse: Callable[[bytes], Record], data: bytes) -> Record:
    """A record as it was written. Raises InvariantViolation (damaged)."""
    try:
        return parse(data)
    except LedgerError as error:
        raise InvariantViolation("damaged", f"a record of the table {table}: {error}") from None


def read_receipt_path(view: ReadView, height: int, index: int) -> ReceiptPath:
    """The path from a stored receipt to its header: kept with it, or computed from its block's receipts."""
    data = view.get(RECEIPT_PATHS_TABLE, place_key(height, index))
    if data is not None:
        return read_record(RECEIPT_PATHS_TABLE, _parse_path, data)
    data = view.get(RECEIPT_GROUPS_TABLE, height_key(height))
    first = 0 if data is None else index // RECEIPT_GROUP * RECEIPT_GROUP
    found = islice(view.scan(RECEIPTS_TABLE, height_key(height), start=place_key(height, first)), RECEIPT_GROUP)
    receipts = [receipt for _, receipt in found]
    if data is None:
        return compute_receipt_path(len(receipts), (b"",), index, receipts)
    tree = read_record(RECEIPT_GROUPS_TABLE, _parse_path, data)
    return compute_receipt_path(tree.count, tree.siblings, index, receipts)


def read_gaps(view: ReadView) -> tuple[tuple[int, int], ...]:
    """The heights without bodies. Raises InvariantViolation (damaged)."""
    data = view.get(META_TABLE, GAPS_KEY)
    return () if data is None else read_record(META_TABLE, _parse_gaps, data)


def _parse_gaps(data: bytes) -> tuple[tuple[int, int], ...]:
    gaps = []
    for item in expect_array(decode(data), "gaps"):
        first, last = expect_array(item, "gap", 2)
        low = expect_int(first, "first", 1, HEIGHT_MAX)
        gaps.append((low, expect_int(last, "last", low, HEIGHT_MAX)))
    return tuple(gaps)


def _parse_path(data: bytes) -> ReceiptPath:
    count, siblings = expect_array(decode(data), "path", 2)
    hashes = tuple(expect_bytes(item, "sibling", HASH_BYTES) for item in expect_array(siblings, "siblings"))
    return ReceiptPath(expect_int(count, "count", 1, RECEIPTS_MAX), hashes)


def _parse_batch(data: bytes) -> StoredBatch:
    fields = expect_array(decode(data), "batch", 2)
    batch_time_ms = None if fields[0] is None else expect_int(fields[0], "time", 0, TIME_MAX_MS)
    return batch_time_ms, tuple(expect_bytes(raw, "raw") for raw in expect_array(fields[1], "transactions"))


# --- what a block adds ---


def block_operations(
    header: Header,
    batch_time_ms: int | None,
    raws: Sequence[bytes],
    receipts: Sequence[bytes],
    groups: Sequence[bytes] = (),
) -> list[Operation]:
    """What stores a block, with the roots of its receipts' groups, and makes it the head."""
    key = height_key(header.height)
    tree = [Put(RECEIPT_GROUPS_TABLE, key, encode((len(receipts), groups)))] if len(groups) > 1 else []
    return [
        Put(META_TABLE, HEAD_KEY, key),
        Put(HEADERS_TABLE, key, header.to_bytes()),
        Put(BATCHES_TABLE, key, encode((batch_time_ms, tuple(raws)))),
        PutMany(RECEIPTS_TABLE, [(place_key(header.height, index), data) for index, data in enumerate(receipts)]),
        *tree,
    ]


def answer_operations(place: bytes, data: bytes, path: ReceiptPath) -> list[Operation]:
    """What keeps a receipt that used a nonce, without its block: a snapshot's."""
    return [Put(RECEIPTS_TABLE, place, data), Put(RECEIPT_PATHS_TABLE, place, encode((path.count, path.siblings)))]


def payload_operations(sealed: Sequence[tuple[bytes, bytes]]) -> list[Operation]:
    """What stores the (tx id, sealed payload) of a block's transactions."""
    return [Put(PAYLOADS_TABLE, tx_id, data) for tx_id, data in sealed]
