"""One traitor, one crash at the worst moment, one twin: whole nodes go on, agree, and execute everything once.

n = 4, f = 1: the traitor is always the single faulty replica, and the three others are all needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from simulation.test_cluster import expect_done, total

from ledger.block import parse_header
from ledger.configuration import ProtocolParameters
from pbft.core.messages import (
    Blocks,
    Commit,
    Envelope,
    Forward,
    NewView,
    PeerMessage,
    PrePrepare,
    SignedMessage,
    Status,
    ViewChange,
)
from pbft.core.requests import compute_batch
from pbft.simulation.cluster import Cluster
from pbft.simulation.faulty_machines import Twin
from pbft.simulation.liars import corrupt, sealed, spare_own_words
from pbft.simulation.machine import Machine
from pbft.simulation.network import LinkFaults
from pbft.simulation.workload import Workload
from pbft.wire.codec import parse_request


def honest_replicas(cluster: Cluster, traitor: int) -> list[int]:
    return [machine.replica for machine in cluster.machines if machine.replica != traitor]


def expect_honest_done(cluster: Cluster, load: Workload, traitor: int, patience_ms: int = 60_000) -> None:
    """Every transaction is answered, and the three correct replicas stand on one head, unhalted."""
    assert cluster.run(patience_ms, until=lambda: load.is_done), cluster.describe()

    def is_level() -> bool:
        return len({cluster.node(r).chain.head.hash for r in honest_replicas(cluster, traitor)}) == 1

    assert cluster.run(patience_ms, until=is_level), cluster.describe()
    assert not [cluster.machines[r].halted for r in honest_replicas(cluster, traitor) if cluster.machines[r].halted]


@pytest.mark.parametrize("deceived", [(3,), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("follows_up", [True, False])
def test_an_equivocating_primary(deceived: Sequence[int], follows_up: bool) -> None:
    """M17: the primary shows some backups another batch of the same requests, and either supports both with COMMITs or
    falls silent after it. At most one of the two is decided; the requests execute once."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        if not isinstance(message, Envelope):
            return [message]
        shown: list[SignedMessage] = []
        for inner in message.messages:
            if isinstance(inner, PrePrepare) and receiver in deceived:
                other = compute_batch(inner.batch.time_ms + receiver, inner.batch.requests)
                shown.append(replace(inner, digest=other.digest, batch=other))
                others[inner.view, inner.height, receiver] = other.digest
            elif isinstance(inner, Commit):
                if not follows_up:
                    continue
                digest = others.get((inner.view, inner.height, receiver), inner.digest)
                shown.append(replace(inner, digest=digest))
            else:
                shown.append(inner)
        return [sealed(cluster, 0, *shown)] if shown else []

    others: dict[tuple[int, int, int], bytes] = {}
    corrupt(cluster, 0, lie)
    for client in range(3):
        load.submit(client, "add", [b"total", 1], through=[0, 1, 2, 3])
    expect_honest_done(cluster, load, 0)
    assert others
    assert [total(cluster, replica) for replica in (1, 2, 3)] == [3] * 3


@pytest.mark.parametrize("heard", [(1,), (1, 2)])
def test_a_primary_that_falls_silent_after_some_heard_its_proposal(heard: Sequence[int]) -> None:
    """The proposal reaches one or two backups, then nothing more: the next view decides, the request executes once."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        is_proposal = isinstance(message, Envelope) and isinstance(message.messages[0], PrePrepare)
        return [message] if is_proposal and receiver in heard else []

    corrupt(cluster, 0, lie)
    load.submit(1, "add", [b"total", 1], through=[0, 3])
    expect_honest_done(cluster, load, 0, 10_000)
    assert [total(cluster, replica) for replica in (1, 2, 3)] == [1] * 3


def test_a_new_primary_that_chooses_wrongly_is_passed_over() -> None:
    """M43: a slot that the correct backups prepared is missing from the NEW-VIEW of a faulty primary: its own signature
    convicts it, and the view after it decides the slot."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        if isinstance(message, Envelope) and isinstance(message.messages[0], NewView):
            return [sealed(cluster, 1, replace(message.messages[0], choices=()))]
        envelopes = message.envelopes if isinstance(message, Forward) else (message,)
        votes = [m for e in envelopes if isinstance(e, Envelope) for m in e.messages]
        return [] if any(isinstance(vote, Commit) for vote in votes) else [message]

    corrupt(cluster, 1, lie)
    load.submit(1, "add", [b"total", 1], through=[0, 2, 3])
    assert cluster.run(1_000, until=lambda: cluster.node(0).replica.state.proposed_top == 1)
    cluster.network.cut = {(0, other) for other in (1, 2, 3)}  # its proposal is on the way, nothing else will be
    convicted = lambda: all(cluster.machines[replica].evidence for replica in (2, 3))  # noqa: E731
    assert cluster.run(10_000, until=convicted), cluster.describe()
    assert {(e.replica, e.kind) for e in cluster.machines[2].evidence} == {(1, "invalid_new_view")}
    cluster.network.heal()
    expect_honest_done(cluster, load, 1)
    assert [total(cluster, replica) for replica in (0, 2, 3)] == [1] * 3


def test_replayed_view_changes_move_nobody() -> None:
    """M34, M35: a traitor repeats every VIEW-CHANGE and NEW-VIEW that it ever sent: the view stands."""
    cluster = Cluster()
    load = Workload(cluster)
    seen: list[PeerMessage] = []

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        if isinstance(message, Envelope) and isinstance(message.messages[0], ViewChange | NewView):
            seen.append(message)
        return [message, *seen]

    corrupt(cluster, 3, lie)
    cluster.run(200)
    cluster.kill(0)
    load.submit(1, "add", [b"total", 1], through=[1])
    assert cluster.run(20_000, until=lambda: load.is_done), cluster.describe()
    cluster.start(0)
    for _ in range(10):
        load.submit(1, "add", [b"total", 1], through=[1])
        cluster.run(1_000)
    expect_honest_done(cluster, load, 3)
    assert seen
    assert {cluster.node(replica).replica.view for replica in (0, 1, 2)} == {1}


def boast(message: PeerMessage) -> PeerMessage:
    """Claims to have executed more than anybody."""
    return replace(message, executed_height=1_000_000) if isinstance(message, Status) else message


def forge_states(message: PeerMessage) -> PeerMessage:
    """Blocks with another state root, in an unbroken path of their own."""
    if not isinstance(message, Blocks):
        return boast(message)
    parent, bodies = None, []
    for body in message.blocks:
        header = parse_header(body.header)
        forged = replace(header, state_root=bytes(32), parent_hash=parent or header.parent_hash)
        bodies.append(replace(body, header=forged.to_bytes()))
        parent = forged.hash
    return replace(message, blocks=tuple(bodies))


def swap_batches(message: PeerMessage) -> PeerMessage:
    """The batch of another block under each header."""
    if not isinstance(message, Blocks):
        return boast(message)
    batches = [body.batch for body in message.blocks]
    bodies = [replace(body, batch=batch) for body, batch in zip(message.blocks, batches[::-1], strict=True)]
    return replace(message, blocks=tuple(bodies))


def half_answers(message: PeerMessage) -> PeerMessage:
    """One block at a time, never with a certificate."""
    if not isinstance(message, Blocks):
        return boast(message)
    return replace(message, blocks=message.blocks[:1], certificate=None)


@pytest.mark.parametrize("tell", [boast, forge_states, swap_batches, half_answers])
def test_one_liar_among_the_sources_of_catch_up(tell: Callable[[PeerMessage], PeerMessage]) -> None:
    """D28, M46: a replica that missed many blocks takes the truth from the others, whatever one source serves."""
    cluster = Cluster(protocol=ProtocolParameters(window=16, stride=4))
    load = Workload(cluster)
    cluster.kill(3)
    for _ in range(40):
        load.submit(1, "add", [b"total", 1], through=[0])
        assert cluster.run(2_000, until=lambda: load.is_done)
    corrupt(cluster, 1, lambda receiver, message: [tell(message)])
    cluster.start(3)
    expect_honest_done(cluster, load, 1, 20_000)
    assert cluster.run(10_000, until=lambda: cluster.node(3).chain.height >= 40), cluster.describe()
    assert total(cluster, 3) == 40


@pytest.mark.parametrize("hears", [(3,), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("twice", [0, 1])
def test_twins(twice: int, hears: Sequence[int]) -> None:
    """Two processes with the key of the first or second primary, each with clients of its own, and neither looks for
    its key in what others say (M28): the three others agree and execute everything once, whatever the twins sign
    against each other."""
    cluster = Cluster()
    load = Workload(cluster)
    spare_own_words(cluster, twice)
    twin = Twin(cluster, twice, hears, clock_offset_ms=7)
    assert twin.node is not None
    twin.node.replica.state.asks = False
    cluster.run(200)
    honest = honest_replicas(cluster, twice)
    for _ in range(12):
        cluster.at(100, lambda: load.submit(1, "add", [b"total", 1], through=[twice, honest[0], honest[1]]))
        cluster.at(200, lambda: load.submit(2, "add", [b"total", 1], through=honest))
        signed = load.submit(3, "add", [b"total", 1], through=honest[1:])
        twin.node.driver.on_request(parse_request(signed.raw, twin.node.rules))
        cluster.run(500)
    expect_honest_done(cluster, load, twice)
    assert [total(cluster, replica) for replica in honest] == [36] * 3
    accused = {e.replica for replica in honest for e in cluster.machines[replica].evidence}
    assert accused == ({0} if twice == 0 else set())


def test_two_transactions_of_one_nonce_depose_nobody() -> None:
    """D43, D45: one client hands two transactions of one nonce to different replicas, and one is executed before the
    other reaches the primary: that one is over everywhere, and no view changes for it."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    load.submit(1, "add", [b"total", 1], through=[0], nonce=0)
    loser = load.submit(1, "add", [b"total", 100], through=[1, 2], nonce=0)
    load.outstanding[loser.tx_id].acknowledged = b""  # nobody asks again
    cluster.network.cut = {(1, 0), (2, 0)}
    assert cluster.run(1_000, until=lambda: all(cluster.node(r).chain.height == 1 for r in (1, 2, 3)))
    cluster.network.heal()
    expect_done(cluster, load, 5_000)
    cluster.run(20_000)
    assert {node.replica.view for node in cluster.running} == {0}
    assert {node.replica.pending_count for node in cluster.running} == {0}


def test_all_restart_without_the_primary_whose_proposal_one_never_saw() -> None:
    """M51, M21: two backups prepared, the third heard nothing; all lose power, the primary stays down, no client asks
    again: the accepted proposal itself is timed, and the next view decides and executes it."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    cluster.network.cut = {(0, 3), (1, 3), (2, 3)}
    load.submit(1, "add", [b"total", 1], through=[0])
    for waiting in load.outstanding.values():
        waiting.acknowledged = b""  # the client is gone
    assert cluster.run(1_000, until=lambda: cluster.node(0).replica.state.proposed_top == 1)
    cluster.network.cut |= {(0, 1), (0, 2)}  # its proposal is on the way, its COMMIT never leaves
    assert cluster.run(1_000, until=lambda: all(cluster.node(r).replica.state.prepared for r in (1, 2)))
    cluster.run(50)
    assert {cluster.node(replica).chain.height for replica in (1, 2, 3)} == {0}
    for replica in range(4):
        cluster.kill(replica)
    cluster.network.heal()
    for replica in (1, 2, 3):
        cluster.start(replica)
    assert cluster.run(10_000, until=lambda: all(node.chain.height == 1 for node in cluster.running))
    assert {total(cluster, replica) for replica in (1, 2, 3)} == {1}


def test_a_worker_that_hangs_holds_up_its_replica_alone() -> None:
    """D54, D58: one worker answers nothing for 20 s: the others keep their view, and afterwards all are level."""
    stuck: list[Callable[[], None]] = []

    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    worker = cluster.node(3).execution._worker
    run_block = worker.run_block
    worker.run_block = lambda plan, on_outcome: stuck.append(lambda: run_block(plan, on_outcome))  # type: ignore[method-assign]
    for number in range(20):
        cluster.at(number * 900, lambda: load.submit(1, "add", [b"total", 1], through=[0]))
    cluster.run(20_000)
    assert cluster.node(3).chain.height == 0 and len(stuck) == 1
    assert {cluster.node(replica).replica.view for replica in (0, 1, 2)} == {0}
    worker.run_block = run_block  # type: ignore[method-assign]
    stuck[0]()
    expect_done(cluster, load, 10_000)
    assert total(cluster, 3) == 20


class PowerFails(Exception):
    """The machine is off in the middle of a turn."""


class FragileCluster(Cluster):
    """A cluster whose machines may lose power inside a journal sync."""

    def fail_at_sync(self, victim: int, number: int, *, is_durable: bool) -> None:
        """Power fails in the victim's next `number`-th sync, before or after its records are on the disk; the machine
        starts again 300 ms later."""
        journal = self.node(victim).driver._journal
        sync, count = journal.sync, 0

        def failing() -> None:
            nonlocal count
            count += journal.is_dirty
            if count < number or not journal.is_dirty:
                sync()
                return
            if is_durable:
                sync()
            self.failed = True
            raise PowerFails

        journal.sync = failing  # type: ignore[method-assign]
        self.victim = victim

    failed = False
    victim = -1

    def _flush(self, machine: Machine, start: int) -> None:
        try:
            super()._flush(machine, start)
        except PowerFails:
            self.kill(self.victim)
            self.at(300, lambda: self.start(self.victim))


@pytest.mark.parametrize("is_durable", [False, True])
@pytest.mark.parametrize("victim", [1, 2])
def test_power_fails_at_each_sync_of_a_view_change(victim: int, is_durable: bool) -> None:
    """M25, M51: the new primary, or a backup, loses power inside the 1st, 2nd, ... sync after the old primary died with
    a slot prepared everywhere: what was prepared executes once, and nothing promised is taken back."""
    for number in range(1, 9):
        cluster = FragileCluster(seed=number)
        load = Workload(cluster)
        cluster.run(200)
        load.submit(1, "add", [b"total", 1], through=[0, 1, 2, 3])
        prepared = lambda c=cluster: all(node.replica.state.prepared for node in c.running)  # noqa: E731
        assert cluster.run(1_000, until=prepared)
        cluster.kill(0)
        load.submit(2, "add", [b"total", 1], through=[2, 3])
        cluster.fail_at_sync(victim, number, is_durable=is_durable)
        cluster.run(10_000, until=lambda c=cluster: c.failed)
        assert cluster.failed or number > 6
        cluster.run(400)
        expect_done(cluster, load)
        assert {total(cluster, node_id) for node_id in (1, 2, 3)} == {2}


@pytest.mark.parametrize("moment_ms", range(1_480, 1_620, 10))
def test_all_restart_in_the_middle_of_a_view_change(moment_ms: int) -> None:
    """D36, M51: the three that are left lose power at once while they change the view, at any moment of it."""
    cluster = Cluster(seed=moment_ms, faults=LinkFaults(delay_min_ms=5, delay_max_ms=25))
    load = Workload(cluster)
    cluster.run(200)
    cluster.kill(0)
    load.submit(1, "add", [b"total", 1], through=[1, 2, 3])
    cluster.run(moment_ms)
    for replica in (1, 2, 3):
        cluster.kill(replica)
    for replica in (1, 2, 3):
        cluster.start(replica)
    expect_done(cluster, load, 20_000)
    assert {total(cluster, replica) for replica in (1, 2, 3)} == {1}
