"""Whole nodes that must not be trusted any more: they stop, say why, serve nobody, and stay so over restarts."""

from simulation.test_cluster import expect_done

from ledger.encoding import encode
from ledger.store import Put
from ledger.world_state import GENERATIONS
from pbft.core.halting import DIVERGED, REPAIRS, describe_halt
from pbft.simulation.cluster import Cluster
from pbft.simulation.workload import Workload
from pbft.wire.client_frames import HeadRequest, Refused, ReplicaFrame


def corrupt_state(cluster: Cluster, replica: int, true_value: bytes) -> None:
    """One value of the world state on this machine's disk is another: memory or disk went wrong unnoticed."""
    ledger, found = cluster.machines[replica].ledger, 0
    for tables in GENERATIONS:
        for key, value in list(ledger.scan(tables[0])):
            if value == true_value:
                ledger.write([Put(tables[0], key, value[:-1] + bytes([value[-1] ^ 1]))])
                found += 1
    assert found == 1


def ask(cluster: Cluster, replica: int) -> ReplicaFrame:
    """What a client is told that asks for the head."""
    answers: list[ReplicaFrame] = []
    door = cluster.machines[replica].door
    assert door is not None
    door.receive(door.open(answers.append, client=bytes(32)), HeadRequest(correlation=1))
    (answer,) = answers
    return answer


def watch_frames(cluster: Cluster, replica: int) -> list[bytes]:
    """What a machine sends from now on."""
    sent: list[bytes] = []
    send = cluster.network.send

    def watched(sender: int, receiver: int, frame: bytes) -> None:
        if sender == replica:
            sent.append(frame)
        send(sender, receiver, frame)

    cluster.network.send = watched  # type: ignore[method-assign]
    return sent


def test_a_replica_with_another_state_stops_and_stays_stopped() -> None:
    """M45, D26, D34: one value of one world state is wrong; at the next block that reads it the replica's header
    differs from f + 1 others. It stops voting and serving, keeps all, and a restart does not make it forget."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.checkers.faulty.add(2)  # its disk is: it is one of the f
    load.submit(1, "add", [b"total", 77], through=[0, 1])
    expect_done(cluster, load, 5_000)
    corrupt_state(cluster, 2, encode(77))
    load.submit(1, "add", [b"total", 1], through=[0, 1])
    assert cluster.run(5_000, until=lambda: cluster.machines[2].halted is not None), cluster.describe()
    before = cluster.node(2)
    halt = before.replica.halt
    assert halt is not None and (halt.kind, halt.height) == (DIVERGED, before.chain.height)
    assert (halt.own, halt.other) == (before.chain.head.hash, cluster.node(0).chain.header(halt.height).hash)
    assert describe_halt(halt) == {
        "kind": "diverged",
        "height": halt.height,
        "own": halt.own.hex(),
        "other": halt.other.hex(),
        "repair": REPAIRS[DIVERGED],
    }
    for _ in range(2):
        sent = watch_frames(cluster, 2)
        answer = ask(cluster, 2)
        assert isinstance(answer, Refused) and answer.code == "halted"
        load.submit(1, "add", [b"total", 1], through=[0, 1])
        assert cluster.run(5_000, until=lambda: load.is_done)
        cluster.run(3_000)
        assert not sent and cluster.node(2).chain.height == halt.height
        assert cluster.node(2).replica.halt == halt
        cluster.restart(2)
    assert cluster.machines[2].counters["halted:diverged"] == 3
    assert cluster.node(0).chain.height > halt.height
