"""The client's side of section 4.1 on a clock made of ticks: who is asked when, which answers count, how it ends."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import encode
from ledger.transaction import Receipt
from pbft.core.client_session import (
    AskHead,
    AskNonceProof,
    AskOutcome,
    ClientSession,
    Committed,
    InvalidReply,
    NetworkBelief,
    Rejected,
    ReplyContent,
    SendRequest,
    SessionTiming,
    Submission,
    parse_reply,
)

CLIENT = b"c" * 32
TX_ID = b"t" * 32
OTHER_TX_ID = b"o" * 32
TIMING = SessionTiming(primary_alone_ticks=3, resend_ticks=2, resend_max_ticks=8)
SUBMISSION = Submission(client=CLIENT, nonce=5, tx_id=TX_ID, expiry_height=100, expiry_time=1_000, raw=b"raw")


def make_session(*, replicas: int = 4, weak_quorum: int = 2, primary: int = 1) -> ClientSession:
    return ClientSession(SUBMISSION, replicas=replicas, weak_quorum=weak_quorum, primary=primary, timing=TIMING)


def make_receipt(*, status: str = "ok", code: str = "", tx_id: bytes = TX_ID, result: int = 7) -> bytes:
    receipt = Receipt(
        tx_id=tx_id,
        sender=CLIENT,
        nonce=5,
        status=status,
        code=code,
        gas_used=11,
        result=encode(result),
        events=(),
    )
    return receipt.to_bytes()


def make_reply(*, height: int = 9, tx_id: bytes = TX_ID, receipt: bytes | None = None) -> ReplyContent:
    return ReplyContent(
        client=CLIENT,
        nonce=5,
        tx_id=tx_id,
        height=height,
        index=0,
        receipt=make_receipt(tx_id=tx_id) if receipt is None else receipt,
        header_hash=b"h" * 32,
    )


def sent_to(actions: object) -> list[int]:
    assert isinstance(actions, list)
    return [action.replica for action in actions if isinstance(action, SendRequest)]


def tick_until_sent(session: ClientSession, limit: int) -> tuple[int, list[object]]:
    """How many ticks pass until something leaves, and what."""
    for count in range(1, limit + 1):
        actions = session.tick()
        if actions:
            return count, list(actions)
    raise AssertionError(f"nothing left within {limit} ticks")


def test_the_primary_is_asked_first_and_alone() -> None:
    """Section 4.1: a request goes to the replica that the client believes is the primary; W others tell its outcome."""
    session = make_session(primary=2)
    assert session.start() == [SendRequest(replica=2), AskOutcome(replica=3), AskOutcome(replica=0)]
    assert [session.tick() for _ in range(TIMING.primary_alone_ticks - 1)] == [[], []]


def test_everybody_is_asked_after_the_time_out_with_capped_doubling_waits() -> None:
    """M18: on time-out to all, then again; the waits double up to the cap, so a healed network is noticed in time."""
    session = make_session()
    session.start()
    waits = []
    for _ in range(6):
        ticks, actions = tick_until_sent(session, 20)
        waits.append(ticks)
        assert sent_to(actions) == [0, 1, 2, 3]
        assert [a.replica for a in actions if isinstance(a, AskHead)] == [0, 1, 2, 3]
    assert waits == [3, 2, 4, 8, 8, 8]


def test_weak_quorum_of_equal_replies_commits() -> None:
    """M20: W byte-equal replies from distinct replicas; the answer says who vouches."""
    session = make_session()
    session.start()
    session.receive_reply(3, make_reply().to_bytes())
    assert session.outcome is None
    session.receive_reply(1, make_reply().to_bytes())
    assert isinstance(session.outcome, Committed)
    assert session.outcome.vouched_by == (1, 3)
    assert session.outcome.receipt.value == 7
    assert session.tick() == []


def test_the_receipt_of_a_rival_sends_everybody_the_request_at_once() -> None:
    """The witnesses were asked about this transaction and have nothing to say: another one used the nonce (D43)."""
    session = make_session(primary=3)
    session.start()
    rival = make_reply(tx_id=OTHER_TX_ID).to_bytes()
    assert sent_to(session.receive_reply(3, rival)) == [0, 1, 2]
    assert session.receive_reply(0, rival) == []
    assert isinstance(session.outcome, Rejected) and session.outcome.code == "NONCE_USED"


def test_one_replica_counts_once() -> None:
    """A replica that repeats itself is one voice (M3)."""
    session = make_session()
    for _ in range(5):
        session.receive_reply(3, make_reply().to_bytes())
    assert session.outcome is None


@pytest.mark.parametrize(
    "other",
    [
        make_reply(height=10),
        replace(make_reply(), index=1),
        replace(make_reply(), header_hash=b"x" * 32),
        make_reply(receipt=make_receipt(result=8)),
        make_reply(tx_id=OTHER_TX_ID),
    ],
    ids=["height", "index", "header", "receipt", "transaction"],
)
def test_replies_that_differ_in_anything_do_not_match(other: ReplyContent) -> None:
    """All of the content must be byte-equal: height and header hash too, or a liar could borrow a vote."""
    session = make_session()
    session.receive_reply(0, make_reply().to_bytes())
    session.receive_reply(1, other.to_bytes())
    assert session.outcome is None
    session.receive_reply(2, make_reply().to_bytes())
    assert isinstance(session.outcome, Committed)


def test_a_failed_execution_is_rejected_with_its_code() -> None:
    """A reverted call is an answer: the receipt says why, and the nonce is used."""
    session = make_session()
    reply = make_reply(receipt=make_receipt(status="reverted", code="ROLE"))
    for replica in (0, 2):
        session.receive_reply(replica, reply.to_bytes())
    assert isinstance(session.outcome, Rejected)
    assert (session.outcome.code, session.outcome.vouched_by) == ("ROLE", (0, 2))
    assert session.outcome.receipt is not None and session.outcome.receipt.status == "reverted"


def test_another_transaction_of_the_nonce_rejects_ours() -> None:
    """D43: the answer is always the first one's; a cancel that won means ours never runs."""
    session = make_session()
    for replica in (0, 2):
        session.receive_reply(replica, make_reply(tx_id=OTHER_TX_ID).to_bytes())
    assert isinstance(session.outcome, Rejected)
    assert session.outcome.code == "NONCE_USED"
    assert session.outcome.reply is not None and session.outcome.reply.tx_id == OTHER_TX_ID


@pytest.mark.parametrize("code", ["RETRY", "NONCE_OUT_OF_WINDOW", "EXPIRY_TOO_FAR"])
def test_a_receipt_that_leaves_the_nonce_free_is_not_final(code: str) -> None:
    """D49: refused RETRY means the transaction may still run; the session goes on asking."""
    session = make_session()
    session.start()
    refused = make_reply(receipt=make_receipt(status="refused", code=code)).to_bytes()
    for replica in range(4):
        session.receive_reply(replica, refused)
    assert session.outcome is None
    _ticks, actions = tick_until_sent(session, 5)
    assert sent_to(actions) == [0, 1, 2, 3]
    for replica in (1, 3):
        session.receive_reply(replica, make_reply(height=12).to_bytes())
    assert isinstance(session.outcome, Committed)


def test_an_expired_receipt_is_final() -> None:
    """EXPIRED on chain: agreed time and height never fall, so W replicas' word on it is the end."""
    session = make_session()
    refused = make_reply(receipt=make_receipt(status="refused", code="EXPIRED")).to_bytes()
    for replica in (0, 1):
        session.receive_reply(replica, refused)
    assert isinstance(session.outcome, Rejected) and session.outcome.code == "EXPIRED"


def test_refusals_are_never_final() -> None:
    """D47: not even when every door refuses, for whatever reason."""
    session = make_session()
    session.start()
    for replica in range(4):
        session.receive_refusal(replica, "expired", 1)
    assert session.outcome is None
    assert session.unknown().refusals == tuple((replica, "expired") for replica in range(4))


def test_a_refusal_by_the_primary_sends_to_everybody_at_once() -> None:
    """A busy or departed primary costs no time-out; only its own wish to wait is honoured."""
    session = make_session(primary=1)
    session.start()
    assert sent_to(session.receive_refusal(1, "busy", 5)) == [0, 2, 3]
    assert session.receive_refusal(0, "busy", 5) == []
    assert session.receive_refusal(1, "busy", 5) == []


def test_a_wish_to_wait_is_honoured_up_to_the_cap() -> None:
    """A door's retry time delays the next attempt at that door, and a liar's cannot delay it for ever."""
    session = make_session(primary=1)
    session.start()
    session.receive_refusal(1, "busy", 1_000_000)
    sent: list[int] = []
    for _ in range(TIMING.resend_max_ticks * 2):
        sent += sent_to(session.tick())
    assert 1 in sent


def test_a_replica_that_answered_is_not_asked_again() -> None:
    """Resends go where they can change the count."""
    session = make_session()
    session.start()
    session.receive_reply(2, make_reply().to_bytes())
    _ticks, actions = tick_until_sent(session, 5)
    assert sent_to(actions) == [0, 1, 3]


@pytest.mark.parametrize(("height", "time_ms", "ends"), [(99, 1_000_000, False), (100, 0, True), (0, 1_000_001, True)])
def test_a_proof_past_the_expiry_ends_the_question(height: int, time_ms: int, ends: bool) -> None:
    """D46, D47: the unused nonce at a header that no later block can undo, by height or by agreed time."""
    session = make_session()
    session.receive_nonce_proof(height=height, time_ms=time_ms, is_used=False)
    assert (session.outcome is not None) is ends
    if ends:
        assert isinstance(session.outcome, Rejected)
        assert (session.outcome.code, session.outcome.reply, session.outcome.vouched_by) == ("EXPIRED", None, ())


def test_a_used_nonce_past_the_expiry_is_not_an_expiry() -> None:
    """The receipt exists then, and only it says what happened."""
    session = make_session()
    session.receive_nonce_proof(height=200, time_ms=0, is_used=True)
    assert session.outcome is None


def test_heads_past_the_expiry_ask_for_the_proof() -> None:
    """A head is a hint: it starts the search for a proof, and later rounds go on asking for it."""
    session = make_session()
    session.start()
    assert session.receive_head(2, 99, 999_999) == []
    assert session.receive_head(2, 100, 0) == [AskNonceProof(replica=2)]
    _ticks, actions = tick_until_sent(session, 5)
    assert [action.replica for action in actions if isinstance(action, AskNonceProof)] == [0, 1, 2, 3]


def test_unknown_reports_without_ending() -> None:
    """OutcomeUnknown carries what bounds it, and the session goes on to its outcome."""
    session = make_session()
    session.receive_reply(0, make_reply().to_bytes())
    unknown = session.unknown()
    assert (unknown.answers, unknown.expiry_height, unknown.expiry_time, unknown.nonce) == (1, 100, 1_000, 5)
    session.receive_reply(3, make_reply().to_bytes())
    assert isinstance(session.outcome, Committed)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        encode([]),
        encode({"a": 1}),
        encode([CLIENT, 5, TX_ID, 9, 0, make_receipt(), b"h" * 31]),
        encode([CLIENT, -1, TX_ID, 9, 0, make_receipt(), b"h" * 32]),
        encode([CLIENT, True, TX_ID, 9, 0, make_receipt(), b"h" * 32]),
        encode([CLIENT, 5, TX_ID, 9, 0, "receipt", b"h" * 32]),
        encode([CLIENT, 5, TX_ID, 9, 0, b"\xc1", b"h" * 32]),
        make_reply().to_bytes() + b"\x00",
        replace(make_reply(), client=b"d" * 32).to_bytes(),
        replace(make_reply(), nonce=6).to_bytes(),
    ],
    ids=[
        "empty",
        "reserved-byte",
        "no-fields",
        "a-map",
        "short-hash",
        "negative",
        "boolean",
        "text",
        "broken-receipt",
        "trailing-byte",
        "another-client",
        "another-nonce",
    ],
)
def test_what_no_correct_replica_sends_is_noted_and_not_counted(content: bytes) -> None:
    """M5: any bytes are survived; the sender is known to misbehave, and its vote is not used."""
    session = make_session()
    for replica in range(4):
        session.receive_reply(replica, content)
    assert session.outcome is None
    assert session.misbehaved == {0, 1, 2, 3}


def test_replies_of_strangers_do_not_count() -> None:
    """An id outside the configuration is nobody."""
    session = make_session()
    for replica in (-1, 4, 99):
        session.receive_reply(replica, make_reply().to_bytes())
        assert session.receive_refusal(replica, "busy", 1) == []
        assert session.receive_head(replica, 500, 0) == []
    assert session.outcome is None


@given(data=st.binary(max_size=200))
def test_parsing_a_reply_is_total(data: bytes) -> None:
    """Any bytes either parse to content with exactly these bytes, or are InvalidReply."""
    try:
        content = parse_reply(data)
    except InvalidReply:
        return
    assert content.to_bytes() == data


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, set[int], list[tuple[str, int, int]]]:
    """n replicas of which up to f lie, and everything that the liars say in an order that they choose."""
    replicas = draw(st.integers(min_value=4, max_value=13))
    faults = (replicas - 1) // 3
    liars = draw(st.sets(st.integers(0, replicas - 1), max_size=faults))
    if not liars:
        return replicas, liars, []
    saying = st.tuples(
        st.sampled_from(["ok", "rejected", "other", "refuse", "head", "garbage"]),
        st.sampled_from(sorted(liars)),
        st.integers(0, 3),
    )
    return replicas, liars, draw(st.lists(saying, max_size=60))


def tell(session: ClientSession, what: str, replica: int, variant: int) -> None:
    """One lie; variants are what liars could agree on among themselves."""
    lies = {
        "ok": make_reply(height=50 + variant, receipt=make_receipt(result=900 + variant)).to_bytes(),
        "rejected": make_reply(receipt=make_receipt(status="error", code=f"LIE_{variant}")).to_bytes(),
        "other": make_reply(tx_id=bytes([variant]) * 32).to_bytes(),
        "garbage": bytes([variant]) * 7,
    }
    if what == "refuse":
        session.receive_refusal(replica, "expired", variant)
    elif what == "head":
        session.receive_head(replica, 10_000, 10**12)
    else:
        session.receive_reply(replica, lies[what])


@given(history=histories(), ticks=st.integers(0, 40))
def test_up_to_f_liars_never_decide(history: tuple[int, set[int], list[tuple[str, int, int]]], ticks: int) -> None:
    """Whatever f liars say, in any order and together: no outcome; then W correct replies decide, and say the truth."""
    replicas, liars, lies = history
    weak_quorum = (replicas - 1) // 3 + 1
    session = make_session(replicas=replicas, weak_quorum=weak_quorum, primary=0)
    session.start()
    for what, replica, variant in lies:
        tell(session, what, replica, variant)
        assert session.outcome is None
    for _ in range(ticks):
        session.tick()
    correct = [replica for replica in range(replicas) if replica not in liars][:weak_quorum]
    for replica in correct:
        session.receive_reply(replica, make_reply().to_bytes())
    assert isinstance(session.outcome, Committed)
    assert session.outcome.receipt.value == 7
    assert set(correct) <= set(session.outcome.vouched_by)


def test_timing_that_makes_no_sense_is_refused() -> None:
    """A client that would never resend, or resend without pause, is refused at construction."""
    for timing in (
        SessionTiming(primary_alone_ticks=0),
        SessionTiming(resend_ticks=0),
        SessionTiming(resend_ticks=10, resend_max_ticks=9),
    ):
        with pytest.raises(ValueError, match="session timing"):
            ClientSession(SUBMISSION, replicas=4, weak_quorum=2, primary=0, timing=timing)
    with pytest.raises(ValueError, match="primary 4"):
        make_session(primary=4)


def test_the_belief_follows_w_equal_hints() -> None:
    """One replica's word moves neither the primary nor the height."""
    belief = NetworkBelief(replicas=4, weak_quorum=2)
    assert (belief.primary, belief.height) == (0, None)
    belief.receive_view(3, 900, 3)
    belief.receive_head(3, 10**9, 0)
    assert (belief.primary, belief.height) == (0, None)
    belief.receive_view(1, 2, 2)
    belief.receive_view(2, 2, 2)
    belief.receive_head(1, 40, 0)
    belief.receive_head(2, 41, 0)
    assert (belief.primary, belief.height) == (2, 41)
    belief.receive_head(2, 12, 0)
    belief.receive_view(0, 7, 99)
    assert (belief.primary, belief.height) == (2, 41)
