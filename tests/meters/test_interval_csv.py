"""Interval CSV: what is read, and an error with line and column for everything that is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meters.formats import FORMATS
from meters.formats.interval_csv import COLUMNS_MAX, FILE_BYTES_MAX, ROWS_MAX, IntervalCsvError, parse_interval_csv
from meters.series import Series

GOOD = """interval_start,b_load,a_load,a_pv
2025-07-01T00:00:00,1,2,3
2025-07-01T00:15:00,4,5,6
2025-07-01T00:30:00,7,8,9
"""
START = 1_751_328_000  # 2025-07-01T00:00:00Z


def test_a_file_becomes_a_series() -> None:
    """Homes in byte order, starts in UTC seconds, a home with one column only."""
    series = parse_interval_csv(GOOD.encode())
    assert series.homes == ("a", "b")
    assert series.starts == (START, START + 900, START + 1800)
    assert (series.load_wh, series.pv_wh) == ({"a": (2, 5, 8), "b": (1, 4, 7)}, {"a": (3, 6, 9)})
    assert FORMATS["interval_csv"](GOOD.encode()) == series


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD.rstrip("\n"),
        GOOD + "\n\n",
        GOOD.replace(",", " , "),
        GOOD.replace("T", " ").replace("00:00:00", "00:00"),
        GOOD.replace(":00,", ":00Z,"),
        GOOD.replace("2025-07-01T00", "2025-07-01T02").replace(":00,", ":00+02:00,"),
        GOOD.replace("interval_start", "epoch_start")
        .replace("2025-07-01T00:00:00", str(START))
        .replace("2025-07-01T00:15:00", str(START + 900))
        .replace("2025-07-01T00:30:00", str(START + 1800)),
        """interval_start,hour_ending,b_load,month,a_load,a_pv
2025-07-01T00:00:00,24,1,7,2,3
2025-07-01T00:15:00,1,4,7,5,6
2025-07-01T00:30:00,x,7,7,8,9
""",
    ],
    ids=["crlf", "bom", "no-final-newline", "empty-end", "spaces", "space-time", "zulu", "offset", "epoch", "notes"],
)
def test_other_spellings_of_the_same_file(text: str) -> None:
    """Line ends, zones and note columns do not change what a file says."""
    assert parse_interval_csv(text.encode()) == parse_interval_csv(GOOD.encode())


def test_steps_count_from_time_zero_with_a_given_interval() -> None:
    series = parse_interval_csv(b"step,month,hour_ending,h01_load\n0,7,24,5\n1,8,1,6\n", interval_minutes=60)
    assert (series.starts, series.interval_s, series.load_wh) == ((0, 3600), 3600, {"h01": (5, 6)})


def with_line(number: int, line: str) -> str:
    """GOOD with one line replaced (1 is the header)."""
    lines = GOOD.splitlines()
    lines[number - 1] = line
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("", "empty", 1, ""),
        ("\n\n", "empty", 1, ""),
        ("interval_start,a_load\n", "empty", 1, ""),
        (with_line(1, "time,b_load,a_load,a_pv"), "missing_column", 1, "time"),
        ("x" * 5000 + "\n", "missing_column", 1, "x" * 40 + "..."),
        (with_line(1, "b_load,interval_start,a_load,a_pv"), "missing_column", 1, "b_load"),
        ("interval_start,month\n2025-07-01T00:00:00,7\n", "missing_column", 1, ""),
        (with_line(1, "interval_start,b_load,a_load"), "extra_cell", 2, "a_load"),
        (with_line(1, "interval_start,b_laod,a_load,a_pv"), "unknown_column", 1, "b_laod"),
        (with_line(1, "interval_start,a_load,a_load,a_pv"), "duplicate_column", 1, "a_load"),
        (with_line(1, "interval_start,,a_load,a_pv"), "unknown_column", 1, ""),
        (with_line(3, "2025-07-01T00:15:00,4,5"), "missing_cell", 3, "a_pv"),
        (with_line(3, "2025-07-01T00:15:00,4,5,6,7"), "extra_cell", 3, "a_pv"),
        (with_line(3, ""), "missing_cell", 3, "b_load"),
        (with_line(3, "2025-07-01T00:15:00,4,-5,6"), "negative", 3, "a_load"),
        (with_line(3, "2025-07-01T00:15:00,4,5.0,6"), "not_whole", 3, "a_load"),
        (with_line(3, "2025-07-01T00:15:00,4,5e2,6"), "not_whole", 3, "a_load"),
        (with_line(3, "2025-07-01T00:15:00,4,nan,6"), "not_a_number", 3, "a_load"),
        (with_line(3, "2025-07-01T00:15:00,4,٣,6"), "not_a_number", 3, "a_load"),
        (with_line(3, "2025-07-01T00:15:00,4,5_0,6"), "not_a_number", 3, "a_load"),
        (with_line(3, "2025-07-01T00:15:00,4,,6"), "missing_value", 3, "a_load"),
        (with_line(3, "2025-07-01T00:15:00,4,1000000001,6"), "too_large", 3, "a_load"),
        (with_line(3, "2025-07-01T00:15:00,4," + "9" * 5000 + ",6"), "too_large", 3, "a_load"),
        (with_line(3, '2025-07-01T00:15:00,4,"5",6'), "bad_dialect", 3, "a_load"),
        (with_line(3, '2025-07-01T00:15:00,4,5,6,7,"8"'), "bad_dialect", 3, "a_pv"),
        (GOOD.replace("b_load", '"b_load"'), "bad_dialect", 1, ""),
        (GOOD.replace(",", ";"), "bad_dialect", 1, ""),
        (GOOD.replace(",", "\t"), "bad_dialect", 1, ""),
        (with_line(3, "2025-07-01T00:15:00;4;5;6"), "missing_cell", 3, "b_load"),
        (with_line(3, "2025-06-30T23:45:00,4,5,6"), "irregular_step", 3, "interval_start"),
        (with_line(3, "2025-07-01T00:00:00,4,5,6"), "duplicate_time", 3, "interval_start"),
        (with_line(4, "2025-07-01T00:15:00,4,5,6"), "duplicate_time", 4, "interval_start"),
        (with_line(4, "2025-07-01T00:45:00,4,5,6"), "gap", 4, "interval_start"),
        (with_line(4, "2025-07-01T00:31:00,4,5,6"), "irregular_step", 4, "interval_start"),
        (with_line(4, "2025-06-30T23:45:00,4,5,6"), "irregular_step", 4, "interval_start"),
        (with_line(3, "2025-07-01T00:07:00,4,5,6"), "irregular_step", 3, "interval_start"),
        (with_line(3, "2025-07-01T00:00:30,4,5,6"), "irregular_step", 3, "interval_start"),
        (with_line(3, "01.07.2025 00:15,4,5,6"), "bad_time", 3, "interval_start"),
        (with_line(3, "2025-02-30T00:15:00,4,5,6"), "bad_time", 3, "interval_start"),
        ("interval_start,a_load\n2025-07-01T00:00:00,1\n", "interval_unknown", 2, "interval_start"),
        ("step,a_load\n0,1\n1,2\n", "interval_unknown", 2, "step"),
        ("epoch_start,a_load\n7,1\n907,2\n", "misaligned", 2, "epoch_start"),
        ("epoch_start,a_load\n-900,1\n0,2\n", "bad_time", 2, "epoch_start"),
        ("epoch_start,a_load\n0.5,1\n900,2\n", "bad_time", 2, "epoch_start"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_column(text: str, code: str, line: int, column: str) -> None:
    """Each kind of bad file has its stable code, and the message says where and what was expected."""
    with pytest.raises(IntervalCsvError) as caught:
        parse_interval_csv(text.encode())
    assert (caught.value.code, caught.value.line, caught.value.column) == (code, line, column)
    assert f"line {line}" in str(caught.value)
    assert column in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("b_load", '"b_load"'), "cells are not quoted"),
        (with_line(3, '2025-07-01T00:15:00,4,"5",6'), "cells are not quoted"),
        (GOOD.replace(",", ";"), "the separator is a comma, and this line has ';'"),
        (GOOD.replace(",", "\t"), "the separator is a comma, and this line has a tab"),
        (with_line(3, "2025-07-01T00:15:00;4;5;6"), "the separator is a comma"),
        (with_line(3, "2025-06-30T23:45:00,4,5,6"), f"time goes backwards: {START - 900} after {START}"),
        (with_line(4, "2025-06-30T23:45:00,4,5,6"), f"time goes backwards: {START - 900} after {START + 900}"),
        ("step,a_load\n5,1\n4,1\n", "time goes backwards: 4 after 5"),
        (with_line(4, "2025-07-01T00:31:00,4,5,6"), f"expected {START + 1800}, got {START + 1860}"),
        (with_line(4, "2025-07-01T00:45:00,4,5,6"), "1 row is missing before it"),
        (with_line(4, "2025-07-01T01:00:00,4,5,6"), "2 rows are missing before it"),
        (with_line(3, "2025-07-01T00:15:00,4,1000000001,6"), "at most 1000000000 Wh"),
        (with_line(3, "2025-07-01T00:15:00,4," + "9" * 30 + ",6"), "at most 1000000000 Wh"),
    ],
)
def test_the_message_says_what_to_mend(text: str, says: str) -> None:
    """What people's spreadsheets write is named for what it is."""
    with pytest.raises(IntervalCsvError) as caught:
        parse_interval_csv(text.encode(), interval_minutes=15)
    assert says in str(caught.value)


def test_an_interval_that_disagrees_with_the_file_is_refused() -> None:
    with pytest.raises(IntervalCsvError, match="900 s apart"):
        parse_interval_csv(GOOD.encode(), interval_minutes=60)
    with pytest.raises(IntervalCsvError, match="does not divide a day"):
        parse_interval_csv(b"step,a_load\n0,1\n", interval_minutes=7)
    with pytest.raises(IntervalCsvError, match="does not divide a day"):
        parse_interval_csv(b"step,a_load\n0,1\n", interval_minutes=0)


@pytest.mark.parametrize(
    ("data", "line"), [(b"a\x00b", 1), (GOOD.encode() + b"\xff\xfe", 5), (b"\x89PNG\r\n\x1a\n", 1)]
)
def test_a_binary_file_is_refused(data: bytes, line: int) -> None:
    with pytest.raises(IntervalCsvError) as caught:
        parse_interval_csv(data)
    assert (caught.value.code, caught.value.line) == ("binary", line)


def test_sizes_are_bounded() -> None:
    """Too many bytes, rows or columns are refused before they are parsed."""
    for data in (
        b" " * (FILE_BYTES_MAX + 1),
        b"step,a_load\n" + b"0,1\n" * (ROWS_MAX + 1),
        b"step" + b",a_load" * COLUMNS_MAX + b"\n",
        b"\n" * FILE_BYTES_MAX,
        b"," * FILE_BYTES_MAX,
    ):
        with pytest.raises(IntervalCsvError) as caught:
            parse_interval_csv(data, interval_minutes=60)
        assert caught.value.code == "too_large"


@given(st.binary(max_size=200))
def test_any_bytes_give_a_series_or_an_error(data: bytes) -> None:
    """The parser is total."""
    try:
        assert isinstance(parse_interval_csv(data, interval_minutes=15), Series)
    except IntervalCsvError as error:
        assert error.code


@given(st.integers(0, len(GOOD) - 1), st.characters(codec="utf-8"))
def test_one_changed_character_never_crashes_the_parser(place: int, character: str) -> None:
    """Near-misses of a good file are a series or an error, too."""
    try:
        parse_interval_csv((GOOD[:place] + character + GOOD[place + 1 :]).encode())
    except IntervalCsvError as error:
        assert error.code


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=2, max_size=30))
def test_values_arrive_as_written(rows: list[tuple[int, int]]) -> None:
    lines = [f"{900 * place},{load},{pv}" for place, (load, pv) in enumerate(rows)]
    series = parse_interval_csv("\n".join(["epoch_start,x_load,x_pv", *lines]).encode())
    assert list(zip(series.load_wh["x"], series.pv_wh["x"], strict=True)) == rows
