"""The reference settlement: held against the law's rule, against sums made elsewhere, and against its own vectors."""

import importlib.util
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meters.formats.interval_csv import parse_interval_csv
from meters.reference import (
    HomeLines,
    KeyKind,
    Prices,
    SharingKey,
    equal_shares,
    prices_at,
    settle_interval,
    settle_series,
    share_pool,
    split_exactly,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "settlement"
COMMUNITY = Path(__file__).parents[3] / "shared" / "data" / "community"
PRICES = Prices(supply=300_000, feed_in=80_000, community=180_000, grid_fee=70_000, community_grid_fee=30_000)
KINDS: tuple[KeyKind, ...] = ("static", "dynamic", "hybrid")

homes_energy = st.dictionaries(
    st.from_regex(r"[a-z][0-9]?", fullmatch=True), st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1
)


def test_largest_remainder_with_ties_in_byte_order() -> None:
    """10 Wh over three equal homes: 4, 3, 3; upper case sorts before lower case, as bytes do."""
    assert split_exactly(10, {"b": 1, "a": 1, "Z": 1}) == {"Z": 4, "a": 3, "b": 3}
    assert split_exactly(7, {"a": 1, "b": 2, "c": 3}) == {"a": 1, "b": 2, "c": 4}
    assert split_exactly(5, {"a": 0, "b": 0}) == {"a": 0, "b": 0}


@given(st.integers(0, 10**6), st.dictionaries(st.text(max_size=3), st.integers(0, 10**6), min_size=1))
def test_a_split_is_exact_and_fair(amount: int, weights: dict[str, int]) -> None:
    """It sums to the amount, and no part is a whole unit away from its quota."""
    parts = split_exactly(amount, weights)
    total = sum(weights.values())
    assert sum(parts.values()) == (amount if total else 0)
    assert all(abs(parts[home] * total - amount * weights[home]) < max(total, 1) for home in weights)


@given(homes_energy, st.sampled_from(KINDS))
def test_energy_and_money_balance_in_every_interval(energies: dict[str, tuple[int, int]], kind: KeyKind) -> None:
    """ENERGY 6.2: load is covered, PV is used, nobody gets more than it needs, all lines sum to 0 nano-EUR."""
    key = SharingKey(kind=kind, weights=equal_shares(list(energies)))
    lines = settle_interval(energies, key, PRICES)
    for line in lines.values():
        assert line.load_wh == line.own_use_wh + line.bought_wh + line.import_wh
        assert line.pv_wh == line.own_use_wh + line.sold_wh + line.export_wh
        assert min(line.own_use_wh, line.bought_wh, line.sold_wh, line.import_wh, line.export_wh) >= 0
    total = sum(lines.values(), HomeLines())
    assert total.bought_wh == total.sold_wh
    assert total.bought + total.sold == 0
    assert total.net == total.supply + total.grid + total.feed_in


@given(homes_energy)
def test_a_hybrid_key_shares_as_much_as_a_dynamic_one(energies: dict[str, tuple[int, int]]) -> None:
    """Its second round leaves nothing that somebody still needs; a static key may."""
    shared = {}
    for kind in KINDS:
        key = SharingKey(kind=kind, weights=equal_shares(list(energies)))
        lines = settle_interval(energies, key, PRICES)
        shared[kind] = sum(line.bought_wh for line in lines.values())
    assert shared["static"] <= shared["hybrid"] == shared["dynamic"]


def test_a_static_cap_is_not_given_to_others() -> None:
    """100 Wh in halves, one home needs 20: 30 go to the grid under static, to the other home under hybrid."""
    needs = {"a": 20, "b": 100}
    weights = {"a": 500_000, "b": 500_000}
    assert share_pool(SharingKey(kind="static", weights=weights), 100, needs) == {"a": 20, "b": 50}
    assert share_pool(SharingKey(kind="hybrid", weights=weights), 100, needs) == {"a": 20, "b": 80}
    assert share_pool(SharingKey(kind="dynamic", weights={}), 100, needs) == {"a": 17, "b": 83}


def test_one_interval_by_hand() -> None:
    """Two homes, one offers 1,000 Wh, the other needs 600: every nano-euro worked out on paper."""
    key = SharingKey(kind="dynamic", weights={})
    lines = settle_interval({"sun": (200, 1200), "shade": (600, 0)}, key, PRICES)
    assert lines["sun"] == HomeLines(
        load_wh=200,
        pv_wh=1200,
        own_use_wh=200,
        sold_wh=600,
        export_wh=400,
        sold=600 * 180_000,
        feed_in=400 * 80_000,
        net=140_000_000,
    )
    assert lines["shade"] == HomeLines(
        load_wh=600, bought_wh=600, bought=-108_000_000, grid=-18_000_000, net=-126_000_000
    )


def test_the_price_in_force_is_the_latest_begun() -> None:
    early, late = PRICES, Prices(supply=1, feed_in=1, community=1, grid_fee=1, community_grid_fee=1, effective_from=100)
    assert [prices_at([late, early], time) for time in (99, 100, 101)] == [early, late, late]
    with pytest.raises(ValueError, match="no price is in force at 99"):
        prices_at([late], 99)


def test_equal_shares_sum_to_a_million() -> None:
    assert equal_shares(["b", "a", "c"]) == {"a": 333_334, "b": 333_333, "c": 333_333}


@pytest.mark.parametrize("kind", KINDS)
def test_the_shipped_days_settle_as_recorded(kind: KeyKind) -> None:
    """The vectors are what their script makes today, and every day's accounts sum to 0."""
    spec = importlib.util.spec_from_file_location("make_settlement_vectors", VECTORS / "make_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    recorded = json.loads((VECTORS / f"{kind}.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(script.make_vector(kind))) == recorded
    assert [sum(day["accounts"].values()) for day in recorded["days"]] == [0] * 7


@pytest.mark.skipif(not COMMUNITY.is_dir(), reason="the community series are not in this checkout's neighbourhood")
@pytest.mark.parametrize("name", ["gse20_15min_wh.csv", "fontana12_hourly_wh_first_half.csv"])
@pytest.mark.parametrize("kind", KINDS)
def test_half_a_year_of_homes_comes_to_the_sums_made_elsewhere(name: str, kind: KeyKind) -> None:
    """Totals of a hundred thousand intervals, made by somebody else's program, to the watt-hour."""
    totals = json.loads((COMMUNITY / "expected_totals.json").read_text(encoding="utf-8"))
    expected = next(entry for entry in totals if entry["file"] == name)
    series = parse_interval_csv((COMMUNITY / name).read_bytes(), interval_minutes=15 if "15min" in name else 60)
    key = SharingKey(kind=kind, weights=equal_shares(series.homes))
    total = settle_series(series, key, [PRICES]).total
    shared = "shared_dynamic_wh" if kind == "dynamic" else f"shared_{kind}_equal_wh"
    assert (total.load_wh, total.pv_wh) == (expected["load_wh"], expected["pv_wh"])
    assert total.load_wh - total.own_use_wh == expected["deficit_wh"]
    assert total.pv_wh - total.own_use_wh == expected["surplus_pool_wh"]
    assert total.bought_wh == expected[shared]
