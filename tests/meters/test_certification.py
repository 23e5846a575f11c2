"""The electrician certifies what was seen, and nothing else."""

from dataclasses import replace

import pytest

from meters.certification import InstalledMeter, MeterRecord, NotCertifiableError, digest_text, validate_request

SEEN = InstalledMeter(
    meter="h01_load",
    home="h01",
    owner=b"o" * 32,
    gateway=b"g" * 32,
    kind="load",
    interval_s=3600,
    max_power_w=43_500,
    serial="GQ-1 77",
    seals="seal 1",
    register_wh=12,
    calibrated_until=2_000_000_000,
)
ON_CHAIN = MeterRecord(
    status="REQUESTED",
    gateway=SEEN.gateway,
    home=SEEN.home,
    owner=SEEN.owner,
    community="",
    kind=SEEN.kind,
    scaler=0,
    interval_s=SEEN.interval_s,
    max_power_w=SEEN.max_power_w,
    register=0,
    active_from=0,
    until=0,
    cause="",
)


def test_a_request_that_matches_is_certifiable() -> None:
    """Nothing raised: the electrician may sign."""
    validate_request(SEEN, ON_CHAIN)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "CERTIFIED"),
        ("gateway", b"x" * 32),
        ("owner", b"x" * 32),
        ("home", "h02"),
        ("kind", "pv"),
        ("interval_s", 900),
        ("max_power_w", 10_000_000),
    ],
)
def test_each_field_that_differs_is_refused_by_name(field: str, value: object) -> None:
    """A gateway that asks for another household's meter, or for more power than the fuse, is found here."""
    with pytest.raises(NotCertifiableError, match=f"h01_load: {field}") as raised:
        validate_request(SEEN, replace(ON_CHAIN, **{field: value}))  # type: ignore[arg-type]
    assert raised.value.field == field


def test_request_and_certificate_are_what_the_contract_takes() -> None:
    """Field order of contracts/standard/meters.py; plate and seals only as digests."""
    assert SEEN.request() == ["h01_load", "h01", b"o" * 32, "load", 0, 3600, 43_500, digest_text("GQ-1 77")]
    assert SEEN.certificate() == ["h01_load", b"g" * 32, b"o" * 32, 12, digest_text("seal 1"), 2_000_000_000]


@pytest.mark.parametrize("fields", [None, [], ["REQUESTED"], ["x"] * 14])
def test_another_shape_is_no_record(fields: object) -> None:
    """A view of another contract version is noticed, not misread."""
    with pytest.raises(ValueError, match="13 fields"):
        MeterRecord.from_list(fields)
