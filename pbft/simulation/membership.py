"""Epochs of a simulated network: votes on the next configuration, new keys and lost disks.

Machines are told apart by the name that a member keeps over all epochs; ids are places in one configuration. Operators
vote as in production, through the contract `governance`: every node is handed the votes until its chain has them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from ledger.chain import LEDGER_TABLES
from ledger.configuration import Configuration, Member, ProtocolParameters
from ledger.transaction import SignedTransaction, Transaction, sign_transaction
from pbft.node.journal import JOURNAL_TABLE
from pbft.simulation.cluster import Cluster
from pbft.simulation.disk import SimulatedDisk
from pbft.simulation.founding import make_member, operator_key
from pbft.wire.codec import parse_request

VOTE_GAS: Final = 1_000_000
VOTE_EXPIRY_HEIGHTS: Final = 5_000
CHANGES: Final = ("parameters", "key", "disk")
HAND_IN_MS: Final = 2_000
"""Votes are handed in again so often, as by an operator's client that waits for its receipt."""


def compute_next(
    cluster: Cluster,
    *,
    machines: Sequence[int] | None = None,
    generations: Mapping[int, int] | None = None,
    parameters: ProtocolParameters | None = None,
) -> Configuration:
    """The configuration after the newest one that a correct node knows, with these machines as members, in this order
    (None: as they are), these generations of their consensus keys, and these parameters (None: as they are)."""
    newest = max((node.chain.epochs.newest for node in cluster.correct), key=lambda known: known.epoch)
    present = {int(member.name[1:]): member for member in newest.members}
    wanted = machines if machines is not None else list(present)
    return Configuration(
        network=newest.network,
        epoch=newest.epoch + 1,
        members=tuple(
            _member(cluster, machine, index, present, generations or {}) for index, machine in enumerate(wanted)
        ),
        parameters=parameters or newest.parameters,
    )


def _member(
    cluster: Cluster, machine: int, index: int, present: Mapping[int, Member], generations: Mapping[int, int]
) -> Member:
    """A machine as member `index`: with the key it has in the newest configuration, unless a generation is given."""
    known = present.get(machine)
    if machine in generations or known is None:
        return make_member(machine, index, cluster.signing, generations.get(machine, 0))
    return replace(known, id=index)


def submit_votes(cluster: Cluster, configuration: Configuration, voters: Sequence[int] | None = None) -> None:
    """The operators of a quorum of the present members (or of these machines) vote for a configuration."""
    present = cluster.correct[0].chain.epochs.of(configuration.epoch - 1)
    assert present is not None
    machines = voters if voters is not None else [int(member.name[1:]) for member in present.members[: present.quorum]]
    for machine in machines:
        key = operator_key(machine, cluster.signing)
        transaction = Transaction(
            network=cluster.genesis.network_id,
            sender=key.public_key,
            nonce=configuration.epoch - 1,  # one vote of each operator for each change
            expiry_height=cluster.correct[0].chain.height + VOTE_EXPIRY_HEIGHTS,
            expiry_time=cluster.now_ms // 1_000 + 86_400,
            gas_limit=VOTE_GAS,
            contract="governance",
            method="vote",
            arguments=(configuration.to_bytes(),),
        )
        signed = sign_transaction(transaction, key)
        if cluster.checkers.submitted is not None:
            cluster.checkers.submitted.add(signed.raw)
        _hand_in(cluster, signed)


def _hand_in(cluster: Cluster, signed: SignedTransaction) -> None:
    """To every node that has not executed it, until all have."""
    transaction = signed.transaction
    waiting = [n for n in cluster.correct if n.chain.find_used(transaction.sender, transaction.nonce) is None]
    for node in waiting:
        node.driver.on_request(parse_request(signed.raw, node.rules))
    if waiting:
        cluster.at(HAND_IN_MS, lambda: _hand_in(cluster, signed))


def change_key(cluster: Cluster, replica: int) -> None:
    """An operator ends a replica's process and starts it again with a new consensus key: it is silent until the first
    height of an epoch that lists the key (D37). Disks stay."""
    if cluster.machines[replica].node is not None:
        cluster.kill(replica)
    cluster.machines[replica].key_generation += 1
    cluster.start(replica)


def lose_disk(cluster: Cluster, replica: int, *, ledger_too: bool) -> None:
    """A replica's journal is lost, or all its data, and it comes back as D37 says: with a new key, silent."""
    machine = cluster.machines[replica]
    if machine.node is not None:
        cluster.kill(replica)
    machine.journal = SimulatedDisk((JOURNAL_TABLE,), cluster.writes_of(replica, "journal"))
    if ledger_too:
        machine.ledger = SimulatedDisk(LEDGER_TABLES, cluster.writes_of(replica, "ledger"))
    cluster.checkers.reached.pop(replica, None)  # what it knew is gone; what it said stays said
    cluster.trace.record_fault(cluster.now_ms, f"r{replica} loses its {'disks' if ledger_too else 'journal'}")
    change_key(cluster, replica)


class Change:
    """One change of the configuration in the middle of a run, and the replica that it may silence until then."""

    def __init__(self, cluster: Cluster, kind: str, delay_ms: int) -> None:
        """`kind` is one of CHANGES. A replica that loses its key or its disk is one of the f faulty until it votes."""
        self.done: Counter[str] = Counter()
        self._cluster, self._kind = cluster, kind
        self._replica = cluster.random.choice(sorted(set(range(len(cluster.machines))) - cluster.checkers.faulty))
        if kind != "parameters":
            cluster.silent.add(self._replica)
        cluster.at(delay_ms, self._begin)

    def _begin(self) -> None:
        cluster = self._cluster
        if self._kind == "parameters":
            protocol = cluster.genesis.protocol
            submit_votes(cluster, compute_next(cluster, parameters=replace(protocol, stride=protocol.stride // 2)))
        else:
            replica = self._replica
            if replica in cluster.checkers.faulty | cluster.decayed:
                return  # another fault was faster
            if self._kind == "key":
                change_key(cluster, replica)
            else:
                lose_disk(cluster, replica, ledger_too=cluster.random.random() < 0.5)
            generation = cluster.machines[replica].key_generation
            submit_votes(cluster, compute_next(cluster, generations={replica: generation}))
        self.done[f"membership:{self._kind}"] += 1
        cluster.trace.record_fault(cluster.now_ms, f"a change of the configuration is voted for: {self._kind}")

    @property
    def is_over(self) -> bool:
        """Whether nothing was changed, or every correct node is in the next epoch."""
        return not self.done or has_entered(self._cluster, 1)


def has_entered(cluster: Cluster, epoch: int) -> bool:
    """Whether every correct node that runs is in this epoch, or a later one."""
    return all(node.replica.epoch >= epoch for node in cluster.correct)
