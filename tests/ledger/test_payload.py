"""Private payloads: one byte string for one payload, every part covered, every limit, no value in an error (D50)."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors.ledger import sample_chain as sample

from ledger.encoding import Value, decode, encode
from ledger.errors import EncodingError, InvalidTransaction
from ledger.payload import (
    PAYLOAD_VALUES_MAX,
    SALT_BYTES,
    PayloadPart,
    encode_payload,
    make_payload,
    read_values,
    verify_payload,
)
from ledger.transaction import COMMITMENTS_MAX, TRANSACTION_BYTES_MAX, SignedTransaction

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ledger" / "transactions.json").read_text())
PARTS = [PayloadPart(salt=bytes([number]) * 32, value=encode({"wh": number})) for number in range(3)]
COMMITMENTS = [part.commitment for part in PARTS]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


def declaring(commitments: Sequence[bytes]) -> SignedTransaction:
    """A transaction that declares these commitments."""
    return sample.transaction(7, commitments=tuple(commitments))


def refusal(commitments: Sequence[bytes], payload: bytes) -> str:
    """The code with which a payload is refused."""
    with pytest.raises(InvalidTransaction) as refused:
        verify_payload(declaring(commitments), payload)
    return refused.value.code


def test_the_golden_payload_is_covered_part_by_part() -> None:
    """Bytes that were written down verify under the commitments that were written down with them."""
    payload = bytes.fromhex(VECTORS["payload"]["hex"])
    commitments = [bytes.fromhex(commitment) for commitment in VECTORS["payload"]["commitments"]]
    assert verify_payload(declaring(commitments), payload) == tuple(PARTS[:2])
    assert read_values(payload) == (encode({"wh": 0}), encode({"wh": 1}))


def test_without_commitments_there_is_no_payload_in_any_form() -> None:
    """Not even the empty array: two forms of nothing would be two bodies of one transaction."""
    assert verify_payload(declaring(()), b"") == () == read_values(b"")
    assert refusal((), encode([])) == refusal((), encode_payload(PARTS)) == "payload"


@pytest.mark.parametrize(
    ("commitments", "payload"),
    [
        (COMMITMENTS, encode_payload(PARTS[:2])),
        (COMMITMENTS[:2], encode_payload(PARTS)),
        (COMMITMENTS[::-1], encode_payload(PARTS)),
        (COMMITMENTS, encode_payload([*PARTS[:2], replace(PARTS[2], salt=bytes(32))])),
        (COMMITMENTS, encode_payload([*PARTS[:2], replace(PARTS[2], value=encode({"wh": 9}))])),
        (COMMITMENTS, encode_payload(PARTS) + b"\x00"),
        (COMMITMENTS[:1], encode([[bytes(31), b"\xc0"]])),
        (COMMITMENTS[:1], encode([[bytes(32)]])),
        (COMMITMENTS[:1], encode([[bytes(32), "text"]])),
        (COMMITMENTS[:1], encode({})),
        (COMMITMENTS[:1], b""),
    ],
)
def test_a_payload_that_is_not_wholly_covered_is_refused(commitments: list[bytes], payload: bytes) -> None:
    """Stripped, added, reordered, changed, malformed (D50)."""
    assert refusal(commitments, payload) == "payload"


@given(contents=st.lists(values, min_size=1, max_size=4), data=st.data())
def test_one_payload_has_one_byte_string(contents: list[Value], data: st.DataObject) -> None:
    """Execution 36: whatever is done to the bytes, they are the same bytes or no payload of this transaction."""
    commitments, payload = make_payload(contents)
    signed = declaring(commitments)
    assert [decode(part.value) for part in verify_payload(signed, payload)] == contents
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(changed)))
        end = data.draw(st.integers(start, min(len(changed), start + 4)))
        changed[start:end] = data.draw(st.binary(max_size=4))
    if bytes(changed) != payload:
        with pytest.raises(InvalidTransaction):
            verify_payload(signed, bytes(changed))


@given(contents=values)
def test_a_value_that_is_committed_to_still_has_one_form(contents: Value) -> None:
    """A commitment over bytes that no encoder writes is refused: two replicas could read them differently."""
    canonical = encode(contents)
    if type(contents) is int and 0 <= contents < 128:
        lax = b"\xcc" + canonical  # the same number in a longer form
    elif type(contents) is list and len(contents) < 16:
        lax = b"\xdc\x00" + bytes([len(contents)]) + canonical[1:]
    else:
        lax = canonical + b"\xc0"
    part = PayloadPart(salt=bytes(32), value=lax)
    assert refusal([part.commitment], encode_payload([part])) == "payload"


@settings(max_examples=200)
@given(payload=st.binary(max_size=200))
def test_any_bytes_are_a_payload_or_refused(payload: bytes) -> None:
    """Total: nothing but InvalidTransaction comes out, before it was ever verified too."""
    assert refusal(COMMITMENTS[:1], payload) in {"payload", "limit"}
    try:
        read_values(payload)
    except InvalidTransaction as error:
        assert error.code in {"payload", "limit"}


def test_bytes_count_together_with_the_transaction() -> None:
    """One limit for both, so that a batch that holds the transaction holds its payload."""
    room = TRANSACTION_BYTES_MAX - len(declaring(COMMITMENTS[:1]).raw) - 1 - 1 - 2 - SALT_BYTES - 5 - 5
    for length, fits in ((room, True), (room + 1, False)):
        part = PayloadPart(salt=bytes(32), value=encode(bytes(length)))
        payload, signed = encode_payload([part]), declaring([part.commitment])
        assert (len(signed.raw) + len(payload) <= TRANSACTION_BYTES_MAX) is fits
        if fits:
            assert verify_payload(signed, payload) == (part,)
        else:
            assert refusal([part.commitment], payload) == "too_long"


def test_values_count_over_all_parts() -> None:
    """Many small values in many parts cost what they would cost in one."""
    half = PAYLOAD_VALUES_MAX // 2
    for last, fits in ((half - 2, True), (half - 1, False)):  # the array of all parts' values counts too
        parts = [
            PayloadPart(salt=bytes([number]) * 32, value=encode([None] * (count - 1)))
            for number, count in enumerate((half, last + 1))
        ]
        signed, payload = declaring([part.commitment for part in parts]), encode_payload(parts)
        if fits:
            assert len(verify_payload(signed, payload)) == 2
        else:
            assert refusal([part.commitment for part in parts], payload) == "limit"


def test_a_day_of_quarter_hours_of_a_large_gateway_fits() -> None:
    """The reason given for the limit on values is true."""
    day = [10_000 + number for number in range(96)]
    commitments, payload = make_payload([day] * COMMITMENTS_MAX)
    assert len(verify_payload(declaring(commitments), payload)) == COMMITMENTS_MAX


def test_no_error_shows_a_private_value() -> None:
    """What is refused reaches logs and clients; what it held does not (D50)."""
    secret = b"private-value-7341"
    part = PayloadPart(salt=bytes(32), value=encode(secret))
    payload = encode_payload([part])
    for bad in (payload, payload + b"\x00", payload[:-1], encode([[secret, part.value]]), encode([secret])):
        with pytest.raises(InvalidTransaction) as refused:
            verify_payload(declaring([bytes(32)]), bad)
        assert secret.decode() not in str(refused.value)
        assert secret.hex() not in str(refused.value)


def test_salts_are_fresh_and_values_without_a_form_are_refused() -> None:
    """The same value twice gives two commitments; a float never gets one."""
    commitments, payload = make_payload([5, 5])
    assert len(set(commitments)) == 2 and make_payload([5])[1] != make_payload([5])[1] and len(payload) > 2 * SALT_BYTES
    assert make_payload([]) == ((), b"")
    with pytest.raises(EncodingError):
        make_payload([1.5])
