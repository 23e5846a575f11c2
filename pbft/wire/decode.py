"""Bytes from another replica to core messages: total, bounded, and nothing taken on the sender's word.

Every function here returns a message that is well formed by its own bytes, or raises WireError with a stable code:
numbers in range, hashes and signatures of their length, ids of members, lists within their window, batch digests and
transaction ids recomputed. Whether a message is timely, wanted or honest is the core's question; whether its
signatures hold is `verify`'s.
"""

from collections.abc import Hashable, Sequence
from itertools import pairwise

from ledger.block import HEADER_BYTES_MAX, TIME_MAX_MS, compute_batch_digest
from ledger.hashing import HASH_BYTES, SIGNATURE_BYTES
from ledger.quorum_certificate import QuorumCertificate
from ledger.snapshot import CHUNK_BYTES_MAX, POSITION_BYTES_MAX
from pbft.core.messages import (
    Batch,
    Batches,
    BlockBody,
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
    SlotChoice,
    SlotEntry,
    SnapshotChunk,
    SnapshotOffer,
    Status,
    ViewChange,
)
from pbft.wire import gridquorum_pb2 as pb
from pbft.wire.limits import NUMBER_MAX, WIRE_VERSION, WireError, WireRules
from pbft.wire.requests import parse_payload, parse_signed
from pbft.wire.shape import parse_canonical


def decode_peer(data: bytes, rules: WireRules) -> PeerMessage:
    """The message in a frame, or WireError(code). Batch digests and tx ids are recomputed from the bytes received."""
    if len(data) > rules.peer_frame_bytes_max:
        raise WireError("oversized", f"{len(data)} bytes, at most {rules.peer_frame_bytes_max}")
    frame = parse_canonical(pb.PeerFrame, data, rules)
    match frame.WhichOneof("body"):
        case "envelope":
            return _envelope(frame.envelope, rules)
        case "status":
            return _status(frame.status, rules)
        case "fetch_batches":
            return FetchBatches(digests=tuple(_hash(digest, "digest") for digest in frame.fetch_batches.digests))
        case "batches":
            return Batches(batches=tuple(_body(body, rules) for body in frame.batches.batches))
        case "fetch_blocks":
            return FetchBlocks(first_height=_height(frame.fetch_blocks.first_height, "first height"))
        case "blocks":
            return _blocks(frame.blocks, rules)
        case "certificate_notice":
            return CertificateNotice(certificate=_certificate(frame.certificate_notice, rules))
        case "fetch_snapshot":
            return FetchSnapshot(above_height=_number(frame.fetch_snapshot.above_height, "height"))
        case "snapshot_offer":
            return _snapshot_offer(frame.snapshot_offer, rules)
        case "fetch_snapshot_chunk":
            asked = frame.fetch_snapshot_chunk
            return FetchSnapshotChunk(height=_height(asked.height, "height"), position=_position(asked.position))
        case "snapshot_chunk":
            return _snapshot_chunk(frame.snapshot_chunk)
        case "relay":
            payloads = frame.relay.private_payloads
            return Relay(requests=_requests(frame.relay.requests, payloads, rules, may_lack=False))
        case "forward":
            return Forward(envelopes=tuple(_envelope(envelope, rules) for envelope in frame.forward.envelopes))
        case "fetch_said":
            return FetchSaid()
        case "said":
            return _said(frame.said, rules)
        case _:
            raise WireError("malformed", "a frame without a message")


def _said(said: pb.Said, rules: WireRules) -> Said:
    return Said(
        envelopes=tuple(_envelope(envelope, rules) for envelope in said.envelopes),
        certificate=_certificate(said.certificate, rules) if said.HasField("certificate") else None,
    )


def decode_envelope(data: bytes, rules: WireRules) -> Envelope:
    """The opposite of `encode.encode_envelope`; WireError(code)."""
    if len(data) > rules.peer_frame_bytes_max:
        raise WireError("oversized", f"{len(data)} bytes, at most {rules.peer_frame_bytes_max}")
    return _envelope(parse_canonical(pb.Envelope, data, rules), rules)


# ---- envelopes ----


def _envelope(envelope: pb.Envelope, rules: WireRules, *, kind: str | None = None) -> Envelope:
    """An envelope and all that it holds; of one `kind` only, if given, which is known before anything inside is read.

    So envelopes lie inside each other twice at most (a VIEW-CHANGE in a NEW-VIEW), whatever a sender has nested.
    """
    payload = parse_canonical(pb.Payload, envelope.payload, rules)
    if payload.version != WIRE_VERSION:
        raise WireError("version", f"expected {WIRE_VERSION}, got {payload.version}")
    if kind is not None and payload.WhichOneof("body") != kind:
        raise WireError("kind", f"expected {kind}, got {payload.WhichOneof('body')}")
    if envelope.private_payloads and payload.WhichOneof("body") != "pre_prepare":
        raise WireError("payload_unasked", f"{len(envelope.private_payloads)} payloads beside no PRE-PREPARE")
    return Envelope(
        sender=_replica(payload.sender, rules),
        messages=_messages(payload, envelope.private_payloads, _number(payload.epoch, "epoch"), rules),
        raw=envelope.payload,
        signature=_signature(envelope.signature),
    )


def _messages(
    payload: pb.Payload, private_payloads: Sequence[bytes], epoch: int, rules: WireRules
) -> tuple[SignedMessage, ...]:
    match payload.WhichOneof("body"):
        case "pre_prepare":
            return (_pre_prepare(payload.pre_prepare, private_payloads, epoch, rules),)
        case "votes" if payload.votes.votes:
            return tuple(_vote(vote, epoch) for vote in payload.votes.votes)
        case "view_change":
            return (_view_change(payload.view_change, epoch, rules),)
        case "new_view":
            return (_new_view(payload.new_view, epoch, rules),)
        case _:
            raise WireError("malformed", "an envelope without a message")


def _pre_prepare(message: pb.PrePrepare, private_payloads: Sequence[bytes], epoch: int, rules: WireRules) -> PrePrepare:
    """A proposal counts as what was signed; where its payloads were left out on the way, its body is missing (D50)."""
    batch = _batch(message.batch, private_payloads, rules, may_lack=True)
    if not message.HasField("batch") or message.digest != batch.digest:
        raise WireError("digest", f"expected {batch.digest.hex()} of the batch, got {message.digest.hex()}")
    return PrePrepare(
        epoch=epoch,
        view=_number(message.view, "view"),
        height=_height(message.height, "height"),
        digest=batch.digest,
        batch=batch,
    )


def _vote(vote: pb.Vote, epoch: int) -> SignedMessage:
    match vote.WhichOneof("body"):
        case "prepare" | "commit" as kind:
            slot = vote.prepare if kind == "prepare" else vote.commit
            view, height, digest = (
                _number(slot.view, "view"),
                _height(slot.height, "height"),
                _hash(slot.digest, "digest"),
            )
            return (Prepare if kind == "prepare" else Commit)(epoch=epoch, view=view, height=height, digest=digest)
        case "header_vote":
            return HeaderVote(
                epoch=epoch,
                height=_height(vote.header_vote.height, "height"),
                header_hash=_hash(vote.header_vote.header_hash, "header hash"),
                signature=_signature(vote.header_vote.signature),
            )
        case _:
            raise WireError("malformed", "a vote for nothing")


def _view_change(message: pb.ViewChange, epoch: int, rules: WireRules) -> ViewChange:
    """Self-consistent by its own bytes (M38): every entry is of an earlier view, above h and inside the window."""
    view = _number(message.view, "view")
    certified_height = _number(message.certified_height, "certified height")
    header_hash = _hash(message.header_hash, "header hash")
    certificate = _certificate(message.certificate, rules) if message.HasField("certificate") else None
    if certificate is not None and certified_height == 0:
        raise WireError("certificate", "genesis has none")
    if certificate is not None and (certificate.height, certificate.header_hash) != (certified_height, header_hash):
        raise WireError("certificate", f"expected one for height {certified_height}, got {certificate.height}")
    heights = range(certified_height + 1, certified_height + rules.window + 1)
    prepared = tuple(_slot_entry(entry, view, heights) for entry in message.prepared)
    pre_prepared = tuple(_slot_entry(entry, view, heights) for entry in message.pre_prepared)
    _require_distinct([entry.height for entry in prepared], "P set")
    _require_distinct([(entry.height, entry.digest) for entry in pre_prepared], "Q set")
    return ViewChange(
        epoch=epoch,
        view=view,
        certified_height=certified_height,
        header_hash=header_hash,
        certificate=certificate,
        prepared=prepared,
        pre_prepared=pre_prepared,
    )


def _slot_entry(entry: pb.SlotEntry, view: int, heights: range) -> SlotEntry:
    if entry.view >= view:
        raise WireError("view", f"expected an entry of a view before {view}, got {entry.view}")
    if entry.height not in heights:
        raise WireError("window", f"expected a height in {heights.start}..{heights.stop - 1}, got {entry.height}")
    return SlotEntry(height=entry.height, digest=_hash(entry.digest, "digest"), view=entry.view)


def _new_view(message: pb.NewView, epoch: int, rules: WireRules) -> NewView:
    """V holds one VIEW-CHANGE each of distinct replicas; X is contiguous. Whether X follows from V the core checks."""
    view_changes = tuple(_envelope(envelope, rules, kind="view_change") for envelope in message.view_changes)
    _require_distinct([envelope.sender for envelope in view_changes], "VIEW-CHANGEs")
    choices = tuple(
        SlotChoice(height=_height(choice.height, "height"), digest=_hash(choice.digest, "digest"))
        for choice in message.choices
    )
    if any(later.height != earlier.height + 1 for earlier, later in pairwise(choices)):
        raise WireError("order", "the heights of a NEW-VIEW's choices have a gap")
    return NewView(epoch=epoch, view=_number(message.view, "view"), view_changes=view_changes, choices=choices)


# ---- parts ----


def _body(body: pb.Body, rules: WireRules) -> Batch:
    if not body.HasField("batch"):
        raise WireError("malformed", "a body without a batch")
    return _batch(body.batch, body.private_payloads, rules, may_lack=False)


def _batch(batch: pb.Batch, payloads: Sequence[bytes], rules: WireRules, *, may_lack: bool) -> Batch:
    requests = _requests(batch.requests, payloads, rules, may_lack=may_lack)
    time_ms = _time(batch.time_ms)
    digest, root = compute_batch_digest(time_ms, [request.raw for request in requests])
    return Batch(time_ms=time_ms, requests=requests, digest=digest, transactions_root=root)


def _requests(
    raws: Sequence[bytes], payloads: Sequence[bytes], rules: WireRules, *, may_lack: bool
) -> tuple[Request, ...]:
    """Transactions with the payloads beside them: each where it is declared; `may_lack`: all of them, or none.

    One transaction's values are in memory at a time: they may take seventy times its bytes.
    """
    total = sum(map(len, raws)) + sum(map(len, payloads))
    if total > rules.batch_bytes_max:
        raise WireError("oversized", f"requests of {total} bytes, at most {rules.batch_bytes_max}")
    is_stripped = may_lack and not payloads
    requests: list[Request] = []
    used = 0
    for raw in raws:
        signed = parse_signed(raw, rules)
        payload = None
        if signed.transaction.commitments and not is_stripped:
            if used == len(payloads):
                raise WireError("payload_count", f"{used} payloads, and more transactions that declare one")
            payload, used = payloads[used], used + 1
        requests.append(parse_payload(signed, payload))
    if used != len(payloads):
        raise WireError("payload_count", f"{len(payloads)} payloads beside {used} transactions that declare one")
    return tuple(requests)


def _certificate(certificate: pb.Certificate, rules: WireRules) -> QuorumCertificate:
    signatures = tuple(
        (_replica(entry.replica, rules), _signature(entry.signature)) for entry in certificate.signatures
    )
    if any(later[0] <= earlier[0] for earlier, later in pairwise(signatures)):
        raise WireError("order", "the signers of a certificate do not ascend")
    return QuorumCertificate(
        epoch=_number(certificate.epoch, "epoch"),
        height=_height(certificate.height, "height"),
        header_hash=_hash(certificate.header_hash, "header hash"),
        signatures=signatures,
    )


def _status(status: pb.Status, rules: WireRules) -> Status:
    return Status(
        epoch=_number(status.epoch, "epoch"),
        view=_number(status.view, "view"),
        active=status.active,
        certified_height=_number(status.certified_height, "certified height"),
        executed_height=_number(status.executed_height, "executed height"),
        pre_prepared=_heights(status.pre_prepared, rules),
        prepared=_heights(status.prepared, rules),
        committed=_heights(status.committed, rules),
        view_changes=tuple(_replica(replica, rules) for replica in _few(status.view_changes, rules.replicas)),
        overdue_ms=_number(status.overdue_ms, "overdue"),
    )


def _heights(heights: Sequence[int], rules: WireRules) -> tuple[int, ...]:
    return tuple(_height(height, "height") for height in _few(heights, rules.window))


def _few(values: Sequence[int], count_max: int) -> Sequence[int]:
    """A packed list: its bytes were bounded before the parse, its exact length is known only now."""
    if len(values) > count_max:
        raise WireError("count", f"a list of {len(values)}, at most {count_max}")
    return values


def _blocks(blocks: pb.Blocks, rules: WireRules) -> Blocks:
    return Blocks(
        first_height=_height(blocks.first_height, "first height"),
        blocks=tuple(_block_body(body, rules) for body in blocks.blocks),
        certificate=_certificate(blocks.certificate, rules) if blocks.HasField("certificate") else None,
    )


def _block_body(body: pb.BlockBody, rules: WireRules) -> BlockBody:
    if not body.HasField("batch"):
        if body.private_payloads:
            raise WireError("payload_unasked", "payloads beside a null block")
        return BlockBody(header=_header(body.header), batch=None)
    return BlockBody(
        header=_header(body.header), batch=_batch(body.batch, body.private_payloads, rules, may_lack=False)
    )


def _snapshot_offer(offer: pb.SnapshotOffer, rules: WireRules) -> SnapshotOffer:
    return SnapshotOffer(header=_header(offer.header), certificate=_certificate(offer.certificate, rules))


def _snapshot_chunk(message: pb.SnapshotChunk) -> SnapshotChunk:
    """What is in the chunk is read where it is checked, by `ledger.snapshot_install`."""
    if not 0 < len(message.chunk) <= CHUNK_BYTES_MAX:
        raise WireError("length", f"chunk: expected 1..{CHUNK_BYTES_MAX} bytes, got {len(message.chunk)}")
    height, position = _height(message.height, "height"), _position(message.position)
    return SnapshotChunk(height=height, position=position, chunk=message.chunk)


def _position(value: bytes) -> bytes:
    if not 0 < len(value) <= POSITION_BYTES_MAX:
        raise WireError("length", f"position: expected 1..{POSITION_BYTES_MAX} bytes, got {len(value)}")
    return value


def _header(value: bytes) -> bytes:
    if not 0 < len(value) <= HEADER_BYTES_MAX:
        raise WireError("length", f"header: expected 1..{HEADER_BYTES_MAX} bytes, got {len(value)}")
    return value


def _number(value: int, what: str) -> int:
    if value > NUMBER_MAX:
        raise WireError("number", f"{what}: expected at most {NUMBER_MAX}, got {value}")
    return value


def _time(value: int) -> int:
    """A time that a header can hold: no batch can be decided whose block could not be stored and read again."""
    if value > TIME_MAX_MS:
        raise WireError("number", f"batch time: expected at most {TIME_MAX_MS}, got {value}")
    return value


def _height(value: int, what: str) -> int:
    if value == 0:
        raise WireError("number", f"{what}: expected at least 1, got 0")
    return _number(value, what)


def _replica(value: int, rules: WireRules) -> int:
    if value >= rules.replicas:
        raise WireError("replica", f"expected an id below {rules.replicas}, got {value}")
    return value


def _hash(value: bytes, what: str) -> bytes:
    if len(value) != HASH_BYTES:
        raise WireError("length", f"{what}: expected {HASH_BYTES} bytes, got {len(value)}")
    return value


def _signature(value: bytes) -> bytes:
    if len(value) != SIGNATURE_BYTES:
        raise WireError("length", f"signature: expected {SIGNATURE_BYTES} bytes, got {len(value)}")
    return value


def _require_distinct(items: Sequence[Hashable], what: str) -> None:
    if len(set(items)) != len(items):
        raise WireError("duplicate", f"{what}: an entry stands twice")
