"""The contract worker that a replica runs, but for one bomb: `bombed_worker.py KIND WHEN FUSE FD LEDGER`.

Everything is the real program's, its limits and its confinement too. The bomb is armed before the confinement, since a
confined process can look for no file: by the first process that finds no file FUSE, or, if FUSE is `always`, by each.
WHEN: `greeting` before the first word, `block` instead of running a block, `answer` after half of a block's answer was
sent, `idle` after all of it was. KIND is a function of this file.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BYTES = 2 * 1024**3
NESTED = 1_000_000  # lists in each other: more than the stack of a worker has room for


def allocate() -> None:
    """2 GiB in one piece: the limits refuse, and no code is there to catch it."""
    print(len(bytearray(BYTES)))


def spin() -> None:
    """An endless loop."""
    while True:
        pass


def overflow() -> None:
    """Deeper than the stack: the kernel ends the process (CPython 3.12 and later refuse, which ends it too)."""
    row: list[object] = []
    other: list[object] = []
    for _ in range(NESTED):
        row, other = [row], [other]
    sys.setrecursionlimit(2**31 - 1)
    print(row == other)


def crash() -> None:
    """SIGSEGV."""
    ctypes.string_at(0)


def leave() -> None:
    """An end without a word, as if all were well."""
    os._exit(0)


def hang() -> None:
    """Waits for something that never comes."""
    threading.Event().wait()


BOMBS: dict[str, Callable[[], None]] = {bomb.__name__: bomb for bomb in (allocate, spin, overflow, crash, leave, hang)}


def arm(bomb: Callable[[], None], when: str) -> None:
    """Put it where it goes off."""
    from contracts import helper_process, runtime

    if when == "greeting":
        bomb()
    elif when == "block":
        runtime.Runtime.execute_block = lambda *_: bomb()  # type: ignore[assignment,method-assign,return-value]
    else:
        write, run = helper_process._write_all, runtime.Runtime.execute_block
        has_run: list[bool] = []

        def run_and_note(*arguments: object) -> object:
            has_run.append(True)
            return run(*arguments)  # type: ignore[arg-type]

        def write_and_go_off(descriptor: int, data: bytes) -> None:
            write(descriptor, data[: len(data) // 2] if has_run and when == "answer" else data)
            if has_run:
                bomb()

        runtime.Runtime.execute_block = run_and_note  # type: ignore[assignment,method-assign]
        helper_process._write_all = write_and_go_off


def main() -> int:
    kind, when, fuse, *arguments = sys.argv[1:]
    sys.path.insert(0, str(ROOT))
    from contracts import worker

    if fuse == "always" or not Path(fuse).exists():
        if fuse != "always":
            Path(fuse).touch()
        arm(BOMBS[kind], when)
    return worker.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
