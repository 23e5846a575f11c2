"""What verifier processes take off a replica's main process: its processor time for a transfer, with and without.

    make costs        (PYTHONPATH=tests python -m benchmarks.verifier_cost [--batch 500 ...] [--repeats 5] [--json])

Two networks of four production nodes each in this process (`replica_cost`), one of which has a real verifier process
for each node, on its socket, in Twisted's reactor. They take turns, batch by batch, on the same transfers; the figure
is this process's time per request and node, the least of several batches. The verifiers' own time is in theirs: it is
what the host must have to spare. A host with one replica gains the ratio where its main process is what limits it.
"""

import argparse
import json
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.replica_cost import Pit
from twisted.internet import reactor as installed

from ledger.late_records import PARTS
from pbft.bench.limit import cpu_seconds
from pbft.node.log import make_logger
from pbft.node.metrics import Metrics
from pbft.node.process_edge import settle_collector
from pbft.node.request_lanes import IN_PLACE_MAX, RequestPool
from pbft.node.verifier_processes import VerifierProcesses
from pbft.wire.codec import Verifier

REACTOR: Any = installed
WAIT_SECONDS = 0.05  # at most, for something to arrive; it costs no processor time


class VerifierHouse:
    """The verifier processes of several nodes in this process, one each, and the pools that ask them."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.pools: list[RequestPool] = []
        self.verifiers: list[VerifierProcesses] = []
        self._due: list[Callable[[], None]] = []

    def make_lanes(self, memory: Verifier) -> RequestPool:
        """The lanes of one node."""
        pool = RequestPool(memory, at_turn_end=self._due.append, guard=nullcontext(), metrics=self.metrics)
        verifiers = VerifierProcesses(
            REACTOR,
            count=1,
            pool=pool,
            metrics=self.metrics,
            log=make_logger(replica=len(self.pools), stream=StringIO()),
        )
        verifiers.start()
        self.pools.append(pool)
        self.verifiers.append(verifiers)
        return pool

    def wait(self) -> bool:
        """Ends the turn, and lets the reactor turn while verdicts are outstanding."""
        while self._due:
            self._due.pop()()
        if not any(pool.waiting for pool in self.pools):
            return False
        REACTOR.iterate(WAIT_SECONDS)
        return True

    def wait_ready(self) -> None:
        """Until every verifier can be asked."""
        while not all(pool.has_helpers for pool in self.pools):
            REACTOR.iterate(WAIT_SECONDS)

    def stop(self) -> None:
        """Ends the processes."""
        ended: list[object] = []
        for verifiers in self.verifiers:
            verifiers.stop().addCallback(ended.append)
        while len(ended) < len(self.verifiers):
            REACTOR.iterate(WAIT_SECONDS)


class PitWithVerifiers(Pit):
    """A network whose nodes have a verifier each."""

    def __init__(self, house: VerifierHouse, directory: Path, *sizes: int, stack: ExitStack) -> None:
        self.make_lanes = house.make_lanes  # type: ignore[method-assign]
        self.wait = house.wait  # type: ignore[method-assign]
        super().__init__(directory, *sizes, stack=stack)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierCost:
    """CPU seconds of this process for a transfer and node, and how many signatures were checked elsewhere."""

    batch: int
    inline_seconds: float
    verified_seconds: float
    verdicts: int

    @property
    def ratio(self) -> float:
        """What is left of the main process's work."""
        return self.verified_seconds / self.inline_seconds


@contextmanager
def open_pits(replicas: int, batch: int, accounts: int) -> Iterator[tuple[Pit, Pit, VerifierHouse]]:
    """Two warm networks: one that checks signatures in this process, one with verifiers."""
    if not REACTOR.running:
        REACTOR.startRunning()  # with its handler for processes that end; `iterate` turns it
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        house = VerifierHouse()
        stack.callback(house.stop)
        inline = Pit(folder / "inline", replicas, batch, accounts, stack)
        verified = PitWithVerifiers(house, folder / "verified", replicas, batch, accounts, stack=stack)
        house.wait_ready()
        settle_collector()
        for _ in range(PARTS):
            inline.run(inline.make_requests(batch))
            verified.run(verified.make_requests(batch))
        yield inline, verified, house


def measure(*, replicas: int = 4, batch: int = 500, accounts: int = 2_000, repeats: int = 5) -> VerifierCost:
    """Both networks in turns."""
    seconds: list[list[float]] = [[], []]
    with open_pits(replicas, batch, accounts) as (inline, verified, house):
        before = house.metrics.verifier_verdicts_total["holds"]
        for _ in range(repeats):
            for pit, measured in zip((inline, verified), seconds, strict=True):
                raws = pit.make_requests(batch)
                measured.append(cpu_seconds(lambda pit=pit, raws=raws: pit.run(raws)) / batch / replicas)  # type: ignore[misc]
        verdicts = house.metrics.verifier_verdicts_total["holds"] - before
        assert house.metrics.verifier_restarts_total == {}
    return VerifierCost(
        batch=batch, inline_seconds=min(seconds[0]), verified_seconds=min(seconds[1]), verdicts=verdicts
    )


def main(argv: list[str] | None = None) -> None:
    """Prints a line for each size of batch, or one JSON array of them."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--replicas", type=int, default=4)
    options.add_argument("--batch", type=int, nargs="+", default=[500, 50, 1])
    options.add_argument("--accounts", type=int, default=20_000)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--json", action="store_true")
    asked = options.parse_args(argv)
    rows: list[dict[str, Any]] = []
    for batch in asked.batch:
        repeats = asked.repeats if batch > 100 else 10 * asked.repeats
        cost = measure(replicas=asked.replicas, batch=batch, accounts=asked.accounts, repeats=repeats)
        expected = batch * asked.replicas * repeats if batch > IN_PLACE_MAX else 0
        assert cost.verdicts == expected, "signatures were not checked where they should have been"
        inline, verified = cost.inline_seconds * 1e6, cost.verified_seconds * 1e6
        rows.append({"batch": batch, "inline_us": round(inline, 1), "verified_us": round(verified, 1)})
        if not asked.json:
            print(
                f"batch {batch}: {inline:.1f} us of the main process per transfer and replica, {verified:.1f} us with "
                f"a verifier: {cost.ratio:.2f} of it, so {1 / cost.ratio:.2f} times as many transfers in the same time"
            )
    if asked.json:
        print(json.dumps(rows))
        return
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"verifiers: {used.ru_utime + used.ru_stime:.1f} s of processor time")


if __name__ == "__main__":
    main()
