"""Make the shipped series from the CityLearn wheel: `python -m meters.make_data [CityLearn-1.8.0-py3-none-any.whl]`.

Takes the first full week (a summer week, Monday to Sunday) of the 17 measured homes of the CityLearn Challenge 2022
data set, `citylearn_challenge_2022_phase_all`, and writes the interval CSV, its price and carbon signals, the licence
of the source and the check sums. Arithmetic is exact on the source's decimal text: a home's load is its column of
kWh, its PV is W per kWp times the nominal kW of the home in `schema.json`, and whole Wh come from rounding the
running total since the file's first row, so that no energy is lost: the sum of all intervals is the rounded total.
Without a path the wheel is fetched by `pip download`.
"""

import csv
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path
from typing import Final

WHEEL: Final = "CityLearn==1.8.0"
DATASET: Final = "citylearn/data/citylearn_challenge_2022_phase_all"
LICENCE: Final = "CityLearn-1.8.0.dist-info/LICENSE"
BUILDINGS: Final = 17
FIRST_ROW: Final = 1
"""Row 0 is the last hour of July; row 1 begins August 1, a Monday."""
ROWS: Final = 7 * 24
FIRST_INTERVAL: Final = "2016-08-01T00:00:00"
"""The source numbers month, hour and day type without a year; 2016 is one in which August 1 is a Monday."""

_LOAD: Final = "Equipment Electric Power [kWh]"
_PV: Final = "Solar Generation [W/kW]"


def make_files(wheel: Path) -> dict[str, bytes]:
    """Name and bytes of every file that the wheel gives. Raises KeyError or ValueError when it is another data set."""
    with zipfile.ZipFile(wheel) as archive:
        schema = json.loads(archive.read(f"{DATASET}/schema.json"))
        columns: dict[str, list[int]] = {}
        for number in range(1, BUILDINGS + 1):
            rows = _rows(archive, f"Building_{number}.csv")
            home = f"h{number:02d}"
            power = Decimal(str(schema["buildings"][f"Building_{number}"]["pv"]["attributes"]["nominal_power"]))
            columns[f"{home}_load"] = whole_steps(Decimal(row[_LOAD]) * 1000 for row in rows)
            columns[f"{home}_pv"] = whole_steps(Decimal(row[_PV]) * power for row in rows)
        prices = _rows(archive, "pricing.csv")
        carbon = _rows(archive, "carbon_intensity.csv")
        licence = archive.read(LICENCE)
    files = {
        "citylearn_2022_summer_week.csv": _series_csv(columns),
        "citylearn_2022_summer_week_prices.csv": _signals_csv(prices, carbon),
        "LICENSE.CityLearn.txt": licence,
    }
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    return {**files, "SHA256SUMS": sums.encode("ascii")}


def whole_steps(values: Iterable[Decimal]) -> list[int]:
    """Whole numbers whose running total is the rounded running total of the values: rounding never adds up."""
    with localcontext() as context:
        context.prec = 60  # the source has 17 digits; a year of them stays exact
        total = Decimal(0)
        steps, before = [], 0
        for value in values:
            total += value
            rounded = int(total.to_integral_value(rounding=ROUND_HALF_EVEN))
            steps.append(rounded - before)
            before = rounded
    return steps


def _rows(archive: zipfile.ZipFile, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(archive.read(f"{DATASET}/{name}").decode("utf-8-sig"))))


def _starts() -> list[str]:
    first = datetime.fromisoformat(FIRST_INTERVAL)
    return [(first + timedelta(hours=hour)).isoformat() for hour in range(ROWS)]


def _series_csv(columns: dict[str, list[int]]) -> bytes:
    lines = [",".join(["interval_start", *columns])]
    for index, start in enumerate(_starts(), FIRST_ROW):
        lines.append(",".join([start, *(str(values[index]) for values in columns.values())]))
    return ("\n".join(lines) + "\n").encode("ascii")


def _signals_csv(prices: list[dict[str, str]], carbon: list[dict[str, str]]) -> bytes:
    lines = ["interval_start,price_micro_usd_per_kwh,carbon_mg_per_kwh"]
    for index, start in enumerate(_starts(), FIRST_ROW):
        price = Decimal(prices[index]["Electricity Pricing [$]"]) * 1_000_000
        mass = Decimal(carbon[index]["kg_CO2/kWh"]) * 1_000_000
        lines.append(f"{start},{round(price)},{round(mass)}")
    return ("\n".join(lines) + "\n").encode("ascii")


def fetch_wheel(folder: Path) -> Path:
    """The wheel, downloaded into the folder by pip. Raises CalledProcessError when pip cannot."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True)  # noqa: S603 (a fixed command)
    return next(folder.glob("*.whl"))


def main(arguments: list[str]) -> int:
    """Write the files beside this module."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(arguments[0]) if arguments else fetch_wheel(Path(folder))
        files = make_files(wheel)
    for name, data in files.items():
        (Path(__file__).parent / "data" / name).write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
