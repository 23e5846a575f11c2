"""What a block's writes do to the trie: its new root, and the records and nodes that change.

From below: the buckets that keys belong to are found and read together, changed and hashed; then each level once, up to
the root, so a node above a hundred changes is hashed once. Where an entry is deleted, the nodes above it are looked at
on the way: one that holds no more than a bucket is a bucket again. Nothing is changed here; the world state stores and
adopts the outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import InvariantViolation
from ledger.hashing import HASH_BYTES
from ledger.state_records import (
    Change,
    Item,
    Place,
    change_items,
    hash_record,
    place_key,
    read_bucket,
    replace_entries,
    write_bucket,
    write_node,
)
from ledger.state_trie import BUCKET_MAX, EMPTY, digit, hash_node
from ledger.store import ReadView
from ledger.stored_trie import ResidentNodes, StateTrie


@dataclass(frozen=True, slots=True, kw_only=True)
class TrieChange:
    """The trie after some changes, as far as it differs."""

    root: bytes
    records: list[tuple[bytes, bytes | None]]  # of the table: key of a place -> record, None: removed
    resident: ResidentNodes


def compute_trie_change(trie: StateTrie, view: ReadView, changes: Sequence[Change]) -> TrieChange:
    """The trie after these changes: at least one, ascending by key hash, each key once.

    `view` shows the state that the trie stands for. Raises InvariantViolation where a bucket is not in the table.
    """
    return _Update(trie, view).run(changes)


class _Update:
    """One block's changes on their way up."""

    def __init__(self, trie: StateTrie, view: ReadView) -> None:
        self._trie = trie
        self._view = view
        self._records: dict[Place, bytes | None] = {}
        """Of every bucket that changed; None where nothing is stored any more."""
        self._nodes: dict[int, dict[int, bytes | bytearray | None]] = {}
        """Of every node that changed, by depth and index; None where a bucket is now."""
        self._read: dict[Place, bytes] = {}
        """The nodes from the table that lead to a change, as they were."""
        self._hashes: dict[int, dict[int, bytes]] = {}
        """By depth and index: the new hash of each subtree that its node above does not know yet."""
        self._shrunk: dict[int, set[int]] = {}
        """By depth and index: the nodes below which something became smaller; perhaps they are buckets now."""

    def run(self, changes: Sequence[Change]) -> TrieChange:
        for place, (record, part) in self._read_buckets(changes).items():
            self._change_bucket(place, record, part)
        for depth in range(max(self._hashes) - 1, -1, -1):
            self._raise(depth)
        for depth in [depth for depth in self._nodes if depth >= self._trie.resident_depth]:
            for index, children in self._nodes.pop(depth).items():
                if children is not None:  # else a bucket has the place's record
                    self._records[depth, index] = write_node(children)
        records = [(place_key(*place), record) for place, record in self._records.items()]
        return TrieChange(root=self._hashes[0][0], records=records, resident=self._nodes)

    # --- buckets ---

    def _read_buckets(self, changes: Sequence[Change]) -> dict[Place, tuple[bytes | None, list[Change]]]:
        """The buckets that the changes belong to, each with its record and its changes."""
        waiting: dict[Place, list[Change]] = {}
        for place, change in zip(self._trie.find_places(change[0] for change in changes), changes, strict=True):
            waiting.setdefault(place, []).append(change)
        buckets: dict[Place, tuple[bytes | None, list[Change]]] = {}
        table = self._trie.tables.trie
        while waiting:  # one round for each level of nodes in the table
            keys = [place_key(*place) for place in waiting]
            found = self._view.get_many(table, keys)
            below: dict[Place, list[Change]] = {}
            for key, (place, part) in zip(keys, waiting.items(), strict=True):
                record = found.get(key)
                if record is None and self._stored_hash(place) != EMPTY:
                    raise InvariantViolation("state_bucket", "a bucket of the world state is missing", depth=place[0])
                if record is None or record[0]:
                    buckets[place] = (record, part)
                    continue
                self._read[place] = record[1:]
                depth, index = place
                for change in part:
                    below.setdefault((depth + 1, index * 4 + digit(change[0], depth)), []).append(change)
            waiting = below
        return buckets

    def _stored_hash(self, place: Place) -> bytes:
        """What the node above a place says about it, before the changes."""
        depth, index = place
        if depth == 0:
            return EMPTY
        children = self._old_children(depth - 1, index >> 2)
        at = (index & 3) * HASH_BYTES
        return bytes(children[at : at + HASH_BYTES])

    def _change_bucket(self, place: Place, record: bytes | None, changes: Sequence[Change]) -> None:
        depth, index = place
        changed = None if record is None else replace_entries(record, changes)
        if changed is not None:
            self._records[place] = changed
            self._hashes.setdefault(depth, {})[index] = hash_record(changed)
            return
        items = change_items(read_bucket(record), changes)
        self._records[place] = None
        self._hashes.setdefault(depth, {})[index] = self._build(items, depth, index)
        if depth and any(entry_hash is None for _, entry_hash, _ in changes):
            self._shrunk.setdefault(depth - 1, set()).add(index >> 2)

    def _build(self, items: Sequence[Item], depth: int, index: int) -> bytes:
        """The hash of the subtree at a place that holds exactly these items; adds its records and nodes."""
        if len(items) <= BUCKET_MAX:
            if not items:
                return EMPTY
            record = self._records[depth, index] = write_bucket(items)
            return hash_record(record)
        parts: list[list[Item]] = [[], [], [], []]
        for item in items:
            parts[digit(item[0], depth)].append(item)
        children = b"".join(self._build(part, depth + 1, index * 4 + i) for i, part in enumerate(parts))
        self._nodes.setdefault(depth, {})[index] = children
        return hash_node(children)

    # --- nodes ---

    def _raise(self, depth: int) -> None:
        """Puts the new hashes of the level below into the nodes of this one, and hashes those."""
        nodes: dict[int, bytearray] = {}
        for index, subtree_hash in self._hashes[depth + 1].items():
            parent = index >> 2
            node = nodes.get(parent)
            if node is None:
                node = nodes[parent] = self._old_children(depth, parent)
            at = (index & 3) * HASH_BYTES
            node[at : at + HASH_BYTES] = subtree_hash
        above = self._hashes.setdefault(depth, {})
        for index, node in nodes.items():
            above[index] = hash_node(node)
        self._nodes.setdefault(depth, {}).update(nodes)
        for index in self._shrunk.get(depth, ()):
            self._merge(depth, index)

    def _old_children(self, depth: int, index: int) -> bytearray:
        """The four subtree hashes of a node that leads to a change, before it."""
        if depth < self._trie.resident_depth:
            return self._trie.resident_node(depth, index)
        return bytearray(self._read[depth, index])

    def _merge(self, depth: int, index: int) -> None:
        """Makes a changed node a bucket where its entries fit into one."""
        items: list[Item] = []
        below = [(depth + 1, index * 4 + branch) for branch in range(4)]
        for place in below:
            if self._is_node(place):  # it has more entries than a bucket, and so has what is above it
                return
            items += read_bucket(self._bucket(place))
        if len(items) > BUCKET_MAX:
            return
        self._records.update({place: None for place in below if self._bucket(place) is not None})
        self._nodes[depth][index] = None
        self._records[depth, index] = None
        self._hashes[depth][index] = self._build(items, depth, index)
        if depth:
            self._shrunk.setdefault(depth - 1, set()).add(index >> 2)

    def _is_node(self, place: Place) -> bool:
        """Whether there is a node after the changes."""
        depth, index = place
        changed = self._nodes.get(depth, {})
        if index in changed:
            return changed[index] is not None
        return self._trie.children(self._view, depth, index) is not None

    def _bucket(self, place: Place) -> bytes | None:
        """The record of a bucket after the changes."""
        if place in self._records:
            return self._records[place]
        return self._view.get(self._trie.tables.trie, place_key(*place))
