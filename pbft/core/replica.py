"""The pure replica."""

from collections.abc import Callable

from pbft.core.actions import Action
from pbft.core.config import CoreConfiguration
from pbft.core.messages import LocalMessage, PeerMessage
from pbft.core.persisted import LedgerHead, Restored


class Replica:
    """One PBFT replica: messages and ticks in, actions out."""

    def __init__(
        self,
        *,
        configuration: CoreConfiguration,
        replica_id: int,
        signer: Callable[[bytes], bytes],
        restored: Restored,
        ledger: LedgerHead,
    ) -> None: ...

    def receive(self, sender: int, message: PeerMessage | LocalMessage) -> list[Action]: ...

    def end_turn(self) -> list[Action]: ...

    def tick(self, wall_ms: int) -> list[Action]: ...
