"""Settings of all properties: no example has a deadline, because the machine's neighbours would decide the verdict.

A contract runtime raises the interpreter's recursion limit for good, as it may in a process of its own. C functions
that walk nested values, `json.loads` for one, are held by that limit alone: at the walker's, hostile nesting would end
the interpreter. So each module of tests begins with the limit that the first one had.

With the compiled build (`tests/compiled`), what stands in a compiled module cannot be replaced: its functions refer to
each other and to its constants directly, and no class of a test inherits from its classes. A test that wants to is
skipped there; with the sources, all of them run.
"""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

import pytest
from hypothesis import settings

from ledger.build import BUILD

settings.register_profile("gridquorum", deadline=None)
settings.load_profile("gridquorum")


@pytest.fixture(scope="module", autouse=True)
def recursion_limit() -> Iterator[None]:
    """Puts back what a runtime raised."""
    before = sys.getrecursionlimit()
    yield
    sys.setrecursionlimit(before)


_replace: Final = pytest.MonkeyPatch.setattr


def _replace_or_skip(self: pytest.MonkeyPatch, target: Any, *arguments: Any, **options: Any) -> None:
    module = target if isinstance(target, ModuleType) else sys.modules.get(getattr(target, "__module__", ""))
    if (getattr(module, "__file__", None) or "").endswith(".so"):
        pytest.skip("what is compiled cannot be replaced")
    _replace(self, target, *arguments, **options)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Skips a test whose double would inherit from a compiled class."""
    try:
        return (yield)
    except TypeError as error:
        if BUILD == "compiled" and "interpreted classes cannot inherit from compiled" in str(error):
            pytest.skip("a compiled class has no heirs")
        raise


if BUILD == "compiled":
    pytest.MonkeyPatch.setattr = _replace_or_skip  # type: ignore[method-assign]
