"""Ed25519: what the one verifier accepts, and that a replica refuses to run on a library that differs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors.ledger import slow_ed25519 as slow

from ledger import keys, known_answers
from ledger.errors import InvalidSignature, InvariantViolation
from ledger.keys import SigningKey, self_test, verify_signature

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ledger" / "signatures.json").read_text())
KEY = SigningKey.from_seed(bytes(range(32)))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_adversarial_signatures(vector: dict) -> None:
    """Each vector is accepted or refused as the network demands."""
    arguments = [bytes.fromhex(vector[name]) for name in ("public_key", "message", "signature")]
    if vector["holds"]:
        verify_signature(*arguments)
    else:
        with pytest.raises(InvalidSignature):
            verify_signature(*arguments)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_sign_and_verify(seed: bytes, message: bytes) -> None:
    """A signature holds for its bytes and for no others."""
    key = SigningKey.from_seed(seed)
    signature = key.sign(message)
    verify_signature(key.public_key, message, signature)
    with pytest.raises(InvalidSignature):
        verify_signature(key.public_key, message + b"\x00", signature)


def test_public_key_is_the_definitions() -> None:
    """The library's key pair is that of RFC 8032, computed slowly."""
    scalar = slow.secret_scalar(KEY.seed)
    assert slow.encode_point(slow.multiply(scalar, slow.BASE)) == KEY.public_key


def test_every_flipped_bit_is_refused() -> None:
    """No bit of key or signature is idle: there is one signature per key and message."""
    message = b"message"
    signature = KEY.sign(message)
    for bit in range(512):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidSignature):
            verify_signature(KEY.public_key, message, bytes(flipped))
    for bit in range(256):
        flipped = bytearray(KEY.public_key)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidSignature):
            verify_signature(bytes(flipped), message, signature)


@pytest.mark.parametrize(("key", "signature"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)])
def test_lengths_are_checked(key: int, signature: int) -> None:
    """Wrong lengths are the peer's fault, not a crash."""
    with pytest.raises(InvalidSignature, match="length"):
        verify_signature(bytes(key), b"", bytes(signature))


def test_a_seed_has_32_bytes() -> None:
    """Shorter secrets are refused, and two generated keys differ."""
    with pytest.raises(InvalidSignature):
        SigningKey.from_seed(bytes(31))
    assert SigningKey.generate().seed != SigningKey.generate().seed


def test_a_key_does_not_print_its_secret() -> None:
    """Neither repr nor str shows the seed."""
    assert KEY.seed.hex() not in f"{KEY!r} {KEY}"
    assert KEY.public_key.hex() in repr(KEY)


def test_self_test_passes_here() -> None:
    """The pinned libraries give the known answers."""
    self_test()


def test_self_test_covers_every_kind_of_trick() -> None:
    """The shipped table is the whole of the vectors, with cases of both verdicts."""
    table = {(case.name, case.public_key + case.r + case.s, case.holds) for case in known_answers.SIGNATURES}
    vectors = {(v["name"], bytes.fromhex(v["public_key"] + v["signature"]), v["holds"]) for v in VECTORS}
    assert table == vectors
    assert {case.holds for case in known_answers.SIGNATURES} == {True, False}


def _flip(data: bytes) -> bytes:
    return bytes((data[0] ^ 1,)) + data[1:]


@pytest.mark.parametrize(
    ("table", "changed"),
    [
        ("SIGNATURES", (replace(known_answers.SIGNATURES[0], holds=False),)),
        ("SIGNATURES", (replace(known_answers.SIGNATURES[5], holds=True),)),
        ("SIGNERS", (replace(known_answers.SIGNERS[0], s=bytes(32)),)),
        ("TAGGED_HASHES", ((known_answers.TAGGED_HASHES[0][0], bytes(32)),)),
        ("ENCODINGS", ((known_answers.ENCODINGS[0][0], b"\xc0"),)),
        ("REFUSED_ENCODINGS", (("nil", b"\xc0"),)),
    ],
)
def test_self_test_refuses_any_difference(table: str, changed: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer that differs stops the replica (D8, D62)."""
    monkeypatch.setattr(keys.known_answers, table, changed)
    with pytest.raises(InvariantViolation, match="self_test"):
        self_test()
