"""The network of a simulated cluster: frames in flight on virtual time, with seeded faults of every link.

Loss, delay and duplication are drawn per frame; reordering follows from unequal delays. Cuts, clogs and slow senders
are states of single links, one direction at a time, that somebody switches on and off. All chance comes from one random
source, so a seed reproduces a run.
"""

from collections.abc import Callable, Collection
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
    clogged: dict[tuple[int, int], list[bytes]] = field(default_factory=dict)  # links that hold what they are given
    slow_ms: dict[int, int] = field(default_factory=dict)  # sender -> added to the delay of all that it sends
    loses: Callable[[int, int, bytes], bool] | None = None  # whether (sender, receiver, frame) is lost, beside chance
    sent: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0  # frames that arrived after a later one of their link
    _latest: dict[tuple[int, int], int] = field(default_factory=dict)  # link -> number of the latest frame to arrive

    def send(self, sender: int, receiver: int, frame: bytes) -> None:
        """One frame on its way; perhaps lost, late or twice."""
        self.sent += 1
        if self.loses is not None and self.loses(sender, receiver, frame):
            self.lost += 1
            return
        if (sender, receiver) in self.clogged:
            self.clogged[sender, receiver].append(frame)
            return
        draw, faults = self.random.random, self.faults  # one cheap draw each: this is the busiest line of a run
        copies = 1 + (draw() * 1000 < faults.duplication_permille)
        self.duplicated += copies - 1
        for _ in range(copies):
            if (sender, receiver) in self.cut or draw() * 1000 < faults.loss_permille:
                self.lost += 1
                continue
            delay_ms = faults.delay_min_ms + int(draw() * (faults.delay_max_ms - faults.delay_min_ms + 1))
            delay_ms += self.slow_ms.get(sender, 0)
            self.schedule(delay_ms, lambda number=self.sent: self._arrive(receiver, sender, frame, number))  # type: ignore[misc]

    def _arrive(self, receiver: int, sender: int, frame: bytes, number: int) -> None:
        if number < self._latest.get((sender, receiver), 0):
            self.reordered += 1
        else:
            self._latest[sender, receiver] = number
        self.deliver(receiver, sender, frame)

    def partition(self, *groups: set[int]) -> None:
        """Only replicas of one group hear each other; who is in no group is alone."""
        together = {(a, b) for group in groups for a in group for b in group}
        self.cut = {
            (a, b) for a in range(self.replicas) for b in range(self.replicas) if a != b and (a, b) not in together
        }

    def deafen(self, group: set[int]) -> None:
        """One-way: nobody of `group` hears anybody outside it, and everybody outside hears the group."""
        others = set(range(self.replicas)) - group
        self.cut = {(sender, receiver) for sender in others for receiver in group}

    def clog(self, sender: int, receiver: int) -> None:
        """From now on the link holds its frames, and loses none."""
        self.clogged.setdefault((sender, receiver), [])

    def unclog(self, links: Collection[tuple[int, int]]) -> None:
        """What these links held arrives now, in order; those that are not clogged are left alone."""
        for sender, receiver in sorted(links):
            for frame in self.clogged.pop((sender, receiver), ()):
                self.schedule(
                    self.faults.delay_min_ms,
                    lambda r=receiver, s=sender, f=frame: self.deliver(r, s, f),  # type: ignore[misc]
                )

    def heal(self) -> None:
        """Every link carries again; what clogged links held arrives now, in order."""
        self.cut = set()
        self.slow_ms = {}
        self.unclog(tuple(self.clogged))
