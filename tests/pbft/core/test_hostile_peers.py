"""Peers and clients that do what no correct one does, against one pure replica driven by hand (`simulation.bench`).

What a liar sends may cost a message or a moment; it must not cost a good primary its view, nor this replica its memory,
its way forward, or its word.
"""

import pytest
from simulation.bench import (
    Bench,
    make_batch,
    make_bench,
    make_request,
)

from pbft.core.config import PENDING_BYTES_MAX, PENDING_REQUESTS_MAX
from pbft.core.messages import (
    PrePrepare,
    Relay,
    Request,
    ViewChange,
)

T_TICKS = 30  # 1500 ms in ticks of 50 ms


def propose(bench: Bench, height: int, *requests: Request, view: int = 0) -> PrePrepare:
    """A proposal at the time of the bench's clock."""
    batch = make_batch(*requests, time_ms=bench.wall_ms)
    return PrePrepare(epoch=0, view=view, height=height, digest=batch.digest, batch=batch)


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
    """M6: a network whose transactions are smaller than the format allows: no primary proposes such a request, no backup
    waits for it, whoever brings it."""
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
    """D56, M56: who had no room at T/2 gets the request again, before anybody may suspect the primary for lacking it."""
    bench = make_bench(1)
    bench.hand_in(make_request(0), make_request(1))
    bench.tick(T_TICKS // 2)
    bench.commit(1, make_request(0))
    bench.sent.clear()
    bench.tick(T_TICKS // 2)
    assert [(to, relay.requests) for to, relay in bench.linked(Relay) if isinstance(relay, Relay)] == [
        (None, (make_request(1),))
    ]
