"""What several tests of the ledger begin with."""

import sys
from collections.abc import Iterator

import pytest

RECURSION_LIMIT = 1_000
"""CPython's own."""


@pytest.fixture
def recursion_limit() -> Iterator[int]:
    """The interpreter's own limit, which a contract runtime that ran in this process has raised: C functions that walk
    nested values are held by it alone."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION_LIMIT)
    yield RECURSION_LIMIT
    sys.setrecursionlimit(before)
