"""The door: what a client may hand in, what it is told, and who waits for which answer. No Twisted, no clock.

It owns admission (form, network, signature, limits, expiry, nonce) and the table of who waits for which transaction.
Its rules: what passes is a well-formed transaction with its whole private payload (D50) and its client's valid
signature, whatever it asks for (D42); a refusal here is never final (D47); a used nonce is answered with its first
receipt, at once (D43); every table has a bound, and closing a connection frees its places. Bytes and connections are
left to `client_port`, order to the core, views and proofs to `client_reads`.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ledger.admission import NONCE_WINDOW
from ledger.block import Block, Header
from ledger.chain import Chain, StoredReceipt
from ledger.errors import InvalidTransaction
from ledger.payload import verify_payload
from ledger.transaction import (
    EXPIRY_AHEAD_MAX,
    Receipt,
    SignedTransaction,
    compute_tx_id,
    parse_receipt,
    parse_transaction,
)
from pbft.core.client_session import ReplyContent
from pbft.core.messages import Request
from pbft.node.client_reads import ClientReads, Standing, Views
from pbft.node.client_visit import RETRY_BUSY_MS, RETRY_NEVER_MS, RETRY_SOON_MS, Answer, Refusal, Visit
from pbft.node.metrics import Metrics
from pbft.wire.client_frames import ClientFrame, Proof, Refused, Reply, Submit, View
from pbft.wire.codec import make_request
from pbft.wire.limits import DETAIL_CHARACTERS_MAX, WireError

WAITING_MAX: Final = 10_000  # transactions somebody waits for; as many as the core keeps pending
WAITING_PER_VISIT_MAX: Final = 1_024  # of one connection: sixteen accounts with full windows
RECENT_BLOCKS: Final = 4  # whose receipts are found without the ledger: witnesses are asked within a round trip
RECENT_BLOCK_BYTES_MAX: Final = 1_048_576  # of the receipts of each; a block of 500 transfers has a tenth
HEAP_SLACK: Final = 64  # entries that are over and may stay in a heap, so that small tables are not rebuilt


class RequestVerifier(Protocol):
    """Checks a client's signature and remembers what verified, so that no batch checks it again (D44)."""

    def verify_request(self, request: Request) -> None:
        """Raises WireError."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Waiting:
    """Somebody waits for the outcome of a transaction."""

    visit: Visit
    correlation: int
    tx_id: bytes
    client: bytes
    nonce: int
    expiry_height: int
    expiry_time: int
    is_over: bool = False


class ClientDoor:
    """Admits transactions, answers reads and proofs, and remembers who waits. One per replica."""

    def __init__(
        self,
        *,
        chain: Chain,
        network: bytes,
        verifier: RequestVerifier,
        submit: Callable[[Request], None],
        views: Views,
        is_executing: Callable[[], bool],
        standing: Standing,
        metrics: Metrics,
        halted: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`submit` hands a request to the core; `is_executing` asks whether a block is on its way through the worker;
        `halted` says why this replica stopped for good: from then on it answers nothing else (M45).

        Subscribe the door to the execution: it must hear of every block before the next one starts.
        """
        self._chain = chain
        self._network = network
        self._verifier = verifier
        self._submit = submit
        self._reads = ClientReads(
            chain=chain, network=network, views=views, is_executing=is_executing, standing=standing
        )
        self._standing = standing
        self._metrics = metrics
        self._waiting: dict[tuple[bytes, int], list[Waiting]] = {}  # by (client, nonce): what the answer is about
        self._waiting_count = 0
        self._by_height: list[tuple[int, int, Waiting]] = []  # heaps of expiries; the middle number breaks ties
        self._by_time: list[tuple[int, int, Waiting]] = []
        self._arrivals = 0
        self._recent: deque[tuple[Block, dict[bytes, tuple[int, Receipt]]]] = deque(maxlen=RECENT_BLOCKS)
        self._halted = halted

    # -- connections --

    def open(self, answer: Answer, client: bytes) -> Visit:
        """A client has connected; every answer to it goes through `answer`, now or later, until `close`.

        `client` is the public key of its certificate, shared by all its connections.
        """
        return Visit(answer=answer, client=client)

    def close(self, visit: Visit) -> None:
        """The connection is gone: nobody waits any more. What was handed in is still ordered."""
        visit.is_closed = True
        for waiting in list(visit.waiting):
            self._forget(waiting)

    def receive(self, visit: Visit, frame: ClientFrame) -> bool:
        """Answer a frame, now or later. False for one that only a faulty or hostile client sends."""
        tx_id = b""
        try:
            halted = self._halted()
            if halted is not None:
                raise Refusal("halted", f"this replica has stopped: {halted}", RETRY_NEVER_MS)
            if isinstance(frame, Submit):
                if self._answer_recent(visit, frame):
                    return True
                signed = parse_transaction(frame.transaction)
                tx_id = signed.tx_id
                self._receive_submit(visit, frame.correlation, signed, frame.private_payload)
            elif isinstance(frame, View):
                self._reads.receive_view(visit, frame)
            elif isinstance(frame, Proof):
                self._reads.receive_proof(visit, frame)
            else:
                self._reads.receive_head_request(visit, frame)
        except Refusal as refusal:
            self._refuse(visit, frame.correlation, tx_id, refusal)
        except (InvalidTransaction, WireError) as error:
            self._refuse(visit, frame.correlation, tx_id, Refusal(error.code, error.detail, RETRY_NEVER_MS))
            return False
        return True

    def tick(self) -> None:
        """To be called every `pbft.core.config.TICK_MS`."""
        if self._halted() is None:
            self._reads.tick()

    # -- transactions --

    def _answer_recent(self, visit: Visit, frame: Submit) -> bool:
        """Answer what was executed a moment ago: that is what a client asks its witnesses, each transaction again."""
        tx_id = compute_tx_id(frame.transaction)
        for block, receipts in self._recent:
            found = receipts.get(tx_id)
            if found is not None:
                index, receipt = found
                self._answer(visit, frame.correlation, receipt, _stored(block, index))
                return True
        return False

    def _receive_submit(self, visit: Visit, correlation: int, signed: SignedTransaction, payload: bytes) -> None:
        transaction = signed.transaction
        if transaction.network != self._network:
            raise Refusal("wrong_network", f"this is network {self._network.hex()}", RETRY_NEVER_MS)
        stored = self._chain.find_used(transaction.sender, transaction.nonce)
        if stored is not None:
            self._reply(visit, correlation, stored)
            return
        verify_payload(signed, payload)
        request = make_request(signed, payload)
        self._verifier.verify_request(request)
        self._validate_admission(visit, signed, request.size_bytes)
        self._wait(visit, correlation, signed)
        self._metrics.client_requests_total += 1
        self._submit(request)

    def _validate_admission(self, visit: Visit, signed: SignedTransaction, size_bytes: int) -> None:
        """Raise where ordering this transaction now would be in vain or too much; execution judges for good (D42)."""
        transaction, head = signed.transaction, self._chain.head
        gas_max = self._chain.genesis.protocol.transaction_gas_max
        if transaction.gas_limit > gas_max:
            raise Refusal("gas_limit_too_high", f"gas limit {transaction.gas_limit}, at most {gas_max}", RETRY_NEVER_MS)
        if transaction.expiry_height <= head.height:
            detail = f"expiry height {transaction.expiry_height}, next height {head.height + 1}"
            raise Refusal("expired", detail, RETRY_NEVER_MS)
        if transaction.expiry_time * 1_000 < head.time_ms:
            detail = f"expiry time {transaction.expiry_time} s, agreed time {head.time_ms} ms"
            raise Refusal("expired", detail, RETRY_NEVER_MS)
        if transaction.expiry_height > head.height + EXPIRY_AHEAD_MAX:
            detail = f"expiry height {transaction.expiry_height}, at most {head.height + EXPIRY_AHEAD_MAX}"
            raise Refusal("expiry_too_far", detail, RETRY_SOON_MS)
        window = self._chain.nonce_window(transaction.sender)
        if not window.is_open(transaction.nonce):
            detail = f"nonce {transaction.nonce}, window {window.base}..{window.base + NONCE_WINDOW - 1}"
            raise Refusal("nonce_out_of_window", detail, RETRY_SOON_MS)
        if len(visit.waiting) >= WAITING_PER_VISIT_MAX:
            raise Refusal("too_many_waiting", f"at most {WAITING_PER_VISIT_MAX} on a connection", RETRY_BUSY_MS)
        if self._waiting_count >= WAITING_MAX or not self._standing.has_room(size_bytes):
            raise Refusal("busy", f"{self._waiting_count} transactions wait here", RETRY_BUSY_MS)

    def _wait(self, visit: Visit, correlation: int, signed: SignedTransaction) -> None:
        """Remember who asked. Asking again on the same connection moves the answer to the newest question."""
        transaction = signed.transaction
        for other in self._waiting.get((transaction.sender, transaction.nonce), ()):
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
        self._arrivals += 1
        self._waiting.setdefault((waiting.client, waiting.nonce), []).append(waiting)
        visit.waiting.add(waiting)
        heapq.heappush(self._by_height, (waiting.expiry_height, self._arrivals, waiting))
        heapq.heappush(self._by_time, (waiting.expiry_time, self._arrivals, waiting))
        self._waiting_count += 1
        self._metrics.client_waiting = self._waiting_count

    def _forget(self, waiting: Waiting) -> None:
        """Take an entry out of the table; the heaps let go of it when it comes up, or when they are mostly dead."""
        waiting.is_over = True
        waiting.visit.waiting.discard(waiting)
        key = (waiting.client, waiting.nonce)
        left = [other for other in self._waiting[key] if other is not waiting]
        if left:
            self._waiting[key] = left
        else:
            del self._waiting[key]
        self._waiting_count -= 1
        self._metrics.client_waiting = self._waiting_count
        if max(len(self._by_height), len(self._by_time)) > 2 * self._waiting_count + HEAP_SLACK:
            self._by_height = [entry for entry in self._by_height if not entry[2].is_over]
            self._by_time = [entry for entry in self._by_time if not entry[2].is_over]
            heapq.heapify(self._by_height)
            heapq.heapify(self._by_time)

    # -- outcomes --

    def block_executed(self, block: Block) -> None:
        """A block is durable: answer those who wait for its transactions, let go of what has expired, run reads."""
        used: dict[bytes, tuple[int, Receipt]] = {}  # by tx id: what is final for its nonce (D43)
        for index, receipt in enumerate(block.read_receipts()):
            if receipt.status != "refused":
                used[receipt.tx_id] = index, receipt
            everybody = self._waiting.get((receipt.sender, receipt.nonce))
            if everybody is not None:
                self._process_receipt(receipt, _stored(block, index), list(everybody))
        if sum(map(len, block.receipts)) <= RECENT_BLOCK_BYTES_MAX:
            self._recent.appendleft((block, used))
        self._process_expiry(block.header.height, block.header.time_ms)
        self._reads.between_blocks()

    def snapshot_installed(self, header: Header) -> None:
        """A snapshot took the ledger past blocks: whoever waits for what they executed is answered now."""
        for client, nonce in list(self._waiting):
            stored = self._chain.find_used(client, nonce)
            for waiting in list(self._waiting.get((client, nonce), ())):
                if waiting.is_over:
                    continue  # an answer before this one ended its visit
                if stored is not None:
                    self._forget(waiting)
                    self._reply(waiting.visit, waiting.correlation, stored)
                elif self._chain.nonce_window(client).is_used(nonce):
                    self._forget(waiting)
                    refusal = Refusal("nonce_out_of_window", f"nonce {nonce} is used long ago", RETRY_SOON_MS)
                    self._refuse(waiting.visit, waiting.correlation, waiting.tx_id, refusal)
        self._process_expiry(header.height, header.time_ms)
        self._reads.between_blocks()

    def _process_receipt(self, receipt: Receipt, stored: StoredReceipt, everybody: list[Waiting]) -> None:
        for waiting in everybody:
            if waiting.is_over:
                continue  # an answer before this one ended its visit
            if receipt.status == "refused" and waiting.tx_id != receipt.tx_id:
                continue  # another transaction of its nonce was refused, and left it free: this one may still execute
            self._forget(waiting)
            self._answer(waiting.visit, waiting.correlation, receipt, stored)

    def _process_expiry(self, height: int, time_ms: int) -> None:
        """Entries that no later block can execute leave the table. Their clients learn it by proof (D47)."""
        while self._by_height and (self._by_height[0][2].is_over or self._by_height[0][0] <= height):
            self._expire(heapq.heappop(self._by_height)[2])
        while self._by_time and (self._by_time[0][2].is_over or self._by_time[0][0] * 1_000 < time_ms):
            self._expire(heapq.heappop(self._by_time)[2])

    def _expire(self, waiting: Waiting) -> None:
        if waiting.is_over:
            return
        self._forget(waiting)
        refusal = Refusal("expired", "no block executed it before its expiry", RETRY_NEVER_MS)
        self._refuse(waiting.visit, waiting.correlation, waiting.tx_id, refusal)

    def _reply(self, visit: Visit, correlation: int, stored: StoredReceipt) -> None:
        self._answer(visit, correlation, parse_receipt(stored.receipt), stored)

    def _answer(self, visit: Visit, correlation: int, receipt: Receipt, stored: StoredReceipt) -> None:
        content = ReplyContent(
            client=receipt.sender,
            nonce=receipt.nonce,
            tx_id=receipt.tx_id,
            height=stored.height,
            index=stored.index,
            receipt=stored.receipt,
            header_hash=stored.header_hash,
        )
        visit.answer(
            Reply(
                correlation=correlation,
                reply=content.to_bytes(),
                view_hint=self._standing.view,
                primary_hint=self._standing.primary,
            )
        )

    def _refuse(self, visit: Visit, correlation: int, tx_id: bytes, refusal: Refusal) -> None:
        self._metrics.client_refused_total[refusal.code] += 1
        visit.answer(
            Refused(
                correlation=correlation,
                tx_id=tx_id,
                code=refusal.code,
                detail=refusal.detail[:DETAIL_CHARACTERS_MAX],
                retry_after_ms=refusal.retry_after_ms,
            )
        )


def _stored(block: Block, index: int) -> StoredReceipt:
    """A receipt of a block as the ledger gives it."""
    header = block.header
    return StoredReceipt(height=header.height, index=index, receipt=block.receipts[index], header_hash=header.hash)
