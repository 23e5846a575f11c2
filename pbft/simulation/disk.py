"""The disk of a simulated machine: what is written, what is synced, and what is left when the power fails.

A store's write is one record: applied whole or not at all (LMDB's promise), and durable when `write` returns. Between
its two moments the power may fail: then the record is *written and not synced*, and the disk alone decides whether it
survived; the process learns neither. What completed writes left always survives. Faults of the medium are here too: a
full disk fails every write until there is room, and rot flips one bit of a stored value behind the store's back.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random

from ledger.store import MemoryStore, Operation, Put, Snapshot


class PowerFailure(Exception):
    """The machine is off, in the middle of a write. Nothing after it happens in that process."""


class SimulatedDisk:
    """`ledger.store.Store` with faults. `on_write(operations)` sees every write that completed."""

    def __init__(self, tables: Sequence[str], on_write: Callable[[Sequence[Operation]], None] | None = None) -> None:
        self.writes = 0  # completed
        self._tables = tuple(tables)
        self._synced = MemoryStore(tables)
        self._unsynced: Sequence[Operation] = ()
        self._on_write = on_write
        self._fails_at: int | None = None
        self._is_full = False

    def get(self, table: str, key: bytes) -> bytes | None:
        """See `ReadView.get`."""
        return self._synced.get(table, key)

    def scan(
        self, table: str, prefix: bytes = b"", *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `ReadView.scan`."""
        return self._synced.scan(table, prefix, start=start, reverse=reverse)

    def snapshot(self) -> Snapshot:
        """See `Store.snapshot`."""
        return self._synced.snapshot()

    def close(self) -> None:
        """See `Store.close`. The medium stays."""

    def write(self, operations: Sequence[Operation]) -> None:
        """See `Store.write`. Raises PowerFailure at the write that was chosen for it."""
        if self._fails_at is not None and self.writes >= self._fails_at:
            self._unsynced = tuple(operations)
            raise PowerFailure
        if self._is_full:
            self._synced.fail_writes("disk_full")
        self._synced.write(operations)
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
        """Power is gone and back. Returns whether a write that was not synced survived; a torn one is gone."""
        survivor = self._synced.after_power_loss()
        survived = bool(self._unsynced) and random.random() < 0.5
        if survived:
            survivor.write(self._unsynced)
        self._synced, self._unsynced = survivor, ()
        self.repair()
        return survived

    def process_rot(self, table: str, random: Random) -> bytes | None:
        """Flips one bit of one value of `table`. Returns its key; None where the table is empty."""
        records = list(self._synced.scan(table))
        if not records:
            return None
        key, value = random.choice(records)
        rotten = bytearray(value)
        bit = random.randrange(len(rotten) * 8)
        rotten[bit // 8] ^= 1 << bit % 8
        self._synced.write([Put(table, key, bytes(rotten))])
        return key
