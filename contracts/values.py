"""The values of the language, how they compare, and how they cross a boundary.

A value is exactly int, bool, str, bytes, None, list, tuple, dict, range, a frozen struct, another contract's
interface, or a storage handle; every operation asks `type(x) is`. A bool is never an int. Crossing a boundary
(storage, arguments, results, events, other contracts) means: checked against the declared hint, taken apart into
plain values (structs become lists) and encoded canonically; what is read is put together again, so nothing live ever
crosses.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any, Final

from contracts.errors import Fault
from contracts.gas import CONTAINER_DEPTH_MAX, DICT_INT_KEY_MAX, GAS
from contracts.hints import Hint
from contracts.machine import Machine
from contracts.tree import InterfaceDeclaration, Record
from ledger.encoding import encode
from ledger.errors import EncodingError

ADDRESS_BYTES: Final = 32
_NIL: Final = encode(None)


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
_PLAIN_TYPES: Final = {"int": int, "bool": bool, "str": str, "bytes": bytes, "none": type(None)}


def take_apart(machine: Machine, value: Any, hint: Hint, shapes: Shapes, depth: int = 0) -> Any:
    """A value as plain values for the encoder. Raises Fault TYPE if it does not fit the hint; pays per part."""
    kind = hint.kind
    plain = _PLAIN_TYPES.get(kind)
    if plain is not None:
        if type(value) is not plain:
            raise Fault("TYPE")
        return value
    if kind == "address":
        if type(value) is not bytes or len(value) != ADDRESS_BYTES:
            raise Fault("TYPE")
        return value
    if depth >= CONTAINER_DEPTH_MAX - 1:
        raise Fault("DEPTH")
    if kind == "optional":
        return None if value is None else take_apart(machine, value, hint.arguments[0], shapes, depth + 1)
    if kind == "list":
        if type(value) is not list:
            raise Fault("TYPE")
        _pay_parts(machine, len(value))
        return _take_parts_apart(machine, value, repeat(hint.arguments[0]), shapes, depth + 1)
    if kind == "dict":
        return _take_dict_apart(machine, value, hint, shapes, depth)
    if kind == "tuple" and type(value) is tuple:
        return _take_row_apart(machine, value, hint.arguments, shapes, depth)
    if kind == "struct" and type(value) is StructValue and value.shape is shapes[hint.name]:
        return _take_row_apart(machine, value.values, value.shape.hints, shapes, depth)
    raise Fault("TYPE")


def _pay_parts(machine: Machine, count: int) -> None:
    machine.charge(GAS.container_item * count)
    machine.grow(count)


def _take_row_apart(
    machine: Machine, values: tuple[Any, ...], hints: tuple[Hint, ...], shapes: Shapes, depth: int
) -> list[Any]:
    if len(values) != len(hints):
        raise Fault("TYPE")
    _pay_parts(machine, len(values))
    return _take_parts_apart(machine, values, hints, shapes, depth + 1)


def _take_parts_apart(
    machine: Machine, values: Sequence[Any], hints: Iterable[Hint], shapes: Shapes, depth: int
) -> list[Any]:
    """The parts of a row; those of plain types, which most are, are looked at in place."""
    parts: list[Any] = []
    for part, hint in zip(values, hints, strict=False):
        expected = _PLAIN_TYPES.get(hint.kind)
        if expected is None:
            part = take_apart(machine, part, hint, shapes, depth)
        elif type(part) is not expected:
            raise Fault("TYPE")
        parts.append(part)
    return parts


def _take_dict_apart(machine: Machine, value: Any, hint: Hint, shapes: Shapes, depth: int) -> dict[Any, Any]:
    if type(value) is not dict:
        raise Fault("TYPE")
    _pay_parts(machine, 2 * len(value))
    key_hint, value_hint = hint.arguments
    return {
        take_apart(machine, key.value if type(key) is WideKey else key, key_hint, shapes, depth + 1): take_apart(
            machine, part, value_hint, shapes, depth + 1
        )
        for key, part in value.items()
    }


def put_together(machine: Machine, plain: Any, hint: Hint, shapes: Shapes) -> Any:
    """The value of a decoded plain value. Raises Fault TYPE if it does not fit the hint.

    The caller has paid by the encoded length (`GasTable.container_byte`)."""
    kind = hint.kind
    expected = _PLAIN_TYPES.get(kind)
    if expected is not None:
        if type(plain) is not expected:
            raise Fault("TYPE")
        return plain
    if kind == "address":
        if type(plain) is not bytes or len(plain) != ADDRESS_BYTES:
            raise Fault("TYPE")
        return plain
    if kind == "optional":
        return None if plain is None else put_together(machine, plain, hint.arguments[0], shapes)
    if kind == "dict":
        if type(plain) is not dict:
            raise Fault("TYPE")
        machine.grow(2 * len(plain))
        key_hint, value_hint = hint.arguments
        return {
            make_key(machine, put_together(machine, key, key_hint, shapes)): put_together(
                machine, part, value_hint, shapes
            )
            for key, part in plain.items()
        }
    if type(plain) is not list:
        raise Fault("TYPE")
    machine.grow(len(plain))
    if kind == "list":
        return _put_parts_together(machine, plain, repeat(hint.arguments[0]), shapes)
    hints = shapes[hint.name].hints if kind == "struct" else hint.arguments
    if len(plain) != len(hints):
        raise Fault("TYPE")
    parts = tuple(_put_parts_together(machine, plain, hints, shapes))
    return StructValue(shapes[hint.name], parts) if kind == "struct" else parts


def _put_parts_together(machine: Machine, plain: list[Any], hints: Iterable[Hint], shapes: Shapes) -> list[Any]:
    """The parts of a row; those of plain types, which most are, are looked at in place."""
    parts: list[Any] = []
    for part, hint in zip(plain, hints, strict=False):
        expected = _PLAIN_TYPES.get(hint.kind)
        if expected is None:
            part = put_together(machine, part, hint, shapes)
        elif type(part) is not expected:
            raise Fault("TYPE")
        parts.append(part)
    return parts


def put_any_together(machine: Machine, plain: Any) -> Any:
    """The value of a decoded plain value that no hint describes: arrays become lists. The caller has paid by length."""
    if type(plain) is list:
        machine.grow(len(plain))
        return [put_any_together(machine, part) for part in plain]
    if type(plain) is dict:
        machine.grow(2 * len(plain))
        return {make_key(machine, key): put_any_together(machine, part) for key, part in plain.items()}
    return plain


def take_any_apart(machine: Machine, value: Any, depth: int = 0) -> Any:
    """A value without a hint as plain values: for `canonical`, and arguments before the callee's hints are known."""
    kind = type(value)
    if kind is int or kind is bool or kind is str or kind is bytes or value is None:
        return value
    if depth >= CONTAINER_DEPTH_MAX - 1:
        raise Fault("DEPTH")
    machine.charge(GAS.container_item)
    if kind is StructValue:
        value = value.values
    elif kind is dict:
        _pay_parts(machine, 2 * len(value))
        kinds = {type(key.value) if type(key) is WideKey else type(key) for key in value}
        if len(kinds) > 1 or tuple in kinds:
            raise Fault("TYPE")
        return {
            key.value if type(key) is WideKey else key: take_any_apart(machine, part, depth + 1)
            for key, part in value.items()
        }
    elif kind is not list and kind is not tuple:
        raise Fault("TYPE")
    _pay_parts(machine, len(value))
    return [take_any_apart(machine, part, depth + 1) for part in value]


def _measure_texts(plain: Any, enough: int) -> int:
    """Characters and bytes of all texts in plain values, keys included; at least `enough` + 1 as soon as it is more."""
    kind = type(plain)
    if kind is str or kind is bytes:
        return len(plain)
    if kind is not list and kind is not dict:
        return 0
    length = 0
    for part in plain if kind is list else chain(plain, plain.values()):
        kind = type(part)
        if kind is str or kind is bytes:
            length += len(part)
        elif kind is list or kind is dict:
            length += _measure_texts(part, enough - length)
        if length > enough:
            break
    return length


def encode_plain(machine: Machine, plain: Any, bytes_max: int, code: str) -> bytes:
    """Canonical bytes of plain values, at most `bytes_max`, else Fault with the code.

    A text that stands in a list a thousand times is one text in memory and a thousand in the bytes, so the lengths of
    all texts are added up before anything is made."""
    if plain is None:
        return _NIL
    if _measure_texts(plain, bytes_max) > bytes_max:
        raise Fault(code)
    try:
        data = encode(plain)
    except EncodingError as error:
        raise Fault("DEPTH" if error.code == "depth" else "TYPE") from None
    if len(data) > bytes_max:
        raise Fault(code)
    return data
