"""What all commands share: exit codes, errors, the common options, and how an answer is printed.

Rules (scripts depend on them): data goes to stdout and everything else to stderr; with `--json` the last line of stdout
is one object with `"v": 1`; an exit code means the same at every command. No reactor is imported here.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from enum import IntEnum
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, TypeVar

import click

NETWORKS_FOLDER: Final = Path(".gridquorum")  # where `up` keeps networks, under the folder it is called in
DEFAULT_NETWORK: Final = "dev-4"
ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)  # what asks a command to end in order

Command = TypeVar("Command", bound=Callable[..., Any])


class ExitCode(IntEnum):
    """What a command ends with; 0 is done and 2 is click's own for wrong usage."""

    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 10  # the network, or a quorum of it
    REJECTED = 11  # a transaction
    UNKNOWN = 12  # a transaction's outcome is not known yet
    UNVERIFIED = 13  # a proof does not hold
    NOT_READY = 14
    REFUSED = 15  # for safety
    INTERRUPTED = 130


class CommandError(click.ClickException):
    """Ends a command with a sentence on stderr and an exit code."""

    def __init__(self, message: str, exit_code: int = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.exit_code = int(exit_code)  # type: ignore[misc] # click reads it from the instance too

    def show(self, file: Any = None) -> None:
        """One line, with the program's name in front as Unix tools do."""
        click.echo(f"gridquorum: {self.message}", err=True)


class errors_as(AbstractContextManager[None]):  # noqa: N801 - reads as a statement
    """`with errors_as({LocalNetworkError: code_of}):` turns a room's errors into a command's end."""

    def __init__(self, codes: Mapping[type[Exception], Callable[[Any], int]]) -> None:
        self._codes = codes

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for known, code_of in self._codes.items():
            if isinstance(error, known):
                raise CommandError(str(error), code_of(error)) from error


@contextmanager
def terminations_as_interrupts() -> Iterator[None]:
    """While it lasts the first SIGTERM or Ctrl-C ends the command in order, through every `finally`; later ones do not.

    A second one would cut short what the first has begun, and leave processes that nobody ends.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in ENDING_SIGNALS:
            signal.signal(number, _ignore)
        raise KeyboardInterrupt

    with _handled_by(interrupt):
        yield


def uninterrupted() -> AbstractContextManager[None]:
    """While it lasts neither SIGTERM nor Ctrl-C is heard: for an ending, which is bounded in time by itself."""
    return _handled_by(_ignore)


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Not SIG_IGN: a process started meanwhile would inherit that, and could not be ended in order."""


class ReplicaId(click.ParamType[int]):
    """A replica: `2` or `r2`."""

    name = "replica"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The id as a number."""
        if isinstance(value, int):
            return value
        digits = str(value).removeprefix("r")
        if not digits.isascii() or not digits.isdecimal() or len(digits) > 3:
            self.fail(f"{value!r} is no replica: expected a number, as 2 or r2", param, ctx)
        return int(digits)


def data_dir_option(command: Command) -> Command:
    """`--data-dir DIR`: the local network that a command is about, as an existing or default directory."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="GRIDQUORUM_DATA_DIR",
        help="The local network's directory (default: the one in ./.gridquorum).",
    )(command)


def json_option(command: Command) -> Command:
    """`--json`: one object on one line, last on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(command)


def find_data_dir(given: Path | None, name: str | None = None) -> Path:
    """The directory given, else that of the network `name`, else the only (or the default) one under ./.gridquorum.

    Raises click.UsageError where several are there and none is the default.
    """
    if given is not None:
        return given
    if name is not None:
        return NETWORKS_FOLDER / name
    default = NETWORKS_FOLDER / DEFAULT_NETWORK
    there = sorted(path.parent for path in NETWORKS_FOLDER.glob("*/network.json"))
    if default in there or not there:
        return default
    if len(there) > 1:
        names = ", ".join(path.name for path in there)
        raise click.UsageError(f"several networks are in {NETWORKS_FOLDER} ({names}): say which with --data-dir")
    return there[0]


def print_json(answer: Mapping[str, Any]) -> None:
    """The answer of a command for scripts: `v` first, one line, nothing after it.

    ASCII alone: text of a contract may hold what ends a line elsewhere (U+2028), or what a terminal takes for an order.
    """
    click.echo(json.dumps({"v": 1, **answer}))


def say(text: str) -> None:
    """What happens, for people: to stderr."""
    click.echo(text, err=True)


def is_terminal() -> bool:
    """Whether a person watches stderr and wants colours and progress."""
    is_plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return sys.stderr.isatty() and not is_plain
