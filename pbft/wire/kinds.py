"""Which kind of message a frame holds, seen from its first byte: what nobody waits for is not read at all (M5)."""

from typing import Final

from pbft.core.messages import (
    Batches,
    Blocks,
    CertificateNotice,
    Envelope,
    FetchBatches,
    FetchBlocks,
    FetchSaid,
    FetchSnapshot,
    FetchSnapshotChunk,
    Forward,
    PeerMessage,
    Relay,
    Said,
    SnapshotChunk,
    SnapshotOffer,
    Status,
)
from pbft.wire import gridquorum_pb2 as pb
from pbft.wire.shape import LENGTH_DELIMITED

_KINDS: Final[dict[int, type[PeerMessage]]] = {
    number << 3 | LENGTH_DELIMITED: kind
    for number, kind in (
        (pb.PeerFrame.ENVELOPE_FIELD_NUMBER, Envelope),
        (pb.PeerFrame.STATUS_FIELD_NUMBER, Status),
        (pb.PeerFrame.FETCH_BATCHES_FIELD_NUMBER, FetchBatches),
        (pb.PeerFrame.BATCHES_FIELD_NUMBER, Batches),
        (pb.PeerFrame.FETCH_BLOCKS_FIELD_NUMBER, FetchBlocks),
        (pb.PeerFrame.BLOCKS_FIELD_NUMBER, Blocks),
        (pb.PeerFrame.CERTIFICATE_NOTICE_FIELD_NUMBER, CertificateNotice),
        (pb.PeerFrame.RELAY_FIELD_NUMBER, Relay),
        (pb.PeerFrame.FORWARD_FIELD_NUMBER, Forward),
        (pb.PeerFrame.FETCH_SNAPSHOT_FIELD_NUMBER, FetchSnapshot),
        (pb.PeerFrame.SNAPSHOT_OFFER_FIELD_NUMBER, SnapshotOffer),
        (pb.PeerFrame.FETCH_SNAPSHOT_CHUNK_FIELD_NUMBER, FetchSnapshotChunk),
        (pb.PeerFrame.SNAPSHOT_CHUNK_FIELD_NUMBER, SnapshotChunk),
        (pb.PeerFrame.FETCH_SAID_FIELD_NUMBER, FetchSaid),
        (pb.PeerFrame.SAID_FIELD_NUMBER, Said),
    )
}


def peek_kind(data: bytes) -> type[PeerMessage] | None:
    """The kind of message that a frame claims to hold, from its first byte; None for one that holds none."""
    return _KINDS.get(data[0]) if data else None
