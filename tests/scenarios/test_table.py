"""The table of executions in README.md: complete, and true to what it names."""

import ast
import re
from pathlib import Path

from scenarios.every import SCENARIOS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROW = re.compile(r"\| (\d+) \| ([^|]+) \| ([^|]*) \| ([^|]+) \|")
TRANSCRIPT = re.compile(r"\[(\w+)\]\(transcripts/\1\.txt\)")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
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
    """Scenarios of that execution with those rules, and tests that are there."""
    for number, (rules, shown) in table().items():
        scenarios, tests = TRANSCRIPT.findall(shown), TEST.findall(shown)
        assert scenarios or tests or number in LATER, f"execution {number}: nothing shows it"
        for name in scenarios:
            assert number in SCENARIOS[name].executions, f"{name} is not execution {number}"
            assert set(rules.split(", ")) & set(SCENARIOS[name].rules.split(", ")), f"{name}: other rules than {rules}"
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
