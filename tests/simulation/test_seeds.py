"""Seeds in every test run, and what the simulator promises about them: the same run again, and a failure that explains.

What a seed does is `pbft.simulation.seed`; more of them are searched with `gridquorum simulate --seeds A-B`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pbft.core.quorum import Quorums
from pbft.node.journal import Journal
from pbft.simulation.byzantine import KINDS, KINDS_JOIN
from pbft.simulation.search import DamagedReport, read_report, search, summarise
from pbft.simulation.seed import DEFAULT_STEPS, draw_options, run_seed

ROOT = Path(__file__).resolve().parents[2]
SEEDS_PER_TEST = 10
CHUNKS = 14


@pytest.mark.parametrize("first", range(0, SEEDS_PER_TEST * CHUNKS, SEEDS_PER_TEST))
def test_no_seed_fails(first: int) -> None:
    """Ten seeds hold every property, and nearly all of them meet enough to count as searched."""
    reports = [run_seed(seed) for seed in range(first, first + SEEDS_PER_TEST)]
    failed = [
        "\n".join([f"seed {r.seed}: {r.options.describe()}", *r.transcript, r.failure]) for r in reports if r.failure
    ]
    assert not failed, "\n\n".join(failed)
    assert sum(report.counts for report in reports) >= SEEDS_PER_TEST - 3


def test_the_seeds_of_a_test_run_draw_every_size_and_every_traitor() -> None:
    """n from 4 to 10, never more than f traitors, every kind of them; and both with and without traitors."""
    options = [draw_options(seed) for seed in range(SEEDS_PER_TEST * CHUNKS)]
    assert {drawn.n for drawn in options} == set(range(4, 11))
    assert {kind for drawn in options for _, kinds in drawn.traitors for kind in kinds.split(KINDS_JOIN)} == set(KINDS)
    assert {bool(drawn.traitors) for drawn in options} == {False, True}
    assert all(len(drawn.traitors) <= Quorums.of(drawn.n).f for drawn in options)


def test_a_seed_is_one_run_in_every_process() -> None:
    """Two processes with different hash seeds give the same trace; another seed gives another one."""
    traces = []
    for hash_seed in ("1", "2"):
        answer = subprocess.run(
            [sys.executable, "-m", "pbft.cli", "simulate", "--seed", "4", "--json"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "seed 4: n 7" in answer.stderr
        traces.append(json.loads(answer.stdout))
    assert traces[0] == traces[1]
    assert traces[0]["trace_sha256"] != run_seed(5).trace_sha256


def test_a_failing_seed_tells_its_story(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver without sync: the checker is named, and faults, last events and standings are in the transcript."""
    monkeypatch.setattr(Journal, "sync", lambda self: None)
    report = run_seed(1)
    assert report.failure.startswith("Violation: journal first")
    transcript = "\n".join(report.transcript)
    assert "last " in transcript and " ledger " in transcript and "r0: view" in transcript


def test_a_product_exception_is_a_failure_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody expected is no crash of the search: the seed fails, and the transcript shows where."""
    monkeypatch.setattr(Journal, "sync", lambda self: {}["no such key"])
    report = run_seed(1)
    assert report.failure.startswith("KeyError")
    assert any("perform_round" in line for line in report.transcript)


def test_a_search_goes_on_where_its_report_ends(tmp_path: Path) -> None:
    """Seeds in the report file are not run again, other numbers of steps are, and the summary is the same."""
    path, ran = tmp_path / "report.jsonl", []
    for seeds in (range(3, 5), range(3, 6)):
        records = search(seeds, 20, report_path=path, on_seed=lambda report: ran.append(report.seed))
    assert ran == [3, 4, 5]
    assert summarise(records) == summarise(search(range(3, 6), 20))
    assert read_report(path, DEFAULT_STEPS) == {}
    path.write_text("nothing\n", encoding="utf-8")
    with pytest.raises(DamagedReport, match=r"report\.jsonl:1"):
        search(range(3, 4), 20, report_path=path)
