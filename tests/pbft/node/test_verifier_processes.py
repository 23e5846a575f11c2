"""Verifier processes: what they say, and what is done with one that is late, dead or talks nonsense.

Most tests have a fake process and a clock of their own; one runs the real program.
"""

import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import defer, reactor
from twisted.internet.task import Clock, LoopingCall

from contracts.helper_process import Questions
from ledger.encoding import decode, encode
from ledger.epochs import Epochs
from ledger.errors import EncodingError
from ledger.hashing import Tag, signing_bytes
from ledger.keys import SigningKey
from pbft.core.messages import Request
from pbft.node import request_lanes, service
from pbft.node.child_process import BACKOFF_SECONDS_MAX
from pbft.node.local_network import default_template
from pbft.node.local_processes import start_time_of
from pbft.node.log import make_logger
from pbft.node.metrics import Metrics
from pbft.node.request_lanes import Helper, RequestPool
from pbft.node.service import ReplicaService, ServiceConfig
from pbft.node.verifier import judge
from pbft.node.verifier_count import compute_verifiers, count_verifiers
from pbft.node.verifier_messages import KIND, encode_signatures, parse_verdicts, read_signatures
from pbft.node.verifier_processes import (
    GREETING_LOOKS_MAX,
    LOOK_SECONDS,
    VERDICT_LOOKS_MAX,
    VerifierProcesses,
)
from pbft.simulation.founding import make_genesis
from pbft.wire.codec import Verifier, WireError

KEY = SigningKey.from_seed(bytes(32))
GENESIS = make_genesis(4)
SECONDS_MAX = 30  # for a real process on a loaded machine


def signatures(count: int) -> list[tuple[bytes, bytes, bytes]]:
    """(public key, signed bytes, signature), of which every third does not hold."""
    messages = [bytes([number]) * number for number in range(count)]
    signed = [KEY.sign(message) for message in messages]
    return [
        (KEY.public_key, message, signature if number % 3 else bytes(64))
        for number, (message, signature) in enumerate(zip(messages, signed, strict=True))
    ]


def requests(*numbers: int) -> list[Request]:
    """Requests with true signatures."""
    made = []
    for number in numbers:
        body = b"body %d" % number
        raw = KEY.sign(signing_bytes(Tag.SIGN_TRANSACTION, body)) + body
        made.append(Request(client=KEY.public_key, nonce=number, tx_id=body, expiry_height=1, gas_limit=1, raw=raw))
    return made


# --- the messages ---


def test_what_is_asked_is_what_is_judged() -> None:
    """Question, verdicts, answer: of each signature its own, an empty message and a long one among them."""
    asked = [*signatures(10), (KEY.public_key, bytes(100_000), KEY.sign(bytes(100_000)))]
    question: Any = decode(encode_signatures(asked), max_bytes=1 << 20)
    assert list(read_signatures(question[1])) == asked
    answer = Questions(b"", {KIND: judge}).answer(encode_signatures(asked))
    assert parse_verdicts(answer, len(asked)) == [bool(number % 3) for number in range(10)] + [True]


@pytest.mark.parametrize("cut", [1, 31, 32, 95, 96, 99, 100, 104])
def test_a_question_that_ends_too_early_is_a_fault(cut: int) -> None:
    """Total: no bytes make a verifier guess."""
    packed: Any = decode(encode_signatures([(KEY.public_key, b"12345", bytes(64))]))
    assert len(packed[1]) == 105
    with pytest.raises(EncodingError):
        list(read_signatures(packed[1][:cut]))
    kind, _ = decode(Questions(b"", {KIND: judge}).answer(encode([KIND, packed[1][:cut]])))  # type: ignore[misc]
    assert kind == "fault"


@pytest.mark.parametrize(
    "message",
    [
        b"\xc1",
        encode(["ok", b"\x01"]),
        encode(["ok", b"\x01\x01\x01"]),
        encode(["ok", b"\x01\x02"]),
        encode(["ok", "yes"]),
        encode(["fault", "no memory"]),
        encode(["perhaps", b"\x01\x01"]),
    ],
)
def test_an_answer_that_is_not_one_verdict_each_is_no_answer(message: bytes) -> None:
    """A wrong count, another byte, a fault, garbage."""
    with pytest.raises(EncodingError):
        parse_verdicts(message, 2)


def test_a_replica_without_processors_to_spare_has_no_verifier() -> None:
    """Four replicas on two cores change nothing; one replica on a host with four has one."""
    figures = {(2, 4): 0, (2, 1): 0, (3, 1): 0, (4, 1): 1, (5, 1): 2, (64, 1): 2, (16, 4): 1, (8, 4): 0, (8, 2): 1}
    assert {case: compute_verifiers(*case) for case in figures} == figures


def test_replicas_of_one_host_share_its_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the definition puts there; and only processors that this process may use count."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    local = default_template("test", 4)
    assert count_verifiers(local, 0) == 1
    apart = replace(local, replicas=(replace(local.replicas[0], host="alone.example"), *local.replicas[1:]))
    assert [count_verifiers(apart, replica) for replica in range(4)] == [2, 2, 2, 2]
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5})
    assert [count_verifiers(apart, replica) for replica in range(4)] == [0, 0, 0, 0]


# --- processes that are not there ---


@pytest.fixture(autouse=True)
def every_signature_is_worth_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that tests need few."""
    monkeypatch.setattr(request_lanes, "IN_PLACE_MAX", 0)


class FakeChild:
    """A process that tests speak for."""

    def __init__(self, pid: int, *, on_greeted: Any, on_message: Any, on_end: Any) -> None:
        self.pid = pid
        self.confinement: dict[str, str] | None = None
        self.missing: dict[str, str] = {}
        self.sent: list[bytes] = []
        self.is_killed = False
        self._greeted, self._message, self.die = on_greeted, on_message, lambda: on_end(self, "exit", "signal 9")

    def greet(self) -> None:
        self.confinement = {}
        self._greeted(self)

    def say(self, message: bytes) -> None:
        self._message(self, message)

    def answer(self) -> None:
        self.say(Questions(b"", {KIND: judge}).answer(self.sent[-1]))

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def kill(self) -> None:
        self.is_killed = True

    def end(self) -> "defer.Deferred[None]":
        self.is_killed = True
        return defer.succeed(None)


class House:
    """A pool with one place for a verifier, on a clock of its own."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.children: list[FakeChild] = []
        self.memory = Verifier(Epochs(GENESIS.configuration))
        self.turn: list[Callable[[], None]] = []
        self.pool = RequestPool(self.memory, at_turn_end=self.turn.append, guard=nullcontext(), metrics=self.metrics)
        self.verifiers = VerifierProcesses(
            self.clock,
            count=1,
            pool=self.pool,
            metrics=self.metrics,
            log=make_logger(replica=0, stream=StringIO()),
            spawn=self._spawn,
        )
        self.lane = self.pool.open()
        self.gone_on: list[int] = []
        self.verifiers.start()

    def _spawn(self, **handlers: Any) -> Any:
        self.children.append(FakeChild(1_000 + len(self.children), **handlers))
        return self.children[-1]

    def look(self, times: int) -> None:
        """So many looks pass."""
        self.clock.pump([LOOK_SECONDS] * times)

    def arrive(self, *numbers: int) -> bool:
        """Each a frame with one request; whether the last waits."""
        holds = [self.lane.hold(requests(number), 100, lambda n=number: self.gone_on.append(n)) for number in numbers]  # type: ignore[misc]
        while self.turn:
            self.turn.pop()()
        return holds[-1]


@pytest.fixture
def house() -> House:
    return House()


def test_a_verifier_is_asked_when_it_has_greeted(house: House) -> None:
    """Before, everything is checked here; afterwards its verdicts are remembered."""
    assert not house.arrive(1)
    house.children[0].greet()
    assert house.arrive(2, 3)
    house.children[0].answer()
    assert house.gone_on == [2, 3]
    assert house.memory.find_unchecked(requests(2, 3)) == []
    assert (house.clock.getDelayedCalls(), house.verifiers.pids) == ([], [1_000])


@pytest.mark.parametrize("cause", ["exit", "late", "bad_answer", "miscount", "unasked"])
def test_one_that_fails_is_replaced_and_what_it_had_goes_on_unverified(house: House, cause: str) -> None:
    """Late, dead, garbage, another number of verdicts, an answer too many: each is its end, and is counted."""
    first = house.children[0]
    first.greet()
    if cause == "unasked":
        first.say(encode(["ok", b""]))
    else:
        assert house.arrive(1, 2)
    if cause == "exit":
        first.die()
    elif cause == "late":
        house.look(VERDICT_LOOKS_MAX)
    elif cause == "bad_answer":
        first.say(b"\xc1 garbage")
    elif cause == "miscount":
        first.say(encode(["ok", b"\x01"]))
    assert first.is_killed
    assert house.gone_on == ([] if cause == "unasked" else [1, 2])
    assert len(house.memory.find_unchecked(requests(1, 2))) == 2, "nothing was believed"
    expected = {"miscount": "bad_answer", "unasked": "bad_answer"}.get(cause, cause)
    assert house.metrics.verifier_restarts_total == {expected: 1}
    assert not house.arrive(3)
    first.say(encode(["ok", b"\x01"]))  # what a dead one still says is heard by nobody
    house.clock.advance(0)
    house.children[1].greet()
    assert house.arrive(4)
    house.children[1].answer()
    assert house.gone_on[-1] == 4


def test_one_that_cannot_start_is_tried_less_and_less_often(house: House) -> None:
    """The machine is not taken by interpreters that start and die; an answer forgives everything."""
    starts = []
    for _ in range(12):
        house.children[-1].die()
        (start,) = house.clock.getDelayedCalls()
        starts.append(start.getTime() - house.clock.seconds())
        house.clock.advance(starts[-1])
    assert starts == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.8, 1.6, *[BACKOFF_SECONDS_MAX] * 6])
    house.children[-1].greet()
    house.arrive(1)
    house.children[-1].answer()
    house.children[-1].die()
    house.clock.advance(0)
    assert len(house.children) == 14


def test_one_that_never_greets_is_replaced(house: House) -> None:
    """It may take long on a crowded machine, but not for ever."""
    house.look(GREETING_LOOKS_MAX - 1)
    assert house.metrics.verifier_restarts_total == {}
    house.look(1)
    house.clock.advance(0)
    assert len(house.children) == 2
    assert house.metrics.verifier_restarts_total == {"late": 1}


def test_a_replica_that_stood_still_itself_blames_nobody(house: House) -> None:
    """Ten seconds pass at once: the answer lay in the socket, and is read before the second look."""
    house.children[0].greet()
    house.arrive(1)
    house.clock.advance(10)
    house.children[0].answer()
    assert (house.gone_on, house.metrics.verifier_restarts_total) == ([1], {})
    assert house.clock.getDelayedCalls() == []


def test_stopping_starts_nothing_more(house: House) -> None:
    """Neither a process, nor a timer, nor what waited: the replica is going."""
    house.children[0].greet()
    house.arrive(1)
    house.verifiers.stop()
    house.clock.advance(100)
    assert (len(house.children), house.children[0].is_killed, house.gone_on) == (1, True, [])
    assert house.arrive(2), "a client's link outlives the verifiers for a moment: what it brings asks nobody, and waits"
    idle = House()
    idle.children[0].greet()
    idle.verifiers.stop()
    assert idle.arrive(1), "nobody is asked who is not there any more"
    assert (len(idle.children[0].sent), idle.gone_on, idle.clock.getDelayedCalls()) == (0, [], [])
    dying = House()
    dying.children[0].die()
    dying.verifiers.stop()
    dying.clock.advance(100)
    assert len(dying.children) == 1


# --- in a replica ---


def test_a_block_that_is_being_written_is_not_gone_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a write of the ledger the answers so far leave; what waits for its turn's end must not go on there.

    It would be judged by the ledger that the block is about to change: a transaction of this block, handed in once
    more, is neither in the ledger yet nor among those of whom clients are still told.
    """
    monkeypatch.setattr(request_lanes, "IN_PLACE_MAX", 1)
    monkeypatch.setattr(service, "VerifierProcesses", lambda *_, **__: SimpleNamespace(start=int, stop=int))
    clock, config = Clock(), SimpleNamespace(verifiers=1)
    replica = ReplicaService(cast("ServiceConfig", config), clock, make_logger(replica=0, stream=StringIO()))
    pool = cast("RequestPool", replica._make_lanes(Verifier(Epochs(GENESIS.configuration))))
    pool.welcome(cast("Helper", object()))
    gone_on: list[str] = []
    assert pool.open().hold(requests(1), 100, lambda: gone_on.append("went on"))
    replica._turn_end.run()  # what the execution calls between telling clients and writing
    assert gone_on == []
    clock.advance(0)
    assert gone_on == ["went on"]


# --- the real one ---


@pytest.mark.drill
@pytest_twisted.ensureDeferred
async def test_a_real_verifier_judges_is_confined_and_is_replaced_when_killed() -> None:
    """The program itself: true and false signatures, SIGKILL, and its end with the replica's."""
    memory, metrics = Verifier(Epochs(GENESIS.configuration)), Metrics()
    pool = RequestPool(
        memory, at_turn_end=lambda send: reactor.callLater(0, send), guard=nullcontext(), metrics=metrics
    )
    verifiers = VerifierProcesses(
        reactor, count=1, pool=pool, metrics=metrics, log=make_logger(replica=0, stream=StringIO())
    )
    true, other = requests(1, 2)
    forged = Request(client=other.client, nonce=2, tx_id=b"", expiry_height=1, gas_limit=1, raw=true.raw[:64] + b"else")
    lane = pool.open()

    async def until(holds: Callable[[], bool]) -> None:
        loop = LoopingCall(lambda: holds() and loop.stop())
        await loop.start(0.02).addTimeout(SECONDS_MAX, reactor)

    verifiers.start()
    try:
        await until(lambda: pool.has_helpers)
        done: list[str] = []
        assert lane.hold([true, forged], 100, lambda: done.append("first"))
        await until(lambda: bool(done))
        assert metrics.verifier_verdicts_total == {"holds": 1, "fails": 1}
        assert [one.signed[-4:] for one in memory.find_unchecked([true, forged])] == [b"else"]
        with pytest.raises(WireError, match="request_signature"):
            memory.verify_request(forged)
        (pid,) = verifiers.pids
        os.kill(pid, signal.SIGKILL)
        await until(lambda: verifiers.pids not in ([pid], []) and pool.has_helpers)
        assert lane.hold([other], 100, lambda: done.append("second"))
        await until(lambda: len(done) == 2)
        assert memory.find_unchecked([other]) == []
        assert metrics.verifier_restarts_total == {"exit": 1}
        (last,) = verifiers.pids
    finally:
        await verifiers.stop()
    assert start_time_of(last) is None
