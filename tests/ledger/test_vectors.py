"""The checked-in vectors and the self-test table are exactly what their maker makes."""

import hashlib
import json
from pathlib import Path

import pytest
from vectors.ledger.make_vectors import HERE, make_all

from ledger.errors import InvalidBlock, InvariantViolation
from ledger.hashing import NULL_DIGEST, Tag, signing_bytes, tagged_hash
from ledger.state_trie import Entry, compute_subtree, hash_entry, hash_key


def test_vectors_are_what_their_maker_makes() -> None:
    """A change of any format shows here; run make_vectors only for a deliberate one."""
    for path, content in make_all().items():
        assert path.read_bytes() == content, path
    assert {path.name for path in HERE.glob("*.json")} == {path.name for path in make_all() if path.suffix == ".json"}


def vectors(name: str) -> list | dict:
    """A vector file."""
    return json.loads((Path(HERE) / name).read_text())


def test_tagged_hashes_by_their_definition() -> None:
    """SHA256(SHA256(tag) || SHA256(tag) || parts), tags all different (BIP 340)."""
    for vector in vectors("hashing.json")["tagged"]:  # type: ignore[call-overload]
        prefix = hashlib.sha256(vector["text"].encode()).digest()
        parts = [bytes.fromhex(part) for part in vector["parts"]]
        assert hashlib.sha256(prefix * 2 + b"".join(parts)).hexdigest() == vector["hash"]
        assert tagged_hash(Tag[vector["tag"]], *parts).hex() == vector["hash"]
        assert signing_bytes(Tag[vector["tag"]], *parts) == prefix + b"".join(parts)
    assert len({tag.value for tag in Tag}) == len(Tag)
    assert tagged_hash(Tag.NULL_BATCH) == NULL_DIGEST


def test_golden_state_roots() -> None:
    """Roots of fixed contents."""
    for vector in vectors("state.json"):
        entries: list[Entry] = []
        for number in range(vector["n"]):  # type: ignore[call-overload]
            key_hash = hash_key(b"key %d" % number)
            entries.append((key_hash, hash_entry(key_hash, b"value %d" % number)))
        assert compute_subtree(sorted(entries), 0, 0, {}).hex() == vector["root"]  # type: ignore[call-overload]


@pytest.mark.parametrize("error", [InvalidBlock, InvariantViolation])
def test_errors_tell_code_detail_and_values(error: type[InvalidBlock]) -> None:
    """The code is for programs, the text for people; bytes are shown in hexadecimal."""
    raised = error("gap", "not the next height", expected=b"\x01", code=7)
    assert raised.code == "gap"
    assert str(raised) == "gap: not the next height (expected=01, code=7)"
    assert str(error("gap")) == "gap"
