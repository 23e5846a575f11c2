"""The identity directory of one client: what it shows at the client ports, and what it signs transactions with.

    create_authority(directory, passphrase)                    who lets clients in; its public key goes into the genesis
    create_client(directory, authority, name=, passphrase=)    one client, let in by that authority
    read_client(directory)                                     ClientIdentity; IdentityError naming the file at fault

`tls.pem` is the certificate with its key (mode 0600), `account.pem` the encrypted signing key, `passphrase` the file
that opens it. Being let in gives no right on the ledger: rights belong to accounts, by the contracts. Certificates end
after ten years, accounts never, so the two are kept apart.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.errors import KeyFileError
from ledger.key_files import read_key_file, write_key_file
from ledger.keys import SigningKey
from pbft.node.identity import IdentityError, read_passphrase, read_secret
from pbft.node.tls import TlsIdentity, issue_client_certificate, read_tls_identity, write_tls_identity

AUTHORITY_FILE: Final = "authority.pem"
ACCOUNT_FILE: Final = "account.pem"
TLS_FILE: Final = "tls.pem"
PASSPHRASE_FILE: Final = "passphrase"  # noqa: S105 - the name of a file
TLS_FILE_BYTES_MAX: Final = 16_384  # a key and a certificate take about 1 KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIdentity:
    """What a client holds in memory."""

    tls: TlsIdentity
    account: SigningKey


def create_authority(directory: Path, *, passphrase: bytes) -> bytes:
    """Makes the key that lets clients in, and gives its public key. Raises IdentityError; never overwrites."""
    key = SigningKey.generate()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_present(directory, AUTHORITY_FILE)
        write_key_file(directory / AUTHORITY_FILE, key, passphrase)
    except KeyFileError as error:
        raise IdentityError(str(error)) from error
    except OSError as error:
        raise IdentityError(f"{error.filename}: {error.strerror}") from error
    return key.public_key


def read_authority(directory: Path, *, passphrase: bytes) -> SigningKey:
    """The authority's key; IdentityError."""
    return _read_key(directory / AUTHORITY_FILE, passphrase)


def create_client(directory: Path, authority: SigningKey, *, name: str, passphrase: bytes) -> bytes:
    """Makes a client's account and TLS identity, and gives the account's address. Raises IdentityError."""
    account = SigningKey.generate()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_present(directory, PASSPHRASE_FILE, ACCOUNT_FILE, TLS_FILE)
        _write_secret(directory / PASSPHRASE_FILE, passphrase + b"\n")
        write_key_file(directory / ACCOUNT_FILE, account, passphrase)
        _write_secret(directory / TLS_FILE, write_tls_identity(issue_client_certificate(authority, name)))
    except KeyFileError as error:
        raise IdentityError(str(error)) from error
    except OSError as error:
        raise IdentityError(f"{error.filename}: {error.strerror}") from error
    return account.public_key


def read_client(directory: Path) -> ClientIdentity:
    """The identity in `directory`; IdentityError for a missing, readable or damaged file."""
    passphrase = read_passphrase(directory / PASSPHRASE_FILE)
    account = _read_key(directory / ACCOUNT_FILE, passphrase)
    try:
        tls = read_tls_identity(read_secret(directory / TLS_FILE, TLS_FILE_BYTES_MAX))
    except ValueError as error:
        raise IdentityError(f"{directory / TLS_FILE}: {error}") from error
    return ClientIdentity(tls=tls, account=account)


def _read_key(path: Path, passphrase: bytes) -> SigningKey:
    try:
        return read_key_file(path, passphrase)
    except KeyFileError as error:
        raise IdentityError(str(error)) from error


def _refuse_present(directory: Path, *names: str) -> None:
    for name in names:
        if (directory / name).exists():
            raise IdentityError(f"{directory / name} exists: keys are never overwritten; choose a new directory")


def _write_secret(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(data)
