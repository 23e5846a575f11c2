"""Runs a random program by the walker and by the closures, and compares all that a replica could see.

Both deploy the same tree and run the same calls on a state of their own; results, gas, events, writes, codes and memory
are equal after every block, or an AssertionError says the seed and the source. Blocks that used much gas are timed.
"""

import collections
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from time import process_time_ns
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from contracts_fuzz.programs import ProgramWriter
from contracts_fuzz.speed import NANOSECONDS_PER_GAS_MAX, PRICED_GAS_MIN, Yardstick

from contracts.compiler import Weave, compile_source, weave_contract
from contracts.errors import ContractRefused
from contracts.runtime import Runtime
from contracts.testing import MemoryState
from contracts.tree import Node, Tree, parse_tree
from contracts.walker import walk_contract
from ledger.encoding import encode
from ledger.errors import InvalidSignature
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome, contract_address

SENDER: Final = b"\x01" * 32
TIME: Final = 1_750_000_000
CELLS: Final = (4_000_000, 4_000_000, 4_000_000, 300, 3_000)
"""Memory limits to choose from; the small ones are met."""
GAS_LIMITS: Final = (300, 1_500, 5_000, 20_000, 100_000, 100_000, 300_000)
LONG_EVERY: Final = 100
"""One program in so many repeats its statements until `LONG_GAS` is used up, to be timed."""
LONG_GAS: Final = 60_000
OTHER: Final = """from contracts import Address, Contract, Interface, external, view


class IBack(Interface):
    def add_up(self, n: int) -> int: ...


class Other(Contract):
    calls: int

    @external
    def double(self, n: int) -> int:
        self.calls += 1
        return 2 * n

    @view
    def echo(self, row: list[int]) -> list[int]:
        return row + [len(row)]

    @view
    def peek(self) -> int:
        return self.calls

    @external
    def back(self, who: Address) -> int:
        return IBack(who).add_up(1)
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A contract to deploy."""

    name: str
    source: str
    arguments: tuple[bytes, ...]

    def encoded_arguments(self) -> bytes:
        return encode(list(self.arguments))


@dataclass(slots=True)
class Tally:
    """What a campaign of programs met; histograms are name -> count."""

    programs: int = 0
    past_deploy: int = 0
    """Programs whose first call ran beyond its arguments."""
    timed: int = 0
    """Blocks of at least PRICED_GAS_MIN gas, each timed."""
    slowest_ns_per_gas: float = 0.0
    """Of those blocks, at the speed of the yardstick's own machine."""
    slowest_seed: int = -1
    sizes: collections.Counter[str] = field(default_factory=collections.Counter)
    """Nodes of the tree, in steps of ten: "60" is 60 to 69."""
    refused: collections.Counter[str] = field(default_factory=collections.Counter)
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    kinds: collections.Counter[str] = field(default_factory=collections.Counter)
    """Node kinds, and the names that builtins, methods, operators and kit functions carry."""

    def add(self, other: "Tally") -> None:
        """The sum of two ranges."""
        self.programs += other.programs
        self.past_deploy += other.past_deploy
        self.timed += other.timed
        if other.slowest_ns_per_gas > self.slowest_ns_per_gas:
            self.slowest_ns_per_gas, self.slowest_seed = other.slowest_ns_per_gas, other.slowest_seed
        for name in ("sizes", "refused", "outcomes", "kinds"):
            getattr(self, name).update(getattr(other, name))

    def median_size(self) -> int:
        """The median number of nodes, rounded down to ten."""
        sizes = sorted((int(size), count) for size, count in self.sizes.items())
        left = sum(count for _, count in sizes) // 2
        for size, count in sizes:
            left -= count
            if left < 0:
                return size
        return 0

    def to_json(self) -> dict[str, Any]:
        """As the report file has it; histograms with the most frequent first."""
        plain = asdict(self)
        for name in ("refused", "outcomes", "kinds"):
            plain[name] = dict(getattr(self, name).most_common())
        plain["sizes"] = dict(sorted(self.sizes.items(), key=lambda item: int(item[0])))
        return plain


def read_tally(plain: dict[str, Any]) -> Tally:
    """A tally from `to_json`."""
    histograms = {name: collections.Counter(plain[name]) for name in ("sizes", "refused", "outcomes", "kinds")}
    return Tally(**{**plain, **histograms})


def refuse_signature(_public_key: bytes, _message: bytes, signature: bytes) -> None:
    """A verifier without a library: only a signature of zeros is right."""
    if any(signature):
        raise InvalidSignature("signature", "not the one")


def nodes_of(tree: Tree) -> Iterator[Node]:
    """Every node of every function."""
    waiting = [function.body for function in tree.functions]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children


def names_of(node: Node) -> Iterator[str]:
    """What a histogram counts a node as: its kind, and the name that it carries."""
    yield node.kind
    if node.kind in {"builtin", "method", "host", "ctx", "binary"}:
        yield f"{node.kind} {node.value!r}"
    if node.kind == "compare" and type(node.value) is tuple:
        yield from (f"compare {symbol!r}" for symbol in node.value)


class Side:
    """One of the two ways to run, on a state of its own."""

    def __init__(self, weave: Weave) -> None:
        self.runtime = Runtime(refuse_signature, weave)
        self.base = MemoryState()
        outcome = self.runtime.deploy(Deployment("other", OTHER, ()), SENDER, self.base, 0, TIME * 1_000, bytes(32))
        self.base.update((key, value) for key, value in outcome.writes if value is not None)

    def deploy(self, source: str) -> BlockOutcome:
        """A fresh state with the program deployed, and what its @init did."""
        self.state = MemoryState(self.base)
        program = Deployment("fuzz", source, (contract_address("other"),))
        outcome = self.runtime.deploy(program, SENDER, self.state, 0, TIME * 1_000, bytes(32))
        return self.apply(outcome)

    def apply(self, outcome: BlockOutcome) -> BlockOutcome:
        for key, value in outcome.writes:
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        return outcome

    def forget(self) -> None:
        """Drop the program, which is never run again, from the cache of woven contracts."""
        self.runtime._host._woven.pop("fuzz", None)

    def view(self, call: Call) -> CallOutcome:
        return self.runtime.call_view(call, self.state, 3, TIME * 1_000, bytes(32))


class Campaign:
    """Compares program after program."""

    def __init__(self) -> None:
        self.closures, self.walker = Side(weave_contract), Side(walk_contract)
        self.tally = Tally()
        self.yardstick = Yardstick()

    def run(self, seed: int) -> None:
        """One program. Raises AssertionError with its seed and source where the two differ."""
        self.tally.programs += 1
        is_long = seed % LONG_EVERY == 0
        source = ProgramWriter(seed).program(is_long=is_long)
        try:
            tree = compile_source(source.encode())
        except ContractRefused as refusal:
            self.tally.refused[refusal.code] += 1
            return
        tree_bytes = tree.to_bytes()
        compiled = SimpleNamespace(to_bytes=lambda: tree_bytes)  # both deploy it, one compiles it
        parse = lru_cache(maxsize=4)(parse_tree)  # both run it, one parses it
        self.limit_memory(random.Random(seed).choice(CELLS))
        with (
            patch("contracts.lifecycle.compile_source", lambda _source: compiled),
            patch("contracts.compiler.parse_tree", parse),
            patch("contracts.walker_expressions.parse_tree", parse),
        ):
            self.compare(seed, source, LONG_GAS if is_long else 0)
        for side in (self.closures, self.walker):
            side.forget()
        nodes = list(nodes_of(tree))
        self.tally.sizes[str(len(nodes) // 10 * 10)] += 1
        self.tally.kinds.update(name for node in nodes for name in names_of(node))

    def limit_memory(self, cells: int) -> None:
        """Of each transaction from now on, by both."""
        for side in (self.closures, self.walker):
            side.runtime._machine.cells_max = cells

    def compare(self, seed: int, source: str, gas: int = 0) -> None:
        """Deploy, two blocks of calls, views: everything equal after each, to the last memory cell."""
        choice = random.Random(seed)
        gas = gas or choice.choice(GAS_LIMITS)
        numbers = [choice.choice([0, 1, 2, 3, 7, 100, -5, 2**60, 2**254]) for _ in range(3)]
        self.same(seed, source, *(side.deploy(source) for side in (self.closures, self.walker)))
        others = [
            call(method, gas, *arguments)
            for method, arguments in (("ruled", ()), ("look", (2,)), ("later", (1,)))
            if f"def {method}(" in source
        ]
        steps: tuple[tuple[Call, ...], ...] = (
            (call("run", gas, numbers[0], "a"), call("run", gas, numbers[1])),
            (call("run", gas, numbers[2], "b c"), *others),
            (),
        )
        for height, calls in enumerate(steps, 1):
            outcome = self.block(seed, source, plan_block(height, calls))
            for number, result in enumerate(outcome.calls):
                self.tally.outcomes[f"{result.status} {result.code}"] += 1
                if height == 1 and number == 0:
                    self.tally.past_deploy += result.gas_used > 250
        for method, arguments in (("look", (numbers[0],)), ("sound", ()), ("look", ("text",))):
            if f"def {method}(" in source:
                view = call(method, gas, *arguments)
                self.same(seed, source, *(side.view(view) for side in (self.closures, self.walker)))

    def block(self, seed: int, source: str, plan: BlockPlan) -> BlockOutcome:
        """One block by both; timed, if it was worth that."""
        outcomes = [side.runtime.execute_block(plan, side.state) for side in (self.closures, self.walker)]
        self.same(seed, source, *outcomes)
        first = outcomes[0]
        gas = sum(result.gas_used for result in first.calls) + sum(item.outcome.gas_used for item in first.scheduled)
        if gas >= PRICED_GAS_MIN:
            self.time(seed, source, plan, gas)
        for side, outcome in zip((self.closures, self.walker), outcomes, strict=True):
            side.apply(outcome)
        return first

    def time(self, seed: int, source: str, plan: BlockPlan, gas: int) -> None:
        """The bar of 100 ns for a unit of gas: the least of three, as fast as the yardstick's own machine is."""

        def run() -> int:
            start = process_time_ns()
            self.closures.runtime.execute_block(plan, self.closures.state)
            return process_time_ns() - start

        cost = self.yardstick.judge(run, gas)
        self.tally.timed += 1
        if cost > self.tally.slowest_ns_per_gas:
            self.tally.slowest_ns_per_gas, self.tally.slowest_seed = round(cost, 1), seed
        if cost > NANOSECONDS_PER_GAS_MAX:
            raise AssertionError(f"seed {seed}: {cost:.0f} ns for a unit of gas\n{source}")

    def same(self, seed: int, source: str, closures: object, walker: object) -> None:
        cells = [side.runtime._machine.cells for side in (self.closures, self.walker)]
        is_bug = "INTERNAL" in repr(closures)
        if closures != walker or cells[0] != cells[1] or is_bug:
            raise AssertionError(f"seed {seed}\n{source}\nclosures: {closures}\nwalker:   {walker}\ncells: {cells}")


PRIVATE: Final = tuple(encode(value) for value in (7, [5, "a", None], {"k": 2**70, "t": [True]}))


def plan_block(height: int, calls: tuple[Call, ...]) -> BlockPlan:
    return BlockPlan(
        height=height,
        time_ms=(TIME + height) * 1_000,
        network=bytes(32),
        epoch=0,
        window=64,
        calls=calls,
        transaction_gas_max=200_000,
        scheduled_gas_max=1_000_000,
    )


def call(method: str, gas: int, *arguments: object) -> Call:
    """A transaction to the program."""
    return Call(
        tx_id=bytes(32),
        sender=SENDER,
        contract="fuzz",
        method=method,
        arguments=encode(list(arguments)),
        gas_limit=gas,
        private_values=PRIVATE,
    )
