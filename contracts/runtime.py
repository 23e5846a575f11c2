"""The contract runtime: what a block plan does to the world state. Pure and deterministic.

Owns the order of a block (due scheduled calls first, then the plan's calls), the meter of each call, the roll-back of
failures, and the deploy of genesis contracts. A call's outcome depends on (tree, arguments, state, context) only; its
failure is a status and a code. Machine faults (memory, disk, an inconsistent state) are not outcomes: they leave this
module as exceptions, and the replica retries the block whole or stops (D54). It reads state through a `StateReader`
and writes nothing.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from contracts.compiler import Weave, weave_contract
from contracts.errors import Abort, ContractRefused, Fault, OutOfGas, RuntimeInconsistency
from contracts.gas import CALL_DEPTH_MAX, GAS
from contracts.host import (
    PARKED_PREFIX,
    SCHEDULE_PREFIX,
    Host,
    VerifySignature,
    schedule_key,
)
from contracts.machine import Machine
from contracts.overlay import Overlay
from ledger.curves import Claim, ClaimHolds
from ledger.encoding import decode_at, encode
from ledger.errors import EncodingError
from ledger.execution import (
    BlockOutcome,
    BlockPlan,
    Call,
    CallOutcome,
    ScheduledOutcome,
    StateReader,
    contract_address,
    make_call_outcome,
    scheduled_call_id,
)

GENESIS_INIT_GAS_MAX: Final = 20_000_000
"""Of each @init in genesis: no block limit holds there, and an endless @init must end all the same. It is what a block
may use unless its network says otherwise; the dearest standard contract, `members` with as many founders as a network
can have, uses 0.7 million."""
RETRIES_MAX: Final = 3
"""Later blocks in which a failed scheduled call is tried again, before it is parked (D65)."""
RECURSION_MAX: Final = 200 * CALL_DEPTH_MAX
"""Interpreter frames: each call of the language nests at most 16 blocks and 40 expressions, some with two frames; a
chain of `elif` is one block. Compiled closures are no frames, but nest on the C stack: `tests/contracts_corpus`."""
NO_SENDER: Final = bytes(32)
"""Who calls @init in genesis."""
NO_TRANSACTION: Final = bytes(32)
"""The transaction id that an @init sees: a deploy is not a call."""

WayIn = Callable[[str, str, bytes, bytes, set[str]], bytes]
"""Contract, method, encoded arguments, sender, the markers that may be called: the encoded result. Raises Abort."""

_RESULT_NONE: Final = encode(None)
_RECORD_HEAD: Final = 0x94  # of a scheduled call: an array of four
_TRANSACTION_KINDS: Final = {"external", "view"}
_VIEW_KINDS: Final = {"view", "invariant"}
# What a bug of the engine may raise; never a fault of the machine (MemoryError, OSError), which is no outcome.
_ENGINE_BUGS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Deployment(Protocol):
    """A contract to deploy in genesis; `ledger.genesis.GenesisContract` is one."""

    @property
    def name(self) -> str:
        """Lower-case name."""
        ...

    @property
    def source(self) -> str:
        """The source as written."""
        ...

    def encoded_arguments(self) -> bytes:
        """Canonical bytes of the array that its @init gets."""
        ...


class _EmptyState:
    """The state before genesis."""

    def get(self, key: bytes) -> bytes | None:
        return None

    def scan(self, prefix: bytes) -> Iterable[tuple[bytes, bytes]]:
        return iter(())


def verify_with_ledger_keys(public_key: bytes, message: bytes, signature: bytes) -> None:
    """The network's one Ed25519 verifier; loaded at first use, so that the engine itself needs no library."""
    from ledger.keys import verify_signature

    verify_signature(public_key, message, signature)


def claim_holds_by_openssl(claim: Claim) -> bool:
    """The network's one ECDSA of meter records; loaded at first use, too."""
    from ledger.ecdsa import claim_holds

    return claim_holds(claim)


class Runtime:
    """Runs plans. Holds a cache of woven contracts and nothing else between blocks.

    Trees run as closures; `contracts.walker.walk_contract` runs them by the definition of the language instead."""

    def __init__(
        self,
        verify_signature: VerifySignature = verify_with_ledger_keys,
        weave: Weave = weave_contract,
        claim_holds: ClaimHolds = claim_holds_by_openssl,
        collect_rings: Callable[[], object] | None = None,
    ) -> None:
        """`collect_rings` frees values that hold each other in a ring; without it, the process does so in its time."""
        self._machine = Machine(Overlay(_EmptyState()))  # type: ignore[arg-type]
        self._host = Host(self._machine, verify_signature, claim_holds, weave)
        self._collect_rings = collect_rings
        self._cells_taken = 0
        """By the calls since rings were last collected."""

    def execute_block(self, plan: BlockPlan, state: StateReader) -> BlockOutcome:
        """All due scheduled calls, then all calls of the plan; their outcomes and the sum of their writes."""
        self._open(state, plan.height, plan.time_ms, plan.network)
        self._machine.epoch, self._machine.window = plan.epoch, plan.window
        scheduled = self._run_scheduled(plan, state)
        calls = tuple([self._run(call, _TRANSACTION_KINDS, call) for call in plan.calls])
        return self._close(scheduled, calls)

    def execute_genesis(self, contracts: Sequence[Deployment], time_ms: int, network: bytes) -> BlockOutcome:
        """Deploy all contracts, then run each @init with its arguments, in order; one outcome per contract.

        A source that is refused has status error and the refusal's code; nothing is run then."""
        self._open(_EmptyState(), 0, time_ms, network)  # type: ignore[arg-type]
        deployed = tuple(self._deploy(contract.name, contract.source.encode()) for contract in contracts)
        if any(outcome.status != "ok" for outcome in deployed):
            return self._close((), deployed)
        calls = tuple(self._run_init(contract, NO_SENDER) for contract in contracts)
        return self._close((), calls)

    def deploy(
        self, contract: Deployment, sender: bytes, state: StateReader, height: int, time_ms: int, network: bytes
    ) -> BlockOutcome:
        """Deploy one contract on a state and run its @init as `sender`; the one outcome is the first that failed."""
        self._open(state, height, time_ms, network)
        outcome = self._deploy(contract.name, contract.source.encode())
        if outcome.status == "ok":
            outcome = self._run_init(contract, sender)
        return self._close((), (outcome,))

    def upgrade(
        self, contract: Deployment, sender: bytes, state: StateReader, height: int, time_ms: int, network: bytes
    ) -> BlockOutcome:
        """Give a contract of a state the source of that name, and run its @migrate as `sender`; the one outcome."""
        self._open(state, height, time_ms, network)

        def replace(name: str, _method: str, arguments: bytes, sender: bytes, _kinds: set[str]) -> bytes:
            return encode(self._host.lifecycle.replace(name, contract.source.encode(), arguments, sender))

        return self._close((), (self._run(_call_of_deploy(contract, sender, ""), {"migrate"}, way_in=replace),))

    def call_view(self, call: Call, state: StateReader, height: int, time_ms: int, network: bytes) -> CallOutcome:
        """Run a @view (or @invariant) on a state; nothing can be written."""
        self._open(state, height, time_ms, network)
        return self._run(call, _VIEW_KINDS, call)

    # --- a block ---

    def _open(self, state: StateReader, height: int, time_ms: int, network: bytes) -> None:
        sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION_MAX))
        machine = self._machine
        machine.overlay = Overlay(state)
        machine.height, machine.time, machine.network = height, time_ms // 1_000, network
        machine.epoch = machine.window = 0  # only a block decides on a configuration

    def _close(self, scheduled: tuple[ScheduledOutcome, ...], calls: tuple[CallOutcome, ...]) -> BlockOutcome:
        overlay = self._machine.overlay
        first = next((key for key, record in overlay.scan(SCHEDULE_PREFIX) if record is not None), None)
        return BlockOutcome(
            scheduled=scheduled,
            calls=calls,
            writes=overlay.collect_writes(),
            next_due=None if first is None else _split_schedule_key(first)[0],
        )

    def _run_scheduled(self, plan: BlockPlan, state: StateReader) -> tuple[ScheduledOutcome, ...]:
        """The calls that are due now, in (due, id) order, while the gas of scheduled calls lasts (D32, D65).

        What they schedule anew, even for now, is for the next block: each block's part is bounded. One that fails
        leaves its record in the block's outcome once more: then that counts, at a unit for each byte, where its gas is
        less."""
        limit = min(plan.transaction_gas_max, plan.scheduled_gas_max)
        outcomes: list[ScheduledOutcome] = []
        gas_counted = 0
        for key, record in state.scan(SCHEDULE_PREFIX):  # as it was before the block, one record in memory at a time
            due, call_id = _split_schedule_key(key)
            if due > self._machine.time or gas_counted + limit > plan.scheduled_gas_max:
                break
            outcome = self._run_scheduled_call(key, record, limit)
            is_ok = outcome.status == "ok"
            gas_counted += outcome.gas_used if is_ok else max(outcome.gas_used, GAS.transaction + len(record))
            outcomes.append(ScheduledOutcome(due=due, call_id=call_id, outcome=outcome))
        return tuple(outcomes)

    def _run_scheduled_call(self, key: bytes, record: bytes, gas_limit: int) -> CallOutcome:
        """One scheduled call: its record goes when it succeeds, counts a failure, or is parked after the last retry."""
        contract, method, arguments, failures = _read_record(record)
        overlay = self._machine.overlay
        name = scheduled_call_id(self._machine.height, *_split_schedule_key(key))
        call = Call(name, contract_address(contract), contract, method, arguments, gas_limit)
        outcome = self._run(call, {"scheduled"})
        if outcome.status == "ok":
            overlay.put(key, None)
        elif failures < RETRIES_MAX:
            overlay.put(key, record[:-1] + encode(failures + 1))
        else:
            overlay.put(key, None)
            overlay.put(PARKED_PREFIX + key[len(SCHEDULE_PREFIX) :], record)
        return outcome

    # --- a call ---

    def _run(
        self, call: Call, kinds: set[str], transaction: Call | None = None, way_in: WayIn | None = None
    ) -> CallOutcome:
        """Run a call with a full meter; whatever fails leaves no write and no event.

        `transaction` is the call itself where a transaction or a reader makes it, and only the first may bring code."""
        tx_id, sender, contract, method, arguments, gas_limit, private_values = call
        machine = self._machine
        mark = machine.overlay.mark()
        self._host.begin(gas_limit)
        cells = machine.cells
        machine.signer, machine.tx_id = sender, tx_id
        machine.private_values, machine.call = private_values, transaction
        machine.read_only = kinds is _VIEW_KINDS
        size = len(arguments) + sum(map(len, private_values)) if private_values else len(arguments)
        try:
            machine.gas -= GAS.transaction + size // GAS.transaction_bytes
            if machine.gas < 0:
                raise OutOfGas
            result = (way_in or self._host.run)(contract, method, arguments, sender, kinds)
        except Abort as abort:
            self._roll_back(mark)
            used = gas_limit if isinstance(abort, OutOfGas) else gas_limit - machine.gas
            return _failed(abort.status, abort.code, used, abort.detail)
        except _ENGINE_BUGS:
            self._roll_back(mark)
            return _failed("error", "INTERNAL", gas_limit)
        finally:
            if machine.cells != cells:
                self._count_cells(cells - max(machine.cells, 0))
        events = machine.events
        return make_call_outcome(("ok", "", gas_limit - machine.gas, result, tuple(events) if events else ()))

    def _count_cells(self, taken: int) -> None:
        """A list may hold itself, and what it holds then outlives its call. So that all calls together never hold more
        than two calls may (D54), rings are collected when those that ended may have left as much as one more."""
        self._cells_taken += taken
        if self._cells_taken > self._machine.cells_max and self._collect_rings is not None:
            self._cells_taken = 0
            self._collect_rings()

    def _roll_back(self, mark: int) -> None:
        self._machine.overlay.rollback(mark)
        self._host.forget_brought()

    # --- genesis ---

    def _deploy(self, name: str, source: bytes) -> CallOutcome:
        try:
            self._host.lifecycle.install(name, source)
        except Fault as fault:
            return _failed("error", fault.code, 0)
        except ContractRefused as refusal:
            return _failed("error", refusal.code, 0)
        gas = GAS.deploy + GAS.deploy_byte * len(source)
        return CallOutcome(status="ok", code="", gas_used=gas, result=_RESULT_NONE, events=())

    def _run_init(self, contract: Deployment, sender: bytes) -> CallOutcome:
        init = self._host.woven(contract.name).find("init")
        if init is None:
            status = ("ok", "") if contract.encoded_arguments() == encode([]) else ("error", "ARGUMENTS")
            return CallOutcome(status=status[0], code=status[1], gas_used=0, result=_RESULT_NONE, events=())
        return self._run(_call_of_deploy(contract, sender, init), {"init"})


def _call_of_deploy(contract: Deployment, sender: bytes, method: str) -> Call:
    """What a deploy or upgrade outside of a block runs."""
    return Call(NO_TRANSACTION, sender, contract.name, method, contract.encoded_arguments(), GENESIS_INIT_GAS_MAX)


def _failed(status: str, code: str, gas_used: int, detail: str = "") -> CallOutcome:
    return CallOutcome(status=status, code=code, gas_used=gas_used, result=encode(detail or None), events=())


def _split_schedule_key(key: bytes) -> tuple[int, int]:
    """(due seconds, call id); the inverse of `schedule_key`."""
    start = len(SCHEDULE_PREFIX)
    due, call_id = int.from_bytes(key[start : start + 8], "big"), int.from_bytes(key[start + 8 :], "big")
    if schedule_key(due, call_id) != key:
        raise RuntimeInconsistency("STATE", "a key of the schedule is malformed", key=key)
    return due, call_id


def _read_record(record: bytes) -> tuple[str, str, bytes, int]:
    """(contract, method, encoded arguments, failures so far) of a scheduled call.

    The arguments stay as they are encoded: they are read, and paid for, by the call that gets them, if there is one."""
    try:
        contract, at = decode_at(record, 1, 1)
        method, at = decode_at(record, at, 1)
    except EncodingError as error:
        raise RuntimeInconsistency("STATE", "a scheduled call is malformed", cause=error.code) from None
    failures = record[-1]
    if type(contract) is not str or type(method) is not str or record[0] != _RECORD_HEAD or failures > RETRIES_MAX:
        raise RuntimeInconsistency("STATE", "a scheduled call is malformed", record=record)
    return contract, method, record[at:-1], failures
