"""Energy that costs more at some hours than at others.

A plan cuts the day (UTC) into bands, each with its price, and holds from a moment in the future on: nobody pays a price
that was not known before the energy flowed. Each quarter-hour of a customer is charged once, at the price that held
when it began. Energy is whole Wh and prices are whole micro-EUR per kWh, so a charge is whole nano-EUR: nothing is
rounded.
"""

from contracts import (
    Address,
    Contract,
    Event,
    Indexed,
    Ledger,
    Map,
    Struct,
    Vec,
    ctx,
    emit,
    external,
    init,
    invariant,
    require,
    view,
)

DAY = 86_400  # seconds
QUARTER = 900
NOTICE = 3_600  # seconds between publishing a plan and its first effect
BANDS_MAX = 24
PRICE_MAX = 10_000_000  # 10 EUR per kWh
WH_MAX = 1_000_000  # of one quarter-hour: 4 MW


class Band(Struct):
    begins: int  # seconds after midnight
    price: int  # micro-EUR per kWh


class Plan(Struct):
    effective_from: int
    bands: list[Band]


class Published(Event):
    effective_from: int
    bands: int


class Charged(Event):
    customer: Indexed[Address]
    start: int
    wh: int
    amount: int


class TimeOfUse(Contract):
    supplier: Address
    plans: Vec[Plan]  # times rise
    charged_until: Map[Address, int]
    balances: Ledger  # nano-EUR; what a customer owes is below 0, and the supplier has the other side

    @init
    def setup(self, supplier: Address, bands: list[Band]) -> None:
        self.supplier = supplier
        check_bands(bands)
        self.plans.append(Plan(0, bands))

    @external
    def publish(self, effective_from: int, bands: list[Band]) -> None:
        """A new plan, at least an hour ahead and after every plan before it."""
        require(ctx.sender == self.supplier, "NOT_SUPPLIER")
        require(effective_from >= ctx.time + NOTICE, "TOO_SOON")
        require(effective_from > self.plans[-1].effective_from, "NOT_AFTER_THE_LAST")
        check_bands(bands)
        self.plans.append(Plan(effective_from, bands))
        emit(Published(effective_from, len(bands)))

    @external
    def charge(self, customer: Address, start: int, wh: int) -> int:
        """Charge one quarter-hour that is over; gives the amount in nano-EUR."""
        require(ctx.sender == self.supplier, "NOT_SUPPLIER")
        require(customer != self.supplier, "OWN_USE")
        require(start >= 0 and start % QUARTER == 0, "NOT_A_QUARTER")
        require(start + QUARTER <= ctx.time, "NOT_OVER")
        require(start >= self.charged_until[customer], "CHARGED_BEFORE")
        require(wh >= 0 and wh <= WH_MAX, "BAD_ENERGY")
        amount = wh * self.price_at(start)
        self.charged_until[customer] = start + QUARTER
        self.balances.move(customer, self.supplier, amount)
        emit(Charged(customer, start, wh, amount))
        return amount

    @external
    def book_payment(self, customer: Address, amount: int) -> None:
        """The customer's money arrived at the supplier's bank."""
        require(ctx.sender == self.supplier, "NOT_SUPPLIER")
        require(amount > 0, "BAD_AMOUNT")
        self.balances.move(self.supplier, customer, amount)

    @view
    def price_at(self, time: int) -> int:
        """The price at a moment, in micro-EUR per kWh."""
        require(time >= 0, "BAD_TIME")
        index = len(self.plans) - 1
        while self.plans[index].effective_from > time:
            index -= 1
        price = 0
        for band in self.plans[index].bands:
            if band.begins <= time % DAY:
                price = band.price
        return price

    @view
    def balance(self, account: Address) -> int:
        return self.balances[account]

    @invariant
    def all_accounts_sum_to_nothing(self) -> bool:
        return self.balances.total() == 0

    @invariant
    def plans_are_in_order(self) -> bool:
        times = [plan.effective_from for plan in self.plans]
        return times == sorted(times) and times[0] == 0


def check_bands(bands: list[Band]) -> None:
    """Bands cover the day: the first begins at midnight and each later one after the one before."""
    require(len(bands) > 0 and len(bands) <= BANDS_MAX, "BAND_COUNT")
    require(bands[0].begins == 0, "NOT_FROM_MIDNIGHT")
    last = -1
    for band in bands:
        require(band.begins > last and band.begins < DAY, "BAND_ORDER")
        require(band.price >= 0 and band.price <= PRICE_MAX, "BAD_PRICE")
        last = band.begins
