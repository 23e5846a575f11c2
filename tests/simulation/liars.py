"""Faulty replicas for a simulated cluster: a correct node inside, and a mouth that says something else.

Every frame that the replica sends passes a `Lie`, which returns what each receiver gets instead. Lies are sealed with
the replica's own key: all signatures hold, as those of a real traitor do. The checkers look at what the correct node
inside meant to send, and at everything that the others execute.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from simulation.cluster import Cluster, replica_key

from pbft.core.messages import Envelope, PeerMessage, SignedMessage
from pbft.wire.codec import WireRules, decode_peer, encode_peer, seal

Lie: TypeAlias = Callable[[int, PeerMessage], Sequence[PeerMessage]]
"""(receiver, what the correct node would send) -> what is sent."""


def corrupt(cluster: Cluster, replica: int, lie: Lie) -> None:
    """From now on `replica` lies."""
    honest, rules = cluster.network.send, WireRules.of(cluster.genesis.configuration)

    def send(sender: int, receiver: int, frame: bytes) -> None:
        if sender != replica:
            honest(sender, receiver, frame)
            return
        for message in lie(receiver, decode_peer(frame, rules)):
            honest(sender, receiver, encode_peer(message))

    cluster.network.send = send  # type: ignore[method-assign]


def sealed(cluster: Cluster, replica: int, *messages: SignedMessage) -> Envelope:
    """Messages under the true signature of `replica`."""
    network = cluster.genesis.network_id
    return seal(messages, sender=replica, epoch=0, network=network, key=replica_key(replica))
