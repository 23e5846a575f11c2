"""The decision of a new view against a slow transcription of its definition, and the safety that follows from it."""

from collections.abc import Mapping
from dataclasses import fields
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.bench import GENESIS_HASH, make_configuration, make_envelope, make_header_hash

from ledger.hashing import NULL_DIGEST
from ledger.quorum_certificate import QuorumCertificate
from pbft.core.config import CoreConfiguration
from pbft.core.errors import InvalidMessage
from pbft.core.messages import NewView, SlotChoice, SlotEntry, ViewChange
from pbft.core.new_view import compute_new_view, validate_view_change, verify_new_view

NAMES = [field.name for field in fields(ViewChange)]
DIGESTS = [bytes([i]) * 32 for i in (1, 2)] + [NULL_DIGEST]


def certificate_for(height: int) -> QuorumCertificate | None:
    if height == 0:
        return None
    return QuorumCertificate(
        epoch=0,
        height=height,
        header_hash=make_header_hash(height),
        signatures=tuple((replica, bytes(64)) for replica in range(3)),
    )


def make_view_change(
    certified_height: int, prepared: Mapping[int, tuple[bytes, int]], pre_prepared: Mapping[tuple[int, bytes], int]
) -> ViewChange:
    """A VIEW-CHANGE for view 9 as a correct replica makes it: every P entry is among the Q entries."""
    latest = dict(pre_prepared)
    for height, (digest, view) in prepared.items():
        latest[height, digest] = max(view, latest.get((height, digest), 0))
    return ViewChange(
        epoch=0,
        view=9,
        certified_height=certified_height,
        header_hash=make_header_hash(certified_height) if certified_height else GENESIS_HASH,
        certificate=certificate_for(certified_height),
        prepared=tuple(
            SlotEntry(height=height, digest=digest, view=view)
            for height, (digest, view) in sorted(prepared.items())
            if height > certified_height
        ),
        pre_prepared=tuple(
            SlotEntry(height=height, digest=digest, view=view)
            for (height, digest), view in sorted(latest.items())
            if height > certified_height
        ),
    )


@st.composite
def view_changes(draw: st.DrawFn, replicas: int = 4) -> dict[int, ViewChange]:
    """VIEW-CHANGEs of some replicas: whatever P and Q they claim, liars included."""
    members = draw(st.sets(st.integers(0, replicas - 1), min_size=1))
    heights, views = st.integers(1, 4), st.integers(0, 3)
    return {
        member: make_view_change(
            draw(st.sampled_from([0, 0, 0, 1, 2])),
            draw(st.dictionaries(heights, st.tuples(st.sampled_from(DIGESTS), views), max_size=4)),
            draw(st.dictionaries(st.tuples(heights, st.sampled_from(DIGESTS)), views, max_size=6)),
        )
        for member in sorted(members)
    }


def transcribed_choice(
    configuration: CoreConfiguration, v: Mapping[int, ViewChange], n: int
) -> tuple[bytes, bool] | None:
    """M40 word by word at one height: (digest, whether it is null by absence), None if neither rule decides.

    "there exists a message m in V with (n, d, v) in m.P that verifies:
     A1. there exist Q messages m' in V such that m'.h < n and every (n, d', v') in m'.P has v' < v or
         (v' = v and d' = d);
     A2. there exist W messages m' in V with (n, d, v') in m'.Q and v' >= v.
     Else if there exist Q messages m' in V with m'.h < n and no entry for n in m'.P: null."
    """
    q, w = configuration.quorums.quorum, configuration.quorums.weak
    satisfying = []
    for m in v.values():
        for entry in m.prepared:
            if entry.height != n:
                continue
            a1 = any(
                all(
                    x.certified_height < n
                    and all(
                        e.view < entry.view or (e.view == entry.view and e.digest == entry.digest)
                        for e in x.prepared
                        if e.height == n
                    )
                    for x in subset
                )
                for subset in combinations(v.values(), q)
            )
            a2 = any(
                all(
                    any(e.height == n and e.digest == entry.digest and e.view >= entry.view for e in x.pre_prepared)
                    for x in subset
                )
                for subset in combinations(v.values(), w)
            )
            if a1 and a2:
                satisfying.append((-entry.view, entry.digest))
    if satisfying:
        return min(satisfying)[1], False
    for subset in combinations(v.values(), q):
        if all(x.certified_height < n and all(e.height != n for e in x.prepared) for x in subset):
            return NULL_DIGEST, True
    return None


def transcribed_new_view(
    configuration: CoreConfiguration, v: Mapping[int, ViewChange]
) -> tuple[int, list[SlotChoice]] | None:
    """D27, M40, D29: start at the highest certified h, decide up to the highest P entry, cut trailing absence."""
    if len(v) < configuration.quorums.quorum:
        return None
    start = max(m.certified_height for m in v.values())
    top = max([start] + [entry.height for m in v.values() for entry in m.prepared])
    decided: list[tuple[SlotChoice, bool]] = []
    for n in range(start + 1, top + 1):
        choice = transcribed_choice(configuration, v, n)
        if choice is None:
            return None
        decided.append((SlotChoice(height=n, digest=choice[0]), choice[1]))
    while decided and decided[-1][1]:
        decided.pop()
    return start, [choice for choice, _ in decided]


@settings(max_examples=400)
@given(data=st.data(), replicas=st.sampled_from([4, 5, 6]))
def test_the_decision_is_its_definition(data: st.DataObject, replicas: int) -> None:
    """For any claims of any members the fast decision equals the transcribed one."""
    configuration = make_configuration(replicas)
    claimed = data.draw(view_changes(replicas))
    decision = compute_new_view(configuration, claimed)
    expected = transcribed_new_view(configuration, claimed)
    if expected is None:
        assert decision is None
    else:
        assert decision is not None
        assert (decision.certified_height, list(decision.choices)) == expected


@settings(max_examples=300)
@given(data=st.data())
def test_a_committed_digest_is_always_chosen(data: st.DataObject) -> None:
    """n = 4: where Q - f correct replicas prepared d in view 2, no V, with one liar in it, decides anything else."""
    configuration = make_configuration(4)
    committed, view, height = DIGESTS[0], 2, 1
    older = st.one_of(st.none(), st.tuples(st.sampled_from(DIGESTS), st.integers(0, 1)))
    correct = {0: {height: (committed, view)}, 1: {height: (committed, view)}}
    lagging = data.draw(older)
    changes = {member: make_view_change(0, prepared, {}) for member, prepared in correct.items()}
    changes[2] = make_view_change(
        0, {} if lagging is None else {height: lagging}, {(height, committed): view} if data.draw(st.booleans()) else {}
    )
    lie = data.draw(st.one_of(st.none(), st.tuples(st.sampled_from(DIGESTS), st.integers(0, 3))))
    claims = data.draw(st.dictionaries(st.tuples(st.just(height), st.sampled_from(DIGESTS)), st.integers(0, 3)))
    changes[3] = make_view_change(0, {} if lie is None else {height: lie}, claims)
    for members in [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3), (0, 1, 2, 3)]:
        decision = compute_new_view(configuration, {member: changes[member] for member in members})
        if decision is not None:
            assert decision.choices[:1] == (SlotChoice(height=height, digest=committed),)


@settings(max_examples=200)
@given(data=st.data(), views=st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_all_correct_members_always_decide(data: st.DataObject, views: list[int]) -> None:
    """M40: with the VIEW-CHANGEs of all correct members one of the two rules always holds: liveness of the choice.

    Correct members: in one view at most one digest is prepared, and what is prepared was pre-prepared by all three.
    """
    configuration = make_configuration(4)
    by_view = {view: data.draw(st.sampled_from(DIGESTS)) for view in sorted(set(views))}
    prepared = [data.draw(st.booleans()) for _ in range(3)]
    changes = {
        member: make_view_change(
            0,
            {1: (by_view[views[member]], views[member])} if prepared[member] else {},
            {(1, digest): max(v for v, d in by_view.items() if d == digest) for digest in by_view.values()},
        )
        for member in range(3)
    }
    assert compute_new_view(configuration, changes) is not None


def test_trailing_absence_is_cut_and_a_prepared_null_is_not() -> None:
    """D29: a forged P entry far above makes no empty blocks; a null that was prepared may have been executed."""
    configuration = make_configuration(4)
    honest = make_view_change(0, {}, {})
    forged = make_view_change(0, {64: (DIGESTS[0], 3)}, {})
    decision = compute_new_view(configuration, {0: honest, 1: honest, 2: honest, 3: forged})
    assert decision is not None and decision.choices == ()
    null = make_view_change(0, {1: (NULL_DIGEST, 1)}, {})
    decision = compute_new_view(configuration, {0: null, 1: null, 2: honest})
    assert decision is not None and decision.choices == (SlotChoice(height=1, digest=NULL_DIGEST),)


def test_the_highest_certified_height_is_the_start() -> None:
    """D27 for M39: one member's certificate is proof enough; slots at or below it are never chosen again."""
    configuration = make_configuration(4)
    low = make_view_change(0, {1: (DIGESTS[0], 0), 3: (DIGESTS[1], 0)}, {})
    high = make_view_change(2, {3: (DIGESTS[1], 0)}, {})
    decision = compute_new_view(configuration, {0: low, 1: low, 2: high})
    assert decision is not None
    assert (decision.certified_height, decision.choices) == (2, (SlotChoice(height=3, digest=DIGESTS[1]),))


def change(**fields: object) -> ViewChange:
    """A good VIEW-CHANGE with some fields replaced."""
    good = make_view_change(2, {3: (DIGESTS[0], 1)}, {})
    values = {name: getattr(good, name) for name in NAMES}
    return ViewChange(**(values | fields))


ENTRY = SlotEntry(height=3, digest=DIGESTS[0], view=1)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (change(view=0, prepared=(), pre_prepared=()), "view_change_to_view_0"),
        (change(certified_height=0), "view_change_base"),
        (change(certificate=None), "view_change_certificate"),
        (change(header_hash=bytes(32)), "view_change_certificate"),
        (change(certificate=certificate_for(1)), "view_change_certificate"),
        (change(prepared=(ENTRY, ENTRY)), "view_change_prepared"),
        (change(pre_prepared=(ENTRY, ENTRY)), "view_change_pre_prepared"),
        (change(pre_prepared=()), "view_change_prepared"),
        (change(prepared=(SlotEntry(height=2, digest=DIGESTS[0], view=1),)), "view_change_prepared"),
        (change(prepared=(SlotEntry(height=2 + 64 + 1, digest=DIGESTS[0], view=1),)), "view_change_prepared"),
        (change(prepared=(SlotEntry(height=3, digest=DIGESTS[0], view=9),)), "view_change_prepared"),
    ],
)
def test_contradictory_view_changes_are_refused(message: ViewChange, code: str) -> None:
    """M38: each way in which a VIEW-CHANGE contradicts itself has its refusal; the good one has none."""
    validate_view_change(make_configuration(4), change())
    with pytest.raises(InvalidMessage, match=code):
        validate_view_change(make_configuration(4), message)


@pytest.mark.parametrize(
    ("senders", "views", "choices", "code"),
    [
        ((0, 1), (9, 9), (), "new_view_undecided"),
        ((0, 1, 1), (9, 9, 9), (), "new_view_repeated"),
        ((0, 1, 2), (9, 9, 8), (), "new_view_foreign"),
        ((0, 1, 2), (9, 9, 9), (SlotChoice(height=1, digest=DIGESTS[0]),), "new_view_choices"),
    ],
)
def test_invalid_new_views_are_refused(
    senders: tuple[int, ...], views: tuple[int, ...], choices: tuple[SlotChoice, ...], code: str
) -> None:
    """M43: V needs Q distinct members for the very view, and the choices must follow from V."""
    empty = make_view_change(0, {}, {})
    values = {name: getattr(empty, name) for name in NAMES}
    envelopes = tuple(
        make_envelope(sender, ViewChange(**(values | {"view": view})))
        for sender, view in zip(senders, views, strict=True)
    )
    with pytest.raises(InvalidMessage, match=code):
        verify_new_view(make_configuration(4), NewView(epoch=0, view=9, view_changes=envelopes, choices=choices))
