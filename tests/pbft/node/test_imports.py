"""What a replica and its contract worker load: every module is memory that each of them holds for good.

A replica has three interpreters: its own, its worker's, and that of the worker that waits to take over; where the host
has processors to spare, those of its verifiers too. What one of them needs only at times, or for others, is imported
there, and here is the list of what must not come along.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pbft.cli.run

REPLICA_NEVER = {
    "contracts.compiler", "contracts.closures", "contracts.host", "contracts.runtime", "contracts.walker",
    "contracts.worker", "hypothesis", "meters", "multiprocessing", "mypy", "pbft.bench", "pbft.client",
    "pbft.node.inline_worker", "pbft.node.local_cluster", "pbft.node.local_network", "pbft.simulation", "pygments",
    "pytest", "rich", "setuptools", "sqlite3", "unittest",
}  # fmt: skip
WORKER_MAY = {"contracts", "cryptography", "ledger", "lmdb", "nacl"}
"""Beside the standard library. The compiled halves of these libraries carry a name that begins with an underscore."""
COMPILED = "__mypyc"
"""How the name ends of the one library that the compiled modules of this project share, where they are compiled."""
WORKER_NEVER = {
    "asyncio", "concurrent", "contracts.pytest_plugin", "contracts.testing", "contracts.walker", "email", "http",
    "json", "logging", "multiprocessing", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "unittest", "xml",
}  # fmt: skip
VERIFIER_MAY = {"contracts", "ledger", "nacl", "pbft"}
VERIFIER_NEVER = (WORKER_NEVER - {"contracts.walker"}) | {
    "contracts.compiler", "contracts.runtime", "pbft.core", "pbft.wire", "google", "lmdb", "twisted",
}  # fmt: skip
SECONDS_MAX = 60  # on a loaded machine


def loaded_after(modules: list[str]) -> set[str]:
    """The modules that a fresh interpreter, isolated as a replica's is, has after it imported these and had not before:
    a system's own `sitecustomize` is none of ours."""
    program = f"""
import importlib, sys
before = set(sys.modules)
for name in {modules!r}:
    importlib.import_module(name)
print(sorted(set(sys.modules) - before))
"""
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=True)
    return set(ast.literal_eval(done.stdout))


def under(loaded: set[str], names: set[str]) -> list[str]:
    """The loaded modules that are one of these names or lie inside it."""
    return sorted(name for name in loaded if any(name == other or name.startswith(other + ".") for other in names))


def foreign_in(loaded: set[str]) -> set[str]:
    """The packages of these modules that are neither the standard library's nor this project's own machine code."""
    packages = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    return {name for name in packages if not name.endswith(COMPILED)}


def imported_by_run() -> list[str]:
    """All that `gridquorum run` imports, also what its functions import when they are called."""
    tree = ast.parse(Path(pbft.cli.run.__file__).read_text(encoding="utf-8"))
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return sorted(found | {"twisted.internet.reactor"})


def test_a_replica_loads_no_contract_engine_and_no_tool() -> None:
    """Contracts run in the worker and nowhere else; benches, simulators and terminals' colours are other programs'."""
    loaded = loaded_after(imported_by_run())
    assert "pbft.node.service" in loaded and "pbft.core.replica" in loaded
    assert under(loaded, REPLICA_NEVER) == []


def test_the_worker_loads_the_engine_the_store_and_the_verifiers_alone() -> None:
    """No reactor, no wire, no network, no log; of libraries those that judge signatures and read the ledger."""
    loaded = loaded_after(["contracts.worker"])
    foreign = foreign_in(loaded) - WORKER_MAY
    assert sorted(name for name in foreign if not name.startswith("_")) == []
    assert under(loaded, WORKER_NEVER) == []


def test_a_verifier_loads_the_one_library_that_it_needs() -> None:
    """It may run several times at each replica: no reactor, no wire, no store, no contract engine."""
    loaded = loaded_after(["pbft.node.verifier"])
    foreign = foreign_in(loaded) - VERIFIER_MAY
    assert sorted(name for name in foreign if not name.startswith("_")) == []
    assert under(loaded, VERIFIER_NEVER) == []
