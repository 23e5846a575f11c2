"""Records of the trie that wait in memory, so that a block writes few pages: each block writes the turn of one part.

A block of transfers changes a thousand buckets anywhere in the trie's table, each in a page of its own, and the next
blocks change the same pages again. So the changed records are kept here, and with each block one of `PARTS` parts of
the table is written: its records that changed since its last turn, which share their pages.

Nothing is lost with the memory: the trie follows from the values. The last `TURNS` blocks' keys are in the store
(`ledger.late_turns`), so what is in no page yet can be computed again (`ledger.world_state`): every key that changed
since the last turn of its part is among them.

What was written stays in memory while there is room, because what changed once changes again: it is what the table
holds, so nothing hangs on it.

Parts are subtrees, and the table holds each as it was at its turn. Where a block changes a record above them, entries
have moved into parts or out of them, and everything is written: that is a state of a few keys.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import add
from typing import Final

from ledger.late_turns import TURNS
from ledger.store import Delete, Operation, PutMany, ReadView

PARTS: Final = TURNS
"""A record waits eight blocks on average, 6 MB under full load; twice as many would save another tenth of the pages."""
_PART_DEPTH: Final = 2  # 16 subtrees
_PART_SHIFT: Final = 4  # the first byte of a record's key begins with the number of its part

LATE_BYTES_MAX: Final = 16_777_216
"""Of records that wait, and what the interpreter takes for each: beyond, the largest parts are written before their
turn, so that no block writes all."""
RECORD_BYTES: Final = 160
"""What the interpreter takes for a record and its key besides the record's bytes."""

KEPT_BYTES_MAX: Final = 16_777_216
"""Of records that the table holds too, and what the interpreter takes for each: half of a state of 200,000 keys. They
save two hundredths of a transfer's processor time, and pages of the table that else were mapped."""

Record = tuple[bytes, bytes | None]
"""(key in the trie's table, record): None where nothing is stored any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LateStep:
    """What a block adds, and what it writes."""

    operations: list[Operation]
    waiting: Sequence[Sequence[tuple[bytes, bytes]]]  # by part: what waits from now on
    sizes: list[int]  # of what waits then, by part
    written: dict[int, dict[bytes, bytes]]  # the part whose turn it was, and others that were written with it


_REMOVED: Final = b""  # waits in place of a record where nothing will be stored


class LateRecords:
    """What waits for one table, and reads of the table as it will be. Mutable: `adopt` follows each stored step."""

    def __init__(self, trie_table: str) -> None:
        self._trie_table = trie_table
        self._parts: list[dict[bytes, bytes]] = [{} for _ in range(PARTS)]
        self._sizes = [0] * PARTS  # of each at most: a record that is replaced counts again until its part is written
        self._kept: list[dict[bytes, bytes]] = [{} for _ in range(PARTS)]
        """What the table holds of each part, as far as it is known, but for keys that wait."""

    def copy(self) -> "LateRecords":
        """What waits now, to be read with a view of the same moment."""
        twin = LateRecords(self._trie_table)
        twin._parts, twin._sizes = [dict(part) for part in self._parts], list(self._sizes)
        return twin

    # --- reads ---

    def get(self, view: ReadView, key: bytes) -> bytes | None:
        """A record of the table."""
        waiting = self._parts[key[0] >> _PART_SHIFT].get(key)
        return view.get(self._trie_table, key) if waiting is None else waiting or None

    def take_many(self, view: ReadView, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those of these records that there are, by key, for who is about to change them: they are not kept here."""
        parts, kept = self._parts, self._kept
        found: dict[bytes, bytes] = {}
        stored: list[bytes] = []
        for key in keys:
            number = key[0] >> _PART_SHIFT
            record = parts[number].get(key)
            if record is None:
                record = kept[number].pop(key, None)
            if record is None:
                stored.append(key)
            elif record:
                found[key] = record
        found.update(view.get_many(self._trie_table, stored))
        return found

    def scan(self, view: ReadView, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All records from a key on, ascending."""
        first = start[0] >> _PART_SHIFT if start else 0
        for number in range(first, PARTS):
            begin = max(start, bytes((number << _PART_SHIFT,)))
            part = self._parts[number]
            changed = {key: record for key, record in part.items() if key >= begin}
            for key, record in view.scan(self._trie_table, start=begin):
                if key[0] >> _PART_SHIFT != number:
                    break
                changed.setdefault(key, record)
            for key, record in sorted(changed.items()):
                if record:
                    yield key, record

    def last_until(self, view: ReadView, key: bytes) -> bytes:
        """The greatest key of the table at or below this one; nothing where there is none."""
        waiting = [found for part in self._parts for found, record in part.items() if record and found <= key]
        last = max(waiting, default=b"")
        for found, _ in view.scan(self._trie_table, start=key, reverse=True):
            if found not in self._parts[found[0] >> _PART_SHIFT]:
                return max(last, found)
        return last

    # --- a block ---

    def compute_step(self, records: Sequence[Record], turn: int, is_settled: bool) -> LateStep:
        """What to write with a block that changes these records: the turn of one part. Changes nothing.

        `is_settled`: the keys of the last blocks will not be kept, so nothing may wait.
        """
        changed: list[list[tuple[bytes, bytes]]] = [[] for _ in range(PARTS)]
        for key, record in records:
            changed[key[0] >> _PART_SHIFT].append((key, record or _REMOVED))
        if is_settled or min([key[-1] for key, _ in records]) < _PART_DEPTH:
            sizes, numbers = [0] * PARTS, set(range(PARTS))
        else:
            added = [sum([RECORD_BYTES + len(record) for _, record in part]) for part in changed]
            sizes, numbers = list(map(add, self._sizes, added)), {turn % PARTS}
            sizes[turn % PARTS] = 0
            while sum(sizes) > LATE_BYTES_MAX:
                largest = sizes.index(max(sizes))
                numbers.add(largest)
                sizes[largest] = 0
        written: dict[int, dict[bytes, bytes]] = {}
        operations: list[Operation] = []
        for number in numbers:
            due = written[number] = self._parts[number].copy()
            due.update(changed[number])
            changed[number] = []
            operations += self._write(due)
        return LateStep(operations=operations, waiting=changed, sizes=sizes, written=written)

    def _write(self, records: Mapping[bytes, bytes]) -> list[Operation]:
        put = [change for change in records.items() if change[1]]
        deleted: list[Operation] = [Delete(self._trie_table, key) for key, record in records.items() if not record]
        return [PutMany(self._trie_table, put), *deleted]

    def adopt(self, step: LateStep) -> None:
        """Makes the step the present; its operations are durable by now."""
        parts = self._parts
        for number, written in step.written.items():
            parts[number] = {}
            self._keep(number, written)
        for part, waiting in zip(parts, step.waiting, strict=True):
            part.update(waiting)
        self._sizes = step.sizes

    def _keep(self, number: int, written: dict[bytes, bytes]) -> None:
        """Keeps what the table holds from now on, and of what it held before the latest that there is room for."""
        kept = self._kept[number]
        kept.update(written)
        size = RECORD_BYTES * len(kept) + sum(map(len, kept.values()))
        for key in list(kept):
            if size <= KEPT_BYTES_MAX // PARTS:
                break
            size -= RECORD_BYTES + len(kept.pop(key))

    # --- the start ---

    def restore(self, records: Sequence[Record]) -> None:
        """Takes over what was computed again."""
        for key, record in records:
            self._parts[key[0] >> _PART_SHIFT][key] = record or _REMOVED
        self._sizes = [RECORD_BYTES * len(part) + sum(map(len, part.values())) for part in self._parts]
