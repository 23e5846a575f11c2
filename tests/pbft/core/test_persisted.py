"""Journal records: what was written reads back, and anything else names itself as damage (M26)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.bench import make_batch, make_envelope, make_request, seal, unseal
from simulation.bench_messages import view_change

from ledger.encoding import encode
from ledger.errors import InvariantViolation
from ledger.quorum_certificate import QuorumCertificate
from pbft.core import persisted
from pbft.core.actions import Halt
from pbft.core.halting import REPAIRS
from pbft.core.messages import Envelope, NewView, SlotEntry
from pbft.core.persisted import DamagedJournal, Restored, parse_records

HASH = bytes([7]) * 32
OWN = make_envelope(2, view_change(3))
NEW = make_envelope(3, NewView(epoch=0, view=3, view_changes=(), choices=()))
CERTIFICATE = QuorumCertificate(
    epoch=0, height=5, header_hash=HASH, signatures=tuple((replica, bytes(64)) for replica in range(3))
)
BATCH = make_batch(make_request(0), make_request(1, payload=b"readings"))
HALT = Halt(kind="diverged", reason="height 6", height=6, own=HASH, other=bytes(32))

GOOD = {
    persisted.VIEW_KEY: persisted.encode_view(0, 3, active=False),
    persisted.CERTIFIED_KEY: persisted.encode_certified(5, HASH, CERTIFICATE),
    persisted.OWN_VIEW_CHANGE_KEY: b"own",
    persisted.NEW_VIEW_KEY: b"new",
    persisted.prepared_key(6): persisted.encode_entry(SlotEntry(height=6, digest=HASH, view=2)),
    persisted.pre_prepared_key(6, HASH): persisted.encode_pre_prepared(2),
    persisted.pre_prepared_key(6, BATCH.digest): persisted.encode_pre_prepared(1),
    persisted.body_key(BATCH.digest): persisted.encode_body(BATCH, seal),
    persisted.voted_key(6): persisted.encode_voted(HASH),
    persisted.HALT_KEY: persisted.encode_halt(HALT),
    persisted.STARTS_KEY: persisted.encode_starts(3),
}


def stored(data: bytes) -> Envelope:
    """The wire's part: whichever envelope the bytes stand for."""
    return NEW if data == b"new" else OWN


def test_records_read_back() -> None:
    """Every record of a full journal comes back as it was."""
    restored = parse_records(sorted(GOOD.items()), stored, unseal)
    assert restored == Restored(
        epoch=0,
        view=3,
        active=False,
        certified_height=5,
        certified_hash=HASH,
        certificate=CERTIFICATE,
        own_view_change=OWN,
        new_view=NEW,
        prepared={6: SlotEntry(height=6, digest=HASH, view=2)},
        pre_prepared={6: {HASH: 2, BATCH.digest: 1}},
        bodies={BATCH.digest: BATCH},
        voted={6: HASH},
        halt=HALT,
    )


def test_an_empty_journal_is_a_new_replica() -> None:
    """View 0, active, genesis certified."""
    assert parse_records([], stored, unseal) == Restored()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"unknown", b""),
        (persisted.HALT_KEY, encode(["tired", "", 0, b"", b""])),
        (b"p/short", encode([HASH, 1])),
        (persisted.VIEW_KEY, encode([0, 1])),
        (persisted.VIEW_KEY, encode([0, 1, 1])),
        (persisted.VIEW_KEY, encode([0, True, True])),
        (persisted.VIEW_KEY, encode([0, -1, True])),
        (persisted.CERTIFIED_KEY, encode([5, HASH, None])),
        (persisted.CERTIFIED_KEY, encode([5, HASH[:31], [0, 5, HASH, []]])),
        (persisted.CERTIFIED_KEY, encode([5, HASH, [0, 5, HASH, [[0]]]])),
        (persisted.prepared_key(6), encode([HASH])),
        (persisted.pre_prepared_key(6, HASH), encode("2")),
        (persisted.voted_key(6), encode(HASH[:10])),
        (persisted.body_key(HASH), encode([1, [[HASH]]])),
        (persisted.VIEW_KEY, persisted.encode_view(0, 1, active=True) + b"\0"),
    ],
)
def test_damage_names_its_record(key: bytes, value: bytes) -> None:
    """A record that this version did not write stops the start; the message names its key."""
    with pytest.raises(DamagedJournal) as failure:
        parse_records([(key, value)], stored, unseal)
    assert failure.value.key == key


def test_a_damaged_envelope_names_its_record() -> None:
    """Envelopes are parsed by the wire; its refusal is damage here."""

    def refuse(data: bytes) -> None:
        raise ValueError("not an envelope")

    with pytest.raises(DamagedJournal, match="new-view"):
        parse_records([(persisted.NEW_VIEW_KEY, b"")], refuse, unseal)  # type: ignore[arg-type]


def test_a_body_lies_on_disk_with_its_payloads_sealed() -> None:
    """D50: the record holds what `seal` made of a payload, and a body that lacks one is never promised."""
    sealed = persisted.encode_body(BATCH, lambda time_ms, tx_id, payload: b"%d" % len(payload))
    assert b"readings" not in sealed
    lacking = make_batch(make_request(0), make_request(1, payload=None))
    with pytest.raises(InvariantViolation, match="body_without_payload"):
        persisted.encode_body(lacking, seal)


def test_a_payload_that_does_not_open_is_damage() -> None:
    """A sealed payload under another key, or none, names its record and stops the start."""

    def refuse(tx_id: bytes, sealed: bytes) -> bytes:
        raise ValueError("not sealed under this key")

    key = persisted.body_key(BATCH.digest)
    with pytest.raises(DamagedJournal) as failure:
        parse_records([(key, GOOD[key])], stored, refuse)
    assert failure.value.key == key


@pytest.mark.parametrize(("key", "data"), [(persisted.OWN_VIEW_CHANGE_KEY, b"new"), (persisted.NEW_VIEW_KEY, b"own")])
def test_an_envelope_of_another_kind_is_damage(key: bytes, data: bytes) -> None:
    """It reads back, but not as what its key says: a restart that believed it would stop in the middle of its start."""
    with pytest.raises(DamagedJournal, match="expected one") as failure:
        parse_records([(key, data)], stored, unseal)
    assert failure.value.key == key


@settings(max_examples=200)
@given(key=st.sampled_from(sorted(GOOD)), data=st.binary(max_size=60))
def test_any_bytes_read_back_or_are_damage(key: bytes, data: bytes) -> None:
    """Total: no other exception escapes, whatever a disk returns."""
    try:
        parse_records([(key, data)], stored, unseal)
    except DamagedJournal as damage:
        assert damage.key == key


def test_each_kind_of_halt_reads_back_and_has_a_repair() -> None:
    """The journal knows the kinds that a replica halts by, no more and no fewer."""
    assert set(REPAIRS) == persisted.HALT_KINDS
