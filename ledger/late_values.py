"""Values of the state that wait in memory, so that a block writes few pages of their table; and all reads of it.

Keys are a prefix and random bytes: what a block changes lies anywhere in the table, and no page of it holds two of its
keys. So each block writes, of all that waits, what lies in one of `RANGES` ranges of keys, the next one in their order,
and what its turn is the last for. The ranges are drawn anew for each round of turns, by what was written in the last
one, so that each is as large a part of it; they are nobody's business but the writer's: a table may hold a value at any
time from its own turn to the last one, and the last turns (`ledger.late_turns`) say what it really is.

So a reader in another process needs the store alone: it follows the turns, one record for each block, and looks for a
value among them first. The writer forgets a value when it is written, a reader when its turn is no longer kept.

Only what is there waits: a removed key leaves its table at once. A scan is paid for by what it gives, so removed keys
that it would pass, again and again, would be time for nothing.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import repeat
from operator import itemgetter
from typing import Final

from ledger.late_turns import Turn, Values, read_turns, turn_operations
from ledger.store import Delete, Operation, PutMany, ReadView, prefix_end

RANGES: Final = 8
"""Of keys, and turns that a value waits at most: fewer are another schema, more are not. With 16, a replica takes 1 %
less processor time, but it and its worker keep twice as much: another 5 MB under full load, 12 with blocks of 1,000
transfers."""
WAITING_BYTES_MAX: Final = 512
"""Of a value that waits. A longer one shares its page with few others, and would be written twice for little."""
TURN_BYTES_MAX: Final = 1_048_576
"""Of a block's keys and values, and what the interpreter takes for them: if there is more, values are written at once.
So what waits takes eight times that, in each process that reads the state, and a list of references for each prefix
that was scanned; under full load of transfers about half."""
ENTRY_BYTES: Final = 200
"""What the interpreter takes for a key and its value besides their bytes."""
KEYS_BYTES_MAX: Final = 1_048_576
"""Of a block's keys: more are not kept for the trie either, and all that waits anywhere is written."""

_SAMPLE: Final = 16  # one key of so many says where ranges begin, in each turn others

Write = tuple[bytes, bytes | None]
"""(key, value); None: removed."""
Written = dict[bytes, bytes | None]
"""By key; None: removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuesStep:
    """What a block's writes make of the values."""

    turn: Turn
    operations: list[Operation]
    written: Written  # to the table
    bounds: Sequence[bytes]  # where the ranges of this round of turns begin, but for the first

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits any more, of any block."""
        return not self.turn.keys


class LateValues:
    """The values of one generation as they are: those that wait, before their table. Mutable.

    A writer takes steps (`compute_step`, `adopt`), a reader follows the store (`catch_up`). The views of its reads show
    the store after the same turn.
    """

    def __init__(self, values_table: str, turns_table: str) -> None:
        self.table = values_table
        self._turns_table = turns_table
        self._number = 0  # of the last turn
        self._turns: deque[Turn] = deque()
        self._waiting: dict[bytes, Values] = {}  # by key: the values of the last turn that changed it
        self._bounds: Sequence[bytes] = ()
        self._scanned: dict[bytes, list[tuple[bytes, bytes]]] = {}
        """By prefix: what waits under it, ascending, for the next scans after the same turn."""

    def copy(self) -> "LateValues":
        """What waits now, to be read with a view of the same moment."""
        twin = LateValues(self.table, self._turns_table)
        twin._number, twin._turns, twin._waiting = self._number, self._turns.copy(), self._waiting.copy()
        return twin

    def catch_up(self, view: ReadView) -> None:
        """Takes over the turns that the store has had since. Raises InvariantViolation (damaged)."""
        waiting = self._waiting
        for turn in read_turns(view, self._turns_table, self._number, RANGES):
            if (last := self._add(turn)) is not None:
                for key in [key for key in last if waiting.get(key) is last]:
                    del waiting[key]

    # --- reads ---

    def get(self, view: ReadView, key: bytes) -> bytes | None:
        """The value of a key, None if absent."""
        values = self._waiting.get(key)
        return view.get(self.table, key) if values is None else values[key]

    def bind(self, get: Callable[[bytes], bytes | None]) -> Callable[[bytes], bytes | None]:
        """`get` for who reads thousands of keys, from the table's own."""
        waiting = self._waiting

        def get_value(key: bytes) -> bytes | None:
            values = waiting.get(key)
            return get(key) if values is None else values[key]

        return get_value

    def get_many(self, view: ReadView, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are there, by key."""
        waiting = self._waiting
        found = view.get_many(self.table, [key for key in keys if key not in waiting])
        for key in keys:
            if key in waiting:
                found[key] = waiting[key][key]
        return found

    def scan(self, view: ReadView, prefix: bytes = b"", *, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) under `prefix`, ascending, from `start` on. The scan sees the state at its first step."""
        changed = self._list_waiting(prefix)
        if start > prefix:
            changed = changed[bisect_left(changed, (start,)) :]
        stored = view.scan(self.table, prefix, start=start)
        previous = b""
        for key, value in merge(changed, stored, key=itemgetter(0)):  # of equal keys, that of `changed` comes first
            if key != previous:
                yield key, value
            previous = key

    def _list_waiting(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """What waits under a prefix, ascending. It is put in order for the first scan after a turn: the others, of
        which a contract may make thousands, take no time that grows with it."""
        found = self._scanned.get(prefix)
        if found is None:
            waiting, end = self._waiting, prefix_end(prefix)
            keys = {key for turn in self._turns for key in _range(turn.keys, prefix, end)}
            found = [(key, waiting[key][key]) for key in sorted(keys) if key in waiting]
            if keys:  # so there are no more such lists than keys
                self._scanned[prefix] = found
        return found

    # --- a block ---

    def compute_step(self, writes: Sequence[Write]) -> ValuesStep:
        """What to write with a block of these writes: keys ascending, each once. Changes nothing."""
        number, waiting = self._number + 1, self._waiting
        keys = [key for key, _ in writes]
        keys_bytes = sum(map(len, keys))
        if keys_bytes > KEYS_BYTES_MAX:
            turn, bounds = Turn(number, [], {}), self._bounds
            written: Written = {key: values[key] for key, values in waiting.items()}
            written.update(writes)
        else:
            turn = Turn(number, keys, _choose(writes, keys_bytes + ENTRY_BYTES * len(keys)))
            bounds = self._bounds if number % RANGES else self._draw_bounds()
            written = self._due(turn, bounds)
            written.update([write for write in writes if write[0] not in turn.values])
        put = [(key, value) for key, value in written.items() if value is not None]
        removed: list[Operation] = [Delete(self.table, key) for key, value in written.items() if value is None]
        operations = [*turn_operations(self._turns_table, turn), PutMany(self.table, put), *removed]
        return ValuesStep(turn=turn, operations=operations, written=written, bounds=bounds)

    def _draw_bounds(self) -> Sequence[bytes]:
        """Where the ranges of a round begin: each of them, from the second on, has as many keys of the last turns."""
        sample = sorted(key for turn in self._turns for key in turn.keys[turn.number % _SAMPLE :: _SAMPLE])
        return [sample[len(sample) * part // RANGES] for part in range(1, RANGES)] if sample else ()

    def _due(self, turn: Turn, bounds: Sequence[bytes]) -> Written:
        """What is written with a turn: its range of what waits then, and what waits since the place that it takes."""
        waiting, newest = self._waiting, turn.values
        due: Written = {}
        if len(self._turns) == RANGES:
            last = self._turns[0].values
            due = {key: value for key, value in last.items() if waiting.get(key) is last and key not in newest}
        if bounds:
            part = turn.number % RANGES
            low, high = bounds[part - 1] if part else b"", bounds[part] if part < RANGES - 1 else None
            for kept in self._turns:
                values = kept.values
                due.update([(key, values[key]) for key in _range(kept.keys, low, high) if waiting.get(key) is values])
            due.update([(key, newest[key]) for key in _range(turn.keys, low, high) if key in newest])
        return due

    def adopt(self, step: ValuesStep) -> None:
        """Makes the step the present; its operations are durable by now."""
        self._add(step.turn)
        for key in step.written:  # among them all that waited since the turn that is not kept any more
            self._waiting.pop(key, None)
        self._bounds = step.bounds

    def _add(self, turn: Turn) -> Values | None:
        """Keeps a turn, but for its keys that do not wait. Gives the values of the one that is not kept any more: what
        still waits of them is written."""
        waiting, turns, values = self._waiting, self._turns, turn.values
        self._number = turn.number
        self._scanned.clear()
        if not turn.keys:
            waiting.clear()
        waiting.update(zip(values, repeat(values)))
        if len(values) < len(turn.keys):
            for key in turn.keys:
                if key not in values:
                    waiting.pop(key, None)
            turn = turn._replace(keys=list(values))
        turns.append(turn)
        return turns.popleft().values if len(turns) > RANGES else None


def _choose(writes: Sequence[Write], size: int) -> Values:
    """Those values of a block that wait. `size`: what all of it takes, without values."""
    values = {key: value for key, value in writes if value is not None and len(value) <= WAITING_BYTES_MAX}
    size += sum(map(len, values.values()))
    return values if size <= TURN_BYTES_MAX else {}


def _range(keys: list[bytes], low: bytes, end: bytes | None) -> list[bytes]:
    """Of ascending keys those from `low` on and below `end`."""
    return keys[bisect_left(keys, low) : len(keys) if end is None else bisect_left(keys, end)]
