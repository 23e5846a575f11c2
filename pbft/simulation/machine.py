"""A simulated machine: what outlives a process, and its ids in the epochs.

Machines keep one number for a whole run, ids are places in the configuration of an epoch (D41): links, `faulty` and
`liars` name machines, whatever is signed names ids.
"""

from collections import Counter
from dataclasses import dataclass, field

from ledger.payload_vault import MemoryPayloadKeys
from pbft.core.actions import Evidence
from pbft.node.assembly import Node
from pbft.node.client_door import ClientDoor
from pbft.simulation.disk import SimulatedDisk
from pbft.simulation.founding import find_member_id, machine_of


@dataclass(kw_only=True)
class Machine:
    """What outlives a process: the disks, the clock's error, and whether the process runs."""

    replica: int  # which machine; also its replica id in every epoch that keeps the order of genesis
    journal: SimulatedDisk
    ledger: SimulatedDisk
    payload_keys: MemoryPayloadKeys
    node: Node | None = None
    door: ClientDoor | None = None
    key_generation: int = 0  # of the consensus key that its process starts with
    starts: int = 0  # tells events of an earlier process from those of this one
    clock_offset_ms: int = 0
    paused_until_ms: int = 0  # the process stands still, and what reaches the machine waits
    ignored_clients: frozenset[bytes] = frozenset()  # their requests are dropped at the door: a censor's
    flush_is_due: bool = False
    turns: int = 0
    halted: str | None = None
    counters: Counter[str] = field(default_factory=Counter)
    evidence: list[Evidence] = field(default_factory=list)


def id_of(node: Node, machine: int) -> int | None:
    """The replica id that a machine has in the epoch of a node; None where it has no link to it."""
    configuration = node.chain.epochs.of(node.replica.epoch)
    assert configuration is not None
    return find_member_id(configuration, machine)


def receivers_of(node: Node, replica_ids: list[int] | None) -> list[int]:
    """The machines of these replicas in the epoch of a node; of all where none are given."""
    configuration = node.chain.epochs.of(node.replica.epoch)
    assert configuration is not None
    return [machine_of(m) for m in configuration.members if replica_ids is None or m.id in replica_ids]
