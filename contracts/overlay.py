"""What a block has written so far, over the state below it, with an undo journal for calls that fail.

Knows bytes only. It writes nothing below: the sum of its writes is the block's outcome. The work of each operation is
bounded by what its caller pays for: a scan starts at its prefix whatever else the block wrote, and gives deleted keys
too, so that the caller can pay for passing them.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, Final

from ledger.execution import StateReader

_MISSING: Final = object()


class Overlay:
    """Writes of a block over a state reader, with an undo journal so that a failed call leaves nothing."""

    __slots__ = ("_below", "_journal", "_known", "_ordered", "_reader", "_unordered")

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader
        self._known: dict[bytes, Any] = {}
        """The value as of now of each key that was read or written."""
        self._below: dict[bytes, Any] = {}
        """Each key that is written: its value below, _MISSING where nobody has read it."""
        self._journal: list[tuple[bytes, Any, bool]] = []
        """Of each write: the key, what was known of it before, and whether the block wrote it for the first time."""
        self._ordered: list[bytes] = []
        """Written keys, ascending, but for those that no scan has met yet."""
        self._unordered: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        """The value as of now, None if absent."""
        value: Any = self._known.get(key, _MISSING)
        if value is _MISSING:
            value = self._known[key] = self._reader.get(key)
        return value  # type: ignore[no-any-return]

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write, or delete with None."""
        before = self._known.get(key, _MISSING)
        self._known[key] = value
        is_first = key not in self._below
        self._journal.append((key, before, is_first))
        if is_first:
            self._below[key] = before
            self._unordered.append(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """(key, value) under a prefix as of now, keys ascending; None for one that this block deleted.

        Nothing may be written while it is read."""
        for key in self._unordered:
            insort(self._ordered, key)
        self._unordered.clear()
        written, known = self._ordered, self._known
        position = bisect_left(written, prefix)
        for key, value in self._reader.scan(prefix):
            while position < len(written) and written[position] < key:
                yield written[position], known[written[position]]
                position += 1
            if position < len(written) and written[position] == key:
                yield key, known[key]
                position += 1
            else:
                yield key, value
        while position < len(written) and written[position].startswith(prefix):
            yield written[position], known[written[position]]
            position += 1

    def mark(self) -> int:
        """A point to go back to."""
        return len(self._journal)

    def rollback(self, mark: int) -> None:
        """Undo every write since the mark."""
        journal = self._journal
        while len(journal) > mark:
            key, before, is_first = journal.pop()
            if before is _MISSING:
                del self._known[key]
            else:
                self._known[key] = before
            if is_first:
                del self._below[key]
                if self._unordered:  # in the order of first writes, so this key is the last
                    self._unordered.pop()
                else:
                    del self._ordered[bisect_left(self._ordered, key)]

    def collect_writes(self) -> tuple[tuple[bytes, bytes | None], ...]:
        """All writes that change something, keys ascending, each once; None deletes."""
        changed: list[tuple[bytes, bytes | None]] = []
        for key in sorted(self._below):
            value, below = self._known[key], self._below[key]
            if value != (self._reader.get(key) if below is _MISSING else below):
                changed.append((key, value))
        return tuple(changed)
