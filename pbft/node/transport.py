"""Who is linked with whom: each replica dials every other to send, reads what it accepted, and lets clients in.

    transport = PeerTransport(reactor, replica_id=2, definition=definition, network=network, identity=tls,
                              rules=rules, on_message=driver.on_frame, refused=metrics.links_refused_total)
    yield transport.start();  transport.send(3, frame);  transport.broadcast(frame);  yield transport.stop()
    transport.follow(configuration.members, rules.peer_frame_bytes_max)     # at each epoch: links are its members'

    port = yield listen_clients(reactor, host, port, identity=..., authorities=..., network=..., replica_id=...,
                                on_link=client_port.link_opened, refused=metrics.links_refused_total)
    link = yield connect_client(reactor, host, port, expected_transport_key=..., identity=client_identity,
                                network=..., replica_id=..., on_frame=..., on_closed=...)

A replica is who its pinned key says, and the epoch's members are pinned, no one else (D41); ids on links are those of
the epoch. Where a member listens, and the id in its Hello, stand in the definition, under its name. Frames wait in one
bounded queue per replica (`send_queue`), also while it cannot be reached (`dialler`).

One link of a replica is read at a time. While it is heard, a second one is refused (`already_linked`): two processes
hold one key, and neither may take the other's place again and again (M28). Once it is silent for `HEARD_SECONDS`, a
newer link replaces it, because it may be the half of a connection that no longer exists.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IListeningPort

from ledger.configuration import Member
from pbft.node.conduct import Conduct
from pbft.node.dialler import PeerDialler
from pbft.node.links import FrameProtocol, Link, LinkRefusedError, LinkTerms, Reactor, dial, listen
from pbft.node.log import Logger
from pbft.node.network_config import NetworkDefinition, ReplicaDefinition
from pbft.node.prompt import TurnEnd
from pbft.node.send_queue import SendQueue
from pbft.node.tls import PeerCertificate, TlsIdentity, client_port_connections, pinned_connections
from pbft.wire.hello import Hello
from pbft.wire.limits import CLIENT_FRAME_BYTES_MAX, HELLO_BYTES_MAX, REPLICA_FRAME_BYTES_MAX, WireRules

__all__ = ["FrameProtocol", "Link", "LinkRefusedError", "PeerTransport", "connect_client", "listen_clients"]

CONNECTIONS_MAX: Final = 1_000  # of clients: one gateway each, far below the usual limit of open files
CONNECTIONS_PER_CLIENT_MAX: Final = 64  # with one certificate: a busy operator's tools; nobody alone fills the port
PEER_CONNECTIONS_PER_REPLICA: Final = 4  # the link, its successor, and strangers who have not yet been refused
HEARD_SECONDS: Final = 3.0  # three STATUS of an idle replica: how long after its last frame a link counts as heard
TWICE_SECONDS: Final = 30.0  # how long a second process is told of after its last dial; one line in the log meanwhile


class LinkedPeer(NamedTuple):
    """A member as links know it."""

    id: int
    name: str
    transport_key: bytes


class PeerTransport:
    """The Outbound of a replica: one link to each other replica for sending, and accepts theirs for receiving."""

    def __init__(
        self,
        reactor: Reactor,
        *,
        replica_id: int,
        definition: NetworkDefinition,
        network: bytes,
        identity: TlsIdentity,
        rules: WireRules,
        on_message: Callable[[int, bytes, Callable[[], bool]], None],
        refused: Counter[str] | None = None,
        dropped: Counter[str] | None = None,
        jitter: random.Random | None = None,
        log: Logger | None = None,
        turn: TurnEnd | None = None,
    ) -> None:
        self._reactor = reactor
        self._turn = turn
        self._log = log
        self._replica_id = replica_id
        self._own = definition.replica(replica_id)
        self._hello = Hello(network=network, replica=replica_id)
        self._defined = {replica.name: replica for replica in definition.replicas}
        self._identity = identity
        self._frame_bytes_max = rules.peer_frame_bytes_max
        self._on_message = on_message  # calls back where no correct replica sends such a frame
        self._conduct = Conduct(reactor.seconds)
        self._refused = refused if refused is not None else Counter()
        self._dropped = dropped if dropped is not None else Counter()
        self._jitter = jitter or random.Random()  # noqa: S311 (spreads retries; no secret)
        self._peers: dict[bytes, LinkedPeer] = {}  # by transport key: who is pinned
        self._diallers: dict[bytes, PeerDialler] = {}
        self._accepted: dict[bytes, Link] = {}
        self._heard: dict[bytes, float] = {}  # by transport key: when its accepted link opened, or brought a frame
        self._twice: dict[bytes, float] = {}  # by transport key: when a second link of it was refused last
        self._port: Any = None  # an IListeningPort once it listens
        self._leaving: list[Deferred[None]] = []  # links that are ending
        self._sent_before = 0  # bytes to replicas that are members no more
        self.follow(
            [LinkedPeer(replica.id, replica.name, _transport_key(replica)) for replica in definition.replicas],
            rules.peer_frame_bytes_max,
        )

    def start(self) -> "Deferred[int]":
        """Listens and begins to dial; fires with the port that it listens on, fails with CannotListenError."""
        terms = LinkTerms(
            connections=pinned_connections(self._identity, self._peers),
            hello=self._hello,
            judge=self._judge,
            frame_bytes_max=self._frame_bytes_max,
            on_open=self._accept,
            refused=self._refused,
        )
        connections_max = PEER_CONNECTIONS_PER_REPLICA * (len(self._diallers) + 1)
        host, port = self._own.host, self._own.p2p_port
        listening = listen(self._reactor, host, port, terms, connections_max=connections_max, turn=self._turn)
        return listening.addCallback(self._listening)

    def follow(self, members: "Sequence[LinkedPeer | Member]", frame_bytes_max: int) -> None:
        """Links become those of these members: who is not among them is cut off, who is new is dialled, who has another
        id is known by it. A member without an address in the definition can dial in, and is not dialled."""
        self._frame_bytes_max = frame_bytes_max
        others = {
            m.transport_key: LinkedPeer(m.id, m.name, m.transport_key) for m in members if m.name != self._own.name
        }
        for key in [key for key in self._peers if key not in others]:
            del self._peers[key]
            self._twice.pop(key, None)
            if key in self._diallers:
                self._sent_before += self._diallers[key].sent_bytes
                self._leaving.append(self._diallers.pop(key).stop())
            if key in self._accepted:
                self._accepted[key].abort("not_a_member")
        self._peers.update(others)
        for key, peer in others.items():
            if key not in self._diallers and peer.name in self._defined:
                self._diallers[key] = self._make_dialler(peer, self._defined[peer.name])
                if self._port is not None:
                    self._diallers[key].start()
        for link in self._accepted.values():
            link.frame_bytes_max = frame_bytes_max

    def stop(self) -> "Deferred[None]":
        """Closes the port and every link; fires when they are gone."""
        waiting = [*self._leaving, *(dialler.stop() for dialler in self._diallers.values())]
        for link in list(self._accepted.values()):
            closed: Deferred[None] = Deferred()
            link.on_closed = lambda _, closed=closed: closed.callback(None)  # type: ignore[misc]
            link.abort("stopped")
            waiting.append(closed)
        self._accepted.clear()
        if self._port is not None:
            waiting.append(self._port.stopListening() or succeed(None))
            self._port = None
        return gatherResults(waiting).addCallback(lambda _: None)

    def send(self, replica_id: int, frame: bytes) -> None:
        """Queues a frame for one replica, if it is known; a full queue drops its oldest client traffic, then frames."""
        for key, peer in self._peers.items():
            if peer.id == replica_id and key in self._diallers:
                self._diallers[key].send(frame)

    def broadcast(self, frame: bytes) -> None:
        """Queues a frame for every other replica."""
        for dialler in self._diallers.values():
            dialler.send(frame)

    @property
    def connected(self) -> tuple[int, ...]:
        """Replicas to which a verified link is open, ascending."""
        return tuple(sorted(self._peers[key].id for key, dialler in self._diallers.items() if dialler.is_connected))

    @property
    def sent_bytes(self) -> int:
        """Bytes of all frames that left a queue, to members of all epochs, before TLS."""
        return self._sent_before + sum(dialler.sent_bytes for dialler in self._diallers.values())

    @property
    def problems(self) -> dict[int, str]:
        """Why there is no link to each of the other replicas."""
        problems = {peer.id: "no address" for peer in self._peers.values()}
        problems |= {self._peers[key].id: dialler.last_problem for key, dialler in self._diallers.items()}
        return {replica: problem for replica, problem in sorted(problems.items()) if replica not in self.connected}

    @property
    def warning(self) -> str | None:
        """What an operator has to look after: replicas that dial while another link of theirs is heard."""
        since = self._reactor.seconds() - TWICE_SECONDS
        twice = sorted(peer.id for key, peer in self._peers.items() if self._twice.get(key, since) > since)
        if not twice:
            return None
        return f"two processes with the transport key of {', '.join(f'r{replica}' for replica in twice)}: end one"

    def _make_dialler(self, peer: "LinkedPeer", replica: ReplicaDefinition) -> PeerDialler:
        terms = LinkTerms(
            connections=pinned_connections(self._identity, {peer.transport_key}),
            hello=self._hello,
            judge=lambda _, hello: None if hello.replica == replica.id else "wrong_replica",
            frame_bytes_max=HELLO_BYTES_MAX,
            on_open=lambda link: None,
            refused=Counter(),  # what we dial and cannot open is a problem to show, not an intruder to count
        )
        return PeerDialler(
            self._reactor,
            dial_once=lambda: dial(self._reactor, replica.host, replica.p2p_port, terms, turn=self._turn),
            queue=SendQueue(self._dropped),
            jitter=self._jitter,
        )

    def _listening(self, port: Any) -> int:
        self._port = port
        for dialler in self._diallers.values():
            dialler.start()
        return int(port.getHost().port)

    def _judge(self, certificate: PeerCertificate, hello: Hello) -> str | None:
        """The key says who it is; a Hello that says otherwise is a mistake or a lie."""
        peer = self._peers.get(certificate.public_key)
        if peer is None or hello.replica is None:
            return "wrong_replica"
        if self._conduct.is_barred(certificate.public_key):
            return "barred"
        defined = self._defined.get(peer.name)
        if defined is not None and defined.id != hello.replica:
            return "wrong_replica"
        return "already_linked" if self._is_second(peer) else None

    def _is_second(self, peer: LinkedPeer) -> bool:
        """Whether another link of this replica is heard: then this one is of a second process."""
        key, now = peer.transport_key, self._reactor.seconds()
        older = self._accepted.get(key)
        if older is None or older.is_ended or now - self._heard[key] >= HEARD_SECONDS:
            return False
        if self._log is not None and now - self._twice.get(key, -TWICE_SECONDS) >= TWICE_SECONDS:
            self._log.warning("already_linked", peer=peer.id, cause="a second process with its transport key")
        self._twice[key] = now
        return True

    def _accept(self, link: Link) -> None:
        key = link.peer.public_key
        older = self._accepted.get(key)
        self._accepted[key] = link
        self._heard[key] = self._reactor.seconds()
        if older is not None:
            older.abort("replaced")
        link.frame_bytes_max = self._frame_bytes_max
        link.on_frame = lambda frame: self._receive(key, frame)
        link.on_closed = lambda _: self._forget(key, link)

    def _receive(self, key: bytes, frame: bytes) -> None:
        peer = self._peers.get(key)
        if peer is not None:
            self._heard[key] = self._reactor.seconds()
            self._on_message(peer.id, frame, partial(self._note_refusal, key))

    def _note_refusal(self, key: bytes) -> bool:
        """A frame was refused, now or after its verdicts came, when its link may have ended. Whether that was one too
        many, and its sender is hung up on."""
        is_one_too_many = self._conduct.note_refusal(key)
        if is_one_too_many and key in self._accepted:
            self._accepted[key].refuse("refused_frames")
        return is_one_too_many

    def _forget(self, key: bytes, link: Link) -> None:
        if self._accepted.get(key) is link:
            del self._accepted[key]
            del self._heard[key]


def listen_clients(
    reactor: Reactor,
    host: str,
    port: int,
    *,
    identity: TlsIdentity,
    authorities: tuple[bytes, ...],
    network: bytes,
    replica_id: int,
    on_link: Callable[[Link], None],
    refused: Counter[str],
    connections_max: int = CONNECTIONS_MAX,
    turn: TurnEnd | None = None,
) -> "Deferred[IListeningPort]":
    """The client port: every link it opens has a certificate of a client authority and said the right Hello.

    `on_link` sets `on_frame` and `on_closed`. A replica that dials the wrong port is refused `wrong_port`.
    """
    opened: list[Link] = []

    def judge(certificate: PeerCertificate, hello: Hello) -> str | None:
        if hello.replica is not None:
            return "wrong_port"
        opened[:] = [link for link in opened if not link.is_ended]
        own = [link for link in opened if link.peer.public_key == certificate.public_key]
        return "too_many_connections" if len(own) >= CONNECTIONS_PER_CLIENT_MAX else None

    def accept(link: Link) -> None:
        opened.append(link)
        on_link(link)

    terms = LinkTerms(
        connections=client_port_connections(identity, authorities),
        hello=Hello(network=network, replica=replica_id),
        judge=judge,
        frame_bytes_max=CLIENT_FRAME_BYTES_MAX,
        on_open=accept,
        refused=refused,
    )
    return listen(reactor, host, port, terms, connections_max=connections_max, turn=turn)


def connect_client(
    reactor: Reactor,
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
    """A client's link to one replica, whose key is pinned; fires when the replica's Hello has been checked.

    Fails with LinkRefusedError(reason) or TCP's own error; then `on_closed` is not called. Cancelling ends the attempt.
    """

    def opened(link: Link) -> None:
        link.on_frame = on_frame
        link.on_closed = on_closed

    terms = LinkTerms(
        connections=pinned_connections(identity, {expected_transport_key}),
        hello=Hello(network=network, replica=None),
        judge=lambda _, hello: None if hello.replica == replica_id else "wrong_replica",
        frame_bytes_max=REPLICA_FRAME_BYTES_MAX,
        on_open=opened,
        refused=Counter(),
    )
    return dial(reactor, host, port, terms)


def _transport_key(replica: ReplicaDefinition) -> bytes:
    if replica.transport_key is None:
        raise ValueError(f"replica {replica.id} has no transport key: a template cannot be linked")
    return replica.transport_key
