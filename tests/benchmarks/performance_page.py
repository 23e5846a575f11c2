"""docs/performance.md and its picture, from the figures of `benchmarks.performance` alone: nobody types a number."""

from typing import Any, Final

from benchmarks.performance_growth import LONG_RUN, origin, write_growth
from benchmarks.performance_sweeps import SWEEPS, write_sweeps


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
    out += [*write_sweeps(runs), *write_growth(figures)]
    out += ["", PROFILE_HEAD.format(**figures["profile"]), *parts_table(figures["profile"]), "", TAIL]
    out += verifiers_table(figures["verifiers"]) if "verifiers" in figures else []
    out += ["## How each run was made", "", *settings_table(runs)]
    return "\n".join(out) + "\n"


HEAD: Final = """# What it costs, and how near that is to what its parts cost

Made by `make bench` from [performance.json](performance.json): figures are measured, the sentences are not. Each comes
from real processes: `gridquorum run` with its contract worker, TLS 1.3, every write synced, every client's signature
checked at every replica, contracts metered in the worker, a state root per block. There is no switch for any of it.
Requests are counted in blocks that f + 1 replicas have executed, latency until W replicas have answered alike. Replicas
and clients share one machine; requests are signed before the window. What runs is the compiled build
([operate.md](operate.md#the-compiled-build)), but where the last table, or the line below another, says `interpreted`:
the sources as they are. The run of that name is like `transfers` otherwise.

The limit is that of a request that costs a signature and the floor of a bare skeleton (23 us, scaled by a hash
measured in the same run), on all cores: `cores / (replicas x (signature + floor))`. *Of the limit* compares throughput;
*CPU of the limit* compares processor time, which neighbours on the machine disturb less. Where the load before a run
(last table) is above the cores, throughput and latency say more about the neighbours than about GridQuorum.

![Transfers: what a request costs each replica](performance.svg)

## Against the targets
"""

PROFILE_HEAD: Final = """## What stands between

One transfer at one replica, all of it in one process ([replica_cost.py](../tests/benchmarks/replica_cost.py):
production nodes without sockets and TLS, 100,000 accounts, blocks of 1,000): {compiled[us]} us of processor time in the
compiled build, {compiled[ratio]} thousandths of the reference of the guard in `make test`; {us} us and {ratio}
thousandths as the sources are. The shares are those of samples of the latter's processor time, because nothing but the
interpreter says where it is:
"""

TAIL: Final = """Row by row, for what was missed:

- **Processor time and throughput of transfers.** The signature can only be saved by signing more at once, as a gateway
  does with its readings. The rest is many small functions for each transfer at each replica, and no part stands out;
  compiled, they are still Python's objects, calls and dictionaries, and signatures are the largest part. Blocks
  of 1,000 (the run `transfers`) share among more what a block costs and the pages that it touches; with the network's
  default of at most 500 (`default settings`) a transfer costs more. Still larger ones saved little in a trial, for more
  memory. The processor time is close to what it must be: when neighbours keep a shared machine busy, the same commit
  takes more than that there, and the hash and the signature of the same run take more too. So runs of other hours and
  machines are compared by *CPU of the limit*, and two commits on one machine by `make pairs`.
- **10,000,000 keys.** At 100,000 the keys of a block share pages; at ten million each changed key has a page of its own
  in both tables, whenever it is written, and two more nodes of the tree in the file: that is the factor. The start
  stays short.
- **A lagging replica.** It stands still for 40 % of the window and has to execute faster than a network that uses every
  core; alone it catches up in less than a second (the chain, above).
- **A flooding client.** Its transactions are well signed, so that each costs the replicas a check, and it signs them on
  the same two cores: both take from the others, within the bounds that one certificate has.
- **A slow primary.** It proposes just fast enough that no timer ends, so nobody may depose it: the timers judge whether
  requests are served at all. A rule of throughput, as Aardvark has it, would be another protocol.

Done so far: the collector of cycles looks less often; a bucket of the state tree is one record, each level is rehashed
once per block, from below, and a write goes through each table in the order of its pages; values and buckets are
written late, a range of them with each block, and the index of receipts in sorted runs, so that what changes shares its
pages; readings travel and are kept in columns, and a whole interval of a group that simply continues the one before is
found by comparing lists; a transaction is parsed once at each replica, the receipts of a block are parsed once, and
plans and outcomes travel to the worker by column; short rows of arguments and of storage are read in one pass, and
short forms written without the encoder; the journal is an appended file with one flush a write, and two files take
turns; a proposal on its way is not sent again with every STATUS; witnesses are asked for outcomes by id when a request
is sent, and the replies of a block leave together; what a turn writes leaves when it ends, and clients hear of a block
before the ledger's own write; votes that come after their quorum are not checked; an idle head is voted on when it
stands still; nonce windows of active clients are kept in memory, and so are buckets that were written lately; pages of
the ledger's file are mapped one by one and let go of; a primary that is proven to lie is deposed at once; the modules
on the way of every request are compiled, and libsodium with them.

Tried or reckoned, and not kept:
LMDB's WRITEMAP (page faults cost what the copies did); another Ed25519 library (other verdicts on crafted signatures);
values inside their bucket (the worker's reads get dearer); huge pages for the interpreter's memory (within the noise);
pages of the ledger let go of less often, and longer slices of the scheduler (the same); a faster CRC (records are
short); the keys in a bucket's record in a table of their own (a transfer changes keys, not only values: its nonce is
new); an account's nonce and balance in one bucket (a little less for a transfer, but then whoever chooses addresses
deepens a branch of the tree for nothing). Known and not done: receipts in groups; a block's plan to the worker before
it is committed.

Runs that the tables do not name are not measured here; `make bench` makes them all.

Memory is proportional: a page that k processes map counts a k-th in each, so that the ledger's file, which a replica
and its worker both map, counts once. Processor time is read at the edges of the window, so that all replicas and the
clients together never use more than the machine has.
"""

VERIFIERS_HEAD: Final = """## Signatures off the reactor

On a host with processors to spare a replica has clients' signatures checked in processes of their own
([pbft/README.md](../pbft/README.md), "Verifier processes"). Then its main process, which bounds the throughput of a
host with one replica, has less to do; the verifiers' own time is not in these figures. On a machine whose processors
are all busy, as in the runs above, there are none.
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
    if (long := runs.get(LONG_RUN)) is not None:
        measured = f"{long['memory_mb_max']:.0f}, of which {long['private_mb_max']:.0f} private"
        rows.append((f"the same after {long['requests']:,} requests", "200", "120, flat", measured))
    if (readings := runs.get("readings")) is not None:
        rows.append(("readings a second", "20,000", "60,000", f"{readings['readings_per_second']:,.0f}"))
    if (lone := runs.get("lone request")) is not None:
        latency = lone["latency_ms"]
        rows.append(("lone request, p50 / p99, ms", "8 / 20", "4 / 10", f"{latency['p50']} / {latency['p99']}"))
    if (paced := runs.get("70 % load")) is not None:
        rows.append(("at 70 % load, p99, ms", "150", "60", f"{paced['latency_ms']['p99']}"))
    if (sixteen := runs.get("n = 16")) is not None and (four := runs.get("batch 500")) is not None:  # accounts alike
        factor = sixteen["cpu_us_per_request_and_replica"] / four["cpu_us_per_request_and_replica"]
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
        if run["fault"] or name in SWEEPS:
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
            caught_up = fault.get("caught_up_seconds", "")
            caught_up = "not in the window" if caught_up is None else caught_up
            lines.append(
                f"| {name} | {run['requests_per_second']:,.0f} | {'-' if after is None else f'{after:,.0f}'} "
                f"| {fault['longest_gap_seconds']:.1f} | {run['view_changes']} | {fault['evidence']} "
                f"| {caught_up} |"
            )
    return lines


def parts_table(profile: dict[str, Any]) -> list[str]:
    """The parts of a transfer's cost."""
    lines = ["| part | us |", "|---|---|"]
    return lines + [f"| {part} | {us} |" for part, us in profile["parts"].items()]


def verifiers_table(measured: dict[str, Any]) -> list[str]:
    """What verifier processes leave of a main process's work; by `benchmarks.verifier_cost`."""
    lines = [
        VERIFIERS_HEAD,
        "| transfers a block | us of the main process | with a verifier | of it |",
        "|---|---|---|---|",
    ]
    for row in measured["rows"]:
        inline, verified = row["inline_us"], row["verified_us"]
        lines.append(f"| {row['batch']:,} | {inline} | {verified} | {verified / inline:.2f} |")
    made = "`PYTHONPATH=tests python -m benchmarks.verifier_cost`, commit {}, {}, load before {}.".format
    return [
        *lines,
        "",
        made(*origin(measured)),
        "",
    ]


def settings_table(runs: dict[str, Any]) -> list[str]:
    """Commit, machine class and settings of each run."""
    lines = ["| run | command | commit | machine | load before |", "|---|---|---|---|---|"]
    for name, run in runs.items():
        machine = run["machine"]
        lines.append(
            f"| {name} | `{run['command']}` | {run['commit']} | {machine['cores']} x {machine['processor']}, "
            f"{machine['memory_gb']:.0f} GB, Linux {machine['kernel']}, Python {machine['python']} "
            f"({run.get('build', 'interpreted')}; interpreter {run['interpreter_ms']} ms) "
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
