"""What is promised, and what a restart remembers of it.

One test per rule, quoting its source: sections of Castro and Liskov (OSDI 1999), D- and M-numbers of pbft/README.md.
"""

import pytest
from simulation.bench import (
    make_bench,
    make_envelope,
    make_request,
)
from simulation.bench_messages import (
    T_TICKS,
    commit,
    pre_prepare,
    prepare,
)

from ledger.errors import InvariantViolation
from pbft.core.config import IDLE_VOTE_TICKS
from pbft.core.messages import (
    Commit,
    Envelope,
    HeaderVote,
    Prepare,
    PrePrepare,
    ViewChange,
)


def test_m25_promises_are_journaled_with_what_sends_them() -> None:
    """M25: Q entry and body with PREPARE, P entry with COMMIT: in the journal before anything leaves the turn."""
    bench = make_bench(1)
    proposal = pre_prepare(1, 0)
    actions = bench.replica.receive(0, make_envelope(0, proposal)) + bench.replica.end_turn()
    kinds = [type(action).__name__ for action in actions]
    assert kinds == ["Persist", "PersistBody", "Broadcast"]
    assert actions[0].key[:2] == b"q/" and actions[1].batch == proposal.batch  # type: ignore[union-attr]


def test_d36_a_restarted_replica_says_again_what_it_said() -> None:
    """D36, M27: proposals, PREPAREs, COMMITs and header votes above h are resent in the same view, executed or not."""
    for replica_id in (0, 1):
        bench = make_bench(replica_id)
        if replica_id == 0:
            bench.hand_in(make_request(0))
            (proposal,) = bench.said(PrePrepare)
            for sender in (1, 2):
                bench.say(sender, prepare(proposal))
            for sender in (1, 2):
                bench.say(sender, commit(proposal))
        else:
            bench.commit(1, make_request(0))
        assert bench.replica.executed_height == 1
        before = {message for kind in (PrePrepare, Prepare, Commit, HeaderVote) for message in bench.said(kind)}
        bench.sent.clear()
        bench.start()
        after = {message for kind in (PrePrepare, Prepare, Commit, HeaderVote) for message in bench.said(kind)}
        assert after == before


def test_d36_a_pending_view_change_is_resent_as_it_was_signed() -> None:
    """D36, M25c: a replica that restarts inside a view change is still in it, with the same signed bytes."""
    bench = make_bench(2)
    bench.commit(1, make_request(0))
    bench.hand_in(make_request(5))
    bench.tick(T_TICKS)
    (signed,) = [m for _, m in bench.sent if isinstance(m, Envelope) and isinstance(m.messages[0], ViewChange)]
    bench.sent.clear()
    bench.start()
    assert not bench.replica.is_active
    assert (None, signed) in bench.sent


def test_d35_executed_below_the_journals_h_refuses_to_start() -> None:
    """D35: at start e >= the journal's h, else refuse."""
    bench = make_bench(1)
    bench.commit(1, make_request(0))
    bench.certify(1)
    del bench.replica
    with pytest.raises(InvariantViolation, match="ledger_below_journal"):
        bench.start()


def test_d34_another_header_than_the_one_voted_for_halts() -> None:
    """D34: votes are recorded; executing a height again with another header stops the replica."""
    bench = make_bench(1)
    bench.commit(1, make_request(0))
    bench.tick(IDLE_VOTE_TICKS)
    assert b"v/" + (1).to_bytes(8, "big") in bench.journal
    del bench.replica  # the ledger is lost, the journal is not
    bench.executes = False
    bench.start()
    bench.say(0, commit(pre_prepare(1, 0, time_ms=bench.wall_ms)))
    state = bench.replica.state
    assert state.executed_height == 0 and state.voted
    batch = state.bodies[next(iter(state.bodies))]
    for sender in (0, 2, 3):
        bench.say(sender, Commit(epoch=0, view=1, height=1, digest=batch.digest))
    bench.execute(bench.asked[-1], header_hash=bytes(32))
    bench.turn()
    assert bench.halted is not None and "voted for" in bench.halted
