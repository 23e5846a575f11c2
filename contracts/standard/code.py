"""Code: who may bring new contracts, and which of them may go on with other code.

An author deploys; the operators of the members say who is one. A contract that runs is other people's business too:
it goes on with other code only after the operators have voted for exactly that code, with what its `@migrate` is told
and the height from which it may happen, so that everybody can look at it before. Each operator has one voice, and a
decision needs the quorum of the order itself. They can also freeze a contract: nobody changes it any more.
"""

from contracts import (
    Address,
    Contract,
    Event,
    Indexed,
    Interface,
    Map,
    Struct,
    canonical,
    ctx,
    deploy_contract,
    emit,
    external,
    init,
    invariant,
    require,
    sha256,
    upgrade_contract,
    view,
)


class IGovernance(Interface):
    def operator_keys(self) -> list[Address]: ...


class Decision(Struct):
    code_hash: bytes
    arguments: bytes
    from_height: int


class Voted(Event):
    subject: bytes
    operator: Address


class AuthorSet(Event):
    author: Address
    allowed: bool


class UpgradeDecided(Event):
    contract: str
    code_hash: bytes
    from_height: int


class Frozen(Event):
    contract: str


class Deployed(Event):
    contract: str
    address: Address
    author: Address


class Upgraded(Event):
    contract: str
    code_hash: bytes


class Code(Contract):
    governance: Address
    authors: Map[Address, bool]
    votes: Map[bytes, list[Address]]
    decisions: Map[str, Decision]
    frozen: Indexed[Map[str, bool]]

    @init
    def setup(self, governance: Address, authors: list[Address]) -> None:
        self.governance = governance
        for author in authors:
            self.authors[author] = True

    @external
    def deploy(self, name: str, source: bytes, arguments: bytes) -> Address:
        """Deploy the source under a name; `arguments` are the canonical bytes of what its @init gets."""
        require(self.authors[ctx.sender], "NOT_AN_AUTHOR")
        address = deploy_contract(name, source, arguments)
        emit(Deployed(name, address, ctx.sender))
        return address

    @external
    def upgrade(self, name: str, source: bytes, arguments: bytes) -> bytes:
        """Do what was decided: the contract goes on with this source. Returns the hash of its new code."""
        require(self.authors[ctx.sender], "NOT_AN_AUTHOR")
        require(name in self.decisions, "NOT_DECIDED")
        decision = self.decisions[name]
        require(arguments == decision.arguments, "NOT_DECIDED")
        require(ctx.height >= decision.from_height, "TOO_EARLY")
        code_hash = upgrade_contract(name, source, arguments)
        require(code_hash == decision.code_hash, "NOT_DECIDED")
        del self.decisions[name]
        emit(Upgraded(name, code_hash))
        return code_hash

    @external
    def vote_author(self, author: Address, allowed: bool) -> bool:
        """Vote that somebody may deploy, or may no longer; true when this vote decided it."""
        decided = self.count_vote(canonical(["author", author, allowed]))
        if decided:
            self.authors[author] = allowed
            emit(AuthorSet(author, allowed))
        return decided

    @external
    def vote_upgrade(self, name: str, code_hash: bytes, arguments: bytes, from_height: int) -> bool:
        """Vote for an upgrade, in the place of any that was decided before; true when this vote decided it."""
        require(not self.frozen[name], "FROZEN")
        decided = self.count_vote(canonical(["upgrade", name, code_hash, arguments, from_height]))
        if decided:
            self.decisions[name] = Decision(code_hash, arguments, from_height)
            emit(UpgradeDecided(name, code_hash, from_height))
        return decided

    @external
    def vote_freeze(self, name: str) -> bool:
        """Vote that a contract never changes again; true when this vote decided it."""
        require(not self.frozen[name], "FROZEN")
        decided = self.count_vote(canonical(["freeze", name]))
        if decided:
            self.frozen[name] = True
            del self.decisions[name]
            emit(Frozen(name))
        return decided

    @view
    def is_author(self, address: Address) -> bool:
        return self.authors[address]

    @view
    def is_frozen(self, name: str) -> bool:
        return self.frozen[name]

    @view
    def decision(self, name: str) -> Decision:
        require(name in self.decisions, "NOT_DECIDED")
        return self.decisions[name]

    @invariant
    def nothing_frozen_is_decided(self) -> bool:
        for name in self.frozen:
            if name in self.decisions:
                return False
        return True

    def count_vote(self, subject: bytes) -> bool:
        """Count the sender's vote on a subject. Only voices of today's operators count; a decision uses them up."""
        operators = IGovernance(self.governance).operator_keys()
        require(ctx.sender in operators, "NOT_AN_OPERATOR")
        key = sha256(subject)
        votes = [voter for voter in self.votes[key] if voter in operators]
        require(ctx.sender not in votes, "VOTED_BEFORE")
        votes.append(ctx.sender)
        emit(Voted(key, ctx.sender))
        if len(votes) < votes_needed(len(operators)):
            self.votes[key] = votes
            return False
        del self.votes[key]
        return True


def votes_needed(members: int) -> int:
    """The quorum of that many replicas: any two share more than can be faulty."""
    return (members + (members - 1) // 3 + 2) // 2
