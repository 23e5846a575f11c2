"""A contract comes to four processes by command, is called, upgraded with @migrate, and proved off line."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.code import hash_key, version_key
from ledger.encoding import encode
from ledger.proofs import VerifiedState, verify_proof
from pbft.node.local_cluster import LocalNetwork, prepare, start, stop, wait_ready

pytestmark = pytest.mark.drill
COMMAND_SECONDS_MAX = 120
COUNTER = """
from contracts import Address, Contract, Map, ctx, external, init, require, view


class Counter(Contract):
    step: int
    counts: Map[Address, int]

    @init
    def setup(self, step: int) -> None:
        require(step > 0, "BAD_STEP")
        self.step = step

    @external
    def count(self) -> int:
        self.counts[ctx.sender] += self.step
        return self.counts[ctx.sender]

    @view
    def count_of(self, who: Address) -> int:
        return self.counts[who]
"""
NEXT = COUNTER.replace("    @init\n", "    total: int\n\n    @init\n").replace(
    "init, require", "init, migrate, require"
)
NEXT += """
    @migrate
    def carry_over(self, known: list[Address]) -> None:
        for who in known:
            self.total += self.counts[who]

    @view
    def total_of_all(self) -> int:
        return self.total
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """Four processes, for all that follows."""
    local = prepare(tmp_path_factory.mktemp("deploy") / "network", port_base=0)
    try:
        start(local)
        wait_ready(local)
        yield local
    finally:
        stop(local)


def gridquorum(network: LocalNetwork, *arguments: str, exit_code: int = 0) -> tuple[dict[str, Any], str]:
    """A command's JSON, and what it said besides; its exit code must be this."""
    done = subprocess.run(
        [sys.executable, "-m", "pbft.cli", *arguments, "--data-dir", str(network.directory), "--json"],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == exit_code, f"{arguments}: {done.stdout} {done.stderr}"
    lines = done.stdout.splitlines()
    return (json.loads(lines[-1]) if lines else {}), done.stderr


def value(network: LocalNetwork, *arguments: str) -> Any:
    """What a view answers, vouched for."""
    return gridquorum(network, "query", *arguments)[0]["value"]


def proved(network: LocalNetwork, key: bytes, out: Path) -> bytes | None:
    """A value of the world state, by a proof that this process verifies with the genesis file alone."""
    gridquorum(network, "proof", "export", f"key:{key.hex()}", "--out", str(out))
    verified = verify_proof(out.read_bytes(), network.genesis_path.read_bytes())
    assert isinstance(verified, VerifiedState)
    assert verified.key == key
    return verified.value


def test_a_contract_is_deployed_called_upgraded_and_proved(network: LocalNetwork, tmp_path: Path) -> None:
    """D17, D53: each replica's worker checked it first; what the code was and is, is in the state of all."""
    old, new = tmp_path / "counter.py", tmp_path / "next.py"
    old.write_text(COUNTER)
    new.write_text(NEXT)
    own = '{"account": "own"}'

    deployed, _ = gridquorum(network, "contract", "deploy", str(old), "5")
    tree = deployed["tree"]
    assert (deployed["contract"], deployed["status"]) == ("counter", "ok")
    assert gridquorum(network, "tx", "send", "counter", "count")[0]["result"] == 5
    assert value(network, "counter", "count_of", own) == 5
    argument = f"[{own}]"
    assert gridquorum(network, "contract", "upgrade", str(new), argument, exit_code=11)[0]["code"] == "NOT_DECIDED"
    votes = ("--operator", "r0", "--operator", "1", "--operator", "r3")
    assert gridquorum(network, "contract", "vote-upgrade", str(new), argument, *votes)[0]["decided"]
    upgraded, _ = gridquorum(network, "contract", "upgrade", str(new), argument)
    assert upgraded["tree"] != tree
    assert value(network, "counter", "total_of_all") == 5
    assert proved(network, hash_key("counter"), tmp_path / "hash.proof") == bytes.fromhex(upgraded["tree"])
    first = proved(network, version_key("counter", deployed["height"]), tmp_path / "first.proof")
    assert first == encode([bytes.fromhex(tree)])
    assert proved(network, b"c/counter/total/", tmp_path / "total.proof") == encode(5)


def test_an_upgrade_that_would_lose_data_names_the_field(network: LocalNetwork, tmp_path: Path) -> None:
    """The operators may decide what they like: what is stored stays."""
    (tmp_path / "tally.py").write_text(COUNTER.replace("class Counter", "class Tally"))
    gridquorum(network, "contract", "deploy", str(tmp_path / "tally.py"), "5")
    loser = tmp_path / "loser.py"
    loser.write_text(COUNTER.replace("class Counter", "class Tally").replace("Address, int]", "Address, bool]"))
    votes = ("--operator", "0", "--operator", "1", "--operator", "2")
    assert gridquorum(network, "contract", "vote-upgrade", str(loser), *votes)[0]["decided"]
    answer, said = gridquorum(network, "contract", "upgrade", str(loser), exit_code=11)
    assert (answer["status"], answer["code"], answer["detail"]) == ("error", "LAYOUT", "counts")
    assert "counts" in said


def test_what_a_node_is_sent_by_others_is_judged_all_the_same(network: LocalNetwork) -> None:
    """A source that is no contract is SOURCE, and nothing more; an operator votes, and is no author by that."""
    wrong = json.dumps({"hex": COUNTER.replace("= step", "= step / 2").encode().hex()})
    sent, _ = gridquorum(network, "tx", "send", "code", "deploy", "wrong", wrong, '{"hex": "9105"}', exit_code=11)
    assert (sent["status"], sent["code"]) == ("error", "SOURCE")
    source = json.dumps({"hex": COUNTER.encode().hex()})
    command = ("tx", "send", "code", "deploy", "other", source, '{"hex": "9105"}', "--operator", "2")
    assert gridquorum(network, *command, exit_code=11)[0]["code"] == "NOT_AN_AUTHOR"
