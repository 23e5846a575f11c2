"""`gridquorum bench`: what it refuses, what it computes, and a short run of real processes that leaves nothing."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from benchmarks.solo_ledger import SoloLedger
from click.testing import CliRunner
from free_ports import free_port_base

from ledger.configuration import PARAMETER_BOUNDS, ProtocolParameters
from ledger.genesis import ContractReference
from ledger.keys import SigningKey
from pbft.bench import limit as limit_module
from pbft.bench import run as run_module
from pbft.bench.faults import Fault, longest_gap_seconds
from pbft.bench.gauge import ProcessorTime, Usage, read_memory, subtract
from pbft.bench.limit import interpreter_work, measure_limit, min_cpu_seconds, reference_work
from pbft.bench.load import Load
from pbft.bench.options import (
    GAS_OF_A_REQUEST,
    PAYLOAD_BYTES_MAX,
    BenchError,
    BenchOptions,
    read_available_bytes,
    validate_memory,
)
from pbft.bench.report import compute_percentile
from pbft.bench.run import Point, executed_height
from pbft.bench.workload import Founders, NullWorkload, Situation, TransferWorkload, find_workloads, make_workload
from pbft.cli import app
from pbft.node.local_cluster import LocalNetworkError

COMMAND_SECONDS_MAX = 120  # on a loaded machine of two cores
EDGE_BLOCKS_MAX = 4  # that were made while replicas were asked one after the other
REFUSED = [
    ({"replicas": 3}, "bad_replicas"),
    ({"replicas": -4}, "bad_replicas"),
    ({"replicas": 65}, "bad_replicas"),
    ({"seconds": -1.0}, "bad_seconds"),
    ({"seconds": 0.0}, "bad_seconds"),
    ({"seconds": float("nan")}, "bad_seconds"),
    ({"seconds": float("inf")}, "bad_seconds"),
    ({"warm_up_seconds": -0.5}, "bad_seconds"),
    ({"clients": 0}, "bad_clients"),
    ({"rate": 0.0}, "bad_rate"),
    ({"rate": -5.0}, "bad_rate"),
    ({"rate": float("nan")}, "bad_rate"),
    ({"batch": 0}, "bad_batch"),
    ({"batch": 100_000}, "bad_batch"),
    ({"window": 1}, "bad_window"),
    ({"window": 100_000}, "bad_window"),
    ({"payload": -1}, "bad_payload"),
    ({"payload": 1_000_000}, "bad_payload"),
    ({"payload": 10, "workload": "transfer"}, "bad_payload"),
    ({"workload": "mining"}, "bad_workload"),
    ({"accounts": 1}, "bad_accounts"),
    ({"faults": "earthquake"}, "bad_faults"),
    ({"verifiers": -1}, "bad_verifiers"),
    ({"verifiers": 17}, "bad_verifiers"),
]


@pytest.mark.parametrize(("asked", "code"), REFUSED)
def test_what_makes_no_sense_is_refused_with_its_code(asked: dict[str, Any], code: str) -> None:
    """Each option outside its bounds, before anything starts."""
    with pytest.raises(BenchError) as refused:
        BenchOptions(**asked).validate(find_workloads())
    assert refused.value.code == code and f"[{code}]" in str(refused.value)


def test_the_defaults_and_the_bounds_are_good() -> None:
    """What nobody changed is not refused, and the network gets the parameters that were asked for."""
    BenchOptions().validate(find_workloads())
    small = BenchOptions(window=8, batch=1)
    small.validate(find_workloads())
    assert (small.protocol.window, small.protocol.stride, small.protocol.batch_requests_max) == (8, 2, 1)
    assert BenchOptions().protocol == ProtocolParameters()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--replicas", "3"], 2, "[bad_replicas]"),
        (["--seconds", "-1"], 2, "[bad_seconds]"),
        (["--faults", "earthquake"], 2, "[bad_faults]"),
        (["--seconds", "many"], 2, "not a valid float"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(arguments: list[str], code: int, word: str) -> None:
    """Exit code 2, the stable code in the sentence, nothing on stdout."""
    command = [sys.executable, "-m", "pbft.cli", "bench", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert word in done.stderr and "Traceback" not in done.stderr


def test_too_little_memory_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By what the kernel says is free; exit code 15."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8000000 kB\nMemAvailable:     300000 kB\n", encoding="ascii")
    assert read_available_bytes(meminfo) == 300_000 * 1024
    with pytest.raises(BenchError) as refused:
        validate_memory(4, read_available_bytes(meminfo))
    assert refused.value.code == "no_memory"
    validate_memory(2, read_available_bytes(meminfo))
    monkeypatch.setattr("pbft.bench.run.read_available_bytes", lambda: 1)
    monkeypatch.setattr("pbft.node.local_cluster.start_process", lambda *_a, **_k: pytest.fail("a process started"))
    answered = CliRunner().invoke(app, ["bench", "--json"])
    assert answered.exit_code == 15


def test_a_port_that_is_taken_ends_the_bench_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The replica that would listen there is named, the ones already started are ended, the directory is removed."""
    from pbft.bench.run import run_bench

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with socket.socket() as taken:
        base = free_port_base()
        port = base + 10  # r1's for replicas
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(LocalNetworkError) as refused:
            run_bench(BenchOptions(port_base=base), lambda text: None)
    assert refused.value.code == "port_taken" and str(port) in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_the_limit_follows_from_the_primitives() -> None:
    """Twice the replicas, half the limit; each term is a measured one."""
    four = measure_limit(4)
    assert four.floor_us == pytest.approx(23 * four.reference_ms / 0.33)
    assert four.requests_per_second == pytest.approx(four.cores / (4 * (four.verify_us + four.floor_us) * 1e-6))
    assert four.interpreter_ms * 1e-3 == pytest.approx(min_cpu_seconds(interpreter_work), rel=0.5)
    assert limit_module.CHECKS_PER_BATCH * four.verify_us / 1e6 > 10 * min_cpu_seconds(reference_work, 3) / 10


def test_percentiles_are_of_nearest_rank() -> None:
    """The value that the share does not exceed; of one value it is that value."""
    hundred = [float(value) for value in range(1, 101)]
    assert [compute_percentile(hundred, share) for share in (0.5, 0.99, 0.999)] == [50.0, 99.0, 100.0]
    assert compute_percentile([7.0], 0.5) == 7.0 and compute_percentile([], 0.5) is None


def test_the_longest_gap_is_found_wherever_it_is() -> None:
    """At the begin, in the middle and at the end of a course."""

    def course(*completed: int) -> list[Point]:
        return [Point(seconds=float(s), completed=count, memory_bytes=0) for s, count in enumerate(completed)]

    assert longest_gap_seconds(course(0, 0, 0, 5, 9)) == 2.0
    assert longest_gap_seconds(course(0, 5, 5, 5, 5, 9)) == 3.0
    assert longest_gap_seconds(course(0, 5, 9, 9, 9)) == 2.0


def test_usage_is_the_difference_of_counts_and_the_later_memory() -> None:
    """A replica that was killed between two readings counts as nothing, never below it."""
    before = Usage(replica=1, cpu_seconds=3.0, journal_syncs=10, memory_bytes=7)
    after = Usage(replica=1, cpu_seconds=5.0, journal_syncs=4, memory_bytes=9)
    assert subtract([after], [before]) == (Usage(replica=1, cpu_seconds=2.0, journal_syncs=0, memory_bytes=9),)


def test_memory_is_read_where_a_worker_hides_its_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is not dumpable shows its maps to root alone: others see what is resident, and no bench ends."""
    held, private = read_memory(os.getpid())
    assert held > private > 1_000_000
    read_text = Path.read_text

    def refuse(path: Path, **options: str) -> str:
        if path.name == "smaps_rollup":
            raise PermissionError(13, "Permission denied")
        return read_text(path, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    resident, anonymous = read_memory(os.getpid())
    assert resident > anonymous > 0.5 * private and resident > 0.9 * held
    assert read_memory(2**22 + 1) == (0, 0)  # no pid is that high


def test_transfers_are_the_same_in_every_run_and_each_account_counts_its_own(tmp_path: Path) -> None:
    """Two workloads of one size make the same requests; every account gets money once before."""
    situation = Situation(network=bytes(32), height=5, time_s=1_000)
    first, second = TransferWorkload(accounts=40), TransferWorkload(accounts=40)
    assert [first.next_request(situation) for _ in range(50)] == [second.next_request(situation) for _ in range(50)]
    cash = next(contract for contract in first.contracts([("a", bytes(32))]) if contract.name == "cash")
    assert cash.arguments == (ContractReference(contract="endowment"),)
    (step,) = first.preparation(Founders(operators=(SigningKey.generate(),), genesis_time_s=0, network=bytes(32)))
    endowed = [account for call in step for account in call.arguments[0]]  # type: ignore[union-attr]
    assert len(endowed) == len(set(endowed)) == 40


WORKLOADS = [NullWorkload(clients=2, payload=size) for size in (0, 256, 16_384, PAYLOAD_BYTES_MAX)]


@pytest.mark.parametrize("workload", [*WORKLOADS, TransferWorkload(accounts=4)])
def test_a_request_has_gas_for_what_it_does(workload: NullWorkload | TransferWorkload, tmp_path: Path) -> None:
    """Every payload that a bench takes: one of 16 kB ran out of gas, and a run of nothing but failures was measured."""
    with closing(SoloLedger(tmp_path, workload)) as solo:
        solo.prepare()
        solo.grow(1, requests=2)  # which asserts that every call succeeds
        assert solo.chain.height >= 1


def test_gas_cuts_no_batch() -> None:
    """Of any size that a bench takes: one of 1,000 was cut to 500, so that larger ones seemed to save nothing."""
    assert GAS_OF_A_REQUEST * PARAMETER_BOUNDS["batch_requests_max"][1] <= ProtocolParameters().block_gas_max


def test_the_window_is_counted_by_blocks_that_a_correct_replica_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The height of f + 1, not that of the fastest; what is certified stands still for eight blocks under load."""

    def answer(*heights: int | None) -> None:
        replicas = [{"height": height, "certified_height": 8} for height in heights]
        monkeypatch.setattr("pbft.bench.run.local_cluster.status", lambda _network: {"replicas": replicas})

    network: Any = None
    answer(31, 30, 29, None)
    assert executed_height(network) == 30
    answer(31, None, None, None)
    with pytest.raises(BenchError, match="silent"):
        executed_height(network)


def test_processor_time_is_that_of_the_window_however_long_replicas_take_to_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine whose two cores are never idle shows 2.0 seconds a second: it showed 2.1, and 2.8 of sixteen replicas,
    while counters were asked for between an edge's clock and its processor time."""
    clock = [100.0]

    def takes(seconds: float, answer: Any) -> Callable[..., Any]:
        def ask(*_asked: object) -> Any:
            clock[0] += seconds
            return answer

        return ask

    class Counting:
        completed = 7

        def forget(self) -> None:
            """Counts from now on."""

        def freeze(self) -> None:
            """Counts no more."""

    def usage(_network: object, processor: ProcessorTime) -> tuple[Usage, ...]:
        clock[0] += 0.7
        return tuple(Usage(replica=name, cpu_seconds=used) for name, (used, _) in processor.items())

    options = BenchOptions(seconds=4.0)
    monkeypatch.setattr(run_module, "time", SimpleNamespace(monotonic=lambda: clock[0], process_time=lambda: clock[0]))
    monkeypatch.setattr(run_module, "_pause", lambda seconds: takes(seconds, None)())
    monkeypatch.setattr(run_module, "executed_height", takes(0.4, 9))
    monkeypatch.setattr(run_module, "read_largest_memory", takes(0.1, 1))
    monkeypatch.setattr(run_module, "read_usage", usage)
    monkeypatch.setattr(run_module, "read_processor_time", lambda *_asked: {0: (2.0 * clock[0], 0.0)})
    monkeypatch.setattr(run_module, "blockingCallFromThread", lambda _reactor, call: call())
    network: Any = SimpleNamespace(replicas=())
    window = run_module._Window(load=cast("Load", Counting()), course=[])
    run_module._watch(network, None, options, Fault(options), window)
    assert window.seconds >= 4.0 and window.client_cpu_seconds == pytest.approx(window.seconds)
    assert window.usage[0].cpu_seconds == pytest.approx(2.0 * window.seconds)
    assert (window.course[0].seconds, window.course[-1].seconds) == (0.0, window.seconds)


def test_a_workload_of_nobody_is_refused() -> None:
    """Also where the options were not asked first."""
    with pytest.raises(BenchError, match="bad_workload"):
        make_workload(BenchOptions(workload="mining"))


@pytest.mark.drill
def test_a_short_run_of_real_processes_counts_what_it_says(tmp_path: Path) -> None:
    """The keys that scripts rely on, figures that agree with each other, and no process or file left."""
    command = [sys.executable, "-m", "pbft.cli", "bench", "--workload", "transfer", "--accounts", "600"]
    command += ["--seconds", "1", "--warm-up", "0.3", "--clients", "40", "--json"]
    environment = {"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["v"] == 1 and report["requests"] > 0 and report["failed"] == 0
    assert report["requests_per_second"] == pytest.approx(report["requests"] / report["seconds"], rel=0.01)
    assert report["ratio_to_limit"] == pytest.approx(
        report["requests_per_second"] / report["limit_requests_per_second"], abs=0.001
    )
    assert report["latency_ms"]["p50"] <= report["latency_ms"]["p99"] <= report["latency_ms"]["p999"]
    assert report["cpu_seconds_per_1000_requests"] > 0 and report["memory_mb_max"] > report["private_mb_max"] > 10
    # Two journal syncs and one of the ledger for each block, at each of four replicas: nothing is batched away. Heights
    # are asked for before counters, so a few blocks at either edge of the window are in one and not in the other.
    synced = (report["blocks"] - EDGE_BLOCKS_MAX) * 4
    assert synced > 0 and report["journal_syncs"] >= synced and report["ledger_syncs"] >= synced
    assert len(report["replicas"]) == 4 and report["verify_us"] > 1 and report["machine"]["cores"] >= 1
    assert report["interpreter_ms"] > 0.1
    assert list(tmp_path.iterdir()) == []
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in read_command(path)]


def read_command(path: Path) -> bytes:
    """A process's command line; empty for one that ended meanwhile."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
