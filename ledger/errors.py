"""The ledger's errors: each has a stable code for programs and carries the values that disagree for people.

Two families exist. `LedgerError` is the other side's fault (bytes from outside, a file, a full disk): refuse, count, go
on or tell the user. `InvariantViolation` is ours (this replica computed something that cannot be): stop the replica.
"""

import reprlib
from typing import Final

BYTES_SHOWN_MAX: Final = 64
"""Of a byte string in an error's text: hashes, keys and signatures whole."""

_REPR: Final = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 240  # a path whole; what was sent as far as it helps: errors reach logs and clients
_REPR.maxlong = 80  # 256 bits whole
_REPR.maxlist = _REPR.maxtuple = 16
_REPR.maxlevel = 3


class LedgerError(Exception):
    """Something given to the ledger does not hold. `code` is stable; `fields` are the values that disagree."""

    def __init__(self, code: str, detail: str = "", /, **fields: object) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.fields = fields

    def __str__(self) -> str:
        values = ", ".join(f"{name}={_shown(value)}" for name, value in self.fields.items())
        text = f"{self.code}: {self.detail}" if self.detail else self.code
        return f"{text} ({values})" if values else text


class EncodingError(LedgerError):
    """Bytes that are not the one canonical form of a value, or a value that has none."""


class InvalidSignature(LedgerError):
    """A signature or public key that the strict verifier refuses."""


class InvalidTransaction(LedgerError):
    """A transaction that is malformed or breaks a limit; it never enters a batch."""


class InvalidBlock(LedgerError):
    """A header or block that is malformed, or that does not follow the head of the chain."""


class InvalidCertificate(LedgerError):
    """A quorum certificate that does not hold: too few signers, a wrong signature, another network's."""


class InvalidGenesis(LedgerError):
    """A genesis file that is malformed, or that is not the genesis of this store."""


class InvalidConfiguration(LedgerError):
    """A configuration document that is malformed, or that no epoch could have."""


class InvalidProof(LedgerError):
    """A proof that does not hold. Nothing can be concluded from it, not even the opposite."""


class InvalidSnapshot(LedgerError):
    """A part of a snapshot that is not what the certified header commits to: its source is at fault."""


class ProofNotReady(LedgerError):
    """The height is executed but no certificate at or above it is stored yet; ask again after the next one."""


class KeyFileError(LedgerError):
    """A key file that is missing, readable by others, damaged, or whose passphrase is wrong."""


class PayloadError(LedgerError):
    """A sealed payload that cannot be opened: damaged, or its period's key is destroyed."""


class StoreError(LedgerError):
    """The store cannot do what it was asked: full, closed, of another schema, or the disk failed."""


class InvariantViolation(Exception):
    """This replica contradicts itself or its libraries: it must stop before it signs anything more."""

    def __init__(self, code: str, detail: str = "", /, **fields: object) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.fields = fields

    def __str__(self) -> str:
        values = ", ".join(f"{name}={_shown(value)}" for name, value in self.fields.items())
        text = f"{self.code}: {self.detail}" if self.detail else self.code
        return f"{text} ({values})" if values else text


class DamagedRecord(InvariantViolation):
    """A stored record is not what was written: the disk decays, and this replica's memory cannot be trusted (M26)."""

    def __init__(self, table: str, key: bytes) -> None:
        super().__init__("damaged", f"a record of the table {table} is not what was written", key=key)
        self.table = table
        self.key = key


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return value[:BYTES_SHOWN_MAX].hex() + ("..." if len(value) > BYTES_SHOWN_MAX else "")
    return _REPR.repr(value)
