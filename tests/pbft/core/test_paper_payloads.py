"""D16 and D50, rule by rule: a body without its private payload is a missing body, whoever sent it, wherever it counts.

Execution 33 of PROTOCOL.md part II is named where it is prevented; execution 36 is the format's (tests/ledger) and the
disks' (tests/simulation). Each test drives one pure replica by hand.
"""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.bench import WALL_MS, Bench, make_batch, make_bench, make_envelope, make_request
from simulation.bench_messages import view_change

from ledger.block import Header
from ledger.quorum_certificate import QuorumCertificate
from pbft.core.messages import (
    Batch,
    Batches,
    BlockBody,
    Blocks,
    CertificateNotice,
    ClientRequest,
    Commit,
    Envelope,
    FetchBatches,
    FetchBlocks,
    Prepare,
    PrePrepare,
    Relay,
    ViewChange,
)
from pbft.core.persisted import body_key

WHOLE = make_batch(make_request(0), make_request(1, payload=b"a day of readings"))
STRIPPED = replace(WHOLE, requests=(WHOLE.requests[0], replace(WHOLE.requests[1], payload=None)))
FETCH_TICKS = 4


def proposal(batch: Batch, height: int = 1, view: int = 0) -> PrePrepare:
    return PrePrepare(epoch=0, view=view, height=height, digest=batch.digest, batch=batch)


def propose(bench: Bench, batch: Batch) -> Envelope:
    """The primary's proposal arrives with this body; its signed bytes are the same with payloads and without."""
    signed = make_envelope(0, proposal(STRIPPED))
    envelope = replace(signed, messages=(proposal(batch),))
    bench.receive(0, envelope)
    return envelope


def said(bench: Bench) -> list[str]:
    """The PREPAREs and COMMITs that this replica sent, by name."""
    return [type(message).__name__ for message in (*bench.said(Prepare), *bench.said(Commit))]


def fetched(bench: Bench) -> list[tuple[int | None, tuple[bytes, ...]]]:
    """Whom this replica asked for which bodies."""
    return [(to, message.digests) for to, message in bench.sent if isinstance(message, FetchBatches)]


def test_d50_a_stripped_proposal_is_fetched_and_prepared_only_when_it_is_whole() -> None:
    """D50, execution 33: "no PREPARE before it is complete, canonical, wholly covered [...] and journaled"."""
    bench = make_bench(1)
    propose(bench, STRIPPED)
    for sender in (2, 3):
        bench.say(sender, Prepare(epoch=0, view=0, height=1, digest=WHOLE.digest))
    bench.tick(FETCH_TICKS)
    assert said(bench) == [] and body_key(WHOLE.digest) not in bench.journal
    assert fetched(bench)[0][1] == (WHOLE.digest,)
    bench.receive(2, Batches(batches=(WHOLE,)))
    assert [message.digest for message in bench.said(Prepare)] == [WHOLE.digest]
    assert (
        b"sealed %d %s a day of readings" % (WALL_MS, WHOLE.requests[1].tx_id) in bench.journal[body_key(WHOLE.digest)]
    )
    assert bench.said(Commit)


def test_d50_a_body_without_its_payload_ends_no_search() -> None:
    """D50: who answers a fetch with the body alone has answered nothing; the next source is asked."""
    bench = make_bench(1)
    propose(bench, STRIPPED)
    bench.tick(FETCH_TICKS)
    first = fetched(bench)[-1][0]
    bench.receive(first or 0, Batches(batches=(STRIPPED,)))
    assert said(bench) == []
    bench.tick(FETCH_TICKS)
    assert fetched(bench)[-1] != (first, (WHOLE.digest,)) and fetched(bench)[-1][1] == (WHOLE.digest,)


def test_d50_the_same_proposal_again_may_bring_its_payload() -> None:
    """D50, M17: the second copy has the same signed bytes, so it is no second proposal; it completes the first."""
    bench = make_bench(1)
    propose(bench, STRIPPED)
    propose(bench, WHOLE)
    assert said(bench) == ["Prepare"] and not bench.evidence


def test_d50_holders_answer_fetches() -> None:
    """D50, execution 33: whoever prepared holds the payload, so any prepared slot has f + 1 correct holders."""
    bench = make_bench(1)
    propose(bench, WHOLE)
    bench.receive(3, FetchBatches(digests=(WHOLE.digest,)))
    assert (3, Batches(batches=(WHOLE,))) in bench.sent


def test_d50_a_committed_body_is_executed_only_when_it_is_whole() -> None:
    """D50: execution without a payload cannot happen: the gate waits for the body, and a body without it is none."""
    bench = make_bench(1)
    propose(bench, STRIPPED)
    for sender in (0, 2, 3):
        bench.say(sender, Commit(epoch=0, view=0, height=1, digest=WHOLE.digest))
    assert not bench.asked
    bench.tick(FETCH_TICKS)
    bench.receive(3, Batches(batches=(WHOLE,)))
    assert [execute.batch for execute in bench.asked] == [WHOLE]


def test_d50_a_restarted_replica_still_holds_what_it_promised() -> None:
    """D50, D36: the journal gives the payload back, opened, so the slot can be served and executed after a crash."""
    bench = make_bench(1)
    propose(bench, WHOLE)
    bench.start()
    bench.receive(3, FetchBatches(digests=(WHOLE.digest,)))
    assert bench.sent[-1] == (3, Batches(batches=(WHOLE,)))


def test_d50_a_request_without_its_payload_is_not_queued() -> None:
    """D50, M6: nobody could prepare it, so its primary must not be suspected for it; a relay of it is refused."""
    bench = make_bench(1)
    lacking = STRIPPED.requests[1]
    bench.receive(1, ClientRequest(request=lacking))
    bench.receive(2, Relay(requests=(lacking, WHOLE.requests[0])))
    assert bench.dropped == ["payload_missing", "payload_missing"]
    assert list(bench.replica.state.pending) == [WHOLE.requests[0].tx_id]


def test_d50_payload_bytes_count_wherever_bytes_are_counted() -> None:
    """D50, M55: a payload takes its place of a batch, of the queue and of a relay, else it would have no bound."""
    bench = make_bench(1)
    bench.receive(1, ClientRequest(request=WHOLE.requests[1]))
    size = len(WHOLE.requests[1].raw) + len(b"a day of readings")
    assert bench.replica.state.pending_bytes == WHOLE.requests[1].size_bytes == size
    large = make_request(2, payload=bytes(1_048_576))
    bench.receive(1, ClientRequest(request=large))
    assert bench.dropped == ["request_too_large"]


def test_d50_a_block_without_its_payloads_is_not_adopted() -> None:
    """D50, D28: catch-up executes what it adopts, so it takes no block that it could not execute; the next is asked."""
    for batch, taken in ((STRIPPED, False), (WHOLE, True)):
        bench = make_bench(1)
        bench.executes = False
        header = Header(
            network=bytes(32),
            epoch=0,
            height=1,
            parent_hash=bench.configuration.base_hash,
            batch_digest=batch.digest,
            time_ms=batch.time_ms,
            transactions_root=bytes(32),
            receipts_root=bytes(32),
            state_root=bytes(32),
            gas_used=0,
            next_config_hash=bytes(32),
        )
        certificate = QuorumCertificate(
            epoch=0, height=1, header_hash=header.hash, signatures=tuple((replica, bytes(64)) for replica in range(3))
        )
        bench.receive(2, CertificateNotice(certificate=certificate))
        bench.tick(FETCH_TICKS + 1)
        source = next(to for to, message in bench.sent if isinstance(message, FetchBlocks))
        body = BlockBody(header=header.to_bytes(), batch=batch)
        bench.receive(source or 0, Blocks(first_height=1, blocks=(body,), certificate=certificate))
        assert (bench.dropped == []) is taken
        assert [execute.batch for execute in bench.asked] == ([WHOLE] if taken else [])
        assert taken or bench.dropped == ["block_payload"]


def test_d16_what_is_ordered_is_the_same_with_its_payload_and_without() -> None:
    """D16: "may carry a private payload outside its signed digest": what replicas agree on never covers its bytes."""
    assert STRIPPED.digest == make_batch(*STRIPPED.requests).digest == make_batch(*WHOLE.requests).digest


DELIVERIES = (
    *("stripped proposal", "whole proposal", "stripped body", "whole body", "prepare", "commit", "tick", "restart"),
    *("another proposal", "view change"),
)


@settings(max_examples=150)
@given(deliveries=st.lists(st.sampled_from(DELIVERIES), max_size=14))
def test_d50_no_order_of_arrival_promises_or_executes_without_the_payload(deliveries: list[str]) -> None:
    """D50: whatever comes when, a vote has its whole body in the journal, and only whole bodies execute."""
    bench = make_bench(1)
    for delivery in deliveries:
        match delivery:
            case "stripped proposal" | "whole proposal":
                propose(bench, STRIPPED if delivery.startswith("stripped") else WHOLE)
            case "another proposal":
                bench.say(0, proposal(make_batch(make_request(5))))
            case "stripped body" | "whole body":
                bench.receive(2, Batches(batches=(STRIPPED if delivery.startswith("stripped") else WHOLE,)))
            case "prepare" | "commit":
                kind = Prepare if delivery == "prepare" else Commit
                for sender in (2, 3):
                    bench.say(sender, kind(epoch=0, view=0, height=1, digest=WHOLE.digest))
                bench.say(0, Commit(epoch=0, view=0, height=1, digest=WHOLE.digest))
            case "view change":
                for sender in (2, 3):
                    bench.say(sender, view_change(1))
            case "tick":
                bench.tick(FETCH_TICKS)
            case "restart":
                bench.start()
        voted = {message.digest for kind in (Prepare, Commit) for message in bench.said(kind)}
        promised = WHOLE.digest in voted or WHOLE.digest in {
            entry.digest for message in bench.said(ViewChange) for entry in message.pre_prepared
        }
        if promised and bench.replica.state.certified_height == 0:
            assert b"a day of readings" in bench.journal[body_key(WHOLE.digest)]
        assert all(execute.batch is None or execute.batch.is_whole for execute in bench.asked)
