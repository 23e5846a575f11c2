"""The canonical encoding: every value has exactly one byte string, and decoding refuses every other (D14).

It is a closed subset of MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md), so any MessagePack
library can read it:

- nil, bool, int, str (UTF-8 without surrogates), bin, array, map; no float, no timestamp;
- integers in their shortest form; those outside 64 bits as extension type 1 holding minimal big-endian two's
  complement, up to 256 bits with sign;
- the keys of a map are all str, all bytes or all int, ascending (by code point, byte, number), without duplicates;
- at most `DEPTH_MAX` containers inside each other.

The decoder is total: any bytes give a value or an `EncodingError`, in time linear in their length. This module knows
nothing of what the values mean; the checks of decoded values are in `ledger.shapes`.
"""

from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

from ledger.errors import EncodingError

Value: TypeAlias = "bool | int | str | bytes | list[Value] | dict[Any, Value] | None"
"""What `decode` returns. `encode` takes tuples too, as arrays."""

DEPTH_MAX: Final = 16
"""Containers inside each other: more than any format here needs (a receipt's event has 4), and far below the
interpreter's recursion limit. Compiled, where the C stack is the limit, the deepest value takes 14 KB of it."""

BYTES_MAX: Final = 16 * 1024 * 1024
"""The default limit of `decode`: the largest message that crosses a process boundary. Formats pass their own."""

INTEGER_MAX: Final = 2**255 - 1
INTEGER_MIN: Final = -(2**255)

_BIG_INTEGER: Final = 1  # the one extension type
_FIXEXT16: Final = 0xD8
_EXT8: Final = 0xC7


def encode(value: object) -> bytes:
    """The canonical bytes of a value. Raises EncodingError for what has none (floats, mixed keys, subclasses)."""
    out = bytearray()
    _write(out, value, 0)
    return bytes(out)


def decode(data: bytes, *, max_bytes: int = BYTES_MAX) -> Value:
    """The value whose canonical form is exactly `data`. Raises EncodingError with the offset of the first fault."""
    if type(data) is not bytes or len(data) > max_bytes:
        _refuse_length(data, max_bytes)
    try:
        value: Value
        if data and 0x90 <= data[0] < 0xA0:  # most of what is read whole is a short array
            value, end = _read_array(data, 1, data[0] & 0x0F, 0)
        else:
            value, end = _read(data, 0, 0)
    except IndexError:
        raise EncodingError("truncated", "the bytes end inside a value", length=len(data)) from None
    if end != len(data):
        raise EncodingError("trailing_bytes", "bytes follow the value", offset=end, length=len(data))
    return value


def decode_array(data: bytes, *, max_bytes: int = BYTES_MAX) -> tuple[list[Value], list[int]]:
    """Decodes a top-level array; also gives the offset of each element and, last, the end.

    Element i is encoded in ``data[offsets[i]:offsets[i + 1]]``: a reader can pass it on without encoding it again.
    """
    if type(data) is not bytes or len(data) > max_bytes:
        _refuse_length(data, max_bytes)
    try:
        count, at = _array_head(data)
        values: list[Value] = []
        offsets = [at]
        for _ in range(count):
            value, at = _read(data, at, 1)
            values.append(value)
            offsets.append(at)
    except IndexError:
        raise EncodingError("truncated", "the bytes end inside a value", length=len(data)) from None
    if at != len(data):
        raise EncodingError("trailing_bytes", "bytes follow the value", offset=at, length=len(data))
    return values, offsets


def decode_at(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    """The value that begins at an offset, inside `depth` containers, and the offset behind it. Raises EncodingError.

    For formats that know where in their bytes a value of any kind stands; what is around it is theirs to check.
    """
    try:
        return _read(data, at, depth)
    except IndexError:
        raise EncodingError("truncated", "the bytes end inside a value", length=len(data)) from None


def _refuse_length(data: bytes, max_bytes: int) -> NoReturn:
    if type(data) is not bytes:  # nothing from outside is: a mistake of ours, as for the compiled decoder
        raise TypeError(f"only bytes can be decoded, got {type(data).__name__}")
    raise EncodingError("too_long", "more bytes than this format allows", expected_max=max_bytes, got=len(data))


# --- writing ---


def _write(out: bytearray, value: object, depth: int) -> None:
    writer = _WRITERS.get(type(value))
    if writer is None:
        raise EncodingError("type", "this type has no canonical encoding", got=type(value).__name__)
    writer(out, value, depth)


def _write_nil(out: bytearray, _value: None, _depth: int) -> None:
    out.append(0xC0)


def _write_bool(out: bytearray, value: bool, _depth: int) -> None:
    out.append(0xC3 if value else 0xC2)


def _write_int(out: bytearray, value: int, _depth: int) -> None:
    if 0 <= value < 0x80:
        out.append(value)
    elif value >= 0:
        if value < 0x100:
            out += bytes((0xCC, value))
        elif value < 0x10000:
            out += b"\xcd" + value.to_bytes(2, "big")
        elif value < 0x100000000:
            out += b"\xce" + value.to_bytes(4, "big")
        elif value < 0x10000000000000000:
            out += b"\xcf" + value.to_bytes(8, "big")
        else:
            _write_big_int(out, value)
    elif value >= -0x20:
        out.append(value + 0x100)
    elif value >= -0x80:
        out += b"\xd0" + value.to_bytes(1, "big", signed=True)
    elif value >= -0x8000:
        out += b"\xd1" + value.to_bytes(2, "big", signed=True)
    elif value >= -0x80000000:
        out += b"\xd2" + value.to_bytes(4, "big", signed=True)
    elif value >= -0x8000000000000000:
        out += b"\xd3" + value.to_bytes(8, "big", signed=True)
    else:
        _write_big_int(out, value)


def _write_big_int(out: bytearray, value: int) -> None:
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise EncodingError("integer_range", "more than 256 bits with sign", bits=value.bit_length())
    length = _twos_complement_bytes(value)
    out += bytes((_FIXEXT16, _BIG_INTEGER)) if length == 16 else bytes((_EXT8, length, _BIG_INTEGER))
    out += value.to_bytes(length, "big", signed=True)


def _twos_complement_bytes(value: int) -> int:
    """The least number of bytes that hold `value` with its sign bit."""
    return (value if value >= 0 else ~value).bit_length() // 8 + 1


def _write_str(out: bytearray, value: str, _depth: int) -> None:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise EncodingError("surrogate", "a string with a surrogate has no UTF-8 form") from None
    length = len(data)
    if length < 0x20:
        out.append(0xA0 | length)
    else:
        _write_head(out, length, 0xD9, 0xDA, 0xDB)
    out += data


def _write_bin(out: bytearray, value: bytes, _depth: int) -> None:
    length = len(value)
    if length < 0x100:
        out += _SHORT_BIN_HEADS[length]
    else:
        _write_head(out, length, 0xC4, 0xC5, 0xC6)
    out += value


def _write_head(out: bytearray, length: int, head8: int, head16: int, head32: int) -> None:
    if length < 0x100:
        out += bytes((head8, length))
    elif length < 0x10000:
        out.append(head16)
        out += length.to_bytes(2, "big")
    else:
        out.append(head32)
        out += length.to_bytes(4, "big")


_SHORT_BIN_HEADS: Final = tuple(bytes((0xC4, length)) for length in range(0x100))


def _write_array(out: bytearray, value: list[Any] | tuple[Any, ...], depth: int) -> None:
    if depth >= DEPTH_MAX:
        raise EncodingError("depth", "containers are nested too deeply", expected_max=DEPTH_MAX)
    _write_container_head(out, len(value), 0x90, 0xDC)
    writer_of = _WRITERS.get
    for item in value:
        kind = type(item)
        if kind is bytes and len(item) < 0x100:
            # The two forms that most elements have are written here, without a call; their writers know them too.
            out += _SHORT_BIN_HEADS[len(item)]
            out += item
            continue
        if kind is int and 0 <= item < 0x80:
            out.append(item)
            continue
        writer = writer_of(kind)
        if writer is None:
            raise EncodingError("type", "this type has no canonical encoding", got=type(item).__name__)
        writer(out, item, depth + 1)


def _write_map(out: bytearray, value: dict[Any, object], depth: int) -> None:
    if depth >= DEPTH_MAX:
        raise EncodingError("depth", "containers are nested too deeply", expected_max=DEPTH_MAX)
    _write_container_head(out, len(value), 0x80, 0xDE)
    if not value:
        return
    kinds = set(map(type, value))
    if len(kinds) != 1 or not kinds <= _KEY_TYPES:
        raise EncodingError("key_type", "keys are all str, all bytes or all int", got=sorted(k.__name__ for k in kinds))
    for key in sorted(value):
        _write(out, key, depth + 1)
        _write(out, value[key], depth + 1)


def _write_container_head(out: bytearray, count: int, fix: int, head16: int) -> None:
    if count < 0x10:
        out.append(fix | count)
    elif count < 0x10000:
        out.append(head16)
        out += count.to_bytes(2, "big")
    else:
        out.append(head16 + 1)
        out += count.to_bytes(4, "big")


_KEY_TYPES: Final[set[type]] = {str, bytes, int}
_WRITERS: Final[dict[type, Callable[[bytearray, Any, int], None]]] = {
    type(None): _write_nil,
    bool: _write_bool,
    int: _write_int,
    str: _write_str,
    bytes: _write_bin,
    list: _write_array,
    tuple: _write_array,
    dict: _write_map,
}


_LEAST_OF_HEAD: Final = {0xCC: 0x80, 0xCD: 0x100, 0xCE: 0x10000, 0xCF: 0x100000000}
"""Of an unsigned integer by its head: the least number that needs so many bytes."""
_from_bytes: Final = int.from_bytes


# --- reading: each reader gets the offset of the byte after the head, and gives the value and the next offset ---


def _read(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    head = data[at]
    if head < 0x80:
        return head, at + 1
    if head == 0xC4 and (end := at + 2 + data[at + 1]) <= len(data):  # short bytes: most of what is not a small number
        return data[at + 2 : end], end
    if head >= 0xE0:
        return head - 0x100, at + 1
    if head < 0x90:
        return _read_map(data, at + 1, head & 0x0F, depth)
    if head < 0xA0:
        return _read_array(data, at + 1, head & 0x0F, depth)
    if head < 0xC0:
        return _read_str(data, at + 1, head & 0x1F, depth)
    return _READERS[head](data, at + 1, depth)


def _read_array(data: bytes, at: int, count: int, depth: int) -> tuple[Value, int]:
    if depth >= DEPTH_MAX:
        raise EncodingError("depth", "containers are nested too deeply", offset=at, expected_max=DEPTH_MAX)
    values: list[Value] = []
    size = len(data)
    for _ in range(count):
        head = data[at]
        if head < 0x80:  # the two forms that most elements have are read here, without a call; `_read` knows them too
            values.append(head)
            at += 1
        elif head == 0xC4 and (end := at + 2 + data[at + 1]) <= size:
            values.append(data[at + 2 : end])
            at = end
        elif (
            (least := _LEAST_OF_HEAD.get(head)) is not None
            and (end := at + 1 + (1 << (head - 0xCC))) <= size
            and (number := _from_bytes(data[at + 1 : end], "big")) >= least
        ):
            values.append(number)
            at = end
        else:
            if 0xA0 <= head < 0xC0:
                value, at = _read_str(data, at + 1, head & 0x1F, depth)
            elif 0x90 <= head < 0xA0:
                value, at = _read_array(data, at + 1, head & 0x0F, depth + 1)
            else:
                value, at = _read(data, at, depth + 1)
            values.append(value)
    return values, at


def _read_map(data: bytes, at: int, count: int, depth: int) -> tuple[Value, int]:
    if depth >= DEPTH_MAX:
        raise EncodingError("depth", "containers are nested too deeply", offset=at, expected_max=DEPTH_MAX)
    values: dict[Any, Value] = {}
    key: Any
    previous: Any = None
    for _ in range(count):
        key, at = _read(data, at, depth + 1)
        if type(key) not in _KEY_TYPES or (previous is not None and type(key) is not type(previous)):
            raise EncodingError("key_type", "keys are all str, all bytes or all int", offset=at)
        if previous is not None and not previous < key:
            raise EncodingError("key_order", "keys ascend without duplicates", offset=at)
        values[key], at = _read(data, at, depth + 1)
        previous = key
    return values, at


def _read_bin(data: bytes, at: int, length: int, _depth: int) -> tuple[Value, int]:
    return _take(data, at, length), at + length


def _read_str(data: bytes, at: int, length: int, _depth: int) -> tuple[Value, int]:
    try:
        return _take(data, at, length).decode(), at + length
    except UnicodeDecodeError:
        raise EncodingError("utf8", "a string is not valid UTF-8", offset=at) from None


def _take(data: bytes, at: int, length: int) -> bytes:
    part = data[at : at + length]
    if len(part) != length:
        raise EncodingError("truncated", "the bytes end inside a value", offset=at, expected=length, got=len(part))
    return part


def _number(data: bytes, at: int, length: int, least: int) -> int:
    """A big-endian length or unsigned integer that would not fit a shorter form."""
    number = int.from_bytes(data[at : at + length], "big")
    if at + length > len(data):
        raise EncodingError("truncated", "the bytes end inside a value", offset=at, expected=length, got=len(data) - at)
    if number < least:
        raise EncodingError("not_shortest", "a shorter form exists", offset=at)
    return number


def _unsigned_reader(length: int, least: int) -> "_Reader":
    def read_unsigned(data: bytes, at: int, _depth: int) -> tuple[Value, int]:
        return _number(data, at, length, least), at + length

    return read_unsigned


def _signed_reader(length: int, above: int) -> "_Reader":
    def read_signed(data: bytes, at: int, _depth: int) -> tuple[Value, int]:
        number = int.from_bytes(_take(data, at, length), "big", signed=True)
        if number >= above:
            raise EncodingError("not_shortest", "a shorter form exists", offset=at)
        return number, at + length

    return read_signed


def _sized_reader(read: Callable[[bytes, int, int, int], tuple[Value, int]], length: int, least: int) -> "_Reader":
    """A reader of what starts with a count of `length` bytes, which `read` gets before the depth."""

    def read_sized(data: bytes, at: int, depth: int) -> tuple[Value, int]:
        return read(data, at + length, _number(data, at, length, least), depth)

    return read_sized


def _constant_reader(value: Value) -> "_Reader":
    return lambda _data, at, _depth: (value, at)


def _read_fixext16(data: bytes, at: int, _depth: int) -> tuple[Value, int]:
    return _read_big_int(data, at, 16)


def _read_ext8(data: bytes, at: int, _depth: int) -> tuple[Value, int]:
    length = data[at]
    if length == 16:
        raise EncodingError("not_shortest", "a shorter form exists", offset=at)
    return _read_big_int(data, at + 1, length)


def _read_big_int(data: bytes, at: int, length: int) -> tuple[Value, int]:
    if data[at] != _BIG_INTEGER:
        raise EncodingError("extension", "the only extension is the big integer", offset=at, got=data[at])
    if length > 32:
        raise EncodingError("integer_range", "more than 256 bits with sign", offset=at, got=length)
    number = int.from_bytes(_take(data, at + 1, length), "big", signed=True)
    if -(2**63) <= number < 2**64 or _twos_complement_bytes(number) != length:
        raise EncodingError("not_shortest", "a shorter form exists", offset=at)
    return number, at + 1 + length


def _refuse(data: bytes, at: int, _depth: int) -> tuple[Value, int]:
    raise EncodingError("form", "this MessagePack form is not used", offset=at - 1, got=data[at - 1])


def _array_head(data: bytes) -> tuple[int, int]:
    head = data[0]
    if 0x90 <= head < 0xA0:
        return head & 0x0F, 1
    if head == 0xDC:
        return _number(data, 1, 2, 0x10), 3
    if head == 0xDD:
        return _number(data, 1, 4, 0x10000), 5
    raise EncodingError("shape", "an array is expected", got=head)


_Reader: TypeAlias = Callable[[bytes, int, int], tuple[Value, int]]
_READERS: Final[dict[int, _Reader]] = {
    **dict.fromkeys(range(0xC0, 0xE0), _refuse),
    0xC0: _constant_reader(None),
    0xC2: _constant_reader(False),
    0xC3: _constant_reader(True),
    0xC4: _sized_reader(_read_bin, 1, 0),
    0xC5: _sized_reader(_read_bin, 2, 0x100),
    0xC6: _sized_reader(_read_bin, 4, 0x10000),
    _EXT8: _read_ext8,
    0xCC: _unsigned_reader(1, 0x80),
    0xCD: _unsigned_reader(2, 0x100),
    0xCE: _unsigned_reader(4, 0x10000),
    0xCF: _unsigned_reader(8, 0x100000000),
    0xD0: _signed_reader(1, -0x20),
    0xD1: _signed_reader(2, -0x80),
    0xD2: _signed_reader(4, -0x8000),
    0xD3: _signed_reader(8, -0x80000000),
    _FIXEXT16: _read_fixext16,
    0xD9: _sized_reader(_read_str, 1, 0x20),
    0xDA: _sized_reader(_read_str, 2, 0x100),
    0xDB: _sized_reader(_read_str, 4, 0x10000),
    0xDC: _sized_reader(_read_array, 2, 0x10),
    0xDD: _sized_reader(_read_array, 4, 0x10000),
    0xDE: _sized_reader(_read_map, 2, 0x10),
    0xDF: _sized_reader(_read_map, 4, 0x10000),
}
