"""From a complete network definition to the bytes of genesis.json, the same on every machine; and the check back.

    data = build_genesis(definition)           # deterministic; the network id is SHA-256 of these bytes
    genesis = check_genesis(definition, data)  # GenesisMismatch names what differs
"""

from ledger.genesis import Genesis
from pbft.node.network_config import NetworkDefinition


class GenesisMismatch(Exception):
    """The genesis is not of this definition; `field`, `expected` and `got` say where they part."""

    def __init__(self, *, field: str, expected: str, got: str) -> None:
        super().__init__(f"genesis does not belong to this network definition: {field}: expected {expected}, got {got}")
        self.field, self.expected, self.got = field, expected, got


def build_genesis(definition: NetworkDefinition) -> bytes:
    """The bytes of genesis.json, with the standard contracts and the operators of the replicas as founders."""
    ...


def check_genesis(definition: NetworkDefinition, data: bytes) -> Genesis:
    """The parsed genesis, after comparing members, keys, parameters and (if stated) the network id."""
    ...
