"""The community vote: who votes, when it closes, and that no row of calls counts a ballot twice."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from contracts.state_machine import contract_machine
from contracts.testing import Chain, Deployed

SOURCE = Path(__file__).parents[3] / "contracts" / "examples" / "community_vote.py"
DAY = 86_400


def deploy(chain: Chain, accounts: list[bytes]) -> Deployed:
    return chain.deploy(SOURCE, members=accounts[:-1], quorum=50)


@pytest.fixture
def accounts(chain: Chain) -> list[bytes]:
    return chain.accounts(5)


@pytest.fixture
def vote(chain: Chain, accounts: list[bytes]) -> Deployed:
    return deploy(chain, accounts)


def state_of(vote: Deployed, number: int) -> list[object]:
    """Yes, no and the state of a question."""
    _, _, _, yes, no, state = vote.question(number)
    return [yes, no, state]


def test_the_chain_closes_a_question_at_its_deadline(chain: Chain, vote: Deployed, accounts: list[bytes]) -> None:
    """Open to the last second, changed votes counted once; then closed by the schedule and by nobody else."""
    ann, ben, *_ = accounts
    number = vote.put("Solar on the school?", DAY, sender=ann).result
    vote.vote(number, True, sender=ann)
    vote.vote(number, False, sender=ben)
    vote.vote(number, True, sender=ben)
    assert vote.ballot(number, ben) is True and vote.ballot(number, accounts[2]) is None
    chain.advance(DAY - 1)
    assert state_of(vote, number) == [2, 0, "open"]
    closed = chain.advance(1)
    assert [event.name for event in closed[0].outcome.events] == ["Decided"]
    assert state_of(vote, number) == [2, 0, "adopted"]
    with chain.reverts("CLOSED"):
        vote.vote(number, False, sender=ben)


@pytest.mark.parametrize(("ballots", "state"), [([True], "rejected"), ([True, False], "rejected"), ([], "rejected")])
def test_a_question_needs_a_quorum_and_a_majority(
    chain: Chain, vote: Deployed, accounts: list[bytes], ballots: list[bool], state: str
) -> None:
    """Half of four homes, and more yes than no."""
    number = vote.put("A wallbox?", DAY, sender=accounts[0]).result
    for account, ballot in zip(accounts, ballots, strict=False):
        vote.vote(number, ballot, sender=account)
    chain.advance(DAY)
    assert state_of(vote, number)[2] == state


def test_only_members_take_part(chain: Chain, vote: Deployed, accounts: list[bytes]) -> None:
    """Neither put nor vote; and a question has to be there."""
    stranger = accounts[-1]
    with chain.reverts("NOT_A_MEMBER"):
        vote.put("Mine?", DAY, sender=stranger)
    number = vote.put("Ours?", DAY, sender=accounts[0]).result
    with chain.reverts("NOT_A_MEMBER"):
        vote.vote(number, True, sender=stranger)
    with chain.reverts("NO_QUESTION"):
        vote.vote(number + 1, True, sender=accounts[0])


class TestRandomCalls(
    contract_machine(
        deploy,
        arguments={"seconds": st.integers(3_599, 200_000), "number": st.integers(0, 4)},
        accounts=4,
        seconds=100_000,
    ).TestCase
):
    """Any calls in any order: every ballot is counted, once."""

    settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
