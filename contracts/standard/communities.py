"""Energy communities: their terms, their homes, and the key by which they share their surplus.

A community is founded with its terms and a manager. Homes join with all their meters. A sharing key is a numbered
version with the time from which it holds: which homes take part, with what share in parts per million (ENERGY 5.1):

- static: fixed shares, each capped by what the home needs in the interval; what a cap frees goes to the grid;
- dynamic: in proportion to what each home needs in the interval;
- hybrid: static first, then one round over what is left, in proportion to the need that is left.

A version never changes an interval that has begun to settle: it holds only after the newest interval that was opened.
"""

from contracts import Address, Contract, Event, Interface, Map, Struct, ctx, emit, external, init, require, role, view

PPM = 1_000_000  # shares of a static or hybrid key sum to this
HOMES_MAX = 1_000  # of one key: what one transaction can carry and one settlement can split
CHUNK_HOMES = 50  # homes stored, and later settled, together
METERS_MAX = 16  # of one home
BATCH_MAX = 100  # homes of one `join`
NAME_MAX = 64
WAIT_MAX_S = 2_678_400  # 31 days: the longest that a community may wait for late readings


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


class ISettlement(Interface):
    def newest_opened(self, community: str) -> int: ...


class Terms(Struct):
    zone: str  # of the tariff
    interval_s: int
    completion_wait_s: int  # how long after an interval missing readings are waited for
    supplier: Address  # sells what the community lacks
    feed_in: Address  # buys what nobody in the community needs
    grid: Address  # gets the grid fees


class Home(Struct):
    home: str
    owner: Address
    load_meters: list[str]
    pv_meters: list[str]


class Share(Struct):
    home: str
    ppm: int


class Key(Struct):
    version: int
    kind: str
    effective_from: int
    homes: int
    meters: int  # readings that complete an interval
    chunks: int


class Seat(Struct):
    home: str
    owner: Address
    ppm: int
    load_meters: list[str]
    pv_meters: list[str]


class Founded(Event):
    community: str
    manager: Address


class Joined(Event):
    community: str
    home: str


class KeySet(Event):
    community: str
    version: int
    kind: str
    effective_from: int


class Communities(Contract):
    meters: Address
    settlement: Address
    managers: Map[str, Address]
    terms_of: Map[str, Terms]
    homes: Map[tuple[str, str], Home]  # by community and home
    home_of_meter: Map[str, str]
    keys: Map[tuple[str, int], Key]  # by community and version, numbered from 0
    key_counts: Map[str, int]
    chunks: Map[tuple[str, int, int], list[Seat]]  # by community, version and chunk, homes in byte order of their names

    @init
    def setup(self, meters: Address, settlement: Address) -> None:
        self.meters = meters
        self.settlement = settlement

    @external
    @role("community_manager")
    def found(self, community: str, terms: Terms) -> None:
        require(len(community) > 0 and len(community) <= NAME_MAX and "|" not in community, "BAD_NAME")
        require(community not in self.managers, "NAME_TAKEN")
        require(terms.interval_s >= 60 and 86_400 % terms.interval_s == 0, "BAD_INTERVAL")
        require(terms.completion_wait_s >= 0 and terms.completion_wait_s <= WAIT_MAX_S, "BAD_WAIT")
        self.managers[community] = ctx.sender
        self.terms_of[community] = terms
        emit(Founded(community, ctx.sender))

    @external
    def join(self, community: str, batch: list[Home]) -> None:
        """Take homes in, with all their meters. They share from the first key that names them."""
        self.check_manager(community)
        require(len(batch) > 0 and len(batch) <= BATCH_MAX, "BATCH_SIZE")
        for home in batch:
            require((community, home.home) not in self.homes, "HOME_TAKEN")
            count = len(home.load_meters) + len(home.pv_meters)
            require(count > 0 and count <= METERS_MAX, "BAD_METERS")
            self.check_meters(community, home, home.load_meters, "load")
            self.check_meters(community, home, home.pv_meters, "pv")
            self.homes[(community, home.home)] = home
            emit(Joined(community, home.home))

    @external
    def set_key(self, community: str, kind: str, effective_from: int, shares: list[Share]) -> int:
        """Set the sharing key from a future interval on; returns its version. A home that it does not name is out."""
        self.check_manager(community)
        require(len(shares) > 0 and len(shares) <= HOMES_MAX, "BATCH_SIZE")
        require(effective_from > 0 and effective_from % self.terms_of[community].interval_s == 0, "BAD_TIME")
        version = self.key_counts[community]
        newest = ISettlement(self.settlement).newest_opened(community)
        if version > 0:
            newest = max(newest, self.keys[(community, version - 1)].effective_from)
        require(effective_from > newest, "TOO_LATE")
        check_shares(kind, shares)
        in_order = sorted(shares)
        meters = 0
        chunk: list[Seat] = []
        chunks = 0
        for i in range(len(in_order)):
            share = in_order[i]
            require(i == 0 or share.home != in_order[i - 1].home, "HOME_TWICE")
            require((community, share.home) in self.homes, "NO_HOME")
            home = self.homes[(community, share.home)]
            meters += len(home.load_meters) + len(home.pv_meters)
            chunk.append(Seat(home.home, home.owner, share.ppm, home.load_meters, home.pv_meters))
            if len(chunk) == CHUNK_HOMES or i == len(in_order) - 1:
                self.chunks[(community, version, chunks)] = chunk
                chunks += 1
                chunk = []
        self.keys[(community, version)] = Key(version, kind, effective_from, len(in_order), meters, chunks)
        self.key_counts[community] = version + 1
        emit(KeySet(community, version, kind, effective_from))
        return version

    @view
    def terms(self, community: str) -> Terms:
        require(community in self.terms_of, "NO_COMMUNITY")
        return self.terms_of[community]

    @view
    def has_key(self, community: str, start: int) -> bool:
        return self.key_counts[community] > 0 and self.keys[(community, 0)].effective_from <= start

    @view
    def key_at(self, community: str, start: int) -> Key:
        """The key in force for the interval that starts then, by binary search over the versions."""
        require(self.has_key(community, start), "NO_KEY")
        low = 0
        high = self.key_counts[community]
        while high - low > 1:
            middle = (low + high) // 2
            if self.keys[(community, middle)].effective_from <= start:
                low = middle
            else:
                high = middle
        return self.keys[(community, low)]

    @view
    def seats(self, community: str, version: int, chunk: int) -> list[Seat]:
        return self.chunks[(community, version, chunk)]

    @view
    def home(self, community: str, name: str) -> Home:
        require((community, name) in self.homes, "NO_HOME")
        return self.homes[(community, name)]

    @view
    def share_out(
        self, kind: str, shares: list[int], needs: list[int], offers: list[int]
    ) -> tuple[list[int], list[int]]:
        """What each home gets of the community's surplus, and what each gives to it, in Wh; both sum to the same."""
        require(len(shares) == len(needs) and len(needs) == len(offers), "BAD_LENGTHS")
        bought = split_pool(kind, sum(offers), shares, needs)
        return bought, split(sum(bought), offers)

    def check_manager(self, community: str) -> None:
        require(community in self.managers, "NO_COMMUNITY")
        require(self.managers[community] == ctx.sender, "NOT_MANAGER")

    def check_meters(self, community: str, home: Home, names: list[str], kind: str) -> None:
        """Each meter is active here, of this kind, of this home and owner, on this grid, and in no other home."""
        records = IMeters(self.meters).records(names)
        for i in range(len(names)):
            meter = records[i]
            require(meter.status == "ACTIVE" and meter.community == community, "METER_NOT_ACTIVE")
            require(meter.kind == kind and meter.home == home.home and meter.owner == home.owner, "FOREIGN_METER")
            require(meter.interval_s == self.terms_of[community].interval_s, "BAD_INTERVAL")
            require(names[i] not in self.home_of_meter, "METER_TAKEN")
            self.home_of_meter[names[i]] = home.home


def check_shares(kind: str, shares: list[Share]) -> None:
    """Shares of a static or hybrid key sum to 1,000,000 exactly; a dynamic key has none."""
    require(kind == "static" or kind == "dynamic" or kind == "hybrid", "BAD_KIND")
    for share in shares:
        require(share.ppm >= 0 and share.ppm <= PPM, "BAD_SHARE")
    require(sum([share.ppm for share in shares]) == (0 if kind == "dynamic" else PPM), "SHARES_SUM")


def split_pool(kind: str, pool: int, shares: list[int], needs: list[int]) -> list[int]:
    """What each home gets of the pool, in Wh, never above its need (ENERGY 5.1)."""
    if kind == "dynamic":
        return split(min(pool, sum(needs)), needs)
    offered = split(pool, shares)
    taken = [min(offered[i], needs[i]) for i in range(len(needs))]
    if kind == "static":
        return taken
    open_needs = [needs[i] - taken[i] for i in range(len(needs))]
    more = split(min(pool - sum(taken), sum(open_needs)), open_needs)
    return [taken[i] + more[i] for i in range(len(needs))]


def split(amount: int, weights: list[int]) -> list[int]:
    """Exactly: floor(amount x weight / sum), then one each by largest remainder, ties in the order of the homes."""
    total = sum(weights)
    if total == 0 or amount == 0:
        return [0 for weight in weights]
    parts = [amount * weight // total for weight in weights]
    ranks = sorted([(-(amount * weights[i] % total), i) for i in range(len(weights))])
    for k in range(amount - sum(parts)):
        place = ranks[k][1]
        parts[place] += 1
    return parts
