"""A helper process of a replica: bound to its parent's life, limited, confined, and asked on one inherited socket.

It owns what all helpers share: how they begin, how messages travel, and what a question and an answer look like. A
question is canonical bytes of `[kind, ...]`; an answer `["ok", bytes]`, or `["fault", sentence]` from a helper that
could not do its work. Frames have a 4-byte big-endian length. Every helper answers `["hello"]` with its greeting:
encoded `{"pid", "limits", "confinement"}`. What else it can be asked is its own: `worker` runs contracts,
`pbft.node.verifier` checks signatures. It ends with its parent: the socket closes, and the kernel is asked to kill it
(PR_SET_PDEATHSIG). The parent's side is `pbft.node.child_process`.
"""

import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, TypeVar

from contracts.confinement import confine
from ledger.encoding import Value, decode, encode
from ledger.errors import EncodingError, InvariantViolation, StoreError
from ledger.execution import OUTCOME_BYTES_MAX
from ledger.shapes import expect_array, expect_str

QUESTION_BYTES_MAX: Final = OUTCOME_BYTES_MAX
"""The largest question: a plan or the genesis sources; far above both, because the replica already bounded them."""
ADDRESS_SPACE_BYTES_MAX: Final = 96 * 1024 * 1024 * 1024
"""The store is a sparse map of many GiB, so this bounds runaway maps; memory that is used is bounded by the next."""
DATA_BYTES_MAX: Final = 2 * 1024 * 1024 * 1024
"""Private memory: more than twice what the memory cells of a transaction can hold (D54)."""
OPEN_FILES_MAX: Final = 32
STACK_BYTES_MAX: Final = 64 * 1024 * 1024
"""An interpreter nests calls of Python in its heap, but a compiled engine nests them here. The deepest contract takes
1 MiB (`tests/contracts_corpus/deepest.py`), and no contract can take more."""
STACK_BYTES_MIN: Final = 4 * 1024 * 1024
"""A replica whose helpers would get less does not start: what ends with DEPTH elsewhere could kill its worker."""
COLLECT_AFTER: Final = 50_000
"""New containers between two looks for cycles, of which blocks leave few; the interpreter's own default is 700. A
contract can hide any amount of memory behind few containers: the runtime looks too, by what calls took."""
FAULT_CHARACTERS_MAX: Final = 1_000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4

AnswerKind: TypeAlias = Callable[[list[Value]], bytes]
"""From the fields of a question, its kind the first of them, to what is answered. Raises EncodingError."""

Loaded = TypeVar("Loaded")


class ParentIsGone(Exception):
    """The socket closed: there is nobody to work for."""


class Questions:
    """From a question's bytes to an answer's bytes. Knows the form of both; how they travel is the caller's."""

    def __init__(self, greeting: bytes, kinds: Mapping[str, AnswerKind]) -> None:
        """`kinds` beside the greeting."""
        self._greeting = greeting
        self._kinds: dict[str, AnswerKind] = {"hello": self._hello, **kinds}

    def answer(self, question: bytes) -> bytes:
        """Total: any bytes get an answer. Faults of the machine (MemoryError) are not caught: the helper then dies."""
        try:
            fields = expect_array(decode(question, max_bytes=QUESTION_BYTES_MAX), "question")
            kind = self._kinds.get(expect_str(fields[0] if fields else None, "kind", 16))
            if kind is None:
                raise EncodingError("kind", "unknown question")
            return encode(["ok", kind(fields)])
        except (EncodingError, StoreError, InvariantViolation) as error:
            return encode(["fault", f"{type(error).__name__}: {error}"[:FAULT_CHARACTERS_MAX]])

    def _hello(self, fields: list[Value]) -> bytes:
        expect_array(fields, "hello", 1)
        return self._greeting


def begin(descriptor: int, load: Callable[[], Loaded]) -> tuple[Loaded, bytes]:
    """Makes this process a helper on that socket: what `load` opens and imports stays, all else is taken from it.

    Gives what `load` gave, and the greeting. Raises ParentIsGone, and what `load` raises.
    """
    parent_pid = os.getppid()
    close_inherited(descriptor)
    limit(parent_pid)
    loaded = load()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    pid, limits = os.getpid(), read_limits()
    confinement = confine(descriptor, [descriptor, sys.stderr.fileno()])
    greeting = encode({"pid": pid, "limits": limits, "confinement": confinement.to_value()})
    gc.freeze()  # what is imported stays, and is never looked at again
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
    return loaded, greeting


_LIMITS: Final = {
    "address_space": resource.RLIMIT_AS,
    "core": resource.RLIMIT_CORE,
    "data": resource.RLIMIT_DATA,
    "file_size": resource.RLIMIT_FSIZE,
    "open_files": resource.RLIMIT_NOFILE,
    "stack": resource.RLIMIT_STACK,
}


def limit(parent_pid: int) -> None:
    """Bind this process to its parent's life and bound what it can take. Raises OSError where the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    for option, argument in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_DUMPABLE, 0)):
        if libc.prctl(option, int(argument), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")
    if os.getppid() != parent_pid:
        raise ParentIsGone  # it ended before the kernel was asked to watch it
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES_MAX)
    _limit(resource.RLIMIT_STACK, STACK_BYTES_MAX)
    _limit(resource.RLIMIT_DATA, DATA_BYTES_MAX)
    _limit(resource.RLIMIT_AS, ADDRESS_SPACE_BYTES_MAX)


def read_limits() -> dict[str, Value]:
    """The limits of this process by name, in bytes or descriptors."""
    return {name: resource.getrlimit(number)[0] for name, number in sorted(_LIMITS.items())}


def compute_stack_bytes() -> int:
    """The limit that the stack of a helper of this process would have: `STACK_BYTES_MAX`, unless it has less itself."""
    return _lesser(resource.RLIMIT_STACK, STACK_BYTES_MAX)


def _limit(which: int, most: int) -> None:
    """Lower a limit, hard and soft; one that is already lower stays."""
    value = _lesser(which, most)
    resource.setrlimit(which, (value, value))


def _lesser(which: int, most: int) -> int:
    hard = resource.getrlimit(which)[1]
    return most if hard == resource.RLIM_INFINITY else min(most, hard)


def close_inherited(keep: int) -> None:
    """Close every descriptor but standard error and the socket: nothing of the parent's is left open."""
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))


def serve(descriptor: int, answer: Callable[[bytes], bytes]) -> None:
    """Answer questions until the parent closes the socket. Plain reads and writes: the only ones that are allowed."""
    while True:
        try:
            size = int.from_bytes(_read_exactly(descriptor, 4), "big")
            if size > QUESTION_BYTES_MAX:
                raise ParentIsGone
            reply = answer(_read_exactly(descriptor, size))
            _write_all(descriptor, len(reply).to_bytes(4, "big") + reply)
        except (ParentIsGone, ConnectionError):
            return


def _read_exactly(descriptor: int, count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0:
        part = os.read(descriptor, min(count, 1 << 20))
        if not part:
            raise ParentIsGone
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
