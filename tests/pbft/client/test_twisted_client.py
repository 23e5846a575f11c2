"""The Deferred face against four replicas made of plain objects, on a clock that the test moves."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ledger.encoding import decode, encode
from ledger.keys import SigningKey
from ledger.transaction import Receipt, parse_transaction
from pbft.client.account import Account
from pbft.client.errors import NotVouched, QueryFailed
from pbft.client.links import HELD_TICKS, REDIAL_MAX_TICKS, REDIAL_TICKS
from pbft.client.network import ReplicaAddress
from pbft.client.options import REFRESH_TICKS, ClientOptions
from pbft.client.patience import EXPECTED_MAX, Patience
from pbft.client.twisted_client import QueryAnswer, TwistedClient
from pbft.core.client_session import Committed, OutcomeUnknown, Rejected, ReplyContent
from pbft.wire.client_frames import (
    Await,
    ClientFrame,
    Head,
    HeadRequest,
    Proof,
    ProofAnswer,
    Refused,
    ReplicaFrame,
    Replies,
    Submit,
    View,
    ViewAnswer,
    decode_client_frame,
    encode_replica_frame,
)

NETWORK = b"n" * 32
KEY = SigningKey.from_seed(b"k" * 32)
OPTIONS = ClientOptions(tick_ms=50, patience_ms=10_000, question_patience_ms=2_000)
PRIMARY_ALONE_S = OPTIONS.timing.primary_alone_ticks * OPTIONS.tick_ms / 1000


@dataclass
class FakeReplica:
    """Answers as `behave` says; by default it executes what it is given and knows one height."""

    number: int
    reachable: bool = True
    height: int = 7
    primary: int = 0
    view: int = 0
    value: int = 42
    heard: list[ClientFrame] = field(default_factory=list)
    links: "list[FakeLink]" = field(default_factory=list)
    silent_to: tuple[type, ...] = ()
    ordered: dict[bytes, Submit] = field(default_factory=dict)  # what any replica took, as it is of all
    awaited: dict[bytes, int] = field(default_factory=dict)

    def answer(self, frame: ClientFrame) -> ReplicaFrame | None:
        if isinstance(frame, self.silent_to):
            return None
        if isinstance(frame, HeadRequest):
            return Head(
                correlation=frame.correlation,
                height=self.height,
                time_ms=1_000,
                header_hash=b"h" * 32,
                certified_height=self.height,
                view=self.view,
                primary=self.primary,
            )
        if isinstance(frame, View):
            return ViewAnswer(
                correlation=frame.correlation,
                height=self.height,
                time_ms=1_000,
                status="ok",
                code="",
                result=encode(self.value),
            )
        if isinstance(frame, Submit):
            self.ordered[parse_transaction(frame.transaction).tx_id] = frame
            return self.execute(frame, "ok", "")
        if isinstance(frame, Await):
            ((correlation, tx_id),) = frame.entries
            self.awaited[tx_id] = correlation
            return self.tell(self.ordered[tx_id]) if tx_id in self.ordered else None
        return ProofAnswer(correlation=frame.correlation, code="not_certified_yet", proof=b"")

    def tell(self, frame: Submit) -> Replies:
        """What is told to who asked for the outcome."""
        tx_id = parse_transaction(frame.transaction).tx_id
        return self.execute(replace(frame, correlation=self.awaited[tx_id]), "ok", "")

    def execute(self, frame: Submit, status: str, code: str) -> Replies:
        signed = parse_transaction(frame.transaction)
        receipt = Receipt(
            tx_id=signed.tx_id,
            sender=signed.transaction.sender,
            nonce=signed.transaction.nonce,
            status=status,
            code=code,
            gas_used=1,
            result=encode(self.value),
            events=(),
        )
        content = ReplyContent(
            client=receipt.sender,
            nonce=receipt.nonce,
            tx_id=receipt.tx_id,
            height=self.height + 1,
            index=0,
            receipt=receipt.to_bytes(),
            header_hash=b"h" * 32,
        )
        return Replies(
            replies=((frame.correlation, content.to_bytes()),),
            view_hint=self.view,
            primary_hint=self.primary,
        )

    def count(self, kind: type) -> int:
        return sum(isinstance(frame, kind) for frame in self.heard)


@dataclass
class FakeLink:
    """One end of a link: what the client writes is answered at once, as bytes through the production codec."""

    replica: FakeReplica
    on_frame: Callable[[bytes], None]
    on_closed: Callable[[str], None]
    is_open: bool = True

    def send_frame(self, data: bytes) -> None:
        frame = decode_client_frame(data)
        self.replica.heard.append(frame)
        answer = self.replica.answer(frame)
        if answer is not None and self.is_open:
            self.on_frame(encode_replica_frame(answer))

    def close(self, reason: str) -> None:
        if self.is_open:
            self.is_open = False
            self.on_closed(reason)


class Bench:
    """Four fake replicas, a client and a clock."""

    def __init__(self, *, start: bool = True) -> None:
        self.clock = Clock()
        ordered: dict[bytes, Submit] = {}
        self.replicas = [FakeReplica(number, ordered=ordered) for number in range(4)]
        addresses = tuple(
            ReplicaAddress(replica=number, host="127.0.0.1", port=1, transport_key=bytes([number]) * 32)
            for number in range(4)
        )
        network: Any = SimpleNamespace(
            network_id=NETWORK, addresses=addresses, replicas=4, weak_quorum=2, genesis_bytes=b"{}"
        )
        identity: Any = None
        self.client = TwistedClient(
            self.clock, network, identity, options=OPTIONS, now=self.clock.seconds, dial=self.dial
        )
        self.account = Account(KEY, network=NETWORK)
        if start:
            self.client.start()

    def dial(self, _reactor: Any, _host: str, _port: int, *, replica_id: int, **options: Any) -> "Deferred[Any]":
        dialling: Deferred[Any] = Deferred()
        replica = self.replicas[replica_id]
        if replica.reachable:
            link = FakeLink(replica, options["on_frame"], options["on_closed"])
            replica.links.append(link)
            self.clock.callLater(0, dialling.callback, link)
        else:
            self.clock.callLater(0, dialling.errback, Failure(ConnectionError("refused")))
        return dialling

    def advance(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds * 1000 / OPTIONS.tick_ms))):
            self.clock.advance(OPTIONS.tick_ms / 1000)

    def ready(self) -> "Bench":
        self.advance(0.1)
        for replica in self.replicas:
            replica.heard.clear()
        return self

    def lose(self, number: int) -> None:
        self.replicas[number].reachable = False
        for link in self.replicas[number].links:
            link.close("lost")


def result_of(deferred: "Deferred[Any]") -> Any:
    """What a Deferred has fired with; fails if it has not fired, and raises if it failed."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    assert found, "the Deferred has not fired"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]


def is_waiting(deferred: "Deferred[Any]") -> bool:
    """Whether it has no result yet; a Deferred that waits for another one counts as called and is paused."""
    return not deferred.called or bool(deferred.paused)


def test_a_transaction_goes_to_the_primary_and_needs_a_second_voice() -> None:
    """W witnesses are asked for the outcome when it is sent; one reply is not enough, W equal ones commit."""
    bench = Bench()
    bench.replicas[0].silent_to = (Submit,)
    bench.ready()
    waiting = bench.client.submit(bench.account, "ping", "ping")
    assert [replica.count(Submit) for replica in bench.replicas] == [1, 0, 0, 0]
    assert [replica.count(Await) for replica in bench.replicas] == [0, 1, 1, 0]
    (frame,) = (frame for frame in bench.replicas[0].heard if isinstance(frame, Submit))
    bench.replicas[0].links[-1].on_frame(encode_replica_frame(bench.replicas[0].execute(frame, "ok", "")))
    assert is_waiting(waiting)
    bench.replicas[2].links[-1].on_frame(encode_replica_frame(bench.replicas[2].tell(frame)))
    outcome = result_of(waiting)
    assert [replica.count(Submit) for replica in bench.replicas] == [1, 0, 0, 0]
    assert isinstance(outcome, Committed)
    assert (outcome.reply.height, outcome.receipt.value) == (8, 42)
    assert bench.account.nonces.base == 1


def test_the_primary_teaches_patience_though_others_decide_before_it() -> None:
    """The witnesses are quicker each time: without the primary's late word, a busy network would be asked in vain."""
    bench = Bench()
    for replica in bench.replicas:
        replica.silent_to = (Submit,)
    bench.ready()
    for _ in range(2):
        bench.replicas[0].heard.clear()
        waiting = bench.client.submit(bench.account, "ping", "ping")
        bench.advance(1.5 * PRIMARY_ALONE_S)
        (frame,) = (frame for frame in bench.replicas[0].heard[:1] if isinstance(frame, Submit))
        for witness in bench.replicas[1:3]:
            witness.links[-1].on_frame(encode_replica_frame(witness.tell(frame)))
        assert isinstance(result_of(waiting), Committed)
        bench.replicas[0].links[-1].on_frame(encode_replica_frame(bench.replicas[0].execute(frame, "ok", "")))
    assert [replica.count(Submit) for replica in bench.replicas[1:]] == [1, 1, 1], "the second time nobody else"


def test_a_slow_network_is_not_asked_twice_as_much() -> None:
    """Answers take longer than the fixed wait: after a few of them the others are left alone until it is late."""
    bench = Bench()
    for replica in bench.replicas:
        replica.silent_to = (Submit,)
    bench.ready()

    def submit_and_count() -> int:
        """A transaction that is answered after 1.5 times the wait: how many replicas had it by then."""
        for replica in bench.replicas:
            replica.heard.clear()
        waiting = bench.client.submit(bench.account, "ping", "ping")
        bench.advance(1.5 * PRIMARY_ALONE_S)
        asked = sum(replica.count(Submit) for replica in bench.replicas)
        (frame,) = (frame for frame in bench.replicas[0].heard[:1] if isinstance(frame, Submit))
        for replica in bench.replicas[:2]:
            replica.links[-1].on_frame(encode_replica_frame(replica.execute(frame, "ok", "")))
        result_of(waiting)
        return asked

    assert [submit_and_count() for _ in range(3)] == [5, 1, 1]


def test_a_silent_primary_teaches_no_patience() -> None:
    """Answers of the others are late because the primary said nothing: the next request waits no longer for it."""
    bench = Bench()
    bench.replicas[0].silent_to = (Submit,)
    bench.ready()
    for _ in range(3):
        waiting = bench.client.submit(bench.account, "ping", "ping")
        bench.advance(PRIMARY_ALONE_S)
        assert isinstance(result_of(waiting), Committed)


@pytest.mark.parametrize(
    ("latencies", "expected"), [([], 10), ([1, 1, 1], 10), ([15], 30), ([15] * 9 + [19], 31), ([10_000], 40)]
)
def test_patience_is_twice_the_smoothed_latency_within_bounds(latencies: list[float], expected: float) -> None:
    """Never below what it began with, and no primary can make it grow for ever."""
    patience = Patience(10)
    for number, latency in enumerate(latencies):
        patience.sent(number, 2, 1_000)
        patience.answered(number, 1, 1_000)
        patience.answered(number, 2, 1_000 + latency)
        patience.answered(number, 2, 9_000)
    assert patience.value == expected


def test_requests_that_no_primary_answers_are_not_kept_for_ever() -> None:
    patience = Patience(10)
    for number in range(EXPECTED_MAX + 1):
        patience.sent(number, 0, 0)
    patience.answered(0, 0, 100)
    assert patience.value == 10
    patience.answered(1, 0, 6)
    assert patience.value == 12


def test_the_belief_in_the_primary_follows_the_replicas() -> None:
    """After a view change the next transaction goes to the new primary first."""
    bench = Bench()
    for replica in bench.replicas:
        replica.view, replica.primary, replica.silent_to = 2, 2, (Submit,)
    bench.ready()
    bench.client.submit(bench.account, "ping", "ping")
    assert [replica.count(Submit) for replica in bench.replicas] == [0, 0, 1, 0]


def test_a_lost_primary_costs_no_time_out() -> None:
    """The link's end sends what waited for it to the others at once."""
    bench = Bench()
    bench.replicas[0].silent_to = (Submit,)
    bench.ready()
    waiting = bench.client.submit(bench.account, "ping", "ping")
    bench.lose(0)
    assert isinstance(result_of(waiting), Committed)
    assert [replica.count(Submit) for replica in bench.replicas[1:]] == [1, 1, 1]


def test_a_replica_that_comes_back_is_dialled_and_asked_again() -> None:
    """Two are down: one voice is not enough. One comes back: the transaction commits without the caller's help."""
    bench = Bench().ready()
    for number in (0, 1, 2):
        bench.lose(number)
    bench.advance(0.1)
    waiting = bench.client.submit(bench.account, "ping", "ping")
    bench.advance(5)
    assert is_waiting(waiting)
    bench.replicas[2].reachable = True
    bench.advance(5)
    assert isinstance(result_of(waiting), Committed)


def test_patience_ends_in_unknown_and_the_session_goes_on() -> None:
    """A caller hears what is known; the nonce stays taken until the session ends, then it is settled."""
    bench = Bench()
    for replica in bench.replicas:
        replica.silent_to = (Submit,)
    bench.ready()
    waiting = bench.client.submit(bench.account, "ping", "ping", patience_ms=1_000)
    bench.advance(1.1)
    unknown = result_of(waiting)
    assert isinstance(unknown, OutcomeUnknown) and unknown.nonce == 0
    assert bench.account.nonces.in_flight == (0,)
    for replica in bench.replicas:
        replica.silent_to = ()
    bench.advance(5)
    assert (bench.account.nonces.in_flight, bench.account.nonces.base) == ((), 1)


def test_submitting_the_same_transaction_twice_joins_one_session() -> None:
    """Safe to repeat: one session, one nonce, both callers answered alike."""
    bench = Bench()
    bench.replicas[0].silent_to = (Submit,)
    bench.ready()
    signed = bench.client.sign(bench.account, "ping", "ping")
    first = bench.client.submit_signed(signed, account=bench.account)
    second = bench.client.submit_signed(signed)
    assert sum(replica.count(Submit) for replica in bench.replicas) == 1
    bench.advance(PRIMARY_ALONE_S)
    assert result_of(first) == result_of(second)


def test_a_rejected_call_uses_its_nonce_and_a_refused_one_does_not() -> None:
    """The nonce keeper follows the chain's rule: executed or not, by the receipt's status."""
    bench = Bench().ready()
    for replica in bench.replicas:
        replica.answer = lambda frame, replica=replica: (  # type: ignore[method-assign, misc]
            replica.execute(frame, "reverted", "ROLE") if isinstance(frame, Submit) else None
        )
    waiting = bench.client.submit(bench.account, "members", "propose")
    bench.advance(PRIMARY_ALONE_S)
    outcome = result_of(waiting)
    assert isinstance(outcome, Rejected) and outcome.code == "ROLE"
    assert bench.account.nonces.base == 1
    for replica in bench.replicas:
        replica.answer = lambda frame, replica=replica: (  # type: ignore[method-assign, misc]
            replica.execute(frame, "refused", "EXPIRED") if isinstance(frame, Submit) else None
        )
    waiting = bench.client.submit(bench.account, "ping", "ping")
    bench.advance(PRIMARY_ALONE_S)
    assert result_of(waiting).code == "EXPIRED"
    assert (bench.account.nonces.base, bench.account.nonces.in_flight) == (1, ())


def test_a_door_that_refuses_is_not_the_end() -> None:
    """D47: the primary is busy; the others execute."""
    bench = Bench().ready()
    bench.replicas[0].answer = lambda frame: (  # type: ignore[method-assign]
        Refused(correlation=frame.correlation, tx_id=b"", code="busy", detail="", retry_after_ms=1_000)
    )
    waiting = bench.client.submit(bench.account, "ping", "ping")
    assert isinstance(result_of(waiting), Committed)


def test_many_transactions_share_one_timer() -> None:
    """However many wait, the client keeps one timer."""
    bench = Bench()
    for replica in bench.replicas:
        replica.silent_to = (Submit,)
    bench.ready()
    for _ in range(60):
        bench.client.submit(bench.account, "ping", "ping")
    bench.advance(PRIMARY_ALONE_S * 3)
    assert len(bench.clock.getDelayedCalls()) == 1


def test_heads_are_asked_once_a_tick_however_many_wait() -> None:
    """Sixty transactions that are resent in the same tick ask each replica one head."""
    bench = Bench()
    for replica in bench.replicas:
        replica.silent_to = (Submit,)
    bench.ready()
    for _ in range(60):
        bench.client.submit(bench.account, "ping", "ping")
    bench.advance(PRIMARY_ALONE_S)
    assert [replica.count(HeadRequest) for replica in bench.replicas] == [1, 1, 1, 1]
    assert [replica.count(Submit) for replica in bench.replicas] == [120, 60, 60, 60]


def test_a_vouched_query_shows_height_and_voices() -> None:
    """The answer says how far it can be believed."""
    bench = Bench().ready()
    bench.replicas[3].value = 99
    answer = result_of(bench.client.query("cash", "balance", b"a" * 32))
    assert answer == QueryAnswer(value=42, height=7, time_ms=1_000, read="vouched", vouched_by=(0, 1))


def test_a_local_query_asks_one_replica() -> None:
    """The named one, or the primary; its word alone."""
    bench = Bench().ready()
    answer = result_of(bench.client.query("cash", "balance", read="local", replica=2))
    assert answer.vouched_by == (2,)
    assert [replica.count(View) for replica in bench.replicas] == [0, 0, 1, 0]


def test_a_latest_query_is_ordered() -> None:
    """D48: it is a transaction, and shows the receipt's height."""
    bench = Bench().ready()
    waiting = bench.client.query("cash", "balance", b"a" * 32, read="latest", account=bench.account)
    bench.advance(PRIMARY_ALONE_S)
    answer = result_of(waiting)
    assert (answer.value, answer.height, answer.read) == (42, 8, "latest")
    with pytest.raises(ValueError, match="needs an account"):
        bench.client.query("cash", "balance", read="latest")


def test_a_query_without_agreement_fails_with_everybody_s_word() -> None:
    """Four different answers: nobody is believed."""
    bench = Bench().ready()
    for replica in bench.replicas:
        replica.height = 10 + replica.number
    waiting = bench.client.query("cash", "balance")
    bench.advance(2.1)
    with pytest.raises(NotVouched) as raised:
        result_of(waiting)
    assert [replica for replica, _text in raised.value.answers] == [0, 1, 2, 3]


def test_a_view_that_fails_alike_is_an_error_of_the_call() -> None:
    """W replicas say that the view reverted: asking again changes nothing."""
    bench = Bench().ready()
    for replica in bench.replicas:
        replica.answer = lambda frame: ViewAnswer(  # type: ignore[method-assign]
            correlation=frame.correlation, height=7, time_ms=1, status="reverted", code="NO_HOME", result=encode(None)
        )
    with pytest.raises(QueryFailed, match="NO_HOME"):
        result_of(bench.client.query("communities", "home"))


def test_questions_beyond_the_door_s_share_wait_their_turn() -> None:
    """A burst of queries is answered in full without being refused as busy."""
    bench = Bench()
    for replica in bench.replicas:
        replica.silent_to = (View,)
    bench.ready()
    waiting = [bench.client.query("cash", "balance") for _ in range(20)]
    assert [replica.count(View) for replica in bench.replicas] == [8] * 4
    for replica in bench.replicas:
        replica.silent_to = ()
    bench.advance(1)
    assert [result_of(each).value for each in waiting] == [42] * 20


def test_an_account_without_memory_asks_the_chain_only_after_genesis() -> None:
    """At genesis nothing is used and nothing is certified; later a proof is needed, and its lack is an error."""
    bench = Bench()
    for replica in bench.replicas:
        replica.height = 0
    bench.ready()
    assert result_of(bench.client.read_nonces(KEY.public_key)).base == 0
    assert [replica.count(Proof) for replica in bench.replicas] == [0] * 4


def test_the_believed_height_follows_outcomes_and_time() -> None:
    """Expiries are counted ahead of it: a client that runs for weeks must not sign what is expired at birth."""
    bench = Bench().ready()
    for replica in bench.replicas:
        replica.height = 5_000
    waiting = bench.client.submit(bench.account, "ping", "ping")
    assert isinstance(result_of(waiting), Committed)
    assert bench.client.belief.height == 5_001
    for replica in bench.replicas:
        replica.height = 9_000
    bench.advance(REFRESH_TICKS * OPTIONS.tick_ms / 1000)
    assert bench.client.belief.height == 9_000


def test_stopping_answers_everybody() -> None:
    """Nobody waits for a client that has ended."""
    bench = Bench()
    for replica in bench.replicas:
        replica.silent_to = (Submit, View)
    bench.ready()
    submitted = bench.client.submit(bench.account, "ping", "ping")
    asked = bench.client.query("cash", "balance")
    bench.client.stop()
    assert isinstance(result_of(submitted), OutcomeUnknown)
    with pytest.raises(NotVouched):
        result_of(asked)
    assert bench.clock.getDelayedCalls() == []


def test_frames_that_no_replica_sends_close_the_link() -> None:
    """Garbage is survived, and the replica that sent it is dialled anew."""
    bench = Bench().ready()
    link = bench.replicas[1].links[-1]
    link.on_frame(b"\xff\xff")
    assert not link.is_open
    bench.advance(1)
    assert len(bench.replicas[1].links) == 2


def test_a_replica_that_refuses_after_its_hello_is_dialled_less_and_less_often() -> None:
    """Each link opens for a moment: the wait doubles all the same, and a link that was held starts the waits anew."""
    bench = Bench().ready()
    refusing = bench.replicas[1]
    dialled_at: list[float] = []
    while len(dialled_at) < 6:
        if refusing.links[-1].is_open:
            dialled_at.append(bench.clock.seconds())
            refusing.links[-1].close("too_many_connections")
        bench.clock.advance(OPTIONS.tick_ms / 1000)
    waits = [round((later - earlier) * 1000 / OPTIONS.tick_ms) for earlier, later in pairwise(dialled_at)]
    assert waits == [REDIAL_TICKS, 2 * REDIAL_TICKS, 4 * REDIAL_TICKS, 8 * REDIAL_TICKS, REDIAL_MAX_TICKS]
    bench.advance(REDIAL_MAX_TICKS * OPTIONS.tick_ms / 1000)
    bench.advance(HELD_TICKS * OPTIONS.tick_ms / 1000)
    links = len(refusing.links)
    refusing.links[-1].close("lost")
    bench.advance(REDIAL_TICKS * OPTIONS.tick_ms / 1000)
    assert len(refusing.links) == links + 1


def test_arguments_travel_in_canonical_form() -> None:
    """A view gets exactly the values that the caller gave."""
    bench = Bench().ready()
    result_of(bench.client.query("meters", "records", ["a_load", b"x" * 32, -1, True]))
    view = next(frame for frame in bench.replicas[0].heard if isinstance(frame, View))
    assert decode(view.arguments) == [["a_load", b"x" * 32, -1, True]]
