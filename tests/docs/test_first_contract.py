"""docs/write-your-first-contract.md as a newcomer follows it: each file saved, each command run, each answer compared.

A Python block is a file, named in its first line. A console block holds commands; the text block after it holds lines
that the last of them says, in that order, and a command that says `gridquorum: ...` there is one that fails.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "write-your-first-contract.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
COMMAND_SECONDS_MAX = 240


def run(command: str, directory: Path) -> tuple[int, str]:
    """Exit code and everything that a command of the guide says."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MYPYPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; a network that was left running in it is ended."""
    yield tmp_path
    if (tmp_path / "net").exists():
        run("gridquorum down --data-dir net", tmp_path)


@pytest.mark.drill
def test_every_snippet_of_the_guide_runs(folder: Path) -> None:
    """In order, in an empty folder, with the answers that are printed on the page."""
    blocks = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    assert {language for language, _ in blocks} == {"python", "console", "text"}
    for index, (language, text) in enumerate(blocks):
        if language == "python":
            name = re.match(r"# (\w+\.py)\n", text)
            assert name is not None, f"a Python block without a file name: {text[:60]}"
            (folder / name.group(1)).write_text(text)
        elif language == "console":
            commands = text.splitlines()
            assert all(line.startswith("$ ") for line in commands), "a console block holds commands only"
            is_shown = index + 1 < len(blocks) and blocks[index + 1][0] == "text"
            shown = blocks[index + 1][1].splitlines() if is_shown else []
            for number, line in enumerate(commands):
                is_last = number == len(commands) - 1
                code, said = run(line[2:], folder)
                fails = is_last and any(answer.startswith("gridquorum:") for answer in shown)
                assert (code != 0) == fails, f"{line}\n{said}"
                place = 0
                for answer in shown if is_last else ():
                    place = said.find(answer, place)
                    assert place >= 0, f"{line}\nnever says {answer!r} (in this order):\n{said}"
