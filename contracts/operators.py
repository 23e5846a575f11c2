"""Operators of the canonical tree as closures: arithmetic, comparison, and the logic of bools.

The case of two ints is written out, for operands that are any expression, two local variables, or anything and a
constant; all else goes to the tables of `operations.py`. Each form gives the same value, gas and fault.
"""

import operator
from collections.abc import Callable
from typing import Any, Final

from contracts.errors import Fault, OutOfGas
from contracts.expressions import Env, Expression, ExpressionWeaver
from contracts.gas import GAS, INT_MAX, INT_MIN, compute_run_cost
from contracts.machine import Machine
from contracts.operations import BINARY, COMPARE, INT_OPERATORS, Operation
from contracts.tree import Node

IntOperator = Callable[[Any, Any], Any]

_COMPARE_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class OperatorWeaver(ExpressionWeaver):
    """Weaves the operators of one contract."""

    def _weave_neg(self, node: Node) -> Expression:
        operand = self.expression(node.children[0])

        def negate(env: Env) -> Any:
            value = operand(env)
            if type(value) is not int:
                raise Fault("TYPE")
            if value == INT_MIN:
                raise Fault("OVERFLOW")
            return -value

        return negate

    def _weave_not(self, node: Node) -> Expression:
        operand = self.expression(node.children[0])

        def invert(env: Env) -> Any:
            value = operand(env)
            if value is True:
                return False
            if value is False:
                return True
            raise Fault("TYPE")

        return invert

    def _weave_binary(self, node: Node) -> Expression:
        return self.operation(str(node.value), node.children[0], node.children[1])

    def _slot(self, node: Node) -> int | None:
        """The slot of a local variable that is certainly assigned."""
        slot = node.value if node.kind == "local" else None
        return slot if type(slot) is int and slot in self.assigned else None

    def operation(self, symbol: str, left: Node, right: Node) -> Expression:
        """`left symbol right`, ints first; the commonest operands are read in place."""
        machine, slow, fast = self.machine, BINARY[symbol], INT_OPERATORS.get(symbol)
        if fast is None:
            first, second = self.expression(left), self.expression(right)
            return lambda env: slow(machine, first(env), second(env))
        slot, other = self._slot(left), self._slot(right)
        if slot is not None and other is not None:
            return _operate_on_locals(machine, fast, slow, slot, other)
        if slot is not None and right.kind == "const" and type(right.value) is int:
            return _operate_on_constant(machine, fast, slow, slot, right.value)
        if right.kind == "const" and type(right.value) is int:
            return _operate_with_constant(machine, fast, slow, self.expression(left), right.value)
        return _operate(machine, fast, slow, self.expression(left), self.expression(right))

    def _weave_compare(self, node: Node) -> Expression:
        assert type(node.value) is tuple
        symbols = [str(symbol) for symbol in node.value]
        if len(symbols) == 1:
            return self._comparison(symbols[0], node.children[0], node.children[1])
        operand, *others = self.expressions(node.children)
        machine = self.machine
        steps = [
            (_COMPARE_OPERATORS.get(symbol), COMPARE[symbol], other)
            for symbol, other in zip(symbols, others, strict=True)
        ]

        def compare_chain(env: Env) -> Any:
            left = operand(env)
            for fast, slow, other in steps:
                right = other(env)
                if fast is not None and type(left) is int and type(right) is int:
                    if not fast(left, right):
                        return False
                elif not slow(machine, left, right):
                    return False
                left = right
            return True

        return compare_chain

    def _comparison(self, symbol: str, left: Node, right: Node) -> Expression:
        machine, slow, fast = self.machine, COMPARE[symbol], _COMPARE_OPERATORS.get(symbol)
        if fast is None:
            first, second = self.expression(left), self.expression(right)
            return lambda env: slow(machine, first(env), second(env))
        slot, other = self._slot(left), self._slot(right)
        if slot is not None and other is not None:
            return _compare_locals(machine, fast, slow, slot, other)
        if slot is not None and right.kind == "const" and type(right.value) is int:
            return _compare_constant(machine, fast, slow, slot, right.value)
        if right.kind == "const" and type(right.value) is int:
            return _compare_with_constant(machine, fast, slow, self.expression(left), right.value)
        text = right.value if right.kind == "const" and symbol in {"==", "!="} else None
        if type(text) is str and len(text) < GAS.text_compare_chars:
            return _compare_short_text(machine, fast, slow, self.expression(left), text)
        return _compare(machine, fast, slow, self.expression(left), self.expression(right))

    def _weave_is_none(self, node: Node) -> Expression:
        operand, negated = self.expression(node.children[0]), node.value
        return lambda env: (operand(env) is None) is not negated

    def _weave_and(self, node: Node) -> Expression:
        return self._boolean(node, False)

    def _weave_or(self, node: Node) -> Expression:
        return self._boolean(node, True)

    def _boolean(self, node: Node, stops_at: bool) -> Expression:
        if len(node.children) == 2:
            return self._boolean_of_two(node, stops_at)
        operands = [self.expression(node.children[0]), *map(self.run, node.children[1:])]
        continues_at = not stops_at

        def combine(env: Env) -> Any:
            for operand in operands:
                value = operand(env)
                if value is stops_at:
                    return stops_at
                if value is not continues_at:
                    raise Fault("TYPE")
            return continues_at

        return combine

    def _boolean_of_two(self, node: Node, stops_at: bool) -> Expression:
        machine, cost, continues_at = self.machine, compute_run_cost(node.children[1]), not stops_at
        first, second = self.expressions(node.children)

        def combine_two(env: Env) -> Any:
            value = first(env)
            if value is stops_at:
                return stops_at
            if value is not continues_at:
                raise Fault("TYPE")
            machine.gas -= cost
            if machine.gas < 0:
                raise OutOfGas
            value = second(env)
            if value is not True and value is not False:
                raise Fault("TYPE")
            return value

        return combine_two

    def _weave_conditional(self, node: Node) -> Expression:
        test = self.expression(node.children[0])
        then, otherwise = map(self.run, node.children[1:])

        def choose(env: Env) -> Any:
            value = test(env)
            if value is True:
                return then(env)
            if value is False:
                return otherwise(env)
            raise Fault("TYPE")

        return choose


def _operate(machine: Machine, fast: IntOperator, slow: Operation, left: Expression, right: Expression) -> Expression:
    def operate(env: Env) -> Any:
        a = left(env)
        b = right(env)
        if type(a) is int and type(b) is int:
            value = fast(a, b)
            if INT_MIN <= value <= INT_MAX:
                return value
            raise Fault("OVERFLOW")
        return slow(machine, a, b)

    return operate


def _operate_on_locals(machine: Machine, fast: IntOperator, slow: Operation, left: int, right: int) -> Expression:
    def operate(env: Env) -> Any:
        a = env[left]
        b = env[right]
        if type(a) is int and type(b) is int:
            value = fast(a, b)
            if INT_MIN <= value <= INT_MAX:
                return value
            raise Fault("OVERFLOW")
        return slow(machine, a, b)

    return operate


def _operate_on_constant(machine: Machine, fast: IntOperator, slow: Operation, left: int, constant: int) -> Expression:
    def operate(env: Env) -> Any:
        a = env[left]
        if type(a) is int:
            value = fast(a, constant)
            if INT_MIN <= value <= INT_MAX:
                return value
            raise Fault("OVERFLOW")
        return slow(machine, a, constant)

    return operate


def _operate_with_constant(
    machine: Machine, fast: IntOperator, slow: Operation, left: Expression, constant: int
) -> Expression:
    def operate(env: Env) -> Any:
        a = left(env)
        if type(a) is int:
            value = fast(a, constant)
            if INT_MIN <= value <= INT_MAX:
                return value
            raise Fault("OVERFLOW")
        return slow(machine, a, constant)

    return operate


def _compare(machine: Machine, fast: IntOperator, slow: Operation, left: Expression, right: Expression) -> Expression:
    def compare(env: Env) -> Any:
        a = left(env)
        b = right(env)
        if type(a) is int and type(b) is int:
            return fast(a, b)
        return slow(machine, a, b)

    return compare


def _compare_short_text(
    machine: Machine, fast: IntOperator, slow: Operation, left: Expression, constant: str
) -> Expression:
    """Whether a text is that constant, which is too short for the comparison to cost anything."""

    def compare(env: Env) -> Any:
        a = left(env)
        return fast(a, constant) if type(a) is str else slow(machine, a, constant)

    return compare


def _compare_locals(machine: Machine, fast: IntOperator, slow: Operation, left: int, right: int) -> Expression:
    def compare(env: Env) -> Any:
        a = env[left]
        b = env[right]
        if type(a) is int and type(b) is int:
            return fast(a, b)
        return slow(machine, a, b)

    return compare


def _compare_constant(machine: Machine, fast: IntOperator, slow: Operation, left: int, constant: int) -> Expression:
    def compare(env: Env) -> Any:
        a = env[left]
        if type(a) is int:
            return fast(a, constant)
        return slow(machine, a, constant)

    return compare


def _compare_with_constant(
    machine: Machine, fast: IntOperator, slow: Operation, left: Expression, constant: int
) -> Expression:
    def compare(env: Env) -> Any:
        a = left(env)
        if type(a) is int:
            return fast(a, constant)
        return slow(machine, a, constant)

    return compare
