"""Settlement on the real engine: it closes by itself, comes to the reference's figures, and balances to nothing."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.encoding import decode
from ledger.execution import contract_address
from meters.batch import GroupChain
from meters.reference import Prices, SharingKey, equal_shares, settle_series, share_pool, split_exactly
from meters.series import Series, shipped_series

SUNNY = "sunny"
LINES = (
    "load_wh",
    "pv_wh",
    "own_use_wh",
    "bought_wh",
    "sold_wh",
    "import_wh",
    "export_wh",
    "supply",
    "grid",
    "bought",
    "sold",
    "feed_in",
    "net",
)
PRICES = Prices(supply=300_000, feed_in=80_000, community=180_000, grid_fee=70_000, community_grid_fee=30_000)


def lines_of(statement: list[int]) -> dict[str, int]:
    """The lines of a statement by name; it begins with the count of intervals and ends with that of missing values."""
    return dict(zip(LINES, statement[1:-1], strict=True))


def balance(network: Any, name: str) -> int:
    return int(network.view("cash", "balance", name.encode().ljust(32, b"\0")))


def clearing_balances(network: Any) -> list[int]:
    """What is left on the contracts' own accounts, which only pass money on."""
    return [network.view("cash", "balance", contract_address(name)) for name in ("cash", "settlement")]


@pytest.mark.parametrize("kind", ["static", "dynamic", "hybrid"])
def test_a_shipped_day_settles_as_the_reference_says(make_town: Callable[..., Any], kind: Any) -> None:
    """17 homes, 24 intervals: every home, every interval, every line, to the watt-hour and the nano-euro."""
    series = shipped_series().days(1)
    town = make_town(series, kind)
    network = town.network
    for index in range(24):
        town.submit_interval(index)
        network.run_due()
    expected = settle_series(series, SharingKey(kind=kind, weights=equal_shares(series.homes)), [PRICES])
    for home in series.homes:
        totals = network.view("settlement", "home_totals", SUNNY, home)
        assert (totals[0], totals[-1]) == (24, 0)
        assert lines_of(totals) == asdict(expected.homes[home])
        for index, start in enumerate(series.starts):
            statement = network.view("settlement", "interval_statement", SUNNY, home, start)
            assert lines_of(statement) == asdict(expected.intervals[index][home])
        assert balance(network, home) == expected.homes[home].net
    assert lines_of(network.view("settlement", "totals", SUNNY)) == asdict(expected.total)
    accounts = {name: balance(network, name) for name in ("supplier", "grid", "feed-in")}
    assert list(accounts.values()) == [expected.accounts[name] for name in ("supplier", "grid", "feed_in")]
    assert sum(accounts.values()) + sum(balance(network, home) for home in series.homes) == 0
    assert clearing_balances(network) == [0, 0]
    assert network.view("settlement", "waiting", SUNNY) == []


def test_gas_and_size_of_a_settlement_leave_room(make_town: Callable[..., Any]) -> None:
    """17 homes settle in one call far below its limit; ten readings cost a tenth of what one transaction may use."""
    series = shipped_series().days(1)
    town = make_town(series, "hybrid")
    meters = [meter for meter, gateway in town.gateway_of.items() if gateway == "gateway-0"]
    (batch,) = town.batches(*(town.reading(meter, 12) for meter in meters))
    assert batch.count == 10
    outcome = town.network.call("readings", "submit", [batch.to_list()], sender="gateway-0")
    assert outcome.gas_used < 500_000
    for gateway in ("gateway-1", "gateway-2", "gateway-3"):
        own = [meter for meter, owner in town.gateway_of.items() if owner == gateway]
        town.submit(*(town.reading(meter, 12) for meter in own))
    town.network.run_due()
    assert [outcome.status for outcome in town.network.scheduled] == ["ok"]
    assert town.network.scheduled[0].gas_used < 1_000_000


def test_an_interval_closes_in_the_block_after_its_last_reading(small_town: Any) -> None:
    """No transaction names the settlement: the call is scheduled by the reading that completes the interval."""
    network = small_town.network
    small_town.submit(small_town.reading("a_load", 0), small_town.reading("a_pv", 0))
    assert network.next_due == network.time + 600  # the deadline
    assert network.view("settlement", "interval", SUNNY, small_town.series.starts[0])[0] == "OPEN"
    small_town.submit(small_town.reading("b_load", 0))
    assert network.next_due == network.time
    network.block()
    assert network.view("settlement", "interval", SUNNY, small_town.series.starts[0])[0] == "SETTLED"
    assert [(event.name, decode(event.fields)["start"]) for event in network.scheduled[0].events] == [
        ("Settled", small_town.series.starts[0])
    ]


def test_a_missing_reading_is_waited_for_and_then_named(small_town: Any) -> None:
    """At the deadline the interval closes with what is there; the statement says that a value is missing."""
    network = small_town.network
    start = small_town.series.starts[0]
    small_town.submit(small_town.reading("a_load", 0), small_town.reading("a_pv", 0))
    network.time += 599
    network.run_due()
    assert network.view("settlement", "interval", SUNNY, start)[0] == "OPEN"
    network.time += 1
    network.run_due()
    assert network.view("settlement", "interval", SUNNY, start)[0] == "SETTLED"
    statement = network.view("settlement", "interval_statement", SUNNY, "b", start)
    assert (statement[-1], lines_of(statement)["load_wh"]) == (1, 0)
    assert lines_of(network.view("settlement", "interval_statement", SUNNY, "a", start))["export_wh"] == 500
    assert small_town.submit(small_town.reading("b_load", 0)) == ["too_late"]
    assert network.next_due is None


def test_intervals_may_close_in_any_order(small_town: Any) -> None:
    """The second interval completes first; both settle, and the sums are those of both."""
    network = small_town.network
    first = [small_town.reading(meter, 0) for meter in ("a_load", "a_pv", "b_load")]
    second = [small_town.reading(meter, 1) for meter in ("a_load", "a_pv", "b_load")]
    assert small_town.submit(first[0], second[0], second[1], second[2]) == ["accepted", "accepted", "gap", "gap"]
    network.run_due()
    assert network.view("settlement", "waiting", SUNNY) == [small_town.series.starts[0]]
    assert small_town.submit(first[1], first[2]) == ["out_of_order", "out_of_order"]
    network.run_due()
    totals = network.view("settlement", "totals", SUNNY)
    assert totals[0] == 4  # two homes, two intervals
    assert lines_of(totals)["load_wh"] == 2 * 1400
    assert lines_of(totals)["pv_wh"] == 2 * 900


def test_many_open_intervals_share_one_watch(small_town: Any) -> None:
    """However many intervals wait, one deadline call is scheduled; each closes at its own deadline."""
    network = small_town.network
    for index in range(5):
        small_town.submit(small_town.reading("a_load", index))
        network.time += 100
    assert len(network.view("settlement", "waiting", SUNNY)) == 5
    closed = []
    for _ in range(6):
        network.time += 100
        network.run_due()
        closed.append(5 - len(network.view("settlement", "waiting", SUNNY)))
    assert closed == [1, 2, 3, 4, 5, 5]
    assert network.next_due is None


def test_prices_change_with_time_and_never_backwards(small_town: Any) -> None:
    """A version holds from its interval on; none can reach an interval that was opened."""
    network = small_town.network
    starts = small_town.series.starts
    small_town.submit_interval(0)
    dear = [1_000_000, 0, 500_000, 0, 0]
    for effective_from, code in ((starts[0], "TOO_LATE"), (starts[0] - 1, "TOO_LATE")):
        batch = [[effective_from, *dear]]
        assert network.refused("tariffs", "publish", "north", batch, sender="regulator") == code
    network.ok("tariffs", "publish", "north", [[starts[1], *dear]], sender="regulator")
    small_town.submit_interval(1)
    network.run_due()
    before = lines_of(network.view("settlement", "interval_statement", SUNNY, "b", starts[0]))
    after = lines_of(network.view("settlement", "interval_statement", SUNNY, "b", starts[1]))
    assert (before["import_wh"], before["supply"]) == (500, -500 * 300_000)
    assert (after["import_wh"], after["supply"], after["bought"]) == (500, -500 * 1_000_000, -500 * 500_000)


def test_keys_change_with_time_and_never_backwards(small_town: Any) -> None:
    """A static key that gives `b` a tenth takes over from a later interval; the first stays dynamic."""
    network = small_town.network
    starts = small_town.series.starts
    small_town.submit_interval(0)
    shares = [["a", 900_000], ["b", 100_000]]
    code = network.refused("communities", "set_key", SUNNY, "static", starts[0], shares, sender="manager")
    assert code == "TOO_LATE"
    network.ok("communities", "set_key", SUNNY, "static", starts[1], shares, sender="manager")
    small_town.submit_interval(1)
    network.run_due()
    bought = [
        lines_of(network.view("settlement", "interval_statement", SUNNY, "b", start))["bought_wh"]
        for start in starts[:2]
    ]
    assert bought == [500, 50]


def test_an_interval_without_terms_takes_no_readings(make_town: Callable[..., Any], small_town: Any) -> None:
    """Before the first key or the first price there is nothing to settle by: refused, and nothing is opened."""
    town = make_town(small_town.series, gateways=1)
    town.network.ok("communities", "found", "dark", ["south", 3600, 0, *([bytes(32)] * 3)], sender="manager")
    assert town.network.view("settlement", "admits", "dark", town.series.starts[0]) == "no_terms"
    early = town.series.starts[0] - 3600
    assert town.network.view("settlement", "admits", SUNNY, early) == "no_terms"
    assert town.network.view("settlement", "admits", SUNNY, town.series.starts[0]) == ""


def test_only_the_readings_contract_opens_intervals_and_only_settlement_posts(small_town: Any) -> None:
    """The seams between the contracts are closed to everybody else, gateways and founders included."""
    network = small_town.network
    for sender in ("gateway-0", "coop-1"):
        code = network.refused("settlement", "arrived", SUNNY, small_town.series.starts[0], 3, sender=sender)
        assert code == "NOT_READINGS"
        lines = [[b"\1" * 32, 5], [b"\2" * 32, -5]]
        assert network.refused("cash", "post", lines, sender=sender) == "NOT_SETTLEMENT"
        for method in ("settle", "watch"):
            arguments = [SUNNY, small_town.series.starts[0]] if method == "settle" else [SUNNY]
            assert network.call("settlement", method, *arguments, sender=sender).status != "ok"


def test_a_large_community_settles_in_several_calls(make_town: Callable[..., Any]) -> None:
    """620 homes make 13 chunks, more than one call takes; some have PV only. The figures are the reference's."""
    homes = tuple(f"home{number:03d}" for number in range(620))
    series = Series(
        homes=homes,
        starts=(1_470_009_600,),
        interval_s=3600,
        load_wh={home: (37 * number % 1009,) for number, home in enumerate(homes) if number % 6},
        pv_wh={home: (91 * number % 1511,) for number, home in enumerate(homes) if number % 3 == 0},
    )
    town = make_town(series, "hybrid", gateways=1)
    network = town.network
    for first in range(0, len(series.meters), 50):
        meters = [column.meter for column in series.meters[first : first + 50]]
        town.submit(*(town.reading(meter, 0) for meter in meters))
    network.run_due()
    assert len(network.scheduled) > 1
    assert {outcome.status for outcome in network.scheduled} == {"ok"}
    expected = settle_series(series, SharingKey(kind="hybrid", weights=equal_shares(homes)), [PRICES])
    for home in homes[::31]:
        assert lines_of(network.view("settlement", "home_totals", SUNNY, home)) == asdict(expected.homes[home])
    assert lines_of(network.view("settlement", "totals", SUNNY)) == asdict(expected.total)
    assert clearing_balances(network) == [0, 0]


def test_one_call_reads_as_many_meters_as_a_chunk_can_have(network: Any) -> None:
    """60 homes with 16 meters each: the second chunk of them waits for the next call, since each read may be dear."""
    start, hour = 1_470_009_600, 3600
    network.time = start + hour
    homes = {f"home{number:02d}": [f"home{number:02d}-{meter}" for meter in range(16)] for number in range(60)}
    rows = [(meter, home) for home, meters in homes.items() for meter in meters]
    key = {name: name.encode().ljust(32, b"\0") for name in (*homes, "gateway", "supplier", "feed-in", "grid")}
    for first in range(0, len(rows), 100):
        some = rows[first : first + 100]
        requests = [[meter, home, key[home], "load", 0, hour, 20_000, b"\1" * 32] for meter, home in some]
        network.ok("meters", "request", requests, sender="gateway")
        certificates = [[meter, key["gateway"], key[home], 0, b"\2" * 32, start + 10**8] for meter, home in some]
        network.ok("meters", "certify", certificates, sender="electrician")
        network.ok("meters", "activate", [[meter, SUNNY, start] for meter, _home in some], sender="operator")
    terms = ["north", hour, 600, key["supplier"], key["feed-in"], key["grid"]]
    network.ok("communities", "found", SUNNY, terms, sender="manager")
    for names in (list(homes)[:30], list(homes)[30:]):
        joined = [[home, key[home], homes[home], []] for home in names]
        network.ok("communities", "join", SUNNY, joined, sender="manager")
    network.ok("tariffs", "publish", "north", [[start, 1, 1, 1, 1, 1]], sender="regulator")
    network.ok("communities", "set_key", SUNNY, "dynamic", start, [[home, 0] for home in homes], sender="manager")
    chain = GroupChain.begin(bytes(range(32)), rows[0][0], hour, {0: (rows[0][0], "load", 0)})
    batch, _ = chain.append(start, {rows[0][0]: 5})
    assert network.ok("readings", "submit", [batch.to_list()], sender="gateway") == ["accepted"]
    network.time += 601
    network.scheduled.clear()
    stages = []
    while network.next_due is not None and network.next_due <= network.time:
        network.block()
        stages.append(network.view("settlement", "interval", SUNNY, start)[:2])
    assert ["GATHER", 1] in stages and stages[-1] == ["SETTLED", 0]
    assert {outcome.status for outcome in network.scheduled} == {"ok"}
    assert max(outcome.gas_used for outcome in network.scheduled) < 1_000_000
    assert network.view("settlement", "totals", SUNNY)[-1] == len(rows) - 1


@settings(max_examples=25)
@given(
    kind=st.sampled_from(["static", "dynamic", "hybrid"]),
    homes=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=12),
)
def test_the_rule_of_the_contract_is_the_rule_of_the_reference(
    share_out: Callable[..., Any], kind: Any, homes: list[tuple[int, int, int]]
) -> None:
    """share_out against exact fractions: same parts, for any weights, needs and offers."""
    names = [f"h{place:02d}" for place in range(len(homes))]
    weights = dict(zip(names, (entry[0] for entry in homes), strict=True))
    needs = dict(zip(names, (entry[1] for entry in homes), strict=True))
    offers = dict(zip(names, (entry[2] for entry in homes), strict=True))
    bought, sold = share_out(kind, list(weights.values()), list(needs.values()), list(offers.values()))
    expected = share_pool(SharingKey(kind=kind, weights=weights), sum(offers.values()), needs)
    assert bought == list(expected.values())
    assert sold == list(split_exactly(sum(bought), offers).values())
