"""Where a simulated node's evidence and counters go: they are kept with its machine, over restarts."""

from pbft.core.actions import Evidence
from pbft.node.driver import FindLinks
from pbft.node.evidence_store import PIECES_MAX
from pbft.simulation.checkers import Checkers
from pbft.simulation.machine import Machine


class EvidenceList:
    """`driver.EvidenceSink`, bounded like the store's: kept with the machine, each piece once, known by its bytes.

    Each must convict, and no correct replica.
    """

    def __init__(self, machine: Machine, checkers: Checkers) -> None:
        self._machine = machine
        self._checkers = checkers

    def record(self, evidence: Evidence, find_links: FindLinks) -> bool:
        place = (evidence.epoch, evidence.replica, evidence.kind)
        kept = [piece for piece in self._machine.evidence if (piece.epoch, piece.replica, piece.kind) == place]
        if len(kept) >= PIECES_MAX or any(_is_same(piece, evidence) for piece in kept):
            return False
        self._checkers.check_evidence(evidence, find_links(evidence.epoch))
        self._checkers.process_kept(self._machine.replica, evidence)
        self._machine.evidence.append(evidence)
        return True


def _is_same(one: Evidence, other: Evidence) -> bool:
    """Compared by bytes: envelopes hold thousands of parsed votes."""
    second, other_second = one.second, other.second
    return one.first.raw == other.first.raw and (
        other_second is None if second is None else other_second is not None and second.raw == other_second.raw
    )


class CounterTable:
    """`driver.Counters`: counted with the machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def count(self, name: str, reason: str = "", amount: int = 1) -> None:
        self._machine.counters[f"{name}:{reason}" if reason else name] += amount
