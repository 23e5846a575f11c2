"""One link: length-prefixed frames over mutually authenticated TLS 1.3, opened by a Hello; and the two ways to get one.

    link = yield dial(reactor, host, port, terms)              # LinkRefusedError(reason), or what TCP says
    port = yield listen(reactor, host, port, terms, connections_max=...)

A link is open once TLS held, the certificate was judged and both ends said a fitting Hello; before that at most one
small frame is read, within `HANDSHAKE_SECONDS_MAX`. Everything refused is counted by reason. Who dials whom, and what
frames mean, is left to `transport` and to the ports.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

from pbft.node.prompt import PromptTlsFactory, TurnEnd
from pbft.node.tls import PeerCertificate, TlsConnections, refusal_reason
from pbft.wire.hello import Hello, decode_hello, encode_hello
from pbft.wire.limits import HELLO_BYTES_MAX, WIRE_VERSION, WireError

Reactor: TypeAlias = Any  # provides IReactorTCP, IReactorTime and IReactorPluggableNameResolver

PREFIX_BYTES: Final = 4  # length of a frame, big-endian
HANDSHAKE_SECONDS_MAX: Final = 10  # TLS and Hello on a slow line with a lost packet or two; the same for goodbye
DIAL_SECONDS_MAX: Final = 10  # until TCP answers
UNREAD_BYTES_MAX: Final = 8_388_608  # written to a link that does not read, before it is given up


class LinkRefusedError(ConnectionError):
    """A link that did not open, or was ended by this side; `reason` is a short stable word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Judge: TypeAlias = Callable[[PeerCertificate, Hello], str | None]  # why a link is refused; None to open it


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTerms:
    """What one side brings to a link, and on which terms it opens."""

    connections: TlsConnections
    hello: Hello  # what this side says
    judge: Judge  # of the other side's certificate and Hello
    frame_bytes_max: int  # of what is received once the link is open
    on_open: "Callable[[Link], None]"  # sets on_frame and on_closed; called before any further frame
    refused: Counter[str]  # reasons, counted


@implementer(IPushProducer)
class FrameProtocol(Protocol):
    """Frames both ways over a byte stream: 4 bytes big-endian length, then the frame. Refuses what is too long."""

    frame_bytes_max: int = HELLO_BYTES_MAX
    is_writable: bool = True  # False while the other end reads slower than this one writes

    def __init__(self) -> None:
        self._received = bytearray()
        self._unread_bytes = 0
        self.is_ended = False

    def connectionMade(self) -> None:  # noqa: N802 (Twisted's)
        """Small frames leave at once, and a host that vanished is noticed by TCP."""
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)

    def send_frame(self, frame: bytes) -> None:
        """Writes a frame; a link whose other end does not read is given up after `UNREAD_BYTES_MAX`."""
        if self.is_ended:
            return
        transport: Any = self.transport
        transport.write(len(frame).to_bytes(PREFIX_BYTES, "big") + frame)
        if not self.is_writable:
            self._unread_bytes += len(frame)
            if self._unread_bytes > UNREAD_BYTES_MAX:
                self.refuse("slow_reader")

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 (Twisted's)
        """Cuts the stream into frames; `frame_bytes_max` may change with each. After the end nothing is kept."""
        if self.is_ended:
            return
        self._received += data
        while not self.is_ended and len(self._received) >= PREFIX_BYTES:
            end = PREFIX_BYTES + int.from_bytes(self._received[:PREFIX_BYTES], "big")
            if end - PREFIX_BYTES > self.frame_bytes_max:
                self.refuse("oversized")
                return
            if len(self._received) < end:
                return
            frame = bytes(memoryview(self._received)[PREFIX_BYTES:end])
            del self._received[:end]
            self.frame_received(frame)

    def frame_received(self, frame: bytes) -> None:
        """One whole frame has arrived."""

    def refuse(self, reason: str) -> None:
        """Ends the connection at once, for a reason that is counted."""
        self.is_ended = True
        transport: Any = self.transport
        transport.abortConnection()

    def pauseProducing(self) -> None:  # noqa: N802 (Twisted's)
        """The transport's buffer is full."""
        self.is_writable = False

    def resumeProducing(self) -> None:  # noqa: N802 (Twisted's)
        """The transport's buffer is empty again."""
        self.is_writable = True
        self._unread_bytes = 0

    def stopProducing(self) -> None:  # noqa: N802 (Twisted's)
        """The connection is gone; `connectionLost` follows."""
        self.is_writable = False


class Link(FrameProtocol):
    """A connection whose other end is known: TLS done, certificate accepted, Hello exchanged.

    Whoever takes it over sets `on_frame` and `on_closed`. The dialling side learns from `is_writable` and `on_writable`
    how fast the other end reads; on the accepting side, a port registers its own producer.
    """

    def __init__(self, reactor: Reactor, terms: LinkTerms, *, is_dialled: bool, refusal: str | None = None) -> None:
        super().__init__()
        self._reactor = reactor
        self._terms = terms
        self._is_dialled = is_dialled
        self._refusal = refusal  # decided before a byte was read
        self._deadline: Any = None
        self._reason: str | None = None
        self.is_open = False
        self.peer = PeerCertificate(public_key=b"", name="")
        self.replica: int | None = None  # of the other end; None for a client
        self.address = ""  # for logs
        self.on_frame: Callable[[bytes], None] = lambda frame: None
        self.on_closed: Callable[[str], None] = lambda reason: None  # called once, with a reason
        self.on_writable: Callable[[], None] = lambda: None

    def connectionMade(self) -> None:  # noqa: N802 (Twisted's)
        """Says Hello: TLS holds it back until the other end's certificate has been accepted."""
        if self._refusal is not None:
            self.refuse(self._refusal)
            return
        super().connectionMade()
        transport: Any = self.transport
        if self._is_dialled:
            transport.registerProducer(self, True)
        peer = transport.getPeer()
        self.address = f"{peer.host}:{peer.port}"
        self._deadline = self._reactor.callLater(HANDSHAKE_SECONDS_MAX, self.refuse, "handshake_timeout")
        self.send_frame(encode_hello(self._terms.hello))

    def frame_received(self, frame: bytes) -> None:
        """The first frame is the Hello that opens the link; the others belong to whoever took it over."""
        if self.is_open:
            self.on_frame(frame)
            return
        certificate = self._terms.connections.peer_certificate(self.transport)
        if certificate is None:
            self.refuse("foreign_certificate")
            return
        try:
            hello = decode_hello(frame)
        except WireError:
            self.refuse("bad_hello")
            return
        reason = self._mismatch(hello) or self._terms.judge(certificate, hello)
        if reason is not None:
            self._terms.refused[reason] += 1
            self.close(reason)  # in order, so that the other end still reads our Hello and sees the mismatch by itself
            return
        self._deadline.cancel()
        self.is_open = True
        self.peer, self.replica = certificate, hello.replica
        self.frame_bytes_max = self._terms.frame_bytes_max
        self._terms.on_open(self)

    def _mismatch(self, hello: Hello) -> str | None:
        if hello.version != WIRE_VERSION:
            return "version"
        return "foreign_network" if hello.network != self._terms.hello.network else None

    def close(self, reason: str) -> None:
        """Ends the connection after what was written has left; nothing more is read."""
        if self.is_ended:
            return
        self._reason = reason
        self.is_ended = True
        transport: Any = self.transport
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = self._reactor.callLater(HANDSHAKE_SECONDS_MAX, transport.abortConnection)
        transport.unregisterProducer()
        transport.loseConnection()

    def abort(self, reason: str) -> None:
        """Ends the connection at once; what was not sent is lost."""
        if not self.is_ended and self.transport is not None:
            self._reason = reason
            super().refuse(reason)

    def refuse(self, reason: str) -> None:
        """Counts the reason and ends the connection at once."""
        if self.is_ended:
            return
        self._reason = reason
        self._terms.refused[reason] += 1
        super().refuse(reason)

    def resumeProducing(self) -> None:  # noqa: N802 (Twisted's)
        """Tells whoever waits to write that the link takes frames again."""
        super().resumeProducing()
        if self.is_open:
            self.on_writable()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 (Twisted's)
        """Counts what ended before it was open, and tells the owner."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        if not self.is_open and not self.is_ended:
            self._reason = refusal_reason(reason) or "hung_up"
            self._terms.refused[self._reason] += 1
        self.is_ended = True
        self.on_closed(self._reason or reason.getErrorMessage())


class LinkFactory(Factory):
    """Makes a Link for each connection of a port, `connections_max` at a time.

    A full port makes room by hanging up on the oldest that has not opened: whoever only connects and says nothing must
    not keep out those who can open a link. Where all are open, the new one is refused before a byte is read.
    """

    noisy = False

    def __init__(self, reactor: Reactor, terms: LinkTerms, *, connections_max: int) -> None:
        self._reactor = reactor
        self._terms = terms
        self._connections_max = connections_max
        self._links: list[Link] = []  # the oldest first

    def buildProtocol(self, addr: Any) -> Link:  # noqa: N802 (Twisted's)
        """The protocol of a new connection."""
        self._links = [link for link in self._links if not link.is_ended]
        refusal = None
        if len(self._links) >= self._connections_max:
            waiting = next((link for link in self._links if not link.is_open), None)
            if waiting is not None:
                waiting.refuse("crowded_out")
            else:
                refusal = "too_many_connections"
        link = Link(self._reactor, self._terms, is_dialled=False, refusal=refusal)
        self._links.append(link)
        return link


def listen(
    reactor: Reactor, host: str, port: int, terms: LinkTerms, *, connections_max: int, turn: TurnEnd | None = None
) -> "Deferred[IListeningPort]":
    """Accepts links on an address (IPv4 or IPv6, port 0 for any free one); fails with CannotListenError.

    What is written to a link leaves at the end of `turn`, without one in the reactor's next turn.
    """
    factory: Any = LinkFactory(reactor, terms, connections_max=connections_max)
    connections: Any = terms.connections  # zope.interface's declarations are not visible to types
    clock: Any = turn or reactor
    secured = PromptTlsFactory(connections, False, factory, clock=clock)
    endpoint: Any = (TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint)(reactor, port, interface=host)
    listening: Deferred[IListeningPort] = endpoint.listen(secured)
    return listening


def dial(reactor: Reactor, host: str, port: int, terms: LinkTerms, *, turn: TurnEnd | None = None) -> "Deferred[Link]":
    """One attempt to open a link. Fires after `terms.on_open`; fails with LinkRefusedError, or with TCP's own error.

    `turn`: as in `listen`.
    """

    def cancel(_: "Deferred[Link]") -> None:
        attempt.cancel()
        link.abort("cancelled")

    def opened_by_peer(link: Link) -> None:
        terms.on_open(link)
        opened.callback(link)

    def failed(failure: Failure) -> None:
        if not opened.called:
            opened.errback(failure)

    opened: Deferred[Link] = Deferred(cancel)
    link = Link(reactor, replace(terms, on_open=opened_by_peer), is_dialled=True)
    link.on_closed = lambda reason: failed(_failure(reason))  # until `terms.on_open` sets another
    endpoint: Any = HostnameEndpoint(reactor, host, port, timeout=DIAL_SECONDS_MAX)
    connections: Any = terms.connections
    plain: Any = Factory.forProtocol(lambda: link)
    clock: Any = turn or reactor
    attempt: Deferred[Any] = endpoint.connect(PromptTlsFactory(connections, True, plain, clock=clock))
    attempt.addErrback(failed)
    return opened


def _failure(reason: str) -> Failure:
    return Failure(LinkRefusedError(reason))  # type: ignore[no-untyped-call]
