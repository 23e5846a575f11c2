"""The verdict on a source as it crosses from the contract worker to its replica: accepted, or why not.

Apart from the compiler that gives it: a replica asks for verdicts, and never loads what makes them.
"""

from dataclasses import dataclass
from typing import Final

from ledger.encoding import decode, encode
from ledger.shapes import expect_array, expect_bytes, expect_int, expect_str

SOURCE_POSITION_MAX: Final = 2**31
"""Lines and columns: far above what the gate lets through."""
HINT_CHARACTERS_MAX: Final = 500
"""Of a refusal's hint: one sentence."""


@dataclass(frozen=True, slots=True)
class SourceVerdict:
    """Whether a source is a contract: the hash of its tree, or the refusal. The other half is empty."""

    tree_hash: bytes = b""
    code: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""

    @property
    def is_accepted(self) -> bool:
        """A contract, ready to be deployed."""
        return not self.code

    def to_bytes(self) -> bytes:
        """Canonical bytes: [tree hash, code, line, column, hint]."""
        return encode([self.tree_hash, self.code, self.line, self.column, self.hint])


def parse_source_verdict(data: bytes) -> SourceVerdict:
    """A verdict from its bytes. Raises EncodingError."""
    tree_hash, code, line, column, hint = expect_array(decode(data), "verdict", 5)
    return SourceVerdict(
        expect_bytes(tree_hash, "tree hash"),
        expect_str(code, "code", 64),
        expect_int(line, "line", 0, SOURCE_POSITION_MAX),
        expect_int(column, "column", 0, SOURCE_POSITION_MAX),
        expect_str(hint, "hint", HINT_CHARACTERS_MAX),
    )
