"""A storm: load in a network of traitors and correct replicas, which are killed and started again meanwhile."""

from collections import Counter
from random import Random

from ledger.configuration import ProtocolParameters
from ledger.encoding import Value
from pbft.simulation.byzantine import EFFECTS, Traitors
from pbft.simulation.checkers import PRIVATE_MARKER
from pbft.simulation.clients import Clients
from pbft.simulation.cluster import Cluster
from pbft.simulation.network import LinkFaults
from pbft.simulation.outcome import TOTAL_KEY, check_outcome, is_level

SEEDS_MAX = 60  # runs until every effect of a kind was seen; most need two or three
STORM_MS = 12_000
REQUESTS = 60
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


def run_storms(kind: str) -> Counter[str]:
    """The effects of one kind of traitor, one of four replicas or two of seven that cooperate: until `EFFECTS` is seen
    whole, or enough was tried."""
    expected = promised(kind)
    seen: Counter[str] = Counter()
    for seed in range(SEEDS_MAX):
        first = 1 if kind == "invalid_new_view" else seed % 2  # to lead the view after the first primary is killed
        replicas, traitors = (7, (first, 3)) if seed % 3 == 2 else (4, (first,))
        spares = kind not in {"lying_source", "withholding_payloads"}  # these lie to those who fetch blocks
        drawn = tuple((replica, kind) for replica in traitors)
        seen += run_storm(seed, drawn, replicas, lying_doors=False, spares_backups=spares).effects
        if expected <= set(seen):
            break
    return seen


def promised(kind: str) -> set[str]:
    """What `EFFECTS` says that a kind of traitor does."""
    return {f"traitor:{kind}:{effect}" for effect in EFFECTS[kind]}
