"""The contract worker as a process of its own: started, asked, watched, replaced.

It owns what the worker is asked, and when it is replaced. Its rules: one message at a time, one message per block; a
worker that dies, answers what cannot be read or trips the watchdog is replaced, and the whole block is asked again from
its unchanged parent state, until it has been tried `ATTEMPTS_MAX` times (D54); then execution stops with a cause while
ordering goes on. A fault of the machine is never a transaction's result: time decides only whether the same question is
asked again. The watchdog counts the worker's processor time against what the gas implies, and wall time only as a far
bound, in looks rather than seconds, so that a stopped or crowded machine is not taken for a hanging worker. A second
worker waits, started and confined, to take over at once: an interpreter needs longer to start than a block may take.

What is executed, and what becomes of the outcome, is left to `pbft.node.execution`; the bytes to `contracts.worker`,
the process and its socket to `child_process`.
"""

import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from twisted.internet import defer

from contracts.gas import GAS
from contracts.verdict import SourceVerdict
from ledger.encoding import encode
from ledger.errors import EncodingError
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome
from ledger.genesis import GenesisContract
from pbft.node.child_process import BACKOFF_SECONDS_MAX, CHILD_FD, ChildProcess, compute_backoff_seconds
from pbft.node.local_processes import processor_seconds_of
from pbft.node.log import Logger
from pbft.node.metrics import Metrics
from pbft.node.worker_messages import (
    UNSURVIVED,
    encode_block,
    encode_check,
    encode_genesis,
    encode_view,
    parse_block_answer,
    parse_check_answer,
    parse_view_answer,
)

ATTEMPTS_MAX: Final = 3  # of one question, each with a worker of its own (D54)
NANOSECONDS_PER_GAS: Final = 100  # what a unit of gas is allowed to cost on the slowest machine that takes part
WATCHDOG_FACTOR: Final = 10  # a worker this much slower than its gas is not slow but broken (D54)
WATCHDOG_FLOOR_SECONDS: Final = 1.0  # of processor time: below, a page fault or a cold cache weighs too much (D54)
WALL_SECONDS_MAX: Final = 30.0  # the far bound, for a worker that waits for something that never comes (D54)
LOOK_SECONDS: Final = 0.25  # between two looks of the watchdog
GENESIS_GAS: Final = 300_000_000  # as many as the wall bound allows: genesis has no gas limit of its own

Outcome = TypeVar("Outcome")
_NO_ANSWER: Final = CallOutcome(status="error", code="worker", gas_used=0, result=encode(None), events=())
_NO_VERDICT: Final = SourceVerdict(code=UNSURVIVED, hint="the contract worker did not survive this source")


@dataclass(slots=True, kw_only=True)
class _Question(Generic[Outcome]):
    """A message on its way, and what to do with its answer."""

    message: bytes
    parse: Callable[[bytes], Outcome]
    on_outcome: Callable[[Outcome], None]
    gas: int
    failures: int = 0
    looks: int = 0  # of the watchdog, since the worker that has it now was asked
    first_seconds: float = 0.0  # processor time that this worker had used at the first of them
    fallback: Outcome | None = None  # the answer where no worker survives it; None: it is execution, which then stops

    @property
    def processor_seconds_max(self) -> float:
        """10 x the gas-implied processor time, with a floor (D54)."""
        return max(WATCHDOG_FACTOR * self.gas * NANOSECONDS_PER_GAS / 1e9, WATCHDOG_FLOOR_SECONDS)


def _is_executing(question: "_Question[Any] | None") -> bool:
    return question is not None and question.fallback is None


class ProcessWorker:
    """The `Worker` of a running replica: `python -I -m contracts.worker` on the other end of a socketpair."""

    def __init__(
        self,
        reactor: Any,
        *,
        ledger_path: Path,
        metrics: Metrics,
        log: Logger,
        guard: AbstractContextManager[None],
        on_stopped: Callable[[str], None],
        command: Sequence[str] | None = None,
    ) -> None:
        """`guard` is entered around every outcome handed on; `on_stopped` hears why execution stopped, once.

        `command`: another program that speaks the worker's protocol on `CHILD_FD`.
        """
        self._reactor = reactor
        self._command = command or [sys.executable, "-I", "-m", "contracts.worker", str(CHILD_FD), str(ledger_path)]
        self._metrics = metrics
        self._log = log
        self._guard = guard
        self._on_stopped = on_stopped
        self._queue: deque[_Question[Any]] = deque()
        self._current: _Question[Any] | None = None
        self._child: ChildProcess | None = None
        self._spare: ChildProcess | None = None
        self._failures_in_a_row = 0
        self._is_stopping = False
        self._stopped_cause: str | None = None
        self._watch: Any = None  # the next look, a DelayedCall

    @property
    def pid(self) -> int | None:
        """The worker's process id while it runs."""
        return self._child.pid if self._child is not None else None

    @property
    def confinement(self) -> Mapping[str, str] | None:
        """What the kernel keeps from the worker, by name: `on`, or why not. None until it has said so."""
        return self._child.confinement if self._child is not None else None

    @property
    def is_executing(self) -> bool:
        """Whether a block or the genesis is on its way through the worker."""
        return _is_executing(self._current) or any(_is_executing(question) for question in self._queue)

    # -- the Worker of pbft.node.execution --

    def run_block(self, plan: BlockPlan, on_outcome: Callable[[BlockOutcome], None]) -> None:
        """Run a whole block; the outcome comes in a later turn, or never once execution has stopped."""
        gas = sum(call.gas_limit for call in plan.calls) + plan.scheduled_gas_max
        parse = partial(parse_block_answer, calls=len(plan.calls))
        self._ask(_Question(message=encode_block(plan), parse=parse, on_outcome=on_outcome, gas=gas))

    def run_genesis(
        self,
        contracts: Sequence[GenesisContract],
        time_ms: int,
        network: bytes,
        on_outcome: Callable[[BlockOutcome], None],
    ) -> None:
        """Deploy the genesis contracts and run their @init methods."""
        message = encode_genesis(contracts, time_ms, network)
        parse = partial(parse_block_answer, calls=len(contracts))
        self._ask(_Question(message=message, parse=parse, on_outcome=on_outcome, gas=GENESIS_GAS))

    def run_view(
        self, call: Call, height: int, time_ms: int, network: bytes, on_outcome: Callable[[CallOutcome], None]
    ) -> None:
        """Run a read on the newest committed state. A worker that fails on it answers for nobody: code `worker`."""
        message = encode_view(call, height, time_ms, network)
        question = _Question(
            message=message, parse=parse_view_answer, on_outcome=on_outcome, gas=call.gas_limit, fallback=_NO_ANSWER
        )
        self._ask(question)

    def check_source(self, source: bytes, on_verdict: Callable[[SourceVerdict], None]) -> None:
        """Whether a source is a contract (D53). One that no worker survives is refused here: code `WORKER`."""
        question = _Question(
            message=encode_check(source),
            parse=parse_check_answer,
            on_outcome=on_verdict,
            gas=GAS.deploy + GAS.deploy_byte * len(source),
            fallback=_NO_VERDICT,
        )
        self._ask(question)

    def _ask(self, question: _Question[Any]) -> None:
        if self._stopped_cause is None or not _is_executing(question):
            self._queue.append(question)
            self._send_next()

    # -- the conversation --

    def _send_next(self) -> None:
        if self._current is None and self._queue and self._child is not None and not self._is_stopping:
            self._current = self._queue.popleft()
            self._send_current()

    def _send_current(self) -> None:
        if self._current is not None and self._child is not None:
            self._current.looks = 0
            self._child.send(self._current.message)
            if self._watch is None:
                self._watch = self._reactor.callLater(LOOK_SECONDS, self._look)

    def _receive(self, child: ChildProcess, message: bytes) -> None:
        """An answer: handed on, and then the next question, in this order, so that reads see the new height."""
        question = self._current
        if child is not self._child or question is None:
            return
        try:
            outcome = question.parse(message)
        except EncodingError as problem:
            self._replace(child, "bad_answer", str(problem))
            return
        self._current = None
        self._failures_in_a_row = 0
        with self._guard:
            question.on_outcome(outcome)
        self._send_next()

    def _welcome(self, child: ChildProcess) -> None:
        """A worker's first words: it runs, and this is what holds it."""
        if child.missing:
            self._log.warning("worker_less_confined", worker_pid=child.pid, **child.missing)
        self._prepare_spare()

    # -- the watchdog (D54) --

    def _look(self) -> None:
        """Every LOOK_SECONDS while there is work, whatever it is: most questions are answered between two looks, and
        cost the watchdog nothing. One that is not is measured from its first look on."""
        self._watch = None
        child, question = self._child, self._current
        if child is None or question is None:
            return
        seconds = processor_seconds_of(child.pid)
        if not question.looks:
            question.first_seconds = seconds
        question.looks += 1
        used = seconds - question.first_seconds
        if used > question.processor_seconds_max:
            self._replace(child, "processor_time", f"{used:.2f} s, at most {question.processor_seconds_max:.2f} s")
        elif question.looks * LOOK_SECONDS > WALL_SECONDS_MAX:
            self._replace(child, "wall_time", f"no answer in {WALL_SECONDS_MAX:.0f} s")
        else:
            self._watch = self._reactor.callLater(LOOK_SECONDS, self._look)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    # -- the process --

    def start(self) -> None:
        """Start the process; the ledger's environment must exist."""
        if self._is_stopping or self._child is not None:
            return
        self._child, self._spare = self._spare or self._spawn(), None
        if self._current is not None:
            self._send_current()
        else:
            self._send_next()
        if self._child is not None and self._child.confinement is not None:
            self._prepare_spare()

    def _spawn(self) -> ChildProcess:
        return ChildProcess(
            self._reactor, self._command, on_greeted=self._welcome, on_message=self._receive, on_end=self._replace
        )

    def _prepare_spare(self) -> None:
        """The worker that takes over when this one breaks."""
        if self._spare is None and self._child is not None and not self._is_stopping:
            self._spare = self._spawn()

    def _replace(self, child: ChildProcess, cause: str, detail: str) -> None:
        """The worker is dead or as good as: end it, go on with the other one, and ask the same question again."""
        if child is self._spare:
            self._spare = None
            child.kill()
            self._log.warning("spare_worker_replaced", reason=cause, detail=detail, worker_pid=child.pid)
            self._reactor.callLater(BACKOFF_SECONDS_MAX, self._prepare_spare)
        if child is not self._child:
            return
        self._child = None
        self._stop_watching()
        child.kill()
        if self._is_stopping:
            return
        self._metrics.worker_restarts_total[cause] += 1
        self._failures_in_a_row += 1
        self._log.warning("worker_replaced", reason=cause, detail=detail, worker_pid=child.pid)
        if self._current is not None:
            self._current.failures += 1
            if self._current.failures >= ATTEMPTS_MAX:
                self._give_up(self._current, f"the contract worker failed {ATTEMPTS_MAX} times: {cause}, {detail}")
        delay_seconds = compute_backoff_seconds(self._failures_in_a_row)
        if delay_seconds:
            self._reactor.callLater(delay_seconds, self.start)
        else:
            self.start()

    def _give_up(self, question: _Question[Any], cause: str) -> None:
        self._current = None
        if question.fallback is not None:
            with self._guard:
                question.on_outcome(question.fallback)
            return
        self._stopped_cause = cause
        self._queue = deque(waiting for waiting in self._queue if not _is_executing(waiting))
        self._on_stopped(cause)

    def stop(self) -> "defer.Deferred[None]":
        """End the process: its socket closes, and it is killed if that does not do. Fires when it has ended."""
        self._is_stopping = True
        self._stop_watching()
        children = [child for child in (self._child, self._spare) if child is not None]
        self._child = self._spare = None
        return defer.gatherResults([child.end() for child in children]).addCallback(lambda _: None)
