"""Lies about private payloads: left out, exchanged, and given to few (D50, executions 33 and 36).

What is signed stays true: payloads travel beside it, so whoever passes a body on may leave them out or change them
without anybody's signature breaking. A body without them must count as missing, and changed ones as a refused frame.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from pbft.core.messages import (
    Batch,
    Batches,
    BlockBody,
    Blocks,
    Envelope,
    Forward,
    PeerMessage,
    PrePrepare,
    Relay,
    Request,
)
from pbft.simulation.liars import Told, Traitor

LIE_CHANCE: Final = 0.7  # of what it sends with payloads; the rest is true, so that it stays a source worth asking

Bend: TypeAlias = Callable[[Request], Request]
"""What becomes of a request that has a payload."""


def _left_out(request: Request) -> Request:
    return replace(request, payload=None)


def _changed(request: Request) -> Request:
    """One bit of the last value: of its length still, and no longer what the transaction commits to."""
    payload = request.payload or b""
    return replace(request, payload=payload[:-1] + bytes([payload[-1] ^ 1]))


PAYLOAD_LIES: Final[dict[str, Bend]] = {"left_out": _left_out, "changed": _changed}
CARRIERS: Final = ("proposal", "body", "block", "relay")
PAYLOAD_EFFECTS: Final = tuple(f"{lie}_{carrier}" for carrier in CARRIERS for lie in PAYLOAD_LIES)


def withhold_payloads(traitor: Traitor) -> None:
    """D50: whatever carries payloads goes out without them, or with others; one receiver alone is told the truth, so
    that the rest depends on fetching."""
    favourite = traitor.random.choice(traitor.others)

    def lie(receiver: int, message: PeerMessage) -> Sequence[PeerMessage | Told]:
        name = _carrier_of(message)
        if name is None or receiver == favourite or traitor.random.random() > LIE_CHANCE:
            return [message]
        kind = traitor.random.choice(sorted(PAYLOAD_LIES))
        return [traitor.told(_bend_message(message, PAYLOAD_LIES[kind]), f"{kind}_{name}")]

    traitor.lie(lie)


def _carrier_of(message: PeerMessage) -> str | None:
    """What carries private payloads in a message; None where nothing does."""
    match message:
        case Envelope(messages=(PrePrepare(batch=batch), *_)) if _has_payload(batch.requests):
            return "proposal"
        case Forward(envelopes=envelopes) if any(_carrier_of(envelope) for envelope in envelopes):
            return "proposal"
        case Batches(batches=batches) if any(_has_payload(batch.requests) for batch in batches):
            return "body"
        case Blocks(blocks=blocks) if any(body.batch and _has_payload(body.batch.requests) for body in blocks):
            return "block"
        case Relay(requests=requests) if _has_payload(requests):
            return "relay"
    return None


def _has_payload(requests: Sequence[Request]) -> bool:
    return any(request.payload for request in requests)


def _bend_message(message: PeerMessage, bend: Bend) -> PeerMessage:
    """The message with every payload in it bent; what is signed stays as it was."""
    match message:
        case Envelope(messages=(PrePrepare() as proposal, *_)):
            return replace(message, messages=(replace(proposal, batch=_bend_batch(proposal.batch, bend)),))
        case Forward(envelopes=envelopes):
            bent = [_bend_message(envelope, bend) for envelope in envelopes]
            return Forward(envelopes=tuple(envelope for envelope in bent if isinstance(envelope, Envelope)))
        case Batches(batches=batches):
            return Batches(batches=tuple(_bend_batch(batch, bend) for batch in batches))
        case Blocks(blocks=blocks):
            return replace(message, blocks=tuple(_bend_block(body, bend) for body in blocks))
        case Relay(requests=requests):
            return Relay(requests=_bend_requests(requests, bend))
    return message


def _bend_requests(requests: Sequence[Request], bend: Bend) -> tuple[Request, ...]:
    return tuple(bend(request) if request.payload else request for request in requests)


def _bend_batch(batch: Batch, bend: Bend) -> Batch:
    return replace(batch, requests=_bend_requests(batch.requests, bend))


def _bend_block(body: BlockBody, bend: Bend) -> BlockBody:
    return body if body.batch is None else replace(body, batch=_bend_batch(body.batch, bend))
