"""From a result to what people and scripts read: one object of plain values, and a table of it.

The object's keys are stable (DESIGN.md section 5). Figures are rounded for reading; counts are exact.
"""

import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from ledger.build import BUILD
from pbft.bench.gauge import MEGABYTE, Usage
from pbft.bench.run import BenchResult

PERCENTILES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999))
COURSE_POINTS_MAX: Final = 240  # of a run in its report; longer runs are thinned out
GIT_SECONDS_MAX: Final = 5.0


def make_report(result: BenchResult) -> dict[str, Any]:
    """The object that `bench --json` prints."""
    rate = result.requests / result.seconds
    total = _sum(result.usage)
    measured = max(len(result.usage), 1)
    per_request = 1e6 / max(result.requests, 1)
    return {
        "requests": result.requests,
        "seconds": round(result.seconds, 3),
        "requests_per_second": round(rate, 1),
        f"{result.unit}_per_second": round(rate * result.units_per_request, 1),
        "latency_ms": {name: compute_percentile(result.latencies_ms, share) for name, share in PERCENTILES},
        "cpu_seconds_per_1000_requests": round(1_000 * total.cpu_seconds / max(result.requests, 1), 4),
        "cpu_us_per_request_and_replica": round(total.cpu_seconds * per_request / measured, 1),
        "worker_cpu_us_per_request_and_replica": round(total.worker_cpu_seconds * per_request / measured, 1),
        "client_cpu_us_per_request": round(result.client_cpu_seconds * per_request, 1),
        "total_cpu_seconds": round(result.total_cpu_seconds, 2),
        "memory_mb_max": round(max([point.memory_bytes for point in result.course], default=0) / MEGABYTE, 1),
        "private_mb_max": round(max([usage.private_bytes for usage in result.usage], default=0) / MEGABYTE, 1),
        "failed": result.failed,
        "blocks": result.blocks,
        "requests_per_block": round(result.requests / max(result.blocks, 1), 1),
        "syncs_per_block_and_replica": round(
            (total.journal_syncs + total.ledger_syncs) / measured / max(result.blocks, 1), 2
        ),
        "journal_syncs": total.journal_syncs,
        "ledger_syncs": total.ledger_syncs,
        "peer_bytes_per_request": round(total.peer_bytes / max(result.requests, 1)),
        "client_bytes_per_request": round(total.client_bytes / max(result.requests, 1)),
        "disk_bytes_per_request_and_replica": round(total.disk_bytes / measured / max(result.requests, 1)),
        "refused": result.refused,
        "resent": result.resent,
        "not_sent": result.late,
        "view_changes": max([usage.view_changes for usage in result.usage], default=0),
        "fault": result.fault,
        "verify_us": round(result.limit.verify_us, 2),
        "reference_ms": round(result.limit.reference_ms, 4),
        "floor_us": round(result.limit.floor_us, 2),
        "interpreter_ms": round(result.limit.interpreter_ms, 2),
        "limit_requests_per_second": round(result.limit.requests_per_second, 1),
        "ratio_to_limit": round(rate / result.limit.requests_per_second, 4),
        "cpu_ratio_to_limit": _cpu_ratio(result, total.cpu_seconds * per_request / measured),
        "replicas": [_describe(usage) for usage in result.usage],
        "course": _describe_course(result),
        "settings": asdict(result.options),
        "commit": read_commit(),
        "machine": describe_machine(),
        "version": version("gridquorum"),
        "build": BUILD,
        "correctness": "synced, TLS 1.3, every signature at every replica, metered worker, state root per block",
    }


def _cpu_ratio(result: BenchResult, us: float) -> float:
    """The primitives' CPU of a request to the measured one: what `ratio_to_limit` would be without idle cores."""
    return round((result.limit.verify_us + result.limit.floor_us) / us, 4) if us else 0.0


def _sum(usage: Sequence[Usage]) -> Usage:
    values = {name: sum(getattr(one, name) for one in usage) for name in Usage.__slots__ if name != "replica"}
    return Usage(replica=-1, **values)


def _describe(usage: Usage) -> dict[str, Any]:
    described = asdict(usage)
    described["cpu_seconds"] = round(usage.cpu_seconds, 2)
    described["worker_cpu_seconds"] = round(usage.worker_cpu_seconds, 2)
    return described


def _describe_course(result: BenchResult) -> list[list[float]]:
    """[seconds, requests done, MB of the largest replica] of each point."""
    step = -(-len(result.course) // COURSE_POINTS_MAX)
    return [
        [round(point.seconds, 2), point.completed, round(point.memory_bytes / MEGABYTE, 1)]
        for point in result.course[::step]
    ]


def compute_percentile(ascending: Sequence[float], share: float) -> float | None:
    """The value that this share of all values does not exceed (nearest rank); None of none."""
    if not ascending:
        return None
    rank = max(-(-int(share * 1_000_000) * len(ascending) // 1_000_000), 1)
    return round(ascending[rank - 1], 2)


def read_commit() -> str | None:
    """The commit of the source that runs, with `+` where it was changed since; None outside a checkout."""
    root = Path(__file__).resolve().parent
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
        done = subprocess.run(  # noqa: S603 - git of the machine
            command, capture_output=True, text=True, timeout=GIT_SECONDS_MAX, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def describe_machine() -> dict[str, Any]:
    """The class of this machine."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(pages / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def print_report(report: dict[str, Any], write: Callable[[str], None]) -> None:
    """The table for people."""
    for name, value in describe_rows(report):
        write(f"{name:<44} {value}")


def describe_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """(what, figure with unit) of what matters first."""
    latency, settings, machine = report["latency_ms"], report["settings"], report["machine"]
    clients = report["client_bytes_per_request"]
    loop = f"{settings['rate']:g} requests/s" if settings["rate"] else f"{settings['clients']} clients"
    rows = [
        ("workload", f"{settings['workload']}, {settings['replicas']} replicas, {loop}, {report['seconds']:g} s"),
        ("requests per second", f"{report['requests_per_second']:,.0f} of {report['limit_requests_per_second']:,.0f}"),
        ("ratio to the limit (throughput, CPU)", f"{report['ratio_to_limit']:.3f}, {report['cpu_ratio_to_limit']:.3f}"),
        ("latency p50 / p99 / p99.9", f"{latency['p50']} / {latency['p99']} / {latency['p999']} ms"),
        ("CPU seconds per 1,000 requests", f"{report['cpu_seconds_per_1000_requests']:.3f}, workers too"),
        ("CPU per request and replica", f"{report['cpu_us_per_request_and_replica']} us"),
        ("  of that contract worker and verifiers", f"{report['worker_cpu_us_per_request_and_replica']} us"),
        ("memory of the largest replica", f"{report['memory_mb_max']} MB, {report['private_mb_max']} of them private"),
        ("requests per block", f"{report['requests_per_block']}, {report['blocks']} blocks"),
        ("syncs per block and replica", f"{report['syncs_per_block_and_replica']}"),
        ("bytes per request between replicas, with clients", f"{report['peer_bytes_per_request']}, {clients}"),
        ("bytes of disk per request and replica", f"{report['disk_bytes_per_request_and_replica']}"),
        ("failed, sent again, refused", f"{report['failed']}, {report['resent']}, {sum(report['refused'].values())}"),
        ("primitives", f"signature {report['verify_us']} us, floor {report['floor_us']} us"),
        ("build", report["build"]),
        ("interpreter", f"{report['interpreter_ms']} ms for 50,000 steps"),
        ("machine", f"{machine['cores']} x {machine['processor']}, Python {machine['python']}"),
        ("commit", f"{report['commit']}"),
        ("left on", report["correctness"]),
    ]  # fmt: skip
    unit = next(name for name in report if name.endswith("_per_second") and name != "requests_per_second")
    if unit.startswith("readings"):
        rows.insert(2, ("readings per second", f"{report[unit]:,.0f}"))
    for name, value in report["fault"].items():
        rows.insert(3, (f"fault: {name}".replace("_", " "), str(value)))
    return rows
