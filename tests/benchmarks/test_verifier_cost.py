"""The benchmark that `make costs` runs stays runnable: real verifiers, each signature checked where it should be."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import performance, performance_page

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 120  # on a loaded machine; three on an idle one


@pytest.mark.drill
def test_a_small_run_gives_both_costs_and_the_page_shows_them() -> None:
    """In a process of its own, because it turns a reactor. It asserts itself who checked what."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.verifier_cost",
        "--batch",
        "8",
        "--repeats",
        "1",
        "--accounts",
        "50",
        "--json",
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["batch"] for row in rows] == [8] and min(rows[0]["inline_us"], rows[0]["verified_us"]) > 0
    page = performance_page.verifiers_table(performance.describe_rows(rows))
    assert [line for line in page if line.startswith(f"| 8 | {rows[0]['inline_us']} | ")]
