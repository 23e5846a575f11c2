"""Whole nodes whose clients' signatures are checked elsewhere: verdicts that are late or never come change nothing.

The simulator checks in place; here its nodes get pools, and verifiers on virtual time. What must hold at every step is
checked by `pbft.simulation.checkers`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

import pytest
from simulation.test_cluster import LINKS, expect_done, submit_spread, total

from ledger.errors import InvalidSignature
from ledger.keys import verify_signature
from pbft.node import request_lanes
from pbft.node.metrics import Metrics
from pbft.node.request_lanes import RequestPool
from pbft.simulation import cluster as simulated
from pbft.simulation.cluster import Cluster
from pbft.simulation.workload import Workload
from pbft.wire.codec import UncheckedSignature, Verifier

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
        pool = RequestPool(memory, at_turn_end=lambda send: self.at(0, send), metrics=self.metrics)
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
