"""Where a replica's process meets whoever started it: the end of its standard input, and errors that nobody took."""

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import LogEvent, globalLogBeginner
from twisted.python.failure import Failure

from pbft.node.log import Logger


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
