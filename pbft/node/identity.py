"""The key directory of one replica: made once by `keys new`, read by `run`, and its public card for the others.

    card = create_identity(directory, name="coop-a", passphrase=b"...")     # IdentityError if it already holds keys
    identity = read_identity(directory, passphrase=b"...")                  # IdentityError: missing, readable by others
    check_identity(identity, definition, replica_id)                        # IdentityError naming the key that differs

consensus.pem, operator.pem and transport.pem are encrypted PKCS#8 (ledger.key_files); card.json holds public keys only.
"""

from dataclasses import dataclass
from pathlib import Path

from ledger.keys import SigningKey
from pbft.node.network_config import NetworkDefinition
from pbft.node.tls import TlsIdentity


class IdentityError(Exception):
    """A key directory that cannot be used; the message names the file and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicCard:
    """What a replica's operator sends to the others: names and public keys, nothing secret."""

    name: str
    consensus_key: bytes
    transport_key: bytes
    operator_key: bytes

    def to_json(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaIdentity:
    """What a running replica holds in memory. The operator's private key is never loaded: running needs no governance."""

    card: PublicCard
    consensus: SigningKey
    transport: TlsIdentity


def create_identity(directory: Path, *, name: str, passphrase: bytes) -> PublicCard:
    """Makes three fresh keys and writes them with mode 0600; refuses a directory that already holds one."""
    ...


def read_identity(directory: Path, *, passphrase: bytes) -> ReplicaIdentity:
    """The replica's identity; refuses missing or group-readable files and a card that is not of these keys."""
    ...


def read_operator_key(directory: Path, *, passphrase: bytes) -> SigningKey:
    """The operator's key, for governance commands only."""
    ...


def read_card(path: Path) -> PublicCard:
    """A public card from its JSON file; IdentityError."""
    ...


def read_passphrase(path: Path) -> bytes:
    """The first line of a file that only its owner can read; IdentityError."""
    ...


def check_identity(identity: ReplicaIdentity, definition: NetworkDefinition, replica_id: int) -> None:
    """IdentityError where one of the keys is not the one that the definition lists for this replica."""
    ...
