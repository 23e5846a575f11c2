"""What the kernel takes from the contract worker before the first contract runs (CONTRACTS.md section 5).

A contract holds no host object, so none of this is ever needed; it is what is left when the engine has a bug. In order:

- namespaces of its own for users, network, IPC and mounts: no interface, no mount, no peer to signal;
- no privilege that an exec could bring back (`no_new_privs`), and no capability;
- Landlock without a rule: no file can be opened, no port bound or dialled;
- a seccomp filter that lets through what a running interpreter needs and answers EPERM to every other system call: the
  two descriptors of the worker can be read and written, memory can be mapped but never made executable.

A kernel without one of them does not stop the worker: the gap is reported, in words that name the call and its error,
and stands in the replica's status. Only Linux; numbers for x86-64 and 64-bit ARM. The standard library's `ctypes` is
enough, and no library of PyPI for seccomp or Landlock is both maintained and free of C to build.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

ON: Final = "on"

_CLONE_NAMESPACES: Final = 0x10000000 | 0x40000000 | 0x08000000 | 0x00020000  # user, net, ipc, mount
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3: Final = 0x20080522
_LANDLOCK_VERSION_QUESTION: Final = 1
_LANDLOCK_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # version of the interface -> rights that it knows
_LANDLOCK_NET_VERSION: Final = 4  # from here on TCP ports, too
_LANDLOCK_SCOPE_VERSION: Final = 6  # from here on abstract sockets and signals, too
_SECCOMP_SET_MODE_FILTER: Final = 1

_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
_KILL: Final = 0x80000000
_LOAD, _JUMP_EQUAL, _JUMP_SET, _JUMP_FROM, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data
_X32_BIT: Final = 0x40000000  # a second numbering of system calls on x86-64, not ours
_PROT_EXEC: Final = 4


@dataclass(frozen=True, slots=True)
class Machine:
    """One architecture: how the kernel names it, and its numbers of the calls that this module names."""

    audit: int
    numbers: Mapping[str, int]


MACHINES: Final = {
    "x86_64": Machine(
        0xC000003E,
        {
            "futex": 202, "read": 0, "write": 1, "mmap": 9, "munmap": 11, "brk": 12, "madvise": 28, "mprotect": 10,
            "mremap": 25, "rt_sigreturn": 15, "clock_gettime": 228, "restart_syscall": 219, "exit": 60,
            "exit_group": 231, "close": 3, "getpid": 39, "unshare": 272, "capset": 126, "seccomp": 317,
            "landlock_create_ruleset": 444, "landlock_restrict_self": 446,
        },
    ),
    "aarch64": Machine(
        0xC00000B7,
        {
            "futex": 98, "read": 63, "write": 64, "mmap": 222, "munmap": 215, "brk": 214, "madvise": 233,
            "mprotect": 226, "mremap": 216, "rt_sigreturn": 139, "clock_gettime": 113, "restart_syscall": 128,
            "exit": 93, "exit_group": 94, "close": 57, "getpid": 172, "unshare": 97, "capset": 91, "seccomp": 277,
            "landlock_create_ruleset": 444, "landlock_restrict_self": 446,
        },
    ),
}  # fmt: skip

PLAIN_CALLS: Final = (
    "futex", "munmap", "brk", "madvise", "mremap", "rt_sigreturn", "clock_gettime", "restart_syscall", "exit",
    "exit_group", "close", "getpid",
)  # fmt: skip
"""What the interpreter, the allocator and LMDB's readers need while contracts run, and to end."""
MAPPING_CALLS: Final = ("mmap", "mprotect")
"""Allowed while they ask for no executable memory."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What holds: `on`, or why not. The worker says it in its greeting, the replica in its status."""

    namespaces: str
    capabilities: str
    landlock: str
    seccomp: str

    def to_value(self) -> dict[str, str]:
        """As a plain map with the names that the status uses."""
        return {
            "capabilities": self.capabilities,
            "landlock": self.landlock,
            "seccomp": self.seccomp,
            "userns": self.namespaces,
        }


def confine(read_fd: int, write_fds: Sequence[int]) -> Confinement:
    """Take from this process what contracts never need. For good, and for every child; call it before any thread.

    Afterwards only `read_fd` can be read and only `write_fds` written; everything else must be open or imported.
    """
    machine = MACHINES.get(platform.machine())
    if machine is None or platform.system() != "Linux":
        missing = f"unavailable: no table for {platform.system()} on {platform.machine()}"
        return Confinement(missing, missing, missing, missing)
    kernel = _Kernel(machine)
    namespaces = _attempt("unshare", lambda: kernel.call("unshare", _CLONE_NAMESPACES))
    capabilities = _attempt("capset", lambda: _drop_capabilities(kernel))
    kernel.forbid_new_privileges()
    landlock = _attempt("landlock", lambda: _forbid_files(kernel))
    program = compile_filter(machine, read_fd, write_fds)
    seccomp = _attempt("seccomp", lambda: install_filter(kernel, program))
    return Confinement(namespaces, capabilities, landlock, seccomp)


def _attempt(name: str, step: Callable[[], object]) -> str:
    try:
        step()
    except OSError as error:
        return f"unavailable: {name}: {errno.errorcode.get(error.errno or 0, error.errno)}"
    return ON


class _Kernel:
    """System calls by name, with the error that the C library keeps."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.syscall.restype = ctypes.c_long

    def call(self, name: str, *arguments: object) -> int:
        """The call's result. Raises OSError."""
        result: int = self._libc.syscall(ctypes.c_long(self._machine.numbers[name]), *arguments)
        if result < 0:
            raise OSError(ctypes.get_errno(), name)
        return result

    def forbid_new_privileges(self) -> None:
        """Without this a filter needs root. Every Linux since 3.5 has it: a failure is not a gap but an error."""
        if self._libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")


def _drop_capabilities(kernel: _Kernel) -> None:
    """A root that failed to get a namespace of its own is no root afterwards."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    kernel.call("capset", ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))


def _forbid_files(kernel: _Kernel) -> None:
    """A Landlock ruleset that handles everything this kernel can handle, and allows nothing."""
    version = kernel.call(
        "landlock_create_ruleset", None, ctypes.c_size_t(0), ctypes.c_uint32(_LANDLOCK_VERSION_QUESTION)
    )
    files = (1 << _LANDLOCK_FILE_RIGHTS.get(version, _LANDLOCK_FILE_RIGHTS[5])) - 1
    ports = 0b11 if version >= _LANDLOCK_NET_VERSION else 0
    scopes = 0b11 if version >= _LANDLOCK_SCOPE_VERSION else 0
    size = 24 if scopes else 16 if ports else 8  # older kernels know a shorter structure
    attributes = struct.pack("=QQQ", files, ports, scopes)[:size]
    descriptor = kernel.call(
        "landlock_create_ruleset", ctypes.c_char_p(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0)
    )
    try:
        kernel.call("landlock_restrict_self", ctypes.c_int(descriptor), ctypes.c_uint32(0))
    finally:
        os.close(descriptor)


def install_filter(kernel: _Kernel, program: bytes) -> None:
    """From now on the kernel judges every system call of this process by `program`. Raises OSError."""
    code = ctypes.create_string_buffer(program, len(program))
    descriptor = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    kernel.call("seccomp", ctypes.c_uint(_SECCOMP_SET_MODE_FILTER), ctypes.c_uint(0), ctypes.c_char_p(descriptor))


def compile_filter(machine: Machine, read_fd: int, write_fds: Sequence[int]) -> bytes:
    """The filter as classic BPF: an allow-list, calls of a block first, everything else EPERM."""
    numbers = machine.numbers
    program = [
        _step(_LOAD, _ARCHITECTURE_AT),
        _step(_JUMP_EQUAL, machine.audit, jump_true=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER_AT),
        _step(_JUMP_FROM, _X32_BIT, jump_false=1),
        _step(_RETURN, _REFUSE),
    ]
    program += _allow_if(numbers["read"], _is_one_of(0, [read_fd]))
    program += _allow_if(numbers["write"], _is_one_of(0, write_fds))
    for name in PLAIN_CALLS:
        program += _allow_if(numbers[name], [])
    for name in MAPPING_CALLS:
        program += _allow_if(numbers[name], _has_not(2, _PROT_EXEC))
    program.append(_step(_RETURN, _REFUSE))
    return b"".join(program)


def _step(code: int, operand: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    """One `struct sock_filter`."""
    return struct.pack("=HBBI", code, jump_true, jump_false, operand)


def _allow_if(number: int, checks: list[bytes]) -> list[bytes]:
    """Allow a call whose arguments pass `checks`, refuse it where they do not; other calls go on."""
    body = [*checks, _step(_RETURN, _ALLOW)]
    return [_step(_JUMP_EQUAL, number, jump_false=len(body)), *body]


def _is_one_of(argument: int, values: Sequence[int]) -> list[bytes]:
    """Descriptors are 32 bits wide: the kernel ignores the upper half, and so does this."""
    tests = [
        _step(_JUMP_EQUAL, value, jump_true=len(values) - place) for place, value in enumerate(values)
    ]  # over the tests that are left and the refusal
    return [_step(_LOAD, _ARGUMENTS_AT + 8 * argument), *tests, _step(_RETURN, _REFUSE)]


def _has_not(argument: int, bits: int) -> list[bytes]:
    return [
        _step(_LOAD, _ARGUMENTS_AT + 8 * argument),
        _step(_JUMP_SET, bits, jump_false=1),
        _step(_RETURN, _REFUSE),
    ]
