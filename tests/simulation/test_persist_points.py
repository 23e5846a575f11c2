"""Power fails at every write of a run, one after another, and a bit rots in every table: nothing is lost or made up."""

import pytest
from simulation.test_cluster import expect_done, total

from ledger.chain import LEDGER_TABLES
from ledger.configuration import ProtocolParameters
from pbft.core.client_session import Committed
from pbft.simulation.clients import Clients
from pbft.simulation.cluster import Cluster
from pbft.simulation.outcome import TOTAL_KEY, check_outcome, is_level
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


def lose_power_at_all(seed: int) -> int:
    """Power fails inside the ledgers' writes of a block that a client was told of. Returns how many writes arrived."""
    cluster = Cluster(seed=seed, protocol=ProtocolParameters(window=16, stride=4), signing=KEYED_HASH)
    clients = Clients(cluster)
    for client in range(3):
        clients.submit(clients.sign(client, "add", [TOTAL_KEY, 1]))
    assert cluster.run(20_000, until=lambda: clients.is_done and is_level(cluster))
    before = cluster.node(0).chain.height
    for machine in cluster.machines:
        machine.ledger.fail_power(0)
    session = clients.submit(clients.sign(0, "add", [TOTAL_KEY, 1]))
    cluster.run(500)
    assert cluster.power_failures == 4 and cluster.running == []
    assert isinstance(session.outcome, Committed) and session.outcome.reply.height == before + 1
    for replica in range(4):
        cluster.start(replica)
    assert cluster.run(10_000, until=lambda: is_level(cluster) and cluster.node(0).chain.height > before)
    check_outcome(cluster, clients)
    return cluster.writes_survived


def test_what_clients_were_told_survives_power_failure_at_all_replicas() -> None:
    """D34, execution 14: whether the writes arrived or not, the same block comes out again, and no client resends."""
    assert len({lose_power_at_all(seed) for seed in range(4)}) > 1


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
