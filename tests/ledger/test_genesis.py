"""The genesis file: one byte form, every refusal, and the configuration that follows from it."""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors.ledger import sample_chain as sample

from ledger.configuration import Member, ProtocolParameters
from ledger.encoding import decode
from ledger.errors import InvalidGenesis
from ledger.execution import contract_address
from ledger.genesis import ContractReference, GenesisContract, parse_genesis, write_genesis

VECTOR = Path(__file__).parents[1] / "vectors" / "ledger" / "genesis.json"
GENESIS = sample.GENESIS


def test_golden_genesis() -> None:
    """The file's bytes are those checked in, and their plain SHA-256 is the network id."""
    data = VECTOR.read_bytes()
    assert data == sample.GENESIS_BYTES
    assert parse_genesis(data).network_id == hashlib.sha256(data).digest()


def test_what_is_written_is_what_is_parsed() -> None:
    """Every part comes back, and is written to the same bytes."""
    again = write_genesis(
        name=GENESIS.name,
        time_ms=GENESIS.time_ms,
        protocol=GENESIS.protocol,
        members=GENESIS.members,
        client_authorities=GENESIS.client_authorities,
        contracts=GENESIS.contracts,
    )
    assert again == sample.GENESIS_BYTES
    contract = GENESIS.contracts[0]
    assert contract.arguments == (7, -1, "text", True, b"\x00\xff", ContractReference(contract="notes"), [1, [b"x"]])
    resolved = [7, -1, "text", True, b"\x00\xff", contract_address("notes"), [1, [b"x"]]]
    assert decode(contract.encoded_arguments()) == resolved


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The sample's document changed, in canonical form."""
    document = json.loads(sample.GENESIS_BYTES)
    change(document)
    return (json.dumps(document, sort_keys=True, indent=1, ensure_ascii=True) + "\n").encode()


def setting(path: str, value: object) -> Callable[[dict[str, Any]], object]:
    """Sets a field at a dotted path."""

    def change(document: Any) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in parents:
            document = document[part]
        document[last] = value

    return change


REFUSALS: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("keys", setting("more", 1)),
    ("keys", lambda d: d.pop("name")),
    ("keys", setting("protocol.more", 1)),
    ("keys", lambda d: d["protocol"].pop("window")),
    ("keys", setting("members.0.host", "x")),
    ("keys", lambda d: d["contracts"][0].pop("arguments")),
    ("version", setting("version", 2)),
    ("integer", setting("version", True)),
    ("text", setting("name", "")),
    ("text", setting("name", "n" * 65)),
    ("text", setting("name", "\ud800")),
    ("text", setting("name", 7)),
    ("integer", setting("time_ms", -1)),
    ("integer", setting("time_ms", 1.5)),
    ("integer", setting("time_ms", 2**50 + 1)),
    ("integer", setting("protocol.window", "64")),
    ("parameter", setting("protocol.window", 7)),
    ("parameter", setting("protocol.stride", 17)),
    ("parameter", setting("protocol.block_gas_max", 4_999_999)),
    ("type", lambda d: d["members"].pop()),
    ("type", setting("members", {})),
    ("type", setting("members.1", [])),
    ("integer", setting("members.1.id", 2)),
    ("hex", setting("members.1.consensus_key", "00" * 31)),
    ("hex", setting("members.1.consensus_key", "AA" * 32)),
    ("hex", setting("members.1.consensus_key", " " * 64)),
    ("hex", setting("members.1.consensus_key", None)),
    ("duplicate", lambda d: d["members"][1].update(consensus_key=d["members"][0]["consensus_key"])),
    ("duplicate", lambda d: d["members"][1].update(transport_key=d["members"][0]["transport_key"])),
    ("duplicate", lambda d: d["members"][1].update(name=d["members"][0]["name"])),
    ("duplicate", lambda d: d["client_authorities"].append(d["client_authorities"][0])),
    ("hex", setting("client_authorities.0", "00")),
    ("duplicate", lambda d: d["contracts"].append(d["contracts"][0])),
    ("name", setting("contracts.0.name", "Notes")),
    ("text", setting("contracts.0.source", "x" * 65_537)),
    ("type", setting("contracts.0.arguments", None)),
    ("type", setting("contracts.0.arguments.0", None)),
    ("type", setting("contracts.0.arguments.0", 1.5)),
    ("integer", setting("contracts.0.arguments.0", 2**255)),
    ("hex", setting("contracts.0.arguments.0", {"hex": "0"})),
    ("keys", setting("contracts.0.arguments.0", {"hex": "00", "contract": "notes"})),
    ("reference", setting("contracts.0.arguments.0", {"contract": "other"})),
    ("reference", setting("contracts.0.arguments.0", {"contract": ["notes"]})),
    ("type", setting("contracts.0.arguments.0", [[[[[[[[[1]]]]]]]]])),
]


@pytest.mark.parametrize(("code", "change"), REFUSALS)
def test_refusals(code: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Each wrong document is refused by its code."""
    with pytest.raises(InvalidGenesis) as caught:
        parse_genesis(changed(change))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "data",
    [
        sample.GENESIS_BYTES[:-1],
        sample.GENESIS_BYTES + b"\n",
        sample.GENESIS_BYTES.replace(b"\n ", b"\n  ", 1),
        json.dumps(json.loads(sample.GENESIS_BYTES)).encode(),
        sample.GENESIS_BYTES.replace(b'"name": "sample"', b'"name": "x",\n "name": "sample"'),
        sample.GENESIS_BYTES.replace(b'"sample"', b'"s\\u0061mple"'),
    ],
)
def test_another_byte_form_is_refused(data: bytes) -> None:
    """The same document in other bytes would be another network: only one form is a genesis."""
    assert data != sample.GENESIS_BYTES
    with pytest.raises(InvalidGenesis, match="not_canonical"):
        parse_genesis(data)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b"null", b"[]", "{ä}".encode()])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    """No JSON, nested without end, not an object."""
    with pytest.raises(InvalidGenesis):
        parse_genesis(data)


@pytest.mark.parametrize("field", ["name", "contracts"])
def test_nesting_up_to_the_stack_is_refused(field: str) -> None:
    """What the JSON parser just so takes must not overflow the checks after it, nor the text of the refusal."""
    for depth in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit() + 10, 3):
        nested = "[" * depth + "]" * depth
        twice = f'[{{"name":{nested},"source":"","arguments":[]}},{{"name":{nested},"source":"","arguments":[]}}]'
        document = {"version": 1, "time_ms": 1, "protocol": {}, "members": [], "client_authorities": []}
        document |= {"name": "x", "contracts": [], field: "HERE"}
        data = json.dumps(document).replace('"HERE"', nested if field == "name" else twice)
        with pytest.raises(InvalidGenesis) as refused:
            parse_genesis(data.encode())
        assert len(str(refused.value)) < 1_000


def test_the_length_limit() -> None:
    """Checked before anything is parsed."""
    with pytest.raises(InvalidGenesis, match="too_long"):
        parse_genesis(bytes(8 * 1024 * 1024 + 1))


@given(st.binary(max_size=200))
def test_parsing_is_total(data: bytes) -> None:
    """Random bytes are refused with InvalidGenesis alone."""
    with pytest.raises(InvalidGenesis):
        parse_genesis(data)


def test_writing_refuses_what_would_not_parse() -> None:
    """A genesis that nobody could read is not written."""
    with pytest.raises(InvalidGenesis, match="type"):
        write_genesis(
            name="x",
            time_ms=0,
            protocol=ProtocolParameters(),
            members=GENESIS.members[:3],
            client_authorities=[],
            contracts=[GenesisContract(name="notes", source="x")],
        )


@pytest.mark.parametrize("name", ["window", "stride", "base_timer_ms", "batch_bytes_max", "transaction_gas_max"])
@pytest.mark.parametrize("value", [0, -1, 2**31, 64.0, True, None])
def test_parameters_are_bounded(name: str, value: object) -> None:
    """A parameter without sense never reaches a replica."""
    with pytest.raises(InvalidGenesis, match="parameter"):
        ProtocolParameters(**{name: value})  # type: ignore[arg-type]


def test_the_configuration() -> None:
    """n, f, Q, W follow from the members; the hash covers every key, name and parameter, not the network."""
    configuration = GENESIS.configuration
    assert (configuration.n, configuration.f, configuration.quorum, configuration.weak_quorum) == (4, 1, 3, 2)
    member: Member = configuration.members[0]
    fields = ("name", "consensus_key", "transport_key", "operator_key")
    others = [
        replace(configuration, epoch=1),
        replace(configuration, members=configuration.members[:3]),
        replace(configuration, members=configuration.members[::-1]),
        replace(configuration, parameters=replace(configuration.parameters, window=128)),
        *(replace(configuration, members=(replace(member, **{f: "x"}), *configuration.members[1:])) for f in fields),
    ]
    assert len({configuration.hash, *(other.hash for other in others)}) == len(others) + 1
    assert replace(configuration, network=bytes(32)).hash == configuration.hash
