"""Arguments as most calls have them, read in one pass: a short row of numbers, addresses and bools, none left out.

The canonical decoder makes plain values of any bytes, and the readers of `boundary.py` check these against the hints.
Where the hints are known before the bytes, both are one look at each head. This way never refuses: what it does not
know (a negative number, a default, bytes that are not canonical, another type) it leaves to the long way, which gives
the same values for the same bytes and has all the codes.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from contracts.hints import Hint
from contracts.values import ADDRESS_BYTES

ShortReader = Callable[[bytes], list[Any] | None]
"""From the canonical bytes of an array to its values; None where the long way has to look."""

_COUNT_MAX: Final = 15  # an array of more has another head
_LEAST_OF_HEAD: Final = {0xCC: 0x80, 0xCD: 0x100, 0xCE: 0x10000, 0xCF: 0x100000000}
"""Of a positive number by its head: the least that needs so many bytes."""
_BOOL_OF_HEAD: Final = {0xC2: False, 0xC3: True}
_ADDRESS_HEAD: Final = 0xC4


def read_the_long_way(_data: bytes) -> None:
    """The short reader of methods whose arguments are never read so, and of the definition of the language."""
    return


def make_short_reader(hints: Sequence[Hint]) -> ShortReader:
    """A reader of rows of these hints."""
    kinds = [hint.kind for hint in hints]
    if len(kinds) > _COUNT_MAX or not {*kinds} <= {"int", "address", "bool"}:
        return read_the_long_way
    row_head, least_of, from_bytes = 0x90 | len(kinds), _LEAST_OF_HEAD.get, int.from_bytes

    def read_short(data: bytes) -> list[Any] | None:
        values: list[Any] = []
        try:
            if data[0] != row_head:
                return None
            at = 1
            for kind in kinds:
                head = data[at]
                if kind == "int":
                    if head < 0x80:
                        values.append(head)
                        at += 1
                        continue
                    least = least_of(head)
                    if least is None:
                        return None
                    end = at + 1 + (1 << (head - 0xCC))
                    number = from_bytes(data[at + 1 : end], "big")
                    if number < least:
                        return None
                    values.append(number)
                    at = end
                elif kind == "address":
                    if head != _ADDRESS_HEAD or data[at + 1] != ADDRESS_BYTES:
                        return None
                    values.append(data[at + 2 : at + 2 + ADDRESS_BYTES])
                    at += 2 + ADDRESS_BYTES
                else:
                    values.append(_BOOL_OF_HEAD[head])
                    at += 1
        except LookupError:  # the bytes end early, or this is no bool
            return None
        return values if at == len(data) else None  # a last value that was cut short ends behind the bytes

    return read_short
