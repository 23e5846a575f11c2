"""Range proofs of the state: they hold for exactly the entries of their range, and for nothing else."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import InvalidSnapshot
from ledger.state_ranges import END, Item, prove_range, verify_range
from ledger.state_trie import Entry, Nodes, compute_subtree, hash_entry, hash_key


class Trie:
    """A trie of these many keys, as the pure functions make it."""

    def __init__(self, count: int, salt: int = 0) -> None:
        keys = [b"key %d of %d" % (number, salt) for number in range(count)]
        self.entries = sorted((hash_key(key), hash_entry(hash_key(key), b"value")) for key in keys)
        self.nodes: Nodes = {}
        self.root = compute_subtree(self.entries, 0, 0, self.nodes)

    def at(self, depth: int, index: int) -> list[Entry]:
        """The entries of a place."""
        return [entry for entry in self.entries if int.from_bytes(entry[0], "big") >> (256 - 2 * depth) == index]

    def within(self, start: int, end: int) -> list[Entry]:
        """The entries of a range."""
        return [entry for entry in self.entries if start <= int.from_bytes(entry[0], "big") < end]

    def prove(self, start: int, end: int) -> list[Item]:
        """The proof of a range."""
        return prove_range(lambda depth, index: self.nodes.get((depth, index)), self.at, start, end)


@pytest.mark.parametrize("count", [0, 1, 8, 9, 40, 700])
def test_ranges_that_meet_are_the_whole_state(count: int) -> None:
    """Any cut of the space of key hashes, at entries and beside them: each part verifies alone, and none is lost."""
    trie, numbers = Trie(count), random.Random(count)
    cuts = {0, END, *(numbers.randrange(END) for _ in range(5))}
    cuts |= {int.from_bytes(entry[0], "big") for entry in numbers.sample(trie.entries, min(count, 5))}
    found: list[Entry] = []
    for start, end in pairwise(sorted(cuts)):
        part = trie.within(start, end)
        verify_range(part, start, end, trie.prove(start, end), trie.root)
        found += part
    assert found == trie.entries


@settings(max_examples=120)
@given(st.integers(0, 90), st.randoms(use_true_random=False))
def test_any_other_content_is_refused(count: int, numbers: random.Random) -> None:
    """An entry more, an entry fewer, another value, another border, a changed proof: never the state root."""
    trie = Trie(count)
    start, end = sorted(numbers.sample(range(0, END, END // 4096), 2))
    part, proof = trie.within(start, end), trie.prove(start, end)
    verify_range(part, start, end, proof, trie.root)
    inside = (start + (end - start) // 2).to_bytes(32, "big")
    wrong: list[tuple[list[Entry], int, int, list[Item]]] = [
        (sorted([*part, (inside, bytes(32))]), start, end, proof),
        ([*part, *part[-1:]] if part else [(inside, bytes(32))], start, end, proof),
        (part, start, end, [*proof, bytes(32)]),
        (part, start, end, proof[:-1]),
    ]
    if part:
        wrong += [(part[1:], start, end, proof), ([(part[0][0], bytes(32)), *part[1:]], start, end, proof)]
        wrong.append((part, start, int.from_bytes(part[-1][0], "big"), proof))
        wrong.append((part[::-1] if len(part) > 1 else [*part, *part], start, end, proof))
    at = numbers.randrange(len(proof))
    item = proof[at]
    changed: list[Item] = [bytes([numbers.randrange(256)]) * 32, None, [(inside, bytes(32))], b"short"]
    wrong += [(part, start, end, [*proof[:at], other, *proof[at + 1 :]]) for other in changed if other != item]
    for case in wrong:
        with pytest.raises(InvalidSnapshot):
            verify_range(*case, trie.root)


def test_a_proof_without_end_is_refused_at_its_first_superfluous_level() -> None:
    """Nodes inside nodes: at most as deep as a key hash has digits."""
    proof: list[Item] = []
    for _ in range(200):
        proof += [None]
    with pytest.raises(InvalidSnapshot):
        verify_range([], 1, END, proof, bytes(32))


def test_a_bucket_cannot_be_passed_off_as_empty_or_too_large() -> None:
    """What a source names beside the range is bound like the range itself."""
    trie = Trie(8)
    middle = int.from_bytes(trie.entries[4][0], "big")
    (bucket,) = trie.prove(middle, END)
    assert bucket == trie.entries[:4]
    part = trie.entries[4:]
    for wrong in ([], trie.entries[:3], trie.entries[:5], [*trie.entries[:4], (bytes(32), bytes(32))]):
        with pytest.raises(InvalidSnapshot):
            verify_range(part, middle, END, [wrong], trie.root)


def test_ground_keys_open_few_places() -> None:
    """Keys that share many bits make one branch deep; a proof opens at most two places a level."""
    shared = [bytes([7] * 20 + [number]) + bytes(11) for number in range(9)]
    entries = [(key_hash, bytes(32)) for key_hash in shared]
    nodes: Nodes = {}
    root = compute_subtree(entries, 0, 0, nodes)
    assert max(depth for depth, _ in nodes) == 82
    start = int.from_bytes(shared[4], "big")
    proof = prove_range(
        lambda depth, index: nodes.get((depth, index)),
        lambda depth, index: [e for e in entries if int.from_bytes(e[0], "big") >> (256 - 2 * depth) == index],
        start,
        END,
    )
    verify_range(entries[4:], start, END, proof, root)
    assert len([item for item in proof if item is None or isinstance(item, list)]) <= 2 * 128
