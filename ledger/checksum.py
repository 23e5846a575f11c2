"""Records that tell when they are not what was written: a checksum in front of every stored value (M26).

A store's medium decays, and a flipped bit in a nonce window or a balance still parses. A replica that goes on from it
executes other blocks than its peers, or tells a client a falsehood. So every value is stored behind a CRC-32 over its
key and itself, checked at each read: damage is found where it would do harm, and stops the replica. It finds every
burst of up to 32 wrong bits; against accidents, not against attackers. Rot in the pages between records, and records
that vanish, are left to LMDB and to the comparison of headers (D26).
"""

import zlib
from collections.abc import Iterable
from typing import Final

from ledger.errors import DamagedRecord

CHECKSUM_BYTES: Final = 4


def protect(key: bytes, value: bytes) -> bytes:
    """What is stored for this value."""
    return zlib.crc32(value, zlib.crc32(key, len(key))).to_bytes(CHECKSUM_BYTES, "big") + value


def protect_many(records: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """(key, what is stored) of each (key, value): `protect`, written out, as a block writes thousands."""
    crc32 = zlib.crc32
    return [(key, crc32(value, crc32(key, len(key))).to_bytes(CHECKSUM_BYTES, "big") + value) for key, value in records]


def unprotect(table: str, key: bytes, stored: bytes) -> bytes:
    """The value as it was written. Raises DamagedRecord. The key's length is covered, so that no byte can move."""
    value = stored[CHECKSUM_BYTES:]
    if stored[:CHECKSUM_BYTES] != zlib.crc32(value, zlib.crc32(key, len(key))).to_bytes(CHECKSUM_BYTES, "big"):
        raise DamagedRecord(table, key)
    return value


def unprotect_many(table: str, records: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The values of (key, what is stored) as they were written, by key. Raises DamagedRecord.

    The same as `unprotect` for each, written out: a block reads thousands.
    """
    values: dict[bytes, bytes] = {}
    crc32 = zlib.crc32
    for key, stored in records:
        value = values[key] = stored[CHECKSUM_BYTES:]
        if stored[:CHECKSUM_BYTES] != crc32(value, crc32(key, len(key))).to_bytes(CHECKSUM_BYTES, "big"):
            raise DamagedRecord(table, key)
    return values
