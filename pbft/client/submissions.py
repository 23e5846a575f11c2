"""The transactions that a client sees through, each in its `ClientSession`, all driven by the client's one tick.

It owns who waits for which transaction, and what happens when a session ends: its account's nonce is settled or
released, whether or not anybody still waits. What a reply means is the session's matter; connections are `links`'.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from twisted.internet.defer import Deferred

from ledger.transaction import SignedTransaction
from pbft.client.account import Account
from pbft.client.errors import TooManyWaiting
from pbft.client.options import SESSIONS_MAX, ClientOptions
from pbft.client.patience import Patience
from pbft.core.client_session import (
    AskHead,
    AskNonceProof,
    AskOutcome,
    ClientSession,
    NetworkBelief,
    Outcome,
    OutcomeUnknown,
    SendRequest,
    SessionAction,
    Submission,
)
from pbft.wire.client_frames import Await, ClientFrame, Refused, Submit

NOT_CONNECTED: Final = "not_connected"  # our own word in OutcomeUnknown.refusals, where a replica has no link
RECONNECT_TICKS: Final = 4  # before a replica without a link is tried again: links are dialled that often

SubmitResult: TypeAlias = Outcome | OutcomeUnknown


@dataclass(slots=True)
class _Running:
    """A session with those who wait for it; mutable, private."""

    session: ClientSession
    correlation: int
    waiters: list[tuple[int, "Deferred[SubmitResult]"]] = field(default_factory=list)  # (until tick, who)
    accounts: list[Account] = field(default_factory=list)


class Submissions:
    """All running sessions of one client."""

    def __init__(
        self,
        *,
        replicas: int,
        weak_quorum: int,
        belief: NetworkBelief,
        options: ClientOptions,
        send: Callable[[int, ClientFrame], bool],
        next_correlation: Callable[[], int],
        ask_head: Callable[[int], None],
        ask_nonce_proof: Callable[[ClientSession, int, Callable[[], None]], None],
    ) -> None:
        """`send` is False without a link; `ask_nonce_proof(session, replica, done)` tells the session, then `done`."""
        self._replicas = replicas
        self._weak_quorum = weak_quorum
        self._belief = belief
        self._options = options
        self._send = send
        self._next_correlation = next_correlation
        self._ask_head = ask_head
        self._ask_nonce_proof = ask_nonce_proof
        self._ticks = 0
        self._patience = Patience(options.timing.primary_alone_ticks)
        self._by_tx_id: dict[bytes, _Running] = {}
        self._by_correlation: dict[int, _Running] = {}

    def __len__(self) -> int:
        return len(self._by_tx_id)

    def submit(
        self, signed: SignedTransaction, payload: bytes, account: Account | None, patience_ms: int
    ) -> "Deferred[SubmitResult]":
        """Join the session of this transaction, or begin it. Raises TooManyWaiting."""
        running = self._by_tx_id.get(signed.tx_id)
        is_new = running is None
        if running is None:
            running = self._begin(signed, payload)
        if account is not None:
            running.accounts.append(account)
        waiter: Deferred[SubmitResult] = Deferred()
        running.waiters.append((self._ticks + self._options.ticks(patience_ms), waiter))
        if is_new:
            self._perform(running, running.session.start())
        return waiter

    def tick(self) -> None:
        """One tick has passed: resend where it is time, and answer those whose patience has ended."""
        self._ticks += 1
        for running in list(self._by_tx_id.values()):
            self._perform(running, running.session.tick())
            self._answer_impatient(running)

    def receive_reply(self, replica: int, correlation: int, reply: bytes) -> None:
        """A replica's reply to a transaction; one that nobody waits for teaches patience at most."""
        self._patience.answered(correlation, replica, self._ticks)
        running = self._by_correlation.get(correlation)
        if running is not None:
            actions = running.session.receive_reply(replica, reply)
            self._end_if_decided(running)
            self._perform(running, actions)

    def receive_refusal(self, replica: int, frame: Refused) -> None:
        """A replica does not take a transaction now; one that nobody waits for is ignored."""
        running = self._by_correlation.get(frame.correlation)
        if running is not None:
            wait_ticks = self._options.ticks(frame.retry_after_ms)
            self._perform(running, running.session.receive_refusal(replica, frame.code, wait_ticks))

    def receive_head(self, replica: int, certified_height: int, time_ms: int) -> None:
        """A hint on how far the chain is: sessions past their expiry ask for the proof."""
        for running in list(self._by_tx_id.values()):
            self._perform(running, running.session.receive_head(replica, certified_height, time_ms))

    def replica_lost(self, replica: int) -> None:
        """The link to a replica has ended: whoever waited for it alone asks everybody now."""
        for running in list(self._by_tx_id.values()):
            self._perform(running, running.session.receive_refusal(replica, NOT_CONNECTED, RECONNECT_TICKS))

    def stop(self) -> None:
        """Nobody will be told more than what is known now."""
        for running in list(self._by_tx_id.values()):
            self._answer(running, [waiter for _until, waiter in running.waiters], running.session.unknown())

    def _begin(self, signed: SignedTransaction, payload: bytes) -> _Running:
        if len(self._by_tx_id) >= SESSIONS_MAX:
            raise TooManyWaiting(SESSIONS_MAX)
        transaction = signed.transaction
        submission = Submission(
            client=transaction.sender,
            nonce=transaction.nonce,
            tx_id=signed.tx_id,
            expiry_height=transaction.expiry_height,
            expiry_time=transaction.expiry_time,
            raw=signed.raw,
            payload=payload,
        )
        primary = self._belief.primary
        session = ClientSession(
            submission,
            replicas=self._replicas,
            weak_quorum=self._weak_quorum,
            primary=primary,
            timing=replace(self._options.timing, primary_alone_ticks=round(self._patience.value)),
        )
        running = _Running(session=session, correlation=self._next_correlation())
        self._patience.sent(running.correlation, primary, self._ticks)
        self._by_tx_id[signed.tx_id] = running
        self._by_correlation[running.correlation] = running
        return running

    def _perform(self, running: _Running, actions: Sequence[SessionAction]) -> None:
        pending = list(actions)
        while pending:
            match pending.pop(0):
                case SendRequest(replica=replica):
                    frame = _submit_frame(running.correlation, running.session.submission)
                    if not self._send(replica, frame):
                        pending += running.session.receive_refusal(replica, NOT_CONNECTED, RECONNECT_TICKS)
                case AskOutcome(replica=replica):
                    self._send(replica, Await(((running.correlation, running.session.submission.tx_id),)))
                case AskHead(replica=replica):
                    self._ask_head(replica)
                case AskNonceProof(replica=replica):
                    self._ask_nonce_proof(running.session, replica, lambda: self._end_if_decided(running))

    def _end_if_decided(self, running: _Running) -> None:
        outcome = running.session.outcome
        if outcome is None or self._by_tx_id.pop(running.session.submission.tx_id, None) is None:
            return
        del self._by_correlation[running.correlation]
        if outcome.reply is not None:
            for replica in outcome.vouched_by:  # a busy client learns the height from its outcomes
                self._belief.receive_head(replica, outcome.reply.height, 0)
        for account in running.accounts:
            _settle_nonce(account, running.session.submission.nonce, outcome)
        self._answer(running, [waiter for _until, waiter in running.waiters], outcome)

    def _answer_impatient(self, running: _Running) -> None:
        impatient = [waiter for until, waiter in running.waiters if until <= self._ticks]
        if impatient:
            self._answer(running, impatient, running.session.unknown())

    def _answer(self, running: _Running, answered: "list[Deferred[SubmitResult]]", result: SubmitResult) -> None:
        running.waiters = [(until, waiter) for until, waiter in running.waiters if waiter not in answered]
        for waiter in answered:
            waiter.callback(result)


def _submit_frame(correlation: int, submission: Submission) -> Submit:
    return Submit(correlation=correlation, transaction=submission.raw, private_payload=submission.payload)


def _settle_nonce(account: Account, nonce: int, outcome: Outcome) -> None:
    """An executed transaction used its nonce; a refused or expired one left it free (D45)."""
    if outcome.receipt is None or outcome.receipt.status == "refused":
        account.nonces.release(nonce)
    else:
        account.nonces.settle(nonce)
