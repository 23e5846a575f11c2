"""README.md and docs/operate.md as a new user follows them: every command runs, in order, in an empty directory.

`make demo` and `make test` are the two commands that need the checkout itself: the demo's own drill runs the former,
and whoever reads this runs the latter.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from free_ports import free_port_base

ROOT = Path(__file__).resolve().parent.parent
MAKE_COMMANDS = {"make demo": "gridquorum demo", "make test": "python -m pytest"}
COMMAND_SECONDS_MAX = 120
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def steps_of(document: Path) -> list[tuple[str, str]]:
    """(language, text) of each command and each Python block, in the order in which they are read."""
    steps = []
    for language, text in BLOCK.findall(document.read_text(encoding="utf-8")):
        if language == "python":
            steps.append((language, text))
        else:
            assert all(line.startswith("$ ") for line in text.splitlines()), "a console block holds commands only"
            steps += [(language, line[2:]) for line in text.splitlines()]
    return steps


def run_step(language: str, text: str, directory: Path, environment: dict[str, str]) -> None:
    """Runs one step and shows what it said if it fails."""
    command = [sys.executable, "-c", text] if language == "python" else ["bash", "-c", text]
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def end_what_was_started(directory: Path, environment: dict[str, str]) -> None:
    """Ends the local network and the processes whose pids the document wrote down, and nothing else."""
    subprocess.run(["bash", "-c", "gridquorum down"], cwd=directory, env=environment, check=False, timeout=60)
    for record in directory.glob("r*.pid"):
        pid = int(record.read_text())
        command = Path(f"/proc/{pid}/cmdline")
        if command.exists() and b"gridquorum" in command.read_bytes():
            os.kill(pid, signal.SIGKILL)


@pytest.mark.drill
@pytest.mark.parametrize("document", ["README.md", "docs/operate.md"])
def test_every_command_of_the_documents_runs(document: str, tmp_path: Path) -> None:
    """A newcomer who types what is written gets what is written."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GRIDQUORUM_PORT_BASE": str(free_port_base()),  # another network may be running on this machine
    }
    steps = [step for step in steps_of(ROOT / document) if step[1] not in MAKE_COMMANDS]
    assert len(steps) >= 5
    try:
        for language, text in steps:
            run_step(language, text, tmp_path, environment)
    finally:
        end_what_was_started(tmp_path, environment)


def test_make_runs_what_the_documents_say() -> None:
    """The Makefile's targets are the commands that their drills run."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target, command in MAKE_COMMANDS.items():
        recipe = re.search(rf"^{target.split()[1]}:.*\n((?:\t.*\n)+)", makefile, flags=re.MULTILINE)
        assert recipe is not None and command in recipe.group(1), target


def test_links_and_pictures_exist() -> None:
    """Every relative link of every document leads to a file."""
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "network-configs").glob("*.md")]
    documents += [ROOT / room / "README.md" for room in ("ledger", "contracts", "pbft", "meters")]
    missing = []
    for document in documents:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            if "://" not in target and not (document.parent / target).exists():
                missing.append(f"{document.relative_to(ROOT)}: {target}")
    assert not missing, "\n".join(missing)
