"""What each operation of the language really costs: processor nanoseconds for a unit of gas, by itself in a loop.

    PYTHONPATH=tests python -m contracts_fuzz.prices [NAME]

prints all of them, dearest first (those whose name contains NAME), warns of each over the margin that prices keep
(`NANOSECONDS_PER_GAS_PRICED`), and exits 1 if there is one. For a quiet machine.
"""

import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from time import process_time_ns
from typing import Final

from contracts_fuzz.price_contract import NAMES, OTHER, SOURCE, TAKER
from contracts_fuzz.price_table import ARGUMENTS, OPERATIONS
from contracts_fuzz.speed import NANOSECONDS_PER_GAS_MAX, NANOSECONDS_PER_GAS_PRICED, PRICED_GAS_MIN, Yardstick

from contracts.host import schedule_key
from contracts.testing import Chain, MemoryState
from ledger.encoding import Value, encode
from ledger.execution import BlockPlan, Call, CallOutcome, StateReader

COPIES: Final = 4
"""Times that an operation stands in the loop: the loop's own step then counts little."""
MEASURED_GAS: Final = PRICED_GAS_MIN + 10_000
GAS_LIMIT: Final = 10**9
_PRIVATE: Final[tuple[Value, ...]] = (
    7,
    list(range(300)),
    {"k": [[1, [2]], {"a": True}]},
    [[]] * 300,
    [[[]]] * 300,
    [{}] * 300,
    [{"": []}] * 300,
)
PRIVATE: Final = tuple(map(encode, _PRIVATE))


def source_of(name: str) -> bytes:
    """The contract that repeats the operation."""
    operation = OPERATIONS[name]
    before, line = operation if isinstance(operation, tuple) else ("pass", operation)
    text = SOURCE.format(
        names=NAMES,
        before=textwrap.indent(before, " " * 8),
        body=textwrap.indent("\n".join([line] * COPIES), " " * 12),
    )
    return text.encode()


class Trial:
    """A chain with the contract that repeats one operation."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.chain = Chain()
        other = self.chain.deploy(OTHER, name="other")
        self.chain.deploy(source_of(name), name="trial", other=other)

    def gas(self, count: int) -> int:
        """What so many steps use. Raises AssertionError if they do not end well."""
        outcome = self.outcome(*self.prepare(count))
        assert outcome.status == "ok", f"{self.name}: {outcome.status} {outcome.code}"
        return outcome.gas_used

    def time(self, count: int) -> int:
        """Processor nanoseconds of so many steps."""
        plan, state = self.prepare(count)
        start = process_time_ns()
        self.outcome(plan, state)
        return process_time_ns() - start

    def prepare(self, count: int) -> tuple[BlockPlan, StateReader]:
        """A block that runs so many steps, and the state that it runs on."""
        return self.plan(_call("run", [count])), self.chain.state

    def plan(self, *calls: Call) -> BlockPlan:
        """A block with these calls."""
        return BlockPlan(
            height=9,
            time_ms=self.chain.time * 1_000,
            network=bytes(32),
            epoch=0,
            window=64,
            calls=calls,
            transaction_gas_max=GAS_LIMIT,
            scheduled_gas_max=GAS_LIMIT,
        )

    def outcome(self, plan: BlockPlan, state: StateReader) -> CallOutcome:
        """Of the block's one call; nothing is kept."""
        return self.chain.runtime.execute_block(plan, state).calls[0]


class ArgumentTrial(Trial):
    """A contract that gets a row with a value so many times, and does nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        hint, self.value = ARGUMENTS[name]
        self.chain = Chain()
        self.chain.deploy(TAKER.format(hint=hint).encode(), name="trial")

    def prepare(self, count: int) -> tuple[BlockPlan, StateReader]:
        return self.plan(_call("take", [[self.value] * count])), self.chain.state


class ScheduledTrial(ArgumentTrial):
    """The same as a scheduled call that is due."""

    def prepare(self, count: int) -> tuple[BlockPlan, StateReader]:
        record = encode(["trial", "keep", [[self.value] * count], 0])
        return self.plan(), MemoryState(self.chain.state | {schedule_key(self.chain.time, 0): record})

    def outcome(self, plan: BlockPlan, state: StateReader) -> CallOutcome:
        return self.chain.runtime.execute_block(plan, state).scheduled[0].outcome


def _call(method: str, arguments: list[Value]) -> Call:
    return Call(
        tx_id=bytes(32),
        sender=bytes(32),
        contract="trial",
        method=method,
        arguments=encode(arguments),
        gas_limit=GAS_LIMIT,
        private_values=PRIVATE,
    )


def _trials() -> Iterator[tuple[str, Callable[[], Trial]]]:
    yield from ((name, partial(Trial, name)) for name in OPERATIONS)
    yield from ((f"argument: {name}", partial(ArgumentTrial, name)) for name in ARGUMENTS)
    yield from ((f"scheduled: {name}", partial(ScheduledTrial, name)) for name in ARGUMENTS)


TRIALS: Final = dict(_trials())
"""What is measured, by name: every operation, and every form of arguments, of a transaction and of a scheduled call."""


def measure(name: str, yardstick: Yardstick, bar: int = NANOSECONDS_PER_GAS_MAX) -> float:
    """Nanoseconds for a unit of gas, of the steps alone: what comes before them is taken off both, and is not more.

    Measured again where it seems over the bar: other work on the machine only ever makes a time longer."""
    trial = TRIALS[name]()
    nothing = trial.gas(0)
    count = 1 + max(MEASURED_GAS, nothing) // (trial.gas(1) - nothing)
    gas = trial.gas(count) - nothing
    assert gas >= PRICED_GAS_MIN
    return yardstick.judge(lambda: trial.time(count), gas, bar, lambda: trial.time(0))


def main() -> int:
    """Prints the measured prices. Returns the exit status: 1 if one has lost its margin."""
    yardstick = Yardstick()
    names = [name for name in TRIALS if len(sys.argv) < 2 or sys.argv[1] in name]
    bar = NANOSECONDS_PER_GAS_PRICED
    measured = sorted(((measure(name, yardstick, bar), name) for name in names), reverse=True)
    for cost, name in measured:
        print(f"{cost:6.1f} ns  {name}{'  <- raise its price' if cost > bar else ''}")
    too_dear = sum(cost > bar for cost, _ in measured)
    if too_dear:
        print(f"{too_dear} of {len(measured)} take more than {bar} ns for a unit of gas", file=sys.stderr)
    return 1 if too_dear else 0


if __name__ == "__main__":
    sys.exit(main())
