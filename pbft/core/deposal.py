"""A primary that is proven to lie in its office is left at once, and the proof goes round (M17, M35, M54).

Its rules: two contradicting words that only the primary of the present view signs (`evidence.IN_OFFICE`) are the whole
proof, `validate_evidence` is its judge, and who has it leaves the view in the same turn. Words of another view or epoch
move nobody. So only who holds the primary's key can have it deposed, and that one could end the view anyhow, by its own
VIEW-CHANGE (M35): nobody gains a power by this.

A proof travels as what it is, a FORWARD of two envelopes. On each tick a replica has one of the others in turn, so that
the largest proof is sent once a tick and arrives about once a tick, whatever n; and again, until it is not needed:

    the view is left for a proof        the proof, until that one's VIEW-CHANGE for a later view is here, or W together
    W others contradict the own slot    what the slot was accepted by, NEW-VIEW and proposal: one of them is correct, so
                                        the primary has lied, and who accepted something else then holds both halves

An honest primary is not even talked about: W members that contradict its proposal cannot be found.
"""

from pbft.core.actions import Evidence, Send
from pbft.core.errors import InvalidMessage
from pbft.core.evidence import EQUIVOCATIONS, IN_OFFICE, compute_place, validate_evidence
from pbft.core.message_log import Slot
from pbft.core.messages import Envelope, Forward
from pbft.core.new_view import compute_view_change
from pbft.core.replica_state import ReplicaState
from pbft.core.view_change import compute_view_changes_held, start_view_change


def process_conviction(state: ReplicaState) -> None:
    """The primary of this view is convicted: its view is left, as one that gives itself up (M35)."""
    conviction = state.conviction
    if conviction is not None and conviction.view == state.view and state.halted is None:
        start_view_change(state, state.view + 1)


def compute_conviction(state: ReplicaState, forward: Forward) -> Evidence | None:
    """What a FORWARD of two envelopes proves against the primary of this view; None where it is anything else.

    Whatever the own slots say: the height may be certified here, or lie above the window. A replica's own word is never
    its judge's business, but that of M28.
    """
    accused = state.primary
    if len(forward.envelopes) != 2 or accused == state.replica_id:
        return None
    first, second = forward.envelopes
    message = second.messages[0]
    epoch, view, height = compute_place(message)
    if type(message) not in IN_OFFICE or (epoch, view) != (state.configuration.epoch, state.view):
        return None
    kind = EQUIVOCATIONS[type(message)]
    evidence = Evidence(replica=accused, kind=kind, view=view, height=height, first=first, second=second)
    try:
        validate_evidence(state.configuration, evidence)
    except InvalidMessage:
        return None
    return evidence


def process_showing(state: ReplicaState) -> None:
    """On a tick: the replica whose turn it is here is shown what convicts the primary, or the half of it."""
    peer = (state.replica_id + state.ticks) % state.configuration.member_count
    if not state.is_voter or peer == state.replica_id:
        return
    shown = _compute_half(state, peer) if state.active else _compute_proof(state, peer)
    if shown:
        state.actions.append(Send(replica=peer, message=Forward(envelopes=shown)))


def _compute_proof(state: ReplicaState, peer: int) -> tuple[Envelope, ...]:
    """Both envelopes, for who may still be in the view of the lie, and could not leave it without them."""
    conviction = state.conviction
    if conviction is None or conviction.second is None or peer == conviction.replica:
        return ()
    known = state.view_changes.get(peer)
    if known is not None and compute_view_change(known).view > conviction.view:
        return ()
    if len(compute_view_changes_held(state)) >= state.configuration.quorums.weak:
        return ()  # they take it along, and its STATUS brings them (M33, M35): silence draws no megabytes
    return conviction.first, conviction.second


def _compute_half(state: ReplicaState, peer: int) -> tuple[Envelope, ...]:
    """What the highest contradicted slot was accepted by, for one of those who contradict it.

    The NEW-VIEW goes with a proposal: where the peer's own one chose the height, they are what contradicts.
    """
    for height in sorted(state.slots, reverse=True):
        slot = state.slots[height]
        if not _is_contradicted(state, slot, peer):
            continue
        contradicting = sum(_is_contradicted(state, slot, member) for member in slot.prepares)
        if contradicting >= state.configuration.quorums.weak:
            return tuple(word for word in (state.new_view, slot.proposal) if word is not None)
    return ()


def _is_contradicted(state: ReplicaState, slot: Slot, member: int) -> bool:
    """Whether it sent PREPARE for another digest than the one accepted here in this view."""
    vote = slot.prepares.get(member)
    return vote is not None and slot.digest is not None and vote.view == state.view and vote.digest != slot.digest
