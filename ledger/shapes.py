"""Checks of decoded values: each returns the value at its type or raises `EncodingError` with code ``shape``.

Parsers of the ledger's formats are lists of these calls, so every field of every format is checked the same way.
`what` names the field in the error. Booleans are never integers here. Any object may be asked about, also one that
`decode` never gives: it is refused like the others.
"""

import re
from typing import Final

from ledger.encoding import Value
from ledger.errors import EncodingError

NAME_PATTERN: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""Names of contracts, methods and events."""


def expect_array(value: object, what: str, count: int | None = None) -> list[Value]:
    """An array, of exactly `count` elements if given."""
    if type(value) is not list:
        raise EncodingError("shape", f"{what}: an array is expected", got=type(value).__name__)
    if count is not None and len(value) != count:
        raise EncodingError("shape", f"{what}: wrong number of elements", expected=count, got=len(value))
    return value


def expect_int(value: object, what: str, low: int, high: int) -> int:
    """An integer in [low, high]."""
    if type(value) is not int:
        raise EncodingError("shape", f"{what}: an integer is expected", got=type(value).__name__)
    if not low <= value <= high:
        raise EncodingError("shape", f"{what}: out of range", expected_min=low, expected_max=high, got=value)
    return value


def expect_bytes(value: object, what: str, length: int | None = None) -> bytes:
    """A byte string, of exactly `length` bytes if given."""
    if type(value) is not bytes:
        raise EncodingError("shape", f"{what}: bytes are expected", got=type(value).__name__)
    if length is not None and len(value) != length:
        raise EncodingError("shape", f"{what}: wrong length", expected=length, got=len(value))
    return value


def expect_str(value: object, what: str, length_max: int) -> str:
    """A string of at most `length_max` characters."""
    if type(value) is not str:
        raise EncodingError("shape", f"{what}: a string is expected", got=type(value).__name__)
    if len(value) > length_max:
        raise EncodingError("shape", f"{what}: too long", expected_max=length_max, got=len(value))
    return value


def expect_name(value: object, what: str) -> str:
    """A string of `NAME_PATTERN`."""
    if type(value) is not str or NAME_PATTERN.fullmatch(value) is None:
        raise EncodingError("shape", f"{what}: a name is expected", pattern=NAME_PATTERN.pattern, got=value)
    return value
