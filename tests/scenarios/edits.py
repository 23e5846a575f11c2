"""Edits of the product that take one rule away, for one run in this process.

An edit replaces one piece of a function's source and gives the function the code that results, until monkeypatch is
undone. A piece that is no longer there fails the test that uses it, so edits cannot go stale unseen.
"""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import dedent
from types import FunctionType
from typing import Any

import pytest


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One piece of a function's source, and what stands there without the rule."""

    function: FunctionType
    old: str
    new: str

    def words(self) -> list[str]:
        """The edit as a transcript shows it; skips the test where the function is compiled and cannot be edited."""
        if not isinstance(self.function, FunctionType):
            pytest.skip("what is compiled cannot be edited")
        where = f"{self.function.__module__}.{self.function.__qualname__}"
        old, new = ([line.strip() for line in text.splitlines()] for text in (self.old, self.new))
        return [f"   in {where}:", *(f"   - {line}" for line in old), *(f"   + {line}" for line in new if line)]


def apply_edits(edits: Iterable[Edit], monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the functions the edited code, until monkeypatch is undone."""
    sources: dict[FunctionType, str] = {}
    for edit in edits:
        function = edit.function
        source = sources.get(function) or _source_of(function)
        assert source.count(edit.old) == 1, f"{function.__qualname__}: {source.count(edit.old)} times {edit.old!r}"
        sources[function] = source.replace(edit.old, edit.new)
    for function, source in sources.items():
        scope: dict[str, Any] = {}
        edited = compile(source, f"<{function.__qualname__}, edited>", "exec")
        exec(edited, function.__globals__, scope)
        monkeypatch.setattr(function, "__code__", scope[function.__name__].__code__)


def _source_of(function: FunctionType) -> str:
    """A function's source without its decorators: they have done their work already."""
    source = dedent(inspect.getsource(function))
    return source[source.index("def ") :]
