"""Code by transaction on whole nodes: deployed, called and upgraded while replicas crash, lag and catch up."""

from collections.abc import Sequence

import pytest

from contracts.compiler import compile_source
from contracts.runtime import Deployment
from contracts.standard import source_of
from contracts.tree import compute_tree_hash
from ledger.encoding import encode
from ledger.execution import BlockOutcome
from ledger.genesis import ContractReference, GenesisContract
from ledger.transaction import parse_receipt
from pbft.simulation.cluster import Cluster
from pbft.simulation.founding import FoundedRuntime, client_key
from pbft.simulation.workload import Workload

AUTHOR, OPERATORS = 1, (2, 3, 4)
GAS = 1_000_000
GOVERNANCE = """
from contracts import Address, Contract, init, view


class Governance(Contract):
    operators: list[Address]

    @init
    def setup(self, operators: list[Address]) -> None:
        self.operators = operators

    @view
    def operator_keys(self) -> list[Address]:
        return self.operators
"""
OLD = b"""
from contracts import Contract, external


class Counter(Contract):
    count: int

    @external
    def add(self) -> int:
        self.count += 1
        return self.count
"""
NEW = b"""
from contracts import Contract, external, migrate


class Counter(Contract):
    count: int
    before: int

    @migrate
    def keep(self) -> None:
        self.before = self.count

    @external
    def add(self) -> int:
        self.count += 10
        return self.count - self.before
"""


class RuntimeWithCode(FoundedRuntime):
    """Genesis has the contract `code` too, with clients as its author and operators."""

    def execute_genesis(self, contracts: Sequence[Deployment], time_ms: int, network: bytes) -> BlockOutcome:
        """See `Runtime.execute_genesis`."""
        operators = [client_key(client).public_key for client in OPERATORS]
        voters = GenesisContract(name="voters", source=GOVERNANCE, arguments=(list(operators),))
        arguments = (ContractReference(contract="voters"), [client_key(AUTHOR).public_key])
        code = GenesisContract(name="code", source=source_of("code"), arguments=arguments)
        return super().execute_genesis([*contracts, voters, code], time_ms, network)


def receipts(load: Workload, *transactions: bytes) -> list[tuple[str, str]]:
    """Status and code of what W replicas answered."""
    found = [parse_receipt(load.outstanding[tx_id].acknowledged or b"") for tx_id in transactions]
    return [(receipt.status, receipt.code) for receipt in found]


@pytest.mark.parametrize("snapshot_lag", [1_000, 2], ids=["blocks", "snapshot"])
def test_who_was_away_during_deploy_and_upgrade_has_the_same_state(snapshot_lag: int) -> None:
    """It re-executes what brought code, or takes the state with the code in it; then it runs the new code with all."""
    cluster = Cluster(runtime=RuntimeWithCode(), snapshot_lag=snapshot_lag)
    load = Workload(cluster)

    def done(client: int, method: str, *arguments: object, contract: str = "code") -> tuple[str, str]:
        signed = load.submit(client, method, arguments, through=[0, 1, 2], contract=contract, gas_limit=GAS)  # type: ignore[arg-type]
        assert cluster.run(30_000, until=lambda: load.is_done)
        return receipts(load, signed.tx_id)[0]

    none, tree_hash = encode([]), compute_tree_hash(compile_source(NEW).to_bytes())
    cluster.kill(3)
    assert done(AUTHOR, "deploy", "counter", OLD, none) == ("ok", "")
    assert done(AUTHOR, "add", contract="counter") == ("ok", "")
    assert done(AUTHOR, "upgrade", "counter", NEW, none) == ("reverted", "NOT_DECIDED")
    for operator in OPERATORS:
        assert done(operator, "vote_upgrade", "counter", tree_hash, none, 0) == ("ok", "")
    assert done(AUTHOR, "upgrade", "counter", NEW, none) == ("ok", "")
    cluster.start(3)
    last = load.submit(AUTHOR, "add", [], through=[3], contract="counter", gas_limit=GAS)
    assert cluster.run(60_000, until=lambda: load.is_done and cluster.is_level())
    receipt = parse_receipt(load.outstanding[last.tx_id].acknowledged or b"")
    assert (receipt.status, receipt.value) == ("ok", 10)
    assert len({cluster.node(replica).chain.head.hash for replica in range(4)}) == 1
    assert cluster.machines[3].counters["snapshot_installed"] == (snapshot_lag == 2)
    assert cluster.halts == []
