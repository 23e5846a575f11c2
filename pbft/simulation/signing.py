"""Whose signatures a run has: real Ed25519, or a keyed hash that costs a tenth.

Most seeds search the protocol and not the mathematics of signatures, so they sign with BLAKE2b under the key's public
name. That keeps what the protocol relies on while nobody forges: a signature is deterministic, bound to one key and one
message, and anything else is refused. And nobody forges: a traitor of the catalogue is handed its own key alone.
Every `REAL_EVERY`-th seed runs as production does: Ed25519, and a memory of signatures and a decoder for each node.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ledger.errors import InvalidSignature
from ledger.hashing import SIGNATURE_BYTES
from ledger.keys import Signer, SigningKey, VerifySignature, verify_signature
from pbft.core.messages import PeerMessage
from pbft.wire.codec import WireRules, decode_peer

REAL_EVERY: Final = 20
DECODED_MAX: Final = 8_192  # frames: more than are in flight at once, so that a broadcast is decoded once


class KeyedHashKey:
    """A key of the simulator: 64 bytes of BLAKE2b over the message, keyed with the public name of the key."""

    __slots__ = ("public_key",)

    def __init__(self, seed: bytes) -> None:
        self.public_key = hashlib.sha256(b"simulated key" + seed).digest()

    def sign(self, message: bytes) -> bytes:
        """See `Signer.sign`."""
        return hashlib.blake2b(message, digest_size=SIGNATURE_BYTES, key=self.public_key).digest()


def verify_keyed_hash(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raises InvalidSignature unless KeyedHashKey of this name signed exactly this message."""
    expected = hashlib.blake2b(message, digest_size=SIGNATURE_BYTES, key=public_key).digest()
    if not hmac.compare_digest(expected, signature):
        raise InvalidSignature("signature", "the keyed hash does not hold", public_key=public_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """A kind of signature: how keys are made, and what holds."""

    name: str
    make_key: Callable[[bytes], Signer]  # of 32 bytes
    verify: VerifySignature
    is_shared: bool  # whether the nodes of a run share what they verified and decoded


ED25519: Final = Signing(name="Ed25519", make_key=SigningKey.from_seed, verify=verify_signature, is_shared=False)
KEYED_HASH: Final = Signing(name="keyed hash", make_key=KeyedHashKey, verify=verify_keyed_hash, is_shared=True)


def signing_of(seed: int) -> Signing:
    """What a seed signs with."""
    return ED25519 if seed % REAL_EVERY == 0 else KEYED_HASH


class SharedDecoder:
    """`pbft.node.assembly.Decode` for all nodes of a run: a frame that n - 1 replicas receive is decoded once.

    A frame gives the same message wherever it is decoded, and messages never change. Refused frames are not remembered.
    """

    def __init__(self) -> None:
        self._decoded: dict[bytes, tuple[WireRules, PeerMessage]] = {}

    def __call__(self, frame: bytes, rules: WireRules) -> PeerMessage:
        """The message in a frame. Raises WireError."""
        known = self._decoded.get(frame)
        if known is not None and known[0] == rules:
            return known[1]
        message = decode_peer(frame, rules)
        if len(self._decoded) >= DECODED_MAX:
            self._decoded.clear()
        self._decoded[frame] = rules, message
        return message
