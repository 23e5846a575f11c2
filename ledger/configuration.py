"""Who the members of an epoch are and which parameters they agreed on: all that counting votes needs (D6, D41).

Pure data, the same on every replica; per-machine settings are elsewhere (`pbft.node.network_config`). Everything here
is consensus-critical and hashed into `next_config_hash` of every header.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

from ledger.encoding import encode
from ledger.errors import InvalidGenesis
from ledger.hashing import Tag, tagged_hash

MEMBERS_MIN: Final = 4
"""Fewer replicas tolerate no fault (n > 3f)."""
MEMBERS_MAX: Final = 64
"""A VIEW-CHANGE round is quadratic in the members; 64 is four times the largest network this is designed for."""

# A parameter's name -> the values that a network may choose, and why the bounds are there.
_BOUNDS: Final[dict[str, tuple[int, int]]] = {
    "window": (8, 1024),  # memory: each slot may hold a batch
    "stride": (1, 256),  # and at most window / 4 (D24)
    "base_timer_ms": (100, 60_000),  # below a link's round trip every request would be suspected
    "view_timer_ms": (100, 60_000),
    "batch_requests_max": (1, 10_000),
    "batch_bytes_max": (131_072, 8_388_608),  # one transaction of the greatest length must fit
    "transaction_gas_max": (10_000, 100_000_000),
    "block_gas_max": (10_000, 1_000_000_000),
    "scheduled_gas_max": (10_000, 1_000_000_000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolParameters:
    """The numbers that every replica must share. Raises InvalidGenesis where they contradict each other."""

    window: int = 64  # L: heights between the watermarks
    stride: int = 8  # s: every s-th height is always voted on (D24)
    base_timer_ms: int = 1500  # T: patience with a request (D56)
    view_timer_ms: int = 1500  # patience with a new view before the first doubling (D57)
    batch_requests_max: int = 500  # FIGURES: more than 500 a batch saves nothing
    batch_bytes_max: int = 1_048_576  # the sum of the raw transactions of a batch
    transaction_gas_max: int = 5_000_000
    block_gas_max: int = 20_000_000  # sum of the gas limits of a batch, judged at proposal (D42)
    scheduled_gas_max: int = 20_000_000  # scheduled calls at the start of a block (D65)

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InvalidGenesis("parameter", name, expected_min=low, expected_max=high, got=value)
        if self.stride * 4 > self.window:
            raise InvalidGenesis("parameter", "stride", expected_max=self.window // 4, got=self.stride)
        for name in ("block_gas_max", "scheduled_gas_max"):
            if getattr(self, name) < self.transaction_gas_max:
                raise InvalidGenesis("parameter", name, expected_min=self.transaction_gas_max, got=getattr(self, name))


PARAMETER_NAMES: Final = tuple(field.name for field in fields(ProtocolParameters))
"""The fields in their hashed order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A validator: one replica and its public keys. `id` is its index in the member list."""

    id: int
    name: str
    consensus_key: bytes  # Ed25519, signs messages and header votes
    transport_key: bytes  # Ed25519, of the TLS certificate (pinned)
    operator_key: bytes  # Ed25519, the cooperative's own, for governance


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The members and parameters of an epoch. `network` is in every signed byte string, not in the hash."""

    network: bytes  # 32 bytes: SHA-256 of the genesis file
    epoch: int
    members: tuple[Member, ...]
    parameters: ProtocolParameters

    @property
    def n(self) -> int:
        """The number of replicas."""
        return len(self.members)

    @property
    def f(self) -> int:
        """How many of them may be faulty."""
        return faults_tolerated(self.n)

    @property
    def quorum(self) -> int:
        """Q: any two quorums share a correct replica."""
        return quorum_size(self.n)

    @property
    def weak_quorum(self) -> int:
        """W: at least one of so many replicas is correct."""
        return weak_quorum_size(self.n)

    @cached_property
    def hash(self) -> bytes:
        """What `next_config_hash` of a header names (D31)."""
        members = [[m.id, m.name, m.consensus_key, m.transport_key, m.operator_key] for m in self.members]
        parameters = [getattr(self.parameters, name) for name in PARAMETER_NAMES]
        return tagged_hash(Tag.CONFIGURATION, encode([1, self.epoch, members, parameters]))


def faults_tolerated(n: int) -> int:
    """f, the most faulty replicas that n can hold: n > 3f (M1)."""
    return (n - 1) // 3


def quorum_size(n: int) -> int:
    """Q = ceil((n + f + 1) / 2): two quorums intersect in f + 1 replicas or more (D1, M1)."""
    return (n + faults_tolerated(n) + 2) // 2


def weak_quorum_size(n: int) -> int:
    """W = f + 1 (M1)."""
    return faults_tolerated(n) + 1
