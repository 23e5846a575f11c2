"""Traffic that nobody asked for: every kind of message, many times over, at its legal limits and beyond; and bytes that
are no message at all (M5, M55).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from ledger.transaction import Transaction, sign_transaction
from pbft.core.messages import (
    Batches,
    Blocks,
    CertificateNotice,
    Commit,
    FetchBatches,
    FetchBlocks,
    Forward,
    HeaderVote,
    NewView,
    PeerMessage,
    Prepare,
    PrePrepare,
    Relay,
    Request,
    Status,
    ViewChange,
)
from pbft.core.requests import compute_batch
from pbft.core.view_change import compute_own_view_change
from pbft.node.assembly import Node
from pbft.simulation.liars import Traitor
from pbft.simulation.lies_ordering import false_header_vote
from pbft.wire.codec import parse_request
from pbft.wire.limits import FETCHED_DIGESTS_MAX

FLOOD_MS: Final = 150  # how often one kind of message is poured out
COPIES: Final = 8
INVENTED_CLIENT: Final = 200  # number of a client that only the traitor speaks for
INVENTED_REQUESTS: Final = 8  # in one RELAY, each signed by that client
INVENTED_REQUESTS_MAX: Final = 64  # in a run: each is executed, and reverts

Stream: TypeAlias = Callable[[Traitor, Node], PeerMessage]


def _votes(traitor: Traitor, node: Node, kind: type[Prepare] | type[Commit]) -> PeerMessage:
    """A vote on every height of the window and some above, of this view or one that is not entered yet."""
    state = node.replica.state
    heights = range(state.certified_height + 1, state.high_watermark + 3)
    view = state.view + traitor.random.randrange(3)
    epoch, words = state.configuration.epoch, traitor.random.randbytes
    return traitor.sealed(*(kind(epoch=epoch, view=view, height=h, digest=words(32)) for h in heights))


def _pre_prepare(traitor: Traitor, node: Node) -> PeerMessage:
    """A proposal by who leads a view to come, which waits with its receivers until then."""
    state = node.replica.state
    members = state.configuration.member_count
    view = state.view + 1 + (state.replica_id - state.configuration.primary(state.view + 1)) % members
    batch = compute_batch(traitor.cluster.now_ms, ())
    height = state.certified_height + traitor.random.randint(1, 8)
    return traitor.sealed(
        PrePrepare(epoch=state.configuration.epoch, view=view, height=height, digest=batch.digest, batch=batch)
    )


def _status(traitor: Traitor, node: Node) -> PeerMessage:
    """Lacks everything, so that everything is sent to it."""
    return Status(
        epoch=node.replica.epoch,
        view=traitor.random.choice([0, node.replica.view, node.replica.view + 1]),
        active=traitor.random.random() < 0.5,
        certified_height=0,
        executed_height=0,
        pre_prepared=(),
        prepared=(),
        committed=(),
        view_changes=(),
    )


def _relay(traitor: Traitor, node: Node) -> PeerMessage:
    """Requests of a client that the traitor invented; true signatures, and each of them reverts."""
    submitted = traitor.cluster.checkers.submitted
    window = range(INVENTED_REQUESTS_MAX)
    key = traitor.cluster.client_key(INVENTED_CLIENT + traitor.replica % 16)
    requests: list[Request] = []
    for nonce in sorted(traitor.random.sample(window, INVENTED_REQUESTS)):
        transaction = Transaction(
            network=traitor.cluster.genesis.network_id,
            sender=key.public_key,
            nonce=nonce,
            expiry_height=5_000,
            expiry_time=traitor.cluster.trace.start_ms // 1000 + 86_400,
            gas_limit=50_000,
            contract="register",
            method="fail",
            arguments=(),
        )
        raw = sign_transaction(transaction, key).raw
        requests.append(parse_request(raw, node.rules))
        if submitted is not None:
            submitted.add(raw)
    return Relay(requests=tuple(requests))


def _blocks(_: Traitor, node: Node) -> PeerMessage:
    blocks = node.execution.compute_blocks(min(1, node.chain.height))
    return blocks if blocks is not None else Blocks(first_height=1, blocks=(), certificate=None)


def _certificate(_: Traitor, node: Node) -> PeerMessage:
    certificate = node.replica.state.certificate
    return FetchBlocks(first_height=1) if certificate is None else CertificateNotice(certificate=certificate)


def _view_change(traitor: Traitor, node: Node) -> PeerMessage:
    own = compute_own_view_change(node.replica.state)
    return traitor.sealed(replace(own, view=node.replica.view + traitor.random.randint(1, 50)))


def _new_view(traitor: Traitor, node: Node) -> PeerMessage:
    """For a view that it leads one day, with its own VIEW-CHANGE alone."""
    configuration = node.replica.state.configuration
    view = node.replica.view + configuration.member_count
    view -= (configuration.primary(view) - node.replica.replica_id) % configuration.member_count
    own = traitor.sealed(replace(compute_own_view_change(node.replica.state), view=max(view, 1)))
    return traitor.sealed(NewView(epoch=configuration.epoch, view=max(view, 1), view_changes=(own,), choices=()))


def _header_votes(traitor: Traitor, node: Node) -> PeerMessage:
    """Votes all over two windows; the tables that keep them are bounded."""
    low = node.replica.certified_height
    heights = traitor.random.sample(range(low + 1, low + 3 * node.replica.state.configuration.window), 16)
    return traitor.sealed(*(false_header_vote(traitor, node.replica.epoch, height) for height in sorted(heights)))


def _batches(traitor: Traitor, _: Node) -> PeerMessage:
    return Batches(batches=tuple(compute_batch(traitor.random.randrange(2**40), ()) for _ in range(4)))


def _fetch_batches(traitor: Traitor, node: Node) -> PeerMessage:
    """All that it could ask for: bodies that are held, and others."""
    held = sorted(node.replica.state.bodies)[:FETCHED_DIGESTS_MAX]
    unknown = [traitor.random.randbytes(32) for _ in range(FETCHED_DIGESTS_MAX - len(held))]
    return FetchBatches(digests=(*held, *unknown))


def _forward(traitor: Traitor, node: Node) -> PeerMessage:
    """Its own votes, as if they were somebody's that the receiver lacks."""
    votes = [_votes(traitor, node, Commit), _votes(traitor, node, Prepare), _header_votes(traitor, node)]
    return Forward(envelopes=tuple(votes))  # type: ignore[arg-type]  # sealed above


STREAMS: Final[Mapping[str, Stream]] = {
    PrePrepare.__name__: _pre_prepare,
    Prepare.__name__: lambda traitor, node: _votes(traitor, node, Prepare),
    Commit.__name__: lambda traitor, node: _votes(traitor, node, Commit),
    HeaderVote.__name__: _header_votes,
    ViewChange.__name__: _view_change,
    NewView.__name__: _new_view,
    Status.__name__: _status,
    FetchBatches.__name__: _fetch_batches,
    Batches.__name__: _batches,
    FetchBlocks.__name__: lambda traitor, node: FetchBlocks(first_height=1),
    Blocks.__name__: _blocks,
    CertificateNotice.__name__: _certificate,
    Relay.__name__: _relay,
    Forward.__name__: _forward,
}
"""What is poured out, by kind of message: all of them."""


def flood(traitor: Traitor) -> None:
    """M55: one kind of message after another, many copies to somebody; and garbage beside what it truly says."""
    send = traitor.cluster.network.send

    def send_garbage(sender: int, receiver: int, frame: bytes) -> None:
        send(sender, receiver, frame)
        if sender == traitor.replica and traitor.random.random() < 0.1:
            cut = traitor.random.randrange(len(frame))
            flipped = frame[:cut] + bytes([frame[cut] ^ 1]) + frame[cut + 1 :]
            for garbage in (traitor.random.randbytes(traitor.random.randrange(1, 200)), flipped, frame[:cut]):
                traitor.arrivals.expect(receiver, garbage, (traitor.name("garbage"),))
                send(sender, receiver, garbage)

    def pour(node: Node) -> None:
        name = traitor.random.choice(sorted(STREAMS))
        receiver = traitor.random.choice(traitor.others)
        for _ in range(COPIES):
            traitor.say(receiver, STREAMS[name](traitor, node), name)

    traitor.cluster.network.send = send_garbage  # type: ignore[method-assign]
    traitor.every(FLOOD_MS, pour)
