"""Four real processes, killed at seeded moments under load: every reading counts once, nothing acknowledged is lost.

Every transaction is handed in three times through three replicas, and again after its answer (`drills.hands`). Moments
are counted in acknowledgements, and the SIGKILL leaves in the very turn of the reactor in which that acknowledgement
arrives: there always is traffic, and a seed names the moment.
"""

import http.client
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from drills.hands import IN_FLIGHT_MAX, Hands
from OpenSSL import SSL
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.python.failure import Failure
from zope.interface import implementer

from ledger.keys import SigningKey
from ledger.proofs import VerifiedReceipt, verify_proof
from ledger.transaction import SignedTransaction, parse_receipt
from meters.batch import Batch, Place
from meters.demo import open_stage
from meters.demo_figures import account_addresses, compute_reference, count_settled, read_figures
from meters.demo_progress import PlainProgress
from meters.demo_traffic import Stage, onboard, read_places, wait_until
from meters.gateway import begin_chains, compute_gas_limit
from meters.onboarding import GatewayMeters
from meters.series import Series, shipped_series
from pbft.client.account import Account
from pbft.core.client_session import Committed, parse_reply
from pbft.node import local_cluster, local_network
from pbft.node.identity import read_identity, read_passphrase
from pbft.node.links import LinkRefusedError, LinkTerms, dial
from pbft.node.local_network import LocalNetwork
from pbft.node.local_processes import ProcessRecord, read_record, signal_process, start_time_of, wait_ended
from pbft.node.tls import TlsIdentity, issue_client_certificate, make_tls_identity, pinned_connections
from pbft.wire.hello import Hello
from pbft.wire.limits import HELLO_BYTES_MAX

pytestmark = pytest.mark.drill

HOMES: Final = 4  # each with a load and a PV meter, and a gateway of its own
INTERVALS: Final = 40  # of all tests of this file
INTERVALS_PER_KILL: Final = 4  # twice what a gateway has in flight
LEVEL_SECONDS_MAX: Final = 20.0  # from the start of the process to the same state root; two or three on an idle machine
END_SECONDS_MAX: Final = 10.0  # until the kernel has done what SIGKILL asked for
SEED: Final = 20_260_704


def in_a_thread(test: Callable[..., None]) -> "Callable[..., Deferred[None]]":
    """Run a test that uses the blocking client beside the reactor, which pytest-twisted runs in the main thread."""

    @wraps(test)
    def run_test(**arguments: Any) -> "Deferred[None]":
        return deferToThread(test, **arguments)

    return run_test


def few_homes() -> Series:
    """Four of the shipped homes, from the morning on, as measured."""
    series = shipped_series().slice(6, INTERVALS)
    homes = series.homes[:HOMES]
    return Series(
        homes=homes,
        starts=series.starts,
        interval_s=series.interval_s,
        load_wh={home: series.load_wh[home] for home in homes},
        pv_wh={home: series.pv_wh[home] for home in homes},
    )


class GatewayHand:
    """One gateway: signs its intervals in order, each following the one before, and knows what it has signed."""

    def __init__(self, stage: Stage, assigned: GatewayMeters, places: Mapping[str, Place]) -> None:
        self.stage = stage
        self.nonces = stage.client.read_nonces(assigned.key.public_key)
        self.account = Account(assigned.key, network=stage.network.network_id, nonces=self.nonces)
        self.columns = assigned.columns
        (self.chain,) = begin_chains(
            stage.network.network_id, assigned.columns, places, stage.series.interval_s
        )  # asked for together: one group

    def sign(self, batch: Batch, height: int) -> SignedTransaction:
        nonce = self.nonces.reserve()
        self.nonces.settle(nonce)  # so that the next one is the next number: the outcome is checked below
        return self.account.sign(
            "readings",
            "submit",
            [[batch.to_list()]],
            nonce=nonce,
            expiry_height=height + 5_000,
            expiry_time=int(time.time()) + 3_600,
            gas_limit=compute_gas_limit(batch.count),
            follows=nonce - 1,
        )

    def measure(self, index: int) -> Batch:
        """The readings of an interval; the group's chain of batches goes on."""
        energies = {column.meter: self.stage.series.values_of(column)[index] for column in self.columns}
        batch, self.chain = self.chain.append(self.stage.series.starts[index], energies)
        return batch


class Community:
    """An onboarded community on four real processes, its gateways in the drill's hands. Used from a thread."""

    def __init__(self, stage: Stage, hands: Hands) -> None:
        self.stage = stage
        self.network: LocalNetwork = stage.network
        self.client = stage.client
        self.hands = hands
        places = read_places(stage)
        self.gateways = [GatewayHand(stage, assigned, places) for assigned in stage.assignments]
        self.signed: dict[bytes, tuple[SignedTransaction, Batch]] = {}  # by tx id
        self.meters_of = {gateway.chain.group: gateway.chain.meters for gateway in self.gateways}
        self.intervals = 0  # signed so far

    def send(self, intervals: int) -> int:
        """Hand in the next intervals of every gateway; how many transactions will be acknowledged when all are."""
        height = self.client.head().height
        fresh = []
        for index in range(self.intervals, self.intervals + intervals):
            for gateway in self.gateways:
                batch = gateway.measure(index)
                signed = gateway.sign(batch, height)
                self.signed[signed.tx_id] = (signed, batch)
                fresh.append(signed)
        self.intervals += intervals
        blockingCallFromThread(reactor, self.hands.hand_in, fresh)
        return len(self.signed)

    def wait_acknowledged(self, number: int) -> None:
        wait_until(lambda: len(self.hands.acknowledged) >= number or None, f"{number} transactions are acknowledged")

    def wait_linked(self, replica_id: int) -> None:
        wait_until(lambda: replica_id in self.hands.connected or None, f"r{replica_id} listens to clients again")

    def wait_answered_by_all(self) -> None:
        """Every replica has answered for every transaction, those that were killed too; no answer differs."""
        wait_until(lambda: self.hands.is_idle or None, "every replica has answered every transaction")
        assert self.hands.disputes == []

    def ask_everybody_again(self) -> None:
        blockingCallFromThread(
            reactor, self.hands.hand_in_once_more, [signed for signed, _batch in self.signed.values()]
        )
        self.wait_answered_by_all()

    def kill_at(self, number: int, victims: Sequence[int]) -> "Killing":
        """SIGKILL these replicas and their workers at the acknowledgement of that number."""
        killing = Killing(self, victims)
        blockingCallFromThread(reactor, self.hands.at_acknowledgement, number, killing.strike)
        return killing

    def wait_level(self) -> tuple[int, str]:
        """Until all four have one height and state root, in one look at all of them."""

        def look() -> tuple[int, str] | None:
            replicas = local_cluster.status(self.network)["replicas"]
            heads = {(replica["height"], replica["state_root"]) for replica in replicas}
            return heads.pop() if len(heads) == 1 and None not in next(iter(heads)) else None

        found: tuple[int, str] = wait_until(look, "all four have one height and state root")
        return found


class Killing:
    """Processes that will be killed all at once, and what was known at that moment."""

    def __init__(self, community: Community, victims: Sequence[int]) -> None:
        status = local_cluster.status(community.network)
        self.community = community
        self.victims = set(victims)
        self.processes: list[ProcessRecord] = []
        for victim in victims:
            replica = read_record(community.network.replica(victim).record_path)
            worker_pid = status["replicas"][victim]["worker_pid"]
            started = start_time_of(worker_pid)
            assert replica is not None and started is not None
            self.processes += [replica, ProcessRecord(pid=worker_pid, started=started)]
        self.unanswered = 0
        self.has_struck = threading.Event()

    def strike(self) -> None:
        """In the reactor's thread."""
        struck = [signal_process(process, signal.SIGKILL) for process in self.processes]
        assert all(struck[::2])  # a worker may go with its replica, before its own turn
        self.unanswered = self.community.hands.unanswered
        self.has_struck.set()

    def wait_ended(self) -> None:
        """Every process is gone, its last answers have been read, and it happened under load."""
        wait_until(lambda: self.has_struck.is_set() or None, "the moment of the kill has come")
        assert all(wait_ended(process, timeout_seconds=END_SECONDS_MAX) for process in self.processes)
        wait_until(lambda: self.victims.isdisjoint(self.community.hands.connected) or None, "the links have ended")
        assert self.unanswered > 0, "nothing was on its way when the replicas were killed"


@pytest.fixture(scope="module")
def community(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Community]:
    """One network for the whole file; each test leaves it with four running replicas, which end without a complaint."""
    directory: Path = tmp_path_factory.mktemp("exactly-once")
    stack = ExitStack()

    def build() -> Community:
        network = local_network.prepare(directory, port_base=0)
        stack.callback(local_cluster.stop, network)
        local_cluster.start(network)
        local_cluster.wait_ready(network)
        series = few_homes().ending_before(int(time.time()))
        stage = open_stage(stack, network, series, "dynamic", PlainProgress())
        onboard(stage)
        hands = Hands(reactor, stage.client.network, issue_client_certificate(stage.authority, "three hands"))
        blockingCallFromThread(reactor, hands.start)
        stack.callback(blockingCallFromThread, reactor, hands.stop)
        return Community(stage, hands)

    try:
        yield pytest_twisted.blockon(deferToThread(build))
    finally:
        pytest_twisted.blockon(deferToThread(stack.close))
    for log in directory.glob("r*/log.jsonl"):
        assert '"level": "error"' not in log.read_text(encoding="utf-8")


# ---- every (meter, interval) exactly once ----


def check_exactly_once(community: Community) -> None:
    """By receipts, by proofs, by what the contracts hold, and by the settled sums: each reading counted once."""
    community.wait_answered_by_all()
    community.ask_everybody_again()
    assert set(community.hands.acknowledged) == set(community.signed)
    accepted: Counter[tuple[str, int]] = Counter()
    places: Counter[tuple[int, int]] = Counter()
    genesis = community.client.network.genesis_bytes
    for tx_id, (_signed, batch) in community.signed.items():
        reply = parse_reply(community.hands.acknowledged[tx_id])
        receipt = parse_receipt(reply.receipt)
        assert (receipt.tx_id, receipt.status) == (tx_id, "ok")
        places[reply.height, reply.index] += 1
        codes = receipt.value
        assert isinstance(codes, list)
        for meter, code in zip(community.meters_of[batch.group], codes, strict=True):
            accepted[meter, batch.start] += code == "accepted"
        proved = verify_proof(community.client.receipt_proof(tx_id), genesis)
        assert isinstance(proved, VerifiedReceipt)
        assert (proved.receipt, proved.header.height) == (receipt, reply.height)
    assert set(places.values()) == {1}
    series = community.stage.series.slice(0, community.intervals)
    expected = {(column.meter, start): 1 for column in series.meters for start in series.starts}
    assert accepted == expected
    check_contracts(community, series)


def check_contracts(community: Community, series: Series) -> None:
    """What the chain's state says, vouched for or proved, beside the series and the slow reference."""
    client, stage = community.client, community.stage
    wait_until(lambda: count_settled(client, stage.plan, series) == len(series.starts) or None, "all is settled")
    height = client.head(wanted=4).height
    meters = [column.meter for column in series.meters]
    for index, start in enumerate(series.starts):
        values = client.query("readings", "values", meters, start, min_height=height).value
        assert values == [series.values_of(column)[index] for column in series.meters]
    for meter in meters:
        last = client.query("readings", "last", meter, min_height=height).value
        assert last[1] == len(series.starts), "the sequence number counts the records of a meter"
    for gateway in community.gateways:
        on_chain = client.read_nonces(gateway.account.address)
        assert on_chain.base == gateway.nonces.base
    accounts = account_addresses(stage.participants)
    figures = read_figures(client, stage.plan, series, accounts, min_height=height)
    assert figures == compute_reference(series, stage.plan, accounts)
    assert sum(figures.accounts.values()) == 0


def draw_strike(community: Community, moments: random.Random) -> int:
    """The number of the acknowledgement at which to kill, among those of the intervals that are sent next.

    Each acknowledgement lets one more transaction leave, so before this one the last has not left yet, however fast
    the replicas are.
    """
    in_flight = IN_FLIGHT_MAX * len(community.gateways)
    to_come = INTERVALS_PER_KILL * len(community.gateways)
    return len(community.hands.acknowledged) + moments.randrange(1, to_come - in_flight)


def victims_in_turn(network: LocalNetwork, moments: random.Random) -> Iterator[int]:
    """Each replica once: first whoever is the primary now, then the others in a seeded order."""
    first = local_cluster.status(network)["primary"]
    others = [number for number in range(len(network.replicas)) if number != first]
    moments.shuffle(others)
    yield from (first, *others)


@in_a_thread
def test_each_reading_counts_once_whoever_is_killed_and_whenever(community: Community) -> None:
    """Each replica with its worker is killed in the middle of the traffic; restarted, it has the others' state root.

    Traffic goes on from the moment on when the restarted replica listens again, while it catches up.
    """
    moments = random.Random(SEED)
    first_view = local_cluster.status(community.network)["view"]
    for victim in victims_in_turn(community.network, moments):
        strike = draw_strike(community, moments)
        killing = community.kill_at(strike, [victim])
        total = community.send(INTERVALS_PER_KILL)
        killing.wait_ended()
        community.wait_acknowledged(moments.randrange(strike, total + 1))
        began = time.monotonic()
        local_cluster.restart(community.network, victim)
        community.wait_acknowledged(total)
        community.wait_linked(victim)
        community.send(1)
        community.wait_answered_by_all()  # the killed one too, and with the same bytes
        community.wait_level()
        assert time.monotonic() - began < LEVEL_SECONDS_MAX
        assert local_cluster.status(community.network)["view"] > first_view, "the first to be killed was the primary"
    check_exactly_once(community)


@in_a_thread
def test_a_replica_killed_again_while_it_catches_up_still_catches_up(community: Community) -> None:
    """Killed, left behind by several blocks, restarted, and killed once more as soon as it listens again."""
    moments = random.Random(SEED + 2)
    victim = moments.randrange(4)
    killing = community.kill_at(draw_strike(community, moments), [victim])
    community.wait_acknowledged(community.send(INTERVALS_PER_KILL))
    killing.wait_ended()
    local_cluster.restart(community.network, victim)
    community.wait_linked(victim)
    local_cluster.kill(community.network, victim)
    began = time.monotonic()
    local_cluster.restart(community.network, victim)
    community.wait_answered_by_all()
    community.wait_level()
    assert time.monotonic() - began < LEVEL_SECONDS_MAX
    check_exactly_once(community)


@in_a_thread
def test_readings_in_another_transaction_are_duplicates(community: Community) -> None:
    """The same readings under a new nonce, in a receipt of its own: refused by the contract, and nothing changes."""
    community.send(1)
    community.wait_acknowledged(len(community.signed))
    gateway = community.gateways[0]
    again = [batch for signed, batch in community.signed.values()
             if signed.transaction.sender == gateway.account.address][-1]  # fmt: skip
    repeated = gateway.sign(again, community.client.head().height)
    outcome = community.client.submit_signed(repeated)
    assert isinstance(outcome, Committed)
    assert outcome.receipt.value == ["duplicate"] * again.count
    check_exactly_once(community)


@in_a_thread
def test_nothing_acknowledged_is_lost_when_all_four_are_killed_under_load(community: Community) -> None:
    """kill -9 of all four and their workers in one moment; every answer that was given before is given again.

    Even an answer that only one replica had given holds: it is given when the block is fixed and durable.
    """
    moments = random.Random(SEED + 1)
    for _round in range(2):
        before = len(community.hands.acknowledged)
        killing = community.kill_at(draw_strike(community, moments), range(4))
        total = community.send(INTERVALS_PER_KILL)
        killing.wait_ended()
        assert local_cluster.running_replicas(community.network) == ()
        acknowledged, seen = dict(community.hands.acknowledged), dict(community.hands.seen)
        assert before < len(acknowledged) < total
        assert local_cluster.start(community.network) == (0, 1, 2, 3)
        highest = max(parse_reply(content).height for content in seen.values())
        local_cluster.wait_ready(community.network, min_height=highest)
        fresh = Hands(reactor, community.client.network, issue_client_certificate(community.stage.authority, "again"))
        check_answers_again(community, fresh, seen)
        community.wait_acknowledged(total)
        community.wait_level()
    check_exactly_once(community)


def check_answers_again(community: Community, fresh: Hands, seen: dict[bytes, bytes]) -> None:
    """A client without a memory asks all four replicas for what was answered before: the same bytes from each."""
    blockingCallFromThread(reactor, fresh.start)
    try:
        asked = [community.signed[tx_id][0] for tx_id in seen]
        blockingCallFromThread(reactor, fresh.hand_in_once_more, asked)
        wait_until(lambda: fresh.is_idle or None, "all four replicas have answered again")
        assert fresh.disputes == []
        assert fresh.acknowledged == seen
    finally:
        blockingCallFromThread(reactor, fresh.stop)


# ---- links ----


class _Speaker(Protocol):
    """Says something over whatever it is connected with, and notices the end."""

    def __init__(self, words: bytes) -> None:
        self._words = words
        self.closed: Deferred[None] = Deferred()

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.write(self._words)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        self.closed.callback(None)


@implementer(IOpenSSLClientConnectionCreator)
class _AnyTls:
    """TLS as a stranger would set it up: any version, any certificate or none, trusting everybody."""

    def __init__(self, identity: TlsIdentity | None, version: int | None = None) -> None:
        self.context = SSL.Context(SSL.TLS_METHOD)
        if version is not None:
            self.context.set_max_proto_version(version)
        if identity is not None:
            self.context.use_certificate(x509.load_pem_x509_certificate(identity.certificate_pem))
            self.context.use_privatekey(load_pem_private_key(identity.private_key_pem, None))

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:  # noqa: N802
        return SSL.Connection(self.context, None)


@inlineCallbacks
def speak(host: str, port: int, tls: _AnyTls | None) -> Iterator[object]:
    """Connect, say a few bytes, and wait until the other side has hung up."""
    endpoint = HostnameEndpoint(reactor, host, port)
    speaker = yield connectProtocol(endpoint if tls is None else wrapClientTLS(tls, endpoint), _Speaker(b"\0\0\0\1x"))
    yield speaker.closed


def pretend(host: str, port: int, identity: TlsIdentity, hello: Hello, expected_key: bytes) -> "Deferred[None]":
    """Dial with a true identity and a Hello that does not fit it; fires when the other side has hung up."""
    closed: Deferred[None] = Deferred()
    terms = LinkTerms(
        connections=pinned_connections(identity, {expected_key}),
        hello=hello,
        judge=lambda certificate, hello: None,
        frame_bytes_max=HELLO_BYTES_MAX,
        on_open=lambda link: setattr(link, "on_closed", lambda reason: closed.callback(None)),
        refused=Counter(),
    )

    def failed(failure: Failure) -> None:
        closed.callback(None if failure.check(LinkRefusedError) else failure)

    dial(reactor, host, port, terms).addErrback(failed)
    return closed


def refusals(network: LocalNetwork, replica_id: int) -> Counter[str]:
    """What a replica's ops port says of connections refused, by reason."""
    replica = network.replica(replica_id)
    connection = http.client.HTTPConnection("127.0.0.1", replica.ops_port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return Counter(
        {
            sample.labels["reason"]: int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "gridquorum_links_refused_total"
        }
    )


def intrude(community: Community, replica_id: int, port: int) -> Counter[str]:
    """Everybody who must not get in tries one port of a replica. The reasons that must have been counted."""
    network = community.network
    two = network.replica(2)
    true_two = read_identity(two.keys_path, passphrase=read_passphrase(two.passphrase_path)).transport
    foreign_replica = make_tls_identity(b"x" * 32, "coop-2")
    foreign_client = issue_client_certificate(SigningKey.generate(), "gateway")
    client = issue_client_certificate(community.stage.authority, "gateway")
    replica = network.replica(replica_id)
    is_p2p = port == replica.p2p_port
    strangers = [None, _AnyTls(None), _AnyTls(foreign_replica), _AnyTls(foreign_client)]
    strangers.append(_AnyTls(true_two if is_p2p else client, SSL.TLS1_2_VERSION))
    for tls in strangers:
        blockingCallFromThread(reactor, speak, replica.host, port, tls)
    expected = Counter(plain_tcp=1, no_certificate=1, foreign_certificate=2, tls_version=1)
    own_key = community.client.network.addresses[replica_id].transport_key
    lie = Hello(network=network.network_id, replica=1)
    blockingCallFromThread(reactor, pretend, replica.host, port, true_two, lie, own_key)
    if is_p2p:
        expected["foreign_certificate" if replica_id == 2 else "wrong_replica"] += 1  # r2 never links with itself
    else:
        expected["foreign_certificate"] += 1  # a replica's certificate opens no client port
        blockingCallFromThread(reactor, pretend, replica.host, port, client, lie, own_key)
        expected["wrong_port"] += 1
    return expected


@in_a_thread
def test_strangers_are_refused_on_every_port_counted_and_change_nothing(community: Community) -> None:
    """Plain TCP, no certificate, a foreign network's, TLS 1.2, replica 2 claiming to be 1: on all eight ports."""
    network = community.network
    head = community.wait_level()
    for replica in network.replicas:
        before = refusals(network, replica.replica_id)
        expected: Counter[str] = Counter()
        for port in (replica.p2p_port, replica.client_port):
            expected += intrude(community, replica.replica_id, port)

        def counted(number: int = replica.replica_id, before: Counter[str] = before) -> Counter[str]:
            return refusals(network, number) - before

        wait_until(lambda counted=counted, expected=expected: counted() >= expected or None, f"counted: {expected}")
        assert counted() == expected
    assert community.wait_level() == head
    assert all(len(replica["connected"]) == 3 for replica in local_cluster.status(network)["replicas"])
    total = community.send(1)
    community.wait_acknowledged(total)
    check_exactly_once(community)
