"""What the last blocks wrote to the state: a record for each block, in a ring of `TURNS`. All else is written late.

A block of transfers changes a thousand values and as many buckets of the trie, each in a page of its own. So a block
writes what it changed once, in a row, into its place of the ring, and the tables of the state get it in a later turn,
together with what shares its pages (`ledger.late_values`, `ledger.late_records`), before the place is written over.
Whoever reads the state of a store reads the ring too, and nothing is lost with a process.

The format of a record: number of the turn (8 bytes); number of keys (4); the length of each key, then of each value
(2 each); the keys, ascending; the values. All numbers are big-endian. One length of a value is none: the table has the
value already, or the removed key no more. A record without keys says that everything up to it is in the tables.
"""

import sys
from array import array
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from ledger.errors import InvariantViolation
from ledger.store import Operation, Put, ReadView

TURNS: Final = 16
"""Blocks until a place is written over: as many as the trie has parts. Values wait for half of them."""

_NEWEST_KEY: Final = b"newest"  # -> number of the last turn, 8 bytes; all other keys are the place of a turn, 1 byte
_NUMBER_BYTES: Final = 8
_HEAD_BYTES: Final = _NUMBER_BYTES + 4
_IN_TABLE: Final = 0xFFFF

Values = dict[bytes, bytes]
"""By key."""


class Turn(NamedTuple):
    """What one block wrote."""

    number: int  # from 1 on
    keys: list[bytes]  # ascending; none where all that was written up to this turn is in the tables
    values: Values  # of those keys whose value waits, in the same order


def turn_operations(table: str, turn: Turn) -> list[Operation]:
    """What puts a turn into the ring, over the one `TURNS` before it."""
    number = turn.number.to_bytes(_NUMBER_BYTES, "big")
    return [Put(table, bytes((turn.number % TURNS,)), number + _write_content(turn)), Put(table, _NEWEST_KEY, number)]


def read_turns(view: ReadView, table: str, known: int = 0, last: int = TURNS) -> Iterator[Turn]:
    """Of so many last turns in the ring those above a known one, ascending.

    Raises InvariantViolation: damaged, or the view is older than the known turn.
    """
    data = view.get(table, _NEWEST_KEY)
    newest = 0 if data is None else int.from_bytes(data, "big")
    if newest < known:
        raise InvariantViolation("damaged", f"known turns of the table {table} are missing", expected=known, got=newest)
    for number in range(max(known, newest - last) + 1, newest + 1):
        data = view.get(table, bytes((number % TURNS,)))
        if data is None or data[:_NUMBER_BYTES] != number.to_bytes(_NUMBER_BYTES, "big"):
            raise InvariantViolation("damaged", f"a turn of the table {table} is missing", expected=number)
        turn = _parse_turn(number, data)
        if turn is None:
            raise InvariantViolation("damaged", f"a record of the table {table} is no turn", got=number)
        yield turn


def _write_content(turn: Turn) -> bytes:
    keys, values = turn.keys, turn.values
    lengths = array("H", map(len, keys))
    if len(values) == len(keys):  # the same, faster
        lengths.extend(map(len, values.values()))
    else:
        lengths.extend([len(values[key]) if key in values else _IN_TABLE for key in keys])
    return b"".join((len(keys).to_bytes(4, "big"), _big_endian(lengths).tobytes(), *keys, *values.values()))


def _big_endian(numbers: "array[int]") -> "array[int]":
    """From the machine's order or to it."""
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def _parse_turn(number: int, data: bytes) -> Turn | None:
    """None where a record is no turn."""
    count = int.from_bytes(data[_NUMBER_BYTES:_HEAD_BYTES], "big")
    begin = _HEAD_BYTES + 4 * count
    if begin > len(data):
        return None
    lengths = _big_endian(array("H", data[_HEAD_BYTES:begin]))
    is_plain = not count or max(lengths) < _IN_TABLE
    sizes = lengths if is_plain else [length if length < _IN_TABLE else 0 for length in lengths]
    ends = list(accumulate(sizes, initial=begin))
    if ends[-1] != len(data):
        return None
    fields = [data[start:end] for start, end in pairwise(ends)]
    keys = fields[:count]
    values: Values = dict(zip(keys, fields[count:], strict=True))
    if len(values) != count or b"" in values or keys != sorted(keys):
        return None
    if not is_plain:
        for key, length in zip(keys, lengths[count:], strict=True):
            if length == _IN_TABLE:
                del values[key]
    return Turn(number, keys, values)
