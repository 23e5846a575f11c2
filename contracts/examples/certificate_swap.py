"""A pool in which guarantees of origin are swapped for money, at a price that follows the trade.

The pool holds certificates and cents. A swap keeps the product of the two from falling (the constant-product curve):
the more of one side is taken, the dearer the next one gets, so the pool cannot be emptied. A fee of 0.3 % stays in the
pool and belongs to those who filled it, by their shares. Every division is rounded in favour of the pool.
"""

from contracts import (
    Address,
    Contract,
    Event,
    Indexed,
    Ledger,
    ctx,
    emit,
    external,
    init,
    invariant,
    mul_div,
    require,
    view,
)

PPM = 1_000_000
KEPT_PPM = 997_000  # of what comes in, this much counts; the rest is the fee
AMOUNT_MAX = 1_000_000_000_000_000_000
LOCKED = 1_000  # shares that nobody ever takes out: they keep the price of one share small


class Swapped(Event):
    trader: Indexed[Address]
    certificates: int  # signed, what the trader got
    cents: int  # the same


class Filled(Event):
    provider: Indexed[Address]
    certificates: int
    cents: int
    shares: int  # signed


class CertificateSwap(Contract):
    registrar: Address
    certificates: Ledger
    cents: Ledger
    shares: Ledger
    issued: int  # certificates, and cents in `paid_in`
    paid_in: int
    floor: int  # the product after the last filling or emptying: a swap never goes below it

    @init
    def setup(self, registrar: Address) -> None:
        self.registrar = registrar

    @external
    def issue(self, account: Address, certificates: int, cents: int) -> None:
        """The registrar puts certificates, and money that arrived at the bank, on an account."""
        require(ctx.sender == self.registrar, "NOT_REGISTRAR")
        require(is_amount(certificates + 1) and is_amount(cents + 1), "BAD_AMOUNT")
        require(account != ctx.address, "POOL")
        self.certificates.mint(account, certificates)
        self.cents.mint(account, cents)
        self.issued += certificates
        self.paid_in += cents

    @external
    def fill(self, certificates: int, cents_most: int) -> int:
        """Add certificates and as many cents as the pool's price asks for, `cents_most` at most; gives the shares.

        Who comes first says the price: all of `cents_most` is taken.
        """
        require(is_amount(certificates) and is_amount(cents_most), "BAD_AMOUNT")
        there, total = self.certificates[ctx.address], self.shares.total()
        cents, shares = cents_most, certificates
        if total > 0:
            cents = mul_div(certificates, self.cents[ctx.address], there) + 1
            shares = mul_div(certificates, total, there)
            require(cents <= cents_most, "PRICE_MOVED")
        else:
            require(certificates > LOCKED, "TOO_LITTLE")
            self.shares.mint(ctx.address, LOCKED)
            shares = certificates - LOCKED
        require(shares > 0, "TOO_LITTLE")
        self.take(certificates, cents)
        self.shares.mint(ctx.sender, shares)
        self.floor = self.product()
        emit(Filled(ctx.sender, certificates, cents, shares))
        return shares

    @external
    def empty(self, shares: int) -> tuple[int, int]:
        """Take one's part out: certificates and cents."""
        require(is_amount(shares), "BAD_AMOUNT")
        require(self.shares[ctx.sender] >= shares, "NO_SHARES")
        total = self.shares.total()
        certificates = mul_div(shares, self.certificates[ctx.address], total)
        cents = mul_div(shares, self.cents[ctx.address], total)
        self.shares.burn(ctx.sender, shares)
        self.give(certificates, cents)
        self.floor = self.product()
        emit(Filled(ctx.sender, -certificates, -cents, -shares))
        return (certificates, cents)

    @external
    def sell(self, certificates: int, cents_least: int) -> int:
        """Certificates for cents; gives the cents, never less than `cents_least`."""
        require(is_amount(certificates), "BAD_AMOUNT")
        cents = self.quote_sale(certificates)
        require(cents > 0 and cents >= cents_least, "PRICE_MOVED")
        self.take(certificates, 0)
        self.give(0, cents)
        emit(Swapped(ctx.sender, -certificates, cents))
        return cents

    @external
    def buy(self, cents: int, certificates_least: int) -> int:
        """Cents for certificates; gives the certificates, never fewer than `certificates_least`."""
        require(is_amount(cents), "BAD_AMOUNT")
        certificates = self.quote_purchase(cents)
        require(certificates > 0 and certificates >= certificates_least, "PRICE_MOVED")
        self.take(0, cents)
        self.give(certificates, 0)
        emit(Swapped(ctx.sender, certificates, -cents))
        return certificates

    @view
    def quote_sale(self, certificates: int) -> int:
        require(self.shares.total() > 0, "POOL_EMPTY")
        return out_for(certificates, self.certificates[ctx.address], self.cents[ctx.address])

    @view
    def quote_purchase(self, cents: int) -> int:
        require(self.shares.total() > 0, "POOL_EMPTY")
        return out_for(cents, self.cents[ctx.address], self.certificates[ctx.address])

    @view
    def holdings(self, account: Address) -> tuple[int, int, int]:
        """Certificates, cents and shares of an account."""
        return (self.certificates[account], self.cents[account], self.shares[account])

    @view
    def pool(self) -> tuple[int, int, int]:
        """Certificates and cents in the pool, and all shares."""
        return (self.certificates[ctx.address], self.cents[ctx.address], self.shares.total())

    @invariant
    def nothing_is_made_or_lost(self) -> bool:
        return self.certificates.total() == self.issued and self.cents.total() == self.paid_in

    @invariant
    def a_swap_never_lowers_the_product(self) -> bool:
        return self.product() >= self.floor

    @invariant
    def shares_mean_a_filled_pool(self) -> bool:
        return (self.shares.total() > 0) == (self.product() > 0)

    def product(self) -> int:
        return self.certificates[ctx.address] * self.cents[ctx.address]

    def take(self, certificates: int, cents: int) -> None:
        require(self.certificates[ctx.sender] >= certificates, "LOW_CERTIFICATES")
        require(self.cents[ctx.sender] >= cents, "LOW_CENTS")
        self.certificates.move(ctx.sender, ctx.address, certificates)
        self.cents.move(ctx.sender, ctx.address, cents)

    def give(self, certificates: int, cents: int) -> None:
        self.certificates.move(ctx.address, ctx.sender, certificates)
        self.cents.move(ctx.address, ctx.sender, cents)


def out_for(amount: int, there: int, other: int) -> int:
    """What the other side gives for `amount`, so that the product does not fall."""
    require(is_amount(amount), "BAD_AMOUNT")
    counted = amount * KEPT_PPM
    return mul_div(counted, other, there * PPM + counted)


def is_amount(amount: int) -> bool:
    return amount > 0 and amount <= AMOUNT_MAX
