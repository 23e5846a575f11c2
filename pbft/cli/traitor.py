"""A replica's process that turns traitor when it is told: `python -m pbft.cli.traitor KIND run NETWORK ...`.

It is `gridquorum run` with the same options, keys, links and worker, until SIGUSR1 arrives. From then on what it sends
passes the simulator's traitor code of that kind (`pbft.simulation.byzantine`). Nothing of this is in the product's
process: this module puts a service of its own in the place of the product's, in this process alone.
"""

import random
import signal
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Final, cast

from pbft.bench.workload import SEED
from pbft.cli import main as run_command
from pbft.node import service
from pbft.node.assembly import Node
from pbft.node.evidence_store import EvidenceStore
from pbft.node.transport import PeerTransport
from pbft.node.worker_process import ProcessWorker
from pbft.simulation.byzantine import KINDS
from pbft.simulation.cluster import Cluster
from pbft.simulation.liars import Arrivals, Traitor, spare_own_words
from pbft.simulation.lies_ordering import Plot
from pbft.wire.codec import decode_peer

TURN_TRAITOR: Final = signal.SIGUSR1


class Stage:
    """What traitor code needs of a cluster, around one running replica: its key, its links, and time."""

    def __init__(self, node: Node, key: Any, n: int, reactor: Any, send: Callable[[int, bytes], None]) -> None:
        self.genesis = node.chain.genesis
        self.decode = decode_peer
        self.replica = node.replica.replica_id
        self.checkers = SimpleNamespace(faulty={self.replica}, liars=set())
        self.machines = [
            SimpleNamespace(replica=replica, node=node if replica == self.replica else None, halted=None)
            for replica in range(n)
        ]
        self.network = SimpleNamespace(send=lambda _, receiver, frame: send(receiver, frame), deliver=None)
        self._key = key
        self._reactor = reactor

    def replica_key(self, replica: int) -> Any:
        """Its own key: it has no other."""
        assert replica == self.replica
        return self._key

    def member_id(self, replica: int, epoch: int) -> int | None:
        """Ids are those of genesis: a bench has one epoch."""
        return replica if epoch == 0 else None

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Later, on this machine's clock."""
        self._reactor.callLater(delay_ms / 1_000, action)


class TraitorService(service.ReplicaService):
    """The production service with a mouth and an ear that can be turned."""

    kind = ""

    def _begin(self, node: Node, worker: ProcessWorker, transport: PeerTransport, evidence: EvidenceStore) -> None:
        n = len(self._config.definition.replicas)
        stage = Stage(node, self._config.identity.consensus, n, self._reactor, transport.send)
        hear = super()._receive_frame
        stage.network.deliver = lambda _, sender, frame: hear(sender, frame, lambda: False)
        self._stage = stage
        self._others = [replica for replica in range(n) if replica != stage.replica]
        super()._begin(node, worker, transport, evidence)
        signal.signal(TURN_TRAITOR, lambda *_: self._reactor.callFromThread(self._turn, transport))

    def _turn(self, transport: PeerTransport) -> None:
        """From now on every frame passes the lies."""
        stage, carry, drawn = self._stage, self._stage.network.send, random.Random(SEED)  # noqa: S311 - lies, no secret
        cluster = cast("Cluster", stage)
        traitor = Traitor(cluster, stage.replica, self.kind, drawn, Arrivals(cluster), carry)
        KINDS[self.kind].install(traitor, Plot(drawn, len(stage.machines)))
        spare_own_words(cluster, stage.replica)
        transport.send = self._send  # type: ignore[method-assign]
        transport.broadcast = self._broadcast  # type: ignore[method-assign]

    def _send(self, replica_id: int, frame: bytes) -> None:
        self._stage.network.send(self._stage.replica, replica_id, frame)

    def _broadcast(self, frame: bytes) -> None:
        for receiver in self._others:
            self._send(receiver, frame)

    def _receive_frame(self, sender: int, frame: bytes, on_refused: Callable[[], bool]) -> None:
        if self._parts is not None:
            self._stage.network.deliver(self._stage.replica, sender, frame)


def main(arguments: Sequence[str]) -> None:
    """Run the replica; never returns. The first argument is the kind of traitor, the others are the command's."""
    kind, *rest = arguments
    if kind not in KINDS:
        raise SystemExit(f"no traitor is called {kind!r}: there are {', '.join(sorted(KINDS))}")
    TraitorService.kind = kind
    service.ReplicaService = TraitorService  # type: ignore[misc]
    run_command(rest)


if __name__ == "__main__":
    main(sys.argv[1:])
