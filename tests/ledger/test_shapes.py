"""Checks of decoded values: each takes its own type alone, exactly, and refuses every other object alike."""

from enum import IntEnum

import pytest

from ledger.errors import EncodingError
from ledger.shapes import expect_array, expect_bytes, expect_int, expect_name, expect_str


class Number(IntEnum):
    ONE = 1


class Name(str):
    __slots__ = ()


OTHERS: list[object] = [
    None,
    True,
    Number.ONE,
    Name("name"),
    1.0,
    (),
    (1,),
    {},
    bytearray(b"1"),
    memoryview(b"1"),
    object(),
]


def test_what_holds_is_given_back() -> None:
    """The value itself."""
    assert expect_array([1], "it", 1) == [1]
    assert expect_int(5, "it", 5, 5) == 5
    assert expect_bytes(b"12", "it", 2) == b"12"
    assert expect_str("12", "it", 2) == "12"
    assert expect_name("a_1", "it") == "a_1"


@pytest.mark.parametrize("value", OTHERS, ids=repr)
def test_other_types_are_refused(value: object) -> None:
    """Also those that no decoder gives, and subtypes: a bool is no integer, a tuple no array."""
    for refuse in (
        lambda: expect_array(value, "it"),
        lambda: expect_int(value, "it", 0, 9),
        lambda: expect_bytes(value, "it"),
        lambda: expect_str(value, "it", 9),
        lambda: expect_name(value, "it"),
    ):
        with pytest.raises(EncodingError, match="shape: it: "):
            refuse()
