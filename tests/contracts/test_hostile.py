"""Programs that want out, want the machine, or want something for nothing: each ends as it must, and on time.

INTERNAL, an exception that is no verdict, or more than 1,000 ns of CPU for a unit of gas would be an engine bug. (The
network's bar is 100 ns on a quiet machine; the bound here only tells a mispriced operation from a busy machine.)
"""

import math
import time
from collections.abc import Callable

import pytest
from contracts_corpus.sources import BEFORE, FIELDS
from contracts_corpus.stopped import MANY_TEXTS, STOPPED

from contracts.compiler import Weave, weave_contract
from contracts.gate import ELIF_MAX
from contracts.runtime import Runtime
from contracts.testing import Chain
from contracts.walker import walk_contract

SENDER = b"\x01" * 32
GAS_LIMIT = 5_000_000
NANOSECONDS_PER_GAS_MAX = 1_000
PRICED_GAS_MIN = 50_000  # below, the call itself and not its work is what takes time


KEEPING = """class Many(Event):
    rows: list[str]


class IBig(Interface):
    def take(self, rows: list[str]) -> int: ...
"""
KEPT = """rows: list[str]

@scheduled
def keep(self, rows: list[str]) -> None:
    pass
"""


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("self.rows = xs", "STATE_SIZE"),
        ("emit(Many(xs))", "EVENTS"),
        ("return schedule(ctx.time, 'keep', xs)", "SCHEDULE"),
        ("return IBig(ctx.address).take(xs)", "ARGUMENTS"),
        ("return xs", "RESULT"),
    ],
)
def test_one_text_many_times_is_measured_before_it_is_written(
    source_of: Callable[..., bytes], line: str, code: str
) -> None:
    """Sixteen GiB of references to one text: no way out of memory makes their bytes before it knows how many."""
    result = "list[str]" if line == "return xs" else "int"
    chain = Chain()
    contract = chain.deploy(source_of(MANY_TEXTS + line, before=KEEPING, fields=KEPT, result=result), name="trial")
    outcome = chain.attempt(contract, "run", sender=SENDER, gas=GAS_LIMIT)
    assert (outcome.status, outcome.code) == ("error", code)


@pytest.mark.parametrize(("body", "verdict"), STOPPED.values(), ids=STOPPED)
def test_stopped_while_running(source_of: Callable[..., bytes], body: str, verdict: str) -> None:
    """Accepted, then stopped: the verdict is exact, nothing stays, and the time was paid for."""
    chain = Chain()
    contract = chain.deploy(source_of(body, before=BEFORE, fields=FIELDS), name="trial")
    before = dict(chain.state)
    fastest_ns = math.inf
    for _ in range(3):  # the collector of the test's own process may run in one of them
        start = time.process_time_ns()
        outcome = chain.attempt(contract, "run", sender=SENDER, gas=GAS_LIMIT)
        fastest_ns = min(fastest_ns, time.process_time_ns() - start)
        shown = outcome.status if outcome.status == "out_of_gas" else f"{outcome.status} {outcome.code}"
        assert shown == verdict
        assert dict(chain.state) == before
        assert outcome.events == ()
        assert outcome.gas_used <= GAS_LIMIT
        if outcome.gas_used < PRICED_GAS_MIN or fastest_ns < NANOSECONDS_PER_GAS_MAX * outcome.gas_used:
            return
    raise AssertionError(f"{fastest_ns / outcome.gas_used:.0f} ns for a unit of gas")


def test_the_deepest_legal_recursion_is_a_verdict(source_of: Callable[..., bytes]) -> None:
    """Blocks and expressions nested deep, called to the depth limit, through a sort key too: DEPTH, not INTERNAL."""
    blocks = "".join("    " * (depth + 1) + "if n > 0:\n" for depth in range(12))
    inner = "deep(n + 1)"
    for _ in range(5):
        inner = f"(0 + len([{inner}]))"
    deep = f"def deep(n: int) -> int:\n{blocks}{'    ' * 13}return {inner}\n    return 0\n"
    sorting = "def sorting(n: int) -> int:\n    return len(sorted([n + 1, n + 2], key=sorting))\n"
    for call in ("deep(1)", "sorting(1)"):
        chain = Chain()
        contract = chain.deploy(source_of(f"return {call}", before=deep + "\n\n" + sorting), name="trial")
        outcome = chain.attempt(contract, "run", sender=SENDER)
        assert (outcome.status, outcome.code) == ("error", "DEPTH")


@pytest.mark.parametrize("weave", [weave_contract, walk_contract])
def test_a_chain_of_elif_is_no_nesting(source_of: Callable[..., bytes], weave: Weave) -> None:
    """As many `elif` as a file may have, passed in each of as many calls as may nest: DEPTH, not INTERNAL, by both."""
    arms = "".join(f"    elif n == -{number}:\n        return {number}\n" for number in range(1, ELIF_MAX + 1))
    last = "    else:\n        return chosen(n + 1)\n"
    chosen = f"def chosen(n: int) -> int:\n    if n == 0:\n        return 0\n{arms}{last}"
    chain = Chain()
    chain.runtime = Runtime(weave=weave)
    contract = chain.deploy(source_of("return chosen(1)", before=chosen), name="trial")
    outcome = chain.attempt(contract, "run", sender=SENDER)
    assert (outcome.status, outcome.code) == ("error", "DEPTH")


def test_a_role_that_asks_for_a_role_ends() -> None:
    """`members` could ask for a role before it says who has one. No method runs on the way, so none counts: DEPTH."""
    source = b"""from contracts import Address, Contract, role, view


class Members(Contract):
    @view
    @role("asker")
    def has_role(self, who: Address, name: str) -> bool:
        return True
"""
    chain = Chain()
    contract = chain.deploy(source, name="members")
    outcome = chain.attempt(contract, "has_role", SENDER, "asker", sender=SENDER, gas=GAS_LIMIT)
    assert (outcome.status, outcome.code) == ("error", "DEPTH")
