"""Operators, subscripts, builtins and methods as the slow walker does them.

Part of the definition of the language (`walker.py`): each operation is CHECK, CHARGE, EFFECT, RESULT, in the plainest
form there is. Everything that takes a row of anything first turns it into a list (`items_of`), and pays before it.
"""

from collections.abc import Sequence
from functools import cmp_to_key
from typing import Any, Final

from contracts.gas import GAS, TEXT_CHARS_MAX, compute_search_cost, compute_sort_cost
from contracts.machine import Machine
from contracts.values import StructValue
from contracts.walker_storage import Place
from contracts.walker_values import (
    as_key,
    comes_before,
    equals,
    from_key,
    in_range,
    length_of_range,
    need,
    need_type,
    parts_of,
    pay_row,
    pay_text,
)

POWER_MAX: Final = 255
DIGITS_MAX: Final = 77
RANGE_BOUND: Final = 2**62
SORT_DEPTH_MAX: Final = 4


def is_place(value: Any, *kinds: str) -> bool:
    """Whether the value is a handle to storage of one of these kinds."""
    return type(value) is Place and value.hint.kind in kinds


# --- operators ---


def binary(machine: Machine, operator: str, a: Any, b: Any) -> Any:
    """`a operator b`. All but `+` are of ints only; what an int costs is in the run's price."""
    if operator == "+" and type(a) is not int:
        return joined(machine, a, b)
    need_type(a, int)
    need_type(b, int)
    match operator:
        case "+":
            return in_range(a + b)
        case "-":
            return in_range(a - b)
        case "*":
            return in_range(a * b)
        case "//" | "%":
            need(b != 0, "DIVISION")
            return in_range(a // b if operator == "//" else a % b)
        case "&":
            return a & b
        case "|":
            return a | b
        case "^":
            return a ^ b
    need(0 <= b <= POWER_MAX, "VALUE")
    if operator == ">>":
        return a >> b
    if operator == "<<":
        return in_range(a << b)
    need((a.bit_length() - 1) * b < 256, "OVERFLOW")
    return in_range(a**b)


def joined(machine: Machine, a: Any, b: Any) -> Any:
    """Concatenation of two texts, byte strings, lists or tuples."""
    need_type(a, str, bytes, list, tuple)
    need_type(b, type(a))
    if type(a) in {str, bytes}:
        pay_text(machine, len(a) + len(b))
    else:
        pay_row(machine, len(a) + len(b))
    return a + b


def compare(machine: Machine, operator: str, a: Any, b: Any) -> bool:
    """`a operator b`, one link of a chain of comparisons."""
    match operator:
        case "==":
            return equals(machine, a, b)
        case "!=":
            return not equals(machine, a, b)
        case "<":
            return comes_before(machine, a, b)
        case ">":
            return comes_before(machine, b, a)
        case "<=":
            return not comes_before(machine, b, a)
        case ">=":
            return not comes_before(machine, a, b)
        case "in":
            return contains(machine, a, b)
    return not contains(machine, a, b)


def contains(machine: Machine, item: Any, container: Any) -> bool:
    """`item in container`: of a row item by item, of a text as a part."""
    if is_place(container, "map", "indexed"):
        found: bool = container.has(item)
        return found
    need_type(container, list, tuple, dict, str, bytes, range)
    if type(container) in {list, tuple}:
        return position_of(machine, container, item) is not None
    if type(container) is dict:
        machine.charge(GAS.search_item)
        return as_key(machine, item) in container
    need_type(item, int if type(container) is range else type(container))
    if type(container) is not range:
        machine.charge(compute_search_cost(len(container), len(item)))
    return item in container


def position_of(machine: Machine, row: Sequence[Any], item: Any) -> int | None:
    """Where the first equal item is; each one looked at is paid."""
    for at in range(len(row)):
        machine.charge(GAS.search_item)
        if equals(machine, item, row[at]):
            return at
    return None


# --- parts ---


def index_in(index: Any, length: int) -> int:
    """An index that is there; negative ones count from the end."""
    need_type(index, int)
    need(-length <= index < length, "INDEX")
    position: int = index if index >= 0 else index + length
    return position


def get_item(machine: Machine, container: Any, index: Any) -> Any:
    """`container[index]`."""
    if is_place(container, "map", "indexed"):
        entry = container.entry(index)
        if container.is_of_values():
            return entry.load()
        machine.charge(GAS.call)
        return entry
    if is_place(container, "vec"):
        return container.element_at(index).load()
    if is_place(container, "ledger"):
        return container.account(index).load()
    need_type(container, list, tuple, str, bytes, range, dict)
    if type(container) is dict:
        key = as_key(machine, index)
        need(key in container, "KEY")
        return container[key]
    return container[index_in(index, size_of(container))]


def set_item(machine: Machine, container: Any, index: Any, value: Any) -> None:
    """`container[index] = value`."""
    if is_place(container, "map", "indexed"):
        need(container.is_of_values(), "TYPE")
        container.entry(index).store(value)
    elif is_place(container, "vec"):
        container.element_at(index).store(value)
    elif type(container) is dict:
        key = as_key(machine, index)
        if key not in container:
            machine.charge(GAS.append)
            machine.grow(2)
        container[key] = value
    else:
        need_type(container, list)
        container[index_in(index, len(container))] = value


def delete_item(machine: Machine, container: Any, index: Any) -> None:
    """`del container[index]`."""
    if is_place(container, "map", "indexed"):
        container.delete(index)
        return
    need_type(container, dict)
    key = as_key(machine, index)
    need(key in container, "KEY")
    del container[key]


def get_slice(machine: Machine, container: Any, lower: Any, upper: Any) -> Any:
    """`container[lower:upper]`; bounds count from the end when negative and never lie outside."""
    need_type(container, list, tuple, str, bytes)
    need_type(lower, int, type(None))
    need_type(upper, int, type(None))
    length = len(container)
    start = 0 if lower is None else bound_in(lower, length)
    stop = length if upper is None else bound_in(upper, length)
    count = max(stop - start, 0)
    if type(container) in {str, bytes}:
        pay_text(machine, count)
    else:
        pay_row(machine, count)
    return container[start : start + count]


def bound_in(bound: int, length: int) -> int:
    """A bound of a slice as a place from 0 to the length."""
    return max(0, min(length, bound if bound >= 0 else bound + length))


def size_of(value: Any) -> int:
    """`len(value)` of what lives in memory."""
    need_type(value, list, tuple, str, bytes, dict, range)
    return length_of_range(value) if type(value) is range else len(value)


def items_of(machine: Machine, value: Any, per_item: int) -> Any:
    """The items of anything that has some, as a row, with so much gas for each; keys of a dict, elements of storage.

    A range stays a range: it may be longer than any list, and only what is paid for is made of it."""
    if is_place(value, "vec"):
        count = value.length()
        machine.charge(per_item * count)
        return [value.element(at).load() for at in range(count)]
    if is_place(value, "map", "indexed"):
        keys = value.keys()
        machine.charge(per_item * len(keys))
        return keys
    machine.charge(per_item * size_of(value))
    if type(value) is dict:
        return [from_key(key) for key in value]
    return value if type(value) is range else list_of(value)


def list_of(value: Any) -> list[Any]:
    """The items of a row in memory; of a byte string its numbers."""
    return [value[at] for at in range(len(value))]


# --- builtins ---


def call_builtin(machine: Machine, name: str, arguments: list[Any]) -> Any:
    """A builtin by its name. `sorted` is `sort`, because its key is a function of the contract."""
    if name in {"min", "max"}:
        return extreme(machine, name, arguments)
    if name == "range":
        return make_range(arguments)
    if name == "zip":
        return zipped(machine, arguments)
    if name in {"int", "str", "bool", "bytes"}:
        return convert(machine, name, arguments[0])
    return call_row_builtin(machine, name, arguments[0])


def call_row_builtin(machine: Machine, name: str, value: Any) -> Any:
    """The builtins of one value that are not conversions."""
    match name:
        case "abs":
            need_type(value, int)
            return in_range(-value if value < 0 else value)
        case "len":
            return value.length() if is_place(value, "vec") else size_of(value)
        case "all" | "any":
            verdicts = items_of(machine, value, GAS.fold_item)
            for verdict in verdicts:
                need_type(verdict, bool)
            return (False not in verdicts) if name == "all" else (True in verdicts)
        case "sum":
            total = 0
            for item in items_of(machine, value, GAS.fold_item):
                need_type(item, int)
                total = in_range(total + item)
            return total
        case "enumerate":
            items = items_of(machine, value, GAS.enumerate_item)
            machine.grow(3 * len(items))
            return [(at, items[at]) for at in range(len(items))]
        case "reversed":
            need_type(value, list, tuple, range, str, bytes)
            pay_row(machine, size_of(value))
            return [value[at] for at in range(len(value) - 1, -1, -1)]
    if type(value) is not Place:  # list and tuple; what comes from storage pays for being read
        pay_row(machine, size_of(value))
    items = list_of(items_of(machine, value, 0))
    return items if name == "list" else tuple(items)


def convert(machine: Machine, name: str, value: Any) -> Any:
    """int, str, bool and bytes of a value."""
    if name == "bytes":
        need_type(value, str)
        pay_text(machine, len(value) * 4)
        return value.encode("utf-8")
    if name == "bool":
        if type(value) in {int, bool, type(None)}:
            return value is True or (type(value) is int and value != 0)
        return size_of(value) > 0
    if name == "str":
        return to_text(machine, value)
    if type(value) is bool:
        return 1 if value else 0
    if type(value) is int:
        return value
    need_type(value, str)
    machine.charge(GAS.convert)
    digits = value[1:] if value[:1] == "-" else value
    need(1 <= len(digits) <= DIGITS_MAX and all(digit in "0123456789" for digit in digits), "VALUE")
    number = 0
    for digit in digits:
        number = number * 10 + "0123456789".index(digit)
    return in_range(-number if value[0] == "-" else number)


def to_text(machine: Machine, value: Any) -> str:
    """`str(value)`, also of each piece of an f-string: of a text, a bool or an int."""
    need_type(value, str, bool, int)
    if type(value) is int:
        machine.charge(GAS.convert)
        machine.grow(5)
    return str(value)


def make_range(bounds: list[Any]) -> range:
    """`range(...)`; its bounds lie within 2**62, so that its length is a number of the interpreter."""
    for bound in bounds:
        need_type(bound, int)
        need(-RANGE_BOUND < bound < RANGE_BOUND, "VALUE")
    need(len(bounds) < 3 or bounds[2] != 0, "VALUE")
    return range(*bounds)


def zipped(machine: Machine, rows: list[Any]) -> list[Any]:
    """`zip(...)`: as many tuples as the shortest row has items."""
    items = [items_of(machine, row, 1 if type(row) is dict else 0) for row in rows]
    count = min(len(row) for row in items)
    machine.charge(GAS.display + GAS.zip_row * len(rows) + (len(rows) + 1) * count)
    machine.grow((len(rows) + 1) * count)
    return [tuple(row[at] for row in items) for at in range(count)]


def extreme(machine: Machine, name: str, arguments: list[Any]) -> Any:
    """`min` or `max` of the arguments, or of the items of the only one; the first of equal ones."""
    items = items_of(machine, arguments[0] if len(arguments) == 1 else arguments, GAS.fold_item)
    need(len(items) > 0, "VALUE")
    best = items[0]
    comes_before(machine, best, best)  # even of a single item: is it of an ordered type?
    for at in range(1, len(items)):
        a, b = (best, items[at]) if name == "max" else (items[at], best)
        if comes_before(machine, a, b):
            best = items[at]
    return best


# --- sorting ---


def check_sortable(machine: Machine, keys: Sequence[Any], depth: int = 0) -> int:
    """All keys are of one ordered type (rows: of equal length, part by part); what one comparison weighs."""
    if len(keys) == 0:
        return 1
    machine.charge(len(keys))
    for key in keys:
        need_type(key, type(keys[0]))
    if type(keys[0]) in {int, bool}:
        return 1
    if type(keys[0]) in {str, bytes}:
        return 1 + sum(len(key) for key in keys) // len(keys) // GAS.text_compare_chars
    need_type(keys[0], list, tuple, StructValue)
    need(depth < SORT_DEPTH_MAX, "TYPE")
    rows = [parts_of(key) for key in keys]
    for at in range(len(rows)):
        need(len(rows[at]) == len(rows[0]), "TYPE")
        need(type(keys[at]) is not StructValue or keys[at].shape is keys[0].shape, "TYPE")
    machine.charge(2 * len(rows) * len(rows[0]))
    columns = [[row[part] for row in rows] for part in range(len(rows[0]))]
    return 1 + sum(check_sortable(machine, column, depth + 1) for column in columns)


def sort(machine: Machine, items: list[Any], keys: list[Any], *, reverse: bool) -> list[Any]:
    """The items in the order of their keys, equal ones as they stood, paid by the formula and not by what is done."""
    machine.charge(compute_sort_cost(len(items), check_sortable(machine, keys)))
    unpaid = Machine(machine.overlay)

    def order(a: int, b: int) -> int:
        unpaid.gas = TEXT_CHARS_MAX  # more than any single comparison costs
        if comes_before(unpaid, keys[a], keys[b]):
            return -1
        return 1 if comes_before(unpaid, keys[b], keys[a]) else 0

    positions = sorted(range(len(items)), key=cmp_to_key(order), reverse=reverse)
    return [items[at] for at in positions]
