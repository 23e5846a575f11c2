"""`Store`: ordered tables of bytes with atomic, durable writes; and its implementation in memory.

The interface is what its two implementations share (`ledger.lmdb_store` is the other), and one contract suite runs on
both (tests/ledger/test_store_contract.py). Rules: a write is applied whole or not at all, and is durable when `write`
returns; reads see every write that returned; a snapshot sees none after it was taken. Tables are named when the store
is opened. A store that failed a write refuses everything from then on: what is on the disk is unknown until it is
opened again, so the replica must stop (D3).
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, Protocol, Self, TypeAlias

from ledger.errors import StoreError

KEY_BYTES_MAX: Final = 511
"""LMDB's own limit; every store keeps it, so that no test passes on memory alone."""

_KEY_LENGTHS: Final = frozenset(range(1, KEY_BYTES_MAX + 1))


class Put(NamedTuple):
    """Sets a key of a table."""

    table: str
    key: bytes  # 1 to KEY_BYTES_MAX bytes
    value: bytes


class PutMany(NamedTuple):
    """Sets many keys of a table: the same as a `Put` for each, at a fraction of what a thousand of them cost."""

    table: str
    records: Sequence[tuple[bytes, bytes]]  # (key, value)


class Delete(NamedTuple):
    """Removes a key of a table; an absent key is no error."""

    table: str
    key: bytes


class Clear(NamedTuple):
    """Removes every key of a table."""

    table: str


Operation: TypeAlias = Put | PutMany | Delete | Clear


class ReadView(Protocol):
    """Reads of a store or of one of its snapshots."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of a key, None if absent, as every key is that a store cannot hold."""
        ...

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are there, by key; read faster than one by one, most of all in their order."""
        ...

    def scan(
        self, table: str, prefix: bytes = b"", *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) under `prefix`, ascending, from `start` on if given; descending and down from `start` if
        `reverse`. The scan sees the state at its first step; close it (or run it out) before the store is closed.
        """
        ...


class Snapshot(ReadView, AbstractContextManager["Snapshot"], Protocol):
    """A consistent view at one moment; release it soon, as it keeps old pages alive."""

    def close(self) -> None:
        """Releases the view; twice is no error."""
        ...


class Store(ReadView, Protocol):
    """Ordered tables of bytes."""

    def write(self, operations: Sequence[Operation]) -> None:
        """Applies all operations in order, atomically; durable on return. Raises StoreError, then stays failed."""
        ...

    def snapshot(self) -> Snapshot:
        """A view that later writes do not change."""
        ...

    def close(self) -> None:
        """Releases the store; twice is no error."""
        ...


def check_key(key: bytes) -> None:
    """Raises StoreError for a key that a store cannot hold."""
    if not 0 < len(key) <= KEY_BYTES_MAX:
        raise StoreError("key_length", expected_min=1, expected_max=KEY_BYTES_MAX, got=len(key))


def check_keys(records: Sequence[tuple[bytes, bytes]]) -> None:
    """The same for the keys of many records."""
    if not {len(key) for key, _ in records} <= _KEY_LENGTHS:
        for key, _ in records:
            check_key(key)


def prefix_end(prefix: bytes) -> bytes | None:
    """The least byte string above every key that starts with `prefix`; None if there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None


class _Table:
    """A sorted map: a dict for reads and a sorted list of its keys for scans."""

    __slots__ = ("keys", "values")

    def __init__(self, values: dict[bytes, bytes], keys: list[bytes]) -> None:
        self.values = values
        self.keys = keys

    def copy(self) -> "_Table":
        return _Table(dict(self.values), list(self.keys))

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self.values:
            insort(self.keys, key)
        self.values[key] = value

    def delete(self, key: bytes) -> None:
        if self.values.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]


def _get_many(table: _Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    return {key: table.values[key] for key in keys if key in table.values}


def _scan_table(table: _Table, prefix: bytes, start: bytes | None, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
    """Scans a table that does not change meanwhile."""
    keys, values = table.keys, table.values
    end = prefix_end(prefix)
    low = bisect_left(keys, prefix)
    high = len(keys) if end is None else bisect_left(keys, end)
    if start is not None and not reverse:
        low = max(low, bisect_left(keys, start))
    if start is not None and reverse:
        high = min(high, bisect_right(keys, start))
    positions = range(high - 1, low - 1, -1) if reverse else range(low, high)
    for position in positions:
        key = keys[position]
        yield key, values[key]


class _MemorySnapshot:
    """The tables as they were; the store copies a table before it changes one that a snapshot still shows."""

    def __init__(self, tables: dict[str, _Table], live: "list[_MemorySnapshot]") -> None:
        self.tables = dict(tables)
        self._live = live
        live.append(self)

    def get(self, table: str, key: bytes) -> bytes | None:
        """See `ReadView.get`."""
        return _table_of(self.tables, table).values.get(key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See `ReadView.get_many`."""
        return _get_many(_table_of(self.tables, table), keys)

    def scan(
        self, table: str, prefix: bytes = b"", *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `ReadView.scan`."""
        return _scan_table(_table_of(self.tables, table), prefix, start, reverse)

    def close(self) -> None:
        """See `Snapshot.close`."""
        if self in self._live:
            self._live.remove(self)
        self.tables = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _table_of(tables: dict[str, _Table], name: str) -> _Table:
    table = tables.get(name)
    if table is None:
        raise StoreError("table", "not a table of this store, or the store is closed", got=name)
    return table


class MemoryStore:
    """The store of tests and simulations. It can lose power and fail a write, at the moments where a disk can."""

    def __init__(self, tables: Sequence[str]) -> None:
        self._tables = {name: _Table({}, []) for name in tables}
        self._live: list[_MemorySnapshot] = []
        self._failing: str | None = None
        self._is_closed = False

    def get(self, table: str, key: bytes) -> bytes | None:
        """See `ReadView.get`."""
        return _table_of(self._tables, table).values.get(key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See `ReadView.get_many`."""
        return _get_many(_table_of(self._tables, table), keys)

    def scan(
        self, table: str, prefix: bytes = b"", *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `ReadView.scan`."""
        with self.snapshot() as view:
            yield from view.scan(table, prefix, start=start, reverse=reverse)

    def write(self, operations: Sequence[Operation]) -> None:
        """See `Store.write`."""
        if self._is_closed:
            raise StoreError("closed", "the store is closed")
        if self._failing is not None:
            raise StoreError(self._failing, "the store has failed a write and must be opened again")
        for operation in operations:  # refuse before the first change: whole or not at all
            _table_of(self._tables, operation.table)
            if isinstance(operation, PutMany):
                check_keys(operation.records)
            elif not isinstance(operation, Clear):
                check_key(operation.key)
        for name in {operation.table for operation in operations}:
            if any(view.tables.get(name) is self._tables[name] for view in self._live):
                self._tables[name] = self._tables[name].copy()
        for operation in operations:
            table = self._tables[operation.table]
            if type(operation) is Put:
                table.put(operation.key, operation.value)
            elif type(operation) is PutMany:
                for key, value in operation.records:
                    table.put(key, value)
            elif type(operation) is Delete:
                table.delete(operation.key)
            else:
                self._tables[operation.table] = _Table({}, [])

    def snapshot(self) -> Snapshot:
        """See `Store.snapshot`."""
        if self._is_closed:
            raise StoreError("closed", "the store is closed")
        return _MemorySnapshot(self._tables, self._live)

    def close(self) -> None:
        """See `Store.close`."""
        self._tables = {}
        self._is_closed = True

    def fail_writes(self, code: str = "disk") -> None:
        """From now on every write raises StoreError(code) and changes nothing, as a full or broken disk does."""
        self._failing = code

    def after_power_loss(self) -> "MemoryStore":
        """Power fails: this object is dead from now on; the returned one holds what completed writes left."""
        survivor = MemoryStore(())
        survivor._tables = {name: table.copy() for name, table in self._tables.items()}
        self.close()
        return survivor
