"""The message log: one slot per height between the watermarks, and the predicates over its votes (section 4.2).

It owns counting. Votes are maps keyed by member, one per kind, never lists of messages (M3). What follows from a
predicate - journal, send, execute - is decided in `pbft.core.ordering`.
"""

from dataclasses import dataclass, field

from ledger.hashing import NULL_DIGEST
from pbft.core.messages import Batch, Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedVote:
    """A member's PREPARE or COMMIT at a height, with the envelope that proves it to others."""

    view: int
    digest: bytes
    envelope: Envelope


@dataclass(slots=True, kw_only=True)
class Slot:
    """What is known about one height. The first five fields belong to the view; commits and outcome outlive it."""

    height: int
    digest: bytes | None = None  # accepted in this view: PRE-PREPARE, or a choice of NEW-VIEW
    is_reproposed: bool = False  # the digest is a choice of NEW-VIEW: judged there, never again (M42)
    proposal: Envelope | None = None  # the PRE-PREPARE as received, for those who lack it
    accepted: int = 0  # counted tick at which the proposal was accepted here (M21)
    accepted_tick: int = -1_000  # the same, of all ticks; at first longer ago than any wait
    is_reclaimed: bool = False  # its requests wait here by themselves, as if a client had handed them in (M24)
    is_pre_prepared: bool = False  # the own promise is journaled: the Q entry of this view (M25a)
    is_code_asked: bool = False  # the own worker is to check what the batch brings
    is_code_checked: bool = False  # and has survived it (D53)
    is_prepared: bool = False  # the P entry of this view is journaled (M25b)
    prepares: dict[int, CountedVote] = field(default_factory=dict)  # of the view that this replica is in
    commits: dict[int, CountedVote] = field(default_factory=dict)  # each member's latest view (M13, D28)
    committed: bytes | None = None  # digest proved by Q COMMITs
    committed_view: int = 0  # the view that they are of
    batch: Batch | None = None  # the body of `digest` or `committed`, None while unknown or null
    gas: int = 0  # sum of the batch's gas limits (D58)

    @property
    def is_committed(self) -> bool:
        return self.committed is not None

    def is_complete(self, digest: bytes) -> bool:
        """Whether the body of `digest` is here; a null request has none (D29)."""
        return digest == NULL_DIGEST or (self.batch is not None and self.batch.digest == digest)

    def put_batch(self, batch: Batch) -> None:
        """Keeps the body if it is whole: without a payload that it declares it stays missing (D50). Its gas is kept for
        the rule that bounds unexecuted work (D58)."""
        if batch.is_whole:
            self.batch = batch
        self.gas = sum(request.gas_limit for request in batch.requests)

    def leave_view(self) -> None:
        """Forgets what belongs to the view that is left (M29). P, Q and COMMITs stay."""
        self.digest = None
        self.is_reproposed = False
        self.proposal = None
        self.is_reclaimed = False
        self.is_pre_prepared = False
        self.is_code_asked = False
        self.is_code_checked = False
        self.is_prepared = False
        self.prepares.clear()
        if self.committed is None:
            self.batch = None
            self.gas = 0


def compute_prepare_count(slot: Slot, view: int, primary: int) -> int:
    """Distinct backups whose PREPARE matches the accepted digest in `view`; the primary's never counts (M2, M10)."""
    return sum(
        1
        for member, vote in slot.prepares.items()
        if member != primary and vote.view == view and vote.digest == slot.digest
    )


def compute_committed(slot: Slot, quorum: int) -> tuple[int, bytes] | None:
    """The view in which Q members sent COMMIT for one digest, and the digest; or None.

    Unlike the paper (section 4.2), committed-local does not ask for the own prepared certificate: Q COMMITs for one
    (v, n, d) show that Q - f correct members journaled it, which is all that safety uses, and they let a replica that
    missed the view follow (D28).
    """
    counts: dict[tuple[int, bytes], int] = {}
    for vote in slot.commits.values():
        key = (vote.view, vote.digest)
        counts[key] = counts.get(key, 0) + 1
    proved = sorted(key for key, count in counts.items() if count >= quorum)
    return proved[-1] if proved else None
