"""Typed storage: the handles that `self.field` gives, over a journaled overlay of the world state.

Owns the layout of contract storage. A field lives under `c/<contract>/<field>/`: a scalar at that key itself, a map's
entry at that key plus the canonical bytes of each key in turn, a row's element at its index and its length at nil, a
ledger's balance at its account and its total at nil. Canonical encodings are prefix-free, so no two places share a
key and all entries of an inner map share a prefix. Each operation has the shape CHECK, CHARGE, EFFECT, RESULT.
Prices: `gas.py`.
"""

from collections.abc import Callable
from typing import Any, Final

from contracts.boundary import Boundary, encode_plain
from contracts.errors import Fault, OutOfGas, RuntimeInconsistency
from contracts.gas import GAS, INT_MAX, INT_MIN, KEY_BYTES_MAX, VALUE_BYTES_MAX, compute_key_cost
from contracts.hints import Hint, count_zero_values
from contracts.machine import Machine
from contracts.short_rows import make_short_reader
from contracts.values import ADDRESS_BYTES, StructValue, zero_value
from ledger.encoding import decode, encode
from ledger.errors import EncodingError

_NIL: Final = b"\xc0"
ADDRESS_HEAD: Final = bytes((0xC4, ADDRESS_BYTES))
"""In front of an address that is a key."""


# --- codecs: one declared hint to bytes and back ---

_HEADS: Final = {0xCC: 0xCC00, 0xCD: 0xCD0000, 0xCE: 0xCE00000000, 0xCF: 0xCF0000000000000000}
"""What the head of a positive int adds to the number that all its bytes make."""


def _read_stored(data: bytes) -> Any:
    """Decode what this engine wrote; anything else means that the state is not ours."""
    try:
        return decode(data)
    except EncodingError as error:
        raise RuntimeInconsistency("STATE", "a stored value is not canonical", cause=error.code) from None


def _decode_int(data: bytes) -> Any:
    """A stored int, with the common sizes inline."""
    head = data[0]
    if head < 0x80:
        return head
    head_value = _HEADS.get(head)
    return _read_stored(data) if head_value is None else _from_bytes(data, "big") - head_value


_HEAD32: Final = _HEADS[0xCE]
"""Of ints of four bytes, which most balances are: the one form that is read and written without a call."""
_from_bytes: Final = int.from_bytes
_SMALL_INTS: Final = [bytes((number,)) for number in range(128)]


def encode_int(value: int) -> bytes:
    """`ledger.encoding.encode` of an int, with the common sizes inline."""
    if 0 <= value < 0x10000000000000000:
        if value < 0x80:
            return _SMALL_INTS[value]
        if value < 0x10000:
            return (value + 0xCC00).to_bytes(2, "big") if value < 0x100 else (value + 0xCD0000).to_bytes(3, "big")
        if value < 0x100000000:
            return (value + 0xCE00000000).to_bytes(5, "big")
        return (value + 0xCF0000000000000000).to_bytes(9, "big")
    return encode(value)


class Codec:
    """Values of one declared hint as stored bytes."""

    __slots__ = ("hint", "machine", "put_together", "shapes", "take_apart", "zero_values")

    def __init__(self, boundary: Boundary, hint: Hint) -> None:
        self.machine = boundary.machine
        self.hint = hint
        self.shapes = boundary.shapes
        self.put_together = boundary.reader(hint)
        self.take_apart = boundary.writer(hint)
        self.zero_values = count_zero_values(hint, lambda name: boundary.shapes[name].hints)

    def read(self, key: bytes) -> Any:
        """The value stored at a key, or the zero value."""
        machine = self.machine
        machine.gas -= GAS.storage_read
        if machine.gas < 0:
            raise OutOfGas
        data = machine.overlay.get(key)
        if data is None:
            machine.charge(GAS.zero_item * self.zero_values)
            machine.grow(self.zero_values)
            return zero_value(self.hint, self.shapes)
        machine.charge(len(data) // GAS.storage_read_bytes + GAS.container_byte * len(data))
        return self._read_data(data)

    def _read_data(self, data: bytes) -> Any:
        """The value of stored bytes, whose length is paid."""
        return self.put_together(_read_stored(data))

    def write(self, key: bytes, value: Any) -> None:
        """Check, encode and store."""
        machine = self.machine
        if machine.read_only:
            raise Fault("READ_ONLY")
        machine.charge(GAS.storage_write + compute_key_cost(key))
        data = encode_plain(self.take_apart(value), VALUE_BYTES_MAX, "STATE_SIZE")
        machine.charge(GAS.storage_write_byte * len(data))
        machine.overlay.put(key, data)


class RecordCodec(Codec):
    """A struct or tuple; most have no parts that have parts, and are read in one pass."""

    __slots__ = ("count", "read_short", "shape")

    def __init__(self, boundary: Boundary, hint: Hint) -> None:
        super().__init__(boundary, hint)
        self.shape = boundary.shapes[hint.name] if hint.kind == "struct" else None
        hints = hint.arguments if self.shape is None else self.shape.hints
        self.count = len(hints)
        self.read_short = make_short_reader(hints)

    def _read_data(self, data: bytes) -> Any:
        values = self.read_short(data)
        if values is None:
            return self.put_together(_read_stored(data))
        self.machine.grow(self.count)
        return tuple(values) if self.shape is None else StructValue(self.shape, tuple(values))


class IntCodec(Codec):
    """The most common hint, tight."""

    __slots__ = ()

    def read(self, key: bytes) -> Any:
        return load_int(self.machine, key)

    def write(self, key: bytes, value: Any) -> None:
        if type(value) is not int:
            raise Fault("TYPE")
        store_int(self.machine, key, value, compute_key_cost(key))


def load_int(machine: Machine, key: bytes) -> Any:
    """Pay for an int and read it."""
    data = machine.overlay.get(key)
    if data is None:
        machine.gas -= GAS.storage_read
        if machine.gas < 0:
            raise OutOfGas
        return 0
    machine.gas -= GAS.storage_read + len(data) // GAS.storage_read_bytes
    if machine.gas < 0:
        raise OutOfGas
    return _from_bytes(data, "big") - _HEAD32 if data[0] == 0xCE else _decode_int(data)


def store_int(machine: Machine, key: bytes, value: int, key_cost: int = 0) -> None:
    """Pay for an int and write it; `key_cost` is what the length of its key adds."""
    if machine.read_only:
        raise Fault("READ_ONLY")
    data = (value + _HEAD32).to_bytes(5, "big") if 0x10000 <= value < 0x100000000 else encode_int(value)
    machine.gas -= GAS.storage_write + GAS.storage_write_byte * len(data) + key_cost
    if machine.gas < 0:
        raise OutOfGas
    machine.overlay.put(key, data)


class ScalarCodec(Codec):
    """bool, str, bytes, Address and None: no parts to check one by one."""

    __slots__ = ()

    def read(self, key: bytes) -> Any:
        machine = self.machine
        machine.charge(GAS.storage_read)
        data = machine.overlay.get(key)
        if data is None:
            return zero_value(self.hint, self.shapes)
        machine.charge(len(data) // GAS.storage_read_bytes)
        machine.grow(len(data) // GAS.text_chars)
        return _read_stored(data)


def make_codec(boundary: Boundary, hint: Hint) -> Codec:
    """The codec of a stored hint."""
    if hint.kind == "int":
        return IntCodec(boundary, hint)
    if hint.kind in {"bool", "str", "bytes", "address", "none"}:
        return ScalarCodec(boundary, hint)
    if hint.kind in {"struct", "tuple"}:
        return RecordCodec(boundary, hint)
    return Codec(boundary, hint)


# --- keys ---

KeyWriter = Callable[[Any], bytes]


def _int_key(value: Any) -> bytes:
    if type(value) is not int:
        raise Fault("TYPE")
    return encode_int(value)


def _address_key(value: Any) -> bytes:
    if type(value) is not bytes or len(value) != ADDRESS_BYTES:
        raise Fault("TYPE")
    return ADDRESS_HEAD + value


def make_key_writer(hint: Hint) -> KeyWriter:
    """How keys of this hint are written. Raises Fault TYPE for a value of another type."""
    if hint.kind == "int":
        return _int_key
    if hint.kind == "address":
        return _address_key
    if hint.kind == "tuple":
        writers = [make_key_writer(part) for part in hint.arguments]

        def write_tuple(value: Any) -> bytes:
            if type(value) is not tuple or len(value) != len(writers):
                raise Fault("TYPE")
            return b"".join([write(part) for write, part in zip(writers, value, strict=True)])

        return write_tuple
    expected: Any = {"bool": bool, "str": str, "bytes": bytes}[hint.kind]

    def write_scalar(value: Any) -> bytes:
        if type(value) is not expected:
            raise Fault("TYPE")
        if expected is not bool and len(value) > KEY_BYTES_MAX:
            raise Fault("STATE_SIZE")
        return encode(value)

    return write_scalar


def make_place_writer(prefix: bytes, hint: Hint) -> KeyWriter:
    """`MapHandle.key_of` for one prefix: where the entry of a key of this hint lies. Raises Fault TYPE, STATE_SIZE."""
    write_key = make_key_writer(hint)
    if hint.kind == "address" and len(prefix) + 2 + ADDRESS_BYTES <= KEY_BYTES_MAX:
        head = prefix + ADDRESS_HEAD

        def place_of_address(key: Any) -> bytes:
            if type(key) is not bytes or len(key) != ADDRESS_BYTES:
                raise Fault("TYPE")
            return head + key

        return place_of_address

    def place_of(key: Any) -> bytes:
        place = prefix + write_key(key)
        if len(place) > KEY_BYTES_MAX:
            raise Fault("STATE_SIZE")
        return place

    return place_of


# --- handles ---


class MapHandle:
    """`Map[K, V]`: V plain, or again a map or row."""

    __slots__ = ("codec", "inner", "is_indexed", "key_hint", "machine", "prefix", "write_key")

    def __init__(self, boundary: Boundary, hint: Hint, prefix: bytes) -> None:
        self.machine = boundary.machine
        self.prefix = prefix
        self.is_indexed = hint.kind == "indexed"
        self.key_hint, value_hint = hint.arguments
        self.write_key = make_key_writer(self.key_hint)
        is_handle = value_hint.kind in {"map", "indexed", "vec"}
        self.inner: MapHandle | VecHandle | None = None
        self.codec: Codec | None = None
        if is_handle:
            inner = make_handle(boundary, value_hint, b"")
            assert isinstance(inner, MapHandle | VecHandle)
            self.inner = inner
        else:
            self.codec = make_codec(boundary, value_hint)

    def at(self, prefix: bytes) -> "MapHandle":
        """The same map below another prefix."""
        handle = MapHandle.__new__(MapHandle)
        handle.machine, handle.prefix, handle.is_indexed = self.machine, prefix, self.is_indexed
        handle.key_hint, handle.write_key = self.key_hint, self.write_key
        handle.inner, handle.codec = self.inner, self.codec
        return handle

    def key_of(self, key: Any) -> bytes:
        place = self.prefix + self.write_key(key)
        if len(place) > KEY_BYTES_MAX:
            raise Fault("STATE_SIZE")
        return place

    def get(self, key: Any) -> Any:
        """The value, or a handle one level down."""
        place = self.key_of(key)
        if self.codec is not None:
            return self.codec.read(place)
        assert self.inner is not None
        self.machine.charge(GAS.call)
        return self.inner.at(place)

    def set(self, key: Any, value: Any) -> None:
        if self.codec is None:
            raise Fault("TYPE")
        self.codec.write(self.key_of(key), value)

    def delete(self, key: Any) -> None:
        if self.codec is None:
            raise Fault("TYPE")
        place = self.key_of(key)
        if self.machine.read_only:
            raise Fault("READ_ONLY")
        self.machine.charge(GAS.storage_delete + compute_key_cost(place))
        if self.machine.has_stored(place):
            self.machine.overlay.put(place, None)

    def contains(self, key: Any) -> bool:
        if self.codec is None:
            raise Fault("TYPE")
        place = self.key_of(key)
        self.machine.charge(GAS.storage_read)
        return self.machine.has_stored(place)

    def keys(self) -> list[Any]:
        """A snapshot of the keys, in key-byte order; each is paid as a read, one that this block deleted too."""
        if not self.is_indexed:
            raise Fault("NOT_INDEXED")
        machine, start = self.machine, len(self.prefix)
        found: list[Any] = []
        machine.charge(GAS.storage_read)
        for place, data in machine.overlay.scan(self.prefix):
            machine.charge(GAS.storage_read + (len(place) - start) // GAS.storage_read_bytes)
            if data is not None:
                machine.grow(1 + (len(place) - start) // GAS.text_chars)
                found.append(self._read_key(place[start:]))
        return found

    def _read_key(self, data: bytes) -> Any:
        if self.key_hint.kind != "tuple":
            return _read_stored(data)
        parts = len(self.key_hint.arguments)
        return tuple(_read_stored(bytes((0x90 | parts,)) + data))


class VecHandle:
    """`Vec[T]`: a growing row."""

    __slots__ = ("codec", "length_codec", "machine", "prefix")

    def __init__(self, machine: Machine, codec: Codec, length_codec: Codec, prefix: bytes) -> None:
        self.machine = machine
        self.codec = codec
        self.length_codec = length_codec
        self.prefix = prefix

    def at(self, prefix: bytes) -> "VecHandle":
        """The same row below another prefix."""
        return VecHandle(self.machine, self.codec, self.length_codec, prefix)

    def length(self) -> int:
        length: int = self.length_codec.read(self.prefix + _NIL)
        return length

    def place(self, index: Any) -> bytes:
        """The key of an element that is there. Raises Fault INDEX."""
        if type(index) is not int:
            raise Fault("TYPE")
        length = self.length()
        if index < 0:
            index += length
        if not 0 <= index < length:
            raise Fault("INDEX")
        return self.prefix + encode_int(index)

    def read_at(self, index: int) -> Any:
        """An element that iteration knows to be there."""
        return self.codec.read(self.prefix + encode_int(index))

    def append(self, value: Any) -> None:
        length = self.length()
        self.codec.write(self.prefix + encode_int(length), value)
        self.length_codec.write(self.prefix + _NIL, length + 1)

    def pop(self) -> Any:
        length = self.length()
        if length == 0:
            raise Fault("INDEX")
        place = self.prefix + encode_int(length - 1)
        value = self.codec.read(place)
        self.length_codec.write(self.prefix + _NIL, length - 1)
        self.machine.charge(GAS.storage_delete + compute_key_cost(place))
        self.machine.overlay.put(place, None)
        return value


class LedgerHandle:
    """`Ledger`: balances whose sum is kept beside them and changes only by mint and burn."""

    __slots__ = ("codec", "prefix")

    def __init__(self, codec: Codec, prefix: bytes) -> None:
        self.codec = codec
        self.prefix = prefix

    def place(self, account: Any) -> bytes:
        if (type(account) is not bytes and type(account) is not str) or len(account) > KEY_BYTES_MAX:
            raise Fault("TYPE")
        key = self.prefix + encode(account)
        if len(key) > KEY_BYTES_MAX:
            raise Fault("STATE_SIZE")
        return key

    def balance(self, account: Any) -> Any:
        return self.codec.read(self.place(account))

    def total(self) -> Any:
        return self.codec.read(self.prefix + _NIL)

    def _add(self, place: bytes, amount: int) -> None:
        balance = self.codec.read(place) + amount
        if not INT_MIN <= balance <= INT_MAX:
            raise Fault("OVERFLOW")
        self.codec.write(place, balance)

    def move(self, source: Any, target: Any, amount: Any) -> None:
        source_place, target_place = self.place(source), self.place(target)
        self._check_amount(amount)
        self._add(source_place, -amount)
        self._add(target_place, amount)

    def mint(self, account: Any, amount: Any) -> None:
        place = self.place(account)
        self._check_amount(amount)
        self._add(place, amount)
        self._add(self.prefix + _NIL, amount)

    def burn(self, account: Any, amount: Any) -> None:
        place = self.place(account)
        self._check_amount(amount)
        self._add(place, -amount)
        self._add(self.prefix + _NIL, -amount)

    @staticmethod
    def _check_amount(amount: Any) -> None:
        if type(amount) is not int:
            raise Fault("TYPE")
        if amount < 0:
            raise Fault("AMOUNT")


Handle = MapHandle | VecHandle | LedgerHandle


def make_handle(boundary: Boundary, hint: Hint, prefix: bytes) -> Handle:
    """The handle of a declared field that is not a plain value."""
    integers = IntCodec(boundary, Hint("int"))
    if hint.kind == "ledger":
        return LedgerHandle(integers, prefix)
    if hint.kind == "vec":
        return VecHandle(boundary.machine, make_codec(boundary, hint.arguments[0]), integers, prefix)
    return MapHandle(boundary, hint, prefix)


def field_prefix(contract: str, field: str) -> bytes:
    """Where a contract's field lives in the world state."""
    return f"c/{contract}/{field}/".encode()
