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
    ENTRY_BYTES,
    Change,
    Item,
    Place,
    change_items,
    edit_entries,
    hash_record,
    place_key,
    place_keys,
    read_bucket,
    write_bucket,
    write_node,
)
from ledger.state_trie import BUCKET_MAX, EMPTY, digit, hash_entries, hash_node
from ledger.store import ReadView
from ledger.stored_trie import ResidentNodes, StateTrie


@dataclass(frozen=True, slots=True, kw_only=True)
class TrieChange:
    """The trie after some changes, as far as it differs."""

    root: bytes
    records: list[tuple[bytes, bytes | None]]  # of the table: key of a place -> record, None: removed
    resident: ResidentNodes
    reshaped: list[Place]  # resident nodes that were none before, from above, or are none any more, from below


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
        self._records: dict[bytes, bytes | None] = {}
        """Of every bucket that changed, by its key in the table; None where nothing is stored any more."""
        self._nodes: dict[int, dict[int, bytes | bytearray | None]] = {}
        """Of every node that changed, by depth and index; None where a bucket is now."""
        self._read: dict[Place, bytes] = {}
        """The nodes from the table that lead to a change, as they were."""
        self._hashes: dict[int, dict[int, bytes]] = {}
        """By depth and index: the new hash of each subtree that its node above does not know yet."""
        self._shrunk: dict[int, set[int]] = {}
        """By depth and index: the nodes below which something became smaller; perhaps they are buckets now."""
        self._new_nodes: list[Place] = []  # each behind those below it
        self._lost_nodes: list[Place] = []  # the same

    def run(self, changes: Sequence[Change]) -> TrieChange:
        self._change_buckets(changes)
        for depth in range(max(self._hashes) - 1, -1, -1):
            self._raise(depth)
        resident_depth = self._trie.resident_depth
        for depth in [depth for depth in self._nodes if depth >= resident_depth]:
            for index, children in self._nodes.pop(depth).items():
                if children is not None:  # else a bucket has the place's record
                    self._records[place_key(depth, index)] = write_node(children)
        reshaped = [place for place in (*self._lost_nodes, *reversed(self._new_nodes)) if place[0] < resident_depth]
        root, records = self._hashes[0][0], list(self._records.items())
        return TrieChange(root=root, records=records, resident=self._nodes, reshaped=reshaped)

    # --- buckets ---

    def _change_buckets(self, changes: Sequence[Change]) -> None:
        """Reads the buckets that the changes belong to, and changes them: one round for each level of nodes in the
        table."""
        resident_depth = self._trie.resident_depth
        waiting = _group(self._trie.find_places([change[0] for change in changes]), changes)
        while waiting:
            keys = place_keys(waiting)
            found = self._trie.late.take_many(self._view, keys).get
            below: dict[Place, list[Change]] = {}
            for key, (place, part) in zip(keys, waiting.items(), strict=True):
                record = found(key)
                depth, index = place
                if record is None and self._stored_hash(place) != EMPTY:
                    raise InvariantViolation("state_bucket", "a bucket of the world state is missing", depth=depth)
                if record is None or record[0]:
                    self._change_bucket(key, place, record, part)
                    continue
                assert depth >= resident_depth, "above, the trie knows where its nodes are"
                self._read[place] = record[1:]
                for change in part:
                    below.setdefault((depth + 1, index * 4 + digit(change[0], depth)), []).append(change)
            waiting = below

    def _stored_hash(self, place: Place) -> bytes:
        """What the node above a place says about it, before the changes."""
        depth, index = place
        if depth == 0:
            return EMPTY
        children = self._old_children(depth - 1, index >> 2)
        at = (index & 3) * HASH_BYTES
        return bytes(children[at : at + HASH_BYTES])

    def _change_bucket(self, key: bytes, place: Place, record: bytes | None, changes: Sequence[Change]) -> None:
        depth, index = place
        hashes = self._hashes.get(depth)
        if hashes is None:
            hashes = self._hashes[depth] = {}
        if record is not None and (changed := edit_entries(record, changes)) is not None:
            self._records[key] = changed
            hashes[index] = hash_entries(changed[1 : changed[0] * ENTRY_BYTES + 1])
            return
        items = change_items(read_bucket(record), changes)
        self._records[key] = None
        hashes[index] = self._build(items, depth, index)
        if depth and any(entry_hash is None for _, entry_hash, _ in changes):
            self._shrunk.setdefault(depth - 1, set()).add(index >> 2)

    def _build(self, items: Sequence[Item], depth: int, index: int) -> bytes:
        """The hash of the subtree at a place that holds exactly these items; adds its records and nodes."""
        if len(items) <= BUCKET_MAX:
            if not items:
                return EMPTY
            record = self._records[place_key(depth, index)] = write_bucket(items)
            return hash_record(record)
        parts: list[list[Item]] = [[], [], [], []]
        for item in items:
            parts[digit(item[0], depth)].append(item)
        children = b"".join([self._build(part, depth + 1, index * 4 + i) for i, part in enumerate(parts)])
        self._nodes.setdefault(depth, {})[index] = children
        self._new_nodes.append((depth, index))
        return hash_node(children)

    # --- nodes ---

    def _raise(self, depth: int) -> None:
        """Puts the new hashes of the level below into the nodes of this one, and hashes those."""
        nodes: dict[int, bytearray] = {}
        parent = -1
        for index, subtree_hash in self._hashes[depth + 1].items():
            if index >> 2 != parent:  # else the neighbour's: most come in their order
                parent = index >> 2
                found = nodes.get(parent)
                node = nodes[parent] = self._old_children(depth, parent) if found is None else found
            at = (index & 3) * HASH_BYTES
            node[at : at + HASH_BYTES] = subtree_hash
        above = self._hashes.setdefault(depth, {})
        above.update(zip(nodes, map(hash_node, nodes.values()), strict=True))
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
        self._records.update({place_key(*place): None for place in below if self._bucket(place) is not None})
        self._nodes[depth][index] = None
        self._lost_nodes.append((depth, index))
        self._records[place_key(depth, index)] = None
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
        key = place_key(*place)
        if key in self._records:
            return self._records[key]
        return self._trie.late.get(self._view, key)


def _group(places: Sequence[Place], changes: Sequence[Change]) -> dict[Place, list[Change]]:
    """The changes of each place; those of one place follow each other."""
    groups: dict[Place, list[Change]] = {}
    part: list[Change] = []
    last: Place | None = None
    for place, change in zip(places, changes, strict=True):
        if place == last:
            part.append(change)
        else:
            groups[place] = part = [change]
            last = place
    return groups
