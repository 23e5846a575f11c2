"""No operation of the language takes more than 100 ns of processor time for a unit of gas (CONTRACTS.md section 7)."""

import pytest
from contracts_fuzz.campaign import names_of, nodes_of
from contracts_fuzz.price_table import OPERATIONS
from contracts_fuzz.prices import TRIALS, measure, source_of
from contracts_fuzz.speed import NANOSECONDS_PER_GAS_MAX, RETRIES, Yardstick

from contracts.compiler import compile_source
from contracts.language import BINARY_OPERATORS, BUILTINS, COMPARISONS, HOST_FUNCTIONS, VALUE_METHODS
from contracts.tree import KINDS

NOT_IN_A_LOOP = {f"host {name!r}" for name in ("change_configuration", "deploy_contract", "upgrade_contract")}
"""Only one contract can call each, once in a transaction or an epoch; 5,310 and 10,250 gas at the least."""


def test_every_operation_is_worth_its_price() -> None:
    """By itself in a loop of at least 50,000 gas, the least of three and more runs, against a yardstick."""
    yardstick = Yardstick()
    measured = {name: measure(name, yardstick) for name in TRIALS}
    assert not {name: cost for name, cost in measured.items() if cost > NANOSECONDS_PER_GAS_MAX}


def test_every_operation_is_measured() -> None:
    """Every kind of node, operator, comparison, builtin, method and kit function is in the table."""
    met = {
        found for name in OPERATIONS for node in nodes_of(compile_source(source_of(name))) for found in names_of(node)
    }
    expected = set(KINDS)
    expected |= {f"binary {symbol!r}" for symbol in BINARY_OPERATORS.values()}
    expected |= {f"compare {symbol!r}" for symbol in COMPARISONS.values()}
    expected |= {f"builtin {name!r}" for name in BUILTINS if name != "sorted"}
    expected |= {f"method {name!r}" for name in VALUE_METHODS}
    expected |= {f"host {name!r}" for name in HOST_FUNCTIONS}
    assert expected - met == NOT_IN_A_LOOP


def test_a_price_that_is_too_low_is_found() -> None:
    """Work that takes 300 ns for a unit stays over the bar, however often it is measured."""
    runs: list[int] = []

    def run() -> int:
        runs.append(len(runs))
        return 300 * 50_000 * 10  # even on a machine ten times slower

    assert Yardstick().judge(run, 50_000) > NANOSECONDS_PER_GAS_MAX
    assert len(runs) == 3 * (1 + RETRIES)


def test_what_comes_before_is_taken_off_by_its_least_time() -> None:
    """A prelude that was slow once hides nothing of the work: 300 ns for a unit are not made 30."""
    preludes = iter([50_000_000, 30_000_000, 30_000_000] * (1 + RETRIES))
    runs = iter([30_000_000 + 300 * 50_000 * 10] * 3 * (1 + RETRIES))
    cost = Yardstick().judge(lambda: next(runs), 50_000, prelude=lambda: next(preludes))
    assert cost > NANOSECONDS_PER_GAS_MAX


@pytest.mark.parametrize("noise", [0, 1, 5])
def test_a_busy_machine_is_measured_again(noise: int) -> None:
    """The first measurements are disturbed; the price is right all the same."""
    times = iter([10**9] * (3 * noise) + [1_000_000] * 3)
    assert Yardstick().judge(lambda: next(times), 50_000) <= 20
