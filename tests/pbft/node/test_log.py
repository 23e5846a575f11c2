"""The log: nothing private from INFO on, bounded files, folded floods, and JSON that tools can read."""

import json
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbft.node.log import FIELDS, FOLD_AFTER, TEXT_CHARACTERS_MAX, BoundedFile, make_logger, open_logger

SECRETS = ["reading-4711", b"reading-4711-as-bytes", ["reading-4711"], {"kwh": "reading-4711"}, ("reading-4711",)]


def lines_of(stream: StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("level", ["info", "warning", "error", "critical"])
@pytest.mark.parametrize("secret", SECRETS, ids=repr)
def test_a_field_that_is_not_on_the_list_is_withheld(level: str, secret: object) -> None:
    """Whoever logs arguments, receipts or readings by mistake logs nothing of them: the list only allows."""
    stream = StringIO()
    log = make_logger(replica=1, stream=stream)
    getattr(log, level)("executed", arguments=secret, wh=4711, receipt=secret, height=3)
    (line,) = lines_of(stream)
    assert (line["height"], line["replica"], line["event"], line["level"]) == (3, 1, "executed", level)
    assert line["arguments"] == line["wh"] == line["receipt"] == "(withheld)"
    assert "4711" not in stream.getvalue()


@given(name=st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=20), value=st.integers(10**9, 10**12))
def test_only_named_fields_show_their_value(name: str, value: int) -> None:
    """For any field name: its value is in the line exactly when the name is on the list."""
    if name in {"event", "level", "timestamp", "replica", "folded"}:
        return  # the log's own
    stream = StringIO()
    make_logger(replica=1, stream=stream).info("anything", **{name: value})
    assert (str(value) in stream.getvalue()) == (name in FIELDS)


def test_values_are_short_and_plain() -> None:
    """Bytes as the first 8 in hexadecimal, long texts cut, objects by their type's name alone."""
    stream = StringIO()
    log = make_logger(replica=1, stream=stream)
    log.info("shown", header_hash=bytes(range(32)), cause="x" * 10_000, detail=object(), peers=list(range(1000)))
    (line,) = lines_of(stream)
    assert line["header_hash"] == "0001020304050607"
    assert len(str(line["cause"])) == TEXT_CHARACTERS_MAX + 3
    assert line["detail"] == "(object)"
    assert line["peers"] == list(range(64))


def test_debug_is_off() -> None:
    """What is below INFO reaches no file."""
    stream = StringIO()
    make_logger(replica=1, stream=stream).debug("detail", cause="x")
    assert stream.getvalue() == ""


def test_a_line_that_repeats_is_folded_with_a_count() -> None:
    """A flood of one event in one second leaves its first lines and, in the next second, how many there were more."""
    now = [100.0]
    stream = StringIO()
    log = make_logger(replica=1, stream=stream, clock=lambda: now[0])
    for _ in range(FOLD_AFTER + 30):
        log.warning("frame_refused")
    log.info("block")
    assert [line["event"] for line in lines_of(stream)] == ["frame_refused"] * FOLD_AFTER + ["block"]
    now[0] = 101.0
    log.info("block")
    log.info("block")
    assert [line.get("folded") for line in lines_of(stream)[-2:]] == [30, None]


def test_a_full_file_is_kept_once_and_begun_anew(tmp_path: Path) -> None:
    """The log never takes more than twice its bound, and the newest lines are always there."""
    path = tmp_path / "log.jsonl"
    file = BoundedFile(path, bytes_max=100)
    for number in range(30):
        file.write(f"{number:09}\n")
    file.flush()
    assert path.read_text().splitlines()[-1] == "000000029"
    assert path.stat().st_size <= 100
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log.jsonl", "log.jsonl.1"]
    assert (tmp_path / "log.jsonl.1").stat().st_size <= 100
    file.close()


def test_a_log_goes_on_where_it_ended_and_is_its_owners_alone(tmp_path: Path) -> None:
    """A restarted replica appends; nobody else reads along."""
    path = tmp_path / "log.jsonl"
    for _ in range(2):
        open_logger(replica=2, path=path).info("started", height=7)
    assert [json.loads(line)["height"] for line in path.read_text().splitlines()] == [7, 7]
    assert path.stat().st_mode & 0o777 == 0o600
