"""Whole nodes whose clients' signatures are checked elsewhere: verdicts that are late or never come change nothing.

The simulator checks in place; here its nodes get pools, and verifiers on virtual time. What must hold at every step is
checked by `pbft.simulation.checkers`.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from random import Random

import pytest
from simulation.test_cluster import LINKS, expect_done, submit_spread, total

from ledger.errors import InvalidSignature
from ledger.keys import verify_signature
from pbft.core.messages import PeerMessage, Relay
from pbft.core.replica import Replica
from pbft.node import request_lanes
from pbft.node.metrics import Metrics
from pbft.node.request_lanes import InlineLanes, Lanes, RequestPool
from pbft.simulation import cluster as simulated
from pbft.simulation.cluster import Cluster
from pbft.simulation.workload import Workload
from pbft.wire.codec import UncheckedSignature, Verifier, encode_peer, parse_request

DELAY_MS_MAX = 120  # of a verdict: a frame's way and more
LOST_PERMILLE = 100  # of the messages: their verifier dies, and is back after a while


class Verifiers:
    """What makes the lanes of every node of a cluster."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
        self.random = Random(seed)
        self.cluster: Cluster | None = None
        self.metrics = Metrics()
        self._early: list[Callable[[], None]] = []
        monkeypatch.setattr(request_lanes, "IN_PLACE_MAX", 0)
        build = partial(simulated.assemble_node, make_lanes=self.make_lanes)
        monkeypatch.setattr(simulated, "assemble_node", build)

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        assert self.cluster is not None
        self.cluster.at(delay_ms, action)

    def make_lanes(self, memory: Verifier) -> RequestPool:
        pool = RequestPool(memory, at_turn_end=lambda send: self.at(0, send), guard=nullcontext(), metrics=self.metrics)
        for _ in range(2):
            pool.welcome(SimulatedVerifier(self, pool, memory))
        return pool


class SimulatedVerifier:
    """Answers on virtual time, if at all; not for a node that is no more."""

    def __init__(self, owner: Verifiers, pool: RequestPool, memory: Verifier) -> None:
        self._owner = owner
        self._pool = pool
        self._memory = memory

    def ask(self, signatures: Sequence[UncheckedSignature]) -> None:
        random = self._owner.random
        delay_ms = random.randrange(DELAY_MS_MAX)
        if random.randrange(1_000) < LOST_PERMILLE:
            self._owner.at(delay_ms, self._die)
        else:
            self._owner.at(delay_ms, lambda: self._answer([holds(one) for one in signatures]))

    @property
    def _lives(self) -> bool:
        assert self._owner.cluster is not None
        return any(m.node is not None and m.node.verifier is self._memory for m in self._owner.cluster.machines)

    def _answer(self, verdicts: list[bool]) -> None:
        if self._lives:
            self._pool.answer(self, verdicts)

    def _die(self) -> None:
        if self._lives:
            self._pool.lose(self)
            self._owner.at(500, lambda: self._pool.welcome(self))


def holds(one: UncheckedSignature) -> bool:
    try:
        verify_signature(one.public_key, one.signed, one.signature)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("links", ["lossy", "repeating"])
def test_late_and_lost_verdicts_change_nothing(links: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarts and a dead primary under load, verifiers that die now and then: every addition counts once."""
    verifiers = Verifiers(monkeypatch, seed=7)
    verifiers.cluster = cluster = Cluster(seed=7, faults=LINKS[links])
    load = Workload(cluster)
    submit_spread(cluster, load, 30, 3_000)
    cluster.restart(0)
    submit_spread(cluster, load, 30, 3_000)
    expect_done(cluster, load)
    assert {total(cluster, replica) for replica in range(4)} == {60}
    verdicts = verifiers.metrics.verifier_verdicts_total
    assert verdicts["holds"] > 100 and verdicts["none"] > 0
    assert verdicts["fails"] == 0


class ByHand:
    """The verifier of one node, which answers when a test says so; the other nodes check in place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, replica: int) -> None:
        monkeypatch.setattr(request_lanes, "IN_PLACE_MAX", 0)
        monkeypatch.setattr(simulated, "assemble_node", partial(simulated.assemble_node, make_lanes=self.make_lanes))
        self._replica = replica
        self._nodes = 0
        self._turn: list[Callable[[], None]] = []
        self._asked: list[list[UncheckedSignature]] = []
        self.cluster = Cluster()
        self.node = self.cluster.node(replica)
        self.refused = 0
        self.refusals_max = 100  # then the sender is hung up on
        self.cluster.run(200)

    def make_lanes(self, memory: Verifier) -> Lanes:
        self._nodes += 1
        if self._nodes != self._replica + 1:
            return InlineLanes()
        self.pool = RequestPool(memory, at_turn_end=self._turn.append, guard=nullcontext(), metrics=Metrics())
        self.pool.welcome(self)
        return self.pool

    def ask(self, signatures: Sequence[UncheckedSignature]) -> None:
        self._asked.append(list(signatures))

    def answer(self) -> None:
        """The verdicts of all that was asked."""
        while self._turn:
            self._turn.pop()()
        while self._asked:
            self.pool.answer(self, [holds(one) for one in self._asked.pop()])

    def receive(self, sender: int, message: PeerMessage) -> None:
        self.node.driver.on_frame(sender, encode_peer(message), self._refuse)

    def _refuse(self) -> bool:
        self.refused += 1
        return self.refused >= self.refusals_max

    @property
    def proposals(self) -> list[int]:
        """Heights of which the core of the node knows a proposal."""
        return sorted(self.node.replica.state.pre_prepared)


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> ByHand:
    return ByHand(monkeypatch, replica=1)


def propose(by_hand: ByHand) -> Workload:
    """One request is ordered by the others; its proposal has reached the node whose verifier says nothing yet."""
    load = Workload(by_hand.cluster)
    load.submit(1, "add", [b"total", 1], through=[0])
    assert by_hand.cluster.run(150, until=lambda: total(by_hand.cluster, 2) == 1)
    assert by_hand.pool.waiting > 1, "a proposal, and what came behind it on the same link"
    assert by_hand.proposals == []
    return load


def test_a_proposal_and_what_is_behind_it_wait_for_its_verdicts(by_hand: ByHand) -> None:
    """The core hears of neither before; then of both, and the node executes."""
    load = propose(by_hand)
    by_hand.answer()
    assert (by_hand.proposals, by_hand.pool.waiting) == ([1], 0)
    expect_done(by_hand.cluster, load)
    assert total(by_hand.cluster, 1) == 1


def test_a_replica_that_stopped_meanwhile_takes_nothing(by_hand: ByHand) -> None:
    """Verdicts come for who has halted: they change nothing any more."""
    propose(by_hand)
    by_hand.node.driver.stop("a test")
    before = by_hand.cluster.machines[1].counters.copy()
    by_hand.answer()
    assert (by_hand.proposals, by_hand.pool.waiting) == ([], 0)
    assert by_hand.cluster.machines[1].counters == before


def test_what_waited_across_an_epoch_is_dropped(by_hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender's id may be another's in the new one; STATUS brings what is missing again (M50)."""
    signed = Workload(by_hand.cluster).submit(1, "add", [b"total", 1], through=[])
    relay = Relay(requests=(parse_request(signed.raw, by_hand.node.rules),))
    by_hand.receive(3, relay)
    with monkeypatch.context() as later:
        later.setattr(Replica, "epoch", property(lambda _: 1))
        by_hand.answer()
    assert (by_hand.node.replica.pending_count, by_hand.pool.waiting) == (0, 0)
    by_hand.receive(3, relay)
    assert by_hand.node.replica.pending_count == 1, "it comes again, and its signature is known"


def test_a_relay_with_a_forged_request_is_refused_when_its_verdict_is_there(by_hand: ByHand) -> None:
    """The same code as in place, and its sender's link hears of it then."""
    load = Workload(by_hand.cluster)
    signed = load.submit(1, "add", [b"total", 1], through=[])
    true = parse_request(signed.raw, by_hand.node.rules)
    forged = replace(true, raw=bytes([true.raw[0] ^ 1]) + true.raw[1:])
    by_hand.receive(3, Relay(requests=(forged,)))
    by_hand.receive(3, Relay(requests=(true,)))
    assert (by_hand.refused, by_hand.node.replica.pending_count) == (0, 0)
    by_hand.answer()
    assert (by_hand.refused, by_hand.node.replica.pending_count) == (1, 1)
    assert by_hand.cluster.machines[1].counters["frame_refused:request_signature"] == 1


def test_who_is_hung_up_on_costs_no_more_checks(by_hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A liar costs the refusals that its link has, not a check for each forgery that waits when they are used up."""
    signed = Workload(by_hand.cluster).submit(1, "add", [b"total", 1], through=[])
    true = parse_request(signed.raw, by_hand.node.rules)
    by_hand.refusals_max = 2
    for number in range(1, 6):
        by_hand.receive(3, Relay(requests=(replace(true, raw=bytes([true.raw[0] ^ number]) + true.raw[1:]),)))
    by_hand.receive(2, Relay(requests=(true,)))
    monkeypatch.setattr(
        request_lanes, "MESSAGE_SIGNATURES_MAX", 2
    )  # two are under way when the second forgery is found
    by_hand.answer()
    assert sum(by_hand.pool._metrics.verifier_verdicts_total.values()) == 4
    assert by_hand.cluster.machines[1].counters["frame_refused:request_signature"] == 2
    assert (by_hand.pool.waiting, by_hand.node.replica.pending_count) == (0, 1), "others' frames go on"
