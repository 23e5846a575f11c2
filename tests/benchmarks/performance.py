"""Makes docs/performance.md, its picture, and the raw figures behind both, by running `gridquorum bench`.

    make bench            (PYTHONPATH=tests python -m benchmarks.performance [--seconds 8] [--only NAME ...])

Each run is the command as a user types it; its JSON goes into docs/performance.json, replacing that of an earlier run
of the same name, and the page and picture are drawn from that file alone. So a part can be measured again by itself,
and every row says with which commit, build, machine and load it was made. What is measured is the compiled build, which
`make bench` makes; `interpreted`, and the parts of the profile, are the sources as they are.
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

from benchmarks.performance_growth import BYTES, CHAIN, LONG_RUN
from benchmarks.performance_page import draw, write_page
from benchmarks.performance_sweeps import FEW, SWEEP_SECONDS, SWEEPS, TRANSFER
from benchmarks.replica_cost import CostMeter

from pbft.bench.report import describe_machine, read_commit

ROOT: Final = Path(__file__).resolve().parents[2]
COMPILED: Final = ROOT / ".venv-compiled" / "bin" / "python"
DOCS: Final = ROOT / "docs"
FIGURES: Final = DOCS / "performance.json"
PAGE: Final = DOCS / "performance.md"
PICTURE: Final = DOCS / "performance.svg"
RUN_SECONDS_MAX: Final = 1_800.0  # of one bench, preparation and end included

TRANSFERS: Final = "transfers"
INTERPRETED: Final = "interpreted"
DEFAULTS: Final = "default settings"  # of network and bench; the long run has them too
RUNS: Final[dict[str, tuple[str, ...]]] = {
    TRANSFERS: (*TRANSFER, "--clients", "2500", "--batch", "1000"),  # enough for full blocks; larger ones save little
    INTERPRETED: (*TRANSFER, "--clients", "2500", "--batch", "1000"),
    DEFAULTS: (*TRANSFER, "--clients", "1000"),
    "lone request": (*FEW, "--clients", "1"),
    "null": ("--workload", "null", "--clients", "1000"),
    "readings": ("--workload", "readings", "--clients", "64"),
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
PROFILED_BATCHES: Final = 40  # the timer of samples goes off 250 times a second
SAMPLE_SECONDS: Final = 0.001
OPEN_LOOP: Final = "70 % load"  # open loop at 70 % of what `transfers` reached
LONG_RUN_REQUESTS: Final = 1_000_000  # at least
LONG_RUN_MARGIN: Final = 1.5  # longer than the rate of eight seconds needs: a ledger of gigabytes is slower
GROWTH: Final = "growth"
GROWTH_KEYS: Final = (100_000, 1_000_000, 10_000_000)
PROFILE: Final = "profile"
VERIFIERS: Final = "verifiers"
CHAIN_BLOCKS: Final = (1_000, 10_000, 100_000)
ALL: Final = (*RUNS, *SWEEPS, OPEN_LOOP, LONG_RUN, PROFILE, VERIFIERS, GROWTH, CHAIN, BYTES)
PARTS: Final = (  # of a replica's work: first match by the path of a function's file wins
    ("signatures", ("nacl", "ledger/keys.py", "wire/verify.py")),
    ("state tree", ("ledger/world_state.py", "ledger/state_", "ledger/stored_trie.py", "/hashing.py", "/merkle.py")),
    (
        "store: LMDB, checksums, what is written late",
        ("_store.py", "ledger/checksum.py", "ledger/store.py", "ledger/late_", "node/journal.py"),
    ),
    ("canonical encoding", ("ledger/encoding.py", "ledger/shapes.py")),
    ("contract engine", ("contracts/",)),
    ("blocks, receipts, admission", ("ledger/",)),
    ("wire: protobuf, decoding", ("pbft/wire/", "google")),
    ("clients' door", ("node/client_",)),
    ("protocol core", ("pbft/core/",)),
    ("driver and bridge", ("pbft/node/",)),
)


def measured_python(name: str) -> list[str]:
    """The interpreter of a run: with the compiled build, no source of this folder shadows what is installed."""
    return [sys.executable] if name == INTERPRETED or not COMPILED.exists() else [str(COMPILED), "-P"]


def measure(name: str, arguments: tuple[str, ...], seconds: float) -> dict[str, Any]:
    """One run. Raises SystemExit with its own words where it fails."""
    asked = ["bench", *arguments, "--seconds", f"{seconds:g}", "--json"]
    command = [*measured_python(name), "-m", "pbft.cli", *asked]
    print(f"{name}: gridquorum {' '.join(asked)}", file=sys.stderr)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=RUN_SECONDS_MAX, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name} failed with {done.returncode}")
    report: dict[str, Any] = json.loads(done.stdout)
    del report["replicas"]
    report["command"] = " ".join(["gridquorum", *asked[:-1]])
    return report


def profile_parts() -> dict[str, Any]:
    """Microseconds of a transfer at a replica by part: by samples of processor time, because a
    profiler that sees every call makes small functions look large."""
    spent: Counter[str] = Counter()

    def sample(_number: int, frame: FrameType | None) -> None:
        spent[part_of(frame.f_code.co_filename if frame is not None else "")] += 1

    with ExitStack() as stack:
        meter = CostMeter(stack, batch=1_000, accounts=100_000)  # as in `transfers`
        meter.warm_up()
        for _ in range(4):
            cost = meter.measure()
        batches = [meter.pit.make_requests(1_000) for _ in range(PROFILED_BATCHES)]
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
        "compiled": measure_alone("replica_cost", "--batch", "1000", "--accounts", "100000")[0],
    }


def grow() -> dict[str, Any]:
    """The state's part of a replica at each size (`benchmarks.growth`), each in a process of its own."""
    rows: list[dict[str, Any]] = []
    for keys in GROWTH_KEYS:
        rows += measure_alone("growth", "--keys", str(keys))
    return describe_rows(rows)


def measure_alone(module: str, *arguments: str) -> list[dict[str, Any]]:
    """The rows that another module of this package prints, in a process of its own."""
    print(f"{module}: {' '.join(arguments)}", file=sys.stderr)
    command = [*measured_python(module), "-m", f"benchmarks.{module}", "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=RUN_SECONDS_MAX, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def describe_rows(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows with the commit, the build and the machine that gave them."""
    build = "compiled" if COMPILED.exists() else "interpreted"
    return {"commit": read_commit(), "build": build, "machine": describe_machine(), "rows": rows}


def part_of(path: str) -> str:
    """Which part of a replica's work a file is."""
    for part, places in PARTS:
        if any(place in path for place in places):
            return part
    return "making records, libraries"


def measure_run(name: str, runs: dict[str, Any], asked: argparse.Namespace) -> dict[str, Any]:
    """A run of `gridquorum bench` by its name; two of them depend on what others reached."""
    if name in RUNS:
        return measure(name, RUNS[name], asked.seconds)
    if name in SWEEPS:
        return measure(name, SWEEPS[name], min(asked.seconds, SWEEP_SECONDS))
    if name == OPEN_LOOP:
        rate = max(int(0.7 * runs[TRANSFERS]["requests_per_second"]), 1)
        return measure(name, (*FEW, "--clients", "2000", "--rate", str(rate)), asked.seconds)
    rate = runs[DEFAULTS]["requests_per_second"]
    return measure(name, RUNS[DEFAULTS], round(LONG_RUN_MARGIN * asked.requests / rate))


def main(argv: list[str] | None = None) -> None:
    """Measures what was asked for, and writes the three files."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=8.0)
    options.add_argument("--only", nargs="*", metavar="NAME", choices=ALL, help=f"of {', '.join(ALL)}")
    options.add_argument("--requests", type=int, default=LONG_RUN_REQUESTS, help="of the long run, at least")
    options.add_argument("--blocks", type=int, nargs="+", default=list(CHAIN_BLOCKS), help="of the chains")
    options.add_argument("--into", type=Path, default=DOCS, help="the folder of performance.json, .md and .svg")
    asked = options.parse_args(argv)
    path: Path = asked.into / FIGURES.name
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"runs": {}}
    wanted = ALL if asked.only is None else asked.only
    for name in (name for name in ALL if name in wanted):
        if name == PROFILE:
            figures[name] = profile_parts()
        elif name == GROWTH:
            figures[name] = grow()
        elif name == CHAIN:
            figures[name] = describe_rows(measure_alone("chain_growth", "--blocks", *map(str, asked.blocks)))
        elif name == VERIFIERS:
            figures[name] = describe_rows(measure_alone("verifier_cost"))
        elif name == BYTES:
            figures[name] = describe_rows(measure_alone("ledger_bytes"))
        else:
            figures["runs"][name] = measure_run(name, figures["runs"], asked)
        save(figures, asked.into)


def save(figures: dict[str, Any], into: Path = DOCS) -> None:
    """Writes figures, page and picture: after each run, so that none is lost with a later one."""
    figures["runs"] = {name: figures["runs"][name] for name in ALL if name in figures["runs"]}
    (into / FIGURES.name).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (into / PAGE.name).write_text(write_page(figures), encoding="utf-8")
    (into / PICTURE.name).write_text(draw(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
