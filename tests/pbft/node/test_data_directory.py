"""The data directory: one process, one network."""

from dataclasses import replace
from pathlib import Path

import pytest

from pbft.node.data_directory import DataDirectory, StartRefused
from pbft.node.local_network import LocalNetwork
from pbft.node.network_config import NetworkDefinition, load_network


@pytest.fixture
def definition(local_network: LocalNetwork) -> NetworkDefinition:
    return load_network(local_network.network_path)


def test_a_second_process_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    """The lock is the file's, not the path's word: it ends with its holder, and names it."""
    with DataDirectory(tmp_path / "data"):
        with pytest.raises(StartRefused) as caught:
            DataDirectory(tmp_path / "data")
        assert caught.value.code == "second_copy"
    DataDirectory(tmp_path / "data").close()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the way."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefused) as caught:
        DataDirectory(tmp_path / "file" / "data")
    assert (caught.value.code, str(tmp_path / "file") in str(caught.value)) == ("not_writable", True)


def test_the_first_start_stores_the_genesis_and_the_next_uses_it(
    tmp_path: Path, local_network: LocalNetwork, definition: NetworkDefinition
) -> None:
    """Offered, built or stored: it is one network, and the stored bytes are the file's."""
    own = local_network.genesis_path.read_bytes()
    with DataDirectory(tmp_path / "data") as data:
        assert data.settle_genesis(definition, None).network_id == local_network.network_id
        assert data.genesis_path.read_bytes() == own
        assert data.settle_genesis(definition, own).network_id == local_network.network_id


def test_a_genesis_that_is_not_the_definitions_is_refused_and_not_stored(
    tmp_path: Path, local_network: LocalNetwork, definition: NetworkDefinition
) -> None:
    """Another network's file, a malformed one, and a definition of other keys: each is foreign, none is written."""
    own = local_network.genesis_path.read_bytes()
    other = replace(definition, network_id=None, genesis_time_ms=1_700_000_000_000)
    with DataDirectory(tmp_path / "data") as data:
        for offered, asked in ((own[:-1], definition), (b"", definition), (own, other)):
            with pytest.raises(StartRefused) as caught:
                data.settle_genesis(asked, offered)
            assert caught.value.code == "foreign_genesis"
        assert not data.genesis_path.exists()
        data.settle_genesis(definition, own)
        with pytest.raises(StartRefused) as caught:
            data.settle_genesis(definition, own.replace(b"coop-0", b"coop-9"))
        assert caught.value.code == "foreign_genesis"
        assert data.genesis_path.read_bytes() == own
