"""The figures of a settled community: read from the network by vouched queries, and computed by the slow reference.

The two sides never touch: `read_figures` knows only what W replicas answer alike, `compute_reference` only the series
and the plan. `demo_report.compare_figures` holds one against the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ledger.hashing import Tag, tagged_hash
from meters.demo_report import EnergyLines, HomeResult
from meters.onboarding import CommunityPlan, Participants
from meters.reference import HomeLines, SharingKey, settle_series
from meters.series import Series

STATEMENT_FIELDS: Final = (
    "intervals",
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
    "missing",
)  # of contracts/standard/settlement.py, in the order in which a statement travels
TARIFF_FIELDS: Final = ("effective_from", "supply", "feed_in", "community", "grid_fee", "community_grid_fee")
ROLE_ACCOUNTS: Final = ("supplier", "feed_in", "grid", "clearing")


class Querier(Protocol):
    """What this module needs of the client library (`pbft.client.Client`)."""

    def query(self, contract: str, method: str, *arguments: object, min_height: int = 0) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one side says of a settled series."""

    energy: EnergyLines
    homes: tuple[HomeResult, ...]  # in byte order of their names
    accounts: Mapping[str, int]  # nano-EUR by account name
    tariffs: Mapping[str, int]  # micro-EUR per kWh


def account_addresses(participants: Participants) -> dict[str, bytes]:
    """Every account of the community by the name that the report shows; a home never hides a role's account."""
    roles = {
        "supplier": participants.supplier,
        "feed_in": participants.feed_in,
        "grid": participants.grid,
        "clearing": tagged_hash(Tag.CONTRACT_ADDRESS, b"settlement"),
    }
    names = {role: f"@{role}" if role in participants.homes else role for role in ROLE_ACCOUNTS}
    return {**participants.homes, **{names[role]: address for role, address in roles.items()}}


def read_figures(
    client: Querier, plan: CommunityPlan, series: Series, accounts: Mapping[str, bytes], *, min_height: int
) -> Figures:
    """Ask the network for everything that the demo shows, at or above a height. Raises ClientError."""

    def ask(contract: str, method: str, *arguments: object) -> Any:
        return client.query(contract, method, *arguments, min_height=min_height).value

    totals = _statement(ask("settlement", "totals", plan.name))
    homes = [(home, _statement(ask("settlement", "home_totals", plan.name, home))) for home in series.homes]
    names = sorted(accounts)
    balances = ask("cash", "balances", [accounts[name] for name in names])
    tariff = dict(zip(TARIFF_FIELDS, ask("tariffs", "at", plan.zone, series.starts[0]), strict=True))
    return Figures(
        energy=_lines(totals),
        homes=tuple(HomeResult(home=home, energy=_lines(said), net_nano_eur=said["net"]) for home, said in homes),
        accounts=dict(zip(names, balances, strict=True)),
        tariffs={name: price for name, price in tariff.items() if name != "effective_from"},
    )


def compute_reference(series: Series, plan: CommunityPlan, accounts: Mapping[str, bytes]) -> Figures:
    """The same figures from the series and the plan alone, by the slow reference."""
    settled = settle_series(series, _sharing_key(plan), [plan.prices])
    homes = tuple(
        HomeResult(home=home, energy=_lines_of(settled.homes[home]), net_nano_eur=settled.homes[home].net)
        for home in series.homes
    )
    expected = settled.accounts
    roles = {role: expected.get(role, 0) for role in ROLE_ACCOUNTS}
    return Figures(
        energy=_lines_of(settled.total),
        homes=homes,
        accounts={
            name: settled.homes[name].net if name in settled.homes else roles[name.removeprefix("@")]
            for name in accounts
        },
        tariffs={field: getattr(plan.prices, field) for field in TARIFF_FIELDS if field != "effective_from"},
    )


def count_settled(client: Querier, plan: CommunityPlan, series: Series) -> int:
    """Intervals that have been settled for every home, as W replicas see it: homes are booked in their order."""
    return int(_statement(client.query("settlement", "home_totals", plan.name, series.homes[-1]).value)["intervals"])


def _statement(fields: Sequence[int]) -> dict[str, int]:
    return dict(zip(STATEMENT_FIELDS, fields, strict=True))


def _lines(statement: Mapping[str, int]) -> EnergyLines:
    return EnergyLines(
        load_wh=statement["load_wh"],
        pv_wh=statement["pv_wh"],
        own_use_wh=statement["own_use_wh"],
        shared_wh=statement["bought_wh"],
        grid_import_wh=statement["import_wh"],
        grid_export_wh=statement["export_wh"],
    )


def _lines_of(home: HomeLines) -> EnergyLines:
    return EnergyLines(
        load_wh=home.load_wh,
        pv_wh=home.pv_wh,
        own_use_wh=home.own_use_wh,
        shared_wh=home.bought_wh,
        grid_import_wh=home.import_wh,
        grid_export_wh=home.export_wh,
    )


def _sharing_key(plan: CommunityPlan) -> SharingKey:
    make: Callable[..., SharingKey] = SharingKey
    return make(kind=plan.key_kind, weights=plan.shares)
