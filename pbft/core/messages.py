"""Every protocol message, as the core sees it: parsed, bounded, its signature already checked by the edge.

Two kinds exist. *Signed* messages travel in an `Envelope`, whose signature covers the exact bytes received (D9, D61);
several PREPAREs, COMMITs and header votes of one turn share an envelope. *Link* messages are vouched for by the TLS
link alone and never become evidence. Heights are sequence numbers (D4). Sizes are limited by `pbft.wire.codec`.

The third group never travels: what the edge tells the core about clients and about the ledger.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ledger.hashing import NULL_DIGEST
from ledger.quorum_certificate import QuorumCertificate
from ledger.transaction import SignedTransaction
from pbft.core.config import EpochStart

_set: Final = object.__setattr__


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Request:
    """A client request whose bytes, limits and client signature the edge has checked (D42)."""

    client: bytes  # 32-byte public key
    nonce: int
    tx_id: bytes  # hash of the signed bytes; the identity of the request (D44)
    expiry_height: int
    gas_limit: int
    raw: bytes  # signature || signed bytes, as received; the leaf of the batch digest
    has_code: bool = False  # it brings a contract's source: checked before it is ordered (D53)
    payload: bytes | None = b""  # private, checked against the commitments; empty without any; None: not here (D50)
    signed: SignedTransaction | None = field(default=None, compare=False, repr=False)  # `raw` as parsed, where kept

    def __init__(
        self,
        *,
        client: bytes,
        nonce: int,
        tx_id: bytes,
        expiry_height: int,
        gas_limit: int,
        raw: bytes,
        has_code: bool = False,
        payload: bytes | None = b"",
        signed: SignedTransaction | None = None,
    ) -> None:
        """As `dataclass` would write it, so that it is compiled with the module: a third of the time, once for
        every request."""
        _set(self, "client", client)
        _set(self, "nonce", nonce)
        _set(self, "tx_id", tx_id)
        _set(self, "expiry_height", expiry_height)
        _set(self, "gas_limit", gas_limit)
        _set(self, "raw", raw)
        _set(self, "has_code", has_code)
        _set(self, "payload", payload)
        _set(self, "signed", signed)

    @property
    def size_bytes(self) -> int:
        """What it takes of a batch, a relay or a queue: its bytes and those of the payload beside them."""
        return len(self.raw) + len(self.payload or b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Requests ordered under one height. The digest covers time, order and signatures, never the view (M7)."""

    time_ms: int  # UTC milliseconds, proposed by the primary
    requests: tuple[Request, ...]
    digest: bytes
    transactions_root: bytes | None = field(default=None, compare=False)
    """As it was computed on the way to the digest, for the block's header; None where the digest was read."""

    @property
    def is_whole(self) -> bool:
        """Whether every private payload that a request declares is here: what is not whole is missing (D50)."""
        return all(request.payload is not None for request in self.requests)

    @property
    def has_code(self) -> bool:
        """Whether a request brings a contract's source, which is checked before PREPARE (D53)."""
        return any(request.has_code for request in self.requests)

    @property
    def size_bytes(self) -> int:
        """The bytes of its requests, their payloads with them."""
        return sum(request.size_bytes for request in self.requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrePrepare:
    """Section 4.2: the primary assigns a height to a batch. Private payloads travel beside what it signs (D50)."""

    epoch: int
    view: int
    height: int
    digest: bytes
    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Section 4.2: a backup accepted the primary's proposal. The primary's PRE-PREPARE is its own PREPARE (M2)."""

    epoch: int
    view: int
    height: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Section 4.2: the sender holds a prepared certificate, and has made its P entry durable."""

    epoch: int
    view: int
    height: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderVote:
    """CHECKPOINT with K = 1 (D5): a signature over (network, epoch, height, header hash), after execution."""

    epoch: int
    height: int
    header_hash: bytes
    signature: bytes  # over ledger.quorum_certificate.vote_bytes: it outlives this message inside certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotEntry:
    """An entry (n, d, v) of a P or Q set, for the latest view v (M37)."""

    height: int
    digest: bytes
    view: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewChange:
    """Section 4.4: the sender leaves for `view`, and reports what it certified, prepared and pre-prepared (D27)."""

    epoch: int
    view: int
    certified_height: int  # h; the base of the epoch (0 is genesis) needs no certificate
    header_hash: bytes
    certificate: QuorumCertificate | None
    prepared: tuple[SlotEntry, ...]  # the P set, at most one entry per height
    pre_prepared: tuple[SlotEntry, ...]  # the Q set, at most one entry per (height, digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotChoice:
    """What a NEW-VIEW re-proposes at a height; NULL_DIGEST for a null request (D29)."""

    height: int
    digest: bytes

    @property
    def is_null(self) -> bool:
        return self.digest == NULL_DIGEST


@dataclass(frozen=True, slots=True, kw_only=True)
class NewView:
    """Section 4.4: the primary of `view` shows Q VIEW-CHANGEs and the choice that follows from them."""

    epoch: int
    view: int
    view_changes: tuple["Envelope", ...]  # each holds exactly one ViewChange, from distinct replicas
    choices: tuple[SlotChoice, ...]  # contiguous, from the highest certified height + 1


SignedMessage: TypeAlias = PrePrepare | Prepare | Commit | HeaderVote | ViewChange | NewView


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Signed messages of one replica, with the bytes and signature that prove them to others."""

    sender: int  # replica id, equal to the signer's index in the epoch's configuration
    messages: tuple[SignedMessage, ...]
    raw: bytes  # the signed bytes as received; never re-serialised
    signature: bytes

    @property
    def size_bytes(self) -> int:
        """What it takes of a frame or of memory: the signed bytes, and the private payloads that travel beside them."""
        first = self.messages[0]
        beside = sum(len(r.payload or b"") for r in first.batch.requests) if isinstance(first, PrePrepare) else 0
        return len(self.raw) + beside


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the sender has and lacks (M50): a negative acknowledgement, answered with precisely what is missing."""

    epoch: int
    view: int
    active: bool
    certified_height: int
    executed_height: int
    pre_prepared: tuple[int, ...]  # heights above certified_height accepted in `view`
    prepared: tuple[int, ...]
    committed: tuple[int, ...]
    view_changes: tuple[int, ...]  # replicas whose VIEW-CHANGE for `view` is held, while inactive
    overdue_ms: int = 0  # when the call was due that no block has run, by the sender's clock; 0 for none (D63)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchBatches:
    """Asks any holder for batch bodies by digest (M16)."""

    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Batch bodies; each proves itself by its digest."""

    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchBlocks:
    """Asks for executed blocks from `first_height` on, with a certificate at or above the last (D28)."""

    first_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockBody:
    """A block on the way to a replica that lags: the header's bytes and the batch that it executed."""

    header: bytes  # ledger.block.Header bytes
    batch: Batch | None  # None for a null block


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Consecutive blocks under one certificate; adopted along parent hashes, never on the sender's word (D28)."""

    first_height: int
    blocks: tuple[BlockBody, ...]
    certificate: QuorumCertificate | None  # for the last block, or for none if it is not yet certified


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateNotice:
    """The sender's newest certificate: the answer to any message at or below its own certified height (D28)."""

    certificate: QuorumCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSnapshot:
    """Asks all others for a certified snapshot above the own head (D15)."""

    above_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOffer:
    """The sender holds the snapshot of this header, and serves its chunks for a while."""

    header: bytes  # ledger.block.Header bytes
    certificate: QuorumCertificate  # for exactly that header


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSnapshotChunk:
    """Asks for the chunk at a position of the snapshot of a height."""

    height: int
    position: bytes  # ledger.snapshot.Position bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotChunk:
    """A chunk; it proves itself against the certified header (`ledger.snapshot_install`)."""

    height: int
    position: bytes
    chunk: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Client requests passed on by a replica (D56): judged by the clients' signatures, not by the relayer."""

    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Signed envelopes of others, re-sent to a replica that lacks them: VIEW-CHANGEs, a NEW-VIEW, old votes (M33)."""

    envelopes: tuple[Envelope, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSaid:
    """Asks what the other side has heard of the asker's own key: at start before the first word, and now and then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The answer: envelopes signed with the asker's key, the newest first, and the newest certificate (M28, D38)."""

    envelopes: tuple[Envelope, ...]
    certificate: QuorumCertificate | None


LinkMessage: TypeAlias = (
    Status
    | FetchBatches
    | Batches
    | FetchBlocks
    | Blocks
    | CertificateNotice
    | FetchSnapshot
    | SnapshotOffer
    | FetchSnapshotChunk
    | SnapshotChunk
    | Relay
    | Forward
    | FetchSaid
    | Said
)
PeerMessage: TypeAlias = Envelope | LinkMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequest:
    """From the edge: a client handed in a request that passed the door (M6)."""

    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """From the edge: the ledger has executed and durably stored a block."""

    height: int
    header_hash: bytes
    time_ms: int  # the block's agreed time
    gas_used: int
    next_due_ms: int | None  # when the earliest scheduled call is due, None if none waits
    finished: tuple[bytes, ...]  # tx ids of the block's requests, executed or skipped: no longer pending
    used: tuple[tuple[bytes, int], ...]  # (client, nonce) that the block used up: no other request can have it (D45)
    epoch_end: int | None = None  # E, the last height of this epoch, once a change is decided (D40)
    next_epoch: EpochStart | None = None  # at E, and only there


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeChecked:
    """From the edge: the own worker has survived every source that the batch of this digest brings (D53)."""

    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotStaged:
    """From the edge: a snapshot has begun, or a chunk was judged; what is kept of it is durable."""

    height: int
    code: str  # "" where it holds, else why it was refused
    detail: str
    position: bytes | None  # of the next chunk; None when everything is here


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInstalled:
    """From the edge: the snapshot is the ledger now, durably."""

    height: int
    next_due_ms: int | None
    finished: tuple[bytes, ...]  # tx ids of pending requests whose nonce the snapshot has used
    used: tuple[tuple[bytes, int], ...]  # (client, nonce) of pending requests that the snapshot has used
    epoch_end: int | None = None  # as in `Executed`
    next_epoch: EpochStart | None = None


LocalMessage: TypeAlias = ClientRequest | CodeChecked | Executed | SnapshotStaged | SnapshotInstalled
