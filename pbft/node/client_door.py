"""The door: what a client may hand in, what it is told, and who waits for which answer. No Twisted, no clock.

It owns admission (form, network, signature, limits, expiry, nonce) and the tables of who waits for which transaction.
Its rules: what passes is a well-formed transaction with its whole private payload (D50) and its client's valid
signature, whatever it asks for (D42); a refusal here is never final (D47); a used nonce is answered with its first
receipt, at once (D43); every table has a bound, and closing a connection frees its places. A transaction whose
signature is checked elsewhere (`request_lanes`) has its place while it waits for the verdict; it is then judged as if
it came now. Bytes and connections are left to `client_port`, order to the core, views and proofs to `client_reads`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from ledger.admission import NONCE_WINDOW, NonceWindow
from ledger.block import Block, Header
from ledger.chain import Chain, StoredReceipt
from ledger.errors import InvalidTransaction
from ledger.payload import verify_payload
from ledger.transaction import (
    EXPIRY_AHEAD_MAX,
    Receipt,
    SignedTransaction,
    parse_receipt,
    parse_transaction,
)
from pbft.core.client_session import write_reply
from pbft.core.messages import Request
from pbft.node.client_reads import ClientReads, Standing, Views
from pbft.node.client_visit import RETRY_BUSY_MS, RETRY_NEVER_MS, RETRY_SOON_MS, Answer, Refusal, Visit
from pbft.node.client_waiting import (
    WAITING_MAX,
    WAITING_PER_VISIT_MAX,
    OutcomeQuestions,
    OwedReplies,
    Waiting,
    WaitingTable,
)
from pbft.node.metrics import Metrics
from pbft.node.request_lanes import InlineLanes, Lanes
from pbft.wire.client_frames import Await, ClientFrame, Proof, Refused, Submit, View
from pbft.wire.codec import make_request
from pbft.wire.limits import DETAIL_CHARACTERS_MAX, WireError


class RequestVerifier(Protocol):
    """Checks a client's signature and remembers what verified, so that no batch checks it again (D44)."""

    def verify_request(self, request: Request) -> None:
        """Raises WireError."""
        ...


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
        lanes: Lanes | None = None,
        halted: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`submit` hands a request to the core; `is_executing` asks whether a block is on its way through the worker;
        `lanes` say where signatures are checked, None for here; `halted` says why this replica stopped for good: from
        then on it answers nothing else (M45).

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
        self._waiting = WaitingTable()
        self._questions = OutcomeQuestions()
        self._lanes = lanes or InlineLanes()
        self._held = self._held_bytes = 0  # transactions that wait for their verdict
        self._halted = halted
        self._told_height = 0  # of the newest block whose waiters are answered

    # -- connections --

    def open(self, answer: Answer, client: bytes, on_fault: Callable[[], None] = lambda: None) -> Visit:
        """A client has connected; every answer to it goes through `answer`, now or later, until `close`.

        `client` is the public key of its certificate, shared by all its connections; `on_fault` hears, now or later, of
        each frame that only a faulty or hostile client sends.
        """
        return Visit(answer=answer, on_fault=on_fault, lane=self._lanes.open(), client=client)

    def close(self, visit: Visit) -> None:
        """The connection is gone: nobody waits any more. What was handed in is still ordered."""
        visit.is_closed = True
        if visit.is_shown_out:
            visit.lane.release()  # to be dropped: verifiers are not asked about the rest of it
        for waiting in list(visit.waiting):
            self._waiting.forget(waiting)
        self._questions.leave(visit)
        self._metrics.client_waiting = len(self._waiting)

    def receive(self, visit: Visit, frame: ClientFrame) -> None:
        """Answer a frame, now or later."""
        asked = frame.entries if isinstance(frame, Await) else ((frame.correlation, b""),)
        try:
            self._require_running()
            if isinstance(frame, Submit):
                signed = parse_transaction(frame.transaction)
                asked = ((frame.correlation, signed.tx_id),)
                self._receive_submit(visit, frame.correlation, signed, frame.private_payload)
            elif isinstance(frame, Await):
                self._receive_await(visit, frame)
            elif isinstance(frame, View):
                self._reads.receive_view(visit, frame)
            elif isinstance(frame, Proof):
                self._reads.receive_proof(visit, frame)
            else:
                self._reads.receive_head_request(visit, frame)
        except (Refusal, InvalidTransaction, WireError) as error:
            self._fail(visit, asked, error)

    def _require_running(self) -> None:
        halted = self._halted()
        if halted is not None:
            raise Refusal("halted", f"this replica has stopped: {halted}", RETRY_NEVER_MS)

    def _fail(
        self, visit: Visit, asked: Sequence[tuple[int, bytes]], error: Refusal | InvalidTransaction | WireError
    ) -> None:
        """Say no to each of these (correlation, transaction); an error is the client's fault."""
        refusal = error if isinstance(error, Refusal) else Refusal(error.code, error.detail, RETRY_NEVER_MS)
        for correlation, tx_id in asked:
            self._refuse(visit, correlation, tx_id, refusal)
        if error is not refusal:
            visit.on_fault()

    def tick(self) -> None:
        """To be called every `pbft.core.config.TICK_MS`."""
        if self._halted() is None:
            self._questions.tick()
            self._reads.tick()

    # -- transactions --

    def _receive_await(self, visit: Visit, frame: Await) -> None:
        """Answer what is final, and wait for the rest: what is not executed, or was refused and may be tried again.

        A question comes with its request, so only recent outcomes are looked for. An older one is the answer to who
        hands in the transaction, as every client does that got none.
        """
        owed = OwedReplies()
        executed = self._chain.recent_receipts([tx_id for _, tx_id in frame.entries])
        for correlation, tx_id in frame.entries:
            if visit.is_closed:
                return  # a refusal that it did not read ended it
            stored = executed.get(tx_id)
            receipt = None if stored is None else parse_receipt(stored.receipt)
            if stored is not None and receipt is not None and receipt.status != "refused":
                owed.add([(visit, correlation)], _stored_reply(receipt, stored))
            elif not self._questions.add(visit, correlation, tx_id):
                refusal = Refusal("too_many_waiting", f"{len(self._questions)} outcomes are waited for", RETRY_BUSY_MS)
                self._refuse(visit, correlation, tx_id, refusal)
        self._send(owed)

    def _receive_submit(self, visit: Visit, correlation: int, signed: SignedTransaction, payload: bytes) -> None:
        transaction = signed.transaction
        if transaction.network != self._network:
            raise Refusal("wrong_network", f"this is network {self._network.hex()}", RETRY_NEVER_MS)
        window = self._find_window(visit, correlation, signed)
        if window is None:
            return
        verify_payload(signed, payload)
        request = make_request(signed, payload)
        if not self._hold(visit, correlation, signed, request):
            self._admit(visit, correlation, signed, request, window)

    def _find_window(self, visit: Visit, correlation: int, signed: SignedTransaction) -> NonceWindow | None:
        """The sender's nonces; None where this one is used, and answered with its first receipt (D43)."""
        transaction = signed.transaction
        window = self._chain.nonce_window(transaction.sender)
        if window.is_used(transaction.nonce):
            stored = self._chain.find_used(transaction.sender, transaction.nonce)
            if stored is not None:
                self._reply(visit, correlation, stored)
                return None
        return window

    def _hold(self, visit: Visit, correlation: int, signed: SignedTransaction, request: Request) -> bool:
        """Whether it waits for a verdict on its signature. It has a place meanwhile; where none is left, all that waits
        on this connection is judged now, and this transaction after it, so that a full door refuses as ever."""

        def go_on() -> None:
            visit.held -= 1
            self._held -= 1
            self._held_bytes -= request.size_bytes
            if not visit.is_shown_out:  # each of its forgeries would cost a check
                self._receive_checked(visit, correlation, signed, request)

        if (
            len(visit.waiting) + visit.held >= WAITING_PER_VISIT_MAX
            or len(self._waiting) + self._held >= WAITING_MAX
            or not self._standing.has_room(request.size_bytes + self._held_bytes)
        ):
            visit.lane.release()
        elif visit.lane.hold((request,), request.size_bytes, go_on):
            visit.held += 1
            self._held += 1
            self._held_bytes += request.size_bytes
            return True
        return False

    def _receive_checked(self, visit: Visit, correlation: int, signed: SignedTransaction, request: Request) -> None:
        """Its verdict is there, or will not come: judge it as if it came now, for blocks have been executed since.

        Its connection may be gone; what was handed in is ordered all the same.
        """
        try:
            self._require_running()
            window = self._find_window(visit, correlation, signed)
            if window is not None:
                self._admit(visit, correlation, signed, request, window)
        except (Refusal, WireError) as error:
            self._fail(visit, ((correlation, signed.tx_id),), error)

    def _admit(
        self, visit: Visit, correlation: int, signed: SignedTransaction, request: Request, window: NonceWindow
    ) -> None:
        """Hand it to the core, and remember who waits. Raises Refusal; WireError where its signature does not hold."""
        self._verifier.verify_request(request)
        self._validate_admission(signed, window, request.size_bytes)
        if not visit.is_closed:
            self._make_place(visit)
            self._waiting.add(visit, correlation, signed)
        self._metrics.client_waiting = len(self._waiting)
        self._metrics.client_requests_total += 1
        self._submit(request)

    def _validate_admission(self, signed: SignedTransaction, window: NonceWindow, size_bytes: int) -> None:
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
        if not window.is_open(transaction.nonce):
            detail = f"nonce {transaction.nonce}, window {window.base}..{window.base + NONCE_WINDOW - 1}"
            raise Refusal("nonce_out_of_window", detail, RETRY_SOON_MS)
        if len(self._waiting) >= WAITING_MAX or not self._standing.has_room(size_bytes):
            raise Refusal("busy", f"{len(self._waiting)} transactions wait here", RETRY_BUSY_MS)

    def _make_place(self, visit: Visit) -> None:
        """A place in the connection's share: its oldest transaction gives way once it is ordered, else it is refused.

        A replica that lags holds hundreds that others have executed, whose outcomes the client has from those others;
        if it has not, it asks again, and is answered from the ledger. What is not ordered yet keeps its place: it is
        the share of the order that a connection may ask for at once.
        """
        if len(visit.waiting) >= WAITING_PER_VISIT_MAX:
            oldest = next(iter(visit.waiting))
            if self._standing.is_queued(oldest.tx_id):
                raise Refusal("too_many_waiting", f"at most {WAITING_PER_VISIT_MAX} on a connection", RETRY_BUSY_MS)
            self._waiting.forget(oldest)

    # -- outcomes --

    def block_made(self, block: Block) -> None:
        """A block is certain here, whatever becomes of the power: answer those who wait for its transactions (D34)."""
        owed, header = OwedReplies(), block.header
        self._told_height = header.height
        for index, receipt in enumerate(block.read_receipts()):
            waiters = [*self._waiting.take(receipt), *self._questions.take(receipt.tx_id)]
            if waiters:
                owed.add(waiters, _reply(receipt, header.height, index, block.receipts[index], header.hash))
        self._send(owed)

    def block_executed(self, block: Block) -> None:
        """A block is durable: answer those who were not told yet, let go of what has expired, run reads."""
        if self._told_height < block.header.height:
            self.block_made(block)
        self._expire(block.header)
        self._reads.between_blocks()

    def snapshot_installed(self, header: Header) -> None:
        """A snapshot took the ledger past blocks: whoever waits for what they executed is answered now."""
        owed = OwedReplies()
        refused: list[Waiting] = []
        for waiting in list(self._waiting):
            stored = self._chain.find_used(waiting.client, waiting.nonce)
            if stored is not None:
                self._waiting.forget(waiting)
                owed.add([(waiting.visit, waiting.correlation)], _stored_reply(parse_receipt(stored.receipt), stored))
            elif self._chain.nonce_window(waiting.client).is_used(waiting.nonce):
                self._waiting.forget(waiting)
                refused.append(waiting)
        self._send(owed)
        for waiting in refused:
            refusal = Refusal("nonce_out_of_window", f"nonce {waiting.nonce} is used long ago", RETRY_SOON_MS)
            self._refuse(waiting.visit, waiting.correlation, waiting.tx_id, refusal)
        self._expire(header)
        self._reads.between_blocks()

    def _expire(self, header: Header) -> None:
        """Entries that no later block can execute leave the table. Their clients learn it by proof (D47)."""
        for waiting in self._waiting.take_expired(header.height, header.time_ms):
            refusal = Refusal("expired", "no block executed it before its expiry", RETRY_NEVER_MS)
            self._refuse(waiting.visit, waiting.correlation, waiting.tx_id, refusal)
        self._metrics.client_waiting = len(self._waiting)

    def _reply(self, visit: Visit, correlation: int, stored: StoredReceipt) -> None:
        owed = OwedReplies()
        owed.add([(visit, correlation)], _stored_reply(parse_receipt(stored.receipt), stored))
        self._send(owed)

    def _send(self, owed: OwedReplies) -> None:
        owed.send(self._standing.view, self._standing.primary)

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


def _stored_reply(receipt: Receipt, stored: StoredReceipt) -> bytes:
    return _reply(receipt, stored.height, stored.index, stored.receipt, stored.header_hash)


def _reply(receipt: Receipt, height: int, index: int, raw: bytes, header_hash: bytes) -> bytes:
    """What is told of a receipt at this place, whose bytes are `raw`."""
    return write_reply(receipt.sender, receipt.nonce, receipt.tx_id, height, index, raw, header_hash)
