"""What the world state costs as it grows: an update of its root, memory, and the start of a replica.

    PYTHONPATH=tests python -m benchmarks.growth [--keys 100000 1000000] [--batch 1500]

The state is written straight into a store, as a snapshot is, so 10,000,000 keys need minutes and no network. An update
changes `--batch` random keys, three for each of 500 transfers; figures are CPU time, the minimum of several updates.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.chain import LEDGER_TABLES
from ledger.lmdb_store import LmdbStore
from ledger.world_state import WorldState
from pbft.bench.gauge import occupied_bytes, read_memory
from pbft.bench.limit import cpu_seconds

LOADED_AT_ONCE: Final = 50_000
UPDATES: Final = 6
SEED: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A state of so many keys."""

    keys: int
    root_us: float  # CPU of one changed key: new root and operations
    write_us: float  # CPU of one changed key: the synced write
    start_seconds: float  # until the root is known again from the files
    private_mb: float  # of this process, the state's part of it included
    disk_mb: float


def make_key(number: int) -> bytes:
    """An account's key in the state of the contract `cash`."""
    return b"c/cash/accounts/\xc4\x20" + random.Random(number).randbytes(32)


def batches(keys: int) -> Iterator[list[tuple[bytes, bytes | None]]]:
    """All keys with a first value, ascending within each batch."""
    for first in range(0, keys, LOADED_AT_ONCE):
        numbers = range(first, min(first + LOADED_AT_ONCE, keys))
        yield sorted((make_key(number), b"\xcf" + bytes(8)) for number in numbers)


def measure_growth(keys: int, batch: int, directory: Path) -> Growth:
    """Loads a state of so many keys, changes some of them a few times, and starts again from its files."""
    store = LmdbStore(directory, tables=LEDGER_TABLES)
    with store.snapshot() as view:
        state = WorldState(view)
    for writes in batches(keys):
        with store.snapshot() as view:
            update = state.compute_update(view, writes)
        store.write(update.operations)
        state.adopt(update)
    drawn = random.Random(SEED)
    root_seconds = write_seconds = float("inf")
    for _ in range(UPDATES):
        changed = sorted({make_key(drawn.randrange(keys)) for _ in range(batch)})
        writes = [(key, b"\xcf" + drawn.randbytes(8)) for key in changed]
        with store.snapshot() as view:
            updates = []
            root_seconds = min(
                root_seconds,
                cpu_seconds(lambda: updates.append(state.compute_update(view, writes))) / len(writes),  # noqa: B023
            )
        write_seconds = min(write_seconds, cpu_seconds(lambda: store.write(updates[0].operations)) / len(writes))  # noqa: B023
        state.adopt(updates[0])
    root = state.root
    store.close()
    start = time.monotonic()
    store = LmdbStore(directory, tables=LEDGER_TABLES)
    with store.snapshot() as view:
        state = WorldState(view)
    assert state.root == root
    elapsed = time.monotonic() - start
    store.close()
    return Growth(
        keys=keys,
        root_us=root_seconds * 1e6,
        write_us=write_seconds * 1e6,
        start_seconds=elapsed,
        private_mb=read_memory_of_this() / 1e6,
        disk_mb=occupied_bytes(directory) / 1e6,
    )


def read_memory_of_this() -> int:
    """This process's memory that is no file's."""
    import os

    return read_memory(os.getpid())[1]


def main(argv: list[str] | None = None) -> None:
    """Prints a row for each size."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--keys", type=int, nargs="+", default=[100_000, 1_000_000])
    options.add_argument("--batch", type=int, default=1_500)
    asked = options.parse_args(argv)
    print(f"{'keys':>12} {'root us':>9} {'write us':>9} {'start s':>9} {'private MB':>11} {'disk MB':>9}")
    for keys in asked.keys:
        with tempfile.TemporaryDirectory() as folder:
            got = measure_growth(keys, asked.batch, Path(folder))
        row = f"{got.keys:>12,} {got.root_us:>9.1f} {got.write_us:>9.1f} {got.start_seconds:>9.2f}"
        print(f"{row} {got.private_mb:>11.1f} {got.disk_mb:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
