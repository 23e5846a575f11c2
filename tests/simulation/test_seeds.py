"""Seeds in every test run, and what the simulator promises about them: the same run again, and a failure that explains.

What a seed does is `pbft.simulation.seed`; more of them are searched with `gridquorum simulate --seeds A-B`. Seeds that
failed once are in `regression_seeds.txt` and always run.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from process_runs import ProcessRuns

from pbft.core.quorum import Quorums
from pbft.node.driver import Driver
from pbft.node.journal import Journal
from pbft.simulation.byzantine import CONFLICTS, KINDS, KINDS_JOIN
from pbft.simulation.coverage import RULES
from pbft.simulation.search import DamagedReport, read_report, search, summarise, to_record, write_transcript
from pbft.simulation.seed import DEFAULT_STEPS, SeedReport, draw_options, run_seed

Job = tuple[int, int]
"""A seed and its steps."""
SeedRuns = ProcessRuns[Job, SeedReport]

ROOT = Path(__file__).resolve().parents[2]
SEEDS = [(seed, DEFAULT_STEPS) for seed in range(200)]
SEEDS_PER_TEST = 10
COUNTED_MIN = 0.98  # of the seeds: nearly every one meets enough to be called searched
REGRESSION_SEEDS = Path(__file__).with_name("regression_seeds.txt")

FAULTS_MIN = {
    "bit_rot": 1,
    "clock_drift": 30,
    "clock_step": 36,
    "clog": 39,
    "crash": 31,
    "disk_full": 30,
    "duplication": 69,
    "hunt:executed alone": 8,
    "hunt:execution": 7,
    "hunt:hole": 1,
    "hunt:new primary isolated": 8,
    "hunt:prepared alone": 9,
    "hunt:primary isolated": 11,
    "hunt:quorum split": 12,
    "hunt:source cut": 10,
    "hunt:traitor next": 1,
    "hunt:view entry": 1,
    "hunt:votes held back": 13,
    "ledger_rot": 1,
    "links": 40,
    "loss": 89,
    "one_way_partition": 33,
    "partition": 13,
    "partition_of_primary": 19,
    "partition_of_quorum": 17,
    "pause": 41,
    "power_failure": 57,
    "provoked_partition": 1,
    "reordering": 90,
    "restart": 35,
    "restart_all": 37,
    "second_process": 14,
    "siege": 1,
    "slow_link": 38,
}
"""Of the seeds, how many at least meet a fault: under half of what was measured, as draws move: 45 of 100, and 1
of what fewer than 14 seeds met, or only where nothing else has happened."""

RULES_MIN = {
    "M1": 27,
    "M2": 1,
    "M3": 1,
    "M4": 1,
    "M5": 1,
    "M6": 90,
    "M7": 30,
    "M8": 17,
    "M9": 89,
    "M10": 90,
    "M11": 19,
    "M12": 90,
    "M13": 16,
    "M14": 19,
    "M15": 62,
    "M16": 28,
    "M17": 1,
    "M18": 90,
    "M19": 90,
    "M20": 90,
    "M21": 80,
    "M22": 90,
    "M23": 73,
    "M24": 65,
    "M25": 49,
    "M26": 34,
    "M27": 35,
    "M28": 1,
    "M29": 80,
    "M30": 42,
    "M31": 85,
    "M33": 75,
    "M34": 6,
    "M35": 1,
    "M37": 44,
    "M38": 1,
    "M40": 30,
    "M41": 1,
    "M42": 36,
    "M43": 1,
    "M44": 90,
    "M46": 75,
    "M47": 29,
    "M48": 1,
    "M49": 64,
    "M50": 90,
    "M51": 37,
    "M52": 72,
    "M53": 80,
    "M54": 1,
    "M55": 90,
    "M56": 72,
    "M57": 34,
    "M59": 13,
    "M60": 1,
    "D15": 18,
    "D24": 90,
    "D25": 90,
    "D27": 84,
    "D28": 90,
    "D29": 1,
    "D30": 19,
    "D32": 1,
    "D33": 1,
    "D34": 90,
    "D35": 26,
    "D36": 37,
    "D37": 22,
    "D39": 18,
    "D40": 34,
    "D41": 34,
    "D42": 31,
    "D43": 89,
    "D45": 61,
    "D46": 61,
    "D47": 57,
    "D48": 80,
    "D50": 89,
    "D56": 90,
    "D57": 85,
    "D58": 73,
    "D59": 41,
    "D60": 36,
    "D61": 88,
    "D63": 68,
    "D64": 62,
    "D65": 68,
}
"""The same for rules."""


def read_regressions() -> list[Job]:
    """Those of every line."""
    lines = REGRESSION_SEEDS.read_text(encoding="utf-8").splitlines()
    fields = [line.split(maxsplit=2) for line in lines if not line.startswith("#")]
    assert all(len(field) == 3 for field in fields), "seed, steps, why"
    return [(int(seed), int(steps)) for seed, steps, _ in fields]


@pytest.fixture(scope="module")
def runs() -> Iterator[SeedRuns]:
    with ProcessRuns(run_seed, [*SEEDS, *read_regressions()]) as runs:
        yield runs


def expect_no_failure(reports: Sequence[SeedReport]) -> None:
    """A failed seed is told with its last events, and with the file that has the whole transcript."""
    told = []
    for report in reports:
        if report.failure:
            path = write_transcript(report, Path(tempfile.gettempdir()))
            told.append("\n".join([f"seed {report.seed}: {report.options.describe()}", *report.transcript[-80:]]))
            told.append(f"{report.failure}\nthe whole transcript: {path}")
    assert not told, "\n\n".join(told)


@pytest.mark.parametrize("first", range(0, len(SEEDS), SEEDS_PER_TEST))
def test_no_seed_fails(first: int, runs: SeedRuns) -> None:
    """Ten seeds hold every property."""
    expect_no_failure(runs.results(SEEDS[first : first + SEEDS_PER_TEST]))


@pytest.mark.parametrize("job", read_regressions(), ids=str)
def test_a_seed_that_failed_once_fails_no_more(job: Job, runs: SeedRuns) -> None:
    """Every defect that a seed found stays mended."""
    expect_no_failure(runs.results([job]))


def test_nearly_every_seed_counts(runs: SeedRuns) -> None:
    """50 requests committed, two kinds of fault, and a view change or a transfer."""
    assert sum(report.counts for report in runs.results(SEEDS)) >= COUNTED_MIN * len(SEEDS)


def test_the_seeds_meet_every_fault(runs: SeedRuns) -> None:
    """Every kind of fault, each in a number of seeds that tells when one is drawn no more."""
    seeds = Counter(kind for report in runs.results(SEEDS) for kind, count in report.faults.items() if count)
    assert {kind: seeds[kind] for kind, least in FAULTS_MIN.items() if seeds[kind] < least} == {}
    assert set(seeds) - set(FAULTS_MIN) == set(), "a fault without a floor"


def test_the_seeds_exercise_the_rules(runs: SeedRuns) -> None:
    """Every rule of the table, each in a number of seeds that tells when it is exercised no more."""
    seeds = Counter(rule for report in runs.results(SEEDS) for rule in report.rules)
    assert {rule: seeds[rule] for rule, least in RULES_MIN.items() if seeds[rule] < least} == {}
    assert set(RULES_MIN) == set(RULES), "every rule has a floor, if only 0"


def test_conflicting_words_reach_two_correct_replicas(runs: SeedRuns) -> None:
    """M3, M17, M54: traitors really say two things, and two correct replicas really hold one each."""
    coverage: Counter[str] = Counter()
    for report in runs.results(SEEDS):
        coverage += report.coverage
    assert all(coverage[f"conflict_delivered:{kind}"] for kind in CONFLICTS), coverage


def test_the_seeds_draw_every_size_and_every_traitor() -> None:
    """n from 4 to 10, never more than f traitors, every kind of them; and both with and without traitors."""
    options = [draw_options(*job) for job in SEEDS]
    assert {drawn.n for drawn in options} == set(range(4, 11))
    assert {kind for drawn in options for _, kinds in drawn.traitors for kind in kinds.split(KINDS_JOIN)} == set(KINDS)
    assert {bool(drawn.traitors) for drawn in options} == {False, True}
    assert all(len(drawn.traitors) <= Quorums.of(drawn.n).f for drawn in options)


def test_the_watched_seeds_enter_the_whole_core(runs: SeedRuns) -> None:
    """Functions of the product: of the core's ordering, view change and transfer none is left out, but for two.

    No correct replica that halted starts again in a seed (`test_halts.py`), and no seed brings code, whose check its
    PREPARE would wait for (D53, `test_code_ordering.py`).
    """
    modules = summarise([to_record(report) for report in runs.results(SEEDS)])["modules"]
    left_out = {"restart": 1, "ordering": 1}
    for name in ("ordering", "view_change", "new_view", "checkpoints", "state_transfer", "status", "timers", "restart"):
        entered, of = modules[f"pbft/core/{name}.py"].split(" of ")
        assert int(entered) >= int(of) - left_out.get(name, 0), f"{name}: {entered} of {of}"


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
        assert f"seed 4: {draw_options(4).describe()}" in answer.stderr
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
    monkeypatch.setattr(Driver, "_serve", lambda self, action: {}["no such key"])
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
