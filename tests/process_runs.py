"""Long runs of a test module, in as many processes as there are processors.

A test asks for its own runs and waits for these alone; those after them are on their way meanwhile. Every process is
started anew (spawn), so a run sees nothing of the tests' process, and what comes back is whole.
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, TypeVar

Job = TypeVar("Job", bound=tuple[object, ...])
Result = TypeVar("Result")


class ProcessRuns(AbstractContextManager["ProcessRuns[Job, Result]"], Generic[Job, Result]):
    """Each job is run once, however many tests look at it. At the end, what nobody waits for is not begun any more."""

    def __init__(self, run: Callable[..., Result], jobs: Sequence[Job]) -> None:
        """A job is what `run` is called with, which another process can import. `jobs` are all that can be asked for,
        in the order in which they are begun."""
        self._run = run
        self._jobs = jobs
        self._pool = ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn"))
        self._begun: dict[Job, Future[Result]] = {}

    def results(self, jobs: Sequence[Job]) -> list[Result]:
        """What these came to, in their order."""
        for job in self._jobs[self._jobs.index(jobs[0]) :]:
            if job not in self._begun:
                self._begun[job] = self._pool.submit(self._run, *job)
        return [self._begun[job].result() for job in jobs]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
