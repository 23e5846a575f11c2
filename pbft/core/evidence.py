"""Evidence: what convicts a replica by its own signatures, for anybody who knows the network's configuration (M54).

Its rules: pure, and from signed messages alone. Two messages convict together where a correct replica says one of them
at most (one PREPARE for a view and height); one message convicts by itself where everybody can compute that it is false
(a NEW-VIEW whose choices do not follow from its V). `validate_evidence` is the only judge: a replica that accuses, a
file that is checked off line and the simulator's checkers all ask it. Signatures are checked before, at the edge.
"""

from typing import Final, TypeAlias

from pbft.core.actions import Evidence
from pbft.core.config import CoreConfiguration
from pbft.core.errors import InvalidMessage
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
from pbft.core.new_view import validate_view_change, verify_new_view
from pbft.core.replica_state import ReplicaState

EQUIVOCATIONS: Final[dict[type, str]] = {
    PrePrepare: "equivocation_pre_prepare",
    Prepare: "equivocation_prepare",
    Commit: "equivocation_commit",
    HeaderVote: "equivocation_header_vote",
    ViewChange: "equivocation_view_change",
    NewView: "equivocation_new_view",
}
"""Two of these with one place and two contents convict together."""

INVALID: Final[dict[type, str]] = {ViewChange: "invalid_view_change", NewView: "invalid_new_view"}
"""One of these convicts by itself where it contradicts itself (M38), or is not what follows from its V (M43)."""

IN_OFFICE: Final = (PrePrepare, NewView)
"""What only the primary of a view signs: two that contradict each other convict it in its office (M17, M43)."""
OFFICE_KINDS: Final = frozenset(EQUIVOCATIONS[kind] for kind in IN_OFFICE)

EVIDENCE_KINDS: Final = frozenset({*EQUIVOCATIONS.values(), *INVALID.values()})

Place: TypeAlias = tuple[int, int, int]
"""Epoch, view (0 for a header vote) and height (0 for VIEW-CHANGE and NEW-VIEW): where a replica speaks once."""


def compute_place(message: SignedMessage) -> Place:
    """Where a correct replica says only one message of this type."""
    return message.epoch, getattr(message, "view", 0), getattr(message, "height", 0)


def compute_content(message: SignedMessage) -> object:
    """What the message says at its place. Two correct ones of one replica are equal."""
    match message:
        case PrePrepare() | Prepare() | Commit():
            return message.digest
        case HeaderVote():
            return message.header_hash
        case ViewChange():
            return message
        case NewView():
            return tuple(envelope.raw for envelope in message.view_changes), message.choices


def accuse_of_two(state: ReplicaState, first: Envelope, second: Envelope, message: SignedMessage) -> None:
    """`message`, of the second envelope, contradicts the first envelope: both are kept, neither replaces the other."""
    _, view, height = compute_place(message)
    kind = EQUIVOCATIONS[type(message)]
    accuse(state, Evidence(replica=second.sender, kind=kind, view=view, height=height, first=first, second=second))


def accuse(state: ReplicaState, evidence: Evidence) -> None:
    """A proof against a replica is kept; where it convicts the primary of this view in its office, it deposes it.

    Of those one is kept in a view: an observer stays (D37), and to write the largest again costs eight readings of it.
    """
    if evidence.kind in OFFICE_KINDS and (evidence.view, evidence.replica) == (state.view, state.primary):
        if state.conviction is not None and state.conviction.view == state.view:
            return
        state.conviction = evidence
    state.actions.append(evidence)


def accuse_of_one(state: ReplicaState, envelope: Envelope, message: ViewChange | NewView) -> None:
    """A message that no correct replica signs, whatever else it has said."""
    kind = INVALID[type(message)]
    evidence = Evidence(replica=envelope.sender, kind=kind, view=message.view, height=0, first=envelope, second=None)
    state.actions.append(evidence)


def validate_evidence(configuration: CoreConfiguration, evidence: Evidence) -> None:
    """Whether the envelopes convict the accused of exactly what is claimed. InvalidMessage where they do not."""
    if evidence.second is None:
        _validate_invalid(configuration, evidence)
        return
    for envelope in (evidence.first, evidence.second):
        if envelope.sender != evidence.replica:
            raise InvalidMessage("evidence_of_another", f"r{envelope.sender} signed, r{evidence.replica} is accused")
    place = (configuration.epoch, evidence.view, evidence.height)
    said = [
        {
            compute_content(message)
            for message in envelope.messages
            if EQUIVOCATIONS[type(message)] == evidence.kind and compute_place(message) == place
        }
        for envelope in (evidence.first, evidence.second)
    ]
    if not all(said) or len(said[0] | said[1]) < 2:
        raise InvalidMessage("evidence_no_contradiction", f"{evidence.kind} at {place}")


def _validate_invalid(configuration: CoreConfiguration, evidence: Evidence) -> None:
    """One message is false by itself: judged by the functions that every backup judges it by."""
    (message,) = evidence.first.messages if len(evidence.first.messages) == 1 else (None,)
    is_claimed = isinstance(message, ViewChange | NewView) and INVALID[type(message)] == evidence.kind
    if not is_claimed or evidence.first.sender != evidence.replica:
        raise InvalidMessage("evidence_of_another", f"no {evidence.kind} of r{evidence.replica} is here")
    assert isinstance(message, ViewChange | NewView)
    if compute_place(message) != (configuration.epoch, evidence.view, evidence.height):
        raise InvalidMessage("evidence_of_another", f"{compute_place(message)} is signed")
    try:
        if isinstance(message, ViewChange):
            validate_view_change(configuration, message)
        else:
            validate_new_view_sender(configuration, evidence.first, message)
            verify_new_view(configuration, message)
    except InvalidMessage:
        return
    raise InvalidMessage("evidence_holds_nothing", f"what r{evidence.replica} signed is valid")


def validate_new_view_sender(configuration: CoreConfiguration, envelope: Envelope, message: NewView) -> None:
    """Only the primary of a view after the first ever signs its NEW-VIEW. InvalidMessage."""
    if message.view < 1 or envelope.sender != configuration.primary(message.view):
        raise InvalidMessage("new_view_not_the_primary", f"replica {envelope.sender}, view {message.view}")
