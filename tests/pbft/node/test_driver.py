"""The driver's order and its refusals, seen on production nodes with watched disks and links (D3, D34, M5)."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ledger.store import MemoryStore, Operation
from pbft.core.actions import Reclaim
from pbft.core.messages import (
    Batches,
    BlockBody,
    Blocks,
    CertificateNotice,
    Envelope,
    FetchBatches,
    Forward,
    PrePrepare,
    Relay,
)
from pbft.core.persisted import VIEW_KEY
from pbft.node.journal import JOURNAL_TABLE
from pbft.simulation.cluster import Cluster
from pbft.simulation.founding import GENESIS_TIME_MS
from pbft.simulation.workload import Workload
from pbft.wire.codec import decode_peer, encode_peer, parse_request


def watch(cluster: Cluster, replica: int) -> list[str]:
    """What a node does to the world from now on, in order: syncs of its journal, writes of its ledger, frames."""
    machine, log = cluster.machines[replica], []

    def observe(store: MemoryStore, name: str) -> None:
        write = store.write

        def watched(operations: Sequence[Operation]) -> None:
            log.append(name)
            write(operations)

        store.write = watched  # type: ignore[method-assign]

    observe(machine.journal, "sync")
    observe(machine.ledger, "block")
    send = cluster.network.send

    def watched_send(sender: int, receiver: int, frame: bytes) -> None:
        message = decode_peer(frame, cluster.node(0).rules)
        if sender == replica and receiver == (replica + 1) % 4 and isinstance(message, Envelope):
            log.extend(type(inner).__name__ for inner in message.messages)
        send(sender, receiver, frame)

    cluster.network.send = watched_send  # type: ignore[method-assign]
    return log


def test_persist_sync_send_execute() -> None:
    """D3, D34: at a backup each vote follows its sync, the block follows the COMMIT, the header vote the block. The
    ledger's copy of the certificate waits for the next block or a quiet second (D25).
    """
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    log = watch(cluster, 1)
    load.submit(1, "add", [b"total", 1], through=[0])
    assert cluster.run(2_000, until=lambda: load.is_done and cluster.is_level())
    cluster.run(10)
    assert log == ["sync", "Prepare", "sync", "Commit", "block", "sync", "HeaderVote", "sync"]
    cluster.run(1_100)
    assert log[8:] == ["block"]


def test_work_of_one_turn_shares_one_sync() -> None:
    """Group commit: five proposals handed in before a flush cost one sync, and their votes one envelope (D3, D61)."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    frames: list[bytes] = []
    send = cluster.network.send

    def hold_back(sender: int, receiver: int, frame: bytes) -> None:
        if receiver == 1:
            frames.append(frame)
        else:
            send(sender, receiver, frame)

    cluster.network.send = hold_back  # type: ignore[method-assign]
    for _ in range(5):
        load.submit(1, "add", [b"total", 1], through=[0])
        assert cluster.run(2_000, until=lambda: load.is_done)
    cluster.network.send = send  # type: ignore[method-assign]
    proposals = [f for f in frames if b"register" in f]
    assert len(proposals) == 5
    log = watch(cluster, 1)
    envelopes: list[int] = []
    watched_send = cluster.network.send

    def count(sender: int, receiver: int, frame: bytes) -> None:
        message = decode_peer(frame, cluster.node(0).rules)
        if (sender, receiver) == (1, 2) and isinstance(message, Envelope):
            envelopes.append(len(message.messages))
        watched_send(sender, receiver, frame)

    cluster.network.send = count  # type: ignore[method-assign]
    for frame in proposals:
        cluster.node(1).driver.on_frame(0, frame)
    cluster.node(1).driver.flush()
    assert log[:6] == ["sync"] + ["Prepare"] * 5
    assert envelopes[0] == 5


def test_bad_frames_are_counted_and_dropped() -> None:
    """M5: garbage, a foreign key's signature and another replica's envelope with a changed byte reach no core."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    node, counters = cluster.node(1), cluster.machines[1].counters
    before = counters.copy()
    refusals: list[str] = []

    def refuse(why: str) -> bool:
        refusals.append(why)
        return False

    node.driver.on_frame(0, b"", lambda: refuse("empty"))
    node.driver.on_frame(0, b"\xff" * 100, lambda: refuse("garbage"))
    node.driver.on_frame(0, encode_peer(Batches(batches=())), lambda: refuse("of no use is not refused"))
    assert refusals == ["empty", "garbage"]
    captured: list[bytes] = []
    deliver = cluster.network.deliver

    def capture(receiver: int, sender: int, frame: bytes) -> None:
        if isinstance(decode_peer(frame, cluster.node(0).rules), Envelope):
            captured.append(frame)
        deliver(receiver, sender, frame)

    cluster.network.deliver = capture
    load.submit(1, "add", [b"total", 1], through=[0])
    assert cluster.run(2_000, until=lambda: load.is_done)
    node.driver.on_frame(0, captured[0][:-1] + bytes((captured[0][-1] ^ 1,)))
    refused = {name for name, count in (counters - before).items() if name.startswith("frame_refused")}
    assert "frame_refused:envelope_signature" in refused
    assert len(refused) >= 2


def test_a_relay_of_executed_requests_starts_no_timer() -> None:
    """D56: what the ledger has answered is not waited for again, whoever relays it."""
    cluster = Cluster()
    load = Workload(cluster)
    signed = load.submit(1, "add", [b"total", 1], through=[0])
    assert cluster.run(2_000, until=lambda: load.is_done and cluster.is_level())
    relay = encode_peer(Relay(requests=(parse_request(signed.raw, cluster.node(0).rules),)))
    cluster.node(2).driver.on_frame(3, relay)
    assert cluster.node(2).replica.pending_count == 0


@pytest.mark.parametrize("kind", ["batches", "blocks", "forward", "relay"])
def test_what_was_not_asked_for_costs_no_signature(kind: str) -> None:
    """M5, M55: bodies, blocks, old proposals and known requests sent unasked are dropped before one is verified."""
    cluster = Cluster()
    load = Workload(cluster)
    signed = load.submit(1, "add", [b"total", 1], through=[0])
    captured: list[Envelope] = []
    deliver = cluster.network.deliver

    def capture(receiver: int, sender: int, frame: bytes) -> None:
        message = decode_peer(frame, cluster.node(0).rules)
        if isinstance(message, Envelope) and isinstance(message.messages[0], PrePrepare):
            captured.append(message)
        deliver(receiver, sender, frame)

    cluster.network.deliver = capture
    node, counters = cluster.node(2), cluster.machines[2].counters
    assert cluster.run(2_000, until=lambda: load.is_done and cluster.is_level() and node.replica.certified_height == 1)
    proposal = captured[0].messages[0]
    assert isinstance(proposal, PrePrepare)
    request = parse_request(signed.raw, cluster.node(0).rules)
    body = BlockBody(header=node.chain.header(1).to_bytes(), batch=proposal.batch)
    unasked = {
        "batches": Batches(batches=(proposal.batch,)),
        "blocks": Blocks(first_height=1, blocks=(body,), certificate=None),
        "forward": Forward(envelopes=(captured[0],)),
        "relay": Relay(requests=(request,)),
    }[kind]
    before = counters.copy()
    sealer = node.driver._sealer
    node.driver._sealer = replace(sealer, verifier=None)  # type: ignore[type-var, assignment]
    node.driver.on_frame(3, encode_peer(unasked))
    assert counters - before == {f"message_dropped:unwanted_{kind}": 1}


def test_late_ticks_count_once_and_after_the_messages() -> None:
    """D59: a process that stood still for a minute is handed 1,200 ticks before its sockets: one of them counts, and
    what had arrived meanwhile is seen first.
    """
    cluster = Cluster()
    cluster.run(200)
    node = cluster.node(1)
    seen: list[str] = []
    receive, tick = node.replica.receive, node.replica.tick
    node.replica.receive = lambda *given: (seen.append(type(given[1]).__name__), receive(*given))[1]  # type: ignore
    node.replica.tick = lambda *given: (seen.append("tick"), tick(*given))[1]  # type: ignore[method-assign]
    for _ in range(1_200):
        node.driver.tick()
    node.driver.on_frame(2, encode_peer(FetchBatches(digests=(bytes(32),))))
    before = node.replica.state.ticks
    node.driver.flush()
    assert node.replica.state.ticks == before + 1
    assert seen.count("tick") == 1 and seen.index("FetchBatches") < seen.index("tick")


def test_a_stopped_driver_does_nothing() -> None:
    """After `stop` no frame, request or tick has an effect, and the reason is told once."""
    cluster = Cluster()
    node, machine = cluster.node(1), cluster.machines[1]
    cluster.run(200)
    node.driver.stop("told to")
    node.driver.stop("again")
    assert (node.driver.halted, machine.halted, machine.counters["halted:stopped"]) == ("told to", "told to", 1)
    log = watch(cluster, 1)
    load = Workload(cluster)
    load.submit(1, "add", [b"total", 1], through=[0, 1])
    cluster.run(5_000)
    assert log == [] and node.chain.height == 0


def test_answered_requests_are_not_reclaimed() -> None:
    """D43, M24: a lying primary proposes a request that was executed long ago; when its proposal dies, nobody waits for
    what no primary will ever order again. One that has no answer waits."""
    cluster = Cluster()
    load = Workload(cluster)
    done = load.submit(1, "add", [b"total", 1], through=[0, 1])
    assert cluster.run(2_000, until=lambda: load.is_done and cluster.is_level())
    node = cluster.node(2)
    unknown = load.submit(1, "add", [b"total", 1], through=[])
    old, new = (parse_request(raw, node.rules) for raw in (done.raw, unknown.raw))
    node.replica.state.actions.append(Reclaim(requests=(old, new)))
    node.driver.tick()
    node.driver.flush()
    assert list(node.replica.state.pending) == [new.tx_id]


def test_genesis_time_is_the_start() -> None:
    """The factory creates height 0 on an empty ledger, equal everywhere, and finds it again at a restart."""
    cluster = Cluster()
    heads = {node.chain.head.hash for node in cluster.running}
    cluster.restart(2)
    assert heads == {cluster.node(2).chain.head.hash}
    assert cluster.node(2).chain.head.time_ms == GENESIS_TIME_MS
    assert [key for key, _ in cluster.machines[2].journal.scan(JOURNAL_TABLE)] == [VIEW_KEY]


def test_a_certificate_is_a_message_for_everybody() -> None:
    """D28: the newest certificate, sent by any replica, lets a node that executed the block move h."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)
    send = cluster.network.send
    rules = cluster.node(0).rules

    def without_votes_to_3(sender: int, receiver: int, frame: bytes) -> None:
        message = decode_peer(frame, rules)
        is_vote = isinstance(message, Envelope) and type(message.messages[0]).__name__ == "HeaderVote"
        if receiver != 3 or not (is_vote or isinstance(message, CertificateNotice)):
            send(sender, receiver, frame)

    cluster.network.send = without_votes_to_3  # type: ignore[method-assign]
    load.submit(1, "add", [b"total", 1], through=[0])
    assert cluster.run(2_000, until=lambda: cluster.node(0).chain.newest_certificate() is not None)
    assert cluster.node(3).chain.height == 1
    assert cluster.node(3).replica.certified_height == 0
    certificate = cluster.node(0).chain.newest_certificate()
    assert certificate is not None
    cluster.node(3).driver.on_frame(1, encode_peer(CertificateNotice(certificate=certificate)))
    cluster.node(3).driver.flush()
    assert cluster.node(3).replica.certified_height == 1


def test_the_largest_answers_are_read_only_while_one_is_awaited() -> None:
    """M55: bodies and blocks that nobody asked for are dropped by their first byte; what is awaited is read."""
    cluster = Cluster()
    node, counters = cluster.node(1), cluster.machines[1].counters
    answers = (Batches(batches=()), Blocks(first_height=1, blocks=(), certificate=None))
    for answer in answers:
        kind = type(answer).__name__.lower()
        for frame in (encode_peer(answer), encode_peer(answer)[:1] + b"no message"):
            before = counters.copy()
            node.driver.on_frame(2, frame)
            assert counters - before == {f"message_dropped:unwanted_{kind}": 1}
    node.replica.state.missing_bodies.add(bytes(32))
    node.replica.state.fetch_source = 2
    for answer in answers:
        before = counters.copy()
        node.driver.on_frame(2, encode_peer(answer)[:1] + b"no message")
        assert [name.split(":")[0] for name in counters - before] == ["frame_refused"]
    before = counters.copy()
    node.driver.on_frame(3, encode_peer(answers[1]))
    assert counters - before == {"message_dropped:unwanted_blocks": 1}, "from another source than the one asked"
