"""What a block has written so far, over the state below it, with an undo journal for calls that fail.

Knows bytes only. It writes nothing below: the sum of its writes is the block's outcome. The work of each operation is
bounded by what its caller pays for: a scan starts at its prefix whatever else the block wrote, and gives deleted keys
too, so that the caller can pay for passing them.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Container, Iterator
from itertools import islice
from typing import Any, Final

from ledger.execution import StateReader

NEW_KEYS_SORTED: Final = 16
"""From one new key in so many on, sorting all keys anew is cheaper for each new one than finding its place."""

READ_BYTES_KEPT_MAX: Final = 64 * 1024 * 1024
"""Of what a block read and did not write: beyond, it is read again when it is asked for. The calls of a block may read
many times of it, more than the worker's memory, and a worker that dies of a block dies of it on every replica (D54)."""
ENTRY_BYTES: Final = 256
"""What the interpreter takes for a key and a value besides their bytes, at most."""

_MISSING: Final = object()


class _Known(dict[bytes, Any]):
    """Values as of now; a key that nobody asked for yet is read from below at its first use."""

    __slots__ = ("_read", "_read_bytes", "_written")

    def __init__(self, reader: StateReader, written: Container[bytes]) -> None:
        self._read = reader.get
        self._written = written
        self._read_bytes = 0

    def __missing__(self, key: bytes) -> bytes | None:
        value = self._read(key)
        self._read_bytes += ENTRY_BYTES + len(key) + len(value or b"")
        if self._read_bytes > READ_BYTES_KEPT_MAX:
            self._forget_read()
        self[key] = value
        return value

    def _forget_read(self) -> None:
        """Give up what was read alone: below is the same still."""
        for key in [key for key in self if key not in self._written]:
            del self[key]
        self._read_bytes = 0


class Overlay:
    """Writes of a block over a state reader, with an undo journal so that a failed call leaves nothing."""

    __slots__ = ("_below", "_journal", "_known", "_ordered", "_reader", "get")

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader
        self._below: dict[bytes, Any] = {}
        """Each written key, in the order of first writes: its value below, _MISSING where nobody has read it."""
        self._known = _Known(reader, self._below)
        """The value as of now of each key that was written, and of those that were read of late."""
        self.get: Callable[[bytes], bytes | None] = self._known.__getitem__
        """The value as of now, None if absent. The interpreter's own look-up: most reads of a block meet known keys."""
        self._journal: list[tuple[bytes, Any, bool]] = []
        """Of each write: the key, what was known of it before, and whether the block wrote it for the first time."""
        self._ordered: list[bytes] = []
        """Written keys, ascending, but for the last of `_below`, which no scan has met yet."""

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write, or delete with None."""
        known, below = self._known, self._below
        before = known.get(key, _MISSING)
        known[key] = value
        if key in below:
            self._journal.append((key, before, False))
        else:
            below[key] = before
            self._journal.append((key, before, True))

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """(key, value) under a prefix as of now, keys ascending; None for one that this block deleted.

        Nothing may be written while it is read."""
        written, known = self._order(), self._known
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

    def _order(self) -> list[bytes]:
        """All written keys, ascending."""
        written = self._ordered
        new = list(islice(reversed(self._below), len(self._below) - len(written)))
        if len(new) * NEW_KEYS_SORTED > len(written):
            written += new
            written.sort()
        else:
            for key in new:
                insort(written, key)
        return written

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
                if len(self._ordered) == len(self._below):
                    del self._ordered[bisect_left(self._ordered, key)]
                self._below.popitem()  # in the order of first writes, so this key is the last

    def collect_writes(self) -> tuple[tuple[bytes, bytes | None], ...]:
        """All writes that change something, keys ascending, each once; None deletes."""
        known, below, read = self._known, self._below, self._reader.get
        return tuple(
            [
                (key, value)
                for key in self._order()
                if (value := known[key]) != (read(key) if (before := below[key]) is _MISSING else before)
            ]
        )
