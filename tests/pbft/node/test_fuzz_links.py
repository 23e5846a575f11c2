"""What is almost a message, through production links and ports: nothing crosses the reactor, everything is counted.

Bytes go in where TLS hands them over (`Link.dataReceived`), cut anywhere, and meet a whole node: link, decoder,
verifier, core, journal and ledger behind a peer's link; port, door and ledger behind a client's. An exception anywhere
would reach the reactor, and fails the test.
"""

from collections import Counter
from dataclasses import dataclass, field
from io import StringIO
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from wire_fuzz.mutations import RAW_EDITS, edit_protobuf, mutate

from ledger.transaction import Transaction, sign_transaction
from pbft.node.client_port import ClientPort
from pbft.node.links import PREFIX_BYTES, Link, LinkTerms
from pbft.node.log import make_logger
from pbft.node.metrics import Metrics
from pbft.node.tls import PeerCertificate
from pbft.simulation.cluster import GENESIS_TIME_MS, Cluster
from pbft.simulation.machine import Machine
from pbft.simulation.outcome import TOTAL_KEY
from pbft.simulation.workload import Workload
from pbft.wire.client_frames import HeadRequest, Proof, ReplicaFrame, Submit, View, encode_client_frame
from pbft.wire.codec import decode_peer
from pbft.wire.hello import Hello, encode_hello
from pbft.wire.limits import CLIENT_FRAME_BYTES_MAX, WIRE_VERSION

EDITS = (*RAW_EDITS, edit_protobuf, edit_protobuf, edit_protobuf)
FRAMES_OF_A_KIND = 12  # recorded of each kind of message, so that all kinds are edited alike
fuzzed = settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])


class MemoryTransport(StringTransport):
    """A transport in memory, with what a link asks of TCP."""

    aborted = False

    def abortConnection(self) -> None:  # noqa: N802
        self.aborted = True

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        pass

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802
        pass

    def unregisterProducer(self) -> None:  # noqa: N802
        """As TLS does it: nothing to do where none is registered."""
        self.producer = None


class Certified:
    """TLS that has accepted the other end."""

    def peer_certificate(self, transport: object) -> PeerCertificate:
        return PeerCertificate(public_key=b"k" * 32, name="peer")


@dataclass
class Opening:
    """An accepted link and what became of it."""

    network: bytes
    frame_bytes_max: int
    opened: list[Link] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        terms = LinkTerms(
            connections=Certified(),  # type: ignore[arg-type]
            hello=Hello(network=self.network, replica=1),
            judge=lambda certificate, hello: "wrong_id" if (hello.replica or 0) > 3 else None,
            frame_bytes_max=self.frame_bytes_max,
            on_open=self.opened.append,
            refused=self.refused,
        )
        self.link, self.transport = Link(Clock(), terms, is_dialled=False), MemoryTransport()
        self.link.makeConnection(self.transport)

    def receive(self, frame: bytes, random: Random) -> None:
        """A frame arrives, cut into pieces at drawn places."""
        data = len(frame).to_bytes(PREFIX_BYTES, "big") + frame
        cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.randrange(3)))
        for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
            self.link.dataReceived(data[start:end])


def record_frames() -> tuple[Cluster, dict[str, list[bytes]]]:
    """A network that changed its view and caught up under load, and the frames that it sent, by kind."""
    cluster = Cluster(seed=11)
    load = Workload(cluster)
    frames: dict[str, list[bytes]] = {}
    send, rules = cluster.network.send, cluster.node(1).rules

    def watch(sender: int, receiver: int, frame: bytes) -> None:
        message = decode_peer(frame, rules)
        inner = getattr(message, "messages", (message,))[0]
        kept = frames.setdefault(f"{type(message).__name__}.{type(inner).__name__}", [])
        if len(kept) < FRAMES_OF_A_KIND:
            kept.append(frame)
        send(sender, receiver, frame)

    cluster.network.send = watch  # type: ignore[method-assign]
    for number in range(30):
        private = [{"number": 1}] if number % 2 else []
        method = "add_private" if private else "add"
        cluster.at(
            number * 60,
            lambda m=method, p=private: load.submit(1, m, [TOTAL_KEY, 1], private=p, through=[1, 2]) and None,  # type: ignore[misc]
        )
    cluster.at(300, lambda: cluster.kill(0))
    cluster.at(5_000, lambda: cluster.start(0))
    cluster.run(8_000)
    assert cluster.run(60_000, until=lambda: load.is_done and cluster.is_level()), cluster.describe()
    return cluster, frames


@pytest.fixture(scope="module")
def recorded() -> tuple[Cluster, dict[str, list[bytes]]]:
    return record_frames()


def counted(machine: Machine) -> int:
    """Frames that the driver has counted, taken or not; what the core drops later it counts as well."""
    kinds = ("message:", "frame_refused:", "message_dropped:unwanted_")
    return sum(count for name, count in machine.counters.items() if name.startswith(kinds))


def test_edited_frames_of_a_peer_never_cross_the_reactor(recorded: tuple[Cluster, dict[str, list[bytes]]]) -> None:
    """A replica reads each, counts it once, keeps its link, and does not halt; frames of every kind of message."""
    cluster, frames = recorded
    assert set(frames) >= {
        *("Envelope.PrePrepare", "Envelope.Prepare", "Envelope.ViewChange", "Envelope.NewView", "Status.Status"),
        *("Relay.Relay", "FetchBlocks.FetchBlocks", "Blocks.Blocks", "Forward.Forward"),
    }
    machine, node = cluster.machines[3], cluster.node(3)
    opening = Opening(cluster.genesis.network_id, node.rules.peer_frame_bytes_max)
    opening.receive(encode_hello(Hello(network=cluster.genesis.network_id, replica=2)), Random(0))
    (link,) = opening.opened
    link.on_frame = lambda frame: node.driver.on_frame(2, frame)
    kinds = [frame for kept in frames.values() for frame in kept]

    @fuzzed
    @given(random=st.randoms(use_true_random=False), frame=st.sampled_from(kinds), count=st.integers(1, 4))
    def run(random: Random, frame: bytes, count: int) -> None:
        before = counted(machine)
        for _ in range(count):
            opening.receive(mutate(frame, EDITS, random), random)
        assert counted(machine) == before + count
        node.driver.tick()
        node.driver.flush()
        assert node.driver.halted is None and not link.is_ended and not opening.refused

    run()
    height = node.chain.height
    load = Workload(cluster)
    load.nonces[2] = 0
    load.submit(2, "add", [TOTAL_KEY, 1], through=[0, 1])
    assert cluster.run(60_000, until=lambda: load.is_done and node.chain.height > height), "it still takes part"


def test_an_edited_hello_opens_a_link_or_ends_it_by_a_counted_reason() -> None:
    """What is read before anything is known about the other end: one small frame, and one answer to it."""
    hello = encode_hello(Hello(network=b"n" * 32, replica=2, release="1.0"))
    reasons = {"bad_hello", "version", "foreign_network", "wrong_id", "oversized"}

    @fuzzed
    @given(random=st.randoms(use_true_random=False))
    def run(random: Random) -> None:
        opening = Opening(b"n" * 32, 100)
        opening.receive(mutate(hello, EDITS, random), random)
        assert len(opening.opened) + sum(opening.refused.values()) == 1
        assert set(opening.refused) <= reasons and opening.link.is_ended is not bool(opening.opened)
        opening.receive(hello, random)  # after the end nothing is read
        assert len(opening.opened) + sum(opening.refused.values()) == 1

    run()
    assert WIRE_VERSION == 1


def test_edited_frames_of_a_client_never_cross_the_reactor(recorded: tuple[Cluster, dict[str, list[bytes]]]) -> None:
    """Each is answered, or ends the visit by a counted reason; nothing stops the replica."""
    cluster, _ = recorded
    door = cluster.machines[1].door
    assert door is not None
    key = cluster.client_key(7)
    transaction = Transaction(
        network=cluster.genesis.network_id, sender=key.public_key, nonce=0, expiry_height=5_000, gas_limit=50_000,
        expiry_time=GENESIS_TIME_MS // 1_000 + 86_400, contract="register", method="add", arguments=(TOTAL_KEY, 0),
    )  # fmt: skip
    frames = [
        Submit(correlation=1, transaction=sign_transaction(transaction, key).raw),
        View(correlation=2, contract="register", method="total", arguments=b"\x91\xc4\x01k", min_height=1),
        Proof(correlation=3, tx_id=bytes(32), key=None),
        Proof(correlation=4, tx_id=None, key=b"c/register/runs"),
        HeadRequest(correlation=5),
    ]
    faults: list[str] = []

    @fuzzed
    @given(random=st.randoms(use_true_random=False), frame=st.sampled_from(frames), count=st.integers(1, 5))
    def run(random: Random, frame: ReplicaFrame, count: int) -> None:
        metrics = Metrics()
        log = make_logger(replica=1, stream=StringIO())
        port = ClientPort(door=door, metrics=metrics, log=log, on_fault=faults.append)
        opening = Opening(cluster.genesis.network_id, CLIENT_FRAME_BYTES_MAX)
        opening.receive(encode_hello(Hello(network=cluster.genesis.network_id, replica=None)), random)
        port.link_opened(opening.opened[0])
        opening.transport.clear()
        for _ in range(count):
            opening.receive(mutate(encode_client_frame(frame), EDITS, random), random)  # type: ignore[arg-type]
        ends = sum(metrics.client_refused_total.values())
        assert opening.link.is_ended == bool(ends) and ends <= 1
        # An edit may leave a valid transaction, question or read.
        waits = len(door._waiting) or len(door._questions) or door._reads._open_by_client
        is_answered = opening.transport.value() or waits
        assert opening.link.is_ended or is_answered, "a frame that ends nothing is answered, now or with its block"
        opening.link.connectionLost()
        assert metrics.client_connections == 0

    run()
    assert faults == []
