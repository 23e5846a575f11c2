"""Receiving a snapshot: chunks are checked as they come, put beside the live ledger, and made it by one write (D39).

Headers and answers are history that the certified header already proves, so they go where they belong; the archive does
not show what lies above its head. The state grows in the idle generation of the state's tables, which no reader looks
at. Memory holds one chunk and the trie's upper nodes, however large the state. Until `Chain.install` has written the
switch, a crash leaves the old ledger, and what was received is thrown away; after it, the new one. Every fault of a
source is InvalidSnapshot and leaves everything as it was, so the next source can be asked for the same chunk.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from ledger.archive import CERTIFICATES_TABLE, GAPS_KEY, HEAD_KEY, HEADERS_TABLE, answer_operations, read_record
from ledger.block import RECEIPTS_MAX, Header, ReceiptPath, parse_header, verify_receipt_path
from ledger.encoding import Value, decode, encode
from ledger.errors import EncodingError, InvalidSnapshot, InvariantViolation, LedgerError
from ledger.hashing import HASH_BYTES
from ledger.quorum_certificate import QuorumCertificate
from ledger.receipt_index import META_TABLE, PlacedReceipt, ReceiptIndex, height_key, place_key
from ledger.shapes import expect_array, expect_bytes, expect_int
from ledger.snapshot import (
    CHUNK_ANSWERS_MAX,
    CHUNK_BYTES_MAX,
    CHUNK_HEADERS_MAX,
    CHUNK_VALUES_MAX,
    AnswersFrom,
    HeadersFrom,
    Position,
    StateFrom,
    nonce_place,
    used_nonces,
)
from ledger.state_ranges import END, PROOF_ITEMS_MAX, Item, verify_range
from ledger.state_trie import hash_entry, hash_key
from ledger.store import Clear, Operation, Put, Store
from ledger.transaction import parse_receipt
from ledger.value_count import has_more_values
from ledger.world_state import GENERATIONS, WorldState, install_generation, live_generation

_PLACE_BYTES: Final = len(AnswersFrom().start)


class SnapshotInstaller:
    """One snapshot on its way in. `position` is the next chunk; None when everything is here."""

    def __init__(
        self, store: Store, index: ReceiptIndex, head: Header, header: Header, certificate: QuorumCertificate
    ) -> None:
        """`index` is the ledger's own: answers are added to it as they come. `head` is the own one; `header` lies above
        it, and `certificate`, which somebody has verified, is for it.

        Clears what an earlier attempt has left. Raises InvalidSnapshot for a header that is not the certified one.
        """
        if (certificate.height, certificate.header_hash) != (header.height, header.hash):
            raise InvalidSnapshot("certificate", "certifies another header", got=certificate.header_hash)
        if header.height <= head.height or header.network != head.network:
            raise InvalidSnapshot("height", "not above the own head", expected_min=head.height + 1, got=header.height)
        self.header = header
        self.certificate = certificate
        self.chunks = 0  # taken so far
        self._store = store
        self._index = index
        self._head = head
        self._child = header  # the lowest header that is certain; the next one down is its parent
        discard_idle_state(store)
        store.write([Put(HEADERS_TABLE, height_key(header.height), header.to_bytes())])
        self.state = WorldState(store, 1 - live_generation(store))
        self.position: Position | None = self._after_headers()

    def accept(self, position: bytes, chunk: bytes) -> None:
        """Takes the chunk at `position`, durably, and moves on.

        Raises InvalidSnapshot where it is not what the certified header commits to, or not what comes next; nothing is
        changed then. InvariantViolation: the certified chain does not hold the own head.
        """
        if self.position is None or position != self.position.to_bytes():
            raise InvalidSnapshot("position", "not the next chunk")
        if len(chunk) > CHUNK_BYTES_MAX:
            raise InvalidSnapshot("too_long", expected_max=CHUNK_BYTES_MAX, got=len(chunk))
        if has_more_values(chunk, CHUNK_VALUES_MAX):
            raise InvalidSnapshot("too_many_values", expected_max=CHUNK_VALUES_MAX)
        try:
            match self.position:
                case HeadersFrom():
                    self._accept_headers(decode(chunk, max_bytes=CHUNK_BYTES_MAX))
                case StateFrom(start):
                    self._accept_state(start, decode(chunk, max_bytes=CHUNK_BYTES_MAX))
                case AnswersFrom(start):
                    self._accept_answers(start, decode(chunk, max_bytes=CHUNK_BYTES_MAX))
        except EncodingError as error:
            raise InvalidSnapshot("malformed", str(error)) from None
        self.chunks += 1

    @property
    def permille(self) -> int:
        """How much of the state is here, in thousandths: key hashes are spread evenly, so the next one tells."""
        match self.position:
            case HeadersFrom():
                return 0
            case StateFrom(start):
                return start * 1000 // END
        return 1000

    def switch(self, height: int, gaps: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        """The one write that makes this the ledger, whose head was at `height`; gives the gaps as they are then.

        Raises InvalidSnapshot where the snapshot is not whole, or the head has passed it.
        """
        if self.position is not None or self.header.height <= height:
            raise InvalidSnapshot("not_whole", "unfinished, or the own head has passed it", got=self.header.height)
        gaps = (*gaps, (height + 1, self.header.height))
        key = height_key(self.header.height)
        self._store.write(
            [
                Put(META_TABLE, HEAD_KEY, key),
                Put(META_TABLE, GAPS_KEY, encode(gaps)),
                Put(CERTIFICATES_TABLE, key, self.certificate.to_bytes()),
                install_generation(self._store),
            ]
        )
        return gaps

    # --- headers ---

    def _after_headers(self) -> Position:
        """What comes after the headers that are here: further ones, or the state."""
        if self._child.height - 1 > self._head.height:
            return HeadersFrom(self._child.height - 1, self._head.height + 1)
        if self._child.parent_hash != self._head.hash:
            raise InvariantViolation(
                "forked", "the certified chain does not hold the own head", height=self._head.height
            )
        return StateFrom(0)

    def _accept_headers(self, value: Value) -> None:
        operations: list[Operation] = []
        child = self._child
        headers = expect_array(value, "headers")
        if not 0 < len(headers) <= CHUNK_HEADERS_MAX:
            raise InvalidSnapshot("headers", expected_min=1, expected_max=CHUNK_HEADERS_MAX, got=len(headers))
        for item in headers:
            data = expect_bytes(item, "header")
            try:
                header = parse_header(data)
            except LedgerError as error:
                raise InvalidSnapshot("header", str(error)) from None
            if header.hash != child.parent_hash or not self._head.height < header.height == child.height - 1:
                raise InvalidSnapshot("header", "not its child's parent", child=child.height, got=header.height)
            operations.append(Put(HEADERS_TABLE, height_key(header.height), data))
            child = header
        self._store.write(operations)
        self._child = child
        self.position = self._after_headers()

    # --- state ---

    def _accept_state(self, start: int, value: Value) -> None:
        bound, items, proof = expect_array(value, "chunk", 3)
        end = END if bound is None else int.from_bytes(expect_bytes(bound, "end", HASH_BYTES), "big")
        content: list[tuple[bytes, bytes]] = []
        for item in expect_array(items, "entries"):
            key, data = expect_array(item, "entry", 2)
            content.append((expect_bytes(key, "key"), expect_bytes(data, "value")))
        if not content and end < END:
            raise InvalidSnapshot("empty", "a chunk that brings nothing")
        hashes = [hash_key(key) for key, _ in content]
        entries = [(key_hash, hash_entry(key_hash, data)) for key_hash, (_, data) in zip(hashes, content, strict=True)]
        verify_range(entries, start, end, _parse_proof(proof), self.header.state_root)
        writes: list[tuple[bytes, bytes | None]] = sorted(content)
        with self._store.snapshot() as view:
            update = self.state.compute_update(view, writes)
        self._store.write(update.operations)
        self.state.adopt(update)
        if end < END:
            self.position = StateFrom(end)
            return
        if self.state.root != self.header.state_root:
            raise InvariantViolation("state", expected=self.header.state_root, got=self.state.root)
        self._move_to_answers(AnswersFrom().start)

    # --- answers ---

    def _accept_answers(self, start: bytes, value: Value) -> None:
        bound, items = expect_array(value, "chunk", 2)
        end = None if bound is None else expect_bytes(bound, "end", _PLACE_BYTES)
        answers = expect_array(items, "answers")
        if not 0 < len(answers) <= CHUNK_ANSWERS_MAX:
            raise InvalidSnapshot("answers", expected_min=1, expected_max=CHUNK_ANSWERS_MAX, got=len(answers))
        places = self._places(start, len(answers) + 1)
        operations: list[Operation] = []
        placed: list[PlacedReceipt] = []
        for place, item in zip(places, answers, strict=False):
            answer, stored = self._answer(place, item)
            placed.append(answer)
            operations += stored
        following = places[len(answers) :]
        if len(places) < len(answers) or end != (following[0] if following else None):
            raise InvalidSnapshot("answers", "not the used nonces that the state names", got=len(answers))
        with self._store.snapshot() as view:
            step = self._index.compute_answers(view, placed)
        self._store.write([*operations, *step.operations])
        self._index.adopt(step)
        self._move_to_answers(end)

    def _places(self, start: bytes, most: int) -> list[bytes]:
        """The next (client, nonce) whose answers belong to the snapshot, as the certified state names them."""
        with self._store.snapshot() as view:
            return list(islice(used_nonces(view, self.state.values, start), most))

    def _answer(self, place: bytes, value: Value) -> tuple[PlacedReceipt, list[Operation]]:
        """One answer, checked: the receipt that used this nonce, at its place in the chain; and what keeps it."""
        fields = expect_array(value, "answer", 5)
        height = expect_int(fields[0], "height", 1, self.header.height)
        index = expect_int(fields[1], "index", 0, RECEIPTS_MAX)
        data = expect_bytes(fields[2], "receipt")
        siblings = tuple(expect_bytes(item, "sibling", HASH_BYTES) for item in expect_array(fields[4], "siblings"))
        path = ReceiptPath(expect_int(fields[3], "count", 1, RECEIPTS_MAX), siblings)
        stored = self._store.get(HEADERS_TABLE, height_key(height))
        if stored is None:
            raise InvariantViolation("header", "a header below the certified one is missing", height=height)
        try:
            verify_receipt_path(data, index, path, read_record(HEADERS_TABLE, parse_header, stored))
            receipt = parse_receipt(data)
        except LedgerError as error:
            raise InvalidSnapshot("receipt", str(error)) from None
        if nonce_place(receipt.sender, receipt.nonce) != place or receipt.status == "refused":
            raise InvalidSnapshot("answers", "another receipt than the one that used the nonce", height=height)
        located = place_key(height, index)
        return (located, receipt), answer_operations(located, data, path)

    def _move_to_answers(self, start: bytes | None) -> None:
        """On to the answers from here on; where there are none, everything is here."""
        self.position = None if start is None or not self._places(start, 1) else AnswersFrom(start)


def discard_idle_state(store: Store) -> None:
    """Empties the idle generation of the state's tables: what an installation has replaced, or a crash cut short."""
    idle = GENERATIONS[1 - live_generation(store)]
    if any(True for table in idle for _ in islice(store.scan(table), 1)):
        store.write([Clear(table) for table in idle])


def _parse_proof(value: Value) -> list[Item]:
    items: list[Item] = []
    listed = expect_array(value, "proof")
    if len(listed) > PROOF_ITEMS_MAX:
        raise InvalidSnapshot("proof", expected_max=PROOF_ITEMS_MAX, got=len(listed))
    for item in listed:
        if item is None or type(item) is bytes:
            items.append(item)
        else:
            items.append([_parse_entry(entry) for entry in expect_array(item, "bucket")])
    return items


def _parse_entry(value: Value) -> tuple[bytes, bytes]:
    pair: Sequence[Value] = expect_array(value, "entry", 2)
    return expect_bytes(pair[0], "key hash", HASH_BYTES), expect_bytes(pair[1], "entry hash", HASH_BYTES)
