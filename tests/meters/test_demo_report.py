"""The demo's words and numbers: exact JSON, 80 columns, differences by name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meters.demo import DemoOptions, next_steps
from meters.demo_report import (
    COLUMNS,
    DemoResult,
    EnergyLines,
    HomeResult,
    KilledPrimary,
    compare_figures,
    flatten_figures,
    format_eur,
    format_kwh,
    render_json,
    render_text,
)

ENERGY = EnergyLines(
    load_wh=10_000, pv_wh=8_000, own_use_wh=3_000, shared_wh=2_000, grid_import_wh=5_000, grid_export_wh=3_000
)
TARIFFS = {"supply": 240_000, "feed_in": 80_000, "community": 150_000, "grid_fee": 60_000, "community_grid_fee": 30_000}


def make_home(name: str = "h01", net: int = -1_320_000_000) -> HomeResult:
    return HomeResult(home=name, energy=ENERGY, net_nano_eur=net)


def make_result(**changes: object) -> DemoResult:
    result = DemoResult(
        replicas=4,
        intervals=24,
        interval_seconds=3600,
        keys="dynamic",
        readings_submitted=816,
        readings_accepted=815,
        readings_refused={"future": 1},
        energy=ENERGY,
        homes=(make_home(), make_home("a_home_with_a_very_long_name_of_32")),
        accounts={"h01": -1_320_000_000, "supplier": 1_320_000_001, "grid": -1},
        tariffs=TARIFFS,
        killed=(
            KilledPrimary(
                replica=0,
                pid=4_194_304,
                worker_pid=4_194_303,
                view_before=0,
                view_after=1,
                height=1_234_567,
                back_after_seconds=2.5,
            ),
        ),
        height=61,
        state_root="ab" * 32,
        primary=1,
        view=1,
        certificate_height=61,
        certificate_signers=(0, 1, 2),
        proofs_verified=1,
        proof_path=".gridquorum/demo/proof.json",
        seconds=12.3456,
        next_steps=("gridquorum status",),
    )
    return replace(result, **changes)  # type: ignore[arg-type]


def test_the_json_is_one_line_with_every_promised_name() -> None:
    """DESIGN.md section 5: names and shapes that others script against."""
    text = render_json(make_result())
    assert "\n" not in text
    document = json.loads(text)
    promised = {
        "v", "replicas", "homes", "intervals", "readings_submitted", "readings_accepted", "readings_refused", "energy",
        "homes_detail", "accounts", "tariffs", "money_sum_nano_eur", "killed", "height", "state_root",
        "proofs_verified", "seconds",
    }  # fmt: skip
    assert promised <= document.keys()
    assert next(iter(document)) == "v" and document["v"] == 1
    lines = {"load_wh", "pv_wh", "own_use_wh", "shared_wh", "grid_import_wh", "grid_export_wh"}
    assert document["energy"].keys() == lines
    assert document["homes_detail"][0].keys() == lines | {"home", "net_nano_eur"}
    killed = {"replica", "pid", "view_before", "view_after", "height", "back_after_seconds"}
    assert killed <= document["killed"][0].keys()
    assert (document["homes"], document["money_sum_nano_eur"]) == (2, 0)
    assert document["readings_refused"] == {"future": 1}


def test_a_bill_can_be_recomputed_from_the_json_alone() -> None:
    """Lines and prices give the net to the nano-EUR, without rounding anywhere."""
    home = make_home()
    assert home.energy.given_wh == 2_000
    expected = 2_000 * 150_000 + 3_000 * 80_000 - 5_000 * 300_000 - 2_000 * 180_000
    assert home.recompute_net_nano_eur(TARIFFS) == expected == home.net_nano_eur


def test_the_text_fits_80_columns() -> None:
    """Every line, with long names, big numbers and large pids; except a path, which is not cut."""
    big = EnergyLines(
        load_wh=99_999_999,
        pv_wh=99_999_999,
        own_use_wh=99_999_999,
        shared_wh=0,
        grid_import_wh=0,
        grid_export_wh=0,
    )
    result = make_result(
        energy=big, homes=(HomeResult(home="h" * 32, energy=big, net_nano_eur=-9_999 * 10**9),), next_steps=()
    )
    lines = render_text(result).splitlines()
    assert max(map(len, lines)) <= COLUMNS, [line for line in lines if len(line) > COLUMNS]


@pytest.mark.parametrize("keep", [None, Path("kept")], ids=["removed", "kept"])
def test_where_to_look_next_fits_80_columns(keep: Path | None) -> None:
    """The real next steps and not a test's, with the paths of the demo's default folder."""
    folder = Path(".gridquorum/demo")
    steps = next_steps(DemoOptions(keep=keep), folder / "proof.json", folder / "genesis.json")
    text = render_text(make_result(next_steps=steps))
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert "gridquorum up --data-dir" in text


def test_a_large_community_is_shown_in_mwh() -> None:
    """Columns never run into each other; the JSON keeps every Wh."""
    big = replace(ENERGY, load_wh=123_456_789_012)
    result = make_result(energy=big, next_steps=())
    text = render_text(result)
    assert "123456.789" in text and "MWh" in text
    assert json.loads(render_json(result))["energy"]["load_wh"] == 123_456_789_012


def test_the_text_shows_what_somebody_must_see() -> None:
    """Table, zero sums, height, root, primary, certificate, kill, proof, where to look next."""
    text = render_text(make_result())
    for piece in (
        "10.000",
        "-1.32",
        "0 Wh left",
        "0 nano-EUR left",
        "Height 61",
        "primary r1",
        "ab" * 32,
        "r0, r1, r2",
        "4194304",
        "view 1",
        "2.5 s",
        "proof.json",
        "gridquorum status",
        "1 refused future",
    ):
        assert piece in text, piece


def test_a_sum_that_is_not_zero_is_shown_as_it_is() -> None:
    """The report never hides a lost Wh or nano-EUR."""
    broken = replace(ENERGY, grid_import_wh=4_999)
    text = render_text(make_result(energy=broken, accounts={"h01": 5}))
    assert "1 Wh left" in text and "5 nano-EUR left" in text


def test_differences_name_figure_and_both_sides() -> None:
    """A changed rule is found by the line that it changed; a figure of one side only counts as zero."""
    network = flatten_figures(ENERGY, [make_home()], {"h01": 1, "extra": 2}, {})
    reference = flatten_figures(replace(ENERGY, shared_wh=1), [make_home()], {"h01": 1}, {})
    differences = compare_figures(network, reference)
    assert [str(difference) for difference in differences] == [
        "energy.shared_wh: the network says 2000, the reference 1",
        "accounts[extra]: the network says 2, the reference 0",
    ]
    assert compare_figures(network, dict(network)) == []


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.00"),
        (4_999_999, "0.00"),
        (5_000_000, "0.01"),
        (-5_000_000, "-0.01"),
        (-4_999_999, "0.00"),
        (1_999_999_999, "2.00"),
    ],
)
def test_euros_are_rounded_half_away_from_zero(amount: int, text: str) -> None:
    """What people see is rounded once, at the end, and never shows minus zero."""
    assert format_eur(amount) == text


@given(amount=st.integers(-(10**18), 10**18))
def test_nine_decimals_show_an_amount_exactly(amount: int) -> None:
    """The exact form reads back to the same number of nano-EUR."""
    assert int(format_eur(amount, decimals=9).replace(".", "")) == amount
    assert int(format_kwh(amount).replace(".", "")) == amount
