"""A client's visit at the door: the way back for its answers, its share of the tables, and how it is told no.

Shared by `client_door`, which takes transactions in, and `client_reads`, which gives answers out.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from pbft.node.request_lanes import INLINE_LANE, Lane
from pbft.wire.client_frames import ReplicaFrame

if TYPE_CHECKING:
    from pbft.node.client_waiting import Waiting

RETRY_SOON_MS: Final = 200  # a few blocks: this replica is a little behind
RETRY_BUSY_MS: Final = 1_000  # a full table drains within seconds
RETRY_NEVER_MS: Final = 0  # the same again cannot help here; another replica may still judge otherwise

Answer: TypeAlias = Callable[[ReplicaFrame], None]


class Refusal(Exception):
    """This replica does not do it, now (never final, D47). `code` is stable."""

    def __init__(self, code: str, detail: str, retry_after_ms: int) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.retry_after_ms = retry_after_ms


@dataclass(slots=True, kw_only=True, eq=False)
class Visit:
    """One connection of one client."""

    answer: Answer
    on_fault: Callable[[], None] = lambda: None  # it has sent what only a faulty or hostile client sends
    lane: Lane = INLINE_LANE  # of the transactions that it hands in
    held: int = 0  # of these, those that wait for their verdict
    client: bytes = b""  # public key of its certificate: whom its reads count for
    waiting: "dict[Waiting, None]" = field(default_factory=dict)  # transactions that it handed in, the oldest first
    awaited: dict[bytes, int] = field(default_factory=dict)  # others whose outcome it waits for: id -> correlation
    is_closed: bool = False
    is_shown_out: bool = False  # for its faults: what of it still waits for a verdict is not looked at any more
