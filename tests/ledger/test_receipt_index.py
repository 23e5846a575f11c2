"""The index of receipts beside one that is in the tables with each block: blocks, starts and snapshots in any order."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors.ledger import sample_chain as sample

from ledger import receipt_index
from ledger.chain import LEDGER_TABLES, Chain
from ledger.receipt_index import BY_ID_TABLE, BY_NONCE_TABLE, ReceiptIndex, height_key, nonce_place, place_key
from ledger.receipt_index import RECEIPTS_TABLE as RECEIPTS
from ledger.store import MemoryStore, Operation, Put
from ledger.transaction import Receipt, parse_receipt

CLIENTS = [bytes([number]) * 32 for number in (0, 1, 2)]  # the first is the sender of scheduled calls

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
        patched.setattr(receipt_index, "PENDING_MAX", 5)
        yield


def block_operations(height: int, block: list[Receipt]) -> list[Operation]:
    return [Put(RECEIPTS, place_key(height, index), receipt.to_bytes()) for index, receipt in enumerate(block)]


@given(steps)
def test_it_says_what_tables_would_say(todo: "list[list[Receipt] | str]") -> None:
    """Whatever was settled and however often the ledger is opened; and no more than its bound is in memory."""
    store = MemoryStore((receipt_index.META_TABLE, RECEIPTS, BY_ID_TABLE, BY_NONCE_TABLE))
    index, height = ReceiptIndex(store), 0
    by_id: dict[bytes, bytes] = {}
    by_nonce: dict[bytes, bytes] = {}
    for step in todo:
        if step == "start":
            store = store.after_power_loss()
            index = ReceiptIndex(store)
            index.load(height, parse_receipt)
        elif step == "settle":
            store.write(index.compute_settlement(height))
            index.clear()
        else:
            block = [receipt for receipt in step if isinstance(receipt, Receipt)]
            height += 1
            operations = index.compute_operations(height, block)
            store.write([*block_operations(height, block), *operations])
            index.adopt(height, block, operations)
            for place, receipt in enumerate(block):
                by_id[receipt.tx_id] = place_key(height, place)
                if receipt.status != "refused" and receipt.sender != CLIENTS[0]:
                    by_nonce[nonce_place(receipt.sender, receipt.nonce)] = place_key(height, place)
        ids = [bytes([client, nonce]) * 16 for client in range(3) for nonce in range(6)]
        assert index.find(ids) == by_id
        for client in CLIENTS:
            for nonce in range(6):
                assert index.find_used(client, nonce) == by_nonce.get(nonce_place(client, nonce))
        assert len(index._by_id) <= 5


def test_a_receipt_that_came_with_a_snapshot_is_newer_for_ever() -> None:
    """An own block below the snapshot has refused what a later one executed: nothing hides it."""
    store = MemoryStore((receipt_index.META_TABLE, RECEIPTS, BY_ID_TABLE, BY_NONCE_TABLE))
    index = ReceiptIndex(store)
    refused = Receipt(
        tx_id=b"t" * 32, sender=CLIENTS[1], nonce=1, status="refused", code="RETRY", gas_used=0, result=b"", events=()
    )
    store.write([Put(BY_ID_TABLE, b"t" * 32, place_key(50, 0))])
    index.adopt(40, [refused], [])
    assert index.find([b"t" * 32]) == {b"t" * 32: place_key(50, 0)}
    store.write(index.compute_settlement(40))
    assert store.get(BY_ID_TABLE, b"t" * 32) == place_key(50, 0)


def test_a_start_reads_only_what_the_tables_lack() -> None:
    """Blocks up to the settled height are not read again, nor what a snapshot left above the head."""
    store = MemoryStore(LEDGER_TABLES)
    chain = sample.new_chain(store)
    for nonce in range(8):
        sample.execute(chain, sample.transaction(nonce))
    assert store.get(receipt_index.META_TABLE, receipt_index.INDEXED_KEY) == height_key(6)
    store.write([Put(RECEIPTS, place_key(9, 0), b"not read")])
    read: list[bytes] = []

    def note(data: bytes) -> Receipt:
        read.append(data)
        return parse_receipt(data)

    index = ReceiptIndex(store)
    index.load(8, note)
    assert [parse_receipt(data).nonce for data in read] == [6, 7]
    reopened = Chain.open(store, sample.GENESIS)
    for nonce in range(8):
        assert reopened.find_used(sample.CLIENT.public_key, nonce) == chain.find_used(sample.CLIENT.public_key, nonce)
        assert reopened.receipt(sample.transaction(nonce).tx_id) is not None


def test_a_pinned_snapshot_and_an_installed_one_have_everything_in_the_tables() -> None:
    """Others read the answers from the tables of a view, and a start does not read what was skipped."""
    store = MemoryStore(LEDGER_TABLES)
    chain = sample.new_chain(store)
    sample.execute(chain, sample.transaction(0))
    key = nonce_place(sample.CLIENT.public_key, 0)
    assert store.get(BY_NONCE_TABLE, key) is None
    chain.pin()._view.close()
    assert store.get(BY_NONCE_TABLE, key) == place_key(1, 0)
    assert chain.find_used(sample.CLIENT.public_key, 0) is not None
