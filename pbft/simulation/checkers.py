"""What must hold in every run, apart from faults and load: each checker sees what really happened and raises Violation.

agreement        one header hash at each height, at all replicas, over restarts
exactly once     every (client, nonce) has at most one receipt that used it
validity         blocks hold only what clients signed
certificates     what a node stores verifies against the genesis alone
journal first    nothing promised leaves a node before its durable journal says it
one voice        no node signs two different things for one (type, view, height)
evidence         what is kept as evidence convicts off line, and never a replica that said nothing false
privacy          no private value is in plain on any disk, in any answer, or in a frame that carries no body
bounds           slots lie between the watermarks, executed is not below certified, what peers can fill is limited

Nothing is demanded of a replica in `faulty`. How a run ends is `pbft.simulation.outcome`.
"""

from dataclasses import dataclass, field

from ledger.block import Block
from ledger.genesis import Genesis
from ledger.keys import VerifySignature, verify_signature
from ledger.quorum_certificate import verify_certificate
from ledger.store import Store
from ledger.transaction import parse_receipt, parse_transaction
from pbft.core.actions import Evidence
from pbft.core.config import (
    EARLY_BYTES_MAX,
    EARLY_ENVELOPES_MAX,
    FETCHED_BLOCKS_MAX,
    PENDING_BYTES_MAX,
    PENDING_REQUESTS_MAX,
)
from pbft.core.messages import (
    Batches,
    Blocks,
    Commit,
    Envelope,
    Forward,
    HeaderVote,
    NewView,
    PeerMessage,
    Prepare,
    PrePrepare,
    Relay,
    SignedMessage,
    ViewChange,
)
from pbft.core.persisted import (
    NEW_VIEW_KEY,
    OWN_VIEW_CHANGE_KEY,
    Restored,
    body_key,
    parse_records,
    pre_prepared_key,
    prepared_key,
    voted_key,
)
from pbft.node.assembly import Decode, Node, compute_core_configuration
from pbft.node.journal import JOURNAL_TABLE, Journal
from pbft.wire.codec import VerifiedSignatures, Verifier, WireRules, decode_envelope, decode_peer
from pbft.wire.evidence import InvalidEvidence, encode_evidence, verify_evidence

PRIVATE_MARKER = b"the private value of a simulated client"
"""A part of every private payload of a run: no place but a body in flight may show it (D50)."""


class Violation(AssertionError):
    """A property does not hold. `checker` names which."""

    def __init__(self, checker: str, detail: str) -> None:
        super().__init__(f"{checker}: {detail}")
        self.checker = checker


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
    said: dict[tuple[int, str, int, int], object] = field(default_factory=dict)
    faulty: set[int] = field(default_factory=set)  # replicas of which nothing is demanded
    submitted: set[bytes] | None = None  # every transaction that clients signed; None where nobody keeps count
    liars: set[int] = field(default_factory=set)  # replicas in whose name something false may be signed
    rules: WireRules = field(init=False)

    def __post_init__(self) -> None:
        self.rules = WireRules.of(self.genesis.configuration)

    def check_evidence(self, evidence: Evidence) -> None:
        """A node keeps a piece of evidence."""
        if evidence.replica not in self.liars | self.faulty:
            raise Violation("evidence", f"r{evidence.replica} is accused of {evidence.kind}")
        data = encode_evidence(evidence, self.genesis.network_id)
        check_private(f"evidence of {evidence.kind}", data)
        try:
            verify_evidence(
                data,
                verifier=Verifier(self.genesis.configuration, verified=VerifiedSignatures(verify=self.verify)),
                rules=self.rules,
                configuration=compute_core_configuration(self.genesis, self.headers[0]),
            )
        except InvalidEvidence as error:
            raise Violation("evidence", f"{evidence.kind} of r{evidence.replica} does not hold: {error}") from error

    def process_start(self, node: Node, replica: int) -> None:
        """A node starts: what it kept is part of the one history."""
        if replica in self.faulty:
            return
        for height in range(node.chain.height + 1):
            self._agree(replica, height, node.chain.header(height).hash)

    def process_block(self, replica: int, block: Block) -> None:
        """A node executed a block."""
        if replica in self.faulty:
            return
        height = block.header.height
        self._agree(replica, height, block.header.hash)
        if self.submitted is not None and not self.submitted.issuperset(block.transactions):
            raise Violation("validity", f"height {height} holds a transaction that no client signed")
        known = {parse_transaction(raw).tx_id for raw in block.transactions}
        for data in block.receipts:
            receipt = parse_receipt(data)
            if receipt.tx_id in known and receipt.status != "refused":
                first = self.used.setdefault((receipt.sender, receipt.nonce), (height, data))
                if first != (height, data):
                    raise Violation("exactly once", f"nonce {receipt.nonce} used at {first[0]} and at {height}")

    def _agree(self, replica: int, height: int, header_hash: bytes) -> None:
        first = self.headers.setdefault(height, header_hash)
        if first != header_hash:
            raise Violation("agreement", f"height {height}: r{replica} has {header_hash.hex()}, not {first.hex()}")

    def check_sent(self, replica: int, journal: Store, frame: bytes) -> None:
        """A frame leaves a node, whose durable journal must cover what it promises."""
        if replica in self.faulty:
            return
        message = self.decode(frame, self.rules)
        envelopes = message.envelopes if isinstance(message, Forward) else (message,)
        if PRIVATE_MARKER in frame and not _carries_bodies(message):
            raise Violation("privacy", f"r{replica} sent a private value in a {type(message).__name__}")
        for envelope in envelopes:
            if isinstance(envelope, Envelope):
                check_private(f"what r{envelope.sender} signed", envelope.raw)
            if isinstance(envelope, Envelope) and envelope.sender == replica:
                for inner in envelope.messages:
                    self._check_one_voice(replica, inner)
                    self._check_journaled(replica, journal, envelope, inner)

    def _check_one_voice(self, replica: int, message: SignedMessage) -> None:
        said: object
        match message:
            case PrePrepare() | Prepare() | Commit():
                key, said = (type(message).__name__, message.view, message.height), message.digest
            case HeaderVote():
                key, said = ("HeaderVote", 0, message.height), message.header_hash
            case ViewChange() | NewView():
                key, said = (type(message).__name__, message.view, 0), message
        first = self.said.setdefault((replica, *key), said)
        if first != said:
            raise Violation("one voice", f"r{replica} said two things as {key}")

    def _check_journaled(self, replica: int, journal: Store, envelope: Envelope, message: SignedMessage) -> None:
        def has(key: bytes) -> bool:
            return journal.get(JOURNAL_TABLE, key) is not None

        match message:
            case PrePrepare():
                kept = has(pre_prepared_key(message.height, message.digest)) and has(body_key(message.digest))
            case Prepare():
                kept = has(pre_prepared_key(message.height, message.digest))
            case Commit():
                kept = has(prepared_key(message.height))
            case HeaderVote():
                kept = has(voted_key(message.height))
            case ViewChange():
                kept = has(OWN_VIEW_CHANGE_KEY)
            case NewView():
                kept = has(NEW_VIEW_KEY)
        height = getattr(message, "height", 0)
        if not kept and not (0 < height <= self._journaled_certified(journal)):
            kept = isinstance(message, ViewChange | NewView) and self._is_left(journal, message.view)
            if not kept:
                raise Violation("journal first", f"r{replica} sent {type(message).__name__} at {height} unjournaled")

    def _restored(self, journal: Store) -> Restored:
        return parse_records(
            Journal(journal).records(), lambda data: decode_envelope(data, self.rules), lambda _tx_id, sealed: sealed
        )

    def _journaled_certified(self, journal: Store) -> int:
        return self._restored(journal).certified_height

    def _is_left(self, journal: Store, view: int) -> bool:
        return self._restored(journal).view > view

    def check_bounds(self, node: Node) -> None:
        """Watermarks after every turn of a node."""
        state = node.replica.state
        if state.replica_id in self.faulty:
            return
        top = max(state.high_watermark, state.reproposed_top, state.executed_height + 1)
        if state.slots and (min(state.slots) <= state.certified_height or max(state.slots) > top):
            raise Violation("bounds", f"slots {sorted(state.slots)} outside ({state.certified_height}, {top}]")
        if state.executed_height < state.certified_height:
            raise Violation("bounds", f"executed {state.executed_height} below certified {state.certified_height}")
        if len(state.pending) > PENDING_REQUESTS_MAX or state.pending_bytes > PENDING_BYTES_MAX:
            raise Violation("bounds", f"{len(state.pending)} requests wait, {state.pending_bytes} bytes")
        for peer, notes in state.peers.items():
            if len(notes.early) > EARLY_ENVELOPES_MAX or notes.early_bytes > EARLY_BYTES_MAX:
                raise Violation("bounds", f"{len(notes.early)} early envelopes of r{peer}")
        held = len(state.fetched) + len(state.adopted)
        if held > FETCHED_BLOCKS_MAX:
            raise Violation("bounds", f"{held} fetched blocks")
        if state.bodies and not state.bodies.keys() <= {d for entries in state.pre_prepared.values() for d in entries}:
            raise Violation("bounds", "a body is kept that no Q entry names")

    def check_certificates(self, nodes: list[Node]) -> None:
        """At the end of a run: every node's newest certificate holds for what the node executed."""
        for node in nodes:
            certificate = node.chain.newest_certificate()
            if certificate is not None:
                verify_certificate(certificate, self.genesis.configuration, self.verify)
                if certificate.header_hash != self.headers[certificate.height]:
                    raise Violation("certificates", f"height {certificate.height} certified against its header")


def _carries_bodies(message: PeerMessage) -> bool:
    """The messages beside whose bodies private payloads travel."""
    if isinstance(message, Forward):
        return any(_carries_bodies(envelope) for envelope in message.envelopes)
    if isinstance(message, Envelope):
        return isinstance(message.messages[0], PrePrepare)
    return isinstance(message, Relay | Batches | Blocks)
