"""Core messages to bytes: one canonical protobuf form for each message.

Fields are written in ascending order and defaults are left out, as protobuf's deterministic serialisation does; the
decoder refuses every other form. An envelope is written from the bytes that were signed, never from its messages.
Sizes are the business of `decode` and of `encode_peer_frames`, which splits what would not fit into one frame.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from ledger.quorum_certificate import QuorumCertificate
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
from pbft.wire import gridquorum_pb2 as pb
from pbft.wire.limits import (
    BATCHES_MAX,
    ELEMENT_OVERHEAD,
    FETCHED_DIGESTS_MAX,
    FORWARDED_MAX,
    WIRE_VERSION,
    WireRules,
)

Item = TypeVar("Item")
RELAY_TAG: Final = (pb.PeerFrame.RELAY_FIELD_NUMBER << 3) | 2  # first byte of a frame with relayed client requests


def encode_peer(message: PeerMessage) -> bytes:
    """The frame of one message; an envelope travels as the bytes that were signed."""
    frame = pb.PeerFrame()
    match message:
        case Envelope():
            _write_envelope(frame.envelope, message)
        case FetchSnapshot() | SnapshotOffer() | FetchSnapshotChunk() | SnapshotChunk():
            _write_snapshot_message(frame, message)
        case Status():
            _write_status(frame.status, message)
        case FetchBatches():
            frame.fetch_batches.SetInParent()
            frame.fetch_batches.digests.extend(message.digests)
        case Batches():
            frame.batches.SetInParent()
            for batch in message.batches:
                body = frame.batches.batches.add()
                _write_batch(body.batch, batch)
                body.private_payloads.extend(_payloads(batch.requests))
        case FetchBlocks():
            frame.fetch_blocks.SetInParent()
            frame.fetch_blocks.first_height = message.first_height
        case Blocks():
            _write_blocks(frame.blocks, message)
        case CertificateNotice():
            _write_certificate(frame.certificate_notice, message.certificate)
        case Relay():
            frame.relay.SetInParent()
            frame.relay.requests.extend([request.raw for request in message.requests])
            frame.relay.private_payloads.extend(_payloads(message.requests))
        case Forward():
            frame.forward.SetInParent()
            for envelope in message.envelopes:
                _write_envelope(frame.forward.envelopes.add(), envelope)
        case FetchSaid():
            frame.fetch_said.SetInParent()
        case Said():
            frame.said.SetInParent()
            for envelope in message.envelopes:
                _write_envelope(frame.said.envelopes.add(), envelope)
            if message.certificate is not None:
                _write_certificate(frame.said.certificate, message.certificate)
    return frame.SerializeToString(deterministic=True)


def encode_envelope(envelope: Envelope) -> bytes:
    """An envelope alone, for a journal: its signed bytes and signature, never what travels beside them (D50)."""
    written = pb.Envelope(payload=envelope.raw, signature=envelope.signature)
    return written.SerializeToString(deterministic=True)


def encode_payload(messages: Sequence[SignedMessage], *, sender: int, epoch: int) -> bytes:
    """The bytes that a replica signs: votes of one turn together, or exactly one message of another kind (ValueError).

    Every message must belong to `epoch`: it is written once, for all of them.
    """
    if not messages or any(message.epoch != epoch for message in messages):
        raise ValueError(f"an envelope of epoch {epoch} needs messages of that epoch, got {len(messages)} messages")
    payload = pb.Payload(version=WIRE_VERSION, epoch=epoch, sender=sender)
    first = messages[0]
    if is_vote(first):
        payload.votes.SetInParent()
        for message in messages:
            _write_vote(payload.votes.votes.add(), message)
        return payload.SerializeToString(deterministic=True)
    if len(messages) > 1:
        raise ValueError(f"{type(first).__name__} needs an envelope of its own, got {len(messages)} messages")
    match first:
        case PrePrepare():
            written = payload.pre_prepare
            written.view, written.height, written.digest = first.view, first.height, first.digest
            _write_batch(written.batch, first.batch)
        case ViewChange():
            _write_view_change(payload.view_change, first)
        case NewView():
            payload.new_view.view = first.view
            for envelope in first.view_changes:
                _write_envelope(payload.new_view.view_changes.add(), envelope)
            for choice in first.choices:
                payload.new_view.choices.add(height=choice.height, digest=choice.digest)
    return payload.SerializeToString(deterministic=True)


def is_vote(message: SignedMessage) -> bool:
    """Whether a message shares an envelope with the other votes of its turn (D61)."""
    return isinstance(message, Prepare | Commit | HeaderVote)


def encode_peer_frames(message: PeerMessage, rules: WireRules) -> Iterator[bytes]:
    """The frames of a message: one, or several where a list (bodies, envelopes, requests) exceeds a frame's limits.

    Order is kept; nothing is left out. An empty list still makes one frame.
    """
    match message:
        case Batches():
            for bodies in _split(message.batches, _batch_bytes, BATCHES_MAX, rules.transfer_bytes_max):
                yield encode_peer(Batches(batches=bodies))
        case Forward():
            for envelopes in _split(message.envelopes, _envelope_bytes, FORWARDED_MAX, rules.transfer_bytes_max):
                yield encode_peer(Forward(envelopes=envelopes))
        case Relay():
            limits = rules.batch_requests_max, rules.batch_bytes_max
            for requests in _split(message.requests, lambda request: request.size_bytes, *limits):
                yield encode_peer(Relay(requests=requests))
        case FetchBatches():
            for digests in _split(message.digests, len, FETCHED_DIGESTS_MAX, rules.transfer_bytes_max):
                yield encode_peer(FetchBatches(digests=digests))
        case _:
            yield encode_peer(message)


def is_client_traffic(frame: bytes) -> bool:
    """Whether a peer frame only relays clients' requests: such frames wait behind protocol messages (D10)."""
    return frame[:1] == bytes((RELAY_TAG,))


def _split(
    items: tuple[Item, ...], size: Callable[[Item], int], count_max: int, bytes_max: int
) -> Iterator[tuple[Item, ...]]:
    """Consecutive parts, each as long as both limits allow and at least one item long."""
    start = 0
    total = 0
    for index, item in enumerate(items):
        total += size(item)
        if index > start and (index - start == count_max or total > bytes_max):
            yield items[start:index]
            start, total = index, size(item)
    yield items[start:]


def _batch_bytes(batch: Batch) -> int:
    return batch.size_bytes + (2 * len(batch.requests) + 1) * ELEMENT_OVERHEAD


def _envelope_bytes(envelope: Envelope) -> int:
    beside = len(_beside(envelope))
    return envelope.size_bytes + len(envelope.signature) + (beside + 1) * ELEMENT_OVERHEAD


def _payloads(requests: Sequence[Request]) -> list[bytes]:
    """The private payloads of requests that declare one, in their order; none at all where one is not here (D50)."""
    if any(request.payload is None for request in requests):
        return []
    return [request.payload for request in requests if request.payload]


def _beside(envelope: Envelope) -> list[bytes]:
    """The private payloads that travel beside an envelope's signed bytes."""
    first = envelope.messages[0]
    return _payloads(first.batch.requests) if isinstance(first, PrePrepare) else []


def _write_snapshot_message(
    frame: pb.PeerFrame, message: FetchSnapshot | SnapshotOffer | FetchSnapshotChunk | SnapshotChunk
) -> None:
    match message:
        case FetchSnapshot():
            frame.fetch_snapshot.SetInParent()
            frame.fetch_snapshot.above_height = message.above_height
        case SnapshotOffer():
            frame.snapshot_offer.header = message.header
            _write_certificate(frame.snapshot_offer.certificate, message.certificate)
        case FetchSnapshotChunk():
            frame.fetch_snapshot_chunk.height = message.height
            frame.fetch_snapshot_chunk.position = message.position
        case SnapshotChunk():
            chunk = frame.snapshot_chunk
            chunk.height, chunk.position, chunk.chunk = message.height, message.position, message.chunk


def _write_envelope(written: pb.Envelope, envelope: Envelope) -> None:
    written.payload, written.signature = envelope.raw, envelope.signature
    written.private_payloads.extend(_beside(envelope))


def _write_batch(written: pb.Batch, batch: Batch) -> None:
    written.SetInParent()
    written.time_ms = batch.time_ms
    written.requests.extend([request.raw for request in batch.requests])


def _write_vote(written: pb.Vote, message: SignedMessage) -> None:
    match message:
        case Prepare() | Commit():
            vote = written.prepare if isinstance(message, Prepare) else written.commit
            vote.view, vote.height, vote.digest = message.view, message.height, message.digest
        case HeaderVote():
            header_vote = written.header_vote
            header_vote.height, header_vote.header_hash = message.height, message.header_hash
            header_vote.signature = message.signature
        case _:
            raise ValueError(f"{type(message).__name__} does not share an envelope with votes")


def _write_view_change(written: pb.ViewChange, message: ViewChange) -> None:
    written.view, written.certified_height = message.view, message.certified_height
    written.header_hash = message.header_hash
    if message.certificate is not None:
        _write_certificate(written.certificate, message.certificate)
    for entry in message.prepared:
        _write_slot_entry(written.prepared.add(), entry)
    for entry in message.pre_prepared:
        _write_slot_entry(written.pre_prepared.add(), entry)


def _write_slot_entry(written: pb.SlotEntry, entry: SlotEntry) -> None:
    written.height, written.digest, written.view = entry.height, entry.digest, entry.view


def _write_certificate(written: pb.Certificate, certificate: QuorumCertificate) -> None:
    written.epoch, written.height = certificate.epoch, certificate.height
    written.header_hash = certificate.header_hash
    for replica, signature in certificate.signatures:
        written.signatures.add(replica=replica, signature=signature)


def _write_status(written: pb.Status, status: Status) -> None:
    written.SetInParent()
    written.epoch, written.view, written.active = status.epoch, status.view, status.active
    written.certified_height, written.executed_height = status.certified_height, status.executed_height
    written.pre_prepared.extend(status.pre_prepared)
    written.prepared.extend(status.prepared)
    written.committed.extend(status.committed)
    written.view_changes.extend(status.view_changes)
    written.overdue_ms = status.overdue_ms


def _write_blocks(written: pb.Blocks, blocks: Blocks) -> None:
    written.SetInParent()
    written.first_height = blocks.first_height
    for body in blocks.blocks:
        block = written.blocks.add(header=body.header)
        if body.batch is not None:
            _write_batch(block.batch, body.batch)
            block.private_payloads.extend(_payloads(body.batch.requests))
    if blocks.certificate is not None:
        _write_certificate(written.certificate, blocks.certificate)
