"""What every Store promises. The same suite runs on memory, on LMDB and on an appended file; these two use a disk."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.errors import StoreError
from ledger.lmdb_store import LmdbStore
from ledger.log_store import LogStore
from ledger.store import KEY_BYTES_MAX, Clear, Delete, MemoryStore, Operation, Put, PutMany, Store, prefix_end

TABLES = ("a", "b")
MAP_BYTES = 16 * 1024 * 1024


@pytest.fixture(params=["memory", "lmdb", "log"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind."""
    if request.param == "memory":
        opened: Store = MemoryStore(TABLES)
    elif request.param == "log":
        opened = LogStore(tmp_path / "store", tables=TABLES)
    else:
        opened = LmdbStore(tmp_path / "store", tables=TABLES, map_bytes=MAP_BYTES)
    yield opened
    opened.close()


def test_get_what_was_put(store: Store) -> None:
    """Put, overwrite, delete; an absent key is None, deleting it is no error; empty values are values."""
    assert store.get("a", b"k") is None
    store.write([Put("a", b"k", b"1"), Put("a", b"empty", b""), Delete("a", b"none")])
    assert store.get("a", b"k") == b"1"
    assert store.get("a", b"empty") == b""
    assert store.get("b", b"k") is None
    store.write([Put("a", b"k", b"2")])
    assert store.get("a", b"k") == b"2"
    store.write([Delete("a", b"k")])
    assert store.get("a", b"k") is None


def test_operations_apply_in_order(store: Store) -> None:
    """Within one write the last operation on a key wins."""
    store.write(
        [Put("a", b"k", b"1"), Delete("a", b"k"), Put("a", b"k", b"2"), Put("b", b"k", b"3"), Delete("b", b"k")]
    )
    assert store.get("a", b"k") == b"2"
    assert store.get("b", b"k") is None


def test_a_table_is_emptied_at_once(store: Store) -> None:
    """Clear removes every key of one table, in its order among the operations; a snapshot taken before keeps them."""
    store.write([Put("a", b"k", b"1"), Put("a", b"l", b"2"), Put("b", b"k", b"3")])
    with store.snapshot() as view:
        store.write([Put("a", b"m", b"4"), Clear("a"), Put("a", b"n", b"5")])
        assert list(view.scan("a")) == [(b"k", b"1"), (b"l", b"2")]
    assert list(store.scan("a")) == [(b"n", b"5")]
    assert list(store.scan("b")) == [(b"k", b"3")]
    store.write([Clear("a"), Clear("a")])
    assert list(store.scan("a")) == []


def test_scans(store: Store) -> None:
    """Ascending and descending, under a prefix, from a start that exists or not."""
    keys = [b"a", b"b", b"b\x00", b"b\xff", b"b\xff\xff", b"c", b"\xff", b"\xff\xff"]
    store.write([Put("a", key, key[::-1]) for key in keys])
    assert list(store.scan("a")) == [(key, key[::-1]) for key in sorted(keys)]

    def scan(prefix: bytes = b"", *, start: bytes | None = None, reverse: bool = False) -> list[bytes]:
        return [key for key, _ in store.scan("a", prefix, start=start, reverse=reverse)]

    assert scan(b"b") == [b"b", b"b\x00", b"b\xff", b"b\xff\xff"]
    assert scan(b"b\xff") == [b"b\xff", b"b\xff\xff"]
    assert scan(b"\xff") == [b"\xff", b"\xff\xff"]
    assert scan(b"x") == []
    assert scan(b"b", start=b"b\x01") == [b"b\xff", b"b\xff\xff"]
    assert scan(b"b", start=b"a") == scan(b"b")
    assert scan(b"b", start=b"c") == []
    assert scan(reverse=True) == sorted(keys, reverse=True)
    assert scan(b"b", reverse=True) == [b"b\xff\xff", b"b\xff", b"b\x00", b"b"]
    assert scan(b"b", start=b"b\x01", reverse=True) == [b"b\x00", b"b"]
    assert scan(b"b", start=b"b\xff", reverse=True) == [b"b\xff", b"b\x00", b"b"]
    assert scan(b"b", start=b"z", reverse=True) == scan(b"b", reverse=True)
    assert scan(b"b", start=b"a", reverse=True) == []
    assert scan(b"\xff", start=b"\xff\xff\xff", reverse=True) == [b"\xff\xff", b"\xff"]
    assert list(store.scan("b")) == list(store.scan("b", reverse=True)) == []


def test_a_write_is_whole_or_nothing(store: Store) -> None:
    """One operation that cannot be done leaves none done."""
    for wrong in (
        Put("a", b"", b"x"),
        Put("a", bytes(KEY_BYTES_MAX + 1), b"x"),
        Put("c", b"k", b"x"),
        PutMany("a", [(b"k", b"x"), (b"", b"x")]),
        PutMany("a", [(bytes(KEY_BYTES_MAX + 1), b"x")]),
        PutMany("c", []),
        Delete("c", b"k"),
    ):
        with pytest.raises(StoreError):
            store.write([Put("a", b"k", b"1"), wrong])
        assert list(store.scan("a")) == []
    store.write([Put("a", bytes(KEY_BYTES_MAX), b"1")])
    assert store.get("a", bytes(KEY_BYTES_MAX)) == b"1"


def test_unknown_tables_are_refused(store: Store) -> None:
    """A table is named at opening or does not exist."""
    with pytest.raises(StoreError, match="table"):
        store.get("c", b"k")
    with pytest.raises(StoreError, match="table"):
        list(store.scan("c"))


def test_a_snapshot_stays_as_it_was(store: Store) -> None:
    """Later writes do not show in a snapshot; several can live; closing twice is no error."""
    store.write([Put("a", b"k", b"1"), Put("a", b"m", b"1")])
    first = store.snapshot()
    store.write([Put("a", b"k", b"2"), Delete("a", b"m"), Put("b", b"n", b"2")])
    with store.snapshot() as second:
        store.write([Put("a", b"k", b"3")])
        assert second.get("a", b"k") == b"2"
        assert list(second.scan("a")) == [(b"k", b"2")]
    assert first.get("a", b"k") == b"1"
    assert list(first.scan("a", reverse=True)) == [(b"m", b"1"), (b"k", b"1")]
    assert first.get("b", b"n") is None
    first.close()
    first.close()
    assert store.get("a", b"k") == b"3"


def test_a_scan_is_not_disturbed_by_writes(store: Store) -> None:
    """A scan shows the state at its first step, whatever is written while it runs."""
    store.write([Put("a", bytes((number,)), b"old") for number in range(1, 6)])
    scan = store.scan("a")
    seen = [next(scan)]
    store.write([Put("a", b"\x03", b"new"), Delete("a", b"\x04"), Put("a", b"\x06", b"new")])
    seen += scan
    assert seen == [(bytes((number,)), b"old") for number in range(1, 6)]


def test_a_scan_that_is_left_holds_nothing(store: Store) -> None:
    """Nobody closes the scan of which one record is asked for; the state that it saw goes with it."""
    value = bytearray(100).decode().encode()  # an object of its own
    references = sys.getrefcount(value)
    store.write([Put("a", b"k", value), Put("a", b"l", b"1")])
    scan = store.scan("a")
    assert next(scan)[0] == b"k"
    del scan
    store.write([Delete("a", b"k")])
    assert sys.getrefcount(value) == references


def test_a_closed_store_refuses(store: Store) -> None:
    """Nothing works after close, and closing again is no error."""
    store.close()
    store.close()
    with pytest.raises(StoreError):
        store.get("a", b"k")
    with pytest.raises(StoreError):
        store.write([Put("a", b"k", b"1")])
    with pytest.raises(StoreError, match="closed"):
        store.write([])
    with pytest.raises(StoreError, match="closed"):
        store.snapshot()


def test_keys_that_no_store_can_hold_are_absent(store: Store) -> None:
    """Reads take any bytes: what cannot be stored is not there, alike on both stores."""
    store.write([Put("a", b"k", b"1")])
    for key in (b"", bytes(KEY_BYTES_MAX + 1), b"k" * 2_000):
        assert store.get("a", key) is None
        with store.snapshot() as view:
            assert view.get("a", key) is None
            assert view.get_many("a", [key, b"k"]) == store.get_many("a", [b"k", key]) == {b"k": b"1"}
    for reverse in (False, True):
        assert list(store.scan("a", b"k" * 2_000, reverse=reverse)) == []
        assert list(store.scan("a", start=b"\xff" * 2_000, reverse=reverse)) == [(b"k", b"1")] * reverse


keys = st.binary(min_size=1, max_size=3)
operations = st.one_of(
    st.builds(Put, st.sampled_from(TABLES), keys, st.binary(max_size=4)),
    st.builds(PutMany, st.sampled_from(TABLES), st.lists(st.tuples(keys, st.binary(max_size=4)), max_size=4)),
    st.builds(Delete, st.sampled_from(TABLES), keys),
)


write_lists = st.lists(st.lists(operations, max_size=6), max_size=6)


@given(writes=write_lists, prefix=st.binary(max_size=2), start=keys)
def test_memory_is_a_sorted_dict(writes: list[list[Operation]], prefix: bytes, start: bytes) -> None:
    """Any writes leave what a plain dict would hold, and scans show it in order."""
    compare_with_dict(MemoryStore(TABLES), writes, prefix, start)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=write_lists, prefix=st.binary(max_size=2), start=keys)
def test_lmdb_is_a_sorted_dict(tmp_path: Path, writes: list[list[Operation]], prefix: bytes, start: bytes) -> None:
    """The same on a disk, emptied before each example."""
    store = LmdbStore(tmp_path / "store", tables=TABLES, map_bytes=MAP_BYTES)
    compare_with_dict(store, writes, prefix, start)
    store.close()


def compare_with_dict(store: Store, writes: list[list[Operation]], prefix: bytes, start: bytes) -> None:
    """Applies the writes to the store and to a dict, and compares every scan."""
    store.write([Delete(table, key) for table in TABLES for key, _ in list(store.scan(table))])
    model: dict[str, dict[bytes, bytes]] = {table: {} for table in TABLES}
    for write in writes:
        store.write(write)
        for operation in write:
            if isinstance(operation, Put):
                model[operation.table][operation.key] = operation.value
            elif isinstance(operation, PutMany):
                model[operation.table].update(operation.records)
            else:
                model[operation.table].pop(operation.key, None)
    for table in TABLES:
        under = sorted(item for item in model[table].items() if item[0].startswith(prefix))
        assert list(store.scan(table, prefix)) == under
        asked = [start, prefix, *sorted(model[table])[::2], start]
        assert store.get_many(table, asked) == {key: model[table][key] for key in asked if key in model[table]}
        assert list(store.scan(table, prefix, reverse=True)) == under[::-1]
        assert list(store.scan(table, prefix, start=start)) == [item for item in under if item[0] >= start]
        down = [item for item in under[::-1] if item[0] <= start]
        assert list(store.scan(table, prefix, start=start, reverse=True)) == down


@given(st.binary(max_size=3), st.binary(max_size=4))
def test_prefix_end_bounds_exactly_the_prefix(prefix: bytes, key: bytes) -> None:
    """A key at or above the prefix is below its end if and only if it starts with it."""
    end = prefix_end(prefix)
    if key >= prefix:
        assert key.startswith(prefix) == (end is None or key < end)


def test_power_loss_keeps_what_write_completed() -> None:
    """The surviving store has every completed write, and the dead one answers nothing more."""
    store = MemoryStore(TABLES)
    store.write([Put("a", b"k", b"1")])
    survivor = store.after_power_loss()
    assert survivor.get("a", b"k") == b"1"
    with pytest.raises(StoreError):
        store.write([Put("a", b"k", b"2")])
    survivor.write([Put("b", b"k", b"2")])
    assert survivor.get("b", b"k") == b"2"


def test_a_failed_write_changes_nothing_and_the_store_stays_failed() -> None:
    """After a failure the disk is unknown: every later write is refused with the same code."""
    store = MemoryStore(TABLES)
    store.fail_writes("full")
    for _ in range(2):
        with pytest.raises(StoreError, match="full"):
            store.write([Put("a", b"k", b"1")])
    assert store.get("a", b"k") is None
    assert store.after_power_loss().get("a", b"k") is None
