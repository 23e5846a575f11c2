"""Questions that change nothing, pure: reads, proofs and heads, from the first frame sent to a believable answer.

Each question is fed frames and ticks, returns the frames to send, and ends with `answer` set, or is given up by its
owner, who then raises `failure()`. No clock, no socket; waiting times are ticks.

A read is vouched when W answers are byte-equal - the same height, time, status, code and result - because one of them
is a correct replica's: the value was the network's at that height, though it may be old (D48). Replicas that execute at
different moments answer at different heights, so the question keeps each replica's latest answer and asks again. A
proof needs one replica only, since it is checked against the genesis file; a replica whose proof does not verify is
passed over.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from ledger.errors import InvalidProof
from pbft.client.errors import ClientError, NoProof, NotVouched
from pbft.wire.client_frames import (
    ClientFrame,
    Head,
    HeadRequest,
    OneAnswer,
    Proof,
    ProofAnswer,
    Refused,
    View,
    ViewAnswer,
)

ASK_AGAIN_TICKS: Final = 4  # between rounds of a read: about the time of a block
NEXT_REPLICA_TICKS: Final = 20  # how long one replica may take to find a proof

Answer = TypeVar("Answer")
Sends: TypeAlias = Sequence[tuple[int, ClientFrame]]


class Question(ABC, Generic[Answer]):
    """What the client's loop needs of every question."""

    answer: Answer | None = None

    @abstractmethod
    def start(self) -> Sends:
        """The first frames."""

    @abstractmethod
    def receive(self, replica: int, frame: OneAnswer) -> Sends:
        """A frame with this question's correlation, from the replica at the other end of that link."""

    @abstractmethod
    def tick(self) -> Sends:
        """One tick has passed."""

    @abstractmethod
    def failure(self) -> ClientError:
        """What to raise when the caller's patience ends first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VouchedView:
    """Equal answers to a view, and who gave them."""

    height: int
    time_ms: int  # agreed time of that height, UTC
    status: str  # "ok", or why the view failed
    code: str
    result: bytes  # canonical bytes
    vouched_by: tuple[int, ...]  # ascending replica ids


class ReadQuestion(Question[VouchedView]):
    """A view asked of `replicas`; answered when `wanted` of them agree at or above `view.min_height`."""

    def __init__(self, view: View, *, replicas: Sequence[int], wanted: int) -> None:
        self._view = view
        self._replicas = tuple(replicas)
        self._wanted = wanted
        self._answers: dict[int, tuple[int, int, str, str, bytes]] = {}
        self._refusals: dict[int, str] = {}
        self._ticks = 0

    def start(self) -> Sends:
        return [(replica, self._view) for replica in self._replicas]

    def tick(self) -> Sends:
        self._ticks += 1
        return [] if self._ticks % ASK_AGAIN_TICKS else self.start()

    def receive(self, replica: int, frame: OneAnswer) -> Sends:
        if replica not in self._replicas:
            return []
        if isinstance(frame, Refused):
            self._refusals[replica] = frame.code
        elif isinstance(frame, ViewAnswer) and frame.height < self._view.min_height:
            self._refusals[replica] = f"height {frame.height}, {self._view.min_height} wanted"
        elif isinstance(frame, ViewAnswer):
            self._count(replica, frame)
        return []

    def failure(self) -> ClientError:
        said = {replica: f"{answer[2]} at height {answer[0]}" for replica, answer in self._answers.items()}
        return NotVouched(self._wanted, tuple(sorted({**self._refusals, **said}.items())))

    def _count(self, replica: int, frame: ViewAnswer) -> None:
        answer = (frame.height, frame.time_ms, frame.status, frame.code, frame.result)
        self._answers[replica] = answer
        voters = tuple(sorted(voter for voter, other in self._answers.items() if other == answer))
        if len(voters) >= self._wanted:
            self.answer = VouchedView(
                height=frame.height,
                time_ms=frame.time_ms,
                status=frame.status,
                code=frame.code,
                result=frame.result,
                vouched_by=voters,
            )


class ProofQuestion(Question[bytes]):
    """A proof asked of one replica after the other until one verifies. `verify` raises InvalidProof."""

    def __init__(
        self, request: Proof, *, subject: str, replicas: Sequence[int], verify: Callable[[bytes], object]
    ) -> None:
        self._request = request
        self._subject = subject
        self._replicas = tuple(replicas)
        self._verify = verify
        self._turn = 0
        self._ticks = 0
        self._reasons: dict[int, str] = {}

    def start(self) -> Sends:
        self._ticks = 0
        return [(self._replicas[self._turn % len(self._replicas)], self._request)]

    def tick(self) -> Sends:
        self._ticks += 1
        if self._ticks < NEXT_REPLICA_TICKS:
            return []
        self._turn += 1
        return self.start()

    def receive(self, replica: int, frame: OneAnswer) -> Sends:
        if isinstance(frame, Refused) or (isinstance(frame, ProofAnswer) and frame.code):
            self._pass_over(replica, frame.code)
        elif isinstance(frame, ProofAnswer):
            try:
                self._verify(frame.proof)
            except InvalidProof as error:
                self._pass_over(replica, f"does not verify: {error}")
            else:
                self.answer = frame.proof
        return []

    def failure(self) -> ClientError:
        return NoProof(self._subject, tuple(sorted(self._reasons.items())))

    def _pass_over(self, replica: int, reason: str) -> None:
        """The next replica is asked a few ticks later: a certificate may be on its way (D24)."""
        self._reasons[replica] = reason
        self._ticks = max(self._ticks, NEXT_REPLICA_TICKS - ASK_AGAIN_TICKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadAnswer:
    """How far the replicas say they are: hints, not proofs, ascending by replica."""

    heads: tuple[tuple[int, Head], ...]
    height: int  # that some correct replica has executed: W claim it or more


class HeadQuestion(Question[HeadAnswer]):
    """Asks every replica where it stands; answered when `wanted` have said so."""

    def __init__(self, request: HeadRequest, *, replicas: Sequence[int], wanted: int, weak_quorum: int) -> None:
        self._request = request
        self._replicas = tuple(replicas)
        self._wanted = wanted
        self._weak_quorum = weak_quorum
        self._heads: dict[int, Head] = {}
        self._ticks = 0

    def start(self) -> Sends:
        return [(replica, self._request) for replica in self._replicas if replica not in self._heads]

    def tick(self) -> Sends:
        self._ticks += 1
        return [] if self._ticks % ASK_AGAIN_TICKS else self.start()

    def receive(self, replica: int, frame: OneAnswer) -> Sends:
        if isinstance(frame, Head) and replica in self._replicas:
            self._heads[replica] = frame
            if len(self._heads) >= self._wanted:
                heights = sorted((head.height for head in self._heads.values()), reverse=True)
                heads = tuple(sorted(self._heads.items()))
                self.answer = HeadAnswer(heads=heads, height=heights[self._weak_quorum - 1])
        return []

    def failure(self) -> ClientError:
        said = tuple((replica, f"at height {head.height}") for replica, head in sorted(self._heads.items()))
        return NotVouched(self._wanted, said)
