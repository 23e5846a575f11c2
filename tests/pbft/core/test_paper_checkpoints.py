"""Header votes, certificates, watermarks and catch-up by the paper (section 4.3).

One test per rule, quoting its source: sections of Castro and Liskov (OSDI 1999), D- and M-numbers of pbft/README.md.
"""

import hashlib

from simulation.bench import (
    Bench,
    make_batch,
    make_bench,
    make_header_hash,
    make_request,
    make_vote,
)
from simulation.bench_messages import certificate, header, pre_prepare, prepare, status

from ledger.quorum_certificate import vote_bytes
from pbft.core.config import IDLE_VOTE_TICKS, RESEND_TICKS
from pbft.core.messages import (
    BlockBody,
    Blocks,
    CertificateNotice,
    Commit,
    FetchBlocks,
    Forward,
    HeaderVote,
    PrePrepare,
)


def test_d24_which_heights_are_voted_on() -> None:
    """D24: multiples of s always; the head once it stands still; and a height that a peer names: in a vote at once, in
    STATUS when it stands still there."""
    bench = make_bench(1)
    for height in range(1, 10):
        bench.say(0, pre_prepare(height, height, time_ms=bench.wall_ms))
    for height in range(1, 10):
        bench.commit(height, make_request(height), time_ms=bench.wall_ms)
    assert [message.height for message in bench.said(HeaderVote)] == [8]
    bench.tick(IDLE_VOTE_TICKS - 1)
    assert [message.height for message in bench.said(HeaderVote)] == [8]
    bench.tick()
    assert [message.height for message in bench.said(HeaderVote)] == [8, 9]
    bench.receive(2, status(bench, executed_height=5))
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


def test_m45_a_halted_replica_stays_halted() -> None:
    """M45: "halt voting & serving, preserve state, alarm": the record is journaled in the round that halts; a restart
    remembers it, with its kind, the height and both hashes; what the round was about to say it says no more."""
    bench = make_bench(1)
    bench.executes = False
    bench.commit(1, make_request(0))
    for sender in (0, 2):
        bench.say(sender, make_vote(1, bytes(32)))
    bench.sent.clear()
    bench.execute(bench.asked[0])
    bench.turn()
    halt = bench.replica.halt
    assert halt is not None
    assert (halt.kind, halt.height, halt.own, halt.other) == ("diverged", 1, make_header_hash(1), bytes(32))
    bench.start()
    assert bench.replica.halt == halt
    bench.commit(2, make_request(1))
    bench.tick(100)
    assert not bench.sent


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


def test_d28_w_equal_votes_are_enough_to_adopt_blocks() -> None:
    """D28, M46: one vote above e fetches nothing; W equal ones do, and the block under them is executed."""
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
    assert bench.halted is not None and "adopted as true" in bench.halted


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


def test_m50_status_is_answered_with_what_is_missing() -> None:
    """M50: the sender of a STATUS gets the proposal, PREPARE and COMMIT that it lacks, and nothing that it has."""
    bench = make_bench(0)
    bench.hand_in(make_request(0))
    (proposal,) = bench.said(PrePrepare)
    for sender in (1, 2):
        bench.say(sender, prepare(proposal))
    bench.tick(RESEND_TICKS)
    bench.sent.clear()
    bench.receive(3, status(bench))
    ((receiver, forward),) = bench.linked(Forward)
    assert receiver == 3 and isinstance(forward, Forward)
    assert [type(e.messages[0]) for e in forward.envelopes] == [PrePrepare, Commit]
    bench.sent.clear()
    bench.receive(1, status(bench, pre_prepared=(1,), prepared=(1,), committed=(1,)))
    assert not bench.linked(Forward)


def test_m50_a_proposal_that_is_on_its_way_is_not_sent_again() -> None:
    """M50: the largest of all messages, and under load it takes longer than a STATUS: it goes again RESEND_TICKS after
    it went, to each who lacks it; votes, which are small, go with every answer."""
    bench = make_bench(0)
    bench.hand_in(make_request(0))
    (proposal,) = bench.said(PrePrepare)
    for sender in (1, 2):
        bench.say(sender, prepare(proposal))
    answers: dict[int, list[list[type]]] = {2: [], 3: []}
    for tick in range(2, 2 * RESEND_TICKS + 1, 2):
        bench.tick(2)
        for receiver in (2, 3) if tick > RESEND_TICKS else (3,):
            bench.sent.clear()
            bench.receive(receiver, status(bench))
            ((_, forward),) = bench.linked(Forward)
            assert isinstance(forward, Forward)
            answers[receiver].append([type(e.messages[0]) for e in forward.envelopes])
    once = [PrePrepare, Commit]
    assert answers == {2: [once] + [[Commit]] * 3, 3: [*[[Commit]] * 3, once, *[[Commit]] * 3, once]}


def test_d5_a_certificate_is_q_signatures_over_one_header() -> None:
    """D5: header votes sign (network, epoch, height, header hash), and Q of them, the own one included, are the
    certificate that the ledger keeps; a vote for another header is not among them.
    """
    bench = make_bench(1)
    bench.commit(1, make_request(0))
    bench.tick(IDLE_VOTE_TICKS)
    (own,) = bench.said(HeaderVote)
    configuration = bench.configuration
    signed = vote_bytes(configuration.network, configuration.epoch, 1, make_header_hash(1))
    assert own.signature == hashlib.sha512(signed).digest(), "the bench's signer"
    bench.say(0, make_vote(1, bytes(32)))
    for sender in (2, 3):
        bench.say(sender, make_vote(1))
    (stored,) = bench.certificates
    assert (stored.certificate.height, stored.certificate.header_hash) == (1, make_header_hash(1))
    assert stored.certificate.signatures == ((1, own.signature), (2, bytes(64)), (3, bytes(64)))
