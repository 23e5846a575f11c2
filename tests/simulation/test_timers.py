"""Whole nodes and their timers on virtual time: wrong clocks, quiet networks, proposals that die with their primary."""

from collections.abc import Sequence

import pytest
from simulation.test_cluster import expect_done, runs, total

from pbft.core.config import QUIET_TIMERS, TICK_MS
from pbft.core.messages import Envelope, PeerMessage, PrePrepare
from pbft.simulation.cluster import Cluster
from pbft.simulation.founding import PROTOCOL
from pbft.simulation.liars import corrupt
from pbft.simulation.workload import Workload


@pytest.mark.parametrize("offset_ms", [60_000, -60_000])
def test_a_wrong_clock_costs_no_view(offset_ms: int) -> None:
    """D60, D63: one backup is a minute off, ahead or behind; due calls run on time, and nobody leaves the view."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.machines[2].clock_offset_ms = offset_ms
    load.submit(1, "add", [b"total", 1], through=[0, 1])
    expect_done(cluster, load, 5_000)
    for number in range(3):
        due = cluster.now_ms // 1000 + 8
        load.submit(9, "later", [due], through=[0, 1])
        expect_done(cluster, load, 5_000)
        assert cluster.run(20_000, until=lambda expected=number + 1: runs(cluster, 0) == expected), cluster.describe()
        assert cluster.now_ms // 1000 <= due + 1
        cluster.run(3_000)
    assert {node.replica.view for node in cluster.running} == {0}


@pytest.mark.parametrize("behind", [False, True])
def test_a_primary_that_runs_no_due_call_is_passed_over(behind: bool) -> None:
    """D63, D64: the primary is gone and nothing else waits; the others run the call within 2 s and the timers of the
    view change. Where one more clock is behind, at most that much later."""
    cluster = Cluster()
    load = Workload(cluster)
    due = cluster.now_ms // 1000 + 10
    load.submit(9, "later", [due], through=[0, 1])
    expect_done(cluster, load, 5_000)
    cluster.kill(0)
    cluster.machines[2].clock_offset_ms = -10_000 if behind else 0
    assert cluster.run(60_000, until=lambda: runs(cluster, 1) == 1), cluster.describe()
    late_ms = cluster.now_ms - due * 1000
    assert late_ms <= 2_000 + 2 * PROTOCOL.base_timer_ms + (10_000 if behind else 0)


def test_timers_recover_on_a_quiet_network() -> None:
    """D57: after several kills in a row timers are long; hours of silence later a dead primary costs T, not 8 T."""
    cluster = Cluster()
    load = Workload(cluster)
    for primary in range(3):
        cluster.kill(primary)
        load.submit(1, "add", [b"total", 1], through=[(primary + 1) % 4])
        expect_done(cluster, load, 60_000)
        cluster.start(primary)
        cluster.run(5_000)
    grown = max(node.replica.state.doublings for node in cluster.running)
    assert grown >= 2
    view = max(node.replica.view for node in cluster.running)
    cluster.run((QUIET_TIMERS * PROTOCOL.base_timer_ms + TICK_MS) << (grown + 1))
    assert {node.replica.state.doublings for node in cluster.running} == {0}
    assert {node.replica.view for node in cluster.running} == {view}
    cluster.kill(cluster.node(0).replica.primary)
    before_ms = cluster.now_ms
    load.submit(1, "add", [b"total", 1], through=[machine.replica for machine in cluster.machines if machine.node])
    expect_done(cluster, load, 60_000)
    assert cluster.now_ms - before_ms <= 2 * PROTOCOL.base_timer_ms


def test_a_proposal_that_dies_with_its_primary_needs_no_client() -> None:
    """M24, M51: the client reached the primary alone, one backup heard the proposal, nobody prepared it; the new view
    cuts the slot, and the backup that promised it brings the request back."""
    cluster = Cluster()
    load = Workload(cluster)
    cluster.run(200)

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        is_proposal = isinstance(message, Envelope) and isinstance(message.messages[0], PrePrepare)
        return [message] if is_proposal and receiver == 3 else []

    corrupt(cluster, 0, lie)
    load.submit(1, "add", [b"total", 1], through=[0])
    assert cluster.run(1_000, until=lambda: bool(cluster.node(3).replica.state.pre_prepared))
    cluster.kill(0)
    assert cluster.run(30_000, until=lambda: [total(cluster, r) for r in (1, 2, 3)] == [1, 1, 1]), cluster.describe()
