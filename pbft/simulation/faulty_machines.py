"""Faulty machines: two processes with one key, and one that forgets what it promised (M28, D37).

Both run the production node unchanged; that alone makes them traitors. Twins are the cheapest strong equivocators: each
of the two is consistent, they hear and address different replicas, and everybody hears both under one name.
"""

from collections.abc import Collection
from typing import Final

from contracts.runtime import Runtime
from ledger.chain import LEDGER_TABLES
from ledger.store import Delete, Put
from pbft.core.config import TICK_MS
from pbft.core.persisted import CERTIFIED_KEY, VIEW_KEY, encode_view
from pbft.node.assembly import Node, assemble_node
from pbft.node.inline_worker import InlineWorker
from pbft.node.journal import JOURNAL_TABLE, Journal
from pbft.simulation.cluster import Cluster
from pbft.simulation.disk import SimulatedDisk
from pbft.simulation.liars import Traitor
from pbft.simulation.machine import Machine, id_of, receivers_of
from pbft.simulation.sinks import CounterTable, EvidenceList

AUDIENCES_MS: Final = (400, 4_000)  # how long twins keep their circles
FORGETS_MS: Final = (1_500, 5_000)  # how long a machine remembers its promises


class Twin:
    """A second process with a replica's key, on disks and a clock of its own.

    It hears what the replica hears, from those in `hears`, and speaks to those in `speaks_to`, under one name with it.
    """

    def __init__(
        self,
        cluster: Cluster,
        replica: int,
        hears: Collection[int],
        *,
        clock_offset_ms: int = 0,
        copy_of: Machine | None = None,
    ) -> None:
        """`copy_of` is a machine whose disks it starts from, as they are now; None: from empty ones."""
        cluster.checkers.liars.add(replica)
        self.node: Node | None = None
        self.halted: str | None = None
        self.hears = set(hears)
        self.speaks_to = {machine.replica for machine in cluster.machines} - {replica}
        self.sent = 0
        self.replica = replica
        self._cluster = cluster
        self._carry = cluster.network.send
        deliver, flush_is_due = cluster.network.deliver, False

        def deliver_to_both(receiver: int, sender: int, frame: bytes) -> None:
            deliver(receiver, sender, frame)
            if receiver == replica and sender in self.hears and self.node is not None:
                sender_id = id_of(self.node, sender)
                if sender_id is not None:
                    self.node.driver.on_frame(sender_id, frame)

        def flush() -> None:
            nonlocal flush_is_due
            flush_is_due = False
            if self.node is not None:
                self.node.driver.flush()

        def wake() -> None:
            nonlocal flush_is_due
            if not flush_is_due:
                flush_is_due = True
                cluster.at(0, flush, last=True)

        machine = _make_machine(cluster, replica, copy_of)
        assemble_node(
            genesis=cluster.genesis,
            signing_key=cluster.replica_key(replica),
            journal_store=machine.journal,
            ledger_store=machine.ledger,
            payload_keys=machine.payload_keys,
            worker=InlineWorker(cluster.runtime or Runtime(), machine.ledger),
            outbound=self,
            evidence=EvidenceList(machine, cluster.checkers),
            counters=CounterTable(machine),
            wall_ms=lambda: cluster.now_ms + clock_offset_ms,
            wake=wake,
            on_halt=lambda reason: setattr(self, "halted", reason),
            on_ready=lambda node: setattr(self, "node", node),
            verified=cluster.verified,
            decode=cluster.decode,
        )
        cluster.network.deliver = deliver_to_both
        self._tick()

    def send(self, replica_id: int, frame: bytes) -> None:
        """See `driver.Outbound`."""
        self._send(frame, [replica_id])

    def broadcast(self, frame: bytes) -> None:
        """See `driver.Outbound`."""
        self._send(frame, None)

    def _send(self, frame: bytes, replica_ids: list[int] | None) -> None:
        assert self.node is not None
        for receiver in receivers_of(self.node, replica_ids):
            if receiver != self.replica and receiver in self.speaks_to:
                self.sent += 1
                self._carry(self.replica, receiver, frame)

    def stop(self) -> None:
        """Somebody ends the process."""
        self.node = None

    def _tick(self) -> None:
        if self.node is not None:
            self.node.driver.tick()
            self._cluster.at(TICK_MS, self._tick)


def _make_machine(cluster: Cluster, replica: int, copy_of: Machine | None) -> Machine:
    """Other disks for the same replica: copies, or empty ones."""
    machine = Machine(
        replica=replica,
        journal=SimulatedDisk((JOURNAL_TABLE,), cluster.writes_of(replica, "twin journal")),
        ledger=SimulatedDisk(LEDGER_TABLES, cluster.writes_of(replica, "twin ledger")),
        payload_keys=cluster.machines[replica].payload_keys,
    )
    if copy_of is not None:
        copy_disk(copy_of.journal, machine.journal)
        copy_disk(copy_of.ledger, machine.ledger)
    return machine


def copy_disk(source: SimulatedDisk, target: SimulatedDisk) -> None:
    """All that one disk holds, onto an empty one of the same tables."""
    target.write([Put(table, key, value) for table in source.tables for key, value in source.scan(table)])


def live_twice(traitor: Traitor) -> None:
    """M28: two processes with one key; each has a circle of replicas that it hears and addresses, drawn anew again and
    again, overlapping or not."""
    cluster, random, others = traitor.cluster, traitor.random, traitor.others
    twin = Twin(cluster, traitor.replica, others, clock_offset_ms=random.randint(1, 50))
    assert twin.node is not None
    twin.node.replica.state.asks = False  # as `liars.spare_own_words` for the first process: twins live side by side
    first_circle = set(others)
    send, deliver = cluster.network.send, cluster.network.deliver

    def send_to_circle(sender: int, receiver: int, frame: bytes) -> None:
        if sender != traitor.replica or receiver in first_circle:
            send(sender, receiver, frame)

    def deliver_to_circle(receiver: int, sender: int, frame: bytes) -> None:
        if receiver != traitor.replica or sender in first_circle or sender in twin.hears:
            deliver(receiver, sender, frame)

    def draw_circles() -> None:
        nonlocal first_circle
        first_circle = set(random.sample(others, random.randint(1, len(others))))
        second = set(others) - first_circle if random.random() < 0.5 else set(random.sample(others, len(others) // 2))
        twin.hears, twin.speaks_to = second | {random.choice(others)}, second | {random.choice(others)}
        traitor.count("circles_drawn")
        cluster.at(random.randint(*AUDIENCES_MS), draw_circles)

    cluster.network.send = send_to_circle  # type: ignore[method-assign]
    cluster.network.deliver = deliver_to_circle
    cluster.at(random.randint(*AUDIENCES_MS), draw_circles)


def forget(traitor: Traitor) -> None:
    """D37: starts again and again without its promises, back in view 0, and votes as if it had never voted. A journal
    that is gone whole stops an honest program (`assembly.begin_journal`); so this one gets a fresh first record."""
    cluster, random = traitor.cluster, traitor.random
    machine = cluster.machines[traitor.replica]

    def start_anew() -> None:
        if traitor.node is not None and machine.paused_until_ms <= cluster.now_ms:
            view, epoch = traitor.node.replica.view, traitor.node.replica.state.configuration.epoch
            cluster.kill(traitor.replica)
            kept = {CERTIFIED_KEY} if epoch else set()  # later epochs start above it
            promises = [key for key, _ in machine.journal.scan(JOURNAL_TABLE) if key not in kept]
            machine.journal.write([Delete(JOURNAL_TABLE, key) for key in promises])
            journal = Journal(machine.journal)
            journal.append(VIEW_KEY, encode_view(epoch, 0, active=True))
            journal.sync()
            cluster.start(traitor.replica)
            traitor.count("forgot_view" if view else "forgot_promises")
        cluster.at(random.randint(*FORGETS_MS), start_anew)

    cluster.at(random.randint(*FORGETS_MS), start_anew)
