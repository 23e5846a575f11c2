"""Governance: the operators of the members decide who the members of the next epoch are, and its parameters.

Each operator has one voice, whatever its cooperative weighs in the market. A proposal is the whole document of the next
configuration, voted on as it is; with the voice of a quorum it is decided, and the epoch ends one window of blocks
later. The quorum is that of the order itself: whoever could decide otherwise could also order otherwise. Votes belong
to the epoch of their document: once a change is decided, what was open is void.
"""

from contracts import (
    Address,
    Contract,
    Event,
    Map,
    Struct,
    change_configuration,
    ctx,
    emit,
    external,
    init,
    invariant,
    require,
    sha256,
    view,
)


class Founder(Struct):
    name: str
    key: Address


class Voted(Event):
    change: int
    document_hash: bytes
    operator: Address


class Decided(Event):
    change: int
    document_hash: bytes


class Governance(Contract):
    operators: list[Address]
    change: int
    votes: Map[tuple[int, bytes], list[Address]]

    @init
    def setup(self, founders: list[Founder]) -> None:
        require(len(founders) > 0, "BAD_FOUNDERS")
        self.operators = [founder.key for founder in founders]
        self.change = 1

    @external
    def vote(self, document: bytes) -> bool:
        """Vote for the next configuration; true when this vote decided it."""
        require(ctx.sender in self.operators, "NOT_AN_OPERATOR")
        document_hash = sha256(document)
        votes = self.votes[(self.change, document_hash)]
        require(ctx.sender not in votes, "VOTED_BEFORE")
        votes = votes + [ctx.sender]
        self.votes[(self.change, document_hash)] = votes
        emit(Voted(self.change, document_hash, ctx.sender))
        if len(votes) < votes_needed(len(self.operators)):
            return False
        self.operators = change_configuration(document)
        emit(Decided(self.change, document_hash))
        self.change += 1
        return True

    @view
    def votes_for(self, document: bytes) -> list[Address]:
        return self.votes[(self.change, sha256(document))]

    @view
    def operator_keys(self) -> list[Address]:
        return self.operators

    @invariant
    def somebody_governs(self) -> bool:
        return len(self.operators) > 0


def votes_needed(members: int) -> int:
    """The quorum of that many replicas: any two share more than can be faulty."""
    return (members + (members - 1) // 3 + 2) // 2
