"""The public face of the wire: bytes to core messages and back, sealing and checking signatures.

    frame = encode_peer(message)                  # one frame for `Outbound.send`
    message = decode_peer(frame, rules)           # total and bounded; WireError(code) for anything else
    envelope = seal(messages, sender=2, epoch=0, network=network, key=signing_key)
    verifier.verify_message(message)              # every signature inside; WireError(code)
    for frame in encode_peer_frames(message, rules): ...   # splits long answers into frames within the limits

Decoding checks form and limits, never signatures; verification checks signatures, never form. The core sees only what
passed both.
"""

from pbft.wire.decode import decode_envelope, decode_peer
from pbft.wire.encode import encode_envelope, encode_peer, encode_peer_frames, is_client_traffic
from pbft.wire.kinds import peek_kind
from pbft.wire.limits import WireError, WireRules
from pbft.wire.requests import make_request, parse_request
from pbft.wire.verify import UncheckedSignature, VerifiedSignatures, Verifier, requests_in, seal, seal_turn

__all__ = [
    "UncheckedSignature",
    "VerifiedSignatures",
    "Verifier",
    "WireError",
    "WireRules",
    "decode_envelope",
    "decode_peer",
    "encode_envelope",
    "encode_peer",
    "encode_peer_frames",
    "is_client_traffic",
    "make_request",
    "parse_request",
    "peek_kind",
    "requests_in",
    "seal",
    "seal_turn",
]
