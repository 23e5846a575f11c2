"""Start and restart: the state that the journal and the ledger give, and what is resent from it (D34-D36).

A replica re-enters its view as it was, active or pending, and resends its journaled proposals, votes or VIEW-CHANGE for
all heights above h, executed or not: when all restart at once, that is all there is to go on with (M51).
"""

from collections.abc import Callable

from ledger.errors import InvariantViolation
from ledger.hashing import NULL_DIGEST
from pbft.core.actions import Broadcast, Publish, StoreCertificate
from pbft.core.checkpoints import compute_header_vote, process_certificate
from pbft.core.config import OBSERVER, CoreConfiguration
from pbft.core.messages import Commit, NewView, Prepare
from pbft.core.new_view import verify_new_view
from pbft.core.ordering import compute_pre_prepare
from pbft.core.persisted import LedgerHead, Restored
from pbft.core.replica_state import ReplicaState
from pbft.core.view_change import process_new_view, process_view_changes_held


def compute_state(
    configuration: CoreConfiguration,
    replica_id: int,
    signer: Callable[[bytes], bytes],
    restored: Restored,
    ledger: LedgerHead,
) -> ReplicaState:
    """The state to go on from. InvariantViolation where journal and ledger contradict each other: refuse to start."""
    if restored.halt is not None:
        return _compute_halted(configuration, replica_id, signer, restored, ledger)
    if restored.epoch != configuration.epoch:
        raise InvariantViolation("journal_epoch", expected=configuration.epoch, got=restored.epoch)
    if ledger.height < restored.certified_height:
        raise InvariantViolation(
            "ledger_below_journal", "executed blocks are missing (D35)", h=restored.certified_height, e=ledger.height
        )
    header_hashes = {configuration.base_height: configuration.base_hash, **ledger.header_hashes}
    certified_hash = restored.certified_hash or configuration.base_hash
    if header_hashes.get(restored.certified_height) != certified_hash:
        raise InvariantViolation("ledger_not_the_certified", height=restored.certified_height)
    for height, header_hash in sorted(restored.voted.items()):
        if header_hashes.get(height, header_hash) != header_hash:  # D34
            raise InvariantViolation("ledger_not_the_voted", height=height, voted=header_hash)
    state = ReplicaState(
        configuration=configuration,
        replica_id=replica_id,
        signer=signer,
        view=restored.view,
        active=restored.active,
        own_view_change=restored.own_view_change,
        new_view=restored.new_view,
        reproposed_top=configuration.base_height,
        certified_height=restored.certified_height,
        certified_hash=certified_hash,
        certificate=restored.certificate,
        halving_height=restored.certified_height,
        executed_height=ledger.height,
        header_hashes=header_hashes,
        next_due_ms=ledger.next_due_ms,
        epoch_end=ledger.epoch_end,
        next_epoch=ledger.next_epoch,
        prepared=dict(restored.prepared),
        pre_prepared={height: dict(digests) for height, digests in restored.pre_prepared.items()},
        bodies=dict(restored.bodies),
        voted=dict(restored.voted),
    )
    if state.new_view is not None and state.new_view.sender == replica_id:
        state.new_view_sent = state.view  # made before the crash: VIEW-CHANGEs that come now must not make another
    if replica_id == OBSERVER:
        state.own_view_change = None  # what another key promised is not resent; its records leave with their heights
    if state.own_view_change is not None:
        state.view_changes[replica_id] = state.own_view_change
    if ledger.certificate is not None:
        process_certificate(state, ledger.certificate)  # a crash came between a snapshot's switch and the journal (D35)
    if state.active:
        _restore_slots(state)
    return state


def _compute_halted(
    configuration: CoreConfiguration,
    replica_id: int,
    signer: Callable[[bytes], bytes],
    restored: Restored,
    ledger: LedgerHead,
) -> ReplicaState:
    """A replica that halted stays halted (M45): where it stood, for its status; journal and ledger may disagree."""
    return ReplicaState(
        configuration=configuration,
        replica_id=replica_id,
        signer=signer,
        view=restored.view,
        active=restored.active,
        certified_height=restored.certified_height,
        executed_height=ledger.height,
        halt=restored.halt,
    )


def _restore_slots(state: ReplicaState) -> None:
    """The slots of the active view: what NEW-VIEW decided, and what was promised and prepared since."""
    if state.new_view is not None:
        message = state.new_view.messages[0]
        assert isinstance(message, NewView)
        decision = verify_new_view(state.configuration, message)
        state.reproposed_top = decision.top
        for choice in decision.choices:
            if choice.height > state.certified_height:
                slot = state.slot(choice.height)
                slot.digest, slot.is_reproposed = choice.digest, True
    for height in sorted(state.pre_prepared):
        for digest, view in sorted(state.pre_prepared[height].items()):
            if view == state.view:
                slot = state.slot(height)
                slot.digest, slot.is_pre_prepared = digest, True
                state.proposed_top = max(state.proposed_top, height)
    for slot in state.slots.values():
        if slot.digest is not None and slot.digest != NULL_DIGEST and slot.digest in state.bodies:
            slot.put_batch(state.bodies[slot.digest])
        entry = state.prepared.get(slot.height)
        slot.is_prepared = entry is not None and entry.view == state.view and slot.is_pre_prepared


def process_resume(state: ReplicaState) -> None:
    """At the first tick: everything promised above h is sent again, as it was (D36).

    The journal may know a certificate that a power failure kept from the ledger: the ledger gets it again (D25).
    """
    if state.certificate is not None:
        state.actions.append(StoreCertificate(certificate=state.certificate))
    for height in sorted(state.voted):
        if height > state.certified_height and state.is_voter:
            state.outgoing.append(compute_header_vote(state, height))
    if state.active:
        if state.is_voter:
            _resend_slots(state)
        return
    if state.new_view is not None:  # made here, journaled, and not entered before the crash
        message = state.new_view.messages[0]
        assert isinstance(message, NewView)
        process_new_view(state, state.new_view.sender, state.new_view, message)
        state.actions.append(Publish(message=state.new_view))
    elif state.own_view_change is not None:
        state.actions.append(Publish(message=state.own_view_change))
        process_view_changes_held(state)


def _resend_slots(state: ReplicaState) -> None:
    """Proposals, PREPAREs and COMMITs of the view, executed heights included; equal content signs to equal bytes."""
    epoch = state.configuration.epoch
    for height in sorted(state.slots):
        slot = state.slots[height]
        if not slot.is_pre_prepared or slot.digest is None:
            continue
        if not state.is_primary:
            state.outgoing.append(Prepare(epoch=epoch, view=state.view, height=height, digest=slot.digest))
        elif not slot.is_reproposed:
            state.actions.append(Broadcast(messages=(compute_pre_prepare(state, slot),)))
        if slot.is_prepared:
            state.outgoing.append(Commit(epoch=epoch, view=state.view, height=height, digest=slot.digest))
    if any(slot.is_reproposed for slot in state.slots.values()):
        state.view_deadline = state.clock + state.view_timer_ticks
