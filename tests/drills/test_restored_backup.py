"""A data directory restored from a backup, on real processes: the others hold what this key signed since (M28, D38)."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from drills.test_local_cluster import ping

from pbft.node.local_cluster import LocalNetwork, prepare, start, start_replica, status, stop, wait_ready

pytestmark = pytest.mark.drill
HALT_SECONDS_MAX = 30  # links to a restarted process are back within seconds


@pytest.fixture
def network(tmp_path: Path) -> Iterator[LocalNetwork]:
    local = prepare(tmp_path / "network", port_base=0)
    try:
        start(local)
        wait_ready(local)
        yield local
    finally:
        stop(local)


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
        deadline = time.monotonic() + HALT_SECONDS_MAX
        while (entry := status(network)["replicas"][2])["state"] == "starting" and time.monotonic() < deadline:
            threading.Event().wait(0.2)
        assert entry["state"] == "halted" and "not in this journal" in entry["cause"]
        assert entry["height"] < height
        stop(network, replica_ids=(2,))
    ping(network)
