"""Clients' requests by the paper: what is proposed, passed on, timed and bounded (sections 4.1, 4.2).

One test per rule, quoting its source: sections of Castro and Liskov (OSDI 1999), D- and M-numbers of pbft/README.md.
"""

from dataclasses import fields
from typing import Any

from simulation.bench import (
    make_batch,
    make_bench,
    make_request,
)
from simulation.bench_messages import T_TICKS, certificate, enter_view, pre_prepare

from pbft.core.messages import (
    CertificateNotice,
    ClientRequest,
    Prepare,
    PrePrepare,
    Relay,
    Request,
    ViewChange,
)


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
    """D56, M22: at T/2 a request is relayed to all; at T, unexecuted, the primary is suspected."""
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


def test_d56_relay_to_all_while_a_view_is_pending() -> None:
    """D56, execution 44: who left its view alone goes on to relay what clients handed in: the others can order it."""
    bench = make_bench(1)
    bench.hand_in(make_request(0))
    bench.tick(T_TICKS)
    assert not bench.replica.is_active
    before = len(bench.linked(Relay))
    bench.tick(T_TICKS)  # T/2 of the doubled timer
    assert bench.linked(Relay)[before:] == [(None, Relay(requests=(make_request(0),)))]


def test_d56_no_suspicion_while_a_certificate_is_above_e() -> None:
    """D56: who lags must not suspect for what others have executed, even when its clock runs again (D58)."""
    bench = make_bench(1)
    bench.hand_in(make_request(0))
    bench.receive(2, CertificateNotice(certificate=certificate(3)))
    bench.tick(6 * T_TICKS)
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


def test_m24_a_proposal_brings_its_requests_along() -> None:
    """M24, M21: a backup that promised a proposal knows its requests, whoever the client reached: they wait here from
    T/4 without COMMITs on, and go to all; and on entering a view that does not re-propose them, at once."""
    bench = make_bench(2)
    bench.say(0, pre_prepare(1, 0))
    bench.tick(T_TICKS // 4 + 1)
    assert bench.replica.pending_count == 1 and not bench.linked(Relay)
    bench.tick(T_TICKS // 2)
    assert bench.replica.is_active and bench.linked(Relay) == [(None, Relay(requests=(make_request(0),)))]
    primary = make_bench(1)
    primary.say(0, pre_prepare(1, 0))
    enter_view(primary, 1)
    assert [message.batch.requests for message in primary.said(PrePrepare)] == [(make_request(0),)]


def test_m55_pending_requests_are_bounded() -> None:
    """M55, M56: past the limit a request is refused and counted; nobody is suspected for it."""
    bench = make_bench(0)
    for nonce in range(10_001):
        bench.replica.receive(0, ClientRequest(request=make_request(nonce)))
    assert bench.replica.pending_count == 10_000
    assert not bench.replica.has_room(1)


def test_a_request_has_what_it_was_made_of() -> None:
    """Its constructor is written out: it sets every field, and the defaults are those of the fields."""
    required: dict[str, Any] = {
        "client": b"c",
        "nonce": 1,
        "tx_id": b"t",
        "expiry_height": 2,
        "gas_limit": 3,
        "raw": b"r",
    }
    optional: dict[str, Any] = {"has_code": True, "payload": None, "signed": None}
    assert {field.name for field in fields(Request)} == required.keys() | optional.keys()
    made, whole = Request(**required), Request(**required, **optional)
    for field in fields(Request):
        assert getattr(made, field.name) == required.get(field.name, field.default)
        assert getattr(whole, field.name) == (required | optional)[field.name]
