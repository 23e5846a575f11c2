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
