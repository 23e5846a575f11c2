"""The bridge from an ordered batch to a durable block: plan, run in the contract worker, commit, report.

One block at a time, in order, from one place (M47). What a contract does is the worker's; what a block is, the chain's;
this module knows when which of them is asked, and who hears of it. Reply sinks hear of a block when the
journal or the ledger holds it.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from contracts.verdict import SourceVerdict
from ledger.block import Block, Header
from ledger.block_parts import PlannedBlock
from ledger.chain import Chain
from ledger.epochs import EpochLink
from ledger.errors import InvalidBlock, InvalidCertificate, InvariantViolation, PayloadError, StoreError
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome
from ledger.genesis import GenesisContract
from ledger.payload_vault import PayloadVault
from ledger.quorum_certificate import QuorumCertificate
from ledger.transaction import parse_transaction
from pbft.core.messages import Batch, BlockBody, Blocks, Executed, Request, SnapshotInstalled
from pbft.node.epochs import EpochBook
from pbft.node.snapshots import Snapshots
from pbft.wire.codec import parse_request
from pbft.wire.limits import BLOCKS_MAX, NUMBER_MAX

BLOCKS_BYTES_MAX: Final = (
    2_097_152  # in one answer to a replica that lags: two full blocks, payloads included; one at least
)

CERTIFICATE_TICKS: Final = 20  # a certificate waits so long for the next block, to be durable with it


class Worker(Protocol):
    """The contract runtime, wherever it runs. Callbacks may come at once or in a later reactor turn, in order."""

    def run_block(self, plan: BlockPlan, on_outcome: Callable[[BlockOutcome], None]) -> None:
        """Executes a block on the state after the chain's head."""
        ...

    def check_source(self, source: bytes, on_verdict: Callable[[SourceVerdict], None]) -> None:
        """Checks a contract's source; where no worker survives that, the verdict's code is `UNSURVIVED` (D53)."""
        ...

    def run_view(
        self, call: Call, height: int, time_ms: int, network: bytes, on_outcome: Callable[[CallOutcome], None]
    ) -> None:
        """Answers a read from the state after the chain's head; nothing is written."""
        ...

    def run_genesis(
        self,
        contracts: Sequence[GenesisContract],
        time_ms: int,
        network: bytes,
        on_outcome: Callable[[BlockOutcome], None],
    ) -> None:
        """Deploys and initialises the genesis contracts on the empty state."""
        ...


class ReplySink(Protocol):
    """Who answers clients: told of every block, once or twice."""

    def block_made(self, block: Block) -> None:
        """The block above the chain's head, not durable in the ledger yet. The journal holds what makes it again, so
        clients may be told (D34). Not every block is told of before it is durable."""
        ...

    def block_executed(self, block: Block) -> None:
        """The block at the chain's head, durable."""
        ...

    def snapshot_installed(self, header: Header) -> None:
        """A snapshot took the ledger to this header, past blocks that nobody hears of."""
        ...


class LedgerExecution:
    """Executes what the core orders, and serves what was executed."""

    def __init__(
        self,
        *,
        chain: Chain,
        worker: Worker,
        epochs: EpochBook,
        vault: PayloadVault,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        """`release` puts on the wire what was answered so far, before a write of the ledger."""
        self._release = release
        self.snapshots = Snapshots(chain, epochs)
        self._chain = chain
        self._vault = vault
        self._worker = worker
        self._epochs = epochs
        self._sinks: list[ReplySink] = []
        self._running: int | None = None
        self._quiet_ticks = 0  # since the last block or certificate
        self._on_executed: Callable[[Executed], None] | None = None
        self._on_fault: Callable[[str], None] | None = None

    def start(self, on_executed: Callable[[Executed], None], on_fault: Callable[[str], None]) -> None:
        """Names who hears that a block is durable, and who stops the replica when one cannot be made."""
        self._on_executed = on_executed
        self._on_fault = on_fault

    def tick(self) -> None:
        """Time passes: to be called every `pbft.core.config.TICK_MS`."""
        self.snapshots.tick()
        self._quiet_ticks += 1
        if self._quiet_ticks == CERTIFICATE_TICKS:
            self._chain.save_certificates()

    def subscribe(self, sink: ReplySink) -> None:
        """From now on `sink` hears of every block."""
        self._sinks.append(sink)

    def execute(self, height: int, batch: Batch | None, *, is_journaled: bool) -> None:
        """Executes the block of `height`: exactly one above the chain's head, and nothing else meanwhile.

        `is_journaled`: the own journal holds the batch and that it was prepared, so clients hear of the block before
        the ledger has it (D34); a crash between the two makes the same block again, from the journal.
        """
        if self._running is not None:
            raise InvariantViolation("executing_twice", running=self._running, asked=height)
        self._running = height
        requests = () if batch is None else batch.requests
        payloads = {request.tx_id: request.payload for request in requests if request.payload}
        transactions = [request.signed or parse_transaction(request.raw) for request in requests]
        time_ms, root = (None, None) if batch is None else (batch.time_ms, batch.transactions_root)
        planned = self._chain.plan(height, time_ms, transactions, payloads, root)
        tell = self._tell if is_journaled else None
        self._worker.run_block(planned.plan, lambda outcome: self._commit(planned, outcome, payloads, tell))

    def _tell(self, block: Block) -> None:
        """Clients have their answers while the disk is written."""
        for sink in self._sinks:
            sink.block_made(block)
        self._release()

    def _commit(
        self,
        planned: PlannedBlock,
        outcome: BlockOutcome,
        payloads: Mapping[bytes, bytes],
        tell: Callable[[Block], None] | None,
    ) -> None:
        """The worker's word, at once or in a later turn: told to clients, made durable, then reported to the core."""
        assert self._on_executed is not None and self._on_fault is not None
        try:
            time_ms = planned.batch_time_ms or 0
            sealed = [(tx_id, self._vault.seal(time_ms, tx_id, payload)) for tx_id, payload in payloads.items()]
            block = self._chain.commit(planned, outcome, sealed, tell)
        except (StoreError, InvalidBlock, InvariantViolation) as error:
            self._on_fault(f"block {planned.height} could not be stored: {error}")
            return
        self._running, self._quiet_ticks = None, 0
        epoch_end, next_epoch = self._epochs.end_of(block.header.epoch, block.header.height)
        self._on_executed(
            Executed(
                height=block.header.height,
                header_hash=block.header.hash,
                time_ms=block.header.time_ms,
                gas_used=block.header.gas_used,
                next_due_ms=self._chain.next_due_ms,
                finished=tuple(signed.tx_id for signed in planned.transactions),
                used=tuple(
                    (signed.transaction.sender, signed.transaction.nonce)
                    for signed, verdict in zip(planned.transactions, planned.verdicts, strict=True)
                    if verdict.is_executed
                ),
                epoch_end=epoch_end,
                next_epoch=next_epoch,
            )
        )
        self.snapshots.process_executed(block.header.height)
        for sink in self._sinks:
            sink.block_executed(block)

    def check_source(self, source: bytes, on_verdict: Callable[[SourceVerdict], None]) -> None:
        """Asks the worker, between two blocks, whether a source is a contract (D53)."""
        self._worker.check_source(source, on_verdict)

    def install_snapshot(self, pending: Iterable[Request]) -> SnapshotInstalled:
        """Makes the snapshot that is whole the ledger, and tells who answers clients. No block may be executing."""
        if self._running is not None:
            raise InvariantViolation("executing_twice", "a block runs while a snapshot is installed")
        header, installed = self.snapshots.install(pending)
        for sink in self._sinks:
            sink.snapshot_installed(header)
        return installed

    def is_used(self, request: Request) -> bool:
        """Whether the request's nonce is used: then it has its answer, and nothing needs to be ordered (D43)."""
        return self._chain.nonce_window(request.client).is_used(request.nonce)

    def store_certificate(self, certificate: QuorumCertificate) -> None:
        """Keeps a certificate for proofs and for laggards. One that contradicts the ledger stops the replica."""
        self._quiet_ticks = 0
        try:
            self._chain.store_certificate(certificate)
        except InvalidCertificate as error:
            raise InvariantViolation("certificate_against_ledger", str(error)) from error

    def close(self) -> None:
        """The replica ends in order: what waits for the next block is made durable, unless the store has failed."""
        with contextlib.suppress(StoreError):
            self._chain.save_certificates()

    def compute_blocks(self, first_height: int) -> Blocks | None:
        """Blocks from `first_height` on, within one answer's limits, or None where none is executed (D28).

        The answer ends at the highest certified height in reach, so that its receiver can adopt all of it at once, and
        never after an epoch: what lies above is judged by other keys, which its receiver learns by executing these.
        """
        bodies: list[BlockBody] = []
        size = 0
        epoch_end = self._chain.epochs.last_height(self._chain.configuration(first_height).epoch)
        last_height = min(self._chain.height, first_height + BLOCKS_MAX - 1, epoch_end or NUMBER_MAX)
        for height in range(first_height, last_height + 1):
            body = self._compute_body(self._chain.block(height)) if self._chain.has_body(height) else None
            if body is None:
                break
            size += 0 if body.batch is None else body.batch.size_bytes
            if bodies and size > BLOCKS_BYTES_MAX:
                break
            bodies.append(body)
        if not bodies:
            return None
        for count in range(len(bodies), 0, -1):
            certificate = self._chain.certificate(first_height + count - 1)
            if certificate is not None:
                return Blocks(first_height=first_height, blocks=tuple(bodies[:count]), certificate=certificate)
        return Blocks(first_height=first_height, blocks=tuple(bodies), certificate=None)

    def epoch_end_certificate(self, epoch: int) -> QuorumCertificate | None:
        """The certificate of an epoch's last height: all that a replica in that epoch needs to leave it (D41, M59)."""
        link = self._chain.epoch_link(epoch)
        return None if link is None else link.certificate

    def epoch_links(self, epoch: int) -> tuple[EpochLink, ...]:
        """The way from genesis to an epoch that this replica is in, or was in (M54)."""
        return self._chain.epoch_links(epoch)

    def _compute_body(self, block: Block) -> BlockBody | None:
        """A block with its payloads. None where one is erased: then nobody re-executes it, and whoever is below takes
        the certified snapshot above it (D52)."""
        batch = None
        if block.batch_time_ms is not None:
            try:
                requests = tuple(self._compute_request(raw) for raw in block.transactions)
            except PayloadError as error:
                if error.code == "erased":
                    return None
                raise InvariantViolation("damaged", f"a payload at height {block.header.height}: {error}") from None
            batch = Batch(time_ms=block.batch_time_ms, requests=requests, digest=block.header.batch_digest)
        return BlockBody(header=block.header.to_bytes(), batch=batch)

    def _compute_request(self, raw: bytes) -> Request:
        """A stored transaction with its payload, opened. Raises PayloadError."""
        request = parse_request(raw, self._epochs.rules)
        if request.payload is not None:
            return request
        sealed = self._chain.sealed_payload(request.tx_id)
        if sealed is None:
            raise InvariantViolation("payload", "a stored block lacks a payload", tx_id=request.tx_id)
        return replace(request, payload=self._vault.open(request.tx_id, sealed))
