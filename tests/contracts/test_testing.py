"""The chain that authors test with: it says what went wrong, and undoes what it promises to undo."""

from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.pytest_plugin import GasMeter
from contracts.testing import CallFailedError, Chain, Deployed

SOURCE = b"""
from contracts import Address, Contract, Event, ctx, emit, external, invariant, require, schedule, scheduled, view


class Added(Event):
    who: Address
    by: int


class Counter(Contract):
    count: int

    @external
    def add(self, by: int, times: int = 1) -> int:
        require(by != 13, "UNLUCKY")
        for step in range(times):
            self.count += by
            emit(Added(ctx.sender, by))
        return self.count

    @external
    def later(self, seconds: int) -> None:
        schedule(ctx.time + seconds, "tick")

    @scheduled
    def tick(self) -> None:
        self.count += 1000

    @view
    def value(self) -> int:
        return self.count

    @invariant
    def small(self) -> bool:
        return self.count < 10_000
"""


@pytest.fixture
def ann(chain: Chain) -> bytes:
    return chain.accounts(1)[0]


@pytest.fixture
def counter(chain: Chain) -> Deployed:
    return chain.deploy(SOURCE)


def test_the_plug_in_is_found_by_its_entry_point() -> None:
    """What `pip install` gives an author: the module that this file's fixture comes from."""
    setup = (entry.value for entry in entry_points(group="pytest11") if entry.name == "gridquorum")
    assert set(setup) == {"contracts.pytest_plugin"}


def test_an_event_is_asked_for_by_name_and_fields(counter: Deployed, ann: bytes) -> None:
    """Exactly one; else the failure says what there was."""
    receipt = counter.add(7, sender=ann)
    assert receipt.event("Added", by=7).fields == {"who": ann, "by": 7}
    with pytest.raises(AssertionError, match=r"0 events Added\(\{'by': 8\}\), not 1; there is Added"):
        receipt.event("Added", by=8)
    with pytest.raises(AssertionError, match="2 events Added"):
        counter.add(7, 2, sender=ann).event("Added", by=7)


def test_gas_of_several_calls_has_a_limit(chain: Chain, counter: Deployed, ann: bytes) -> None:
    """The sum of what is inside, and only of that."""
    gas = counter.add(1, sender=ann).gas
    with chain.gas_within(2 * gas):
        counter.add(1, sender=ann)
        counter.add(1, sender=ann)
    with pytest.raises(AssertionError, match="more than"), chain.gas_within(gas - 1):
        counter.add(1, sender=ann)


def test_a_snapshot_undoes_all_of_it(chain: Chain, counter: Deployed, ann: bytes) -> None:
    """State, time, height, what is due, what ran, contracts and gas."""
    counter.later(60, sender=ann)
    before = (dict(chain.state), chain.time, chain.height, chain.next_due, chain.gas_used)
    with chain.snapshot():
        assert [outcome.outcome.status for outcome in chain.advance(60)] == ["ok"]
        chain.deploy(SOURCE, name="other")
        assert counter.add(1, sender=ann).result == 1_001
    assert (dict(chain.state), chain.time, chain.height, chain.next_due, chain.gas_used) == before
    assert (chain.scheduled, list(chain.contracts)) == ([], ["counter"])
    chain.advance(60)
    assert counter.value() == 1_000


def test_a_fork_goes_on_by_itself(chain: Chain, counter: Deployed, ann: bytes) -> None:
    """The same contracts with the same data, and neither sees what the other does; accounts stay new."""
    counter.add(1, sender=ann)
    counter.later(60, sender=ann)
    fork = chain.fork()
    other = fork.contracts["counter"]
    assert fork.accounts(1) == chain.accounts(1) != [ann]
    fork.advance(60)
    assert (other.value(), counter.value()) == (1_001, 1)
    counter.add(1, sender=ann)
    assert (other.value(), counter.value()) == (1_001, 2)


def test_the_wrong_code_and_no_failure_are_failures(chain: Chain, counter: Deployed, ann: bytes) -> None:
    """`reverts` hides nothing."""
    with chain.reverts("UNLUCKY"):
        counter.add(13, sender=ann)
    with pytest.raises(CallFailedError, match="UNLUCKY"), chain.reverts("OTHER"):
        counter.add(13, sender=ann)
    with pytest.raises(AssertionError, match="nothing failed with UNLUCKY"), chain.reverts("UNLUCKY"):
        counter.add(12, sender=ann)


def test_a_broken_invariant_is_named(counter: Deployed, ann: bytes) -> None:
    """After the call that broke it."""
    with pytest.raises(AssertionError, match=r"the invariant counter\.small does not hold"):
        counter.add(10_000, sender=ann)


def test_the_meter_sums_up_calls_that_worked() -> None:
    """By contract and method; a call that failed would only blur it."""
    meter = GasMeter()
    contract: Any = SimpleNamespace(tree=SimpleNamespace(name="Counter"))
    for status, gas in (("ok", 5), ("ok", 3), ("reverted", 1), ("ok", 9)):
        outcome: Any = SimpleNamespace(status=status, gas_used=gas)
        meter.watch(contract, "add", outcome)
    assert meter.summarise() == [
        {"contract": "Counter", "method": "add", "calls": 3, "least": 3, "middle": 5, "most": 9}
    ]
