"""Quorum certificates: header votes of Q distinct members over one header, checkable offline by anybody (D5).

A vote signs (network, epoch, height, header hash) after execution. Which votes fill a certificate differs between
replicas, so certificates stay outside everything that is hashed. The quorum sizes live in `ledger.configuration` and
are offered here again, beside what they count.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ledger.configuration import Configuration, faults_tolerated, quorum_size, weak_quorum_size
from ledger.encoding import decode, encode
from ledger.errors import EncodingError, InvalidCertificate, InvalidSignature
from ledger.hashing import HASH_BYTES, SIGNATURE_BYTES, Tag, signing_bytes
from ledger.keys import VerifySignature, verify_signature
from ledger.shapes import expect_array, expect_bytes, expect_int

__all__ = [
    "QuorumCertificate",
    "faults_tolerated",
    "parse_certificate",
    "quorum_size",
    "verify_certificate",
    "vote_bytes",
    "weak_quorum_size",
]

CERTIFICATE_BYTES_MAX: Final = 8192
"""64 members' signatures take 64 x 68 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumCertificate:
    """Header votes of at least Q distinct members over one header hash."""

    epoch: int
    height: int
    header_hash: bytes
    signatures: tuple[tuple[int, bytes], ...]  # (replica id, 64-byte signature), ascending by replica id

    def to_bytes(self) -> bytes:
        """The canonical bytes, for stores and proofs; never hashed into a block."""
        return encode([1, self.epoch, self.height, self.header_hash, self.signatures])


def vote_bytes(network: bytes, epoch: int, height: int, header_hash: bytes) -> bytes:
    """The exact bytes that a header vote signs: network (32), epoch and height (8 each, big-endian), hash (32)."""
    return signing_bytes(
        Tag.SIGN_HEADER_VOTE, network, epoch.to_bytes(8, "big"), height.to_bytes(8, "big"), header_hash
    )


def parse_certificate(data: bytes) -> QuorumCertificate:
    """A certificate from its canonical bytes; whether it holds is `verify_certificate`'s. Raises InvalidCertificate."""
    try:
        fields = expect_array(decode(data, max_bytes=CERTIFICATE_BYTES_MAX), "certificate", 5)
        expect_int(fields[0], "version", 1, 1)
        pairs = [expect_array(pair, "signature", 2) for pair in expect_array(fields[4], "signatures")]
        return QuorumCertificate(
            epoch=expect_int(fields[1], "epoch", 0, 2**63 - 1),
            height=expect_int(fields[2], "height", 0, 2**63 - 1),
            header_hash=expect_bytes(fields[3], "header_hash", HASH_BYTES),
            signatures=tuple(
                (expect_int(pair[0], "replica", 0, 2**31 - 1), expect_bytes(pair[1], "signature", SIGNATURE_BYTES))
                for pair in pairs
            ),
        )
    except EncodingError as error:
        raise InvalidCertificate("malformed", str(error)) from None


def verify_certificate(
    certificate: QuorumCertificate, configuration: Configuration, verify: VerifySignature = verify_signature
) -> None:
    """Raises InvalidCertificate unless at least Q distinct members of this epoch signed this header.

    1. The epoch is the configuration's. 2. Signers are members, ascending, so distinct. 3. They are Q or more.
    4. Every signature holds, none is superfluous: a certificate with a bad signature is not a certificate.
    """
    if certificate.epoch != configuration.epoch:
        raise InvalidCertificate("epoch", expected=configuration.epoch, got=certificate.epoch)
    signers = [replica for replica, _ in certificate.signatures]
    if any(not 0 <= replica < configuration.n for replica in signers):
        raise InvalidCertificate("signer", "not a member", members=configuration.n, got=signers)
    if any(left >= right for left, right in pairwise(signers)):
        raise InvalidCertificate("order", "signers ascend without duplicates", got=signers)
    if len(signers) < configuration.quorum:
        raise InvalidCertificate("quorum", "too few signers", expected_min=configuration.quorum, got=len(signers))
    message = vote_bytes(configuration.network, certificate.epoch, certificate.height, certificate.header_hash)
    for replica, signature in certificate.signatures:
        try:
            verify(configuration.members[replica].consensus_key, message, signature)
        except InvalidSignature as error:
            raise InvalidCertificate("signature", str(error), replica=replica) from None
