"""What is LMDB's own: processes, files, sync, size, schema. These tests use a disk."""

import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from ledger import lmdb_store
from ledger.errors import StoreError
from ledger.lmdb_store import SCHEMA_VERSION, LmdbStore
from ledger.store import Put

TABLES = ("a",)
MAP_BYTES = 1024 * 1024

READ_ONLY_PROCESS = """
import sys
from pathlib import Path
from ledger.lmdb_store import SCHEMA_VERSION, LmdbStore
store = LmdbStore(Path(sys.argv[1]), tables=("a",), readonly=True)
held = store.snapshot()
for line in sys.stdin:
    print((held if line.strip() == "held" else store).get("a", b"k").decode(), flush=True)
"""

KILLED_PROCESS = """
import os, sys
from pathlib import Path
from ledger.lmdb_store import SCHEMA_VERSION, LmdbStore
from ledger.store import Put
store = LmdbStore(Path(sys.argv[1]), tables=("a",))
for number in range(50):
    store.write([Put("a", b"%03d" % number, b"x"), Put("a", b"last", b"%03d" % number)])
os.kill(os.getpid(), 9)
"""


KILLED_READER = """
import os, sys
from pathlib import Path
from ledger.lmdb_store import SCHEMA_VERSION, LmdbStore
held = LmdbStore(Path(sys.argv[1]), tables=("a",), readonly=True).snapshot()
assert held.get("a", b"k") == b"1"
os.kill(os.getpid(), 9)
"""


def open_store(path: Path, *, readonly: bool = False) -> LmdbStore:
    """A small store."""
    return LmdbStore(path, tables=TABLES, map_bytes=MAP_BYTES, readonly=readonly)


def test_content_survives_closing(tmp_path: Path) -> None:
    """What was written is there after opening again; the file takes its content, not the map's size."""
    store = LmdbStore(tmp_path / "s", tables=TABLES)
    store.write([Put("a", b"k", b"v" * 100_000)])
    store.close()
    assert (tmp_path / "s" / "data.mdb").stat().st_blocks * 512 < 1_000_000
    again = LmdbStore(tmp_path / "s", tables=TABLES)
    assert again.get("a", b"k") == b"v" * 100_000
    again.close()


def test_another_process_reads_while_this_one_writes(tmp_path: Path) -> None:
    """A read-only process sees each write at once through a new snapshot, and an old snapshot stays as it was."""
    store = open_store(tmp_path / "s")
    store.write([Put("a", b"k", b"1")])
    with subprocess.Popen(
        [sys.executable, "-c", READ_ONLY_PROCESS, str(tmp_path / "s")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None

        def ask(question: str) -> str:
            print(question, file=reader.stdin, flush=True)
            return reader.stdout.readline().strip()

        assert ask("new") == "1"
        store.write([Put("a", b"k", b"2"), Put("a", b"big", bytes(200_000))])
        assert (ask("new"), ask("held")) == ("2", "1")
        reader.kill()
    store.write([Put("a", b"k", b"3")])
    assert store.get("a", b"k") == b"3"
    store.close()


def test_a_table_bound_to_a_snapshot_reads_what_the_snapshot_reads(tmp_path: Path) -> None:
    """Of its moment; keys that are missing or none too; and nothing once the snapshot is closed."""
    store = open_store(tmp_path / "s")
    store.write([Put("a", b"k", b"1"), Put("a", b"empty", b"")])
    with store.snapshot() as view:
        read = view.bind("a")
        store.write([Put("a", b"k", b"2"), Put("a", b"new", b"3")])
        for key in (b"k", b"empty", b"new", b""):
            assert read(key) == view.get("a", key)
        assert read(b"k") == b"1"
        with pytest.raises(StoreError, match="table"):
            view.bind("b")
    with pytest.raises(StoreError, match="read"):
        read(b"k")
    store.close()


def test_a_killed_process_leaves_whole_writes(tmp_path: Path) -> None:
    """A process that dies in the middle of its work leaves every write that returned, and no half of another."""
    ran = subprocess.run([sys.executable, "-c", KILLED_PROCESS, str(tmp_path / "s")], check=False)
    assert ran.returncode == -9
    store = open_store(tmp_path / "s")
    assert [key for key, _ in store.scan("a")] == [*(b"%03d" % n for n in range(50)), b"last"]
    assert store.get("a", b"last") == b"049"
    store.close()


def test_killed_readers_leave_room_for_their_successors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that the watchdog kills holds its slot until the next one opens: slots never run out."""
    monkeypatch.setattr(lmdb_store, "READERS_MAX", 2)
    store = open_store(tmp_path / "s")
    store.write([Put("a", b"k", b"1")])
    for _ in range(2):
        reader = subprocess.run([sys.executable, "-c", KILLED_READER, str(tmp_path / "s")], check=False)
        assert reader.returncode == -9
    assert store.get("a", b"k") == b"1"
    store.close()


def test_a_read_without_a_free_slot_is_a_store_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What LMDB raises never leaves the store as LMDB's."""
    monkeypatch.setattr(lmdb_store, "READERS_MAX", 1)
    store = open_store(tmp_path / "s")
    with store.snapshot(), pytest.raises(StoreError, match="read"):
        store.get("a", b"k")
    store.close()


def is_read(store: LmdbStore) -> bool:
    """Whether somebody reads: LMDB's list has a title, and a dash where a slot is kept for the next read."""
    return any(not line.endswith("-") for line in store._environment.readers().splitlines()[1:])


def test_a_scan_that_is_left_keeps_no_pages(tmp_path: Path) -> None:
    """It reads no more once it is forgotten, closed or not: else the file would grow with each block from then on."""
    store = open_store(tmp_path / "s")
    store.write([Put("a", b"k", b"1"), Put("a", b"l", b"2")])
    with store.snapshot() as view:
        assert is_read(store)
        next(view.scan("a"))
    for reverse in (False, True):
        next(store.scan("a", reverse=reverse))
        assert not is_read(store)
    store.close()


def test_every_write_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is opened with the flags of a synced store: nothing here may trade durability for speed."""
    seen: dict = {}

    def recording_open(path: str, **options: object) -> lmdb.Environment:
        seen.update(options)
        return real_open(path, **options)

    real_open = lmdb.open
    monkeypatch.setattr(lmdb, "open", recording_open)
    store = open_store(tmp_path / "s")
    flags = store._environment.flags()
    store.close()
    assert {name: flags[name] for name in ("sync", "metasync", "writemap", "map_async")} == {
        "sync": True,
        "metasync": True,
        "writemap": False,
        "map_async": False,
    }
    assert not {"sync", "metasync", "writemap", "lock"} & set(seen)


def test_a_full_store_fails_and_stays_failed(tmp_path: Path) -> None:
    """The write that does not fit changes nothing and ends writing; what was there is there after opening again."""
    store = open_store(tmp_path / "s")
    store.write([Put("a", b"k", b"1")])
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            store.write([Put("a", b"k", b"2"), Put("a", b"big", bytes(MAP_BYTES))])
        assert caught.value.code == "full"
    with pytest.raises(StoreError, match="full"):
        store.write([Put("a", b"k", b"3")])
    assert store.get("a", b"k") == b"1"
    store.close()
    again = open_store(tmp_path / "s")
    again.write([Put("a", b"k", b"3")])
    assert again.get("a", b"k") == b"3"
    again.close()


def test_read_only_creates_and_changes_nothing(tmp_path: Path) -> None:
    """A missing store is refused, and so is a write."""
    with pytest.raises(StoreError, match="open"):
        open_store(tmp_path / "none", readonly=True)
    assert not (tmp_path / "none").exists()
    open_store(tmp_path / "s").close()
    reader = open_store(tmp_path / "s", readonly=True)
    with pytest.raises(StoreError, match="read_only"):
        reader.write([Put("a", b"k", b"1")])
    reader.close()


def test_a_table_that_is_missing_is_refused_read_only(tmp_path: Path) -> None:
    """A reader cannot invent a table that the writer never made."""
    open_store(tmp_path / "s").close()
    with pytest.raises(StoreError, match="open"):
        LmdbStore(tmp_path / "s", tables=("a", "b"), readonly=True)


@pytest.mark.parametrize("version", [b"%d" % (SCHEMA_VERSION - 1), b"%d" % (SCHEMA_VERSION + 1), b"two"])
def test_another_schema_is_refused(tmp_path: Path, version: bytes) -> None:
    """A store of an earlier or later version is not touched; the error has its own code and names both versions."""
    open_store(tmp_path / "s").close()
    environment = lmdb.open(str(tmp_path / "s"), max_dbs=4)
    schema = environment.open_db(b"schema")
    with environment.begin(write=True, db=schema) as transaction:
        transaction.put(b"version", version)
    environment.close()
    content = (tmp_path / "s" / "data.mdb").read_bytes()
    for readonly in (False, True):
        with pytest.raises(StoreError, match=f"version {SCHEMA_VERSION}, .* version {version.decode()}") as refused:
            LmdbStore(tmp_path / "s", tables=("a", "b"), map_bytes=MAP_BYTES, readonly=readonly)
        assert refused.value.code == "schema"
    assert (tmp_path / "s" / "data.mdb").read_bytes() == content


@pytest.mark.parametrize("content", [b"not a database", bytes(8192)])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """What is no LMDB file is not overwritten."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "data.mdb").write_bytes(content)
    with pytest.raises(StoreError, match="open"):
        open_store(tmp_path / "s")
    assert (tmp_path / "s" / "data.mdb").read_bytes() == content


def test_a_path_that_cannot_be_used(tmp_path: Path) -> None:
    """A file in the way is told, not overwritten."""
    (tmp_path / "s").write_bytes(b"")
    with pytest.raises(StoreError, match="open"):
        open_store(tmp_path / "s")
