"""The walker defines the language; the closures must not differ from it, for programs of every kind."""

import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from contracts_corpus.sources import FIELDS
from contracts_fuzz.campaign import Campaign, Tally
from contracts_fuzz.ranges import SEED_STEP, Report, read_report, run_range, run_ranges

from contracts.language import BINARY_OPERATORS, BUILTINS, COMPARISONS, CONTEXT_NAMES, HOST_FUNCTIONS, VALUE_METHODS
from contracts.operations import BINARY, bit_or
from contracts.tree import KINDS

PROGRAMS = 5_000
"""About half a minute of one core; the million is run apart, its report is in README.md of this folder."""
SEED = 7


@pytest.fixture(scope="module")
def tally() -> Tally:
    """All programs, run once by both, on two cores; stops at the first difference, with the program's source."""
    report = Report("", SEED, range_programs=500)
    for _ in run_ranges(report, PROGRAMS, processes=min(2, os.cpu_count() or 1)):
        pass
    return report.tally


def test_closures_and_walker_never_differ(tally: Tally) -> None:
    """Result, gas, writes, events, code and memory are the same after every block; nobody met INTERNAL."""
    assert tally.programs == PROGRAMS
    assert tally.refused.total() <= PROGRAMS // 1_000
    assert not [outcome for outcome in tally.outcomes if "INTERNAL" in outcome]


def test_the_programs_are_worth_running(tally: Tally) -> None:
    """Large enough, mostly running past deploy, many to their end, some long enough to be timed (100 ns for a unit)."""
    assert tally.median_size() >= 60
    assert tally.past_deploy >= PROGRAMS * 8 // 10
    assert tally.outcomes["ok "] >= PROGRAMS
    assert tally.timed >= PROGRAMS // 100


def test_the_programs_cover_the_language(tally: Tally) -> None:
    """Every kind of node, operator, comparison, builtin, method, kit function and name of ctx occurs."""
    expected = set(KINDS)
    expected |= {f"binary {symbol!r}" for symbol in BINARY_OPERATORS.values()}
    expected |= {f"compare {symbol!r}" for symbol in COMPARISONS.values()}
    expected |= {f"builtin {name!r}" for name in BUILTINS if name != "sorted"}
    expected |= {f"method {name!r}" for name in VALUE_METHODS}
    expected |= {f"host {name!r}" for name in HOST_FUNCTIONS}
    expected |= {f"ctx {name!r}" for name in CONTEXT_NAMES}
    assert not {name for name in expected if tally.kinds[name] < 5}


def test_the_programs_meet_the_faults(tally: Tally) -> None:
    """Every kind of failure that a program of one contract can have is met too."""
    met = {outcome.split(" ")[1] for outcome in tally.outcomes}
    assert met >= {"OUT_OF_GAS", "TYPE", "OVERFLOW", "VALUE", "INDEX", "KEY", "UNBOUND", "DIVISION", "MEMORY"}
    assert met >= {"DEPTH", "AMOUNT", "READ_ONLY", "METHOD", "ROLE"}


def test_a_campaign_goes_on_where_it_was_left(tmp_path: Path) -> None:
    """Two ranges with a file in between are the same campaign as both at once; another commit's file is refused."""
    path = tmp_path / "report.json"
    report = Report("c0ffee", SEED, range_programs=3)
    report.add(1, *run_range(SEED, 3, 3))
    report.save(path)
    report = read_report(path, "c0ffee", SEED, 3)
    assert report.missing(9) == [0, 2]
    report.add(0, *run_range(SEED, 0, 3))
    assert report.tally.kinds == run_range(SEED, 0, 6)[0].kinds
    with pytest.raises(ValueError, match="commit"):
        read_report(path, "another", SEED, 3)


def test_a_difference_is_found() -> None:
    """With one operator wrong in the closures, a few programs are enough."""
    with patch.dict(BINARY, {"^": bit_or}), pytest.raises(AssertionError, match="closures"):
        campaign = Campaign()
        for number in range(200):
            campaign.run(SEED * SEED_STEP + number)


STORED_ROWS = """from contracts import Address, Contract, Vec, external, init


class Rows(Contract):
    rows: Vec[list[int]]

    @init
    def setup(self, other: Address) -> None:
        for n in range(4):
            self.rows.append([n, n, n, n])

    @external
    def run(self, n: int, t: str = "b") -> int:
        total = 0
        for row in self.rows:
            total += row[0]
        return total + len([row for row in self.rows])
"""


@pytest.mark.parametrize("cells", range(16, 50))
def test_a_stored_row_is_read_before_its_step_is_paid(cells: int) -> None:
    """Found by fuzzing: where memory ends while a comprehension reads storage, the step was paid on one side only."""
    campaign = Campaign()
    campaign.limit_memory(cells)
    campaign.compare(6, STORED_ROWS)


BODIES = {
    "a negative place of a row that the operand makes shorter": "row = [1, 2]\nrow[-2] += row.pop()\nreturn row[0]",
    "a place of a row that the operand makes shorter": "row = [1, 2]\nrow[1] += row.pop()\nreturn row[0]",
    "handles of different kinds": "return int(self.m == self.row) + int(self.row == self.cash)",
    "handles of different kinds inside": "return int([self.m] == [self.row]) + int(self.cash in [self.m, self.row])",
    "handles of one kind, indexed or not": "return int(self.m == self.names)",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_found_by_reading(source_of: Callable[..., bytes], body: str) -> None:
    """Programs that no random one was: both give the same, and no INTERNAL."""
    source = source_of(body, fields=FIELDS).decode().replace("def run(self)", "def run(self, n: int, t: str = '')")
    campaign = Campaign()
    campaign.compare(SEED, source)
    assert not [outcome for outcome in campaign.tally.outcomes if "ARGUMENTS" in outcome or "OUT_OF_GAS" in outcome]
