"""Rows read in one pass are those that the canonical decoder and the readers of hints give, for any bytes."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.boundary import Boundary
from contracts.errors import Fault
from contracts.hints import Hint
from contracts.machine import Machine
from contracts.overlay import Overlay
from contracts.short_rows import make_short_reader
from contracts.testing import MemoryState
from ledger.encoding import decode, encode
from ledger.errors import EncodingError

HINTS = [Hint(kind) for kind in ("int", "address", "bytes", "str", "bool")]
ADDRESS = bytes(range(32))
# Around every size that a number can have, and beyond those that the short way reads.
EDGES = [
    edge + step for power in (0, 5, 7, 8, 15, 16, 31, 32, 63, 64, 255) for edge in (1 << power,) for step in (-1, 0, 1)
]
NUMBERS = [*EDGES, *(-edge for edge in EDGES)]
VALUES = st.one_of(
    st.sampled_from(NUMBERS),
    st.booleans(),
    st.none(),
    st.sampled_from(["", "a", "é" * 15, "a" * 31, "a" * 32, "a" * 300]),
    st.sampled_from([b"", ADDRESS, ADDRESS[:31], ADDRESS + b"\0", bytes(255), bytes(256)]),
)


def read_by_definition(hints: Sequence[Hint], data: bytes) -> list[Any] | None:
    """Decode, then check; None for what is refused, or leaves out arguments that may have defaults."""
    read = Boundary(Machine(Overlay(MemoryState())), {}).row_reader(hints)
    try:
        plain = decode(data)
        return read(plain) if type(plain) is list and len(plain) == len(hints) else None
    except (EncodingError, Fault):
        return None


def check(hints: Sequence[Hint], data: bytes) -> list[Any] | None:
    """What the short way gives, after comparing it and the types of its values."""
    values = make_short_reader(hints)(data)
    if values is not None:
        expected = read_by_definition(hints, data)
        assert values == expected and list(map(type, values)) == list(map(type, expected or ()))
    return values


@settings(max_examples=300)
@given(st.lists(st.sampled_from(HINTS), max_size=4), st.data())
def test_the_short_way_gives_what_the_long_way_gives(hints: list[Hint], data: st.DataObject) -> None:
    """For rows that fit and rows that do not, whole, cut short, with bytes behind them, and with any byte changed."""
    fitting = {
        "int": st.sampled_from(NUMBERS), "address": st.just(ADDRESS), "bool": st.booleans(),
        "str": st.text(max_size=3), "bytes": st.binary(max_size=3),
    }  # fmt: skip
    values = [data.draw(st.one_of(fitting[hint.kind], fitting[hint.kind], VALUES)) for hint in hints]
    encoded = encode([value for value in values if type(value) is not int or -(2**255) <= value < 2**255])
    check(hints, encoded)
    check(hints, encoded[: data.draw(st.integers(0, len(encoded)))])
    check(hints, encoded + data.draw(st.binary(max_size=2)))
    place = data.draw(st.integers(0, len(encoded) - 1))
    check(hints, encoded[:place] + bytes([data.draw(st.integers(0, 255))]) + encoded[place + 1 :])


@pytest.mark.parametrize(("data", "hints"), [
    (b"\x91\xcc\x7f", "int"), (b"\x91\xcd\x00\xff", "int"), (b"\x91\xce\x00\x00\xff\xff", "int"),
    (b"\x91\xcf\x00\x00\x00\x00\xff\xff\xff\xff", "int"), (b"\x91\xcd\x01", "int"), (b"\x91\xc3", "int"),
    (b"\x91\x01", "bool"), (b"\x91\xc4\x20" + bytes(31), "address"), (b"\x91\xc4\x1f" + bytes(32), "address"),
    (b"\x91\xc5\x00\x20" + bytes(32), "address"), (b"\xdc\x00\x01\x05", "int"), (b"", "int"), (b"\x91", "int"),
    (b"\x92\x05\x05", "int"), (b"\x91\x05\x05", "int"), (b"\x90", "int"), (b"\x91\xa0", "bytes"),
    (b"\x91\xc4\x00", "str"), (b"\x91\xc4\x00", "bool"), (b"\x91\xc4\x00", "int"), (b"\x91\xc4\x01", "bytes"),
    (b"\x91\xa1", "str"), (b"\x91\xa1\xff", "str"), (b"\x91\xa3\xed\xa0\x80", "str"), (b"\x91\xd9\x01a", "str"),
    (b"\x91\xd0\xe0", "int"), (b"\x91\xd1\xff\x80", "int"), (b"\x91\xd2\xff\xff\x80\x00", "int"),
    (b"\x91\xd3\xff\xff\xff\xff\x80\x00\x00\x00", "int"), (b"\x91\xd0\x05", "int"), (b"\x91\xd1\xff", "int"),
    (b"\x91\xc0", "none"), (b"\x91\x90", "list"),
])  # fmt: skip
def test_what_it_does_not_know_it_leaves_to_the_long_way(data: bytes, hints: str) -> None:
    """A longer form, an end that comes early, no text, another type, another count, parts that have parts."""
    assert make_short_reader([Hint(hints)])(data) is None


def test_most_rows_are_read_the_short_way() -> None:
    """Numbers of up to eight bytes, short texts and bytes, addresses, bools, and nothing at all."""
    hints = [Hint(kind) for kind in ("address", "int", "bool", "int", "bool", "str", "bytes")]
    for number in (number for number in NUMBERS if -(2**63) <= number < 2**64):
        row = [ADDRESS, number, True, number, False, "é" * 15, bytes(255)]
        assert check(hints, encode(row)) == row
    assert check([], encode([])) == []
    assert check([Hint("int")] * 15, encode([1] * 15)) == [1] * 15
    assert check([Hint("int")] * 16, encode([1] * 16)) is None
