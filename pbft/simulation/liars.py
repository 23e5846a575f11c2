"""Faulty replicas for a simulated cluster: a correct node inside, and a mouth that says something else.

Every frame that the replica sends passes a `Lie`, which returns what each receiver gets instead. Lies are sealed with
the replica's own key: all signatures hold, as those of a real traitor do. The checkers look at what the correct node
inside meant to send, and at everything that the others execute.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from contracts.runtime import Runtime
from ledger.chain import LEDGER_TABLES
from pbft.core.config import TICK_MS
from pbft.core.messages import Envelope, PeerMessage, SignedMessage
from pbft.node.assembly import Node, assemble_node
from pbft.node.execution import InlineWorker
from pbft.node.journal import JOURNAL_TABLE
from pbft.simulation.cluster import Cluster, CounterTable, EvidenceList, Machine, replica_key
from pbft.simulation.disk import SimulatedDisk
from pbft.wire.codec import WireRules, decode_peer, encode_peer, seal

Lie: TypeAlias = Callable[[int, PeerMessage], Sequence[PeerMessage]]
"""(receiver, what the correct node would send) -> what is sent."""


def corrupt(cluster: Cluster, replica: int, lie: Lie) -> None:
    """From now on `replica` lies."""
    honest, rules = cluster.network.send, WireRules.of(cluster.genesis.configuration)

    def send(sender: int, receiver: int, frame: bytes) -> None:
        if sender != replica:
            honest(sender, receiver, frame)
            return
        for message in lie(receiver, decode_peer(frame, rules)):
            honest(sender, receiver, encode_peer(message))

    cluster.network.send = send  # type: ignore[method-assign]


def sealed(cluster: Cluster, replica: int, *messages: SignedMessage) -> Envelope:
    """Messages under the true signature of `replica`."""
    network = cluster.genesis.network_id
    return seal(messages, sender=replica, epoch=0, network=network, key=replica_key(replica))


class Twin:
    """A second process with a replica's key, on disks and a clock of its own.

    It hears what the replica hears, from those in `hears`, and everybody hears both under one name.
    """

    def __init__(self, cluster: Cluster, replica: int, hears: Collection[int], *, clock_offset_ms: int = 0) -> None:
        self.node: Node | None = None
        self.halted: str | None = None
        self._cluster, self._replica = cluster, replica
        deliver, flush_is_due = cluster.network.deliver, False

        def deliver_to_both(receiver: int, sender: int, frame: bytes) -> None:
            deliver(receiver, sender, frame)
            if receiver == replica and sender in hears and self.node is not None:
                self.node.driver.on_frame(sender, frame)

        def flush() -> None:
            nonlocal flush_is_due
            flush_is_due = False
            assert self.node is not None
            self.node.driver.flush()

        def wake() -> None:
            nonlocal flush_is_due
            if not flush_is_due:
                flush_is_due = True
                cluster.at(0, flush, last=True)

        ledger = SimulatedDisk(LEDGER_TABLES)
        machine = Machine(replica=replica, journal=SimulatedDisk((JOURNAL_TABLE,)), ledger=ledger)
        assemble_node(
            genesis=cluster.genesis,
            replica_id=replica,
            signing_key=replica_key(replica),
            journal_store=machine.journal,
            ledger_store=ledger,
            worker=InlineWorker(Runtime(), ledger),
            outbound=self,
            evidence=EvidenceList(machine),
            counters=CounterTable(machine),
            wall_ms=lambda: cluster.now_ms + clock_offset_ms,
            wake=wake,
            on_halt=lambda reason: setattr(self, "halted", reason),
            on_ready=lambda node: setattr(self, "node", node),
            verified=cluster.verified,
        )
        cluster.network.deliver = deliver_to_both
        self._tick()

    def send(self, replica_id: int, frame: bytes) -> None:
        """See `driver.Outbound`."""
        self._cluster.network.send(self._replica, replica_id, frame)

    def broadcast(self, frame: bytes) -> None:
        """See `driver.Outbound`."""
        for machine in self._cluster.machines:
            if machine.replica != self._replica:
                self.send(machine.replica, frame)

    def _tick(self) -> None:
        assert self.node is not None
        self.node.driver.tick()
        self._cluster.at(TICK_MS, self._tick)
