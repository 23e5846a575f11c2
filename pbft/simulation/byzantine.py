"""The catalogue of traitors: what kinds there are, what each of them brings about, and how a run gets its own.

A kind turns one replica of a cluster into a traitor for the whole run; one replica may be of two kinds at once, and
traitors of one run cooperate: equivocators share one plot, and false digests, headers and answers are the same ones for
all, so that f of them vouch for each falsehood together. All signatures of a traitor hold. A run has at most f.

`EFFECTS` is the one table of what each kind does to correct replicas. Each effect is counted where it arrives, under
"traitor:<kind>:<effect>"; tests assert that every one of them happens.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from pbft.simulation.cluster import Cluster
from pbft.simulation.faulty_machines import forget, live_twice
from pbft.simulation.liars import Arrivals, Traitor, spare_own_words
from pbft.simulation.lies_history import BLOCKS_LIES, CERTIFICATE_LIES, corrupt_certificates, serve_lies, vote_falsely
from pbft.simulation.lies_ordering import (
    Plot,
    censor,
    delay,
    equivocate,
    fall_silent,
    propose_late,
    propose_to_few,
)
from pbft.simulation.lies_payloads import PAYLOAD_EFFECTS, withhold_payloads
from pbft.simulation.lies_to_clients import OTHER_LIES, REPLY_LIES, LyingDoors
from pbft.simulation.lies_traffic import STREAMS, flood
from pbft.simulation.lies_views import NEW_VIEW_LIES, VIEW_CHANGE_LIES, choose_wrongly, misreport, replay, rush_ahead

KINDS_JOIN: Final = "+"  # between the kinds of one traitor
LYING_DOOR: Final = "lying_door"  # what a traitor's door tells clients; beside its kinds
SECOND_KIND_CHANCE: Final = 0.4
SAME_KIND_CHANCE: Final = 0.4  # with two traitors or more: all of one kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of traitor."""

    install: Callable[[Traitor, Plot], None]
    effects: tuple[str, ...]  # what it brings about, at correct replicas


def _alone(install: Callable[[Traitor], None]) -> Callable[[Traitor, Plot], None]:
    return lambda traitor, _: install(traitor)


KINDS: Final[Mapping[str, Kind]] = {
    "equivocating": Kind(
        install=equivocate,
        effects=(
            *("other_batch", "both_batches", "vote_for_each", "vote_against", "vote_withheld", "header_vote_against"),
            *("votes_for_both", "votes_for_one_alone"),
        ),
    ),
    "silent": Kind(install=_alone(fall_silent), effects=("withheld",)),
    "silent_primary": Kind(
        install=_alone(propose_to_few), effects=("proposal_withheld", "new_view_withheld", "told_to_few")
    ),
    "slow": Kind(install=_alone(delay), effects=("late",)),
    "slow_primary": Kind(install=_alone(propose_late), effects=("late",)),
    "censoring": Kind(install=_alone(censor), effects=("relay_dropped",)),
    "corrupt_certificates": Kind(install=_alone(corrupt_certificates), effects=tuple(CERTIFICATE_LIES)),
    "false_votes": Kind(install=_alone(vote_falsely), effects=("false_vote", "vote_ahead", "vote_above_window")),
    "stale_views": Kind(install=_alone(replay), effects=("own_words_again", "old_words_forwarded")),
    "absurd_views": Kind(install=_alone(rush_ahead), effects=("absurd_view", "early_view")),
    "invalid_view_change": Kind(install=_alone(misreport), effects=(*VIEW_CHANGE_LIES, "gives_up")),
    "invalid_new_view": Kind(install=_alone(choose_wrongly), effects=(*NEW_VIEW_LIES, "vote_withheld", "withheld")),
    "lying_source": Kind(install=_alone(serve_lies), effects=(*BLOCKS_LIES, "boast", "other_bodies", "endless_more")),
    "withholding_payloads": Kind(install=_alone(withhold_payloads), effects=PAYLOAD_EFFECTS),
    "flooding": Kind(install=_alone(flood), effects=(*STREAMS, "garbage")),
    "amnesia": Kind(install=_alone(forget), effects=("forgot_view", "forgot_promises")),
    "twins": Kind(install=_alone(live_twice), effects=("circles_drawn",)),
}

CONFLICTS: Final = ("pre_prepare", "prepare", "commit", "header_vote", "view_change", "new_view")
"""Signed messages of which two contradicting ones reach two correct replicas, under "conflict_delivered:<kind>"."""

EFFECTS: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: kind.effects for name, kind in KINDS.items()},
    LYING_DOOR: (*REPLY_LIES, *OTHER_LIES),
}
"""What each kind brings about: the names behind "traitor:<kind>:"."""


def draw_traitors(random: Random, n: int, f: int) -> tuple[tuple[int, str], ...]:
    """At most f replicas with their kinds, two of them joined by KINDS_JOIN; cooperating ones are of the same kinds."""
    replicas = sorted(random.sample(range(n), random.randint(0, f)))
    kinds = sorted(KINDS)

    def draw() -> str:
        drawn = random.sample(kinds, 2 if random.random() < SECOND_KIND_CHANCE else 1)
        return KINDS_JOIN.join(sorted(drawn))

    if random.random() < SAME_KIND_CHANCE:
        shared = draw()
        return tuple((replica, shared) for replica in replicas)
    return tuple((replica, draw()) for replica in replicas)


class Traitors:
    """All traitors of one cluster, and what they brought about."""

    def __init__(
        self, cluster: Cluster, traitors: Sequence[tuple[int, str]], random: Random, *, lying_doors: bool | None = None
    ) -> None:
        """Installs them. Of their doors half lie, or all, or none, as `lying_doors` says."""
        cluster.checkers.faulty.update(replica for replica, _ in traitors)
        self.arrivals = Arrivals(cluster)
        self.plot = Plot(random, len(cluster.machines))
        liars = [r for r, _ in traitors if (random.random() < 0.5 if lying_doors is None else lying_doors)]
        self.doors = LyingDoors(liars)
        carry = cluster.network.send
        for replica, kinds in traitors:
            for kind in kinds.split(KINDS_JOIN):
                KINDS[kind].install(Traitor(cluster, replica, kind, random, self.arrivals, carry), self.plot)
        for replica, _ in traitors:
            spare_own_words(cluster, replica)

    @property
    def effects(self) -> Counter[str]:
        """How often each effect happened, by its full name."""
        return self.arrivals.effects + self.doors.effects
