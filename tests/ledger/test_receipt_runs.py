"""Sorted runs beside a dictionary: whatever is added in whatever order, found after each step and each power loss."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import receipt_runs
from ledger.errors import EncodingError
from ledger.receipt_runs import (
    ENTRY_BYTES,
    FAN,
    RUNS_TABLE,
    Directory,
    Merges,
    compute_run,
    find_value,
    parse_directory,
)
from ledger.store import MemoryStore

KEYS = [bytes([number]) * 16 for number in range(24)] + [bytes(15) + bytes([number]) for number in range(1, 9)]

runs = st.lists(st.dictionaries(st.sampled_from(KEYS), st.integers(0, 99), min_size=1, max_size=12), max_size=24)


@pytest.fixture
def small() -> Iterator[None]:
    """Few entries fill a row, so that a merge takes many steps."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(receipt_runs, "ROW_ENTRIES", 2)
        patched.setattr(receipt_runs, "FAN", 3)
        yield


def value_of(number: int) -> bytes:
    return number.to_bytes(12, "big")


class Table:
    """An index of runs in a store."""

    def __init__(self) -> None:
        self.store = MemoryStore((RUNS_TABLE,))
        self.directory = Directory()
        self.merges = Merges()

    def add(self, entries: dict[bytes, bytes]) -> None:
        operations, directory = self.merges.compute_steps(self.store, self.directory, len(entries))
        run, directory = compute_run(directory, entries)
        self.store.write([*operations, *run])
        self.directory = parse_directory(directory.to_value())

    def find(self, key: bytes) -> bytes | None:
        return find_value(self.store, self.directory, key)


@pytest.mark.usefixtures("small")
@given(runs)
def test_every_entry_is_found_while_runs_are_merged(added: list[dict[bytes, int]]) -> None:
    """The greatest value of each key, and nothing for the others; no row is longer than a page."""
    table, model = Table(), dict[bytes, bytes]()
    for step, numbers in enumerate(added):
        entries = {key: value_of(number) for key, number in numbers.items()}
        table.add(entries)
        model.update({key: max(value, model.get(key, b"")) for key, value in entries.items()})
        if step % 5 == 4:
            table.merges = Merges()  # a start
        assert {key: table.find(key) for key in KEYS} == {key: model.get(key) for key in KEYS}
        assert all(0 < len(row) <= 2 * ENTRY_BYTES for _, row in table.store.scan(RUNS_TABLE))


def test_runs_stay_few_and_their_rows_full() -> None:
    """Of so many runs a logarithm is left; all entries are there once, nearly all of them in full rows."""
    table, count = Table(), 8 * FAN * FAN
    size = 2 * receipt_runs.ROW_ENTRIES
    for number in range(count):
        numbers = range(number * size, (number + 1) * size)
        table.add({(n * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big") * 2: value_of(n) for n in numbers})
    rows = [row for _, row in table.store.scan(RUNS_TABLE)]
    assert sum(map(len, rows)) == count * size * ENTRY_BYTES
    assert len(rows) <= 1.1 * count * size / receipt_runs.ROW_ENTRIES
    assert len(list(table.directory.runs())) <= 2 * FAN * len(table.directory.levels) <= 8 * FAN
    assert table.find((7 * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big") * 2) == value_of(7)


def test_a_step_is_bounded_whatever_the_keys_are() -> None:
    """Keys that somebody has chosen, all beside each other: a write moves what the block pays for, and a row of each
    run more at most."""
    table, added = Table(), 300
    for number in range(200):
        before = {key for key, _ in table.store.scan(RUNS_TABLE)}
        table.add({bytes(8) + (number * added + n).to_bytes(8, "big"): value_of(n) for n in range(added)})
        new = [row for key, row in table.store.scan(RUNS_TABLE) if key not in before]
        assert sum(map(len, new)) / ENTRY_BYTES <= len(table.directory.levels) * 12 * added + FAN * 145


@pytest.mark.parametrize("value", [[], [0], [-1, []], [0, [[]]], [0, [[[-1], None]]], [0, [[[], -1]]], [0, b""]])
def test_a_directory_that_is_none(value: object) -> None:
    """Damage of the disk is told, not followed."""
    with pytest.raises(EncodingError):
        parse_directory(value)  # type: ignore[arg-type]
