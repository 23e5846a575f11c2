"""Vouched reads, pure: when do the answers of several replicas make one answer that can be believed?

An answer counts when it is at or above the wanted height. W byte-equal answers - the same height, time, status, code
and result - contain a correct replica's, so the value was the network's at that height; it may be old (D48).
Replicas that execute at different moments answer at different heights, so the read keeps the latest answer of each and
asks again, in ticks, until W agree. No clock, no socket.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

READ_RESEND_TICKS: Final = 10  # between questions to everybody; answers are cheap, but a hurry helps nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAnswer:
    """One replica's answer to a view, as it came over the link."""

    height: int
    time_ms: int
    status: str  # of the call: "ok" or why not
    code: str
    result: bytes  # canonical bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VouchedAnswer:
    """W equal answers."""

    answer: ReadAnswer
    vouched_by: tuple[int, ...]  # ascending replica ids


class VouchedRead:
    """One question to all replicas. Feed it answers and ticks; `decided` is set when W agree."""

    def __init__(self, *, replicas: int, weak_quorum: int, min_height: int) -> None:
        self.decided: VouchedAnswer | None = None
        self._replicas = replicas
        self._weak_quorum = weak_quorum
        self._min_height = min_height
        self._answers: dict[int, ReadAnswer] = {}
        self._refusals: dict[int, str] = {}
        self._ticks = 0

    def start(self) -> Sequence[int]:
        """The replicas to ask first: all of them."""
        return range(self._replicas)

    def tick(self) -> Sequence[int]:
        """One tick has passed: the replicas to ask again now."""
        self._ticks += 1
        if self.decided is not None or self._ticks % READ_RESEND_TICKS:
            return ()
        return range(self._replicas)

    def receive(self, replica: int, answer: ReadAnswer) -> None:
        """Count an answer from the replica at the other end of the link."""
        if self.decided is not None or not 0 <= replica < self._replicas:
            return
        if answer.height < self._min_height:
            self._refusals[replica] = f"at height {answer.height}, {self._min_height} wanted"
            return
        self._answers[replica] = answer
        self._refusals.pop(replica, None)
        voters = tuple(sorted(voter for voter, other in self._answers.items() if other == answer))
        if len(voters) >= self._weak_quorum:
            self.decided = VouchedAnswer(answer=answer, vouched_by=voters)

    def receive_refusal(self, replica: int, code: str) -> None:
        """A door that would not answer: remembered for the error message, asked again at the next round."""
        if 0 <= replica < self._replicas and replica not in self._answers:
            self._refusals[replica] = code

    def disagreement(self) -> tuple[tuple[int, str], ...]:
        """Who said what, ascending by replica: for the error when time is up."""
        said = {replica: f"{answer.status} at height {answer.height}" for replica, answer in self._answers.items()}
        return tuple(sorted({**said, **self._refusals}.items()))
