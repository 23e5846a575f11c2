"""Lies about what was executed: certificates that prove nothing, votes on headers that do not exist, and blocks that
were never ordered (section 4.3, D5, D25, D28, M46).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from ledger.block import Header, parse_header
from ledger.hashing import NULL_DIGEST
from ledger.quorum_certificate import QuorumCertificate
from pbft.core.messages import (
    Batches,
    BlockBody,
    Blocks,
    CertificateNotice,
    FetchBlocks,
    HeaderVote,
    PeerMessage,
    SignedMessage,
    SnapshotChunk,
    Status,
    ViewChange,
)
from pbft.core.requests import compute_batch
from pbft.node.assembly import Node
from pbft.simulation.liars import Told, Traitor, read
from pbft.simulation.lies_ordering import false_header_vote
from pbft.wire.codec import WireRules

VOTES_AHEAD_MS: Final = 700  # how often false votes come that nobody asked for
VOTES_AHEAD: Final = 4  # heights above the own head that they name
BOASTED_HEIGHT: Final = 1_000_000
ENDLESS_BLOCKS: Final = 2  # forged blocks in each answer of an endless source: few, so that it is asked again and again

CertificateLie: TypeAlias = Callable[[Traitor, QuorumCertificate], QuorumCertificate]
BlocksLie: TypeAlias = Callable[[Traitor, Blocks], Blocks | None]


# --- certificates ---


def _broken_signature(_: Traitor, certificate: QuorumCertificate) -> QuorumCertificate:
    (signer, signature), *rest = certificate.signatures
    broken = signature[:10] + bytes([signature[10] ^ 1]) + signature[11:]
    return replace(certificate, signatures=((signer, broken), *rest))


def _signed_by_few(traitor: Traitor, certificate: QuorumCertificate) -> QuorumCertificate:
    """What f traitors can make alone: their true signatures on a header that does not exist."""
    vote = false_header_vote(traitor, certificate.epoch, certificate.height)
    signer = traitor.cluster.member_id(traitor.replica, certificate.epoch) or 0  # an observer signs as another
    return replace(certificate, header_hash=vote.header_hash, signatures=((signer, vote.signature),))


CERTIFICATE_LIES: Final[Mapping[str, CertificateLie]] = {
    "broken_signature": _broken_signature,
    "signer_missing": lambda _, c: replace(c, signatures=c.signatures[1:]),
    "signer_twice": lambda _, c: replace(c, signatures=(c.signatures[0], *c.signatures[:-1])),
    "other_header": lambda _, c: replace(c, header_hash=bytes(32)),
    "other_height": lambda _, c: replace(c, height=c.height + 1),
    "signed_by_few": _signed_by_few,
}


def corrupt_certificates(traitor: Traitor) -> None:
    """D5, D27: every certificate that it passes on is broken, in one way or another."""

    def break_one(certificate: QuorumCertificate) -> tuple[QuorumCertificate, str]:
        name = traitor.in_turn(CERTIFICATE_LIES)[0]
        traitor.tried(name)
        return CERTIFICATE_LIES[name](traitor, certificate), name

    def lie_signed(receiver: int, message: SignedMessage) -> Sequence[tuple[SignedMessage, str]]:
        if not isinstance(message, ViewChange) or message.certificate is None:
            return [(message, "")]
        certificate, name = break_one(message.certificate)
        return [(replace(message, certificate=certificate), name)]

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage | Told]:
        if not isinstance(message, CertificateNotice | Blocks) or message.certificate is None:
            return [message]
        certificate, name = break_one(message.certificate)
        return [traitor.told(replace(message, certificate=certificate), name)]

    traitor.lie_signed(lie_signed)
    traitor.lie(lie)


# --- header votes ---


def vote_falsely(traitor: Traitor) -> None:
    """Section 4.3, D26: votes for a header that does not exist, the same one as all other traitors': at executed
    heights, at later ones, and far above everybody's window."""

    def lie(receiver: int, message: SignedMessage) -> Sequence[tuple[SignedMessage, str]]:
        if isinstance(message, HeaderVote):
            return [(false_header_vote(traitor, message.epoch, message.height), "false_vote")]
        return [(message, "")]

    def vote_ahead(node: Node) -> None:
        head, window = node.replica.executed_height, node.replica.state.configuration.window
        epoch, heights = node.replica.epoch, range(head + 1, head + VOTES_AHEAD + 1)
        ahead = traitor.sealed(*(false_header_vote(traitor, epoch, height) for height in heights))
        far = traitor.sealed(false_header_vote(traitor, epoch, head + 4 * window))
        for receiver in traitor.others:
            traitor.say(receiver, ahead, "vote_ahead")
            traitor.say(receiver, far, "vote_above_window")

    traitor.lie_signed(lie)
    traitor.every(VOTES_AHEAD_MS, vote_ahead)


# --- blocks ---


def _headers(message: Blocks) -> list[Header]:
    return [parse_header(body.header) for body in message.blocks]


def _rebuild(message: Blocks, change: Callable[[int, Header, BlockBody], tuple[Header, BlockBody]]) -> Blocks:
    """Blocks with other contents under an unbroken path of parent hashes."""
    parent: bytes | None = None
    bodies = []
    for index, body in enumerate(message.blocks):
        header, body = change(index, parse_header(body.header), body)
        header = replace(header, parent_hash=parent or header.parent_hash)
        bodies.append(replace(body, header=header.to_bytes()))
        parent = header.hash
    return replace(message, blocks=tuple(bodies))


def _changed_header(_: Traitor, message: Blocks) -> Blocks:
    return _rebuild(message, lambda _, header, body: (replace(header, state_root=bytes(32)), body))


def _half_true(_: Traitor, message: Blocks) -> Blocks | None:
    """True up to the middle, and another state from there on."""
    half = len(message.blocks) // 2
    if half == 0:
        return None
    return _rebuild(
        message, lambda i, header, body: (header if i < half else replace(header, state_root=bytes(32)), body)
    )


def _changed_transactions(_: Traitor, message: Blocks) -> Blocks | None:
    """A transaction left out, and the header's digest made to fit."""
    if not any(body.batch is not None and body.batch.requests for body in message.blocks):
        return None

    def drop(_: int, header: Header, body: BlockBody) -> tuple[Header, BlockBody]:
        if body.batch is None:
            return header, body
        batch = compute_batch(body.batch.time_ms, body.batch.requests[1:])
        return replace(header, batch_digest=batch.digest), replace(body, batch=batch)

    return _rebuild(message, drop)


def _swapped(_: Traitor, message: Blocks) -> Blocks | None:
    """The batch of another block under each header."""
    batches = [body.batch for body in message.blocks]
    if batches == batches[::-1]:
        return None
    pairs = zip(message.blocks, batches[::-1], strict=True)
    return replace(message, blocks=tuple(replace(body, batch=batch) for body, batch in pairs))


def _reversed(_: Traitor, message: Blocks) -> Blocks | None:
    return replace(message, blocks=message.blocks[::-1]) if len(message.blocks) > 1 else None


def _truncated(_: Traitor, message: Blocks) -> Blocks:
    """One block, never with a certificate."""
    return replace(message, blocks=message.blocks[:1], certificate=None)


def _nothing(_: Traitor, message: Blocks) -> Blocks:
    return replace(message, blocks=(), certificate=None)


def forge_blocks(first: Header, count: int) -> tuple[BlockBody, ...]:
    """Null blocks on top of a header: an unbroken path that no certificate ever ends."""
    bodies, parent = [], first
    for _ in range(count):
        parent = replace(parent, height=parent.height + 1, parent_hash=parent.hash, batch_digest=NULL_DIGEST)
        bodies.append(BlockBody(header=parent.to_bytes(), batch=None))
    return tuple(bodies)


def _endless(_: Traitor, message: Blocks) -> Blocks:
    """One true block, and an invented path on top of it, which is gone on with whenever the receiver asks for more."""
    path = forge_blocks(_headers(message)[0], ENDLESS_BLOCKS)
    return replace(message, blocks=(message.blocks[0], *path), certificate=None)


BLOCKS_LIES: Final[Mapping[str, BlocksLie]] = {
    "changed_header": _changed_header,
    "half_true": _half_true,
    "changed_transactions": _changed_transactions,
    "swapped": _swapped,
    "reversed": _reversed,
    "truncated": _truncated,
    "nothing": _nothing,
    "endless": _endless,
    "truth": lambda _, message: message,
}

FALSE_CHUNK_CHANCE: Final = 0.5  # of a snapshot: told once, the liar is asked no more


def serve_lies(traitor: Traitor) -> None:
    """D28, M46: claims to have everything; whoever asks it for blocks gets another lie each time, and sometimes the
    truth; whoever has taken an invented path from it, more of that path for ever."""
    invented: dict[int, Header] = {}  # receiver -> the last block of the path that it was given
    cluster, rules = traitor.cluster, WireRules.of(traitor.cluster.genesis.configuration)
    deliver = cluster.network.deliver

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage | Told]:
        match message:
            case Status():
                return [traitor.told(replace(message, executed_height=BOASTED_HEIGHT), "boast")]
            case Batches():
                other = tuple(compute_batch(batch.time_ms + 1, batch.requests) for batch in message.batches)
                return [traitor.told(Batches(batches=other), "other_bodies")]
            case SnapshotChunk() if traitor.random.random() < FALSE_CHUNK_CHANCE:
                return [replace(message, chunk=message.chunk[:-1] + bytes([message.chunk[-1] ^ 1]))]
            case Blocks() if message.blocks:
                for name in traitor.in_turn(BLOCKS_LIES):
                    forged = BLOCKS_LIES[name](traitor, message)
                    if forged is not None:
                        traitor.tried(name)
                        if name == "endless":
                            invented[receiver] = _headers(forged)[-1]
                        return [traitor.told(forged, name)]
        return [message]

    def hear(receiver: int, sender: int, frame: bytes) -> None:
        if receiver == traitor.replica and sender in invented:
            message = read(traitor.cluster, frame, rules)
            if isinstance(message, FetchBlocks) and message.first_height == invented[sender].height + 1:
                bodies = forge_blocks(invented[sender], ENDLESS_BLOCKS)
                answer = Blocks(first_height=message.first_height, blocks=bodies, certificate=None)
                invented[sender] = parse_header(bodies[-1].header)
                traitor.say(sender, answer, "endless_more")
                return
        deliver(receiver, sender, frame)

    cluster.network.deliver = hear
    traitor.lie(lie)
