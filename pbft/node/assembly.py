"""The one factory of a node: the service and the tests' cluster build every replica through it.

It opens the chain (creating genesis on an empty ledger), reads the journal back, and wires core, driver and execution.
Reactors, sockets, files and clocks stay with the caller.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ledger.chain import Chain
from ledger.genesis import Genesis
from ledger.keys import SigningKey
from ledger.store import Store
from pbft.core.replica import Replica
from pbft.node.driver import Counters, Driver, EvidenceSink, Outbound
from pbft.node.execution import LedgerExecution, Worker
from pbft.wire.codec import Verifier, WireRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A replica with everything around its core. The client door takes `chain`, `driver.on_request`, `verifier`."""

    replica: Replica  # read view, primary, heights and pending_count from it; never call its verbs
    driver: Driver
    chain: Chain
    execution: LedgerExecution  # `execution.subscribe(sink)`: hears of every durable block
    verifier: Verifier
    rules: WireRules


def assemble_node(
    *,
    genesis: Genesis,
    replica_id: int,
    signing_key: SigningKey,
    journal_store: Store,
    ledger_store: Store,
    worker: Worker,
    outbound: Outbound,
    evidence: EvidenceSink,
    counters: Counters,
    wall_ms: Callable[[], int],  # UTC milliseconds of this machine's clock
    wake: Callable[[], None],  # schedule `driver.flush` for the end of this turn
    on_halt: Callable[[str], None],  # the replica stopped for good, and why
    on_ready: Callable[[Node], None],  # at once, or when the worker has executed genesis
) -> None:
    """Builds a node and hands it to `on_ready`. The caller then ticks its driver every TICK_MS and flushes each turn.

    Raises InvalidGenesis for a store of another network, DamagedJournal for a journal that cannot be trusted.
    """
