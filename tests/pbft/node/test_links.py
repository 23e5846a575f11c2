"""Links over real loopback TLS on free ports: who gets in, who is refused and counted, and what happens after a break."""

import random
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Protocol

from ledger.configuration import ProtocolParameters
from ledger.keys import SigningKey
from pbft.node import links as links_module
from pbft.node.links import Link, LinkRefused, LinkTerms, dial
from pbft.node.network_config import NetworkDefinition, ReplicaDefinition
from pbft.node.tls import TlsIdentity, issue_client_certificate, make_tls_identity, pinned_connections
from pbft.node.transport import PeerTransport, connect_client, listen_clients
from pbft.wire.hello import Hello
from pbft.wire.limits import CLIENT_FRAME_BYTES_MAX, HELLO_BYTES_MAX, WireRules

NETWORK = b"n" * 32
SECONDS_MAX = 8  # of any wait in this file: a local exchange takes milliseconds
AUTHORITY = SigningKey.from_seed(b"a" * 32)
REPLICAS = tuple(make_tls_identity(bytes([65 + number]) * 32, f"coop-{number}") for number in range(4))
RULES = WireRules(network=NETWORK, replicas=4, window=8, batch_requests_max=10, batch_bytes_max=131_072)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def eventually(condition: Callable[[], object]) -> "Deferred[None]":
    """Fires when the condition holds; fails after `SECONDS_MAX`. Looks after every turn of the reactor."""
    done: Deferred[None] = Deferred()
    deadline = reactor.seconds() + SECONDS_MAX

    def look() -> None:
        if condition():
            done.callback(None)
        elif reactor.seconds() > deadline:
            done.errback(AssertionError("did not come to pass in time"))
        else:
            reactor.callLater(0.005, look)

    look()
    return done


@dataclass
class Node:
    """One replica's transport with what it received and refused."""

    transport: PeerTransport
    received: list[tuple[int, bytes]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


class Peers:
    """Transports of one definition, started by a test and stopped after it."""

    def __init__(self) -> None:
        self.ports = free_ports(4)
        replicas = tuple(
            ReplicaDefinition(
                id=number, name=f"coop-{number}", host="127.0.0.1", p2p_port=port, client_port=0, ops_port=0,
                consensus_key=b"c" * 32, transport_key=REPLICAS[number].public_key, operator_key=b"o" * 32,
            )
            for number, port in enumerate(self.ports)
        )  # fmt: skip
        self.definition = NetworkDefinition(
            version=1, name="test", genesis_time_ms=0, protocol=ProtocolParameters(), replicas=replicas
        )
        self.nodes: dict[int, Node] = {}

    def node(self, number: int, identity: TlsIdentity | None = None) -> Node:
        received: list[tuple[int, bytes]] = []
        refused, dropped = Counter(), Counter()
        transport = PeerTransport(
            reactor,
            replica_id=number,
            definition=self.definition,
            network=NETWORK,
            identity=identity or REPLICAS[number],
            rules=RULES,
            on_message=lambda sender, frame: received.append((sender, frame)),
            refused=refused,
            dropped=dropped,
            jitter=random.Random(number),
        )
        self.nodes[number] = Node(transport=transport, received=received, refused=refused, dropped=dropped)
        return self.nodes[number]


@pytest.fixture
def peers() -> Iterator[Peers]:
    made = Peers()
    yield made
    for node in made.nodes.values():
        pytest_twisted.blockon(node.transport.stop())


@dataclass
class ClientPort:
    """A client port with the links that it opened and what it refused."""

    port: int
    links: list[Link]
    frames: list[bytes]
    refused: Counter[str]


@pytest.fixture
def client_port() -> Iterator[ClientPort]:
    links: list[Link] = []
    frames: list[bytes] = []
    refused: Counter[str] = Counter()

    def opened(link: Link) -> None:
        links.append(link)
        link.on_frame = frames.append

    listening = pytest_twisted.blockon(
        listen_clients(
            reactor, "127.0.0.1", 0, identity=REPLICAS[1], authorities=(AUTHORITY.public_key,), network=NETWORK,
            replica_id=1, on_link=opened, refused=refused, connections_max=3,
        )
    )  # fmt: skip
    yield ClientPort(port=listening.getHost().port, links=links, frames=frames, refused=refused)
    pytest_twisted.blockon(listening.stopListening())
    for link in links:
        link.abort("test over")
    pytest_twisted.blockon(eventually(lambda: all(link.is_ended for link in links)))


@pytest.fixture(params=["peer port", "client port"])
def any_port(request, peers, client_port) -> tuple[int, Counter[str]]:
    """Either kind of port of replica 1, with its counters of refusals."""
    if request.param == "client port":
        return client_port.port, client_port.refused
    node = peers.node(1)
    return pytest_twisted.blockon(node.transport.start()), node.refused


# ---- what works ----


@pytest_twisted.inlineCallbacks
def test_replicas_link_and_frames_arrive_in_order(peers) -> Iterator[object]:
    """Each of two replicas sends on what it dialled; frames arrive whole, in order, from the id that the key says."""
    first, second = peers.node(0), peers.node(1)
    for node in (first, second):
        yield node.transport.start()
    frames = [b"a", b"b" * 200_000, b""]
    for frame in frames:
        first.transport.send(1, frame)
    second.transport.broadcast(b"hello all")
    yield eventually(lambda: len(second.received) == 3 and len(first.received) == 1)
    assert second.received == [(0, frame) for frame in frames]
    assert first.received == [(1, b"hello all")]
    assert first.transport.connected == (1,) and set(first.transport.problems) == {2, 3}
    assert not first.refused and not second.refused


@pytest_twisted.inlineCallbacks
def test_a_replica_that_comes_back_gets_what_waited(peers) -> Iterator[object]:
    """The link is dialled again after a break, and frames queued meanwhile arrive, protocol before client traffic."""
    first = peers.node(0)
    yield first.transport.start()
    first.transport.send(1, b"\x42 relayed client traffic")
    first.transport.send(1, b"a vote")
    second = peers.node(1)
    yield second.transport.start()
    yield eventually(lambda: len(second.received) == 2)
    assert second.received == [(0, b"a vote"), (0, b"\x42 relayed client traffic")]
    yield second.transport.stop()
    yield eventually(lambda: first.transport.connected == ())
    first.transport.send(1, b"while away")
    again = peers.node(1)
    yield again.transport.start()
    yield eventually(lambda: again.received == [(0, b"while away")])


@pytest_twisted.inlineCallbacks
def test_a_client_links_with_a_certificate_of_its_authority(client_port) -> Iterator[object]:
    """The client learns that its link is open only when the replica has accepted it; frames go both ways."""
    answers: list[bytes] = []
    closed: list[str] = []
    link = yield connect(client_port.port, on_frame=answers.append, on_closed=closed.append)
    link.send_frame(b"question")
    yield eventually(lambda: client_port.frames == [b"question"])
    assert client_port.links[0].peer.name == "gateway-7" and client_port.links[0].replica is None
    client_port.links[0].send_frame(b"answer")
    yield eventually(lambda: answers == [b"answer"])
    client_port.links[0].close("enough")
    yield eventually(lambda: closed)
    assert not client_port.refused


def connect(port: int, *, identity: TlsIdentity | None = None, **changes) -> "Deferred[Link]":
    """A client's dial to replica 1, as it should be but for the changes."""
    terms = {
        "expected_transport_key": REPLICAS[1].public_key,
        "network": NETWORK,
        "replica_id": 1,
        "on_frame": lambda frame: None,
        "on_closed": lambda reason: None,
    } | changes
    identity = identity or issue_client_certificate(AUTHORITY, "gateway-7")
    return connect_client(reactor, "127.0.0.1", port, identity=identity, **terms)


# ---- who is refused, on both kinds of port ----


class _Speaker(Protocol):
    """Says something over whatever it is connected with, and notices the end."""

    def __init__(self, words: bytes) -> None:
        self._words = words
        self.closed: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self._words)

    def connectionLost(self, reason) -> None:
        self.closed.callback(None)


@pytest_twisted.inlineCallbacks
def test_plain_tcp_is_refused_and_counted(any_port) -> Iterator[object]:
    """Whoever speaks without TLS is hung up on; nothing of what was said is read as a frame."""
    port, refused = any_port
    endpoint = HostnameEndpoint(reactor, "127.0.0.1", port)
    speakers = []
    for words in (b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x05hello and more of it"):
        speakers.append((yield connectProtocol(endpoint, _Speaker(words))))
    for speaker in speakers:
        yield speaker.closed
    assert refused == Counter(plain_tcp=2)


class _PlainTls:
    """TLS as somebody else would set it up: any version, any certificate or none, trusting everybody."""

    def __init__(self, identity: TlsIdentity | None, version: int | None = None) -> None:
        self.context = SSL.Context(SSL.TLS_METHOD)
        if version is not None:
            self.context.set_max_proto_version(version)
        if identity is not None:
            from cryptography import x509
            from cryptography.hazmat.primitives.serialization import load_pem_private_key

            self.context.use_certificate(x509.load_pem_x509_certificate(identity.certificate_pem))
            self.context.use_privatekey(load_pem_private_key(identity.private_key_pem, None))

    def clientConnectionForTLS(self, protocol):  # noqa: N802
        return SSL.Connection(self.context, None)


@inlineCallbacks
def speak_tls(port: int, tls: _PlainTls) -> Iterator[object]:
    from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
    from zope.interface import directlyProvides

    directlyProvides(tls, IOpenSSLClientConnectionCreator)
    endpoint = wrapClientTLS(tls, HostnameEndpoint(reactor, "127.0.0.1", port))
    speaker = yield connectProtocol(endpoint, _Speaker(b"\x00\x00\x00\x01x"))
    yield speaker.closed


@pytest_twisted.inlineCallbacks
def test_no_certificate_is_refused_and_counted(any_port) -> Iterator[object]:
    port, refused = any_port
    yield speak_tls(port, _PlainTls(None))
    yield eventually(lambda: refused == Counter(no_certificate=1))


@pytest_twisted.inlineCallbacks
def test_a_foreign_networks_certificate_is_refused_and_counted(any_port) -> Iterator[object]:
    """A replica's and a client's certificate of another network, and a client's of an unknown authority."""
    port, refused = any_port
    stranger = make_tls_identity(b"x" * 32, "coop-1")
    unknown_authority = issue_client_certificate(SigningKey.from_seed(b"b" * 32), "gateway-7")
    for identity in (stranger, unknown_authority):
        yield speak_tls(port, _PlainTls(identity))
    yield eventually(lambda: refused == Counter(foreign_certificate=2))


@pytest_twisted.inlineCallbacks
def test_tls_1_2_is_refused_and_counted(any_port) -> Iterator[object]:
    """Even with a right certificate: the version is not negotiable."""
    port, refused = any_port
    identity = REPLICAS[2]
    yield speak_tls(port, _PlainTls(identity, SSL.TLS1_2_VERSION))
    yield eventually(lambda: refused == Counter(tls_version=1))
