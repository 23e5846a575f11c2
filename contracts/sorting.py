"""`sorted`: items of one ordered type, stable, paid by a formula before anything is compared.

The interpreter's own comparison does the work, on keys whose types were checked first. Rules: CONTRACTS.md sections 7
and 8 (rule 7).
"""

from collections.abc import Callable
from typing import Any, Final

from contracts.errors import Fault
from contracts.gas import GAS, compute_sort_cost
from contracts.machine import Machine
from contracts.operations import materialize
from contracts.values import StructValue


def sort(machine: Machine, value: Any, key: Callable[[Any], Any] | None, reverse: Any) -> Any:
    """`sorted(value, key=..., reverse=...)`: stable, keys computed left to right before anything is compared."""
    if type(reverse) is not bool:
        raise Fault("TYPE")
    items = list(materialize(machine, value, 1))
    machine.grow(2 * len(items))
    keys = items if key is None else [key(item) for item in items]
    weight = _weigh(machine, keys)
    machine.charge(compute_sort_cost(len(items), weight))
    if key is None and type(items[0] if items else 0) in _NATIVE_TYPES:
        return sorted(items, reverse=reverse)
    comparable = [_native(item) for item in keys]
    order = sorted(range(len(items)), key=comparable.__getitem__, reverse=reverse)
    return [items[position] for position in order]


def _weigh(machine: Machine, keys: Any, depth: int = 0) -> int:
    """Average cost of one comparison; checks that all keys are of one ordered type. Raises Fault TYPE."""
    if not keys:
        return 1
    kind = type(keys[0])
    machine.charge(len(keys))
    for key in keys:
        if type(key) is not kind:
            raise Fault("TYPE")
    if kind is int or kind is bool:
        return 1
    if kind is str or kind is bytes:
        return 1 + sum(map(len, keys)) // len(keys) // GAS.text_compare_chars
    if kind not in {tuple, list, StructValue} or depth >= 4:
        raise Fault("TYPE")
    rows = [key.values for key in keys] if kind is StructValue else keys
    if any(len(row) != len(rows[0]) for row in rows) or any(
        kind is StructValue and key.shape is not keys[0].shape for key in keys
    ):
        raise Fault("TYPE")
    machine.charge(2 * len(rows) * len(rows[0]))
    return 1 + sum(_weigh(machine, [row[part] for row in rows], depth + 1) for part in range(len(rows[0])))


_NATIVE_TYPES: Final = frozenset({int, bool, str, bytes})


def _native(key: Any) -> Any:
    """What the interpreter's own comparison orders as the language does; types were checked."""
    if type(key) is StructValue:
        key = key.values
    return tuple([_native(part) for part in key]) if type(key) in {tuple, list} else key
