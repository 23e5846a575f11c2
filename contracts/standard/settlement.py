"""Settlement: every interval of every community closes by itself, once, to the watt-hour and the nano-euro.

The first accepted reading opens an interval and fixes its key and its deadline. When the last expected reading is in,
or at the deadline, a call that this contract scheduled settles it in three stages, chunk by chunk, so that a large
community takes as many calls as it needs: GATHER reads every home's load and PV; ALLOCATE splits the pool; BOOK
writes statements and money.

Per home and interval: own use is the smaller of load and PV (both meters stand behind one connection). What is left
of PV is the home's part of the pool, what is left of load its need. The key gives the pool to needs; what generators
sold is split over them in proportion to what they offered. The rest of a need is bought from the supplier, the rest
of PV is fed in. Money is Wh x micro-EUR/kWh = nano-EUR, exactly; the lines of an interval sum to 0. A reading that
never came counts as 0 Wh and is named in the statement as missing.
"""

from contracts import (
    Address,
    Contract,
    Event,
    Interface,
    Map,
    Struct,
    ctx,
    emit,
    external,
    init,
    invariant,
    require,
    schedule,
    scheduled,
    view,
)  # fmt: skip

CHUNKS_PER_CALL = 10  # of 50 homes: about a quarter of a call's gas
METERS_PER_CALL = 800  # as many as one chunk can have: 2 of 5 million gas if each is in a group of its own
OPEN_MAX = 2_000  # intervals of one community that wait for readings at one time


class Terms(Struct):
    zone: str
    interval_s: int
    completion_wait_s: int
    supplier: Address
    feed_in: Address
    grid: Address


class Key(Struct):
    version: int
    kind: str
    effective_from: int
    homes: int
    meters: int
    chunks: int


class Seat(Struct):
    home: str
    owner: Address
    ppm: int
    load_meters: list[str]
    pv_meters: list[str]


class Tariff(Struct):
    effective_from: int
    supply: int
    feed_in: int
    community: int
    grid_fee: int
    community_grid_fee: int


class Line(Struct):
    account: Address
    amount: int


class IReadings(Interface):
    def values(self, meters: list[str], start: int) -> list[int]: ...


class ICommunities(Interface):
    def terms(self, community: str) -> Terms: ...

    def has_key(self, community: str, start: int) -> bool: ...

    def key_at(self, community: str, start: int) -> Key: ...

    def seats(self, community: str, version: int, chunk: int) -> list[Seat]: ...

    def share_out(
        self, kind: str, shares: list[int], needs: list[int], offers: list[int]
    ) -> tuple[list[int], list[int]]: ...


class ITariffs(Interface):
    def covers(self, zone: str, start: int) -> bool: ...

    def at(self, zone: str, start: int) -> Tariff: ...


class ICash(Interface):
    def post(self, lines: list[Line]) -> None: ...


class Interval(Struct):
    stage: str  # OPEN, GATHER, ALLOCATE, BOOK, SETTLED
    cursor: int  # next chunk of the stage
    deadline: int
    received: int
    missing: int
    clearing: int  # nano-EUR between the chunks of a booking; 0 at its end
    key: Key


class Gathered(Struct):
    home: str
    owner: Address
    ppm: int
    load_wh: int
    pv_wh: int
    missing: int


class Split(Struct):
    bought_wh: int  # from the community
    sold_wh: int  # to the community


class Statement(Struct):
    """Of one home and interval, or summed. Money in nano-EUR from the home's side: what it pays is below 0."""

    intervals: int
    load_wh: int
    pv_wh: int
    own_use_wh: int
    bought_wh: int
    sold_wh: int
    import_wh: int
    export_wh: int
    supply: int
    grid: int
    bought: int
    sold: int
    feed_in: int
    net: int
    missing: int


class Settled(Event):
    community: str
    start: int
    missing: int


class Settlement(Contract):
    readings: Address
    communities: Address
    tariffs: Address
    cash: Address
    intervals: Map[tuple[str, int], Interval]
    open_starts: Map[str, list[int]]
    watched: Map[str, bool]  # a deadline call is scheduled
    newest_starts: Map[str, int]
    newest_of_zone: Map[str, int]
    gathered: Map[tuple[str, int, int], list[Gathered]]
    splits: Map[tuple[str, int, int], list[Split]]
    statements: Map[tuple[str, str, int], Statement]
    home_sums: Map[tuple[str, str], Statement]
    community_sums: Map[str, Statement]
    everything: Statement

    @init
    def setup(self, readings: Address, communities: Address, tariffs: Address, cash: Address) -> None:
        self.readings = readings
        self.communities = communities
        self.tariffs = tariffs
        self.cash = cash

    @view
    def admits(self, community: str, start: int) -> str:
        """What speaks against a reading of that interval: `too_late`, `no_terms`, or nothing."""
        stage = self.intervals[(community, start)].stage
        if stage == "OPEN" or stage == "GATHER":
            return ""
        if stage != "":
            return "too_late"
        directory = ICommunities(self.communities)
        if not directory.has_key(community, start) or len(self.open_starts[community]) >= OPEN_MAX:
            return "no_terms"
        return "" if ITariffs(self.tariffs).covers(directory.terms(community).zone, start) else "no_terms"

    @external
    def arrived(self, community: str, start: int, count: int) -> None:
        """The readings contract accepted `count` readings of an interval that `admits` let in."""
        require(ctx.sender == self.readings, "NOT_READINGS")
        interval = self.intervals[(community, start)]
        if interval.stage == "":
            interval = self.open_interval(community, start)
        received = interval.received + count
        stage = interval.stage
        if stage == "OPEN" and received >= interval.key.meters:
            stage = "GATHER"
            schedule(ctx.time, "settle", community, start)
        self.intervals[(community, start)] = Interval(stage, 0, interval.deadline, received, 0, 0, interval.key)

    @scheduled
    def settle(self, community: str, start: int) -> None:
        """Go on with the settlement of an interval; what is left for another call is scheduled as one."""
        interval = self.intervals[(community, start)]
        read = 0
        for step in range(CHUNKS_PER_CALL):
            if interval.stage == "GATHER":
                seats = ICommunities(self.communities).seats(community, interval.key.version, interval.cursor)
                names = meters_of(seats)
                read += len(names)
                if step > 0 and read > METERS_PER_CALL:
                    break
                interval = self.gather(community, start, interval, seats, names)
            elif interval.stage == "ALLOCATE":
                interval = self.allocate(community, start, interval)
            elif interval.stage == "BOOK":
                interval = self.book(community, start, interval)
        self.intervals[(community, start)] = interval
        if interval.stage == "SETTLED":
            self.open_starts[community] = [other for other in self.open_starts[community] if other != start]
        elif interval.stage != "OPEN":
            schedule(ctx.time, "settle", community, start)

    @scheduled
    def watch(self, community: str) -> None:
        """Settle every interval whose deadline has passed, and look again when the next one passes.

        A settlement that failed for good is tried again by the watch that the community's next interval sets.
        """
        next_due = 0
        for start in self.open_starts[community]:
            interval = self.intervals[(community, start)]
            if interval.deadline > ctx.time:
                next_due = interval.deadline if next_due == 0 else min(next_due, interval.deadline)
            else:
                if interval.stage == "OPEN":
                    self.intervals[(community, start)] = restaged(interval, "GATHER", 0)
                schedule(ctx.time, "settle", community, start)
        self.watched[community] = next_due > 0
        if next_due > 0:
            schedule(next_due, "watch", community)

    @view
    def interval(self, community: str, start: int) -> Interval:
        return self.intervals[(community, start)]

    @view
    def interval_statement(self, community: str, home: str, start: int) -> Statement:
        require((community, home, start) in self.statements, "NO_STATEMENT")
        return self.statements[(community, home, start)]

    @view
    def home_totals(self, community: str, home: str) -> Statement:
        return self.home_sums[(community, home)]

    @view
    def totals(self, community: str) -> Statement:
        return self.community_sums[community]

    @view
    def waiting(self, community: str) -> list[int]:
        """Starts of the intervals that are open, oldest opened first."""
        return self.open_starts[community]

    @view
    def newest_opened(self, community: str) -> int:
        return self.newest_starts[community]

    @view
    def newest_in_zone(self, zone: str) -> int:
        return self.newest_of_zone[zone]

    @invariant
    def energy_balances(self) -> bool:
        """ENERGY 6.2, over everything ever booked: load and PV are covered and used to the watt-hour."""
        total = self.everything
        load = total.own_use_wh + total.bought_wh + total.import_wh
        return total.load_wh == load and total.pv_wh == total.own_use_wh + total.sold_wh + total.export_wh

    @invariant
    def bills_add_up(self) -> bool:
        total = self.everything
        return total.net == total.supply + total.grid + total.bought + total.sold + total.feed_in

    def open_interval(self, community: str, start: int) -> Interval:
        directory = ICommunities(self.communities)
        terms = directory.terms(community)
        deadline = max(ctx.time, start + terms.interval_s) + terms.completion_wait_s
        self.open_starts[community] = self.open_starts[community] + [start]
        self.newest_starts[community] = max(self.newest_starts[community], start)
        self.newest_of_zone[terms.zone] = max(self.newest_of_zone[terms.zone], start)
        if not self.watched[community]:
            self.watched[community] = True
            schedule(deadline, "watch", community)
        return Interval("OPEN", 0, deadline, 0, 0, 0, directory.key_at(community, start))

    def gather(self, community: str, start: int, interval: Interval, seats: list[Seat], names: list[str]) -> Interval:
        """Read one chunk of homes. Whether an interval is complete is decided here, by what is really there."""
        values = IReadings(self.readings).values(names, start)
        missing = len([value for value in values if value < 0])
        if missing > 0 and ctx.time < interval.deadline:
            return restaged(interval, "OPEN", 0)
        chunk: list[Gathered] = []
        place = 0
        for seat in seats:
            middle = place + len(seat.load_meters)
            end = middle + len(seat.pv_meters)
            load = measured(values[place:middle])
            pv = measured(values[middle:end])
            absent = len([value for value in values[place:end] if value < 0])
            chunk.append(Gathered(seat.home, seat.owner, seat.ppm, load, pv, absent))
            place = end
        self.gathered[(community, start, interval.cursor)] = chunk
        following = interval.cursor + 1
        return Interval(
            "GATHER" if following < interval.key.chunks else "ALLOCATE",
            following if following < interval.key.chunks else 0,
            interval.deadline, interval.received, interval.missing + missing, 0, interval.key,
        )  # fmt: skip

    def allocate(self, community: str, start: int, interval: Interval) -> Interval:
        """Split the pool over all homes at once: the largest remainders are only known when all are."""
        shares: list[int] = []
        needs: list[int] = []
        offers: list[int] = []
        for number in range(interval.key.chunks):
            for home in self.gathered[(community, start, number)]:
                shares.append(home.ppm)
                needs.append(max(0, home.load_wh - home.pv_wh))
                offers.append(max(0, home.pv_wh - home.load_wh))
        bought, sold = ICommunities(self.communities).share_out(interval.key.kind, shares, needs, offers)
        place = 0
        for number in range(interval.key.chunks):
            end = place + len(self.gathered[(community, start, number)])
            self.splits[(community, start, number)] = [Split(bought[i], sold[i]) for i in range(place, end)]
            place = end
        return restaged(interval, "BOOK", interval.missing)

    def book(self, community: str, start: int, interval: Interval) -> Interval:
        """Write the statements of one chunk of homes and post their money; the chunks clear to 0 together."""
        terms = ICommunities(self.communities).terms(community)
        tariff = ITariffs(self.tariffs).at(terms.zone, start)
        homes = self.gathered[(community, start, interval.cursor)]
        splits = self.splits[(community, start, interval.cursor)]
        lines: list[Line] = []
        chunk = Statement(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        for i in range(len(homes)):
            home = homes[i]
            statement = state(home, splits[i], tariff)
            self.statements[(community, home.home, start)] = statement
            self.home_sums[(community, home.home)] = added(self.home_sums[(community, home.home)], statement)
            lines.append(Line(home.owner, statement.net))
            chunk = added(chunk, statement)
        self.community_sums[community] = added(self.community_sums[community], chunk)
        self.everything = added(self.everything, chunk)
        clearing = interval.clearing + chunk.bought + chunk.sold
        lines.append(Line(terms.supplier, -chunk.supply))
        lines.append(Line(terms.feed_in, -chunk.feed_in))
        lines.append(Line(terms.grid, -chunk.grid))
        lines.append(Line(ctx.address, -(chunk.bought + chunk.sold)))
        ICash(self.cash).post(lines)
        del self.gathered[(community, start, interval.cursor)]
        del self.splits[(community, start, interval.cursor)]
        following = interval.cursor + 1
        if following < interval.key.chunks:
            return Interval(
                "BOOK", following, interval.deadline, interval.received, interval.missing, clearing, interval.key
            )
        require(clearing == 0, "NOT_CLEARED")
        emit(Settled(community, start, interval.missing))
        return restaged(interval, "SETTLED", interval.missing)


def state(home: Gathered, part: Split, tariff: Tariff) -> Statement:
    """The statement of one home and interval: every Wh and every nano-euro of it."""
    own = min(home.load_wh, home.pv_wh)
    imported = home.load_wh - own - part.bought_wh
    exported = home.pv_wh - own - part.sold_wh
    supply = -imported * tariff.supply
    grid = -imported * tariff.grid_fee - part.bought_wh * tariff.community_grid_fee
    bought = -part.bought_wh * tariff.community
    sold = part.sold_wh * tariff.community
    feed_in = exported * tariff.feed_in
    return Statement(
        1, home.load_wh, home.pv_wh, own, part.bought_wh, part.sold_wh, imported, exported,
        supply, grid, bought, sold, feed_in, supply + grid + bought + sold + feed_in, home.missing,
    )  # fmt: skip


def added(a: Statement, b: Statement) -> Statement:
    return Statement(
        a.intervals + b.intervals, a.load_wh + b.load_wh, a.pv_wh + b.pv_wh, a.own_use_wh + b.own_use_wh,
        a.bought_wh + b.bought_wh, a.sold_wh + b.sold_wh, a.import_wh + b.import_wh, a.export_wh + b.export_wh,
        a.supply + b.supply, a.grid + b.grid, a.bought + b.bought, a.sold + b.sold, a.feed_in + b.feed_in,
        a.net + b.net, a.missing + b.missing,
    )  # fmt: skip


def meters_of(seats: list[Seat]) -> list[str]:
    """The meters of a chunk of homes, home by home, loads first."""
    names: list[str] = []
    for seat in seats:
        names.extend(seat.load_meters)
        names.extend(seat.pv_meters)
    return names


def measured(values: list[int]) -> int:
    """Their sum in Wh; a value that is missing counts 0."""
    return sum([max(0, value) for value in values])


def restaged(interval: Interval, stage: str, missing: int) -> Interval:
    return Interval(stage, 0, interval.deadline, interval.received, missing, 0, interval.key)
