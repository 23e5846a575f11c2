"""Stopping for good: a replica that cannot trust itself says so durably, and is silent until an operator acts (M45).

Its rules: nothing is overwritten and nothing leaves in the round that halts; the record is journaled in that round, so
that a restart stays halted; of all that halts there are three kinds, each with one repair. What fails outside the
protocol (a full disk) stops the driver instead, and a restart may go on.
"""

from typing import Final

from pbft.core.actions import Halt, Persist
from pbft.core.persisted import HALT_KEY, encode_halt
from pbft.core.replica_state import ReplicaState

DIVERGED: Final = "diverged"  # the own block differs from what is certified, voted for by W, or was voted for before
SECOND_SIGNER: Final = "second_signer"  # the own key signed what the own journal does not know
CONTRADICTED: Final = "contradicted"  # two digests are decided for one height, or the ledger does what nobody asked

REPAIRS: Final = {
    DIVERGED: "keep the data directory for the inquiry: its blocks differ from the network's, so its state is wrong;"
    " look for the cause (memory, disk, another release), then start on an empty one in recover mode (D37)",
    SECOND_SIGNER: "find and stop the other process with this key, or the copy that this data directory was restored"
    " from; what else it signed is unknown here, so start in recover mode, under a new consensus key (D37)",
    CONTRADICTED: "keep the data directory: more than f replicas are faulty, or this release is; compare the evidence"
    " and the blocks of all replicas before any of them is started again",
}
"""What an operator does, by kind. A halted replica stays halted until then, whatever is restarted."""


def halt(state: ReplicaState, kind: str, reason: str, *, height: int = 0, own: bytes = b"", other: bytes = b"") -> None:
    """Stops voting and serving; everything that is known stays. `own` and `other` are the hashes that disagree."""
    if state.halt is None:
        state.halt = Halt(kind=kind, reason=reason, height=height, own=own, other=other)
        state.actions.append(Persist(key=HALT_KEY, value=encode_halt(state.halt)))
        state.actions.append(state.halt)


def halt_diverged(state: ReplicaState, height: int, own: bytes, other: bytes, against: str) -> None:
    """M45: the own header of a height is not the one that `against` names."""
    reason = f"height {height}: own header {own.hex()} differs from {other.hex()}, {against}"
    halt(state, DIVERGED, reason, height=height, own=own, other=other)


def describe_halt(halted: Halt | None) -> dict[str, str | int] | None:
    """A halt as `status` and the log show it, hashes in hexadecimal, with what the operator has to do."""
    if halted is None:
        return None
    return {
        "kind": halted.kind,
        "height": halted.height,
        "own": halted.own.hex(),
        "other": halted.other.hex(),
        "repair": REPAIRS[halted.kind],
    }
