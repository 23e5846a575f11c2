"""The one Byzantine replica of a search: everything that it may say, to whomever and whenever.

It needs no state: a message that it can make is on offer to every correct replica, in every global state, until the
end. So it equivocates, lies in its VIEW-CHANGE, stays silent to some, and sends what it likes as late as it likes. It
cannot speak for others: a NEW-VIEW of its own holds VIEW-CHANGEs that correct replicas have sent.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

from exploration.automaton import VIEW_MAX, Catalogue, seal

from ledger.hashing import NULL_DIGEST
from pbft.core.config import CoreConfiguration
from pbft.core.messages import (
    Batch,
    Commit,
    Envelope,
    NewView,
    Prepare,
    PrePrepare,
    SignedMessage,
    SlotChoice,
    SlotEntry,
    ViewChange,
)
from pbft.core.new_view import compute_new_view

NO_CHOICES: Final[tuple[SlotChoice, ...]] = ()


class Traitor:
    """What the Byzantine replica can say: `offer` gives it as bits of the catalogue.

    In the views that it leads it proposes each of `batches` at each height up to `proposals_max`; at all heights up to
    `votes_max` it PREPAREs and COMMITs whatever correct replicas may accept; its VIEW-CHANGEs claim each batch, or
    none, to be prepared at height 1, and all of them pre-prepared. Where it leads view 1 it sends every NEW-VIEW that
    follows from some V, one for each choice that can follow, and some that follow from none.
    """

    def __init__(
        self,
        *,
        configuration: CoreConfiguration,
        replica_id: int,
        catalogue: Catalogue,
        batches: Sequence[Batch],
        proposals_max: int,
        votes_max: int,
    ) -> None:
        self.replica_id = replica_id
        self._configuration = configuration
        self._catalogue = catalogue
        self._digests = sorted(batch.digest for batch in batches)
        self._constant = 0
        for view in range(VIEW_MAX + 1):
            for height in range(1, votes_max + 1):
                self._say_all(self._make_votes(view, height))
            if self._leads(view):
                for height in range(1, proposals_max + 1):
                    self._say_all(self._make_proposals(view, height, batches))
        self._view_changes = tuple(self._make_view_changes())
        self._say_all(self._view_changes)
        self._new_views: dict[int, int] = {}  # by the VIEW-CHANGEs of others that it can show
        self._by_choices: dict[tuple[bool, tuple[SlotChoice, ...]], NewView] = {}
        self._view_change_bits = 0
        self._envelopes_seen = 0

    def offer(self, heard: int) -> int:
        """What it can say, once the correct replicas have said `heard`."""
        if not self._leads(VIEW_MAX):
            return self._constant
        shown = heard & self._compute_view_change_bits()
        if shown not in self._new_views:
            self._new_views[shown] = self._say(self._make_new_views([e for _, e in self._catalogue.select(shown)]))
        return self._constant | self._new_views[shown]

    def _leads(self, view: int) -> bool:
        return self._configuration.primary(view) == self.replica_id

    def _say(self, messages: Iterator[SignedMessage]) -> int:
        bits = 0
        for message in messages:
            bits |= self._catalogue.bit(self.replica_id, message)
        return bits

    def _say_all(self, messages: Iterator[SignedMessage] | Sequence[SignedMessage]) -> None:
        self._constant |= self._say(iter(messages))

    def _make_votes(self, view: int, height: int) -> Iterator[SignedMessage]:
        for digest in (*self._digests, *([NULL_DIGEST] if view else [])):
            if not self._leads(view):  # a primary's PREPARE is refused (M2)
                yield Prepare(epoch=0, view=view, height=height, digest=digest)
            yield Commit(epoch=0, view=view, height=height, digest=digest)

    def _make_proposals(self, view: int, height: int, batches: Sequence[Batch]) -> Iterator[SignedMessage]:
        for batch in batches:
            yield PrePrepare(epoch=0, view=view, height=height, digest=batch.digest, batch=batch)

    def _make_view_changes(self) -> Iterator[ViewChange]:
        """More Q entries only help A2 to hold, so all are claimed; P entries are what A1 counts against others."""
        claims = [SlotEntry(height=1, digest=digest, view=0) for digest in self._digests]
        for prepared in ((), *((claim,) for claim in claims)):
            yield ViewChange(
                epoch=0,
                view=VIEW_MAX,
                certified_height=0,
                header_hash=self._configuration.base_hash,
                certificate=None,
                prepared=prepared,
                pre_prepared=tuple(claims),
            )

    def _compute_view_change_bits(self) -> int:
        """The VIEW-CHANGEs of correct replicas among all messages."""
        envelopes = self._catalogue.envelopes
        for index in range(self._envelopes_seen, len(envelopes)):
            if isinstance(envelopes[index].messages[0], ViewChange) and envelopes[index].sender != self.replica_id:
                self._view_change_bits |= 1 << index
        self._envelopes_seen = len(envelopes)
        return self._view_change_bits

    def _make_new_views(self, others: Sequence[Envelope]) -> Iterator[NewView]:
        """A NEW-VIEW for each choice that follows from some V, and for some that follow from none."""
        for evidence in self._make_evidence(others):
            held = {envelope.sender: envelope.messages[0] for envelope in evidence}
            decision = compute_new_view(self._configuration, held)  # type: ignore[arg-type]  # all are VIEW-CHANGEs
            if decision is not None:
                yield self._new_view(evidence, decision.choices, follows=True)
            for lie in (NO_CHOICES, *((SlotChoice(height=1, digest=digest),) for digest in self._digests)):
                if decision is None or decision.choices != lie:
                    yield self._new_view(evidence, lie, follows=False)

    def _make_evidence(self, others: Sequence[Envelope]) -> Iterator[tuple[Envelope, ...]]:
        """Every V that it can show, in the order of senders."""
        quorum = self._configuration.quorums.quorum
        for size in range(quorum - 1, len(others) + 1):
            for chosen in combinations(others, size):
                for own in ((), *((seal(self.replica_id, message),) for message in self._view_changes)):
                    if len(chosen) + len(own) >= quorum:
                        yield tuple(sorted((*chosen, *own), key=lambda envelope: envelope.sender))

    def _new_view(self, evidence: tuple[Envelope, ...], choices: tuple[SlotChoice, ...], *, follows: bool) -> NewView:
        """Correct replicas look at whether the choices follow, and at the choices: one V is as good as another."""
        return self._by_choices.setdefault(
            (follows, choices), NewView(epoch=0, view=VIEW_MAX, view_changes=evidence, choices=choices)
        )
