"""How the demo tells people what it does, on stderr: a live line on a terminal, one line a stage elsewhere.

A pipe, a log or `NO_COLOR` gets plain lines of at most 80 columns, without control characters. rich is imported only
where a terminal shows it.
"""

import time
from typing import Any, Final

import click

from meters.demo_report import COLUMNS

SHOWN_STEPS: Final = 8  # of the intervals of a long series, on a stream without a live line


class PlainProgress:
    """A line for each stage, with the seconds since the start; a few lines for the intervals."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown = 0

    def step(self, text: str) -> None:
        """A new stage begins."""
        click.echo(f"{time.monotonic() - self._began:6.1f} s  {text}"[:COLUMNS], err=True)

    def intervals(self, decided: int, total: int) -> None:
        """So many intervals have their verdicts; shown at every eighth of the way."""
        part = decided * SHOWN_STEPS // total
        if part > self._shown:
            self._shown = part
            self.step(f"  {decided} of {total} intervals decided")

    def close(self) -> None:
        """Nothing to tidy up on a stream."""


class TerminalProgress:
    """One line that moves, and the stages above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True, highlight=False, width=None)
        self._live: Any = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task: Any = None
        self._began = time.monotonic()
        self._live.start()

    def step(self, text: str) -> None:
        """A new stage begins."""
        self._console.print(f"{time.monotonic() - self._began:6.1f} s  {text}", markup=False, overflow="ellipsis")

    def intervals(self, decided: int, total: int) -> None:
        """So many intervals have their verdicts."""
        if self._task is None:
            self._task = self._live.add_task("intervals decided", total=total)
        self._live.update(self._task, completed=decided)

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()


def make_progress(*, is_terminal: bool) -> PlainProgress | TerminalProgress:
    """What suits the stream."""
    return TerminalProgress() if is_terminal else PlainProgress()
