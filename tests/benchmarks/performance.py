"""Makes docs/performance.md, its picture, and the raw figures behind both, by running `gridquorum bench`.

    make bench            (PYTHONPATH=tests python -m benchmarks.performance [--seconds 8] [--only NAME ...])

Each run is the command as a user types it; its JSON goes into docs/performance.json, replacing that of an earlier run
of the same name, and the page and picture are drawn from that file alone. So a part can be measured again by itself,
and every row says with which commit, machine and load it was made.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, Final

from benchmarks.replica_cost import CostMeter

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
FIGURES: Final = DOCS / "performance.json"
PAGE: Final = DOCS / "performance.md"
PICTURE: Final = DOCS / "performance.svg"
RUN_SECONDS_MAX: Final = 900.0  # of one bench, preparation and end included

TRANSFER: Final = ("--workload", "transfer")
FEW: Final = (*TRANSFER, "--accounts", "5000")
RUNS: Final[dict[str, tuple[str, ...]]] = {
    "transfers": (*TRANSFER, "--clients", "1000"),
    "lone request": (*FEW, "--clients", "1"),
    "null": ("--workload", "null", "--clients", "1000"),
    "null 1 kB": ("--workload", "null", "--clients", "500", "--payload", "1024"),
    "null 16 kB": ("--workload", "null", "--clients", "100", "--payload", "16384"),
    "readings": ("--workload", "readings", "--clients", "64"),
    "batch 1": (*FEW, "--clients", "100", "--batch", "1"),
    "batch 10": (*FEW, "--clients", "300", "--batch", "10"),
    "batch 100": (*FEW, "--clients", "1000", "--batch", "100"),
    "window 8": (*FEW, "--clients", "1000", "--window", "8"),
    "n = 7": (*FEW, "--clients", "1000", "--replicas", "7"),
    "n = 10": (*FEW, "--clients", "1000", "--replicas", "10"),
    "n = 16": (*FEW, "--clients", "1000", "--replicas", "16"),
    "replica down": (*FEW, "--clients", "500", "--faults", "replica-down"),
    "silent primary": (*FEW, "--clients", "500", "--faults", "silent-primary"),
    "slow primary": (*FEW, "--clients", "500", "--faults", "slow-primary"),
    "equivocating primary": (*FEW, "--clients", "500", "--faults", "equivocating-primary"),
    "flooding client": (*FEW, "--clients", "500", "--faults", "flooding-client"),
    "lagging replica": (*FEW, "--clients", "500", "--faults", "lagging-replica"),
}
PROFILED_BATCHES: Final = 8
SAMPLE_SECONDS: Final = 0.001
OPEN_LOOP: Final = "70 % load"  # open loop at 70 % of what `transfers` reached
PARTS: Final = (  # of a replica's work: first match by the path of a function's file wins
    ("signatures", ("nacl", "ledger/keys.py", "wire/verify.py")),
    ("state tree", ("ledger/world_state.py", "ledger/state_", "ledger/stored_trie.py", "/hashing.py", "/merkle.py")),
    (
        "store: LMDB, checksums",
        ("_store.py", "ledger/checksum.py", "ledger/store.py", "node/journal.py"),
    ),
    ("canonical encoding", ("ledger/encoding.py", "ledger/shapes.py")),
    ("contract engine", ("contracts/",)),
    ("blocks, receipts, admission", ("ledger/",)),
    ("wire: protobuf, decoding", ("pbft/wire/", "google")),
    ("clients' door", ("node/client_",)),
    ("protocol core", ("pbft/core/",)),
    ("driver and bridge", ("pbft/node/",)),
)


def measure(name: str, arguments: tuple[str, ...], seconds: float) -> dict[str, Any]:
    """One run. Raises SystemExit with its own words where it fails."""
    command = [sys.executable, "-m", "pbft.cli", "bench", *arguments, "--seconds", f"{seconds:g}", "--json"]
    print(f"{name}: gridquorum {' '.join(command[3:])}", file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=RUN_SECONDS_MAX, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name} failed with {done.returncode}")
    report: dict[str, Any] = json.loads(done.stdout)
    del report["replicas"]
    report["command"] = " ".join(["gridquorum", *command[3:-1]])
    return report


def profile_parts() -> dict[str, Any]:
    """Microseconds of a transfer at a replica by part: by samples, one for each millisecond of processor time, because
    a profiler that sees every call makes small functions look large."""
    spent: Counter[str] = Counter()

    def sample(_number: int, frame: FrameType | None) -> None:
        spent[part_of(frame.f_code.co_filename if frame is not None else "")] += 1

    with ExitStack() as stack:
        meter = CostMeter(stack, batch=500, accounts=20_000)
        for _ in range(4):
            cost = meter.measure()
        batches = [meter.pit.make_requests(500) for _ in range(PROFILED_BATCHES)]
        before = signal.signal(signal.SIGPROF, sample)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
        for raws in batches:
            meter.pit.run(raws)
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)
    us = cost.seconds * 1e6
    return {
        "us": round(us, 1),
        "ratio": round(cost.ratio, 1),
        "parts": {part: round(us * count / spent.total(), 1) for part, count in spent.most_common()},
    }


def part_of(path: str) -> str:
    """Which part of a replica's work a file is."""
    for part, places in PARTS:
        if any(place in path for place in places):
            return part
    return "making records, libraries"


# --- the page ---


def write_page(figures: dict[str, Any]) -> str:
    """docs/performance.md, from the figures alone."""
    runs: dict[str, Any] = figures["runs"]
    out = [
        HEAD,
        *targets_table(runs),
        "",
        "## All runs",
        "",
        *runs_table(runs),
        "",
        "## Faults",
        "",
        *faults_table(runs),
    ]
    out += ["", PROFILE_HEAD.format(**figures["profile"]), *parts_table(figures["profile"]), "", TAIL]
    out += ["## How each run was made", "", *settings_table(runs)]
    return "\n".join(out) + "\n"


HEAD: Final = """# What it costs, and how near that is to what its parts cost

Made by `make bench` from [performance.json](performance.json): figures are measured, the sentences are not. Each comes
from real processes: `gridquorum run` with its contract worker, TLS 1.3, every write synced, every client's signature
checked at every replica, contracts metered in the worker, a state root per block. There is no switch for any of it.
Requests are counted in certified blocks, latency until W replicas have answered alike. Replicas and clients share one
machine; requests are signed before the window.

The limit is that of a request that costs a signature and the floor of a bare skeleton (23 us, scaled by a hash
measured in the same run), on all cores: `cores / (replicas x (signature + floor))`. *Of the limit* compares throughput;
*CPU of the limit* compares processor time, which neighbours on the machine disturb less. Where the load before a run
(last table) is above the cores, throughput and latency say more about the neighbours than about GridQuorum.

![Transfers: what a request costs each replica](performance.svg)

## Against the targets
"""

PROFILE_HEAD: Final = """## What stands between

One transfer at one replica, all of it in one process ([replica_cost.py](../tests/benchmarks/replica_cost.py):
production nodes without sockets and TLS): {us} us of processor time, {ratio} thousandths of the reference of the guard
in `make test`. The shares are those of samples taken each millisecond:
"""

TAIL: Final = """The signature can only be saved by signing more at once, as a gateway does with its readings. The rest
is the interpreter: canonical encoding, state tree and contract engine are Python, some thousand small operations for
each transfer.

Done so far: the collector of cycles looks less often; a bucket of the state tree is one record, each level is rehashed
once per block, from below, and a write goes through each table in the order of its pages; a transaction is parsed once
at each replica, the receipts of a block are parsed once, and plans and outcomes travel to the worker by column; the
journal is one appended file with one flush a write; a proposal on its way is not sent again with every STATUS; who
waits asks everybody only when answers are late. Known and not done: random updates of the state dirty a page of each of
its tables, so a log of changes with tables written behind it; the depth of each place of the tree kept in RAM; receipts
in groups; and the contract `readings`, whose judgement of each reading in the engine alone rules out that row.

Not measured here: runs that the tables above do not name (`make bench` makes them all), 1,000,000 requests in one run,
and a state of 1,000,000 keys and more. The commands are there:
`gridquorum bench --workload transfer --seconds 600 --json` has the course of memory in `course`, and
`PYTHONPATH=tests python -m benchmarks.growth --keys 100000 1000000 10000000` measures the state's part.
"""


RUNS_HEAD: Final = (
    "| run | requests/s | of the limit | CPU of the limit | p50 / p99 / p99.9 ms | us at a replica (worker) "
    "| requests per block | syncs per block, replica | bytes a request: peers, clients, disk | MB |"
)
SVG_HEAD: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 {height}" font-family="system-ui, sans-serif" '
    'font-size="13" role="img">'
)
SVG_TITLE: Final = (
    '<text x="20" y="24" font-size="15" font-weight="600" fill="#1d2730">'
    "Processor microseconds of one transfer at one replica; dark: signature and floor, the limit's share</text>"
)


def targets_table(runs: dict[str, Any]) -> list[str]:
    """FIGURES.md section 14, as far as it was measured."""
    rows: list[tuple[str, str, str, str]] = []
    if (transfers := runs.get("transfers")) is not None:
        rows += [
            ("transfers a second", "3,000", "6,000", f"{transfers['requests_per_second']:,.0f}"),
            ("CPU seconds per 1,000 requests, all replicas", "0.50", "0.30",
             f"{transfers['cpu_seconds_per_1000_requests']:.2f}"),
            ("share of the limit: throughput, CPU", "0.35", "0.70",
             f"{transfers['ratio_to_limit']:.2f}, {transfers['cpu_ratio_to_limit']:.2f}"),
            ("memory of a replica, MB, 100,000 accounts (200,000 keys)", "200", "120",
             f"{transfers['memory_mb_max']:.0f}, of which {transfers['private_mb_max']:.0f} private"),
        ]  # fmt: skip
    if (readings := runs.get("readings")) is not None:
        rows.append(("readings a second", "20,000", "60,000", f"{readings['readings_per_second']:,.0f}"))
    if (lone := runs.get("lone request")) is not None:
        latency = lone["latency_ms"]
        rows.append(("lone request, p50 / p99, ms", "8 / 20", "4 / 10", f"{latency['p50']} / {latency['p99']}"))
    if (paced := runs.get(OPEN_LOOP)) is not None:
        rows.append(("at 70 % load, p99, ms", "150", "60", f"{paced['latency_ms']['p99']}"))
    if (sixteen := runs.get("n = 16")) is not None and transfers is not None:
        factor = sixteen["cpu_us_per_request_and_replica"] / transfers["cpu_us_per_request_and_replica"]
        rows.append(("CPU per request and replica, n = 16 to n = 4", "works", "1.3 x", f"{factor:.2f} x"))
    lines = ["| measure | must | goal | measured |", "|---|---|---|---|"]
    return lines + [f"| {measure} | {must} | {goal} | {got} |" for measure, must, goal, got in rows]


def runs_table(runs: dict[str, Any]) -> list[str]:
    """The figures of each run without a fault."""
    lines = [
        RUNS_HEAD,
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, run in runs.items():
        if run["fault"]:
            continue
        latency = run["latency_ms"]
        lines.append(
            f"| {name} | {run['requests_per_second']:,.0f} | {run['ratio_to_limit']:.3f} "
            f"| {run['cpu_ratio_to_limit']:.3f} "
            f"| {latency['p50']} / {latency['p99']} / {latency['p999']} | {run['cpu_us_per_request_and_replica']:.0f} "
            f"({run['worker_cpu_us_per_request_and_replica']:.0f}) | {run['requests_per_block']} "
            f"| {run['syncs_per_block_and_replica']} "
            f"| {run['peer_bytes_per_request']}, {run['client_bytes_per_request']}, "
            f"{run['disk_bytes_per_request_and_replica']} | {run['memory_mb_max']:.0f} |"
        )
    return lines


def faults_table(runs: dict[str, Any]) -> list[str]:
    """What was left of the service, from the begin of the window on, in which the fault begins too."""
    head = (
        "| fault | requests/s | after 2 T | longest time without an answer, s | views changed | pieces of evidence "
        "| caught up after, s |"
    )
    lines = [head, "|---|---|---|---|---|---|---|"]
    for name, run in runs.items():
        fault = run["fault"]
        if fault:
            after = fault["requests_per_second_after_2_base_timers"]
            lines.append(
                f"| {name} | {run['requests_per_second']:,.0f} | {'-' if after is None else f'{after:,.0f}'} "
                f"| {fault['longest_gap_seconds']:.1f} | {run['view_changes']} | {fault['evidence']} "
                f"| {fault.get('caught_up_seconds', '')} |"
            )
    return lines


def parts_table(profile: dict[str, Any]) -> list[str]:
    """The parts of a transfer's cost."""
    lines = ["| part | us |", "|---|---|"]
    return lines + [f"| {part} | {us} |" for part, us in profile["parts"].items()]


def settings_table(runs: dict[str, Any]) -> list[str]:
    """Commit, machine class and settings of each run."""
    lines = ["| run | command | commit | machine | load before |", "|---|---|---|---|---|"]
    for name, run in runs.items():
        machine = run["machine"]
        lines.append(
            f"| {name} | `{run['command']}` | {run['commit']} | {machine['cores']} x {machine['processor']}, "
            f"{machine['memory_gb']:.0f} GB, Linux {machine['kernel']}, Python {machine['python']} "
            f"| {machine['load_average']} |"
        )
    return lines


# --- the picture ---


def draw(figures: dict[str, Any]) -> str:
    """Bars: the CPU of a request at a replica in each run that sends transfers, with the limit's share of it."""
    runs = [(name, run) for name, run in figures["runs"].items() if run["settings"]["workload"] == "transfer"]
    bar, left, width = 24, 170, 640
    most = max((run["cpu_us_per_request_and_replica"] for _, run in runs), default=1.0)
    height = 70 + bar * len(runs)
    out = [
        SVG_HEAD.format(height=height),
        "<title>Processor time of one transfer at one replica, by run</title>",
        f'<rect width="960" height="{height}" fill="#fff"/>',
        SVG_TITLE,
    ]
    for place, (name, run) in enumerate(runs):
        y = 44 + bar * place
        us = run["cpu_us_per_request_and_replica"]
        limit_us = run["verify_us"] + run["floor_us"]
        out.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end" fill="#44525f">{name}</text>')
        out.append(f'<rect x="{left}" y="{y}" width="{width * us / most:.0f}" height="16" fill="#b0bec5"/>')
        out.append(
            f'<rect x="{left}" y="{y}" width="{width * min(limit_us, us) / most:.0f}" height="16" fill="#2e7d4f"/>'
        )
        out.append(f'<text x="{left + width * us / most + 6:.0f}" y="{y + 13}" fill="#1d2730">{us:.0f}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def main(argv: list[str] | None = None) -> None:
    """Measures what was asked for, and writes the three files."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=8.0)
    options.add_argument("--only", nargs="*", metavar="NAME", help=f"of {', '.join([*RUNS, OPEN_LOOP, 'profile'])}")
    asked = options.parse_args(argv)
    figures: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {"runs": {}}
    wanted = set(asked.only) if asked.only is not None else {*RUNS, OPEN_LOOP, "profile"}
    for name, arguments in RUNS.items():
        if name in wanted:
            figures["runs"][name] = measure(name, arguments, asked.seconds)
    if OPEN_LOOP in wanted:
        rate = max(int(0.7 * figures["runs"]["transfers"]["requests_per_second"]), 1)
        figures["runs"][OPEN_LOOP] = measure(OPEN_LOOP, (*FEW, "--clients", "2000", "--rate", str(rate)), asked.seconds)
    if "profile" in wanted:
        figures["profile"] = profile_parts()
    order = [*RUNS, OPEN_LOOP]
    figures["runs"] = {name: figures["runs"][name] for name in order if name in figures["runs"]}
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(write_page(figures), encoding="utf-8")
    PICTURE.write_text(draw(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
