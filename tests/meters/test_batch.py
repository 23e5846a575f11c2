"""Batches: readings in columns and back, one list form, one digest, and the chain of batches of a group."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import decode, encode
from ledger.hashing import Tag, tagged_hash
from meters.batch import BATCH_FIELDS, CALCULATED, GROUP_MAX, Batch, GroupChain
from meters.reading import FLAGS_MAX, QUALITIES, Reading, ReadingError

VECTORS = Path(__file__).parent.parent / "vectors" / "reading" / "batches.json"
CHAIN = bytes(range(32))
NAMES = tuple(f"m{number}" for number in range(GROUP_MAX))
VECTOR_NAMES = ("h01_load", "h01_pv", "h02_load")
QUARTER = 900


def make_reading(number: int, is_import: bool, energy_wh: int, quality: str, flags: int) -> Reading:
    register = 10_000 + energy_wh
    return Reading(
        chain=CHAIN,
        meter=NAMES[number],
        sequence=number + 1,
        start=QUARTER,
        length_s=QUARTER,
        scaler=0,
        import_register=register if is_import else 0,
        export_register=0 if is_import else register,
        import_wh=energy_wh if is_import else 0,
        export_wh=0 if is_import else energy_wh,
        quality=quality,
        flags=flags,
    )


rows = st.dictionaries(
    st.integers(0, GROUP_MAX - 1),
    st.tuples(st.booleans(), st.integers(0, 5_000), st.sampled_from(QUALITIES), st.integers(0, FLAGS_MAX)),
    min_size=1,
    max_size=8,
)
GOOD = Batch.gather("m0", {number: make_reading(number, True, 5, "measured", 0) for number in range(3)})


@given(rows)
def test_readings_come_out_of_their_columns_as_they_went_in(row: dict[int, tuple[bool, int, str, int]]) -> None:
    """Whoever stands beside a reading: it is the same one, and so is its digest."""
    readings = {number: make_reading(number, *fields) for number, fields in row.items()}
    batch = Batch.gather("m0", readings)
    assert batch.readings(NAMES) == tuple(readings[number] for number in sorted(readings))
    assert (batch.count, batch.first) == (len(readings), min(readings))


@given(rows)
def test_a_batch_survives_its_canonical_bytes(row: dict[int, tuple[bool, int, str, int]]) -> None:
    """What a gateway encodes is what the ledger decodes, and one batch has one digest."""
    batch = Batch.gather("m0", {number: make_reading(number, *fields) for number, fields in row.items()})
    again = Batch.from_list(decode(encode(batch.to_list())))
    assert again == batch and again.digest == batch.digest
    assert replace(batch, length_s=QUARTER + 1).digest != batch.digest


@pytest.mark.parametrize("vector", json.loads(VECTORS.read_text()), ids=lambda vector: vector["name"])
def test_golden_digests(vector: dict[str, Any]) -> None:
    """The digests that gateways in the field name in their next batch never change."""
    canonical = bytes.fromhex(vector["canonical"])
    batch = Batch.from_list(decode(canonical))
    assert encode(batch.to_list()) == canonical
    assert batch.digest.hex() == vector["digest"]
    assert tagged_hash(Tag.READINGS, canonical).hex() == vector["digest"]
    assert [reading.digest.hex() for reading in batch.readings(VECTOR_NAMES)] == vector["readings"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sequences", (1, 2)),
        ("registers", ()),
        ("energies", (1, 2, 3, 4)),
        ("states", b"\1"),
        ("first", -1),
        ("first", GROUP_MAX - 2),
    ],
)
def test_columns_of_another_length_are_no_batch(field: str, value: object) -> None:
    with pytest.raises(ReadingError) as caught:
        replace(GOOD, **{field: value})  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize(
    "changed",
    [{0: True}, {1: "chain"}, {10: [1, 2, True]}, {11: (1, 2, 3)}, {13: ""}],
    ids=["version", "chain", "sequences", "registers", "states"],
)
def test_fields_of_another_type_are_refused(changed: dict[int, object]) -> None:
    """True equals 1 in Python; in canonical bytes it is another value."""
    fields: list[object] = list(GOOD.to_list())
    for place, value in changed.items():
        fields[place] = value
    with pytest.raises(ReadingError):
        Batch.from_list(fields)


@pytest.mark.parametrize("fields", [None, {}, GOOD.to_list()[:-1], [*GOOD.to_list(), 0]])
def test_a_list_of_another_shape_is_no_batch(fields: object) -> None:
    with pytest.raises(ReadingError, match=f"list of {BATCH_FIELDS} fields"):
        Batch.from_list(fields)


@pytest.mark.parametrize("changes", [{"kinds": "iix"}, {"states": bytes([0, 0, 2 * CALCULATED])}])
def test_a_place_that_says_nothing_known_is_no_reading(changes: dict[str, Any]) -> None:
    with pytest.raises(ReadingError, match="kinds, states"):
        replace(GOOD, **changes).readings(NAMES)


def test_readings_of_two_intervals_are_no_batch() -> None:
    one = make_reading(0, True, 5, "measured", 0)
    with pytest.raises(ReadingError, match="one interval"):
        Batch.gather("m0", {0: one, 1: replace(one, start=2 * QUARTER)})


@given(st.lists(st.lists(st.one_of(st.none(), st.integers(0, 10_000)), min_size=2, max_size=2), max_size=12))
def test_records_of_a_meter_and_batches_of_a_group_form_chains(intervals: list[list[int | None]]) -> None:
    """Each batch names the one before; sequence and register of a meter rise with its own records alone."""
    chain = GroupChain.begin(CHAIN, "m0", QUARTER, {0: ("m0", "load", 77), 1: ("m1", "pv", 5)})
    previous = b""
    said: list[list[int]] = [[], []]
    for place, row in enumerate(intervals):
        energies = {f"m{number}": energy for number, energy in enumerate(row) if energy is not None}
        if not energies:
            with pytest.raises(ReadingError, match="one of a meter of m0"):
                chain.append(QUARTER * (place + 1), energies)
            continue
        batch, chain = chain.append(QUARTER * (place + 1), energies)
        assert batch.previous == previous
        previous = batch.digest
        for number, energy in enumerate(row):
            said[number] += [] if energy is None else [energy]
        for reading in batch.readings(NAMES):
            mine = said[NAMES.index(reading.meter)]
            is_load = reading.meter == "m0"
            register = reading.import_register if is_load else reading.export_register
            assert (reading.sequence, register) == (len(mine), (77 if is_load else 5) + sum(mine))
            assert (reading.export_register if is_load else reading.import_register) == 0
        assert batch.count == len(energies)
    assert chain.registers == (77 + sum(said[0]), 5 + sum(said[1]))
    assert chain.previous == previous


def test_a_meter_counts_load_or_pv() -> None:
    with pytest.raises(KeyError, match="both"):
        GroupChain.begin(CHAIN, "m0", QUARTER, {0: ("m0", "both", 0)})
