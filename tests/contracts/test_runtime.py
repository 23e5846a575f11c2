"""Blocks, calls between contracts, roles, views, arguments, scheduled calls: what a call may do and what it leaves."""

import sys
from typing import Any

import pytest

from contracts.gas import GAS
from contracts.host import schedule_key
from contracts.runtime import GENESIS_INIT_GAS_MAX, Runtime
from contracts.standard import genesis_contracts
from contracts.testing import GAS_LIMIT, CallFailedError, Chain, MemoryState
from ledger.configuration import MEMBERS_MAX
from ledger.encoding import decode, encode
from ledger.execution import BlockPlan, Call, contract_address, parse_block_outcome, parse_block_plan
from ledger.genesis import ContractReference, GenesisContract

SENDER = b"\x01" * 32
OTHER = b"\x02" * 32

CALLEE = b"""
from contracts import Address, Contract, Event, Interface, Map, Struct, ctx, emit, external, init, invariant
from contracts import require, role, view


class Pair(Struct):
    a: int
    b: str


class Noted(Event):
    who: Address
    pair: Pair


class ICaller(Interface):
    def back(self) -> int: ...


class Callee(Contract):
    seen: Map[Address, int]
    total: int
    owner: Address

    @init
    def setup(self, owner: Address, start: int = 7) -> None:
        self.owner = owner
        self.total = start

    @external
    def note(self, pair: Pair, numbers: list[int] , maybe: int | None, table: dict[str, int]) -> Pair:
        self.seen[ctx.sender] += 1
        emit(Noted(ctx.sender, pair))
        return Pair(pair.a + len(numbers) + sum(table.values()), pair.b)

    @external
    def fail(self) -> None:
        self.total = 1_000
        require(False, "CALLEE_SAYS_NO")

    @external
    def call_back(self, caller: Address) -> int:
        return ICaller(caller).back()

    @external
    @role("operator")
    def operate(self) -> int:
        return 5

    @view
    def seen_by(self, who: Address) -> int:
        return self.seen[who]

    @view
    def write_in_view(self) -> int:
        self.total = 5
        return 1

    @view
    def emit_in_view(self) -> int:
        emit(Noted(ctx.sender, Pair(1, "a")))
        return 1

    @view
    def where(self) -> tuple[Address, Address, Address, int, int, bytes]:
        return ctx.sender, ctx.signer, ctx.address, ctx.time, ctx.height, ctx.network

    @view
    def wrong_result(self) -> int:
        return "text"

    @invariant
    def total_is_not_negative(self) -> bool:
        return self.total >= 0

    def internal(self) -> int:
        return 1
"""

CALLER = b"""
from contracts import Address, Contract, Interface, Struct, ctx, external, init, view


class Couple(Struct):
    a: int
    b: str


class ICallee(Interface):
    def note(self, pair: Couple, numbers: list[int], maybe: int | None, table: dict[str, int]) -> Couple: ...
    def fail(self) -> None: ...
    def call_back(self, caller: Address) -> int: ...
    def where(self) -> tuple[Address, Address, Address, int, int, bytes]: ...
    def seen_by(self, who: Address) -> str: ...
    def internal(self) -> int: ...
    def write_in_view(self) -> int: ...


class Caller(Contract):
    callee: Address
    count: int

    @init
    def setup(self, callee: Address) -> None:
        self.callee = callee

    @external
    def relay(self) -> Couple:
        self.count += 1
        other = ICallee(self.callee)
        return other.note(Couple(1, "x"), [1, 2], None, {"a": 3})

    @external
    def relay_fail(self) -> None:
        self.count += 1
        ICallee(self.callee).fail()

    @external
    def reenter(self) -> int:
        return ICallee(self.callee).call_back(ctx.address)

    @external
    def back(self) -> int:
        return 1

    @view
    def where(self) -> tuple[Address, Address, Address, int, int, bytes]:
        return ICallee(self.callee).where()

    @external
    def wrong_interface(self) -> str:
        return ICallee(self.callee).seen_by(ctx.sender)

    @external
    def call_internal(self) -> int:
        return ICallee(self.callee).internal()

    @external
    def call_nobody(self) -> int:
        return ICallee(ctx.sender).internal()

    @external
    def call_view_that_writes(self) -> int:
        return ICallee(self.callee).write_in_view()

    @view
    def relay_in_view(self) -> Couple:
        return ICallee(self.callee).note(Couple(1, "x"), [1, 2], None, {"a": 3})
"""


@pytest.fixture
def chain() -> Chain:
    return Chain(network=bytes(range(32)))


@pytest.fixture
def callee(chain: Chain) -> Any:
    return chain.deploy(CALLEE, owner=SENDER)


@pytest.fixture
def caller(chain: Chain, callee: Any) -> Any:
    return chain.deploy(CALLER, callee=callee)


# --- between contracts ---


def test_a_call_passes_values_by_copy_and_types_by_structure(caller: Any, callee: Any) -> None:
    """Structs cross as lists of fields; the callee sees the caller's address; its event is in the receipt."""
    receipt = caller.relay(sender=SENDER)
    assert receipt.result == [6, "x"]
    assert callee.seen_by(caller.address) == 1
    (event,) = receipt.events
    assert (event.contract, event.name, event.fields) == ("callee", "Noted", {"who": caller.address, "pair": [1, "x"]})


def test_a_failing_callee_reverts_all(chain: Chain, caller: Any) -> None:
    """Neither the callee's nor the caller's writes stay."""
    before = dict(chain.state)
    with chain.reverts("CALLEE_SAYS_NO"):
        caller.relay_fail(sender=SENDER)
    assert dict(chain.state) == before


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("reenter", "REENTRY"),
        ("wrong_interface", "RESULT"),
        ("call_internal", "METHOD"),
        ("call_nobody", "CONTRACT"),
        ("call_view_that_writes", "READ_ONLY"),
    ],
)
def test_calls_that_are_refused(chain: Chain, caller: Any, method: str, code: str) -> None:
    """The lock and the checks are the host's."""
    with chain.reverts(code):
        getattr(caller, method)(sender=SENDER)


def test_context_follows_the_call(chain: Chain, caller: Any, callee: Any) -> None:
    """sender is the direct caller, signer the account, time and height are the block's."""
    chain.at(time=chain.time + 5)
    expected = [chain.time, chain.height, chain.network]
    assert callee.where(sender=SENDER) == [SENDER, SENDER, callee.address, *expected]
    assert caller.where(sender=SENDER) == [caller.address, SENDER, callee.address, *expected]


def test_a_view_cannot_change_anything_even_through_another_contract(chain: Chain, caller: Any, callee: Any) -> None:
    """Writes, events and nested writes are READ_ONLY."""
    for view in (callee.write_in_view, callee.emit_in_view, caller.relay_in_view):
        with chain.reverts("READ_ONLY"):
            view(sender=SENDER)


def test_a_result_is_checked_against_its_hint(chain: Chain, callee: Any) -> None:
    """What a method returns is what it declares."""
    with chain.reverts("TYPE"):
        callee.wrong_result()


# --- arguments ---

GOOD = [[1, "x"], [1, 2], None, {"a": 3}]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        GOOD[:3],
        [*GOOD, 1],
        [[1], [1], None, {}],
        [[1, "x", 2], [1], None, {}],
        [["1", "x"], [1], None, {}],
        [[True, "x"], [1], None, {}],
        [[1, b"x"], [1], None, {}],
        [[1, "x"], 1, None, {}],
        [[1, "x"], [None], None, {}],
        [[1, "x"], [1], "a", {}],
        [[1, "x"], [1], None, {1: 1}],
        [[1, "x"], [1], None, []],
    ],
)
def test_arguments_of_a_wrong_type_are_refused(chain: Chain, callee: Any, arguments: list[object]) -> None:
    """At the boundary, before a line of the contract runs."""
    outcome = chain.attempt(callee, "note", *arguments, sender=SENDER)
    assert (outcome.status, outcome.code) == ("error", "ARGUMENTS")
    assert callee.seen_by(SENDER) == 0


def test_arguments_of_the_right_type_are_taken(callee: Any) -> None:
    """The table above differs from this one by one thing each."""
    assert callee.note(*GOOD, sender=SENDER).result == [6, "x"]


@pytest.mark.parametrize("data", [b"", b"\xc1", encode(5), encode({}), encode([1]) + b"\x00"])
def test_argument_bytes_that_are_no_list_are_refused(chain: Chain, callee: Any, data: bytes) -> None:
    """Any bytes give a receipt."""
    call = Call(tx_id=bytes(32), sender=SENDER, contract="callee", method="note", arguments=data, gas_limit=GAS_LIMIT)
    (outcome,) = chain.runtime.execute_block(plan_of(chain, call), chain.state).calls
    assert (outcome.status, outcome.code) == ("error", "ARGUMENTS")


@pytest.mark.parametrize(
    ("contract", "method", "code"),
    [
        ("nobody", "note", "CONTRACT"),
        ("callee", "missing", "METHOD"),
        ("callee", "internal", "METHOD"),
        ("callee", "setup", "METHOD"),
        ("callee", "total_is_not_negative", "METHOD"),
    ],
)
def test_only_external_methods_and_views_are_called(
    chain: Chain, callee: Any, contract: str, method: str, code: str
) -> None:
    """@init, @scheduled, @invariant and unmarked methods are not for transactions."""
    call = Call(
        tx_id=bytes(32), sender=SENDER, contract=contract, method=method, arguments=encode([]), gas_limit=GAS_LIMIT
    )
    (outcome,) = chain.runtime.execute_block(plan_of(chain, call), chain.state).calls
    assert (outcome.status, outcome.code) == ("error", code)
    assert parse_block_plan(plan_of(chain, call).to_bytes()) == plan_of(chain, call)


def plan_of(chain: Chain, *calls: Call) -> BlockPlan:
    return BlockPlan(
        height=chain.height + 1,
        time_ms=chain.time * 1_000,
        network=chain.network,
        epoch=0,
        window=64,
        calls=calls,
        transaction_gas_max=GAS_LIMIT,
        scheduled_gas_max=4 * GAS_LIMIT,
    )


# --- roles ---


def test_a_role_is_asked_from_members(chain: Chain, callee: Any) -> None:
    """Without `members`, without the role: ROLE, as the contract's own refusal; with it: the call runs."""
    for _ in range(2):
        outcome = chain.attempt(callee, "operate", sender=SENDER)
        assert (outcome.status, outcome.code) == ("reverted", "ROLE")
        chain.grant(OTHER, "operator")
    assert callee.operate(sender=OTHER).result == 5


# --- gas ---


def test_out_of_gas_takes_the_whole_limit_and_leaves_nothing(chain: Chain, callee: Any) -> None:
    """At every limit below what the call needs; at exactly what it needs it works."""
    needed = callee.note(*GOOD, sender=SENDER).gas
    before = dict(chain.state)
    for limit in [0, 1, GAS.transaction, *range(GAS.transaction, needed, 37), needed - 1]:
        outcome = chain.attempt(callee, "note", *GOOD, sender=SENDER, gas=limit)
        assert (outcome.status, outcome.code, outcome.gas_used) == ("out_of_gas", "OUT_OF_GAS", limit)
        assert dict(chain.state) == before
    assert callee.note(*GOOD, sender=SENDER, gas=needed).gas == needed


# --- scheduled calls ---

CLOCK = b"""
from contracts import Contract, Vec, ctx, external, require, schedule, scheduled, view


class Clock(Contract):
    runs: Vec[tuple[int, int]]
    broken: bool

    @external
    def plan(self, due: int, tag: int) -> int:
        return schedule(due, "tick", tag)

    @external
    def plan_burning(self, due: int) -> int:
        return schedule(due, "burn")

    @external
    def break_it(self, broken: bool) -> None:
        self.broken = broken

    @scheduled
    def tick(self, tag: int) -> None:
        require(not self.broken, "BROKEN")
        require(ctx.sender == ctx.address and ctx.signer == ctx.address, "SENDER")
        self.runs.append((ctx.time, tag))
        if tag == 100:
            schedule(ctx.time, "tick", 101)

    @scheduled
    def burn(self) -> None:
        while True:
            pass

    @view
    def log(self) -> list[tuple[int, int]]:
        return list(self.runs)
"""


@pytest.fixture
def clock(chain: Chain) -> Any:
    return chain.deploy(CLOCK)


def test_scheduled_calls_run_in_order_of_due_time_then_id(chain: Chain, clock: Any) -> None:
    """Whatever the order of planning; never before they are due; each once."""
    start = chain.time
    for due, tag in [(30, 1), (10, 2), (20, 3), (10, 4)]:
        clock.plan(start + due, tag, sender=SENDER)
    assert chain.next_due == start + 10
    assert chain.at(time=start + 9) == []
    ran = chain.at(time=start + 20)
    assert [(item.due - start, item.call_id, item.outcome.status) for item in ran] == [
        (10, 1, "ok"),
        (10, 3, "ok"),
        (20, 2, "ok"),
    ]
    assert clock.log() == [[start + 20, 2], [start + 20, 4], [start + 20, 3]]
    assert chain.next_due == start + 30
    chain.at(time=start + 30)
    assert chain.next_due is None
    assert not any(key.startswith(b"s/") for key in chain.state)


def test_a_call_scheduled_for_now_runs_in_the_next_block(chain: Chain, clock: Any) -> None:
    """Each block's part is bounded: what a scheduled call schedules is not part of the same block."""
    clock.plan(chain.time, 100, sender=SENDER)
    assert len(chain.at(time=chain.time)) == 1
    assert chain.next_due == chain.time
    assert len(chain.at(time=chain.time)) == 1
    assert [tag for _, tag in clock.log()] == [100, 101]


def test_a_failing_call_is_retried_in_three_later_blocks_then_parked(chain: Chain, clock: Any) -> None:
    """Each try leaves its outcome; the parked record is kept and never due again."""
    clock.break_it(True, sender=SENDER)
    call_id = clock.plan(chain.time + 1, 5, sender=SENDER).result
    tries = chain.at(time=chain.time + 1, blocks=6)
    assert [(item.outcome.status, item.outcome.code) for item in tries] == [("reverted", "BROKEN")] * 4
    assert chain.next_due is None
    parked = [value for key, value in chain.state.items() if key.startswith(b"m/parked/")]
    assert [decode(record)[:3] for record in parked] == [["clock", "tick", [5]]]  # type: ignore[index]
    assert schedule_key(chain.time, call_id) not in chain.state


def test_a_failed_call_can_still_succeed(chain: Chain, clock: Any) -> None:
    """A retry that works ends it."""
    clock.break_it(True, sender=SENDER)
    clock.plan(chain.time + 1, 5, sender=SENDER)
    assert [item.outcome.status for item in chain.at(time=chain.time + 1)] == ["reverted"]
    assert chain.attempt(clock, "break_it", False, sender=SENDER).status == "ok"
    assert [item.outcome.status for item in chain.scheduled[1:]] == ["reverted"]
    assert [item.outcome.status for item in chain.at(time=chain.time)] == ["ok"]
    assert [tag for _, tag in clock.log()] == [5]


def test_scheduled_gas_is_bounded_per_block_and_the_rest_waits(chain: Chain, clock: Any) -> None:
    """Four calls that burn all their gas fill the block's part; the fifth and the good one run in the next block."""
    for _ in range(5):
        clock.plan_burning(chain.time + 1, sender=SENDER)
    clock.plan(chain.time + 1, 9, sender=SENDER)
    first = chain.at(time=chain.time + 1)
    assert [item.outcome.gas_used for item in first] == [GAS_LIMIT] * 4
    assert {item.outcome.status for item in first} == {"out_of_gas"}
    state_due = sorted(key for key in chain.state if key.startswith(b"s/"))
    assert len(state_due) == 6


ROWS = b"""from contracts import Contract, ctx, external, schedule, scheduled


class Rows(Contract):
    @external
    def plan(self, count: int) -> None:
        row: list[int] = []
        schedule(ctx.time + 1, "late", [row for n in range(count)])

    @scheduled
    def late(self, rows: list[list[int]]) -> None:
        pass
"""


def test_arguments_that_nobody_reads_are_not_decoded(chain: Chain) -> None:
    """Of a scheduled call whose method is gone: it pays a quarter of a unit for each byte, which decoding took thirty
    times of; and each retry again, and what is parked is what was planned."""
    rows = chain.deploy(ROWS)
    rows.plan(5_000, sender=SENDER)
    ((key, record),) = [(key, value) for key, value in chain.state.items() if key.startswith(b"s/")]
    chain.upgrade(rows, ROWS.replace(b"late", b"gone"))
    steps = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal steps
        steps += event == "call"

    sys.setprofile(count)
    try:
        outcomes = chain.at(time=chain.time + 1, blocks=4)
    finally:
        sys.setprofile(None)
    assert [item.outcome.code for item in outcomes] == ["METHOD"] * 4
    assert steps < 2_000
    assert chain.state[b"m/parked/" + key[2:]] == record[:-1] + encode(3)


def test_nobody_but_the_chain_calls_a_scheduled_method(chain: Chain, clock: Any) -> None:
    """Not a transaction either."""
    outcome = chain.attempt(clock, "tick", 1, sender=SENDER)
    assert (outcome.status, outcome.code) == ("error", "METHOD")


@pytest.mark.parametrize("due", [-1, 2**62, 2**255 - 1])
def test_a_due_time_has_bounds(chain: Chain, clock: Any, due: int) -> None:
    """Neither before time began nor for ever."""
    with chain.reverts("SCHEDULE"):
        clock.plan(due, 1, sender=SENDER)


# --- blocks and genesis ---


def test_genesis_deploys_all_then_runs_each_init(chain: Chain) -> None:
    """A contract may name one that comes later; outcomes cross a process as they are."""
    contracts = (
        GenesisContract(name="caller", source=CALLER.decode(), arguments=(ContractReference(contract="callee"),)),
        GenesisContract(name="callee", source=CALLEE.decode(), arguments=(SENDER,)),
    )
    outcome = Runtime().execute_genesis(contracts, 1_000, bytes(32))
    assert [call.status for call in outcome.calls] == ["ok", "ok"]
    writes = dict(outcome.writes)
    assert writes[b"c/caller/callee/"] == encode(contract_address("callee"))
    assert writes[b"c/callee/total/"] == encode(7)
    assert writes[b"k/callee/source"] == CALLEE
    assert writes[b"k/#address/" + contract_address("callee")] == b"callee"
    assert list(writes) == sorted(writes)
    assert parse_block_outcome(outcome.to_bytes()) == outcome


@pytest.mark.parametrize(
    ("source", "arguments", "code"),
    [
        (b"x = 1.5", (), "FLOAT"),
        (CALLEE, (), "ARGUMENTS"),
        (CALLEE, (b"short",), "ARGUMENTS"),
        (CLOCK, (1,), "ARGUMENTS"),
    ],
)
def test_a_genesis_that_cannot_start_says_why(source: bytes, arguments: tuple[Any, ...], code: str) -> None:
    """A refused source or a failing @init is an outcome with a code."""
    contract = GenesisContract(name="it", source=source.decode(), arguments=arguments)
    (outcome,) = Runtime().execute_genesis([contract], 0, bytes(32)).calls
    assert (outcome.status, outcome.code) == ("error", code)


def test_an_endless_init_ends() -> None:
    """Out of gas, as a call does."""
    source = "from contracts import Contract, init\n\n\nclass It(Contract):\n    @init\n    def setup(self) -> None:\n"
    contract = GenesisContract(name="it", source=source + "        while True:\n            pass\n", arguments=())
    (outcome,) = Runtime().execute_genesis([contract], 0, bytes(32)).calls
    assert (outcome.status, outcome.gas_used) == ("out_of_gas", GENESIS_INIT_GAS_MAX)


def test_the_largest_network_begins_with_a_tenth_of_the_gas() -> None:
    """Every @init of the standard contracts, with as many founders as a network can have."""
    founders = [("f" * 60 + f"{number:04}", number.to_bytes(32, "big")) for number in range(MEMBERS_MAX)]
    contracts = genesis_contracts(founders, [key for _, key in founders])
    for outcome in Runtime().execute_genesis(contracts, 1_000, bytes(32)).calls:
        assert outcome.status == "ok" and outcome.gas_used < GENESIS_INIT_GAS_MAX // 10


def test_a_block_is_the_same_on_a_fresh_runtime(chain: Chain, caller: Any) -> None:
    """Nothing that decides an outcome lives in the runtime between blocks."""
    calls = tuple(
        Call(
            tx_id=bytes([n]) * 32,
            sender=SENDER,
            contract="caller",
            method="relay" if n % 3 else "relay_fail",
            arguments=encode([]),
            gas_limit=100_000,
        )
        for n in range(6)
    )
    plan = plan_of(chain, *calls)
    used = chain.runtime.execute_block(plan, chain.state)
    fresh = Runtime().execute_block(plan, MemoryState(chain.state))
    assert used == fresh
    assert [call.status for call in used.calls] == ["reverted", "ok", "ok", "reverted", "ok", "ok"]


def test_an_invariant_is_checked_after_each_block(chain: Chain) -> None:
    """The kit fails a test whose contract breaks its own rule."""
    broken = CALLEE.replace(b"self.total >= 0", b"self.total < 7")
    with pytest.raises(CallFailedError):
        chain.deploy(CALLEE, "not an address")
    contract = chain.deploy(broken, owner=SENDER, name="broken")
    with pytest.raises(AssertionError, match="total_is_not_negative"):
        contract.note(*GOOD, sender=SENDER)


def test_a_snapshot_is_undone(chain: Chain, callee: Any) -> None:
    """What a test tries inside leaves the chain as it was."""
    with chain.snapshot():
        callee.note(*GOOD, sender=SENDER)
        assert callee.seen_by(SENDER) == 1
    assert callee.seen_by(SENDER) == 0
