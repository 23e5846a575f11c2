"""The hunter: an adaptive nemesis, which looks at the replicas' states after every turn and strikes when it hurts.

Random faults rarely meet the few milliseconds in which one replica alone knows something. The hunter chooses one such
moment at a time and waits for it:

    new primary isolated     a view change has begun: whoever leads the next view is cut off, one way or both
    prepared alone           one replica has prepared a slot that nobody else has: it is cut off, or loses power
    executed alone           one replica has executed a block that nobody else has: the same
    view entry               a replica has just entered or left a view: it loses power inside one of its next writes
    execution                a block is on its way to the ledger: power fails inside that very write
    source cut               blocks or bodies were asked of somebody: the answer never comes
    quorum split             a proposal is under way: the network falls into two halves, neither of them a quorum
    primary isolated         the primary of the highest view alone hears nobody, or is heard by nobody
    votes held back          a slot is prepared: the links to its laggards clog, and flow again much later
    traitor next             a slot is prepared and a traitor leads the next view: the primary is cut off
    hole                     several proposals leave at once: nobody ever gets the lowest, so a new view makes it null

It keeps the nemesis' rule: it takes down no more than f machines at a time, and what it cuts heals by itself.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from pbft.core.messages import Envelope, Forward, PrePrepare, SignedMessage
from pbft.core.replica_state import ReplicaState
from pbft.simulation.cluster import Cluster
from pbft.simulation.liars import read
from pbft.simulation.machine import Machine
from pbft.wire.codec import WireRules

PATIENCE_MS: Final = (300, 2_500)  # between two strikes
CUT_MS: Final = (300, 4_000)  # how long a cut lasts: from a round trip to some timers
DOWN_MS: Final = (50, 2_000)
WAIT_MS: Final = 4_000  # for the moment that was chosen, before another one is

TRAITOR_HUNTS: Final = 4  # so often among the others where there are traitors: in few views one of them leads the next
HOLE_MS: Final = 4_000  # how long it stays open: more than the patience of those above it

Links = set[tuple[int, int]]


class _Hole:
    """One proposal that is lost whenever it is sent, while those above it arrive: null, with a P entry above (D29)."""

    def __init__(self, cluster: Cluster) -> None:
        self.place: tuple[int, int, int] | None = None  # epoch, view, height
        self.is_told = False
        self._cluster = cluster
        self._rules = WireRules.of(cluster.genesis.configuration)
        cluster.network.loses = self._loses

    def _loses(self, sender: int, receiver: int, frame: bytes) -> bool:
        message = read(self._cluster, frame, self._rules)
        envelopes = message.envelopes if isinstance(message, Forward) else (message,)
        return any(
            self._is_it(sender, envelope.messages[0]) for envelope in envelopes if isinstance(envelope, Envelope)
        )

    def _is_it(self, sender: int, message: SignedMessage) -> bool:
        if not isinstance(message, PrePrepare):
            return False
        if self.place is None and self._is_first(sender, message):
            self.place = message.epoch, message.view, message.height
        return self.place == (message.epoch, message.view, message.height)

    def _is_first(self, sender: int, message: PrePrepare) -> bool:
        """Whether nobody has this proposal, and more of them leave behind it."""
        node = self._cluster.machines[sender].node
        if node is None or node.replica.state.proposed_top <= message.height:
            return False
        others = [other.replica.state.slots.get(message.height) for other in self._cluster.correct if other is not node]
        return all(slot is None or slot.digest is None for slot in others)


class Hunter:
    """Strikes until `end_ms`; counts in `faults`, under "hunt:<what>"."""

    def __init__(self, cluster: Cluster, end_ms: int, faults: Counter[str]) -> None:
        self._cluster, self._end_ms, self._faults = cluster, end_ms, faults
        self._next_ms = cluster.now_ms + PATIENCE_MS[1]
        self._chosen_until_ms = 0
        self._has_moved = False
        self._views: dict[int, tuple[int, bool]] = {}
        self._hunts: list[tuple[str, Callable[[Machine, ReplicaState], str | None]]] = [
            ("new primary isolated", self._isolate_new_primary),
            ("prepared alone", self._strike_prepared_alone),
            ("executed alone", self._strike_executed_alone),
            ("view entry", self._strike_view_entry),
            ("execution", self._strike_execution),
            ("source cut", self._cut_source),
            ("quorum split", self._split_quorum),
            ("primary isolated", self._isolate_primary),
            ("votes held back", self._hold_votes_back),
            ("hole", self._leave_hole),
        ]
        if cluster.checkers.faulty:
            self._hunts += [("traitor next", self._hand_over)] * TRAITOR_HUNTS
        self._name, self._hunt = self._hunts[0]
        self._hole: _Hole | None = None
        cluster.turn_listeners.append(self._look)

    def stop(self) -> None:
        """No strike from now on."""
        self._end_ms = self._cluster.now_ms

    def _look(self, machine: Machine) -> None:
        """A turn of a machine is over."""
        cluster = self._cluster
        node = machine.node
        if node is None or machine.halted is not None or machine.replica in cluster.checkers.faulty:
            return
        if cluster.now_ms >= self._end_ms:
            return
        state = node.replica.state
        self._has_moved = self._views.get(machine.replica, (0, True)) != (state.view, state.active)
        self._views[machine.replica] = state.view, state.active
        if cluster.now_ms < self._next_ms:
            return
        if cluster.now_ms >= self._chosen_until_ms:
            self._name, self._hunt = cluster.random.choice(self._hunts)
            self._chosen_until_ms = cluster.now_ms + WAIT_MS
        told = self._hunt(machine, state)
        if told is not None:
            self._faults[f"hunt:{self._name}"] += 1
            cluster.trace.record_fault(cluster.now_ms, f"hunt, {self._name}: {told}")
            self._next_ms = cluster.now_ms + cluster.random.randint(*PATIENCE_MS)
            self._chosen_until_ms = 0

    # --- moments ---

    def _isolate_new_primary(self, _: Machine, state: ReplicaState) -> str | None:
        if state.active:
            return None
        return self._isolate(state.primary)

    def _isolate_primary(self, _: Machine, state: ReplicaState) -> str | None:
        if not state.active or state.view < max(view for view, _ in self._views.values()):
            return None
        return self._isolate(state.primary)

    def _strike_prepared_alone(self, machine: Machine, state: ReplicaState) -> str | None:
        alone = [
            height
            for height, slot in state.slots.items()
            if slot.is_prepared and not slot.is_committed and not self._others_prepared(machine.replica, height)
        ]
        return f"height {alone[0]}, {self._remove(machine)}" if alone else None

    def _others_prepared(self, replica: int, height: int) -> bool:
        return any(
            height in node.replica.state.prepared or node.replica.certified_height >= height
            for node in self._cluster.correct
            if node.replica.state.replica_id != replica
        )

    def _strike_executed_alone(self, machine: Machine, state: ReplicaState) -> str | None:
        others = [n.replica.executed_height for n in self._cluster.correct if n.replica is not self._core(machine)]
        if not others or state.executed_height <= max(others):
            return None
        return f"height {state.executed_height}, {self._remove(machine)}"

    def _core(self, machine: Machine) -> object:
        return None if machine.node is None else machine.node.replica

    def _strike_view_entry(self, machine: Machine, state: ReplicaState) -> str | None:
        if not self._has_moved or not self._may_lose_one():
            return None
        number = self._cluster.random.randrange(3)
        machine.journal.fail_power(number)
        self._start_again(machine)
        return f"r{machine.replica} in view {state.view} will lose power inside write {number} of its journal"

    def _strike_execution(self, machine: Machine, state: ReplicaState) -> str | None:
        following = state.slots.get(state.executed_height + 1)
        if following is None or not following.is_prepared or not self._may_lose_one():
            return None
        machine.ledger.fail_power(0)
        self._start_again(machine)
        return f"r{machine.replica} will lose power inside the write of block {state.executed_height + 1}"

    def _cut_source(self, machine: Machine, state: ReplicaState) -> str | None:
        if state.fetch_source is None and not state.missing_bodies:
            return None
        sources = [state.fetch_source] if state.fetch_source is not None else state.others
        self._cut({(source, machine.replica) for source in sources})
        return f"r{machine.replica} hears nothing of {sources}"

    def _split_quorum(self, _: Machine, state: ReplicaState) -> str | None:
        if not any(slot.digest is not None and not slot.is_committed for slot in state.slots.values()):
            return None
        replicas = list(range(len(self._cluster.machines)))
        self._cluster.random.shuffle(replicas)
        half = set(replicas[: len(replicas) // 2])
        others = set(replicas) - half
        self._cut({(a, b) for a in half for b in others} | {(b, a) for a in half for b in others})
        return f"{sorted(half)} from {sorted(others)}"

    def _hold_votes_back(self, machine: Machine, state: ReplicaState) -> str | None:
        if not any(slot.is_prepared and not slot.is_committed for slot in state.slots.values()):
            return None
        held = self._cluster.random.sample(state.others, max(1, len(state.others) // 2))
        network = self._cluster.network
        for receiver in held:
            network.clog(machine.replica, receiver)
        links = {(machine.replica, receiver) for receiver in held}
        self._cluster.at(self._cluster.random.randint(*CUT_MS), lambda: network.unclog(links))
        return f"what r{machine.replica} says to {sorted(held)} waits"

    def _hand_over(self, _: Machine, state: ReplicaState) -> str | None:
        """What a traitor may choose for the new view is then prepared at some, and committed at few."""
        is_open = any(slot.is_prepared and not slot.is_committed for slot in state.slots.values())
        next_primary = state.configuration.primary(state.view + 1)
        if not state.active or not is_open or next_primary not in self._cluster.checkers.faulty:
            return None
        return f"before view {state.view + 1} of r{next_primary}, {self._isolate(state.primary)}"

    def _leave_hole(self, machine: Machine, state: ReplicaState) -> str | None:
        if self._hole is None:
            self._hole = _Hole(self._cluster)
            self._cluster.at(HOLE_MS, self._lift_hole)
        if self._hole.place is None or self._hole.is_told:
            return None
        self._hole.is_told = True
        _, view, height = self._hole.place
        return f"height {height} of view {view} reaches nobody"

    def _lift_hole(self) -> None:
        self._hole = self._cluster.network.loses = None

    # --- means ---

    def _isolate(self, replica: int) -> str:
        """Cut off in both directions, or in one."""
        others = [machine.replica for machine in self._cluster.machines if machine.replica != replica]
        to, fro = {(replica, other) for other in others}, {(other, replica) for other in others}
        links, told = self._cluster.random.choice(
            [(to | fro, "is cut off"), (to, "is heard by nobody"), (fro, "hears nobody")]
        )
        self._cut(links)
        return f"r{replica} {told}"

    def _cut(self, links: Links) -> None:
        network = self._cluster.network
        network.cut |= links

        def heal() -> None:
            network.cut -= links

        self._cluster.at(self._cluster.random.randint(*CUT_MS), heal)

    def _remove(self, machine: Machine) -> str:
        """Takes a machine out of the game for a while, by its power or by its links."""
        if self._cluster.random.random() < 0.5 and self._may_lose_one():
            self._cluster.at(0, lambda: self._kill(machine), last=True)
            self._start_again(machine)
            return f"r{machine.replica} is killed"
        return self._isolate(machine.replica)

    def _kill(self, machine: Machine) -> None:
        if machine.node is not None:
            self._cluster.kill(machine.replica)

    def _start_again(self, machine: Machine) -> None:
        """Some time later it runs again, whether or not its power has failed by then."""

        def start() -> None:
            machine.journal.repair()
            machine.ledger.repair()
            if machine.node is None and machine.replica not in self._cluster.lost:
                self._cluster.start(machine.replica)

        self._cluster.at(self._cluster.random.randint(*DOWN_MS), start)

    def _may_lose_one(self) -> bool:
        down = [machine for machine in self._cluster.machines if machine.node is None or machine.halted is not None]
        return len(down) < self._cluster.genesis.configuration.f
