"""Every operator, builtin and method: what it gives, checked against Python where the language agrees with it."""

import ast
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.testing import Chain
from ledger.encoding import decode
from ledger.execution import CallOutcome

SAME_AS_PYTHON = {
    "int": [
        "7 // 2 - 7 % 3 + 2 ** 10",
        "-7 // 2",
        "-7 % 3",
        "1 << 20 >> 3",
        "6 & 3 | 8 ^ 1",
        "abs(-5) + len('abc') + sum([1, 2, 3])",
        "max(3, 9, 4) - min([5, 2, 8])",
        "int('-12') + int(True)",
        "[10, 20, 30][-1]",
        "{'a': 1, 'b': 2}['b']",
        "[x * x for x in range(10) if x % 2 == 1 if x > 2][1]",
        "sum({k: v for k, v in [(1, 2), (3, 4)]}.values())",
        "1 if 2 < 3 else 0",
        "'hello'.find('l')",
        "[1, 2, 3].index(3)",
        "b'abc'[1]",
        "range(5, 50, 7)[3]",
        "len(range(10, 0, -3))",
        "2 if 5 in range(10) and 'ell' in 'hello' and 3 not in [1, 2] and b'b' in b'abc' else 1",
    ],
    "bool": [
        "1 < 2 <= 2 != 3",
        "not (1 == 2 or 3 > 4)",
        "all([True, True]) and not any([False, False])",
        "(1, 'a') < (1, 'b')",
        "[1, [2, 3]] == [1, [2, 3]]",
        "{'a': [1]} == {'a': [1]}",
        "None is None and 5 is not None",
        "'abc'.startswith('ab') and 'abc'.endswith('bc')",
        "bool(3) and not bool('') and bool([0])",
        "False < True",
    ],
    "str": [
        "f'{1 + 1} {True} {\"x\"}'",
        "'-'.join(['a', 'b', 'c'])",
        "'a,b,,c'.replace(',', ';')",
        "' x y '.strip()",
        "'MiXed'.upper() + 'MiXed'.lower()",
        "str(-12345678901234567890)",
        "'hello'[1:3] + 'hello'[:2] + 'hello'[-2:] + 'hello'[3:1]",
        "b'\\x00\\xff'.hex()",
        "max(['b', 'c', 'a'])",
    ],
    "list[int]": [
        "sorted([3, 1, 2], reverse=True)",
        "list(range(5)) if False else list((1, 2))",
        "list(reversed([1, 2, 3]))",
        "[1, 2, 3, 4][1:-1]",
        "[a + b for a, b in zip([1, 2], [3, 4])]",
        "[i * x for i, x in enumerate([5, 6, 7])]",
        "list({3: 1, 1: 2, 2: 3})",
        "[1, 2].copy() + [3]",
    ],
    "list[str]": ["'a b  c'.split()", "'a,b,,c'.split(',')", "list('abc')", "sorted(['b', 'a', 'C'])"],
    "bytes": ["b'ab' + b'cd'", "b'abcdef'[2:4]", "bytes('gr\\u00fc\\u00df', 'utf-8')"],
}


@pytest.mark.filterwarnings("ignore:.is not. with a literal:SyntaxWarning")  # what Python says of our odd examples
@pytest.mark.parametrize(
    ("hint", "expression"), [(hint, item) for hint, items in SAME_AS_PYTHON.items() for item in items]
)
def test_the_language_agrees_with_python(value_of: Callable[..., Any], hint: str, expression: str) -> None:
    """Where a construct is Python's, its value is Python's."""
    assert value_of(f"return {expression}", result=hint) == eval(expression)


FAULTS = {
    "TYPE": [
        "1 + 'a'",
        "True + 1",
        "'a' * 3",
        "-True",
        "not 1",
        "1 if 1 else 2",
        "1 < 'a'",
        "[1, 'a'] < [1, 2]",
        "len(5)",
        "sum(['a'])",
        "sorted([1, 'a'])",
        "sorted([None, None])",
        "max([None])",
        "1 in 'a'",
        "{True: 1}[True]",
        "{None: 1}[None]",
        "[1][True]",
        "[1]['a']",
        "'abc'.join([1])",
        "(5).append(1)",
        "f'{None}'",
        "f'{[1]}'",
        "int(None)",
        "str(None)",
        "str([1])",
        "[1, 2][None:]",
        "any([1])",
        "True and 1",
        "1 or True",
        "range('a')",
        "1 % '%s'",
        "'%s' % 1",
        "mul_div(1, True, 1)",
        "sha256('text')",
        "canonical(range(3))",
        "enumerate(5)",
        "zip(1, 2)",
        "bytes(5)",
    ],
    "OVERFLOW": [
        "2 ** 255",
        "(2 ** 254) * 2",
        "-(-(2 ** 254) * 2)",
        "abs(-(2 ** 254) * 2)",
        "(2 ** 254) + (2 ** 254)",
        "sum([2 ** 254, 2 ** 254])",
        "1 << 255",
        "mul_div(2 ** 254, 4, 2)",
        "3 ** 255",
        "int('99999999999999999999999999999999999999999999999999999999999999999999999999999')",
        "(-(2 ** 254) * 2) // -1",
    ],
    "DIVISION": ["1 // 0", "1 % 0", "mul_div(1, 1, 0)"],
    "VALUE": [
        "2 ** 256",
        "2 ** -1",
        "1 << 256",
        "1 >> -1",
        "int('')",
        "int('1_0')",
        "int(' 1')",
        "int('\\u0661')",
        "max([])",
        "[1].index(2)",
        "len('a'.split(''))",
        "len(range(1, 2, 0))",
        "len(range(2 ** 80))",
    ],
    "INDEX": ["[1][1]", "[][0]", "'a'[-2]", "b''[0]", "(1,)[5]", "[1].pop(3)", "range(3)[3]"],
    "KEY": ["{1: 2}[3]", "{}.pop('a')"],
}


@pytest.mark.parametrize(("code", "expression"), [(code, item) for code, items in FAULTS.items() for item in items])
def test_what_has_no_meaning_is_a_fault(outcome_of: Callable[..., CallOutcome], code: str, expression: str) -> None:
    """A wrong operation ends the call with a stable code, never with the host's words."""
    outcome = outcome_of(f"return len([{expression}])")
    assert (outcome.status, outcome.code) == ("error", code)
    assert outcome.gas_used < 5_000_000
    assert outcome.events == ()


_NUMBERS = st.integers(min_value=-(2**64), max_value=2**64)
_EXPRESSIONS = st.recursive(
    _NUMBERS.map(lambda number: f"({number})"),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "%", "&", "|", "^"]), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(_EXPRESSIONS)
def test_integer_arithmetic_is_pythons_within_256_bits(expression: str) -> None:
    """Any expression gives Python's value, or OVERFLOW exactly when some intermediate value leaves the range."""
    outcome = run_expression(expression)
    try:
        expected: object = _checked_eval(expression)
    except ZeroDivisionError:
        expected = "DIVISION"
    except OverflowError:
        expected = "OVERFLOW"
    assert outcome == expected


def run_expression(expression: str) -> object:
    """The value of an integer expression, or the code of its fault."""
    chain = Chain()
    source = (
        "from contracts import Contract, external\n\nclass T(Contract):\n"
        f"    @external\n    def run(self) -> int:\n        return {expression}\n"
    )
    outcome = chain.attempt(chain.deploy(source.encode(), name="t"), "run", sender=bytes(32))
    return decode(outcome.result) if outcome.status == "ok" else outcome.code


def _checked_eval(expression: str) -> int:
    table = {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.FloorDiv: operator.floordiv,
        ast.Mod: operator.mod,
        ast.BitAnd: operator.and_,
        ast.BitOr: operator.or_,
        ast.BitXor: operator.xor,
    }

    def walk(node: ast.expr) -> int:
        if isinstance(node, ast.BinOp):
            value: int = table[type(node.op)](walk(node.left), walk(node.right))  # type: ignore[operator]
        elif isinstance(node, ast.UnaryOp):
            value = -walk(node.operand)
        else:
            assert isinstance(node, ast.Constant) and isinstance(node.value, int)
            value = node.value
        if not -(2**255) <= value < 2**255:
            raise OverflowError
        return value

    return walk(ast.parse(expression, mode="eval").body)
