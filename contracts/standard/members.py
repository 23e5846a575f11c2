"""Members of the network: who they are, which key is theirs, and which roles they hold.

The founders (the operators of the validators) are admins from genesis. Every later change is a batch of admissions
and removals that one admin proposes and 75 % of the admins, rounded up, approve; the electorate is the list of admins
at the moment of the proposal, so that nobody can be voted in to decide a vote that is running. A key belongs to one
member at any time; a member rotates its key by one proposal that removes the old key and admits the new one.
"""

from contracts import Address, Contract, Event, Map, Struct, ctx, emit, external, init, invariant, require, view

APPROVAL_PERCENT = 75  # of the admins; above the two thirds that safety of the order needs
BATCH_MAX = 200  # admissions and removals of one proposal: one transaction enacts them all
NAME_MAX = 64  # characters: a legal name, short enough for an event
ADMINS_MAX = 64  # the electorate is stored with each proposal


class Founder(Struct):
    name: str
    key: Address


class Admission(Struct):
    name: str
    key: Address
    roles: list[str]


class Member(Struct):
    name: str
    roles: list[str]


class Proposal(Struct):
    admissions: list[Admission]
    removals: list[Address]
    electorate: list[Address]
    approvals: list[Address]
    enacted: bool


class Proposed(Event):
    number: int
    admin: Address


class Approved(Event):
    number: int
    admin: Address


class Admitted(Event):
    key: Address
    name: str


class Removed(Event):
    key: Address
    name: str


class Members(Contract):
    members: Map[Address, Member]
    admins: list[Address]
    proposals: Map[int, Proposal]
    proposal_count: int

    @init
    def setup(self, founders: list[Founder]) -> None:
        require(len(founders) > 0 and len(founders) <= ADMINS_MAX, "BAD_FOUNDERS")
        self.admins = []
        for founder in founders:
            self.admit(Admission(founder.name, founder.key, ["admin"]))

    @external
    def propose(self, admissions: list[Admission], removals: list[Address]) -> int:
        """Open a proposal; proposing it is the proposer's approval. Returns its number."""
        require(self.has_role(ctx.sender, "admin"), "ROLE")
        size = len(admissions) + len(removals)
        require(size > 0 and size <= BATCH_MAX, "BATCH_SIZE")
        for admission in admissions:
            check_admission(admission)
        self.proposal_count += 1
        number = self.proposal_count
        self.proposals[number] = Proposal(admissions, removals, self.admins, [], False)
        emit(Proposed(number, ctx.sender))
        self.count_approval(number)
        return number

    @external
    def approve(self, number: int) -> bool:
        """Approve a proposal; true when this approval enacted it."""
        require(self.has_role(ctx.sender, "admin"), "ROLE")
        require(number in self.proposals, "NO_PROPOSAL")
        return self.count_approval(number)

    @view
    def has_role(self, address: Address, role_name: str) -> bool:
        if address not in self.members:
            return False
        return role_name in self.members[address].roles

    @view
    def member(self, key: Address) -> Member:
        require(key in self.members, "NO_MEMBER")
        return self.members[key]

    @view
    def admin_keys(self) -> list[Address]:
        return self.admins

    @view
    def proposal(self, number: int) -> Proposal:
        require(number in self.proposals, "NO_PROPOSAL")
        return self.proposals[number]

    @invariant
    def somebody_governs(self) -> bool:
        return len(self.admins) > 0

    def count_approval(self, number: int) -> bool:
        proposal = self.proposals[number]
        require(not proposal.enacted, "ENACTED")
        require(ctx.sender in proposal.electorate, "NOT_IN_ELECTORATE")
        require(ctx.sender not in proposal.approvals, "APPROVED_BEFORE")
        approvals = proposal.approvals + [ctx.sender]
        enough = len(approvals) >= approvals_needed(len(proposal.electorate))
        self.proposals[number] = Proposal(
            proposal.admissions, proposal.removals, proposal.electorate, approvals, enough
        )
        emit(Approved(number, ctx.sender))
        if enough:
            for key in proposal.removals:
                self.remove(key)
            for admission in proposal.admissions:
                self.admit(admission)
        return enough

    def admit(self, admission: Admission) -> None:
        check_admission(admission)
        require(admission.key not in self.members, "KEY_TAKEN")
        self.members[admission.key] = Member(admission.name, admission.roles)
        if "admin" in admission.roles:
            require(len(self.admins) < ADMINS_MAX, "ADMINS_FULL")
            self.admins = self.admins + [admission.key]
        emit(Admitted(admission.key, admission.name))

    def remove(self, key: Address) -> None:
        require(key in self.members, "NO_MEMBER")
        name = self.members[key].name
        del self.members[key]
        self.admins = [admin for admin in self.admins if admin != key]
        emit(Removed(key, name))


def approvals_needed(admins: int) -> int:
    """75 % of the admins, rounded up."""
    return (admins * APPROVAL_PERCENT + 99) // 100


def check_admission(admission: Admission) -> None:
    require(len(admission.name) > 0 and len(admission.name) <= NAME_MAX, "BAD_NAME")
    require(len(admission.roles) > 0, "NO_ROLE")
    for role_name in admission.roles:
        require(is_role(role_name), "UNKNOWN_ROLE")


def is_role(name: str) -> bool:
    """The closed list of roles; README.md says what each may do."""
    return name in [
        "admin",
        "certifier",
        "meter_operator",
        "community_manager",
        "tariff_authority",
        "paying_agent",
        "home",
    ]
