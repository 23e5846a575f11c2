"""Where a replica's process ends: with its standard input, or at an error in the core; errors that nobody took; its
clock, and its collector."""

import gc
import time
from collections.abc import Callable
from traceback import format_exception
from types import TracebackType
from typing import Any, Final

from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import LogEvent, globalLogBeginner
from twisted.python.failure import Failure

from pbft.node.log import Logger

COLLECT_AFTER: Final = 50_000  # new containers, the interpreter's own default is 700: several full batches


class StopOnError:
    """Around everything that enters the core: an error there leaves a state that must not go on."""

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail = fail

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        self._fail("".join(format_exception(kind, error, traceback)))
        return True


class EndWithInput(Protocol):
    """On standard input: whoever started this process holds the other end; when it is gone, `end` is called."""

    def __init__(self, end: Callable[[str | None], None]) -> None:
        self._end = end

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - twisted's name
        """Standard input has ended."""
        self._end(None)


def report_unhandled(log: Logger) -> None:
    """Errors that nobody took go to the replica's log, with their traceback; twisted's other lines nowhere."""

    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            log.error("unhandled", cause=failure.getTraceback())

    observers: list[Any] = [observe]
    globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=False, discardBuffer=True)


def wall_ms() -> int:
    """This machine's clock, UTC milliseconds."""
    return time.time_ns() // 1_000_000


def settle_collector() -> None:
    """To be called once everything is imported: what is there now lives as long as the process, and is never looked at
    again; what comes is looked at less often. Under load the collector of cycles otherwise takes a tenth of a replica's
    processor time to find nothing: a turn's messages are no cycles, and references free them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
