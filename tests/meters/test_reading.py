"""The canonical reading: its bounds, its one list form and its digest."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import decode, encode
from ledger.hashing import Tag, tagged_hash
from meters.reading import FLAGS_MAX, QUALITIES, Reading, ReadingError

VECTORS = Path(__file__).parent.parent / "vectors" / "reading" / "readings.json"
CHAIN = bytes(range(32))
GOOD = Reading(
    chain=CHAIN,
    meter="h01_load",
    sequence=1,
    start=3600,
    length_s=3600,
    scaler=0,
    import_register=500,
    export_register=0,
    import_wh=500,
    export_wh=0,
)

readings = st.builds(
    Reading,
    chain=st.binary(min_size=32, max_size=32),
    meter=st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    sequence=st.integers(1, 2**63 - 1),
    start=st.integers(1, 2**40 - 1),
    length_s=st.integers(1, 86_400),
    scaler=st.integers(-4, 3),
    import_register=st.integers(0, 10**18 - 1),
    export_register=st.integers(0, 10**18 - 1),
    import_wh=st.integers(1 - 10**18, 10**18 - 1),
    export_wh=st.integers(1 - 10**18, 10**18 - 1),
    quality=st.sampled_from(QUALITIES),
    flags=st.integers(0, FLAGS_MAX),
    firmware=st.binary(min_size=32, max_size=32),
    previous=st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)),
)


@given(readings)
def test_a_reading_survives_its_canonical_bytes(reading: Reading) -> None:
    """What a gateway encodes is what the ledger decodes, field by field."""
    assert Reading.from_list(decode(encode(reading.to_list()))) == reading


@given(readings, readings)
def test_the_digest_is_the_identity(one: Reading, other: Reading) -> None:
    """Two readings have one digest exactly when they are equal in every field."""
    assert (one.digest == other.digest) == (one == other)


@pytest.mark.parametrize("vector", json.loads(VECTORS.read_text()), ids=lambda vector: vector["name"])
def test_golden_digests(vector: dict[str, object]) -> None:
    """The digests that gateways in the field have signed never change."""
    canonical = bytes.fromhex(str(vector["canonical"]))
    fields = decode(canonical)
    assert isinstance(fields, list)
    assert [value.hex() if isinstance(value, bytes) else value for value in fields] == vector["fields"]
    assert Reading.from_list(fields).digest.hex() == vector["digest"]
    assert tagged_hash(Tag.READING, canonical).hex() == vector["digest"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("chain", bytes(31)),
        ("meter", ""),
        ("meter", "a" * 65),
        ("meter", "h01|load"),
        ("meter", "zähler"),
        ("sequence", 0),
        ("sequence", 2**63),
        ("start", 0),
        ("start", 2**40),
        ("length_s", 0),
        ("length_s", 86_401),
        ("scaler", 4),
        ("scaler", -5),
        ("import_register", -1),
        ("export_register", 10**18),
        ("import_wh", 10**18),
        ("export_wh", -(10**18)),
        ("quality", "guessed"),
        ("flags", 32),
        ("flags", -1),
        ("firmware", b""),
        ("previous", bytes(1)),
    ],
)
def test_fields_out_of_bounds_are_named(field: str, value: object) -> None:
    """A reading outside the canonical form cannot be made, and the error names the field."""
    with pytest.raises(ReadingError) as caught:
        replace(GOOD, **{field: value})  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize(
    "fields",
    [None, [], GOOD.to_list()[:-1], [*GOOD.to_list(), 0], {"version": 1}],
    ids=["nil", "empty", "short", "long", "map"],
)
def test_a_list_of_another_shape_is_no_reading(fields: object) -> None:
    with pytest.raises(ReadingError, match="list of 15 fields"):
        Reading.from_list(fields)


def test_a_truth_value_is_not_a_number() -> None:
    """True equals 1 in Python; in canonical bytes it is another value, so it is refused."""
    fields: list[object] = list(GOOD.to_list())
    fields[0] = True
    with pytest.raises(ReadingError, match="version"):
        Reading.from_list(fields)
