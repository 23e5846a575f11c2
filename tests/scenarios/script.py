"""Scenarios as data: a script over a stage, the rule that it is about, and the edit of the product that removes it.

The transcript holds both runs: with the rule, and from where they part, without.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

import pytest
from scenarios.edits import Edit, apply_edits
from scenarios.narration import WIDTH, Broken
from scenarios.stage import Stage

Script = Callable[[Any], None]


@dataclass(frozen=True, kw_only=True)
class Without:
    """A rule's absence: edits of the product or of the stage, and the property that then breaks."""

    what: str
    breaks: str  # the beginning of the property that `show` reports as broken
    edits: tuple[Edit, ...] = ()
    stage: dict[str, object] = field(default_factory=dict)  # attributes of the stage


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A script with its place in PROTOCOL.md, part II."""

    name: str
    executions: tuple[int, ...]
    rules: str
    title: str
    story: str
    script: Script
    stage: type
    cast: dict[str, Any]
    without: tuple[Without, ...]

    def play(self) -> list[str]:
        """The transcript with the rule. Raises Broken."""
        stage = self.stage(**self.cast)
        try:
            self.script(stage)
        except Exception as error:
            error.add_note("\n".join(["the stage up to here:", *stage.lines]))
            raise
        return stage.lines

    def play_without(self, removal: Without) -> list[str]:
        """The transcript without it, up to the property that breaks; AssertionError where none does."""
        with pytest.MonkeyPatch.context() as monkeypatch:
            apply_edits(removal.edits, monkeypatch)
            stage = self.stage(**self.cast)
            for name, value in removal.stage.items():
                setattr(stage, name, value)
            try:
                self.script(stage)
            except Broken as broken:
                assert str(broken).startswith(removal.breaks), f"broke elsewhere: {broken}"
                return stage.lines
        raise AssertionError(f"{self.name}: without {removal.what}, nothing breaks")

    def transcript(self) -> str:
        """The whole text that is kept."""
        numbers = ", ".join(map(str, self.executions))
        title = f"{self.title}  [{f'execution {numbers}; ' if numbers else ''}{self.rules}]"
        lines = [title, "=" * len(title), ""]
        for paragraph in self.story.split("\n\n"):
            lines += [*wrap(" ".join(paragraph.split()), WIDTH), ""]
        played = self.play()
        lines += [*(["WITH THE RULE", ""] if self.without else []), *played]
        for removal in self.without:
            lines += ["", f"WITHOUT: {removal.what}", ""]
            for edit in removal.edits:
                lines += [*edit.words(), ""]
            lines += [*_from_where_they_part(played, self.play_without(removal))]
        return "\n".join(lines) + "\n"


def _from_where_they_part(played: list[str], other: list[str]) -> list[str]:
    """The second transcript from its first line that differs, with one line before it."""
    alike = next(
        (i for i, (a, b) in enumerate(zip(played, other, strict=False)) if a != b), min(len(played), len(other))
    )
    start = max(alike - 1, 0)
    return [*(["  ..."] if start else []), *other[start:]]


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    *executions: int,
    rules: str,
    title: str,
    without: tuple[Without, ...] = (),
    on: type = Stage,
    **cast: object,
) -> Callable[[Script], Script]:
    """Registers a script; its docstring is the story, `cast` the stage's arguments."""

    def register(script: Script) -> Script:
        name = script.__name__
        assert name not in SCENARIOS, name
        SCENARIOS[name] = Scenario(
            name=name,
            executions=executions,
            rules=rules,
            title=title,
            story=inspect.getdoc(script) or "",
            script=script,
            stage=on,
            cast=dict(cast),
            without=without,
        )
        return script

    return register
