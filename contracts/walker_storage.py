"""Storage as the slow walker sees it: places in the world state, and what reading and writing them costs.

Part of the definition of the language (`walker.py`). A field lives under `c/<contract>/<field>/`, a scalar at that key
itself; an entry of a map adds the canonical bytes of its key (of a tuple: of each part); an element of a row adds its
index, the row's length and a Ledger's total add nil. Shares with the fast engine the overlay of bytes, nothing else.
"""

from typing import Any

from contracts.errors import RuntimeInconsistency
from contracts.gas import GAS, KEY_BYTES_MAX, VALUE_BYTES_MAX, compute_key_cost
from contracts.hints import Hint, count_zero_values
from contracts.machine import Machine
from contracts.values import Shapes
from contracts.walker_values import ADDRESS_LENGTH, SCALARS, from_plain, in_range, need, need_type, to_bytes, to_plain
from contracts.walker_values import zero_of as zero_value_of
from ledger.encoding import decode, encode
from ledger.errors import EncodingError

INT = Hint("int")
HANDLES = {"map", "indexed", "vec", "ledger"}


class Place:
    """A field of a contract, or what lies below it: a declared hint and the key where it begins."""

    def __init__(self, machine: Machine, shapes: Shapes, hint: Hint, key: bytes) -> None:
        self.machine = machine
        self.shapes = shapes
        self.hint = hint
        self.key = key

    def below(self, hint: Hint, part: bytes) -> "Place":
        """The place that `part` leads to."""
        return Place(self.machine, self.shapes, hint, self.key + part)

    # --- one stored value ---

    def load(self) -> Any:
        """The value here, or the zero value. A container is decoded value by value and costs more for each byte."""
        machine, kind = self.machine, self.hint.kind
        machine.charge(GAS.storage_read)
        data = machine.overlay.get(self.key)
        if data is None:
            return self._make_zero()
        machine.charge(len(data) // GAS.storage_read_bytes)
        if kind in SCALARS or kind == "address":
            if kind != "int":
                machine.grow(len(data) // GAS.text_chars)
            return read_stored(data)
        machine.charge(GAS.container_byte * len(data))
        return from_plain(machine, read_stored(data), self.hint, self.shapes)

    def _make_zero(self) -> Any:
        """What was never written; structs and tuples cost for each value in them."""
        values = count_zero_values(self.hint, lambda name: self.shapes[name].hints)
        self.machine.charge(GAS.zero_item * values)
        self.machine.grow(values)
        return zero_value_of(self.hint, self.shapes)

    def store(self, value: Any) -> None:
        """Check, encode and write. The type of an int is checked before whether anything may be written at all."""
        machine = self.machine
        if self.hint.kind == "int":
            need_type(value, int)
        need(not machine.read_only, "READ_ONLY")
        machine.charge(GAS.storage_write + compute_key_cost(self.key))
        data = to_bytes(to_plain(machine, value, self.hint, self.shapes), VALUE_BYTES_MAX, "STATE_SIZE")
        machine.charge(GAS.storage_write_byte * len(data))
        machine.overlay.put(self.key, data)

    # --- Map ---

    def entry(self, key: Any) -> "Place":
        """Where the entry of a map is."""
        place = self.below(self.hint.arguments[1], key_bytes(self.hint.arguments[0], key))
        need(len(place.key) <= KEY_BYTES_MAX, "STATE_SIZE")
        return place

    def is_of_values(self) -> bool:
        """Whether the entries of this map are values, not maps or rows again."""
        return self.hint.arguments[1].kind not in HANDLES

    def has(self, key: Any) -> bool:
        """`key in map`."""
        need(self.is_of_values(), "TYPE")
        place = self.entry(key)
        self.machine.charge(GAS.storage_read)
        return place.is_there()

    def is_there(self) -> bool:
        """Whether a value is stored here; it is looked up whole, so each byte of it costs as when it is read."""
        data = self.machine.overlay.get(self.key)
        if data is not None:
            self.machine.charge(len(data) // GAS.storage_read_bytes)
        return data is not None

    def delete(self, key: Any) -> None:
        """`del map[key]`; no error when there is none."""
        need(self.is_of_values(), "TYPE")
        place = self.entry(key)
        need(not self.machine.read_only, "READ_ONLY")
        self.machine.charge(GAS.storage_delete + compute_key_cost(place.key))
        if place.is_there():
            self.machine.overlay.put(place.key, None)

    def keys(self) -> list[Any]:
        """A snapshot of the keys, in the order of their bytes. Those that this block deleted are passed, and paid."""
        machine, key_hint = self.machine, self.hint.arguments[0]
        need(self.hint.kind == "indexed", "NOT_INDEXED")
        machine.charge(GAS.storage_read)
        found: list[Any] = []
        for place, stored in machine.overlay.scan(self.key):
            data = place[len(self.key) :]
            passed = len(data) + (0 if stored is None else len(stored))
            machine.charge(GAS.storage_read + passed // GAS.storage_read_bytes)
            if stored is None:
                continue
            machine.grow(1 + len(data) // GAS.text_chars)
            if key_hint.kind == "tuple":
                found.append(tuple(read_stored(bytes([0x90 + len(key_hint.arguments)]) + data)))
            else:
                found.append(read_stored(data))
        return found

    # --- Vec ---

    def size_place(self) -> "Place":
        """Where a row's length or a Ledger's total is."""
        return self.below(INT, encode(None))

    def length(self) -> int:
        """`len(row)`."""
        count: int = self.size_place().load()
        return count

    def element(self, index: int) -> "Place":
        """Where the element is, whether there or not."""
        return self.below(self.hint.arguments[0], encode(index))

    def element_at(self, index: Any) -> "Place":
        """Where the element `row[index]` is; it must be there."""
        need_type(index, int)
        length = self.length()
        need(-length <= index < length, "INDEX")
        return self.element(index + length if index < 0 else index)

    def append(self, value: Any) -> None:
        """One more element."""
        length = self.length()
        self.element(length).store(value)
        self.size_place().store(length + 1)

    def pop(self) -> Any:
        """The last element, which goes."""
        length = self.length()
        need(length > 0, "INDEX")
        last = self.element(length - 1)
        value = last.load()
        self.size_place().store(length - 1)
        self.machine.charge(GAS.storage_delete + compute_key_cost(last.key))
        self.machine.overlay.put(last.key, None)
        return value

    # --- Ledger ---

    def account(self, name: Any) -> "Place":
        """Where the balance of an account is."""
        need_type(name, bytes, str)
        need(len(name) <= KEY_BYTES_MAX, "TYPE")
        place = self.below(INT, encode(name))
        need(len(place.key) <= KEY_BYTES_MAX, "STATE_SIZE")
        return place

    def post(self, name: str, arguments: list[Any]) -> None:
        """`move(source, target, amount)`, `mint(account, amount)`, `burn(account, amount)`: the total stays the sum."""
        *names, amount = arguments
        accounts = [self.account(account) for account in names]
        need_type(amount, int)
        need(amount >= 0, "AMOUNT")
        if name == "move":
            postings = [(accounts[0], -amount), (accounts[1], amount)]
        else:
            change = amount if name == "mint" else -amount
            postings = [(accounts[0], change), (self.size_place(), change)]
        for place, change in postings:
            place.store(in_range(place.load() + change))


def key_bytes(hint: Hint, key: Any) -> bytes:
    """The canonical bytes of a key; of a tuple, those of each part."""
    if hint.kind == "tuple":
        need(type(key) is tuple and len(key) == len(hint.arguments), "TYPE")
        return b"".join(key_bytes(part_hint, part) for part_hint, part in zip(hint.arguments, key, strict=True))
    need_type(key, SCALARS.get(hint.kind, bytes))
    need(hint.kind != "address" or len(key) == ADDRESS_LENGTH, "TYPE")
    need(type(key) in {int, bool} or len(key) <= KEY_BYTES_MAX, "STATE_SIZE")
    return encode(key)


def read_stored(data: bytes) -> Any:
    """What this contract wrote; anything else means that the state is not ours."""
    try:
        return decode(data)
    except EncodingError as error:
        raise RuntimeInconsistency("STATE", "a stored value is not canonical", cause=error.code) from None
