"""Campaigns in ranges: run by several processes, recorded after each range, resumed where they were left.

The report is one JSON file: commit, seed, which ranges are done, and the tallies of all programs so far. A campaign
goes on only on the commit that it was started on, because another one writes or runs other programs.
"""

import gc
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any, Final

from contracts_fuzz.campaign import Campaign, Tally, read_tally

SEED_STEP: Final = 1_000_000_000
"""Program n of campaign s has the seed s * SEED_STEP + n."""
GARBAGE_EVERY: Final = 100
"""Programs between two collections: closures refer to each other, and the collector's own timing would cost a third."""


@dataclass(slots=True)
class Report:
    """How far a campaign is."""

    commit: str
    seed: int
    range_programs: int
    done: set[int] = field(default_factory=set)
    """Numbers of finished ranges: range r is programs r * range_programs and on."""
    cpu_s: float = 0.0
    tally: Tally = field(default_factory=Tally)

    def missing(self, programs: int) -> list[int]:
        """Ranges to run until there are so many programs."""
        return [number for number in range(-(-programs // self.range_programs)) if number not in self.done]

    def add(self, number: int, tally: Tally, cpu_s: float) -> None:
        self.done.add(number)
        self.tally.add(tally)
        self.cpu_s = round(self.cpu_s + cpu_s, 1)

    def save(self, path: Path) -> None:
        """Replace the file, so that a reader or a crash finds the old one or the new one."""
        plain = {
            "commit": self.commit,
            "seed": self.seed,
            "range_programs": self.range_programs,
            "done": list(self._intervals()),
            "cpu_s": self.cpu_s,
            "median_size": self.tally.median_size(),
            "tally": self.tally.to_json(),
        }
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        beside.replace(path)

    def _intervals(self) -> Iterator[list[int]]:
        """Finished ranges as [first, last], ascending."""
        ordered = sorted(self.done)
        start = previous = ordered[0] if ordered else 0
        for number in ordered[1:]:
            if number != previous + 1:
                yield [start, previous]
                start = number
            previous = number
        if ordered:
            yield [start, previous]


def read_report(path: Path, commit: str, seed: int, range_programs: int) -> Report:
    """The report to go on with, a fresh one where there is no file. Raises ValueError if it is another campaign's."""
    fresh = Report(commit, seed, range_programs)
    if not path.exists():
        return fresh
    plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for name in ("commit", "seed", "range_programs"):
        if plain[name] != getattr(fresh, name):
            raise ValueError(f"{path} is of {name} {plain[name]}, not {getattr(fresh, name)}")
    fresh.done = {number for first, last in plain["done"] for number in range(first, last + 1)}
    fresh.cpu_s, fresh.tally = plain["cpu_s"], read_tally(plain["tally"])
    return fresh


def run_range(seed: int, first: int, count: int) -> tuple[Tally, float]:
    """Programs `first` to `first + count - 1` of a campaign, and the CPU seconds. Raises AssertionError."""
    start = process_time()
    campaign = Campaign()
    gc.disable()
    try:
        for number in range(first, first + count):
            campaign.run(seed * SEED_STEP + number)
            if number % GARBAGE_EVERY == 0:
                gc.collect()
    finally:
        gc.enable()
    return campaign.tally, process_time() - start


def run_ranges(report: Report, programs: int, processes: int) -> Iterator[Report]:
    """Runs what is missing until there are so many programs; gives the report after each range.

    Raises AssertionError with the seed and the source where walker and closures differ."""
    waiting = report.missing(programs)[::-1]
    running: dict[Future[tuple[Tally, float]], int] = {}
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        while waiting or running:
            while waiting and len(running) < processes:
                number = waiting.pop()
                work = pool.submit(run_range, report.seed, number * report.range_programs, report.range_programs)
                running[work] = number
            for finished in wait(running, return_when=FIRST_COMPLETED).done:
                tally, cpu_s = finished.result()
                report.add(running.pop(finished), tally, cpu_s)
                yield report
