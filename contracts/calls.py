"""Calls in the canonical tree as closures: functions of the contract, builtins, methods of values, kit functions, and
methods of other contracts.

Nothing can be called but what a table names: routines of this tree, `BUILTIN_OPERATIONS`, `METHODS` by exact type, the
host's operations, and the interface that a value was made with.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from contracts.builtins import BUILTIN_OPERATIONS, METHODS
from contracts.errors import Fault, OutOfGas
from contracts.expressions import UNBOUND, Env, Expression
from contracts.gas import CALL_DEPTH_MAX, GAS
from contracts.machine import Machine
from contracts.operators import OperatorWeaver
from contracts.sorting import sort
from contracts.tree import Node, Tree
from contracts.values import InterfaceValue

HostOperation = Callable[..., Any]
"""A kit function: takes the machine and the argument values."""


class Routine:
    """A function of the contract; what can be called is there when its body is woven."""

    __slots__ = ("call", "defaults", "padding", "parameter_count")

    def __init__(self, parameter_count: int, defaults: tuple[Any, ...], slot_count: int) -> None:
        self.parameter_count = parameter_count
        self.defaults = defaults
        """Of the last parameters."""
        self.padding: list[Any] = [UNBOUND] * (slot_count - parameter_count)
        self.call: Callable[[list[Any]], Any] = _not_woven
        """Runs it with these argument values, in a list that becomes its local variables."""

    def weave(self, machine: Machine, block: Callable[[Env], Any], *, is_read_only: bool) -> None:
        """Make it callable: `block` is its body. Missing arguments take their defaults."""
        count, defaults, padding = self.parameter_count, self.defaults, self.padding

        def call(values: list[Any]) -> Any:
            machine.depth += 1
            if machine.depth > CALL_DEPTH_MAX:
                raise Fault("DEPTH")
            if len(values) < count:
                values += defaults[len(defaults) - count + len(values) :]
            values += padding
            if block(values) is None:
                machine.depth -= 1
                return None
            value, machine.result = machine.result, None
            machine.depth -= 1
            return value

        def call_read_only(values: list[Any]) -> Any:
            outer, machine.read_only = machine.read_only, True
            value = call(values)
            machine.read_only = outer
            return value

        self.call = call_read_only if is_read_only else call


def _not_woven(_values: list[Any]) -> Any:
    raise AssertionError("a routine is called before its body is woven")


class CallWeaver(OperatorWeaver):
    """Weaves the calls of one contract."""

    def __init__(
        self,
        tree: Tree,
        contract: str,
        machine: Machine,
        host: dict[str, HostOperation],
        call_contract: Callable[[InterfaceValue, str, tuple[Any, ...]], Any],
    ) -> None:
        super().__init__(tree, contract, machine)
        self.host = host
        self.call_contract = call_contract
        self.routines: dict[str, Routine] = {}

    def _weave_builtin(self, node: Node) -> Expression:
        machine, operation = self.machine, BUILTIN_OPERATIONS[str(node.value)]
        arguments = self.expressions(node.children)
        if len(arguments) == 1:
            only = arguments[0]
            return lambda env: operation(machine, only(env))
        return lambda env: operation(machine, *[argument(env) for argument in arguments])

    def _weave_sorted(self, node: Node) -> Expression:
        machine = self.machine
        assert type(node.value) is tuple
        key_name, has_reverse = node.value
        row = self.expression(node.children[0])
        reverse = self.expression(node.children[1]) if has_reverse else self._weave_const(Node("const", False))
        key = None
        if key_name is not None:
            routine = self.routines[str(key_name)]

            def key(item: Any) -> Any:
                machine.charge(GAS.call + GAS.call_argument)
                return routine.call([item])

        def sort_row(env: Env) -> Any:
            items = row(env)
            return sort(machine, items, key, reverse(env))

        return sort_row

    def _weave_call(self, node: Node) -> Expression:
        routine, arguments = self.routines[str(node.value)], self.expressions(node.children)
        return lambda env: routine.call([argument(env) for argument in arguments])

    def _weave_method(self, node: Node) -> Expression:
        machine, name, call_contract = self.machine, str(node.value), self.call_contract
        receiver, *arguments = self.expressions(node.children)
        count = len(arguments)
        if name == "append" and count == 1:
            return self._append(receiver, arguments[0])
        by_type = methods_named(name, count)
        if count == 1:
            return self._method_of_one(name, receiver, arguments[0], by_type)

        def call_method(env: Env) -> Any:
            value = receiver(env)
            values = [argument(env) for argument in arguments]
            method = by_type.get(type(value))
            if method is not None:
                return method(machine, value, *values)
            if type(value) is InterfaceValue:
                return call_contract(value, name, tuple(values))
            raise Fault("TYPE")

        return call_method

    def _method_of_one(
        self, name: str, receiver: Expression, argument: Expression, by_type: dict[type, Callable[..., Any]]
    ) -> Expression:
        machine, call_contract = self.machine, self.call_contract

        def call_method(env: Env) -> Any:
            value = receiver(env)
            only = argument(env)
            method = by_type.get(type(value))
            if method is not None:
                return method(machine, value, only)
            if type(value) is InterfaceValue:
                return call_contract(value, name, (only,))
            raise Fault("TYPE")

        return call_method

    def _append(self, receiver: Expression, argument: Expression) -> Expression:
        """`row.append(item)`, a list first: the commonest method."""
        machine, call_contract = self.machine, self.call_contract
        by_type = methods_named("append", 1)

        def append(env: Env) -> Any:
            row = receiver(env)
            item = argument(env)
            if type(row) is list:
                machine.gas -= GAS.append
                if machine.gas < 0:
                    raise OutOfGas
                machine.cells -= 1
                if machine.cells < 0:
                    raise Fault("MEMORY")
                row.append(item)
                return None
            method = by_type.get(type(row))
            if method is not None:
                return method(machine, row, item)
            if type(row) is InterfaceValue:
                return call_contract(row, "append", (item,))
            raise Fault("TYPE")

        return append

    def _weave_host(self, node: Node) -> Expression:
        machine, operation = self.machine, self.host[str(node.value)]
        arguments = self.expressions(node.children)
        if node.value == "require":
            condition, code = arguments

            def require(env: Env) -> Any:
                verdict = condition(env)
                return None if verdict is True else operation(machine, verdict, code(env))

            return require
        return lambda env: operation(machine, *[argument(env) for argument in arguments])


@cache
def methods_named(name: str, count: int) -> dict[type, Callable[..., Any]]:
    """The methods of that name that take so many arguments, by the exact type of their receiver."""
    return {
        kind: operation
        for (kind, listed), (operation, least, most) in METHODS.items()
        if listed == name and least <= count <= most
    }
