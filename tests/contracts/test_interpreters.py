"""One language on every interpreter: trees, verdicts, gas, results, events and writes are the same on CPython 3.11 to
3.13 and under any hash seed, on interpreters without a single library (CONTRACTS.md section 8).

`golden.py` computes the digests; each interpreter found here runs it in a process of its own.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "vectors" / "contracts" / "golden.json"
MINORS = (11, 12, 13)
SECONDS_MAX = 300  # on a crowded machine; a run takes five
Digests = dict[str, dict[str, str]]


def candidates(minor: int) -> Iterator[Path]:
    """Where a CPython 3.minor may be: this one, on the PATH, among pyenv's."""
    yield Path(sys.executable)
    found = shutil.which(f"python3.{minor}")
    if found is not None:
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/3.{minor}.*/bin/python3.{minor}"))


def find_interpreters() -> dict[int, Path]:
    """Minor version -> the first CPython of it that starts; a shim without its interpreter does not."""
    question = "import sys; print(sys.implementation.name, *sys.version_info[:2])"
    found = {}
    for minor in MINORS:
        for path in candidates(minor):
            answer = subprocess.run([path, "-I", "-S", "-c", question], capture_output=True, text=True, check=False)
            if answer.stdout == f"cpython 3 {minor}\n":
                found[minor] = path
                break
    return found


@pytest.fixture(scope="module")
def runs() -> dict[str, Digests]:
    """What each interpreter found computes, under a hash seed of its own; this one under two."""
    interpreters = find_interpreters()
    seeds = {11: "1", 12: "4242", 13: "4294967295"}
    wanted = [(minor, path, seeds[minor]) for minor, path in interpreters.items()]
    wanted.append((sys.version_info.minor, Path(sys.executable), "random"))
    started = {}
    for minor, path, seed in wanted:
        command = [path, "-P", "-s", "-S", HERE / "golden.py"]
        environment = {"PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started[f"CPython 3.{minor}, hash seed {seed}"] = process
    results = {}
    for name, process in started.items():
        output, errors = process.communicate(timeout=SECONDS_MAX)
        assert process.returncode == 0, f"{name}: {errors}"
        results[name] = json.loads(output)
    return results


def test_every_interpreter_gives_the_golden_digests(
    runs: dict[str, Digests], capsys: pytest.CaptureFixture[str]
) -> None:
    """The corpus and the fixed programs: what is recorded is what each of them computes."""
    expected = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for name, digests in runs.items():
        assert differences(digests["recorded"], expected) == [], name
    with capsys.disabled():
        missing = [f"3.{minor}" for minor in MINORS if not any(f"3.{minor}," in name for name in runs)]
        print(f"[{'; '.join(runs)}; not found: {', '.join(missing) or 'none'}]", end=" ")


def test_all_interpreters_agree_on_what_is_not_recorded(runs: dict[str, Digests]) -> None:
    """Standard contracts, examples and random programs: the first run and each other one."""
    first, *others = runs.values()
    assert len(first["compared"]) > 150
    for name, digests in zip(list(runs)[1:], others, strict=True):
        assert differences(digests["compared"], first["compared"]) == [], name


def test_there_is_a_second_run_to_compare_with(runs: dict[str, Digests]) -> None:
    """Whatever is installed, two hash seeds are compared, and this interpreter is one of those that ran."""
    assert len(runs) >= 2
    assert f"CPython 3.{sys.version_info.minor}, hash seed random" in runs


def test_a_changed_digest_is_named() -> None:
    """The comparison can fail: one digest, one missing, one too many."""
    assert differences({"a": "1", "b": "2", "d": "4"}, {"a": "1", "b": "3", "c": "4"}) == ["b", "c", "d"]


def differences(got: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Names whose digests differ, or that only one side has."""
    return sorted(name for name in got.keys() | expected.keys() if got.get(name) != expected.get(name))
