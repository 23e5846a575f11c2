"""A stage for scenarios: real replica cores, whose messages are delivered by name in the order that a script chooses.

The cores are the production ones (`pbft.core`), each driven as `simulation.bench` drives one: journal before send, own
envelopes handed back, blocks executed by a small ledger of real headers. Nothing arrives unless the script delivers it,
and everything that happens is written down: `lines` is the transcript.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby

from scenarios.narration import Narration
from scenarios.words import action_words, heights, kinds_of, message_words
from simulation.bench import GENESIS_HASH, WALL_MS, Bench, make_configuration, make_envelope, make_request

from ledger.block import Header
from ledger.errors import InvariantViolation
from ledger.hashing import NULL_DIGEST
from ledger.quorum_certificate import QuorumCertificate
from pbft.core.actions import Action, Execute, Persist, SendBlocks, SendEpochEnd, StoreCertificate
from pbft.core.config import IDLE_VOTE_TICKS, TICK_MS, EpochStart
from pbft.core.messages import (
    BlockBody,
    Blocks,
    CertificateNotice,
    ClientRequest,
    Envelope,
    Executed,
    PeerMessage,
    Request,
    SignedMessage,
)
from pbft.core.persisted import LedgerHead


@dataclass(frozen=True, slots=True)
class Flight:
    """A message on its way to one replica."""

    sender: int
    receiver: int
    message: PeerMessage


def request(name: str) -> Request:
    """The request that transcripts call `a0`: client a, nonce 0."""
    return make_request(int(name[1:]), ord(name[0]) - 96)


@dataclass(kw_only=True)
class Actor(Bench):
    """One replica on the stage. Its ledger has real headers; `twist` makes it execute wrongly at one height."""

    stage: "Stage"
    twist: dict[int, bytes] = field(default_factory=dict)  # height -> what is mixed into the state root
    chain: list[BlockBody] = field(default_factory=list)  # executed blocks, from height 1
    hashes: list[bytes] = field(default_factory=lambda: [GENESIS_HASH])  # header hashes by height
    stored: dict[int, QuorumCertificate] = field(default_factory=dict)
    is_down: bool = False

    def ledger_head(self) -> LedgerHead:
        return LedgerHead(
            height=len(self.chain), header_hashes=dict(enumerate(self.hashes)), next_due_ms=self.next_due_ms
        )

    def _perform(self, action: Action) -> None:
        self.stage.note(self.replica_id, action)
        super()._perform(action)
        for receiver, message in self.sent:
            self.stage.post(self.replica_id, receiver, message)
        self.sent.clear()
        if isinstance(action, StoreCertificate):
            self.stored[action.certificate.height] = action.certificate
        elif isinstance(action, SendBlocks):
            self._serve_blocks(action)
        elif isinstance(action, SendEpochEnd):
            end = self.stage.change_at + self.configuration.window
            self.stage.post(self.replica_id, action.replica, CertificateNotice(certificate=self.stored[end]))

    def _serve_blocks(self, action: SendBlocks) -> None:
        """As `LedgerExecution.compute_blocks`: up to the highest certified height in reach, else all."""
        top = max((height for height in self.stored if height >= action.first_height), default=len(self.chain))
        blocks = tuple(self.chain[action.first_height - 1 : top])
        answer = Blocks(first_height=action.first_height, blocks=blocks, certificate=self.stored.get(top))
        self.stage.post(self.replica_id, action.replica, answer)

    def execute(self, action: Execute, header_hash: bytes | None = None) -> None:
        """The ledger's answer: a block on the chain, then the report."""
        header = self._make_header(action)
        self.chain.append(BlockBody(header=header.to_bytes(), batch=action.batch))
        self.hashes.append(header.hash)
        requests = () if action.batch is None else action.batch.requests
        executed = Executed(
            height=action.height,
            header_hash=header.hash,
            time_ms=header.time_ms,
            gas_used=0,
            next_due_ms=self.next_due_ms,
            finished=tuple(r.tx_id for r in requests),
            used=tuple((r.client, r.nonce) for r in requests),
            epoch_end=self._epoch_end(action.height),
            next_epoch=self._next_epoch(action.height),
        )
        self._actions += self.replica.receive(self.replica_id, executed)

    def _epoch_end(self, height: int) -> int | None:
        """E, once the block that decides on the next configuration is executed here, and until E (D40)."""
        decided = self.stage.change_at
        end = None if decided is None else decided + self.configuration.window
        return end if end is not None and decided <= height <= end else None

    def _next_epoch(self, height: int) -> EpochStart | None:
        """What begins after E: the same members, in epoch 1."""
        end = self._epoch_end(height)
        if end is None or height != end:
            return None
        following = replace(self.configuration, epoch=1, base_height=end, base_hash=self.hashes[end])
        self.next_epoch = EpochStart(configuration=following, replica_id=self.replica_id)
        return self.next_epoch

    def _make_header(self, action: Execute) -> Header:
        digest = NULL_DIGEST if action.batch is None else action.batch.digest
        time_ms = WALL_MS if action.batch is None else action.batch.time_ms
        extra = self.twist.get(action.height, b"") + self.stage.header_extra(self)
        return Header(
            network=bytes(32),
            epoch=self.replica.state.configuration.epoch,
            height=action.height,
            parent_hash=self.hashes[-1],
            batch_digest=digest,
            time_ms=time_ms,
            transactions_root=bytes(32),
            receipts_root=bytes(32),
            state_root=hashlib.sha256(digest + extra).digest(),
            gas_used=0,
            next_config_hash=bytes(32),
        )


class Stage(Narration):
    """n replicas and a transcript. `liars` have no core: the script speaks for them with `forge`."""

    actor_type = Actor

    def __init__(self, *, replicas: int = 4, liars: tuple[int, ...] = (), **parameters: int) -> None:
        super().__init__()
        self.flights: list[Flight] = []
        self.replicas = replicas
        self.liars = liars
        self.change_at: int | None = None  # the height whose block decides on the next configuration
        self.forgets_its_key = True  # a lost disk comes back under a new key, so as an observer (D37)
        self.unsynced_blocks = 0  # how many blocks a ledger without sync loses in a power failure: D34 forbids it
        self.header_holds_view = False  # what D31 forbids, for the scenario that shows why
        self.cut_off: set[int] = set()
        self._effects: dict[int, list[str]] = {}
        self._deleted: dict[int, set[int]] = {}
        self._is_quiet = True  # the first ticks
        self.actors: dict[int, Actor] = {}
        configuration = make_configuration(replicas, **parameters)
        for replica in range(replicas):
            if replica not in liars:
                self.actors[replica] = self.actor_type(configuration=configuration, replica_id=replica, stage=self)
        self.flights.clear()
        self._is_quiet = False

    def __getitem__(self, replica: int) -> Actor:
        return self.actors[replica]

    # --- the transcript ---

    def note(self, replica: int, action: Action) -> None:
        """An action that a replica performs, to be written under the event that caused it."""
        if isinstance(action, Persist) and action.value is None and action.key[:2] in (b"p/", b"q/"):
            self._deleted.setdefault(replica, set()).add(int.from_bytes(action.key[2:10], "big"))
        words = action_words(action)
        if isinstance(action, Execute) and not self.actors[replica].executes:
            words = f"asks its worker for {action.height}, which does not answer yet"
        if words is not None:
            self._effects.setdefault(replica, []).append(words)

    def _forget_effects(self) -> None:
        self._effects.clear()
        self._deleted.clear()

    def _write_effects(self) -> None:
        for replica, deleted in self._deleted.items():
            self._effects.setdefault(replica, []).append(f"forgets P and Q at {heights(deleted)}")
        alike: dict[str, list[int]] = {}
        for replica, effects in self._effects.items():
            alike.setdefault("; ".join(_merged(effects)), []).append(replica)
        for effects, replicas in alike.items():
            names = replica_names(sorted(replicas))
            self._write(f"      {names}: {effects}", "          ")
        self._forget_effects()

    # --- messages ---

    def post(self, sender: int, receiver: int | None, message: PeerMessage) -> None:
        """A message leaves its sender; None is all others. It arrives when the script says so."""
        receivers = range(self.replicas) if receiver is None else (receiver,)
        self.flights += [
            Flight(sender, one, message)
            for one in receivers
            if one != sender and one in self.actors and not self.actors[one].is_down
            if not self.cut_off & {sender, one}
        ]

    def select(
        self,
        *kinds: str,
        sender: int | None = None,
        to: int | tuple[int, ...] | None = None,
        height: int | None = None,
    ) -> list[Flight]:
        """The messages in flight that fit, oldest first; no kind means every kind but STATUS."""
        receivers = None if to is None else (to,) if isinstance(to, int) else to
        return [
            flight
            for flight in self.flights
            if (kinds_of(flight.message) & set(kinds) if kinds else "STATUS" not in kinds_of(flight.message))
            and sender in (None, flight.sender)
            and (receivers is None or flight.receiver in receivers)
            and (height is None or height in _heights_of(flight.message))
        ]

    def deliver(
        self,
        *kinds: str,
        sender: int | None = None,
        to: int | tuple[int, ...] | None = None,
        height: int | None = None,
    ) -> None:
        """What is in flight now and fits arrives, in the order sent. At least one message must fit."""
        found = self.select(*kinds, sender=sender, to=to, height=height)
        assert found, f"nothing in flight fits {kinds} from {sender} to {to} at {height}"
        self._arrive(found)

    def lose(
        self,
        *kinds: str,
        sender: int | None = None,
        to: int | tuple[int, ...] | None = None,
        height: int | None = None,
    ) -> None:
        """What is in flight now and fits never arrives."""
        found = self.select(*kinds, sender=sender, to=to, height=height)
        for group in _groups(found):
            receivers = replica_names(flight.receiver for flight in group)
            self._write(f"  R{group[0].sender} -x {receivers}  {message_words(group[0].message)}: lost", " " * 10)
        self.flights = [flight for flight in self.flights if flight not in found]

    def settle(self, *kinds: str, to: int | tuple[int, ...] | None = None) -> None:
        """Delivers what fits, and what follows from it, until nothing is left; STATUS is left out unless named."""
        while found := self.select(*kinds, to=to):
            self._arrive(found)

    def _arrive(self, found: list[Flight]) -> None:
        taken = set(map(id, found))
        self.flights = [flight for flight in self.flights if id(flight) not in taken]
        for group in _groups(found):
            receivers = replica_names(flight.receiver for flight in group)
            self._write(f"  R{group[0].sender} -> {receivers}  {_words_from(group[0])}", " " * 10)
            for flight in group:
                if not self.actors[flight.receiver].is_down:
                    self.actors[flight.receiver].receive(flight.sender, flight.message)
            self._write_effects()

    def forge(self, sender: int, *messages: SignedMessage, to: int | tuple[int, ...] | None = None) -> Envelope:
        """A liar signs something, for all or for some; it arrives when delivered."""
        assert sender in self.liars, "only a liar's word is forged"
        envelope = make_envelope(sender, *messages)
        for receiver in range(self.replicas) if to is None else (to,) if isinstance(to, int) else to:
            self.post(sender, receiver, envelope)
        return envelope

    # --- clients, time, crashes ---

    def hand_in(self, replica: int, *names: str) -> None:
        """A client hands requests to one replica."""
        self._write(f"  client -> R{replica}  REQUEST {' '.join(names)}", " " * 10)
        actor = self.actors[replica]
        for name in names:
            actor._actions += actor.replica.receive(replica, ClientRequest(request=request(name)))
        actor.turn()
        self._write_effects()

    def wait(self, ms: int, *replicas: int) -> None:
        """Time passes at some replicas, or at all. Their STATUS messages are in flight afterwards, the newest only."""
        whom = replicas or tuple(r for r in self.actors if not self.actors[r].is_down)
        self._write(f"  {ms} ms pass at {replica_names(whom)}", " " * 10)
        for _ in range(ms // TICK_MS):
            for replica in whom:
                self.actors[replica].tick()
        self.flights = [
            flight
            for index, flight in enumerate(self.flights)
            if not any(_replaces(later, flight) for later in self.flights[index + 1 :])
        ]
        self._write_effects()

    def cut(self, *replicas: int) -> None:
        """Nothing goes in or out, what is in flight included."""
        self._write(f"  {replica_names(replicas)} is cut off", "")
        self.cut_off |= set(replicas)
        self.flights = [f for f in self.flights if not self.cut_off & {f.sender, f.receiver}]

    def heal(self) -> None:
        """Everybody reaches everybody again."""
        self._write("  all links work again", "")
        self.cut_off.clear()

    def crash(self, *replicas: int) -> None:
        """kill -9: what is in RAM is gone, and so is what was on its way to it."""
        self._write(f"  {replica_names(replicas)} crash{'es' if len(replicas) == 1 else ''}", "")
        for replica in replicas:
            actor = self.actors[replica]
            actor.is_down = True
            if self.unsynced_blocks:
                del actor.chain[-self.unsynced_blocks :], actor.hashes[-self.unsynced_blocks :]
        self.flights = [flight for flight in self.flights if flight.receiver not in replicas]

    def restart(self, *replicas: int) -> None:
        """Starts again from journal and ledger."""
        self._write(f"  {replica_names(replicas)} start{'s' if len(replicas) == 1 else ''} again", "")
        for replica in replicas:
            self.actors[replica].is_down = False
        for replica in replicas:
            try:
                self.actors[replica].start()
            except InvariantViolation as refusal:
                self.actors[replica].is_down = True
                self._write(f"      R{replica} refuses to start: {refusal.code}", " " * 10)
        self._write_effects()

    def come_back_without_a_disk(self, replica: int) -> None:
        """A machine whose journal and ledger are lost starts again."""
        actor = self.actors[replica]
        actor.journal.clear()
        actor.envelopes.clear()
        actor.chain.clear()
        del actor.hashes[1:]
        actor.observes = self.forgets_its_key
        how = "under a new key, as an observer" if actor.observes else "under its old key, as if nothing had been"
        self._write(f"  R{replica} starts again {how}", "")
        actor.is_down = False
        actor.start()

    def header_extra(self, actor: Actor) -> bytes:
        """What a broken header would hold besides D31's list."""
        return bytes([actor.replica.view]) if self.header_holds_view else b""

    # --- short ways ---

    def order(self, *names: str, by: int = 0, to: tuple[int, ...] | None = None) -> None:
        """Each request becomes a height of its own, ordered and certified by all, in one line of the transcript."""
        first = self.actors[by].replica.executed_height + 1
        last = first + len(names) - 1
        what = f"height {first} is" if first == last else f"heights {first}-{last} are"
        with self.quietly(f"{what} ordered, executed and certified as usual"):
            for name in names:
                self.hand_in(by, name)
                self.settle(to=to)
            self.stand_still()
            self.settle(to=to)

    def stand_still(self) -> None:
        """No block comes for so long that everybody votes on the head (D24)."""
        self.wait(IDLE_VOTE_TICKS * TICK_MS)


def _replaces(later: Flight, flight: Flight) -> bool:
    """Whether a message in flight says the same again, or is a newer STATUS."""
    if (later.sender, later.receiver) != (flight.sender, flight.receiver):
        return False
    return later.message is flight.message or kinds_of(later.message) == {"STATUS"} == kinds_of(flight.message)


def replica_names(replicas: Iterable[int]) -> str:
    """`R0 R2`, or `nobody`."""
    return " ".join(f"R{replica}" for replica in replicas) or "nobody"


def _heights_of(message: PeerMessage) -> set[int]:
    inner = message.messages if isinstance(message, Envelope) else ()
    return {getattr(one, "height", -1) for one in inner}


def _words_from(flight: Flight) -> str:
    """The message, and whose it is where its bearer did not sign it."""
    message = flight.message
    foreign = isinstance(message, Envelope) and message.sender != flight.sender
    return f"{message_words(message)}{f', signed by R{message.sender}' if foreign else ''}"


def _groups(found: list[Flight]) -> list[list[Flight]]:
    """One message to several receivers in a row is one line."""
    groups: list[list[Flight]] = []
    for flight in found:
        if groups and groups[-1][0].message is flight.message:
            groups[-1].append(flight)
        else:
            groups.append([flight])
    return groups


def _merged(effects: list[str]) -> list[str]:
    """Journal records of one kind in a row are one phrase; a long one keeps its first and last entry."""
    merged: list[str] = []
    for kind, group in groupby(effects, key=lambda words: words[:11] if words.startswith("journals ") else words):
        found = list(group)
        if kind in ("journals P ", "journals Q ") and len(found) > 1:
            listed = [words.removeprefix(kind) for words in found]
            if len(listed) > 8:
                listed = [listed[0], f"... {len(listed) - 2} more ...", listed[-1]]
            merged.append(kind + ", ".join(listed))
        else:
            merged += found
    return merged
