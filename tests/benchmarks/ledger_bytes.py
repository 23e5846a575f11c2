"""What a transfer and a reading leave in a replica's ledger: bytes by table, and the file's growth.

    PYTHONPATH=tests python -m benchmarks.ledger_bytes [--transfers 20000] [--readings 40000] [--json]

One process executes full blocks of the bench's own workloads (`benchmarks.solo_ledger`). What a table holds are its
keys and values, without checksums and pages; the file is what LMDB makes of all of them, free pages and the room in
pages included. Both are differences between the middle of a run and its end, divided by the units between, so that the
contracts and the preparation, which come first, are not in them.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.solo_ledger import SoloLedger

from ledger.archive import (
    BATCHES_TABLE,
    CERTIFICATES_TABLE,
    HEADERS_TABLE,
    LEDGER_TABLES,
    RECEIPT_GROUPS_TABLE,
)
from ledger.receipt_index import RECEIPTS_TABLE
from ledger.receipt_runs import RUNS_TABLE
from ledger.world_state import STATE_TABLES
from meters.bench import ReadingsWorkload
from pbft.bench.options import BenchOptions
from pbft.bench.workload import TransferWorkload, Workload

PARTS: Final = (  # of the ledger, by table; certificates and headers are a block's, and shared by its requests
    ("transactions", (BATCHES_TABLE,)),
    ("receipts", (RECEIPTS_TABLE, RECEIPT_GROUPS_TABLE)),
    ("indexes", (RUNS_TABLE,)),
    ("headers, certificates", (HEADERS_TABLE, CERTIFICATES_TABLE)),
    ("state", STATE_TABLES),
)
REST: Final = tuple(table for table in LEDGER_TABLES if not any(table in tables for _, tables in PARTS))
ACCOUNTS: Final = 10_000
TRANSFERS_PER_BLOCK: Final = 500
READINGS_REQUESTS_PER_BLOCK: Final = 10  # of a hundred readings each


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerBytes:
    """Bytes that one unit leaves."""

    unit: str  # plural
    count: int  # of them, between the middle and the end
    units_per_request: int
    requests_per_block: int
    parts: dict[str, float]  # what the tables hold
    file_bytes: float  # what the file grew by


def measure(workload: Workload, directory: Path, units: int, requests_per_block: int) -> LedgerBytes:
    """Runs so many units of a workload, twice."""
    per_block = workload.units * requests_per_block
    blocks = max(units // per_block, 1)
    with closing(SoloLedger(directory, workload)) as solo:
        solo.prepare()
        solo.grow(blocks, requests=requests_per_block)
        before, file_before = read_parts(solo), file_bytes(directory)
        solo.grow(blocks, requests=requests_per_block)
        after, file_after = read_parts(solo), file_bytes(directory)
    count = blocks * per_block
    return LedgerBytes(
        unit=workload.unit,
        count=count,
        units_per_request=workload.units,
        requests_per_block=requests_per_block,
        parts={part: (after[part] - before[part]) / count for part in after},
        file_bytes=(file_after - file_before) / count,
    )


def read_parts(solo: SoloLedger) -> dict[str, int]:
    """Bytes of keys and values in the tables of each part; the tables of none of them together are `the rest`."""
    solo.chain.settle_index()
    with solo.store.snapshot() as view:

        def size(tables: tuple[str, ...]) -> int:
            return sum(len(key) + len(value) for table in tables for key, value in view.scan(table))

        return {part: size(tables) for part, tables in (*PARTS, ("the rest", REST))}


def file_bytes(directory: Path) -> int:
    """The size of the ledger's file: LMDB never leaves a hole in it."""
    return (directory / "data.mdb").stat().st_size


def measure_all(transfers: int, readings: int) -> list[LedgerBytes]:
    """A row for each workload."""
    runs: tuple[tuple[Callable[[], Workload], int, int], ...] = (
        (lambda: TransferWorkload(accounts=ACCOUNTS), transfers, TRANSFERS_PER_BLOCK),
        (lambda: ReadingsWorkload(BenchOptions(workload="readings")), readings, READINGS_REQUESTS_PER_BLOCK),
    )
    rows = []
    for make, units, requests_per_block in runs:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(make(), Path(folder) / "ledger", units, requests_per_block))
    return rows


def main(argv: list[str] | None = None) -> None:
    """Prints a row for each workload."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--transfers", type=int, default=20_000)
    options.add_argument("--readings", type=int, default=40_000)
    options.add_argument("--json", action="store_true", help="the rows as a list of objects")
    asked = options.parse_args(argv)
    rows = measure_all(asked.transfers, asked.readings)
    if asked.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    for got in rows:
        print(f"{got.count:,} {got.unit}, {got.requests_per_block} requests a block: bytes of one")
        for part, size in (*got.parts.items(), ("in tables", sum(got.parts.values())), ("in the file", got.file_bytes)):
            print(f"  {part:<24}{size:>9.1f}")


if __name__ == "__main__":
    main()
