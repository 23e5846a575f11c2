"""Epochs in whole networks: decided, filled, certified, entered; with faults at the boundary (D37, D40, D41)."""

from dataclasses import replace

import pytest

from ledger.block import parse_header
from ledger.configuration import ProtocolParameters
from pbft.core.messages import Envelope
from pbft.core.persisted import DamagedJournal
from pbft.node.journal import JOURNAL_TABLE
from pbft.simulation.cluster import Cluster
from pbft.simulation.disk import SimulatedDisk
from pbft.simulation.membership import change_key, compute_next, has_entered, lose_disk, submit_votes
from pbft.simulation.workload import Workload
from pbft.wire.codec import decode_peer

SMALL = ProtocolParameters(window=8, stride=2)
MINUTE_MS = 60_000


def enter(cluster: Cluster, epoch: int) -> None:
    """Lets time pass until every correct node is in the epoch."""
    assert cluster.run(MINUTE_MS, lambda: has_entered(cluster, epoch)), cluster.describe()


def test_an_idle_network_reaches_the_next_epoch() -> None:
    """D40, D64, execution 21: nobody submits anything, and fresh empty batches fill up to E."""
    cluster = Cluster(protocol=SMALL)
    submit_votes(cluster, compute_next(cluster, parameters=replace(SMALL, stride=1)))
    enter(cluster, 1)
    node = cluster.node(0)
    end = node.chain.epochs.last_height(0)
    assert end is not None
    decided = end - SMALL.window
    blocks = [node.chain.block(height) for height in range(decided + 1, end + 1)]
    assert not any(block.transactions for block in blocks)
    assert cluster.run(MINUTE_MS, cluster.is_level), cluster.describe()
    assert node.chain.height == end, "nothing is filled once the epoch has begun"
    assert {node.replica.primary for node in cluster.running} == {1}  # members[(epoch + view) mod n]
    cluster.checkers.check_certificates(cluster.running)


def test_requests_go_on_over_the_boundary() -> None:
    """Requests that wait when an epoch ends are ordered in the next one, each once."""
    cluster = Cluster(protocol=SMALL)
    load = Workload(cluster)
    for number in range(12):
        cluster.at(number * 100, lambda n=number: load.submit(0, "add", (b"k", n), through=[n % 4]))  # type: ignore[misc]
    cluster.at(300, lambda: submit_votes(cluster, compute_next(cluster, parameters=replace(SMALL, stride=1))))
    assert cluster.run(MINUTE_MS, lambda: load.nonces.get(0) == 12 and load.is_done), cluster.describe()
    enter(cluster, 1)
    headers = [cluster.node(2).chain.header(height) for height in range(1, cluster.node(2).chain.height + 1)]
    assert {header.epoch for header in headers} == {0, 1}
    assert parse_header(headers[-1].to_bytes()) == headers[-1]


def test_a_rotated_key_votes_in_the_next_epoch() -> None:
    """M59, D37: started with its new key, a replica is silent, and one of the voters again from the first height on."""
    cluster = Cluster(protocol=SMALL)
    submit_votes(cluster, compute_next(cluster, generations={2: 1}))
    change_key(cluster, 2)
    assert not cluster.node(2).replica.state.is_voter
    enter(cluster, 1)
    assert cluster.node(2).replica.replica_id == 2
    cluster.kill(3)  # a quorum needs the rotated key now
    load = Workload(cluster)
    load.submit(0, "add", (b"k", 1), through=[0, 1])
    assert cluster.run(MINUTE_MS, lambda: load.is_done), cluster.describe()


def test_d37_a_lost_disk_comes_back_silent_and_votes_in_the_next_epoch() -> None:
    """D37, execution 16: "silent until the first height of an epoch that lists its new consensus key": it executes and
    serves meanwhile, and signs nothing; what the lost journal had promised died with the old key's epoch."""
    cluster = Cluster(protocol=SMALL)
    load = Workload(cluster)
    load.submit(0, "add", (b"k", 1), through=[0, 1])
    assert cluster.run(MINUTE_MS, lambda: load.is_done)
    lose_disk(cluster, 2, ledger_too=True)
    said: list[bytes] = []
    send = cluster.network.send
    cluster.network.send = lambda s, r, f: (said.append(f) if s == 2 else None, send(s, r, f))[1]  # type: ignore[method-assign,assignment,func-returns-value]
    load.submit(0, "add", (b"k", 2), through=[0, 2])
    assert cluster.run(MINUTE_MS, lambda: load.is_done and cluster.is_level()), cluster.describe()
    assert cluster.node(2).chain.height == cluster.node(0).chain.height
    decoded = [decode_peer(frame, cluster.node(2).rules) for frame in said]
    assert decoded and not any(isinstance(message, Envelope) for message in decoded)
    submit_votes(cluster, compute_next(cluster, generations={2: 1}))
    enter(cluster, 1)
    assert cluster.node(2).replica.replica_id == 2
    cluster.kill(0)
    load.submit(0, "add", (b"k", 3), through=[1, 2])
    assert cluster.run(MINUTE_MS, lambda: load.is_done), cluster.describe()


def test_d37_a_lost_journal_does_not_start_under_the_old_key() -> None:
    """D37: blocks without a journal: what this key promised is unknown, so it must not sign again; a new key may."""
    cluster = Cluster(protocol=SMALL)
    load = Workload(cluster)
    load.submit(0, "add", (b"k", 1), through=[0, 1])
    assert cluster.run(MINUTE_MS, lambda: load.is_done)
    cluster.kill(2)
    cluster.machines[2].journal = SimulatedDisk((JOURNAL_TABLE,))
    with pytest.raises(DamagedJournal, match="view"):
        cluster.start(2)
    lose_disk(cluster, 2, ledger_too=False)
    assert not cluster.node(2).replica.state.is_voter
    load.submit(0, "add", (b"k", 2), through=[0, 1])
    assert cluster.run(MINUTE_MS, lambda: load.is_done and cluster.is_level()), cluster.describe()
