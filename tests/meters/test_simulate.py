"""A replay keeps the order and never runs further ahead than its gateways can bear."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from meters.gateway import Verdicts
from meters.series import MeterColumn, Series
from meters.simulate import PUMP_S, ReplayedGateway, SeriesReplay

HOUR = 3600


@dataclass
class FakeGateway:
    """Keeps what it was told to measure."""

    measured: list[tuple[int, Mapping[str, int]]] = field(default_factory=list)
    writes: int = 0

    def measure(self, intervals: Sequence[tuple[int, Mapping[str, int]]]) -> None:
        self.writes += 1
        self.measured += intervals


class Bench:
    """Two gateways, one with two meters, and a clock."""

    def __init__(self, intervals: int, **options: Any) -> None:
        self.clock = Clock()
        self.series = Series(
            homes=("a", "b"),
            starts=tuple(HOUR * (index + 1) for index in range(intervals)),
            interval_s=HOUR,
            load_wh={"a": tuple(range(intervals)), "b": tuple(range(100, 100 + intervals))},
            pv_wh={"a": tuple(range(200, 200 + intervals))},
        )
        self.gateways = [FakeGateway(), FakeGateway()]
        columns = self.series.meters
        replayed: list[Any] = [
            ReplayedGateway(gateway=self.gateways[0], columns=columns[:2]),  # type: ignore[arg-type]
            ReplayedGateway(gateway=self.gateways[1], columns=columns[2:]),  # type: ignore[arg-type]
        ]
        self.progress: list[int] = []
        self.replay = SeriesReplay(self.clock, self.series, replayed, on_progress=self.progress.append, **options)

    def decide(self, index: int, gateway: int) -> None:
        self.replay.verdicts_arrived(
            Verdicts(
                gateway=f"gw-{gateway}",
                start=self.series.starts[index],
                height=1,
                tx_id=b"t" * 32,
                codes=(),
                failure="",
            )
        )


def test_every_interval_is_measured_once_in_order_with_its_values() -> None:
    """Each gateway gets its own columns, interval after interval."""
    bench = Bench(3)
    bench.replay.start()
    assert bench.gateways[0].measured == [
        (HOUR, {"a_load": 0, "a_pv": 200}),
        (2 * HOUR, {"a_load": 1, "a_pv": 201}),
        (3 * HOUR, {"a_load": 2, "a_pv": 202}),
    ]
    assert bench.gateways[1].measured[0] == (HOUR, {"b_load": 100})
    assert bench.gateways[0].writes == 1


def test_an_interval_counts_when_every_gateway_has_its_verdict() -> None:
    """Progress is about intervals, not requests."""
    bench = Bench(2)
    bench.replay.start()
    bench.decide(0, 0)
    assert (bench.progress, bench.replay.is_complete) == ([], False)
    bench.decide(0, 1)
    bench.decide(1, 1)
    bench.decide(1, 0)
    assert (bench.progress, bench.replay.is_complete) == ([1, 2], True)


def test_a_held_replay_goes_on_when_released() -> None:
    """The demo kills a primary in the middle of the traffic."""
    bench = Bench(10, ahead=4)
    bench.replay.hold_at(2)
    bench.replay.start()
    assert len(bench.gateways[0].measured) == 2
    for index in range(2):
        bench.decide(index, 0)
        bench.decide(index, 1)
    assert len(bench.gateways[0].measured) == 2
    bench.replay.release()
    assert len(bench.gateways[0].measured) == 6


def test_a_speed_paces_the_intervals_by_the_clock() -> None:
    """Two intervals a second, the first at once; stopping ends it."""
    bench = Bench(100, intervals_per_second=2.0, ahead=100)
    bench.replay.start()
    counts = []
    for _ in range(3):
        counts.append(len(bench.gateways[0].measured))
        for _ in range(round(1 / PUMP_S)):
            bench.clock.advance(PUMP_S)
    assert counts == [1, 3, 5]
    bench.replay.stop()
    bench.clock.advance(10)
    assert len(bench.gateways[0].measured) == 7 and bench.clock.getDelayedCalls() == []


@given(order=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 1)), max_size=200), ahead=st.integers(1, 5))
def test_never_more_than_ahead_are_undecided(order: list[tuple[int, int]], ahead: int) -> None:
    """Whatever order verdicts come in, measured minus decided stays within the bound, and all come to an end."""
    bench = Bench(12, ahead=ahead)
    bench.replay.start()
    left = {(index, gateway) for index in range(12) for gateway in range(2)}
    for index, gateway in [*order, *((index, gateway) for index in range(12) for gateway in range(2))]:
        if (index, gateway) in left and index < len(bench.gateways[gateway].measured):
            left.remove((index, gateway))
            bench.decide(index, gateway)
        assert len(bench.gateways[0].measured) - bench.replay.decided <= ahead
    for index, gateway in sorted(left):
        bench.decide(index, gateway)
    assert bench.replay.is_complete
    assert [start for start, _values in bench.gateways[0].measured] == list(bench.series.starts)


def test_columns_are_those_of_the_series() -> None:
    """The names that the gateways register are the names that are measured."""
    bench = Bench(1)
    assert bench.series.meters == (
        MeterColumn(meter="a_load", home="a", kind="load"),
        MeterColumn(meter="a_pv", home="a", kind="pv"),
        MeterColumn(meter="b_load", home="b", kind="load"),
    )
