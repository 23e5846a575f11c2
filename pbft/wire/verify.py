"""Sealing what a replica signs, and checking every signature in what it receives.

    1. the sender's signature over an envelope's exact bytes (D9, D61), by the key of the configuration
    2. each header vote's own signature, which outlives the envelope inside certificates (D5)
    3. each certificate: Q distinct members over one header hash
    4. each client's signature over its transaction (D42)
    5. the same for everything nested: VIEW-CHANGEs in a NEW-VIEW, forwarded envelopes, requests in batches

Only what verified is remembered, under the hash of key, signature and signed bytes, so that neither a forged copy can
pass as a known one nor a forged copy can bar the true one (D44). Form is `decode`'s business, done before.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from ledger.configuration import Configuration
from ledger.epochs import Epochs
from ledger.errors import InvalidSignature
from ledger.hashing import SIGNATURE_BYTES, Tag, signing_bytes
from ledger.keys import Signer, VerifySignature, verify_signature
from ledger.quorum_certificate import QuorumCertificate, vote_bytes
from pbft.core.messages import (
    Batches,
    Blocks,
    CertificateNotice,
    Envelope,
    Forward,
    HeaderVote,
    NewView,
    PeerMessage,
    PrePrepare,
    Relay,
    Request,
    Said,
    SignedMessage,
    SnapshotOffer,
    ViewChange,
)
from pbft.wire.encode import encode_payload, is_vote
from pbft.wire.limits import WireError, WireRules

VERIFIED_MAX: Final = 65_536  # remembered signatures: about 6 MB, and a full window of full batches at least


def seal(messages: Sequence[SignedMessage], *, sender: int, epoch: int, network: bytes, key: Signer) -> Envelope:
    """One envelope: votes of a turn together, or exactly one PRE-PREPARE, VIEW-CHANGE or NEW-VIEW (ValueError)."""
    payload = encode_payload(messages, sender=sender, epoch=epoch)
    signature = key.sign(signing_bytes(Tag.SIGN_MESSAGE, network, payload))
    return Envelope(sender=sender, messages=tuple(messages), raw=payload, signature=signature)


def seal_turn(
    messages: Sequence[SignedMessage], *, sender: int, epoch: int, network: bytes, key: Signer, rules: WireRules
) -> list[Envelope]:
    """All messages of a turn in few envelopes, in the order given: neighbouring votes share one (D61)."""
    groups: list[list[SignedMessage]] = []
    for message in messages:
        shares = bool(groups) and is_vote(message) and is_vote(groups[-1][0]) and len(groups[-1]) < rules.votes_max
        if shares:
            groups[-1].append(message)
        else:
            groups.append([message])
    return [seal(group, sender=sender, epoch=epoch, network=network, key=key) for group in groups]


class UncheckedSignature(NamedTuple):
    """A signature of which it is not known whether it holds, with what decides that."""

    identity: bytes  # of all three others, as it will be remembered
    public_key: bytes
    signed: bytes
    signature: bytes


_make_unchecked: Final[Callable[[tuple[bytes, bytes, bytes, bytes]], UncheckedSignature]] = partial(
    tuple.__new__, UncheckedSignature
)
"""From all its fields in their order, in a third of the time: a proposal has hundreds."""


class VerifiedSignatures:
    """Which signatures held: only what verified is remembered, and boundedly (D44).

    A signature holds or not wherever it is checked, so nodes in one process may share one memory.
    """

    def __init__(self, verified_max: int = VERIFIED_MAX, verify: VerifySignature = verify_signature) -> None:
        self._verify = verify
        self._generation_max = verified_max // 2
        # Two generations: a hit in the older one moves up, and filling the newer one forgets the older. Bounded, and
        # what is in use stays, without a list to maintain per look-up.
        self._newer: set[bytes] = set()
        self._older: set[bytes] = set()

    def verify(self, public_key: bytes, signed: bytes, signature: bytes) -> None:
        """Raises InvalidSignature."""
        identity = hashlib.sha256(public_key + signature + signed).digest()
        if identity in self._newer:
            return
        if identity not in self._older:
            self._verify(public_key, signed, signature)
        self.remember(identity)

    def find_unchecked(self, public_key: bytes, signed: bytes, signature: bytes) -> UncheckedSignature | None:
        """What has to be checked before `verify` knows the answer; None where it knows."""
        identity = hashlib.sha256(public_key + signature + signed).digest()
        if identity in self._newer or identity in self._older:
            return None
        return _make_unchecked((identity, public_key, signed, signature))

    def remember(self, identity: bytes) -> None:
        """This signature holds: `verify` has found so, or a verifier process (`pbft.node.request_lanes`)."""
        if len(self._newer) >= self._generation_max:
            self._older, self._newer = self._newer, set()
        self._newer.add(identity)


class Verifier:
    """Checks every signature in a message, each by the configuration of the epoch that it names (M57)."""

    def __init__(
        self,
        epochs: Epochs,
        *,
        verified_max: int = VERIFIED_MAX,
        verified: VerifiedSignatures | None = None,
    ) -> None:
        """`epochs` may grow: what is decided later is known from then on. `verified` is a memory shared with others,
        None for one of its own, of `verified_max` signatures."""
        self._network = epochs.newest.network
        self._epochs = epochs
        self._verified = verified if verified is not None else VerifiedSignatures(verified_max)

    def verify_message(self, message: PeerMessage) -> None:
        """All signatures inside: envelopes, nested ones, votes, certificates, client requests. WireError(code)."""
        match message:
            case Envelope():
                self.verify_envelope(message)
            case Forward() | Said():
                for envelope in message.envelopes:
                    self.verify_envelope(envelope)
            case Relay() | Batches() | Blocks():
                for request in _requests_of(message):
                    self.verify_request(request)
        if isinstance(message, Blocks | CertificateNotice | SnapshotOffer | Said) and message.certificate is not None:
            self.verify_certificate(message.certificate)

    def verify_envelope(self, envelope: Envelope) -> None:
        """The sender's signature over the envelope, and every signature inside it. WireError(code)."""
        epoch = envelope.messages[0].epoch
        signed = signing_bytes(Tag.SIGN_MESSAGE, self._network, envelope.raw)
        self._check(self._member_key(envelope.sender, epoch), signed, envelope.signature, "envelope_signature")
        for message in envelope.messages:
            match message:
                case HeaderVote():
                    self._verify_header_vote(envelope.sender, message)
                case PrePrepare():
                    for request in message.batch.requests:
                        self.verify_request(request)
                case ViewChange() if message.certificate is not None:
                    self.verify_certificate(message.certificate)
                case NewView():
                    for view_change in message.view_changes:
                        self.verify_envelope(view_change)

    def verify_request(self, request: Request) -> None:
        """The client's signature over its transaction. WireError(`request_signature`)."""
        signature, body = request.raw[:SIGNATURE_BYTES], request.raw[SIGNATURE_BYTES:]
        self._check(request.client, signing_bytes(Tag.SIGN_TRANSACTION, body), signature, "request_signature")

    def find_unchecked(self, requests: Iterable[Request]) -> list[UncheckedSignature]:
        """The clients' signatures that `verify_request` would have to check, in their order."""
        find = self._verified.find_unchecked
        found = []
        for request in requests:
            signature, body = request.raw[:SIGNATURE_BYTES], request.raw[SIGNATURE_BYTES:]
            unchecked = find(request.client, signing_bytes(Tag.SIGN_TRANSACTION, body), signature)
            if unchecked is not None:
                found.append(unchecked)
        return found

    def remember(self, identities: Iterable[bytes]) -> None:
        """The signatures of these identities have been found to hold."""
        for identity in identities:
            self._verified.remember(identity)

    def verify_certificate(self, certificate: QuorumCertificate) -> None:
        """At least Q signatures of distinct members over one header hash. WireError(code)."""
        quorum = self._configuration(certificate.epoch).quorum
        signers = {replica for replica, _ in certificate.signatures}
        if len(signers) != len(certificate.signatures) or len(signers) < quorum:
            expected = f"{quorum} distinct signers"
            raise WireError("certificate", f"height {certificate.height}: expected {expected}, got {len(signers)}")
        signed = vote_bytes(self._network, certificate.epoch, certificate.height, certificate.header_hash)
        for replica, signature in certificate.signatures:
            self._check(self._member_key(replica, certificate.epoch), signed, signature, "certificate_signature")

    def _verify_header_vote(self, sender: int, vote: HeaderVote) -> None:
        signed = vote_bytes(self._network, vote.epoch, vote.height, vote.header_hash)
        self._check(self._member_key(sender, vote.epoch), signed, vote.signature, "vote_signature")

    def _configuration(self, epoch: int) -> Configuration:
        found = self._epochs.of(epoch)
        if found is None:
            raise WireError("epoch", f"nothing is decided here about epoch {epoch}")
        return found

    def _member_key(self, replica: int, epoch: int) -> bytes:
        configuration = self._configuration(epoch)
        if not 0 <= replica < configuration.n:
            raise WireError("replica", f"expected an id below {configuration.n}, got {replica}")
        return configuration.members[replica].consensus_key

    def _check(self, public_key: bytes, signed: bytes, signature: bytes, code: str) -> None:
        try:
            self._verified.verify(public_key, signed, signature)
        except InvalidSignature:
            raise WireError(code, f"not signed by {public_key.hex()}") from None


def requests_in(message: PeerMessage) -> Iterator[Request]:
    """Every client's request in a message: those whose signatures `verify_message` checks."""
    match message:
        case Envelope():
            yield from _proposed_in(message)
        case Forward() | Said():
            for envelope in message.envelopes:
                yield from _proposed_in(envelope)
        case Relay() | Batches() | Blocks():
            yield from _requests_of(message)


def _proposed_in(envelope: Envelope) -> Iterator[Request]:
    for message in envelope.messages:
        if isinstance(message, PrePrepare):
            yield from message.batch.requests


def _requests_of(message: Relay | Batches | Blocks) -> Iterator[Request]:
    match message:
        case Relay():
            yield from message.requests
        case Batches():
            for batch in message.batches:
                yield from batch.requests
        case Blocks():
            for body in message.blocks:
                if body.batch is not None:
                    yield from body.batch.requests
