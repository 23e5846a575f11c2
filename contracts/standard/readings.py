"""Readings: every record that a gateway sends gets a verdict, and the usable ones become the energy of an interval.

Two verdicts (ENERGY 7): *authentic*, this gateway wrote this for this chain under its right on the meter (the
signature is that of the transaction), and *usable*, it may be billed. A refused reading leaves its code in the
receipt and an event; the other readings of the batch are not touched by it. All checks use the agreed time of the
block.

The identity of a reading is the digest of its canonical bytes, never a record or a signature around it. Records of a
meter join by sequence, time, register and the digest before; one that comes late is put into its place when it fits
between its neighbours there, so the energies of a register always telescope: no Wh is counted twice and none is
invented.
"""

from contracts import (
    Address,
    Contract,
    Event,
    Interface,
    Map,
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
BATCH_MAX = 100  # readings of one call
FUTURE_MAX_S = 60  # how far ahead of the agreed time an interval may end: clocks differ
REORDER_MAX = 64  # intervals: how far before the newest record a late one may lie; the nonce window of a gateway
REGISTER_MAX = 1_000_000_000_000_000_000  # in units of the register
FLAG_CLOCK = 1  # clock not synchronised
FLAG_TAMPER = 12  # cover opened (4), magnetic field (8)
FLAGS_MAX = 31  # with power loss (2) and configuration changed (16), which are only noted


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
    def records(self, names: list[str]) -> list[Meter]: ...

    def report(self, name: str, code: str) -> None: ...


class ISettlement(Interface):
    def admits(self, community: str, start: int) -> str: ...

    def arrived(self, community: str, start: int, count: int) -> None: ...


class Reading(Struct):
    version: int
    chain: bytes
    meter: str
    sequence: int  # +1 for each record of the meter
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
    previous: bytes  # digest of the record before, empty in the first


class Accepted(Struct):
    start: int
    sequence: int
    register_wh: int  # at the end of the interval
    wh: int
    digest: bytes
    before: int  # start of the accepted record before in time, 0 in the first


class Refused(Event):
    meter: str
    start: int
    code: str


class Readings(Contract):
    meters: Address
    settlement: Address
    accepted: Map[tuple[str, int], Accepted]  # by meter and interval start
    newest: Map[str, int]  # start of the newest accepted interval of a meter

    @init
    def setup(self, meters: Address, settlement: Address) -> None:
        self.meters = meters
        self.settlement = settlement

    @external
    def submit(self, batch: list[Reading]) -> list[str]:
        """Judge a batch in its order; returns one code per reading (README.md has the table)."""
        require(len(batch) > 0 and len(batch) <= BATCH_MAX, "BATCH_SIZE")
        meters = IMeters(self.meters).records([reading.meter for reading in batch])
        codes: list[str] = []
        suspended: dict[str, bool] = {}
        admitted: dict[str, str] = {}
        arrived: dict[str, int] = {}
        for i in range(len(batch)):
            reading = batch[i]
            meter = meters[i]
            code = "not_active" if reading.meter in suspended else check_right(reading, meter, ctx.sender, ctx.time)
            interval = f"{meter.community}|{reading.start}"
            if code == "":
                code = self.check_place(reading, meter)
            if code == "" and meter.community != "":
                if interval not in admitted:
                    admitted[interval] = ISettlement(self.settlement).admits(meter.community, reading.start)
                code = admitted[interval]
            if code == "":
                code = self.accept(reading, meter)
            codes.append(code)
            if is_usable(code):
                arrived[interval] = arrived.get(interval, 0) + 1
            else:
                emit(Refused(reading.meter, reading.start, code))
                if code == "replay" or code == "decreasing" or code == "tamper":
                    suspended[reading.meter] = True
                    IMeters(self.meters).report(reading.meter, code)
        for interval in arrived:
            parts = interval.split("|")
            if parts[0] != "":
                ISettlement(self.settlement).arrived(parts[0], int(parts[1]), arrived[interval])
        return codes

    @view
    def reading(self, meter: str, start: int) -> Accepted:
        require((meter, start) in self.accepted, "NO_READING")
        return self.accepted[(meter, start)]

    @view
    def last(self, meter: str) -> Accepted:
        require(meter in self.newest, "NO_READING")
        return self.accepted[(meter, self.newest[meter])]

    @view
    def values(self, meters: list[str], start: int) -> list[int]:
        """Interval energy in Wh of each meter, in order; -1 where no reading was accepted."""
        return [self.accepted[(meter, start)].wh if (meter, start) in self.accepted else -1 for meter in meters]

    @view
    def judge(self, code: str) -> list[bool]:
        """The two verdicts behind a code: [authentic, usable]."""
        strangers = ["bad_encoding", "other_chain", "unknown_meter", "wrong_key"]
        return [code not in strangers, is_usable(code)]

    def check_place(self, reading: Reading, meter: Meter) -> str:
        """Is this interval of the meter's grid still free, and are these bytes new?"""
        grid = meter.interval_s
        if reading.start % grid != 0 or reading.length_s != grid:
            first = reading.start - reading.start % grid
            final = reading.start + reading.length_s - 1
            for cell in [first, final - final % grid]:
                if (reading.meter, cell) in self.accepted:
                    return "overlap"
            return "misaligned"
        if (reading.meter, reading.start) in self.accepted:
            there = self.accepted[(reading.meter, reading.start)]
            if there.digest == digest_of(reading):
                return "duplicate"
            return "replay" if there.sequence == reading.sequence else "overlap"
        if reading.meter in self.newest:
            newest = self.accepted[(reading.meter, self.newest[reading.meter])]
            if reading.start < newest.start - REORDER_MAX * grid:
                return "too_late"
        return check_energy(reading, meter)

    def accept(self, reading: Reading, meter: Meter) -> str:
        """Put a reading into its place when it fits between its neighbours in sequence and register."""
        name = reading.meter
        register = reading.import_register if meter.kind == "load" else reading.export_register
        wh = reading.import_wh if meter.kind == "load" else reading.export_wh
        before = Accepted(meter.active_from - meter.interval_s, 0, whole_wh(meter.register, meter.scaler), 0, b"", 0)
        place = self.newest[name]
        after = 0
        while place > reading.start:  # at most REORDER_MAX records are newer
            after = place
            place = self.accepted[(name, place)].before
        if place > 0:
            before = self.accepted[(name, place)]
        value = Accepted(
            reading.start, reading.sequence, whole_wh(register, meter.scaler), wh, digest_of(reading), place
        )
        code = check_step(before, value, place > 0 and before.start + meter.interval_s == value.start)
        if code == "" and after > 0:
            code = check_step(value, self.accepted[(name, after)], value.start + meter.interval_s == after)
        if code != "":
            return code
        self.accepted[(name, reading.start)] = value
        if after > 0:
            there = self.accepted[(name, after)]
            self.accepted[(name, after)] = Accepted(
                there.start, there.sequence, there.register_wh, there.wh, there.digest, reading.start
            )
            return "out_of_order"
        self.newest[name] = reading.start
        joins = before.start + meter.interval_s == value.start and before.sequence + 1 == value.sequence
        return "accepted" if joins and reading.previous == before.digest else "gap"


def check_right(reading: Reading, meter: Meter, sender: Address, now: int) -> str:
    """Who says this, about what, and when: the first code that applies, or nothing."""
    if not is_canonical(reading):
        return "bad_encoding"
    if reading.chain != ctx.network:
        return "other_chain"
    if meter.status == "":
        return "unknown_meter"
    if meter.gateway != sender:
        return "wrong_key"
    end = reading.start + reading.length_s
    if end > now + FUTURE_MAX_S:
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


def check_step(before: Accepted, after: Accepted, adjacent: bool) -> str:
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
    if reading.sequence < 1 or reading.sequence >= 2**63 or reading.start < 1 or reading.start >= 2**40:
        return False
    if reading.length_s < 1 or reading.length_s > 86_400 or reading.flags < 0 or reading.flags > FLAGS_MAX:
        return False
    for register in [reading.import_register, reading.export_register]:
        if register < 0 or register >= REGISTER_MAX:
            return False
    if abs(reading.import_wh) >= REGISTER_MAX or abs(reading.export_wh) >= REGISTER_MAX:
        return False
    return reading.quality == "measured" or reading.quality == "calculated"


def is_usable(code: str) -> bool:
    return code == "accepted" or code == "gap" or code == "out_of_order"


def whole_wh(register: int, scaler: int) -> int:
    """A register's value in whole Wh, rounded down: differences of floors lose nothing over time."""
    unit: int = 10 ** abs(scaler)
    return register * unit if scaler >= 0 else register // unit


def digest_of(reading: Reading) -> bytes:
    """Tagged SHA-256 of the canonical bytes, as in ledger/hashing.py; meters/reading.py makes the same one."""
    tag = sha256(bytes("gridquorum/reading/1", "utf-8"))
    return sha256(tag + tag + canonical(reading))
