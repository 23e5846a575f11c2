"""The kernel's part of the sandbox, tried from inside: what the worker cannot do, and what it says where it can (D17).

Each test runs a process of its own, because confinement is for good.
"""

import errno
import platform
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.confinement import MACHINES, MAPPING_CALLS, PLAIN_CALLS
from ledger.encoding import decode, encode
from ledger.lmdb_store import LmdbStore
from ledger.world_state import STATE_TABLES

MACHINE = MACHINES[platform.machine()]
NUMBERS_TRIED = 700  # the kernel's table ends near 470; above it every number must be refused alike
UNJUDGED = {335, 336}
"""uretprobe and uprobe on x86-64: the kernel serves its own trampolines by them, past every filter, and sends SIGILL to
anybody else who tries."""
ENDING = ("exit", "exit_group", "rt_sigreturn", "restart_syscall", "futex")
"""Allowed, and not to be tried: they end the process, or wait."""

CONFINED = """
import ctypes, os, sys
from contracts.confinement import confine
read_fd, write_fd = os.pipe()
other_read, other_write = os.pipe()
assert set(confine(read_fd, [write_fd, 1, 2]).to_value().values()) == {"on"}
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def refused(number, *arguments):
    ctypes.set_errno(0)
    return libc.syscall(ctypes.c_long(number), *arguments) == -1 and ctypes.get_errno() == 1
"""


def run_confined(program: str) -> str:
    """What a confined process prints."""
    answer = subprocess.run(
        [sys.executable, "-I", "-c", CONFINED + program], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_every_system_call_outside_the_list_is_refused() -> None:
    """Each number, from inside, with arguments that no call could use for harm."""
    allowed = {MACHINE.numbers[name] for name in (*PLAIN_CALLS, *MAPPING_CALLS)}
    untried = {MACHINE.numbers[name] for name in ENDING}
    numbers = sorted(set(range(NUMBERS_TRIED)) - untried - UNJUDGED)
    printed = run_confined(f"print([n for n in {numbers} if not refused(n, -1, 0, 0, 0, 0, 0)])")
    assert set(eval(printed)) == allowed - untried


@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/hostname')",
        "open(__import__('tempfile').gettempdir() + '/x', 'w')",
        "os.listdir('/')",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
        "__import__('socket').socket()",
        "os.read(other_read, 1)",
        "os.write(other_write, b'x')",
        "os.pipe()",
        "os.setuid(0)",
    ],
)
def test_what_an_escaped_contract_would_try_first_is_refused(attempt: str) -> None:
    """Files, processes, sockets, signals, and descriptors that are not the worker's own."""
    program = f"import socket, tempfile\ntry:\n    {attempt}\nexcept PermissionError:\n    print('refused')\n"
    modules = "import socket, tempfile; tempfile.gettempdir()\n"
    answer = subprocess.run(
        [sys.executable, "-I", "-c", modules + CONFINED + program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (answer.stdout, answer.returncode) == ("refused\n", 0), answer.stderr


def test_memory_can_be_had_but_never_run() -> None:
    """Plain mappings work; executable ones, and making one executable later, do not."""
    mmap, mprotect = MACHINE.numbers["mmap"], MACHINE.numbers["mprotect"]
    program = f"""
buffer = bytearray(50_000_000)
anonymous = (0, 4096, {{}}, 0x22, -1, 0)
plain = libc.syscall({mmap}, 0, 4096, 3, 0x22, -1, 0)
print(plain > 0, refused({mmap}, 0, 4096, 7, 0x22, -1, 0), refused({mprotect}, ctypes.c_long(plain), 4096, 5))
"""
    assert run_confined(program) == "True True True\n"


def test_memory_beyond_the_limit_is_an_error_inside_and_nothing_outside(tmp_path: Path) -> None:
    """2 GiB in one piece: refused by the limits of a worker, which go before the confinement."""
    program = """
import resource
from contracts.helper_process import limit
limit(os.getppid())
try:
    bytearray(2 * 1024**3)
except MemoryError:
    print("refused")
"""
    answer = subprocess.run(
        [sys.executable, "-I", "-c", "import os\n" + program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (answer.stdout, answer.returncode) == ("refused\n", 0), answer.stderr


# --- kernels that lack something ---

FEATURES = {
    "userns": ("unshare", "unshare"),
    "capabilities": ("capset", "capset"),
    "landlock": ("landlock_create_ruleset", "landlock"),
    "seccomp": ("seccomp", "seccomp"),
}


def compile_refusal(numbers: list[int]) -> bytes:
    """A filter that refuses these calls with ENOSYS and allows the rest: a kernel without them."""
    program = [struct.pack("=HBBI", 0x20, 0, 0, 0)]
    for number in numbers:
        program += [struct.pack("=HBBI", 0x15, 0, 1, number), struct.pack("=HBBI", 0x06, 0, 0, 0x50000 | errno.ENOSYS)]
    return b"".join([*program, struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)])


OLD_KERNEL = """
import os, sys
from contracts.confinement import MACHINES, _Kernel, install_filter
import platform
kernel = _Kernel(MACHINES[platform.machine()])
kernel.forbid_new_privileges()
install_filter(kernel, bytes.fromhex(sys.argv[1]))
os.execv(sys.executable, [sys.executable, "-I", "-m", "contracts.worker", *sys.argv[2:]])
"""


def greet(ledger: Path, refused: list[str]) -> dict[str, str]:
    """What a worker says of its confinement where the kernel does not know `refused`; then it ends by itself."""
    ours, theirs = socket.socketpair()
    program = compile_refusal([MACHINE.numbers[name] for name in refused])
    command = [sys.executable, "-I", "-c", OLD_KERNEL, program.hex(), str(theirs.fileno()), str(ledger)]
    child = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    theirs.close()
    ours.settimeout(20)
    question = encode(["hello"])
    ours.sendall(len(question).to_bytes(4, "big") + question)
    size = int.from_bytes(ours.recv(4), "big")
    answer: Any = decode(ours.recv(size, socket.MSG_WAITALL))
    ours.close()
    assert child.wait(20) == 0
    greeting: Any = decode(answer[1])
    confinement: dict[str, str] = greeting["confinement"]
    return confinement


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """An empty ledger store."""
    LmdbStore(tmp_path / "ledger", tables=STATE_TABLES).close()
    return tmp_path / "ledger"


@pytest.mark.drill
def test_a_worker_says_what_confines_it(ledger: Path) -> None:
    """On this kernel: everything."""
    assert greet(ledger, []) == dict.fromkeys(FEATURES, "on")


@pytest.mark.drill
@pytest.mark.parametrize("feature", sorted(FEATURES))
def test_a_kernel_without_a_feature_is_named_and_stops_nothing(ledger: Path, feature: str) -> None:
    """The call fails for real, by a filter around the worker; the others still hold, and it serves."""
    call, name = FEATURES[feature]
    expected = dict.fromkeys(FEATURES, "on") | {feature: f"unavailable: {name}: ENOSYS"}
    assert greet(ledger, [call]) == expected
