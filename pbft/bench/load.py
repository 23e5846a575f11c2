"""Who sends: many clients over few connections, each transaction by the rule of section 4.1, without a Deferred each.

A request goes to the primary, and W witnesses are asked for its outcome, many at once; it is done when W replicas have
sent equal bytes (`core.client_session`, whose rule this is, without what a program's one transaction needs and a load
does not). What is not done in time (`client.patience`) goes to all, then every two seconds again. Latency is counted
until it is done: in a closed loop from sending, in an open loop from the moment at which it was due, so that a stall is
seen in all that it delays.

Lives in the reactor's thread; one timer, no log line, nothing kept of a request that is done but its latency.
"""

import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from ledger.transaction import Receipt, compute_tx_id, parse_receipt
from pbft.bench.options import BenchError
from pbft.bench.workload import Situation
from pbft.client.links import ReplicaLinks
from pbft.client.network import ClientNetwork
from pbft.client.patience import Patience
from pbft.core.client_session import parse_reply
from pbft.node.tls import TlsIdentity
from pbft.wire.client_frames import Await, HeadRequest, Refused, ReplicaFrame, Replies, Submit
from pbft.wire.limits import AWAITED_MAX

TICK_SECONDS: Final = 0.01  # how even an open loop is; a closed loop is driven by replies
LINK_TICKS: Final = 5  # of them make one of `ReplicaLinks`
LOOK_TICKS: Final = 25  # how often it is looked for requests without an answer
ALONE_SECONDS: Final = 1.0  # how long the primary has a request to itself at least
AGAIN_SECONDS: Final = 2.0  # between two sendings to all
OUTSTANDING_PER_LINK_MAX: Final = 1_000  # a replica's door takes twice as many of one connection
STEP_SECONDS_MAX: Final = 60.0  # without an answer to anything, a preparation has failed


class _Sent:
    """A transaction on its way."""

    __slots__ = ("began", "connection", "done", "first", "last", "raw", "replies")

    def __init__(
        self,
        raw: bytes,
        began: float,
        now: float,
        connection: int,
        done: "Callable[[bytes], None] | None",
    ) -> None:
        self.raw = raw
        self.began = began  # when it was due
        self.first = self.last = now  # when it was sent to anybody
        self.connection = connection
        self.done = done  # told the reply; None for load
        self.replies: dict[int, bytes] = {}


class Load:
    """Sends and counts. `start`, then `prepare` and `begin`; read `completed` and `latencies` at any time."""

    def __init__(
        self,
        reactor: Any,
        network: ClientNetwork,
        identity: TlsIdentity,
        next_request: Callable[[Situation], bytes],
        *,
        clients: int,
        rate: float | None,
    ) -> None:
        self.completed = 0
        self.latencies = array("d")  # seconds, of what was done since `forget`
        self.refused: Counter[str] = Counter()  # by code: never final, sent again
        self.resent = 0  # sendings to all, of what the primary did not answer in time
        self.late = 0  # open loop: requests that were due while `clients` were outstanding, and not sent
        self._reactor = reactor
        self._network = network
        self._next_request = next_request
        self._clients = clients
        self._rate = rate
        self._height = 0
        self._primary = 0
        self._view = -1
        self._sent: dict[int, _Sent] = {}
        self._correlation = 0
        self._pool: deque[bytes] = deque()
        self._is_loading = False
        self._is_counting = True
        self._due = 0.0  # open loop: when the next request is due
        self._ticks = 0
        self._patience = Patience(ALONE_SECONDS)
        self._questions: dict[tuple[int, int], list[tuple[int, bytes]]] = {}  # (connection, replica) -> what to ask
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        count = -(-clients // OUTSTANDING_PER_LINK_MAX)
        self._connections = [self._connect(number, identity) for number in range(count)]
        self._loop = LoopingCall(self._tick)
        self._loop.clock = reactor

    def _connect(self, number: int, identity: TlsIdentity) -> ReplicaLinks:
        return ReplicaLinks(
            self._reactor,
            self._network,
            identity,
            on_frame=self._frame_arrived,
            on_up=lambda replica: self._ask_head(number, replica),
            on_down=lambda replica: None,
        )

    # --- life ---

    def start(self) -> "Deferred[None]":
        """Dials; fires when every connection has a link to every replica that answers its dial, at least to Q."""
        for links in self._connections:
            links.start()
        self._loop.start(TICK_SECONDS, now=False)
        quorum = self._network.genesis.configuration.quorum
        return self.when(lambda: all(len(links.connected) >= quorum for links in self._connections) and self._view >= 0)

    def stop(self) -> None:
        """Ends the loop and the links."""
        self._is_loading = False
        if self._loop.running:
            self._loop.stop()
        for links in self._connections:
            links.stop()

    def when(self, condition: Callable[[], bool]) -> "Deferred[None]":
        """Fires at the first tick at which the condition holds."""
        fired: Deferred[None] = Deferred()
        self._waiting.append((condition, fired))
        return fired

    @property
    def outstanding(self) -> int:
        """Requests sent and not done."""
        return len(self._sent)

    @property
    def situation(self) -> Situation:
        """Where the network is, by what its replicas say."""
        return Situation(network=self._network.network_id, height=self._height, time_s=int(time.time()))

    # --- preparing ---

    def prepare(self, raws: Sequence[bytes], on_receipt: Callable[[Receipt], None]) -> "Deferred[None]":
        """Sends these transactions, `clients` at once; fires when all are done, each receipt told to `on_receipt`."""
        queue = deque(raws)
        left = len(queue)

        def send_next() -> None:
            if queue:
                self._send(queue.popleft(), self._reactor.seconds(), done)

        def done(reply: bytes) -> None:
            nonlocal left
            left -= 1
            on_receipt(parse_receipt(parse_reply(reply).receipt))
            send_next()

        for _ in range(min(self._clients, len(raws))):
            send_next()
        self._ask_outcomes()
        return self.when(lambda: left == 0)

    def sign_ahead(self, count: int) -> None:
        """Signs requests before they are sent, so that the window measures replicas and not this process."""
        situation = self.situation
        self._pool.extend(self._next_request(situation) for _ in range(count))

    # --- load ---

    def begin(self) -> None:
        """From now on load is sent until `end`."""
        self._is_loading = True
        self._due = self._reactor.seconds()
        if self._rate is None:
            for _ in range(self._clients):
                self._send_load(self._reactor.seconds())
            self._ask_outcomes()

    def end(self) -> "Deferred[None]":
        """Sends no more; fires when nothing is outstanding."""
        self._is_loading = False
        return self.when(lambda: not self._sent)

    def forget(self) -> None:
        """Counts from here on: the window begins."""
        self._is_counting = True
        self.completed, self.resent, self.late = 0, 0, 0
        self.latencies = array("d")
        self.refused.clear()

    def freeze(self) -> None:
        """Counts no more: the window is over, while the load goes on."""
        self._is_counting = False

    def _send_load(self, due: float) -> None:
        raw = self._pool.popleft() if self._pool else self._next_request(self.situation)
        self._send(raw, due, None)

    def _send(self, raw: bytes, due: float, done: "Callable[[bytes], None] | None") -> None:
        self._correlation += 1
        connection = self._correlation % len(self._connections)
        now = self._reactor.seconds()
        sent = _Sent(raw, due, now, connection, done)
        self._sent[self._correlation] = sent
        self._patience.sent(self._correlation, self._primary, now)
        self._send_to(self._primary, self._correlation, sent)
        question = (self._correlation, compute_tx_id(raw))
        for offset in range(1, self._network.weak_quorum + 1):
            witness = (self._primary + offset) % self._network.replicas
            questions = self._questions.setdefault((connection, witness), [])
            questions.append(question)
            if len(questions) == AWAITED_MAX:
                self._ask_outcomes()

    def _ask_outcomes(self) -> None:
        """Asks the witnesses, at the end of what has sent requests."""
        for (connection, witness), questions in self._questions.items():
            self._connections[connection].send(witness, Await(tuple(questions)))
        self._questions.clear()

    def _send_to(self, replica: int, correlation: int, sent: _Sent) -> None:
        self._connections[sent.connection].send(replica, Submit(correlation=correlation, transaction=sent.raw))

    # --- answers ---

    def _frame_arrived(self, replica: int, frame: ReplicaFrame) -> None:
        if isinstance(frame, Replies):
            if frame.view_hint > self._view:
                self._view, self._primary = frame.view_hint, frame.primary_hint
            now = self._reactor.seconds()
            for correlation, reply in frame.replies:
                self._patience.answered(correlation, replica, now)
                sent = self._sent.get(correlation)
                if sent is not None:
                    self._reply_arrived(replica, correlation, reply, sent)
            self._ask_outcomes()
        elif isinstance(frame, Refused):
            self.refused[frame.code] += 1
        else:
            self._height = max(self._height, getattr(frame, "height", 0))
            if getattr(frame, "view", -1) > self._view:
                self._view, self._primary = frame.view, frame.primary  # type: ignore[union-attr]

    def _reply_arrived(self, replica: int, correlation: int, reply: bytes, sent: _Sent) -> None:
        sent.replies[replica] = reply
        if sum(other == reply for other in sent.replies.values()) >= self._network.weak_quorum:
            self._done(correlation, sent, reply)

    def _done(self, correlation: int, sent: _Sent, reply: bytes) -> None:
        del self._sent[correlation]
        now = self._reactor.seconds()
        if sent.done is not None:
            sent.done(reply)
            return
        if self._is_counting:
            self.completed += 1
            self.latencies.append(now - sent.began)
        if self._is_loading and self._rate is None:
            self._send_load(now)

    # --- time ---

    def _tick(self) -> None:
        self._ticks += 1
        now = self._reactor.seconds()
        if self._ticks % LINK_TICKS == 0:
            for links in self._connections:
                links.tick()
        if self._is_loading and self._rate is not None:
            self._send_due(now, self._rate)
        if self._ticks % LOOK_TICKS == 0:
            self._send_again(now)
            self._ask_head(0, self._primary)
        self._ask_outcomes()
        for condition, fired in list(self._waiting):
            if condition():
                self._waiting.remove((condition, fired))
                fired.callback(None)

    def _send_due(self, now: float, rate: float) -> None:
        while self._due <= now:
            if len(self._sent) < self._clients:
                self._send_load(self._due)
            elif self._is_counting:
                self.late += 1
            self._due += 1.0 / rate

    def _send_again(self, now: float) -> None:
        for correlation, sent in list(self._sent.items()):
            patience = self._patience.value if sent.last == sent.first else AGAIN_SECONDS
            if now - sent.last >= patience:
                sent.last = now
                self.resent += 1
                for replica in range(self._network.replicas):
                    if replica not in sent.replies:
                        self._send_to(replica, correlation, sent)

    def _ask_head(self, connection: int, replica: int) -> None:
        self._connections[connection].send(replica, HeadRequest(correlation=0))


def require_success(receipts: Sequence[Receipt]) -> None:
    """Raises BenchError `preparation_failed` for the first that is not ok."""
    for receipt in receipts:
        if receipt.status != "ok":
            raise BenchError("preparation_failed", f"a transaction that prepares the network: {receipt.code}")
