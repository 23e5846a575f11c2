"""Transactions and receipts: what a client signs, and what a block answers.

A transaction has one signature, one identity, one digest (D7). Its id is the hash of the signed bytes; the leaf of a
batch is ``signature || signed bytes``, so it covers the signature too (D44). Personal data never enters the signed
bytes: they hold salted commitments, and the payload travels beside them (D16, D50; `ledger.payload`). Parsing is total
and checks limits; signatures are `verify_transaction`'s; nonces and expiry are judged at execution, by `ledger.chain`
(D42).
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from ledger.encoding import Value, decode, decode_array, decode_at, encode
from ledger.errors import EncodingError, InvalidTransaction
from ledger.hashing import HASH_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Tag, signing_bytes, tagged_hash
from ledger.shapes import expect_array, expect_bytes, expect_int, expect_name, expect_str
from ledger.short_forms import encode_array_head, encode_bytes, encode_int, encode_name
from ledger.value_count import has_more_values

if TYPE_CHECKING:
    from ledger.keys import Signer

TRANSACTION_BYTES_MAX: Final = 131_072
"""Of the raw bytes and of the private payload beside them: a contract's source (64 KiB) fits, and so does a day of
quarter-hours of 64 meters; eight of them fill a batch."""
TRANSACTION_VALUES_MAX: Final = 16_384
"""Of the body, counted at every depth: each array, map, key and plain value, the body itself among them. A value costs
time wherever the transaction is parsed, however few bytes it has, and no signature or gas limit bounds that: this many
take 5 ms here, 131,072 empty arrays took 50. The largest call of the standard contracts has 3,000."""
TRANSACTION_GAS_MAX: Final = 5_000_000
"""The format's limit; a network may set a lower one (`transaction_gas_max`)."""
NONCE_MAX: Final = 2**63 - 1
COMMITMENTS_MAX: Final = 64
"""One per meter behind a gateway, for the largest gateways."""
EXPIRY_AHEAD_MAX: Final = 10_000
"""How many heights ahead an expiry may lie (D46): bounds how long an unknown outcome can stay unknown."""
TIME_MAX_S: Final = 2**40
"""Seconds UTC; far enough, and milliseconds of it stay within 64 bits."""
RECEIPT_BYTES_MAX: Final = 2_097_152
"""What a reader is ready to take: more than the largest result and all events that a contract may leave (a test
compares), since a receipt that is in a block must be readable for ever."""

STATUSES: Final = ("ok", "reverted", "out_of_gas", "error", "refused")
"""Of a receipt. `refused`: never executed, nonce not consumed; the others consumed their nonce."""


class Transaction(NamedTuple):
    """One call of a contract, as its sender means it."""

    network: bytes  # 32 bytes: the network id
    sender: bytes  # 32 bytes: the public key that signs
    nonce: int  # within the sender's window (D45)
    expiry_height: int  # the last height at which it may execute (D46)
    expiry_time: int  # seconds UTC of agreed time: the last second at which it may execute
    gas_limit: int
    contract: str
    method: str
    arguments: tuple[Value, ...] = ()
    commitments: tuple[bytes, ...] = ()  # to the parts of the private payload, 32 bytes each, in their order
    follows: int | None = None  # a nonce of the same sender that must be used before (D49)

    def to_bytes(self) -> bytes:
        """The signed bytes (body). Raises EncodingError for arguments without a canonical form."""
        # As objects, since programs of others fill the fields: read by its name, compiled, a bool would be a number.
        fields: tuple[object, ...] = self
        return encode((1, *fields[:6], fields[10], *fields[6:10]))  # `follows` is the last here, before the names there


class SignedTransaction(NamedTuple):
    """A transaction with the exact bytes that were signed."""

    transaction: Transaction
    signature: bytes  # 64 bytes over signing_bytes(SIGN_TRANSACTION, body)
    body: bytes
    raw: bytes  # signature || body: the leaf of the batch
    tx_id: bytes  # hash of the body (D44)
    encoded_arguments: bytes  # the arguments' canonical bytes, a slice of the body


_TransactionFields = tuple[bytes, bytes, int, int, int, int, str, str, tuple[Value, ...], tuple[bytes, ...], int | None]
_SignedFields = tuple[Transaction, bytes, bytes, bytes, bytes, bytes]
_make_transaction: Final[Callable[[_TransactionFields], Transaction]] = partial(tuple.__new__, Transaction)
_make_signed: Final[Callable[[_SignedFields], SignedTransaction]] = partial(tuple.__new__, SignedTransaction)
"""From all their fields in their order: what the types themselves do, in a third of the time. A block has hundreds."""


def sign_transaction(transaction: Transaction, key: "Signer") -> SignedTransaction:
    """Signs and parses back, so that nothing leaves that others would refuse. Raises InvalidTransaction."""
    if key.public_key != transaction.sender:
        raise InvalidTransaction("sender", "the key is not the sender's", expected=transaction.sender)
    try:
        body = transaction.to_bytes()
    except EncodingError as error:
        raise InvalidTransaction("malformed", str(error)) from None
    return parse_transaction(key.sign(signing_bytes(Tag.SIGN_TRANSACTION, body)) + body)


def parse_transaction(raw: bytes) -> SignedTransaction:
    """Parses ``signature || body`` and checks every limit of the format, not the signature.

    Raises InvalidTransaction with code ``too_long``, ``malformed`` or ``limit``.
    """
    if len(raw) > TRANSACTION_BYTES_MAX:
        raise InvalidTransaction("too_long", expected_max=TRANSACTION_BYTES_MAX, got=len(raw))
    signature, body = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    try:
        if has_more_values(body, TRANSACTION_VALUES_MAX):
            raise EncodingError("too_many_values", "transaction", expected_max=TRANSACTION_VALUES_MAX)
        transaction, start, end = _parse_common(body) or _parse_any(body)
    except EncodingError as error:
        code = "limit" if "expected_max" in error.fields else "malformed"
        raise InvalidTransaction(code, str(error)) from None
    tx_id = tagged_hash(Tag.TRANSACTION_ID, body)
    return _make_signed((transaction, signature, body, raw, tx_id, body[start:end]))


def compute_tx_id(raw: bytes) -> bytes:
    """The identity of the transaction in ``signature || body``: the signature has no part in it (D44)."""
    return tagged_hash(Tag.TRANSACTION_ID, raw[SIGNATURE_BYTES:])


_NUMBER: Final = rb"([\x00-\x7f]|\xcc[\x80-\xff]|\xcd(?!\x00)..|\xce(?!\x00\x00).{4}|\xcf(?!\x00{4}).{8})"
_NAME: Final = rb"([\xa1-\xbf])([a-z][a-z0-9_]{0,30})"
_COMMON_HEAD: Final = re.compile(
    rb"\x9c\x01\xc4\x20(.{32})\xc4\x20(.{32})" + _NUMBER * 4 + rb"(?:\xc0|" + _NUMBER + rb")" + _NAME * 2, re.DOTALL
)
"""A body up to its arguments, as nearly all are: twelve fields, numbers of up to 64 bits in their shortest form, names
of up to 31 characters."""


def _parse_common(body: bytes) -> tuple[Transaction, int, int] | None:
    """The transaction of a body that begins as nearly all do and has no commitments, and where its arguments lie; None
    for any other, which `_parse_any` reads or refuses.

    It takes a third of the time, and each transaction is read at every replica. EncodingError: of the arguments.
    """
    match = _COMMON_HEAD.match(body)
    if match is None:
        return None
    network, sender, first, second, third, fourth, last, contract_head, contract, method_head, method = match.groups()
    if contract_head[0] != 0xA0 | len(contract) or method_head[0] != 0xA0 | len(method):
        return None  # nothing behind them is read: it begins elsewhere, and no value of it was counted
    nonce, expiry_height, expiry_time = _read_number(first), _read_number(second), _read_number(third)
    gas_limit, follows = _read_number(fourth), None if last is None else _read_number(last)
    start = match.end()
    arguments, end = decode_at(body, start, 1)
    if (
        type(arguments) is not list
        or body[end:] != _NO_COMMITMENTS
        or nonce > NONCE_MAX
        or expiry_height > NONCE_MAX
        or (follows is not None and follows > NONCE_MAX)
        or expiry_time > TIME_MAX_S
        or gas_limit > TRANSACTION_GAS_MAX
    ):
        return None
    names = contract.decode(), method.decode()
    numbers = nonce, expiry_height, expiry_time, gas_limit
    return _make_transaction((network, sender, *numbers, *names, tuple(arguments), (), follows)), start, end


_NO_COMMITMENTS: Final = encode([])


def _read_number(encoded: bytes) -> int:
    return encoded[0] if len(encoded) == 1 else int.from_bytes(encoded[1:], "big")


def _parse_any(body: bytes) -> tuple[Transaction, int, int]:
    """The transaction of any body, and where its arguments lie. Raises EncodingError."""
    fields, offsets = decode_array(body)
    if len(fields) != 12:
        raise EncodingError("shape", "transaction: wrong number of fields", expected=12, got=len(fields))
    return _parse_fields(fields), offsets[10], offsets[11]


def _parse_fields(fields: list[Value]) -> Transaction:
    expect_int(fields[0], "version", 1, 1)
    follows, commitments = fields[7], expect_array(fields[11], "commitments")
    if len(commitments) > COMMITMENTS_MAX:
        raise EncodingError("shape", "commitments", expected_max=COMMITMENTS_MAX, got=len(commitments))
    return Transaction(
        network=expect_bytes(fields[1], "network", HASH_BYTES),
        sender=expect_bytes(fields[2], "sender", PUBLIC_KEY_BYTES),
        nonce=expect_int(fields[3], "nonce", 0, NONCE_MAX),
        expiry_height=expect_int(fields[4], "expiry_height", 0, 2**63 - 1),
        expiry_time=expect_int(fields[5], "expiry_time", 0, TIME_MAX_S),
        gas_limit=expect_int(fields[6], "gas_limit", 0, TRANSACTION_GAS_MAX),
        follows=None if follows is None else expect_int(follows, "follows", 0, NONCE_MAX),
        contract=expect_name(fields[8], "contract"),
        method=expect_name(fields[9], "method"),
        arguments=tuple(expect_array(fields[10], "arguments")),
        commitments=tuple(expect_bytes(item, "commitment", HASH_BYTES) for item in commitments),
    )


def verify_transaction(signed: SignedTransaction) -> None:
    """Raises InvalidSignature unless the sender signed exactly these bytes."""
    message = signing_bytes(Tag.SIGN_TRANSACTION, signed.body)
    from ledger.keys import verify_signature  # here: reading a transaction needs no library, judging it does

    verify_signature(signed.transaction.sender, message, signed.signature)


# --- receipts ---


class Event(NamedTuple):
    """Something a contract announced. The fields stay encoded: most readers only pass them on or hash them."""

    contract: str
    name: str
    fields: bytes  # canonical bytes of a map from str to value

    @classmethod
    def of(cls, contract: str, name: str, fields: Mapping[str, object]) -> "Event":
        """An event from its fields' values."""
        return cls(contract=contract, name=name, fields=encode(dict(fields)))

    def to_bytes(self) -> bytes:
        """Canonical bytes, an element of a receipt's events."""
        return b"\x93" + encode_name(self.contract) + encode_name(self.name) + encode_bytes(self.fields)

    @property
    def values(self) -> dict[str, Value]:
        """The decoded fields."""
        values = decode(self.fields)
        if type(values) is not dict:
            raise EncodingError("shape", "an event's fields are a map", got=type(values).__name__)
        return values


make_event: Final[Callable[[tuple[str, str, bytes]], Event]] = partial(tuple.__new__, Event)
"""From all its fields in their order."""


class Receipt(NamedTuple):
    """The one final answer to a transaction or scheduled call, as the receipts root of its block covers it."""

    tx_id: bytes  # of a scheduled call: tagged_hash(SCHEDULED_CALL, height, due, id), 8 bytes big-endian each
    sender: bytes  # 32 zero bytes for a scheduled call
    nonce: int  # the call id for a scheduled call
    status: str  # one of STATUSES
    code: str  # "" for ok, else the stable code of what went wrong
    gas_used: int
    result: bytes  # canonical bytes of the returned value
    events: tuple[Event, ...]

    def to_bytes(self) -> bytes:
        """The leaf of the receipts tree."""
        tx_id, sender, nonce, status, code, gas_used, result, events = self
        return b"".join(
            (
                b"\x98",
                encode_bytes(tx_id),
                encode_bytes(sender),
                encode_int(nonce),
                encode_name(status),
                encode_name(code),
                encode_int(gas_used),
                encode_bytes(result),
                encode_array_head(len(events)),
                *[event.to_bytes() for event in events],
            )
        )

    @property
    def value(self) -> Value:
        """The decoded result."""
        return decode(self.result)


make_receipt: Final[Callable[[tuple[bytes, bytes, int, str, str, int, bytes, tuple[Event, ...]]], Receipt]] = partial(
    tuple.__new__, Receipt
)
"""A receipt from all its fields in their order, in a third of the time."""


def parse_receipt(data: bytes) -> Receipt:
    """A receipt from its canonical bytes. Raises EncodingError."""
    fields = expect_array(decode(data, max_bytes=RECEIPT_BYTES_MAX), "receipt", 8)
    return Receipt(
        tx_id=expect_bytes(fields[0], "tx_id", HASH_BYTES),
        sender=expect_bytes(fields[1], "sender", PUBLIC_KEY_BYTES),
        nonce=expect_int(fields[2], "nonce", 0, NONCE_MAX),
        status=expect_status(fields[3]),
        code=expect_str(fields[4], "code", 64),
        gas_used=expect_int(fields[5], "gas_used", 0, 2**63 - 1),
        result=expect_bytes(fields[6], "result"),
        events=parse_events(fields[7]),
    )


def expect_status(value: Value) -> str:
    """One of `STATUSES`. Raises EncodingError."""
    if type(value) is not str or value not in STATUSES:
        raise EncodingError("shape", "status", expected=STATUSES, got=value)
    return value


def parse_events(value: Value) -> tuple[Event, ...]:
    """Events from their decoded array of [contract, name, fields]. Raises EncodingError."""
    events: list[Event] = []
    for item in expect_array(value, "events"):
        contract, name, fields = expect_array(item, "event", 3)
        contract, name = expect_name(contract, "event contract"), expect_str(name, "event name", 64)
        events.append(make_event((contract, name, expect_bytes(fields, "event fields"))))
    return tuple(events)
