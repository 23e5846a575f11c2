"""Private payloads in whole networks: all execute them, no disk and no answer shows them, a leak is seen (D50)."""

from random import Random

import pytest

from ledger.archive import PAYLOADS_TABLE
from ledger.errors import StoreError
from ledger.payload_vault import PayloadVault
from pbft.core.messages import Envelope, FetchBatches
from pbft.node.journal import JOURNAL_TABLE
from pbft.simulation.byzantine import Traitors
from pbft.simulation.checkers import PRIVATE_MARKER, Violation, check_private
from pbft.simulation.cluster import Cluster
from pbft.simulation.outcome import TOTAL_KEY, read
from pbft.simulation.workload import Workload
from pbft.wire.codec import decode_envelope, decode_peer, encode_envelope, encode_peer

READING = {"number": 7, "secret": PRIVATE_MARKER}


def submit(load: Workload, *, through: list[int]) -> bytes:
    """A call whose effect depends on its private value; its tx id."""
    return load.submit(1, "add_private", [TOTAL_KEY, 7], private=[READING], through=through).tx_id


def test_every_replica_executes_on_the_private_value_and_keeps_it_sealed() -> None:
    """The contract compares the value with its public argument, so one sum at all replicas shows one value at all."""
    cluster = Cluster()
    load = Workload(cluster)
    frames = 0
    send = cluster.network.send

    def watch(sender: int, receiver: int, frame: bytes) -> None:
        nonlocal frames
        frames += PRIVATE_MARKER in frame
        send(sender, receiver, frame)

    cluster.network.send = watch  # type: ignore[method-assign]
    tx_id = submit(load, through=[0, 1, 2, 3])
    assert cluster.run(5_000, until=lambda: load.is_done and cluster.is_level())
    assert [read(cluster, node, "total", [TOTAL_KEY]) for node in cluster.correct] == [7] * 4
    assert frames > 0, "the checkers looked at frames that held the value"
    sealed = [machine.ledger.get(PAYLOADS_TABLE, tx_id) for machine in cluster.machines]
    assert None not in sealed and len(set(sealed)) == 4, "each replica's own keys"
    assert not any(PRIVATE_MARKER in (data or b"") for data in sealed)


def test_execution_33_a_payload_given_to_few_is_fetched_by_the_rest() -> None:
    """The primary proposes whole to R1 alone, and nothing else of it is whole: R2 and R3 fetch, everybody executes."""
    cluster = Cluster()
    load = Workload(cluster)
    asked: set[int] = set()
    send, rules = cluster.network.send, cluster.node(0).rules

    def strip(sender: int, receiver: int, frame: bytes) -> None:
        message = decode_peer(frame, rules)
        if isinstance(message, FetchBatches):
            asked.add(sender)
        if sender == 0 and receiver in {2, 3} and isinstance(message, Envelope):
            frame = encode_peer(decode_envelope(encode_envelope(message), rules))  # what is signed, nothing beside it
        send(sender, receiver, frame)

    cluster.network.send = strip  # type: ignore[method-assign]
    cluster.checkers.faulty.add(0)
    cluster.run(200)
    submit(load, through=[0])
    assert cluster.run(20_000, until=lambda: load.is_done and cluster.is_level())
    assert asked >= {2, 3}
    assert [read(cluster, node, "total", [TOTAL_KEY]) for node in cluster.running] == [7] * 4
    assert {node.replica.view for node in cluster.running} == {0}, "fetching was enough"


def test_a_payload_that_nobody_else_got_stops_its_primary_and_no_more() -> None:
    """Execution 33 to its end: nobody prepares, the view changes, and the request executes once it is relayed whole."""
    cluster = Cluster(seed=3)
    load = Workload(cluster)
    Traitors(cluster, ((0, "withholding_payloads"),), Random(3), lying_doors=False)
    for _ in range(6):
        submit(load, through=[0, 2])
    assert cluster.run(60_000, until=lambda: load.is_done and cluster.is_level()), cluster.describe()
    assert [read(cluster, node, "total", [TOTAL_KEY]) for node in cluster.correct] == [42] * 3


def test_restarts_keep_what_was_promised() -> None:
    """All four lose power between PREPARE and execution again and again; payloads come back from their journals."""
    cluster = Cluster(seed=5)
    load = Workload(cluster)
    for number in range(12):
        cluster.at(number * 100, lambda: submit(load, through=[0, 1, 2, 3]) and None)
    for number in range(8):
        cluster.at(130 * number + 55, lambda: [cluster.restart(replica) for replica in range(4)] and None)
    assert cluster.run(60_000, until=lambda: len(load.outstanding) == 12 and load.is_done and cluster.is_level())
    assert [read(cluster, node, "total", [TOTAL_KEY]) for node in cluster.correct] == [84] * 4


def test_without_a_key_for_the_day_a_replica_stops_before_it_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    """D50: no disk for the key, no seal, no PREPARE: R3 stops with nothing of the turn journaled, three go on."""
    cluster = Cluster()
    load = Workload(cluster)
    load.submit(1, "add", [TOTAL_KEY, 1], through=[0])
    assert cluster.run(5_000, until=lambda: load.is_done and cluster.is_level())

    def make(period: int) -> bytes:
        raise StoreError("io", f"no room for the key of {period}")

    cluster.run(100)  # the last turn of each has ended: its journal is written
    machine = cluster.machines[3]
    monkeypatch.setattr(machine.payload_keys, "make", make)
    journal = list(machine.journal.scan(JOURNAL_TABLE))
    submit(load, through=[0])
    assert cluster.run(10_000, until=lambda: {node.chain.height for node in cluster.running} == {1, 2})
    assert machine.halted is not None and "no room for the key" in machine.halted
    assert list(machine.journal.scan(JOURNAL_TABLE)) == journal
    assert cluster.run(10_000, until=lambda: [node.chain.height for node in cluster.running] == [2, 2, 2, 1])


def test_the_checkers_see_a_value_that_is_stored_in_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vault that seals nothing is caught at the first write of a journal, a message that shows it when it is sent."""
    monkeypatch.setattr(PayloadVault, "seal", lambda _self, _time_ms, _tx_id, payload: payload)
    cluster = Cluster()
    load = Workload(cluster)
    with pytest.raises(Violation, match="privacy: a private value in the journal"):
        submit(load, through=[0])
        cluster.run(5_000)
    with pytest.raises(Violation, match="privacy"):
        check_private("an answer", b"..." + PRIVATE_MARKER)
    check_private("an answer", PRIVATE_MARKER[1:])
