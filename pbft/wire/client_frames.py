"""What clients and replicas say to each other on the client port: dataclasses, and bytes to them and back.

    data = encode_client_frame(Submit(correlation=1, transaction=raw));  decode_client_frame(data) -> ClientFrame
    data = encode_replica_frame(Reply(correlation=1, ...));             decode_replica_frame(data) -> ReplicaFrame

Both decoders are total and bounded and raise WireError(code). An answer carries the correlation of its question.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Order this transaction. Answered by Refused now, or by Reply when it is executed."""

    correlation: int
    transaction: bytes  # signature || signed bytes


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


def decode_client_frame(data: bytes) -> ClientFrame:
    """A client's frame, or WireError(code)."""


def encode_replica_frame(frame: ReplicaFrame) -> bytes:
    """The bytes of a replica's answer."""


def decode_replica_frame(data: bytes) -> ReplicaFrame:
    """A replica's answer, or WireError(code)."""
