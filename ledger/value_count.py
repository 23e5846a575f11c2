"""How many values encoded bytes hold, found out without making one: a format's limit that is cheap to judge.

Decoding costs time per value, and a container of one byte is a value. This walk reads heads only, stops at its limit,
and is total. It refuses nothing: whether bytes are canonical is for `ledger.encoding` alone.
"""

from typing import Final

_SHORT_BYTES: Final = bytes(
    1 + (head & 0x1F) if 0xA0 <= head < 0xC0 else 1 if head < 0xA0 or head >= 0xE0 else 0 for head in range(256)
)
"""Of a value whose head says all, by its head: how many bytes the head and its own content take. 0: see `_LONG`."""

_SHORT_OPENED: Final = bytes(
    2 * (head & 0x0F) if 0x80 <= head < 0x90 else head & 0x0F if 0x90 <= head < 0xA0 else 0 for head in range(256)
)
"""Of the same: how many values follow inside it."""

_LONG: Final[dict[int, tuple[int, str]]] = {
    **dict.fromkeys((0xC0, 0xC2, 0xC3), (0, "")),
    **{head: (length, "") for head, length in zip(range(0xCC, 0xD4), (1, 2, 4, 8, 1, 2, 4, 8), strict=True)},
    **{head: (length, "content") for head, length in zip(range(0xC4, 0xC7), (1, 2, 4), strict=True)},
    **{head: (length, "content") for head, length in zip(range(0xD9, 0xDC), (1, 2, 4), strict=True)},
    0xC7: (1, "extension"),
    0xD8: (17, ""),
    0xDC: (2, "array"),
    0xDD: (4, "array"),
    0xDE: (2, "map"),
    0xDF: (4, "map"),
}
"""Of the other heads: bytes after the head, and what the number in them counts; nothing where they are the value."""


def has_more_values(data: bytes, max_values: int) -> bool:
    """Whether the encoded value holds more than `max_values` values: itself, elements, keys and their values.

    It makes no value and stops at the limit. For bytes that are not canonical it may say False: `decode` refuses them
    where they go wrong, before it has made more than `max_values` values.
    """
    if len(data) <= max_values:
        return False  # the shortest value is one byte
    at, open_count, count, length = 0, 1, 0, len(data)  # open: announced and not seen yet; count: seen
    while open_count and at < length:
        count += 1
        if count > max_values:
            return True
        head = data[at]
        size, opened = _SHORT_BYTES[head], _SHORT_OPENED[head]
        if not size:
            size, opened = _compute_long(data, at)
        at += size
        open_count += opened - 1
    return False


def _compute_long(data: bytes, at: int) -> tuple[int, int]:
    """How many bytes a value's head and own content take, and how many values follow inside it."""
    size, kind = _LONG.get(data[at], (len(data), ""))  # a form that is not used: nothing after it is decoded
    number = int.from_bytes(data[at + 1 : at + 1 + size], "big") if kind else 0
    if kind == "content":
        return 1 + size + number, 0
    if kind == "extension":
        return 2 + size + number, 0
    return 1 + size, {"array": number, "map": 2 * number}.get(kind, 0)
