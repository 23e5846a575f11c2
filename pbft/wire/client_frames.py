"""What clients and replicas say to each other on the client port: dataclasses, and bytes to them and back.

    data = encode_client_frame(Submit(correlation=1, transaction=raw));  decode_client_frame(data) -> ClientFrame
    data = encode_replica_frame(Replies(replies=((1, reply),), ...));   decode_replica_frame(data) -> ReplicaFrame

Both decoders are total and bounded and raise WireError(code). An answer carries the correlation of its question. What
there is by the thousand travels in lists, `Await` and `Replies`, each entry with a correlation of its own.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from google.protobuf.message import Message

from ledger.hashing import HASH_BYTES
from ledger.shapes import NAME_PATTERN
from ledger.transaction import TRANSACTION_BYTES_MAX
from pbft.wire import gridquorum_pb2 as pb
from pbft.wire.limits import (
    AWAITED_MAX,
    CLIENT_FRAME_BYTES_MAX,
    CODE_CHARACTERS_MAX,
    DETAIL_CHARACTERS_MAX,
    NUMBER_MAX,
    REPLICA_FRAME_BYTES_MAX,
    STATE_KEY_BYTES_MAX,
    VIEW_ARGUMENTS_BYTES_MAX,
    WireError,
)
from pbft.wire.shape import parse_canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Order this transaction. Answered by Refused now, or by Replies when it is executed."""

    correlation: int
    transaction: bytes  # signature || signed bytes
    private_payload: bytes = b""  # beside a transaction that declares commitments (D50)


@dataclass(frozen=True, slots=True)
class Await:
    """Tell the outcome of these transactions when they are executed here: replicas answer only who asks them."""

    entries: tuple[tuple[int, bytes], ...]  # (correlation, id of a transaction), 1 to AWAITED_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Run a read-only method on this replica's newest executed state."""

    correlation: int
    contract: str
    method: str
    arguments: bytes  # canonical encoding of a list
    min_height: int  # refused `behind` where the replica has not executed it


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A proof of a receipt (tx_id) or of a key of the world state: exactly one of them is not None."""

    correlation: int
    tx_id: bytes | None
    key: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRequest:
    """Where the replica stands."""

    correlation: int


ClientFrame: TypeAlias = Submit | Await | View | Proof | HeadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies:
    """Outcomes of executed transactions: equal bytes from every correct replica (D43); the hints are not."""

    replies: tuple[tuple[int, bytes], ...]
    """(correlation, canonical [client, nonce, tx id, height, index, receipt, header hash]), 1 to REPLIES_MAX."""
    view_hint: int
    primary_hint: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Not taken by this replica, now. Never final (D47)."""

    correlation: int
    tx_id: bytes  # empty where none could be read
    code: str
    detail: str
    retry_after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewAnswer:
    """The result of a View, with the height and agreed time that it was read at."""

    correlation: int
    height: int
    time_ms: int
    status: str
    code: str
    result: bytes  # canonical encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofAnswer:
    """A proof file, or the code why there is none."""

    correlation: int
    code: str  # empty where the proof is there
    proof: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest executed block of this replica, and its view."""

    correlation: int
    height: int
    time_ms: int
    header_hash: bytes
    certified_height: int
    view: int
    primary: int


OneAnswer: TypeAlias = Refused | ViewAnswer | ProofAnswer | Head
ReplicaFrame: TypeAlias = Replies | OneAnswer


def encode_client_frame(frame: ClientFrame) -> bytes:
    """The bytes of a client's frame."""
    if isinstance(frame, Await):
        entries = b"".join([_ENTRY.pack(correlation, tx_id) for correlation, tx_id in frame.entries])
        return pb.ClientFrame(awaited=pb.Await(entries=entries)).SerializeToString(deterministic=True)
    return _write(pb.ClientFrame(correlation=frame.correlation), frame, CLIENT_BODIES)


def decode_client_frame(data: bytes) -> ClientFrame:
    """A client's frame, or WireError(code)."""
    if len(data) > CLIENT_FRAME_BYTES_MAX:
        raise WireError("oversized", f"{len(data)} bytes, at most {CLIENT_FRAME_BYTES_MAX}")
    frame = parse_canonical(pb.ClientFrame, data)
    if frame.HasField("awaited"):
        return _read_await(frame)
    decoded: ClientFrame = _read(frame, CLIENT_BODIES)
    if isinstance(decoded, Proof) and (decoded.tx_id is None) == (decoded.key is None):
        raise WireError("malformed", "a proof is about a transaction or about a key")
    return decoded


def encode_replica_frame(frame: ReplicaFrame) -> bytes:
    """The bytes of a replica's answer."""
    if isinstance(frame, Replies):
        correlations, replies = zip(*frame.replies, strict=True)
        body = pb.Replies(
            correlations=struct.pack(f">{len(correlations)}Q", *correlations),
            replies=replies,
            view_hint=frame.view_hint,
            primary_hint=frame.primary_hint,
        )
        return pb.ReplicaFrame(replies=body).SerializeToString(deterministic=True)
    return _write(pb.ReplicaFrame(correlation=frame.correlation), frame, REPLICA_BODIES)


def decode_replica_frame(data: bytes) -> ReplicaFrame:
    """A replica's answer, or WireError(code)."""
    if len(data) > REPLICA_FRAME_BYTES_MAX:
        raise WireError("oversized", f"{len(data)} bytes, at most {REPLICA_FRAME_BYTES_MAX}")
    frame = parse_canonical(pb.ReplicaFrame, data)
    if frame.HasField("replies"):
        return _read_replies(frame)
    decoded: ReplicaFrame = _read(frame, REPLICA_BODIES)
    return decoded


# ---- lists ----

_ENTRY: Final = struct.Struct(f">Q{HASH_BYTES}s")  # of an Await
_CORRELATION_BYTES: Final = 8


def _read_await(frame: pb.ClientFrame) -> Await:
    data = frame.awaited.entries
    _bytes(_ENTRY.size, AWAITED_MAX * _ENTRY.size)(data, "entries")
    if len(data) % _ENTRY.size:
        raise WireError("length", f"entries: expected a multiple of {_ENTRY.size} bytes, got {len(data)}")
    entries = tuple(_ENTRY.iter_unpack(data))
    _check_correlations(frame, [correlation for correlation, _ in entries])
    return Await(entries)


def _read_replies(frame: pb.ReplicaFrame) -> Replies:
    body = frame.replies
    data, replies = body.correlations, tuple(body.replies)
    if not replies or len(data) != len(replies) * _CORRELATION_BYTES:
        raise WireError("length", f"correlations: {len(data)} bytes for {len(replies)} replies")
    correlations = struct.unpack(f">{len(replies)}Q", data)
    _check_correlations(frame, correlations)
    _number(body.view_hint, "view_hint")
    return Replies(
        replies=tuple(zip(correlations, replies, strict=True)),
        view_hint=body.view_hint,
        primary_hint=body.primary_hint,
    )


def _check_correlations(frame: pb.ClientFrame | pb.ReplicaFrame, correlations: Sequence[int]) -> None:
    if frame.correlation:
        raise WireError("malformed", "a list has no correlation but those of its entries")
    _number(max(correlations), "correlation")


# ---- what each field may be ----

Check: TypeAlias = Callable[[Any, str], None]  # (value, name): WireError for a value that is refused


def _bytes(low: int, high: int) -> Check:
    def check(value: Any, name: str) -> None:
        if not low <= len(value) <= high:
            raise WireError("length", f"{name}: expected {low}..{high} bytes, got {len(value)}")

    return check


def _text(characters_max: int) -> Check:
    def check(value: Any, name: str) -> None:
        if len(value) > characters_max:
            raise WireError("length", f"{name}: expected at most {characters_max} characters, got {len(value)}")

    return check


def _name(value: Any, name: str) -> None:
    if NAME_PATTERN.fullmatch(value) is None:
        raise WireError("name", f"{name}: expected {NAME_PATTERN.pattern}, got {value[:NAME_SHOWN]!r}")


def _number(value: Any, name: str) -> None:
    if value > NUMBER_MAX:
        raise WireError("number", f"{name}: expected at most {NUMBER_MAX}, got {value}")


def _hash_or_empty(value: Any, name: str) -> None:
    if len(value) not in {0, HASH_BYTES}:
        raise WireError("length", f"{name}: expected {HASH_BYTES} bytes or none, got {len(value)}")


Bodies: TypeAlias = dict[str, tuple[type, dict[str, Check]]]  # name in the oneof -> dataclass and its fields' checks
NAME_SHOWN: Final = 40  # characters of a refused name in an error
_HASH: Final = _bytes(HASH_BYTES, HASH_BYTES)
_ANSWER: Final = _bytes(0, REPLICA_FRAME_BYTES_MAX)

CLIENT_BODIES: Final[Bodies] = {
    "submit": (
        Submit,
        {"transaction": _bytes(1, TRANSACTION_BYTES_MAX), "private_payload": _bytes(0, TRANSACTION_BYTES_MAX)},
    ),
    "view": (
        View,
        {
            "contract": _name,
            "method": _name,
            "arguments": _bytes(0, VIEW_ARGUMENTS_BYTES_MAX),
            "min_height": _number,
        },
    ),
    "proof": (Proof, {"tx_id": _HASH, "key": _bytes(1, STATE_KEY_BYTES_MAX)}),
    "head": (HeadRequest, {}),
}
REPLICA_BODIES: Final[Bodies] = {
    "refused": (
        Refused,
        {
            "tx_id": _hash_or_empty,
            "code": _text(CODE_CHARACTERS_MAX),
            "detail": _text(DETAIL_CHARACTERS_MAX),
            "retry_after_ms": _number,
        },
    ),
    "view_answer": (
        ViewAnswer,
        {
            "height": _number,
            "time_ms": _number,
            "status": _text(CODE_CHARACTERS_MAX),
            "code": _text(CODE_CHARACTERS_MAX),
            "result": _ANSWER,
        },
    ),
    "proof_answer": (ProofAnswer, {"code": _text(CODE_CHARACTERS_MAX), "proof": _ANSWER}),
    "head": (
        Head,
        {
            "height": _number,
            "time_ms": _number,
            "header_hash": _HASH,
            "certified_height": _number,
            "view": _number,
            "primary": _number,
        },
    ),
}


_WITH_PRESENCE: Final = frozenset(
    (body.name, field.name)
    for kind in (pb.ClientFrame, pb.ReplicaFrame)
    for body in kind.DESCRIPTOR.fields
    if body.message_type is not None
    for field in body.message_type.fields
    if field.has_presence
)
"""(body, field) of what may be absent, and is None then."""


def _write(written: Message, frame: ClientFrame | ReplicaFrame, bodies: Bodies) -> bytes:
    body_name, fields = next((name, fields) for name, (kind, fields) in bodies.items() if kind is type(frame))
    body = getattr(written, body_name)
    body.SetInParent()
    for name in fields:
        value = getattr(frame, name)
        if value is not None:
            setattr(body, name, value)
    return written.SerializeToString(deterministic=True)


def _read(frame: pb.ClientFrame | pb.ReplicaFrame, bodies: Bodies) -> Any:
    body_name = frame.WhichOneof("body")
    if body_name is None:
        raise WireError("malformed", "a frame without a body")
    kind, fields = bodies[body_name]
    body = getattr(frame, body_name)
    _number(frame.correlation, "correlation")
    values: dict[str, Any] = {}
    for name, check in fields.items():
        is_absent = (body_name, name) in _WITH_PRESENCE and not body.HasField(name)
        values[name] = None if is_absent else getattr(body, name)
        if not is_absent:
            check(values[name], name)
    return kind(correlation=frame.correlation, **values)
