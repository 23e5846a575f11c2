"""Every signature in a message is checked, and only what verified is remembered."""

from dataclasses import replace

import pytest

from ledger.epochs import Epochs
from ledger.keys import verify_signature
from pbft.core.messages import Blocks, CertificateNotice, Commit, Forward, Prepare, Relay, SnapshotOffer
from pbft.wire.codec import VerifiedSignatures, Verifier, WireError, decode_peer, encode_peer, seal


def test_every_message_verifies(network) -> None:
    verifier = network.verifier()
    for message in network.peer_messages().values():
        verifier.verify_message(message)


def flipped(signature: bytes) -> bytes:
    return bytes((signature[0] ^ 1,)) + signature[1:]


def test_each_signature_is_checked_wherever_it_stands(network) -> None:
    """M4: one bit of any signature, nested or not, in a message right otherwise: refused with the code of its kind."""
    messages = network.signed_messages()
    request = network.request(1)
    forged_request = replace(request, raw=flipped(request.raw))
    pre_prepare = messages["pre_prepare"][0]
    forged_batch = replace(pre_prepare.batch, requests=(forged_request,))
    certificate = network.certificate(5)
    (replica, signature), *others = certificate.signatures
    forged_certificate = replace(certificate, signatures=((replica, flipped(signature)), *others))
    view_change = network.view_change()
    new_view = network.new_view()
    forged_envelope = replace(new_view.view_changes[1], signature=flipped(new_view.view_changes[1].signature))
    forged_new_view = replace(new_view, view_changes=(new_view.view_changes[0], forged_envelope))
    vote = network.header_vote(0, 6, b"h" * 32)
    block = network.peer_messages()["blocks"].blocks[0]
    forged_block = replace(block, batch=forged_batch)
    cases = (
        (replace(network.sealed(0, *messages["votes"]), signature=b"\0" * 64), "envelope_signature"),
        (replace(network.sealed(0, *messages["votes"]), sender=1), "envelope_signature"),
        (network.sealed(0, replace(vote, signature=flipped(vote.signature))), "vote_signature"),
        (network.sealed(1, vote), "vote_signature"),
        (network.sealed(0, replace(pre_prepare, batch=forged_batch)), "request_signature"),
        (network.sealed(0, replace(view_change, certificate=forged_certificate)), "certificate_signature"),
        (network.sealed(0, forged_new_view), "envelope_signature"),
        (Forward(envelopes=(network.sealed(0, forged_new_view),)), "envelope_signature"),
        (Relay(requests=(forged_request,)), "request_signature"),
        (Blocks(first_height=6, blocks=(forged_block,), certificate=None), "request_signature"),
        (Blocks(first_height=6, blocks=(), certificate=forged_certificate), "certificate_signature"),
        (CertificateNotice(certificate=forged_certificate), "certificate_signature"),
        (SnapshotOffer(header=b"header", certificate=forged_certificate), "certificate_signature"),
    )
    verifier = network.verifier()
    for _ in range(2):  # a refusal is not remembered as anything
        for message, code in cases:
            with pytest.raises(WireError) as refused:
                verifier.verify_message(message)
            assert refused.value.code == code


def test_m60_a_signature_counts_for_nothing_else(network) -> None:
    """M60, D33: network, epoch, type, view, height, digest and sender are inside the signed bytes, so no signature can
    be moved to a message that differs in one of them.
    """
    vote = Prepare(epoch=0, view=1, height=6, digest=b"d" * 32)
    others = (
        replace(vote, view=2),
        replace(vote, height=7),
        replace(vote, digest=b"e" * 32),
        Commit(epoch=0, view=1, height=6, digest=b"d" * 32),
    )
    sealed = network.sealed(0, vote)
    verifier = network.verifier()
    verifier.verify_message(sealed)
    for other in others:
        raw = network.sealed(0, other).raw
        assert raw != sealed.raw
        with pytest.raises(WireError, match="envelope_signature"):
            verifier.verify_message(replace(sealed, messages=(other,), raw=raw))
    elsewhere = {"epoch": 1, "network": b"n" * 32}
    for name, value in elsewhere.items():
        fields = {"sender": 0, "epoch": 0, "network": network.configuration.network, "key": network.keys[0]}
        fields[name] = value
        foreign = seal((replace(vote, epoch=fields["epoch"]),), **fields)
        assert foreign.signature != sealed.signature, name
        with pytest.raises(WireError, match="envelope_signature"):
            verifier.verify_message(replace(sealed, signature=foreign.signature))


def test_d9_the_bytes_that_were_signed_are_those_received(network) -> None:
    """D9: an envelope keeps the very bytes that arrived, and its signature is checked over them; nothing signed is
    written again to be checked.
    """
    sealed = network.sealed(0, Prepare(epoch=0, view=1, height=6, digest=b"d" * 32))
    frame = encode_peer(sealed)
    received = decode_peer(frame, network.rules)
    assert received.raw == sealed.raw and received.raw in frame
    rewritten = sealed.raw + b"\x00"
    with pytest.raises(WireError, match="envelope_signature"):
        network.verifier().verify_message(replace(received, raw=rewritten))


def test_a_certificate_needs_a_quorum_of_members_of_its_epoch(network) -> None:
    verifier = network.verifier()
    certificate = network.certificate(5)
    verifier.verify_certificate(certificate)
    twice = replace(certificate, signatures=(certificate.signatures[0],) * 3)
    wrong = {
        "certificate": replace(certificate, signatures=certificate.signatures[:2]),
        "epoch": replace(certificate, epoch=1),
        "certificate_signature": replace(certificate, height=6),
    }
    for code, each in wrong.items():
        with pytest.raises(WireError) as refused:
            verifier.verify_certificate(each)
        assert refused.value.code == code
    with pytest.raises(WireError):
        verifier.verify_certificate(twice)


def test_what_verified_once_is_not_computed_again_and_the_memory_is_bounded(network) -> None:
    """A known signature costs a hash; a forged copy of a known request is still refused (D44)."""
    computed: list[bytes] = []

    def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
        computed.append(message)
        verify_signature(public_key, message, signature)

    verifier = Verifier(Epochs(network.configuration), verified=VerifiedSignatures(8, verify))
    requests = [network.request(nonce) for nonce in range(4)]
    for request in requests * 3:
        verifier.verify_request(request)
    assert len(computed) == 4
    with pytest.raises(WireError):
        verifier.verify_request(replace(requests[0], raw=flipped(requests[0].raw)))
    for nonce in range(4, 40):
        verifier.verify_request(network.request(nonce))
    computed.clear()
    verifier.verify_request(network.request(39))
    assert not computed
    verifier.verify_request(requests[0])
    assert len(computed) == 1, "long ago is forgotten"
    assert len(verifier._verified._newer) + len(verifier._verified._older) <= 8
