"""Faulty replicas, the means: a correct node inside, a mouth that says something else, an ear that spares it the rest.

Every frame that the replica sends passes its lies, which return what each receiver gets instead. Lies are sealed with
the replica's own key: all signatures hold, as those of a real traitor do. Lies nest: the last one laid on hears the
correct node, the first one speaks to the network. What each kind of traitor says is in the modules `lies_*` and
`faulty_machines`; `byzantine` is their catalogue.

The inside must go on whatever its mouth has said, so its ear drops what comes back under its own key, and it does not
look for that key inside others' words: the guard against a second process with that key (`core.own_key`) would stop
the traitor, and a traitor has no guard.

What a lie brought about is counted where it arrives, at a correct replica that runs (`Arrivals`): what is lost on the
way proves nothing.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from ledger.errors import DamagedRecord
from pbft.core.messages import (
    Commit,
    Envelope,
    Forward,
    HeaderVote,
    PeerMessage,
    Prepare,
    PrePrepare,
    Said,
    SignedMessage,
)
from pbft.node.assembly import Node
from pbft.simulation.cluster import Cluster
from pbft.wire.codec import WireError, WireRules, encode_peer, encode_peer_frames, seal
from pbft.wire.encode import is_vote


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A message as it is told, and the names of the lies in it: what is counted when it arrives."""

    message: PeerMessage
    effects: tuple[str, ...] = ()


Lie: TypeAlias = Callable[[int, PeerMessage], Sequence[PeerMessage | Told]]
"""(receiver, what the correct node would send) -> what is sent."""

SignedLie: TypeAlias = Callable[[int, SignedMessage], Sequence[tuple[SignedMessage, str]]]
"""(receiver, what the correct node signed) -> what is signed instead, each with the lie's name; empty for truth."""


def corrupt(cluster: Cluster, replica: int, lie: Lie, arrivals: "Arrivals | None" = None) -> None:
    """From now on `replica` lies."""
    cluster.checkers.liars.add(replica)
    honest, rules = cluster.network.send, WireRules.of(cluster.genesis.configuration)

    def send(sender: int, receiver: int, frame: bytes) -> None:
        message = read(cluster, frame, rules) if sender == replica else None
        if message is None:
            honest(sender, receiver, frame)
            return
        for told in lie(receiver, message):
            spoken, effects = (told.message, told.effects) if isinstance(told, Told) else (told, ())
            forged = encode_peer(spoken)
            if arrivals is not None and effects:
                arrivals.expect(receiver, forged, effects)
            honest(sender, receiver, forged)

    cluster.network.send = send  # type: ignore[method-assign]


def read(cluster: Cluster, frame: bytes, rules: WireRules) -> PeerMessage | None:
    """The message in a frame; None for bytes that nobody can read, which liars also send."""
    try:
        return cluster.decode(frame, rules)
    except WireError:
        return None


def sealed(cluster: Cluster, replica: int, *messages: SignedMessage) -> Envelope:
    """Messages under the true signature of machine `replica`, by its id in their epoch, whose member it must be."""
    epoch, network = messages[0].epoch, cluster.genesis.network_id
    sender = cluster.member_id(replica, epoch)
    assert sender is not None, "the observer of an epoch signs nothing in it"
    return seal(messages, sender=sender, epoch=epoch, network=network, key=cluster.replica_key(replica))


def is_by(cluster: Cluster, replica: int, envelope: Envelope) -> bool:
    """Whether an envelope is signed in the name of machine `replica`."""
    return envelope.sender == cluster.member_id(replica, envelope.messages[0].epoch)


def spare_own_words(cluster: Cluster, replica: int) -> None:
    """The machine of `replica` no longer hears what is signed with its own key, nor does a second process there; and it
    does not look for that key inside others' words."""
    deliver, rules = cluster.network.deliver, WireRules.of(cluster.genesis.configuration)

    def deliver_rest(receiver: int, sender: int, frame: bytes) -> None:
        if receiver == replica:
            node = cluster.machines[replica].node
            if node is not None:
                node.replica.state.asks = False
            rest = _without(cluster, replica, frame, rules)
            if rest is None:
                return
            frame = rest
        deliver(receiver, sender, frame)

    cluster.network.deliver = deliver_rest


def _without(cluster: Cluster, replica: int, frame: bytes, rules: WireRules) -> bytes | None:
    """The frame without envelopes of `replica`; None where nothing is left. What does not parse stays as it is."""
    message = read(cluster, frame, rules)
    if isinstance(message, Envelope) and is_by(cluster, replica, message):
        return None
    if isinstance(message, Said):
        return encode_peer(Said(envelopes=(), certificate=None))
    if isinstance(message, Forward) and any(is_by(cluster, replica, e) for e in message.envelopes):
        kept = tuple(envelope for envelope in message.envelopes if not is_by(cluster, replica, envelope))
        return encode_peer(Forward(envelopes=kept)) if kept else None
    return frame


class Arrivals:
    """What of the traitors' words reached correct replicas that run.

    effects        each lie by its name, as in "traitor:invalid_new_view:truncated"
    conflicts      pairs of contradicting signed messages of one traitor that two different correct replicas hold, by
                   kind of message: "conflict_delivered:prepare"
    """

    def __init__(self, cluster: Cluster) -> None:
        self.effects: Counter[str] = Counter()
        self._cluster = cluster
        self._rules = WireRules.of(cluster.genesis.configuration)
        self._expected: dict[tuple[int, bytes], tuple[str, ...]] = {}
        self._heard: dict[tuple[int, str, int, int, int], dict[bytes, set[int]]] = {}
        deliver = cluster.network.deliver

        def deliver_and_count(receiver: int, sender: int, frame: bytes) -> None:
            if sender in cluster.checkers.faulty and self._is_witness(receiver):
                self._process(receiver, frame)
            deliver(receiver, sender, frame)

        cluster.network.deliver = deliver_and_count

    def expect(self, receiver: int, frame: bytes, effects: tuple[str, ...]) -> None:
        """This frame to this receiver is a lie, and so named."""
        self._expected[receiver, hashlib.sha256(frame).digest()] = effects

    def _is_witness(self, replica: int) -> bool:
        machine = self._cluster.machines[replica]
        return replica not in self._cluster.checkers.faulty and machine.node is not None and machine.halted is None

    def _process(self, receiver: int, frame: bytes) -> None:
        for effect in self._expected.pop((receiver, hashlib.sha256(frame).digest()), ()):
            self.effects[effect] += 1
        message = read(self._cluster, frame, self._rules)
        envelopes = message.envelopes if isinstance(message, Forward) else (message,)
        for envelope in envelopes:
            if isinstance(envelope, Envelope) and self._is_of_a_traitor(envelope):
                for inner in envelope.messages:
                    self._compare(receiver, envelope, inner)

    def _is_of_a_traitor(self, envelope: Envelope) -> bool:
        return any(is_by(self._cluster, replica, envelope) for replica in self._cluster.checkers.faulty)

    def _compare(self, receiver: int, envelope: Envelope, message: SignedMessage) -> None:
        match message:
            case PrePrepare() | Prepare() | Commit():
                name = {PrePrepare: "pre_prepare", Prepare: "prepare", Commit: "commit"}[type(message)]
                view, height, word = message.view, message.height, message.digest
            case HeaderVote():
                name, view, height, word = "header_vote", 0, message.height, message.header_hash
            case _:
                name = "new_view" if hasattr(message, "choices") else "view_change"
                view, height, word = message.view, 0, hashlib.sha256(envelope.raw).digest()
        words = self._heard.setdefault((envelope.sender, name, message.epoch, view, height), {})
        before = _is_conflict(words)
        words.setdefault(word, set()).add(receiver)
        if not before and _is_conflict(words):
            self.effects[f"conflict_delivered:{name}"] += 1


def _is_conflict(words: dict[bytes, set[int]]) -> bool:
    """Whether two different replicas hold two different words."""
    return len(words) > 1 and len(set().union(*words.values())) > 1


class Traitor:
    """One faulty replica and its means. `kind` names it in what is counted."""

    def __init__(
        self,
        cluster: Cluster,
        replica: int,
        kind: str,
        random: Random,
        arrivals: Arrivals,
        carry: Callable[[int, int, bytes], None],
    ) -> None:
        """`carry(sender, receiver, frame)` is the network below all lies."""
        self.cluster, self.replica, self.kind, self.random = cluster, replica, kind, random
        self.arrivals = arrivals
        self.carry = carry
        self._tried: Counter[str] = Counter()

    @property
    def node(self) -> Node | None:
        """The correct node inside, None while it is down or has stopped."""
        machine = self.cluster.machines[self.replica]
        return machine.node if machine.halted is None else None

    @property
    def others(self) -> list[int]:
        """All replicas but itself."""
        return [machine.replica for machine in self.cluster.machines if machine.replica != self.replica]

    def in_turn(self, lies: Iterable[str]) -> list[str]:
        """The names of lies, those first that were told least, so that every one has its turn."""
        drawn = sorted(lies)
        self.random.shuffle(drawn)
        return sorted(drawn, key=lambda name: self._tried[name])

    def tried(self, lie: str) -> None:
        """This lie had its turn."""
        self._tried[lie] += 1

    def sealed(self, *messages: SignedMessage) -> Envelope:
        """Messages under its true signature."""
        return sealed(self.cluster, self.replica, *messages)

    def is_own(self, envelope: Envelope) -> bool:
        """Whether an envelope is signed in its name, in whatever epoch."""
        return is_by(self.cluster, self.replica, envelope)

    def leads(self, view: int) -> bool:
        """Whether it is the primary of a view of the epoch that its running node is in."""
        assert self.node is not None
        return self.node.replica.state.configuration.primary(view) == self.node.replica.replica_id

    def name(self, effect: str) -> str:
        """The full name of an effect of this kind."""
        return f"traitor:{self.kind}:{effect}"

    def count(self, effect: str) -> None:
        """Something was withheld or delayed: that is done at once, and nothing arrives."""
        self.arrivals.effects[self.name(effect)] += 1

    def told(self, message: PeerMessage, *effects: str) -> Told:
        """A lie with the full names of its effects."""
        return Told(message=message, effects=tuple(self.name(effect) for effect in effects))

    def say(self, receiver: int, message: PeerMessage, effect: str) -> None:
        """Says something unasked, past its own other lies; long messages in as many frames as they need."""
        for frame in encode_peer_frames(message, WireRules.of(self.cluster.genesis.configuration)):
            self.arrivals.expect(receiver, frame, (self.name(effect),))
            self.carry(self.replica, receiver, frame)

    def every(self, period_ms: int, action: Callable[[Node], None]) -> None:
        """Does something again and again while its node runs as a member: nobody has a link to an observer.

        A traitor's disk may rot like any other, under its lies too: then it stops, as in a turn of its node.
        """

        def again() -> None:
            if self.node is not None and self.node.replica.state.is_voter:
                try:
                    action(self.node)
                except DamagedRecord as error:
                    self.node.driver.stop(f"this replica contradicts itself: {error}", "invariant")
            self.cluster.at(period_ms, again)

        self.cluster.at(period_ms, again)

    def lie(self, lie: Lie) -> None:
        """Lays a lie over everything that the node sends."""
        corrupt(self.cluster, self.replica, lie, self.arrivals)

    def lie_signed(self, lie: SignedLie) -> None:
        """Lays a lie over everything that the node signs, when it is sent first and when it is sent again."""

        def say_instead(receiver: int, message: PeerMessage) -> Sequence[PeerMessage | Told]:
            if isinstance(message, Envelope):
                return self._retell(receiver, message, lie)
            if not isinstance(message, Forward) or not any(self.is_own(e) for e in message.envelopes):
                return [message]
            retold = [told for envelope in message.envelopes for told in self._retell(receiver, envelope, lie)]
            kept = tuple(envelope for told in retold if isinstance(envelope := told.message, Envelope))
            effects = tuple(effect for told in retold for effect in told.effects)
            return [Told(message=Forward(envelopes=kept), effects=effects)] if kept else []

        self.lie(say_instead)

    def _retell(self, receiver: int, envelope: Envelope, lie: SignedLie) -> list[Told]:
        """An envelope as its receiver gets it: unchanged where no message in it is, else sealed anew in few."""
        if not self.is_own(envelope):
            return [Told(message=envelope)]
        words = [word for inner in envelope.messages for word in lie(receiver, inner)]
        messages = tuple(message for message, _ in words)
        effects = tuple(self.name(effect) for _, effect in words if effect)
        if messages == envelope.messages:
            return [Told(message=envelope, effects=effects)]
        votes = tuple(message for message in messages if is_vote(message))
        told = [Told(message=self.sealed(*votes), effects=effects)] if votes else []
        alone = (message for message in messages if not is_vote(message))
        return told + [Told(message=self.sealed(message), effects=effects) for message in alone]
