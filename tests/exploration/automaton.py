"""One real replica as an automaton: `pbft.core.replica.Replica`, its states interned, its reactions remembered.

Nothing of the protocol is written again here. A reaction copies the state of the real replica, hands it real messages,
performs the actions that it asks for as the driver would, and looks what has become of it. Because a reaction depends
on the replica's own state and on the message alone, the core runs once per (state, message), however many global states
contain that pair; the search (`search`) then works on numbers.

Two states are one where they differ only in what nothing within the bounds can tell apart: see `EXCLUDED` and
`SLOT_EXCLUDED`. Which deliveries are steps of their own, and why the others need not be: see `search`.
"""

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Final

from ledger.hashing import NULL_DIGEST
from pbft.core.actions import Action, Broadcast, Execute, Reclaim
from pbft.core.config import CoreConfiguration
from pbft.core.message_log import Slot
from pbft.core.messages import (
    Batch,
    Batches,
    ClientRequest,
    Commit,
    Envelope,
    Executed,
    HeaderVote,
    LocalMessage,
    NewView,
    PeerMessage,
    Prepare,
    PrePrepare,
    Request,
    SignedMessage,
    ViewChange,
)
from pbft.core.persisted import LedgerHead, Restored
from pbft.core.replica import Replica
from pbft.core.replica_state import ReplicaState

WALL_MS: Final = 1_700_000_000_000
"""The wall time of every tick: batches made of the same requests are the same batch, whoever proposes them."""

VIEW_MAX: Final = 1
"""One view change: who is asked to leave view 1 is out of the search."""

EXCLUDED: Final = {
    "configuration": "the same in all states",
    "signer": "the same in all states",
    "replica_id": "the same in all states",
    "wall_ms": "the same in all states",
    "asks": "the same in all states: nobody starts again within the bounds",
    "is_started": "as asks",
    "unanswered": "as asks: empty",
    "actions": "empty between calls",
    "outgoing": "empty between turns",
    "ticks": "time passes in one kind of step only, the timeout that leaves view 0, and never after it",
    "clock": "as ticks",
    "head_since": "as ticks",
    "executed_clock": "as ticks",
    "progress_tick": "as ticks",
    "paused_ticks": "as ticks",
    "quiet_ticks": "as ticks",
    "view_deadline": "as ticks: the timer of view 1, which is not left within the bounds",
    "doublings": "as ticks: the length of that timer",
    "halving_height": "as doublings",
    "bodies_tick": "as ticks",
    "fetch_tick": "as ticks",
    "bodies_round": "whom a body is asked of; any holder may answer",
    "fetch_round": "as bodies_round, for blocks, which are not fetched within the bounds",
    "peers": "notes about traffic: what was relayed or answered; envelopes are never handed in early",
    "to_primary": "relays: every replica is handed every request at the start",
    "new_view": "kept for STATUS and restart, which are outside the bounds; its choices are in the slots",
    "own_view_change": "as new_view; what it said is among the messages sent",
    "header_votes": "header votes are not delivered within the bounds: h stays at genesis",
    "voted": "as header_votes",
    "newest_votes": "as header_votes",
    "header_hashes": "a function of the digests executed, which are compared",
}
"""Fields of ReplicaState that are not compared, and why two states that differ in them alone behave alike here."""

COMPARED: Final = tuple(f.name for f in fields(ReplicaState) if f.name not in EXCLUDED)

SLOT_EXCLUDED: Final = {
    "proposal": "the envelope, kept for those who lack it: STATUS and evidence",
    "accepted": "as ticks",
    "prepares": "votes arrive as quorums: what a quorum did is in the other fields",
    "commits": "as prepares",
    "gas": "a function of the batch",
    "committed_view": "see `_canonical_slot`",
}
"""The same for the fields of Slot."""

SLOT_COMPARED: Final = tuple(f.name for f in fields(Slot) if f.name not in SLOT_EXCLUDED)


class Catalogue:
    """All signed messages of a search, one bit each. Votes that can complete one quorum share a group."""

    def __init__(self, *, traitor: int) -> None:
        self.traitor = traitor  # may send many a VIEW-CHANGE for one view; in a group it counts once
        self.envelopes: list[Envelope] = []
        self.groups: list[SignedMessage] = []  # a vote of each group, whoever's: its kind, view, height and digest
        self.group_bits: list[int] = []
        self._bits: dict[tuple[int, object], int] = {}
        self._group_of: dict[object, int] = {}

    def bit(self, sender: int, message: SignedMessage) -> int:
        """The bit of a message, given to it now if it is new. A correct primary's NEW-VIEWs with the same choices are
        one: whoever finds that they follow from V looks at V no more."""
        content: object = message
        if isinstance(message, NewView) and sender != self.traitor:
            content = (NewView, message.view, message.choices)
        known = self._bits.get((sender, content))
        if known is not None:
            return known
        bit = self._bits[sender, content] = 1 << len(self.envelopes)
        self.envelopes.append(seal(sender, message))
        if isinstance(message, Prepare | Commit | ViewChange):
            key = ("leave", message.view) if isinstance(message, ViewChange) else message
            index = self._group_of.setdefault(key, len(self.groups))
            if index == len(self.groups):
                self.groups.append(message)
                self.group_bits.append(0)
            is_counted = sender == self.traitor and isinstance(message, ViewChange) and self.group_bits[index]
            if not is_counted:
                self.group_bits[index] |= bit
        return bit

    def select(self, bits: int) -> Iterable[tuple[int, Envelope]]:
        """The messages of some bits with their bits, in the order in which they became known."""
        while bits:
            low = bits & -bits
            yield low, self.envelopes[low.bit_length() - 1]
            bits ^= low


def seal(sender: int, *messages: SignedMessage) -> Envelope:
    """A sealed envelope. Its signature proves nothing: the search itself lets nobody speak for another."""
    return Envelope(sender=sender, messages=messages, raw=b"", signature=bytes([sender]))


@dataclass(slots=True, kw_only=True)
class Node:
    """A local state, and its reactions as far as they are known."""

    state: ReplicaState  # never changed: reactions work on copies
    sent: int  # every message that the replica has sent on its way here, as bits of the catalogue
    executed: tuple[bytes, ...]  # digests by height, from 1
    local: list[tuple[str, int]] | None = None  # (what happens, node): steps that no peer's signed message causes
    singles: list[tuple[int, int]] = field(default_factory=list)  # (bit of a message, node after its delivery)
    quorums: list[tuple[int, int, int]] = field(default_factory=list)  # (group of votes, how many it takes, node)
    tried: int = 0  # messages whose delivery alone is known
    groups_tried: int = 0  # groups of the catalogue that have been looked at

    @property
    def is_beyond(self) -> bool:
        """Beyond the bound on views: no step leads here, as if the replica had slept on before it."""
        return self.state.view > VIEW_MAX and self.state.halted is None


class Automaton:
    """One correct replica. `nodes[0]` is its state after it has been handed all requests."""

    def __init__(
        self,
        *,
        configuration: CoreConfiguration,
        replica_id: int,
        catalogue: Catalogue,
        requests: Iterable[Request],
        bodies: Iterable[Batch],
    ) -> None:
        self.replica_id = replica_id
        self.nodes: list[Node] = []
        self.reactions = 0  # how often the core has been run
        self._configuration = configuration
        self._catalogue = catalogue
        self._bodies = {batch.digest: batch for batch in bodies}
        self._known: dict[object, int] = {}
        self._replica = Replica(
            configuration=configuration,
            replica_id=replica_id,
            signer=lambda message: hashlib.sha512(message).digest(),
            restored=Restored(),
            ledger=LedgerHead(height=0, header_hashes={}, next_due_ms=None),
            asks=False,
        )
        self._sent = 0
        self._executed: tuple[bytes, ...] = ()
        self._perform(self._replica.tick(WALL_MS))
        for request in requests:
            self._perform(self._replica.receive(replica_id, ClientRequest(request=request)))
        self._end_turn()
        self._intern()

    # --- reactions ---

    def extend(self, index: int, available: int) -> Node:
        """The node, with its reactions to all messages of `available` known."""
        node = self.nodes[index]
        if node.state.halted is not None:
            node.local, node.tried, node.groups_tried = [], available, len(self._catalogue.groups)
            return node
        if node.local is None:
            node.local = self._compute_local_steps(node, index)
        for bit, envelope in self._catalogue.select(available & ~node.tried):
            if is_step(node.state, envelope.sender, envelope.messages[0]):
                after = self._react(node, [(envelope.sender, envelope)])
                if after != index and not self.nodes[after].is_beyond:
                    node.singles.append((bit, after))
        node.tried |= available
        for group in range(node.groups_tried, len(self._catalogue.groups)):
            if (needed := compute_needed(node.state, self._catalogue.groups[group])) is not None:
                self._extend_by_group(node, index, group, needed)
        node.groups_tried = len(self._catalogue.groups)
        return node

    def _extend_by_group(self, node: Node, index: int, group: int, needed: int) -> None:
        """Whoever the voters are, the state afterwards is the same one: it is found with votes of all others."""
        vote = self._catalogue.groups[group]
        primary = self._configuration.primary(node.state.view)
        voters = [member for member in node.state.others if not (isinstance(vote, Prepare) and member == primary)]
        after = self._react(node, [(member, seal(member, vote)) for member in voters])
        if after != index and not self.nodes[after].is_beyond:
            node.quorums.append((group, needed, after))

    def _compute_local_steps(self, node: Node, index: int) -> list[tuple[str, int]]:
        """The timeout of view 0, and the arrival of a body that was asked for: anybody may hold it."""
        steps = [("timeout", self._react_to_timeout(node))] if node.state.view == 0 else []
        for digest in sorted(node.state.missing_bodies):
            body = Batches(batches=(self._bodies[digest],))
            steps.append((f"body {digest.hex()[:8]}", self._react(node, [(node.state.others[0], body)])))
        return [(name, after) for name, after in steps if after != index and not self.nodes[after].is_beyond]

    def _react(self, node: Node, deliveries: Iterable[tuple[int, PeerMessage]]) -> int:
        self._load(node)
        for sender, message in deliveries:
            self._perform(self._replica.receive(sender, message))
            self._end_turn()
        return self._intern()

    def _react_to_timeout(self, node: Node) -> int:
        """Ticks until the view is left, or for as long as a timer of view 0 may run."""
        self._load(node)
        for _ in range(2 * self._configuration.base_timer_ticks):
            if self._replica.view == 0:
                self._perform(self._replica.tick(WALL_MS))
                self._end_turn()
        return self._intern() if self._replica.view else self.nodes.index(node)

    def _load(self, node: Node) -> None:
        self._replica._state = copy_value(node.state)  # there is no other way back: the face of the core has no undo
        self._sent = node.sent
        self._executed = node.executed

    def _end_turn(self) -> None:
        self._perform(self._replica.end_turn())

    def _perform(self, actions: list[Action]) -> None:
        """The driver's part: own envelopes come back at once, the ledger answers at once, link messages are lost."""
        while actions:
            following: list[Action] = []
            for action in actions:
                if isinstance(action, Broadcast):
                    for message in action.messages:
                        if not isinstance(message, HeaderVote) and message.view <= VIEW_MAX:
                            self._sent |= self._catalogue.bit(self.replica_id, message)
                    following += self._receive_own(seal(self.replica_id, *action.messages))
                elif isinstance(action, Execute):
                    following += self._receive_own(self._execute(action))
                elif isinstance(action, Reclaim):
                    for request in self._compute_unanswered(action):
                        following += self._receive_own(ClientRequest(request=request))
            actions = following + self._replica.end_turn()

    def _receive_own(self, message: PeerMessage | LocalMessage) -> list[Action]:
        return self._replica.receive(self.replica_id, message)

    def _execute(self, action: Execute) -> Executed:
        requests = action.batch.requests if action.batch is not None else ()
        digest = action.batch.digest if action.batch is not None else NULL_DIGEST
        self._executed = (*self._executed, digest)
        return Executed(
            height=action.height,
            header_hash=hashlib.sha256(b"".join(self._executed)).digest(),
            time_ms=WALL_MS,
            gas_used=0,
            next_due_ms=None,
            finished=tuple(request.tx_id for request in requests),
            used=tuple((request.client, request.nonce) for request in requests),
        )

    def _compute_unanswered(self, action: Reclaim) -> list[Request]:
        answered = {
            r.tx_id for digest in self._executed if digest in self._bodies for r in self._bodies[digest].requests
        }
        return [request for request in action.requests if request.tx_id not in answered]

    def _intern(self) -> int:
        """The index of the state that the replica is in now."""
        self.reactions += 1
        state = self._replica.state
        key = (canonical(state), self._sent, self._executed)
        index = self._known.setdefault(key, len(self.nodes))
        if index == len(self.nodes):
            self.nodes.append(Node(state=state, sent=self._sent, executed=self._executed))
        return index


def is_step(state: ReplicaState, sender: int, message: SignedMessage) -> bool:
    """Whether the delivery of this message alone is a step of its own here; votes are steps as quorums only."""
    match message:
        case PrePrepare():
            return state.active and message.view == state.view
        case ViewChange():
            return (sender == state.primary and message.view > state.view) or _collects_view_changes(state)
        case NewView():
            return message.view > state.view or (message.view == state.view and not state.active)
    return False


def _collects_view_changes(state: ReplicaState) -> bool:
    """The primary of view 1, once it has left view 0, or where no timeout will make it leave."""
    is_next = state.configuration.primary(VIEW_MAX) == state.replica_id
    return is_next and (not state.active if state.view == VIEW_MAX else not state.pending)


def compute_needed(state: ReplicaState, vote: SignedMessage) -> int | None:
    """How many votes of this group change something here, the own one included; None where none ever will."""
    quorums = state.configuration.quorums
    match vote:
        case Prepare():
            slot = state.slots.get(vote.height)
            is_open = slot is not None and slot.is_pre_prepared and not slot.is_prepared and slot.digest == vote.digest
            return quorums.quorum - 1 if is_open and state.active and vote.view == state.view else None
        case Commit():
            slot = state.slots.get(vote.height)
            return quorums.quorum if slot is None or slot.committed is None else None
        case ViewChange():
            is_next = state.configuration.primary(VIEW_MAX) == state.replica_id
            return quorums.weak if state.view < vote.view and not is_next else None
    return None


# --- states as values ---


def copy_value(value: Any) -> Any:
    """A copy that shares everything immutable: messages, certificates, configuration."""
    kind = type(value)
    if kind is dict:
        return {key: copy_value(item) for key, item in value.items()}
    if kind is list:
        return [copy_value(item) for item in value]
    if kind is set:
        return set(value)
    if kind is deque:
        return deque(copy_value(item) for item in value)
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is None or parameters.frozen:
        return value
    copied = kind.__new__(kind)
    for item in fields(kind):
        setattr(copied, item.name, copy_value(getattr(value, item.name)))
    return copied


def canonical(state: ReplicaState) -> object:
    """The part of a state that is compared, as one hashable value."""
    return tuple(_canonical_value(name, getattr(state, name), state) for name in COMPARED)


def _canonical_value(name: str, value: Any, state: ReplicaState) -> object:
    if name == "slots":
        is_last_view = state.view == VIEW_MAX and state.active
        return tuple(_canonical_slot(value[height], is_last_view) for height in sorted(value))
    if name == "view_changes":  # only who makes a NEW-VIEW of them looks at them
        return tuple(sorted(value.items(), key=lambda i: i[0])) if _collects_view_changes(state) else ()
    if name in ("pending", "queue"):
        return tuple(value)  # in order of arrival
    return _freeze(value)


def _canonical_slot(slot: Slot, is_last_view: bool) -> object:
    """`committed_view` is compared until the last view is entered: only a NEW-VIEW looks at it."""
    committed_view = -1 if is_last_view else slot.committed_view
    values = (getattr(slot, name) for name in SLOT_COMPARED)
    return tuple(value.digest if isinstance(value, Batch) else value for value in values), committed_view


def _freeze(value: Any) -> object:
    if isinstance(value, dict):
        return tuple((key, _freeze(value[key])) for key in sorted(value))
    if isinstance(value, set):
        return tuple(sorted(value))
    if isinstance(value, list | deque):
        return tuple(_freeze(item) for item in value)
    return value
