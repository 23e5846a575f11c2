"""Private payloads on the wire: beside what is signed, all of them or none, each where it is declared (D16, D50)."""

from dataclasses import replace

import pytest

from ledger.encoding import encode
from pbft.core.messages import Batches, BlockBody, Blocks, PeerMessage, PrePrepare, Relay, Request
from pbft.wire import gridquorum_pb2 as pb
from pbft.wire.codec import WireError, decode_envelope, decode_peer, encode_envelope, encode_peer


def code_of(network, message: PeerMessage) -> str:
    """The code with which the frame of a message is refused; empty where it decodes."""
    try:
        decode_peer(encode_peer(message), network.rules)
    except WireError as error:
        return error.code
    return ""


def without(request: Request, payload: bytes | None = None) -> Request:
    return replace(request, payload=payload)


def test_signed_bytes_never_hold_a_payload(network) -> None:
    """D16, D50: the frame of a proposal carries the payloads, what its sender signed and what a journal or evidence
    keeps of it do not."""
    secret = encode("secret")
    envelope = network.sealed(0, *network.signed_messages()["private_pre_prepare"])
    assert secret in encode_peer(envelope)
    assert secret not in envelope.raw and secret not in encode_envelope(envelope)
    stored = decode_envelope(encode_envelope(envelope), network.rules)
    assert not stored.messages[0].batch.is_whole and stored.raw == envelope.raw
    network.verifier().verify_message(stored)


def test_a_stripped_proposal_decodes_as_what_was_signed(network) -> None:
    """Whoever strips it on the way cannot make its signature false; the body is missing, nothing else."""
    (proposal,) = network.signed_messages()["private_pre_prepare"]
    stripped = replace(proposal.batch, requests=tuple(without(r) if r.payload else r for r in proposal.batch.requests))
    envelope = replace(network.sealed(0, proposal), messages=(replace(proposal, batch=stripped),))
    decoded = decode_peer(encode_peer(envelope), network.rules)
    assert decoded == envelope and decoded.messages[0].digest == proposal.digest
    assert not decoded.messages[0].batch.is_whole
    network.verifier().verify_message(decoded)


def test_payloads_beside_a_message_are_all_there_and_in_their_place(network) -> None:
    """One too few, one too many, exchanged, changed, beside what declares none: refused in every message."""
    first, plain, last = network.private_batch().requests
    lists = {
        "payload_count": [(first, plain, without(last, b"")), (without(first, b""), plain, without(last, b""))],
        "bad_payload": [
            (without(first, last.payload), plain, without(last, first.payload)),
            (first, plain, without(last, first.payload)),
            (first, plain, without(last, (last.payload or b"") + b"\x00")),
        ],
    }
    for code, cases in lists.items():
        for requests in cases:
            batch = replace(network.private_batch(), requests=requests)
            assert code_of(network, Relay(requests=requests)) == code
            assert code_of(network, Batches(batches=(batch,))) == code
            body = BlockBody(header=b"six", batch=batch)
            assert code_of(network, Blocks(first_height=6, blocks=(body,), certificate=None)) == code
            proposal = PrePrepare(epoch=0, view=1, height=7, digest=batch.digest, batch=batch)
            stripped = all(not request.payload for request in requests)  # nothing beside it: the body is missing
            assert code_of(network, network.sealed(0, proposal)) == ("" if stripped else code)
    unasked = (without(plain, first.payload),)
    assert code_of(network, Relay(requests=unasked)) == "payload_count"


def test_payloads_beside_what_carries_none_are_refused(network) -> None:
    """An envelope of votes and a null block have no place for them."""
    frame = pb.PeerFrame.FromString(encode_peer(network.sealed(0, *network.signed_messages()["votes"])))
    frame.envelope.private_payloads.append(b"x")
    block = pb.PeerFrame.FromString(
        encode_peer(Blocks(first_height=6, blocks=(BlockBody(header=b"six", batch=None),), certificate=None))
    )
    block.blocks.blocks[0].private_payloads.append(b"x")
    for written in (frame, block):
        with pytest.raises(WireError) as refused:
            decode_peer(written.SerializeToString(deterministic=True), network.rules)
        assert refused.value.code == "payload_unasked"
    empty = pb.PeerFrame()
    empty.batches.batches.add()
    with pytest.raises(WireError, match="malformed"):
        decode_peer(empty.SerializeToString(deterministic=True), network.rules)


def test_payload_bytes_count_against_the_batch(network) -> None:
    """The limit of a batch holds for what it weighs with everything beside it."""
    batch = network.private_batch()
    for limit, code in ((batch.size_bytes, ""), (batch.size_bytes - 1, "oversized")):
        rules = replace(network.rules, batch_bytes_max=limit)
        try:
            decode_peer(encode_peer(Batches(batches=(batch,))), rules)
            assert code == ""
        except WireError as error:
            assert error.code == code


def test_no_refusal_shows_a_private_value(network) -> None:
    """Codes and details are logged and counted: they never hold what a payload held (D50)."""
    secret = b"private-value-7341"
    request = network.private_request(1, secret)
    for payload in ((request.payload or b"") + b"\x00", (request.payload or b"")[:-1], encode([[secret, secret]])):
        with pytest.raises(WireError) as refused:
            decode_peer(encode_peer(Relay(requests=(without(request, payload),))), network.rules)
        assert secret.decode() not in str(refused.value) and secret.hex() not in str(refused.value)
