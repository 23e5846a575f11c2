"""A replica's key directory, and the genesis that is built from everybody's cards: what is made, read and refused."""

import hashlib
import json
import stat
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ledger.configuration import ProtocolParameters
from ledger.errors import InvalidGenesis
from ledger.keys import SigningKey
from pbft.node.genesis_file import GenesisMismatch, build_genesis, check_genesis
from pbft.node.identity import (
    IdentityError,
    check_identity,
    create_identity,
    read_card,
    read_identity,
    read_operator_key,
    read_passphrase,
    renew_consensus_key,
)
from pbft.node.network_config import ConfigError, NetworkDefinition, ReplicaDefinition
from pbft.node.tls import issue_client_certificate, make_tls_identity, read_tls_identity, write_tls_identity

PASSPHRASE = b"correct horse"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A key directory that no test changes."""
    directory = tmp_path_factory.mktemp("keys") / "r0"
    create_identity(directory, name="coop-a", passphrase=PASSPHRASE)
    return directory


def make_definition() -> NetworkDefinition:
    replicas = tuple(
        ReplicaDefinition(
            id=number,
            name=f"coop-{number}",
            host="127.0.0.1",
            p2p_port=0,
            client_port=0,
            ops_port=0,
            consensus_key=bytes([1 + number]) * 32,
            transport_key=bytes([11 + number]) * 32,
            operator_key=bytes([21 + number]) * 32,
        )
        for number in range(4)
    )
    return NetworkDefinition(
        version=1,
        name="test-net",
        genesis_time_ms=1_780_272_000_000,
        protocol=ProtocolParameters(),
        replicas=replicas,
        client_authorities=(b"\xaa" * 32,),
    )


def test_a_directory_is_made_once_closed_to_others_and_read_back(home) -> None:
    card = read_card(home / "card.json")
    for name in ("consensus.pem", "operator.pem", "transport.pem", "payload.pem"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    identity = read_identity(home, passphrase=PASSPHRASE)
    assert identity.card == card and card.name == "coop-a"
    assert identity.consensus.public_key == card.consensus_key
    assert identity.transport.public_key == card.transport_key
    assert identity.transport.certificate_pem == (home / "transport.crt").read_bytes()
    assert read_operator_key(home, passphrase=PASSPHRASE).public_key == card.operator_key
    assert len({card.consensus_key, card.transport_key, card.operator_key}) == 3
    assert identity.payload_root_key not in {card.consensus_key, card.transport_key, card.operator_key}
    assert len(identity.payload_root_key) == 32
    with pytest.raises(IdentityError, match="never overwritten"):
        create_identity(home, name="coop-a", passphrase=PASSPHRASE)


def test_a_directory_at_fault_is_refused_by_file(home, tmp_path) -> None:
    """Wrong passphrase, missing file, a key that others can read, a card of other keys, a card that is none."""
    with pytest.raises(IdentityError, match="consensus"):
        read_identity(home, passphrase=b"wrong")
    with pytest.raises(IdentityError, match=r"card\.json: No such file"):
        read_identity(tmp_path, passphrase=PASSPHRASE)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in home.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
        (copy / path.name).chmod(0o600)
    (copy / "consensus.pem").chmod(0o640)
    with pytest.raises(IdentityError, match="consensus"):
        read_identity(copy, passphrase=PASSPHRASE)
    (copy / "consensus.pem").chmod(0o600)
    (copy / "payload.pem").unlink()
    with pytest.raises(IdentityError, match="payload"):
        read_identity(copy, passphrase=PASSPHRASE)
    card = json.loads((home / "card.json").read_text())
    bad_cards = {
        "beside it says": json.dumps(card | {"consensus_key": "00" * 32}),
        "no JSON": "{",
        "expected the keys": json.dumps(card | {"extra": 1}),
        "of version 1": json.dumps(card | {"version": 2}),
        "consensus_key: expected 64": json.dumps(card | {"consensus_key": "0G" * 32}),
        "operator_key: expected 64": json.dumps(card | {"operator_key": "AA" * 32}),
        "name: expected text": json.dumps(card | {"name": 1}),
        "more than": " " * 5_000,
    }
    for message, text in bad_cards.items():
        (copy / "card.json").write_text(text)
        with pytest.raises(IdentityError, match=message):
            read_identity(copy, passphrase=PASSPHRASE)


def test_a_passphrase_file_is_closed_and_not_empty(tmp_path) -> None:
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    with pytest.raises(IdentityError, match="first line is empty"):
        read_passphrase(path)
    path.write_text("secret\r\nignored\n")
    assert read_passphrase(path) == b"secret"
    path.chmod(0o604)
    with pytest.raises(IdentityError, match="chmod 600"):
        read_passphrase(path)


def test_keys_of_another_replica_are_refused(home) -> None:
    """The definition decides which keys replica 1 has; the message names the key that differs."""
    identity = read_identity(home, passphrase=PASSPHRASE)
    card = identity.card
    definition = make_definition()
    own = replace(
        definition.replica(1),
        consensus_key=card.consensus_key,
        transport_key=card.transport_key,
        operator_key=card.operator_key,
    )
    replicas = list(definition.replicas)
    replicas[1] = own
    check_identity(identity, replace(definition, replicas=tuple(replicas)), 1)
    for name in ("transport_key", "operator_key"):
        replicas[1] = replace(own, **{name: b"x" * 32})
        with pytest.raises(IdentityError, match=name):
            check_identity(identity, replace(definition, replicas=tuple(replicas)), 1)
    replicas[1] = replace(own, consensus_key=b"x" * 32)
    check_identity(identity, replace(definition, replicas=tuple(replicas)), 1)  # renewed: the chain says who has a vote
    with pytest.raises(IdentityError, match="has no replica 4"):
        check_identity(identity, definition, 4)


def test_d37_a_renewed_consensus_key_replaces_the_old_one(home) -> None:
    """D37: "its new consensus key": the other keys and the payloads' root stay, the old key is nowhere any more."""
    before = read_identity(home, passphrase=PASSPHRASE)
    card = renew_consensus_key(home, passphrase=PASSPHRASE)
    after = read_identity(home, passphrase=PASSPHRASE)
    assert after.card == card == replace(before.card, consensus_key=after.consensus.public_key)
    assert after.consensus.public_key != before.consensus.public_key
    assert (after.transport, after.payload_root_key) == (before.transport, before.payload_root_key)
    assert not any(before.card.consensus_key.hex() in path.read_text() for path in home.iterdir())
    with pytest.raises(IdentityError, match="passphrase"):
        renew_consensus_key(home, passphrase=b"wrong")
    assert read_identity(home, passphrase=PASSPHRASE).card == after.card


def test_an_interrupted_renewal_is_done_again(home) -> None:
    """Key and card are two files: where only the key was replaced, the start says so, and renewing again mends it."""
    card = (home / "card.json").read_bytes()
    renew_consensus_key(home, passphrase=PASSPHRASE)
    (home / "card.json").write_bytes(card)
    with pytest.raises(IdentityError, match="beside it says"):
        read_identity(home, passphrase=PASSPHRASE)
    renewed = renew_consensus_key(home, passphrase=PASSPHRASE)
    assert read_identity(home, passphrase=PASSPHRASE).card == renewed


def test_a_tls_identity_survives_its_file_and_is_the_same_for_the_same_key() -> None:
    """A client's certificate is read back; a replica's certificate follows from its key; mismatches are refused."""
    client = issue_client_certificate(SigningKey.from_seed(b"a" * 32), "gateway-7", now=datetime.now(UTC))
    assert read_tls_identity(write_tls_identity(client)) == client
    replica = make_tls_identity(b"s" * 32, "coop-a")
    assert make_tls_identity(b"s" * 32, "coop-a") == replica
    assert replica.public_key == SigningKey.from_seed(b"s" * 32).public_key
    with pytest.raises(ValueError, match="not of the private key"):
        read_tls_identity(client.private_key_pem + replica.certificate_pem)
    with pytest.raises(ValueError):
        read_tls_identity(b"nothing")
    assert b"PRIVATE" not in repr(client).encode()


def test_a_genesis_is_the_same_everywhere_and_its_id_is_the_hash_of_its_bytes() -> None:
    definition = make_definition()
    data = build_genesis(definition)
    assert build_genesis(definition) == data
    genesis = check_genesis(definition, data)
    assert genesis.network_id == hashlib.sha256(data).digest()
    assert check_genesis(replace(definition, network_id=genesis.network_id), data) == genesis
    assert [member.operator_key for member in genesis.members] == [r.operator_key for r in definition.replicas]
    assert genesis.contracts


def test_a_genesis_of_another_definition_is_refused_by_field() -> None:
    """Each thing that the definition states is compared; ports and hosts are not in the genesis."""
    definition = make_definition()
    data = build_genesis(definition)
    first, *rest = definition.replicas
    changed = {
        "name": replace(definition, name="other-net"),
        "genesis_time": replace(definition, genesis_time_ms=1),
        "protocol.window": replace(definition, protocol=ProtocolParameters(window=128)),
        "number of replicas": replace(definition, replicas=(*definition.replicas, replace(first, id=4))),
        "replicas[0].name": replace(definition, replicas=(replace(first, name="coop-x"), *rest)),
        "replicas[0].consensus_key": replace(definition, replicas=(replace(first, consensus_key=b"x" * 32), *rest)),
        "replicas[0].transport_key": replace(definition, replicas=(replace(first, transport_key=b"x" * 32), *rest)),
        "replicas[0].operator_key": replace(definition, replicas=(replace(first, operator_key=b"x" * 32), *rest)),
        "number of client_authorities": replace(definition, client_authorities=(b"\xaa" * 32, b"\xbb" * 32)),
        "client_authorities[0]": replace(definition, client_authorities=(b"\xbb" * 32,)),
        "network_id": replace(definition, network_id=b"x" * 32),
    }
    for field, other in changed.items():
        with pytest.raises(GenesisMismatch) as refused:
            check_genesis(other, data)
        assert refused.value.field == field
    check_genesis(replace(definition, replicas=(replace(first, host="::1", p2p_port=9), *rest)), data)
    with pytest.raises(InvalidGenesis):
        check_genesis(definition, data[:-1])
    with pytest.raises(ConfigError):
        build_genesis(replace(definition, genesis_time_ms=None))
    with pytest.raises(GenesisMismatch):
        build_genesis(changed["network_id"])
