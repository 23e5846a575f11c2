"""One contract around a few lines, run on the real engine."""

from collections.abc import Callable
from typing import Any

import pytest
from contracts_corpus.sources import contract_of

from contracts.pytest_plugin import chain as chain  # also where the checkout was installed before it had the plug-in
from contracts.testing import Chain, Deployed
from ledger.encoding import decode
from ledger.execution import CallOutcome

SENDER = b"\x01" * 32


@pytest.fixture
def source_of() -> Callable[..., bytes]:
    """See `contract_of`."""
    return contract_of


@pytest.fixture
def outcome_of() -> Callable[..., CallOutcome]:
    """Deploys a body and calls it once: its outcome, whatever it is."""

    def run(body: str, *, gas: int = 5_000_000, **parts: str) -> CallOutcome:
        chain = Chain()
        deployed: Deployed = chain.deploy(contract_of(body, **parts), name="trial")
        return chain.attempt(deployed, "run", sender=SENDER, gas=gas)

    return run


@pytest.fixture
def value_of(outcome_of: Callable[..., CallOutcome]) -> Callable[..., Any]:
    """The result of a body that must work."""

    def run(body: str, **parts: Any) -> Any:
        outcome = outcome_of(body, **parts)
        assert (outcome.status, outcome.code) == ("ok", "")
        return decode(outcome.result)

    return run
