"""What a replica asks its verifier processes: many signatures in one question, a verdict for each in the answer.

The question is canonical bytes of `["signatures", packed]`, where `packed` has for each signature its public key (32
bytes), the signature (64), the length of what it signs (4, big-endian) and that; the answer's bytes are one for each,
in their order: 1 where the signature holds, 0 where it does not. Parsers are total and bounded and raise EncodingError.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from ledger.encoding import encode
from ledger.errors import EncodingError
from ledger.hashing import PUBLIC_KEY_BYTES, SIGNATURE_BYTES
from pbft.node.helper_messages import parse_answer

KIND: Final = "signatures"
LENGTH_BYTES: Final = 4
HOLDS: Final = 1
HOLDS_NOT: Final = 0
_HEAD_BYTES: Final = PUBLIC_KEY_BYTES + SIGNATURE_BYTES + LENGTH_BYTES


def encode_signatures(signatures: Iterable[tuple[bytes, bytes, bytes]]) -> bytes:
    """Which of these hold? Each is (public key, signed bytes, signature)."""
    parts: list[bytes] = []
    for public_key, signed, signature in signatures:
        parts += (public_key, signature, len(signed).to_bytes(LENGTH_BYTES, "big"), signed)
    return encode([KIND, b"".join(parts)])


def read_signatures(packed: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The signatures of a question: (public key, signed bytes, signature). Raises EncodingError."""
    position = 0
    while position < len(packed):
        start = position + _HEAD_BYTES
        end = start + int.from_bytes(packed[start - LENGTH_BYTES : start], "big")
        if end > len(packed) or start > len(packed):
            raise EncodingError("truncated", "a signature ends too early", expected=end, got=len(packed))
        key_end = position + PUBLIC_KEY_BYTES
        yield packed[position:key_end], packed[start:end], packed[key_end : key_end + SIGNATURE_BYTES]
        position = end


def parse_verdicts(message: bytes, count: int) -> list[bool]:
    """Which of `count` signatures hold. Raises EncodingError: for a fault, for another number of verdicts, and for one
    that is neither."""
    verdicts = parse_answer(message)
    if len(verdicts) != count:
        raise EncodingError("verdicts", "one for each signature is expected", expected=count, got=len(verdicts))
    if verdicts.strip(bytes((HOLDS, HOLDS_NOT))):
        raise EncodingError("verdicts", "each holds or does not")
    return [verdict == HOLDS for verdict in verdicts]
