"""Four real processes: how soon they go on when the primary dies, and when all but one were paused.

Times are taken from the replicas' own logs, from the kill to the first block that each survivor has stored after it, so
neither a client's patience nor a command's start is in them. The bounds are those of pbft/README.md, "Time".
"""

import json
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import wraps
from typing import Any, Final

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from ledger.genesis import parse_genesis
from pbft.client.blocking import Client
from pbft.client.options import ClientOptions
from pbft.core.client_session import Committed, SessionTiming
from pbft.node import local_cluster, local_network
from pbft.node.local_network import LocalNetwork
from pbft.node.local_processes import ProcessRecord, read_record, signal_process

pytestmark = pytest.mark.drill

PAUSE_SECONDS: Final = 6.0  # four times T: the one that goes on has left its view long before
WAIT_SECONDS_MAX: Final = 60.0
EVERYBODY: Final = ClientOptions(timing=SessionTiming(primary_alone_ticks=1))  # all are asked in 50 ms


def in_a_thread(test: Callable[..., None]) -> "Callable[..., Deferred[None]]":
    """Run a test that uses the blocking client beside the reactor, which pytest-twisted runs in the main thread."""

    @wraps(test)
    def run_test(**arguments: Any) -> "Deferred[None]":
        return deferToThread(test, **arguments)

    return run_test


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """One network for the whole file; each test leaves it with four running replicas."""
    local = local_network.prepare(tmp_path_factory.mktemp("recovery") / "network", port_base=0)

    def build() -> None:
        local_cluster.start(local)
        local_cluster.wait_ready(local)

    try:
        pytest_twisted.blockon(deferToThread(build))
        yield local
    finally:
        pytest_twisted.blockon(deferToThread(local_cluster.stop, local))


def base_timer_seconds(network: LocalNetwork) -> float:
    return parse_genesis(network.genesis_path.read_bytes()).protocol.base_timer_ms / 1000


def first_block_after(network: LocalNetwork, replica: int, moment: float) -> float | None:
    """When this replica stored its first block after a moment, in seconds of the epoch; None if it has none yet."""
    for line in network.replica(replica).log_path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "block":
            stored = datetime.fromisoformat(event["timestamp"]).timestamp()
            if stored >= moment:
                return stored
    return None


def wait_blocks_after(network: LocalNetwork, replicas: tuple[int, ...], moment: float) -> dict[int, float]:
    """Seconds from `moment` to the first block of each of these replicas."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        found = {replica: first_block_after(network, replica, moment) for replica in replicas}
        seconds = {replica: stored - moment for replica, stored in found.items() if stored is not None}
        if len(seconds) == len(replicas):
            return seconds
    raise AssertionError(f"no block at {set(replicas) - set(seconds)} in {WAIT_SECONDS_MAX} s")


@in_a_thread
def test_the_primary_dies_and_2_t_later_a_block_is_everywhere(network: LocalNetwork) -> None:
    """D56, D57: SIGKILL of the primary and of its worker; then of the next one too, when the timer is doubled."""
    bound = 2 * base_timer_seconds(network)
    with Client.open(network.directory, options=EVERYBODY) as client:
        assert isinstance(client.submit(client.account, "ping", "ping"), Committed)
        for _ in range(2):
            primary = local_cluster.status(network)["primary"]
            survivors = tuple(replica for replica in range(4) if replica != primary)
            moment = time.time()
            local_cluster.kill(network, primary)
            assert isinstance(client.submit(client.account, "ping", "ping"), Committed)
            seconds = wait_blocks_after(network, survivors, moment)
            print(f"r{primary} died; the first block after it came in {seconds}; at most {bound} s are promised")
            assert max(seconds.values()) <= bound
            bound *= 2
            local_cluster.restart(network, primary)
            local_cluster.wait_ready(network)


@in_a_thread
def test_who_was_alone_for_a_while_is_back_without_a_restart(network: LocalNetwork) -> None:
    """M33, D56: three of four stand still (SIGSTOP), so the fourth hears nobody and leaves its view; then all go on.

    The fourth follows by blocks. Once the primary dies it is one of the three that a quorum needs, and they come to it.
    """
    before = local_cluster.wait_ready(network)
    alone = (before["primary"] + 1) % 4
    paused: list[ProcessRecord] = []
    for replica in range(4):
        record = read_record(network.replica(replica).record_path)
        assert record is not None
        if replica != alone:
            paused.append(record)
    with Client.open(network.directory, options=EVERYBODY) as client:
        account = client.account
        for record in paused:
            signal_process(record, signal.SIGSTOP)
        try:
            late = client.submit(account, "ping", "ping", patience_ms=int(PAUSE_SECONDS * 1000))
        finally:
            moment = time.time()
            for record in paused:
                signal_process(record, signal.SIGCONT)
        assert not isinstance(late, Committed)
        seconds = wait_blocks_after(network, tuple(range(4)), moment)
        print(f"all went on; the first block after it came in {seconds}")
        assert max(seconds.values()) <= 2 * base_timer_seconds(network)
        after = local_cluster.status(network)
        assert [entry["pid"] for entry in after["replicas"]] == [entry["pid"] for entry in before["replicas"]]
        local_cluster.kill(network, after["primary"])
        assert isinstance(client.submit(client.account, "ping", "ping"), Committed)
        survivors = tuple(replica for replica in range(4) if replica != after["primary"])
    local_cluster.wait_ready(network, replica_ids=survivors)
