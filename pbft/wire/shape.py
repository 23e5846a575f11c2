"""A walk over the bytes of a message before protobuf sees them: known fields only, and no more elements than allowed.

Two bytes on the wire can make protobuf allocate an object of fifty, so counts are checked first. The walk allocates
nothing, visits each element once and stops at the first that is too many. What each message may contain comes from the
generated descriptors; how often, from `count_limits`, which names every repeated field (a test compares both). After
the parse, `parse_canonical` serialises the message again and refuses any bytes that differ: one message, one form.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from pbft.wire import gridquorum_pb2 as pb
from pbft.wire.limits import (
    BATCHES_MAX,
    BLOCKS_MAX,
    FETCHED_DIGESTS_MAX,
    FORWARDED_MAX,
    REPLIES_MAX,
    WireError,
    WireRules,
)

VARINT: Final = 0  # wire types of the encoding specification; the format uses these two only
LENGTH_DELIMITED: Final = 2
VARINT_BYTES_MAX: Final = 10
DELIMITED_TYPES: Final = {FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE}
MessageKind = TypeVar("MessageKind", bound=Message)


@dataclass(frozen=True, slots=True)
class FieldShape:
    """What may stand under one tag: nested messages or plain values, and how many."""

    name: str
    nested: "dict[int, FieldShape] | None"
    count_max: int
    is_packed: bool  # a list of varints in one element


CLIENT_COUNT_LIMITS: Final = {"Replies.replies": REPLIES_MAX}
"""The same for the client port, whose limits follow from no genesis."""


def count_limits(rules: WireRules) -> dict[str, int]:
    """How many elements each repeated field may have, by the field's full name without the package."""
    return {
        "Batch.requests": rules.batch_requests_max,
        "Envelope.private_payloads": rules.batch_requests_max,
        "Body.private_payloads": rules.batch_requests_max,
        "BlockBody.private_payloads": rules.batch_requests_max,
        "Relay.private_payloads": rules.batch_requests_max,
        "Votes.votes": rules.votes_max,
        "ViewChange.prepared": rules.window,
        "ViewChange.pre_prepared": rules.pre_prepared_max,
        "NewView.view_changes": rules.replicas,
        "NewView.choices": rules.window,
        "Certificate.signatures": rules.replicas,
        "Status.pre_prepared": rules.window,
        "Status.prepared": rules.window,
        "Status.committed": rules.window,
        "Status.view_changes": rules.replicas,
        "FetchBatches.digests": FETCHED_DIGESTS_MAX,
        "Batches.batches": BATCHES_MAX,
        "Blocks.blocks": BLOCKS_MAX,
        "Relay.requests": rules.batch_requests_max,
        "Forward.envelopes": FORWARDED_MAX,
        "Said.envelopes": FORWARDED_MAX,
    } | CLIENT_COUNT_LIMITS


@lru_cache(maxsize=256)
def shape_of(kind: str, rules: WireRules | None) -> dict[int, FieldShape]:
    """The shape of a message by tag; `kind` is its name in the package, `rules` is None on the client port."""
    limits = count_limits(rules) if rules is not None else CLIENT_COUNT_LIMITS
    descriptor = pb.DESCRIPTOR.message_types_by_name[kind]
    shape: dict[int, FieldShape] = {}
    for field in descriptor.fields:
        name = f"{kind}.{field.name}"
        is_delimited = field.is_repeated or field.type in DELIMITED_TYPES
        shape[field.number << 3 | (LENGTH_DELIMITED if is_delimited else VARINT)] = FieldShape(
            name=name,
            nested=shape_of(field.message_type.name, rules) if field.message_type is not None else None,
            count_max=limits[name] if field.is_repeated else 1,
            is_packed=field.is_packed,
        )
    return shape


def parse_canonical(kind: type[MessageKind], data: bytes, rules: WireRules | None = None) -> MessageKind:
    """The message in `data`, or WireError: `malformed`, `unknown_field`, `count` or `not_canonical`."""
    check_shape(data, 0, len(data), shape_of(kind.DESCRIPTOR.name, rules))
    try:
        message = kind.FromString(data)
    except DecodeError as error:
        raise WireError("malformed", f"{kind.DESCRIPTOR.name}: {error}") from None
    if message.SerializeToString(deterministic=True) != data:
        raise WireError("not_canonical", f"{kind.DESCRIPTOR.name} in another form than the canonical one")
    return message


def check_shape(data: bytes, start: int, end: int, shape: dict[int, FieldShape]) -> None:
    """Walks `data[start:end]` as one message of that shape; WireError at the first thing that does not fit."""
    counts: dict[int, int] = {}
    position = start
    while position < end:
        tag = data[position]  # every field number is below 16: a tag is one byte
        field = shape.get(tag)
        if field is None:
            raise WireError("unknown_field", f"tag {tag} at byte {position}")
        count = counts[tag] = counts.get(tag, 0) + 1
        if count > field.count_max:
            raise WireError("count", f"{field.name}: expected at most {field.count_max}")
        position += 1
        if position < end and data[position] < 0x80:  # most lengths and numbers take one byte
            number = data[position]
            position += 1
        else:
            number, position = _read_varint(data, position, end)
        if tag & 7 == VARINT:
            continue
        if number > end - position:
            raise WireError("malformed", f"{field.name}: {number} bytes announced, {end - position} left")
        if field.nested is not None:
            check_shape(data, position, position + number, field.nested)
        elif field.is_packed and number > field.count_max * VARINT_BYTES_MAX:
            raise WireError("count", f"{field.name}: expected at most {field.count_max}")
        position += number


def _read_varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 7 * VARINT_BYTES_MAX:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise WireError("malformed", f"number at byte {position} does not end")
