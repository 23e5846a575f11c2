"""Sealed payloads: none lies on a disk but under the key of its period, which can be destroyed (D16, D50).

The hierarchy, from the top:

    root key       one per replica, 32 bytes, in its key directory as carefully as its signing keys
    period key     one per UTC day of batch time, 32 random bytes, in a file of its own under the root key
    sealed payload XChaCha20-Poly1305 under the period key: period (4 bytes, big-endian), ciphertext, tag

Destroying one period key erases the payloads of that day wherever their ciphertext lies: in the ledger, in the journal,
in pages of either that were freed and not yet overwritten, in every backup. So a period key is written nowhere but in
its own file, which no backup may hold. The period is that of the batch's time, which the batch digest covers: known
before execution, and the same at every replica.

The nonce is the transaction's id, which with the period is also authenticated: an id names one payload only, since its
commitments are in what the id hashes, so sealing is repeatable (journal and ledger hold the same bytes) and a key never
meets a nonce with two texts.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from Crypto.Cipher import ChaCha20_Poly1305

from ledger.errors import PayloadError, StoreError
from ledger.hashing import HASH_BYTES, Tag, tagged_hash

PERIOD_MS: Final = 86_400_000
"""A UTC day: the finest grain at which settlement closes, and 365 files of 72 bytes a year."""
PERIOD_MAX: Final = 2**32 - 1
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 24
TAG_BYTES: Final = 16
SEALED_OVERHEAD: Final = 4 + TAG_BYTES
"""What sealing adds to a payload."""


class PayloadKeys(Protocol):
    """The period keys of one replica."""

    def find(self, period: int) -> bytes | None:
        """The key of a period, None where it was never made or is destroyed. Raises StoreError."""
        ...

    def make(self, period: int) -> bytes:
        """The key of a period, made and durable before this returns where there was none. Raises StoreError."""
        ...


class PayloadVault:
    """Seals payloads for disks, and opens them again."""

    def __init__(self, keys: PayloadKeys) -> None:
        self._keys = keys

    def seal(self, batch_time_ms: int, tx_id: bytes, payload: bytes) -> bytes:
        """The payload of a transaction as it may be stored. Raises StoreError where its period has no key to be had."""
        period = batch_time_ms // PERIOD_MS
        key = self._keys.find(period)
        return _seal(self._keys.make(period) if key is None else key, period, tx_id, payload)

    def open(self, tx_id: bytes, sealed: bytes) -> bytes:
        """The payload. Raises PayloadError: ``erased`` (its key is destroyed), ``damaged``; StoreError."""
        if len(sealed) < SEALED_OVERHEAD:
            raise PayloadError("damaged", "too short to be sealed", got=len(sealed))
        period = int.from_bytes(sealed[:4], "big")
        key = self._keys.find(period)
        if key is None:
            raise PayloadError("erased", "the key of its period is destroyed", period=period)
        return _open(key, tx_id, sealed)


def _seal(key: bytes, period: int, identity: bytes, text: bytes) -> bytes:
    cipher = ChaCha20_Poly1305.new(key=key, nonce=identity[:NONCE_BYTES])
    prefix = period.to_bytes(4, "big")
    cipher.update(prefix + identity)
    ciphertext, tag = cipher.encrypt_and_digest(text)
    return prefix + ciphertext + tag


def _open(key: bytes, identity: bytes, sealed: bytes) -> bytes:
    """The opposite of `_seal`. Raises PayloadError (damaged)."""
    cipher = ChaCha20_Poly1305.new(key=key, nonce=identity[:NONCE_BYTES])
    cipher.update(sealed[:4] + identity)
    try:
        return cipher.decrypt_and_verify(sealed[4:-TAG_BYTES], sealed[-TAG_BYTES:])
    except ValueError:
        raise PayloadError("damaged", "not what was sealed under this key") from None


class MemoryPayloadKeys:
    """Period keys that follow from a secret: for networks in one process, whose runs must repeat."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._keys: dict[int, bytes] = {}

    def find(self, period: int) -> bytes | None:
        """See `PayloadKeys.find`."""
        return self._keys.get(period)

    def make(self, period: int) -> bytes:
        """See `PayloadKeys.make`."""
        key = tagged_hash(Tag.PAYLOAD_KEY_FILE, period.to_bytes(4, "big"), self._secret)
        return self._keys.setdefault(period, key)


class PayloadKeyFiles:
    """Period keys in files ``<period>.key`` of one directory, each sealed under the root key and never over another.

    A file is whole and durable before its key is first used. One that does not open is a failed store, which stops the
    replica: what is sealed under that key can neither be read nor be called erased.
    """

    def __init__(self, directory: Path, root_key: bytes, *, draw: Callable[[int], bytes] = secrets.token_bytes) -> None:
        """`directory` is made with mode 0700 where it is missing; `draw` gives random bytes. Raises StoreError."""
        self._directory = directory
        self._root_key = root_key
        self._draw = draw
        self._keys: dict[int, bytes] = {}
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreError("io", f"{directory}: {error.strerror}") from None

    def find(self, period: int) -> bytes | None:
        """See `PayloadKeys.find`. Raises StoreError: ``io``, ``damaged``."""
        known = self._keys.get(period)
        if known is not None:
            return known
        try:
            sealed = self._path(period).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError("io", f"{self._path(period)}: {error.strerror}") from None
        try:
            key = _open(self._root_key, _identity_of(period), sealed)
        except PayloadError:  # too short, too long, of another period, under another root key
            raise StoreError("damaged", f"{self._path(period)}: not a period key under this root key") from None
        self._keys[period] = key
        return key

    def make(self, period: int) -> bytes:
        """See `PayloadKeys.make`. Raises StoreError: ``io``, ``damaged``, ``period``."""
        if not 0 <= period <= PERIOD_MAX:
            raise StoreError("period", "no period of this calendar", got=period)
        known = self.find(period)
        if known is not None:
            return known
        key = self._draw(KEY_BYTES)
        self._write(self._path(period), _seal(self._root_key, period, _identity_of(period), key))
        self._keys[period] = key
        return key

    def _path(self, period: int) -> Path:
        return self._directory / f"{period}.key"

    def _write(self, path: Path, data: bytes) -> None:
        """The whole file or none of it, also after a power loss."""
        new = path.with_suffix(".new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise StoreError("io", f"{path}: {error.strerror}") from None


def _identity_of(period: int) -> bytes:
    """What a period key's own seal is bound to: 32 bytes that no transaction has as its id."""
    return tagged_hash(Tag.PAYLOAD_KEY_FILE, period.to_bytes(4, "big"))


def derive_root_key(seed: bytes) -> bytes:
    """The root key of a payload seed (the 32 bytes that `payload.pem` holds)."""
    if len(seed) != HASH_BYTES:
        raise PayloadError("seed", "a seed of 32 bytes is expected", got=len(seed))
    return tagged_hash(Tag.PAYLOAD_ROOT_KEY, seed)
