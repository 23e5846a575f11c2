"""Counting values without making them: beside a slow count of what the decoder makes, and on any bytes at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import decode, encode
from ledger.errors import EncodingError
from ledger.value_count import has_more_values

scalars = st.none() | st.booleans() | st.integers(-(2**255), 2**255 - 1) | st.binary(max_size=300) | st.text("aé")
values = st.recursive(
    scalars,
    lambda children: (
        st.lists(children, max_size=40)
        | st.dictionaries(st.integers(-(2**70), 2**70), children)
        | st.dictionaries(st.text("xyz", max_size=40), children)
    ),
    max_leaves=60,
)


def count_slowly(value: object) -> int:
    """Every value that the decoder makes, keys among them."""
    if isinstance(value, list):
        return 1 + sum(map(count_slowly, value))
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(count_slowly, value.values()))
    return 1


@given(values)
def test_the_count_is_that_of_what_the_decoder_makes(value: object) -> None:
    """Exact at the limit, for every form of head."""
    data, count = encode(value), count_slowly(value)
    assert not has_more_values(data, count)
    assert has_more_values(data, count - 1)


@pytest.mark.parametrize(
    "value",
    [[b"x" * 300, [0]], [b"x" * 70_000, [0]], ["y" * 300, [0]], ["y" * 70_000, [0]], [[None] * 70_000, [0]],
     [dict.fromkeys(range(300), 0), [0]], [dict.fromkeys(range(70_000), 0), [0]]],
    ids=["bin16", "bin32", "str16", "str32", "array32", "map16", "map32"],
)  # fmt: skip
def test_long_forms(value: object) -> None:
    """Heads that announce more than a byte can."""
    data, count = encode(value), count_slowly(value)
    assert not has_more_values(data, count)
    assert has_more_values(data, count - 1)


@given(st.binary(max_size=200), st.integers(0, 50))
def test_any_bytes_that_decode_are_judged(data: bytes, limit: int) -> None:
    """Total; and where the bytes have a value, the judgement is that of its count."""
    judged = has_more_values(data, limit)
    try:
        value = decode(data)
    except EncodingError:
        return
    assert judged == (count_slowly(value) > limit)


def test_an_announcement_costs_nothing() -> None:
    """Four thousand million elements that are not there are not looked for."""
    assert not has_more_values(b"\xdd\xff\xff\xff\xff" + bytes(10), 14)
    assert has_more_values(b"\xdd\xff\xff\xff\xff" + bytes(10), 10)
