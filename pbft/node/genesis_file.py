"""From a complete network definition to the bytes of genesis.json, the same on every machine; and the check back.

    data = build_genesis(definition)           # deterministic; the network id is SHA-256 of these bytes
    genesis = check_genesis(definition, data)  # GenesisMismatch names what differs

A replica trusts its definition, which its operator holds, and checks the genesis against it: a foreign file, or one
with a member, key, parameter or contract changed, never starts a replica. The file's own format is ledger.genesis's.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from contracts.standard import genesis_contracts
from ledger.configuration import PARAMETER_NAMES
from ledger.errors import InvalidGenesis
from ledger.genesis import Genesis, GenesisContract, Member, parse_genesis, write_genesis
from pbft.node.network_config import NetworkDefinition, require_complete

MakeContracts: TypeAlias = Callable[[Sequence[tuple[str, bytes]]], Sequence[GenesisContract]]
"""(name, operator key) of each member -> the contracts of genesis, in order of their deployment."""


class GenesisMismatch(InvalidGenesis):
    """The genesis is not of this definition; `field`, `expected` and `got` say where they part."""

    def __init__(self, *, field: str, expected: str, got: str) -> None:
        detail = f"the genesis does not belong to this network definition: {field}"
        super().__init__("foreign", detail, expected=expected, got=got)
        self.field, self.expected, self.got = field, expected, got


def build_genesis(definition: NetworkDefinition, make_contracts: MakeContracts = genesis_contracts) -> bytes:
    """The bytes of genesis.json: the standard contracts (or others), the replicas' operators as founders.

    Raises ConfigError for a template, and GenesisMismatch where the definition states another network id.
    """
    require_complete(definition, definition.name)
    members = members_of(definition)
    assert definition.genesis_time_ms is not None  # complete
    data = write_genesis(
        name=definition.name,
        time_ms=definition.genesis_time_ms,
        protocol=definition.protocol,
        members=members,
        client_authorities=definition.client_authorities,
        contracts=make_contracts([(member.name, member.operator_key) for member in members]),
    )
    check_genesis(definition, data)
    return data


def check_genesis(definition: NetworkDefinition, data: bytes) -> Genesis:
    """The parsed genesis, after comparing all that the definition states, the network id included if it is given.

    Raises InvalidGenesis for a malformed file, GenesisMismatch for another network's, ConfigError for a template.
    Contracts are not in the definition: they are bound by the network id.
    """
    require_complete(definition, definition.name)
    genesis = parse_genesis(data)
    for field, expected, got in _compared(definition, genesis):
        if expected != got:
            raise GenesisMismatch(field=field, expected=_shown(expected), got=_shown(got))
    return genesis


def members_of(definition: NetworkDefinition) -> tuple[Member, ...]:
    """The members of epoch 0, from a complete definition."""
    members = []
    for replica in definition.replicas:
        assert replica.consensus_key is not None and replica.transport_key is not None
        assert replica.operator_key is not None
        members.append(
            Member(
                id=replica.id,
                name=replica.name,
                consensus_key=replica.consensus_key,
                transport_key=replica.transport_key,
                operator_key=replica.operator_key,
            )
        )
    return tuple(members)


def _compared(definition: NetworkDefinition, genesis: Genesis) -> Iterator[tuple[str, object, object]]:
    """(field, as defined, as in the genesis); the id last, so that a difference is named by what it is."""
    yield "name", definition.name, genesis.name
    yield "genesis_time", definition.genesis_time_ms, genesis.time_ms
    for name in PARAMETER_NAMES:
        yield f"protocol.{name}", getattr(definition.protocol, name), getattr(genesis.protocol, name)
    yield "number of replicas", len(definition.replicas), len(genesis.members)
    for defined, member in zip(members_of(definition), genesis.members, strict=False):
        for name in ("name", "consensus_key", "transport_key", "operator_key"):
            yield f"replicas[{defined.id}].{name}", getattr(defined, name), getattr(member, name)
    yield "number of client_authorities", len(definition.client_authorities), len(genesis.client_authorities)
    pairs = zip(definition.client_authorities, genesis.client_authorities, strict=False)
    for index, (expected, got) in enumerate(pairs):
        yield f"client_authorities[{index}]", expected, got
    if definition.network_id is not None:
        yield "network_id", definition.network_id, genesis.network_id


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
