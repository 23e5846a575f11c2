"""The data directory of one replica: who may use it, and which network it belongs to.

    DIR/lock            held for as long as the replica runs: a second copy would vote twice with one key
    DIR/genesis.json    written at the first start; every later start must bring the same network
    DIR/journal/        LMDB: the promises of this replica        DIR/ledger/   LMDB: blocks, state, certificates
    DIR/evidence.jsonl  proof against other replicas

Its rules: nothing else in the directory is touched before the lock is held and the genesis agrees; what does not agree
is refused with both values, never repaired. Keys live elsewhere.
"""

import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Final, Self

from ledger.errors import InvalidGenesis
from ledger.genesis import Genesis
from pbft.core.actions import Evidence
from pbft.node.genesis_file import GenesisMismatch, build_genesis, check_genesis
from pbft.node.log import Logger
from pbft.node.network_config import NetworkDefinition

EVIDENCE_BYTES_MAX: Final = 16_777_216  # thousands of pieces: one convicts, more of the same adds nothing


class StartRefused(Exception):
    """This replica must not run like this. `code` is stable; the text says what is there and what was expected."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class DataDirectory:
    """An exclusively held data directory. `close` lets the next one in; so does the end of the process."""

    def __init__(self, path: Path) -> None:
        """Raises StartRefused `second_copy` or `not_writable`."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (path / "lock").open("a+", encoding="ascii")
        except OSError as error:
            raise StartRefused("not_writable", f"{error.filename or path}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            self._lock.close()
            text = f"{path} is in use by process {holder}: a second copy of a replica is refused"
            raise StartRefused("second_copy", text) from error
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    @property
    def journal_path(self) -> Path:
        return self.path / "journal"

    @property
    def ledger_path(self) -> Path:
        return self.path / "ledger"

    @property
    def genesis_path(self) -> Path:
        return self.path / "genesis.json"

    def settle_genesis(self, definition: NetworkDefinition, offered: bytes | None) -> Genesis:
        """The genesis of this directory: the stored one, else `offered`, else built from the definition and stored.

        Raises StartRefused `foreign_genesis` where stored, offered and definition are not of one network.
        """
        stored = self.genesis_path.read_bytes() if self.genesis_path.exists() else None
        if stored is not None and offered is not None and stored != offered:
            text = f"{self.genesis_path} is of network {_network_id(stored)}, the given one of {_network_id(offered)}"
            raise StartRefused("foreign_genesis", text)
        data = stored if stored is not None else offered
        if data is None:
            data = build_genesis(definition)
        try:
            genesis = check_genesis(definition, data)
        except (GenesisMismatch, InvalidGenesis) as error:
            raise StartRefused("foreign_genesis", str(error)) from error
        if stored is None:
            self._write_durably(self.genesis_path, data)
        return genesis

    def _write_durably(self, path: Path, data: bytes) -> None:
        """The whole file or none of it, also after a power loss: it decides which network this directory is."""
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        directory = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def close(self) -> None:
        """Let go of the lock."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class EvidenceFile:
    """Keeps proof against replicas, a JSON object a line, up to a bound (M54), and tells the log."""

    def __init__(self, path: Path, log: Logger, *, bytes_max: int = EVIDENCE_BYTES_MAX) -> None:
        self._path = path
        self._log = log
        self._bytes_max = bytes_max
        self._seen: set[bytes] = set()

    def record(self, evidence: Evidence) -> None:
        """Append a piece that was not recorded by this process before, as long as there is room."""
        pieces = [evidence.first, *([evidence.second] if evidence.second is not None else [])]
        digest = hashlib.sha256(b"".join(piece.raw for piece in pieces)).digest()
        if digest in self._seen:
            return
        self._log.warning("evidence", peer=evidence.replica, kind=evidence.kind, height=evidence.height)
        line = {
            "replica": evidence.replica,
            "kind": evidence.kind,
            "height": evidence.height,
            "envelopes": [{"signed": piece.raw.hex(), "signature": piece.signature.hex()} for piece in pieces],
        }
        text = json.dumps(line) + "\n"
        size = self._path.stat().st_size if self._path.exists() else 0
        if size + len(text) <= self._bytes_max:
            self._seen.add(digest)
            with self._path.open("a", encoding="ascii") as file:
                file.write(text)


def _network_id(genesis: bytes) -> str:
    return hashlib.sha256(genesis).hexdigest()
