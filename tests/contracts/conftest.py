"""One contract around a few lines, run on the real engine."""

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from contracts.testing import Chain, Deployed
from ledger.encoding import decode
from ledger.execution import CallOutcome

ALL_NAMES = (
    "Address, Contract, Event, Indexed, Interface, Ledger, Map, Struct, Vec, canonical, change_configuration, ctx, "
    "emit, external, init, invariant, migrate, mul_div, require, role, schedule, scheduled, sha256, verify_ed25519, "
    "view"
)
SENDER = b"\x01" * 32


def contract_of(body: str, *, fields: str = "pass", before: str = "", result: str = "int") -> bytes:
    """The source of a contract whose method `run` has this body."""
    return (
        f"from contracts import {ALL_NAMES}\n\n{textwrap.dedent(before)}\n\nclass Trial(Contract):\n"
        f"{textwrap.indent(textwrap.dedent(fields), '    ')}\n\n"
        f"    @external\n    def run(self) -> {result}:\n{textwrap.indent(textwrap.dedent(body), '        ')}\n"
    ).encode()


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
