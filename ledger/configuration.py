"""Who the members of an epoch are and which parameters they agreed on: all that counting votes needs (D6, D41).

Pure data, the same on every replica; per-machine settings are elsewhere (`pbft.node.network_config`). Everything here
is consensus-critical and hashed into `next_config_hash` of every header. Epoch 0's configuration is in the genesis
file, each later one is a *document*: canonical bytes that governance decides on. Which one holds at which height is
`ledger.epochs`' business.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

from ledger.encoding import Value, decode, encode
from ledger.errors import EncodingError, InvalidConfiguration, InvalidGenesis
from ledger.hashing import PUBLIC_KEY_BYTES, Tag, tagged_hash
from ledger.shapes import expect_array, expect_bytes, expect_int, expect_str

MEMBERS_MIN: Final = 4
"""Fewer replicas tolerate no fault (n > 3f)."""
MEMBERS_MAX: Final = 64
"""A VIEW-CHANGE round is quadratic in the members; 64 is four times the largest network this is designed for."""
MEMBER_NAME_CHARACTERS_MAX: Final = 64
"""A cooperative's legal name, as it is shown to people."""
DOCUMENT_BYTES_MAX: Final = 32_768
"""64 members with names of four bytes a character take 25 KB; it travels in one transaction."""
NUMBER_MAX: Final = 2**63 - 1
"""Of an epoch and of a height."""
CONFIGURATION_PREFIX: Final = b"e/"
"""State keys of decided configurations: prefix, epoch (8 bytes, big-endian)."""

EXECUTION_GAS_MAX: Final = 50_000_000
"""Of a block's calls and of the scheduled calls at its start, together. A unit of gas leaves at most one byte in the
outcome that the contract worker answers, and what has no price there, 200 bytes for each of the requests, takes 2 MB at
most: four fifths of what every replica reads (`ledger.execution.OUTCOME_BYTES_MAX`). An outcome beyond that would stop
execution on all of them at once. (`tests/contracts/test_outcome_bounds.py` computes it from the prices.)"""

# A parameter's name -> the values that a network may choose, and why the bounds are there.
PARAMETER_BOUNDS: Final[dict[str, tuple[int, int]]] = {
    "window": (8, 1024),  # memory: each slot may hold a batch
    "stride": (1, 256),  # and at most window / 4 (D24)
    "base_timer_ms": (100, 60_000),  # below a link's round trip every request would be suspected
    "view_timer_ms": (100, 60_000),
    "batch_requests_max": (1, 10_000),
    "batch_bytes_max": (131_072, 8_388_608),  # one transaction of the greatest length must fit
    "transaction_gas_max": (10_000, EXECUTION_GAS_MAX // 2),  # neither of the next two may be less
    "block_gas_max": (10_000, EXECUTION_GAS_MAX),  # and together at most that
    "scheduled_gas_max": (10_000, EXECUTION_GAS_MAX),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolParameters:
    """The numbers that every replica must share. Raises InvalidGenesis where they contradict each other."""

    window: int = 64  # L: heights between the watermarks
    stride: int = 8  # s: every s-th height is always voted on (D24)
    base_timer_ms: int = 1500  # T: patience with a request (D56)
    view_timer_ms: int = 1500  # patience with a new view before the first doubling (D57)
    batch_requests_max: int = 500  # 1,000 are cheaper each under full load, and their block takes twice as long
    batch_bytes_max: int = 1_048_576  # the sum of the raw transactions of a batch
    transaction_gas_max: int = 5_000_000
    block_gas_max: int = 20_000_000  # sum of the gas limits of a batch, judged at proposal (D42)
    scheduled_gas_max: int = 20_000_000  # scheduled calls at the start of a block (D65)

    def __post_init__(self) -> None:
        for name, (low, high) in PARAMETER_BOUNDS.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InvalidGenesis("parameter", name, expected_min=low, expected_max=high, got=value)
        if self.stride * 4 > self.window:
            raise InvalidGenesis("parameter", "stride", expected_max=self.window // 4, got=self.stride)
        for name in ("block_gas_max", "scheduled_gas_max"):
            if getattr(self, name) < self.transaction_gas_max:
                raise InvalidGenesis("parameter", name, expected_min=self.transaction_gas_max, got=getattr(self, name))
        together = self.block_gas_max + self.scheduled_gas_max
        if together > EXECUTION_GAS_MAX:
            names = "block_gas_max + scheduled_gas_max"
            raise InvalidGenesis("parameter", names, expected_max=EXECUTION_GAS_MAX, got=together)


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


MEMBER_FIELDS: Final = tuple(field.name for field in fields(Member))
"""The fields in their hashed order."""


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
        return tagged_hash(Tag.CONFIGURATION, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The document: canonical bytes of [1, epoch, members, parameters]."""
        members = [[getattr(member, name) for name in MEMBER_FIELDS] for member in self.members]
        return encode([1, self.epoch, members, [getattr(self.parameters, name) for name in PARAMETER_NAMES]])


def parse_configuration(document: bytes, network: bytes) -> Configuration:
    """A configuration from its document. Raises InvalidConfiguration: malformed, a parameter out of its bounds, too few
    members, two alike. The same rules hold for the members and parameters of a genesis file.
    """
    try:
        fields = expect_array(decode(document, max_bytes=DOCUMENT_BYTES_MAX), "configuration", 4)
        expect_int(fields[0], "version", 1, 1)
        items = expect_array(fields[2], "members")
        if not MEMBERS_MIN <= len(items) <= MEMBERS_MAX:
            raise InvalidConfiguration("members", expected_min=MEMBERS_MIN, expected_max=MEMBERS_MAX, got=len(items))
        numbers = expect_array(fields[3], "parameters", len(PARAMETER_NAMES))
        parameters = {name: expect_int(v, name, 0, 2**31) for name, v in zip(PARAMETER_NAMES, numbers, strict=True)}
        configuration = Configuration(
            network=network,
            epoch=expect_int(fields[1], "epoch", 0, NUMBER_MAX),
            members=tuple(_parse_member(item, index) for index, item in enumerate(items)),
            parameters=ProtocolParameters(**parameters),
        )
        require_distinct(configuration.members)
    except EncodingError as error:
        raise InvalidConfiguration("malformed", str(error)) from None
    except InvalidGenesis as error:
        raise InvalidConfiguration(error.code, error.detail, **error.fields) from None
    return configuration


def _parse_member(value: Value, index: int) -> Member:
    fields = expect_array(value, "member", len(MEMBER_FIELDS))
    name = expect_str(fields[1], "name", MEMBER_NAME_CHARACTERS_MAX)
    if not name:
        raise InvalidConfiguration("name", "a member has a name", member=index)
    keys = zip(MEMBER_FIELDS[2:], fields[2:], strict=True)
    return Member(
        id=expect_int(fields[0], "id", index, index),
        name=name,
        **{field: expect_bytes(key, field, PUBLIC_KEY_BYTES) for field, key in keys},
    )


def require_distinct(members: Sequence[Member]) -> None:
    """No two members share a name or a key of one kind. Raises InvalidGenesis (duplicate)."""
    for field in MEMBER_FIELDS[1:]:
        if len({getattr(member, field) for member in members}) != len(members):
            raise InvalidGenesis("duplicate", f"members: two have the same {field}")


def configuration_key(epoch: int) -> bytes:
    """Where the world state holds the configuration of an epoch above 0, once it is decided."""
    return CONFIGURATION_PREFIX + epoch.to_bytes(8, "big")


def encode_decision(last_height: int, document: bytes) -> bytes:
    """What the world state holds there: the last height of the epoch before, and the document."""
    return encode([last_height, document])


def parse_decision(data: bytes) -> tuple[int, bytes]:
    """The opposite of `encode_decision`. Raises EncodingError."""
    fields = expect_array(decode(data), "decision", 2)
    return expect_int(fields[0], "last_height", 0, NUMBER_MAX), expect_bytes(fields[1], "document")


def faults_tolerated(n: int) -> int:
    """f, the most faulty replicas that n can hold: n > 3f (M1)."""
    return (n - 1) // 3


def quorum_size(n: int) -> int:
    """Q = ceil((n + f + 1) / 2): two quorums intersect in f + 1 replicas or more (D1, M1)."""
    return (n + faults_tolerated(n) + 2) // 2


def weak_quorum_size(n: int) -> int:
    """W = f + 1 (M1)."""
    return faults_tolerated(n) + 1
