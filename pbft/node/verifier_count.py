"""How many verifier processes a replica runs, where its operator does not say: the one place of that rule.

A verifier process takes the check of clients' signatures off a replica's main process: a quarter of what a transfer
costs it. That only helps where the replica has processors to spare; where it has none, it costs switches between
processes. So: of the processors that this process may use, an equal share for each replica on this host; of the share,
`BUSY_PROCESSES` are taken by the replica itself; what is left may check signatures, up to `AUTOMATIC_MAX`.

    cores   replicas on the host   verifiers
    2       4                      0
    4       1                      1
    8       1                      2
    16      4                      1
"""

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pbft.node.network_config import NetworkDefinition

BUSY_PROCESSES: Final = 3  # the main process, the contract worker, and the kernel's share: TLS records, disk, clients
AUTOMATIC_MAX: Final = 2  # one keeps up with any main process, which spends three times as long on a request; a second
# halves the time that a full batch waits for its verdicts
VERIFIERS_MAX: Final = 16  # that an operator may ask for: more than a main process can feed


def compute_verifiers(cores: int, replicas_here: int) -> int:
    """The number for a replica on a host with so many processors for so many replicas."""
    return max(0, min(cores // replicas_here - BUSY_PROCESSES, AUTOMATIC_MAX))


def count_verifiers(definition: "NetworkDefinition", replica_id: int) -> int:
    """The number for this replica on this host. Replicas of the definition with the same `host` share it."""
    host = definition.replica(replica_id).host
    replicas_here = sum(replica.host == host for replica in definition.replicas)
    return compute_verifiers(len(os.sched_getaffinity(0)), replicas_here)
