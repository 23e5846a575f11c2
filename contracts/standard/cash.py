"""Accounts in nano-EUR, by address.

Money enters by a deposit that a paying agent books when it arrived at the bank, and leaves by a withdrawal from the
agent's own account when it was paid out; in between it only moves. So the sum of all accounts is the sum of deposits
minus withdrawals, always: `transfer` moves one amount, and `post` takes lines that sum to exactly 0.

An account may fall to its limit (0 unless set; a postpaid member has a limit below 0) by its own transfers.
Settlement books what was consumed whatever the limit is, because the energy has flowed; an account that it leaves
below the limit can only be paid into until it is back.
"""

from contracts import (
    Address,
    Contract,
    Event,
    Ledger,
    Map,
    Struct,
    ctx,
    emit,
    external,
    init,
    invariant,
    require,
    role,
    view,
)

AMOUNT_MAX = 1_000_000_000_000_000_000_000_000  # nano-EUR of one line: a million times a country's yearly bill
LINES_MAX = 500  # of one posting
REFERENCE_MAX = 64  # characters of a bank reference


class Line(Struct):
    account: Address
    amount: int  # nano-EUR, signed: what the account gets


class Transferred(Event):
    source: Address
    target: Address
    amount: int


class Deposited(Event):
    account: Address
    amount: int
    reference: str


class Withdrawn(Event):
    agent: Address
    amount: int
    reference: str


class Cash(Contract):
    settlement: Address
    accounts: Ledger  # its total changes only by mint and burn
    limits: Map[Address, int]  # nano-EUR, 0 or below: how far an account may fall by its own will
    deposited: int
    withdrawn: int

    @init
    def setup(self, settlement: Address) -> None:
        self.settlement = settlement

    @external
    def transfer(self, to: Address, amount: int) -> None:
        require(amount > 0 and amount <= AMOUNT_MAX, "BAD_AMOUNT")
        require(self.accounts[ctx.sender] - amount >= self.limits[ctx.sender], "LOW_BALANCE")
        self.accounts.move(ctx.sender, to, amount)
        emit(Transferred(ctx.sender, to, amount))

    @external
    @role("paying_agent")
    def deposit(self, account: Address, amount: int, reference: str) -> None:
        require(amount > 0 and amount <= AMOUNT_MAX, "BAD_AMOUNT")
        require(len(reference) <= REFERENCE_MAX, "BAD_REFERENCE")
        self.accounts.mint(account, amount)
        self.deposited += amount
        emit(Deposited(account, amount, reference))

    @external
    @role("paying_agent")
    def withdraw(self, amount: int, reference: str) -> None:
        """Take out of the agent's own account what it has paid out; a member is paid by transferring to its agent."""
        require(amount > 0 and amount <= AMOUNT_MAX, "BAD_AMOUNT")
        require(len(reference) <= REFERENCE_MAX, "BAD_REFERENCE")
        require(self.accounts[ctx.sender] - amount >= self.limits[ctx.sender], "LOW_BALANCE")
        self.accounts.burn(ctx.sender, amount)
        self.withdrawn += amount
        emit(Withdrawn(ctx.sender, amount, reference))

    @external
    @role("paying_agent")
    def set_limit(self, account: Address, limit: int) -> None:
        require(limit <= 0 and limit >= -AMOUNT_MAX, "BAD_LIMIT")
        self.limits[account] = limit

    @external
    def post(self, lines: list[Line]) -> None:
        """Book the lines of a settlement run through this contract's own account, which ends where it began.

        All lines or none; they sum to 0 nano-EUR.
        """
        require(ctx.sender == self.settlement, "NOT_SETTLEMENT")
        require(len(lines) <= LINES_MAX, "BATCH_SIZE")
        require(sum([line.amount for line in lines]) == 0, "UNBALANCED")
        for line in lines:
            if line.amount > 0:
                self.accounts.move(ctx.address, line.account, line.amount)
            elif line.amount < 0:
                self.accounts.move(line.account, ctx.address, -line.amount)

    @view
    def balance(self, account: Address) -> int:
        return self.accounts[account]

    @view
    def balances(self, accounts: list[Address]) -> list[int]:
        return [self.accounts[account] for account in accounts]

    @view
    def limit_of(self, account: Address) -> int:
        return self.limits[account]

    @view
    def issued(self) -> list[int]:
        """Everything deposited and everything withdrawn, in nano-EUR; the accounts sum to the difference."""
        return [self.deposited, self.withdrawn]

    @invariant
    def money_is_conserved(self) -> bool:
        return self.accounts.total() == self.deposited - self.withdrawn
