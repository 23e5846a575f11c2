"""The calls that bring code, as the contract `code` takes them: no network, the real engine."""

from typing import Any

from contracts.standard import source_of
from contracts.testing import Chain, Deployed
from ledger.encoding import decode
from ledger.execution import CallOutcome, contract_address
from pbft.client import code

AUTHOR = b"a" * 32
OPERATORS = [bytes([number]) * 32 for number in range(1, 5)]
SOURCE = source_of("ping").encode()
NEXT = SOURCE.replace(b"def ping(", b"def pong(")


def attempt(chain: Chain, contract: Deployed, call: tuple[Any, ...], sender: bytes) -> CallOutcome:
    """A call as `submit` would send it."""
    name, method, *arguments = call
    assert name == contract.name
    return chain.attempt(contract, method, *arguments, sender=sender)


def test_they_deploy_vote_and_upgrade() -> None:
    """With the arguments in the form that the contract asks for."""
    chain = Chain()
    founders = [[f"coop {key[0]}", key] for key in OPERATORS]
    governance = chain.deploy(source_of("governance").encode(), founders, name="governance")
    contract = chain.deploy(source_of("code").encode(), governance, [AUTHOR], name="code")
    deployed = attempt(chain, contract, code.deploy("hello", SOURCE), AUTHOR)
    assert (deployed.status, decode(deployed.result)) == ("ok", contract_address("hello"))
    votes = [
        attempt(chain, contract, code.vote_upgrade("hello", NEXT, from_height=3), operator)
        for operator in OPERATORS[:3]
    ]
    assert [decode(vote.result) for vote in votes] == [False, False, True]
    assert contract.decision("hello")[2] == 3
    upgraded = attempt(chain, contract, code.upgrade("hello", NEXT), AUTHOR)
    assert (upgraded.status, decode(upgraded.result)) == ("ok", votes and code.vote_upgrade("hello", NEXT)[3])
