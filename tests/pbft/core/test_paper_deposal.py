"""A primary that is proven to lie is left at once: who learns of it, what proves it, and what deposes nobody.

One test per rule (M17, M35, M43, M54 of pbft/README.md); R2 of four looks on, R0 leads view 0.
"""

from dataclasses import replace

import pytest
from simulation.bench import (
    Bench,
    make_batch,
    make_bench,
    make_configuration,
    make_envelope,
    make_request,
)
from simulation.bench_messages import T_TICKS, enter_view, pre_prepare, prepare, status, view_change

from ledger.hashing import NULL_DIGEST
from pbft.core.config import SILENT_TICKS_MAX
from pbft.core.evidence import validate_evidence
from pbft.core.messages import (
    Commit,
    Envelope,
    Forward,
    NewView,
    Prepare,
    PrePrepare,
    SlotChoice,
    SlotEntry,
    ViewChange,
)

ONE, OTHER = pre_prepare(1, 0), pre_prepare(1, 1)


def forward(sender: int, *messages: PrePrepare | NewView | Commit) -> Forward:
    """Words of one replica, as another shows them."""
    return Forward(envelopes=tuple(make_envelope(sender, message) for message in messages))


def new_view(*senders: int, view: int = 1) -> NewView:
    """A NEW-VIEW in which nothing was prepared, from the VIEW-CHANGEs of these."""
    changes = tuple(make_envelope(sender, view_change(view)) for sender in senders)
    return NewView(epoch=0, view=view, view_changes=changes, choices=())


def stands(bench: Bench) -> tuple[int, bool]:
    return bench.replica.view, bench.replica.is_active


def shown(bench: Bench) -> list[tuple[int | None, tuple[Envelope, ...]]]:
    return [(to, message.envelopes) for to, message in bench.linked(Forward) if isinstance(message, Forward)]


def is_deposed(bench: Bench) -> bool:
    """View 0 is left, alone and for good, with evidence that convicts its primary."""
    for evidence in bench.evidence:
        validate_evidence(bench.configuration, evidence)
    accused = {evidence.replica for evidence in bench.evidence}
    return stands(bench) == (1, False) and accused == {0} and bool(list(bench.said(ViewChange)))


def test_m17_two_proposals_for_a_height_depose_their_primary() -> None:
    """M17, M54: who holds both has proof, and waits for no timer: it leaves the view in that turn."""
    bench = make_bench(2)
    bench.say(0, ONE)
    bench.say(0, ONE)
    assert stands(bench) == (0, True)
    bench.say(0, OTHER)
    assert is_deposed(bench)


def test_m43_two_new_views_depose_their_primary() -> None:
    """M43, M54: two NEW-VIEWs of one view, each valid by itself, are two words of one office too."""
    bench = make_bench(2)
    bench.say(1, new_view(0, 1, 3))
    bench.say(1, new_view(1, 2, 3))
    assert [evidence.kind for evidence in bench.evidence] == ["equivocation_new_view"]
    assert stands(bench) == (2, False)


def test_m54_the_proof_deposes_wherever_it_arrives() -> None:
    """M54: a FORWARD with both proposals convinces who has seen neither, whoever sends it, and is kept as evidence."""
    bench = make_bench(2)
    bench.receive(3, forward(0, ONE, OTHER))
    assert is_deposed(bench)


@pytest.mark.parametrize("height", [1, 500])
def test_m54_the_proof_holds_for_heights_without_a_slot(height: int) -> None:
    """M54: certified here, or above the window: the view is the same, and so is the lie. It is read and verified."""
    bench = make_bench(2)
    bench.commit(1, make_request(7))
    bench.certify(1)
    proof = forward(0, pre_prepare(height, 0), pre_prepare(height, 1))
    assert bench.replica.compute_wanted(3, proof) == proof
    bench.receive(3, proof)
    assert is_deposed(bench)


@pytest.mark.parametrize(
    "words",
    [
        (0, pre_prepare(1, 0), pre_prepare(2, 1)),
        (0, pre_prepare(1, 0), pre_prepare(1, 0)),
        (0, pre_prepare(1, 0), pre_prepare(1, 1, view=4)),
        (0, pre_prepare(1, 0, view=4), pre_prepare(1, 1, view=4)),
        (3, pre_prepare(1, 0), pre_prepare(1, 1)),
        (0, Commit(epoch=0, view=0, height=1, digest=bytes(32)), Commit(epoch=0, view=0, height=1, digest=b"1" * 32)),
    ],
    ids=["two heights", "one digest", "two views", "its next office", "a backup", "votes"],
)
def test_m54_nothing_else_deposes(words: tuple[int, PrePrepare | Commit, PrePrepare | Commit]) -> None:
    """M17, M54: one place, two contents, and the signature of the primary of this very view, or nobody moves."""
    bench = make_bench(2)
    bench.receive(3, forward(*words))
    assert stands(bench) == (0, True)


def test_m54_two_signers_are_no_contradiction() -> None:
    """M54: one half signed by the primary and one by another: nobody said two things."""
    bench = make_bench(2)
    halves = make_envelope(0, ONE), make_envelope(3, OTHER)
    for envelopes in (halves, halves[::-1]):
        bench.receive(3, Forward(envelopes=envelopes))
    assert stands(bench) == (0, True)


def test_m54_a_lie_of_a_view_that_is_over_moves_nobody() -> None:
    """M54, M29: the old proof, kept and shown again, is not even read: the present primary is another one, or the same
    one in another office."""
    bench, proof = make_bench(2), forward(0, ONE, OTHER)
    for view in (1, 4):
        enter_view(bench, view)
        assert bench.replica.compute_wanted(3, proof) is None
        bench.receive(3, proof)
        assert stands(bench) == (view, True)


def test_m54_a_lie_of_an_epoch_that_is_over_moves_nobody() -> None:
    """M54, D41: views begin anew with an epoch; view 0 of the next one has another primary, or the same by its id."""
    bench = make_bench(2)
    bench.decide(1)
    bench.commit(1, make_request(7))
    bench.certify(1)
    assert bench.replica.epoch == 1
    proof = forward(bench.replica.primary, ONE, OTHER)
    assert bench.replica.compute_wanted(3, proof) is None
    bench.receive(3, proof)
    assert stands(bench) == (0, True)


def test_m13_a_lie_of_a_view_to_come_waits_for_it() -> None:
    """M13, M54: what came early convicts when the view is entered, which then lasts no longer than a message."""
    bench = make_bench(2)
    bench.receive(3, forward(1, pre_prepare(1, 0, view=1), pre_prepare(1, 1, view=1)))
    assert stands(bench) == (0, True)
    bench.say(1, new_view(0, 1, 3))
    assert stands(bench) == (2, False)


def test_m28_a_word_of_the_own_key_inside_a_proof_halts() -> None:
    """M28, D38: what another process signed with this key is noticed inside a proof too, before the proof moves it."""
    for senders, halts in (((0, 1, 3), False), ((1, 2, 3), True)):
        bench = Bench(configuration=make_configuration(), replica_id=2, asks=True)
        bench.tick(SILENT_TICKS_MAX)
        bench.say(1, new_view(0, 1, 3))
        assert bench.halted is None
        other = replace(new_view(*senders), choices=(SlotChoice(height=1, digest=NULL_DIGEST),))
        bench.receive(3, forward(1, other, new_view(0, 1, 3)))
        assert (bench.halted is not None, bool(bench.evidence)) == (halts, not halts)


def test_m33_the_proof_is_shown_until_its_receiver_has_left() -> None:
    """M33, M54: one receiver a tick, the liar never; it is repeated, and ends with the receiver's VIEW-CHANGE."""
    bench = make_bench(2, 7)
    bench.receive(3, forward(0, ONE, OTHER))
    bench.tick(14)
    pair = forward(0, ONE, OTHER).envelopes
    assert sorted(to for to, envelopes in shown(bench) if envelopes == pair) == [1, 1, 3, 3, 4, 4, 5, 5, 6, 6]
    bench.sent.clear()
    bench.say(3, view_change(1))
    bench.tick(7)
    assert sorted(to for to, envelopes in shown(bench) if envelopes == pair) == [1, 4, 5, 6]


def test_m35_the_proof_is_not_shown_where_w_view_changes_do() -> None:
    """M33, M35: W that have left take along whoever is told so, which a STATUS asks for: nobody draws a proof of
    megabytes by silence."""
    bench = make_bench(2)
    bench.receive(3, forward(0, ONE, OTHER))
    bench.say(3, view_change(1))
    bench.tick(8)
    pair = forward(0, ONE, OTHER).envelopes
    assert all(envelopes != pair for _, envelopes in shown(bench))
    bench.receive(1, status(bench, view=0))
    answers = [envelopes for to, envelopes in shown(bench) if to == 1]
    behind = make_bench(1)
    behind.receive(2, Forward(envelopes=answers[-1]))
    assert stands(behind) == (1, True), "it leads view 1"


def test_m17_w_contradictions_are_answered_with_the_own_half() -> None:
    """M17: PREPAREs of W others for another digest show that the primary has lied, for one of them is correct: each of
    them in turn is shown the proposal accepted here, and so holds both."""
    bench = make_bench(2)
    bench.say(0, ONE)
    bench.say(1, prepare(OTHER))
    bench.tick(8)
    assert not shown(bench), "one alone may be the liar"
    bench.say(3, prepare(OTHER))
    bench.tick(4)
    assert sorted(to for to, envelopes in shown(bench) if envelopes == (make_envelope(0, ONE),)) == [1, 3]
    assert stands(bench) == (0, True)
    other = make_bench(3)
    other.say(0, OTHER)
    other.receive(2, forward(0, ONE))
    assert is_deposed(other)


def test_m43_w_contradictions_of_a_choice_are_answered_with_the_new_view() -> None:
    """M43: what a NEW-VIEW chose was accepted by that NEW-VIEW: it is the half that others may not have."""
    bench = make_bench(2)
    batch = make_batch(make_request(0))
    entry = SlotEntry(height=1, digest=batch.digest, view=0)
    changes = tuple(make_envelope(sender, view_change(1, prepared=(entry,))) for sender in (0, 1, 3))
    chosen = NewView(epoch=0, view=1, view_changes=changes, choices=(SlotChoice(height=1, digest=batch.digest),))
    bench.say(1, chosen)
    for sender in (0, 3):
        bench.say(sender, Prepare(epoch=0, view=1, height=1, digest=b"1" * 32))
    bench.tick(4)
    assert sorted(to for to, envelopes in shown(bench) if envelopes == (make_envelope(1, chosen),)) == [0, 3]


def test_m43_who_proposed_afresh_what_another_new_view_chose_shows_both_its_words() -> None:
    """M43, M17: one side follows a NEW-VIEW that chose the height, the other one without, and a fresh proposal there.
    Beside a choice a proposal proves nothing; the NEW-VIEW that it came after does."""
    few, many = make_bench(0), make_bench(2)
    chosen = pre_prepare(1, 1)
    entry = SlotEntry(height=1, digest=chosen.digest, view=0)
    changes = tuple(make_envelope(sender, view_change(1, prepared=(entry,))) for sender in (1, 2, 3))
    choosing = NewView(epoch=0, view=1, view_changes=changes, choices=(SlotChoice(height=1, digest=entry.digest),))
    fresh = pre_prepare(1, 0, view=1)
    few.say(1, new_view(0, 1, 3))
    few.say(1, fresh)
    many.say(1, choosing)
    for sender in (2, 3):
        few.say(sender, Prepare(epoch=0, view=1, height=1, digest=entry.digest))
    few.tick(4)
    halves = [Forward(envelopes=envelopes) for to, envelopes in shown(few) if to == 2]
    assert halves == [forward(1, new_view(0, 1, 3), fresh)]
    assert many.replica.compute_wanted(0, halves[0]) == halves[0]
    many.receive(0, halves[0])
    assert [evidence.kind for evidence in many.evidence] == ["equivocation_new_view"]
    assert stands(many) == (2, False)


def test_m35_w_that_hold_the_proof_take_the_others_along() -> None:
    """M35: VIEW-CHANGEs of W are enough for who was never shown it."""
    bench = make_bench(2)
    bench.say(1, view_change(1))
    assert stands(bench) == (0, True)
    bench.say(3, view_change(1))
    assert stands(bench) == (1, False)


def test_d57_a_proof_doubles_timers_once() -> None:
    """D57: a view that ends by proof is a failed view like others, and the proof again is none."""
    bench = make_bench(2)
    for _ in range(3):
        bench.receive(3, forward(0, ONE, OTHER))
    assert bench.replica.state.timer_ticks == 2 * T_TICKS


def test_m24_the_requests_of_the_losing_proposal_go_on_in_the_next_view() -> None:
    """M24: the primary of view 1 proposes what it had accepted, as soon as Q have left; no timer runs out."""
    bench = make_bench(1)
    proposal = pre_prepare(1, 0, 1, 2, time_ms=bench.wall_ms)
    bench.say(0, proposal)
    bench.say(0, pre_prepare(1, 0, 1, 2, time_ms=bench.wall_ms + 1))
    assert stands(bench) == (1, False)
    for sender in (2, 3):
        bench.say(sender, view_change(1))
    (again,) = bench.said(PrePrepare)
    assert (again.view, again.batch.requests) == (1, proposal.batch.requests)


def test_d37_an_observer_keeps_the_proof_and_says_nothing() -> None:
    """D37: it has no voice in a view change; it follows the NEW-VIEW, and keeps one piece however often it is shown."""
    bench = make_bench(2)
    bench.observes = True
    bench.start()
    bench.say(0, ONE)
    for _ in range(3):
        bench.say(0, OTHER)
        bench.receive(3, forward(0, OTHER, ONE))
    bench.tick(8)
    assert (stands(bench), len(bench.evidence)) == ((0, True), 1)
    assert not list(bench.said(ViewChange)) and not shown(bench)
    bench.say(1, new_view(0, 1, 3))
    assert stands(bench) == (1, True)


def test_m25_no_correct_primary_contradicts_itself_over_restarts_and_offices() -> None:
    """M25, M27: everything that a correct primary signs before, between and after crashes, in each of its offices, as
    shown in pairs to a backup: none deposes it."""
    primary = make_bench(0)
    said: list[Envelope] = []

    def note() -> None:
        said.extend(m for _, m in primary.sent if isinstance(m, Envelope) and m.sender == 0)
        primary.sent.clear()

    for number in range(3):
        primary.hand_in(make_request(number))
        note()
        primary.start()
        primary.tick(4)
        note()
    for view in (4, 8):
        enter_view(primary, view)
        note()
        primary.start()
        primary.hand_in(make_request(view))
        primary.tick(4)
        note()
    words = [e for e in said if isinstance(e.messages[0], PrePrepare | NewView)]
    assert {(type(e.messages[0]), e.messages[0].view) for e in words} >= {
        (PrePrepare, 0),
        (NewView, 4),
        (PrePrepare, 8),
    }
    backup = make_bench(2)
    for view in (0, 4, 8):
        for entered in words:
            if isinstance(entered.messages[0], NewView) and entered.messages[0].view == view:
                backup.receive(0, entered)
        for first in words:
            for second in words:
                if max(e.messages[0].view for e in (first, second)) <= view:
                    backup.receive(3, Forward(envelopes=(first, second)))
        assert stands(backup) == (view, True)
    assert not backup.evidence
