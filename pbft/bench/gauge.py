"""What a network cost: processor time, memory, syncs and bytes, of each replica with its contract workers.

Processor time and memory are the operating system's word about the processes; counters are the replicas' own, from
their operators' ports; disk is what files occupy. Nothing here asks a replica to count anything for a bench.
"""

import http.client
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from pbft.bench.options import BenchError
from pbft.node.local_cluster import LocalNetwork
from pbft.node.local_processes import processor_seconds_of, running_record

METRICS_SECONDS_MAX: Final = 5.0  # of a loaded replica
METRICS_BYTES_MAX: Final = 1_048_576
PREFIX: Final = "gridquorum_"
MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one replica has used so far, its workers included; memory is what it holds now."""

    replica: int
    cpu_seconds: float = 0.0  # replica and workers
    worker_cpu_seconds: float = 0.0  # of these, the workers'
    memory_bytes: int = 0  # the proportional set size: a page that k processes map counts a k-th in each
    private_bytes: int = 0  # of these, what is not a file's
    journal_syncs: int = 0
    ledger_syncs: int = 0
    peer_bytes: int = 0  # sent to other replicas
    client_bytes: int = 0  # to and from clients
    disk_bytes: int = 0  # occupied by journal and ledger
    view_changes: int = 0


ADDED: Final = tuple(
    field.name for field in fields(Usage) if field.name not in {"replica", "memory_bytes", "private_bytes"}
)
"""Figures of which the difference of two readings makes sense."""


ProcessorTime = Mapping[int, tuple[float, float]]
"""By replica: (seconds of processor time so far, its workers included; its workers' alone)."""


def read_processor_time(network: LocalNetwork, replica_ids: Iterable[int]) -> ProcessorTime:
    """What these replicas have used by now: files of /proc alone, read within a millisecond, so that it can be said of
    an edge of the window. A replica that does not run has used nothing."""
    read: dict[int, tuple[float, float]] = {}
    for replica_id in replica_ids:
        record = running_record(network.replica(replica_id).record_path)
        workers = sum(map(processor_seconds_of, children_of(record.pid))) if record is not None else 0.0
        read[replica_id] = (processor_seconds_of(record.pid) + workers if record is not None else 0.0, workers)
    return read


def read_usage(network: LocalNetwork, processor: ProcessorTime) -> tuple[Usage, ...]:
    """The usage of the replicas whose processor time was read just before: asking a loaded one for its counters takes
    it a turn. One that does not run has the figures of its files alone."""
    return tuple(_read_one(network, replica_id, *seconds) for replica_id, seconds in processor.items())


def _read_one(network: LocalNetwork, replica_id: int, cpu_seconds: float, worker_cpu_seconds: float) -> Usage:
    replica = network.replica(replica_id)
    record = running_record(replica.record_path)
    disk_bytes = occupied_bytes(replica.data_path)
    if record is None:
        return Usage(replica=replica_id, disk_bytes=disk_bytes)
    memory = [read_memory(pid) for pid in (record.pid, *children_of(record.pid))]
    counters = read_counters(replica.ops_port)
    return Usage(
        replica=replica_id,
        cpu_seconds=cpu_seconds,
        worker_cpu_seconds=worker_cpu_seconds,
        memory_bytes=sum(held for held, _ in memory),
        private_bytes=sum(private for _, private in memory),
        journal_syncs=counters.get("journal_syncs_total", 0),
        ledger_syncs=counters.get("ledger_syncs_total", 0),
        peer_bytes=counters.get("peer_sent_bytes_total", 0),
        client_bytes=counters.get("client_sent_bytes_total", 0) + counters.get("client_received_bytes_total", 0),
        disk_bytes=disk_bytes,
        view_changes=counters.get("view_changes_total", 0),
    )


def read_largest_memory(network: LocalNetwork, replica_ids: Iterable[int]) -> int:
    """The memory of the largest of these replicas now, workers included, in bytes; files of /proc alone."""
    most = 0
    for replica_id in replica_ids:
        record = running_record(network.replica(replica_id).record_path)
        if record is not None:
            most = max(most, sum(read_memory(pid)[0] for pid in (record.pid, *children_of(record.pid))))
    return most


def subtract(later: Sequence[Usage], earlier: Sequence[Usage]) -> tuple[Usage, ...]:
    """What was used between two readings of the same replicas; memory is that of the later one."""
    return tuple(
        Usage(
            replica=after.replica,
            memory_bytes=after.memory_bytes,
            private_bytes=after.private_bytes,
            **{name: max(getattr(after, name) - getattr(before, name), 0) for name in ADDED},
        )
        for after, before in zip(later, earlier, strict=True)
    )


def children_of(pid: int) -> tuple[int, ...]:
    """The processes that a process has started and not yet waited for; none where it does not run."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(int(child) for child in text.split())


def read_memory(pid: int) -> tuple[int, int]:
    """(bytes held, those of them that are no file's) of a process; zeros where it does not run.

    Both are proportional (proc(5), smaps_rollup: Pss, Pss_Anon). A replica and its workers map the same ledger file,
    and every process the same libraries: resident sizes would count each such page once for each of them. A worker
    lets nobody but root look at its maps (PR_SET_DUMPABLE); to others its resident size stands in, which is more.
    """
    try:
        values = _read_kilobytes(pid, "smaps_rollup")
    except PermissionError:
        values = _read_kilobytes(pid, "status")
        return values.get("VmRSS", 0), values.get("RssAnon", 0)
    return values.get("Pss", 0), values.get("Pss_Anon", 0)


def _read_kilobytes(pid: int, name: str) -> dict[str, int]:
    """The lines `name: number kB` of a file of /proc/PID, in bytes; none where the process does not run. Raises
    PermissionError."""
    try:
        text = Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return {}
    found = (line.partition(":") for line in text.splitlines() if line.endswith(" kB"))
    return {label: int(value.split()[0]) * 1024 for label, _, value in found}


def occupied_bytes(directory: Path) -> int:
    """The blocks of disk that a directory's files occupy, in bytes: a sparse file counts with what is written."""
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            try:
                total += (Path(root) / name).lstat().st_blocks * 512  # stat(2): blocks of 512 bytes, always
            except FileNotFoundError:
                continue  # a file that was replaced meanwhile
    return total


def read_counters(port: int) -> dict[str, int]:
    """A replica's counters without labels, by name. Raises BenchError `silent` where its operators' port does not
    answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=METRICS_SECONDS_MAX)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read(METRICS_BYTES_MAX).decode()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError("silent", f"the operators' port {port} does not answer: {error}") from error
    finally:
        connection.close()
    counters: dict[str, int] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name.startswith(PREFIX) and "{" not in name:
            counters[name.removeprefix(PREFIX)] = int(float(value))
    return counters
