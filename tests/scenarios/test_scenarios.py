"""Every scenario, with its rule and without, against the transcript that is kept."""

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
