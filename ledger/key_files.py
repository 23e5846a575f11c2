"""Encrypted files for Ed25519 private keys: PKCS#8 PEM under scrypt, readable by OpenSSL (RFC 8410, RFC 5958, 7914).

A file is written once, for its owner alone, and never over another; reading refuses a file that others can read, so a
mistake with permissions is found before the key is used, not after. `openssl pkey -in FILE` shows the same key. The
passphrase comes from the caller as bytes (UTF-8 of what was typed: libraries differ on text) and is not kept here.

The first line names the public key in plain text (RFC 7468 allows text before the PEM): an operator sees which key a
file holds, and reading compares, since CBC alone would turn a damaged byte into another key.
"""

import os
import stat
from pathlib import Path
from typing import Final

from Crypto.PublicKey import ECC

from ledger.errors import KeyFileError
from ledger.keys import SigningKey

PROTECTION: Final = "scryptAndAES256-CBC"
SCRYPT_N: Final = 2**14
SCRYPT_R: Final = 8
SCRYPT_P: Final = 5
"""OWASP's choice for 16 MiB of memory; about 0.2 s a guess on one core."""

FILE_BYTES_MAX: Final = 4096
"""An encrypted Ed25519 key takes about 400 bytes."""


_FIRST_LINE: Final = "Ed25519 public key: "
_PEM_START: Final = "-----BEGIN ENCRYPTED PRIVATE KEY-----"


def write_key_file(path: Path, key: SigningKey, passphrase: bytes) -> None:
    """Writes a new file with mode 0600 and makes it durable.

    Raises KeyFileError: ``passphrase`` (empty), ``exists``, ``io``.
    """
    if not passphrase:
        raise KeyFileError("passphrase", "a key file needs a passphrase", path=str(path))
    pem: str = ECC.construct(curve="Ed25519", seed=key.seed).export_key(
        format="PEM",
        passphrase=passphrase,
        use_pkcs8=True,
        protection=PROTECTION,
        prot_params={"iteration_count": SCRYPT_N, "block_size": SCRYPT_R, "parallelization": SCRYPT_P},
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise KeyFileError("exists", "a key file is never overwritten", path=str(path)) from None
    except OSError as error:
        raise KeyFileError("io", error.strerror or "cannot write", path=str(path)) from None
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{_FIRST_LINE}{key.public_key.hex()}\n{pem}\n")
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(path.parent)  # a new file's name is not durable with its content
    except OSError as error:
        path.unlink(missing_ok=True)  # half a key would only be in the way of the next attempt
        raise KeyFileError("io", error.strerror or "cannot write", path=str(path)) from None


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_key_file(path: Path, passphrase: bytes) -> SigningKey:
    """The key of a file that its owner alone can read.

    Raises KeyFileError: ``missing``, ``permissions``, ``io``, ``not_a_key`` (not an encrypted Ed25519 PKCS#8 PEM),
    ``passphrase`` (wrong, or the file is damaged: the two cannot be told apart), ``damaged``.
    """
    text = _read_private(path)
    start = text.find(_PEM_START)
    if start < 0:
        raise KeyFileError("not_a_key", "an encrypted PKCS#8 PEM is expected", path=str(path))
    try:
        imported = ECC.import_key(text[start:], passphrase=passphrase)
    except (ValueError, IndexError, TypeError):  # what pycryptodome raises for a wrong key and for damaged DER
        raise KeyFileError("passphrase", "wrong passphrase or damaged file", path=str(path)) from None
    if imported.curve != "Ed25519" or not imported.has_private():
        raise KeyFileError("not_a_key", "an Ed25519 private key is expected", path=str(path), got=imported.curve)
    key = SigningKey.from_seed(imported.seed)
    if text[:start] != f"{_FIRST_LINE}{key.public_key.hex()}\n":
        raise KeyFileError("damaged", "not the key that the first line names", path=str(path), got=key.public_key)
    return key


def _read_private(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would be waited for
    except FileNotFoundError:
        raise KeyFileError("missing", "there is no key file", path=str(path)) from None
    except OSError as error:
        raise KeyFileError("io", error.strerror or "cannot read", path=str(path)) from None
    try:
        mode = os.fstat(descriptor).st_mode  # of the file that is open, not of whatever has its name by now
        if not stat.S_ISREG(mode) or stat.S_IMODE(mode) & 0o077:
            raise KeyFileError("permissions", "a file of mode 0600 is expected", path=str(path), got=oct(mode & 0o777))
        data = os.read(descriptor, FILE_BYTES_MAX)
    finally:
        os.close(descriptor)
    return data.decode("ascii", errors="replace")
