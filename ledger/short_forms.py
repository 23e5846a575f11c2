"""Canonical bytes of single values without the general writer: what is written thousands of times a block.

Each function gives exactly the bytes of `ledger.encoding.encode`, and leaves to it what is long or rare. Formats whose
fields have known types are put together from these, with their array's head in front.
"""

from functools import lru_cache
from typing import Final

from ledger.encoding import encode

_NAMES_KEPT: Final = 1_024
"""Names of contracts and events, statuses and codes: a network has tens of them, of at most 64 characters."""

_SMALL_INTS: Final = [bytes((number,)) for number in range(128)]
_SHORT_ARRAY_HEADS: Final = [bytes((0x90 | count,)) for count in range(0x10)]
_SHORT_BYTES_HEADS: Final = [bytes((0xC4, length)) for length in range(0x100)]


def encode_int(value: int) -> bytes:
    """Of an int, the common sizes inline."""
    if 0 <= value < 0x10000000000000000:
        if value < 0x80:
            return _SMALL_INTS[value]
        if value < 0x10000:
            return (value + 0xCC00).to_bytes(2, "big") if value < 0x100 else (value + 0xCD0000).to_bytes(3, "big")
        if value < 0x100000000:
            return (value + 0xCE00000000).to_bytes(5, "big")
        return (value + 0xCF0000000000000000).to_bytes(9, "big")
    return encode(value)


def encode_array_head(count: int) -> bytes:
    """Of an array, what stands in front of its elements."""
    if count < 0x10:
        return _SHORT_ARRAY_HEADS[count]
    return b"\xdc" + count.to_bytes(2, "big") if count < 0x10000 else b"\xdd" + count.to_bytes(4, "big")


def encode_bytes(value: bytes) -> bytes:
    """Of bytes, fewer than 256 of them inline."""
    return _SHORT_BYTES_HEADS[len(value)] + value if len(value) < 0x100 else encode(value)


@lru_cache(maxsize=_NAMES_KEPT)
def encode_name(value: str) -> bytes:
    """Of one of the few short strings that come up again and again."""
    return encode(value)
