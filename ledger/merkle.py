"""RFC 6962 Merkle trees over byte strings: root, inclusion and consistency proofs.

Leaves are hashed with prefix 0x00 and nodes with 0x01, as the RFC says (section 2.1), so any Certificate Transparency
verifier checks our paths. The verifiers follow RFC 9162, sections 2.1.3.2 and 2.1.4.2, step by step. A proof is a list
of 32-byte hashes, nearest sibling first.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from ledger.errors import InvalidProof

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of no leaves."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf's bytes."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of the leaves, in order. Linear time."""
    return root_above(_leaf_hashes(leaves))


def subtree_roots(leaves: Sequence[bytes], depth: int) -> list[bytes]:
    """The roots of the subtrees of each 2^depth leaves, the last of which may be smaller; in order."""
    level = _leaf_hashes(leaves)
    for _ in range(depth):
        level = _parents(level)
    return level


def root_above(roots: Sequence[bytes]) -> bytes:
    """The root of all leaves from the roots of subtrees of the same depth."""
    level = list(roots)
    while len(level) > 1:
        level = _parents(level)
    return level[0] if level else EMPTY_ROOT


def _leaf_hashes(leaves: Sequence[bytes]) -> list[bytes]:
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + leaf).digest() for leaf in leaves]


def _parents(level: list[bytes]) -> list[bytes]:
    """The next level up. An odd node at the end rises as it is, which gives the RFC's split at a power of two."""
    sha256 = hashlib.sha256
    children = iter(level)
    parents = [sha256(b"\x01" + left + right).digest() for left, right in zip(children, children, strict=False)]
    if len(level) % 2:
        parents.append(level[-1])
    return parents


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings on the way from leaf `index` to the root; at most ceil(log2(n)) hashes."""
    if not 0 <= index < len(leaves):
        raise InvalidProof("index", "no such leaf", leaves=len(leaves), got=index)
    return path_above(_leaf_hashes(leaves), index)


def path_above(roots: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings on the way up from one of the roots of subtrees of the same depth."""
    level = list(roots)
    path: list[bytes] = []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level = _parents(level)
        index //= 2
    return path


def verify_inclusion(leaf: bytes, index: int, count: int, path: Sequence[bytes], expected_root: bytes) -> None:
    """Raises InvalidProof unless `leaf` is leaf `index` of `count` under the root (RFC 9162, section 2.1.3.2)."""
    computed = compute_inclusion_root(leaf, index, count, path)
    if computed != expected_root:
        raise InvalidProof("root", "the path leads to another root", expected=expected_root, got=computed)


def compute_inclusion_root(leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes:
    """The root that a path leads to, for who knows what it must be. Raises InvalidProof for a path of another length.

    A root does not bind the number of leaves: it proves the index only to who knows `count` from elsewhere.
    """
    if not 0 <= index < count:
        raise InvalidProof("index", "no such leaf", leaves=count, got=index)
    first, last = index, count - 1
    computed = leaf_hash(leaf)
    for sibling in path:
        if last == 0:
            raise InvalidProof("path_length", "the path is too long", leaves=count, got=len(path))
        if first & 1 or first == last:
            computed = _node_hash(sibling, computed)
            while not first & 1 and first != 0:
                first, last = first >> 1, last >> 1
        else:
            computed = _node_hash(computed, sibling)
        first, last = first >> 1, last >> 1
    if last != 0:
        raise InvalidProof("path_length", "the path is too short", leaves=count, got=len(path))
    return computed


def consistency_path(leaves: Sequence[bytes], first: int) -> list[bytes]:
    """The proof that the tree of the first `first` leaves is a prefix of this one (RFC 6962, section 2.1.2)."""
    if not 0 < first <= len(leaves):
        raise InvalidProof("index", "no such prefix", leaves=len(leaves), got=first)
    path: list[bytes] = []
    low, high, whole = 0, len(leaves), True  # `whole`: the left part so far is a tree that the verifier knows
    tail: list[bytes] = []
    while first != high - low:
        split = _split(high - low)
        if first <= split:
            tail.append(root(leaves[low + split : high]))
            high = low + split
        else:
            tail.append(root(leaves[low : low + split]))
            low, first, whole = low + split, first - split, False
    if not whole:
        path.append(root(leaves[low:high]))
    return path + tail[::-1]


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def verify_consistency(first: int, first_root: bytes, second: int, second_root: bytes, path: Sequence[bytes]) -> None:
    """Raises InvalidProof unless the tree of `first` leaves is a prefix of that of `second` (RFC 9162, 2.1.4.2)."""
    if not 0 < first <= second:
        raise InvalidProof("index", "no such prefix", leaves=second, got=first)
    hashes = list(path)
    if first == second:
        if hashes or first_root != second_root:
            raise InvalidProof("root", "equal sizes need equal roots and no path", got=len(hashes))
        return
    if first & (first - 1) == 0:
        hashes.insert(0, first_root)
    if not hashes:
        raise InvalidProof("path_length", "the path is too short", got=0)
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise InvalidProof("path_length", "the path is too long", got=len(path))
        if node & 1 or node == last:
            old, new = _node_hash(sibling, old), _node_hash(sibling, new)
            while not node & 1 and node != 0:
                node, last = node >> 1, last >> 1
        else:
            new = _node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise InvalidProof("path_length", "the path is too short", got=len(path))
    if old != first_root or new != second_root:
        raise InvalidProof("root", "the path leads to other roots", expected=second_root, got=new)
