"""One battery for many homes: who may fill how much of it, and whose energy is in it.

A home holds a share of the capacity. What it charges is credited after the battery's losses, up to its share; it can
draw what it has or give it to another home that has room. The operator, who reads the battery's meter, books charging
and drawing.
"""

from contracts import (
    Address,
    Contract,
    Event,
    Indexed,
    Ledger,
    Map,
    ctx,
    emit,
    external,
    init,
    invariant,
    require,
    view,
)

PPM = 1_000_000
CAPACITY_MAX = 1_000_000_000_000  # Wh: a thousand times the largest battery that there is


class Charged(Event):
    home: Indexed[Address]
    wh: int
    credited: int


class Drawn(Event):
    home: Indexed[Address]
    wh: int


class Given(Event):
    source: Indexed[Address]
    target: Indexed[Address]
    wh: int


class BatteryPool(Contract):
    operator: Address
    capacity: int  # Wh
    efficiency: int  # parts per million of what is charged that can be drawn
    shares: Indexed[Map[Address, int]]  # Wh of the capacity
    stored: Ledger  # Wh that can be drawn, by home
    charged: int  # Wh, ever, and so the next two
    lost: int
    drawn: int

    @init
    def setup(self, operator: Address, capacity: int, efficiency: int) -> None:
        require(capacity > 0 and capacity <= CAPACITY_MAX, "BAD_CAPACITY")
        require(efficiency > 0 and efficiency <= PPM, "BAD_EFFICIENCY")
        self.operator = operator
        self.capacity = capacity
        self.efficiency = efficiency

    @external
    def set_share(self, home: Address, share: int) -> None:
        """A home's part of the capacity; 0 to leave. Never below what is stored for it."""
        require(ctx.sender == self.operator, "NOT_OPERATOR")
        require(share >= self.stored[home], "STILL_STORED")
        others = sum(self.shares.values()) - self.shares[home]
        require(others + share <= self.capacity, "NO_CAPACITY")
        if share == 0:
            del self.shares[home]
        else:
            self.shares[home] = share

    @external
    def charge(self, home: Address, wh: int) -> int:
        """Energy went in for a home; gives what was credited. The loss is rounded against the home."""
        require(ctx.sender == self.operator, "NOT_OPERATOR")
        require(wh > 0 and wh <= CAPACITY_MAX, "BAD_ENERGY")
        credited = wh * self.efficiency // PPM
        require(self.stored[home] + credited <= self.shares[home], "SHARE_FULL")
        self.stored.mint(home, credited)
        self.charged += wh
        self.lost += wh - credited
        emit(Charged(home, wh, credited))
        return credited

    @external
    def draw(self, home: Address, wh: int) -> None:
        """Energy went out to a home."""
        require(ctx.sender == self.operator, "NOT_OPERATOR")
        require(wh > 0, "BAD_ENERGY")
        require(self.stored[home] >= wh, "NOT_STORED")
        self.stored.burn(home, wh)
        self.drawn += wh
        emit(Drawn(home, wh))

    @external
    def give(self, to: Address, wh: int) -> None:
        """Give stored energy to another home that has room in its share."""
        require(wh > 0, "BAD_ENERGY")
        require(to != ctx.sender, "TO_ITSELF")
        require(self.stored[ctx.sender] >= wh, "NOT_STORED")
        require(self.stored[to] + wh <= self.shares[to], "SHARE_FULL")
        self.stored.move(ctx.sender, to, wh)
        emit(Given(ctx.sender, to, wh))

    @view
    def stored_for(self, home: Address) -> int:
        return self.stored[home]

    @view
    def room_of(self, home: Address) -> int:
        return self.shares[home] - self.stored[home]

    @invariant
    def energy_is_conserved(self) -> bool:
        return self.stored.total() == self.charged - self.lost - self.drawn

    @invariant
    def everybody_is_within_a_share(self) -> bool:
        return all([self.stored[home] >= 0 and self.stored[home] <= share for home, share in self.shares.items()])

    @invariant
    def stored_energy_has_an_owner(self) -> bool:
        return self.stored.total() == sum([self.stored[home] for home in self.shares])

    @invariant
    def shares_fit_into_the_battery(self) -> bool:
        return sum(self.shares.values()) <= self.capacity
