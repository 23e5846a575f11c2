"""Every decoder that reads bytes from outside, by name: good inputs, edits that fit its form, and what may leave it.

A *target* is total over its inputs: it returns, or raises one of its `kin`, whose `code` is stable. How much time and
memory it may take is in `cost.py`. A new message kind gets its targets from `small_network`; a new decoder
gets a row here, and `make_corpus.py` finds its inputs.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vectors.ledger import sample_chain as sample
from wire_fuzz.mutations import RAW_EDITS, Edit, edit_canonical, edit_json, edit_protobuf

from contracts.helper_process import Questions
from contracts.runtime import Runtime
from contracts.testing import MemoryState
from contracts.verdict import SourceVerdict
from contracts.worker import Answers
from ledger.block import Header, parse_header
from ledger.configuration import parse_configuration
from ledger.encoding import decode, encode
from ledger.errors import (
    EncodingError,
    InvalidBlock,
    InvalidCertificate,
    InvalidConfiguration,
    InvalidGenesis,
    InvalidProof,
    InvalidSnapshot,
    InvalidTransaction,
    LedgerError,
    PayloadError,
)
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome, ScheduledOutcome, parse_block_plan
from ledger.genesis import parse_genesis
from ledger.hashing import Tag, signing_bytes
from ledger.payload import encode_payload, read_values, verify_payload
from ledger.payload_vault import MemoryPayloadKeys, PayloadVault
from ledger.proofs import verify_proof
from ledger.quorum_certificate import QuorumCertificate, parse_certificate
from ledger.shapes import expect_array
from ledger.snapshot_install import SnapshotInstaller
from ledger.transaction import Event, Receipt, parse_receipt, parse_transaction
from pbft.core import persisted
from pbft.core.actions import Evidence, Halt
from pbft.core.client_session import InvalidReply, ReplyContent, parse_reply
from pbft.core.messages import Envelope, Prepare, SlotEntry
from pbft.core.persisted import HALT_KINDS, DamagedJournal, parse_records
from pbft.node import helper_messages, verifier, verifier_messages, worker_messages
from pbft.node.evidence_judge import verify_evidence
from pbft.wire import client_frames
from pbft.wire.codec import WireError, decode_envelope, decode_peer, encode_envelope, encode_peer
from pbft.wire.evidence import InvalidEvidence, encode_evidence
from pbft.wire.hello import Hello, decode_hello, encode_hello

VECTORS: Final = Path(__file__).resolve().parents[1] / "vectors" / "ledger"
HASH: Final = bytes(range(32))
PROTOBUF: Final = (*RAW_EDITS, edit_protobuf, edit_protobuf, edit_protobuf)
CANONICAL: Final = (*RAW_EDITS, edit_canonical, edit_canonical, edit_canonical)
JSON: Final = (*RAW_EDITS, edit_json, edit_json)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A decoder with inputs that it takes."""

    decode: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    edits: tuple[Edit, ...]
    kin: tuple[type[Exception], ...] = (WireError,)

    def outcome(self, data: bytes) -> str:
        """`ok`, or the code of the refusal. Any other exception is a fault of the decoder, and passes."""
        try:
            self.decode(data)
        except self.kin as error:
            return str(getattr(error, "code", type(error).__name__))
        return "ok"


def make_targets(network: Any) -> Mapping[str, Target]:
    """All targets, from the small network."""
    return {
        **_peer_targets(network),
        **_client_targets(),
        **_ledger_targets(network),
        **_journal_targets(network),
        **_worker_targets(network),
        **_verifier_targets(network),
        **_snapshot_targets(),
    }


def _peer_targets(network: Any) -> dict[str, Target]:
    """One for each kind of message between replicas, and the Hello before them."""
    rules = network.rules
    targets = {
        f"peer_{name}": Target(
            decode=lambda data: decode_peer(data, rules), seeds=(encode_peer(message),), edits=PROTOBUF
        )
        for name, message in network.peer_messages().items()
    }
    hellos = (Hello(network=HASH, replica=2, release="1.0"), Hello(network=HASH, replica=None))
    targets["hello"] = Target(decode=decode_hello, seeds=tuple(map(encode_hello, hellos)), edits=PROTOBUF)
    targets["evidence_file"] = Target(
        decode=lambda data: verify_evidence(data, network.configuration, HASH),
        seeds=(_claim(network, 0), _claim(network, 1)),
        edits=JSON,
        kin=(InvalidEvidence,),
    )
    return targets


def _claim(network: Any, epoch: int) -> bytes:
    """An evidence file against replica 1 of an epoch."""
    votes = [Prepare(epoch=epoch, view=1, height=16, digest=digest) for digest in (HASH, HASH[::-1])]
    first, second = (network.sealed(1, vote, epoch=epoch) for vote in votes)
    evidence = Evidence(replica=1, kind="equivocation_prepare", view=1, height=16, first=first, second=second)
    return encode_evidence(evidence, network.configuration.network, [network.epoch_link()] * epoch)


def _client_targets() -> dict[str, Target]:
    """One for each kind of frame on the client port, both ways, and for what is inside them."""
    questions: dict[str, client_frames.ClientFrame] = {
        "submit": client_frames.Submit(correlation=1, transaction=b"t" * 80, private_payload=b"p" * 40),
        "await": client_frames.Await(((1, HASH), (2, bytes(32)))),
        "view": client_frames.View(correlation=2, contract="cash", method="balance", arguments=b"\x90", min_height=3),
        "proof_of_receipt": client_frames.Proof(correlation=3, tx_id=HASH, key=None),
        "proof_of_state": client_frames.Proof(correlation=3, tx_id=None, key=b"c/cash/1"),
        "head_request": client_frames.HeadRequest(correlation=4),
    }
    answers: dict[str, client_frames.ReplicaFrame] = {
        "replies": client_frames.Replies(replies=((1, b"r" * 60), (9, b"s" * 30)), view_hint=2, primary_hint=3),
        "refused": client_frames.Refused(correlation=1, tx_id=HASH, code="busy", detail="é", retry_after_ms=500),
        "view_answer": client_frames.ViewAnswer(
            correlation=2, height=5, time_ms=6, status="ok", code="", result=b"\xc0"
        ),
        "proof_answer": client_frames.ProofAnswer(correlation=3, code="", proof=b"{}"),
        "head": client_frames.Head(
            correlation=4, height=9, time_ms=8, header_hash=HASH, certified_height=7, view=1, primary=2
        ),
    }
    reply = ReplyContent(client=HASH, nonce=1, tx_id=HASH, height=2, index=0, receipt=b"r", header_hash=HASH).to_bytes()
    return {
        **{
            f"client_{name}": Target(
                decode=client_frames.decode_client_frame,
                seeds=(client_frames.encode_client_frame(frame),),
                edits=PROTOBUF,
            )
            for name, frame in questions.items()
        },
        **{
            f"replica_{name}": Target(
                decode=client_frames.decode_replica_frame,
                seeds=(client_frames.encode_replica_frame(frame),),
                edits=PROTOBUF,
            )
            for name, frame in answers.items()
        },
        "reply_content": Target(decode=parse_reply, seeds=(reply,), edits=CANONICAL, kin=(InvalidReply,)),
    }


def _ledger_targets(network: Any) -> dict[str, Target]:
    """Formats that arrive inside messages, and files that people bring."""
    private = network.private_request(1, {"wh": 7}, [1, 2])
    signed = parse_transaction(private.raw)
    genesis = (VECTORS / "genesis.json").read_bytes()
    proofs = tuple((VECTORS / f"{name}.proof.json").read_bytes() for name in ("receipt", "refusal", "state", "absence"))
    vault = PayloadVault(MemoryPayloadKeys(b"fuzz"))
    sealed = vault.seal(86_400_000, HASH, private.payload)
    plain = network.raw_transaction(1, arguments=(1, [b"x"], {"a": -1}))
    event = Event.of("notes", "Noted", {"n": 1})
    receipt = Receipt(
        tx_id=HASH, sender=HASH, nonce=1, status="ok", code="", gas_used=5, result=b"\xc0", events=(event,)
    ).to_bytes()
    rows = {
        "transaction": (
            InvalidTransaction,
            parse_transaction,
            (plain, private.raw),
        ),
        "payload": (InvalidTransaction, lambda data: verify_payload(signed, data), (private.payload,)),
        "payload_values": (InvalidTransaction, read_values, (private.payload, encode_payload(()))),
        "sealed_payload": (
            PayloadError,
            lambda data: vault.open(HASH, data),
            (sealed,),
        ),
        "receipt": (EncodingError, parse_receipt, (receipt,)),
        "certificate": (InvalidCertificate, parse_certificate, (network.certificate(5).to_bytes(),)),
        "header": (InvalidBlock, parse_header, (encode([1, HASH, 0, 1, HASH, HASH, 5, HASH, HASH, HASH, 0, HASH]),)),
        "configuration": (
            InvalidConfiguration,
            lambda data: parse_configuration(data, network.configuration.network),
            (network.configuration.to_bytes(),),
        ),
    }
    targets = {
        name: Target(decode=decode, seeds=seeds, edits=CANONICAL, kin=(kin,))
        for name, (kin, decode, seeds) in rows.items()
    }
    targets["genesis_file"] = Target(decode=parse_genesis, seeds=(genesis,), edits=JSON, kin=(InvalidGenesis,))
    targets["proof_file"] = Target(
        decode=lambda data: verify_proof(data, genesis), seeds=proofs, edits=JSON, kin=(InvalidProof,)
    )
    return targets


def _journal_targets(network: Any) -> dict[str, Target]:
    """One for each kind of journal record: what a disk may give back."""
    vault = PayloadVault(MemoryPayloadKeys(b"fuzz"))
    batch = network.private_batch()
    view_change, new_view = (network.sealed(0, each) for each in (network.view_change(), network.new_view()))
    halt = Halt(kind=sorted(HALT_KINDS)[0], reason="height 6", height=6, own=HASH, other=HASH)
    records = {
        "view": (persisted.VIEW_KEY, persisted.encode_view(0, 3, active=False)),
        "certified": (persisted.CERTIFIED_KEY, persisted.encode_certified(5, HASH, network.certificate(5))),
        "prepared": (persisted.prepared_key(6), persisted.encode_entry(SlotEntry(height=6, digest=HASH, view=2))),
        "pre_prepared": (persisted.pre_prepared_key(6, HASH), persisted.encode_pre_prepared(2)),
        "body": (persisted.body_key(batch.digest), persisted.encode_body(batch, vault.seal)),
        "voted": (persisted.voted_key(6), persisted.encode_voted(HASH)),
        "own_view_change": (persisted.OWN_VIEW_CHANGE_KEY, encode_envelope(view_change)),
        "new_view": (persisted.NEW_VIEW_KEY, encode_envelope(new_view)),
        "halt": (persisted.HALT_KEY, persisted.encode_halt(halt)),
        "starts": (persisted.STARTS_KEY, persisted.encode_starts(3)),
    }

    def stored_envelope(data: bytes) -> Envelope:
        try:
            return decode_envelope(data, network.rules)
        except WireError as error:
            raise ValueError(str(error)) from error

    def open_payload(tx_id: bytes, sealed: bytes) -> bytes:
        try:
            return vault.open(tx_id, sealed)
        except LedgerError as error:
            raise ValueError(str(error)) from error

    return {
        f"journal_{name}": Target(
            decode=lambda data, key=key: parse_records([(key, data)], stored_envelope, open_payload),
            seeds=(value,),
            edits=PROTOBUF if name.endswith(("_change", "new_view")) else CANONICAL,
            kin=(DamagedJournal,),
        )
        for name, (key, value) in records.items()
    }


def _worker_targets(network: Any) -> dict[str, Target]:
    """Questions to a contract worker, which answers anything, and its answers to the replica."""
    call = Call(
        tx_id=HASH, sender=HASH, contract="notes", method="put", arguments=encode([1]), gas_limit=9_000,
        private_values=(encode({"wh": 1}),),
    )  # fmt: skip
    plan = BlockPlan(
        height=1, time_ms=5_000, network=HASH, epoch=0, window=8, calls=(call,), transaction_gas_max=10_000,
        scheduled_gas_max=10_000,
    )  # fmt: skip
    done = CallOutcome(status="ok", code="", gas_used=1, result=b"\xc0", events=(Event.of("notes", "Noted", {"n": 1}),))
    outcome = BlockOutcome(
        scheduled=(ScheduledOutcome(due=5, call_id=1, outcome=done),), calls=(done,), writes=((b"c/a", b"1"),),
        next_due=None,
    ).to_bytes()  # fmt: skip
    verdict = SourceVerdict(code="LOOP", line=3, column=1, hint="no")
    answers = Answers(Runtime(), lambda _calls: nullcontext(MemoryState()), b"")

    def ask(data: bytes) -> None:
        """The worker answers any bytes, by a fault where it must."""
        kind, content = expect_array(decode(answers.answer(data)), "answer", 2)
        if kind == "fault":
            raise EncodingError(str(content).split(":")[1].strip(), "the worker's fault")

    questions = (
        worker_messages.encode_block(plan),
        worker_messages.encode_view(call, 1, 5_000, HASH),
        worker_messages.encode_genesis((), 5_000, HASH),
    )
    kin = (EncodingError,)
    return {
        "worker_question": Target(decode=ask, seeds=questions, edits=CANONICAL, kin=kin),
        "worker_plan": Target(decode=parse_block_plan, seeds=(plan.to_bytes(),), edits=CANONICAL, kin=kin),
        "worker_block_answer": Target(
            decode=lambda data: worker_messages.parse_block_answer(data, 1),
            seeds=(encode(["ok", outcome]),),
            edits=CANONICAL,
            kin=kin,
        ),
        "worker_view_answer": Target(
            decode=worker_messages.parse_view_answer,
            seeds=(encode(["ok", outcome]), encode(["fault", "no memory"])),
            edits=CANONICAL,
            kin=kin,
        ),
        "worker_greeting": Target(
            decode=helper_messages.parse_greeting,
            seeds=(encode(["ok", encode({"confinement": {"seccomp": "on"}, "pid": 1})]),),
            edits=CANONICAL,
            kin=kin,
        ),
        "worker_check_answer": Target(
            decode=worker_messages.parse_check_answer,
            seeds=(encode(["ok", verdict.to_bytes()]),),
            edits=CANONICAL,
            kin=kin,
        ),
    }


def _verifier_targets(network: Any) -> dict[str, Target]:
    """What a verifier process is asked, and what it answers for two signatures."""
    request = network.request(1)
    signed = signing_bytes(Tag.SIGN_TRANSACTION, request.raw[64:])
    true, false = (request.client, signed, request.raw[:64]), (request.client, b"else", request.raw[:64])
    answers = Questions(b"", {verifier_messages.KIND: verifier.judge})
    question = verifier_messages.encode_signatures([true, false])

    def ask(data: bytes) -> None:
        """It answers any bytes, by a fault where it must."""
        kind, content = expect_array(decode(answers.answer(data)), "answer", 2)
        if kind == "fault":
            raise EncodingError(str(content).split(":")[1].strip(), "the verifier's fault")

    kin = (EncodingError,)
    return {
        "verifier_question": Target(decode=ask, seeds=(question,), edits=CANONICAL, kin=kin),
        "verifier_answer": Target(
            decode=lambda data: verifier_messages.parse_verdicts(data, 2),
            seeds=(answers.answer(question), encode(["fault", "no memory"])),
            edits=CANONICAL,
            kin=kin,
        ),
    }


def _snapshot_targets() -> dict[str, Target]:
    """One for each kind of chunk of a snapshot, as the next one of a replica that receives it."""
    source = sample.new_chain()
    for nonce in range(3):
        sample.execute(source, sample.transaction(nonce), time_ms=sample.TIME_MS + nonce)
    certificate = sample.certify(source.head)
    source.store_certificate(certificate)
    pinned = source.pin()
    good: list[tuple[str, bytes]] = []
    installer = sample.new_chain().receive_snapshot(pinned.header, certificate)
    while installer.position is not None:
        name = type(installer.position).__name__.removesuffix("From").lower()
        position = installer.position.to_bytes()
        chunk = pinned.compute_chunk(position)
        assert chunk is not None
        installer.accept(position, chunk)
        good.append((name, chunk))
    return {
        f"snapshot_{name}": Target(
            decode=_Receiving(pinned.header, certificate, [chunk for _, chunk in good[:index]]),
            seeds=(seed,),
            edits=CANONICAL,
            kin=(InvalidSnapshot,),
        )
        for index, (name, seed) in enumerate(good)
    }


class _Receiving:
    """A replica that has taken the first chunks of a snapshot. A refused one changes nothing (D39), so the same goes on
    until an input is taken; then another begins."""

    def __init__(self, header: Header, certificate: QuorumCertificate, taken: list[bytes]) -> None:
        self._header, self._certificate, self._taken = header, certificate, taken
        self._installer: SnapshotInstaller | None = None

    def __call__(self, chunk: bytes) -> None:
        if self._installer is None:
            self._installer = sample.new_chain().receive_snapshot(self._header, self._certificate)
            for taken in self._taken:
                self._accept(self._installer, taken)
        self._accept(self._installer, chunk)
        self._installer = None

    def _accept(self, installer: SnapshotInstaller, chunk: bytes) -> None:
        assert installer.position is not None
        installer.accept(installer.position.to_bytes(), chunk)
