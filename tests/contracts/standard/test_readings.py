"""Every verdict of ENERGY 7 on the real engine: stable codes, refusals on record, and the rest of a batch settles."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.encoding import decode
from meters.reading import FLAG_CLOCK, FLAG_COVER_OPENED, FLAG_MAGNET, FLAG_POWER_LOSS, Reading
from meters.series import Series

USABLE = {"accepted", "gap", "out_of_order"}
NOT_AUTHENTIC = {"bad_encoding", "other_chain", "unknown_meter", "wrong_key"}


def test_the_next_record_is_accepted_and_kept(small_town: Any) -> None:
    """Its energy, its register and its digest can be read back; the digest is the one the gateway computed."""
    reading = small_town.reading("a_load", 0)
    assert small_town.submit(reading) == ["accepted"]
    reading = small_town.linked("a_load", reading)
    kept = small_town.network.view("readings", "reading", "a_load", reading.start)
    assert kept == [reading.start, 1, reading.import_register, reading.import_wh, reading.digest, 0]
    assert small_town.network.view("readings", "last", "a_load") == kept
    assert small_town.network.view("readings", "values", ["a_load", "a_pv"], reading.start) == [400, -1]


def faulty(town: Any, code: str) -> tuple[Reading, str]:
    """A reading that deserves the code, and who sends it. `a_load` has one accepted record, with sequence 1."""
    first = town.reading("a_load", 0)
    assert town.submit(first) == ["accepted"]
    good = town.reading("a_load", 1)
    later = town.series.starts[0] + 10**9
    by_code = {
        "bad_encoding": None,
        "other_chain": replace(good, chain=b"\xee" * 32),
        "unknown_meter": replace(good, meter="nobody"),
        "wrong_key": good,
        "not_active": replace(good, start=town.series.starts[0] - 3600),
        "bad_scaler": replace(good, scaler=3),
        "bad_register": replace(good, export_register=1),
        "future": replace(good, start=later - later % 3600),
        "duplicate": first,
        "replay": replace(first, firmware=b"\x07" * 32),
        "overlap": replace(good, start=first.start),
        "misaligned": replace(good, start=good.start + 3660),
        "clock": replace(good, flags=FLAG_CLOCK),
        "tamper": replace(good, flags=FLAG_COVER_OPENED | FLAG_POWER_LOSS),
        "negative": replace(good, import_wh=-1),
        "decreasing": replace(good, import_register=first.import_register - 1, import_wh=0),
        "sum_mismatch": replace(good, import_wh=good.import_wh + 1),
        "too_high": replace(good, import_register=good.import_register + 22_001, import_wh=22_001),
    }
    reading = by_code[code] or good
    return reading, "gateway-9" if code == "wrong_key" else "gateway-0"


SIMPLE_CODES = [
    "other_chain",
    "unknown_meter",
    "wrong_key",
    "not_active",
    "bad_scaler",
    "bad_register",
    "future",
    "duplicate",
    "replay",
    "overlap",
    "misaligned",
    "clock",
    "tamper",
    "negative",
    "decreasing",
    "sum_mismatch",
    "too_high",
]


@pytest.mark.parametrize("code", SIMPLE_CODES)
def test_a_faulty_reading_gets_its_code_and_the_rest_of_the_batch_settles(small_town: Any, code: str) -> None:
    """Refused in the result and in an event; the good reading before it and the one after it count."""
    reading, sender = faulty(small_town, code)
    before, after = small_town.reading("a_pv", 0), small_town.reading("b_load", 0)
    batches = small_town.batches(before, reading, after)
    rows = [batch.to_list() for batch in batches]
    outcome = small_town.network.call("readings", "submit", rows, sender=sender)
    assert outcome.status == "ok"
    others = "wrong_key" if code == "wrong_key" else "accepted"
    assert small_town.codes_of(batches, decode(outcome.result)) == [others, code, others]
    refused = [decode(event.fields) for event in outcome.events if event.name == "Refused"]
    name = "" if code == "unknown_meter" else reading.meter  # a place where nobody is has no name
    assert {"meter": name, "start": reading.start, "code": code} in refused
    assert small_town.network.view("readings", "last", "a_load")[1] == 1
    if others == "accepted":  # the interval is complete: it settles in the next block
        small_town.network.run_due()
        assert small_town.network.view("settlement", "interval", "sunny", before.start)[0] == "SETTLED"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 2),
        (1, bytes(31)),
        (4, 0),
        (4, 2**40),
        (5, 0),
        (5, 86_401),
        (7, b"short"),
        (8, bytes(31)),
        (9, "x"),
        (9, "-"),
        (10, [-1]),
        (10, [2**63]),
        (11, [-1]),
        (11, [10**18]),
        (12, [10**18]),
        (12, [-(10**18)]),
        (13, bytes([64])),
    ],
)
def test_bad_encoding_covers_every_bound_of_the_canonical_form(small_town: Any, place: int, value: object) -> None:
    """What meters/ refuses to make, the contract refuses to take."""
    (batch,) = small_town.batches(small_town.reading("a_load", 0))
    fields = batch.to_list()
    fields[place] = value
    assert small_town.network.ok("readings", "submit", [fields], sender="gateway-0") == ["bad_encoding"]


@pytest.mark.parametrize("flaw", ["short", "long", "text-for-number", "bool-for-number", "text-in-column", "no-list"])
def test_another_shape_is_refused_as_a_whole(small_town: Any, flaw: str) -> None:
    """A batch that does not decode has no readings that could be told apart."""
    (batch,) = small_town.batches(small_town.reading("a_load", 0))
    fields = batch.to_list()
    call: object = {
        "short": [fields[:-1]],
        "long": [[*fields, 0]],
        "text-for-number": [[*fields[:3], "1", *fields[4:]]],
        "bool-for-number": [[True, *fields[1:]]],
        "text-in-column": [[*fields[:10], ["1"], *fields[11:]]],
        "no-list": fields,
    }[flaw]
    outcome = small_town.network.call("readings", "submit", call, sender="gateway-0")
    assert outcome.status != "ok"
    assert outcome.code


def test_a_place_without_a_reading_that_says_something_is_refused_alone(small_town: Any) -> None:
    """Its neighbour counts: it is kept, and settlement hears of it."""
    small_town.submit(small_town.reading("a_load", 0), small_town.reading("a_pv", 0))
    good = small_town.reading("a_load", 1)
    (batch,) = small_town.batches(good, small_town.reading("a_pv", 1))
    fields = batch.to_list()
    fields[9] = "i-"
    assert small_town.network.ok("readings", "submit", [fields], sender="gateway-0") == ["accepted", "bad_encoding"]
    assert small_town.network.view("readings", "values", ["a_load", "a_pv"], good.start) == [400, -1]
    assert small_town.network.view("settlement", "interval", "sunny", good.start)[3] == 1


@pytest.mark.parametrize(
    ("place", "value"),
    [(2, "g" * 65), (3, -1), (3, 100), (9, ""), (9, "ii"), (10, []), (11, [1, 2]), (12, []), (13, bytes(2))],
)
def test_columns_that_do_not_fit_together_are_refused_as_a_whole(small_town: Any, place: int, value: object) -> None:
    (batch,) = small_town.batches(small_town.reading("a_load", 0))
    fields = batch.to_list()
    fields[place] = value
    assert small_town.network.refused("readings", "submit", [fields], sender="gateway-0") == "BATCH_SHAPE"


def test_a_call_has_a_size(small_town: Any) -> None:
    assert small_town.network.refused("readings", "submit", [], sender="gateway-0") == "BATCH_SIZE"
    (batch,) = small_town.batches(small_town.reading("a_load", 0))
    batches = [batch.to_list()] * 101
    assert small_town.network.refused("readings", "submit", batches, sender="gateway-0") == "BATCH_SIZE"


def test_the_same_reading_again_changes_nothing(small_town: Any) -> None:
    """In the same batch or in another transaction: duplicate, and one interval energy."""
    reading = small_town.reading("a_load", 0)
    assert small_town.submit(reading, reading) == ["accepted", "duplicate"]
    state = {key: value for key, value in small_town.network.state.items() if b"readings" in key}
    assert small_town.submit(reading) == ["duplicate"]
    assert {key: value for key, value in small_town.network.state.items() if b"readings" in key} == state


@pytest.mark.parametrize(("code", "flag"), [("replay", 0), ("decreasing", 0), ("tamper", FLAG_MAGNET)])
def test_a_grave_fault_suspends_the_meter_until_its_operator_looked(small_town: Any, code: str, flag: int) -> None:
    """The next reading of that meter is not active, in the same batch too; reinstated, the chain goes on."""
    first = small_town.reading("a_load", 0)
    small_town.submit(first)
    chain = small_town.chains["a_load"]
    good = small_town.reading("a_load", 1)
    bad = {
        "replay": replace(first, flags=FLAG_POWER_LOSS),
        "decreasing": replace(good, import_register=0, import_wh=0),
        "tamper": replace(good, flags=flag),
    }[code]
    assert small_town.submit(bad, good) == [code, "not_active"]
    meter = small_town.network.view("meters", "meter", "a_load")
    assert (meter[0], meter[-1]) == ("SUSPENDED", code)
    assert small_town.submit(good) == ["not_active"]
    assert small_town.network.refused("meters", "reinstate", "a_load", sender="gateway-0") == "ROLE"
    small_town.network.ok("meters", "reinstate", "a_load", sender="operator")
    small_town.chains["a_load"] = chain
    assert small_town.submit(small_town.reading("a_load", 1)) == ["accepted"]


def test_a_gap_is_accepted_with_a_note_and_filled_later(small_town: Any) -> None:
    """Record 2 is lost on the way and comes after record 3: each keeps its own interval."""
    readings = [small_town.reading("a_load", index) for index in range(4)]
    assert small_town.submit(readings[0], readings[2]) == ["accepted", "gap"]
    assert small_town.submit(readings[3], readings[1]) == ["accepted", "out_of_order"]
    for reading in readings:
        kept = small_town.network.view("readings", "reading", "a_load", reading.start)
        assert kept[1:4] == [reading.sequence, reading.import_register, reading.import_wh]


def test_what_comes_late_must_fit_between_its_neighbours(small_town: Any) -> None:
    """A late record with another register, energy or sequence than the gap leaves is refused."""
    readings = [small_town.reading("a_load", index) for index in range(3)]
    small_town.submit(readings[0], readings[2])
    late = readings[1]
    assert small_town.submit(replace(late, import_wh=399)) == ["sum_mismatch"]
    assert small_town.submit(replace(late, import_register=late.import_register + 1)) == ["sum_mismatch"]
    assert small_town.submit(replace(late, import_register=late.import_register + 1, import_wh=401)) == ["sum_mismatch"]
    assert small_town.submit(late) == ["out_of_order"]


def test_a_record_that_does_not_name_the_one_before_is_a_gap(small_town: Any) -> None:
    small_town.submit(small_town.reading("a_load", 0))
    assert small_town.submit(replace(small_town.reading("a_load", 1), previous=b"\x09" * 32)) == ["gap"]


def test_far_too_late_is_refused(small_town: Any) -> None:
    """More than the window of a gateway behind its own newest record."""
    readings = [small_town.reading("a_load", index) for index in range(80)]
    small_town.submit(readings[79])
    assert small_town.submit(readings[79 - 65]) == ["too_late"]
    assert small_town.submit(readings[79 - 64]) == ["out_of_order"]


def test_after_settlement_an_interval_is_closed(small_town: Any) -> None:
    """Its deadline passed without one reading: what comes now is too late, and says so."""
    reading = small_town.reading("b_load", 0)
    small_town.submit(small_town.reading("a_load", 0))
    small_town.network.time += 601
    small_town.network.run_due()
    assert small_town.submit(reading) == ["too_late"]


def test_overlapping_an_accepted_interval_with_other_bounds(small_town: Any) -> None:
    """Half an hour off, or two hours long: overlap where it crosses what is there, misaligned where nothing is."""
    first, second = small_town.reading("a_load", 0), small_town.reading("a_load", 1)
    small_town.submit(first)
    half = replace(second, start=first.start + 1800)
    assert small_town.submit(half) == ["overlap"]
    assert small_town.submit(replace(half, start=half.start + 7200)) == ["misaligned"]
    assert small_town.submit(replace(second, length_s=7200, start=first.start)) == ["overlap"]
    assert small_town.submit(replace(second, length_s=900)) == ["misaligned"]


def test_revoked_and_expired_meters(small_town: Any) -> None:
    """Readings of intervals before the revocation stay good when they come after it; later ones do not."""
    readings = [small_town.reading("a_load", index) for index in range(3)]
    small_town.submit(readings[0])
    small_town.network.ok("meters", "revoke", "a_load", readings[2].start, sender="operator")
    assert small_town.submit(readings[1], readings[2]) == ["accepted", "revoked_key"]


def test_the_first_reading_continues_the_register_that_the_electrician_read(small_town: Any) -> None:
    """The commissioning value was 1,000: less has fallen, and energy that it cannot have counted is refused."""
    reading = small_town.reading("a_load", 0)
    assert small_town.submit(replace(reading, import_register=1_399)) == ["sum_mismatch"]
    assert small_town.submit(replace(reading, import_register=999, import_wh=0)) == ["decreasing"]


def test_a_first_record_continues_no_row_that_others_made(small_town: Any) -> None:
    """Its column is empty there: taken for a record with sequence 0 and register 0, it would bill from nothing."""
    small_town.submit(small_town.reading("a_load", 0))
    first = small_town.reading("a_pv", 1)
    assert small_town.submit(replace(first, export_register=first.export_wh)) == ["decreasing"]


def test_the_verdicts_behind_the_codes(network: Any) -> None:
    """Authentic and usable are two answers; only three codes are usable."""
    for code in [*SIMPLE_CODES, *USABLE, "bad_encoding", "revoked_key", "no_terms", "too_late"]:
        assert network.view("judges", "verdicts", code) == [code not in NOT_AUTHENTIC, code in USABLE]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), energies=st.lists(st.integers(0, 3000), min_size=6, max_size=6))
def test_any_order_of_arrival_ends_in_the_same_energies(make_town: Any, order: list[int], energies: list[int]) -> None:
    """Telescoping (ENERGY 6.2): however records arrive, energies sum to last register minus first."""
    series = Series(
        homes=("a",),
        starts=tuple(1_470_009_600 + 3600 * place for place in range(6)),
        interval_s=3600,
        load_wh={"a": tuple(energies)},
        pv_wh={},
    )
    town = make_town(series, gateways=1)
    readings = [town.reading("a_load", index) for index in range(6)]
    codes = [town.submit(readings[index])[0] for index in order]
    assert set(codes) <= USABLE
    values = [town.network.view("readings", "values", ["a_load"], start)[0] for start in series.starts]
    assert values == energies
    last = town.network.view("readings", "last", "a_load")
    assert last[2] - 1_000 == sum(energies)
    town.network.run_due()
    assert town.network.view("settlement", "totals", "sunny")[1] == sum(energies)


def test_only_readings_asks_the_judges(small_town: Any) -> None:
    """Whoever else calls them would suspend meters and leave events of refusals that never were."""
    (batch,) = small_town.batches(small_town.reading("a_load", 0))
    arguments = [batch.to_list(), [0], [[0, [], [], []]], bytes(32)]
    assert small_town.network.refused("judges", "judge", *arguments, sender="gateway-0") == "NOT_READINGS"
