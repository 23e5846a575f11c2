"""What the chain asks of the contract runtime and gets back: plain data with canonical bytes, both ways.

They cross a process boundary (D17), so each has `to_bytes` and a total parser. The chain decides what is called, in
which order, at which agreed time; the runtime decides what the calls do. Neither imports the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from ledger.block import TIME_MAX_MS
from ledger.encoding import Value, decode, encode
from ledger.hashing import HASH_BYTES, PUBLIC_KEY_BYTES, Tag, tagged_hash
from ledger.shapes import expect_array, expect_bytes, expect_int, expect_name, expect_str
from ledger.transaction import TIME_MAX_S, Event, expect_status, parse_events

PLAN_BYTES_MAX: Final = 16 * 1024 * 1024
OUTCOME_BYTES_MAX: Final = 64 * 1024 * 1024
"""What one block may write is bounded by its gas; genesis deploys every standard contract in one outcome."""

_INT_MAX: Final = 2**63 - 1


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
    return tagged_hash(Tag.SCHEDULED_CALL, *(number.to_bytes(8, "big") for number in (height, due, call_id)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One transaction's call, already judged as not used, not expired and in order."""

    tx_id: bytes
    sender: bytes  # 32 bytes
    contract: str
    method: str
    arguments: bytes  # canonical bytes of an array
    gas_limit: int
    private_values: tuple[bytes, ...] = ()  # of the verified payload, each canonical bytes, without their salts (D50)


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
        """Canonical bytes."""
        calls = [
            (c.tx_id, c.sender, c.contract, c.method, c.arguments, c.gas_limit, c.private_values) for c in self.calls
        ]
        limits = (self.transaction_gas_max, self.scheduled_gas_max)
        return encode((self.height, self.time_ms, self.network, self.epoch, self.window, calls, *limits))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcome:
    """What a call did, apart from its writes."""

    status: str  # ok, reverted, out_of_gas or error
    code: str  # "" for ok
    gas_used: int
    result: bytes  # canonical bytes of the returned value
    events: tuple[Event, ...]


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
        """Canonical bytes."""
        scheduled = [(item.due, item.call_id, *_outcome_fields(item.outcome)) for item in self.scheduled]
        return encode((scheduled, [_outcome_fields(call) for call in self.calls], self.writes, self.next_due))


def _outcome_fields(outcome: CallOutcome) -> tuple[object, ...]:
    events = [(event.contract, event.name, event.fields) for event in outcome.events]
    return (outcome.status, outcome.code, outcome.gas_used, outcome.result, events)


def parse_block_plan(data: bytes) -> BlockPlan:
    """A plan from its canonical bytes. Raises EncodingError."""
    fields = expect_array(decode(data, max_bytes=PLAN_BYTES_MAX), "plan", 8)
    return BlockPlan(
        height=expect_int(fields[0], "height", 0, _INT_MAX),
        time_ms=expect_int(fields[1], "time_ms", 0, TIME_MAX_MS),
        network=expect_bytes(fields[2], "network", HASH_BYTES),
        epoch=expect_int(fields[3], "epoch", 0, _INT_MAX),
        window=expect_int(fields[4], "window", 0, _INT_MAX),
        calls=tuple(_parse_call(item) for item in expect_array(fields[5], "calls")),
        transaction_gas_max=expect_int(fields[6], "transaction_gas_max", 0, _INT_MAX),
        scheduled_gas_max=expect_int(fields[7], "scheduled_gas_max", 0, _INT_MAX),
    )


def _parse_call(value: Value) -> Call:
    fields = expect_array(value, "call", 7)
    return Call(
        tx_id=expect_bytes(fields[0], "tx_id", HASH_BYTES),
        sender=expect_bytes(fields[1], "sender", PUBLIC_KEY_BYTES),
        contract=expect_name(fields[2], "contract"),
        method=expect_name(fields[3], "method"),
        arguments=expect_bytes(fields[4], "arguments"),
        gas_limit=expect_int(fields[5], "gas_limit", 0, _INT_MAX),
        private_values=tuple(expect_bytes(item, "value") for item in expect_array(fields[6], "private values")),
    )


def parse_block_outcome(data: bytes) -> BlockOutcome:
    """An outcome from its canonical bytes. Raises EncodingError."""
    fields = expect_array(decode(data, max_bytes=OUTCOME_BYTES_MAX), "outcome", 4)
    due = fields[3]
    return BlockOutcome(
        scheduled=tuple(_parse_scheduled(item) for item in expect_array(fields[0], "scheduled")),
        calls=tuple(_parse_outcome(expect_array(item, "call", 5)) for item in expect_array(fields[1], "calls")),
        writes=tuple(_parse_write(item) for item in expect_array(fields[2], "writes")),
        next_due=None if due is None else expect_int(due, "next_due", 0, TIME_MAX_S),
    )


def _parse_scheduled(value: Value) -> ScheduledOutcome:
    fields = expect_array(value, "scheduled", 7)
    return ScheduledOutcome(
        due=expect_int(fields[0], "due", 0, TIME_MAX_S),
        call_id=expect_int(fields[1], "call_id", 0, _INT_MAX),
        outcome=_parse_outcome(fields[2:]),
    )


def _parse_outcome(fields: list[Value]) -> CallOutcome:
    return CallOutcome(
        status=expect_status(fields[0]),
        code=expect_str(fields[1], "code", 64),
        gas_used=expect_int(fields[2], "gas_used", 0, _INT_MAX),
        result=expect_bytes(fields[3], "result"),
        events=parse_events(fields[4]),
    )


def _parse_write(value: Value) -> tuple[bytes, bytes | None]:
    key, written = expect_array(value, "write", 2)
    return expect_bytes(key, "key"), None if written is None else expect_bytes(written, "value")
