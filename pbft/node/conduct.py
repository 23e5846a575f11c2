"""How peers behave on their links: whose frames are refused again and again is hung up on, and barred for a while.

Each refused frame costs this replica a decoding or a signature, and its sender nothing. Its rules: only what no correct
replica sends is held against a peer, never what this one drops because it is busy, has no use for it, or stands in
another epoch; a bar ends by itself, because what looks like malice may be another release; the other f + 1 links carry
everything that a barred one would have brought.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

REFUSALS_MAX: Final = 16  # in REFUSALS_SECONDS: a flipped bit now and then is no malice
REFUSALS_SECONDS: Final = 10.0
BARRED_SECONDS: Final = 30.0  # a liar that always dials again costs 16 frames in 30 s; an operator's mistake heals


class Conduct:
    """The refusals of each peer, by its transport key, on one clock."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._refusals: dict[bytes, deque[float]] = {}
        self._barred: dict[bytes, float] = {}

    def is_barred(self, key: bytes) -> bool:
        """Whether a link of this peer is refused now."""
        return self._barred.get(key, 0.0) > self._seconds()

    def note_refusal(self, key: bytes) -> bool:
        """A frame of this peer was refused. True where that is one too many: the link is to be ended."""
        now = self._seconds()
        times = self._refusals.setdefault(key, deque(maxlen=REFUSALS_MAX))
        times.append(now)
        if len(times) < REFUSALS_MAX or now - times[0] > REFUSALS_SECONDS:
            return False
        times.clear()
        self._barred[key] = now + BARRED_SECONDS
        return True
