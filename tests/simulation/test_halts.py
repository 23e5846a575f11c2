"""Whole nodes that must not be trusted any more: they stop, say why, serve nobody, and stay so over restarts."""

from collections.abc import Sequence

import pytest
from simulation.test_cluster import expect_done

from ledger.chain import LEDGER_TABLES
from ledger.encoding import encode
from ledger.late_turns import read_turns, turn_operations
from ledger.store import Put
from ledger.world_state import GENERATIONS
from pbft.core.halting import DIVERGED, REPAIRS, SECOND_SIGNER, describe_halt
from pbft.core.messages import Commit, FetchSaid, PeerMessage, Said
from pbft.node.journal import JOURNAL_TABLE
from pbft.simulation.cluster import Cluster
from pbft.simulation.disk import SimulatedDisk
from pbft.simulation.faulty_machines import Twin
from pbft.simulation.liars import corrupt, sealed
from pbft.simulation.workload import Workload
from pbft.wire.client_frames import HeadRequest, Refused, ReplicaFrame
from pbft.wire.codec import WireRules, decode_peer, encode_peer


def corrupt_state(cluster: Cluster, replica: int, true_value: bytes) -> None:
    """One value of the world state on this machine's disk is another: memory or disk went wrong unnoticed."""
    ledger, found = cluster.machines[replica].ledger, 0
    for tables in GENERATIONS:
        for turn in list(read_turns(ledger, tables.late, 0)):
            for key, value in turn.values.items():
                if value == true_value:
                    turn.values[key] = value[:-1] + bytes([value[-1] ^ 1])
                    ledger.write(turn_operations(tables.late, turn))
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


def copy_of(cluster: Cluster, replica: int) -> tuple[SimulatedDisk, SimulatedDisk]:
    """A backup of a machine's data directory, as it is now."""
    machine = cluster.machines[replica]
    journal, ledger = SimulatedDisk((JOURNAL_TABLE,)), SimulatedDisk(LEDGER_TABLES)
    for source, copy in ((machine.journal, journal), (machine.ledger, ledger)):
        for table in (JOURNAL_TABLE,) if source is machine.journal else LEDGER_TABLES:
            copy.write([Put(table, key, value) for key, value in source.scan(table)])
    return journal, ledger


def order(cluster: Cluster, load: Workload, count: int) -> None:
    for _ in range(count):
        load.submit(1, "add", [b"total", 1], through=[0, 1])
        assert cluster.run(5_000, until=lambda: load.is_done)


@pytest.mark.parametrize("is_idle", [True, False])
def test_a_restored_backup_is_silent_from_the_first_tick(is_idle: bool) -> None:
    """M28, D38: the data directory is restored from a backup that is some blocks old. Whether the network is idle at a
    certified head or in the middle of its work, the others hold signed bytes of this key, or a certificate with its
    vote, that the old journal does not know: it halts before its first word, durably."""
    cluster = Cluster()
    load = Workload(cluster)
    order(cluster, load, 3)
    journal, ledger = copy_of(cluster, 2)
    order(cluster, load, 3)
    if is_idle:
        assert cluster.run(5_000, until=cluster.is_level)
    cluster.checkers.faulty.add(2)
    cluster.kill(2)
    cluster.machines[2].journal, cluster.machines[2].ledger = journal, ledger
    sent = watch_frames(cluster, 2)
    cluster.start(2)
    cluster.run(1_000)
    halt = cluster.node(2).replica.halt
    assert halt is not None and halt.kind == SECOND_SIGNER, cluster.describe()
    assert {type(decode_peer(frame, WireRules.of(cluster.genesis.configuration))) for frame in sent} == {FetchSaid}
    cluster.restart(2)
    assert cluster.node(2).replica.halt == halt
    order(cluster, load, 1)


def test_all_restart_and_f_never_answer() -> None:
    """M28, M51: whoever starts asks, and all may start at once: they answer each other before their first word, and
    wait for the last f half a second, for more of them two seconds; then work goes on without a client."""
    cluster = Cluster(replicas=7)
    load = Workload(cluster)
    order(cluster, load, 2)
    assert cluster.run(5_000, until=cluster.is_level)
    for replica in range(7):
        cluster.kill(replica)
    for replica in range(5):
        cluster.start(replica)
    cluster.run(300)
    assert [node.replica.waits_for for node in cluster.running] == [(5, 6)] * 5
    cluster.run(300)
    assert [node.replica.waits_for for node in cluster.running] == [()] * 5
    order(cluster, load, 2)
    cluster.kill(3)
    cluster.network.cut = {(a, b) for a in (0, 1, 2, 4) for b in (3,)}
    cluster.start(3)
    cluster.run(1_900)
    assert cluster.node(3).replica.waits_for == (0, 1, 2, 4, 5, 6)
    cluster.run(200)
    assert cluster.node(3).replica.waits_for == ()


def test_claims_without_signed_bytes_silence_nobody() -> None:
    """D38, execution 17: a liar answers with words of its own, of others, with a certificate that this key did not
    sign, and with nothing at all; the replica that starts says its first word."""
    cluster = Cluster()
    load = Workload(cluster)
    order(cluster, load, 2)

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        if isinstance(message, Said):
            foreign = sealed(cluster, 1, Commit(epoch=0, view=9, height=50, digest=bytes(32)))
            return [Said(envelopes=(foreign,), certificate=message.certificate), Said(envelopes=(), certificate=None)]
        return [message]

    corrupt(cluster, 1, lie)
    cluster.restart(2)
    order(cluster, load, 2)
    cluster.run(2_000)
    assert cluster.node(2).replica.halt is None and cluster.node(2).chain.height == 4


def test_a_copy_started_later_is_noticed_within_a_minute() -> None:
    """M28: a second process with the key starts long after the first: the first asks again every minute, and hears what
    the other one signed."""
    cluster = Cluster()
    load = Workload(cluster)
    order(cluster, load, 1)
    cluster.checkers.faulty.add(2)
    cluster.checkers.liars.add(2)
    other = sealed(cluster, 2, Commit(epoch=0, view=0, height=4, digest=bytes([9]) * 32))
    cluster.node(0).driver.on_frame(2, encode_peer(other))
    cluster.run(30_000)
    assert cluster.node(2).replica.halt is None
    cluster.run(31_000)
    halt = cluster.node(2).replica.halt
    assert halt is not None and halt.kind == SECOND_SIGNER


@pytest.mark.parametrize("is_copy", [True, False])
def test_a_second_process_is_noticed_at_the_next_certificates(is_copy: bool) -> None:
    """M28, D38: somebody starts R2 a second time, from empty disks, or from a copy that was made on an idle network, so
    that there is nothing to hear about it. R0 alone has a link to it: it lags behind the first process, meets its
    key's vote in a certificate for a block that it has not executed, and stops."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.kill(3)  # each certificate needs the vote of R2
    order(cluster, load, 3)
    assert cluster.run(5_000, until=cluster.is_level)
    cluster.checkers.faulty.add(2)
    twin = Twin(cluster, 2, [0], copy_of=cluster.machines[2] if is_copy else None)
    cluster.run(3_000)  # its start: R1 never answers it
    assert (twin.halted is None) == is_copy
    order(cluster, load, 3)
    cluster.run(500)
    assert "key" in (twin.halted or "")
    assert cluster.machines[2].halted is None
