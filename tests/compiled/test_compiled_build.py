"""The compiled build beside the sources: the same bytes, the same histories, the same tests, one network of both.

`make test` compiles where the machine has a compiler (Makefile, `compiled`) and `.ci/run` sees to it that it has one.
Everything here runs with the interpreter of an environment in which the wheel alone is installed.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from pbft.node.local_cluster import LocalNetwork, prepare, stop

REPOSITORY: Final = Path(__file__).parents[2]
COMPILED: Final = REPOSITORY / ".venv-compiled" / "bin" / "python"
ROOMS: Final = ("ledger", "contracts", "pbft", "meters")
SECONDS_MAX: Final = 300  # of any one command on a loaded machine of two cores
SEEDS: Final = "1-12"
SUITES: Final = (  # the same bytes, codes, gas and money; the other tests are about what is not compiled, or take long
    ("tests/ledger", "tests/pbft/wire", "tests/pbft/core", "tests/scenarios"),
    (
        "tests/contracts/test_walker.py",  # random programs, and the language's definition beside them
        "tests/contracts/test_vectors.py",
        "tests/contracts/test_hostile.py",
        "tests/contracts/test_storage.py",
        "tests/contracts/test_short_rows.py",
        "tests/contracts/test_lifecycle.py",
        "tests/contracts/standard",
    ),
)

pytestmark = [
    pytest.mark.drill,
    pytest.mark.skipif(
        not COMPILED.exists(), reason="nothing is compiled here: make compiled (needs gcc, python3-dev)"
    ),
]


def run(*command: str | Path, cwd: Path = REPOSITORY, exit_code: int = 0) -> str:
    """What a command writes; `-P`: no source of the folder shadows what is installed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert done.returncode == exit_code, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout


def compiled_modules() -> list[str]:
    """The modules that pyproject.toml names, as they are imported."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    folders: dict[str, list[str]] = settings["tool"]["gridquorum"]["compiled"]
    return [f"{folder.replace('/', '.')}.{name}" for folder, names in folders.items() for name in names]


WHERE: Final = """
import importlib, json, sys
print(json.dumps({name: importlib.import_module(name).__file__ for name in sys.argv[1:]}))
"""


def test_the_build_is_of_these_sources_and_has_every_module_named_compiled() -> None:
    """Each extension module is there, none more, and beside it lies the very source that this suite tests."""
    names = compiled_modules()
    places: dict[str, str] = json.loads(run(COMPILED, "-P", "-c", WHERE, *ROOMS, *names))
    installed = Path(places["ledger"]).parent.parent
    assert REPOSITORY not in installed.parents or ".venv-compiled" in installed.parts
    extensions = {path for room in ROOMS for path in (installed / room).rglob("*.so")}
    assert {Path(places[name]) for name in names} == extensions
    for room in ROOMS:
        for source in (REPOSITORY / room).rglob("*.py"):
            copy = installed / source.relative_to(REPOSITORY)
            assert copy.read_bytes() == source.read_bytes(), f"{source.name} was edited since: make compiled"


def test_its_signatures_are_checked_by_the_library_that_was_compiled_with_it() -> None:
    """Of the release that is pinned, but not the package index's wheel, which is for any Linux and slower."""
    about = "import importlib.metadata as m; d = m.distribution('pynacl'); print(d.version, d.read_text('WHEEL'))"
    version, _, wheel = run(COMPILED, "-P", "-c", about).partition(" ")
    assert f"pynacl=={version} " in (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    assert "-linux_" in wheel
    assert "manylinux" not in wheel


@pytest.mark.parametrize(("python", "build"), [(COMPILED, "compiled"), (Path(sys.executable), "interpreted")])
def test_the_program_says_which_build_it_is(python: Path, build: str) -> None:
    assert run(python, "-P", "-m", "pbft.cli", "--version").endswith(f", {build}\n")


def test_the_same_seeds_have_the_same_histories(tmp_path: Path) -> None:
    """Every message, fault, root and receipt of the simulator's networks, as one hash for each seed."""
    reports = [tmp_path / "interpreted", tmp_path / "compiled"]

    def simulate(python: Path, report: Path) -> None:
        run(python, "-P", "-m", "pbft.cli", "simulate", "--seeds", SEEDS, "--report", report)

    with ThreadPoolExecutor() as pool:
        list(pool.map(simulate, (Path(sys.executable), COMPILED), reports))
    interpreted, compiled = (read_histories(report) for report in reports)
    assert len(interpreted) == 12
    assert compiled == interpreted


def read_histories(report: Path) -> dict[int, dict[str, Any]]:
    """What is told of each seed, but the functions that were called: those of compiled modules are not seen."""
    told = [json.loads(line) for line in report.read_text().splitlines()]
    return {seed["seed"]: {name: what for name, what in seed.items() if name != "functions"} for seed in told}


def test_the_suites_pass_with_the_compiled_build() -> None:
    """Less the tests that replace a part of a compiled module, which is not to be had (`tests/conftest.py`). Both at
    once: they take a minute and a half one after the other."""
    with ThreadPoolExecutor() as pool:
        for out in pool.map(lambda suite: run(COMPILED, "-P", "-m", "pytest", *suite), SUITES):
            assert " passed" in out.splitlines()[-1], out[-2_000:]


def test_the_compiled_engine_gives_the_golden_digests() -> None:
    """Trees, verdicts, gas, results, events and writes, and the fate of hostile arguments: those of the sources."""
    sources, compiled = (
        json.loads(run(python, "-P", *options, REPOSITORY / "tests" / "contracts" / "golden.py"))
        for python, options in ((sys.executable, ("-s", "-S")), (COMPILED, ()))
    )
    assert compiled == sources


# --- one network of both builds ---


@pytest.fixture
def network(tmp_path: Path) -> Iterator[LocalNetwork]:
    local = prepare(tmp_path / "network", port_base=0)
    try:
        yield local
    finally:
        stop(local)


def test_replicas_of_both_builds_are_one_network(network: LocalNetwork) -> None:
    """Two compiled replicas and two interpreted: no three of one kind, so each certificate needs both."""

    def gridquorum(python: Path | str, *arguments: str) -> Any:
        out = run(
            python, "-P", "-m", "pbft.cli", *arguments, "--data-dir", network.directory, "--json", cwd=network.directory
        )
        return json.loads(out.splitlines()[-1])

    gridquorum(COMPILED, "up", "--detach")
    for replica in ("0", "1"):
        gridquorum(COMPILED, "fault", "kill", replica)
        gridquorum(sys.executable, "fault", "restart", replica)
    heights = [gridquorum(python, "tx", "ping")["height"] for python in (COMPILED, sys.executable) * 3]
    assert heights == sorted(set(heights))
    status = gridquorum(COMPILED, "status")
    assert {replica["state"] for replica in status["replicas"]} == {"primary", "backup"}
    assert len({replica["state_root"] for replica in status["replicas"]}) == 1
