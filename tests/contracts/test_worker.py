"""The worker: every question answered, nothing but the ledger reachable, and an end with its parent."""

import gc
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.code import hash_key, tree_key
from contracts.runtime import Runtime
from contracts.testing import GAS_LIMIT, Chain, MemoryState
from contracts.worker import Answers, make_runtime
from ledger.encoding import decode, encode
from ledger.errors import StoreError
from ledger.execution import BlockPlan, Call, StateReader, parse_block_outcome
from ledger.late_turns import TURNS
from ledger.lmdb_store import LmdbStore
from ledger.store import Put
from ledger.world_state import GENERATIONS, STATE_TABLES, WorldState

VALUES_TABLE = GENERATIONS[0].values

SOURCE = b"""
from contracts import Address, Contract, Map, ctx, external, init, view


class Counter(Contract):
    count: int

    @init
    def setup(self, start: int) -> None:
        self.count = start

    @external
    def add(self, n: int) -> int:
        self.count += n
        return self.count

    @view
    def value(self) -> int:
        return self.count
"""
NETWORK = bytes(32)
GREETING = encode({"confinement": {"seccomp": "on"}})


def call_of(method: str, *arguments: object) -> Call:
    return Call(
        tx_id=bytes(32),
        sender=b"\x01" * 32,
        contract="counter",
        method=method,
        arguments=encode(list(arguments)),
        gas_limit=GAS_LIMIT,
    )


def block_question(*calls: Call) -> bytes:
    plan = BlockPlan(
        height=1,
        time_ms=5_000,
        network=NETWORK,
        epoch=0,
        window=64,
        calls=calls,
        transaction_gas_max=GAS_LIMIT,
        scheduled_gas_max=GAS_LIMIT,
    )
    return encode(["block", plan.to_bytes()])


def view_question(call: Call) -> bytes:
    fields = [call.tx_id, call.sender, call.contract, call.method, call.arguments, call.gas_limit]
    return encode(["view", fields, 1, 5_000, NETWORK])


def genesis_question(source: bytes = SOURCE) -> bytes:
    return encode(["genesis", [["counter", source.decode(), encode([7])]], 1_000, NETWORK])


def answers_on(state: MemoryState) -> Answers:
    return Answers(Runtime(), lambda _calls: nullcontext(state), GREETING)


def content(answer: bytes) -> Any:
    kind, data = decode(answer)  # type: ignore[misc]
    assert kind == "ok", data
    return data


def deployed_state() -> MemoryState:
    chain = Chain()
    chain.deploy(SOURCE, 7)
    return chain.state


def test_questions_and_answers() -> None:
    """Genesis, then a block and a view on its state, as the runtime gives them."""
    state = MemoryState()
    genesis = parse_block_outcome(content(answers_on(state).answer(genesis_question())))
    assert [call.status for call in genesis.calls] == ["ok"]
    state.update({key: value for key, value in genesis.writes if value is not None})
    block = parse_block_outcome(content(answers_on(state).answer(block_question(call_of("add", 5)))))
    assert (block.calls[0].status, decode(block.calls[0].result)) == ("ok", 12)
    view = parse_block_outcome(content(answers_on(state).answer(view_question(call_of("value")))))
    assert decode(view.calls[0].result) == 7
    assert view.writes == ()


RINGS = b"""
from contracts import Contract, external


class Counter(Contract):
    count: int

    @external
    def add(self, n: int) -> int:
        ring = list(range(n))
        ring.append(ring)
        return len(ring)
"""


def test_what_calls_leave_in_rings_is_freed_while_the_block_runs() -> None:
    """Each call leaves a list that holds itself. Together they never hold more than two calls may (D54), or a block of
    a few such calls could end every worker there is."""
    chain = Chain()
    chain.deploy(RINGS, name="counter")
    runtime, most = make_runtime(), 0
    runtime._machine.cells_max = 10_000
    answers = Answers(runtime, lambda _calls: nullcontext(chain.state), GREETING)
    gc.collect()
    gc.disable()
    try:
        for _ in range(12):
            block = parse_block_outcome(content(answers.answer(block_question(call_of("add", 4_000)))))
            assert block.calls[0].status == "ok"
            rings = [
                item for item in gc.get_objects() if type(item) is list and len(item) == 4_001 and item[-1] is item
            ]
            most = max(most, len(rings))
            rings.clear()
    finally:
        gc.enable()
    assert 0 < most <= 3


_PARTS = st.one_of(st.sampled_from(["block", "view", "hello", "genesis"]), st.integers(0, 9), st.binary(max_size=8))
_ALMOST_QUESTIONS = st.lists(_PARTS, max_size=5).map(encode)


@settings(max_examples=100)
@given(st.one_of(st.binary(max_size=80), _ALMOST_QUESTIONS))
def test_any_message_is_answered(message: bytes) -> None:
    """A message that makes no sense is a fault, and the worker goes on."""
    kind, sentence = decode(answers_on(MemoryState()).answer(message))  # type: ignore[misc]
    assert kind == "fault" or message == encode(["hello"])
    assert sentence


def test_a_store_that_fails_is_a_fault_and_not_an_outcome() -> None:
    """What the machine did wrong never becomes a receipt (D54)."""

    @contextmanager
    def broken(_calls: int) -> Iterator[StateReader]:
        raise StoreError("closed", "the store is gone")
        yield MemoryState()

    kind, sentence = decode(Answers(Runtime(), broken, GREETING).answer(block_question(call_of("value"))))  # type: ignore[misc]
    assert kind == "fault"
    assert "StoreError" in sentence


def test_a_tree_that_is_not_the_one_of_its_hash_is_a_fault() -> None:
    """A state that no run can have written stops the work instead of running something else."""
    state = deployed_state()
    state[tree_key(state[hash_key("counter")])] += b"\x00"
    kind, sentence = decode(answers_on(state).answer(block_question(call_of("value"))))  # type: ignore[misc]
    assert kind == "fault"
    assert "RuntimeInconsistency" in sentence


# --- the process ---


class Child:
    """A worker process on a socketpair, as a replica starts it."""

    def __init__(self, ledger: Path) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-m", "contracts.worker", str(theirs.fileno()), str(ledger)]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self.connection = ours
        self.connection.settimeout(20)

    def ask(self, question: bytes) -> bytes:
        self.connection.sendall(len(question).to_bytes(4, "big") + question)
        size = int.from_bytes(self.take(4), "big")
        return self.take(size)

    def take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.connection.recv(count - len(data))
            assert part, "the worker ended"
            data += part
        return data

    def close(self) -> int:
        self.connection.close()
        return self.process.wait(20)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Path]:
    """A ledger store with one contract in its state, open for writing as the node has it."""
    path = tmp_path / "ledger"
    store = LmdbStore(path, tables=STATE_TABLES)
    store.write([Put(VALUES_TABLE, key, value) for key, value in sorted(deployed_state().items())])
    yield path
    store.close()


@pytest.mark.drill
def test_a_worker_process_serves_and_ends_with_its_socket(ledger: Path) -> None:
    """D17: it reads the store that the node has open, writes nothing, and leaves when nobody asks any more."""
    child = Child(ledger)
    limits = decode(content(child.ask(encode(["hello"]))))["limits"]  # type: ignore[index,call-overload]
    assert limits["core"] == 0
    assert limits["file_size"] == 0
    assert limits["open_files"] <= 32
    before = parse_block_outcome(content(child.ask(block_question(call_of("add", 5)))))
    assert decode(before.calls[0].result) == 12
    assert decode(parse_block_outcome(content(child.ask(view_question(call_of("value"))))).calls[0].result) == 7
    assert decode(child.ask(b"\xc1"))[0] == "fault"  # type: ignore[index]
    assert child.close() == 0


@pytest.mark.drill
def test_a_worker_sees_what_the_node_wrote_since(tmp_path: Path) -> None:
    """Each question has a snapshot of its own, whatever of it waits in the node's memory: asked after each block, after
    more blocks than are kept, and for a value that no block has changed for long."""
    path = tmp_path / "ledger"
    store = LmdbStore(path, tables=STATE_TABLES)
    state = WorldState(store)

    def write(writes: dict[bytes, bytes]) -> None:
        with store.snapshot() as view:
            update = state.compute_update(view, sorted(writes.items()))
        store.write(update.operations)
        state.adopt(update)

    write(dict(deployed_state()))
    child = Child(path)
    asked_at = {*range(TURNS + 2), 3 * TURNS, 3 * TURNS + 1, 5 * TURNS}
    for block in range(5 * TURNS + 1):
        key = b"c/counter/count/" if block <= 3 * TURNS else b"c/counter/other/"
        write({key: encode(block), b"c/another/%d" % block: b"v"})
        if block in asked_at:
            view = parse_block_outcome(content(child.ask(view_question(call_of("value")))))
            assert decode(view.calls[0].result) == min(block, 3 * TURNS)
    assert store.get(VALUES_TABLE, b"c/counter/count/") == encode(3 * TURNS)
    assert child.close() == 0
    store.close()


@pytest.mark.drill
def test_a_worker_dies_with_its_parent(ledger: Path) -> None:
    """Even when the socket stays open elsewhere: the kernel ends it when the replica is killed."""
    ours, theirs = socket.socketpair()
    starter = (
        "import subprocess, sys; "
        f"p = subprocess.Popen([sys.executable, '-I', '-m', 'contracts.worker', '{theirs.fileno()}', {str(ledger)!r}],"
        f" pass_fds=[{theirs.fileno()}]); print(p.pid, flush=True); p.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", starter], pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    ours.settimeout(20)
    question = encode(["hello"])
    ours.sendall(len(question).to_bytes(4, "big") + question)
    assert ours.recv(4)
    watched = os.pidfd_open(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait(20)
    readable, _, _ = select.select([watched], [], [], 20)
    assert readable == [watched]
    os.close(watched)
    ours.close()
    theirs.close()
