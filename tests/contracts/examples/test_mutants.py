"""Each invariant of the examples can fail: one wrong line, and random calls break the promise that it was made for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from contracts.compiler import compile_source
from contracts.state_machine import contract_machine
from contracts.testing import Chain, Deployed

EXAMPLES = Path(__file__).parents[3] / "contracts" / "examples"
SETTINGS = settings(
    # The first run that breaks the invariant ends the search, most often within fifty. What is drawn depends on the
    # constants of every module that is loaded, so three hundred came back with nothing now and then.
    max_examples=3_000,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
WRONG_LINES = [
    (
        "time_of_use",
        "self.balances.move(customer, self.supplier, amount)",
        "self.balances.mint(self.supplier, amount)",
        "all_accounts_sum_to_nothing",
    ),
    (
        "time_of_use",
        'require(effective_from > self.plans[-1].effective_from, "NOT_AFTER_THE_LAST")',
        "pass",
        "plans_are_in_order",
    ),
    ("battery_pool", "self.charged += wh", "pass", "energy_is_conserved"),
    ("battery_pool", "require(self.stored[home] + credited <= self.shares[home]", "require(self.shares[home] > 0",
     "everybody_is_within_a_share"),
    ("battery_pool", "self.stored.mint(home, credited)", "self.stored.mint(ctx.address, credited)",
     "stored_energy_has_an_owner"),
    ("battery_pool", 'require(others + share <= self.capacity, "NO_CAPACITY")', "pass", "shares_fit_into_the_battery"),
    ("certificate_swap", "self.cents.move(ctx.sender, ctx.address, cents)", "self.cents.mint(ctx.address, cents)",
     "nothing_is_made_or_lost"),
    ("certificate_swap", "KEPT_PPM = 997_000", "KEPT_PPM = 1_003_000", "a_swap_never_lowers_the_product"),
    ("certificate_swap", "self.take(certificates, cents)", "pass", "shares_mean_a_filled_pool"),
    ("community_vote", "question = counted(question, ballots[ctx.sender], -1)", "pass", "every_ballot_is_counted_once"),
    ("community_vote", "len(self.members.keys()), 0, 0, OPEN", "0, 0, 0, OPEN", "nobody_votes_twice"),
    ("community_vote", "self.open_count -= 1", "pass", "open_questions_are_counted"),
]  # fmt: skip
DRAWN: Mapping[str, Mapping[str, Any]] = {
    "time_of_use": {
        "effective_from": st.integers(1_750_004_000, 1_753_000_000),
        "publish.bands": st.just([[0, 1]]),
        "start": st.integers(1_944_000, 1_944_443).map(lambda quarter: quarter * 900),
    },
    "battery_pool": {"share": st.sampled_from([0, 6_000]), "wh": st.sampled_from([1, 500, 7_000])},
    "certificate_swap": {
        "certificates": st.integers(1, 50_000),
        "cents": st.integers(1, 50_000),
        "shares": st.integers(1, 50_000),
        "cents_most": st.integers(1_000, 50_000),
        "cents_least": st.just(0),
        "certificates_least": st.just(0),
    },
    "community_vote": {"seconds": st.integers(3_600, 200_000), "number": st.integers(1, 2), "text": st.just("Why?")},
}


def deploy(name: str, source: bytes, chain: Chain, accounts: list[bytes]) -> Deployed:
    """The contract as its own tests deploy it."""
    first = accounts[0]
    if name == "time_of_use":
        return chain.deploy(source, supplier=first, bands=[[0, 100]])
    if name == "battery_pool":
        return chain.deploy(source, operator=first, capacity=10_000, efficiency=900_000)
    if name == "community_vote":
        return chain.deploy(source, members=accounts, quorum=50)
    contract = chain.deploy(source, registrar=first)
    for account in accounts:
        contract.issue(account, 100_000, 100_000, sender=first)
    return contract


def run(name: str, source: bytes) -> None:
    machine = contract_machine(
        lambda chain, accounts: deploy(name, source, chain, accounts), arguments=DRAWN[name], accounts=2
    )
    run_state_machine_as_test(machine, settings=SETTINGS)


@pytest.mark.parametrize(("name", "right", "wrong", "broken"), WRONG_LINES, ids=[line[3] for line in WRONG_LINES])
def test_a_wrong_line_breaks_its_invariant(name: str, right: str, wrong: str, broken: str) -> None:
    """By name: the invariant says what was lost."""
    source = (EXAMPLES / f"{name}.py").read_text()
    assert source.count(right) == 1
    with pytest.raises(AssertionError, match=rf"the invariant {name}\.{broken} does not hold"):
        run(name, source.replace(right, wrong).encode())


def test_every_invariant_of_every_example_has_its_wrong_line() -> None:
    """None that nothing can break."""
    there = {
        (path.stem, function.name)
        for path in EXAMPLES.glob("[a-z]*.py")
        for function in compile_source(path.read_bytes()).functions
        if function.kind == "invariant"
    }
    assert there == {(name, broken) for name, _, _, broken in WRONG_LINES}
