"""A data directory restored from a backup, on real processes: the others hold what this key signed since (M28, D38)."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drills.test_local_cluster import ping

from meters.demo_traffic import wait_until
from pbft.node.local_cluster import LocalNetwork, prepare, start, start_replica, status, stop, wait_ready

pytestmark = pytest.mark.drill


@pytest.fixture
def network(tmp_path: Path) -> Iterator[LocalNetwork]:
    local = prepare(tmp_path / "network", port_base=0)
    try:
        start(local)
        wait_ready(local)
        yield local
    finally:
        stop(local)


def find_started(network: LocalNetwork) -> dict[str, Any] | None:
    """The status of r2 once it is past its start."""
    entry: dict[str, Any] = status(network)["replicas"][2]
    return None if entry["state"] == "starting" else entry


def test_a_restored_backup_halts_before_its_first_word_and_stays_halted(network: LocalNetwork, tmp_path: Path) -> None:
    """The backup is three blocks old. The replica halts, says why, and again after a restart; the others go on."""
    data, backup = network.replica(2).data_path, tmp_path / "backup"
    ping(network)
    stop(network, replica_ids=(2,))
    shutil.copytree(data, backup)
    start_replica(network, 2)
    height = max(ping(network)["height"] for _ in range(3))
    wait_ready(network, min_height=height)
    stop(network, replica_ids=(2,))
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    for _ in range(2):
        start_replica(network, 2)
        entry = wait_until(lambda: find_started(network), "the restored replica is past its start")
        assert entry["state"] == "halted" and "not in this journal" in entry["cause"]
        assert entry["height"] < height
        stop(network, replica_ids=(2,))
    ping(network)
