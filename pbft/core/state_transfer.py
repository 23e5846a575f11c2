"""Fetching what is missing: bodies of batches by digest (M16), and executed blocks by height (D28).

It runs beside ordering and view change and stops neither (M48). Nothing is believed on the sender's word: a body proves
itself by its digest; a block is adopted when its path of parent hashes ends at a certificate or at W equal header
votes, and its execution is compared with its header afterwards. A source whose blocks do not fit is left for the next.
"""

from ledger.block import parse_header
from ledger.errors import InvalidBlock
from ledger.hashing import NULL_DIGEST
from ledger.quorum_certificate import QuorumCertificate
from pbft.core.actions import Send, SendBlocks
from pbft.core.checkpoints import peer_notes, process_certificate
from pbft.core.config import (
    ANSWER_TICKS,
    BODIES_BYTES_MAX,
    FETCH_DOUBLINGS_MAX,
    FETCH_TICKS,
    FETCHED_BLOCKS_BYTES_MAX,
    FETCHED_BLOCKS_MAX,
    FETCHED_DIGESTS_MAX,
    FETCHES_ANSWERED_MAX,
)
from pbft.core.errors import InvalidMessage
from pbft.core.messages import (
    Batch,
    Batches,
    BlockBody,
    Blocks,
    CertificateNotice,
    FetchBatches,
    FetchBlocks,
)
from pbft.core.ordering import find_body, process_body, process_execution
from pbft.core.quorum import compute_tally
from pbft.core.replica_state import FetchedBlock, ReplicaState
from pbft.core.view_change import process_view_changes_held


def process_body_fetches(state: ReplicaState) -> None:
    """On a tick: bodies still missing are asked for again, of the next replica (M46: sources rotate)."""
    state.missing_bodies = {digest for digest in state.missing_bodies if is_body_wanted(state, digest)}
    if state.missing_bodies and state.ticks - state.bodies_tick >= FETCH_TICKS:
        state.bodies_round += 1  # whoever pre-prepared a batch holds it, however little it has executed
        _fetch_bodies(state, state.others[state.bodies_round % len(state.others)])


def process_block_fetches(state: ReplicaState) -> None:
    """On a tick: blocks still missing are asked for again, of the next replica (M46), each time a little later."""
    patience_ticks = FETCH_TICKS << min(state.fetch_failures, FETCH_DOUBLINGS_MAX)
    if is_behind(state) and state.ticks - max(state.progress_tick, state.fetch_tick) >= patience_ticks:
        if state.fetch_source is not None:
            state.fetch_failures += 1  # the last source is silent, slow, or ended without a path to anything certified
            forget_fetched(state)
        _fetch_blocks(state)


def _fetch_bodies(state: ReplicaState, source: int) -> None:
    """Asks one source for what is missing."""
    state.bodies_tick = state.ticks
    digests = tuple(sorted(state.missing_bodies)[:FETCHED_DIGESTS_MAX])
    state.actions.append(Send(replica=source, message=FetchBatches(digests=digests)))


def is_body_wanted(state: ReplicaState, digest: bytes) -> bool:
    """Whether a slot, or the NEW-VIEW being made, still waits for a body."""
    if find_body(state, digest) is not None:
        return False
    is_deciding = not state.active and state.is_primary
    return is_deciding or any(
        not slot.is_complete(digest)
        and (slot.digest == digest or (slot.committed == digest and height > state.executed_height))
        for height, slot in state.slots.items()
    )


def _next_source(state: ReplicaState) -> int:
    """Whom to ask: the others in turn, those first that say they have executed more."""
    state.fetch_round += 1
    ahead = [peer for peer in state.others if peer_notes(state, peer).executed_height > state.executed_height]
    sources = ahead or state.others
    return sources[state.fetch_round % len(sources)]


def process_fetch_batches(state: ReplicaState, sender: int, message: FetchBatches) -> None:
    """Any holder answers (M16), with as much as one answer carries; the asker asks again for the rest."""
    if not may_answer_fetch(state, sender):
        return
    batches: list[Batch] = []
    size = 0
    for batch in (find_body(state, digest) for digest in dict.fromkeys(message.digests)):
        if batch is None:
            continue
        size += batch.size_bytes
        if batches and size > BODIES_BYTES_MAX:
            break
        batches.append(batch)
    if batches:
        state.actions.append(Send(replica=sender, message=Batches(batches=tuple(batches))))


def may_answer_fetch(state: ReplicaState, peer: int) -> bool:
    """A question of a few bytes costs an answer of megabytes: at most so many for a peer in ANSWER_TICKS (M50, M55)."""
    notes = peer_notes(state, peer)
    if state.ticks - notes.fetches_tick >= ANSWER_TICKS:
        notes.fetches_tick, notes.fetches_answered = state.ticks, 0
    notes.fetches_answered += 1
    return notes.fetches_answered <= FETCHES_ANSWERED_MAX


def process_batches(state: ReplicaState, sender: int, message: Batches) -> None:
    """Whole bodies that were asked for; others are ignored, so nobody fills this replica's memory, and nobody ends the
    search for a payload by a body without it (D50)."""
    wanted = [batch for batch in message.batches if batch.digest in state.missing_bodies and batch.is_whole]
    for batch in wanted:
        state.loose_bodies[batch.digest] = batch
        process_body(state, batch)
    process_view_changes_held(state)
    if wanted and state.missing_bodies:
        _fetch_bodies(state, sender)


def compute_trusted(state: ReplicaState) -> dict[int, bytes]:
    """Heights above e whose header hash is beyond doubt: certified, or voted for equally by W replicas (D28)."""
    trusted = {}
    for height in sorted(state.header_votes):
        if height > state.executed_height:
            header_hash, count = compute_tally(v.vote.header_hash for v in state.header_votes[height].values())
            if count >= state.configuration.quorums.weak:
                trusted[height] = header_hash
    for certificate in (*state.waypoints.values(), *([state.target] if state.target else [])):
        if certificate.height > state.executed_height:
            trusted[certificate.height] = certificate.header_hash
    return trusted


def is_behind(state: ReplicaState) -> bool:
    """Whether blocks above e exist for certain, and e + 1 is not already on its way through ordering or adoption."""
    if state.executing is not None or state.adopted:
        return False
    following = state.slots.get(state.executed_height + 1)
    if following is not None and following.committed is not None and following.is_complete(following.committed):
        return False
    return bool(compute_trusted(state))


def compute_frontier(state: ReplicaState) -> tuple[int, bytes]:
    """The highest block held in an unbroken path from e, and its header hash."""
    top = max([state.executed_height, *state.adopted, *state.fetched])
    held = state.fetched.get(top) or state.adopted.get(top)
    return top, held.header_hash if held is not None else state.header_hashes[state.executed_height]


def _fetch_blocks(state: ReplicaState) -> None:
    """Asks one source for the blocks above the frontier."""
    state.fetch_tick = state.ticks
    state.fetch_source = _next_source(state) if state.fetch_source is None or not state.fetched else state.fetch_source
    top, _ = compute_frontier(state)
    state.actions.append(Send(replica=state.fetch_source, message=FetchBlocks(first_height=top + 1)))


def forget_fetched(state: ReplicaState) -> None:
    """Drops blocks that are not believed, and their source."""
    state.fetched.clear()
    state.fetch_source = None


def process_fetch_blocks(state: ReplicaState, sender: int, message: FetchBlocks) -> None:
    """Whoever executed a block serves it; the driver reads the ledger."""
    if 0 < message.first_height <= state.executed_height and may_answer_fetch(state, sender):
        state.actions.append(SendBlocks(replica=sender, first_height=message.first_height))


def process_blocks(state: ReplicaState, sender: int, message: Blocks) -> None:
    """Blocks from the source that was asked, appended to the path; believed as far as something trusted reaches."""
    if sender != state.fetch_source:
        raise InvalidMessage("blocks_not_asked", f"from replica {sender}")
    if message.certificate is not None:
        _keep_waypoint(state, message.certificate)
        process_certificate(state, message.certificate)
    try:
        for body in message.blocks:
            if not _append_block(state, body):
                break
        _process_adoption(state)
    except InvalidMessage:
        forget_fetched(state)
        raise
    process_execution(state)
    top, _ = compute_frontier(state)
    has_room = len(state.adopted) + len(state.fetched) < FETCHED_BLOCKS_MAX
    if message.blocks and has_room and any(height > top for height in compute_trusted(state)):
        _fetch_blocks(state)


def _keep_waypoint(state: ReplicaState, certificate: QuorumCertificate) -> None:
    """A certificate between e and the target moves h when execution gets there."""
    if state.executed_height < certificate.height <= state.executed_height + FETCHED_BLOCKS_MAX:
        state.waypoints[certificate.height] = certificate


def _append_block(state: ReplicaState, body: BlockBody) -> bool:
    """Takes a block that continues the path. False: there is no room until believed ones are executed.

    InvalidMessage for one that cannot be a block, or is too much to hold unbelieved.
    """
    try:
        header = parse_header(body.header)
    except InvalidBlock as error:
        raise InvalidMessage("block_header", str(error)) from None
    top, top_hash = compute_frontier(state)
    if header.height <= top:
        return True  # executed or fetched in the meantime
    if header.height != top + 1 or header.parent_hash != top_hash or header.network != state.configuration.network:
        raise InvalidMessage("block_path", f"height {header.height} does not continue {top}")
    if header.epoch != state.configuration.epoch:
        raise InvalidMessage("block_epoch", f"height {header.height} is of epoch {header.epoch}")
    digest = NULL_DIGEST if body.batch is None else body.batch.digest
    if digest != header.batch_digest:
        raise InvalidMessage("block_batch", f"height {header.height}: another batch than its header's")
    if body.batch is not None and not body.batch.is_whole:
        raise InvalidMessage("block_payload", f"height {header.height}: without its private payloads")
    size = 0 if body.batch is None else body.batch.size_bytes
    held = [*state.fetched.values(), *state.adopted.values()]
    if len(held) >= FETCHED_BLOCKS_MAX or size + sum(block.size_bytes for block in held) > FETCHED_BLOCKS_BYTES_MAX:
        if state.adopted:
            return False
        raise InvalidMessage("blocks_too_many", f"{len(held)} blocks without a certificate")
    state.fetched[header.height] = FetchedBlock(body=body, header_hash=header.hash, size_bytes=size)
    return True


def _process_adoption(state: ReplicaState) -> None:
    """Adopts the path up to the highest trusted height in it; one that ends elsewhere convicts its source (D28)."""
    reached = [height for height in compute_trusted(state) if height in state.fetched]
    if not reached:
        return
    trusted = compute_trusted(state)
    for height in reached:
        if state.fetched[height].header_hash != trusted[height]:
            raise InvalidMessage("blocks_untrue", f"height {height} differs from what is certified")
    for height in sorted(state.fetched):
        if height <= max(reached):
            state.adopted[height] = state.fetched.pop(height)
    state.fetch_failures = 0


def process_certificate_notice(state: ReplicaState, sender: int, message: CertificateNotice) -> None:
    """A certificate proves itself, whoever sends it."""
    process_certificate(state, message.certificate)
