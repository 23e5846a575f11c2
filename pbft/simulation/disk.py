"""The disk of a simulated machine: what is written, what is synced, and what is left when the power fails.

A store's write is one transaction, applied whole or not at all (LMDB's promise), and durable when `write` returns.
Below that promise the medium takes bytes: a record for each operation, and a commit record last. Where the power fails
inside a write, those bytes are *written and not synced*: any prefix of the records has reached the medium, and the last
of them may be torn. What is read back afterwards is what whole records with their commit say, so the write is there or
it is not, the process knows neither, and what completed writes left is there always.

Other faults of the medium: a full disk fails every write until there is room, and rot flips one bit of what is stored,
behind the store's back. Every value lies behind its checksum, as in production (`ledger.checksum`).
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from random import Random
from typing import Final, Self

from ledger.checksum import protect, protect_many, unprotect, unprotect_many
from ledger.encoding import encode
from ledger.store import MemoryStore, Operation, Put, PutMany, Snapshot

ARRIVES_WHOLE_CHANCE: Final = 0.5  # of a write inside which the power fails
COMMIT: Final = b"commit"
HEAD_BYTES: Final = 8  # of a record: length and CRC-32


class PowerFailure(Exception):
    """The machine is off, in the middle of a write. Nothing after it happens in that process."""


class SimulatedDisk:
    """`ledger.store.Store` with faults. `on_write(operations)` sees every write that completed."""

    def __init__(self, tables: Sequence[str], on_write: Callable[[Sequence[Operation]], None] | None = None) -> None:
        self.writes = 0  # completed
        self.tables = tuple(tables)
        self._synced = MemoryStore(tables)
        self._unsynced: Sequence[Operation] = ()
        self._on_write = on_write
        self._fails_at: int | None = None
        self._is_full = False

    def get(self, table: str, key: bytes) -> bytes | None:
        """See `ReadView.get`."""
        stored = self._synced.get(table, key)
        return None if stored is None else unprotect(table, key, stored)

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See `ReadView.get_many`."""
        return unprotect_many(table, self._synced.get_many(table, keys).items())

    def scan(
        self, table: str, prefix: bytes = b"", *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `ReadView.scan`."""
        for key, stored in self._synced.scan(table, prefix, start=start, reverse=reverse):
            yield key, unprotect(table, key, stored)

    def snapshot(self) -> Snapshot:
        """See `Store.snapshot`."""
        return _View(self._synced.snapshot())

    def close(self) -> None:
        """See `Store.close`. The medium stays."""

    def write(self, operations: Sequence[Operation]) -> None:
        """See `Store.write`. Raises PowerFailure at the write that was chosen for it."""
        protected = [protected_operation(operation) for operation in operations]
        if self._fails_at is not None and self.writes >= self._fails_at:
            self._unsynced = protected
            raise PowerFailure
        if self._is_full:
            self._synced.fail_writes("disk_full")
        self._synced.write(protected)
        self.writes += 1
        if self._on_write is not None:
            self._on_write(operations)

    # --- faults ---

    def fail_power(self, writes_from_now: int) -> None:
        """Power fails in the middle of a write to come; 0 is the next one."""
        self._fails_at = self.writes + writes_from_now

    def fill(self) -> None:
        """There is no room: every write fails, until the process starts again on a disk with room."""
        self._is_full = True

    def repair(self) -> None:
        """There is room and power again; a store that failed a write stays failed until the process starts anew."""
        self._fails_at, self._is_full = None, False

    def process_power_loss(self, random: Random) -> bool:
        """Power is gone and back. Returns whether a write that was not synced is there nevertheless."""
        survivor, survived = self._synced.after_power_loss(), False
        if self._unsynced:
            records = write_records(self._unsynced)
            arrived = len(records) if random.random() < ARRIVES_WHOLE_CHANCE else random.randrange(len(records))
            survived = count_whole(records[:arrived]) > len(self._unsynced)  # its commit record too
            if survived:
                survivor.write(self._unsynced)
        self._synced, self._unsynced = survivor, ()
        self.repair()
        return survived

    def has_records(self, table: str) -> bool:
        """Whether a table holds anything, rotten or not."""
        return any(True for _ in self._synced.scan(table))

    def process_rot(self, table: str, random: Random) -> bytes | None:
        """Flips one bit of one stored value of `table`. Returns its key; None where the table is empty."""
        records = list(self._synced.scan(table))
        if not records:
            return None
        key, stored = random.choice(records)
        rotten = bytearray(stored)
        bit = random.randrange(len(rotten) * 8)
        rotten[bit // 8] ^= 1 << bit % 8
        self._synced.write([Put(table, key, bytes(rotten))])
        return key


def protected_operation(operation: Operation) -> Operation:
    """The same with every value behind its checksum."""
    if type(operation) is PutMany:
        return PutMany(operation.table, protect_many(operation.records))
    if type(operation) is Put:
        return Put(operation.table, operation.key, protect(operation.key, operation.value))
    return operation


def content_of(operation: Operation) -> bytes:
    """Keys and values, as far as it has them."""
    if isinstance(operation, PutMany):
        return b"".join(part for record in operation.records for part in record)
    return b"".join(operation[1:])


class _View(AbstractContextManager["_View"]):
    """A snapshot whose values are checked as they are read."""

    def __init__(self, view: Snapshot) -> None:
        self._view = view

    def get(self, table: str, key: bytes) -> bytes | None:
        """See `ReadView.get`."""
        stored = self._view.get(table, key)
        return None if stored is None else unprotect(table, key, stored)

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See `ReadView.get_many`."""
        return unprotect_many(table, self._view.get_many(table, keys).items())

    def scan(
        self, table: str, prefix: bytes = b"", *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `ReadView.scan`."""
        for key, stored in self._view.scan(table, prefix, start=start, reverse=reverse):
            yield key, unprotect(table, key, stored)

    def close(self) -> None:
        """See `Snapshot.close`."""
        self._view.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


# --- the medium: length, CRC-32, content; one record an operation, and a commit record for the transaction ---


def write_records(operations: Sequence[Operation]) -> bytes:
    """A transaction as the medium gets it."""
    return b"".join(_record(content) for content in [*(encode(tuple(o)) for o in operations), COMMIT])


def _record(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + zlib.crc32(content).to_bytes(4, "big") + content


def count_whole(data: bytes) -> int:
    """How many records stand whole at the beginning; what follows a torn one is gone with it."""
    count = position = 0
    while position + HEAD_BYTES <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        content = data[position + HEAD_BYTES : position + HEAD_BYTES + length]
        if len(content) < length or zlib.crc32(content).to_bytes(4, "big") != data[position + 4 : position + 8]:
            break
        position += HEAD_BYTES + length
        count += 1
    return count
