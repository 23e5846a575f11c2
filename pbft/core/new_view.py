"""Section 4.4, the decision of a new view: pure functions from VIEW-CHANGEs to the slots that follow from them.

The new primary computes them, every backup computes them again and compares (M43). They need no state of the replica
that computes: neither its log nor its ledger (D27).

Unlike the paper (section 4.4; TOCS 2002 with P and Q sets), the starting height is not voted for by listing (M39): each
VIEW-CHANGE carries the certificate of its own h, so the highest h in V is proved by itself (D27).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.hashing import NULL_DIGEST
from ledger.quorum_certificate import QuorumCertificate
from pbft.core.config import CoreConfiguration
from pbft.core.errors import InvalidMessage
from pbft.core.messages import Envelope, NewView, SlotChoice, SlotEntry, ViewChange


@dataclass(frozen=True, slots=True, kw_only=True)
class NewViewDecision:
    """What a set of VIEW-CHANGEs decides: the certified height to start from, and the slots above it."""

    certified_height: int
    certificate: QuorumCertificate | None  # of `certified_height`; None for the base of the epoch
    choices: tuple[SlotChoice, ...]  # contiguous from certified_height + 1

    @property
    def top(self) -> int:
        """The highest height that is decided."""
        return self.certified_height + len(self.choices)


def validate_view_change(configuration: CoreConfiguration, message: ViewChange) -> None:
    """M38: a VIEW-CHANGE that contradicts itself is refused as a whole. InvalidMessage.

    Signatures, the certificate's included, were checked at the edge.
    """
    height, certificate = message.certified_height, message.certificate
    if message.view < 1:
        raise InvalidMessage("view_change_to_view_0")
    if height < configuration.base_height:
        raise InvalidMessage("view_change_epoch", f"h = {height}, the epoch begins above {configuration.base_height}")
    if height == configuration.base_height:
        if certificate is not None or message.header_hash != configuration.base_hash:
            raise InvalidMessage("view_change_base", message.header_hash.hex())
    elif certificate is None or (certificate.height, certificate.header_hash) != (height, message.header_hash):
        raise InvalidMessage("view_change_certificate", f"h = {height}")
    if certificate is not None and certificate.epoch != configuration.epoch:
        raise InvalidMessage("view_change_epoch", f"certificate of epoch {certificate.epoch}")
    _validate_entries(configuration, message, message.prepared, "view_change_prepared")
    _validate_entries(configuration, message, message.pre_prepared, "view_change_pre_prepared")
    if len({entry.height for entry in message.prepared}) != len(message.prepared):
        raise InvalidMessage("view_change_prepared", "two P entries at one height (M37)")
    latest = {(entry.height, entry.digest): entry.view for entry in message.pre_prepared}
    if len(latest) != len(message.pre_prepared):
        raise InvalidMessage("view_change_pre_prepared", "two Q entries for one height and digest (M37)")
    for entry in message.prepared:
        if latest.get((entry.height, entry.digest), -1) < entry.view:
            raise InvalidMessage("view_change_prepared", f"height {entry.height}: prepared without being pre-prepared")


def _validate_entries(
    configuration: CoreConfiguration, message: ViewChange, entries: Sequence[SlotEntry], code: str
) -> None:
    """Every entry lies above h, within a window of it, and was made in an earlier view."""
    low, high = message.certified_height, message.certified_height + configuration.window
    for entry in entries:
        if not (low < entry.height <= high and 0 <= entry.view < message.view):
            raise InvalidMessage(code, f"height {entry.height}, view {entry.view}")


def compute_new_view(
    configuration: CoreConfiguration, view_changes: Mapping[int, ViewChange]
) -> NewViewDecision | None:
    """The decision that follows from VIEW-CHANGEs of distinct replicas for one view; None: wait for more (M40).

    1. Start from the highest certified h in V (D27); then every member of V has h below each slot to be chosen.
    2. For each slot up to the highest P entry choose a digest that satisfies A1 and A2, else null if Q members hold
       no P entry there, else wait (M40).
    3. Cut the trailing slots that are null only because nobody prepared them (D29).
    """
    if len(view_changes) < configuration.quorums.quorum:
        return None
    members = [view_changes[replica] for replica in sorted(view_changes)]
    best = max(members, key=lambda message: message.certified_height)
    start = best.certified_height
    top = max((entry.height for message in members for entry in message.prepared), default=start)
    prepared = [{entry.height: entry for entry in message.prepared} for message in members]
    choices: list[SlotChoice] = []
    decided = 0  # how many choices stay: up to the last one that is not null by absence
    for height in range(start + 1, top + 1):
        digest = _compute_prepared_choice(configuration, members, prepared, height)
        if digest is not None:
            choices.append(SlotChoice(height=height, digest=digest))
            decided = len(choices)
        elif sum(1 for own in prepared if height not in own) >= configuration.quorums.quorum:
            choices.append(SlotChoice(height=height, digest=NULL_DIGEST))
        else:
            return None
    return NewViewDecision(certified_height=start, certificate=best.certificate, choices=tuple(choices[:decided]))


def _compute_prepared_choice(
    configuration: CoreConfiguration,
    members: Sequence[ViewChange],
    prepared: Sequence[Mapping[int, SlotEntry]],
    height: int,
) -> bytes | None:
    """The digest at `height` with a P entry that satisfies A1 and A2; of several the latest view, then the smallest.

    A1: Q members of V have, at this height, only P entries of earlier views, or of the same view and digest.
    A2: W members of V pre-prepared the digest in the entry's view or later.
    """
    quorums = configuration.quorums
    entries = {(own[height].view, own[height].digest) for own in prepared if height in own}
    for view, digest in sorted(entries, key=lambda entry: (-entry[0], entry[1])):
        agreeing = sum(
            1
            for own in prepared
            if height not in own
            or own[height].view < view
            or (own[height].view == view and own[height].digest == digest)
        )
        vouching = sum(
            1
            for message in members
            if any(e.height == height and e.digest == digest and e.view >= view for e in message.pre_prepared)
        )
        if agreeing >= quorums.quorum and vouching >= quorums.weak:
            return digest
    return None


def collect_view_changes(message: NewView) -> dict[int, ViewChange]:
    """The VIEW-CHANGEs inside a NEW-VIEW by sender. InvalidMessage where V is not what section 4.4 says."""
    found: dict[int, ViewChange] = {}
    for envelope in message.view_changes:
        inner = compute_view_change(envelope)
        if inner.view != message.view or inner.epoch != message.epoch:
            raise InvalidMessage("new_view_foreign", f"VIEW-CHANGE for view {inner.view} in NEW-VIEW {message.view}")
        if envelope.sender in found:
            raise InvalidMessage("new_view_repeated", f"replica {envelope.sender} twice")
        found[envelope.sender] = inner
    return found


def compute_view_change(envelope: Envelope) -> ViewChange:
    """The VIEW-CHANGE that an envelope holds, alone. InvalidMessage for anything else."""
    if len(envelope.messages) != 1 or not isinstance(envelope.messages[0], ViewChange):
        raise InvalidMessage("not_a_view_change", f"from replica {envelope.sender}")
    return envelope.messages[0]


def verify_new_view(configuration: CoreConfiguration, message: NewView) -> NewViewDecision:
    """M43: V holds Q valid VIEW-CHANGEs, and the choices are those that follow from V. InvalidMessage otherwise."""
    view_changes = collect_view_changes(message)
    for replica in sorted(view_changes):
        validate_view_change(configuration, view_changes[replica])
    decision = compute_new_view(configuration, view_changes)
    if decision is None:
        raise InvalidMessage("new_view_undecided", f"{len(view_changes)} VIEW-CHANGEs decide nothing")
    if decision.choices != message.choices:
        raise InvalidMessage("new_view_choices", f"view {message.view}: recomputed {len(decision.choices)} choices")
    return decision
