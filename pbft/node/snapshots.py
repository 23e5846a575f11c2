"""Snapshots between the core and the ledger: pinned for others, and received from them (D15, D39).

As a source it pins the ledger after a block that has, or will have, a certificate of its own: the head where it is
certified, else the next height that everybody votes on (D24), so that several sources pin the same one. A pinned
snapshot keeps old pages of the store alive: each replica that asks holds one at most, for a bounded time, and what one
asks for never takes another's away. As a receiver it drives `ledger.snapshot_install`. Which replica is asked, and what
a false chunk means for its source, is the core's.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from ledger.block import Header, parse_header
from ledger.chain import Chain
from ledger.errors import InvalidBlock, InvalidSnapshot, InvariantViolation
from ledger.quorum_certificate import QuorumCertificate
from ledger.snapshot import PinnedSnapshot
from ledger.snapshot_install import SnapshotInstaller
from pbft.core.messages import Request, SnapshotChunk, SnapshotInstalled, SnapshotOffer, SnapshotStaged
from pbft.node.epochs import EpochBook

PINNED_IDLE_TICKS: Final = 600  # 30 s without a question: whoever took it has it, or is gone
PINNED_TICKS_MAX: Final = 36_000  # 30 minutes in all: ten million keys take about five


@dataclass(slots=True, kw_only=True)
class _Pin:
    """A snapshot that is held: it takes a reader's slot of the store, 11 MB, and the pages that were written since."""

    snapshot: PinnedSnapshot
    since_tick: int
    holders: dict[int, int] = field(default_factory=dict)  # replica -> the tick at which it asked the last time


class Snapshots:
    """The snapshots of one replica: those that it holds for others, and the one that it is receiving."""

    def __init__(self, chain: Chain, epochs: EpochBook) -> None:
        self.served = 0  # chunks sent to others
        self._chain = chain
        self._epochs = epochs
        self._pins: dict[int, _Pin] = {}  # by height
        self._waiting: set[int] = set()  # replicas that asked when there was nothing to pin yet
        self._installer: SnapshotInstaller | None = None
        self._ticks = 0

    # --- for others ---

    def tick(self) -> None:
        """To be called every `pbft.core.config.TICK_MS`: lets go of what nobody asks for, or holds for too long."""
        self._ticks += 1
        for height, pin in list(self._pins.items()):
            if self._ticks - pin.since_tick >= PINNED_TICKS_MAX:
                pin.holders.clear()
            for replica, asked_tick in list(pin.holders.items()):
                if self._ticks - asked_tick >= PINNED_IDLE_TICKS:
                    del pin.holders[replica]
            if not pin.holders:
                self._release(height)

    def compute_offer(self, replica: int, above_height: int) -> SnapshotOffer | None:
        """For a replica: the newest certified snapshot that is held, for whomever, if it is above this height; None
        where one must be waited for.

        One that has fallen behind the head by two windows is not offered any more: a newer one is pinned.
        """
        if (offer := self._offer_held(replica, above_height)) is not None:
            return offer
        if not self._is_head_certified():
            self._waiting.add(replica)
            return None
        self._pin({replica})
        return self._offer_held(replica, above_height)

    def _offer_held(self, replica: int, above_height: int) -> SnapshotOffer | None:
        head = self._chain.height
        oldest = max(above_height + 1, head - 2 * self._chain.configuration(head).parameters.window)
        for height in sorted(self._pins, reverse=True):
            certificate = self._chain.certificate(height)
            if certificate is not None and height >= oldest:
                self._hold(height, replica)
                return SnapshotOffer(header=self._pins[height].snapshot.header.to_bytes(), certificate=certificate)
        return None

    def compute_chunk(self, replica: int, height: int, position: bytes) -> SnapshotChunk | None:
        """A chunk of a snapshot that is held; None where it is not, or not at such a position."""
        if height == self._chain.height and self._is_head_certified():
            self._pin({replica})  # it may have been let go of meanwhile, and nothing has happened since
        if height not in self._pins:
            return None
        self._hold(height, replica)
        try:
            chunk = self._pins[height].snapshot.compute_chunk(position)
        except InvalidSnapshot:
            return None
        if chunk is None:
            return None
        self.served += 1
        return SnapshotChunk(height=height, position=position, chunk=chunk)

    def process_executed(self, height: int) -> None:
        """A block is the head now: if a snapshot is wanted, the heights that everybody votes on are the ones to pin."""
        if self._waiting and height % self._chain.configuration(height).parameters.stride == 0:
            waiting, self._waiting = self._waiting, set()
            self._pin(waiting)

    def _is_head_certified(self) -> bool:
        return self._chain.height > 0 and self._chain.certificate(self._chain.height) is not None

    def _pin(self, replicas: set[int]) -> None:
        """Pins the head for these replicas."""
        height = self._chain.height
        if height not in self._pins:
            self._pins[height] = _Pin(snapshot=self._chain.pin(), since_tick=self._ticks)
        for replica in replicas:
            self._hold(height, replica)

    def _hold(self, height: int, replica: int) -> None:
        """Notes that the replica asked for this one now; one that it held before is let go of if nobody else does."""
        self._waiting.discard(replica)
        self._pins[height].holders[replica] = self._ticks
        for other, pin in list(self._pins.items()):
            if other != height and pin.holders.pop(replica, None) is not None and not pin.holders:
                self._release(other)

    def _release(self, height: int) -> None:
        self._pins.pop(height).snapshot.close()

    def close(self) -> None:
        """Releases everything; the store can be closed then."""
        for height in list(self._pins):
            self._release(height)

    # --- from others ---

    @property
    def receiving(self) -> SnapshotInstaller | None:
        """The snapshot on its way in."""
        return self._installer

    def describe(self) -> dict[str, int] | None:
        """How far a snapshot on its way in has come, for the operator; None where none is."""
        if self._installer is None:
            return None
        return {
            "height": self._installer.header.height,
            "chunks": self._installer.chunks,
            "permille": self._installer.permille,
        }

    def begin(self, header: bytes, certificate: QuorumCertificate) -> SnapshotStaged:
        """Begins anew with another snapshot; what came of an earlier one is thrown away."""
        self._installer = None
        try:
            self._installer = self._chain.receive_snapshot(_parse_header(header), certificate)
        except InvalidSnapshot as error:
            return _refused(certificate.height, error)
        return _staged(self._installer)

    def stage(self, position: bytes, chunk: bytes) -> SnapshotStaged:
        """Checks a chunk and keeps it. Raises StoreError and InvariantViolation, which stop the replica."""
        installer = self._installer
        if installer is None:
            raise InvariantViolation("snapshot", "a chunk without a snapshot that has begun")
        try:
            installer.accept(position, chunk)
        except InvalidSnapshot as error:
            return _refused(installer.header.height, error)
        return _staged(installer)

    def install(self, pending: Iterable[Request]) -> tuple[Header, SnapshotInstalled]:
        """Switches the ledger, and tells which of the pending requests it has used."""
        installer, self._installer = self._installer, None
        if installer is None:
            raise InvariantViolation("snapshot", "nothing to install")
        header = self._chain.install(installer)
        epoch_end, next_epoch = self._epochs.end_of(header.epoch, header.height)
        used = [r for r in pending if self._chain.nonce_window(r.client).is_used(r.nonce)]
        return header, SnapshotInstalled(
            height=header.height,
            next_due_ms=self._chain.next_due_ms,
            finished=tuple(request.tx_id for request in used),
            used=tuple((request.client, request.nonce) for request in used),
            epoch_end=epoch_end,
            next_epoch=next_epoch,
        )


def _parse_header(data: bytes) -> Header:
    try:
        return parse_header(data)
    except InvalidBlock as error:
        raise InvalidSnapshot("header", str(error)) from None


def _staged(installer: SnapshotInstaller) -> SnapshotStaged:
    position = installer.position
    height = installer.header.height
    return SnapshotStaged(height=height, code="", detail="", position=None if position is None else position.to_bytes())


def _refused(height: int, error: InvalidSnapshot) -> SnapshotStaged:
    return SnapshotStaged(height=height, code=error.code, detail=str(error), position=None)
