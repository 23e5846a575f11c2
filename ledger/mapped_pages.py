"""The pages of a file that this process has mapped: bounded, although the file grows without end.

LMDB reads its file through one map of all of it, and a page that was looked at stays mapped for good. After a million
transfers these are hundreds of megabytes, most of which nobody looks at again. Two means against that:

- Pages are let go of (madvise(2), MADV_DONTNEED). They stay in the system's cache until somebody needs the room, and
  one that is wanted again is mapped again, in a microsecond, without a disk.
- Pages are mapped one by one. The kernel maps fifteen neighbours with each page that is looked at ("fault-around"), so
  that a block which changes a thousand accounts would map every page of the state. No advice switches that off, but
  around pages of a range that is registered with userfaultfd(2) nothing is mapped. So the map is registered, for a kind
  of event, write protection, that never happens to it. A file that was opened read only cannot be registered; nor can
  any under an old kernel, or in a container whose filter refuses. Then a page comes with its neighbours.

Linux only; elsewhere nothing is found, and nothing let go of.
"""

import contextlib
import ctypes
import fcntl
import os
import platform
import struct
from pathlib import Path
from typing import Final

_MADV_DONTNEED: Final = 4
_MAPS: Final = Path("/proc/self/maps")
_USERFAULTFD: Final = {"x86_64": 323, "aarch64": 282}  # the system call's number
_USER_MODE_ONLY: Final = 1  # what needs no privilege
_API: Final = 0xAA
_UFFDIO_API: Final = 0xC018AA3F  # struct uffdio_api: api, features, ioctls
_UFFDIO_REGISTER: Final = 0xC020AA00  # struct uffdio_register: start, length, mode, ioctls
_FEATURE_WP_ASYNC: Final = 1 << 15  # Linux 6.7: write protection of any map, resolved by the kernel itself
_MODE_WP: Final = 2


class MappedFile:
    """Where this process has mapped a file. To be closed before the map is undone."""

    def __init__(self, path: Path, *, is_writable: bool) -> None:
        """`is_writable`: the file was opened for writing, so its pages can be mapped one by one."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._madvise = libc.madvise
        self._madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._ranges = _find_ranges(os.fsencode(path.resolve()))
        self._descriptor = _register(libc, self._ranges) if is_writable else None

    @property
    def is_single(self) -> bool:
        """Whether pages are mapped one by one."""
        return self._descriptor is not None

    def let_go(self) -> None:
        """Unmap every page that was looked at. Nothing is lost, also to who is reading."""
        for address, size in self._ranges:
            self._madvise(address, size, _MADV_DONTNEED)

    def close(self) -> None:
        """To be called before the map is undone: what lies there afterwards is somebody else's. Twice is no error."""
        self._ranges = []
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _find_ranges(path: bytes) -> list[tuple[int, int]]:
    """(address, bytes) of each part of the file's map, by proc(5): addresses, mode, offset, device, inode, path."""
    try:
        lines = _MAPS.read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] == path:
            first, _, end = fields[0].partition(b"-")
            found.append((int(first, 16), int(end, 16) - int(first, 16)))
    return found


def _register(libc: ctypes.CDLL, ranges: list[tuple[int, int]]) -> int | None:
    """The descriptor that keeps ranges registered; None where the kernel does not do that."""
    number = _USERFAULTFD.get(platform.machine())
    if platform.system() != "Linux" or number is None or not ranges:
        return None
    descriptor: int = libc.syscall(number, os.O_CLOEXEC | _USER_MODE_ONLY)
    if descriptor < 0:
        return None
    try:
        fcntl.ioctl(descriptor, _UFFDIO_API, bytearray(struct.pack("QQQ", _API, _FEATURE_WP_ASYNC, 0)))
        for address, size in ranges:
            fcntl.ioctl(descriptor, _UFFDIO_REGISTER, bytearray(struct.pack("QQQQ", address, size, _MODE_WP, 0)))
    except OSError:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        return None
    return descriptor
