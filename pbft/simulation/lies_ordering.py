"""Lies in the normal case: a primary that shows two batches, or none, or too late, or not everybody's requests; and
backups that vote for two things (section 4.2, M17, M21, M54).

Equivocators of one run share a `Plot`, so that f of them support each side of a split as strongly as f traitors can:
every PREPARE and COMMIT that either side could miss by f votes is there.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from ledger.hashing import NULL_DIGEST, Tag, tagged_hash
from ledger.quorum_certificate import vote_bytes
from pbft.core.config import TICK_MS
from pbft.core.messages import (
    Commit,
    Envelope,
    Forward,
    HeaderVote,
    NewView,
    PeerMessage,
    Prepare,
    PrePrepare,
    Relay,
    SignedMessage,
)
from pbft.core.quorum import Quorums
from pbft.core.requests import compute_batch
from pbft.simulation.liars import Told, Traitor, read
from pbft.wire.codec import WireRules, encode_peer

BOTH, ONE_ALONE, NEITHER = "both", "one_alone", "neither"
STYLES: Final = (BOTH, BOTH, ONE_ALONE, NEITHER)
SKIPPED_CHANCE: Final = 0.3  # of a height, in a view where a primary skips some
CENSORED_CLIENTS: Final = 3  # the censored client is one of the first few, who submit in every run


class Plot:
    """What equivocators agreed on. In each view they split the replicas in two; each side hears of its own batch.

    both        each replica gets their PREPAREs and COMMITs for its side's batch, at once
    one alone   the same PREPAREs, and COMMITs for a single replica; then they are silent for the rest of the view
    neither     two batches and no vote for either
    """

    def __init__(self, random: Random, replicas: int) -> None:
        self.members: list[Traitor] = []
        self.digests: dict[tuple[int, int], tuple[bytes, bytes]] = {}  # (view, height) -> the batch of each side
        self._random = random
        self._replicas = replicas
        self._views: dict[int, tuple[frozenset[int], str, int]] = {}
        self._is_split: dict[tuple[int, int], bool] = {}

    def _of_view(self, view: int) -> tuple[frozenset[int], str, int]:
        """(the replicas of side 1, the style, who is courted alone) in this view."""
        if view not in self._views:
            correct = sorted(set(range(self._replicas)) - {member.replica for member in self.members})
            quorums = Quorums.of(self._replicas)
            sizes = [quorums.quorum - len(self.members), len(correct) // 2, 1]
            first = set(self._random.sample(correct, min(self._random.choice(sizes), len(correct) - 1)))
            second = frozenset(set(range(self._replicas)) - first)
            self._views[view] = second, self._random.choice(STYLES), self._random.choice(sorted(first))
        return self._views[view]

    def is_split(self, view: int, height: int) -> bool:
        """Whether they lie about this proposal; of the others nothing is held back, so that runs get somewhere."""
        return self._is_split.setdefault((view, height), self._random.random() < 0.6)

    def side(self, view: int, replica: int) -> int:
        """0 or 1."""
        return int(replica in self._of_view(view)[0])

    def style(self, view: int) -> str:
        """One of STYLES."""
        return self._of_view(view)[1]

    def gets_commit(self, view: int, replica: int) -> bool:
        """Whether the traitors' COMMITs go to this replica."""
        _, style, courted = self._of_view(view)
        return style == BOTH or (style == ONE_ALONE and replica == courted)


def equivocate(traitor: Traitor, plot: Plot) -> None:
    """M17: half of the others are shown another batch, and both halves get votes. As a backup: two votes, M54."""
    plot.members.append(traitor)
    split_votes: dict[tuple[int, int], bool] = {}
    false_header_votes: dict[int, bool] = {}

    def show(receiver: int, proposal: PrePrepare) -> Sequence[tuple[SignedMessage, str]]:
        view, height = proposal.view, proposal.height
        if not plot.is_split(view, height):
            return [(proposal, "")]
        if (view, height) not in plot.digests:
            other = compute_batch(proposal.batch.time_ms + 1, proposal.batch.requests)
            plot.digests[view, height] = proposal.digest, other.digest
        other = compute_batch(proposal.batch.time_ms + 1, proposal.batch.requests)
        digest = plot.digests[view, height][plot.side(view, receiver)]
        shown = replace(proposal, digest=other.digest, batch=other) if digest == other.digest else proposal
        traitor.cluster.at(1, lambda: _support(plot, receiver, view, height))
        both = [(proposal, "both_batches")] if shown is not proposal and traitor.random.random() < 0.2 else []
        return [(shown, "other_batch" if shown is not proposal else ""), *both]

    def vote(receiver: int, message: Prepare | Commit) -> Sequence[tuple[SignedMessage, str]]:
        view, height = message.view, message.height
        digests = plot.digests.get((view, height))
        if digests is not None:
            is_due = plot.style(view) != NEITHER if isinstance(message, Prepare) else plot.gets_commit(view, receiver)
            if not is_due:
                traitor.count("vote_withheld")
                return []
            return [(replace(message, digest=digests[plot.side(view, receiver)]), "vote_for_each")]
        if split_votes.setdefault((view, height), traitor.random.random() < 0.2) and plot.side(view, receiver):
            return [(replace(message, digest=NULL_DIGEST), "vote_against")]
        return [(message, "")]

    def lie(receiver: int, message: SignedMessage) -> Sequence[tuple[SignedMessage, str]]:
        match message:
            case PrePrepare():
                return show(receiver, message)
            case Prepare() | Commit():
                return vote(receiver, message)
            case HeaderVote():
                is_false = false_header_votes.setdefault(message.height, traitor.random.random() < 0.2)
                if is_false and plot.side(0, receiver):
                    return [(false_header_vote(traitor, message.epoch, message.height), "header_vote_against")]
        return [(message, "")]

    traitor.lie_signed(lie)


def _support(plot: Plot, receiver: int, view: int, height: int) -> None:
    """Every equivocator votes for what the receiver was shown, before it could know whether that is prepared."""
    digest = plot.digests[view, height][plot.side(view, receiver)]
    for member in plot.members:
        node = member.node
        if node is None or not node.replica.state.is_voter or receiver == member.replica or plot.style(view) == NEITHER:
            continue
        epoch, votes = node.replica.epoch, list[SignedMessage]()
        if not member.leads(view):
            votes.append(Prepare(epoch=epoch, view=view, height=height, digest=digest))
        if plot.gets_commit(view, receiver):
            votes.append(Commit(epoch=epoch, view=view, height=height, digest=digest))
        if votes:
            member.say(receiver, member.sealed(*votes), f"votes_for_{plot.style(view)}")


def false_header_vote(traitor: Traitor, epoch: int, height: int) -> HeaderVote:
    """A vote on a header that does not exist; all traitors of a network name the same one."""
    network = traitor.cluster.genesis.network_id
    false_hash = tagged_hash(Tag.HEADER, b"false", height.to_bytes(8, "big"))
    signature = traitor.cluster.replica_key(traitor.replica).sign(vote_bytes(network, epoch, height, false_hash))
    return HeaderVote(epoch=epoch, height=height, header_hash=false_hash, signature=signature)


def propose_to_few(traitor: Traitor) -> None:
    """A primary whose proposals, and NEW-VIEWs, reach nobody, or only some: fewer than could decide without it. In some
    views it skips single heights instead, so that what follows is prepared and the gap becomes null (D29)."""
    audiences: dict[tuple[int, int], frozenset[int]] = {}  # (view, height, or 0 where all share one)
    skips: dict[int, bool] = {}  # view -> it tells all but skips heights

    def lie(receiver: int, message: SignedMessage) -> Sequence[tuple[SignedMessage, str]]:
        if not isinstance(message, PrePrepare | NewView):
            return [(message, "")]
        skips_heights = skips.setdefault(message.view, traitor.random.random() < 0.5)
        is_skipped = skips_heights and isinstance(message, PrePrepare) and traitor.random.random() < SKIPPED_CHANCE
        key = message.view, message.height if skips_heights and isinstance(message, PrePrepare) else 0
        if key not in audiences:
            size = traitor.random.randrange(len(traitor.others)) if not skips_heights else len(traitor.others)
            audiences[key] = frozenset(traitor.random.sample(traitor.others, 0 if is_skipped else size))
        if receiver in audiences[key]:
            return [(message, "told_to_few")]
        traitor.count("proposal_withheld" if isinstance(message, PrePrepare) else "new_view_withheld")
        return []

    traitor.lie_signed(lie)


def propose_late(traitor: Traitor) -> None:
    """A primary that stays just under the others' patience: each proposal and NEW-VIEW after 0.5 to 0.95 T."""
    send, rules = traitor.cluster.network.send, WireRules.of(traitor.cluster.genesis.configuration)

    def send_late(sender: int, receiver: int, frame: bytes) -> None:
        delay_ms = 0
        if sender == traitor.replica and traitor.node is not None:
            message = read(traitor.cluster, frame, rules)
            envelopes = message.envelopes if isinstance(message, Forward) else (message,)  # sent again, it is late too
            if any(isinstance(e, Envelope) and isinstance(e.messages[0], PrePrepare | NewView) for e in envelopes):
                patience_ms = traitor.node.replica.state.timer_ticks * TICK_MS
                delay_ms = traitor.random.randint(patience_ms // 2, patience_ms * 19 // 20)
                traitor.arrivals.expect(receiver, frame, (traitor.name("late"),))
        if delay_ms:
            traitor.cluster.at(delay_ms, lambda: send(sender, receiver, frame))
        else:
            send(sender, receiver, frame)

    traitor.cluster.network.send = send_late  # type: ignore[method-assign]


def censor(traitor: Traitor) -> None:
    """M21, D56: one client's requests are dropped at its door and in what others relay, so it never proposes them."""
    client = traitor.cluster.client_key(traitor.random.randrange(CENSORED_CLIENTS)).public_key
    cluster, rules = traitor.cluster, WireRules.of(traitor.cluster.genesis.configuration)
    cluster.machines[traitor.replica].ignored_clients = frozenset({client})
    deliver = cluster.network.deliver

    def deliver_rest(receiver: int, sender: int, frame: bytes) -> None:
        if receiver == traitor.replica:
            message = read(traitor.cluster, frame, rules)
            if isinstance(message, Relay) and any(request.client == client for request in message.requests):
                traitor.count("relay_dropped")
                kept = tuple(request for request in message.requests if request.client != client)
                if not kept:
                    return
                frame = encode_peer(Relay(requests=kept))
        deliver(receiver, sender, frame)

    cluster.network.deliver = deliver_rest


def fall_silent(traitor: Traitor) -> None:
    """Speaks for some seconds and says nothing for some, proposals least of all."""
    period_ms, speaking_ms = traitor.random.randint(2_000, 8_000), traitor.random.randint(500, 2_000)

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage | Told]:
        if traitor.cluster.now_ms % period_ms < speaking_ms:
            return [message]
        traitor.count("withheld")
        return []

    traitor.lie(lie)


def delay(traitor: Traitor) -> None:
    """Everything that it sends comes late, just within or beyond the others' patience."""
    send, delay_ms = traitor.cluster.network.send, traitor.random.randint(300, 1_600)

    def send_late(sender: int, receiver: int, frame: bytes) -> None:
        if sender == traitor.replica:
            traitor.arrivals.expect(receiver, frame, (traitor.name("late"),))
            traitor.cluster.at(delay_ms, lambda: send(sender, receiver, frame))
        else:
            send(sender, receiver, frame)

    traitor.cluster.network.send = send_late  # type: ignore[method-assign]
