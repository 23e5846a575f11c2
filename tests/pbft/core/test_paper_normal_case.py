"""The normal case by the paper: quorums, PRE-PREPARE, PREPARE, COMMIT, execution, null (section 4.2).

One test per rule, quoting its source: sections of Castro and Liskov (OSDI 1999), D- and M-numbers of pbft/README.md.
"""

import pytest
from simulation.bench import (
    make_batch,
    make_bench,
    make_envelope,
    make_request,
)
from simulation.bench_messages import (
    commit,
    pre_prepare,
    prepare,
    view_change,
)

from ledger.hashing import NULL_DIGEST
from pbft.core.messages import (
    Batches,
    Commit,
    FetchBatches,
    NewView,
    Prepare,
    PrePrepare,
    SlotChoice,
    SlotEntry,
)
from pbft.core.quorum import Quorums


@pytest.mark.parametrize(
    ("n", "quorum"),
    [(4, 3), (5, 4), (6, 4), (7, 5), (8, 6), (9, 6), (10, 7), (11, 8), (12, 8), (13, 9), (14, 10), (15, 10), (16, 11)],
)
def test_quorum_sizes(n: int, quorum: int) -> None:
    """D1, M1: Q = ceil((n+f+1)/2), W = f+1; two quorums share a correct replica and n-f replicas are one."""
    table = Quorums.of(n)
    assert (table.quorum, table.weak) == (quorum, (n - 1) // 3 + 1)
    assert 2 * table.quorum - n >= table.f + 1
    assert n - table.f >= table.quorum


def test_m2_the_primary_sends_no_prepare() -> None:
    """§4.2, M2: "the pre-prepare ... by the primary" is its PREPARE: one from the primary is refused, none is sent."""
    bench = make_bench(1)
    proposal = pre_prepare(1, 0)
    bench.say(0, proposal)
    bench.say(0, prepare(proposal))
    assert "prepare_from_primary" in bench.dropped
    primary = make_bench(0)
    primary.hand_in(make_request(0))
    assert not list(primary.said(Prepare))


def test_m3_votes_are_counted_by_member() -> None:
    """M3: the same PREPARE twice is one vote; another digest of the same member is evidence and counts for nothing."""
    bench = make_bench(1)
    proposal = pre_prepare(1, 0)
    bench.say(0, proposal)
    other = Prepare(epoch=0, view=0, height=1, digest=bytes(32))
    bench.say(2, other)
    bench.say(2, other)
    assert not list(bench.said(Commit))
    bench.say(2, prepare(proposal))
    assert not list(bench.said(Commit))
    assert [(e.replica, e.kind) for e in bench.evidence] == [(2, "equivocation_prepare")]


def test_m8_only_the_primary_of_the_active_view_proposes() -> None:
    """§4.2, M8: "it is in view v", and the PRE-PREPARE is signed by its primary."""
    bench = make_bench(1)
    bench.say(2, pre_prepare(1, 0))
    assert bench.dropped == ["not_the_primary"]
    assert not list(bench.said(Prepare))


def test_m8_one_digest_per_view_and_height() -> None:
    """§4.2, M8, M17: "it has not accepted a pre-prepare message for view v and sequence number n containing a different
    digest"; the second is evidence and replaces nothing."""
    bench = make_bench(1)
    first = pre_prepare(1, 0)
    bench.say(0, first)
    bench.say(0, pre_prepare(1, 7))
    assert [message.digest for message in bench.said(Prepare)] == [first.digest]
    assert [e.kind for e in bench.evidence] == ["equivocation_pre_prepare"]


def test_m13_nothing_is_kept_between_the_own_window_and_that_of_a_new_view() -> None:
    """M13, M55: a replica that lags has entered a view that starts far above it: COMMITs between the two would make a
    slot for each height that it lags by."""
    bench = make_bench(1)
    bench.replica.state.reproposed_top = 1_000
    for height in (65, 500, 936, 1_001):
        bench.say(0, Commit(epoch=0, view=0, height=height, digest=bytes(32)))
    assert bench.dropped == ["above_window"] * 4
    for height in (64, 937, 1_000):
        bench.say(0, Commit(epoch=0, view=0, height=height, digest=bytes(32)))
    assert sorted(bench.replica.state.slots) == [64, 937, 1_000]


def test_m8_the_height_lies_between_the_watermarks() -> None:
    """§4.2, M8: "the sequence number in the pre-prepare message is between a low water mark, h, and a high, H"."""
    bench = make_bench(1)
    bench.say(0, pre_prepare(65, 0))
    assert bench.dropped == ["above_window"]
    bench.say(0, pre_prepare(64, 0))
    assert [message.height for message in bench.said(Prepare)] == [64]


def test_m9_a_request_may_be_proposed_twice() -> None:
    """M9, D43: a request that was executed is legal in a later proposal; execution skips it."""
    bench = make_bench(1)
    bench.commit(1, make_request(0))
    bench.say(0, pre_prepare(2, 0))
    assert [message.height for message in bench.said(Prepare)] == [1, 2]


def test_m10_prepared_needs_q_minus_1_backups() -> None:
    """§4.2, M10: PRE-PREPARE and Q - 1 matching PREPAREs from distinct backups, the own included."""
    bench = make_bench(1)
    proposal = pre_prepare(1, 0)
    bench.say(0, proposal)
    assert not list(bench.said(Commit))
    bench.say(3, prepare(proposal))
    assert [message.digest for message in bench.said(Commit)] == [proposal.digest]


def test_m10_committed_needs_q_commits() -> None:
    """§4.2, M10: committed-local with Q COMMITs, the own included; then the block is executed."""
    bench = make_bench(1)
    proposal = pre_prepare(1, 0)
    bench.say(0, proposal)
    bench.say(2, prepare(proposal))
    bench.say(2, commit(proposal))
    assert not bench.asked
    bench.say(0, commit(proposal))
    assert [action.height for action in bench.asked] == [1]


def test_m12_execution_follows_heights() -> None:
    """§4.2, M12: a height is executed after all lower ones, once."""
    bench = make_bench(1)
    bench.commit(2, make_request(1))
    assert not bench.asked
    bench.commit(1, make_request(0))
    assert [action.height for action in bench.asked] == [1, 2]
    bench.say(3, Commit(epoch=0, view=0, height=2, digest=bench.asked[1].batch.digest))  # type: ignore[union-attr]
    assert [action.height for action in bench.asked] == [1, 2]


def test_m13_commits_of_another_view_prove_a_commit() -> None:
    """M13, D28: Q COMMITs for one (v, n, d) prove the commit to a replica that was not in that view."""
    bench = make_bench(1)
    proposal = pre_prepare(1, 0, view=5)
    for sender in (0, 2, 3):
        bench.say(sender, commit(proposal))
    bench.tick(8)
    assert bench.linked(FetchBatches)
    bench.receive(2, Batches(batches=(proposal.batch,)))
    assert [action.batch for action in bench.asked] == [proposal.batch]


def test_m14_m11_the_primary_stops_at_half_the_window_and_keeps_its_queue() -> None:
    """M11, M14, D30: n <= h + L/2, and 8 heights until the view has certified one; the queue stays."""
    bench = make_bench(0, batch_requests_max=1)
    bench.hand_in(*(make_request(nonce) for nonce in range(50)))
    assert [message.height for message in bench.said(PrePrepare)] == list(range(1, 9))
    assert bench.replica.pending_count == 50


def test_m16_no_prepare_without_the_body() -> None:
    """M16, M25a: a re-proposed digest is prepared only when its body is here and journaled."""
    bench = make_bench(2)
    batch = make_batch(make_request(0))
    entry = SlotEntry(height=1, digest=batch.digest, view=0)
    changes = tuple(make_envelope(sender, view_change(1, prepared=(entry,))) for sender in (0, 1, 3))
    choices = (SlotChoice(height=1, digest=batch.digest),)
    bench.say(1, NewView(epoch=0, view=1, view_changes=changes, choices=choices))
    assert bench.replica.view == 1
    assert not list(bench.said(Prepare))
    bench.tick(4)
    assert bench.linked(FetchBatches)
    bench.receive(0, Batches(batches=(batch,)))
    assert [(message.view, message.digest) for message in bench.said(Prepare)] == [(1, batch.digest)]
    assert b"b/" + batch.digest in bench.journal


def test_m41_null_is_ordered_like_a_batch() -> None:
    """M41, D29: a null between two choices is prepared, committed, executed; it enters P and Q as a digest."""
    bench = make_bench(2)
    batch = make_batch(make_request(0))
    entry = SlotEntry(height=2, digest=batch.digest, view=0)
    changes = tuple(make_envelope(sender, view_change(1, prepared=(entry,))) for sender in (0, 1, 3))
    choices = (SlotChoice(height=1, digest=NULL_DIGEST), SlotChoice(height=2, digest=batch.digest))
    bench.say(1, NewView(epoch=0, view=1, view_changes=changes, choices=choices))
    for sender in (0, 3):
        bench.say(sender, Prepare(epoch=0, view=1, height=1, digest=NULL_DIGEST))
    assert bench.replica.state.prepared[1].digest == NULL_DIGEST
    for sender in (0, 3):
        bench.say(sender, Commit(epoch=0, view=1, height=1, digest=NULL_DIGEST))
    assert [(action.height, action.batch) for action in bench.asked] == [(1, None)]


def test_m15_a_partial_batch_waits_for_what_is_under_way() -> None:
    """M15: an idle primary proposes at once; with something in flight only full batches, the rest when all is
    committed; and nothing at all when nothing waits."""
    bench = make_bench(0, batch_requests_max=3)
    bench.tick(100)
    assert not list(bench.said(PrePrepare))
    bench.hand_in(make_request(0))
    bench.hand_in(make_request(1), make_request(2))
    assert [len(message.batch.requests) for message in bench.said(PrePrepare)] == [1]
    bench.hand_in(make_request(3), make_request(4))
    assert [len(message.batch.requests) for message in bench.said(PrePrepare)] == [1, 3]
    first, second = bench.said(PrePrepare)
    for message in (first, second):
        for sender in (1, 2):
            bench.say(sender, prepare(message))
        for sender in (1, 2):
            bench.say(sender, commit(message))
    assert [len(message.batch.requests) for message in bench.said(PrePrepare)] == [1, 3, 1]


def test_d30_the_primary_uses_half_of_the_window() -> None:
    """D30, M11: once its view has certified a height the primary proposes up to h + L/2, so that a stride's height lies
    inside, and goes on when h moves."""
    bench = make_bench(0, batch_requests_max=1, window=32, stride=8)
    bench.hand_in(*(make_request(nonce) for nonce in range(40)))
    for height in range(1, 9):
        vote = Prepare(epoch=0, view=0, height=height, digest=bench.replica.state.slots[height].digest or b"")
        for sender in (1, 2):
            bench.say(sender, vote)
            bench.say(sender, Commit(epoch=0, view=0, height=height, digest=vote.digest))
    bench.certify(8)
    assert bench.replica.certified_height == 8
    assert [message.height for message in bench.said(PrePrepare)] == list(range(1, 8 + 16 + 1))


def test_d4_m7_a_proposal_names_no_predecessor() -> None:
    """D4, M7: a height is prepared and committed whatever becomes of those below it; only execution waits for them."""
    bench = make_bench(1)
    bench.say(0, pre_prepare(2, 1))
    bench.commit(3, make_request(2))
    assert bench.replica.state.slots[3].is_committed
    assert [message.height for message in bench.said(Prepare)] == [2, 3]
    assert not bench.asked


def test_d61_a_vote_that_comes_after_its_quorum_is_not_checked() -> None:
    """D61: "checked when it can complete a quorum": of n votes the last n - Q cost their bytes. What contradicts them
    may be evidence (M54), and what the own key signed may be another process's (M28): both are looked at, always."""
    bench = make_bench(1)

    def is_checked(sender: int, *votes: Prepare | Commit) -> bool:
        return bench.replica.compute_wanted(sender, make_envelope(sender, *votes)) is not None

    proposal, other, later = pre_prepare(1, 0), pre_prepare(1, 1), pre_prepare(2, 2)
    assert is_checked(3, prepare(proposal)), "the proposal may be late"
    bench.say(0, proposal)
    assert is_checked(3, prepare(proposal))
    bench.say(2, prepare(proposal))
    assert not is_checked(3, prepare(proposal)), "with the own one there are Q - 1"
    assert is_checked(3, prepare(other)) and is_checked(1, prepare(proposal))
    assert is_checked(3, prepare(proposal), prepare(later)), "one of the two is for a height that needs it"
    assert is_checked(3, prepare(proposal), commit(proposal))
    bench.say(0, commit(proposal))
    assert is_checked(2, commit(proposal))
    bench.say(2, commit(proposal))
    assert not is_checked(3, commit(proposal))
    assert is_checked(3, commit(other)) and is_checked(1, commit(proposal))


def test_d61_a_member_that_said_something_else_before_is_looked_at() -> None:
    """D61, M54: two votes of one member convict it together, however late the second one comes."""
    bench = make_bench(1)
    proposal, other = pre_prepare(1, 0), pre_prepare(1, 1)
    bench.say(0, proposal)
    bench.say(3, prepare(other))
    bench.say(3, commit(other))
    bench.say(2, prepare(proposal))
    for sender in (0, 2):
        bench.say(sender, commit(proposal))
    for vote, kind in ((prepare(proposal), "equivocation_prepare"), (commit(proposal), "equivocation_commit")):
        assert bench.replica.compute_wanted(3, make_envelope(3, vote)) is not None
        bench.say(3, vote)
        assert [piece.kind for piece in bench.evidence][-1:] == [kind]
