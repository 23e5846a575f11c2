"""Transactions and receipts: one form, every limit, and what a signature covers."""

import json
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors.ledger import sample_chain as sample

from contracts.gas import EVENT_BYTES_MAX, EVENTS_MAX, RESULT_BYTES_MAX
from ledger import transaction
from ledger.encoding import decode, encode
from ledger.errors import EncodingError, InvalidSignature, InvalidTransaction
from ledger.hashing import Tag, signing_bytes, tagged_hash
from ledger.keys import SigningKey
from ledger.transaction import (
    NONCE_MAX,
    TRANSACTION_BYTES_MAX,
    TRANSACTION_VALUES_MAX,
    Event,
    Receipt,
    parse_receipt,
    parse_transaction,
    sign_transaction,
    verify_transaction,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ledger" / "transactions.json").read_text())
SIGNED = sample.transaction(7, follows=6, arguments=(1, [b"x", {"a": None}]), commitments=(bytes(32),))


def code_of(raw: bytes) -> str:
    """The code with which parsing refuses."""
    with pytest.raises(InvalidTransaction) as caught:
        parse_transaction(raw)
    return caught.value.code


def with_field(index: int, value: object) -> bytes:
    """The sample with one field of its body changed, signed again."""
    fields: list[Any] = decode(SIGNED.body)  # type: ignore[assignment]
    fields[index] = value
    body = encode(fields)
    return sample.CLIENT.sign(signing_bytes(Tag.SIGN_TRANSACTION, body)) + body


def with_field_unread(index: int, value: object) -> bytes:
    """The sample with one field changed, made from its transaction's fields without the decoder."""
    *head, contract, method, arguments, commitments, follows = SIGNED.transaction
    fields = [1, *head, follows, contract, method, arguments, commitments]
    fields[index] = value
    return bytes(64) + encode(fields)


@pytest.mark.parametrize("vector", VECTORS["transactions"])
def test_golden_transactions(vector: dict) -> None:
    """The checked-in bytes parse, verify, have their id, and are written again the same."""
    raw = bytes.fromhex(vector["raw"])
    signed = parse_transaction(raw)
    verify_transaction(signed)
    assert signed.tx_id.hex() == vector["tx_id"]
    assert signed.signature + signed.transaction.to_bytes() == raw == signed.raw


small = st.integers(0, 300) | st.integers(0, NONCE_MAX + 1) | st.sampled_from([2**k for k in (7, 8, 16, 32, 40, 63)])
names = st.from_regex(r"[a-z][a-z0-9_]{0,32}", fullmatch=True)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)
bodies = st.tuples(
    *(st.just(1) | small, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32)),
    *(small, small, small, small, st.none() | small, names, names),
    *(st.lists(plain, max_size=4), st.lists(st.binary(min_size=32, max_size=32), max_size=1)),
).map(encode)


@settings(max_examples=60)
@given(bodies, st.data())
def test_common_bodies_are_read_as_all_others_are(body: bytes, data: st.DataObject) -> None:
    """D42: the short way takes or refuses exactly what the long way does, in the same words, whatever byte is wrong."""
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(body) - 1))
        rest = data.draw(st.sampled_from([body[at + 1 :], body[at:], b""]))
        body = body[:at] + bytes((data.draw(st.integers(0, 255)),)) + rest

    def outcome() -> object:
        try:
            return parse_transaction(bytes(64) + body)
        except InvalidTransaction as error:
            return str(error)

    fast = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transaction, "_parse_common", lambda _: None)
        assert outcome() == fast


@pytest.mark.parametrize("heads", [(0xA2, 0xA1), (0xA1, 0xA3), (0xBF, 0xBF)])
def test_a_name_that_is_not_as_long_as_its_head_says(heads: tuple[int, int]) -> None:
    """The pattern ends a name where its letters end; what follows there is no value, and no word is said about it."""
    contract, method = heads
    start = encode([1, bytes(32), bytes(32), 0, 0, 0, 0, None])[1:]
    body = b"\x9c" + start + bytes((contract, 0x61, method, 0x62)) + b"\xc4\xff"
    with pytest.raises(EncodingError) as expected:
        transaction._parse_any(body)
    with pytest.raises(InvalidTransaction) as refused:
        parse_transaction(bytes(64) + body)
    assert str(expected.value) in str(refused.value)


def test_what_no_count_of_values_saw_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRANSACTION_VALUES_MAX: the count reads a long string and bytes behind it. Where the name's letters end, the same
    bytes are an array of 130,000 empty ones: 150 ms for a transaction that nobody signed."""
    start = encode([1, bytes(32), bytes(32), 0, 0, 0, 0, None])[1:]
    head = b"\x9c" + start + b"\xa1a\xa5b\xdd\x00\x01\xfe\xc6"
    length = TRANSACTION_BYTES_MAX - 64 - len(head) - 4
    body = head + length.to_bytes(4, "big") + b"\x90" * length
    monkeypatch.setattr(transaction, "decode_at", lambda *_: pytest.fail("read"))
    with pytest.raises(InvalidTransaction, match="utf8"):
        parse_transaction(bytes(64) + body)


def test_common_bodies_take_the_short_way() -> None:
    """Numbers of every length, with and without `follows`; what the short way leaves to the long one is named."""
    for number in (0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, NONCE_MAX):
        for follows in (None, number):
            body = sample.transaction(number, follows=follows).body
            assert transaction._parse_common(body) == transaction._parse_any(body)
    assert transaction._parse_common(sample.transaction(1, commitments=(bytes(32),)).body) is None


def test_what_is_signed_is_what_is_parsed() -> None:
    """Signing parses back; the id is the tagged hash of the body; the arguments are a slice of it."""
    assert parse_transaction(SIGNED.raw) == SIGNED
    assert SIGNED.tx_id == tagged_hash(Tag.TRANSACTION_ID, SIGNED.body)
    assert SIGNED.encoded_arguments == encode([1, [b"x", {"a": None}]])
    verify_transaction(SIGNED)


def test_every_flipped_byte_is_refused() -> None:
    """D7: no byte of a transaction is idle: parsing or the signature refuses each change."""
    for index in range(len(SIGNED.raw)):
        changed = SIGNED.raw[:index] + bytes((SIGNED.raw[index] ^ 1,)) + SIGNED.raw[index + 1 :]
        with pytest.raises((InvalidTransaction, InvalidSignature)):
            verify_transaction(parse_transaction(changed))


def test_another_key_cannot_sign_for_the_sender() -> None:
    """Neither at signing nor on arrival."""
    with pytest.raises(InvalidTransaction, match="sender"):
        sign_transaction(SIGNED.transaction, sample.OTHER_CLIENT)
    signature = sample.OTHER_CLIENT.sign(signing_bytes(Tag.SIGN_TRANSACTION, SIGNED.body))
    with pytest.raises(InvalidSignature):
        verify_transaction(parse_transaction(signature + SIGNED.body))
    plain = SigningKey.from_seed(sample.CLIENT.seed).sign(SIGNED.body)
    with pytest.raises(InvalidSignature):
        verify_transaction(parse_transaction(plain + SIGNED.body))


@pytest.mark.parametrize(
    ("index", "value", "code"),
    [
        (0, 2, "limit"),
        (0, True, "malformed"),
        (1, bytes(31), "malformed"),
        (2, bytes(33), "malformed"),
        (3, -1, "limit"),
        (3, 2**63, "limit"),
        (4, 2**63, "limit"),
        (5, 2**40 + 1, "limit"),
        (6, 5_000_001, "limit"),
        (6, None, "malformed"),
        (7, -1, "limit"),
        (7, "0", "malformed"),
        (8, "Notes", "malformed"),
        (8, "", "malformed"),
        (8, "n" * 33, "malformed"),
        (9, "_private", "malformed"),
        (9, "put\n", "malformed"),
        (9, b"put", "malformed"),
        (10, {}, "malformed"),
        (11, [bytes(31)], "malformed"),
        (11, [bytes(32)] * 65, "limit"),
        (11, None, "malformed"),
    ],
)
def test_every_field_has_its_refusal(index: int, value: object, code: str) -> None:
    """Wrong types, lengths and limits are refused although the signature is right."""
    assert code_of(with_field(index, value)) == code


def test_limits_are_inclusive() -> None:
    """The greatest values pass."""
    for index, value in ((3, 2**63 - 1), (5, 2**40), (6, 5_000_000), (8, "n" * 32), (11, [bytes(32)] * 64)):
        verify_transaction(parse_transaction(with_field(index, value)))


@pytest.mark.parametrize("body", [b"", b"\xc0", b"\x90", SIGNED.body[:-1], SIGNED.body + b"\x00"])
def test_what_is_no_transaction_is_malformed(body: bytes) -> None:
    """Cut, extended and foreign bytes."""
    assert code_of(bytes(64) + body) == "malformed"
    assert code_of(body[:63]) == "malformed"


def test_the_length_limit() -> None:
    """The limit is on the raw bytes, checked before anything is parsed."""
    room = TRANSACTION_BYTES_MAX - len(with_field(10, [bytes(1000)])) + 1000 - 2
    largest = with_field(10, [bytes(room)])
    assert TRANSACTION_BYTES_MAX - 8 <= len(largest) <= TRANSACTION_BYTES_MAX
    parse_transaction(largest)
    assert code_of(with_field(10, [bytes(room + 9)])) == "too_long"


OWN_VALUES = 14  # of a body with one commitment and an empty array of arguments: itself, its fields, the commitment


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ([[]] * (TRANSACTION_VALUES_MAX - OWN_VALUES), TRANSACTION_VALUES_MAX),
        ([[]] * (TRANSACTION_VALUES_MAX - OWN_VALUES + 1), TRANSACTION_VALUES_MAX + 1),
        ([dict.fromkeys(range(8_185), "")], OWN_VALUES + 1 + 2 * 8_185),
        ([dict.fromkeys(range(8_184), "")], OWN_VALUES + 1 + 2 * 8_184),
        ([[[None] * 15] * 8_000], OWN_VALUES + 1 + 16 * 8_000),
        ([b"x" * 20_000, "y" * 40_000, 2**200, -(2**70), 2**127], OWN_VALUES + 5),
    ],
)
def test_values_are_bounded_at_every_depth(arguments: list[object], count: int) -> None:
    """Parsing costs time per value, not per byte: arrays, maps with their keys, and plain values all count."""
    raw = with_field(10, arguments)
    if count <= TRANSACTION_VALUES_MAX:
        assert list(parse_transaction(raw).transaction.arguments) == arguments
    else:
        assert code_of(raw) == "limit"


def test_too_many_values_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal costs a walk up to the limit, and no object of the decoder's."""
    monkeypatch.setattr("ledger.transaction.decode_array", pytest.fail)
    assert code_of(with_field_unread(10, [[]] * 130_000)) == "limit"


@given(st.binary(max_size=300))
def test_parsing_is_total(data: bytes) -> None:
    """Random bytes are refused with InvalidTransaction alone."""
    with pytest.raises(InvalidTransaction):
        parse_transaction(data)


class Gas(IntEnum):
    LIMIT = 100


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nonce", True),
        ("gas_limit", Gas.LIMIT),
        ("expiry_time", 1.0),
        ("expiry_height", None),
        ("network", bytearray(32)),
        ("contract", b"notes"),
        ("arguments", 5),
        ("commitments", (1,)),
    ],
)
def test_a_field_of_another_type_is_refused_at_signing(field: str, value: object) -> None:
    """Nothing is made a number or bytes of on the way: what the caller did not mean is never signed."""
    with pytest.raises(InvalidTransaction, match="malformed"):
        sign_transaction(SIGNED.transaction._replace(**{field: value}), sample.CLIENT)


def test_arguments_without_a_form_are_refused_at_signing() -> None:
    """A float never gets a signature."""
    with pytest.raises(InvalidTransaction, match="malformed"):
        sample.transaction(0, arguments=(1.5,))


# --- receipts ---

RECEIPT = Receipt(
    tx_id=bytes(32),
    sender=bytes([1]) * 32,
    nonce=5,
    status="reverted",
    code="NO_FUNDS",
    gas_used=77,
    result=encode([1, "two"]),
    events=(Event.of("cash", "Moved", {"amount": -5, "to": b"\x01"}),),
)


def test_receipts_round_trip() -> None:
    """Bytes and values come back; an event's fields are read on demand."""
    parsed = parse_receipt(RECEIPT.to_bytes())
    assert parsed == RECEIPT
    assert parsed.value == [1, "two"]
    assert parsed.events[0].values == {"amount": -5, "to": b"\x01"}
    with pytest.raises(EncodingError, match="shape"):
        Event(contract="cash", name="Moved", fields=encode([1])).values  # noqa: B018


def test_the_largest_receipt_of_a_contract_can_be_read() -> None:
    """A receipt that is in a block is parsed by doors and proofs for ever: the limit leaves room for all of it."""
    event = Event(contract="c" * 32, name="E" * 64, fields=bytes(EVENT_BYTES_MAX))
    largest = RECEIPT._replace(code="c" * 64, result=bytes(RESULT_BYTES_MAX), events=(event,) * EVENTS_MAX)
    assert parse_receipt(largest.to_bytes()) == largest


def test_a_refusal_shows_no_more_than_helps() -> None:
    """A name as long as a transaction does not come back whole: errors reach logs and clients."""
    fields: list[Any] = decode(SIGNED.body)  # type: ignore[assignment]
    for index, value in ((8, "A" * 100_000), (9, bytes(100_000)), (3, -(2**255)), (1, bytes(100_000))):
        changed = encode([*fields[:index], value, *fields[index + 1 :]])
        with pytest.raises(InvalidTransaction) as refused:
            parse_transaction(bytes(64) + changed)
        assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, bytes(31)),
        (1, None),
        (2, -1),
        (3, "fine"),
        (4, "c" * 65),
        (5, -1),
        (6, None),
        (7, [["cash", "Moved"]]),
        (7, [["Cash", "Moved", b""]]),
        (7, [["cash", 1, b""]]),
        (7, [["cash", "Moved", {}]]),
        (7, {}),
    ],
)
def test_malformed_receipts_are_refused(index: int, value: object) -> None:
    """Each field has its check."""
    fields: list[Any] = decode(RECEIPT.to_bytes())  # type: ignore[assignment]
    fields[index] = value
    with pytest.raises(EncodingError):
        parse_receipt(encode(fields))
    with pytest.raises(EncodingError):
        parse_receipt(encode(fields[:index] + fields[index + 1 :]))


@pytest.mark.parametrize(("events", "fault"), [([["Cash", "Moved", b""], 1], "contract"), ([1, ["Cash"]], "array")])
def test_of_several_faults_the_first_is_told(events: list[object], fault: str) -> None:
    """One event after the other, each in its order: all replicas and tools say the same about the same bytes."""
    with pytest.raises(EncodingError, match=f"event.*{fault}"):
        parse_receipt(encode([*decode(RECEIPT.to_bytes())[:7], events]))  # type: ignore[index]
