"""Code that comes in is paid before it is looked at, stored and woven: never over 100 ns a unit of gas.

Sources that make the most work of each byte: deep and dense expressions, long rows, many small statements and methods,
and some that are refused at their very end, where everything but the tree has been made.
"""

from time import process_time_ns

import pytest
from contracts_fuzz.speed import NANOSECONDS_PER_GAS_MAX, Yardstick
from vectors.contracts.code_runs import CODE

from contracts.testing import Chain
from ledger.encoding import encode

HEAD = "from contracts import Contract, Map, external\n\n\n"
METHOD = f"{HEAD}class A(Contract):\n    m: Map[int, int]\n\n    @external\n    def f(self, a: int) -> int:\n"
SOURCE_BYTES = 12_000
"""Of each: all of it is linear, and this is enough to see what a byte costs."""
DENSE = {
    "a long sum": "a = " + "+".join("a" * 18),
    "minus of minus": "a=" + "-" * 30 + "a",
    "a row of comparisons": "a=" + "<".join("a" * 300),
    "a long list": "a=[" + ",".join("a" * 500) + "]",
    "subscripts": "a=a" + "[a]" * 14,
    "calls in calls": "a=" + "len(" * 14 + "a" + ")" * 14,
    "texts with holes": "a=f'" + "{a}" * 300 + "'",
    "small statements": "a=1",
    "branches": "if a:a=a",
    "storage": "self.m[a]+=a",
}


def lines_of(line: str) -> str:
    """A method of as many such lines as fit."""
    return METHOD + f"        {line}\n" * (SOURCE_BYTES // (len(line) + 9)) + "        return a\n"


SOURCES = {name: lines_of(line) for name, line in DENSE.items()}
SOURCES["methods"] = f"{HEAD}class A(Contract):\n    m: int\n\n" + "".join(
    f"    def f{number}(self)->int:\n        return 1\n" for number in range(300)
)
SOURCES["fields"] = f"{HEAD}class A(Contract):\n" + "".join(f"    f{number}: int\n" for number in range(900))
SOURCES["refused at its end"] = lines_of(DENSE["a long sum"]) + "        x.y\n"
SOURCES["refused by its last character"] = lines_of(DENSE["minus of minus"]) + "        ("


@pytest.mark.parametrize("name", SOURCES)
def test_a_deploy_is_worth_its_price(name: str) -> None:
    """Checked, lowered, stored and woven, by transaction; or refused."""
    source, gas = SOURCES[name].encode(), 0

    def run() -> int:
        nonlocal gas
        chain = Chain()
        code = chain.deploy(CODE, name="code")
        start = process_time_ns()
        outcome = chain.attempt(code, "deploy", "dense", source, encode([]), sender=bytes(32))
        gas = outcome.gas_used
        assert outcome.code == ("SOURCE" if name.startswith("refused") else "")
        return process_time_ns() - start

    run()
    assert Yardstick().judge(run, gas) <= NANOSECONDS_PER_GAS_MAX
