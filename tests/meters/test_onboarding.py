"""The onboarding plan on the real contracts: it works step by step, stays inside its gas, and its readings settle."""

from collections.abc import Iterable
from typing import Any

import pytest

from ledger.encoding import decode
from ledger.keys import SigningKey
from meters.batch import Place
from meters.certification import MeterRecord, validate_request
from meters.demo_figures import account_addresses, compute_reference, read_figures
from meters.gateway import begin_chains, compute_gas_limit
from meters.onboarding import (
    GATEWAYS_MIN,
    READINGS_PER_GATEWAY_MAX,
    CommunityPlan,
    GatewayMeters,
    Participants,
    assign_meters,
    compute_connection_w,
    install_meters,
    plan_onboarding,
)
from meters.reference import Prices, equal_shares
from meters.series import Series, shipped_series

NETWORK = b"n" * 32
NOW = 1_700_000_000
HOUR = 3600
PRICES = Prices(supply=240_000, feed_in=80_000, community=150_000, grid_fee=60_000, community_grid_fee=30_000)


def make_series(homes: int, intervals: int = 2, *, scale: int = 1) -> Series:
    names = sorted(f"h{number:04d}" for number in range(homes))
    start = NOW - NOW % HOUR - intervals * HOUR
    return Series(
        homes=tuple(names),
        starts=tuple(start + HOUR * index for index in range(intervals)),
        interval_s=HOUR,
        load_wh={name: tuple(scale * (100 + 7 * n + i) for i in range(intervals)) for n, name in enumerate(names)},
        pv_wh={name: tuple(scale * (157 * n % 700 + i) for i in range(intervals)) for n, name in enumerate(names)},
    )


def key(number: int) -> SigningKey:
    return SigningKey.from_seed(number.to_bytes(32, "big"))


def make_participants(
    series: Series, founders: tuple[SigningKey, ...], assignments: Iterable[GatewayMeters]
) -> Participants:
    return Participants(
        admins=founders,
        certifier=key(100),
        electrician=key(101),
        meter_operator=key(102),
        manager=key(103),
        tariff_authority=key(104),
        gateways=tuple(assigned.key for assigned in assignments),
        homes={home: key(1_000 + number).public_key for number, home in enumerate(series.homes)},
        supplier=key(105).public_key,
        feed_in=key(106).public_key,
        grid=key(107).public_key,
    )


def make_plan(series: Series, kind: str) -> CommunityPlan:
    return CommunityPlan(
        name="sunny-lane",
        zone="zone-1",
        key_kind=kind,
        shares=dict.fromkeys(series.homes, 0) if kind == "dynamic" else equal_shares(series.homes),
        prices=PRICES,
        completion_wait_s=900,
    )


class EngineQuerier:
    """The client library's face over the bench's views."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def query(self, contract: str, method: str, *arguments: object, min_height: int = 0) -> Any:
        class Answer:
            value = self._engine.view(contract, method, *arguments)

        return Answer


def onboard(engine: Any, series: Series, kind: str, founders: tuple[SigningKey, ...]) -> Any:
    """Run every call of the plan; returns what the rest of a test needs."""
    assignments = assign_meters(series)
    participants = make_participants(series, founders, assignments)
    plan = make_plan(series, kind)
    installed = install_meters(series, assignments, participants.homes, NOW)
    for step in plan_onboarding(series, participants, plan, installed):
        for call in step.calls:
            outcome = engine.call(
                call.signer.public_key, call.contract, call.method, *call.arguments, gas_limit=call.gas_limit
            )
            assert outcome.status == "ok", (step.title, call.method, outcome.code, outcome.gas_used)
    return assignments, participants, plan, installed


def submit_series(engine: Any, series: Series, assignments: Iterable[GatewayMeters]) -> list[str]:
    """Every reading of the series, one request per gateway and interval, as the gateways send them."""
    codes: list[str] = []
    places = read_places(engine, series)
    chains = {
        assigned.key.public_key: begin_chains(NETWORK, assigned.columns, places, HOUR) for assigned in assignments
    }
    for index, start in enumerate(series.starts):
        for assigned in assignments:
            sender = assigned.key.public_key
            energies = {column.meter: series.values_of(column)[index] for column in assigned.columns}
            made = [chain.append(start, energies) for chain in chains[sender]]
            chains[sender] = tuple(chain for _batch, chain in made)
            batches = [batch.to_list() for batch, _chain in made]
            limit = compute_gas_limit(len(energies))
            outcome = engine.call(sender, "readings", "submit", batches, gas_limit=limit)
            assert outcome.status == "ok", (outcome.status, outcome.code, outcome.gas_used, len(energies))
            codes += decode(outcome.result)  # type: ignore[arg-type]
    return codes


def read_places(engine: Any, series: Series) -> dict[str, Place]:
    """The places that the contract gave the meters, a hundred at a time."""
    names = [column.meter for column in series.meters]
    return {
        name: Place(group=group, number=number)
        for first in range(0, len(names), 100)
        for name, (group, number) in zip(
            names[first : first + 100],
            engine.view("meters", "places_of", names[first : first + 100]),
            strict=True,
        )
    }


@pytest.mark.parametrize("kind", ["static", "dynamic", "hybrid"])
def test_a_community_from_genesis_to_its_settled_figures(
    engine: Any, founders: tuple[SigningKey, ...], kind: str
) -> None:
    """Onboard, submit, settle: every figure equals the slow reference, and money sums to zero."""
    series = make_series(5)
    assignments, participants, plan, _installed = onboard(engine, series, kind, founders)
    assert set(submit_series(engine, series, assignments)) == {"accepted"}
    engine.settle()
    accounts = account_addresses(participants)
    figures = read_figures(EngineQuerier(engine), plan, series, accounts, min_height=0)
    assert figures == compute_reference(series, plan, accounts)
    assert sum(figures.accounts.values()) == 0
    assert figures.energy.shared_wh > 0


def test_the_electrician_s_look_matches_the_chain(engine: Any, founders: tuple[SigningKey, ...]) -> None:
    """Between request and certificate the records on chain are what was found on site."""
    series = make_series(4)
    assignments = assign_meters(series)
    participants = make_participants(series, founders, assignments)
    installed = install_meters(series, assignments, participants.homes, NOW)
    for step in plan_onboarding(series, participants, make_plan(series, "dynamic"), installed):
        if step.calls[0].method == "certify":
            records = engine.view("meters", "records", [meter.meter for meter in installed])
            for seen, fields in zip(installed, records, strict=True):
                validate_request(seen, MeterRecord.from_list(fields))
            break
        for call in step.calls:
            engine.call(call.signer.public_key, call.contract, call.method, *call.arguments)
    else:
        raise AssertionError("no certificate in the plan")


def test_a_full_gateway_stays_inside_its_gas(engine: Any, founders: tuple[SigningKey, ...]) -> None:
    """The most meters that one gateway gets, first readings included; and batches of a hundred while onboarding."""
    series = make_series(120, 2)
    assignments, *_ = onboard(engine, series, "static", founders)
    assert max(len(assigned.columns) for assigned in assignments) <= READINGS_PER_GATEWAY_MAX
    submit_series(engine, series, assignments)
    assert engine.gas_max[("readings", "submit")] < 5_000_000


@pytest.mark.parametrize("homes", [1, 2, 3, 4, 17, 200])
def test_every_meter_is_behind_exactly_one_gateway(homes: int) -> None:
    """At least four gateways while there are meters for them; none with too many."""
    series = make_series(homes)
    assignments = assign_meters(series)
    columns = [column for assigned in assignments for column in assigned.columns]
    assert sorted(column.meter for column in columns) == sorted(column.meter for column in series.meters)
    assert len(assignments) >= min(GATEWAYS_MIN, 2 * homes)
    assert len({assigned.key.public_key for assigned in assignments}) == len(assignments)
    assert all(0 < len(assigned.columns) <= READINGS_PER_GATEWAY_MAX for assigned in assignments)


def test_the_shipped_series_has_four_gateways() -> None:
    """17 homes with two meters each."""
    assert [len(assigned.columns) for assigned in assign_meters(shipped_series())] == [10, 8, 8, 8]


@pytest.mark.parametrize(
    ("values", "interval_s", "watts"), [((0,), 900, 14_500), ((14_501,), 3600, 24_000), ((3_626,), 900, 24_000)]
)
def test_the_connection_carries_the_highest_interval(values: tuple[int, ...], interval_s: int, watts: int) -> None:
    """The smallest usual size; a reading at its limit is not refused as too high."""
    assert compute_connection_w(values, interval_s) == watts


def test_a_power_station_is_no_home() -> None:
    """What no connection carries is refused before anything is onboarded."""
    with pytest.raises(ValueError, match="more than any connection"):
        compute_connection_w((20_000_000,), 3600)


def test_three_quarters_of_seven_admins_approve() -> None:
    """ceil(0.75 x 7) = 6: the proposer and five more."""
    series = make_series(2)
    admins = tuple(key(number) for number in range(1, 8))
    participants = make_participants(series, admins, assign_meters(series))
    steps = plan_onboarding(series, participants, make_plan(series, "dynamic"), ())
    assert [call.signer for call in steps[1].calls] == list(admins[1:6])
