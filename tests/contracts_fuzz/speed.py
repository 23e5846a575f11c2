"""How long a unit of gas takes, on a machine whose speed is not known and which others use too.

The bar is 100 ns of processor time for a unit of gas on the machine class of the design (CONTRACTS.md section 7). A
fixed piece of plain Python, the yardstick, took `YARDSTICK_NS` there when nothing else ran; its time now says by how
much this machine is slower at this moment, and measured times are divided by that. Both are the least of three.
"""

from collections.abc import Callable
from time import process_time_ns
from typing import Final

NANOSECONDS_PER_GAS_MAX: Final = 100
NANOSECONDS_PER_GAS_PRICED: Final = 65
"""What a price is set by, on a quiet machine: a third below the bar. Between machines of one class, and between a quiet
hour and a busy one, the same operation was seen to differ by up to a half against the yardstick; a price nearer to the
bar passes here and fails on the next machine. No test holds it: they run where other work does."""
PRICED_GAS_MIN: Final = 50_000
"""Below, the call itself and not its work is what takes time."""
REPEATS: Final = 3
RETRIES: Final = 10
"""Of a measurement that is over the bar."""
YARDSTICK_NS: Final = 125_000
"""Of `run_yardstick`, least of many, on 2 cores AMD EPYC (Zen 5, 2.6 GHz), CPython 3.11.7, quiet."""


def run_yardstick() -> int:
    """Processor nanoseconds of calls, dictionary look-ups, small ints and rows: what the closures consist of."""
    start = process_time_ns()
    table = {number: (number,) for number in range(64)}
    row: list[int] = []
    step: Callable[[int], int] = lambda number: table[number & 63][0] + number  # noqa: E731 (closures are calls)
    for number in range(2_000):
        row.append(step(number))
        if row[-1] > 4_000:
            row.clear()
    return process_time_ns() - start


class Yardstick:
    """Measured times, divided by how much slower the machine is just now."""

    def judge(
        self,
        run: Callable[[], int],
        gas: int,
        bar: int = NANOSECONDS_PER_GAS_MAX,
        prelude: Callable[[], int] = lambda: 0,
    ) -> float:
        """Nanoseconds for a unit of gas, the least of three times that `run` gives; of more, where it is over the bar.

        What `prelude` takes is part of each run and not meant: its least time goes off, never the one of the same turn,
        because the least of many differences is what noise makes of it.
        Other work on the machine only ever makes a time longer, so a price that is right is found right in the end."""
        cost = self._scaled(run, prelude) / gas
        for _ in range(RETRIES):
            if cost <= bar:
                break
            cost = min(cost, self._scaled(run, prelude) / gas)
        return cost

    def _scaled(self, run: Callable[[], int], prelude: Callable[[], int]) -> float:
        """The least of three times without the prelude's, in nanoseconds of the yardstick's own machine."""
        slowness: list[int] = []
        times: list[int] = []
        preludes: list[int] = []
        for _ in range(REPEATS):
            slowness.append(run_yardstick())
            times.append(run())
            preludes.append(prelude())
        return (min(times) - min(preludes)) * YARDSTICK_NS / max(min(slowness), YARDSTICK_NS)
