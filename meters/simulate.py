"""Replays a series through gateways at a chosen speed, in interval order, never further ahead than they can bear.

Owns the pace: which interval is measured when. At a speed of so many intervals a second the reactor's clock decides;
without one the verdicts do - a new interval is measured when an old one is decided, with `ahead` of them on the way.
A replay can be held at an interval, so that the demo kills a primary in the middle of traffic and not after it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meters.gateway import Gateway, Verdicts
from meters.series import MeterColumn, Series

AHEAD: Final = 16  # intervals measured and not yet decided: twice what a gateway has in flight
PUMP_S: Final = 0.0625  # how often the clock is looked at when a speed is given


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedGateway:
    """A gateway and the columns of the series that its meters measure."""

    gateway: Gateway
    columns: tuple[MeterColumn, ...]


class SeriesReplay:
    """Feeds a series to gateways. Tell it every verdict; it calls `on_progress(decided)` for each finished interval."""

    def __init__(
        self,
        reactor: Any,
        series: Series,
        gateways: Sequence[ReplayedGateway],
        *,
        intervals_per_second: float | None = None,
        ahead: int = AHEAD,
        on_progress: Callable[[int], None],
    ) -> None:
        self._reactor = reactor
        self._series = series
        self._gateways = tuple(gateways)
        self._speed = intervals_per_second
        self._ahead = ahead
        self._on_progress = on_progress
        self._hold_at = len(series.starts)
        self._measured = 0
        self._decided = 0
        self._missing = {start: len(self._gateways) for start in series.starts}  # verdicts still to come
        self._began: float = 0.0
        self._next_look: Any = None  # the delayed call, when a speed is given

    @property
    def decided(self) -> int:
        """Intervals of which every gateway's request has its final outcome."""
        return self._decided

    @property
    def is_complete(self) -> bool:
        return self._decided == len(self._series.starts)

    def start(self) -> None:
        """Begin; with a speed, the first interval is measured now."""
        self._began = self._reactor.seconds()
        self._look() if self._speed is not None else self._feed()

    def stop(self) -> None:
        """Measure nothing more."""
        self._hold_at = 0
        if self._next_look is not None and self._next_look.active():
            self._next_look.cancel()

    def hold_at(self, interval: int) -> None:
        """Measure no interval from this index on, until released."""
        self._hold_at = interval

    def release(self) -> None:
        """Go on to the end."""
        self._hold_at = len(self._series.starts)
        self._feed()

    def verdicts_arrived(self, verdicts: Verdicts) -> None:
        """A gateway's request of one interval has its final outcome."""
        self._missing[verdicts.start] -= 1
        if self._missing[verdicts.start] == 0:
            self._decided += 1
            self._on_progress(self._decided)
            self._feed()

    def _look(self) -> None:
        """At a speed: measure what the clock says is due, and look again."""
        self._feed()
        if self._measured < len(self._series.starts):
            self._next_look = self._reactor.callLater(PUMP_S, self._look)

    def _feed(self) -> None:
        """Measure the intervals that are due, several in one durable write where several are."""
        until = min(self._decided + self._ahead, self._hold_at, len(self._series.starts))
        if self._speed is not None:
            until = min(until, int((self._reactor.seconds() - self._began) * self._speed) + 1)
        if until <= self._measured:
            return
        due = range(self._measured, until)
        self._measured = until
        for replayed in self._gateways:
            replayed.gateway.measure(
                [
                    (
                        self._series.starts[index],
                        {column.meter: self._series.values_of(column)[index] for column in replayed.columns},
                    )
                    for index in due
                ]
            )
