"""The clients' port: frames of verified links to the door, and its answers back.

It owns what is between a `Link` (TLS and identity done by `transport`) and the `ClientDoor`. Its rules: a frame that
cannot be read ends the connection, since what follows it cannot be trusted either; a connection that keeps sending what
only a faulty client sends is ended too; a client that does not read its answers is not read from, and what waits for it
here is bounded, for each client and for all. Every end is counted with its reason. Admission is the door's.
"""

from collections.abc import Callable
from typing import Any, Final

from ledger.errors import InvariantViolation, StoreError
from pbft.node.client_door import ClientDoor
from pbft.node.client_visit import Visit
from pbft.node.log import Logger
from pbft.node.metrics import Metrics
from pbft.node.transport import Link
from pbft.wire.client_frames import ReplicaFrame, decode_client_frame, encode_replica_frame
from pbft.wire.limits import WireError

FAULTS_MAX: Final = 32  # refused signatures and malformed transactions on a connection: an accident is one or two
UNREAD_BYTES_MAX: Final = 8_388_608  # answers written to a connection that does not read: two of the largest
UNREAD_ALL_BYTES_MAX: Final = 134_217_728  # the same, of all connections: what a replica can spare


class _Connection:
    """One client's link: counts its faults, and stops reading from it while it does not read."""

    def __init__(self, link: Link, door: ClientDoor, port: "ClientPort") -> None:
        self.link = link
        self.unread_bytes = 0  # written while the client did not read
        self._door = door
        self._port = port
        self._is_paused = False
        self._faults = 0
        self.visit: Visit = door.open(self._answer, link.peer.public_key, self._note_fault)

    def receive(self, data: bytes) -> None:
        """A frame from the client."""
        if self.visit.is_closed:
            return
        try:
            frame = decode_client_frame(data)
        except WireError as error:
            self._port.end(self, error.code)
            return
        self._door.receive(self.visit, frame)

    def _note_fault(self) -> None:
        """It sent what only a faulty client sends: now, or before and the verdict came now."""
        self._faults += 1
        if self._faults >= FAULTS_MAX and not self.visit.is_closed:
            self.visit.is_shown_out = True
            self._port.end(self, "too_many_faults")

    def _answer(self, frame: ReplicaFrame) -> None:
        if self.visit.is_closed:
            return
        data = encode_replica_frame(frame)
        self._port.count_sent(len(data))
        self.link.send_frame(data)
        if self._is_paused:
            self.unread_bytes += len(data)
            self._port.count_unread(self, len(data))

    # IPushProducer: the transport asks its "producer" to pause when answers pile up, so the questions pause.

    def pauseProducing(self) -> None:  # noqa: N802 - twisted's name
        self._is_paused = True
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:  # noqa: N802 - twisted's name
        self._is_paused = False
        self._port.forget_unread(self)
        self._transport.resumeProducing()

    def stopProducing(self) -> None:  # noqa: N802 - twisted's name
        """The connection is gone; `on_closed` tells the rest."""

    @property
    def _transport(self) -> Any:
        return self.link.transport


class ClientPort:
    """Takes over every link that `transport.listen_clients` opens."""

    def __init__(self, *, door: ClientDoor, metrics: Metrics, log: Logger, on_fault: Callable[[str], None]) -> None:
        """`on_fault` stops the replica: a question has found out that its ledger cannot be trusted or read."""
        self._on_fault = on_fault
        self._door = door
        self._metrics = metrics
        self._log = log
        self._slow: set[_Connection] = set()  # with answers that wait for their client
        self._unread_bytes = 0

    def link_opened(self, link: Link) -> None:
        """A client's link is up: from now on its frames reach the door."""
        connection = _Connection(link, self._door, self)
        link.on_frame = lambda data: self._receive(connection, data)
        link.on_closed = lambda reason: self._closed(connection)
        link.transport.registerProducer(connection, True)  # type: ignore[union-attr]
        self._metrics.client_connections += 1

    def count_sent(self, byte_count: int) -> None:
        """An answer leaves."""
        self._metrics.client_sent_bytes_total += byte_count

    def _receive(self, connection: _Connection, data: bytes) -> None:
        self._metrics.client_received_bytes_total += len(data)
        try:
            connection.receive(data)
        except (InvariantViolation, StoreError) as error:
            self._on_fault(f"a client's question: {error}")

    def end(self, connection: _Connection, reason: str) -> None:
        """End a connection for the client's own fault; it may still read why."""
        self._count_end(connection, reason)
        connection.link.close(reason)

    def count_unread(self, connection: _Connection, byte_count: int) -> None:
        """An answer waits for a client that does not read: too much of that ends its visit, or that of a slower one."""
        self._slow.add(connection)
        self._unread_bytes += byte_count
        if connection.unread_bytes > UNREAD_BYTES_MAX:
            self._end_slow(connection)
        elif self._unread_bytes > UNREAD_ALL_BYTES_MAX:
            self._end_slow(max(self._slow, key=lambda slow: slow.unread_bytes))

    def forget_unread(self, connection: _Connection) -> None:
        """The client has read what waited, or is gone."""
        self._unread_bytes -= connection.unread_bytes
        connection.unread_bytes = 0
        self._slow.discard(connection)

    def _end_slow(self, connection: _Connection) -> None:
        """At once: what it has not read leaves the memory with it."""
        self._count_end(connection, "slow_reader")
        connection.link.abort("slow_reader")

    def _count_end(self, connection: _Connection, reason: str) -> None:
        self._metrics.client_refused_total[reason] += 1
        self._log.warning("client_ended", reason=reason, address=connection.link.address)
        self.forget_unread(connection)
        self._door.close(connection.visit)

    def _closed(self, connection: _Connection) -> None:
        self._metrics.client_connections -= 1
        self.forget_unread(connection)
        self._door.close(connection.visit)
