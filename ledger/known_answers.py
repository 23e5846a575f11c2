"""Known answers for `ledger.keys.self_test`; made by tests/vectors/ledger/make_vectors.py, which explains each case."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureCase:
    """A signature and whether the network's verifier accepts it."""

    name: str
    public_key: bytes
    message: bytes
    signature: bytes
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerCase:
    """A seed and the one signature that it gives for a message."""

    name: str
    seed: bytes
    message: bytes
    signature: bytes


SIGNATURES: Final[tuple[SignatureCase, ...]] = ()
SIGNERS: Final[tuple[SignerCase, ...]] = ()
TAGGED_HASHES: Final[tuple[tuple[str, tuple[bytes, ...], bytes], ...]] = ()
ENCODINGS: Final[tuple[tuple[object, bytes], ...]] = ()
REFUSED_ENCODINGS: Final[tuple[bytes, ...]] = ()
