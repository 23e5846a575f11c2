"""Links: length-prefixed frames over mutually authenticated TLS 1.3, between replicas and from clients.

    transport = PeerTransport(reactor, replica_id=2, definition=definition, network=network, identity=identity.transport,
                              rules=rules, on_message=driver.receive_frame, refused=metrics.links_refused_total, ...)
    yield transport.start();  transport.send(3, frame);  transport.broadcast(frame);  yield transport.stop()

    port = yield listen_clients(reactor, host, port, identity=..., authorities=..., network=..., replica_id=...,
                                on_link=client_port.link_opened, refused=metrics.links_refused_total)
    link = yield connect_client(reactor, host, port, expected_transport_key=..., identity=client_identity,
                                network=..., on_frame=..., on_closed=...)
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Protocol

from pbft.node.network_config import NetworkDefinition
from pbft.node.tls import PeerCertificate, TlsIdentity
from pbft.wire.limits import WireRules


class FrameProtocol(Protocol):
    """Frames both ways over a byte stream: 4 bytes big-endian length, then the frame."""

    def send_frame(self, frame: bytes) -> None: ...


class Link(FrameProtocol):
    """A connection whose other end is known: TLS done, certificate accepted, Hello exchanged."""

    peer: PeerCertificate
    replica: int | None  # of the other end; None for a client
    address: str  # for logs
    on_frame: Callable[[bytes], None]  # set by whoever takes the link over
    on_closed: Callable[[str], None]  # called once, with a reason

    def close(self, reason: str) -> None:
        """Ends the connection after what was written has left."""


class PeerTransport:
    """The Outbound of a replica: one link to each other replica for sending, and accepts theirs for receiving."""

    def __init__(
        self,
        reactor: Any,
        *,
        replica_id: int,
        definition: NetworkDefinition,
        network: bytes,
        identity: TlsIdentity,
        rules: WireRules,
        on_message: Callable[[int, bytes], None],
        refused: Counter[str] | None = None,
        dropped: Counter[str] | None = None,
        jitter: random.Random | None = None,
    ) -> None: ...

    def start(self) -> "Deferred[int]":
        """Listens and begins to dial; fires with the port that it listens on."""
        ...

    def stop(self) -> "Deferred[None]":
        """Closes the port and every link."""
        ...

    def send(self, replica_id: int, frame: bytes) -> None:
        """Queues a frame for one replica; a full queue drops its oldest client traffic, then its oldest frames."""

    def broadcast(self, frame: bytes) -> None:
        """Queues a frame for every other replica."""

    @property
    def connected(self) -> tuple[int, ...]:
        """Replicas to which a verified link is open, ascending."""
        ...


def listen_clients(
    reactor: Any,
    host: str,
    port: int,
    *,
    identity: TlsIdentity,
    authorities: tuple[bytes, ...],
    network: bytes,
    replica_id: int,
    on_link: Callable[[Link], None],
    refused: Counter[str],
    connections_max: int = 1_000,
) -> "Deferred[IListeningPort]":
    """The client port: every link it opens has a certificate of a client authority and said the right Hello."""
    ...


def connect_client(
    reactor: Any,
    host: str,
    port: int,
    *,
    expected_transport_key: bytes,
    identity: TlsIdentity,
    network: bytes,
    replica_id: int,
    on_frame: Callable[[bytes], None],
    on_closed: Callable[[str], None],
) -> "Deferred[Link]":
    """A client's link to one replica, whose key is pinned; fires when the replica's Hello has been checked."""
    ...
