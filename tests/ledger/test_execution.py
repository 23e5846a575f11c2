"""Plans and outcomes cross a process boundary: round trips, total parsers, ids of scheduled calls."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors.ledger import sample_chain as sample

from ledger.encoding import decode, encode
from ledger.errors import EncodingError
from ledger.execution import (
    BlockOutcome,
    Call,
    ScheduledOutcome,
    contract_address,
    parse_block_outcome,
    parse_block_plan,
    scheduled_call_id,
)
from ledger.transaction import Event

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ledger" / "hashing.json").read_text())

CHAIN = sample.new_chain()
PLAN = CHAIN.plan(1, sample.TIME_MS, [sample.transaction(0), sample.transaction(1, arguments=(b"x",))]).plan
NOTED = Event.of("notes", "Noted", {"a": 1})
OUTCOME = BlockOutcome(
    scheduled=(ScheduledOutcome(due=5, call_id=6, outcome=sample.outcome(status="error", code="INTERNAL")),),
    calls=(sample.outcome(events=(NOTED, NOTED._replace(fields=b"\x80"))), sample.outcome(result=encode([1]))),
    writes=((b"a", None), (b"b", b"\x00")),
    next_due=7,
)


def test_round_trips() -> None:
    """What is sent is what arrives."""
    assert parse_block_plan(PLAN.to_bytes()) == PLAN
    assert parse_block_outcome(OUTCOME.to_bytes()) == OUTCOME
    with sample.open_state(CHAIN) as state:
        ran = sample.run_block(PLAN, state)
    assert parse_block_outcome(ran.to_bytes()) == ran


def paths(value: object, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Where every element of nested arrays is."""
    found = [path] if path else []
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += paths(item, (*path, index))
    return found


@pytest.mark.parametrize(
    ("data", "parse"),
    [(PLAN.to_bytes(), parse_block_plan), (OUTCOME.to_bytes(), parse_block_outcome)],
    ids=["plan", "outcome"],
)
def test_every_element_has_its_check(data: bytes, parse: Callable[[bytes], object]) -> None:
    """Each element at every depth, replaced by a value of a kind it can never be, is refused."""
    for path in paths(decode(data)):
        document: Any = decode(data)
        parent = document
        for index in path[:-1]:
            parent = parent[index]
        parent[path[-1]] = {"not": "this"}
        with pytest.raises(EncodingError):
            parse(encode(document))
        document = decode(data)
        parent = document
        for index in path[:-1]:
            parent = parent[index]
        parent[path[-1]] = -1
        with pytest.raises(EncodingError):
            parse(encode(document))


HASH = bytes(32)
CALL = Call(HASH, HASH, "notes", "put", b"\x90", 7)
OTHER = CALL._replace(method="drop", private_values=(b"\xc0",))
METHODS, ROWS, ARGUMENTS, PRIVATE = 7, 8, 9, 10


def plan_with(place: int, part: object) -> bytes:
    """A plan of two calls, two methods and one private value, with another part at this place."""
    fields: Any = decode(replace(PLAN, calls=(CALL, OTHER)).to_bytes())
    fields[place] = part
    return encode(fields)


def row(gas: int, method: int) -> bytes:
    """The row of a call."""
    return HASH + HASH + gas.to_bytes(8, "big") + method.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("place", "part"),
    [
        (METHODS, [["notes", "put"], ["notes", "drop"], ["notes", "more"]]),
        (METHODS, [["notes", "put"]]),
        (METHODS, [["notes", "put"], ["notes", "put"]]),
        (METHODS, [["notes", "put"], ["notes", "NO"]]),
        (ROWS, row(7, 1) + row(7, 0)),
        (ROWS, row(7, 0) + row(7, 2)),
        (ROWS, row(7, 0) + row(2**63, 1)),
        (ROWS, row(7, 0) + row(7, 1)[:-1]),
        (ROWS, row(7, 0)),
        (ARGUMENTS, [b"\x90"]),
        (ARGUMENTS, [b"\x90", None]),
        (PRIVATE, [[1, []]]),
        (PRIVATE, [[2, [b""]]]),
        (PRIVATE, [[1, [b""]], [0, [b""]]]),
        (PRIVATE, [[1, [b""]], [1, [b""]]]),
        (PRIVATE, [[1, [None]]]),
    ],
)
def test_a_plan_has_one_form(place: int, part: object) -> None:
    """Methods stand in the order of their calls, columns are as long as each other, places ascend and have values."""
    assert parse_block_plan(plan_with(PRIVATE, [[1, [b"\xc0"]]])).calls == (CALL, OTHER)
    with pytest.raises(EncodingError):
        parse_block_plan(plan_with(place, part))


def outcome_row(events: int, *, status: int = 0, gas: int = 1) -> bytes:
    """The row of an outcome."""
    return bytes((status,)) + gas.to_bytes(8, "big") + events.to_bytes(2, "big")


def event_row(name: int) -> bytes:
    """The row of an event."""
    return name.to_bytes(4, "big")


def outcome_with(place: int, part: object) -> bytes:
    """An outcome of one scheduled call that failed and two calls, with another part at this place."""
    fields: Any = decode(OUTCOME.to_bytes())
    fields[place] = part
    return encode(fields)


@pytest.mark.parametrize(
    ("place", "part"),
    [
        (0, [[5, 6], [5, 7], [5, 8], [5, 9]]),
        (1, outcome_row(0) + outcome_row(2) + outcome_row(0)[:-1]),
        (1, outcome_row(0) + outcome_row(2) + outcome_row(0) * 2),
        (1, outcome_row(0) + outcome_row(2) + outcome_row(0, status=5)),
        (1, outcome_row(0) + outcome_row(2) + outcome_row(0, gas=2**63)),
        (1, outcome_row(0) + outcome_row(1) + outcome_row(0)),
        (1, outcome_row(0) + outcome_row(2) + outcome_row(1)),
        (2, [[0, ""]]),
        (2, [[3, "NO"]]),
        (2, [[0, "A" * 65]]),
        (3, [b"\xc0", b"\xc0", 0]),
        (4, []),
        (4, [["notes", "Noted"], ["notes", "More"]]),
        (4, [["notes", "Noted"], ["notes", "Noted"]]),
        (4, [["NOTES", "Noted"]]),
        (4, [["notes", "N" * 65]]),
        (5, event_row(0)),
        (5, event_row(0) + event_row(1)),
        (5, event_row(1) + event_row(0)),
        (5, event_row(0) + event_row(0)[:-1]),
        (6, [b"\x80", 0]),
        (6, [b"\x80"]),
        (7, [b"b", b"a"]),
        (7, [b"a", b"a"]),
        (7, [b"a"]),
        (8, [None, 1]),
    ],
)
def test_an_outcome_has_one_form(place: int, part: object) -> None:
    """Every column is as long as there are calls or events, an empty code takes no place, names stand in the order of
    their events, keys ascend."""
    assert parse_block_outcome(outcome_with(2, [[0, "INTERNAL"]])) == OUTCOME
    assert parse_block_outcome(outcome_with(5, event_row(0) * 2)) == OUTCOME
    with pytest.raises(EncodingError):
        parse_block_outcome(outcome_with(place, part))


def test_private_values_cross() -> None:
    """They stand beside the calls that have some."""
    plan = replace(PLAN, calls=(CALL, OTHER, CALL._replace(contract="cash")))
    assert parse_block_plan(plan.to_bytes()) == plan


@given(st.binary(max_size=200))
def test_parsing_is_total(data: bytes) -> None:
    """Random bytes are refused with EncodingError alone."""
    for parse in (parse_block_plan, parse_block_outcome):
        with pytest.raises(EncodingError):
            parse(data)


def test_derived_identities() -> None:
    """Addresses of contracts and ids of scheduled calls, as in the vectors; every part of an id matters."""
    address = VECTORS["contract_address"]
    assert contract_address(address["name"]).hex() == address["address"]
    call = VECTORS["scheduled_call_id"]
    assert scheduled_call_id(call["height"], call["due"], call["call_id"]).hex() == call["id"]
    assert len({scheduled_call_id(*parts) for parts in ((1, 2, 3), (1, 3, 2), (2, 1, 3), (3, 2, 1))}) == 4
