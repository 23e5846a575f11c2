"""From a vote to an active meter in a home that shares: each step by its own role, each refusal with its code."""

from collections.abc import Callable
from typing import Any

import pytest

from contracts.standard import MANIFEST, genesis_contracts, source_of
from ledger.encoding import encode


def key_of(name: str) -> bytes:
    return name.encode().ljust(32, b"\0")


def request(meter: str = "m1", **changes: object) -> list[object]:
    fields: dict[str, object] = {
        "meter": meter,
        "home": "h1",
        "owner": key_of("h1"),
        "kind": "load",
        "scaler": 0,
        "interval_s": 3600,
        "max_power_w": 20_000,
        "serial": bytes(32),
    }
    return list((fields | changes).values())


def certificate(network: Any, meter: str = "m1", **changes: object) -> list[object]:
    fields: dict[str, object] = {
        "meter": meter,
        "gateway": key_of("gateway"),
        "owner": key_of("h1"),
        "register": 0,
        "seals": bytes(32),
        "calibrated_until": network.time + 1,
    }
    return list((fields | changes).values())


def test_the_manifest_is_deployed_in_order_and_governed_by_the_founders() -> None:
    """A reference names a contract of the manifest; sources fit the language's limit."""
    contracts = genesis_contracts([("coop", b"\1" * 32)])
    names = [contract.name for contract in contracts]
    assert names == [name for name, _ in MANIFEST]
    assert set(names) >= {reference for _, references in MANIFEST for reference in references} - {"founders", "authors"}
    assert contracts[0].encoded_arguments() == encode([[["coop", b"\1" * 32]]])
    for contract in contracts:
        assert contract.source == source_of(contract.name)
        assert len(contract.source.encode()) <= 64 * 1024
    with pytest.raises(ValueError, match="founder"):
        genesis_contracts([])
    with pytest.raises(ValueError, match="nonsense"):
        source_of("nonsense")


def test_members_are_voted_in_by_three_of_four(network: Any) -> None:
    """75 % of four admins is three; a member who is voted in holds its roles from then on."""
    number = network.ok("members", "propose", [["Shop", key_of("shop"), ["home"]]], [], sender="coop-4")
    assert network.refused("members", "approve", number, sender="coop-4") == "APPROVED_BEFORE"
    assert network.ok("members", "approve", number, sender="coop-2") is False
    assert network.view("members", "has_role", key_of("shop"), "home") is False
    assert network.ok("members", "approve", number, sender="coop-1") is True
    assert network.view("members", "has_role", key_of("shop"), "home") is True
    assert network.view("members", "has_role", key_of("shop"), "admin") is False
    assert network.view("members", "member", key_of("shop")) == ["Shop", ["home"]]
    assert network.refused("members", "approve", number, sender="coop-3") == "ENACTED"


@pytest.mark.parametrize(
    ("admission", "code"),
    [
        (["X", key_of("x"), ["king"]], "UNKNOWN_ROLE"),
        (["X", key_of("x"), []], "NO_ROLE"),
        (["", key_of("x"), ["home"]], "BAD_NAME"),
        (["x" * 65, key_of("x"), ["home"]], "BAD_NAME"),
    ],
)
def test_a_proposal_is_checked_when_it_is_made(network: Any, admission: list[object], code: str) -> None:
    assert network.refused("members", "propose", [admission], [], sender="coop-1") == code


def test_votes_belong_to_the_electorate_of_their_day(network: Any) -> None:
    """A fifth admin, voted in meanwhile, has no vote on what was proposed before; strangers never have one."""
    old = network.ok("members", "propose", [["Shop", key_of("shop"), ["home"]]], [], sender="coop-1")
    new = network.ok("members", "propose", [["Coop 5", key_of("coop-5"), ["admin"]]], [], sender="coop-1")
    for sender in ("coop-2", "coop-3"):
        network.ok("members", "approve", new, sender=sender)
    assert len(network.view("members", "admin_keys")) == 5
    assert network.refused("members", "approve", old, sender="coop-5") == "NOT_IN_ELECTORATE"
    assert network.refused("members", "approve", old, sender="bank") == "ROLE"
    assert network.refused("members", "propose", [], [key_of("bank")], sender="bank") == "ROLE"
    assert network.refused("members", "approve", 99, sender="coop-1") == "NO_PROPOSAL"
    fresh = network.ok("members", "propose", [], [key_of("coop-5")], sender="coop-5")
    assert network.view("members", "proposal", fresh)[2] == network.view("members", "admin_keys")


def test_a_key_belongs_to_one_member_and_is_rotated_by_vote(network: Any) -> None:
    """Admitting a key twice fails at enactment, as a whole; removing and admitting in one proposal rotates it."""
    twice = [["A", key_of("a"), ["home"]], ["B", key_of("a"), ["home"]]]
    number = network.ok("members", "propose", twice, [], sender="coop-1")
    network.ok("members", "approve", number, sender="coop-2")
    assert network.refused("members", "approve", number, sender="coop-3") == "KEY_TAKEN"
    rotate = [["bank", key_of("bank-2"), ["paying_agent"]]]
    number = network.ok("members", "propose", rotate, [key_of("bank")], sender="coop-1")
    for sender in ("coop-2", "coop-3"):
        network.ok("members", "approve", number, sender=sender)
    assert network.refused("cash", "deposit", key_of("h1"), 1, "", sender="bank") == "ROLE"
    network.ok("cash", "deposit", key_of("h1"), 1, "", sender="bank-2")


def test_electricians_are_listed_from_one_time_to_another(network: Any) -> None:
    """A certificate is judged by the list of its day; only the own organisation lists and unlists."""
    listed_at = network.time
    key = key_of("electrician")
    assert network.view("certifiers", "electrician", key) == [key_of("sparks"), listed_at, 0]
    assert network.refused("certifiers", "add_electricians", [key_of("x")], sender="operator") == "ROLE"
    assert network.refused("certifiers", "add_electricians", [key], sender="sparks") == "KEY_TAKEN"
    network.time += 100
    network.ok("certifiers", "remove_electrician", key, sender="sparks")
    assert network.refused("certifiers", "remove_electrician", key, sender="sparks") == "NOT_LISTED"
    answers = [network.view("certifiers", "is_listed", key, listed_at + after) for after in (-1, 0, 99, 100, 1_000)]
    assert answers == [False, True, True, False, False]
    network.ok("meters", "request", [request()], sender="gateway")
    assert network.refused("meters", "certify", [certificate(network)], sender="electrician") == "NOT_LISTED"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"meter": ""}, "BAD_NAME"),
        ({"meter": "m|1"}, "BAD_NAME"),
        ({"home": "h" * 65}, "BAD_NAME"),
        ({"kind": "battery"}, "BAD_KIND"),
        ({"scaler": 4}, "BAD_SCALER"),
        ({"interval_s": 7 * 60}, "BAD_INTERVAL"),
        ({"interval_s": 0}, "BAD_INTERVAL"),
        ({"max_power_w": 0}, "BAD_POWER"),
        ({"serial": bytes(31)}, "BAD_SERIAL"),
    ],
)
def test_a_request_is_checked(network: Any, changes: dict[str, object], code: str) -> None:
    assert network.refused("meters", "request", [request(**changes)], sender="gateway") == code


def test_a_meter_becomes_active_by_three_hands(network: Any) -> None:
    """Gateway, electrician, operator, in this order and no other; each step is refused to everybody else."""
    activation = [["m1", "sunny", 3600]]
    assert network.refused("meters", "certify", [certificate(network)], sender="electrician") == "UNKNOWN_METER"
    network.ok("meters", "request", [request()], sender="gateway")
    assert network.refused("meters", "request", [request()], sender="thief") == "METER_TAKEN"
    assert network.refused("meters", "activate", activation, sender="operator") == "NOT_CERTIFIED"
    assert network.refused("meters", "certify", [certificate(network)], sender="operator") == "NOT_LISTED"
    for changes, code in (
        ({"gateway": key_of("thief")}, "FOREIGN_METER"),
        ({"owner": key_of("thief")}, "FOREIGN_METER"),
        ({"register": -1}, "BAD_REGISTER"),
        ({"seals": b""}, "BAD_CERTIFICATE"),
        ({"calibrated_until": network.time}, "BAD_CERTIFICATE"),
    ):
        bad = certificate(network, **changes)
        assert network.refused("meters", "certify", [bad], sender="electrician") == code
    network.ok("meters", "certify", [certificate(network, calibrated_until=2 * 10**9)], sender="electrician")
    assert network.refused("meters", "activate", activation, sender="electrician") == "ROLE"
    assert network.refused("meters", "activate", [["m1", "sunny", 3601]], sender="operator") == "BAD_TIME"
    network.ok("meters", "activate", activation, sender="operator")
    assert network.view("meters", "meter", "m1")[0] == "ACTIVE"
    assert network.view("meters", "certificate", "m1")[0] == key_of("electrician")
    assert [meter[0] for meter in network.view("meters", "records", ["m1", "m2"])] == ["ACTIVE", ""]


def test_a_meter_is_suspended_rebound_and_revoked_by_its_operator_alone(network: Any) -> None:
    network.ok("meters", "request", [request()], sender="gateway")
    network.ok("meters", "certify", [certificate(network, calibrated_until=2 * 10**9)], sender="electrician")
    network.ok("meters", "activate", [["m1", "sunny", 3600]], sender="operator")
    assert network.refused("meters", "suspend", "m1", "seal", sender="gateway") == "ROLE"
    assert network.refused("meters", "report", "m1", "tamper", sender="operator") == "NOT_JUDGES"
    network.ok("meters", "suspend", "m1", "seal", sender="operator")
    assert network.refused("meters", "suspend", "m1", "seal", sender="operator") == "NOT_ACTIVE"
    network.ok("meters", "reinstate", "m1", sender="operator")
    assert network.refused("meters", "reinstate", "m1", sender="operator") == "NOT_SUSPENDED"
    network.ok("meters", "rebind", ["m1"], key_of("gateway-2"), sender="operator")
    assert network.view("meters", "meter", "m1")[1] == key_of("gateway-2")
    assert network.refused("meters", "revoke", "m1", 3 * 10**9, sender="operator") == "BAD_TIME"
    network.ok("meters", "revoke", "m1", 7200, sender="operator")
    assert network.view("meters", "meter", "m1")[0] == "REVOKED"
    assert network.refused("meters", "rebind", ["m1"], key_of("gateway"), sender="operator") == "REVOKED"
    assert network.refused("meters", "reinstate", "m1", sender="operator") == "NOT_SUSPENDED"


def test_a_home_joins_with_its_own_active_meters(small_town: Any) -> None:
    """A meter of another home, kind, community or grid does not come in, nor one that is in already."""
    network = small_town.network
    owner = key_of("c")
    cases = [
        (["c", owner, ["nobody"], []], "METER_NOT_ACTIVE"),
        (["c", owner, ["a_load"], []], "FOREIGN_METER"),
        (["a2", key_of("a"), ["a_load"], []], "FOREIGN_METER"),
        (["a", key_of("a"), ["a_load"], []], "HOME_TAKEN"),
        (["c", owner, [], []], "BAD_METERS"),
    ]
    for home, code in cases:
        assert network.refused("communities", "join", "sunny", [home], sender="manager") == code
    assert network.refused("communities", "join", "sunny", [cases[0][0]], sender="operator") == "NOT_MANAGER"
    assert network.refused("communities", "join", "rainy", [cases[0][0]], sender="manager") == "NO_COMMUNITY"
    assert network.view("communities", "home", "sunny", "a") == ["a", key_of("a"), ["a_load"], ["a_pv"]]


def test_a_community_is_founded_once_with_sound_terms(small_town: Any) -> None:
    network = small_town.network
    terms = ["north", 3600, 60, *([bytes(32)] * 3)]
    for name, changed, code in (
        ("sunny", terms, "NAME_TAKEN"),
        ("", terms, "BAD_NAME"),
        ("a|b", terms, "BAD_NAME"),
        ("x", ["north", 7, *terms[2:]], "BAD_INTERVAL"),
        ("x", ["north", 3600, -1, *terms[3:]], "BAD_WAIT"),
    ):
        assert network.refused("communities", "found", name, changed, sender="manager") == code
    assert network.refused("communities", "found", "x", terms, sender="bank") == "ROLE"


def test_a_key_is_complete_and_in_the_future(small_town: Any) -> None:
    """Shares sum to a million, name each home once, and begin after every interval that was opened."""
    network = small_town.network
    start = small_town.series.starts[50]
    half = [["a", 500_000], ["b", 500_000]]
    for kind, effective_from, shares, code in (
        ("static", start, [["a", 500_000], ["b", 499_999]], "SHARES_SUM"),
        ("dynamic", start, half, "SHARES_SUM"),
        ("auction", start, half, "BAD_KIND"),
        ("static", start, [["a", 1_000_001], ["b", -1]], "BAD_SHARE"),
        ("static", start, [["a", 500_000], ["a", 500_000]], "HOME_TWICE"),
        ("static", start, [["a", 500_000], ["z", 500_000]], "NO_HOME"),
        ("static", start + 1, half, "BAD_TIME"),
        ("static", small_town.series.starts[0], half, "TOO_LATE"),
        ("static", start, [], "BATCH_SIZE"),
    ):
        refused = network.refused("communities", "set_key", "sunny", kind, effective_from, shares, sender="manager")
        assert refused == code
    assert network.ok("communities", "set_key", "sunny", "static", start, half, sender="manager") == 1
    versions = [network.view("communities", "key_at", "sunny", at)[0] for at in (start - 3600, start, start + 3600)]
    assert versions == [0, 1, 1]


def test_tariffs_are_published_in_order_by_their_authority(network: Any) -> None:
    """Versions rise in time; the one in force is found among many."""
    batch = [[100 * number, number, 0, 0, 0, 0] for number in range(1, 40)]
    assert network.refused("tariffs", "publish", "z", batch, sender="bank") == "ROLE"
    network.ok("tariffs", "publish", "z", batch, sender="regulator")
    assert network.view("tariffs", "count", "z") == 39
    assert [network.view("tariffs", "at", "z", time)[1] for time in (100, 199, 200, 2050, 99_999)] == [1, 1, 2, 20, 39]
    assert [network.view("tariffs", "covers", "z", time) for time in (99, 100)] == [False, True]
    assert network.view("tariffs", "version", "z", 4) == batch[4]
    for wrong, code in (
        ([[3_900, 1, 0, 0, 0, 0]], "TOO_LATE"),
        ([[5_000, -1, 0, 0, 0, 0]], "BAD_PRICE"),
        ([[5_000, 100_000_001, 0, 0, 0, 0]], "BAD_PRICE"),
        ([[0, 1, 0, 0, 0, 0]], "BAD_TIME"),
        ([], "BATCH_SIZE"),
    ):
        assert network.refused("tariffs", "publish", "z", wrong, sender="regulator") == code


def test_money_moves_within_limits_and_is_never_made(network: Any) -> None:
    """Deposit, transfer, limit, withdrawal: the accounts always sum to what came in less what left."""
    alice, bob = key_of("alice"), key_of("bob")
    network.ok("cash", "deposit", alice, 100, "ref-1", sender="bank")
    network.ok("cash", "transfer", bob, 60, sender="alice")
    assert network.refused("cash", "transfer", bob, 41, sender="alice") == "LOW_BALANCE"
    for amount in (0, -5, 10**24 + 1):
        assert network.refused("cash", "transfer", bob, amount, sender="alice") == "BAD_AMOUNT"
    network.ok("cash", "set_limit", alice, -50, sender="bank")
    network.ok("cash", "transfer", bob, 90, sender="alice")
    assert network.view("cash", "balances", [alice, bob]) == [-50, 150]
    assert network.view("cash", "limit_of", alice) == -50
    assert network.refused("cash", "set_limit", alice, 1, sender="bank") == "BAD_LIMIT"
    assert network.refused("cash", "withdraw", 1, "", sender="alice") == "ROLE"
    network.ok("cash", "transfer", key_of("bank"), 150, sender="bob")
    network.ok("cash", "withdraw", 150, "paid out", sender="bank")
    assert network.view("cash", "issued") == [100, 150]
    assert sum(network.view("cash", "balances", [alice, bob, key_of("bank")])) == 100 - 150


def test_a_transfer_is_cheap(network: Any) -> None:
    """It is what the benchmark sends: two balances, one limit, one event."""
    network.ok("cash", "deposit", key_of("alice"), 100, "", sender="bank")
    outcome = network.call("cash", "transfer", key_of("bob"), 1, sender="alice")
    assert (outcome.status, len(outcome.events)) == ("ok", 1)
    assert outcome.gas_used < 3_000


def test_ping_does_nothing(network: Any) -> None:
    before = dict(network.state)
    outcome = network.call("ping", "ping", sender="anybody")
    assert (outcome.status, outcome.events, dict(network.state)) == ("ok", (), before)


def test_batches_have_a_size(network: Any) -> None:
    """Every batch method refuses nothing and too much alike."""
    calls: list[tuple[str, str, Callable[[int], list[object]], str]] = [
        ("meters", "request", lambda count: [request(f"m{place}") for place in range(count)], "gateway"),
        ("meters", "certify", lambda count: [certificate(network)] * count, "electrician"),
        ("meters", "activate", lambda count: [["m1", "sunny", 3600]] * count, "operator"),
        ("certifiers", "add_electricians", lambda count: [bytes([n, 1] * 16) for n in range(count)], "sparks"),
    ]
    for contract, method, batch_of, sender in calls:
        for size in (0, 101 if contract == "meters" else 201):
            assert network.refused(contract, method, batch_of(size), sender=sender) == "BATCH_SIZE"


def test_the_invariants_are_checked_after_every_block(network: Any) -> None:
    """A ledger whose total was tampered with is noticed by the harness of these tests, so that it can fail at all."""
    network.ok("cash", "deposit", key_of("alice"), 100, "", sender="bank")
    deposited = next(key for key in network.state if b"cash/deposited" in key)
    network.state[deposited] = encode(99)
    with pytest.raises(AssertionError, match=r"cash\.money_is_conserved"):
        network.block()


def test_a_meter_has_a_place_for_good(network: Any) -> None:
    """Numbers in groups of a hundred that one gateway asked for, with one interval; a new gateway changes no place."""
    quarter = request("q1", interval_s=900)
    network.ok("meters", "request", [request("m1"), quarter, request("m2")], sender="gateway")
    network.ok("meters", "request", [request("other")], sender="gateway-2")
    network.ok("meters", "request", [request(f"n{number:02d}") for number in range(99)], sender="gateway")
    places = network.view("meters", "places_of", ["m1", "q1", "m2", "other", "n00", "n97", "n98", "nobody"])
    assert places == [["m1", 0], ["q1", 0], ["m1", 1], ["other", 0], ["m1", 2], ["m1", 99], ["n98", 0], ["", 0]]
    assert network.view("meters", "names_at", "m1", [1, 0, 99, 100]) == ["m2", "m1", "n97", ""]
    network.ok("meters", "certify", [certificate(network)], sender="electrician")
    network.ok("meters", "activate", [["m1", "sunny", 3600]], sender="operator")
    network.ok("meters", "rebind", ["m1"], key_of("gateway-2"), sender="operator")
    assert network.view("meters", "places_of", ["m1"]) == [["m1", 0]]


def test_a_roster_is_who_is_active_behind_a_gateway(network: Any) -> None:
    """With the bounds that hold for all of them; each is told the limit of its own place and time."""
    network.ok("meters", "request", [request("m1"), request("m2", max_power_w=10_000)], sender="gateway")
    calibrated = 2 * 10**9 - 2 * 10**9 % 3600
    certificates = [
        certificate(network, "m1", calibrated_until=calibrated),
        certificate(network, "m2", calibrated_until=calibrated + 3600),
    ]
    network.ok("meters", "certify", certificates, sender="electrician")
    network.ok("meters", "activate", [["m1", "sunny", 3600], ["m2", "sunny", 7200]], sender="operator")
    own, other = key_of("gateway"), key_of("gateway-2")
    nobody = "-" * 98
    assert network.view("meters", "roster", "m1", own) == ["sunny", 3600, 0, 7200, calibrated, 11_000, "ii" + nobody]
    assert network.view("meters", "limits", "m1", own, 7200, 0, 3) == [22_000, 11_000, -1]
    assert network.view("meters", "limits", "m1", own, 3600, 0, 2) == [22_000, -1]
    assert network.view("meters", "limits", "m1", own, calibrated, 1, 2) == [11_000]
    assert network.view("meters", "limits", "m1", own, calibrated, 0, 1) == [-1]
    network.ok("meters", "suspend", "m1", "seal", sender="operator")
    assert network.view("meters", "roster", "m1", own)[-1] == "-i" + nobody
    network.ok("meters", "rebind", ["m2"], other, sender="operator")
    assert network.view("meters", "roster", "m1", own) == ["", 0, 0, 0, 0, 0, ""]
    assert network.view("meters", "roster", "m1", other)[-1] == "-i" + nobody
    network.ok("meters", "reinstate", "m1", sender="operator")
    assert network.view("meters", "roster", "m1", own)[-1] == "i-" + nobody
