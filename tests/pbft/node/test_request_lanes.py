"""Frames that wait for verdicts: order, one check for each signature, bounds, and verifiers that fail in every way.

No process and no socket: verifiers here are lists that tests answer for.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from random import Random

import pytest

from ledger.errors import InvariantViolation
from ledger.hashing import Tag, signing_bytes
from ledger.keys import SigningKey
from pbft.core.messages import Request
from pbft.node import request_lanes
from pbft.node.metrics import Metrics
from pbft.node.process_edge import StopOnError
from pbft.node.request_lanes import INLINE_LANE, Lane, RequestPool
from pbft.wire.codec import UncheckedSignature

KEY = SigningKey.from_seed(bytes(32))


def request(number: int, *, size: int = 10) -> Request:
    """A request of which only the signed bytes matter here."""
    body = number.to_bytes(4, "big") + bytes(size)
    raw = KEY.sign(signing_bytes(Tag.SIGN_TRANSACTION, body)) + body
    return Request(client=KEY.public_key, nonce=number, tx_id=body, expiry_height=1, gas_limit=1, raw=raw, signed=None)


@pytest.fixture(autouse=True)
def every_signature_is_worth_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that tests need few."""
    monkeypatch.setattr(request_lanes, "IN_PLACE_MAX", 0)


class Memory:
    """`SignatureMemory`, with requests' raw bytes for identities."""

    def __init__(self) -> None:
        self.known: set[bytes] = set()

    def find_unchecked(self, requests: Iterable[Request]) -> list[UncheckedSignature]:
        return [
            UncheckedSignature(one.raw, one.client, one.raw[64:], one.raw[:64])
            for one in requests
            if one.raw not in self.known
        ]

    def remember(self, identities: Iterable[bytes]) -> None:
        self.known.update(identities)


class Verifier:
    """A verifier that has been asked, until the test answers."""

    def __init__(self, pool: RequestPool) -> None:
        self.pool = pool
        self.asked: list[bytes] | None = None  # identities, under way
        self.messages: list[int] = []  # how many signatures each message had

    def ask(self, signatures: Sequence[UncheckedSignature]) -> None:
        assert self.asked is None, "asked before it has answered"
        self.asked = [one.identity for one in signatures]
        self.messages.append(len(self.asked))

    def answer(self, verdict: Callable[[bytes], bool] = lambda _: True) -> None:
        assert self.asked is not None
        asked, self.asked = self.asked, None
        self.pool.answer(self, [verdict(identity) for identity in asked])

    def die(self) -> None:
        self.asked = None
        self.pool.lose(self)


class House:
    """A pool, its verifiers, and what went on."""

    def __init__(self, verifiers: int = 1, guard: AbstractContextManager[None] | None = None) -> None:
        self.memory = Memory()
        self.metrics = Metrics()
        self.turn: list[Callable[[], None]] = []
        self.pool = RequestPool(
            self.memory, at_turn_end=self.turn.append, guard=guard or nullcontext(), metrics=self.metrics
        )
        self.verifiers = [Verifier(self.pool) for _ in range(verifiers)]
        for verifier in self.verifiers:
            self.pool.welcome(verifier)
        self.gone_on: list[object] = []

    def hold(self, lane: Lane, name: object, *requests: Request, size_bytes: int = 100) -> bool:
        """A frame of that name arrives; it goes on at once or later."""
        if lane.hold(requests, size_bytes, lambda: self.gone_on.append(name)):
            return True
        self.gone_on.append(name)
        return False

    def end_turn(self) -> None:
        while self.turn:
            self.turn.pop()()


def test_without_verifiers_nothing_ever_waits() -> None:
    """The simulator's way and that of a pool whose verifiers are all gone are one: go on, and check where it stands."""
    house = House(verifiers=0)
    assert not house.hold(INLINE_LANE, "inline", request(1))
    assert not house.hold(house.pool.open(), "none there", request(1))
    assert (house.gone_on, house.turn, house.pool.waiting) == (["inline", "none there"], [], 0)


def test_what_a_turn_brings_leaves_in_one_message_and_goes_on_in_order() -> None:
    """Nothing is sent while frames still arrive; nothing waits for a fuller message either."""
    house = House()
    lane = house.pool.open()
    assert all(house.hold(lane, number, request(number)) for number in range(5))
    (verifier,) = house.verifiers
    assert (verifier.asked, len(house.turn)) == (None, 1)
    house.end_turn()
    assert verifier.messages == [5] and house.gone_on == []
    verifier.answer()
    assert house.gone_on == [0, 1, 2, 3, 4]
    assert house.memory.known == {request(number).raw for number in range(5)}
    assert house.metrics.verifier_verdicts_total == {"holds": 5, "fails": 0}
    assert house.pool.waiting == 0


def test_a_few_signatures_alone_are_not_worth_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """They go on when the turn ends, unless more come with them, or a verifier has work anyway."""
    monkeypatch.setattr(request_lanes, "IN_PLACE_MAX", 2)
    house = House()
    lane = house.pool.open()
    (verifier,) = house.verifiers
    assert house.hold(lane, "lone", request(1)) and house.hold(lane, "second", request(2))
    house.end_turn()
    assert (house.gone_on, house.memory.known, verifier.messages) == (["lone", "second"], set(), [])
    house.hold(lane, "many", *(request(number) for number in range(3, 6)))
    house.end_turn()
    house.hold(lane, "behind", request(6))
    house.end_turn()
    assert house.gone_on == ["lone", "second"]
    verifier.answer()
    assert house.gone_on == ["lone", "second", "many", "behind"]
    assert verifier.messages == [3]


def test_nothing_overtakes_in_a_lane_and_lanes_do_not_wait_for_each_other() -> None:
    """A vote behind a proposal stays behind it; another replica's vote does not care."""
    house = House()
    one, two = house.pool.open(), house.pool.open()
    house.hold(one, "proposal", request(1), request(2))
    assert house.hold(one, "vote behind it")
    assert not house.hold(two, "vote of another")
    assert house.gone_on == ["vote of another"]
    house.end_turn()
    house.verifiers[0].answer()
    assert house.gone_on == ["vote of another", "proposal", "vote behind it"]
    assert not house.hold(one, "vote after it")


def test_a_proposal_with_a_verdict_waits_for_the_one_before_it() -> None:
    """Two verifiers may answer in any order; a link's frames go on in theirs."""
    house = House(verifiers=2)
    lane = house.pool.open()
    house.hold(lane, "first", request(1))
    house.hold(lane, "second", request(2))
    house.end_turn()
    first = next(v for v in house.verifiers if v.asked == [request(1).raw])
    second = next(v for v in house.verifiers if v.asked == [request(2).raw])
    second.answer()
    assert house.gone_on == []
    first.answer()
    assert house.gone_on == ["first", "second"]


def test_while_a_verifier_is_busy_what_comes_is_collected() -> None:
    """One message at a time: the next has all that came meanwhile, up to its limit."""
    house = House()
    lane = house.pool.open()
    house.hold(lane, 0, request(0))
    house.end_turn()
    most = request_lanes.MESSAGE_SIGNATURES_MAX
    house.hold(lane, "many", *(request(number) for number in range(1, most + 11)))
    house.end_turn()
    (verifier,) = house.verifiers
    assert verifier.messages == [1]
    for _ in range(3):
        verifier.answer()
    assert verifier.messages == [1, most, 10]
    assert house.gone_on == [0, "many"]


def test_idle_verifiers_share_a_batch() -> None:
    """A proposal of nine waits a third as long with three of them."""
    house = House(verifiers=3)
    house.hold(house.pool.open(), "batch", *(request(number) for number in range(9)))
    house.end_turn()
    assert [verifier.messages for verifier in house.verifiers] == [[3], [3], [3]]
    for verifier in house.verifiers:
        assert house.gone_on == []
        verifier.answer()
    assert house.gone_on == ["batch"]


def test_long_transactions_fill_a_message_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message holds no more than the limit and one more, so that one of any length can go."""
    monkeypatch.setattr(request_lanes, "MESSAGE_SIGNED_BYTES_MAX", 2_500)
    house = House()
    house.hold(
        house.pool.open(), "long", *(request(number, size=size) for number, size in enumerate([1_000] * 3 + [9_000]))
    )
    house.end_turn()
    (verifier,) = house.verifiers
    verifier.answer()
    verifier.answer()
    assert verifier.messages == [3, 1]


def test_a_long_queue_of_one_sender_delays_no_other_by_more_than_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the message under way and one more; also for a signature that stands far back in the long queue."""
    monkeypatch.setattr(request_lanes, "MESSAGE_SIGNATURES_MAX", 4)
    house = House()
    flood, link = house.pool.open(), house.pool.open()
    for number in range(20):
        house.hold(flood, number, request(number))
    house.end_turn()
    house.hold(link, "proposal", request(19), request(30))
    house.end_turn()
    (verifier,) = house.verifiers
    verifier.answer()
    verifier.answer()
    assert house.gone_on == [*range(8)]
    verifier.answer()
    assert house.gone_on[8:] == [8, 9, "proposal"]
    while verifier.asked:
        verifier.answer()
    assert [name for name in house.gone_on if name != "proposal"] == [*range(20)]
    assert sum(verifier.messages) == 21, "each once"
    assert house.pool._unsent_count == 0


def test_a_transaction_that_comes_twice_is_checked_once() -> None:
    """From a client and in a proposal, while its verdict is outstanding: both wait for the one."""
    house = House()
    door, link = house.pool.open(), house.pool.open()
    house.hold(door, "submit", request(1))
    house.end_turn()
    house.hold(link, "proposal", request(1), request(1))
    house.end_turn()
    (verifier,) = house.verifiers
    assert verifier.messages == [1]
    verifier.answer()
    assert house.gone_on == ["submit", "proposal"]
    assert verifier.messages == [1]
    assert not house.hold(link, "known", request(1))


def test_a_bad_verdict_is_no_word_about_the_client() -> None:
    """It goes on all the same, and is not remembered: whoever goes on finds out for itself, with its own code."""
    house = House()
    house.hold(house.pool.open(), "forged", request(1))
    house.end_turn()
    house.verifiers[0].answer(lambda _: False)
    assert (house.gone_on, house.memory.known) == (["forged"], set())
    assert house.metrics.verifier_verdicts_total == {"holds": 0, "fails": 1}


def test_what_a_dying_verifier_had_goes_on_without_verdicts() -> None:
    """Nothing is lost and nothing believed; what was not sent waits for the other one."""
    house = House(verifiers=2)
    lane = house.pool.open()
    house.hold(lane, "one", request(1))
    house.hold(lane, "two", request(2))
    house.end_turn()
    house.hold(lane, "three", request(3))
    first = next(v for v in house.verifiers if v.asked == [request(1).raw])
    (other,) = set(house.verifiers) - {first}
    first.die()
    assert (house.gone_on, house.memory.known) == (["one"], set())
    other.answer()
    assert house.gone_on == ["one", "two"]
    other.answer()
    assert house.gone_on == ["one", "two", "three"]
    assert house.metrics.verifier_verdicts_total == {"none": 1, "holds": 2, "fails": 0}


def test_when_the_last_verifier_dies_everything_goes_on_at_once() -> None:
    """Sent or not; and from then on nothing waits, until another one is there."""
    house = House()
    lane = house.pool.open()
    house.hold(lane, "sent", request(1))
    house.end_turn()
    house.hold(lane, "not sent", request(2))
    house.hold(lane, "vote")
    house.verifiers[0].die()
    assert house.gone_on == ["sent", "not sent", "vote"]
    assert not house.hold(lane, "alone", request(3))
    house.end_turn()
    house.pool.welcome(house.verifiers[0])
    assert house.hold(lane, "again", request(4))
    house.end_turn()
    house.verifiers[0].answer()
    assert house.gone_on[-1] == "again"


@pytest.mark.parametrize("way", ["in place", "verdict", "death"])
def test_an_error_behind_a_lane_stops_the_replica_whichever_way_it_went_on(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reactor would log it and go on with half a replica: the core must not be entered again after an error."""
    monkeypatch.setattr(request_lanes, "IN_PLACE_MAX", 1 if way == "in place" else 0)
    failures: list[str] = []
    house = House(guard=StopOnError(failures.append))

    def contradict() -> None:
        raise InvariantViolation("a contradiction")

    assert house.pool.open().hold([request(1)], 100, contradict)
    house.end_turn()
    if way == "verdict":
        house.verifiers[0].answer()
    elif way == "death":
        house.verifiers[0].die()
    assert len(failures) == 1 and "a contradiction" in failures[0]
    assert house.pool.waiting == 0


def test_another_number_of_verdicts_is_refused() -> None:
    """No signature may take its neighbour's verdict."""
    house = House()
    house.hold(house.pool.open(), "two", request(1), request(2))
    house.end_turn()
    with pytest.raises(ValueError, match="zip"):
        house.pool.answer(house.verifiers[0], [True])


@pytest.mark.parametrize("limit", ["SIGNATURES_MAX", "FRAMES_MAX", "BYTES_MAX"])
def test_past_a_limit_a_lane_goes_on_at_once_with_all_that_waits_in_it(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order; other lanes keep waiting, and verdicts that come later are remembered and disturb nobody."""
    monkeypatch.setattr(request_lanes, limit, {"SIGNATURES_MAX": 3, "FRAMES_MAX": 3, "BYTES_MAX": 399}[limit])
    house = House()
    one, two = house.pool.open(), house.pool.open()
    house.hold(two, "other", request(0))
    house.hold(one, "first", request(1))
    house.hold(one, "second", request(2))
    house.end_turn()
    assert not house.hold(one, "too much", request(3))
    assert house.gone_on == ["first", "second", "too much"]
    assert (house.pool.waiting, house.metrics.verifier_overflows_total) == (1, 1)
    house.verifiers[0].answer()
    assert house.gone_on[3:] == ["other"]
    assert house.memory.known == {request(number).raw for number in range(3)}


def test_signatures_that_nobody_waits_for_any_more_are_not_sent() -> None:
    """What a lane was released with was checked where it stood: a verifier need not."""
    house = House()
    one, two = house.pool.open(), house.pool.open()
    house.hold(one, "busy", request(0))
    house.end_turn()
    house.hold(one, "released", request(1), request(2))
    house.hold(two, "waits", request(2))
    house.end_turn()
    one.release()
    assert house.gone_on == ["busy", "released"]
    (verifier,) = house.verifiers
    verifier.answer()
    assert verifier.asked == [request(2).raw]
    verifier.answer()
    assert house.gone_on == ["busy", "released", "waits"]


@pytest.mark.parametrize("seed", range(20))
def test_any_history_goes_on_once_in_order_and_remembers_nothing_unchecked(seed: int) -> None:
    """Random frames, verdicts, deaths, starts and releases: each frame once, each lane in order, memory only of true
    verdicts, and the pool is empty at the end."""
    random = Random(seed)
    house = House(verifiers=random.randint(1, 3))
    lanes = [house.pool.open() for _ in range(3)]
    sent: list[list[object]] = [[], [], []]
    good = {request(number).raw for number in range(40) if number % 4}
    alive = list(house.verifiers)
    for step in range(300):
        place = random.randrange(3)
        busy = [verifier for verifier in alive if verifier.asked is not None]
        draw = random.random()
        if draw < 0.5:
            sent[place].append((place, step))
            house.hold(
                lanes[place], (place, step), *(request(random.randrange(40)) for _ in range(random.randrange(4)))
            )
        elif draw < 0.65:
            house.end_turn()
        elif draw < 0.9 and busy:
            random.choice(busy).answer(lambda identity: identity in good)
        elif draw < 0.93 and alive:
            alive.pop(random.randrange(len(alive))).die()
        elif draw < 0.97 and len(alive) < 3:
            alive.append(Verifier(house.pool))
            house.pool.welcome(alive[-1])
        elif draw >= 0.97:
            lanes[place].release()
    for verifier in alive:
        verifier.die()
    for place in range(3):
        assert [name for name in house.gone_on if name[0] == place] == sent[place]  # type: ignore[index]
    assert house.memory.known <= good
    pool = house.pool
    assert (pool.waiting, pool._bytes, pool._unsent_count) == (0, 0, 0)
    assert not (pool._frames_of or pool._unsent or pool._under_way)
