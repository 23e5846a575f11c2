"""Section 4.4: leaving a view, collecting VIEW-CHANGEs, making and entering NEW-VIEW.

Its rules: a view is left for good, journaled before anybody hears of it (M25c, M29); W members in higher views, or the
primary itself, take this replica along (M35); NEW-VIEW is believed only where an own computation gives the same slots
(M43), and what it decides overwrites the log (M41). Timers are in `pbft.core.timers`; the decision in
`pbft.core.new_view`.
"""

from ledger.hashing import NULL_DIGEST
from pbft.core.actions import Broadcast, Persist, PersistEnvelope
from pbft.core.checkpoints import process_certificate
from pbft.core.config import TIMER_DOUBLINGS_MAX
from pbft.core.errors import InvalidMessage
from pbft.core.evidence import accuse_of_one, accuse_of_two, compute_content, validate_new_view_sender
from pbft.core.halting import CONTRADICTED, halt
from pbft.core.messages import Envelope, HeaderVote, NewView, SlotEntry, ViewChange
from pbft.core.new_view import (
    NewViewDecision,
    compute_new_view,
    compute_view_change,
    validate_view_change,
    verify_new_view,
)
from pbft.core.ordering import find_body, process_execution, process_slot
from pbft.core.persisted import NEW_VIEW_KEY, OWN_VIEW_CHANGE_KEY, VIEW_KEY, encode_view
from pbft.core.replica_state import ReplicaState
from pbft.core.requests import process_reclaim, process_requeue


def start_view_change(state: ReplicaState, view: int) -> None:
    """Leaves for `view`: no vote of an older view is made any more, and P and Q are shown to all (M29, D27)."""
    assert view > state.view, "a view is never returned to"
    if not state.is_voter:
        return  # D37: it follows NEW-VIEWs, and has no voice in them
    state.doublings = min(TIMER_DOUBLINGS_MAX, state.doublings + view - state.view)  # D57: per failed view, capped
    state.halving_height = state.certified_height
    _leave_view(state, view, active=False)
    state.actions.append(Persist(key=NEW_VIEW_KEY, value=None))
    state.new_view = None
    message = compute_own_view_change(state)
    state.actions.append(Broadcast(messages=(message,), journal_key=OWN_VIEW_CHANGE_KEY))


def _leave_view(state: ReplicaState, view: int, *, active: bool) -> None:
    """Moves to another view: what belonged to the old one is forgotten, P, Q and COMMITs stay."""
    state.view = view
    state.active = active
    state.actions.append(Persist(key=VIEW_KEY, value=encode_view(state.configuration.epoch, view, active=active)))
    state.outgoing = [message for message in state.outgoing if isinstance(message, HeaderVote)]  # no vote after M29
    for height in sorted(state.slots):
        slot = state.slots[height]
        kept = {member: vote for member, vote in slot.prepares.items() if vote.view == view}
        slot.leave_view()
        slot.prepares.update(kept)
    state.proposed_top = 0
    state.view_deadline = None
    state.due_since = None
    state.filling_since = None
    state.paused_ticks = 0


def compute_own_view_change(state: ReplicaState) -> ViewChange:
    """The VIEW-CHANGE that P, Q and h make (M37, D27)."""
    return ViewChange(
        epoch=state.configuration.epoch,
        view=state.view,
        certified_height=state.certified_height,
        header_hash=state.certified_hash,
        certificate=state.certificate if state.certified_height > state.configuration.base_height else None,
        prepared=tuple(state.prepared[height] for height in sorted(state.prepared)),
        pre_prepared=tuple(
            SlotEntry(height=height, digest=digest, view=state.pre_prepared[height][digest])
            for height in sorted(state.pre_prepared)
            for digest in sorted(state.pre_prepared[height])
        ),
    )


def process_view_change(state: ReplicaState, sender: int, envelope: Envelope, message: ViewChange) -> None:
    """A VIEW-CHANGE: the latest of each member is kept (M34); its certificate counts whatever becomes of the view."""
    try:
        validate_view_change(state.configuration, message)
    except InvalidMessage:
        accuse_of_one(state, envelope, message)
        raise
    if message.certificate is not None:
        process_certificate(state, message.certificate)
    earlier = state.view_changes.get(sender)
    if earlier is not None:
        known = compute_view_change(earlier)
        if known.view == message.view and known != message:
            accuse_of_two(state, earlier, envelope, message)
        if known.view >= message.view:
            return
    state.view_changes[sender] = envelope
    if sender == state.replica_id:
        state.own_view_change = envelope
    if state.halted is None:  # the certificate inside may have stopped this replica
        _process_join(state, sender, message)
        process_view_changes_held(state)


def _process_join(state: ReplicaState, sender: int, message: ViewChange) -> None:
    """M35: W distinct members in higher views take this replica to the smallest of them; the primary by itself to v+1.

    One member's arbitrarily high view moves nobody, unless it is the primary giving up its own view.
    """
    higher = sorted(
        compute_view_change(envelope).view
        for member, envelope in state.view_changes.items()
        if member != state.replica_id and compute_view_change(envelope).view > state.view
    )
    if len(higher) >= state.configuration.quorums.weak:
        start_view_change(state, higher[0])
    elif sender == state.primary and sender != state.replica_id and message.view > state.view:
        start_view_change(state, state.view + 1)


def process_view_changes_held(state: ReplicaState) -> None:
    """While a view is pending: Q VIEW-CHANGEs start its timer (M30), and its primary decides when it can."""
    if state.active or state.halted is not None:
        return
    at_least = [e for e in state.view_changes.values() if compute_view_change(e).view >= state.view]
    if len(at_least) >= state.configuration.quorums.quorum and state.view_deadline is None:
        state.view_deadline = state.clock + state.view_timer_ticks
    if state.is_primary and state.new_view_sent < state.view:
        _make_new_view(state)


def compute_view_changes_held(state: ReplicaState) -> dict[int, Envelope]:
    """The VIEW-CHANGEs held for exactly the view that this replica is in, by member."""
    return {
        member: state.view_changes[member]
        for member in sorted(state.view_changes)
        if compute_view_change(state.view_changes[member]).view == state.view
    }


def _make_new_view(state: ReplicaState) -> None:
    """NEW-VIEW as soon as V decides and the bodies of its choices are here (A3 of M40); until then they are fetched.

    The own log and ledger may lie below the starting height: choosing needs no state (D27).
    """
    held = compute_view_changes_held(state)
    if state.replica_id not in held:
        return  # the own VIEW-CHANGE is on its way through the journal
    decision = compute_new_view(
        state.configuration, {member: compute_view_change(envelope) for member, envelope in held.items()}
    )
    if decision is None:
        return
    missing = {
        choice.digest
        for choice in decision.choices
        if not choice.is_null and choice.height > state.executed_height and find_body(state, choice.digest) is None
    }
    if missing:
        state.missing_bodies |= missing
        return
    state.new_view_sent = state.view
    message = NewView(
        epoch=state.configuration.epoch,
        view=state.view,
        view_changes=tuple(held.values()),
        choices=decision.choices,
    )
    state.actions.append(Broadcast(messages=(message,), journal_key=NEW_VIEW_KEY))


def process_new_view(state: ReplicaState, sender: int, envelope: Envelope, message: NewView) -> None:
    """A NEW-VIEW for the pending view or a later one, from its primary, recomputed before it is believed (M43, M49)."""
    if message.view < state.view:
        return
    if message.view == state.view and state.active:
        _process_second_new_view(state, envelope, message)
        return
    try:
        validate_new_view_sender(state.configuration, envelope, message)
    except InvalidMessage:
        accuse_of_one(state, envelope, message)
        raise
    try:
        decision = verify_new_view(state.configuration, message)
    except InvalidMessage:
        accuse_of_one(state, envelope, message)
        if message.view == state.view:  # one faulty primary of a far view must not carry anybody there
            start_view_change(state, state.view + 1)
        raise
    enter_view(state, envelope, message, decision)


def _process_second_new_view(state: ReplicaState, envelope: Envelope, message: NewView) -> None:
    """Another NEW-VIEW of the primary that this view was entered by: evidence, and nothing else."""
    first = state.new_view
    if first is not None and first.sender == envelope.sender:
        (known,) = first.messages
        if compute_content(known) != compute_content(message):
            accuse_of_two(state, first, envelope, message)


def enter_view(state: ReplicaState, envelope: Envelope, message: NewView, decision: NewViewDecision) -> None:
    """Installs a view: journaled before any message in it (M25d); its choices overwrite the log (M41)."""
    if message.view > state.view:
        state.doublings = min(TIMER_DOUBLINGS_MAX, state.doublings + message.view - state.view)
        state.halving_height = state.certified_height
    _leave_view(state, message.view, active=True)
    state.conviction = None  # who is still in the view of the lie is brought here by this NEW-VIEW (M33)
    state.new_view = envelope
    if envelope.sender != state.replica_id:
        state.actions.append(PersistEnvelope(key=NEW_VIEW_KEY, envelope=envelope))
    else:
        state.new_view_sent = message.view
    if decision.certificate is not None:
        process_certificate(state, decision.certificate)
    choices = [choice for choice in decision.choices if choice.height > state.certified_height]
    state.reproposed_top = decision.top
    _forget_beyond_reach(state)
    for choice in choices:
        _install_choice(state, choice.height, choice.digest)
    process_requeue(state)
    process_reclaim(state)
    if any(not state.slots[choice.height].is_committed for choice in choices):
        state.view_deadline = state.clock + state.view_timer_ticks  # D57
    for choice in choices:
        process_slot(state, state.slots[choice.height])
    process_execution(state)


def _forget_beyond_reach(state: ReplicaState) -> None:
    """Slots that only the reach of an earlier NEW-VIEW had room for: kept, they would fill the memory of a replica that
    lags from view to view (M13). They lie above H, so nothing was promised there (D27)."""
    for height in [height for height in state.slots if not state.is_in_reach(height)]:
        del state.slots[height]


def _install_choice(state: ReplicaState, height: int, digest: bytes) -> None:
    """One slot of X, against which something else may be committed here already.

    Committed in an earlier view, it means more than f faults, or a bug: halt (M43). Committed in this view or a later
    one, it means that this view's primary made two valid NEW-VIEWs, and Q COMMITs came from where the other one went:
    the commit stands, and no vote follows for the choice (`ordering.process_slot`).
    """
    slot = state.slot(height)
    is_against = slot.committed is not None and slot.committed != digest
    if is_against and slot.committed_view < state.view:
        assert slot.committed is not None
        reason = f"height {height}: view {state.view} chose {digest.hex()}, {slot.committed.hex()} is committed here"
        reason += f" since view {slot.committed_view}"
        halt(state, CONTRADICTED, reason, height=height, own=slot.committed, other=digest)
        return
    slot.digest = digest
    slot.is_reproposed = True
    if is_against:
        return
    if digest != NULL_DIGEST and not slot.is_complete(digest):
        known = find_body(state, digest)
        if known is not None:
            slot.put_batch(known)
        elif slot.committed is None:
            slot.batch, slot.gas = None, 0
