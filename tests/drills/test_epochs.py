"""A lost disk on real processes: a new key, silent at first, voted in by the operators, then a voter like any (D37)."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.genesis import parse_genesis
from pbft.node.identity import read_passphrase, renew_consensus_key
from pbft.node.local_cluster import LocalNetwork, prepare, start, start_replica, stop, wait_ready

pytestmark = pytest.mark.drill
COMMAND_SECONDS_MAX = 120
EPOCH_SECONDS_MAX = 120  # 64 blocks to fill take about 5 s on an idle machine
LOST = 2


@pytest.fixture
def network(tmp_path: Path) -> Iterator[LocalNetwork]:
    local = prepare(tmp_path / "network", port_base=0)
    try:
        start(local)
        wait_ready(local)
        yield local
    finally:
        stop(local)


def run(*arguments: str) -> str:
    """A program that must do what it is asked; its output."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ping(network: LocalNetwork) -> int:
    """The height of a transaction that W replicas vouch for."""
    answer = json.loads(run("-m", "pbft.cli", "tx", "ping", "--data-dir", str(network.directory), "--json"))
    assert answer["status"] == "ok"
    return int(answer["height"])


def test_d37_a_lost_disk_comes_back_with_a_new_key(network: LocalNetwork) -> None:
    """Disk and promises of r2 are gone: `keys renew`, `run --recover`, three votes; then its vote is needed."""
    stop(network, replica_ids=(LOST,))
    lost = network.replica(LOST)
    for directory in ("journal", "ledger"):
        shutil.rmtree(lost.data_path / directory)
    card = renew_consensus_key(lost.keys_path, passphrase=read_passphrase(lost.passphrase_path))
    start_replica(network, LOST, options=("--recover",))
    first = parse_genesis(network.genesis_path.read_bytes()).configuration
    members = tuple(
        replace(member, consensus_key=card.consensus_key) if member.id == LOST else member for member in first.members
    )
    document = replace(first, epoch=1, members=members).to_bytes().hex()
    operators = str(Path(__file__).with_name("operators.py"))
    decided = int(run(operators, str(network.directory), document, "0", "1", "3"))
    end = decided + first.parameters.window
    wait_ready(network, min_height=end, timeout_seconds=EPOCH_SECONDS_MAX)
    replicas = wait_ready(network, min_height=ping(network))["replicas"]
    assert [entry["epoch"] for entry in replicas] == [1] * 4
    assert sorted(entry["state"] for entry in replicas) == ["backup", "backup", "backup", "primary"]
    stop(network, replica_ids=(0,))  # three are left, and a quorum is three
    assert ping(network) > end + 1
