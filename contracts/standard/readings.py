"""Readings: every record that a gateway sends gets a verdict, and the usable ones become the energy of an interval.

Two verdicts (ENERGY 7): *authentic*, this gateway wrote this for this chain under its right on the meter (the
signature is that of the transaction), and *usable*, it may be billed. A refused reading leaves its code in the
receipt and an event; the other readings of the batch are not touched by it. All checks use the agreed time of the
block.

A batch is one interval of one group of meters (contract `meters`), in columns by place, and so is what is kept of an
interval. Nearly every reading continues the one before it without a remark: those are found by comparing whole
columns (`find_doubtful`). Every other one is taken out of its columns and judged alone, by the rules that stand
below as functions of one reading; for those that the columns let pass these rules come to the same code.

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
BATCH_MAX = 100  # places of one call, and of a group
GROUP_NAME_MAX = 64
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


class Roster(Struct):
    community: str
    interval_s: int
    scaler: int
    active_from: int
    until: int
    limit_wh: int
    kinds: str


class Bounds(Struct):
    limits_wh: list[int]
    active_from: list[int]
    until: list[int]


class Place(Struct):
    group: str
    number: int


class IMeters(Interface):
    def roster(self, group: str, gateway: Address) -> Roster: ...

    def bounds(self, group: str, gateway: Address) -> Bounds: ...

    def places_of(self, names: list[str]) -> list[Place]: ...

    def names_at(self, group: str, numbers: list[int]) -> list[str]: ...

    def records(self, names: list[str]) -> list[Meter]: ...

    def report(self, name: str, code: str) -> None: ...


class ISettlement(Interface):
    def admits(self, community: str, start: int) -> str: ...

    def arrived(self, community: str, start: int, count: int) -> None: ...


class Batch(Struct):
    """One interval of the places `first`, `first` + 1, ... of a group: what all readings share, and their columns."""

    version: int
    chain: bytes
    group: str
    first: int
    start: int
    length_s: int
    scaler: int
    firmware: bytes  # 32-byte digest
    previous: bytes  # digest of the group's batch before, empty in the first
    kinds: str  # IMPORT, EXPORT or NOTHING
    sequences: list[int]  # +1 for each record of the meter; 0 where there is no reading, as in the next two
    registers: list[int]
    energies: list[int]
    states: bytes  # empty when all are 0: measured, without a flag


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


class Accepted(Struct):
    start: int
    sequence: int
    register_wh: int  # at the end of the interval
    wh: int
    digest: bytes
    before: int  # start of the accepted record before in time, 0 in the first


class Source(Struct):
    """A batch that brought readings into a row."""

    firmware: bytes
    previous: bytes
    digest: bytes


class Row(Struct):
    """The accepted readings of one interval of a group, by place."""

    sequences: list[int]  # 0: none
    registers: list[int]
    sources: list[Source]
    marks: dict[int, int]  # STATES * number of the source + state, where that is not 0
    links: dict[int, int]  # start of the record before, where that is not of the interval before; 0 in the first


class Tail(Struct):
    """Where the records of a group stand."""

    start: int  # of the newest row
    older: dict[int, int]  # start of a place's newest record, where that is not in the newest row


class Step(Struct):
    """What a reading and its neighbours in time must agree on."""

    sequence: int
    register_wh: int
    wh: int


class Scene(Struct):
    """What is known and found out while one batch is judged; the dicts grow."""

    tail: Tail
    rows: dict[int, Row]  # of the group, as before this batch
    admitted: dict[str, str]  # what settlement says of the interval, by community
    links: dict[int, int]  # of the row that is made
    followers: dict[int, list[int]]  # by interval start: places whose record there comes after a late one


class Refused(Event):
    meter: str
    start: int
    code: str


class Readings(Contract):
    meters: Address
    settlement: Address
    rows: Map[tuple[str, int], Row]  # by group and interval start
    energies: Map[tuple[str, int], list[int]]  # of the same, in Wh; -1: none. Alone: settlement reads only these
    tails: Map[str, Tail]  # by group

    @init
    def setup(self, meters: Address, settlement: Address) -> None:
        self.meters = meters
        self.settlement = settlement

    @external
    def submit(self, batches: list[Batch]) -> list[str]:
        """Judge batches in their order; returns one code for each of their places (README.md has the table)."""
        require(len(batches) > 0 and len(batches) <= BATCH_MAX, "BATCH_SIZE")
        require(sum([len(batch.kinds) for batch in batches]) <= BATCH_MAX, "BATCH_SIZE")
        codes: list[str] = []
        for batch in batches:
            require(has_shape(batch), "BATCH_SHAPE")
            codes.extend(self.judge_batch(batch))
        return codes

    @view
    def reading(self, meter: str, start: int) -> Accepted:
        place = IMeters(self.meters).places_of([meter])[0]
        return self.accepted_at(Scene(self.tails[place.group], {}, {}, {}, {}), meter, place, start)

    @view
    def last(self, meter: str) -> Accepted:
        place = IMeters(self.meters).places_of([meter])[0]
        scene = Scene(self.tails[place.group], {}, {}, {}, {})
        return self.accepted_at(scene, meter, place, self.newest_of(scene, place.group, place.number))

    @view
    def values(self, meters: list[str], start: int) -> list[int]:
        """Interval energy in Wh of each meter, in order; -1 where no reading was accepted."""
        columns: dict[str, list[int]] = {}
        found: list[int] = []
        for place in IMeters(self.meters).places_of(meters):
            if place.group not in columns:
                columns[place.group] = self.energies[(place.group, start)]
            energies = columns[place.group]
            found.append(energies[place.number] if place.number < len(energies) else -1)
        return found

    @view
    def judge(self, code: str) -> list[bool]:
        """The two verdicts behind a code: [authentic, usable]."""
        strangers = ["bad_encoding", "other_chain", "unknown_meter", "wrong_key"]
        return [code not in strangers, is_usable(code)]

    def judge_batch(self, batch: Batch) -> list[str]:
        """The codes of a batch; what is usable is kept, what is not is told in events."""
        count = len(batch.kinds)
        roster = IMeters(self.meters).roster(batch.group, ctx.sender)
        scene = Scene(self.tails[batch.group], {}, {}, {}, {})
        codes: list[str] = []
        doubtful: list[int] = []
        arrived: dict[str, int] = {}
        if is_plain(batch, roster, scene.tail):
            before = self.row_at(scene, batch.group, batch.start - batch.length_s)
            doubtful = self.find_doubtful(batch, roster, before, self.row_at(scene, batch.group, batch.start))
            sure = len(batch.kinds.replace(NOTHING, "")) - len(doubtful)
            refusal = self.ask(scene, roster.community, batch.start) if sure > 0 else ""
            codes = find_codes(batch, before, refusal)
            if sure > 0 and refusal == "":
                arrived[roster.community] = sure
        else:
            codes = ["" for kind in batch.kinds]
            doubtful = [i for i in range(count)]
        if len(doubtful) > 0:
            names = IMeters(self.meters).names_at(batch.group, [batch.first + i for i in doubtful])
            meters = IMeters(self.meters).records(names)
            for i, name, meter in zip(doubtful, names, meters):  # noqa: B905
                codes[i] = self.judge_one(scene, batch, i, name, meter)
                if is_usable(codes[i]):
                    arrived[meter.community] = arrived.get(meter.community, 0) + 1
        usable = sum([arrived[community] for community in arrived])
        if usable > 0:
            self.keep(scene, batch, codes, usable == count)
        if usable < count:
            self.tell(batch, codes)
        for community in arrived:
            if community != "":
                ISettlement(self.settlement).arrived(community, batch.start, arrived[community])
        return codes

    def find_doubtful(self, batch: Batch, roster: Roster, before: Row, here: Row) -> list[int]:
        """Which readings of a plain batch do not simply continue the row before: first all at once, then each."""
        count = len(batch.kinds)
        last = batch.first + count
        kinds = roster.kinds[batch.first : last]
        sequences = column(before.sequences, batch.first, last)
        registers = in_wh(column(before.registers, batch.first, last), batch.scaler)
        claimed = in_wh(batch.registers, batch.scaler)
        present = column(here.sequences, batch.first, last)
        in_time = batch.start >= roster.active_from and batch.start + batch.length_s <= roster.until
        in_bounds = in_time and max(batch.energies) <= roster.limit_wh
        if (
            in_bounds
            and batch.kinds == kinds
            and NOTHING not in kinds
            and len(batch.states) == 0
            and max(present) == 0
            and min(sequences) > 0
            and batch.sequences == [sequence + 1 for sequence in sequences]
            and max(batch.sequences) < SEQUENCE_MAX
            and min(batch.energies) >= 0
            and max(batch.registers) < REGISTER_MAX
            and claimed == [register + wh for register, wh in zip(registers, batch.energies)]  # noqa: B905
        ):
            return []
        limits = [roster.limit_wh for kind in kinds]
        if not in_bounds:
            limits = limits_at(IMeters(self.meters).bounds(batch.group, ctx.sender), batch)
        doubtful: list[int] = []
        for i in range(count):
            wh = batch.energies[i]
            if batch.kinds[i] == NOTHING:
                sure = batch.sequences[i] == 0 and batch.registers[i] == 0 and wh == 0 and state_of(batch, i) == 0
            else:
                sure = (
                    batch.kinds[i] == kinds[i]
                    and state_of(batch, i) == 0
                    and present[i] == 0
                    and sequences[i] > 0
                    and batch.sequences[i] == sequences[i] + 1
                    and batch.sequences[i] < SEQUENCE_MAX
                    and wh >= 0
                    and wh <= limits[i]
                    and batch.registers[i] < REGISTER_MAX
                    and claimed[i] == registers[i] + wh
                )
            if not sure:
                doubtful.append(i)
        return doubtful

    def judge_one(self, scene: Scene, batch: Batch, i: int, name: str, meter: Meter) -> str:
        """The code of one reading by itself, from its bytes to its place."""
        kind = batch.kinds[i]
        if kind == NOTHING and batch.sequences[i] == 0 and batch.registers[i] == 0 and batch.energies[i] == 0:
            return "" if state_of(batch, i) == 0 else "bad_encoding"
        if (kind != IMPORT and kind != EXPORT) or state_of(batch, i) >= STATES:
            return "bad_encoding"
        reading = reading_of(batch, i, name)
        number = batch.first + i
        code = check_right(reading, meter, ctx.sender, ctx.time)
        if code == "":
            code = self.check_place(scene, batch.group, number, reading, meter)
        if code == "":
            code = self.ask(scene, meter.community, reading.start)
        if code == "":
            code = self.accept(scene, batch.group, number, reading, meter)
        if code == "replay" or code == "decreasing" or code == "tamper":
            IMeters(self.meters).report(name, code)
        return code

    def check_place(self, scene: Scene, group: str, number: int, reading: Reading, meter: Meter) -> str:
        """Is this interval of the meter's grid still free, and are these bytes new?"""
        grid = meter.interval_s
        if reading.start % grid != 0 or reading.length_s != grid:
            first = reading.start - reading.start % grid
            final = reading.start + reading.length_s - 1
            for cell in [first, final - final % grid]:
                if holds(self.row_at(scene, group, cell), number):
                    return "overlap"
            return "misaligned"
        row = self.row_at(scene, group, reading.start)
        if holds(row, number):
            wh = self.energies[(group, reading.start)][number]
            if kept_reading(row, number, wh, reading.start, reading.meter, meter) == reading:
                return "duplicate"
            return "replay" if row.sequences[number] == reading.sequence else "overlap"
        newest = self.newest_of(scene, group, number)
        if newest > 0 and reading.start < newest - REORDER_MAX * grid:
            return "too_late"
        return check_energy(reading, meter)

    def accept(self, scene: Scene, group: str, number: int, reading: Reading, meter: Meter) -> str:
        """Put a reading into its place when it fits between its neighbours in sequence and register."""
        grid = meter.interval_s
        register = reading.import_register if meter.kind == "load" else reading.export_register
        wh = reading.import_wh if meter.kind == "load" else reading.export_wh
        place = self.newest_of(scene, group, number)
        after = 0
        if place > reading.start:  # at most REORDER_MAX intervals newer
            after = reading.start + grid
            while not holds(self.row_at(scene, group, after), number):
                after += grid
            place = self.row_at(scene, group, after).links[number]
        value = Step(reading.sequence, whole_wh(register, meter.scaler), wh)
        before = Step(0, whole_wh(meter.register, meter.scaler), 0)
        previous = b""
        if place > 0:
            row = self.row_at(scene, group, place)
            before = step_at(row, number, 0, meter.scaler)
            previous = source_at(row, number).digest
        joins = place > 0 and place + grid == reading.start
        code = check_step(before, value, joins)
        if code == "" and after > 0:
            energies = self.energies[(group, after)]
            following = step_at(self.row_at(scene, group, after), number, energies[number], meter.scaler)
            code = check_step(value, following, reading.start + grid == after)
        if code != "":
            return code
        if place + grid != reading.start:
            scene.links[number] = place
        if after > 0:
            scene.followers[after] = scene.followers.get(after, []) + [number]
            return "out_of_order"
        if place == 0:
            joins = reading.start == meter.active_from
        return "accepted" if joins and before.sequence + 1 == value.sequence and reading.previous == previous else "gap"

    def keep(self, scene: Scene, batch: Batch, codes: list[str], is_whole: bool) -> None:
        """Write the row, and where the records of the group stand now."""
        row = self.row_at(scene, batch.group, batch.start)
        if not is_whole or batch.first > 0 or len(row.sequences) > 0:
            places = [batch.first + i for i in range(len(codes)) if is_usable(codes[i])]
        else:
            places = [i for i in range(len(codes))]
        marks = row.marks
        source = STATES * len(row.sources)
        if source > 0 or len(batch.states) > 0:
            for number in places:
                state = state_of(batch, number - batch.first)
                if source + state > 0:
                    marks[number] = source + state
        links = row.links
        for number in scene.links:
            links[number] = scene.links[number]
        energies = self.energies[(batch.group, batch.start)]
        self.energies[(batch.group, batch.start)] = merged(energies, batch.energies, batch.first, places, -1)
        self.rows[(batch.group, batch.start)] = Row(
            merged(row.sequences, batch.sequences, batch.first, places, 0),
            merged(row.registers, batch.registers, batch.first, places, 0),
            row.sources + [Source(batch.firmware, batch.previous, digest_of("readings", canonical(batch)))],
            marks,
            links,
        )
        for start in scene.followers:
            self.link_followers(scene, batch, start)
        self.move_tail(scene, batch, places)

    def link_followers(self, scene: Scene, batch: Batch, start: int) -> None:
        """The records of an interval that came after the ones before late ones now come after those."""
        row = self.row_at(scene, batch.group, start)
        links = row.links
        for number in scene.followers[start]:
            if batch.start + batch.length_s == start:
                links.pop(number)
            else:
                links[number] = batch.start
        self.rows[(batch.group, start)] = Row(row.sequences, row.registers, row.sources, row.marks, links)

    def move_tail(self, scene: Scene, batch: Batch, places: list[int]) -> None:
        """The newest row of the group, and the newest records of those who are not in it."""
        tail = scene.tail
        older = tail.older
        newest = self.row_at(scene, batch.group, tail.start)
        if batch.start >= tail.start:
            replaced = batch.first == 0 and len(places) == len(batch.kinds) and len(newest.sequences) <= len(places)
            if batch.start > tail.start and not replaced:
                for number in range(len(newest.sequences)):
                    if newest.sequences[number] > 0:
                        older[number] = tail.start
            if len(older) > 0:
                for number in places:
                    older.pop(number, 0)
        else:
            for number in places:
                if not holds(newest, number):
                    older[number] = max(older.get(number, 0), batch.start)
        self.tails[batch.group] = Tail(max(tail.start, batch.start), older)

    def tell(self, batch: Batch, codes: list[str]) -> None:
        """An event for each reading that was refused."""
        refused = [i for i in range(len(codes)) if codes[i] != "" and not is_usable(codes[i])]
        names = IMeters(self.meters).names_at(batch.group, [batch.first + i for i in refused])
        for i, name in zip(refused, names):  # noqa: B905
            emit(Refused(name, batch.start, codes[i]))

    def ask(self, scene: Scene, community: str, start: int) -> str:
        """What settlement has against a reading of this community and interval, asked once for a batch."""
        if community == "":
            return ""
        if community not in scene.admitted:
            scene.admitted[community] = ISettlement(self.settlement).admits(community, start)
        return scene.admitted[community]

    def row_at(self, scene: Scene, group: str, start: int) -> Row:
        """A row as it was before this batch, read once."""
        if start not in scene.rows:
            scene.rows[start] = self.rows[(group, start)]
        return scene.rows[start]

    def newest_of(self, scene: Scene, group: str, number: int) -> int:
        """Start of the newest record of a place before this batch, 0 if there is none."""
        if holds(self.row_at(scene, group, scene.tail.start), number):
            return scene.tail.start
        return scene.tail.older.get(number, 0)

    def accepted_at(self, scene: Scene, name: str, place: Place, start: int) -> Accepted:
        row = self.row_at(scene, place.group, start)
        require(holds(row, place.number), "NO_READING")
        meter = IMeters(self.meters).records([name])[0]
        step = step_at(row, place.number, self.energies[(place.group, start)][place.number], meter.scaler)
        digest = digest_of("reading", canonical(kept_reading(row, place.number, step.wh, start, name, meter)))
        before = start - meter.interval_s
        if not holds(self.row_at(scene, place.group, before), place.number):
            before = row.links[place.number]
        return Accepted(start, step.sequence, step.register_wh, step.wh, digest, before)


def has_shape(batch: Batch) -> bool:
    """Columns of one length, at places that a group can have: else its readings could not be told apart."""
    count = len(batch.kinds)
    if len(batch.sequences) != count or len(batch.registers) != count or len(batch.energies) != count:
        return False
    if len(batch.states) != count and len(batch.states) != 0:
        return False
    return count > 0 and batch.first >= 0 and batch.first + count <= BATCH_MAX and len(batch.group) <= GROUP_NAME_MAX


def is_plain(batch: Batch, roster: Roster, tail: Tail) -> bool:
    """Is what the readings share as it must be, from the gateway of a roster, for the newest interval or the next?"""
    if batch.version != VERSION or batch.chain != ctx.network or len(batch.firmware) != 32:
        return False
    if len(batch.previous) != 32 and len(batch.previous) != 0:
        return False
    if roster.interval_s == 0 or batch.length_s != roster.interval_s or batch.scaler != roster.scaler:
        return False
    if batch.start + batch.length_s > ctx.time + FUTURE_MAX_S:
        return False
    return tail.start > 0 and (batch.start == tail.start or batch.start == tail.start + batch.length_s)


def find_codes(batch: Batch, before: Row, refusal: str) -> list[str]:
    """The code of each place of which there is no doubt: what settlement says, or whether the batches join."""
    if refusal != "":
        return ["" if kind == NOTHING else refusal for kind in batch.kinds]
    joins = ["accepted" if source.digest == batch.previous else "gap" for source in before.sources]
    if len(joins) == 1 and NOTHING not in batch.kinds:
        return [joins[0] for kind in batch.kinds]
    return [
        "" if batch.kinds[i] == NOTHING or len(joins) == 0 else joins[before.marks.get(batch.first + i, 0) // STATES]
        for i in range(len(batch.kinds))
    ]


def limits_at(bounds: Bounds, batch: Batch) -> list[int]:
    """Most Wh that each place may count in this interval; -1 where the meter's time is not that of the interval."""
    last = batch.first + len(batch.kinds)
    limits = column(bounds.limits_wh, batch.first, last)
    froms = column(bounds.active_from, batch.first, last)
    untils = column(bounds.until, batch.first, last)
    return [
        limit if batch.start >= since and batch.start + batch.length_s <= until else -1
        for limit, since, until in zip(limits, froms, untils)  # noqa: B905
    ]


def column(values: list[int], first: int, last: int) -> list[int]:
    """Part of a column, filled with zeros beyond its end."""
    part = values[first:last]
    return part if len(part) == last - first else part + [0 for missing in range(last - first - len(part))]


def merged(old: list[int], new: list[int], first: int, places: list[int], nothing: int) -> list[int]:
    """A kept column with what a batch brought to these places."""
    if len(old) == 0 and first == 0 and len(places) == len(new):
        return new
    result = old + [nothing for missing in range(first + len(new) - len(old))]
    for number in places:
        result[number] = new[number - first]
    return result


def in_wh(registers: list[int], scaler: int) -> list[int]:
    return registers if scaler == 0 else [whole_wh(register, scaler) for register in registers]


def holds(row: Row, number: int) -> bool:
    """Was a reading accepted at this place of a row?"""
    return number < len(row.sequences) and row.sequences[number] > 0


def source_at(row: Row, number: int) -> Source:
    return row.sources[row.marks.get(number, 0) // STATES]


def step_at(row: Row, number: int, wh: int, scaler: int) -> Step:
    return Step(row.sequences[number], whole_wh(row.registers[number], scaler), wh)


def state_of(batch: Batch, i: int) -> int:
    return batch.states[i] if len(batch.states) > 0 else 0


def reading_of(batch: Batch, i: int, name: str) -> Reading:
    """One reading of a batch by itself."""
    return make_reading(
        batch.chain, name, batch.sequences[i], batch.start, batch.length_s, batch.scaler, batch.kinds[i] == IMPORT,
        batch.registers[i], batch.energies[i], state_of(batch, i), batch.firmware, batch.previous, batch.version,
    )  # fmt: skip


def kept_reading(row: Row, number: int, wh: int, start: int, name: str, meter: Meter) -> Reading:
    """An accepted reading as it was sent."""
    source = source_at(row, number)
    return make_reading(
        ctx.network, name, row.sequences[number], start, meter.interval_s, meter.scaler, meter.kind == "load",
        row.registers[number], wh, row.marks.get(number, 0) % STATES, source.firmware,
        source.previous, VERSION,
    )  # fmt: skip


def make_reading(
    chain: bytes, name: str, sequence: int, start: int, length_s: int, scaler: int, is_import: bool,
    register: int, wh: int, state: int, firmware: bytes, previous: bytes, version: int,
) -> Reading:  # fmt: skip
    return Reading(
        version, chain, name, sequence, start, length_s, scaler, register if is_import else 0,
        0 if is_import else register, wh if is_import else 0, 0 if is_import else wh,
        "measured" if state < CALCULATED else "calculated", state % CALCULATED, firmware, previous,
    )  # fmt: skip


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


def whole_wh(register: int, scaler: int) -> int:
    """A register's value in whole Wh, rounded down: differences of floors lose nothing over time."""
    unit: int = 10 ** abs(scaler)
    return register * unit if scaler >= 0 else register // unit


def digest_of(what: str, content: bytes) -> bytes:
    """Tagged SHA-256 of canonical bytes, as in ledger/hashing.py; meters/ makes the same ones."""
    tag = sha256(bytes(f"gridquorum/{what}/1", "utf-8"))
    return sha256(tag + tag + content)
