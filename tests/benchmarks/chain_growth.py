"""What a long chain costs: the start of a replica, the return of one that was away, and of one that has lost its disk.

    PYTHONPATH=tests python -m benchmarks.chain_growth [--blocks 1000 10000 100000] [--missed 500] [--json]

One process makes the chain (`benchmarks.solo_ledger`): certified blocks of one transfer each, since it is their number
that must not count. At each length the ledger is copied for three replicas that were there, and for one that left
`--missed` blocks before. Then production nodes are opened on the copies and talk until the one that was away has the
head. Seconds are those of this process, in which all four work, its disk included; beside them stands what the
protocol waited, in ticks of 50 ms, which pass at once here.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.replica_cost import Pit
from benchmarks.solo_ledger import MEMBERS, SoloLedger

from ledger.chain import Chain
from ledger.genesis import Genesis
from ledger.log_store import LogStore
from pbft.bench.gauge import occupied_bytes
from pbft.bench.workload import TransferWorkload
from pbft.core.config import TICK_MS
from pbft.core.persisted import CERTIFIED_KEY, VIEW_KEY, encode_certified, encode_view
from pbft.node.journal import JOURNAL_TABLE, Journal

ACCOUNTS: Final = 1_000
AWAY: Final = MEMBERS - 1  # the replica that was away
TICKS_MAX: Final = 20_000  # of a return: more is no return


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainGrowth:
    """A chain of so many blocks."""

    blocks: int
    disk_mb: float  # of its ledger
    start_seconds: float  # from closed files until the node is whole; the interpreter's own start is not in it
    missed: int
    missed_seconds: float  # until a replica that missed so many blocks has the head
    missed_wait_seconds: float  # of the protocol's own time
    empty_seconds: float  # until a replica with an empty disk has the head
    empty_wait_seconds: float


class Reunion(Pit):
    """Nodes on ledgers that are there already, each in `r<number>` of one directory."""

    def __init__(self, directory: Path, genesis: Genesis, now_ms: int, stack: ExitStack) -> None:
        self.genesis = genesis
        self.now_ms = now_ms
        self.queue = deque()
        self.nodes = []
        self.doors = []
        self.replies = []
        self.start_seconds: list[float] = []
        for replica in range(MEMBERS):
            began = time.perf_counter()
            self._start(directory, replica, stack)
            self.start_seconds.append(time.perf_counter() - began)

    def wait_for(self, replica: int, height: int) -> int:
        """Lets time pass until a replica has executed this height. Returns the ticks that it took."""
        for ticks in range(TICKS_MAX):
            if self.nodes[replica].chain.height >= height:
                return ticks
            self.pass_time()
        raise AssertionError(f"r{replica} is at {self.nodes[replica].chain.height} of {height}")


def place_replica(directory: Path, chain: Chain, ledger_path: Path) -> None:
    """A replica's directory with a copy of a ledger as it stands, and the journal of who certified its head."""
    shutil.copytree(ledger_path, directory / "ledger")
    certificate = chain.newest_certificate()
    assert certificate is not None and certificate.height == chain.height, "the head is certified"
    store = LogStore(directory / "journal", tables=(JOURNAL_TABLE,))
    journal = Journal(store)
    journal.append(VIEW_KEY, encode_view(certificate.epoch, 0, active=True))
    journal.append(CERTIFIED_KEY, encode_certified(certificate.height, certificate.header_hash, certificate))
    journal.sync()
    store.close()


def reunite(directory: Path, solo: SoloLedger) -> tuple[float, float, float]:
    """Seconds of a start, of the return of the replica that was away, and of the protocol's waiting in it."""
    with ExitStack() as stack:
        reunion = Reunion(directory, solo.genesis, solo.chain.head.time_ms + 1, stack)
        began = time.perf_counter()
        ticks = reunion.wait_for(AWAY, solo.chain.height)
        seconds = time.perf_counter() - began
        assert reunion.nodes[AWAY].chain.head.hash == solo.chain.head.hash
    return reunion.start_seconds[0], seconds, ticks * TICK_MS / 1_000


def measure_chains(directory: Path, lengths: Sequence[int], missed: int) -> list[ChainGrowth]:
    """A row for each length, ascending; each longer chain goes on from the shorter one."""
    rows = []
    ledger_path = directory / "solo"
    solo = SoloLedger(ledger_path, TransferWorkload(accounts=ACCOUNTS))
    solo.prepare()
    for blocks in sorted(lengths):
        away, empty = directory / f"away-{blocks}", directory / f"empty-{blocks}"
        solo.grow(blocks - missed - solo.chain.height, requests=1)
        place_replica(away / f"r{AWAY}", solo.chain, ledger_path)
        solo.grow(missed, requests=1)
        for base in (away, empty):
            for replica in range(AWAY):
                place_replica(base / f"r{replica}", solo.chain, ledger_path)
        start_seconds, missed_seconds, missed_wait_seconds = reunite(away, solo)
        _, empty_seconds, empty_wait_seconds = reunite(empty, solo)
        rows.append(
            ChainGrowth(
                blocks=blocks,
                disk_mb=occupied_bytes(ledger_path) / 1e6,
                start_seconds=start_seconds,
                missed=missed,
                missed_seconds=missed_seconds,
                missed_wait_seconds=missed_wait_seconds,
                empty_seconds=empty_seconds,
                empty_wait_seconds=empty_wait_seconds,
            )
        )
        for base in (away, empty):
            shutil.rmtree(base)
    solo.close()
    return rows


def main(argv: list[str] | None = None) -> None:
    """Prints a row for each length."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--blocks", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    options.add_argument("--missed", type=int, default=500)
    options.add_argument("--json", action="store_true", help="the rows as a list of objects")
    asked = options.parse_args(argv)
    if not 0 < asked.missed < min(asked.blocks):
        options.error(f"--missed is at least 1 and less than the shortest chain, {min(asked.blocks)}")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_chains(Path(folder), asked.blocks, asked.missed)
    if asked.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    names = ("blocks", "disk MB", "start s", "missed", "back s", "waits", "empty s", "waits")
    print("".join(f"{name:>9}" for name in names))
    for got in rows:
        row = f"{got.blocks:>9,}{got.disk_mb:>9.1f}{got.start_seconds:>9.3f}{got.missed:>9,}"
        row += f"{got.missed_seconds:>9.2f}{got.missed_wait_seconds:>9.2f}"
        print(f"{row}{got.empty_seconds:>9.2f}{got.empty_wait_seconds:>9.2f}")


if __name__ == "__main__":
    main()
