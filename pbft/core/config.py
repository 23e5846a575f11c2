"""The core's configuration: what all replicas of an epoch share, and the limits that each replica sets for itself.

The first part comes from the genesis and is consensus-critical: replicas that differ in it disagree. The constants
below it bound one replica's own memory and traffic; they may differ between versions without harm.
"""

from dataclasses import dataclass
from typing import Final

from pbft.core.quorum import Quorums

TICK_MS: Final = 50  # how often the driver calls `tick`; timers below are whole ticks
STATUS_TICKS: Final = 4  # 200 ms between STATUS messages while something is outstanding
IDLE_STATUS_TICKS: Final = 20  # 1 s between STATUS messages when nothing is
SILENT_TICKS_MIN: Final = 10  # 0.5 s: how long a start waits for the last f answers about its own key (M28)
SILENT_TICKS_MAX: Final = 40  # 2 s: and for all the others; a link to a restarted process is back by then
ASK_AGAIN_TICKS: Final = 1_200  # a minute: how often a running replica asks, since a copy may be started later
RESEND_TICKS: Final = 8  # a proposal is not sent again sooner: 400 ms, two STATUS, a quarter of the base timer
IDLE_VOTE_TICKS: Final = 2  # 50 to 100 ms without a block, and the head is voted on (D24)
ANSWER_TICKS: Final = 2  # a peer's STATUS, and its old messages, are answered at most this often (M50)
FETCH_TICKS: Final = 4  # a fetch is repeated, to the next replica, after this time
FETCH_DOUBLINGS_MAX: Final = 5  # that time doubles with each fruitless round up to 6.4 s: for slow links, and no longer
FETCHES_ANSWERED_MAX: Final = 2  # fetches of one peer answered in ANSWER_TICKS: 40 MiB a second, at most (M50)
TIMER_DOUBLINGS_MAX: Final = 5  # timers grow to 32 T and stay there (D57)
HALVING_HEIGHTS: Final = 64  # certified heights after which a doubled timer is halved once (D57)
QUIET_TIMERS: Final = 8  # timers' lengths without anything to wait for, after which a doubled timer is halved too (D57)
PAUSE_TIMERS_MAX: Final = 4  # own slowness stops the clock of suspicion for at most 4 T in a view (D58)
PAUSE_RENEWAL_TICKS: Final = 4  # counted ticks that give back one tick of that: suspicion slows by a fifth at most
WINDOW_BLOCKS_OF_GAS: Final = 2  # `window_gas`: unexecuted work below a fresh slot, in full blocks (D58)
UNCERTIFIED_SLOTS_MAX: Final = 8  # slots a new primary keeps in flight until its view certifies a height (D30)
CLOCK_AHEAD_MAX_MS: Final = 2_000  # a fresh batch's time may lead the own clock by this much (D60)
CLOCK_BEHIND_MAX_MS: Final = 30_000  # and trail it by this much (D60)
DUE_GRACE_MS: Final = 2_000  # backups start to time the primary this long after a call was due (D63)
PENDING_REQUESTS_MAX: Final = 10_000  # requests known and not executed; beyond it the door answers busy (M55, M56)
PENDING_BYTES_MAX: Final = 33_554_432  # the same, in bytes of their transactions; relays of all others get half of both
ORDERED_REQUESTS_MAX: Final = 5_000  # of them, in proposals: a primary that executes later than the others waits
RELAYED_REQUESTS_MAX: Final = 64  # requests in one RELAY; the oldest first, the rest a tick later
RELAY_BYTES_MAX: Final = 524_288  # bytes of transactions in one RELAY
EARLY_ENVELOPES_MAX: Final = 256  # per sender: messages of views not entered here yet (M13)
EARLY_BYTES_MAX: Final = (
    8_388_608  # the same, in bytes: what a new primary may have in flight, 8 batches of 1 MiB (D30)
)
FORWARDED_ENVELOPES_MAX: Final = 256  # envelopes in one answer to a STATUS
SNAPSHOT_LAG_HEIGHTS: Final = 2_048  # behind by more, a replica takes a snapshot: so many blocks take minutes to repeat
OFFER_TICKS: Final = 8  # offers are waited for so long before one is chosen: two strides of a busy network, mostly
FRUITLESS_FETCHES: Final = 2  # rounds over all others that brought no block: they are gone, and a snapshot is taken
SILENT_SOURCES_MAX: Final = (
    3  # rounds without an offer: blocks are tried too; without a chunk: another one is looked for
)
UNVOUCHED_TICKS: Final = 200  # 10 s: how long fewer than W sources of a snapshot, all liars perhaps, keep from blocks
FETCHED_DIGESTS_MAX: Final = 64  # bodies asked for at once
BODIES_BYTES_MAX: Final = 2_097_152  # bodies in one answer: two full batches; the asker goes on from there
FETCHED_BLOCKS_MAX: Final = 128  # blocks held and not executed, believed or not yet: two windows
FETCHED_BLOCKS_BYTES_MAX: Final = 67_108_864  # the same, in bytes of their transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfiguration:
    """What an epoch fixes for the protocol. Derived quantities are properties, so that no two places compute them."""

    network: bytes  # 32 bytes: hash of the genesis file (D33)
    epoch: int
    base_height: int = (
        0  # the last height before this epoch: certified to all who are in it, so it needs no certificate
    )
    base_hash: bytes  # its header hash; of genesis for epoch 0
    member_count: int  # n; replicas are 0..n-1
    window: int  # L: slots between the watermarks
    stride: int  # s: heights k with k mod s = 0 are always voted on (D24)
    base_timer_ms: int  # T: patience with a request (D56)
    view_timer_ms: int  # patience with a new view before the first doubling (D57)
    batch_requests_max: int
    batch_bytes_max: int  # sum of the transactions' bytes
    block_gas_max: int  # sum of the gas limits of a batch (D42)
    transaction_gas_max: int

    @property
    def quorums(self) -> Quorums:
        return Quorums.of(self.member_count)

    @property
    def base_timer_ticks(self) -> int:
        """T in ticks, rounded up: a timer never fires early."""
        return -(-self.base_timer_ms // TICK_MS)

    @property
    def view_timer_ticks(self) -> int:
        """The view timer in ticks, rounded up."""
        return -(-self.view_timer_ms // TICK_MS)

    @property
    def window_gas(self) -> int:
        return WINDOW_BLOCKS_OF_GAS * self.block_gas_max

    def primary(self, view: int) -> int:
        """Section 4.1, with the epoch of D41: members[(epoch + view) mod n]."""
        return (self.epoch + view) % self.member_count

    def validate(self) -> None:
        """Raises ValueError, naming the relation that does not hold."""
        for name in ("window", "stride", "batch_requests_max", "batch_bytes_max", "block_gas_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("base_timer_ms", "view_timer_ms"):
            if getattr(self, name) < 2 * TICK_MS:
                raise ValueError(f"{name}: expected at least {2 * TICK_MS}, got {getattr(self, name)}")
        if self.member_count < 4:
            raise ValueError(f"member_count: expected at least 4, got {self.member_count}")
        if len(self.network) != 32 or len(self.base_hash) != 32:
            raise ValueError("network and base_hash: expected 32 bytes each")
        if self.epoch < 0 or (self.base_height > 0) != (self.epoch > 0):
            raise ValueError(f"epoch {self.epoch} and base height {self.base_height}: both 0 or both above")
        if self.stride * 4 > self.window:
            raise ValueError(f"stride: expected at most window / 4 = {self.window // 4}, got {self.stride} (D24)")
        if self.transaction_gas_max > self.block_gas_max:
            raise ValueError(f"transaction_gas_max: expected at most block_gas_max = {self.block_gas_max}")


OBSERVER: Final = -1
"""The replica id of who has no vote in an epoch, because it does not list the consensus key that is held here: removed,
not a member yet, or started with a new key after its disk was lost. It signs nothing; it fetches, executes and serves
(D37, M58)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochStart:
    """With what an epoch begins: known once the last height before it is executed."""

    configuration: CoreConfiguration
    replica_id: int  # this replica's in that epoch, or OBSERVER
