"""What the demo found, as data, as one JSON object and as text for a terminal of 80 columns.

Every figure in a `DemoResult` was read from the network by vouched queries or verified proofs; this module adds nothing
up from the input series. It compares the network's figures with the slow reference, line by line, so that a changed
rule shows as a named difference. Pure: no network, no clock, no terminal.

Energy in Wh and money in nano-EUR are whole numbers. One micro-EUR per kWh times one Wh is exactly one nano-EUR, so
each bill can be recomputed from the JSON (`HomeResult.recompute_net_nano_eur`).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

COLUMNS: Final = 80  # the narrowest terminal that people still script against
HOME_COLUMNS: Final = 11  # of a home's name; longer ones are cut with an ellipsis
KWH_SHOWN_MAX: Final = 100_000  # from here on a column of 10 holds MWh instead; the JSON has every Wh
ENERGY_LINES: Final = ("load_wh", "pv_wh", "own_use_wh", "shared_wh", "grid_import_wh", "grid_export_wh")
ENERGY_HEADINGS: Final = ("load", "PV", "own use", "shared", "bought", "fed in")
NANO_EUR_PER_EUR: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyLines:
    """Six lines of energy, in Wh, of one home or of the whole community."""

    load_wh: int
    pv_wh: int
    own_use_wh: int
    shared_wh: int  # received from neighbours, after own use
    grid_import_wh: int
    grid_export_wh: int

    @property
    def given_wh(self) -> int:
        """What went to neighbours: generation that was neither used at home nor fed in."""
        return self.pv_wh - self.own_use_wh - self.grid_export_wh

    @property
    def unbalanced_wh(self) -> int:
        """Consumption less its sources: zero when the meter's import is allocated to the last Wh."""
        return self.load_wh - self.own_use_wh - self.shared_wh - self.grid_import_wh


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeResult:
    """One home's settled energy and its bill: what its account got, below 0 where the home has to pay."""

    home: str
    energy: EnergyLines
    net_nano_eur: int

    def recompute_net_nano_eur(self, tariffs: Mapping[str, int]) -> int:
        """The bill from the lines and the prices alone, as any reader of the JSON can do it."""
        energy = self.energy
        return (
            energy.given_wh * tariffs["community"]
            + energy.grid_export_wh * tariffs["feed_in"]
            - energy.grid_import_wh * (tariffs["supply"] + tariffs["grid_fee"])
            - energy.shared_wh * (tariffs["community"] + tariffs["community_grid_fee"])
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KilledPrimary:
    """What the demo killed half way, and how the network went on."""

    replica: int
    pid: int
    worker_pid: int | None
    view_before: int
    view_after: int
    height: int  # of the last block before the kill
    back_after_seconds: float  # from the restart until the replica had the others' height and root


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """Everything that the demo prints."""

    replicas: int
    intervals: int
    interval_seconds: int
    keys: str  # "static", "dynamic" or "hybrid"
    readings_submitted: int
    readings_accepted: int
    readings_refused: Mapping[str, int]  # by stable code
    energy: EnergyLines
    homes: Sequence[HomeResult]
    accounts: Mapping[str, int]  # nano-EUR by account name
    tariffs: Mapping[str, int]  # micro-EUR per kWh by name
    killed: Sequence[KilledPrimary]
    height: int
    state_root: str  # lower-case hex
    primary: int
    view: int
    certificate_height: int
    certificate_signers: Sequence[int]
    proofs_verified: int
    proof_path: str | None
    seconds: float
    next_steps: Sequence[str] = field(default=())

    @property
    def money_sum_nano_eur(self) -> int:
        return sum(self.accounts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A figure that the network and the slow reference disagree on."""

    figure: str  # a path such as "homes_detail[h01].shared_wh"
    network: int
    reference: int

    def __str__(self) -> str:
        return f"{self.figure}: the network says {self.network}, the reference {self.reference}"


def render_json(result: DemoResult) -> str:
    """The demo's one line of JSON (DESIGN.md section 5)."""
    document = {
        "v": 1,
        "replicas": result.replicas,
        "homes": len(result.homes),
        "intervals": result.intervals,
        "interval_seconds": result.interval_seconds,
        "keys": result.keys,
        "readings_submitted": result.readings_submitted,
        "readings_accepted": result.readings_accepted,
        "readings_refused": dict(sorted(result.readings_refused.items())),
        "energy": asdict(result.energy),
        "homes_detail": [
            {"home": home.home, **asdict(home.energy), "net_nano_eur": home.net_nano_eur} for home in result.homes
        ],
        "accounts": dict(sorted(result.accounts.items())),
        "tariffs": dict(sorted(result.tariffs.items())),
        "money_sum_nano_eur": result.money_sum_nano_eur,
        "killed": [asdict(killed) for killed in result.killed],
        "height": result.height,
        "state_root": result.state_root,
        "primary": result.primary,
        "view": result.view,
        "certificate": {"height": result.certificate_height, "signers": list(result.certificate_signers)},
        "proofs_verified": result.proofs_verified,
        "seconds": round(result.seconds, 3),
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def format_kwh(energy_wh: int) -> str:
    """Whole Wh as kWh with all three decimals, exact."""
    sign = "-" if energy_wh < 0 else ""
    kwh, rest = divmod(abs(energy_wh), 1000)
    return f"{sign}{kwh}.{rest:03d}"


def format_eur(amount_nano_eur: int, *, decimals: int = 2) -> str:
    """Nano-EUR as EUR, rounded half away from zero to the decimals shown; nine of them show it exactly."""
    unit = 10 ** (9 - decimals)
    rounded = (abs(amount_nano_eur) + unit // 2) // unit
    sign = "-" if amount_nano_eur < 0 and rounded else ""
    euros, rest = divmod(rounded, 10**decimals)
    return f"{sign}{euros}.{rest:0{decimals}d}" if decimals else f"{sign}{euros}"


def render_text(result: DemoResult) -> str:
    """The report for people: at most 80 columns, plain characters, exact to the watt-hour."""
    sections = (
        _title(result),
        _table(result),
        _sums(result),
        _network(result),
        _killed(result),
        ["Where to look next", *(f"  {step}" for step in result.next_steps)] if result.next_steps else [],
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def compare_figures(network: Mapping[str, int], reference: Mapping[str, int]) -> list[Difference]:
    """Every figure that is not the same on both sides, in their order; a missing one counts as zero, and is named."""
    names = dict.fromkeys([*reference, *network])
    return [
        Difference(figure=name, network=network.get(name, 0), reference=reference.get(name, 0))
        for name in names
        if network.get(name) != reference.get(name)
    ]


def flatten_figures(
    energy: EnergyLines, homes: Iterable[HomeResult], accounts: Mapping[str, int], tariffs: Mapping[str, int]
) -> dict[str, int]:
    """All figures by the path that a reader of the JSON would use."""
    figures = {f"energy.{line}": getattr(energy, line) for line in ENERGY_LINES}
    figures.update({f"tariffs[{name}]": price for name, price in tariffs.items()})
    for home in homes:
        figures.update({f"homes_detail[{home.home}].{line}": getattr(home.energy, line) for line in ENERGY_LINES})
        figures[f"homes_detail[{home.home}].net_nano_eur"] = home.net_nano_eur
    figures.update({f"accounts[{name}]": amount for name, amount in accounts.items()})
    return figures


def _title(result: DemoResult) -> list[str]:
    minutes = result.interval_seconds // 60
    grid = f"{result.intervals} intervals of {minutes} minutes"
    refused = "".join(f", {count} refused {code}" for code, count in sorted(result.readings_refused.items()))
    return [
        f"{len(result.homes)} homes, {grid}, {result.keys} keys, {result.replicas} replicas",
        f"{result.readings_accepted} of {result.readings_submitted} readings accepted{refused}",
    ]


def _table(result: DemoResult) -> list[str]:
    """A line per home and one for all; in kWh with every Wh shown, in MWh where kWh would not fit."""
    largest_wh = max(getattr(result.energy, line) for line in ENERGY_LINES)
    unit, per_unit = ("kWh", 1) if largest_wh < KWH_SHOWN_MAX * 1000 else ("MWh", 1000)

    def row(name: str, cells: Iterable[str], net: str) -> str:
        shown = name if len(name) <= HOME_COLUMNS else name[: HOME_COLUMNS - 1] + "…"
        return f"{shown:<{HOME_COLUMNS}}" + "".join(f"{cell:>10}" for cell in cells) + f"{net:>9}"

    def energy_row(name: str, energy: EnergyLines, net_nano_eur: int) -> str:
        cells = (format_kwh(getattr(energy, line) // per_unit) for line in ENERGY_LINES)
        return row(name, cells, format_eur(net_nano_eur))

    head = row(unit, ENERGY_HEADINGS, "net EUR")
    rule = "-" * len(head)
    homes = [energy_row(home.home, home.energy, home.net_nano_eur) for home in result.homes]
    total = energy_row("all homes", result.energy, sum(home.net_nano_eur for home in result.homes))
    return [head, rule, *homes, rule, total, "net EUR: below 0 the home pays, above 0 it is paid"]


def _sums(result: DemoResult) -> list[str]:
    energy = result.energy
    taken = "consumption = own use + shared + bought"
    made = "generation  = own use + shared + fed in"
    given_wh = energy.pv_wh - energy.own_use_wh - energy.shared_wh - energy.grid_export_wh
    return [
        "Sums over every account and every interval",
        f"  {taken:<44}{energy.unbalanced_wh:>16} Wh left",
        f"  {made:<44}{given_wh:>16} Wh left",
        f"  {'money, all accounts':<44}{result.money_sum_nano_eur:>16} nano-EUR left",
        *(f"    {name:<42}{format_eur(amount, decimals=9):>16} EUR" for name, amount in _other_accounts(result)),
    ]


def _other_accounts(result: DemoResult) -> Iterator[tuple[str, int]]:
    """Accounts that are no home's: supplier, grid, feed-in, whatever the contracts keep."""
    homes = {home.home for home in result.homes}
    return ((name, amount) for name, amount in sorted(result.accounts.items()) if name not in homes)


def _network(result: DemoResult) -> list[str]:
    signers = ", ".join(f"r{replica}" for replica in result.certificate_signers)
    lines = [
        f"Height {result.height}, view {result.view}, primary r{result.primary}",
        f"  state root   {result.state_root}",
        f"  certificate  of height {result.certificate_height}, signed by {signers}",
    ]
    if result.proof_path is not None:
        lines.append(f"  proof        {result.proofs_verified} verified by a separate process from the file and")
        lines.append("               genesis.json alone:")
        lines.append(f"  {result.proof_path}")
    return lines


def _killed(result: DemoResult) -> list[str]:
    lines: list[str] = []
    for killed in result.killed:
        lines += [
            f"Killed half way: r{killed.replica}, primary of view {killed.view_before}, at height {killed.height}",
            f"  SIGKILL to process {killed.pid} and its contract worker {killed.worker_pid or '(none)'}",
            f"  the others went on in view {killed.view_after}; restarted, it had their height",
            f"  and state root after {killed.back_after_seconds:.1f} s",
        ]
    return lines
