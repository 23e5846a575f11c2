"""What operators and subscripts do with values: closed tables by exact type, each entry checked, paid, then done.

Integers stay in [-2**255, 2**255). Texts and byte strings stay below `TEXT_CHARS_MAX`. Whatever is not listed is the
fault TYPE. The shape of an operation is CHECK, CHARGE, EFFECT, RESULT. Builtins and methods: `builtins.py`.
"""

import operator
from collections.abc import Callable
from typing import Any, Final

from contracts.errors import Fault, OutOfGas
from contracts.gas import GAS, INT_MAX, INT_MIN, TEXT_CHARS_MAX, compute_search_cost
from contracts.machine import Machine
from contracts.storage import LedgerHandle, MapHandle, VecHandle
from contracts.values import equals, is_less, keys_of, make_key, remove_key

_NOTHING: Final = object()

Operation = Callable[[Machine, Any, Any], Any]


def checked(value: int) -> int:
    """An int within 256 bits. Raises Fault OVERFLOW."""
    if INT_MIN <= value <= INT_MAX:
        return value
    raise Fault("OVERFLOW")


def pay_text(machine: Machine, length: int) -> None:
    """Pay for producing a text or byte string of this length, before it is made."""
    if length > TEXT_CHARS_MAX:
        raise Fault("TEXT_SIZE")
    cells = length // GAS.text_chars
    machine.gas -= GAS.text + cells
    if machine.gas < 0:
        raise OutOfGas
    machine.cells -= cells
    if machine.cells < 0:
        raise Fault("MEMORY")


def pay_items(machine: Machine, count: int) -> None:
    """Pay for a new row of `count` items."""
    machine.gas -= GAS.display + count
    if machine.gas < 0:
        raise OutOfGas
    machine.cells -= count
    if machine.cells < 0:
        raise Fault("MEMORY")


def _ints(a: Any, b: Any) -> None:
    if type(a) is not int or type(b) is not int:
        raise Fault("TYPE")


def add(machine: Machine, a: Any, b: Any) -> Any:
    """Sum of ints; concatenation of texts, byte strings, lists or tuples."""
    kind = type(a)
    if kind is not type(b):
        raise Fault("TYPE")
    if kind is int:
        return checked(a + b)
    if kind is str or kind is bytes:
        pay_text(machine, len(a) + len(b))
        return a + b
    if kind is list or kind is tuple:
        pay_items(machine, len(a) + len(b))
        return a + b
    raise Fault("TYPE")


def subtract(machine: Machine, a: Any, b: Any) -> int:
    _ints(a, b)
    return checked(a - b)


def multiply(machine: Machine, a: Any, b: Any) -> int:
    _ints(a, b)
    return checked(a * b)


def floor_divide(machine: Machine, a: Any, b: Any) -> int:
    """Towards negative infinity, as in Python."""
    _ints(a, b)
    if b == 0:
        raise Fault("DIVISION")
    return checked(a // b)


def modulo(machine: Machine, a: Any, b: Any) -> int:
    """With the sign of the divisor, as in Python."""
    _ints(a, b)
    if b == 0:
        raise Fault("DIVISION")
    return int(a % b)


def power(machine: Machine, a: Any, b: Any) -> int:
    """Exponent 0 to 255; refused before the work if the result cannot fit."""
    _ints(a, b)
    if not 0 <= b <= 255:
        raise Fault("VALUE")
    if (abs(a).bit_length() - 1) * b >= 256:
        raise Fault("OVERFLOW")
    return checked(a**b)


def bit_and(machine: Machine, a: Any, b: Any) -> int:
    _ints(a, b)
    return int(a & b)


def bit_or(machine: Machine, a: Any, b: Any) -> int:
    _ints(a, b)
    return int(a | b)


def bit_xor(machine: Machine, a: Any, b: Any) -> int:
    _ints(a, b)
    return int(a ^ b)


def shift_left(machine: Machine, a: Any, b: Any) -> int:
    """By 0 to 255 bits; the result is checked."""
    _ints(a, b)
    if not 0 <= b <= 255:
        raise Fault("VALUE")
    return checked(a << b)


def shift_right(machine: Machine, a: Any, b: Any) -> int:
    """By 0 to 255 bits, towards negative infinity."""
    _ints(a, b)
    if not 0 <= b <= 255:
        raise Fault("VALUE")
    return int(a >> b)


BINARY: Final[dict[str, Operation]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "//": floor_divide,
    "%": modulo,
    "**": power,
    "&": bit_and,
    "|": bit_or,
    "^": bit_xor,
    "<<": shift_left,
    ">>": shift_right,
}
INT_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
"""What the operators of `BINARY` do with two ints, before the result is checked: those that cannot fail otherwise."""


def contains(machine: Machine, item: Any, container: Any) -> bool:
    """`item in container`."""
    kind = type(container)
    if kind is list or kind is tuple:
        for part in container:
            machine.charge(GAS.search_item)
            if equals(machine, item, part):
                return True
        return False
    if kind is dict:
        machine.charge(GAS.search_item)
        return make_key(machine, item) in container
    if (kind is str or kind is bytes) and type(item) is kind:
        machine.charge(compute_search_cost(len(container), len(item)))
        return item in container
    if kind is range and type(item) is int:
        return item in container
    if kind is MapHandle:
        return bool(container.contains(item))
    raise Fault("TYPE")


COMPARE: Final[dict[str, Callable[[Machine, Any, Any], bool]]] = {
    "==": equals,
    "!=": lambda machine, a, b: not equals(machine, a, b),
    "<": is_less,
    ">": lambda machine, a, b: is_less(machine, b, a),
    "<=": lambda machine, a, b: not is_less(machine, b, a),
    ">=": lambda machine, a, b: not is_less(machine, a, b),
    "in": contains,
    "not in": lambda machine, a, b: not contains(machine, a, b),
}


def _position(index: Any, length: int) -> int:
    if type(index) is not int:
        raise Fault("TYPE")
    if not -length <= index < length:
        raise Fault("INDEX")
    return int(index)


def get_item(machine: Machine, container: Any, index: Any) -> Any:
    """`container[index]`."""
    kind = type(container)
    if kind is MapHandle:
        return container.get(index)
    if kind is list or kind is tuple or kind is str or kind is range or kind is bytes:
        if type(index) is not int:
            raise Fault("TYPE")
        if not -len(container) <= index < len(container):
            raise Fault("INDEX")
        return container[index]
    if kind is dict:
        found = container.get(make_key(machine, index), _NOTHING)
        if found is _NOTHING:
            raise Fault("KEY")
        return found
    if kind is VecHandle:
        return container.codec.read(container.place(index))
    if kind is LedgerHandle:
        return container.balance(index)
    raise Fault("TYPE")


def set_item(machine: Machine, container: Any, index: Any, value: Any) -> None:
    """`container[index] = value`."""
    kind = type(container)
    if kind is MapHandle:
        container.set(index, value)
    elif kind is list:
        container[_position(index, len(container))] = value
    elif kind is dict:
        key = make_key(machine, index)
        if key not in container:
            machine.charge(GAS.append)
            machine.grow(2)
        container[key] = value
    elif kind is VecHandle:
        container.codec.write(container.place(index), value)
    else:
        raise Fault("TYPE")


def delete_item(machine: Machine, container: Any, index: Any) -> None:
    """`del container[index]`."""
    if type(container) is MapHandle:
        container.delete(index)
    elif type(container) is dict:
        key = make_key(machine, index)
        if key not in container:
            raise Fault("KEY")
        remove_key(container, key)
    else:
        raise Fault("TYPE")


def get_slice(machine: Machine, container: Any, lower: Any, upper: Any) -> Any:
    """`container[lower:upper]`, a bound that is not written is None."""
    kind = type(container)
    if kind is not list and kind is not tuple and kind is not str and kind is not bytes:
        raise Fault("TYPE")
    for bound in (lower, upper):
        if bound is not None and type(bound) is not int:
            raise Fault("TYPE")
    start, stop, _ = slice(lower, upper).indices(len(container))
    count = max(stop - start, 0)
    if kind is str or kind is bytes:
        pay_text(machine, count)
    else:
        pay_items(machine, count)
    return container[start : start + count]


def iterate(machine: Machine, value: Any) -> Any:
    """What a `for` steps over. Rows are read as they are at each step, dicts and storage as they were at the start."""
    kind = type(value)
    if kind is list or kind is tuple or kind is str or kind is range or kind is bytes:
        return value
    if kind is dict:
        pay_items(machine, len(value))
        return keys_of(value)
    if kind is VecHandle:
        return map(value.read_at, range(value.length()))
    if kind is MapHandle:
        return value.keys()
    raise Fault("TYPE")


def materialize(machine: Machine, value: Any, per_item: int) -> Any:
    """A sequence of the items, paid per item before they are made."""
    kind = type(value)
    if kind is list or kind is tuple or kind is str or kind is range or kind is bytes or kind is dict:
        machine.gas -= per_item * len(value)
        if machine.gas < 0:
            raise OutOfGas
        return keys_of(value) if kind is dict else value
    if kind is VecHandle:
        count = value.length()
        machine.charge(per_item * count)
        items = []
        for index in range(count):
            items.append(value.read_at(index))  # noqa: PERF401 (each read pays before the next)
        return items
    if kind is MapHandle:
        items = value.keys()
        machine.charge(per_item * len(items))
        return items
    raise Fault("TYPE")


def size_of(value: Any) -> int:
    """`len(value)` of what lives in memory."""
    kind = type(value)
    if kind is list or kind is str or kind is tuple or kind is bytes or kind is dict or kind is range:
        return len(value)  # of a range too: its bounds keep it below 2**63, where len() stops
    raise Fault("TYPE")
