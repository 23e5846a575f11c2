"""Clients of a simulated cluster: production sessions, talking through production doors, frames crossing as bytes.

Each transaction has its `core.client_session.ClientSession`; its actions become client frames on links with the faults
of the network, and a door's answers come back the same way. A session whose transaction may have expired asks for a
proof of its nonce, and verifies it as the client library does (D47); `client.questions` are asked on the same links.
What a session believes is compared with what the correct replicas' ledgers say at the end (`simulation.outcome`), so a
client that is told a falsehood fails the run.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from ledger.admission import NonceWindow, nonce_key, parse_nonce_window
from ledger.encoding import Value
from ledger.errors import InvalidProof, InvariantViolation
from ledger.keys import Signer
from ledger.payload import make_payload
from ledger.proofs import VerifiedState, verify_proof_from
from ledger.transaction import SignedTransaction, Transaction, sign_transaction
from pbft.client.questions import ProofQuestion, Question, Sends
from pbft.core.client_session import (
    AskHead,
    AskNonceProof,
    AskOutcome,
    ClientSession,
    NetworkBelief,
    SendRequest,
    SessionTiming,
    Submission,
)
from pbft.core.quorum import Quorums
from pbft.node.client_visit import Visit
from pbft.simulation.checkers import check_private
from pbft.simulation.cluster import Cluster
from pbft.simulation.lies_to_clients import LyingDoors
from pbft.simulation.machine import Machine
from pbft.wire.client_frames import (
    Await,
    ClientFrame,
    Head,
    HeadRequest,
    OneAnswer,
    Proof,
    Refused,
    ReplicaFrame,
    Replies,
    Submit,
    decode_client_frame,
    decode_replica_frame,
    encode_client_frame,
    encode_replica_frame,
)

SESSION_TICK_MS: Final = 100
TIMING: Final = SessionTiming(primary_alone_ticks=10, resend_ticks=20, resend_max_ticks=80)
EXPIRY_HEIGHTS: Final = 5_000  # far beyond what a run executes: unless it says otherwise, a transaction executes
EXPIRY_SECONDS: Final = 86_400
QUESTIONS_FROM: Final = 1_000_000  # correlations below are transactions
QUESTION_TICKS_MAX: Final = 150  # a question is given up after 15 s: faults may last that long
GAS_LIMIT: Final = 50_000


class Clients:
    """All clients of a run: what they submitted, and what each session ended with."""

    def __init__(self, cluster: Cluster, lying_doors: LyingDoors | None = None) -> None:
        """`lying_doors` falsifies answers of faulty replicas on their way."""
        self.cluster = cluster
        self.sessions: list[ClientSession] = []
        self.answers: Counter[str] = Counter()
        self.belief = NetworkBelief(replicas=len(cluster.machines), weak_quorum=Quorums.of(len(cluster.machines)).weak)
        self._lying_doors = lying_doors if lying_doors is not None else LyingDoors(())
        self._quorums = Quorums.of(len(cluster.machines))
        self._questions: dict[int, tuple[Question[Any], Callable[[Any], None], int]] = {}  # and the ticks that are left
        self._next_question = QUESTIONS_FROM
        self._keys: dict[int, Signer] = {}
        self._nonces: Counter[int] = Counter()
        self._payloads: dict[bytes, bytes] = {}  # by tx id: what travels beside the signed bytes
        self._visits: dict[tuple[int, int], Visit] = {}  # (replica, its start): one connection for all clients
        cluster.at(SESSION_TICK_MS, self._tick)

    def sign(
        self,
        client: int,
        method: str,
        arguments: Sequence[Value],
        *,
        nonce: int | None = None,
        private: Sequence[Value] = (),
        expiry_height: int = EXPIRY_HEIGHTS,
        expires_in_s: int = EXPIRY_SECONDS,
    ) -> SignedTransaction:
        """The next transaction of a client, or another one of a nonce that it used; with `private` values beside it."""
        if nonce is None:
            nonce = self._nonces[client]
            self._nonces[client] += 1
        key = self._keys.setdefault(client, self.cluster.client_key(client))
        commitments, payload = make_payload(private, draw=self.cluster.random.randbytes)
        transaction = Transaction(
            network=self.cluster.genesis.network_id,
            sender=key.public_key,
            nonce=nonce,
            expiry_height=expiry_height,
            expiry_time=self.cluster.now_ms // 1000 + expires_in_s,
            gas_limit=GAS_LIMIT,
            contract="register",
            method=method,
            arguments=tuple(arguments),
            commitments=commitments,
        )
        signed = sign_transaction(transaction, key)
        self._payloads[signed.tx_id] = payload
        return signed

    def submit(self, signed: SignedTransaction, *, first: int | None = None) -> ClientSession:
        """Opens a session, which asks `first` before all others, or the primary that the clients believe in."""
        transaction = signed.transaction
        session = ClientSession(
            Submission(
                client=transaction.sender,
                nonce=transaction.nonce,
                tx_id=signed.tx_id,
                expiry_height=transaction.expiry_height,
                expiry_time=transaction.expiry_time,
                raw=signed.raw,
                payload=self._payloads[signed.tx_id],
            ),
            replicas=self._quorums.n,
            weak_quorum=self._quorums.weak,
            primary=self.belief.primary if first is None else first,
            timing=TIMING,
        )
        self.sessions.append(session)
        self._perform(len(self.sessions) - 1, session.start())
        return session

    def ask(self, make: Callable[[int], Question[Any]], on_answer: Callable[[Any], None]) -> None:
        """Asks a question of the client library, which `make` builds with its correlation."""
        self._next_question += 1
        question = make(self._next_question)
        self._questions[self._next_question] = question, on_answer, QUESTION_TICKS_MAX
        self._send_all(question.start())

    @property
    def is_done(self) -> bool:
        """Whether every session has its outcome."""
        return all(session.outcome is not None for session in self.sessions)

    def _tick(self) -> None:
        for index, session in enumerate(self.sessions):
            if session.outcome is None:
                self._perform(index, session.tick())
        for correlation, (question, on_answer, ticks) in list(self._questions.items()):
            if ticks:
                self._questions[correlation] = question, on_answer, ticks - 1
                self._send_all(question.tick())
            else:
                del self._questions[correlation]
        self.cluster.at(SESSION_TICK_MS, self._tick)

    def _perform(self, index: int, actions: Sequence[object]) -> None:
        session = self.sessions[index]
        for action in actions:
            match action:
                case SendRequest():
                    said = session.submission
                    frame: ClientFrame = Submit(
                        correlation=index + 1, transaction=said.raw, private_payload=said.payload
                    )
                    self._send(action.replica, encode_client_frame(frame))
                case AskOutcome():
                    question = Await(((index + 1, session.submission.tx_id),))
                    self._send(action.replica, encode_client_frame(question))
                case AskHead():
                    self._send(action.replica, encode_client_frame(HeadRequest(correlation=index + 1)))
                case AskNonceProof():
                    self._ask_nonce_proof(session, action.replica)

    def _ask_nonce_proof(self, session: ClientSession, replica: int) -> None:
        """One replica is to prove the nonce unused past the expiry; the session rejects what is too early (D47)."""
        client = session.submission.client

        def verify(proof: bytes) -> None:
            verified = verify_proof_from(proof, self.cluster.genesis.configuration, self.cluster.signing.verify)
            if not isinstance(verified, VerifiedState) or verified.key != nonce_key(client):
                raise InvalidProof("other", "a proof of something else")
            window = NonceWindow() if verified.value is None else parse_nonce_window(verified.value)
            is_used, header = window.is_used(session.submission.nonce), verified.header
            session.receive_nonce_proof(height=header.height, time_ms=header.time_ms, is_used=is_used)

        self.ask(
            lambda correlation: ProofQuestion(
                Proof(correlation=correlation, tx_id=None, key=nonce_key(client)),
                subject="an unused nonce",
                replicas=(replica,),
                verify=verify,
            ),
            lambda proof: self.answers.update(["nonce_proof"]),
        )

    def _send_all(self, sends: Sends) -> None:
        for replica, frame in sends:
            self._send(replica, encode_client_frame(frame))

    def _send(self, replica: int, data: bytes) -> None:
        if not self._is_lost():
            self.cluster.at(self._delay_ms(), lambda: self._arrive(replica, data))

    def _arrive(self, replica: int, data: bytes) -> None:
        cluster, machine = self.cluster, self.cluster.machines[replica]
        if machine.paused_until_ms > cluster.now_ms:
            cluster.at(machine.paused_until_ms - cluster.now_ms, lambda: self._arrive(replica, data))
        elif machine.door is not None and machine.halted is None:
            cluster.trace.record(cluster.now_ms, "request", replica, -1, data)
            assert machine.node is not None
            try:
                machine.door.receive(self._visit(machine), decode_client_frame(data))
            except InvariantViolation as error:  # as `node.client_port` does
                machine.node.driver.stop(f"a client's question: {error}")

    def _visit(self, machine: Machine) -> Visit:
        known = self._visits.get((machine.replica, machine.starts))
        if known is None:
            assert machine.door is not None
            known = machine.door.open(
                lambda frame: self._answer(machine.replica, encode_replica_frame(frame)),
                self.cluster.client_key(0).public_key,
            )
            self._visits[machine.replica, machine.starts] = known
        return known

    def _answer(self, replica: int, data: bytes) -> None:
        """A door answers; a liar's answer is another one on the way."""
        cluster = self.cluster
        cluster.trace.record(cluster.now_ms, "reply", replica, -1, data)
        check_private(f"an answer of r{replica}", data)
        for told in _apart(decode_replica_frame(data)):
            machine = cluster.machines[replica]
            cluster.checkers.check_reply(replica, machine.ledger, machine.journal, told)
            frame = self._lying_doors.falsify(replica, told)
            if not self._is_lost():
                cluster.at(self._delay_ms(), partial(self._receive, replica, frame))

    def _receive(self, replica: int, frame: ReplicaFrame) -> None:
        self.answers[type(frame).__name__] += 1
        if isinstance(frame, Replies):
            self.belief.receive_view(replica, frame.view_hint, frame.primary_hint)
            for correlation, reply in frame.replies:
                self._perform(correlation - 1, self.sessions[correlation - 1].receive_reply(replica, reply))
            return
        if frame.correlation >= QUESTIONS_FROM:
            self._receive_answer(replica, frame)
            return
        index = frame.correlation - 1
        session = self.sessions[index]
        match frame:
            case Refused():
                wait_ticks = -(-frame.retry_after_ms // SESSION_TICK_MS)
                self._perform(index, session.receive_refusal(replica, frame.code, wait_ticks))
            case Head():
                self.belief.receive_head(replica, frame.height, frame.time_ms)
                self.belief.receive_view(replica, frame.view, frame.primary)
                self._perform(index, session.receive_head(replica, frame.certified_height, frame.time_ms))

    def _receive_answer(self, replica: int, frame: OneAnswer) -> None:
        asked = self._questions.get(frame.correlation)
        if asked is None:
            return  # answered before, or given up
        question, on_answer, _ = asked
        self._send_all(question.receive(replica, frame))
        if question.answer is not None:
            del self._questions[frame.correlation]
            on_answer(question.answer)

    def _is_lost(self) -> bool:
        return self.cluster.random.randrange(1000) < self.cluster.network.faults.loss_permille

    def _delay_ms(self) -> int:
        faults = self.cluster.network.faults
        return self.cluster.random.randint(faults.delay_min_ms, faults.delay_max_ms)


def _apart(frame: ReplicaFrame) -> Iterable[ReplicaFrame]:
    """Each reply in a frame of its own: lies and losses are those of one reply."""
    if not isinstance(frame, Replies):
        return (frame,)
    return (replace(frame, replies=(entry,)) for entry in frame.replies)
