"""Code: the operators decide who deploys and what a contract goes on with; the mechanism is in test_lifecycle.py."""

import pytest

from contracts.standard import source_of
from contracts.standard.code import votes_needed
from contracts.testing import Chain, Deployed
from ledger.configuration import quorum_size
from ledger.encoding import encode

OPERATORS = [bytes([index]) * 32 for index in range(1, 6)]
AUTHOR, NEWCOMER = b"a" * 32, b"n" * 32
HASH, NONE = b"h" * 32, encode([])
GOVERNANCE = b"""
from contracts import Address, Contract, external, init, view


class Governance(Contract):
    operators: list[Address]

    @init
    def setup(self, operators: list[Address]) -> None:
        self.operators = operators

    @external
    def change(self, operators: list[Address]) -> None:
        self.operators = operators

    @view
    def operator_keys(self) -> list[Address]:
        return self.operators
"""
"""Says who the operators are, and changes them without an epoch."""


@pytest.fixture
def governance(chain: Chain) -> Deployed:
    """Four operators."""
    return chain.deploy(GOVERNANCE, OPERATORS[:4], name="governance")


@pytest.fixture
def code(chain: Chain, governance: Deployed) -> Deployed:
    """One author."""
    return chain.deploy(source_of("code").encode(), governance, [AUTHOR], name="code")


def test_a_quorum_decides_and_uses_its_votes_up(code: Deployed) -> None:
    """The third of four; the next decision on the same needs three again."""
    for round_ in range(2):
        allowed = round_ == 0
        results = [code.vote_author(NEWCOMER, allowed, sender=operator).result for operator in OPERATORS[:3]]
        assert results == [False, False, True]
        assert code.is_author(NEWCOMER) is allowed
    assert code.vote_author(NEWCOMER, True, sender=OPERATORS[0]).result is False
    assert not code.is_author(NEWCOMER)


def test_every_operator_has_one_voice_and_nobody_else_any(chain: Chain, code: Deployed) -> None:
    """An author has none; neither has who votes twice."""
    code.vote_freeze("ping", sender=OPERATORS[0])
    for voter, refusal in (
        (OPERATORS[0], "VOTED_BEFORE"),
        (AUTHOR, "NOT_AN_OPERATOR"),
        (OPERATORS[4], "NOT_AN_OPERATOR"),
    ):
        with chain.reverts(refusal):
            code.vote_freeze("ping", sender=voter)
    assert not code.is_frozen("ping")


@pytest.mark.parametrize(
    "other",
    [("pong", HASH, NONE, 5), ("ping", b"i" * 32, NONE, 5), ("ping", HASH, encode([1]), 5), ("ping", HASH, NONE, 6)],
)
def test_votes_for_different_things_do_not_add_up(
    chain: Chain, code: Deployed, other: tuple[str, bytes, bytes, int]
) -> None:
    """Another contract, code, argument or height is another decision."""
    for operator in OPERATORS[:2]:
        code.vote_upgrade("ping", HASH, NONE, 5, sender=operator)
    assert code.vote_upgrade(*other, sender=OPERATORS[2]).result is False
    with chain.reverts("NOT_DECIDED"):
        code.decision("ping")
    assert code.vote_upgrade("ping", HASH, NONE, 5, sender=OPERATORS[2]).result is True
    assert code.decision("ping") == [HASH, NONE, 5]


def test_only_voices_of_todays_operators_count(chain: Chain, governance: Deployed, code: Deployed) -> None:
    """One has left since it voted: its vote is none any more, and the quorum is that of those who are here."""
    for operator in OPERATORS[:2]:
        code.vote_freeze("ping", sender=operator)
    governance.change([OPERATORS[0], *OPERATORS[2:]], sender=AUTHOR)
    with chain.reverts("NOT_AN_OPERATOR"):
        code.vote_freeze("ping", sender=OPERATORS[1])
    assert code.vote_freeze("ping", sender=OPERATORS[2]).result is False
    assert code.vote_freeze("ping", sender=OPERATORS[4]).result is True


def test_a_new_decision_replaces_the_one_before(code: Deployed) -> None:
    """Until it is done, the operators may think again."""
    for height in (5, 9):
        for operator in OPERATORS[:3]:
            code.vote_upgrade("ping", HASH, NONE, height, sender=operator)
        assert code.decision("ping") == [HASH, NONE, height]


@pytest.mark.parametrize("members", range(1, 40))
def test_the_quorum_is_that_of_the_order(members: int) -> None:
    """Whoever could decide otherwise could also order otherwise."""
    assert votes_needed(members) == quorum_size(members)
