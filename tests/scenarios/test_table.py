"""The table of executions in README.md: complete, and true to what it names."""

import ast
import re
from pathlib import Path

from scenarios.every import SCENARIOS
from simulation.mutants import MUTANTS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROW = re.compile(r"\| (\d+) \| ([^|]+) \| ([^|]*) \| ([^|]+) \|")
TRANSCRIPT = re.compile(r"\[(\w+)\]\(transcripts/\1\.txt\)")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
MUTANT = re.compile(r"mutant `([\w-]+)`")
PLAYED_BY_MUTANT = re.compile(r"\bexecution (\d+)")  # in the rule that a mutant takes away
EXECUTIONS = set(range(1, 52))
LATER = {34, 35, 47}  # each with its reason in the table


def table() -> dict[int, tuple[str, str]]:
    """Execution -> its rules, and what shows it."""
    lines = (HERE / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [match for line in lines if (match := ROW.fullmatch(line))]
    found = {int(match[1]): (match[3], match[4]) for match in rows}
    assert len(found) == len(rows), "an execution has two rows"
    return found


def test_every_execution_has_its_row() -> None:
    """All 51; those that come later say so, and nothing else does."""
    rows = table()
    assert set(rows) == EXECUTIONS
    assert {number for number, (_, shown) in rows.items() if shown.startswith("later:")} == LATER


def test_what_the_table_names_exists() -> None:
    """Scenarios of that execution with those rules, planted defects that the searcher finds, tests that are there."""
    mutants = {planted.name: planted.rule for planted in MUTANTS}
    for number, (rules, shown) in table().items():
        scenarios, tests, planted = TRANSCRIPT.findall(shown), TEST.findall(shown), MUTANT.findall(shown)
        assert scenarios or tests or planted or number in LATER, f"execution {number}: nothing shows it"
        for name in scenarios:
            assert number in SCENARIOS[name].executions, f"{name} is not execution {number}"
            assert set(rules.split(", ")) & set(SCENARIOS[name].rules.split(", ")), f"{name}: other rules than {rules}"
        for name in planted:
            assert str(number) in PLAYED_BY_MUTANT.findall(mutants[name]), f"{name} is not execution {number}"
            assert any(rule in mutants[name] for rule in rules.split(", ")), f"{name}: other rules than {rules}"
        for path, name in tests:
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            functions = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert name in functions, f"execution {number}: {path} has no {name}"


def test_every_scenario_is_in_the_table() -> None:
    """A scenario that plays an execution stands in that execution's row."""
    rows = table()
    for name, scenario in SCENARIOS.items():
        for number in scenario.executions:
            assert name in TRANSCRIPT.findall(rows[number][1]), f"{name} is missing in the row of {number}"


def test_every_mutant_of_an_execution_is_in_the_table() -> None:
    """A planted defect that names an execution stands in that execution's row."""
    rows = table()
    for planted in MUTANTS:
        for number in PLAYED_BY_MUTANT.findall(planted.rule):
            assert planted.name in MUTANT.findall(rows[int(number)][1]), f"{planted.name} is missing in row {number}"
