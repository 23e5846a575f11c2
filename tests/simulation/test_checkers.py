"""Each property of `violation.PROPERTIES` is broken here once, by hand, and reported under its name.

Each is a healthy cluster whose state, disk, frames or past somebody falsifies: a checker that looks away fails here.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from ledger.store import Put
from pbft.core.actions import Evidence
from pbft.core.config import TIMER_DOUBLINGS_MAX
from pbft.core.messages import Commit, HeaderVote, Prepare, SignedMessage, SlotEntry
from pbft.core.persisted import (
    OWN_VIEW_CHANGE_KEY,
    VIEW_KEY,
    body_key,
    encode_entry,
    encode_view,
    encode_voted,
    prepared_key,
    voted_key,
)
from pbft.core.replica_state import PeerNotes, ReplicaState
from pbft.core.view_change import compute_own_view_change
from pbft.node.journal import Journal
from pbft.simulation import outcome
from pbft.simulation.bounds import NOTES_LIMITS, STATE_LIMITS
from pbft.simulation.checkers import CLOCK_ERROR_MAX_MS, PRIVATE_MARKER
from pbft.simulation.clients import Clients
from pbft.simulation.cluster import Cluster
from pbft.simulation.liars import sealed
from pbft.simulation.violation import PROPERTIES, Violation
from pbft.wire.client_frames import Replies
from pbft.wire.codec import encode_peer

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "pbft" / "simulation").glob("*.py"))
REQUESTS = 6


def run_clients(requests: int = REQUESTS) -> tuple[Cluster, Clients]:
    """A healthy cluster of four that has executed some requests and certified its head."""
    cluster = Cluster()
    cluster.checkers.submitted = set()
    clients = Clients(cluster)
    for number in range(requests):
        signed = clients.sign(number % 2, "add", [outcome.TOTAL_KEY, 1])
        cluster.checkers.submitted.add(signed.raw)
        clients.submit(signed)
    assert cluster.run(20_000, until=lambda: clients.is_done and outcome.is_level(cluster))
    return cluster, clients


def expect(checker: str, act: Callable[[], object]) -> None:
    with pytest.raises(Violation) as caught:
        act()
    assert caught.value.checker == checker, caught.value


def say(cluster: Cluster, replica: int, *messages: SignedMessage) -> None:
    """A frame with these messages leaves a replica."""
    frame = encode_peer(sealed(cluster, replica, *messages))
    cluster.checkers.liars.discard(replica)
    cluster.checkers.check_sent(replica, cluster.node(replica), cluster.machines[replica].journal, frame)


def journal(cluster: Cluster, replica: int, key: bytes, value: bytes | None) -> None:
    """A record of a replica's journal, put or removed."""
    records = Journal(cluster.machines[replica].journal)
    records.append(key, value)
    records.sync()


def check_turn(cluster: Cluster, replica: int) -> None:
    door = cluster.machines[replica].door
    assert door is not None
    cluster.checkers.check_turn(replica, cluster.node(replica), door)


def test_every_name_is_used_and_every_use_has_a_name() -> None:
    """The table of properties is what the checkers report, neither more nor less."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    assert {name for name in PROPERTIES if f'Violation("{name}"' not in text} == set()
    with pytest.raises(AssertionError, match="nonsense"):
        Violation("nonsense", "")


# --- of the ledgers ---


def test_agreement() -> None:
    cluster, _ = run_clients()
    cluster.checkers.headers[1] = bytes(32)
    expect("agreement", lambda: cluster.restart(2))
    cluster, _ = run_clients()
    block = cluster.node(0).chain.block(1)
    forged = replace(block, header=replace(block.header, state_root=bytes(32)))
    expect("agreement", lambda: cluster.checkers.process_block(0, forged, cluster.now_ms))


def test_validity() -> None:
    """A transaction that no client signed, in a block that was checked before as it should be; a time that no clock
    shows (D60, A2 of M40)."""
    cluster, _ = run_clients()
    block, now_ms = cluster.node(0).chain.block(1), cluster.now_ms
    cluster.checkers.submitted = set(block.transactions)
    forged = replace(block, transactions=(b"unsigned",))
    expect("validity", lambda: cluster.checkers.process_block(0, forged, now_ms))
    ahead = replace(block, batch_time_ms=now_ms + CLOCK_ERROR_MAX_MS + 1)
    expect("validity", lambda: cluster.checkers.process_block(0, ahead, now_ms))


def test_exactly_once() -> None:
    """A receipt of one height at another one; and a sum that the clients' outcomes do not give."""
    cluster, clients = run_clients()
    block = cluster.node(0).chain.block(1)
    moved = replace(block, header=replace(block.header, height=99))
    expect("exactly once", lambda: cluster.checkers.process_block(0, moved, cluster.now_ms))
    clients.sessions.pop()
    expect("exactly once", lambda: outcome.check_outcome(cluster, clients))


def test_certificates() -> None:
    """One signature too few in what a replica goes by, and a certificate for a header that was not executed."""
    cluster, _ = run_clients()
    state = cluster.node(1).replica.state
    assert state.certificate is not None
    state.certificate = replace(state.certificate, signatures=state.certificate.signatures[1:])
    expect("certificates", lambda: check_turn(cluster, 1))
    cluster, _ = run_clients()
    cluster.checkers.certified.clear()
    cluster.checkers.headers[cluster.node(1).chain.height] = bytes(32)
    expect("certificates", lambda: cluster.checkers.check_certificates([cluster.node(1)]))


def test_state() -> None:
    """A value of the world state changes behind the ledger's back."""
    cluster, clients = run_clients()
    ledger = cluster.machines[3].ledger
    key, value = next(iter(ledger.scan("state")))
    ledger.write([Put("state", key, value + b"\x00")])
    expect("state", lambda: outcome.check_outcome(cluster, clients))


@pytest.mark.parametrize("name", ["view", "executed_height"])
def test_monotonic(name: str) -> None:
    cluster, _ = run_clients()
    state = cluster.node(2).replica.state
    check_turn(cluster, 2)
    setattr(state, name, getattr(state, name) + 1)
    check_turn(cluster, 2)
    setattr(state, name, getattr(state, name) - 1)
    expect("monotonic", lambda: check_turn(cluster, 2))


# --- of what replicas say ---


def test_journal_first() -> None:
    """Each promise that the journal does not hold, or holds otherwise, is reported as it leaves (M25)."""
    cluster, _ = run_clients()
    height = cluster.node(1).chain.height + 1
    digest = bytes([5]) * 32
    own = compute_own_view_change(cluster.node(1).replica.state)
    signature = cluster.replica_key(1).sign(b"")
    for message in (
        Prepare(epoch=0, view=0, height=height, digest=digest),
        Commit(epoch=0, view=0, height=height, digest=digest),
        HeaderVote(epoch=0, height=height, header_hash=digest, signature=signature),
        replace(own, view=1),
    ):
        expect("journal first", lambda m=message: say(cluster, 1, m))


def test_journal_first_reads_what_the_record_says() -> None:
    """A record under the right key with another digest, view or bytes in it is no promise."""
    cluster, _ = run_clients()
    height = cluster.node(1).chain.height + 1
    entry = SlotEntry(height=height, digest=bytes([4]) * 32, view=0)
    journal(cluster, 1, prepared_key(height), encode_entry(entry))
    journal(cluster, 1, voted_key(height), encode_voted(bytes([4]) * 32))
    say(cluster, 1, Commit(epoch=0, view=0, height=height, digest=bytes([4]) * 32))
    expect("journal first", lambda: say(cluster, 1, Commit(epoch=0, view=1, height=height, digest=bytes([4]) * 32)))
    false = HeaderVote(epoch=0, height=height, header_hash=bytes([5]) * 32, signature=bytes(64))
    expect("journal first", lambda: say(cluster, 1, false))
    own = replace(compute_own_view_change(cluster.node(1).replica.state), view=1)
    journal(cluster, 1, VIEW_KEY, encode_view(0, 1, active=False))
    journal(cluster, 1, OWN_VIEW_CHANGE_KEY, b"")
    expect("journal first", lambda: say(cluster, 1, own))


def make_promise(cluster: Cluster, replica: int, view: int, digest: bytes) -> Commit:
    """A COMMIT above h that the journal of the replica holds."""
    height = cluster.node(replica).chain.height + 1
    journal(cluster, replica, prepared_key(height), encode_entry(SlotEntry(height=height, digest=digest, view=view)))
    journal(cluster, replica, VIEW_KEY, encode_view(0, view, active=True))
    return Commit(epoch=0, view=view, height=height, digest=digest)


def test_one_voice() -> None:
    """Two COMMITs for one (view, height), a restart between them."""
    cluster, _ = run_clients()
    say(cluster, 1, make_promise(cluster, 1, 0, bytes([4]) * 32))
    second = make_promise(cluster, 1, 0, bytes([5]) * 32)
    expect("one voice", lambda: say(cluster, 1, second))


def test_left_view() -> None:
    """A COMMIT in view 0 for the first time, after a VIEW-CHANGE for view 1; one in view 1 is none."""
    cluster, _ = run_clients()
    cluster.checkers.promises.left[1] = (0, 1)
    expect("left view", lambda: say(cluster, 1, make_promise(cluster, 1, 0, bytes([4]) * 32)))
    say(cluster, 1, make_promise(cluster, 1, 1, bytes([4]) * 32))


def test_a_view_is_left_by_the_view_change_itself() -> None:
    """The real thing: who is cut off and suspects its primary has left view 0 by its own bytes."""
    cluster = Cluster()
    clients = Clients(cluster)
    cluster.network.partition({3}, {0, 1, 2})
    clients.submit(clients.sign(1, "add", [outcome.TOTAL_KEY, 1]), first=3)
    assert cluster.run(20_000, until=lambda: cluster.node(3).replica.view >= 1)
    assert cluster.checkers.promises.left[3] >= (0, 1)
    assert ("ViewChange", (0, 1), 0) in {key for replica, key in cluster.checkers.promises.said if replica == 3}


def test_prepared() -> None:
    """Two correct replicas, each consistent with itself, prepare two digests in one view."""
    cluster, _ = run_clients()
    say(cluster, 1, make_promise(cluster, 1, 0, bytes([4]) * 32))
    expect("prepared", lambda: say(cluster, 2, make_promise(cluster, 2, 0, bytes([5]) * 32)))


def test_privacy() -> None:
    cluster, _ = run_clients()
    expect("privacy", lambda: cluster.machines[0].ledger.write([Put("state", b"k", PRIVATE_MARKER)]))


def test_evidence() -> None:
    """An accusation of a replica that nobody made say anything false."""
    cluster, _ = run_clients()
    first = sealed(cluster, 1, Prepare(epoch=0, view=0, height=1, digest=bytes(32)))
    cluster.checkers.liars.clear()
    accusation = Evidence(replica=1, kind="equivocation_prepare", view=0, height=1, first=first, second=first)
    expect("evidence", lambda: cluster.checkers.check_evidence(accusation, ()))
    cluster.checkers.liars.add(1)
    expect("evidence", lambda: cluster.checkers.check_evidence(accusation, ()))


def test_deposal() -> None:
    """Who keeps two proposals of a primary for one height and stays in its view; not who keeps two votes."""
    cluster, _ = run_clients()
    for kind in ("equivocation_commit", "equivocation_pre_prepare"):
        check_turn(cluster, 2)
        word = sealed(cluster, 0, Commit(epoch=0, view=0, height=1, digest=bytes(32)))
        kept = Evidence(replica=0, kind=kind, view=0, height=1, first=word, second=word)
        cluster.checkers.process_kept(2, kept)
    check_turn(cluster, 1)
    expect("deposal", lambda: check_turn(cluster, 2))


# --- of each node ---

COLLECTIONS = (dict, list, set)


def test_every_collection_of_a_replica_has_its_limit() -> None:
    """Who adds a collection to the state of a replica names its limit in `bounds`."""
    cluster = Cluster()
    state = cluster.node(0).replica.state
    found = {field.name for field in fields(ReplicaState) if isinstance(getattr(state, field.name), COLLECTIONS)}
    assert found == set(STATE_LIMITS)
    notes = PeerNotes()
    found = {f.name for f in fields(PeerNotes) if hasattr(getattr(notes, f.name), "__len__")}
    assert found == set(NOTES_LIMITS)


@pytest.mark.parametrize("name", sorted(STATE_LIMITS))
def test_bounds_of_each_collection(name: str) -> None:
    """One element more than the limit is reported."""
    cluster, _ = run_clients(1)
    state = cluster.node(0).replica.state
    many = range(STATE_LIMITS[name](state) + 1)
    full: object = dict.fromkeys(many)
    if isinstance(getattr(state, name), list):
        full = list(many)
    elif isinstance(getattr(state, name), set):
        full = set(many)
    setattr(state, name, full)
    expect("bounds", lambda: check_turn(cluster, 0))


def test_bounds_of_slots_peers_and_doors() -> None:
    """A slot below h or beyond both windows, a timer beyond its cap, too many early envelopes, a door's wrong count."""
    cluster, _ = run_clients()
    state = cluster.node(0).replica.state
    state.slot(state.certified_height)
    expect("bounds", lambda: check_turn(cluster, 0))
    cluster, _ = run_clients()
    state = cluster.node(0).replica.state
    above = state.high_watermark + 1
    state.slot(above)
    expect("bounds", lambda: check_turn(cluster, 0))
    state.reproposed_top = above + state.configuration.window - 1
    check_turn(cluster, 0)
    state.reproposed_top += 1
    expect("bounds", lambda: check_turn(cluster, 0))
    cluster, _ = run_clients()
    cluster.node(0).replica.state.doublings = TIMER_DOUBLINGS_MAX + 1
    expect("bounds", lambda: check_turn(cluster, 0))
    cluster, _ = run_clients()
    notes = next(iter(cluster.node(0).replica.state.peers.values()))
    notes.early.extend([None] * (NOTES_LIMITS["early"](state) + 1))  # type: ignore[list-item]
    expect("bounds", lambda: check_turn(cluster, 0))
    cluster, _ = run_clients()
    door = cluster.machines[0].door
    assert door is not None
    door._waiting._count += 1
    expect("bounds", lambda: check_turn(cluster, 0))
    door._waiting._count -= 1
    check_turn(cluster, 0)
    door._questions._count += 1
    expect("bounds", lambda: check_turn(cluster, 0))


# --- of what clients are told ---


def test_durable_reply() -> None:
    """A receipt told before its block, or what makes it, is on the disk, and one that the block does not hold."""
    cluster, clients = run_clients()
    reply = next(s.outcome.reply for s in clients.sessions if s.outcome is not None)
    assert reply is not None
    ledger, journal = cluster.machines[1].ledger, cluster.machines[1].journal

    def tell(**changes: object) -> None:
        told = replace(reply, **changes).to_bytes()  # type: ignore[arg-type]
        frame = Replies(replies=((1, told),), view_hint=0, primary_hint=0)
        cluster.checkers.check_reply(1, ledger, journal, frame)

    tell()
    expect("durable reply", lambda: tell(height=cluster.node(1).chain.height + 1))
    expect("durable reply", lambda: tell(receipt=b""))
    expect("durable reply", lambda: tell(header_hash=bytes(32)))
    expect("durable reply", lambda: tell(index=reply.index + 1))


def test_durable_reply_before_the_ledger_has_the_block() -> None:
    """Told early: what no journal makes again, two receipts of one place, and another receipt than the block's."""
    cluster, clients = run_clients()
    reply = next(s.outcome.reply for s in clients.sessions if s.outcome is not None)
    assert reply is not None
    machine, checkers = cluster.machines[1], cluster.checkers
    head, digest = cluster.node(1).chain.height, bytes(32)
    block, entry = cluster.node(1).chain.block(head), SlotEntry(height=head + 1, digest=digest, view=0)

    def tell(**changes: object) -> None:
        told = replace(reply, **{"height": head + 1, "header_hash": digest, **changes}).to_bytes()  # type: ignore[arg-type]
        checkers.check_reply(
            1, machine.ledger, machine.journal, Replies(replies=((1, told),), view_hint=0, primary_hint=0)
        )

    expect("durable reply", tell)
    journal(cluster, 1, prepared_key(head + 1), encode_entry(entry))
    expect("durable reply", tell)
    journal(cluster, 1, body_key(digest), reply.tx_id)
    tell()
    expect("agreement", lambda: tell(header_hash=bytes([1] * 32)))
    expect("durable reply", lambda: tell(receipt=b"another"))
    expect("durable reply", lambda: outcome.check_outcome(cluster, clients))
    made = replace(block, header=replace(block.header, height=head + 1), transactions=(), receipts=())
    checkers.headers[head + 1] = made.header.hash
    expect("durable reply", lambda: checkers.process_block(1, made, cluster.now_ms))


def test_replies() -> None:
    """A client believes a receipt that the ledgers do not hold."""
    cluster, clients = run_clients()
    session = clients.sessions[0]
    assert session.outcome is not None and session.outcome.reply is not None
    session.outcome = replace(session.outcome, reply=replace(session.outcome.reply, receipt=b""))
    expect("replies", lambda: outcome.check_outcome(cluster, clients))


# --- of how a run ends ---


def test_completion() -> None:
    cluster, clients = run_clients()
    clients.sessions[0].outcome = None
    expect("completion", lambda: outcome.check_outcome(cluster, clients))


def test_halts() -> None:
    """A correct replica that stopped itself is reported; a full disk excuses it, and a traitor needs no excuse."""
    cluster, _ = run_clients()
    cluster.node(1).driver.stop("the store failed: disk_full")
    outcome.check_halts(cluster)
    cluster.node(2).driver.stop("for no reason")
    expect("halts", lambda: outcome.check_halts(cluster))
    cluster.checkers.faulty.add(2)
    outcome.check_halts(cluster)


def test_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that hands out the proof of another transaction."""
    cluster, clients = run_clients()
    other = cluster.node(0).chain.receipt_proof(clients.sessions[0].submission.tx_id)
    for node in cluster.running:
        monkeypatch.setattr(node.chain, "receipt_proof", lambda tx_id: other)
    expect("proofs", lambda: outcome.check_outcome(cluster, clients))
