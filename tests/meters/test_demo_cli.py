"""The command before anything starts: what is wrong with a series is said with line and column, and nothing runs."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import meters.cli
import meters.demo
from meters.cli import demo
from meters.demo_traffic import counted
from meters.series import Series
from pbft.cli.surface import CommandError
from pbft.node import local_cluster, local_network

HEADER = "interval_start,a_load,a_pv\n"
ROW = "2024-07-01T00:00:00,10,0\n"


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder of the test's own; a network that is prepared or started fails the test, and so does a file left."""

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(local_network, "prepare", refuse)
    monkeypatch.setattr(local_cluster, "start", refuse)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / ".gridquorum").exists()


def run_demo_command(*arguments: str) -> Result:
    return CliRunner().invoke(demo, list(arguments))


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        ("interval_start,a_load,b\n2024-07-01T00:00:00,1,2\n", 1, "b"),
        (HEADER + "2024-07-01T00:00:00,10\n", 2, None),
        (HEADER + "2024-07-01T00:00:00,-10,0\n", 2, "a_load"),
        (HEADER + ROW + "2024-07-01T01:00:00,10,1.5\n", 3, "a_pv"),
        (HEADER + ROW + ROW, 3, "interval_start"),
        ("", None, None),
        (b"\x00\xff\xfe\x80" * 50, None, None),
    ],
    ids=["unknown-column", "missing-value", "negative", "float", "duplicate-time", "empty", "binary"],
)
def test_a_bad_csv_ends_with_2_and_names_the_place(
    nothing_starts: Path, content: str | bytes, line: int | None, column: str | None
) -> None:
    """One clear sentence on stderr, nothing on stdout, exit code 2, nothing started."""
    path = nothing_starts / "series.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run_demo_command("--data", str(path), "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "series.csv" in result.stderr
    assert line is None or f"line {line}" in result.stderr
    assert column is None or repr(column) in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "missing.csv"],
        ["--data", "."],
        ["--days", "8"],
        ["--days", "0"],
        ["--interval-minutes", "60"],
        ["--replicas", "3"],
        ["--keys", "fair"],
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense_end_with_2(nothing_starts: Path, arguments: list[str]) -> None:
    """A file that is not there, more days than the series has, too few replicas, an unknown key."""
    result = run_demo_command(*arguments)
    assert result.exit_code == 2 and result.stdout == "" and result.stderr


def test_steps_need_the_interval_s_length(nothing_starts: Path) -> None:
    """A file that counts rows does not say how long they are."""
    path = nothing_starts / "steps.csv"
    path.write_text("step,a_load\n0,1\n1,2\n")
    result = run_demo_command("--data", str(path))
    assert result.exit_code == 2 and "interval" in result.stderr


@pytest.mark.parametrize("what", ["file", "network"])
def test_a_folder_that_cannot_be_used_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """`--keep` on a folder that holds something else, or a network already: a message, and nothing changed."""
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "kept"
    kept.mkdir()
    name = "notes.txt" if what == "file" else "network.json"
    (kept / name).write_text("mine")
    result = run_demo_command("--keep", str(kept))
    assert result.exit_code not in (0, 2)
    assert str(kept) in result.stderr
    assert "start 4 replicas" not in result.stderr
    assert [path.name for path in kept.iterdir()] == [name]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that names the path, exit code 1, no traceback."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    result = run_demo_command("--keep", str(tmp_path / "file" / "demo"))
    assert result.exit_code == 1 and "file" in result.stderr and "Traceback" not in result.stderr
    assert "start 4 replicas" not in result.stderr


def test_one_gateway_is_no_plural() -> None:
    """A file of one home goes through one gateway, and the progress says it so."""
    assert [counted(number, "gateway") for number in (1, 2, 0)] == ["1 gateway", "2 gateways", "0 gateways"]


class Taken(Exception):
    """The demo was called; no network is needed to see with which series."""


@pytest.mark.parametrize(
    ("rows", "days", "settled"),
    [(5, None, 5), (5, 1, 5), (5, 30, 5), (30, None, 30), (30, 1, 24), (30, 2, 30), (48, 2, 48), (49, 2, 48)],
)
def test_a_file_is_settled_whole_unless_fewer_days_are_asked_for(
    nothing_starts: Path, monkeypatch: pytest.MonkeyPatch, rows: int, days: int | None, settled: int
) -> None:
    """DESIGN.md section 5: `--data` settles the whole file, one shorter than a day too; `--days` takes its first days.

    Hourly rows; the demo itself is not run.
    """
    taken: list[Series] = []

    def take(series: Series, *_arguments: Any, **_options: Any) -> None:
        taken.append(series)
        raise Taken

    monkeypatch.setattr(meters.demo, "run_demo", take)
    monkeypatch.setattr(meters.cli, "_artifacts", lambda: None)
    path = nothing_starts / "steps.csv"
    path.write_text("step,a_load\n" + "".join(f"{row},1\n" for row in range(rows)))
    arguments = ["--data", str(path), "--interval-minutes", "60", *([] if days is None else ["--days", str(days)])]
    with pytest.raises(Taken):
        CliRunner().invoke(demo, arguments, catch_exceptions=False)
    assert [len(series.starts) for series in taken] == [settled]


def test_more_days_than_are_shipped_is_said_with_their_number(nothing_starts: Path) -> None:
    """The message and the help name what there is."""
    assert "the shipped series has 7 days" in run_demo_command("--days", "8").stderr
    assert "at most 7" in " ".join(run_demo_command("--help").stdout.split())


@pytest.mark.parametrize("ends_by", [signal.SIGINT, signal.SIGTERM, None], ids=["ctrl-c", "sigterm", "failure"])
def test_impatience_does_not_keep_replicas_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_by: int | None
) -> None:
    """Signals that arrive while the demo ends its replicas change nothing, however it came to its end."""
    ended: list[object] = []

    def start(_network: object) -> None:
        if ends_by is None:
            raise local_network.LocalNetworkError("not_ready", "r0 has ended")
        signal.raise_signal(ends_by)

    def stop(network: object) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        ended.append(network)

    network = object()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local_network, "prepare", lambda *_arguments, **_options: network)
    monkeypatch.setattr(local_cluster, "start", start)
    monkeypatch.setattr(local_cluster, "stop", stop)
    result = run_demo_command("--keep", str(tmp_path / "kept"))
    assert ended == [network]
    assert result.exit_code == (14 if ends_by is None else 1)  # 1: click's runner for an interrupt


def test_errors_show_without_a_traceback(nothing_starts: Path) -> None:
    """CommandError is click's own kind of error: one line."""
    result = run_demo_command("--data", "missing.csv")
    assert result.stderr.count("\n") == 1
    assert isinstance(CommandError("x").exit_code, int)
