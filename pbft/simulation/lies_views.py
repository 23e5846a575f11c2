"""Lies in a view change: VIEW-CHANGEs that hide, invent or contradict, NEW-VIEWs that do not follow from theirs, and
words of views long gone (section 4.4, M34-M43, D27, D29).

Some of these lies are well-formed and must be counted like any other message: a VIEW-CHANGE with other sets, a NEW-VIEW
from another quorum. The rest must be refused, and convict the liar. Where a lie needs a batch, that batch exists
(`FORGED_BATCH`), and the liars serve it: what believes them fails by executing it, not by waiting for its body.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from ledger.hashing import NULL_DIGEST
from pbft.core.config import CoreConfiguration
from pbft.core.messages import (
    Batches,
    Commit,
    Envelope,
    FetchBatches,
    Forward,
    HeaderVote,
    NewView,
    PeerMessage,
    SignedMessage,
    SlotChoice,
    SlotEntry,
    ViewChange,
)
from pbft.core.new_view import compute_new_view, compute_view_change
from pbft.core.requests import compute_batch
from pbft.node.assembly import Node
from pbft.simulation.founding import GENESIS_TIME_MS
from pbft.simulation.liars import Told, Traitor, read
from pbft.wire.codec import WireRules, encode_peer_frames
from pbft.wire.limits import DIGESTS_PER_SLOT_MAX

FORGED_BATCH: Final = compute_batch(GENESIS_TIME_MS + 86_400_000, ())
"""Whole and well-formed, and of a time that no correct replica agrees to: nobody pre-prepared it. The same for all
traitors: f of them vouch for it together."""
FORGED_DIGEST: Final = FORGED_BATCH.digest
SAME_FOR_ALL_CHANCE: Final = 0.5  # of the views that a traitor leads: it tells all others one NEW-VIEW
ABSURD_VIEW: Final = 2**62
STALE_KEPT: Final = 20  # old envelopes that a replaying traitor remembers
WAITS_MS: Final = 600  # three STATUS messages of those who lack the NEW-VIEW
UNASKED_MS: Final = 2_000  # how often VIEW-CHANGEs come that nobody asked for

ViewChangeLie: TypeAlias = Callable[[CoreConfiguration, ViewChange], ViewChange | None]
NewViewLie: TypeAlias = Callable[[CoreConfiguration, Traitor, NewView], NewView | None]


# --- VIEW-CHANGE ---


def _hide(_: CoreConfiguration, message: ViewChange) -> ViewChange | None:
    return replace(message, prepared=(), pre_prepared=()) if message.pre_prepared else None


def _with_entry(message: ViewChange, height: int, *, is_pre_prepared: bool = True) -> ViewChange:
    """One forged P entry, as late as can be, with the Q entry that it needs, or without."""
    forged = SlotEntry(height=height, digest=FORGED_DIGEST, view=message.view - 1)
    kept = tuple(entry for entry in message.prepared if entry.height != height)
    prepared = tuple(sorted((*kept, forged), key=lambda entry: entry.height))
    named = (*message.pre_prepared, forged) if is_pre_prepared else message.pre_prepared
    return replace(
        message, prepared=prepared, pre_prepared=tuple(sorted(named, key=lambda entry: (entry.height, entry.digest)))
    )


def _lower(configuration: CoreConfiguration, message: ViewChange) -> ViewChange | None:
    """From genesis again, which needs no certificate, with what fits into the first window."""
    if message.certified_height == 0:
        return None
    return replace(
        message,
        certified_height=0,
        header_hash=configuration.base_hash,
        certificate=None,
        prepared=tuple(e for e in message.prepared if e.height <= configuration.window),
        pre_prepared=tuple(e for e in message.pre_prepared if e.height <= configuration.window),
    )


def _boast(_: CoreConfiguration, message: ViewChange) -> ViewChange | None:
    """A higher h than its certificate proves."""
    return replace(message, certified_height=message.certified_height + 1)


def _name_many(configuration: CoreConfiguration, message: ViewChange) -> ViewChange:
    """As many Q entries as a message may carry."""
    heights = range(message.certified_height + 1, message.certified_height + configuration.window + 1)
    entries = [
        SlotEntry(height=height, digest=bytes([number]) * 32, view=message.view - 1)
        for height in heights
        for number in range(1, DIGESTS_PER_SLOT_MAX + 1)
    ]
    return replace(message, prepared=(), pre_prepared=tuple(entries))


VIEW_CHANGE_LIES: Final[Mapping[str, ViewChangeLie]] = {
    "hidden_sets": _hide,
    "forged_at_top": lambda c, m: _with_entry(m, m.certified_height + c.window),
    "forged_near": lambda c, m: _with_entry(m, m.certified_height + 1 + m.view % 3),
    "outside_window": lambda c, m: _with_entry(m, m.certified_height + c.window + 1),
    "not_pre_prepared": lambda c, m: _with_entry(m, m.certified_height + 1, is_pre_prepared=False),
    "lower_h": _lower,
    "unproved_h": _boast,
    "many_digests": _name_many,
}


def misreport(traitor: Traitor) -> None:
    """M38, M40: each receiver gets another VIEW-CHANGE; and as primary it gives up views for no reason (M35)."""
    given_up: set[int] = set()

    def lie(receiver: int, message: SignedMessage) -> Sequence[tuple[SignedMessage, str]]:
        if not isinstance(message, ViewChange) or traitor.node is None:
            return [(message, "")]
        configuration = traitor.node.replica.state.configuration
        for name in traitor.in_turn(VIEW_CHANGE_LIES):
            forged = VIEW_CHANGE_LIES[name](configuration, message)
            if forged is not None:
                traitor.tried(name)
                return [(forged, name)]
        return [(message, "")]

    def give_up(node: Node) -> None:
        state = node.replica.state
        if state.is_primary and state.active and state.view not in given_up and traitor.random.random() < 0.5:
            given_up.add(state.view)
            for receiver in traitor.random.sample(traitor.others, traitor.random.randint(1, len(traitor.others))):
                traitor.say(receiver, traitor.sealed(_empty_view_change(node, state.view + 1)), "gives_up")

    traitor.lie_signed(lie)
    traitor.every(UNASKED_MS, give_up)
    _serve_forged_batch(traitor)


def _serve_forged_batch(traitor: Traitor) -> None:
    """M16, M42: whoever asks it for the batch that it forged gets it. No correct replica does: A2 of M40 lets none get
    that far, so nothing is counted."""
    deliver, rules = traitor.cluster.network.deliver, WireRules.of(traitor.cluster.genesis.configuration)

    def deliver_and_serve(receiver: int, sender: int, frame: bytes) -> None:
        if receiver == traitor.replica:
            message = read(traitor.cluster, frame, rules)
            if isinstance(message, FetchBatches) and FORGED_DIGEST in message.digests:
                for answer in encode_peer_frames(Batches(batches=(FORGED_BATCH,)), rules):
                    traitor.carry(traitor.replica, sender, answer)
        deliver(receiver, sender, frame)

    traitor.cluster.network.deliver = deliver_and_serve


def rush_ahead(traitor: Traitor) -> None:
    """M34, M35: VIEW-CHANGEs for views that nobody ever gets to, and for the next ones of each receiver."""

    def speak_unasked(node: Node) -> None:
        view = node.replica.view + traitor.random.randint(1, 3)
        effect = "early_view"
        if traitor.random.random() < 0.3:
            view, effect = ABSURD_VIEW + traitor.random.randrange(4), "absurd_view"
        for receiver in traitor.others:
            traitor.say(receiver, traitor.sealed(_empty_view_change(node, view)), effect)

    traitor.every(UNASKED_MS, speak_unasked)


def _empty_view_change(node: Node, view: int) -> ViewChange:
    state = node.replica.state
    return ViewChange(
        epoch=state.configuration.epoch,
        view=view,
        certified_height=state.certified_height,
        header_hash=state.certified_hash,
        certificate=state.certificate,
        prepared=(),
        pre_prepared=(),
    )


# --- NEW-VIEW ---


def _choose(message: NewView, *choices: SlotChoice) -> NewView | None:
    return None if choices == message.choices else replace(message, choices=choices)


def _wrong_digest(_: CoreConfiguration, __: Traitor, message: NewView) -> NewView | None:
    *kept, last = message.choices or (None,)
    return None if last is None else replace(message, choices=(*kept, replace(last, digest=FORGED_DIGEST)))


def _null_for_prepared(_: CoreConfiguration, __: Traitor, message: NewView) -> NewView | None:
    return _choose(message, *(replace(choice, digest=NULL_DIGEST) for choice in message.choices))


def _truncated(_: CoreConfiguration, __: Traitor, message: NewView) -> NewView | None:
    return _choose(message, *message.choices[:-1])


def _extended(_: CoreConfiguration, traitor: Traitor, message: NewView) -> NewView | None:
    """A null more than follows: D29 forbids what would make empty blocks."""
    top = max([choice.height for choice in message.choices] + [_start(message)])
    return _choose(message, *message.choices, SlotChoice(height=top + 1, digest=NULL_DIGEST))


def _invented(_: CoreConfiguration, __: Traitor, message: NewView) -> NewView | None:
    """All that follows, and a batch of its own on top of it."""
    top = max([choice.height for choice in message.choices] + [_start(message)])
    return _choose(message, *message.choices, SlotChoice(height=top + 1, digest=FORGED_DIGEST))


def _wrong_h(_: CoreConfiguration, __: Traitor, message: NewView) -> NewView | None:
    """The right digests, a height too far up: as if h were another one."""
    return _choose(message, *(replace(choice, height=choice.height + 1) for choice in message.choices))


def _start(message: NewView) -> int:
    return max(compute_view_change(envelope).certified_height for envelope in message.view_changes)


def _too_few(configuration: CoreConfiguration, _: Traitor, message: NewView) -> NewView | None:
    return replace(message, view_changes=message.view_changes[: configuration.quorums.quorum - 1])


def _repeated(configuration: CoreConfiguration, _: Traitor, message: NewView) -> NewView | None:
    """Q messages of Q - 1 replicas: counted by message they would do (M3)."""
    few = message.view_changes[: configuration.quorums.quorum - 1]
    return replace(message, view_changes=(*few, few[0]))


def _forged_view_change(_: CoreConfiguration, traitor: Traitor, message: NewView) -> NewView | None:
    """Somebody else's VIEW-CHANGE with empty sets, and its old signature."""
    index = next((i for i, e in enumerate(message.view_changes) if not traitor.is_own(e)), None)
    if index is None:
        return None
    envelope = message.view_changes[index]
    inner = replace(compute_view_change(envelope), prepared=(), pre_prepared=())
    raw = traitor.sealed(inner).raw
    forged = replace(envelope, messages=(inner,), raw=raw, signature=bytes([envelope.signature[0] ^ 1]) + bytes(63))
    return replace(message, view_changes=_put(message.view_changes, index, forged))


def _foreign_view_change(_: CoreConfiguration, traitor: Traitor, message: NewView) -> NewView | None:
    return _with_own(traitor, message, lambda own: replace(own, view=own.view + 1))


def _with_own(traitor: Traitor, message: NewView, change: Callable[[ViewChange], ViewChange]) -> NewView | None:
    """V with another VIEW-CHANGE of the traitor itself in it."""
    for index, envelope in enumerate(message.view_changes):
        if traitor.is_own(envelope):
            forged = traitor.sealed(change(compute_view_change(envelope)))
            return replace(message, view_changes=_put(message.view_changes, index, forged))
    return None


def _put(envelopes: tuple[Envelope, ...], index: int, envelope: Envelope) -> tuple[Envelope, ...]:
    return (*envelopes[:index], envelope, *envelopes[index + 1 :])


def _decided(configuration: CoreConfiguration, message: NewView | None) -> NewView | None:
    """The NEW-VIEW that truly follows from its V; None where V decides nothing."""
    if message is None:
        return None
    decision = compute_new_view(configuration, {e.sender: compute_view_change(e) for e in message.view_changes})
    return None if decision is None else replace(message, choices=decision.choices)


def _other_quorum(configuration: CoreConfiguration, traitor: Traitor, message: NewView) -> NewView | None:
    """Well-formed: another Q of the VIEW-CHANGEs that it holds by now, and what follows from them."""
    known = _known(traitor, message)
    if len(known) <= configuration.quorums.quorum:
        return None
    chosen = traitor.random.sample(sorted(known), configuration.quorums.quorum)
    return _decided(configuration, replace(message, view_changes=tuple(known[sender] for sender in sorted(chosen))))


def _known(traitor: Traitor, message: NewView) -> dict[int, Envelope]:
    """The VIEW-CHANGEs for a NEW-VIEW's view that the traitor holds, by sender."""
    assert traitor.node is not None
    held = traitor.node.replica.state.view_changes.values()
    return {e.sender: e for e in (*message.view_changes, *held) if compute_view_change(e).view == message.view}


def _other_own(configuration: CoreConfiguration, traitor: Traitor, message: NewView) -> NewView | None:
    """Well-formed: the own VIEW-CHANGE in V hides what it prepared, and X follows from that."""
    changed = _with_own(traitor, message, lambda own: replace(own, prepared=(), pre_prepared=()))
    return _decided(configuration, changed)


NEW_VIEW_LIES: Final[Mapping[str, NewViewLie]] = {
    "wrong_digest": _wrong_digest,
    "null_for_prepared": _null_for_prepared,
    "truncated": _truncated,
    "extended": _extended,
    "invented": _invented,
    "wrong_h": _wrong_h,
    "too_few": _too_few,
    "repeated": _repeated,
    "forged_view_change": _forged_view_change,
    "foreign_view_change": _foreign_view_change,
    "other_quorum": _other_quorum,
    "other_own_view_change": _other_own,
}
SHARED_LIES: Final = ("invented", "wrong_digest", "null_for_prepared", "truncated")  # that a whole view could follow
CHOICE_LIES: Final = ("wrong_digest", "null_for_prepared", "truncated", "wrong_h")  # where there is something to choose


def choose_wrongly(traitor: Traitor) -> None:
    """M43: as the new primary it tells each receiver another NEW-VIEW, or all of them one, none the one that its node
    made. In the view before its own it keeps its COMMITs and header votes back, so that something is left to choose."""
    keeps_back: dict[int, bool] = {}  # view -> its votes
    shares: dict[int, bool] = {}  # view -> all hear one lie
    told_to_all: dict[int, str] = {}  # view -> which
    waits: dict[int, int] = {}  # view -> until when its NEW-VIEW waits for more VIEW-CHANGEs than it needs

    def lie(receiver: int, message: SignedMessage) -> Sequence[tuple[SignedMessage, str]]:
        if traitor.node is None:
            return [(message, "")]
        configuration, view = traitor.node.replica.state.configuration, traitor.node.replica.view
        keeps = traitor.leads(view + 1) and isinstance(message, Commit | HeaderVote)
        if keeps and keeps_back.setdefault(view, traitor.random.random() < 0.7):
            traitor.count("vote_withheld")
            return []
        if not isinstance(message, NewView):
            return [(message, "")]
        now_ms = traitor.cluster.now_ms
        until_ms = waits.setdefault(view, now_ms + (WAITS_MS if traitor.random.random() < 0.4 else 0))
        if now_ms < until_ms and len(_known(traitor, message)) <= configuration.quorums.quorum:
            traitor.count("withheld")
            return []
        is_shared = shares.setdefault(view, traitor.random.random() < SAME_FOR_ALL_CHANCE)
        about_choices = CHOICE_LIES if message.choices and traitor.random.random() < 0.6 else NEW_VIEW_LIES
        names = traitor.in_turn(SHARED_LIES if is_shared else about_choices)
        for name in [told_to_all[view]] if view in told_to_all else names:
            forged = NEW_VIEW_LIES[name](configuration, traitor, message)
            if forged is not None:
                if is_shared:
                    told_to_all[view] = name
                traitor.tried(name)
                return [(forged, name)]
        return [(message, "")]

    traitor.lie_signed(lie)
    _serve_forged_batch(traitor)


# --- words of old views ---


def replay(traitor: Traitor) -> None:
    """M34: repeats what it and others said in older views, to anybody, for ever."""
    said: list[Envelope] = []

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage | Told]:
        envelopes = message.envelopes if isinstance(message, Forward) else (message,)
        for envelope in envelopes:
            if isinstance(envelope, Envelope) and traitor.random.random() < 0.2:
                said.append(envelope)
                del said[:-STALE_KEPT]
        if not said:
            return [message]
        old = traitor.random.choice(said)
        if traitor.is_own(old) and traitor.random.random() < 0.5:
            return [message, traitor.told(old, "own_words_again")]
        return [message, traitor.told(Forward(envelopes=(old,)), "old_words_forwarded")]

    traitor.lie(lie)
