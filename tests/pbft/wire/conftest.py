"""The wire's tests share one small network."""

import pytest
from wire_fuzz.small_network import SmallNetwork, make_network


@pytest.fixture(scope="session")
def network() -> SmallNetwork:
    return make_network()
