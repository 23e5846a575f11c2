"""The pure replica: messages and ticks in, actions out. The face of the core; the rules are in its neighbours.

`receive` takes what the edge has parsed and verified; `end_turn` closes a turn (votes of a turn share an envelope, and
D24 and batching look at what a turn left behind); `tick` moves time. A halted replica answers nothing.
"""

from collections.abc import Callable
from typing import Any, Final

from pbft.core import (
    checkpoints,
    deposal,
    epochs,
    ordering,
    requests,
    snapshot_transfer,
    state_transfer,
    status,
    timers,
    view_change,
)
from pbft.core.actions import Action, Broadcast, Dropped, Evidence, Halt
from pbft.core.config import SNAPSHOT_LAG_HEIGHTS, CoreConfiguration
from pbft.core.errors import InvalidMessage
from pbft.core.evidence import accuse
from pbft.core.halting import DIVERGED
from pbft.core.messages import (
    Batches,
    Blocks,
    CertificateNotice,
    ClientRequest,
    CodeChecked,
    Commit,
    Envelope,
    Executed,
    FetchBatches,
    FetchBlocks,
    FetchSaid,
    FetchSnapshot,
    FetchSnapshotChunk,
    Forward,
    HeaderVote,
    LocalMessage,
    NewView,
    PeerMessage,
    Prepare,
    PrePrepare,
    Relay,
    Said,
    SignedMessage,
    SnapshotChunk,
    SnapshotInstalled,
    SnapshotOffer,
    SnapshotStaged,
    Status,
    ViewChange,
)
from pbft.core.own_key import process_asking, process_fetch_said, process_own, process_said
from pbft.core.persisted import LedgerHead, Restored
from pbft.core.replica_state import ReplicaState
from pbft.core.restart import compute_state
from pbft.core.unasked import compute_wanted, is_awaited

SIGNED: Final[dict[type, Callable[[ReplicaState, int, Envelope, Any], None]]] = {
    PrePrepare: ordering.process_pre_prepare,
    Prepare: ordering.process_prepare,
    Commit: ordering.process_commit,
    HeaderVote: checkpoints.process_header_vote,
    ViewChange: view_change.process_view_change,
    NewView: view_change.process_new_view,
}
"""What becomes of each signed message: (state, signer, envelope, message)."""

LINK: Final[dict[type, Callable[[ReplicaState, int, Any], None]]] = {
    Status: status.process_status,
    FetchBatches: state_transfer.process_fetch_batches,
    Batches: state_transfer.process_batches,
    FetchBlocks: state_transfer.process_fetch_blocks,
    Blocks: state_transfer.process_blocks,
    CertificateNotice: state_transfer.process_certificate_notice,
    FetchSnapshot: snapshot_transfer.process_fetch_snapshot,
    SnapshotOffer: snapshot_transfer.process_snapshot_offer,
    FetchSnapshotChunk: snapshot_transfer.process_fetch_snapshot_chunk,
    SnapshotChunk: snapshot_transfer.process_snapshot_chunk,
    Relay: requests.process_relay,
    FetchSaid: lambda state, sender, _: process_fetch_said(state, sender),
    Said: process_said,
    ClientRequest: lambda state, _, m: requests.process_client_request(state, m.request),
    CodeChecked: lambda state, _, checked: ordering.process_code_checked(state, checked),
    Executed: lambda state, _, executed: ordering.process_executed(state, executed),
    SnapshotStaged: lambda state, _, staged: snapshot_transfer.process_snapshot_staged(state, staged),
    SnapshotInstalled: lambda state, _, installed: snapshot_transfer.process_snapshot_installed(state, installed),
}
"""What becomes of each message that the link vouches for, and of local ones: (state, sender, message)."""


HEARD_AT_START: Final = (FetchSaid, Said, FetchBatches, FetchBlocks, ClientRequest, Relay)
"""What a replica takes before its first word: what needs no word, or waits. STATUS brings the rest again."""


class Replica:
    """One PBFT replica. Read its properties freely; its verbs belong to the driver."""

    def __init__(
        self,
        *,
        configuration: CoreConfiguration,
        replica_id: int,
        signer: Callable[[bytes], bytes],
        restored: Restored,
        ledger: LedgerHead,
        asks: bool,
        snapshot_lag: int = SNAPSHOT_LAG_HEIGHTS,
    ) -> None:
        """`asks`: before its first word, and now and then, it asks the others what they have heard of its key, and it
        looks for that key's words inside those of others (M28).

        `snapshot_lag`: behind by more heights, this replica takes a snapshot; its own choice.
        """
        configuration.validate()
        self._state = compute_state(configuration, replica_id, signer, restored, ledger)
        self._state.asks, self._state.unanswered = asks, set(self._state.others if asks else ())
        self._state.snapshot_lag = snapshot_lag

    @property
    def state(self) -> ReplicaState:
        """The whole state, for status, checkers and tests; to be read only."""
        return self._state

    @property
    def replica_id(self) -> int:
        """This replica's id in its epoch; OBSERVER where it has no vote there."""
        return self._state.replica_id

    @property
    def epoch(self) -> int:
        return self._state.configuration.epoch

    @property
    def view(self) -> int:
        return self._state.view

    @property
    def is_active(self) -> bool:
        """False while a view change is under way."""
        return self._state.active

    @property
    def primary(self) -> int:
        return self._state.primary

    @property
    def certified_height(self) -> int:
        return self._state.certified_height

    @property
    def executed_height(self) -> int:
        return self._state.executed_height

    @property
    def pending_count(self) -> int:
        """Requests known and not executed."""
        return len(self._state.pending)

    @property
    def halted(self) -> str | None:
        """Why this replica stopped for good, or None."""
        return self._state.halted

    @property
    def waits_for(self) -> tuple[int, ...]:
        """Whose answer about the own key is waited for before the first word; nobody's once it is said."""
        return () if self._state.is_started else tuple(sorted(self._state.unanswered))

    @property
    def halt(self) -> Halt | None:
        """The same, with its kind and the hashes that disagree; journaled."""
        return self._state.halt

    @property
    def is_diverged(self) -> bool:
        """Whether this replica halted because its blocks are not the network's (M45)."""
        return self._state.halt is not None and self._state.halt.kind == DIVERGED

    def has_room(self, request_bytes: int) -> bool:
        """Whether a request of this size is taken now; where not, the door answers busy (M56)."""
        return requests.has_room(self._state, request_bytes)

    def is_queued(self, tx_id: bytes) -> bool:
        """Whether a request is known that no proposal under way here holds."""
        return tx_id in self._state.queue

    def is_awaited(self, sender: int, kind: type[PeerMessage] | None) -> bool:
        """Whether a frame of this kind is worth decoding; None for one that holds no known kind (M55)."""
        return is_awaited(self._state, sender, kind)

    def compute_wanted(self, sender: int, message: PeerMessage) -> PeerMessage | None:
        """The part of a message whose signatures are worth checking, None for no part; nothing is verified yet.

        One frame holds thousands of clients' signatures: whoever sends unasked must not have them checked (M5, M55).
        """
        return None if self._state.halted is not None else compute_wanted(self._state, sender, message)

    def receive(self, sender: int, message: PeerMessage | LocalMessage) -> list[Action]:
        """A verified message from the link of `sender`; from oneself for local ones and own sealed envelopes."""
        self._receive(sender, message)
        return self._take_actions()

    def end_turn(self) -> list[Action]:
        """The turn ends: idle vote, forwarding, proposals, and the envelope of the turn's votes (D24, D61)."""
        state = self._state
        if state.halted is None and state.is_started:
            checkpoints.process_idle_vote(state)
            requests.process_forwarding(state)
            ordering.process_proposals(state)
            if state.outgoing:
                state.actions.append(Broadcast(messages=tuple(state.outgoing)))
                state.outgoing.clear()
            checkpoints.require_consistent(state)
        return self._take_actions()

    def tick(self, wall_ms: int) -> list[Action]:
        """One TICK_MS has passed; late ticks count once (D59). Until the others have answered it only asks (M28)."""
        state = self._state
        if state.halted is None:
            process_asking(state)
            if state.is_started:
                timers.process_tick(state, wall_ms)
                self._end_epoch()
        return self._take_actions()

    def _take_actions(self) -> list[Action]:
        actions, self._state.actions = self._state.actions, []
        return actions

    def _receive(self, sender: int, message: PeerMessage | LocalMessage) -> None:
        state = self._state
        if state.halted is not None or not (state.is_started or isinstance(message, HEARD_AT_START)):
            return
        entered = (state.view, state.active)
        if isinstance(message, Envelope):
            self._receive_envelope(sender, message)
        elif isinstance(message, Forward):
            self._receive_forward(sender, message)
        else:
            try:
                LINK[type(message)](state, sender, message)
            except InvalidMessage as error:
                state.actions.append(Dropped(sender=sender, code=error.code, detail=error.detail))
        if (state.view, state.active) != entered:
            self._receive_early()
        self._end_epoch()

    def _end_epoch(self) -> None:
        """Enters the next epoch where this one is certified to its end; what came early for it is looked at."""
        epoch = self.epoch
        epochs.process_epoch_end(self._state)
        if self.epoch != epoch:
            self._receive_early()

    def _receive_forward(self, sender: int, forward: Forward) -> None:
        """Envelopes of others, each as if it came alone; two of them may be the proof that deposes a primary (M54)."""
        conviction = deposal.compute_conviction(self._state, forward)
        if conviction is not None:
            self._receive_proof(forward, conviction)
            return
        for envelope in forward.envelopes:
            self._receive_envelope(sender, envelope)

    def _receive_proof(self, forward: Forward, conviction: Evidence) -> None:
        """Nothing in it is accepted: it convicts. A NEW-VIEW in it may hold a word of the own key (M28)."""
        for envelope in forward.envelopes:
            process_own(self._state, envelope, envelope.messages[0])
        if self._state.halted is None:
            accuse(self._state, conviction)
            deposal.process_conviction(self._state)

    def _receive_envelope(self, sender: int, envelope: Envelope) -> None:
        for message in envelope.messages:
            try:
                self._receive_signed(sender, envelope, message)
            except InvalidMessage as error:
                self._state.actions.append(Dropped(sender=envelope.sender, code=error.code, detail=error.detail))
            deposal.process_conviction(self._state)

    @property
    def _is_halted(self) -> bool:
        """Asked again after each step that may halt; compiled code would believe what it knows of the attribute."""
        return self._state.halted is not None

    def _receive_signed(self, sender: int, envelope: Envelope, message: SignedMessage) -> None:
        if self._is_halted:
            return
        if message.epoch != self.epoch:
            epochs.process_foreign(self._state, sender, envelope, message)
            return
        if sender != self._state.replica_id:  # not the own envelope, back from its sealing
            process_own(self._state, envelope, message)
        if not self._is_halted:
            SIGNED[type(message)](self._state, envelope.sender, envelope, message)

    def _receive_early(self) -> None:
        """A view was entered or left: what was kept for later is looked at again, and kept again if still too early."""
        state = self._state
        for peer in sorted(state.peers):
            for envelope in state.peers[peer].take_early():
                self._receive_envelope(peer, envelope)
