"""What a transaction brings is survived by the own worker before this replica lets it be ordered (D53).

A source that kills every worker must be met before it is committed: afterwards it would be met by all, at one height
that nobody could pass (execution 37). So a request that brings a source waits here before the core sees it, whoever
hands it in, and a proposal of others waits for its PREPARE. That a source is *refused* keeps nobody waiting: a refused
deploy is a receipt like any other. Only a worker that dies of a source, each of several, keeps the source out.

One source is with the worker at a time, proposals first: a block that is to be executed waits for one check at most,
and nothing of the order waits for any. Verdicts are remembered by the source's hash, so a request is checked once
whether a client, a relay or a proposal brings it first.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final, Protocol

from contracts.code import find_source
from contracts.verdict import SourceVerdict
from ledger.transaction import parse_transaction
from pbft.core.messages import Request
from pbft.node.worker_messages import UNSURVIVED

VERDICTS_MAX: Final = 4_096  # remembered; the oldest goes: its source is checked again
REQUESTS_MAX: Final = 16  # of one replica that wait; more are dropped, and who handed them in does it again (M55)

CheckSource = Callable[[bytes, Callable[[SourceVerdict], None]], None]
"""`Worker.check_source`."""


class Counters(Protocol):
    """Metrics, counted at the edge only."""

    def count(self, name: str, reason: str = "", amount: int = 1) -> None:
        """Adds to a counter."""
        ...


@dataclass(slots=True)
class _Job:
    """Sources that are still to be checked, and what is done when the worker has survived all of them."""

    sources: list[bytes]
    then: Callable[[], None]
    places: set[bytes] | None = None
    """Where a request of `tx_id` has its place; None for a proposal."""
    tx_id: bytes = b""


class CodeChecks:
    """Asks the worker about each source once."""

    def __init__(self, check_source: CheckSource, counters: Counters) -> None:
        self._check_source = check_source
        self._counters = counters
        self._survived: dict[bytes, bool] = {}
        self._jobs: deque[_Job] = deque()
        self._waiting: dict[int, set[bytes]] = {}  # replica that handed them in -> ids of the requests that wait
        self._is_asked = False
        self._is_working = False

    def check_request(self, source: int, request: Request, then: Callable[[], None]) -> None:
        """Does `then` once the worker has survived what the request brings: at once where that is known, else in a
        later turn; never where it has not, where it waits already, or where too many of `source`, the replica that
        handed it in, wait: each has its own places, so that none that invents clients takes those of another (M55)."""
        places = self._waiting.setdefault(source, set())
        if request.tx_id in places:
            return
        if len(places) >= REQUESTS_MAX:
            self._counters.count("message_dropped", "code_checks_full")
            return
        places.add(request.tx_id)
        self._jobs.append(_Job(_sources_of([request]), then, places, request.tx_id))
        self._work()

    def check_proposal(self, requests: Iterable[Request], then: Callable[[], None]) -> None:
        """As `check_request` for all requests of a proposal, before those that wait; the core bounds how many."""
        self._jobs.appendleft(_Job(_sources_of(requests), then))
        self._work()

    def _work(self) -> None:
        """Goes as far as is known; a worker in this process answers at once, and is not asked in deeper and deeper."""
        if self._is_working:
            return
        self._is_working = True
        try:
            while self._jobs and not self._is_asked:
                job = self._jobs[0]
                while job.sources and self._survived.get(sha256(job.sources[-1]).digest()):
                    job.sources.pop()
                if job.sources and sha256(job.sources[-1]).digest() not in self._survived:
                    self._is_asked = True
                    self._check_source(job.sources[-1], partial(self._judged, sha256(job.sources[-1]).digest()))
                else:
                    self._end(job)
        finally:
            self._is_working = False

    def _end(self, job: _Job) -> None:
        self._jobs.popleft()
        if job.places is not None:
            job.places.discard(job.tx_id)
        if job.sources:
            self._counters.count("message_dropped", "code_not_survived")
        else:
            job.then()

    def _judged(self, source_hash: bytes, verdict: SourceVerdict) -> None:
        self._is_asked = False
        self._survived[source_hash] = verdict.code != UNSURVIVED
        if len(self._survived) > VERDICTS_MAX:
            del self._survived[next(iter(self._survived))]
        self._work()


def _sources_of(requests: Iterable[Request]) -> list[bytes]:
    """What these requests bring. Their bytes were parsed when they came."""
    found = []
    for request in requests:
        if request.has_code:
            transaction = parse_transaction(request.raw).transaction
            source = find_source(transaction.contract, transaction.method, transaction.arguments)
            if source is not None:
                found.append(source)
    return found
