"""What grows, on docs/performance.md: the state, the chain, the ledger's bytes, and memory in a long run."""

from itertools import pairwise
from typing import Any, Final

GROWTH_HEAD: Final = (
    "| keys in the state | new root, us a changed key | synced write, us | times that of the first row "
    "| start, s | memory of the process that loaded it, 50,000 keys a write, MB | disk, MB |"
)
CHAIN: Final = "chain"
CHAIN_HEAD: Final = (
    "| blocks in the chain | its ledger, MB | start, s | back after missing {missed:,} blocks, s (waiting) "
    "| back with an empty disk, s (waiting) |"
)
BYTES: Final = "ledger bytes"
LONG_RUN: Final = "long run"
LONG_RUN_TEXT: Final = """A long run took {requests:,} requests in {seconds:,.0f} s. Its largest replica, workers
included, held on average, and at most:

| requests done | MB on average | at most |
|---|---|---|
{rows}

From the second of these fifths to the last, memory {verdict}. On each replica's disk a request left
{disk_bytes_per_request_and_replica:,} bytes."""
FIFTHS: Final = 5
FLAT_SHARE: Final = 0.1
"""Memory whose average grows by no more than this from the second fifth of a long run to the last is flat. The first
fifth is left out, because accounts and caches are met for the first time in it; single samples differ by a fifth, since
pages of the ledger come and go with each few blocks."""


def origin(measured: dict[str, Any]) -> tuple[str, str, float]:
    """Commit, build and load of rows."""
    return measured["commit"], measured.get("build", "interpreted"), measured["machine"]["load_average"]


def write_growth(figures: dict[str, Any]) -> list[str]:
    """The section's lines; none where nothing of it was measured."""
    out: list[str] = []
    if "growth" in figures:
        out += ["", *growth_table(figures["growth"])]
    if CHAIN in figures:
        out += ["", *chain_table(figures[CHAIN])]
    if BYTES in figures:
        out += ["", *bytes_table(figures[BYTES])]
    if LONG_RUN in figures["runs"]:
        out += ["", describe_long_run(figures["runs"][LONG_RUN])]
    return ["", "## Growth", *out] if out else []


def growth_table(growth: dict[str, Any]) -> list[str]:
    """What a changed key costs as the state grows, and the start of a replica; by `benchmarks.growth`."""
    lines = [GROWTH_HEAD, "|---|---|---|---|---|---|---|"]
    first = growth["rows"][0]
    for row in growth["rows"]:
        factor = (row["root_us"] + row["write_us"]) / (first["root_us"] + first["write_us"])
        lines.append(
            f"| {row['keys']:,} | {row['root_us']:.1f} | {row['write_us']:.1f} | {factor:.2f} "
            f"| {row['start_seconds']:.1f} | {row['private_mb']:.0f} | {row['disk_mb']:,.0f} |"
        )
    made = "`PYTHONPATH=tests python -m benchmarks.growth`, commit {}, {}, load before {}.".format
    return [*lines, "", made(*origin(growth))]


def chain_table(chain: dict[str, Any]) -> list[str]:
    """The start and the return of a replica as the chain grows; by `benchmarks.chain_growth`."""
    lines = [CHAIN_HEAD.format(missed=chain["rows"][0]["missed"]), "|---|---|---|---|---|"]
    for row in chain["rows"]:
        lines.append(
            f"| {row['blocks']:,} | {row['disk_mb']:,.0f} | {row['start_seconds']:.2f} "
            f"| {row['missed_seconds']:.1f} ({row['missed_wait_seconds']:.1f}) "
            f"| {row['empty_seconds']:.1f} ({row['empty_wait_seconds']:.1f}) |"
        )
    made = "`PYTHONPATH=tests python -m benchmarks.chain_growth`, commit {}, {}, load before {}.".format
    return [*lines, "", made(*origin(chain))]


def bytes_table(measured: dict[str, Any]) -> list[str]:
    """What one unit of each workload leaves in the ledger; by `benchmarks.ledger_bytes`."""
    rows = measured["rows"]
    lines = [
        "| bytes in the ledger of one of | " + " | ".join(f"{row['count']:,} {row['unit']}" for row in rows) + " |",
        "|---|" + "---|" * len(rows),
    ]
    for part in rows[0]["parts"]:
        lines.append(f"| {part} | " + " | ".join(f"{row['parts'][part]:.1f}" for row in rows) + " |")
    lines.append("| all tables | " + " | ".join(f"{sum(row['parts'].values()):.1f}" for row in rows) + " |")
    lines.append("| growth of the file | " + " | ".join(f"{row['file_bytes']:.1f}" for row in rows) + " |")
    made = "`PYTHONPATH=tests python -m benchmarks.ledger_bytes`, commit {}, {}, load before {}.".format
    return [
        *lines,
        "",
        made(*origin(measured)),
    ]


def describe_long_run(run: dict[str, Any]) -> str:
    """How memory went in a long run, fifth by fifth of its time; and whether that is flat."""
    course = run["course"]
    bounds = [len(course) * fifth // FIFTHS for fifth in range(FIFTHS + 1)]
    fifths = [course[first:end] for first, end in pairwise(bounds)]
    averages = [sum(megabytes for _, _, megabytes in points) / len(points) for points in fifths]
    most = [max(megabytes for _, _, megabytes in points) for points in fifths]
    rows = "\n".join(
        f"| {points[0][1]:,} to {points[-1][1]:,} | {average:.0f} | {largest:.0f} |"
        for points, average, largest in zip(fifths, averages, most, strict=True)
    )
    growth = averages[-1] / averages[1] - 1
    verdict = "was flat" if growth <= FLAT_SHARE else f"was not flat, it grew by {100 * growth:.0f} %"
    return LONG_RUN_TEXT.format(rows=rows, verdict=verdict, **run)
