"""The series model and the shipped week."""

import hashlib
import zipfile
from decimal import Decimal
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meters import make_data
from meters.formats.interval_csv import parse_interval_csv
from meters.series import DAY_S, MeterColumn, Series, shipped_grid_signals, shipped_series

DATA = resources.files("meters").joinpath("data")
COMMUNITY = Path(__file__).parents[3] / "shared" / "data" / "community"
PRICES_SEEN = {220_000, 400_000, 540_000}  # off peak, and the afternoon's peak


def small(*, rows: int = 48, start: int = 7200) -> Series:
    return Series(
        homes=("a", "b"),
        starts=tuple(start + 3600 * place for place in range(rows)),
        interval_s=3600,
        load_wh={"a": tuple(range(rows))},
        pv_wh={"a": tuple(range(0, 2 * rows, 2)), "b": (5,) * rows},
    )


def test_the_shipped_week_has_17_homes_and_its_recorded_bytes() -> None:
    """A summer week, hourly, load and PV of every home; the files are those of the provenance note."""
    series = shipped_series()
    assert (len(series.homes), len(series.meters), len(series.starts), series.interval_s) == (17, 34, 168, 3600)
    assert (series.load_total_wh(), series.pv_total_wh()) == (3_934_459, 2_251_235)
    for line in DATA.joinpath("SHA256SUMS").read_text(encoding="ascii").splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(DATA.joinpath(name).read_bytes()).hexdigest() == digest


def test_the_price_and_carbon_of_the_shipped_week_stand_beside_it() -> None:
    signals = shipped_grid_signals()
    assert [signal.start for signal in signals] == list(shipped_series().starts)
    assert {signal.price_micro_usd_per_kwh for signal in signals} == PRICES_SEEN
    assert all(100_000 < signal.carbon_mg_per_kwh < 300_000 for signal in signals)


@pytest.mark.skipif(not COMMUNITY.is_dir(), reason="the community series are not in this checkout's neighbourhood")
def test_the_shipped_week_agrees_with_the_half_year_of_the_same_homes() -> None:
    """Twelve of the 17 homes are known from another extract of the source; every Wh of theirs must be the same."""
    half_year = parse_interval_csv((COMMUNITY / "fontana12_hourly_wh_first_half.csv").read_bytes(), interval_minutes=60)
    week = shipped_series()
    known = {half_year.load_wh[home][1:169] for home in half_year.homes}
    assert known <= set(week.load_wh.values())


@given(st.lists(st.decimals(0, 5, places=6), max_size=50))
def test_rounding_the_running_total_loses_nothing(values: list[Decimal]) -> None:
    """The whole steps sum to the rounded sum, and none is more than one away from its value."""
    steps = make_data.whole_steps(values)
    assert sum(steps) == int(sum(values, Decimal(0)).to_integral_value())
    assert all(abs(step - value) <= 1 for step, value in zip(steps, values, strict=True))


def test_the_script_makes_the_files_from_a_wheel(tmp_path: Path) -> None:
    """On a tiny wheel of the same shape: kWh become Wh, W per kW become Wh of the home, the licence comes along."""
    wheel = tmp_path / "wheel.whl"
    rows = make_data.FIRST_ROW + make_data.ROWS
    with zipfile.ZipFile(wheel, "w") as archive:
        buildings = {}
        for number in range(1, make_data.BUILDINGS + 1):
            name = f"Building_{number}"
            buildings[name] = f'"{name}": {{"pv": {{"attributes": {{"nominal_power": {number}.5}}}}}}'
            text = "Equipment Electric Power [kWh],Solar Generation [W/kW]\n" + "0.0004,100.0\n" * rows
            archive.writestr(f"{make_data.DATASET}/{name}.csv", text)
        schema = '{"buildings": {' + ",".join(buildings.values()) + "}}"
        archive.writestr(f"{make_data.DATASET}/schema.json", schema)
        archive.writestr(f"{make_data.DATASET}/pricing.csv", "Electricity Pricing [$]\n" + "0.54\n" * rows)
        archive.writestr(f"{make_data.DATASET}/carbon_intensity.csv", "kg_CO2/kWh\n" + "0.1707244\n" * rows)
        archive.writestr(make_data.LICENCE, "MIT License")
    files = make_data.make_files(wheel)
    series = parse_interval_csv(files["citylearn_2022_summer_week.csv"])
    assert series.load_wh["h01"][:4] == (1, 0, 1, 0)  # 0.4 Wh an hour: 0.8, 1.2, 1.6, 2.0 so far
    assert (series.pv_wh["h01"][0], series.pv_wh["h17"][0]) == (150, 1750)
    assert b",540000,170724\n" in files["citylearn_2022_summer_week_prices.csv"]
    assert files["LICENSE.CityLearn.txt"] == b"MIT License"


def test_meters_are_listed_home_by_home() -> None:
    series = small()
    assert series.meters == (
        MeterColumn(meter="a_load", home="a", kind="load"),
        MeterColumn(meter="a_pv", home="a", kind="pv"),
        MeterColumn(meter="b_pv", home="b", kind="pv"),
    )
    assert series.values_of(series.meters[2]) == (5,) * 48
    assert (series.energy_of("a", 3), series.energy_of("b", 3)) == ((3, 6), (0, 5))


def test_days_count_24_hours_from_the_first_row() -> None:
    """A day need not begin at midnight."""
    second = small(rows=50).days(1, first=1)
    assert (second.starts[0], len(second.starts), second.load_wh["a"][0]) == (7200 + DAY_S, 24, 24)
    for count, first in ((3, 0), (1, 2), (0, 0), (1, -1)):
        with pytest.raises(ValueError, match="2 whole days"):
            small(rows=50).days(count, first=first)


def test_a_slice_must_lie_inside() -> None:
    assert small().slice(1, 2).starts == (10_800, 14_400)
    for first, count in ((47, 2), (-1, 1), (0, 0)):
        with pytest.raises(ValueError, match="of 48"):
            small().slice(first, count)


@given(st.integers(0, 23), st.integers(DAY_S * 30, DAY_S * 20_000))
def test_a_replayed_series_ends_shortly_before_now_and_keeps_its_hours(hour: int, now: int) -> None:
    """The last interval ends less than two days before now and never after it; each keeps its time of day."""
    series = small(start=hour * 3600)
    shifted = series.ending_before(now)
    assert now - 2 * DAY_S < shifted.end <= now
    assert [start % DAY_S for start in shifted.starts] == [start % DAY_S for start in series.starts]


def test_a_shift_stays_on_the_grid() -> None:
    assert small().shifted(-3600).starts[0] == 3600
    with pytest.raises(ValueError, match="grid"):
        small().shifted(1)


def test_columns_and_grid_are_checked() -> None:
    with pytest.raises(ValueError, match="1 values for 2"):
        Series(homes=("a",), starts=(0, 900), interval_s=900, load_wh={"a": (1,)}, pv_wh={})
    with pytest.raises(ValueError, match="does not follow"):
        Series(homes=("a",), starts=(0, 901), interval_s=900, load_wh={"a": (1, 2)}, pv_wh={})
    with pytest.raises(ValueError, match="sorted names"):
        Series(homes=("b", "a"), starts=(0,), interval_s=900, load_wh={"a": (1,), "b": (1,)}, pv_wh={})
