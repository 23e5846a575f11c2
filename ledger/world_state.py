"""The world state in a store: values by key, and the trie over them, updated by what a block wrote.

Two main tables: the values in key order, for reads and scans, and the trie's buckets and lower nodes, each one record
(`ledger.stored_trie`). There are two generations of them: one is live, the other is where a snapshot is put together
(`ledger.snapshot`), and one record says which is which, so that a reader sees either state whole. An update writes the
values; changed buckets are written late (`ledger.late_records`). The shape of the trie is `ledger.state_trie`; blocks
and their order are `ledger.chain`'s.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

from ledger.errors import InvariantViolation, StoreError
from ledger.hashing import HASH_BYTES
from ledger.late_records import LateStep
from ledger.state_records import Change, Place
from ledger.state_trie import StateProof, digit, hash_entry, hash_key
from ledger.state_update import compute_trie_change
from ledger.store import Delete, Operation, PutMany, ReadView, Snapshot
from ledger.stored_trie import ResidentNodes, StateTables, StateTrie

GENERATIONS: Final = (
    StateTables("state", "state_trie", "state_late"),
    StateTables("state_1", "state_trie_1", "state_late_1"),
)
LIVE_TABLE: Final = "state_live"  # generation -> one byte, 0 or 1; 0 where nothing is said
LIVE_KEY: Final = b"generation"
STATE_TABLES: Final = (LIVE_TABLE, *GENERATIONS[0], *GENERATIONS[1])

KEY_BYTES_MAX: Final = 480
"""Of a state key: LMDB takes 511."""
VALUE_BYTES_MAX: Final = 1_048_576
"""Of a state value: a contract's source and canonical tree fit; gas bounds the rest."""


def live_generation(view: ReadView) -> int:
    """Which generation of the tables holds the state after the head."""
    return 1 if view.get(LIVE_TABLE, LIVE_KEY) == b"\x01" else 0


_Get = Callable[[bytes], bytes | None]


class StateSnapshot:
    """A `StateReader` on one snapshot of a store that holds a world state; the contract worker has one per block."""

    def __init__(self, view: Snapshot, bind: Callable[[str], _Get] | None = None) -> None:
        """`bind` gives the view's `get` of one table, if the view knows a faster way to read one."""
        self._view = view
        self._values = GENERATIONS[live_generation(view)].values
        self.get: _Get = partial(view.get, self._values) if bind is None else bind(self._values)
        """The value of a key, None if absent."""

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
    resident: ResidentNodes
    reshaped: Sequence[Place]
    late: LateStep | None  # None where nothing is written


class WorldState:
    """The values and the trie of one generation in a store. Mutable: `adopt` follows each stored update."""

    def __init__(self, view: ReadView, generation: int | None = None) -> None:
        """Reads the trie (`StateTrie.load`). None: the live generation."""
        self.generation = live_generation(view) if generation is None else generation
        self.tables = GENERATIONS[self.generation]
        self.trie = StateTrie(self.tables)
        self.root = self.trie.load(view)
        self._catch_up(view)

    def _catch_up(self, view: ReadView) -> None:
        """What the table of the trie lacks follows from the values of the keys that the last blocks wrote."""
        keys = self.trie.late.read_keys(view)
        if keys:
            values = view.get_many(self.tables.values, keys)
            changes = sorted(_compute_changes([(key, values.get(key)) for key in keys]))
            change = compute_trie_change(self.trie, view, changes)
            self.trie.keep(change.resident, change.reshaped)
            self.trie.late.restore(change.records)
            self.root = change.root

    def compute_update(self, view: ReadView, writes: Sequence[tuple[bytes, bytes | None]]) -> StateUpdate:
        """The root and store operations of these writes (keys ascending, each once; None deletes). Changes nothing.

        Raises StoreError for a key or value beyond the limits, InvariantViolation for keys out of order or where the
        store lacks a part of the trie.
        """
        if not writes:
            return StateUpdate(root=self.root, operations=[], resident={}, reshaped=(), late=None)
        changes = _compute_changes(writes)
        changes.sort()
        change = compute_trie_change(self.trie, view, changes)
        late = self.trie.late.compute_step(change.records, [key for key, _ in writes])
        operations = [*_operations(self.tables.values, writes), *late.operations]
        return StateUpdate(
            root=change.root,
            operations=operations,
            resident=change.resident,
            reshaped=change.reshaped,
            late=late,
        )

    def adopt(self, update: StateUpdate) -> None:
        """Makes the update the current state; its operations are durable by now."""
        self.trie.keep(update.resident, update.reshaped)
        if update.late is not None:
            self.trie.late.adopt(update.late)
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
        entries = self.trie.entries(view, depth, index)
        return StateProof(
            key=key,
            value=view.get(self.tables.values, key),
            neighbours=tuple(entry for entry in entries if entry[0] != key_hash),
            siblings=tuple(reversed(siblings)),
        )


def _operations(table: str, records: Sequence[tuple[bytes, bytes | None]]) -> list[Operation]:
    """What makes the records of a table these; None deletes."""
    put = [(key, value) for key, value in records if value is not None]
    deleted: list[Operation] = [Delete(table, key) for key, value in records if value is None]
    return [PutMany(table, put), *deleted]


def _compute_changes(writes: Sequence[tuple[bytes, bytes | None]]) -> list[Change]:
    """What the writes are to the trie, in their own order."""
    changes: list[Change] = []
    previous = b""
    for key, value in writes:
        if key <= previous:
            raise InvariantViolation("write_order", "keys ascend, each once, none empty", got=key)
        previous = key
        key_hash = hash_key(key)
        if value is None:
            changes.append((key_hash, None, key))
        else:
            if len(key) > KEY_BYTES_MAX or len(value) > VALUE_BYTES_MAX:
                raise StoreError("state_limit", "a key or value is too long", key=len(key), value=len(value))
            changes.append((key_hash, hash_entry(key_hash, value), key))
    return changes
