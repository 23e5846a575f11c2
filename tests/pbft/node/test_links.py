"""Links over real loopback TLS on free ports: who gets in, who is refused and counted, what happens after a break."""

import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from types import SimpleNamespace

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, load_certificate
from OpenSSL.crypto import Error as OpenSSLError
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from ledger.configuration import ProtocolParameters
from ledger.keys import SigningKey
from pbft.node import transport
from pbft.node.conduct import BARRED_SECONDS, REFUSALS_MAX, REFUSALS_SECONDS
from pbft.node.dialler import (
    BACKOFF_FIRST_SECONDS,
    BACKOFF_MAX_SECONDS,
    HELD_SECONDS,
    PeerDialler,
    compute_backoff_seconds,
)
from pbft.node.links import HANDSHAKE_SECONDS_MAX, UNREAD_BYTES_MAX, Link, LinkRefusedError, LinkTerms, dial
from pbft.node.log import Logger, make_logger
from pbft.node.network_config import NetworkDefinition, ReplicaDefinition
from pbft.node.send_queue import FRAME_COST_BYTES, QueueBounds, SendQueue
from pbft.node.tls import (
    TlsIdentity,
    client_port_connections,
    issue_client_certificate,
    make_tls_identity,
    pinned_connections,
)
from pbft.node.transport import HEARD_SECONDS, LinkedPeer, PeerTransport, connect_client, listen_clients
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

    def node(self, number: int, identity: TlsIdentity | None = None, log: Logger | None = None) -> Node:
        received: list[tuple[int, bytes]] = []
        refused, dropped = Counter(), Counter()

        def receive(sender: int, frame: bytes, on_refused: Callable[[], bool]) -> None:
            received.append((sender, frame))
            if frame == b"refused":
                on_refused()

        transport = PeerTransport(
            reactor,
            replica_id=number,
            definition=self.definition,
            network=NETWORK,
            identity=identity or REPLICAS[number],
            rules=RULES,
            on_message=receive,
            refused=refused,
            dropped=dropped,
            jitter=random.Random(number),
            log=log,
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

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.write(self._words)

    def connectionLost(self, reason) -> None:  # noqa: N802
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


@implementer(IOpenSSLClientConnectionCreator)
class _PlainTls:
    """TLS as somebody else would set it up: any version, any certificate or none, trusting everybody."""

    def __init__(self, identity: TlsIdentity | None, version: int | None = None) -> None:
        self.context = SSL.Context(SSL.TLS_METHOD)
        if version is not None:
            self.context.set_max_proto_version(version)
        if identity is not None:
            self.context.use_certificate(x509.load_pem_x509_certificate(identity.certificate_pem))
            self.context.use_privatekey(load_pem_private_key(identity.private_key_pem, None))

    def clientConnectionForTLS(self, protocol):  # noqa: N802
        return SSL.Connection(self.context, None)


@inlineCallbacks
def speak_tls(port: int, tls: _PlainTls) -> Iterator[object]:
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
    """D10: a replica's and a client's certificate of another network, and a client's of an unknown authority."""
    port, refused = any_port
    stranger = make_tls_identity(b"x" * 32, "coop-1")
    unknown_authority = issue_client_certificate(SigningKey.from_seed(b"b" * 32), "gateway-7")
    for identity in (stranger, unknown_authority):
        yield speak_tls(port, _PlainTls(identity))
    yield eventually(lambda: refused == Counter(foreign_certificate=2))


class _Forged(_PlainTls):
    """Shows a certificate whose bytes were changed behind its key's back: OpenSSL sends it as it is."""

    def __init__(self, identity: TlsIdentity, old: bytes, new: bytes) -> None:
        super().__init__(identity)
        der = x509.load_pem_x509_certificate(identity.certificate_pem).public_bytes(Encoding.DER)
        assert der.count(old) >= 1
        self.context.use_certificate(load_certificate(FILETYPE_ASN1, der.replace(old, new, 1)))


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL")  # the newer way would not show such a certificate
@pytest_twisted.inlineCallbacks
def test_a_certificate_that_cannot_be_read_is_refused_and_counted(any_port) -> Iterator[object]:
    """OpenSSL hands over more than the X.509 library reads, such as a version that does not exist; no error leaves."""
    port, refused = any_port
    version = b"\xa0\x03\x02\x01"
    for number in (b"\x03", b"\x00"):
        forged = _Forged(make_tls_identity(b"x" * 32, "coop-1"), version + b"\x02", version + number)
        yield speak_tls(port, forged)
    yield eventually(lambda: refused == Counter(foreign_certificate=2))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_judging_a_certificate_is_total() -> None:
    """Every byte of a good certificate changed: what OpenSSL still reads is trusted or not; no error leaves."""
    identity = issue_client_certificate(AUTHORITY, "gateway-7")
    certificate = x509.load_pem_x509_certificate(identity.certificate_pem)
    der, end = certificate.public_bytes(Encoding.DER), 4 + len(certificate.tbs_certificate_bytes)
    assert der[4:end] == certificate.tbs_certificate_bytes
    connections = client_port_connections(REPLICAS[1], [AUTHORITY.public_key])
    trusted = pinned_connections(REPLICAS[1], [identity.public_key])
    for position in range(len(der)):
        for mask in (1, 2, 128, 255):
            changed = der[:position] + bytes((der[position] ^ mask,)) + der[position + 1 :]
            try:
                shown = load_certificate(FILETYPE_ASN1, changed)
            except OpenSSLError:
                continue
            transport = SimpleNamespace(getPeerCertificate=lambda shown=shown: shown)
            issued, pinned = connections.peer_certificate(transport), trusted.peer_certificate(transport)
            assert issued is None or changed[4:end] == der[4:end], "the authority did not sign this"
            assert all(peer is None or peer.public_key == identity.public_key for peer in (issued, pinned))


@pytest_twisted.inlineCallbacks
def test_tls_1_2_is_refused_and_counted(any_port) -> Iterator[object]:
    """Even with a right certificate: the version is not negotiable."""
    port, refused = any_port
    identity = REPLICAS[2]
    yield speak_tls(port, _PlainTls(identity, SSL.TLS1_2_VERSION))
    yield eventually(lambda: refused == Counter(tls_version=1))


def dial_as(port: int, identity: TlsIdentity, hello: Hello, frame_after: bytes | None = None) -> "Deferred[Link]":
    """Any dial to replica 1: with this key and this Hello, and perhaps one frame right after it."""
    terms = LinkTerms(
        connections=pinned_connections(identity, {REPLICAS[1].public_key}),
        hello=hello,
        judge=lambda certificate, hello: None,
        frame_bytes_max=HELLO_BYTES_MAX,
        on_open=lambda link: None if frame_after is None else link.send_frame(frame_after),
        refused=Counter(),
    )
    return dial(reactor, "127.0.0.1", port, terms)


@pytest_twisted.inlineCallbacks
def test_a_hello_that_does_not_fit_is_refused_and_counted(peers, client_port) -> Iterator[object]:
    """Replica 2 claiming to be 1, another network, another version, no Hello at all, the wrong port: each by name."""
    node = peers.node(1)
    peer_port = yield node.transport.start()
    client = issue_client_certificate(AUTHORITY, "gateway-7")
    cases = (
        (peer_port, node.refused, REPLICAS[2], Hello(network=NETWORK, replica=1), "wrong_replica"),
        (peer_port, node.refused, REPLICAS[2], Hello(network=NETWORK, replica=None), "wrong_replica"),
        (peer_port, node.refused, REPLICAS[2], Hello(network=b"x" * 32, replica=2), "foreign_network"),
        (peer_port, node.refused, REPLICAS[2], Hello(network=NETWORK, replica=2, version=2), "version"),
        (client_port.port, client_port.refused, client, Hello(network=NETWORK, replica=2), "wrong_port"),
        (client_port.port, client_port.refused, client, Hello(network=b"x" * 32, replica=None), "foreign_network"),
        (client_port.port, client_port.refused, client, Hello(network=NETWORK, replica=None, version=2), "version"),
    )
    for port, refused, identity, hello, reason in cases:
        refused.clear()
        yield dial_as(port, identity, hello).addErrback(lambda failure: failure.trap(LinkRefusedError))
        yield eventually(lambda refused=refused: refused.total() == 1)
        assert refused == Counter({reason: 1})
    for port, refused, identity in (
        (peer_port, node.refused, REPLICAS[2]),
        (client_port.port, client_port.refused, client),
    ):
        refused.clear()
        yield speak_tls(port, _PlainTls(identity))
        yield eventually(lambda refused=refused: refused == Counter(bad_hello=1))
    assert node.received == [] and client_port.links == []


@pytest_twisted.inlineCallbacks
def test_an_expired_client_certificate_is_refused(client_port) -> Iterator[object]:
    """An authority's signature does not outlive the days that it gave."""
    expired = issue_client_certificate(AUTHORITY, "gateway-7", days=1, now=datetime(2020, 1, 1, tzinfo=UTC))
    yield speak_tls(client_port.port, _PlainTls(expired))
    yield eventually(lambda: client_port.refused == Counter(foreign_certificate=1))


@pytest_twisted.inlineCallbacks
def test_a_client_refuses_a_replica_with_another_key_or_id(client_port) -> Iterator[object]:
    """The client pins one key; who answers with another, or says another id, is not talked to."""
    with pytest.raises(LinkRefusedError, match="foreign_certificate"):
        yield connect(client_port.port, expected_transport_key=REPLICAS[2].public_key)
    with pytest.raises(LinkRefusedError, match="wrong_replica"):
        yield connect(client_port.port, replica_id=2)
    with pytest.raises(LinkRefusedError, match="foreign_network"):
        yield connect(client_port.port, network=b"x" * 32)


@pytest_twisted.inlineCallbacks
def test_an_oversized_frame_ends_the_link_before_it_is_read(peers, client_port) -> Iterator[object]:
    """The announced length alone decides, on both kinds of port."""
    node = peers.node(1)
    peer_port = yield node.transport.start()
    client = issue_client_certificate(AUTHORITY, "gateway-7")
    too_long_for_a_peer, too_long_for_a_client = RULES.peer_frame_bytes_max + 1, CLIENT_FRAME_BYTES_MAX + 1
    yield dial_as(peer_port, REPLICAS[2], Hello(network=NETWORK, replica=2), bytes(too_long_for_a_peer))
    yield dial_as(client_port.port, client, Hello(network=NETWORK, replica=None), bytes(too_long_for_a_client))
    yield eventually(lambda: node.refused == client_port.refused == Counter(oversized=1))
    assert node.received == [] and client_port.frames == []


@pytest_twisted.inlineCallbacks
def test_a_full_port_refuses_one_more(client_port) -> Iterator[object]:
    """Three may be there; the fourth is hung up on at once, and let in when one has gone."""
    links = []
    for _ in range(3):
        links.append((yield connect(client_port.port)))
    with pytest.raises(LinkRefusedError):
        yield connect(client_port.port)
    assert client_port.refused == Counter(too_many_connections=1)
    links[0].close("done")
    yield eventually(lambda: client_port.links[0].is_ended)
    links.append((yield connect(client_port.port)))
    assert links[-1].is_open


@pytest_twisted.inlineCallbacks
def test_strangers_who_say_nothing_keep_nobody_out(client_port) -> Iterator[object]:
    """A full port hangs up on the oldest connection that has not opened; open links stay."""
    first = yield connect(client_port.port)
    endpoint = HostnameEndpoint(reactor, "127.0.0.1", client_port.port)
    silent = []
    for _ in range(2):
        silent.append((yield connectProtocol(endpoint, _Speaker(b""))))
    second = yield connect(client_port.port)
    yield silent[0].closed
    assert client_port.refused == Counter(crowded_out=1)
    assert first.is_open and second.is_open and not (first.is_ended or second.is_ended)
    silent[1].transport.abortConnection()
    yield silent[1].closed


@pytest_twisted.inlineCallbacks
def test_one_client_alone_does_not_fill_the_port(client_port, monkeypatch) -> Iterator[object]:
    """The links with one certificate are bounded, those of others are not touched by that."""
    monkeypatch.setattr(transport, "CONNECTIONS_PER_CLIENT_MAX", 1)
    greedy = issue_client_certificate(AUTHORITY, "gateway-7")
    link = yield connect(client_port.port, identity=greedy)
    yield connect(client_port.port, identity=greedy).addErrback(lambda failure: failure.trap(LinkRefusedError))
    yield eventually(lambda: client_port.refused == Counter(too_many_connections=1))
    other = yield connect(client_port.port)
    assert other.is_open
    link.close("done")
    yield eventually(lambda: client_port.links[0].is_ended)
    again = yield connect(client_port.port, identity=greedy)
    assert again.is_open


@pytest_twisted.inlineCallbacks
def test_a_newer_link_replaces_one_that_is_not_heard_any_more(peers) -> Iterator[object]:
    """A replica whose machine lost power is not locked out by the half of its former connection."""
    node = peers.node(1)
    port = yield node.transport.start()
    hello = Hello(network=NETWORK, replica=2)
    older = yield dial_as(port, REPLICAS[2], hello)
    older.send_frame(b"the last")
    yield eventually(lambda: node.received == [(2, b"the last")])
    node.transport._heard[REPLICAS[2].public_key] -= HEARD_SECONDS
    newer = yield dial_as(port, REPLICAS[2], hello)
    yield eventually(lambda: older.is_ended)
    newer.send_frame(b"still here")
    yield eventually(lambda: node.received[1:] == [(2, b"still here")])
    assert not node.refused and node.transport.warning is None


@pytest_twisted.inlineCallbacks
def test_a_second_process_with_one_key_is_refused_and_told(peers) -> Iterator[object]:
    """M28: while the link of a replica is heard, another one with its key is refused, counted, and named to the
    operator once; the first goes on, and when it ends, whoever dials next is let in."""
    stream = StringIO()
    node = peers.node(1, log=make_logger(replica=1, stream=stream))
    port = yield node.transport.start()
    hello = Hello(network=NETWORK, replica=2)
    first = yield dial_as(port, REPLICAS[2], hello)
    for dials in (1, 2):
        second = yield dial_as(port, REPLICAS[2], hello)
        yield eventually(lambda: second.is_ended)  # noqa: B023 (awaited in this round)
        assert node.refused == Counter(already_linked=dials)
    assert node.transport.warning == "two processes with the transport key of r2: end one"
    assert stream.getvalue().count("already_linked") == 1
    first.send_frame(b"still here")
    yield eventually(lambda: node.received == [(2, b"still here")])
    first.abort("its process ends")
    yield eventually(lambda: not node.transport._accepted)
    third = yield dial_as(port, REPLICAS[2], hello)
    third.send_frame(b"here now")
    yield eventually(lambda: node.received[1:] == [(2, b"here now")])


@pytest_twisted.inlineCallbacks
def test_refused_frames_end_the_link_and_bar_its_peer_for_a_while(peers, monkeypatch) -> Iterator[object]:
    """M5, M55: the sixteenth refused frame within ten seconds ends the link; the same key is let in again half a minute
    later. Frames that are of no use do nothing, and another replica's link is not touched."""
    node = peers.node(1)
    port = yield node.transport.start()
    now = [0.0]
    monkeypatch.setattr(node.transport._conduct, "_seconds", lambda: now[0])
    liar = yield dial_as(port, REPLICAS[2], Hello(network=NETWORK, replica=2))
    other = yield dial_as(port, REPLICAS[3], Hello(network=NETWORK, replica=3))
    for _ in range(REFUSALS_MAX - 1):
        liar.send_frame(b"refused")
    liar.send_frame(b"of no use")
    yield eventually(lambda: len(node.received) == REFUSALS_MAX)
    assert not liar.is_ended
    now[0] = REFUSALS_SECONDS + 1
    for _ in range(REFUSALS_MAX - 1):
        liar.send_frame(b"refused")
    yield eventually(lambda: len(node.received) == 2 * REFUSALS_MAX - 1)
    assert not liar.is_ended, "sixteen, but not within ten seconds"
    liar.send_frame(b"refused")
    yield eventually(lambda: liar.is_ended)
    again = yield dial_as(port, REPLICAS[2], Hello(network=NETWORK, replica=2))
    yield eventually(lambda: again.is_ended)
    assert (node.refused["refused_frames"], node.refused["barred"]) == (1, 1)
    now[0] += BARRED_SECONDS
    later = yield dial_as(port, REPLICAS[2], Hello(network=NETWORK, replica=2))
    later.send_frame(b"here again")
    other.send_frame(b"still here")
    yield eventually(lambda: {(2, b"here again"), (3, b"still here")} <= set(node.received))


# ---- without sockets: bounds and waits on a fake clock ----


class _Transport(StringTransport):
    """A transport in memory that remembers how it ended."""

    aborted = False

    def abortConnection(self) -> None:  # noqa: N802
        self.aborted = True

    def setTcpNoDelay(self, enabled) -> None:  # noqa: N802
        pass

    def setTcpKeepAlive(self, enabled) -> None:  # noqa: N802
        pass


def made_link(clock: Clock, refused: Counter[str]) -> tuple[Link, _Transport]:
    terms = LinkTerms(
        connections=pinned_connections(REPLICAS[0], {REPLICAS[1].public_key}),
        hello=Hello(network=NETWORK, replica=0),
        judge=lambda certificate, hello: None,
        frame_bytes_max=100,
        on_open=lambda link: None,
        refused=refused,
    )
    link, transport = Link(clock, terms, is_dialled=True), _Transport()
    link.makeConnection(transport)
    return link, transport


def test_who_says_nothing_is_hung_up_on_in_time() -> None:
    clock, refused = Clock(), Counter()
    link, transport = made_link(clock, refused)
    clock.advance(HANDSHAKE_SECONDS_MAX - 1)
    assert not transport.aborted
    clock.advance(1)
    assert transport.aborted and link.is_ended and refused == Counter(handshake_timeout=1)


def test_who_does_not_read_is_given_up() -> None:
    """What the transport holds for a link that has paused is bounded."""
    refused: Counter[str] = Counter()
    link, transport = made_link(Clock(), refused)
    link.pauseProducing()
    for _ in range(8):
        link.send_frame(bytes(UNREAD_BYTES_MAX // 8))
    assert not transport.aborted
    link.send_frame(b"x")
    assert transport.aborted and refused == Counter(slow_reader=1)


def test_frames_are_cut_right_however_the_stream_is_cut() -> None:
    """Byte by byte, or all at once: the same frames, the empty one too."""
    stream = b"".join(len(frame).to_bytes(4, "big") + frame for frame in (b"one", b"", b"three" * 10))
    for size in (1, 2, 7, len(stream)):
        link, _ = made_link(Clock(), Counter())
        link.is_open, frames = True, []
        link.on_frame = frames.append
        for start in range(0, len(stream), size):
            link.dataReceived(stream[start : start + size])
        assert frames == [b"one", b"", b"three" * 10]


def test_a_queue_drops_client_traffic_first_then_the_oldest() -> None:
    """D10, M55: by frames and by bytes; what is left comes out protocol first, each class in its order."""
    dropped: Counter[str] = Counter()
    queue = SendQueue(dropped, QueueBounds(bytes_max=10 * (FRAME_COST_BYTES + 2), frames_max=4))
    for number in range(3):
        queue.push(b"c%d" % number, is_client_traffic=True)
    for number in range(6):
        queue.push(b"p%d" % number, is_client_traffic=False)
    assert dropped == Counter(client=3, protocol=2)
    assert [queue.pop() for _ in range(5)] == [b"p2", b"p3", b"p4", b"p5", None]
    queue.push(bytes(10 * (FRAME_COST_BYTES + 2)), is_client_traffic=False)
    assert len(queue) == 0 and queue.bytes_held == 0 and queue.pop() is None
    queue.push(b"c3", is_client_traffic=True)
    queue.push(b"p6", is_client_traffic=False)
    queue.set_bounds(QueueBounds(bytes_max=10_000, frames_max=1))
    assert queue.pop() == b"p6" and len(queue) == 0


def test_the_wait_doubles_to_a_cap_with_jitter() -> None:
    """Never more than the cap, never less than half of the step, and not the same for all."""
    jitter = random.Random(7)
    waits = [compute_backoff_seconds(failures, jitter) for failures in range(1, 60)]
    assert 0.05 <= waits[0] <= 0.1 and 0.1 <= waits[1] <= 0.2
    assert max(waits) <= BACKOFF_MAX_SECONDS and min(waits[8:]) >= BACKOFF_MAX_SECONDS / 2
    assert len(set(waits)) == len(waits)


def test_a_dialler_tries_again_after_each_failure_and_stops_when_told() -> None:
    clock, attempts = Clock(), []

    def dial_once() -> "Deferred[Link]":
        attempts.append(clock.seconds())
        failed: Deferred[Link] = Deferred()
        failed.errback(LinkRefusedError("foreign_certificate"))
        return failed

    queue = SendQueue(Counter())
    dialler = PeerDialler(clock, dial_once=dial_once, queue=queue, jitter=random.Random(1))
    dialler.start()
    for _ in range(600):
        clock.advance(0.1)
    assert 12 < len(attempts) < 40
    assert dialler.last_problem == "foreign_certificate" and not dialler.is_connected
    dialler.stop()
    before = len(attempts)
    clock.advance(100)
    assert len(attempts) == before and not clock.getDelayedCalls()


def test_who_is_refused_after_its_hello_comes_back_later_each_time() -> None:
    """M28, M55: a link that ends at once is no better than a dial that fails: the waits double to the cap, as long as
    the refusals last. A link that was held and is lost is dialled again at once, and so are those after it."""
    clock, links, dials = Clock(), [], []

    def dial_once() -> "Deferred[Link]":
        dials.append(clock.seconds())
        link, _ = made_link(clock, Counter())
        links.append(link)
        return succeed(link)

    def lose() -> float:
        """The link ends now; how long it takes until the next dial."""
        links[-1].on_closed("already_linked")
        ended, count = clock.seconds(), len(dials)
        while len(dials) == count:
            clock.advance(0.01)
        return clock.seconds() - ended

    dialler = PeerDialler(clock, dial_once=dial_once, queue=SendQueue(Counter()), jitter=random.Random(1))
    dialler.start()
    for doublings in range(12):
        longest = min(BACKOFF_FIRST_SECONDS * 2**doublings, BACKOFF_MAX_SECONDS)
        assert longest / 2 <= lose() <= longest + 0.02
    clock.advance(HELD_SECONDS)
    assert lose() <= BACKOFF_FIRST_SECONDS + 0.02
    assert lose() <= BACKOFF_FIRST_SECONDS + 0.02
    assert BACKOFF_FIRST_SECONDS / 2 < lose() <= 2 * BACKOFF_FIRST_SECONDS + 0.02
    dialler.stop()


# --- epochs ---


def members(*numbers: int, rotated: int | None = None) -> list[LinkedPeer]:
    """Members with these names, ids by their place; the transport key of one of them replaced."""
    identities = {number: REPLICAS[number] for number in numbers}
    if rotated is not None:
        identities[rotated] = make_tls_identity(b"r" * 32, f"coop-{rotated}")
    return [LinkedPeer(index, f"coop-{number}", identities[number].public_key) for index, number in enumerate(numbers)]


@inlineCallbacks
def test_links_follow_the_members_of_an_epoch(peers):
    """D41: "links follow the configuration on chain": who left is cut off, and ids are those of the epoch."""
    zero, one, two = peers.node(0), peers.node(1), peers.node(2)
    for node in (zero, one, two):
        yield node.transport.start()
    yield eventually(lambda: zero.transport.connected == (1, 2) and two.transport.connected == (0, 1))
    zero.transport.follow(members(2, 0, 3), RULES.peer_frame_bytes_max)
    two.transport.follow(members(2, 0, 3), RULES.peer_frame_bytes_max)
    assert zero.transport.connected == (0,), "r2 has id 0 now, and r1 is nobody"
    two.transport.send(1, b"to who was r0")
    one.transport.send(0, b"from who left")
    yield eventually(lambda: zero.received == [(0, b"to who was r0")])
    yield eventually(lambda: 0 not in one.transport.connected)
    assert zero.received == [(0, b"to who was r0")]


@inlineCallbacks
def test_a_rotated_transport_key_is_pinned_from_its_epoch_on(peers):
    """M59: the old key opens no link any more; the new one does, at the address that the member's name has."""
    zero = peers.node(0)
    one = peers.node(1, make_tls_identity(b"r" * 32, "coop-1"))
    for node in (zero, one):
        yield node.transport.start()
    yield eventually(lambda: zero.refused["foreign_certificate"] > 0)
    assert zero.transport.connected == ()
    zero.transport.follow(members(0, 1, 2, 3, rotated=1), RULES.peer_frame_bytes_max)
    yield eventually(lambda: zero.transport.connected == (1,) and one.transport.connected == (0,))
    one.transport.send(0, b"new key")
    yield eventually(lambda: zero.received == [(1, b"new key")])


@inlineCallbacks
def test_a_wider_frame_is_taken_on_links_that_are_open(peers):
    """A decided configuration may allow larger batches: open links take them without being opened anew."""
    zero, one = peers.node(0), peers.node(1)
    for node in (zero, one):
        yield node.transport.start()
    yield eventually(lambda: one.transport.connected == (0,) and zero.transport.connected == (1,))
    zero.transport.follow(members(0, 1, 2, 3), 2 * RULES.peer_frame_bytes_max)
    frame = bytes(RULES.peer_frame_bytes_max + 1)
    one.transport.send(0, frame)
    yield eventually(lambda: zero.received == [(1, frame)])
