"""One client that floods: `python -m pbft.bench.flooder DIRECTORY`, until it is killed or its input ends.

It has a good certificate and signs well, so that the replica must look at each of its transactions; none can execute,
because their nonces lie far outside its window. It keeps as many on their way as one certificate can.
"""

import sys
from pathlib import Path
from typing import Any, Final

from pbft.bench.workload import EXPIRY_HEIGHTS, Situation, make_key, sign_call
from pbft.client.links import ReplicaLinks
from pbft.client.network import read_network
from pbft.node.client_identity import read_client
from pbft.wire.client_frames import ReplicaFrame, Submit

CONNECTIONS: Final = 8
OUTSTANDING: Final = 64  # on each connection: more would only wait in its socket
FIRST_NONCE: Final = 1_000_000
TICK_SECONDS: Final = 0.05
EXPIRY_S: Final = 3_600


class Flooder:
    """Sends another transaction for every answer, on every connection."""

    def __init__(self, reactor: Any, directory: Path) -> None:
        self._reactor = reactor
        self._network = read_network(directory)
        identity = read_client(directory / "client").tls
        self._key = make_key("flooder", 0)
        self._nonce = FIRST_NONCE
        self._links = [
            ReplicaLinks(
                reactor,
                self._network,
                identity,
                on_frame=lambda replica, frame, number=number: self._answered(number, replica, frame),  # type: ignore[misc]
                on_up=lambda replica, number=number: self._begin(number, replica),  # type: ignore[misc]
                on_down=lambda replica: None,
            )
            for number in range(CONNECTIONS)
        ]

    def start(self) -> None:
        """Dial, and keep dialling."""
        for links in self._links:
            links.start()
        self._tick()

    def _tick(self) -> None:
        for links in self._links:
            links.tick()
        self._reactor.callLater(TICK_SECONDS, self._tick)

    def _begin(self, number: int, replica: int) -> None:
        for _ in range(OUTSTANDING if replica == 0 else 0):
            self._send(number)

    def _answered(self, number: int, replica: int, frame: ReplicaFrame) -> None:
        self._send(number)

    def _send(self, number: int) -> None:
        self._nonce += 1
        situation = Situation(
            network=self._network.network_id,
            height=0,
            time_s=self._network.genesis.time_ms // 1_000 + EXPIRY_S,
        )
        raw = sign_call(self._key, self._nonce, situation, "ping", "ping", (), EXPIRY_HEIGHTS)
        self._links[number].send(0, Submit(correlation=self._nonce, transaction=raw))


def main(directory: str) -> None:
    """Flood until standard input ends."""
    from twisted.internet import reactor as installed
    from twisted.internet.stdio import StandardIO

    from pbft.node.process_edge import EndWithInput

    reactor: Any = installed
    flooder = Flooder(reactor, Path(directory))
    reactor.callWhenRunning(flooder.start)
    reactor.callWhenRunning(StandardIO, EndWithInput(lambda _: reactor.stop()))
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1])
