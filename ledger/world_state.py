"""The world state in a store: values by key, and the trie over them, updated by what a block wrote.

Two main tables: the values in key order, for reads and scans, and the trie's buckets and lower nodes, each one record
(`ledger.stored_trie`). Both are written late, values behind a record of what each of the last blocks wrote
(`ledger.late_values`, `ledger.late_turns`), buckets behind the values (`ledger.late_records`). There are two
generations of these tables: one is live, the other is where a snapshot is put together (`ledger.snapshot`), and one
record says which is which, so that a reader sees either state whole. The shape of the trie is `ledger.state_trie`;
blocks and their order are `ledger.chain`'s.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Final, Self

from ledger.errors import InvariantViolation, StoreError
from ledger.hashing import HASH_BYTES
from ledger.late_records import LateStep
from ledger.late_turns import read_turns
from ledger.late_values import LateValues, ValuesStep
from ledger.state_records import Change, Place
from ledger.state_trie import StateProof, digit, hash_entry, hash_key
from ledger.state_update import compute_trie_change
from ledger.store import Operation, Put, ReadView, Snapshot
from ledger.stored_trie import ResidentNodes, StateTables, StateTrie

GENERATIONS: Final = (
    StateTables("state", "state_trie", "state_late"),
    StateTables("state_1", "state_trie_1", "state_late_1"),
)
LIVE_TABLE: Final = "state_live"  # installations -> how many snapshots were installed, 8 bytes; none is not said
LIVE_KEY: Final = b"installations"
STATE_TABLES: Final = (LIVE_TABLE, *GENERATIONS[0], *GENERATIONS[1])

KEY_BYTES_MAX: Final = 480
"""Of a state key: LMDB takes 511."""
VALUE_BYTES_MAX: Final = 1_048_576
"""Of a state value: a contract's source and canonical tree fit; gas bounds the rest."""


def count_installations(view: ReadView) -> int:
    """How many snapshots have been installed: each made the other generation the live one."""
    return int.from_bytes(view.get(LIVE_TABLE, LIVE_KEY) or b"", "big")


def live_generation(view: ReadView) -> int:
    """Which generation of the tables holds the state after the head."""
    return count_installations(view) % 2


def install_generation(view: ReadView) -> Operation:
    """What makes the idle generation the live one."""
    return Put(LIVE_TABLE, LIVE_KEY, (count_installations(view) + 1).to_bytes(8, "big"))


def load_values(view: ReadView) -> LateValues:
    """The values of the live generation, from the store alone."""
    tables = GENERATIONS[live_generation(view)]
    values = LateValues(tables.values, tables.late)
    values.catch_up(view)
    return values


_Get = Callable[[bytes], bytes | None]


class StateSnapshot:
    """A `StateReader` on one snapshot of a store that holds a world state."""

    def __init__(self, view: Snapshot, values: LateValues | None = None, get: _Get | None = None) -> None:
        """`values` are those of the same moment, else they are read; `get` is the view's own of their table, if it
        knows a faster one."""
        self._view = view
        self._values = values = load_values(view) if values is None else values
        self.get: _Get = values.bind(partial(view.get, values.table) if get is None else get)
        """The value of a key, None if absent."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) whose key starts with `prefix`, ascending."""
        return self._values.scan(self._view, prefix)

    def close(self) -> None:
        """Releases the snapshot; twice is no error."""
        self._view.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class StateFollower:
    """What a reader keeps from one snapshot of a store to the next, so that it reads each block's writes once."""

    def __init__(self) -> None:
        self._installations = -1
        self._values: LateValues | None = None

    def open(self, view: Snapshot, bind: Callable[[str], _Get] | None = None) -> StateSnapshot:
        """The state at a snapshot, no older than the last one. It is to be closed before the next is opened.

        `bind` gives the view's `get` of one table, if the view knows a faster way to read one.
        """
        installations = count_installations(view)
        if self._values is None or installations != self._installations:  # else turns might be another state's
            self._values, self._installations = load_values(view), installations
        else:
            self._values.catch_up(view)
        return StateSnapshot(view, self._values, None if bind is None else bind(self._values.table))


@dataclass(frozen=True, slots=True, kw_only=True)
class StateUpdate:
    """What a block's writes do to the state; nothing has happened until the operations are stored and adopted."""

    root: bytes  # the state root after the writes
    operations: list[Operation]
    resident: ResidentNodes
    reshaped: Sequence[Place]
    values: ValuesStep | None  # None where nothing is written
    late: LateStep | None  # the same


class WorldState:
    """The values and the trie of one generation in a store. Mutable: `adopt` follows each stored update."""

    def __init__(self, view: ReadView, generation: int | None = None) -> None:
        """Reads the trie (`StateTrie.load`). None: the live generation."""
        self.generation = live_generation(view) if generation is None else generation
        self.tables = GENERATIONS[self.generation]
        self.values = LateValues(self.tables.values, self.tables.late)
        """The table of values as it will be: to be read through this alone."""
        self.values.catch_up(view)
        self.trie = StateTrie(self.tables)
        self.root = self.trie.load(view)
        self._catch_up(view)

    def _catch_up(self, view: ReadView) -> None:
        """What the table of the trie lacks follows from the values of the keys that the last blocks wrote."""
        keys = sorted({key for turn in read_turns(view, self.tables.late) for key in turn.keys})
        if keys:
            values = self.values.get_many(view, keys)
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
            return StateUpdate(root=self.root, operations=[], resident={}, reshaped=(), values=None, late=None)
        changes = _compute_changes(writes)
        changes.sort(key=itemgetter(0))  # the same order, key hashes being distinct, and compared as bytes
        change = compute_trie_change(self.trie, view, changes)
        values = self.values.compute_step(writes)
        late = self.trie.late.compute_step(change.records, values.turn.number, values.is_settled)
        return StateUpdate(
            root=change.root,
            operations=[*values.operations, *late.operations],
            resident=change.resident,
            reshaped=change.reshaped,
            values=values,
            late=late,
        )

    def adopt(self, update: StateUpdate) -> None:
        """Makes the update the current state; its operations are durable by now."""
        self.trie.keep(update.resident, update.reshaped)
        if update.values is not None:
            self.values.adopt(update.values)
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
            value=self.values.get(view, key),
            neighbours=tuple(entry for entry in entries if entry[0] != key_hash),
            siblings=tuple(reversed(siblings)),
        )


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
