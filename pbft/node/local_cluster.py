"""The life of a local network without a daemon: replicas started, waited for, asked, killed, ended by whoever calls.

    network = prepare(directory, port_base=0)        # or read_network(directory)
    start(network); wait_ready(network)              # four processes of `gridquorum run`, as in production
    killed = kill(network, 0); start_replica(network, 0); wait_ready(network)
    status(network)["height"]; stop(network)

Its rules: only processes recorded in the network's directory are ever signalled; whatever fails while starting leaves
nothing running that was started; who starts replicas `tied` takes them along when it ends, however it ends. The
directory's layout is `local_network`'s, processes are `local_processes`', what a replica does is `service`'s.
"""

import fcntl
import http.client
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.quorum_certificate import quorum_size, weak_quorum_size
from pbft.node.local_network import (
    DEFAULT_HOST,
    LOCK_NAME,
    LocalNetwork,
    LocalNetworkError,
    LocalReplica,
    prepare,
    read_network,
)
from pbft.node.local_processes import (
    ProcessRecord,
    end_processes,
    parent_of,
    running_record,
    signal_process,
    start_process,
    start_time_of,
    wait_ended,
)

__all__ = ["Killed", "LocalNetwork", "LocalNetworkError", "LocalReplica", "exclusive", "kill", "prepare"]
__all__ += ["read_network", "restart", "running_replicas", "start", "start_replica", "status", "stop", "wait_ready"]

READY_SECONDS_MAX: Final = 60.0  # two loaded cores start four replicas in a few seconds; ten times that
GRACE_SECONDS: Final = 10.0  # a replica ends within 10 s of SIGTERM (`service`); after that it is killed
STATUS_SECONDS_MAX: Final = 1.0
"""Every ops port is asked at the same time, for at most this long. It leaves two of the 3 s of `gridquorum status` for
an interpreter that starts on a loaded machine; a replica that is well answers in milliseconds."""
SILENT: Final = "silent"  # the state of a replica whose port is open and says nothing
STATUS_BYTES_MAX: Final = 65_536  # of one replica's answer, which is about 1 kB
POLL_SECONDS: Final = 0.05  # between two looks at a replica that starts
TAIL_CHARACTERS: Final = 600  # of a failed replica's output, for the message

# Buffers above 128 kB are otherwise mapped and unmapped at every use: 121 us instead of 7 for one full batch.
MALLOC_ENVIRONMENT: Final = {"MALLOC_MMAP_THRESHOLD_": "16777216", "MALLOC_TRIM_THRESHOLD_": "268435456"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """What `kill` ended."""

    replica_id: int
    pid: int
    worker_pid: int | None  # None where the replica had no worker, or did not say


RUN: Final = ("pbft.cli", "run")  # module and command of a replica's process


def start_replica(
    network: LocalNetwork,
    replica_id: int,
    *,
    tied: bool = True,
    options: Sequence[str] = (),
    program: Sequence[str] = RUN,
) -> ProcessRecord:
    """Start one replica as `gridquorum run`, with these further options. `tied`: it ends when the caller ends, however.
    `program`: another module, and its first arguments, that runs a replica from the same options.

    Raises LocalNetworkError: `running`, `port_taken`.
    """
    replica = network.replica(replica_id)
    running = running_record(replica.record_path)
    if running is not None:
        raise LocalNetworkError("running", f"r{replica_id} is already running (pid {running.pid})")
    _validate_ports_free(replica)
    replica.output_path.write_bytes(b"")
    return start_process(
        [*_run_command(network, replica, program, tied=tied), *options],
        record_path=replica.record_path,
        output_path=replica.output_path,
        environment={**os.environ, **MALLOC_ENVIRONMENT},
        tied=tied,
    )


def _run_command(network: LocalNetwork, replica: LocalReplica, program: Sequence[str], *, tied: bool) -> list[str]:
    """The very command an operator types, with an isolated interpreter: no folder of the caller shadows a package."""
    command = [sys.executable, "-I", "-m", *program, str(network.network_path)]
    command += ["--replica", str(replica.replica_id), "--keys", str(replica.keys_path)]
    command += ["--passphrase-file", str(replica.passphrase_path), "--data-dir", str(replica.data_path)]
    command += ["--genesis", str(network.genesis_path), "--log", str(replica.log_path)]
    return command + (["--until-stdin-closes"] if tied else [])


def _validate_ports_free(replica: LocalReplica) -> None:
    """Raise `port_taken` for a port that somebody listens on. Asked before the start, for a message that helps."""
    for use, port in replica.ports.items():
        with socket.socket() as probe:
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # as the replica does: old connections may linger
            try:
                probe.bind((replica.host, port))
            except OSError as error:
                text = f"r{replica.replica_id} cannot listen on {replica.host}:{port} ({use} port): {error.strerror}"
                raise LocalNetworkError("port_taken", f"{text}; `--port-base 0` draws free ports") from error


def start(network: LocalNetwork, *, tied: bool = True, options: Sequence[str] = ()) -> tuple[int, ...]:
    """Start every replica that does not run; the ids of those started. If one cannot be, these are ended again.

    `options`: as of `start_replica`, for all.
    """
    started: list[int] = []
    is_complete = False
    try:
        for replica in network.replicas:
            if running_record(replica.record_path) is None:
                start_replica(network, replica.replica_id, tied=tied, options=options)
                started.append(replica.replica_id)
        is_complete = True
    finally:
        if not is_complete:  # whatever the cause, Ctrl-C too
            stop(network, replica_ids=tuple(started))
    return tuple(started)


def wait_ready(
    network: LocalNetwork,
    *,
    replica_ids: tuple[int, ...] | None = None,
    min_height: int = 0,
    timeout_seconds: float = READY_SECONDS_MAX,
) -> dict[str, Any]:
    """Wait until the replicas (default: all) take part at `min_height` or above, then give `status`.

    Taking part: in an active view, linked with enough others for a quorum, and as far as f + 1 replicas say the network
    was when the waiting began: a replica that comes back is ready when it has caught up. Raises LocalNetworkError
    `not_ready` when one has ended or the time is over, with the end of what it wrote; `no_quorum` as soon as those
    waited for have answered and too few processes run for any of them to take part.
    """
    wanted = range(len(network.replicas)) if replica_ids is None else replica_ids
    deadline = time.monotonic() + timeout_seconds
    height = min_height
    while True:
        answers = _ask_all(network)
        vouched_height, vouched_view = _vouched(answers)
        height = height or vouched_height
        missing = [number for number in wanted if not _takes_part(answers[number], len(answers), height, vouched_view)]
        if not missing:
            return status(network)
        for number in missing:
            if running_record(network.replica(number).record_path) is None:
                raise LocalNetworkError("not_ready", f"r{number} has ended: {_last_words(network.replica(number))}")
        if all(_has_opened(answers[number]) for number in missing):
            _validate_quorum_runs(network, missing)
        if time.monotonic() > deadline:
            words = _last_words(network.replica(missing[0]))
            raise LocalNetworkError("not_ready", f"r{missing[0]} is not ready after {timeout_seconds:.0f} s: {words}")
        time.sleep(POLL_SECONDS)


def _has_opened(answer: dict[str, Any] | None) -> bool:
    """Whether a replica has answered with its height: it has read its chain, and waits for the others only."""
    return answer is not None and answer["height"] is not None


def _validate_quorum_runs(network: LocalNetwork, waiting: Sequence[int]) -> None:
    """Raise `no_quorum` where fewer processes run than a quorum: waiting cannot help."""
    running, needed = len(running_replicas(network)), quorum_size(len(network.replicas))
    if running < needed:
        names = ", ".join(f"r{number}" for number in waiting)
        are = "runs" if len(waiting) == 1 else "run"
        text = f"{names} {are} but cannot take part: {running} of {len(network.replicas)} replicas run"
        raise LocalNetworkError(
            "no_quorum", f"{text}, {needed} make a quorum; start another: `gridquorum fault restart`"
        )


def _vouched(answers: Mapping[int, dict[str, Any] | None]) -> tuple[int, int]:
    """Certified height and view that f + 1 replicas have reached: one of them is correct. 0 where fewer answer."""
    started = [answer for answer in answers.values() if answer is not None and answer["height"] is not None]
    weak_quorum = weak_quorum_size(len(answers))
    if len(started) < weak_quorum:
        return 0, 0
    heights = sorted((answer["certified_height"] for answer in started), reverse=True)
    views = sorted((answer["view"] for answer in started), reverse=True)
    return heights[weak_quorum - 1], views[weak_quorum - 1]


def _takes_part(answer: dict[str, Any] | None, replicas: int, height: int, view: int) -> bool:
    if answer is None or answer["state"] not in ("primary", "backup"):
        return False
    is_linked = len(answer["connected"]) >= quorum_size(replicas) - 1
    return is_linked and answer["height"] >= height and answer["view"] >= view


def _last_words(replica: LocalReplica) -> str:
    """The end of what a replica wrote to its streams, else where its log is."""
    try:
        text = replica.output_path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        text = ""
    return text[-TAIL_CHARACTERS:] if text else f"see {replica.log_path}"


def running_replicas(network: LocalNetwork) -> tuple[int, ...]:
    """The ids of the replicas whose recorded process runs."""
    return tuple(replica.replica_id for replica in network.replicas if running_record(replica.record_path) is not None)


def stop(network: LocalNetwork, *, replica_ids: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """End recorded replicas (default: all), SIGTERM to each first; the ids of those that ran. Never raises."""
    wanted = range(len(network.replicas)) if replica_ids is None else replica_ids
    records = {number: running_record(network.replica(number).record_path) for number in wanted}
    running = {number: record for number, record in records.items() if record is not None}
    end_processes(tuple(running.values()), grace_seconds=GRACE_SECONDS)
    for number in wanted:
        network.replica(number).record_path.unlink(missing_ok=True)
    return tuple(running)


def kill(network: LocalNetwork, replica_id: int) -> Killed:
    """SIGKILL a replica and its contract worker. Raises LocalNetworkError `not_running`."""
    replica = network.replica(replica_id)
    record = running_record(replica.record_path)
    if record is None:
        raise LocalNetworkError("not_running", f"r{replica_id} is not running")
    worker = _worker_of(replica, record)
    signal_process(record, signal.SIGKILL)
    if worker is not None:
        signal_process(worker, signal.SIGKILL)
    wait_ended(record, timeout_seconds=GRACE_SECONDS)
    replica.record_path.unlink(missing_ok=True)
    return Killed(replica_id=replica_id, pid=record.pid, worker_pid=worker.pid if worker is not None else None)


def _worker_of(replica: LocalReplica, record: ProcessRecord) -> ProcessRecord | None:
    """The replica's contract worker by its own word, believed only for a process that is its child."""
    answer = _ask(replica)
    worker_pid = answer.get("worker_pid") if answer is not None else None
    if not isinstance(worker_pid, int) or parent_of(worker_pid) != record.pid:
        return None
    started = start_time_of(worker_pid)
    return ProcessRecord(pid=worker_pid, started=started) if started is not None else None


def restart(network: LocalNetwork, replica_id: int, *, tied: bool = True) -> ProcessRecord:
    """Start a replica again, ending it in order first if it runs; it is not waited for (`wait_ready`)."""
    stop(network, replica_ids=(network.replica(replica_id).replica_id,))
    return start_replica(network, replica_id, tied=tied)


def status(network: LocalNetwork) -> dict[str, Any]:
    """The object of `gridquorum status --json` (DESIGN.md section 5), within 3 s whatever is down.

    `view`, `primary` and `height` are those of the furthest replica that answers, None when none does.
    """
    answers = _ask_all(network)
    replicas = [_replica_status(replica, answers[replica.replica_id]) for replica in network.replicas]
    speaking = [answer for answer in answers.values() if answer is not None and answer["height"] is not None]
    leader = max(speaking, key=lambda answer: (answer["view"], answer["height"]), default=None)
    return {
        "v": 1,
        "network": network.name,
        "network_id": network.network_id.hex(),
        "data_dir": str(network.directory),
        "view": leader["view"] if leader else None,
        "primary": leader["primary"] if leader else None,
        "height": max((answer["height"] for answer in speaking), default=None),
        "certified_height": max((answer["certified_height"] for answer in speaking), default=None),
        "answering": len(speaking),
        "quorum": quorum_size(len(network.replicas)),
        "replicas": replicas,
    }


def _replica_status(replica: LocalReplica, answer: dict[str, Any] | None) -> dict[str, Any]:
    """One entry of `replicas`; what is not known is None."""
    record = running_record(replica.record_path)
    known = answer or {}
    if record is None and known.get("state") == SILENT:
        known = {}  # whoever is silent on that port, it is not our replica
    silent_state = "starting" if record is not None else "down"
    return {
        "replica": replica.replica_id,
        "name": replica.name,
        "state": known.get("state", silent_state),
        "height": known.get("height"),
        "certified_height": known.get("certified_height"),
        "view": known.get("view"),
        "state_root": known.get("state_root"),
        "connected": known.get("connected", []),
        "cause": known.get("cause"),
        "epoch": known.get("epoch"),
        "pid": record.pid if record is not None else known.get("pid"),
        "worker_pid": known.get("worker_pid"),
        "worker": known.get("worker"),
        "verifier_pids": known.get("verifier_pids", []),
        "ports": replica.ports,
        "log": str(replica.log_path),
    }


def _ask_all(network: LocalNetwork) -> dict[int, dict[str, Any] | None]:
    with ThreadPoolExecutor(max_workers=len(network.replicas)) as pool:
        return dict(enumerate(pool.map(_ask, network.replicas)))


def _ask(replica: LocalReplica) -> dict[str, Any] | None:
    """The replica's own status from its ops port; None if nothing sensible answers.

    A port that is open and says nothing in time - the process is frozen, or its machine is overloaded - is an answer
    too: state `silent`, and nothing else is known.
    """
    connection = http.client.HTTPConnection(DEFAULT_HOST, replica.ops_port, timeout=STATUS_SECONDS_MAX)
    try:
        connection.request("GET", "/status")
        response = connection.getresponse()
        answer = json.loads(response.read(STATUS_BYTES_MAX))
    except TimeoutError:
        cause = f"its process runs, and its ops port did not answer within {STATUS_SECONDS_MAX:.0f} s"
        return {"replica": replica.replica_id, "state": SILENT, "height": None, "cause": cause}
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    is_it = (
        response.status == http.client.OK and isinstance(answer, dict) and answer.get("replica") == replica.replica_id
    )
    return answer if is_it else None


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold the directory of a network against a second `up`. Raises LocalNetworkError `running`, `not_writable`."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / LOCK_NAME).open("a+", encoding="ascii")
    except OSError as error:
        raise LocalNetworkError("not_writable", f"{error.filename or directory}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise LocalNetworkError("running", f"{directory.name} is already running (pid {holder})") from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
