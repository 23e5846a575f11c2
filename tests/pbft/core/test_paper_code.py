"""D53, rule by rule: no PREPARE before the own worker has survived what a fresh batch brings; nothing else waits.

Execution 37 of PROTOCOL.md part II is what the rule prevents. Each test drives one pure replica by hand.
"""

from simulation.bench import Bench, make_batch, make_bench, make_envelope, make_request
from simulation.bench_messages import T_TICKS, enter_view, view_change

from pbft.core.messages import (
    Batch,
    Batches,
    CodeChecked,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    SlotChoice,
    SlotEntry,
    ViewChange,
)
from pbft.core.persisted import body_key

CODE = make_batch(make_request(0), make_request(1, has_code=True))


def proposal(batch: Batch, height: int = 1, view: int = 0) -> PrePrepare:
    return PrePrepare(epoch=0, view=view, height=height, digest=batch.digest, batch=batch)


def waiting_bench() -> Bench:
    """A backup whose worker says nothing of the code in the accepted proposal."""
    bench = make_bench(1)
    bench.checks = False
    bench.say(0, proposal(CODE))
    return bench


def prepared(bench: Bench) -> list[bytes]:
    return [message.digest for message in bench.said(Prepare)]


def test_d53_prepare_waits_for_the_worker() -> None:
    """D53: "PREPARE for a batch with a deploy only after the own worker has compiled it": nor is it journaled before;
    the worker is asked once, however many votes come."""
    bench = waiting_bench()
    for sender in (2, 3):
        bench.say(sender, Prepare(epoch=0, view=0, height=1, digest=CODE.digest))
    bench.tick(3)
    assert prepared(bench) == [] and body_key(CODE.digest) not in bench.journal
    assert [action.batch for action in bench.checked] == [CODE]
    bench.receive(1, CodeChecked(digest=CODE.digest))
    assert prepared(bench) == [CODE.digest] and body_key(CODE.digest) in bench.journal
    assert [message.digest for message in bench.said(Commit)] == [CODE.digest]


def test_d53_a_batch_without_code_is_not_asked_about() -> None:
    """D53: a call costs no check, and goes on while another slot waits for one."""
    bench = waiting_bench()
    plain = make_batch(make_request(7, client=2))
    bench.say(0, proposal(plain, height=2))
    assert prepared(bench) == [plain.digest]
    assert len(bench.checked) == 1


def test_d53_a_verdict_about_another_batch_changes_nothing() -> None:
    """D53: the answer names the batch; one that comes too late finds another proposal there."""
    bench = waiting_bench()
    bench.receive(1, CodeChecked(digest=make_batch(make_request(9)).digest))
    assert prepared(bench) == []


def test_d53_a_slow_check_is_held_against_nobody_but_the_view() -> None:
    """D53: timers run on as for any slot that is not prepared: after T the view is left, whatever the worker does."""
    bench = waiting_bench()
    bench.hand_in(make_request(5, client=2))
    bench.tick(T_TICKS + 2)
    assert not bench.replica.is_active
    bench.receive(1, CodeChecked(digest=CODE.digest))
    assert prepared(bench) == []


def test_d53_the_next_proposal_of_it_is_asked_about_again() -> None:
    """D53: what a view asked is over with the view; the edge remembers the verdict."""
    bench = waiting_bench()
    enter_view(bench, 2)
    bench.say(2, proposal(CODE, view=2))
    assert [action.batch for action in bench.checked] == [CODE, CODE]
    bench.receive(1, CodeChecked(digest=CODE.digest))
    assert prepared(bench) == [CODE.digest]


def test_d53_a_choice_of_new_view_is_not_asked_about() -> None:
    """D53, A2: W replicas promised it, so the worker of a correct one survived it; and it may be executed somewhere."""
    bench = make_bench(2)
    bench.checks = False
    entry = SlotEntry(height=1, digest=CODE.digest, view=0)
    bench.say(0, proposal(CODE))
    change = view_change(1)
    assert isinstance(change, ViewChange)
    changes = tuple(
        make_envelope(
            sender,
            ViewChange(
                epoch=0,
                view=1,
                certified_height=0,
                header_hash=change.header_hash,
                certificate=None,
                prepared=(entry,),
                pre_prepared=(entry,),
            ),
        )
        for sender in (0, 1, 3)
    )
    choices = (SlotChoice(height=1, digest=CODE.digest),)
    bench.say(1, NewView(epoch=0, view=1, view_changes=changes, choices=choices))
    bench.receive(1, Batches(batches=(CODE,)))
    assert [(message.view, message.digest) for message in bench.said(Prepare)] == [(1, CODE.digest)]
    assert len(bench.checked) == 1, "in view 0, when it was fresh"


def test_d53_a_primary_proposes_what_came_in_by_its_own_check() -> None:
    """D53: the edge hands in no request whose code is not survived (tests/pbft/node), so nobody is asked twice."""
    bench = make_bench(0)
    bench.checks = False
    bench.hand_in(make_request(1, has_code=True))
    assert [message.height for message in bench.said(PrePrepare)] == [1]
    assert bench.checked == []
