"""Headers and blocks: what execution makes of an ordered batch, and what a certificate covers.

The header is the closed list of D31: nothing about views, proposers, signatures or wall time may enter it, else correct
replicas that executed the same batch would disagree. Height = sequence number; genesis is height 0. Every hash of a
header is over its canonical bytes; a header that arrives in another form does not parse.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Final

from ledger import merkle
from ledger.encoding import decode, encode
from ledger.errors import EncodingError, InvalidBlock, InvalidProof
from ledger.hashing import HASH_BYTES, Tag, tagged_hash
from ledger.shapes import expect_array, expect_bytes, expect_int
from ledger.transaction import Receipt, parse_receipt

HEADER_BYTES_MAX: Final = 512
"""Seven hashes and six integers take at most 300 bytes."""
RECEIPTS_MAX: Final = 2**31
"""Of a block: what four bytes hold, far beyond what gas allows."""
RECEIPT_GROUP_DEPTH: Final = 4
RECEIPT_GROUP: Final = 1 << RECEIPT_GROUP_DEPTH
"""Receipts under one node of the tree that is kept with a block: two bytes a receipt, for a path from sixteen receipts
instead of from all."""
TIME_MAX_MS: Final = 2**50
"""Milliseconds UTC: the year 37,000; keeps sums far inside 64 bits."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """The closed list (D31), in its encoded order after the version."""

    network: bytes  # 32 bytes
    epoch: int
    height: int
    parent_hash: bytes  # header hash of height - 1; the network id at height 0
    batch_digest: bytes  # hashing.NULL_DIGEST for a null request
    time_ms: int  # agreed time: max(parent's, batch's), UTC milliseconds
    transactions_root: bytes  # RFC 6962 over the raw transactions
    receipts_root: bytes  # of the number of receipts and their RFC 6962 root: `bind_receipts`
    state_root: bytes  # of the world state after this block
    gas_used: int  # by all receipts
    next_config_hash: bytes  # of the configuration in force at height + 1

    def to_bytes(self) -> bytes:
        """The canonical bytes that the header hash covers."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        return encode([1, *(getattr(self, name) for name in HEADER_FIELDS)])

    @cached_property
    def hash(self) -> bytes:
        """The 32-byte header hash that votes sign and children name."""
        return tagged_hash(Tag.HEADER, self._encoded)


HEADER_FIELDS: Final = tuple(field.name for field in fields(Header))
_HASHES: Final = frozenset(
    ("network", "parent_hash", "batch_digest", "transactions_root", "receipts_root", "state_root", "next_config_hash")
)
_INTEGERS_MAX: Final = {"epoch": 2**63 - 1, "height": 2**63 - 1, "time_ms": TIME_MAX_MS, "gas_used": 2**63 - 1}


def parse_header(data: bytes) -> Header:
    """A header from its canonical bytes. Raises InvalidBlock with code ``malformed``."""
    try:
        values = expect_array(decode(data, max_bytes=HEADER_BYTES_MAX), "header", len(HEADER_FIELDS) + 1)
        expect_int(values[0], "version", 1, 1)
        checked: dict[str, bytes | int] = {}
        for name, value in zip(HEADER_FIELDS, values[1:], strict=True):
            if name in _HASHES:
                checked[name] = expect_bytes(value, name, HASH_BYTES)
            else:
                checked[name] = expect_int(value, name, 0, _INTEGERS_MAX[name])
    except EncodingError as error:
        raise InvalidBlock("malformed", str(error)) from None
    header = Header(**checked)  # type: ignore[arg-type]  # each name was checked for its own type above
    vars(header)["_encoded"] = data  # decoding is canonical: writing the header again would give these bytes
    return header


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A header with what its roots cover. `batch_time_ms` is the primary's stamp, which the batch digest covers."""

    header: Header
    batch_time_ms: int | None  # None for a null request
    transactions: tuple[bytes, ...]  # raw, in batch order
    receipts: tuple[bytes, ...]  # scheduled calls first, then one per transaction that was not skipped
    parsed: tuple[Receipt, ...] | None = field(default=None, repr=False, compare=False)  # the same, where made here

    def read_receipts(self) -> tuple[Receipt, ...]:
        """The receipts as values: those that the block was made of, or parsed where it was read."""
        return self.parsed if self.parsed is not None else tuple(map(parse_receipt, self.receipts))


@dataclass(frozen=True, slots=True)
class ReceiptPath:
    """How a receipt hangs below its header: the number of the block's receipts, and the siblings on its way up."""

    count: int
    siblings: tuple[bytes, ...]


def compute_receipt_groups(receipts: Sequence[bytes]) -> list[bytes]:
    """The roots above each `RECEIPT_GROUP` receipts of a block, from which its tree goes on."""
    return merkle.subtree_roots(receipts, RECEIPT_GROUP_DEPTH)


def compute_receipt_path(count: int, groups: Sequence[bytes], index: int, receipts: Sequence[bytes]) -> ReceiptPath:
    """The path of receipt `index` of a block of `count`, from the roots of all groups and the receipts of its own.

    Raises InvalidProof (index) where there is no such receipt.
    """
    if not 0 <= index < count:
        raise InvalidProof("index", "no such receipt", receipts=count, got=index)
    own = merkle.inclusion_path(receipts, index % RECEIPT_GROUP)
    return ReceiptPath(count, (*own, *merkle.path_above(groups, index // RECEIPT_GROUP)))


def verify_receipt_path(receipt: bytes, index: int, path: ReceiptPath, header: Header) -> None:
    """Raises InvalidProof unless `receipt` is receipt `index` of the header's block; the index is bound too."""
    if path.count > RECEIPTS_MAX:
        raise InvalidProof("count", expected_max=RECEIPTS_MAX, got=path.count)
    root = merkle.compute_inclusion_root(receipt, index, path.count, path.siblings)
    if bind_receipts(path.count, root) != header.receipts_root:
        raise InvalidProof("root", "the path leads to another root", height=header.height, index=index)


def bind_receipt_groups(count: int, groups: Sequence[bytes]) -> bytes:
    """What a header says about its block's receipts: from their number, and the roots of their groups in order."""
    return bind_receipts(count, merkle.root_above(groups))


def bind_receipts(count: int, root: bytes) -> bytes:
    """The receipts root from the number of receipts and their RFC 6962 root.

    An RFC 6962 root alone does not bind the number of leaves, and so no leaf's index: a path could place a receipt
    elsewhere in its block, and the index is part of every answer to a client (D43).
    """
    return tagged_hash(Tag.RECEIPTS, count.to_bytes(4, "big"), root)


def compute_batch_digest(time_ms: int, raws: Sequence[bytes]) -> tuple[bytes, bytes]:
    """(digest, transactions root) of a batch: the digest commits to time, order and signatures (M7, D44)."""
    transactions_root = merkle.root(raws)
    return bind_batch(time_ms, len(raws), transactions_root), transactions_root


def bind_batch(time_ms: int, count: int, transactions_root: bytes) -> bytes:
    """The digest of a batch of so many transactions, whose root is known."""
    return tagged_hash(Tag.BATCH, time_ms.to_bytes(8, "big"), count.to_bytes(4, "big"), transactions_root)
