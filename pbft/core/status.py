"""STATUS as a negative acknowledgement: what a replica has and lacks, and precisely what is sent to it for that (M50).

Nothing is acknowledged one by one and nothing is resent blindly: every 200 ms to 1 s each replica says where it stands,
and whoever holds what it lacks sends it, as signed before, at most once per ANSWER_TICKS for each replica.
"""

from pbft.core.actions import Send
from pbft.core.checkpoints import answer_with_certificate, peer_notes, process_vote
from pbft.core.config import ANSWER_TICKS, DUE_GRACE_MS, FORWARDED_ENVELOPES_MAX, RESEND_TICKS
from pbft.core.epochs import answer_with_epoch_end
from pbft.core.messages import Envelope, Forward, PrePrepare, Status
from pbft.core.replica_state import PeerNotes, ReplicaState
from pbft.core.view_change import compute_view_changes_held

FORWARD_BYTES_MAX = 2_097_152  # in one answer: two full proposals; the rest follows with the next STATUS


def compute_status(state: ReplicaState) -> Status:
    """Where this replica stands."""
    heights = sorted(height for height in state.slots if state.is_in_window(height))
    slots = [state.slots[height] for height in heights]
    return Status(
        epoch=state.configuration.epoch,
        view=state.view,
        active=state.active,
        certified_height=state.certified_height,
        executed_height=state.executed_height,
        pre_prepared=tuple(slot.height for slot in slots if slot.digest is not None),
        prepared=tuple(slot.height for slot in slots if slot.is_prepared),
        committed=tuple(slot.height for slot in slots if slot.is_committed),
        view_changes=() if state.active else tuple(compute_view_changes_held(state)),
        overdue_ms=compute_overdue_ms(state),
    )


def compute_overdue_ms(state: ReplicaState) -> int:
    """When the call was due that should have run 2 s ago by the own clock; 0 where none is (D63)."""
    if state.next_due_ms is None or state.wall_ms is None or state.wall_ms < state.next_due_ms + DUE_GRACE_MS:
        return 0
    return state.next_due_ms


def process_status(state: ReplicaState, sender: int, status: Status) -> None:
    """Answers with what the sender lacks and this replica has: certificate, votes, VIEW-CHANGEs, NEW-VIEW, slots."""
    notes = peer_notes(state, sender)
    stands_still = status.executed_height == notes.executed_height
    notes.executed_height = status.executed_height
    notes.overdue_ms = status.overdue_ms
    if status.epoch != state.configuration.epoch:
        if status.epoch < state.configuration.epoch:
            answer_with_epoch_end(state, sender, status.epoch)
        return  # of a later one nothing is said to who is ahead: the own STATUS asks for the end of this one
    if stands_still:  # while it moves, it comes to the heights that all vote on by itself
        process_vote(state, status.executed_height)  # a STATUS names a height (D24)
    if state.ticks - notes.status_answered_tick < ANSWER_TICKS:
        return
    notes.status_answered_tick = state.ticks
    if status.certified_height < state.certified_height:
        answer_with_certificate(state, sender)
    envelopes = [
        *_compute_view_envelopes(state, status),
        *_compute_vote_envelopes(state, status),
        *_compute_slot_envelopes(state, notes, status),
    ]
    chosen = within_limits(envelopes)
    if chosen:
        _note_proposals(state, notes, chosen)
        state.actions.append(Send(replica=sender, message=Forward(envelopes=chosen)))


def _compute_view_envelopes(state: ReplicaState, status: Status) -> list[Envelope]:
    """NEW-VIEW for who has not entered this view; while it is pending, the VIEW-CHANGEs that the sender lacks (M33)."""
    is_behind = status.view < state.view or (status.view == state.view and not status.active)
    if not is_behind:
        return []
    if state.active:
        return [state.new_view] if state.new_view is not None else []
    lacking = set(compute_view_changes_held(state))
    if status.view == state.view:
        lacking -= set(status.view_changes)
    return [state.view_changes[member] for member in sorted(lacking)]


def _compute_vote_envelopes(state: ReplicaState, status: Status) -> list[Envelope]:
    """The own header votes above both certified heights: resent until they are certified (D24)."""
    own = state.replica_id
    return [
        state.header_votes[height][own].envelope
        for height in sorted(state.header_votes)
        if height > status.certified_height and own in state.header_votes[height]
    ]


def _compute_slot_envelopes(state: ReplicaState, notes: PeerNotes, status: Status) -> list[Envelope]:
    """For each slot above the sender's executed height: own COMMIT; in the same view own PREPARE and the proposal.

    A proposal that came or went a moment ago is on its way: under load it takes longer than a STATUS, and to send it
    with each would double and treble the bytes just when there are too many. What is lost goes again a little later.
    """
    shares_view = state.active and status.active and status.view == state.view
    pre_prepared, prepared, committed = set(status.pre_prepared), set(status.prepared), set(status.committed)
    own = state.replica_id
    envelopes: list[Envelope] = []
    for height in sorted(state.slots):
        slot = state.slots[height]
        if height <= status.executed_height:
            continue
        may_serve = state.is_primary or slot.is_prepared  # any holder, once enough replicas have it (M16)
        if shares_view and may_serve and height not in pre_prepared and slot.proposal is not None:
            sent_tick = max(slot.accepted_tick, notes.proposals_sent.get(height, slot.accepted_tick))
            if state.ticks - sent_tick >= RESEND_TICKS:
                envelopes.append(slot.proposal)
        if height in committed:
            continue
        if shares_view and height not in prepared and own in slot.prepares:
            envelopes.append(slot.prepares[own].envelope)
        if own in slot.commits:
            envelopes.append(slot.commits[own].envelope)
    return envelopes


def _note_proposals(state: ReplicaState, notes: PeerNotes, envelopes: tuple[Envelope, ...]) -> None:
    """When which height's proposal was sent again; heights at or below h are forgotten."""
    notes.proposals_sent = {k: tick for k, tick in notes.proposals_sent.items() if k > state.certified_height}
    for envelope in envelopes:
        first = envelope.messages[0]
        if isinstance(first, PrePrepare):
            notes.proposals_sent[first.height] = state.ticks


def within_limits(envelopes: list[Envelope]) -> tuple[Envelope, ...]:
    """Each envelope once, in order, up to the limits of an answer; one at least."""
    chosen: dict[bytes, Envelope] = {}
    size = 0
    for envelope in envelopes:
        if envelope.signature in chosen:
            continue
        size += envelope.size_bytes
        if chosen and (len(chosen) == FORWARDED_ENVELOPES_MAX or size > FORWARD_BYTES_MAX):
            break
        chosen[envelope.signature] = envelope
    return tuple(chosen.values())
