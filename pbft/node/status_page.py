"""What `/status` shows of a replica that is whole: of the parts that it consists of, as they see themselves.

Nothing is asked of other replicas here, and nothing changes.
"""

from dataclasses import dataclass
from typing import Any, Final

from pbft.core.config import OBSERVER
from pbft.core.halting import describe_halt
from pbft.core.own_key import describe_wait
from pbft.node.assembly import Node
from pbft.node.client_door import ClientDoor
from pbft.node.evidence_store import EvidenceStore
from pbft.node.transport import PeerTransport
from pbft.node.verifier_processes import VerifierProcesses
from pbft.node.worker_process import ProcessWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a replica consists of once it is whole."""

    node: Node
    worker: ProcessWorker
    verifiers: VerifierProcesses | None  # None where the main process checks signatures
    transport: PeerTransport
    evidence: EvidenceStore
    door: ClientDoor


UNKNOWN: Final[dict[str, Any]] = {
    **dict.fromkeys(
        ["network_id", "height", "certified_height", "epoch", "epoch_end", "view", "primary", "state_root"]
    ),
    **dict.fromkeys(["halt", "snapshot", "worker_pid", "worker"]),
    "verifier_pids": [],
    "connected": [],
    "accused": [],
}
"""What stands there before: the keys that are always shown."""


def compute_state(node: Node) -> str:
    """What a running replica is, in one word."""
    if node.driver.halted is not None:
        return "diverged" if node.replica.is_diverged else "halted"
    if node.replica.waits_for:
        return "starting"
    if not node.replica.is_active:
        return "view_change"
    if node.replica.replica_id == OBSERVER:
        return "observer"
    return "primary" if node.replica.primary == node.replica.replica_id else "backup"


def describe_parts(parts: Parts, cause: str | None) -> dict[str, Any]:
    """Where the replica stands; `cause` is why it halted or stopped executing, None where it did not."""
    node, head = parts.node, parts.node.chain.head
    return {
        "network_id": node.chain.genesis.network_id.hex(),
        "height": head.height,
        "time_ms": head.time_ms,
        "header_hash": head.hash.hex(),
        "state_root": head.state_root.hex(),
        "certified_height": node.replica.certified_height,
        "epoch": node.replica.epoch,
        "epoch_end": node.replica.state.epoch_end,
        "view": node.replica.view,
        "primary": node.replica.primary,
        "worker_pid": parts.worker.pid,
        "worker": parts.worker.confinement,
        "verifier_pids": parts.verifiers.pids if parts.verifiers is not None else [],
        "connected": list(parts.transport.connected),
        "cause": cause or describe_wait(node.replica.waits_for) or parts.transport.warning,
        "halt": describe_halt(node.replica.halt),
        "snapshot": node.execution.snapshots.describe(),
        "accused": [f"e{epoch}-r{replica}" for epoch, replica in parts.evidence.accused],  # by what is kept
    }
