"""Plans and outcomes cross a process boundary: round trips, total parsers, ids of scheduled calls."""

import json
from collections.abc import Callable
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
OUTCOME = BlockOutcome(
    scheduled=(ScheduledOutcome(due=5, call_id=6, outcome=sample.outcome(status="error", code="INTERNAL")),),
    calls=(sample.outcome(events=(Event.of("notes", "Noted", {"a": 1}),)), sample.outcome(result=encode([1]))),
    writes=((b"a", None), (b"b", b"\x00")),
    next_due=7,
)


def test_round_trips() -> None:
    """What is sent is what arrives."""
    assert parse_block_plan(PLAN.to_bytes()) == PLAN
    assert parse_block_outcome(OUTCOME.to_bytes()) == OUTCOME
    with CHAIN.state_reader() as state:
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
