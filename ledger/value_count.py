"""How many values encoded bytes hold, found out without making one: a format's limit that is cheap to judge.

Decoding costs time per value, and a container of one byte is a value. This walk reads heads only, stops at its limit,
and is total. It refuses nothing: whether bytes are canonical is for `ledger.encoding` alone.
"""

from typing import Final

EXTENTS: Final[dict[int, tuple[int, str]]] = {
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
"""Bytes after a head, and what the number in them counts; none where they are the value itself."""


def has_more_values(data: bytes, max_values: int) -> bool:
    """Whether the encoded value holds more than `max_values` values: itself, elements, keys and their values.

    It makes no value and stops at the limit. For bytes that are not canonical it may say False: `decode` refuses them
    where they go wrong, before it has made more than `max_values` values.
    """
    if len(data) <= max_values:
        return False  # the shortest value is one byte
    at, open_count, count = 0, 1, 0  # values that are announced and not seen yet; values seen
    while open_count and at < len(data):
        count += 1
        if count > max_values:
            return True
        skipped, opened = _extent(data, at)
        at += skipped
        open_count += opened - 1
    return False


def _extent(data: bytes, at: int) -> tuple[int, int]:
    """How many bytes a value's head and own content take, and how many values follow inside it."""
    head = data[at]
    if head < 0x80 or head >= 0xE0:
        return 1, 0
    if head < 0x90:
        return 1, 2 * (head & 0x0F)
    if head < 0xA0:
        return 1, head & 0x0F
    if head < 0xC0:
        return 1 + (head & 0x1F), 0
    size, kind = EXTENTS.get(head, (len(data), ""))  # a form that is not used: nothing after it is decoded
    length = int.from_bytes(data[at + 1 : at + 1 + size], "big") if kind else 0
    if kind == "content":
        return 1 + size + length, 0
    if kind == "extension":
        return 2 + size + length, 0
    return 1 + size, {"array": length, "map": 2 * length}.get(kind, 0)
