"""What a replica sends unasked: judged before it is read, or a signature in it checked, so that it costs little.

Its rules: pure, and on unverified content, so it may only leave out what the core would do nothing with; a correct
replica's answer that comes too late loses only what arrived in the meantime. Single envelopes pass, since they prove
their sender first, and old ones are answered (D28); but not votes that have come after their quorum (D61).
"""

from pbft.core.deposal import compute_conviction
from pbft.core.errors import InvalidMessage
from pbft.core.message_log import CountedVote
from pbft.core.messages import (
    Batches,
    Blocks,
    Commit,
    Envelope,
    Forward,
    PeerMessage,
    Prepare,
    PrePrepare,
    Relay,
    Request,
    Said,
    SignedMessage,
    SnapshotChunk,
    SnapshotOffer,
)
from pbft.core.replica_state import ReplicaState
from pbft.core.requests import has_relay_room, has_room, validate_request
from pbft.core.state_transfer import compute_frontier, compute_trusted


def is_awaited(state: ReplicaState, sender: int, kind: type[PeerMessage] | None) -> bool:
    """Whether a frame of this kind is worth reading: the largest answers are read only while one is waited for.

    Reading a body costs far more than receiving it, since each byte of an argument may be a value (D42)."""
    if kind is Batches:
        return bool(state.missing_bodies)
    if kind is Said:
        return sender in state.unanswered
    if kind is SnapshotChunk:
        return state.snapshot is not None and sender == state.snapshot.source
    return kind is not Blocks or sender == state.fetch_source


def compute_wanted(state: ReplicaState, sender: int, message: PeerMessage) -> PeerMessage | None:
    """The message, or the part of it that can be of use here; None for no part."""
    match message:
        case Envelope():
            return None if _is_surplus(state, message) else message
        case Batches():
            wanted = {batch.digest: batch for batch in message.batches if batch.digest in state.missing_bodies}
            return Batches(batches=tuple(wanted.values())) if wanted else None
        case Blocks():
            return message if _are_blocks_wanted(state, sender, message) else None
        case SnapshotOffer():
            return message if _is_offer_wanted(state, sender, message) else None
        case Forward():
            if compute_conviction(state, message) is not None:
                return message
            envelopes = tuple(envelope for envelope in message.envelopes if _is_envelope_wanted(state, envelope))
            return Forward(envelopes=envelopes) if envelopes else None
        case Said():
            return _compute_said_wanted(state, sender, message)
        case Relay():
            requests = tuple(request for request in message.requests if _is_request_wanted(state, sender, request))
            return Relay(requests=requests) if requests else None
    return message


def _is_surplus(state: ReplicaState, envelope: Envelope) -> bool:
    """D61: whether no quorum needs these votes any more: of n replicas, n - Q come too late in each phase.

    Another digest is looked at, since it may be evidence (M54); what is signed with the own key always (M28)."""
    if envelope.sender == state.replica_id:
        return False
    return all(_is_surplus_vote(state, envelope.sender, message) for message in envelope.messages)


def _is_surplus_vote(state: ReplicaState, sender: int, message: SignedMessage) -> bool:
    if not isinstance(message, Prepare | Commit) or message.epoch != state.configuration.epoch:
        return False
    slot = state.slots.get(message.height)
    if slot is None:
        return False
    votes: dict[int, CountedVote]
    if isinstance(message, Prepare):
        votes, is_done = slot.prepares, slot.is_prepared and (message.view, message.digest) == (state.view, slot.digest)
    else:
        votes, is_done = slot.commits, message.digest == slot.committed
    earlier = votes.get(sender)
    return is_done and (earlier is None or earlier.digest == message.digest)


def _compute_said_wanted(state: ReplicaState, sender: int, message: Said) -> Said | None:
    """Asked for, and of it what is signed with the own key and can be of use (M28)."""
    if sender not in state.unanswered:
        return None
    certificate = message.certificate
    if certificate is not None and certificate.height <= state.certified_height:
        certificate = None
    own = tuple(envelope for envelope in message.envelopes if envelope.sender == state.replica_id)
    return Said(envelopes=own, certificate=certificate)


def _are_blocks_wanted(state: ReplicaState, sender: int, message: Blocks) -> bool:
    """From the source that was asked, while something that is beyond doubt lies above what is held (D28)."""
    if sender != state.fetch_source:
        return False
    top, _ = compute_frontier(state)
    return not message.blocks or any(height > top for height in compute_trusted(state))


def _is_offer_wanted(state: ReplicaState, sender: int, message: SnapshotOffer) -> bool:
    """While a snapshot is looked for or taken, and not what this replica has offered already."""
    return state.snapshot is not None and state.snapshot.offers.get(sender) != message


def _is_envelope_wanted(state: ReplicaState, envelope: Envelope) -> bool:
    """Of this epoch; a proposal inside is of this view or a later one, by its primary, for a height where it can still
    count. What is signed with the own key is wanted whatever it says (M28)."""
    if any(message.epoch != state.configuration.epoch for message in envelope.messages):
        return False
    return envelope.sender == state.replica_id or all(
        not isinstance(message, PrePrepare)
        or (
            message.view >= state.view
            and envelope.sender == state.configuration.primary(message.view)
            and state.is_in_reach(message.height)
        )
        for message in envelope.messages
    )


def _is_request_wanted(state: ReplicaState, sender: int, request: Request) -> bool:
    """Not known yet, of a form that can be ordered here, and within the share of who relays it (M55)."""
    size = request.size_bytes
    if request.tx_id in state.pending or not (has_room(state, size) and has_relay_room(state, sender, size)):
        return False
    try:
        validate_request(state, request)
    except InvalidMessage:
        return False
    return True
