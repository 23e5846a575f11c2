"""Compiled readers and writers of hints are the definition: same value, gas, memory cells and fault, for any hint."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.boundary import Boundary, put_any_together
from contracts.errors import Abort
from contracts.gas import GAS
from contracts.hints import Hint
from contracts.machine import Machine
from contracts.overlay import Overlay
from contracts.testing import MemoryState
from contracts.tree import Parameter, Record
from contracts.values import StructShape, StructValue, WideKey
from contracts.walker_values import any_from_plain, from_plain, to_plain

PLAIN = [Hint(kind) for kind in ("int", "bool", "str", "bytes", "address", "none")]
PAIR = Record("Pair", (Parameter("wh", Hint("int")), Parameter("owner", Hint("address"))))
NEST = Record("Nest", (Parameter("pair", Hint("struct", "Pair")), Parameter("notes", Hint("list", "", (Hint("str"),)))))
SHAPES = {record.name: StructShape(record) for record in (PAIR, NEST)}


def _containers(hints: st.SearchStrategy[Hint]) -> st.SearchStrategy[Hint]:
    keys = st.sampled_from([Hint("int"), Hint("str"), Hint("bytes"), Hint("address")])
    return st.one_of(
        st.builds(lambda part: Hint("optional", arguments=(part,)), hints),
        st.builds(lambda part: Hint("list", arguments=(part,)), hints),
        st.builds(lambda parts: Hint("tuple", arguments=tuple(parts)), st.lists(hints, max_size=3)),
        st.builds(lambda key, part: Hint("dict", arguments=(key, part)), keys, hints),
    )


HINTS = st.recursive(
    st.sampled_from([*PLAIN, Hint("struct", "Pair"), Hint("struct", "Nest")]), _containers, max_leaves=5
)
LEAVES = st.one_of(
    st.integers(-5, 5), st.integers(2**60, 2**61), st.booleans(), st.none(), st.text(max_size=2),
    st.binary(max_size=2), st.just(bytes(32)),
)  # fmt: skip
ANY_PLAIN = st.recursive(
    LEAVES,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.integers(0, 3) | st.text(max_size=1), parts),
    max_leaves=6,
)


def plain_of(hint: Hint) -> st.SearchStrategy[Any]:
    """Plain values that fit a hint, but that now and then a part does not."""
    leaves = {
        "int": st.integers(-5, 2**61), "bool": st.booleans(), "str": st.text(max_size=2), "none": st.none(),
        "bytes": st.binary(max_size=2), "address": st.just(bytes(32)),
    }  # fmt: skip
    if hint.kind in leaves:
        fitting: st.SearchStrategy[Any] = leaves[hint.kind]
    elif hint.kind == "optional":
        fitting = st.none() | plain_of(hint.arguments[0])
    elif hint.kind == "list":
        fitting = st.lists(plain_of(hint.arguments[0]), max_size=3)
    elif hint.kind == "dict":
        fitting = st.dictionaries(leaves[hint.arguments[0].kind], plain_of(hint.arguments[1]), max_size=2)
    else:
        hints = SHAPES[hint.name].hints if hint.kind == "struct" else hint.arguments
        fitting = st.tuples(*map(plain_of, hints)).map(list)
    return st.integers(0, 19).flatmap(lambda number: fitting if number else ANY_PLAIN)


def bare(value: Any) -> Any:
    """A value as one that the interpreter compares exactly: types, order and structs included."""
    if type(value) is StructValue:
        return ("struct", value.shape.name, bare(list(value.values)))
    if type(value) is dict:
        return ("dict", [(bare(key), bare(part)) for key, part in value.items()])
    if type(value) is list or type(value) is tuple:
        return (type(value), [bare(part) for part in value])
    return ("wide", value.data) if type(value) is WideKey else (type(value), value)


def run(machine: Machine, cells: int, work: Callable[[], Any]) -> tuple[Any, ...]:
    """What it gives or how it aborts, and what it took."""
    machine.begin(10_000)
    machine.cells = cells
    try:
        result: Any = bare(work())
    except Abort as abort:
        return abort.code, machine.gas
    return result, machine.gas, machine.cells


@settings(max_examples=200)
@given(st.data())
def test_readers_and_writers_are_the_definition(data: st.DataObject) -> None:
    """Also with so little memory that it ends within the value."""
    machine = Machine(Overlay(MemoryState()))
    boundary = Boundary(machine, SHAPES)
    hint = data.draw(HINTS)
    plain = data.draw(plain_of(hint))
    cells = data.draw(st.sampled_from([4, 1_000]))
    read, defined = boundary.reader(hint), lambda: from_plain(machine, plain, hint, SHAPES)
    assert run(machine, cells, lambda: read(plain)) == run(machine, cells, defined)
    machine.cells, other = 1_000, data.draw(HINTS)
    try:
        value = defined()
    except Abort:
        return
    for each in (hint, other):
        for depth in (0, 14):
            write = boundary.writer(each, depth)
            assert run(machine, cells, lambda write=write: write(value)) == run(  # type: ignore[misc]
                machine,
                cells,
                lambda each=each, depth=depth: to_plain(machine, value, each, SHAPES, depth),  # type: ignore[misc]
            )


@settings(max_examples=100)
@given(ANY_PLAIN, st.sampled_from([4, 1_000]))
def test_values_without_a_hint_are_the_definition(plain: Any, cells: int) -> None:
    """What `private_value` gives."""
    machine = Machine(Overlay(MemoryState()))
    made = run(machine, cells, lambda: put_any_together(machine, plain))
    assert made == run(machine, cells, lambda: any_from_plain(machine, plain))


LIST = Hint("list", arguments=(Hint("int"),))


@pytest.mark.parametrize(
    ("hint", "plain", "containers"),
    [
        (LIST, [1, 2], 0),
        (Hint("list", arguments=(LIST,)), [[], [], [1]], 3),
        (Hint("list", arguments=(Hint("list", arguments=(LIST,)),)), [[[], []], []], 4),
        (Hint("dict", arguments=(Hint("str"), LIST)), {"a": [], "b": [1]}, 2),
        (Hint("list", arguments=(Hint("optional", arguments=(LIST,)),)), [None, []], 2),
        (Hint("list", arguments=(Hint("optional", arguments=(Hint("int"),)),)), [None, 1], 0),
        (Hint("struct", "Pair"), [1, bytes(32)], 0),
        (Hint("struct", "Nest"), [[1, bytes(32)], []], 2),
        (Hint("tuple", arguments=(Hint("struct", "Nest"), Hint("int"))), [[[1, bytes(32)], []], 1], 3),
    ],
)
def test_containers_in_a_container_are_paid(hint: Hint, plain: Any, containers: int) -> None:
    """Each of them, besides its bytes; the outermost has been paid with the operation that reads it."""
    machine = Machine(Overlay(MemoryState()))
    gas = run(machine, 1_000, lambda: Boundary(machine, SHAPES).reader(hint)(plain))[1]
    assert 10_000 - gas == GAS.container_nested * containers


def test_a_row_may_end_early() -> None:
    """Arguments with defaults are left out from the right; each that is there is checked."""
    machine = Machine(Overlay(MemoryState()))
    read = Boundary(machine, SHAPES).row_reader([Hint("int"), Hint("address")])
    assert read([1, bytes(32)]) == [1, bytes(32)] and read([1]) == [1] and read([]) == []
    for wrong in ([True], [1, bytes(31)], [1, "a"], ["a", bytes(32)]):
        assert run(machine, 10, lambda wrong=wrong: read(wrong))[0] == "TYPE"  # type: ignore[misc]


def test_an_event_is_a_map_of_its_fields() -> None:
    """Names to plain values."""
    boundary = Boundary(Machine(Overlay(MemoryState())), SHAPES)
    assert boundary.write_fields(StructValue(SHAPES["Pair"], (5, bytes(32)))) == {"wh": 5, "owner": bytes(32)}
