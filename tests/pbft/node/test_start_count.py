"""Starts are counted in the journal and beside the key: an older journal is refused, a crash between the two is not."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.encoding import encode
from ledger.store import MemoryStore
from pbft.core.persisted import STARTS_KEY, DamagedJournal
from pbft.node import start_count
from pbft.node.data_directory import StartRefused
from pbft.node.journal import JOURNAL_TABLE, Journal
from pbft.node.start_count import STARTS_FILE, count_start, hold_keys

NETWORK, KEY, NEW_KEY = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32


def make_journal(count: int | None = None) -> Journal:
    """A journal on an empty store, opened so often before."""
    journal = Journal(MemoryStore((JOURNAL_TABLE,)))
    if count is not None:
        journal.append(STARTS_KEY, encode(count))
        journal.sync()
    return journal


def start(keys: Path, journal: Journal, *, network: bytes = NETWORK, key: bytes = KEY) -> int:
    return count_start(keys, network=network, public_key=key, journal=journal)


def refused(keys: Path, journal: Journal) -> str:
    """The code with which a start is refused; it has changed nothing then."""
    before = (keys / STARTS_FILE).read_bytes()
    with pytest.raises(StartRefused) as caught:
        start(keys, journal)
    assert (keys / STARTS_FILE).read_bytes() == before
    assert "keys renew" in str(caught.value) and "run --recover" in str(caught.value)
    return caught.value.code


def test_starts_are_counted_in_both_places(tmp_path: Path) -> None:
    """One more with each start; what the journal holds is durable before it returns."""
    journal = make_journal()
    assert [start(tmp_path, journal) for _ in range(3)] == [1, 2, 3]
    assert journal.find(STARTS_KEY) == encode(3) and not journal.is_dirty
    assert (tmp_path / STARTS_FILE).read_bytes() == encode([1, NETWORK, KEY, 3])


@pytest.mark.parametrize("older", [None, 1, 2])
def test_an_older_journal_and_an_empty_one_are_refused(tmp_path: Path, older: int | None) -> None:
    """M28, D37: a restored data directory, and a new disk under the old key. The text names the repair."""
    journal = make_journal()
    for _ in range(3):
        start(tmp_path, journal)
    assert refused(tmp_path, make_journal(older)) == "older_journal"
    assert start(tmp_path, journal) == 4, "the journal that is the newest goes on"


@pytest.mark.parametrize("dies_at", ["journal", "file", "rename"])
def test_a_crash_between_the_two_refuses_nobody(tmp_path: Path, dies_at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal is written first: wherever the power fails, the next start with it goes on; an older one does not."""
    journal = make_journal()
    start(tmp_path, journal)

    def fail(*_arguments: object) -> None:
        raise KeyboardInterrupt

    owner, name = {"journal": (Journal, "sync"), "file": (start_count, "write_durably"), "rename": (Path, "replace")}[
        dies_at
    ]
    with monkeypatch.context() as power:
        power.setattr(owner, name, fail)
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path, journal)
    survivor = Journal(journal._store)
    assert start(tmp_path, survivor) == (2 if dies_at == "journal" else 3)
    assert refused(tmp_path, make_journal(1)) == "older_journal"


def test_a_renewed_key_and_another_network_begin_anew(tmp_path: Path) -> None:
    """D37: a new key has signed nothing, and a signature names its network: an empty journal is as good as any."""
    assert start(tmp_path, make_journal(7)) == 8
    assert start(tmp_path, make_journal(), key=NEW_KEY) == 1
    assert refused_for(tmp_path, NEW_KEY) == "older_journal"
    assert start(tmp_path, make_journal(), network=bytes(32)) == 1


def refused_for(keys: Path, key: bytes) -> str:
    with pytest.raises(StartRefused) as caught:
        start(keys, make_journal(), key=key)
    return caught.value.code


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.lists(st.integers(0, 9) | st.binary(max_size=40), max_size=5).map(lambda fields: encode(list(fields))),
    )
)
def test_whatever_stands_in_the_file_is_a_count_or_refused(tmp_path: Path, data: bytes) -> None:
    """Total: a file that was damaged is named, and never counts as none."""
    (tmp_path / STARTS_FILE).write_bytes(data)
    assert refused(tmp_path, make_journal()) == "starts_file"


def test_a_damaged_record_is_damage_of_the_journal(tmp_path: Path) -> None:
    """M26."""
    for value in (encode(-1), encode(True), encode("3"), b"\xc1"):
        journal = make_journal()
        journal.append(STARTS_KEY, value)
        journal.sync()
        with pytest.raises(DamagedJournal):
            start(tmp_path, journal)


def test_one_process_holds_a_key_directory(tmp_path: Path) -> None:
    """D38: a second data directory does not make a second replica of one key; the lock ends with its holder."""
    release = hold_keys(tmp_path)
    with pytest.raises(StartRefused) as caught:
        hold_keys(tmp_path)
    assert caught.value.code == "second_copy" and f"process {os.getpid()}" in str(caught.value)
    release()
    hold_keys(tmp_path)()


def test_a_key_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file in the way of the directory, and a directory in the way of the file: starts must be counted somewhere."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefused) as caught:
        hold_keys(tmp_path / "file")
    assert caught.value.code == "not_writable"
    (tmp_path / STARTS_FILE).mkdir()
    with pytest.raises(StartRefused) as caught:
        start(tmp_path, make_journal())
    assert caught.value.code == "not_writable"
