"""The journal: buffered until a sync, whole or not at all, and read back as it was."""

import pytest

from ledger.errors import StoreError
from ledger.store import MemoryStore, Put
from pbft.core.persisted import DamagedJournal, encode_view
from pbft.node.journal import JOURNAL_TABLE, Journal


def test_only_a_sync_makes_records_durable() -> None:
    """Power loss before the sync loses what was appended, and only that."""
    store = MemoryStore((JOURNAL_TABLE,))
    journal = Journal(store)
    journal.append(b"a", b"1")
    journal.sync()
    journal.append(b"b", b"2")
    journal.append(b"a", None)
    assert journal.is_dirty
    assert list(Journal(store.after_power_loss()).records()) == [(b"a", b"1")]


def test_the_last_append_of_a_key_wins() -> None:
    """Put, delete and put again in one turn: one record, the last one; a delete of nothing is no error."""
    store = MemoryStore((JOURNAL_TABLE,))
    journal = Journal(store)
    journal.append(b"a", b"1")
    journal.append(b"a", None)
    journal.append(b"a", b"2")
    journal.append(b"b", None)
    journal.sync()
    assert list(journal.records()) == [(b"a", b"2")]
    assert not journal.is_dirty


def test_a_failed_write_is_not_forgotten() -> None:
    """M26: the error reaches the caller, and nothing of the turn is durable."""
    store = MemoryStore((JOURNAL_TABLE,))
    journal = Journal(store)
    store.fail_writes("disk_full")
    journal.append(b"a", b"1")
    with pytest.raises(StoreError, match="disk_full"):
        journal.sync()
    assert journal.is_dirty
    assert list(journal.records()) == []


def test_nothing_appended_writes_nothing() -> None:
    """A turn without promises costs no sync, and so meets no failing disk."""
    store = MemoryStore((JOURNAL_TABLE,))
    store.fail_writes("disk_full")
    journal = Journal(store)
    journal.sync()
    assert not journal.is_dirty


def test_any_flipped_bit_of_a_record_is_found() -> None:
    """M26: a flipped bit in a view number would parse as another view; the checksum over key and value refuses it."""
    store = MemoryStore((JOURNAL_TABLE,))
    journal = Journal(store)
    journal.append(b"view", encode_view(0, 5, active=True))
    journal.sync()
    stored = store.get(JOURNAL_TABLE, b"view")
    assert stored is not None
    for bit in range(len(stored) * 8):
        damaged = bytearray(stored)
        damaged[bit // 8] ^= 1 << bit % 8
        store.write([Put(JOURNAL_TABLE, b"view", bytes(damaged))])
        with pytest.raises(DamagedJournal, match="view"):
            list(journal.records())
    store.write([Put(JOURNAL_TABLE, b"view", stored[:3])])
    with pytest.raises(DamagedJournal, match="view"):
        list(journal.records())
