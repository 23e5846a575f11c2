"""The memory of a replica, after every turn: each collection of its core and each table of its door has a limit.

The limits are named here once more, from the constants that the product keeps them by, so that neither a forgotten
eviction nor a new collection without a limit passes: a test compares these tables with the fields that exist.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Final

from pbft.core.config import (
    EARLY_BYTES_MAX,
    EARLY_ENVELOPES_MAX,
    FETCHED_BLOCKS_BYTES_MAX,
    FETCHED_BLOCKS_MAX,
    PENDING_BYTES_MAX,
    PENDING_REQUESTS_MAX,
    TIMER_DOUBLINGS_MAX,
)
from pbft.core.replica_state import PeerNotes, ReplicaState
from pbft.node.client_door import ClientDoor
from pbft.node.client_waiting import OUTCOMES_MAX, WAITING_MAX
from pbft.simulation.violation import Violation
from pbft.wire.limits import DIGESTS_PER_SLOT_MAX, VOTES_PER_SLOT

StateLimit = Callable[[ReplicaState], int]


def _members(state: ReplicaState) -> int:
    return state.configuration.member_count


def _window(state: ReplicaState) -> int:
    return state.configuration.window


def _windows(state: ReplicaState) -> int:
    """The own window, and that of a NEW-VIEW that starts above it."""
    return 2 * state.configuration.window


def _uncertified(state: ReplicaState) -> int:
    """Heights executed here and not certified: ordered ones within the window, adopted ones within what is fetched."""
    return _window(state) + FETCHED_BLOCKS_MAX


STATE_LIMITS: Final[Mapping[str, StateLimit]] = {
    "view_changes": _members,
    "header_hashes": lambda state: _uncertified(state) + _window(state) + 2,
    "slots": _windows,
    "prepared": _window,
    "pre_prepared": _window,
    "bodies": lambda state: _window(state) * DIGESTS_PER_SLOT_MAX,
    "voted": _uncertified,
    "header_votes": _windows,
    "pending": lambda _: PENDING_REQUESTS_MAX,
    "queue": lambda state: len(state.pending),
    "to_primary": lambda _: PENDING_REQUESTS_MAX,
    "fetched": lambda state: FETCHED_BLOCKS_MAX - len(state.adopted),
    "adopted": lambda state: FETCHED_BLOCKS_MAX - len(state.fetched),
    "waypoints": lambda _: FETCHED_BLOCKS_MAX,
    "missing_bodies": lambda state: (
        2 * _windows(state)
    ),  # pruned at ticks: those of heights passed since are still there
    "loose_bodies": _windows,
    "unanswered": _members,
    "newest_votes": _members,
    "snapshot_liars": _members,
    "snapshot_failures": _members,
    "outgoing": lambda state: VOTES_PER_SLOT * _window(state),  # nothing leaves before the first tick after a start
    "actions": lambda _: 0,
    "peers": lambda state: _members(state) + (not state.is_voter),  # an observer has notes about itself beside them
}
"""The size that each collection of a replica's state may have when a turn is over."""

_contents_of: Final = attrgetter(*STATE_LIMITS)

NOTES_LIMITS: Final[Mapping[str, Callable[[ReplicaState], int]]] = {
    "early": lambda _: EARLY_ENVELOPES_MAX,
    "proposals_sent": lambda state: state.configuration.window,
}
"""The same for what is remembered about one peer."""


def check_state(state: ReplicaState) -> None:
    """Every collection within its limit, and the watermarks where they belong."""
    name, members = f"replica {state.replica_id}", _members(state)
    for (collection, limit), content in zip(STATE_LIMITS.items(), _contents_of(state), strict=True):
        if content and len(content) > limit(state):
            raise Violation("bounds", f"{name}: {len(content)} in {collection}, at most {limit(state)}")
    for height, digests in state.pre_prepared.items():
        if len(digests) > DIGESTS_PER_SLOT_MAX:
            raise Violation("bounds", f"{name}: {len(digests)} Q entries at height {height}")
    for height, votes in state.header_votes.items():
        if len(votes) > members:
            raise Violation("bounds", f"{name}: {len(votes)} header votes at height {height}")
    for peer, notes in state.peers.items():
        if notes.early or notes.early_bytes or notes.proposals_sent:
            _check_notes(name, state, peer, notes)
    if state.snapshot is not None and len(state.snapshot.offers) > members:
        raise Violation("bounds", f"{name}: {len(state.snapshot.offers)} offers of snapshots")
    _check_slots(name, state)
    if state.doublings > TIMER_DOUBLINGS_MAX:
        raise Violation("bounds", f"{name}: timers doubled {state.doublings} times (M31)")
    if state.pending_bytes > PENDING_BYTES_MAX:
        raise Violation("bounds", f"{name}: {state.pending_bytes} bytes of requests wait")
    if state.fetched or state.adopted:
        held = sum(block.size_bytes for block in (*state.fetched.values(), *state.adopted.values()))
        if held > FETCHED_BLOCKS_BYTES_MAX:
            raise Violation("bounds", f"{name}: {held} bytes of fetched blocks")
    if state.bodies and not state.bodies.keys() <= {d for entries in state.pre_prepared.values() for d in entries}:
        raise Violation("bounds", f"{name}: a body is kept that no Q entry names")


def _check_notes(name: str, state: ReplicaState, peer: int, notes: PeerNotes) -> None:
    for collection, limit in NOTES_LIMITS.items():
        if (size := len(getattr(notes, collection))) > limit(state):
            raise Violation("bounds", f"{name}: {size} in {collection} of r{peer}, at most {limit(state)}")
    if notes.early_bytes > EARLY_BYTES_MAX:
        raise Violation("bounds", f"{name}: {notes.early_bytes} bytes of early envelopes of r{peer}")


def _check_slots(name: str, state: ReplicaState) -> None:
    """Slots lie above h, in the own window or in that of what a NEW-VIEW decided; votes in them are members'."""
    low, high, top, members = state.certified_height, state.high_watermark, state.reproposed_top, _members(state)
    window = state.configuration.window
    if any(not (low < height <= high or max(low, top - window) < height <= top) for height in state.slots):
        raise Violation("bounds", f"{name}: slots {sorted(state.slots)}; h {low}, H {high}, X up to {top}")
    for slot in state.slots.values():
        if len(slot.prepares) > members or len(slot.commits) > members:
            raise Violation("bounds", f"{name}: more votes than members at height {slot.height}")
    if state.epoch_end is not None and max([state.executed_height, *state.slots]) > state.epoch_end:
        raise Violation("bounds", f"{name}: accepts above {state.epoch_end}, where its epoch ends (D40)")
    if state.executed_height < low:
        raise Violation("bounds", f"{name}: executed {state.executed_height} below certified {low}")


def check_door(replica: int, door: ClientDoor) -> None:
    """Who waits at a door: in its two tables, and by the figures that these count."""
    waiting, questions = door._waiting, door._questions
    found = sum(1 for _ in waiting)
    if found != len(waiting) or found > WAITING_MAX:
        raise Violation("bounds", f"r{replica}: {found} wait at the door, which counts {len(waiting)}")
    asked = sum(len(visits) for table in (questions._young, questions._old) for visits in table.values())
    if asked != len(questions) or asked > OUTCOMES_MAX:
        raise Violation("bounds", f"r{replica}: {asked} outcomes asked for at the door, which counts {len(questions)}")
