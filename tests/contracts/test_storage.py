"""Typed storage: what is read back, in which order, under which key, and what a failure leaves."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.compiler import Weave, compile_source, weave_contract
from contracts.errors import ContractRefused
from contracts.overlay import Overlay
from contracts.runtime import Runtime
from contracts.testing import CallFailedError, Chain, MemoryState
from contracts.walker import walk_contract
from ledger.encoding import encode
from ledger.execution import CallOutcome

SENDER = b"\x01" * 32

SHELF = b"""
from contracts import Address, Contract, Indexed, Ledger, Map, Struct, Vec, ctx, external, require, view


class Item(Struct):
    name: str
    parts: list[int]


class Shelf(Contract):
    count: int
    note: str
    owner: Address
    maybe: int | None
    item: Item
    plain: Map[int, int]
    nested: Map[str, Map[Address, Item]]
    pairs: Map[tuple[str, int], bool]
    names: Indexed[Map[str, int]]
    inner: Map[int, Indexed[Map[tuple[int, str], int]]]
    row: Vec[Item]
    rows: Map[str, Vec[int]]
    cash: Ledger

    @view
    def zeros(self) -> tuple[int, str, Address, int | None, Item, int, bool, Item]:
        item = self.nested["x"][ctx.address]
        return self.count, self.note, self.owner, self.maybe, self.item, self.plain[5], self.pairs[("a", 1)], item

    @external
    def put_name(self, name: str, value: int) -> None:
        self.names[name] = value

    @external
    def drop_name(self, name: str) -> None:
        del self.names[name]

    @view
    def listed(self) -> list[tuple[str, int]]:
        return self.names.items()

    @external
    def fill_inner(self) -> list[tuple[int, str]]:
        for number in [300, 2, 1, 70000]:
            self.inner[7][(number, "b")] = 1
            self.inner[7][(number, "a")] = 1
        self.inner[8][(1, "c")] = 1
        return list(self.inner[7])

    @external
    def copy_out(self) -> list[int]:
        self.item = Item("a", [1, 2])
        taken = self.item.parts
        taken.append(3)
        return self.item.parts

    @external
    def rows_work(self) -> list[int]:
        row = self.rows["r"]
        for number in range(4):
            row.append(number * 10)
        row[1] = 11
        row[-1] += 5
        last = row.pop()
        return [len(row), row[0], row[1], row[-1], last] + list(row) + [x for x in row]

    @external
    def no_item(self) -> int:
        return self.rows["empty"][0]

    @external
    def pop_empty(self) -> int:
        return self.rows["empty"].pop()

    @external
    def has(self) -> tuple[bool, bool, bool]:
        self.plain[1] = 0
        self.plain[2] = 5
        del self.plain[2]
        del self.plain[3]
        return 1 in self.plain, 2 in self.plain, 3 not in self.plain

    @external
    def wrong_value(self) -> None:
        self.plain[1] = "text"

    @external
    def wrong_key(self) -> None:
        self.plain["text"] = 1

    @external
    def wrong_part(self) -> None:
        self.item = Item("a", ["text"])

    @external
    def iterate_plain(self) -> int:
        total = 0
        for key in self.plain:
            total += key
        return total

    @external
    def too_large(self) -> None:
        text = "xy"
        while len(text) < 70000:
            text += text
        self.note = text

    @external
    def long_key(self) -> None:
        text = "abcdefgh"
        while len(text) < 500:
            text += text
        self.names[text] = 1

    @external
    def half(self) -> None:
        self.count = 99
        self.names["lost"] = 1
        self.cash.mint("bank", 5)
        require(False, "NO")

    @external
    def bank(self) -> tuple[int, int, int, int]:
        self.cash.mint("bank", 100)
        self.cash.move("bank", ctx.sender, 130)
        self.cash.burn(ctx.sender, 10)
        return self.cash["bank"], self.cash[ctx.sender], self.cash.total(), self.cash["nobody"]

    @external
    def negative(self) -> None:
        self.cash.move("a", "b", -1)
"""


@pytest.fixture
def shelf(chain: Chain) -> Any:
    return chain.deploy(SHELF)


def test_a_place_that_was_never_written_reads_its_zero_value(shelf: Any) -> None:
    """Zero, empty, 32 zero bytes, None, and structs of those."""
    assert shelf.zeros() == [0, "", bytes(32), None, ["", []], 0, False, ["", []]]


def test_indexed_maps_iterate_in_key_byte_order(chain: Chain, shelf: Any) -> None:
    """The order depends on the keys alone, whatever the order of insertion, over blocks and deletions."""
    for name in ("bb", "a", "ccc", "b"):
        shelf.put_name(name, len(name), sender=SENDER)
    shelf.drop_name("b", sender=SENDER)
    shelf.put_name("c", 9, sender=SENDER)
    assert shelf.listed() == [["a", 1], ["c", 9], ["bb", 2], ["ccc", 3]]


def test_an_inner_map_iterates_alone(shelf: Any) -> None:
    """Entries of a sibling never show up; compound keys come back as tuples."""
    receipt = shelf.fill_inner(sender=SENDER)
    assert receipt.result == [[n, t] for n in (1, 2, 300, 70000) for t in ("a", "b")]


def test_what_is_read_is_a_copy(shelf: Any) -> None:
    """Changing a list that came from storage changes nothing in storage."""
    assert shelf.copy_out(sender=SENDER).result == [1, 2]


def test_rows(shelf: Any) -> None:
    """append, pop, negative index, assignment and iteration of a Vec."""
    assert shelf.rows_work(sender=SENDER).result == [3, 0, 11, 20, 35, 0, 11, 20, 0, 11, 20]


def test_presence_is_not_value(shelf: Any) -> None:
    """A stored zero is present; a deleted or never written key is not; deleting twice is no error."""
    assert shelf.has(sender=SENDER).result == [True, False, True]


def test_a_ledger_conserves_its_total(shelf: Any) -> None:
    """Moves keep the total, also below zero; mint and burn change it."""
    assert shelf.bank(sender=SENDER).result == [-30, 120, 90, 0]


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("wrong_value", "TYPE"),
        ("wrong_key", "TYPE"),
        ("wrong_part", "TYPE"),
        ("iterate_plain", "NOT_INDEXED"),
        ("too_large", "STATE_SIZE"),
        ("long_key", "STATE_SIZE"),
        ("no_item", "INDEX"),
        ("pop_empty", "INDEX"),
        ("negative", "AMOUNT"),
        ("half", "NO"),
    ],
)
def test_a_failed_call_leaves_nothing(chain: Chain, shelf: Any, method: str, code: str) -> None:
    """Whatever a call wrote before it failed is undone, in the same block and in the state."""
    before = dict(chain.state)
    with pytest.raises(CallFailedError) as failed:
        getattr(shelf, method)(sender=SENDER)
    assert failed.value.code == code
    assert dict(chain.state) == before


def test_storage_keys_are_as_documented(chain: Chain, shelf: Any) -> None:
    """Proofs and queries of others rely on the layout."""
    shelf.put_name("a", 5, sender=SENDER)
    shelf.bank(sender=SENDER)
    shelf.rows_work(sender=SENDER)
    assert chain.state[b"c/shelf/names/" + encode("a")] == encode(5)
    assert chain.state[b"c/shelf/cash/" + encode("bank")] == encode(-30)
    assert chain.state[b"c/shelf/cash/" + encode(None)] == encode(90)
    assert chain.state[b"c/shelf/rows/" + encode("r") + encode(None)] == encode(3)
    assert chain.state[b"c/shelf/rows/" + encode("r") + encode(1)] == encode(11)


_KEYS = st.binary(min_size=1, max_size=2)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), _KEYS, st.binary(max_size=2)),
        st.tuples(st.just("delete"), _KEYS),
        st.tuples(st.just("mark")),
        st.tuples(st.just("rollback")),
        st.tuples(st.just("get"), _KEYS),
        st.tuples(st.just("scan"), st.binary(max_size=1)),
    ),
    max_size=30,
)


def check_scan(overlay: Overlay, model: dict[bytes, bytes], prefix: bytes) -> None:
    """What is there, in order; beside it only keys that are not."""
    found = list(overlay.scan(prefix))
    expected = [(key, value) for key, value in sorted(model.items()) if key.startswith(prefix)]
    assert [(key, value) for key, value in found if value is not None] == expected
    keys = [key for key, _ in found]
    assert keys == sorted(set(keys))
    assert all(key.startswith(prefix) for key in keys)


@settings(max_examples=300)
@given(st.dictionaries(_KEYS, st.binary(max_size=2)), _STEPS)
def test_an_overlay_is_a_dictionary_that_can_go_back(below: dict[bytes, bytes], steps: list[Any]) -> None:
    """Against the plain definition: copy the whole dictionary at each mark, restore it at each roll-back."""
    overlay = Overlay(MemoryState(below))
    model = dict(below)
    marks: list[tuple[int, dict[bytes, bytes]]] = []
    for step in steps:
        if step[0] == "put":
            overlay.put(step[1], step[2])
            model[step[1]] = step[2]
        elif step[0] == "delete":
            overlay.put(step[1], None)
            model.pop(step[1], None)
        elif step[0] == "mark":
            marks.append((overlay.mark(), dict(model)))
        elif step[0] == "get":
            assert overlay.get(step[1]) == model.get(step[1])
        elif step[0] == "scan":
            check_scan(overlay, model, step[1])
        elif marks:
            mark, model = marks.pop()
            overlay.rollback(mark)
    result = dict(below)
    writes = overlay.collect_writes()
    assert [key for key, _ in writes] == sorted({key for key, _ in writes})
    for key, value in writes:
        assert below.get(key) != value
        result.pop(key, None)
        if value is not None:
            result[key] = value
    assert result == model
    check_scan(overlay, model, b"")
    assert all(overlay.get(key) == model.get(key) for key in {*below, *model, b"\x00"})


@pytest.mark.parametrize("scanned", [False, True])
def test_what_a_failed_call_wrote_is_not_passed_by_a_later_scan(scanned: bool) -> None:
    """Nobody would pay for it: a scan gives what is there, and what stands deleted, which its caller pays for."""
    overlay = Overlay(MemoryState({b"a": b"1", b"b": b"2"}))
    overlay.put(b"b", None)
    mark = overlay.mark()
    for key in (b"a", b"aa", b"c"):
        overlay.put(key, None)
        overlay.put(key, b"3")
    if scanned:
        assert [key for key, _ in overlay.scan(b"")] == [b"a", b"aa", b"b", b"c"]
    overlay.rollback(mark)
    assert list(overlay.scan(b"")) == [(b"a", b"1"), (b"b", None)]
    assert overlay.collect_writes() == ((b"b", None),)


def test_a_hint_is_checked_when_it_is_stored(outcome_of: Callable[..., CallOutcome]) -> None:
    """Every declared kind refuses values of the others."""
    hints = {
        "int": '"a"',
        "bool": "1",
        "str": 'b"a"',
        "bytes": '"a"',
        "Address": 'b"short"',
        "list[int]": "(1,)",
        "tuple[int, int]": "(1,)",
        "dict[str, int]": "{1: 1}",
        "int | None": '"a"',
    }
    for hint, value in hints.items():
        outcome = outcome_of(f"self.x = {value}\nreturn 1", fields=f"x: {hint}")
        assert (outcome.status, outcome.code) == ("error", "TYPE"), hint


def structs_of(count: int, width: int, *, outer_first: bool) -> str:
    """`S0` holds ints; each of the others holds `width` of the one before."""
    order = range(count - 1, -1, -1) if outer_first else range(count)
    classes = [
        f"class S{number}(Struct):\n"
        + "".join(f"    f{place}: {f'S{number - 1}' if number else 'int'}\n" for place in range(width))
        for number in order
    ]
    return "\n\n".join(classes)


@pytest.mark.parametrize("weave", [weave_contract, walk_contract])
def test_a_struct_that_was_never_written_is_paid_for_by_its_size(source_of: Callable[..., bytes], weave: Weave) -> None:
    """Its zero value is made part by part: 8 gas for each of 1 + 9 + 81 values and structs; a scalar costs its read."""
    source = source_of(
        "x = self.large[1]\nreturn 1", before=structs_of(2, 9, outer_first=False), fields="large: Map[int, S1]"
    )
    scalar = source_of("x = self.large[1]\nreturn 1", fields="large: Map[int, int]")
    gas = []
    for text in (source, scalar):
        chain = Chain()
        chain.runtime = Runtime(weave=weave)
        gas.append(chain.attempt(chain.deploy(text, name="trial"), "run", sender=bytes(32)).gas_used)
    assert gas[0] - gas[1] == 8 * (1 + 9 + 81)


@pytest.mark.parametrize("outer_first", [False, True])
def test_structs_are_bounded_in_size_and_nesting_in_any_order(
    source_of: Callable[..., bytes], outer_first: bool
) -> None:
    """Ten in ten in ten is too large, eight inside each other too deep; no order hides it or costs time."""
    for count, width in ((3, 10), (8, 1), (12, 10), (60, 10)):
        with pytest.raises(ContractRefused, match="TYPE_HINT"):
            compile_source(source_of("return 1", before=structs_of(count, width, outer_first=outer_first)))
    compile_source(source_of("return 1", before=structs_of(7, 1, outer_first=outer_first)))
    compile_source(source_of("return 1", before=structs_of(2, 30, outer_first=outer_first)))
