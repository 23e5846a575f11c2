"""Ports for tests that need several in a row on 127.0.0.1."""

import random
import socket
from contextlib import ExitStack


def free_port_base() -> int:
    """A port from which on 40 are free now, below the range of outgoing connections."""
    for base in random.SystemRandom().sample(range(11_000, 31_000, 50), 100):
        with ExitStack() as held:
            try:
                for port in range(base, base + 40):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise AssertionError("this machine has no 40 free ports in a row")
