"""`--rewrite` makes the transcripts again: `python -m pytest tests/scenarios --rewrite`, then read the diff."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the scenarios' transcripts anew")
