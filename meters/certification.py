"""An electrician's certificate of a meter: what was seen on site, and whether it is what the gateway asked for.

The electrician's key signs the transaction `meters.certify`; that signature is the certificate, kept on chain with the
time and the key's listing. This module holds the duty before it: the request on chain is compared with what the
electrician saw on the device - the gateway's key, the owner, the kind, the grid of intervals - and only a match is
certified. A gateway that asks for another household's meter is found here, by a person, not by the ledger.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

REQUESTED: Final = "REQUESTED"


class NotCertifiableError(ValueError):
    """What the electrician saw and what the chain says differ; `field` names where."""

    def __init__(self, meter: str, field: str, seen: object, on_chain: object) -> None:
        super().__init__(f"{meter}: {field}: seen {_shown(seen)}, on chain {_shown(on_chain)}")
        self.meter = meter
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledMeter:
    """A meter as it was found and sealed on site."""

    meter: str  # pseudonym
    home: str
    owner: bytes  # account address of the household
    gateway: bytes  # public key shown by the device
    kind: str  # "load" or "pv"
    interval_s: int
    max_power_w: int  # of the connection
    serial: str  # type and serial number from the plate
    seals: str  # numbers of the seals that were set
    register_wh: int  # value read at commissioning
    calibrated_until: int  # UTC seconds

    def request(self) -> list[int | str | bytes]:
        """The element of `meters.request` by which its gateway asks for it."""
        return [
            self.meter,
            self.home,
            self.owner,
            self.kind,
            0,  # scaler: the register counts in Wh
            self.interval_s,
            self.max_power_w,
            digest_text(self.serial),
        ]

    def certificate(self) -> list[int | str | bytes]:
        """The element of `meters.certify` that the electrician's key signs."""
        return [
            self.meter,
            self.gateway,
            self.owner,
            self.register_wh,
            digest_text(self.seals),
            self.calibrated_until,
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterRecord:
    """A meter as the chain shows it, in the field order of `meters.meter`."""

    status: str
    gateway: bytes
    home: str
    owner: bytes
    community: str
    kind: str
    scaler: int
    interval_s: int
    max_power_w: int
    register: int
    active_from: int
    until: int
    cause: str

    @classmethod
    def from_list(cls, fields: Any) -> "MeterRecord":
        """The record of a view's result. Raises ValueError for another shape."""
        names = cls.__slots__
        if not isinstance(fields, list) or len(fields) != len(names):
            raise ValueError(f"a meter record has {len(names)} fields")
        return cls(**dict(zip(names, fields, strict=True)))


def validate_request(seen: InstalledMeter, on_chain: MeterRecord) -> None:
    """Raise NotCertifiableError unless the chain's request is for the very meter that was seen."""
    pairs = (
        ("status", REQUESTED, on_chain.status),
        ("gateway", seen.gateway, on_chain.gateway),
        ("owner", seen.owner, on_chain.owner),
        ("home", seen.home, on_chain.home),
        ("kind", seen.kind, on_chain.kind),
        ("interval_s", seen.interval_s, on_chain.interval_s),
        ("max_power_w", seen.max_power_w, on_chain.max_power_w),
    )
    for field, expected, got in pairs:
        if expected != got:
            raise NotCertifiableError(seen.meter, field, expected, got)


def digest_text(text: str) -> bytes:
    """The 32-byte SHA-256 by which a plate or seal is bound without being shown."""
    return hashlib.sha256(text.encode()).digest()


def _shown(value: object) -> str:
    return value.hex()[:16] if isinstance(value, bytes) else repr(value)
