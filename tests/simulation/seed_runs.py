"""The seeds of a test run, searched in as many processes as there are processors.

A test asks for its own seeds and waits for these alone; those after them are on their way meanwhile. Every process is
started anew (spawn), so a run sees nothing of the tests' process, and a report comes back whole, with its transcript.
"""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from types import TracebackType

from pbft.simulation.seed import SeedReport, run_seed

Job = tuple[int, int]
"""A seed and its steps."""


class SeedRuns(AbstractContextManager["SeedRuns"]):
    """Each job is run once, however many tests look at it. At the end, what nobody waits for is not begun any more."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        """`jobs` are all that can be asked for, in the order in which they are begun."""
        self._jobs = jobs
        self._pool = ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn"))
        self._begun: dict[Job, Future[SeedReport]] = {}

    def reports(self, jobs: Sequence[Job]) -> list[SeedReport]:
        """How these went, in their order."""
        for job in self._jobs[self._jobs.index(jobs[0]) :]:
            if job not in self._begun:
                self._begun[job] = self._pool.submit(run_seed, *job)
        return [self._begun[job].result() for job in jobs]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
