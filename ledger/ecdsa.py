"""ECDSA of meter records by OpenSSL: the fast answer to a claim whose form `ledger.curves` has judged.

The library never sees a key or signature as it came, so what libraries disagree on (DER, points off the curve, numbers
out of range) is decided before it. `self_test` holds its arithmetic against known answers before a replica runs, and
shows a build without one of the curves (D62). One curve of OCMF's table is in no library of ours: it is computed by
the definition, at its own price in gas.
"""

from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from ledger import known_ecdsa_answers
from ledger.curves import CURVES, Claim, holds_by_definition, read_claim
from ledger.errors import InvariantViolation

_OPENSSL: Final[dict[str, ec.EllipticCurve]] = {
    "secp192r1": ec.SECP192R1(),
    "secp256k1": ec.SECP256K1(),
    "secp256r1": ec.SECP256R1(),
    "secp384r1": ec.SECP384R1(),
    "brainpool256r1": ec.BrainpoolP256R1(),
    "brainpool384r1": ec.BrainpoolP384R1(),
}
_DIGEST: Final = ec.ECDSA(Prehashed(SHA256()))


def claim_holds(claim: Claim) -> bool:
    """Whether the claim is true. Raises InvariantViolation where the library cannot say: that is this machine's fault,
    and never a verdict."""
    curve = _OPENSSL.get(claim.curve.name)
    if curve is None:
        return holds_by_definition(claim)
    try:
        key = ec.EllipticCurvePublicNumbers(*claim.key, curve).public_key()
        key.verify(encode_dss_signature(claim.r, claim.s), claim.digest, _DIGEST)
    except InvalidSignature:
        return False
    except (UnsupportedAlgorithm, ValueError) as error:
        raise InvariantViolation("ecdsa", "the library refuses a key on its curve", cause=str(error)) from error
    return True


def self_test() -> None:
    """Compares this machine's verdicts with known answers; raises InvariantViolation at a difference (D62)."""
    for case in known_ecdsa_answers.CASES:
        key, signature = bytes.fromhex("04" + case.x + case.y), bytes.fromhex(case.r + case.s)
        claim = read_claim(CURVES[case.curve], key, bytes.fromhex(case.message), signature)
        holds = claim is not None and claim_holds(claim)
        if holds != case.holds:
            name = f"{case.curve}: {case.name}"
            raise InvariantViolation("self_test", f"this machine's libraries differ: {name}", expected=case.holds)
