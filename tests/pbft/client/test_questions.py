"""Reads, proofs and heads: which answers make one that can be believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import encode
from ledger.errors import InvalidProof
from pbft.client.errors import NoProof, NotVouched
from pbft.client.questions import ASK_AGAIN_TICKS, NEXT_REPLICA_TICKS, HeadQuestion, ProofQuestion, ReadQuestion
from pbft.wire.client_frames import Head, HeadRequest, Proof, ProofAnswer, Refused, View, ViewAnswer

VIEW = View(correlation=1, contract="cash", method="balance", arguments=encode([]), min_height=5)


def make_answer(*, height: int = 8, value: int = 40, time_ms: int = 1_000, status: str = "ok") -> ViewAnswer:
    return ViewAnswer(correlation=1, height=height, time_ms=time_ms, status=status, code="", result=encode(value))


def make_read(wanted: int = 2) -> ReadQuestion:
    return ReadQuestion(VIEW, replicas=range(4), wanted=wanted)


def test_a_read_asks_everybody_and_believes_w_equal_answers() -> None:
    """D48: f + 1 byte-equal answers at one height."""
    question = make_read()
    assert question.start() == [(replica, VIEW) for replica in range(4)]
    question.receive(3, make_answer())
    assert question.answer is None
    question.receive(0, make_answer())
    assert question.answer is not None
    assert (question.answer.height, question.answer.vouched_by, question.answer.result) == (8, (0, 3), encode(40))


@pytest.mark.parametrize(
    "other",
    [make_answer(height=9), make_answer(value=41), make_answer(time_ms=1_001), make_answer(status="error")],
    ids=["height", "value", "time", "status"],
)
def test_answers_that_differ_in_anything_do_not_match(other: ViewAnswer) -> None:
    """A liar must not lend its voice to a correct answer with a time or height of its own."""
    question = make_read()
    question.receive(0, make_answer())
    question.receive(1, other)
    assert question.answer is None


def test_answers_below_the_minimum_height_do_not_count() -> None:
    """D11, D48, M53: a replica that is behind does not show its client an older world than it has seen."""
    question = make_read()
    for replica in range(4):
        question.receive(replica, make_answer(height=4))
    assert question.answer is None
    assert "height 4, 5 wanted" in str(question.failure())


def test_replicas_at_different_heights_are_asked_again() -> None:
    """Each replica's latest answer counts, so a moving chain comes to agreement."""
    question = make_read()
    for replica in range(4):
        question.receive(replica, make_answer(height=8 + replica))
    sends = [question.tick() for _ in range(ASK_AGAIN_TICKS)]
    assert [len(each) for each in sends] == [0] * (ASK_AGAIN_TICKS - 1) + [4]
    question.receive(0, make_answer(height=11))
    assert question.answer is not None and question.answer.vouched_by == (0, 3)


def test_refusals_and_strangers_do_not_count() -> None:
    """A door that will not answer is named in the failure; an id that was not asked is nobody."""
    question = make_read()
    refused = Refused(correlation=1, tx_id=b"", code="busy", detail="", retry_after_ms=5)
    question.receive(1, refused)
    question.receive(7, make_answer())
    question.receive(8, make_answer())
    assert question.answer is None
    failure = question.failure()
    assert isinstance(failure, NotVouched) and failure.answers == ((1, "busy"),)


@given(
    lies=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(5, 7)), max_size=30),
    liar=st.integers(0, 3),
)
def test_one_liar_of_four_is_never_believed(lies: list[tuple[int, int, int]], liar: int) -> None:
    """Whatever it answers and however often, W = 2 equal answers need a correct replica."""
    question = make_read()
    for _who, value, height in lies:
        question.receive(liar, make_answer(value=value, height=height))
        assert question.answer is None
    for replica in range(4):
        if replica != liar:
            question.receive(replica, make_answer(value=99))
    assert question.answer is not None and question.answer.result == encode(99)


def make_proof_question(good: bytes = b"good") -> ProofQuestion:
    def verify(proof: bytes) -> None:
        if proof != good:
            raise InvalidProof("certificate", "does not hold")

    request = Proof(correlation=2, tx_id=b"t" * 32, key=None)
    return ProofQuestion(request, subject="transaction", replicas=(2, 3, 0, 1), verify=verify)


def make_proof(proof: bytes = b"good", code: str = "") -> ProofAnswer:
    return ProofAnswer(correlation=2, code=code, proof=proof)


def tick_until_asked(question: ProofQuestion) -> tuple[int, int]:
    for count in range(1, 2 * NEXT_REPLICA_TICKS):
        sends = question.tick()
        if sends:
            return count, sends[0][0]
    raise AssertionError("nobody was asked")


def test_one_replica_is_enough_for_a_proof() -> None:
    """It is checked against the genesis file, so nobody needs to vouch."""
    question = make_proof_question()
    assert [replica for replica, _frame in question.start()] == [2]
    question.receive(2, make_proof())
    assert question.answer == b"good"


def test_a_forged_proof_moves_on_to_the_next_replica() -> None:
    """Soon, but not at once: a certificate may be a round away."""
    question = make_proof_question()
    question.start()
    question.receive(2, make_proof(b"forged"))
    assert question.answer is None
    assert tick_until_asked(question) == (ASK_AGAIN_TICKS, 3)
    question.receive(3, make_proof(code="not_certified_yet", proof=b""))
    assert tick_until_asked(question) == (ASK_AGAIN_TICKS, 0)


def test_a_silent_replica_is_passed_over() -> None:
    """After its time the next one is asked, round and round."""
    question = make_proof_question()
    question.start()
    assert [tick_until_asked(question) for _ in range(4)] == [(NEXT_REPLICA_TICKS, who) for who in (3, 0, 1, 2)]


def test_the_failure_names_each_replica_s_reason() -> None:
    """A person sees whether the transaction is unknown or a proof was forged."""
    question = make_proof_question()
    question.start()
    question.receive(2, make_proof(b"forged"))
    question.receive(3, make_proof(code="unknown_receipt", proof=b""))
    failure = question.failure()
    assert isinstance(failure, NoProof)
    assert [replica for replica, _reason in failure.reasons] == [2, 3]
    assert "unknown_receipt" in str(failure) and "does not verify" in str(failure)


def make_head(height: int) -> Head:
    return Head(
        correlation=3, height=height, time_ms=0, header_hash=b"h" * 32, certified_height=height, view=0, primary=0
    )


def test_the_head_is_what_w_replicas_have_reached() -> None:
    """One replica that claims the moon does not move the believed height."""
    question = HeadQuestion(HeadRequest(correlation=3), replicas=range(4), wanted=3, weak_quorum=2)
    for replica, height in ((0, 10**9), (1, 41)):
        question.receive(replica, make_head(height))
        assert question.answer is None
    assert [replica for replica, _frame in question.start()] == [2, 3]
    question.receive(2, make_head(40))
    assert question.answer is not None and question.answer.height == 41
