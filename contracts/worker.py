"""The contract worker: the process in which contracts run, `python -I -m contracts.worker FD LEDGER`.

It holds no key and no file but the ledger store, read only; all it can do is answer questions on the one inherited
socket, and the kernel sees to it (`confinement`). One message per block, in frames with a 4-byte big-endian length:

- `["hello"]` -> `["ok", encoded {"pid", "limits", "confinement"}]`;
- `["check", source]` -> the verdict of the checker: an encoded `SourceVerdict`;
- `["block", plan]` -> the outcome on the newest committed state, through a snapshot of its own;
- `["genesis", [[name, source, arguments], ...], time_ms, network]` -> the outcome on the empty state;
- `["view", [tx_id, sender, contract, method, arguments, gas_limit], height, time_ms, network]` -> a block outcome of
  that one call.

Answers are `["ok", bytes]` or `["fault", sentence]`; a fault (a message that is not one of these, a store that cannot
be read, an inconsistent state) is never a transaction's result: the replica retries the block or stops (D54). The
worker ends with its parent: the socket closes, and the kernel is asked to kill it (PR_SET_PDEATHSIG).
"""

import argparse
import contextlib
import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.compiler import judge_source
from contracts.confinement import confine
from contracts.runtime import Runtime
from ledger.ecdsa import claim_holds
from ledger.ecdsa import self_test as test_ecdsa
from ledger.encoding import Value, decode, encode
from ledger.errors import EncodingError, InvariantViolation, StoreError
from ledger.execution import OUTCOME_BYTES_MAX, BlockOutcome, Call, CallOutcome, StateReader, parse_block_plan
from ledger.keys import verify_signature
from ledger.lmdb_store import LmdbStore
from ledger.shapes import expect_array, expect_bytes, expect_int, expect_name, expect_str
from ledger.world_state import STATE_TABLES, StateSnapshot

REQUEST_BYTES_MAX: Final = OUTCOME_BYTES_MAX
"""The largest question: a plan or the genesis sources; far above both, because the replica already bounded them."""
ADDRESS_SPACE_BYTES_MAX: Final = 96 * 1024 * 1024 * 1024
"""The store is a sparse map of many GiB, so this bounds runaway maps; memory that is used is bounded by the next."""
DATA_BYTES_MAX: Final = 2 * 1024 * 1024 * 1024
"""Private memory: more than twice what the memory cells of a transaction can hold (D54)."""
OPEN_FILES_MAX: Final = 32
STACK_BYTES_MAX: Final = 64 * 1024 * 1024
COLLECT_AFTER: Final = 50_000
"""New containers between two looks for cycles, of which blocks leave few; the interpreter's own default is 700. A
contract can hide any amount of memory behind few containers: the runtime looks too, by what calls took."""
FAULT_CHARACTERS_MAX: Final = 1_000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_TIME_MAX_MS: Final = 2**53
_INT_MAX: Final = 2**63 - 1

CALLS_MAPPED_MAX: Final = 16  # until the pages that they looked at are unmapped

OpenState = Callable[[int], contextlib.AbstractContextManager[StateReader]]
"""A consistent view of the newest committed state, for the time of one message with so many calls."""


class ParentIsGone(Exception):
    """The socket closed: there is nobody to work for."""


@dataclass(frozen=True, slots=True)
class SourceToDeploy:
    """One contract of a genesis message."""

    name: str
    source: str
    arguments: bytes

    def encoded_arguments(self) -> bytes:
        """Canonical bytes of the array that its @init gets."""
        return self.arguments


class Answers:
    """From a question's bytes to an answer's bytes. Knows the messages; how they travel is the caller's."""

    def __init__(self, runtime: Runtime, open_state: OpenState, greeting: bytes) -> None:
        self._runtime = runtime
        self._open_state = open_state
        self._greeting = greeting
        self._kinds: dict[str, Callable[[list[Value]], bytes]] = {
            "hello": self._hello,
            "check": self._check,
            "block": self._block,
            "genesis": self._genesis,
            "view": self._view,
        }

    def answer(self, question: bytes) -> bytes:
        """Total: any bytes get an answer. Faults of the machine (MemoryError) are not caught: the worker then dies."""
        try:
            fields = expect_array(decode(question, max_bytes=REQUEST_BYTES_MAX), "question")
            kind = self._kinds.get(expect_str(fields[0] if fields else None, "kind", 16))
            if kind is None:
                raise EncodingError("kind", "unknown question")
            return encode(["ok", kind(fields)])
        except (EncodingError, StoreError, InvariantViolation) as error:
            return encode(["fault", f"{type(error).__name__}: {error}"[:FAULT_CHARACTERS_MAX]])

    def _hello(self, fields: list[Value]) -> bytes:
        expect_array(fields, "hello", 1)
        return self._greeting

    def _check(self, fields: list[Value]) -> bytes:
        expect_array(fields, "check", 2)
        return judge_source(expect_bytes(fields[1], "source")).to_bytes()

    def _block(self, fields: list[Value]) -> bytes:
        expect_array(fields, "block", 2)
        plan = parse_block_plan(expect_bytes(fields[1], "plan"))
        with self._open_state(len(plan.calls)) as state:
            return self._runtime.execute_block(plan, state).to_bytes()

    def _genesis(self, fields: list[Value]) -> bytes:
        expect_array(fields, "genesis", 4)
        contracts = [_read_source(item) for item in expect_array(fields[1], "contracts")]
        time_ms = expect_int(fields[2], "time_ms", 0, _TIME_MAX_MS)
        network = expect_bytes(fields[3], "network", 32)
        return self._runtime.execute_genesis(contracts, time_ms, network).to_bytes()

    def _view(self, fields: list[Value]) -> bytes:
        expect_array(fields, "view", 5)
        call = _read_call(fields[1])
        height = expect_int(fields[2], "height", 0, _INT_MAX)
        time_ms = expect_int(fields[3], "time_ms", 0, _TIME_MAX_MS)
        network = expect_bytes(fields[4], "network", 32)
        with self._open_state(1) as state:
            outcome: CallOutcome = self._runtime.call_view(call, state, height, time_ms, network)
        return BlockOutcome(scheduled=(), calls=(outcome,), writes=(), next_due=None).to_bytes()


def _read_source(value: Value) -> SourceToDeploy:
    name, source, arguments = expect_array(value, "contract", 3)
    return SourceToDeploy(
        expect_name(name, "name"), expect_str(source, "source", REQUEST_BYTES_MAX), expect_bytes(arguments, "arguments")
    )


def _read_call(value: Value) -> Call:
    tx_id, sender, contract, method, arguments, gas_limit = expect_array(value, "call", 6)
    return Call(
        tx_id=expect_bytes(tx_id, "tx_id", 32),
        sender=expect_bytes(sender, "sender", 32),
        contract=expect_name(contract, "contract"),
        method=expect_name(method, "method"),
        arguments=expect_bytes(arguments, "arguments"),
        gas_limit=expect_int(gas_limit, "gas_limit", 0, _INT_MAX),
    )


# --- the process ---

_LIMITS: Final = {
    "address_space": resource.RLIMIT_AS,
    "core": resource.RLIMIT_CORE,
    "data": resource.RLIMIT_DATA,
    "file_size": resource.RLIMIT_FSIZE,
    "open_files": resource.RLIMIT_NOFILE,
    "stack": resource.RLIMIT_STACK,
}


def limit(parent_pid: int) -> None:
    """Bind this process to its parent's life and bound what it can take. Raises OSError where the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    for option, argument in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_DUMPABLE, 0)):
        if libc.prctl(option, int(argument), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")
    if os.getppid() != parent_pid:
        raise ParentIsGone  # it ended before the kernel was asked to watch it
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES_MAX)
    _limit(resource.RLIMIT_STACK, STACK_BYTES_MAX)
    _limit(resource.RLIMIT_DATA, DATA_BYTES_MAX)
    _limit(resource.RLIMIT_AS, ADDRESS_SPACE_BYTES_MAX)


def read_limits() -> dict[str, Value]:
    """The limits of this process by name, in bytes or descriptors."""
    return {name: resource.getrlimit(number)[0] for name, number in sorted(_LIMITS.items())}


def _limit(which: int, most: int) -> None:
    """Lower a limit, hard and soft; one that is already lower stays."""
    hard = resource.getrlimit(which)[1]
    value = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (value, value))


def close_inherited(keep: int) -> None:
    """Close every descriptor but standard error and the socket: nothing of the parent's is left open."""
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))


def serve(descriptor: int, answers: Answers) -> None:
    """Answer questions until the parent closes the socket. Plain reads and writes: the only ones that are allowed."""
    while True:
        try:
            size = int.from_bytes(_read_exactly(descriptor, 4), "big")
            if size > REQUEST_BYTES_MAX:
                raise ParentIsGone
            reply = answers.answer(_read_exactly(descriptor, size))
            _write_all(descriptor, len(reply).to_bytes(4, "big") + reply)
        except (ParentIsGone, ConnectionError):
            return


def _read_exactly(descriptor: int, count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0:
        part = os.read(descriptor, min(count, 1 << 20))
        if not part:
            raise ParentIsGone
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def make_runtime() -> Runtime:
    """What runs contracts in this process: with the network's verifiers, and bounded in what calls leave behind."""
    return Runtime(verify_signature, claim_holds=claim_holds, collect_rings=gc.collect)


def _open_ledger(ledger_path: Path) -> OpenState:
    """Opens the store, once and now: later no file can be opened. Raises StoreError.

    One snapshot is taken at once, because LMDB registers a process with its first one, by calls refused later.
    """
    store = LmdbStore(ledger_path, tables=STATE_TABLES, readonly=True)
    store.snapshot().close()
    mapped = 0  # calls whose pages are mapped

    @contextlib.contextmanager
    def open_state(calls: int) -> Iterator[StateReader]:
        nonlocal mapped
        view = store.snapshot()
        with StateSnapshot(view, view.bind) as state:
            yield state
        mapped += calls + 1  # those of the schedule
        if mapped >= CALLS_MAPPED_MAX:
            store.let_go()  # the next block looks at other pages
            mapped = 0

    return open_state


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a process. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="contracts.worker", description="Runs contracts for one replica.")
    parser.add_argument("descriptor", type=int, help="the inherited socket")
    parser.add_argument("ledger", type=Path, help="the ledger store, opened read only")
    options = parser.parse_args(arguments)
    parent_pid = os.getppid()
    try:
        close_inherited(options.descriptor)
        limit(parent_pid)
        open_state = _open_ledger(options.ledger)
        test_ecdsa()  # D62; and what the library loads at its first use, it cannot load later
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
        pid, limits = os.getpid(), read_limits()
        confinement = confine(options.descriptor, [options.descriptor, sys.stderr.fileno()])
    except ParentIsGone:
        return 0
    greeting = encode({"pid": pid, "limits": limits, "confinement": confinement.to_value()})
    gc.freeze()  # what is imported stays, and is never looked at again
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
    serve(options.descriptor, Answers(make_runtime(), open_state, greeting))
    return 0


if __name__ == "__main__":
    sys.exit(main())
