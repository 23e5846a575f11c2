"""Runs random programs by the walker and by the closures, and compares all that a replica could see.

    PYTHONPATH=tests python -m contracts_fuzz --programs 100000 --seed 1

prints how many ran, and stops at the first difference with its seed and source.
"""

import argparse
import collections
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from unittest.mock import patch

from contracts_fuzz.programs import ProgramWriter

from contracts.compiler import Weave, compile_source, weave_contract
from contracts.errors import ContractRefused
from contracts.runtime import Runtime
from contracts.testing import MemoryState
from contracts.tree import Node, Tree
from contracts.walker import walk_contract
from ledger.encoding import encode
from ledger.errors import InvalidSignature
from ledger.execution import BlockOutcome, BlockPlan, Call, contract_address

SENDER: Final = b"\x01" * 32
TIME: Final = 1_750_000_000
CELLS: Final = (4_000_000, 4_000_000, 4_000_000, 300, 3_000)
"""Memory limits to choose from; the small ones are met."""
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
    """What a campaign of programs met."""

    programs: int = 0
    sizes: list[int] = field(default_factory=list)
    past_deploy: int = 0
    kinds: collections.Counter[str] = field(default_factory=collections.Counter)
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)


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

    def block(self, height: int, calls: tuple[Call, ...]) -> BlockOutcome:
        plan = BlockPlan(
            height=height,
            time_ms=(TIME + height) * 1_000,
            network=bytes(32),
            epoch=0,
            window=64,
            calls=calls,
            transaction_gas_max=200_000,
            scheduled_gas_max=1_000_000,
        )
        return self.apply(self.runtime.execute_block(plan, self.state))

    def apply(self, outcome: BlockOutcome) -> BlockOutcome:
        for key, value in outcome.writes:
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        return outcome


class Campaign:
    """Compares program after program."""

    def __init__(self) -> None:
        self.closures, self.walker = Side(weave_contract), Side(walk_contract)
        self.tally = Tally()

    def run(self, seed: int) -> None:
        """One program. Raises AssertionError with its seed and source where the two differ."""
        source = ProgramWriter(seed).program()
        compiled = lru_cache(maxsize=4)(compile_source)  # both deploy it, one compiles it
        cells = random.Random(seed).choice(CELLS)
        with patch("contracts.lifecycle.compile_source", compiled), patch("contracts.machine.MEMORY_CELLS_MAX", cells):
            self.compare(seed, source.decode())
        nodes = list(nodes_of(compiled(source)))
        self.tally.programs += 1
        self.tally.sizes.append(len(nodes))
        self.tally.kinds.update(name for node in nodes for name in names_of(node))

    def compare(self, seed: int, source: str) -> None:
        """Deploy, two blocks of calls, views: everything equal after each, to the last memory cell."""
        choice = random.Random(seed)
        gas = choice.choice([300, 1_500, 5_000, 20_000, 100_000, 100_000, 300_000])
        numbers = [choice.choice([0, 1, 2, 3, 7, 100, -5, 2**60, 2**254]) for _ in range(3)]
        self.same(seed, source, *(side.deploy(source) for side in (self.closures, self.walker)))
        steps = [
            (call("run", gas, numbers[0], "a"), call("run", gas, numbers[1])),
            (call("run", gas, numbers[2], "b c"), call("ruled", gas), call("look", gas, 2), call("later", gas, 1)),
            (),
        ]
        for height, calls in enumerate(steps, 1):
            outcomes = [side.block(height, calls) for side in (self.closures, self.walker)]
            self.same(seed, source, *outcomes)
            for number, outcome in enumerate(outcomes[0].calls):
                self.tally.outcomes[f"{outcome.status} {outcome.code}"] += 1
                if height == 1 and number == 0:
                    self.tally.past_deploy += outcome.gas_used > 250
        for method, arguments in (("look", (numbers[0],)), ("sound", ()), ("look", ("text",))):
            view = call(method, gas, *arguments)
            answers = [
                s.runtime.call_view(view, s.state, 3, TIME * 1_000, bytes(32)) for s in (self.closures, self.walker)
            ]
            self.same(seed, source, *answers)

    def same(self, seed: int, source: str, closures: object, walker: object) -> None:
        cells = [side.runtime._machine.cells for side in (self.closures, self.walker)]
        is_bug = "INTERNAL" in repr(closures)
        if closures != walker or cells[0] != cells[1] or is_bug:
            raise AssertionError(f"seed {seed}\n{source}\nclosures: {closures}\nwalker:   {walker}\ncells: {cells}")


PRIVATE = tuple(encode(value) for value in (7, [5, "a", None], {"k": 2**70, "t": [True]}))


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    campaign = Campaign()
    refused: collections.Counter[str] = collections.Counter()
    for number in range(options.programs):
        try:
            campaign.run(options.seed * 1_000_000_000 + number)
        except ContractRefused as refusal:
            refused[str(refusal)] += 1
        if (number + 1) % 1_000 == 0:
            print(number + 1, "programs", flush=True)
    tally = campaign.tally
    print(f"{tally.programs} programs without a difference, seed {options.seed}, refused {dict(refused)}")
    print(f"median {statistics.median(tally.sizes)} nodes; past deploy {100 * tally.past_deploy // tally.programs} %")
    print(dict(tally.outcomes.most_common()))
    print(dict(tally.kinds.most_common()))


if __name__ == "__main__":
    main()
