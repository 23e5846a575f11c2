"""Range proofs of the authenticated state: that these are *all* entries between two key hashes, under a state root.

A range is [start, end) in the order of key hashes. Its proof says what lies beside it: walking the trie from the root,
in order, a place that holds nothing of the range is given by its hash; one that lies inside it is computed from the
entries; and one that lies across a border is opened: `None` says that it is a node, and its four subtrees follow; a
list says that it is a bucket, and names the bucket's entries outside the range. At most two places a level are opened.

Why nothing can be added, changed or left out: the verifier computes one hash, and compares it with the root. Nodes,
buckets and the empty subtree are hashed apart (`ledger.state_trie`), so every opened node has its true children, every
opened bucket its true entries, and every subtree inside the range exactly the entries that it was computed from, unless
somebody found a collision of SHA-256. Ranges that meet without a gap are therefore the whole state. Pure functions;
what a chunk carries beside its entries is `ledger.snapshot`'s.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from ledger.errors import InvalidSnapshot
from ledger.hashing import HASH_BYTES
from ledger.state_trie import BUCKET_MAX, DEPTH_MAX, Entry, compute_subtree, hash_bucket, hash_node

HASH_BITS: Final = HASH_BYTES * 8
END: Final = 1 << HASH_BITS
"""The end of the range that reaches to the end of the state."""

Item: TypeAlias = bytes | list[Entry] | None
"""A place outside the range (its hash), a bucket across a border (its entries outside), a node across a border."""

PROOF_ITEMS_MAX: Final = 2 * DEPTH_MAX * 4
"""Two opened places a level, each with four children."""


def prove_range(
    children: Callable[[int, int], bytes | None],
    entries: Callable[[int, int], list[Entry]],
    start: int,
    end: int,
) -> list[Item]:
    """The proof of [start, end) in a trie, which is read through two functions of a place (depth, index): the four
    subtree hashes of a node, None where there is a bucket; and a bucket's entries.
    """
    items: list[Item] = []
    if start > 0 or end < END:
        _open(items, children, entries, 0, 0, start, end)
    return items


def _open(
    items: list[Item],
    children: Callable[[int, int], bytes | None],
    entries: Callable[[int, int], list[Entry]],
    depth: int,
    index: int,
    start: int,
    end: int,
) -> None:
    """The items of a place across a border."""
    hashes = children(depth, index)
    if hashes is None:
        items.append([entry for entry in entries(depth, index) if not start <= _number(entry[0]) < end])
        return
    items.append(None)
    for branch in range(4):
        place = depth + 1, index * 4 + branch
        low, high = _span(*place)
        if high <= start or low >= end:
            items.append(hashes[branch * HASH_BYTES : (branch + 1) * HASH_BYTES])
        elif low < start or high > end:
            _open(items, children, entries, *place, start, end)


def verify_range(entries: Sequence[Entry], start: int, end: int, items: Sequence[Item], state_root: bytes) -> None:
    """Raises InvalidSnapshot unless `entries` are exactly those of the state in [start, end).

    1. The entries ascend and lie in the range. 2. The items are those that the walk asks for, no more and no fewer.
    3. Entries named in an opened bucket belong there, lie outside the range, and do not make it too large. 4. The hash
    of all is the state root.
    """
    numbers = [_number(key_hash) for key_hash, _ in entries]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise InvalidSnapshot("order", "the entries of a range ascend")
    if not 0 <= start < end <= END or (numbers and not start <= numbers[0] <= numbers[-1] < end):
        raise InvalidSnapshot("range", "an entry lies outside its range")
    remaining = iter(items)
    computed = _compute(list(entries), 0, 0, start, end, remaining)
    if next(remaining, END) is not END:
        raise InvalidSnapshot("proof", "the proof says more than is asked")
    if computed != state_root:
        raise InvalidSnapshot("root", "the range leads to another state root", expected=state_root, got=computed)


def _compute(entries: list[Entry], depth: int, index: int, start: int, end: int, items: Iterator[Item]) -> bytes:
    """The hash of the subtree at a place, whose entries inside the range are given."""
    low, high = _span(depth, index)
    if start <= low and high <= end:
        return compute_subtree(entries, depth, index, {})
    item = next(items, END)
    if high <= start or low >= end:
        if not isinstance(item, bytes) or len(item) != HASH_BYTES:
            raise InvalidSnapshot("proof", "a hash is expected for a place outside the range", depth=depth)
        return item
    if item is None:
        return hash_node(b"".join(_compute_children(entries, depth, index, start, end, items)))
    if not isinstance(item, list):
        raise InvalidSnapshot("proof", "a node or a bucket is expected across a border", depth=depth)
    for key_hash, _ in item:
        number = _number(key_hash)
        if not low <= number < high or start <= number < end:
            raise InvalidSnapshot("bucket", "an entry of another place, or of the range itself", depth=depth)
    merged = sorted([*entries, *item])
    if len(merged) > BUCKET_MAX or len({key_hash for key_hash, _ in merged}) < len(merged):
        raise InvalidSnapshot("bucket", "not a bucket's entries", expected_max=BUCKET_MAX, got=len(merged))
    return hash_bucket(merged)


def _compute_children(
    entries: list[Entry], depth: int, index: int, start: int, end: int, items: Iterator[Item]
) -> Iterator[bytes]:
    if depth >= DEPTH_MAX:
        raise InvalidSnapshot("proof", "deeper than a key hash", expected_max=DEPTH_MAX)
    for child in range(index * 4, index * 4 + 4):
        low, high = _span(depth + 1, child)
        inside = [entry for entry in entries if low <= _number(entry[0]) < high]
        yield _compute(inside, depth + 1, child, start, end, items)


def _span(depth: int, index: int) -> tuple[int, int]:
    """The key hashes of a place, as numbers: from, up to and without."""
    shift = HASH_BITS - 2 * depth
    return index << shift, index + 1 << shift


def _number(key_hash: bytes) -> int:
    return int.from_bytes(key_hash, "big")
