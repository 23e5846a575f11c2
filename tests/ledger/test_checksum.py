"""Stored values behind their checksum: what decays is found when it is read, in memory's form and in LMDB's."""

from pathlib import Path

import lmdb
import pytest

from ledger.checksum import protect, unprotect
from ledger.errors import DamagedRecord, InvariantViolation
from ledger.lmdb_store import LmdbStore
from ledger.store import Put

MAP_BYTES = 16 * 1024 * 1024


@pytest.mark.parametrize("value", [b"", b"\x00", b"value" * 40])
def test_any_flipped_bit_and_any_cut_is_found(value: bytes) -> None:
    """M26: in the value and in the checksum itself; a value under another key is another record."""
    stored = protect(b"key", value)
    assert unprotect("t", b"key", stored) == value
    for bit in range(len(stored) * 8):
        rotten = bytearray(stored)
        rotten[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedRecord):
            unprotect("t", b"key", bytes(rotten))
    for wrong in (stored[:-1], stored[:3], b""):
        with pytest.raises(DamagedRecord):
            unprotect("t", b"key", wrong)
    with pytest.raises(DamagedRecord):
        unprotect("t", b"keyv", stored[:4] + stored[5:])


def test_lmdb_finds_a_record_that_rotted_in_its_file(tmp_path: Path) -> None:
    """Whoever reads it is stopped with table and key named; other records are read as before."""
    store = LmdbStore(tmp_path, tables=("a",), map_bytes=MAP_BYTES)
    store.write([Put("a", b"k", b"value"), Put("a", b"m", b"other")])
    store.close()
    with lmdb.open(str(tmp_path), max_dbs=2, map_size=MAP_BYTES) as environment:
        table = environment.open_db(b"t/a")
        with environment.begin(write=True, db=table) as transaction:
            stored = transaction.get(b"k")
            transaction.put(b"k", stored[:-1] + bytes([stored[-1] ^ 4]))
    store = LmdbStore(tmp_path, tables=("a",), map_bytes=MAP_BYTES)
    assert store.get("a", b"m") == b"other"
    with pytest.raises(DamagedRecord, match="table a") as damage:
        store.get("a", b"k")
    assert damage.value.key == b"k" and isinstance(damage.value, InvariantViolation)
    with pytest.raises(DamagedRecord), store.snapshot() as view:
        list(view.scan("a", reverse=True))
    with store.snapshot() as view:
        read = view.bind("a")
        assert read(b"m") == b"other"
        with pytest.raises(DamagedRecord, match="table a"):
            read(b"k")
    store.close()
