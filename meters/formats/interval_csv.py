"""Interval CSV: one row per interval, one column per meter, whole Wh (DESIGN section 5).

The first column is the time: `interval_start` (ISO 8601; without an offset it is read as UTC), `epoch_start` (UTC
seconds), or `step` (a row number, with the interval's length given by the caller; the series then counts from time
0). Every other column is `<home>_load`, `<home>_pv`, or one of NOTE_COLUMNS, which repeat the time in words and are
ignored. Any other name is an error and not ignored: a misspelt meter must not vanish from a settlement. A home may
have only one of its two columns.

Rows are strictly regular: the series has no gap, no duplicate and no value that is missing. Every error names its
line (1 is the header) and its column, with a stable code; files are bounded in bytes, rows and columns.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from meters.series import DAY_S, Series

FILE_BYTES_MAX: Final = 32 * 1024 * 1024
"""A year of quarter hours of 150 homes, with room."""
ROWS_MAX: Final = 120_000
"""More than three years of quarter hours."""
LINES_MAX: Final = ROWS_MAX + 1_000
"""Rows, the header, and empty lines at the end."""
COLUMNS_MAX: Final = 2_048
"""A thousand homes with two meters each, the size of one sharing key."""
ENERGY_MAX_WH: Final = 10**9
"""One GWh in one interval: beyond any home, and far inside the ledger's integers."""
INTERVAL_MIN_S: Final = 60
SHOWN_CHARACTERS_MAX: Final = 40
"""Of a cell or a name in an error message."""

TIME_COLUMNS: Final = ("interval_start", "epoch_start", "step")
NOTE_COLUMNS: Final = frozenset({"month", "day", "weekday", "hour", "hour_ending"})

_HOME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")
_WHOLE_BEYOND: Final = re.compile(r"0*[1-9][0-9]{18,}")  # too long for _WHOLE, and so beyond ENERGY_MAX_WH
_NUMBER: Final = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[-+][0-9]{2}:[0-9]{2})?")


class IntervalCsvError(ValueError):
    """What is wrong with a file, and where. `code` is stable; `line` 0 means the file as a whole."""

    def __init__(self, code: str, message: str, *, line: int = 0, column: str = "") -> None:
        column = column if len(column) <= SHOWN_CHARACTERS_MAX else column[:SHOWN_CHARACTERS_MAX] + "..."
        where = [f"line {line}"] if line else []
        where += [f"column {column!a}"] if column else []
        super().__init__(f"{', '.join(where)}: {message}" if where else message)
        self.code = code
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    columns: tuple[str, ...]
    meters: tuple[tuple[int, str, str], ...]  # position, home, kind


def parse_interval_csv(data: bytes, *, interval_minutes: int | None = None) -> Series:
    """The series of a file's bytes.

    `interval_minutes` is needed by `step` files and by files of one row; where the times say it, it must agree.
    Raises IntervalCsvError.
    """
    lines = _lines_of(data)
    header = _parse_header(lines[0])
    if len(lines) < 2:
        raise IntervalCsvError("empty", "the file has a header and no row", line=1)
    if len(lines) - 1 > ROWS_MAX:
        raise IntervalCsvError("too_large", f"{len(lines) - 1} rows; at most {ROWS_MAX}")
    times: list[int] = []
    columns: list[list[int]] = [[] for _ in header.meters]
    for number, line in enumerate(lines[1:], 2):
        cells = _cells_of(line, header, number)
        times.append(_parse_time(header.columns[0], cells[0], number))
        for values, (position, _, _) in zip(columns, header.meters, strict=True):
            values.append(_parse_energy(cells[position], number, header.columns[position]))
    interval_s = _interval_of(header.columns[0], times, interval_minutes)
    starts = _check_grid(header.columns[0], times, interval_s)
    load = {home: tuple(v) for v, (_, home, kind) in zip(columns, header.meters, strict=True) if kind == "load"}
    pv = {home: tuple(v) for v, (_, home, kind) in zip(columns, header.meters, strict=True) if kind == "pv"}
    homes = tuple(sorted(set(load) | set(pv), key=str.encode))
    return Series(homes=homes, starts=starts, interval_s=interval_s, load_wh=load, pv_wh=pv)


def _lines_of(data: bytes) -> list[str]:
    if len(data) > FILE_BYTES_MAX:
        raise IntervalCsvError("too_large", f"the file has {len(data)} bytes; at most {FILE_BYTES_MAX}")
    # Counted before anything is split: a file of line feeds or commas must not become millions of objects.
    if data.count(b"\n") > LINES_MAX:
        raise IntervalCsvError("too_large", f"the file has more than {LINES_MAX} lines")
    for number, line in enumerate(data.split(b"\n"), 1):
        if b"\0" in line:
            raise IntervalCsvError("binary", "not a text file: it holds a zero byte", line=number)
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise IntervalCsvError("binary", f"not UTF-8 text at byte {error.start} of the line", line=number) from None
    lines = data.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():  # a final line feed, or empty lines at the end
        lines.pop()
    if not lines:
        raise IntervalCsvError("empty", "the file is empty: expected a header line", line=1)
    return lines


def _parse_header(line: str) -> _Header:
    if line.count(",") >= COLUMNS_MAX:
        raise IntervalCsvError("too_large", f"{line.count(',') + 1} columns; at most {COLUMNS_MAX}", line=1)
    names = tuple(cell.strip() for cell in line.split(","))
    _refuse_other_dialect(line, names[0])
    if names[0] not in TIME_COLUMNS:
        expected = ", ".join(TIME_COLUMNS)
        raise IntervalCsvError("missing_column", f"the first column must be one of {expected}", line=1, column=names[0])
    meters: list[tuple[int, str, str]] = []
    for position, name in enumerate(names[1:], 1):
        if name in names[:position]:
            raise IntervalCsvError("duplicate_column", "this column occurs twice", line=1, column=name)
        home, separator, kind = name.rpartition("_")
        if separator and kind in ("load", "pv") and _HOME.fullmatch(home):
            meters.append((position, home, kind))
        elif name not in NOTE_COLUMNS:
            message = "neither <home>_load nor <home>_pv, nor a known note column"
            raise IntervalCsvError("unknown_column", message, line=1, column=name)
    if not meters:
        raise IntervalCsvError("missing_column", "no column is named <home>_load or <home>_pv", line=1)
    return _Header(columns=names, meters=tuple(meters))


def _refuse_other_dialect(line: str, first: str) -> None:
    """Raise `bad_dialect` for a header as spreadsheets write it: in quotes, or with `;` or a tab between its cells."""
    if '"' in line:
        raise IntervalCsvError("bad_dialect", "cells are not quoted: write the names without quotes", line=1)
    for separator, name in ((";", "';'"), ("\t", "a tab")):
        if first.split(separator)[0].strip() in TIME_COLUMNS and separator in line:
            raise IntervalCsvError("bad_dialect", f"the separator is a comma, and this line has {name}", line=1)


def _cells_of(line: str, header: _Header, number: int) -> list[str]:
    if '"' in line:
        column = header.columns[min(line[: line.index('"')].count(","), len(header.columns) - 1)]
        raise IntervalCsvError("bad_dialect", "cells are not quoted: write them without", line=number, column=column)
    count, expected = line.count(",") + 1, len(header.columns)
    if count < expected:
        message = f"missing: expected {expected} cells, got {count}"
        if ";" in line or "\t" in line:
            message += "; the separator is a comma"
        raise IntervalCsvError("missing_cell", message, line=number, column=header.columns[count])
    if count > expected:
        message = f"the row goes on after it: expected {expected} cells, got {count}"
        raise IntervalCsvError("extra_cell", message, line=number, column=header.columns[-1])
    return [cell.strip() for cell in line.split(",")]


def _parse_time(column: str, cell: str, line: int) -> int:
    if column != "interval_start":
        if _WHOLE.fullmatch(cell) is None or int(cell) < 0:
            raise IntervalCsvError("bad_time", f"expected a whole number, got {_shown(cell)}", line=line, column=column)
        return int(cell)
    try:
        if _ISO.fullmatch(cell) is None:
            raise ValueError
        moment = datetime.fromisoformat(cell)
    except ValueError:
        message = f"expected a time like 2025-07-01T00:15:00Z, got {_shown(cell)}"
        raise IntervalCsvError("bad_time", message, line=line, column=column) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _ONE_SECOND


_ONE_SECOND: Final = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)


def _parse_energy(cell: str, line: int, column: str) -> int:
    if _WHOLE.fullmatch(cell) is not None:
        value = int(cell)
        if value < 0:
            raise IntervalCsvError("negative", f"energy is never negative, got {value} Wh", line=line, column=column)
        if value > ENERGY_MAX_WH:
            raise _too_large(cell, line, column)
        return value
    if _WHOLE_BEYOND.fullmatch(cell) is not None:
        raise _too_large(cell, line, column)
    if not cell:
        raise IntervalCsvError("missing_value", "the cell is empty; expected whole Wh", line=line, column=column)
    code = "not_whole" if _NUMBER.fullmatch(cell) else "not_a_number"
    raise IntervalCsvError(code, f"expected whole Wh, got {_shown(cell)}", line=line, column=column)


def _too_large(cell: str, line: int, column: str) -> IntervalCsvError:
    message = f"{_shown(cell)} Wh in one interval; at most {ENERGY_MAX_WH} Wh"
    return IntervalCsvError("too_large", message, line=line, column=column)


def _interval_of(column: str, times: list[int], interval_minutes: int | None) -> int:
    """Length of the interval in seconds: told, or the distance of the first two rows."""
    given = None if interval_minutes is None else interval_minutes * 60
    if column == "step" or len(times) == 1:
        if given is None:
            message = "the interval's length is not in the file: give --interval-minutes"
            raise IntervalCsvError("interval_unknown", message, line=2, column=column)
        interval_s = given
    else:
        interval_s = times[1] - times[0]
        if interval_s == 0:
            raise IntervalCsvError("duplicate_time", "the same time as on line 2", line=3, column=column)
        if interval_s < 0:
            raise IntervalCsvError("irregular_step", _backwards(times[0], times[1]), line=3, column=column)
        if given is not None and given != interval_s:
            message = f"the rows are {interval_s} s apart, and --interval-minutes says {interval_minutes}"
            raise IntervalCsvError("irregular_step", message, line=3, column=column)
    if interval_s < INTERVAL_MIN_S or DAY_S % interval_s:
        message = f"an interval of {interval_s} s does not divide a day, or is below {INTERVAL_MIN_S} s"
        raise IntervalCsvError("irregular_step", message, line=3 if given is None else 0, column=column)
    return interval_s


def _check_grid(column: str, times: list[int], interval_s: int) -> tuple[int, ...]:
    """The starts in UTC seconds; every row follows the one before by exactly one interval."""
    step = 1 if column == "step" else interval_s
    if column != "step" and times[0] % interval_s:
        message = f"the first interval does not begin on the grid of {interval_s} s"
        raise IntervalCsvError("misaligned", message, line=2, column=column)
    seen = {times[0]: 2}
    for line, (before, time) in enumerate(pairwise(times), 3):
        if time in seen:
            raise IntervalCsvError("duplicate_time", f"the same time as on line {seen[time]}", line=line, column=column)
        seen[time] = line
        if time != before + step:
            raise _irregular(column, before, time, step, line)
    return tuple(time * interval_s for time in times) if column == "step" else tuple(times)


def _irregular(column: str, before: int, time: int, step: int, line: int) -> IntervalCsvError:
    """What a row is that does not follow the one before by one step: behind it, after a gap, or beside the grid."""
    if time < before:
        return IntervalCsvError("irregular_step", _backwards(before, time), line=line, column=column)
    if (time - before) % step:
        return IntervalCsvError("irregular_step", f"expected {before + step}, got {time}", line=line, column=column)
    missing = (time - before) // step - 1
    message = "1 row is missing before it" if missing == 1 else f"{missing} rows are missing before it"
    return IntervalCsvError("gap", message, line=line, column=column)


def _backwards(before: int, time: int) -> str:
    return f"time goes backwards: {time} after {before}"


def _shown(cell: str) -> str:
    """A cell as it may stand in an error message: escaped, and short."""
    return ascii(cell if len(cell) <= SHOWN_CHARACTERS_MAX else cell[:SHOWN_CHARACTERS_MAX] + "...")
