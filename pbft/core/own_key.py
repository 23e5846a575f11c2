"""One key, one process: what is signed with this replica's key and is not this replica's word stops it (M28, D38).

A second process with the same key, or a disk restored from a copy, makes a correct replica say two things. Nobody's
claim shows that, signed bytes do: all that this key signed above h is in the journal before it leaves (M25), so a vote
that the journal does not know was made elsewhere. The operator has to find out where.
"""

from pbft.core.halting import SECOND_SIGNER, halt
from pbft.core.messages import (
    Commit,
    Envelope,
    HeaderVote,
    NewView,
    Prepare,
    PrePrepare,
    SignedMessage,
    ViewChange,
)
from pbft.core.replica_state import ReplicaState


def process_own(state: ReplicaState, envelope: Envelope, message: SignedMessage) -> None:
    """Halts on a message under the own key that this replica never sent; every other message passes unchanged."""
    if envelope.sender == state.replica_id and not _is_own_word(state, message):
        halt(
            state,
            SECOND_SIGNER,
            f"another process signs with the key of this replica: a {type(message).__name__}"
            f" of height {getattr(message, 'height', 0)}, view {getattr(message, 'view', 0)} is not in this journal",
        )


def _view_of(envelope: Envelope) -> int:
    """The view of the VIEW-CHANGE or NEW-VIEW that an envelope holds."""
    (message,) = envelope.messages
    assert isinstance(message, ViewChange | NewView)
    return message.view


def _is_own_word(state: ReplicaState, message: SignedMessage) -> bool:
    """Whether the journal knows the message; at and below h it has forgotten, and nothing depends on it."""
    if not isinstance(message, HeaderVote) and message.view > state.view:
        return False
    if isinstance(message, ViewChange | NewView):
        known = state.own_view_change if isinstance(message, ViewChange) else state.new_view
        return known is None or known.messages == (message,) or _view_of(known) != message.view
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
