"""The durable memory of one replica's promises: journal records on a store of their own (D12).

`append` only buffers; `sync` makes everything appended since the last one durable in one atomic write. The driver calls
it before anything of a turn leaves (D3, D34). The store checks each record that it reads back (`ledger.checksum`),
because a flipped bit in a view number still parses, and a replica with another memory than its own is a traitor (M26).
What the records mean is left to `pbft.core.persisted`.
"""

from collections.abc import Iterator
from typing import Final

from ledger.errors import DamagedRecord
from ledger.store import Delete, Put, Store
from pbft.core.persisted import DamagedJournal

JOURNAL_TABLE: Final = "journal"


class Journal:
    """Buffered records over a store. A failed write raises StoreError and must stop the replica (M26)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._buffer: dict[bytes, bytes | None] = {}

    @property
    def is_dirty(self) -> bool:
        """Whether something was appended that a crash would lose."""
        return bool(self._buffer)

    def append(self, key: bytes, value: bytes | None) -> None:
        """Puts a record, or deletes it where value is None, at the next sync. The last append of a key wins."""
        self._buffer[key] = value

    def sync(self) -> None:
        """Everything appended is durable when this returns; nothing is written where nothing was appended."""
        if not self._buffer:
            return
        operations = [
            Delete(JOURNAL_TABLE, key) if value is None else Put(JOURNAL_TABLE, key, value)
            for key, value in sorted(self._buffer.items())
        ]
        self._store.write(operations)
        self._buffer.clear()

    def find(self, key: bytes) -> bytes | None:
        """A durable record, None where there is none. Raises DamagedJournal where it is not what was written."""
        try:
            return self._store.get(JOURNAL_TABLE, key)
        except DamagedRecord as damage:
            raise DamagedJournal(key, "its checksum does not hold") from damage

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """The durable records, ascending by key; what was appended and not synced is not among them.

        Raises DamagedJournal at a record that is not what was written.
        """
        try:
            yield from self._store.scan(JOURNAL_TABLE)
        except DamagedRecord as damage:
            raise DamagedJournal(damage.key, "its checksum does not hold") from damage
