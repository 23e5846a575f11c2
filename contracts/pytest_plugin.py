"""The pytest plug-in of an installed GridQuorum: the fixture `chain`, and `--gas-report FILE`.

pytest finds it by its entry point; nothing else imports it, so a node needs no pytest.
"""

import json
from pathlib import Path
from typing import Final

import pytest

from contracts.testing import Chain, Deployed
from ledger.execution import CallOutcome

_REPORT_OPTION: Final = "--gas-report"
_METER: Final = pytest.StashKey["GasMeter"]()


class GasMeter:
    """The gas of every transaction that worked, on every chain of the session."""

    def __init__(self) -> None:
        self._measured: dict[tuple[str, str], list[int]] = {}

    def watch(self, contract: Deployed, method: str, outcome: CallOutcome) -> None:
        """A watcher of `Chain`."""
        if outcome.status == "ok":
            self._measured.setdefault((contract.tree.name, method), []).append(outcome.gas_used)

    def summarise(self) -> list[dict[str, object]]:
        """A row for each method: class, method, calls, and the least, middle and most gas of a call."""
        rows: list[dict[str, object]] = []
        for (contract, method), gas in sorted(self._measured.items()):
            gas.sort()
            row = {"calls": len(gas), "least": gas[0], "middle": gas[len(gas) // 2], "most": gas[-1]}
            rows.append({"contract": contract, "method": method, **row})
        return rows


@pytest.fixture
def chain() -> Chain:
    """A new chain in memory, with the engine that replicas run and no node."""
    return Chain()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The plug-in's options."""
    group = parser.getgroup("gridquorum")
    group.addoption(
        _REPORT_OPTION, type=Path, metavar="FILE", help="Write what the calls of contracts cost to FILE, as JSON."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Measure from now on, where that is asked for."""
    if config.getoption(_REPORT_OPTION) is not None:
        meter = config.stash[_METER] = GasMeter()
        Chain.watchers.append(meter.watch)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write what was measured."""
    meter = config.stash.get(_METER, None)
    if meter is not None:
        Chain.watchers.remove(meter.watch)
        path: Path = config.getoption(_REPORT_OPTION)
        path.write_text(json.dumps(meter.summarise()), encoding="utf-8")
