"""Clients and readers of the simulator: they end by proofs where they must, and believe no liar."""

from dataclasses import replace

import pytest

from ledger.admission import EXPIRED
from ledger.encoding import encode
from pbft.core.client_session import Committed, Rejected
from pbft.simulation.checkers import Violation
from pbft.simulation.clients import Clients
from pbft.simulation.cluster import Cluster
from pbft.simulation.lies_to_clients import LyingDoors
from pbft.simulation.outcome import TOTAL_KEY, check_outcome, name_end
from pbft.simulation.readers import Readers
from pbft.simulation.signing import KEYED_HASH
from pbft.wire.client_frames import ProofAnswer, ReplicaFrame, ViewAnswer


def make_clients(lying: LyingDoors | None = None) -> Clients:
    """The clients of four replicas, one of whose additions is committed."""
    clients = Clients(Cluster(signing=KEYED_HASH), lying)
    clients.submit(clients.sign(1, "add", [TOTAL_KEY, 7]))
    assert clients.cluster.run(5_000, until=lambda: clients.is_done)
    clients.cluster.run(1_000)
    return clients


class TamperingDoors(LyingDoors):
    """Doors whose views and proofs are falsified."""

    def falsify(self, replica: int, frame: ReplicaFrame) -> ReplicaFrame:
        """See `LyingDoors.falsify`."""
        if replica in self.replicas and isinstance(frame, ViewAnswer):
            return replace(frame, result=encode(1_000_000))
        if replica in self.replicas and isinstance(frame, ProofAnswer) and frame.proof:
            return replace(frame, proof=frame.proof.replace(b'"kind":"state"', b'"kind":"receipt"'))
        return frame


def test_a_transaction_past_its_expiry_ends_by_a_proof_and_its_nonce_is_used_again() -> None:
    """D45, D46, D47: doors refuse it, which is never final; the proof of the unused nonce is."""
    clients = make_clients()
    late = clients.submit(clients.sign(2, "add", [TOTAL_KEY, 100], expires_in_s=-1))
    assert clients.cluster.run(20_000, until=lambda: late.outcome is not None)
    assert isinstance(late.outcome, Rejected) and late.outcome.code == EXPIRED and late.outcome.reply is None
    assert name_end(late.outcome) == "EXPIRED_by_proof"
    again = clients.submit(clients.sign(2, "add", [TOTAL_KEY, 200], nonce=0))
    assert clients.cluster.run(5_000, until=lambda: clients.is_done)
    assert isinstance(again.outcome, Committed)
    clients.cluster.run(3_000)
    check_outcome(clients.cluster, clients)


def test_an_expiry_that_never_was_fails_the_run() -> None:
    """The check can fail: a session that believes in an expiry although its transaction is in the ledger."""
    clients = make_clients()
    clients.sessions[0].outcome = Rejected(
        tx_id=clients.sessions[0].submission.tx_id, code=EXPIRED, reply=None, receipt=None, vouched_by=()
    )
    with pytest.raises(Violation, match="proved unused"):
        check_outcome(clients.cluster, clients)


@pytest.mark.parametrize("lying", [frozenset[int](), frozenset({0})], ids=["honest", "one liar"])
def test_readers_believe_the_truth(lying: frozenset[int]) -> None:
    """D11, D48: W equal views, or a proof that verifies; f liars change nothing."""
    clients = make_clients(TamperingDoors(lying))
    readers = Readers(clients.cluster, clients)
    for client in range(12):
        readers.ask(1 + client % 2)
        clients.cluster.run(1_500)
    clients.cluster.run(15_000)
    readers.check(clients.cluster.node(1))
    assert min(readers.believed[kind] for kind in ("view", "receipt", "window")) > 0
    assert sum(readers.believed.values()) == 12


def test_a_reader_that_was_deceived_fails_the_run() -> None:
    """W liars could deceive it, which is why no more than f are allowed; the check notices."""
    clients = make_clients(TamperingDoors({0, 1}))
    readers = Readers(clients.cluster, clients)
    for _ in range(12):
        readers.ask(1)
        clients.cluster.run(1_500)
    with pytest.raises(Violation, match="readers: the total"):
        readers.check(clients.cluster.node(2))
