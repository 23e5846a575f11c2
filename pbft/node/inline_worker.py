"""A contract worker inside this process, for clusters in one process and for whoever builds a ledger offline.

Apart from `pbft.node.execution`, which a replica runs: contracts are metered in its worker and nowhere else, so a
replica never loads the contract engine.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from contracts.compiler import judge_source
from contracts.verdict import SourceVerdict
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome, StateReader
from ledger.genesis import GenesisContract
from ledger.store import Store
from ledger.world_state import StateFollower


class Runtime(Protocol):
    """The contract engine as `contracts.runtime.Runtime` has it."""

    def execute_block(self, plan: BlockPlan, state: StateReader) -> BlockOutcome:
        """All calls of a block, due scheduled calls first."""
        ...

    def execute_genesis(self, contracts: Sequence[GenesisContract], time_ms: int, network: bytes) -> BlockOutcome:
        """The genesis contracts."""
        ...

    def call_view(self, call: Call, state: StateReader, height: int, time_ms: int, network: bytes) -> CallOutcome:
        """One read."""
        ...


class InlineWorker:
    """A worker in this process, for clusters in one process. It reads the ledger through snapshots, as the real one."""

    def __init__(self, runtime: Runtime, store: Store) -> None:
        self._runtime = runtime
        self._store = store
        self._state = StateFollower()

    def run_block(self, plan: BlockPlan, on_outcome: Callable[[BlockOutcome], None]) -> None:
        """See `Worker.run_block`."""
        with self._state.open(self._store.snapshot()) as state:
            outcome = self._runtime.execute_block(plan, state)
        on_outcome(outcome)

    def check_source(self, source: bytes, on_verdict: Callable[[SourceVerdict], None]) -> None:
        """See `Worker.check_source`."""
        on_verdict(judge_source(source))

    def run_view(
        self, call: Call, height: int, time_ms: int, network: bytes, on_outcome: Callable[[CallOutcome], None]
    ) -> None:
        """See `Worker.run_view`."""
        with self._state.open(self._store.snapshot()) as state:
            outcome = self._runtime.call_view(call, state, height, time_ms, network)
        on_outcome(outcome)

    def run_genesis(
        self,
        contracts: Sequence[GenesisContract],
        time_ms: int,
        network: bytes,
        on_outcome: Callable[[BlockOutcome], None],
    ) -> None:
        """See `Worker.run_genesis`."""
        on_outcome(self._runtime.execute_genesis(contracts, time_ms, network))
