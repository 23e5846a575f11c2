"""Protocol defects to plant: the searcher must find each of them, by the checker of the property that it breaks.

Each mutant is what a PBFT without one rule would be; its rule is named, and the execution of PROTOCOL.md, part II,
where there is one. `mutant_runs` plants them in copies of the packages. A text that is no longer there exactly once
fails the tests: then the product has changed, and the mutant has to follow it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pbft.simulation.byzantine import KINDS_JOIN
from pbft.simulation.seed import Options

SEEDS_MAX: Final = 200
"""How many seeds a search may take to find a mutant, unless it says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One replacement in a file of the product; `old` is there exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One defect."""

    name: str
    rule: str  # what is taken away, by D-, M- or execution number
    reported_by: str  # a name of `pbft.simulation.violation.PROPERTIES`
    edits: tuple[Edit, ...]
    needs: Callable[[Options], bool] = lambda options: True  # what a seed must draw to have a chance
    seeds_max: int = SEEDS_MAX


def mutant(name: str, rule: str, reported_by: str, file: str, old: str, new: str, *more: Edit, **needs: Any) -> Mutant:
    """A mutant of one edit, and more; `needs` are the further fields of Mutant."""
    return Mutant(
        name=name, rule=rule, reported_by=reported_by, edits=(Edit(file=file, old=old, new=new), *more), **needs
    )


def draws(options: Options, *kinds: str) -> bool:
    """Whether a seed has traitors of all these kinds."""
    return set(kinds) <= {kind for _, joined in options.traitors for kind in joined.split(KINDS_JOIN)}


ORDERING: Final = "pbft/core/ordering.py"
VIEW_CHANGE: Final = "pbft/core/view_change.py"
CHECKPOINTS: Final = "pbft/core/checkpoints.py"
REQUESTS: Final = "pbft/core/requests.py"
NEW_VIEW: Final = "pbft/core/new_view.py"
TIMERS: Final = "pbft/core/timers.py"
RESTART: Final = "pbft/core/restart.py"
TRANSFER: Final = "pbft/core/state_transfer.py"
DRIVER: Final = "pbft/node/driver.py"
EXECUTION: Final = "pbft/node/execution.py"
ADMISSION: Final = "ledger/admission.py"

JOURNAL: Final = (
    mutant(
        "no-fsync",
        "D3, M25: nothing leaves before its sync",
        "journal first",
        DRIVER,
        "        self._journal.sync()\n",
        "",
    ),
    mutant(
        "send-before-sync",
        "D34, execution 19: turns leave after their own sync",
        "journal first",
        DRIVER,
        "        self._journal.sync()\n        if self._replica.halt is not None:\n"
        "            outgoing, own = [], []  # what it was about to say, it says no more (M45)\n"
        "        for receiver, message in outgoing:\n            self._send(receiver, message)\n",
        "        for receiver, message in outgoing:\n            self._send(receiver, message)\n"
        "        self._journal.sync()\n",
    ),
    mutant(
        "p-entry-in-memory",
        "M25b: the P entry is durable before COMMIT",
        "journal first",
        ORDERING,
        "    state.actions.append(Persist(key=prepared_key(slot.height), value=encode_entry(entry)))\n",
        "",
    ),
    mutant(
        "q-entry-in-memory",
        "M25a: the Q entry is durable before PREPARE",
        "journal first",
        ORDERING,
        "    state.actions.append(Persist(key=pre_prepared_key(slot.height, slot.digest),"
        " value=encode_pre_prepared(state.view)))\n",
        "",
    ),
    mutant(
        "view-in-memory",
        "M25c: the view is durable before VIEW-CHANGE",
        "journal first",
        VIEW_CHANGE,
        "    state.actions.append(Persist(key=VIEW_KEY, value=encode_view(state.configuration.epoch, view,"
        " active=active)))\n",
        "",
    ),
    mutant(
        "vote-in-memory",
        "D34: a header vote is recorded in the sync that sends it",
        "journal first",
        CHECKPOINTS,
        "    state.actions.append(Persist(key=voted_key(height), value=encode_voted(header_hash)))\n",
        "",
    ),
)
QUORUMS: Final = (
    mutant(
        "two-f-plus-one",
        "M1: Q for any n; 2f+1 shares no correct replica at n = 5",
        "prepared",
        "ledger/configuration.py",
        "return (n + faults_tolerated(n) + 2) // 2",
        "return 2 * faults_tolerated(n) + 1",
        needs=lambda options: options.n == 5 and draws(options, "equivocating"),
    ),
    mutant(
        "messages-not-members",
        "M3: votes are counted by member",
        "bounds",
        ORDERING,
        "    votes[envelope.sender] = CountedVote(",
        "    votes[envelope.sender if earlier is None else max(votes) + 100] = CountedVote(",
        Edit(
            file=ORDERING,
            old="    if earlier is not None and earlier.view >= message.view:\n",
            new="    if earlier is not None and earlier.view >= message.view and earlier.digest != message.digest:\n",
        ),
    ),
    mutant(
        "prepared-by-one-less",
        "M10: Q - 1 PREPAREs and the PRE-PREPARE",
        "prepared",
        ORDERING,
        "needed = state.configuration.quorums.quorum - 1",
        "needed = state.configuration.quorums.quorum - 2",
        needs=lambda options: draws(options, "equivocating"),
    ),
    mutant(
        "certificate-of-w",
        "D5: a certificate is Q votes",
        "certificates",
        CHECKPOINTS,
        "    if count >= quorums.quorum:\n",
        "    if count >= quorums.weak:\n",
    ),
    mutant(
        "prepares-of-any-digest",
        "M10: PREPAREs must match the accepted digest",
        "prepared",
        "pbft/core/message_log.py",
        "vote.view == view and vote.digest == slot.digest",
        "vote.view == view",
        needs=lambda options: draws(options, "equivocating"),
    ),
    mutant(
        "second-proposal-replaces",
        "M8, M17: one digest per view and height",
        "one voice",
        ORDERING,
        "    if slot.digest is not None:\n        _process_second_proposal(state, slot, envelope, message)\n"
        "        return\n",
        "    if slot.digest is not None:\n        slot.leave_view()\n",
        needs=lambda options: draws(options, "equivocating"),
    ),
    mutant(
        "certificates-unchecked",
        "D5, M5: a certificate is verified",
        "certificates",
        "pbft/wire/verify.py",
        'signed, signature, "certificate_signature")',
        'signed, signature, "certificate_signature") if False else None',
        needs=lambda options: draws(options, "corrupt_certificates"),
    ),
)
VIEWS: Final = (
    mutant(
        "conviction-without-consequence",
        "M17, M54: a primary that is proven to have signed two proposals is left at once",
        "deposal",
        "pbft/core/deposal.py",
        "        start_view_change(state, state.view + 1)\n",
        "        pass\n",
        needs=lambda options: draws(options, "equivocating"),
    ),
    mutant(
        "no-join",
        "M35: W members in higher views take a replica along",
        "completion",
        VIEW_CHANGE,
        "    if len(higher) >= state.configuration.quorums.weak:\n",
        "    if False:\n",
    ),
    mutant(
        "no-request-timer",
        "D56: a primary that orders nothing is suspected",
        "completion",
        TIMERS,
        "    if waiting and state.clock - min(waiting) >= state.timer_ticks:\n",
        "    if False:\n",
        needs=lambda options: draws(options, "silent") or draws(options, "censoring"),
    ),
    mutant(
        "no-q-set-rule",
        "M40, A2: W members pre-prepared what is chosen",
        "validity",
        NEW_VIEW,
        "        if agreeing >= quorums.quorum and vouching >= quorums.weak:\n",
        "        if agreeing >= quorums.quorum:\n",
        needs=lambda options: draws(options, "invalid_view_change"),
        seeds_max=60,
    ),
    mutant(
        "new-view-believed",
        "M43: a NEW-VIEW is computed again before it is entered",
        "validity",
        NEW_VIEW,
        "    if decision.choices != message.choices:\n"
        '        raise InvalidMessage("new_view_choices", f"view {message.view}: recomputed {len(decision.choices)}'
        ' choices")\n'
        "    return decision\n",
        "    return NewViewDecision(\n        certified_height=decision.certified_height,"
        " certificate=decision.certificate, choices=message.choices\n    )\n",
        needs=lambda options: draws(options, "invalid_new_view"),
        seeds_max=60,
    ),
    mutant(
        "timer-without-cap",
        "M31, D57: timers double 5 times at most",
        "bounds",
        VIEW_CHANGE,
        "    state.doublings = min(TIMER_DOUBLINGS_MAX, state.doublings + view - state.view)",
        "    state.doublings = state.doublings + view - state.view",
        Edit(
            file=VIEW_CHANGE,
            old="        state.doublings = min(TIMER_DOUBLINGS_MAX, state.doublings + message.view - state.view)\n",
            new="        state.doublings = state.doublings + message.view - state.view\n",
        ),
        needs=lambda options: options.is_besieged,
        seeds_max=20,
    ),
    mutant(
        "proposals-linked",
        "D29, M41: a batch does not name the one before it; a null may take that one's place",
        "completion",
        ORDERING,
        "        _propose(state, height, compute_batch(state.wall_ms, requests))\n",
        "        linked_ms = (state.wall_ms & ~0xFF) + _compute_link(state.slots.get(height - 1))\n"
        "        _propose(state, height, compute_batch(linked_ms, requests))\n",
        Edit(
            file=ORDERING,
            old="def compute_next_height(",
            new="def _compute_link(slot: Slot | None) -> int:\n"
            '    """The hash of the batch before, as far as the last byte of a time has room for it."""\n'
            "    digest = slot and (slot.committed or slot.digest)\n"
            "    return 1 + digest[0] % 255 if digest else 0\n\n\ndef compute_next_height(",
        ),
        Edit(
            file=ORDERING,
            old="        batch, adopted = (None if slot.committed == NULL_DIGEST else slot.batch), False\n",
            new="        batch, adopted = (None if slot.committed == NULL_DIGEST else slot.batch), False\n"
            "        link = _compute_link(state.slots.get(height - 1))\n"
            "        if batch and link and batch.time_ms & 0xFF not in (0, link):\n"
            "            slot.is_refused = True  # it does not follow from what is executed\n"
            "        if slot.is_refused:\n            return\n",
        ),
        Edit(
            file="pbft/core/message_log.py",
            old="    gas: int = 0  # sum of the batch's gas limits (D58)\n",
            new="    gas: int = 0  # sum of the batch's gas limits (D58)\n    is_refused: bool = False\n",
        ),
        needs=lambda options: options.n == 4 and options.batch_requests_max <= 8,
        seeds_max=60,
    ),
)
CRASHES: Final = (
    mutant(
        "view-forgotten",
        "D36: a replica re-enters its view",
        "monotonic",
        RESTART,
        "        view=restored.view,\n        active=restored.active,\n        own_view_change",
        "        view=0,\n        active=True,\n        own_view_change",
    ),
    mutant(
        "damage-unseen",
        "M26: a record that was changed stops the start",
        "damage",
        "ledger/checksum.py",
        "    if stored[:CHECKSUM_BYTES] != zlib.crc32(value, zlib.crc32(key, len(key))).to_bytes(CHECKSUM_BYTES,"
        ' "big"):\n',
        "    if False:\n",
    ),
)
CATCH_UP: Final = (
    mutant(
        "no-blocks",
        "D28: who lags fetches blocks",
        "completion",
        TRANSFER,
        "    _fetch_blocks(state)\n\n\ndef _fetch_bodies",
        "\n\ndef _fetch_bodies",
    ),
)
LEDGER: Final = (
    mutant(
        "nonce-by-last-value",
        "D45, execution 27: a window, not the last value",
        "completion",
        ADMISSION,
        "        used_prefix = (~bitmap & (bitmap + 1)).bit_length() - 1  # the number of low bits that are all set\n",
        "        used_prefix = bitmap.bit_length()\n",
    ),
    mutant(
        "nonce-used-twice",
        "D43, execution 25: a used nonce is skipped",
        "exactly once",
        ADMISSION,
        "    if window.is_used(transaction.nonce):\n        return SKIP\n",
        "",
        Edit(
            file=ADMISSION,
            old="    if not window.is_open(transaction.nonce):\n",
            new="    if transaction.nonce >= window.base + NONCE_WINDOW:\n",
        ),
        Edit(
            file=ADMISSION,
            old="        bitmap = self.bitmap | 1 << nonce - self.base\n",
            new="        bitmap = self.bitmap | 1 << max(nonce - self.base, 0)\n",
        ),
    ),
    mutant(
        "reply-before-commit",
        "D3, D34: a reply waits for the block, or for the journal that makes it again",
        "durable reply",
        EXECUTION,
        "        tell = self._tell if is_journaled else None\n",
        "        tell = self._tell\n",
    ),
    mutant(
        "own-knowledge-in-the-header",
        "D31, execution 10: a header says only what was agreed",
        "agreement",
        "ledger/chain.py",
        "            time_ms = max(parent.time_ms, batch_time_ms)\n",
        "            own = 0 if self._newest_certificate is None else self._newest_certificate.height\n"
        "            time_ms = max(parent.time_ms, batch_time_ms) + own\n",
    ),
    mutant(
        "expiry-ignored",
        "D46: an expired transaction is refused",
        "replies",
        ADMISSION,
        "    if height > transaction.expiry_height or time_ms > transaction.expiry_time * 1000:\n",
        "    if False:\n",
    ),
)
CLIENTS: Final = (
    mutant(
        "one-reply-is-enough",
        "M53, D47: f + 1 equal replies",
        "replies",
        "pbft/core/client_session.py",
        "        if len(voters) >= self._weak_quorum:\n",
        "        if voters:\n",
    ),
    mutant(
        "requests-not-requeued",
        "M24: what a lost proposal held is offered to the next primary",
        "completion",
        REQUESTS,
        "for tx_id, pending in state.pending.items() if tx_id not in decided}",
        "for tx_id, pending in ()}",
    ),
    mutant(
        "private-in-plain",
        "D50, execution 36: payloads are journaled encrypted",
        "privacy",
        "pbft/node/assembly.py",
        "        return encode_body(batch, self.vault.seal)\n",
        "        return encode_body(batch, lambda time_ms, tx_id, payload: payload)\n",
    ),
)

MUTANTS: Final = (*JOURNAL, *QUORUMS, *VIEWS, *CRASHES, *CATCH_UP, *LEDGER, *CLIENTS)
