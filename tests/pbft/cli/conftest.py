"""A prepared network for the commands' tests: made once, since keys cost scrypt's time."""

from pathlib import Path

import pytest

from pbft.node.local_network import prepare


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared network that is never started; copy it before changing it."""
    directory = tmp_path_factory.mktemp("made") / "network"
    prepare(directory, port_base=0)
    return directory
