"""Type hints as data: what a field, a parameter, a result or an event field was declared to be.

Owns the closed set of kinds and their canonical form in the tree. Hints are checked where values cross a boundary
(arguments, results, storage, events, other contracts); inside a contract the runtime tags decide (CONTRACTS.md
section 5), and hints there are for people and mypy. Turning values into plain values and back: `values.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.encoding import Value
from ledger.errors import EncodingError
from ledger.shapes import expect_array, expect_str

PLAIN_KINDS: Final = frozenset({"int", "bool", "str", "bytes", "address", "none"})
"""Kinds without parts."""

KEY_KINDS: Final = frozenset({"int", "bool", "str", "bytes", "address"})
"""Kinds that can be (part of) a storage key."""

DICT_KEY_KINDS: Final = frozenset({"int", "str", "bytes", "address"})
"""Kinds that can be a key of a dict that crosses a boundary: what the canonical encoding allows."""

STORED_KINDS: Final = frozenset({*PLAIN_KINDS, "optional", "list", "tuple", "dict", "struct"})
"""Kinds whose values are stored and cross boundaries."""

HANDLE_KINDS: Final = frozenset({"map", "indexed", "vec", "ledger"})
"""Kinds of storage fields that are not plain values: handles."""

LOCAL_KINDS: Final = frozenset({"interface", "event"})
"""Kinds that only local variables and helper parameters can have."""

STRUCT_VALUES_MAX: Final = 1_000
"""Values in a struct and the structs inside it: a missing one is made whole when it is read, and a few lines of
declarations could otherwise ask for any number."""

HINT_DEPTH_MAX: Final = 6
"""Hints inside each other: with the tree's own nesting this stays below the encoding's depth of 16."""

_ARGUMENT_COUNTS: Final = {"optional": 1, "list": 1, "dict": 2, "map": 2, "indexed": 2, "vec": 1}


@dataclass(frozen=True, slots=True)
class Hint:
    """One type hint."""

    kind: str
    name: str = ""
    """Of a struct, interface or event: its class."""
    arguments: "tuple[Hint, ...]" = ()
    """Of a list, tuple, dict, optional, map or vec: what it consists of; of a map (key, value)."""

    def to_plain(self) -> Value:
        """Its form in the tree: the kind alone, or a list."""
        if self.name:
            return [self.kind, self.name]
        if self.arguments or self.kind == "tuple":
            return [self.kind, *(argument.to_plain() for argument in self.arguments)]
        return self.kind


def parse_hint(value: Value, depth: int = 0) -> Hint:
    """The hint whose `to_plain` is `value`. Raises EncodingError."""
    if depth > HINT_DEPTH_MAX:
        raise EncodingError("shape", "hint nested too deeply", expected_max=HINT_DEPTH_MAX)
    if type(value) is str:
        if value not in PLAIN_KINDS and value != "ledger":
            raise EncodingError("shape", "unknown hint", got=value)
        return Hint(value)
    parts = expect_array(value, "hint")
    kind = expect_str(parts[0] if parts else None, "hint kind", 16)
    if kind in {"struct", "interface", "event"}:
        return Hint(kind, name=expect_str(parts[1] if len(parts) == 2 else None, "hint name", 64))
    count = len(parts) - 1
    if kind != "tuple" and _ARGUMENT_COUNTS.get(kind) != count:
        raise EncodingError("shape", "unknown hint", got=kind)
    return Hint(kind, arguments=tuple(parse_hint(part, depth + 1) for part in parts[1:]))


def is_key(hint: Hint) -> bool:
    """Whether values of this hint can be storage keys."""
    if hint.kind == "tuple":
        return 0 < len(hint.arguments) <= 15 and all(part.kind in KEY_KINDS for part in hint.arguments)
    return hint.kind in KEY_KINDS


def is_stored(hint: Hint) -> bool:
    """Whether values of this hint can be stored, passed to other contracts, returned and emitted."""
    return hint.kind in STORED_KINDS and all(is_stored(part) for part in hint.arguments)


def has_parts(hint: Hint) -> bool:
    """Whether values of this hint are containers; of an optional one, those that are there."""
    if hint.kind == "optional":
        return has_parts(hint.arguments[0])
    return hint.kind in {"list", "tuple", "dict", "struct"}


def depth_of(hint: Hint) -> int:
    """Hints inside each other, 1 for a hint without parts."""
    return 1 + max((depth_of(part) for part in hint.arguments), default=0)


def count_zero_values(hint: Hint, hints_of: Callable[[str], Sequence[Hint]]) -> int:
    """Values in the zero value of a hint: of structs and tuples themselves and all parts; 0 for what has no parts.

    `hints_of` gives the field hints of a struct. STRUCT_VALUES_MAX bounds what one struct adds.
    """
    if hint.kind not in {"struct", "tuple"}:
        return 0
    parts = hints_of(hint.name) if hint.kind == "struct" else hint.arguments
    return 1 + sum(max(count_zero_values(part, hints_of), 1) for part in parts)


def is_field(hint: Hint) -> bool:
    """Whether a contract can declare a storage field of this hint."""
    if hint.kind == "map":
        return is_key(hint.arguments[0]) and (is_field(hint.arguments[1]) and hint.arguments[1].kind != "ledger")
    if hint.kind == "indexed":
        return is_key(hint.arguments[0]) and is_stored(hint.arguments[1])
    if hint.kind == "vec":
        return is_stored(hint.arguments[0])
    return hint.kind == "ledger" or is_stored(hint)
