"""Section 4.3 with K = 1: header votes, certificates, and the low watermark h (D5, D24-D26).

Unlike the paper (section 4.3), which checkpoints every K requests, every executed block may be voted on, because the
certificate is also the proof that clients and auditors check offline; which heights are voted on is chosen so that all
correct replicas choose the same ones often enough (D24). Votes leave in the envelope of their turn.
"""

from ledger.errors import InvariantViolation
from ledger.quorum_certificate import QuorumCertificate, vote_bytes
from pbft.core.actions import Persist, Send, StoreCertificate
from pbft.core.config import ANSWER_TICKS, HALVING_HEIGHTS, IDLE_VOTE_TICKS
from pbft.core.errors import InvalidMessage
from pbft.core.evidence import accuse_of_two
from pbft.core.halting import SECOND_SIGNER, halt, halt_diverged
from pbft.core.messages import CertificateNotice, Envelope, HeaderVote
from pbft.core.persisted import (
    CERTIFIED_KEY,
    body_key,
    encode_certified,
    encode_voted,
    pre_prepared_key,
    prepared_key,
    voted_key,
)
from pbft.core.quorum import compute_tally
from pbft.core.replica_state import CountedHeaderVote, PeerNotes, ReplicaState


def peer_notes(state: ReplicaState, replica: int) -> PeerNotes:
    """The notes about a replica, made where there are none."""
    notes = state.peers.get(replica)
    if notes is None:
        notes = state.peers[replica] = PeerNotes()
    return notes


def process_vote(state: ReplicaState, height: int) -> None:
    """Votes on an executed height above h, once; the vote is recorded in the same sync that sends it (D34)."""
    if not state.certified_height < height <= state.executed_height or height in state.voted or not state.is_voter:
        return
    if state.target is not None and height <= state.target.height:
        return  # certified already: catch-up needs no votes
    header_hash = state.header_hashes[height]
    state.voted[height] = header_hash
    state.actions.append(Persist(key=voted_key(height), value=encode_voted(header_hash)))
    state.outgoing.append(compute_header_vote(state, height))


def compute_header_vote(state: ReplicaState, height: int) -> HeaderVote:
    """The own vote on a height that is recorded as voted. Ed25519 is deterministic: a vote made again is the same."""
    configuration, header_hash = state.configuration, state.voted[height]
    message = vote_bytes(configuration.network, configuration.epoch, height, header_hash)
    return HeaderVote(
        epoch=configuration.epoch, height=height, header_hash=header_hash, signature=state.signer(message)
    )


def process_fixed_vote(state: ReplicaState, height: int) -> None:
    """D24: heights k with k mod s = 0, or that end an epoch, are voted on by all, whatever their turns look like."""
    if height % state.configuration.stride == 0 or height == state.epoch_end:
        process_vote(state, height)


def process_idle_vote(state: ReplicaState) -> None:
    """D24: at the end of a turn, the head is voted on when nothing above it is under way in the active view.

    Unlike D24 by the letter, when it has stood still for IDLE_VOTE_TICKS: where blocks follow one another, each of one
    request, every one of them would be a head for a moment, and its certificate would cost as much as the block.
    """
    head, is_still = state.executed_height, state.ticks - state.progress_tick >= IDLE_VOTE_TICKS
    if not is_still or head in state.voted or head == state.certified_height:
        return  # nothing to say, at most turns
    under_way = state.active and any(height > head and slot.digest is not None for height, slot in state.slots.items())
    if not under_way and state.executing is None:
        process_vote(state, head)


def process_header_vote(state: ReplicaState, sender: int, envelope: Envelope, vote: HeaderVote) -> None:
    """A member's vote: compared where the height is executed (D26), counted, answered (D24, D28)."""
    newest = state.newest_votes.get(sender)
    if newest is None or newest.vote.height < vote.height:
        state.newest_votes[sender] = CountedHeaderVote(vote=vote, envelope=envelope)
    own = state.header_hashes.get(vote.height)
    if vote.height <= state.certified_height:
        if own is not None and own != vote.header_hash:
            raise InvalidMessage("vote_against_certified", f"height {vote.height}")
        answer_with_certificate(state, sender)
        return
    if state.epoch_end is not None and vote.height > state.epoch_end:
        raise InvalidMessage("vote_above_epoch", f"height {vote.height}, the epoch ends at {state.epoch_end}")
    if vote.height > state.certified_height + 2 * state.configuration.window:
        raise InvalidMessage("vote_above_window", f"height {vote.height}, h {state.certified_height}")
    votes = state.header_votes.setdefault(vote.height, {})
    earlier = votes.get(sender)
    if earlier is not None:
        if earlier.vote.header_hash != vote.header_hash:
            accuse_of_two(state, earlier.envelope, envelope, vote)
        return
    votes[sender] = CountedHeaderVote(vote=vote, envelope=envelope)
    process_vote(state, vote.height)  # a peer's vote names the height (D24)
    process_votes_at(state, vote.height)


def process_votes_at(state: ReplicaState, height: int) -> None:
    """Looks at all votes of a height: W against the own header halt, Q equal ones are a certificate (D26, D25)."""
    quorums = state.configuration.quorums
    votes = state.header_votes.get(height, {})
    own = state.header_hashes.get(height) if height <= state.executed_height else None
    if own is not None:
        others, count = compute_tally(v.vote.header_hash for v in votes.values() if v.vote.header_hash != own)
        if count >= quorums.weak:
            halt_diverged(state, height, own, others, f"voted for by {count} replicas")
            return
    header_hash, count = compute_tally(v.vote.header_hash for v in votes.values())
    if count >= quorums.quorum:
        signatures = tuple(
            (member, votes[member].vote.signature)
            for member in sorted(votes)
            if votes[member].vote.header_hash == header_hash
        )
        process_certificate(
            state,
            QuorumCertificate(
                epoch=state.configuration.epoch, height=height, header_hash=header_hash, signatures=signatures
            ),
        )


def process_certificate(state: ReplicaState, certificate: QuorumCertificate) -> None:
    """A certificate that holds. At or below e it moves h; above e it moves nothing and starts catch-up (D25).

    One of a later epoch is of no use before this one has ended here: its senders answer with the end of ours (D41).
    """
    height = certificate.height
    if height <= state.certified_height or certificate.epoch != state.configuration.epoch:
        return
    process_own_signature(state, certificate)
    if state.halted is not None:
        return
    if height > state.executed_height:
        if state.target is None or height > state.target.height:
            state.target = certificate
        return
    own = state.header_hashes[height]
    if own != certificate.header_hash:
        halt_diverged(state, height, own, certificate.header_hash, "which is certified")
        return
    _move_low_watermark(state, certificate)


def process_own_signature(state: ReplicaState, certificate: QuorumCertificate) -> None:
    """A certificate above h with the own signature holds an own header vote: it must be recorded here (D34, D38)."""
    height, is_signed = certificate.height, any(member == state.replica_id for member, _ in certificate.signatures)
    is_open = height > state.certified_height
    if state.asks and is_open and is_signed and state.voted.get(height) != certificate.header_hash:
        reason = f"a vote of this key is in the certificate of height {height}, and is not in this journal"
        halt(state, SECOND_SIGNER, reason, height=height, other=certificate.header_hash)


def _move_low_watermark(state: ReplicaState, certificate: QuorumCertificate) -> None:
    """h := m. Block m is durable here; certificate, h and the deletion of what lies below are one sync (D25, D35)."""
    height = certificate.height
    state.certified_height = height
    state.certified_hash = certificate.header_hash
    state.certificate = certificate
    if state.target is not None and state.target.height <= height:
        state.target = None
    state.actions.append(
        Persist(key=CERTIFIED_KEY, value=encode_certified(height, certificate.header_hash, certificate))
    )
    state.actions.append(StoreCertificate(certificate=certificate))
    _forget_below(state, height)
    while state.doublings and height - state.halving_height >= HALVING_HEIGHTS:  # D57
        state.doublings -= 1
        state.halving_height += HALVING_HEIGHTS
    if not state.doublings:
        state.halving_height = height


def _forget_below(state: ReplicaState, height: int) -> None:
    """Slots at or below the new h leave log, P, Q and journal; a Q entry leaves in no other way (D25, D30)."""
    for below in sorted(k for k in state.slots if k <= height):
        del state.slots[below]
    for below in sorted(k for k in state.prepared if k <= height):
        del state.prepared[below]
        state.actions.append(Persist(key=prepared_key(below), value=None))
    for below in sorted(k for k in state.pre_prepared if k <= height):
        for digest in sorted(state.pre_prepared.pop(below)):
            state.actions.append(Persist(key=pre_prepared_key(below, digest), value=None))
    for below in sorted(k for k in state.voted if k <= height):
        del state.voted[below]
        state.actions.append(Persist(key=voted_key(below), value=None))
    for below in sorted(k for k in state.header_votes if k <= height):
        del state.header_votes[below]
    for below in sorted(k for k in state.header_hashes if k < height - state.configuration.window):
        del state.header_hashes[below]
    promised = {digest for digests in state.pre_prepared.values() for digest in digests}
    for digest in sorted(set(state.bodies) - promised):
        del state.bodies[digest]
        state.actions.append(Persist(key=body_key(digest), value=None))
    state.loose_bodies = {d: b for d, b in state.loose_bodies.items() if d in state.missing_bodies}


def process_executed_header(state: ReplicaState, height: int) -> None:
    """After execution: the recorded vote must agree, then votes and certificates waiting for the height count (D34)."""
    own = state.header_hashes[height]
    recorded = state.voted.get(height)
    if recorded is not None and recorded != own:
        halt_diverged(state, height, own, recorded, "which it had and was voted for when it was executed before")
        return
    process_fixed_vote(state, height)
    if height in state.header_votes:
        process_vote(state, height)
        process_votes_at(state, height)
    if state.target is not None and state.target.height <= state.executed_height:
        target, state.target = state.target, None
        process_certificate(state, target)


def answer_with_certificate(state: ReplicaState, replica: int) -> None:
    """D28: who is shown a message at n <= h answers with its newest certificate, at most once per ANSWER_TICKS."""
    if state.certificate is None or replica == state.replica_id:
        return
    notes = peer_notes(state, replica)
    if state.ticks - notes.certificate_sent_tick >= ANSWER_TICKS:
        notes.certificate_sent_tick = state.ticks
        state.actions.append(Send(replica=replica, message=CertificateNotice(certificate=state.certificate)))


def require_consistent(state: ReplicaState) -> None:
    """What must hold between the calls of a replica; raises InvariantViolation, which is ours and stops it."""
    if state.executed_height < state.certified_height:
        raise InvariantViolation(
            "executed_below_certified", executed=state.executed_height, certified=state.certified_height
        )
    low = min(state.slots, default=state.certified_height + 1)
    if low <= state.certified_height:
        raise InvariantViolation("slot_below_watermark", height=low, certified=state.certified_height)
