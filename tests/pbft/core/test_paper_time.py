"""Timers, agreed time and due calls.

One test per rule, quoting its source: sections of Castro and Liskov (OSDI 1999), D- and M-numbers of pbft/README.md.
"""

import pytest
from simulation.bench import (
    make_batch,
    make_bench,
    make_configuration,
    make_envelope,
    make_request,
)
from simulation.bench_messages import (
    T_TICKS,
    pre_prepare,
    prepare,
    status,
    view_change,
)

from pbft.core.messages import (
    Batches,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    SlotChoice,
    SlotEntry,
    Status,
    ViewChange,
)


def test_d58_own_slowness_is_not_held_against_the_primary() -> None:
    """D58, M23: while e + 1 is committed but unexecuted the clock of suspicion stands still for 4 T; then it runs at
    four fifths of its speed or more again, so a queue kept full by a flood delays suspicion and never ends it (43).
    """
    bench = make_bench(1)
    bench.executes = False
    bench.hand_in(make_request(0), make_request(1))
    bench.commit(1, make_request(0))
    bench.tick(4 * T_TICKS)
    assert bench.replica.is_active and bench.replica.state.clock <= 1
    bench.tick(T_TICKS)
    assert bench.replica.is_active
    bench.tick(T_TICKS // 4 + 1)
    assert not bench.replica.is_active


def test_d58_the_pause_is_given_back() -> None:
    """D58: in a view that lasts for months a slow sync each hour is not held against the primary: each four counted
    ticks give back one of the pause."""
    bench = make_bench(1)
    for round_ in range(1, 4):
        bench.executes = False
        bench.commit(round_, make_request(round_))
        bench.tick(4 * T_TICKS)
        bench.executes = True
        bench.execute(bench.asked[-1])
        bench.turn()
        bench.certify(round_)
        before = bench.replica.state.paused_ticks
        bench.tick(16 * T_TICKS)
        assert before >= 4 * T_TICKS - 2 and bench.replica.state.paused_ticks == 0
    assert not list(bench.said(ViewChange))


def test_d58_prepare_waits_for_unexecuted_gas_below() -> None:
    """D58: a fresh slot's PREPARE waits while the unexecuted slots below it exceed two blocks of gas."""
    bench = make_bench(1)
    bench.executes = False
    for height in range(1, 5):
        requests = [make_request(10 * height + i, gas_limit=5_000_000) for i in range(4)]
        bench.commit(height, *requests)
    assert [message.height for message in bench.said(Prepare)] == [1, 2, 3]
    bench.execute(bench.asked[0])
    bench.turn()
    assert [message.height for message in bench.said(Prepare)] == [1, 2, 3, 4]


@pytest.mark.parametrize(("offset_ms", "prepared"), [(2_000, 1), (2_100, 0), (-30_000, 1), (-30_100, 0)])
def test_d60_the_time_of_a_fresh_batch(offset_ms: int, prepared: int) -> None:
    """D60: at most 2 s ahead of and 30 s behind the own clock; else the vote waits until W replicas prepared it."""
    bench = make_bench(1)
    proposal = pre_prepare(1, 0, time_ms=bench.wall_ms + offset_ms)
    bench.say(0, proposal)
    assert len(list(bench.said(Prepare))) == prepared
    bench.say(2, prepare(proposal))
    assert len(list(bench.said(Prepare))) == 1


def test_d63_an_overdue_call_is_timed_by_backups() -> None:
    """D63: from due + 2 s on the own clock the primary has T to run it, whether anything else waits or not; from when W
    others say so too."""
    bench = make_bench(1)
    due_ms = bench.next_due_ms = bench.wall_ms + 10_000
    bench.commit(1, make_request(0))
    bench.certify(1)
    bench.tick((10_000 + 2_000) // 50)
    (said,) = {m.overdue_ms for _, m in bench.linked(Status)}  # type: ignore[union-attr]
    assert said == 0
    for sender in (2, 3):
        bench.receive(sender, status(bench, executed_height=1, certified_height=1, overdue_ms=due_ms))
    bench.tick(T_TICKS)
    assert bench.replica.is_active
    assert bench.linked(Status)[-1][1].overdue_ms == due_ms  # type: ignore[union-attr]
    bench.tick(1)
    assert not bench.replica.is_active


@pytest.mark.parametrize("agreeing", [(), (3,), (2, 3)])
def test_d60_d63_one_fast_clock_suspects_nobody(agreeing: tuple[int, ...]) -> None:
    """D60: "clock alone never raises suspicion". A backup that is a minute ahead waits for W others, of whom one is
    correct: f liars cannot carry it off. Those who wait for another call do not count."""
    bench = make_bench(1)
    due_ms = bench.next_due_ms = bench.wall_ms + 1_000
    bench.commit(1, make_request(0))
    bench.certify(1)
    bench.receive(0, status(bench, executed_height=1, certified_height=1, overdue_ms=due_ms - 1))
    for sender in agreeing:
        bench.receive(sender, status(bench, executed_height=1, certified_height=1, overdue_ms=due_ms))
    bench.tick((1_000 + 60_000) // 50)
    assert bench.replica.is_active == (len(agreeing) < 2)


def test_d64_empty_batches_only_for_a_due_call() -> None:
    """D64: the primary proposes an empty batch when a call is due and nothing waits; a backup refuses any other."""
    bench = make_bench(1)
    empty = make_batch(time_ms=bench.wall_ms)
    bench.say(0, PrePrepare(epoch=0, view=0, height=1, digest=empty.digest, batch=empty))
    assert bench.dropped == ["empty_without_reason"]
    primary = make_bench(0)
    primary.replica.state.next_due_ms = primary.wall_ms + 1_000
    primary.tick(19)
    assert not list(primary.said(PrePrepare))
    primary.tick(1)
    (proposal,) = primary.said(PrePrepare)
    assert proposal.batch.requests == () and proposal.batch.time_ms >= primary.replica.state.next_due_ms


def test_d57_doubled_timers_are_halved_by_certified_heights() -> None:
    """D57: one halving per 64 certified heights: a network that is merely slow keeps its longer timers."""
    bench = make_bench(2)
    for sender in (0, 1):
        bench.say(sender, view_change(2))
    assert bench.replica.state.doublings == 2
    state = bench.replica.state
    for height in range(1, 130):
        batch = make_batch(make_request(height))
        for sender in (0, 1, 3):
            bench.say(sender, Commit(epoch=0, view=0, height=height, digest=batch.digest))
        state.missing_bodies.add(batch.digest)
        bench.receive(0, Batches(batches=(batch,)))
        bench.certify(height)
        assert state.doublings == (2 if height < 64 else 1 if height < 128 else 0)


def test_d57_doubled_timers_are_halved_in_quiet_too() -> None:
    """D57, execution 41: nothing to wait for during 8 lengths of the timer halves it once; while anything waits only
    certified heights do, so a network whose commits take 1.5 T keeps the timer that they need."""
    bench = make_bench(1)
    state = bench.replica.state
    state.doublings = 2
    bench.tick(8 * 4 * T_TICKS - 1)
    assert state.doublings == 1  # the bench's first tick counts
    bench.tick(8 * 2 * T_TICKS - 1)
    assert state.doublings == 1
    bench.commit(1, make_request(0))  # not certified: it waits for votes
    bench.tick(8 * 2 * T_TICKS)
    assert state.doublings == 1
    bench.certify(1)
    bench.tick(8 * 2 * T_TICKS - 1)
    assert state.doublings == 1
    bench.tick(1)
    assert state.doublings == 0 and bench.replica.view == 0


def test_every_configuration_relation_is_checked() -> None:
    """D24, M1: a configuration that contradicts itself names the relation."""
    for changes, name in [({"stride": 17}, "stride"), ({"window": 0}, "window"), ({"base_timer_ms": 50}, "base_timer")]:
        with pytest.raises(ValueError, match=name):
            make_configuration(4, **changes).validate()
    with pytest.raises(ValueError, match="member_count"):
        make_configuration(3).validate()


def test_m32_a_timer_that_is_stopped_never_fires() -> None:
    """§4.4, M32: the view timer ends with the last slot of X, the request timer with the request; nothing follows."""
    bench = make_bench(2)
    batch = make_batch(make_request(0))
    entry = SlotEntry(height=1, digest=batch.digest, view=0)
    changes = tuple(make_envelope(sender, view_change(1, prepared=(entry,))) for sender in (0, 1, 3))
    bench.hand_in(make_request(0))
    bench.say(1, NewView(epoch=0, view=1, view_changes=changes, choices=(SlotChoice(height=1, digest=batch.digest),)))
    assert bench.replica.state.view_deadline is not None
    bench.tick(4)
    bench.receive(0, Batches(batches=(batch,)))
    for sender in (0, 1, 3):
        bench.say(sender, Commit(epoch=0, view=1, height=1, digest=batch.digest))
    assert bench.replica.executed_height == 1
    bench.tick(40 * T_TICKS)
    assert (bench.replica.view, bench.replica.is_active) == (1, True)


def test_d59_a_jump_of_the_wall_clock_fires_no_timer() -> None:
    """D59, M32: timers count ticks; wall time stamps and checks batches, nothing else."""
    bench = make_bench(1)
    bench.hand_in(make_request(0))
    bench.wall_ms += 3_600_000
    bench.tick(T_TICKS - 1)
    assert bench.replica.is_active
    bench.wall_ms -= 7_200_000
    bench.tick(1)
    assert not bench.replica.is_active
