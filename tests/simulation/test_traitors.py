"""Each kind of traitor does all that it is said to do, to correct replicas, and breaks nothing.

The table is `byzantine.EFFECTS`: every name in it is seen to happen here, in a network whose correct replicas are
killed and started again under load, so that views change and blocks are fetched.
"""

from collections import Counter
from random import Random

import pytest

from ledger.configuration import ProtocolParameters
from ledger.encoding import Value
from pbft.simulation.byzantine import CONFLICTS, EFFECTS, KINDS, LYING_DOOR, Traitors, draw_traitors
from pbft.simulation.checkers import PRIVATE_MARKER
from pbft.simulation.clients import Clients
from pbft.simulation.cluster import Cluster
from pbft.simulation.network import LinkFaults
from pbft.simulation.outcome import TOTAL_KEY, check_outcome, is_level

STORM_MS = 12_000
REQUESTS = 60
SEEDS_MAX = 60  # runs until every effect of a kind was seen; most need two or three
DOWN_MS = (300, 3_500)  # how long a correct replica stays down: up to a window of blocks
LONG_DOWN_MS = (2_000, 8_000)  # the same, where much is to be fetched


def run_storm(
    seed: int,
    traitors: tuple[tuple[int, str], ...],
    replicas: int = 4,
    *,
    lying_doors: bool,
    spares_backups: bool = True,
) -> Traitors:
    """Load and restarts beside traitors; then everything must be done, once, and everybody level."""
    cluster = Cluster(
        seed=seed,
        replicas=replicas,
        protocol=ProtocolParameters(window=16, stride=4),
        faults=LinkFaults(delay_max_ms=20, loss_permille=20),
    )
    cluster.checkers.submitted = set()
    treason = Traitors(cluster, traitors, Random(seed), lying_doors=lying_doors)
    clients = Clients(cluster, treason.doors)
    end_ms = cluster.now_ms + STORM_MS
    correct = [replica for replica in range(replicas) if replica not in cluster.checkers.faulty]

    def add(client: int) -> None:
        is_private = cluster.random.random() < 0.5
        reading: list[Value] = [{"number": 1, "secret": PRIVATE_MARKER}] if is_private else []
        signed = clients.sign(client, "add_private" if is_private else "add", [TOTAL_KEY, 1], private=reading)
        assert cluster.checkers.submitted is not None
        cluster.checkers.submitted.add(signed.raw)
        clients.submit(signed, first=cluster.random.randrange(replicas))

    def strike() -> None:
        """Kills a correct primary while something is prepared and not committed, so that a new view has to choose; or a
        correct backup, so that it has much to fetch."""
        leading = max(node.replica.view for node in cluster.correct) % replicas
        victim = leading if leading in correct and spares_backups else cluster.random.choice(correct)
        is_moment = any(
            s.is_prepared and not s.is_committed for n in cluster.correct for s in n.replica.state.slots.values()
        )
        if cluster.now_ms >= end_ms:
            return
        if not is_moment:
            cluster.at(2, strike)
            return
        cluster.kill(victim)
        down_ms = cluster.random.randint(*(DOWN_MS if spares_backups else LONG_DOWN_MS))
        cluster.at(down_ms, lambda: cluster.start(victim))
        cluster.at(down_ms + 500, strike)

    for number in range(REQUESTS):
        cluster.at(number * STORM_MS // REQUESTS, lambda client=number % 3: add(client))  # type: ignore[misc]
    cluster.at(1_000, strike)
    cluster.run(STORM_MS + LONG_DOWN_MS[1])
    cluster.network.faults = LinkFaults()
    assert cluster.run(120_000, until=lambda: clients.is_done), cluster.describe()
    assert cluster.run(120_000, until=lambda: is_level(cluster)), cluster.describe()
    check_outcome(cluster, clients)
    for replica, _ in traitors:
        assert cluster.machines[replica].halted is None, "a traitor whose own guard stops it is no traitor"
    return treason


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_effect_of_a_kind_reaches_correct_replicas(kind: str) -> None:
    """What `EFFECTS` promises of a kind happens, and the correct replicas execute everything once. One traitor of four,
    or two of seven that cooperate."""
    expected = {f"traitor:{kind}:{effect}" for effect in EFFECTS[kind]}
    seen: Counter[str] = Counter()
    for seed in range(SEEDS_MAX):
        first = 1 if kind == "invalid_new_view" else seed % 2  # to lead the view after the first primary is killed
        replicas, traitors = (7, (first, 3)) if seed % 3 == 2 else (4, (first,))
        spares = kind not in {"lying_source", "withholding_payloads"}  # these lie to those who fetch blocks
        drawn = tuple((replica, kind) for replica in traitors)
        seen += run_storm(seed, drawn, replicas, lying_doors=False, spares_backups=spares).effects
        if expected <= set(seen):
            return
    raise AssertionError(f"never seen: {sorted(expected - set(seen))}; seen: {dict(seen)}")


def test_every_lie_of_a_door_is_told() -> None:
    """A client is told each falsehood by f doors, and believes none: what it holds for true is in every ledger."""
    expected = {f"traitor:{LYING_DOOR}:{effect}" for effect in EFFECTS[LYING_DOOR]}
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
