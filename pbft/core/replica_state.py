"""All that one replica knows, as one plain value that the protocol's functions are handed.

What survives a crash is marked `journaled`; the rest is rebuilt from peers (STATUS) or from the ledger. Every
collection is bounded: by the window, by the number of members, or by a limit named in `pbft.core.config`.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ledger.quorum_certificate import QuorumCertificate
from pbft.core.actions import Action, Evidence, Halt
from pbft.core.config import (
    EARLY_BYTES_MAX,
    EARLY_ENVELOPES_MAX,
    OBSERVER,
    SNAPSHOT_LAG_HEIGHTS,
    CoreConfiguration,
    EpochStart,
)
from pbft.core.message_log import Slot
from pbft.core.messages import Batch, BlockBody, Envelope, HeaderVote, Request, SignedMessage, SlotEntry, SnapshotOffer


@dataclass(slots=True, kw_only=True)
class PendingRequest:
    """A valid request that has not been executed here."""

    request: Request
    source: int  # the replica that relayed it first; the own id where a client handed it in here
    since: int  # counted tick from which it waits in this view (D56)
    relayed: int | None = None  # counted tick at which it last went to all in this view


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedHeaderVote:
    """A member's header vote, with the envelope that proves it to others."""

    vote: HeaderVote
    envelope: Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedBlock:
    """A block on its way in: not believed until its path reaches a certificate or W equal votes (D28)."""

    body: BlockBody
    header_hash: bytes
    size_bytes: int  # of its transactions


@dataclass(slots=True, kw_only=True)
class SnapshotTransfer:
    """A snapshot on its way in: first offers, then one chunk after the other, then the jump (M46)."""

    offers: dict[int, SnapshotOffer] = field(default_factory=dict)  # by replica, its latest
    chosen: SnapshotOffer | None = None
    chosen_tick: int = 0
    position: bytes | None = None  # of the chunk that comes next; None before the first, and when all are here
    source: int | None = None  # whom it was asked of
    is_busy: bool = False  # the ledger is at work, and will report
    asked_tick: int = 0  # when offers or a chunk were last asked for
    silences: int = 0  # questions in a row, for offers or for a chunk, that nobody answered
    unanswered: dict[int, int] = field(default_factory=dict)  # by source: chunks in a row that it did not send
    round: int = 0  # rotates the source
    chunks: int = 0  # taken


@dataclass(slots=True, kw_only=True)
class PeerNotes:
    """What this replica remembers about another one, all of it about traffic, none of it trusted."""

    status_answered_tick: int = -1_000
    certificate_sent_tick: int = -1_000
    said_tick: int = -1_000  # when it was last told what it had said
    fetches_tick: int = -1_000  # when its fetches began to be counted
    fetches_answered: int = 0  # since then
    executed_height: int = 0  # its own claim; only chooses whom to ask
    overdue_ms: int = 0  # the due time that it waits for by its own clock, as it says; 0 for none (D63)
    relayed_requests: int = 0  # pending here because it relayed them first
    relayed_bytes: int = 0
    proposals_sent: dict[int, int] = field(default_factory=dict)  # height -> tick at which it was sent again
    early: deque[Envelope] = field(default_factory=deque)  # of views not entered here yet (M13)
    early_bytes: int = 0

    def keep_early(self, envelope: Envelope) -> None:
        """Keeps a message for a view to come; the oldest leave when there are too many, or too large ones."""
        if self.early and self.early[-1] is envelope:
            return  # one envelope holds many votes
        self.early.append(envelope)
        self.early_bytes += envelope.size_bytes
        while len(self.early) > EARLY_ENVELOPES_MAX or self.early_bytes > EARLY_BYTES_MAX:
            self.early_bytes -= self.early.popleft().size_bytes

    def take_early(self) -> tuple[Envelope, ...]:
        """All that was kept, in order of arrival; nothing is kept any more."""
        kept = tuple(self.early)
        self.early.clear()
        self.early_bytes = 0
        return kept


@dataclass(slots=True, kw_only=True)
class ReplicaState:
    """The state of one replica in one epoch."""

    configuration: CoreConfiguration
    replica_id: int  # OBSERVER where this epoch does not list the key that is held here
    signer: Callable[[bytes], bytes]
    epoch_end: int | None = None  # E, once a change is decided and executed here; from the ledger (D40)
    next_epoch: EpochStart | None = None  # once E is executed here

    # The view (section 4.4). Journaled: view, active, own VIEW-CHANGE, the NEW-VIEW entered by.
    view: int = 0
    active: bool = True
    own_view_change: Envelope | None = None
    new_view: Envelope | None = None
    view_changes: dict[int, Envelope] = field(default_factory=dict)  # the latest of each member (M34)
    reproposed_top: int = 0  # the highest height that NEW-VIEW decided, or the epoch's base; fresh proposals lie above
    conviction: Evidence | None = None  # of the primary whose view was left for it, until a later view is entered
    new_view_sent: int = 0  # the latest view for which this replica made a NEW-VIEW

    # Watermarks and execution. Journaled: h with its certificate; e and the header hashes come from the ledger.
    certified_height: int = 0  # h
    certified_hash: bytes = b""
    certificate: QuorumCertificate | None = None
    executed_height: int = 0  # e
    executing: int | None = None  # asked of the ledger and not yet reported
    header_hashes: dict[int, bytes] = field(default_factory=dict)
    next_due_ms: int | None = None

    # The message log and what VIEW-CHANGE reports. Journaled: prepared (P), pre_prepared (Q), bodies, voted.
    slots: dict[int, Slot] = field(default_factory=dict)
    prepared: dict[int, SlotEntry] = field(default_factory=dict)
    pre_prepared: dict[int, dict[bytes, int]] = field(default_factory=dict)
    bodies: dict[bytes, Batch] = field(default_factory=dict)
    voted: dict[int, bytes] = field(default_factory=dict)
    header_votes: dict[int, dict[int, CountedHeaderVote]] = field(default_factory=dict)
    newest_votes: dict[int, CountedHeaderVote] = field(default_factory=dict)  # of each member, certified or not (M28)
    proposed_top: int = 0  # the highest height this replica proposed or saw accepted in this view

    # Requests.
    pending: dict[bytes, PendingRequest] = field(default_factory=dict)  # by tx id, in order of arrival
    pending_bytes: int = 0
    queue: dict[bytes, Request] = field(default_factory=dict)  # pending and not proposed in this view
    to_primary: list[Request] = field(default_factory=list)  # handed in here, on their way to the primary

    # Catch-up (D28).
    target: QuorumCertificate | None = None  # the highest certificate above e
    fetched: dict[int, FetchedBlock] = field(default_factory=dict)
    adopted: dict[int, FetchedBlock] = field(default_factory=dict)  # believed, waiting for execution
    fetch_source: int | None = None  # whom blocks were asked of
    fetch_failures: int = 0  # rounds in a row that brought nothing to believe: the next is waited for longer
    fetch_tick: int = -1_000
    waypoints: dict[int, QuorumCertificate] = field(default_factory=dict)  # certificates between e and the target
    missing_bodies: set[bytes] = field(default_factory=set)
    loose_bodies: dict[bytes, Batch] = field(default_factory=dict)  # fetched, not promised yet
    bodies_tick: int = -1_000
    fetch_round: int = 0  # rotates the source of blocks
    bodies_round: int = 0  # rotates the source of bodies, by itself: two rotations in step never meet some sources
    snapshot_lag: int = SNAPSHOT_LAG_HEIGHTS  # behind by more, a snapshot is taken
    snapshot: SnapshotTransfer | None = None
    snapshot_liars: set[int] = field(default_factory=set)  # who sent a chunk that is not the certified state's
    snapshot_failures: dict[int, int] = field(
        default_factory=dict
    )  # by source: transfers from it that ended in silence
    progress_tick: int = 0  # when e last moved

    # The own key elsewhere (M28). Nothing is said before `is_started`.
    asks: bool = False  # whether others are asked what they have heard of this key, and their words searched for it
    unanswered: set[int] = field(default_factory=set)  # who has been asked and has not answered
    is_started: bool = False

    # Time, in ticks (D56-D59).
    ticks: int = 0  # every tick: retransmission
    clock: int = 0  # ticks that count against a primary: without pauses (D58)
    wall_ms: int | None = None  # unknown until the first tick
    doublings: int = 0  # timers are T * 2**doublings
    paused_ticks: int = 0  # spent in this view, and not given back yet (D58)
    quiet_ticks: int = 0  # in a row with nothing to wait for, while timers are doubled (D57)
    view_deadline: int | None = None  # on `clock`
    head_since: int = 0  # on `clock`: since when the oldest request is the oldest
    executed_clock: int = 0  # on `clock`: when e last moved
    filling_since: int | None = None  # on `clock`: since when the primary is to fill the epoch, as `due_since` (D64)
    due_since: int | None = None  # on `clock`: since when W others agree that a call is overdue (D63)
    halving_height: int = 0  # certified height from which the next halving counts

    # Output of the current call.
    outgoing: list[SignedMessage] = field(default_factory=list)  # votes of this turn: one envelope (D61)
    actions: list[Action] = field(default_factory=list)
    peers: dict[int, PeerNotes] = field(default_factory=dict)
    halt: Halt | None = None  # journaled

    @property
    def halted(self) -> str | None:
        """Why this replica stopped for good, or None."""
        return None if self.halt is None else self.halt.reason

    @property
    def primary(self) -> int:
        return self.configuration.primary(self.view)

    @property
    def is_primary(self) -> bool:
        return self.primary == self.replica_id

    @property
    def is_voter(self) -> bool:
        """Whether this replica signs anything in this epoch (D37)."""
        return self.replica_id != OBSERVER

    @property
    def timer_ticks(self) -> int:
        """T as it stands, doubled per failed view, saturating (D57, M31)."""
        return self.configuration.base_timer_ticks << self.doublings

    @property
    def view_timer_ticks(self) -> int:
        """The view timer as it stands, doubled alike (D57)."""
        return self.configuration.view_timer_ticks << self.doublings

    @property
    def high_watermark(self) -> int:
        """H = h + L, and never above the end of the epoch: nothing there is accepted before E is certified (D40)."""
        top = self.certified_height + self.configuration.window
        return top if self.epoch_end is None else min(top, self.epoch_end)

    @property
    def others(self) -> list[int]:
        return [member for member in range(self.configuration.member_count) if member != self.replica_id]

    def slot(self, height: int) -> Slot:
        """The slot of a height, made where there is none. Callers check the watermarks first."""
        found = self.slots.get(height)
        if found is None:
            found = self.slots[height] = Slot(height=height)
        return found

    def is_in_reach(self, height: int) -> bool:
        """In the own window, or in that of the NEW-VIEW that was entered, which may lie far above it (M13): what lies
        between the two is fetched, and votes there would only fill the memory of a replica that lags."""
        is_decided = self.reproposed_top - self.configuration.window < height <= self.reproposed_top
        return height > self.certified_height and (height <= self.high_watermark or is_decided)

    def is_in_window(self, height: int) -> bool:
        """h < n <= H (M8, M13)."""
        return self.certified_height < height <= self.high_watermark
