"""Which network a client talks to: the genesis file's bytes, and where each replica's client port is.

Everything that a client trusts follows from `genesis.json`: the network id, the members' keys, the quorums. The
addresses are only a way to reach the replicas; each link is checked against the transport key of the genesis.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.errors import LedgerError
from ledger.genesis import Genesis, parse_genesis
from pbft.client.errors import InvalidNetworkDirectory
from pbft.node.network_config import ConfigError, NetworkDefinition, load_network

GENESIS_FILE: Final = "genesis.json"
NETWORK_FILE: Final = "network.json"
CLIENT_FOLDER: Final = "client"  # layout: pbft.node.client_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaAddress:
    """Where one replica listens for clients, and the key that its TLS certificate must have."""

    replica: int
    host: str
    port: int
    transport_key: bytes  # 32-byte Ed25519 public key, from the genesis


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientNetwork:
    """A network as a client knows it."""

    genesis_bytes: bytes
    genesis: Genesis
    addresses: tuple[ReplicaAddress, ...]  # ascending by replica id, one for each member

    @property
    def network_id(self) -> bytes:
        return self.genesis.network_id

    @property
    def replicas(self) -> int:
        """n of the configuration in force."""
        return len(self.addresses)

    @property
    def weak_quorum(self) -> int:
        """W = f + 1: equal answers of so many replicas contain a correct one's."""
        return self.genesis.configuration.weak_quorum


def make_network(genesis_bytes: bytes, definition: NetworkDefinition) -> ClientNetwork:
    """Join a genesis file with the addresses of a network definition. Raises LedgerError for a malformed genesis."""
    genesis = parse_genesis(genesis_bytes)
    addresses = []
    for member in sorted(genesis.members, key=lambda member: member.id):
        replica = definition.replica(member.id)
        addresses.append(
            ReplicaAddress(
                replica=member.id,
                host=replica.host,
                port=replica.client_port,
                transport_key=member.transport_key,
            )
        )
    return ClientNetwork(genesis_bytes=genesis_bytes, genesis=genesis, addresses=tuple(addresses))


def read_network(data_dir: Path) -> ClientNetwork:
    """The network of a local data directory (`genesis.json`, `network.json`). Raises InvalidNetworkDirectory."""
    try:
        genesis_bytes = (data_dir / GENESIS_FILE).read_bytes()
        return make_network(genesis_bytes, load_network(data_dir / NETWORK_FILE))
    except FileNotFoundError as error:
        raise InvalidNetworkDirectory(str(data_dir), f"no {Path(error.filename).name}; is a network there?") from error
    except KeyError as error:
        raise InvalidNetworkDirectory(str(data_dir), f"{NETWORK_FILE} lacks replica {error}") from error
    except (OSError, ConfigError, LedgerError) as error:
        raise InvalidNetworkDirectory(str(data_dir), str(error)) from error
