"""A simulated fleet of gateways, and a replay of a series through them at a chosen speed, in interval order.

Owns the pace: which interval is measured when. At a speed of so many intervals a second the reactor's clock decides;
without one the verdicts do - a new interval is measured when an old one is decided, with `ahead` of them on the way.
A replay can be held at an interval, so that the demo kills a primary in the middle of traffic and not after it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from ledger.keys import SigningKey
from ledger.lmdb_store import LmdbStore
from meters.gateway import Gateway, Verdicts
from meters.onboarding import GatewayMeters
from meters.outbox import OUTBOX_TABLES, Outbox
from meters.reading import RecordChain
from meters.series import MeterColumn, Series
from pbft.client.account import Account
from pbft.client.network import ClientNetwork
from pbft.client.twisted_client import TwistedClient
from pbft.node.tls import issue_client_certificate

AHEAD: Final = 16  # intervals measured and not yet decided: twice what a gateway has in flight
OUTBOX_BYTES: Final = 4 * 1024**3  # address space of an outbox, sparse on disk: years of readings
PUMP_S: Final = 0.05  # how often the clock is looked at when a speed is given


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedGateway:
    """A gateway and the columns of the series that its meters measure."""

    gateway: Gateway
    columns: tuple[MeterColumn, ...]


class SeriesReplay:
    """Feeds a series to gateways. Tell it every verdict; it calls `on_progress(decided)` for each finished interval."""

    def __init__(
        self,
        reactor: Any,
        series: Series,
        gateways: Sequence[ReplayedGateway],
        *,
        intervals_per_second: float | None = None,
        ahead: int = AHEAD,
        on_progress: Callable[[int], None],
    ) -> None:
        self._reactor = reactor
        self._series = series
        self._gateways = tuple(gateways)
        self._speed = intervals_per_second
        self._ahead = ahead
        self._on_progress = on_progress
        self._hold_at = len(series.starts)
        self._measured = 0
        self._decided = 0
        self._missing = {start: len(self._gateways) for start in series.starts}  # verdicts still to come
        self._began: float = 0.0
        self._loop = LoopingCall(self._feed)
        self._loop.clock = reactor

    @property
    def decided(self) -> int:
        """Intervals of which every gateway's request has its final outcome."""
        return self._decided

    @property
    def is_complete(self) -> bool:
        return self._decided == len(self._series.starts)

    def start(self) -> None:
        """Begin; with a speed, the first interval is measured now."""
        self._began = self._reactor.seconds()
        if self._speed is not None:
            self._loop.start(PUMP_S, now=False)
        self._feed()

    def stop(self) -> None:
        """Measure nothing more."""
        self._hold_at = 0
        if self._loop.running:
            self._loop.stop()

    def hold_at(self, interval: int) -> None:
        """Measure no interval from this index on, until released."""
        self._hold_at = interval

    def release(self) -> None:
        """Go on to the end."""
        self._hold_at = len(self._series.starts)
        self._feed()

    def verdicts_arrived(self, verdicts: Verdicts) -> None:
        """A gateway's request of one interval has its final outcome."""
        self._missing[verdicts.start] -= 1
        if self._missing[verdicts.start] == 0:
            self._decided += 1
            self._on_progress(self._decided)
            self._feed()

    def _feed(self) -> None:
        """Measure the intervals that are due, several in one durable write where several are."""
        until = min(self._decided + self._ahead, self._hold_at, len(self._series.starts))
        if self._speed is not None:
            until = min(until, int((self._reactor.seconds() - self._began) * self._speed) + 1)
        if until <= self._measured:
            return
        due = range(self._measured, until)
        self._measured = until
        for replayed in self._gateways:
            replayed.gateway.measure(
                [
                    (
                        self._series.starts[index],
                        {column.meter: self._series.values_of(column)[index] for column in replayed.columns},
                    )
                    for index in due
                ]
            )


class GatewayFleet:
    """Simulated gateways, each with its own key, TLS identity, links and durable outbox. Lives in the reactor's thread.

    `verdicts` keeps what was decided, in order; `failure` what stopped a gateway, if anything did.
    """

    def __init__(
        self,
        reactor: Any,
        network: ClientNetwork,
        authority: SigningKey,
        directory: Path,
        assignments: Sequence[GatewayMeters],
        series: Series,
        *,
        on_verdicts: Callable[[Verdicts], None],
        on_failure: Callable[[Failure], None],
    ) -> None:
        """`authority` issues the gateways' TLS certificates; `directory` gets one outbox each."""
        self.verdicts: list[Verdicts] = []
        self._on_verdicts = on_verdicts
        self._clients: list[TwistedClient] = []
        self._stores: list[LmdbStore] = []
        self.gateways: list[ReplayedGateway] = []
        for number, assigned in enumerate(assignments):
            name = f"gw-{number + 1}"
            client = TwistedClient(reactor, network, issue_client_certificate(authority, name))
            store = LmdbStore(directory / name, tables=OUTBOX_TABLES, map_bytes=OUTBOX_BYTES)
            outbox = Outbox(store)
            for column in assigned.columns:
                outbox.register_meter(
                    RecordChain(
                        chain=network.network_id,
                        meter=column.meter,
                        kind=column.kind,
                        length_s=series.interval_s,
                        register_wh=0,
                    )
                )
            gateway = Gateway(
                name=name,
                account=Account(assigned.key, network=network.network_id),
                outbox=outbox,
                client=client,
                on_verdicts=self._verdicts_arrived,
                on_failure=on_failure,
            )
            self._clients.append(client)
            self._stores.append(store)
            self.gateways.append(ReplayedGateway(gateway=gateway, columns=assigned.columns))

    def start(self) -> "Deferred[list[None]]":
        """Dial the replicas; fires when every gateway has reached the network."""
        for client in self._clients:
            client.start()
        return gatherResults([replayed.gateway.start() for replayed in self.gateways], consumeErrors=True)

    def stop(self) -> None:
        """Close links and outboxes; what waits in them is still there at the next start."""
        for client in self._clients:
            client.stop()
        for store in self._stores:
            store.close()

    @property
    def codes(self) -> Counter[str]:
        """Verdicts of all readings so far, by code."""
        return sum((replayed.gateway.codes for replayed in self.gateways), Counter())

    def _verdicts_arrived(self, verdicts: Verdicts) -> None:
        self.verdicts.append(verdicts)
        self._on_verdicts(verdicts)
