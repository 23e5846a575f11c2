"""One seed, one run: what it draws, its two phases, and its report.

Safety phase: load, traitors and the nemesis; anything may stall, nothing may contradict; some end with a siege, which
leaves the longest timers that there are. Liveness phase: the faults
stop, the traitors stay, and within a bound of virtual time every request must have its outcome and every correct
replica must stand on one certified head.
"""

import gc
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
from pbft.simulation.membership import CHANGES, Change
from pbft.simulation.nemesis import Nemesis
from pbft.simulation.network import LinkFaults
from pbft.simulation.outcome import check_outcome, is_level, name_end
from pbft.simulation.readers import Readers
from pbft.simulation.siege import lay_siege
from pbft.simulation.signing import Signing, signing_of

STEP_MS: Final = 100
DEFAULT_STEPS: Final = 100  # 10 s of faults: some seven base timers
REQUESTS_MIN: Final = 54  # some are handed in twice, so more end committed
REQUESTS_MAX: Final = 60
COUNTED_REQUESTS_MIN: Final = 50  # a seed counts as searched from here on
COUNTED_FAULTS_MIN: Final = 2
SNAPSHOT_LAGS: Final = (6, 12, 24, SNAPSHOT_LAG_HEIGHTS)  # small enough for runs of some tens of blocks; and as shipped
SIZES: Final = {4: 26, 5: 9, 6: 8, 7: 12, 8: 2, 9: 1, 10: 2}
"""n, and its weight: a run costs by the square of n, and what several traitors can do begins with the two of 7."""
BATCHES: Final = (3, 8, 500)  # requests in one: of small ones several are in flight at once
WINDOWS: Final = ((8, 2), (16, 4), (32, 8))  # and strides: narrow ones fill, and an epoch ends a window later
CHANGE_CHANCE: Final = 0.35  # of a change of the configuration
SIEGE_CHANCE: Final = 0.03  # a siege lasts ten times as long as all else
COLLECTOR_THRESHOLDS: Final = (50_000, 20, 100)  # of the cyclic garbage collector, while a seed runs
PROVOKED_MS: Final = 500
PROVOKED_AT: Final = 0.6  # of the safety phase; the load goes on for a while


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a seed drew."""

    n: int
    window: int
    stride: int
    batch_requests_max: int
    requests: int
    scheduled_calls: int
    expiring: int  # transactions whose expiry is near or past
    reads: int
    change: str  # of the configuration, one of membership.CHANGES, or empty
    faults: LinkFaults
    traitors: tuple[tuple[int, str], ...]  # replica, kinds
    steps: int
    signing: Signing
    snapshot_lag: int  # behind by more heights, a replica takes a snapshot
    is_besieged: bool  # after the other faults no view succeeds until timers are as long as they get

    def describe(self) -> str:
        """One line."""
        traitors = ", ".join(f"r{replica} {kind}" for replica, kind in self.traitors) or "none"
        return (
            f"n {self.n}, window {self.window}, batches of {self.batch_requests_max}, "
            f"{self.requests} requests, {self.scheduled_calls} scheduled calls, "
            f"{self.expiring} near their expiry, {self.reads} reads, "
            f"{self.change or 'no'} change of the configuration, snapshots from {self.snapshot_lag} heights on, "
            f"links up to {self.faults.delay_max_ms} ms with {self.faults.loss_permille} lost and "
            f"{self.faults.duplication_permille} doubled of 1000, {self.steps} steps, {'a siege, ' * self.is_besieged}"
            f"{self.signing.name} signatures, "
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
    liveness_ms: int = 0  # from the end of the faults to a common certified head, 0 where there was none
    virtual_ms: int = 0
    trace_sha256: str = ""
    failure: str = ""  # empty, or the violation in one line
    transcript: list[str] = field(default_factory=list)  # of a failed run: faults, last events, standings

    @property
    def counts(self) -> bool:
        """Whether the run met enough to be called searched."""
        transfers = self.coverage["message:Blocks"] + self.coverage["snapshot_installed"]
        moved = self.coverage["view:installed"] > 0 or transfers > 0  # an epoch begins in view 0 again
        kinds = len(self.faults) + sum(len(kinds.split(KINDS_JOIN)) for _, kinds in self.options.traitors)
        return self.requests_executed >= COUNTED_REQUESTS_MIN and kinds >= COUNTED_FAULTS_MIN and moved


def draw_options(seed: int, steps: int = DEFAULT_STEPS) -> Options:
    """The options of a seed, from a source of their own."""
    random = Random(f"options {seed}")
    (n,) = random.choices(list(SIZES), list(SIZES.values()))
    f = (n - 1) // 3
    window, stride = random.choice(WINDOWS)
    change = random.choice(CHANGES) if random.random() < CHANGE_CHANCE else ""
    traitors = draw_traitors(random, n, f if change in {"", "parameters"} else f - 1)
    return Options(
        n=n,
        window=window,
        stride=stride,
        requests=random.randint(REQUESTS_MIN, REQUESTS_MAX),
        scheduled_calls=random.randint(0, 4),
        expiring=random.randint(0, 4),
        reads=random.randint(0, 12),
        change=change,
        batch_requests_max=random.choice(BATCHES),
        faults=LinkFaults(
            delay_max_ms=random.choice([3, 20, 60]),
            loss_permille=random.choice([0, 10, 50]),
            duplication_permille=random.choice([0, 50, 100]),
        ),
        traitors=traitors,
        steps=steps,
        signing=signing_of(seed),
        snapshot_lag=random.choice(SNAPSHOT_LAGS),
        is_besieged=random.random() < SIEGE_CHANCE,
    )


def liveness_bound_ms(n: int, base_timer_ms: int, *, is_changing: bool) -> int:
    """Virtual time that the liveness phase may take, as `pbft/README.md` ("Time") derives it from the rules.

    Timers may have grown to their cap of 32 T (D57). 16 T until a request is known to all (D56), 32 T until all suspect
    and 32 T for each of the f faulty primaries that may follow in a row are less than (f + 2) 32 T; 10 s are for
    exchange, blocks and snapshots, and for proofs of expiry, which wait for a certified height. An epoch begins with
    new timers in view 0, and so meets the faulty primaries once more, at T, 2 T, 4 T (D41): 2^(f+2) T where the
    configuration changes. And a faulty primary that worked the requests off at last, the change among them, has another
    32 T to fill the epoch (D64); those after it in a row are timed for both at once.
    """
    faults = (n - 1) // 3
    longest_ms = base_timer_ms << TIMER_DOUBLINGS_MAX
    changing_ms = longest_ms + (base_timer_ms << (faults + 2)) if is_changing else 0
    return (faults + 2) * longest_ms + 10_000 + changing_ms


def run_seed(seed: int, steps: int = DEFAULT_STEPS) -> SeedReport:
    """Runs one seed to its end or to its first violation; an unexpected exception is a failure like any other."""
    entered: set[CodeType] = set()
    with _patient_collector(), watch(entered) if is_watched(seed) else nullcontext():
        run = _Run(seed, draw_options(seed, steps))
        with _Failures(run.report, run.cluster):
            run.play()
    run.fill_report()
    run.report.functions = name_functions(entered)
    return run.report


@contextmanager
def _patient_collector() -> Iterator[None]:
    """A run makes millions of objects and few cycles: looking for these as often as Python does takes a tenth of it."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Run:
    """One seed in the making: the network, and everybody who does something to it."""

    def __init__(self, seed: int, options: Options) -> None:
        self.options = options
        self.report = SeedReport(seed=seed, options=options)
        self.cluster = Cluster(
            seed=seed,
            replicas=options.n,
            protocol=ProtocolParameters(
                window=options.window, stride=options.stride, batch_requests_max=options.batch_requests_max
            ),
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
        self.change = (
            Change(self.cluster, options.change, self.cluster.random.randrange(self.span_ms // 2))
            if options.change
            else None
        )
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
        self.cluster.at(int(self.span_ms * PROVOKED_AT), self._provoke)
        self.cluster.run(self.span_ms)
        self.nemesis.stop()
        if self.options.is_besieged:
            self.report.faults["siege"] += lay_siege(self.cluster, self.load.add_one)
        self.load.keep_time_moving()
        self._finish()
        whole = [node for node in self.cluster.correct if not node.chain.gaps]
        if whole:
            self.readers.check(whole[0])

    def _provoke(self) -> None:
        """A run in which nobody has changed the view by now gets a reason, however often links heal: no primary."""
        views = [node.replica.view for node in self.cluster.correct]
        if views and not max(views) and self.cluster.now_ms < self.cluster.trace.start_ms + self.span_ms:
            self.cluster.at(PROVOKED_MS, self._provoke)
            primary = self.cluster.correct[0].replica.primary
            self.cluster.network.partition({primary}, set(range(self.options.n)) - {primary})
            self.cluster.trace.record_fault(self.cluster.now_ms, f"nothing happened so far: r{primary} is cut off")
            self.report.faults["provoked_partition"] += 1

    def _finish(self) -> None:
        """The liveness phase."""
        cluster, clients = self.cluster, self.clients
        bound_ms = liveness_bound_ms(
            self.options.n, cluster.genesis.protocol.base_timer_ms, is_changing=bool(self.options.change)
        )
        start_ms = cluster.now_ms
        if not _run_until(cluster, bound_ms, lambda: self.load.is_settled):
            waiting = sum(session.outcome is None for session in clients.sessions)
            raise Violation("completion", f"{waiting} requests have no outcome {bound_ms} ms after the faults stopped")
        left_ms = bound_ms - (cluster.now_ms - start_ms)
        if not _run_until(cluster, left_ms, lambda: is_level(cluster) and (self.change is None or self.change.is_over)):
            raise Violation("completion", f"no common certified head {bound_ms} ms after the faults stopped")
        self.report.liveness_ms = cluster.now_ms - start_ms
        check_outcome(cluster, clients)
        self._sample()

    def _note_all(self) -> None:
        for node in self.cluster.correct:
            self.cluster.observer.sample(node)

    def _sample(self) -> None:
        self._note_all()
        self.cluster.at(SAMPLE_MS, self._sample)

    def fill_report(self) -> None:
        """What happened, whether the run failed or not."""
        report, cluster, correct = self.report, self.cluster, self.cluster.correct
        sessions = self.clients.sessions
        report.requests_executed = sum(isinstance(session.outcome, Committed) for session in sessions)
        report.blocks = max((node.chain.height for node in correct), default=0)
        report.view_changes = max((node.replica.view for node in correct), default=0)
        report.faults += self.nemesis.faults
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
        if self.change is not None:
            report.coverage += self.change.done
        report.coverage += self.traitors.effects + self.nemesis.outcomes + cluster.observer.seen
        faults = {f"fault:{kind}": count for kind, count in report.faults.items()}
        report.rules = exercised({**report.coverage, **faults})
        report.virtual_ms = cluster.now_ms - cluster.trace.start_ms
        report.trace_sha256 = cluster.trace.sha256


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
