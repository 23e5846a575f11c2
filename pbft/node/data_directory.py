"""The data directory of one replica: who may use it, and which network it belongs to.

    DIR/lock            held for as long as the replica runs: a second copy would vote twice with one key
    DIR/genesis.json    written at the first start; every later start must bring the same network
    DIR/journal/        the promises of this replica, one file     DIR/ledger/   LMDB: blocks, state, certificates
    DIR/evidence/       proof against other replicas, a file for each piece
    DIR/payload-keys/   one sealed key per day of private payloads: destroying it erases them, so no backup holds it

Its rules: nothing else in the directory is touched before the lock is held and the genesis agrees; what does not agree
is refused with both values, never repaired. Keys live elsewhere.
"""

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Self, TextIO

from ledger.errors import InvalidGenesis
from ledger.genesis import Genesis
from pbft.node.genesis_file import GenesisMismatch, build_genesis, check_genesis
from pbft.node.network_config import NetworkDefinition


class StartRefused(Exception):
    """This replica must not run like this. `code` is stable; the text says what is there and what was expected."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def take_lock(path: Path) -> TextIO:
    """The lock of the directory that a path lies in, held until the file is closed or this process ends.

    StartRefused `second_copy` naming who holds it; OSError.
    """
    lock = path.open("a+", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        text = f"{path.parent} is in use by process {holder}: a second copy of a replica is refused"
        raise StartRefused("second_copy", text) from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def write_durably(path: Path, data: bytes) -> None:
    """The whole file or none of it, also after a power loss. OSError."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class DataDirectory:
    """An exclusively held data directory. `close` lets the next one in; so does the end of the process."""

    def __init__(self, path: Path) -> None:
        """Raises StartRefused `second_copy` or `not_writable`."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = take_lock(path / "lock")
        except OSError as error:
            raise StartRefused("not_writable", f"{error.filename or path}: {error.strerror}") from error

    @property
    def journal_path(self) -> Path:
        return self.path / "journal"

    @property
    def ledger_path(self) -> Path:
        return self.path / "ledger"

    @property
    def evidence_path(self) -> Path:
        return self.path / "evidence"

    @property
    def payload_keys_path(self) -> Path:
        return self.path / "payload-keys"

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
            write_durably(self.genesis_path, data)  # which network this directory is
        return genesis

    def close(self) -> None:
        """Let go of the lock."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _network_id(genesis: bytes) -> str:
    return hashlib.sha256(genesis).hexdigest()
