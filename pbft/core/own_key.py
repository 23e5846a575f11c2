"""One key, one process: what is signed with this replica's key and is not this replica's word stops it (M28, D38).

A second process with the same key, or a disk restored from a copy, makes a correct replica say two things. Nobody's
claim shows that, signed bytes do: all that this key signed above h is in the journal before it leaves (M25), so a vote
that the journal does not know was made elsewhere. The operator has to find out where.

So the journal is the last-signed record, and it is compared with every word of this key that comes back: alone or
forwarded, as a VIEW-CHANGE in a NEW-VIEW, as a header vote in a certificate. It is compared with what others have
heard, too: before its first word a replica asks them all, and waits until all have answered, or half a second for the
last f of them, or two seconds. It cannot wait longer: all may be starting at once, and f never answer. It asks again
every minute.
"""

from pbft.core.actions import Publish, Send
from pbft.core.checkpoints import peer_notes, process_own_signature
from pbft.core.config import ANSWER_TICKS, ASK_AGAIN_TICKS, SILENT_TICKS_MAX, SILENT_TICKS_MIN, STATUS_TICKS
from pbft.core.halting import SECOND_SIGNER, halt
from pbft.core.messages import (
    Commit,
    Envelope,
    FetchSaid,
    HeaderVote,
    NewView,
    Prepare,
    PrePrepare,
    Said,
    SignedMessage,
    ViewChange,
)
from pbft.core.new_view import compute_view_change
from pbft.core.replica_state import ReplicaState
from pbft.core.restart import process_resume
from pbft.core.status import compute_status, within_limits


def process_own(state: ReplicaState, envelope: Envelope, message: SignedMessage) -> None:
    """Halts on a message under the own key that this replica never sent, a VIEW-CHANGE in a NEW-VIEW included; every
    other message passes unchanged. A liar may put a VIEW-CHANGE of an earlier epoch into a NEW-VIEW of this one: its
    signature holds, and what the journal knew about it left with its epoch, so it tells nothing."""
    inner = message.view_changes if state.asks and isinstance(message, NewView) else ()
    for told in (envelope, *inner):
        word = message if told is envelope else compute_view_change(told)
        if word.epoch != state.configuration.epoch:
            continue
        if told.sender == state.replica_id and not _is_own_word(state, word):
            halt(
                state,
                SECOND_SIGNER,
                f"another process signs with the key of this replica: a {type(word).__name__}"
                f" of height {getattr(word, 'height', 0)}, view {getattr(word, 'view', 0)} is not in this journal",
            )
            return


def process_asking(state: ReplicaState) -> None:
    """On a tick: the others are asked what they have heard of this key; the first word is said when that is known."""
    if state.is_started:
        if state.asks and state.ticks % ASK_AGAIN_TICKS == 0:
            state.unanswered = set(state.others)
            state.actions.append(Publish(message=FetchSaid()))
        return
    missing = len(state.unanswered)
    is_enough = missing <= state.configuration.quorums.f and state.ticks >= SILENT_TICKS_MIN
    if not missing or is_enough or state.ticks >= SILENT_TICKS_MAX:
        state.is_started = True
        process_resume(state)
        if state.asks:
            state.actions.append(Publish(message=compute_status(state)))  # what passed by in the meantime is sent again
        return
    if state.ticks % STATUS_TICKS == 0:
        state.actions += [Send(replica=peer, message=FetchSaid()) for peer in sorted(state.unanswered)]
    state.ticks += 1


def describe_wait(waits_for: tuple[int, ...]) -> str | None:
    """Why a replica that has started says nothing yet, in words; None where it does."""
    peers = ", ".join(f"r{peer}" for peer in waits_for)
    return f"asks {peers} what they have heard of its key, before its first word" if peers else None


def process_fetch_said(state: ReplicaState, sender: int) -> None:
    """Answers what is held here under the key of `sender`: signed bytes, which need no trust (D38)."""
    notes = peer_notes(state, sender)
    if state.ticks - notes.said_tick < ANSWER_TICKS:
        return
    notes.said_tick = state.ticks
    said = within_limits(_collect_said(state, sender))
    state.actions.append(Send(replica=sender, message=Said(envelopes=said, certificate=state.certificate)))


def _collect_said(state: ReplicaState, replica: int) -> list[Envelope]:
    """All envelopes of a replica that are held here, views first, then votes from the highest height down."""
    found = [state.new_view] if state.new_view is not None and state.new_view.sender == replica else []
    found += [state.view_changes[replica]] if replica in state.view_changes else []
    for height in sorted({*state.slots, *state.header_votes}, reverse=True):
        slot, votes = state.slots.get(height), state.header_votes.get(height, {})
        if slot is not None:
            found += [kept[replica].envelope for kept in (slot.commits, slot.prepares) if replica in kept]
            found += [slot.proposal] if slot.proposal is not None and slot.proposal.sender == replica else []
        found += [votes[replica].envelope] if replica in votes else []
    found += [state.newest_votes[replica].envelope] if replica in state.newest_votes else []
    return [*found, *peer_notes(state, replica).early]


def process_said(state: ReplicaState, sender: int, said: Said) -> None:
    """What `sender` has heard of this key: each word must be known to the journal, else it was said elsewhere."""
    state.unanswered.discard(sender)
    for envelope in said.envelopes:
        for message in envelope.messages:
            if message.epoch == state.configuration.epoch:
                process_own(state, envelope, message)
    certificate = said.certificate
    if certificate is not None and certificate.epoch == state.configuration.epoch:
        process_own_signature(state, certificate)


def _view_of(envelope: Envelope) -> int:
    """The view of the VIEW-CHANGE or NEW-VIEW that an envelope holds."""
    (message,) = envelope.messages
    assert isinstance(message, ViewChange | NewView)
    return message.view


def _is_own_word(state: ReplicaState, message: SignedMessage) -> bool:
    """Whether the journal knows the message; at and below h it has forgotten, and nothing depends on it."""
    if not isinstance(message, HeaderVote) and message.view > state.view:
        return False
    if isinstance(message, ViewChange):
        known = state.own_view_change
        return known is not None and (_view_of(known) > message.view or known.messages == (message,))
    if isinstance(message, NewView):
        known = state.new_view
        return message.view < state.view or (known is not None and known.messages == (message,))
    if message.height <= state.certified_height:
        return True
    match message:
        case HeaderVote():
            return state.voted.get(message.height) == message.header_hash
        case PrePrepare() | Prepare():
            return state.pre_prepared.get(message.height, {}).get(message.digest, -1) >= message.view
        case Commit():
            entry = state.prepared.get(message.height)
            if entry is None or entry.view < message.view:
                return False
            return entry.view > message.view or entry.digest == message.digest
