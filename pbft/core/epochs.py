"""The step from one epoch to the next, and what becomes of messages of another one (D40, D41, M57, M59).

Its rules: an epoch is left only when its last height E is certified here, never by anybody's word; then h = e = E, so
nothing of the old epoch is open any more. In the sync that remembers E's certificate the journal becomes that of the
new epoch: a crash ends in the one or in the other. Requests stay; slots, votes, P, Q and timers are gone, because the
configuration that they were counted under is. Who is still in an older epoch is given its end, which is all it needs.
"""

from dataclasses import fields, replace

from pbft.core.actions import Persist, SendEpochEnd
from pbft.core.checkpoints import peer_notes
from pbft.core.config import ANSWER_TICKS, EpochStart
from pbft.core.errors import InvalidMessage
from pbft.core.messages import Envelope, SignedMessage
from pbft.core.persisted import NEW_VIEW_KEY, OWN_VIEW_CHANGE_KEY, VIEW_KEY, encode_view
from pbft.core.replica_state import PeerNotes, PendingRequest, ReplicaState
from pbft.core.requests import process_requeue, validate_request


def process_epoch_end(state: ReplicaState) -> None:
    """Once E is certified here the next epoch begins, in view 0, with the primary that D41 names."""
    start = state.next_epoch
    if start is None or state.certified_height != state.epoch_end or state.halted is not None:
        return
    _enter(state, start)
    # Everything else of the old epoch left the journal with its heights (D25), in this same sync.
    state.actions += [
        Persist(key=VIEW_KEY, value=encode_view(start.configuration.epoch, 0, active=True)),
        Persist(key=OWN_VIEW_CHANGE_KEY, value=None),
        Persist(key=NEW_VIEW_KEY, value=None),
    ]
    process_requeue(state)


def _enter(state: ReplicaState, start: EpochStart) -> None:
    """Becomes the state of the next epoch: what is not named here is as in a replica that begins with it."""
    pending = _keep_pending(state, start)
    entered = ReplicaState(
        configuration=start.configuration,
        replica_id=start.replica_id,
        signer=state.signer,
        reproposed_top=start.configuration.base_height,
        certified_height=state.certified_height,
        certified_hash=state.certified_hash,
        certificate=state.certificate,
        halving_height=state.certified_height,
        executed_height=state.executed_height,
        header_hashes=state.header_hashes,
        next_due_ms=state.next_due_ms,
        pending=pending,
        pending_bytes=sum(known.request.size_bytes for known in pending.values()),
        progress_tick=state.progress_tick,
        asks=state.asks,
        is_started=state.is_started,
        ticks=state.ticks,
        clock=state.clock,
        wall_ms=state.wall_ms,
        executed_clock=state.executed_clock,
        snapshot_lag=state.snapshot_lag,
        actions=state.actions,
        peers=_count_relayed(state.peers, pending, start.configuration.member_count),
    )
    for field in fields(ReplicaState):
        setattr(state, field.name, getattr(entered, field.name))


def _keep_pending(state: ReplicaState, start: EpochStart) -> dict[bytes, PendingRequest]:
    """The requests that the next epoch's batches can hold: no primary is suspected for the others (M6)."""
    judging = replace(state, configuration=start.configuration)
    kept = {}
    for tx_id, known in state.pending.items():
        try:
            validate_request(judging, known.request)
        except InvalidMessage:
            continue
        is_others = known.source != state.replica_id and known.source < start.configuration.member_count
        kept[tx_id] = replace(known, source=known.source if is_others else start.replica_id)
    return kept


def _count_relayed(
    peers: dict[int, PeerNotes], pending: dict[bytes, PendingRequest], member_count: int
) -> dict[int, PeerNotes]:
    """The notes about the members, with what each has pending here counted anew: ids may have changed hands."""
    kept = {peer: notes for peer, notes in peers.items() if 0 <= peer < member_count}
    for notes in kept.values():
        notes.relayed_requests = notes.relayed_bytes = 0
    for known in pending.values():
        notes = kept.setdefault(known.source, PeerNotes())
        notes.relayed_requests += 1
        notes.relayed_bytes += known.request.size_bytes
    return kept


def answer_with_epoch_end(state: ReplicaState, replica: int, epoch: int) -> None:
    """D41: who is in an older epoch is answered with the certificate that ends it, at most once per ANSWER_TICKS."""
    notes = peer_notes(state, replica)
    if replica != state.replica_id and state.ticks - notes.certificate_sent_tick >= ANSWER_TICKS:
        notes.certificate_sent_tick = state.ticks
        state.actions.append(SendEpochEnd(replica=replica, epoch=epoch))


def process_foreign(state: ReplicaState, sender: int, envelope: Envelope, message: SignedMessage) -> None:
    """A signed message of another epoch: of an older one it is answered (M59), of the next one it is kept (M13).

    InvalidMessage for one of an epoch beyond: nothing about it is decided here, and its senders say it again.
    """
    if message.epoch < state.configuration.epoch:
        answer_with_epoch_end(state, sender, message.epoch)
    elif message.epoch == state.configuration.epoch + 1 and state.epoch_end is not None:
        peer_notes(state, sender).keep_early(envelope)
    else:
        raise InvalidMessage("wrong_epoch", f"expected {state.configuration.epoch}, got {message.epoch}")
