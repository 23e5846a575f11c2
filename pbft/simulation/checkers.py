"""What must hold in every run, apart from faults and load: each checker sees what really happened and raises Violation.

The properties and their names are in `violation`. Here are those of the ledgers and of what leaves a node; what nodes
promise is `promises`, what they hold in memory `bounds`, how a run ends `outcome`. Nothing is demanded of a replica in
`faulty`, and nothing is taken on a node's word that its disks or its bytes on the wire can show.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger.archive import HEAD_KEY, HEADERS_TABLE
from ledger.block import Block
from ledger.configuration import parse_configuration
from ledger.epochs import EpochLink
from ledger.errors import DamagedRecord, InvalidCertificate
from ledger.genesis import Genesis
from ledger.hashing import Tag, tagged_hash
from ledger.keys import VerifySignature, verify_signature
from ledger.quorum_certificate import QuorumCertificate, verify_certificate
from ledger.receipt_index import META_TABLE, RECEIPTS_TABLE, height_key, place_key
from ledger.store import Store
from ledger.transaction import parse_receipt, parse_transaction
from pbft.core.actions import Evidence
from pbft.core.client_session import ReplyContent, parse_reply
from pbft.core.evidence import OFFICE_KINDS
from pbft.core.messages import Batches, Blocks, Envelope, Forward, PeerMessage, PrePrepare, Relay, Said
from pbft.node.assembly import Decode, Node
from pbft.node.client_door import ClientDoor
from pbft.node.evidence_judge import verify_evidence
from pbft.simulation import bounds
from pbft.simulation.founding import machine_of
from pbft.simulation.promises import Promises, is_promised
from pbft.simulation.violation import Violation
from pbft.wire.client_frames import ReplicaFrame, Replies
from pbft.wire.codec import decode_peer
from pbft.wire.evidence import InvalidEvidence, encode_evidence

__all__ = ["Checkers", "Violation", "check_private"]

CLOCK_ERROR_MAX_MS = 600_000
"""No clock of a run is as far ahead: steps of a minute, drifts of a fifth."""
PRIVATE_MARKER = b"the private value of a simulated client"
"""A part of every private payload of a run: no place but a body in flight may show it (D50)."""


def check_private(place: str, data: bytes) -> None:
    """Bytes that lie on a disk or leave for a client: nothing private is in them in plain (D16, D50)."""
    if PRIVATE_MARKER in data:
        raise Violation("privacy", f"a private value in {place}")


@dataclass(kw_only=True)
class Checkers:
    """The properties of one run."""

    genesis: Genesis
    decode: Decode = decode_peer
    verify: VerifySignature = verify_signature
    headers: dict[int, bytes] = field(default_factory=dict)  # height -> header hash, whoever was first
    used: dict[tuple[bytes, int], tuple[int, bytes]] = field(default_factory=dict)  # nonce -> height, receipt
    blocks: dict[int, Block] = field(default_factory=dict)  # height -> a block that was checked
    told: dict[int, dict[int, bytes]] = field(default_factory=dict)  # height -> index -> receipt, before any block
    promises: Promises = field(default_factory=Promises)
    reached: dict[int, tuple[tuple[int, int], int, int]] = field(default_factory=dict)  # (epoch, view), h, e by replica
    certified: set[QuorumCertificate] = field(default_factory=set)  # certificates that hold
    faulty: set[int] = field(default_factory=set)  # replicas of which nothing is demanded
    submitted: set[bytes] | None = None  # every transaction that clients signed; None where nobody keeps count
    convicted: set[tuple[int, int, int]] = field(default_factory=set)  # replica, and (epoch, view) that it must leave
    liars: set[int] = field(default_factory=set)  # replicas in whose name something false may be signed

    def check_evidence(self, evidence: Evidence, links: Sequence[EpochLink]) -> None:
        """A node keeps a piece of evidence: off line it convicts a member of its epoch, whose machine may lie."""
        data = encode_evidence(evidence, self.genesis.network_id, links)
        check_private(f"evidence of {evidence.kind}", data)
        founding, epoch = self.genesis.configuration, evidence.epoch
        try:
            verify_evidence(data, founding, self.headers[0], self.verify)
        except InvalidEvidence as error:
            detail = f"{evidence.kind} of r{evidence.replica} of epoch {epoch} does not hold: {error}"
            raise Violation("evidence", detail) from error
        present = parse_configuration(links[-1].document, self.genesis.network_id) if links else founding
        accused = machine_of(present.members[evidence.replica])
        if accused not in self.liars | self.faulty:
            raise Violation("evidence", f"machine {accused} is accused of {evidence.kind} in epoch {epoch}")

    def process_kept(self, replica: int, evidence: Evidence) -> None:
        """A replica holds a piece from now on. What convicts a primary in its office deposes it there (M17, M43)."""
        if evidence.kind in OFFICE_KINDS:
            self.convicted.add((replica, evidence.epoch, evidence.view))

    def process_start(self, node: Node, replica: int) -> None:
        """A node starts: what it kept is part of the one history."""
        if replica in self.faulty:
            return
        for height in range(node.chain.height + 1):
            self._agree(replica, height, node.chain.header_hash(height))

    def process_block(self, replica: int, block: Block, now_ms: int) -> None:
        """A node executed a block, at the true time `now_ms`."""
        if replica in self.faulty:
            return
        height = block.header.height
        self._agree(replica, height, block.header.hash)
        if self.blocks.get(height) == block:
            return  # checked when another replica executed it
        if self.submitted is not None and not self.submitted.issuperset(block.transactions):
            raise Violation("validity", f"height {height} holds a transaction that no client signed")
        ahead_ms = (block.batch_time_ms or 0) - now_ms
        if ahead_ms > CLOCK_ERROR_MAX_MS:
            raise Violation("validity", f"height {height} is of a time that no clock shows: {ahead_ms} ms ahead")
        known = {parse_transaction(raw).tx_id for raw in block.transactions}
        for data in block.receipts:
            receipt = parse_receipt(data)
            if receipt.tx_id in known and receipt.status != "refused":
                first = self.used.setdefault((receipt.sender, receipt.nonce), (height, data))
                if first != (height, data):
                    raise Violation("exactly once", f"nonce {receipt.nonce} used at {first[0]} and at {height}")
        for index, told in self.told.pop(height, {}).items():
            self._check_told(block, index, told)
        self.blocks[height] = block

    def _check_told(self, block: Block, index: int, receipt: bytes) -> None:
        if index >= len(block.receipts) or block.receipts[index] != receipt:
            raise Violation("durable reply", f"another receipt than that of height {block.header.height} was told")

    def _agree(self, replica: int, height: int, header_hash: bytes) -> None:
        first = self.headers.setdefault(height, header_hash)
        if first != header_hash:
            raise Violation("agreement", f"height {height}: r{replica} has {header_hash.hex()}, not {first.hex()}")

    def check_sent(self, replica: int, node: Node, journal: Store, frame: bytes) -> None:
        """A frame leaves the node of a machine, whose durable journal must cover what it promises in its own name."""
        if replica in self.faulty:
            return
        message = self.decode(frame, node.epochs.rules)
        envelopes = message.envelopes if isinstance(message, Forward) else (message,)
        if PRIVATE_MARKER in frame and not _carries_bodies(message):
            raise Violation("privacy", f"r{replica} sent a private value in a {type(message).__name__}")
        for envelope in envelopes:
            if isinstance(envelope, Envelope):
                check_private(f"what r{envelope.sender} signed", envelope.raw)
            if isinstance(envelope, Envelope) and envelope.sender == node.epochs.replica_id(envelope.messages[0].epoch):
                self.promises.check(replica, journal, envelope)

    def check_reply(self, replica: int, ledger: Store, journal: Store, frame: ReplicaFrame) -> None:
        """An answer leaves a door: a receipt is told when its block is on a disk, in the ledger or as what the journal
        makes it from, and as it is there or will be (D3, D34)."""
        if replica in self.faulty or not isinstance(frame, Replies):
            return
        for _, reply in frame.replies:
            self._check_reply(replica, ledger, journal, parse_reply(reply))

    def _check_reply(self, replica: int, ledger: Store, journal: Store, told: ReplyContent) -> None:
        try:
            head = ledger.get(META_TABLE, HEAD_KEY) or b""
            is_next = head == height_key(told.height - 1)
            if is_next and is_promised(journal, told.height, told.tx_id):
                self._check_told_early(replica, told)
                return
            header = ledger.get(HEADERS_TABLE, height_key(told.height)) or b""
            receipt = ledger.get(RECEIPTS_TABLE, place_key(told.height, told.index))
        except DamagedRecord:
            return  # this disk rots: what it held can no longer be said
        if head < height_key(told.height):
            raise Violation("durable reply", f"r{replica} told a receipt of height {told.height} too early")
        if receipt != told.receipt or tagged_hash(Tag.HEADER, header) != told.header_hash:
            raise Violation("durable reply", f"r{replica} told another receipt than that of height {told.height}")

    def _check_told_early(self, replica: int, told: ReplyContent) -> None:
        """Before the own ledger has the block: it must come out like that everywhere, also after a crash."""
        self._agree(replica, told.height, told.header_hash)
        block = self.blocks.get(told.height)
        if block is not None:
            self._check_told(block, told.index, told.receipt)
            return
        first = self.told.setdefault(told.height, {}).setdefault(told.index, told.receipt)
        if first != told.receipt:
            raise Violation("durable reply", f"two receipts were told of place {told.index} at height {told.height}")

    def check_turn(self, replica: int, node: Node, door: ClientDoor) -> None:
        """A turn of a node is over: its memory, its watermarks, and the certificate that it goes by."""
        state = node.replica.state
        if replica in self.faulty or node.driver.halted is not None:
            return  # one that stopped in the middle of a turn has said nothing of it
        bounds.check_state(state)
        bounds.check_door(replica, door)
        now = (state.configuration.epoch, state.view), state.certified_height, state.executed_height
        before = self.reached.get(replica, now)
        if any(new < old for new, old in zip(now, before, strict=True)):  # type: ignore[operator]  # pairwise alike
            raise Violation("monotonic", f"r{replica} goes from (view, h, e) {before} back to {now}")
        self.reached[replica] = now
        if state.active and state.is_voter and (replica, *now[0]) in self.convicted:
            raise Violation("deposal", f"r{replica} stays in (epoch, view) {now[0]} under a primary that it convicts")
        if state.certificate is not None:
            self._check_certificate(node, state.certificate)

    def _check_certificate(self, node: Node, certificate: QuorumCertificate) -> None:
        if certificate in self.certified:
            return
        try:
            verify_certificate(certificate, node.chain.configuration(certificate.height), self.verify)
        except InvalidCertificate as error:
            raise Violation("certificates", f"a node goes by a certificate that does not hold: {error}") from error
        if certificate.header_hash != self.headers.get(certificate.height):
            raise Violation("certificates", f"height {certificate.height} certified against its header")
        self.certified.add(certificate)

    def check_certificates(self, nodes: list[Node]) -> None:
        """At the end of a run: every certificate that a node keeps for auditors holds for what was executed."""
        for node in nodes:
            for height in range(1, node.chain.height + 1):
                certificate = node.chain.certificate(height)
                if certificate is not None:
                    self._check_certificate(node, certificate)


def _carries_bodies(message: PeerMessage) -> bool:
    """The messages beside whose bodies private payloads travel."""
    if isinstance(message, Forward | Said):
        return any(_carries_bodies(envelope) for envelope in message.envelopes)
    if isinstance(message, Envelope):
        return isinstance(message.messages[0], PrePrepare)
    return isinstance(message, Relay | Batches | Blocks)
