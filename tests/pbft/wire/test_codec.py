"""Every message survives the wire unchanged, in exactly one form, and long answers are split within the limits."""

import pytest

from pbft.core.messages import Envelope
from pbft.wire.codec import decode_envelope, decode_peer, encode_envelope, encode_peer


def test_every_message_survives_the_wire(network) -> None:
    """What was sent is what arrives: equal to the last field, digests and ids recomputed on the way."""
    for name, message in network.peer_messages().items():
        frame = encode_peer(message)
        assert decode_peer(frame, network.rules) == message, name
        assert encode_peer(decode_peer(frame, network.rules)) == frame, name


def test_every_message_verifies(network) -> None:
    verifier = network.verifier()
    for message in network.peer_messages().values():
        verifier.verify_message(message)
