"""The paper tests as a whole: each fails where its rule is taken away.

The tests stand beside this file in `test_paper_<subject>.py`.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from scenarios.edits import apply_edits
from scenarios.rule_removals import REMOVALS, Removal

from ledger.errors import InvariantViolation
from pbft.core.quorum import Quorums

HERE = Path(__file__).parent
FAILURES = (AssertionError, LookupError, ValueError, InvariantViolation, pytest.fail.Exception)
MODULES: dict[str, ModuleType] = {}


def load(subject: str) -> ModuleType:
    """A module of paper tests, by its subject."""
    if subject not in MODULES:
        spec = importlib.util.spec_from_file_location(f"paper_{subject}", HERE / f"test_paper_{subject}.py")
        assert spec is not None and spec.loader is not None
        MODULES[subject] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(MODULES[subject])
    return MODULES[subject]


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: f"{removal.rules}: {removal.test}")
def test_a_paper_test_fails_without_its_rule(removal: Removal) -> None:
    """It passes as the product is, and fails with the rule taken away; its docstring names the rule."""
    subject, name = removal.test.split(".")
    test = getattr(load(subject), name)
    text = test.__doc__.split(":")[0]
    assert all(rule in text for rule in removal.rules.split(", ")), f"{name} does not name {removal.rules}"
    test(**removal.arguments)
    with pytest.MonkeyPatch.context() as monkeypatch:
        apply_edits(removal.edits, monkeypatch)
        Quorums.of.cache_clear()
        with pytest.raises(FAILURES):
            test(**removal.arguments)
    Quorums.of.cache_clear()
