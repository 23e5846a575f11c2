"""The simulator's two kinds of signature: both bind a key and a message, and a run says which one it has."""

import pytest

from ledger.errors import InvalidSignature
from pbft.core.messages import Status
from pbft.simulation.cluster import Cluster
from pbft.simulation.seed import draw_options
from pbft.simulation.signing import DECODED_MAX, ED25519, KEYED_HASH, REAL_EVERY, SharedDecoder, Signing
from pbft.wire.codec import WireError, WireRules, encode_peer


def compute_status(height: int) -> Status:
    """A STATUS that names a height and nothing else."""
    return Status(
        epoch=0,
        view=0,
        active=True,
        certified_height=height,
        executed_height=height,
        pre_prepared=(),
        prepared=(),
        committed=(),
        view_changes=(),
    )


@pytest.mark.parametrize("signing", [ED25519, KEYED_HASH], ids=lambda signing: signing.name)
def test_a_signature_binds_key_and_message(signing: Signing) -> None:
    """It is 64 bytes, the same again, and refused for another key, another message and one flipped bit."""
    key, other = signing.make_key(bytes(32)), signing.make_key(bytes([1]) * 32)
    signature = key.sign(b"message")
    assert (len(key.public_key), len(signature)) == (32, 64)
    assert signature == key.sign(b"message")
    signing.verify(key.public_key, b"message", signature)
    flipped = signature[:9] + bytes([signature[9] ^ 1]) + signature[10:]
    for wrong in (
        (other.public_key, b"message", signature),
        (key.public_key, b"massage", signature),
        (key.public_key, b"message", flipped),
        (key.public_key, b"message", signature[:-1]),
    ):
        with pytest.raises(InvalidSignature):
            signing.verify(*wrong)


def test_every_twentieth_seed_signs_as_production_does() -> None:
    """And says so; its nodes share neither what they verified nor what they decoded."""
    real = [seed for seed in range(3 * REAL_EVERY) if draw_options(seed).signing is ED25519]
    assert real == [0, REAL_EVERY, 2 * REAL_EVERY]
    assert "Ed25519 signatures" in draw_options(0).describe()
    assert "keyed hash signatures" in draw_options(1).describe()
    nodes = Cluster(signing=ED25519).running
    assert len({id(node.verifier._verified) for node in nodes}) == len(nodes)
    shared = Cluster(signing=KEYED_HASH).running
    assert len({id(node.verifier._verified) for node in shared}) == 1


def test_a_frame_is_decoded_once_under_the_same_rules() -> None:
    """A broadcast gives every receiver the same message; other rules judge anew; a refusal is not remembered."""
    cluster = Cluster()
    rules = WireRules.of(cluster.genesis.configuration)
    narrow = WireRules.of(Cluster(replicas=7).genesis.configuration)
    decode = SharedDecoder()
    frame = encode_peer(compute_status(0))
    first = decode(frame, rules)
    assert decode(bytes(bytearray(frame)), rules) is first
    assert decode(frame, narrow) is not first
    for _ in range(2):
        with pytest.raises(WireError):
            decode(b"\xff", rules)
    for height in range(DECODED_MAX + 1):
        decode(encode_peer(compute_status(height)), rules)
    assert decode(frame, rules) == first
