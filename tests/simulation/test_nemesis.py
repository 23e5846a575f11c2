"""Each fault of the nemesis, and each moment that the hunter waits for, alone: it strikes, and all is done once.

Combinations are the seeds' business. Here one kind at a time strikes a network of four under load, again and again;
then the faults stop, every request must have its outcome and every correct replica stand on one certified head.
"""

import itertools
from collections.abc import Callable

import pytest

from ledger.configuration import ProtocolParameters
from pbft.core.config import TIMER_DOUBLINGS_MAX
from pbft.core.persisted import VIEW_KEY, DamagedJournal
from pbft.node.journal import JOURNAL_TABLE
from pbft.simulation.clients import Clients
from pbft.simulation.cluster import Cluster
from pbft.simulation.hunter import Hunter
from pbft.simulation.nemesis import Nemesis
from pbft.simulation.network import LinkFaults
from pbft.simulation.outcome import TOTAL_KEY, check_outcome, is_level
from pbft.simulation.siege import lay_siege

STORM_MS = 8_000
REQUESTS = 40
SEEDS_MAX = 12
MUTE_MS = 2_500
BURST = 8  # requests at once: four batches of two

FAULTS = {
    "_kill": "crash",
    "_restart": "restart",
    "_restart_all": "restart_all",
    "_partition": "partition partition_of_primary partition_of_quorum",
    "_one_way": "one_way_partition",
    "_clog": "clog",
    "_slow": "slow_link",
    "_links": "links",
    "_power_failure": "power_failure",
    "_disk_full": "disk_full",
    "_pause": "pause",
    "_clock_step": "clock_step",
    "_clock_drift": "clock_drift",
    "_rot": "bit_rot ledger_rot",
    "_second_process": "second_process",
}
HUNTS = (
    "new primary isolated",
    "prepared alone",
    "executed alone",
    "view entry",
    "execution",
    "source cut",
    "quorum split",
    "primary isolated",
    "votes held back",
    "hole",
)

TRAITOR_HUNT = "traitor next"  # in runs that have traitors


def make_cluster(seed: int, *, is_bursting: bool = False) -> tuple[Cluster, Clients]:
    """Four replicas on a network that is a little slow, and load on its way; in bursts, several proposals leave at
    once."""
    cluster = Cluster(
        seed=seed,
        protocol=ProtocolParameters(window=16, stride=4, batch_requests_max=2 if is_bursting else 500),
        faults=LinkFaults(delay_max_ms=30, loss_permille=10),
    )
    cluster.checkers.submitted = set()
    clients = Clients(cluster)

    def add(client: int) -> None:
        signed = clients.sign(client, "add", [TOTAL_KEY, 1])
        assert cluster.checkers.submitted is not None
        cluster.checkers.submitted.add(signed.raw)
        clients.submit(signed, first=cluster.random.randrange(4))

    for number in range(REQUESTS):
        earlier = number % BURST if is_bursting else 0
        at_ms = (number - earlier) * STORM_MS // REQUESTS
        cluster.at(at_ms, lambda client=number % 3: add(client))  # type: ignore[misc]
    return cluster, clients


def expect_done(cluster: Cluster, clients: Clients) -> None:
    assert cluster.run(120_000, until=lambda: clients.is_done), cluster.describe()
    assert cluster.run(120_000, until=lambda: is_level(cluster)), cluster.describe()
    check_outcome(cluster, clients)


def only(nemesis: Nemesis, name: str) -> None:
    """From now on the nemesis knows one fault; those that need a machine that is down find one."""
    strike: Callable[[], str | None] = getattr(nemesis, name)
    needs_one_down = name in {"_restart", "_rot"}
    nemesis._kinds = [strike, nemesis._kill] if needs_one_down else [strike]
    nemesis._hunter = None


def test_rot_in_any_record_of_a_journal_refuses_the_start() -> None:
    """M26: whichever record it is, the first one that says which view this is included, the start names it."""
    damaged = set()
    for seed in range(40):
        cluster = Cluster(seed=seed)
        cluster.run(2_000)
        cluster.kill(1)
        key = cluster.machines[1].journal.process_rot(JOURNAL_TABLE, cluster.random)
        with pytest.raises(DamagedJournal) as refused:
            cluster.start(1)
        assert refused.value.key == key
        damaged.add(key)
    assert VIEW_KEY in damaged


def test_a_ledger_rots_twice() -> None:
    """A second bit flips in a machine at rest whatever the first one hit: the fault itself reads nothing."""
    cluster, clients = make_cluster(1)
    nemesis = Nemesis(cluster, cluster.now_ms + STORM_MS)
    only(nemesis, "_kill")
    machine = cluster.machines[1]
    cluster.run(STORM_MS)
    nemesis.stop()
    expect_done(cluster, clients)
    cluster.kill(1)
    for table in machine.ledger.tables:
        for _ in range(200 if machine.ledger.has_records(table) else 0):  # until the first record has met it too
            machine.ledger.process_rot(table, cluster.random)
    assert nemesis._rot_ledger(machine) is not None


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_every_fault_strikes_and_is_survived(name: str) -> None:
    """Drawn, counted under its name, taken back, survived."""
    expected, seen = set(FAULTS[name].split()), set()
    for seed in range(SEEDS_MAX):
        cluster, clients = make_cluster(seed)
        nemesis = Nemesis(cluster, cluster.now_ms + STORM_MS)
        hunter = nemesis._hunter
        if hunter is not None:
            hunter.stop()
        only(nemesis, name)
        cluster.run(STORM_MS)
        nemesis.stop()
        expect_done(cluster, clients)
        seen |= set(nemesis.faults)
        if expected <= seen:
            return
    raise AssertionError(f"never seen: {expected - seen}")


def test_the_table_above_holds_every_fault() -> None:
    """What the nemesis can draw is what is tested here, but for taking cuts back."""
    nemesis = Nemesis(Cluster(), 0)
    assert {kind.__name__ for kind in nemesis._kinds} == {*FAULTS, "_heal"}
    cluster = Cluster()
    assert [name for name, _ in Hunter(cluster, 0, nemesis.faults)._hunts] == list(HUNTS)
    cluster.checkers.faulty.add(1)
    assert {name for name, _ in Hunter(cluster, 0, nemesis.faults)._hunts} == {*HUNTS, TRAITOR_HUNT}


def mute_primaries(cluster: Cluster) -> None:
    """Every 3 s nobody hears the primary for a while, so that views change and no machine is down."""

    def mute() -> None:
        primary = max(node.replica.view for node in cluster.correct) % 4
        links = {(primary, other) for other in range(4) if other != primary}
        cluster.network.cut |= links
        cluster.at(MUTE_MS, lambda: cluster.network.cut.difference_update(links))

    for moment_ms in range(1_000, STORM_MS, 3_000):
        cluster.at(moment_ms, mute)


@pytest.mark.parametrize("name", (*HUNTS, TRAITOR_HUNT))
def test_every_moment_is_met_and_survived(name: str) -> None:
    """The moment comes under load, while nobody hears the primary now and then, and the strike breaks nothing."""
    struck = 0
    for seed in range(SEEDS_MAX):
        cluster, clients = make_cluster(seed, is_bursting=name == "hole")
        nemesis = Nemesis(cluster, cluster.now_ms + STORM_MS)
        if nemesis._hunter is not None:
            nemesis._hunter.stop()
        nemesis._kinds = [lambda: None]
        mute_primaries(cluster)
        if name == TRAITOR_HUNT:
            cluster.checkers.faulty.add(1)
        hunter = Hunter(cluster, cluster.now_ms + STORM_MS, nemesis.faults)
        hunter._hunts = [hunt for hunt in hunter._hunts if hunt[0] == name]
        hunter._next_ms = cluster.now_ms
        cluster.run(STORM_MS)
        hunter.stop()
        nemesis.stop()
        expect_done(cluster, clients)
        struck += nemesis.faults[f"hunt:{name}"]
        if struck >= 2:
            return
    raise AssertionError(f"{name}: {struck} strikes in {SEEDS_MAX} runs")


def test_a_siege_brings_timers_to_their_cap() -> None:
    """M31: everybody doubles until nobody doubles any more; then all is done within the bound that the cap gives."""
    cluster, clients = make_cluster(1)
    cluster.run(STORM_MS)
    load = itertools.count(REQUESTS)

    def submit() -> None:
        signed = clients.sign(next(load) % 3, "add", [TOTAL_KEY, 1])
        assert cluster.checkers.submitted is not None
        cluster.checkers.submitted.add(signed.raw)
        clients.submit(signed)

    assert lay_siege(cluster, submit)
    assert {node.replica.state.doublings for node in cluster.correct} == {TIMER_DOUBLINGS_MAX}
    assert not cluster.network.cut
    expect_done(cluster, clients)
