"""The edge's half of D53: no request reaches the core, and no proposal is reported, before the worker survived it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

import pytest

from contracts.verdict import SourceVerdict
from ledger.keys import SigningKey
from ledger.transaction import Transaction, sign_transaction
from pbft.core.messages import Request
from pbft.node import code_checks
from pbft.node.code_checks import CodeChecks
from pbft.node.worker_messages import UNSURVIVED
from pbft.wire.codec import parse_request
from pbft.wire.limits import WireRules

KEY = SigningKey.generate()
NETWORK = bytes(32)
RULES = WireRules(network=NETWORK, replicas=4, window=64, batch_requests_max=500, batch_bytes_max=1_048_576)
POISON = b"kills every worker"


def request_of(source: bytes, method: str = "deploy", nonce: int = 0) -> Request:
    """A transaction that brings a source, as the wire parses it."""
    transaction = Transaction(
        network=NETWORK,
        sender=KEY.public_key,
        nonce=nonce,
        expiry_height=10,
        expiry_time=10,
        gas_limit=1,
        contract="code",
        method=method,
        arguments=("name", source, b"\x90"),
    )
    return parse_request(sign_transaction(transaction, KEY).raw, RULES)


@dataclass
class Worker:
    """Says what it is told to, when it is told to."""

    waiting: list[tuple[bytes, Callable[[SourceVerdict], None]]] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)

    def check_source(self, source: bytes, on_verdict: Callable[[SourceVerdict], None]) -> None:
        self.asked.append(source)
        self.waiting.append((source, on_verdict))

    def answer(self) -> None:
        source, on_verdict = self.waiting.pop(0)
        on_verdict(SourceVerdict(code=UNSURVIVED) if source == POISON else SourceVerdict(code="SYNTAX"))

    def count(self, name: str, reason: str = "", amount: int = 1) -> None:
        self.counted.append(reason)


@pytest.fixture
def worker() -> Worker:
    """One that says nothing yet."""
    return Worker()


@pytest.fixture
def checks(worker: Worker) -> CodeChecks:
    """The checks over it."""
    return CodeChecks(worker.check_source, worker)


@pytest.mark.parametrize(
    ("contract", "method", "arguments", "brings"),
    [
        ("code", "deploy", ("name", b"source", b""), True),
        ("code", "upgrade", ("name", b"source"), True),
        ("code", "deploy", ("name",), False),
        ("code", "deploy", ("name", "text", b""), False),
        ("code", "vote_freeze", ("name", b"source"), False),
        ("ping", "deploy", ("name", b"source"), False),
    ],
)
def test_the_wire_knows_what_brings_code(
    contract: str, method: str, arguments: tuple[object, ...], brings: bool
) -> None:
    """By its bytes, so that every replica knows alike; whatever else it is will be a receipt."""
    transaction = Transaction(
        network=NETWORK,
        sender=KEY.public_key,
        nonce=0,
        expiry_height=10,
        expiry_time=10,
        gas_limit=1,
        contract=contract,
        method=method,
        arguments=arguments,  # type: ignore[arg-type]
    )
    assert parse_request(sign_transaction(transaction, KEY).raw, RULES).has_code is brings


def test_a_refused_source_goes_on_and_one_that_nobody_survives_never_does(checks: CodeChecks, worker: Worker) -> None:
    """D53: a verdict is a verdict, whatever it says; a dead worker is none."""
    done: list[str] = []
    checks.check_request(0, request_of(b"refused"), lambda: done.append("refused"))
    checks.check_request(0, request_of(POISON), lambda: done.append("poison"))
    assert done == []
    worker.answer()
    assert done == ["refused"]
    worker.answer()
    assert (done, worker.counted) == (["refused"], ["code_not_survived"])


def test_a_source_is_checked_once(checks: CodeChecks, worker: Worker) -> None:
    """Whether a client, a relay or a proposal brings it; then it is known at once."""
    done: list[int] = []
    for nonce in range(3):
        checks.check_request(0, request_of(b"one", nonce=nonce), lambda: done.append(0))
    checks.check_proposal([request_of(b"one"), request_of(b"one", "upgrade")], lambda: done.append(1))
    worker.answer()
    assert (sorted(done), worker.asked) == ([0, 0, 0, 1], [b"one"])
    checks.check_proposal([request_of(b"one")], lambda: done.append(2))
    assert done[-1] == 2
    assert worker.asked == [b"one"]


def test_one_source_is_with_the_worker_at_a_time_and_proposals_go_first(checks: CodeChecks, worker: Worker) -> None:
    """So a block waits for one check at most, and what clients send keeps no proposal waiting."""
    done: list[str] = []
    for name in (b"a", b"b"):
        checks.check_request(0, request_of(name), lambda name=name: done.append(name.decode()))
    checks.check_proposal([request_of(b"c"), request_of(b"d")], lambda: done.append("proposal"))
    for _ in range(4):
        assert len(worker.waiting) == 1
        worker.answer()
    assert done == ["proposal", "a", "b"]
    assert worker.asked == [b"a", b"d", b"c", b"b"]


def test_a_proposal_with_one_poison_is_never_reported(checks: CodeChecks, worker: Worker) -> None:
    """Though all else in it is survived."""
    done: list[int] = []
    checks.check_proposal([request_of(b"fine"), request_of(POISON)], lambda: done.append(0))
    while worker.waiting:
        worker.answer()
    assert done == []
    assert worker.counted == ["code_not_survived"]


def test_requests_that_wait_are_bounded(checks: CodeChecks, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is dropped can come again; a proposal is never dropped."""
    monkeypatch.setattr(code_checks, "REQUESTS_MAX", 2)
    done: list[int] = []
    for number in range(4):
        checks.check_request(0, request_of(b"%d" % number), lambda number=number: done.append(number))
    checks.check_proposal([request_of(b"9")], lambda: done.append(9))
    while worker.waiting:
        worker.answer()
    assert sorted(done) == [0, 1, 9]
    assert worker.counted == ["code_checks_full"] * 2
    checks.check_request(0, request_of(b"2"), lambda: done.append(2))
    worker.answer()
    assert done[-1] == 2


def test_who_relays_many_sources_takes_the_place_of_nobody(
    checks: CodeChecks, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M55: a replica that invents clients fills its own places; one request relayed again and again takes one."""
    monkeypatch.setattr(code_checks, "REQUESTS_MAX", 2)
    done: list[bytes] = []
    for number in range(20):
        checks.check_request(3, request_of(b"%d" % number), lambda: done.append(b"flood"))
    for source in (b"a", b"a", b"a", b"b"):
        checks.check_request(0, request_of(source), lambda source=source: done.append(source))
    while worker.waiting:
        worker.answer()
    assert done == [b"flood", b"flood", b"a", b"b"]
    assert worker.counted == ["code_checks_full"] * 18


def test_verdicts_are_bounded(checks: CodeChecks, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten, and its source checked again."""
    monkeypatch.setattr(code_checks, "VERDICTS_MAX", 2)
    for source in (b"a", b"b", b"c", b"a"):
        checks.check_request(0, request_of(source), lambda: None)
        while worker.waiting:
            worker.answer()
    assert worker.asked == [b"a", b"b", b"c", b"a"]
    assert len({sha256(source).digest() for source in worker.asked}) == 3


def test_a_worker_in_this_process_answers_at_once() -> None:
    """However many wait: no call inside a call for each of them."""
    asked: list[bytes] = []

    def check(source: bytes, on_verdict: Callable[[SourceVerdict], None]) -> None:
        asked.append(source)
        on_verdict(SourceVerdict(tree_hash=bytes(32)))

    done: list[int] = []
    checks = CodeChecks(check, Worker())
    checks.check_proposal([request_of(b"%d" % n, nonce=n) for n in range(600)], lambda: done.append(0))
    assert (len(asked), done) == (600, [0])
