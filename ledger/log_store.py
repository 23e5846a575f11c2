"""`Store` on one appended file: for few records that are rewritten all the time, as a journal's are.

A write is one frame at the end of the file and one flush of the disk, where LMDB needs two, one after the other, and
touches a page per record. All live records are in memory too; a file that is full is replaced by one with what still
lives. A file is laid out with zeros beforehand, so that a flush has no file size to record; the one that was replaced
is kept for that, and the next is written over it.

Each frame begins at a block of its own, since a power failure may damage the block that is being written, and carries a
checksum over its number, its bytes and a salt that nobody outside knows, so that a value that imitates a frame is none.
Numbers go on from file to file, so that what was there before is older than all that is written over it. At the opening
frames are read until one does not hold. If any newer one holds behind it, the file has decayed, and is refused. If none
does, power failed while it was written: `write` had not returned, and nothing of it counts. The one thing that looks
the same is decay of the very last frame; LMDB's pages have the same blind spot, and a replica asks the others for its
own last words at its start (M28).

One process opens the directory at a time; whoever opens it sees to that (`pbft.node.data_directory`).
"""

import errno
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from ledger.encoding import decode, encode
from ledger.errors import DamagedRecord, EncodingError, StoreError
from ledger.store import Clear, Delete, MemoryStore, Operation, Put, PutMany, Snapshot, check_key, check_keys

FILE_NAME: Final = "log"
NEW_NAME: Final = "log.new"  # until it is whole; then it is renamed. Before, it is a file that was replaced
OLD_NAME: Final = "log.old"  # of the file that is being replaced, while the new one takes its name
FILE_BYTES: Final = 8_388_608  # at least: some thirty full batches between two replacements
GROWTH: Final = 4  # a new file has room for so many times what lives, so that replacing stays rare
SPARE_MAX: Final = 2  # times that room: a larger file is not written over, else it would stay as large as it ever was
BLOCK_BYTES: Final = 4096  # what a disk may write in one piece; no two frames share one
HEAD_BYTES: Final = 16  # of a frame: length 4, checksum 4, number 8; big-endian
SALT_BYTES: Final = 16
FORMAT: Final = "gridquorum log 1"  # a later version brings an upgrader from this one
FRAME_BYTES_MAX: Final = 1 << 30  # more is no length but decay

_PUT: Final = 0
_DELETE: Final = 1
_CLEAR: Final = 2


class LogStore:
    """A store in a directory of its own. StoreError where that cannot be used; DamagedRecord where it has decayed."""

    def __init__(self, path: Path, *, tables: Sequence[str], file_bytes: int = FILE_BYTES) -> None:
        self._path = path
        self._names = tuple(tables)
        self._numbers = {name: number for number, name in enumerate(self._names)}
        self._file_bytes = file_bytes
        self._memory = MemoryStore(self._names)
        self._failing: str | None = None
        self._file = -1
        self._end = self._size = self._number = 0
        self._spare_bytes = 0  # of the file that was replaced; 0 where there is none
        self._salt = b""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_directory(path.parent)  # its own name: a start that was counted must not lose its journal (M28)
            for name in (NEW_NAME, OLD_NAME):
                path.joinpath(name).unlink(missing_ok=True)
            if path.joinpath(FILE_NAME).exists():
                self._read(path.joinpath(FILE_NAME).read_bytes())
            elif any(path.iterdir()):
                raise StoreError("schema", f"{path} holds the files of another store")
            self._replace()
            if not self._spare_bytes:  # the first opening: both files take their room at once, not one of them later
                self._replace()
        except OSError as error:
            self.close()
            raise StoreError("open", f"cannot open {path}: {error}") from None
        except (StoreError, DamagedRecord):
            self.close()
            raise

    # --- Store ---

    def get(self, table: str, key: bytes) -> bytes | None:
        """See `ReadView.get`."""
        return self._memory.get(table, key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See `ReadView.get_many`."""
        return self._memory.get_many(table, keys)

    def scan(
        self, table: str, prefix: bytes = b"", *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `ReadView.scan`."""
        return self._memory.scan(table, prefix, start=start, reverse=reverse)

    def snapshot(self) -> Snapshot:
        """See `Store.snapshot`."""
        return self._memory.snapshot()

    def write(self, operations: Sequence[Operation]) -> None:
        """See `Store.write`."""
        if self._failing is not None:
            raise StoreError(self._failing, "the store has failed a write and must be opened again")
        if self._file < 0:
            raise StoreError("closed", "the store is closed")
        body = self._encode(operations)
        try:
            if self._end + HEAD_BYTES + len(body) > self._size:
                self._replace(body)
            else:
                self._append(body)
                os.fdatasync(self._file)
        except OSError as error:
            self._failing = "full" if error.errno == errno.ENOSPC else "disk"
            raise StoreError(self._failing, f"the write failed: {error}") from None
        self._memory.write(operations)

    def close(self) -> None:
        """See `Store.close`."""
        self._close_file()
        self._memory.close()

    def _close_file(self) -> None:
        """Forgets the descriptor before it is closed: its number may soon be another file's."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    # --- writing ---

    def _encode(self, operations: Iterable[Operation]) -> bytes:
        """The operations as bytes. Refuses those that no store takes."""
        parts: list[bytes] = []
        for operation in operations:
            number = self._numbers.get(operation.table)
            if number is None:
                raise StoreError("table", "not a table of this store, or the store is closed", got=operation.table)
            if isinstance(operation, Put | PutMany):
                records = operation.records if isinstance(operation, PutMany) else [(operation.key, operation.value)]
                check_keys(records)
                for key, value in records:
                    sizes = len(key).to_bytes(2, "big") + len(value).to_bytes(4, "big")
                    parts += (bytes((_PUT, number)), sizes, key, value)
            elif type(operation) is Delete:
                check_key(operation.key)
                parts += (bytes((_DELETE, number)), len(operation.key).to_bytes(2, "big"), operation.key)
            else:
                parts.append(bytes((_CLEAR, number)))
        return b"".join(parts)

    def _append(self, body: bytes) -> None:
        """Writes a frame at the end, and moves the end to the next block. Not durable until the file is synced."""
        frame = _frame(self._salt, self._number, body)
        _write_all(self._file, frame, self._end)
        self._number += 1
        self._end += -(-len(frame) // BLOCK_BYTES) * BLOCK_BYTES

    def _replace(self, body: bytes = b"") -> None:
        """Another file with what lives, and a write on top of it, takes the place of the old one: whole and durable
        before it has its name."""
        alive = self._encode([PutMany(name, list(self._memory.scan(name))) for name in self._names])
        self._salt = os.urandom(SALT_BYTES)
        room = max(self._file_bytes, GROWTH * (len(alive) + len(body) + 4 * BLOCK_BYTES))
        self._close_file()
        self._open_new(-(-room // BLOCK_BYTES) * BLOCK_BYTES)
        self._end = 0
        self._append(self._salt + encode([FORMAT, list(self._names), self._size]))
        self._append(alive)
        if body:
            self._append(body)
        os.fsync(self._file)
        self._spare_bytes = _swap(self._path)

    def _open_new(self, size: int) -> None:
        """The file that was replaced last, if it has the room but not far more; else a new one, laid out with zeros."""
        spare, self._spare_bytes = self._spare_bytes, 0
        new = self._path.joinpath(NEW_NAME)
        if size <= spare <= SPARE_MAX * size:
            self._file, self._size = os.open(new, os.O_RDWR), spare
            return
        self._file, self._size = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), size
        zeros = bytes(min(size, 1 << 20))
        for offset in range(0, size, len(zeros)):
            _write_all(self._file, zeros[: size - offset], offset)

    # --- reading ---

    def _read(self, data: bytes) -> None:
        """Applies every frame that holds. DamagedRecord where one of them cannot have been the last."""
        self._salt = data[HEAD_BYTES : HEAD_BYTES + SALT_BYTES]
        first = int.from_bytes(data[8:HEAD_BYTES], "big")
        head = _read_frame(data, 0, self._salt, first)
        if head is None:
            raise DamagedRecord(FILE_NAME, b"head")
        try:
            described = decode(head[SALT_BYTES:])
        except EncodingError as error:
            raise StoreError("schema", f"no log of this program: {error}") from None
        if type(described) is not list or described[:-1] != [FORMAT, list(self._names)]:
            raise StoreError("schema", "another format or other tables", expected=self._names, got=described)
        if described[-1] != len(data):
            raise DamagedRecord(FILE_NAME, b"length")
        offset, number = _frame_end(0, head), first + 1
        while (body := _read_frame(data, offset, self._salt, number)) is not None:
            self._memory.write(list(self._parse(body)))
            offset, number = _frame_end(offset, body), number + 1
        if number == first + 1:
            raise DamagedRecord(FILE_NAME, b"records")  # written and synced with the head, before the file had a name
        for later in range(offset + BLOCK_BYTES, len(data), BLOCK_BYTES):
            if data[later : later + 4] != bytes(4) and _holds_later(data, later, self._salt, number):
                raise DamagedRecord(FILE_NAME, number.to_bytes(8, "big"))
        self._number = number + 1  # one may have been torn, with this number

    def _parse(self, body: bytes) -> Iterator[Operation]:
        at = 0
        while at < len(body):
            kind, table = body[at], self._names[body[at + 1]]
            at += 2
            if kind == _CLEAR:
                yield Clear(table)
                continue
            key_at = at + (6 if kind == _PUT else 2)
            end = key_at + int.from_bytes(body[at : at + 2], "big")
            if kind == _DELETE:
                yield Delete(table, body[key_at:end])
                at = end
            else:
                at, value_bytes = end, int.from_bytes(body[at + 2 : at + 6], "big")
                yield Put(table, body[key_at:end], body[at : at + value_bytes])
                at += value_bytes


def _frame(salt: bytes, number: int, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + _checksum(salt, number, body) + number.to_bytes(8, "big") + body


def _checksum(salt: bytes, number: int, body: bytes) -> bytes:
    """Of a frame. Its number keeps a frame from standing for another; the salt keeps out frames inside a value."""
    return zlib.crc32(body, zlib.crc32(salt + number.to_bytes(8, "big") + len(body).to_bytes(4, "big"))).to_bytes(
        4, "big"
    )


def _read_frame(data: bytes, offset: int, salt: bytes, number: int) -> bytes | None:
    """The body of frame `number` at an offset, None where it does not stand there whole."""
    start = offset + HEAD_BYTES
    length = int.from_bytes(data[offset : offset + 4], "big")
    if start > len(data) or length > min(FRAME_BYTES_MAX, len(data) - start):
        return None
    if data[offset + 8 : start] != number.to_bytes(8, "big"):
        return None
    body = data[start : start + length]
    return body if data[offset + 4 : offset + 8] == _checksum(salt, number, body) else None


def _holds_later(data: bytes, offset: int, salt: bytes, number: int) -> bool:
    """Whether a frame above `number` stands at an offset."""
    found = int.from_bytes(data[offset + 8 : offset + HEAD_BYTES], "big")
    return found > number and _read_frame(data, offset, salt, found) is not None


def _frame_end(offset: int, body: bytes) -> int:
    return offset + -(-(HEAD_BYTES + len(body)) // BLOCK_BYTES) * BLOCK_BYTES


def _write_all(file: int, data: bytes, offset: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(file, data[written:], offset + written)


def _swap(path: Path) -> int:
    """Gives the new file its name, durably, and the name of a new one to the file that had it. Returns the size of that
    file, 0 for none. Whatever of it happens before power fails, `FILE_NAME` names one of the two, whole."""
    current, new, old = path.joinpath(FILE_NAME), path.joinpath(NEW_NAME), path.joinpath(OLD_NAME)
    spare_bytes = 0
    if current.exists():
        try:
            old.hardlink_to(current)
            spare_bytes = current.stat().st_size
        except OSError:
            pass  # a file system without links: the old file goes, and the next one is laid out again
    new.rename(current)
    if spare_bytes:
        old.rename(new)
    _sync_directory(path)
    return spare_bytes


def _sync_directory(path: Path) -> None:
    """Makes the names in a directory durable: a file's own sync does not."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
