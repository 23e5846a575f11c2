"""Whole nodes on a faulty network and disks: they agree, execute everything once, and come back from their journals.

Every test drives production nodes (`pbft.simulation.cluster`); what must hold at every step is checked by
`pbft.simulation.checkers` while the run goes on, so a test that only waits still fails on a broken promise.
"""

from collections.abc import Sequence

import pytest
from simulation.runtime import RegisterRuntime

from contracts.runtime import Runtime
from ledger.archive import CERTIFICATES_TABLE
from ledger.configuration import ProtocolParameters
from ledger.encoding import decode, encode
from ledger.errors import InvariantViolation
from ledger.execution import Call, CallOutcome
from ledger.receipt_index import height_key
from ledger.store import Delete
from pbft.core.persisted import CERTIFIED_KEY, DamagedJournal
from pbft.node.inline_worker import InlineWorker
from pbft.node.journal import Journal
from pbft.simulation import promises
from pbft.simulation.checkers import Violation
from pbft.simulation.cluster import Cluster
from pbft.simulation.network import LinkFaults
from pbft.simulation.workload import Workload

LINKS = {
    "good": LinkFaults(),
    "lossy": LinkFaults(loss_permille=100, delay_max_ms=30),
    "reordering": LinkFaults(delay_min_ms=1, delay_max_ms=120),
    "repeating": LinkFaults(duplication_permille=300, delay_max_ms=60),
    "bad": LinkFaults(loss_permille=80, delay_max_ms=80, duplication_permille=100),
}


def submit_spread(cluster: Cluster, load: Workload, count: int, duration_ms: int) -> None:
    """`count` additions by three clients over `duration_ms`, each handed to three replicas drawn from the seed."""
    replicas = range(len(cluster.machines))
    for number in range(count):
        through = tuple(cluster.random.sample(replicas, 3))
        delay_ms = cluster.random.randrange(duration_ms)
        cluster.at(delay_ms, lambda t=through, c=number % 3: load.submit(c, "add", [b"total", 1], through=t))
    cluster.run(duration_ms)


def total(cluster: Cluster, replica: int, key: bytes = b"total") -> int:
    """The sum that the register's view gives at one replica: each addition once, or it is wrong."""
    return view(cluster, replica, "total", [key])


def runs(cluster: Cluster, replica: int) -> int:
    """How often scheduled calls ran, says the register at one replica."""
    return view(cluster, replica, "run_count", [])


def view(cluster: Cluster, replica: int, method: str, arguments: list[object]) -> int:
    """A read of the register, through the worker."""
    answers: list[CallOutcome] = []
    node, call = (
        cluster.node(replica),
        Call(
            tx_id=bytes(32),
            sender=bytes(32),
            contract="register",
            method=method,
            arguments=encode(arguments),
            gas_limit=100_000,
        ),
    )
    worker = InlineWorker(Runtime(), cluster.machines[replica].ledger)
    worker.run_view(call, node.chain.height, node.chain.head.time_ms, cluster.genesis.network_id, answers.append)
    value = decode(answers[0].result)
    assert isinstance(value, int)
    return value


def is_caught_up(cluster: Cluster) -> bool:
    """Whether all running nodes stand on one certified head, in whatever view."""
    heads = {(node.chain.head.hash, node.replica.certified_height) for node in cluster.running}
    return len(heads) == 1 and all(node.replica.certified_height == node.chain.height for node in cluster.running)


def expect_done(cluster: Cluster, load: Workload, patience_ms: int = 60_000) -> None:
    """Everything is answered and everybody stands on one certified head, within `patience_ms`."""
    assert cluster.run(patience_ms, until=lambda: load.is_done), cluster.describe()
    assert cluster.run(patience_ms, until=lambda: is_caught_up(cluster)), cluster.describe()
    cluster.checkers.check_certificates(cluster.running)
    assert len({node.chain.head.state_root for node in cluster.running}) == 1
    assert not [machine.halted for machine in cluster.machines if machine.halted]


def test_a_request_is_executed_and_certified_everywhere() -> None:
    """The normal case end to end: one request, one block, one certificate; an idle network makes no blocks (D4)."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    load.submit(1, "add", [b"total", 5], through=[0])
    expect_done(cluster, load, 2_000)
    assert [node.chain.height for node in cluster.running] == [1, 1, 1, 1]
    cluster.run(20_000)
    assert [node.chain.height for node in cluster.running] == [1, 1, 1, 1]
    assert [total(cluster, replica) for replica in range(4)] == [5, 5, 5, 5]


def test_load_fills_batches() -> None:
    """Under load requests share batches: far fewer blocks than requests, and all in the clients' order."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    for number in range(300):
        load.submit(number % 5, "add", [b"total", 1], through=[0])
    expect_done(cluster, load, 10_000)
    assert cluster.node(0).chain.height <= 10
    assert total(cluster, 3) == 300


@pytest.mark.parametrize("seed", range(30))
def test_faulty_links_change_nothing(seed: int) -> None:
    """Loss, delay, duplication and reordering cost time, never an answer: everything executes once, all end equal."""
    kind = sorted(LINKS)[seed % len(LINKS)]
    cluster = Cluster(seed=seed, replicas=4 + seed % 4, faults=LINKS[kind])
    load = Workload(cluster)
    submit_spread(cluster, load, 20, 3_000)
    assert cluster.run(60_000, until=lambda: load.is_done), cluster.describe()
    cluster.network.faults = LinkFaults()
    expect_done(cluster, load)
    assert {total(cluster, replica) for replica in range(len(cluster.machines))} == {20}


@pytest.mark.parametrize("victim", range(4))
def test_any_replica_killed_under_load(victim: int) -> None:
    """Any one of four dies while every request is submitted through three replicas, and comes back: the same root."""
    cluster = Cluster(seed=victim)
    load = Workload(cluster)
    submit_spread(cluster, load, 10, 1_000)
    cluster.kill(victim)
    submit_spread(cluster, load, 10, 3_000)
    assert cluster.run(20_000, until=lambda: load.is_done), cluster.describe()
    cluster.start(victim)
    submit_spread(cluster, load, 10, 1_000)
    expect_done(cluster, load, 10_000)
    assert [total(cluster, replica) for replica in range(4)] == [30] * 4


def test_recovery_after_the_primary_dies_takes_at_most_two_timers() -> None:
    """The view changes T after the request arrived, and the new view answers at once (D56, D57)."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    cluster.kill(0)
    start_ms = cluster.now_ms
    load.submit(1, "add", [b"total", 1], through=[1])
    assert cluster.run(20_000, until=lambda: load.is_done), cluster.describe()
    assert cluster.now_ms - start_ms <= 2 * cluster.genesis.protocol.base_timer_ms
    assert {node.replica.view for node in cluster.running} == {1}


@pytest.mark.parametrize("replicas", [4, 5, 7, 10])
def test_progress_with_f_down(replicas: int) -> None:
    """With exactly f replicas down, the first primaries among them, the rest goes on (M10, M30)."""
    cluster = Cluster(replicas=replicas)
    load = Workload(cluster)
    for victim in range((replicas - 1) // 3):
        cluster.kill(victim)
    load.submit(1, "add", [b"total", 1], through=[replicas - 1])
    expect_done(cluster, load)


@pytest.mark.parametrize("seed", range(5))
def test_all_killed_at_once(seed: int) -> None:
    """Power fails everywhere at a random moment under load: nothing acknowledged is lost, work goes on (M51, D36)."""
    cluster = Cluster(seed=seed)
    load = Workload(cluster)
    submit_spread(cluster, load, 30, 1_000)
    for number in range(10):
        load.submit(number % 3, "add", [b"total", 1], through=[0, 1, 2])
    cluster.run(cluster.random.randrange(12))
    acknowledged = load.acknowledged()
    assert acknowledged
    for replica in range(4):
        cluster.kill(replica)
    for replica in range(4):
        cluster.start(replica)
    cluster.run(5_000)
    for tx_id in acknowledged:
        assert any(node.chain.receipt(tx_id) is not None for node in cluster.running)
    expect_done(cluster, load)
    assert [total(cluster, replica) for replica in range(4)] == [40] * 4


def test_all_killed_between_commit_and_execution_resume_without_a_client() -> None:
    """Slots prepared everywhere and executed nowhere are finished from the journals: no client asks again (M51)."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    load.submit(1, "add", [b"total", 1], through=[0])
    prepared = lambda: all(node.replica.state.prepared for node in cluster.running)  # noqa: E731
    assert cluster.run(1_000, until=prepared)
    assert [node.chain.height for node in cluster.running] == [0, 0, 0, 0]
    load.outstanding.clear()  # the client is gone
    for replica in range(4):
        cluster.kill(replica)
    for replica in range(4):
        cluster.start(replica)
    assert cluster.run(3_000, until=lambda: all(node.chain.height == 1 for node in cluster.running))
    assert total(cluster, 2) == 1


def test_a_replica_that_missed_many_windows_catches_up_by_blocks() -> None:
    """300 blocks behind: blocks are fetched along parent hashes under certificates, and executed (D28, M46)."""
    cluster = Cluster(protocol=ProtocolParameters(window=16, stride=4))
    load = Workload(cluster)
    cluster.kill(3)
    for _ in range(300):
        load.submit(1, "add", [b"total", 1], through=[0])
        assert cluster.run(2_000, until=lambda: load.is_done)
    assert cluster.run(1_000, until=lambda: cluster.node(0).chain.height == 300)
    cluster.start(3)
    expect_done(cluster, load, 10_000)
    assert total(cluster, 3) == 300


def test_a_lagging_replica_in_the_middle_follows() -> None:
    """Two replicas executed and cannot certify, the third lags: it is walked through by resending (M50, scenario 5)."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    cluster.network.partition({0, 1, 3}, {2})
    load.submit(1, "add", [b"total", 1], through=[0])
    executed = lambda: all(cluster.node(r).chain.height == 1 for r in (0, 1, 3))  # noqa: E731
    assert cluster.run(2_000, until=executed)
    cluster.kill(3)  # before its header vote leaves: h stays 0 at R0 and R1
    assert cluster.node(0).replica.certified_height == 0
    cluster.network.heal()
    assert cluster.run(5_000, until=lambda: is_caught_up(cluster)), cluster.describe()
    assert total(cluster, 2) == 1


def test_minority_partition_makes_no_block_and_heals() -> None:
    """Two of four decide nothing; healed, the waiting request is executed once."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    cluster.network.partition({0, 1}, {2, 3})
    load.submit(1, "add", [b"total", 1], through=[0, 1, 2, 3])
    cluster.run(10_000)
    assert [node.chain.height for node in cluster.running] == [0, 0, 0, 0]
    cluster.network.heal()
    expect_done(cluster, load, 100_000)
    assert total(cluster, 0) == 1


def test_scheduled_calls_run_by_themselves_when_due() -> None:
    """D4, D63, D64: with nothing else to order, an empty batch runs the due calls; afterwards the network is idle."""
    cluster = Cluster()
    load = Workload(cluster)
    due = cluster.now_ms // 1000 + 20
    for _ in range(25):
        load.submit(1, "later", [due], through=[0])
    expect_done(cluster, load, 5_000)
    height = cluster.node(0).chain.height
    cluster.run(due * 1000 - cluster.now_ms - 100)
    assert cluster.node(0).chain.height == height
    assert cluster.run(1_000, until=lambda: all(node.chain.height == height + 1 for node in cluster.running))
    assert {runs(cluster, replica) for replica in range(4)} == {25}
    cluster.run(10_000)
    assert cluster.node(0).chain.height == height + 1


def test_calls_left_over_by_a_block_run_in_the_next() -> None:
    """D65: a runtime that runs ten due calls a block needs three blocks for 25; then the network is idle again."""
    cluster = Cluster(runtime=RegisterRuntime())
    load = Workload(cluster)
    due = cluster.now_ms // 1000 + 20
    for _ in range(25):
        load.submit(1, "later", [due], through=[0])
    expect_done(cluster, load, 5_000)
    height = cluster.node(0).chain.height
    cluster.run(40_000)
    assert [node.chain.height for node in cluster.running] == [height + 3] * 4
    assert {node.chain.next_due_ms for node in cluster.running} == {None}


def test_a_primary_that_runs_no_due_call_is_replaced() -> None:
    """D63: the primary is dead and no request waits: the due time itself makes the backups move."""
    cluster = Cluster()
    load = Workload(cluster)
    due = cluster.now_ms // 1000 + 5
    load.submit(1, "later", [due], through=[0])
    expect_done(cluster, load, 2_000)
    cluster.kill(0)
    bound_ms = due * 1000 + 2_000 + cluster.genesis.protocol.base_timer_ms + 1_000
    assert cluster.run(bound_ms - cluster.now_ms, until=lambda: cluster.node(1).chain.next_due_ms is None), (
        cluster.describe()
    )
    assert {node.replica.view for node in cluster.running} == {1}


@pytest.mark.parametrize("offsets", [(0, 0, 0, 60_000), (0, 0, -60_000, 0)])
def test_one_skewed_clock_stops_nobody(offsets: Sequence[int]) -> None:
    """D60: a backup whose clock is off follows once W replicas prepared, even with another replica silent."""
    cluster = Cluster()
    for machine, offset_ms in zip(cluster.machines, offsets, strict=True):
        machine.clock_offset_ms = offset_ms
    cluster.kill(1)
    load = Workload(cluster)
    load.submit(1, "add", [b"total", 1], through=[0])
    expect_done(cluster, load, 2_000)
    assert {node.replica.view for node in cluster.running} == {0}


def test_a_failing_disk_stops_its_replica_and_no_other() -> None:
    """D3, M26: a failed write stops the replica before anything of its turn leaves; on a good disk it comes back."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    cluster.machines[2].journal.fill()
    load.submit(1, "add", [b"total", 1], through=[0])
    assert cluster.run(2_000, until=lambda: load.is_done)
    assert "disk_full" in (cluster.machines[2].halted or "")
    cluster.restart(2)
    expect_done(cluster, load, 5_000)


def test_a_driver_without_sync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the journal's sync a vote leaves before it is durable: the checker says so at the first one (D3, M25)."""
    monkeypatch.setattr(Journal, "sync", lambda self: None)
    cluster = Cluster()
    load = Workload(cluster)
    load.submit(1, "add", [b"total", 1], through=[0, 1, 2])
    with pytest.raises(Violation, match="journal first"):
        cluster.run(2_000, until=lambda: load.is_done)


def test_without_sync_replicas_forget_what_they_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The damage itself, the journal checker off: after a restart of all, a primary says two things at one height."""
    cluster = Cluster()  # its journals have begun: one without a first record would not start
    monkeypatch.setattr(Journal, "sync", lambda self: None)
    monkeypatch.setattr(promises, "check_journaled", lambda *_: None)
    load = Workload(cluster)
    cluster.run(200)
    load.submit(1, "add", [b"total", 1], through=[0])
    assert cluster.run(1_000, until=lambda: all(node.replica.state.prepared for node in cluster.running))
    for replica in range(4):
        cluster.kill(replica)
    for replica in range(4):
        cluster.start(replica)
    load.submit(2, "add", [b"total", 1], through=[0, 1, 2])
    with pytest.raises(Violation, match="one voice"):
        cluster.run(10_000, until=lambda: load.is_done)


def test_a_ledger_older_than_the_journal_refuses_to_start() -> None:
    """D35: executed blocks that the journal relies on are missing: the replica must not vote."""
    cluster = Cluster()
    load = Workload(cluster)
    load.submit(1, "add", [b"total", 1], through=[0])
    expect_done(cluster, load, 2_000)
    cluster.run(1_000)  # certified, and the journal says so
    fresh = Cluster().machines[1].ledger
    cluster.kill(1)
    cluster.machines[1].ledger = fresh
    with pytest.raises(InvariantViolation, match="ledger_below_journal"):
        cluster.start(1)


def test_a_certificate_that_only_the_journal_kept_reaches_the_ledger_at_the_next_start() -> None:
    """D25: power failed after the journal's sync and before the ledger's write; its proofs must come back."""
    cluster = Cluster()
    load = Workload(cluster)
    load.submit(1, "add", [b"total", 1], through=[0])
    expect_done(cluster, load, 2_000)
    cluster.run(1_000)
    height = cluster.node(1).replica.certified_height
    cluster.kill(1)
    cluster.machines[1].ledger.write([Delete(CERTIFICATES_TABLE, height_key(height))])
    cluster.start(1)
    assert cluster.node(1).chain.certificate(height) is None
    cluster.run(100)
    certificate = cluster.node(1).chain.certificate(height)
    assert certificate is not None and certificate.height == height > 0


def test_damage_in_the_journal_refuses_to_start() -> None:
    """M26: a record that does not read back names itself, and the replica does not start."""
    cluster = Cluster()
    load = Workload(cluster)
    load.submit(1, "add", [b"total", 1], through=[0])
    expect_done(cluster, load, 2_000)
    cluster.kill(1)
    journal = cluster.machines[1].journal
    damaged = Journal(journal)  # a checksum that holds, over a record of another shape
    damaged.append(CERTIFIED_KEY, encode([1, b"short", None]))
    damaged.sync()
    with pytest.raises(DamagedJournal, match="certified"):
        cluster.start(1)


def test_a_seed_reproduces_a_run() -> None:
    """Two runs of one seed send the same frames at the same times and end on the same head."""

    def run() -> tuple[int, int, int, bytes]:
        cluster = Cluster(seed=11, faults=LINKS["bad"])
        load = Workload(cluster)
        submit_spread(cluster, load, 10, 2_000)
        cluster.kill(0)
        cluster.run(8_000)
        return cluster.sequence, cluster.network.sent, cluster.network.lost, cluster.node(1).chain.head.hash

    assert run() == run()
