"""What the store holds at a place of the trie, as one record: a bucket, or a node below those that live in RAM.

bucket   number of entries (1 byte, 1 to BUCKET_MAX); the entries ascending, (key hash, entry hash) each, which are the
         very bytes that the bucket's hash covers; each entry's key behind its length (2 bytes, big-endian)
node     a zero byte; the four subtree hashes, which are what the node's hash covers

An empty subtree has no record. The keys are there for snapshots, which walk the state in the order of key hashes; a
change of a value leaves them as they are. Records lie behind the store's checksum, so they are read without doubt.
"""

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from ledger.hashing import HASH_BYTES
from ledger.state_trie import BUCKET_MAX, EMPTY, Entry, hash_entries, hash_node

ENTRY_BYTES: Final = 2 * HASH_BYTES
_NODE_MARK: Final = b"\x00"

Place: TypeAlias = tuple[int, int]
"""(depth, index) in the trie."""
Item: TypeAlias = tuple[bytes, bytes, bytes]
"""(key hash, entry hash, key)."""
Change: TypeAlias = tuple[bytes, bytes | None, bytes]
"""(key hash, new entry hash or None for a deletion, key)."""

_TAILS: Final = tuple(bytes(HASH_BYTES - 8) + bytes((depth,)) for depth in range(33))


def place_key(depth: int, index: int) -> bytes:
    """The key of a place's record: the lowest key hash below it, and its depth. So the records of neighbours share a
    page whatever their depth, a node comes before what lies below it, and buckets ascend by key hash."""
    if depth <= 32:  # the same bytes, of a small number
        return (index << (64 - 2 * depth)).to_bytes(8, "big") + _TAILS[depth]
    return (index << (HASH_BYTES * 8 - 2 * depth)).to_bytes(HASH_BYTES, "big") + bytes((depth,))


def place_keys(places: Iterable[Place]) -> list[bytes]:
    """`place_key` of each, written out for depths up to 32: a block asks for thousands."""
    tails = _TAILS
    return [
        (index << 64 - 2 * depth).to_bytes(8, "big") + tails[depth] if depth <= 32 else place_key(depth, index)
        for depth, index in places
    ]


def write_node(children: bytes | bytearray) -> bytes:
    """The record of a node."""
    return _NODE_MARK + children


def read_node(record: bytes) -> bytes | None:
    """The four subtree hashes of a node; None for the record of a bucket."""
    return None if record[0] else record[1:]


def write_bucket(items: Sequence[Item]) -> bytes:
    """The record of a bucket; 1 to BUCKET_MAX items, ascending."""
    parts = [bytes((len(items),))]
    parts += [part for item in items for part in item[:2]]
    parts += [part for item in items for part in (len(item[2]).to_bytes(2, "big"), item[2])]
    return b"".join(parts)


def read_bucket(record: bytes | None) -> list[Item]:
    """The items of a bucket, ascending; none where there is no record."""
    items: list[Item] = []
    if record is not None:
        end = record[0] * ENTRY_BYTES + 1
        key_at = end
        for at in range(1, end, ENTRY_BYTES):
            key_end = key_at + 2 + int.from_bytes(record[key_at : key_at + 2], "big")
            middle = at + HASH_BYTES
            items.append((record[at:middle], record[middle : at + ENTRY_BYTES], record[key_at + 2 : key_end]))
            key_at = key_end
    return items


def read_entries(record: bytes | None) -> list[Entry]:
    """The entries of a bucket, ascending; none where there is no record."""
    if record is None:
        return []
    places = range(1, record[0] * ENTRY_BYTES, ENTRY_BYTES)
    return [(record[at : at + HASH_BYTES], record[at + HASH_BYTES : at + ENTRY_BYTES]) for at in places]


def hash_record(record: bytes | None) -> bytes:
    """The hash of the subtree whose record this is."""
    if record is None:
        return EMPTY
    return hash_entries(record[1 : record[0] * ENTRY_BYTES + 1]) if record[0] else hash_node(record[1:])


def edit_entries(record: bytes, changes: Sequence[Change]) -> bytes | None:
    """A bucket's record with new entry hashes and new entries; None where a change may be more than that: a deletion,
    or an entry that does not fit any more."""
    for key_hash, entry_hash, key in changes:
        at = record.find(key_hash, 1)
        if entry_hash is None:
            return None
        if at < 0 or at > record[0] * ENTRY_BYTES:  # not among the entries; what looks like it in a key is no entry
            if record[0] == BUCKET_MAX:
                return None
            record = _insert_entry(record, key_hash, entry_hash, key)
        elif at % ENTRY_BYTES == 1:
            at += HASH_BYTES
            record = b"".join((record[:at], entry_hash, record[at + HASH_BYTES :]))
        else:
            return None  # what looks like it in an entry hash is none either, and the entry may follow
    return record


def _insert_entry(record: bytes, key_hash: bytes, entry_hash: bytes, key: bytes) -> bytes:
    """A bucket's record with one more entry, in its place."""
    at, end = 1, record[0] * ENTRY_BYTES + 1
    key_at = end
    while at < end and record[at : at + HASH_BYTES] < key_hash:
        at += ENTRY_BYTES
        key_at += 2 + int.from_bytes(record[key_at : key_at + 2], "big")
    count = bytes((record[0] + 1,))
    own_key = len(key).to_bytes(2, "big") + key
    return b"".join((count, record[1:at], key_hash, entry_hash, record[at:key_at], own_key, record[key_at:]))


def change_items(items: Sequence[Item], changes: Sequence[Change]) -> list[Item]:
    """The items after the changes, ascending."""
    merged = {item[0]: item for item in items}
    for key_hash, entry_hash, key in changes:
        if entry_hash is None:
            merged.pop(key_hash, None)
        else:
            merged[key_hash] = (key_hash, entry_hash, key)
    return sorted(merged.values())
