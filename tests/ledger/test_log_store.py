"""The store on one appended file: what a power failure leaves of a write, what decay is, and when the file is replaced.

What every store promises is in `test_store_contract.py`, which runs on this one too.
"""

import errno
import os
from pathlib import Path
from random import Random

import pytest

from ledger.errors import DamagedRecord, StoreError
from ledger.log_store import BLOCK_BYTES, FILE_NAME, NEW_NAME, OLD_NAME, LogStore
from ledger.store import Clear, Delete, Operation, Put

FILE_BYTES = 64 * BLOCK_BYTES
LARGE = 3 * BLOCK_BYTES
WRITES: list[list[Operation]] = [
    [Put("a", b"view", b"1"), Put("b", b"view", b"2")],
    [Put("a", b"body", os.urandom(LARGE)), Put("a", b"view", b"3")],
    [Delete("b", b"view")],
    [Clear("a"), Put("a", b"k" * 511, b"")],
]


def open_store(path: Path) -> LogStore:
    return LogStore(path, tables=("a", "b"), file_bytes=FILE_BYTES)


def contents(store: LogStore) -> dict[str, dict[bytes, bytes]]:
    return {table: dict(store.scan(table)) for table in ("a", "b")}


def make(
    path: Path, writes: list[list[Operation]], *, is_worn: bool = False
) -> tuple[list[bytes], list[dict[str, dict[bytes, bytes]]]]:
    """The file and the records after each write, the empty store first. `is_worn`: the file has been used before."""
    store, random = open_store(path), Random(2)
    for _ in range(3 * FILE_BYTES // LARGE if is_worn else 0):
        store.write([Put("a", b"body", random.randbytes(LARGE))])
        store.write([Clear("a")])
    files, records = [(path / FILE_NAME).read_bytes()], [contents(store)]
    for operations in writes:
        store.write(operations)
        files.append((path / FILE_NAME).read_bytes())
        records.append(contents(store))
    store.close()
    return files, records


def read(path: Path, data: bytes) -> dict[str, dict[bytes, bytes]]:
    """What a store reads from a file of these bytes, opened twice: opening writes the file anew."""
    path.mkdir(exist_ok=True)
    (path / FILE_NAME).write_bytes(data)
    for _ in range(2):
        store = open_store(path)
        found = contents(store)
        store.close()
    return found


@pytest.mark.parametrize("is_worn", [False, True])
def test_what_was_written_is_read_again(tmp_path: Path, is_worn: bool) -> None:
    """After each write, from the bytes that are on the disk when it returns."""
    files, records = make(tmp_path / "s", WRITES, is_worn=is_worn)
    assert (files[0].count(b"\0") > len(files[0]) // 2) != is_worn
    for number, (data, expected) in enumerate(zip(files, records, strict=True)):
        assert read(tmp_path / str(number), data) == expected


def test_the_names_are_durable_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """M28: a start is counted beside the key, durably. A journal whose directory vanishes with the power afterwards
    counts fewer starts than its key, which is refused for ever; at a network's first start, at all replicas at once.
    """
    synced: list[int] = []
    sync = os.fsync

    def note(file: int) -> None:
        synced.append(os.fstat(file).st_ino)
        sync(file)

    monkeypatch.setattr(os, "fsync", note)
    store = open_store(tmp_path / "s")
    names = [path.stat().st_ino for path in (tmp_path, tmp_path / "s")]
    assert [number for number in synced if number in names][:2] == names
    store.close()


@pytest.mark.parametrize("is_worn", [False, True])
def test_a_torn_write_leaves_what_was_before_it(tmp_path: Path, is_worn: bool) -> None:
    """D12, D34: any part of the blocks of the last frame, the last of them torn. `write` had not returned, so nothing
    of it was promised; and the store goes on from there.
    """
    files, records = make(tmp_path / "s", WRITES[:2], is_worn=is_worn)
    before, after = files[1], files[2]
    starts = range(0, len(after), BLOCK_BYTES)
    blocks = [start for start in starts if before[start:][:BLOCK_BYTES] != after[start:][:BLOCK_BYTES]]
    assert len(blocks) == 4
    random = Random(1)
    for trial in range(30):
        arrived = random.sample(blocks, random.randrange(1, len(blocks)))
        image = bytearray(before)
        for start in arrived:
            end = start + (BLOCK_BYTES if start != arrived[-1] else random.randrange(1, BLOCK_BYTES))
            image[start:end] = after[start:end]
        assert read(tmp_path / str(trial), bytes(image)) == records[1]
    store = open_store(tmp_path / "0")
    store.write(WRITES[1])
    store.close()
    assert read(tmp_path / "1", (tmp_path / "0" / FILE_NAME).read_bytes()) == records[2]


def test_every_flipped_bit_below_the_last_frame_is_decay(tmp_path: Path) -> None:
    """M26: a replica that forgot one of its promises, or read another one, would be a traitor: it must not start."""
    files, records = make(tmp_path / "s", [[Put("a", bytes([n]), b"promise %d" % n)] for n in range(3)])
    data = files[-1]
    frames = [start for start in range(0, len(data), BLOCK_BYTES) if any(data[start:][:BLOCK_BYTES])]
    assert len(frames) == 5  # the head, the records that lived at the opening, three writes
    used = [start + n for start in frames[:-1] for n in range(len(data[start:][:BLOCK_BYTES].rstrip(b"\0")))]
    for position in used:
        rotten = bytearray(data)
        rotten[position] ^= 1 << position % 8
        (tmp_path / "s" / FILE_NAME).write_bytes(rotten)
        with pytest.raises((DamagedRecord, StoreError)):
            open_store(tmp_path / "s")
    with pytest.raises(DamagedRecord):
        read(tmp_path / "short", data[:-BLOCK_BYTES])
    assert read(tmp_path / "s", data) == records[-1]


def test_a_frame_inside_a_value_is_no_frame(tmp_path: Path) -> None:
    """Values hold what clients sent. One that imitates a later frame does not make a torn write look like decay."""
    files, records = make(tmp_path / "s", [[Put("a", b"k", b"1")]])
    imitated = files[1][2 * BLOCK_BYTES : 3 * BLOCK_BYTES]  # a frame as it stands in the file of another salt
    value = imitated * 8
    store = open_store(tmp_path / "t")
    store.write([Put("a", b"k", b"1")])
    store.write([Put("a", b"large", b"x" * (BLOCK_BYTES - 16 - 2 - 6 - 5) + value)])
    store.close()
    torn = bytearray((tmp_path / "t" / FILE_NAME).read_bytes())
    torn[3 * BLOCK_BYTES + 100] ^= 1
    assert torn[4 * BLOCK_BYTES :][: len(imitated)] == imitated
    assert read(tmp_path / "t", bytes(torn)) == records[1]


def test_a_full_file_is_replaced_by_what_lives(tmp_path: Path) -> None:
    """The file does not grow with what was written, only with what lives; each write is there whenever it is read."""
    store = open_store(tmp_path / "s")
    for number in range(150):
        store.write([Put("a", b"k", number.to_bytes(4, "big") * 500), Delete("b", b"x"), Put("b", b"y", b"z")])
        assert (tmp_path / "s" / FILE_NAME).stat().st_size == FILE_BYTES
    expected = contents(store)
    store.write([Put("a", b"large", bytes(2 * FILE_BYTES))])
    assert (tmp_path / "s" / FILE_NAME).stat().st_size > 8 * FILE_BYTES
    store.close()
    again = open_store(tmp_path / "s")
    assert again.get("a", b"large") == bytes(2 * FILE_BYTES)
    again.write([Delete("a", b"large")])
    again.close()
    last = open_store(tmp_path / "s")
    assert contents(last) == expected
    assert (tmp_path / "s" / FILE_NAME).stat().st_size == FILE_BYTES
    last.close()


def test_a_replacement_that_power_cut_off_changes_nothing(tmp_path: Path) -> None:
    """The new file has another name until it is whole and durable, and while they swap their names one of the two has
    the right one. What else lies there is not read, and never written into: it might be the same file."""
    files, records = make(tmp_path / "s", WRITES)
    current, new, old = (tmp_path / "s" / name for name in (FILE_NAME, NEW_NAME, OLD_NAME))
    for others in ({}, {new: None}, {old: current}, {new: None, old: current}, {new: current}, {old: None}):
        for name in (new, old):
            name.unlink(missing_ok=True)
        current.write_bytes(files[-1])
        for name, same in others.items():
            name.write_bytes(files[0][:100]) if same is None else name.hardlink_to(same)
        for _ in range(2):
            store = open_store(tmp_path / "s")
            assert contents(store) == records[-1]
            store.write([Put("b", b"more", b"1")])
            store.write([Delete("b", b"more")])
            store.close()
        assert not old.exists()


def test_a_file_is_written_over_the_one_before_the_last(tmp_path: Path) -> None:
    """Two files take turns, and nothing is laid out with zeros between; each holds its own frames alone, at each write,
    although those of its last turn are still there."""
    store = open_store(tmp_path / "s")
    used = sum(path.stat().st_blocks for path in (tmp_path / "s").iterdir())
    writes: dict[int, int] = {}
    for number in range(200):
        store.write([Put("a", b"k%d" % (number % 3), number.to_bytes(4, "big") * 500), Delete("b", b"x")])
        file = (tmp_path / "s" / FILE_NAME).stat().st_ino
        writes[file] = writes.get(file, 0) + 1
        if number % 7 == 0:
            assert read(tmp_path / "read", (tmp_path / "s" / FILE_NAME).read_bytes()) == contents(store)
    assert len(writes) == 2 and min(writes.values()) > 50
    assert sum(path.stat().st_blocks for path in (tmp_path / "s").iterdir()) == used, "taken at the first opening"
    store.close()


def test_what_a_file_held_before_is_older_than_all_that_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even under one salt: that of two files is as good as the same, by their checksums, once in four billion times."""
    monkeypatch.setattr(os, "urandom", bytes)
    files, records = make(tmp_path / "s", WRITES, is_worn=True)
    for number, (data, expected) in enumerate(zip(files, records, strict=True)):
        assert read(tmp_path / str(number), data) == expected
    for _ in range(3):  # and from one opening to the next
        store = open_store(tmp_path / "s")
        for number in range(100):
            store.write([Put("a", b"k", number.to_bytes(4, "big") * 500)])
            if number % 9 == 0:
                assert read(tmp_path / "read", (tmp_path / "s" / FILE_NAME).read_bytes()) == contents(store)
        store.close()


def test_without_links_each_file_is_laid_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems have none."""

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    store = open_store(tmp_path / "s")
    for number in range(150):
        store.write([Put("a", b"k", number.to_bytes(4, "big") * 500)])
    assert [path.name for path in (tmp_path / "s").iterdir()] == [FILE_NAME]
    store.close()
    assert read(tmp_path / "s", (tmp_path / "s" / FILE_NAME).read_bytes())["a"] == {
        b"k": (149).to_bytes(4, "big") * 500
    }


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "full"), (errno.EIO, "disk")])
@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_disk_that_fails_fails_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: str
) -> None:
    """What the disk holds is unknown after a failed write or flush: nothing is written any more, nor shown as written
    (Rebello and others, Can Applications Recover from fsync Failures, 2020)."""

    def fail(*_arguments: object) -> int:
        raise OSError(number, "no")

    store = open_store(tmp_path / "s")
    store.write([Put("a", b"k", b"1")])
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StoreError) as failed:
        store.write([Put("a", b"k", b"2")])
    monkeypatch.undo()
    assert failed.value.code == code
    assert store.get("a", b"k") == b"1"
    with pytest.raises(StoreError):
        store.write([Put("a", b"k", b"3")])
    store.close()


@pytest.mark.parametrize("call", ["open", "pwrite", "fsync"])
def test_a_replacement_that_fails_fails_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """What is not durable is not shown, no descriptor is closed twice, and the next opening finds the old file."""
    store = open_store(tmp_path / "s")
    store.write([Put("a", b"k", b"1")])

    def fail(*_arguments: object, **_options: object) -> int:
        raise OSError(errno.EIO, "no")

    with monkeypatch.context() as broken:
        broken.setattr(os, call, fail)
        with pytest.raises(StoreError) as failed:
            store.write([Put("a", b"k", bytes(100 * BLOCK_BYTES))])
    assert failed.value.code == "disk"
    assert store.get("a", b"k") == b"1"
    with pytest.raises(StoreError) as failed:
        store.write([Put("a", b"k", b"3")])
    assert failed.value.code == "disk"
    opened = os.open(tmp_path, os.O_RDONLY)  # takes the number of the file that is closed
    store.close()
    os.close(opened)
    again = open_store(tmp_path / "s")
    assert again.get("a", b"k") == b"1"
    again.close()


def test_foreign_directories_are_refused(tmp_path: Path) -> None:
    """A directory with files of another store, other tables, or no directory at all."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data.mdb").write_bytes(b"x")
    with pytest.raises(StoreError) as refused:
        open_store(tmp_path / "other")
    assert refused.value.code == "schema"
    open_store(tmp_path / "s").close()
    with pytest.raises(StoreError) as refused:
        LogStore(tmp_path / "s", tables=("a",))
    assert refused.value.code == "schema"
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(StoreError) as refused:
        open_store(tmp_path / "file")
    assert refused.value.code == "open"
