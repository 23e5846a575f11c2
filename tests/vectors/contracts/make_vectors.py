"""Writes `runs.json`: per program of `programs.txt` the hash of its tree, and what one call of it gives.

    python tests/vectors/contracts/make_vectors.py            writes the file
    python tests/vectors/contracts/make_vectors.py --check    exits 1 if this interpreter disagrees with the file

The vectors were made by this engine and then fixed: a difference later is a fork of the language. They are the same on
every supported interpreter and under every hash seed.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("runs.json")
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

HEAD = "from contracts import Address, Contract, Event, Indexed, Ledger, Map, Struct, Vec\n"
HEAD += "from contracts import canonical, ctx, emit, external, mul_div, private_value, require, schedule, scheduled, "
HEAD += "sha256\n\n\n"
PRIVATE = (["wh", 1, 2**200, -3], {"who": "m1", "at": {2: b"two", 2**80: None}}, "x" * 100, 7)
BEFORE = """class Order(Struct):
    rank: int
    owner: Address


class Said(Event):
    text: str
    numbers: list[int]


def rank_of(order: Order) -> int:
    return order.rank


def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + fib(n - 2)


"""
FIELDS = """    count: int
    by_key: Map[tuple[str, int], Order]
    names: Indexed[Map[str, int]]
    row: Vec[int]
    cash: Ledger
    nested: Map[int, Map[Address, bool]]

    @scheduled
    def later(self, n: int) -> None:
        self.count += n

"""
PROGRAMS = Path(__file__).with_name("programs.txt").read_text(encoding="utf-8")
BODIES = dict(part.rstrip("\n").split("\n", 1) for part in PROGRAMS.split("=== ")[1:])


def source_of(body: str) -> bytes:
    lines = "\n".join(f"        {line}" for line in body.split("\n"))
    return (
        f"{HEAD}{BEFORE}class Vector(Contract):\n{FIELDS}    @external\n    def run(self) -> int:\n{lines}\n".encode()
    )


def run(name: str, body: str) -> dict[str, Any]:
    """One vector: deploy, call once with 200,000 gas; with `PRIVATE` beside the call where the name begins so."""
    from contracts.compiler import compile_source
    from contracts.testing import Chain
    from contracts.tree import compute_tree_hash

    source = source_of(body)
    chain = Chain()
    contract = chain.deploy(source, name="vector")
    before = dict(chain.state)
    private = PRIVATE if name.startswith("private") else ()
    outcome = chain.attempt(contract, "run", sender=b"\x01" * 32, gas=200_000, private=private)
    changed = sorted((key.hex(), value.hex()) for key, value in chain.state.items() if before.get(key) != value)
    events = [[event.name, event.fields.hex()] for event in outcome.events]
    return {
        "name": name,
        "body": body,
        "source_sha256": hashlib.sha256(source).hexdigest(),
        "tree_hash": compute_tree_hash(compile_source(source).to_bytes()).hex(),
        "status": outcome.status,
        "code": outcome.code,
        "gas": outcome.gas_used,
        "result": outcome.result.hex(),
        "events": events,
        "writes": [list(pair) for pair in changed],
    }


def main() -> int:
    runs = [run(name, body) for name, body in BODIES.items()]
    if "--check" in sys.argv:
        return 0 if runs == json.loads(FILE.read_text(encoding="utf-8"))["runs"] else 1
    FILE.write_text(json.dumps({"runs": runs}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
