"""Each kind of traitor does all that it is said to do, to correct replicas, and breaks nothing.

The table is `byzantine.EFFECTS`: every name in it is seen to happen here, in a network whose correct replicas are
killed and started again under load, so that views change and blocks are fetched.
"""

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from process_runs import ProcessRuns
from simulation.storms import promised, run_storm, run_storms

from pbft.simulation.byzantine import CONFLICTS, KINDS, LYING_DOOR, draw_traitors

Storms = ProcessRuns[tuple[str], Counter[str]]


@pytest.fixture(scope="module")
def storms() -> Iterator[Storms]:
    with ProcessRuns(run_storms, [(kind,) for kind in sorted(KINDS)]) as runs:
        yield runs


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_effect_of_a_kind_reaches_correct_replicas(kind: str, storms: Storms) -> None:
    """What `EFFECTS` promises of a kind happens, and the correct replicas execute everything once."""
    (seen,) = storms.results([(kind,)])
    assert promised(kind) - set(seen) == set(), f"never seen; seen: {dict(seen)}"


def test_every_lie_of_a_door_is_told() -> None:
    """A client is told each falsehood by f doors, and believes none: what it holds for true is in every ledger."""
    expected = promised(LYING_DOOR)
    seen: Counter[str] = Counter()
    for seed in range(3):
        seen += run_storm(seed, ((0, "stale_views"), (4, "stale_views")), 7, lying_doors=True).effects
    assert expected <= set(seen), expected - set(seen)


def test_contradicting_signed_messages_reach_two_correct_replicas() -> None:
    """M54: of every signed message there are two that contradict each other, in the hands of two correct replicas."""
    seen: Counter[str] = Counter()
    for seed, kinds in enumerate(("equivocating+invalid_new_view", "equivocating+invalid_view_change", "twins"), 1):
        seen += run_storm(seed, ((0, kinds), (1, kinds)), 7, lying_doors=False).effects
    assert {f"conflict_delivered:{name}" for name in CONFLICTS} <= set(seen), seen


def test_traitors_are_drawn_in_every_number_and_combination() -> None:
    """At most f, each of one kind or two; of several all alike or not."""
    drawn = [draw_traitors(Random(seed), 7, 2) for seed in range(400)]
    assert {len(traitors) for traitors in drawn} == {0, 1, 2}
    assert {kind for traitors in drawn for _, kinds in traitors for kind in kinds.split("+")} == set(KINDS)
    alike = {len({kinds for _, kinds in traitors}) for traitors in drawn if len(traitors) == 2}
    assert alike == {1, 2}
    assert {kinds.count("+") for traitors in drawn for _, kinds in traitors} == {0, 1}
