"""Values of one declared hint as stored bytes, and back; each read and write pays here. Prices: `gas.py`.

Each operation has the shape CHECK, CHARGE, EFFECT, RESULT. Ints, and structs and tuples of plain parts, which most of
what is stored are, have ways of their own; all else crosses as `boundary.py` says.
"""

from typing import Any, Final

from contracts.boundary import Boundary, encode_plain
from contracts.errors import Fault, OutOfGas, RuntimeInconsistency
from contracts.gas import GAS, VALUE_BYTES_MAX, compute_key_cost
from contracts.hints import Hint, count_zero_values
from contracts.machine import Machine
from contracts.short_rows import make_short_reader
from contracts.values import StructValue, zero_value
from ledger.encoding import decode
from ledger.errors import EncodingError
from ledger.short_forms import encode_int

_HEADS: Final = {0xCC: 0xCC00, 0xCD: 0xCD0000, 0xCE: 0xCE00000000, 0xCF: 0xCF0000000000000000}
"""What the head of a positive int adds to the number that all its bytes make."""


def read_stored(data: bytes) -> Any:
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
    return read_stored(data) if head_value is None else _from_bytes(data, "big") - head_value


_HEAD32: Final = _HEADS[0xCE]
"""Of ints of four bytes, which most balances are: the one form that is read and written without a call."""
_from_bytes: Final = int.from_bytes


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
        return self.put_together(read_stored(data))

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
            return self.put_together(read_stored(data))
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


_READ: Final = GAS.storage_read
_READ_BYTES: Final = GAS.storage_read_bytes
_WRITE: Final = GAS.storage_write
_WRITE_BYTE: Final = GAS.storage_write_byte
"""Prices of ints, which are read and written more than all else: looked up once."""


def load_int(machine: Machine, key: bytes) -> Any:
    """Pay for an int and read it."""
    data = machine.overlay.get(key)
    if data is None:
        machine.gas -= _READ
        if machine.gas < 0:
            raise OutOfGas
        return 0
    machine.gas -= _READ + len(data) // _READ_BYTES
    if machine.gas < 0:
        raise OutOfGas
    return _from_bytes(data, "big") - _HEAD32 if data[0] == 0xCE else _decode_int(data)


def store_int(machine: Machine, key: bytes, value: int, key_cost: int = 0) -> None:
    """Pay for an int and write it; `key_cost` is what the length of its key adds."""
    if machine.read_only:
        raise Fault("READ_ONLY")
    data = (value + _HEAD32).to_bytes(5, "big") if 0x10000 <= value < 0x100000000 else encode_int(value)
    machine.gas -= _WRITE + _WRITE_BYTE * len(data) + key_cost
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
        return read_stored(data)


def make_codec(boundary: Boundary, hint: Hint) -> Codec:
    """The codec of a stored hint."""
    if hint.kind == "int":
        return IntCodec(boundary, hint)
    if hint.kind in {"bool", "str", "bytes", "address", "none"}:
        return ScalarCodec(boundary, hint)
    if hint.kind in {"struct", "tuple"}:
        return RecordCodec(boundary, hint)
    return Codec(boundary, hint)
