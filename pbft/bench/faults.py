"""What goes wrong in a bench, and what came of it: who is faulty, from when, and how long nobody was served.

Processes are stopped and killed with signals; a slow or lying primary is a process of its own (`traitor`) that turns
traitor when it is told. No replica that is measured knows of it. Figures of a fault are about the course of the window:
the longest time without a request done, and what was done per second once 2 T were over.
"""

import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from ledger.configuration import ProtocolParameters
from pbft.bench.options import BenchError, BenchOptions
from pbft.node import local_cluster
from pbft.node.local_network import LocalNetwork
from pbft.node.local_processes import ProcessRecord, running_record, signal_process

if TYPE_CHECKING:
    from pbft.bench.run import Point

TRAITOR_MODULE: Final = "pbft.cli.traitor"
FLOODER_MODULE: Final = "pbft.bench.flooder"
TURN_TRAITOR: Final = signal.SIGUSR1
END_SECONDS_MAX: Final = 5.0
LAGGING_SHARE: Final = 0.4  # of the window: how long the lagging replica stands still
AFTER_SECONDS: Final = 2 * ProtocolParameters().base_timer_ms / 1_000  # 2 T: when service must be back (FIGURES 14)


class Fault:
    """No fault; the others change what they must."""

    replica: int | None = None  # who is faulty; its usage is not measured

    def __init__(self, options: BenchOptions) -> None:
        self._options = options
        self._evidence = 0  # pieces that the replicas keep when the window is over

    def start(self, network: LocalNetwork) -> None:
        """Starts all replicas."""
        local_cluster.start(network, options=self._options.run_options)

    def watched(self, network: LocalNetwork) -> tuple[int, ...]:
        """The replicas whose usage is measured."""
        return tuple(r.replica_id for r in network.replicas if r.replica_id != self.replica)

    def begin(self, network: LocalNetwork) -> None:
        """The window begins."""

    def look(self, network: LocalNetwork, seconds: float) -> None:
        """The window has lasted so long."""

    def finish(self, network: LocalNetwork) -> None:
        """The window is over."""
        self._evidence = sum(len(list((r.data_path / "evidence").glob("*"))) for r in network.replicas)

    def end(self, network: LocalNetwork) -> None:
        """The network is about to end, for whatever cause; a stopped process could not be ended in order."""

    def describe(self, course: "Sequence[Point]") -> dict[str, Any]:
        """What came of it; empty without a fault."""
        if self._options.faults == "none":
            return {}
        return {
            "kind": self._options.faults,
            "replica": self.replica,
            "longest_gap_seconds": round(longest_gap_seconds(course), 3),
            "evidence": self._evidence,
            "requests_per_second_after_2_base_timers": _rate_after(course, AFTER_SECONDS),
        }


class ReplicaDown(Fault):
    """One backup is killed and stays away."""

    def __init__(self, options: BenchOptions) -> None:
        super().__init__(options)
        self.replica = options.replicas - 1

    def begin(self, network: LocalNetwork) -> None:
        """SIGKILL, with its worker."""
        assert self.replica is not None
        local_cluster.kill(network, self.replica)


class Stopped(Fault):
    """A replica's process stands still: it is there, and says nothing."""

    def __init__(self, options: BenchOptions, replica: int, resume_at_seconds: float | None) -> None:
        super().__init__(options)
        self.replica = replica
        self._resume_at = resume_at_seconds
        self._record: ProcessRecord | None = None
        self._height = 0
        self._caught_up_seconds: float | None = None

    def begin(self, network: LocalNetwork) -> None:
        """SIGSTOP."""
        assert self.replica is not None
        self._record = running_record(network.replica(self.replica).record_path)
        if self._record is not None:
            signal_process(self._record, signal.SIGSTOP)

    def look(self, network: LocalNetwork, seconds: float) -> None:
        """SIGCONT when it is time; then it is looked how far it is behind."""
        if self._record is None or self._resume_at is None or seconds < self._resume_at:
            return
        if not self._height:
            self._height = local_cluster.status(network)["height"] or 0
            signal_process(self._record, signal.SIGCONT)
        elif self._caught_up_seconds is None:
            entry = local_cluster.status(network)["replicas"][self.replica]
            if (entry["height"] or 0) >= self._height:
                self._caught_up_seconds = round(seconds - self._resume_at, 3)

    def end(self, network: LocalNetwork) -> None:
        """SIGCONT, so that SIGTERM is heard."""
        if self._record is not None:
            signal_process(self._record, signal.SIGCONT)

    def describe(self, course: "Sequence[Point]") -> dict[str, Any]:
        """With how long it took to reach the height that the others had when it went on."""
        lag = {} if self._resume_at is None else {"height": self._height, "caught_up_seconds": self._caught_up_seconds}
        return super().describe(course) | lag


class Traitor(Fault):
    """The first primary runs the simulator's traitor code over production parts, and lies from the window on."""

    replica = 0

    def __init__(self, options: BenchOptions, kind: str) -> None:
        super().__init__(options)
        self._kind = kind

    def start(self, network: LocalNetwork) -> None:
        """The traitor's process and the others."""
        options = self._options.run_options
        local_cluster.start_replica(network, 0, program=(TRAITOR_MODULE, self._kind, "run"), options=options)
        local_cluster.start(network, options=options)

    def begin(self, network: LocalNetwork) -> None:
        """From now on it lies."""
        record = running_record(network.replica(0).record_path)
        if record is not None:
            signal_process(record, TURN_TRAITOR)


class Flood(Fault):
    """A client with a good certificate sends as fast as it can what the primary has to check and refuse."""

    def __init__(self, options: BenchOptions) -> None:
        super().__init__(options)
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, network: LocalNetwork) -> None:
        """Start its process."""
        command = [sys.executable, "-I", "-m", FLOODER_MODULE, str(network.directory)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - ours

    def finish(self, network: LocalNetwork) -> None:
        """It has done enough."""
        super().finish(network)
        self.end(network)

    def end(self, network: LocalNetwork) -> None:
        """End its process; whatever it does, it is gone afterwards."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(END_SECONDS_MAX)


def make_fault(options: BenchOptions) -> Fault:
    """The fault of these options. Raises BenchError `bad_faults`."""
    match options.faults:
        case "none":
            return Fault(options)
        case "replica-down":
            return ReplicaDown(options)
        case "silent-primary":
            return Stopped(options, 0, None)
        case "lagging-replica":
            return Stopped(options, options.replicas - 1, LAGGING_SHARE * options.seconds)
        case "slow-primary":
            return Traitor(options, "slow_primary")
        case "equivocating-primary":
            return Traitor(options, "equivocating")
        case "flooding-client":
            return Flood(options)
    raise BenchError("bad_faults", f"no fault is called {options.faults!r}")


def longest_gap_seconds(course: "Sequence[Point]") -> float:
    """The longest time in a course without a request done."""
    longest, since = 0.0, 0.0
    for before, after in pairwise(course):
        if after.completed > before.completed:
            longest, since = max(longest, before.seconds - since), after.seconds
    return max(longest, course[-1].seconds - since)


def _rate_after(course: "Sequence[Point]", seconds: float) -> float | None:
    """Requests a second from that moment of the window on; None where it is too short."""
    first = next((point for point in course if point.seconds >= seconds), None)
    if first is None or first is course[-1]:
        return None
    return round((course[-1].completed - first.completed) / (course[-1].seconds - first.seconds), 1)
