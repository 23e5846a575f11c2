"""The running replica: the composition root. Here, and only here, stores, keys, links, ports and timers come together.

It owns the order of starting and stopping. Its rules: nothing listens to others before the self-tests, the lock of the
data directory and the genesis have been checked; what fails later stops the whole process, since half a replica is
worse than none; stopping ends within `STOP_SECONDS_MAX`. It starts no thread, and its one timer is the tick. What a
replica does is left to the core, the driver and the ledger.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from twisted.internet import defer, task
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from ledger.block import Block, Header
from ledger.build import BUILD
from ledger.chain import LEDGER_TABLES
from ledger.errors import InvalidConfiguration, InvariantViolation, LedgerError
from ledger.genesis import Genesis
from ledger.lmdb_store import LmdbStore
from ledger.log_store import LogStore
from ledger.payload_vault import PayloadKeyFiles
from pbft.core.config import SNAPSHOT_LAG_HEIGHTS, TICK_MS
from pbft.core.messages import Request
from pbft.core.persisted import DamagedJournal
from pbft.node.assembly import Node, assemble_node
from pbft.node.client_door import ClientDoor
from pbft.node.client_port import ClientPort
from pbft.node.data_directory import DataDirectory, StartRefused
from pbft.node.evidence_store import EvidenceStore
from pbft.node.host_checks import check_host
from pbft.node.identity import ReplicaIdentity
from pbft.node.journal import JOURNAL_TABLE, Journal
from pbft.node.log import Logger
from pbft.node.metrics import Metrics, metrics_text
from pbft.node.network_config import NetworkDefinition, ReplicaDefinition
from pbft.node.ops_port import listen_ops, make_site
from pbft.node.process_edge import StopOnError, wall_ms
from pbft.node.prompt import TurnEnd
from pbft.node.request_lanes import InlineLanes, Lanes, RequestPool
from pbft.node.start_count import count_start, hold_keys
from pbft.node.status_page import UNKNOWN, Parts, compute_state, describe_parts
from pbft.node.transport import PeerTransport, listen_clients
from pbft.node.verifier_processes import VerifierProcesses
from pbft.node.worker_process import ProcessWorker
from pbft.wire.codec import Verifier, WireRules

OPS_HOST: Final = "127.0.0.1"  # whatever the definition says of the others: operators reach it through their own means
STOP_SECONDS_MAX: Final = 8.0  # of the 10 s that an operator's tools wait after SIGTERM
TICK_SECONDS: Final = TICK_MS / 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """What one replica runs on. Consensus-critical values are in the genesis, not here."""

    definition: NetworkDefinition
    replica_id: int
    identity: ReplicaIdentity
    keys_path: Path  # where the identity was read: starts are counted there
    data_path: Path
    snapshot_lag: int = SNAPSHOT_LAG_HEIGHTS  # behind by more heights, it takes a snapshot
    verifiers: int = 0  # processes that check clients' signatures; 0: the main process does (`verifier_count`)
    is_recovering: bool = False  # start although no epoch lists the consensus key: as an observer (D37)
    genesis: bytes | None = None  # a genesis file that must be the network's; None builds it from the definition

    @property
    def entry(self) -> ReplicaDefinition:
        return self.definition.replica(self.replica_id)


REPAIR: Final = (
    "if the disk decayed, the repair is a new disk, an empty data directory and a new consensus key: what this replica "
    "promised under the old one is no longer known (D37)"
)

RECOVERY: Final = (
    "start with --recover to follow as an observer, which signs nothing, until governance has listed it (D37)"
)


def make_service(config: ServiceConfig, reactor: Any, log: Logger) -> "ReplicaService":
    """A service that is not started. Raises StartRefused as `check_host` does."""
    check_host()
    return ReplicaService(config, reactor, log)


class ReplicaService:
    """One replica in this process. `start` opens everything; `stopped` fires once, with a failure's cause or None."""

    def __init__(self, config: ServiceConfig, reactor: Any, log: Logger) -> None:
        self.metrics = Metrics()
        self.stopped: defer.Deferred[str | None] = defer.Deferred()
        self._config = config
        self._reactor = reactor
        self._log = log
        self._guard = StopOnError(self.fail)
        self._parts: Parts | None = None  # None until genesis has been executed
        self._ledger: LmdbStore | None = None
        self._verifiers: VerifierProcesses | None = None  # where there are any
        self._cause: str | None = None  # why this replica halted, or stopped executing
        self._is_stopping = False
        self._flush_is_due = False
        self._turn_end = TurnEnd(self._wake)  # what is written to links leaves when the driver's turn has ended
        self._turn_whole = TurnEnd(self._wake)  # what a turn brought for verifiers goes to them or on: never in a block
        self._closers: list[Callable[[], Any]] = []  # called in reverse order; each may give a Deferred
        self._ticker = task.LoopingCall(self._tick)
        self._ticker.clock = reactor
        self._last_tick: float | None = None
        self._followed: tuple[int, WireRules] | None = None  # the epoch and the limits that links follow

    # -- starting --

    def start(self) -> None:
        """Open everything and begin. Raises StartRefused after closing again what was opened."""
        config = self._config
        try:
            data = DataDirectory(config.data_path)
            self._closers.append(data.close)
            self._closers.append(hold_keys(config.keys_path))
            genesis = data.settle_genesis(config.definition, config.genesis)
            self._listen_ops()
            journal = LogStore(data.journal_path, tables=(JOURNAL_TABLE,))
            self._closers.append(journal.close)
            count_start(
                config.keys_path,
                network=genesis.network_id,
                public_key=config.identity.card.consensus_key,
                journal=Journal(journal),
            )
            ledger = LmdbStore(data.ledger_path, tables=LEDGER_TABLES)
            self._closers.append(ledger.close)
            self._ledger = ledger
            self._assemble(genesis, journal, ledger, data)
        except StartRefused:
            self.stop()
            raise
        except InvalidConfiguration as error:
            self.stop()
            raise StartRefused("not_listed", f"{error}; {RECOVERY}") from error
        except (LedgerError, InvariantViolation, DamagedJournal) as error:  # a foreign or damaged store
            self.stop()
            raise StartRefused("damaged", f"{config.data_path}: {error}; {REPAIR}") from error

    def _listen_ops(self) -> None:
        site = make_site(status=self.status, metrics_text=self._metrics_text)
        self._listen("ops", lambda port: listen_ops(self._reactor, OPS_HOST, port, site))

    def _listen(self, use: str, listen: Callable[[int], Any]) -> None:
        """Listen on a port of the definition. Raises StartRefused `port_taken` naming port and replica."""
        port: int = getattr(self._config.entry, f"{use}_port")
        try:
            listening = listen(port)
        except CannotListenError as error:
            text = f"r{self._config.replica_id} cannot listen on its {use} port {port}: {error.socketError}"
            raise StartRefused("port_taken", text) from error
        self._closers.append(listening.stopListening)

    def _assemble(self, genesis: Genesis, journal: LogStore, ledger: LmdbStore, data: DataDirectory) -> None:
        config = self._config
        worker = ProcessWorker(
            self._reactor,
            ledger_path=data.ledger_path,
            metrics=self.metrics,
            log=self._log,
            guard=self._guard,
            on_stopped=self._execution_stopped,
        )
        worker.start()
        self._closers.append(worker.stop)
        evidence = EvidenceStore(data.evidence_path, genesis.network_id, self._log)
        transport = PeerTransport(
            self._reactor,
            replica_id=config.replica_id,
            definition=config.definition,
            network=genesis.network_id,
            identity=config.identity.transport,
            rules=WireRules.of(genesis.configuration),
            on_message=self._receive_frame,
            refused=self.metrics.links_refused_total,
            dropped=self.metrics.queue_dropped_total,
            log=self._log,
            turn=self._turn_end,
        )
        assemble_node(
            genesis=genesis,
            may_observe=config.is_recovering,
            signing_key=config.identity.consensus,
            journal_store=journal,
            ledger_store=ledger,
            payload_keys=PayloadKeyFiles(data.payload_keys_path, config.identity.payload_root_key),
            worker=worker,
            outbound=transport,
            evidence=evidence,
            counters=self.metrics,
            wall_ms=wall_ms,
            wake=self._wake,
            on_halt=self._halt,
            release=self._turn_end.run,
            snapshot_lag=config.snapshot_lag,
            make_lanes=self._make_lanes,
            on_ready=lambda node: self._begin(node, worker, transport, evidence),
        )

    def _make_lanes(self, verifier: Verifier) -> Lanes:
        """Where clients' signatures are checked: here, or in processes of their own, which start now."""
        if not self._config.verifiers:
            return InlineLanes()
        pool = RequestPool(
            verifier,
            at_turn_end=lambda send: self._turn_whole.callLater(0, send),
            guard=self._guard,
            metrics=self.metrics,
        )
        self._verifiers = VerifierProcesses(
            self._reactor, count=self._config.verifiers, pool=pool, metrics=self.metrics, log=self._log
        )
        self._verifiers.start()
        self._closers.append(self._verifiers.stop)
        return pool

    def _begin(self, node: Node, worker: ProcessWorker, transport: PeerTransport, evidence: EvidenceStore) -> None:
        """The node is whole: let clients and replicas in, and let time pass."""
        if self._is_stopping:
            return
        config, genesis = self._config, node.chain.genesis
        door = ClientDoor(
            chain=node.chain,
            network=genesis.network_id,
            verifier=node.verifier,
            submit=self._submit,
            views=worker,
            is_executing=lambda: worker.is_executing,
            standing=node.replica,
            metrics=self.metrics,
            lanes=node.lanes,
            halted=lambda: node.driver.halted,
        )
        self._parts = Parts(
            node=node, worker=worker, verifiers=self._verifiers, transport=transport, evidence=evidence, door=door
        )
        self._closers.append(node.execution.snapshots.close)
        self._closers.append(node.execution.close)
        self._follow_epoch(self._parts)
        node.execution.subscribe(self)
        node.execution.subscribe(door)
        port = ClientPort(door=door, metrics=self.metrics, log=self._log, on_fault=self.fail)
        clients = listen_clients(
            self._reactor,
            config.entry.host,
            config.entry.client_port,
            identity=config.identity.transport,
            authorities=genesis.client_authorities,
            network=genesis.network_id,
            replica_id=config.replica_id,
            on_link=port.link_opened,
            refused=self.metrics.links_refused_total,
            turn=self._turn_end,
        )
        clients.addCallback(self._keep_listener)
        self._closers.append(transport.stop)
        replicas = transport.start()
        listening: list[defer.Deferred[Any]] = [clients, replicas]
        defer.gatherResults(listening, consumeErrors=True).addCallbacks(self._opened, self._not_opened)

    def _follow_epoch(self, parts: Parts) -> None:
        """Links are those of the core's epoch, and as wide as the epochs decided so far ask for (D41)."""
        node = parts.node
        configuration = node.chain.epochs.of(node.replica.epoch)
        assert configuration is not None, "a replica is in an epoch that its chain knows"
        parts.transport.follow(configuration.members, node.rules.peer_frame_bytes_max)
        if self.metrics.epoch != node.replica.epoch:
            self._log.info(
                "epoch", epoch=node.replica.epoch, height=node.replica.certified_height, count=configuration.n
            )
        self._followed = (node.replica.epoch, node.rules)
        self.metrics.epoch = node.replica.epoch

    def _keep_listener(self, listener: Any) -> None:
        self._closers.append(listener.stopListening)

    def _opened(self, _ports: object) -> None:
        entry = self._config.entry
        ports = {"p2p": entry.p2p_port, "client": entry.client_port, "ops": entry.ops_port}
        if self._parts is not None and not self._is_stopping:
            parts = self._parts
            height, worker_pid = parts.node.chain.height, parts.worker.pid
            self._log.info("started", ports=ports, height=height, worker_pid=worker_pid, build=BUILD)
            self._ticker.start(TICK_SECONDS)

    def _not_opened(self, failure: Failure) -> None:
        cause = failure.value.subFailure.value if isinstance(failure.value, defer.FirstError) else failure.value
        self.fail(f"r{self._config.replica_id} cannot listen: {cause}")

    # -- running --

    def _submit(self, request: Request) -> None:
        if self._parts is not None and not self._is_stopping:
            with self._guard:
                self._parts.node.driver.on_request(request)

    def _receive_frame(self, sender: int, frame: bytes, on_refused: Callable[[], bool]) -> None:
        if self._parts is not None and not self._is_stopping:
            with self._guard:
                self._parts.node.driver.on_frame(sender, frame, on_refused)

    def _wake(self) -> None:
        """The driver has work: end its turn when this reactor turn has handed in everything it brings."""
        if not self._flush_is_due:
            self._flush_is_due = True
            self._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        self._turn_end.run()  # answers about what is durable wait for no promise of this turn
        self._turn_whole.run()
        if self._parts is not None and not self._is_stopping:
            with self._guard:
                self._parts.node.driver.flush()
        self._flush_is_due = False  # not before: what the driver has written leaves below, and needs no other turn
        self._turn_end.run()

    def _tick(self) -> None:
        now = self._reactor.seconds()
        if self._last_tick is not None:
            self.metrics.reactor_lag_seconds = max(now - self._last_tick - TICK_SECONDS, 0.0)
        self._last_tick = now
        if self._parts is not None:
            with self._guard:
                self._parts.node.driver.tick()
                self._parts.door.tick()
            self._refresh_metrics(self._parts)

    def _refresh_metrics(self, parts: Parts) -> None:
        replica, metrics = parts.node.replica, self.metrics
        if (replica.epoch, parts.node.rules) != self._followed:
            self._follow_epoch(parts)
            metrics.view = replica.view  # views begin anew: no view change
        if replica.view != metrics.view:
            self._log.info("view", view=replica.view, primary=replica.primary)
            metrics.view_changes_total += 1
        metrics.view = replica.view
        metrics.certified_height = replica.certified_height
        metrics.is_primary = int(self._state() == "primary")
        metrics.peers_connected = len(parts.transport.connected)
        metrics.peer_sent_bytes_total = parts.transport.sent_bytes
        metrics.ledger_syncs_total = self._ledger.syncs if self._ledger is not None else 0
        receiving = parts.node.execution.snapshots.receiving
        metrics.snapshot_height = 0 if receiving is None else receiving.header.height
        metrics.snapshot_chunks_served_total = parts.node.execution.snapshots.served

    def block_made(self, block: Block) -> None:
        """A block will be durable; it counts when it is."""

    def block_executed(self, block: Block) -> None:
        """A block is durable: count it. No content of a transaction is looked at."""
        header, metrics = block.header, self.metrics
        metrics.height = header.height
        metrics.blocks_total += 1
        metrics.gas_used_total += header.gas_used
        metrics.last_block_timestamp_seconds = header.time_ms // 1_000
        for receipt in block.read_receipts():
            metrics.transactions_total[receipt.status] += 1
        self._log.info(
            "block",
            height=header.height,
            header_hash=header.hash,
            state_root=header.state_root,
            transactions=len(block.transactions),
            gas_used=header.gas_used,
        )

    def snapshot_installed(self, header: Header) -> None:
        """A snapshot took the ledger past blocks."""
        self.metrics.height = header.height
        self.metrics.last_block_timestamp_seconds = header.time_ms // 1_000
        self._log.info("snapshot", height=header.height, header_hash=header.hash, state_root=header.state_root)

    def _execution_stopped(self, cause: str) -> None:
        """D54: the worker gave up on a block. Ordering goes on, execution does not."""
        self._cause = cause
        self.metrics.execution_stopped = 1
        self._log.error("execution_stopped", cause=cause)

    def _halt(self, cause: str) -> None:
        """The driver stopped for good. The process stays to say why; a restart reads what is durable."""
        self._cause = cause
        self._log.critical("halted", cause=cause)

    # -- looking --

    def _state(self) -> str:
        return "starting" if self._parts is None or not self._ticker.running else compute_state(self._parts.node)

    def status(self) -> dict[str, Any]:
        """What `/status` shows: this replica alone, as it sees itself."""
        config = self._config
        answer: dict[str, Any] = {
            "v": 1,
            "replica": config.replica_id,
            "name": config.entry.name,
            "version": version("gridquorum"),
            "network": config.definition.name,
            "state": self._state(),
            "cause": self._cause,
            "pid": os.getpid(),
            "worker_restarts": self.metrics.worker_restarts_total.total(),
        }
        return answer | (UNKNOWN if self._parts is None else describe_parts(self._parts, self._cause))

    def _metrics_text(self) -> bytes:
        return metrics_text(self.metrics, replica=f"r{self._config.replica_id}", version=version("gridquorum"))

    # -- stopping --

    def fail(self, cause: str) -> None:
        """Stop the whole process because of an error of ours; `stopped` reports it."""
        self._cause = self._cause or cause
        self._log.critical("failed", cause=cause)
        self.stop(cause)

    def stop(self, cause: str | None = None) -> "defer.Deferred[str | None]":
        """Close everything, last opened first, within `STOP_SECONDS_MAX`. Twice is once."""
        if self._is_stopping:
            return self.stopped
        if self._ticker.running:
            self._ticker.stop()
            if cause is None:
                self._flush()  # what came in with the last turn is answered
        self._is_stopping = True
        closing = defer.ensureDeferred(self._close())
        closing.addTimeout(STOP_SECONDS_MAX, self._reactor)
        closing.addErrback(lambda failure: self._log.error("stop", cause=failure.getErrorMessage()))
        closing.addCallback(lambda _: self.stopped.callback(cause))
        return self.stopped

    async def _close(self) -> None:
        while self._closers:
            await defer.maybeDeferred(self._closers.pop())
