"""The benchmark that `make costs` runs stays runnable: real verifiers, each signature checked where it should be."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 120  # on a loaded machine; three on an idle one


@pytest.mark.drill
def test_a_small_run_prints_both_costs() -> None:
    """In a process of its own, because it turns a reactor. It asserts itself who checked what."""
    command = [sys.executable, "-m", "benchmarks.verifier_cost", "--batch", "8", "--repeats", "1", "--accounts", "50"]
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
    found = re.match(r"batch 8: ([\d.]+) us of the main process .*, ([\d.]+) us with a verifier", done.stdout)
    assert found is not None and min(map(float, found.groups())) > 0
