"""Time, in ticks: when a primary is suspected, and what is repeated (D56-D59, D63, M30-M33).

Two clocks count: `ticks` counts all of them and paces repetition; `clock` counts only those that may be held against a
primary, and stands still while this replica itself is behind (D58). Wall time stamps and checks batches, nothing else
(D59).
"""

from pbft.core.actions import Publish
from pbft.core.config import IDLE_STATUS_TICKS, PAUSE_RENEWAL_TICKS, PAUSE_TIMERS_MAX, QUIET_TIMERS, STATUS_TICKS
from pbft.core.deposal import process_showing
from pbft.core.message_log import Slot
from pbft.core.ordering import process_waiting
from pbft.core.replica_state import ReplicaState
from pbft.core.requests import process_relay_to_all, reclaim
from pbft.core.snapshot_transfer import is_snapshot_coming, process_snapshot
from pbft.core.state_transfer import process_block_fetches, process_body_fetches
from pbft.core.status import compute_overdue_ms, compute_status
from pbft.core.view_change import start_view_change


def process_tick(state: ReplicaState, wall_ms: int) -> None:
    """One tick: the clocks move, waiting votes are looked at again, timers fire, what is missing is asked for."""
    state.wall_ms = wall_ms
    state.ticks += 1
    if is_paused(state) and state.paused_ticks < PAUSE_TIMERS_MAX * state.timer_ticks:
        state.paused_ticks += 1
    else:
        state.clock += 1
        if state.clock % PAUSE_RENEWAL_TICKS == 0:
            state.paused_ticks = max(0, state.paused_ticks - 1)
    process_quiet(state)
    process_waiting(state)
    process_view_timer(state)
    if state.active:
        process_stuck_proposals(state)
    process_relay_to_all(state)
    if state.active:
        process_request_timer(state)
    if state.active:
        process_due_timer(state)
    if state.active:
        process_filling_timer(state)
    process_snapshot(state)
    process_body_fetches(state)
    if not is_snapshot_coming(state):  # with all that blocks would bring
        process_block_fetches(state)
    process_showing(state)
    process_repetition(state)


def process_quiet(state: ReplicaState) -> None:
    """D57: a doubled timer is halved when there was nothing to wait for during QUIET_TIMERS of its lengths.

    While something waits only certified heights halve it, so a network in which one commit takes 1.5 T keeps the timer
    that its commits need (execution 41); on one that is idle a call a day must not meet the timers of last month.
    """
    is_quiet = state.active and not (state.pending or state.due_since is not None or state.view_deadline is not None)
    is_level = state.executed_height == state.certified_height and state.target is None
    if not is_quiet or not is_level or any(slot.digest is not None for slot in state.slots.values()):
        state.quiet_ticks = 0
        return
    state.quiet_ticks += 1
    if state.doublings and state.quiet_ticks >= QUIET_TIMERS * state.timer_ticks:
        state.doublings -= 1
        state.quiet_ticks = 0


def is_paused(state: ReplicaState) -> bool:
    """D58: slot e+1 is committed but unexecuted, or catch-up runs: slowness here is not held against the primary."""
    following = state.slots.get(state.executed_height + 1)
    is_behind = state.executing is not None or (following is not None and following.is_committed)
    return is_behind or (state.target is not None and state.target.height > state.executed_height)


def process_view_timer(state: ReplicaState) -> None:
    """M30, D57: no NEW-VIEW, or no further slot of X committed, since Q VIEW-CHANGEs were held: the next view."""
    if state.view_deadline is None:
        return
    if state.active and _is_new_view_done(state):
        state.view_deadline = None
        return
    if state.clock >= state.view_deadline:
        start_view_change(state, state.view + 1)


def _is_new_view_done(state: ReplicaState) -> bool:
    """Whether every slot of X is committed here, or was executed before the view: votes of then are not sent again."""
    return all(
        state.slots[height].is_committed
        for height in range(state.executed_height + 1, state.reproposed_top + 1)
        if height in state.slots
    )


def process_request_timer(state: ReplicaState) -> None:
    """D56: at T, a valid request that is not executed here, while no certificate is above e: the primary is suspected.

    Unlike D56 read by the letter, T runs for the oldest request only, from when it became the oldest: a queue longer
    than T of work must not depose a primary that works it off in order (M21, M23). A censored request becomes the
    oldest once all that arrived before it are executed, and is timed then, so censorship stays bounded.
    """
    if state.is_primary or (state.target is not None and state.target.height > state.executed_height):
        return
    waiting = _compute_proposals_waiting(state)
    if state.pending:
        oldest = next(iter(state.pending.values()))
        waiting.append(max(state.head_since, oldest.since))
    if waiting and state.clock - min(waiting) >= state.timer_ticks:
        start_view_change(state, state.view + 1)


def process_stuck_proposals(state: ReplicaState) -> None:
    """M24, execution 44: at T/4 the requests of a proposal without COMMITs wait here too, so that they go to all at T/2
    after that and everybody times them: who alone heard a primary's last proposal must not leave the view alone."""
    for height in sorted(state.slots):
        slot = state.slots[height]
        waited = state.clock - max(slot.accepted, state.executed_clock)
        if not _is_stuck(state, slot) or slot.is_reclaimed or 4 * waited < state.timer_ticks:
            continue
        slot.is_reclaimed = True
        if slot.batch is not None:
            reclaim(state, [slot.batch])


def _is_stuck(state: ReplicaState, slot: Slot) -> bool:
    """Whether a fresh proposal accepted here waits for its COMMITs."""
    is_open = slot.height > state.executed_height and not slot.is_committed
    return is_open and slot.digest is not None and not slot.is_reproposed


def _compute_proposals_waiting(state: ReplicaState) -> list[int]:
    """Since when each proposal accepted here waits for its COMMITs, counted from the last executed block (M21).

    The requests inside are known and not executed, whoever handed them in: where the backups stand in different views,
    or the primary died after some had prepared, only a view change brings them together, client or not (M51).
    """
    return [max(slot.accepted, state.executed_clock) for slot in state.slots.values() if _is_stuck(state, slot)]


def process_due_timer(state: ReplicaState) -> None:
    """D63: from due + 2 s on the own clock and on those of W others, the primary has T until a block has run the call.

    Unlike D63 by the letter the own clock is not enough: "clock alone never raises suspicion" (D60). One that is a
    minute ahead would leave the view before each due call; of W others, one is correct.
    """
    overdue_ms = compute_overdue_ms(state)
    agreeing = sum(notes.overdue_ms == overdue_ms for peer, notes in state.peers.items() if peer != state.replica_id)
    if state.is_primary or not overdue_ms or agreeing < state.configuration.quorums.weak:
        state.due_since = None
    elif state.due_since is None:
        state.due_since = state.clock
    elif state.clock - state.due_since >= state.timer_ticks:
        start_view_change(state, state.view + 1)


def process_filling_timer(state: ReplicaState) -> None:
    """D40, D64: once a change is decided, every block up to E is due, and all together: at T the primary is suspected.

    Blocks that execute requests renew the patience, as work that the request timer judges (D56). Empty ones do not, nor
    ones of requests that were answered before (D43): a primary that fills with one a little before each T would
    otherwise keep an epoch open, and with it a stolen key in office, for L timers in place of one.
    """
    if state.is_primary or state.epoch_end is None or state.executed_height >= state.epoch_end:
        return
    if state.filling_since is None:
        state.filling_since = state.clock
    elif state.clock - state.filling_since >= state.timer_ticks:
        start_view_change(state, state.view + 1)


def process_repetition(state: ReplicaState) -> None:
    """M33, M50: STATUS to all, often while something is outstanding; the own VIEW-CHANGE while a view is pending."""
    period = STATUS_TICKS if is_outstanding(state) else IDLE_STATUS_TICKS
    if state.ticks % period:
        return
    state.actions.append(Publish(message=compute_status(state)))
    if not state.active and state.own_view_change is not None and state.ticks % (2 * STATUS_TICKS) == 0:
        state.actions.append(Publish(message=state.own_view_change))


def is_outstanding(state: ReplicaState) -> bool:
    """Whether anything here waits for a message of somebody else."""
    return (
        not state.active
        or state.executed_height > state.certified_height
        or bool(state.pending)
        or bool(state.missing_bodies)
        or state.target is not None
        or compute_overdue_ms(state) > 0
        or state.epoch_end is not None
        or any(slot.digest is not None or slot.commits for slot in state.slots.values())
    )
