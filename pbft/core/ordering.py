"""Section 4.2, the normal case: PRE-PREPARE, PREPARE, COMMIT, and execution in the order of heights.

Its rules: the own promise is journaled before it is sent (M25: `promise` before PREPARE, the P entry before COMMIT);
a vote is counted only from an envelope, the own ones too; heights are executed once, in order, through one gate (M12,
M47). A fresh proposal may wait for its PREPARE (clock D60, unexecuted gas D58, code D53); a choice of NEW-VIEW waits
for its body only (M42).
"""

from ledger.hashing import NULL_DIGEST
from pbft.core.actions import Broadcast, CheckCode, Execute, Persist, PersistBody
from pbft.core.checkpoints import (
    answer_with_certificate,
    peer_notes,
    process_certificate,
    process_executed_header,
)
from pbft.core.config import (
    CLOCK_AHEAD_MAX_MS,
    CLOCK_BEHIND_MAX_MS,
    ORDERED_REQUESTS_MAX,
    UNCERTIFIED_SLOTS_MAX,
)
from pbft.core.errors import InvalidMessage
from pbft.core.evidence import accuse_of_two
from pbft.core.halting import CONTRADICTED, halt, halt_diverged
from pbft.core.message_log import CountedVote, Slot, compute_committed, compute_prepare_count
from pbft.core.messages import Batch, CodeChecked, Commit, Envelope, Executed, Prepare, PrePrepare, SlotEntry
from pbft.core.persisted import encode_entry, encode_pre_prepared, pre_prepared_key, prepared_key
from pbft.core.replica_state import ReplicaState
from pbft.core.requests import compute_batch, compute_candidates, may_fill, process_finished, validate_batch


def process_proposals(state: ReplicaState) -> None:
    """At the end of a turn the primary proposes: at once when idle, in full batches under load, within its limits."""
    while state.active and state.is_primary and state.wall_ms is not None and state.halted is None:
        height = compute_next_height(state)
        if height > compute_proposal_limit(state):
            return  # M14: the queue stays
        is_idle = compute_committed_top(state) == height - 1 and height - 1 - state.executed_height <= 1
        is_filling = state.epoch_end is not None  # the limit above is E: all at once, as it is timed as a whole
        if not is_filling and not is_idle and (not may_fill(state) or _is_behind_its_orders(state)):
            return  # at most turns under load; where it is not idle, no call is due either
        requests, is_full = compute_candidates(state, height)
        is_due = (
            not requests
            and height - 1 == state.executed_height
            and state.next_due_ms is not None
            and state.next_due_ms <= state.wall_ms
        )
        # D64: no empty batch but for a due call, or to fill the epoch to E.
        if not (is_full or (requests and is_idle) or is_filling or is_due):
            return
        _propose(state, height, compute_batch(state.wall_ms, requests))


def _is_behind_its_orders(state: ReplicaState) -> bool:
    """Whether what waits here for its execution takes half of the places: the others execute it and answer its clients,
    whose next requests would find no room (M56). Then the primary orders as fast as it executes."""
    return len(state.pending) - len(state.queue) >= ORDERED_REQUESTS_MAX


def compute_next_height(state: ReplicaState) -> int:
    """The height after everything that this view has decided or seen proposed (M11)."""
    return max(state.proposed_top, state.reproposed_top, state.executed_height) + 1


def compute_proposal_limit(state: ReplicaState) -> int:
    """D30: at most h + L/2, and 8 slots above X until the view has certified a height of its own; D40: E at most."""
    limit = min(state.certified_height + state.configuration.window // 2, state.high_watermark)
    if state.certified_height <= state.reproposed_top:
        limit = min(limit, state.reproposed_top + UNCERTIFIED_SLOTS_MAX)
    return limit


def compute_committed_top(state: ReplicaState) -> int:
    """The highest height up to which everything is committed here."""
    height = state.executed_height
    while (slot := state.slots.get(height + 1)) is not None and slot.is_committed:
        height += 1
    return height


def _propose(state: ReplicaState, height: int, batch: Batch) -> None:
    """PRE-PREPARE for a fresh height; body and Q entry are journaled before it leaves (M25a)."""
    slot = state.slot(height)
    slot.digest, slot.accepted_tick = batch.digest, state.ticks
    slot.put_batch(batch)
    promise(state, slot)
    for request in batch.requests:
        state.queue.pop(request.tx_id, None)
    state.actions.append(Broadcast(messages=(compute_pre_prepare(state, slot),)))


def compute_pre_prepare(state: ReplicaState, slot: Slot) -> PrePrepare:
    """The proposal of a slot that this primary promised in this view."""
    assert slot.digest is not None and slot.batch is not None
    return PrePrepare(
        epoch=state.configuration.epoch,
        view=state.view,
        height=slot.height,
        digest=slot.digest,
        batch=slot.batch,
    )


def promise(state: ReplicaState, slot: Slot) -> None:
    """Journals that this replica pre-prepared the slot's digest in this view: the Q entry, with its whole body (M25a,
    D50): so each prepared slot has Q - f correct replicas that can serve and execute it, payloads included."""
    assert slot.digest is not None and slot.is_complete(slot.digest)
    slot.is_pre_prepared = True
    state.proposed_top = max(state.proposed_top, slot.height)
    state.pre_prepared.setdefault(slot.height, {})[slot.digest] = state.view
    state.actions.append(Persist(key=pre_prepared_key(slot.height, slot.digest), value=encode_pre_prepared(state.view)))
    if slot.batch is not None and slot.digest not in state.bodies and slot.digest != NULL_DIGEST:
        state.bodies[slot.digest] = slot.batch
        state.actions.append(PersistBody(batch=slot.batch))


def process_pre_prepare(state: ReplicaState, sender: int, envelope: Envelope, message: PrePrepare) -> None:
    """Section 4.2, M8: accepted from the primary of the active view, inside the watermarks, one digest per height."""
    if sender != state.configuration.primary(message.view):
        raise InvalidMessage("not_the_primary", f"replica {sender}, view {message.view}")
    if not is_current(state, sender, envelope, message.view, message.height, needs_active=True):
        return
    if message.digest != message.batch.digest:
        raise InvalidMessage("digest_mismatch", f"height {message.height}")
    slot = state.slot(message.height)
    if slot.digest is not None:
        _process_second_proposal(state, slot, envelope, message)
        return
    if message.height <= state.reproposed_top:
        raise InvalidMessage("below_new_view", f"height {message.height}, decided up to {state.reproposed_top}")
    if slot.committed is not None and slot.committed != message.digest:
        raise InvalidMessage("against_committed", f"height {message.height}")
    validate_batch(state, message.batch, message.height)
    slot.digest = message.digest
    slot.proposal = envelope
    slot.accepted, slot.accepted_tick = state.clock, state.ticks
    slot.put_batch(message.batch)
    state.proposed_top = max(state.proposed_top, message.height)
    for request in message.batch.requests:
        state.queue.pop(request.tx_id, None)
    process_slot(state, slot)
    process_execution(state)  # COMMITs may have come before the body


def _process_second_proposal(state: ReplicaState, slot: Slot, envelope: Envelope, message: PrePrepare) -> None:
    """M17: a second digest for a height is evidence and replaces nothing; the same one again may bring its bytes."""
    if slot.digest == message.digest:
        if slot.proposal is None and not slot.is_reproposed:
            slot.proposal = envelope
        process_body(state, message.batch)  # the first one may have come without its payloads (D50)
        return
    if slot.proposal is not None:
        accuse_of_two(state, slot.proposal, envelope, message)
    raise InvalidMessage("second_proposal", f"height {slot.height}, view {state.view}")


def is_current(
    state: ReplicaState, sender: int, envelope: Envelope, view: int, height: int, *, needs_active: bool
) -> bool:
    """Whether a message is for now. Old heights are answered (D28), later views kept for later, the rest refused."""
    if height <= state.certified_height:
        answer_with_certificate(state, sender)
        return False
    if view > state.view or (view == state.view and needs_active and not state.active):
        peer_notes(state, sender).keep_early(envelope)
        return False
    if view < state.view:
        return False  # left: M29
    if not state.is_in_reach(height):
        raise InvalidMessage("above_window", f"height {height}, H = {state.high_watermark}")
    return True


def process_prepare(state: ReplicaState, sender: int, envelope: Envelope, message: Prepare) -> None:
    """Section 4.2: a backup's PREPARE; the primary's PRE-PREPARE is its own (M2)."""
    if not is_current(state, sender, envelope, message.view, message.height, needs_active=False):
        return
    if sender == state.primary:
        raise InvalidMessage("prepare_from_primary", f"replica {sender}, view {message.view}")
    slot = state.slot(message.height)
    if _is_new_vote(state, slot.prepares, message, envelope):
        process_slot(state, slot)


def process_commit(state: ReplicaState, sender: int, envelope: Envelope, message: Commit) -> None:
    """Section 4.2: a COMMIT. It counts whatever its view: Q of them for one (v, n, d) prove the commit (M13, D28)."""
    if message.height <= state.certified_height:
        answer_with_certificate(state, sender)
        return
    if not state.is_in_reach(message.height):
        raise InvalidMessage("above_window", f"height {message.height}, H = {state.high_watermark}")
    slot = state.slot(message.height)
    if _is_new_vote(state, slot.commits, message, envelope):
        process_committed(state, slot)


def _is_new_vote(
    state: ReplicaState, votes: dict[int, CountedVote], message: Prepare | Commit, envelope: Envelope
) -> bool:
    """Keeps a member's vote of its latest view; another digest in the same view is evidence, not counted (M3, M54)."""
    earlier = votes.get(envelope.sender)
    if earlier is not None and earlier.view >= message.view:
        if earlier.view == message.view and earlier.digest != message.digest:
            accuse_of_two(state, earlier.envelope, envelope, message)
        return False
    votes[envelope.sender] = CountedVote(view=message.view, digest=message.digest, envelope=envelope)
    return True


def process_slot(state: ReplicaState, slot: Slot) -> None:
    """Goes as far with a slot as is now possible: PREPARE, then the prepared certificate, then COMMIT."""
    if not state.active or slot.digest is None or state.halted is not None or not state.is_voter:
        return
    if slot.committed not in (None, slot.digest):
        return  # an equivocating primary sent the others another digest, and that one is decided
    if not slot.is_pre_prepared and may_promise(state, slot):
        promise(state, slot)
        if not state.is_primary:
            state.outgoing.append(
                Prepare(epoch=state.configuration.epoch, view=state.view, height=slot.height, digest=slot.digest)
            )
    needed = state.configuration.quorums.quorum - 1  # M10: Q - 1 PREPAREs of distinct backups, and the PRE-PREPARE
    is_open = slot.is_pre_prepared and not slot.is_prepared
    if is_open and compute_prepare_count(slot, state.view, state.primary) >= needed:
        _process_prepared(state, slot)


def _process_prepared(state: ReplicaState, slot: Slot) -> None:
    """The slot is prepared: the P entry is journaled, then COMMIT may leave (M25b)."""
    assert slot.digest is not None
    slot.is_prepared = True
    entry = SlotEntry(height=slot.height, digest=slot.digest, view=state.view)
    state.prepared[slot.height] = entry
    state.actions.append(Persist(key=prepared_key(slot.height), value=encode_entry(entry)))
    state.outgoing.append(
        Commit(epoch=state.configuration.epoch, view=state.view, height=slot.height, digest=slot.digest)
    )


def may_promise(state: ReplicaState, slot: Slot) -> bool:
    """Whether PREPARE may leave now: below H, with its body (M16); a fresh one by D53, D60 and D58 too."""
    assert slot.digest is not None
    if slot.height > state.high_watermark:
        return False  # a choice of NEW-VIEW above the own H waits for catch-up: P and Q stay within a window (D27)
    if not process_find_body(state, slot, slot.digest):
        return False
    if slot.is_reproposed or state.is_primary:
        return True
    if not _is_code_checked(state, slot):
        return False
    if not _is_time_plausible(state, slot):
        prepared_elsewhere = compute_prepare_count(slot, state.view, state.primary) + 1  # D60: the primary counts
        if prepared_elsewhere < state.configuration.quorums.weak:
            return False
    unexecuted = sum(
        state.slots[height].gas for height in range(state.executed_height + 1, slot.height) if height in state.slots
    )
    return unexecuted <= state.configuration.window_gas


def _is_code_checked(state: ReplicaState, slot: Slot) -> bool:
    """D53: whether the own worker has survived what a fresh batch brings; it is asked once for each proposal.

    A choice of NEW-VIEW is not asked about, nor what this primary proposes: W replicas hold a Q entry of the one, so a
    correct one has checked it, and may have executed it; the other's requests came in by the same check.
    """
    if slot.batch is None or not slot.batch.has_code or slot.is_code_checked:
        return True
    if not slot.is_code_asked:
        slot.is_code_asked = True
        state.actions.append(CheckCode(batch=slot.batch))
    return False


def process_code_checked(state: ReplicaState, checked: CodeChecked) -> None:
    """The slots whose PREPARE waited for the worker go on."""
    for height in sorted(state.slots):
        slot = state.slots[height]
        if slot.digest == checked.digest:
            slot.is_code_checked = True
            process_slot(state, slot)


def _is_time_plausible(state: ReplicaState, slot: Slot) -> bool:
    """D60: a fresh batch's time is at most 2 s ahead of and 30 s behind the own clock."""
    if state.wall_ms is None or slot.batch is None:
        return False
    ahead_ms = slot.batch.time_ms - state.wall_ms
    return -CLOCK_BEHIND_MAX_MS <= ahead_ms <= CLOCK_AHEAD_MAX_MS


def process_committed(state: ReplicaState, slot: Slot) -> None:
    """Looks whether Q COMMITs prove the slot; then its body is needed and execution goes on."""
    proved = compute_committed(slot, state.configuration.quorums.quorum)
    if proved is None:
        return
    view, digest = proved
    if slot.committed is not None:
        if slot.committed != digest:
            reason = f"height {slot.height} committed twice: {slot.committed.hex()} and {digest.hex()}"
            halt(state, CONTRADICTED, reason, height=slot.height, own=slot.committed, other=digest)
        return
    slot.committed, slot.committed_view = digest, view
    if slot.height <= state.reproposed_top and state.view_deadline is not None:
        state.view_deadline = state.clock + state.view_timer_ticks  # D57: re-armed by each committed slot of X
    process_find_body(state, slot, digest)
    process_execution(state)


def process_find_body(state: ReplicaState, slot: Slot, digest: bytes) -> bool:
    """Whether the slot has its body now: it had it, it is held elsewhere, or else it is fetched from now on (M16)."""
    if slot.is_complete(digest):
        return True
    known = find_body(state, digest)
    if known is None:
        state.missing_bodies.add(digest)
        return False
    slot.put_batch(known)
    return True


def find_body(state: ReplicaState, digest: bytes) -> Batch | None:
    """A body held here: journaled, fetched, or that of an accepted slot."""
    known = state.bodies.get(digest) or state.loose_bodies.get(digest)
    if known is not None:
        return known
    return next(
        (slot.batch for slot in state.slots.values() if slot.batch is not None and slot.batch.digest == digest), None
    )


def process_body(state: ReplicaState, batch: Batch) -> None:
    """A body that was asked for, by its digest: the slots that waited for it go on (M16)."""
    if batch.digest not in state.missing_bodies or not batch.is_whole:
        return
    state.missing_bodies.discard(batch.digest)
    for height in sorted(state.slots):
        slot = state.slots[height]
        if batch.digest in (slot.digest, slot.committed) and not slot.is_complete(batch.digest):
            slot.put_batch(batch)
            process_slot(state, slot)
    process_execution(state)


def process_execution(state: ReplicaState) -> None:
    """The one gate to the ledger: asks for e + 1 when it is committed or adopted and nothing is executing (M47).

    Nothing above E is executed before E is certified here, whoever says that it is committed (D40).
    """
    height = state.executed_height + 1
    is_over = state.epoch_end is not None and height > state.epoch_end
    if state.executing is not None or state.halted is not None or is_over:
        return
    slot = state.slots.get(height)
    if slot is not None and slot.committed is not None and process_find_body(state, slot, slot.committed):
        batch, adopted = (None if slot.committed == NULL_DIGEST else slot.batch), False
    elif height in state.adopted:
        batch, adopted = state.adopted[height].body.batch, True
    else:
        return
    state.executing = height
    state.actions.append(
        Execute(height=height, batch=batch, adopted=adopted, is_journaled=_is_journaled(state, height, batch))
    )


def _is_journaled(state: ReplicaState, height: int, batch: Batch | None) -> bool:
    """Whether the own journal makes this block again after a crash: it holds the body, and that it was prepared."""
    entry = state.prepared.get(height)
    return batch is not None and entry is not None and entry.digest == batch.digest and batch.digest in state.bodies


def process_executed(state: ReplicaState, executed: Executed) -> None:
    """The ledger has the block: e moves, its requests wait no more, its header is voted on and compared."""
    height = executed.height
    if height != state.executing or height != state.executed_height + 1:
        halt(state, CONTRADICTED, f"the ledger executed height {height}; asked for {state.executing}", height=height)
        return
    adopted = state.adopted.pop(height, None)
    if adopted is not None and adopted.header_hash != executed.header_hash:
        halt_diverged(state, height, executed.header_hash, adopted.header_hash, "adopted as true from others")
        return
    state.executing = None
    state.executed_height = height
    state.header_hashes[height] = executed.header_hash
    if state.next_due_ms is not None and executed.time_ms >= state.next_due_ms:
        state.due_since = None  # the block ran what was due, or goes on in the next (D63, D65)
    state.next_due_ms = executed.next_due_ms
    state.epoch_end, state.next_epoch = executed.epoch_end, executed.next_epoch
    if executed.used:
        state.filling_since = None  # a block that did work; empty and repeated ones renew no patience (D43, D64)
    state.progress_tick = state.ticks
    state.executed_clock = state.clock
    state.fetched.pop(height, None)
    waypoint = state.waypoints.pop(height, None)
    process_finished(state, executed.finished, executed.used)
    process_executed_header(state, height)
    if waypoint is not None:
        process_certificate(state, waypoint)
    process_waiting(state)
    process_execution(state)


def process_waiting(state: ReplicaState) -> None:
    """Accepted slots whose PREPARE waited for gas, clock or body are looked at again."""
    for height in sorted(state.slots):
        slot = state.slots[height]
        if slot.digest is not None and not slot.is_pre_prepared:
            process_slot(state, slot)
