"""Requests known and not yet executed: their order, their bounds, and how they become batches (M19, M24, D42, D64).

The order is that of arrival, so that nobody is overtaken for ever. What a request says is not judged here: bytes and
limits were judged at the edge, registration, nonce and balance are judged at execution (D42).
"""

from ledger.block import compute_batch_digest
from pbft.core.actions import Publish, Reclaim, Send
from pbft.core.checkpoints import peer_notes
from pbft.core.config import (
    PENDING_BYTES_MAX,
    PENDING_REQUESTS_MAX,
    RELAY_BYTES_MAX,
    RELAYED_REQUESTS_MAX,
)
from pbft.core.errors import InvalidMessage
from pbft.core.messages import Batch, Relay, Request
from pbft.core.replica_state import PendingRequest, ReplicaState


def has_room(state: ReplicaState, request_bytes: int) -> bool:
    """Whether one more request fits; where not, the door answers busy and nobody is suspected for it (M55, M56)."""
    return len(state.pending) < PENDING_REQUESTS_MAX and state.pending_bytes + request_bytes <= PENDING_BYTES_MAX


def has_relay_room(state: ReplicaState, source: int, request_bytes: int) -> bool:
    """Whether one more request that `source` relays fits: all others together get half of the places, each its share,
    so that no replica that invents clients shuts the door of another (M55)."""
    share = 2 * len(state.others)
    notes = peer_notes(state, source)
    return (
        notes.relayed_requests < PENDING_REQUESTS_MAX // share
        and notes.relayed_bytes + request_bytes <= PENDING_BYTES_MAX // share
    )


def process_client_request(state: ReplicaState, request: Request) -> None:
    """Section 4.1: a request is queued at the primary; a backup passes it on and starts to wait (M18, M21)."""
    if request.tx_id in state.pending:
        return
    validate_request(state, request)
    if not has_room(state, request.size_bytes):
        raise InvalidMessage("requests_full", f"{len(state.pending)} pending")
    _remember(state, state.replica_id, request)
    if not state.is_primary:
        state.to_primary.append(request)


def process_relay(state: ReplicaState, sender: int, relay: Relay) -> None:
    """D56: requests passed on by a replica, judged by their clients' signatures. Those that do not fit are dropped; who
    relayed them does it again. InvalidMessage for the last of those that no correct replica relays."""
    refused = None
    for request in relay.requests:
        size = request.size_bytes
        if request.tx_id in state.pending or not (has_room(state, size) and has_relay_room(state, sender, size)):
            continue
        try:
            validate_request(state, request)
        except InvalidMessage as error:
            refused = error
        else:
            _remember(state, sender, request)
    if refused is not None:
        raise refused


def validate_request(state: ReplicaState, request: Request) -> None:
    """M6: a request that no batch can hold is not queued and not timed: its primary would be suspected for ever. Nor is
    one without its payload, which nobody could prepare (D50)."""
    configuration = state.configuration
    if request.expiry_height <= state.executed_height:
        raise InvalidMessage("request_expired", f"expires at {request.expiry_height}, e = {state.executed_height}")
    if request.gas_limit > configuration.transaction_gas_max:
        raise InvalidMessage(
            "request_too_much_gas", f"{request.gas_limit}, at most {configuration.transaction_gas_max}"
        )
    if request.payload is None:
        raise InvalidMessage("payload_missing", request.tx_id.hex())
    if request.size_bytes > configuration.batch_bytes_max:
        raise InvalidMessage("request_too_large", f"{request.size_bytes}, at most {configuration.batch_bytes_max}")


def _remember(state: ReplicaState, source: int, request: Request) -> None:
    if not state.pending:
        state.head_since = state.clock
    state.pending[request.tx_id] = PendingRequest(request=request, source=source, since=state.clock)
    state.pending_bytes += request.size_bytes
    state.queue[request.tx_id] = request
    notes = peer_notes(state, source)
    notes.relayed_requests += 1
    notes.relayed_bytes += request.size_bytes


def process_finished(state: ReplicaState, finished: tuple[bytes, ...], used: tuple[tuple[bytes, int], ...]) -> None:
    """Requests of an executed block, and those that can no longer execute, wait no more (M21, D46): who waits for them
    would suspect a primary that rightly does not order them."""
    head = next(iter(state.pending), None)
    for tx_id in finished:
        _forget(state, tx_id)
    nonces = frozenset(used)
    over = [
        tx_id
        for tx_id, known in state.pending.items()
        if known.request.expiry_height <= state.executed_height or (known.request.client, known.request.nonce) in nonces
    ]
    for tx_id in over:
        _forget(state, tx_id)
    if next(iter(state.pending), None) != head:
        state.head_since = state.clock


def _forget(state: ReplicaState, tx_id: bytes) -> None:
    state.queue.pop(tx_id, None)
    known = state.pending.pop(tx_id, None)
    if known is not None:
        state.pending_bytes -= known.request.size_bytes
        notes = peer_notes(state, known.source)
        notes.relayed_requests -= 1
        notes.relayed_bytes -= known.request.size_bytes


def process_requeue(state: ReplicaState) -> None:
    """M24: on entering a view all that is pending and not in its slots waits anew, and is offered to its primary."""
    decided = {
        request.tx_id
        for slot in state.slots.values()
        if slot.batch is not None and slot.height > state.executed_height
        for request in slot.batch.requests
    }
    state.queue = {tx_id: pending.request for tx_id, pending in state.pending.items() if tx_id not in decided}
    state.head_since = state.clock
    for pending in state.pending.values():
        pending.since = state.clock
        pending.relayed = None
    state.to_primary = [] if state.is_primary else list(state.queue.values())[:RELAYED_REQUESTS_MAX]


def process_reclaim(state: ReplicaState) -> None:
    """M24: on entering a view, the requests of proposals promised here that it does not re-propose wait here too.

    Their clients may have reached nobody but a primary that is gone. The ledger is asked first which of them are
    answered already (D43): one that no primary ever orders again must not be timed.
    """
    decided = {digest for slot in state.slots.values() for digest in (slot.digest, slot.committed)}
    lost = [
        state.bodies[digest]
        for height in sorted(state.pre_prepared)
        for digest in sorted(state.pre_prepared[height])
        if height > state.executed_height and digest not in decided and digest in state.bodies
    ]
    reclaim(state, lost)


def reclaim(state: ReplicaState, batches: list[Batch]) -> None:
    """The requests of these batches wait here as if a client had handed them in, unless they are answered (D43)."""
    unknown = {r.tx_id: r for batch in batches for r in batch.requests if r.tx_id not in state.pending}
    if unknown:
        state.actions.append(Reclaim(requests=tuple(unknown.values())))


def process_forwarding(state: ReplicaState) -> None:
    """At the end of a turn: what clients handed in here goes to the primary, in relays of bounded size (M18)."""
    if not state.to_primary:
        return
    waiting, state.to_primary = state.to_primary, []
    if state.is_primary or not state.active:
        return
    for relay in _relays(waiting):
        state.actions.append(Send(replica=state.primary, message=relay))


def process_relay_to_all(state: ReplicaState) -> None:
    """D56: a request that waited T/2 goes to all, who start their timers; the oldest first, the rest a tick later.

    What clients handed in here goes again each T/2: whoever had no room for it must not be suspected for that (M56).
    Also while a view is pending here: who left its view alone, on the wrong side of a partition, has no primary of its
    own, and nobody else knows of its requests.
    """
    due: list[Request] = []
    size = 0
    timer_ticks = state.timer_ticks
    for pending in state.pending.values():
        if 2 * (state.clock - pending.since) < timer_ticks:
            break  # nor has any behind it waited longer: they came later, or all wait anew since the same tick
        if pending.relayed is not None and (
            pending.source != state.replica_id or 2 * (state.clock - pending.relayed) < timer_ticks
        ):
            continue
        size += pending.request.size_bytes
        if due and (len(due) == RELAYED_REQUESTS_MAX or size > RELAY_BYTES_MAX):
            break
        pending.relayed = state.clock
        due.append(pending.request)
    if due:
        state.actions.append(Publish(message=Relay(requests=tuple(due))))


def _relays(requests: list[Request]) -> list[Relay]:
    """Requests in messages of at most RELAYED_REQUESTS_MAX requests and RELAY_BYTES_MAX bytes (one at least)."""
    relays: list[Relay] = []
    group: list[Request] = []
    size = 0
    for request in requests:
        if group and (len(group) == RELAYED_REQUESTS_MAX or size + request.size_bytes > RELAY_BYTES_MAX):
            relays.append(Relay(requests=tuple(group)))
            group, size = [], 0
        group.append(request)
        size += request.size_bytes
    if group:
        relays.append(Relay(requests=tuple(group)))
    return relays


def may_fill(state: ReplicaState) -> bool:
    """Whether the queue might fill a batch: False says for certain that `compute_candidates` finds none full."""
    configuration = state.configuration
    return (
        len(state.queue) >= configuration.batch_requests_max
        or state.pending_bytes > configuration.batch_bytes_max  # of more than the queue
        or sum(request.gas_limit for request in state.queue.values()) > configuration.block_gas_max
    )


def compute_candidates(state: ReplicaState, height: int) -> tuple[tuple[Request, ...], bool]:
    """The next batch's requests for `height`, and whether the batch is full; the queue's order, within D42's limits."""
    configuration = state.configuration
    chosen: list[Request] = []
    nonces: set[tuple[bytes, int]] = set()
    size = gas = 0
    is_full = False
    for request in state.queue.values():
        if request.expiry_height < height or (request.client, request.nonce) in nonces:
            continue
        size_with, gas_with = size + request.size_bytes, gas + request.gas_limit
        is_full = (
            len(chosen) == configuration.batch_requests_max
            or size_with > configuration.batch_bytes_max
            or gas_with > configuration.block_gas_max
        )
        if is_full:
            break
        chosen.append(request)
        nonces.add((request.client, request.nonce))
        size, gas = size_with, gas_with
    return compute_ascending(chosen), is_full or len(chosen) == configuration.batch_requests_max


def compute_ascending(requests: list[Request]) -> tuple[Request, ...]:
    """Each client's requests in ascending nonces, in the places that its requests had (D42)."""
    nonces: dict[bytes, list[Request]] = {}
    for request in requests:
        nonces.setdefault(request.client, []).append(request)
    sorted_by_client = {client: iter(sorted(own, key=lambda r: r.nonce)) for client, own in nonces.items()}
    return tuple(next(sorted_by_client[request.client]) for request in requests)


def compute_batch(time_ms: int, requests: tuple[Request, ...]) -> Batch:
    """The batch of these requests at a proposed time, with its digest (M7)."""
    digest, root = compute_batch_digest(time_ms, [request.raw for request in requests])
    return Batch(time_ms=time_ms, requests=requests, digest=digest, transactions_root=root)


def validate_batch(state: ReplicaState, batch: Batch, height: int) -> None:
    """D42: a proposal is judged by its bytes and its height, so that all correct replicas judge alike. InvalidMessage.

    Signatures were checked at the edge; registration, nonces used, balances and expiry by time give receipts.
    """
    configuration = state.configuration
    if len(batch.requests) > configuration.batch_requests_max:
        raise InvalidMessage("batch_too_many", f"{len(batch.requests)} requests")
    if batch.size_bytes > configuration.batch_bytes_max:
        raise InvalidMessage("batch_too_large")
    if sum(request.gas_limit for request in batch.requests) > configuration.block_gas_max:
        raise InvalidMessage("batch_too_much_gas")
    latest: dict[bytes, int] = {}
    for request in batch.requests:
        if request.gas_limit > configuration.transaction_gas_max:
            raise InvalidMessage("request_too_much_gas", request.tx_id.hex())
        if request.expiry_height < height:
            raise InvalidMessage("request_expired", f"expires at {request.expiry_height}, proposed at {height}")
        if request.nonce <= latest.get(request.client, -1):
            raise InvalidMessage("nonces_not_ascending", f"client {request.client.hex()}, nonce {request.nonce}")
        latest[request.client] = request.nonce
    if not batch.requests:
        _validate_empty(state, batch, height)


def _validate_empty(state: ReplicaState, batch: Batch, height: int) -> None:
    """D64: a fresh empty batch is for a call that is due, or fills the epoch to E; a backup with e < n - 1 cannot judge
    and accepts."""
    is_due = state.next_due_ms is not None and batch.time_ms >= state.next_due_ms
    if state.executed_height >= height - 1 and not is_due and state.epoch_end is None:
        raise InvalidMessage("empty_without_reason", f"next due {state.next_due_ms}, batch time {batch.time_ms}")
