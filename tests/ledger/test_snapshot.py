"""Snapshots between two ledgers: everything that must travel does, no lie is taken, and a crash leaves old or new."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from vectors.ledger import sample_chain as sample

from ledger import archive, merkle, snapshot, snapshot_install
from ledger.block import ReceiptPath, verify_receipt_path
from ledger.chain import LEDGER_TABLES, Chain
from ledger.encoding import decode, encode
from ledger.errors import InvalidBlock, InvalidProof, InvalidSnapshot, InvariantViolation, StoreError
from ledger.proofs import VerifiedReceipt, VerifiedState, verify_proof
from ledger.snapshot import PinnedSnapshot, parse_position
from ledger.snapshot_install import SnapshotInstaller
from ledger.store import MemoryStore, Operation, PutMany
from ledger.transaction import parse_receipt
from ledger.value_count import has_more_values
from ledger.world_state import GENERATIONS

T = sample.TIME_MS
CLIENTS = (sample.CLIENT, sample.OTHER_CLIENT, *(sample.seeded_key(f"client {number}") for number in range(6)))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few items a chunk, so that a small ledger takes many."""
    monkeypatch.setattr(snapshot, "CHUNK_ENTRIES_MAX", 7)
    monkeypatch.setattr(snapshot, "CHUNK_HEADERS_MAX", 3)
    monkeypatch.setattr(snapshot, "CHUNK_ANSWERS_MAX", 11)


def grow(chain: Chain, blocks: int) -> None:
    """Blocks of one transaction of every client, receipts of each kind, and calls on the schedule."""
    for _ in range(blocks):
        height = chain.height + 1
        batch = [
            sample.transaction(height - 1, client=client, method="fail" if height % 3 == index else "put")
            for index, client in enumerate(CLIENTS)
        ]
        due = T // 1000 + height + 5
        batch.append(sample.transaction(2 * height, client=CLIENTS[0], expiry_height=1))  # refused
        if height % 4 == 0:
            batch.append(sample.transaction(height + 40, client=CLIENTS[1], method="later", arguments=(due,)))
        sample.execute(chain, *batch, time_ms=T + 1000 * height)


def make_source(blocks: int = 20) -> Chain:
    """A chain whose head is certified."""
    chain = sample.new_chain()
    grow(chain, blocks)
    chain.store_certificate(sample.certify(chain.head))
    return chain


def make_laggard(store: MemoryStore | None = None, blocks: int = 2) -> Chain:
    """A chain that stopped early."""
    chain = sample.new_chain(store)
    grow(chain, blocks)
    return chain


def receive(laggard: Chain, pinned: PinnedSnapshot) -> SnapshotInstaller:
    """Takes every chunk of a snapshot."""
    installer = laggard.receive_snapshot(pinned.header, sample.certify(pinned.header))
    for position, chunk in chunks(installer, pinned):
        installer.accept(position, chunk)
    return installer


def chunks(installer: SnapshotInstaller, pinned: PinnedSnapshot) -> Iterator[tuple[bytes, bytes]]:
    """The next chunk, as long as there is one."""
    while installer.position is not None:
        position = installer.position.to_bytes()
        chunk = pinned.compute_chunk(position)
        assert chunk is not None
        yield position, chunk


def content(chain: Chain) -> dict[bytes, bytes]:
    """The whole state that a reader sees."""
    with sample.open_state(chain) as state:
        return dict(state.scan(b""))


def expect_equal(chain: Chain, source: Chain, skipped: range) -> None:
    """The same ledger, but for the bodies of skipped blocks."""
    assert (chain.head, chain.state.root, content(chain)) == (source.head, source.state.root, content(source))
    assert chain.next_due_ms == source.next_due_ms
    assert chain.newest_certificate() == source.newest_certificate()
    assert [chain.header(k) for k in range(chain.height + 1)] == [source.header(k) for k in range(chain.height + 1)]
    for client in CLIENTS:
        window = source.nonce_window(client.public_key)
        assert chain.nonce_window(client.public_key) == window
        for nonce in range(max(window.base - 64, 0), window.base + 64):
            answer = source.find_used(client.public_key, nonce)
            assert chain.find_used(client.public_key, nonce) == answer
            assert (answer is not None) == window.is_used(nonce)
    for height in range(chain.height + 1):
        if height in skipped:
            with pytest.raises(InvalidBlock, match="skipped"):
                chain.block(height)
        else:
            assert chain.block(height) == source.block(height)


@pytest.mark.parametrize("blocks", [3, 4, 20, 90])
def test_a_snapshot_is_the_ledger(blocks: int) -> None:
    """State, headers, schedule, answers and certificate arrive; the next blocks come out alike; opened again, too."""
    source, store = make_source(blocks), MemoryStore(LEDGER_TABLES)
    laggard = make_laggard(store)
    with source.pin()._view, pytest.raises(InvalidBlock):
        laggard.header(blocks)
    client = sample.CLIENT.public_key
    before = laggard.nonce_window(client)
    laggard.install(receive(laggard, source.pin()))
    assert (laggard.nonce_window(client) == before) == (blocks == 3), "what was known of the old head is forgotten"
    expect_equal(laggard, source, range(3, blocks + 1))
    reopened = Chain.open(store, sample.GENESIS)
    expect_equal(reopened, source, range(3, blocks + 1))
    grow(source, 2)
    grow(reopened, 2)
    expect_equal(reopened, source.__class__.open(source._store, sample.GENESIS), range(3, blocks + 1))


def test_who_installed_a_snapshot_is_a_source() -> None:
    """Answers travel on with their paths; a second snapshot leaves a second gap."""
    source, middle = make_source(20), make_laggard()
    middle.install(receive(middle, source.pin()))
    for chain in (source, middle):
        grow(chain, 3)
        chain.store_certificate(sample.certify(chain.head))
    last = make_laggard(blocks=1)
    last.install(receive(last, middle.pin()))
    expect_equal(last, source, range(2, 24))
    grow(source, 6)
    source.store_certificate(sample.certify(source.head))
    middle.install(receive(middle, source.pin()))
    assert middle.gaps == ((3, 20), (24, 29))


def test_proofs_are_written_from_an_installed_snapshot() -> None:
    """A receipt of a skipped block, with its index, and a state value."""
    source, laggard = make_source(20), make_laggard()
    laggard.install(receive(laggard, source.pin()))
    head = sample.execute(laggard, time_ms=T + 60_000).header
    laggard.store_certificate(sample.certify(head))
    client = CLIENTS[3].public_key
    stored = laggard.find_used(client, 18)
    assert stored is not None
    (entry,) = [r for r in source.block(19).receipts if r == stored.receipt]
    tx_id = parse_receipt(entry).tx_id
    proved = verify_proof(laggard.receipt_proof(tx_id), sample.GENESIS_BYTES)
    assert isinstance(proved, VerifiedReceipt)
    assert (proved.index, proved.header) == (stored.index, source.header(19))
    state = verify_proof(laggard.state_proof(b"c/notes/founded/007"), sample.GENESIS_BYTES)
    assert isinstance(state, VerifiedState)


def test_a_pinned_snapshot_stays_as_it_was() -> None:
    """Blocks that are executed while others take the snapshot do not change it, nor what is above RESIDENT_DEPTH."""
    source, laggard = make_source(20), make_laggard()
    pinned, expected = source.pin(), content(source)
    installer = laggard.receive_snapshot(pinned.header, sample.certify(pinned.header))
    for count, (position, chunk) in enumerate(chunks(installer, pinned)):
        installer.accept(position, chunk)
        if count % 3 == 0:
            grow(source, 1)
    laggard.install(installer)
    assert (laggard.height, content(laggard)) == (20, expected)
    pinned.close()
    pinned.close()


def test_a_reader_sees_one_state_or_the_other() -> None:
    """A snapshot of the store that was taken before the switch shows the old state to its end (the contract worker)."""
    source, laggard = make_source(20), make_laggard()
    before = content(laggard)
    with sample.open_state(laggard) as reader:
        laggard.install(receive(laggard, source.pin()))
        assert dict(reader.scan(b"")) == before
    assert content(laggard) == content(source)


def test_the_own_ledger_goes_on_while_a_snapshot_arrives() -> None:
    """Blocks executed meanwhile are kept, and only the rest is a gap; a head that passed the snapshot keeps itself."""
    source, laggard = make_source(20), make_laggard()
    installer = receive(laggard, source.pin())
    assert laggard.receipt(sample.transaction(19).tx_id) is None, "an answer above the own head is not shown yet"
    grow(laggard, 5)
    laggard.install(installer)
    expect_equal(laggard, source, range(8, 21))
    late = make_laggard()
    installer = receive(late, source.pin())
    grow(late, 18)
    with pytest.raises(InvalidSnapshot, match="not_whole"):
        late.install(installer)
    assert late.head == source.head


# --- lies ---


def test_an_unfinished_snapshot_is_not_installed() -> None:
    """Every chunk counts, the last one too; positions come in their order, once."""
    source, laggard = make_source(20), make_laggard()
    pinned = source.pin()
    installer = laggard.receive_snapshot(pinned.header, sample.certify(pinned.header))
    earlier: list[tuple[bytes, bytes]] = []
    for position, chunk in chunks(installer, pinned):
        with pytest.raises(InvalidSnapshot, match="not_whole"):
            laggard.install(installer)
        for old in earlier[-3:]:
            with pytest.raises(InvalidSnapshot, match="position"):
                installer.accept(*old)
        installer.accept(position, chunk)
        earlier.append((position, chunk))
    with pytest.raises(InvalidSnapshot, match="position"):
        installer.accept(*earlier[-1])
    assert installer.chunks == len(earlier) > 20


@pytest.mark.parametrize("seed", range(4))
def test_any_changed_byte_is_refused_and_changes_nothing(seed: int) -> None:
    """In any chunk, whatever it holds: refused with a code, nothing written, and the true chunk is taken afterwards.

    The border of a state chunk is excepted: where no entry lies between, another border is as true.
    """
    numbers = random.Random(seed)
    source, store = make_source(8), MemoryStore(LEDGER_TABLES)
    laggard = make_laggard(store)
    pinned = source.pin()
    installer = laggard.receive_snapshot(pinned.header, sample.certify(pinned.header))
    for position, chunk in chunks(installer, pinned):
        is_cut = isinstance(parse_position(position), snapshot.StateFrom) and chunk[1] != 0xC0
        low = 1 + 2 + 32 if is_cut else 0
        before = {table: list(store.scan(table)) for table in LEDGER_TABLES}
        wrong = [chunk[: numbers.randrange(len(chunk))], chunk + b"\x00"]
        for _ in range(12):
            at = numbers.randrange(low, len(chunk))
            wrong.append(chunk[:at] + bytes([chunk[at] ^ 1 << numbers.randrange(8)]) + chunk[at + 1 :])
        for changed in wrong:
            with pytest.raises(InvalidSnapshot):
                installer.accept(position, changed)
        assert {table: list(store.scan(table)) for table in LEDGER_TABLES} == before
        installer.accept(position, chunk)
    laggard.install(installer)
    expect_equal(laggard, source, range(3, 9))


def test_well_formed_lies_are_refused() -> None:
    """Left out, added, swapped, taken from another place: what a traitor who knows the format would send."""
    source, laggard = make_source(20), make_laggard()
    pinned, other = source.pin(), make_source(21).pin()
    installer = laggard.receive_snapshot(pinned.header, sample.certify(pinned.header))
    refused = 0
    for position, chunk in chunks(installer, pinned):
        value, is_headers = decode(chunk), isinstance(parse_position(position), snapshot.HeadersFrom)
        assert isinstance(value, list)
        lies: list[object] = [[], [None], [None, []], [None, [], []], [[]], 7, b"", value + value, value[:-1]]
        if isinstance(value[-1], list):
            parts = [part for part in value if isinstance(part, list) and part]
            for part in parts:
                rest = [item if item is not part else part[1:] for item in value]
                lies += [rest, [item if item is not part else [*part, part[0]] for item in value]]
                lies.append([item if item is not part else [*part[1:], part[0]] for item in value])
                lies.append([None, *rest[1:]])
            lies += [[None, *value[1:]], [b"\xff" * 32, *value[1:]], [b"\xff" * 40, *value[1:]]]
        if chunk_of_other := other.compute_chunk(position):
            lies.append(decode(chunk_of_other))
        for lie in lies:
            is_true = lie == value or (is_headers and isinstance(lie, list) and lie == value[: len(lie)] != [])
            if is_true:  # fewer headers, the upper ones, are as true
                continue
            with pytest.raises(InvalidSnapshot):
                installer.accept(position, encode(lie))
            refused += 1
        installer.accept(position, chunk)
    assert refused > 300
    laggard.install(installer)
    expect_equal(laggard, source, range(3, 21))


def test_a_receipt_keeps_its_index() -> None:
    """A path with another index and number of leaves may lead to the same root: the header binds the number too."""
    source, laggard = make_source(6), make_laggard()
    pinned = source.pin()
    installer = laggard.receive_snapshot(pinned.header, sample.certify(pinned.header))
    tried = 0
    for position, chunk in chunks(installer, pinned):
        value = decode(chunk)
        if isinstance(parse_position(position), snapshot.AnswersFrom):
            end, answers = value  # type: ignore[misc]
            for number, (height, index, receipt, count, siblings) in enumerate(answers):  # type: ignore[arg-type, misc]
                for other in {(index ^ 1, count), (index // 2, count // 2), (index + 1, count + 1), (index, count + 1)}:
                    if not 0 <= other[0] < other[1] or other == (index, count):
                        continue
                    lie = [*answers]  # type: ignore[misc]
                    lie[number] = [height, other[0], receipt, other[1], siblings]
                    with pytest.raises(InvalidSnapshot):
                        installer.accept(position, encode([end, lie]))
                    tried += 1
        installer.accept(position, chunk)
    assert tried > 50


def test_a_path_is_that_of_the_whole_tree() -> None:
    """From the receipts of one group and the roots of all: in blocks of one group, of several, and of whole ones."""
    chain, nonce = sample.new_chain(), 0
    for count in (1, 15, 16, 17, 32, 33, 47):
        block = sample.execute(chain, *[sample.transaction(nonce + number) for number in range(count)])
        nonce += count
        read = 0
        with chain._store.snapshot() as view:
            scan = view.scan

            def counted(table: str, *arguments: bytes, scan: Any = scan, **options: Any) -> Iterator[Any]:
                nonlocal read
                for record in scan(table, *arguments, **options):
                    read += 1
                    yield record

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(view, "scan", counted)
                paths = [archive.read_receipt_path(view, chain.height, index) for index in range(count)]
        assert read <= 16 * count
        for index, (path, receipt) in enumerate(zip(paths, block.receipts, strict=True)):
            assert path == ReceiptPath(count, tuple(merkle.inclusion_path(block.receipts, index)))
            verify_receipt_path(receipt, index, path, chain.head)
        with pytest.raises(InvalidProof, match="index"):
            chain.receipt_path(chain.height, count)


@pytest.mark.parametrize("bound", ["CHUNK_VALUES_MAX", "CHUNK_ANSWERS_MAX", "CHUNK_BYTES"])
def test_answers_come_in_chunks_as_large_as_each_bound_allows(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """No source makes a chunk that a receiver refuses, and none is cut before it is full."""
    source, laggard = make_source(20), make_laggard()
    monkeypatch.setattr(snapshot, "CHUNK_ANSWERS_MAX", 2**31)
    monkeypatch.setattr(snapshot_install, "CHUNK_ANSWERS_MAX", 2**31)
    limit = {"CHUNK_VALUES_MAX": 120, "CHUNK_ANSWERS_MAX": 9, "CHUNK_BYTES": 2_000}[bound]
    monkeypatch.setattr(snapshot, bound, limit)
    pinned = source.pin()
    installer = laggard.receive_snapshot(pinned.header, sample.certify(pinned.header))
    sizes = []
    for position, chunk in chunks(installer, pinned):
        if isinstance(parse_position(position), snapshot.AnswersFrom):
            answers = decode(chunk)[1]  # type: ignore[index]
            assert isinstance(answers, list)
            size = {
                "CHUNK_VALUES_MAX": 3 + sum(6 + len(answer[4]) for answer in answers),  # type: ignore[arg-type, index]
                "CHUNK_ANSWERS_MAX": len(answers),
                "CHUNK_BYTES": sum(len(a[2]) + 32 * len(a[4]) for a in answers),  # type: ignore[arg-type, index]
            }[bound]
            assert bound != "CHUNK_VALUES_MAX" or not has_more_values(chunk, limit)
            sizes.append(size)
        installer.accept(position, chunk)
    assert max(sizes) <= limit < 2 * min(sizes[:-1]) and len(sizes) > 5
    laggard.install(installer)
    expect_equal(laggard, source, range(3, 21))


def test_a_chunk_is_bounded_before_it_is_read() -> None:
    """Bytes and values: neither a long chunk nor a million of tiny values is parsed."""
    source, laggard = make_source(20), make_laggard()
    installer = laggard.receive_snapshot(source.head, sample.certify(source.head))
    assert installer.position is not None
    position = installer.position.to_bytes()
    for chunk, code in (
        (bytes(snapshot_install.CHUNK_BYTES_MAX + 1), "too_long"),
        (b"\xdd\x00\x0f\x42\x40" + bytes(1_000_000), "too_many_values"),
    ):
        with pytest.raises(InvalidSnapshot) as caught:
            installer.accept(position, chunk)
        assert caught.value.code == code


@pytest.mark.parametrize("position", [b"", b"\xc0", b"\x90", encode((3, 1)), encode((0, 1, 2)), encode((1, b"short"))])
def test_a_position_is_parsed_not_trusted(position: bytes) -> None:
    """What no receiver asks for is refused; a height above the snapshot has no chunk."""
    pinned = make_source(3).pin()
    with pytest.raises(InvalidSnapshot, match="position"):
        pinned.compute_chunk(position)
    assert pinned.compute_chunk(encode((0, 4, 1))) is None


def test_only_a_certified_header_above_the_own_head_begins() -> None:
    """Another header's certificate, an old header, another network's."""
    source, laggard = make_source(20), make_laggard()
    for header, certificate in (
        (source.head, sample.certify(source.header(19))),
        (source.header(2), sample.certify(source.header(2))),
    ):
        with pytest.raises(InvalidSnapshot):
            laggard.receive_snapshot(header, certificate)
    assert laggard.height == 2


def test_a_certified_chain_without_the_own_head_stops_the_replica() -> None:
    """M45: the own ledger is not the network's. Nothing is overwritten."""
    source, laggard = make_source(5), sample.new_chain()
    sample.execute(laggard, time_ms=T + 77)
    with pytest.raises(InvariantViolation, match="forked"):
        receive(laggard, source.pin())
    assert laggard.height == 1


# --- crashes ---


class CrashingStore(MemoryStore):
    """Power fails at the n-th write from now: before it reaches the disk, or after it and before the caller hears."""

    def __init__(self, tables: tuple[str, ...]) -> None:
        super().__init__(tables)
        self.writes = 0
        self.crash_at: int | None = None
        self.is_applied = False

    def write(self, operations: list[Operation]) -> None:  # type: ignore[override]
        """Fails at its time."""
        self.writes += 1
        if self.writes == self.crash_at:
            if self.is_applied:
                super().write(operations)
            raise StoreError("power")
        super().write(operations)


def count_writes() -> int:
    """How many writes a whole transfer takes."""
    store = CrashingStore(LEDGER_TABLES)
    laggard, source = make_laggard(store), make_source(8)
    store.writes = 0
    laggard.install(receive(laggard, source.pin()))
    return store.writes


@pytest.mark.parametrize("is_applied", [False, True])
def test_a_crash_at_any_write_leaves_the_old_ledger_or_the_new_one(is_applied: bool) -> None:
    """D39, M47: whole before the switch, whole after it, at every point; and then a snapshot can be taken again."""
    source, writes = make_source(8), count_writes()
    assert writes >= 20
    seen = set()
    for crash_at in range(1, writes + 1):
        store = CrashingStore(LEDGER_TABLES)
        laggard = make_laggard(store)
        old = content(laggard), laggard.head
        store.writes, store.crash_at, store.is_applied = 0, crash_at, is_applied
        with pytest.raises(StoreError):
            laggard.install(receive(laggard, source.pin()))
        survivor = store.after_power_loss()
        restarted = Chain.open(survivor, sample.GENESIS)
        seen.add(restarted.height)
        if restarted.height == 2:
            assert (content(restarted), restarted.head, restarted.gaps) == (*old, ())
            with pytest.raises(InvalidBlock, match="unknown"):
                restarted.header(3)
            assert restarted.find_used(CLIENTS[3].public_key, 5) is None
            restarted.install(receive(restarted, source.pin()))
        expect_equal(restarted, source, range(3, 9))
        idle = [key for table in GENERATIONS[0] for key in survivor.scan(table)]
        assert not idle, "the replaced state is gone"
    assert seen == {2, 8}


def test_memory_holds_a_chunk_whatever_the_state() -> None:
    """Streaming: no write of a transfer, and no chunk, holds more than a chunk's entries."""

    class Watched(MemoryStore):
        largest = 0

        def write(self, operations: list[Operation]) -> None:  # type: ignore[override]
            sizes = [len(operation.records) if isinstance(operation, PutMany) else 1 for operation in operations]
            self.largest = max(self.largest, sum(sizes))
            super().write(operations)

    store = Watched(LEDGER_TABLES)
    laggard, source = make_laggard(store), make_source(40)
    store.largest = 0
    laggard.install(receive(laggard, source.pin()))
    assert store.largest <= 4 * 11, "11 answers of four records each; 7 entries of two, and their nodes"
