"""Ed25519 keys: the one signer and the one verifier of every identity (D8).

The verifier is libsodium's through PyNaCl: it refuses low-order points, non-canonical encodings of keys and S + L, and
checks the equation without cofactor. Libraries disagree on such signatures, and a disagreement between replicas is a
fork: nothing else in GridQuorum may verify Ed25519, and `self_test` compares this machine's library with a table of
adversarial signatures before a replica runs (D62). Key files are `ledger.key_files`.
"""

import os
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

import nacl.bindings
import nacl.exceptions

from ledger import known_answers
from ledger.encoding import decode, encode
from ledger.errors import EncodingError, InvalidSignature, InvariantViolation
from ledger.hashing import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Tag, tagged_hash

SEED_BYTES: Final = 32

VerifySignature: TypeAlias = Callable[[bytes, bytes, bytes], None]
"""(public key, message, signature): raises InvalidSignature where it does not hold. Replicas, clients and auditors use
`verify_signature`; the simulator may hand in another, because there nobody forges.
"""


class Signer(Protocol):
    """A key that signs, as SigningKey."""

    public_key: bytes  # 32 bytes

    def sign(self, message: bytes, /) -> bytes:
        """The 64-byte signature, the same whenever the message is the same."""
        ...


class SigningKey:
    """An Ed25519 private key. Its repr shows the public half alone."""

    __slots__ = ("_secret", "public_key", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise InvalidSignature("seed_length", "an Ed25519 seed has 32 bytes", got=len(seed))
        self.seed = seed
        self.public_key, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)

    @classmethod
    def generate(cls) -> "SigningKey":
        """A new key from the operating system's randomness."""
        return cls(os.urandom(SEED_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> "SigningKey":
        """The key of a 32-byte seed (RFC 8032, section 5.1.5). Raises InvalidSignature for another length."""
        return cls(seed)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte deterministic signature (RFC 8032). Callers pass `ledger.hashing.signing_bytes`."""
        return nacl.bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"SigningKey({self.public_key.hex()})"


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raises InvalidSignature unless `signature` holds for these exact bytes under libsodium's strict rules.

    libsodium takes the raw key, so there is no key object worth caching.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise InvalidSignature("length", "wrong length", public_key=len(public_key), signature=len(signature))
    try:
        nacl.bindings.crypto_sign_open(signature + message, public_key)
    except nacl.exceptions.BadSignatureError:
        raise InvalidSignature("signature", "the signature does not hold", public_key=public_key) from None


def self_test() -> None:
    """Compares signatures, hashes and encodings with known answers; raises InvariantViolation at a difference (D62)."""
    for case in known_answers.SIGNATURES:
        holds = _holds(case.public_key, case.message, case.r + case.s)
        _compare(f"signature: {case.name}", case.holds, holds)
    for signer in known_answers.SIGNERS:
        signature = SigningKey.from_seed(signer.seed).sign(signer.message)
        _compare(f"signer: {signer.name}", signer.r + signer.s, signature)
    for tag_name, digest in known_answers.TAGGED_HASHES:
        _compare(f"tagged hash: {tag_name}", digest, tagged_hash(Tag[tag_name], b"gridquorum"))
    for value, data in known_answers.ENCODINGS:
        _compare("encoding", data, encode(value))
        _compare("decoding", value, decode(data))
    for name, data in known_answers.REFUSED_ENCODINGS:
        _compare(f"refused encoding: {name}", False, _is_decodable(data))


def _compare(what: str, expected: object, got: object) -> None:
    if expected != got:
        raise InvariantViolation("self_test", f"this machine's libraries differ: {what}", expected=expected, got=got)


def _holds(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        verify_signature(public_key, message, signature)
    except InvalidSignature:
        return False
    return True


def _is_decodable(data: bytes) -> bool:
    try:
        decode(data)
    except EncodingError:
        return False
    return True
