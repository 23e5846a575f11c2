"""A batch: the readings of one interval of a group of meters, in columns, as they travel and are kept (ENERGY 6.3).

A group is up to a hundred meters that one gateway asked for, with one interval and one scaler; the contract `meters`
gives each of them its place, a number, for good. What all readings of a batch share is said once, the rest is one
column per field. A reading taken out of its columns is a canonical `Reading`: the identity of a reading does not
depend on who stands beside it. Batches of a group form a chain, each naming the digest of the one before; both ends
come to the same digests (shared vectors), here and in `contracts/standard/readings.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from ledger.encoding import Value, encode
from ledger.hashing import HASH_BYTES, Tag, tagged_hash
from meters.reading import NO_PREVIOUS, QUALITIES, READING_VERSION, Reading, ReadingError

GROUP_MAX: Final = 100
"""Places of a group, as `contracts/standard/meters.py` has it."""
BATCH_FIELDS: Final = 14

IMPORT: Final = "i"
EXPORT: Final = "e"
NOTHING: Final = "-"
KIND_LETTERS: Final = {"load": IMPORT, "pv": EXPORT}
"""The register that counts, by kind of meter."""

CALCULATED: Final = 32
"""Added to a reading's flags where its quality is `calculated`: together they are its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a meter stands in its group, for good."""

    group: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Interval `[start, start + length_s)` of the places `first`, `first` + 1, ... of a group.

    Fields are checked where readings are taken out; a column of another length raises ReadingError at once.
    """

    chain: bytes
    """Network id, 32 bytes."""
    group: str
    first: int
    start: int
    """UTC seconds."""
    length_s: int
    scaler: int
    kinds: str
    """A letter for each place: the register that is read, or NOTHING."""
    sequences: tuple[int, ...]
    """0 where there is no reading, as in the next two."""
    registers: tuple[int, ...]
    """In units of 10**scaler Wh, at the end of the interval."""
    energies: tuple[int, ...]
    """Wh of the interval."""
    states: bytes = b""
    """Flags and CALCULATED of each place; empty when all are 0."""
    firmware: bytes = bytes(HASH_BYTES)
    """Digest of the gateway's firmware."""
    previous: bytes = NO_PREVIOUS
    """Digest of the batch of this group for the interval before, or NO_PREVIOUS."""
    version: int = READING_VERSION

    def __post_init__(self) -> None:
        count = len(self.kinds)
        for name in ("sequences", "registers", "energies"):
            if len(getattr(self, name)) != count:
                raise ReadingError(name, f"{count} values", getattr(self, name))
        if len(self.states) not in (0, count):
            raise ReadingError("states", f"none or {count}", self.states)
        if not 0 <= self.first < self.first + count <= GROUP_MAX:
            raise ReadingError("first", f"places below {GROUP_MAX}", self.first)

    def to_list(self) -> list[Value]:
        """The canonical list form: an element of the argument of `readings.submit`."""
        return [
            self.version,
            self.chain,
            self.group,
            self.first,
            self.start,
            self.length_s,
            self.scaler,
            self.firmware,
            self.previous,
            self.kinds,
            list(self.sequences),
            list(self.registers),
            list(self.energies),
            self.states,
        ]

    @classmethod
    def from_list(cls, fields: object) -> Self:
        """The batch of a canonical list. Raises ReadingError for a wrong shape or type."""
        if not isinstance(fields, list) or len(fields) != BATCH_FIELDS:
            raise ReadingError("batch", f"a list of {BATCH_FIELDS} fields", fields)
        values = dict(zip(_FIELDS, fields, strict=True))
        for name, kind in _FIELDS.items():
            if type(values[name]) is not kind:
                raise ReadingError(name, kind.__name__, values[name])
            if kind is list:
                if not {*map(type, values[name])} <= {int}:
                    raise ReadingError(name, "a list of int", values[name])
                values[name] = tuple(values[name])
        return cls(**values)

    @classmethod
    def gather(cls, group: str, readings: Mapping[int, Reading]) -> Self:
        """The batch of readings by place, who must agree in all that a batch says once."""
        shared = {
            (r.version, r.chain, r.start, r.length_s, r.scaler, r.firmware, r.previous) for r in readings.values()
        }
        if len(shared) != 1:
            raise ReadingError("readings", "one interval, chain, scaler, firmware and batch before", readings)
        version, chain, start, length_s, scaler, firmware, previous = shared.pop()
        first = min(readings)
        row = [readings.get(number) for number in range(first, max(readings) + 1)]
        states = bytes(_state_of(reading) if reading else 0 for reading in row)
        return cls(
            version=version,
            chain=chain,
            group=group,
            first=first,
            start=start,
            length_s=length_s,
            scaler=scaler,
            kinds="".join(_letter_of(reading) if reading else NOTHING for reading in row),
            sequences=tuple(reading.sequence if reading else 0 for reading in row),
            registers=tuple(reading.import_register or reading.export_register if reading else 0 for reading in row),
            energies=tuple(reading.import_wh or reading.export_wh if reading else 0 for reading in row),
            states=states if any(states) else b"",
            firmware=firmware,
            previous=previous,
        )

    @property
    def digest(self) -> bytes:
        """What the group's next batch names."""
        return tagged_hash(Tag.READINGS, encode(self.to_list()))

    @property
    def count(self) -> int:
        """Readings in it."""
        return len(self.kinds) - self.kinds.count(NOTHING)

    def readings(self, names: Sequence[str]) -> tuple[Reading, ...]:
        """The readings one by one; `names` are the meters of the group by place. Raises ReadingError."""
        return tuple(
            self._reading(index, names[self.first + index]) for index, kind in enumerate(self.kinds) if kind != NOTHING
        )

    def _reading(self, index: int, meter: str) -> Reading:
        state = self.states[index] if self.states else 0
        register, energy, is_import = self.registers[index], self.energies[index], self.kinds[index] == IMPORT
        if self.kinds[index] not in (IMPORT, EXPORT) or state >= 2 * CALCULATED:
            raise ReadingError("kinds, states", "i or e, and a state below 64", (self.kinds[index], state))
        return Reading(
            version=self.version,
            chain=self.chain,
            meter=meter,
            sequence=self.sequences[index],
            start=self.start,
            length_s=self.length_s,
            scaler=self.scaler,
            import_register=register if is_import else 0,
            export_register=0 if is_import else register,
            import_wh=energy if is_import else 0,
            export_wh=0 if is_import else energy,
            quality=QUALITIES[state // CALCULATED],
            flags=state % CALCULATED,
            firmware=self.firmware,
            previous=self.previous,
        )


_FIELDS: Final[dict[str, type]] = {
    "version": int,
    "chain": bytes,
    "group": str,
    "first": int,
    "start": int,
    "length_s": int,
    "scaler": int,
    "firmware": bytes,
    "previous": bytes,
    "kinds": str,
    "sequences": list,
    "registers": list,
    "energies": list,
    "states": bytes,
}


def _letter_of(reading: Reading) -> str:
    return EXPORT if reading.export_register or reading.export_wh else IMPORT


def _state_of(reading: Reading) -> int:
    return reading.flags + CALCULATED * QUALITIES.index(reading.quality)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChain:
    """Where the records of a group stand: all that the next batch continues. A gateway keeps it durably per group.

    Registers count in Wh (scaler 0), as the meters of this room do.
    """

    chain: bytes
    group: str
    length_s: int
    meters: tuple[str, ...]
    """By place; empty where another gateway has the meter."""
    kinds: str
    """The letter of the register that counts, by place."""
    registers: tuple[int, ...]
    """Values of these registers, in Wh, after the last record; at first those at commissioning."""
    sequences: tuple[int, ...]
    previous: bytes = NO_PREVIOUS
    firmware: bytes = bytes(HASH_BYTES)

    @classmethod
    def begin(cls, chain: bytes, group: str, length_s: int, meters: Mapping[int, tuple[str, str, int]]) -> Self:
        """Before the first batch; `meters` by place: name, kind (`load` or `pv`), register in Wh at commissioning."""
        row = [meters.get(number, ("", "load", 0)) for number in range(max(meters) + 1)]
        return cls(
            chain=chain,
            group=group,
            length_s=length_s,
            meters=tuple(name for name, _, _ in row),
            kinds="".join(KIND_LETTERS[kind] for _, kind, _ in row),
            registers=tuple(register for _, _, register in row),
            sequences=(0,) * len(row),
        )

    def joined(self, other: Self) -> Self:
        """The chain with the meters that another one of the same group begins and this one has not met: a meter that
        came to the gateway later. Raises ReadingError where the two say different things of a place."""
        places = range(max(len(self.meters), len(other.meters)))
        mine, new = ([*zip(c.meters, c.kinds, c.registers, c.sequences, strict=True)] for c in (self, other))
        nobody = ("", KIND_LETTERS["load"], 0, 0)
        row = []
        for number in places:
            here = mine[number] if number < len(mine) else nobody
            there = new[number] if number < len(new) else nobody
            if here[0] and there[0] and here[:2] != there[:2]:
                raise ReadingError("meters", f"{here[0]} at place {number} of {self.group}, for good", there[0])
            row.append(here if here[0] else there)
        meters, kinds, registers, sequences = zip(*row, strict=True)
        return replace(self, meters=meters, kinds="".join(kinds), registers=registers, sequences=sequences)

    def append(self, start: int, energies: Mapping[str, int]) -> tuple[Batch, "GroupChain"]:
        """The batch of the interval that begins at `start`, of the meters with an energy in Wh; the chain after it.

        Raises ReadingError where none of them is a meter of the group.
        """
        row = [energies.get(meter) for meter in self.meters]
        if None in row:
            return self._append_some(start, row)
        whole = [energy for energy in row if energy is not None]
        after = replace(
            self,
            registers=tuple(map(int.__add__, self.registers, whole)),
            sequences=tuple([sequence + 1 for sequence in self.sequences]),
        )
        batch = self._make_batch(start, self.kinds, after.sequences, after.registers, tuple(whole))
        return batch, replace(after, previous=batch.digest)

    def _append_some(self, start: int, row: Sequence[int | None]) -> tuple[Batch, "GroupChain"]:
        """The same where meters of the group said nothing, or are another gateway's: the places from the first to the
        last that said something."""
        after = replace(
            self,
            registers=tuple(old + (energy or 0) for old, energy in zip(self.registers, row, strict=True)),
            sequences=tuple(old + (energy is not None) for old, energy in zip(self.sequences, row, strict=True)),
        )
        said = [number for number, energy in enumerate(row) if energy is not None]
        if not said:
            raise ReadingError("energies", f"one of a meter of {self.group}", row)
        places = range(said[0], said[-1] + 1)
        batch = self._make_batch(
            start,
            "".join(self.kinds[number] if row[number] is not None else NOTHING for number in places),
            tuple(after.sequences[number] if row[number] is not None else 0 for number in places),
            tuple(after.registers[number] if row[number] is not None else 0 for number in places),
            tuple(row[number] or 0 for number in places),
            first=places.start,
        )
        return batch, replace(after, previous=batch.digest)

    def _make_batch(
        self,
        start: int,
        kinds: str,
        sequences: tuple[int, ...],
        registers: tuple[int, ...],
        energies: tuple[int, ...],
        first: int = 0,
    ) -> Batch:
        return Batch(
            chain=self.chain,
            group=self.group,
            first=first,
            start=start,
            length_s=self.length_s,
            scaler=0,
            kinds=kinds,
            sequences=sequences,
            registers=registers,
            energies=energies,
            firmware=self.firmware,
            previous=self.previous,
        )
