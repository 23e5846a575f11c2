"""The canonical encoding: round trips, an independent oracle, and the refusal of every other form."""

import json
import threading
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import DEPTH_MAX, INTEGER_MAX, INTEGER_MIN, decode, decode_array, encode
from ledger.errors import EncodingError
from ledger.short_forms import encode_array_head, encode_bytes, encode_int, encode_name

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ledger" / "encoding.json").read_text())

text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers(-(2**255), 2**255 - 1) | text | st.binary(max_size=300)
keys = [text, st.binary(max_size=8), st.integers(-(2**70), 2**70)]
values = st.recursive(
    scalars,
    lambda children: st.lists(children, max_size=20) | st.one_of([st.dictionaries(k, children) for k in keys]),
    max_leaves=30,
)
plain_scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | text | st.binary(max_size=300)
plain_values = st.recursive(
    plain_scalars,
    lambda children: st.lists(children, max_size=20) | st.dictionaries(text, children, max_size=20),
    max_leaves=30,
)


def from_json(value: object) -> object:
    """The inverse of make_vectors.to_json."""
    if isinstance(value, dict):
        if "bytes" in value:
            return bytes.fromhex(value["bytes"])
        return {from_json(key): from_json(item) for key, item in value["map"]}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return value


def same(left: object, right: object) -> bool:
    """Equal in value and type, all the way down: True is not 1 here."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return list(map(repr, sorted(left))) == list(map(repr, sorted(right))) and all(
            same(left[key], right[key]) for key in left
        )
    return left == right


@pytest.mark.parametrize("vector", VECTORS["encoded"], ids=lambda vector: vector["name"])
def test_golden_values_have_their_one_form(vector: dict) -> None:
    """Every value of the vectors encodes to its bytes and back."""
    value, data = from_json(vector["value"]), bytes.fromhex(vector["hex"])
    assert encode(value) == data
    assert same(decode(data), value)


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_every_other_form_is_refused_with_its_code(vector: dict) -> None:
    """Each defect of the vectors is refused, and named."""
    with pytest.raises(EncodingError) as caught:
        decode(bytes.fromhex(vector["hex"]))
    assert caught.value.code == vector["code"]


@given(values)
def test_round_trip(value: object) -> None:
    """decode is the inverse of encode, types included."""
    assert same(decode(encode(value)), value)


@given(plain_values)
def test_msgspec_writes_the_same_bytes_and_reads_ours(value: object) -> None:
    """An independent MessagePack library, told to sort, agrees byte for byte where it can express the value."""
    assert msgspec.msgpack.encode(value, order="deterministic") == encode(value)
    assert same(msgspec.msgpack.decode(encode(value)), value)


@given(st.binary(max_size=200))
def test_decoding_is_total_and_canonical(data: bytes) -> None:
    """D14: any bytes either are the one form of their value, or raise EncodingError; nothing else escapes."""
    try:
        value = decode(data)
    except EncodingError:
        return
    assert encode(value) == data


@given(values, st.data())
def test_a_mutated_byte_is_another_value_or_refused(value: object, data: st.DataObject) -> None:
    """No two byte strings decode to the same value: a mutation never goes unnoticed."""
    encoded = encode(value)
    index = data.draw(st.integers(0, len(encoded) - 1))
    mutated = bytearray(encoded)
    mutated[index] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode(bytes(mutated))
    except EncodingError:
        return
    assert not same(decoded, value)


@given(values)
def test_truncated_or_extended_bytes_are_refused(value: object) -> None:
    """No proper prefix and no extension of an encoding is one."""
    encoded = encode(value)
    for wrong in (encoded[:-1], encoded + b"\x00", encoded + encoded):
        with pytest.raises(EncodingError):
            decode(wrong)


@given(st.lists(values, max_size=20))
def test_the_elements_of_an_array_lie_where_its_offsets_say(items: list) -> None:
    """A slice between two offsets is the encoding of that element."""
    data = encode(items)
    decoded, offsets = decode_array(data)
    assert [data[a:b] for a, b in pairwise(offsets)] == [encode(item) for item in items]
    assert same(decoded, items)


class Text(str):
    """A subclass: it could behave differently, so it has no encoding."""


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (1.0, "type"),
        ([1, float("nan")], "type"),
        (bytearray(b"x"), "type"),
        (Text("x"), "type"),
        ({1, 2}, "type"),
        ("\ud800", "surrogate"),
        (2**255, "integer_range"),
        (-(2**255) - 1, "integer_range"),
        ({"a": 1, b"a": 2}, "key_type"),
        ({1: 1, True + 1: 1, False: 2}, "key_type"),
        ({None: 1}, "key_type"),
        ({(1,): 1}, "key_type"),
    ],
)
def test_values_without_a_form_are_refused(value: object, code: str) -> None:
    """Floats, subclasses, mixed keys and the like never reach the bytes."""
    with pytest.raises(EncodingError) as caught:
        encode(value)
    assert caught.value.code == code


def test_depth_is_bounded_both_ways() -> None:
    """DEPTH_MAX containers pass, one more is refused by writer and reader."""
    value: object = []
    for _ in range(DEPTH_MAX - 1):
        value = [value]
    assert same(decode(encode(value)), value)
    for container in ([value], {"a": value}):
        with pytest.raises(EncodingError, match="depth"):
            encode(container)
    with pytest.raises(EncodingError, match="depth"):
        decode(b"\x81\xa1a" + encode(value))


def test_the_deepest_value_takes_little_stack() -> None:
    """Compiled functions nest on the C stack, which no limit of the interpreter guards: a thread of 256 KiB is enough
    for what is as deep as a value may be in each kind of container, and for what would be deeper."""
    deepest: list[object] = []
    for wrap in (
        lambda inner: [inner] * 2,
        lambda inner: [0] * 16 + [inner],
        lambda inner: {**dict.fromkeys(range(16)), 16: inner},
    ):
        value: object = 0
        for _ in range(DEPTH_MAX):
            value = wrap(value)
        deepest.append(value)
    done: list[str] = []

    def read_and_write() -> None:
        for value in deepest:
            assert decode(encode(value)) == value
        for head in (b"\x91", b"\x81\x00", b"\xdc\x00\x10", b"\xdd\x00\x01\x00\x00", b"\xde\x00\x10\x00"):
            with pytest.raises(EncodingError, match="depth"):
                decode(head * 10_000)
        done.append("all")

    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=read_and_write)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert done == ["all"]


def test_the_callers_limit_holds() -> None:
    """A reader never looks at more bytes than its format allows; only bytes are read."""
    data = encode(b"12345678")
    assert decode(data, max_bytes=10) == b"12345678"
    with pytest.raises(EncodingError, match="too_long"):
        decode(data, max_bytes=9)
    with pytest.raises(EncodingError, match="too_long"):
        decode_array(encode([b"12345678"]), max_bytes=9)
    for other in (bytearray(data), memoryview(data), "1", None):
        for read in (decode, decode_array):
            with pytest.raises(TypeError, match="bytes"):
                read(other)  # type: ignore[operator]


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x80", b"\x91", b"\x90\x90", b"\xdc\x00\x01\x00", b"\xdd\x00"])
def test_what_is_not_one_array_is_refused(data: bytes) -> None:
    """decode_array takes one whole array in its shortest form."""
    with pytest.raises(EncodingError):
        decode_array(data)


@given(st.integers(0, 256), st.integers(-2, 2), st.sampled_from([1, -1]))
def test_short_forms_of_ints_are_the_general_ones(bits: int, beside: int, sign: int) -> None:
    """Of every length, and next to where the length changes; what has no form is refused alike."""
    number = sign * ((1 << bits) + beside)
    if INTEGER_MIN <= number <= INTEGER_MAX:
        assert encode_int(number) == encode(number)
    else:
        with pytest.raises(EncodingError, match="integer_range"):
            encode_int(number)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
def test_short_forms_of_bytes_names_and_arrays_are_the_general_ones(length: int) -> None:
    """Where heads grow, and on either side."""
    assert encode_bytes(bytes(length)) == encode(bytes(length))
    assert encode_name("n" * length) == encode("n" * length)
    assert encode_array_head(length) + b"\xc0" * length == encode([None] * length)
