"""What a transfer costs a replica, in one process: door, wire, core, journal, execution and ledger, without sockets.

    make costs        (PYTHONPATH=tests python -m benchmarks.replica_cost [--replicas 4] [--batch 500] [--profile])

Production nodes with their stores, joined by a queue of frames; contracts run in this process, their plans and outcomes
as bytes. The figure is CPU time per request and replica, the minimum of several batches, and its ratio to a reference
measured between them: neighbours on the machine only ever add to either. The reference is of the same kinds of work in
about the same shares - the interpreter over small objects, Ed25519, SHA-256 - so that another machine moves both alike.
"""

import argparse
import cProfile
import hashlib
import json
import math
import pstats
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import nacl.bindings

from contracts.runtime import Runtime
from ledger.build import BUILD
from ledger.chain import LEDGER_TABLES
from ledger.configuration import ProtocolParameters
from ledger.execution import BlockOutcome, BlockPlan, parse_block_outcome, parse_block_plan
from ledger.genesis import Genesis, parse_genesis, write_genesis
from ledger.late_records import PARTS
from ledger.lmdb_store import LmdbStore
from ledger.log_store import LogStore
from ledger.payload_vault import MemoryPayloadKeys
from pbft.bench.limit import cpu_seconds
from pbft.bench.workload import Founders, Situation, TransferWorkload, sign_call
from pbft.node.assembly import Node, assemble_node
from pbft.node.client_door import ClientDoor
from pbft.node.inline_worker import InlineWorker
from pbft.node.journal import JOURNAL_TABLE
from pbft.node.metrics import Metrics
from pbft.node.process_edge import settle_collector
from pbft.node.request_lanes import InlineLanes, Lanes
from pbft.simulation.founding import GENESIS_TIME_MS, make_member, operator_key, replica_key
from pbft.wire.client_frames import (
    ReplicaFrame,
    Replies,
    Submit,
    decode_client_frame,
    encode_client_frame,
    encode_replica_frame,
)
from pbft.wire.codec import Verifier


class BytesWorker(InlineWorker):
    """Plans and outcomes cross as bytes, as they do between the processes."""

    def run_block(self, plan: BlockPlan, on_outcome: Callable[[BlockOutcome], None]) -> None:
        super().run_block(
            parse_block_plan(plan.to_bytes()), lambda outcome: on_outcome(parse_block_outcome(outcome.to_bytes()))
        )


class NoEvidence:
    """Nobody lies here."""

    def record(self, *_arguments: object) -> bool:
        raise AssertionError("evidence in a benchmark")


class Pit:
    """n nodes and a queue of frames between them."""

    def __init__(self, directory: Path, replicas: int, batch: int, accounts: int, stack: ExitStack) -> None:
        self.workload = TransferWorkload(accounts=accounts)
        self.genesis = self._make_genesis(replicas, batch)
        self.now_ms = GENESIS_TIME_MS + 1
        self.queue: deque[tuple[int, int, bytes]] = deque()
        self.nodes: list[Node] = []
        self.doors: list[ClientDoor] = []
        self.replies: list[int] = []  # correlations that the primary's door has answered
        for replica in range(replicas):
            self._start(directory, replica, stack)
        self._fund()

    def _make_genesis(self, replicas: int, batch: int) -> Genesis:
        members = [make_member(replica, replica) for replica in range(replicas)]
        founders = [(member.name, member.operator_key) for member in members]
        return parse_genesis(
            write_genesis(
                name="pit",
                time_ms=GENESIS_TIME_MS,
                protocol=ProtocolParameters(batch_requests_max=batch),
                members=members,
                client_authorities=[operator_key(0).public_key],
                contracts=self.workload.contracts(founders),
            )
        )

    def make_lanes(self, memory: Verifier) -> Lanes:
        """Where the signatures of a node that remembers here are checked: where they stand."""
        return InlineLanes()

    def wait(self) -> bool:
        """Lets verdicts come in, where signatures are checked elsewhere; False once none is outstanding."""
        return False

    def _start(self, directory: Path, replica: int, stack: ExitStack) -> None:
        journal = LogStore(directory / f"r{replica}" / "journal", tables=(JOURNAL_TABLE,))
        stack.callback(journal.close)
        ledger = LmdbStore(directory / f"r{replica}" / "ledger", tables=LEDGER_TABLES)
        stack.callback(ledger.close)
        worker = BytesWorker(Runtime(), ledger)
        assemble_node(
            genesis=self.genesis,
            signing_key=replica_key(replica),
            journal_store=journal,
            ledger_store=ledger,
            payload_keys=MemoryPayloadKeys(bytes(32)),
            worker=worker,
            outbound=Mouth(self, replica),
            evidence=NoEvidence(),  # type: ignore[arg-type]
            counters=Metrics(),
            wall_ms=lambda: self.now_ms,
            wake=lambda: None,
            on_halt=lambda reason: None,
            on_ready=self.nodes.append,
            make_lanes=self.make_lanes,
        )
        node = self.nodes[replica]
        door = ClientDoor(
            chain=node.chain,
            network=self.genesis.network_id,
            verifier=node.verifier,
            submit=node.driver.on_request,
            views=worker,
            is_executing=lambda: False,
            standing=node.replica,
            metrics=Metrics(),
            lanes=node.lanes,
        )
        node.execution.subscribe(door)
        self.doors.append(door)

    def _fund(self) -> None:
        """Lets the replicas find each other, then gives every account its money."""
        (step,) = self.workload.preparation(Founders(operators=(), genesis_time_s=0, network=self.genesis.network_id))
        for _ in range(3):
            self.pass_time()
        raws = [
            sign_call(call.signer, 0, self.situation, call.contract, call.method, call.arguments, call.gas_limit)
            for call in step
        ]
        self.run(raws)

    @property
    def situation(self) -> Situation:
        """Where this network is."""
        network, height = self.genesis.network_id, self.nodes[0].chain.height
        return Situation(network=network, height=height, time_s=self.now_ms // 1_000)

    def pass_time(self) -> None:
        """A tick for everybody, and all that follows."""
        self.now_ms += 50
        for node in self.nodes:
            node.driver.tick()
        self.settle()

    def settle(self) -> None:
        """Turns until nobody has anything to say: each node takes all that waits for it, as a reactor's turn does."""
        while True:
            for node in self.nodes:
                node.driver.flush()
            if not self.queue:
                if self.wait():
                    continue
                return
            frames, self.queue = self.queue, deque()
            for sender, receiver, frame in frames:
                self.nodes[receiver].driver.on_frame(sender, frame)

    def run(self, raws: Sequence[bytes]) -> None:
        """Transactions through the primary's door, until each has its answer there."""
        visit = self.doors[0].open(self._answer, bytes(32))
        self.replies.clear()
        for correlation, raw in enumerate(raws):
            frame = encode_client_frame(Submit(correlation=correlation, transaction=raw))
            self.doors[0].receive(visit, decode_client_frame(frame))
        self.settle()
        for _ in range(20):
            if len(self.replies) == len(raws):
                return
            self.pass_time()
        raise AssertionError(f"{len(self.replies)} of {len(raws)} answered")

    def _answer(self, frame: ReplicaFrame) -> None:
        assert isinstance(frame, Replies), frame
        encode_replica_frame(frame)
        self.replies.extend(correlation for correlation, _ in frame.replies)

    def make_requests(self, count: int) -> list[bytes]:
        """The next transfers."""
        return [self.workload.next_request(self.situation) for _ in range(count)]


class Mouth:
    """`driver.Outbound` into the queue."""

    def __init__(self, pit: Pit, replica: int) -> None:
        self._pit = pit
        self._replica = replica

    def send(self, replica_id: int, frame: bytes) -> None:
        """To one replica."""
        self._pit.queue.append((self._replica, replica_id, frame))

    def broadcast(self, frame: bytes) -> None:
        """To all others."""
        for receiver in range(len(self._pit.genesis.members)):
            if receiver != self._replica:
                self.send(receiver, frame)


_KEY, _SECRET = nacl.bindings.crypto_sign_seed_keypair(bytes(32))
_SIGNED = nacl.bindings.crypto_sign(bytes(232), _SECRET)


def reference() -> int:
    """About 7 ms here: signatures checked, hashes, and many small bytes, tuples and dictionaries. Nothing of ours."""
    for _ in range(32):
        nacl.bindings.crypto_sign_open(_SIGNED, _KEY)
    table: dict[bytes, tuple[int, bytes]] = {}
    for number in range(4_000):
        key = hashlib.sha256(number.to_bytes(8, "big")).digest()
        table[key] = (number, key[:8] + b"reference")
    out = bytearray()
    for key, (number, value) in sorted(table.items()):
        if key[0] & 1 and value.startswith(key[:4]):
            out += number.to_bytes(4, "big")
        else:
            out.append(len(value))
    return len(out)


@dataclass(slots=True, kw_only=True)
class ReplicaCost:
    """CPU seconds of a transfer at a replica, and of the reference: the least of all that was measured so far."""

    seconds: float = math.inf
    reference_seconds: float = math.inf

    @property
    def ratio(self) -> float:
        """Transfers in thousandths of a reference: what a change is seen by, on any machine."""
        return 1_000 * self.seconds / self.reference_seconds


class CostMeter:
    """A pit, measured round by round: more rounds only bring the figures nearer to what they are without neighbours."""

    def __init__(self, stack: ExitStack, *, replicas: int = 4, batch: int = 500, accounts: int = 2_000) -> None:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        self.pit = Pit(Path(folder), replicas, batch, accounts, stack)
        self._batch = batch
        self.cost = ReplicaCost()
        settle_collector()  # as a replica's process does

    def warm_up(self) -> None:
        """As many batches as it takes until each writes the buckets that waited for it (`ledger.late_records`)."""
        for _ in range(PARTS):
            self.pit.run(self.pit.make_requests(self._batch))

    def measure(self) -> ReplicaCost:
        """One batch, with references before it."""
        raws = self.pit.make_requests(self._batch)
        for _ in range(8):
            self.cost.reference_seconds = min(self.cost.reference_seconds, cpu_seconds(reference))
        seconds = cpu_seconds(lambda: self.pit.run(raws)) / self._batch / len(self.pit.nodes)
        self.cost.seconds = min(self.cost.seconds, seconds)
        return self.cost


def main(argv: list[str] | None = None) -> None:
    """Prints the figure, or a profile of one batch."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--replicas", type=int, default=4)
    options.add_argument("--batch", type=int, default=500)
    options.add_argument("--accounts", type=int, default=20_000)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--profile", action="store_true")
    options.add_argument("--json", action="store_true")
    asked = options.parse_args(argv)
    with ExitStack() as stack:
        meter = CostMeter(stack, replicas=asked.replicas, batch=asked.batch, accounts=asked.accounts)
        meter.warm_up()
        if asked.profile:
            raws = meter.pit.make_requests(asked.batch)
            with cProfile.Profile(process_time) as profile:
                meter.pit.run(raws)
            pstats.Stats(profile).sort_stats("tottime").print_stats(60)
            return
        for _ in range(asked.repeats):
            cost = meter.measure()
    if asked.json:
        print(json.dumps([{"us": round(cost.seconds * 1e6, 1), "ratio": round(cost.ratio, 1), "build": BUILD}]))
        return
    print(f"{cost.seconds * 1e6:.1f} us per transfer and replica: {cost.ratio:.1f} thousandths of the reference")


if __name__ == "__main__":
    main()
