"""Golden runs: tree, gas, result, events and writes of fixed programs."""

import json
from pathlib import Path
from typing import Any

from vectors.contracts.make_vectors import BODIES, run

from contracts.compiler import compile_source
from contracts.gas import compute_run_cost, split_runs
from contracts.testing import Chain
from contracts.tree import Node, compute_tree_hash

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "contracts"
RUNS: list[dict[str, Any]] = json.loads((VECTORS / "runs.json").read_text(encoding="utf-8"))["runs"]


def test_every_run_gives_every_byte_of_the_vectors() -> None:
    """On this interpreter; `test_interpreters.py` runs them on others and under other hash seeds."""
    assert [run(name, body) for name, body in BODIES.items()] == RUNS


def test_gas_of_a_run_by_hand() -> None:
    """The formulas of CONTRACTS.md section 7 added up by hand for one small call."""
    source = (
        "from contracts import Contract, external\n\nclass T(Contract):\n    n: int\n\n"
        "    @external\n    def run(self, a: int) -> int:\n"
        "        b = a * 2\n        self.n = b\n        return self.n + b\n"
    )
    chain = Chain()
    contract = chain.deploy(source.encode(), name="t")
    arguments_bytes = 2  # an array head and 5
    transaction = 200 + arguments_bytes // 4 + 3 * arguments_bytes
    multiply = 1 + (1 + 1 + 1 + 2)  # assign; *, a, 2 and the extra of *
    write = (1 + 1) + 250 + 2 * 1  # set field and b; one byte
    give_back = (1 + 1 + 1 + 1) + 60 + 1 // 4  # return, +, field, b; a read of one byte
    result = 1 * 1  # one byte
    assert contract.run(5, sender=bytes(32)).gas == transaction + multiply + write + give_back + result


def test_runs_end_with_the_statement_that_branches() -> None:
    """Statements after an `if` are a run of their own: they may not be reached."""
    step = Node("pass")
    branch = Node("if", None, (Node("const", True), Node("block", None, (step,)), Node("block", None, (step,))))
    runs = split_runs([step, branch, step, step])
    assert [(cost, len(statements)) for cost, statements in runs] == [(1 + 2, 2), (2, 2)]
    assert compute_run_cost(branch) == 2


def test_a_changed_tree_has_another_hash() -> None:
    """One operator makes another contract."""
    sources = [
        "from contracts import Contract, external\n\nclass T(Contract):\n"
        f"    @external\n    def run(self) -> int:\n        return 1 {sign} 2\n"
        for sign in "+-"
    ]
    hashes = {compute_tree_hash(compile_source(source.encode()).to_bytes()) for source in sources}
    assert len(hashes) == 2
