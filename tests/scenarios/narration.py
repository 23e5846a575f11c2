"""What every stage has: a transcript with a narrator, and properties that must hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import wrap

WIDTH = 118


class Broken(AssertionError):
    """What a scenario shows does not hold."""


class Narration:
    """The transcript."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._is_quiet = False

    def say(self, text: str) -> None:
        """The narrator."""
        self._write(f"-- {text}", "   ")

    def show(self, text: str, holds: bool) -> None:
        """The property that the scenario is about. Raises Broken where it does not hold."""
        self._write(f"{'SHOWN' if holds else 'BROKEN'}: {text}", "       ")
        if not holds:
            raise Broken(text)

    @contextmanager
    def quietly(self, summary: str) -> Iterator[None]:
        """What happens inside is summed up in one line."""
        self._is_quiet, before = True, self._is_quiet
        yield
        self._is_quiet = before
        self._forget_effects()
        self.say(summary)

    def _forget_effects(self) -> None:
        """Drops what a stage has noted and not written yet."""

    def _write(self, line: str, indent: str) -> None:
        if not self._is_quiet:
            self.lines += wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
