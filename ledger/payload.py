"""Private payloads: values that travel beside a transaction, bound by salted commitments inside it (D16, D50).

A payload is an array of parts ``[salt, value]``, one for each commitment of the transaction and in the same order. The
commitment is a tagged hash over salt and value; the salt is what makes it say nothing about a value that could be
guessed, once the payload is erased. One payload has one byte string: the array is canonical, each value is canonical
inside it, and both are what the commitments cover, so whoever holds the transaction can judge a payload alone and all
judge alike. A transaction without commitments has no payload, not even an empty one.

Nothing here says where a payload may be written: `ledger.payload_vault` seals it for every disk.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.encoding import decode, encode
from ledger.errors import EncodingError, InvalidTransaction
from ledger.hashing import Tag, tagged_hash
from ledger.shapes import expect_array, expect_bytes
from ledger.transaction import COMMITMENTS_MAX, TRANSACTION_BYTES_MAX, SignedTransaction
from ledger.value_count import has_more_values

SALT_BYTES: Final = 32
"""A value of a few digits is found by trying them all; with 256 unknown bits beside it, it is not."""
PAYLOAD_VALUES_MAX: Final = 8_192
"""Of all parts together, counted as the transaction's own values are, because each costs time at every replica: a day
of quarter-hours of 64 meters has 6,208. The bytes count together with the transaction's (TRANSACTION_BYTES_MAX)."""
_FRAME_VALUES_MAX: Final = 1 + 3 * COMMITMENTS_MAX
"""Of a payload before its values are looked into: the array, and for each part a pair, its salt, its value's bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadPart:
    """One erasable value: without its salt, the commitment on chain says nothing about it."""

    salt: bytes  # 32 random bytes, never used twice
    value: bytes  # canonical bytes

    @property
    def commitment(self) -> bytes:
        """What the signed bytes hold for this part."""
        return tagged_hash(Tag.COMMITMENT, self.salt, self.value)


def make_payload(
    values: Sequence[object], *, draw: Callable[[int], bytes] = secrets.token_bytes
) -> tuple[tuple[bytes, ...], bytes]:
    """(commitments, payload) of values, each under a fresh salt. Raises EncodingError for what has no canonical form.

    No values make no payload: ``((), b"")``. `draw` gives random bytes.
    """
    parts = [PayloadPart(salt=draw(SALT_BYTES), value=encode(value)) for value in values]
    return tuple(part.commitment for part in parts), encode_payload(parts) if parts else b""


def encode_payload(parts: Sequence[PayloadPart]) -> bytes:
    """The bytes that travel beside the transaction: an array of [salt, value]."""
    return encode([[part.salt, part.value] for part in parts])


def verify_payload(signed: SignedTransaction, payload: bytes) -> tuple[PayloadPart, ...]:
    """The parts of a payload that is within the limits, canonical, and covered part by part by the commitments (D50).

    Raises InvalidTransaction: ``too_long``, ``limit`` (too many values), ``payload``. Its text never shows a value.
    """
    commitments = signed.transaction.commitments
    if len(signed.raw) + len(payload) > TRANSACTION_BYTES_MAX:
        got = len(signed.raw) + len(payload)
        raise InvalidTransaction("too_long", "with its payload", expected_max=TRANSACTION_BYTES_MAX, got=got)
    if not commitments:
        if payload:
            raise InvalidTransaction("payload", "a payload without commitments", length=len(payload))
        return ()
    parts = _parse_parts(payload, len(commitments))
    for index, (part, commitment) in enumerate(zip(parts, commitments, strict=True)):
        if part.commitment != commitment:
            raise InvalidTransaction("payload", "not covered", index=index, expected=commitment, got=part.commitment)
    return parts


def read_values(payload: bytes) -> tuple[bytes, ...]:
    """The canonical bytes of each value of a payload that was verified before; none of the empty payload.

    Raises InvalidTransaction (payload, limit) for bytes that never were.
    """
    return tuple(part.value for part in _parse_parts(payload, None)) if payload else ()


def _parse_parts(payload: bytes, count: int | None) -> tuple[PayloadPart, ...]:
    """Total and bounded: values are counted before one is made."""
    try:
        if has_more_values(payload, _FRAME_VALUES_MAX):
            raise EncodingError("shape", "more parts than commitments can be")
        pairs = [expect_array(pair, "part", 2) for pair in expect_array(decode(payload), "payload", count)]
        parts = tuple(
            PayloadPart(salt=expect_bytes(salt, "salt", SALT_BYTES), value=expect_bytes(value, "value"))
            for salt, value in pairs
        )
        # Values behind the head of a long array are an array of them: one walk counts all.
        if has_more_values(
            b"\xdd" + len(parts).to_bytes(4, "big") + b"".join([part.value for part in parts]), PAYLOAD_VALUES_MAX
        ):
            raise InvalidTransaction("limit", "values of a payload", expected_max=PAYLOAD_VALUES_MAX)
        for part in parts:
            decode(part.value)
    except EncodingError as error:
        raise InvalidTransaction("payload", f"not canonical: {error.code}") from None
    return parts
