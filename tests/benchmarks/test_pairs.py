"""Two checkouts in turns: who runs when, what the ratios are of, and what is refused."""

import json
from pathlib import Path

import pytest
from benchmarks import pairs

REPORT = {
    "requests_per_second": 3_000.0,
    "worker_cpu_us_per_request_and_replica": 20.0,
    "latency_ms": {"p50": 500.0},
    "memory_mb_max": 180.0,
    "machine": {"processor": "one of ours", "cores": 2},
}


def make_checkout(path: Path, commit: str, costs: list[float], exit_status: int = 0) -> Path:
    """A folder whose `gridquorum` writes down that it ran and what it was asked, and costs so much, run by run."""
    command = path / pairs.BENCH
    command.parent.mkdir(parents=True)
    for number, cost in enumerate(costs):
        report = REPORT | {"commit": commit, "cpu_seconds_per_1000_requests": cost}
        (path / f"{number}.json").write_text(json.dumps(report))
    command.write_text(
        f"#!/bin/sh\nlog={path.parent}/log\ntouch $log\nn=$(grep -c '^{commit} ' $log)\n"
        f'echo {commit} "$@" >> $log\ncat $n.json\nexit {exit_status}\n'
    )
    command.chmod(0o700)
    return path


def test_they_take_turns_and_the_ratio_is_of_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine that is twice as slow for a pair changes the medians, not the ratios: 0.9 in two pairs of three."""
    before = make_checkout(tmp_path / "before", "aaa", [1.0, 2.0, 1.0])
    after = make_checkout(tmp_path / "after", "bbb", [0.9, 1.8, 1.1])
    pairs.main([str(before), "--after", str(after), "--pairs", "3", "--clients", "7"])
    ran = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[0] for line in ran] == ["aaa", "bbb", "bbb", "aaa", "aaa", "bbb"]
    assert {line.split(maxsplit=1)[1] for line in ran} == {"bench --clients 7 --json"}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "aaa -> bbb, 3 pairs of --clients 7"
    assert lines[3].split("s ")[-1].split() == ["1", "1.1", "0.900", "(0.900-1.100)"]
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) == 3 + len(pairs.FIGURES)


def test_a_checkout_without_a_build_is_told_how_to_get_one(tmp_path: Path) -> None:
    """Named, before the other one runs for nothing."""
    before = make_checkout(tmp_path / "before", "aaa", [1.0])
    with pytest.raises(SystemExit, match=r"nothing/\.venv-compiled/bin/gridquorum: not there: run `make compiled`"):
        pairs.main([str(before), "--after", str(tmp_path / "nothing")])
    assert not (tmp_path / "log").exists()


def test_a_run_that_fails_ends_the_comparison(tmp_path: Path) -> None:
    """No ratio of what did not run."""
    before = make_checkout(tmp_path / "before", "aaa", [1.0], exit_status=11)
    with pytest.raises(SystemExit, match="bench --clients 7 --json failed with 11"):
        pairs.main([str(before), "--after", str(before), "--pairs", "1", "--clients", "7"])


def test_no_pairs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ratio of nothing is none."""
    with pytest.raises(SystemExit):
        pairs.main([str(tmp_path), "--pairs", "0"])
    assert "--pairs: at least 1" in capsys.readouterr().err
