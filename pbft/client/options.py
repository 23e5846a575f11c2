"""How patient a client is, how far ahead its transactions expire, and what it pays at most."""

from dataclasses import dataclass, field
from typing import Final

from pbft.core.client_session import SessionTiming

SESSIONS_MAX: Final = 4_096  # transactions of one client at once: 64 accounts with a full nonce window each
REFRESH_TICKS: Final = 200  # between looks at the heads of an idle client: expiries are counted from a fresh height
QUESTIONS_MAX: Final = 8  # reads and proofs in flight at once: what a replica's door allows one connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """Options of one client; the defaults suit replicas on one continent."""

    tick_ms: int = 50  # resolution of every wait; one timer per client however many transactions wait
    timing: SessionTiming = field(default_factory=SessionTiming)
    patience_ms: int = 60_000  # after which a submit answers OutcomeUnknown, and its session goes on
    question_patience_ms: int = 15_000  # after which a query raises
    expiry_heights: int = 1_000  # ahead of the believed height; the chain allows 10,000 (D46)
    expiry_seconds: int = 3_600  # ahead of the local clock
    gas_limit: int = 1_000_000  # of a transaction that names none

    def ticks(self, milliseconds: int) -> int:
        """A waiting time in ticks, at least one."""
        return max(1, milliseconds // self.tick_ms)
