"""Meters: from a gateway's request over an electrician's certificate to a meter whose readings count.

REQUESTED: a gateway made its key and asks for meters behind it. CERTIFIED: a listed electrician checked type, serial,
wiring, calibration and seals, and read the register. ACTIVE: the meter operator confirmed community and start. From
there SUSPENDED (by the operator, or by the readings contract on a fault that only tampering or a broken clock
explains) and back, or REVOKED from a time: readings of intervals before it stay good. One gateway key is bound to a
meter at any time.

A meter is a pseudonym; what it stands for is kept off chain. An exchanged or reset register is a new pseudonym.
"""

from contracts import Address, Contract, Event, Interface, Map, Struct, ctx, emit, external, init, require, role, view

BATCH_MAX = 100  # meters of one call
NAME_MAX = 64  # characters of a pseudonym
POWER_MAX_W = 10_000_000  # ten megawatts: beyond is a power station with a contract of its own
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


class Onboarded(Event):
    meter: str
    status: str


class Suspended(Event):
    meter: str
    cause: str


class Meters(Contract):
    certifiers: Address
    readings: Address
    requests: Map[str, Request]
    certificates: Map[str, Certified]
    meters: Map[str, Meter]

    @init
    def setup(self, certifiers: Address, readings: Address) -> None:
        self.certifiers = certifiers
        self.readings = readings

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

    @external
    @role("meter_operator")
    def suspend(self, name: str, cause: str) -> None:
        require(is_name(cause), "BAD_NAME")
        require(self.known(name).status == "ACTIVE", "NOT_ACTIVE")
        self.suspend_for(name, cause)

    @external
    def report(self, name: str, code: str) -> None:
        """The readings contract met a fault that takes a person to look at: the meter waits for its operator."""
        require(ctx.sender == self.readings, "NOT_READINGS")
        if self.known(name).status == "ACTIVE":
            self.suspend_for(name, code)

    @external
    @role("meter_operator")
    def reinstate(self, name: str) -> None:
        meter = self.known(name)
        require(meter.status == "SUSPENDED", "NOT_SUSPENDED")
        self.meters[name] = changed(meter, "ACTIVE", meter.gateway, meter.until, "")
        emit(Onboarded(name, "ACTIVE"))

    @external
    @role("meter_operator")
    def revoke(self, name: str, since: int) -> None:
        """Refuse readings of intervals that end after `since`; earlier ones that are still on their way stay good."""
        meter = self.known(name)
        require(meter.status == "ACTIVE" or meter.status == "SUSPENDED", "NOT_ACTIVE")
        require(since > 0 and since <= meter.until, "BAD_TIME")
        self.meters[name] = changed(meter, "REVOKED", meter.gateway, since, meter.cause)
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

    def known(self, name: str) -> Meter:
        require(name in self.meters, "UNKNOWN_METER")
        return self.meters[name]

    def suspend_for(self, name: str, cause: str) -> None:
        meter = self.meters[name]
        self.meters[name] = changed(meter, "SUSPENDED", meter.gateway, meter.until, cause)
        emit(Suspended(name, cause))


def changed(meter: Meter, status: str, gateway: Address, until: int, cause: str) -> Meter:
    return Meter(
        status, gateway, meter.home, meter.owner, meter.community, meter.kind, meter.scaler, meter.interval_s,
        meter.max_power_w, meter.register, meter.active_from, until, cause,
    )  # fmt: skip


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
