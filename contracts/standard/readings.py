"""Readings: keeps what gateways send, in columns, and finds by whole columns what simply continues it.

A batch is one interval of one group of meters (contract `meters`), in columns by place, and so is what is kept of an
interval. Nearly every reading continues the one before it without a remark: those are found by comparing columns
(`compare`). Every other one is judged by itself, by contract `judges`, which is told what is kept around its interval;
for readings that the columns let pass its rules come to the same code. What is refused leaves the others of its batch
untouched. All checks use the agreed time of the block.
"""

from contracts import Address, Contract, Interface, Map, Struct, canonical, ctx, external, init, require, sha256, view

VERSION = 1
BATCH_MAX = 100  # places of one call, and of a group
GROUP_NAME_MAX = 64
FUTURE_MAX_S = 60  # how far ahead of the agreed time an interval may end: clocks differ
REORDER_MAX = 64  # intervals before the newest record: so far back a late one may lie
REGISTER_MAX = 1_000_000_000_000_000_000  # in units of the register
SEQUENCE_MAX = 9_223_372_036_854_775_808
TIME_MAX = 1_099_511_627_776
STATES = 64  # a state is below
NOTHING = "-"  # no reading at this place
DOUBT = "?"  # stands for the code of a reading that is judged by itself


class Roster(Struct):
    community: str
    interval_s: int
    scaler: int
    active_from: int
    until: int
    limit_wh: int
    kinds: str


class Place(Struct):
    group: str
    number: int


class IMeters(Interface):
    def roster(self, group: str, gateway: Address) -> Roster: ...

    def limits(self, group: str, gateway: Address, start: int, first: int, last: int) -> list[int]: ...

    def places_of(self, names: list[str]) -> list[Place]: ...


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
    kinds: str  # the register that is read, `i` import, `e` export, or NOTHING
    sequences: list[int]  # +1 for each record of the meter; 0 where there is no reading, as in the next two
    registers: list[int]
    energies: list[int]
    states: bytes  # flags, and 32 more when calculated; empty when all are 0


class Source(Struct):  # a batch that brought readings into a row
    firmware: bytes
    previous: bytes
    digest: bytes


class Record(Struct):  # an accepted reading, out of its columns
    start: int
    sequence: int
    register: int
    wh: int
    state: int
    source: Source


class Near(Struct):  # what is kept of a place at and around an interval; each list has one record or none
    newest: int  # start of the newest record, 0 if there is none
    here: list[Record]  # of this interval, or of one that crosses it
    before: list[Record]
    after: list[Record]


class Verdict(Struct):
    code: str
    community: str


class Accepted(Struct):
    start: int
    sequence: int
    register_wh: int
    wh: int
    digest: bytes
    before: int


class IJudges(Interface):
    def judge(self, batch: Batch, places: list[int], around: list[Near], gateway: Address) -> list[Verdict]: ...

    def accepted(self, name: str, record: Record, before: int) -> Accepted: ...


class Row(Struct):
    """The accepted readings of one interval of a group, by place; their energies are a row of their own."""

    sequences: list[int]  # 0: none
    registers: list[int]
    sources: list[Source]
    marks: dict[int, int]  # STATES * number of the source + state, where that is not 0
    links: dict[int, int]  # start of the record before, where that is not of the interval before; 0 in the first


class Tail(Struct):
    """Where the records of a group stand."""

    start: int  # of the newest row
    length_s: int  # of the group's intervals
    older: dict[int, int]  # start of a place's newest record, where that is not in the newest row


class Scene(Struct):
    """What is known and found out while one batch is judged; the dicts grow."""

    group: str
    tail: Tail
    rows: dict[int, Row]  # as before this batch
    energies: dict[int, list[int]]
    links: dict[int, int]  # of the row that is made
    followers: dict[int, list[int]]  # by interval start: places whose record there comes after a late one


class Readings(Contract):
    meters: Address
    judges: Address
    settlement: Address
    rows: Map[tuple[str, int], Row]  # by group and interval start
    energies: Map[tuple[str, int], list[int]]  # of the same, in Wh; -1: none. Alone: settlement reads only these
    tails: Map[str, Tail]  # by group

    @init
    def setup(self, meters: Address, judges: Address, settlement: Address) -> None:
        self.meters = meters
        self.judges = judges
        self.settlement = settlement

    @external
    def submit(self, batches: list[Batch]) -> list[str]:
        """Judge batches in their order; returns one code for each of their places (README.md has the table)."""
        require(len(batches) > 0 and sum([len(batch.kinds) for batch in batches]) <= BATCH_MAX, "BATCH_SIZE")
        codes: list[str] = []
        for batch in batches:
            require(has_shape(batch), "BATCH_SHAPE")
            codes.extend(self.judge_batch(batch))
        return codes

    @view
    def reading(self, meter: str, start: int) -> Accepted:
        return self.accepted(meter, start, False)

    @view
    def last(self, meter: str) -> Accepted:
        return self.accepted(meter, 0, True)

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

    def judge_batch(self, batch: Batch) -> list[str]:
        """The codes of a batch; what is usable is kept."""
        roster = IMeters(self.meters).roster(batch.group, ctx.sender)
        scene = Scene(batch.group, self.tails[batch.group], {}, {}, {}, {})
        settlement = ISettlement(self.settlement)
        codes = [DOUBT for kind in batch.kinds]
        if is_plain(batch, roster, scene.tail) and settlement.admits(roster.community, batch.start) == "":
            before = self.row_at(scene, batch.start - batch.length_s)
            codes = self.compare(batch, roster, before, self.row_at(scene, batch.start))
        doubtful = [i for i in range(len(codes)) if codes[i] == DOUBT] if DOUBT in codes else []
        sure = len(batch.kinds.replace(NOTHING, "")) - len([i for i in doubtful if batch.kinds[i] != NOTHING])
        arrived = {roster.community: sure}
        if len(doubtful) > 0:
            around = [self.look_around(scene, batch, batch.first + i) for i in doubtful]
            verdicts = IJudges(self.judges).judge(batch, doubtful, around, ctx.sender)
            for i, near, verdict in zip(doubtful, around, verdicts):  # noqa: B905
                codes[i] = verdict.code
                if is_usable(verdict.code):
                    arrived[verdict.community] = arrived.get(verdict.community, 0) + 1
                    link = near.before[0].start if len(near.before) > 0 else 0
                    if link + batch.length_s != batch.start:
                        scene.links[batch.first + i] = link
                    for record in near.after:
                        scene.followers[record.start] = scene.followers.get(record.start, []) + [batch.first + i]
        usable = sum([arrived[community] for community in arrived])
        if usable > 0:
            self.keep(scene, batch, codes, usable == len(codes))
        for community in arrived:
            if arrived[community] > 0:
                settlement.arrived(community, batch.start, arrived[community])
        return codes

    def compare(self, batch: Batch, roster: Roster, before: Row, here: Row) -> list[str]:
        """The codes of readings that simply continue the row before, DOUBT for others: all at once, else each place."""
        last = batch.first + len(batch.kinds)
        kinds = roster.kinds[batch.first : last]
        sequences = [sequence + 1 for sequence in column(before.sequences, batch.first, last)]
        registers = in_wh(column(before.registers, batch.first, last), batch.scaler)
        claimed = in_wh(batch.registers, batch.scaler)
        present = column(here.sequences, batch.first, last)
        joins = ["accepted" if source.digest == batch.previous else "gap" for source in before.sources]
        in_time = batch.start >= roster.active_from and batch.start + batch.length_s <= roster.until
        in_bounds = in_time and max(batch.energies) <= roster.limit_wh
        if (
            in_bounds
            and len(joins) == 1
            and batch.kinds == kinds
            and NOTHING not in kinds
            and len(batch.states) == 0
            and max(present) == 0
            and min(sequences) > 1
            and batch.sequences == sequences
            and max(sequences) < SEQUENCE_MAX
            and min(batch.energies) >= 0
            and max(batch.registers) < REGISTER_MAX
            and claimed == [register + wh for register, wh in zip(registers, batch.energies)]  # noqa: B905
        ):
            return [joins[0] for kind in kinds]
        limits = [roster.limit_wh for kind in kinds]
        if not in_bounds:
            limits = IMeters(self.meters).limits(batch.group, ctx.sender, batch.start, batch.first, last)
        codes: list[str] = []
        for i in range(len(kinds)):
            wh = batch.energies[i]
            code = DOUBT
            if batch.kinds[i] == NOTHING:
                if batch.sequences[i] == 0 and batch.registers[i] == 0 and wh == 0 and state_of(batch, i) == 0:
                    code = ""
            elif (
                batch.kinds[i] == kinds[i]
                and state_of(batch, i) == 0
                and present[i] == 0
                and sequences[i] > 1
                and batch.sequences[i] == sequences[i]
                and sequences[i] < SEQUENCE_MAX
                and wh >= 0
                and wh <= limits[i]
                and batch.registers[i] < REGISTER_MAX
                and claimed[i] == registers[i] + wh
            ):
                code = joins[before.marks.get(batch.first + i, 0) // STATES]
            codes.append(code)
        return codes

    def look_around(self, scene: Scene, batch: Batch, number: int) -> Near:
        """What is kept of a place at and around the interval of a batch."""
        newest = self.newest_of(scene, number)
        grid = scene.tail.length_s
        nothing = Near(newest, [], [], [])
        if newest == 0 or max(abs(batch.start), abs(batch.length_s)) >= TIME_MAX:
            return nothing
        final = batch.start + batch.length_s - 1
        for start in [batch.start - batch.start % grid, final - final % grid]:
            if holds(self.row_at(scene, start), number):
                return Near(newest, [self.record_at(scene, start, number)], [], [])
        if batch.start % grid != 0 or batch.start < newest - REORDER_MAX * grid:
            return nothing
        if newest < batch.start:
            return Near(newest, [], [self.record_at(scene, newest, number)], [])
        after = batch.start + grid
        while not self.has_energy(scene, after, number):  # the newest is at most REORDER_MAX intervals on
            after += grid
        link = self.row_at(scene, after).links[number]
        before = [self.record_at(scene, link, number)] if link > 0 else []
        return Near(newest, [], before, [self.record_at(scene, after, number)])

    def accepted(self, name: str, start: int, is_last: bool) -> Accepted:
        """The record of a meter in an interval, or its newest."""
        place = IMeters(self.meters).places_of([name])[0]
        scene = Scene(place.group, self.tails[place.group], {}, {}, {}, {})
        found = self.newest_of(scene, place.number) if is_last else start
        row = self.row_at(scene, found)
        require(holds(row, place.number), "NO_READING")
        before = row.links.get(place.number, found - scene.tail.length_s)
        return IJudges(self.judges).accepted(name, self.record_at(scene, found, place.number), before)

    def keep(self, scene: Scene, batch: Batch, codes: list[str], is_whole: bool) -> None:
        """Write the row, and where the records of the group stand now."""
        row = self.row_at(scene, batch.start)
        places = list(range(batch.first, batch.first + len(codes)))
        if not is_whole:
            places = [number for number in places if is_usable(codes[number - batch.first])]
        source = STATES * len(row.sources)
        if source > 0 or len(batch.states) > 0:
            for number in places:
                state = state_of(batch, number - batch.first)
                if source + state > 0:
                    row.marks[number] = source + state
        for number in scene.links:
            row.links[number] = scene.links[number]
        energies = self.energies[(batch.group, batch.start)]
        self.energies[(batch.group, batch.start)] = merged(energies, batch.energies, batch.first, places, -1)
        self.rows[(batch.group, batch.start)] = Row(
            merged(row.sequences, batch.sequences, batch.first, places, 0),
            merged(row.registers, batch.registers, batch.first, places, 0),
            row.sources + [Source(batch.firmware, batch.previous, digest_of(batch))],
            row.marks,
            row.links,
        )
        for start in scene.followers:
            self.link_followers(scene, batch, start)
        self.move_tail(scene, batch, places)

    def link_followers(self, scene: Scene, batch: Batch, start: int) -> None:
        """The records of an interval that came after the ones before late ones now come after those."""
        row = self.row_at(scene, start)
        for number in scene.followers[start]:
            if batch.start + batch.length_s == start:
                row.links.pop(number)
            else:
                row.links[number] = batch.start
        self.rows[(batch.group, start)] = row

    def move_tail(self, scene: Scene, batch: Batch, places: list[int]) -> None:
        """The newest row of the group, and the newest records of those who are not in it."""
        tail = scene.tail
        older = tail.older
        newest = self.row_at(scene, tail.start)
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
        self.tails[batch.group] = Tail(max(tail.start, batch.start), batch.length_s, older)

    def row_at(self, scene: Scene, start: int) -> Row:
        """A row as it was before this batch, read once."""
        if start not in scene.rows:
            scene.rows[start] = self.rows[(scene.group, start)]
        return scene.rows[start]

    def has_energy(self, scene: Scene, start: int, number: int) -> bool:
        """Had a place a record before this batch? Asked of the energies: their cost is the same however they came."""
        if start not in scene.energies:
            scene.energies[start] = self.energies[(scene.group, start)]
        energies = scene.energies[start]
        return number < len(energies) and energies[number] >= 0

    def record_at(self, scene: Scene, start: int, number: int) -> Record:
        """One record of a row that holds it."""
        row = self.row_at(scene, start)
        if start not in scene.energies:
            scene.energies[start] = self.energies[(scene.group, start)]
        mark = row.marks.get(number, 0)
        return Record(
            start, row.sequences[number], row.registers[number], scene.energies[start][number], mark % STATES,
            row.sources[mark // STATES],
        )  # fmt: skip

    def newest_of(self, scene: Scene, number: int) -> int:
        """Start of the newest record of a place before this batch, 0 if there is none."""
        tail = scene.tail
        return tail.start if holds(self.row_at(scene, tail.start), number) else tail.older.get(number, 0)


def has_shape(batch: Batch) -> bool:
    """Columns of one length, at places that a group can have: else its readings could not be told apart."""
    count = len(batch.kinds)
    if len(batch.sequences) != count or len(batch.registers) != count or len(batch.energies) != count:
        return False
    is_in_group = count > 0 and batch.first >= 0 and batch.first + count <= BATCH_MAX
    return is_in_group and len(batch.group) <= GROUP_NAME_MAX and (len(batch.states) == 0 or len(batch.states) == count)


def is_plain(batch: Batch, roster: Roster, tail: Tail) -> bool:
    """Is what the readings share as it must be, from the gateway of a roster, for the newest interval or the next?"""
    if batch.version != VERSION or batch.chain != ctx.network or len(batch.firmware) != 32:
        return False
    if len(batch.previous) != 32 and len(batch.previous) != 0:
        return False
    if roster.interval_s == 0 or batch.length_s != roster.interval_s or batch.scaler != roster.scaler:
        return False
    is_over = batch.start + batch.length_s <= ctx.time + FUTURE_MAX_S
    return is_over and tail.start > 0 and (batch.start == tail.start or batch.start == tail.start + batch.length_s)


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
    unit: int = 10 ** abs(scaler)
    if scaler == 0:
        return registers
    return [register * unit if scaler > 0 else register // unit for register in registers]


def holds(row: Row, number: int) -> bool:
    return number < len(row.sequences) and row.sequences[number] > 0


def state_of(batch: Batch, i: int) -> int:
    return batch.states[i] if len(batch.states) > 0 else 0


def is_usable(code: str) -> bool:
    return code == "accepted" or code == "gap" or code == "out_of_order"


def digest_of(batch: Batch) -> bytes:
    """What the group's next batch names: tagged SHA-256 of canonical bytes, as in ledger/hashing.py and meters/."""
    tag = sha256(bytes("gridquorum/readings/1", "utf-8"))
    return sha256(tag + tag + canonical(batch))
