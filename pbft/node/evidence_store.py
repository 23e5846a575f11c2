"""The evidence that a replica keeps: a file for each piece, once, within bounds, also over restarts (M54).

    DIR/e0-r2-equivocation_prepare-v0-h17-3fa9c0d1e2b48765.json     of replica 2 of epoch 0

Its rules: a piece that is there is not written again, whoever repeats the offence; each accused member of an epoch has
a share of its own, so that no flood of one offender's pieces keeps out those of another, and nobody inherits the pieces
of who had its id before; a piece that cannot be written is said in the log and stops nothing, since no promise of this
replica hangs on it. `evidence_judge` checks a file off line.
"""

from pathlib import Path
from typing import Final

from pbft.core.actions import Evidence
from pbft.node.data_directory import write_durably
from pbft.node.driver import FindLinks
from pbft.node.log import Logger
from pbft.wire.evidence import compute_evidence_id, encode_evidence

PIECES_MAX: Final = 8  # of one replica and one kind: one convicts, a few show a habit
BYTES_MAX: Final = 33_554_432  # of one member's pieces after the first, which may be larger; 16 replicas in 512 MiB


class EvidenceStore:
    """A directory of evidence files; `driver.EvidenceSink`."""

    def __init__(self, path: Path, network: bytes, log: Logger) -> None:
        """`network` is the network id, which every piece names."""
        self._path = path
        self._network = network
        self._log = log
        self._files = {file.name: file.stat().st_size for file in list_evidence(path)}

    @property
    def accused(self) -> tuple[tuple[int, int], ...]:
        """The (epoch, replica id of that epoch) of those against whom evidence is kept, ascending."""
        parts = (name.split("-", 2) for name in self._files)
        return tuple(sorted({(int(epoch[1:]), int(replica[1:])) for epoch, replica, _ in parts}))

    def record(self, evidence: Evidence, find_links: FindLinks) -> bool:
        """Keeps a piece durably. False where it is known already, or where its accused has filled its share."""
        accused = f"e{evidence.epoch}-r{evidence.replica}-"
        kept = f"{accused}{evidence.kind}-"
        if sum(other.startswith(kept) for other in self._files) >= PIECES_MAX:
            return False  # before it is encoded: an offender repeats itself in every frame
        data = encode_evidence(evidence, self._network, find_links(evidence.epoch))
        name = f"{kept}v{evidence.view}-h{evidence.height}-{compute_evidence_id(data)}.json"
        size = sum(size for other, size in self._files.items() if other.startswith(accused))
        if name in self._files or (size and size + len(data) > BYTES_MAX):
            return False
        self._files[name] = len(data)
        self._log.warning(
            "evidence",
            peer=evidence.replica,
            epoch=evidence.epoch,
            kind=evidence.kind,
            height=evidence.height,
            file=name,
        )
        try:
            self._write(name, data)
        except OSError as error:
            self._log.error("evidence_not_kept", file=name, cause=str(error))
        return True

    def _write(self, name: str, data: bytes) -> None:
        self._path.mkdir(mode=0o700, exist_ok=True)
        write_durably(self._path / name, data)


def list_evidence(path: Path) -> list[Path]:
    """The evidence files of a directory, in the order of their names; none where there is no directory."""
    return sorted(path.glob("e*-r*-*-v*-h*-*.json"))
