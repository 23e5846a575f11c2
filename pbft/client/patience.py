"""How long the primary has a request to itself, learned from how long its answers take.

Section 4.1 lets a client send to all when the primary does not answer "soon enough". Under load a fixed wait is wrong:
once answers take longer than it, every request goes to every replica, each reads and passes on all of them, answers
take longer still, and a network that was busy is overwhelmed (a congestion collapse, RFC 6298 section 5, RFC 896). So
the wait follows the answers: twice the smoothed latency, within bounds. Refused: four times its variance, as TCP has
it. Answers come in blocks of hundreds that are alike, and the next block may well be a little slower.

Only the primary's own answers teach. What the others answer after they were told says how long the primary was silent,
and a client that learned from it would wait longest where it should wait least (Karn's rule, RFC 6298 section 3, asks
the same: no sample that a second sending may have made). Refused: to learn from requests alone that went to nobody
else; a network whose answers take longer than the first wait would never teach.
"""

from typing import Final

GAIN: Final = 1 / 8  # weight of the newest latency (RFC 6298 section 2)
FACTOR: Final = 2.0  # an answer that takes twice the usual time is late
FACTOR_OF_LEAST_MAX: Final = 4.0  # a primary that answers ever more slowly is not waited for without end


EXPECTED_MAX: Final = 16_384  # requests whose primary has not answered yet; a client has a quarter of that at once


class Patience:
    """A wait, at least `least` (in any unit) and at most `FACTOR_OF_LEAST_MAX` times that."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._smoothed: float | None = None
        self._expected: dict[int, tuple[int, float]] = {}  # correlation -> (primary, when it was sent to it)

    @property
    def value(self) -> float:
        """How long to wait for the next answer, in the unit of `least`."""
        usual = FACTOR * (self._smoothed or 0.0)
        return min(max(usual, self._least), FACTOR_OF_LEAST_MAX * self._least)

    def sent(self, correlation: int, primary: int, now: float) -> None:
        """A request leaves for the primary. Where too many wait, the oldest is forgotten."""
        if len(self._expected) >= EXPECTED_MAX:
            del self._expected[next(iter(self._expected))]
        self._expected[correlation] = (primary, now)

    def answered(self, correlation: int, replica: int, now: float) -> None:
        """A reply has arrived, perhaps to a request that others have decided before; only the primary's teaches."""
        primary, sent = self._expected.get(correlation, (None, 0.0))
        if primary == replica:
            del self._expected[correlation]
            latency = now - sent
            before = latency if self._smoothed is None else self._smoothed
            self._smoothed = before + GAIN * (latency - before)
