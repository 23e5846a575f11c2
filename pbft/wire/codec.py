"""The public face of the wire: bytes to core messages and back, sealing and checking signatures.

    frame = encode_peer(message)                  # one frame for `Outbound.send`
    message = decode_peer(frame, rules)           # total and bounded; WireError(code) for anything else
    envelope = seal(messages, sender=2, epoch=0, network=network, key=signing_key)
    verifier.verify_message(message)              # every signature inside; WireError(code)
    for frame in encode_peer_frames(message, rules): ...   # splits long answers into frames within the limits

Decoding checks form and limits, never signatures; verification checks signatures, never form. The core sees only what
passed both.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from ledger.genesis import Configuration
from ledger.quorum_certificate import QuorumCertificate
from pbft.core.messages import Envelope, PeerMessage, Request, SignedMessage
from pbft.wire.limits import WireError, WireRules

__all__ = ["Verifier", "WireError", "WireRules", "decode_envelope", "decode_peer", "encode_envelope", "encode_peer"]
__all__ += ["encode_peer_frames", "is_client_traffic", "parse_request", "seal", "seal_turn"]


class Signer(Protocol):
    """A key that signs, as ledger.keys.SigningKey."""

    def sign(self, message: bytes, /) -> bytes: ...


def encode_peer(message: PeerMessage) -> bytes:
    """The frame of one message; an envelope travels as the bytes that were signed."""
    ...


def encode_peer_frames(message: PeerMessage, rules: WireRules) -> Iterator[bytes]:
    """The frames of a message: one, or several where a list (bodies, envelopes, requests) exceeds a frame's limits."""
    ...


def decode_peer(data: bytes, rules: WireRules) -> PeerMessage:
    """The message in a frame, or WireError(code). Batch digests and tx ids are recomputed from the bytes received."""
    ...


def encode_envelope(envelope: Envelope) -> bytes:
    """An envelope alone, for a journal: its signed bytes and signature."""
    ...


def decode_envelope(data: bytes, rules: WireRules) -> Envelope:
    """The opposite of `encode_envelope`; WireError(code)."""
    ...


def parse_request(raw: bytes, rules: WireRules) -> Request:
    """A signed transaction as the core's Request: limits and network checked, its signature not (D42)."""
    ...


def is_client_traffic(frame: bytes) -> bool:
    """Whether a peer frame only relays clients' requests: such frames wait behind protocol messages (D10)."""
    ...


def seal(messages: Sequence[SignedMessage], *, sender: int, epoch: int, network: bytes, key: Signer) -> Envelope:
    """One envelope: votes of a turn together, or exactly one PRE-PREPARE, VIEW-CHANGE or NEW-VIEW (ValueError)."""
    ...


def seal_turn(
    messages: Sequence[SignedMessage], *, sender: int, epoch: int, network: bytes, key: Signer, rules: WireRules
) -> list[Envelope]:
    """All messages of a turn in as few envelopes as D61 allows, in the order given."""
    ...


class Verifier:
    """Checks every signature in a message against one configuration; remembers only what verified (D44), bounded."""

    def __init__(self, *, network: bytes, configuration: Configuration) -> None: ...

    def verify_message(self, message: PeerMessage) -> None:
        """All signatures inside: envelopes, nested ones, header votes, certificates, client requests. WireError(code)."""

    def verify_envelope(self, envelope: Envelope) -> None:
        """The sender's signature over the envelope, and every signature inside it."""

    def verify_request(self, request: Request) -> None:
        """The client's signature over its transaction."""

    def verify_certificate(self, certificate: QuorumCertificate) -> None:
        """At least Q signatures of distinct members over the same header hash."""
