"""Everything at once, from a seed: bad links, partitions, crashes, restarts of all, load and scheduled calls.

A safety phase in which anything may happen, then the faults stop and everybody has to reach one head with every request
executed exactly once. The seed fixes the whole run: `Cluster(seed=...)` draws everything from one source.
"""

import pytest
from simulation.test_cluster import expect_done, runs, total

from ledger.configuration import ProtocolParameters
from pbft.simulation.cluster import Cluster
from pbft.simulation.network import LinkFaults
from pbft.simulation.workload import Workload

SAFETY_MS = 40_000
REQUESTS = 60
CALLS = 5


class Nemesis:
    """Draws one fault after another until the safety phase ends; never more than f replicas are down for long."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.end_ms = cluster.now_ms + SAFETY_MS
        cluster.at(1_000, self._strike)

    def _strike(self) -> None:
        cluster, random = self.cluster, self.cluster.random
        if cluster.now_ms >= self.end_ms:
            return
        replicas = range(len(cluster.machines))
        down = [machine.replica for machine in cluster.machines if machine.node is None]
        fault = random.randrange(17)
        if fault < 4 and len(down) < cluster.genesis.configuration.f:
            cluster.kill(random.choice([replica for replica in replicas if replica not in down]))
        elif fault < 8 and down:
            cluster.start(random.choice(down))
        elif fault < 12:
            group = set(random.sample(replicas, random.randrange(1, len(replicas))))
            cluster.network.partition(group, set(replicas) - group)
        elif fault < 16:
            cluster.network.heal()
        else:
            for machine in cluster.machines:
                if machine.node is not None:
                    cluster.kill(machine.replica)
            for machine in cluster.machines:
                cluster.start(machine.replica)
        cluster.at(random.randrange(200, 4_000), self._strike)


@pytest.mark.parametrize("seed", range(12))
def test_after_any_faults_all_is_executed_once(seed: int) -> None:
    """n of 4 to 7, narrow and wide windows: agreement throughout, and everything done once the faults stop."""
    cluster = Cluster(
        seed=seed,
        replicas=4 + seed % 4,
        protocol=ProtocolParameters(window=16, stride=4) if seed % 2 else ProtocolParameters(),
        faults=LinkFaults(delay_max_ms=60, loss_permille=50, duplication_permille=100),
    )
    load, random = Workload(cluster), cluster.random
    Nemesis(cluster)

    def add(client: int) -> None:
        load.submit(client, "add", [b"total", 1], through=random.sample(range(len(cluster.machines)), 3))

    def later() -> None:
        due = cluster.now_ms // 1000 + random.randrange(6)
        load.submit(9, "later", [due], through=random.sample(range(len(cluster.machines)), 3))

    for number in range(REQUESTS):
        cluster.at(random.randrange(SAFETY_MS * 3 // 4), lambda client=number % 5: add(client))
    for _ in range(CALLS):
        cluster.at(random.randrange(SAFETY_MS * 3 // 4), later)
    cluster.run(SAFETY_MS + 5_000)

    cluster.network.heal()
    cluster.network.faults = LinkFaults()
    for machine in cluster.machines:
        if machine.node is None:
            cluster.start(machine.replica)
    for client in range(5):
        add(client)
    expect_done(cluster, load, 90_000)
    cluster.run(10_000)
    for replica in range(len(cluster.machines)):
        assert total(cluster, replica) == REQUESTS + 5
        assert runs(cluster, replica) == CALLS
