"""The network definition: who the replicas are, where they listen, and the protocol's parameters; read strictly.

    definition = load_network(path)            # ConfigError names file, line, key, expected and got
    require_complete(definition, path)         # a template lacks keys; what runs must not
    text = dump_network(definition)            # canonical JSON, which load_network reads back to an equal definition
"""

from dataclasses import dataclass
from pathlib import Path

from ledger.genesis import ProtocolParameters


class ConfigError(Exception):
    """A definition that is refused. Every field is there for the message; `line` counts from 1, 0 where there is none."""

    def __init__(self, *, file: str, line: int, key: str, expected: str, got: str) -> None:
        place = f"{file}:{line}" if line else file
        super().__init__(f"{place}: {key}: expected {expected}, got {got}" if key else f"{place}: expected {expected}, got {got}")
        self.file, self.line, self.key, self.expected, self.got = file, line, key, expected, got


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaDefinition:
    """One replica: who runs it, where it listens, and its public keys (None only in a template)."""

    id: int
    name: str
    host: str
    p2p_port: int
    client_port: int
    ops_port: int
    consensus_key: bytes | None = None
    transport_key: bytes | None = None
    operator_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDefinition:
    """What all replicas of a network were told before its genesis."""

    version: int
    name: str
    genesis_time_ms: int | None  # None only in a template
    protocol: ProtocolParameters
    replicas: tuple[ReplicaDefinition, ...]  # ascending by id, ids 0..n-1
    client_authorities: tuple[bytes, ...] = ()  # Ed25519 public keys; empty only in a template
    network_id: bytes | None = None  # if given, the genesis must have it

    def replica(self, replica_id: int) -> ReplicaDefinition:
        """The entry of a replica id; KeyError for one that is not there."""
        ...


def load_network(path: Path) -> NetworkDefinition:
    """The definition in a YAML or JSON file; ConfigError."""
    ...


def parse_network(text: str, file: str) -> NetworkDefinition:
    """The definition in a text; `file` is its name for messages; ConfigError."""
    ...


def require_complete(definition: NetworkDefinition, file: str) -> None:
    """ConfigError for the first key, authority or time that only a template may lack."""
    ...


def dump_network(definition: NetworkDefinition) -> str:
    """Indented JSON in the format of the file, for network.json."""
    ...
