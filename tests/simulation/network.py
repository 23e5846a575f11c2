"""The network of a simulated cluster: frames in flight on virtual time, with seeded loss, delay and duplication.

Reordering follows from unequal delays. Faults are drawn from one random source, so a seed reproduces a run.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random


@dataclass(kw_only=True)
class LinkFaults:
    """How frames fare; probabilities in thousandths. The default is a good local network."""

    delay_min_ms: int = 1
    delay_max_ms: int = 3
    loss_permille: int = 0
    duplication_permille: int = 0


@dataclass(kw_only=True)
class SimulatedNetwork:
    """Delivers frames through `schedule(delay_ms, action)`; `deliver(receiver, sender, frame)` hands them over."""

    random: Random
    replicas: int
    schedule: Callable[[int, Callable[[], None]], None]
    deliver: Callable[[int, int, bytes], None]
    faults: LinkFaults = field(default_factory=LinkFaults)
    cut: set[tuple[int, int]] = field(default_factory=set)  # (sender, receiver) links that carry nothing
    sent: int = 0
    lost: int = 0

    def send(self, sender: int, receiver: int, frame: bytes) -> None:
        """One frame on its way; perhaps lost, late or twice."""
        self.sent += 1
        copies = 1 + (self.random.randrange(1000) < self.faults.duplication_permille)
        for _ in range(copies):
            if (sender, receiver) in self.cut or self.random.randrange(1000) < self.faults.loss_permille:
                self.lost += 1
                continue
            delay_ms = self.random.randint(self.faults.delay_min_ms, self.faults.delay_max_ms)
            self.schedule(delay_ms, lambda: self.deliver(receiver, sender, frame))

    def partition(self, *groups: set[int]) -> None:
        """Only replicas of one group hear each other; who is in no group is alone."""
        together = {(a, b) for group in groups for a in group for b in group}
        self.cut = {
            (a, b) for a in range(self.replicas) for b in range(self.replicas) if a != b and (a, b) not in together
        }

    def heal(self) -> None:
        """Every link carries again."""
        self.cut = set()
