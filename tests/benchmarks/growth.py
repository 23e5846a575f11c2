"""What the world state costs as it grows: an update of its root, memory, and the start of a replica.

    PYTHONPATH=tests python -m benchmarks.growth [--keys 100000 1000000] [--batch 1500] [--json]

The state is written straight into a store, as a snapshot is, so 10,000,000 keys need minutes and no network. An update
changes `--batch` random keys, three for each of 500 transfers; figures are CPU time, the minimum of several updates
after as many as it takes until each writes what waited for it (`ledger.late_records`).
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from ledger.chain import LEDGER_TABLES
from ledger.late_records import PARTS
from ledger.lmdb_store import LmdbStore
from ledger.world_state import WorldState
from pbft.bench.gauge import occupied_bytes, read_memory

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


def measure_growth(keys: int, batch: int) -> Growth:
    """Loads a state of so many keys, changes some of them a few times, and starts again from its files."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        with closing(LmdbStore(directory, tables=LEDGER_TABLES)) as store:
            state = load_state(store, keys)
            root_seconds, write_seconds = measure_updates(store, state, keys, batch)
        began = time.monotonic()
        with closing(LmdbStore(directory, tables=LEDGER_TABLES)) as store:
            with store.snapshot() as view:
                assert WorldState(view).root == state.root
            start_seconds = time.monotonic() - began
        return Growth(
            keys=keys,
            root_us=root_seconds * 1e6,
            write_us=write_seconds * 1e6,
            start_seconds=start_seconds,
            private_mb=read_memory(os.getpid())[1] / 1e6,
            disk_mb=occupied_bytes(directory) / 1e6,
        )


def load_state(store: LmdbStore, keys: int) -> WorldState:
    """A state of so many keys, in the store."""
    with store.snapshot() as view:
        state = WorldState(view)
    for writes in batches(keys):
        with store.snapshot() as view:
            update = state.compute_update(view, writes)
        store.write(update.operations)
        state.adopt(update)
    return state


def measure_updates(store: LmdbStore, state: WorldState, keys: int, batch: int) -> tuple[float, float]:
    """CPU seconds of one changed key, the least of several updates: root and operations, and the synced write."""
    drawn = random.Random(SEED)
    root_seconds = write_seconds = float("inf")
    for number in range(PARTS + UPDATES):
        if number == PARTS:
            root_seconds = write_seconds = float("inf")
        changed = sorted({make_key(drawn.randrange(keys)) for _ in range(batch)})
        writes = [(key, b"\xcf" + drawn.randbytes(8)) for key in changed]
        with store.snapshot() as view:
            began = time.process_time()
            update = state.compute_update(view, writes)
            computing = time.process_time() - began
        began = time.process_time()
        store.write(update.operations)
        write_seconds = min(write_seconds, (time.process_time() - began) / len(writes))
        began = time.process_time()
        state.adopt(update)
        root_seconds = min(root_seconds, (computing + time.process_time() - began) / len(writes))
    return root_seconds, write_seconds


def main(argv: list[str] | None = None) -> None:
    """Prints a row for each size."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--keys", type=int, nargs="+", default=[100_000, 1_000_000])
    options.add_argument("--batch", type=int, default=1_500)
    options.add_argument("--json", action="store_true", help="the rows as a list of objects")
    asked = options.parse_args(argv)
    rows = (measure_growth(keys, asked.batch) for keys in asked.keys)
    if asked.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print(f"{'keys':>12} {'root us':>9} {'write us':>9} {'start s':>9} {'private MB':>11} {'disk MB':>9}")
    for got in rows:
        row = f"{got.keys:>12,} {got.root_us:>9.1f} {got.write_us:>9.1f} {got.start_seconds:>9.2f}"
        print(f"{row} {got.private_mb:>11.1f} {got.disk_mb:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
