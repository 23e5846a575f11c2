"""The index of receipts beside dictionaries of all: blocks, starts and snapshots in any order."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors.ledger import sample_chain as sample

from ledger import receipt_index
from ledger.chain import LEDGER_TABLES, Chain
from ledger.encoding import decode, encode
from ledger.errors import InvariantViolation
from ledger.receipt_index import INDEXED_KEY, META_TABLE, IndexStep, ReceiptIndex, place_key
from ledger.receipt_index import RECEIPTS_TABLE as RECEIPTS
from ledger.receipt_runs import RUNS_TABLE
from ledger.store import MemoryStore, Operation, Put
from ledger.transaction import Receipt, parse_receipt

CLIENTS = [bytes([number]) * 32 for number in (0, 1, 2)]  # the first is the sender of scheduled calls

TABLES = (META_TABLE, RECEIPTS, RUNS_TABLE)

receipts = st.builds(
    lambda client, nonce, status: Receipt(
        tx_id=bytes([client, nonce]) * 16, sender=CLIENTS[client], nonce=nonce, status=status, code="", gas_used=0,
        result=b"\xc0", events=(),
    ),
    st.integers(0, 2), st.integers(0, 5), st.sampled_from(["ok", "reverted", "refused"]),
)  # fmt: skip
steps = st.lists(st.one_of(st.lists(receipts, max_size=4), st.sampled_from(["start", "settle"])), max_size=12)


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    """Few receipts fill the memory."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(receipt_index, "PENDING_MAX", 10)
        yield


def block_operations(height: int, block: list[Receipt]) -> list[Operation]:
    return [Put(RECEIPTS, place_key(height, index), receipt.to_bytes()) for index, receipt in enumerate(block)]


def take(store: MemoryStore, index: ReceiptIndex, step: IndexStep, operations: Sequence[Operation] = ()) -> None:
    """Stores and adopts a step."""
    store.write([*operations, *step.operations])
    index.adopt(step)


@given(steps)
def test_it_says_what_dictionaries_would_say(todo: "list[list[Receipt] | str]") -> None:
    """Whatever was settled and however often the ledger is opened; and no more than its bound is in memory."""
    store = MemoryStore(TABLES)
    index, height = ReceiptIndex(), 0
    by_id: dict[bytes, bytes] = {}
    by_nonce: dict[tuple[bytes, int], bytes] = {}
    for step in todo:
        if step == "start":
            store = store.after_power_loss()
            index = ReceiptIndex()
            index.load(store, height, parse_receipt)
        elif step == "settle":
            take(store, index, index.compute_settlement(store, height))
            assert not index.compute_settlement(store, height).operations
        else:
            block = [receipt for receipt in step if isinstance(receipt, Receipt)]
            height += 1
            take(store, index, index.compute_block(store, height, block), block_operations(height, block))
            for place, receipt in enumerate(block):
                by_id[receipt.tx_id] = place_key(height, place)
                if receipt.status != "refused" and receipt.sender != CLIENTS[0]:
                    by_nonce[receipt.sender, receipt.nonce] = place_key(height, place)
        for tx_id in (bytes([client, nonce]) * 16 for client in range(3) for nonce in range(6)):
            assert index.find(store, tx_id) == by_id.get(tx_id)
            assert index.find_recent(tx_id) in (None, by_id.get(tx_id))
        for client in CLIENTS:
            for nonce in range(6):
                assert index.find_used(store, client, nonce) == by_nonce.get((client, nonce))
        assert len(index._young) <= 10


def make_receipt(nonce: int, status: str = "ok") -> Receipt:
    return Receipt(
        tx_id=bytes([nonce]) * 32, sender=CLIENTS[1], nonce=nonce, status=status, code="", gas_used=0, result=b"",
        events=(),
    )  # fmt: skip


def test_a_receipt_that_came_with_a_snapshot_is_newer_for_ever() -> None:
    """An own block below the snapshot has refused what a later one executed: nothing hides it."""
    store, index = MemoryStore(TABLES), ReceiptIndex()
    take(store, index, index.compute_answers(store, [(place_key(50, 0), make_receipt(1))]))
    take(store, index, index.compute_block(store, 40, [make_receipt(1, "refused")]))
    assert index.find(store, bytes([1]) * 32) == place_key(50, 0)
    take(store, index, index.compute_settlement(store, 40))
    assert index.find(store, bytes([1]) * 32) == index.find_used(store, CLIENTS[1], 1) == place_key(50, 0)


def test_what_was_executed_lately_is_found_without_the_store() -> None:
    """As many as fit, also right after memory was written; older ones only in the store."""
    store, index = MemoryStore(TABLES), ReceiptIndex()
    for height in range(1, 9):
        take(store, index, index.compute_block(store, height, [make_receipt(2 * height), make_receipt(2 * height + 1)]))
        for recent in range(max(2, 2 * height - 4), 2 * height + 2):
            assert index.find_recent(bytes([recent]) * 32) == place_key(recent // 2, recent % 2)
    assert index.find_recent(bytes([2]) * 32) is None
    assert index.find(store, bytes([2]) * 32) == place_key(1, 0)


def test_a_copy_reads_with_a_view_of_its_moment() -> None:
    """What is written and merged later changes nothing in it."""
    store, index = MemoryStore(TABLES), ReceiptIndex()
    take(store, index, index.compute_block(store, 1, [make_receipt(1)]))
    twin = index.copy()
    with store.snapshot() as view:
        for height in range(2, 40):
            take(store, index, index.compute_block(store, height, [make_receipt(height)]))
        assert twin.find_used(view, CLIENTS[1], 1) == place_key(1, 0)
        assert twin.find_used(view, CLIENTS[1], 2) is None


def test_a_start_reads_only_what_the_tables_lack() -> None:
    """Blocks up to the settled height are not read again, nor what a snapshot left above the head."""
    store = MemoryStore(LEDGER_TABLES)
    chain = sample.new_chain(store)
    for nonce in range(8):
        sample.execute(chain, sample.transaction(nonce))
    assert decode(store.get(META_TABLE, INDEXED_KEY) or b"")[0] == 6  # type: ignore[index]
    store.write([Put(RECEIPTS, place_key(9, 0), b"not read")])
    read: list[bytes] = []

    def note(data: bytes) -> Receipt:
        read.append(data)
        return parse_receipt(data)

    ReceiptIndex().load(store, 8, note)
    assert [parse_receipt(data).nonce for data in read] == [6, 7]
    reopened = Chain.open(store, sample.GENESIS)
    for nonce in range(8):
        assert reopened.find_used(sample.CLIENT.public_key, nonce) == chain.find_used(sample.CLIENT.public_key, nonce)
        assert reopened.receipt(sample.transaction(nonce).tx_id) is not None


def test_a_pinned_snapshot_costs_no_write() -> None:
    """Whoever asks for one makes no replica sync: it takes a copy of what is in memory."""
    store = MemoryStore(LEDGER_TABLES)
    chain = sample.new_chain(store)
    sample.execute(chain, sample.transaction(0))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store, "write", None)
        chain.pin().close()


@pytest.mark.parametrize("record", [b"", encode((-2, (0, ()))), encode((0, 0)), encode((0,))])
def test_a_damaged_record_stops_the_replica(record: bytes) -> None:
    """It is not taken for an index that holds nothing."""
    store = MemoryStore(TABLES)
    store.write([Put(META_TABLE, INDEXED_KEY, record)])
    with pytest.raises(InvariantViolation, match="damaged"):
        ReceiptIndex().load(store, 0, parse_receipt)
