"""Prices by zone and time, in whole micro-EUR per kWh.

A version holds from its time until the next one. Versions are appended in rising order and never edited. A version
may not reach back to an interval that anybody has begun to settle: its time must lie after the newest interval that
was opened in the zone. In daily business that means published before the interval begins; a replayed past series
opens its first interval with its first reading, so its prices must be published before that reading.
"""

from contracts import Address, Contract, Event, Interface, Map, Struct, emit, external, init, require, role, view

PRICE_MAX = 100_000_000  # micro-EUR per kWh: 100 EUR, ten times the highest spot price seen in Europe
BATCH_MAX = 400  # versions of one call: a fortnight of hourly prices


class ISettlement(Interface):
    def newest_in_zone(self, zone: str) -> int: ...


class Tariff(Struct):
    effective_from: int  # UTC seconds
    supply: int  # what a member pays the supplier for energy from outside
    feed_in: int  # what a member gets for energy that nobody in the community took
    community: int  # what members pay each other
    grid_fee: int  # on energy from outside
    community_grid_fee: int  # on energy from the community


class Published(Event):
    zone: str
    effective_from: int


class Tariffs(Contract):
    settlement: Address
    versions: Map[tuple[str, int], Tariff]  # by zone and number, numbered from 0
    counts: Map[str, int]

    @init
    def setup(self, settlement: Address) -> None:
        self.settlement = settlement

    @external
    @role("tariff_authority")
    def publish(self, zone: str, batch: list[Tariff]) -> None:
        require(len(zone) > 0 and len(zone) <= 32, "BAD_NAME")
        require(len(batch) > 0 and len(batch) <= BATCH_MAX, "BATCH_SIZE")
        count = self.counts[zone]
        newest = ISettlement(self.settlement).newest_in_zone(zone)
        if count > 0:
            newest = max(newest, self.versions[(zone, count - 1)].effective_from)
        for tariff in batch:
            check_prices(tariff)
            require(tariff.effective_from > newest, "TOO_LATE")
            self.versions[(zone, count)] = tariff
            newest = tariff.effective_from
            count += 1
            emit(Published(zone, tariff.effective_from))
        self.counts[zone] = count

    @view
    def covers(self, zone: str, start: int) -> bool:
        return self.counts[zone] > 0 and self.versions[(zone, 0)].effective_from <= start

    @view
    def at(self, zone: str, start: int) -> Tariff:
        """The version in force at that time, by binary search: a year of hourly prices takes 14 reads."""
        require(self.covers(zone, start), "NO_TARIFF")
        low = 0
        high = self.counts[zone]
        while high - low > 1:
            middle = (low + high) // 2
            if self.versions[(zone, middle)].effective_from <= start:
                low = middle
            else:
                high = middle
        return self.versions[(zone, low)]

    @view
    def version(self, zone: str, number: int) -> Tariff:
        require(number >= 0 and number < self.counts[zone], "NO_TARIFF")
        return self.versions[(zone, number)]

    @view
    def count(self, zone: str) -> int:
        return self.counts[zone]


def check_prices(tariff: Tariff) -> None:
    """Prices may be 0 and are never negative here: a member's bill must not depend on which way a sign is read."""
    prices = [tariff.supply, tariff.feed_in, tariff.community, tariff.grid_fee, tariff.community_grid_fee]
    for price in prices:
        require(price >= 0 and price <= PRICE_MAX, "BAD_PRICE")
    require(tariff.effective_from > 0, "BAD_TIME")
