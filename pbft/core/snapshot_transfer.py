"""Catching up by a snapshot, for who is far behind: when, from whom, and the jump at its end (D15, D39, M46, M48).

It runs beside ordering, view change and the fetching of blocks, and stops none of them. It begins on evidence alone: a
certificate, or header votes of W replicas, far above e (M46); a STATUS moves nothing. All others are asked for offers.
An offer is a header with its quorum certificate, so a false one does not exist; chunks are asked for one at a time, of
all who offered that header in turn, and the ledger judges each when it comes (`ledger.snapshot_install`). Who sends a
false one is left for good; who sends none is chosen last from then on. An offer proves no intention: blocks are fetched
beside a transfer whose sources fell silent before, or that takes long with fewer than W that send, all liars perhaps.
None of this is journaled: after a restart it begins anew, from the old ledger or the new.

What the jump keeps: the view, P and Q above the snapshot's height, votes and slots above it (D39). h becomes that
height by its certificate, as every certificate moves it (D25): the ledger is durable before the journal says so.
"""

from ledger.block import parse_header
from ledger.errors import InvalidBlock
from pbft.core.actions import (
    BeginSnapshot,
    Dropped,
    InstallSnapshot,
    OfferSnapshot,
    Publish,
    Send,
    SendSnapshotChunk,
    StageChunk,
)
from pbft.core.checkpoints import process_certificate
from pbft.core.config import (
    FETCH_DOUBLINGS_MAX,
    FETCH_TICKS,
    FRUITLESS_FETCHES,
    OFFER_TICKS,
    SILENT_SOURCES_MAX,
    UNVOUCHED_TICKS,
)
from pbft.core.errors import InvalidMessage
from pbft.core.halting import CONTRADICTED, halt
from pbft.core.messages import (
    FetchSnapshot,
    FetchSnapshotChunk,
    SnapshotChunk,
    SnapshotInstalled,
    SnapshotOffer,
    SnapshotStaged,
)
from pbft.core.ordering import process_execution, process_waiting
from pbft.core.replica_state import ReplicaState, SnapshotTransfer
from pbft.core.requests import process_finished
from pbft.core.state_transfer import compute_trusted, forget_fetched, may_answer_fetch
from pbft.core.view_change import process_view_changes_held

# --- the one that is behind ---


def is_snapshot_wanted(state: ReplicaState) -> bool:
    """Whether blocks that exist for certain are too many to repeat, or nobody seems to hold them any more."""
    lag = max(compute_trusted(state), default=0) - state.executed_height
    return lag > state.snapshot_lag or (lag > 0 and state.fetch_failures >= FRUITLESS_FETCHES * len(state.others))


def process_snapshot(state: ReplicaState) -> None:
    """On a tick: begins, chooses among offers, asks the next source, or jumps."""
    transfer = state.snapshot
    if transfer is None:
        if is_snapshot_wanted(state):
            _ask_for_offers(state, SnapshotTransfer())
        return
    if transfer.is_busy:
        return
    chosen = transfer.chosen
    if chosen is None:
        _process_asking(state, transfer)
    elif chosen.certificate.height <= state.executed_height:
        state.snapshot = None  # blocks were faster
    elif transfer.position is None:
        _process_whole(state, transfer)
    elif state.ticks - transfer.asked_tick >= FETCH_TICKS << min(transfer.silences, FETCH_DOUBLINGS_MAX):
        transfer.silences += 1
        if transfer.source is not None:
            transfer.unanswered[transfer.source] = transfer.unanswered.get(transfer.source, 0) + 1
        _ask_for_chunk(state, transfer)


def _ask_for_offers(state: ReplicaState, transfer: SnapshotTransfer) -> None:
    state.snapshot = transfer
    transfer.asked_tick = state.ticks
    state.actions.append(Publish(message=FetchSnapshot(above_height=state.executed_height)))


def _process_asking(state: ReplicaState, transfer: SnapshotTransfer) -> None:
    """Once offers had time to come: the header that most replicas offer, the highest of them."""
    if not is_snapshot_wanted(state):
        state.snapshot = None
        return
    if state.ticks - transfer.asked_tick < OFFER_TICKS:
        return
    offers = _compute_choices(state, transfer)
    if not offers:
        if len(state.snapshot_liars) > state.configuration.quorums.f:
            state.snapshot_liars.clear()  # more than f of them: what came was damaged on its way or at rest
        transfer.silences += 1
        _ask_for_offers(state, transfer)
        return
    heights = [offer.certificate.height for offer in offers]
    height = max(heights, key=lambda candidate: (heights.count(candidate), candidate))
    transfer.chosen = next(offer for offer in offers if offer.certificate.height == height)
    transfer.chosen_tick = state.ticks
    transfer.is_busy, transfer.silences = True, 0
    state.actions.append(BeginSnapshot(header=transfer.chosen.header, certificate=transfer.chosen.certificate))


def _compute_choices(state: ReplicaState, transfer: SnapshotTransfer) -> list[SnapshotOffer]:
    """The offers to choose from: above e, of no liar, and of those whose offers led to nothing least often."""
    useful = {
        peer: offer
        for peer, offer in sorted(transfer.offers.items())
        if offer.certificate.height > state.executed_height and peer not in state.snapshot_liars
    }
    fewest = min((state.snapshot_failures.get(peer, 0) for peer in useful), default=0)
    return [offer for peer, offer in useful.items() if state.snapshot_failures.get(peer, 0) == fewest]


def _compute_sources(state: ReplicaState, transfer: SnapshotTransfer) -> list[int]:
    """Who offers the chosen header, and has not sent a false chunk."""
    chosen = transfer.chosen
    assert chosen is not None
    return [
        peer
        for peer, offer in sorted(transfer.offers.items())
        if offer.certificate.header_hash == chosen.certificate.header_hash and peer not in state.snapshot_liars
    ]


def is_snapshot_coming(state: ReplicaState) -> bool:
    """Whether blocks can wait for a snapshot: offers were just asked for; or none of its sources was silent before, and
    W of them, so a correct one, offer it and still send, or it was chosen a short while ago. A correct one may have let
    go of it, while liars that send an item at a time keep the transfer from its end."""
    transfer = state.snapshot
    if transfer is None:
        return False
    if transfer.chosen is None:
        return transfer.silences < SILENT_SOURCES_MAX
    sources = _compute_sources(state, transfer)
    if any(source in state.snapshot_failures for source in sources):
        return False
    sending = [source for source in sources if transfer.unanswered.get(source, 0) < SILENT_SOURCES_MAX]
    is_vouched = len(sending) >= state.configuration.quorums.weak
    return is_vouched or state.ticks - transfer.chosen_tick < UNVOUCHED_TICKS


def _ask_for_chunk(state: ReplicaState, transfer: SnapshotTransfer) -> None:
    """Asks the next source for the chunk at the position; where none is left, everything begins anew."""
    sources = _compute_sources(state, transfer)
    if not sources or transfer.silences >= SILENT_SOURCES_MAX * len(sources):
        for source in sources:
            state.snapshot_failures[source] = state.snapshot_failures.get(source, 0) + 1
        _ask_for_offers(state, SnapshotTransfer())
        return
    assert transfer.chosen is not None and transfer.position is not None
    transfer.round += 1
    transfer.source = sources[transfer.round % len(sources)]
    transfer.asked_tick = state.ticks
    question = FetchSnapshotChunk(height=transfer.chosen.certificate.height, position=transfer.position)
    state.actions.append(Send(replica=transfer.source, message=question))


def process_snapshot_offer(state: ReplicaState, sender: int, message: SnapshotOffer) -> None:
    """A header with its certificate, which the edge has checked. Kept for each replica, the latest one."""
    transfer, certificate = state.snapshot, message.certificate
    if transfer is None:
        raise InvalidMessage("offer_not_asked", f"from replica {sender}")
    try:
        header = parse_header(message.header)
    except InvalidBlock as error:
        raise InvalidMessage("offer_header", str(error)) from None
    if (header.height, header.hash, header.network) != (
        certificate.height,
        certificate.header_hash,
        state.configuration.network,
    ):
        raise InvalidMessage("offer_certificate", f"height {header.height}: for another header")
    if certificate.epoch != state.configuration.epoch:
        raise InvalidMessage("offer_epoch", f"height {header.height} is of epoch {certificate.epoch}")
    transfer.offers[sender] = message
    process_certificate(state, certificate)


def process_snapshot_chunk(state: ReplicaState, sender: int, message: SnapshotChunk) -> None:
    """The chunk that was asked for, from who was asked; the ledger checks and keeps it."""
    transfer = state.snapshot
    if transfer is None or transfer.is_busy or transfer.chosen is None or sender != transfer.source:
        raise InvalidMessage("chunk_not_asked", f"from replica {sender}")
    if (message.height, message.position) != (transfer.chosen.certificate.height, transfer.position):
        raise InvalidMessage("chunk_not_asked", f"height {message.height}")
    transfer.is_busy = True
    transfer.unanswered.pop(sender, None)
    state.actions.append(StageChunk(height=message.height, position=message.position, chunk=message.chunk))


def process_snapshot_staged(state: ReplicaState, message: SnapshotStaged) -> None:
    """The ledger's word about the beginning, or about a chunk: on to the next one, or away from its source (M46)."""
    transfer = state.snapshot
    if transfer is None or transfer.chosen is None or message.height != transfer.chosen.certificate.height:
        return
    transfer.is_busy = False
    if not message.code:
        transfer.silences = 0
        transfer.chunks += transfer.source is not None
        transfer.position = message.position
        if message.position is not None:
            _ask_for_chunk(state, transfer)
        else:
            _process_whole(state, transfer)
    elif transfer.source is None:
        state.snapshot = None  # no room for it above the own head any more
    else:
        state.snapshot_liars.add(transfer.source)
        state.actions.append(Dropped(sender=transfer.source, code=f"snapshot_{message.code}", detail=message.detail))
        _ask_for_chunk(state, transfer)


def _process_whole(state: ReplicaState, transfer: SnapshotTransfer) -> None:
    """Everything is here: as soon as no block executes, the ledger switches; nothing executes meanwhile (M47)."""
    assert transfer.chosen is not None
    if transfer.chosen.certificate.height <= state.executed_height:
        state.snapshot = None  # blocks were faster
    elif state.executing is None:
        transfer.is_busy = True
        state.executing = transfer.chosen.certificate.height
        state.actions.append(InstallSnapshot(height=state.executing))


def process_snapshot_installed(state: ReplicaState, message: SnapshotInstalled) -> None:
    """The ledger has switched: e and h are the snapshot's height; what lies above it stays as it was (D39)."""
    transfer, state.snapshot = state.snapshot, None
    if transfer is None or transfer.chosen is None or message.height != state.executing:
        halt(state, CONTRADICTED, f"a snapshot was installed; asked for {state.executing}", height=message.height)
        return
    state.executing = None
    state.executed_height = message.height
    state.header_hashes[message.height] = transfer.chosen.certificate.header_hash
    state.next_due_ms, state.due_since = message.next_due_ms, None
    state.epoch_end, state.next_epoch, state.filling_since = message.epoch_end, message.next_epoch, None
    state.progress_tick, state.executed_clock = state.ticks, state.clock
    for held in (state.fetched, state.adopted, state.waypoints):
        for height in [height for height in held if height <= message.height]:
            del held[height]
    if not state.fetched:
        forget_fetched(state)
    state.fetch_failures = 0
    state.snapshot_failures.clear()
    process_finished(state, message.finished, message.used)
    process_certificate(state, transfer.chosen.certificate)
    process_waiting(state)
    process_execution(state)
    process_view_changes_held(state)


# --- the one that is asked ---


def process_fetch_snapshot(state: ReplicaState, sender: int, message: FetchSnapshot) -> None:
    """Whoever is above offers what it has, or will have; the driver reads the ledger."""
    if message.above_height < state.executed_height and may_answer_fetch(state, sender):
        state.actions.append(OfferSnapshot(replica=sender, above_height=message.above_height))


def process_fetch_snapshot_chunk(state: ReplicaState, sender: int, message: FetchSnapshotChunk) -> None:
    """One chunk; the driver reads the ledger."""
    if may_answer_fetch(state, sender):
        state.actions.append(SendSnapshotChunk(replica=sender, height=message.height, position=message.position))
