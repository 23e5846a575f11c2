"""Whole nodes that take a snapshot: far behind, with crashes in the middle, with sources that lie or fall silent.

Small windows and a small lag make the transfers; the checkers of every run hold throughout. D15, D39, M46, M48.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from simulation.test_cluster import expect_done, total

from ledger import snapshot
from ledger.configuration import ProtocolParameters
from ledger.encoding import decode, encode
from pbft.core.messages import (
    CertificateNotice,
    Envelope,
    FetchSnapshotChunk,
    Forward,
    HeaderVote,
    PeerMessage,
    SnapshotChunk,
    SnapshotOffer,
    Status,
)
from pbft.core.quorum import Quorums
from pbft.simulation.cluster import Cluster
from pbft.simulation.disk import PowerFailure
from pbft.simulation.liars import corrupt
from pbft.simulation.workload import Workload

PROTOCOL = ProtocolParameters(window=16, stride=4)
LAG = 32
FIRST = encode((1, bytes(32)))
"""The position of a snapshot's first chunk."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few items a chunk, so that a small ledger takes a while."""
    monkeypatch.setattr(snapshot, "CHUNK_ENTRIES_MAX", 8)
    monkeypatch.setattr(snapshot, "CHUNK_HEADERS_MAX", 16)
    monkeypatch.setattr(snapshot, "CHUNK_ANSWERS_MAX", 16)


def make_cluster(seed: int = 0, *, replicas: int = 4) -> tuple[Cluster, Workload]:
    """A network whose replicas take a snapshot when they are 32 heights behind."""
    cluster = Cluster(seed=seed, replicas=replicas, protocol=PROTOCOL, snapshot_lag=LAG)
    return cluster, Workload(cluster)


def grow(cluster: Cluster, load: Workload, blocks: int) -> None:
    """So many blocks of one addition, each under another key."""
    for number in range(blocks):
        load.submit(number % 3, "add", [b"key %d" % (number % 40), 1], through=[1])
        load.submit(number % 3, "add", [b"total", 1], through=[1])
        assert cluster.run(4_000, until=lambda: load.is_done), cluster.describe()


def installed(cluster: Cluster, replica: int) -> int:
    """How many snapshots a machine has installed, over its restarts."""
    return cluster.machines[replica].counters["snapshot_installed"]


def test_a_replica_far_behind_takes_a_snapshot_and_goes_on_by_blocks() -> None:
    """D15, D39: state, answers and headers arrive; what came meanwhile follows by blocks; it votes, and serves."""
    cluster, load = make_cluster()
    cluster.run(200)
    grow(cluster, load, 3)
    cluster.kill(3)
    grow(cluster, load, 40)
    cluster.start(3)
    expect_done(cluster, load, 10_000)
    chain = cluster.node(3).chain
    assert installed(cluster, 3) == 1
    assert chain.gaps and chain.gaps[0][0] > 1
    assert total(cluster, 3) == 43
    cluster.kill(0)  # now its votes are needed
    grow(cluster, load, 3)
    expect_done(cluster, load, 10_000)
    assert total(cluster, 3) == 46


def test_a_replica_a_little_behind_takes_blocks() -> None:
    """Below the lag nothing is skipped (D28)."""
    cluster, load = make_cluster()
    cluster.run(200)
    cluster.kill(3)
    grow(cluster, load, LAG // 2 - 1)
    cluster.start(3)
    expect_done(cluster, load, 10_000)
    assert installed(cluster, 3) == 0
    assert cluster.node(3).chain.gaps == ()


def test_retransmissions_after_a_snapshot_get_the_first_answer() -> None:
    """D39, D43: the replica that skipped the blocks repeats the receipts of every nonce that can still be asked for."""
    cluster, load = make_cluster()
    cluster.run(200)
    cluster.kill(3)
    grow(cluster, load, 40)
    cluster.start(3)
    expect_done(cluster, load, 10_000)
    assert installed(cluster, 3) == 1
    for request in load.outstanding.values():
        transaction = request.signed.transaction
        answers = [cluster.node(r).chain.find_used(transaction.sender, transaction.nonce) for r in (0, 3)]
        assert answers[0] is not None and answers[0] == answers[1]


def test_under_load_the_sources_pin_one_height_and_the_transfer_ends() -> None:
    """Blocks come all the time: the pinned snapshot stays as it was, and what follows it comes by blocks."""
    cluster, load = make_cluster(3)
    cluster.run(200)
    cluster.kill(3)
    grow(cluster, load, 40)
    cluster.start(3)
    for number in range(120):
        delay_ms = 10 * number
        cluster.at(delay_ms, lambda c=number % 5: load.submit(c, "add", [b"total", 1], through=[0, 1]))  # type: ignore[misc]
    expect_done(cluster, load, 20_000)
    assert installed(cluster, 3) >= 1
    assert total(cluster, 3) == 160


def test_nothing_begins_on_one_replicas_word() -> None:
    """M46: a STATUS that claims a million heights starts no transfer, of blocks or of a snapshot."""
    cluster, load = make_cluster()

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        return [replace(message, executed_height=1_000_000)] if isinstance(message, Status) else [message]

    corrupt(cluster, 2, lie)
    cluster.checkers.faulty.add(2)
    grow(cluster, load, 5)
    cluster.run(5_000)
    assert all(
        node.replica.state.snapshot is None and node.replica.state.fetch_source is None for node in cluster.running
    )


LIES = {
    "a changed byte": lambda m: replace(m, chunk=m.chunk[:-1] + bytes([m.chunk[-1] ^ 1])),
    "an empty chunk": lambda m: replace(m, chunk=encode([None, [], []])),
    "an item less": lambda m: replace(m, chunk=_without_an_item(m.chunk)),
    "another position": lambda m: replace(m, position=encode((1, bytes(32)))),
    "another height": lambda m: replace(m, height=m.height + 1),
    "nothing at all": lambda m: None,
}


def _without_an_item(chunk: bytes) -> bytes:
    value = decode(chunk)
    assert isinstance(value, list)
    for part in value:
        if isinstance(part, list) and part:
            del part[0]
            return encode(value)
    return encode(value[1:])


@pytest.mark.parametrize("lie_name", sorted(LIES))
def test_a_lying_source_is_left_and_its_chunk_thrown_away(lie_name: str) -> None:
    """M46: chunk by chunk the sources rotate; the liar is found at its first false chunk, and the others serve on."""
    cluster, load = make_cluster()
    told = 0

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        nonlocal told
        if not isinstance(message, SnapshotChunk):
            return [message]
        told += 1
        changed = LIES[lie_name](message)
        return [] if changed is None else [changed]

    cluster.run(200)
    corrupt(cluster, 1, lie)
    cluster.checkers.faulty.add(1)
    cluster.kill(3)
    grow(cluster, load, 40)
    cluster.start(3)
    expect_done(cluster, load, 30_000)
    assert installed(cluster, 3) == 1
    assert told >= 1
    state = cluster.node(3).replica.state
    is_proved = lie_name in {"a changed byte", "an empty chunk", "an item less"}
    assert state.snapshot_liars == ({1} if is_proved else set())
    if is_proved:
        assert told == 1, "a liar is asked once"
    assert total(cluster, 3) == 40


def test_sources_that_fall_silent_are_replaced() -> None:
    """A source dies in the middle: the others that hold the height go on; when none does, another height is found."""
    cluster, load = make_cluster()
    cluster.run(200)
    cluster.kill(3)
    grow(cluster, load, 40)
    cluster.start(3)
    busy = lambda: (t := cluster.node(3).replica.state.snapshot) is not None and t.chunks >= 2  # noqa: E731
    assert cluster.run(5_000, until=busy), cluster.describe()
    for replica in (0, 1, 2):
        cluster.restart(replica)  # nobody holds what it pinned
    load.submit(1, "add", [b"total", 1], through=[0, 1, 2])
    expect_done(cluster, load, 60_000)
    assert total(cluster, 3) == 41


def test_every_source_answers_no_more_than_it_may() -> None:
    """M50, M55: questions without end cost a source two chunks in 100 ms."""
    cluster, load = make_cluster()
    grow(cluster, load, 10)
    height = cluster.node(0).chain.height
    question = FetchSnapshotChunk(height=height, position=FIRST)
    before = cluster.node(0).execution.snapshots.served
    node = cluster.node(0)
    for _ in range(200):
        node.driver._actions += node.replica.receive(2, question)
    node.driver.flush()
    assert node.execution.snapshots.served - before <= 2


def test_what_one_replica_asks_for_takes_nothing_from_another() -> None:
    """M50: a liar that asks for an offer after each block holds one snapshot, and the laggard keeps its own."""
    cluster, load = make_cluster()
    grow(cluster, load, 2)
    node = cluster.node(0)
    snapshots = node.execution.snapshots
    is_certified = lambda: node.chain.certificate(node.chain.height) is not None  # noqa: E731
    assert cluster.run(2_000, until=is_certified), cluster.describe()
    offer = snapshots.compute_offer(3, 0)
    assert offer is not None
    held = offer.certificate.height
    for _ in range(3 * PROTOCOL.window):
        grow(cluster, load, 1)
        assert cluster.run(2_000, until=is_certified), cluster.describe()
        snapshots.compute_offer(2, node.chain.height - 1)
        assert snapshots.compute_chunk(3, held, FIRST) is not None
        assert snapshots.compute_chunk(2, node.chain.height, FIRST) is not None
    mine, its = node.chain.height, held
    grow(cluster, load, 1)
    assert cluster.run(2_000, until=is_certified), cluster.describe()
    assert [snapshots.compute_chunk(2, height, FIRST) is not None for height in (mine, its)] == [True, True]
    assert snapshots.compute_chunk(3, mine, FIRST) is None, "let go of when its only holder moved on"


@pytest.mark.parametrize("writes", [1, 2, 4, 9, 14, 19, 24])
@pytest.mark.parametrize("disk", ["ledger", "journal"])
def test_power_fails_in_the_middle_of_a_transfer(disk: str, writes: int) -> None:
    """D39: at any write of ledger or journal: it starts again from the old ledger or the new one, and gets there."""
    cluster, load = make_cluster(writes)
    cluster.run(200)
    cluster.kill(3)
    grow(cluster, load, 40)
    cluster.start(3)
    getattr(cluster.machines[3], disk).fail_power(writes)
    cluster.run(20_000, until=lambda: cluster.machines[3].node is None)
    if cluster.machines[3].node is None:
        cluster.start(3)
    cluster.machines[3].ledger.repair()
    cluster.machines[3].journal.repair()
    load.submit(1, "add", [b"total", 1], through=[0, 1, 2])
    expect_done(cluster, load, 30_000)
    assert cluster.node(3).chain.gaps
    assert total(cluster, 3) == 41


def test_killed_at_each_moment_of_a_transfer() -> None:
    """Killed again and again, a little later each time: it always comes back from its disks, and at last arrives."""
    cluster, load = make_cluster(7)
    cluster.run(200)
    cluster.kill(3)
    grow(cluster, load, 40)
    for life_ms in range(100, 900, 60):
        cluster.start(3)
        cluster.run(life_ms)
        cluster.kill(3)
    cluster.start(3)
    expect_done(cluster, load, 20_000)
    assert total(cluster, 3) == 40


def test_a_crash_between_the_switch_and_the_journal_is_made_good() -> None:
    """D25, D35: the ledger is ahead of the journal's h; at start the certificate that came with it moves h."""
    cluster, load = make_cluster()
    cluster.run(200)
    cluster.kill(3)
    grow(cluster, load, 40)
    cluster.start(3)
    machine = cluster.machines[3]
    journal = machine.journal
    assert cluster.run(10_000, until=lambda: installed_soon(cluster)), cluster.describe()
    real = machine.node.execution.install_snapshot  # type: ignore[union-attr]

    def install(pending: object) -> None:
        real(pending)  # type: ignore[arg-type]
        raise PowerFailure

    machine.node.execution.install_snapshot = install  # type: ignore[assignment, method-assign, union-attr]
    assert cluster.run(10_000, until=lambda: machine.node is None)
    assert journal is machine.journal
    cluster.start(3)
    node = cluster.node(3)
    assert node.replica.certified_height == node.chain.height == 40
    expect_done(cluster, load, 10_000)
    assert total(cluster, 3) == 40


def installed_soon(cluster: Cluster) -> bool:
    """Whether the state of the snapshot has begun to arrive at replica 3."""
    transfer = cluster.node(3).replica.state.snapshot
    return transfer is not None and transfer.chunks >= 1


def test_a_view_change_does_not_wait_for_a_transfer() -> None:
    """M48: while a replica takes a snapshot it changes views with the others, votes, and keeps its view at the jump."""
    cluster, load = make_cluster()
    cluster.run(200)
    cluster.kill(3)
    grow(cluster, load, 40)
    cluster.start(3)
    assert cluster.run(5_000, until=lambda: installed_soon(cluster)), cluster.describe()
    cluster.kill(0)  # the primary; the view change needs R3
    load.submit(1, "add", [b"total", 1], through=[1, 2])
    expect_done(cluster, load, 60_000)
    assert installed(cluster, 3) >= 1
    assert {node.replica.view for node in cluster.running} != {0}
    assert total(cluster, 3) == 41


def test_who_skipped_blocks_sends_others_to_a_snapshot() -> None:
    """When nobody holds the blocks any more, even a replica a little behind takes a snapshot (D52)."""
    cluster, load = make_cluster()
    cluster.run(200)
    cluster.kill(3)
    grow(cluster, load, 10)
    for replica in (0, 1, 2):
        cluster.node(replica).chain.gaps = ((2, 8),)
        assert cluster.node(replica).execution.compute_blocks(2) is None
    cluster.start(3)
    expect_done(cluster, load, 30_000)
    assert installed(cluster, 3) == 1
    assert total(cluster, 3) == 10


def test_an_offer_for_another_header_is_refused() -> None:
    """What an offer says is its header, under a certificate for exactly that one."""
    cluster, load = make_cluster()
    cluster.run(200)
    corrupted = 0

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        nonlocal corrupted
        if not isinstance(message, SnapshotOffer):
            return [message]
        corrupted += 1
        chain = cluster.node(1).chain
        return [replace(message, header=chain.header(chain.height - 1).to_bytes())]

    corrupt(cluster, 1, lie)
    cluster.checkers.faulty.add(1)
    cluster.kill(3)
    grow(cluster, load, 40)
    cluster.start(3)
    expect_done(cluster, load, 20_000)
    assert corrupted and cluster.machines[3].counters["message_dropped:offer_certificate"] >= 1
    assert total(cluster, 3) == 40


def test_a_source_that_offers_and_never_delivers_does_not_keep_a_laggard_from_blocks() -> None:
    """M46, M48, D15: the liar alone has the newest certificate, because it keeps its own header vote back; so it alone
    can offer a snapshot, and it sends no chunk. The others hold every block, and need the laggard's vote."""
    cluster, load = make_cluster()
    cluster.run(200)
    cluster.kill(3)
    grow(cluster, load, 40)
    cluster.run(2_000)
    only_offers = False

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        if only_offers:
            return [message] if isinstance(message, SnapshotOffer) else []
        return [] if isinstance(message, Forward | CertificateNotice) or _votes_on(message, 41) else [message]

    corrupt(cluster, 1, lie)
    cluster.checkers.faulty.add(1)
    grow(cluster, load, 1)
    cluster.run(500)
    assert [cluster.node(replica).replica.certified_height for replica in (0, 1, 2)] == [40, 41, 40]
    only_offers = True
    cluster.start(3)
    load.submit(1, "add", [b"total", 1], through=[0])
    expect_done(cluster, load, 60_000)
    assert total(cluster, 3) == 42


def _votes_on(message: PeerMessage, height: int) -> bool:
    """Whether it is an envelope with a header vote on this height."""
    votes = message.messages if isinstance(message, Envelope) else ()
    return any(isinstance(vote, HeaderVote) and vote.height == height for vote in votes)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_certified_is_held_by_a_quorum_whoever_skips_blocks(seed: int) -> None:
    """D25, D15: replicas go and come back, and take snapshots from 4 heights behind on. Whoever skips a block skips up
    to a certified height, and each block below one was executed, so is held, by all who voted for the first such
    height: by Q replicas, of whom Q - f are correct. So nobody waits for a block that only its own vote could bring."""
    cluster = Cluster(seed=seed, replicas=7, protocol=PROTOCOL, snapshot_lag=4)
    load, quorums = Workload(cluster), Quorums.of(7)
    skipped: set[int] = set()
    for _ in range(6):
        away = cluster.random.sample(range(7), quorums.f)
        for replica in away:
            cluster.kill(replica)
        through = next(replica for replica in range(7) if replica not in away)
        for number in range(cluster.random.randint(6, 12)):
            load.submit(number % 3, "add", [b"total", 1], through=[through])
            assert cluster.run(20_000, until=lambda: load.is_done), cluster.describe()
        for replica in away:
            cluster.start(replica)
        expect_done(cluster, load)
        chains = [node.chain for node in cluster.running]
        top = max(node.replica.certified_height for node in cluster.running)
        holders = [sum(chain.has_body(height) for chain in chains) for height in range(1, top + 1)]
        assert min(holders) >= quorums.quorum
        assert all(chain.certificate(last) is not None for chain in chains for _, last in chain.gaps)
        skipped |= {replica for replica, chain in enumerate(chains) if chain.gaps}
    assert len(skipped) >= 2, "more than one replica skipped blocks"
