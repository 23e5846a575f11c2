"""Every D- and M-number is named by a test or a scenario, or is excluded with a reason."""

import ast
import re
from pathlib import Path

from scenarios.every import SCENARIOS

from pbft.core.messages import Forward
from pbft.core.replica import LINK, SIGNED

RULE = re.compile(r"\b[DM][1-9][0-9]?\b")
TESTS = Path(__file__).parents[1]
RULES = {f"D{number}" for number in range(1, 66)} | {f"M{number}" for number in range(1, 61)}
EXCLUDED = {
    "D18": "standard contracts are ordinary contracts: tests/contracts/standard; no rule of ordering or execution",
    "D21": "a gateway loses nothing: tests/meters/test_outbox.py; outside the replicas",
    "D22": "which libraries may be used, and where: tests/test_tidy.py reads the sources",
    "D23": "names of the distribution, the command and the packages",
    "D51": "erasure is an ordered event: comes with the domain's erasure transaction; its format, D50, is here",
    "D55": "passing a block that kills every worker, by an offline order of all members: comes later",
}


def named_rules() -> dict[str, set[str]]:
    """Rule -> the tests and scenarios whose docstring, or whose place in the table of scenarios, names it."""
    named: dict[str, set[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for rule in RULE.findall(ast.get_docstring(node) or ""):
                    named.setdefault(rule, set()).add(f"{path.relative_to(TESTS)}::{node.name}")
    for scenario in SCENARIOS.values():
        for rule in RULE.findall(scenario.rules):
            named.setdefault(rule, set()).add(f"scenario {scenario.name}")
    return named


def test_every_rule_is_named() -> None:
    """Every D- and M-number has a test that names it, or a reason why not; a reason that is out of date fails too."""
    named = named_rules()
    missing = sorted(RULES - set(named) - set(EXCLUDED), key=lambda rule: (rule[0], int(rule[1:])))
    assert not missing, f"no test names {', '.join(missing)}"
    stale = sorted(set(EXCLUDED) & set(named))
    assert not stale, f"excluded, but tested: {stale}"


def test_the_manual_lists_every_message() -> None:
    """pbft/README.md has a row for whatever the core takes, and for nothing else."""
    manual = (TESTS.parent / "pbft" / "README.md").read_text(encoding="utf-8")
    table = manual[manual.index("| message | kind |") :].split("\n\n")[0]
    listed = {name for row in table.splitlines()[2:] for name in row.split("|")[1].strip().split(", ")}
    taken = {kind.__name__ for kind in (*SIGNED, *LINK, Forward)}
    assert listed == taken
