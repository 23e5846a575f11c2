"""The catalogue of traitors: each is a correct node with a mouth of its own (`liars.corrupt`), or twice itself.

A kind is a function that turns one replica of a cluster into a traitor for the whole run, from one seeded source. All
signatures of a traitor hold. `KINDS` names them; a run draws at most f, of any kinds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Final

from ledger.block import parse_header
from ledger.quorum_certificate import QuorumCertificate, vote_bytes
from pbft.core.messages import (
    Blocks,
    CertificateNotice,
    Commit,
    Envelope,
    HeaderVote,
    NewView,
    PeerMessage,
    Prepare,
    PrePrepare,
    SignedMessage,
    SlotEntry,
    Status,
    ViewChange,
)
from pbft.core.requests import compute_batch
from pbft.simulation.cluster import Cluster, replica_key
from pbft.simulation.liars import Twin, corrupt, sealed
from pbft.simulation.workload import client_key

STALE_KEPT: Final = 20  # old envelopes that a replaying traitor remembers
FLOOD_COPIES: Final = 6  # each frame so often, and as many frames of garbage


def equivocate(cluster: Cluster, replica: int, random: Random) -> None:
    """M17: shows half of the backups another batch, and votes for both. Some others hear of both."""
    deceived = {other for other in range(len(cluster.machines)) if random.random() < 0.5}
    shown_digests: dict[tuple[int, int], bytes] = {}  # (view, height) -> the other batch

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        if not isinstance(message, Envelope) or message.sender != replica:
            return [message]
        shown: list[SignedMessage] = []
        for inner in message.messages:
            if isinstance(inner, PrePrepare):
                other = compute_batch(inner.batch.time_ms + 1, inner.batch.requests)
                shown_digests[inner.view, inner.height] = other.digest
                if receiver in deceived:
                    inner = replace(inner, digest=other.digest, batch=other)
            elif isinstance(inner, Prepare | Commit) and receiver in deceived:
                inner = replace(inner, digest=shown_digests.get((inner.view, inner.height), inner.digest))
            shown.append(inner)
        return [sealed(cluster, replica, *shown)]

    corrupt(cluster, replica, lie)


def fall_silent(cluster: Cluster, replica: int, random: Random) -> None:
    """Speaks for some seconds and says nothing for some, proposals least of all."""
    period_ms, speaking_ms = random.randint(2_000, 8_000), random.randint(500, 2_000)

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        return [message] if cluster.now_ms % period_ms < speaking_ms else []

    corrupt(cluster, replica, lie)


def delay(cluster: Cluster, replica: int, random: Random) -> None:
    """Everything that it sends comes late, just within or beyond the others' patience."""
    send, delay_ms = cluster.network.send, random.randint(300, 1_600)

    def send_late(sender: int, receiver: int, frame: bytes) -> None:
        if sender == replica:
            cluster.at(delay_ms, lambda: send(sender, receiver, frame))
        else:
            send(sender, receiver, frame)

    cluster.network.send = send_late  # type: ignore[method-assign]


def censor(cluster: Cluster, replica: int, random: Random) -> None:
    """M21: one client's requests are dropped at its door, and never in its proposals unless others relay them."""
    cluster.machines[replica].ignored_clients = frozenset({client_key(random.randrange(3)).public_key})


def corrupt_certificates(cluster: Cluster, replica: int, random: Random) -> None:
    """Header votes for another header, and certificates with a broken signature or a signer too few (D5, M40)."""

    def break_certificate(certificate: QuorumCertificate) -> QuorumCertificate:
        signatures = list(certificate.signatures)
        if random.random() < 0.5:
            signatures.pop(random.randrange(len(signatures)))
        else:
            signer, signature = signatures[0]
            signatures[0] = (signer, signature[:10] + bytes([signature[10] ^ 1]) + signature[11:])
        return replace(certificate, signatures=tuple(signatures))

    def falsify(inner: SignedMessage) -> SignedMessage:
        if isinstance(inner, HeaderVote) and random.random() < 0.5:
            false_hash = bytes(32)
            signed = vote_bytes(cluster.genesis.network_id, inner.epoch, inner.height, false_hash)
            return replace(inner, header_hash=false_hash, signature=replica_key(replica).sign(signed))
        if isinstance(inner, ViewChange) and inner.certificate is not None:
            return replace(inner, certificate=break_certificate(inner.certificate))
        return inner

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        if isinstance(message, Envelope) and message.sender == replica:
            return [sealed(cluster, replica, *(falsify(inner) for inner in message.messages))]
        if isinstance(message, CertificateNotice | Blocks) and message.certificate is not None:
            return [replace(message, certificate=break_certificate(message.certificate))]
        return [message]

    corrupt(cluster, replica, lie)


def replay(cluster: Cluster, replica: int, random: Random) -> None:
    """M34: repeats what it said in older views, to anybody, for ever."""
    said: list[PeerMessage] = []

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        if isinstance(message, Envelope) and random.random() < 0.2:
            said.append(message)
            del said[:-STALE_KEPT]
        return [message, random.choice(said)] if said else [message]

    corrupt(cluster, replica, lie)


def misreport_views(cluster: Cluster, replica: int, random: Random) -> None:
    """M40, M43: VIEW-CHANGEs with forged P and Q entries or none, and NEW-VIEWs that choose wrongly."""

    def falsify(inner: SignedMessage) -> SignedMessage:
        if isinstance(inner, ViewChange):
            if random.random() < 0.5:
                return replace(inner, prepared=(), pre_prepared=())
            height = inner.certified_height + random.randint(1, 4)
            forged = SlotEntry(height=height, digest=bytes([7]) * 32, view=max(inner.view - 1, 0))
            kept = tuple(entry for entry in inner.prepared if entry.height != height)
            prepared = tuple(sorted((*kept, forged), key=lambda entry: entry.height))
            named = tuple(sorted((*inner.pre_prepared, forged), key=lambda entry: (entry.height, entry.digest)))
            return replace(inner, prepared=prepared, pre_prepared=named)
        if isinstance(inner, NewView) and inner.choices:
            return replace(inner, choices=inner.choices[:-1])
        return inner

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        if isinstance(message, Envelope) and message.sender == replica:
            return [sealed(cluster, replica, *(falsify(inner) for inner in message.messages))]
        return [message]

    corrupt(cluster, replica, lie)


def serve_lies(cluster: Cluster, replica: int, random: Random) -> None:
    """D28, M46: claims to have everything, and answers with other states, other batches, or next to nothing."""

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage]:
        if isinstance(message, Status):
            return [replace(message, executed_height=1_000_000)]
        if not isinstance(message, Blocks):
            return [message]
        kind = random.randrange(3)
        if kind == 0:
            return [replace(message, blocks=message.blocks[:1], certificate=None)]
        if kind == 1:
            batches = [body.batch for body in message.blocks]
            pairs = zip(message.blocks, batches[::-1], strict=True)
            return [replace(message, blocks=tuple(replace(body, batch=batch) for body, batch in pairs))]
        parent, bodies = None, []
        for body in message.blocks:
            header = parse_header(body.header)
            forged = replace(header, state_root=bytes(32), parent_hash=parent or header.parent_hash)
            bodies.append(replace(body, header=forged.to_bytes()))
            parent = forged.hash
        return [replace(message, blocks=tuple(bodies))]

    corrupt(cluster, replica, lie)


def flood(cluster: Cluster, replica: int, random: Random) -> None:
    """M55: every tenth frame many times over, and garbage beside it."""
    send = cluster.network.send

    def send_many(sender: int, receiver: int, frame: bytes) -> None:
        send(sender, receiver, frame)
        if sender == replica and random.random() < 0.1:
            for _ in range(FLOOD_COPIES):
                send(sender, receiver, frame)
                send(sender, receiver, random.randbytes(random.randrange(1, 200)))
                cut = random.randrange(len(frame))
                send(sender, receiver, frame[:cut] + bytes([frame[cut] ^ 1]) + frame[cut + 1 :])

    cluster.network.send = send_many  # type: ignore[method-assign]


def live_twice(cluster: Cluster, replica: int, random: Random) -> None:
    """M28: two processes with one key, on disks of their own; the second hears some of the others."""
    others = [other for other in range(len(cluster.machines)) if other != replica]
    hears = random.sample(others, random.randint(1, len(others)))
    Twin(cluster, replica, hears, clock_offset_ms=random.randint(1, 50))


KINDS: Final[Mapping[str, Callable[[Cluster, int, Random], None]]] = {
    "equivocating": equivocate,
    "silent": fall_silent,
    "slow": delay,
    "censoring": censor,
    "corrupt_certificates": corrupt_certificates,
    "stale_views": replay,
    "invalid_views": misreport_views,
    "lying_source": serve_lies,
    "flooding": flood,
    "twins": live_twice,
}
