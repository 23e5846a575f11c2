"""The trie of a world state as it stands: upper nodes in RAM, lower nodes and buckets in a table.

The nodes above `RESIDENT_DEPTH` live in RAM alone, in one flat array a level: they change with nearly every block, and
are computed again from the table when the store is opened. So memory is bounded by `RESIDENT_DEPTH`, not by the number
of keys, and a change of a value costs the store one record read and written. Every bucket has a record, and every node
from `RESIDENT_DEPTH` on (`ledger.state_records`). How a block changes the trie is `ledger.state_update`.
"""

import mmap
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from ledger.errors import InvariantViolation
from ledger.hashing import HASH_BYTES
from ledger.late_records import LateRecords
from ledger.state_records import Place, hash_record, place_key, read_bucket, read_entries, read_node
from ledger.state_trie import EMPTY, NODE_BYTES, Entry, hash_node
from ledger.store import ReadView


class StateTables(NamedTuple):
    """The tables of one generation of the world state."""

    values: str  # key -> value
    trie: str  # place -> bucket, or node from RESIDENT_DEPTH on
    late: str  # place -> what one of the last blocks wrote: both other tables may lack it yet


RESIDENT_DEPTH: Final = 9
"""Nodes above this depth are held in RAM: 4^9 hashes at the lowest level, 11 MB in all however many keys there are,
and a quarter of one for the depths; two stored levels are left at 10,000,000 keys. One level more would take 45 MB."""

NO_CHILDREN: Final = bytes(NODE_BYTES)
_HASH_BITS: Final = HASH_BYTES * 8
_from_bytes: Final = int.from_bytes

ResidentNodes = Mapping[int, Mapping[int, bytes | bytearray | None]]
"""Changed nodes above RESIDENT_DEPTH, by depth and index: the four subtree hashes; None where a bucket is now."""


class StateTrie:
    """The trie of one generation."""

    def __init__(self, tables: StateTables) -> None:
        self.tables = tables
        self.late = LateRecords(tables.trie)
        """The table of buckets and nodes as it will be: to be read through this alone."""
        self.resident_depth = RESIDENT_DEPTH
        self._levels: dict[int, mmap.mmap] = {}
        self._depths = bytearray(1 << 2 * RESIDENT_DEPTH)
        """For each place at `resident_depth`: the depth at which the way down to it leaves the nodes in RAM."""

    def copy(self) -> "StateTrie":
        """The trie as it stands now, to be read with a view of the same moment: up to 11 MB whatever the state,
        and what waits to be written."""
        twin = StateTrie(self.tables)
        twin._levels = {depth: _copy_level(level) for depth, level in self._levels.items()}
        twin._depths = self._depths[:]
        twin.late = self.late.copy()
        return twin

    def load(self, view: ReadView) -> bytes:
        """Computes the resident nodes from the table, one short scan for each of them. Returns the root of what it
        holds."""
        self._levels = {}
        self._depths = bytearray(len(self._depths))
        return self._load(view, 0, 0)

    def _load(self, view: ReadView, depth: int, index: int) -> bytes:
        key, shift = place_key(depth, index), _HASH_BITS - 2 * depth
        last = ((index + 1 << shift) - 1).to_bytes(HASH_BYTES, "big")
        for found, record in view.scan(self.tables.trie, start=key):
            if found == key:
                return hash_record(record)
            if found[:HASH_BYTES] > last:
                break
            if depth >= self.resident_depth:
                raise InvariantViolation("state_nodes", "a node of the world state is missing", depth=depth)
            self._mark(depth, index, depth + 1)
            children = b"".join([self._load(view, depth + 1, index * 4 + branch) for branch in range(4)])
            self.keep({depth: {index: children}}, ())
            return hash_node(children)
        return EMPTY

    def keep(self, nodes: ResidentNodes, reshaped: Iterable[Place]) -> None:
        """Takes over changed nodes above RESIDENT_DEPTH. `reshaped` names those that were none before, each after the
        one above it, and those that are none any more, each before the one above it."""
        for depth, changed in nodes.items():
            level = self._levels.get(depth)
            if level is None:
                level = self._levels[depth] = _make_level(NODE_BYTES * 4**depth)
            for index, children in changed.items():
                level[index * NODE_BYTES : (index + 1) * NODE_BYTES] = NO_CHILDREN if children is None else children
        for depth, index in reshaped:
            self._mark(depth, index, depth if nodes[depth][index] is None else depth + 1)

    # --- reads; `view` shows the state that the trie stands for ---

    def children(self, view: ReadView, depth: int, index: int) -> bytes | None:
        """The four subtree hashes of the node at this place; None where there is a bucket."""
        if depth < self.resident_depth:
            children = bytes(self.resident_node(depth, index))
            return None if children == NO_CHILDREN else children
        record = self.late.get(view, place_key(depth, index))
        return None if record is None else read_node(record)

    def entries(self, view: ReadView, depth: int, index: int) -> list[Entry]:
        """The entries of the bucket at this place, ascending."""
        return read_entries(self.late.get(view, place_key(depth, index)))

    def scan(self, view: ReadView, start: int) -> Iterator[tuple[bytes, bytes]]:
        """All (key hash, key) of the state, by key hash, from a key hash on."""
        lowest = start.to_bytes(HASH_BYTES, "big")
        # The bucket that a key hash belongs to begins at or before it, and so does every node above the bucket.
        first = self.late.last_until(view, lowest + b"\xff")
        for _, record in self.late.scan(view, first):
            if record[0]:
                for key_hash, _, key in read_bucket(record):
                    if key_hash >= lowest:
                        yield key_hash, key

    def resident_node(self, depth: int, index: int) -> bytearray:
        """The four subtree hashes of a place above RESIDENT_DEPTH, to be kept by the caller; NO_CHILDREN for a bucket:
        a node has entries below it, so some hash."""
        level = self._levels.get(depth)
        return bytearray(NODE_BYTES if level is None else level[index * NODE_BYTES : (index + 1) * NODE_BYTES])

    def find_places(self, key_hashes: Iterable[bytes]) -> list[Place]:
        """For each key hash the place on its way down that is not a node in RAM: its bucket, or a node in the table."""
        depths, shift = self._depths, 64 - 2 * self.resident_depth
        numbers = [_from_bytes(key_hash[:8], "big") for key_hash in key_hashes]  # more bits than resident nodes have
        return [((depth := depths[number >> shift]), number >> 64 - 2 * depth) for number in numbers]

    def _mark(self, depth: int, index: int, first_depth: int) -> None:
        """Notes that the way down ends at `first_depth` everywhere below a place."""
        width = 1 << 2 * (self.resident_depth - depth)
        self._depths[index * width : (index + 1) * width] = bytes((first_depth,)) * width


def _make_level(size: int) -> mmap.mmap:
    """Zeros, of which a page takes memory once it is written: at 200,000 keys the lowest level holds few nodes."""
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _copy_level(level: mmap.mmap) -> mmap.mmap:
    """A level of its own, that takes no more memory than the first."""
    twin = _make_level(len(level))
    for start in range(0, len(level), mmap.PAGESIZE):
        page = level[start : start + mmap.PAGESIZE]
        if page.strip(b"\x00"):
            twin[start : start + len(page)] = page
    return twin
