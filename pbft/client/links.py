"""A client's links to all replicas: dialled, kept, dialled again; frames in both directions.

Owns the connections and nothing else: which frame answers which question is the client's matter. Dialling again is
driven by the client's one tick, with a capped, doubling wait for each replica; there is no timer of its own. The wait
doubles with each dial that failed and with each link that ended at once, as `pbft.node.dialler` does it: a replica that
refuses after its Hello (a full port, a certificate of no authority) opens a link for a moment, each time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pbft.client.network import ClientNetwork, ReplicaAddress
from pbft.node.tls import TlsIdentity
from pbft.node.transport import Link, connect_client
from pbft.wire.client_frames import ClientFrame, ReplicaFrame, decode_replica_frame, encode_client_frame
from pbft.wire.limits import WireError

REDIAL_TICKS: Final = 4  # first wait after a link was lost or refused
REDIAL_MAX_TICKS: Final = 40  # a replica that comes back is found within this time
HELD_TICKS: Final = 100  # a link that ends sooner was not wanted there: its wait goes on doubling


@dataclass(slots=True)
class _Replica:
    """One replica's side of the bookkeeping; mutable, private to `ReplicaLinks`."""

    address: ReplicaAddress
    link: Link | None = None
    dialling: "Deferred[Link] | None" = None
    wait_ticks: int = 0
    next_wait_ticks: int = REDIAL_TICKS
    held_ticks: int = 0  # since the link opened
    last_error: str = "not connected yet"


class ReplicaLinks:
    """Links to every replica of a network. `on_frame(replica, frame)`, `on_up(replica)`, `on_down(replica)`."""

    def __init__(
        self,
        reactor: Any,
        network: ClientNetwork,
        identity: TlsIdentity,
        *,
        on_frame: Callable[[int, ReplicaFrame], None],
        on_up: Callable[[int], None],
        on_down: Callable[[int], None],
        dial: Callable[..., "Deferred[Link]"] = connect_client,
    ) -> None:
        self._reactor = reactor
        self._network = network
        self._identity = identity
        self._on_frame = on_frame
        self._on_up = on_up
        self._on_down = on_down
        self._dial_replica = dial
        self._replicas = {address.replica: _Replica(address=address) for address in network.addresses}
        self._running = False

    @property
    def connected(self) -> tuple[int, ...]:
        """Replicas with an open, checked link, ascending."""
        return tuple(sorted(number for number, replica in self._replicas.items() if replica.link is not None))

    @property
    def problems(self) -> tuple[tuple[int, str], ...]:
        """Why each of the other replicas is not connected, ascending."""
        return tuple((number, r.last_error) for number, r in sorted(self._replicas.items()) if r.link is None)

    def start(self) -> None:
        """Dial every replica."""
        self._running = True
        for number in self._replicas:
            self._dial(number)

    def stop(self) -> None:
        """Close every link and stop dialling."""
        self._running = False
        for replica in self._replicas.values():
            if replica.dialling is not None:
                replica.dialling.cancel()
            if replica.link is not None:
                replica.link.close("the client ends")

    def tick(self) -> None:
        """One tick has passed: dial again where the wait is over."""
        for number, replica in self._replicas.items():
            if replica.link is not None:
                replica.held_ticks += 1
            if not self._running or replica.link is not None or replica.dialling is not None:
                continue
            replica.wait_ticks -= 1
            if replica.wait_ticks <= 0:
                self._dial(number)

    def send(self, number: int, frame: ClientFrame) -> bool:
        """Write a frame to one replica's link; False where there is none."""
        link = self._replicas[number].link
        if link is None:
            return False
        link.send_frame(encode_client_frame(frame))
        return True

    def _dial(self, number: int) -> None:
        replica = self._replicas[number]
        dialling = self._dial_replica(
            self._reactor,
            replica.address.host,
            replica.address.port,
            expected_transport_key=replica.address.transport_key,
            identity=self._identity,
            network=self._network.network_id,
            replica_id=number,
            on_frame=lambda data: self._frame_arrived(number, data),
            on_closed=lambda reason: self._link_closed(number, reason),
        )
        replica.dialling = dialling
        dialling.addCallbacks(self._link_opened, self._dial_failed, callbackArgs=(number,), errbackArgs=(number,))

    def _link_opened(self, link: Link, number: int) -> None:
        replica = self._replicas[number]
        replica.dialling = None
        if not self._running:
            link.close("the client ends")
            return
        replica.link = link
        replica.held_ticks = 0
        self._on_up(number)

    def _dial_failed(self, failure: Failure, number: int) -> None:
        """Whatever made a dial fail is one more reason to wait and dial again; the reason is kept for messages."""
        replica = self._replicas[number]
        replica.dialling = None
        self._wait_to_redial(replica, failure.getErrorMessage())

    def _link_closed(self, number: int, reason: str) -> None:
        replica = self._replicas[number]
        was_up = replica.link is not None
        replica.link = None
        if was_up and replica.held_ticks >= HELD_TICKS:
            replica.next_wait_ticks = REDIAL_TICKS
        self._wait_to_redial(replica, reason)
        if was_up and self._running:
            self._on_down(number)

    def _wait_to_redial(self, replica: _Replica, reason: str) -> None:
        replica.last_error = reason
        replica.wait_ticks = replica.next_wait_ticks
        replica.next_wait_ticks = min(replica.next_wait_ticks * 2, REDIAL_MAX_TICKS)

    def _frame_arrived(self, number: int, data: bytes) -> None:
        try:
            frame = decode_replica_frame(data)
        except WireError as error:
            link = self._replicas[number].link
            if link is not None:
                link.close(f"a frame that no replica sends: {error.code}")
            return
        self._on_frame(number, frame)
