"""The contract worker: the process in which contracts run, `python -I -m contracts.worker FD LEDGER`.

It holds no key and no file but the ledger store, read only; all it can do is answer questions on the one inherited
socket, and the kernel sees to it (`confinement`). One message per block; beside the greeting of every helper:

- `["check", source]` -> the verdict of the checker: an encoded `SourceVerdict`;
- `["block", plan]` -> the outcome on the newest committed state, through a snapshot of its own;
- `["genesis", [[name, source, arguments], ...], time_ms, network]` -> the outcome on the empty state;
- `["view", [tx_id, sender, contract, method, arguments, gas_limit], height, time_ms, network]` -> a block outcome of
  that one call.

A fault (a message that is not one of these, a store that cannot be read, an inconsistent state) is never a
transaction's result: the replica retries the block or stops (D54). How the process begins, lives and ends is
`helper_process`'s.
"""

import argparse
import contextlib
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.compiler import judge_source
from contracts.helper_process import QUESTION_BYTES_MAX, ParentIsGone, Questions, begin, serve
from contracts.runtime import Runtime
from ledger.ecdsa import claim_holds
from ledger.ecdsa import self_test as test_ecdsa
from ledger.encoding import Value
from ledger.execution import BlockOutcome, Call, CallOutcome, StateReader, parse_block_plan
from ledger.keys import verify_signature
from ledger.lmdb_store import LmdbStore
from ledger.shapes import expect_array, expect_bytes, expect_int, expect_name, expect_str
from ledger.world_state import STATE_TABLES, StateFollower

_TIME_MAX_MS: Final = 2**53
_INT_MAX: Final = 2**63 - 1

CALLS_MAPPED_MAX: Final = 16  # until the pages that they looked at are unmapped

OpenState = Callable[[int], contextlib.AbstractContextManager[StateReader]]
"""A consistent view of the newest committed state, for the time of one message with so many calls."""


@dataclass(frozen=True, slots=True)
class SourceToDeploy:
    """One contract of a genesis message."""

    name: str
    source: str
    arguments: bytes

    def encoded_arguments(self) -> bytes:
        """Canonical bytes of the array that its @init gets."""
        return self.arguments


class Answers(Questions):
    """What the contract worker is asked, and what it answers."""

    def __init__(self, runtime: Runtime, open_state: OpenState, greeting: bytes) -> None:
        kinds = {"check": self._check, "block": self._block, "genesis": self._genesis, "view": self._view}
        super().__init__(greeting, kinds)
        self._runtime = runtime
        self._open_state = open_state

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
        expect_name(name, "name"),
        expect_str(source, "source", QUESTION_BYTES_MAX),
        expect_bytes(arguments, "arguments"),
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


def make_runtime() -> Runtime:
    """What runs contracts in this process: with the network's verifiers, and bounded in what calls leave behind."""
    return Runtime(verify_signature, claim_holds=claim_holds, collect_rings=gc.collect)


def _open_ledger(ledger_path: Path) -> OpenState:
    """Opens the store, once and now: later no file can be opened. Raises StoreError.

    One snapshot is taken at once, because LMDB registers a process with its first one, by calls refused later.
    """
    store = LmdbStore(ledger_path, tables=STATE_TABLES, readonly=True)
    store.snapshot().close()
    follower = StateFollower()
    mapped = 0  # calls whose pages are mapped

    @contextlib.contextmanager
    def open_state(calls: int) -> Iterator[StateReader]:
        nonlocal mapped
        with store.snapshot() as view:
            yield follower.open(view, view.bind)
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

    def load() -> OpenState:
        open_state = _open_ledger(options.ledger)
        test_ecdsa()  # D62; and what the library loads at its first use, it cannot load later
        return open_state

    try:
        open_state, greeting = begin(options.descriptor, load)
    except ParentIsGone:
        return 0
    serve(options.descriptor, Answers(make_runtime(), open_state, greeting).answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
