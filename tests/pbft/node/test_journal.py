"""The journal: buffered until a sync, whole or not at all, and read back as it was."""

from random import Random

import pytest

from ledger.errors import StoreError
from ledger.store import MemoryStore
from pbft.core.persisted import DamagedJournal, encode_view
from pbft.node.journal import JOURNAL_TABLE, Journal
from pbft.simulation.disk import SimulatedDisk


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


def test_damage_stops_the_reader_and_names_the_record() -> None:
    """M26: a flipped bit in a view number would parse as another view; whichever record rots, the reader is stopped."""
    named = set()
    for seed in range(40):
        store = SimulatedDisk((JOURNAL_TABLE,))
        journal = Journal(store)
        journal.append(b"view", encode_view(0, 5, active=True))
        journal.append(b"own-view-change", b"sealed")
        journal.sync()
        key = store.process_rot(JOURNAL_TABLE, Random(seed))
        assert key is not None
        with pytest.raises(DamagedJournal, match="checksum"):
            journal.find(key)
        with pytest.raises(DamagedJournal) as damage:
            list(journal.records())
        assert damage.value.key == key
        named.add(key)
    assert named == {b"view", b"own-view-change"}
