"""The log of a replica: structured events to one bounded file, and to the terminal where there is one.

It owns structlog's set-up and the rule of privacy: from INFO on an event carries only the named fields below and only
short plain values, so that no reading, argument or receipt reaches a log by mistake, whoever wrote the line. Bytes are
shown as the first 8 bytes in hexadecimal: enough to compare, too little to reconstruct. A line that repeats is folded
with a count, and a file that is full is replaced once, so that no fault fills a disk.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final, Protocol, TextIO, cast


@contextlib.contextmanager
def _without_rich() -> Iterator[None]:
    """structlog loads rich, where it is installed, to colour tracebacks; a replica logs none, and rich with its
    highlighters takes 3 MB and 70 modules of each process. None in this table is the interpreter's word for missing."""
    loaded = sys.modules.get("rich")
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["rich"]
        if loaded is not None:
            sys.modules["rich"] = loaded


with _without_rich():
    import structlog

LOG_BYTES_MAX: Final = 67_108_864  # then `log.jsonl` becomes `log.jsonl.1`: at most 128 MiB a replica
FOLD_AFTER: Final = 20  # lines of one event in one second; the rest of that second is one number
TEXT_CHARACTERS_MAX: Final = 500  # a sentence with its numbers
SHOWN_BYTES: Final = 8  # of a hash or key
ITEMS_MAX: Final = 64  # of a list, which is at most one per replica

# What a line may name. Whatever is not here is withheld: an allow-list, since the forbidden cannot be listed.
_FIELD_NAMES: Final = """
event level timestamp replica folded network version pid worker_pid host port ports address peer peers client
view primary height certified_height state_root header_hash digest epoch tx_id transactions gas_used next_due_ms
code reason cause detail count bytes seconds attempts exit_code signal path directory kind name first_height
"""
FIELDS: Final = frozenset(_FIELD_NAMES.split())

Event = MutableMapping[str, Any]
Logger = structlog.typing.FilteringBoundLogger


class TextStream(Protocol):
    """What a log writes to."""

    def write(self, text: str, /) -> int: ...
    def flush(self) -> None: ...


class BoundedFile:
    """A text file that is appended to and never grows beyond a limit: the full one is kept once, as `NAME.1`."""

    def __init__(self, path: Path, *, bytes_max: int = LOG_BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._file = path.open("a", encoding="utf-8")
        path.chmod(0o600)
        self._size = path.stat().st_size

    def write(self, text: str) -> int:
        """Append a line; it is with the operating system when this returns."""
        if self._size + len(text) > self._bytes_max and self._size:
            self._file.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._file = self._path.open("w", encoding="utf-8")
            self._path.chmod(0o600)
            self._size = 0
        self._size += len(text.encode())
        return self._file.write(text)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _Folding:
    """Drops what repeats too often and says how much was dropped when the second is over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = 0
        self._counts: dict[str, int] = {}

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        second, name = int(self._clock()), str(event["event"])
        if second != self._second:
            self._second = second
            self._counts = {key: count - FOLD_AFTER for key, count in self._counts.items() if count > FOLD_AFTER}
            folded = self._counts
            self._counts = {}
            if folded:
                event["folded"] = sum(folded.values())
        self._counts[name] = self._counts.get(name, 0) + 1
        if self._counts[name] > FOLD_AFTER:
            raise structlog.DropEvent
        return event


def _withhold(_logger: object, method: str, event: Event) -> Event:
    """The rule of privacy; DEBUG, which is never on by default, shows every field in the same short forms."""
    for name in list(event):
        if method != "debug" and name not in FIELDS:
            event[name] = "(withheld)"
        else:
            event[name] = _shown(event[name])
    return event


def _shown(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= TEXT_CHARACTERS_MAX else value[:TEXT_CHARACTERS_MAX] + "..."
    if isinstance(value, bytes):
        return value[:SHOWN_BYTES].hex()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _shown(item) for name, item in list(value.items())[:ITEMS_MAX]}
    if isinstance(value, list | tuple) and all(isinstance(item, int | str) for item in value):
        return [_shown(item) for item in value[:ITEMS_MAX]]
    return f"({type(value).__name__})"


def make_logger(
    *, replica: int, stream: TextStream, is_terminal: bool = False, clock: Callable[[], float] = time.time
) -> Logger:
    """A logger of one replica that writes to `stream`: JSON lines, or columns for a person at a terminal."""
    renderer = structlog.dev.ConsoleRenderer() if is_terminal else structlog.processors.JSONRenderer()
    logger: Logger = structlog.wrap_logger(
        structlog.WriteLogger(cast(TextIO, stream)),
        processors=[
            _Folding(clock),  # first: what is dropped costs nothing more
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _withhold,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        context_class=dict,
        replica=replica,
    )
    return logger


def open_logger(*, replica: int, path: Path | None) -> Logger:
    """JSON to the file; without one, columns to a terminal's stderr and JSON to any other."""
    if path is not None:
        return make_logger(replica=replica, stream=BoundedFile(path))
    return make_logger(replica=replica, stream=sys.stderr, is_terminal=sys.stderr.isatty())
