"""The nemesis: draws one fault after another from the seed while the safety phase lasts, and takes all back at its end.

Safety must hold whatever it does. For progress it leaves a majority up most of the time: it kills no more than f at
once, except when it restarts everybody. A replica whose disk rots is lost for good, so it counts as one of the f
faulty, like a traitor. Traitors are `byzantine`'s; what must hold is `checkers`'.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from pbft.core.persisted import DamagedJournal
from pbft.node.journal import JOURNAL_TABLE
from pbft.simulation.checkers import Violation
from pbft.simulation.cluster import Cluster
from pbft.simulation.faulty_machines import Twin
from pbft.simulation.hunter import Hunter
from pbft.simulation.machine import Machine
from pbft.simulation.network import LinkFaults

STRIKE_MIN_MS: Final = 100
STRIKE_MAX_MS: Final = 1_500
POWER_FAILURE_WRITES_MAX: Final = 6  # the power fails inside one of the next writes
PAUSE_MAX_MS: Final = 3_000
CLOCK_STEP_MAX_MS: Final = 60_000
DRIFT_MS: Final = 1_000
HUNTED_CHANCE: Final = 0.6  # of the runs: the others meet random faults alone


class Nemesis:
    """Strikes until `end_ms`; `faults` counts what it did, by kind."""

    def __init__(self, cluster: Cluster, end_ms: int) -> None:
        self.faults: Counter[str] = Counter()
        self._cluster = cluster
        self._end_ms = end_ms
        self._kinds: list[Callable[[], str | None]] = [
            *(self._kill, self._restart, self._restart, self._partition, self._one_way, self._clog, self._slow),
            *(self._heal, self._heal, self._heal, self._power_failure, self._power_failure, self._disk_full),
            *(self._pause, self._clock_step, self._clock_drift, self._links, self._rot, self._restart_all),
            self._second_process,
        ]
        self.outcomes: Counter[str] = Counter()  # what became of faults that the product has to notice
        self._second: Twin | None = None
        self._hunter = Hunter(cluster, end_ms, self.faults) if cluster.random.random() < HUNTED_CHANCE else None
        cluster.at(STRIKE_MAX_MS, self._strike)

    def stop(self) -> None:
        """The faults end: links, clocks and disks are good again, and every machine that can start runs."""
        cluster = self._cluster
        self._end_ms = cluster.now_ms
        if self._hunter is not None:
            self._hunter.stop()
        if self._second is not None:
            self._end_second(self._second)
        cluster.network.faults, cluster.network.loses = LinkFaults(), None
        cluster.network.heal()
        cluster.trace.record_fault(cluster.now_ms, "the faults stop")
        for machine in cluster.machines:
            machine.clock_offset_ms = machine.paused_until_ms = 0
            machine.journal.repair()
            machine.ledger.repair()
            if machine.replica not in cluster.lost and (machine.node is None or machine.halted is not None):
                cluster.restart(machine.replica)

    def _strike(self) -> None:
        cluster = self._cluster
        if cluster.now_ms >= self._end_ms:
            return
        text = cluster.random.choice(self._kinds)()
        if text is not None:
            cluster.trace.record_fault(cluster.now_ms, text)
        cluster.at(cluster.random.randint(STRIKE_MIN_MS, STRIKE_MAX_MS), self._strike)

    def _machine(self, *, is_up: bool) -> Machine | None:
        """One machine of those that run, or of those that do not and could."""
        machines = [
            machine
            for machine in self._cluster.machines
            if machine.replica not in self._cluster.lost
            and (machine.node is not None and machine.halted is None) == is_up
        ]
        return self._cluster.random.choice(machines) if machines else None

    def _can_lose_one(self) -> bool:
        down = [machine for machine in self._cluster.machines if machine.node is None or machine.halted is not None]
        return len(down) < self._cluster.genesis.configuration.f

    def _kill(self) -> str | None:
        machine = self._machine(is_up=True) if self._can_lose_one() else None
        if machine is None:
            return None
        self._cluster.kill(machine.replica)
        self.faults["crash"] += 1
        return f"r{machine.replica} is killed"

    def _restart(self) -> str | None:
        machine = self._machine(is_up=False)
        if machine is None:
            return None
        self._cluster.restart(machine.replica)
        self.faults["restart"] += 1
        return f"r{machine.replica} starts again"

    def _restart_all(self) -> str | None:
        for machine in self._cluster.machines:
            if machine.replica not in self._cluster.lost:
                self._cluster.kill(machine.replica)
        for machine in self._cluster.machines:
            if machine.replica not in self._cluster.lost:
                self._cluster.start(machine.replica)
        self.faults["restart_all"] += 1
        return "power fails everywhere, and returns"

    def _group(self) -> set[int]:
        replicas = range(len(self._cluster.machines))
        return set(self._cluster.random.sample(replicas, self._cluster.random.randrange(1, len(replicas))))

    def _partition(self) -> str:
        """Anybody from the others; the primary alone; or two halves, neither of them a quorum."""
        replicas = set(range(len(self._cluster.machines)))
        views = [node.replica.view for node in self._cluster.correct]
        kind = self._cluster.random.choice(["partition", "partition_of_primary", "partition_of_quorum"])
        group = self._group()
        if kind == "partition_of_primary":
            group = {max(views, default=0) % len(replicas)}
        elif kind == "partition_of_quorum":
            group = set(self._cluster.random.sample(sorted(replicas), len(replicas) // 2))
        self._cluster.network.partition(group, replicas - group)
        self.faults[kind] += 1
        return f"{kind.replace('_', ' ')}: {sorted(group)} from the others"

    def _one_way(self) -> str:
        group = self._group()
        self._cluster.network.deafen(group)
        self.faults["one_way_partition"] += 1
        return f"one way: {sorted(group)} hear nobody else"

    def _clog(self) -> str:
        random, replicas = self._cluster.random, range(len(self._cluster.machines))
        links = [tuple(random.sample(replicas, 2)) for _ in replicas]
        for sender, receiver in links:
            self._cluster.network.clog(sender, receiver)
        self.faults["clog"] += 1
        return f"clogged: {sorted(links)}"

    def _slow(self) -> str:
        random = self._cluster.random
        replica, slow_ms = random.randrange(len(self._cluster.machines)), random.randint(50, 1_000)
        self._cluster.network.slow_ms[replica] = slow_ms
        self.faults["slow_link"] += 1
        return f"what r{replica} sends takes {slow_ms} ms longer"

    def _links(self) -> str:
        random = self._cluster.random
        faults = LinkFaults(
            delay_max_ms=random.choice([3, 30, 120]),
            loss_permille=random.choice([0, 30, 100, 200]),
            duplication_permille=random.choice([0, 100, 300]),
        )
        self._cluster.network.faults = faults
        self.faults["links"] += 1
        return (
            f"links: up to {faults.delay_max_ms} ms, {faults.loss_permille} lost and "
            f"{faults.duplication_permille} doubled of 1000"
        )

    def _heal(self) -> str:
        self._cluster.network.heal()
        return "all links carry again"

    def _power_failure(self) -> str | None:
        machine = self._machine(is_up=True) if self._can_lose_one() else None
        if machine is None:
            return None
        random = self._cluster.random
        disk, name = random.choice([(machine.journal, "journal"), (machine.ledger, "ledger")])
        number = random.randrange(POWER_FAILURE_WRITES_MAX)
        disk.fail_power(number)
        self.faults["power_failure"] += 1
        return f"r{machine.replica} will lose power inside write {number} of its {name}"

    def _disk_full(self) -> str | None:
        machine = self._machine(is_up=True) if self._can_lose_one() else None
        if machine is None:
            return None
        disk, name = self._cluster.random.choice([(machine.journal, "journal"), (machine.ledger, "ledger")])
        disk.fill()
        self.faults["disk_full"] += 1
        return f"the {name} of r{machine.replica} is full"

    def _pause(self) -> str | None:
        machine = self._machine(is_up=True)
        if machine is None:
            return None
        pause_ms = self._cluster.random.randint(100, PAUSE_MAX_MS)
        machine.paused_until_ms = self._cluster.now_ms + pause_ms
        self.faults["pause"] += 1
        return f"r{machine.replica} stands still for {pause_ms} ms"

    def _clock_step(self) -> str:
        cluster = self._cluster
        wrong = [machine for machine in cluster.machines if machine.clock_offset_ms]
        if len(wrong) >= cluster.genesis.configuration.f:
            for machine in wrong:
                machine.clock_offset_ms = 0
        machine = cluster.random.choice(cluster.machines)
        machine.clock_offset_ms = cluster.random.randint(-CLOCK_STEP_MAX_MS, CLOCK_STEP_MAX_MS)
        self.faults["clock_step"] += 1
        return f"the clock of r{machine.replica} is off by {machine.clock_offset_ms} ms"

    def _clock_drift(self) -> str | None:
        """From now on a clock runs too fast or too slow, until somebody sets it or the faults stop."""
        cluster = self._cluster
        wrong = [machine for machine in cluster.machines if machine.clock_offset_ms]
        if len(wrong) >= cluster.genesis.configuration.f:
            return None
        machine, drift_ms = cluster.random.choice(cluster.machines), cluster.random.choice([-200, -20, 20, 200])
        machine.clock_offset_ms += drift_ms

        def go_on() -> None:
            if cluster.now_ms < self._end_ms and machine.clock_offset_ms:
                machine.clock_offset_ms += drift_ms
                cluster.at(DRIFT_MS, go_on)

        cluster.at(DRIFT_MS, go_on)
        self.faults["clock_drift"] += 1
        return f"the clock of r{machine.replica} gains {drift_ms} ms in {DRIFT_MS}"

    def _second_process(self) -> str | None:
        """M28: somebody starts the same replica once more, from a copy of its disks or from empty ones. It counts among
        the f faulty: before one of the two notices, both may have spoken."""
        cluster, machine = self._cluster, self._machine(is_up=True)
        if machine is None or machine.replica in cluster.checkers.faulty or self._second is not None:
            return None
        if machine.replica in cluster.decayed or not cluster.can_be_faulty(machine.replica):
            return None
        cluster.checkers.faulty.add(machine.replica)
        others = [other.replica for other in cluster.machines if other is not machine]
        source = machine if cluster.random.random() < 0.5 else None
        self._second = Twin(cluster, machine.replica, others, copy_of=source)
        self.faults["second_process"] += 1
        return f"a second process with the key of r{machine.replica} starts from {'a copy' if source else 'nothing'}"

    def _end_second(self, twin: Twin) -> None:
        first = self._cluster.machines[twin.replica].halted
        stopped = [name for name, reason in (("first", first), ("second", twin.halted)) if reason is not None]
        self.outcomes[f"second_process:{'_and_'.join(stopped) or 'nobody'}_stopped"] += 1
        twin.stop()

    def _rot(self) -> str | None:
        """A bit flips in a machine at rest, in its journal or its ledger."""
        cluster = self._cluster
        machine = self._machine(is_up=False)
        if machine is None or not cluster.can_be_faulty(machine.replica):
            return None
        cluster.kill(machine.replica)
        return cluster.random.choice([self._rot_journal, self._rot_ledger])(machine)

    def _rot_ledger(self, machine: Machine) -> str | None:
        """Whoever reads the record must notice: at the start, later or never. Until then it answers truly (M26)."""
        cluster = self._cluster
        filled = [table for table in machine.ledger.tables if machine.ledger.has_records(table)]
        if not filled:
            return None
        table = cluster.random.choice(filled)
        machine.ledger.process_rot(table, cluster.random)
        self.faults["ledger_rot"] += 1
        cluster.decayed.add(machine.replica)
        cluster.start(machine.replica)
        return f"a bit flips in the ledger of r{machine.replica}, table {table}"

    def _rot_journal(self, machine: Machine) -> str | None:
        """The start must refuse it, because it reads all; the machine is lost (M26, D37)."""
        cluster = self._cluster
        key = machine.journal.process_rot(JOURNAL_TABLE, cluster.random)
        if key is None:
            return None
        try:
            cluster.start(machine.replica)
        except DamagedJournal as damage:
            cluster.lose(machine.replica)
            self.faults["bit_rot"] += 1
            return f"r{machine.replica} is lost: {damage}"
        raise Violation("damage", f"r{machine.replica} starts with a flipped bit in its journal record {key!r}")
