"""The bridge to the ledger: one block at a time, what clients hear and when, blocks for laggards."""

from collections.abc import Callable
from random import Random

import pytest
from simulation.runtime import RegisterRuntime

from ledger.archive import PAYLOADS_TABLE
from ledger.block import Block, Header
from ledger.errors import InvariantViolation
from ledger.execution import BlockOutcome, BlockPlan
from ledger.payload_vault import PERIOD_MS, PayloadVault
from ledger.world_state import StateSnapshot
from pbft.core.messages import Executed
from pbft.node.execution import LedgerExecution
from pbft.simulation.cluster import Cluster
from pbft.simulation.founding import GENESIS_TIME_MS
from pbft.simulation.workload import Workload


class LaterWorker:
    """A worker that answers when told to, as a process does."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.waiting: list[Callable[[], None]] = []

    def run_block(self, plan: BlockPlan, on_outcome: Callable[[BlockOutcome], None]) -> None:
        def answer() -> None:
            with StateSnapshot(self.cluster.machines[1].ledger.snapshot()) as state:
                outcome = RegisterRuntime().execute_block(plan, state)
            on_outcome(outcome)

        self.waiting.append(answer)


class Heard:
    """A reply sink that notes what it hears, and whether the block was durable then."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.made: list[Block] = []
        self.blocks: list[Block] = []

    def block_made(self, block: Block) -> None:
        assert self.cluster.node(1).chain.height == block.header.height - 1
        self.made.append(block)

    def block_executed(self, block: Block) -> None:
        assert self.cluster.node(1).chain.head.hash == block.header.hash
        self.blocks.append(block)

    def snapshot_installed(self, header: Header) -> None:
        raise AssertionError("no snapshot is installed here")


def make_execution(
    cluster: Cluster, release: Callable[[], None] = lambda: None
) -> tuple[LedgerExecution, LaterWorker, list[Executed], list[str]]:
    worker, executed, faults = LaterWorker(cluster), [], []
    node = cluster.node(1)
    vault = PayloadVault(cluster.machines[1].payload_keys)
    execution = LedgerExecution(
        chain=node.chain,
        worker=worker,  # type: ignore[arg-type]
        epochs=node.epochs,
        vault=vault,
        release=release,
    )
    execution.start(executed.append, faults.append)
    return execution, worker, executed, faults


def test_replies_follow_durability_and_blocks_do_not_overlap() -> None:
    """A block is reported when its outcome came and was stored; asking for another meanwhile is our own fault."""
    cluster = Cluster()
    execution, worker, executed, faults = make_execution(cluster)
    heard = Heard(cluster)
    execution.subscribe(heard)
    execution.execute(1, None, is_journaled=False)
    assert executed == [] and heard.blocks == []
    with pytest.raises(InvariantViolation, match="executing_twice"):
        execution.execute(2, None, is_journaled=False)
    worker.waiting.pop()()
    assert heard.made == []
    assert [(report.height, report.finished) for report in executed] == [(1, ())]
    assert [block.header.height for block in heard.blocks] == [1]
    assert faults == []


def test_a_failed_write_is_a_fault_and_no_reply() -> None:
    """D3: when the block cannot be stored the replica stops; nobody is told that it was executed."""
    cluster = Cluster()
    execution, worker, executed, faults = make_execution(cluster)
    heard = Heard(cluster)
    execution.subscribe(heard)
    execution.execute(1, None, is_journaled=False)
    cluster.machines[1].ledger.fill()
    worker.waiting.pop()()
    assert executed == [] and heard.made == heard.blocks == []
    assert len(faults) == 1 and "disk_full" in faults[0]


def test_clients_hear_before_the_write_of_what_the_journal_makes_again() -> None:
    """D34: told, on the wire, then written, then reported; where the write fails the replica stops all the same."""
    cluster = Cluster()
    order: list[str] = []
    execution, worker, executed, faults = make_execution(cluster, release=lambda: order.append("released"))
    heard = Heard(cluster)
    execution.subscribe(heard)
    cluster.machines[1].ledger._on_write = lambda _: order.append("written")
    execution.execute(1, None, is_journaled=True)
    worker.waiting.pop()()
    assert order == ["released", "written"]
    assert heard.made == heard.blocks and [report.height for report in executed] == [1]
    execution.execute(2, None, is_journaled=True)
    cluster.machines[1].ledger.fill()
    worker.waiting.pop()()
    assert (len(heard.made), len(heard.blocks), len(executed)) == (2, 1, 1)
    assert len(faults) == 1 and "disk_full" in faults[0]


def test_blocks_for_a_laggard_end_at_a_certificate() -> None:
    """D28: an answer holds what it can, ends at the highest certified height, and keeps the batch's own time."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    for _ in range(20):
        load.submit(1, "add", [b"total", 1], through=[0])
        assert cluster.run(2_000, until=lambda: load.is_done)
    node = cluster.node(1)
    blocks = node.execution.compute_blocks(3)
    assert blocks is not None and blocks.certificate is not None
    assert blocks.first_height == 3
    assert blocks.certificate.height == 3 + len(blocks.blocks) - 1 >= 16
    for height, body in enumerate(blocks.blocks, start=3):
        assert body.header == node.chain.header(height).to_bytes()
        assert body.batch is not None and body.batch.digest == node.chain.header(height).batch_digest
    assert node.execution.compute_blocks(21) is None


def test_blocks_are_served_with_their_payloads_and_not_without() -> None:
    """D50, D52: holders serve whole blocks; an answer ends before one whose payload is erased, and damage stops."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    load.submit(1, "add", [b"a", 1], through=[1])
    assert cluster.run(3_000, until=lambda: load.is_done and cluster.is_level())
    signed = load.submit(1, "add_private", [b"a", 7], private=[{"number": 7}], through=[1])
    assert cluster.run(3_000, until=lambda: load.is_done and cluster.is_level())
    execution, machine = cluster.node(1).execution, cluster.machines[1]
    assert cluster.run(3_000, until=lambda: cluster.node(1).chain.certificate(2) is not None)
    answer = execution.compute_blocks(1)
    assert answer is not None and len(answer.blocks) == 2
    batch = answer.blocks[1].batch
    assert batch is not None and batch.is_whole and load.outstanding[signed.tx_id].payload == batch.requests[0].payload
    machine.payload_keys._keys.clear()
    assert execution.compute_blocks(2) is None
    answer = execution.compute_blocks(1)
    assert answer is not None and len(answer.blocks) == 1
    machine.ledger.process_rot(PAYLOADS_TABLE, Random(1))
    machine.payload_keys.make(GENESIS_TIME_MS // PERIOD_MS)
    with pytest.raises(InvariantViolation, match="damaged"):
        execution.compute_blocks(1)
