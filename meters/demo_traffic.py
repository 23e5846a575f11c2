"""What the demo does to its network: onboard a community, replay a series through gateways, kill the primary half way.

It owns the hand-over between the two threads: gateways live in the reactor's, the order of events in the caller's. Each
wait ends with a named failure when nothing has moved for `IDLE_SECONDS_MAX`, or when a gateway cannot go on.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from twisted.internet.threads import blockingCallFromThread
from twisted.python.failure import Failure

from ledger.keys import SigningKey
from meters.batch import Place
from meters.certification import InstalledMeter, MeterRecord, validate_request
from meters.demo_figures import count_settled
from meters.demo_report import KilledPrimary
from meters.gateway import GatewayFleet, Verdicts
from meters.onboarding import (
    BATCH_MAX,
    CommunityPlan,
    GatewayMeters,
    OnboardingCall,
    Participants,
    plan_onboarding,
)
from meters.series import Series
from meters.simulate import ReplayedGateway, SeriesReplay
from pbft.client.account import Account
from pbft.client.blocking import Client, running_reactor
from pbft.core.client_session import Committed, OutcomeUnknown
from pbft.node import local_cluster
from pbft.node.local_network import LocalNetwork

IDLE_SECONDS_MAX: Final = 60.0  # without any progress the demo fails: forty base timers
SETTLE_SECONDS_MAX: Final = 15.0  # without an interval closing: a block follows its last reading in about a second
POLL_SECONDS: Final = 0.05
CALLS_AT_ONCE: Final = 8  # onboarding transactions in flight
AHEAD_OF_KILL: Final = 4  # intervals on their way when the primary is killed
USABLE: Final = frozenset({"accepted", "gap", "out_of_order"})  # codes of readings that are billed (contracts/standard)


class DemoFailed(Exception):
    """The demo came to an end that it must not come to; the message names it."""


class Progress(Protocol):
    """Where the demo tells what it does."""

    def step(self, text: str) -> None:
        """A new stage begins."""
        ...

    def intervals(self, decided: int, total: int) -> None:
        """So many intervals have their verdicts."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that exists while the demo runs."""

    network: LocalNetwork
    client: Client
    authority: SigningKey  # issues the gateways' TLS certificates
    series: Series
    plan: CommunityPlan
    participants: Participants
    assignments: tuple[GatewayMeters, ...]
    installed: tuple[InstalledMeter, ...]
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What came of the replay."""

    verdicts: tuple[Verdicts, ...]
    readings_submitted: int
    readings_accepted: int
    readings_refused: dict[str, int]  # by code
    killed: KilledPrimary


def onboard(stage: Stage) -> None:
    """Bring the community from genesis to its sharing key. The electrician looks before it certifies."""
    accounts: dict[bytes, Account] = {}

    def send(call: OnboardingCall) -> None:
        key = call.signer
        account = accounts.setdefault(key.public_key, Account(key, network=stage.client.network.network_id))
        outcome = stage.client.submit(account, call.contract, call.method, *call.arguments, gas_limit=call.gas_limit)
        if not isinstance(outcome, Committed):
            code = "outcome unknown" if isinstance(outcome, OutcomeUnknown) else outcome.code
            raise DemoFailed(f"onboarding: {call.contract}.{call.method}: {code}")

    with ThreadPoolExecutor(max_workers=CALLS_AT_ONCE) as pool:
        for step in plan_onboarding(stage.series, stage.participants, stage.plan, stage.installed):
            stage.progress.step(f"onboard: {step.title}")
            if any(call.method == "certify" for call in step.calls):
                inspect_requests(stage)
            list(pool.map(send, step.calls))


def inspect_requests(stage: Stage) -> None:
    """The electrician compares what the chain was asked for with what was found on site. Raises NotCertifiableError."""
    for first in range(0, len(stage.installed), BATCH_MAX):
        batch = stage.installed[first : first + BATCH_MAX]
        records = stage.client.query("meters", "records", [meter.meter for meter in batch]).value
        for seen, fields in zip(batch, records, strict=True):
            validate_request(seen, MeterRecord.from_list(fields))


def read_places(stage: Stage) -> dict[str, Place]:
    """The place of each meter, as the chain gave it."""
    places: dict[str, Place] = {}
    for first in range(0, len(stage.installed), BATCH_MAX):
        names = [meter.meter for meter in stage.installed[first : first + BATCH_MAX]]
        for name, (group, number) in zip(names, stage.client.query("meters", "places_of", names).value, strict=True):
            places[name] = Place(group=group, number=number)
    return places


def replay(stack: ExitStack, stage: Stage) -> Traffic:
    """Send every reading of the series, and kill the primary when half of the intervals have their verdicts."""
    watch = _Watch(stage, read_places(stage))
    reactor = running_reactor()
    fleet = blockingCallFromThread(reactor, watch.open_fleet, reactor)
    stack.callback(blockingCallFromThread, reactor, fleet.stop)
    blockingCallFromThread(reactor, cast("Any", fleet.start))
    total = len(stage.series.starts)
    half = total // 2
    gateways = counted(len(stage.assignments), "gateway")
    stage.progress.step(f"submit {counted(total, 'interval')} through {gateways}")
    blockingCallFromThread(reactor, watch.begin, half)
    watch.wait_for(half)
    killed = kill_primary(stage, lambda: blockingCallFromThread(reactor, watch.release))
    watch.wait_for(total)
    codes = fleet.codes
    usable = {code: count for code, count in codes.items() if code in USABLE}
    return Traffic(
        verdicts=tuple(fleet.verdicts),
        readings_submitted=total * len(stage.series.meters),
        readings_accepted=sum(usable.values()),
        readings_refused={code: count for code, count in codes.items() if code not in USABLE},
        killed=killed,
    )


def counted(number: int, noun: str) -> str:
    """A number with its noun, for people: `1 gateway`, `2 gateways`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class _Watch:
    """The caller's view of the replay in the reactor's thread. Methods are called in the reactor's unless they say."""

    def __init__(self, stage: Stage, places: dict[str, Place]) -> None:
        self._stage = stage
        self._places = places
        self._changed = threading.Condition()
        self._decided = 0
        self._failure: str | None = None
        self._replay: SeriesReplay | None = None
        self._fleet: GatewayFleet | None = None

    def open_fleet(self, reactor: Any) -> GatewayFleet:
        stage = self._stage
        fleet = GatewayFleet(
            reactor,
            stage.client.network,
            stage.authority,
            stage.network.directory / "gateways",
            stage.assignments,
            stage.series,
            places=self._places,
            on_verdicts=self._verdicts_arrived,
            on_failure=self._failed,
        )
        self._fleet = fleet
        replayed = [
            ReplayedGateway(gateway=gateway, columns=assigned.columns)
            for gateway, assigned in zip(fleet.gateways, stage.assignments, strict=True)
        ]
        self._replay = SeriesReplay(reactor, stage.series, replayed, on_progress=self._progressed)
        return fleet

    def begin(self, half: int) -> None:
        """Start the replay; hold it a little after the half, so that there is traffic when the primary dies.

        At least one interval is left for afterwards: without requests nobody would miss a primary.
        """
        assert self._replay is not None
        self._replay.hold_at(max(half, min(half + AHEAD_OF_KILL, len(self._stage.series.starts) - 1)))
        self._replay.start()

    def release(self) -> None:
        assert self._replay is not None
        self._replay.release()

    def wait_for(self, decided: int) -> None:
        """In the caller's thread: until so many intervals are decided. Raises DemoFailed."""
        with self._changed:
            while self._decided < decided:
                before = self._decided
                self._changed.wait_for(lambda: self._failure or self._decided >= decided, timeout=IDLE_SECONDS_MAX)
                if self._failure is not None:
                    raise DemoFailed(self._failure)
                if self._decided == before:
                    raise DemoFailed(f"no interval was decided for {IDLE_SECONDS_MAX:.0f} s, at {before} of {decided}")

    def _verdicts_arrived(self, verdicts: Verdicts) -> None:
        assert self._replay is not None
        if verdicts.failure:
            self._tell(failure=f"{verdicts.gateway}: interval {verdicts.start}: {verdicts.failure}")
        self._replay.verdicts_arrived(verdicts)

    def _progressed(self, decided: int) -> None:
        self._stage.progress.intervals(decided, len(self._stage.series.starts))
        self._tell(decided=decided)

    def _failed(self, failure: Failure) -> None:
        self._tell(failure=f"a gateway cannot go on: {failure.getErrorMessage()}")

    def _tell(self, *, decided: int | None = None, failure: str | None = None) -> None:
        with self._changed:
            self._decided = self._decided if decided is None else decided
            self._failure = self._failure or failure
            self._changed.notify_all()


def kill_primary(stage: Stage, go_on: Callable[[], None]) -> KilledPrimary:
    """SIGKILL the primary and its worker, let the traffic go on, restart it, and wait until it is level with the rest.

    `go_on` is called right after the kill.
    """
    before = local_cluster.status(stage.network)
    victim = before["primary"]
    stage.progress.step(f"kill r{victim}, the primary of view {before['view']}, and its worker")
    killed = local_cluster.kill(stage.network, victim)
    go_on()
    others = tuple(replica.replica_id for replica in stage.network.replicas if replica.replica_id != victim)
    after = wait_until(
        lambda: _later_view(stage.network, others, before["view"], before["height"]),
        f"the other replicas go on after r{victim} was killed",
    )
    stage.progress.step(f"restart r{victim}; view {after} goes on")
    began = time.monotonic()
    local_cluster.restart(stage.network, victim)
    wait_until(lambda: _is_level(stage.network, victim) or None, f"r{victim} is level with the others")
    return KilledPrimary(
        replica=victim,
        pid=killed.pid,
        worker_pid=killed.worker_pid,
        view_before=before["view"],
        view_after=after,
        height=before["height"],
        back_after_seconds=round(time.monotonic() - began, 3),
    )


def _later_view(network: LocalNetwork, others: Sequence[int], view: int, height: int) -> int | None:
    """The view in which one of the others has executed beyond a height, once it is later than the one that ended."""
    for replica in local_cluster.status(network)["replicas"]:
        if replica["replica"] in others and (replica["view"] or 0) > view and (replica["height"] or 0) > height:
            return int(replica["view"])
    return None


def _is_level(network: LocalNetwork, replica_id: int) -> bool:
    """Whether a replica has the height and state root of the others, in one look at all of them."""
    replicas = local_cluster.status(network)["replicas"]
    heads = {replica["replica"]: (replica["height"], replica["state_root"]) for replica in replicas}
    mine = heads.pop(replica_id)
    return mine[0] is not None and mine[0] > 0 and mine in heads.values()


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Look again and again until the condition is not None; what it was. Raises DemoFailed after a while."""
    deadline = time.monotonic() + IDLE_SECONDS_MAX
    while True:
        found = condition()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise DemoFailed(f"not true within {IDLE_SECONDS_MAX:.0f} s: {what}")
        time.sleep(POLL_SECONDS)


def wait_settled(stage: Stage) -> None:
    """Until the chain has closed every interval, or nothing has closed for a while.

    Intervals that never close are not an end of their own: the comparison of the figures names what is missing.
    """
    total = len(stage.series.starts)
    closed, since = -1, time.monotonic()
    while closed < total and time.monotonic() - since < SETTLE_SECONDS_MAX:
        now_closed = count_settled(stage.client, stage.plan, stage.series)
        if now_closed != closed:
            closed, since = now_closed, time.monotonic()
        else:
            time.sleep(POLL_SECONDS)
