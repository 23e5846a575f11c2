"""Frames that wait for verdicts on their clients' signatures: each link's in its order, each signature checked once.

    if not lane.hold(requests, size_bytes, go_on):        # True: `go_on` is called later, in the order of this lane
        go_on()                                           # False: now, whatever its signatures are

One interface, two ways. `InlineLanes` never holds anything: whoever goes on checks the signatures where it stands. A
`RequestPool` has them checked in verifier processes meanwhile. Both share everything around them, because a verdict
does one thing only: a signature that holds is remembered (`VerifiedSignatures`), and whoever goes on finds it there.
What was not checked, or found wrong, is checked where it stands, as ever. So a refusal is always this process's own
word, with the same code; a verifier process that dies, lies about faults or answers nothing costs time and nothing
else; and nothing goes on before this process or a verifier has seen its signatures hold.

The rules of the pool: a message leaves when a turn ends, with all that the turn brought; while every verifier has one,
what arrives is collected for the next. A few signatures that come alone are checked where they stand: a message would
cost this process more. Nothing overtakes within a lane: a frame without signatures waits behind one that has some.
Lanes take turns, so that each long queue delays another's frames by one message. A signature that is asked for twice is
sent once. What waits is bounded by `SIGNATURES_MAX`, `FRAMES_MAX` and `BYTES_MAX`; past them, and without a verifier, a
lane goes on at once with all that waits in it. Pure: no socket, no clock; processes are `verifier_processes`'.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol, TypeAlias

from pbft.core.messages import Request
from pbft.node.metrics import Metrics
from pbft.wire.codec import UncheckedSignature

SIGNATURES_MAX: Final = 16_384  # on their way: of the largest frame, an answer with blocks; 0.7 s of one processor
FRAMES_MAX: Final = 16_384  # that wait in all lanes: a request each, and votes behind them
BYTES_MAX: Final = 16_777_216  # of these frames: four of the largest; what was read from them takes as much again
MESSAGE_SIGNATURES_MAX: Final = 512  # to one verifier, 23 ms: a full batch stays together, or its block would be two
IN_PLACE_MAX: Final = 3  # that are not worth a message, which costs this process about as much (110 us)
MESSAGE_SIGNED_BYTES_MAX: Final = 1_048_576  # of what they sign, and one more: of long ones fewer go together

GoOn: TypeAlias = Callable[[], None]


class Lane(Protocol):
    """What comes from one replica or one client, in its order."""

    def hold(self, requests: Iterable[Request], size_bytes: int, go_on: GoOn) -> bool:
        """Whether a frame with these requests waits: `go_on` is then called once, after all that waits before it.

        `size_bytes`: what it holds of memory meanwhile. False: nothing waits in this lane any more, and nothing is to
        be waited for.
        """
        ...

    def release(self) -> None:
        """All that waits goes on now, in its order."""
        ...


class Lanes(Protocol):
    """The strategy of a node."""

    def open(self) -> Lane:
        """A lane for one replica or one client; it needs no closing: what waits in it goes on."""
        ...


class InlineLane:
    """Holds nothing."""

    def hold(self, requests: Iterable[Request], size_bytes: int, go_on: GoOn) -> bool:
        """See `Lane.hold`: never."""
        return False

    def release(self) -> None:
        """See `Lane.release`: nothing waits."""


INLINE_LANE: Final = InlineLane()


class InlineLanes:
    """Signatures are checked where they stand: the simulator, and replicas without verifier processes."""

    def open(self) -> Lane:
        """See `Lanes.open`."""
        return INLINE_LANE


class SignatureMemory(Protocol):
    """Which clients' signatures were found to hold (`pbft.wire.verify.Verifier`)."""

    def find_unchecked(self, requests: Iterable[Request]) -> list[UncheckedSignature]:
        """Those of which it is not known."""
        ...

    def remember(self, identities: Iterable[bytes]) -> None:
        """These hold."""
        ...


class Helper(Protocol):
    """A verifier process that can be asked: `RequestPool.answer` or `RequestPool.lose` follows."""

    def ask(self, signatures: Sequence[UncheckedSignature]) -> None:
        """Which of these hold? It is not asked again before it has answered. It calls nothing back at once."""
        ...


class _Frame:
    """A frame that waits, and how many of its signatures have no verdict yet."""

    __slots__ = ("go_on", "is_gone", "lane", "missing", "size_bytes")

    def __init__(self, lane: "PooledLane", size_bytes: int, go_on: GoOn) -> None:
        self.lane = lane
        self.size_bytes = size_bytes
        self.go_on = go_on
        self.missing = 0
        self.is_gone = False  # it went on without its verdicts


class PooledLane:
    """A lane of a `RequestPool`."""

    def __init__(self, pool: "RequestPool") -> None:
        self._pool = pool
        self._frames: deque[_Frame] = deque()

    def hold(self, requests: Iterable[Request], size_bytes: int, go_on: GoOn) -> bool:
        """See `Lane.hold`."""
        unchecked = self._pool.find_unchecked(requests)
        if not (unchecked or self._frames):
            return False
        frame = _Frame(self, size_bytes, go_on)
        if not self._pool.take(frame, unchecked):
            self.release()
            return False
        self._frames.append(frame)
        return True

    def release(self) -> None:
        """See `Lane.release`."""
        while self._frames:
            self._go_on(self._frames.popleft())

    def advance(self) -> None:
        """Verdicts have come, or will not come: what waits for none any more goes on, up to the first that does."""
        while self._frames and not self._frames[0].missing:
            self._go_on(self._frames.popleft())

    def _go_on(self, frame: _Frame) -> None:
        self._pool.forget(frame)
        go_on, frame.go_on, frame.is_gone = frame.go_on, _nothing, True
        go_on()


def _nothing() -> None:
    """What is left of a frame that went on while a verifier still has its signatures."""


class RequestPool:
    """The lanes of one replica with verifier processes, and what these are asked."""

    def __init__(
        self,
        memory: SignatureMemory,
        *,
        at_turn_end: Callable[[Callable[[], None]], object],
        guard: AbstractContextManager[None],
        metrics: Metrics,
    ) -> None:
        """`at_turn_end` calls what it is given when all that this turn of the reactor brings has been handed in.

        `guard` is entered around what goes on later than it came, with a verdict or without one.
        """
        self._memory = memory
        self._at_turn_end = at_turn_end
        self._guard = guard
        self._metrics = metrics
        self._frames_of: dict[bytes, list[_Frame]] = {}  # by identity of a signature without a verdict
        self._unsent: dict[PooledLane, deque[UncheckedSignature]] = {}  # in the order of whose turn it is
        self._unsent_count = 0
        self._under_way: set[bytes] = set()  # identities that a verifier has
        self._idle: list[Helper] = []
        self._asked: dict[Helper, list[UncheckedSignature]] = {}
        self._is_sending = False  # at the end of this turn
        self._frames = 0
        self._bytes = 0

    @property
    def waiting(self) -> int:
        """Frames that wait in all lanes."""
        return self._frames

    @property
    def has_helpers(self) -> bool:
        """Whether anybody can be asked, now or next."""
        return bool(self._idle or self._asked)

    def open(self) -> Lane:
        """See `Lanes.open`."""
        return PooledLane(self)

    # -- for lanes --

    def find_unchecked(self, requests: Iterable[Request]) -> list[UncheckedSignature]:
        """The signatures that a frame has to wait for; none where nobody would check them."""
        return self._memory.find_unchecked(requests) if self.has_helpers else []

    def take(self, frame: _Frame, unchecked: list[UncheckedSignature]) -> bool:
        """Whether a frame may wait: its signatures are then on their way."""
        if (
            len(self._frames_of) + len(unchecked) > SIGNATURES_MAX
            or self._frames >= FRAMES_MAX
            or self._bytes + frame.size_bytes > BYTES_MAX
        ):
            self._metrics.verifier_overflows_total += 1
            return False
        for one in unchecked:
            frames = self._frames_of.setdefault(one.identity, [])
            if not frames or self._may_wait_for_long(one, frame, frames):
                self._queue(frame.lane, one)
            frames.append(frame)
        frame.missing = len(unchecked)
        self._frames += 1
        self._bytes += frame.size_bytes
        if self._unsent and not self._is_sending:
            self._is_sending = True
            self._at_turn_end(self._end_turn)
        return True

    def _may_wait_for_long(self, one: UncheckedSignature, frame: _Frame, frames: list[_Frame]) -> bool:
        """Whether a signature that others wait for, too, stands in their queues alone."""
        return one.identity not in self._under_way and all(other.lane is not frame.lane for other in frames)

    def _queue(self, lane: PooledLane, one: UncheckedSignature) -> None:
        self._unsent.setdefault(lane, deque()).append(one)
        self._unsent_count += 1

    def forget(self, frame: _Frame) -> None:
        """A frame goes on."""
        self._frames -= 1
        self._bytes -= frame.size_bytes

    # -- for verifier processes --

    def welcome(self, helper: Helper) -> None:
        """A verifier can be asked."""
        self._idle.append(helper)
        with self._guard:
            self._send()

    def answer(self, helper: Helper, verdicts: Sequence[bool]) -> None:
        """What a verifier found: one verdict for each signature that it was asked about, ValueError for another number.

        The next message leaves first, so that the verifier has work while this process goes on with what is settled.
        """
        asked = self._asked.pop(helper)
        self._idle.append(helper)
        held = [one.identity for one, holds in zip(asked, verdicts, strict=True) if holds]
        self._memory.remember(held)
        self._metrics.verifier_verdicts_total["holds"] += len(held)
        self._metrics.verifier_verdicts_total["fails"] += len(asked) - len(held)
        with self._guard:
            self._send()
            self._settle(asked)

    def lose(self, helper: Helper) -> None:
        """A verifier is gone, or not to be believed: what it had is checked here, where it stands. So is all that waits
        when it was the last one."""
        asked = self._asked.pop(helper, [])
        if helper in self._idle:
            self._idle.remove(helper)
        if not self.has_helpers:
            asked += self._next_message(self._unsent_count, math.inf)
        self._metrics.verifier_verdicts_total["none"] += len(asked)
        with self._guard:
            self._settle(asked)

    def _end_turn(self) -> None:
        self._is_sending = False
        with self._guard:
            self._send()

    def _send(self) -> None:
        """Shares what waits among the verifiers that have nothing to do; a few alone are not worth their while."""
        if not self._asked and self._unsent_count <= IN_PLACE_MAX:
            self._settle(self._next_message(IN_PLACE_MAX, math.inf))
            return
        while self._idle and self._unsent:
            share = min(-(-self._unsent_count // len(self._idle)), MESSAGE_SIGNATURES_MAX)
            message = self._next_message(share, MESSAGE_SIGNED_BYTES_MAX)
            if message:
                helper = self._idle.pop()
                self._asked[helper] = message
                helper.ask(message)

    def _next_message(self, count_max: int, room: float) -> list[UncheckedSignature]:
        """Signatures that somebody still waits for, from now on under way: a lane's oldest, then the next lane's. The
        last one may sign more than there is `room` for."""
        message: list[UncheckedSignature] = []
        while self._unsent and len(message) < count_max and room > 0:
            lane, queue = next(iter(self._unsent.items()))
            del self._unsent[lane]
            while queue and len(message) < count_max and room > 0:
                one = queue.popleft()
                self._unsent_count -= 1
                if self._is_waited_for(one):
                    message.append(one)
                    self._under_way.add(one.identity)
                    room -= len(one.signed)
            if queue:
                self._unsent[lane] = queue  # it is the others' turn first
        return message

    def _is_waited_for(self, one: UncheckedSignature) -> bool:
        """Whether a verdict helps anybody. It may be under way or settled by now, from another lane's queue."""
        frames = self._frames_of.get(one.identity)
        if frames is None or one.identity in self._under_way:
            return False
        if frames[0].is_gone and all(frame.is_gone for frame in frames):
            del self._frames_of[one.identity]
            return False
        return True

    def _settle(self, asked: list[UncheckedSignature]) -> None:
        """No verdict on these is waited for any more."""
        lanes: dict[PooledLane, None] = {}
        for one in asked:
            self._under_way.discard(one.identity)
            for frame in self._frames_of.pop(one.identity):
                frame.missing -= 1
                if not (frame.missing or frame.is_gone):
                    lanes[frame.lane] = None
        for lane in lanes:
            lane.advance()
