"""Headers: the closed list, in one form; and the batch digest."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors.ledger import sample_chain as sample

from ledger.block import Header, compute_batch_digest, parse_header
from ledger.encoding import decode, encode
from ledger.errors import InvalidBlock

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ledger" / "chain.json").read_text())
HEADER = parse_header(bytes.fromhex(VECTORS["headers"][1]["bytes"]))


@pytest.mark.parametrize("vector", VECTORS["headers"])
def test_golden_headers(vector: dict) -> None:
    """The checked-in bytes parse, hash as stated, and are written again the same."""
    header = parse_header(bytes.fromhex(vector["bytes"]))
    assert header.hash.hex() == vector["hash"]
    assert header.to_bytes().hex() == vector["bytes"]


def test_the_header_is_the_closed_list() -> None:
    """D31, word by word: a field more (a view, a proposer, a signature) would halt correct replicas."""
    assert [field.name for field in fields(Header)] == [
        "network",
        "epoch",
        "height",
        "parent_hash",
        "batch_digest",
        "time_ms",
        "transactions_root",
        "receipts_root",
        "state_root",
        "gas_used",
        "next_config_hash",
    ]


def test_every_field_is_hashed() -> None:
    """A header with any field changed has another hash."""
    changed = {
        replace(HEADER, **{f.name: bytes(32) if isinstance(getattr(HEADER, f.name), bytes) else 999}).hash
        for f in fields(Header)
    }
    assert len(changed | {HEADER.hash}) == len(fields(Header)) + 1


@pytest.mark.parametrize("index", range(12))
def test_wrong_fields_are_refused(index: int) -> None:
    """Each field at a wrong type, length or range, and a field more or less."""
    values = decode(HEADER.to_bytes())
    assert isinstance(values, list)
    for wrong in (None, bytes(31), -1, 2**63, True):
        with pytest.raises(InvalidBlock, match="malformed"):
            parse_header(encode([*values[:index], wrong, *values[index + 1 :]]))
    with pytest.raises(InvalidBlock, match="malformed"):
        parse_header(encode(values[:index] + values[index + 1 :]))


@given(st.binary(max_size=600))
def test_parsing_is_total(data: bytes) -> None:
    """Random bytes are refused with InvalidBlock alone."""
    with pytest.raises(InvalidBlock):
        parse_header(data)


def test_the_batch_digest_covers_time_order_and_signatures() -> None:
    """Golden, and different for any change of time, order, count or byte (M7, D44)."""
    raws = [
        sample.transaction(0).raw,
        sample.transaction(1, method="fail").raw,
        sample.transaction(4, expiry_height=0).raw,
    ]
    time_ms = sample.TIME_MS + 1000
    digest, _ = compute_batch_digest(time_ms, raws)
    assert digest.hex() == VECTORS["batch_digest"]
    others = [
        compute_batch_digest(time_ms + 1, raws),
        compute_batch_digest(time_ms, raws[::-1]),
        compute_batch_digest(time_ms, raws[:2]),
        compute_batch_digest(time_ms, []),
        compute_batch_digest(time_ms, [bytes((raws[0][0] ^ 1,)) + raws[0][1:], *raws[1:]]),
    ]
    assert len({digest, *(other for other, _ in others)}) == 6
