"""A trial's calls go through the worker as a network's would, many of them too, and whatever they do."""

from collections.abc import Generator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from ledger.encoding import decode, encode
from pbft.node import contract_trial
from pbft.node.contract_trial import BLOCK_GAS_MAX, ContractTrial, find_folder
from pbft.node.log import make_logger

pytestmark = pytest.mark.drill

SOURCE = """from contracts import Contract, ctx, external


class Counter(Contract):
    total: int

    @external
    def add(self, number: int) -> tuple[int, int]:
        self.total += number
        return self.total, ctx.height
"""


@pytest.fixture
def trial() -> Generator[ContractTrial, None, None]:
    with ContractTrial(reactor, make_logger(replica=0, stream=StringIO())) as made:
        yield made
        pytest_twisted.blockon(made.close())


@pytest_twisted.ensureDeferred
async def test_calls_share_blocks_that_a_worker_can_run_in_time(trial: ContractTrial) -> None:
    """A block's gas limits together stay below the bound, so no call can make the worker look like a hanging one."""
    assert (await trial.deploy(SOURCE, encode([]))).status == "ok"
    gas = BLOCK_GAS_MAX // 4
    one: Any = await trial.call("add", encode([1]), gas=gas, count=1)
    nine: Any = await trial.call("add", encode([1]), gas=gas, count=9)
    assert [decode(outcome.result) for outcome in (one, nine)] == [[1, 1], [10, 4]]
    dear: Any = await trial.call("add", encode([1]), gas=2 * BLOCK_GAS_MAX, count=2)
    free: Any = await trial.call("add", encode([1]), gas=0, count=2)
    assert (decode(dear.result), free.status) == ([12, 6], "out_of_gas")


def test_a_trial_s_ledger_is_in_memory_only_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container often has a few MB there, and a contract that fills its storage would fill them."""
    monkeypatch.setattr(contract_trial, "MEMORY_BYTES_MIN", 0)
    assert find_folder(tmp_path) == tmp_path
    assert find_folder(tmp_path / "none") is None
    monkeypatch.setattr(contract_trial, "MEMORY_BYTES_MIN", 2**63)
    assert find_folder(tmp_path) is None
