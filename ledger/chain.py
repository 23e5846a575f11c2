"""The chain: makes block n + 1 of an ordered batch, stores it, and proves what is stored.

Execution has two halves, because contracts run in another process: `plan` judges every transaction by nonce, order and
expiry (`ledger.admission`) and says what is to be called; `commit` takes the outcome, builds receipts, state root and
header, and writes block, receipts, state, indexes and last executed height in one durable store write (D12). Nothing
happens between the two, so a crash repeats the height as a whole; a block that is executed already is answered from
the store (the deliver gate, M47). The layout of the store and its reads are in `ledger.archive`, the format of proofs
in `ledger.proofs`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger import merkle
from ledger.admission import NonceWindow, RecentWindows, judge_transactions
from ledger.archive import (
    CERTIFICATES_TABLE,
    EPOCHS_TABLE,
    HEAD_KEY,
    LEDGER_TABLES,
    NETWORK_KEY,
    Archive,
    StoredReceipt,
    block_operations,
    payload_operations,
    read_record,
)
from ledger.block import Block, Header, bind_batch, bind_receipt_groups, compute_receipt_groups
from ledger.block_parts import PlannedBlock, earliest_due_ms, make_calls, merge_writes
from ledger.configuration import CONFIGURATION_PREFIX, Configuration, configuration_key
from ledger.epochs import EpochLink, Epochs
from ledger.errors import (
    InvalidBlock,
    InvalidCertificate,
    InvalidGenesis,
    InvalidProof,
    InvariantViolation,
    ProofNotReady,
)
from ledger.execution import BlockOutcome, BlockPlan
from ledger.genesis import Genesis
from ledger.hashing import NULL_DIGEST
from ledger.late_values import LateValues
from ledger.proofs import Evidence, write_receipt_proof, write_state_proof
from ledger.quorum_certificate import QuorumCertificate, parse_certificate
from ledger.receipt_index import META_TABLE, height_key
from ledger.receipts import compute_receipts
from ledger.snapshot import PinnedSnapshot
from ledger.snapshot_install import SnapshotInstaller, discard_idle_state
from ledger.state_trie import StateProof
from ledger.store import Operation, Put, ReadView, Store
from ledger.transaction import SignedTransaction
from ledger.world_state import WorldState

__all__ = ["LEDGER_TABLES", "Chain", "StateProofDraft", "StoredReceipt"]

_NO_PAYLOADS: Final[Mapping[bytes, bytes]] = {}


Sealed = Sequence[tuple[bytes, bytes]]
"""(tx id, sealed payload)."""
Tell = Callable[[Block], None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateProofDraft:
    """A state proof that waits for the certificate of its height or a later one."""

    height: int
    proof: StateProof


class Chain(Archive):
    """The ledger of one replica. `open` it; `create` height 0 if it is new; then `plan` and `commit` each height."""

    def __init__(self, store: Store, genesis: Genesis) -> None:
        super().__init__(store)
        self.genesis = genesis
        self._windows = RecentWindows(super().nonce_windows, super().nonce_window)
        self.epochs = Epochs(genesis.configuration)
        """Which configuration holds at which height; read it, `commit` extends it."""
        self.next_due_ms: int | None = None
        """When the earliest scheduled call is due, None if none waits."""
        self._newest_certificate: QuorumCertificate | None = None
        self._unsaved: dict[int, QuorumCertificate] = {}  # by height: they go with the next block
        network = store.get(META_TABLE, NETWORK_KEY)
        if network is not None and network != genesis.network_id:
            raise InvalidGenesis("foreign", "the store holds another network", expected=genesis.network_id, got=network)
        with store.snapshot() as view:  # one read transaction for all of its short scans
            self.state = WorldState(view)
        if network is not None:
            self._resume()

    @classmethod
    def open(cls, store: Store, genesis: Genesis) -> "Chain":
        """The chain in a store. Raises InvalidGenesis (foreign) where the store belongs to another network,
        InvariantViolation where its state is not what its head says.
        """
        return cls(store, genesis)

    def _resume(self) -> None:
        stored = self._store.get(META_TABLE, HEAD_KEY)
        if stored is None:
            raise InvariantViolation("head", "a created chain has no head")
        head = self.header(int.from_bytes(stored, "big"))
        if self.state.root != head.state_root:
            raise InvariantViolation("state", "damaged world state", expected=head.state_root, got=self.state.root)
        self._head = head
        discard_idle_state(self._store)
        self._read_epochs()
        self.next_due_ms = earliest_due_ms(self.state.values, self._store)
        for _, data in self._store.scan(CERTIFICATES_TABLE, reverse=True):
            self._newest_certificate = read_record(CERTIFICATES_TABLE, parse_certificate, data)
            break
        self._keep_newest_link()

    def _read_epochs(self) -> None:
        """Takes over what the state has decided about epochs, beyond what is known."""
        known = configuration_key(self.epochs.newest.epoch + 1)
        self.epochs.restore(self.state.values.scan(self._store, CONFIGURATION_PREFIX, start=known))

    # --- the head ---

    @property
    def is_created(self) -> bool:
        """Whether height 0 exists."""
        return self._head is not None

    @property
    def head(self) -> Header:
        """The header of the last executed block. Raises InvalidBlock before `create`."""
        if self._head is None:
            raise InvalidBlock("not_created", "the chain has no genesis block yet")
        return self._head

    @property
    def height(self) -> int:
        """The last executed height."""
        return self.head.height

    def configuration(self, height: int) -> Configuration:
        """The configuration in force at a height, at most one window above the head (M57)."""
        return self.epochs.at(height)

    def create(self, genesis_outcome: BlockOutcome) -> Header:
        """Stores height 0: what deploying and initialising the genesis contracts did. Has no receipts.

        Raises InvalidGenesis (contract) if one of the calls did not end ok.
        """
        if self._head is not None:
            return self.header(0)
        for call in genesis_outcome.calls:
            if call.status != "ok":
                raise InvalidGenesis("contract", "a genesis contract failed", status=call.status, code=call.code)
        self.epochs.compute_decided(0, genesis_outcome.writes)  # a contract of genesis decides on no configuration
        with self._store.snapshot() as view:
            update = self.state.compute_update(view, genesis_outcome.writes)
        header = Header(
            network=self.genesis.network_id,
            epoch=0,
            height=0,
            parent_hash=self.genesis.network_id,
            batch_digest=NULL_DIGEST,
            time_ms=self.genesis.time_ms,
            transactions_root=merkle.EMPTY_ROOT,
            receipts_root=bind_receipt_groups(0, ()),
            state_root=update.root,
            gas_used=sum(call.gas_used for call in genesis_outcome.calls),
            next_config_hash=self.genesis.configuration.hash,
        )
        network = Put(META_TABLE, NETWORK_KEY, self.genesis.network_id)
        self._store.write([network, *block_operations(header, None, (), ()), *update.operations])
        self.state.adopt(update)
        self._head = header
        self.next_due_ms = earliest_due_ms(self.state.values, self._store)
        return header

    # --- execution ---

    def plan(
        self,
        height: int,
        batch_time_ms: int | None,
        transactions: Sequence[SignedTransaction],
        payloads: Mapping[bytes, bytes] = _NO_PAYLOADS,
        transactions_root: bytes | None = None,
    ) -> PlannedBlock:
        """Judges an ordered batch (`batch_time_ms` None: the null request) and says what the worker has to call.

        `payloads` holds the verified private payload of each transaction that declares commitments, by tx id (D50).
        `transactions_root` is that of exactly these transactions, None where it is to be computed here.
        Raises InvalidBlock with code ``gap`` or ``executed`` for any height but the next one, InvariantViolation
        (payload) where one is missing: no body without it is ever executed.
        """
        parent = self.head
        if height != parent.height + 1:
            code = "executed" if height <= parent.height else "gap"
            raise InvalidBlock(code, "not the next height", expected=parent.height + 1, got=height)
        if batch_time_ms is None:
            if transactions:
                raise InvalidBlock("null", "a null request has no transactions", got=len(transactions))
            time_ms, batch_digest, transactions_root = parent.time_ms, NULL_DIGEST, merkle.EMPTY_ROOT
        else:
            time_ms = max(parent.time_ms, batch_time_ms)
            if transactions_root is None:
                transactions_root = merkle.root([signed.raw for signed in transactions])
            batch_digest = bind_batch(batch_time_ms, len(transactions), transactions_root)
        verdicts, windows = judge_transactions(transactions, height, time_ms, self.nonce_windows)
        configuration = self.configuration(height)
        parameters = configuration.parameters
        return PlannedBlock(
            plan=BlockPlan(
                height=height,
                time_ms=time_ms,
                network=self.genesis.network_id,
                epoch=configuration.epoch,
                window=parameters.window,
                calls=make_calls(transactions, verdicts, payloads),
                transaction_gas_max=parameters.transaction_gas_max,
                scheduled_gas_max=parameters.scheduled_gas_max,
            ),
            parent_hash=parent.hash,
            batch_time_ms=batch_time_ms,
            batch_digest=batch_digest,
            transactions_root=transactions_root,
            transactions=tuple(transactions),
            verdicts=verdicts,
            windows=windows,
        )

    def commit(self, planned: PlannedBlock, outcome: BlockOutcome, sealed: Sealed = (), tell: Tell = None) -> Block:
        """Builds block and header, and makes them durable with everything that follows from them, in one write.

        `sealed` is of every transaction in the block that declares commitments. `tell` hears of the block just before
        it is written, when nothing but the disk can fail any more (D34).
        A block that is stored already is returned as it is (M47). Raises InvalidBlock (executed) if another one is
        stored at this height, StoreError if the write failed (the replica must stop), and InvariantViolation if the
        outcome does not answer the plan.
        """
        if planned.height <= self.height:
            return self._committed(planned)
        declared = {signed.tx_id for signed in planned.transactions if signed.transaction.commitments}
        if {tx_id for tx_id, _ in sealed} != declared:
            raise InvariantViolation("payload", "not the sealed payloads of this block", expected=len(declared))
        if planned.parent_hash != self.head.hash:
            raise InvalidBlock("parent", "planned on another block", expected=self.head.hash, got=planned.parent_hash)
        next_due_ms = earliest_due_ms(self.state.values, self._store, outcome.writes)
        if next_due_ms != (None if outcome.next_due is None else outcome.next_due * 1000):
            raise InvariantViolation("next_due", "not the schedule", expected=next_due_ms, got=outcome.next_due)
        self.epochs.compute_decided(planned.height, outcome.writes)
        receipts = compute_receipts(planned, outcome)
        leaves = tuple(receipt.to_bytes() for receipt in receipts)
        groups = compute_receipt_groups(leaves)
        with self._store.snapshot() as view:
            update = self.state.compute_update(view, merge_writes(outcome.writes, planned.windows))
            index = self._index.compute_block(view, planned.height, receipts)
        header = Header(
            network=self.genesis.network_id,
            epoch=planned.plan.epoch,
            height=planned.height,
            parent_hash=planned.parent_hash,
            batch_digest=planned.batch_digest,
            time_ms=planned.plan.time_ms,
            transactions_root=planned.transactions_root,
            receipts_root=bind_receipt_groups(len(leaves), groups),
            state_root=update.root,
            gas_used=sum(receipt.gas_used for receipt in receipts),
            next_config_hash=self.configuration(planned.height + 1).hash,
        )
        raws = tuple(signed.raw for signed in planned.transactions)
        operations = block_operations(header, planned.batch_time_ms, raws, leaves, groups)
        operations += index.operations + payload_operations(sealed)
        time_ms = planned.batch_time_ms
        block = Block(header=header, batch_time_ms=time_ms, transactions=raws, receipts=leaves, parsed=tuple(receipts))
        if tell is not None:
            tell(block)
        self._store.write(operations + self._certificate_operations() + update.operations)
        self._unsaved.clear()
        self.state.adopt(update)
        self._windows.keep(planned.windows)
        self._index.adopt(index)
        self.epochs.add_decided(planned.height, outcome.writes)
        self._head = header
        self.next_due_ms = next_due_ms
        return block

    def _committed(self, planned: PlannedBlock) -> Block:
        block = self.block(planned.height)
        if (block.header.batch_digest, block.header.parent_hash) != (planned.batch_digest, planned.parent_hash):
            raise InvalidBlock("executed", "another block is stored at this height", got=planned.batch_digest)
        return block

    # --- snapshots ---

    def pin(self) -> PinnedSnapshot:
        """The ledger as it is after the head, for replicas that are far behind."""
        state = self.state
        return PinnedSnapshot(
            self._store.snapshot(), state.values.copy(), state.trie.copy(), self._index.copy(), self.head
        )

    def receive_snapshot(self, header: Header, certificate: QuorumCertificate) -> SnapshotInstaller:
        """Begins to receive the snapshot of a certified header above the head; an earlier attempt is thrown away.

        Raises InvalidSnapshot, or InvariantViolation (forked) where the certified chain does not hold the own head.
        """
        return SnapshotInstaller(self._store, self._index, self.head, header, certificate)

    def install(self, snapshot: SnapshotInstaller) -> Header:
        """Makes a snapshot that is all here the ledger: head, state and certificate change in one durable write (D39).

        Blocks between the old head and the new one are skipped for good. Raises InvalidSnapshot where it is not whole,
        or the own head has passed it.
        """
        self.save_certificates()
        gaps = snapshot.switch(self.height, self.gaps)
        self.state, self._head, self.gaps = snapshot.state, snapshot.header, gaps
        self._windows.clear()
        self.settle_index()  # else a start would read the answers of all that was skipped
        self._newest_certificate = snapshot.certificate
        self._read_epochs()
        self._keep_newest_link()
        self.next_due_ms = earliest_due_ms(self.state.values, self._store)
        discard_idle_state(self._store)
        return snapshot.header

    def settle_index(self) -> None:
        """Puts all of the index of receipts into its table."""
        step = self._index.compute_settlement(self._store, self.height)
        if step.operations:
            self._store.write(step.operations)
        self._index.adopt(step)

    def _values(self, view: ReadView) -> LateValues:
        return self.state.values

    def nonce_window(self, client: bytes) -> NonceWindow:
        """See `Archive.nonce_window`; of a client that was active lately without the store."""
        return self._windows.one(client)

    def nonce_windows(self, clients: Collection[bytes]) -> dict[bytes, NonceWindow]:
        """See `Archive.nonce_windows`; of clients that were active lately without the store."""
        return self._windows.of(clients)

    # --- certificates ---

    def newest_certificate(self) -> QuorumCertificate | None:
        """The stored certificate of the greatest height."""
        return self._newest_certificate

    def store_certificate(self, certificate: QuorumCertificate) -> None:
        """Keeps a verified certificate of an executed block (D25). One that is stored already is kept.

        It is durable with the next block, or when `save_certificates` is called: a write of its own for each would be a
        second sync of the disk per block. Until then the journal holds the newest one. That of an epoch's last height
        is durable at once. Raises InvalidCertificate where the block is not executed here or has another header hash.
        """
        height = certificate.height
        if height > self.height:
            raise InvalidCertificate("not_executed", expected_max=self.height, got=height)
        header_hash = self.header_hash(height)
        if certificate.header_hash != header_hash:
            raise InvalidCertificate("header_hash", expected=header_hash, got=certificate.header_hash)
        if self.certificate(height) is None:
            self._unsaved[height] = certificate
            if links := self._link_operations(certificate):
                self._save_certificates(links)
        newest = self._newest_certificate
        if newest is None or newest.height < height:
            self._newest_certificate = certificate

    def save_certificates(self) -> None:
        """Makes durable what waits for the next block."""
        if self._unsaved:
            self._save_certificates([])

    def _save_certificates(self, further: Sequence[Operation]) -> None:
        self._store.write([*self._certificate_operations(), *further])
        self._unsaved.clear()

    def _certificate_operations(self) -> list[Operation]:
        return [Put(CERTIFICATES_TABLE, height_key(height), kept.to_bytes()) for height, kept in self._unsaved.items()]

    def certificate(self, height: int) -> QuorumCertificate | None:
        """See `Archive.certificate`; what is not durable yet counts too."""
        return self._unsaved.get(height) or super().certificate(height)

    def first_certificate(self, height: int) -> QuorumCertificate | None:
        """See `Archive.first_certificate`; what is not durable yet counts too."""
        above = [kept for kept in self._unsaved.values() if kept.height >= height]
        stored = super().first_certificate(height)
        return min(above if stored is None else [*above, stored], key=lambda kept: kept.height, default=None)

    def _link_operations(self, certificate: QuorumCertificate) -> list[Operation]:
        """What keeps the link that this certificate makes, if it is that of an epoch's last height."""
        header = self.header(certificate.height)
        if header.height != self.epochs.last_height(header.epoch) or self.epoch_link(header.epoch) is not None:
            return []
        document = self.configuration(header.height + 1).to_bytes()
        link = EpochLink(header=header, certificate=certificate, document=document)
        return [Put(EPOCHS_TABLE, height_key(header.epoch), link.to_bytes())]

    def _keep_newest_link(self) -> None:
        """A snapshot of an epoch's last height brings no link: it is made then, or at the next opening."""
        newest = self._newest_certificate
        if newest is not None and newest.height <= self.height and (missing := self._link_operations(newest)):
            self._store.write(missing)

    # --- proofs ---

    def receipt_proof(self, tx_id: bytes) -> bytes:
        """A proof file for the newest receipt of a transaction. Raises InvalidProof (unknown) where there is none,
        ProofNotReady until its block or a later one is certified.
        """
        stored = self.receipt(tx_id)
        if stored is None:
            raise InvalidProof("unknown", "no receipt of this transaction is stored", tx_id=tx_id)
        path = self.receipt_path(stored.height, stored.index)
        return write_receipt_proof(stored.receipt, path, stored.index, self._evidence(stored.height))

    def state_proof(self, key: bytes) -> bytes:
        """A proof file for a key's value, or its absence, after the head. Raises ProofNotReady until the head is
        certified; under load, `draft_state_proof` now and `complete_state_proof` after the next certificate.
        """
        return self.complete_state_proof(self.draft_state_proof(key))

    def draft_state_proof(self, key: bytes) -> StateProofDraft:
        """The path of a key under the head's state root, to be completed once the head is certified."""
        with self._store.snapshot() as view:
            return StateProofDraft(height=self.height, proof=self.state.prove(view, key))

    def complete_state_proof(self, draft: StateProofDraft) -> bytes:
        """The proof file of a draft. Raises ProofNotReady."""
        return write_state_proof(draft.proof, self._evidence(draft.height))

    def _evidence(self, height: int) -> Evidence:
        """What leads from genesis to the header of a height. An epoch's last height is certified, so the headers from
        there to the certificate are of one epoch; behind a snapshot, its link alone may keep that certificate.
        """
        certificate, link = self.first_certificate(height), self.epoch_link(self.header(height).epoch)
        if link is not None and (certificate is None or certificate.height > link.header.height):
            certificate = link.certificate
        if certificate is None:
            raise ProofNotReady("not_certified", "no certificate at or above this height yet", height=height)
        return Evidence(
            epochs=self.epoch_links(certificate.epoch),
            headers=tuple(self.header(number) for number in range(height, certificate.height + 1)),
            certificate=certificate,
        )
