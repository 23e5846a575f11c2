"""Snapshots: the certified state after one block, in chunks that each prove themselves (D15, D39, M46).

A replica that is far behind does not repeat every block. It takes a header with its quorum certificate, and then, from
any sources, in any number of chunks: the headers below it down to its own head, the world state, and the answers that
clients can still ask for. Nothing is believed on a source's word, and there is no manifest:

headers   go downwards: each is what its child names as its parent, from the certified header on
state     a range of key hashes with the proof that these are all its entries (`ledger.state_ranges`)
answers   receipts of used nonces, in the order of clients and nonces. *Which* nonces are used is in the state that came
          before, so nothing can be left out; each receipt hangs on its header, which came before too, by its path

So the first false chunk of a source is known for false when it arrives, and only it is thrown away. The schedule is
part of the state; the configuration is that of genesis until epochs carry others. A chunk is asked for by a position,
canonical bytes that only this module reads, and any replica that holds the height answers it alike.

This module is the source's side: a store's read view pinned at a height, and the chunks in it. The receiver's is
`ledger.snapshot_install`. When a snapshot is asked for, of whom and how often, is `pbft.core`'s.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from ledger.admission import NONCE_WINDOW, NONCES_PREFIX, NonceWindow, parse_nonce_key, parse_nonce_window
from ledger.archive import HEADERS_TABLE, HEIGHT_MAX, read_receipt_path, read_record
from ledger.block import Header
from ledger.encoding import Value, decode, encode
from ledger.errors import EncodingError, InvalidSnapshot, InvariantViolation
from ledger.hashing import HASH_BYTES, PUBLIC_KEY_BYTES
from ledger.late_values import LateValues
from ledger.receipt_index import RECEIPTS_TABLE, ReceiptIndex, height_key
from ledger.shapes import expect_array, expect_bytes, expect_int
from ledger.state_ranges import END, prove_range
from ledger.store import ReadView, Snapshot
from ledger.stored_trie import StateTrie

POSITION_BYTES_MAX: Final = 64
"""The longest position names a client and a nonce."""
CHUNK_BYTES: Final = 524_288
"""Of content in a chunk, one item at least: proofs of a kilobyte do not count beside it, and making it takes a source a
few milliseconds."""
CHUNK_BYTES_MAX: Final = 4_000_000
"""What a chunk may weigh: the longest receipt or state value has 2 MiB. It must fit into a frame of the wire."""
CHUNK_ENTRIES_MAX: Final = 2_048
"""Of the state in a chunk: each costs the source two reads and the receiver its share of the trie, 40 ms in all."""
CHUNK_HEADERS_MAX: Final = 1_024
"""In a chunk: 300 kB."""
CHUNK_ANSWERS_MAX: Final = 512
"""In a chunk. Each costs the source some forty small reads and as many hashes, which a block may have to wait for."""

CHUNK_VALUES_MAX: Final = 16_384
"""Encoded values in a chunk; a full one has about 9,000. Bytes alone would let a source make others parse millions."""
_CHUNK_FRAME_VALUES: Final = 3  # of a chunk of answers: itself, its end and the list
_ANSWER_VALUES: Final = 6  # of an answer besides its siblings

_ANSWER_START: Final = bytes(PUBLIC_KEY_BYTES + 8)


@dataclass(frozen=True, slots=True)
class HeadersFrom:
    """The headers from `top` downwards, to `bottom` at most."""

    top: int
    bottom: int

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        return encode((0, self.top, self.bottom))


@dataclass(frozen=True, slots=True)
class StateFrom:
    """The entries of the state from a key hash on."""

    start: int

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        return encode((1, self.start.to_bytes(HASH_BYTES, "big")))


@dataclass(frozen=True, slots=True)
class AnswersFrom:
    """The answers from (client, nonce) on."""

    start: bytes = _ANSWER_START  # client, nonce: `nonce_place`

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        return encode((2, self.start))


Position: TypeAlias = HeadersFrom | StateFrom | AnswersFrom


def parse_position(data: bytes) -> Position:
    """A position from its canonical bytes. Raises InvalidSnapshot (position)."""
    try:
        fields = expect_array(decode(data, max_bytes=POSITION_BYTES_MAX), "position")
        match expect_int(fields[0] if fields else None, "section", 0, 2):
            case 0:
                _, top, bottom = expect_array(fields, "position", 3)
                low = expect_int(bottom, "bottom", 1, HEIGHT_MAX)
                return HeadersFrom(expect_int(top, "top", low, HEIGHT_MAX), low)
            case 1:
                _, start = expect_array(fields, "position", 2)
                return StateFrom(int.from_bytes(expect_bytes(start, "start", HASH_BYTES), "big"))
            case _:
                _, start = expect_array(fields, "position", 2)
                return AnswersFrom(expect_bytes(start, "start", len(_ANSWER_START)))
    except EncodingError as error:
        raise InvalidSnapshot("position", str(error)) from None


class PinnedSnapshot:
    """The ledger as it was after one block, kept for others. Close it soon: old pages of the store stay alive."""

    def __init__(
        self, view: Snapshot, values: LateValues, trie: StateTrie, index: ReceiptIndex, header: Header
    ) -> None:
        """`values`, `trie` and `index` are copies of the same moment as the view."""
        self.header = header
        self._view = view
        self._values = values
        self._trie = trie
        self._index = index

    def close(self) -> None:
        """Releases the view; twice is no error."""
        self._view.close()

    def compute_chunk(self, position: bytes) -> bytes | None:
        """The chunk at a position; None for one that this snapshot does not reach.

        Raises InvalidSnapshot for what is no position. Its bytes are those of `ledger.snapshot_install`'s parsers.
        """
        match parse_position(position):
            case HeadersFrom(top, bottom):
                return self._compute_headers(top, bottom)
            case StateFrom(start):
                return self._compute_state(start)
            case AnswersFrom(start):
                return self._compute_answers(start)

    def _compute_headers(self, top: int, bottom: int) -> bytes | None:
        """[header, ...], descending."""
        if top > self.header.height:
            return None
        headers = []
        for height in range(top, max(bottom, top - CHUNK_HEADERS_MAX + 1) - 1, -1):
            data = self._view.get(HEADERS_TABLE, height_key(height))
            if data is None:
                raise InvariantViolation("header", "a header below the head is missing", height=height)
            headers.append(data)
        return encode(headers)

    def _compute_state(self, start: int) -> bytes:
        """[end or nil, [[key, value], ...] by key hash, proof]."""
        size = 0
        entries: list[tuple[bytes, bytes]] = []
        end = END
        for key_hash, key in self._trie.scan(self._view, start):
            value = self._values.get(self._view, key)
            if value is None:
                raise InvariantViolation("state_entry", "an entry of the world state has no value", key=key)
            size += len(key) + len(value)
            if entries and (size > CHUNK_BYTES or len(entries) == CHUNK_ENTRIES_MAX):
                end = int.from_bytes(key_hash, "big")
                break
            entries.append((key, value))
        view, trie = self._view, self._trie
        proof = prove_range(
            lambda depth, index: trie.children(view, depth, index),
            lambda depth, index: trie.entries(view, depth, index),
            start,
            end,
        )
        return encode((None if end == END else end.to_bytes(HASH_BYTES, "big"), entries, proof))

    def _compute_answers(self, start: bytes) -> bytes:
        """[end or nil, [[height, index, receipt, number of receipts, [sibling, ...]], ...] by client and nonce]."""
        answers: list[Value] = []
        end, size, values = None, 0, _CHUNK_FRAME_VALUES
        for place in used_nonces(self._view, self._values, start):
            client, nonce = place[:PUBLIC_KEY_BYTES], int.from_bytes(place[PUBLIC_KEY_BYTES:], "big")
            located = self._index.find_used(self._view, client, nonce)
            receipt = None if located is None else self._view.get(RECEIPTS_TABLE, located)
            if located is None or receipt is None:
                raise InvariantViolation("answer", "a used nonce of a window has no receipt", client=client)
            height, index = int.from_bytes(located[:8], "big"), int.from_bytes(located[8:], "big")
            path = read_receipt_path(self._view, height, index)
            size += len(receipt) + HASH_BYTES * len(path.siblings)
            values += _ANSWER_VALUES + len(path.siblings)
            is_full = size > CHUNK_BYTES or values > CHUNK_VALUES_MAX or len(answers) == CHUNK_ANSWERS_MAX
            if answers and is_full:
                end = place
                break
            answers.append([height, index, receipt, path.count, list(path.siblings)])
        return encode((end, answers))


def nonce_place(client: bytes, nonce: int) -> bytes:
    """Where an answer stands among all: order of clients, then of nonces."""
    return client + nonce.to_bytes(8, "big")


def used_nonces(view: ReadView, values: LateValues, start: bytes) -> Iterator[bytes]:
    """The places (`nonce_place`) of all nonces that are used and can still be asked for, from `start` on.

    A client has at most NONCE_WINDOW transactions outstanding, within NONCE_WINDOW nonces of each other, and the base
    of its window is at most NONCE_WINDOW above the lowest of them: below that, nobody waits for an answer any more.
    """
    first = NONCES_PREFIX + start[:PUBLIC_KEY_BYTES]
    for key, data in values.scan(view, NONCES_PREFIX, start=first):
        client = parse_nonce_key(key)
        window = read_record(values.table, parse_nonce_window, data)
        for place in (nonce_place(client, nonce) for nonce in answered_nonces(window)):
            if place >= start:
                yield place


def answered_nonces(window: NonceWindow) -> Iterator[int]:
    """The used nonces of a client whose answers a snapshot carries, ascending."""
    low = max(0, window.base - NONCE_WINDOW)
    return (nonce for nonce in range(low, window.base + NONCE_WINDOW) if window.is_used(nonce))
