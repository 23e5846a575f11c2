"""One bench from nothing to a result: a fresh network, a load, a window, an end. Whatever happens, nothing is left.

The order: what makes no sense is refused; the limit is measured on the idle machine; replicas start in a directory of
their own, on free ports; the workload prepares its network; the load runs, and after a warm-up the window is measured;
then all ends, and the requests of the window are counted in the blocks that a replica stored.
"""

import math
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.internet.threads import blockingCallFromThread

from ledger.archive import LEDGER_TABLES, Archive
from ledger.block import Block
from ledger.errors import InvalidBlock
from ledger.lmdb_store import LmdbStore
from ledger.transaction import Receipt, parse_receipt
from pbft.bench.faults import Fault, make_fault
from pbft.bench.gauge import Usage, read_largest_memory, read_processor_time, read_usage, subtract
from pbft.bench.limit import Limit, measure_limit
from pbft.bench.load import STEP_SECONDS_MAX, Load, require_success
from pbft.bench.options import BenchError, BenchOptions, read_available_bytes, validate_memory
from pbft.bench.workload import Founders, Workload, find_workloads, make_workload, sign_call
from pbft.client.blocking import running_reactor
from pbft.client.network import ClientNetwork, read_network
from pbft.node import local_cluster, local_network
from pbft.node.client_identity import read_client
from pbft.node.identity import read_operator_key, read_passphrase
from pbft.node.local_network import LocalNetwork
from pbft.node.network_config import NetworkDefinition

LOOK_SECONDS: Final = 0.25  # between two points of the course
MEMORY_SECONDS: Final = 5.0  # between two looks at memory: each costs the kernel 5 ms for each process
READY_SECONDS_PER_REPLICA: Final = 15.0  # two cores start four replicas in a few seconds; ten times that
DRAIN_SECONDS_MAX: Final = 20.0  # how long what is outstanding may take after the window
SIGNED_AHEAD_MAX: Final = 60_000  # requests signed before the window: more would expire before they are sent
SIGNED_AHEAD_BYTES_MAX: Final = 200_000_000  # of this process's memory; the rest is signed when it is sent
REQUEST_BYTES: Final = 400  # of a request without its payload, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A moment of the window."""

    seconds: float  # since it began
    completed: int  # requests done so far
    memory_bytes: int  # of the largest replica, workers included, when it was last looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What was measured in the window."""

    options: BenchOptions
    limit: Limit
    unit: str
    units_per_request: int
    seconds: float
    requests: int  # receipts with status ok in blocks that W replicas executed in the window
    failed: int  # receipts with another status there
    blocks: int
    latencies_ms: tuple[float, ...]  # ascending, of what was done in the window
    usage: tuple[Usage, ...]  # of each replica that was measured, in the window
    course: tuple[Point, ...]
    client_cpu_seconds: float  # of this process: the load, signing it included
    refused: dict[str, int]  # by a replica's door, by code; each was sent again
    resent: int
    late: int
    total_cpu_seconds: float  # of all replicas and workers from their start to their end, as the kernel counted it
    fault: dict[str, Any]


def run_bench(options: BenchOptions, say: Callable[[str], None]) -> BenchResult:
    """Raises BenchError, and LocalNetworkError for a network that does not come up; nothing runs any more then."""
    options.validate(find_workloads())
    validate_memory(options.replicas, read_available_bytes())
    fault = make_fault(options)
    say("measure the primitives")
    limit = measure_limit(options.replicas)
    workload = make_workload(options)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="gridquorum-bench-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        network = local_network.prepare(
            directory / "network",
            template=_template(options),
            port_base=options.port_base,
            make_contracts=workload.contracts,
        )
        window = _measure(network, options, workload, fault, say)
        blocks, requests, failed = count_requests(network, window.heights)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return BenchResult(
        options=options,
        limit=limit,
        unit=workload.unit,
        units_per_request=workload.units,
        seconds=window.seconds,
        requests=requests,
        failed=failed,
        blocks=blocks,
        latencies_ms=tuple(sorted(1_000 * seconds for seconds in window.load.latencies)),
        usage=window.usage,
        course=tuple(window.course),
        client_cpu_seconds=window.client_cpu_seconds,
        refused=dict(window.load.refused),
        resent=window.load.resent,
        late=window.load.late,
        total_cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        fault=fault.describe(window.course),
    )


def _template(options: BenchOptions) -> NetworkDefinition:
    return replace(local_network.default_template("bench", options.replicas), protocol=options.protocol)


@dataclass(slots=True, kw_only=True)
class _Window:
    load: Load
    seconds: float = 0.0
    heights: tuple[int, int] = (0, 0)  # executed before and after: the blocks of the window are above the first
    usage: tuple[Usage, ...] = ()
    client_cpu_seconds: float = 0.0
    course: list[Point]


def _measure(
    network: LocalNetwork, options: BenchOptions, workload: Workload, fault: Fault, say: Callable[[str], None]
) -> _Window:
    """The life of the network: everything between its start and its end."""
    with ExitStack() as stack:
        stack.callback(local_cluster.stop, network)
        stack.callback(fault.end, network)
        say(f"start {options.replicas} replicas, each with its contract worker")
        fault.start(network)
        local_cluster.wait_ready(network, timeout_seconds=READY_SECONDS_PER_REPLICA * options.replicas)
        known, reactor = read_network(network.directory), running_reactor()
        identity = read_client(network.client_path).tls
        load: Load = blockingCallFromThread(
            reactor,
            lambda: Load(
                reactor, known, identity, workload.next_request, clients=options.clients, rate=options.rate
            ),
        )  # fmt: skip
        stack.callback(blockingCallFromThread, reactor, load.stop)
        _wait(reactor, load.start, load, "the client's links")
        _prepare(reactor, load, workload, _founders(network, known), say)
        rate = options.rate or _expected_rate(options) / workload.units
        wanted = int(rate * (options.seconds + options.warm_up_seconds))
        ahead = min(wanted, SIGNED_AHEAD_MAX, SIGNED_AHEAD_BYTES_MAX // (options.payload + REQUEST_BYTES))
        say(f"sign {ahead} requests ahead")
        load.sign_ahead(ahead)
        say(f"load: {options.warm_up_seconds:g} s to warm up, {options.seconds:g} s measured")
        blockingCallFromThread(reactor, load.begin)
        _pause(options.warm_up_seconds)
        window = _Window(load=load, course=[])
        _watch(network, reactor, options, fault, window)
        _drain(reactor, load)
        return window


def _expected_rate(options: BenchOptions) -> float:
    """Requests a second to sign ahead for, closed loop: no more than a machine of two cores has been seen to do."""
    return 6_000.0 * 4 / options.replicas


def _watch(network: LocalNetwork, reactor: Any, options: BenchOptions, fault: Fault, window: _Window) -> None:
    """The window: read, wait, read again.

    An edge is the moment at which clock and processor time are read. What has to be asked for, heights and counters,
    takes a loaded replica a turn, and is asked for right after either edge: as late at the end as at the begin.
    """
    load, watched = window.load, fault.watched(network)
    began, own_before, processor = time.monotonic(), time.process_time(), read_processor_time(network, watched)
    blockingCallFromThread(reactor, load.forget)
    window.course.append(Point(seconds=0.0, completed=0, memory_bytes=0))
    first_height = executed_height(network)
    fault.begin(network)
    before = read_usage(network, processor)
    memory_bytes, looked = 0, -math.inf
    while (now := time.monotonic() - began) < options.seconds:
        if now - looked >= MEMORY_SECONDS:
            memory_bytes, looked = read_largest_memory(network, watched), now
        window.course.append(Point(seconds=now, completed=load.completed, memory_bytes=memory_bytes))
        fault.look(network, now)
        _pause(min(LOOK_SECONDS, options.seconds - now))
    window.seconds, processor = time.monotonic() - began, read_processor_time(network, watched)
    window.client_cpu_seconds = time.process_time() - own_before
    blockingCallFromThread(reactor, load.freeze)
    completed = load.completed
    window.heights = first_height, executed_height(network)
    memory_bytes = read_largest_memory(network, watched)
    window.course.append(Point(seconds=window.seconds, completed=completed, memory_bytes=memory_bytes))
    window.usage = subtract(read_usage(network, processor), before)
    fault.finish(network)


def _founders(network: LocalNetwork, known: ClientNetwork) -> Founders:
    operators = tuple(
        read_operator_key(replica.keys_path, passphrase=read_passphrase(replica.passphrase_path))
        for replica in network.replicas
    )
    return Founders(operators=operators, genesis_time_s=known.genesis.time_ms // 1_000, network=known.network_id)


def _prepare(reactor: Any, load: Load, workload: Workload, founders: Founders, say: Callable[[str], None]) -> None:
    """The workload's preparing transactions, step by step. Raises BenchError `preparation_failed`."""
    nonces: dict[bytes, int] = {}
    for step in workload.preparation(founders):
        say(f"prepare the network: {len(step)} transactions")
        raws = []
        for call in step:
            nonce = nonces.get(call.signer.public_key, 0)
            nonces[call.signer.public_key] = nonce + 1
            raws.append(
                sign_call(
                    call.signer, nonce, load.situation, call.contract, call.method, call.arguments, call.gas_limit
                )
            )
        receipts: list[Receipt] = []
        _wait(reactor, partial(load.prepare, raws, receipts.append), load, "preparing")
        require_success(receipts)


def _wait(reactor: Any, ask: Callable[[], Any], load: Load, what: str) -> None:
    """Wait in the caller's thread, as long as anything moves. Raises BenchError `stuck`."""
    deadline = time.monotonic() + STEP_SECONDS_MAX * 5
    done: list[None] = []

    def begin() -> None:
        ask().addCallback(done.append)

    blockingCallFromThread(reactor, begin)
    while not done:
        if time.monotonic() > deadline:
            raise BenchError("stuck", f"{what}: {load.outstanding} without an answer")
        _pause(0.02)


def _drain(reactor: Any, load: Load) -> None:
    """Let what is outstanding end, so that the replicas end in order; what does not is left."""
    done: list[None] = []

    def end() -> None:
        load.end().addCallback(done.append)

    blockingCallFromThread(reactor, end)
    deadline = time.monotonic() + DRAIN_SECONDS_MAX
    while not done and time.monotonic() < deadline:
        _pause(0.02)


def _pause(seconds: float) -> None:
    time.sleep(max(seconds, 0.0))


def executed_height(network: LocalNetwork) -> int:
    """The height that f + 1 replicas have executed, so a correct one has: its block is final. Not the certified one,
    which goes by eight blocks under load, thousands of requests. Raises BenchError `silent` where fewer answer."""
    answers = local_cluster.status(network)["replicas"]
    heights = sorted((entry["height"] or 0 for entry in answers), reverse=True)
    faulty = (len(heights) - 1) // 3
    if heights[faulty] == 0:
        raise BenchError("silent", "too few replicas say how far they are")
    return int(heights[faulty])


def count_requests(network: LocalNetwork, heights: tuple[int, int]) -> tuple[int, int, int]:
    """(blocks, receipts with status ok, receipts with another) above the first height up to the second, as a replica
    that has ended stored them."""
    first, last = heights
    for replica in network.replicas:
        store = LmdbStore(replica.data_path / "ledger", tables=LEDGER_TABLES, readonly=True)
        try:
            archive = Archive(store)
            return last - first, *_count(archive.block(height) for height in range(first + 1, last + 1))
        except InvalidBlock:
            continue  # this replica was behind, or a snapshot skipped some
        finally:
            store.close()
    raise BenchError("no_ledger", f"no replica kept the blocks {first + 1} to {last}")


def _count(blocks: Iterable[Block]) -> tuple[int, int]:
    """One block after the other: a long run has gigabytes of them."""
    succeeded = failed = 0
    for block in blocks:
        ended_well = sum(parse_receipt(receipt).status == "ok" for receipt in block.receipts)
        succeeded, failed = succeeded + ended_well, failed + len(block.receipts) - ended_well
    return succeeded, failed
