"""A client that trusts nobody: it hands everything in three times through three replicas, and keeps every answer.

It is what a drill needs and a product does not: no primary first, no session that stops asking once it knows. Each
transaction goes to three replicas at the same moment; when W of them have answered alike it is acknowledged, and is
then handed in once more, through the fourth. What is missing is handed in again and again, so that a replica that was
killed answers too when it is back. Answers are compared by their bytes, for as long as the drill runs. Everything here
happens in the reactor's thread; `acknowledged`, `seen` and `disputes` may be read from any.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from twisted.internet.task import LoopingCall

from ledger.transaction import SignedTransaction, parse_receipt
from pbft.client.links import ReplicaLinks
from pbft.client.network import ClientNetwork
from pbft.core.client_session import NOT_FINAL, parse_reply
from pbft.node.tls import TlsIdentity
from pbft.wire.client_frames import ReplicaFrame, Replies, Submit

TICK_SECONDS: Final = 0.05  # what ReplicaLinks counts its waits in
HAND_IN_AGAIN_TICKS: Final = 5  # a quarter of a second: long for an answer, short for a drill
IN_FLIGHT_MAX: Final = 2  # of one sender and not yet acknowledged: each follows the one before
FIRST_HANDS: Final = 3


@dataclass(slots=True, kw_only=True, eq=False)
class HandedIn:
    """One transaction, the replicas that it is handed to, and those that have answered for good."""

    signed: SignedTransaction
    replicas: tuple[int, ...]
    correlation: int
    answers: dict[int, bytes] = field(default_factory=dict)  # reply content by replica


class Hands:
    """Hands transactions in, each sender's in its order, and compares all answers to each."""

    def __init__(self, reactor: Any, network: ClientNetwork, identity: TlsIdentity) -> None:
        self.acknowledged: dict[bytes, bytes] = {}  # tx id -> the reply content that W replicas gave
        self.seen: dict[bytes, bytes] = {}  # tx id -> the first final reply content of any replica
        self.disputes: list[tuple[int, bytes]] = []  # (replica, tx id) of a final answer that differs from the first
        self._network = network
        self._links = ReplicaLinks(
            reactor, network, identity, on_frame=self._answered, on_up=self._link_up, on_down=lambda replica: None
        )
        self._queues: dict[bytes, deque[SignedTransaction]] = {}  # by sender
        self._open: dict[int, HandedIn] = {}  # by correlation: an answer is missing
        self._count = 0
        self._moment: tuple[int, Callable[[], None]] | None = None
        self._ticks = 0
        self._loop = LoopingCall(self._tick)
        self._loop.clock = reactor

    @property
    def unanswered(self) -> int:
        """Transactions waiting or on their way that nobody has acknowledged."""
        waiting = sum(len(queue) for queue in self._queues.values())
        return waiting + len({h.signed.tx_id for h in self._open.values()} - set(self.acknowledged))

    @property
    def is_idle(self) -> bool:
        """Whether every transaction has the answer of all four replicas."""
        return not self._open and not any(self._queues.values())

    @property
    def connected(self) -> tuple[int, ...]:
        """Replicas with an open link."""
        return self._links.connected

    def start(self) -> None:
        """Dial the replicas."""
        self._links.start()
        self._loop.start(TICK_SECONDS, now=False)

    def stop(self) -> None:
        """Hang up."""
        self._loop.stop()
        self._links.stop()

    def at_acknowledgement(self, number: int, do: Callable[[], None]) -> None:
        """Call `do` in the very turn of the reactor in which the acknowledgement of that number, from 1, arrives."""
        self._moment = (number, do)

    def hand_in(self, transactions: Sequence[SignedTransaction]) -> None:
        """Take transactions, each sender's in order; they leave as earlier ones are acknowledged."""
        for signed in transactions:
            self._queues.setdefault(signed.transaction.sender, deque()).append(signed)
        self._pump()

    def hand_in_once_more(self, transactions: Sequence[SignedTransaction]) -> None:
        """Ask all replicas again for what has been answered; `is_idle` when all have."""
        for signed in transactions:
            self._hand_to(signed, tuple(range(self._network.replicas)))

    def _pump(self) -> None:
        for sender, queue in self._queues.items():
            mine = {h.signed.tx_id for h in self._open.values() if h.signed.transaction.sender == sender}
            room = IN_FLIGHT_MAX - len(mine - set(self.acknowledged))
            for _ in range(min(room, len(queue))):
                signed = queue.popleft()
                first = signed.transaction.nonce % self._network.replicas
                self._hand_to(signed, tuple((first + offset) % self._network.replicas for offset in range(FIRST_HANDS)))

    def _hand_to(self, signed: SignedTransaction, replicas: tuple[int, ...]) -> None:
        self._count += 1
        handed = HandedIn(signed=signed, replicas=replicas, correlation=self._count)
        self._open[handed.correlation] = handed
        for replica in replicas:
            self._send(replica, handed)

    def _send(self, replica: int, handed: HandedIn) -> None:
        self._links.send(replica, Submit(correlation=handed.correlation, transaction=handed.signed.raw))

    def _tick(self) -> None:
        self._ticks += 1
        self._links.tick()
        if self._ticks % HAND_IN_AGAIN_TICKS == 0:
            for handed in self._open.values():
                for replica in handed.replicas:
                    if replica not in handed.answers:
                        self._send(replica, handed)

    def _link_up(self, replica: int) -> None:
        for handed in self._open.values():
            if replica in handed.replicas and replica not in handed.answers:
                self._send(replica, handed)

    def _answered(self, replica: int, frame: ReplicaFrame) -> None:
        """A refusal at the door ends nothing: a later tick asks again."""
        if isinstance(frame, Replies):
            for correlation, content in frame.replies:
                handed = self._open.get(correlation)
                if handed is not None:
                    self._replied(replica, handed, content)

    def _replied(self, replica: int, handed: HandedIn, content: bytes) -> None:
        """Nor does a receipt after which it may still execute."""
        reply = parse_reply(content)
        receipt = parse_receipt(reply.receipt)
        if receipt.status == "refused" and receipt.code in NOT_FINAL:
            return
        tx_id = handed.signed.tx_id
        if self.seen.setdefault(tx_id, content) != content or reply.tx_id != tx_id:
            self.disputes.append((replica, tx_id))
        handed.answers[replica] = content
        self._count_answers(handed, content)
        if len(handed.answers) == len(handed.replicas):
            del self._open[handed.correlation]

    def _count_answers(self, handed: HandedIn, content: bytes) -> None:
        tx_id = handed.signed.tx_id
        alike = sum(answer == content for answer in handed.answers.values())
        if tx_id in self.acknowledged or alike < self._network.weak_quorum:
            return
        self.acknowledged[tx_id] = content
        if self._moment is not None and len(self.acknowledged) >= self._moment[0]:
            (_, do), self._moment = self._moment, None
            do()
        left = set(range(self._network.replicas)) - set(handed.replicas)
        if left:
            self._hand_to(handed.signed, tuple(left))
        self._pump()
