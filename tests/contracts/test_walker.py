"""The walker defines the language; the closures must not differ from it, for programs of every kind."""

import statistics
from unittest.mock import patch

import pytest
from contracts_fuzz.__main__ import Campaign

from contracts.language import BINARY_OPERATORS, BUILTINS, COMPARISONS, CONTEXT_NAMES, HOST_FUNCTIONS, VALUE_METHODS
from contracts.operations import BINARY, bit_or
from contracts.tree import KINDS

PROGRAMS = 2_000
"""What a minute of this machine runs; longer campaigns are in README.md of this folder."""
SEED = 7_000_000_000


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    """All programs, run once by both; stops at the first difference, with the program's source."""
    campaign = Campaign()
    for number in range(PROGRAMS):
        campaign.run(SEED + number)
    return campaign


def test_closures_and_walker_never_differ(campaign: Campaign) -> None:
    """Result, gas, writes, events, code and memory are the same after every block; nobody met INTERNAL."""
    assert campaign.tally.programs == PROGRAMS
    assert not [outcome for outcome in campaign.tally.outcomes if "INTERNAL" in outcome]


def test_the_programs_are_worth_running(campaign: Campaign) -> None:
    """Large enough, mostly running past deploy, many to their end."""
    tally = campaign.tally
    assert statistics.median(tally.sizes) >= 60
    assert tally.past_deploy >= PROGRAMS * 8 // 10
    assert tally.outcomes["ok "] >= PROGRAMS


def test_the_programs_cover_the_language(campaign: Campaign) -> None:
    """Every kind of node, operator, comparison, builtin, method, kit function and name of ctx occurs."""
    expected = set(KINDS)
    expected |= {f"binary {symbol!r}" for symbol in BINARY_OPERATORS.values()}
    expected |= {f"compare {symbol!r}" for symbol in COMPARISONS.values()}
    expected |= {f"builtin {name!r}" for name in BUILTINS if name != "sorted"}
    expected |= {f"method {name!r}" for name in VALUE_METHODS}
    expected |= {f"host {name!r}" for name in HOST_FUNCTIONS}
    expected |= {f"ctx {name!r}" for name in CONTEXT_NAMES}
    assert not {name for name in expected if campaign.tally.kinds[name] < 5}


def test_the_programs_meet_the_faults(campaign: Campaign) -> None:
    """Every kind of failure that a program of one contract can have is met too."""
    met = {outcome.split(" ")[1] for outcome in campaign.tally.outcomes}
    assert met >= {"OUT_OF_GAS", "TYPE", "OVERFLOW", "VALUE", "INDEX", "KEY", "UNBOUND", "DIVISION", "MEMORY"}
    assert met >= {"DEPTH", "AMOUNT", "READ_ONLY", "METHOD", "ROLE"}


def test_a_difference_is_found() -> None:
    """With one operator wrong in the closures, a few programs are enough."""
    with patch.dict(BINARY, {"^": bit_or}), pytest.raises(AssertionError, match="closures"):
        campaign = Campaign()
        for number in range(200):
            campaign.run(SEED + number)


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
    with patch("contracts.machine.MEMORY_CELLS_MAX", cells):
        Campaign().compare(6, STORED_ROWS)
