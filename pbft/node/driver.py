"""The one driver: performs what the core asks, in one order, and lets nothing of a turn leave before its sync.

The order of a round (D3, D34): seal, journal, sync, send, hand own envelopes back, execute, serve. Rounds repeat until
the core asks for nothing more; that is a turn. Work that arrives in one reactor turn shares one sync: `on_frame`,
`on_request`, `on_executed` and `tick` only hand things in, and `flush` ends the turn.

No Twisted here, and no LMDB: production, the tests' cluster and the simulator run this same code (D2).
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from pbft.core.actions import Evidence
from pbft.core.messages import Envelope, Executed, PeerMessage, Request, SignedMessage
from pbft.core.replica import Replica
from pbft.node.execution import LedgerExecution
from pbft.node.journal import Journal


class Outbound(Protocol):
    """Links to the other replicas: frames are queued, sent when the link is up, and may be lost."""

    def send(self, replica_id: int, frame: bytes) -> None: ...
    def broadcast(self, frame: bytes) -> None: ...


class Sealer(Protocol):
    """Bytes and signatures: the wire's functions bound to this replica's key and network (`assembly.WireSealer`)."""

    def seal(self, messages: tuple[SignedMessage, ...]) -> Iterable[Envelope]: ...
    def frames(self, message: PeerMessage) -> Iterable[bytes]: ...
    def journal_bytes(self, envelope: Envelope) -> bytes: ...
    def decode(self, frame: bytes) -> PeerMessage: ...  # raises WireError
    def verify(self, message: PeerMessage) -> None: ...  # raises WireError


class EvidenceSink(Protocol):
    """Where proof against a replica is kept (M54)."""

    def record(self, evidence: Evidence) -> None: ...


class Counters(Protocol):
    """Metrics, counted at the edge only: `count("frame_refused", "bad_signature")`."""

    def count(self, name: str, reason: str = "", amount: int = 1) -> None: ...


class Driver:
    """Drives one replica. `wake` is called when work was handed in outside `flush`; `on_halt` when it stops for good."""

    def __init__(
        self,
        *,
        replica: Replica,
        journal: Journal,
        sealer: Sealer,
        outbound: Outbound,
        execution: LedgerExecution,
        evidence: EvidenceSink,
        counters: Counters,
        wall_ms: Callable[[], int],
        wake: Callable[[], None],
        on_halt: Callable[[str], None],
    ) -> None: ...

    def on_frame(self, sender_replica_id: int, frame: bytes) -> None:
        """A frame from the link of a replica: decoded, verified, given to the core; else counted and dropped."""

    def on_request(self, request: Request) -> None:
        """A client's request that passed the door."""

    def on_executed(self, executed: Executed) -> None:
        """The ledger's word about a block, from `LedgerExecution`."""

    def tick(self) -> None:
        """Time passes: to be called every `pbft.core.config.TICK_MS`; late calls count once (D59)."""

    def flush(self) -> None:
        """Ends the turn: everything handed in is worked off, journaled, sent and executed."""
