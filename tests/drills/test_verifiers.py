"""Four real replicas, three with a verifier process: the same answers, the same refusals, and SIGKILL costs nothing.

The fourth checks signatures in its main process. What it says is what the others must say.
"""

import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import pytest_twisted
from drills.hands import Hands
from twisted.internet import reactor, task

from ledger.keys import SigningKey
from ledger.transaction import SignedTransaction, parse_receipt
from pbft.client.account import Account
from pbft.client.network import ClientNetwork, read_network
from pbft.core.client_session import parse_reply
from pbft.node import local_cluster
from pbft.node.client_identity import read_client
from pbft.node.local_network import LocalNetwork
from pbft.node.local_processes import start_time_of
from pbft.node.tls import TlsIdentity
from pbft.node.transport import connect_client
from pbft.wire.client_frames import Refused, Submit, decode_replica_frame, encode_client_frame

pytestmark = pytest.mark.drill

SENDERS: Final = 40
EACH: Final = 4
SECONDS_MAX: Final = 60.0  # for anything that is waited for; a few on an idle machine
WITH_VERIFIER: Final = (0, 1, 2)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    local = local_cluster.prepare(tmp_path_factory.mktemp("verifiers") / "network", port_base=0)
    try:
        for replica in range(4):
            count = str(int(replica in WITH_VERIFIER))
            local_cluster.start_replica(local, replica, options=["--verifiers", count])
        local_cluster.wait_ready(local)
        yield local
    finally:
        local_cluster.stop(local)


async def until(holds: Callable[[], bool]) -> None:
    """Let the reactor turn until something holds."""
    loop = task.LoopingCall(lambda: holds() and loop.stop())
    await loop.start(0.05).addTimeout(SECONDS_MAX, reactor)


def verifiers_of(network: LocalNetwork) -> dict[int, list[int]]:
    """Process ids by replica, as their status says."""
    replicas = local_cluster.status(network)["replicas"]
    return {entry["replica"]: entry["verifier_pids"] for entry in replicas}


def count_metric(network: LocalNetwork, replica: int, line: str) -> int:
    """A figure of a replica's metrics, by its whole name with labels; 0 where it is not there."""
    port = network.replica(replica).ops_port
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    found = [row for row in text.splitlines() if row.startswith(f"gridquorum_{line} ")]
    return int(float(found[0].rsplit(" ", 1)[1])) if found else 0


def sign_pings(network: ClientNetwork) -> list[SignedTransaction]:
    """Of many senders, each with consecutive nonces."""
    accounts = [Account(SigningKey.from_seed(bytes([7, s]) * 16), network=network.network_id) for s in range(SENDERS)]
    expiry = int(time.time()) + 3_600
    return [
        account.sign("ping", "ping", [], nonce=nonce, expiry_height=5_000, expiry_time=expiry, gas_limit=100_000)
        for nonce in range(EACH)
        for account in accounts
    ]


async def refusal_of(replica: int, known: ClientNetwork, identity: TlsIdentity, transaction: bytes) -> Refused:
    """What a replica says of a transaction."""
    answers: list[Any] = []
    address = known.addresses[replica]
    link = await connect_client(
        reactor,
        address.host,
        address.port,
        expected_transport_key=address.transport_key,
        identity=identity,
        network=known.network_id,
        replica_id=replica,
        on_frame=lambda frame: answers.append(decode_replica_frame(frame)),
        on_closed=lambda reason: None,
    )
    link.send_frame(encode_client_frame(Submit(correlation=1, transaction=transaction)))
    await until(lambda: bool(answers))
    link.abort("done")
    (answer,) = answers
    assert isinstance(answer, Refused)
    return answer


@pytest_twisted.ensureDeferred
async def test_killed_verifiers_lose_nothing_and_let_nothing_in(network: LocalNetwork) -> None:
    """All die by SIGKILL under load: every transaction is executed once, alike everywhere, and they are back."""
    known = read_network(network.directory)
    identity = read_client(network.client_path).tls
    before = verifiers_of(network)
    assert {replica: len(pids) for replica, pids in before.items()} == {0: 1, 1: 1, 2: 1, 3: 0}
    hands = Hands(reactor, known, identity)
    transactions = sign_pings(known)

    def strike() -> None:
        for pids in before.values():
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

    hands.at_acknowledgement(len(transactions) // 3, strike)
    hands.start()
    try:
        await until(lambda: len(hands.connected) == 4)
        hands.hand_in(transactions)
        await until(lambda: len(hands.acknowledged) == len(transactions) and hands.is_idle)
    finally:
        hands.stop()
    assert hands.disputes == []
    assert {parse_receipt(parse_reply(content).receipt).status for content in hands.acknowledged.values()} == {"ok"}
    await until(lambda: all(len(verifiers_of(network)[replica]) == 1 for replica in WITH_VERIFIER))
    after = verifiers_of(network)
    for replica in WITH_VERIFIER:
        assert after[replica] != before[replica] and start_time_of(after[replica][0]) is not None
        assert count_metric(network, replica, 'verifier_restarts_total{cause="exit"}') == 1
        assert count_metric(network, replica, 'verifier_verdicts_total{verdict="holds"}') > 0
        assert count_metric(network, replica, 'verifier_verdicts_total{verdict="fails"}') == 0

    fresh = Account(SigningKey.from_seed(b"f" * 32), network=known.network_id).sign(
        "ping", "ping", [], nonce=0, expiry_height=5_000, expiry_time=int(time.time()) + 3_600, gas_limit=100_000
    )
    forged = bytes([fresh.raw[0] ^ 1]) + fresh.raw[1:]
    refusals = [await refusal_of(replica, known, identity, forged) for replica in range(4)]
    assert {(refusal.code, refusal.tx_id) for refusal in refusals} == {("request_signature", fresh.tx_id)}
