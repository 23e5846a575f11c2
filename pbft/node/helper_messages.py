"""What every helper process is asked first, and the form of its answers (`contracts.helper_process`).

`["hello"]` is answered with who it is and what confines it; every question with `["ok", bytes]`, or with `["fault",
sentence]` when the helper could not do its work. Parsers are total and bounded and raise EncodingError.
"""

from collections.abc import Mapping
from typing import Final

from ledger.encoding import decode, encode
from ledger.errors import EncodingError
from ledger.execution import OUTCOME_BYTES_MAX
from ledger.shapes import expect_array, expect_bytes, expect_name, expect_str

MESSAGE_BYTES_MAX: Final = OUTCOME_BYTES_MAX + 1_024  # an outcome, the largest answer, and the little around it
CONFINEMENTS_MAX: Final = 16  # features of the kernel that a helper may name


def encode_greeting() -> bytes:
    """Who are you, and what holds you?"""
    return encode(["hello"])


def parse_greeting(message: bytes) -> Mapping[str, str]:
    """What confines the helper: feature of the kernel -> `on`, or why not. Raises EncodingError."""
    greeting = decode(parse_answer(message))
    confinement = greeting.get("confinement") if isinstance(greeting, dict) else None
    if not isinstance(confinement, dict) or len(confinement) > CONFINEMENTS_MAX:
        raise EncodingError("confinement", "a map of few features is expected")
    return {expect_name(name, "feature"): expect_str(state, "state", 200) for name, state in confinement.items()}


def parse_answer(message: bytes) -> bytes:
    """What a helper answers, where it could. Raises EncodingError."""
    kind, content = expect_array(decode(message, max_bytes=MESSAGE_BYTES_MAX), "answer", 2)
    if kind == "fault":
        raise EncodingError("fault", expect_str(content, "fault", 2_000))
    if kind != "ok":
        raise EncodingError("kind", "ok or fault is expected")
    return expect_bytes(content, "outcome")
