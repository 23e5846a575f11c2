"""The one factory of a node: the service and the tests' cluster build every replica through it.

It opens the chain (creating genesis on an empty ledger), reads the journal back, and wires core, driver and execution.
Reactors, sockets, files and clocks stay with the caller.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from ledger.chain import Chain
from ledger.errors import InvalidConfiguration, InvariantViolation, PayloadError
from ledger.execution import BlockOutcome
from ledger.genesis import Genesis
from ledger.keys import Signer
from ledger.payload_vault import PayloadKeys, PayloadVault
from ledger.store import Store
from pbft.core.config import OBSERVER, SNAPSHOT_LAG_HEIGHTS
from pbft.core.messages import Batch, Envelope, PeerMessage, SignedMessage
from pbft.core.persisted import (
    CERTIFIED_KEY,
    VIEW_KEY,
    DamagedJournal,
    LedgerHead,
    Restored,
    encode_body,
    encode_certified,
    encode_view,
    parse_records,
)
from pbft.core.replica import Replica
from pbft.node.driver import Counters, Driver, EvidenceSink, Outbound
from pbft.node.epochs import EpochBook
from pbft.node.execution import LedgerExecution, Worker
from pbft.node.journal import Journal
from pbft.node.request_lanes import InlineLanes, Lanes
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
MakeLanes: TypeAlias = Callable[[Verifier], Lanes]
"""Where clients' signatures are checked, by what remembers those that hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A replica with everything around its core.

    The client door takes `chain`, `driver.on_request`, `verifier` and `lanes`.
    """

    replica: Replica  # read view, primary, heights, pending_count and has_room from it; its verbs are the driver's
    driver: Driver
    chain: Chain
    execution: LedgerExecution  # `execution.subscribe(sink)`: hears of every durable block
    verifier: Verifier
    lanes: Lanes
    epochs: EpochBook

    @property
    def rules(self) -> WireRules:
        """The wire's limits, as wide as the epochs decided so far ask for."""
        return self.epochs.rules


@dataclass(frozen=True, slots=True, kw_only=True)
class WireSealer:
    """`driver.Sealer` over the production codec: the wire's functions with a replica's key, network and epochs."""

    epochs: EpochBook
    key: Signer
    verifier: Verifier
    vault: PayloadVault
    decode_frame: Decode

    def seal(self, messages: tuple[SignedMessage, ...]) -> list[Envelope]:
        """See `Sealer.seal`. The messages of a turn are of one epoch, and so is the id under which they are said."""
        epoch, rules = messages[0].epoch, self.epochs.rules
        sender = self.epochs.replica_id(epoch)
        return seal_turn(messages, sender=sender, epoch=epoch, network=rules.network, key=self.key, rules=rules)

    def frames(self, message: PeerMessage) -> Iterable[bytes]:
        """See `Sealer.frames`."""
        return encode_peer_frames(message, self.epochs.rules)

    def journal_bytes(self, envelope: Envelope) -> bytes:
        """See `Sealer.journal_bytes`."""
        return encode_envelope(envelope)

    def journal_body(self, batch: Batch) -> bytes:
        """See `Sealer.journal_body`."""
        return encode_body(batch, self.vault.seal)

    def decode(self, frame: bytes) -> PeerMessage:
        """See `Sealer.decode`."""
        return self.decode_frame(frame, self.epochs.rules)

    def verify(self, message: PeerMessage) -> None:
        """See `Sealer.verify`."""
        self.verifier.verify_message(message)


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


def begin_journal(store: Store, chain: Chain, epochs: EpochBook) -> None:
    """The first record of a journal, before anything is signed or executed: so a journal without one was lost.

    A replica that finds blocks and no journal does not know what it promised. It may go on as an observer, from the
    newest certificate on; under a key that an epoch lists it must not (D37). Raises DamagedJournal.
    """
    journal, epoch = Journal(store), 0
    if journal.find(VIEW_KEY) is not None:
        return
    if chain.is_created:
        newest = chain.newest_certificate()
        certified_height = 0 if newest is None else newest.height
        epoch = chain.configuration(certified_height + 1).epoch
        if epochs.replica_id(epoch) != OBSERVER:
            raise DamagedJournal(VIEW_KEY, "it is missing, and blocks are here: what this key signed is unknown")
        if newest is not None:
            journal.append(CERTIFIED_KEY, encode_certified(newest.height, newest.header_hash, newest))
    journal.append(VIEW_KEY, encode_view(epoch, 0, active=True))
    journal.sync()


def compute_ledger_head(chain: Chain, epochs: EpochBook, restored: Restored) -> LedgerHead:
    """What the core must know of the ledger: the headers that can still be voted on, what is due, and where the epoch
    of the journal ends."""
    certified_height = min(restored.certified_height, chain.height)
    epoch_end, next_epoch = epochs.end_of(restored.epoch, chain.height)
    certificate = chain.newest_certificate()
    if certificate is not None and certificate.epoch != restored.epoch:
        certificate = None
    first = certified_height if certificate is None else max(certified_height, certificate.height)
    return LedgerHead(
        height=chain.height,
        header_hashes={k: chain.header_hash(k) for k in (certified_height, *range(first, chain.height + 1))},
        next_due_ms=chain.next_due_ms,
        epoch_end=epoch_end,
        next_epoch=next_epoch,
        certificate=certificate,
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
    snapshot_lag: int  # behind by more heights, this replica takes a snapshot
    release: Callable[[], None]  # put on the wire what clients were answered, before the ledger is written
    verified: VerifiedSignatures | None  # shared with other nodes of this process, or None
    decode: Decode
    make_lanes: MakeLanes


def assemble_node(
    *,
    genesis: Genesis,
    may_observe: bool = True,
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
    make_lanes: MakeLanes = lambda _: InlineLanes(),
    snapshot_lag: int = SNAPSHOT_LAG_HEIGHTS,
    release: Callable[[], None] = lambda: None,
) -> None:
    """Builds a node and hands it to `on_ready`: at once, or when the worker has executed genesis on an empty ledger.

    The other callables are `Surroundings`'. The caller then ticks the driver every TICK_MS and flushes it each turn.
    Which replica it is follows from its key (`EpochBook`); one that nobody lists is refused with InvalidConfiguration,
    unless it `may_observe`. Raises InvalidGenesis for a store of another network,
    DamagedJournal for a journal that is lost or cannot be trusted, and InvariantViolation where journal and ledger
    contradict each other; for a new ledger when genesis is executed.
    """
    chain = Chain.open(ledger_store, genesis)
    epochs = EpochBook(chain, signing_key.public_key)
    if not may_observe and epochs.replica_id(chain.epochs.newest.epoch) == OBSERVER:
        raise InvalidConfiguration("not_listed", "no epoch to come lists this key", key=signing_key.public_key)
    begin_journal(journal_store, chain, epochs)
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
        release=release,
        verified=verified,
        decode=decode,
        make_lanes=make_lanes,
        snapshot_lag=snapshot_lag,
    )

    def create(outcome: BlockOutcome) -> None:
        chain.create(outcome)
        on_ready(_build(chain, epochs, signing_key, around))

    if chain.is_created:
        on_ready(_build(chain, epochs, signing_key, around))
    else:
        worker.run_genesis(genesis.contracts, genesis.time_ms, genesis.network_id, create)


def _build(chain: Chain, epochs: EpochBook, key: Signer, around: Surroundings) -> Node:
    """The node over a chain that has its genesis block."""
    verifier = Verifier(chain.epochs, verified=around.verified)
    lanes = around.make_lanes(verifier)
    vault = PayloadVault(around.payload_keys)
    restored = read_journal(around.journal_store, epochs.rules, vault)
    if chain.epochs.of(restored.epoch) is None:
        raise InvariantViolation("journal_epoch", expected=chain.epochs.newest.epoch, got=restored.epoch)
    start = epochs.start_of(restored.epoch)
    replica = Replica(
        configuration=start.configuration,
        replica_id=start.replica_id,
        signer=key.sign,
        restored=restored,
        ledger=compute_ledger_head(chain, epochs, restored),
        snapshot_lag=around.snapshot_lag,
        asks=True,
    )
    execution = LedgerExecution(chain=chain, worker=around.worker, epochs=epochs, vault=vault, release=around.release)
    driver = Driver(
        replica=replica,
        journal=Journal(around.journal_store),
        sealer=WireSealer(epochs=epochs, key=key, verifier=verifier, vault=vault, decode_frame=around.decode),
        outbound=around.outbound,
        execution=execution,
        evidence=around.evidence,
        counters=around.counters,
        lanes=lanes,
        wall_ms=around.wall_ms,
        wake=around.wake,
        on_halt=around.on_halt,
    )
    return Node(
        replica=replica,
        driver=driver,
        chain=chain,
        execution=execution,
        verifier=verifier,
        lanes=lanes,
        epochs=epochs,
    )
