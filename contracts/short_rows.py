"""Rows as most are, read in one pass: a few numbers, addresses, texts and bools, as arguments or as a stored struct.

The canonical decoder makes plain values of any bytes, and the readers of `boundary.py` check these against the hints.
Where the hints are known before the bytes, both are one look at each head. This way never refuses: what it does not
know (a part that has parts, a wide number, a long text, a default, another type, bytes that are not canonical) it
leaves to the long way, which gives the same values for the same bytes and has all the codes.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from contracts.hints import Hint
from contracts.values import ADDRESS_BYTES

ShortReader = Callable[[bytes], list[Any] | None]
"""From the canonical bytes of an array to its values; None where the long way has to look."""

_COUNT_MAX: Final = 15  # an array of more has another head
_NUMBER, _ADDRESS, _BYTES, _TEXT, _BOOL = range(5)
_KINDS: Final = {"int": _NUMBER, "address": _ADDRESS, "bytes": _BYTES, "str": _TEXT, "bool": _BOOL}
_LEAST_OF_HEAD: Final = {0xCC: 0x80, 0xCD: 0x100, 0xCE: 0x10000, 0xCF: 0x100000000}
"""Of a positive number by its head: the least that needs so many bytes."""
_ABOVE_OF_HEAD: Final = {0xD0: -0x20, 0xD1: -0x80, 0xD2: -0x8000, 0xD3: -0x80000000}
"""Of a negative number by its head: the most that needs fewer bytes."""
_BOOL_OF_HEAD: Final = {0xC2: False, 0xC3: True}
_BYTES_HEAD: Final = 0xC4  # their length is the next byte


def read_the_long_way(_data: bytes) -> None:
    """The short reader of rows that are never short, and of the definition of the language."""
    return


def make_short_reader(hints: Sequence[Hint]) -> ShortReader:
    """A reader of rows of these hints."""
    if len(hints) > _COUNT_MAX or not {hint.kind for hint in hints} <= {*_KINDS}:
        return read_the_long_way
    kinds, row_head = [_KINDS[hint.kind] for hint in hints], 0x90 | len(hints)
    least_of, above_of, from_bytes = _LEAST_OF_HEAD, _ABOVE_OF_HEAD, int.from_bytes

    def read_short(data: bytes) -> list[Any] | None:
        values: list[Any] = []
        try:
            if data[0] != row_head:
                return None
            at = 1
            for kind in kinds:
                head = data[at]
                if kind == _NUMBER:
                    if head < 0x80:
                        end = at + 1
                        values.append(head)
                    elif head < 0xD0:
                        least, end = least_of[head], at + 1 + (1 << (head & 0x03))
                        number = from_bytes(data[at + 1 : end], "big")
                        if number < least:
                            return None
                        values.append(number)
                    elif head < 0xE0:
                        above, end = above_of[head], at + 1 + (1 << (head & 0x03))
                        number = from_bytes(data[at + 1 : end], "big", signed=True)
                        if number >= above:
                            return None
                        values.append(number)
                    else:
                        end = at + 1
                        values.append(head - 0x100)
                elif head == _BYTES_HEAD:
                    end = at + 2 + data[at + 1]
                    if kind > _BYTES or (kind == _ADDRESS and end - at != 2 + ADDRESS_BYTES):
                        return None
                    values.append(data[at + 2 : end])
                elif kind == _TEXT:
                    if head & 0xE0 != 0xA0:  # longer than 31 bytes
                        return None
                    end = at + 1 + (head & 0x1F)
                    values.append(data[at + 1 : end].decode())
                elif kind == _BOOL:
                    end = at + 1
                    values.append(_BOOL_OF_HEAD[head])
                else:
                    return None
                at = end
        except (LookupError, UnicodeDecodeError):  # the bytes end early, or are no such value
            return None
        return values if at == len(data) else None  # a last value that was cut short ends behind the bytes

    return read_short
