"""The searcher finds planted defects: each mutant of `mutants`, at its recorded seed, by the checker of its property.

`make mutants` searches the seeds and records them in mutants.json; here each is run once more, in a process of its own,
and without the defect. A mutant that something else stops is not found.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from simulation.mutant_runs import PROCESSES, Bench, CannotPlant, candidates, is_found, read_records, run_seeds
from simulation.mutants import MUTANTS, Edit, Mutant, mutant

from pbft.simulation.violation import PROPERTIES

RECORDS = read_records()
ALL = "-"  # the property of a control: every seed is run, whatever is reported
UNTOUCHED = Mutant(name="untouched", rule="", reported_by=ALL, edits=())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.build(tmp_path_factory.mktemp("mutants") / "packages")


@pytest.fixture(scope="module")
def runs(bench: Bench) -> Iterator[dict[str, "Future[list[dict[str, Any]]]"]]:
    """All mutants at their seeds, and the seeds without a defect, as many at once as there are processors."""
    work = bench.directory.parent

    def run(planted: Mutant, seeds: list[int]) -> list[dict[str, Any]]:
        packages = bench.plant(planted, work / planted.name)
        return list(run_seeds(packages, planted.reported_by, seeds))

    with ThreadPoolExecutor(PROCESSES) as pool:
        controls = pool.submit(run, UNTOUCHED, sorted({record["seed"] for record in RECORDS.values()}))
        found = {m.name: pool.submit(run, m, [RECORDS[m.name]["seed"]]) for m in MUTANTS if m.name in RECORDS}
        yield found | {UNTOUCHED.name: controls}


def test_the_list_is_whole() -> None:
    """At least 25, each of a property that exists, with a seed of its budget; and nothing is left of others."""
    names = [planted.name for planted in MUTANTS]
    assert len(set(names)) == len(names) >= 25
    assert set(RECORDS) == set(names), "make mutants"
    for planted in MUTANTS:
        assert planted.reported_by in PROPERTIES
        assert RECORDS[planted.name]["seed"] in candidates(planted), planted.name


def test_without_a_defect_the_same_seeds_are_green(runs: dict[str, "Future[list[dict[str, Any]]]"]) -> None:
    """The controls: what the mutants' seeds report is the defect's doing."""
    lines = runs[UNTOUCHED.name].result()
    assert {line["seed"] for line in lines} == {record["seed"] for record in RECORDS.values()}
    assert not [line for line in lines if line["failure"]]


@pytest.mark.parametrize("planted", MUTANTS, ids=lambda planted: planted.name)
def test_the_mutant_is_found(planted: Mutant, runs: dict[str, "Future[list[dict[str, Any]]]"]) -> None:
    """By the checker that is named for it."""
    (line,) = runs[planted.name].result()
    assert is_found(planted, line["failure"]), f"{planted.rule}: {line['failure'] or 'nothing was reported'}"


def test_another_end_is_not_found(bench: Bench) -> None:
    """A crash of the product, or another property, does not count; a text that is gone fails loudly."""
    crash = mutant(
        "crash", "-", "agreement", "pbft/node/driver.py", "        self._journal.sync()\n", "        1 // 0\n"
    )
    packages = bench.plant(crash, bench.directory.parent / crash.name)
    (line,) = run_seeds(packages, crash.reported_by, [1])
    assert line["failure"].startswith("ZeroDivisionError") and not is_found(crash, line["failure"])
    gone = Mutant(
        name="gone",
        rule="-",
        reported_by="agreement",
        edits=(Edit(file="pbft/__init__.py", old="no such text", new=""),),
    )
    with pytest.raises(CannotPlant, match="0 times"):
        bench.plant(gone, bench.directory.parent / gone.name)
