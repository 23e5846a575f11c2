"""The battery-sharing pool: losses, shares, and that no row of calls breaks its invariants."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from contracts.state_machine import contract_machine
from contracts.testing import Chain, Deployed

SOURCE = Path(__file__).parents[3] / "contracts" / "examples" / "battery_pool.py"


def deploy(chain: Chain, accounts: list[bytes]) -> Deployed:
    return chain.deploy(SOURCE, operator=accounts[0], capacity=10_000, efficiency=900_000)


@pytest.fixture
def accounts(chain: Chain) -> list[bytes]:
    return chain.accounts(3)


@pytest.fixture
def pool(chain: Chain, accounts: list[bytes]) -> Deployed:
    contract = deploy(chain, accounts)
    operator, ann, ben = accounts
    contract.set_share(ann, 6_000, sender=operator)
    contract.set_share(ben, 4_000, sender=operator)
    return contract


def test_what_is_charged_can_be_drawn_less_the_loss(chain: Chain, pool: Deployed, accounts: list[bytes]) -> None:
    """Nine tenths, rounded against the home."""
    operator, ann, _ = accounts
    receipt = pool.charge(ann, 1_001, sender=operator)
    assert receipt.result == 900 == receipt.event("Charged", home=ann, wh=1_001).fields["credited"]
    pool.draw(ann, 900, sender=operator)
    with chain.reverts("NOT_STORED"):
        pool.draw(ann, 1, sender=operator)


def test_nobody_fills_more_than_a_share(chain: Chain, pool: Deployed, accounts: list[bytes]) -> None:
    """Neither by charging nor by a gift, and shares do not exceed the battery."""
    operator, ann, ben = accounts
    pool.charge(ann, 5_000, sender=operator)
    pool.charge(ben, 4_444, sender=operator)
    with chain.reverts("SHARE_FULL"):
        pool.charge(ben, 3, sender=operator)
    with chain.reverts("SHARE_FULL"):
        pool.give(ben, 2, sender=ann)
    pool.give(ben, 1, sender=ann)
    assert (pool.stored_for(ben), pool.room_of(ben)) == (4_000, 0)
    with chain.reverts("NO_CAPACITY"):
        pool.set_share(ann, 6_001, sender=operator)
    with chain.reverts("STILL_STORED"):
        pool.set_share(ann, 0, sender=operator)


def test_only_the_operator_reads_the_battery(chain: Chain, pool: Deployed, accounts: list[bytes]) -> None:
    """Charging, drawing and shares."""
    ann = accounts[1]
    for method in ("set_share", "charge", "draw"):
        with chain.reverts("NOT_OPERATOR"):
            getattr(pool, method)(ann, 1, sender=ann)


class TestRandomCalls(
    contract_machine(
        deploy,
        arguments={"share": st.integers(-1, 12_000), "wh": st.integers(-1, 3_000)},
    ).TestCase
):
    """Any calls in any order: energy is conserved and everybody stays within a share."""

    settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
