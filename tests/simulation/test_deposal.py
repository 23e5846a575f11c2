"""How soon a primary that contradicts itself is out of office, how little it takes, and that nobody else ever is (M17).

Whole nodes: a primary that tells the truth but once. Requests follow one another, so that no timer of a correct replica
runs out while somebody works them off: what deposes the primary here is the proof.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from simulation.test_cluster import expect_done

from pbft.core.messages import Forward, PrePrepare, SignedMessage
from pbft.core.requests import compute_batch
from pbft.simulation.byzantine import Arrivals
from pbft.simulation.cluster import PROTOCOL, Cluster
from pbft.simulation.liars import Traitor, spare_own_words
from pbft.simulation.network import LinkFaults
from pbft.simulation.signing import KEYED_HASH
from pbft.simulation.workload import Workload
from pbft.wire.codec import encode_peer, seal

T_MS = PROTOCOL.base_timer_ms
PERIOD_MS = 40  # between two requests
STYLES = ("another batch alone", "both batches")


def make_cluster(n: int, *faulty: int, faults: LinkFaults | None = None) -> tuple[Cluster, list[Traitor]]:
    """A network in view 0, and those of it that may lie."""
    cluster = Cluster(seed=n, replicas=n, signing=KEYED_HASH, faults=faults or LinkFaults())
    cluster.checkers.faulty.update(faulty)
    arrivals, carry = Arrivals(cluster), cluster.network.send
    traitors = [Traitor(cluster, replica, "whispering", Random(n), arrivals, carry) for replica in faulty]
    for replica in faulty:
        spare_own_words(cluster, replica)
    return cluster, traitors


def whisper(traitor: Traitor, listener: int, style: str) -> list[int]:
    """It shows one replica a second batch, in all its views at the first height above 2, and lies in nothing else.
    Returns the moments at which it did."""
    told: dict[int, int] = {}  # view -> height
    moments: list[int] = []

    def lie(receiver: int, message: SignedMessage) -> Sequence[tuple[SignedMessage, str]]:
        is_lie = isinstance(message, PrePrepare) and message.height > 2 and receiver == listener
        if not (is_lie and isinstance(message, PrePrepare) and message.batch.requests):
            return [(message, "")]
        if told.setdefault(message.view, message.height) != message.height:
            return [(message, "")]
        moments.append(traitor.cluster.now_ms)
        other = compute_batch(message.batch.time_ms + 1, message.batch.requests)
        second = (replace(message, digest=other.digest, batch=other), "")
        return [second] if style == STYLES[0] else [(message, ""), second]

    traitor.lie_signed(lie)
    return moments


def schedule(cluster: Cluster, load: Workload, count: int) -> None:
    """Additions that follow one another, each handed to three replicas."""
    for number in range(count):
        through = tuple(cluster.random.sample(range(len(cluster.machines)), 3))
        cluster.at(number * PERIOD_MS, lambda t=through, c=number % 3: load.submit(c, "add", [b"total", 1], through=t))


def views(cluster: Cluster) -> set[int]:
    return {node.replica.view for node in cluster.correct}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("n", [4, 5, 7, 10])
def test_a_primary_that_whispers_once_is_deposed_by_all(n: int, style: str) -> None:
    """M17, M35, M54: one height, one replica: its half meets the other one, or it holds both; half a T later nobody
    correct is in that view, everybody has evidence or company, and what was asked for is done."""
    cluster, (traitor,) = make_cluster(n, 0)
    moments = whisper(traitor, n - 1, style)
    load = Workload(cluster)
    schedule(cluster, load, 60)
    assert cluster.run(T_MS, until=lambda: bool(moments)), cluster.describe()
    assert cluster.run(T_MS // 2, until=lambda: 0 not in views(cluster)), cluster.describe()
    expect_done(cluster, load)
    assert views(cluster) == {1}
    accused = {(e.replica, e.kind) for r in range(1, n) for e in cluster.machines[r].evidence}
    assert accused == {(0, "equivocation_pre_prepare")}
    assert {node.replica.state.doublings for node in cluster.correct} == {1}


@pytest.mark.parametrize("style", STYLES)
def test_the_proof_comes_through_bad_links(style: str) -> None:
    """M33: one frame of five is lost: the proof, or the half of it, is shown again."""
    cluster, (traitor,) = make_cluster(4, 0, faults=LinkFaults(delay_max_ms=40, loss_permille=200))
    moments = whisper(traitor, 3, style)
    load = Workload(cluster)
    schedule(cluster, load, 30)
    assert cluster.run(4 * T_MS, until=lambda: bool(moments)), cluster.describe()
    assert cluster.run(2 * T_MS, until=lambda: 0 not in views(cluster)), cluster.describe()
    cluster.network.faults = LinkFaults()
    expect_done(cluster, load)


def test_each_office_of_a_liar_ends_by_a_lie_of_its_own() -> None:
    """M54: two liars of seven in a row, one after the other: a view each, without a timer. Neither is skipped for what
    it did before, and its old words, told again, move nobody."""
    cluster, (first, second) = make_cluster(7, 0, 1)
    moments = [whisper(traitor, 6, STYLES[1]) for traitor in (first, second)]
    load = Workload(cluster)
    schedule(cluster, load, 60)
    assert cluster.run(3 * T_MS, until=lambda: views(cluster) == {2}), cluster.describe()
    assert [len(told) for told in moments] == [1, 1]
    expect_done(cluster, load)
    proofs = {e.replica: e for r in range(2, 7) for e in cluster.machines[r].evidence}
    assert set(proofs) == {0, 1}
    for evidence in proofs.values():
        assert evidence.second is not None
        for receiver in range(2, 7):
            frame = encode_peer(Forward(envelopes=(evidence.first, evidence.second)))
            cluster.network.send(evidence.replica, receiver, frame)
    cluster.run(T_MS)
    assert views(cluster) == {2}


def test_forged_proof_moves_nobody_and_is_refused() -> None:
    """M4, M54: two proposals that the primary never signed are refused at the first signature, and counted against who
    sent them."""
    cluster, (liar,) = make_cluster(4, 3)
    load = Workload(cluster)
    schedule(cluster, load, 10)
    batches = [compute_batch(cluster.now_ms + number, ()) for number in range(2)]
    words = [PrePrepare(epoch=0, view=0, height=9, digest=batch.digest, batch=batch) for batch in batches]
    network, key = cluster.genesis.network_id, cluster.replica_key(3)
    forged = tuple(seal((word,), sender=0, epoch=0, network=network, key=key) for word in words)
    for receiver in range(3):
        liar.carry(3, receiver, encode_peer(Forward(envelopes=forged)))
    expect_done(cluster, load)
    cluster.run(T_MS)
    assert views(cluster) == {0}
    for receiver in range(3):
        assert cluster.machines[receiver].counters["frame_refused:envelope_signature"] == 1
        assert not cluster.machines[receiver].evidence
