"""Every scenario, with its rule and without, against the transcript that is kept."""

import re
from pathlib import Path

import pytest
from scenarios.every import SCENARIOS

TRANSCRIPTS = Path(__file__).with_name("transcripts")


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_the_transcript_is_as_kept(name: str, request: pytest.FixtureRequest) -> None:
    text = SCENARIOS[name].transcript()
    path = TRANSCRIPTS / f"{name}.txt"
    if request.config.getoption("rewrite", default=False):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{name} runs otherwise than kept; see tests/scenarios/README.md"


def test_every_transcript_has_its_scenario() -> None:
    assert {path.stem for path in TRANSCRIPTS.iterdir()} == set(SCENARIOS)


def test_the_worked_examples_of_the_protocols_manual_are_lines_of_transcripts() -> None:
    """pbft/README.md quotes two transcripts, with a remark beside some lines: what it quotes is what happens."""
    manual = (TRANSCRIPTS.parents[2] / "pbft" / "README.md").read_text(encoding="utf-8")
    quoted = [line.strip() for line in manual.splitlines() if re.match(r"    +R\d.*(->|:) ", line)]
    lines = {
        line.strip() for name in ("normal_case", "view_change") for line in SCENARIOS[name].transcript().splitlines()
    }
    assert len(quoted) >= 10
    for line in quoted:
        assert re.split(r" {3,}", line)[0] in lines, line
