"""Who waits at the door for which transaction, and the replies that a block owes them.

Two ways to wait: a connection that handed a transaction in hears who used its nonce, until its expiry; one that only
asks for the outcome of a transaction (`Await`) hears of that one, for a while. Both tables are bounded, for each
connection and for all, and a connection that closes leaves them. Replies of one block to one connection leave together.
Who may wait, and what a refusal says, is `client_door`'s.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ledger.transaction import Receipt, SignedTransaction
from pbft.core.config import TICK_MS
from pbft.node.client_visit import Visit
from pbft.wire.client_frames import Replies
from pbft.wire.limits import AWAITED_MAX, REPLIES_MAX

WAITING_MAX: Final = 10_000  # transactions somebody waits for; as many as the core keeps pending
WAITING_PER_VISIT_MAX: Final = 2_048  # of one connection: sixteen accounts with full windows, and as many that are
# ordered and not executed here
OUTCOMES_PER_VISIT_MAX: Final = 4 * AWAITED_MAX  # asked for on one connection: this replica may lag, its client not
OUTCOMES_MAX: Final = 10 * OUTCOMES_PER_VISIT_MAX  # of all connections: about ten megabytes
OUTCOMES_TICKS: Final = 30_000 // TICK_MS  # a question lives so long, or twice: the transaction is late by then
REPLIES_BYTES_MAX: Final = 262_144  # of the replies that leave together; a single one may be longer

Waiter = tuple[Visit, int]  # with the correlation of its question


@dataclass(slots=True, kw_only=True, eq=False)
class Waiting:
    """Somebody has handed in a transaction."""

    visit: Visit
    correlation: int
    tx_id: bytes
    client: bytes
    nonce: int
    expiry_height: int
    expiry_time: int


class WaitingTable:
    """Transactions that were handed in here, by (client, nonce): what the answer is about."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[bytes, int], list[Waiting]] = {}
        self._count = 0
        self._first_height = self._first_time = 0
        """No entry expires before these: lower bounds, so that most blocks look at none."""

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Waiting]:
        for everybody in self._waiting.values():
            yield from everybody

    def add(self, visit: Visit, correlation: int, signed: SignedTransaction) -> None:
        """Remember who asked. Asking again on the same connection moves the answer to the newest question."""
        transaction = signed.transaction
        everybody = self._waiting.setdefault((transaction.sender, transaction.nonce), [])
        for other in everybody:
            if other.visit is visit and other.tx_id == signed.tx_id:
                other.correlation = correlation
                return
        waiting = Waiting(
            visit=visit,
            correlation=correlation,
            tx_id=signed.tx_id,
            client=transaction.sender,
            nonce=transaction.nonce,
            expiry_height=transaction.expiry_height,
            expiry_time=transaction.expiry_time,
        )
        everybody.append(waiting)
        visit.waiting[waiting] = None
        if not self._count:
            self._first_height, self._first_time = waiting.expiry_height, waiting.expiry_time
        self._first_height = min(self._first_height, waiting.expiry_height)
        self._first_time = min(self._first_time, waiting.expiry_time)
        self._count += 1

    def forget(self, waiting: Waiting) -> None:
        """Takes an entry out."""
        del waiting.visit.waiting[waiting]
        key = (waiting.client, waiting.nonce)
        everybody = self._waiting[key]
        everybody.remove(waiting)
        if not everybody:
            del self._waiting[key]
        self._count -= 1

    def take(self, receipt: Receipt) -> Iterable[Waiter]:
        """Takes out whom this receipt answers. A refused one left its nonce free: another transaction may still use it,
        so it answers only those who wait for its own."""
        everybody = self._waiting.get((receipt.sender, receipt.nonce))
        if everybody is None:
            return ()
        is_final = receipt.status != "refused"
        answered = [waiting for waiting in everybody if is_final or waiting.tx_id == receipt.tx_id]
        for waiting in answered:
            self.forget(waiting)
        return [(waiting.visit, waiting.correlation) for waiting in answered]

    def take_expired(self, height: int, time_ms: int) -> list[Waiting]:
        """Takes out what no block after this one can execute."""
        if not self._count or (height < self._first_height and time_ms <= self._first_time * 1_000):
            return []
        expired = [waiting for waiting in self if _is_expired(waiting, height, time_ms)]
        for waiting in expired:
            self.forget(waiting)
        self._first_height = min((waiting.expiry_height for waiting in self), default=0)
        self._first_time = min((waiting.expiry_time for waiting in self), default=0)
        return expired


def _is_expired(waiting: Waiting, height: int, time_ms: int) -> bool:
    return waiting.expiry_height <= height or waiting.expiry_time * 1_000 < time_ms


class OutcomeQuestions:
    """Transactions that were handed in elsewhere, by id. What is not executed within a while is forgotten."""

    def __init__(self) -> None:
        self._young: dict[bytes, list[Visit]] = {}
        self._old: dict[bytes, list[Visit]] = {}
        self._count = 0
        self._ticks = 0

    def __len__(self) -> int:
        return self._count

    def add(self, visit: Visit, correlation: int, tx_id: bytes) -> bool:
        """Remembers a question; one that is asked again moves the answer to the newest. False where there is no room.

        A connection at its limit loses its oldest question, whose answer its client has got elsewhere by now.
        """
        if tx_id not in visit.awaited:
            if len(visit.awaited) >= OUTCOMES_PER_VISIT_MAX:
                self._forget(visit, next(iter(visit.awaited)))
            if self._count >= OUTCOMES_MAX:
                return False
            self._young.setdefault(tx_id, []).append(visit)
            self._count += 1
        visit.awaited[tx_id] = correlation
        return True

    def take(self, tx_id: bytes) -> list[Waiter]:
        """Takes out who waits for a transaction."""
        visits = self._young.pop(tx_id, [])
        if tx_id in self._old:
            visits = self._old.pop(tx_id) + visits
        self._count -= len(visits)
        return [(visit, visit.awaited.pop(tx_id)) for visit in visits]

    def leave(self, visit: Visit) -> None:
        """A connection is gone."""
        for tx_id in list(visit.awaited):
            self._forget(visit, tx_id)

    def _forget(self, visit: Visit, tx_id: bytes) -> None:
        del visit.awaited[tx_id]
        table = self._young if visit in self._young.get(tx_id, ()) else self._old
        table[tx_id].remove(visit)
        if not table[tx_id]:
            del table[tx_id]
        self._count -= 1

    def tick(self) -> None:
        """Forgets what has waited for long enough."""
        self._ticks += 1
        if self._ticks % OUTCOMES_TICKS == 0:
            for tx_id, visits in self._old.items():
                self._count -= len(visits)
                for visit in visits:
                    del visit.awaited[tx_id]
            self._young, self._old = {}, self._young


class OwedReplies:
    """Replies to be sent, by connection."""

    def __init__(self) -> None:
        self._by_visit: dict[Visit, list[tuple[int, bytes]]] = {}

    def add(self, waiters: Iterable[Waiter], reply: bytes) -> None:
        """One reply, for each of these."""
        for visit, correlation in waiters:
            self._by_visit.setdefault(visit, []).append((correlation, reply))

    def send(self, view: int, primary: int) -> None:
        """Answers, with few frames to each connection."""
        for visit, replies in self._by_visit.items():
            for part in _parts(replies):
                visit.answer(Replies(replies=tuple(part), view_hint=view, primary_hint=primary))
        self._by_visit = {}


def _parts(replies: list[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    part: list[tuple[int, bytes]] = []
    size = 0
    for entry in replies:
        if part and (len(part) == REPLIES_MAX or size + len(entry[1]) > REPLIES_BYTES_MAX):
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry[1])
    if part:
        yield part
