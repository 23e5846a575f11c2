"""What a client may look at: views of contracts, proofs, and where this replica stands. No Twisted, no clock.

Its rules: a view runs between two blocks, so that its state is exactly that of the height it shows (D48); a proof that
waits for a certificate is completed when that is there; both are bounded per client certificate and in all, so that no
flood of them delays a block, and no client takes all places by opening connections. Contracts run in the
worker, proofs come from the ledger.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from ledger.block import Header
from ledger.chain import Chain
from ledger.errors import InvalidProof, ProofNotReady
from ledger.execution import Call, CallOutcome
from pbft.node.client_visit import RETRY_SOON_MS, Refusal, Visit
from pbft.wire.client_frames import Head, HeadRequest, Proof, ProofAnswer, View, ViewAnswer

READS_MAX: Final = 64  # views and proofs not answered yet, of all clients
READS_PER_CLIENT_MAX: Final = 16  # with one certificate, on however many connections: four busy clients fill the table
PROOF_TICKS_MAX: Final = 100  # 5 s: a certificate follows its block within a round trip, or the network is in trouble
VIEW_GAS_MAX: Final = 5_000_000  # as a transaction: what can be written can be read
NO_HASH: Final = bytes(32)  # sender and transaction of a view: nobody, none
NOT_CERTIFIED: Final = "not_certified_yet"


class Views(Protocol):
    """The contract worker, as reads need it (`pbft.node.execution.Worker`)."""

    def run_view(
        self, call: Call, height: int, time_ms: int, network: bytes, on_outcome: Callable[[CallOutcome], None]
    ) -> None:
        """Run a read on the newest committed state, which is that of `height`."""
        ...


class Standing(Protocol):
    """What clients are told about the order of things: hints, never promises (`pbft.core.replica.Replica`)."""

    @property
    def view(self) -> int: ...
    @property
    def primary(self) -> int: ...

    def has_room(self, request_bytes: int, /) -> bool:
        """Whether a request of this size can wait here."""
        ...

    def is_queued(self, tx_id: bytes, /) -> bool:
        """Whether a request waits for its place in the order: no proposal that is under way holds it."""
        ...


@dataclass(slots=True, kw_only=True)
class _WaitingProof:
    """A proof that lacks its certificate."""

    visit: Visit
    correlation: int
    complete: Callable[[], bytes]
    ticks: int = 0


class ClientReads:
    """Answers views, proofs and questions for the head. One per replica."""

    def __init__(
        self, *, chain: Chain, network: bytes, views: Views, is_executing: Callable[[], bool], standing: Standing
    ) -> None:
        """`is_executing` asks whether a block is on its way through the worker."""
        self._chain = chain
        self._network = network
        self._views = views
        self._is_executing = is_executing
        self._standing = standing
        self._asked: deque[tuple[Visit, View]] = deque()  # views, until the block on its way is done
        self._proofs: list[_WaitingProof] = []
        self._open = 0
        self._open_by_client: Counter[bytes] = Counter()  # the same, by the key of the client's certificate

    def between_blocks(self) -> None:
        """A block is durable and the next has not begun: the moment for views."""
        self._process_views()
        self._process_proofs()

    def tick(self) -> None:
        """Time passes: certificates may have come."""
        for waiting in self._proofs:
            waiting.ticks += 1
        self._process_proofs()

    def _begin(self, visit: Visit) -> None:
        own = self._open_by_client[visit.client]
        if own >= READS_PER_CLIENT_MAX or self._open >= READS_MAX:
            raise Refusal("busy", f"{self._open} reads wait here, {own} of this client", RETRY_SOON_MS)
        self._open_by_client[visit.client] += 1
        self._open += 1

    def _end(self, visit: Visit) -> None:
        self._open_by_client[visit.client] -= 1
        if not self._open_by_client[visit.client]:
            del self._open_by_client[visit.client]
        self._open -= 1

    # -- views --

    def receive_view(self, visit: Visit, frame: View) -> None:
        """Run it now, or after the block on its way. Raises Refusal `behind`, `busy`."""
        if frame.min_height > self._chain.height:
            raise Refusal("behind", f"height {self._chain.height}, {frame.min_height} wanted", RETRY_SOON_MS)
        self._begin(visit)
        self._asked.append((visit, frame))
        if not self._is_executing():
            self._process_views()

    def _process_views(self) -> None:
        head = self._chain.head
        while self._asked:
            visit, frame = self._asked.popleft()
            if visit.is_closed:
                self._end(visit)
                continue
            call = Call(
                tx_id=NO_HASH,
                sender=NO_HASH,
                contract=frame.contract,
                method=frame.method,
                arguments=frame.arguments,
                gas_limit=VIEW_GAS_MAX,
            )
            answer = partial(self._answer_view, visit, frame.correlation, head)
            self._views.run_view(call, head.height, head.time_ms, self._network, answer)

    def _answer_view(self, visit: Visit, correlation: int, head: Header, outcome: CallOutcome) -> None:
        self._end(visit)
        if not visit.is_closed:
            visit.answer(
                ViewAnswer(
                    correlation=correlation,
                    height=head.height,
                    time_ms=head.time_ms,
                    status=outcome.status,
                    code=outcome.code,
                    result=outcome.result,
                )
            )

    # -- proofs --

    def receive_proof(self, visit: Visit, frame: Proof) -> None:
        """Answer with the proof when its certificate is there. Raises Refusal `busy`."""
        self._begin(visit)
        if frame.tx_id is not None:
            complete = partial(self._chain.receipt_proof, frame.tx_id)
        else:
            complete = partial(self._chain.complete_state_proof, self._chain.draft_state_proof(frame.key or b""))
        self._proofs.append(_WaitingProof(visit=visit, correlation=frame.correlation, complete=complete))
        self._process_proofs()

    def _process_proofs(self) -> None:
        self._proofs = [waiting for waiting in self._proofs if not self._is_answered(waiting)]

    def _is_answered(self, waiting: _WaitingProof) -> bool:
        if waiting.visit.is_closed:
            self._end(waiting.visit)
            return True
        code, proof = "", b""
        try:
            proof = waiting.complete()
        except ProofNotReady:
            if waiting.ticks < PROOF_TICKS_MAX:
                return False
            code = NOT_CERTIFIED
        except InvalidProof as error:
            code = error.code
        self._end(waiting.visit)
        waiting.visit.answer(ProofAnswer(correlation=waiting.correlation, code=code, proof=proof))
        return True

    # -- the head --

    def receive_head_request(self, visit: Visit, frame: HeadRequest) -> None:
        """Where this replica stands, by its own word."""
        head = self._chain.head
        certificate = self._chain.newest_certificate()
        visit.answer(
            Head(
                correlation=frame.correlation,
                height=head.height,
                time_ms=head.time_ms,
                header_hash=head.hash,
                certified_height=certificate.height if certificate is not None else 0,
                view=self._standing.view,
                primary=self._standing.primary,
            )
        )
