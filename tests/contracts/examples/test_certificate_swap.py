"""The certificate swap pool: its curve, its fee, and that no row of calls takes from those who filled it."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant

from contracts.state_machine import contract_machine
from contracts.testing import Chain, Deployed

SOURCE = Path(__file__).parents[3] / "contracts" / "examples" / "certificate_swap.py"
PLENTY = 1_000_000


def deploy(chain: Chain, accounts: list[bytes]) -> Deployed:
    contract = chain.deploy(SOURCE, registrar=accounts[0])
    for account in accounts:
        contract.issue(account, PLENTY, PLENTY, sender=accounts[0])
    return contract


@pytest.fixture
def accounts(chain: Chain) -> list[bytes]:
    return chain.accounts(3)


@pytest.fixture
def pool(chain: Chain, accounts: list[bytes]) -> Deployed:
    contract = deploy(chain, accounts)
    contract.fill(10_000, 40_000, sender=accounts[0])
    return contract


def test_a_sale_follows_the_curve(pool: Deployed, accounts: list[bytes]) -> None:
    """The pool gives what keeps the product, less 0.3 %, rounded down; and the next one gets less."""
    ann = accounts[1]
    exact = Fraction(40_000) - Fraction(10_000 * 40_000) / (10_000 + Fraction(997, 1_000) * 500)
    receipt = pool.sell(500, 0, sender=ann)
    assert receipt.result == int(exact) == 1_899
    receipt.event("Swapped", trader=ann, certificates=-500, cents=1_899)
    assert pool.sell(500, 0, sender=ann).result < 1_899
    assert pool.holdings(ann)[0] == PLENTY - 1_000


def test_a_trader_is_not_surprised(chain: Chain, pool: Deployed, accounts: list[bytes]) -> None:
    """Less than the trader asked for, or more than there is, is no trade."""
    ann = accounts[1]
    with chain.reverts("PRICE_MOVED"):
        pool.sell(500, 1_900, sender=ann)
    with chain.reverts("PRICE_MOVED"):
        pool.buy(400, 100, sender=ann)
    with chain.reverts("LOW_CERTIFICATES"):
        pool.sell(PLENTY + 1, 0, sender=ann)
    with chain.reverts("BAD_AMOUNT"):
        pool.buy(0, 0, sender=ann)


def test_the_fee_belongs_to_those_who_filled(pool: Deployed, accounts: list[bytes]) -> None:
    """Who fills, lets others trade there and back, and empties, has more than before."""
    _, ann, ben = accounts
    shares = pool.fill(10_000, 40_001, sender=ben).result
    bought = pool.buy(20_000, 1, sender=ann).result
    pool.sell(bought, 1, sender=ann)
    pool.empty(shares, sender=ben)
    certificates, cents, left = pool.holdings(ben)
    assert left == 0
    assert certificates * 4 + cents > PLENTY * 5  # at the price before, 4 cents a certificate


class SwapMachine(
    contract_machine(
        deploy,
        arguments={
            name: st.integers(0, 50_000)
            for name in ("certificates", "cents", "shares", "cents_most", "fill.cents_most")
        }
        | {"cents_least": st.integers(0, 100), "certificates_least": st.integers(0, 100)},
    )
):
    """Besides the contract's own invariants: what a share stands for never gets less."""

    worth = Fraction(0)

    @invariant()
    def a_share_never_loses(self) -> None:
        """Certificates times cents, per share and share."""
        certificates, cents, shares = self.contract.pool()
        if shares:
            worth = Fraction(certificates * cents, shares * shares)
            assert worth >= self.worth
            self.worth = worth


class TestRandomCalls(SwapMachine.TestCase):
    """Any calls in any order."""

    settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
