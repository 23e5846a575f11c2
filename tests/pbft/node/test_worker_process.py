"""The contract worker as a process: it answers, is replaced when it breaks, and given up when it is hopeless (D54)."""

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import nullcontext
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import defer, reactor, task

from contracts.verdict import SourceVerdict
from ledger.chain import LEDGER_TABLES, Chain
from ledger.encoding import decode, encode
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome
from ledger.lmdb_store import LmdbStore
from pbft.node import worker_process
from pbft.node.child_process import CHILD_FD
from pbft.node.local_processes import start_time_of
from pbft.node.log import make_logger
from pbft.node.metrics import Metrics
from pbft.node.worker_messages import UNSURVIVED
from pbft.node.worker_process import ProcessWorker
from pbft.simulation.founding import make_genesis

TESTS = Path(__file__).resolve().parents[2]
GENESIS = make_genesis(4)
ANSWER_SECONDS_MAX = 30  # a loaded machine; an answer takes milliseconds


class Ledger:
    """A created chain on LMDB, and workers over it that are all ended with the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = LmdbStore(path / "ledger", tables=LEDGER_TABLES)
        self.chain = Chain.open(self.store, GENESIS)
        writes = ((b"c/register/k", b"v"),)
        self.chain.create(BlockOutcome(scheduled=(), calls=(), writes=writes, next_due=None))
        self.metrics = Metrics()
        self.stopped: list[str] = []
        self.workers: list[ProcessWorker] = []

    def worker(self, *misbehaviour: str) -> ProcessWorker:
        """A started worker process of the register."""
        program = f"import sys; sys.path.insert(0, {str(TESTS)!r}); from simulation.register_worker import main; "
        program += "main(*sys.argv[1:])"
        command = [sys.executable, "-c", program, str(CHILD_FD), str(self.path / "ledger"), *misbehaviour]
        worker = ProcessWorker(
            reactor,
            ledger_path=self.path / "ledger",
            metrics=self.metrics,
            log=make_logger(replica=0, stream=StringIO()),
            guard=nullcontext(),
            on_stopped=self.stopped.append,
            command=command,
        )
        worker.start()
        self.workers.append(worker)
        return worker

    def processes(self) -> set[int]:
        """The workers over this ledger that live; earlier tests may have left other children (of multiprocessing)."""
        children = [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
        return {pid for pid in children if start_time_of(pid) is not None and self._is_named_by(pid)}

    def _is_named_by(self, pid: int) -> bool:
        try:
            return str(self.path / "ledger").encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False  # it has ended meanwhile


@pytest.fixture
def ledger(tmp_path: Path) -> Generator[Ledger, None, None]:
    ledger = Ledger(tmp_path)
    yield ledger
    pytest_twisted.blockon(defer.gatherResults([worker.stop() for worker in ledger.workers]))
    ledger.store.close()


def call(method: str, *arguments: object) -> Call:
    return Call(
        tx_id=bytes(32),
        sender=bytes(32),
        contract="register",
        method=method,
        arguments=encode(list(arguments)),
        gas_limit=10_000,
    )


def plan(*calls: Call) -> BlockPlan:
    return BlockPlan(
        height=1,
        time_ms=GENESIS.time_ms,
        network=GENESIS.network_id,
        epoch=0,
        window=64,
        calls=calls,
        transaction_gas_max=10_000,
        scheduled_gas_max=10_000,
    )


async def answered(ask: Callable[[Callable[[Any], None]], None]) -> Any:
    """Ask, and let the reactor turn until the answer is there."""
    answer: defer.Deferred[Any] = defer.Deferred()
    ask(answer.callback)
    return await answer.addTimeout(ANSWER_SECONDS_MAX, reactor)


async def run_block(worker: ProcessWorker, *calls: Call) -> BlockOutcome:
    outcome: BlockOutcome = await answered(lambda done: worker.run_block(plan(*calls), done))
    return outcome


async def run_view(worker: ProcessWorker, key: bytes) -> CallOutcome:
    def ask(done: Callable[[CallOutcome], None]) -> None:
        worker.run_view(call("get", key), 0, GENESIS.time_ms, GENESIS.network_id, done)

    outcome: CallOutcome = await answered(ask)
    return outcome


async def until(holds: Callable[[], bool]) -> None:
    """Let the reactor turn until something holds."""
    loop = task.LoopingCall(lambda: holds() and loop.stop())
    await loop.start(0.02).addTimeout(ANSWER_SECONDS_MAX, reactor)


@pytest_twisted.ensureDeferred
async def test_blocks_views_and_genesis_cross_the_process_boundary(ledger: Ledger) -> None:
    """What the runtime answers in a process of its own is what it answers in this one."""
    worker = ledger.worker()
    genesis: BlockOutcome = await answered(
        lambda done: worker.run_genesis((), GENESIS.time_ms, GENESIS.network_id, done)
    )
    assert genesis.writes == ((b"c/register/runs", encode(0)),)
    block = await run_block(worker, call("add", b"n", 5), call("fail"))
    assert [(outcome.status, outcome.code) for outcome in block.calls] == [("ok", ""), ("reverted", "FAILED")]
    assert block.writes == ((b"c/register/n", encode(5)),)
    assert decode((await run_view(worker, b"k")).result) == b"v"


@pytest_twisted.ensureDeferred
async def test_a_question_at_a_time_in_the_order_asked(ledger: Ledger) -> None:
    """A view asked behind a block is answered after it, and the worker says when a block is on its way."""
    worker = ledger.worker()
    order: list[str] = []
    assert not worker.is_executing
    worker.run_block(plan(call("add", b"n", 1)), lambda _: order.append(f"block, executing {worker.is_executing}"))
    assert worker.is_executing
    await run_view(worker, b"k")
    order.append("view")
    assert order == ["block, executing False", "view"]


@pytest_twisted.ensureDeferred
async def test_a_killed_worker_is_replaced_and_the_block_asked_again(ledger: Ledger) -> None:
    """SIGKILL in the middle of a block costs time and nothing else."""
    worker = ledger.worker("hang", str(ledger.path / "done"))
    first = worker.pid
    assert first is not None
    answer: defer.Deferred[BlockOutcome] = defer.Deferred()
    worker.run_block(plan(call("add", b"n", 5)), answer.callback)
    await until((ledger.path / "done").exists)
    os.kill(first, signal.SIGKILL)
    outcome = await answer.addTimeout(ANSWER_SECONDS_MAX, reactor)
    assert outcome.writes == ((b"c/register/n", encode(5)),)
    assert worker.pid not in (None, first)
    assert ledger.metrics.worker_restarts_total == {"exit": 1}


@pytest_twisted.ensureDeferred
async def test_an_idle_worker_that_dies_is_replaced_too(ledger: Ledger) -> None:
    """The next block does not wait for a start that could have happened before."""
    worker = ledger.worker()
    await run_view(worker, b"k")
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: worker.pid not in (None, first))
    assert decode((await run_view(worker, b"k")).result) == b"v"


@pytest_twisted.ensureDeferred
async def test_the_next_worker_has_started_before_it_is_needed(ledger: Ledger) -> None:
    """A replacement costs a block no start of an interpreter: the process that takes over is older than the failure."""
    worker = ledger.worker()
    await until(lambda: len(ledger.processes()) == 2)
    (first,) = {worker.pid}
    (spare,) = ledger.processes() - {first}
    await run_view(worker, b"k")
    os.kill(first, signal.SIGKILL)
    await until(lambda: worker.pid != first)
    assert worker.pid == spare
    assert decode((await run_view(worker, b"k")).result) == b"v"
    await until(lambda: len(ledger.processes() - {spare}) == 1)


@pytest_twisted.ensureDeferred
async def test_a_spare_worker_that_dies_is_replaced_and_disturbs_nobody(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was asked of it: no restart is counted, and another one waits in its place."""
    monkeypatch.setattr(worker_process, "BACKOFF_SECONDS_MAX", 0.01)
    worker = ledger.worker()
    first = worker.pid
    await until(lambda: len(ledger.processes()) == 2)
    (spare,) = ledger.processes() - {first}
    os.kill(spare, signal.SIGKILL)
    await until(lambda: len(ledger.processes() - {first, spare}) == 1)
    assert worker.pid == first
    assert ledger.metrics.worker_restarts_total == {}


@pytest.mark.parametrize(
    ("misbehaviour", "cause"),
    [
        ("die", "exit"),
        ("garbage", "bad_answer"),
        ("oversized", "bad_answer"),
        ("miscount", "bad_answer"),
        ("fault", "bad_answer"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_worker_that_misbehaves_once_is_replaced(ledger: Ledger, misbehaviour: str, cause: str) -> None:
    """Whatever it did instead of answering, the block is asked again whole and the outcome is the right one."""
    worker = ledger.worker(misbehaviour, str(ledger.path / "done"))
    assert (await run_block(worker, call("add", b"n", 5))).writes == ((b"c/register/n", encode(5)),)
    assert ledger.metrics.worker_restarts_total == {cause: 1}
    assert ledger.stopped == []


@pytest_twisted.ensureDeferred
async def test_a_worker_that_burns_processor_time_trips_the_watchdog(ledger: Ledger) -> None:
    """A block whose gas implies microseconds may use a second of processor time, then the worker is broken (D54)."""
    worker = ledger.worker("spin", str(ledger.path / "done"))
    assert (await run_block(worker, call("add", b"n", 5))).writes == ((b"c/register/n", encode(5)),)
    assert ledger.metrics.worker_restarts_total == {"processor_time": 1}


@pytest_twisted.ensureDeferred
async def test_a_worker_that_hangs_trips_the_far_bound(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that waits for something that never comes uses no processor time: the wall bound is for that."""
    monkeypatch.setattr(worker_process, "WALL_SECONDS_MAX", 0.5)
    worker = ledger.worker("hang", str(ledger.path / "done"))
    monkeypatch.setattr(worker_process, "LOOK_SECONDS", 0.3)
    await until(lambda: worker.pid is not None)
    assert (await run_block(worker, call("add", b"n", 5))).writes == ((b"c/register/n", encode(5)),)
    assert ledger.metrics.worker_restarts_total["wall_time"] >= 1


@pytest_twisted.ensureDeferred
async def test_a_hopeless_block_stops_execution_with_its_cause(ledger: Ledger) -> None:
    """After the third death on one block execution stops for good: no outcome is invented, and reads go on (D54)."""
    worker = ledger.worker("die", "always")
    outcomes: list[BlockOutcome] = []
    worker.run_block(plan(call("add", b"n", 5)), outcomes.append)
    await until(lambda: bool(ledger.stopped))
    assert outcomes == []
    assert len(ledger.stopped) == 1
    assert "3 times" in ledger.stopped[0]
    assert ledger.metrics.worker_restarts_total == {"exit": 3}
    assert not worker.is_executing
    worker.run_block(plan(), outcomes.append)
    assert not worker.is_executing


@pytest_twisted.ensureDeferred
async def test_a_view_that_kills_workers_is_answered_with_an_error_and_stops_nothing(ledger: Ledger) -> None:
    """A read is one client's wish: it must not cost the replica its execution."""
    worker = ledger.worker("die", "always")
    outcome = await run_view(worker, b"k")
    assert (outcome.status, outcome.code) == ("error", "worker")
    assert ledger.stopped == []


@pytest_twisted.ensureDeferred
async def test_d53_a_source_that_kills_workers_is_named_and_stops_nothing(ledger: Ledger) -> None:
    """D53: three workers die of it; the verdict says so, and execution was never at stake."""
    worker = ledger.worker("die", "always")
    verdicts: list[SourceVerdict] = []
    worker.check_source(b"a source", verdicts.append)
    await until(lambda: bool(verdicts))
    assert verdicts[0].code == UNSURVIVED
    assert not verdicts[0].is_accepted
    assert ledger.metrics.worker_restarts_total == {"exit": 3}
    assert ledger.stopped == []


@pytest_twisted.ensureDeferred
async def test_stopping_ends_the_process(ledger: Ledger) -> None:
    """Nothing is left behind, also when the worker is in the middle of a question that it will never answer."""
    for misbehaviour in ((), ("hang", "always")):
        worker = ledger.worker(*misbehaviour)
        await until(lambda worker=worker: worker.pid is not None)
        worker.run_block(plan(), lambda _: None)
        pid = worker.pid
        assert pid is not None
        await worker.stop()
        assert start_time_of(pid) is None
