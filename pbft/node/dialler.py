"""One link to one replica, kept: dialled, dialled again after a wait, and the frames that wait for it meanwhile.

The wait is jittered and doubles up to a cap with each dial in a row that failed, and with each link in a row that ended
at once: whoever is refused after its Hello (a second process with a key, a peer that is barred) would else come back
ten times a second for ever. A link that was held starts the waits anew, because its replica is back in a moment.
"""

import random
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from pbft.node.links import Link, Reactor
from pbft.node.send_queue import AWAY, LINKED, SendQueue
from pbft.wire.encode import is_client_traffic

BACKOFF_FIRST_SECONDS: Final = 0.1  # a replica that restarts is back within a second or two
BACKOFF_FACTOR: Final = 2.0
BACKOFF_MAX_SECONDS: Final = 5.0  # how late a link may notice that the other side is back, or would have it now
HELD_SECONDS: Final = 5.0  # a link that ends sooner was not wanted there: refused after its Hello, or cut off at once


def compute_backoff_seconds(failures: int, jitter: random.Random) -> float:
    """The wait after so many failures in a row, at least 1: doubles to a cap, less up to half at random."""
    longest = min(BACKOFF_FIRST_SECONDS * BACKOFF_FACTOR ** min(failures - 1, 32), BACKOFF_MAX_SECONDS)
    return longest * jitter.uniform(0.5, 1.0)


class PeerDialler:
    """Keeps one link to one replica, and the frames that wait for it. Dials again for as long as it is not stopped."""

    def __init__(
        self,
        reactor: Reactor,
        *,
        dial_once: Callable[[], "Deferred[Link]"],
        queue: SendQueue,
        jitter: random.Random,
    ) -> None:
        self._reactor = reactor
        self._dial_once = dial_once
        self._queue = queue
        self._jitter = jitter
        self._failures = 0  # dials in a row that opened no link
        self._brief = 0  # links in a row that ended within HELD_SECONDS
        self._opened_at = 0.0
        self._attempt: Deferred[Link] | None = None
        self._retry: Any = None
        self._link: Link | None = None
        self._closed: Deferred[None] | None = None
        self._is_running = False
        self.sent_bytes = 0  # of frames that left the queue
        self.last_problem = "not dialled yet"

    @property
    def is_connected(self) -> bool:
        """Whether the link is open."""
        return self._link is not None

    def start(self) -> None:
        """Dials now."""
        self._is_running = True
        self._dial()

    def stop(self) -> "Deferred[None]":
        """Gives up dialling and ends the link; fires when the connection is gone."""
        self._is_running = False
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        if self._attempt is not None:
            self._attempt.cancel()
        if self._link is None:
            return succeed(None)
        self._closed = Deferred()
        self._link.abort("stopped")
        return self._closed

    def send(self, frame: bytes) -> None:
        """Queues a frame, and writes what the link takes."""
        self._queue.push(frame, is_client_traffic=is_client_traffic(frame))
        self._flush()

    def _flush(self) -> None:
        while self._link is not None and self._link.is_writable and not self._link.is_ended:
            frame = self._queue.pop()
            if frame is None:
                return
            self.sent_bytes += len(frame)
            self._link.send_frame(frame)

    def _dial(self) -> None:
        self._attempt = self._dial_once()
        self._attempt.addCallbacks(self._opened, self._failed)

    def _opened(self, link: Link) -> None:
        self._attempt = None
        self._failures = 0
        self._opened_at = self._reactor.seconds()
        self.last_problem = ""
        self._link = link
        self._queue.set_bounds(LINKED)
        link.on_closed = self._lost
        link.on_writable = self._flush
        link.on_frame = lambda _: link.refuse("unexpected_frame")  # a replica answers on the link that it dialled
        self._flush()

    def _failed(self, failure: Failure) -> None:
        """Whatever made a dial fail is one more reason to wait and dial again; it is kept for `status`."""
        self._attempt = None
        self._failures += 1
        self._wait(failure.getErrorMessage())

    def _lost(self, reason: str) -> None:
        self._link = None
        self._queue.set_bounds(AWAY)
        if self._closed is not None:
            self._closed.callback(None)
            return
        self._brief = self._brief + 1 if self._reactor.seconds() - self._opened_at < HELD_SECONDS else 0
        self._wait(reason)

    def _wait(self, problem: str) -> None:
        self.last_problem = problem
        if self._is_running:
            seconds = compute_backoff_seconds(max(self._failures, self._brief, 1), self._jitter)
            self._retry = self._reactor.callLater(seconds, self._dial)
