"""Protocol messages and actions in words: one short, stable phrase for each, as transcripts print them.

Notation: `12:ab12` is height 12 with the digest that begins ab12; `@3` adds the view; `a0` is the request of client a
with nonce 0; `null` is the digest of no request.
"""

from collections.abc import Iterable

from ledger.encoding import decode
from ledger.hashing import NULL_DIGEST
from pbft.core.actions import (
    Action,
    CheckCode,
    Dropped,
    Evidence,
    Execute,
    Halt,
    InstallSnapshot,
    Persist,
    PersistEnvelope,
    StoreCertificate,
)
from pbft.core.messages import (
    Batch,
    Batches,
    Blocks,
    CertificateNotice,
    Commit,
    Envelope,
    FetchBatches,
    FetchBlocks,
    FetchSaid,
    FetchSnapshot,
    FetchSnapshotChunk,
    Forward,
    HeaderVote,
    NewView,
    PeerMessage,
    Prepare,
    PrePrepare,
    Relay,
    Request,
    Said,
    SignedMessage,
    SlotEntry,
    SnapshotChunk,
    SnapshotOffer,
    Status,
    ViewChange,
)

KINDS: dict[type, str] = {
    PrePrepare: "PRE-PREPARE",
    Prepare: "PREPARE",
    Commit: "COMMIT",
    HeaderVote: "HEADER-VOTE",
    ViewChange: "VIEW-CHANGE",
    NewView: "NEW-VIEW",
    Status: "STATUS",
    FetchBatches: "FETCH-BATCHES",
    Batches: "BATCHES",
    FetchBlocks: "FETCH-BLOCKS",
    Blocks: "BLOCKS",
    CertificateNotice: "CERTIFICATE",
    Relay: "RELAY",
    Forward: "FORWARD",
    FetchSaid: "FETCH-SAID",
    Said: "SAID",
    FetchSnapshot: "FETCH-SNAPSHOT",
    SnapshotOffer: "SNAPSHOT-OFFER",
    FetchSnapshotChunk: "FETCH-SNAPSHOT-CHUNK",
    SnapshotChunk: "SNAPSHOT-CHUNK",
}
"""What transcripts and scripts call each message."""


def name_of(request: Request) -> str:
    """`a0`: client a, nonce 0. `a0+p` came with its private payload, `a0-p` without the one that it declares."""
    mark = "-p" if request.payload is None else "+p" if request.payload else ""
    return f"{chr(96 + request.client[0])}{request.nonce}{mark}"


def short(digest: bytes) -> str:
    """The first four hexadecimal digits, or `null`."""
    return "null" if digest == NULL_DIGEST else digest.hex()[:4]


def batch_words(batch: Batch | None) -> str:
    """The names of a batch's requests."""
    return "[]" if batch is None or not batch.requests else f"[{' '.join(name_of(r) for r in batch.requests)}]"


def entries(found: Iterable[SlotEntry]) -> str:
    """A P or Q set."""
    return "{" + ", ".join(f"{e.height}:{short(e.digest)}@{e.view}" for e in found) + "}"


def heights(found: Iterable[int]) -> str:
    """Heights as ranges: `1-3, 7`."""
    groups: list[list[int]] = []
    for height in sorted(found):
        if groups and groups[-1][-1] == height - 1:
            groups[-1].append(height)
        else:
            groups.append([height])
    return ", ".join(str(g[0]) if len(g) == 1 else f"{g[0]}-{g[-1]}" for g in groups) or "none"


def kinds_of(message: PeerMessage) -> set[str]:
    """The kinds of message in what one link carries at once."""
    inner = message.messages if isinstance(message, Envelope) else (message,)
    return {KINDS[type(one)] for one in inner}


def signed_words(message: SignedMessage) -> str:
    """A signed message."""
    kind = KINDS[type(message)]
    match message:
        case PrePrepare():
            return f"{kind} view={message.view} {message.height}:{short(message.digest)} {batch_words(message.batch)}"
        case Prepare() | Commit():
            return f"{kind} view={message.view} {message.height}:{short(message.digest)}"
        case HeaderVote():
            return f"{kind} {message.height}:{message.header_hash.hex()[:4]}"
        case ViewChange():
            return (
                f"{kind} view={message.view} h={message.certified_height}"
                f" P={entries(message.prepared)} Q={entries(message.pre_prepared)}"
            )
        case NewView():
            senders = " ".join(f"R{envelope.sender}" for envelope in message.view_changes)
            choices = ", ".join(f"{c.height}:{short(c.digest)}" for c in message.choices)
            return f"{kind} view={message.view} V={{{senders}}} X={{{choices}}}"


def message_words(message: PeerMessage) -> str:
    """Whatever travels on a link."""
    match message:
        case Envelope():
            return " + ".join(signed_words(inner) for inner in message.messages)
        case Status():
            return (
                f"STATUS view={message.view}{'' if message.active else ' pending'} h={message.certified_height}"
                f" e={message.executed_height}"
            )
        case FetchBatches():
            return f"FETCH-BATCHES {' '.join(short(digest) for digest in message.digests)}"
        case Batches():
            return f"BATCHES {' '.join(f'{short(b.digest)} {batch_words(b)}' for b in message.batches)}"
        case FetchBlocks():
            return f"FETCH-BLOCKS from {message.first_height}"
        case Blocks():
            last = message.first_height + len(message.blocks) - 1
            proof = "no certificate" if message.certificate is None else f"certificate of {message.certificate.height}"
            return f"BLOCKS {message.first_height}-{last}, {proof}"
        case Said():
            return f"SAID {', '.join('/'.join(sorted(kinds_of(e))) for e in message.envelopes) or 'nothing'}"
        case FetchSnapshot():
            return f"FETCH-SNAPSHOT above {message.above_height}"
        case SnapshotOffer():
            return f"SNAPSHOT-OFFER of height {message.certificate.height}, with its certificate"
        case FetchSnapshotChunk() | SnapshotChunk():
            return f"{KINDS[type(message)]} of height {message.height}"
        case CertificateNotice():
            return f"CERTIFICATE of {message.certificate.height}"
        case Relay():
            return f"RELAY {' '.join(name_of(request) for request in message.requests)}"
        case Forward():
            held = (f"{'/'.join(sorted(kinds_of(e)))} of R{e.sender}" for e in message.envelopes)
            return f"FORWARD {', '.join(held)}"
    return KINDS[type(message)]


def action_words(action: Action) -> str | None:
    """What an action does where it is performed; None for sending, which shows where it arrives."""
    match action:
        case Persist():
            return None if action.value is None else record_words(action.key, action.value)
        case PersistEnvelope():
            return "journals the NEW-VIEW"
        case Execute():
            how = " (adopted)" if action.adopted else ""
            return f"executes {action.height} {batch_words(action.batch)}{how}"
        case CheckCode():
            return f"asks its worker about the code in {action.batch.digest.hex()[:4]}"
        case InstallSnapshot():
            return f"installs the snapshot of {action.height}"
        case StoreCertificate():
            return None  # the journal's `certified` record says it
        case Evidence():
            return f"keeps evidence against R{action.replica}: {action.kind}"
        case Dropped():
            return f"refuses it: {action.code}"
        case Halt():
            return f"HALTS: {action.reason.split(':')[0]}"
    return None


def record_words(key: bytes, value: bytes) -> str | None:
    """A journal record that is put."""
    if key == b"view":
        _, view, active, *_ = decode(value)
        return f"journals view {view}{'' if active else ', pending'}"
    if key == b"certified":
        return f"h := {decode(value)[0]}, journaled with its certificate"
    height = int.from_bytes(key[2:10], "big")
    if key.startswith(b"p/"):
        digest, view = decode(value)
        return f"journals P {height}:{short(digest)}@{view}"
    if key.startswith(b"q/"):
        return f"journals Q {height}:{short(key[10:])}@{decode(value)}"
    return None  # bodies go with their Q entries, header votes with the vote
