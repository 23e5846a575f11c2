"""The one driver: performs what the core asks, in one order, and lets nothing of a turn leave before its sync.

The order of a round (D3, D34): seal, journal, sync, send, hand own envelopes back, execute, serve. Rounds repeat until
the core asks for nothing more; that is a turn. Work that arrives in one reactor turn shares one sync: `on_frame`,
`on_request`, `on_executed` and `tick` only hand things in, and `flush` ends the turn.

No Twisted here, and no LMDB: production, the tests' cluster and the simulator run this same code (D2).
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol, TypeAlias

from ledger.epochs import EpochLink
from ledger.errors import InvariantViolation, StoreError
from pbft.core.actions import (
    Action,
    BeginSnapshot,
    Broadcast,
    CheckCode,
    Dropped,
    Evidence,
    Execute,
    Halt,
    InstallSnapshot,
    OfferSnapshot,
    Persist,
    PersistBody,
    PersistEnvelope,
    Publish,
    Reclaim,
    Send,
    SendBlocks,
    SendEpochEnd,
    SendSnapshotChunk,
    StageChunk,
    StoreCertificate,
)
from pbft.core.messages import (
    Batch,
    CertificateNotice,
    ClientRequest,
    CodeChecked,
    Envelope,
    Executed,
    LocalMessage,
    PeerMessage,
    Relay,
    Request,
    SignedMessage,
)
from pbft.core.persisted import body_key
from pbft.core.replica import Replica
from pbft.node.code_checks import CodeChecks
from pbft.node.execution import LedgerExecution
from pbft.node.journal import Journal
from pbft.node.request_lanes import Lane, Lanes
from pbft.wire.codec import peek_kind, requests_in
from pbft.wire.limits import WireError

INNOCENT_REFUSALS: Final = frozenset({"epoch"})  # of frames that a correct replica sends too: one of another epoch

Outgoing: TypeAlias = tuple[int | None, PeerMessage]
"""A receiver, None for all others, and what it gets."""


class Outbound(Protocol):
    """Links to the other replicas: frames are queued, sent when the link is up, and may be lost."""

    def send(self, replica_id: int, frame: bytes) -> None:
        """To one replica."""
        ...

    def broadcast(self, frame: bytes) -> None:
        """To all others."""
        ...


class Sealer(Protocol):
    """Bytes and signatures: the wire's functions bound to this replica's key and network (`assembly.WireSealer`)."""

    def seal(self, messages: tuple[SignedMessage, ...]) -> list[Envelope]:
        """The messages signed, in few envelopes; exactly one for a single message."""
        ...

    def frames(self, message: PeerMessage) -> Iterable[bytes]:
        """The message as frames within the wire's limits."""
        ...

    def journal_bytes(self, envelope: Envelope) -> bytes:
        """An envelope for the journal."""
        ...

    def journal_body(self, batch: Batch) -> bytes:
        """A whole body for the journal, its private payloads sealed (D50)."""
        ...

    def decode(self, frame: bytes) -> PeerMessage:
        """The message in a frame. Raises WireError."""
        ...

    def verify(self, message: PeerMessage) -> None:
        """Checks every signature inside. Raises WireError."""
        ...


FindLinks: TypeAlias = Callable[[int], tuple[EpochLink, ...]]
"""Epoch -> the way to it from genesis, which evidence carries; read only for a piece that is new."""


class EvidenceSink(Protocol):
    """Where proof against a replica is kept (M54)."""

    def record(self, evidence: Evidence, find_links: FindLinks) -> bool:
        """Keeps one piece, if it is new: the same one comes as often as its offence is repeated."""
        ...


class Counters(Protocol):
    """Metrics, counted at the edge only."""

    def count(self, name: str, reason: str = "", amount: int = 1) -> None:
        """Adds to a counter, as in `count("frame_refused", "bad_signature")`."""
        ...


class Driver:
    """Drives one replica. `wake` is called when work was handed in; `on_halt` once, when the replica stops for good."""

    def __init__(
        self,
        *,
        replica: Replica,
        journal: Journal,
        sealer: Sealer,
        outbound: Outbound,
        execution: LedgerExecution,
        evidence: EvidenceSink,
        counters: Counters,
        lanes: Lanes,
        wall_ms: Callable[[], int],
        wake: Callable[[], None],
        on_halt: Callable[[str], None],
    ) -> None:
        self._replica = replica
        self._journal = journal
        self._sealer = sealer
        self._outbound = outbound
        self._execution = execution
        self._evidence = evidence
        self._counters = counters
        self._lanes = lanes
        self._lane_of: dict[int, Lane] = {}  # by sender
        self._code_checks = CodeChecks(execution.check_source, counters)
        self._wall_ms = wall_ms
        self._wake = wake
        self._on_halt = on_halt
        self._actions: list[Action] = []
        self._reports: list[LocalMessage] = []
        self._tick_is_due = False
        self._is_flushing = False
        self._halted: str | None = None
        execution.start(self.on_executed, self.stop)
        if replica.halt is not None:
            self.stop(replica.halt.reason, replica.halt.kind)

    @property
    def halted(self) -> str | None:
        """Why this node stopped for good, or None."""
        return self._halted

    def on_frame(self, sender_replica_id: int, frame: bytes, on_refused: Callable[[], bool] = lambda: False) -> None:
        """A frame from the link of a replica: decoded, verified, given to the core; else counted and dropped (M5).

        `on_refused` is called, now or later, where it is refused and no correct replica sends its like: what is only of
        no use here is not meant. It says whether the sender is hung up on: what of it waits is then dropped. Signatures
        cost far more than the rest, so the core is asked first what of the message it wants; where they are checked
        elsewhere, it is asked again when the verdicts are there.
        """
        if self._halted is not None:
            return
        kind = peek_kind(frame)
        if kind is not None and not self._replica.is_awaited(sender_replica_id, kind):
            self._counters.count("message_dropped", f"unwanted_{kind.__name__.lower()}")
            return
        try:
            message = self._sealer.decode(frame)
        except WireError as error:
            self._refuse(sender_replica_id, error, on_refused)
            return
        wanted = self._compute_wanted(sender_replica_id, message)
        if wanted is None:
            return
        epoch = self._replica.epoch
        lane = self._lane_of.get(sender_replica_id)
        if lane is None:
            lane = self._lane_of[sender_replica_id] = self._lanes.open()

        def go_on() -> None:
            # In another epoch the id may be another's; what is missing is sent again (M50).
            is_current = self._replica.epoch == epoch and self._lane_of.get(sender_replica_id) is lane
            if self._halted is None and is_current:
                still_wanted = self._compute_wanted(sender_replica_id, wanted)
                if still_wanted is not None:
                    self._take(sender_replica_id, still_wanted, on_refused)

        if not lane.hold(requests_in(wanted), len(frame), go_on):
            self._take(sender_replica_id, wanted, on_refused)

    def _compute_wanted(self, sender_replica_id: int, message: PeerMessage) -> PeerMessage | None:
        """The part of a message that can be of use here; None for no part, which is counted."""
        if isinstance(message, Relay):
            message = self._unanswered(message.requests)
        wanted = self._replica.compute_wanted(sender_replica_id, message)
        if wanted is None:
            self._counters.count("message_dropped", f"unwanted_{type(message).__name__.lower()}")
        return wanted

    def _take(self, sender_replica_id: int, wanted: PeerMessage, on_refused: Callable[[], bool]) -> None:
        """To the core, once every signature holds."""
        try:
            self._sealer.verify(wanted)
        except WireError as error:
            self._refuse(sender_replica_id, error, on_refused)
            return
        self._counters.count("message", type(wanted).__name__)
        if isinstance(wanted, Relay):
            self._on_relay(sender_replica_id, wanted)
        else:
            self._hand_in(sender_replica_id, wanted)

    def _refuse(self, sender_replica_id: int, error: WireError, on_refused: Callable[[], bool]) -> None:
        self._counters.count("frame_refused", error.code)
        if error.code not in INNOCENT_REFUSALS and on_refused():
            lane = self._lane_of.pop(sender_replica_id, None)
            if lane is not None:
                lane.release()  # it is nobody's any more: each forgery that waits in it would cost a check

    def _on_relay(self, sender_replica_id: int, relay: Relay) -> None:
        """The core gets requests that bring code when the worker has survived it, each by itself, the others at once:
        what the core knows of, it waits for, and suspects a primary that does not order it (D53)."""
        epoch = self._replica.epoch

        def take(request: Request) -> None:
            if self._replica.epoch == epoch:  # else the id may be another's by now; who relayed it does it again
                self._on_survived(sender_replica_id, request, Relay(requests=(request,)))

        for request in relay.requests:
            if request.has_code:
                self._code_checks.check_request(sender_replica_id, request, partial(take, request))
        plain = tuple(request for request in relay.requests if not request.has_code)
        if plain:
            self._hand_in(sender_replica_id, Relay(requests=plain))

    def _on_survived(self, sender_replica_id: int, request: Request, message: PeerMessage | LocalMessage) -> None:
        """A request whose code was checked; not one that the others have ordered meanwhile: it has its answer (D43)."""
        if self._halted is None and not self._execution.is_used(request):
            self._hand_in(sender_replica_id, message)

    def _hand_in(self, sender_replica_id: int, message: PeerMessage | LocalMessage) -> None:
        """To the core, in the turn that runs or in one that is now due."""
        if self._halted is None:
            self._actions += self._replica.receive(sender_replica_id, message)
            if not self._is_flushing:
                self._wake()

    def _unanswered(self, requests: Iterable[Request]) -> Relay:
        """Those requests whose nonce no block has used (D43)."""
        return Relay(requests=tuple(request for request in requests if not self._execution.is_used(request)))

    def on_request(self, request: Request) -> None:
        """A client's request that passed the door."""
        message = ClientRequest(request=request)
        own_id = self._replica.replica_id
        if request.has_code:
            self._code_checks.check_request(
                own_id, request, lambda: self._on_survived(self._replica.replica_id, request, message)
            )
        else:
            self._hand_in(own_id, message)

    def on_executed(self, executed: Executed) -> None:
        """The ledger's word about a block, from `LedgerExecution`; at once, or in a later reactor turn."""
        self._reports.append(executed)
        if not self._is_flushing:
            self._wake()

    def tick(self) -> None:
        """Time passes: to be called every `pbft.core.config.TICK_MS`. Late calls count once, after messages (D59)."""
        self._tick_is_due = True
        self._wake()

    def stop(self, reason: str, kind: str = "stopped") -> None:
        """Stops for good: nothing is sent, journaled or executed any more; what is stored stays as it is."""
        if self._halted is None:
            self._halted = reason
            self._counters.count("halted", kind)
            self._on_halt(reason)

    def flush(self) -> None:
        """Ends the turn: everything handed in is worked off, journaled, sent and executed.

        A failed write, and a contradiction of this replica with itself, stop the node (D3, M26).
        """
        if self._is_flushing:
            return  # a callback of this very turn; its work is taken up below
        self._is_flushing = True
        try:
            while self._halted is None:
                self._collect()
                if not self._actions:
                    break
                self._perform_round()
        except StoreError as error:
            self.stop(f"the store failed: {error}", "store")
        except InvariantViolation as error:
            self.stop(f"this replica contradicts itself: {error}", "invariant")
        finally:
            self._is_flushing = False

    def _collect(self) -> None:
        """Gives the core what came in, messages before time, and lets it end its turn."""
        reports, self._reports = self._reports, []
        for report in reports:
            self._actions += self._replica.receive(self._replica.replica_id, report)
        if self._tick_is_due:
            self._tick_is_due = False
            self._execution.tick()
            self._actions += self._replica.tick(self._wall_ms())
        self._actions += self._replica.end_turn()

    def _perform_round(self) -> None:
        """One round: nothing below the sync line happens unless everything above it is durable."""
        actions, self._actions = self._actions, []
        outgoing, own = self._write_journal(actions)
        if self._journal.is_dirty:
            self._counters.count("journal_sync")
        self._journal.sync()
        if self._replica.halt is not None:
            outgoing, own = [], []  # what it was about to say, it says no more (M45)
        for receiver, message in outgoing:
            self._send(receiver, message)
        for envelope in own:
            self._actions += self._replica.receive(self._replica.replica_id, envelope)
        for action in actions:
            self._serve(action)

    def _write_journal(self, actions: list[Action]) -> tuple[list[Outgoing], list[Envelope]]:
        """Seals, and hands every record to the journal. Returns what to send (None: to all), and own envelopes."""
        outgoing: list[Outgoing] = []
        own: list[Envelope] = []
        for action in actions:
            match action:
                case Persist():
                    self._journal.append(action.key, action.value)
                case PersistBody():
                    self._journal.append(body_key(action.batch.digest), self._sealer.journal_body(action.batch))
                case PersistEnvelope():
                    self._journal.append(action.key, self._sealer.journal_bytes(action.envelope))
                case Broadcast():
                    envelopes = self._sealer.seal(action.messages)
                    if action.journal_key is not None:
                        self._journal.append(action.journal_key, self._sealer.journal_bytes(envelopes[0]))
                    outgoing += [(None, envelope) for envelope in envelopes]
                    own += envelopes
                case Publish():
                    outgoing.append((None, action.message))
                case Send():
                    outgoing.append((action.replica, action.message))
        return outgoing, own

    def _send(self, receiver: int | None, message: PeerMessage) -> None:
        for frame in self._sealer.frames(message):
            if receiver is None:
                self._outbound.broadcast(frame)
            else:
                self._outbound.send(receiver, frame)

    def _serve(self, action: Action) -> None:
        """What follows the sending: execution, the ledger's certificates, blocks for others, and what is counted."""
        match action:
            case Execute():
                self._execution.execute(action.height, action.batch, is_journaled=action.is_journaled)
            case StoreCertificate():
                self._execution.store_certificate(action.certificate)
            case OfferSnapshot() | SendSnapshotChunk() | BeginSnapshot() | StageChunk() | InstallSnapshot():
                self._serve_snapshot(action)
            case SendBlocks():
                blocks = self._execution.compute_blocks(action.first_height)
                if blocks is not None:
                    self._send(action.replica, blocks)
            case Reclaim():
                self._on_relay(self._replica.replica_id, self._unanswered(action.requests))
            case CheckCode():
                checked = CodeChecked(digest=action.batch.digest)
                self._code_checks.check_proposal(
                    action.batch.requests, lambda: self._hand_in(self._replica.replica_id, checked)
                )
            case SendEpochEnd():
                certificate = self._execution.epoch_end_certificate(action.epoch)
                if certificate is not None:
                    self._send(action.replica, CertificateNotice(certificate=certificate))
            case Evidence():
                if self._evidence.record(action, self._execution.epoch_links):
                    self._counters.count("evidence", action.kind)
            case Dropped():
                self._counters.count("message_dropped", action.code)
            case Halt():
                self.stop(action.reason, action.kind)

    def _serve_snapshot(
        self, action: OfferSnapshot | SendSnapshotChunk | BeginSnapshot | StageChunk | InstallSnapshot
    ) -> None:
        """Snapshots for others and from them; what the ledger says of a chunk goes back to the core in this turn."""
        snapshots = self._execution.snapshots
        match action:
            case OfferSnapshot():
                self._send_if(action.replica, snapshots.compute_offer(action.replica, action.above_height))
            case SendSnapshotChunk():
                chunk = snapshots.compute_chunk(action.replica, action.height, action.position)
                self._send_if(action.replica, chunk or snapshots.compute_offer(action.replica, action.height))
            case BeginSnapshot():
                self._reports.append(snapshots.begin(action.header, action.certificate))
            case StageChunk():
                report = snapshots.stage(action.position, action.chunk)
                self._counters.count("snapshot_chunk", report.code or "taken")
                self._reports.append(report)
            case InstallSnapshot():
                pending = [known.request for known in self._replica.state.pending.values()]
                self._reports.append(self._execution.install_snapshot(pending))
                self._counters.count("snapshot_installed")

    def _send_if(self, receiver: int, message: PeerMessage | None) -> None:
        if message is not None:
            self._send(receiver, message)
