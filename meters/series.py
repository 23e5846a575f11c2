"""A series: what homes used and produced, interval by interval, in whole Wh.

Owns the model that the simulator replays, the demo settles and the reference checks: homes in byte order of their
names, a regular grid of interval starts in UTC seconds, and one column of Wh per meter. Parsing files is
`meters.formats`' subject.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from itertools import pairwise
from typing import Final

DAY_S: Final = 86_400
SHIPPED_NAME: Final = "citylearn_2022_summer_week.csv"
SHIPPED_PRICES_NAME: Final = "citylearn_2022_summer_week_prices.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterColumn:
    """One meter of a series: the column that it fills."""

    meter: str
    """Its pseudonym, the column's name: `h01_load`."""
    home: str
    kind: str
    """`load` or `pv`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Load and PV of homes over a regular grid. Construction checks that all columns have the grid's length."""

    homes: tuple[str, ...]
    """In byte order of their names: the order in which ties are broken."""
    starts: tuple[int, ...]
    """Start of each interval, UTC seconds, `interval_s` apart; from 0 when the file counted steps only."""
    interval_s: int
    load_wh: Mapping[str, tuple[int, ...]]
    """By home; a home without a load meter is absent."""
    pv_wh: Mapping[str, tuple[int, ...]]
    """By home; a home without PV is absent."""

    def __post_init__(self) -> None:
        if list(self.homes) != sorted(set(self.load_wh) | set(self.pv_wh), key=str.encode):
            raise ValueError("homes are not the sorted names of the columns")
        for columns in (self.load_wh, self.pv_wh):
            for home, values in columns.items():
                if len(values) != len(self.starts):
                    raise ValueError(f"{home}: {len(values)} values for {len(self.starts)} intervals")
        for before, start in pairwise(self.starts):
            if start - before != self.interval_s:
                raise ValueError(f"interval {start} does not follow {before} by {self.interval_s} s")

    @property
    def meters(self) -> tuple[MeterColumn, ...]:
        """All meters, home by home, load before PV."""
        columns = []
        for home in self.homes:
            if home in self.load_wh:
                columns.append(MeterColumn(meter=f"{home}_load", home=home, kind="load"))
            if home in self.pv_wh:
                columns.append(MeterColumn(meter=f"{home}_pv", home=home, kind="pv"))
        return tuple(columns)

    @property
    def end(self) -> int:
        """End of the last interval, UTC seconds."""
        return self.starts[-1] + self.interval_s

    @property
    def whole_days(self) -> int:
        """How many days of 24 h, counted from the first row; 0 for a series that is shorter than one."""
        return len(self.starts) * self.interval_s // DAY_S

    def values_of(self, column: MeterColumn) -> tuple[int, ...]:
        """The Wh of one meter, interval by interval."""
        return (self.load_wh if column.kind == "load" else self.pv_wh)[column.home]

    def energy_of(self, home: str, index: int) -> tuple[int, int]:
        """(load, PV) of a home in the interval with that index, in Wh; a meter that it lacks counts 0."""
        load = self.load_wh[home][index] if home in self.load_wh else 0
        pv = self.pv_wh[home][index] if home in self.pv_wh else 0
        return load, pv

    def slice(self, first: int, count: int) -> "Series":
        """The intervals `first` to `first + count - 1`. Raises ValueError when the series does not have them all."""
        if first < 0 or count < 1 or first + count > len(self.starts):
            raise ValueError(f"intervals {first} to {first + count - 1} of {len(self.starts)}")
        keep = slice(first, first + count)
        return replace(
            self,
            starts=self.starts[keep],
            load_wh={home: values[keep] for home, values in self.load_wh.items()},
            pv_wh={home: values[keep] for home, values in self.pv_wh.items()},
        )

    def days(self, count: int, *, first: int = 0) -> "Series":
        """`count` days of 24 h, counted from the first row, beginning with day `first`.

        Raises ValueError when the series is shorter.
        """
        per_day = DAY_S // self.interval_s
        if first < 0 or count < 1 or first + count > self.whole_days:
            raise ValueError(f"the series has {self.whole_days} whole days; asked for {count} from day {first}")
        return self.slice(first * per_day, count * per_day)

    def shifted(self, seconds: int) -> "Series":
        """The same energy at another time. Raises ValueError when the shift leaves the interval grid."""
        if seconds % self.interval_s:
            raise ValueError(f"a shift of {seconds} s leaves the grid of {self.interval_s} s")
        return replace(self, starts=tuple(start + seconds for start in self.starts))

    def ending_before(self, time: int) -> "Series":
        """Shifted so that the last interval ends at or shortly before `time`, keeping the time of day if a day allows.

        A series on whole days ends at the last midnight UTC at or before `time`, so that an interval keeps its hour.
        """
        last_end = time - time % DAY_S - (-self.end) % DAY_S
        return self.shifted(last_end - self.end)

    def load_total_wh(self) -> int:
        """Sum of all load."""
        return sum(sum(values) for values in self.load_wh.values())

    def pv_total_wh(self) -> int:
        """Sum of all PV."""
        return sum(sum(values) for values in self.pv_wh.values())


def shipped_series() -> Series:
    """The week that comes with the package: 17 measured homes with PV, hourly (data/PROVENANCE.md)."""
    from meters.formats.interval_csv import parse_interval_csv  # the parser builds a Series, so it is below this module

    return parse_interval_csv(_shipped(SHIPPED_NAME))


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSignal:
    """What energy from the grid cost and emitted in one interval."""

    start: int
    price_micro_usd_per_kwh: int
    carbon_mg_per_kwh: int


def shipped_grid_signals() -> tuple[GridSignal, ...]:
    """Retail price and carbon intensity of the shipped week, in the order of its intervals."""
    starts = shipped_series().starts
    rows = _shipped(SHIPPED_PRICES_NAME).decode("ascii").splitlines()[1:]
    signals = []
    for start, row in zip(starts, rows, strict=True):
        _, price, carbon = row.split(",")
        signals.append(GridSignal(start=start, price_micro_usd_per_kwh=int(price), carbon_mg_per_kwh=int(carbon)))
    return tuple(signals)


def _shipped(name: str) -> bytes:
    return resources.files("meters").joinpath("data", name).read_bytes()
