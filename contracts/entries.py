"""Entries of maps that are fields of the contract, read and written by one closure each: the commonest use of storage.

An int at an address (balances, counters) is written out whole; every other map goes through its key writer and codec.
Both give the same value, gas and fault, in the same order: a key is checked before it is read, and after the value
that is to be written was computed.
"""

from collections.abc import Callable
from typing import Any

from contracts.codecs import Codec, IntCodec, load_int, store_int
from contracts.errors import Fault
from contracts.gas import GAS, INT_MAX, INT_MIN
from contracts.operations import BINARY, INT_OPERATORS
from contracts.storage import ADDRESS_HEAD, MapHandle, make_place_writer
from contracts.values import ADDRESS_BYTES

Expression = Callable[[list[Any]], Any]


def make_entry_reader(handle: MapHandle, codec: Codec, index: Expression) -> Expression:
    """`self.map[index]`."""
    read, place_of = codec.read, make_place_writer(handle.prefix, handle.key_hint)
    if not _is_tight(handle, codec):
        return lambda env: read(place_of(index(env)))
    machine, head = handle.machine, handle.prefix + ADDRESS_HEAD

    def read_int(env: list[Any]) -> Any:
        key = index(env)
        if type(key) is not bytes or len(key) != ADDRESS_BYTES:
            raise Fault("TYPE")
        return load_int(machine, head + key)

    return read_int


def make_entry_writer(handle: MapHandle, codec: Codec, index: Expression, value: Expression) -> Expression:
    """`self.map[index] = value`."""
    write, place_of = codec.write, make_place_writer(handle.prefix, handle.key_hint)
    if not _is_tight(handle, codec):

        def write_entry(env: list[Any]) -> None:
            key = index(env)
            entry = value(env)
            write(place_of(key), entry)

        return write_entry
    machine, head = handle.machine, handle.prefix + ADDRESS_HEAD

    def write_int(env: list[Any]) -> None:
        key = index(env)
        entry = value(env)
        if type(key) is not bytes or len(key) != ADDRESS_BYTES or type(entry) is not int:
            raise Fault("TYPE")
        store_int(machine, head + key, entry)

    return write_int


def make_entry_changer(
    handle: MapHandle, codec: Codec, index: Expression, symbol: str, operand: Expression
) -> Expression:
    """`self.map[index] += operand`, and the other augmented assignments: read, then the operand, then written."""
    read, write, place_of = codec.read, codec.write, make_place_writer(handle.prefix, handle.key_hint)
    machine, combine, fast = handle.machine, BINARY[symbol], INT_OPERATORS.get(symbol)
    if fast is None or not _is_tight(handle, codec):

        def change_entry(env: list[Any]) -> None:
            place = place_of(index(env))
            before = read(place)
            write(place, combine(machine, before, operand(env)))

        return change_entry
    head, compute = handle.prefix + ADDRESS_HEAD, fast

    def change_int(env: list[Any]) -> None:
        key = index(env)
        if type(key) is not bytes or len(key) != ADDRESS_BYTES:
            raise Fault("TYPE")
        place = head + key
        before = load_int(machine, place)
        by = operand(env)
        if type(by) is not int:
            raise Fault("TYPE")
        after = compute(before, by)
        if not INT_MIN <= after <= INT_MAX:
            raise Fault("OVERFLOW")
        store_int(machine, place, after)

    return change_int


def _is_tight(handle: MapHandle, codec: Codec) -> bool:
    """Whether it holds ints at addresses, and the length of such a place adds nothing to a write."""
    is_int_at_address = type(codec) is IntCodec and handle.key_hint.kind == "address"
    return is_int_at_address and len(handle.prefix) + len(ADDRESS_HEAD) + ADDRESS_BYTES <= GAS.storage_key_free
