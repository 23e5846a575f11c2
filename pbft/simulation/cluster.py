"""A cluster in one process: whole production nodes on virtual time, network and disks.

Every node comes from `pbft.node.assembly.assemble_node`, with the production driver, codec, journal and chain; frames
cross as bytes. One heap of events is the only clock, one seeded `Random` the only chance. Faults are asked for here
(`kill`, `restart`, `network`), load comes from `workload` or `clients`, and what must hold is in `checkers`.
"""

import heapq
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from contracts.runtime import Runtime
from ledger.block import Block, Header
from ledger.chain import LEDGER_TABLES
from ledger.configuration import ProtocolParameters
from ledger.errors import DamagedRecord, InvariantViolation
from ledger.genesis import parse_genesis
from ledger.keys import Signer
from ledger.payload_vault import MemoryPayloadKeys
from ledger.store import Operation
from pbft.core.config import SNAPSHOT_LAG_HEIGHTS, TICK_MS
from pbft.core.messages import Request
from pbft.node.assembly import Decode, Node, assemble_node
from pbft.node.client_door import ClientDoor
from pbft.node.inline_worker import InlineWorker
from pbft.node.inline_worker import Runtime as AnyRuntime
from pbft.node.journal import JOURNAL_TABLE
from pbft.node.metrics import Metrics
from pbft.simulation.checkers import Checkers, check_private
from pbft.simulation.coverage import Observer
from pbft.simulation.disk import PowerFailure, SimulatedDisk, content_of
from pbft.simulation.founding import (
    GENESIS_TIME_MS,
    PROTOCOL,
    FoundedRuntime,
    client_key,
    find_member_id,
    make_genesis_file,
    replica_key,
)
from pbft.simulation.machine import Machine, id_of, receivers_of
from pbft.simulation.network import LinkFaults, SimulatedNetwork
from pbft.simulation.signing import ED25519, SharedDecoder, Signing
from pbft.simulation.sinks import CounterTable, EvidenceList
from pbft.simulation.trace import Trace
from pbft.wire.codec import VerifiedSignatures, decode_peer

TURNS_PER_CHECK: Final = 3  # a turn's memory is looked at so often: what grows too large stays too large for longer


class Cluster:
    """n machines, one network, one virtual clock."""

    def __init__(
        self,
        *,
        seed: int = 0,
        replicas: int = 4,
        faults: LinkFaults | None = None,
        protocol: ProtocolParameters = PROTOCOL,
        runtime: AnyRuntime | None = None,
        snapshot_lag: int = SNAPSHOT_LAG_HEIGHTS,
        signing: Signing = ED25519,
        newcomers: int = 0,
    ) -> None:
        """`newcomers` are further machines, that no configuration lists before governance says so."""
        self.random = Random(seed)
        self.signing = signing
        self.genesis_file = make_genesis_file(replicas, protocol, signing)
        self.genesis = parse_genesis(self.genesis_file)
        # One memory for all nodes, so that a run verifies each signature and decodes each frame once.
        self.verified = VerifiedSignatures(verify=signing.verify) if signing.is_shared else None
        self.decode: Decode = SharedDecoder() if signing.is_shared else decode_peer
        self.trace = Trace()
        self.power_failures = self.writes_survived = 0  # inside a write, and those whose write is there nevertheless
        self.lost: set[int] = set()  # machines that never start again: their journal is damaged
        self.silent: set[int] = set()  # machines that changed their key, and vote from the next epoch on (D37)
        self.decayed: set[int] = set()  # machines with a flipped bit in the ledger: truth is demanded, progress is not
        self.halts: list[tuple[int, str]] = []  # every replica that stopped itself, and why
        self.now_ms = self.trace.start_ms = GENESIS_TIME_MS
        self.events: list[tuple[int, int, int, Callable[[], None]]] = []
        self.sequence = 0
        # A runtime holds nothing between blocks but the contracts that it wove, so one may serve all nodes of a run.
        self.runtime = FoundedRuntime() if runtime is None and signing.is_shared else runtime
        self.snapshot_lag = snapshot_lag  # of every replica: behind by more heights, it takes a snapshot
        self.checkers = Checkers(genesis=self.genesis, decode=self.decode, verify=signing.verify)
        self.observer = Observer()
        self.block_listeners: list[Callable[[int, Block], None]] = []
        self.turn_listeners: list[Callable[[Machine], None]] = []  # told after every turn of a node
        self.network = SimulatedNetwork(
            random=self.random,
            replicas=replicas + newcomers,
            schedule=self.at,
            deliver=self._deliver,
            faults=faults or LinkFaults(),
        )
        self.machines = [
            Machine(
                replica=replica,
                journal=SimulatedDisk((JOURNAL_TABLE,), self.writes_of(replica, "journal")),
                ledger=SimulatedDisk(LEDGER_TABLES, self.writes_of(replica, "ledger")),
                payload_keys=MemoryPayloadKeys(bytes([0xF0, replica]) * 16),
            )
            for replica in range(replicas + newcomers)
        ]
        for machine in self.machines:
            self.start(machine.replica)

    def replica_key(self, replica: int) -> Signer:
        """The signing key of a replica's process."""
        return replica_key(replica, self.signing, self.machines[replica].key_generation)

    def member_id(self, replica: int, epoch: int) -> int | None:
        """The id of a machine in an epoch that some running node knows of; None where it is no member of it."""
        known = (node.chain.epochs.of(epoch) for node in self.running)
        configuration = next((found for found in known if found is not None), None)
        return None if configuration is None else find_member_id(configuration, replica)

    def machine_of(self, node: Node) -> Machine:
        """The machine that runs a node."""
        return next(machine for machine in self.machines if machine.node is node)

    def client_key(self, client: int) -> Signer:
        """The signing key of a client."""
        return client_key(client, self.signing)

    # --- time ---

    def at(self, delay_ms: int, action: Callable[[], None], *, last: bool = False) -> None:
        """Does something later; `last` puts it behind everything else of that millisecond."""
        self.sequence += 1
        heapq.heappush(self.events, (self.now_ms + delay_ms, int(last), self.sequence, action))

    def run(self, duration_ms: int, until: Callable[[], bool] | None = None) -> bool:
        """Lets time pass, at most `duration_ms`; stops early, and returns True, once `until` holds."""
        deadline = self.now_ms + duration_ms
        while self.events and self.events[0][0] <= deadline:
            if until is not None and until():
                return True
            self.now_ms, _, _, action = heapq.heappop(self.events)
            action()
        self.now_ms = deadline
        return until is not None and until()

    # --- machines ---

    def start(self, replica: int) -> None:
        """Starts the process of a machine from what its disks hold."""
        machine = self.machines[replica]
        assert machine.node is None
        machine.starts += 1
        machine.halted = None
        start = machine.starts
        worker = InlineWorker(self.runtime or Runtime(), machine.ledger)

        def ready(node: Node) -> None:
            machine.node = node

        def halt(reason: str) -> None:
            machine.halted = reason
            self.halts.append((replica, reason))
            self.trace.record_fault(self.now_ms, f"r{replica} halts: {reason}")

        try:
            self._assemble(machine, worker, ready, halt)
        except DamagedRecord as damage:
            if replica not in self.decayed:
                raise
            self.lose(replica)
            self.trace.record_fault(self.now_ms, f"r{replica} refuses to start: {damage}")
            return
        assert machine.node is not None
        machine.door = self._open_door(machine, machine.node, worker)
        machine.node.execution.subscribe(_Blocks(self, machine))
        machine.node.execution.subscribe(machine.door)
        if replica not in self.decayed:  # it reads the whole ledger, and a record that nobody reads may be rotten
            self.checkers.process_start(machine.node, replica)
        self._tick(machine, start, self.random.randrange(TICK_MS))

    def _assemble(
        self, machine: Machine, worker: InlineWorker, ready: Callable[[Node], None], halt: Callable[[str], None]
    ) -> None:
        replica = machine.replica
        assemble_node(
            genesis=self.genesis,
            signing_key=self.replica_key(replica),
            journal_store=machine.journal,
            ledger_store=machine.ledger,
            payload_keys=machine.payload_keys,
            worker=worker,
            outbound=_Outbound(self, machine),
            evidence=EvidenceList(machine, self.checkers),
            counters=CounterTable(machine),
            wall_ms=lambda: self.now_ms + machine.clock_offset_ms,
            wake=lambda: self._wake(machine),
            on_halt=halt,
            verified=self.verified,
            snapshot_lag=self.snapshot_lag,
            decode=self.decode,
            on_ready=ready,
        )

    def _open_door(self, machine: Machine, node: Node, worker: InlineWorker) -> ClientDoor:
        def submit(request: Request) -> None:
            if request.client not in machine.ignored_clients:
                node.driver.on_request(request)

        return ClientDoor(
            chain=node.chain,
            network=self.genesis.network_id,
            verifier=node.verifier,
            submit=submit,
            views=worker,
            is_executing=lambda: False,  # an inline worker is done when it returns
            standing=node.replica,
            metrics=Metrics(),
            lanes=node.lanes,
            halted=lambda: node.driver.halted,
        )

    def kill(self, replica: int) -> None:
        """kill -9 and power loss at once: what no sync completed is gone, and so is everything in flight to it."""
        machine = self.machines[replica]
        machine.node = machine.door = None
        machine.flush_is_due = False
        machine.paused_until_ms = 0
        self.writes_survived += machine.journal.process_power_loss(self.random)
        self.writes_survived += machine.ledger.process_power_loss(self.random)

    def restart(self, replica: int) -> None:
        """Kills and starts again."""
        self.kill(replica)
        self.start(replica)

    def can_be_faulty(self, replica: int) -> bool:
        """Whether this replica is one of the f faulty, or could still become one."""
        faulty = self.checkers.faulty | self.decayed | self.silent
        return replica in faulty or len(faulty) < self.genesis.configuration.f

    def lose(self, replica: int) -> None:
        """A machine is gone for good, and is one of the f faulty."""
        self.lost.add(replica)
        self.checkers.faulty.add(replica)

    @property
    def correct(self) -> list[Node]:
        """The running nodes that are neither traitors nor lost nor decayed."""
        faulty = self.checkers.faulty | self.decayed
        return [self.node(m.replica) for m in self.machines if m.replica not in faulty and m.node]

    @property
    def running(self) -> list[Node]:
        """The nodes whose process runs."""
        return [machine.node for machine in self.machines if machine.node is not None]

    def node(self, replica: int) -> Node:
        """The node of a running machine."""
        node = self.machines[replica].node
        assert node is not None
        return node

    def is_level(self) -> bool:
        """Whether all running nodes stand on one executed and certified head, in one active view."""
        heads = {(n.chain.head.hash, n.replica.certified_height, n.replica.view) for n in self.running}
        return len(heads) == 1 and all(
            n.replica.is_active and n.replica.certified_height == n.chain.height for n in self.running
        )

    def describe(self) -> str:
        """Where everybody stands, for the message of a failed assertion."""
        lines = [f"{self.now_ms - GENESIS_TIME_MS} ms, {self.network.sent} frames, {self.network.lost} lost"]
        for machine in self.machines:
            if machine.node is None:
                lines.append(f"r{machine.replica}: down")
                continue
            state = machine.node.replica.state
            lines.append(
                f"r{machine.replica}: view {state.view}{'' if state.active else ' pending'},"
                f" h {state.certified_height}, e {state.executed_height}, {len(state.pending)} pending,"
                f" X up to {state.reproposed_top}, proposed up to {state.proposed_top}, slots {sorted(state.slots)},"
                f" halted {machine.halted}, {dict(machine.counters)}"
            )
        return "\n".join(lines)

    # --- events ---

    def _tick(self, machine: Machine, start: int, delay_ms: int) -> None:
        def tick() -> None:
            if machine.node is not None and machine.starts == start:
                if machine.paused_until_ms <= self.now_ms:
                    self.trace.record(self.now_ms, "tick", machine.replica, -1, b"")
                    machine.node.driver.tick()
                    assert machine.door is not None
                    machine.door.tick()
                self._tick(machine, start, TICK_MS)

        self.at(delay_ms, tick)

    def _wake(self, machine: Machine) -> None:
        if not machine.flush_is_due:
            machine.flush_is_due = True
            start = machine.starts
            self.at(0, lambda: self._flush(machine, start), last=True)

    def _flush(self, machine: Machine, start: int) -> None:
        if machine.node is not None and machine.starts == start:
            machine.flush_is_due = False
            try:
                machine.node.driver.flush()
            except PowerFailure:
                self.power_failures += 1
                self.trace.record_fault(self.now_ms, f"r{machine.replica} loses power inside a write")
                self.kill(machine.replica)
                return
            assert machine.door is not None
            machine.turns += 1
            if machine.turns % TURNS_PER_CHECK == 0:
                self.checkers.check_turn(machine.replica, machine.node, machine.door)
            for listener in self.turn_listeners:
                listener(machine)

    def _deliver(self, receiver: int, sender: int, frame: bytes) -> None:
        machine = self.machines[receiver]
        if machine.paused_until_ms > self.now_ms:
            self.at(machine.paused_until_ms - self.now_ms, lambda: self._deliver(receiver, sender, frame))
        elif machine.node is not None:
            self.trace.record(self.now_ms, "frame", receiver, sender, frame)
            sender_id = id_of(machine.node, sender)
            if sender_id is None:
                return
            try:
                machine.node.driver.on_frame(sender_id, frame)
            except InvariantViolation as error:  # as the service does around everything that enters
                machine.node.driver.stop(f"a frame: {error}")

    def writes_of(self, replica: int, disk: str) -> Callable[[Sequence[Operation]], None]:
        """What puts the writes of a disk into the trace."""

        def record(operations: Sequence[Operation]) -> None:
            data = b"".join(map(content_of, operations))
            check_private(f"the {disk} of r{replica}", data)
            self.trace.record(self.now_ms, disk, replica, -1, data)

        return record


class _Outbound:
    """`driver.Outbound` over the simulated network; every frame passes the checkers first."""

    def __init__(self, cluster: Cluster, machine: Machine) -> None:
        self._cluster = cluster
        self._machine = machine

    def send(self, replica_id: int, frame: bytes) -> None:
        self._send(frame, [replica_id])

    def broadcast(self, frame: bytes) -> None:
        self._send(frame, None)

    def _send(self, frame: bytes, replica_ids: list[int] | None) -> None:
        node, own = self._machine.node, self._machine.replica
        assert node is not None
        self._cluster.checkers.check_sent(own, node, self._machine.journal, frame)
        if own not in self._cluster.checkers.faulty:
            message = self._cluster.decode(frame, node.rules)
            self._cluster.observer.process_sent(own, message, node.replica.state.configuration.stride)
        for receiver in receivers_of(node, replica_ids):
            if receiver != own:
                self._cluster.network.send(own, receiver, frame)


class _Blocks:
    """`execution.ReplySink`: blocks reach the checkers and the workload's clients."""

    def __init__(self, cluster: Cluster, machine: Machine) -> None:
        self._cluster = cluster
        self._machine = machine

    def block_made(self, block: Block) -> None:
        """What the door tells of it is checked where it leaves."""

    def block_executed(self, block: Block) -> None:
        self._cluster.checkers.process_block(self._machine.replica, block, self._cluster.now_ms)
        if self._machine.replica not in self._cluster.checkers.faulty:
            self._cluster.observer.process_block(block)
        for listener in self._cluster.block_listeners:
            listener(self._machine.replica, block)

    def snapshot_installed(self, header: Header) -> None:
        machine = self._machine
        assert machine.node is not None
        self._cluster.trace.record_fault(self._cluster.now_ms, f"r{machine.replica} installs {header.height}")
        self._cluster.checkers.process_start(machine.node, machine.replica)
