"""The view change by the paper (section 4.4).

One test per rule, quoting its source: sections of Castro and Liskov (OSDI 1999), D- and M-numbers of pbft/README.md.
"""

import pytest
from simulation.bench import (
    make_batch,
    make_bench,
    make_envelope,
    make_header_hash,
    make_request,
)
from simulation.bench_messages import (
    T_TICKS,
    certificate,
    enter_view,
    header,
    pre_prepare,
    prepare,
    status,
    view_change,
)

from ledger.hashing import NULL_DIGEST
from pbft.core.messages import (
    Batches,
    BlockBody,
    Blocks,
    CertificateNotice,
    Commit,
    Envelope,
    FetchBlocks,
    Forward,
    NewView,
    Prepare,
    PrePrepare,
    SlotChoice,
    SlotEntry,
    ViewChange,
)


def test_m29_a_left_view_is_left() -> None:
    """§4.4, M29: "it stops accepting messages (other than checkpoint, view-change, and new-view messages)"."""
    bench = make_bench(2)
    bench.hand_in(make_request(0))
    bench.tick(T_TICKS)
    assert not bench.replica.is_active
    bench.say(0, pre_prepare(1, 0, time_ms=bench.wall_ms))
    assert not list(bench.said(Prepare))


def test_m30_the_view_timer_starts_with_q_view_changes() -> None:
    """§4.4, M30: with fewer than Q VIEW-CHANGEs nobody goes on to the next view; with Q the doubled timer runs."""
    bench = make_bench(2)
    bench.hand_in(make_request(0))
    bench.tick(T_TICKS)
    bench.tick(10 * T_TICKS)
    assert bench.replica.view == 1
    bench.say(3, view_change(1))
    bench.say(0, view_change(1))
    bench.tick(2 * T_TICKS - 1)
    assert bench.replica.view == 1
    bench.tick(1)
    assert bench.replica.view == 2


def test_m31_timers_double_up_to_32() -> None:
    """M31, D57: each failed view doubles the timer, saturating at 32 T."""
    bench = make_bench(2)
    for view in range(1, 9):
        for sender in (0, 1):
            bench.say(sender, view_change(view))
        assert bench.replica.state.timer_ticks == T_TICKS << min(view, 5)


def test_m33_own_view_change_is_repeated() -> None:
    """M33: while the view change pends the own VIEW-CHANGE is sent again, and with STATUS to who lacks it."""
    bench = make_bench(2)
    bench.hand_in(make_request(0))
    bench.tick(T_TICKS)
    bench.sent.clear()
    bench.tick(8)
    assert any(isinstance(m, Envelope) and isinstance(m.messages[0], ViewChange) for _, m in bench.sent)
    bench.sent.clear()
    bench.receive(3, status(bench, view=0))
    ((receiver, forward),) = bench.linked(Forward)
    assert receiver == 3 and isinstance(forward, Forward)
    assert [type(envelope.messages[0]) for envelope in forward.envelopes] == [ViewChange]


def test_m35_w_replicas_in_higher_views_take_along() -> None:
    """M35: W distinct replicas in higher views: to the smallest of them; one alone moves nobody."""
    bench = make_bench(2)
    bench.say(3, view_change(900))
    bench.say(3, view_change(901))
    assert bench.replica.view == 0
    bench.say(1, view_change(5))
    assert (bench.replica.view, bench.replica.is_active) == (5, False)


def test_m35_the_primary_giving_up_is_followed() -> None:
    """M35: a VIEW-CHANGE of the current primary is a reason to leave its view, by one."""
    bench = make_bench(2)
    bench.say(0, view_change(9))
    assert (bench.replica.view, bench.replica.is_active) == (1, False)


def test_m37_view_change_reports_p_and_q() -> None:
    """§4.4, M37, D27: VIEW-CHANGE holds h with its certificate, and every P and Q entry above it."""
    bench = make_bench(2)
    bench.commit(1, make_request(0))
    bench.certify(1)
    prepared, accepted = pre_prepare(2, 1, time_ms=bench.wall_ms), pre_prepare(3, 2, time_ms=bench.wall_ms)
    bench.say(0, prepared)
    bench.say(3, prepare(prepared))
    bench.say(0, accepted)
    bench.say(0, view_change(1))
    (message,) = bench.said(ViewChange)
    assert (message.certified_height, message.certificate.header_hash) == (1, make_header_hash(1))
    assert message.prepared == (SlotEntry(height=2, digest=prepared.digest, view=0),)
    assert [entry.height for entry in message.pre_prepared] == [2, 3]


def test_m38_a_contradictory_view_change_is_ignored() -> None:
    """M38: it is refused for its sender alone; Q good ones still decide."""
    entries = tuple(SlotEntry(height=1, digest=bytes([i]) * 32, view=0) for i in (1, 2))
    bench = make_bench(1)
    bench.say(0, view_change(1, prepared=entries))
    assert bench.dropped == ["view_change_prepared"]
    bench.say(0, view_change(1))
    bench.say(2, view_change(1))
    bench.say(3, view_change(1))
    assert bench.replica.is_active and bench.replica.view == 1


def test_m43_a_new_view_is_recomputed() -> None:
    """§4.4, M43: choices that do not follow from V are evidence, and the replica goes on to the next view."""
    bench = make_bench(2)
    batch = make_batch(make_request(0))
    entry = SlotEntry(height=1, digest=batch.digest, view=0)
    bench.hand_in(make_request(0))
    bench.tick(T_TICKS)
    changes = tuple(make_envelope(sender, view_change(1, prepared=(entry,))) for sender in (0, 1, 3))
    bench.say(1, NewView(epoch=0, view=1, view_changes=changes, choices=()))
    assert [(e.replica, e.kind) for e in bench.evidence] == [(1, "invalid_new_view")]
    assert (bench.replica.view, bench.replica.is_active) == (2, False)


def test_m43_an_invalid_new_view_of_a_far_view_carries_nobody() -> None:
    """M35, M43: one faulty primary of view 901 must not take anybody to view 902."""
    bench = make_bench(2)
    bench.say(1, NewView(epoch=0, view=901, view_changes=(make_envelope(1, view_change(901)),), choices=()))
    assert (bench.replica.view, bench.replica.is_active) == (0, True)


def test_m43_executed_slots_are_prepared_again_and_not_executed_again() -> None:
    """§4.4, M43: a backup PREPAREs all slots of the new view, "including executed ones, without re-executing"."""
    bench = make_bench(2)
    batch = bench.commit(1, make_request(0))
    entry = SlotEntry(height=1, digest=batch.digest, view=0)
    changes = tuple(make_envelope(sender, view_change(1, prepared=(entry,))) for sender in (0, 1, 3))
    choices = (SlotChoice(height=1, digest=batch.digest),)
    bench.say(1, NewView(epoch=0, view=1, view_changes=changes, choices=choices))
    assert [(message.view, message.height) for message in bench.said(Prepare)] == [(0, 1), (1, 1)]
    assert [action.height for action in bench.asked] == [1]


def test_m43_another_choice_than_the_committed_one_halts() -> None:
    """M43: a valid NEW-VIEW against a committed slot means more than f faults, or a bug: stop."""
    bench = make_bench(2)
    bench.commit(1, make_request(0))
    other = SlotEntry(height=1, digest=bytes([9]) * 32, view=0)
    changes = tuple(make_envelope(sender, view_change(1, prepared=(other,))) for sender in (0, 1, 3))
    choices = (SlotChoice(height=1, digest=other.digest),)
    bench.say(1, NewView(epoch=0, view=1, view_changes=changes, choices=choices))
    assert bench.halted is not None and "is committed here" in bench.halted


def test_m43_a_primary_of_two_valid_new_views_halts_nobody() -> None:
    """M43: V may be chosen so that two NEW-VIEWs of one view are both valid. Q COMMITs of that view for what the other
    one chose are no contradiction: they stand, and this replica votes for nothing else at that height."""
    bench = make_bench(3)
    proposal = pre_prepare(1, 0)
    bench.say(0, proposal)
    bench.tick(2 * T_TICKS)
    other = SlotEntry(height=2, digest=bytes([9]) * 32, view=0)
    for sender in (0, 1, 2):
        bench.say(sender, Commit(epoch=0, view=1, height=1, digest=proposal.digest))
    changes = tuple(make_envelope(sender, view_change(1, prepared=(other,))) for sender in (0, 1, 2))
    choices = (SlotChoice(height=1, digest=NULL_DIGEST), SlotChoice(height=2, digest=other.digest))
    bench.say(1, NewView(epoch=0, view=1, view_changes=changes, choices=choices))
    assert bench.halted is None
    assert (bench.replica.view, bench.replica.is_active) == (1, True)
    assert [action.height for action in bench.asked] == [1]
    assert not [message for message in bench.said(Prepare) if message.view == 1 and message.height == 1]


def test_m49_a_new_view_is_learned_from_any_holder() -> None:
    """M33, M49: a replica in the new view forwards NEW-VIEW to who is still in the old one."""
    bench = make_bench(2)
    enter_view(bench, 1)
    bench.sent.clear()
    bench.tick(2)
    bench.receive(3, status(bench, view=0))
    ((_, forward),) = bench.linked(Forward)
    assert isinstance(forward, Forward)
    laggard = make_bench(3)
    laggard.receive(2, forward)
    assert (laggard.replica.view, laggard.replica.is_active) == (1, True)


def test_m13_votes_of_the_next_view_wait_for_it() -> None:
    """M13, M36: a proposal that overtakes its NEW-VIEW is kept, bounded, and accepted when the view is entered."""
    bench = make_bench(2)
    proposal = pre_prepare(1, 0, view=1, time_ms=bench.wall_ms)
    bench.say(1, proposal)
    assert not list(bench.said(Prepare))
    enter_view(bench, 1)
    assert [message.view for message in bench.said(Prepare)] == [1]
    for number in range(600):
        bench.say(3, prepare(pre_prepare(1, number, view=7)))
    assert len(bench.replica.state.peers[3].early) <= 256


def _new_view_far_above(view: int, start: int, digest: bytes | None = None) -> NewView:
    """One that starts from a certified height, with a choice right above it or with none."""
    entries = () if digest is None else (SlotEntry(height=start + 1, digest=digest, view=0),)
    change = ViewChange(
        epoch=0,
        view=view,
        certified_height=start,
        header_hash=make_header_hash(start),
        certificate=certificate(start),
        prepared=entries,
        pre_prepared=entries,
    )
    choices = tuple(SlotChoice(height=entry.height, digest=entry.digest) for entry in entries)
    view_changes = tuple(make_envelope(sender, change) for sender in (0, 1, 3))
    return NewView(epoch=0, view=view, view_changes=view_changes, choices=choices)


def test_d27_choices_above_the_own_window_wait_for_catch_up() -> None:
    """D27, M8: a NEW-VIEW may start above the own h; PREPARE for slots above the own H waits until h has moved, so
    that P and Q never outgrow a window."""
    bench = make_bench(2, window=16, stride=4)
    batch = make_batch(make_request(0))
    bench.say(1, _new_view_far_above(1, 19, batch.digest))
    assert bench.replica.view == 1 and bench.replica.is_active
    bench.replica.state.missing_bodies.add(batch.digest)
    bench.receive(0, Batches(batches=(batch,)))
    assert not list(bench.said(Prepare))
    bench.receive(3, CertificateNotice(certificate=certificate(8)))
    for height in range(1, 20):
        lower = make_batch(make_request(height))
        bench.replica.state.slot(height).put_batch(lower)
        for sender in (0, 1, 3):
            bench.say(sender, Commit(epoch=0, view=0, height=height, digest=lower.digest))
    assert bench.replica.certified_height == 19
    assert [message.height for message in bench.said(Prepare)] == [20]


def test_m13_what_an_earlier_new_view_chose_beyond_the_reach_of_this_one_is_forgotten() -> None:
    """M13, M55: a replica that lags enters views that start ever higher, and one that starts lower again (D29 cut what
    the earlier one chose). Slots are kept in its own window and in that of the last one, not in those of all."""
    bench = make_bench(2, window=16, stride=4)
    digest = make_batch(make_request(0)).digest
    bench.say(0, Commit(epoch=0, view=0, height=16, digest=digest))
    for view, start in ((1, 59), (3, 99), (4, 139)):
        bench.say(bench.configuration.primary(view), _new_view_far_above(view, start, digest))
        bench.say(0, Commit(epoch=0, view=view, height=start - 1, digest=digest))
        assert bench.replica.view == view and bench.replica.is_active
        assert sorted(bench.replica.state.slots) == [16, start - 1, start + 1]
    bench.say(1, _new_view_far_above(5, 139))
    assert sorted(bench.replica.state.slots) == [16, 138]
    assert len(bench.replica.state.slots[16].commits) == 1


@pytest.mark.parametrize("offset_ms", [-3_600_000, 3_600_000])
def test_m42_a_choice_of_the_new_view_is_not_refused_by_the_clock(offset_ms: int) -> None:
    """M42, D60: the own clock judges fresh batches; one that NEW-VIEW re-proposes is prepared whatever its time."""
    bench = make_bench(2)
    batch = make_batch(make_request(0), time_ms=bench.wall_ms + offset_ms)
    fresh = PrePrepare(epoch=0, view=0, height=1, digest=batch.digest, batch=batch)
    bench.say(0, fresh)
    assert not list(bench.said(Prepare)), "as a fresh one it waits"
    entry = SlotEntry(height=1, digest=batch.digest, view=0)
    changes = tuple(make_envelope(sender, view_change(1, prepared=(entry,))) for sender in (0, 1, 3))
    choices = (SlotChoice(height=1, digest=batch.digest),)
    bench.say(1, NewView(epoch=0, view=1, view_changes=changes, choices=choices))
    bench.tick(4)
    bench.receive(0, Batches(batches=(batch,)))
    assert [(message.view, message.digest) for message in bench.said(Prepare)] == [(1, batch.digest)]


def test_m48_a_replica_that_catches_up_takes_part_in_the_view_change() -> None:
    """M48: with a transfer under way it votes with its own P and Q, and blocks are executed while a view pends."""
    bench = make_bench(2)
    bench.executes = False
    mine = pre_prepare(2, 1, time_ms=bench.wall_ms)
    bench.say(0, mine)
    bench.say(3, prepare(mine))
    batch = make_batch(make_request(0))
    true = header(batch.digest)
    bench.receive(3, CertificateNotice(certificate=certificate(1, true.hash)))
    bench.tick(5)
    source = bench.linked(FetchBlocks)[-1][0]
    assert source is not None
    for sender in (1, 3):
        bench.say(sender, view_change(1))
    (message,) = bench.said(ViewChange)
    assert [entry.height for entry in message.prepared] == [2]
    assert not bench.replica.is_active
    block = BlockBody(header=true.to_bytes(), batch=batch)
    bench.receive(source, Blocks(first_height=1, blocks=(block,), certificate=None))
    assert [(action.height, action.adopted) for action in bench.asked] == [(1, True)]
    assert not bench.replica.is_active


def test_m34_one_view_change_of_each_member_is_kept() -> None:
    """M34: the one with the highest view; older ones change nothing, and their number costs no memory."""
    bench = make_bench(2)
    for view in (*range(5, 300), *range(1, 100)):
        bench.say(3, view_change(view))
    held = bench.replica.state.view_changes
    assert {member: envelope.messages[0].view for member, envelope in held.items()} == {3: 299}  # type: ignore[union-attr]
    assert bench.replica.view == 0
