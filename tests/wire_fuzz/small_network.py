"""A small network for the wire's tests and fuzzers: seeded keys, its rules, a verifier, one message of every kind."""

import hashlib
from dataclasses import dataclass, replace

from ledger.block import Header, compute_batch_digest
from ledger.configuration import Configuration, Member, ProtocolParameters
from ledger.encoding import encode
from ledger.epochs import EpochLink, Epochs
from ledger.hashing import NULL_DIGEST
from ledger.keys import SigningKey
from ledger.payload import PayloadPart, encode_payload
from ledger.quorum_certificate import QuorumCertificate, vote_bytes
from ledger.transaction import Transaction, sign_transaction
from pbft.core.messages import (
    Batch,
    Batches,
    BlockBody,
    Blocks,
    CertificateNotice,
    Commit,
    Envelope,
    FetchBatches,
    FetchBlocks,
    FetchSaid,
    FetchSnapshot,
    FetchSnapshotChunk,
    Forward,
    HeaderVote,
    NewView,
    PeerMessage,
    Prepare,
    PrePrepare,
    Relay,
    Request,
    Said,
    SignedMessage,
    SlotChoice,
    SlotEntry,
    SnapshotChunk,
    SnapshotOffer,
    Status,
    ViewChange,
)
from pbft.wire.codec import Verifier, WireRules, parse_request, seal


def digest_of(text: str) -> bytes:
    """Any 32 bytes, told apart by a name."""
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True)
class SmallNetwork:
    """Four members, a window of 8, and what they would sign."""

    configuration: Configuration
    keys: tuple[SigningKey, ...]
    client: SigningKey

    @property
    def rules(self) -> WireRules:
        return WireRules.of(self.configuration)

    def verifier(self) -> Verifier:
        return Verifier(Epochs(self.configuration))

    def raw_transaction(self, nonce: int, *, arguments: tuple = (), network: bytes | None = None, **fields) -> bytes:
        transaction = Transaction(
            network=network or self.configuration.network,
            sender=self.client.public_key,
            nonce=nonce,
            expiry_height=1_000,
            expiry_time=1_900_000_000,
            gas_limit=100_000,
            contract="readings",
            method="submit",
            arguments=arguments,
            **fields,
        )
        return sign_transaction(transaction, self.client).raw

    def request(self, nonce: int) -> Request:
        return parse_request(self.raw_transaction(nonce), self.rules)

    def private_request(self, nonce: int, *values: object) -> Request:
        """A request with a private payload of these values, its salts fixed by nonce and place."""
        salts = (digest_of(f"salt {nonce} {index}") for index in range(len(values)))
        parts = [PayloadPart(salt=salt, value=encode(value)) for salt, value in zip(salts, values, strict=True)]
        raw = self.raw_transaction(nonce, commitments=tuple(part.commitment for part in parts))
        return parse_request(raw, self.rules, encode_payload(parts))

    def batch(self, *nonces: int, time_ms: int = 1_700_000_000_000) -> Batch:
        return self.batch_of(*(self.request(nonce) for nonce in nonces), time_ms=time_ms)

    def private_batch(self) -> Batch:
        """Three requests, two of them with a private payload."""
        return self.batch_of(
            self.private_request(1, {"wh": 7}, [1, 2]), self.request(2), self.private_request(3, "secret")
        )

    def batch_of(self, *requests: Request, time_ms: int = 1_700_000_000_000) -> Batch:
        digest, _ = compute_batch_digest(time_ms, [request.raw for request in requests])
        return Batch(time_ms=time_ms, requests=requests, digest=digest)

    def header_vote(self, replica: int, height: int, header_hash: bytes) -> HeaderVote:
        signed = vote_bytes(self.configuration.network, 0, height, header_hash)
        return HeaderVote(epoch=0, height=height, header_hash=header_hash, signature=self.keys[replica].sign(signed))

    def certificate(self, height: int, signers: tuple[int, ...] = (0, 1, 3)) -> QuorumCertificate:
        header_hash = digest_of(f"header {height}")
        votes = ((replica, self.header_vote(replica, height, header_hash).signature) for replica in signers)
        return QuorumCertificate(epoch=0, height=height, header_hash=header_hash, signatures=tuple(votes))

    def view_change(self, view: int = 3, height: int = 5) -> ViewChange:
        return ViewChange(
            epoch=0,
            view=view,
            certified_height=height,
            header_hash=digest_of(f"header {height}"),
            certificate=self.certificate(height) if height else None,
            prepared=(SlotEntry(height=height + 1, digest=digest_of("a"), view=1),),
            pre_prepared=(
                SlotEntry(height=height + 1, digest=digest_of("a"), view=2),
                SlotEntry(height=height + 1, digest=NULL_DIGEST, view=0),
                SlotEntry(height=height + 8, digest=digest_of("b"), view=2),
            ),
        )

    def sealed(self, replica: int, *messages: SignedMessage, epoch: int = 0) -> Envelope:
        network = self.configuration.network
        return seal(messages, sender=replica, epoch=epoch, network=network, key=self.keys[replica])

    def epoch_link(self) -> EpochLink:
        """The end of epoch 0 at height 9: the same members go on with another stride."""
        parameters = replace(self.configuration.parameters, stride=1)
        following = replace(self.configuration, epoch=1, parameters=parameters)
        header = Header(
            network=self.configuration.network,
            epoch=0,
            height=9,
            parent_hash=digest_of("header 8"),
            batch_digest=digest_of("a"),
            time_ms=1_700_000_000_000,
            transactions_root=digest_of("transactions"),
            receipts_root=digest_of("receipts"),
            state_root=digest_of("state"),
            gas_used=0,
            next_config_hash=following.hash,
        )
        votes = ((replica, self.header_vote(replica, 9, header.hash).signature) for replica in (0, 1, 3))
        certificate = QuorumCertificate(epoch=0, height=9, header_hash=header.hash, signatures=tuple(votes))
        return EpochLink(header=header, certificate=certificate, document=following.to_bytes())

    def new_view(self, view: int = 3) -> NewView:
        envelopes = tuple(self.sealed(replica, self.view_change(view)) for replica in (0, 1, 3))
        choices = (SlotChoice(height=6, digest=digest_of("a")), SlotChoice(height=7, digest=NULL_DIGEST))
        return NewView(epoch=0, view=view, view_changes=envelopes, choices=choices)

    def signed_messages(self) -> dict[str, tuple[SignedMessage, ...]]:
        """What an envelope may hold, by name."""
        batch = self.batch(1, 2)
        slot = {"epoch": 0, "view": 1, "height": 6, "digest": batch.digest}
        empty, private = self.batch(), self.private_batch()
        return {
            "pre_prepare": (PrePrepare(batch=batch, **slot),),
            "empty_pre_prepare": (PrePrepare(epoch=0, view=0, height=1, digest=empty.digest, batch=empty),),
            "private_pre_prepare": (PrePrepare(epoch=0, view=1, height=7, digest=private.digest, batch=private),),
            "votes": (Prepare(**slot), Commit(**slot), self.header_vote(0, 6, digest_of("h"))),
            "view_change": (self.view_change(),),
            "view_change_from_genesis": (self._first_view_change(),),
            "new_view": (self.new_view(),),
        }

    def _first_view_change(self) -> ViewChange:
        return ViewChange(
            epoch=0,
            view=1,
            certified_height=0,
            header_hash=digest_of("genesis"),
            certificate=None,
            prepared=(),
            pre_prepared=(),
        )

    def peer_messages(self) -> dict[str, PeerMessage]:
        """One message of every kind that crosses a link, by name."""
        messages: dict[str, PeerMessage] = {
            f"envelope_{name}": self.sealed(0, *signed) for name, signed in self.signed_messages().items()
        }
        messages["status"] = Status(
            epoch=0,
            view=2,
            active=True,
            certified_height=5,
            executed_height=6,
            pre_prepared=(6, 7, 13),
            prepared=(6, 7),
            committed=(6,),
            view_changes=(0, 3),
            overdue_ms=1_700_000_000_000,
        )
        messages["empty_status"] = Status(
            epoch=0,
            view=0,
            active=False,
            certified_height=0,
            executed_height=0,
            pre_prepared=(),
            prepared=(),
            committed=(),
            view_changes=(),
        )
        messages["fetch_batches"] = FetchBatches(digests=(digest_of("a"), digest_of("b")))
        messages["batches"] = Batches(batches=(self.batch(1), self.batch(2, 3)))
        messages["private_batches"] = Batches(batches=(self.batch(1), self.private_batch()))
        messages["fetch_blocks"] = FetchBlocks(first_height=7)
        bodies = (BlockBody(header=b"header six", batch=self.batch(4)), BlockBody(header=b"header seven", batch=None))
        messages["blocks"] = Blocks(first_height=6, blocks=bodies, certificate=self.certificate(7))
        messages["blocks_uncertified"] = Blocks(first_height=6, blocks=bodies[:1], certificate=None)
        private = BlockBody(header=b"header six", batch=self.private_batch())
        messages["private_blocks"] = Blocks(first_height=6, blocks=(private,), certificate=self.certificate(6))
        messages["certificate_notice"] = CertificateNotice(certificate=self.certificate(5))
        messages["fetch_snapshot"] = FetchSnapshot(above_height=4)
        messages["fetch_snapshot_from_genesis"] = FetchSnapshot(above_height=0)
        messages["snapshot_offer"] = SnapshotOffer(header=b"header seven", certificate=self.certificate(7))
        messages["fetch_snapshot_chunk"] = FetchSnapshotChunk(height=7, position=b"position")
        messages["snapshot_chunk"] = SnapshotChunk(height=7, position=b"position", chunk=b"chunk")
        messages["relay"] = Relay(requests=(self.request(1), self.request(2)))
        messages["private_relay"] = Relay(requests=self.private_batch().requests)
        messages["forward"] = Forward(
            envelopes=(self.sealed(2, *self.signed_messages()["votes"][:2]), self.sealed(1, self.new_view()))
        )
        messages["fetch_said"] = FetchSaid()
        messages["said"] = Said(envelopes=(self.sealed(2, *self.signed_messages()["votes"][:2]),), certificate=None)
        messages["said_certified"] = Said(envelopes=(), certificate=self.certificate(5))
        return messages


def make_network() -> SmallNetwork:
    """The network of all vectors: everything in it follows from names."""
    keys = tuple(SigningKey.from_seed(digest_of(f"replica {replica}")) for replica in range(4))
    members = tuple(
        Member(id=replica, name=f"coop-{replica}", consensus_key=key.public_key, transport_key=key.public_key,
               operator_key=key.public_key)
        for replica, key in enumerate(keys)
    )  # fmt: skip
    configuration = Configuration(
        network=digest_of("network"), epoch=0, members=members, parameters=ProtocolParameters(window=8, stride=2)
    )
    return SmallNetwork(configuration=configuration, keys=keys, client=SigningKey.from_seed(digest_of("client")))
