"""Make the golden settlements of the shipped days: `python tests/vectors/settlement/make_vectors.py`.

Written by the slow reference in meters/reference.py, one file per kind of key: every day's total, and day 0 home by
home. Whoever changes a rule on purpose runs this again and reads the difference.
"""

import json
from dataclasses import asdict
from pathlib import Path

from meters.reference import Prices, SharingKey, equal_shares, settle_series
from meters.series import shipped_series

DAYS = 7
PRICES = Prices(supply=300_000, feed_in=80_000, community=180_000, grid_fee=70_000, community_grid_fee=30_000)


def make_vector(kind: str) -> dict[str, object]:
    """The vector of one kind of key."""
    series = shipped_series()
    key = SharingKey(kind=kind, weights=equal_shares(series.homes))  # type: ignore[arg-type]
    days = [settle_series(series.days(1, first=day), key, [PRICES]) for day in range(DAYS)]
    return {
        "series": "citylearn_2022_summer_week.csv",
        "kind": kind,
        "weights_ppm": dict(key.weights) if kind != "dynamic" else {},
        "prices_micro_eur_per_kwh": asdict(PRICES),
        "days": [{"total": asdict(day.total), "accounts": day.accounts} for day in days],
        "day_0_homes": {home: asdict(lines) for home, lines in days[0].homes.items()},
    }


def main() -> None:
    for kind in ("static", "dynamic", "hybrid"):
        text = json.dumps(make_vector(kind), indent=1) + "\n"
        (Path(__file__).parent / f"{kind}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
