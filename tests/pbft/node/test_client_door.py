"""The door: what is let in, what is answered from the ledger, who hears of an outcome, and that every table ends."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import pytest
from simulation.runtime import RegisterRuntime

from ledger import receipt_index
from ledger.block import Block
from ledger.chain import LEDGER_TABLES, Chain
from ledger.encoding import decode, encode
from ledger.epochs import Epochs
from ledger.errors import InvalidSignature
from ledger.execution import Call, CallOutcome
from ledger.hashing import Tag, signing_bytes
from ledger.keys import SigningKey, verify_signature
from ledger.payload import make_payload
from ledger.quorum_certificate import QuorumCertificate, vote_bytes
from ledger.store import MemoryStore
from ledger.transaction import SignedTransaction, Transaction, parse_receipt, sign_transaction
from pbft.core.client_session import parse_reply
from pbft.core.messages import Request
from pbft.node import client_door, client_reads, client_waiting, request_lanes
from pbft.node.client_door import ClientDoor
from pbft.node.client_visit import Visit
from pbft.node.inline_worker import InlineWorker
from pbft.node.metrics import Metrics
from pbft.node.request_lanes import RequestPool
from pbft.simulation.founding import GENESIS_TIME_MS, PROTOCOL, make_genesis, replica_key
from pbft.wire.client_frames import (
    Await,
    ClientFrame,
    Head,
    HeadRequest,
    Proof,
    ProofAnswer,
    Refused,
    ReplicaFrame,
    Replies,
    Submit,
    View,
    ViewAnswer,
    decode_replica_frame,
    encode_replica_frame,
)
from pbft.wire.codec import UncheckedSignature, Verifier

CLIENT = SigningKey.from_seed(bytes([1]) * 32)
OTHER = SigningKey.from_seed(bytes([2]) * 32)
GENESIS = make_genesis(4, replace(PROTOCOL, transaction_gas_max=1_000_000))


@dataclass
class Standing:
    """A replica's own view of things, as the core would give it."""

    view: int = 3
    primary: int = 3
    room: bool = True
    ordered: set[bytes] = field(default_factory=set)

    def has_room(self, request_bytes: int) -> bool:
        return self.room

    def is_queued(self, tx_id: bytes) -> bool:
        return tx_id not in self.ordered


class LateVerifier:
    """A verifier that gives its verdicts when a test says so."""

    def __init__(self) -> None:
        self.asked: list[UncheckedSignature] = []  # last
        self.is_asked = False

    def open_pool(self, memory: Verifier, metrics: Metrics) -> RequestPool:
        self.turn: list[Callable[[], None]] = []
        self.pool = RequestPool(memory, at_turn_end=self.turn.append, guard=nullcontext(), metrics=metrics)
        self.pool.welcome(self)
        return self.pool

    def ask(self, signatures: Sequence[UncheckedSignature]) -> None:
        self.asked, self.is_asked = list(signatures), True

    def answer(self) -> None:
        """The turn ends, and the next brings all verdicts."""
        while self.turn:
            self.turn.pop()()
        if not self.is_asked:
            return
        self.is_asked, verdicts = False, []
        for _, public_key, signed, signature in self.asked:
            try:
                verify_signature(public_key, signed, signature)
                verdicts.append(True)
            except InvalidSignature:
                verdicts.append(False)
        self.pool.answer(self, verdicts)


@dataclass
class House:
    """A door over a real chain, with a register contract behind it and no core: tests execute blocks themselves."""

    submitted: list[Request] = field(default_factory=list)
    standing: Standing = field(default_factory=Standing)
    is_executing: bool = False
    faults: list[bytes] = field(default_factory=list)  # clients that were found at fault
    verifier: "LateVerifier | None" = None  # where signatures are checked elsewhere
    halted: str | None = None

    def __post_init__(self) -> None:
        store = MemoryStore(LEDGER_TABLES)
        self.chain = Chain.open(store, GENESIS)
        self.worker = InlineWorker(RegisterRuntime(), store)
        self.worker.run_genesis((), GENESIS.time_ms, GENESIS.network_id, self.chain.create)
        self.metrics = Metrics()
        memory = Verifier(Epochs(GENESIS.configuration))
        self.door = ClientDoor(
            chain=self.chain,
            network=GENESIS.network_id,
            verifier=memory,
            lanes=self.verifier.open_pool(memory, self.metrics) if self.verifier is not None else None,
            halted=lambda: self.halted,
            submit=self.submitted.append,
            views=self.worker,
            is_executing=lambda: self.is_executing,
            standing=self.standing,
            metrics=self.metrics,
        )

    def visit(self, client: bytes = b"one") -> tuple[Visit, list[ReplicaFrame]]:
        """A connected client and the answers that reach it."""
        answers: list[ReplicaFrame] = []
        return self.door.open(answers.append, client, lambda: self.faults.append(client)), answers

    @property
    def places(self) -> dict[bytes, int]:
        """The reads that are not answered yet, by client."""
        return dict(self.door._reads._open_by_client)

    def execute(self, *transactions: SignedTransaction, time_ms: int = GENESIS_TIME_MS) -> Block:
        """One block, as the execution makes it, told to the door."""
        planned = self.chain.plan(self.chain.height + 1, time_ms, transactions)
        blocks: list[Block] = []
        self.worker.run_block(planned.plan, lambda outcome: blocks.append(self.chain.commit(planned, outcome)))
        self.door.block_executed(blocks[0])
        return blocks[0]

    def certify(self) -> None:
        """A certificate of the head, signed by a quorum."""
        head = self.chain.head
        message = vote_bytes(GENESIS.network_id, 0, head.height, head.hash)
        signatures = tuple((replica, replica_key(replica).sign(message)) for replica in range(3))
        self.chain.store_certificate(
            QuorumCertificate(epoch=0, height=head.height, header_hash=head.hash, signatures=signatures)
        )


@pytest.fixture
def house() -> House:
    return House()


def transaction(nonce: int = 0, key: SigningKey = CLIENT, **changes: object) -> SignedTransaction:
    """A signed `add` on the register that is valid unless changed."""
    valid = Transaction(
        network=GENESIS.network_id,
        sender=key.public_key,
        nonce=nonce,
        expiry_height=100,
        expiry_time=GENESIS_TIME_MS // 1000 + 3600,
        gas_limit=10_000,
        follows=None,
        contract="register",
        method="add",
        arguments=(b"a", 1),
        commitments=(),
    )
    return sign_transaction(valid._replace(**changes), key)  # type: ignore[arg-type]


def take(house: House, visit: Visit, frame: ClientFrame) -> bool:
    """The door gets a frame; False where its client is found at fault by it."""
    before = len(house.faults)
    house.door.receive(visit, frame)
    return len(house.faults) == before


def submit(house: House, visit: Visit, signed: SignedTransaction, correlation: int = 7) -> bool:
    return take(house, visit, Submit(correlation=correlation, transaction=signed.raw))


def only(answers: list[ReplicaFrame], kind: type[ReplicaFrame]) -> ReplicaFrame:
    (answer,) = answers
    assert isinstance(answer, kind), answer
    return answer


def told_to(answers: list[ReplicaFrame]) -> list[tuple[int, bytes]]:
    """The replies among these answers, with their correlations."""
    return [entry for answer in answers if isinstance(answer, Replies) for entry in answer.replies]


def test_a_valid_transaction_reaches_the_core_and_its_receipt_the_client(house: House) -> None:
    """The way of a request: verified once, handed on as received, answered when its block is durable."""
    visit, answers = house.visit()
    signed = transaction()
    assert submit(house, visit, signed)
    assert [(r.tx_id, r.raw, r.client, r.nonce) for r in house.submitted] == [
        (signed.tx_id, signed.raw, CLIENT.public_key, 0)
    ]
    assert answers == []
    block = house.execute(signed)
    reply = only(answers, Replies)
    ((correlation, told),) = told_to(answers)
    content = parse_reply(told)
    assert (correlation, reply.view_hint, reply.primary_hint) == (7, 3, 3)
    assert (content.tx_id, content.height, content.index) == (signed.tx_id, 1, 0)
    assert (content.receipt, content.header_hash) == (block.receipts[0], block.header.hash)
    assert house.metrics.client_waiting == 0


REFUSALS: dict[str, tuple[str, Callable[[], SignedTransaction]]] = {
    "another network": ("wrong_network", lambda: transaction(network=bytes(32))),
    "more gas than the network's limit": ("gas_limit_too_high", lambda: transaction(gas_limit=1_000_001)),
    "expired by height": ("expired", lambda: transaction(expiry_height=0)),
    "expired by time": ("expired", lambda: transaction(expiry_time=GENESIS_TIME_MS // 1000 - 1)),
    "expiry too far ahead": ("expiry_too_far", lambda: transaction(expiry_height=10_001)),
    "nonce above the window": ("nonce_out_of_window", lambda: transaction(nonce=64)),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_would_be_ordered_in_vain_is_refused_with_its_code(house: House, case: str) -> None:
    """Each refusal names its code, the transaction and the values that disagree, and hands nothing to the core."""
    code, make = REFUSALS[case]
    visit, answers = house.visit()
    signed = make()
    submit(house, visit, signed)
    refused = only(answers, Refused)
    assert (refused.code, refused.tx_id, refused.correlation) == (code, signed.tx_id, 7)
    assert refused.detail
    assert house.submitted == []
    assert house.metrics.client_refused_total == {code: 1}


def test_a_private_payload_passes_the_door_whole_or_not_at_all(house: House) -> None:
    """D50: what is handed to the core holds its payload; stripped, foreign, changed or unasked for it is refused."""
    commitments, payload = make_payload([{"wh": 12}])
    signed, plain = transaction(commitments=commitments), transaction(nonce=1)
    visit, answers = house.visit()
    for bad in (b"", payload + b"\x00", make_payload([{"wh": 12}])[1]):
        assert not take(house, visit, Submit(correlation=7, transaction=signed.raw, private_payload=bad))
    assert not take(house, visit, Submit(correlation=7, transaction=plain.raw, private_payload=payload))
    assert [answer.code for answer in answers] == ["payload"] * 4 and house.submitted == []
    assert take(house, visit, Submit(correlation=7, transaction=signed.raw, private_payload=payload))
    assert [(request.tx_id, request.payload) for request in house.submitted] == [(signed.tx_id, payload)]


@pytest.mark.parametrize("field", ["contract", "method"])
def test_every_refusal_fits_a_frame_that_clients_take(house: House, field: str) -> None:
    """A transaction with a name as long as it gets is refused in a sentence, not by sending the name back."""
    visit, answers = house.visit()
    body = transaction().transaction._replace(**{field: "N" * 100_000}).to_bytes()
    raw = CLIENT.sign(signing_bytes(Tag.SIGN_TRANSACTION, body)) + body
    assert not take(house, visit, Submit(correlation=7, transaction=raw))
    refused = only(answers, Refused)
    assert (refused.code, decode_replica_frame(encode_replica_frame(refused))) == ("malformed", refused)


def test_the_last_moment_before_an_expiry_is_still_let_in(house: House) -> None:
    """The bounds are inclusive, as execution judges them: the next height and the agreed second still hold."""
    visit, answers = house.visit()
    assert submit(house, visit, transaction(0, expiry_height=1))
    assert submit(house, visit, transaction(1, expiry_time=GENESIS_TIME_MS // 1000))
    assert submit(house, visit, transaction(63, expiry_height=10_000))
    assert answers == []
    assert len(house.submitted) == 3


def test_a_signature_that_does_not_hold_is_a_clients_fault(house: House) -> None:
    """A garbled signature or transaction is refused, counted as a fault, and never ordered (D20)."""
    visit, answers = house.visit()
    raw = bytearray(transaction().raw)
    raw[0] ^= 1
    assert not take(house, visit, Submit(correlation=1, transaction=bytes(raw)))
    assert not take(house, visit, Submit(correlation=2, transaction=b"\xff" * 200))
    assert [type(answer) for answer in answers] == [Refused, Refused]
    assert house.submitted == []


def test_an_executed_nonce_is_answered_from_the_ledger_at_once(house: House) -> None:
    """D43, M20: the same transaction, or another with its nonce, gets the first receipt and is not ordered again."""
    first, rival = transaction(), transaction(arguments=(b"a", 5))
    house.execute(first)
    visit, answers = house.visit()
    submit(house, visit, first)
    submit(house, visit, rival)
    assert house.submitted == []
    assert [parse_reply(reply).tx_id for _, reply in told_to(answers)] == [first.tx_id, first.tx_id]


def ask(house: House, visit: Visit, *asked: tuple[int, SignedTransaction]) -> bool:
    """The question of a witness."""
    return take(house, visit, Await(tuple((correlation, signed.tx_id) for correlation, signed in asked)))


def test_a_witness_tells_what_is_executed_and_later_what_is_not_yet(house: House) -> None:
    """That is what a client asks replicas that it did not hand the transaction to: the same words as theirs."""
    first, second, third = transaction(0), transaction(1), transaction(2)
    house.execute(first)
    visit, answers = house.visit()
    assert ask(house, visit, (1, first), (2, second), (3, third))
    assert [(number, parse_reply(reply).tx_id) for number, reply in told_to(answers)] == [(1, first.tx_id)]
    assert house.submitted == []
    other, other_answers = house.visit()
    submit(house, other, second, correlation=9)
    house.execute(second, third)
    told = told_to(answers)
    assert [(number, parse_reply(reply).tx_id) for number, reply in told[1:]] == [(2, second.tx_id), (3, third.tx_id)]
    assert len(answers) == 2, "the replies of a block leave in one frame"
    assert told_to(other_answers) == [(9, told[1][1])]
    house.execute()
    assert len(answers) == 2


def test_an_old_outcome_is_told_to_who_hands_in_the_transaction(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question looks among the newest receipts alone: it costs no look into the store, however many there are."""
    monkeypatch.setattr(receipt_index, "PENDING_MAX", 2)
    old = transaction(0)
    for nonce in range(6):
        house.execute(transaction(nonce))
    visit, answers = house.visit()
    assert ask(house, visit, (1, old), (2, transaction(5)))
    assert [(number, parse_reply(reply).tx_id) for number, reply in told_to(answers)] == [(2, transaction(5).tx_id)]
    submit(house, visit, old, correlation=3)
    assert [(n, parse_reply(reply).tx_id) for n, reply in told_to(answers)[1:]] == [(3, old.tx_id)]


def test_a_refused_receipt_of_before_says_nothing_about_a_question(house: House) -> None:
    """A RETRY may be followed by a final receipt (D49): a question that comes after it waits for that one."""
    early = transaction(1, follows=0)
    visit, answers = house.visit()
    assert ask(house, visit, (1, early))
    house.execute(early)
    assert [parse_receipt(parse_reply(reply).receipt).code for _, reply in told_to(answers)] == ["RETRY"]
    assert ask(house, visit, (2, early))
    house.execute(transaction(0), early)
    assert [(n, parse_receipt(parse_reply(reply).receipt).status) for n, reply in told_to(answers)[1:]] == [(2, "ok")]


def test_questions_for_outcomes_are_bounded_and_forgotten(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection at its limit loses its oldest question; a full table refuses; time and closing free the places."""
    monkeypatch.setattr(client_waiting, "OUTCOMES_PER_VISIT_MAX", 2)
    monkeypatch.setattr(client_waiting, "OUTCOMES_MAX", 3)
    signed = [transaction(nonce) for nonce in range(4)]
    visit, answers = house.visit()
    assert ask(house, visit, *enumerate(signed[:3]))
    other, other_answers = house.visit()
    assert ask(house, other, (8, signed[0]), (9, signed[3]))
    refused = only(other_answers, Refused)
    assert (refused.code, refused.correlation, refused.tx_id) == ("too_many_waiting", 9, signed[3].tx_id)
    house.execute(*signed)
    assert [number for number, _ in told_to(answers)] == [1, 2]
    assert [number for number, _ in told_to(other_answers)] == [8]
    late = [transaction(nonce) for nonce in (4, 5)]
    assert ask(house, visit, (1, late[0])) and ask(house, other, (2, late[1]))
    house.door.close(other)
    for _ in range(2 * client_waiting.OUTCOMES_TICKS):
        house.door.tick()
    assert (len(house.door._questions), visit.awaited, other.awaited) == (0, {}, {})


def test_a_visit_that_a_refusal_ends_asks_no_more(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is left behind in the table who cannot hear the answer."""
    monkeypatch.setattr(client_waiting, "OUTCOMES_MAX", 1)
    visit = house.door.open(lambda _: house.door.close(visit), b"one")
    assert ask(house, visit, *enumerate(transaction(nonce) for nonce in range(3)))
    assert (len(house.door._questions), visit.awaited) == (0, {})


def test_many_replies_leave_in_frames_of_a_bounded_size(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number and by bytes; a reply that is longer than that leaves alone."""
    monkeypatch.setattr(client_waiting, "REPLIES_MAX", 2)
    signed = [transaction(nonce) for nonce in range(5)]
    visit, answers = house.visit()
    ask(house, visit, *enumerate(signed))
    house.execute(*signed)
    assert [len(answer.replies) for answer in answers if isinstance(answer, Replies)] == [2, 2, 1]
    monkeypatch.setattr(client_waiting, "REPLIES_BYTES_MAX", 1)
    ask(house, visit, *enumerate(signed[:2]))
    assert [len(answer.replies) for answer in answers[3:] if isinstance(answer, Replies)] == [1, 1]


def test_whoever_waits_with_a_nonce_hears_who_used_it(house: House) -> None:
    """Two transactions compete for a nonce: both clients get the winner's receipt."""
    winner, loser = transaction(), transaction(arguments=(b"a", 5))
    visit_one, answers_one = house.visit()
    visit_two, answers_two = house.visit()
    submit(house, visit_one, loser)
    submit(house, visit_two, winner)
    house.execute(winner)
    for answers in (answers_one, answers_two):
        assert parse_reply(told_to(answers)[0][1]).tx_id == winner.tx_id


def test_a_refused_receipt_answers_only_its_own_transaction(house: House) -> None:
    """A RETRY leaves the nonce free (D49): whoever waits with another transaction of that nonce waits on."""
    early, other = transaction(1, follows=0), transaction(1, arguments=(b"b", 1))
    visit_one, answers_one = house.visit()
    visit_two, answers_two = house.visit()
    submit(house, visit_one, early)
    submit(house, visit_two, other)
    house.execute(early)
    receipt = parse_receipt(parse_reply(told_to(answers_one)[0][1]).receipt)
    assert (receipt.status, receipt.code) == ("refused", "RETRY")
    assert answers_two == []
    assert house.metrics.client_waiting == 1


def test_asking_again_moves_the_answer_to_the_newest_question(house: House) -> None:
    """A client that resends on one connection gets one answer, under its latest correlation; the core sees both."""
    visit, answers = house.visit()
    signed = transaction()
    submit(house, visit, signed, correlation=1)
    submit(house, visit, signed, correlation=2)
    assert len(house.submitted) == 2
    house.execute(signed)
    assert [correlation for correlation, _ in told_to(answers)] == [2]


def test_expiries_are_found_in_any_order(house: House) -> None:
    """Each entry leaves with the first block that is past one of its two expiries, however they came in."""
    visit, answers = house.visit()
    seconds = GENESIS_TIME_MS // 1000
    expiries = [(9, 900), (3, 900), (9, 40), (5, 20), (2, 10)]
    for nonce, (height, second) in enumerate(expiries):
        assert submit(house, visit, transaction(nonce, expiry_height=height, expiry_time=seconds + second), nonce)
    gone: list[list[int]] = []
    for block in range(1, 10):
        answers.clear()
        house.execute(time_ms=GENESIS_TIME_MS + 9_000 * block)
        gone.append(sorted(answer.correlation for answer in answers if isinstance(answer, Refused)))
    assert gone == [[], [4], [1, 3], [], [2], [], [], [], [0]]


@pytest.mark.parametrize("expiry", ["height", "time"])
def test_what_no_block_can_execute_any_more_leaves_the_table(house: House, expiry: str) -> None:
    """Entries end with their expiry, so that a lost transaction holds no place for ever."""
    visit, answers = house.visit()
    seconds = GENESIS_TIME_MS // 1000
    changes = {"expiry_height": 2} if expiry == "height" else {"expiry_time": seconds + 10}
    submit(house, visit, transaction(**changes))
    house.execute(time_ms=GENESIS_TIME_MS + 10_000)
    assert answers == []
    house.execute(time_ms=GENESIS_TIME_MS + 10_001)
    assert only(answers, Refused).code == "expired"
    assert house.metrics.client_waiting == 0


def test_a_closed_connection_waits_for_nothing(house: House) -> None:
    """Closing frees the places; what was handed in is executed all the same."""
    visit, answers = house.visit()
    signed = transaction()
    submit(house, visit, signed)
    house.door.close(visit)
    assert house.metrics.client_waiting == 0
    house.execute(signed)
    assert answers == []
    assert house.chain.receipt(signed.tx_id) is not None


def test_a_visit_may_end_at_any_answer(house: House) -> None:
    """A client that reads nothing is ended by an answer that is too much for it, amid those of a block."""

    def hang_up(_: ReplicaFrame) -> None:
        house.door.close(visit)

    visit = house.door.open(hang_up, b"one")
    other, answers = house.visit()
    rivals = [transaction(0), transaction(0, arguments=(b"a", 2)), transaction(1)]
    for signed in rivals:
        submit(house, visit, signed)
    submit(house, other, rivals[0])
    house.execute(*rivals[:1], rivals[2])
    assert len(told_to(answers)) == 1
    assert (visit.waiting, house.metrics.client_waiting) == ({}, 0)


def test_what_is_ordered_gives_way_where_a_connection_has_no_place_left(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A primary that lags behind its witnesses refuses nobody: their client has its answers and sends the next ones.
    What is not ordered keeps its place; what gave way is answered when it is asked for again."""
    monkeypatch.setattr(client_door, "WAITING_PER_VISIT_MAX", 2)
    signed = [transaction(nonce) for nonce in range(4)]
    visit, answers = house.visit()
    for number, entry in enumerate(signed[:2]):
        submit(house, visit, entry, number)
    submit(house, visit, signed[2], 2)
    assert only(answers, Refused).code == "too_many_waiting"
    house.standing.ordered = {signed[0].tx_id}
    submit(house, visit, signed[2], 2)
    submit(house, visit, signed[3], 3)
    assert [answer.correlation for answer in answers] == [2, 3]
    assert ([r.tx_id for r in house.submitted], len(visit.waiting)) == ([entry.tx_id for entry in signed[:3]], 2)
    house.execute(*signed[:3])
    assert [number for number, _ in told_to(answers)] == [1, 2]
    submit(house, visit, signed[0], 8)
    assert [number for number, _ in told_to(answers)] == [1, 2, 8]
    assert house.metrics.client_waiting == 0


def test_the_places_of_a_connection_and_of_all_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flooding client fills its own share, a crowd the table; a full core is busy too. All are told to come back."""
    monkeypatch.setattr(client_door, "WAITING_PER_VISIT_MAX", 2)
    monkeypatch.setattr(client_door, "WAITING_MAX", 3)
    visit_one, answers_one = house.visit()
    for nonce in range(3):
        submit(house, visit_one, transaction(nonce))
    assert only(answers_one, Refused).code == "too_many_waiting"
    visit_two, answers_two = house.visit()
    submit(house, visit_two, transaction(0, OTHER))
    submit(house, visit_two, transaction(1, OTHER))
    assert only(answers_two, Refused).code == "busy"
    assert only(answers_two, Refused).retry_after_ms > 0
    house.standing.room = False
    visit_three, answers_three = house.visit()
    submit(house, visit_three, transaction(2, OTHER))
    assert only(answers_three, Refused).code == "busy"


def test_a_view_shows_the_height_that_it_was_read_at(house: House) -> None:
    """A view that comes while a block runs waits for it, and then reads the state of exactly the height it names."""
    house.execute(transaction(0, method="put", arguments=(b"k", b"old")))
    visit, answers = house.visit()
    view = View(correlation=1, contract="register", method="get", arguments=encode([b"k"]), min_height=1)
    house.door.receive(visit, view)
    house.is_executing = True
    house.door.receive(visit, replace(view, correlation=2))
    assert len(answers) == 1
    house.execute(transaction(1, method="put", arguments=(b"k", b"new")))
    seen = [(a.correlation, a.height, decode(a.result)) for a in answers if isinstance(a, ViewAnswer)]
    assert seen == [(1, 1, b"old"), (2, 2, b"new")]


def test_a_view_above_the_executed_height_is_refused_behind(house: House) -> None:
    """`min_height` is a promise to the reader: a replica that lags says so instead of answering from the past."""
    visit, answers = house.visit()
    view = View(correlation=1, contract="register", method="get", arguments=encode([b"k"]), min_height=1)
    house.door.receive(visit, view)
    assert only(answers, Refused).code == "behind"


def test_views_are_bounded_per_client_and_in_all(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of reads is told busy, and its places come back when the reads are answered."""
    monkeypatch.setattr(client_reads, "READS_PER_CLIENT_MAX", 2)
    monkeypatch.setattr(client_reads, "READS_MAX", 3)
    house.is_executing = True
    visit_one, answers_one = house.visit()
    visit_two, answers_two = house.visit(b"two")
    visit_again, answers_again = house.visit()
    view = View(correlation=1, contract="register", method="get", arguments=encode([b"k"]), min_height=0)
    for _ in range(3):
        house.door.receive(visit_one, view)
    assert only(answers_one, Refused).code == "busy"
    house.door.receive(visit_again, view)
    assert only(answers_again, Refused).code == "busy", "another connection of the same client has no places of its own"
    house.door.receive(visit_two, view)
    house.door.receive(visit_two, view)
    assert only(answers_two, Refused).code == "busy"
    house.is_executing = False
    house.execute()
    assert len(answers_one) == 3
    house.door.receive(visit_one, view)
    assert isinstance(answers_one[-1], ViewAnswer)


def test_a_view_of_a_connection_that_closed_does_not_run(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking and hanging up, again and again, costs the worker nothing."""
    monkeypatch.setattr(house.worker, "run_view", pytest.fail)
    house.is_executing = True
    visit, _ = house.visit()
    view = View(correlation=1, contract="register", method="get", arguments=encode([b"k"]), min_height=0)
    house.door.receive(visit, view)
    house.door.close(visit)
    house.execute()
    assert house.places == {}


def test_a_view_of_a_connection_that_closed_is_not_answered(house: House) -> None:
    """The answer has nowhere to go, and its place is free again."""
    later: list[Callable[[CallOutcome], None]] = []
    house.worker.run_view = lambda call, height, time_ms, network, answer: later.append(answer)  # type: ignore[method-assign]
    visit, answers = house.visit()
    view = View(correlation=1, contract="register", method="get", arguments=encode([b"k"]), min_height=0)
    house.door.receive(visit, view)
    house.door.close(visit)
    later[0](CallOutcome(status="ok", code="", gas_used=0, result=encode(None), events=()))
    assert answers == []
    assert house.places == {}


def test_a_proof_waits_for_its_certificate(house: House) -> None:
    """A receipt and a state key asked for before the certificate is there are answered when it is, with the proof."""
    signed = transaction()
    house.execute(signed)
    visit, answers = house.visit()
    house.door.receive(visit, Proof(correlation=1, tx_id=signed.tx_id, key=None))
    house.door.receive(visit, Proof(correlation=2, tx_id=None, key=b"c/register/a"))
    house.door.tick()
    assert answers == []
    house.certify()
    house.door.tick()
    assert [(a.correlation, a.code) for a in answers if isinstance(a, ProofAnswer)] == [(1, ""), (2, "")]
    assert all(answer.proof for answer in answers)


def test_a_proof_that_cannot_be_says_why(house: House) -> None:
    """An unknown transaction at once; an uncertified one when the patience is over."""
    signed = transaction()
    house.execute(signed)
    visit, answers = house.visit()
    house.door.receive(visit, Proof(correlation=1, tx_id=bytes(32), key=None))
    assert only(answers, ProofAnswer).code == "unknown"
    house.door.receive(visit, Proof(correlation=2, tx_id=signed.tx_id, key=None))
    for _ in range(client_reads.PROOF_TICKS_MAX):
        house.door.tick()
    assert [(a.correlation, a.code) for a in answers[1:]] == [(2, "not_certified_yet")]
    assert house.places == {}


def test_the_head_is_this_replicas_own_word(house: House) -> None:
    """Height, time and hash of the last executed block, the newest certificate, view and primary."""
    house.execute(transaction())
    visit, answers = house.visit()
    house.door.receive(visit, HeadRequest(correlation=9))
    head = house.chain.head
    assert only(answers, Head) == Head(
        correlation=9,
        height=1,
        time_ms=head.time_ms,
        header_hash=head.hash,
        certified_height=0,
        view=3,
        primary=3,
    )


def test_a_view_is_asked_for_nobody(house: House) -> None:
    """A read has no sender and no transaction, and the gas of one transaction."""
    calls: list[tuple[Call, int, int, bytes]] = []
    house.worker.run_view = lambda *arguments: calls.append(arguments[:4])  # type: ignore[method-assign]
    visit, _ = house.visit()
    view = View(correlation=1, contract="register", method="get", arguments=encode([b"k"]), min_height=0)
    house.door.receive(visit, view)
    ((call, height, time_ms, network),) = calls
    assert (call.sender, call.tx_id, call.gas_limit) == (bytes(32), bytes(32), 5_000_000)
    assert (height, time_ms, network) == (0, GENESIS.time_ms, GENESIS.network_id)


# --- signatures that are checked elsewhere ---


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> House:
    """A door whose signatures are checked in a verifier process, however few."""
    monkeypatch.setattr(request_lanes, "IN_PLACE_MAX", 0)
    return House(verifier=LateVerifier())


def forge(signed: SignedTransaction) -> bytes:
    """The same bytes under a signature that does not hold."""
    return bytes([signed.raw[0] ^ 1]) + signed.raw[1:]


def test_a_transaction_is_handed_in_when_its_verdict_is_there(late: House) -> None:
    """The core never sees one before; in the order of the connection; and a question about another does not wait."""
    assert late.verifier is not None
    visit, answers = late.visit()
    submit(late, visit, transaction(0), 1)
    submit(late, visit, transaction(1), 2)
    late.door.receive(visit, HeadRequest(correlation=9))
    assert (late.submitted, [type(answer) for answer in answers]) == ([], [Head])
    late.verifier.answer()
    assert [request.nonce for request in late.submitted] == [0, 1]
    late.execute(transaction(0), transaction(1))
    assert [correlation for correlation, _ in told_to(answers[1:])] == [1, 2]


def test_a_bad_signature_is_refused_as_ever_when_its_verdict_is_there(late: House) -> None:
    """The same code, the same fault, and what was handed in behind it is not held up."""
    assert late.verifier is not None
    visit, answers = late.visit()
    assert take(late, visit, Submit(correlation=1, transaction=forge(transaction(0))))
    submit(late, visit, transaction(1), 2)
    late.verifier.answer()
    refused = only(answers, Refused)
    assert (refused.code, refused.correlation, refused.tx_id) == ("request_signature", 1, transaction(0).tx_id)
    assert late.faults == [b"one"]
    assert [request.nonce for request in late.submitted] == [1]


def test_a_client_that_is_shown_out_costs_no_more_checks(late: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits when its faults are too many is judged nowhere: without verifiers it would not have been read."""
    monkeypatch.setattr(request_lanes, "MESSAGE_SIGNATURES_MAX", 1)
    assert late.verifier is not None
    visit, answers = late.visit()

    def show_out() -> None:
        visit.is_shown_out = True
        late.door.close(visit)

    visit.on_fault = show_out
    for nonce in range(3):
        late.door.receive(visit, Submit(correlation=nonce, transaction=forge(transaction(nonce))))
    submit(late, visit, transaction(3), 3)
    late.verifier.answer()  # the next message leaves first
    late.verifier.answer()
    assert not late.verifier.is_asked
    assert [answer.correlation for answer in answers] == [0] and late.submitted == []
    assert (late.door._held, late.door._held_bytes, visit.held) == (0, 0, 0)


def test_a_nonce_that_was_executed_meanwhile_is_answered_from_the_ledger(late: House) -> None:
    """What a verdict comes for is judged as if it came now (D43)."""
    assert late.verifier is not None
    visit, answers = late.visit()
    submit(late, visit, transaction(0))
    late.execute(transaction(0))
    late.verifier.answer()
    assert late.submitted == []
    assert [parse_reply(reply).tx_id for _, reply in told_to(answers)] == [transaction(0).tx_id]


def test_a_transaction_that_expired_meanwhile_is_refused(late: House) -> None:
    """So is one that a replica which has halted since can do nothing for."""
    assert late.verifier is not None
    visit, answers = late.visit()
    submit(late, visit, transaction(0, expiry_height=1), 1)
    late.execute(transaction(5))
    late.verifier.answer()
    assert only(answers, Refused).code == "expired"
    submit(late, visit, transaction(1), 2)
    late.halted = "diverged"
    late.verifier.answer()
    assert [answer.code for answer in answers] == ["expired", "halted"]
    assert late.submitted == []


def test_a_connection_that_closes_meanwhile_leaves_nothing_behind(late: House) -> None:
    """What it handed in is ordered, as it is without verifiers; nobody waits for it."""
    assert late.verifier is not None
    visit, answers = late.visit()
    submit(late, visit, transaction(0))
    visit.is_closed = True
    late.door.close(visit)
    late.verifier.answer()
    assert [request.nonce for request in late.submitted] == [0]
    assert (len(late.door._waiting), visit.waiting, answers) == (0, {}, [])
    late.execute(transaction(0))
    assert answers == []


def test_a_transaction_handed_in_twice_is_checked_once(late: House) -> None:
    """Both connections are answered."""
    assert late.verifier is not None
    (one, to_one), (two, to_two) = late.visit(b"one"), late.visit(b"two")
    submit(late, one, transaction(0))
    submit(late, two, transaction(0))
    submit(late, one, transaction(0))
    late.verifier.answer()
    assert len(late.verifier.asked) == 1
    late.execute(transaction(0))
    assert len(told_to(to_one)) == len(told_to(to_two)) == 1


@pytest.mark.parametrize("limit", ["WAITING_PER_VISIT_MAX", "WAITING_MAX", "room"])
def test_what_waits_for_its_verdict_has_a_place(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A door without a place left answers the same, in the same order, as one that checks at once: overload is refused
    with the codes there are, and slows this connection by its own signatures."""
    if limit != "room":
        monkeypatch.setattr(client_door, limit, 3)
        monkeypatch.setattr(client_waiting, limit, 3)
    outcomes = []
    for house in (House(), House(verifier=LateVerifier())):
        if limit == "room":
            size = len(transaction(0).raw)
            monkeypatch.setattr(
                house.standing, "has_room", lambda n, h=house, s=size: n + s * len(h.submitted) <= 3 * s
            )
        visit, answers = house.visit()
        for nonce in range(5):
            submit(house, visit, transaction(nonce), nonce)
        if house.verifier is not None:
            house.verifier.answer()
        outcomes.append(([request.nonce for request in house.submitted], [answer.code for answer in answers]))
        assert (house.door._held, house.door._held_bytes, visit.held) == (0, 0, 0)
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == [0, 1, 2] and len(outcomes[0][1]) == 2
