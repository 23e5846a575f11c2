"""Whole nodes on a faulty network and disks: they agree, execute everything once, and come back from their journals."""

import pytest
from simulation.cluster import Cluster
from simulation.workload import Workload


def test_a_request_is_executed_and_certified_everywhere() -> None:
    """The normal case end to end: one request, one block, one certificate, an idle network afterwards."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    load.submit(1, "add", [b"total", 5], through=[0])
    assert cluster.run(2_000, until=lambda: load.is_done and cluster.is_level())
    assert [node.chain.height for node in cluster.running] == [1, 1, 1, 1]
    cluster.checkers.check_certificates(cluster.running)
    cluster.run(20_000)
    assert [node.chain.height for node in cluster.running] == [1, 1, 1, 1], "an idle network makes no blocks"


FAULTY = {
    "good": {},
    "lossy": {"loss_permille": 100, "delay_max_ms": 30},
    "slow": {"delay_min_ms": 20, "delay_max_ms": 120},
    "twice": {"duplication_permille": 300, "delay_max_ms": 60},
    "all": {"loss_permille": 80, "delay_max_ms": 80, "duplication_permille": 100},
}


@pytest.mark.parametrize("seed", range(30))
def test_faulty_links_change_nothing(seed: int) -> None:
    """Loss, delay, duplication and reordering cost time, never an answer: everything executes once, all end equal."""
    from simulation.network import LinkFaults

    kind = sorted(FAULTY)[seed % len(FAULTY)]
    cluster = Cluster(seed=seed, replicas=4 + seed % 4, faults=LinkFaults(**FAULTY[kind]))
    load = Workload(cluster)
    replicas = range(len(cluster.machines))
    for number in range(20):
        through = cluster.random.sample(list(replicas), 3)
        delay = cluster.random.randrange(3_000)
        cluster.at(delay, lambda t=tuple(through), c=number % 3: load.submit(c, "add", [b"total", 1], through=t))
    assert cluster.run(120_000, until=lambda: len(load.outstanding) == 20 and load.is_done), cluster.describe()
    cluster.network.faults = LinkFaults()
    assert cluster.run(20_000, until=cluster.is_level), cluster.describe()
    cluster.checkers.check_certificates(cluster.running)
    assert len(cluster.checkers.used) == 20


def test_primary_killed() -> None:
    """The primary dies half way: the others go on in the next view; restarted, it stands on the same state root."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    load.submit(1, "add", [b"total", 1], through=[0, 1, 2])
    assert cluster.run(2_000, until=lambda: load.is_done)
    cluster.kill(0)
    load.submit(1, "add", [b"total", 1], through=[0, 1, 2])
    start = cluster.now_ms
    assert cluster.run(20_000, until=lambda: load.is_done), cluster.describe()
    print("recovered in", cluster.now_ms - start)
    cluster.start(0)
    assert cluster.run(20_000, until=cluster.is_level), cluster.describe()
    load.submit(1, "add", [b"total", 1], through=[0, 1, 2])
    assert cluster.run(20_000, until=lambda: load.is_done and cluster.is_level()), cluster.describe()
    assert len(cluster.checkers.used) == 3
