"""Values that wait in memory: what is read, what a block writes, and what a reader knows from the store alone."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import late_turns, late_values
from ledger.errors import InvariantViolation
from ledger.late_turns import TURNS, Turn, read_turns, turn_operations
from ledger.late_values import ENTRY_BYTES, RANGES, LateValues, ValuesStep, Write
from ledger.store import Delete, MemoryStore, Put
from ledger.world_state import GENERATIONS, STATE_TABLES, StateFollower, WorldState, install_generation

VALUES, _, RING = GENERATIONS[0]
KEYS = 80

Content = dict[bytes, bytes]


class Ledger:
    """Values in a store, the content that they should have, and readers that look now and then."""

    def __init__(self, seed: int = 3) -> None:
        self.store = MemoryStore(STATE_TABLES)
        self.values = LateValues(VALUES, RING)
        self.content: Content = {}
        self.numbers = random.Random(seed)
        self.reader = LateValues(VALUES, RING)

    def write(self, writes: dict[bytes, bytes | None]) -> ValuesStep:
        """A block."""
        step = self.values.compute_step(sorted(writes.items()))
        self.store.write(step.operations)
        self.values.adopt(step)
        for key, value in writes.items():
            if value is None:
                self.content.pop(key, None)
            else:
                self.content[key] = value
        return step

    def write_some(self, count: int = 6, longest: int = 4) -> ValuesStep:
        """A block of changed, new and removed keys."""
        draw = self.numbers
        keys = sorted({b"%c/%02d" % (draw.choice(b"ab"), draw.randrange(KEYS)) for _ in range(draw.randint(1, count))})
        return self.write(
            {key: None if draw.random() < 0.3 else draw.randbytes(draw.randint(0, longest)) for key in keys}
        )

    def restart(self) -> None:
        """Power fails, and comes back: for the writer, whose readers end with it."""
        self.store = self.store.after_power_loss()
        self.values, self.reader = self.load(), LateValues(VALUES, RING)

    def load(self) -> LateValues:
        """The values from the store alone."""
        loaded = LateValues(VALUES, RING)
        loaded.catch_up(self.store)
        return loaded

    def check(self, values: LateValues) -> None:
        """Every kind of read gives the content."""
        expected = sorted(self.content.items())
        assert list(values.scan(self.store)) == expected
        keys = [b"%c/%02d" % (letter, number) for letter in b"ab" for number in range(KEYS)]
        assert values.get_many(self.store, keys) == self.content
        get = values.bind(lambda key: self.store.get(VALUES, key))
        for key in self.numbers.sample(keys, 12):
            assert values.get(self.store, key) == get(key) == self.content.get(key)
        start = self.numbers.choice(keys)
        for prefix in (b"a/", b"b/1", b""):
            found = [pair for pair in expected if pair[0].startswith(prefix) and pair[0] >= start]
            assert list(values.scan(self.store, prefix, start=start)) == found


LIMITS = {
    "as they are": {},
    "few turns": {"RANGES": 3, "_SAMPLE": 1},
    "one turn": {"RANGES": 1, "_SAMPLE": 1},
    "long values": {"WAITING_BYTES_MAX": 1},
    "large blocks": {"RANGES": 4, "TURN_BYTES_MAX": 3 * ENTRY_BYTES},
    "many keys": {"RANGES": 4, "KEYS_BYTES_MAX": 20},
    "everything": {"RANGES": 5, "_SAMPLE": 2, "KEYS_BYTES_MAX": 22, "TURN_BYTES_MAX": 4 * ENTRY_BYTES,
                   "WAITING_BYTES_MAX": 3},
}  # fmt: skip


def set_limits(monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(late_values, name, value)
    monkeypatch.setattr(late_turns, "TURNS", limits.get("RANGES", TURNS))


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS.keys())
def test_all_readers_see_what_was_written(limits: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer, a reader that looks now and then, one that has just come, and a copy of an earlier moment; and power
    may fail after any block."""
    set_limits(monkeypatch, limits)
    ledger = Ledger()
    for _ in range(12 * TURNS):
        ledger.write_some()
        ledger.check(ledger.values)
        ledger.check(ledger.load())
        if ledger.numbers.random() < 0.3:
            ledger.reader.catch_up(ledger.store)
            ledger.check(ledger.reader)
        if ledger.numbers.random() < 0.05:
            copy, before = ledger.values.copy(), ledger.content.copy()
            with ledger.store.snapshot() as view:
                for _ in range(ledger.numbers.choice([1, 2 * TURNS])):  # the reader misses more than the ring holds
                    ledger.write_some()
                assert dict(copy.scan(view)) == before
        if ledger.numbers.random() < 0.1:
            ledger.restart()


def test_a_block_writes_one_range_of_keys() -> None:
    """In a steady load: what a block writes lies together, but for the few keys that new bounds left behind; and all
    ranges together are all keys. So it shares its pages."""
    ledger = Ledger()
    draw = random.Random(5)
    keys = sorted(draw.randbytes(8) for _ in range(4_000))
    place_of = {key: place for place, key in enumerate(keys)}

    def write() -> list[int]:
        step = ledger.write({key: draw.randbytes(4) for key in draw.sample(keys, 160)})
        return sorted(place_of[key] for key in step.written)

    for _ in range(4 * RANGES):
        write()
    apart = total = 0
    for _ in range(2 * RANGES):
        places = write()
        width = len(keys) * 3 // (2 * RANGES)
        most = max(sum(1 for place in places if 0 <= place - first < width) for first in places)
        apart, total = apart + len(places) - most, total + len(places)
    assert apart <= total // 50
    assert 100 < total / (2 * RANGES) < 150, "what changed twice meanwhile is written once"


def test_nothing_waits_longer_than_its_place_in_the_ring() -> None:
    """A value is in its table `RANGES` blocks after its own at the latest, whatever is drawn meanwhile."""
    ledger = Ledger()
    history: list[Content] = []
    for _ in range(6 * RANGES):
        ledger.write_some()
        history.append(ledger.content.copy())
        if len(history) > RANGES:
            stored = dict(ledger.store.scan(VALUES))
            last = {key for content in history[-RANGES - 1 :] for key in content if content != history[-1]}
            kept = {key for turn in ledger.values._turns for key in turn.keys}
            untouched = [key for key in last | set(stored) | set(ledger.content) if key not in kept]
            assert all(stored.get(key) == ledger.content.get(key) for key in untouched)
    assert any(turn.values for turn in ledger.values._turns)


@pytest.mark.parametrize(("name", "limit"), [("TURN_BYTES_MAX", 4 * ENTRY_BYTES), ("KEYS_BYTES_MAX", 16)])
def test_what_waits_is_bounded(name: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the writer and in a reader."""
    monkeypatch.setattr(late_values, name, limit)
    ledger = Ledger()
    for _ in range(4 * RANGES):
        ledger.write_some(count=20)
        ledger.reader.catch_up(ledger.store)
        for values in (ledger.values, ledger.reader):
            assert len(values._turns) <= RANGES
            for turn in values._turns:
                assert sum(ENTRY_BYTES + len(key) for key in turn.keys) <= late_values.TURN_BYTES_MAX
                assert sum(map(len, turn.keys)) <= late_values.KEYS_BYTES_MAX
            assert sum(len(turn.values) for turn in values._turns) >= len(values._waiting)


def test_a_long_value_is_written_once() -> None:
    """It does not wait, and the ring holds its key alone; a shorter one that waited is forgotten."""
    ledger = Ledger()
    ledger.write({b"k": b"short"})
    step = ledger.write({b"k": bytes(late_values.WAITING_BYTES_MAX + 1)})
    assert step.written == {b"k": ledger.content[b"k"]}
    assert all(len(data) < 40 for _, data in ledger.store.scan(RING))
    for values in (ledger.values, ledger.load()):
        assert values.get(ledger.store, b"k") == ledger.store.get(VALUES, b"k") == ledger.content[b"k"]


def test_scans_take_no_time_for_what_they_do_not_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor for what they do not come to. A contract pays for what a scan gives, so it could fill a map, empty it, and
    scan it for all the gas of a block: with 35,000 removed keys that wait, each of 280,000 scans took 29 ms."""
    ledger, count = Ledger(), 400
    for start in range(0, 2 * count, count // 4):
        ledger.write(
            {
                b"m/%d" % (number % count): None if start >= count else b"v"
                for number in range(start, start + count // 4)
            }
        )
    ledger.write({b"n/%d" % number: b"v" for number in range(count)})
    ledger.reader.catch_up(ledger.store)
    looks = 0

    def find_range(keys: list[bytes], low: bytes, end: bytes | None) -> list[bytes]:
        nonlocal looks
        found = find(keys, low, end)
        looks += len(found)
        return found

    find = late_values._range
    monkeypatch.setattr(late_values, "_range", find_range)
    for values in (ledger.values, ledger.reader):
        looks = 0
        for _ in range(100):
            assert list(values.scan(ledger.store, b"m/")) == []
            assert list(values.scan(ledger.store, b"o/")) == []
            assert next(values.scan(ledger.store, b"n/")) == (b"n/0", b"v")
        assert looks <= 2 * count
    assert not any(key.startswith(b"m/") for key, _ in ledger.store.scan(VALUES)), "no rows that a scan would pass"
    ledger.write({b"m/1": b"again"})
    assert list(ledger.values.scan(ledger.store, b"m/")) == [(b"m/1", b"again")]


def test_a_view_from_before_a_known_turn_is_refused() -> None:
    """What waits is newer than it; and where the ring lost its newest turn, every later one would be overlooked."""
    ledger = Ledger()
    ledger.write({b"k": b"first"})
    with ledger.store.snapshot() as view:
        ledger.write({b"k": b"second"})
        ledger.reader.catch_up(ledger.store)
        with pytest.raises(InvariantViolation, match="known turns"):
            ledger.reader.catch_up(view)
    ledger.store.write([Delete(RING, b"newest")])
    with pytest.raises(InvariantViolation, match="known turns"):
        ledger.reader.catch_up(ledger.store)


def test_a_reader_follows_the_store_through_installed_snapshots() -> None:
    """Two that were installed unseen: the same tables and turns, and another state."""

    def write(generation: int, value: bytes) -> None:
        state = WorldState(store, generation)
        update = state.compute_update(store, sorted([(b"k", value), (value, b"")]))
        store.write(update.operations)

    store, follower = MemoryStore(STATE_TABLES), StateFollower()
    write(0, b"first")
    with follower.open(store.snapshot()) as state:
        assert (state.get(b"k"), list(state.scan(b"f"))) == (b"first", [(b"first", b"")])
    write(0, b"faster")
    with follower.open(store.snapshot()) as state:
        assert (state.get(b"k"), [key for key, _ in state.scan(b"f")]) == (b"faster", [b"faster", b"first"])
    write(1, b"second")
    store.write([install_generation(store)])
    with follower.open(store.snapshot()) as state:
        assert state.get(b"k") == b"second" and state.get(b"first") is None
    for generation, value in ((0, b"third"), (1, b"fourth")):
        store.write([*clear(store, generation)])
        write(generation, value)
        store.write([install_generation(store)])
    with follower.open(store.snapshot()) as state:
        assert (state.get(b"k"), list(state.scan(b"f"))) == (b"fourth", [(b"fourth", b"")])
        assert state.get(b"second") is None


def clear(store: MemoryStore, generation: int) -> list[Delete]:
    return [Delete(table, key) for table in GENERATIONS[generation] for key, _ in store.scan(table)]


# --- the ring ---

keys = st.binary(min_size=1, max_size=480)
turns = st.dictionaries(keys, st.none() | st.binary(max_size=600), max_size=20)


@given(turns, st.integers(1, 2**64 - 1))
def test_a_turn_is_read_as_it_was_written(content: dict[bytes, bytes | None], number: int) -> None:
    """None stands for a value that does not wait."""
    values = {key: value for key, value in sorted(content.items()) if value is not None}
    turn = Turn(number, sorted(content), values)
    store = MemoryStore(STATE_TABLES)
    store.write(turn_operations(RING, turn))
    assert list(read_turns(store, RING, number - 1)) == [turn]
    assert list(read_turns(store, RING, number)) == []


def test_a_turn_that_is_lost_or_damaged_is_noticed() -> None:
    """A reader that misses one would read what a table held before it."""
    ledger = Ledger()
    ledger.write({b"k": b"first", b"l": None})
    ledger.write({b"k": b"second"})
    place, data = next(pair for pair in ledger.store.scan(RING) if pair[0] == b"\x02")
    number = (2).to_bytes(8, "big")

    def record(count: int, lengths: list[int], content: bytes) -> bytes:
        return number + count.to_bytes(4, "big") + b"".join(each.to_bytes(2, "big") for each in lengths) + content

    assert data == record(1, [1, 6], b"ksecond")
    wrong: list[Write] = [
        (place, None),
        (place, b""),
        (place, (18).to_bytes(8, "big") + data[8:]),
        *((place, data[:end]) for end in range(8, len(data))),
        (place, data + b"\x00"),
        (place, record(2, [1, 1, 0, 0], b"lk")),
        (place, record(2, [1, 1, 0, 0], b"kk")),
        (place, record(1, [0, 1], b"v")),
        (place, record(2**32 - 1, [1, 6], b"ksecond")),
        (b"newest", (3).to_bytes(8, "big")),
    ]
    for key, value in wrong:
        store = ledger.store.after_power_loss()
        ledger.store = store
        store.write([Delete(RING, key) if value is None else Put(RING, key, value)])
        with pytest.raises(InvariantViolation, match="damaged"):
            ledger.load()
        store.write([Put(RING, place, data), Put(RING, b"newest", number)])
    assert list(ledger.load().scan(ledger.store)) == [(b"k", b"second")]
