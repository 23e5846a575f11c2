"""The bridge from an ordered batch to a durable block: plan, run in the contract worker, commit, report.

One block at a time, in order, from one place (M47). What a contract does is the worker's; what a block is, the chain's.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from ledger.block import Block
from ledger.chain import Chain
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome
from ledger.genesis import GenesisContract
from pbft.core.messages import Batch, Blocks, Executed


class Worker(Protocol):
    """The contract runtime, wherever it runs. Callbacks may come at once or in a later reactor turn, in order."""

    def run_block(self, plan: BlockPlan, on_outcome: Callable[[BlockOutcome], None]) -> None: ...
    def run_view(
        self, call: Call, height: int, time_ms: int, network: bytes, on_outcome: Callable[[CallOutcome], None]
    ) -> None: ...
    def run_genesis(
        self,
        contracts: Sequence[GenesisContract],
        time_ms: int,
        network: bytes,
        on_outcome: Callable[[BlockOutcome], None],
    ) -> None: ...


class ReplySink(Protocol):
    """Who answers clients: told of every block after it is durable (D3)."""

    def block_executed(self, block: Block) -> None: ...


class LedgerExecution:
    """Executes what the core orders. `on_executed` is the driver's; reply sinks subscribe."""

    def __init__(self, *, chain: Chain, worker: Worker) -> None: ...

    def subscribe(self, sink: ReplySink) -> None:
        """From now on `sink` hears of every block."""

    def start(self, on_executed: Callable[[Executed], None]) -> None:
        """Names who hears that a block is durable: the driver."""

    def execute(self, height: int, batch: Batch | None) -> None:
        """Executes the block of `height`; exactly one above the chain's head."""

    def compute_blocks(self, first_height: int) -> Blocks | None:
        """Blocks from `first_height` on, to one answer's limits; ends at a certified height where there is one."""
