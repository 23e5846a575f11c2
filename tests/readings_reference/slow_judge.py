"""The rules of a reading as plain Python, one reading at a time: the oracle for the contract that judges columns.

Records are kept in a list per meter; every question is answered by looking at all of them. It knows nothing of rows,
rosters or columns. Rights and times of meters are what the caller says they are when a batch comes.
"""

from dataclasses import dataclass, field

from meters.reading import Reading

FUTURE_MAX_S, REORDER_MAX, REGISTER_MAX = 60, 64, 10**18


@dataclass(frozen=True, kw_only=True)
class Right:
    """A meter as the chain has it."""

    status: str
    gateway: bytes
    kind: str
    scaler: int
    interval_s: int
    max_power_w: int
    register: int
    active_from: int
    until: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """An accepted reading, and the batch that brought it."""

    reading: Reading
    batch: bytes
    register_wh: int
    wh: int


@dataclass
class SlowJudge:
    """All records of all meters."""

    network: bytes
    records: dict[str, list[Record]] = field(default_factory=dict)

    def judge(
        self, reading: Reading, batch: bytes, right: Right | None, sender: bytes, now: int, closed: str = ""
    ) -> str:
        """The code of the next reading; a usable one is kept. `closed` is what settlement has against its interval."""
        code = self._right(reading, right, sender, now)
        if code or right is None:
            return code
        code = self._place(reading, right) or self._energy(reading, right) or closed
        return code or self._accept(reading, batch, right)

    def _right(self, reading: Reading, right: Right | None, sender: bytes, now: int) -> str:
        if reading.chain != self.network:
            return "other_chain"
        if right is None:
            return "unknown_meter"
        if right.gateway != sender:
            return "wrong_key"
        end = reading.start + reading.length_s
        if end > now + FUTURE_MAX_S:
            return "future"
        if right.status == "REVOKED" and end > right.until:
            return "revoked_key"
        if right.status not in ("ACTIVE", "REVOKED") or end > right.until or reading.start < right.active_from:
            return "not_active"
        if reading.scaler != right.scaler:
            return "bad_scaler"
        is_load = right.kind == "load"
        other = (
            (reading.export_register, reading.export_wh) if is_load else (reading.import_register, reading.import_wh)
        )
        return "" if other == (0, 0) else "bad_register"

    def _place(self, reading: Reading, right: Right) -> str:
        records, grid = self.records.get(reading.meter, []), right.interval_s
        if reading.start % grid or reading.length_s != grid:
            final = reading.start + reading.length_s - 1
            cells = {reading.start - reading.start % grid, final - final % grid}
            return "overlap" if any(record.reading.start in cells for record in records) else "misaligned"
        for record in records:
            if record.reading.start == reading.start:
                if record.reading == reading:
                    return "duplicate"
                return "replay" if record.reading.sequence == reading.sequence else "overlap"
        newest = max((record.reading.start for record in records), default=0)
        return "too_late" if reading.start < newest - REORDER_MAX * grid else ""

    def _energy(self, reading: Reading, right: Right) -> str:
        if reading.flags & 12:
            return "tamper"
        if reading.flags & 1:
            return "clock"
        wh = reading.import_wh + reading.export_wh
        if wh < 0:
            return "negative"
        return "too_high" if wh * 36_000 > right.max_power_w * right.interval_s * 11 else ""

    def _accept(self, reading: Reading, batch: bytes, right: Right) -> str:
        records = self.records.setdefault(reading.meter, [])
        register = reading.import_register + reading.export_register
        mine = Record(
            reading=reading,
            batch=batch,
            register_wh=floor_wh(register, right.scaler),
            wh=reading.import_wh + reading.export_wh,
        )
        before = max((r for r in records if r.reading.start < reading.start), key=_start_of, default=None)
        after = min((r for r in records if r.reading.start > reading.start), key=_start_of, default=None)
        first = (0, floor_wh(right.register, right.scaler))
        sequence, register_wh = first if before is None else (before.reading.sequence, before.register_wh)
        is_next = before is not None and before.reading.start + right.interval_s == reading.start
        code = check_step(sequence, register_wh, mine, is_next)
        if not code and after is not None:
            is_next_after = reading.start + right.interval_s == after.reading.start
            code = check_step(reading.sequence, mine.register_wh, after, is_next_after)
        if code:
            return code
        records.append(mine)
        if after is not None:
            return "out_of_order"
        joins = is_next if before is not None else reading.start == right.active_from
        named = b"" if before is None else before.batch
        return "accepted" if joins and reading.sequence == sequence + 1 and reading.previous == named else "gap"


def _start_of(record: Record) -> int:
    return record.reading.start


def floor_wh(register: int, scaler: int) -> int:
    """A register in whole Wh."""
    return register * 10**scaler if scaler >= 0 else register // 10**-scaler


def check_step(sequence: int, register_wh: int, after: Record, is_next: bool) -> str:
    """From the record before to the one after."""
    if after.reading.sequence <= sequence:
        return "replay"
    step = after.register_wh - register_wh
    if step < 0:
        return "decreasing"
    return "sum_mismatch" if step < after.wh or (is_next and step != after.wh) else ""
