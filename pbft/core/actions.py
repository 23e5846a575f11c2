"""What the core asks of its driver. A closed set; the driver performs a turn's actions in one order, whatever theirs.

The order (D3): seal, journal, sync, send, hand own envelopes back, execute, reply. Nothing of a turn leaves before its
sync, so the core may put an action that promises something beside the `Persist` that remembers the promise.
"""

from dataclasses import dataclass
from typing import TypeAlias

from ledger.quorum_certificate import QuorumCertificate
from pbft.core.messages import Batch, Envelope, PeerMessage, Request, SignedMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Persist:
    """Put or delete one journal record; durable before anything of this turn leaves. Keys: `pbft.core.persisted`."""

    key: bytes
    value: bytes | None  # None deletes


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistBody:
    """Journal a whole body under its digest, as `Persist` does; the edge seals its private payloads (D50)."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistEnvelope:
    """Journal an envelope that others sealed, as received: the NEW-VIEW by which a view was entered (M25d)."""

    key: bytes
    envelope: Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """Seal these messages into one envelope, send it to all others, and hand it back as a message from oneself."""

    messages: tuple[SignedMessage, ...]
    journal_key: bytes | None = None  # journal the sealed envelope under this key, in this turn's sync (M25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Send to all others what needs no sealing: a link message, or an envelope that exists already."""

    message: PeerMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """As `Publish`, to one replica."""

    replica: int
    message: PeerMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCode:
    """Let the own worker check the sources that this batch brings, and report `CodeChecked` if it survives (D53)."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Execute:
    """Execute the block of this height, and report `Executed`. Asked for one height at a time, in order (M12, M47)."""

    height: int
    batch: Batch | None  # None for a null request
    adopted: bool  # taken over from others by D28, not committed here; the core compares its header afterwards
    is_journaled: bool  # the own journal holds its body and P entry: clients need not wait for the ledger's sync (D34)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCertificate:
    """Keep a certificate in the ledger, where clients and auditors find it."""

    certificate: QuorumCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class SendBlocks:
    """Answer a FETCH-BLOCKS from the ledger: blocks from `first_height` on, as many as one answer carries (D28)."""

    replica: int
    first_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaim:
    """Requests of proposals that no view decided: those whose nonce is unused come back as a RELAY from oneself."""

    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendEpochEnd:
    """Answer a replica that is in an older epoch: the certificate that ends that one, from the ledger (D41)."""

    replica: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSnapshot:
    """Answer a FETCH-SNAPSHOT from the ledger, now or when asked again: an offer above that height."""

    replica: int
    above_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSnapshotChunk:
    """Answer a FETCH-SNAPSHOT-CHUNK from the ledger; with an offer, where that snapshot is not held any more."""

    replica: int
    height: int
    position: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginSnapshot:
    """Begin to receive the snapshot of a certified header, and report `SnapshotStaged`."""

    header: bytes
    certificate: QuorumCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChunk:
    """Check a chunk and keep it beside the ledger, durably, and report `SnapshotStaged`."""

    height: int
    position: bytes
    chunk: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSnapshot:
    """Make the snapshot the ledger in one durable write, and report `SnapshotInstalled`. Nothing executes meanwhile."""

    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Two messages that one correct replica never sends both, with the signed bytes that prove it (M54)."""

    replica: int  # the accused: an id of `epoch`, which may be another member's in the next one
    kind: str  # one of `pbft.core.evidence.EVIDENCE_KINDS`
    view: int  # 0 for a header vote
    height: int  # 0 for VIEW-CHANGE and NEW-VIEW
    first: Envelope
    second: Envelope | None  # None where one message convicts by itself

    @property
    def epoch(self) -> int:
        """The epoch whose keys convict: what one envelope holds is of one epoch."""
        return self.first.messages[0].epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Stop voting and serving, keep everything, raise the alarm (M45). The core answers nothing afterwards."""

    kind: str  # of `pbft.core.halting`: what the operator has to do
    reason: str  # a sentence for the operator, with the heights and hashes that disagree
    height: int = 0  # where they disagree; 0 where it is not about a height
    own: bytes = b""
    other: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A message was refused, a peer's fault: to be counted under its code, and otherwise forgotten (M5)."""

    sender: int
    code: str
    detail: str


Action: TypeAlias = (
    Persist
    | PersistBody
    | PersistEnvelope
    | Broadcast
    | Publish
    | Send
    | CheckCode
    | Execute
    | StoreCertificate
    | SendBlocks
    | Reclaim
    | SendEpochEnd
    | OfferSnapshot
    | SendSnapshotChunk
    | BeginSnapshot
    | StageChunk
    | InstallSnapshot
    | Evidence
    | Dropped
    | Halt
)
