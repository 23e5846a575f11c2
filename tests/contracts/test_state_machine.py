"""The state machine finds what it is for: a broken invariant, in the fewest calls, from the ABI alone."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from contracts.hints import Hint
from contracts.state_machine import contract_machine, draw_values
from contracts.testing import Chain
from contracts.tree import Parameter, Record

LEAKY = """
from contracts import Address, Contract, Ledger, Map, ctx, external, invariant, schedule, scheduled, view


class Leaky(Contract):
    balance: Map[Address, int]
    spent: int
    late: bool

    @external
    def earn(self, target: Address) -> None:
        self.balance[target] += 10

    @external
    def spend(self, amount: int) -> None:
        if amount > 0 and amount <= 30 and self.balance[ctx.sender] >= amount:
            self.balance[ctx.sender] -= amount
            self.spent += amount

    @external
    def later(self) -> None:
        schedule(ctx.time + 60, "set_late")

    @scheduled
    def set_late(self) -> None:
        self.late = True

    @invariant
    def holds(self) -> bool:
        return RULE
"""
SETTINGS = settings(
    max_examples=60,
    stateful_step_count=10,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def write(tmp_path: Path, rule: str) -> Path:
    path = tmp_path / "leaky.py"
    path.write_text(LEAKY.replace("RULE", rule))
    return path


def run(path: Path, **options: Any) -> None:
    run_state_machine_as_test(contract_machine(path, **options), settings=SETTINGS)


def test_a_broken_invariant_is_found_and_shrunk(tmp_path: Path) -> None:
    """One earning and one call that spends: what hypothesis shows is a row of calls to read."""
    with pytest.raises(AssertionError, match=r"the invariant leaky\.holds does not hold") as failure:
        run(write(tmp_path, "self.spent == 0"))
    shown = "\n".join(failure.value.__notes__)
    assert shown.count("state.call_earn(") == 1
    assert shown.count("state.call_spend(") == 1
    assert "state.call_later(" not in shown


def test_time_passes_and_what_is_due_runs(tmp_path: Path) -> None:
    """An invariant that only a scheduled call breaks."""
    with pytest.raises(AssertionError, match=r"leaky\.holds"):
        run(write(tmp_path, "not self.late"))


def test_what_the_test_says_to_draw_is_drawn(tmp_path: Path) -> None:
    """By parameter, or by method and parameter; a name that fits nothing is an error."""
    path = write(tmp_path, "self.spent == 0")
    run(path, arguments={"amount": st.just(0)})
    with pytest.raises(AssertionError, match=r"leaky\.holds"):
        run(path, arguments={"spend.amount": st.just(3), "amount": st.just(0)})
    with pytest.raises(ValueError, match="amuont"):
        contract_machine(path, arguments={"amuont": st.just(0)})


def test_a_contract_without_methods_has_no_machine(tmp_path: Path) -> None:
    """Nothing could be called."""
    path = tmp_path / "still.py"
    path.write_text("from contracts import Contract\n\n\nclass Still(Contract):\n    count: int\n")
    with pytest.raises(ValueError, match="no @external method"):
        contract_machine(path)


@given(st.data())
@settings(max_examples=20)
def test_every_drawn_value_is_one_of_its_type(data: st.DataObject) -> None:
    """What the strategies draw crosses the boundary: no call fails with ARGUMENTS."""
    pair = Record("Pair", (Parameter("a", Hint("int")), Parameter("b", Hint("optional", arguments=(Hint("bytes"),)))))
    hints = [
        Hint("list", arguments=(Hint("struct", name="Pair"),)),
        Hint("tuple", arguments=(Hint("str"), Hint("bool"))),
        Hint("dict", arguments=(Hint("address"), Hint("none"))),
    ]
    source = b"""
from contracts import Address, Contract, Struct, external


class Pair(Struct):
    a: int
    b: bytes | None


class Taker(Contract):
    calls: int

    @external
    def take(self, x: list[Pair], y: tuple[str, bool], z: dict[Address, None]) -> None:
        self.calls += 1
"""
    chain = Chain()
    accounts = chain.accounts(2)
    taker = chain.deploy(source)
    values = [data.draw(draw_values(hint, accounts, {"Pair": pair})) for hint in hints]
    taker.take(*values, sender=accounts[0])
