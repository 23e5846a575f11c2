"""What readings cost in gas, in order, late and to be read: a gateway's limits hold in the worst case."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ledger.encoding import decode
from meters.batch import Batch, GroupChain
from meters.gateway import compute_gas_limit
from meters.series import Series

COUNT = 100  # meters of the group
INTERVALS = 66
HOUR = 3600
FIRST = 1_470_009_600


@pytest.fixture
def town(make_town: Callable[..., Any]) -> Any:
    """A hundred homes with a meter each, behind one gateway: one whole group."""
    homes = tuple(f"h{number:03d}" for number in range(COUNT))
    series = Series(
        homes=homes,
        starts=tuple(FIRST + HOUR * place for place in range(INTERVALS)),
        interval_s=HOUR,
        load_wh={home: (100 + number,) * INTERVALS for number, home in enumerate(homes)},
        pv_wh={},
    )
    return make_town(series, gateways=1)


@pytest.fixture
def batches(town: Any) -> list[Batch]:
    """A whole batch for each interval."""
    group = next(iter(town.places.values()))[0]
    meters = {number: (name, "load", 1_000) for name, (_group, number) in town.places.items()}
    chain = GroupChain.begin(bytes(range(32)), group, HOUR, meters)
    made: list[Batch] = []
    for place in range(INTERVALS):
        batch, chain = chain.append(FIRST + HOUR * place, dict.fromkeys(chain.meters, 3000))
        made.append(batch)
    return made


def part(batch: Batch, first: int, last: int) -> Batch:
    """The places from `first` to `last` of a batch."""
    return replace(
        batch,
        first=first,
        kinds=batch.kinds[first:last],
        sequences=batch.sequences[first:last],
        registers=batch.registers[first:last],
        energies=batch.energies[first:last],
    )


def send(town: Any, batch: Batch, codes: Sequence[str]) -> int:
    """Submit a batch whose readings all get one of these codes; the gas of it."""
    outcome = town.network.call("readings", "submit", [batch.to_list()], sender="gateway-0")
    assert outcome.status == "ok", outcome.code
    assert {*decode(outcome.result)} <= {*codes}  # type: ignore[misc]
    return int(outcome.gas_used)


def test_a_batch_in_order_costs_a_tenth_of_a_first_one(town: Any, batches: list[Batch]) -> None:
    """Whole columns are compared; the first batch of a group has nothing to be compared with."""
    first = send(town, batches[0], ["accepted"])
    following = send(town, batches[1], ["accepted"])
    assert following < 35_000 and 8 * following < first < compute_gas_limit(COUNT) // 4


def test_a_missing_reading_costs_the_others_little(town: Any, batches: list[Batch]) -> None:
    """Place by place, but none of them alone."""
    send(town, batches[0], ["accepted"])
    whole = batches[1]
    batch = replace(
        whole,
        kinds="-" + whole.kinds[1:],
        sequences=(0, *whole.sequences[1:]),
        registers=(0, *whole.registers[1:]),
        energies=(0, *whole.energies[1:]),
    )
    assert send(town, batch, ["accepted", ""]) < 60_000


def test_one_late_reading_may_look_through_all_intervals_after_it(town: Any, batches: list[Batch]) -> None:
    """Each of the 63 in between is read, whole but for its place: half of the limit that its gateway gives it."""
    for batch in batches[:64]:
        send(town, part(batch, 0, COUNT - (batch.start > FIRST)), ["accepted", "gap"])
    send(town, batches[64], ["accepted", "gap"])
    late = part(batches[1], COUNT - 1, COUNT)
    assert send(town, late, ["out_of_order"]) <= compute_gas_limit(1) // 2


def test_intervals_that_came_meter_by_meter_are_looked_through_as_cheaply(town: Any, batches: list[Batch]) -> None:
    """Whoever sends the other meters of a group cannot make the late reading of an honest gateway run out of gas."""
    send(town, batches[0], ["accepted"])
    for number in range(COUNT - 1):
        for batch in batches[1:4]:
            send(town, part(batch, number, number + 1), ["accepted", "gap"])
    for batch in batches[4:64]:
        send(town, part(batch, 0, COUNT - 1), ["accepted", "gap"])
    send(town, batches[64], ["accepted", "gap"])
    late = part(batches[1], COUNT - 1, COUNT)
    assert send(town, late, ["out_of_order"]) <= compute_gas_limit(1) // 2


def test_a_whole_late_batch_stays_inside_its_limit(town: Any, batches: list[Batch]) -> None:
    """All but one of the places look through the intervals in which only that one spoke."""
    send(town, batches[0], ["accepted"])
    for batch in batches[2:64]:
        send(town, part(batch, COUNT - 1, COUNT), ["accepted", "gap"])
    send(town, batches[64], ["accepted", "gap"])
    assert send(town, part(batches[1], 0, COUNT - 1), ["out_of_order"]) < compute_gas_limit(COUNT - 1) * 2 // 3


def test_many_batches_for_one_interval_make_its_energies_no_dearer(town: Any, batches: list[Batch]) -> None:
    """What settlement reads is a column of its own: a gateway that sends meter by meter cannot stall it."""
    send(town, batches[0], ["accepted"])
    for number in range(COUNT):
        send(town, part(batches[1], number, number + 1), ["accepted"])
    names = list(town.places)
    by_one, by_many = (town.network.look("readings", "values", names, batch.start) for batch in batches[:2])
    assert by_many.result == by_one.result
    assert by_many.gas_used == by_one.gas_used
    assert town.network.look("readings", "values", names[:1], batches[1].start).gas_used < 2_500
