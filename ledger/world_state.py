"""The world state in a store: values by key, and the trie over them, updated by what a block wrote.

Three tables: the values in key order, for reads and scans; the trie's entries in key hash order, where a bucket is a
short range, each with its key; and the trie's nodes from `RESIDENT_DEPTH` on. There are two generations of them: one is
live, the other is where a snapshot is put together (`ledger.snapshot`), and one record says which is which, so that a
reader sees either state whole. The nodes above live in RAM alone, in one flat array a
level: they change with nearly every block, and are computed again from the tables when the store is opened. So memory
is bounded by `RESIDENT_DEPTH`, not by the number of keys, and an update costs a bucket, its nodes up to the root, and
two or three store operations. The shape of the trie is `ledger.state_trie`; blocks and their order are
`ledger.chain`'s.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple, Self

from ledger.errors import InvariantViolation, StoreError
from ledger.hashing import HASH_BYTES
from ledger.state_trie import (
    BUCKET_MAX,
    NODE_BYTES,
    Entry,
    Nodes,
    StateProof,
    compute_subtree,
    digit,
    hash_bucket,
    hash_entry,
    hash_key,
    hash_node,
)
from ledger.store import Delete, Operation, Put, ReadView, Snapshot


class StateTables(NamedTuple):
    """The tables of one generation."""

    values: str  # key -> value
    entries: str  # key hash -> entry hash, key
    nodes: str  # place -> four subtree hashes


GENERATIONS: Final = (
    StateTables("state", "state_entries", "state_nodes"),
    StateTables("state_1", "state_entries_1", "state_nodes_1"),
)
LIVE_TABLE: Final = "state_live"  # generation -> one byte, 0 or 1; 0 where nothing is said
LIVE_KEY: Final = b"generation"
STATE_TABLES: Final = (LIVE_TABLE, *GENERATIONS[0], *GENERATIONS[1])

KEY_BYTES_MAX: Final = 480
"""Of a state key: LMDB takes 511."""
VALUE_BYTES_MAX: Final = 1_048_576
"""Of a state value: a contract's source and canonical tree fit; gas bounds the rest."""

RESIDENT_DEPTH: Final = 9
"""Nodes above this depth are held in RAM: 4^9 hashes at the lowest level, 11 MB in all however many keys there are,
leaving two stored levels at 10,000,000 keys. One level more would take 45 MB."""

_HASH_BITS: Final = HASH_BYTES * 8
_NO_CHILDREN: Final = bytes(NODE_BYTES)

Change = tuple[bytes, bytes | None]
"""(key hash, new entry hash or None for a deletion)."""


def live_generation(view: ReadView) -> int:
    """Which generation of the tables holds the state after the head."""
    return 1 if view.get(LIVE_TABLE, LIVE_KEY) == b"\x01" else 0


class StateSnapshot:
    """A `StateReader` on one snapshot of a store that holds a world state; the contract worker has one per block."""

    def __init__(self, view: Snapshot) -> None:
        self._view = view
        self._values = GENERATIONS[live_generation(view)].values

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, None if absent."""
        return self._view.get(self._values, key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) whose key starts with `prefix`, ascending."""
        return self._view.scan(self._values, prefix)

    def close(self) -> None:
        """Releases the snapshot; twice is no error."""
        self._view.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class StateUpdate:
    """What a block's writes do to the state; nothing has happened until the operations are stored and adopted."""

    root: bytes  # the state root after the writes
    operations: list[Operation]
    resident: Nodes  # the changed nodes above RESIDENT_DEPTH


class StateTrie:
    """The trie of one generation as it stands: its nodes, wherever they live, and its entries."""

    def __init__(self, tables: StateTables) -> None:
        self.tables = tables
        self._levels: dict[int, bytearray] = {}

    def copy(self) -> "StateTrie":
        """The trie as it stands now, to be read with a view of the same moment: up to 11 MB, whatever the state."""
        twin = StateTrie(self.tables)
        twin._levels = {depth: bytearray(level) for depth, level in self._levels.items()}
        return twin

    def children(self, view: ReadView, depth: int, index: int) -> bytes | None:
        """The four subtree hashes of the node at this place; None where there is a bucket."""
        if depth >= RESIDENT_DEPTH:
            return view.get(self.tables.nodes, _node_key(depth, index))
        level = self._levels.get(depth)
        if level is None:
            return None
        children = bytes(level[index * NODE_BYTES : (index + 1) * NODE_BYTES])
        return None if children == _NO_CHILDREN else children  # a node has entries below it, so some hash

    def entries(self, view: ReadView, depth: int, index: int, most: int = BUCKET_MAX) -> list[Entry]:
        """The first `most` entries at this place, ascending."""
        shift = _HASH_BITS - 2 * depth
        start = (index << shift).to_bytes(HASH_BYTES, "big")
        prefix = start[: depth // 4]
        found = islice(view.scan(self.tables.entries, prefix, start=start), most)
        if depth % 4 == 0:
            return [(key_hash, record[:HASH_BYTES]) for key_hash, record in found]
        last = ((index + 1 << shift) - 1).to_bytes(HASH_BYTES, "big")
        return [(key_hash, record[:HASH_BYTES]) for key_hash, record in found if key_hash <= last]

    def keep(self, resident: Nodes) -> None:
        """Takes over changed nodes above RESIDENT_DEPTH."""
        for (depth, index), children in resident.items():
            level = self._levels.get(depth)
            if level is None:
                level = self._levels[depth] = bytearray(NODE_BYTES * 4**depth)
            level[index * NODE_BYTES : (index + 1) * NODE_BYTES] = _NO_CHILDREN if children is None else children


class WorldState:
    """The trie of one generation in a store. Mutable: `adopt` follows each stored update."""

    def __init__(self, view: ReadView, generation: int | None = None) -> None:
        """Computes the resident nodes from the tables: one short scan for each of them. None: the live generation."""
        self.generation = live_generation(view) if generation is None else generation
        self.tables = GENERATIONS[self.generation]
        self.trie = StateTrie(self.tables)
        resident: Nodes = {}
        self.root = self._load(view, 0, 0, resident)
        self.trie.keep(resident)

    def compute_update(self, view: ReadView, writes: Sequence[tuple[bytes, bytes | None]]) -> StateUpdate:
        """The root and store operations of these writes (keys ascending, each once; None deletes). Changes nothing.

        Raises StoreError for a key or value beyond the limits, InvariantViolation for keys out of order.
        """
        tables = self.tables
        operations: list[Operation] = []
        changes: list[Change] = []
        previous = b""
        for key, value in writes:
            if key <= previous:
                raise InvariantViolation("write_order", "keys ascend, each once, none empty", got=key)
            previous = key
            key_hash = hash_key(key)
            if value is None:
                operations += (Delete(tables.values, key), Delete(tables.entries, key_hash))
                changes.append((key_hash, None))
            else:
                if len(key) > KEY_BYTES_MAX or len(value) > VALUE_BYTES_MAX:
                    raise StoreError("state_limit", "a key or value is too long", key=len(key), value=len(value))
                entry_hash = hash_entry(key_hash, value)
                operations += (Put(tables.values, key, value), Put(tables.entries, key_hash, entry_hash + key))
                changes.append((key_hash, entry_hash))
        changes.sort()
        nodes: Nodes = {}
        if any(entry_hash is None for _, entry_hash in changes):
            root = self._update(view, 0, 0, changes, nodes)
        else:
            root = self._raise(view, changes, nodes) if changes else self.root
        resident = {place: children for place, children in nodes.items() if place[0] < RESIDENT_DEPTH}
        for (depth, index), children in nodes.items():
            if depth >= RESIDENT_DEPTH:
                key = _node_key(depth, index)
                operations.append(Delete(tables.nodes, key) if children is None else Put(tables.nodes, key, children))
        return StateUpdate(root=root, operations=operations, resident=resident)

    def adopt(self, update: StateUpdate) -> None:
        """Makes the update the current state; its operations are durable by now."""
        self.trie.keep(update.resident)
        self.root = update.root

    def prove(self, view: ReadView, key: bytes) -> StateProof:
        """A proof of the key's value or absence under the current root. `view` shows the current state."""
        key_hash = hash_key(key)
        depth = index = 0
        siblings: list[bytes] = []
        while (children := self.trie.children(view, depth, index)) is not None:
            branch = digit(key_hash, depth)
            siblings.append(children[: branch * HASH_BYTES] + children[(branch + 1) * HASH_BYTES :])
            depth, index = depth + 1, index * 4 + branch
        entries = self.trie.entries(view, depth, index, BUCKET_MAX)
        return StateProof(
            key=key,
            value=view.get(self.tables.values, key),
            neighbours=tuple(entry for entry in entries if entry[0] != key_hash),
            siblings=tuple(reversed(siblings)),
        )

    # --- the trie ---

    def _raise(self, view: ReadView, changes: list[Change], nodes: Nodes) -> bytes:
        """The new root hash after changes without a deletion; adds the changed nodes. What most blocks need.

        Nodes never vanish then, so buckets are found and rehashed first, and then each level once, from below: a third
        of what `_update` costs, which descends from the root for every branch that leads to a change.
        """
        buckets: dict[tuple[int, int], list[Change]] = {}
        depth = 0
        for change in changes:
            depth, index = self._find_bucket(view, int.from_bytes(change[0], "big"), depth)
            buckets.setdefault((depth, index), []).append(change)
        hashes: dict[int, dict[int, bytes]] = {}  # depth -> index -> new hash of the subtree there
        for (depth, index), part in buckets.items():
            entries = _changed(self.trie.entries(view, depth, index, BUCKET_MAX), part)
            hashes.setdefault(depth, {})[index] = compute_subtree(entries, depth, index, nodes)
        for depth in range(max(hashes), 0, -1):
            updated: dict[int, bytearray] = {}
            for index, subtree_hash in hashes[depth].items():
                parent = index >> 2
                node = updated.get(parent)
                if node is None:
                    node = updated[parent] = bytearray(self.trie.children(view, depth - 1, parent) or _NO_CHILDREN)
                place = (index & 3) * HASH_BYTES
                node[place : place + HASH_BYTES] = subtree_hash
            above = hashes.setdefault(depth - 1, {})
            for index, node in updated.items():
                nodes[depth - 1, index] = bytes(node)
                above[index] = hash_node(node)
        return hashes[0][0]

    def _find_bucket(self, view: ReadView, key_hash: int, guess: int) -> tuple[int, int]:
        """The place of the bucket that a key hash belongs to, looked for from a depth on: neighbours are alike."""
        depth, trie = guess, self.trie
        if trie.children(view, depth, key_hash >> (_HASH_BITS - 2 * depth)) is None:
            while depth and trie.children(view, depth - 1, key_hash >> (_HASH_BITS - 2 * depth + 2)) is None:
                depth -= 1
        else:
            depth += 1
            while trie.children(view, depth, key_hash >> (_HASH_BITS - 2 * depth)) is not None:
                depth += 1
        return depth, key_hash >> (_HASH_BITS - 2 * depth)

    def _update(self, view: ReadView, depth: int, index: int, changes: list[Change], nodes: Nodes) -> bytes:
        """The new hash of the subtree at this place, which all the changes belong to; adds the changed nodes."""
        children = self.trie.children(view, depth, index)
        if children is None:
            return compute_subtree(
                _changed(self.trie.entries(view, depth, index, BUCKET_MAX), changes), depth, index, nodes
            )
        updated = bytearray(children)
        for branch, part in _by_branch(changes, depth).items():
            place = branch * HASH_BYTES
            updated[place : place + HASH_BYTES] = self._update(view, depth + 1, index * 4 + branch, part, nodes)
        remaining = self._bucket_left(view, depth, index, changes, nodes)
        if remaining is not None:
            nodes[depth, index] = None
            return hash_bucket(remaining)
        nodes[depth, index] = bytes(updated)
        return hash_node(updated)

    def _bucket_left(
        self, view: ReadView, depth: int, index: int, changes: list[Change], nodes: Nodes
    ) -> list[Entry] | None:
        """The entries of a node that deletions leave no larger than a bucket; None if it stays a node."""
        deletions = len([None for _, entry_hash in changes if entry_hash is None])
        if not deletions:
            return None
        for child in range(index * 4, index * 4 + 4):
            place = depth + 1, child
            children = nodes[place] if place in nodes else self.trie.children(view, *place)
            if children is not None:  # a node below has more entries than a bucket, so this one has
                return None
        entries = _changed(self.trie.entries(view, depth, index, BUCKET_MAX + 1 + deletions), changes)
        return entries if len(entries) <= BUCKET_MAX else None

    def _load(self, view: ReadView, depth: int, index: int, resident: Nodes) -> bytes:
        """The hash of the subtree at this place as the tables have it; adds the resident nodes."""
        entries = self.trie.entries(view, depth, index, BUCKET_MAX + 1)
        if len(entries) <= BUCKET_MAX:
            return hash_bucket(entries)
        if depth >= RESIDENT_DEPTH:
            children = view.get(self.tables.nodes, _node_key(depth, index))
            if children is None:
                raise InvariantViolation("state_nodes", "a node of the world state is missing", depth=depth)
            return hash_node(children)
        children = b"".join(self._load(view, depth + 1, index * 4 + branch, resident) for branch in range(4))
        resident[depth, index] = children
        return hash_node(children)


def _by_branch(changes: list[Change], depth: int) -> dict[int, list[Change]]:
    """The changes by the subtree that they belong to. Most nodes of a block lead to a single change."""
    if len(changes) == 1:
        return {digit(changes[0][0], depth): changes}
    parts: dict[int, list[Change]] = {}
    for change in changes:
        parts.setdefault(digit(change[0], depth), []).append(change)
    return parts


def _changed(entries: list[Entry], changes: list[Change]) -> list[Entry]:
    """The entries after the changes, ascending."""
    merged: dict[bytes, bytes] = dict(entries)
    for key_hash, entry_hash in changes:
        if entry_hash is None:
            merged.pop(key_hash, None)
        else:
            merged[key_hash] = entry_hash
    return sorted(merged.items())


def _node_key(depth: int, index: int) -> bytes:
    """Keys of neighbouring nodes share a page of the store, whatever their depth: the place's bits come first."""
    return (index << (_HASH_BITS - 2 * depth)).to_bytes(HASH_BYTES, "big") + bytes((depth,))
