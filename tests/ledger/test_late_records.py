"""Records that wait in memory: what is read, what a block writes, and what is left after a crash at any block."""

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest

from ledger import late_records, late_values
from ledger.late_records import PARTS
from ledger.state_records import place_key
from ledger.state_trie import compute_subtree, hash_entry, hash_key, verify_state_proof
from ledger.store import Delete, MemoryStore, PutMany, ReadView
from ledger.world_state import GENERATIONS, STATE_TABLES, StateUpdate, WorldState

TABLES = GENERATIONS[0]
KEYS = 600  # more than eight in each part: the trie is deeper than its parts everywhere

Content = dict[bytes, bytes]


def compute_root(content: Content) -> bytes:
    """By the definition, from all keys."""
    hashes = {key: hash_key(key) for key in content}
    return compute_subtree(sorted((hashes[key], hash_entry(hashes[key], content[key])) for key in content), 0, 0, {})


class Ledger:
    """A state, the content that it should have, and what its last block wrote."""

    def __init__(self) -> None:
        self.store = MemoryStore(STATE_TABLES)
        self.state = WorldState(self.store)
        self.content: Content = {}
        self.numbers = random.Random(11)
        self.write({b"key %d" % number: b"first" for number in range(KEYS)})

    def write(self, writes: dict[bytes, bytes | None]) -> StateUpdate:
        """A block."""
        update = self.state.compute_update(self.store, sorted(writes.items()))
        self.store.write(update.operations)
        self.state.adopt(update)
        for key, value in writes.items():
            if value is None:
                self.content.pop(key, None)
            else:
                self.content[key] = value
        return update

    def write_some(self, count: int = 12) -> StateUpdate:
        """A block of changed, new and removed keys."""
        draw = self.numbers
        keys = sorted({b"key %d" % draw.randrange(2 * KEYS) for _ in range(count)})  # a set has another order each run
        return self.write({key: None if draw.random() < 0.4 else draw.randbytes(4) for key in keys})

    def restart(self) -> None:
        """Power fails, and comes back."""
        self.store = self.store.after_power_loss()
        self.state = WorldState(self.store)

    def settled(self) -> list[tuple[bytes, bytes]]:
        """The trie's table of the same content, written by one block."""
        store = MemoryStore(STATE_TABLES)
        state = WorldState(store)
        store.write(state.compute_update(store, sorted(self.content.items())).operations)
        return list(store.scan(TABLES.trie))


def test_power_may_fail_after_any_block() -> None:
    """What waited is computed again from the values, whatever of it was written; and the next blocks go on from it."""
    ledger = Ledger()
    for block in range(5 * PARTS):
        ledger.write_some()
        if block % 7 in (0, 1, 4):
            ledger.restart()
        assert ledger.state.root == compute_root(ledger.content)
    for start in range(KEYS):
        ledger.write({b"key %d" % (2 * start): None, b"key %d" % (2 * start + 1): None})
        if start % 5 == 0:
            ledger.restart()
            assert ledger.state.root == compute_root(ledger.content)
    assert not ledger.content and list(ledger.store.scan(TABLES.trie)) == []


def test_what_is_read_is_the_table_as_it_will_be() -> None:
    """Single records, many, scans from anywhere, the last one up to anywhere: as if everything were written."""
    ledger = Ledger()
    for _ in range(PARTS + 3):
        ledger.write_some()
    late, store, expected = ledger.state.trie.late, ledger.store, ledger.settled()
    assert list(store.scan(TABLES.trie)) != expected, "something waits"
    assert list(late.scan(store, b"")) == expected
    keys = [key for key, _ in expected]
    absent = [key[:-1] + bytes((key[-1] + 1,)) for key in keys]
    for _ in range(2):  # what the first one takes is read from the table by the second
        assert late.take_many(store, keys + absent) == dict(expected)
    assert [late.get(store, key) for key in keys + absent] == [record for _, record in expected] + [None] * len(absent)
    assert late.last_until(store, b"") == b""
    for (lower, _), (upper, record) in pairwise(expected):
        assert next(late.scan(store, upper)) == (upper, record)
        assert next(late.scan(store, lower + b"\x00")) == (upper, record)
        assert late.last_until(store, upper) == upper
        assert late.last_until(store, upper[:-1]) == lower
    twin = ledger.state.trie.copy()
    with ledger.store.snapshot() as view:
        before = ledger.content.copy()
        for _ in range(2 * PARTS):
            ledger.write_some()
        assert list(twin.scan(view, 0)) == sorted((hash_key(key), key) for key in before)


@pytest.mark.parametrize("limit", [0, 12_000, late_records.KEPT_BYTES_MAX])
def test_what_is_kept_is_what_the_table_holds(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of keys that do not wait: after changes, splits, merges and removals, and after parts written before their turn;
    and no more of each part than there is room for."""
    monkeypatch.setattr(late_records, "KEPT_BYTES_MAX", limit)
    monkeypatch.setattr(late_records, "LATE_BYTES_MAX", 40_000)
    ledger = Ledger()
    late, count = ledger.state.trie.late, 0
    for _ in range(6 * PARTS):
        ledger.write_some(60)
        for part, kept in zip(late._parts, late._kept, strict=True):
            assert sum(late_records.RECORD_BYTES + len(record) for record in kept.values()) <= limit // PARTS
            for key in kept.keys() - part.keys():
                assert ledger.store.get(TABLES.trie, key) == (kept[key] or None)
                count += 1
    assert (count > 1_000) == (limit > 0)
    ledger.write(dict.fromkeys(ledger.content))
    assert ledger.state.root == compute_root({})


@pytest.mark.parametrize("limit", [0, late_records.KEPT_BYTES_MAX])
def test_what_was_written_lately_is_not_read_again(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is room for it, a block asks the table for nothing that one before it changed."""
    monkeypatch.setattr(late_records, "KEPT_BYTES_MAX", limit)
    ledger = Ledger()
    asked: list[bytes] = []

    class View(CountedScans):
        def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
            asked.extend(keys)
            return ledger.store.get_many(table, keys)

    for block in range(3 * PARTS):
        writes = sorted({b"key %d" % (number * 7): b"%d" % block for number in range(80)}.items())
        update = ledger.state.compute_update(View(ledger.store), writes)
        ledger.store.write(update.operations)
        ledger.state.adopt(update)
    assert bool(asked) == (limit == 0)


class CountedScans:
    """A view that counts the records that its scans were asked for."""

    def __init__(self, view: ReadView) -> None:
        self.get = view.get
        self._view = view
        self.count = 0

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return self._view.get_many(table, keys)

    def scan(
        self, table: str, prefix: bytes = b"", *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        for record in self._view.scan(table, prefix, start=start, reverse=reverse):
            self.count += 1
            yield record


def test_a_look_for_the_last_key_walks_over_what_waits_alone() -> None:
    """Not over the table below the key: each chunk of a snapshot looks once, and the table is as large as the state."""
    ledger = Ledger()
    for _ in range(PARTS):
        ledger.write_some()
    late, view = ledger.state.trie.late, CountedScans(ledger.store)
    keys = [key for key, _ in ledger.settled()]
    waiting = [key for part in late._parts for key in part]
    assert 0 < len(waiting) < len(keys) // 2
    for key in keys:
        view.count = 0
        assert late.last_until(view, key) == key
        assert view.count <= len(waiting) + 1


def test_proofs_know_what_waits() -> None:
    """Of presence and absence, of keys that the last blocks wrote."""
    ledger = Ledger()
    for _ in range(PARTS):
        update = ledger.write_some()
        assert update.late is not None and any(update.late.waiting)
    for number in range(0, 2 * KEYS, 17):
        proof = ledger.state.prove(ledger.store, b"key %d" % number)
        assert proof.value == ledger.content.get(b"key %d" % number)
        verify_state_proof(proof, ledger.state.root)


def test_a_block_writes_one_part() -> None:
    """Its records that changed since its last turn, each once, and the keys of the block; and nothing waits longer than
    all parts' turns."""
    ledger = Ledger()
    for block in range(3 * PARTS):
        update = ledger.write_some()
        written = [
            key
            for operation in update.operations
            if operation.table == TABLES.trie
            for key in (
                [key for key, _ in operation.records] if isinstance(operation, PutMany) else [operation.key]  # type: ignore[union-attr]
            )
        ]
        assert update.late is not None
        assert {key[0] >> 4 for key in written} <= update.late.written.keys()
        assert len(set(written)) == len(written)
        assert update.late.written.keys() == {(block + 2) % PARTS}
    for _ in range(PARTS):
        ledger.write({b"key 0": b"again"})
    place = place_key(*ledger.state.trie.find_places([hash_key(b"key 0")])[0])
    others = [record for record in ledger.settled() if record[0] != place]
    assert [record for record in ledger.store.scan(TABLES.trie) if record[0] != place] == others


def test_a_block_of_too_many_keys_writes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next blocks begin with nothing that waits."""
    ledger = Ledger()
    for _ in range(PARTS // 2):
        ledger.write_some()
    with monkeypatch.context() as patch:
        patch.setattr(late_values, "KEYS_BYTES_MAX", 20)
        update = ledger.write_some()
    assert update.late is not None and len(update.late.written) == PARTS
    assert list(ledger.store.scan(TABLES.trie)) == ledger.settled()
    assert dict(ledger.store.scan(TABLES.values)) == ledger.content
    update = ledger.write_some()
    assert update.late is not None and len(update.late.written) == 1
    ledger.restart()
    assert ledger.state.root == compute_root(ledger.content)


def waiting_bytes(ledger: Ledger) -> int:
    parts = ledger.state.trie.late._parts
    return sum(late_records.RECORD_BYTES + len(record) for part in parts for record in part.values())


@pytest.mark.parametrize("limit", [20, 20_000])
def test_what_waits_is_bounded(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit parts are written before their turn, as many as it takes; a crash loses nothing of it."""
    ledger, counts = Ledger(), set()
    monkeypatch.setattr(late_records, "LATE_BYTES_MAX", limit)
    for block in range(3 * PARTS):
        update = ledger.write_some(40)
        assert waiting_bytes(ledger) <= sum(ledger.state.trie.late._sizes) <= limit
        assert update.late is not None
        counts.add(len(update.late.written))
        if block % 5 == 4:
            ledger.restart()
            assert ledger.state.root == compute_root(ledger.content)
    assert max(counts) > 1 and (limit == 20 or PARTS not in counts)


def test_no_part_is_written_before_its_turn_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is not counted any more: half of what the last blocks changed waits, not all of it."""
    ledger = Ledger()
    changed = 0
    for block in range(6 * PARTS):
        update = ledger.write({b"key %d" % (number * 31 % KEYS): b"%d" % block for number in range(block, block + 40)})
        assert update.late is not None
        if block < 2 * PARTS:
            waiting = sum(late_records.RECORD_BYTES + len(record) for part in update.late.waiting for _, record in part)
            changed = max(changed, waiting * PARTS // (PARTS - 1))
            monkeypatch.setattr(late_records, "LATE_BYTES_MAX", changed * PARTS * 3 // 4)
        else:
            assert len(update.late.written) == 1


def test_entries_that_move_across_the_parts_are_written_at_once() -> None:
    """A state of a few keys has buckets above its parts: their entries must not be in two places, nor in none."""
    ledger = Ledger()
    ledger.write(dict.fromkeys(ledger.content))
    for number in range(90):
        ledger.write({b"few %d" % number: b"v"})
        ledger.restart()
        assert ledger.state.root == compute_root(ledger.content)
    for number in range(90):
        ledger.write({b"few %d" % number: None})
        ledger.restart()
        assert ledger.state.root == compute_root(ledger.content)


def test_keys_that_are_lost_are_noticed() -> None:
    """Without them the root is another, which the chain compares at its start."""
    ledger = Ledger()
    ledger.write({b"key %d" % number: b"late" for number in range(40)})
    root = ledger.state.root
    for key, _ in ledger.store.scan(TABLES.late):
        ledger.store.write([Delete(TABLES.late, key)])
    assert WorldState(ledger.store).root != root
