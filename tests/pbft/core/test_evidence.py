"""What convicts a replica, and what does not: pure, on hand-made envelopes (M3, M17, M38, M43, M54)."""

from dataclasses import replace

import pytest
from simulation.bench import (
    GENESIS_HASH,
    WALL_MS,
    Bench,
    make_batch,
    make_bench,
    make_configuration,
    make_envelope,
    make_vote,
    unseal,
)
from simulation.bench import make_request as request

from pbft.core.actions import Broadcast, Evidence, Publish
from pbft.core.errors import InvalidMessage
from pbft.core.evidence import EVIDENCE_KINDS, validate_evidence
from pbft.core.messages import (
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
from pbft.core.persisted import VIEW_KEY, LedgerHead, encode_view, parse_records
from pbft.core.replica import Replica

ONE, OTHER = bytes([1]) * 32, bytes([2]) * 32


def view_change(view: int, *prepared: SlotEntry, hash_: bytes = GENESIS_HASH) -> ViewChange:
    """A VIEW-CHANGE from genesis; every P entry is a Q entry too."""
    return ViewChange(
        epoch=0,
        view=view,
        certified_height=0,
        header_hash=hash_,
        certificate=None,
        prepared=prepared,
        pre_prepared=prepared,
    )


def proposal(*nonces: int) -> PrePrepare:
    batch = make_batch(*(request(nonce) for nonce in nonces))
    return PrePrepare(epoch=0, view=0, height=1, digest=batch.digest, batch=batch)


def new_view(*choices: SlotChoice, senders: tuple[int, ...] = (0, 2, 3), view: int = 1) -> NewView:
    changes = tuple(make_envelope(sender, view_change(view)) for sender in senders)
    return NewView(epoch=0, view=view, view_changes=changes, choices=choices)


ENTRY = SlotEntry(height=1, digest=ONE, view=0)
PAIRS: dict[str, tuple[SignedMessage, SignedMessage]] = {
    "equivocation_pre_prepare": (proposal(0), proposal(1)),
    "equivocation_prepare": (
        Prepare(epoch=0, view=0, height=3, digest=ONE),
        Prepare(epoch=0, view=0, height=3, digest=OTHER),
    ),
    "equivocation_commit": (
        Commit(epoch=0, view=2, height=3, digest=ONE),
        Commit(epoch=0, view=2, height=3, digest=OTHER),
    ),
    "equivocation_header_vote": (make_vote(7, ONE), make_vote(7, OTHER)),
    "equivocation_view_change": (view_change(1), view_change(1, ENTRY)),
    "equivocation_new_view": (new_view(), new_view(senders=(0, 1, 3))),
}
ALONE: dict[str, ViewChange | NewView] = {
    "invalid_view_change": view_change(1, replace(ENTRY, view=1)),  # prepared in the very view that it asks for
    "invalid_new_view": new_view(SlotChoice(height=1, digest=ONE)),
}


def piece(kind: str, accused: int, *messages: SignedMessage) -> Evidence:
    first, *rest = (make_envelope(accused, message) for message in messages)
    view, height = getattr(messages[0], "view", 0), getattr(messages[0], "height", 0)
    second = rest[0] if rest else None
    return Evidence(replica=accused, kind=kind, view=view, height=height, first=first, second=second)


def test_every_kind_is_tested() -> None:
    """A kind without a test below does not exist."""
    assert {*PAIRS, *ALONE} == EVIDENCE_KINDS


@pytest.mark.parametrize("kind", sorted(PAIRS))
def test_two_words_at_one_place_convict(kind: str) -> None:
    """M3, M17, M54: two signed messages differing at the same (type, view, height); the same one twice does not."""
    configuration, (one, other) = make_configuration(), PAIRS[kind]
    evidence = piece(kind, 1, one, other)
    validate_evidence(configuration, evidence)
    for wrong in (
        piece(kind, 1, one, one),
        replace(evidence, view=evidence.view + 1),
        replace(evidence, height=evidence.height + 1),
        replace(evidence, replica=2),
        replace(evidence, second=make_envelope(2, other)),
        replace(evidence, kind="equivocation_commit" if kind != "equivocation_commit" else "equivocation_prepare"),
    ):
        with pytest.raises(InvalidMessage):
            validate_evidence(configuration, wrong)


def test_one_envelope_can_contradict_itself() -> None:
    """Two votes of one turn share an envelope: it is both pieces."""
    envelope = make_envelope(1, *PAIRS["equivocation_commit"])
    evidence = Evidence(replica=1, kind="equivocation_commit", view=2, height=3, first=envelope, second=envelope)
    validate_evidence(make_configuration(), evidence)


@pytest.mark.parametrize("kind", sorted(ALONE))
def test_a_false_message_convicts_by_itself(kind: str) -> None:
    """M38, M43: recomputed from its own bytes; a valid one, and another's name, convict nobody."""
    configuration = make_configuration()
    evidence = piece(kind, 1, ALONE[kind])
    validate_evidence(configuration, evidence)
    valid = view_change(1, ENTRY) if kind == "invalid_view_change" else new_view()
    for wrong in (
        piece(kind, 1, valid),
        replace(evidence, replica=2),
        replace(evidence, view=2),
        piece(kind, 1, ALONE["invalid_new_view" if kind == "invalid_view_change" else "invalid_view_change"]),
    ):
        with pytest.raises(InvalidMessage):
            validate_evidence(configuration, wrong)


def test_a_new_view_of_somebody_else_convicts_its_signer() -> None:
    """§4.4: only the primary of a view makes its NEW-VIEW; whoever signs another's is convicted, the primary is not."""
    validate_evidence(make_configuration(), piece("invalid_new_view", 2, new_view()))


def accusations(bench: Bench) -> list[tuple[int, str]]:
    for evidence in bench.evidence:
        validate_evidence(bench.configuration, evidence)
    return [(evidence.replica, evidence.kind) for evidence in bench.evidence]


@pytest.mark.parametrize("kind", sorted({*PAIRS, *ALONE}))
def test_a_replica_that_sees_it_accuses(kind: str) -> None:
    """M54: each kind, as it comes over a link; what is emitted convicts."""
    bench = make_bench(3)
    accused = 0 if kind == "equivocation_pre_prepare" else 1
    for message in PAIRS.get(kind) or (ALONE[kind],):
        bench.say(accused, message)
    assert accusations(bench) == [(accused, kind)]


def test_a_primary_that_restarts_makes_no_second_new_view() -> None:
    """D36, M54: it crashed between journaling its NEW-VIEW and entering the view; another VIEW-CHANGE comes before its
    first tick, and would make another V. It says what it said, or it is convicted by its own signatures."""
    bench = make_bench(1)
    for sender in (0, 2):
        bench.say(sender, view_change(1))
    (first,) = bench.said(NewView)
    bench.journal[VIEW_KEY] = encode_view(0, 1, active=False)
    records = [*bench.journal.items(), *((key, key) for key in bench.envelopes)]
    restarted = Replica(
        configuration=bench.configuration,
        replica_id=1,
        signer=lambda message: bytes(64),
        restored=parse_records(sorted(records), lambda key: bench.envelopes[key], unseal),
        ledger=LedgerHead(height=0, header_hashes={}, next_due_ms=None),
        asks=False,
    )
    said = []
    for sender in (0, 3):
        said += restarted.receive(sender, make_envelope(sender, view_change(1)))
    said += restarted.tick(WALL_MS) + restarted.end_turn()
    envelopes = [action.message for action in said if isinstance(action, Publish)]
    again = [m for e in envelopes if isinstance(e, Envelope) for m in e.messages if isinstance(m, NewView)]
    assert again == [first]
    assert not [a for a in said if isinstance(a, Broadcast) and isinstance(a.messages[0], NewView)]
