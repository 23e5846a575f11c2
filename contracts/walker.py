"""The definition of the language: a slow, obvious walker over the canonical tree.

What a contract means is what this walker does with its tree; the closures (`closures.py`) are a cache that must give
the same result, gas, writes, events and code for every program, and differential fuzzing holds them to it
(`tests/contracts/test_walker.py`). So nothing here is clever: every node is looked up by its kind when it is reached,
every local variable is asked whether it is bound, every value is asked for its type, in one way for every case.

Shared with the closures, because both must agree with the network on it: the tree, the gas table with the cost of a
straight run (`gas.py`), the canonical encoding, the codes of `errors.py`, and the host: meter, overlay, the order of a
block, the way into a contract and the kit functions with effects (`machine.py`, `overlay.py`, `host.py`,
`runtime.py`), with the form of the values that pass through it. `Runtime(weave=walk_contract)` runs this walker.

The rest of the definition: `walker_expressions.py`, `walker_operations.py` (operators, builtins), `walker_methods.py`,
`walker_values.py` (comparison, crossing), `walker_storage.py`.
"""

import sys
from dataclasses import dataclass
from typing import Any, Final

from contracts.boundary import Boundary
from contracts.calls import HostOperation
from contracts.compiler import CallContract, Woven, describe_contract
from contracts.gas import CALL_DEPTH_MAX, GAS, compute_step_cost
from contracts.machine import Machine
from contracts.short_rows import read_the_long_way
from contracts.tree import Function, Node
from contracts.walker_expressions import ExpressionWalker, Locals
from contracts.walker_operations import (
    binary,
    delete_item,
    get_item,
    set_item,
)
from contracts.walker_values import (
    need,
)


@dataclass(frozen=True, slots=True)
class Leave:
    """Why a block is left before its end: break, continue, or return with a value."""

    how: str
    value: Any = None


WALK_RECURSION_MAX: Final = 1_000 * CALL_DEPTH_MAX
"""Interpreter frames: by definition each `elif` nests in the one before, 200 in a file, with four frames each."""
READ_ONLY_KINDS: Final = {"view", "invariant"}


class Walker(ExpressionWalker):
    """Walks the functions of one contract."""

    def call(self, function: Function, arguments: list[Any]) -> Any:
        """Run a function. Its caller has paid; views write nothing, and nothing that they call does."""
        machine = self.machine
        machine.depth += 1
        need(machine.depth <= CALL_DEPTH_MAX, "DEPTH")
        env: Locals = {slot: parameter.default for slot, parameter in enumerate(function.parameters)}
        env.update(enumerate(arguments))
        was_read_only = machine.read_only
        machine.read_only = was_read_only or function.kind in READ_ONLY_KINDS
        left = self.block(function.body, env)
        machine.read_only = was_read_only
        machine.depth -= 1
        return None if left is None else left.value

    # --- statements: each gives None, or why its block is left ---

    def block(self, node: Node, env: Locals, surcharge: int = 0) -> Leave | None:
        """Each straight run is paid when it is entered; the step of a loop is paid with the first one of its body."""
        for cost, statements in self.runs_of(node):
            self.machine.charge(surcharge + cost)
            surcharge = 0
            for statement in statements:
                left = self.statement(statement, env)
                if left is not None:
                    return left
        return None

    def statement(self, node: Node, env: Locals) -> Leave | None:
        """A statement that a run has paid."""
        match node.kind:
            case "pass":
                return None
            case "break" | "continue":
                return Leave(node.kind)
            case "return":
                return Leave("return", self.value(node.children[0], env) if node.children else None)
            case "if":
                chosen = 1 if self.condition(node.children[0], env) else 2
                return self.block(node.children[chosen], env)
            case "while":
                return self.while_loop(node, env)
            case "for":
                return self.for_loop(node, env)
            case "expr":
                self.value(node.children[0], env)
            case "assert":
                self.require([self.value(node.children[0], env)], node.children[1], env)
            case _:
                self.assignment(node, env)
        return None

    def while_loop(self, node: Node, env: Locals) -> Leave | None:
        """The test is a run of its own, with the step of the loop."""
        test, body = node.children
        while True:
            self.machine.charge(GAS.loop_step + self.cost_of(test))
            if not self.condition(test, env):
                return None
            left = self.block(body, env)
            if left is not None and left.how != "continue":
                return None if left.how == "break" else left

    def for_loop(self, node: Node, env: Locals) -> Leave | None:
        """Rows in memory are read as they are at each step: one that grows is walked to its new end."""
        row = self.steps(self.value(node.children[0], env))
        target: Any = node.value
        at = 0
        while at < len(row):
            self.bind(target, row[at], env)
            at += 1
            left = self.block(node.children[1], env, surcharge=compute_step_cost(target))
            if left is not None and left.how != "continue":
                return None if left.how == "break" else left
        return None

    def assignment(self, node: Node, env: Locals) -> None:
        """Statements that change something: container, then index, then value are found first."""
        machine = self.machine
        value: Any = node.value
        if node.kind in {"set_item", "aug_item", "del_item"}:
            container, index = self.value(node.children[0], env), self.value(node.children[1], env)
            if node.kind == "del_item":
                delete_item(machine, container, index)
            elif node.kind == "set_item":
                set_item(machine, container, index, self.value(node.children[2], env))
            else:
                before = get_item(machine, container, index)
                after = binary(machine, str(value), before, self.value(node.children[2], env))
                set_item(machine, container, index, after)
        elif node.kind == "assign":
            env[value] = self.value(node.children[0], env)
        elif node.kind == "unpack":
            self.bind((True, *value), self.value(node.children[0], env), env)
        elif node.kind == "set_field":
            self.field(str(value)).store(self.value(node.children[0], env))
        elif node.kind == "aug_local":
            slot, operator = value
            before = self.local(slot, env)
            env[slot] = binary(machine, operator, before, self.value(node.children[0], env))
        else:
            name, operator = value
            before = self.field(name).load()
            self.field(name).store(binary(machine, operator, before, self.value(node.children[0], env)))


def walk_contract(
    tree_bytes: bytes,
    contract: str,
    machine: Machine,
    host: dict[str, HostOperation],
    call_contract: CallContract,
) -> Woven:
    """A contract that runs by walking its tree; stands where `weave_contract` stands."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), WALK_RECURSION_MAX))
    walker = Walker(tree_bytes, contract, machine, host, call_contract)
    return describe_contract(
        walker.tree,
        contract,
        Boundary(machine, walker.shapes),
        walker.events,
        lambda function: lambda arguments: walker.call(function, arguments),
        lambda hints: read_the_long_way,
    )
