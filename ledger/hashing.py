"""Every hash and every signed byte string of GridQuorum carries one of the tags below.

BE CONSERVATIVE: a tag is part of the consensus format. A changed tag makes every old block, certificate and proof
unverifiable, so a new meaning gets a new tag with a new version number, and old tags stay for old data.

A tagged hash is ``SHA256(SHA256(tag) || SHA256(tag) || parts...)`` (the construction of BIP 340): two uses with
different tags can never be fed the same bytes. The Merkle trees keep RFC 6962's own one-byte prefixes, so that any
RFC 6962 verifier can check a path.
"""

import hashlib
from enum import Enum
from typing import Final

HASH_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = 32
"""Ed25519 (RFC 8032). The sizes live here, apart from `ledger.keys`, so that formats need no library to be read."""
SIGNATURE_BYTES: Final = 64


class Tag(Enum):
    """What a tagged hash or a signature is about; the value is the tag's text."""

    def __init__(self, text: bytes) -> None:
        self.domain = hashlib.sha256(text).digest()
        """What signed bytes begin with."""
        self.prefix = hashlib.sha256(self.domain * 2)
        """The state of the hash after the tag, one whole block of SHA-256; to be copied, never updated."""

    TRANSACTION_ID = b"gridquorum/transaction-id/1"
    BATCH = b"gridquorum/batch/1"
    RECEIPTS = b"gridquorum/receipts/1"
    NULL_BATCH = b"gridquorum/null-batch/1"
    HEADER = b"gridquorum/header/1"
    STATE_LEAF = b"gridquorum/state-leaf/1"
    STATE_NODE = b"gridquorum/state-node/1"
    STATE_KEY = b"gridquorum/state-key/1"
    CONFIGURATION = b"gridquorum/configuration/1"
    CONTRACT_ADDRESS = b"gridquorum/contract-address/1"
    CONTRACT_TREE = b"gridquorum/contract-tree/1"
    SCHEDULED_CALL = b"gridquorum/scheduled-call/1"
    COMMITMENT = b"gridquorum/payload-commitment/1"
    PAYLOAD_ROOT_KEY = b"gridquorum/payload-root-key/1"
    PAYLOAD_KEY_FILE = b"gridquorum/payload-key-file/1"
    READING = b"gridquorum/reading/1"
    READINGS = b"gridquorum/readings/1"
    # Signing domains: the prefix of the bytes that a key signs.
    SIGN_TRANSACTION = b"gridquorum/sign/transaction/1"
    SIGN_MESSAGE = b"gridquorum/sign/message/1"
    SIGN_HEADER_VOTE = b"gridquorum/sign/header-vote/1"
    SIGN_METER_CERTIFICATE = b"gridquorum/sign/meter-certificate/1"


def tagged_hash(tag: Tag, *parts: bytes) -> bytes:
    """The 32-byte tagged SHA-256 of the concatenated parts. Callers fix the length of all parts but the last."""
    state = tag.prefix.copy()
    for part in parts:
        state.update(part)
    return state.digest()


def signing_bytes(tag: Tag, *parts: bytes) -> bytes:
    """The exact bytes that a key signs: ``SHA256(tag)`` as domain, then the parts."""
    return b"".join((tag.domain, *parts))


NULL_DIGEST: Final = tagged_hash(Tag.NULL_BATCH)
"""The digest of the null request: a constant, the same at every height (D32)."""
