"""The world state against a slow reference: the same root from any history, proofs of presence and absence."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import late_records, stored_trie
from ledger.errors import InvalidProof, InvariantViolation, StoreError
from ledger.hashing import Tag, tagged_hash
from ledger.state_records import (
    Change,
    Item,
    change_items,
    edit_entries,
    hash_record,
    place_key,
    read_bucket,
    read_entries,
    read_node,
    write_bucket,
)
from ledger.state_trie import (
    BUCKET_MAX,
    EMPTY,
    compute_subtree,
    hash_bucket,
    hash_entry,
    hash_key,
    verify_state_proof,
)
from ledger.store import Delete, MemoryStore
from ledger.world_state import GENERATIONS, STATE_TABLES, StateSnapshot, WorldState

TRIE_TABLE = GENERATIONS[0].trie

Content = dict[bytes, bytes]
Writes = dict[bytes, bytes | None]


def slow_root(content: Content) -> bytes:
    """The definition, from all keys, by bits: no entries, a bucket, or a node of four."""
    entries = sorted((tagged_hash(Tag.STATE_KEY, key), value) for key, value in content.items())

    def subtree(part: list[tuple[bytes, bytes]], depth: int) -> bytes:
        if not part:
            return bytes(32)
        if len(part) <= 8:
            leaves = [key_hash + tagged_hash(Tag.STATE_LEAF, key_hash, value) for key_hash, value in part]
            return tagged_hash(Tag.STATE_NODE, b"\x00" + b"".join(leaves))
        groups: list[list[tuple[bytes, bytes]]] = [[], [], [], []]
        for key_hash, value in part:
            bits = bin(int.from_bytes(key_hash, "big") | 1 << 256)[3:]
            groups[int(bits[2 * depth : 2 * depth + 2], 2)].append((key_hash, value))
        return tagged_hash(Tag.STATE_NODE, b"\x01" + b"".join(subtree(group, depth + 1) for group in groups))

    return subtree(entries, 0)


class Fixture:
    """A store with its world state and the dict that it should equal."""

    def __init__(self) -> None:
        self.store = MemoryStore(STATE_TABLES)
        self.state = WorldState(self.store)
        self.content: Content = {}

    def apply(self, writes: Writes) -> None:
        """Stores an update and checks its root."""
        update = self.state.compute_update(self.store, sorted(writes.items()))
        before = self.state.root
        assert self.state.root == before, "computing changes nothing"
        self.store.write(update.operations)
        self.state.adopt(update)
        for key, value in writes.items():
            if value is None:
                self.content.pop(key, None)
            else:
                self.content[key] = value

    def check(self) -> None:
        """Root, values and a fresh load agree with the reference."""
        assert self.state.root == slow_root(self.content)
        assert dict(self.state.values.scan(self.store)) == self.content
        loaded = WorldState(self.store)
        assert loaded.root == self.state.root
        assert dict(loaded.values.scan(self.store)) == self.content
        hashes = [hash_key(b"%d" % number) for number in range(100)]
        assert loaded.trie.find_places(hashes) == self.state.trie.find_places(hashes)
        assert list(self.state.trie.scan(self.store, 0)) == sorted((hash_key(key), key) for key in self.content)


@pytest.fixture(params=[9, 2, 0], ids=["resident 9", "resident 2", "resident 0"])
def fixture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fixture]:
    """Real residency, and such that most or all nodes are in the store, as with 10,000,000 keys."""
    monkeypatch.setattr(stored_trie, "RESIDENT_DEPTH", request.param)
    return Fixture()


def test_random_histories_give_the_slow_root(fixture: Fixture) -> None:
    """Growing, churning and shrinking, in batches of all sizes: buckets split and nodes become buckets again."""
    numbers = random.Random(7)
    for round_number in range(60):
        shrinking = round_number % 40 >= 25
        writes: Writes = {}
        for _ in range(numbers.choice([1, 2, 10, 50])):
            key = b"key %d" % numbers.randrange(500)
            writes[key] = None if numbers.random() < (0.8 if shrinking else 0.2) else b"%d" % numbers.randrange(10**9)
        fixture.apply(writes)
        fixture.check()
    fixture.apply(dict.fromkeys(fixture.content))
    fixture.check()
    assert fixture.state.root == EMPTY
    assert list(fixture.store.scan(TRIE_TABLE)) == []


keys = st.integers(0, 60).map(lambda number: b"k%d" % number)
histories = st.lists(st.dictionaries(keys, st.none() | st.binary(max_size=3), min_size=1, max_size=40), max_size=6)


@settings(max_examples=60)
@given(histories)
def test_any_history_gives_the_slow_root(writes: list[Writes]) -> None:
    """D13: the root depends on the content alone."""
    fixture = Fixture()
    for batch in writes:
        fixture.apply(batch)
    fixture.check()


@settings(max_examples=30)
@given(st.dictionaries(keys, st.binary(max_size=3), max_size=60), st.randoms(use_true_random=False))
def test_the_order_of_writes_leaves_no_trace(content: Content, numbers: random.Random) -> None:
    """One batch, or one key at a time in any order with detours: the same root, values and records."""
    at_once, one_by_one = Fixture(), Fixture()
    at_once.apply(dict(content))
    items = list(content.items())
    numbers.shuffle(items)
    for key, value in items:
        one_by_one.apply({b"detour" + key: b"x"})
        one_by_one.apply({key: value})
    one_by_one.apply({b"detour" + key: None for key in content})
    assert at_once.state.root == one_by_one.state.root
    values = [list(each.state.values.scan(each.store)) for each in (at_once, one_by_one)]
    assert values[0] == values[1]
    records = [list(each.state.trie.late.scan(each.store, b"")) for each in (at_once, one_by_one)]
    assert records[0] == records[1]


def test_ground_keys_deepen_only_their_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that share 20 bits of hash split deep below a shallow tree, and are found and proved there."""
    monkeypatch.setattr(stored_trie, "RESIDENT_DEPTH", 3)
    prefix = hash_key(b"0")[:1]
    ground = [key for key in (b"%d" % number for number in range(12_000)) if hash_key(key)[:1] == prefix]
    assert len(ground) > 4 * BUCKET_MAX
    fixture = Fixture()
    for start in range(0, len(ground), 5):
        fixture.apply(dict.fromkeys(ground[start : start + 5], b"v"))
    fixture.check()
    proof = fixture.state.prove(fixture.store, ground[0])
    assert len(proof.siblings) > 4
    verify_state_proof(proof, fixture.state.root)


def test_a_node_that_is_missing_stops_the_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged store is found when the resident nodes are computed, not when a vote differs."""
    monkeypatch.setattr(stored_trie, "RESIDENT_DEPTH", 1)
    fixture = Fixture()
    fixture.apply({b"%d" % number: b"v" for number in range(200)})
    node = next(key for key, record in fixture.store.scan(TRIE_TABLE) if not record[0])
    fixture.store.write([Delete(TRIE_TABLE, node)])
    with pytest.raises(InvariantViolation, match="state_nodes"):
        WorldState(fixture.store)


@pytest.mark.parametrize("resident_depth", [0, 2, 9])
def test_a_bucket_that_is_missing_stops_the_replica(resident_depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node says that something is there: a change of one of its keys does not begin an empty one in its place."""
    monkeypatch.setattr(stored_trie, "RESIDENT_DEPTH", resident_depth)
    monkeypatch.setattr(late_records, "KEPT_BYTES_MAX", 0)  # a bucket that is kept is not missed
    fixture = Fixture()
    fixture.apply({b"%d" % number: b"v" for number in range(200)})
    lost, record = next((key, record) for key, record in fixture.store.scan(TRIE_TABLE) if record[0])
    fixture.store.write([Delete(TRIE_TABLE, lost)])
    for _, _, key in read_bucket(record):
        with pytest.raises(InvariantViolation, match="state_bucket"):
            fixture.state.compute_update(fixture.store, [(key, b"w")])


@pytest.mark.parametrize("writes", [[(b"", b"x")], [(b"b", b"x"), (b"a", b"x")], [(b"a", b"x"), (b"a", None)]])
def test_writes_out_of_order_are_our_own_fault(writes: list) -> None:
    """Ascending keys, each once, none empty: what the runtime promises is checked."""
    fixture = Fixture()
    with pytest.raises(InvariantViolation, match="write_order"):
        fixture.state.compute_update(fixture.store, writes)


@pytest.mark.parametrize(("key", "value"), [(bytes([1]) * 481, b""), (b"k", bytes(1_048_577))])
def test_limits_of_keys_and_values(key: bytes, value: bytes) -> None:
    """What the store could not hold is refused before anything changes."""
    fixture = Fixture()
    with pytest.raises(StoreError, match="state_limit"):
        fixture.state.compute_update(fixture.store, [(key, value)])
    fixture.apply({bytes([1]) * 480: bytes(1_048_576)})
    fixture.check()


def test_a_snapshot_reads_the_state_of_its_moment() -> None:
    """get and scan of a StateSnapshot ignore later blocks."""
    fixture = Fixture()
    fixture.apply({b"c/a/1": b"1", b"c/a/2": b"2", b"c/b/1": b"3"})
    with StateSnapshot(fixture.store.snapshot()) as snapshot:
        fixture.apply({b"c/a/1": b"changed", b"c/a/2": None})
        assert snapshot.get(b"c/a/1") == b"1"
        assert list(snapshot.scan(b"c/a/")) == [(b"c/a/1", b"1"), (b"c/a/2", b"2")]
        assert snapshot.get(b"none") is None


# --- proofs ---


@settings(max_examples=40)
@given(st.dictionaries(keys, st.binary(max_size=3), max_size=60), keys)
def test_proofs_of_presence_and_absence(content: Content, key: bytes) -> None:
    """The proof of any key verifies and shows what the state holds; no other value, and no absence, verifies."""
    fixture = Fixture()
    fixture.apply(dict(content))
    proof = fixture.state.prove(fixture.store, key)
    assert proof.value == content.get(key)
    verify_state_proof(proof, fixture.state.root)
    others = [b"another value"] if proof.value is None else [None, proof.value + b"x"]
    for value in others:
        with pytest.raises(InvalidProof):
            verify_state_proof(replace(proof, value=value), fixture.state.root)
    if proof.value is not None:
        with pytest.raises(InvalidProof):
            verify_state_proof(replace(proof, key=key + b"x"), fixture.state.root)
    with pytest.raises(InvalidProof):
        verify_state_proof(proof, bytes([1]) * 32)


def test_every_part_of_a_proof_matters() -> None:
    """Neighbours and siblings changed, dropped, doubled or reordered: refused each time."""
    fixture = Fixture()
    fixture.apply({b"key %d" % number: b"value" for number in range(300)})
    root = fixture.state.root
    proof = fixture.state.prove(fixture.store, b"key 1")
    verify_state_proof(proof, root)
    first, *rest = proof.neighbours
    lowest, *upper = proof.siblings
    wrong = [
        replace(proof, neighbours=tuple(rest)),
        replace(proof, neighbours=(first, first, *rest)),
        replace(proof, neighbours=(*rest, first)),
        replace(proof, neighbours=((first[0], bytes(32)), *rest)),
        replace(proof, neighbours=((hash_key(b"key 1"), first[1]), *rest)),
        replace(proof, neighbours=((bytes(32), first[1]), *rest)),
        replace(proof, siblings=tuple(upper)),
        replace(proof, siblings=(lowest, *proof.siblings)),
        replace(proof, siblings=(lowest[32:], *upper)),
        replace(proof, siblings=(bytes(96), *upper)),
        replace(proof, siblings=(lowest,) * 129),
    ]
    for changed in wrong:
        with pytest.raises(InvalidProof):
            verify_state_proof(changed, root)


def test_a_bucket_larger_than_a_bucket_is_refused() -> None:
    """A verifier never accepts nine entries as a bucket, whatever they hash to."""
    content = {b"key %d" % number: b"value" for number in range(9)}
    entries = sorted((hash_key(key), hash_entry(hash_key(key), value)) for key, value in content.items())
    fixture = Fixture()
    fixture.apply({b"key 0": b"value"})
    proof = fixture.state.prove(fixture.store, b"key 0")
    others = tuple(entry for entry in entries if entry[0] != hash_key(b"key 0"))
    with pytest.raises(InvalidProof, match="bucket"):
        verify_state_proof(replace(proof, neighbours=others), fixture.state.root)


def test_proofs_are_small() -> None:
    """About 900 bytes at 20,000 keys, computed with the pure functions: three hashes a level and a bucket."""
    store = MemoryStore(STATE_TABLES)
    content = {b"key %d" % number: b"value" for number in range(20_000)}
    entries = sorted((hash_key(key), hash_entry(hash_key(key), value)) for key, value in content.items())
    root = compute_subtree(entries, 0, 0, {})
    state = WorldState(store)
    update = state.compute_update(store, sorted(content.items()))
    store.write(update.operations)
    state.adopt(update)
    assert state.root == root
    sizes = []
    for number in range(0, 20_000, 500):
        proof = state.prove(store, b"key %d" % number)
        verify_state_proof(proof, root)
        sizes.append(96 * len(proof.siblings) + 64 * len(proof.neighbours))
    assert sum(sizes) / len(sizes) < 1000
    assert max(sizes) < 1500


# --- records ---

items = st.lists(
    st.tuples(st.binary(max_size=2).map(hash_key), st.binary(min_size=32, max_size=32), st.binary(max_size=480)),
    min_size=1,
    max_size=BUCKET_MAX,
    unique_by=lambda item: item[0],
).map(sorted)


@given(items)
def test_a_bucket_is_read_as_it_was_written(bucket: list[Item]) -> None:
    """Items, entries and hash are those of the definition."""
    record = write_bucket(bucket)
    assert read_bucket(record) == bucket
    assert read_entries(record) == [item[:2] for item in bucket]
    assert hash_record(record) == hash_bucket([item[:2] for item in bucket])
    assert read_node(record) is None


@given(items, items, st.data())
def test_entries_are_edited_in_place_or_not_at_all(bucket: list[Item], new: list[Item], data: st.DataObject) -> None:
    """Changed values and new keys: the record that would be written. None: a deletion, or what does not fit."""
    chosen = data.draw(st.lists(st.sampled_from(bucket), unique=True))
    changes: list[Change] = [(key_hash, entry_hash[::-1], key) for key_hash, entry_hash, key in chosen]
    changes += [item for item in new if item[0] not in {known[0] for known in bucket}]
    changed = change_items(bucket, changes)
    expected = write_bucket(changed) if len(changed) <= BUCKET_MAX else None
    assert edit_entries(write_bucket(bucket), changes) == expected
    assert edit_entries(write_bucket(bucket), [*changes, (bucket[0][0], None, b"")]) is None


def test_what_looks_like_an_entry_inside_a_key_is_none() -> None:
    """A contract may choose a key that holds another key's hash, where an entry would stand if there were one more."""
    wanted = hash_key(b"wanted")
    for padding in range(130):
        bucket = [(bytes(32), bytes(32), bytes(padding) + wanted)]
        added = (wanted, bytes(32), b"wanted")
        assert edit_entries(write_bucket(bucket), [added]) == write_bucket([*bucket, added])
    record = write_bucket([(bytes(32), wanted, b"k")])  # and no entry hash is taken for a key hash
    assert edit_entries(record, [(wanted, bytes(32), b"wanted")]) is None


@given(st.lists(st.tuples(st.integers(0, 128), st.integers(0, 2**256 - 1)), min_size=2, max_size=20))
def test_records_lie_in_the_order_of_what_is_below_them(drawn: list[tuple[int, int]]) -> None:
    """By lowest key hash, and a node before all that is below it."""
    places = [(depth, number >> 256 - 2 * depth) for depth, number in drawn]
    by_key = sorted(places, key=lambda place: place_key(*place))
    assert by_key == sorted(places, key=lambda place: (place[1] << 256 - 2 * place[0], place[0]))


def test_nodes_that_are_not_there_take_no_memory() -> None:
    """A trie with one node at its lowest level, and a copy of it: a level of zeros is no memory until it is written."""
    deepest = stored_trie.RESIDENT_DEPTH - 1
    before = private_bytes()
    tries = []
    for _ in range(5):
        trie = stored_trie.StateTrie(GENERATIONS[0])
        trie.keep({deepest: {4**deepest - 1: b"\x01" * 128}}, ())
        twin = trie.copy()
        assert twin.resident_node(deepest, 4**deepest - 1) == b"\x01" * 128
        tries += [trie, twin]
    level_bytes = 128 * 4**deepest
    assert private_bytes() - before < level_bytes


def private_bytes() -> int:
    """This process's memory that is no file's."""
    (line,) = [line for line in Path("/proc/self/smaps_rollup").read_text().splitlines() if "Pss_Anon" in line]
    return int(line.split()[1]) * 1024
