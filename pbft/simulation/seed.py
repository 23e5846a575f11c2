"""One seed, one run: what it draws, its two phases, and its report.

Safety phase: load, traitors and the nemesis; anything may stall, nothing may contradict. Liveness phase: the faults
stop, the traitors stay, and within a bound of virtual time every request must have its outcome and every correct
replica must stand on one certified head.
"""

import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from random import Random
from types import CodeType, TracebackType
from typing import Final

from ledger.configuration import ProtocolParameters
from pbft.core.client_session import Committed
from pbft.core.config import SNAPSHOT_LAG_HEIGHTS, TIMER_DOUBLINGS_MAX
from pbft.simulation.byzantine import KINDS_JOIN, Traitors, draw_traitors
from pbft.simulation.checkers import Violation
from pbft.simulation.clients import Clients
from pbft.simulation.cluster import Cluster
from pbft.simulation.coverage import SAMPLE_MS, exercised, is_watched, name_functions, watch
from pbft.simulation.load import Load
from pbft.simulation.nemesis import Nemesis
from pbft.simulation.network import LinkFaults
from pbft.simulation.outcome import check_halts, check_outcome, is_level, name_end
from pbft.simulation.readers import Readers
from pbft.simulation.signing import Signing, signing_of

STEP_MS: Final = 100
DEFAULT_STEPS: Final = 150  # 15 s of faults: some ten base timers
REQUESTS_MIN: Final = 56
REQUESTS_MAX: Final = 80
COUNTED_REQUESTS_MIN: Final = 50  # a seed counts as searched from here on
COUNTED_FAULTS_MIN: Final = 2
SNAPSHOT_LAGS: Final = (6, 12, 24, SNAPSHOT_LAG_HEIGHTS)  # small enough for runs of some tens of blocks; and as shipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a seed drew."""

    n: int
    window: int
    stride: int
    requests: int
    scheduled_calls: int
    expiring: int  # transactions whose expiry is near or past
    reads: int
    faults: LinkFaults
    traitors: tuple[tuple[int, str], ...]  # replica, kinds
    steps: int
    signing: Signing
    snapshot_lag: int  # behind by more heights, a replica takes a snapshot

    def describe(self) -> str:
        """One line."""
        traitors = ", ".join(f"r{replica} {kind}" for replica, kind in self.traitors) or "none"
        return (
            f"n {self.n}, window {self.window}, {self.requests} requests, {self.scheduled_calls} scheduled calls, "
            f"{self.expiring} near their expiry, {self.reads} reads, "
            f"links up to {self.faults.delay_max_ms} ms with {self.faults.loss_permille} lost and "
            f"{self.faults.duplication_permille} doubled of 1000, {self.steps} steps, {self.signing.name} signatures, "
            f"snapshots from {self.snapshot_lag} heights on, "
            f"traitors: {traitors}"
        )


@dataclass(slots=True, kw_only=True)
class SeedReport:
    """How a run went. Nothing in it depends on the machine that ran it."""

    seed: int
    options: Options
    requests_executed: int = 0
    blocks: int = 0
    view_changes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    coverage: Counter[str] = field(default_factory=Counter)
    rules: list[str] = field(default_factory=list)  # exercised, as `coverage.RULES` says
    functions: list[str] = field(default_factory=list)  # of the product that were entered, where the seed is watched
    virtual_ms: int = 0
    trace_sha256: str = ""
    failure: str = ""  # empty, or the violation in one line
    transcript: list[str] = field(default_factory=list)  # of a failed run: faults, last events, standings

    @property
    def counts(self) -> bool:
        """Whether the run met enough to be called searched."""
        moved = self.view_changes > 0 or self.coverage["message:Blocks"] > 0
        kinds = len(self.faults) + sum(len(kinds.split(KINDS_JOIN)) for _, kinds in self.options.traitors)
        return self.requests_executed >= COUNTED_REQUESTS_MIN and kinds >= COUNTED_FAULTS_MIN and moved


def draw_options(seed: int, steps: int = DEFAULT_STEPS) -> Options:
    """The options of a seed, from a source of their own."""
    random = Random(f"options {seed}")
    n = random.choice([4, 4, 4, 5, 6, 7, 7, 8, 9, 10])
    f = (n - 1) // 3
    window, stride = random.choice([(16, 4), (32, 8), (64, 8)])
    return Options(
        n=n,
        window=window,
        stride=stride,
        requests=random.randint(REQUESTS_MIN, REQUESTS_MAX),
        scheduled_calls=random.randint(0, 4),
        expiring=random.randint(0, 4),
        reads=random.randint(0, 12),
        faults=LinkFaults(
            delay_max_ms=random.choice([3, 20, 60]),
            loss_permille=random.choice([0, 10, 50]),
            duplication_permille=random.choice([0, 50, 100]),
        ),
        traitors=draw_traitors(random, n, f),
        steps=steps,
        signing=signing_of(seed),
        snapshot_lag=random.choice(SNAPSHOT_LAGS),
    )


def liveness_bound_ms(n: int, base_timer_ms: int) -> int:
    """Virtual time that the liveness phase may take: f faulty primaries at timers grown to their cap, and one more."""
    faults = (n - 1) // 3
    return 2 * (faults + 1) * (base_timer_ms << TIMER_DOUBLINGS_MAX) + 10_000


def run_seed(seed: int, steps: int = DEFAULT_STEPS) -> SeedReport:
    """Runs one seed to its end or to its first violation; an unexpected exception is a failure like any other."""
    entered: set[CodeType] = set()
    with watch(entered) if is_watched(seed) else nullcontext():
        run = _Run(seed, draw_options(seed, steps))
        with _Failures(run.report, run.cluster):
            run.play()
    run.fill_report()
    run.report.functions = name_functions(entered)
    return run.report


class _Run:
    """One seed in the making: the network, and everybody who does something to it."""

    def __init__(self, seed: int, options: Options) -> None:
        self.options = options
        self.report = SeedReport(seed=seed, options=options)
        self.cluster = Cluster(
            seed=seed,
            replicas=options.n,
            protocol=ProtocolParameters(window=options.window, stride=options.stride),
            faults=options.faults,
            signing=options.signing,
            snapshot_lag=options.snapshot_lag,
        )
        self.cluster.checkers.submitted = set()
        self.traitors = Traitors(self.cluster, options.traitors, Random(f"traitors {seed}"))
        self.clients = Clients(self.cluster, self.traitors.doors)
        self.readers = Readers(self.cluster, self.clients)
        self.span_ms = options.steps * STEP_MS
        self.nemesis = Nemesis(self.cluster, self.cluster.now_ms + self.span_ms)
        self.load = Load(
            self.cluster,
            self.clients,
            self.readers,
            span_ms=self.span_ms,
            requests=options.requests,
            scheduled_calls=options.scheduled_calls,
            expiring=options.expiring,
            reads=options.reads,
        )

    def play(self) -> None:
        """Both phases, and the outcome. Raises Violation."""
        self._sample()
        self.cluster.run(self.span_ms)
        self.nemesis.stop()
        self.load.keep_time_moving()
        _finish(self.cluster, self.clients, self.options)
        whole = next((node for node in self.cluster.correct if not node.chain.gaps), None)
        if whole is not None:  # else nobody holds every block: what was read is judged by the other checkers alone
            self.readers.check(whole)

    def _sample(self) -> None:
        for node in self.cluster.correct:
            self.cluster.observer.sample(node)
        self.cluster.at(SAMPLE_MS, self._sample)

    def fill_report(self) -> None:
        """What happened, whether the run failed or not."""
        report, cluster, correct = self.report, self.cluster, self.cluster.correct
        sessions = self.clients.sessions
        report.requests_executed = sum(isinstance(session.outcome, Committed) for session in sessions)
        report.blocks = max((node.chain.height for node in correct), default=0)
        report.view_changes = max((node.replica.view for node in correct), default=0)
        report.faults = self.nemesis.faults
        network = cluster.network
        links = {"loss": network.lost, "duplication": network.duplicated, "reordering": network.reordered}
        for name, count in links.items():
            if count:
                report.faults[name] += count
        for machine in cluster.machines:
            if machine.replica not in cluster.checkers.faulty:
                report.coverage += machine.counters
        report.coverage += Counter(
            {
                "power_failure:write_torn": cluster.power_failures - cluster.writes_survived,
                "power_failure:write_survived": cluster.writes_survived,
                "load:nonce_reused": self.load.nonces_reused,
                "size:not_3f+1": self.options.n % 3 != 1,
                **{f"answer:{kind}": count for kind, count in self.clients.answers.items()},
                **{f"believed:{kind}": count for kind, count in self.readers.believed.items()},
                **Counter(f"end:{name_end(session.outcome)}" for session in sessions),
            }
        )
        report.coverage += self.traitors.effects + self.nemesis.outcomes + cluster.observer.seen
        faults = {f"fault:{kind}": count for kind, count in report.faults.items()}
        report.rules = exercised({**report.coverage, **faults})
        report.virtual_ms = cluster.now_ms - cluster.trace.start_ms
        report.trace_sha256 = cluster.trace.sha256


def _finish(cluster: Cluster, clients: Clients, options: Options) -> None:
    """The liveness phase."""
    bound_ms = liveness_bound_ms(options.n, cluster.genesis.protocol.base_timer_ms)
    start_ms = cluster.now_ms
    if not _run_until(cluster, bound_ms, lambda: clients.is_done):
        check_halts(cluster)
        waiting = sum(session.outcome is None for session in clients.sessions)
        raise Violation("completion", f"{waiting} requests without an outcome {bound_ms} ms after the faults stopped")
    left_ms = bound_ms - (cluster.now_ms - start_ms)
    if not _run_until(cluster, left_ms, lambda: is_level(cluster)):
        raise Violation("completion", f"no common certified head {bound_ms} ms after the faults stopped")
    check_outcome(cluster, clients)


def _run_until(cluster: Cluster, duration_ms: int, holds: Callable[[], bool]) -> bool:
    """Lets time pass until `holds` does, at most `duration_ms`; asked once a step, because asking costs as an event."""
    end_ms = cluster.now_ms + duration_ms
    while not holds():
        if cluster.now_ms >= end_ms:
            return False
        cluster.run(min(STEP_MS, end_ms - cluster.now_ms))
    return True


class _Failures(AbstractContextManager[None]):
    """Turns whatever a run raises into the report's failure, with the transcript; Ctrl-C passes."""

    def __init__(self, report: SeedReport, cluster: Cluster) -> None:
        self._report, self._cluster = report, cluster

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        lines = [] if isinstance(error, Violation) else traceback.format_exception(error)
        self._report.failure = f"{type(error).__name__}: {error}"
        self._report.transcript = [
            *self._cluster.trace.transcript(),
            *self._cluster.describe().splitlines(),
            *(line.rstrip() for line in lines),
        ]
        return True
