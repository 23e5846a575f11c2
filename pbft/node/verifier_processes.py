"""The verifier processes of a replica: started, asked, watched, started again.

It owns their processes and their places. Its rules: a verifier that dies, answers what cannot be read, answers another
number of verdicts, speaks unasked or is late is not believed any more; what it had is checked in this process, and
another one is started in its place, with a bounded back-off. Late is counted in looks rather than seconds, so that this
process, when it stood still itself, first reads what was answered meanwhile. None is needed: without any the replica
checks for itself. Who waits for which verdict is `request_lanes`', what a process is `child_process`'.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet import defer

from ledger.errors import EncodingError
from pbft.node.child_process import CHILD_FD, ChildProcess, compute_backoff_seconds
from pbft.node.log import Logger
from pbft.node.metrics import Metrics
from pbft.node.request_lanes import RequestPool
from pbft.node.verifier_messages import encode_signatures, parse_verdicts
from pbft.wire.codec import UncheckedSignature

LOOK_SECONDS: Final = 0.25  # between two looks at a verifier that owes an answer
VERDICT_LOOKS_MAX: Final = 4  # a second: forty times the longest message, and less than a request's patience, T
GREETING_LOOKS_MAX: Final = 120  # half a minute: an interpreter starts on a crowded machine

Spawn = Callable[..., ChildProcess]
"""`ChildProcess` with its reactor and command."""


class VerifierProcesses:
    """Keeps a number of verifiers running for a pool."""

    def __init__(
        self,
        reactor: Any,
        *,
        count: int,
        pool: RequestPool,
        metrics: Metrics,
        log: Logger,
        spawn: Spawn | None = None,
    ) -> None:
        """`spawn`: something else than a process, for tests."""
        self.reactor = reactor
        self.pool = pool
        self.metrics = metrics
        self.log = log
        self.spawn = spawn or self._spawn
        self._places = [_Place(self) for _ in range(count)]

    @property
    def pids(self) -> list[int]:
        """The processes that can be asked, or are about to be."""
        return [place.child.pid for place in self._places if place.child is not None]

    def start(self) -> None:
        """Start them all."""
        for place in self._places:
            place.start()

    def stop(self) -> "defer.Deferred[None]":
        """End them; nobody goes on with anything any more. Fires when they have ended."""
        return defer.gatherResults([place.stop() for place in self._places]).addCallback(lambda _: None)

    def _spawn(self, **handlers: Any) -> ChildProcess:
        return ChildProcess(self.reactor, [sys.executable, "-I", "-m", "pbft.node.verifier", str(CHILD_FD)], **handlers)


class _Place:
    """A verifier, or what follows it in its place: the pool's `Helper`."""

    def __init__(self, owner: VerifierProcesses) -> None:
        self._owner = owner
        self.child: ChildProcess | None = None
        self._asked = 0  # signatures under way
        self._failures_in_a_row = 0
        self._looks = 0  # that are left until it is late
        self._timer: Any = None  # a DelayedCall: the next look, or the next start

    def start(self) -> None:
        """Start a process; it can be asked when it has said what confines it."""
        self._timer = None
        self.child = self._owner.spawn(on_greeted=self._greeted, on_message=self._receive, on_end=self._replace)
        self._expect_answer(GREETING_LOOKS_MAX)

    def _expect_answer(self, looks: int) -> None:
        self._looks = looks
        self._wait(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        self._looks -= 1
        if self._looks:
            self._wait(LOOK_SECONDS, self._look)
        elif self.child is not None:
            self._replace(self.child, "late", "it owes an answer")

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._timer = self._owner.reactor.callLater(seconds, then)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def ask(self, signatures: Sequence[UncheckedSignature]) -> None:
        """See `Helper.ask`."""
        if self.child is None:
            return  # the replica stops, and what its links still bring goes nowhere any more
        self._asked = len(signatures)
        self.child.send(encode_signatures(one[1:] for one in signatures))
        self._expect_answer(VERDICT_LOOKS_MAX)

    def _greeted(self, child: ChildProcess) -> None:
        if child is not self.child:
            return
        if child.missing:
            self._owner.log.warning("verifier_less_confined", worker_pid=child.pid, **child.missing)
        self._stop_waiting()
        self._owner.pool.welcome(self)

    def _receive(self, child: ChildProcess, message: bytes) -> None:
        if child is not self.child:
            return
        try:
            if not self._asked:
                raise EncodingError("unasked", "an answer without a question")
            verdicts = parse_verdicts(message, self._asked)
        except EncodingError as problem:
            self._replace(child, "bad_answer", str(problem))
            return
        self._stop_waiting()
        self._asked = self._failures_in_a_row = 0
        self._owner.pool.answer(self, verdicts)

    def _replace(self, child: ChildProcess, cause: str, detail: str) -> None:
        """It is dead or as good as: end it, let its work be done here, and start another one."""
        if child is not self.child:
            return
        self.child, self._asked = None, 0
        self._stop_waiting()
        child.kill()
        self._failures_in_a_row += 1
        self._owner.metrics.verifier_restarts_total[cause] += 1
        self._owner.log.warning("verifier_replaced", reason=cause, detail=detail, worker_pid=child.pid)
        self._wait(compute_backoff_seconds(self._failures_in_a_row), self.start)
        self._owner.pool.lose(self)

    def stop(self) -> "defer.Deferred[None]":
        """End the process."""
        self._stop_waiting()
        child, self.child = self.child, None
        return child.end() if child is not None else defer.succeed(None)
