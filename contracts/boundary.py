"""How values cross a boundary: storage, arguments, results, events, other contracts.

Crossing means: checked against the declared hint, taken apart into plain values (structs become lists) and encoded
canonically; what is read is put together again, so nothing live ever crosses. A hint is compiled once per contract
into a reader and a writer. Both raise Fault TYPE for what does not fit the hint. A writer pays per part; a reader's
caller has paid by the encoded length (`GasTable.container_byte`), and the reader pays for containers in what it reads
(`container_nested`) and takes the memory. Rows whose parts have no parts themselves, which most are, are looked at as a
whole; what is empty is one byte, and soon done with.

Values that no hint describes: `take_any_apart`, `put_any_together`.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

from contracts.errors import Fault, OutOfGas
from contracts.gas import CONTAINER_DEPTH_MAX, GAS
from contracts.hints import Hint, has_parts
from contracts.machine import Machine
from contracts.values import ADDRESS_BYTES, Shapes, StructShape, StructValue, WideKey, make_key
from ledger.encoding import encode
from ledger.errors import EncodingError

Convert = Callable[[Any], Any]

NOTHING: Final = encode(None)
"""The result of a method that gives none: one byte, which costs nothing to carry."""
_PLAIN_TYPES: Final = {"int": int, "bool": bool, "str": str, "bytes": bytes, "none": type(None)}
_PLAIN: Final = frozenset(_PLAIN_TYPES.values())


class Boundary:
    """The readers and writers of one contract's hints."""

    def __init__(self, machine: Machine, shapes: Shapes) -> None:
        self.machine = machine
        self.shapes = shapes
        self._readers: dict[Hint, Convert] = {}
        self._writers: dict[tuple[Hint, int], Convert] = {}
        self._fields: dict[StructShape, Callable[[Sequence[Any]], Sequence[Any]]] = {}

    def reader(self, hint: Hint) -> Convert:
        """From a decoded plain value to the value."""
        found = self._readers.get(hint)
        if found is None:
            found = self._readers[hint] = self._make_reader(hint)
        return found

    def row_reader(self, hints: Sequence[Hint]) -> Callable[[list[Any]], list[Any]]:
        """From decoded plain values to values, one for each hint; the last of them may be missing."""
        readers = [self.reader(hint) for hint in hints]
        types, addresses = _describe_row(hints)

        def read_row(plain: list[Any]) -> list[Any]:
            if tuple(map(type, plain)) != types:
                return [read_part(part) for read_part, part in zip(readers, plain, strict=False)]
            for place in addresses:
                if len(plain[place]) != ADDRESS_BYTES:
                    raise Fault("TYPE")
            return plain

        return read_row

    def writer(self, hint: Hint, depth: int = 0) -> Convert:
        """From a value to plain values for the encoder; `depth` containers are around it."""
        found = self._writers.get((hint, depth))
        if found is None:
            found = self._writers[hint, depth] = self._make_writer(hint, depth)
        return found

    def write_fields(self, record: StructValue) -> dict[str, Any]:
        """An event as a map from field names to plain values."""
        write = self._fields.get(record.shape)
        if write is None:
            hints = record.shape.hints
            write = self._fields[record.shape] = self._parts(hints, [self.writer(hint) for hint in hints])
        return dict(zip(record.shape.fields, write(record.values), strict=True))

    # --- readers ---

    def _make_reader(self, hint: Hint) -> Convert:
        if hint.kind in _PLAIN_TYPES:
            return _checker(_PLAIN_TYPES[hint.kind])
        if hint.kind == "address":
            return _check_address
        if hint.kind == "optional":
            read_value = self.reader(hint.arguments[0])
            return lambda plain: None if plain is None else read_value(plain)
        if hint.kind == "dict":
            return self._dict_reader(hint)
        if hint.kind == "list":
            return self._list_reader(hint.arguments[0])
        return self._record_reader(hint)

    def _dict_reader(self, hint: Hint) -> Convert:
        machine = self.machine
        read_key, read_value = map(self.reader, hint.arguments)
        part_cost = _nested_cost(hint.arguments[1:])

        def read_dict(plain: Any) -> Any:
            if type(plain) is not dict:
                raise Fault("TYPE")
            if not plain:
                return plain
            machine.grow(2 * len(plain))
            if part_cost:
                machine.charge(part_cost * len(plain))
            return {make_key(machine, read_key(key)): read_value(part) for key, part in plain.items()}

        return read_dict

    def _list_reader(self, hint: Hint) -> Convert:
        machine, read_part, expected = self.machine, self.reader(hint), {_PLAIN_TYPES.get(hint.kind)}
        part_cost = _nested_cost((hint,))

        def read_list(plain: Any) -> Any:
            if type(plain) is not list:
                raise Fault("TYPE")
            if not plain:
                return plain
            machine.grow(len(plain))
            if part_cost:
                machine.charge(part_cost * len(plain))
            elif set(map(type, plain)) == expected:
                return plain
            return [read_part(part) for part in plain]

        return read_list

    def _record_reader(self, hint: Hint) -> Convert:
        """Of a struct or tuple."""
        machine = self.machine
        shape = self.shapes[hint.name] if hint.kind == "struct" else None
        hints = hint.arguments if shape is None else shape.hints
        count, readers = len(hints), [self.reader(part) for part in hints]
        check_flat = None if None in _describe_row(hints)[0] else self._parts(hints, readers)
        kinds = [_PLAIN_TYPES.get(part.kind) for part in hints]
        parts_cost = _nested_cost(hints)

        def read_record(plain: Any) -> Any:
            if type(plain) is not list:
                raise Fault("TYPE")
            machine.cells -= len(plain)
            if machine.cells < 0:
                raise Fault("MEMORY")
            if len(plain) != count:
                raise Fault("TYPE")
            if check_flat is not None:
                parts = tuple(check_flat(plain))
            else:
                machine.gas -= parts_cost
                if machine.gas < 0:
                    raise OutOfGas
                parts = tuple(
                    [
                        part if type(part) is kind else read_part(part)
                        for part, kind, read_part in zip(plain, kinds, readers)  # noqa: B905 - counted; it takes time
                    ]
                )
            return parts if shape is None else StructValue(shape, parts)

        return read_record

    # --- writers ---

    def _make_writer(self, hint: Hint, depth: int) -> Convert:
        if hint.kind in _PLAIN_TYPES:
            return _checker(_PLAIN_TYPES[hint.kind])
        if hint.kind == "address":
            return _check_address
        if depth >= CONTAINER_DEPTH_MAX - 1:
            return _refuse_depth
        if hint.kind == "optional":
            write_value = self.writer(hint.arguments[0], depth + 1)
            return lambda value: None if value is None else write_value(value)
        if hint.kind == "dict":
            return self._dict_writer(hint, depth)
        if hint.kind == "list":
            return self._list_writer(hint.arguments[0], depth)
        if hint.kind in {"tuple", "struct"}:
            return self._record_writer(hint, depth)
        return _refuse_type

    def _dict_writer(self, hint: Hint, depth: int) -> Convert:
        machine = self.machine
        write_key, write_value = [self.writer(part, depth + 1) for part in hint.arguments]

        def write_dict(value: Any) -> Any:
            if type(value) is not dict:
                raise Fault("TYPE")
            _pay_parts(machine, 2 * len(value))
            return {
                write_key(key.value if type(key) is WideKey else key): write_value(part) for key, part in value.items()
            }

        return write_dict

    def _list_writer(self, hint: Hint, depth: int) -> Convert:
        machine, write_part, expected = self.machine, self.writer(hint, depth + 1), {_PLAIN_TYPES.get(hint.kind)}

        def write_list(value: Any) -> Any:
            if type(value) is not list:
                raise Fault("TYPE")
            _pay_parts(machine, len(value))
            if set(map(type, value)) == expected:
                return value
            return [write_part(part) for part in value]

        return write_list

    def _record_writer(self, hint: Hint, depth: int) -> Convert:
        """Of a struct or tuple."""
        machine = self.machine
        shape = self.shapes[hint.name] if hint.kind == "struct" else None
        hints = hint.arguments if shape is None else shape.hints
        count, write_parts = len(hints), self._parts(hints, [self.writer(part, depth + 1) for part in hints])

        def write_record(value: Any) -> Any:
            if shape is not None:
                if type(value) is not StructValue or value.shape is not shape:
                    raise Fault("TYPE")
                value = value.values
            elif type(value) is not tuple or len(value) != count:
                raise Fault("TYPE")
            _pay_parts(machine, count)
            return list(write_parts(value))

        return write_record

    # --- rows ---

    def _parts(self, hints: Sequence[Hint], convert: Sequence[Convert]) -> Callable[[Sequence[Any]], Sequence[Any]]:
        """The parts of a row, as many as there are hints, converted from left to right."""
        types, addresses = _describe_row(hints)
        if None in types:
            columns = [(_PLAIN_TYPES.get(hint.kind), part) for hint, part in zip(hints, convert, strict=True)]
            return lambda row: [
                part if type(part) is kind else convert_part(part)
                for (kind, convert_part), part in zip(columns, row, strict=True)
            ]

        def check_flat(row: Sequence[Any]) -> Sequence[Any]:
            if tuple(map(type, row)) != types:
                raise Fault("TYPE")
            for place in addresses:
                if len(row[place]) != ADDRESS_BYTES:
                    raise Fault("TYPE")
            return row

        return check_flat


def _describe_row(hints: Sequence[Hint]) -> tuple[tuple[type | None, ...], list[int]]:
    """The type of each part, None for what has parts itself, and the places of addresses, which have a length too."""
    types = tuple([bytes if hint.kind == "address" else _PLAIN_TYPES.get(hint.kind) for hint in hints])
    return types, [place for place, hint in enumerate(hints) if hint.kind == "address"]


def _nested_cost(hints: Sequence[Hint]) -> int:
    """What containers among parts of these hints cost beyond their bytes."""
    return GAS.container_nested * sum(map(has_parts, hints))


def _checker(expected: type) -> Convert:
    def check(value: Any) -> Any:
        if type(value) is not expected:
            raise Fault("TYPE")
        return value

    return check


def _check_address(value: Any) -> Any:
    if type(value) is not bytes or len(value) != ADDRESS_BYTES:
        raise Fault("TYPE")
    return value


def _refuse_type(_value: Any) -> Any:
    raise Fault("TYPE")


def _refuse_depth(_value: Any) -> Any:
    raise Fault("DEPTH")


def _pay_parts(machine: Machine, count: int) -> None:
    machine.charge(GAS.container_item * count)
    machine.grow(count)


# --- values without a hint ---


def put_any_together(machine: Machine, plain: Any) -> Any:
    """The value of a decoded plain value that no hint describes: arrays become lists. The caller has paid by length,
    but for what containers cost more."""
    kind = type(plain)
    if kind in _PLAIN:
        return plain
    machine.gas -= GAS.container_nested
    if machine.gas < 0:
        raise OutOfGas
    if not plain:
        return plain
    if kind is list:
        machine.grow(len(plain))
        return [part if type(part) in _PLAIN else put_any_together(machine, part) for part in plain]
    machine.grow(2 * len(plain))
    return {make_key(machine, key): put_any_together(machine, part) for key, part in plain.items()}


def take_any_apart(machine: Machine, value: Any, depth: int = 0) -> Any:
    """A value without a hint as plain values: for `canonical`, and arguments before the callee's hints are known."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if depth >= CONTAINER_DEPTH_MAX - 1:
        raise Fault("DEPTH")
    machine.charge(GAS.container_item)
    if kind is StructValue:
        value = value.values
    elif kind is dict:
        _pay_parts(machine, 2 * len(value))
        kinds = {type(key.value) if type(key) is WideKey else type(key) for key in value}
        if len(kinds) > 1 or tuple in kinds:
            raise Fault("TYPE")
        return {
            key.value if type(key) is WideKey else key: (
                part if type(part) in _PLAIN else take_any_apart(machine, part, depth + 1)
            )
            for key, part in value.items()
        }
    elif kind is not list and kind is not tuple:
        raise Fault("TYPE")
    _pay_parts(machine, len(value))
    return [part if type(part) in _PLAIN else take_any_apart(machine, part, depth + 1) for part in value]


def _measure_texts(plain: Any, enough: int) -> int:
    """Characters and bytes of all texts in plain values, keys included; at least `enough` + 1 as soon as it is more."""
    kind = type(plain)
    if kind is str or kind is bytes:
        return len(plain)
    if kind is not list and kind is not dict:
        return 0
    length = 0
    for part in plain if kind is list else chain(plain, plain.values()):
        kind = type(part)
        if kind is str or kind is bytes:
            length += len(part)
        elif kind is list or kind is dict:
            length += _measure_texts(part, enough - length)
        if length > enough:
            break
    return length


def encode_plain(plain: Any, bytes_max: int, code: str) -> bytes:
    """Canonical bytes of plain values, at most `bytes_max`, else Fault with the code.

    A text that stands in a list a thousand times is one text in memory and a thousand in the bytes, so the lengths of
    all texts are added up before anything is made."""
    if plain is None:
        return NOTHING
    if _measure_texts(plain, bytes_max) > bytes_max:
        raise Fault(code)
    try:
        data = encode(plain)
    except EncodingError as error:
        raise Fault("DEPTH" if error.code == "depth" else "TYPE") from None
    if len(data) > bytes_max:
        raise Fault(code)
    return data
