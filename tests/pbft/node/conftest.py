"""Fixtures of the node's tests: a prepared local network, made once and copied, since keys cost scrypt's time."""

import shutil
from pathlib import Path

import pytest

from contracts.standard import genesis_contracts
from pbft.node.local_network import LocalNetwork, prepare, read_network


@pytest.fixture(scope="session")
def prepared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local network of four, never started; copy it before changing it."""
    directory = tmp_path_factory.mktemp("prepared") / "network"
    prepare(directory, port_base=0, name="test-4", make_contracts=genesis_contracts)  # as the definition alone makes it
    return directory


@pytest.fixture
def local_network(prepared_directory: Path, tmp_path: Path) -> LocalNetwork:
    """The prepared network in a directory of the test's own."""
    return read_network(Path(shutil.copytree(prepared_directory, tmp_path / "network")))
