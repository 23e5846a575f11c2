"""The clients' port between link and door: frames in, answers out, and how a client ends its own visit."""

from collections.abc import Callable
from io import StringIO

import pytest
from twisted.internet.testing import StringTransport

from ledger.errors import InvariantViolation, StoreError
from pbft.node import client_port
from pbft.node.client_port import FAULTS_MAX, ClientPort
from pbft.node.client_visit import Answer, Visit
from pbft.node.log import make_logger
from pbft.node.metrics import Metrics
from pbft.node.tls import PeerCertificate
from pbft.wire.client_frames import (
    ClientFrame,
    HeadRequest,
    Refused,
    Submit,
    decode_replica_frame,
    encode_client_frame,
    encode_replica_frame,
)

REFUSED = Refused(correlation=1, tx_id=b"", code="signature", detail="", retry_after_ms=0)


class FakeLink:
    """The face of `transport.Link` that a port sees, over a transport in memory."""

    def __init__(self) -> None:
        self.transport = StringTransport()
        self.address = "127.0.0.1:5"
        self.peer = PeerCertificate(public_key=b"k" * 32, name="gateway")
        self.sent: list[bytes] = []
        self.closed: list[str] = []
        self.on_frame = lambda frame: None
        self.on_closed = lambda reason: None

    def send_frame(self, frame: bytes) -> None:
        self.sent.append(frame)

    def close(self, reason: str) -> None:
        self.closed.append(reason)
        self.on_closed(reason)

    def abort(self, reason: str) -> None:
        self.close(f"aborted: {reason}")


class FakeDoor:
    """A door that takes head requests and calls every transaction a fault."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.received: list[ClientFrame] = []

    def open(self, answer: Answer, client: bytes, on_fault: Callable[[], None]) -> Visit:
        self.visits.append(Visit(answer=answer, client=client, on_fault=on_fault))
        return self.visits[-1]

    def close(self, visit: Visit) -> None:
        visit.is_closed = True

    def receive(self, visit: Visit, frame: ClientFrame) -> None:
        self.received.append(frame)
        visit.answer(REFUSED)
        if isinstance(frame, Submit):
            visit.on_fault()


@pytest.fixture
def opened() -> tuple[FakeLink, FakeDoor, Metrics]:
    """A port that has just taken over a client's link."""
    link, door, metrics = FakeLink(), FakeDoor(), Metrics()
    log = make_logger(replica=0, stream=StringIO())
    port = ClientPort(door=door, metrics=metrics, log=log, on_fault=pytest.fail)  # type: ignore[arg-type]
    port.link_opened(link)  # type: ignore[arg-type]
    return link, door, metrics


def test_frames_reach_the_door_and_answers_the_client(opened: tuple[FakeLink, FakeDoor, Metrics]) -> None:
    """What the client asked is what the door gets; what the door says is what the client reads."""
    link, door, metrics = opened
    link.on_frame(encode_client_frame(HeadRequest(correlation=7)))
    assert door.received == [HeadRequest(correlation=7)]
    assert door.visits[0].client == link.peer.public_key
    assert [decode_replica_frame(frame) for frame in link.sent] == [REFUSED]
    assert (metrics.client_connections, link.closed) == (1, [])


def test_bytes_that_are_no_frame_end_the_visit(opened: tuple[FakeLink, FakeDoor, Metrics]) -> None:
    """What follows them cannot be trusted; the reason is counted, and nothing more is read or answered."""
    link, door, metrics = opened
    link.on_frame(b"\xff\xff\xff")
    assert len(link.closed) == 1
    assert metrics.client_refused_total == {link.closed[0]: 1}
    assert (door.visits[0].is_closed, metrics.client_connections) == (True, 0)
    link.on_frame(encode_client_frame(HeadRequest(correlation=7)))
    assert door.received == []


def test_a_client_that_keeps_failing_is_shown_out(opened: tuple[FakeLink, FakeDoor, Metrics]) -> None:
    """An accident is forgiven, a flood of bad signatures is not: each costs a verification."""
    link, door, metrics = opened
    for number in range(FAULTS_MAX - 1):
        link.on_frame(encode_client_frame(Submit(correlation=number, transaction=b"x" * 80)))
    assert link.closed == []
    link.on_frame(encode_client_frame(Submit(correlation=99, transaction=b"x" * 80)))
    assert link.closed == ["too_many_faults"]
    assert metrics.client_refused_total["too_many_faults"] == 1
    assert door.visits[0].is_shown_out
    door.visits[0].on_fault()  # a verdict that comes when its client is gone
    assert link.closed == ["too_many_faults"]


def test_a_client_that_does_not_read_is_not_read_from(opened: tuple[FakeLink, FakeDoor, Metrics]) -> None:
    """The transport pauses its producer when answers pile up: then the questions pause, until it drains."""
    link, _, _ = opened
    producer = link.transport.producer
    assert link.transport.streaming
    producer.pauseProducing()
    assert link.transport.producerState == "paused"
    producer.resumeProducing()
    assert link.transport.producerState == "producing"


def unread_frames(byte_count: int) -> int:
    """How many of the fake door's answers make that many bytes."""
    return byte_count // len(encode_replica_frame(REFUSED))


def test_a_client_that_reads_nothing_is_ended(
    opened: tuple[FakeLink, FakeDoor, Metrics], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers to what it asked before pile up in memory: to a limit, and what it has read does not count."""
    monkeypatch.setattr(client_port, "UNREAD_BYTES_MAX", 1_000)
    link, door, metrics = opened
    answer, most = door.visits[0].answer, unread_frames(1_000)
    for _ in range(2 * most):
        answer(REFUSED)
    for _ in range(2):
        link.transport.producer.pauseProducing()
        for _ in range(most):
            answer(REFUSED)
        link.transport.producer.resumeProducing()
    assert link.closed == []
    link.transport.producer.pauseProducing()
    for _ in range(most + 1):
        answer(REFUSED)
    assert link.closed == ["aborted: slow_reader"]
    assert (door.visits[0].is_closed, metrics.client_refused_total) == (True, {"slow_reader": 1})
    sent = len(link.sent)
    answer(REFUSED)
    assert len(link.sent) == sent


def test_the_slowest_reader_makes_room_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many slow readers together have a limit too; whoever has left the most unread goes, and its bytes with it."""
    monkeypatch.setattr(client_port, "UNREAD_ALL_BYTES_MAX", 1_000)
    door, metrics, links = FakeDoor(), Metrics(), [FakeLink(), FakeLink(), FakeLink()]
    log = make_logger(replica=0, stream=StringIO())
    port = ClientPort(door=door, metrics=metrics, log=log, on_fault=pytest.fail)  # type: ignore[arg-type]
    for link in links:
        port.link_opened(link)  # type: ignore[arg-type]
        link.transport.producer.pauseProducing()
    most = unread_frames(1_000)
    for _ in range(most - 1):
        door.visits[1].answer(REFUSED)
    door.visits[0].answer(REFUSED)
    assert [link.closed for link in links] == [[], [], []]
    door.visits[2].answer(REFUSED)
    assert [link.closed for link in links] == [[], ["aborted: slow_reader"], []]
    for _ in range(most - 2):
        door.visits[2].answer(REFUSED)
    assert links[2].closed == []


def test_a_client_that_hangs_up_leaves_no_visit(opened: tuple[FakeLink, FakeDoor, Metrics]) -> None:
    """Its places in the door's tables are free again, once."""
    link, door, metrics = opened
    link.on_closed("hung up")
    assert (door.visits[0].is_closed, metrics.client_connections) == (True, 0)
    assert metrics.client_refused_total == {}


@pytest.mark.parametrize("error", [InvariantViolation("damaged"), StoreError("read")])
def test_a_ledger_that_a_question_finds_damaged_stops_the_replica(error: Exception) -> None:
    """It is not the client's fault, and not the end of one connection alone."""

    class DamagedDoor(FakeDoor):
        def receive(self, visit: Visit, frame: ClientFrame) -> bool:
            raise error

    faults: list[str] = []
    link, log = FakeLink(), make_logger(replica=0, stream=StringIO())
    port = ClientPort(door=DamagedDoor(), metrics=Metrics(), log=log, on_fault=faults.append)  # type: ignore[arg-type]
    port.link_opened(link)  # type: ignore[arg-type]
    link.on_frame(encode_client_frame(HeadRequest(correlation=7)))
    assert faults == [f"a client's question: {error}"]
    assert link.closed == []
