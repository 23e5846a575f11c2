"""`Store` on LMDB: one environment, a named database per table, every write synced.

Rules: an environment has one writing process (the node) and any number of read-only ones (the contract worker), which
see each write as soon as it returned, through a new snapshot. Every value is stored behind a checksum
(`ledger.checksum`). Every write transaction syncs data and meta page before it returns (D34, D35): there is no switch
for that. The map size is address space, not disk: the file grows with its content. A schema version is recorded; an
environment of another one is refused. `lmdb` is imported nowhere else.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Self
from zlib import crc32

import lmdb

from ledger.checksum import CHECKSUM_BYTES, protect_many, unprotect, unprotect_many
from ledger.errors import DamagedRecord, StoreError
from ledger.mapped_pages import MappedFile
from ledger.store import Delete, Operation, Put, PutMany, check_key, check_keys, prefix_end

MAP_BYTES: Final = 64 * 1024**3
"""Of address space per environment: 10,000,000 keys take about 4 GiB, a year of full 15-minute blocks about 10; four
replicas on one machine stay far below the 128 TiB of a process. Readers map the same size, so that they can follow a
file that grows. A process limited by RLIMIT_AS must allow for it."""

SCHEMA_VERSION: Final = 4
"""Of the tables' formats. Another one is refused: nothing has been released yet that would have to be upgraded.

1: each bucket of the state in records of its own, an index of receipts in two tables
2: buckets are one record and written late, the index of receipts is a table of runs, blocks have groups of receipts
3: values are written late too, and the live generation is told by the number of snapshots installed
4: values wait for eight turns, not sixteen, and removed keys for none
"""

READERS_MAX: Final = 32
"""Who reads at once: the worker, a tool, a backup, a pinned snapshot for each of 15 other replicas; with room."""

LOOKS_MAX: Final = 1_024
"""Snapshots and writes, by weight, until the pages they mapped are let go of: what a process maps is bounded by what so
many look at, not by the file."""
LOOKS_OF_A_WRITE_MAX: Final = LOOKS_MAX // 2
"""Of a write, which counts one for each record: so pages are let go of after two full blocks, or dozens of small ones.
After four costs the same processor time, and a replica took 11 MB more in a long run."""

_DATA_FILE: Final = "data.mdb"  # LMDB's name
_SCHEMA_TABLE: Final = b"schema"
_SCHEMA_KEY: Final = b"version"


class LmdbView:
    """Reads through one read transaction. A `Snapshot`."""

    def __init__(self, transaction: Any, tables: dict[str, Any]) -> None:
        self._transaction = transaction
        self._tables = tables

    def get(self, table: str, key: bytes) -> bytes | None:
        """See `ReadView.get`."""
        database = _table(self._tables, table)
        try:
            found: bytes | None = self._transaction.get(key, None, database) if key else None
        except lmdb.Error as error:
            raise _read_failed(error) from None
        return None if found is None else unprotect(table, key, found)

    def bind(self, table: str) -> Callable[[bytes], bytes | None]:
        """`get` of one table, for who reads thousands of its keys: what it calls is looked up once, or written out."""
        database, get = _table(self._tables, table), self._transaction.get

        def get_of_table(key: bytes) -> bytes | None:
            try:
                found: bytes | None = get(key, None, database) if key else None
            except lmdb.Error as error:
                raise _read_failed(error) from None
            if found is None:
                return None
            value = found[CHECKSUM_BYTES:]
            if found[:CHECKSUM_BYTES] != crc32(value, crc32(key, len(key))).to_bytes(CHECKSUM_BYTES, "big"):
                raise DamagedRecord(table, key)
            return value

        return get_of_table

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See `ReadView.get_many`."""
        database = _table(self._tables, table)
        try:
            with self._transaction.cursor(db=database) as cursor:
                found = cursor.getmulti([key for key in keys if key])
        except lmdb.Error as error:
            raise _read_failed(error) from None
        return unprotect_many(table, found)

    def scan(
        self, table: str, prefix: bytes = b"", *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `ReadView.scan`."""
        database = _table(self._tables, table)
        try:
            with self._transaction.cursor(db=database) as cursor:
                found = _scan_up(cursor, prefix, start) if not reverse else _scan_down(cursor, prefix, start)
                for key, stored in found:
                    if not key.startswith(prefix):
                        return
                    yield key, unprotect(table, key, stored)
        except lmdb.Error as error:
            raise _read_failed(error) from None

    def close(self) -> None:
        """See `Snapshot.close`."""
        self._transaction.abort()
        self._tables = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _scan_up(cursor: Any, prefix: bytes, start: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """The records from the first of the prefix, or from `start`, on to the end of the table."""
    lowest = prefix if start is None or start < prefix else start
    found = cursor.set_range(lowest) if lowest else cursor.first()
    return cursor.iternext() if found else iter(())


def _scan_down(cursor: Any, prefix: bytes, start: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """The records from the last of the prefix, or from `start`, down to the begin of the table."""
    end = prefix_end(prefix)
    if start is not None and (end is None or start < end):
        # The last key at or below `start`.
        found = cursor.set_range(start)
        found = (cursor.key() == start or cursor.prev()) if found else cursor.last()
    elif end is not None:
        found = cursor.prev() if cursor.set_range(end) else cursor.last()
    else:
        found = cursor.last()
    return cursor.iterprev() if found else iter(())


class _Changes:
    """What a write makes of one table."""

    __slots__ = ("is_cleared", "values")

    def __init__(self) -> None:
        self.is_cleared = False
        self.values: dict[bytes, bytes | None] = {}  # None: removed


def _apply(transaction: Any, table: Any, changes: _Changes) -> None:
    if changes.is_cleared:
        transaction.drop(table, delete=False)
    values = sorted(changes.values.items(), key=itemgetter(0))
    with transaction.cursor(db=table) as cursor:
        cursor.putmulti(protect_many([(key, value) for key, value in values if value is not None]))
    for key, value in values:
        if value is None:
            transaction.delete(key, db=table)


def _read_failed(error: lmdb.Error) -> StoreError:
    return StoreError("read", f"the store cannot be read: {error}")


def _table(tables: dict[str, Any], name: str) -> Any:
    table = tables.get(name)
    if table is None:
        raise StoreError("table", "not a table of this store, or the store is closed", got=name)
    return table


class LmdbStore:
    """A store in a directory of its own. Raises StoreError where the directory cannot be used.

    `readonly` opens what another process writes; it creates nothing, and `write` is refused.
    """

    def __init__(
        self, path: Path, *, tables: Sequence[str], map_bytes: int = MAP_BYTES, readonly: bool = False
    ) -> None:
        self.syncs = 0
        """Write transactions so far: each was durable when `write` returned."""
        self._failing: str | None = "read_only" if readonly else None
        self._tables: dict[str, Any] = {}
        self._environment: Any = None
        self._mapped: MappedFile | None = None
        self._looks = 0  # since pages were let go of, by weight
        try:
            if not readonly:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._environment = lmdb.open(
                str(path),
                map_size=map_bytes,
                max_dbs=len(tables) + 1,
                max_readers=READERS_MAX,
                readonly=readonly,
                create=not readonly,
                readahead=False,  # reads are random: read-ahead would fill the memory with pages nobody asked for
                mode=0o600,
            )
            self._mapped = MappedFile(path.joinpath(_DATA_FILE), is_writable=not readonly)
            # Frees the slots of readers that were killed, also where the killed one's successor opens: else their
            # slots run out, and the pages that they looked at are never used again.
            self._environment.reader_check()
            self._open_tables(tables, readonly)
            if not readonly:
                _sync_directory(path)
        except (lmdb.Error, OSError) as error:
            self.close()
            raise StoreError("open", f"cannot open {path}: {error}") from None
        except StoreError:
            self.close()
            raise

    def _open_tables(self, tables: Sequence[str], readonly: bool) -> None:
        schema = self._environment.open_db(_SCHEMA_TABLE, create=not readonly)
        with self._environment.begin(write=not readonly, db=schema) as transaction:
            version = transaction.get(_SCHEMA_KEY)
            if version is None and not readonly:
                version = str(SCHEMA_VERSION).encode()
                transaction.put(_SCHEMA_KEY, version)
        if version != str(SCHEMA_VERSION).encode():
            found = "none" if version is None else version.decode(errors="replace")
            raise StoreError(
                "schema", f"this program reads data of version {SCHEMA_VERSION}, this is of version {found}"
            )
        for name in tables:
            self._tables[name] = self._environment.open_db(f"t/{name}".encode(), create=not readonly)

    def get(self, table: str, key: bytes) -> bytes | None:
        """See `ReadView.get`."""
        with self.snapshot() as view:
            return view.get(table, key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See `ReadView.get_many`."""
        with self.snapshot() as view:
            return view.get_many(table, keys)

    def scan(
        self, table: str, prefix: bytes = b"", *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `ReadView.scan`."""
        with self.snapshot() as view:
            yield from view.scan(table, prefix, start=start, reverse=reverse)

    def write(self, operations: Sequence[Operation]) -> None:
        """See `Store.write`."""
        if self._environment is None:
            raise StoreError("closed", "the store is closed")
        if self._failing is not None:
            raise StoreError(self._failing, "the store is read-only, or has failed a write and must be opened again")
        batches = self._batch(operations)
        try:
            with self._environment.begin(write=True) as transaction:
                for table, changes in batches:
                    _apply(transaction, self._tables[table], changes)
        except lmdb.Error as error:
            self._failing = "full" if isinstance(error, lmdb.MapFullError | lmdb.DiskError) else "disk"
            raise StoreError(self._failing, f"the write failed: {error}") from None
        self.syncs += 1
        self._count_looks(min(sum(len(changes.values) for _, changes in batches), LOOKS_OF_A_WRITE_MAX))

    def _batch(self, operations: Sequence[Operation]) -> list[tuple[str, "_Changes"]]:
        """The operations by table: what each key is in the end, and whether the table is emptied before that.

        Tables share no key, so a batch may write one after the other, and each in the order of its keys, which is the
        order of its pages: one pass over a table instead of a search for every key.
        """
        changes: dict[str, _Changes] = {}
        for operation in operations:
            table = operation.table
            of_table = changes.get(table)
            if of_table is None:
                _table(self._tables, table)
                of_table = changes[table] = _Changes()
            if type(operation) is Put:
                check_key(operation.key)
                of_table.values[operation.key] = operation.value
            elif type(operation) is PutMany:
                check_keys(operation.records)
                of_table.values.update(operation.records)
            elif type(operation) is Delete:
                check_key(operation.key)
                of_table.values[operation.key] = None
            else:
                of_table.is_cleared, of_table.values = True, {}
        return list(changes.items())

    def snapshot(self) -> LmdbView:
        """See `Store.snapshot`."""
        if self._environment is None:
            raise StoreError("closed", "the store is closed")
        self._count_looks(1)
        try:
            return LmdbView(self._environment.begin(), self._tables)
        except lmdb.Error as error:  # above all: no reader's slot is free
            raise _read_failed(error) from None

    def _count_looks(self, weight: int) -> None:
        self._looks += weight
        if self._looks >= LOOKS_MAX:
            self.let_go()

    def let_go(self) -> None:
        """Unmap the pages that were looked at (`ledger.mapped_pages`); also while somebody reads."""
        self._looks = 0
        if self._mapped is not None:
            self._mapped.let_go()

    def close(self) -> None:
        """See `Store.close`. Every snapshot must be released before."""
        if self._mapped is not None:
            self._mapped.close()
        self._mapped = None
        if self._environment is not None:
            self._environment.close()
        self._environment = None
        self._tables = {}


def _sync_directory(path: Path) -> None:
    """Makes the new files' names durable: LMDB syncs their content alone."""
    for directory in (path, path.parent):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
