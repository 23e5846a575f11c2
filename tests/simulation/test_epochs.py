"""Epochs in whole networks: decided, filled, certified, entered; with faults at the boundary (D37, D40, D41)."""

from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

from ledger.block import parse_header
from ledger.configuration import ProtocolParameters
from ledger.proofs import VerifiedReceipt, verify_proof
from pbft.core import ordering
from pbft.core import replica as replica_module
from pbft.core.config import OBSERVER
from pbft.core.messages import Envelope, PeerMessage, Prepare, PrePrepare
from pbft.core.persisted import DamagedJournal
from pbft.core.requests import compute_batch
from pbft.node.evidence_judge import judge
from pbft.node.journal import JOURNAL_TABLE
from pbft.simulation.byzantine import Traitors
from pbft.simulation.cluster import Cluster
from pbft.simulation.disk import SimulatedDisk
from pbft.simulation.liars import corrupt, is_by, sealed
from pbft.simulation.membership import change_key, compute_next, has_entered, lose_disk, submit_votes
from pbft.simulation.violation import Violation
from pbft.simulation.workload import Workload
from pbft.wire.codec import decode_peer, encode_peer, seal
from pbft.wire.evidence import encode_evidence

SMALL = ProtocolParameters(window=8, stride=2)
MINUTE_MS = 60_000


def enter(cluster: Cluster, epoch: int) -> None:
    """Lets time pass until every correct node is in the epoch."""
    assert cluster.run(MINUTE_MS, lambda: has_entered(cluster, epoch)), cluster.describe()


def are_in(cluster: Cluster, replicas: tuple[int, ...], epoch: int) -> bool:
    return all(cluster.node(replica).replica.epoch == epoch for replica in replicas)


def test_an_idle_network_reaches_the_next_epoch() -> None:
    """D40, D64, execution 21: nobody submits anything, and fresh empty batches fill up to E."""
    cluster = Cluster(protocol=SMALL)
    cluster.run(200)
    submit_votes(cluster, compute_next(cluster, parameters=replace(SMALL, stride=1)))
    enter(cluster, 1)
    node = cluster.node(0)
    end = node.chain.epochs.last_height(0)
    assert end is not None
    decided = end - SMALL.window
    blocks = [node.chain.block(height) for height in range(decided + 1, end + 1)]
    assert not any(block.transactions for block in blocks)
    assert cluster.run(MINUTE_MS, cluster.is_level), cluster.describe()
    assert node.chain.height == end, "nothing is filled once the epoch has begun"
    assert {node.replica.primary for node in cluster.running} == {1}  # members[(epoch + view) mod n]
    cluster.checkers.check_certificates(cluster.running)


def test_requests_go_on_over_the_boundary() -> None:
    """Requests that wait when an epoch ends are ordered in the next one, each once."""
    cluster = Cluster(protocol=SMALL)
    cluster.run(200)
    load = Workload(cluster)
    for number in range(12):
        cluster.at(number * 100, lambda n=number: load.submit(0, "add", (b"k", n), through=[n % 4]))  # type: ignore[misc]
    cluster.at(300, lambda: submit_votes(cluster, compute_next(cluster, parameters=replace(SMALL, stride=1))))
    assert cluster.run(MINUTE_MS, lambda: load.nonces.get(0) == 12 and load.is_done), cluster.describe()
    enter(cluster, 1)
    headers = [cluster.node(2).chain.header(height) for height in range(1, cluster.node(2).chain.height + 1)]
    assert {header.epoch for header in headers} == {0, 1}
    assert parse_header(headers[-1].to_bytes()) == headers[-1]


def test_a_rotated_key_votes_in_the_next_epoch() -> None:
    """M59, D37: started with its new key, a replica is silent, and one of the voters again from the first height on."""
    cluster = Cluster(protocol=SMALL)
    cluster.run(200)
    submit_votes(cluster, compute_next(cluster, generations={2: 1}))
    change_key(cluster, 2)
    assert not cluster.node(2).replica.state.is_voter
    enter(cluster, 1)
    assert cluster.node(2).replica.replica_id == 2
    cluster.kill(3)  # a quorum needs the rotated key now
    load = Workload(cluster)
    load.submit(0, "add", (b"k", 1), through=[0, 1])
    assert cluster.run(MINUTE_MS, lambda: load.is_done), cluster.describe()


def test_d37_a_lost_disk_comes_back_silent_and_votes_in_the_next_epoch() -> None:
    """D37, execution 16: "silent until the first height of an epoch that lists its new consensus key": it executes and
    serves meanwhile, and signs nothing; what the lost journal had promised died with the old key's epoch."""
    cluster = Cluster(protocol=SMALL)
    cluster.run(200)
    load = Workload(cluster)
    load.submit(0, "add", (b"k", 1), through=[0, 1])
    assert cluster.run(MINUTE_MS, lambda: load.is_done)
    lose_disk(cluster, 2, ledger_too=True)
    said: list[bytes] = []
    send = cluster.network.send
    cluster.network.send = lambda s, r, f: (said.append(f) if s == 2 else None, send(s, r, f))[1]  # type: ignore[method-assign,assignment,func-returns-value]
    load.submit(0, "add", (b"k", 2), through=[0, 2])
    assert cluster.run(MINUTE_MS, lambda: load.is_done and cluster.is_level()), cluster.describe()
    assert cluster.node(2).chain.height == cluster.node(0).chain.height
    decoded = [decode_peer(frame, cluster.node(2).rules) for frame in said]
    assert decoded and not any(isinstance(message, Envelope) for message in decoded)
    submit_votes(cluster, compute_next(cluster, generations={2: 1}))
    enter(cluster, 1)
    assert cluster.node(2).replica.replica_id == 2
    cluster.kill(0)
    load.submit(0, "add", (b"k", 3), through=[1, 2])
    assert cluster.run(MINUTE_MS, lambda: load.is_done), cluster.describe()


def test_d37_a_lost_journal_does_not_start_under_the_old_key() -> None:
    """D37: blocks without a journal: what this key promised is unknown, so it must not sign again; a new key may."""
    cluster = Cluster(protocol=SMALL)
    cluster.run(200)
    load = Workload(cluster)
    load.submit(0, "add", (b"k", 1), through=[0, 1])
    assert cluster.run(MINUTE_MS, lambda: load.is_done)
    cluster.kill(2)
    cluster.machines[2].journal = SimulatedDisk((JOURNAL_TABLE,))
    with pytest.raises(DamagedJournal, match="view"):
        cluster.start(2)
    lose_disk(cluster, 2, ledger_too=False)
    assert not cluster.node(2).replica.state.is_voter
    load.submit(0, "add", (b"k", 2), through=[0, 1])
    assert cluster.run(MINUTE_MS, lambda: load.is_done and cluster.is_level()), cluster.describe()


# --- faults at the boundary ---


def test_d40_a_proposal_above_the_end_reaches_nobody() -> None:
    """D40, execution 20: a Byzantine primary proposes E + 1 before E is certified: no backup accepts it, whatever its
    own timers and watermarks say; `bounds` watches every turn."""
    cluster = Cluster(protocol=SMALL)
    cluster.run(200)
    submit_votes(cluster, compute_next(cluster, parameters=replace(SMALL, stride=1)))
    assert cluster.run(MINUTE_MS, lambda: all(n.replica.state.epoch_end is not None for n in cluster.running))
    end = cluster.node(1).replica.state.epoch_end
    assert end is not None
    batch = compute_batch(cluster.now_ms, ())
    early = PrePrepare(epoch=0, view=0, height=end + 1, digest=batch.digest, batch=batch)
    network, key = cluster.genesis.network_id, cluster.replica_key(0)
    frame = encode_peer(seal([early], sender=0, epoch=0, network=network, key=key))
    for replica in (1, 2, 3):
        cluster.node(replica).driver.on_frame(0, frame)
        cluster.node(replica).driver.flush()
        assert cluster.machines[replica].counters["message_dropped:above_window"] == 1
        assert end + 1 not in cluster.node(replica).replica.state.slots
    enter(cluster, 1)


def test_a_primary_that_does_not_fill_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """D64: the first primary fills nothing: backups suspect it at T, and the next one ends the epoch."""
    propose = ordering.process_proposals
    monkeypatch.setattr(
        replica_module.ordering,
        "process_proposals",
        lambda state: None if state.replica_id == 0 and state.epoch_end is not None else propose(state),
    )
    cluster = Cluster(protocol=SMALL)
    cluster.run(200)
    submit_votes(cluster, compute_next(cluster, parameters=replace(SMALL, stride=1)))
    assert cluster.run(MINUTE_MS, lambda: all(n.replica.view == 1 for n in cluster.running)), cluster.describe()
    enter(cluster, 1)
    assert {(node.replica.view, node.replica.primary) for node in cluster.running} == {(0, 1)}


def test_a_replica_late_by_two_epochs_catches_up() -> None:
    """D41, M59: "older epochs are answered with E's certificate": cut off in epoch 0, it learns the keys of each epoch
    by executing the one before, though not one old key votes any more."""
    cluster = Cluster(protocol=SMALL)
    cluster.run(200)
    load = Workload(cluster)
    cluster.network.partition({0, 1, 2})
    for epoch in (1, 2):
        submit_votes(cluster, compute_next(cluster, parameters=replace(SMALL, stride=epoch)), voters=(0, 1, 2))
        arrived = partial(are_in, cluster, (0, 1, 2), epoch)
        assert cluster.run(MINUTE_MS, arrived), cluster.describe()
    load.submit(0, "add", (b"k", 1), through=[0, 1])
    assert cluster.run(MINUTE_MS, lambda: load.is_done), cluster.describe()
    assert (cluster.node(3).replica.epoch, cluster.node(3).chain.height) == (0, 0)
    cluster.network.heal()
    assert cluster.run(MINUTE_MS, cluster.is_level), cluster.describe()
    assert cluster.node(3).replica.epoch == 2


def test_all_restart_at_the_boundary() -> None:
    """D36 across D41: power fails at all sites when some have entered the epoch and some have not."""
    cluster = Cluster(protocol=SMALL)
    cluster.run(200)
    submit_votes(cluster, compute_next(cluster, parameters=replace(SMALL, stride=1)))
    assert cluster.run(MINUTE_MS, lambda: any(node.replica.epoch == 1 for node in cluster.running))
    assert not has_entered(cluster, 1)
    for replica in range(4):
        cluster.restart(replica)
    enter(cluster, 1)
    load = Workload(cluster)
    load.submit(0, "add", (b"k", 1), through=[2])
    assert cluster.run(MINUTE_MS, lambda: load.is_done and cluster.is_level()), cluster.describe()


@pytest.mark.parametrize(
    ("disk", "write"), [*(("journal", write) for write in range(6)), *(("ledger", write) for write in range(4))]
)
def test_a_crash_at_any_write_around_the_boundary(disk: str, write: int) -> None:
    """From the block before E on, power fails inside each write of the primary in turn: journal and ledger always tell
    one story, of the old epoch or of the new one."""
    cluster = Cluster(protocol=SMALL, seed=write)
    cluster.run(200)
    submit_votes(cluster, compute_next(cluster, parameters=replace(SMALL, stride=1)))
    assert cluster.run(MINUTE_MS, lambda: cluster.node(0).replica.state.epoch_end is not None)
    end = cluster.node(0).replica.state.epoch_end
    assert end is not None
    assert cluster.run(MINUTE_MS, lambda: cluster.node(0).chain.height >= end - 1)
    getattr(cluster.machines[0], disk).fail_power(write)
    load = Workload(cluster)
    for number in range(4):
        load.submit(0, "add", (b"k", number), through=[1, 2])
        cluster.run(300, lambda: cluster.power_failures == 1)  # a block each
    assert cluster.run(MINUTE_MS, lambda: cluster.power_failures == 1), cluster.describe()
    cluster.start(0)
    assert cluster.run(MINUTE_MS, lambda: load.is_done and cluster.is_level()), cluster.describe()
    assert has_entered(cluster, 1)


# --- members come and go ---


def test_a_member_leaves_and_its_id_goes_to_another() -> None:
    """D41: five become four; ids are places in a configuration. The one that left signs nothing and says so."""
    cluster = Cluster(replicas=5, protocol=SMALL)
    submit_votes(cluster, compute_next(cluster, machines=(0, 4, 2, 3)))
    assert cluster.run(MINUTE_MS, lambda: are_in(cluster, (0, 2, 3, 4), 1)), cluster.describe()
    assert [cluster.node(replica).replica.replica_id for replica in (0, 4, 2, 3)] == [0, 1, 2, 3]
    cluster.kill(3)
    load = Workload(cluster)
    load.submit(0, "add", (b"k", 1), through=[0, 4])
    assert cluster.run(MINUTE_MS, lambda: load.is_done), cluster.describe()
    if cluster.node(1).replica.epoch == 1:  # it may have been cut off before it saw E certified
        assert cluster.node(1).replica.replica_id == OBSERVER


def test_a_newcomer_starts_as_an_observer_and_votes_from_its_epoch_on() -> None:
    """M58, D37: "joiner is observer": empty disks, a key that no epoch lists yet; four become five."""
    cluster = Cluster(newcomers=1, protocol=SMALL)
    assert cluster.node(4).replica.replica_id == OBSERVER
    submit_votes(cluster, compute_next(cluster, machines=(0, 1, 2, 3, 4)))
    enter(cluster, 1)
    assert cluster.node(4).replica.replica_id == 4
    assert cluster.node(4).replica.state.configuration.quorums.quorum == 4
    cluster.kill(0)
    load = Workload(cluster)
    load.submit(0, "add", (b"k", 1), through=[1, 4])
    assert cluster.run(MINUTE_MS, lambda: load.is_done), cluster.describe()


def test_a_proof_of_the_second_epoch_verifies_with_genesis_alone() -> None:
    """Proof files follow the epochs: every consensus key was replaced meanwhile."""
    cluster = Cluster(protocol=SMALL)
    cluster.run(200)
    submit_votes(cluster, compute_next(cluster, generations=dict.fromkeys(range(4), 1)))
    assert cluster.run(MINUTE_MS, lambda: has_entered(cluster, 1)), cluster.describe()
    assert {node.replica.replica_id for node in cluster.running} == {OBSERVER}, "old keys are worth nothing now"
    for replica in range(4):
        change_key(cluster, replica)
    load = Workload(cluster)
    signed = load.submit(0, "add", (b"k", 1), through=[0, 1])
    assert cluster.run(MINUTE_MS, lambda: load.is_done and cluster.is_level()), cluster.describe()
    cluster.run(50)  # the core knows a certificate before the end of its turn, the ledger after it
    verified = verify_proof(cluster.node(1).chain.receipt_proof(signed.tx_id), cluster.genesis_file)
    assert isinstance(verified, VerifiedReceipt)
    assert (verified.header.epoch, verified.receipt.tx_id) == (1, signed.tx_id)


# --- a replica that lies after its id has changed ---


def test_an_equivocator_of_a_later_epoch_is_convicted_and_nobody_else() -> None:
    """M54, D41: machine 3 is replica 2 of epoch 1 and shows everybody two PREPAREs; who is accused is replica 2 of that
    epoch, by every correct node, and the file convicts it before whoever has the genesis file."""
    cluster = Cluster(protocol=SMALL)
    cluster.run(200)
    submit_votes(cluster, compute_next(cluster, machines=(0, 1, 3, 2)))
    enter(cluster, 1)

    def vote_twice(receiver: int, message: PeerMessage) -> list[PeerMessage]:
        if not isinstance(message, Envelope) or not is_by(cluster, 3, message):
            return [message]
        others = [replace(said, digest=bytes(32)) for said in message.messages if isinstance(said, Prepare)]
        return [message, *(sealed(cluster, 3, other) for other in others)]

    corrupt(cluster, 3, vote_twice)
    load = Workload(cluster)
    load.submit(0, "add", (b"k", 1), through=[0, 1])
    convicted = lambda: all(cluster.machines[machine].evidence for machine in (0, 1, 2))  # noqa: E731
    assert cluster.run(MINUTE_MS, lambda: load.is_done and convicted()), cluster.describe()
    for machine in (0, 1, 2):
        pieces, chain = cluster.machines[machine].evidence, cluster.node(machine).chain
        assert {(piece.epoch, piece.replica, piece.kind) for piece in pieces} == {(1, 2, "equivocation_prepare")}
        file = encode_evidence(pieces[0], cluster.genesis.network_id, chain.epoch_links(1))
        proved = judge(file, cluster.genesis_file)
        assert (proved.epoch, proved.replica, proved.kind) == (1, 2, "equivocation_prepare")
    accusation = cluster.machines[0].evidence[0]
    cluster.checkers.liars.remove(3)
    cluster.checkers.liars.add(2)  # machine 2 is replica 3 of this epoch: the checker must not take ids for machines
    with pytest.raises(Violation, match="machine 3 is accused"):
        cluster.checkers.check_evidence(accusation, cluster.node(0).chain.epoch_links(1))


@pytest.mark.parametrize("kind", ["equivocating", "false_votes", "absurd_views", "invalid_view_change", "flooding"])
def test_a_traitor_signs_by_its_id_of_a_later_epoch(kind: str) -> None:
    """Machine 3 is replica 1 of epoch 1, and its first primary: what it says is of that epoch and under that id, so
    that it is judged for what it says; the others get on, and the checkers watch."""
    cluster = Cluster(protocol=SMALL)
    cluster.run(200)
    submit_votes(cluster, compute_next(cluster, machines=(0, 3, 1, 2)))
    enter(cluster, 1)
    traitors = Traitors(cluster, [(3, kind)], cluster.random, lying_doors=False)
    load = Workload(cluster)
    for number in range(12):
        load.submit(0, "add", (b"k", number), through=[0, 1])
        cluster.run(2_000)  # some say what nobody asks for, so often
        assert cluster.run(10 * MINUTE_MS, lambda: load.is_done), cluster.describe()
    refused = sum((cluster.machines[machine].counters for machine in (0, 1, 2)), Counter[str]())
    if kind != "flooding":  # which also pours out bytes that nobody signed
        forged = [name for name in refused if name.startswith("frame_refused") and name.endswith("signature")]
        assert not forged
    assert not refused["message_dropped:wrong_epoch"]
    assert {effect.split(":")[1] for effect in traitors.effects if effect.startswith("traitor:")} == {kind}
