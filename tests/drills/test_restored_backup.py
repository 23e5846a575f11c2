"""A data directory restored from a backup, on real processes: the others hold what this key signed since (M28, D38)."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drills.test_local_cluster import ping

from meters.demo_traffic import wait_until
from pbft.node.local_cluster import (
    LocalNetwork,
    LocalNetworkError,
    prepare,
    start,
    start_replica,
    status,
    stop,
    wait_ready,
)

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


def find_certified(network: LocalNetwork, height: int) -> dict[str, Any] | None:
    """The status of r2 once a height is certified there."""
    entry: dict[str, Any] = status(network)["replicas"][2]
    return entry if (entry["certified_height"] or 0) >= height else None


def test_a_restored_backup_is_refused_and_a_whole_image_halts_before_its_first_word(
    network: LocalNetwork, tmp_path: Path
) -> None:
    """The backup is three blocks and one start old. Restored without the keys it is refused at once, because the key
    was started more often; with them, as a machine's image is, the replica halts by what the others have heard of it,
    says why, and again after a restart. The others go on."""
    ping(network)
    stop(network, replica_ids=(2,))
    replica = network.replica(2)
    kept = {path: tmp_path / path.name for path in (replica.data_path, replica.keys_path)}
    for path, backup in kept.items():
        shutil.copytree(path, backup)
    start_replica(network, 2)
    wait_ready(network)
    height = max(ping(network)["height"] for _ in range(3))
    wait_until(lambda: find_certified(network, height), "r2 has voted: a head that stands still is certified")
    stop(network, replica_ids=(2,))
    restore(replica.data_path, kept)
    start_replica(network, 2)
    with pytest.raises(LocalNetworkError, match=r"r2 has ended: .*counts 2 starts with this key, the journal 1"):
        wait_ready(network, replica_ids=(2,))
    restore(replica.keys_path, kept)
    for _ in range(2):
        start_replica(network, 2)
        entry = wait_until(lambda: find_started(network), "the restored replica is past its start")
        assert entry["state"] == "halted" and "not in this journal" in entry["cause"]
        assert entry["height"] < height
        stop(network, replica_ids=(2,))
    ping(network)


def restore(path: Path, kept: dict[Path, Path]) -> None:
    """A directory as it was kept."""
    shutil.rmtree(path)
    shutil.copytree(kept[path], path)
