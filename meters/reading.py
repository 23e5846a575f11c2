"""The canonical reading: what a gateway writes about one interval of one meter, and the ledger judges (ENERGY 6.3).

Owns the record, its bounds, its canonical list form and its digest. Readings travel in columns (`batch.py`) and are
signed by the transaction that carries them; the identity of each is the digest of its own canonical bytes, computed
here and in `contracts/standard/judges.py` alike (shared vectors keep both ends equal). Whether it may be billed is
the ledger's to say, not this module's.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

from ledger.encoding import encode
from ledger.hashing import HASH_BYTES, Tag, tagged_hash

READING_VERSION: Final = 1
FIELD_COUNT: Final = 15

FLAG_CLOCK: Final = 1
"""The gateway's clock is not synchronised."""
FLAG_POWER_LOSS: Final = 2
FLAG_COVER_OPENED: Final = 4
FLAG_MAGNET: Final = 8
FLAG_CONFIGURATION_CHANGED: Final = 16
FLAGS_MAX: Final = 31

QUALITIES: Final = ("measured", "calculated")
"""Qualities that a gateway may claim; what is missing or estimated is not a reading."""

REGISTER_MAX: Final = 10**18
"""Exclusive bound of a register in its own unit: a thousand times the yearly energy of a continent."""
SEQUENCE_MAX: Final = 2**63
START_MAX: Final = 2**40
"""Exclusive bound of a time in UTC seconds: 34,000 years."""
LENGTH_MAX_S: Final = 86_400
SCALER_MIN: Final = -4
SCALER_MAX: Final = 3

NO_PREVIOUS: Final = b""
"""Stands for the digest before in the first batch of a group."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ReadingError(ValueError):
    """A field of a reading is out of its bounds."""

    def __init__(self, field: str, expected: str, got: object) -> None:
        super().__init__(f"{field}: expected {expected}, got {got!r}")
        self.field = field
        self.expected = expected
        self.got = got


def is_meter_name(text: str) -> bool:
    """1 to 64 letters, digits, dots, underscores or hyphens; the same rule as in `contracts/standard/meters.py`."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One interval `[start, start + length_s)` of one meter. Raises ReadingError when a field is out of bounds."""

    chain: bytes
    """Network id, 32 bytes: the reading counts on that ledger only."""
    meter: str
    """Pseudonym of the meter."""
    sequence: int
    """1 for the first record of the meter, +1 for each further one."""
    start: int
    """UTC seconds."""
    length_s: int
    scaler: int
    """The registers count in 10**scaler Wh."""
    import_register: int
    """Register value at the end of the interval; 0 on a PV meter."""
    export_register: int
    """Register value at the end of the interval; 0 on a load meter."""
    import_wh: int
    export_wh: int
    quality: str = "measured"
    flags: int = 0
    """Sum of FLAG_ values."""
    firmware: bytes = bytes(HASH_BYTES)
    """Digest of the gateway's firmware."""
    previous: bytes = NO_PREVIOUS
    """Digest of the batch before the one that carries it, or NO_PREVIOUS."""
    version: int = READING_VERSION

    def __post_init__(self) -> None:
        _check(self.version == READING_VERSION, "version", "1", self.version)
        _check(len(self.chain) == HASH_BYTES, "chain", "32 bytes", self.chain)
        _check(is_meter_name(self.meter), "meter", "1 to 64 letters, digits, '.', '_', '-'", self.meter)
        _check_range("sequence", self.sequence, 1, SEQUENCE_MAX)
        _check_range("start", self.start, 1, START_MAX)
        _check_range("length_s", self.length_s, 1, LENGTH_MAX_S + 1)
        _check_range("scaler", self.scaler, SCALER_MIN, SCALER_MAX + 1)
        _check_range("import_register", self.import_register, 0, REGISTER_MAX)
        _check_range("export_register", self.export_register, 0, REGISTER_MAX)
        # A negative interval is a fault of a meter that the ledger has a code for, so it can be written down here.
        _check_range("import_wh", self.import_wh, 1 - REGISTER_MAX, REGISTER_MAX)
        _check_range("export_wh", self.export_wh, 1 - REGISTER_MAX, REGISTER_MAX)
        _check(self.quality in QUALITIES, "quality", " or ".join(QUALITIES), self.quality)
        _check_range("flags", self.flags, 0, FLAGS_MAX + 1)
        _check(len(self.firmware) == HASH_BYTES, "firmware", "32 bytes", self.firmware)
        _check(len(self.previous) in (0, HASH_BYTES), "previous", "32 bytes or none", self.previous)

    def to_list(self) -> list[int | str | bytes]:
        """The canonical list form, in the order of ENERGY 6.3."""
        return [
            self.version,
            self.chain,
            self.meter,
            self.sequence,
            self.start,
            self.length_s,
            self.scaler,
            self.import_register,
            self.export_register,
            self.import_wh,
            self.export_wh,
            self.quality,
            self.flags,
            self.firmware,
            self.previous,
        ]

    @classmethod
    def from_list(cls, fields: object) -> Self:
        """The reading of a canonical list. Raises ReadingError for a wrong shape, type or bound."""
        if not isinstance(fields, list) or len(fields) != FIELD_COUNT:
            raise ReadingError("reading", f"a list of {FIELD_COUNT} fields", fields)
        values = dict(zip(_FIELDS, fields, strict=True))
        for name, kind in _FIELDS.items():
            # type() and not isinstance(): True must not pass for 1.
            if type(values[name]) is not kind:
                raise ReadingError(name, kind.__name__, values[name])
        return cls(**values)

    @property
    def digest(self) -> bytes:
        """The 32-byte identity of this reading."""
        return tagged_hash(Tag.READING, encode(self.to_list()))


_FIELDS: Final[dict[str, type]] = {
    "version": int,
    "chain": bytes,
    "meter": str,
    "sequence": int,
    "start": int,
    "length_s": int,
    "scaler": int,
    "import_register": int,
    "export_register": int,
    "import_wh": int,
    "export_wh": int,
    "quality": str,
    "flags": int,
    "firmware": bytes,
    "previous": bytes,
}


def _check(holds: bool, field: str, expected: str, got: object) -> None:
    if not holds:
        raise ReadingError(field, expected, got)


def _check_range(field: str, value: int, low: int, below: int) -> None:
    _check(low <= value < below, field, f"at least {low} and below {below}", value)
