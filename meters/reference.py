"""The slow, obvious reference of settlement: what the ledger must come to, from a series, a key and prices alone.

Written from the definitions of ENERGY 5.1 and 6.2 and not from the contracts: quotas are exact fractions, remainders
are given out one by one. It knows nothing of readings, chunks or ledgers. The demo holds the network's figures
against it, tests take it as oracle, and `tests/vectors/settlement` are its answers for the shipped days.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Final, Literal

from meters.series import Series

PPM: Final = 1_000_000

KeyKind = Literal["static", "dynamic", "hybrid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Whole micro-EUR per kWh, in force from a time on."""

    supply: int
    feed_in: int
    community: int
    grid_fee: int
    community_grid_fee: int
    effective_from: int = 0
    """UTC seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingKey:
    """How the community's surplus is shared."""

    kind: KeyKind
    weights: Mapping[str, int]
    """By home; its share in parts per million. Not read by a dynamic key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeLines:
    """One home over one interval or many: energy in Wh, money in nano-EUR, below 0 where the home pays."""

    load_wh: int = 0
    pv_wh: int = 0
    own_use_wh: int = 0
    bought_wh: int = 0
    """From the community."""
    sold_wh: int = 0
    """To the community."""
    import_wh: int = 0
    export_wh: int = 0
    supply: int = 0
    grid: int = 0
    bought: int = 0
    sold: int = 0
    feed_in: int = 0
    net: int = 0

    def __add__(self, other: "HomeLines") -> "HomeLines":
        return HomeLines(**{name: getattr(self, name) + getattr(other, name) for name in _LINE_NAMES})


_LINE_NAMES: Final = tuple(field.name for field in fields(HomeLines))


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledSeries:
    """The settlement of a whole series."""

    homes: Mapping[str, HomeLines]
    """Sums over all intervals, by home."""
    intervals: tuple[Mapping[str, HomeLines], ...]
    """The same, interval by interval."""

    @property
    def total(self) -> HomeLines:
        """Sum over all homes."""
        return sum(self.homes.values(), HomeLines())

    @property
    def accounts(self) -> dict[str, int]:
        """Nano-EUR that each account of the community ends with; the homes and the three others sum to 0."""
        total = self.total
        return {
            "homes": total.net,
            "supplier": -total.supply,
            "grid": -total.grid,
            "feed_in": -total.feed_in,
        }


def equal_shares(homes: Sequence[str]) -> dict[str, int]:
    """Equal parts per million that sum to 1,000,000; what does not divide goes to the first homes in byte order."""
    base, left = divmod(PPM, len(homes))
    ordered = sorted(homes, key=str.encode)
    return {home: base + (1 if place < left else 0) for place, home in enumerate(ordered)}


def split_exactly(amount: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Whole parts in proportion to the weights: floors, then one each by largest remainder, ties by name."""
    total = sum(weights.values())
    if total == 0:
        return dict.fromkeys(weights, 0)
    quotas = {home: Fraction(amount * weight, total) for home, weight in weights.items()}
    parts = {home: quota.numerator // quota.denominator for home, quota in quotas.items()}
    served: set[str] = set()
    while sum(parts.values()) < amount:
        waiting = [home for home in weights if home not in served]
        largest = max(quotas[home] - parts[home] for home in waiting)
        winner = min((home for home in waiting if quotas[home] - parts[home] == largest), key=str.encode)
        parts[winner] += 1
        served.add(winner)
    return parts


def share_pool(key: SharingKey, pool: int, needs: Mapping[str, int]) -> dict[str, int]:
    """What each home gets of the pool, in Wh (ENERGY 5.1)."""
    if key.kind == "dynamic":
        return split_exactly(min(pool, sum(needs.values())), needs)
    offered = split_exactly(pool, {home: key.weights[home] for home in needs})
    taken = {home: min(offered[home], needs[home]) for home in needs}
    if key.kind == "static":
        return taken
    still_needed = {home: needs[home] - taken[home] for home in needs}
    left = pool - sum(taken.values())
    second = split_exactly(min(left, sum(still_needed.values())), still_needed)
    return {home: taken[home] + second[home] for home in needs}


def settle_interval(energies: Mapping[str, tuple[int, int]], key: SharingKey, prices: Prices) -> dict[str, HomeLines]:
    """The lines of every home of one interval, from its (load, PV) in Wh."""
    own = {home: min(load, pv) for home, (load, pv) in energies.items()}
    needs = {home: load - own[home] for home, (load, _) in energies.items()}
    offers = {home: pv - own[home] for home, (_, pv) in energies.items()}
    bought = share_pool(key, sum(offers.values()), needs)
    sold = split_exactly(sum(bought.values()), offers)
    lines = {}
    for home, (load, pv) in energies.items():
        imported = needs[home] - bought[home]
        exported = offers[home] - sold[home]
        money = {
            "supply": -imported * prices.supply,
            "grid": -imported * prices.grid_fee - bought[home] * prices.community_grid_fee,
            "bought": -bought[home] * prices.community,
            "sold": sold[home] * prices.community,
            "feed_in": exported * prices.feed_in,
        }
        lines[home] = HomeLines(
            load_wh=load,
            pv_wh=pv,
            own_use_wh=own[home],
            bought_wh=bought[home],
            sold_wh=sold[home],
            import_wh=imported,
            export_wh=exported,
            net=sum(money.values()),
            **money,
        )
    return lines


def settle_series(series: Series, key: SharingKey, tariff: Sequence[Prices]) -> SettledSeries:
    """Every interval of a series. Raises ValueError where no price of the tariff is in force."""
    intervals = []
    homes = dict.fromkeys(series.homes, HomeLines())
    for index, start in enumerate(series.starts):
        energies = {home: series.energy_of(home, index) for home in series.homes}
        lines = settle_interval(energies, key, prices_at(tariff, start))
        homes = {home: homes[home] + lines[home] for home in homes}
        intervals.append(lines)
    return SettledSeries(homes=homes, intervals=tuple(intervals))


def prices_at(tariff: Sequence[Prices], start: int) -> Prices:
    """The prices in force at a time: those with the latest beginning that is not after it."""
    in_force = [prices for prices in tariff if prices.effective_from <= start]
    if not in_force:
        raise ValueError(f"no price is in force at {start}")
    return max(in_force, key=lambda prices: prices.effective_from)
