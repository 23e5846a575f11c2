"""The time-of-use tariff: what is charged when, and that no row of calls breaks its invariants."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from contracts.state_machine import contract_machine
from contracts.testing import Chain, Deployed

SOURCE = Path(__file__).parents[3] / "contracts" / "examples" / "time_of_use.py"
NIGHT, DAY_PRICE = 120_000, 310_000  # micro-EUR per kWh
SIX, TEN = 6 * 3_600, 22 * 3_600
BANDS = [[0, NIGHT], [SIX, DAY_PRICE], [TEN, NIGHT]]


def deploy(chain: Chain, accounts: list[bytes]) -> Deployed:
    return chain.deploy(SOURCE, supplier=accounts[0], bands=BANDS)


@pytest.fixture
def accounts(chain: Chain) -> list[bytes]:
    return chain.accounts(3)


@pytest.fixture
def tariff(chain: Chain, accounts: list[bytes]) -> Deployed:
    chain.at(time=1_750_032_000)  # midnight
    return deploy(chain, accounts)


def test_each_hour_has_its_price(tariff: Deployed) -> None:
    """A band holds from its first second to the next one's."""
    day = 86_400 * 20_000
    for second, price in ((0, NIGHT), (SIX - 1, NIGHT), (SIX, DAY_PRICE), (TEN - 1, DAY_PRICE), (TEN, NIGHT)):
        assert tariff.price_at(day + second) == price


def test_a_quarter_is_charged_once_at_the_price_when_it_began(
    chain: Chain, tariff: Deployed, accounts: list[bytes]
) -> None:
    """Wh times micro-EUR per kWh is nano-EUR, to the unit; the supplier has the other side."""
    supplier, home, _ = accounts
    start = chain.time + SIX - 900
    with chain.reverts("NOT_OVER"):
        tariff.charge(home, start, 250, sender=supplier)
    chain.at(time=start + 1_800)
    receipt = tariff.charge(home, start, 250, sender=supplier)
    assert receipt.result == 250 * NIGHT
    assert receipt.event("Charged", customer=home).fields["wh"] == 250
    with chain.reverts("CHARGED_BEFORE"):
        tariff.charge(home, start, 250, sender=supplier)
    tariff.charge(home, start + 900, 100, sender=supplier)
    assert tariff.balance(home) == -(250 * NIGHT + 100 * DAY_PRICE) == -tariff.balance(supplier)
    tariff.book_payment(home, 250 * NIGHT, sender=supplier)
    assert tariff.balance(home) == -100 * DAY_PRICE


def test_a_plan_is_known_before_it_holds(chain: Chain, tariff: Deployed, accounts: list[bytes]) -> None:
    """An hour's notice, later than the plans before, whole days, and only from the supplier."""
    supplier, home, _ = accounts
    soon = chain.time + 3_600
    for who, when, bands, code in (
        (home, soon, BANDS, "NOT_SUPPLIER"),
        (supplier, soon - 1, BANDS, "TOO_SOON"),
        (supplier, soon, [], "BAND_COUNT"),
        (supplier, soon, [[1, 1]], "NOT_FROM_MIDNIGHT"),
        (supplier, soon, [[0, 1], [0, 2]], "BAND_ORDER"),
        (supplier, soon, [[0, -1]], "BAD_PRICE"),
    ):
        with chain.reverts(code):
            tariff.publish(when, bands, sender=who)
    tariff.publish(soon, [[0, 1]], sender=supplier)
    assert (tariff.price_at(soon - 1), tariff.price_at(soon)) == (NIGHT, 1)
    with chain.reverts("NOT_AFTER_THE_LAST"):
        tariff.publish(soon, [[0, 2]], sender=supplier)


class TestRandomCalls(
    contract_machine(
        deploy,
        arguments={
            "effective_from": st.integers(1_750_000_000, 1_753_000_000),
            "publish.bands": st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 9)).map(list), max_size=3),
            "start": st.integers(1_944_000, 1_946_000).map(lambda quarter: quarter * 900),
        },
    ).TestCase
):
    """Any calls in any order: money is conserved and plans stay in order."""

    settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
