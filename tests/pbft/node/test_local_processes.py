"""Recorded processes: known by pid and start time, ended in order, tied to whoever wanted that, never confused."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pbft.node.local_processes import (
    ProcessRecord,
    end_process,
    end_processes,
    is_running,
    parent_of,
    processor_seconds_of,
    read_record,
    running_record,
    signal_process,
    start_process,
    start_time_of,
    wait_ended,
    write_record,
)

SECONDS_MAX = 20.0  # a loaded machine; these processes take milliseconds
WAITS = "import signal; print('up', flush=True); signal.pause()"
IGNORES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
ASKED = (
    "import signal; signal.signal(signal.SIGTERM, lambda *_: print('asked', signal.setitimer(signal.ITIMER_REAL, 0.3),"
    " flush=True)); print('up', flush=True)\nwhile True: signal.pause()"
)  # ends by the alarm, 0.3 s after it was last asked to
FIRST_THREAD_ENDS = """
import ctypes, pathlib, threading

def outlive():
    while pathlib.Path('/proc/self/stat').read_text().rpartition(')')[2].split()[0] != 'Z':
        pass
    print('up', flush=True)
    threading.Event().wait()

threading.Thread(target=outlive).start()
ctypes.CDLL(None).pthread_exit(None)
"""
READS = "import sys; print('up', flush=True); sys.stdin.read()"


class Place:
    """Where a started process is recorded and writes; ends what is left."""

    def __init__(self, path: Path) -> None:
        self.record_path = path / "process.json"
        self.output_path = path / "output.txt"
        self.output_path.touch()

    def start(self, program: str, *, tied: bool = False) -> ProcessRecord:
        """Start a Python program and wait for its first word, so that its signals are set."""
        record = start_process(
            [sys.executable, "-c", program],
            record_path=self.record_path,
            output_path=self.output_path,
            environment=os.environ,
            tied=tied,
        )
        while is_running(record) and not self.output_path.read_text():
            pass
        return record


@pytest.fixture
def place(tmp_path: Path) -> "Place":
    return Place(tmp_path)


def test_a_started_process_is_recorded_and_ends_in_order(place: Place) -> None:
    """It runs in a session of its own, is found by its record, and leaves no zombie."""
    record = place.start(WAITS)
    assert running_record(place.record_path) == record
    assert parent_of(record.pid) == os.getpid()
    assert os.getsid(record.pid) == record.pid
    end_process(record, grace_seconds=SECONDS_MAX)
    assert not is_running(record)
    assert running_record(place.record_path) is None
    assert read_record(place.record_path) == record
    assert start_time_of(record.pid) is None


def test_a_process_runs_until_its_last_thread_has_ended(place: Place) -> None:
    """A killed replica's first thread may be gone while another still holds the ports: the next could not listen."""
    record = place.start(FIRST_THREAD_ENDS)
    assert is_running(record) and running_record(place.record_path) == record
    assert signal_process(record, signal.SIGKILL)
    assert wait_ended(record, timeout_seconds=SECONDS_MAX)
    assert start_time_of(record.pid) is None


def test_processes_that_end_together_are_each_asked_once(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A replica that is asked twice takes the second SIGTERM for an error of its own, and logs it."""
    other = Place(tmp_path_factory.mktemp("other"))
    records = [place.start(ASKED), other.start(ASKED)]
    end_processes(records, grace_seconds=SECONDS_MAX)
    assert not any(is_running(record) for record in records)
    for each in (place, other):
        assert each.output_path.read_text().count("asked") == 1


def test_a_process_that_ignores_sigterm_is_killed(place: Place) -> None:
    """The grace is bounded: after it comes SIGKILL."""
    record = place.start(IGNORES)
    end_process(record, grace_seconds=0.2)
    assert not is_running(record)


def test_a_recycled_pid_is_never_signalled(place: Place) -> None:
    """A process with our pid and another start time is a stranger."""
    stranger = ProcessRecord(pid=os.getpid(), started="12345")
    assert not signal_process(stranger, signal.SIGKILL)
    assert wait_ended(stranger, timeout_seconds=0)
    end_process(stranger, grace_seconds=0)
    write_record(place.record_path, stranger)
    assert running_record(place.record_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x", "started": "1"}', '{"started": "1"}', "null"])
def test_a_record_that_does_not_read_is_no_record(place: Place, text: str) -> None:
    """A damaged record names no process, so nothing is signalled on its word."""
    place.record_path.write_text(text)
    assert read_record(place.record_path) is None
    assert running_record(place.record_path) is None


def test_a_program_that_fails_at_once_leaves_its_words(place: Place) -> None:
    """What it wrote is in the output file, and it is not taken for running."""
    record = place.start("import sys; sys.exit('no such thing')")
    assert wait_ended(record, timeout_seconds=SECONDS_MAX)
    assert "no such thing" in place.output_path.read_text()


def test_a_tied_process_ends_with_its_starter_however_that_ends(place: Place, tmp_path: Path) -> None:
    """SIGKILL to the starter is enough: the kernel closes the pipe, and the process sees its input end."""
    starter = (
        "import os, signal, sys; from pathlib import Path; from pbft.node.local_processes import start_process\n"
        f"start_process([sys.executable, '-c', {READS!r}], record_path=Path({str(place.record_path)!r}),"
        f" output_path=Path({str(place.output_path)!r}), environment=os.environ, tied=True)\n"
        "print('started', flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        record = running_record(place.record_path)
        assert record is not None
        process.kill()
    assert wait_ended(record, timeout_seconds=SECONDS_MAX)


def test_an_untied_process_outlives_its_starter(place: Place) -> None:
    """What `up --detach` starts stays."""
    starter = (
        "import os, sys; from pathlib import Path; from pbft.node.local_processes import start_process\n"
        f"start_process([sys.executable, '-c', {WAITS!r}], record_path=Path({str(place.record_path)!r}),"
        f" output_path=Path({str(place.output_path)!r}), environment=os.environ, tied=False)"
    )
    subprocess.run([sys.executable, "-c", starter], check=True)
    record = running_record(place.record_path)
    assert record is not None
    end_process(record, grace_seconds=SECONDS_MAX)
    assert not is_running(record)


def test_processor_time_grows_with_work_and_is_nothing_for_nobody(place: Place) -> None:
    """The watchdog's measure: own time is positive, that of a pid that does not exist is zero."""
    assert processor_seconds_of(os.getpid()) > 0
    record = place.start("import sys; sys.exit()")
    assert wait_ended(record, timeout_seconds=SECONDS_MAX)
    assert processor_seconds_of(record.pid) == 0.0
