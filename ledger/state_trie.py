"""The shape of the authenticated world state: a trie of fan-out 4 over key hashes with leaf buckets (D13).

The definition, which the state root of every header commits to:

- an entry is (key hash, entry hash); the key hash spreads keys evenly and fixes their place, two bits per level;
- a subtree with no entry has hash `EMPTY`; with up to `BUCKET_MAX` entries it is a bucket, hashed over them in
  ascending order; with more it is a node, hashed over its four subtrees.

So the shape depends on the content alone, never on the order of writes, and keys ground to collide only deepen their
own branch (FIGURES section 7). All functions here are pure; `ledger.world_state` stores and updates the trie, and
`ledger.proofs` checks it offline with this module.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ledger.errors import InvalidProof
from ledger.hashing import HASH_BYTES, Tag

BUCKET_MAX: Final = 8
"""Entries of a bucket: FIGURES section 7 (fan-out 4, split above 8) is the best trade of update cost and proof size."""
DEPTH_MAX: Final = HASH_BYTES * 4
"""Levels until the key hash is used up: two different hashes differ before."""
EMPTY: Final = bytes(HASH_BYTES)
"""The hash of a subtree without entries: no SHA-256 preimage of it is known."""
NODE_BYTES: Final = 4 * HASH_BYTES

Entry: TypeAlias = tuple[bytes, bytes]
"""(key hash, entry hash), 32 bytes each."""
Nodes: TypeAlias = dict[tuple[int, int], bytes | None]
"""(depth, index) -> the four subtree hashes of a node, None where a node became a bucket. The index of a place is the
first 2 x depth bits of the key hashes below it, as a number."""


# The state's hashes are the most frequent of all: `tagged_hash` of one tag each, written out. The first byte after the
# tag separates buckets from nodes.
_new_key_hash: Final = Tag.STATE_KEY.prefix.copy
_new_leaf_hash: Final = Tag.STATE_LEAF.prefix.copy
_bucket_prefix: Final = Tag.STATE_NODE.prefix.copy()
_bucket_prefix.update(b"\x00")
_new_bucket_hash: Final = _bucket_prefix.copy
_node_prefix: Final = Tag.STATE_NODE.prefix.copy()
_node_prefix.update(b"\x01")
_new_node_hash: Final = _node_prefix.copy


def hash_key(key: bytes) -> bytes:
    """The key hash: where in the trie a key lives."""
    state = _new_key_hash()
    state.update(key)
    return state.digest()


def hash_entry(key_hash: bytes, value: bytes) -> bytes:
    """The entry hash, which binds a value to its key."""
    state = _new_leaf_hash()
    state.update(key_hash + value)
    return state.digest()


def hash_bucket(entries: Sequence[Entry]) -> bytes:
    """The hash of a bucket's entries, ascending by key hash."""
    return hash_entries(b"".join([part for entry in entries for part in entry])) if entries else EMPTY


def hash_entries(joined: bytes) -> bytes:
    """The hash of a bucket from its entries' bytes, one behind the other; at least one entry."""
    state = _new_bucket_hash()
    state.update(joined)
    return state.digest()


def hash_node(children: bytes | bytearray) -> bytes:
    """The hash of a node over its four subtree hashes."""
    state = _new_node_hash()
    state.update(children)
    return state.digest()


def digit(key_hash: bytes, depth: int) -> int:
    """Which of the four subtrees of the node at `depth` a key hash belongs to."""
    return key_hash[depth >> 2] >> (6 - 2 * (depth & 3)) & 3


def compute_subtree(entries: Sequence[Entry], depth: int, index: int, nodes: Nodes) -> bytes:
    """The hash of the subtree at (depth, index) that holds exactly these entries, ascending; adds its nodes."""
    if len(entries) <= BUCKET_MAX:
        return hash_bucket(entries)
    parts: list[list[Entry]] = [[], [], [], []]
    for entry in entries:
        parts[digit(entry[0], depth)].append(entry)
    children = b"".join([compute_subtree(part, depth + 1, index * 4 + i, nodes) for i, part in enumerate(parts)])
    nodes[depth, index] = children
    return hash_node(children)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateProof:
    """That a key has a value, or none, under a state root."""

    key: bytes
    value: bytes | None  # None: the key is absent
    neighbours: tuple[Entry, ...]  # the other entries of the bucket at the key's place, ascending
    siblings: tuple[bytes, ...]  # for each level from the bucket up: the other three subtree hashes, 96 bytes


def verify_state_proof(proof: StateProof, state_root: bytes) -> None:
    """Raises InvalidProof unless the proof leads to the root.

    1. The path is no longer than a key hash. 2. The neighbours belong to the key's place, ascend, and are not the key
    itself. 3. The bucket is no larger than a bucket can be. 4. Bucket and siblings hash up to the root.
    """
    depth = len(proof.siblings)
    if depth > DEPTH_MAX:
        raise InvalidProof("path_length", "deeper than a key hash", expected_max=DEPTH_MAX, got=depth)
    key_hash = hash_key(proof.key)
    place = _place(key_hash, depth)
    hashes = [neighbour for neighbour, _ in proof.neighbours]
    if hashes != sorted(set(hashes)) or key_hash in hashes or any(_place(h, depth) != place for h in hashes):
        raise InvalidProof("neighbours", "not the other entries of the key's bucket", key=proof.key)
    entries = list(proof.neighbours)
    if proof.value is not None:
        entries.append((key_hash, hash_entry(key_hash, proof.value)))
    if len(entries) > BUCKET_MAX:
        raise InvalidProof("bucket", "more entries than a bucket holds", expected_max=BUCKET_MAX, got=len(entries))
    computed = hash_bucket(sorted(entries))
    for level, others in enumerate(proof.siblings):
        if len(others) != NODE_BYTES - HASH_BYTES:
            raise InvalidProof("path_length", "three hashes a level", got=len(others))
        position = digit(key_hash, depth - 1 - level) * HASH_BYTES
        computed = hash_node(others[:position] + computed + others[position:])
    if computed != state_root:
        raise InvalidProof("root", "the proof leads to another state root", expected=state_root, got=computed)


def _place(key_hash: bytes, depth: int) -> int:
    return int.from_bytes(key_hash, "big") >> (HASH_BYTES * 8 - 2 * depth)
