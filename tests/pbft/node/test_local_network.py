"""The directory of a local network: complete or not there, private, lasting, and never made over something else."""

import hashlib
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.key_files import read_key_file
from pbft.node import local_network as subject
from pbft.node.genesis_file import check_genesis
from pbft.node.identity import check_identity, read_identity, read_passphrase
from pbft.node.local_network import (
    LocalNetwork,
    LocalNetworkError,
    default_template,
    draw_free_ports,
    prepare,
    read_network,
)
from pbft.node.network_config import load_network
from pbft.node.tls import read_tls_identity

TESTS = Path(__file__).resolve().parents[2]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(code: str, directory: Path, **options: object) -> LocalNetworkError:
    """The error with which `prepare` refuses, which has that code."""
    with pytest.raises(LocalNetworkError) as caught:
        prepare(directory, **options)  # type: ignore[arg-type]
    assert caught.value.code == code
    return caught.value


def test_everything_that_a_replica_and_a_client_need_is_there(local_network: LocalNetwork) -> None:
    """Genesis, definition and every replica's keys belong together; the network id is the genesis file's hash."""
    genesis = local_network.genesis_path.read_bytes()
    definition = load_network(local_network.network_path)
    assert hashlib.sha256(genesis).digest() == local_network.network_id == definition.network_id
    check_genesis(definition, genesis)
    for replica in local_network.replicas:
        identity = read_identity(replica.keys_path, passphrase=read_passphrase(replica.passphrase_path))
        check_identity(identity, definition, replica.replica_id)
    passphrase = read_passphrase(local_network.client_path / "passphrase")
    read_key_file(local_network.client_path / "account.pem", passphrase)
    authority = read_key_file(local_network.client_path / "authority.pem", passphrase)
    assert definition.client_authorities == (authority.public_key,)
    read_tls_identity((local_network.client_path / "tls.pem").read_bytes())


def test_secrets_are_readable_by_their_owner_alone(local_network: LocalNetwork) -> None:
    """Keys and passphrases are 0600 in directories that nobody else enters."""
    secrets = [*local_network.directory.rglob("*.pem"), *local_network.directory.rglob("passphrase")]
    assert len(secrets) == 4 * 5 + 4
    assert {mode(path) for path in secrets} == {0o600}
    assert {mode(path.parent) for path in secrets} == {0o700}


def test_a_directory_that_exists_goes_on(local_network: LocalNetwork) -> None:
    """Preparing again changes nothing: keys, ports and genesis are the network."""
    files = {path: path.read_bytes() for path in local_network.directory.rglob("*") if path.is_file()}
    assert prepare(local_network.directory) == local_network
    assert {path: path.read_bytes() for path in local_network.directory.rglob("*") if path.is_file()} == files


def test_ports_can_change_and_the_network_stays(local_network: LocalNetwork) -> None:
    """Ports are no part of the genesis: another base moves them, keys and network id stay."""
    moved = prepare(local_network.directory, port_base=20_000)
    assert [replica.ports for replica in moved.replicas][:2] == [
        {"p2p": 20_000, "client": 20_001, "ops": 20_003},
        {"p2p": 20_010, "client": 20_011, "ops": 20_013},
    ]
    assert moved.network_id == local_network.network_id


def test_reset_begins_anew_and_spares_what_is_not_ours(local_network: LocalNetwork) -> None:
    """The old keys and chain go, another network comes, and a file that somebody put there stays."""
    (local_network.directory / "notes.txt").write_text("mine")
    (local_network.replicas[0].data_path / "chain").write_text("old")
    refused("foreign_directory", local_network.directory, reset=True, port_base=0)
    assert (local_network.directory / "notes.txt").read_text() == "mine"
    (local_network.directory / "notes.txt").unlink()
    fresh = prepare(local_network.directory, reset=True, port_base=0)
    assert fresh.network_id != local_network.network_id
    assert not (fresh.replicas[0].data_path / "chain").exists()


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    """A directory that holds anything else is refused and stays as it was."""
    (tmp_path / "thesis.tex").write_text("years")
    assert "thesis.tex" in str(refused("foreign_directory", tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_half_a_network_is_damaged_not_new(local_network: LocalNetwork) -> None:
    """Keys and chains without their definition are never silently replaced by a new network."""
    local_network.network_path.unlink()
    assert "--reset" in str(refused("damaged", local_network.directory))
    assert local_network.replicas[0].keys_path.exists()


def test_an_interrupted_preparation_leaves_nothing_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was being prepared when the power failed is thrown away by the next attempt."""

    def fail(*_: object) -> bytes:
        raise OSError(28, "No space left on device", "genesis.json")

    monkeypatch.setattr(subject, "build_genesis", fail)
    assert "No space left" in str(refused("not_writable", tmp_path / "net", port_base=0))
    monkeypatch.undo()
    assert prepare(tmp_path / "net", port_base=0).replicas[0].keys_path.exists()


def test_a_definition_with_keys_is_no_template(local_network: LocalNetwork, tmp_path: Path) -> None:
    """`up` makes its own keys: the definition of a real network is for `run`."""
    definition = load_network(local_network.network_path)
    assert "gridquorum run" in str(refused("has_keys", tmp_path / "net", template=definition))


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file in the way is the plainest of reasons, also for a root user whom no permission stops."""
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in str(refused("not_writable", tmp_path / "file" / "net"))


@pytest.mark.parametrize("port_base", [65_503, 70_000])
def test_a_port_base_must_leave_room(tmp_path: Path, port_base: int) -> None:
    """Ports end at 65535: the last replica's must fit."""
    refused("bad_port_base", tmp_path / "net", port_base=port_base)


def test_the_networks_there_are_and_are_not(tmp_path: Path, local_network: LocalNetwork) -> None:
    """An empty folder holds no network; a definition that does not read is damage, named with its place."""
    with pytest.raises(LocalNetworkError) as caught:
        read_network(tmp_path / "nothing")
    assert caught.value.code == "not_there"
    local_network.network_path.write_text("{")
    with pytest.raises(LocalNetworkError) as caught:
        read_network(local_network.directory)
    assert caught.value.code == "damaged"
    with pytest.raises(LocalNetworkError) as caught:
        local_network.replica(4)
    assert caught.value.code == "no_such_replica"


def test_drawn_ports_are_free_distinct_and_below_the_outgoing_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that somebody listens on is not drawn; where none is free, the error says so."""
    ports = draw_free_ports("127.0.0.1", 12)
    assert len(set(ports)) == 12
    low = int(subject.OUTGOING_RANGE.read_text().split()[0])
    assert all(subject.DRAWN_PORT_MIN <= port < max(low, subject.DRAWN_PORT_MIN + subject.DRAWS_MAX) for port in ports)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        monkeypatch.setattr(random_of(subject), "sample", lambda self, population, k: [ports[0]])
        with pytest.raises(LocalNetworkError) as caught:
            draw_free_ports("127.0.0.1", 1)
    assert caught.value.code == "no_free_ports"


def random_of(module: object) -> type:
    """The generator class that the module draws with."""
    return module.random.SystemRandom  # type: ignore[attr-defined,no-any-return]


def test_the_default_template_is_the_shipped_one() -> None:
    """`up` without a file starts what network-configs/local-4.yaml describes."""
    shipped = load_network(TESTS.parent / "network-configs" / "local-4.yaml")
    default = default_template(shipped.name)
    assert replace(default, replicas=()) == replace(shipped, replicas=())
    assert [(r.id, r.host, r.p2p_port, r.client_port, r.ops_port) for r in default.replicas] == [
        (r.id, r.host, r.p2p_port, r.client_port, r.ops_port) for r in shipped.replicas
    ]
