"""The genesis file: who founds a network, under which parameters, with which contracts.

BE CONSERVATIVE: the network id is the SHA-256 of the file's bytes, and every signature names it. The file is therefore
canonical JSON (sorted keys, one-space indent, ASCII, one newline at the end): parsing writes the document again and
compares, so one genesis has one byte string. `parse_genesis` is strict and total: unknown, missing and repeated keys,
wrong types and bad keys are refused with the path to the field.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

from ledger.block import TIME_MAX_MS
from ledger.configuration import (
    MEMBER_NAME_CHARACTERS_MAX,
    MEMBERS_MAX,
    MEMBERS_MIN,
    PARAMETER_NAMES,
    Configuration,
    Member,
    ProtocolParameters,
    require_distinct,
)
from ledger.encoding import INTEGER_MAX, INTEGER_MIN, encode
from ledger.errors import InvalidGenesis
from ledger.execution import contract_address
from ledger.shapes import NAME_PATTERN

__all__ = [
    "Argument",
    "Configuration",
    "ContractReference",
    "Genesis",
    "GenesisContract",
    "Member",
    "ProtocolParameters",
    "parse_genesis",
    "write_genesis",
]

GENESIS_BYTES_MAX: Final = 8 * 1024 * 1024
"""Sources of a hundred contracts of 64 KiB, with room."""
NAME_CHARACTERS_MAX: Final = 64
CONTRACTS_MAX: Final = 128
SOURCE_CHARACTERS_MAX: Final = 65_536
CLIENT_AUTHORITIES_MAX: Final = 64
ARGUMENT_DEPTH_MAX: Final = 8
_SURROGATE: Final = re.compile("[\ud800-\udfff]")  # JSON can name one alone, UTF-8 has no form for it


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractReference:
    """In an argument: the address of the named contract. JSON: ``{"contract": name}``."""

    contract: str


Argument: TypeAlias = "int | str | bool | bytes | ContractReference | list[Argument]"
"""An argument of a genesis contract's @init. Bytes are ``{"hex": ...}`` in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenesisContract:
    """A contract that genesis deploys, and what its @init gets."""

    name: str
    source: str
    arguments: tuple[Argument, ...] = ()

    def encoded_arguments(self) -> bytes:
        """Canonical bytes of the arguments array, references resolved to addresses."""
        return encode([_resolve(argument) for argument in self.arguments])


def _resolve(argument: Argument) -> object:
    if isinstance(argument, ContractReference):
        return contract_address(argument.contract)
    if isinstance(argument, list):
        return [_resolve(item) for item in argument]
    return argument


@dataclass(frozen=True, kw_only=True)
class Genesis:
    """A parsed genesis file."""

    name: str
    network_id: bytes  # SHA-256 of the file's bytes
    time_ms: int  # UTC milliseconds: the time of height 0
    protocol: ProtocolParameters
    members: tuple[Member, ...]  # ids 0 to n - 1, in order
    client_authorities: tuple[bytes, ...]  # Ed25519 keys that issue client certificates
    contracts: tuple[GenesisContract, ...]  # in order of deployment

    @cached_property
    def configuration(self) -> Configuration:
        """The configuration of epoch 0."""
        return Configuration(network=self.network_id, epoch=0, members=self.members, parameters=self.protocol)


def write_genesis(
    *,
    name: str,
    time_ms: int,
    protocol: ProtocolParameters,
    members: Sequence[Member],
    client_authorities: Sequence[bytes],
    contracts: Sequence[GenesisContract],
) -> bytes:
    """The bytes of a genesis file, the same for the same input. Raises InvalidGenesis for what would not parse."""
    document = {
        "version": 1,
        "name": name,
        "time_ms": time_ms,
        "protocol": {field: getattr(protocol, field) for field in PARAMETER_NAMES},
        "members": [
            {
                "id": member.id,
                "name": member.name,
                "consensus_key": member.consensus_key.hex(),
                "transport_key": member.transport_key.hex(),
                "operator_key": member.operator_key.hex(),
            }
            for member in members
        ],
        "client_authorities": [key.hex() for key in client_authorities],
        "contracts": [
            {
                "name": contract.name,
                "source": contract.source,
                "arguments": [_argument_to_json(argument) for argument in contract.arguments],
            }
            for contract in contracts
        ],
    }
    data = _canonical_json(document)
    parse_genesis(data)
    return data


def _canonical_json(document: object) -> bytes:
    return (json.dumps(document, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode()


def _argument_to_json(argument: Argument) -> object:
    if isinstance(argument, bytes):
        return {"hex": argument.hex()}
    if isinstance(argument, ContractReference):
        return {"contract": argument.contract}
    if isinstance(argument, list):
        return [_argument_to_json(item) for item in argument]
    return argument


def parse_genesis(data: bytes) -> Genesis:
    """A genesis from the file's bytes. Raises InvalidGenesis naming the field; any other byte form is refused too."""
    if len(data) > GENESIS_BYTES_MAX:
        raise InvalidGenesis("too_long", expected_max=GENESIS_BYTES_MAX, got=len(data))
    try:
        return _parse_document(json.loads(data.decode("ascii")), data)
    except (ValueError, RecursionError) as error:  # bytes beyond ASCII are a ValueError; nesting ends any step below
        raise InvalidGenesis("json", f"not JSON: {type(error).__name__}") from None


def _parse_document(document: Any, data: bytes) -> Genesis:
    fields = _object(
        document, "genesis", ("version", "name", "time_ms", "protocol", "members", "client_authorities", "contracts")
    )
    if _integer(fields["version"], "version", 0, 2**31) != 1:
        raise InvalidGenesis("version", "only version 1 is known", expected=1, got=fields["version"])
    contracts = _array(fields["contracts"], "contracts", 0, CONTRACTS_MAX)
    names = [_object(c, f"contracts[{i}]", ("name", "source", "arguments"))["name"] for i, c in enumerate(contracts)]
    if len(set(map(repr, names))) != len(names):
        raise InvalidGenesis("duplicate", "contracts: a name appears twice", got=names)
    genesis = Genesis(
        name=_text(fields["name"], "name", NAME_CHARACTERS_MAX),
        network_id=hashlib.sha256(data).digest(),
        time_ms=_integer(fields["time_ms"], "time_ms", 0, TIME_MAX_MS),
        protocol=_parse_protocol(fields["protocol"]),
        members=_parse_members(fields["members"]),
        client_authorities=_parse_authorities(fields["client_authorities"]),
        contracts=tuple(_parse_contract(item, f"contracts[{i}]", names) for i, item in enumerate(contracts)),
    )
    if _canonical_json(document) != data:
        raise InvalidGenesis("not_canonical", "the same document has another byte form")
    return genesis


def _parse_protocol(value: Any) -> ProtocolParameters:
    fields = _object(value, "protocol", PARAMETER_NAMES)
    return ProtocolParameters(**{name: _integer(fields[name], f"protocol.{name}", 0, 2**31) for name in fields})


def _parse_members(value: Any) -> tuple[Member, ...]:
    members = []
    for index, item in enumerate(_array(value, "members", MEMBERS_MIN, MEMBERS_MAX)):
        path = f"members[{index}]"
        fields = _object(item, path, ("id", "name", "consensus_key", "transport_key", "operator_key"))
        members.append(
            Member(
                id=_integer(fields["id"], f"{path}.id", index, index),
                name=_text(fields["name"], f"{path}.name", MEMBER_NAME_CHARACTERS_MAX),
                consensus_key=_hex(fields["consensus_key"], f"{path}.consensus_key", 32),
                transport_key=_hex(fields["transport_key"], f"{path}.transport_key", 32),
                operator_key=_hex(fields["operator_key"], f"{path}.operator_key", 32),
            )
        )
    require_distinct(members)
    return tuple(members)


def _parse_authorities(value: Any) -> tuple[bytes, ...]:
    items = _array(value, "client_authorities", 0, CLIENT_AUTHORITIES_MAX)
    keys = tuple(_hex(item, f"client_authorities[{index}]", 32) for index, item in enumerate(items))
    if len(set(keys)) != len(keys):
        raise InvalidGenesis("duplicate", "client_authorities: a key appears twice")
    return keys


def _parse_contract(value: Any, path: str, names: list[Any]) -> GenesisContract:
    fields = _object(value, path, ("name", "source", "arguments"))
    name = _text(fields["name"], f"{path}.name", NAME_CHARACTERS_MAX)
    if NAME_PATTERN.fullmatch(name) is None:
        raise InvalidGenesis("name", f"{path}.name", pattern=NAME_PATTERN.pattern, got=name)
    arguments = _array(fields["arguments"], f"{path}.arguments", 0, 64)
    return GenesisContract(
        name=name,
        source=_text(fields["source"], f"{path}.source", SOURCE_CHARACTERS_MAX),
        arguments=tuple(_parse_argument(item, f"{path}.arguments[{i}]", names, 1) for i, item in enumerate(arguments)),
    )


def _parse_argument(value: Any, path: str, names: list[Any], depth: int) -> Argument:
    if type(value) is dict:
        if set(value) == {"hex"}:
            return _hex(value["hex"], f"{path}.hex", None)
        reference = _object(value, path, ("contract",))["contract"]
        if reference not in names:
            raise InvalidGenesis("reference", f"{path}: no contract of this genesis", got=reference)
        return ContractReference(contract=reference)
    if type(value) is list and depth < ARGUMENT_DEPTH_MAX:
        return [_parse_argument(item, f"{path}[{i}]", names, depth + 1) for i, item in enumerate(value)]
    if type(value) is int:
        return _integer(value, path, INTEGER_MIN, INTEGER_MAX)
    if type(value) is str:
        return _text(value, path, SOURCE_CHARACTERS_MAX, least=0)
    if type(value) is bool:
        return value
    raise InvalidGenesis("type", f"{path}: not an argument", got=type(value).__name__)


# --- checks of JSON values; `path` names the field in the error ---


def _object(value: Any, path: str, names: Sequence[str]) -> dict[str, Any]:
    if type(value) is not dict:
        raise InvalidGenesis("type", f"{path}: an object is expected", got=type(value).__name__)
    if set(value) != set(names):
        unknown, missing = sorted(set(value) - set(names)), sorted(set(names) - set(value))
        raise InvalidGenesis("keys", path, unknown=unknown, missing=missing)
    return value


def _array(value: Any, path: str, least: int, most: int) -> list[Any]:
    if type(value) is not list or not least <= len(value) <= most:
        got = len(value) if type(value) is list else type(value).__name__
        raise InvalidGenesis("type", f"{path}: an array is expected", expected_min=least, expected_max=most, got=got)
    return value


def _integer(value: Any, path: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise InvalidGenesis("integer", path, expected_min=low, expected_max=high, got=value)
    return value


def _text(value: Any, path: str, most: int, *, least: int = 1) -> str:
    if type(value) is not str or not least <= len(value) <= most or _SURROGATE.search(value) is not None:
        raise InvalidGenesis("text", path, expected_min=least, expected_max=most, got=str(value)[:64])
    return value


def _hex(value: Any, path: str, length: int | None) -> bytes:
    """Lower-case hexadecimal of `length` bytes, of any length if None."""
    try:
        data = bytes.fromhex(value) if type(value) is str else None
    except ValueError:
        data = None
    if data is None or data.hex() != value or (length is not None and len(data) != length):
        raise InvalidGenesis("hex", path, expected_bytes=length, got=str(value)[:80])
    return data
