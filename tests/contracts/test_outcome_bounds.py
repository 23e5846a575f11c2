"""What a block may leave is bounded by its gas, so that every outcome of a legal block can be read (D53, D54).

An outcome above `OUTCOME_BYTES_MAX` would be nobody's answer on any replica, and all of them would stop executing. The
bound is a theorem in three steps, each computed here from the named constants: a unit of gas leaves at most one byte; a
call leaves at most `CALL_BYTES_MAX` besides; and the largest block of any configuration stays below the limit."""

from collections.abc import Iterator

import pytest

from contracts.compiler import Weave, compile_source, weave_contract
from contracts.gas import (
    EVENT_BYTES_MAX,
    GAS,
    KEY_BYTES_MAX,
    RESULT_BYTES_MAX,
    VALUE_BYTES_MAX,
    compute_key_cost,
    compute_run_cost,
)
from contracts.host import PARKED_PREFIX, SCHEDULE_PREFIX, schedule_key
from contracts.language import CODE_CHARS_MAX
from contracts.overlay import READ_BYTES_KEPT_MAX, Overlay
from contracts.runtime import RETRIES_MAX, Runtime
from contracts.testing import Chain, MemoryState
from contracts.walker import walk_contract
from ledger.configuration import EXECUTION_GAS_MAX, PARAMETER_BOUNDS, ProtocolParameters
from ledger.encoding import encode
from ledger.errors import InvalidGenesis
from ledger.execution import (
    OUTCOME_BYTES_MAX,
    BlockOutcome,
    BlockPlan,
    Call,
    CallOutcome,
    ScheduledOutcome,
    parse_block_outcome,
)
from ledger.transaction import TIME_MAX_S, Event
from pbft.node.helper_messages import MESSAGE_BYTES_MAX

SENDER = b"\x01" * 32
NAME_CHARS_MAX = 64
"""Of a field or an event; the name of a contract is shorter."""
CALL_BYTES_MAX = 200
"""What a call leaves in an outcome at most, whatever it pays: its row, code, place among codes, head of its result."""
EVENT_ROW_BYTES = 4
"""Of an event in an outcome, besides its name and its fields."""
VEC_INDEX_BYTES_MAX = 9
"""What the place of a row's element may be longer than a key."""
NUMBER_MAX = 2**63 - 1
SIZES = [0, 1, 2, 30, 31, 32, 33, 95, 96, 97, 98, 254, 255, 256, 257, 400, 4_096, 65_534, 65_535, 65_536]
"""Where heads of the encoding grow, and the limits."""


def size_of(*values: object) -> int:
    """Bytes of these values inside an outcome."""
    return sum(len(encode(value)) for value in values)


# --- a unit of gas leaves at most one byte ---


@pytest.mark.parametrize("length", range(1, KEY_BYTES_MAX + VEC_INDEX_BYTES_MAX + 1))
def test_a_write_and_a_delete_pay_for_what_they_leave(length: int) -> None:
    """Key and value, each with its head."""
    key = bytes(length)
    for size in (size for size in SIZES if 1 <= size <= VALUE_BYTES_MAX):
        paid = GAS.storage_write + compute_key_cost(key) + GAS.storage_write_byte * size
        assert size_of(key, bytes(size)) <= paid
    assert size_of(key, None) <= GAS.storage_delete + compute_key_cost(key)


def test_an_event_pays_for_what_it_leaves() -> None:
    """The names are free, and the least event runs at least a statement."""
    tree = compile_source(
        b"from contracts import Contract, Event, emit, external\n\n\nclass E(Event):\n    a: int\n\n\n"
        b"class C(Contract):\n    @external\n    def run(self) -> None:\n        emit(E(1))\n"
    )
    (run,) = tree.functions
    static = sum(map(compute_run_cost, run.body.children))
    for size in (size for size in SIZES if 1 <= size <= EVENT_BYTES_MAX):
        paid = static + GAS.event + GAS.event_byte * size
        name = ["c" * 32, "E" * NAME_CHARS_MAX]
        assert EVENT_ROW_BYTES + size_of(name, bytes(size)) <= paid  # no other event of the block has the name
        assert size_of([*name, bytes(size)]) <= paid  # in its receipt


def test_a_result_pays_for_what_it_leaves() -> None:
    """A unit for each byte; the head of the bytes belongs to the call."""
    assert GAS.result_byte >= 1 and RESULT_BYTES_MAX <= VALUE_BYTES_MAX


def test_a_schedule_a_configuration_and_code_pay_for_what_they_leave() -> None:
    """What the runtime writes itself: the keys are its own and short."""
    for size in SIZES:
        key, counter = schedule_key(TIME_MAX_S, NUMBER_MAX), size_of(b"m/next_call", bytes(8))
        assert size_of(key, bytes(size)) + counter <= GAS.schedule + GAS.storage_write_byte * size
        document = size_of(bytes(10), [NUMBER_MAX, bytes(size)]) + 5
        assert document <= GAS.configuration + GAS.storage_write_byte * size
        name, digest = b"c" * 32, bytes(32)
        around = size_of(b"k/" + name + b"/source", b"k/" + name + b"/hash", digest, b"k/#tree/" + digest)
        around += size_of(b"k/#address/" + digest, name, b"k/" + name + b"/version/" + bytes(8), bytes(2 + 34))
        around += size_of(b"k/#size", bytes(24))
        assert around + size_of(bytes(size)) <= GAS.deploy + GAS.deploy_byte * size
        assert size_of(bytes(size)) <= GAS.storage_write + GAS.deploy_tree_byte * size


# --- what a call leaves besides ---


def outcome_of_one(outcome: CallOutcome, *, scheduled: bool, writes: object = ()) -> int:
    """Bytes of a block's outcome with this call alone in it."""
    run = ScheduledOutcome(due=TIME_MAX_S, call_id=NUMBER_MAX, outcome=outcome)
    return len(
        BlockOutcome(
            scheduled=(run,) if scheduled else (),
            calls=() if scheduled else (outcome,),
            writes=writes,  # type: ignore[arg-type]
            next_due=TIME_MAX_S,
        ).to_bytes()
    )


PLACE_BYTES = 4
"""The place of a call with a code takes up to five bytes in a block of many calls, one in a block of one."""


@pytest.mark.parametrize("scheduled", [True, False])
def test_a_call_leaves_little_besides_what_it_pays_for(scheduled: bool) -> None:
    """And a scheduled call always pays for that: the first thing that it costs is more, and it never has less gas."""
    failed = CallOutcome("reverted", "A" * CODE_CHARS_MAX, NUMBER_MAX, encode("f" * NAME_CHARS_MAX), ())
    assert outcome_of_one(failed, scheduled=scheduled) + PLACE_BYTES <= CALL_BYTES_MAX
    event = Event(contract="c", name="E", fields=b"\x80")
    worked = CallOutcome("ok", "", NUMBER_MAX, bytes(RESULT_BYTES_MAX), (event,))
    paid = RESULT_BYTES_MAX + size_of([event.contract, event.name, event.fields])
    assert outcome_of_one(worked, scheduled=scheduled) + PLACE_BYTES - paid <= CALL_BYTES_MAX
    assert CALL_BYTES_MAX <= GAS.transaction <= PARAMETER_BOUNDS["transaction_gas_max"][0]


def test_what_becomes_of_a_scheduled_calls_record_is_counted() -> None:
    """The record goes, is written again, or is parked: at most its bytes more than a failed call leaves anyway."""
    key, place = schedule_key(TIME_MAX_S, NUMBER_MAX), PARKED_PREFIX + bytes(16)
    failed = CallOutcome("reverted", "A" * CODE_CHARS_MAX, NUMBER_MAX, encode(None), ())
    for size in (size for size in SIZES if size <= VALUE_BYTES_MAX):
        writes = ((place, bytes(size)), (key, None))
        left = outcome_of_one(failed, scheduled=True, writes=writes) + PLACE_BYTES
        assert left <= GAS.transaction + size


# --- the largest block of any configuration ---


def test_no_configuration_allows_a_block_whose_outcome_cannot_be_read() -> None:
    """With a fifth to spare. A scheduled call begins when its whole limit is left, so only one record goes beyond."""
    calls = PARAMETER_BOUNDS["batch_requests_max"][1]
    largest = EXECUTION_GAS_MAX + calls * CALL_BYTES_MAX + VALUE_BYTES_MAX + CALL_BYTES_MAX
    assert largest <= OUTCOME_BYTES_MAX * 4 // 5
    assert OUTCOME_BYTES_MAX < MESSAGE_BYTES_MAX
    for name in ("block_gas_max", "scheduled_gas_max"):
        assert PARAMETER_BOUNDS[name][1] <= EXECUTION_GAS_MAX


def test_both_kinds_of_gas_are_bounded_together() -> None:
    """Each alone may be large; both may not."""
    half = EXECUTION_GAS_MAX // 2
    ProtocolParameters(block_gas_max=half, scheduled_gas_max=half)
    with pytest.raises(InvalidGenesis) as refused:
        ProtocolParameters(block_gas_max=half, scheduled_gas_max=half + 1)
    assert refused.value.fields == {"expected_max": EXECUTION_GAS_MAX, "got": EXECUTION_GAS_MAX + 1}


# --- attacks, at a fiftieth of the limits ---

ATTACKS = """from contracts import Contract, Event, Indexed, Map, ctx, emit, external, schedule, scheduled

K = "{key}"
T = "{text}"


class {event}(Event):
    n: int


class Attack(Contract):
    m: Map[tuple[str, int], int]
    big: Map[int, str]

    @external
    def plan_late(self, count: int) -> None:
        for n in range(count):
            schedule(ctx.time + 1, "late")

    @external
    def plan_gone(self, count: int, row: list[str]) -> None:
        for n in range(count):
            schedule(ctx.time + 1, "gone", row)

    @scheduled
    def late(self) -> list[str]:
        return [T for n in range(15)]

    @scheduled
    def gone(self, row: list[str]) -> None:
        pass

    @external
    def results(self) -> list[str]:
        return [T for n in range(15)]

    @external
    def write(self, first: int, last: int) -> None:
        for i in range(first, last):
            self.m[(K, i)] = 1

    @external
    def delete(self, first: int, last: int) -> None:
        for i in range(first, last):
            del self.m[(K, i)]

    @external
    def events(self, count: int) -> None:
        for n in range(count):
            emit({event}(n))
""".format(key="k" * 350, text="t" * 4_096, event="E" * 64).encode()

BLOCK_GAS = 400_000
SCHEDULED_GAS = 400_000
CALL_GAS = 100_000


@pytest.fixture(params=[weave_contract, walk_contract], ids=["closures", "definition"])
def attacked(request: pytest.FixtureRequest) -> Chain:
    """A chain with the contract of attacks."""
    weave: Weave = request.param
    chain = Chain()
    chain.runtime = Runtime(weave=weave)
    chain.deploy(ATTACKS, name="a" * 32)
    return chain


def run_block(chain: Chain, *calls: tuple[object, ...], seconds: int = 0) -> BlockOutcome:
    """One block of these (method, arguments...), within the scaled limits."""
    chain.height += 1
    chain.time += seconds
    gas = BLOCK_GAS // max(len(calls), 1)
    plan = BlockPlan(
        height=chain.height,
        time_ms=chain.time * 1_000,
        network=chain.network,
        epoch=0,
        window=8,
        calls=tuple(
            Call(n.to_bytes(32, "big"), SENDER, "a" * 32, str(method), encode(list(arguments)), gas)
            for n, (method, *arguments) in enumerate(calls)
        ),
        transaction_gas_max=CALL_GAS,
        scheduled_gas_max=SCHEDULED_GAS,
    )
    outcome = chain.runtime.execute_block(plan, chain.state)
    for key, value in outcome.writes:
        if value is None:
            del chain.state[key]
        else:
            chain.state[key] = value
    require_bounded(outcome, calls=len(calls))
    return outcome


def require_bounded(outcome: BlockOutcome, *, calls: int) -> None:
    """The theorem, for one block."""
    data = outcome.to_bytes()
    assert len(data) <= BLOCK_GAS + SCHEDULED_GAS + VALUE_BYTES_MAX + (calls + 1) * CALL_BYTES_MAX
    assert parse_block_outcome(data) == outcome


def test_results_of_scheduled_calls_are_bounded(attacked: Chain) -> None:
    """Each result of 60 kB was 8,000 gas: fifty of them in this block, eleven hundred in a whole one."""
    for _ in range(5):
        assert [call.status for call in run_block(attacked, ("plan_late", 10)).calls] == ["ok"]
    ran = run_block(attacked, seconds=1).scheduled
    assert 1 < len(ran) < 10 and {run.outcome.status for run in ran} == {"ok"}


def test_records_of_scheduled_calls_that_fail_are_bounded(attacked: Chain) -> None:
    """A call whose method is gone pays little for its record, which is written again and at last parked."""
    for _ in range(20):
        outcome = run_block(attacked, ("plan_gone", 1, ["t" * 32_000]))
        assert [call.status for call in outcome.calls] == ["ok"]
    attacked.upgrade(attacked.contracts["a" * 32], ATTACKS.replace(b"gone", b"went"))
    waiting = {key: value for key, value in attacked.state.items() if key.startswith(SCHEDULE_PREFIX)}
    parked = 0
    for _ in range(3 * (RETRIES_MAX + 1)):
        run = run_block(attacked, seconds=1)
        assert all(item.outcome.code == "METHOD" for item in run.scheduled)
        parked += sum(key.startswith(PARKED_PREFIX) for key, _ in run.writes)
    assert parked == len(waiting) == 20


def test_results_of_calls_are_bounded(attacked: Chain) -> None:
    """Of transactions too."""
    outcome = run_block(attacked, *[("results",)] * 30)
    assert {call.status for call in outcome.calls} == {"out_of_gas"}
    assert [call.status for call in run_block(attacked, *[("results",)] * 5).calls] == ["ok"] * 5


def test_long_keys_are_bounded(attacked: Chain) -> None:
    """A deleted key left 3.4 bytes for a unit of gas, a written one 1.6."""
    for first in (0, 500, 1_000, 1_500):
        outcome = run_block(attacked, ("write", first, first + 500))
        assert [call.status for call in outcome.calls] == ["ok"]
    outcome = run_block(attacked, ("delete", 0, 2_000))
    assert [call.status for call in outcome.calls] == ["out_of_gas"]
    outcome = run_block(attacked, ("delete", 0, 900))
    assert [call.status for call in outcome.calls] == ["ok"] and len(outcome.writes) == 900


def test_events_are_bounded(attacked: Chain) -> None:
    """Of the longest names and the least fields: nearly what is paid for in receipts, less in the outcome."""
    outcome = run_block(attacked, *[("events", 256)] * 12)
    assert {call.status for call in outcome.calls} == {"ok"}
    in_receipts = sum(len(event.to_bytes()) for call in outcome.calls for event in call.events)
    assert len(outcome.to_bytes()) < in_receipts
    assert 0.8 * sum(call.gas_used for call in outcome.calls) < in_receipts


# --- what a block holds in memory while it runs ---


class CountedState(MemoryState):
    """Counts the records that were read."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See `StateReader`."""
        for item in super().scan(prefix):
            self.read += 1
            yield item

    read = 0


def test_only_the_scheduled_calls_that_run_are_read(attacked: Chain) -> None:
    """Ten thousand large records may be due: those that wait for the next block are not loaded in this one."""
    for _ in range(10):
        run_block(attacked, ("plan_late", 10))
    state = attacked.state = CountedState(attacked.state)
    ran = run_block(attacked, seconds=1).scheduled
    assert len(ran) > 1
    # Each of them, the one that does not fit any more, and for the next due time each of them again and one.
    assert state.read == 2 * (len(ran) + 1)


def test_what_was_only_read_is_forgotten_before_it_fills_the_memory() -> None:
    """Whatever is forgotten, the block sees the same; what it wrote, and can undo, is kept."""
    large = bytes(READ_BYTES_KEPT_MAX // 10)  # one object for all keys: the overlay counts what it was given
    state = MemoryState({bytes([n]): large for n in range(100)} | {b"\x06": b"six"})
    overlay = Overlay(state)
    overlay.get(b"\x05")
    overlay.put(b"\x05", b"new")
    mark = overlay.mark()
    overlay.put(b"\x06", None)
    overlay.put(b"\x05", b"newer")
    for n in range(100):
        assert overlay.get(bytes([n])) == {5: b"newer", 6: None}.get(n, large)
        assert len(overlay._known) <= 12
    overlay.rollback(mark)
    assert (overlay.get(b"\x05"), overlay.get(b"\x06")) == (b"new", b"six")
    assert overlay.collect_writes() == ((b"\x05", b"new"),)


BLOB = b"""from contracts import Contract, Indexed, Map, external


class Blob(Contract):
    m: Indexed[Map[int, str]]

    @external
    def put(self, n: int, text: str) -> None:
        self.m[n] = text

    @external
    def look(self, n: int) -> bool:
        return n in self.m

    @external
    def drop(self, n: int) -> None:
        del self.m[n]

    @external
    def walk(self, n: int) -> int:
        return len(self.m.keys())
"""


@pytest.mark.parametrize("weave", [weave_contract, walk_contract])
@pytest.mark.parametrize("method", ["look", "drop", "walk"])
def test_a_value_that_is_looked_up_is_paid_by_its_size(method: str, weave: Weave) -> None:
    """`in`, `del` and a walk over keys bring the whole value into memory, as reading it does."""
    chain = Chain()
    chain.runtime = Runtime(weave=weave)
    blob = chain.deploy(BLOB)
    used = []
    for text in ("", "t" * 20_002):
        chain.call(blob, "put", 1, text, sender=SENDER)
        used.append(chain.call(blob, method, 1, sender=SENDER).gas)
    assert used[1] - used[0] == 20_005 // GAS.storage_read_bytes


LONG = """from contracts import Address, Contract, Ledger, Map, Vec, external


class Long(Contract):
    {number}: int
    {map}: Map[Address, int]
    {rows}: Map[str, Vec[int]]
    {cash}: Ledger

    @external
    def set_number(self) -> None:
        self.{number} = 1

    @external
    def set_entry(self, a: Address) -> None:
        self.{map}[a] = 1

    @external
    def add(self, a: Address) -> None:
        self.{map}[a] += 1

    @external
    def drop(self, a: Address) -> None:
        del self.{map}[a]

    @external
    def append(self, key: str) -> None:
        self.{rows}[key].append(1)

    @external
    def pop(self, key: str) -> None:
        self.{rows}[key].pop()

    @external
    def mint(self, key: str) -> None:
        self.{cash}.mint(key, 1)
"""
KINDS = ("number", "map", "rows", "cash")
CALLS: tuple[tuple[str, tuple[object, ...], tuple[int, ...]], ...] = (
    # The method, its arguments, and of each key that it writes or deletes, the bytes after the field's prefix.
    ("set_number", (), (0,)),
    ("set_entry", (SENDER,), (34,)),
    ("add", (SENDER,), (34,)),
    ("drop", (SENDER,), (34,)),
    ("append", ("k" * 200,), (203, 203)),
    ("pop", ("k" * 200,), (203, 203)),
    ("mint", ("k" * 200,), (202, 1)),
)


@pytest.mark.parametrize("weave", [weave_contract, walk_contract])
def test_every_write_and_delete_pays_for_its_key(weave: Weave) -> None:
    """The same calls on fields with short names and with long ones: they differ by the bytes beyond what is free."""
    gas: list[dict[str, int]] = []
    prefixes = []
    for width in (8, 64):
        chain = Chain()
        chain.runtime = Runtime(weave=weave)
        fields = {kind: kind + "x" * (width - len(kind)) for kind in KINDS}
        contract = chain.deploy(LONG.format(**fields).encode(), name="c" * 32)
        gas.append({method: chain.call(contract, method, *given, sender=SENDER).gas for method, given, _ in CALLS})
        prefixes.append(len("c//") + 32 + width + 1)
    for method, _, after in CALLS:
        short, long = (sum(compute_key_cost(bytes(prefix + part)) for part in after) for prefix in prefixes)
        assert gas[1][method] - gas[0][method] == long - short > 0, method
