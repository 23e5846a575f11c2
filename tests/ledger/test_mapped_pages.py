"""What a process maps of its ledger's file is bounded, and letting go of pages loses nothing."""

import random
from contextlib import closing
from pathlib import Path

import pytest

from ledger import lmdb_store
from ledger.lmdb_store import LmdbStore
from ledger.mapped_pages import MappedFile
from ledger.store import PutMany

TABLE = "records"
ROUNDS = 16
RECORDS = 600


def mapped_bytes(path: Path) -> int:
    """How much of a file this process has mapped, by proc(5), smaps."""
    total, is_ours = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        fields = line.split(maxsplit=5)
        if "-" in fields[0] and not fields[0].endswith(":"):
            is_ours = len(fields) == 6 and fields[5] == str(path)
        elif is_ours and fields[0] == "Rss:":
            total += int(fields[1]) * 1024
    return total


def fill(store: LmdbStore, rounds: int = ROUNDS) -> dict[bytes, bytes]:
    """Writes of records at random places, as an index of transactions has them: each round looks at every page."""
    drawn = random.Random(1)
    content: dict[bytes, bytes] = {}
    for _ in range(rounds):
        records = sorted((drawn.randbytes(16), drawn.randbytes(500)) for _ in range(RECORDS))
        store.write([PutMany(TABLE, records)])
        content.update(records)
    return content


def test_a_writer_maps_what_its_last_writes_looked_at(tmp_path: Path) -> None:
    """The file is larger than what is ever mapped of it, at every moment after a write; nothing reads differently."""
    path = (tmp_path / "data.mdb").resolve()
    with closing(LmdbStore(tmp_path, tables=(TABLE,))) as store:
        content = fill(store)
        assert mapped_bytes(path) < path.stat().st_size / 8  # the last of its writes let go
        assert all(store.get(TABLE, key) == value for key, value in content.items())


def test_a_reader_maps_what_it_looked_at_since_it_let_go(tmp_path: Path) -> None:
    """Whoever only reads lets go after so many looks, too: a replica that serves its whole chain to others."""
    path = (tmp_path / "data.mdb").resolve()
    with closing(LmdbStore(tmp_path, tables=(TABLE,))) as store:
        content = fill(store, rounds=4)
    with closing(LmdbStore(tmp_path, tables=(TABLE,), readonly=True)) as reader:
        for key in list(content)[: lmdb_store.LOOKS_MAX - 2]:
            reader.get(TABLE, key)
        seen = mapped_bytes(path)
        reader.let_go()
        assert mapped_bytes(path) == 0 < seen
        for key in list(content)[: lmdb_store.LOOKS_MAX]:
            reader.get(TABLE, key)
        assert mapped_bytes(path) < seen / 4  # the last look let go before it looked


def test_who_is_reading_goes_on(tmp_path: Path) -> None:
    """Pages are let go of in the middle of a scan, and under a snapshot that is older than a write."""
    with closing(LmdbStore(tmp_path, tables=(TABLE,))) as store:
        content = fill(store, rounds=2)
        with store.snapshot() as view:
            fill(store, rounds=1)
            found = {}
            for key, value in view.scan(TABLE):
                store.let_go()
                found[key] = value
        assert found == content


@pytest.mark.parametrize("readonly", [False, True])
def test_a_page_comes_alone_or_with_neighbours(tmp_path: Path, readonly: bool) -> None:
    """Where the kernel maps pages one by one, one look at a file of hundreds maps a handful: also a reader's."""
    path = (tmp_path / "data.mdb").resolve()
    with closing(LmdbStore(tmp_path, tables=(TABLE,))) as writer:
        content = fill(writer, rounds=4)
    with closing(LmdbStore(tmp_path, tables=(TABLE,), readonly=readonly)) as store:
        store.let_go()
        store.get(TABLE, next(iter(content)))
        mapped = store._mapped
        assert mapped is not None
        pages = mapped_bytes(path) // 4096
        assert 0 < pages <= (8 if mapped.is_single else 8 * 16)


def test_what_is_closed_is_never_let_go_of(tmp_path: Path) -> None:
    """Another map may lie there by then; twice closed is no error, and a file that nobody maps has nothing."""
    store = LmdbStore(tmp_path, tables=(TABLE,))
    mapped = store._mapped
    assert mapped is not None and mapped._ranges
    store.close()
    assert mapped._ranges == [] and not mapped.is_single
    store.let_go()
    mapped.close()
    nothing = MappedFile(tmp_path / "nothing", is_writable=True)
    nothing.let_go()
    assert not nothing.is_single
