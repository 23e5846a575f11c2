"""A contract tried out: deployed in memory and called in the node's own kind of worker, without a network.

The worker is the process that a replica runs, with everything that confines it; its ledger is an empty store in a
directory that lives as long as the trial. Height, time and sender are fixed, so that a trial is the same everywhere.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from twisted.internet import defer

from contracts.verdict import SourceVerdict
from ledger.configuration import EXECUTION_GAS_MAX
from ledger.encoding import decode
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome
from ledger.genesis import GenesisContract
from ledger.lmdb_store import LmdbStore
from ledger.shapes import NAME_PATTERN
from ledger.store import Delete, Operation, Put
from ledger.world_state import GENERATIONS, STATE_TABLES
from pbft.node.log import Logger
from pbft.node.metrics import Metrics
from pbft.node.worker_process import ProcessWorker

TRIAL_TIME_MS: Final = 1_750_000_000_000  # a fixed date, so that a trial does not depend on the day it is made
TRIAL_NETWORK: Final = bytes(32)
TRIAL_WINDOW: Final = 64  # heights; only a change of the configuration looks at it
TRIAL_SENDER: Final = b"account-" + (1).to_bytes(24, "big")
TRIAL_CONTRACT: Final = "trial"  # the name it is deployed under
SCHEDULED_GAS_MAX: Final = 10_000_000  # of calls that fall due; a trial's block has them like any other
BLOCK_GAS_MAX: Final = EXECUTION_GAS_MAX - SCHEDULED_GAS_MAX  # of all calls of one block: its outcome can be read
BLOCK_ARGUMENT_BYTES_MAX: Final = 4 * 1024 * 1024  # of all calls of one block: well within a message to the worker
MEMORY_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - a folder of random name is made in it
MEMORY_BYTES_MIN: Final = 2 * 1024 * 1024 * 1024  # free there: storage that a contract fills in some hundred calls
NO_METHOD: Final = "none_"  # a transaction can name it, and no contract can have it: no name of an author's ends so

Answer = TypeVar("Answer")


def find_folder(memory: Path) -> Path | None:
    """Where a trial's ledger lies: in memory where there is room, because nobody needs it synced; else with the other
    temporary files (None)."""
    is_there = memory.is_dir() and os.access(memory, os.W_OK)
    return memory if is_there and shutil.disk_usage(memory).free >= MEMORY_BYTES_MIN else None


class TrialStopped(Exception):
    """The worker did not survive the contract: a defect of the engine, and never a verdict."""


@dataclass(frozen=True, kw_only=True)
class _TrialContract(GenesisContract):
    """A contract whose @init gets these bytes, whatever they are."""

    data: bytes

    def encoded_arguments(self) -> bytes:
        return self.data


class ContractTrial:
    """One worker over one empty ledger. Its methods return Deferreds; at most one is waited for at a time."""

    def __init__(self, reactor: Any, log: Logger) -> None:
        self._directory = TemporaryDirectory(prefix="gridquorum-trial-", dir=find_folder(MEMORY_FOLDER))
        path = Path(self._directory.name) / "ledger"
        self._store = LmdbStore(path, tables=STATE_TABLES)
        self._height = 0
        self._waiting: defer.Deferred[Any] | None = None
        self._worker = ProcessWorker(
            reactor,
            ledger_path=path,
            metrics=Metrics(),
            log=log,
            guard=nullcontext(),
            on_stopped=self._stopped,
        )
        self._worker.start()

    @property
    def pid(self) -> int | None:
        """The worker's process."""
        return self._worker.pid

    @property
    def confinement(self) -> dict[str, str]:
        """What confines the worker, by name."""
        return dict(self._worker.confinement or {})

    def check(self, source: bytes) -> "defer.Deferred[SourceVerdict]":
        """The checker's verdict on a source."""
        return self._ask(lambda answer: self._worker.check_source(source, answer))

    @defer.inlineCallbacks
    def deploy(self, source: str, arguments: bytes) -> Any:
        """Deploys a source that was accepted on an empty state, and runs its @init: the outcome (CallOutcome)."""
        contract = _TrialContract(name=TRIAL_CONTRACT, source=source, data=arguments)
        outcome: BlockOutcome = yield self._ask(
            lambda answer: self._worker.run_genesis([contract], TRIAL_TIME_MS, TRIAL_NETWORK, answer)
        )
        values = GENERATIONS[0].values
        self._store.write([Delete(values, key) for key, _ in list(self._store.scan(values))])
        self._commit(outcome)
        return outcome.calls[0]

    @defer.inlineCallbacks
    def call(self, method: str, arguments: bytes, *, gas: int, count: int) -> Any:
        """`count` transactions with the same call, one after the other: the outcome of the last (CallOutcome).

        A name that no transaction can carry stands for no method. A block holds no more calls than a worker can run
        before its watchdog takes it for a hanging one, whatever they do.
        """
        name = method if NAME_PATTERN.fullmatch(method) is not None else NO_METHOD
        size_max = max(1, min(BLOCK_GAS_MAX // max(gas, 1), BLOCK_ARGUMENT_BYTES_MAX // len(arguments)))
        done, last = 0, None
        while done < count:
            size = min(count - done, size_max)
            last = (yield self._run_block(name, arguments, gas, done, size))[-1]
            done += size
        return last

    @defer.inlineCallbacks
    def _run_block(self, method: str, arguments: bytes, gas: int, done: int, count: int) -> Any:
        """The next `count` calls in one block: their outcomes (tuple of CallOutcome)."""
        self._height += 1
        calls = tuple(
            Call(
                tx_id=number.to_bytes(32, "big"),
                sender=TRIAL_SENDER,
                contract=TRIAL_CONTRACT,
                method=method,
                arguments=arguments,
                gas_limit=gas,
            )
            for number in range(done + 1, done + count + 1)
        )
        plan = BlockPlan(
            height=self._height,
            time_ms=TRIAL_TIME_MS + self._height,
            network=TRIAL_NETWORK,
            epoch=0,
            window=TRIAL_WINDOW,
            calls=calls,
            transaction_gas_max=gas,
            scheduled_gas_max=SCHEDULED_GAS_MAX,
        )
        outcome: BlockOutcome = yield self._ask(lambda answer: self._worker.run_block(plan, answer))
        self._commit(outcome)
        return outcome.calls

    def close(self) -> "defer.Deferred[None]":
        """Ends the worker. Fires when it has ended."""
        return self._worker.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._store.close()
        self._directory.cleanup()

    def _commit(self, outcome: BlockOutcome) -> None:
        values = GENERATIONS[0].values
        operations: list[Operation] = [
            Delete(values, key) if value is None else Put(values, key, value) for key, value in outcome.writes
        ]
        self._store.write(operations)

    def _ask(self, ask: Callable[[Callable[[Answer], None]], None]) -> "defer.Deferred[Answer]":
        waiting: defer.Deferred[Answer] = defer.Deferred()
        self._waiting = waiting
        ask(self._answered)
        return waiting

    def _answered(self, answer: Any) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(answer)

    def _stopped(self, cause: str) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(TrialStopped(cause))


def describe_call(outcome: CallOutcome, to_json: Callable[[Any], Any]) -> dict[str, Any]:
    """A call's outcome with the names that scripts know; `to_json` shows canonical values."""
    return {
        "status": outcome.status,
        "code": outcome.code or None,
        "result": to_json(decode(outcome.result)) if outcome.status == "ok" else None,
        "gas": outcome.gas_used,
        "events": [
            {"contract": event.contract, "name": event.name, "fields": to_json(event.values)}
            for event in outcome.events
        ],
    }
