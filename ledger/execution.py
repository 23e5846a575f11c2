"""What the chain asks of the contract runtime and gets back: plain data with canonical bytes, both ways.

They cross a process boundary (D17), so each has `to_bytes` and a total parser. The chain decides what is called, in
which order, at which agreed time; the runtime decides what the calls do. Neither imports the other.

A block has hundreds of calls of the same form, so both messages hold them by column and not one by one: what has a
fixed size is one row of a byte string, what most calls have is an array, and what few have is an array of
[place, value], places ascending. A reader then takes few steps for each call, and each message still has one form.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from operator import ge
from struct import Struct
from typing import Any, Final, NamedTuple, Protocol

from ledger.block import TIME_MAX_MS
from ledger.encoding import Value, decode, encode
from ledger.errors import EncodingError
from ledger.hashing import HASH_BYTES, PUBLIC_KEY_BYTES, Tag, tagged_hash
from ledger.shapes import expect_array, expect_bytes, expect_int, expect_name, expect_str
from ledger.transaction import STATUSES, TIME_MAX_S, Event, make_event

PLAN_BYTES_MAX: Final = 16 * 1024 * 1024
OUTCOME_BYTES_MAX: Final = 64 * 1024 * 1024
"""What one block may leave is bounded by its gas (`ledger.configuration.EXECUTION_GAS_MAX`), with a fifth of this to
spare; genesis has no gas limit of its own and deploys every standard contract in one outcome."""

_INT_MAX: Final = 2**63 - 1
_CALL_ROW: Final = Struct(f">{HASH_BYTES}s{PUBLIC_KEY_BYTES}sQI")
"""Of a call: transaction id, sender, gas limit, and the place of its (contract, method) among the block's."""
_CALL_ROW_PLACE: Final = Struct(f">{_CALL_ROW.size - 4}xI")
"""The last field of a call alone."""
_OUTCOME_ROW: Final = Struct(">BQH")
"""Of an outcome: the place of its status in `STATUSES`, gas used, number of events."""
_EVENT_ROW: Final = Struct(">I")
"""Of an event: the place of its (contract, name) among the block's."""


class StateReader(Protocol):
    """A consistent view of the world state."""

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, None if absent."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) whose key starts with `prefix`, keys ascending."""
        ...


def contract_address(name: str) -> bytes:
    """The 32-byte address of a contract."""
    return tagged_hash(Tag.CONTRACT_ADDRESS, name.encode())


def scheduled_call_id(height: int, due: int, call_id: int) -> bytes:
    """What stands for the transaction id in the receipt of a scheduled call run at `height`."""
    return tagged_hash(Tag.SCHEDULED_CALL, *[number.to_bytes(8, "big") for number in (height, due, call_id)])


class Call(NamedTuple):
    """One transaction's call, already judged as not used, not expired and in order."""

    tx_id: bytes
    sender: bytes  # 32 bytes
    contract: str
    method: str
    arguments: bytes  # canonical bytes of an array
    gas_limit: int
    private_values: tuple[bytes, ...] = ()  # of the verified payload, each canonical bytes, without their salts (D50)


make_call: Final[Callable[[tuple[bytes, bytes, str, str, bytes, int, tuple[bytes, ...]]], Call]] = partial(
    tuple.__new__, Call
)
"""A call from all its fields in their order: what `Call` itself does, in a third of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlan:
    """All that the execution of one block depends on, besides the state below it."""

    height: int
    time_ms: int  # agreed time
    network: bytes
    epoch: int
    window: int  # L: a change that this block decides ends the epoch at height + window (D40)
    calls: tuple[Call, ...]
    transaction_gas_max: int
    scheduled_gas_max: int

    def to_bytes(self) -> bytes:
        """Canonical bytes: the block's own fields, and of its calls methods, rows, arguments, private values."""
        methods: dict[tuple[str, str], int] = {}
        rows = [
            _CALL_ROW.pack(tx_id, sender, gas_limit, methods.setdefault((contract, method), len(methods)))
            for tx_id, sender, contract, method, _, gas_limit, _ in self.calls
        ]
        arguments = [call.arguments for call in self.calls]
        private = [(place, call.private_values) for place, call in enumerate(self.calls) if call.private_values]
        block = (self.height, self.time_ms, self.network, self.epoch, self.window)
        limits = (self.transaction_gas_max, self.scheduled_gas_max)
        return encode((*block, *limits, list(methods), b"".join(rows), arguments, private))


class CallOutcome(NamedTuple):
    """What a call did, apart from its writes."""

    status: str  # ok, reverted, out_of_gas or error
    code: str  # "" for ok
    gas_used: int
    result: bytes  # canonical bytes of the returned value
    events: tuple[Event, ...]


make_call_outcome: Final[Callable[[tuple[str, str, int, bytes, tuple[Event, ...]]], CallOutcome]] = partial(
    tuple.__new__, CallOutcome
)
"""An outcome from all its fields in their order, like `make_call`: a block has one for each call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledOutcome:
    """A scheduled call that ran at the start of the block."""

    due: int  # seconds UTC
    call_id: int
    outcome: CallOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockOutcome:
    """What a block did: one outcome per scheduled call run, one per planned call, and the sum of all writes."""

    scheduled: tuple[ScheduledOutcome, ...]
    calls: tuple[CallOutcome, ...]  # in the order of the plan
    writes: tuple[tuple[bytes, bytes | None], ...]  # ascending keys, each once; None deletes
    next_due: int | None  # seconds: the earliest due under the key space s/ after the writes

    def to_bytes(self) -> bytes:
        """Canonical bytes: what ran by schedule, then rows, codes, results, and events (names,
        rows, fields) of those calls and the planned."""
        outcomes = [*[run.outcome for run in self.scheduled], *self.calls]
        place_of = STATUSES.index
        return encode(
            (
                [(run.due, run.call_id) for run in self.scheduled],
                b"".join(
                    [
                        _OUTCOME_ROW.pack(place_of(status), gas_used, len(events))
                        for status, _, gas_used, _, events in outcomes
                    ]
                ),
                [(place, outcome.code) for place, outcome in enumerate(outcomes) if outcome.code],
                [outcome.result for outcome in outcomes],
                *_event_columns(outcomes),
                [key for key, _ in self.writes],
                [value for _, value in self.writes],
                self.next_due,
            )
        )


def _event_columns(outcomes: Sequence[CallOutcome]) -> tuple[list[tuple[str, str]], bytes, list[bytes]]:
    """The (contract, name) that events have, in the order of their first; a row and the fields of each event."""
    names: dict[tuple[str, str], int] = {}
    events = [event for outcome in outcomes for event in outcome.events]
    rows = [_EVENT_ROW.pack(names.setdefault((contract, name), len(names))) for contract, name, _ in events]
    return list(names), b"".join(rows), [event.fields for event in events]


def parse_block_plan(data: bytes) -> BlockPlan:
    """A plan from its canonical bytes. Raises EncodingError."""
    fields = expect_array(decode(data, max_bytes=PLAN_BYTES_MAX), "plan", 11)
    return BlockPlan(
        height=expect_int(fields[0], "height", 0, _INT_MAX),
        time_ms=expect_int(fields[1], "time_ms", 0, TIME_MAX_MS),
        network=expect_bytes(fields[2], "network", HASH_BYTES),
        epoch=expect_int(fields[3], "epoch", 0, _INT_MAX),
        window=expect_int(fields[4], "window", 0, _INT_MAX),
        transaction_gas_max=expect_int(fields[5], "transaction_gas_max", 0, _INT_MAX),
        scheduled_gas_max=expect_int(fields[6], "scheduled_gas_max", 0, _INT_MAX),
        calls=_parse_calls(fields[7], fields[8], fields[9], fields[10]),
    )


def _parse_calls(methods: Value, row_bytes: Value, argument_list: Value, private: Value) -> tuple[Call, ...]:
    named = [_parse_method(item) for item in expect_array(methods, "methods")]
    arguments = _expect_column(argument_list, "arguments", bytes)
    rows = expect_bytes(row_bytes, "rows", _CALL_ROW.size * len(arguments))
    values = {
        place: tuple(_expect_column(item, "private values", bytes))
        for place, item in _parse_sparse(private, "private values", len(arguments))
    }
    if () in values.values():
        raise EncodingError("shape", "private values: none at all take no place")
    # Methods stand in the order of their first call, each once: a plan has one form.
    places = [place for (place,) in _CALL_ROW_PLACE.iter_unpack(rows)]
    if list(dict.fromkeys(places)) != list(range(len(named))) or len({*named}) != len(named):
        raise EncodingError("shape", "methods: not those of the calls, each once, in the order of the calls")
    count = len(arguments)
    private_values = [values.get(place, ()) for place in range(count)] if values else repeat((), count)
    columns = zip(_CALL_ROW.iter_unpack(rows), arguments, private_values, strict=True)
    calls = tuple(
        [
            make_call((tx_id, sender, named[place][0], named[place][1], encoded, gas_limit, own_values))
            for (tx_id, sender, gas_limit, place), encoded, own_values in columns
        ]
    )
    if any(call.gas_limit > _INT_MAX for call in calls):
        raise EncodingError("shape", "gas_limit: out of range", expected_max=_INT_MAX)
    return calls


def _parse_method(value: Value) -> tuple[str, str]:
    contract, method = expect_array(value, "method", 2)
    return expect_name(contract, "contract"), expect_name(method, "method")


def parse_block_outcome(data: bytes) -> BlockOutcome:
    """An outcome from its canonical bytes. Raises EncodingError."""
    fields = expect_array(decode(data, max_bytes=OUTCOME_BYTES_MAX), "outcome", 10)
    ran = [_parse_scheduled(item) for item in expect_array(fields[0], "scheduled")]
    results = _expect_column(fields[3], "results", bytes)
    outcomes = _parse_outcomes(fields[1], fields[2], results, _parse_events(fields[4], fields[5], fields[6]))
    if len(outcomes) < len(ran):
        raise EncodingError("shape", "scheduled: more than there are outcomes")
    keys = _expect_column(fields[7], "keys", bytes)
    values = _expect_column(fields[8], "values", bytes, type(None))
    if len(keys) != len(values) or any(map(ge, keys, keys[1:])):
        raise EncodingError("shape", "writes: a value for each key, keys ascending", keys=len(keys), values=len(values))
    due = fields[9]
    return BlockOutcome(
        scheduled=tuple(
            ScheduledOutcome(due=due, call_id=call_id, outcome=outcome)
            for (due, call_id), outcome in zip(ran, outcomes, strict=False)
        ),
        calls=tuple(outcomes[len(ran) :]),
        writes=tuple(zip(keys, values, strict=True)),
        next_due=None if due is None else expect_int(due, "next_due", 0, TIME_MAX_S),
    )


def _parse_scheduled(value: Value) -> tuple[int, int]:
    due, call_id = expect_array(value, "scheduled", 2)
    return expect_int(due, "due", 0, TIME_MAX_S), expect_int(call_id, "call_id", 0, _INT_MAX)


def _parse_outcomes(
    row_bytes: Value, codes: Value, results: Sequence[bytes], events: Sequence[Event]
) -> list[CallOutcome]:
    count = len(results)
    rows = _split_rows(_OUTCOME_ROW, row_bytes, count)
    code_of = {place: expect_str(code, "code", 64) for place, code in _parse_sparse(codes, "codes", count)}
    if any(status >= len(STATUSES) or gas_used > _INT_MAX for status, gas_used, _ in rows):
        raise EncodingError("shape", "outcomes: a status or gas used out of range")
    if "" in code_of.values():
        raise EncodingError("shape", "outcomes: an empty code takes no place")
    if sum(row[2] for row in rows) != len(events):
        raise EncodingError("shape", "events: not as many as the outcomes have", got=len(events))
    outcomes: list[CallOutcome] = []
    at = 0
    for place, ((status, gas_used, event_count), result) in enumerate(zip(rows, results, strict=True)):
        own = tuple(events[at : at + event_count]) if event_count else ()
        at += event_count
        outcomes.append(make_call_outcome((STATUSES[status], code_of.get(place, ""), gas_used, result, own)))
    return outcomes


def _parse_events(names: Value, row_bytes: Value, field_list: Value) -> list[Event]:
    named = [_parse_event_name(item) for item in expect_array(names, "event names")]
    fields = _expect_column(field_list, "event fields", bytes)
    places = [place for (place,) in _split_rows(_EVENT_ROW, row_bytes, len(fields))]
    # Names stand in the order of their first event, each once: an outcome has one form.
    if list(dict.fromkeys(places)) != list(range(len(named))) or len({*named}) != len(named):
        raise EncodingError("shape", "event names: not those of the events, each once, in the order of the events")
    return [make_event((*named[place], data)) for place, data in zip(places, fields, strict=True)]


def _parse_event_name(value: Value) -> tuple[str, str]:
    contract, name = expect_array(value, "event name", 2)
    return expect_name(contract, "event contract"), expect_str(name, "event name", 64)


# --- columns ---


def _expect_column(value: Value, what: str, *kinds: type) -> list[Any]:
    """An array whose elements have these types."""
    column = expect_array(value, what)
    if not set(map(type, column)) <= {*kinds}:
        raise EncodingError("shape", f"{what}: an element of another type", expected=sorted(k.__name__ for k in kinds))
    return column


def _split_rows(row: Struct, value: Value, count: int) -> list[tuple[Any, ...]]:
    """The rows of a byte string that holds exactly `count` of them."""
    return list(row.iter_unpack(expect_bytes(value, "rows", row.size * count)))


def _parse_sparse(value: Value, what: str, count: int) -> Iterator[tuple[int, Value]]:
    """(place, value) of an array of those: places ascend, below `count`."""
    least = 0
    for item in expect_array(value, what):
        place, part = expect_array(item, what, 2)
        least = expect_int(place, f"{what}: place", least, count - 1) + 1
        yield least - 1, part
