"""The builtins of the language and the methods of its values: closed tables by name and exact type.

Whatever runs inside the interpreter's C code is paid by a formula before it starts. Rules: CONTRACTS.md sections 6 to
8: case and white space are ASCII, `int` reads at most 77 digits. Sorting: `sorting.py`.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from contracts.errors import Fault, OutOfGas
from contracts.gas import GAS, compute_search_cost
from contracts.machine import Machine
from contracts.operations import checked, materialize, pay_items, pay_text, size_of
from contracts.storage import LedgerHandle, MapHandle, VecHandle
from contracts.values import WideKey, equals, is_less, keys_of, make_key, remove_key

_DIGITS: Final = re.compile(r"-?[0-9]{1,77}")
_SPACE: Final = " \t\n\r\x0b\x0c"
_SPACES: Final = re.compile(f"[{_SPACE}]+")
_UPPER: Final = {ord(letter): ord(letter.upper()) for letter in "abcdefghijklmnopqrstuvwxyz"}
_LOWER: Final = {upper: lower for lower, upper in _UPPER.items()}

_RANGE_MAX: Final = 2**62
"""Bounds of a range: its length then fits the interpreter's index type, and no loop could ever get so far."""


# --- builtins: each takes the machine and the arguments ---


def _abs(machine: Machine, value: Any) -> Any:
    if type(value) is not int:
        raise Fault("TYPE")
    return checked(abs(value))


def _all(machine: Machine, value: Any) -> bool:
    return not _meets(machine, value, False)


def _any(machine: Machine, value: Any) -> bool:
    return _meets(machine, value, True)


def _meets(machine: Machine, value: Any, wanted: bool) -> bool:
    """Whether one of the bools is the wanted one. Every item is checked, and paid for."""
    found = False
    for item in materialize(machine, value, GAS.fold_item):
        if item is wanted:
            found = True
        elif type(item) is not bool:
            raise Fault("TYPE")
    return found


def _bool(machine: Machine, value: Any) -> bool:
    kind = type(value)
    if kind is int or kind is bool or value is None:
        return bool(value)
    return size_of(value) > 0


def _bytes(machine: Machine, value: Any) -> bytes:
    if type(value) is not str:
        raise Fault("TYPE")
    pay_text(machine, len(value) * 4)  # at most four bytes for a character
    return value.encode("utf-8")


def _enumerate(machine: Machine, value: Any) -> Any:
    items = materialize(machine, value, GAS.enumerate_item)
    machine.grow(3 * len(items))
    return list(enumerate(items))


def _int(machine: Machine, value: Any) -> int:
    kind = type(value)
    if kind is int or kind is bool:
        return int(value)
    if kind is not str:
        raise Fault("TYPE")
    machine.charge(GAS.convert)
    if _DIGITS.fullmatch(value) is None:
        raise Fault("VALUE")
    return checked(int(value))


def _len(machine: Machine, value: Any) -> int:
    return value.length() if type(value) is VecHandle else size_of(value)


def _list(machine: Machine, value: Any) -> Any:
    kind = type(value)
    if kind is VecHandle or kind is MapHandle:
        return list(materialize(machine, value, 0))
    pay_items(machine, size_of(value))
    return keys_of(value) if kind is dict else list(value)


def _tuple(machine: Machine, value: Any) -> Any:
    return tuple(_list(machine, value))


def _fold_arguments(machine: Machine, values: tuple[Any, ...]) -> Any:
    items = materialize(machine, values[0] if len(values) == 1 else values, GAS.fold_item)
    if not items:
        raise Fault("VALUE")
    is_less(machine, items[0], items[0])  # of an ordered type
    return items


def _max(machine: Machine, *values: Any) -> Any:
    items = _fold_arguments(machine, values)
    best = items[0]
    for item in items[1:]:
        if is_less(machine, best, item):
            best = item
    return best


def _min(machine: Machine, *values: Any) -> Any:
    items = _fold_arguments(machine, values)
    best = items[0]
    for item in items[1:]:
        if is_less(machine, item, best):
            best = item
    return best


def _range(machine: Machine, *bounds: Any) -> range:
    for bound in bounds:
        if type(bound) is not int:
            raise Fault("TYPE")
        if not -_RANGE_MAX < bound < _RANGE_MAX:
            raise Fault("VALUE")
    if len(bounds) == 3 and bounds[2] == 0:
        raise Fault("VALUE")
    return range(*bounds)


def _reversed(machine: Machine, value: Any) -> Any:
    if type(value) not in {list, tuple, range, str, bytes}:
        raise Fault("TYPE")
    pay_items(machine, size_of(value))
    return list(value[::-1])


def _str(machine: Machine, value: Any) -> str:
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "True" if value else "False"
    if kind is not int:
        raise Fault("TYPE")
    machine.charge(GAS.convert)
    machine.grow(5)
    return str(value)


def _sum(machine: Machine, value: Any) -> int:
    total = 0
    for item in materialize(machine, value, GAS.fold_item):
        if type(item) is not int:
            raise Fault("TYPE")
        total = checked(total + item)
    return total


def _zip(machine: Machine, *rows: Any) -> Any:
    items = [materialize(machine, row, 1 if type(row) is dict else 0) for row in rows]
    cells = (len(rows) + 1) * min(map(len, items))
    machine.charge(GAS.display + GAS.zip_row * len(rows) + cells)
    machine.grow(cells)
    return list(zip(*items, strict=False))


BUILTIN_OPERATIONS: Final[dict[str, Callable[..., Any]]] = {
    "abs": _abs,
    "all": _all,
    "any": _any,
    "bool": _bool,
    "bytes": _bytes,
    "enumerate": _enumerate,
    "int": _int,
    "len": _len,
    "list": _list,
    "max": _max,
    "min": _min,
    "range": _range,
    "reversed": _reversed,
    "str": _str,
    "sum": _sum,
    "tuple": _tuple,
    "zip": _zip,
}


# --- methods of values ---


def _list_append(machine: Machine, row: Any, item: Any) -> None:
    machine.charge(GAS.append)
    machine.grow(1)
    row.append(item)


def _list_extend(machine: Machine, row: Any, other: Any) -> None:
    items = list(materialize(machine, other, 1))
    machine.grow(len(items))
    row.extend(items)


def _list_insert(machine: Machine, row: Any, index: Any, item: Any) -> None:
    if type(index) is not int:
        raise Fault("TYPE")
    machine.charge(GAS.insert + len(row) // GAS.insert_items)
    machine.grow(1)
    row.insert(max(-len(row), min(index, len(row))), item)


def _list_pop(machine: Machine, row: Any, index: Any = -1) -> Any:
    if type(index) is not int:
        raise Fault("TYPE")
    if not -len(row) <= index < len(row):
        raise Fault("INDEX")
    machine.gas -= GAS.insert + (0 if index == -1 else len(row) // GAS.insert_items)
    if machine.gas < 0:
        raise OutOfGas
    return row.pop(index)


def _row_index(machine: Machine, row: Any, item: Any) -> int:
    for position, part in enumerate(row):
        machine.charge(GAS.search_item)
        if equals(machine, item, part):
            return position
    raise Fault("VALUE")


def _list_copy(machine: Machine, row: Any) -> Any:
    pay_items(machine, len(row))
    return list(row)


def _dict_get(machine: Machine, pairs: Any, key: Any, otherwise: Any = None) -> Any:
    return pairs.get(make_key(machine, key), otherwise)


def _dict_keys(machine: Machine, pairs: Any) -> Any:
    pay_items(machine, len(pairs))
    return keys_of(pairs)


def _dict_values(machine: Machine, pairs: Any) -> Any:
    pay_items(machine, len(pairs))
    return list(pairs.values())


def _dict_items(machine: Machine, pairs: Any) -> Any:
    pay_items(machine, 3 * len(pairs))
    return [(key.value if type(key) is WideKey else key, value) for key, value in pairs.items()]


_NOTHING: Final = object()


def _dict_pop(machine: Machine, pairs: Any, key: Any = _NOTHING, otherwise: Any = _NOTHING) -> Any:
    if key is _NOTHING:
        raise Fault("TYPE")
    place = make_key(machine, key)
    if place in pairs:
        return remove_key(pairs, place)
    if otherwise is _NOTHING:
        raise Fault("KEY")
    return otherwise


def _same_text(text: Any, *others: Any) -> None:
    for other in others:
        if type(other) is not type(text):
            raise Fault("TYPE")


def _str_join(machine: Machine, text: Any, row: Any) -> str:
    items, kind = list(materialize(machine, row, 1)), type(text)
    for item in items:
        if type(item) is not kind:
            raise Fault("TYPE")
    pay_text(machine, sum(map(len, items)) + len(text) * max(len(items) - 1, 0))
    return str(text.join(items))


def _str_split(machine: Machine, text: Any, separator: Any = _NOTHING) -> Any:
    if separator is _NOTHING:
        machine.charge(GAS.text_search + len(text) // GAS.text_search_chars)
        count = len(_SPACES.findall(text)) + 1
    else:
        _same_text(text, separator)
        if separator == "":
            raise Fault("VALUE")
        machine.charge(compute_search_cost(len(text), len(separator)))
        count = text.count(separator) + 1
    pay_text(machine, len(text))
    machine.charge(GAS.display + 2 * count)
    machine.grow(2 * count)
    if separator is _NOTHING:
        return [piece for piece in _SPACES.split(text) if piece]
    return text.split(separator)


def _str_strip(machine: Machine, text: Any) -> str:
    pay_text(machine, len(text))
    return str(text.strip(_SPACE))


def _startswith(machine: Machine, text: Any, start: Any) -> bool:
    _same_text(text, start)
    machine.charge(len(start) // GAS.text_compare_chars)
    return bool(text.startswith(start))


def _endswith(machine: Machine, text: Any, end: Any) -> bool:
    _same_text(text, end)
    machine.charge(len(end) // GAS.text_compare_chars)
    return bool(text.endswith(end))


def _replace(machine: Machine, text: Any, old: Any, new: Any) -> Any:
    """Counted first, so that the length of the result is paid before it is made."""
    _same_text(text, old, new)
    machine.charge(compute_search_cost(len(text), len(old)))
    count = text.count(old)
    pay_text(machine, len(text) + count * (len(new) - len(old)))
    if count:
        machine.charge(count)
    return text.replace(old, new)


def _str_upper(machine: Machine, text: Any) -> str:
    machine.charge(len(text))
    pay_text(machine, len(text))
    return str(text.translate(_UPPER))


def _str_lower(machine: Machine, text: Any) -> str:
    machine.charge(len(text))
    pay_text(machine, len(text))
    return str(text.translate(_LOWER))


def _find(machine: Machine, text: Any, part: Any) -> int:
    _same_text(text, part)
    machine.charge(compute_search_cost(len(text), len(part)))
    return int(text.find(part))


def _bytes_hex(machine: Machine, data: Any) -> str:
    pay_text(machine, 2 * len(data))
    return str(data.hex())


def _map_values(machine: Machine, storage: Any) -> Any:
    return [storage.get(key) for key in storage.keys()]  # noqa: SIM118 (a handle, not a dict)


def _map_items(machine: Machine, storage: Any) -> Any:
    keys = storage.keys()
    machine.grow(3 * len(keys))
    return [(key, storage.get(key)) for key in keys]


# (type, name) -> operation, least and most arguments.
METHODS: Final[dict[tuple[type, str], tuple[Callable[..., Any], int, int]]] = {
    (list, "append"): (_list_append, 1, 1),
    (list, "extend"): (_list_extend, 1, 1),
    (list, "insert"): (_list_insert, 2, 2),
    (list, "pop"): (_list_pop, 0, 1),
    (list, "index"): (_row_index, 1, 1),
    (list, "copy"): (_list_copy, 0, 0),
    (dict, "get"): (_dict_get, 1, 2),
    (dict, "items"): (_dict_items, 0, 0),
    (dict, "keys"): (_dict_keys, 0, 0),
    (dict, "values"): (_dict_values, 0, 0),
    (dict, "pop"): (_dict_pop, 1, 2),
    (str, "join"): (_str_join, 1, 1),
    (str, "split"): (_str_split, 0, 1),
    (str, "strip"): (_str_strip, 0, 0),
    (str, "startswith"): (_startswith, 1, 1),
    (str, "endswith"): (_endswith, 1, 1),
    (str, "replace"): (_replace, 2, 2),
    (str, "upper"): (_str_upper, 0, 0),
    (str, "lower"): (_str_lower, 0, 0),
    (str, "find"): (_find, 1, 1),
    (bytes, "hex"): (_bytes_hex, 0, 0),
    (MapHandle, "keys"): (lambda machine, storage: storage.keys(), 0, 0),
    (MapHandle, "values"): (_map_values, 0, 0),
    (MapHandle, "items"): (_map_items, 0, 0),
    (VecHandle, "append"): (lambda machine, row, item: row.append(item), 1, 1),
    (VecHandle, "pop"): (lambda machine, row: row.pop(), 0, 0),
    (LedgerHandle, "move"): (lambda machine, ledger, *arguments: ledger.move(*arguments), 3, 3),
    (LedgerHandle, "mint"): (lambda machine, ledger, *arguments: ledger.mint(*arguments), 2, 2),
    (LedgerHandle, "burn"): (lambda machine, ledger, *arguments: ledger.burn(*arguments), 2, 2),
    (LedgerHandle, "total"): (lambda machine, ledger: ledger.total(), 0, 0),
}
