"""RFC 6962 trees against the RFC's own recursion, and proofs that every change breaks."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import merkle
from ledger.errors import InvalidProof

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ledger" / "merkle.json").read_text())

leaves_of = st.lists(st.binary(max_size=8), min_size=1, max_size=40)


def slow_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = slow_split(len(leaves))
    return hashlib.sha256(b"\x01" + slow_root(leaves[:k]) + slow_root(leaves[k:])).digest()


def slow_split(n: int) -> int:
    """k: the largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def slow_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = slow_split(len(leaves))
    if m < k:
        return [*slow_path(m, leaves[:k]), slow_root(leaves[k:])]
    return [*slow_path(m - k, leaves[k:]), slow_root(leaves[:k])]


def slow_proof(m: int, leaves: list[bytes], *, known: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if m == len(leaves):
        return [] if known else [slow_root(leaves)]
    k = slow_split(len(leaves))
    if m <= k:
        return [*slow_proof(m, leaves[:k], known=known), slow_root(leaves[k:])]
    return [*slow_proof(m - k, leaves[k:], known=False), slow_root(leaves[:k])]


def test_golden_roots_and_paths() -> None:
    """The checked-in roots and paths are those of the RFC's recursion."""
    leaves = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]
    assert VECTORS["roots"] == [slow_root(leaves[:count]).hex() for count in range(10)]
    assert VECTORS["inclusion_of_7"] == [[h.hex() for h in slow_path(i, leaves[:7])] for i in range(7)]
    assert VECTORS["consistency_with_7"] == [[h.hex() for h in slow_proof(i, leaves[:7])] for i in range(1, 8)]


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_root_is_the_recursion(leaves: list[bytes]) -> None:
    """The level-by-level root equals the definition for every size."""
    assert merkle.root(leaves) == slow_root(leaves)


@given(leaves_of, st.data())
def test_inclusion(leaves: list[bytes], data: st.DataObject) -> None:
    """Every path is the RFC's, verifies, and verifies nothing else."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    path, root = merkle.inclusion_path(leaves, index), merkle.root(leaves)
    assert path == slow_path(index, leaves)
    merkle.verify_inclusion(leaves[index], index, len(leaves), path, root)
    wrong_calls = [
        (leaves[index] + b"x", index, len(leaves), path, root),
        (leaves[index], index, len(leaves), [*path, bytes(32)], root),
        (leaves[index], index, len(leaves), path, bytes(32)),
        (leaves[index], len(leaves), len(leaves), path, root),
        (leaves[index], -1, len(leaves), path, root),
    ]
    if path:
        wrong_calls.append((leaves[index], index, len(leaves), path[:-1], root))
        wrong_calls.append((leaves[index], index, len(leaves), [bytes(32), *path[1:]], root))
    for wrong in wrong_calls:
        with pytest.raises(InvalidProof):
            merkle.verify_inclusion(*wrong)


@given(leaves_of, st.data())
def test_consistency(leaves: list[bytes], data: st.DataObject) -> None:
    """Every consistency path is the RFC's, verifies, and breaks with any change."""
    first = data.draw(st.integers(1, len(leaves)))
    path = merkle.consistency_path(leaves, first)
    assert path == slow_proof(first, leaves)
    old, new = merkle.root(leaves[:first]), merkle.root(leaves)
    merkle.verify_consistency(first, old, len(leaves), new, path)
    wrong_calls = [
        (first, bytes(32), len(leaves), new, path),
        (first, old, len(leaves), bytes(32), path),
        (first, old, len(leaves), new, [*path, bytes(32)]),
        (0, old, len(leaves), new, path),
        (len(leaves) + 1, old, len(leaves), new, path),
    ]
    if path:
        wrong_calls.append((first, old, len(leaves), new, path[:-1]))
        wrong_calls.append((first, old, len(leaves), new, [bytes(32), *path[1:]]))
    for wrong in wrong_calls:
        with pytest.raises(InvalidProof):
            merkle.verify_consistency(*wrong)


def test_no_such_leaf_or_prefix() -> None:
    """Proofs of what is not there cannot be made."""
    for index in (-1, 2):
        with pytest.raises(InvalidProof):
            merkle.inclusion_path([b"a", b"b"], index)
    for first in (0, 3):
        with pytest.raises(InvalidProof):
            merkle.consistency_path([b"a", b"b"], first)
