"""How soon a network goes on: with f replicas down in every role, after its primary dies, after ten minutes of nothing.

The bounds are those of pbft/README.md, "Time": T is the base timer. Links are good, so that what is measured is the
protocol's patience and not the network's; `test_faults` and the seeds do the rest.
"""

from random import Random

import pytest
from simulation.test_cluster import expect_done, is_caught_up, submit_spread

from pbft.core.config import TIMER_DOUBLINGS_MAX
from pbft.core.quorum import Quorums
from pbft.simulation.cluster import PROTOCOL, Cluster
from pbft.simulation.signing import KEYED_HASH
from pbft.simulation.workload import Workload

T_MS = PROTOCOL.base_timer_ms
PARTITION_MS = 600_000
ROLES = ("the primary and backups", "primaries in a row", "backups")


def down_of(n: int, role: str) -> tuple[int, ...]:
    """f replicas of a network in view 0."""
    f = Quorums.of(n).f
    match role:
        case "the primary and backups":
            return (0, *range(n - f + 1, n))
        case "primaries in a row":
            return tuple(range(f))
    return tuple(range(n - f, n))


def recovery_ms_max(primaries_down: int) -> int:
    """1.5 T until all suspect the first, then a timer of 2 T, 4 T, ... for each further one: under 2**k T for k."""
    return T_MS << min(primaries_down, TIMER_DOUBLINGS_MAX)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("n", range(4, 17))
def test_any_n_goes_on_with_f_down(n: int, role: str) -> None:
    """M1, M30: n - f replicas order what one client handed to one of them, however many primaries in a row are down."""
    cluster = Cluster(seed=n, replicas=n, signing=KEYED_HASH)
    load = Workload(cluster)
    cluster.run(1_000)
    down = down_of(n, role)
    for replica in down:
        cluster.kill(replica)
    assert len(cluster.running) == n - Quorums.of(n).f
    primaries = next(view for view in range(n) if view not in down)
    for client, method in enumerate(("add", "add", "fail")):
        load.submit(client, method, [b"total", 1] if method == "add" else [], through=[min(set(range(n)) - set(down))])
    assert cluster.run(recovery_ms_max(primaries) if primaries else 1_000, until=lambda: load.is_done), (
        cluster.describe()
    )
    expect_done(cluster, load)
    assert {node.replica.view for node in cluster.running} == {primaries}


@pytest.mark.parametrize("n", [4, 5, 7, 13])
@pytest.mark.parametrize("load_is", ["one request at one backup", "one request at all", "many"])
def test_the_primary_dies_and_2_t_later_a_block_is_there(n: int, load_is: str) -> None:
    """D56, D57: from the death of the primary to a block of the new view at every replica: less than 2 T."""
    for seed in range(2):
        cluster = Cluster(seed=seed, replicas=n, signing=KEYED_HASH)
        load, random = Workload(cluster), Random(seed)
        cluster.run(1_000)
        if load_is == "many":
            submit_spread(cluster, load, 30, 1_500)
        before = cluster.node(1).chain.height
        cluster.kill(0)
        backups = range(1, n)
        through = backups if load_is == "one request at all" else [random.choice(backups)]
        load.submit(7, "add", [b"total", 1], through=through)

        def is_back(cluster: Cluster = cluster, before: int = before) -> bool:
            return all(node.replica.view == 1 and node.chain.height > before for node in cluster.running)

        assert cluster.run(2 * T_MS, until=is_back), cluster.describe()
        expect_done(cluster, load)


def partition_recovery_ms_max(f: int) -> int:
    """pbft/README.md: 32 T for each of f faulty primaries, 1.5 times 32 T until all suspect, the rest for exchange."""
    return (f + 2) * (T_MS << TIMER_DOUBLINGS_MAX) + 10_000


def submit_for(cluster: Cluster, load: Workload, count: int, duration_ms: int, hands: int) -> None:
    """`count` additions over the time to come, each handed to as many replicas, down the same drawn way every time."""
    random = Random(count)
    for number in range(count):
        through = random.sample(range(len(cluster.machines)), hands)
        cluster.at(
            random.randrange(duration_ms),
            lambda client=number % 5, hands=through: load.submit(client, "add", [b"total", 1], through=hands),
        )


@pytest.mark.parametrize("n", [4, 7])
def test_after_ten_minutes_without_any_link_all_are_back(n: int) -> None:
    """M33, M51: everybody was alone for ten minutes, under load from before until after; nobody is restarted."""
    cluster = Cluster(seed=n, replicas=n, signing=KEYED_HASH)
    load = Workload(cluster)
    submit_for(cluster, load, 60, PARTITION_MS, hands=1)
    cluster.run(2_000)
    cluster.network.partition(*({replica} for replica in range(n)))
    cluster.run(PARTITION_MS)
    assert not load.is_done
    cluster.network.heal()
    assert cluster.run(2 * T_MS, until=lambda: load.is_done and cluster.is_level()), cluster.describe()
    assert cluster.power_failures == 0 and all(machine.starts == 1 for machine in cluster.machines)


@pytest.mark.parametrize("seed", range(3))
def test_after_ten_minutes_of_changing_partitions_all_are_back(seed: int) -> None:
    """D57, M35: another partition every 10 s drives timers to their cap and replicas into different views."""
    n = 4 + 3 * (seed % 2)
    cluster = Cluster(seed=seed, replicas=n, signing=KEYED_HASH)
    load, random = Workload(cluster), Random(seed)
    submit_for(cluster, load, 60, PARTITION_MS, hands=1)
    for moment in range(0, PARTITION_MS, 10_000):
        group = set(random.sample(range(n), random.randrange(1, n)))
        cluster.at(moment, lambda group=group: cluster.network.partition(group, set(range(n)) - group))
    cluster.run(PARTITION_MS)
    assert max(node.replica.state.doublings for node in cluster.running) >= TIMER_DOUBLINGS_MAX - 1
    cluster.network.heal()
    bound_ms = partition_recovery_ms_max(Quorums.of(n).f)
    assert cluster.run(bound_ms, until=lambda: load.is_done and is_caught_up(cluster)), cluster.describe()
    assert all(machine.starts == 1 for machine in cluster.machines)


def test_who_left_its_view_alone_is_no_burden_to_the_others() -> None:
    """Execution 44: R3, cut off with a request of its own, is alone in view 1. Its request is ordered in view 0 once it
    is heard again; it follows by blocks; and when the primary of view 0 dies, the others come to where it is."""
    cluster = Cluster(seed=1, signing=KEYED_HASH)
    load = Workload(cluster)
    cluster.run(1_000)
    cluster.network.partition({0, 1, 2}, {3})
    load.submit(1, "add", [b"total", 1], through=[3])
    cluster.run(60_000)
    assert [node.replica.view for node in cluster.running] == [0, 0, 0, 1]
    cluster.network.heal()
    assert cluster.run(2 * T_MS, until=lambda: load.is_done and is_caught_up(cluster)), cluster.describe()
    cluster.kill(0)
    load.submit(2, "add", [b"total", 1], through=[1])
    assert cluster.run(3 * T_MS, until=lambda: load.is_done), cluster.describe()
    expect_done(cluster, load)
