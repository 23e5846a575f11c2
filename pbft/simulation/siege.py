"""A siege: no view succeeds, until timers are as long as they get (M31, D57).

Q replicas hear each other, so each view is suspected, left, and timed (M30); but nobody hears whoever leads it. A run
of ten seconds sees two or three such views in a row; here they follow each other until timers have doubled as often as
they may, and once more. What comes after it is the longest wait that the liveness bound allows for.

A mute leader is one of the f faulty. Where an observer or a lost machine is one already, no quorum is left: nothing
moves until the siege is lifted, and the run does not count as besieged.
"""

from collections.abc import Callable
from typing import Final

from pbft.core.config import TIMER_DOUBLINGS_MAX
from pbft.simulation.cluster import Cluster
from pbft.simulation.machine import Machine

REASON_MS: Final = 1_000  # how often somebody looks whether there is a reason to suspect
PATIENCE_MS: Final = 240_000  # of the siege itself: T (1 + 2 + ... + 32) are 95 s, and half the views start late


def lay_siege(cluster: Cluster, submit: Callable[[], None]) -> bool:
    """Mutes one leader after the other, and lifts it all; whether somebody has left a view with timers at their cap.

    `submit` hands in a transaction: who waits for nothing suspects nobody.
    """
    siege = _Siege(cluster, submit)
    cluster.trace.record_fault(cluster.now_ms, "a siege: nobody hears whoever leads")
    is_done = cluster.run(PATIENCE_MS, until=lambda: siege.is_over)
    siege.lift()
    return is_done


class _Siege:
    def __init__(self, cluster: Cluster, submit: Callable[[], None]) -> None:
        self.is_over = False
        self._cluster = cluster
        self._submit = submit
        self._is_lifted = False
        self._views: dict[int, tuple[int, int]] = {}  # replica -> its epoch and view
        self._longest: dict[
            int, tuple[int, int]
        ] = {}  # replica -> (epoch, view) that it entered with timers at their cap
        cluster.turn_listeners.append(self._look)
        self._give_reason()

    def lift(self) -> None:
        """Everybody is heard again."""
        self._is_lifted = True
        self._cluster.network.cut = set()

    def _give_reason(self) -> None:
        if self._is_lifted:
            return
        if not any(node.replica.state.pending for node in self._cluster.correct):
            self._submit()
        self._mute()  # the last cuts of other faults may have healed, and taken a link of this one with them
        self._cluster.at(REASON_MS, self._give_reason)

    def _look(self, machine: Machine) -> None:
        """A turn is over: before what others say of a later view reaches its leader, that one is mute."""
        if self._is_lifted or machine.node is None or machine.replica in self._cluster.checkers.faulty:
            return
        state = machine.node.replica.state
        now = state.configuration.epoch, state.view
        if self._views.get(machine.replica) != now:
            self._views[machine.replica] = now
            self._mute()
        if state.doublings >= TIMER_DOUBLINGS_MAX:
            self.is_over |= self._longest.setdefault(machine.replica, now) != now

    def _mute(self) -> None:
        """Nobody hears whoever leads the latest view that more than half of the correct replicas have reached: without
        them it is not entered, and those who stay behind in an earlier one are too few to be suspected alone."""
        voters = [node for node in self._cluster.correct if node.replica.state.is_voter]
        if not voters:
            return
        voters.sort(key=lambda node: (node.replica.epoch, node.replica.view))
        most = voters[(len(voters) - 1) // 2].replica
        machines = self._cluster.machines
        muted = {
            machine.replica
            for machine in machines
            if machine.node is not None
            and machine.node.replica.epoch == most.epoch
            and machine.node.replica.replica_id == most.primary
        }
        self._cluster.network.cut = {(a, b.replica) for a in muted for b in machines if b.replica != a}
