"""The client with Deferreds: many transactions and questions at once over one link per replica, and one tick for all.

It owns the loop between links and the pure parts: sessions decide what a reply means, questions what an answer means,
`ReplicaLinks` keeps the connections. However many transactions wait and however often they are resent, there is one
timer per client (`ClientOptions.tick_ms`).
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import LoopingCall

from ledger.admission import NONCE_WINDOW, NonceWindow, nonce_key, parse_nonce_window
from ledger.encoding import decode, encode
from ledger.errors import InvalidProof
from ledger.payload import make_payload
from ledger.proofs import VerifiedReceipt, VerifiedState, verify_proof_from
from ledger.transaction import SignedTransaction
from pbft.client.account import Account, NonceKeeper
from pbft.client.errors import ClientError, QueryFailed
from pbft.client.links import ReplicaLinks
from pbft.client.network import ClientNetwork
from pbft.client.options import QUESTIONS_MAX, REFRESH_TICKS, ClientOptions
from pbft.client.questions import (
    HeadAnswer,
    HeadQuestion,
    ProofQuestion,
    Question,
    ReadQuestion,
    Sends,
    VouchedView,
)
from pbft.client.submissions import Submissions, SubmitResult
from pbft.core.client_session import ClientSession, Committed, NetworkBelief
from pbft.node.tls import TlsIdentity
from pbft.node.transport import Link, connect_client
from pbft.wire.client_frames import Head, HeadRequest, OneAnswer, Proof, Refused, ReplicaFrame, Replies, View

ReadLevel: TypeAlias = Literal["local", "vouched", "latest"]
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryAnswer:
    """A view's value, and how much can be believed of it."""

    value: Any  # canonical values: int, str, bytes, bool, list, dict, None
    height: int
    time_ms: int | None  # agreed time of that height; None for `latest`, whose receipt holds none
    read: str  # the read level
    vouched_by: tuple[int, ...]  # ascending replica ids


@dataclass(slots=True)
class _Asked:
    """A question with the one who waits for its answer; mutable, private."""

    question: Question[Any]
    until_tick: int
    deferred: "Deferred[Any]"


class TwistedClient:
    """A client of one network. `start` it, and `stop` it when done; every question returns a Deferred."""

    def __init__(
        self,
        reactor: Any,
        network: ClientNetwork,
        identity: TlsIdentity,
        *,
        options: ClientOptions | None = None,
        now: Callable[[], float] = time.time,
        dial: "Callable[..., Deferred[Link]]" = connect_client,
    ) -> None:
        self.network = network
        self.options = options if options is not None else ClientOptions()
        self.belief = NetworkBelief(replicas=network.replicas, weak_quorum=network.weak_quorum)
        self.links = ReplicaLinks(
            reactor,
            network,
            identity,
            on_frame=self._frame_arrived,
            on_up=self._link_up,
            on_down=self._link_down,
            dial=dial,
        )
        self._now = now
        self._ticks = 0
        self._correlation = 0
        self._submissions = Submissions(
            replicas=network.replicas,
            weak_quorum=network.weak_quorum,
            belief=self.belief,
            options=self.options,
            send=self.links.send,
            next_correlation=self._next_correlation,
            ask_head=self._ask_head_once,
            ask_nonce_proof=self._ask_nonce_proof,
        )
        self._asked: dict[int, _Asked] = {}
        self._queue: deque[tuple[int, _Asked]] = deque()  # questions beyond QUESTIONS_MAX, in order
        self._heads_asked: dict[int, int] = {}  # replica -> tick of the last request: sessions share one
        self._loop = LoopingCall(self._tick)
        self._loop.clock = reactor

    # --- life ---

    def start(self) -> None:
        """Dial the replicas and begin to tick."""
        self.links.start()
        self._loop.start(self.options.tick_ms / 1000, now=False)

    def stop(self) -> None:
        """Close the links. Who still waits for a transaction gets OutcomeUnknown; for an answer, its failure."""
        if self._loop.running:
            self._loop.stop()
        self._submissions.stop()
        waiting = [*self._asked.values(), *(asked for _correlation, asked in self._queue)]
        self._asked.clear()
        self._queue.clear()
        for asked in waiting:
            asked.deferred.errback(asked.question.failure())
        self.links.stop()

    # --- transactions ---

    def submit(
        self,
        account: Account,
        contract: str,
        method: str,
        *arguments: object,
        gas_limit: int | None = None,
        follows: int | None = None,
        private: Sequence[object] = (),
        patience_ms: int | None = None,
    ) -> "Deferred[SubmitResult]":
        """Sign a call under the account's next free nonce and see it through. Errback: WindowFull, NotVouched.

        `private` values travel beside the signed bytes and are never in a block, receipt or state (D50): the contract
        reads them by `private_value(index)`. Nothing gives them back.
        """

        def send(_height: int) -> "Deferred[SubmitResult]":
            commitments, payload = make_payload(private)
            signed = self.sign(
                account, contract, method, *arguments, gas_limit=gas_limit, follows=follows, commitments=commitments
            )
            return self.submit_signed(signed, payload=payload, account=account, patience_ms=patience_ms)

        return self.ready().addCallback(send)

    def sign(
        self,
        account: Account,
        contract: str,
        method: str,
        *arguments: object,
        nonce: int | None = None,
        gas_limit: int | None = None,
        follows: int | None = None,
        commitments: tuple[bytes, ...] = (),
    ) -> SignedTransaction:
        """Sign a call with this client's expiry, under the next free nonce unless one is given; after `ready()`."""
        height = self.belief.height
        if height is None:
            raise ValueError("the height is not known yet: wait for ready()")
        return account.sign(
            contract,
            method,
            arguments,
            nonce=account.nonces.reserve() if nonce is None else nonce,
            expiry_height=height + self.options.expiry_heights,
            expiry_time=int(self._now()) + self.options.expiry_seconds,
            gas_limit=self.options.gas_limit if gas_limit is None else gas_limit,
            follows=follows,
            commitments=commitments,
        )

    def submit_signed(
        self,
        signed: SignedTransaction,
        *,
        payload: bytes = b"",
        account: Account | None = None,
        patience_ms: int | None = None,
    ) -> "Deferred[SubmitResult]":
        """See a signed transaction through. Safe to repeat: it runs once, and everybody gets the one answer.

        `payload` is the private payload beside it, for one that declares commitments (D50).
        With `account`, its nonce is settled or released when the session ends, though nobody waits any more.
        """
        patience = self.options.patience_ms if patience_ms is None else patience_ms
        try:
            return self._submissions.submit(signed, payload, account, patience)
        except ClientError as error:
            return fail(error)

    # --- questions ---

    def ready(self, *, patience_ms: int | None = None) -> "Deferred[int]":
        """Fires with a height that some correct replica has executed, once W replicas have said theirs."""
        if self.belief.height is not None:
            return succeed(self.belief.height)
        return self.head(patience_ms=patience_ms).addCallback(lambda answer: answer.height)

    def head(self, *, wanted: int | None = None, patience_ms: int | None = None) -> "Deferred[HeadAnswer]":
        """Where the replicas say they are, from `wanted` of them (default: W)."""
        correlation = self._next_correlation()
        question = HeadQuestion(
            HeadRequest(correlation=correlation),
            replicas=range(self.network.replicas),
            wanted=self.network.weak_quorum if wanted is None else wanted,
            weak_quorum=self.network.weak_quorum,
        )
        return self._ask(correlation, question, patience_ms)

    def query(
        self,
        contract: str,
        method: str,
        *arguments: object,
        read: ReadLevel = "vouched",
        min_height: int = 0,
        replica: int | None = None,
        account: Account | None = None,
        patience_ms: int | None = None,
    ) -> "Deferred[QueryAnswer]":
        """Call a view. `local` asks `replica` (default: the primary) alone; `latest` is ordered and needs `account`.

        Errback: NotVouched when time is up, QueryFailed when the view itself fails.
        """
        if read == "latest":
            if account is None:
                raise ValueError("a latest read is ordered like a write: it needs an account")
            ordered = self.submit(account, contract, method, *arguments, patience_ms=patience_ms)
            return ordered.addCallback(_latest_value, contract, method)
        correlation = self._next_correlation()
        view = View(
            correlation=correlation,
            contract=contract,
            method=method,
            arguments=encode(list(arguments)),
            min_height=min_height,
        )
        everybody = range(self.network.replicas)
        asked = (self.belief.primary if replica is None else replica,) if read == "local" else everybody
        question = ReadQuestion(view, replicas=asked, wanted=1 if read == "local" else self.network.weak_quorum)

        def value_of(answer: VouchedView) -> QueryAnswer:
            if answer.status != "ok":
                raise QueryFailed(contract, method, answer.code or answer.status)
            return QueryAnswer(
                value=decode(answer.result),
                height=answer.height,
                time_ms=answer.time_ms,
                read=read,
                vouched_by=answer.vouched_by,
            )

        return self._ask(correlation, question, patience_ms).addCallback(value_of)

    def receipt_proof(self, tx_id: bytes, *, patience_ms: int | None = None) -> "Deferred[bytes]":
        """The proof file of a transaction's receipt, verified against the genesis. Errback: NoProof."""

        def verify(proof: bytes) -> None:
            verified = verify_proof_from(proof, self.network.genesis.configuration)
            if not isinstance(verified, VerifiedReceipt) or verified.receipt.tx_id != tx_id:
                raise InvalidProof("other_subject", "the proof is of something else")

        correlation = self._next_correlation()
        question = ProofQuestion(
            Proof(correlation=correlation, tx_id=tx_id, key=None),
            subject=f"transaction {tx_id.hex()}",
            replicas=self._replicas_from_primary(),
            verify=verify,
        )
        return self._ask(correlation, question, patience_ms)

    def state_proof(self, key: bytes, *, min_height: int = 0, patience_ms: int | None = None) -> "Deferred[bytes]":
        """The proof file of a key of the world state at or above a height, verified. Errback: NoProof."""
        correlation = self._next_correlation()
        question = ProofQuestion(
            Proof(correlation=correlation, tx_id=None, key=key),
            subject=f"state key {key.hex()}",
            replicas=self._replicas_from_primary(),
            verify=lambda proof: self._verify_state(proof, key, min_height),
        )
        return self._ask(correlation, question, patience_ms)

    def read_nonces(self, address: bytes) -> "Deferred[NonceKeeper]":
        """The nonces that the chain says an account has used, by a proof: for an account without a memory."""

        def ask(height: int) -> "Deferred[NonceKeeper]":
            if height == 0:  # genesis has no certificate, and no transaction has used a nonce yet
                return succeed(NonceKeeper())
            return self.state_proof(nonce_key(address), min_height=height).addCallback(read)

        def read(proof: bytes) -> NonceKeeper:
            window = _parse_window(self._verify_state(proof, nonce_key(address), 0).value)
            used = [nonce for nonce in range(window.base, window.base + NONCE_WINDOW) if window.is_used(nonce)]
            return NonceKeeper(base=window.base, used=used)

        return self.head().addCallback(lambda answer: ask(answer.height))

    def _verify_state(self, proof: bytes, key: bytes, min_height: int) -> VerifiedState:
        verified = verify_proof_from(proof, self.network.genesis.configuration)
        if not isinstance(verified, VerifiedState) or verified.key != key:
            raise InvalidProof("other_subject", "the proof is of something else")
        if verified.header.height < min_height:
            raise InvalidProof("too_old", "the proof is of an earlier height", height=verified.header.height)
        return verified

    # --- the loop ---

    def _tick(self) -> None:
        self._ticks += 1
        self.links.tick()
        self._submissions.tick()
        if self._ticks % REFRESH_TICKS == 0:
            for replica in self.links.connected:
                self._ask_head_once(replica)
        for correlation, asked in list(self._asked.items()):
            if self._ticks >= asked.until_tick:
                del self._asked[correlation]
                asked.deferred.errback(asked.question.failure())
            else:
                self._send_all(asked.question.tick())
        self._ask_queued()

    def _frame_arrived(self, replica: int, frame: ReplicaFrame) -> None:
        if isinstance(frame, Replies):
            self.belief.receive_view(replica, frame.view_hint, frame.primary_hint)
            for correlation, reply in frame.replies:
                self._submissions.receive_reply(replica, correlation, reply)
            return
        if isinstance(frame, Head):
            self.belief.receive_head(replica, frame.height, frame.time_ms)
            self.belief.receive_view(replica, frame.view, frame.primary)
            self._submissions.receive_head(replica, frame.certified_height, frame.time_ms)
        asked = self._asked.get(frame.correlation)
        if asked is not None:
            self._answer_arrived(replica, frame, asked)
        elif isinstance(frame, Refused):
            self._submissions.receive_refusal(replica, frame)

    def _answer_arrived(self, replica: int, frame: OneAnswer, asked: _Asked) -> None:
        self._send_all(asked.question.receive(replica, frame))
        if asked.question.answer is not None and self._asked.pop(frame.correlation, None) is not None:
            asked.deferred.callback(asked.question.answer)
            self._ask_queued()

    def _link_up(self, replica: int) -> None:
        self._ask_head_once(replica)

    def _link_down(self, replica: int) -> None:
        self._submissions.replica_lost(replica)

    def _ask(self, correlation: int, question: Question[Answer], patience_ms: int | None) -> "Deferred[Answer]":
        patience = self.options.question_patience_ms if patience_ms is None else patience_ms
        deferred: Deferred[Answer] = Deferred()
        asked = _Asked(question=question, until_tick=self._ticks + self.options.ticks(patience), deferred=deferred)
        self._queue.append((correlation, asked))
        self._ask_queued()
        return deferred

    def _ask_queued(self) -> None:
        """Begin waiting questions while the replicas' doors have places; their patience runs from here."""
        while self._queue and len(self._asked) < QUESTIONS_MAX:
            correlation, asked = self._queue.popleft()
            self._asked[correlation] = asked
            self._send_all(asked.question.start())

    def _send_all(self, sends: Sends) -> None:
        for replica, frame in sends:
            self.links.send(replica, frame)

    def _ask_head_once(self, replica: int) -> None:
        """However many sessions want to know where a replica stands, it is asked once a tick."""
        if self._heads_asked.get(replica) != self._ticks:
            self._heads_asked[replica] = self._ticks
            self.links.send(replica, HeadRequest(correlation=0))

    def _ask_nonce_proof(self, session: ClientSession, replica: int, done: Callable[[], None]) -> None:
        """Ask one replica to prove the nonce unused past the expiry (D47); the session rejects what is too early."""
        correlation = self._next_correlation()
        key = nonce_key(session.submission.client)

        def verify(proof: bytes) -> None:
            verified = self._verify_state(proof, key, 0)
            is_used = _parse_window(verified.value).is_used(session.submission.nonce)
            header = verified.header
            session.receive_nonce_proof(height=header.height, time_ms=header.time_ms, is_used=is_used)

        question = ProofQuestion(
            Proof(correlation=correlation, tx_id=None, key=key),
            subject="an unused nonce",
            replicas=(replica,),
            verify=verify,
        )
        asked = self._ask(correlation, question, None)
        asked.addCallbacks(lambda _proof: done(), lambda _failure: None)

    def _replicas_from_primary(self) -> Sequence[int]:
        count = self.network.replicas
        return [(self.belief.primary + offset) % count for offset in range(count)]

    def _next_correlation(self) -> int:
        self._correlation += 1
        return self._correlation


def _parse_window(value: bytes | None) -> NonceWindow:
    """A client's nonce window from its state value; absent, nothing is used yet."""
    return NonceWindow() if value is None else parse_nonce_window(value)


def _latest_value(result: SubmitResult, contract: str, method: str) -> QueryAnswer:
    if not isinstance(result, Committed):
        raise QueryFailed(contract, method, getattr(result, "code", "outcome unknown"))
    return QueryAnswer(
        value=decode(result.receipt.result),
        height=result.reply.height,
        time_ms=None,
        read="latest",
        vouched_by=result.vouched_by,
    )
