"""The one factory of a node: the service and the tests' cluster build every replica through it.

It opens the chain (creating genesis on an empty ledger), reads the journal back, and wires core, driver and execution.
Reactors, sockets, files and clocks stay with the caller.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from ledger.chain import Chain
from ledger.errors import PayloadError
from ledger.execution import BlockOutcome
from ledger.genesis import Genesis
from ledger.keys import Signer
from ledger.payload_vault import PayloadKeys, PayloadVault
from ledger.store import Store
from pbft.core.config import CoreConfiguration
from pbft.core.messages import Batch, Envelope, PeerMessage, SignedMessage
from pbft.core.persisted import LedgerHead, Restored, encode_body, parse_records
from pbft.core.replica import Replica
from pbft.node.driver import Counters, Driver, EvidenceSink, Outbound
from pbft.node.execution import LedgerExecution, Worker
from pbft.node.journal import Journal
from pbft.wire.codec import (
    VerifiedSignatures,
    Verifier,
    WireError,
    WireRules,
    decode_envelope,
    decode_peer,
    encode_envelope,
    encode_peer_frames,
    seal_turn,
)

Decode: TypeAlias = Callable[[bytes, WireRules], PeerMessage]
"""A frame's bytes to its message; raises WireError. Messages never change, so nodes of one process may share them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A replica with everything around its core. The client door takes `chain`, `driver.on_request`, `verifier`."""

    replica: Replica  # read view, primary, heights, pending_count and has_room from it; its verbs are the driver's
    driver: Driver
    chain: Chain
    execution: LedgerExecution  # `execution.subscribe(sink)`: hears of every durable block
    verifier: Verifier
    rules: WireRules


@dataclass(frozen=True, slots=True, kw_only=True)
class WireSealer:
    """`driver.Sealer` over the production codec: the wire's functions with a replica's key, network and rules."""

    replica_id: int
    epoch: int
    key: Signer
    rules: WireRules
    verifier: Verifier
    vault: PayloadVault
    decode_frame: Decode

    def seal(self, messages: tuple[SignedMessage, ...]) -> list[Envelope]:
        """See `Sealer.seal`."""
        network = self.rules.network
        return seal_turn(
            messages, sender=self.replica_id, epoch=self.epoch, network=network, key=self.key, rules=self.rules
        )

    def frames(self, message: PeerMessage) -> Iterable[bytes]:
        """See `Sealer.frames`."""
        return encode_peer_frames(message, self.rules)

    def journal_bytes(self, envelope: Envelope) -> bytes:
        """See `Sealer.journal_bytes`."""
        return encode_envelope(envelope)

    def journal_body(self, batch: Batch) -> bytes:
        """See `Sealer.journal_body`."""
        return encode_body(batch, self.vault.seal)

    def decode(self, frame: bytes) -> PeerMessage:
        """See `Sealer.decode`."""
        return self.decode_frame(frame, self.rules)

    def verify(self, message: PeerMessage) -> None:
        """See `Sealer.verify`."""
        self.verifier.verify_message(message)


def compute_core_configuration(genesis: Genesis, genesis_hash: bytes) -> CoreConfiguration:
    """What the core needs of the genesis, and the header hash of height 0."""
    protocol = genesis.protocol
    return CoreConfiguration(
        network=genesis.network_id,
        genesis_hash=genesis_hash,
        epoch=genesis.configuration.epoch,
        member_count=len(genesis.members),
        window=protocol.window,
        stride=protocol.stride,
        base_timer_ms=protocol.base_timer_ms,
        view_timer_ms=protocol.view_timer_ms,
        batch_requests_max=protocol.batch_requests_max,
        batch_bytes_max=protocol.batch_bytes_max,
        block_gas_max=protocol.block_gas_max,
        transaction_gas_max=protocol.transaction_gas_max,
    )


def read_journal(store: Store, rules: WireRules, vault: PayloadVault) -> Restored:
    """What the journal remembers. Raises DamagedJournal (M26)."""

    def open_payload(tx_id: bytes, sealed: bytes) -> bytes:
        try:
            return vault.open(tx_id, sealed)
        except PayloadError as error:
            raise ValueError(str(error)) from error

    def envelope(data: bytes) -> Envelope:
        try:
            return decode_envelope(data, rules)
        except WireError as error:
            raise ValueError(str(error)) from error

    return parse_records(Journal(store).records(), envelope, open_payload)


def compute_ledger_head(chain: Chain, certified_height: int) -> LedgerHead:
    """What the core must know of the ledger: the headers that can still be voted on, and what is due."""
    return LedgerHead(
        height=chain.height,
        header_hashes={height: chain.header(height).hash for height in range(certified_height, chain.height + 1)},
        next_due_ms=chain.next_due_ms,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a node is built into; each of it stays the caller's."""

    journal_store: Store
    payload_keys: PayloadKeys
    worker: Worker
    outbound: Outbound
    evidence: EvidenceSink
    counters: Counters
    wall_ms: Callable[[], int]  # UTC milliseconds of this machine's clock
    wake: Callable[[], None]  # schedule `driver.flush` for the end of this turn
    on_halt: Callable[[str], None]  # the replica stopped for good, and why
    verified: VerifiedSignatures | None  # shared with other nodes of this process, or None
    decode: Decode


def assemble_node(
    *,
    genesis: Genesis,
    replica_id: int,
    signing_key: Signer,
    journal_store: Store,
    ledger_store: Store,
    payload_keys: PayloadKeys,
    worker: Worker,
    outbound: Outbound,
    evidence: EvidenceSink,
    counters: Counters,
    wall_ms: Callable[[], int],
    wake: Callable[[], None],
    on_halt: Callable[[str], None],
    on_ready: Callable[[Node], None],
    verified: VerifiedSignatures | None = None,
    decode: Decode = decode_peer,
) -> None:
    """Builds a node and hands it to `on_ready`: at once, or when the worker has executed genesis on an empty ledger.

    The other callables are `Surroundings`'. The caller then ticks the driver every TICK_MS and flushes it each turn.
    Raises InvalidGenesis for a store of another network, DamagedJournal for a journal that cannot be trusted, and
    InvariantViolation where journal and ledger contradict each other; for a new ledger when genesis is executed.
    """
    chain = Chain.open(ledger_store, genesis)
    around = Surroundings(
        journal_store=journal_store,
        payload_keys=payload_keys,
        worker=worker,
        outbound=outbound,
        evidence=evidence,
        counters=counters,
        wall_ms=wall_ms,
        wake=wake,
        on_halt=on_halt,
        verified=verified,
        decode=decode,
    )

    def create(outcome: BlockOutcome) -> None:
        chain.create(outcome)
        on_ready(_build(chain, replica_id, signing_key, around))

    if chain.is_created:
        on_ready(_build(chain, replica_id, signing_key, around))
    else:
        worker.run_genesis(genesis.contracts, genesis.time_ms, genesis.network_id, create)


def _build(chain: Chain, replica_id: int, key: Signer, around: Surroundings) -> Node:
    """The node over a chain that has its genesis block."""
    genesis = chain.genesis
    rules = WireRules.of(genesis.configuration)
    verifier = Verifier(genesis.configuration, verified=around.verified)
    vault = PayloadVault(around.payload_keys)
    restored = read_journal(around.journal_store, rules, vault)
    replica = Replica(
        configuration=compute_core_configuration(genesis, chain.header(0).hash),
        replica_id=replica_id,
        signer=key.sign,
        restored=restored,
        ledger=compute_ledger_head(chain, min(restored.certified_height, chain.height)),
    )
    execution = LedgerExecution(chain=chain, worker=around.worker, rules=rules, vault=vault)
    epoch = genesis.configuration.epoch
    driver = Driver(
        replica=replica,
        replica_id=replica_id,
        journal=Journal(around.journal_store),
        sealer=WireSealer(
            replica_id=replica_id,
            epoch=epoch,
            key=key,
            rules=rules,
            verifier=verifier,
            vault=vault,
            decode_frame=around.decode,
        ),
        outbound=around.outbound,
        execution=execution,
        evidence=around.evidence,
        counters=around.counters,
        wall_ms=around.wall_ms,
        wake=around.wake,
        on_halt=around.on_halt,
    )
    return Node(replica=replica, driver=driver, chain=chain, execution=execution, verifier=verifier, rules=rules)
