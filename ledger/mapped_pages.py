"""The pages of a file that this process has mapped: bounded, although the file grows without end.

LMDB reads its file through one map of all of it, and a page that was looked at stays mapped for good. After a million
transfers these are hundreds of megabytes, most of which nobody looks at again. Two means against that:

- Pages are let go of (madvise(2), MADV_DONTNEED). They stay in the system's cache until somebody needs the room, and
  one that is wanted again is mapped again, in a microsecond, without a disk.
- Pages are mapped one by one. The kernel maps fifteen neighbours with each page that is looked at ("fault-around"), so
  that a block which changes a thousand accounts would map every page of the state. No advice switches that off, but
  around pages of a range that is registered with userfaultfd(2) nothing is mapped. So the map is registered, for a kind
  of event, write protection, that never happens to it. A shared map of a file that was opened read only cannot be
  registered, so a reader's map is replaced, at its place, by a private one: as nobody writes to it, it shows the same
  pages of the system's cache, with all that other processes write. Under an old kernel, or in a container whose filter
  refuses, nothing can be registered, and a page comes with its neighbours.

Linux only; elsewhere nothing is found, and nothing let go of.
"""

import ctypes
import fcntl
import mmap
import os
import platform
import struct
from pathlib import Path
from typing import Final, TypeAlias

_MADV_DONTNEED: Final = 4
_MAPS: Final = Path("/proc/self/maps")
_USERFAULTFD: Final = {"x86_64": 323, "aarch64": 282}  # the system call's number
_USER_MODE_ONLY: Final = 1  # what needs no privilege
_API: Final = 0xAA
_UFFDIO_API: Final = 0xC018AA3F  # struct uffdio_api: api, features, ioctls
_UFFDIO_REGISTER: Final = 0xC020AA00  # struct uffdio_register: start, length, mode, ioctls
_FEATURE_WP_ASYNC: Final = 1 << 15  # Linux 6.7: write protection of any map, resolved by the kernel itself
_MODE_WP: Final = 2
_MAP_FIXED: Final = 0x10

Range: TypeAlias = tuple[int, int, int]
"""(address, bytes, offset in the file) of a map."""


class MappedFile:
    """Where this process has mapped a file. To be closed before the map is undone."""

    def __init__(self, path: Path, *, is_writable: bool) -> None:
        """`is_writable`: the file was opened for writing. Raises OSError where a reader's map cannot be replaced."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._madvise = libc.madvise
        self._madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._ranges = _find_ranges(os.fsencode(path.resolve()))
        self._descriptor = _open_userfaultfd(libc) if self._ranges else None
        if self._descriptor is not None:
            if not is_writable:
                _replace(libc, path, self._ranges)
            if not _register(self._descriptor, self._ranges):
                os.close(self._descriptor)
                self._descriptor = None

    @property
    def is_single(self) -> bool:
        """Whether pages are mapped one by one."""
        return self._descriptor is not None

    def let_go(self) -> None:
        """Unmap every page that was looked at. Nothing is lost, also to who is reading."""
        for address, size, _ in self._ranges:
            self._madvise(address, size, _MADV_DONTNEED)

    def close(self) -> None:
        """To be called before the map is undone: what lies there afterwards is somebody else's. Twice is no error."""
        self._ranges = []
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _find_ranges(path: bytes) -> list[Range]:
    """Each part of the file's map, by proc(5): addresses, mode, offset, device, inode, path."""
    try:
        lines = _MAPS.read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] == path:
            first, _, end = fields[0].partition(b"-")
            found.append((int(first, 16), int(end, 16) - int(first, 16), int(fields[2], 16)))
    return found


def _open_userfaultfd(libc: ctypes.CDLL) -> int | None:
    """A descriptor that keeps ranges registered; None where the kernel does not do what is needed."""
    number = _USERFAULTFD.get(platform.machine())
    if platform.system() != "Linux" or number is None:
        return None
    descriptor: int = libc.syscall(number, os.O_CLOEXEC | _USER_MODE_ONLY)
    if descriptor < 0:
        return None
    try:
        fcntl.ioctl(descriptor, _UFFDIO_API, bytearray(struct.pack("QQQ", _API, _FEATURE_WP_ASYNC, 0)))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _register(descriptor: int, ranges: list[Range]) -> bool:
    try:
        for address, size, _ in ranges:
            fcntl.ioctl(descriptor, _UFFDIO_REGISTER, bytearray(struct.pack("QQQQ", address, size, _MODE_WP, 0)))
    except OSError:
        return False
    return True


def _replace(libc: ctypes.CDLL, path: Path, ranges: list[Range]) -> None:
    """Maps the same parts of a file at the same places, to be read, privately."""
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64)
    libc.mmap.restype = ctypes.c_void_p
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for address, size, offset in ranges:
            if libc.mmap(address, size, mmap.PROT_READ, mmap.MAP_PRIVATE | _MAP_FIXED, descriptor, offset) != address:
                raise OSError(ctypes.get_errno(), "a map cannot be replaced", str(path))
    finally:
        os.close(descriptor)
