"""Power fails at every write of a run, one after another, and a bit rots in every table: nothing is lost or made up."""

import pytest
from simulation.test_cluster import expect_done, total

from ledger.chain import LEDGER_TABLES
from ledger.configuration import ProtocolParameters
from pbft.simulation.cluster import Cluster
from pbft.simulation.signing import KEYED_HASH
from pbft.simulation.workload import Workload

POINTS = 12  # writes of one replica in some blocks, their votes and their certificates: the run has fewer
BLOCKS = 4
VICTIM = 1


def make_cluster(seed: int) -> tuple[Cluster, Workload]:
    """Four replicas, a narrow window, and one request that is done."""
    cluster = Cluster(seed=seed, protocol=ProtocolParameters(window=16, stride=4), signing=KEYED_HASH)
    load = Workload(cluster)
    load.submit(1, "add", [b"total", 1], through=[0])
    expect_done(cluster, load, 2_000)
    cluster.run(500)
    return cluster, load


@pytest.mark.parametrize("disk", ["journal", "ledger"])
def test_power_may_fail_inside_every_write(disk: str) -> None:
    """M25, M26, D34, D35: whether the write arrived or was torn, the replica starts, and all is executed once."""
    failures = survived = 0
    for point in range(POINTS):
        for seed in range(2):
            cluster, load = make_cluster(2 * point + seed)
            victim = cluster.machines[VICTIM]
            (victim.journal if disk == "journal" else victim.ledger).fail_power(point)
            for _ in range(BLOCKS):
                load.submit(1, "add", [b"total", 1], through=[0, 2])
                cluster.run(500)
            if not cluster.power_failures:
                continue  # the run has fewer writes
            failures += 1
            survived += cluster.writes_survived
            cluster.start(VICTIM)
            expect_done(cluster, load, 10_000)
            assert cluster.run(5_000, until=cluster.is_level)
            assert [total(cluster, replica) for replica in range(4)] == [BLOCKS + 1] * 4
    assert failures >= 7 and 0 < survived < failures, (failures, survived)


@pytest.mark.parametrize("table", LEDGER_TABLES)
def test_a_replica_whose_ledger_rots_stops_or_tells_the_truth(table: str) -> None:
    """M26: it refuses to start, stops when it reads the record, or never needs it; the checkers watch what it says."""
    cluster, load = make_cluster(5)
    cluster.kill(VICTIM)
    if cluster.machines[VICTIM].ledger.process_rot(table, cluster.random) is None:
        return  # this run leaves the table empty
    cluster.decayed.add(VICTIM)
    cluster.start(VICTIM)
    for _ in range(3):
        load.submit(1, "add", [b"total", 1], through=[0, 2])
        assert cluster.run(10_000, until=lambda: load.is_done)
    cluster.run(1_000)
    others = [0, 2, 3]
    assert [total(cluster, replica) for replica in others] == [4] * 3
    machine = cluster.machines[VICTIM]
    if machine.node is not None and machine.halted is None:
        assert machine.node.chain.head.hash == cluster.node(0).chain.head.hash
    elif machine.node is not None:
        assert machine.halted is not None and "damaged" in machine.halted
    else:
        assert VICTIM in cluster.lost
