"""Planting mutants, running seeds against them, and the search that records which seed finds which.

A mutant is an edit of a copy of the packages (`mutants`), never of the product: it is planted in a directory of its
own, and a process of its own runs with that directory first on its path. It is *found* by a seed at which the checker
of the named property reports; whatever else stops that run does not count.

    make mutants            searches a killing seed for each mutant, and writes mutants.json
    make mutants NAME=...   the same for those whose names contain it
"""

import argparse
import compileall
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, Final

from simulation.mutants import MUTANTS, Mutant

from pbft.simulation.seed import draw_options

ROOT: Final = Path(__file__).resolve().parents[2]
RECORDS: Final = Path(__file__).with_name("mutants.json")
PACKAGES: Final = ("contracts", "ledger", "pbft")
PROCESSES: Final = max(1, os.cpu_count() or 1)


class CannotPlant(AssertionError):
    """The text that a mutant replaces is not there exactly once: the product has changed, the mutant must follow."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A compiled copy of the packages, from which mutated ones are made by hard links."""

    directory: Path

    @staticmethod
    def build(directory: Path) -> "Bench":
        for package in PACKAGES:
            shutil.copytree(ROOT / package, directory / package, ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(directory, quiet=1)
        return Bench(directory)

    def plant(self, mutant: Mutant, directory: Path) -> Path:
        """The packages with one defect. Raises CannotPlant."""
        shutil.copytree(self.directory, directory, copy_function=os.link)
        for edit in mutant.edits:
            path = directory / edit.file
            text = path.read_text(encoding="utf-8")
            if text.count(edit.old) != 1:
                raise CannotPlant(f"{mutant.name}: {edit.file} has this text {text.count(edit.old)} times: {edit.old}")
            path.unlink()  # the link, not the file that all copies share
            path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
            for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
                compiled.unlink()
        return directory


def run_seeds(packages: Path, wanted: str, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """What seeds report with these packages, as it comes, up to the first one at which `wanted` is reported."""
    command = [sys.executable, "-m", "simulation.mutant_child", str(packages), wanted, *map(str, seeds)]
    paths = f"{packages}{os.pathsep}{ROOT / 'tests'}"
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "0"}
    with subprocess.Popen(command, cwd=packages, env=environment, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            yield json.loads(line)
    if child.returncode:
        raise RuntimeError(f"the process of {packages.name} ended with {child.returncode}")


def is_found(mutant: Mutant, failure: str) -> bool:
    """Whether the checker of the mutant's property has reported."""
    return failure.startswith(f"Violation: {mutant.reported_by}:")


def read_records() -> dict[str, dict[str, Any]]:
    """What the last search found: by mutant, the seed and what was reported."""
    records: dict[str, dict[str, Any]] = json.loads(RECORDS.read_text(encoding="utf-8"))
    return records


def candidates(mutant: Mutant) -> list[int]:
    """The seeds of the mutant's budget: the first ones that draw what it needs, and keyed-hash signatures (speed)."""
    drawn = ((seed, draw_options(seed)) for seed in count())
    fitting = (seed for seed, options in drawn if options.signing.is_shared and mutant.needs(options))
    return list(islice(fitting, mutant.seeds_max))


def search(mutant: Mutant, bench: Bench, known: Sequence[int], work: Path) -> dict[str, Any] | None:
    """The record of the first seed of the budget that finds the mutant; `known` ones first, so that few controls do."""
    packages = bench.plant(mutant, work / mutant.name)
    seeds = sorted(candidates(mutant), key=lambda seed: (seed not in known, seed))
    others: Counter[str] = Counter()
    for line in run_seeds(packages, mutant.reported_by, seeds):
        if is_found(mutant, line["failure"]):
            shutil.rmtree(packages)
            return line
        others[line["failure"][:80]] += 1
    print(f"{mutant.name}: not found in {len(seeds)} seeds, which said {others.most_common(5)}", file=sys.stderr)
    return None


def write_records(records: Mapping[str, Mapping[str, Any]]) -> None:
    """Replaces what the last search found."""
    RECORDS.write_text(json.dumps(records, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """`make mutants`. What was found is written at once, so that an interrupted search is not lost."""
    parser = argparse.ArgumentParser(description="search a killing seed for each mutant")
    parser.add_argument("names", nargs="*", help="parts of the names of those that are searched; all without any")
    names = parser.parse_args().names
    chosen = [mutant for mutant in MUTANTS if not names or any(name in mutant.name for name in names)]
    known = read_records() if RECORDS.exists() else {}
    rest = {mutant.name for mutant in MUTANTS} - {mutant.name for mutant in chosen}
    records = {name: record for name, record in known.items() if name in rest}
    seeds = {record["seed"] for record in known.values()}
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(PROCESSES) as pool:
        work = Path(directory)
        bench = Bench.build(work / "packages")
        searches = {pool.submit(search, mutant, bench, sorted(seeds), work): mutant for mutant in chosen}
        for done in as_completed(searches):
            mutant, record = searches[done], done.result()
            if record is not None:
                records[mutant.name] = record
                write_records(records)
                print(f"{mutant.name}: seed {record['seed']}: {record['failure'][:100]}", flush=True)
    write_records(records)
    sys.exit(1 if set(records) != {mutant.name for mutant in MUTANTS} else 0)


if __name__ == "__main__":
    main()
