"""A contract runtime of twenty lines at the `execution.Runtime` seam: deterministic, and honest about its effects.

Methods of contract `register`: `put(key, value)` stores; `add(key, number)` adds, so that executing twice shows;
`later(due)` schedules a call that counts itself; anything else reverts. A cluster runs the production runtime unless it
is given this one, which runs ten due calls a block and needs no contract source.
"""

from collections.abc import Sequence

from ledger.encoding import decode, encode
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome, ScheduledOutcome, StateReader
from ledger.genesis import GenesisContract

RUNS_KEY = b"c/register/runs"
NEXT_CALL_KEY = b"m/next-call"


class RegisterRuntime:
    """Executes calls of the `register` contract over a state reader."""

    def execute_block(self, plan: BlockPlan, state: StateReader) -> BlockOutcome:
        """Due scheduled calls first, at most ten a block (the rest waits for the next), then the plan's calls."""
        writes: dict[bytes, bytes | None] = {}
        scheduled = []
        for key, _ in state.scan(b"s/"):
            due, call_id = int.from_bytes(key[2:10], "big"), int.from_bytes(key[10:18], "big")
            if due * 1000 > plan.time_ms or len(scheduled) == 10:
                break
            writes[key] = None
            _add(writes, state, RUNS_KEY, 1)
            scheduled.append(ScheduledOutcome(due=due, call_id=call_id, outcome=_outcome(encode(None))))
        calls = tuple(self._call(call, writes, state) for call in plan.calls)
        return BlockOutcome(
            scheduled=tuple(scheduled),
            calls=calls,
            writes=tuple(sorted(writes.items())),
            next_due=_next_due(writes, state),
        )

    def _call(self, call: Call, writes: dict[bytes, bytes | None], state: StateReader) -> CallOutcome:
        arguments = decode(call.arguments)
        match call.method, arguments:
            case "put", [bytes(key), bytes(value)]:
                writes[b"c/register/" + key] = value
            case "add", [bytes(key), int(number)]:
                return _outcome(encode(_add(writes, state, b"c/register/" + key, number)))
            case "later", [int(due)]:
                call_id = _add(writes, state, NEXT_CALL_KEY, 1)
                writes[b"s/" + due.to_bytes(8, "big") + call_id.to_bytes(8, "big")] = b"run"
            case _:
                return CallOutcome(status="reverted", code="FAILED", gas_used=10, result=encode(None), events=())
        return _outcome(encode(None))

    def execute_genesis(self, contracts: Sequence[GenesisContract], time_ms: int, network: bytes) -> BlockOutcome:
        """The register starts with no runs."""
        return BlockOutcome(scheduled=(), calls=(), writes=((RUNS_KEY, encode(0)),), next_due=None)

    def call_view(self, call: Call, state: StateReader, height: int, time_ms: int, network: bytes) -> CallOutcome:
        """`get(key)`: the stored bytes, or nil."""
        (key,) = decode(call.arguments)
        return _outcome(encode(state.get(b"c/register/" + key)))


def _outcome(result: bytes) -> CallOutcome:
    return CallOutcome(status="ok", code="", gas_used=100, result=result, events=())


def _add(writes: dict[bytes, bytes | None], state: StateReader, key: bytes, number: int) -> int:
    before = writes[key] if key in writes else state.get(key)
    total = (0 if before is None else decode(before)) + number
    writes[key] = encode(total)
    return total


def _next_due(writes: dict[bytes, bytes | None], state: StateReader) -> int | None:
    stored = {key for key, _ in state.scan(b"s/")}
    waiting = {key for key in stored if key not in writes} | {
        key for key, value in writes.items() if key.startswith(b"s/") and value is not None
    }
    return min((int.from_bytes(key[2:10], "big") for key in waiting), default=None)
