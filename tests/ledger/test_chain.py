"""The chain: two halves of a block, one durable write, answers for ever, and recovery at every crash point."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from vectors.ledger import sample_chain as sample

from ledger import late_values, merkle
from ledger.admission import EXPIRED, NONCE_OUT_OF_WINDOW, RETRY, NonceWindow, nonce_key
from ledger.archive import Archive
from ledger.block import bind_receipts, compute_batch_digest
from ledger.chain import LEDGER_TABLES, Chain
from ledger.encoding import encode
from ledger.errors import InvalidBlock, InvalidCertificate, InvalidGenesis, InvariantViolation, StoreError
from ledger.execution import scheduled_call_id
from ledger.genesis import parse_genesis
from ledger.hashing import NULL_DIGEST
from ledger.payload import make_payload
from ledger.store import MemoryStore, Operation, Put
from ledger.transaction import parse_receipt
from ledger.world_state import GENERATIONS

VALUES_TABLE, TURNS_TABLE = GENERATIONS[0].values, GENERATIONS[0].late

T = sample.TIME_MS


def codes(chain: Chain, height: int) -> list[str]:
    """Status or code of each receipt of a block."""
    receipts = [parse_receipt(data) for data in chain.block(height).receipts]
    return [receipt.code or receipt.status for receipt in receipts]


def test_genesis() -> None:
    """Height 0 links to the genesis file, holds the contracts' first state, and is made once."""
    chain = Chain.open(MemoryStore(LEDGER_TABLES), sample.GENESIS)
    assert not chain.is_created
    with pytest.raises(InvalidBlock, match="not_created"):
        chain.head  # noqa: B018
    header = chain.create(sample.GENESIS_OUTCOME)
    assert chain.is_created
    assert (header.height, header.time_ms, header.parent_hash) == (0, T, sample.GENESIS.network_id)
    assert (header.batch_digest, header.transactions_root) == (NULL_DIGEST, merkle.EMPTY_ROOT)
    assert header.next_config_hash == sample.GENESIS.configuration.hash
    assert chain.create(sample.GENESIS_OUTCOME) == header
    assert chain.block(0).batch_time_ms is None


def test_a_genesis_contract_that_fails_makes_no_chain() -> None:
    """A network never starts half founded."""
    chain = Chain.open(MemoryStore(LEDGER_TABLES), sample.GENESIS)
    failed = replace(sample.GENESIS_OUTCOME, calls=(sample.outcome(status="reverted", code="NO"),))
    with pytest.raises(InvalidGenesis, match="contract"):
        chain.create(failed)
    assert not chain.is_created


def test_a_foreign_genesis_is_refused() -> None:
    """A store belongs to one network."""
    store = MemoryStore(LEDGER_TABLES)
    sample.new_chain(store)
    with pytest.raises(InvalidGenesis) as caught:
        Chain.open(store, parse_genesis(sample.genesis_bytes(name="another")))
    assert caught.value.code == "foreign"


def test_a_block() -> None:
    """Header, receipts and indexes of an ordinary block."""
    chain = sample.new_chain()
    genesis = chain.head
    batch = [sample.transaction(0), sample.transaction(1, method="fail"), sample.transaction(70)]
    block = sample.execute(chain, *batch, time_ms=T + 5)
    header = block.header
    assert (header.height, header.time_ms, header.parent_hash) == (1, T + 5, genesis.hash)
    digest, transactions_root = compute_batch_digest(T + 5, [signed.raw for signed in batch])
    assert (header.batch_digest, header.transactions_root) == (digest, transactions_root)
    assert header.receipts_root == bind_receipts(len(block.receipts), merkle.root(block.receipts))
    assert header.gas_used == 2000
    assert codes(chain, 1) == ["ok", "NO", NONCE_OUT_OF_WINDOW]
    assert chain.block(1) == block
    stored = chain.receipt(batch[1].tx_id)
    assert stored is not None
    assert (stored.height, stored.index, stored.header_hash) == (1, 1, header.hash)
    assert stored.receipt == block.receipts[1]
    assert chain.find_used(sample.CLIENT.public_key, 1) == stored
    assert chain.find_used(sample.CLIENT.public_key, 70) is None, "a refused transaction uses no nonce"
    assert chain.receipt(bytes(32)) is None
    assert chain.nonce_window(sample.CLIENT.public_key) == NonceWindow(2)
    with sample.open_state(chain) as state:
        assert state.get(nonce_key(sample.CLIENT.public_key)) == NonceWindow(2).to_bytes()


def test_agreed_time_never_goes_back() -> None:
    """max(parent, batch); a null request takes its parent's (D4, D32)."""
    chain = sample.new_chain()
    assert sample.execute(chain, time_ms=T + 100).header.time_ms == T + 100
    late = sample.execute(chain, time_ms=T + 50)
    assert late.header.time_ms == T + 100
    assert late.batch_time_ms == T + 50, "the batch's own stamp is kept: its digest covers it"
    null = sample.execute(chain, time_ms=None)
    assert (null.header.time_ms, null.header.batch_digest) == (T + 100, NULL_DIGEST)
    assert null.batch_time_ms is None


def test_the_first_answer_is_the_answer() -> None:
    """The same transaction again, and another one with its nonce, are skipped without a receipt (D43)."""
    chain = sample.new_chain()
    first = sample.transaction(0)
    rival = sample.transaction(0, arguments=("rival",))
    sample.execute(chain, first)
    answer = chain.find_used(sample.CLIENT.public_key, 0)
    block = sample.execute(chain, first, rival, sample.transaction(1))
    assert len(block.transactions) == 3
    assert codes(chain, 2) == ["ok"]
    assert chain.find_used(sample.CLIENT.public_key, 0) == answer == chain.receipt(first.tx_id)
    assert chain.receipt(rival.tx_id) is None


def test_a_refused_transaction_may_execute_later() -> None:
    """RETRY leaves the nonce free; the newest receipt of the same transaction is the final one (D45, D49)."""
    chain = sample.new_chain()
    follower = sample.transaction(1, follows=0)
    sample.execute(chain, follower)
    assert codes(chain, 1) == [RETRY]
    refused = chain.receipt(follower.tx_id)
    sample.execute(chain, sample.transaction(0), follower)
    assert codes(chain, 2) == ["ok", "ok"]
    final = chain.receipt(follower.tx_id)
    assert refused is not None
    assert final is not None
    assert (refused.height, final.height) == (1, 2)
    assert chain.find_used(sample.CLIENT.public_key, 1) == final


def test_the_nonce_of_an_expired_transaction_is_reused() -> None:
    """Expiry by height and by agreed time is a refusal; a new transaction takes the nonce (D45, D46)."""
    chain = sample.new_chain()
    sample.execute(chain, sample.transaction(0, expiry_height=0), sample.transaction(1, expiry_time=T // 1000))
    assert codes(chain, 1) == [EXPIRED, EXPIRED]
    sample.execute(chain, sample.transaction(0), sample.transaction(1))
    assert codes(chain, 2) == ["ok", "ok"]


def test_scheduled_calls_run_first_and_leave_receipts() -> None:
    """next_due_ms follows the schedule; a null block runs what is due; receipts name height, due and id."""
    chain = sample.new_chain()
    assert chain.next_due_ms is None
    due = T // 1000 + 10
    sample.execute(chain, sample.transaction(0, method="later", arguments=(due,)), time_ms=T + 1)
    assert chain.next_due_ms == due * 1000
    sample.execute(chain, time_ms=due * 1000 - 1)
    assert chain.next_due_ms == due * 1000
    block = sample.execute(chain, sample.transaction(1), time_ms=due * 1000)
    assert chain.next_due_ms is None
    scheduled, ordinary = (parse_receipt(data) for data in block.receipts)
    assert scheduled.tx_id == scheduled_call_id(3, due, 1000)
    assert (scheduled.sender, scheduled.nonce, scheduled.status) == (bytes(32), 1000, "ok")
    assert ordinary.tx_id == sample.transaction(1).tx_id
    assert block.header.gas_used == 1011
    stored = chain.receipt(scheduled.tx_id)
    assert stored is not None
    assert stored.index == 0
    assert chain.find_used(bytes(32), 1000) is None, "a scheduled call uses up nobody's nonce"
    assert Chain.open(chain._store, sample.GENESIS).next_due_ms is None


def test_only_the_next_height_is_planned() -> None:
    """A gap and an executed height are refused by their own codes (M12, M47)."""
    chain = sample.new_chain()
    sample.execute(chain)
    for height, code in ((1, "executed"), (0, "executed"), (3, "gap")):
        with pytest.raises(InvalidBlock) as caught:
            chain.plan(height, T, ())
        assert caught.value.code == code
    with pytest.raises(InvalidBlock, match="null"):
        chain.plan(2, None, [sample.transaction(0)])


def test_a_root_that_is_known_is_not_computed_again() -> None:
    """A plan is the same with the root of its transactions and without; one that is given is taken as it is."""
    chain = sample.new_chain()
    batch = [sample.transaction(0), sample.transaction(1)]
    _, root = compute_batch_digest(T + 1, [signed.raw for signed in batch])
    planned = chain.plan(1, T + 1, batch)
    assert chain.plan(1, T + 1, batch, transactions_root=root) == planned
    assert chain.plan(1, T + 1, batch, transactions_root=bytes(32)).transactions_root == bytes(32)


def test_commit_is_a_gate_keyed_by_height() -> None:
    """Committing the same block twice gives the stored one; another block at that height is refused (M47)."""
    chain = sample.new_chain()
    planned = chain.plan(1, T + 1, [sample.transaction(0)])
    other = chain.plan(1, T + 2, [sample.transaction(0)])
    with sample.open_state(chain) as state:
        outcome = sample.run_block(planned.plan, state)
    block = chain.commit(planned, outcome)
    assert chain.commit(planned, outcome) == block
    assert chain.height == 1
    with pytest.raises(InvalidBlock, match="executed"):
        chain.commit(other, outcome)


def test_a_block_is_stored_with_its_sealed_payloads() -> None:
    """D50: the worker gets the values, the store the sealed bytes, and receipts, state and header nothing of either."""
    chain = sample.new_chain()
    commitments, payload = make_payload(["secret value"])
    signed = [sample.transaction(0), sample.transaction(1, commitments=commitments)]
    planned = chain.plan(1, T + 1, signed, {signed[1].tx_id: payload})
    assert [call.private_values for call in planned.plan.calls] == [(), (encode("secret value"),)]
    with sample.open_state(chain) as state:
        outcome = sample.run_block(planned.plan, state)
    chain.commit(planned, outcome, [(signed[1].tx_id, b"sealed")])
    assert [chain.sealed_payload(each.tx_id) for each in signed] == [None, b"sealed"]
    stored = [value for table in LEDGER_TABLES for _, value in chain._store.scan(table)]
    assert stored and not any(b"secret value" in value for value in stored)


def test_a_body_without_its_payloads_stops_the_replica() -> None:
    """D50: no such body is prepared or adopted, so one that reaches the chain is our own fault; nothing is written."""
    chain = sample.new_chain()
    commitments, payload = make_payload([1])
    signed = sample.transaction(0, commitments=commitments)
    for payloads in ({}, {signed.tx_id: b""}):
        with pytest.raises(InvariantViolation, match="payload"):
            chain.plan(1, T + 1, [signed], payloads)
    planned = chain.plan(1, T + 1, [signed], {signed.tx_id: payload})
    with sample.open_state(chain) as state:
        outcome = sample.run_block(planned.plan, state)
    with pytest.raises(InvariantViolation, match="payload"):
        chain.commit(planned, outcome)
    assert chain.height == 0


def test_an_outcome_that_does_not_answer_the_plan_stops_the_replica() -> None:
    """Missing outcomes, a nonce window written by the runtime, a wrong due time: ours, so stop (M26)."""
    for wrong in ({"calls": ()}, {"writes": ((b"n/" + bytes(32), b"x"),)}, {"next_due": 5}):
        chain = sample.new_chain()
        planned = chain.plan(1, T + 1, [sample.transaction(0)])
        with sample.open_state(chain) as state:
            outcome = sample.run_block(planned.plan, state)
        with pytest.raises(InvariantViolation):
            chain.commit(planned, replace(outcome, **wrong))
        assert chain.height == 0, "nothing was written"


def test_certificates() -> None:
    """Stored for executed blocks with that hash, kept once, found by height, newest known after opening."""
    store = MemoryStore(LEDGER_TABLES)
    chain = sample.new_chain(store)
    headers = [sample.execute(chain).header for _ in range(4)]
    assert chain.newest_certificate() is None
    for header in (headers[1], headers[3], headers[0]):
        chain.store_certificate(sample.certify(header))
    again = sample.certify(headers[1], signers=(1, 2, 3))
    chain.store_certificate(again)
    assert chain.certificate(2) == sample.certify(headers[1])
    assert chain.certificate(3) is None
    assert chain.first_certificate(3) == sample.certify(headers[3])
    assert chain.first_certificate(5) is None
    chain.save_certificates()
    for opened in (chain, Chain.open(store, sample.GENESIS)):
        assert opened.newest_certificate() == sample.certify(headers[3])
    with pytest.raises(InvalidCertificate, match="not_executed"):
        chain.store_certificate(replace(sample.certify(headers[3]), height=5))
    with pytest.raises(InvalidCertificate, match="header_hash"):
        chain.store_certificate(replace(sample.certify(headers[3]), height=3))


def test_a_certificate_is_durable_with_the_next_block() -> None:
    """D25: no write of its own for each. Until then it is known, and after a crash the journal has the newest one."""
    store = MemoryStore(LEDGER_TABLES)
    chain = sample.new_chain(store)
    first = sample.execute(chain).header
    chain.store_certificate(sample.certify(first))
    assert chain.certificate(1) == chain.first_certificate(1) == chain.newest_certificate() == sample.certify(first)
    assert Chain.open(store, sample.GENESIS).certificate(1) is None
    second = sample.execute(chain).header
    assert Chain.open(store, sample.GENESIS).certificate(1) == sample.certify(first)
    chain.store_certificate(sample.certify(second))
    assert [chain.first_certificate(height) for height in (1, 2)] == [sample.certify(first), sample.certify(second)]
    chain.save_certificates()
    assert Chain.open(store, sample.GENESIS).newest_certificate() == sample.certify(second)


def test_what_is_not_stored_is_unknown() -> None:
    """A height above the head, and a negative one, are told."""
    chain = sample.new_chain()
    for height in (1, -1):
        with pytest.raises(InvalidBlock, match="unknown"):
            chain.block(height)


# --- crashes ---


class CountingStore(MemoryStore):
    """Power fails at the n-th write: before it reaches the disk, or after it and before the caller hears."""

    def __init__(self, tables: Sequence[str], *, crash_at: int, applied: bool) -> None:
        super().__init__(tables)
        self.writes_left, self.applied = crash_at, applied

    def write(self, operations: Sequence[Operation]) -> None:
        """Fails at its time."""
        self.writes_left -= 1
        if self.writes_left == 0:
            if self.applied:
                super().write(operations)
            raise StoreError("power")
        super().write(operations)


def history(chain: Chain) -> None:
    """Whatever of four blocks is not there yet."""
    if not chain.is_created:
        chain.create(sample.GENESIS_OUTCOME)
    for height in range(chain.height + 1, 5):
        batch = [sample.transaction(2 * height), sample.transaction(2 * height + 1, method="drop")]
        sample.execute(chain, *batch, time_ms=T + height)


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("crash_at", range(1, 6))
def test_every_crash_point_ends_in_the_same_chain(crash_at: int, applied: bool) -> None:
    """Power fails at any write, applied or not: after restart the same headers, roots and receipts (M25f, M51)."""
    expected = sample.new_chain()
    history(expected)
    store = CountingStore(LEDGER_TABLES, crash_at=crash_at, applied=applied)
    chain = Chain.open(store, sample.GENESIS)
    with pytest.raises(StoreError):
        history(chain)
    survivor = store.after_power_loss()
    restarted = Chain.open(survivor, sample.GENESIS)
    assert restarted.is_created == (crash_at > 1 or applied)
    if restarted.is_created:
        assert restarted.height == crash_at - 2 + applied
    history(restarted)
    assert [restarted.header(height) for height in range(5)] == [expected.header(height) for height in range(5)]
    assert [restarted.block(height) for height in range(5)] == [expected.block(height) for height in range(5)]


def test_one_block_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Block, state, receipts, indexes and head become durable together or not at all (D12)."""
    chain = sample.new_chain()
    writes: list[Sequence[Operation]] = []
    real_write = chain._store.write
    monkeypatch.setattr(chain._store, "write", lambda operations: (writes.append(operations), real_write(operations)))
    sample.execute(chain, sample.transaction(0))
    assert len(writes) == 1


def test_a_failed_write_leaves_the_chain_as_it_was() -> None:
    """Nothing is adopted that is not durable."""
    store = MemoryStore(LEDGER_TABLES)
    chain = sample.new_chain(store)
    head, root = chain.head, chain.state.root
    store.fail_writes()
    with pytest.raises(StoreError):
        sample.execute(chain, sample.transaction(0))
    assert (chain.head, chain.state.root) == (head, root)


@pytest.mark.parametrize("damage", [b"", b"\xff" * 40, b"\x90"])
@pytest.mark.parametrize("table", ["headers", "batches", "certificates", VALUES_TABLE, TURNS_TABLE])
def test_a_damaged_record_stops_the_replica(table: str, damage: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not read back as it was written is no input to be refused: nothing can be built on this disk."""
    store = MemoryStore(LEDGER_TABLES)
    chain = sample.new_chain(store)
    if table == VALUES_TABLE:
        monkeypatch.setattr(late_values, "KEYS_BYTES_MAX", 0)  # so that no value waits
    sample.execute(chain, sample.transaction(0))
    chain.store_certificate(sample.certify(chain.head))
    chain.save_certificates()
    client = sample.CLIENT.public_key
    key = {VALUES_TABLE: nonce_key(client), TURNS_TABLE: b"\x02"}.get(table, (1).to_bytes(8, "big"))
    assert store.get(table, key)
    store.write([Put(table, key, damage)])
    reads: dict[str, Callable[[], object]] = {
        "headers": lambda: chain.header(1),
        "batches": lambda: chain.block(1),
        "certificates": lambda: (chain.certificate(1), chain.first_certificate(0)),
        VALUES_TABLE: lambda: Archive(store).nonce_window(client),  # the chain itself knows it without the store
        TURNS_TABLE: lambda: Archive(store).nonce_window(client),
    }
    with pytest.raises(InvariantViolation, match="damaged"):
        reads[table]()


def test_a_damaged_state_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that is not what the head says is found before the replica votes."""
    monkeypatch.setattr(late_values, "KEYS_BYTES_MAX", 0)  # so that nothing waits
    store = MemoryStore(LEDGER_TABLES)
    chain = sample.new_chain(store)
    place, record = next(chain._store.scan(GENERATIONS[0].trie))
    store.write([Put(GENERATIONS[0].trie, place, record[:33] + bytes(32) + record[65:])])  # another entry hash
    with pytest.raises(InvariantViolation, match="state"):
        Chain.open(store, sample.GENESIS)
    assert store.get(VALUES_TABLE, b"c/notes/founded/000") is not None
