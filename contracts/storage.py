"""Typed storage: the handles that `self.field` gives, over a journaled overlay of the world state.

Owns the layout of contract storage. A field lives under `c/<contract>/<field>/`: a scalar at that key itself, a map's
entry at that key plus the canonical bytes of each key in turn, a row's element at its index and its length at nil, a
ledger's balance at its account and its total at nil. Canonical encodings are prefix-free, so no two places share a
key and all entries of an inner map share a prefix. Each operation has the shape CHECK, CHARGE, EFFECT, RESULT.
Prices: `gas.py`.
"""

from collections.abc import Callable
from typing import Any, Final

from contracts.boundary import Boundary
from contracts.codecs import Codec, IntCodec, make_codec, read_stored
from contracts.errors import Fault
from contracts.gas import GAS, INT_MAX, INT_MIN, KEY_BYTES_MAX, compute_key_cost
from contracts.hints import Hint
from contracts.machine import Machine
from contracts.values import ADDRESS_BYTES
from ledger.encoding import encode
from ledger.short_forms import encode_bytes, encode_int

_NIL: Final = b"\xc0"
ADDRESS_HEAD: Final = bytes((0xC4, ADDRESS_BYTES))
"""In front of an address that is a key."""


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

    def __init__(
        self,
        machine: Machine,
        prefix: bytes,
        key_hint: Hint,
        write_key: KeyWriter,
        codec: Codec | None,
        inner: "MapHandle | VecHandle | None",
        *,
        is_indexed: bool,
    ) -> None:
        """Either `codec`, of plain values, or `inner`, the map or row one level down at no prefix."""
        self.machine = machine
        self.prefix = prefix
        self.key_hint = key_hint
        self.write_key = write_key
        self.codec = codec
        self.inner = inner
        self.is_indexed = is_indexed

    def at(self, prefix: bytes) -> "MapHandle":
        """The same map below another prefix."""
        key_hint, write_key, codec, inner = self.key_hint, self.write_key, self.codec, self.inner
        return MapHandle(self.machine, prefix, key_hint, write_key, codec, inner, is_indexed=self.is_indexed)

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
        """A snapshot of the keys, in key-byte order; each is paid as a read, one that this block deleted too. Its value
        is passed with it, and costs time by its length."""
        if not self.is_indexed:
            raise Fault("NOT_INDEXED")
        machine, start = self.machine, len(self.prefix)
        found: list[Any] = []
        machine.charge(GAS.storage_read)
        for place, data in machine.overlay.scan(self.prefix):
            machine.charge(GAS.storage_read + (len(place) - start + len(data or b"")) // GAS.storage_read_bytes)
            if data is not None:
                machine.grow(1 + (len(place) - start) // GAS.text_chars)
                found.append(self._read_key(place[start:]))
        return found

    def _read_key(self, data: bytes) -> Any:
        if self.key_hint.kind != "tuple":
            return read_stored(data)
        parts = len(self.key_hint.arguments)
        return tuple(read_stored(bytes((0x90 | parts,)) + data))


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
        key = self.prefix + (encode_bytes(account) if type(account) is bytes else encode(account))
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
    key_hint, value_hint = hint.arguments
    inner: MapHandle | VecHandle | None = None
    codec: Codec | None = None
    if value_hint.kind in {"map", "indexed", "vec"}:
        made = make_handle(boundary, value_hint, b"")
        assert isinstance(made, MapHandle | VecHandle)
        inner = made
    else:
        codec = make_codec(boundary, value_hint)
    write_key, is_indexed = make_key_writer(key_hint), hint.kind == "indexed"
    return MapHandle(boundary.machine, prefix, key_hint, write_key, codec, inner, is_indexed=is_indexed)


def field_prefix(contract: str, field: str) -> bytes:
    """Where a contract's field lives in the world state."""
    return f"c/{contract}/{field}/".encode()
