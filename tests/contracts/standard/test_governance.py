"""Governance: a quorum of the operators decides on the next configuration, and nobody else does."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from contracts.standard import source_of
from contracts.standard.governance import votes_needed
from contracts.testing import WINDOW, CallFailedError, Chain, Deployed
from ledger.configuration import (
    Configuration,
    Member,
    ProtocolParameters,
    configuration_key,
    parse_decision,
    quorum_size,
)

OPERATORS = [bytes([index]) * 32 for index in range(1, 5)]


def configuration(epoch: int = 1, operators: list[bytes] = OPERATORS, stride: int = 8) -> bytes:
    """A document whose members have these operator keys."""
    members = tuple(
        Member(
            id=index,
            name=f"coop {key[0]}",
            consensus_key=bytes([100 + key[0]]) * 32,
            transport_key=bytes([200 - key[0]]) * 32,
            operator_key=key,
        )
        for index, key in enumerate(operators)
    )
    parameters = ProtocolParameters(stride=stride)
    return Configuration(network=bytes(32), epoch=epoch, members=members, parameters=parameters).to_bytes()


@pytest.fixture
def governance(chain: Chain) -> Deployed:
    founders = [[f"coop {key[0]}", key] for key in OPERATORS]
    return chain.deploy(source_of("governance").encode(), founders, name="governance")


def test_a_quorum_decides(chain: Chain, governance: Deployed) -> None:
    """Three of four: the third vote writes the record, with the height at which the epoch ends."""
    document = configuration()
    assert governance.vote(document, sender=OPERATORS[0]).result is False
    assert governance.vote(document, sender=OPERATORS[2]).result is False
    assert configuration_key(1) not in chain.state
    assert governance.votes_for(document) == [OPERATORS[0], OPERATORS[2]]
    receipt = governance.vote(document, sender=OPERATORS[1])
    assert receipt.result is True
    assert [event.name for event in receipt.events] == ["Voted", "Decided"]
    assert parse_decision(chain.state[configuration_key(1)]) == (chain.height + WINDOW, document)


@pytest.mark.parametrize("members", range(4, 17))
def test_the_contract_counts_as_the_order_does(members: int) -> None:
    """M1: the same Q for every n."""
    assert votes_needed(members) == quorum_size(members)


def test_one_voice_each_and_only_operators(chain: Chain, governance: Deployed) -> None:
    """A stranger has no vote, nobody has two, and votes for two documents do not add up."""
    with chain.reverts("NOT_AN_OPERATOR"):
        governance.vote(configuration(), sender=b"\xee" * 32)
    governance.vote(configuration(), sender=OPERATORS[0])
    with chain.reverts("VOTED_BEFORE"):
        governance.vote(configuration(), sender=OPERATORS[0])
    governance.vote(configuration(stride=4), sender=OPERATORS[1])
    governance.vote(configuration(stride=4), sender=OPERATORS[2])
    assert configuration_key(1) not in chain.state


def decide(governance: Deployed, document: bytes, operators: list[bytes] = OPERATORS) -> None:
    for operator in operators[:3]:
        governance.vote(document, sender=operator)


def test_d40_one_change_may_wait(chain: Chain, governance: Deployed) -> None:
    """D40, "one pending set": the deciding vote of a second change is refused with a code until the epoch has begun."""
    decide(governance, configuration())
    with chain.reverts("PENDING"):
        decide(governance, configuration(epoch=2, stride=4))
    with chain.reverts("PENDING"):
        governance.vote(configuration(stride=4), sender=OPERATORS[2])
        governance.vote(configuration(stride=4), sender=OPERATORS[1])
        governance.vote(configuration(stride=4), sender=OPERATORS[0])
    chain.epoch = 1
    governance.vote(configuration(epoch=2, stride=4), sender=OPERATORS[2])
    assert configuration_key(2) in chain.state


def test_the_operators_of_the_next_members_decide_the_change_after(chain: Chain, governance: Deployed) -> None:
    """One of four is replaced by a newcomer; whoever left has no voice any more."""
    newcomer = b"\x77" * 32
    decide(governance, configuration(operators=[*OPERATORS[:3], newcomer]))
    chain.epoch = 1
    assert governance.operator_keys() == [*OPERATORS[:3], newcomer]
    with chain.reverts("NOT_AN_OPERATOR"):
        governance.vote(configuration(epoch=2), sender=OPERATORS[3])
    decide(governance, configuration(epoch=2), [OPERATORS[0], newcomer, OPERATORS[1]])
    assert configuration_key(2) in chain.state


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: b"",
        lambda document: document[:-1],
        lambda document: configuration(epoch=0),
        lambda document: configuration(epoch=2),
        lambda document: bytes(40_000),
    ],
)
def test_what_is_no_next_configuration_is_refused(
    chain: Chain, governance: Deployed, spoil: Callable[[bytes], bytes]
) -> None:
    """CONFIGURATION, at the vote that would decide; the votes before it stand and decide nothing."""
    with chain.reverts("CONFIGURATION"):
        decide(governance, spoil(configuration()))
    assert configuration_key(1) not in chain.state


_OTHER = b"""
from contracts import Contract, change_configuration, external, view


class Other(Contract):
    @external
    def decide(self, document: bytes) -> int:
        return len(change_configuration(document))

    @external
    def decide_a_number(self) -> int:
        return len(change_configuration(7))

    @view
    def look(self, document: bytes) -> int:
        return len(change_configuration(document))
"""


def test_only_the_contract_called_governance_decides(chain: Chain) -> None:
    """The host asks for the name: the same code under another name is refused, in a view and with a wrong type too."""
    other = chain.deploy(_OTHER, name="other")
    with chain.reverts("GOVERNANCE"):
        other.decide(configuration(), sender=OPERATORS[0])
    named = chain.deploy(_OTHER, name="governance")
    with chain.reverts("READ_ONLY"):
        named.look(configuration())
    with chain.reverts("TYPE"):
        named.decide_a_number(sender=OPERATORS[0])
    assert named.decide(configuration(), sender=OPERATORS[0]).result == 4


_AT_START = b"""
from contracts import Contract, change_configuration, init


class Early(Contract):
    count: int

    @init
    def setup(self, document: bytes) -> None:
        self.count = len(change_configuration(document))
"""


def test_no_deploy_decides(chain: Chain) -> None:
    """The configuration of epoch 0 is the genesis file's: an @init cannot replace it."""
    with pytest.raises(CallFailedError) as caught:
        chain.deploy(_AT_START, configuration(), name="governance")
    assert caught.value.code == "GOVERNANCE"


def test_a_change_that_fails_leaves_nothing(chain: Chain) -> None:
    """The record is undone with everything else that the call wrote."""
    source = _OTHER.replace(
        b"return len(change_configuration(document))", b"return len(change_configuration(document)) // 0", 1
    )
    named = chain.deploy(source, name="governance")
    with chain.reverts("DIVISION"):
        named.decide(configuration(), sender=OPERATORS[0])
    assert configuration_key(1) not in chain.state


def test_the_price_grows_with_the_document(chain: Chain) -> None:
    """Parsed and stored: a longer document costs more, and the largest network still fits one transaction."""
    named = chain.deploy(_OTHER, name="governance")
    operators = [bytes([index]) * 32 for index in range(1, 65)]
    with chain.snapshot():
        small = named.decide(configuration(), sender=OPERATORS[0]).gas
    large = named.decide(configuration(operators=operators), sender=OPERATORS[0]).gas
    assert small < large < 200_000
    assert replace(ProtocolParameters(), stride=4).transaction_gas_max > large
