"""Snapshots for who is far behind: what begins one, whom it believes, and what the jump keeps.

One test per rule, quoting its source: D- and M-numbers of pbft/README.md.
"""

from dataclasses import replace

from simulation.bench import Bench, make_bench, make_request, make_vote
from simulation.bench_messages import T_TICKS, certificate, commit, header, pre_prepare, status, view_change

from ledger.block import Header
from pbft.core.actions import BeginSnapshot, InstallSnapshot, OfferSnapshot, SendSnapshotChunk, StageChunk
from pbft.core.config import FETCH_TICKS, FETCHES_ANSWERED_MAX, OFFER_TICKS, SNAPSHOT_LAG_HEIGHTS, UNVOUCHED_TICKS
from pbft.core.messages import (
    CertificateNotice,
    ClientRequest,
    Commit,
    FetchBlocks,
    FetchSnapshot,
    FetchSnapshotChunk,
    Prepare,
    SnapshotChunk,
    SnapshotInstalled,
    SnapshotOffer,
    SnapshotStaged,
    ViewChange,
)
from pbft.core.persisted import CERTIFIED_KEY, LedgerHead, prepared_key

FAR = SNAPSHOT_LAG_HEIGHTS + 100


def header_at(height: int, *, state_root: bytes = bytes(32)) -> Header:
    """A header of the bench's network."""
    return replace(header(bytes(32), state_root=state_root), height=height)


def offer_of(of: Header) -> SnapshotOffer:
    """An offer as a correct source makes it."""
    return SnapshotOffer(header=of.to_bytes(), certificate=certificate(of.height, of.hash))


def lag(bench: Bench, height: int = FAR) -> Header:
    """A certificate far above shows that blocks exist; the header that it certifies."""
    far = header_at(height)
    bench.receive(1, CertificateNotice(certificate=certificate(height, far.hash)))
    bench.tick()
    return far


def choose(bench: Bench, of: Header, sources: tuple[int, ...] = (0, 1, 2)) -> None:
    """Offers come, and one is chosen."""
    for source in sources:
        bench.receive(source, offer_of(of))
    bench.tick(OFFER_TICKS)
    assert bench.snapshots == [BeginSnapshot(header=of.to_bytes(), certificate=certificate(of.height, of.hash))]
    bench.snapshots.clear()


def stage(bench: Bench, height: int, position: bytes | None, code: str = "") -> None:
    """The ledger's word."""
    bench.receive(bench.replica_id, SnapshotStaged(height=height, code=code, detail="", position=position))


def asked_of(bench: Bench) -> list[int | None]:
    """Whom chunks were asked of, in order."""
    return [to for to, _ in bench.linked(FetchSnapshotChunk)]


def finish(bench: Bench, height: int, **changes: object) -> None:
    """The last chunk is taken, and the ledger switches."""
    stage(bench, height, None)
    assert bench.snapshots[-1] == InstallSnapshot(height=height)
    fields: dict[str, object] = {"height": height, "next_due_ms": None, "finished": (), "used": ()}
    bench.receive(bench.replica_id, SnapshotInstalled(**(fields | changes)))  # type: ignore[arg-type]


def test_m46_a_claim_begins_nothing_and_a_certificate_does() -> None:
    """M46: a STATUS far ahead moves nothing; one certificate far above e asks everybody for offers, and no blocks."""
    bench = make_bench(3)
    bench.receive(1, status(bench, executed_height=FAR, certified_height=FAR))
    bench.tick(40)
    assert not bench.linked(FetchSnapshot) and not bench.linked(FetchBlocks)
    lag(bench)
    assert bench.linked(FetchSnapshot) == [(None, FetchSnapshot(above_height=0))]
    assert not bench.linked(FetchBlocks)


def test_m46_w_equal_votes_are_evidence_and_one_is_none() -> None:
    """M46: W distinct replicas' votes for one header show that it exists; one vote shows nothing."""
    bench = make_bench(3)
    bench.replica.state.snapshot_lag = 16
    bench.say(1, make_vote(40))
    bench.tick(20)
    assert not bench.linked(FetchSnapshot)
    bench.say(2, make_vote(40))
    bench.tick()
    assert bench.linked(FetchSnapshot)


def test_d15_near_laggards_take_blocks() -> None:
    """D15: a lag up to the threshold is made up by blocks, which keep the whole history."""
    bench = make_bench(3)
    lag(bench, SNAPSHOT_LAG_HEIGHTS)
    bench.tick(FETCH_TICKS)
    assert bench.linked(FetchBlocks) and not bench.linked(FetchSnapshot)


def test_d15_blocks_that_nobody_holds_are_passed_by_a_snapshot() -> None:
    """D15, D52: after two fruitless rounds over all others a replica a little behind takes a snapshot too."""
    bench = make_bench(3)
    lag(bench, 20)
    bench.tick(FETCH_TICKS * 200)
    assert len(bench.linked(FetchBlocks)) >= 6
    assert bench.linked(FetchSnapshot)


def test_d15_without_an_offer_blocks_are_tried_too() -> None:
    """No source offers anything: the transfer by blocks is not given up for one that may never begin."""
    bench = make_bench(3)
    lag(bench)
    bench.tick(OFFER_TICKS * 10)
    assert len(bench.linked(FetchSnapshot)) > 3
    assert bench.linked(FetchBlocks)


def test_m46_sources_rotate_by_chunk() -> None:
    """M46: each chunk is asked of the next replica that offered this header; one that offered another is not asked."""
    bench = make_bench(4, replicas=7)
    far = lag(bench)
    bench.receive(5, offer_of(header_at(FAR - 1)))
    choose(bench, far, (0, 1, 2))
    for number in range(6):
        stage(bench, FAR, b"position %d" % number)
        (source,) = asked_of(bench)[-1:]
        assert source is not None
        bench.receive(source, SnapshotChunk(height=FAR, position=b"position %d" % number, chunk=b"chunk"))
        assert bench.snapshots[-1] == StageChunk(height=FAR, position=b"position %d" % number, chunk=b"chunk")
    assert sorted(asked_of(bench)) == [0, 0, 1, 1, 2, 2]  # type: ignore[type-var]


def test_m46_a_liar_is_left_at_its_first_false_chunk() -> None:
    """M46: the chunk is asked again of another; the liar is never asked again, and nothing else is thrown away."""
    bench = make_bench(3)
    choose(bench, lag(bench))
    stage(bench, FAR, b"first")
    liar = asked_of(bench)[-1]
    assert liar is not None
    bench.receive(liar, SnapshotChunk(height=FAR, position=b"first", chunk=b"false"))
    stage(bench, FAR, None, "root")
    assert bench.dropped == ["snapshot_root"]
    assert bench.replica.state.snapshot_liars == {liar}
    for number in range(8):
        source = asked_of(bench)[-1]
        assert source is not None and source != liar
        bench.receive(source, SnapshotChunk(height=FAR, position=b"first" if not number else b"next", chunk=b"true"))
        stage(bench, FAR, b"next")
    assert liar not in asked_of(bench)[1:]


def test_m46_only_the_chunk_that_was_asked_for_is_taken() -> None:
    """Unasked, twice, from another replica, of another height or position: dropped before the ledger sees it."""
    bench = make_bench(3)
    chunk = SnapshotChunk(height=FAR, position=b"first", chunk=b"chunk")
    bench.receive(1, chunk)
    choose(bench, lag(bench))
    bench.receive(1, chunk)
    stage(bench, FAR, b"first")
    source = asked_of(bench)[-1]
    assert source is not None
    bench.receive((source + 1) % 3, chunk)
    bench.receive(source, replace(chunk, height=FAR + 1))
    bench.receive(source, replace(chunk, position=b"second"))
    assert bench.dropped == ["chunk_not_asked"] * 5 and not bench.snapshots
    bench.receive(source, chunk)
    bench.receive(source, chunk)
    assert bench.dropped == ["chunk_not_asked"] * 6 and len(bench.snapshots) == 1


def test_m46_silent_sources_are_passed_over_and_at_last_left() -> None:
    """A question without an answer goes to the next source, after a growing time; in the end offers are asked anew."""
    bench = make_bench(3)
    choose(bench, lag(bench))
    stage(bench, FAR, b"first")
    bench.tick(FETCH_TICKS)
    first, second = asked_of(bench)
    assert first != second
    bench.sent.clear()
    bench.tick(FETCH_TICKS * 32 * 12)
    assert bench.linked(FetchSnapshot)
    assert set(asked_of(bench)) == {0, 1, 2}


def give_up(bench: Bench, height: int) -> None:
    """The snapshot of this height has begun, and its sources send nothing: it is asked of them until it is given up."""
    stage(bench, height, b"first")
    bench.sent.clear()
    while not bench.linked(FetchSnapshot):
        bench.tick()


def test_m46_who_offers_and_sends_nothing_is_chosen_last() -> None:
    """M46: an offer proves no intention. The newest one led to nothing, so the next choice is another's, older as it
    is; once both have failed, the newest is tried again."""
    bench = make_bench(3)
    newest, older = lag(bench), header_at(FAR - 1)
    bench.receive(1, offer_of(older))
    choose(bench, newest, (2,))
    give_up(bench, FAR)
    bench.receive(2, offer_of(newest))
    choose(bench, older, (1,))
    give_up(bench, FAR - 1)
    bench.receive(1, offer_of(older))
    choose(bench, newest, (2,))


def test_m48_blocks_are_not_given_up_for_what_one_source_promises() -> None:
    """M46, M48: a single source may be a liar. Its snapshot has ten seconds' start, however true its chunks are; from
    then on, or once it has sent nothing, blocks are fetched beside it."""
    dripping, silent = make_bench(3), make_bench(3)
    for bench in (dripping, silent):
        choose(bench, lag(bench), (2,))
    while dripping.replica.state.ticks < UNVOUCHED_TICKS:
        assert not dripping.linked(FetchBlocks)
        stage(dripping, FAR, b"next")
        dripping.receive(2, SnapshotChunk(height=FAR, position=b"next", chunk=b"an item"))
        dripping.tick()
    dripping.tick(OFFER_TICKS + FETCH_TICKS)
    assert dripping.linked(FetchBlocks)
    give_up(silent, FAR)
    assert not silent.linked(FetchBlocks)
    choose(silent, header_at(FAR), (2,))
    silent.tick(FETCH_TICKS)
    assert silent.linked(FetchBlocks)


def test_m46_of_w_sources_one_is_correct_and_blocks_wait() -> None:
    """M46: what W replicas offer will come, however long it takes: the blocks that it replaces are not fetched."""
    bench = make_bench(3)
    choose(bench, lag(bench), (1, 2))
    for number in range(2 * UNVOUCHED_TICKS):
        position = b"position %d" % number
        stage(bench, FAR, position)
        source = asked_of(bench)[-1]
        assert source is not None
        bench.receive(source, SnapshotChunk(height=FAR, position=position, chunk=b"chunk"))
        bench.tick()
    assert not bench.linked(FetchBlocks)


def test_m48_blocks_do_not_wait_for_a_correct_source_that_has_let_go() -> None:
    """M46, M48: of W sources the correct one has restarted and sends nothing more, and the liar sends an item at a
    time: never silent for long, and never done. After ten seconds blocks are fetched beside it."""
    bench = make_bench(3)
    choose(bench, lag(bench), (1, 2))
    stage(bench, FAR, b"next")
    while bench.replica.state.ticks < 2 * UNVOUCHED_TICKS:
        if bench.replica.state.snapshot is not None and bench.replica.state.snapshot.source == 2:
            bench.receive(2, SnapshotChunk(height=FAR, position=b"next", chunk=b"an item"))
            stage(bench, FAR, b"next")
        bench.tick()
    assert asked_of(bench).count(1) > UNVOUCHED_TICKS // FETCH_TICKS // 2
    assert bench.linked(FetchBlocks)


def test_m46_an_offer_is_its_certified_header() -> None:
    """An offer unasked, of no header, of a header with another one's certificate, or of another network: dropped."""
    bench = make_bench(3)
    far = header_at(FAR)
    bench.receive(1, offer_of(far))
    lag(bench)
    bench.receive(1, replace(offer_of(far), header=b"no header"))
    bench.receive(1, replace(offer_of(far), header=header_at(FAR, state_root=bytes([7]) * 32).to_bytes()))
    bench.receive(1, offer_of(replace(far, network=bytes([9]) * 32)))
    assert bench.dropped == ["offer_not_asked", "offer_header", "offer_certificate", "offer_certificate"]
    assert not bench.replica.state.snapshot.offers  # type: ignore[union-attr]


def test_d39_installing_keeps_the_view_and_p_and_q_above_it() -> None:
    """D39: what was promised above the snapshot stays; what lies at or below it is certified, and goes (D25)."""
    bench = make_bench(3, window=64)
    bench.replica.state.snapshot_lag = 4
    batches = {}
    for height in (5, 6, 7):
        message = pre_prepare(height, height)
        batches[height] = message.digest
        bench.say(0, message)
        for sender in (1, 2):
            bench.say(sender, Prepare(epoch=0, view=0, height=height, digest=message.digest))
    far = lag(bench, 6)
    choose(bench, far)
    finish(bench, 6)
    state = bench.replica.state
    assert (state.executed_height, state.certified_height, state.view, state.active) == (6, 6, 0, True)
    assert set(state.prepared) == {7} and set(state.pre_prepared) == {7}
    assert prepared_key(7) in bench.journal and prepared_key(6) not in bench.journal
    assert CERTIFIED_KEY in bench.journal
    assert bench.certificates[-1].certificate == certificate(6, far.hash)
    for sender in (0, 1, 2):
        bench.say(sender, Commit(epoch=0, view=0, height=7, digest=batches[7]))
    assert bench.replica.executed_height == 7, "ordinary execution goes on from the snapshot's height"
    bench.tick(3 * T_TICKS)
    (changed,) = {m for m in bench.said(ViewChange) if isinstance(m, ViewChange)} or {None}
    assert changed is None or changed.certified_height == 6


def test_d39_requests_that_the_snapshot_has_used_wait_no_more() -> None:
    """D39, M21: else their client's replica would suspect a primary that rightly never orders them."""
    bench = make_bench(3)
    known, other = make_request(0), make_request(1)
    for request in (known, other):
        bench.receive(3, ClientRequest(request=request))
    choose(bench, lag(bench))
    finish(bench, FAR, finished=(known.tx_id,), used=((known.client, known.nonce),))
    assert set(bench.replica.state.pending) <= {other.tx_id}
    assert known.tx_id not in bench.replica.state.pending


def test_d39_the_switch_waits_for_the_running_block() -> None:
    """M47: one gate: no block executes while the ledger switches, and a running one is waited for."""
    bench = make_bench(3)
    bench.executes = False
    message = pre_prepare(1, 0)
    bench.say(0, message)
    for sender in (0, 1, 2):
        bench.say(sender, commit(message))
    assert bench.replica.state.executing == 1
    choose(bench, lag(bench))
    stage(bench, FAR, None)
    assert not bench.snapshots
    (running,) = bench.asked
    bench.execute(running)
    bench.tick()
    assert bench.snapshots == [InstallSnapshot(height=FAR)]
    assert bench.replica.state.executing == FAR


def test_d39_blocks_that_were_faster_end_the_transfer() -> None:
    """A snapshot at or below e is of no use: it is let go, and never installed."""
    bench = make_bench(3)
    bench.replica.state.snapshot_lag = 0
    bench.executes = False
    first = lag(bench, 1)
    choose(bench, first)
    stage(bench, 1, b"first")
    bench.commit(1, make_request(0))
    (running,) = bench.asked
    bench.execute(running, first.hash)
    bench.tick()
    assert bench.replica.state.snapshot is None
    assert not bench.snapshots


def test_d39_a_snapshot_that_comes_whole_too_late_is_never_installed() -> None:
    """D39, M47: its last chunk is judged between two ticks, the block of its height was executed; e never goes back."""
    bench = make_bench(3)
    bench.replica.state.snapshot_lag = 0
    bench.executes = False
    first = lag(bench, 1)
    choose(bench, first)
    bench.commit(1, make_request(0))
    (running,) = bench.asked
    bench.execute(running, first.hash)
    stage(bench, 1, None)
    assert bench.replica.state.snapshot is None
    assert not bench.snapshots
    assert bench.replica.state.executing is None and bench.replica.executed_height == 1


def test_m48_view_changes_go_on_during_a_transfer() -> None:
    """M48: with a snapshot on its way it leaves a view with the others, and votes with its own P and Q."""
    bench = make_bench(3)
    message = pre_prepare(1, 0)
    bench.say(0, message)
    for sender in (1, 2):
        bench.say(sender, Prepare(epoch=0, view=0, height=1, digest=message.digest))
    choose(bench, lag(bench))
    stage(bench, FAR, b"first")
    for sender in (1, 2):
        bench.say(sender, view_change(1))
    (sent,) = bench.said(ViewChange)
    assert isinstance(sent, ViewChange)
    assert [entry.height for entry in sent.prepared] == [1] and [entry.height for entry in sent.pre_prepared] == [1]
    finish(bench, FAR)
    assert (bench.replica.view, bench.replica.executed_height) == (1, FAR), "the jump keeps the view"


def test_d35_a_restart_after_the_switch_moves_h_by_the_ledgers_certificate() -> None:
    """D25, D35: the crash came between the ledger's switch and the journal's record: h follows at the start."""
    bench = make_bench(3)
    far = header_at(FAR)
    head = LedgerHead(
        height=FAR, header_hashes={FAR: far.hash}, next_due_ms=None, certificate=certificate(FAR, far.hash)
    )
    bench.ledger_head = lambda: head  # type: ignore[method-assign]
    bench.start()
    assert (bench.replica.executed_height, bench.replica.certified_height) == (FAR, FAR)
    assert CERTIFIED_KEY in bench.journal


def test_d15_a_source_answers_with_measure() -> None:
    """M50, M55: offers for who is below, chunks a few at a time; who is level gets nothing."""
    bench = make_bench(3)
    bench.commit(1, make_request(0))
    bench.receive(1, FetchSnapshot(above_height=1))
    assert not bench.snapshots
    bench.receive(1, FetchSnapshot(above_height=0))
    for _ in range(9):
        bench.receive(1, FetchSnapshotChunk(height=1, position=b"first"))
    assert bench.snapshots[0] == OfferSnapshot(replica=1, above_height=0)
    assert bench.snapshots[1:] == [SendSnapshotChunk(replica=1, height=1, position=b"first")] * (
        FETCHES_ANSWERED_MAX - 1
    )
