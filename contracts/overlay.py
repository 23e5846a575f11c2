"""What a block has written so far, over the state below it, with an undo journal for calls that fail.

Knows bytes only. It writes nothing below: the sum of its writes is the block's outcome.
"""

from collections.abc import Iterator
from typing import Any, Final

from ledger.execution import StateReader

_MISSING: Final = object()


class Overlay:
    """Writes of a block over a state reader, with an undo journal so that a failed call leaves nothing."""

    __slots__ = ("_cache", "_journal", "_reader", "_writes")

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader
        self._cache: dict[bytes, bytes | None] = {}
        self._writes: dict[bytes, bytes | None] = {}
        self._journal: list[tuple[bytes, Any]] = []

    def get(self, key: bytes) -> bytes | None:
        """The value as of now, None if absent."""
        value: Any = self._writes.get(key, _MISSING)
        if value is _MISSING:
            value = self._cache.get(key, _MISSING)
            if value is _MISSING:
                value = self._cache[key] = self._reader.get(key)
        return value  # type: ignore[no-any-return]

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write, or delete with None."""
        self._journal.append((key, self._writes.get(key, _MISSING)))
        self._writes[key] = value

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) under a prefix as of now, keys ascending. Nothing may be written while it is read."""
        changed = sorted(key for key in self._writes if key.startswith(prefix))
        position = 0
        for key, value in self._reader.scan(prefix):
            while position < len(changed) and changed[position] < key:
                yield from self._changed(changed[position])
                position += 1
            if position < len(changed) and changed[position] == key:
                yield from self._changed(key)
                position += 1
            else:
                yield key, value
        for key in changed[position:]:
            yield from self._changed(key)

    def _changed(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        value = self._writes[key]
        if value is not None:
            yield key, value

    def mark(self) -> int:
        """A point to go back to."""
        return len(self._journal)

    def rollback(self, mark: int) -> None:
        """Undo every write since the mark."""
        journal = self._journal
        while len(journal) > mark:
            key, previous = journal.pop()
            if previous is _MISSING:
                del self._writes[key]
            else:
                self._writes[key] = previous

    def collect_writes(self) -> tuple[tuple[bytes, bytes | None], ...]:
        """All writes that change something, keys ascending, each once; None deletes."""
        return tuple((key, value) for key, value in sorted(self._writes.items()) if self._reader.get(key) != value)
