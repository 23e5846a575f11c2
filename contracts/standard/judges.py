"""Judges: what is said of one reading by itself, from its bytes to its place among the meter's records.

Two verdicts (ENERGY 7): *authentic*, this gateway wrote this for this chain under its right on the meter (the
signature is that of the transaction), and *usable*, it may be billed. Contract `readings` keeps what is accepted and
finds by whole columns what simply continues it; every other reading comes here, with what is kept around its
interval. A refused reading leaves its code in the receipt and an event. For readings that the columns let pass these
rules come to the same code.

The identity of a reading is the digest of its canonical bytes, never a record or a signature around it; all of its
fields are kept, so the digest can be computed at any time. Records of a meter join by sequence, time and register,
batches by the digest of the one before; one that comes late is put into its place when it fits between its neighbours
there, so the energies of a register always telescope: no Wh is counted twice and none is invented.
"""

from contracts import (
    Address,
    Contract,
    Event,
    Interface,
    Struct,
    canonical,
    ctx,
    emit,
    external,
    init,
    require,
    sha256,
    view,
)  # fmt: skip

VERSION = 1
FUTURE_MAX_S = 60  # how far ahead of the agreed time an interval may end: clocks differ
REORDER_MAX = 64  # intervals: how far before the newest record a late one may lie; the nonce window of a gateway
REGISTER_MAX = 1_000_000_000_000_000_000  # in units of the register
SEQUENCE_MAX = 9_223_372_036_854_775_808
FLAG_CLOCK = 1  # clock not synchronised
FLAG_TAMPER = 12  # cover opened (4), magnetic field (8)
CALCULATED = 32  # a state is CALCULATED or not, and flags, power loss (2) and configuration changed (16) among them
STATES = 64
IMPORT = "i"  # the reading is of the import register
EXPORT = "e"
NOTHING = "-"  # no reading at this place


class Meter(Struct):
    status: str
    gateway: Address
    home: str
    owner: Address
    community: str
    kind: str
    scaler: int
    interval_s: int
    max_power_w: int
    register: int
    active_from: int
    until: int
    cause: str


class IMeters(Interface):
    def names_at(self, group: str, numbers: list[int]) -> list[str]: ...

    def records(self, names: list[str]) -> list[Meter]: ...

    def report(self, name: str, code: str) -> None: ...


class ISettlement(Interface):
    def admits(self, community: str, start: int) -> str: ...


class Batch(Struct):
    """One interval of the places `first`, `first` + 1, ... of a group, in columns (contract `readings`)."""

    version: int
    chain: bytes
    group: str
    first: int
    start: int
    length_s: int
    scaler: int
    firmware: bytes
    previous: bytes
    kinds: str
    sequences: list[int]
    registers: list[int]
    energies: list[int]
    states: bytes


class Reading(Struct):
    """One reading by itself, with what it shares: its canonical bytes are those of this list."""

    version: int
    chain: bytes
    meter: str
    sequence: int
    start: int
    length_s: int
    scaler: int
    import_register: int
    export_register: int
    import_wh: int
    export_wh: int
    quality: str
    flags: int
    firmware: bytes  # 32-byte digest
    previous: bytes  # of its batch


class Source(Struct):
    """A batch that brought readings into a row."""

    firmware: bytes
    previous: bytes
    digest: bytes


class Record(Struct):
    """An accepted reading as it is kept."""

    start: int
    sequence: int
    register: int
    wh: int
    state: int
    source: Source


class Near(Struct):
    """What is kept of a meter at and around an interval; each list has one record or none."""

    newest: int  # start of the meter's newest record, 0 if there is none
    here: list[Record]  # of this interval, or of one that crosses it
    before: list[Record]
    after: list[Record]


class Verdict(Struct):
    code: str
    community: str  # of the meter


class Accepted(Struct):
    start: int
    sequence: int
    register_wh: int  # at the end of the interval
    wh: int
    digest: bytes
    before: int  # start of the accepted record before in time, 0 in the first


class Step(Struct):
    """What a reading and its neighbours in time must agree on."""

    sequence: int
    register_wh: int
    wh: int


class Refused(Event):
    meter: str
    start: int
    code: str


class Judges(Contract):
    readings: Address
    meters: Address
    settlement: Address

    @init
    def setup(self, readings: Address, meters: Address, settlement: Address) -> None:
        self.readings = readings
        self.meters = meters
        self.settlement = settlement

    @external
    def judge(self, batch: Batch, places: list[int], around: list[Near], gateway: Address) -> list[Verdict]:
        """Verdicts on readings of a batch, named by their index in it; `around` is what is kept near each of them."""
        require(ctx.sender == self.readings, "NOT_READINGS")
        names = IMeters(self.meters).names_at(batch.group, [batch.first + i for i in places])
        meters = IMeters(self.meters).records(names)
        admitted: dict[str, str] = {}
        verdicts: list[Verdict] = []
        for i, name, meter, near in zip(places, names, meters, around):  # noqa: B905
            code = check_place(batch, i)
            if code == "" and batch.kinds[i] != NOTHING:
                code = self.judge_one(reading_of(batch, i, name), meter, near, gateway, admitted)
                if code == "replay" or code == "decreasing" or code == "tamper":
                    IMeters(self.meters).report(name, code)
            if code != "" and not is_usable(code):
                emit(Refused(name, batch.start, code))
            verdicts.append(Verdict(code, meter.community))
        return verdicts

    @view
    def accepted(self, name: str, record: Record, before: int) -> Accepted:
        """A record as others see it; its identity is computed from what is kept."""
        meter = IMeters(self.meters).records([name])[0]
        step = step_of(record, meter.scaler)
        digest = digest_of(kept_reading(record, name, meter))
        return Accepted(record.start, step.sequence, step.register_wh, step.wh, digest, before)

    @view
    def verdicts(self, code: str) -> list[bool]:
        """The two verdicts behind a code: [authentic, usable]."""
        strangers = ["bad_encoding", "other_chain", "unknown_meter", "wrong_key"]
        return [code not in strangers, is_usable(code)]

    def judge_one(self, reading: Reading, meter: Meter, near: Near, gateway: Address, admitted: dict[str, str]) -> str:
        """The code of one reading: the first rule that it breaks, or how it joins the records there are."""
        code = check_right(reading, meter, gateway)
        if code == "":
            code = check_interval(reading, meter, near)
        if code == "":
            code = check_energy(reading, meter)
        if code == "":
            if meter.community not in admitted:  # asked once for a batch
                admitted[meter.community] = ISettlement(self.settlement).admits(meter.community, reading.start)
            code = admitted[meter.community]
        return check_neighbours(reading, meter, near) if code == "" else code


def check_place(batch: Batch, i: int) -> str:
    """Is this place of a batch a reading of one register, or nothing at all?"""
    state = state_of(batch, i)
    if batch.kinds[i] == NOTHING:
        is_empty = batch.sequences[i] == 0 and batch.registers[i] == 0 and batch.energies[i] == 0 and state == 0
        return "" if is_empty else "bad_encoding"
    return "" if (batch.kinds[i] == IMPORT or batch.kinds[i] == EXPORT) and state < STATES else "bad_encoding"


def check_right(reading: Reading, meter: Meter, gateway: Address) -> str:
    """Who says this, about what, and when: the first code that applies, or nothing."""
    if not is_canonical(reading):
        return "bad_encoding"
    if reading.chain != ctx.network:
        return "other_chain"
    if meter.status == "":
        return "unknown_meter"
    if meter.gateway != gateway:
        return "wrong_key"
    end = reading.start + reading.length_s
    if end > ctx.time + FUTURE_MAX_S:
        return "future"
    if meter.status == "REVOKED":
        if end > meter.until:
            return "revoked_key"
    elif meter.status != "ACTIVE" or end > meter.until:
        return "not_active"
    if reading.start < meter.active_from:
        return "not_active"
    if reading.scaler != meter.scaler:
        return "bad_scaler"
    undeclared = reading.export_register if meter.kind == "load" else reading.import_register
    undeclared_wh = reading.export_wh if meter.kind == "load" else reading.import_wh
    return "" if undeclared == 0 and undeclared_wh == 0 else "bad_register"


def check_interval(reading: Reading, meter: Meter, near: Near) -> str:
    """Is this interval of the meter's grid still free, and are these bytes new?"""
    grid = meter.interval_s
    if reading.start % grid != 0 or reading.length_s != grid:
        return "overlap" if len(near.here) > 0 else "misaligned"
    for record in near.here:
        if kept_reading(record, reading.meter, meter) == reading:
            return "duplicate"
        return "replay" if record.sequence == reading.sequence else "overlap"
    return "too_late" if near.newest > 0 and reading.start < near.newest - REORDER_MAX * grid else ""


def check_energy(reading: Reading, meter: Meter) -> str:
    """May a record with these flags and this energy be billed at all?"""
    if reading.flags & FLAG_TAMPER != 0:
        return "tamper"
    if reading.flags & FLAG_CLOCK != 0:
        return "clock"
    wh = reading.import_wh + reading.export_wh
    if wh < 0:
        return "negative"
    # Certified power x time x 1.1, in Wh without division: W * s * 11 / (3600 * 10).
    return "too_high" if wh * 36_000 > meter.max_power_w * meter.interval_s * 11 else ""


def check_neighbours(reading: Reading, meter: Meter, near: Near) -> str:
    """Does it fit between the records before and after in sequence and register, and how does it join them?"""
    grid = meter.interval_s
    register = reading.import_register if meter.kind == "load" else reading.export_register
    wh = reading.import_wh if meter.kind == "load" else reading.export_wh
    step = Step(reading.sequence, whole_wh(register, meter.scaler), wh)
    before = Step(0, whole_wh(meter.register, meter.scaler), 0)
    is_next = False
    digest = b""
    for record in near.before:
        before = step_of(record, meter.scaler)
        is_next = record.start + grid == reading.start
        digest = record.source.digest
    code = check_step(before, step, is_next)
    for record in near.after:
        if code == "":
            code = check_step(step, step_of(record, meter.scaler), reading.start + grid == record.start)
        if code == "":
            code = "out_of_order"
    if code != "":
        return code
    if len(near.before) == 0:
        is_next = reading.start == meter.active_from
    return "accepted" if is_next and before.sequence + 1 == step.sequence and reading.previous == digest else "gap"


def check_step(before: Step, after: Step, adjacent: bool) -> str:
    """Sequence and register rise with time; the energy is the register's step, or a part of it across a gap."""
    if after.sequence <= before.sequence:
        return "replay"
    step = after.register_wh - before.register_wh
    if step < 0:
        return "decreasing"
    if step < after.wh or (adjacent and step != after.wh):
        return "sum_mismatch"
    return ""


def is_canonical(reading: Reading) -> bool:
    """The bounds of every field (ENERGY 6.3); its types were checked when the call was decoded."""
    if reading.version != VERSION or len(reading.chain) != 32 or len(reading.firmware) != 32:
        return False
    if len(reading.previous) != 32 and len(reading.previous) != 0:
        return False
    if reading.sequence < 1 or reading.sequence >= SEQUENCE_MAX or reading.start < 1 or reading.start >= 2**40:
        return False
    if reading.length_s < 1 or reading.length_s > 86_400:
        return False
    for register in [reading.import_register, reading.export_register]:
        if register < 0 or register >= REGISTER_MAX:
            return False
    return abs(reading.import_wh) < REGISTER_MAX and abs(reading.export_wh) < REGISTER_MAX


def is_usable(code: str) -> bool:
    return code == "accepted" or code == "gap" or code == "out_of_order"


def state_of(batch: Batch, i: int) -> int:
    return batch.states[i] if len(batch.states) > 0 else 0


def step_of(record: Record, scaler: int) -> Step:
    return Step(record.sequence, whole_wh(record.register, scaler), record.wh)


def whole_wh(register: int, scaler: int) -> int:
    """A register's value in whole Wh, rounded down: differences of floors lose nothing over time."""
    unit: int = 10 ** abs(scaler)
    return register * unit if scaler >= 0 else register // unit


def reading_of(batch: Batch, i: int, name: str) -> Reading:
    """One reading of a batch by itself."""
    return make_reading(
        batch.version, batch.chain, name, batch.sequences[i], batch.start, batch.length_s, batch.scaler,
        batch.kinds[i] == IMPORT, batch.registers[i], batch.energies[i], state_of(batch, i), batch.firmware,
        batch.previous,
    )  # fmt: skip


def kept_reading(record: Record, name: str, meter: Meter) -> Reading:
    """An accepted reading as it was sent."""
    return make_reading(
        VERSION, ctx.network, name, record.sequence, record.start, meter.interval_s, meter.scaler,
        meter.kind == "load", record.register, record.wh, record.state, record.source.firmware,
        record.source.previous,
    )  # fmt: skip


def make_reading(
    version: int, chain: bytes, name: str, sequence: int, start: int, length_s: int, scaler: int, is_import: bool,
    register: int, wh: int, state: int, firmware: bytes, previous: bytes,
) -> Reading:  # fmt: skip
    return Reading(
        version, chain, name, sequence, start, length_s, scaler, register if is_import else 0,
        0 if is_import else register, wh if is_import else 0, 0 if is_import else wh,
        "measured" if state < CALCULATED else "calculated", state % CALCULATED, firmware, previous,
    )  # fmt: skip


def digest_of(reading: Reading) -> bytes:
    """The identity of a reading: tagged SHA-256 of its canonical bytes, as in ledger/hashing.py and meters/."""
    tag = sha256(bytes("gridquorum/reading/1", "utf-8"))
    return sha256(tag + tag + canonical(reading))
