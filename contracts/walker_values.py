"""Values as the slow walker sees them: comparison, keys of a dict, and how a value crosses into bytes and back.

Part of the definition of the language (`walker.py`). Of the fast engine's `values.py` it takes only the *form* of the
values that have no Python type of their own (structs, interfaces, wide keys), because the host hands those over; what
is done with them is written here a second time, from the rules: `contracts/README.md`, CONTRACTS.md sections 7 and 8.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from contracts.errors import Fault
from contracts.gas import CONTAINER_DEPTH_MAX, DICT_INT_KEY_MAX, GAS, INT_MAX, INT_MIN, TEXT_CHARS_MAX
from contracts.hints import Hint, has_parts
from contracts.machine import Machine
from contracts.values import Shapes, StructValue, WideKey
from ledger.encoding import encode
from ledger.errors import EncodingError

SCALARS: Final = {"int": int, "bool": bool, "str": str, "bytes": bytes, "none": type(None)}
ADDRESS_LENGTH: Final = 32


def need(condition: bool, code: str) -> None:
    """The CHECK of an operation: without the condition it is the fault `code`."""
    if not condition:
        raise Fault(code)


def need_type(value: Any, *kinds: type) -> None:
    """The value is of exactly one of these types, else TYPE. A bool is not an int."""
    need(type(value) in kinds, "TYPE")


def in_range(number: int) -> int:
    """The int, if it has 256 bits with its sign, else OVERFLOW."""
    need(INT_MIN <= number <= INT_MAX, "OVERFLOW")
    return number


def pay_text(machine: Machine, length: int) -> None:
    """A text or byte string of this length is going to be made."""
    need(length <= TEXT_CHARS_MAX, "TEXT_SIZE")
    machine.charge(GAS.text + length // GAS.text_chars)
    machine.grow(length // GAS.text_chars)


def pay_row(machine: Machine, count: int) -> None:
    """A row of this many items is going to be made."""
    machine.charge(GAS.display + GAS.display_item * count)
    machine.grow(count)


# --- comparison ---


def parts_of(value: Any) -> tuple[Any, ...]:
    """What a list, tuple or struct consists of, in order."""
    return value.values if type(value) is StructValue else tuple(value)


def type_of(value: Any) -> Any:
    """The type of a value; of a handle to storage, what is there: a map (whether indexed or not), a row or a ledger."""
    hint = getattr(value, "hint", None)
    if hint is None:
        return type(value)
    return "map" if hint.kind == "indexed" else hint.kind


def equals(machine: Machine, a: Any, b: Any, depth: int = 0) -> bool:
    """Same type and same value. Texts pay by the shorter one, containers for each pair of parts looked at."""
    if type_of(a) != type_of(b):
        return False
    if a is None or type(a) in {int, bool}:
        return bool(a == b)
    if type(a) in {str, bytes}:
        machine.charge(min(len(a), len(b)) // GAS.text_compare_chars)
        return bool(a == b)
    need(depth < CONTAINER_DEPTH_MAX, "DEPTH")
    if type(a) is range:
        return list_bounds(a) == list_bounds(b)
    if type(a) is dict:
        return len(a) == len(b) and all(equal_entries(machine, key, a, b, depth) for key in paid(machine, list(a)))
    need_type(a, list, tuple, StructValue)
    if type(a) is StructValue and a.shape is not b.shape:
        return False
    left, right = parts_of(a), parts_of(b)
    if len(left) != len(right):
        return False
    return all(equals(machine, left[at], right[at], depth + 1) for at in paid(machine, list(range(len(left)))))


def equal_entries(machine: Machine, key: Any, a: dict[Any, Any], b: dict[Any, Any], depth: int) -> bool:
    """Whether b has the key of a too, with an equal value. Looking for it compares keys in full."""
    if type(key) is not int:
        machine.charge(len(key.data if type(key) is WideKey else key) // GAS.text_compare_chars)
    return key in b and equals(machine, a[key], b[key], depth + 1)


def paid(machine: Machine, steps: list[Any]) -> Iterator[Any]:
    """The steps of a comparison of containers, each paid when it is taken."""
    for step in steps:
        machine.charge(GAS.equal_item)
        yield step


def list_bounds(row: range) -> tuple[int, ...]:
    """What makes two ranges the same row: how many numbers, the first, and the step between them."""
    count = length_of_range(row)
    return (count, row.start, row.step)[: 1 + min(count, 2)]


def length_of_range(row: range) -> int:
    """How many numbers a range has."""
    if row.step > 0:
        return max(0, (row.stop - row.start + row.step - 1) // row.step)
    return max(0, (row.start - row.stop - row.step - 1) // -row.step)


def comes_before(machine: Machine, a: Any, b: Any, depth: int = 0) -> bool:
    """The order of the language: numbers, texts, and rows by their first different part; TYPE for anything else."""
    need(type(a) is type(b), "TYPE")
    if type(a) in {int, bool}:
        return bool(a < b)
    if type(a) in {str, bytes}:
        machine.charge(min(len(a), len(b)) // GAS.text_compare_chars)
        return bool(a < b)
    need(depth < CONTAINER_DEPTH_MAX, "DEPTH")
    need_type(a, list, tuple, StructValue)
    need(type(a) is not StructValue or a.shape is b.shape, "TYPE")
    left, right = parts_of(a), parts_of(b)
    for at in range(min(len(left), len(right))):
        machine.charge(GAS.equal_item)
        if not equals(machine, left[at], right[at], depth + 1):
            return comes_before(machine, left[at], right[at], depth + 1)
    return len(left) < len(right)


# --- keys of a dict ---


def as_key(machine: Machine, value: Any) -> Any:
    """A value as a key: texts, bytes and ints; tuples of those and large ints stand under their canonical bytes."""
    need_type(value, str, bytes, int, tuple)
    if type(value) in {str, bytes}:
        machine.charge(len(value) // GAS.key_chars)
        return value
    if type(value) is int:
        if abs(value) < DICT_INT_KEY_MAX:
            return value
        machine.charge(GAS.convert)
        return WideKey(encode(value), value)
    machine.charge(GAS.equal_item * (1 + len(value)))
    for part in value:
        need_type(part, int, str, bytes)
    machine.charge(sum(len(part) // 16 for part in value if type(part) is not int))
    return WideKey(encode(value), value)


def from_key(key: Any) -> Any:
    """The value that a key of a dict stands for."""
    return key.value if type(key) is WideKey else key


# --- crossing into plain values and back ---


def zero_of(hint: Hint, shapes: Shapes) -> Any:
    """What storage reads before the first write."""
    match hint.kind:
        case "int" | "bool" | "str" | "bytes":
            return SCALARS[hint.kind]()
        case "address":
            return b"\x00" * ADDRESS_LENGTH
        case "list":
            return []
        case "dict":
            return {}
        case "tuple":
            return tuple(zero_of(part, shapes) for part in hint.arguments)
        case "struct":
            shape = shapes[hint.name]
            return StructValue(shape, tuple(zero_of(part, shapes) for part in shape.hints))
    return None


def to_plain(machine: Machine, value: Any, hint: Hint, shapes: Shapes, depth: int = 0) -> Any:
    """A value that fits the hint, as the encoder takes it: tuples and structs as lists; TYPE if it does not fit."""
    kind = hint.kind
    if kind in SCALARS:
        need_type(value, SCALARS[kind])
        return value
    if kind == "address":
        need(type(value) is bytes and len(value) == ADDRESS_LENGTH, "TYPE")
        return value
    need(depth < CONTAINER_DEPTH_MAX - 1, "DEPTH")
    if kind == "optional":
        return None if value is None else to_plain(machine, value, hint.arguments[0], shapes, depth + 1)
    need_type(value, {"list": list, "dict": dict, "tuple": tuple, "struct": StructValue}[kind])
    if kind == "dict":
        pay_parts(machine, 2 * len(value))
        key_hint, part_hint = hint.arguments
        made = {}
        for key, part in value.items():
            place = to_plain(machine, from_key(key), key_hint, shapes, depth + 1)
            made[place] = to_plain(machine, part, part_hint, shapes, depth + 1)
        return made
    need(kind != "struct" or value.shape is shapes[hint.name], "TYPE")
    parts = parts_of(value)
    hints = hint.arguments * len(parts) if kind == "list" else hint.arguments
    if kind == "struct":
        hints = value.shape.hints
    need(len(parts) == len(hints), "TYPE")
    pay_parts(machine, len(parts))
    return [to_plain(machine, part, inner, shapes, depth + 1) for part, inner in zip(parts, hints, strict=True)]


def pay_parts(machine: Machine, count: int) -> None:
    """Each value inside a container is checked and encoded."""
    machine.charge(GAS.container_item * count)
    machine.grow(count)


def from_plain(machine: Machine, plain: Any, hint: Hint, shapes: Shapes) -> Any:
    """The value whose plain form was stored. Gas was paid by the stored bytes; each part is a memory cell, and a part
    that is a container itself costs more."""
    kind = hint.kind
    if kind in SCALARS or kind == "address":
        return to_plain(machine, plain, hint, shapes)
    if kind == "optional":
        return None if plain is None else from_plain(machine, plain, hint.arguments[0], shapes)
    need_type(plain, dict if kind == "dict" else list)
    if kind == "dict":
        machine.grow(2 * len(plain))
        pay_nested(machine, hint.arguments[1:] * len(plain))
        made = {}
        for key, part in plain.items():
            place = as_key(machine, from_plain(machine, key, hint.arguments[0], shapes))
            made[place] = from_plain(machine, part, hint.arguments[1], shapes)
        return made
    machine.grow(len(plain))
    hints = hint.arguments * len(plain) if kind == "list" else hint.arguments
    if kind == "struct":
        hints = shapes[hint.name].hints
    need(len(plain) == len(hints), "TYPE")
    pay_nested(machine, hints)
    parts = [from_plain(machine, part, inner, shapes) for part, inner in zip(plain, hints, strict=True)]
    if kind == "struct":
        return StructValue(shapes[hint.name], tuple(parts))
    return parts if kind == "list" else tuple(parts)


def pay_nested(machine: Machine, hints: Sequence[Hint]) -> None:
    """Parts of these hints are going to be read: each container among them costs more than its bytes."""
    machine.charge(GAS.container_nested * sum(has_parts(hint) for hint in hints))


def any_from_plain(machine: Machine, plain: Any) -> Any:
    """The value of a plain one that has no hint: arrays are lists. Gas was paid by the bytes, but for what containers
    cost more; each part is a cell."""
    if type(plain) in {list, dict}:
        machine.charge(GAS.container_nested)
    if type(plain) is list:
        machine.grow(len(plain))
        return [any_from_plain(machine, part) for part in plain]
    if type(plain) is dict:
        machine.grow(2 * len(plain))
        return {as_key(machine, key): any_from_plain(machine, part) for key, part in plain.items()}
    return plain


def any_to_plain(machine: Machine, value: Any, depth: int = 0) -> Any:
    """A value of any hint as plain values: what `canonical` encodes. Keys of a dict are of one type, never tuples."""
    if value is None or type(value) in {int, bool, str, bytes}:
        return value
    need(depth < CONTAINER_DEPTH_MAX - 1, "DEPTH")
    machine.charge(GAS.container_item)
    need_type(value, list, tuple, StructValue, dict)
    if type(value) is dict:
        pay_parts(machine, 2 * len(value))
        keys = [from_key(key) for key in value]
        need(len({type(key) for key in keys}) <= 1 and not any(type(key) is tuple for key in keys), "TYPE")
        return {from_key(key): any_to_plain(machine, part, depth + 1) for key, part in value.items()}
    parts = parts_of(value)
    pay_parts(machine, len(parts))
    return [any_to_plain(machine, part, depth + 1) for part in parts]


def texts_in(plain: Any) -> Iterator[Any]:
    """Every text and byte string of a plain value, each as often as it stands there."""
    if type(plain) in {str, bytes}:
        yield plain
    elif type(plain) is dict:
        yield from (text for item in plain.items() for part in item for text in texts_in(part))
    elif type(plain) in {list, tuple}:
        yield from (text for part in plain for text in texts_in(part))


def to_bytes(plain: Any, bytes_max: int, code: str) -> bytes:
    """Canonical bytes, at most so many, else the fault `code`: before they are made, if its texts alone are more."""
    need(sum(len(text) for text in texts_in(plain)) <= bytes_max, code)
    try:
        data = encode(plain)
    except EncodingError as error:
        raise Fault("DEPTH" if error.code == "depth" else "TYPE") from None
    need(len(data) <= bytes_max, code)
    return data
