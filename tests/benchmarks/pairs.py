"""Two checkouts on one machine in turns: what changed between them, as ratios.

    make pairs WITH=../before    (PYTHONPATH=tests python -m benchmarks.pairs ../before [--pairs 5] [--clients 500 ...])

The speed of a shared machine drifts by more than most changes are worth. So the two take turns, the first of a pair
is the second of the next, and what counts are the ratios within pairs: this checkout's figure over the other's. Each
runs the compiled build that lies in it (`make compiled`). Arguments that are not of this command are `bench`'s.
"""

import argparse
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.performance import COMPILED, ROOT, RUN_SECONDS_MAX, RUNS, TRANSFERS

Report = dict[str, Any]

BENCH: Final = (COMPILED.parent / "gridquorum").relative_to(ROOT)
ARGUMENTS: Final = (*RUNS[TRANSFERS], "--seconds", "8")
FIGURES: Final[Mapping[str, Callable[[Report], float]]] = {
    "processor time for 1,000 requests, s": lambda report: report["cpu_seconds_per_1000_requests"],
    "of it at a worker, us a request": lambda report: report["worker_cpu_us_per_request_and_replica"],
    "requests/s": lambda report: report["requests_per_second"],
    "median latency, ms": lambda report: report["latency_ms"]["p50"],
    "most memory of a replica, MB": lambda report: report["memory_mb_max"],
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of both checkouts over all pairs: medians, and the ratios of the pairs."""

    name: str
    before: float
    after: float
    ratios: tuple[float, ...]

    def __str__(self) -> str:
        least, most = min(self.ratios), max(self.ratios)
        medians = f"{self.before:9.4g} {self.after:9.4g}"
        return f"{self.name:37} {medians} {median(self.ratios):7.3f} ({least:.3f}-{most:.3f})"


def find_bench(checkout: Path) -> Path:
    """The command of the compiled build in there. Raises SystemExit where there is none."""
    command = checkout.resolve() / BENCH
    if not command.exists():
        raise SystemExit(f"{command}: not there: run `make compiled` in that checkout")
    return command


def measure(command: Path, arguments: Sequence[str]) -> Report:
    """One run in its checkout. Raises SystemExit where it fails."""
    asked = [str(command), "bench", *arguments, "--json"]
    checkout = command.parents[len(BENCH.parts) - 1]
    done = subprocess.run(asked, cwd=checkout, stdout=subprocess.PIPE, text=True, timeout=RUN_SECONDS_MAX, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(asked)} failed with {done.returncode}")
    report: Report = json.loads(done.stdout)
    return report


def measure_pairs(before: Path, after: Path, arguments: Sequence[str], pairs: int) -> list[tuple[Report, Report]]:
    """So many pairs of reports, (before, after), of these two commands."""
    reports = []
    for number in range(pairs):
        if number % 2 == 0:
            first = measure(before, arguments)
            reports.append((first, measure(after, arguments)))
        else:
            first = measure(after, arguments)
            reports.append((measure(before, arguments), first))
    return reports


def compare(reports: Sequence[tuple[Report, Report]]) -> list[Comparison]:
    """Each figure, over all pairs."""
    compared = []
    for name, read in FIGURES.items():
        found = [(read(before), read(after)) for before, after in reports]
        compared.append(
            Comparison(
                name=name,
                before=median(before for before, _ in found),
                after=median(after for _, after in found),
                ratios=tuple(after / before for before, after in found),
            )
        )
    return compared


def main(argv: list[str] | None = None) -> None:
    """Prints a line for each figure: both medians, the median ratio, the least and the most."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    options.add_argument("before", type=Path, help="the other checkout")
    options.add_argument("--after", type=Path, default=ROOT, help="this one, unless said")
    options.add_argument("--pairs", type=int, default=5)
    asked, arguments = options.parse_known_args(argv)
    arguments = arguments or list(ARGUMENTS)
    if asked.pairs < 1:
        options.error("--pairs: at least 1")
    reports = measure_pairs(find_bench(asked.before), find_bench(asked.after), arguments, asked.pairs)
    before, after = reports[0]
    print(f"{before['commit']} -> {after['commit']}, {asked.pairs} pairs of {' '.join(arguments)}")
    print(f"{after['machine']['processor']}, {after['machine']['cores']} cores")
    print(f"{'medians':37} {'before':>9} {'after':>9} {'ratio':>7} (least-most)")
    for comparison in compare(reports):
        print(comparison)


if __name__ == "__main__":
    main()
