"""The values of the language, and how they compare.

A value is exactly int, bool, str, bytes, None, list, tuple, dict, range, a frozen struct, another contract's
interface, or a storage handle; every operation asks `type(x) is`. A bool is never an int. How they cross a boundary:
`boundary.py`.
"""

from typing import Any, Final

from contracts.errors import Fault
from contracts.gas import CONTAINER_DEPTH_MAX, DICT_INT_KEY_MAX, GAS
from contracts.hints import Hint
from contracts.machine import Machine
from contracts.tree import InterfaceDeclaration, Record
from ledger.encoding import encode

ADDRESS_BYTES: Final = 32


class StructShape:
    """One struct (or event) class of one contract."""

    __slots__ = ("fields", "hints", "name", "positions")

    def __init__(self, record: Record) -> None:
        self.name = record.name
        self.fields = tuple(field.name for field in record.fields)
        self.hints = tuple(field.hint for field in record.fields)
        self.positions = {name: position for position, name in enumerate(self.fields)}


class StructValue:
    """A frozen record."""

    __slots__ = ("shape", "values")

    def __init__(self, shape: StructShape, values: tuple[Any, ...]) -> None:
        self.shape = shape
        self.values = values


class InterfaceValue:
    """Another contract, as this contract knows it."""

    __slots__ = ("address", "declaration")

    def __init__(self, declaration: InterfaceDeclaration, address: bytes) -> None:
        self.declaration = declaration
        self.address = address


class WideKey:
    """A dict key that is compared by its canonical bytes: tuples and large ints, which the interpreter hashes
    predictably (CONTRACTS.md section 8 rule 5)."""

    __slots__ = ("data", "value")

    def __init__(self, data: bytes, value: Any) -> None:
        self.data = data
        self.value = value

    def __hash__(self) -> int:
        return hash(self.data)

    def __eq__(self, other: object) -> bool:
        return type(other) is WideKey and other.data == self.data


Shapes = dict[str, StructShape]


def make_key(machine: Machine, value: Any) -> Any:
    """A value as a key of a dict. Raises Fault TYPE for what cannot be one."""
    kind = type(value)
    if kind is str or kind is bytes:
        if len(value) >= GAS.key_chars:
            machine.charge(len(value) // GAS.key_chars)
        return value
    if kind is int:
        if -DICT_INT_KEY_MAX < value < DICT_INT_KEY_MAX:
            return value
        machine.charge(GAS.convert)
        return WideKey(encode(value), value)
    if kind is tuple:
        machine.charge(GAS.equal_item * (1 + len(value)))
        if not all(type(part) is int or type(part) is str or type(part) is bytes for part in value):
            raise Fault("TYPE")
        machine.charge(sum(len(part) >> 4 for part in value if type(part) is not int))
        return WideKey(encode(value), value)
    raise Fault("TYPE")


def keys_of(value: dict[Any, Any]) -> list[Any]:
    """The keys of a dict as values, in insertion order."""
    return [key.value if type(key) is WideKey else key for key in value]


def remove_key(pairs: dict[Any, Any], key: Any) -> Any:
    """Takes a key that is there out of a dict, and gives its value.

    The interpreter keeps the places of removed keys until the dict grows again, and passes over them in every walk: a
    dict that was large would be paid for by its few keys and take the time of its many places. So it is built anew, in
    the same order, when few are left of what its memory holds: that many removals have paid for it."""
    value = pairs.pop(key)
    if pairs.__sizeof__() > _DICT_BYTES_SLACK + _DICT_BYTES_PER_KEY * len(pairs):
        left = dict(pairs)
        pairs.clear()
        pairs.update(left)
    return value


_DICT_BYTES_PER_KEY: Final = 256
"""Of memory for each key that is left; twice what a dict that has just grown takes (120)."""
_DICT_BYTES_SLACK: Final = 1_024
"""Of memory that a dict of few keys may have all the same: 40 places, less to walk over than one call costs."""


def equals(machine: Machine, a: Any, b: Any, depth: int = 0) -> bool:
    """Whether two values are the same value; False for values of different types."""
    kind = type(a)
    if kind is not type(b):
        return False
    if kind is int or kind is bool or a is None:
        return bool(a == b)
    if kind is str or kind is bytes:
        _pay_comparison(machine, a, b)
        return bool(a == b)
    if depth >= CONTAINER_DEPTH_MAX:
        raise Fault("DEPTH")
    if kind is list or kind is tuple:
        return _equal_rows(machine, a, b, depth)
    if kind is StructValue:
        return a.shape is b.shape and _equal_rows(machine, a.values, b.values, depth)
    if kind is dict:
        if len(a) != len(b):
            return False
        for key, value in a.items():
            machine.charge(GAS.equal_item + _weigh_key(key))
            if key not in b or not equals(machine, value, b[key], depth + 1):
                return False
        return True
    if kind is range:
        return bool(a == b)
    raise Fault("TYPE")


def _pay_comparison(machine: Machine, a: Any, b: Any) -> None:
    """Texts or byte strings are compared as far as the shorter one goes; short ones, which most are, cost nothing."""
    length = len(a) if len(a) < len(b) else len(b)
    if length >= GAS.text_compare_chars:
        machine.charge(length // GAS.text_compare_chars)


def _weigh_key(key: Any) -> int:
    """What looking for a key of one dict in another costs: the interpreter compares them in full."""
    if type(key) is int:
        return 0
    return len(key.data if type(key) is WideKey else key) // GAS.text_compare_chars


def _equal_rows(machine: Machine, a: Any, b: Any, depth: int) -> bool:
    if len(a) != len(b):
        return False
    for left, right in zip(a, b, strict=True):
        machine.charge(GAS.equal_item)
        if not equals(machine, left, right, depth + 1):
            return False
    return True


def is_less(machine: Machine, a: Any, b: Any, depth: int = 0) -> bool:
    """Whether a comes before b; both of one ordered type: int, bool, str, bytes, rows and structs of those."""
    kind = type(a)
    if kind is not type(b):
        raise Fault("TYPE")
    if kind is int or kind is bool:
        return bool(a < b)
    if kind is str or kind is bytes:
        _pay_comparison(machine, a, b)
        return bool(a < b)
    if depth >= CONTAINER_DEPTH_MAX:
        raise Fault("DEPTH")
    if kind is StructValue and a.shape is b.shape:
        a, b = a.values, b.values
    elif kind is not list and kind is not tuple:
        raise Fault("TYPE")
    for left, right in zip(a, b, strict=False):
        machine.charge(GAS.equal_item)
        if not equals(machine, left, right, depth + 1):
            return is_less(machine, left, right, depth + 1)
    return len(a) < len(b)


def zero_value(hint: Hint, shapes: Shapes) -> Any:
    """What a storage place of this hint reads before its first write; a fresh value each time."""
    kind = hint.kind
    if kind == "struct":
        shape = shapes[hint.name]
        return StructValue(shape, tuple(zero_value(part, shapes) for part in shape.hints))
    if kind == "tuple":
        return tuple(zero_value(part, shapes) for part in hint.arguments)
    return _ZEROS[kind]() if kind in _ZEROS else None


_ZEROS: Final[dict[str, Any]] = {
    "int": int,
    "bool": bool,
    "str": str,
    "bytes": bytes,
    "address": lambda: bytes(ADDRESS_BYTES),
    "list": list,
    "dict": dict,
}
