"""Who founds a simulated network: keys that follow from numbers, members, and the genesis file."""

from collections.abc import Sequence
from pathlib import Path

from contracts.runtime import Deployment, Runtime
from contracts.standard import source_of
from ledger.configuration import Configuration, Member, ProtocolParameters
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome, StateReader
from ledger.genesis import Argument, Genesis, GenesisContract, parse_genesis, write_genesis
from ledger.keys import Signer
from pbft.simulation.signing import ED25519, Signing

GENESIS_TIME_MS = 1_700_000_000_000
PROTOCOL = ProtocolParameters()
REGISTER_SOURCE = Path(__file__).with_name("register.contract").read_text(encoding="utf-8")
KEY_GENERATIONS_MAX = 16  # of a replica: the first byte of a seed after these names transport keys


def replica_key(replica: int, signing: Signing = ED25519, generation: int = 0) -> Signer:
    """The signing key of a simulated replica; a new generation is a new key (D37)."""
    assert generation < KEY_GENERATIONS_MAX
    return signing.make_key(bytes([0xA0 + generation, replica]) * 16)


def operator_key(replica: int, signing: Signing = ED25519) -> Signer:
    """The key with which a replica's operator votes."""
    return signing.make_key(bytes([0xC0, replica]) * 16)


def make_member(replica: int, id: int, signing: Signing = ED25519, generation: int = 0) -> Member:  # noqa: A002
    """A machine as a member of an epoch."""
    return Member(
        id=id,
        name=f"r{replica}",
        consensus_key=replica_key(replica, signing, generation).public_key,
        transport_key=signing.make_key(bytes([0xB0, replica]) * 16).public_key,
        operator_key=operator_key(replica, signing).public_key,
    )


def find_member_id(configuration: Configuration, machine: int) -> int | None:
    """The id that a machine has in an epoch; None where it is no member. Names stay, ids are places (D41)."""
    name = f"r{machine}"
    return next((member.id for member in configuration.members if member.name == name), None)


def machine_of(member: Member) -> int:
    """Which machine a member is, in every epoch."""
    return int(member.name[1:])


def client_key(client: int, signing: Signing = ED25519) -> Signer:
    """The signing key of a simulated client."""
    return signing.make_key(bytes([0xE0, client]) * 16)


def make_genesis(replicas: int, protocol: ProtocolParameters = PROTOCOL) -> Genesis:
    """The genesis of a simulated network."""
    return parse_genesis(make_genesis_file(replicas, protocol))


class FoundedRuntime:
    """The runtime of all nodes of a run: what genesis gives depends on nothing but genesis, so it is executed once.

    Around a runtime, not a kind of it: a compiled class has no interpreted heirs.
    """

    def __init__(self) -> None:
        self._runtime = Runtime()
        self._founded: BlockOutcome | None = None

    def execute_block(self, plan: BlockPlan, state: StateReader) -> BlockOutcome:
        """See `Runtime.execute_block`."""
        return self._runtime.execute_block(plan, state)

    def execute_genesis(self, contracts: Sequence[Deployment], time_ms: int, network: bytes) -> BlockOutcome:
        """See `Runtime.execute_genesis`; all calls are of one genesis."""
        if self._founded is None:
            self._founded = self._runtime.execute_genesis(contracts, time_ms, network)
        return self._founded

    def call_view(self, call: Call, state: StateReader, height: int, time_ms: int, network: bytes) -> CallOutcome:
        """See `Runtime.call_view`."""
        return self._runtime.call_view(call, state, height, time_ms, network)


def make_genesis_file(replicas: int, protocol: ProtocolParameters = PROTOCOL, signing: Signing = ED25519) -> bytes:
    """The genesis file of a simulated network: `register.contract` for its load, and the standard `governance`."""
    members = [make_member(replica, replica, signing) for replica in range(replicas)]
    founders: list[Argument] = [[member.name, member.operator_key] for member in members]
    return write_genesis(
        name="simulated",
        time_ms=GENESIS_TIME_MS,
        protocol=protocol,
        members=members,
        client_authorities=[signing.make_key(bytes([0xD0]) * 32).public_key],
        contracts=[
            GenesisContract(name="register", source=REGISTER_SOURCE),
            GenesisContract(name="governance", source=source_of("governance"), arguments=(founders,)),
        ],
    )
