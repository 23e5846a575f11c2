"""D53 on whole nodes: code that workers survive is ordered, code that they do not is not, and nothing waits for it."""

from collections.abc import Callable, Iterable

import pytest
from simulation.runtime import RegisterRuntime

from contracts.verdict import SourceVerdict
from ledger.transaction import parse_receipt
from pbft.core.messages import Relay
from pbft.node.worker_messages import UNSURVIVED
from pbft.simulation.cluster import Cluster
from pbft.simulation.workload import Workload
from pbft.wire.codec import encode_peer, parse_request

POISON = b"kills every worker"
SLOW_MS = 700


def poisoned(cluster: Cluster, replicas: Iterable[int]) -> None:
    """From now on the workers of these replicas do not survive the poison."""
    for replica in replicas:
        worker = cluster.node(replica).execution._worker
        check = worker.check_source

        def answer(source: bytes, on_verdict: Callable[[SourceVerdict], None], check: object = check) -> None:
            if source == POISON:
                on_verdict(SourceVerdict(code=UNSURVIVED))
            else:
                check(source, on_verdict)  # type: ignore[operator]

        worker.check_source = answer  # type: ignore[method-assign]


def test_d53_a_refused_source_is_ordered_and_gets_its_receipt() -> None:
    """D53: the verdict of the checker is no reason to hold back a proposal: every replica has the same."""
    cluster = Cluster(runtime=RegisterRuntime())
    load = Workload(cluster)
    signed = load.submit(1, "deploy", ["name", b"no contract", b"\x90"], through=[0], contract="code")
    assert cluster.run(3_000, until=lambda: load.is_done)
    receipt = parse_receipt(load.outstanding[signed.tx_id].acknowledged or b"")
    assert receipt.status == "reverted"
    assert {node.replica.view for node in map(cluster.node, range(4))} == {0}


def test_d53_what_no_worker_survives_is_never_proposed() -> None:
    """D53: no correct replica knows of the request, so nobody is suspected for it, and all else goes on in view 0."""
    cluster = Cluster(runtime=RegisterRuntime())
    poisoned(cluster, range(4))
    load = Workload(cluster)
    poison = load.submit(1, "deploy", ["name", POISON, b"\x90"], through=range(4), contract="code")
    plain = load.submit(2, "add", [b"total", 1], through=[1])
    cluster.run(10_000)
    assert load.acknowledged() == [plain.tx_id]
    for node in map(cluster.node, range(4)):
        assert (node.replica.view, node.chain.height, node.replica.pending_count) == (0, 1, 0)
        assert node.chain.receipt(poison.tx_id) is None
    assert all(cluster.machines[r].counters["message_dropped:code_not_survived"] for r in range(4))


def test_d53_a_worker_that_dies_alone_holds_up_nobody() -> None:
    """D53: one replica does not prepare; the other three are a quorum, and it executes what they decided."""
    cluster = Cluster(runtime=RegisterRuntime())
    poisoned(cluster, [3])
    load = Workload(cluster)
    load.submit(1, "deploy", ["name", POISON, b"\x90"], through=[0, 3], contract="code")
    assert cluster.run(5_000, until=lambda: load.is_done and cluster.is_level())
    assert {node.chain.height for node in map(cluster.node, range(4))} == {1}
    assert {node.replica.view for node in map(cluster.node, range(4))} == {0}


def test_d53_a_primary_that_proposes_poison_is_left_behind() -> None:
    """D53: its own worker survives, so it proposes; nobody prepares, the next view goes on without it."""
    cluster = Cluster(runtime=RegisterRuntime())
    poisoned(cluster, [1, 2, 3])
    load = Workload(cluster)
    poison = load.submit(1, "deploy", ["name", POISON, b"\x90"], through=range(4), contract="code")
    cluster.run(200)
    plain = load.submit(2, "add", [b"total", 1], through=range(4))
    assert cluster.run(20_000, until=lambda: plain.tx_id in load.acknowledged())
    assert all(cluster.node(replica).chain.receipt(poison.tx_id) is None for replica in range(4))
    assert min(cluster.node(replica).replica.view for replica in (1, 2, 3)) >= 1


def test_d53_a_slow_check_delays_its_own_batch_alone() -> None:
    """D53: calls are executed meanwhile, nobody leaves the view, and the code is ordered when it is survived."""
    cluster = Cluster(runtime=RegisterRuntime())
    for replica in range(4):
        worker = cluster.node(replica).execution._worker
        check = worker.check_source

        def later(source: bytes, on_verdict: Callable[[SourceVerdict], None], check: object = check) -> None:
            cluster.at(SLOW_MS, lambda: check(source, on_verdict))  # type: ignore[operator]

        worker.check_source = later  # type: ignore[method-assign]
    cluster.run(200)  # the links are up: a proposal that nobody heard goes again later than this test waits
    load = Workload(cluster)
    code = load.submit(1, "deploy", ["name", b"slow", b"\x90"], through=[0], contract="code")
    plain = load.submit(2, "add", [b"total", 1], through=[0])
    assert cluster.run(SLOW_MS - 100, until=lambda: plain.tx_id in load.acknowledged())
    assert code.tx_id not in load.acknowledged()
    assert cluster.run(4 * SLOW_MS, until=lambda: load.is_done)
    assert {node.replica.view for node in map(cluster.node, range(4))} == {0}


@pytest.mark.parametrize("way", ["door", "relay"])
def test_d43_what_was_answered_while_its_check_waited_is_not_waited_for(way: str) -> None:
    """D43: three replicas order what the fourth is still to check. When its worker comes to it, it is answered: who
    waited for it then would suspect each primary in turn, since none orders it again."""
    cluster = Cluster(runtime=RegisterRuntime())
    held: list[Callable[[SourceVerdict], None]] = []

    def hold(source: bytes, on_verdict: Callable[[SourceVerdict], None]) -> None:
        held.append(on_verdict)

    cluster.node(3).execution._worker.check_source = hold  # type: ignore[method-assign]
    load = Workload(cluster)
    code = load.submit(
        1, "deploy", ["name", b"slow", b"\x90"], through=[0, 3] if way == "door" else [0], contract="code"
    )
    node = cluster.node(3)
    if way == "relay":
        node.driver.on_frame(1, encode_peer(Relay(requests=(parse_request(code.raw, node.rules),))))
    assert cluster.run(5_000, until=lambda: load.is_done and cluster.is_level())
    assert len(held) == 1
    held.pop()(SourceVerdict(tree_hash=bytes(32)))
    cluster.run(100)
    assert node.chain.receipt(code.tx_id) is not None
    assert node.replica.pending_count == 0
