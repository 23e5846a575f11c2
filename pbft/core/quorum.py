"""Every threshold of the protocol, in one table, and the counting of votes by member.

Unlike the paper (sections 4.2-4.4), which writes 2f+1 for n = 3f+1, quorums are Q = ceil((n+f+1)/2) and W = f+1 for
any n >= 4: at n = 3f+2 and 3f+3 two sets of 2f+1 may share only faulty replicas (M1).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from ledger.quorum_certificate import faults_tolerated, quorum_size, weak_quorum_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorums:
    """The thresholds of n replicas."""

    n: int
    f: int  # how many may be faulty
    quorum: int  # Q: any two share a correct replica
    weak: int  # W: at least one correct replica

    @staticmethod
    @cache
    def of(n: int) -> "Quorums":
        """The table's row for n >= 4 replicas (M1)."""
        return Quorums(n=n, f=faults_tolerated(n), quorum=quorum_size(n), weak=weak_quorum_size(n))


def compute_tally(votes: Iterable[bytes]) -> tuple[bytes, int]:
    """The most frequent value and its count; among equals the smallest, so that all agree. (b"", 0) if none."""
    counts: dict[bytes, int] = {}
    for value in votes:
        counts[value] = counts.get(value, 0) + 1
    return min(counts.items(), key=lambda item: (-item[1], item[0]), default=(b"", 0))
