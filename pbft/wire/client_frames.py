"""What clients and replicas say to each other on the client port: dataclasses, and bytes to them and back.

    data = encode_client_frame(Submit(correlation=1, transaction=raw));  decode_client_frame(data) -> ClientFrame
    data = encode_replica_frame(Reply(correlation=1, ...));             decode_replica_frame(data) -> ReplicaFrame

Both decoders are total and bounded and raise WireError(code). An answer carries the correlation of its question.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from google.protobuf.message import Message

from ledger.hashing import HASH_BYTES
from ledger.shapes import NAME_PATTERN
from ledger.transaction import TRANSACTION_BYTES_MAX
from pbft.wire import gridquorum_pb2 as pb
from pbft.wire.limits import (
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
    """Order this transaction. Answered by Refused now, or by Reply when it is executed."""

    correlation: int
    transaction: bytes  # signature || signed bytes
    private_payload: bytes = b""  # beside a transaction that declares commitments (D50)


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


ClientFrame: TypeAlias = Submit | View | Proof | HeadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The outcome of an executed transaction: equal bytes from every correct replica (D43); the hints are not."""

    correlation: int
    reply: bytes  # canonical [client, nonce, tx id, height, index, receipt, header hash]
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


ReplicaFrame: TypeAlias = Reply | Refused | ViewAnswer | ProofAnswer | Head


def encode_client_frame(frame: ClientFrame) -> bytes:
    """The bytes of a client's frame."""
    return _write(pb.ClientFrame(correlation=frame.correlation), frame, CLIENT_BODIES)


def decode_client_frame(data: bytes) -> ClientFrame:
    """A client's frame, or WireError(code)."""
    if len(data) > CLIENT_FRAME_BYTES_MAX:
        raise WireError("oversized", f"{len(data)} bytes, at most {CLIENT_FRAME_BYTES_MAX}")
    frame = parse_canonical(pb.ClientFrame, data)
    decoded: ClientFrame = _read(frame, CLIENT_BODIES)
    if isinstance(decoded, Proof) and (decoded.tx_id is None) == (decoded.key is None):
        raise WireError("malformed", "a proof is about a transaction or about a key")
    return decoded


def encode_replica_frame(frame: ReplicaFrame) -> bytes:
    """The bytes of a replica's answer."""
    return _write(pb.ReplicaFrame(correlation=frame.correlation), frame, REPLICA_BODIES)


def decode_replica_frame(data: bytes) -> ReplicaFrame:
    """A replica's answer, or WireError(code)."""
    if len(data) > REPLICA_FRAME_BYTES_MAX:
        raise WireError("oversized", f"{len(data)} bytes, at most {REPLICA_FRAME_BYTES_MAX}")
    decoded: ReplicaFrame = _read(parse_canonical(pb.ReplicaFrame, data), REPLICA_BODIES)
    return decoded


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
    "reply": (Reply, {"reply": _ANSWER, "view_hint": _number, "primary_hint": _number}),
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
        is_absent = body.DESCRIPTOR.fields_by_name[name].has_presence and not body.HasField(name)
        values[name] = None if is_absent else getattr(body, name)
        if not is_absent:
            check(values[name], name)
    return kind(correlation=frame.correlation, **values)
