"""`gridquorum simulate`: exit codes, its JSON, and what it refuses; what seeds do is tests/simulation/test_seeds.py."""

import json

import pytest

from pbft.cli import main
from pbft.node.journal import Journal


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *arguments])
    output = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, output.out, output.err


def test_the_answer_has_no_clock_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The same range twice gives the same bytes on stdout; speeds are on stderr."""
    code, first, errors = run(capsys, "--seeds", "1-2", "--steps", "10", "--json")
    assert code == 0
    assert run(capsys, "--seeds", "1-2", "--steps", "10", "--json")[:2] == (0, first)
    answer = json.loads(first)
    assert answer["v"] == 1 and answer["seeds"] == 2 and answer["failed"] == []
    keys = {"n", "requests_executed", "view_changes", "faults", "byzantine", "coverage", "trace_sha256"}
    assert keys <= set(answer)
    assert "a second" in errors


def test_a_failed_seed_ends_with_1_and_its_transcript(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The JSON names the seed, stderr tells the story and how to see it again."""
    monkeypatch.setattr(Journal, "sync", lambda self: None)
    code, output, errors = run(capsys, "--seed", "7", "--json")
    assert code == 1
    assert json.loads(output)["failed"] == [7]
    assert "seed 7: n " in errors and "journal first" in errors and "again with --seed N" in errors


@pytest.mark.parametrize("arguments", [("--seed", "1", "--seeds", "1-2"), ("--seeds", "2-1"), ("--seeds", "x")])
def test_refusals(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """Two choices at once, an empty range, no range: usage errors."""
    assert run(capsys, *arguments)[0] == 2
