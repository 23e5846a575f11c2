"""One test per rule of the protocol, with the sentence it comes from: epochs, their boundaries, and observers."""

from dataclasses import replace

import pytest
from simulation.bench import Bench, make_batch, make_bench, make_envelope, make_header_hash, make_request, make_vote
from simulation.bench_messages import T_TICKS, certificate, header, pre_prepare, status, view_change

from ledger.hashing import NULL_DIGEST
from pbft.core.config import OBSERVER, SILENT_TICKS_MAX
from pbft.core.messages import (
    Batches,
    BlockBody,
    Blocks,
    CertificateNotice,
    ClientRequest,
    Commit,
    Envelope,
    Forward,
    HeaderVote,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
)
from pbft.core.new_view import verify_new_view
from pbft.core.persisted import CERTIFIED_KEY, NEW_VIEW_KEY, OWN_VIEW_CHANGE_KEY, VIEW_KEY, encode_view

L = 8
END = 9
"""Block 1 decides a change: E = 1 + L."""


def bench_with_change(own: int, **changes: int) -> Bench:
    """A replica that executed block 1, in which a change was decided."""
    bench = make_bench(own, window=L, stride=2)
    bench.decide(END, **changes)
    if own == 0:
        bench.hand_in(make_request(0))
        order_own(bench, 1)
    else:
        bench.commit(1, make_request(0))
    assert (bench.replica.executed_height, bench.replica.state.epoch_end) == (1, END)
    return bench


def order_own(bench: Bench, height: int) -> None:
    """The backups agree to what this primary proposed at a height."""
    proposal = next(m for m in bench.said(PrePrepare) if m.height == height)  # type: ignore[attr-defined]
    slot = {"epoch": proposal.epoch, "view": 0, "height": height, "digest": proposal.digest}  # type: ignore[attr-defined]
    for other in (1, 2, 3):
        bench.say(other, Prepare(**slot))  # type: ignore[arg-type]
    for other in (1, 2, 3):
        bench.say(other, Commit(**slot))  # type: ignore[arg-type]


def fill(bench: Bench) -> None:
    """The others fill the epoch to E, from this backup's point of view."""
    for height in range(bench.replica.executed_height + 1, END + 1):
        bench.commit(height)
        bench.certify(height)


def empty_proposals(bench: Bench) -> list[int]:
    """The heights for which this primary proposed an empty batch, in their order."""
    return [m.height for m in bench.said(PrePrepare) if not m.batch.requests]  # type: ignore[attr-defined]


def execute_to(bench: Bench, last_height: int) -> None:
    """The others fill the epoch to a height, and certify no more than half of it."""
    for height in range(bench.replica.executed_height + 1, last_height + 1):
        bench.commit(height)
        if height == END // 2:
            bench.certify(height)


def entered(replica_id: int = 2, **changes: int) -> Bench:
    """A backup of epoch 0 that has just entered epoch 1."""
    bench = bench_with_change(replica_id, **changes)
    fill(bench)
    assert bench.replica.epoch == 1
    return bench


# --- the end of an epoch ---


def test_d40_every_replica_accepts_nothing_above_e_until_e_is_certified() -> None:
    """D40: "Every replica, not the primary alone, accepts nothing above E until E is certified here." """
    bench = bench_with_change(1)
    execute_to(bench, END)
    assert bench.replica.executed_height == END
    assert bench.replica.certified_height == 4  # the window alone would reach to 12
    bench.say(0, pre_prepare(END + 1, 7))
    proposal = pre_prepare(END + 1, 7)
    for other in (0, 2, 3):
        bench.say(other, Commit(epoch=0, view=0, height=END + 1, digest=proposal.digest))
    assert END + 1 not in bench.replica.state.slots
    assert "above_window" in bench.dropped
    assert max(asked.height for asked in bench.asked) == END


def test_d40_nothing_above_e_is_voted_on_or_adopted() -> None:
    """D40: neither votes nor blocks carry a replica beyond E: a header above it is of the next epoch's members."""
    bench = bench_with_change(1)
    execute_to(bench, END - 1)
    for other in (0, 2, 3):
        bench.say(other, make_vote(END + 1))
    assert bench.replica.state.target is None
    assert "vote_above_epoch" in bench.dropped


def test_d24_the_last_height_of_an_epoch_is_voted_on() -> None:
    """D24: "Vote on k > h when executed and: k mod s = 0; or k ends an epoch": E is odd here, and the stride is 2."""
    bench = bench_with_change(1)
    execute_to(bench, END - 1)
    bench.sent.clear()
    execute_to(bench, END)
    assert [vote.height for vote in bench.said(HeaderVote)] == [END]  # type: ignore[attr-defined]


def test_d64_the_primary_fills_to_e() -> None:
    """D64: "Fresh empty batches only for: a due time, filling to E": as many at once as limits admit, none above E."""
    bench = bench_with_change(0)
    assert empty_proposals(bench) == [2, 3, 4]  # h = 0 as yet, and so at most L/2 (D30)
    for height in range(2, END + 1):
        order_own(bench, height)
        bench.certify(height)
    assert empty_proposals(bench) == list(range(2, END + 1))
    assert bench.replica.epoch == 1
    assert max(m.height for m in bench.said(PrePrepare)) == END  # type: ignore[attr-defined]


def test_d64_a_backup_accepts_what_fills_and_one_that_cannot_judge_accepts() -> None:
    """D64: "a backup with e < n-1 cannot judge and accepts"; one that knows of no change refuses an empty batch."""
    bench = bench_with_change(1)
    bench.say(0, pre_prepare(2))
    assert [m.height for m in bench.said(Prepare)] == [1, 2]  # type: ignore[attr-defined]
    bench.say(0, pre_prepare(4))
    assert 4 in [m.height for m in bench.said(Prepare)]  # type: ignore[attr-defined]
    without = make_bench(1, window=L, stride=2)
    without.commit(1, make_request(0))
    without.say(0, pre_prepare(2))
    assert "empty_without_reason" in without.dropped


def test_d64_a_primary_that_does_not_fill_is_suspected() -> None:
    """D64: at T after the decision, since every height up to E is due once a change is decided."""
    bench = bench_with_change(1)
    bench.tick(T_TICKS)
    assert not list(bench.said(ViewChange))
    bench.tick(2)
    assert [message.view for message in bench.said(ViewChange)] == [1]  # type: ignore[attr-defined]


def test_d64_a_primary_that_fills_a_block_at_a_time_is_suspected() -> None:
    """D64: T is for all heights up to E together; an empty block a little before each T keeps no epoch open."""
    bench = bench_with_change(1)
    bench.tick(T_TICKS // 2)
    bench.commit(2)
    bench.tick(T_TICKS // 2)
    assert not list(bench.said(ViewChange))
    bench.tick(2)
    assert [message.view for message in bench.said(ViewChange)] == [1]  # type: ignore[attr-defined]


def test_d64_a_block_of_answered_requests_renews_no_patience() -> None:
    """D43, D64: "a used (client, nonce) is skipped": whoever fills with what was executed before needs no client for
    that, and does no work."""
    bench = bench_with_change(1)
    again = make_request(0)  # block 1 executed it
    bench.refused.add(again.tx_id)
    bench.tick(T_TICKS // 2)
    bench.commit(2, again)
    assert bench.replica.executed_height == 2
    bench.tick(T_TICKS // 2)
    assert not list(bench.said(ViewChange))
    bench.tick(2)
    assert [message.view for message in bench.said(ViewChange)] == [1]  # type: ignore[attr-defined]


def test_d64_a_block_of_requests_renews_the_patience() -> None:
    """M21: a primary that works off requests is not deposed for what stands behind them."""
    bench = bench_with_change(1)
    bench.tick(T_TICKS // 2)
    bench.commit(2, make_request(1))
    bench.tick(T_TICKS)
    assert not list(bench.said(ViewChange))
    bench.tick(2)
    assert {message.view for message in bench.said(ViewChange)} == {1}  # type: ignore[attr-defined]


# --- the step ---


def test_d41_an_epoch_starts_in_view_0_with_the_next_primary() -> None:
    """D41: "an epoch starts in view 0, primary = members[(epoch + view) mod n]"; slots and votes of the old one go."""
    bench = entered()
    assert (bench.replica.view, bench.replica.is_active, bench.replica.primary) == (0, True, 1)
    state = bench.replica.state
    assert (state.certified_height, state.executed_height) == (END, END)
    assert not state.slots and not state.prepared and not state.pre_prepared and not state.header_votes
    bench.sent.clear()
    batch = make_batch(make_request(50), time_ms=bench.wall_ms)
    bench.say(0, PrePrepare(epoch=1, view=0, height=END + 1, digest=batch.digest, batch=batch))
    assert "not_the_primary" in bench.dropped
    bench.say(1, PrePrepare(epoch=1, view=0, height=END + 1, digest=batch.digest, batch=batch))
    assert [(m.epoch, m.height) for m in bench.said(Prepare)] == [(1, END + 1)]  # type: ignore[attr-defined]


def test_d41_what_this_replica_chose_for_itself_stays() -> None:
    """D41: an epoch changes what members share; a replica's own settings, its clocks and its ledger go on."""
    bench = bench_with_change(2)
    bench.replica.state.snapshot_lag = 77
    ticks, wall_ms = bench.replica.state.ticks, bench.replica.state.wall_ms
    fill(bench)
    state = bench.replica.state
    assert (state.snapshot_lag, state.ticks, state.wall_ms) == (77, ticks, wall_ms)
    assert state.header_hashes[END] == make_header_hash(END)


def test_d41_requests_stay_and_are_timed_anew() -> None:
    """M24 over D41: what waits when an epoch ends waits in the next one; what its batches cannot hold does not."""
    bench = bench_with_change(2, transaction_gas_max=20_000)
    bench.hand_in(make_request(60), make_request(61, gas_limit=50_000))
    fill(bench)
    assert bench.replica.epoch == 1
    assert [known.request.nonce for known in bench.replica.state.pending.values()] == [60]
    assert bench.replica.state.pending_bytes == make_request(60).size_bytes
    bench.tick(T_TICKS + 1)
    assert {(m.epoch, m.view) for m in bench.said(ViewChange)} == {(1, 1)}  # type: ignore[attr-defined]


def test_d41_the_journal_becomes_the_next_epochs_in_one_sync() -> None:
    """D41, D34: E's certificate, the epoch and view 0 are one write, and nothing of the old epoch is left after it."""
    bench = bench_with_change(2)
    bench.tick(2 * T_TICKS)  # it has left for view 1 meanwhile: its VIEW-CHANGE is journaled
    assert OWN_VIEW_CHANGE_KEY in bench.envelopes
    for height in range(2, END + 1):
        proposal = pre_prepare(height)
        for other in (0, 1, 3):
            bench.say(other, Commit(epoch=0, view=0, height=height, digest=proposal.digest))
        bench.receive(0, Batches(batches=(proposal.batch,)))
        if height == 4:
            bench.certify(height)
    assert bench.replica.executed_height == END
    bench.receive(0, CertificateNotice(certificate=certificate(END)))
    assert bench.replica.epoch == 1
    assert bench.journal.keys() == {VIEW_KEY, CERTIFIED_KEY}
    assert bench.journal[VIEW_KEY] == encode_view(1, 0, active=True)
    assert OWN_VIEW_CHANGE_KEY not in bench.envelopes and NEW_VIEW_KEY not in bench.envelopes


@pytest.mark.parametrize("ticks", [0, 40])
def test_d36_a_restart_resumes_in_the_epoch_of_the_journal(ticks: int) -> None:
    """D36 over D41: before E is certified in the old epoch, after it in the new one, in the view that was left for."""
    before = bench_with_change(2)
    before.commit(2)
    before.start()
    assert (before.replica.epoch, before.replica.state.epoch_end) == (0, END)
    after = entered()
    after.hand_in(make_request(70))
    after.tick(ticks)
    view = after.replica.view
    after.start()
    assert (after.replica.epoch, after.replica.view, after.replica.certified_height) == (1, view, END)
    assert after.replica.state.configuration.base_height == END


def test_d36_a_restart_at_e_ends_the_epoch_when_its_certificate_comes() -> None:
    """D36, D41: E was executed before the crash and not certified: the ledger still knows what follows it."""
    bench = bench_with_change(2)
    execute_to(bench, END)
    assert (bench.replica.executed_height, bench.replica.epoch) == (END, 0)
    bench.start()
    bench.receive(0, CertificateNotice(certificate=certificate(END)))
    assert bench.replica.epoch == 1


def test_m57_quorums_are_those_of_the_epoch() -> None:
    """M57: "n, f, primary and quorums are always read from config(seq)": of five members three are too few."""
    bench = entered(member_count=5)
    assert bench.replica.state.configuration.quorums.quorum == 4
    batch = make_batch(make_request(80), time_ms=bench.wall_ms)
    slot = {"epoch": 1, "view": 0, "height": END + 1, "digest": batch.digest}
    bench.say(1, PrePrepare(batch=batch, **slot))  # type: ignore[arg-type]
    for other in (0, 3):
        bench.say(other, Prepare(**slot))  # type: ignore[arg-type]
    for other in (0, 1):
        bench.say(other, Commit(**slot))  # type: ignore[arg-type]
    assert bench.replica.executed_height == END
    bench.say(4, Commit(**slot))  # type: ignore[arg-type]
    assert bench.replica.executed_height == END + 1


def test_d27_a_view_change_from_the_base_of_an_epoch_needs_no_certificate() -> None:
    """D27 over D41: E is certified to everybody who is in the epoch, as genesis is; one from below E is refused."""
    bench = entered()
    bench.hand_in(make_request(90))
    bench.tick(T_TICKS + 1)
    own = next(bench.said(ViewChange))
    assert (own.certified_height, own.header_hash, own.certificate) == (END, make_header_hash(END), None)  # type: ignore[attr-defined]
    bench.say(3, replace(view_change(1), epoch=1))
    assert "view_change_epoch" in bench.dropped
    with_base = replace(view_change(1), epoch=1, certified_height=END, header_hash=make_header_hash(END))
    bench.say(0, with_base)
    bench.say(3, replace(with_base, certificate=certificate(END)))
    assert "view_change_base" in bench.dropped
    bench.say(3, with_base)
    new_view = NewView(
        epoch=1, view=1, view_changes=tuple(bench.replica.state.view_changes[r] for r in (0, 2, 3)), choices=()
    )
    assert verify_new_view(bench.configuration, new_view).certified_height == END


# --- messages of another epoch ---


def test_m59_messages_of_an_older_epoch_are_answered_with_its_end() -> None:
    """D41, M59: "older epochs are answered with E's certificate", and what they say counts for nothing."""
    bench = entered()
    bench.tick(4)
    bench.epochs_ended.clear()
    bench.say(3, pre_prepare(END + 1, 5))
    assert [(action.replica, action.epoch) for action in bench.epochs_ended] == [(3, 0)]
    assert not bench.replica.state.slots
    bench.tick(4)
    bench.receive(0, replace(status(bench), epoch=0))
    assert [(action.replica, action.epoch) for action in bench.epochs_ended] == [(3, 0), (0, 0)]
    bench.receive(0, replace(status(bench), epoch=0))
    assert len(bench.epochs_ended) == 2, "at most once per ANSWER_TICKS"


def test_d41_messages_of_the_next_epoch_are_kept() -> None:
    """D41, M13: who is a moment behind at the boundary loses nothing that those ahead of it have said already."""
    bench = bench_with_change(2)
    execute_to(bench, END)
    batch = make_batch(make_request(80), time_ms=bench.wall_ms)
    bench.say(1, PrePrepare(epoch=1, view=0, height=END + 1, digest=batch.digest, batch=batch))
    assert not list(bench.replica.state.slots.get(END + 1, ()) or ())
    bench.sent.clear()
    bench.receive(0, CertificateNotice(certificate=certificate(END)))
    assert [(m.epoch, m.height) for m in bench.said(Prepare)] == [(1, END + 1)]  # type: ignore[attr-defined]


def test_d41_a_message_of_an_epoch_that_is_not_decided_here_is_dropped() -> None:
    """D41: nothing is known of its members: its senders say it again when this replica has got there."""
    bench = make_bench(1)
    bench.say(0, replace(pre_prepare(1, 0), epoch=1))
    assert bench.dropped == ["wrong_epoch"]


def test_d41_a_certificate_of_a_later_epoch_moves_nothing() -> None:
    """D41: the way to a later epoch leads over the end of this one: its certificate is no target of catch-up here."""
    bench = make_bench(1)
    bench.receive(0, CertificateNotice(certificate=replace(certificate(40), epoch=1)))
    assert bench.replica.state.target is None


def test_d28_blocks_of_another_epoch_are_not_adopted() -> None:
    """D28 over D40: a path that runs over the end of the epoch ends there."""
    bench = make_bench(1)
    bench.receive(0, CertificateNotice(certificate=certificate(1)))
    bench.tick(5)
    source = bench.replica.state.fetch_source
    assert source is not None
    body = BlockBody(header=replace(header(NULL_DIGEST), epoch=1).to_bytes(), batch=None)
    bench.receive(source, Blocks(first_height=1, blocks=(body,), certificate=None))
    assert "block_epoch" in bench.dropped


# --- observers ---


def observer() -> Bench:
    """A replica whose key no member has: started with a new one, its disk lost."""
    return Bench(configuration=make_bench(1, window=L, stride=2).configuration, replica_id=OBSERVER)


def test_d37_an_observer_signs_nothing_and_follows() -> None:
    """D37: "silent until the first height of an epoch that lists its new consensus key": it executes, certifies, says
    where it stands and serves, and no vote, proposal or VIEW-CHANGE of it exists."""
    bench = observer()
    bench.commit(1, make_request(0))
    bench.certify(1)
    assert (bench.replica.executed_height, bench.replica.certified_height) == (1, 1)
    bench.receive(3, ClientRequest(request=make_request(1)))
    bench.tick(10 * T_TICKS)
    assert not [message for _, message in bench.sent if isinstance(message, Envelope)]
    assert bench.linked(Status)
    assert not bench.replica.state.is_primary


def test_d37_an_observer_votes_from_the_first_height_of_its_epoch_on() -> None:
    """D37: the epoch that lists the key makes it a voter, at once and for every height of it."""
    bench = observer()
    bench.decide(END, replica_id=2)
    bench.commit(1, make_request(0))
    fill(bench)
    assert (bench.replica.epoch, bench.replica.replica_id) == (1, 2)
    bench.commit(END + 1, make_request(5))
    assert [(m.epoch, m.height) for m in bench.said(Prepare)] == [(1, END + 1)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("liar", [0, 1, 3])
def test_d38_a_view_change_of_an_earlier_epoch_in_a_new_view_of_this_one_halts_nobody(liar: int) -> None:
    """D38, D41: this replica did sign it, so its signature holds; what the journal knew about it left with its epoch.
    Whoever kept it could else stop every replica that ever gave up a view. The primary that sends it is convicted."""
    bench = entered()
    bench.asks = True
    bench.start()
    bench.tick(SILENT_TICKS_MAX)
    old = make_envelope(2, view_change(5))
    others = (make_envelope(member, replace(view_change(5), epoch=1)) for member in (0, 1, 3))
    bench.receive(
        liar, Forward(envelopes=(make_envelope(liar, NewView(epoch=1, view=5, view_changes=(old,), choices=())),))
    )
    bench.say(liar, NewView(epoch=1, view=5, view_changes=(old, *others), choices=()))
    assert bench.halted is None and bench.replica.view == 0
    assert {(evidence.replica, evidence.kind) for evidence in bench.evidence} == {(liar, "invalid_new_view")}


def test_d37_a_restart_under_a_new_key_repeats_nothing_of_the_old_one() -> None:
    """D37, D36: the journal's promises are of another key: they are not sent again, and stay until their heights go."""
    bench = make_bench(1, window=L, stride=2)
    bench.say(0, pre_prepare(1, 0))
    bench.tick(T_TICKS + 1)
    assert list(bench.said(Prepare)) and list(bench.said(ViewChange))
    bench.replica_id = OBSERVER
    bench.sent.clear()
    bench.start()
    bench.tick(4 * T_TICKS)
    assert not [message for _, message in bench.sent if isinstance(message, Envelope)]


def test_d41_who_is_removed_stops_voting() -> None:
    """M59: "old key invalid after boundary": the member that the next epoch does not list goes on as an observer."""
    bench = bench_with_change(3, replica_id=OBSERVER)
    fill(bench)
    assert (bench.replica.epoch, bench.replica.state.is_voter) == (1, False)
    bench.sent.clear()
    bench.commit(END + 1, make_request(5))
    assert bench.replica.executed_height == END + 1
    assert not list(bench.said(Prepare))
