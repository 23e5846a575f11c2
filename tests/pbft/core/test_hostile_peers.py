"""Peers and clients that do what no correct one does, against one pure replica driven by hand (`simulation.bench`).

What a liar sends may cost a message or a moment; it must not cost a good primary its view, nor this replica its memory,
its way forward, or its word.
"""

from collections.abc import Iterator

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
from simulation.bench_messages import enter_view

from ledger.block import Header
from ledger.hashing import NULL_DIGEST
from ledger.quorum_certificate import QuorumCertificate
from pbft.core import ordering
from pbft.core.config import (
    EARLY_BYTES_MAX,
    FETCHED_BLOCKS_MAX,
    FETCHES_ANSWERED_MAX,
    IDLE_VOTE_TICKS,
    PENDING_BYTES_MAX,
    PENDING_REQUESTS_MAX,
    SILENT_TICKS_MAX,
)
from pbft.core.messages import (
    Batch,
    Batches,
    BlockBody,
    Blocks,
    CertificateNotice,
    Commit,
    Envelope,
    FetchBatches,
    FetchBlocks,
    Forward,
    NewView,
    Prepare,
    PrePrepare,
    Relay,
    Request,
    SlotChoice,
    SlotEntry,
    Status,
    ViewChange,
)

T_TICKS = 30  # 1500 ms in ticks of 50 ms


def propose(bench: Bench, height: int, *requests: Request, view: int = 0) -> PrePrepare:
    """A proposal at the time of the bench's clock."""
    batch = make_batch(*requests, time_ms=bench.wall_ms)
    return PrePrepare(epoch=0, view=view, height=height, digest=batch.digest, batch=batch)


def make_certificate(height: int, header_hash: bytes | None = None) -> QuorumCertificate:
    """A certificate; signatures are the edge's business."""
    signatures = tuple((replica, bytes(64)) for replica in range(3))
    return QuorumCertificate(
        epoch=0, height=height, header_hash=header_hash or make_header_hash(height), signatures=signatures
    )


def make_header(height: int, parent_hash: bytes = GENESIS_HASH) -> Header:
    """The header of a null block."""
    return Header(
        network=bytes(32),
        epoch=0,
        height=height,
        parent_hash=parent_hash,
        batch_digest=NULL_DIGEST,
        time_ms=WALL_MS,
        transactions_root=bytes(32),
        receipts_root=bytes(32),
        state_root=bytes(32),
        gas_used=0,
        next_config_hash=bytes(32),
    )


# --- clients and relays ---


def test_the_loser_of_a_nonce_deposes_nobody() -> None:
    """D43, D45: two transactions of one nonce are handed to different replicas; when one has executed the other waits
    no more: the primary, which knows that the nonce is used, rightly never orders it."""
    bench = make_bench(1)
    winner, loser = make_request(0, gas_limit=10_000), make_request(0, gas_limit=20_000)
    bench.hand_in(loser)
    bench.commit(1, winner)
    assert bench.replica.pending_count == 0
    bench.tick(3 * T_TICKS)
    assert not list(bench.said(ViewChange))


def test_a_refused_transaction_leaves_its_nonce_to_the_other() -> None:
    """D45: a block that refused a transaction used no nonce: another one of that nonce still waits."""
    bench = make_bench(1)
    refused, other = make_request(0, gas_limit=10_000), make_request(0, gas_limit=20_000)
    bench.refused.add(refused.tx_id)
    bench.hand_in(other)
    bench.commit(1, refused)
    assert list(bench.replica.state.pending) == [other.tx_id]


@pytest.mark.parametrize(
    "request_", [make_request(0, gas_limit=1_000_001), make_request(0, expiry_height=0)], ids=["gas", "expired"]
)
def test_what_no_batch_can_hold_is_neither_queued_nor_timed(request_: Request) -> None:
    """M6: a network may allow less gas than the format: no primary proposes more, no backup waits for it, whoever
    brings it."""
    primary, backup = (make_bench(replica, transaction_gas_max=1_000_000) for replica in (0, 1))
    for bench in (primary, backup):
        bench.hand_in(request_)
        bench.receive(3, Relay(requests=(request_,)))
        bench.tick(3 * T_TICKS)
        assert bench.replica.pending_count == 0
        assert len(bench.dropped) == 2
    assert not list(primary.said(PrePrepare))
    assert not list(backup.said(ViewChange))


def test_a_relay_shuts_no_door() -> None:
    """M55: one replica that relays the requests of invented clients fills its own share and nobody else's; executed
    requests give the share back."""
    bench = make_bench(1)
    junk = [make_request(nonce, client=9) for nonce in range(PENDING_REQUESTS_MAX)]
    for start in range(0, len(junk), 64):
        bench.replica.receive(3, Relay(requests=tuple(junk[start : start + 64])))
    share = PENDING_REQUESTS_MAX // 6
    assert bench.replica.pending_count == share
    bench.hand_in(make_request(0))
    bench.receive(2, Relay(requests=(make_request(1),)))
    assert bench.replica.pending_count == share + 2
    bench.commit(1, *junk[:10])
    bench.receive(3, Relay(requests=tuple(junk[share : share + 20])))
    assert bench.replica.pending_count == share + 2


def test_a_primary_that_executes_late_keeps_room_for_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """M56: what is ordered and not executed here takes half of the places at most; one execution frees the next."""
    monkeypatch.setattr(ordering, "ORDERED_REQUESTS_MAX", 3)
    bench = make_bench(0, batch_requests_max=1)
    requests = [make_request(nonce) for nonce in range(6)]
    bench.hand_in(*requests)
    assert [message.height for message in bench.said(PrePrepare)] == [1, 2, 3]
    bench.commit(1, requests[0])
    assert [message.height for message in bench.said(PrePrepare)] == [1, 2, 3, 4]
    assert bench.replica.pending_count == 5


def test_the_share_of_a_relay_counts_bytes() -> None:
    """M55: a few large requests fill a share like many small ones."""
    bench = make_bench(1)
    size = PENDING_BYTES_MAX // 60
    for nonce in range(20):
        small = make_request(nonce, client=9)
        large = Request(
            client=small.client,
            nonce=nonce,
            tx_id=small.tx_id,
            expiry_height=small.expiry_height,
            gas_limit=small.gas_limit,
            raw=small.raw.ljust(size, b"."),
        )
        bench.receive(3, Relay(requests=(large,)))
    assert bench.replica.pending_count == 10


def test_a_request_that_found_no_room_is_relayed_again() -> None:
    """D56, M56: who had no room at T/2 gets the request again before anybody may suspect the primary for it."""
    bench = make_bench(1)
    bench.hand_in(make_request(0), make_request(1))
    bench.tick(T_TICKS // 2)
    bench.commit(1, make_request(0))
    bench.sent.clear()
    bench.tick(T_TICKS // 2)
    assert [(to, relay.requests) for to, relay in bench.linked(Relay) if isinstance(relay, Relay)] == [
        (None, (make_request(1),))
    ]


# --- what is fetched ---


def enter_with_choice(bench: Bench, batch: Batch) -> None:
    """View 1 re-proposes, at height 1, a batch that this replica has never seen."""
    entry = SlotEntry(height=1, digest=batch.digest, view=0)
    change = ViewChange(
        epoch=0,
        view=1,
        certified_height=0,
        header_hash=GENESIS_HASH,
        certificate=None,
        prepared=(entry,),
        pre_prepared=(entry,),
    )
    changes = tuple(make_envelope(sender, change) for sender in (0, 1, 3))
    choices = (SlotChoice(height=1, digest=batch.digest),)
    bench.say(1, NewView(epoch=0, view=1, view_changes=changes, choices=choices))


def make_status(bench: Bench, executed_height: int = 0, overdue_ms: int = 0) -> Status:
    """What a peer claims to have executed, and to wait for."""
    return Status(
        epoch=0,
        view=bench.replica.view,
        active=True,
        certified_height=0,
        executed_height=executed_height,
        pre_prepared=(),
        prepared=(),
        committed=(),
        view_changes=(),
        overdue_ms=overdue_ms,
    )


def test_who_boasts_of_executed_heights_is_not_the_only_source_of_bodies() -> None:
    """M16, M46: whoever pre-prepared a batch holds it, however little it has executed: one that claims to be far
    ahead must not be asked for ever, or the slots of a new view never become complete."""
    bench = make_bench(2)
    enter_with_choice(bench, make_batch(make_request(0)))
    bench.receive(3, make_status(bench, 1_000_000))
    bench.tick(20)
    assert {to for to, _ in bench.linked(FetchBatches)} == {0, 1, 3}


def test_every_source_of_blocks_is_asked_while_bodies_are_missing_too() -> None:
    """M46: two fetches that take turns on one rotation would ask the same source for blocks every time."""
    bench = make_bench(2)
    for peer in (0, 3):
        bench.receive(peer, make_status(bench, 5))
    bench.receive(0, CertificateNotice(certificate=make_certificate(5)))
    enter_with_choice(bench, make_batch(make_request(0)))
    bench.tick(60)
    assert bench.linked(FetchBatches)
    assert {to for to, _ in bench.linked(FetchBlocks)} == {0, 3}


def test_a_slow_source_is_waited_for() -> None:
    """M46: each fruitless round is waited for twice as long: blocks arrive over slow links too."""
    bench = make_bench(2)
    bench.receive(0, CertificateNotice(certificate=make_certificate(1, make_header(1).hash)))
    round_trip_ticks = 20
    for _ in range(400):
        bench.tick()
        for tick, to in list(asked_at(bench)):
            if tick + round_trip_ticks == bench.replica.state.ticks:
                block = BlockBody(header=make_header(1).to_bytes(), batch=None)
                bench.receive(to, Blocks(first_height=1, blocks=(block,), certificate=None))
        if bench.asked:
            break
    assert [action.height for action in bench.asked] == [1]
    assert bench.replica.state.fetch_failures == 0


def asked_at(bench: Bench) -> Iterator[tuple[int, int]]:
    """The fetch of blocks that is under way: when it was sent, and to whom."""
    state = bench.replica.state
    if state.fetch_source is not None:
        yield state.fetch_tick, state.fetch_source


def test_a_source_cannot_push_the_whole_chain() -> None:
    """M55: blocks that are believed wait for execution in a bounded number; more are asked for when there is room."""
    bench = make_bench(2)
    bench.executes = False
    headers = [make_header(1)]
    while len(headers) < 400:
        headers.append(make_header(len(headers) + 1, parent_hash=headers[-1].hash))
    bench.receive(0, CertificateNotice(certificate=make_certificate(400, headers[-1].hash)))
    bench.tick(5)
    for start in range(0, 400, 50):
        source = bench.replica.state.fetch_source
        if source is None:
            break  # what does not continue the path convicts whoever pushes it
        part = headers[start : start + 50]
        blocks = tuple(BlockBody(header=header.to_bytes(), batch=None) for header in part)
        certificate = make_certificate(start + 50, part[-1].hash)
        bench.receive(source, Blocks(first_height=start + 1, blocks=blocks, certificate=certificate))
        assert len(bench.replica.state.adopted) + len(bench.replica.state.fetched) <= FETCHED_BLOCKS_MAX
    assert len(bench.replica.state.adopted) == 100
    assert bench.halted is None


def test_answers_to_fetches_are_bounded() -> None:
    """M50, M55: a question of a few bytes costs megabytes: it is answered a few times in 100 ms, each body once."""
    bench = make_bench(1)
    batch = bench.commit(1, make_request(0))
    for _ in range(100):
        bench.receive(3, FetchBlocks(first_height=1))
        bench.receive(2, FetchBatches(digests=(batch.digest,) * 64))
    assert len(bench.served) == FETCHES_ANSWERED_MAX
    assert [len(m.batches) for _, m in bench.linked(Batches) if isinstance(m, Batches)] == [1] * FETCHES_ANSWERED_MAX
    bench.tick(2)
    bench.receive(3, FetchBlocks(first_height=1))
    assert len(bench.served) == FETCHES_ANSWERED_MAX + 1


def test_bodies_beyond_one_answer_are_asked_for_at_once() -> None:
    """M16: an answer holds two full batches; the asker goes on from there with the same source."""
    bench = make_bench(1)
    large = Request(
        client=bytes([1]) * 32, nonce=0, tx_id=bytes(32), expiry_height=1_000, gas_limit=1, raw=bytes(900_000)
    )
    digests = []
    for height in (1, 2, 3):
        batch = make_batch(large, time_ms=bench.wall_ms + height)
        digests.append(batch.digest)
        bench.say(0, PrePrepare(epoch=0, view=0, height=height, digest=batch.digest, batch=batch))
    bench.receive(2, FetchBatches(digests=tuple(digests)))
    ((_, answer),) = bench.linked(Batches)
    assert isinstance(answer, Batches) and len(answer.batches) == 2
    asker = make_bench(2)
    asker.replica.state.missing_bodies |= set(digests)
    asker.receive(1, answer)
    assert asker.linked(FetchBatches) == [(1, FetchBatches(digests=(digests[2],)))]


def test_a_body_that_comes_by_another_way_completes_its_slot() -> None:
    """M16: the batch that a new view re-proposes arrives in another slot's proposal: the slot that waits takes it."""
    bench = make_bench(2)
    batch = make_batch(make_request(0), time_ms=bench.wall_ms)
    enter_with_choice(bench, batch)
    assert not list(bench.said(Prepare))
    bench.say(1, PrePrepare(epoch=0, view=1, height=2, digest=batch.digest, batch=batch))
    bench.tick()
    assert sorted(message.height for message in bench.said(Prepare)) == [1, 2]
    bench.tick(10)
    assert not bench.replica.state.missing_bodies


def test_a_decided_digest_is_not_given_up_for_the_one_proposed_here() -> None:
    """M17, D28: an equivocating primary showed this replica another batch than the one the others committed: the body
    of the committed one is fetched, kept and executed, and the other one gets no PREPARE."""
    bench = make_bench(2)
    here, there = propose(bench, 2, make_request(0)), propose(bench, 2, make_request(1))
    bench.wall_ms += 60_000  # the vote on `here` waits for the clock
    bench.tick()
    bench.say(0, here)
    for sender in (0, 1, 3):
        bench.say(sender, Commit(epoch=0, view=0, height=2, digest=there.digest))
    bench.receive(1, Batches(batches=(there.batch,)))
    bench.say(1, Prepare(epoch=0, view=0, height=2, digest=here.digest))
    bench.tick(10)
    assert bench.replica.state.missing_bodies == set()
    bench.commit(1, make_request(7))
    assert [action.batch for action in bench.asked][1:] == [there.batch]
    assert [message.height for message in bench.said(Prepare)] == [1]


# --- messages for later, and time ---


def test_early_proposals_are_bounded_in_bytes() -> None:
    """M13, M55: a proposal carries its batch: what is kept of one sender for a view to come is bounded in bytes."""
    bench = make_bench(2)
    request = make_request(0)
    for height in range(1, 40):
        batch = make_batch(request, time_ms=bench.wall_ms + height)
        message = PrePrepare(epoch=0, view=1, height=height, digest=batch.digest, batch=batch)
        envelope = Envelope(sender=1, messages=(message,), raw=bytes(1_000_000), signature=bytes([height]) * 64)
        bench.receive(1, envelope)
    notes = bench.replica.state.peers[1]
    assert len(notes.early) == EARLY_BYTES_MAX // 1_000_000
    assert notes.early[-1].messages[0] == message
    notes.take_early()
    assert notes.early_bytes == 0


def test_only_the_primary_of_a_later_view_proposes_early() -> None:
    """M8, M36: a proposal for a later view from anybody else can never count and is not kept."""
    bench = make_bench(2)
    bench.say(3, propose(bench, 1, make_request(0), view=1))
    assert bench.dropped == ["not_the_primary"]
    assert not bench.replica.state.peers


def test_d63_blocks_of_stale_time_do_not_stop_the_due_timer() -> None:
    """D63, scenario 49: a primary that goes on ordering requests under a time before the due one has not run the call;
    the backup's timer runs on, load or not."""
    bench = make_bench(1)
    bench.next_due_ms = bench.wall_ms + 1_000
    bench.commit(1, make_request(0))
    bench.time_ms = bench.wall_ms
    bench.tick((1_000 + 2_000) // 50)
    for sender in (2, 3):
        bench.receive(sender, make_status(bench, overdue_ms=bench.next_due_ms))
    for height in range(2, 2 + T_TICKS // 5 + 1):
        bench.commit(height, make_request(height), time_ms=bench.time_ms)
        bench.tick(5)
    assert not bench.replica.is_active


def test_d63_a_block_that_ran_due_calls_gives_the_rest_its_own_time() -> None:
    """D63, D65: calls beyond the gas of one block run in the next: the timer starts anew each time."""
    bench = make_bench(1)
    bench.next_due_ms = bench.wall_ms + 1_000
    bench.commit(1, make_request(0))
    bench.tick((1_000 + 2_000) // 50)
    for height in range(2, 2 + T_TICKS // 5 + 1):
        for sender in (2, 3):
            bench.receive(sender, make_status(bench, overdue_ms=bench.next_due_ms))
        bench.time_ms = bench.wall_ms
        bench.commit(height, make_request(height))
        bench.tick(5)
    assert bench.replica.is_active


def test_slots_executed_before_a_restart_do_not_keep_the_view_timer_running() -> None:
    """D36, D57: COMMITs of executed slots are not sent again: nobody is suspected for lacking them."""
    bench = make_bench(2)
    batch = make_batch(make_request(0), time_ms=bench.wall_ms)
    bench.receive(1, make_envelope(1, propose(bench, 1, make_request(0))))
    bench.say(0, PrePrepare(epoch=0, view=0, height=1, digest=batch.digest, batch=batch))
    enter_with_choice(bench, batch)
    for sender in (0, 1, 3):
        bench.say(sender, Prepare(epoch=0, view=1, height=1, digest=batch.digest))
        bench.say(sender, Commit(epoch=0, view=1, height=1, digest=batch.digest))
    assert bench.replica.executed_height == 1
    bench.start()
    bench.tick(3 * T_TICKS)
    assert (bench.replica.view, bench.replica.is_active) == (1, True)


# --- the own key in other hands ---


def test_votes_of_the_own_key_that_the_journal_does_not_know_halt() -> None:
    """M28, D38: each kind of message that this replica never sent, shown to it under its own signature, stops it."""
    foreign = make_batch(make_request(9))
    for message in (
        Prepare(epoch=0, view=0, height=1, digest=foreign.digest),
        Commit(epoch=0, view=0, height=1, digest=foreign.digest),
        Prepare(epoch=0, view=3, height=1, digest=foreign.digest),
        make_vote(1, bytes(32)),
        ViewChange(
            epoch=0,
            view=2,
            certified_height=0,
            header_hash=GENESIS_HASH,
            certificate=None,
            prepared=(),
            pre_prepared=(),
        ),
    ):
        bench = make_bench(1)
        bench.commit(1, make_request(0))
        bench.receive(3, Forward(envelopes=(make_envelope(1, message),)))
        assert bench.halted is not None and "another process signs" in bench.halted, message


def test_a_view_change_of_the_own_key_inside_a_new_view_halts() -> None:
    """M28, D38: the other process spoke to the new primary alone; its word comes back among those of V."""
    for sender, halts in ((2, False), (1, True)):
        bench = Bench(configuration=make_configuration(), replica_id=1, asks=True)
        bench.tick(SILENT_TICKS_MAX)
        word = ViewChange(
            epoch=0,
            view=2,
            certified_height=0,
            header_hash=GENESIS_HASH,
            certificate=None,
            prepared=(),
            pre_prepared=(),
        )
        changes = tuple(make_envelope(member, word) for member in (0, sender, 3))
        bench.say(2, NewView(epoch=0, view=2, view_changes=changes, choices=()))
        assert (bench.halted is not None) == halts
        assert (bench.replica.view == 2) == (not halts)


def test_a_vote_of_the_own_key_inside_a_certificate_halts_wherever_it_comes_from() -> None:
    """M28, D34, D38: a header vote that the journal does not know is in a certificate, by which it is proved. An own
    vote that is recorded is nothing new."""
    for carrier in (
        CertificateNotice(certificate=make_certificate(3)),
        make_envelope(
            3,
            ViewChange(
                epoch=0,
                view=1,
                certified_height=3,
                header_hash=make_header_hash(3),
                certificate=make_certificate(3),
                prepared=(),
                pre_prepared=(),
            ),
        ),
    ):
        bench = Bench(configuration=make_configuration(), replica_id=1, asks=True)
        bench.tick(SILENT_TICKS_MAX)
        bench.commit(1, make_request(0))
        bench.tick(IDLE_VOTE_TICKS)
        bench.receive(3, CertificateNotice(certificate=make_certificate(1)))
        assert (bench.halted, bench.replica.certified_height) == (None, 1)
        bench.receive(3, carrier)
        assert bench.halted is not None and "certificate of height 3" in bench.halted, carrier


def test_what_is_signed_with_the_own_key_is_always_looked_at() -> None:
    """M28, M55: a proposal of a view that was left is of no use, and nothing in it is checked; one of the own key is a
    sign of a second process."""
    bench = make_bench(1)
    enter_view(bench, 2)
    for sender, is_wanted in ((0, False), (1, True)):
        forward = Forward(envelopes=(make_envelope(sender, propose(bench, 1, make_request(0), view=sender)),))
        assert (bench.replica.compute_wanted(3, forward) is not None) == is_wanted
    bench.receive(3, forward)
    assert bench.halted is not None


def test_the_own_word_repeated_by_others_halts_nobody() -> None:
    """D38: what this replica really sent comes back late, after votes of later views, after a restart and after h has
    moved: nothing happens. Only signed bytes count, and these are its own."""
    bench = make_bench(2)
    batch = bench.commit(1, make_request(0))
    bench.tick(IDLE_VOTE_TICKS)
    enter_with_choice(bench, batch)
    for sender in (0, 1, 3):
        bench.say(sender, Prepare(epoch=0, view=1, height=1, digest=batch.digest))
    bench.tick()
    for _ in range(3):
        own = [m for _, m in bench.sent if isinstance(m, Envelope) and m.sender == 2]
        assert len(own) >= 5
        bench.receive(3, Forward(envelopes=tuple(own)))
        assert bench.halted is None
        bench.start()
        bench.certify(1)
    assert bench.replica.certified_height == 1


def test_a_proposal_that_is_never_decided_is_timed_like_its_requests() -> None:
    """M21, M51: nobody asked here, but a proposal accepted and not committed in T is a waiting request."""
    bench = make_bench(2)
    bench.say(0, propose(bench, 1, make_request(0)))
    assert bench.replica.pending_count == 0
    bench.tick(T_TICKS - 1)
    assert bench.replica.is_active
    bench.tick()
    assert [message.view for message in bench.said(ViewChange)] == [1]


def test_a_proposal_that_is_decided_is_no_reason_to_suspect() -> None:
    """D58: what is committed and not executed waits for this replica's own worker, not for the primary."""
    bench = make_bench(2)
    bench.executes = False
    bench.commit(1, make_request(0))
    bench.commit(2, make_request(1))
    bench.tick(20 * T_TICKS)
    assert bench.replica.is_active


def test_relays_to_all_are_bounded_in_bytes_and_repeat_only_what_was_handed_in_here() -> None:
    """D56, M55: large requests leave a few a tick, oldest first; what another replica relayed is passed on once."""
    bench = make_bench(1)
    requests = [
        Request(
            client=bytes([1]) * 32, nonce=n, tx_id=bytes([n]) * 32, expiry_height=99, gas_limit=1, raw=bytes(131_072)
        )
        for n in range(8)
    ]
    bench.receive(3, Relay(requests=tuple(requests)))
    bench.tick(T_TICKS // 2)
    first = [len(m.requests) for to, m in bench.linked(Relay) if to is None and isinstance(m, Relay)]
    assert first == [4]
    bench.tick()
    bench.hand_in(make_request(0))
    bench.sent.clear()
    bench.replica.state.doublings = 3  # nobody is suspected meanwhile
    half_ticks = 8 * T_TICKS // 2
    bench.tick(half_ticks - 1)
    assert not bench.linked(Relay)
    bench.tick()
    assert bench.linked(Relay) == [(None, Relay(requests=(make_request(0),)))]
