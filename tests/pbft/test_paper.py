"""The paper tests as a whole: each fails where its rule is taken away.

The tests stand in `core/test_paper_<subject>.py`.
"""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from scenarios.edits import apply_edits
from scenarios.rule_removals import REMOVALS, Removal

from ledger.errors import InvalidBlock, InvariantViolation
from pbft.core.quorum import Quorums

HERE = Path(__file__).parent / "core"
FAILURES = (AssertionError, LookupError, ValueError, InvariantViolation, InvalidBlock, pytest.fail.Exception)
MODULES: dict[str, ModuleType] = {}


def load(subject: str) -> ModuleType:
    """A module of paper tests by its subject, or any test module by its path below tests/."""
    if subject not in MODULES:
        path = HERE.parents[1] / f"{subject}.py" if "/" in subject else HERE / f"test_paper_{subject}.py"
        spec = importlib.util.spec_from_file_location(f"paper_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        MODULES[subject] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(MODULES[subject])
    return MODULES[subject]


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: f"{removal.rules}: {removal.test}")
def test_a_paper_test_fails_without_its_rule(removal: Removal) -> None:
    """It passes as the product is, and fails with the rule taken away; its docstring names the rule."""
    subject, name = removal.test.split(".")
    test = getattr(load(subject), name)
    named = re.findall(r"\b[DM][0-9]{1,2}(?![0-9])", test.__doc__)
    assert set(removal.rules.split(", ")) <= set(named), f"{name} does not name {removal.rules}"
    test(**removal.arguments)
    with pytest.MonkeyPatch.context() as monkeypatch:
        apply_edits(removal.edits, monkeypatch)
        Quorums.of.cache_clear()
        with pytest.raises(FAILURES):
            test(**removal.arguments)
    Quorums.of.cache_clear()
