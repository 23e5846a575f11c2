"""What LMDB makes of a power failure inside a write: the file with any part of the last transaction's pages on it."""

from pathlib import Path
from random import Random

from ledger.lmdb_store import LmdbStore
from ledger.store import Put

PAGE_BYTES = 4096
META_PAGES = 2
MAP_BYTES = 16 * 1024 * 1024
KEYS = 40


def write(path: Path, value: bytes) -> bytes:
    """One synced transaction that changes many pages. Returns the file as it is then."""
    store = LmdbStore(path, tables=("a",), map_bytes=MAP_BYTES)
    store.write([Put("a", bytes([key]), value * 100) for key in range(KEYS)])
    store.close()
    return (path / "data.mdb").read_bytes()


def read(path: Path, data: bytes) -> set[bytes]:
    """The values in a store whose file holds these bytes."""
    path.mkdir()
    (path / "data.mdb").write_bytes(data)
    store = LmdbStore(path, tables=("a",), map_bytes=MAP_BYTES)
    values = {value[:3] for _, value in store.scan("a")}
    assert len(list(store.scan("a"))) == KEYS
    store.close()
    return values


def test_a_torn_transaction_leaves_the_one_before_it(tmp_path: Path) -> None:
    """D12, D34, M26: LMDB syncs data pages before the meta page. Any part of them, the last page torn: the old state;
    all of them and the meta page: the new one. So a record is never half there.
    """
    before = write(tmp_path / "made", b"old")
    after = write(tmp_path / "made", b"new")
    before = before.ljust(len(after), b"\x00")
    changed = [
        page
        for page in range(META_PAGES, len(after) // PAGE_BYTES)
        if before[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] != after[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]
    ]
    assert len(changed) > 3
    random = Random(1)
    for trial in range(40):
        arrived = random.sample(changed, random.randrange(len(changed) + 1))
        image = bytearray(before)
        for page in arrived:
            start = page * PAGE_BYTES
            end = start + (PAGE_BYTES if page != arrived[-1] else random.randrange(PAGE_BYTES))
            image[start:end] = after[start:end]
        assert read(tmp_path / str(trial), bytes(image)) == {b"old"}
    whole = bytearray(after)
    whole[: META_PAGES * PAGE_BYTES] = before[: META_PAGES * PAGE_BYTES]
    assert read(tmp_path / "all but the meta page", bytes(whole)) == {b"old"}
    assert read(tmp_path / "all", after) == {b"new"}
