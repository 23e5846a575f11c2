"""Meters: from a gateway's request over an electrician's certificate to a meter whose readings count.

REQUESTED: a gateway made its key and asks for meters behind it. CERTIFIED: a listed electrician checked type, serial,
wiring, calibration and seals, and read the register. ACTIVE: the meter operator confirmed community and start. From
there SUSPENDED (by the operator, or by contract `judges` on a fault that only tampering or a broken clock
explains) and back, or REVOKED from a time: readings of intervals before it stay good. One gateway key is bound to a
meter at any time.

A meter is a pseudonym; what it stands for is kept off chain. An exchanged or reset register is a new pseudonym.

A request also gives a meter its place, for good: a number in a group of at most a hundred that one gateway asked for,
with one interval and one scaler. A group is named by its first meter. Readings travel and are kept in columns by
place, so what `readings` must know of a batch is one row, the roster of a group behind a gateway: which places count
on which register, and the tightest bounds of all of them.
"""

from contracts import Address, Contract, Event, Interface, Map, Struct, ctx, emit, external, init, require, role, view

BATCH_MAX = 100  # meters of one call
NAME_MAX = 64  # characters of a pseudonym
POWER_MAX_W = 10_000_000  # ten megawatts: beyond is a power station with a contract of its own
GROUP_MAX = 100  # places of a group: what one batch of readings carries
IMPORT = "i"  # a place on a roster whose import register counts
EXPORT = "e"
NOBODY = "-"  # a place without a meter, or whose meter's readings are judged one by one
EMPTY_ROSTER = "----------------------------------------------------------------------------------------------------"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"


class ICertifiers(Interface):
    def is_listed(self, key: Address, at: int) -> bool: ...


class Request(Struct):
    meter: str
    home: str
    owner: Address
    kind: str  # load: the import register counts; pv: the export register counts
    scaler: int  # the register counts in 10**scaler Wh
    interval_s: int
    max_power_w: int
    serial: bytes  # 32-byte digest of type approval and serial number


class Certificate(Struct):
    meter: str
    gateway: Address  # the key that the electrician saw on the device it sealed
    owner: Address
    register: int  # value at commissioning, in units of 10**scaler Wh
    seals: bytes  # 32-byte digest of the seal numbers and photographs
    calibrated_until: int


class Activation(Struct):
    meter: str
    community: str
    active_from: int


class Certified(Struct):
    electrician: Address
    at: int
    certificate: Certificate


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
    until: int  # readings of intervals from this time on are refused: calibration end or revocation
    cause: str  # of a suspension


class Place(Struct):
    group: str
    number: int


class Roster(Struct):
    """The meters of a group that are ACTIVE behind one gateway in one community; others are judged one by one."""

    community: str
    interval_s: int
    scaler: int
    active_from: int  # the latest of them
    until: int  # the earliest
    limit_wh: int  # the least that one of them may count in an interval
    kinds: str  # IMPORT, EXPORT or NOBODY for each place of the group


class Bounds(Struct):
    """The bounds of a roster place by place, for readings beyond those that hold for all of them."""

    limits_wh: list[int]
    active_from: list[int]
    until: list[int]


class Onboarded(Event):
    meter: str
    status: str


class Suspended(Event):
    meter: str
    cause: str


class Meters(Contract):
    certifiers: Address
    judges: Address
    requests: Map[str, Request]
    certificates: Map[str, Certified]
    meters: Map[str, Meter]
    places: Map[str, Place]
    names: Map[tuple[str, int], str]  # by place
    sizes: Map[str, int]  # of groups
    open_groups: Map[tuple[Address, int, int], str]  # by gateway, interval and scaler: the group that still has places
    rosters: Map[tuple[str, Address], Roster]  # by group and gateway
    bounds_of: Map[tuple[str, Address], Bounds]

    @init
    def setup(self, certifiers: Address, judges: Address) -> None:
        self.certifiers = certifiers
        self.judges = judges

    @external
    def request(self, batch: list[Request]) -> None:
        """The sender asks to be the gateway of these meters; nothing counts before electrician and operator agree."""
        require(len(batch) > 0 and len(batch) <= BATCH_MAX, "BATCH_SIZE")
        for entry in batch:
            check_request(entry)
            require(entry.meter not in self.meters, "METER_TAKEN")
            self.requests[entry.meter] = entry
            self.meters[entry.meter] = Meter(
                "REQUESTED", ctx.sender, entry.home, entry.owner, "", entry.kind, entry.scaler, entry.interval_s,
                entry.max_power_w, 0, 0, 0, "",
            )  # fmt: skip
            self.give_place(entry)
            emit(Onboarded(entry.meter, "REQUESTED"))

    @external
    def certify(self, batch: list[Certificate]) -> None:
        """A listed electrician vouches for the meters as built and for the register value it read."""
        require(len(batch) > 0 and len(batch) <= BATCH_MAX, "BATCH_SIZE")
        require(ICertifiers(self.certifiers).is_listed(ctx.sender, ctx.time), "NOT_LISTED")
        for entry in batch:
            require(entry.register >= 0 and entry.register < 10**18, "BAD_REGISTER")
            require(len(entry.seals) == 32 and entry.calibrated_until > ctx.time, "BAD_CERTIFICATE")
            meter = self.known(entry.meter)
            require(meter.status == "REQUESTED", "NOT_REQUESTED")
            require(meter.gateway == entry.gateway and meter.owner == entry.owner, "FOREIGN_METER")
            self.certificates[entry.meter] = Certified(ctx.sender, ctx.time, entry)
            self.meters[entry.meter] = Meter(
                "CERTIFIED", meter.gateway, meter.home, meter.owner, "", meter.kind, meter.scaler, meter.interval_s,
                meter.max_power_w, entry.register, 0, entry.calibrated_until, "",
            )  # fmt: skip
            emit(Onboarded(entry.meter, "CERTIFIED"))

    @external
    @role("meter_operator")
    def activate(self, batch: list[Activation]) -> None:
        require(len(batch) > 0 and len(batch) <= BATCH_MAX, "BATCH_SIZE")
        for entry in batch:
            meter = self.known(entry.meter)
            require(meter.status == "CERTIFIED", "NOT_CERTIFIED")
            require(is_name(entry.community), "BAD_NAME")
            require(entry.active_from > 0 and entry.active_from % meter.interval_s == 0, "BAD_TIME")
            self.meters[entry.meter] = Meter(
                "ACTIVE", meter.gateway, meter.home, meter.owner, entry.community, meter.kind, meter.scaler,
                meter.interval_s, meter.max_power_w, meter.register, entry.active_from, meter.until, "",
            )  # fmt: skip
            emit(Onboarded(entry.meter, "ACTIVE"))
        self.enrol([entry.meter for entry in batch])

    @external
    @role("meter_operator")
    def suspend(self, name: str, cause: str) -> None:
        require(is_name(cause), "BAD_NAME")
        require(self.known(name).status == "ACTIVE", "NOT_ACTIVE")
        self.suspend_for(name, cause)

    @external
    def report(self, name: str, code: str) -> None:
        """The judges met a fault that takes a person to look at: the meter waits for its operator."""
        require(ctx.sender == self.judges, "NOT_JUDGES")
        if self.known(name).status == "ACTIVE":
            self.suspend_for(name, code)

    @external
    @role("meter_operator")
    def reinstate(self, name: str) -> None:
        meter = self.known(name)
        require(meter.status == "SUSPENDED", "NOT_SUSPENDED")
        self.meters[name] = changed(meter, "ACTIVE", meter.gateway, meter.until, "")
        self.enrol([name])
        emit(Onboarded(name, "ACTIVE"))

    @external
    @role("meter_operator")
    def revoke(self, name: str, since: int) -> None:
        """Refuse readings of intervals that end after `since`; earlier ones that are still on their way stay good."""
        meter = self.known(name)
        require(meter.status == "ACTIVE" or meter.status == "SUSPENDED", "NOT_ACTIVE")
        require(since > 0 and since <= meter.until, "BAD_TIME")
        self.meters[name] = changed(meter, "REVOKED", meter.gateway, since, meter.cause)
        self.strike(name, meter.gateway)
        emit(Onboarded(name, "REVOKED"))

    @external
    @role("meter_operator")
    def rebind(self, names: list[str], gateway: Address) -> None:
        """Put meters behind another gateway key, after a gateway was exchanged or rotated its key."""
        require(len(names) > 0 and len(names) <= BATCH_MAX, "BATCH_SIZE")
        for name in names:
            meter = self.known(name)
            require(meter.status != "REVOKED", "REVOKED")
            self.meters[name] = changed(meter, meter.status, gateway, meter.until, meter.cause)
            self.strike(name, meter.gateway)
        self.enrol(names)

    @view
    def meter(self, name: str) -> Meter:
        return self.known(name)

    @view
    def certificate(self, name: str) -> Certified:
        require(name in self.certificates, "NOT_CERTIFIED")
        return self.certificates[name]

    @view
    def records(self, names: list[str]) -> list[Meter]:
        """The meters of these names, in order; one that does not exist has an empty status."""
        return [self.meters[name] for name in names]

    @view
    def places_of(self, names: list[str]) -> list[Place]:
        """Group and number of each meter, for good; an empty group where there is no such meter."""
        return [self.places[name] for name in names]

    @view
    def names_at(self, group: str, numbers: list[int]) -> list[str]:
        """The meters at places of a group; an empty name where there is none."""
        return [self.names[(group, number)] for number in numbers]

    @view
    def roster(self, group: str, gateway: Address) -> Roster:
        return self.rosters[(group, gateway)]

    @view
    def limits(self, group: str, gateway: Address, start: int, first: int, last: int) -> list[int]:
        """Most Wh that each of these places may count in the interval from `start`; -1 out of a meter's time."""
        bounds = self.bounds_of[(group, gateway)]
        end = start + self.rosters[(group, gateway)].interval_s
        limits: list[int] = []
        for i in range(first, last):
            is_in_time = i < len(bounds.until) and start >= bounds.active_from[i] and end <= bounds.until[i]
            limits.append(bounds.limits_wh[i] if is_in_time else -1)
        return limits

    def known(self, name: str) -> Meter:
        require(name in self.meters, "UNKNOWN_METER")
        return self.meters[name]

    def suspend_for(self, name: str, cause: str) -> None:
        meter = self.meters[name]
        self.meters[name] = changed(meter, "SUSPENDED", meter.gateway, meter.until, cause)
        self.strike(name, meter.gateway)
        emit(Suspended(name, cause))

    def give_place(self, entry: Request) -> None:
        """The next place of the sender's open group, or the first of a new one."""
        alike = (ctx.sender, entry.interval_s, entry.scaler)
        group = self.open_groups[alike]
        if group == "" or self.sizes[group] == GROUP_MAX:
            group = entry.meter
            self.open_groups[alike] = group
        number = self.sizes[group]
        self.sizes[group] = number + 1
        self.names[(group, number)] = entry.meter
        self.places[entry.meter] = Place(group, number)

    def enrol(self, names: list[str]) -> None:
        """Put those that are ACTIVE on the rosters of their gateways. Neighbours in the list that share a roster, as
        the meters of a gateway are, cost one write."""
        group = ""
        gateway = ctx.sender
        roster = self.rosters[(group, gateway)]
        bounds = self.bounds_of[(group, gateway)]
        for name in names:
            meter = self.meters[name]
            place = self.places[name]
            if place.group != group or meter.gateway != gateway:
                self.keep(group, gateway, roster, bounds)
                group = place.group
                gateway = meter.gateway
                roster = self.rosters[(group, gateway)]
                bounds = self.bounds_of[(group, gateway)]
            if meter.status == "ACTIVE" and (roster.kinds == "" or roster.community == meter.community):
                roster = enrolled(roster, meter, place.number)
                bounds = Bounds(
                    put(bounds.limits_wh, place.number, limit_of(meter)),
                    put(bounds.active_from, place.number, meter.active_from),
                    put(bounds.until, place.number, meter.until),
                )
        self.keep(group, gateway, roster, bounds)

    def keep(self, group: str, gateway: Address, roster: Roster, bounds: Bounds) -> None:
        if roster.kinds != "":
            self.rosters[(group, gateway)] = roster
            self.bounds_of[(group, gateway)] = bounds

    def strike(self, name: str, gateway: Address) -> None:
        """Take a meter off a roster, if it is on it. The bounds stay as tight as they were until nobody is left."""
        place = self.places[name]
        key = (place.group, gateway)
        if key in self.rosters:
            roster = self.rosters[key]
            kinds = marked(roster.kinds, place.number, NOBODY)
            if kinds == EMPTY_ROSTER:
                del self.rosters[key]
                del self.bounds_of[key]
            elif kinds != roster.kinds:
                self.rosters[key] = Roster(
                    roster.community, roster.interval_s, roster.scaler, roster.active_from, roster.until,
                    roster.limit_wh, kinds,
                )  # fmt: skip


def changed(meter: Meter, status: str, gateway: Address, until: int, cause: str) -> Meter:
    return Meter(
        status, gateway, meter.home, meter.owner, meter.community, meter.kind, meter.scaler, meter.interval_s,
        meter.max_power_w, meter.register, meter.active_from, until, cause,
    )  # fmt: skip


def enrolled(roster: Roster, meter: Meter, number: int) -> Roster:
    """The roster with one more meter."""
    is_first = roster.kinds == ""
    limit = limit_of(meter)
    return Roster(
        meter.community, meter.interval_s, meter.scaler,
        meter.active_from if is_first else max(roster.active_from, meter.active_from),
        meter.until if is_first else min(roster.until, meter.until),
        limit if is_first else min(roster.limit_wh, limit),
        marked(EMPTY_ROSTER if is_first else roster.kinds, number, IMPORT if meter.kind == "load" else EXPORT),
    )  # fmt: skip


def limit_of(meter: Meter) -> int:
    """Most Wh of one interval: certified power x time x 1.1, W * s * 11 / (3600 * 10), rounded down."""
    return meter.max_power_w * meter.interval_s * 11 // 36_000


def marked(kinds: str, number: int, kind: str) -> str:
    return kinds[:number] + kind + kinds[number + 1 :]


def put(column: list[int], number: int, value: int) -> list[int]:
    """A column with one value set, filled with zeros up to it."""
    filled = column + [0 for missing in range(number + 1 - len(column))]
    filled[number] = value
    return filled


def check_request(entry: Request) -> None:
    require(is_name(entry.meter) and is_name(entry.home), "BAD_NAME")
    require(entry.kind == "load" or entry.kind == "pv", "BAD_KIND")
    require(entry.scaler >= -4 and entry.scaler <= 3, "BAD_SCALER")
    require(entry.interval_s >= 60 and entry.interval_s <= 86_400 and 86_400 % entry.interval_s == 0, "BAD_INTERVAL")
    require(entry.max_power_w > 0 and entry.max_power_w <= POWER_MAX_W, "BAD_POWER")
    require(len(entry.serial) == 32, "BAD_SERIAL")


def is_name(text: str) -> bool:
    """1 to 64 of the letters, digits, dot, underscore and hyphen: safe in every key, digest and bill."""
    if len(text) == 0 or len(text) > NAME_MAX:
        return False
    return all([character in ALPHABET for character in text])
