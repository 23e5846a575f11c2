"""The evidence that a replica keeps: a file for each piece, once, within bounds, also over restarts (M54).

    DIR/r2-equivocation_prepare-v0-h17-3fa9c0d1e2b48765.json

Its rules: a piece that is there is not written again, whoever repeats the offence; each accused replica has a share of
its own, so that no flood of one offender's pieces keeps out those of another; a piece that cannot be written is said in
the log and stops nothing, since no promise of this replica hangs on it. `judge` checks a file off line, with nothing
but the bytes of the genesis.
"""

import os
from pathlib import Path
from typing import Final

from contracts.runtime import Runtime
from ledger.chain import LEDGER_TABLES, Chain
from ledger.errors import InvalidGenesis
from ledger.execution import BlockOutcome
from ledger.genesis import parse_genesis
from ledger.store import MemoryStore
from pbft.core.actions import Evidence
from pbft.node.epochs import compute_core_configuration
from pbft.node.execution import InlineWorker
from pbft.node.log import Logger
from pbft.wire.codec import Verifier, WireRules
from pbft.wire.evidence import (
    EVIDENCE_BYTES_MAX,
    InvalidEvidence,
    compute_evidence_id,
    encode_evidence,
    verify_evidence,
)

PIECES_MAX: Final = 8  # of one replica and one kind: one convicts, a few show a habit
BYTES_MAX: Final = 33_554_432  # of one replica's pieces: the largest piece always fits, and 16 replicas in 512 MiB


class EvidenceStore:
    """A directory of evidence files; `driver.EvidenceSink`."""

    def __init__(self, path: Path, network: bytes, log: Logger) -> None:
        """`network` is the network id, which every piece names."""
        self._path = path
        self._network = network
        self._log = log
        self._files = {file.name: file.stat().st_size for file in list_evidence(path)}

    @property
    def accused(self) -> tuple[int, ...]:
        """The replicas against which evidence is kept, ascending."""
        return tuple(sorted({int(name[1 : name.index("-")]) for name in self._files}))

    def record(self, evidence: Evidence) -> bool:
        """Keeps a piece durably. False where it is known already, or where its accused has filled its share."""
        kept = f"r{evidence.replica}-{evidence.kind}-"
        if sum(other.startswith(kept) for other in self._files) >= PIECES_MAX:
            return False  # before it is encoded: an offender repeats itself in every frame
        data = encode_evidence(evidence, self._network)
        name = f"{kept}v{evidence.view}-h{evidence.height}-{compute_evidence_id(data)}.json"
        size = sum(size for other, size in self._files.items() if other.startswith(f"r{evidence.replica}-"))
        if name in self._files or size + len(data) > BYTES_MAX:
            return False
        self._files[name] = len(data)
        self._log.warning("evidence", peer=evidence.replica, kind=evidence.kind, height=evidence.height, file=name)
        try:
            self._write(name, data)
        except OSError as error:
            self._log.error("evidence_not_kept", file=name, cause=str(error))
        return True

    def _write(self, name: str, data: bytes) -> None:
        """The whole file or none of it, also after a power loss."""
        self._path.mkdir(mode=0o700, exist_ok=True)
        new = self._path / f"{name}.new"
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path / name)
        directory = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def list_evidence(path: Path) -> list[Path]:
    """The evidence files of a directory, in the order of their names; none where there is no directory."""
    return sorted(path.glob("r*-*-v*-h*-*.json"))


def judge(data: bytes, genesis_bytes: bytes) -> Evidence:
    """Checks an evidence file against the bytes of a genesis file; raises InvalidEvidence where it convicts nobody.

    The genesis block is executed in memory: a VIEW-CHANGE from height 0 names its header.
    """
    if len(data) > EVIDENCE_BYTES_MAX:
        raise InvalidEvidence("too_long", f"more than {EVIDENCE_BYTES_MAX} bytes")
    try:
        genesis = parse_genesis(genesis_bytes)
    except InvalidGenesis as error:
        raise InvalidEvidence("genesis", str(error)) from None
    store = MemoryStore(LEDGER_TABLES)
    chain = Chain.open(store, genesis)

    def create(outcome: BlockOutcome) -> None:
        chain.create(outcome)

    InlineWorker(Runtime(), store).run_genesis(genesis.contracts, genesis.time_ms, genesis.network_id, create)
    return verify_evidence(
        data,
        verifier=Verifier(chain.epochs),
        rules=WireRules.of(genesis.configuration),
        configuration=compute_core_configuration(genesis.configuration, 0, chain.header(0).hash),
    )
