"""The contract worker as a process of its own: started, asked, watched, replaced.

It owns the child process and the socket to it. Its rules: one message per block; a worker that dies, answers what
cannot be read or outlives the watchdog is replaced, and the whole block is asked again from its unchanged parent state,
`ATTEMPTS_MAX` times (D54); then execution stops with a cause while ordering goes on. A fault of the machine is never a
transaction's result: no wall time decides what a receipt says. What is executed, and what becomes of the outcome, is
left to `pbft.node.execution` and the ledger.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome
from ledger.genesis import GenesisContract
from pbft.node.metrics import Metrics


class ProcessWorker:
    """The `Worker` of a running replica: `python -I -m contracts.worker` on the other end of a socketpair."""

    def __init__(
        self, reactor: Any, *, ledger_path: Path, metrics: Metrics, on_stopped: Callable[[str], None]
    ) -> None: ...

    @property
    def pid(self) -> int | None:
        """The worker's process id while it runs."""

    @property
    def is_executing(self) -> bool:
        """Whether a block or the genesis is on its way through the worker."""
        return False

    def start(self) -> None:
        """Start the process; the ledger's environment must exist."""

    def run_block(self, plan: BlockPlan, on_outcome: Callable[[BlockOutcome], None]) -> None:
        """Run a whole block; the outcome comes in a later turn."""

    def run_view(
        self, call: Call, height: int, time_ms: int, network: bytes, on_outcome: Callable[[CallOutcome], None]
    ) -> None:
        """Run a read on the newest committed state."""

    def run_genesis(
        self,
        contracts: Sequence[GenesisContract],
        time_ms: int,
        network: bytes,
        on_outcome: Callable[[BlockOutcome], None],
    ) -> None:
        """Deploy the genesis contracts and run their @init methods."""
