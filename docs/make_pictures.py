"""Draws docs/settled-day.svg: the shipped series' first day, settled with the dynamic key by the slow reference.

Run it after the shipped data or the reference change: `python docs/make_pictures.py`. A test compares the file.
"""

from pathlib import Path

from meters.reference import HomeLines, Prices, SharingKey, settle_series
from meters.series import shipped_series

PICTURE = Path(__file__).parent / "settled-day.svg"
WIDTH, HEIGHT, LEFT, BASE = 960, 450, 70, 345
FONT = 'font-family="system-ui, sans-serif" font-size="13"'
BAR_STEP, BAR_WIDTH = 36, 26
WH_PER_PIXEL = 160
PRICES = Prices(supply=0, feed_in=0, community=0, grid_fee=0, community_grid_fee=0)  # energy only
SERIES = [
    ("own_use_wh", "own use", "#2e7d4f"),
    ("bought_wh", "shared inside the community", "#8cc63f"),
    ("import_wh", "bought from the supplier", "#b0bec5"),
]
FED_IN = ("export_wh", "fed in", "#f2b134")


def compute_hours() -> list[HomeLines]:
    """The community's sum of each of the 24 hours."""
    day = shipped_series().days(1)
    settled = settle_series(day, SharingKey(kind="dynamic", weights={}), [PRICES])
    return [sum(lines.values(), HomeLines()) for lines in settled.intervals]


def draw(hours: list[HomeLines]) -> str:
    """The picture as SVG text."""
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT} role="img">',
        "<title>A settled summer day: where each hour's energy came from, and what was fed in</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        '<text x="70" y="28" font-size="16" font-weight="600" fill="#1d2730">',
        "17 homes, one summer day, every hour settled</text>",
    ]
    for index, (_, label, colour) in enumerate([*SERIES, FED_IN]):
        x = LEFT + index * 215
        out.append(f'<rect x="{x}" y="42" width="13" height="13" fill="{colour}"/>')
        out.append(f'<text x="{x + 19}" y="53" fill="#44525f">{label}</text>')
    for kwh in range(-10, 50, 10):
        y = BASE - kwh * 1000 // WH_PER_PIXEL
        out.append(f'<path d="M{LEFT - 6} {y}H{LEFT + 24 * BAR_STEP}" stroke="#dde4ea"/>')
        out.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end" fill="#44525f">{abs(kwh)} kWh</text>')
    for hour, lines in enumerate(hours):
        x, top = LEFT + hour * BAR_STEP + 5, BASE
        for name, _, colour in SERIES:
            height = getattr(lines, name) // WH_PER_PIXEL
            top -= height
            out.append(f'<rect x="{x}" y="{top}" width="{BAR_WIDTH}" height="{height}" fill="{colour}"/>')
        height = lines.export_wh // WH_PER_PIXEL
        out.append(f'<rect x="{x}" y="{BASE}" width="{BAR_WIDTH}" height="{height}" fill="{FED_IN[2]}"/>')
        if hour % 3 == 0:
            out.append(f'<text x="{x + 13}" y="{HEIGHT - 12}" text-anchor="middle" fill="#44525f">{hour:02d}:00</text>')
    out.append(f'<path d="M{LEFT} {BASE}h{24 * BAR_STEP}" stroke="#33475b"/>')
    return "\n".join([*out, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw(compute_hours()), encoding="utf-8")
