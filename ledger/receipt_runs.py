"""Sorted runs of an index: what is written once, in order, and merged later (a log-structured merge tree).

An index whose keys are random dirties a page of its table for each new entry: more to write than all else that a block
adds, and the larger the table, the more. So entries go to the table by the thousand, as a *run*: sorted, packed many to
a row, beside the runs that are there. `FAN` runs of a level are merged into one of the next, a few rows with each
block, so that no block waits for it, and each entry is written once for each level: one level more for eight times the
entries.

A merge moves the lowest entries of its runs to its output, in the write of a block, and takes them out of the runs.
So at every moment each entry stands in exactly one run, readers look into all of them, and a crash between two steps
leaves nothing to repair. A step is bounded by its number of entries, whatever their keys are: nobody can make a block
wait by choosing them.

An entry is a key and a value of fixed lengths. Of entries with the same key the greatest value stays. Nothing is
written here: operations are returned, and the directory of runs is a value.

P. O'Neil et al., The Log-Structured Merge-Tree, Acta Informatica 33 (1996).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from ledger.encoding import Value
from ledger.shapes import expect_array, expect_int
from ledger.store import Delete, Operation, PutMany, ReadView

RUNS_TABLE: Final = "receipt_runs"  # run, first key of the row -> entries, ascending

KEY_BYTES: Final = 16
VALUE_BYTES: Final = 12
ENTRY_BYTES: Final = KEY_BYTES + VALUE_BYTES
ROW_ENTRIES: Final = 145
"""A row of 4,060 bytes with its checksum is a page of LMDB's, whose header takes 16 of 4,096."""
FAN: Final = 8
"""Runs that are merged into one: more would be more to look through, fewer another level, and each is another write."""
MERGE_FACTOR: Final = 2
"""Entries that each level moves for a new one. One would do to keep up; the faster, the fewer runs there are."""
ROWS_OF_A_STEP: Final = 2
"""Of each run, at least: of what a step reads, an eighth cannot be moved yet and is written back."""

_RUN_BYTES: Final = 8
_RUN_MAX: Final = 2**63 - 1
_LEVELS_MAX: Final = 32  # 8^32 runs: more than there are numbers
_RUNS_MAX: Final = 4_096  # of a level

Entry = bytes
"""Key and value in one."""


@dataclass(frozen=True, slots=True)
class Level:
    """Runs of about the same size, oldest first; the first `FAN` are being merged where there is an output."""

    runs: tuple[int, ...] = ()
    output: int | None = None


@dataclass(frozen=True, slots=True)
class Directory:
    """Which runs there are."""

    next_run: int = 0
    levels: tuple[Level, ...] = ()

    def runs(self) -> Iterator[int]:
        """All runs, small ones first."""
        for level in self.levels:
            yield from reversed(level.runs)
            if level.output is not None:
                yield level.output

    def to_value(self) -> Value:
        """What is stored."""
        return [self.next_run, [[list(level.runs), level.output] for level in self.levels]]

    def _with_level(self, number: int, level: Level) -> "Directory":
        levels = [*self.levels, Level()] if number == len(self.levels) else list(self.levels)
        levels[number] = level
        return replace(self, levels=tuple(levels))

    def _add_run(self, number: int, run: int) -> "Directory":
        level = self.levels[number] if number < len(self.levels) else Level()
        return self._with_level(number, replace(level, runs=(*level.runs, run)))


def parse_directory(value: Value) -> Directory:
    """A directory from what was stored. Raises EncodingError."""
    next_run, listed = expect_array(value, "directory", 2)
    levels = []
    for item in expect_array(listed, "levels")[:_LEVELS_MAX]:
        runs, output = expect_array(item, "level", 2)
        levels.append(
            Level(
                tuple(expect_int(run, "run", 0, _RUN_MAX) for run in expect_array(runs, "runs")),
                None if output is None else expect_int(output, "output", 0, _RUN_MAX),
            )
        )
    return Directory(expect_int(next_run, "next run", 0, _RUN_MAX), tuple(levels))


# --- reads ---


def find_value(view: ReadView, directory: Directory, key: bytes) -> bytes | None:
    """The greatest value of a key, in all runs."""
    found = [_find_in_run(view, run, key) for run in directory.runs()]
    return max([value for value in found if value is not None], default=None)


def _find_in_run(view: ReadView, run: int, key: bytes) -> bytes | None:
    prefix = _run_key(run)
    for _, row in islice(view.scan(RUNS_TABLE, prefix, start=prefix + key, reverse=True), 1):
        position = row.find(key)
        while position % ENTRY_BYTES and position >= 0:  # bytes that only look like it, across two entries
            position = row.find(key, position + 1)
        if position >= 0:
            return row[position + KEY_BYTES : position + ENTRY_BYTES]
    return None


# --- changes ---


def compute_run(directory: Directory, entries: Mapping[bytes, bytes]) -> tuple[list[Operation], Directory]:
    """What stores these entries (key -> value), if there are any, as a new run, and the directory with it."""
    if not entries:
        return [], directory
    run = directory.next_run
    rows = _rows(run, sorted([key + value for key, value in entries.items()]))
    return [PutMany(RUNS_TABLE, rows)], replace(directory, next_run=run + 1)._add_run(0, run)


class Merges:
    """The merges of one index: how far each is behind. Mutable, and nothing of it is stored: a start owes nothing."""

    def __init__(self) -> None:
        self._owed: dict[int, int] = {}  # level -> entries to move

    def compute_steps(self, view: ReadView, directory: Directory, added: int) -> tuple[list[Operation], Directory]:
        """What goes with a write that adds so many entries to the index; most often nothing, or one step.

        `view` shows everything that was written before: at most one step for each level can be computed from it.
        """
        operations: list[Operation] = []
        for number, level in enumerate(directory.levels):
            if level.output is None and len(level.runs) < FAN:
                self._owed.pop(number, None)
                continue
            owed = self._owed.get(number, 0) + MERGE_FACTOR * added
            rows = owed // (FAN * ROW_ENTRIES)
            if rows >= ROWS_OF_A_STEP:
                step, directory, moved = _compute_step(view, directory, number, rows)
                operations += step
                owed -= moved
            self._owed[number] = owed
        return operations, directory


def _compute_step(
    view: ReadView, directory: Directory, number: int, rows: int
) -> tuple[list[Operation], Directory, int]:
    """Moves the lowest entries of the oldest runs of a level, out of so many rows of each.

    What is behind the end of some run's last row that was read cannot be moved: that run may have entries before it.
    """
    level = directory.levels[number]
    output = level.output
    if output is None:
        output = directory.next_run
        directory = replace(directory, next_run=output + 1)._with_level(number, replace(level, output=output))
    read: list[list[Entry]] = []
    operations: list[Operation] = []
    bound: bytes | None = None  # the greatest key that may be moved; None: all
    for run in level.runs[:FAN]:
        found = list(islice(view.scan(RUNS_TABLE, _run_key(run)), rows + 1))
        entries = [entry for _, row in found[:rows] for entry in _entries(row)]
        operations += [Delete(RUNS_TABLE, key) for key, _ in found[:rows]]
        if len(found) > rows:
            last = entries[-1][:KEY_BYTES]
            bound = last if bound is None else min(bound, last)
        read.append(entries)
    values = {entry[:KEY_BYTES]: entry for entry in sorted([entry for entries in read for entry in entries])}
    merged = list(values.values())
    if bound is not None:
        movable = [entry for entry in merged if entry[:KEY_BYTES] <= bound]
        merged = movable[: max(len(movable) // ROW_ENTRIES, 1) * ROW_ENTRIES]  # rows are full
        bound = merged[-1][:KEY_BYTES]
        for run, entries in zip(level.runs, read, strict=False):
            operations.append(PutMany(RUNS_TABLE, _rows(run, [e for e in entries if e[:KEY_BYTES] > bound])))
    operations.append(PutMany(RUNS_TABLE, _rows(output, merged)))
    if bound is None:
        finished = Level(level.runs[FAN:])
        directory = directory._with_level(number, finished)._add_run(number + 1, output)
    return operations, directory, len(merged)


def _run_key(run: int) -> bytes:
    return run.to_bytes(_RUN_BYTES, "big")


def _rows(run: int, entries: Sequence[Entry]) -> list[tuple[bytes, bytes]]:
    """Ascending entries as rows of a run."""
    prefix = _run_key(run)
    return [
        (prefix + entries[first][:KEY_BYTES], b"".join(entries[first : first + ROW_ENTRIES]))
        for first in range(0, len(entries), ROW_ENTRIES)
    ]


def _entries(row: bytes) -> list[Entry]:
    return [row[first : first + ENTRY_BYTES] for first in range(0, len(row), ENTRY_BYTES)]
