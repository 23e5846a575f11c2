"""Bytes that are almost a message: edits that know what protobuf, the canonical encoding and JSON are made of.

Random bytes die at the first tag. What finds faults is a message of the right shape with one thing wrong: a field
twice, missing, of another type, too long, out of order, a number at an edge, a container inside itself. Each edit takes
a `random.Random`, so that hypothesis (through `st.randoms`) and the maker of the corpus use the same ones.
"""

import hashlib
import json
from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

from ledger.encoding import decode, encode
from ledger.errors import EncodingError
from ledger.hashing import SIGNATURE_BYTES

Edit: TypeAlias = Callable[[bytes, Random], bytes]
Field: TypeAlias = tuple[int, int | bytes]  # tag with its wire type, and its number or its bytes

EDGES = (0, 1, 2, 127, 128, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
LENGTHS = (0, 1, 31, 33, 63, 65, 300)
DEEP = 200  # containers or messages inside each other: far more than any format has


# --- raw bytes ---


def flip(data: bytes, random: Random) -> bytes:
    """One bit."""
    if not data:
        return b"\x01"
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]


def cut(data: bytes, random: Random) -> bytes:
    """The end, the start or the middle is gone."""
    start = random.randrange(len(data) + 1)
    end = random.randrange(start, len(data) + 1)
    return random.choice([data[:start], data[end:], data[:start] + data[end:]])


def insert(data: bytes, random: Random) -> bytes:
    """Some bytes too many: random ones, or bytes that many formats care about."""
    place = random.randrange(len(data) + 1)
    extra = random.choice([random.randbytes(random.randrange(1, 9)), b"\x00", b"\xff" * 10, b"\xc1", data[:8], b"\n"])
    return data[:place] + extra + data[place:]


# --- protobuf ---


def edit_protobuf(data: bytes, random: Random) -> bytes:
    """One field of a message, at any depth, is doubled, dropped, moved, changed, nested or given another type."""
    fields = read_fields(data)
    if not fields:
        return insert(data, random)
    place = random.randrange(len(fields))
    tag, value = fields[place]
    if isinstance(value, bytes) and random.random() < 0.7:
        inside = _edit_inside(value, random)
        if inside is not None:
            fields[place] = (tag, inside)
            return write_fields(fields)
    match random.randrange(8):
        case 0:
            fields.insert(place, (tag, value))
        case 1:
            del fields[place]
        case 2:
            fields.insert(random.randrange(len(fields)), fields.pop(place))
        case 3:
            fields.append((random.randrange(1, 128) & ~7 | random.choice([0, 1, 2, 3, 4, 5]), value))
        case 4:
            fields[place] = (tag, edge_of(value, random))
        case 5:
            fields[place] = (tag ^ 2, b"x" if isinstance(value, int) else 7)
        case 6:
            fields[place:place] = [(tag, value)] * random.choice([2, 9, 70, 600])
        case 7:
            deep = b"" if isinstance(value, int) else value
            for _ in range(DEEP if random.random() < 0.2 else 3):
                deep = write_fields([(tag | 2, deep)])
            fields[place] = (tag | 2, deep)
    return write_fields(fields, is_lax=random.random() < 0.1)


def _edit_inside(value: bytes, random: Random) -> bytes | None:
    """Bytes that hold something of a known form, edited in that form: a message, a payload, a signed transaction."""
    if value and read_fields(value):
        return edit_protobuf(value, random)
    for start in (0, SIGNATURE_BYTES):
        if len(value) > start and value[start] & 0xF0 == 0x90:  # the head of a short array
            return value[:start] + edit_canonical(value[start:], random)
    return None


def edge_of(value: int | bytes, random: Random) -> int | bytes:
    """A number at an edge, or bytes of another length."""
    if isinstance(value, int):
        return random.choice(EDGES)
    return (value + bytes(300))[: random.choice(LENGTHS)]


def read_fields(data: bytes) -> list[Field] | None:
    """The fields of bytes that are a message of numbers and delimited values; None where they are not."""
    fields: list[Field] = []
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, at = _read_varint(data, at)
        if tag is None or number is None or tag >> 3 == 0 or tag & 7 not in {0, 2}:
            return None
        if tag & 7 == 0:
            fields.append((tag, number))
            continue
        if at + number > len(data):
            return None
        fields.append((tag, data[at : at + number]))
        at += number
    return fields


def write_fields(fields: list[Field], *, is_lax: bool = False) -> bytes:
    """The bytes of fields; lax ones have numbers longer than they need be."""
    out = bytearray()
    for tag, value in fields:
        out += _write_varint(tag)
        if isinstance(value, int):
            out += _write_varint(value, is_lax=is_lax)
        else:
            out += _write_varint(len(value), is_lax=is_lax) + value
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int | None, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7
    return None, at


def _write_varint(value: int, *, is_lax: bool = False) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    if is_lax:
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


# --- the canonical encoding ---


def edit_canonical(data: bytes, random: Random) -> bytes:
    """One value, at any depth, also in byte strings that hold encoded values, changed, doubled, dropped or nested."""
    try:
        value = decode(data)
    except EncodingError:
        return flip(data, random)
    try:
        return encode(_edit_value(value, random))
    except EncodingError:  # a map with keys of two types, an edge beyond 256 bits, too deep: written by hand instead
        return b"\x91" * DEEP + data


def _edit_value(value: Any, random: Random) -> Any:
    if isinstance(value, list) and value:
        place = random.randrange(len(value))
        if random.random() < 0.7:
            return [*value[:place], _edit_value(value[place], random), *value[place + 1 :]]
        return random.choice(
            [value[:place] + value[place + 1 :], [*value, value[place]], [value], value * 9, value[::-1], []]
        )
    if isinstance(value, dict) and value:
        key = random.choice(list(value))
        if random.random() < 0.7:
            return value | {key: _edit_value(value[key], random)}
        return random.choice([{k: v for k, v in value.items() if k != key}, {}, list(value)])
    if isinstance(value, bytes) and len(value) > 1 and random.random() < 0.6:
        inner = edit_canonical(value, random)
        return inner if inner != value else value[:-1]
    if isinstance(value, bool) or value is None:
        return random.choice([0, 1, None, True, False, ""])
    if isinstance(value, int):
        return random.choice([*EDGES, -1, -(2**255), 2**255 - 1, str(value), None, [value]])
    if isinstance(value, str):
        return random.choice([value + "x", value[:-1], value.upper(), "", "\x00", "é" * 40, value.encode(), 7])
    return random.choice([b"", bytes(31), bytes(33), bytes(300), "text", None, [value], {}, 2**64])


# --- JSON ---


def edit_json(data: bytes, random: Random) -> bytes:
    """One value of a document changed, doubled, dropped, nested, or written in another way than the canonical one."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):  # an edit before this one may have made it deep
        return flip(data, random)
    match random.randrange(6):
        case 0:
            return json.dumps(document, indent=random.choice([None, 0, 1, 2])).encode()
        case 1:
            text = data.decode()
            return text.replace(
                random.choice(["0", "1", "a"]), random.choice(["1e3", "-0", "NaN", "\\u0061", '"']), 1
            ).encode()
        case 2:
            return b"[" * random.choice([3, 50_000]) + data
    edited = _edit_json_value(document, random)
    if isinstance(edited, dict) and "sha256" in edited and random.random() < 0.9:
        del edited["sha256"]
        edited["sha256"] = hashlib.sha256(_canonical_json(edited)).hexdigest()
    return _canonical_json(edited)


def _canonical_json(document: Any) -> bytes:
    return (json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n").encode()


def _edit_json_value(value: Any, random: Random) -> Any:
    if isinstance(value, list) and value and random.random() < 0.8:
        place = random.randrange(len(value))
        return [*value[:place], _edit_json_value(value[place], random), *value[place + 1 :]]
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        if random.random() < 0.2:
            return {name: part for name, part in value.items() if name != key} | {key + "x": 1}
        return value | {key: _edit_json_value(value[key], random)}
    if isinstance(value, str) and value and random.random() < 0.7:
        return random.choice([value[:-1], value + value[-1:], value.upper(), value + "00", "zz" + value[2:], "\ud800"])
    return random.choice([None, True, -1, 0, 1.5, 10**400, "", "x" * 300, [], {}, [[[value]]], {"a": value}])


RAW_EDITS: tuple[Edit, ...] = (flip, cut, insert)


def mutate(data: bytes, edits: tuple[Edit, ...], random: Random) -> bytes:
    """One to three edits, one after the other."""
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        data = random.choice(edits)(data, random)
    return data
