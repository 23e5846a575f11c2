"""What waits for one replica: two queues, one bound, and a rule what to drop (D10).

Protocol frames go before relayed client traffic, each in the order given. A full queue drops its oldest client frame
first, then its oldest protocol frame: STATUS asks again for whatever the protocol misses, clients ask again themselves.
While the replica is away the bounds are tight: what it missed in a long absence it fetches as blocks, and a backlog of
old votes would only keep it busy.
"""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

FRAME_COST_BYTES: Final = 128  # what Python keeps around a frame


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueBounds:
    """How much may wait."""

    bytes_max: int
    frames_max: int


LINKED: Final = QueueBounds(bytes_max=33_554_432, frames_max=20_000)  # several of the largest frames, a burst of votes
AWAY: Final = QueueBounds(bytes_max=8_388_608, frames_max=500)  # a restart of a few seconds under load loses nothing


class SendQueue:
    """Bounded by bytes and by frames; `dropped` counts by class: "client", "protocol"."""

    def __init__(self, dropped: Counter[str], bounds: QueueBounds = AWAY) -> None:
        self._dropped = dropped
        self._bounds = bounds
        self._protocol: deque[bytes] = deque()
        self._client: deque[bytes] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._protocol) + len(self._client)

    @property
    def bytes_held(self) -> int:
        """Bytes of all waiting frames, with what Python keeps around them."""
        return self._bytes

    def set_bounds(self, bounds: QueueBounds) -> None:
        """From now on at most so much waits; what is too much is dropped at once."""
        self._bounds = bounds
        self._drop_excess()

    def push(self, frame: bytes, *, is_client_traffic: bool) -> None:
        """Adds a frame; what the bounds then forbid is dropped, the oldest client frame first."""
        (self._client if is_client_traffic else self._protocol).append(frame)
        self._bytes += len(frame) + FRAME_COST_BYTES
        self._drop_excess()

    def pop(self) -> bytes | None:
        """The next frame to send, protocol before client traffic; None where nothing waits."""
        if self._protocol:
            return self._take(self._protocol)
        return self._take(self._client) if self._client else None

    def _drop_excess(self) -> None:
        while self._bytes > self._bounds.bytes_max or len(self) > self._bounds.frames_max:
            self._dropped["client" if self._client else "protocol"] += 1
            self._take(self._client or self._protocol)

    def _take(self, frames: deque[bytes]) -> bytes:
        frame = frames.popleft()
        self._bytes -= len(frame) + FRAME_COST_BYTES
        return frame
