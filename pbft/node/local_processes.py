"""Processes of a local network that outlive the command that started them: recorded, recognised, ended.

It owns the record of a started process (`process.json` beside the replica's data). Its rules: a process is known by its
pid *and* its start time, so that a recycled pid is never taken for ours and never signalled; a record is written before
anybody waits for the process and removed when it has ended. What is started, and why, is `local_cluster`'s.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ENDED: Final = "ended"  # the start time of a process that had ended before it could be asked
POLL_SECONDS: Final = 0.02  # how often an ending process is looked at: a twentieth of what a person notices


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """A process that we started: the pid alone would not tell it from a later process of the same number."""

    pid: int
    started: str  # the kernel's start time of that pid, an opaque text


def start_time_of(pid: int) -> str | None:
    """When process `pid` started, as an opaque text that is unique together with the pid; None if it does not run.

    A process that ended and was not yet waited for (a zombie) does not run. One whose first thread has ended while
    others are still ending runs: they hold its sockets and locks, so that its ports are taken until the last is gone.
    """
    fields = _stat_fields(pid)
    if fields is None or (fields[0] in "ZX" and int(fields[17]) <= 1):  # proc(5): state 3, num_threads 20, starttime 22
        return None
    return fields[19]


def parent_of(pid: int) -> int | None:
    """The pid of a process's parent; None if there is no such process."""
    fields = _stat_fields(pid)
    return None if fields is None else int(fields[1])


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on; the second, the command's name, may itself hold blanks."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


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


@cache
def _life_line() -> int:
    """The end of a pipe whose other end only this process holds, and never closes: it ends when this process ends."""
    read_end, _ = os.pipe()
    return read_end


def start_process(
    command: Sequence[str], *, record_path: Path, output_path: Path, environment: Mapping[str, str], tied: bool
) -> ProcessRecord:
    """Start `command` in a session of its own, its output appended to a file, and record it.

    A session of its own keeps the terminal's Ctrl-C from it: whoever started it ends it, in order. `tied` gives it as
    standard input a pipe that reports its end when this process ends, however it ends; the program watches for that.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    standard_input = (
        (os.POSIX_SPAWN_DUP2, _life_line(), 0) if tied else (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    )
    pid = os.posix_spawn(
        command[0],
        list(command),
        dict(environment),
        file_actions=[
            standard_input,
            (os.POSIX_SPAWN_OPEN, 1, str(output_path), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    record = ProcessRecord(pid=pid, started=start_time_of(pid) or ENDED)
    write_record(record_path, record)
    return record


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
    _reap(record.pid)
    return True


def end_process(record: ProcessRecord, *, grace_seconds: float) -> None:
    """End the process with SIGTERM, and with SIGKILL when it has not gone within `grace_seconds`."""
    end_processes([record], grace_seconds=grace_seconds)


def end_processes(records: Sequence[ProcessRecord], *, grace_seconds: float) -> None:
    """End processes side by side: each is asked once, since a second SIGTERM tells a program to hurry."""
    for record in records:
        signal_process(record, signal.SIGTERM)
    for record in records:
        if not wait_ended(record, timeout_seconds=grace_seconds):
            signal_process(record, signal.SIGKILL)
            wait_ended(record, timeout_seconds=grace_seconds)


def _reap(pid: int) -> None:
    """Collect a child's exit status so that it does not stay as a zombie; others' children are not ours to collect."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def processor_seconds_of(pid: int) -> float:
    """Processor time that a process has used so far, user and system; 0.0 if it does not run."""
    fields = _stat_fields(pid)
    if fields is None:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # proc(5): utime 14, stime 15
