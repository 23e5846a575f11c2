"""One test per rule of the protocol, with the sentence it comes from.

Sections are those of Castro and Liskov, "Practical Byzantine Fault Tolerance" (OSDI 1999); D-numbers and M-numbers are
the project's rules, explained in pbft/README.md. Each test drives one pure replica by hand (`simulation.bench`).
"""

import pytest
from simulation.bench import (
    GENESIS_HASH,
    WALL_MS,
    Bench,
    make_batch,
    make_bench,
    make_configuration,
    make_envelope,
    make_header_hash,
    make_request,
    make_vote,
)

from ledger.block import Header
from ledger.errors import InvariantViolation
from ledger.hashing import NULL_DIGEST
from ledger.quorum_certificate import QuorumCertificate
from pbft.core.messages import (
    Batches,
    BlockBody,
    Blocks,
    CertificateNotice,
    ClientRequest,
    Commit,
    Envelope,
    FetchBatches,
    FetchBlocks,
    Forward,
    HeaderVote,
    NewView,
    Prepare,
    PrePrepare,
    Relay,
    SlotChoice,
    SlotEntry,
    Status,
    ViewChange,
)
from pbft.core.quorum import Quorums

T_TICKS = 30  # 1500 ms in ticks of 50 ms


def pre_prepare(height: int, *nonces: int, view: int = 0, time_ms: int = WALL_MS, client: int = 1) -> PrePrepare:
    """A proposal with one request per nonce."""
    batch = make_batch(*(make_request(nonce, client) for nonce in nonces), time_ms=time_ms)
    return PrePrepare(epoch=0, view=view, height=height, digest=batch.digest, batch=batch)


def prepare(message: PrePrepare) -> Prepare:
    return Prepare(epoch=0, view=message.view, height=message.height, digest=message.digest)


def commit(message: PrePrepare) -> Commit:
    return Commit(epoch=0, view=message.view, height=message.height, digest=message.digest)


def view_change(
    view: int, *, prepared: tuple[SlotEntry, ...] = (), pre_prepared: tuple[SlotEntry, ...] = ()
) -> ViewChange:
    """A VIEW-CHANGE from genesis; every P entry is a Q entry too."""
    return ViewChange(
        epoch=0,
        view=view,
        certified_height=0,
        header_hash=GENESIS_HASH,
        certificate=None,
        prepared=prepared,
        pre_prepared=(*prepared, *pre_prepared),
    )


def status(bench: Bench, **changes: object) -> Status:
    """Another replica's STATUS: at genesis, knowing nothing, but for the changes."""
    values: dict[str, object] = {
        "epoch": 0,
        "view": bench.replica.view,
        "active": True,
        "certified_height": 0,
        "executed_height": 0,
        "pre_prepared": (),
        "prepared": (),
        "committed": (),
        "view_changes": (),
    }
    return Status(**(values | changes))  # type: ignore[arg-type]


def certificate(height: int, header_hash: bytes | None = None) -> QuorumCertificate:
    signatures = tuple((replica, bytes(64)) for replica in range(3))
    return QuorumCertificate(
        epoch=0, height=height, header_hash=header_hash or make_header_hash(height), signatures=signatures
    )


# --- quorums and admission ---


@pytest.mark.parametrize(
    ("n", "quorum"),
    [(4, 3), (5, 4), (6, 4), (7, 5), (8, 6), (9, 6), (10, 7), (11, 8), (12, 8), (13, 9), (14, 10), (15, 10), (16, 11)],
)
def test_quorum_sizes(n: int, quorum: int) -> None:
    """M1: Q = ceil((n+f+1)/2), W = f+1; two quorums share a correct replica and n-f replicas are one."""
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


# --- requests ---


def test_section_4_1_a_backup_passes_requests_on() -> None:
    """§4.1, M18: a backup relays a client's request to the primary at once; the primary proposes what it gets."""
    bench = make_bench(1)
    request = make_request(0)
    bench.hand_in(request)
    assert bench.linked(Relay) == [(0, Relay(requests=(request,)))]
    primary = make_bench(0)
    primary.receive(1, Relay(requests=(request,)))
    assert [message.batch.requests for message in primary.said(PrePrepare)] == [(request,)]


def test_d42_a_proposal_is_judged_by_its_bytes() -> None:
    """D42: expiry >= n, ascending nonces per client, sums of gas and counts; nothing that depends on state."""
    for requests, code in [
        ((make_request(0, expiry_height=0),), "request_expired"),
        ((make_request(1), make_request(0)), "nonces_not_ascending"),
        ((make_request(1), make_request(1, gas_limit=9)), "nonces_not_ascending"),
        ((make_request(0, gas_limit=5_000_001),), "request_too_much_gas"),
        (tuple(make_request(n, gas_limit=5_000_000) for n in range(5)), "batch_too_much_gas"),
    ]:
        bench = make_bench(1)
        batch = make_batch(*requests)
        bench.say(0, PrePrepare(epoch=0, view=0, height=1, digest=batch.digest, batch=batch))
        assert bench.dropped == [code]
        assert not list(bench.said(Prepare))


def test_d42_the_primary_orders_a_clients_nonces() -> None:
    """D42: whatever order requests come in, a batch holds each client's nonces ascending."""
    bench = make_bench(0)
    bench.hand_in(make_request(3), make_request(9, client=2), make_request(1), make_request(2))
    (proposal,) = bench.said(PrePrepare)
    assert [(request.client[0], request.nonce) for request in proposal.batch.requests] == [
        (1, 1),
        (2, 9),
        (1, 2),
        (1, 3),
    ]


def test_d56_relay_to_all_at_half_and_suspicion_at_t() -> None:
    """D56: at T/2 a request is relayed to all; at T, unexecuted, the primary is suspected."""
    bench = make_bench(1)
    bench.hand_in(make_request(0))
    bench.tick(T_TICKS // 2 - 1)
    assert [receiver for receiver, _ in bench.linked(Relay)] == [0]
    bench.tick(1)
    assert [receiver for receiver, _ in bench.linked(Relay)] == [0, None]
    bench.tick(T_TICKS // 2 - 1)
    assert bench.replica.is_active
    bench.tick(1)
    assert [message.view for message in bench.said(ViewChange)] == [1]


def test_d56_no_suspicion_while_a_certificate_is_above_e() -> None:
    """D56: who lags must not suspect for what others have executed."""
    bench = make_bench(1)
    bench.hand_in(make_request(0))
    bench.receive(2, CertificateNotice(certificate=certificate(3)))
    bench.tick(2 * T_TICKS)
    assert bench.replica.is_active


def test_m21_the_timer_stops_with_execution_and_runs_for_the_next() -> None:
    """§4.4, M21: the timer stops when the request executes and starts again for the next that waits."""
    bench = make_bench(1)
    bench.hand_in(make_request(0), make_request(1))
    bench.tick(T_TICKS - 1)
    bench.commit(1, make_request(0))
    bench.tick(T_TICKS - 1)
    assert bench.replica.is_active
    bench.tick(1)
    assert not bench.replica.is_active


def test_m24_requests_are_proposed_again_in_the_new_view() -> None:
    """M24: on entering a view the new primary proposes what is pending and not among the new view's slots."""
    bench = make_bench(1)
    bench.hand_in(make_request(0))
    enter_view(bench, 1)
    assert [(message.view, message.height) for message in bench.said(PrePrepare)] == [(1, 1)]


def test_m24_requests_of_a_lost_proposal_are_proposed_again() -> None:
    """M24: what the old primary proposed and nobody prepared is no slot of the new view; its requests are requeued."""
    bench = make_bench(1)
    bench.hand_in(make_request(0))
    bench.say(0, pre_prepare(1, 0))
    assert [message.height for message in bench.said(Prepare)] == [1]
    enter_view(bench, 1)
    assert [message.batch.requests for message in bench.said(PrePrepare)] == [(make_request(0),)]


# --- persistence ---


def test_m25_promises_are_journaled_with_what_sends_them() -> None:
    """M25: Q entry and body with PREPARE, P entry with COMMIT: in the journal before anything leaves the turn."""
    bench = make_bench(1)
    proposal = pre_prepare(1, 0)
    actions = bench.replica.receive(0, make_envelope(0, proposal)) + bench.replica.end_turn()
    kinds = [type(action).__name__ for action in actions]
    assert kinds == ["Persist", "Persist", "Broadcast"]
    assert {action.key[:2] for action in actions[:2]} == {b"q/", b"b/"}  # type: ignore[union-attr]


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


# --- header votes, certificates, watermarks ---


def test_d24_which_heights_are_voted_on() -> None:
    """D24: multiples of s always; the idle head; and a height that a peer names."""
    bench = make_bench(1)
    for height in range(1, 10):
        bench.say(0, pre_prepare(height, height, time_ms=bench.wall_ms))
    for height in range(1, 10):
        bench.commit(height, make_request(height), time_ms=bench.wall_ms)
    assert [message.height for message in bench.said(HeaderVote)] == [8, 9]
    bench.receive(2, status(bench, executed_height=5))
    assert [message.height for message in bench.said(HeaderVote)] == [8, 9, 5]
    bench.say(3, make_vote(4))
    assert [message.height for message in bench.said(HeaderVote)] == [8, 9, 5, 4]


def test_d25_h_moves_on_certificate_and_own_block() -> None:
    """§4.3, D25, M44: Q votes for an executed header move h, and slots, P, Q and bodies at or below it go."""
    bench = make_bench(1)
    bench.commit(1, make_request(0))
    assert b"p/" + (1).to_bytes(8, "big") in bench.journal
    bench.say(0, make_vote(1))
    assert bench.replica.certified_height == 0
    bench.say(2, make_vote(1))
    assert bench.replica.certified_height == 1
    assert sorted(bench.journal) == [b"certified"]
    assert [action.certificate.height for action in bench.certificates] == [1]


def test_d25_a_certificate_above_e_moves_nothing() -> None:
    """D25: it starts catch-up; h moves when the block is executed here."""
    bench = make_bench(1)
    bench.certify(2)
    assert bench.replica.certified_height == 0
    bench.tick(5)
    assert [message for _, message in bench.linked(FetchBlocks)] == [FetchBlocks(first_height=1)]
    bench.commit(1, make_request(0))
    bench.commit(2, make_request(1))
    assert bench.replica.certified_height == 2


def test_d26_w_equal_votes_against_the_own_header_halt() -> None:
    """D26, M45: one liar is ignored, W equal votes stop this replica."""
    bench = make_bench(1)
    bench.commit(1, make_request(0))
    bench.say(0, make_vote(1, bytes(32)))
    assert bench.halted is None
    bench.say(2, make_vote(1, bytes(32)))
    assert bench.halted is not None and "height 1" in bench.halted
    bench.sent.clear()
    bench.commit(2, make_request(1))
    assert not bench.sent, "a halted replica says nothing"


def test_d28_old_messages_are_answered_with_the_newest_certificate() -> None:
    """D28, M50: who is shown a message at n <= h answers with its newest certificate, at a bounded rate."""
    bench = make_bench(1)
    bench.commit(1, make_request(0))
    bench.certify(1)
    bench.tick(3)
    bench.sent.clear()
    for _ in range(5):
        bench.say(3, prepare(pre_prepare(1, 0)))
    assert [receiver for receiver, _ in bench.linked(CertificateNotice)] == [3]


def header(batch_digest: bytes, *, state_root: bytes = bytes(32)) -> Header:
    """A header of height 1 on genesis."""
    return Header(
        network=bytes(32),
        epoch=0,
        height=1,
        parent_hash=GENESIS_HASH,
        batch_digest=batch_digest,
        time_ms=WALL_MS,
        transactions_root=bytes(32),
        receipts_root=bytes(32),
        state_root=state_root,
        gas_used=0,
        next_config_hash=bytes(32),
    )


def test_d28_w_equal_votes_are_enough_to_adopt_blocks() -> None:
    """D28, scenario 5: one vote above e fetches nothing; W equal ones do, and the block under them is executed."""
    bench = make_bench(1)
    bench.executes = False
    batch = make_batch(make_request(0))
    true = header(batch.digest)
    bench.say(2, make_vote(1, true.hash))
    bench.tick(10)
    assert not bench.linked(FetchBlocks)
    bench.say(3, make_vote(1, true.hash))
    bench.tick(5)
    source = bench.linked(FetchBlocks)[-1][0]
    assert source is not None
    block = BlockBody(header=true.to_bytes(), batch=batch)
    bench.receive(source, Blocks(first_height=1, blocks=(block,), certificate=None))
    assert [(action.height, action.batch, action.adopted) for action in bench.asked] == [(1, batch, True)]
    bench.execute(bench.asked[0], header_hash=bytes(32))
    bench.turn()
    assert bench.halted is not None and "adopted as" in bench.halted


def wait_for_fetch(bench: Bench) -> int:
    """Lets time pass until blocks are asked for; whom."""
    asked = len(bench.linked(FetchBlocks))
    for _ in range(100):
        bench.tick()
        if len(bench.linked(FetchBlocks)) > asked:
            break
    source = bench.linked(FetchBlocks)[asked][0]
    assert source is not None
    return source


def test_m46_a_source_that_lies_is_left_for_the_next() -> None:
    """D28, M46: blocks not asked for, off the path or against the certificate are dropped; another source is asked."""
    bench = make_bench(1)
    bench.executes = False
    batch = make_batch(make_request(0))
    true, false = header(batch.digest), header(batch.digest, state_root=bytes([1]) * 32)
    bench.receive(0, CertificateNotice(certificate=certificate(1, true.hash)))
    first = wait_for_fetch(bench)
    good = Blocks(first_height=1, blocks=(BlockBody(header=true.to_bytes(), batch=batch),), certificate=None)
    bench.receive((first + 1) % 4, good)
    bench.receive(first, Blocks(first_height=1, blocks=(BlockBody(header=b"?", batch=batch),), certificate=None))
    second = wait_for_fetch(bench)
    assert second != first
    lie = BlockBody(header=false.to_bytes(), batch=batch)
    bench.receive(second, Blocks(first_height=1, blocks=(lie,), certificate=None))
    third = wait_for_fetch(bench)
    assert third != second
    wrong_batch = BlockBody(header=true.to_bytes(), batch=make_batch(make_request(1)))
    bench.receive(third, Blocks(first_height=1, blocks=(wrong_batch,), certificate=None))
    assert bench.dropped == ["blocks_not_asked", "block_header", "blocks_untrue", "block_batch"]
    assert not bench.asked
    fourth = wait_for_fetch(bench)
    bench.receive(fourth, good)
    assert [action.height for action in bench.asked] == [1]


# --- view change ---


def enter_view(bench: Bench, view: int) -> None:
    """Carries a replica into a view in which nothing was prepared."""
    primary = bench.configuration.primary(view)
    others = [r for r in range(bench.configuration.member_count) if r != bench.replica_id]
    if primary == bench.replica_id:
        for sender in others:
            bench.say(sender, view_change(view))
    else:
        changes = tuple(make_envelope(sender, view_change(view)) for sender in others)
        bench.say(primary, NewView(epoch=0, view=view, view_changes=changes, choices=()))
    assert bench.replica.is_active and bench.replica.view == view


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


def test_m50_status_is_answered_with_what_is_missing() -> None:
    """M50: the sender of a STATUS gets the proposal, PREPARE and COMMIT that it lacks, and nothing that it has."""
    bench = make_bench(0)
    bench.hand_in(make_request(0))
    (proposal,) = bench.said(PrePrepare)
    for sender in (1, 2):
        bench.say(sender, prepare(proposal))
    bench.tick(2)
    bench.sent.clear()
    bench.receive(3, status(bench))
    ((receiver, forward),) = bench.linked(Forward)
    assert receiver == 3 and isinstance(forward, Forward)
    assert [type(e.messages[0]) for e in forward.envelopes] == [PrePrepare, Commit]
    bench.sent.clear()
    bench.receive(1, status(bench, pre_prepared=(1,), prepared=(1,), committed=(1,)))
    assert not bench.linked(Forward)


def test_d27_choices_above_the_own_window_wait_for_catch_up() -> None:
    """D27, M8: a NEW-VIEW may start above the own h; PREPARE for slots above the own H waits until h has moved, so
    that P and Q never outgrow a window."""
    bench = make_bench(2, window=16, stride=4)
    batch = make_batch(make_request(0))
    changes = []
    for sender in (0, 1, 3):
        entry = SlotEntry(height=20, digest=batch.digest, view=0)
        changes.append(
            make_envelope(
                sender,
                ViewChange(
                    epoch=0,
                    view=1,
                    certified_height=19,
                    header_hash=make_header_hash(19),
                    certificate=certificate(19),
                    prepared=(entry,),
                    pre_prepared=(entry,),
                ),
            )
        )
    choices = (SlotChoice(height=20, digest=batch.digest),)
    bench.say(1, NewView(epoch=0, view=1, view_changes=tuple(changes), choices=choices))
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


# --- time ---


def test_d58_own_slowness_is_not_held_against_the_primary() -> None:
    """D58: while e + 1 is committed but unexecuted the clock of suspicion stands still, at most 4 T a view."""
    bench = make_bench(1)
    bench.executes = False
    bench.hand_in(make_request(0), make_request(1))
    bench.commit(1, make_request(0))
    bench.tick(4 * T_TICKS)
    assert bench.replica.is_active
    bench.tick(T_TICKS)
    assert not bench.replica.is_active


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
    """D63: from due + 2 s on the own clock the primary has T to run it, whether anything else waits or not."""
    bench = make_bench(1)
    bench.next_due_ms = bench.wall_ms + 10_000
    bench.commit(1, make_request(0))
    bench.certify(1)
    bench.tick((10_000 + 2_000) // 50)
    assert bench.replica.is_active
    bench.tick(T_TICKS + 1)
    assert not bench.replica.is_active


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


def test_m55_pending_requests_are_bounded() -> None:
    """M55, M56: past the limit a request is refused and counted; nobody is suspected for it."""
    bench = make_bench(0)
    for nonce in range(10_001):
        bench.replica.receive(0, ClientRequest(request=make_request(nonce)))
    assert bench.replica.pending_count == 10_000
    assert not bench.replica.has_room(1)


def test_every_configuration_relation_is_checked() -> None:
    """D24, M1: a configuration that contradicts itself names the relation."""
    for changes, name in [({"stride": 17}, "stride"), ({"window": 0}, "window"), ({"base_timer_ms": 50}, "base_timer")]:
        with pytest.raises(ValueError, match=name):
            make_configuration(4, **changes).validate()
    with pytest.raises(ValueError, match="member_count"):
        make_configuration(3).validate()
