"""Processes of a local network that outlive the command that started them: recorded, recognised, ended.

It owns the record of a started process (`process.json` beside the replica's data). Its rules: a process is known by its
pid *and* its start time, so that a recycled pid is never taken for ours and never signalled; a record is written before
anybody waits for the process and removed when it has ended. What is started, and why, is `local_cluster`'s.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

POLL_SECONDS: Final = 0.02  # how often an ending process is looked at: a twentieth of what a person notices


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """A process that we started: the pid alone would not tell it from a later process of the same number."""

    pid: int
    started: str  # the kernel's start time of that pid, an opaque text


def start_time_of(pid: int) -> str | None:
    """When process `pid` started, as an opaque text that is unique together with the pid; None if it does not run.

    A process that ended and was not yet waited for (a zombie) does not run.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _start_time_by_ps(pid)
    except ProcessLookupError:
        return None
    fields = text.rpartition(")")[2].split()  # the command's name, in parentheses, may hold blanks
    return None if fields[0] in "ZX" else fields[19]  # proc(5): state is field 3, starttime field 22


def _start_time_by_ps(pid: int) -> str | None:
    """The same for systems without /proc, by POSIX ps."""
    answer = subprocess.run(  # noqa: S603 - fixed program, numeric argument
        ["ps", "-o", "lstart=,stat=", "-p", str(pid)],  # noqa: S607 - POSIX utility
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return None if not answer or answer.split()[-1].startswith("Z") else answer.rpartition(" ")[0].strip()


def is_running(record: ProcessRecord) -> bool:
    return start_time_of(record.pid) == record.started


def write_record(path: Path, record: ProcessRecord) -> None:
    """Write the record so that a reader sees all of it or the one before."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({"pid": record.pid, "started": record.started}) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_record(path: Path) -> ProcessRecord | None:
    """The recorded process, whether it still runs or not; None without a readable record."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return ProcessRecord(pid=int(values["pid"]), started=str(values["started"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def running_record(path: Path) -> ProcessRecord | None:
    """The recorded process if it still runs."""
    record = read_record(path)
    return record if record is not None and is_running(record) else None


def start_process(
    command: Sequence[str], *, record_path: Path, output_path: Path, environment: Mapping[str, str], tied: bool
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, its output appended to a file, and record it.

    A session of its own keeps the terminal's Ctrl-C from it: whoever started it ends it, in order. `tied` gives it a
    pipe as standard input whose other end is ours: the program ends when that closes, however we end.
    """
    with output_path.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own program with arguments from a definition that was checked
            list(command),
            stdin=subprocess.PIPE if tied else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            start_new_session=True,
        )
    started = start_time_of(process.pid)
    if started is not None:  # it may have failed already; then there is nothing to record
        write_record(record_path, ProcessRecord(pid=process.pid, started=started))
    return process


def signal_process(record: ProcessRecord, signal_number: int) -> bool:
    """Signal the process if it still is the recorded one; whether it was."""
    if not is_running(record):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.pid, signal_number)
    return True


def wait_ended(record: ProcessRecord, *, timeout_seconds: float) -> bool:
    """Wait until the process has ended; False if it still runs after the time."""
    deadline = time.monotonic() + timeout_seconds
    while is_running(record):
        _reap(record.pid)
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def end_process(record: ProcessRecord, *, grace_seconds: float) -> None:
    """End the process with SIGTERM, and with SIGKILL when it has not gone within `grace_seconds`."""
    signal_process(record, signal.SIGTERM)
    if not wait_ended(record, timeout_seconds=grace_seconds):
        signal_process(record, signal.SIGKILL)
        wait_ended(record, timeout_seconds=grace_seconds)


def _reap(pid: int) -> None:
    """Collect a child's exit status so that it does not stay as a zombie; others' children are not ours to collect."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
