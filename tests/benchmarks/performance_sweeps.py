"""Sweeps of one setting each, on docs/performance.md: size of a batch, of the window, of a payload."""

from typing import Any, Final

TRANSFER: Final = ("--workload", "transfer")
FEW: Final = (*TRANSFER, "--accounts", "5000")
SWEEPS: Final[dict[str, tuple[str, ...]]] = {
    "batch 1": (*FEW, "--clients", "100", "--batch", "1"),
    "batch 10": (*FEW, "--clients", "300", "--batch", "10"),
    "batch 100": (*FEW, "--clients", "1000", "--batch", "100"),
    "batch 500": (*FEW, "--clients", "1000", "--batch", "500"),
    "batch 1000": (*FEW, "--clients", "2000", "--batch", "1000"),
    "window 8": (*FEW, "--clients", "1000", "--batch", "100", "--window", "8"),
    "window 16": (*FEW, "--clients", "1000", "--batch", "100", "--window", "16"),
    "window 256": (*FEW, "--clients", "1000", "--batch", "100", "--window", "256"),
    "null 0 kB": ("--workload", "null", "--clients", "500"),
    "null 1 kB": ("--workload", "null", "--clients", "500", "--payload", "1024"),
    "null 16 kB": ("--workload", "null", "--clients", "100", "--payload", "16384"),
}
"""By name: the arguments of `gridquorum bench`. What a run does not name has the network's default: batches of at most
500, a window of 64 heights, no payload."""
SWEEP_SECONDS: Final = 4.0
HEAD: Final = (
    "| run | batch at most | window | payload, bytes | clients | requests/s | p50 / p99, ms | us at a replica (worker) "
    "| requests per block | bytes a request: peers, clients, disk |"
)


def write_sweeps(runs: dict[str, Any]) -> list[str]:
    """The section's lines; none where no sweep was measured."""
    measured = [(name, runs[name]) for name in SWEEPS if name in runs]
    if not measured:
        return []
    lines = ["", "## Sweeps", "", HEAD, "|---|---|---|---|---|---|---|---|---|---|"]
    for name, run in measured:
        settings, latency = run["settings"], run["latency_ms"]
        lines.append(
            f"| {name} | {settings['batch']} | {settings['window']} | {settings['payload']:,} "
            f"| {settings['clients']:,} | {run['requests_per_second']:,.0f} | {latency['p50']} / {latency['p99']} "
            f"| {run['cpu_us_per_request_and_replica']:.0f} ({run['worker_cpu_us_per_request_and_replica']:.0f}) "
            f"| {run['requests_per_block']} | {run['peer_bytes_per_request']:,}, {run['client_bytes_per_request']:,}, "
            f"{run['disk_bytes_per_request_and_replica']:,} |"
        )
    return lines
