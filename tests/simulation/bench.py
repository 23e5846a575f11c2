"""A bench for one pure replica: hand-made envelopes in, actions performed as the driver would, nothing real around."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ledger.block import compute_batch_digest
from pbft.core.actions import (
    Action,
    BeginSnapshot,
    Broadcast,
    CheckCode,
    Dropped,
    Evidence,
    Execute,
    Halt,
    InstallSnapshot,
    OfferSnapshot,
    Persist,
    PersistBody,
    PersistEnvelope,
    Publish,
    Reclaim,
    Send,
    SendBlocks,
    SendEpochEnd,
    SendSnapshotChunk,
    StageChunk,
    StoreCertificate,
)
from pbft.core.config import OBSERVER, CoreConfiguration, EpochStart
from pbft.core.messages import (
    Batch,
    ClientRequest,
    CodeChecked,
    Commit,
    Envelope,
    Executed,
    HeaderVote,
    LocalMessage,
    PeerMessage,
    Prepare,
    PrePrepare,
    Relay,
    Request,
    SignedMessage,
)
from pbft.core.persisted import LedgerHead, Restored, body_key, encode_body, parse_records
from pbft.core.replica import Replica

WALL_MS = 1_700_000_000_000
GENESIS_HASH = bytes([1]) * 32


def make_configuration(replicas: int = 4, **changes: int) -> CoreConfiguration:
    """A configuration with the shipped parameters, some of them changed."""
    values: dict[str, int] = {
        "window": 64,
        "stride": 8,
        "base_timer_ms": 1500,
        "view_timer_ms": 1500,
        "batch_requests_max": 500,
        "batch_bytes_max": 1_048_576,
        "block_gas_max": 20_000_000,
        "transaction_gas_max": 5_000_000,
    }
    return CoreConfiguration(
        network=bytes(32), base_hash=GENESIS_HASH, epoch=0, member_count=replicas, **(values | changes)
    )


def make_request(
    nonce: int = 0,
    client: int = 1,
    *,
    gas_limit: int = 10_000,
    expiry_height: int = 1_000,
    payload: bytes | None = b"",
    has_code: bool = False,
) -> Request:
    """A request as the edge hands it in; with `payload` None one that came without what it declares (D50)."""
    raw = f"{client}/{nonce}/{gas_limit}".encode()
    return Request(
        client=bytes([client]) * 32,
        nonce=nonce,
        tx_id=hashlib.sha256(raw).digest(),
        expiry_height=expiry_height,
        gas_limit=gas_limit,
        raw=raw,
        has_code=has_code,
        payload=payload,
    )


def make_batch(*requests: Request, time_ms: int = WALL_MS) -> Batch:
    """A batch with its digest."""
    digest, _ = compute_batch_digest(time_ms, [request.raw for request in requests])
    return Batch(time_ms=time_ms, requests=requests, digest=digest)


def make_envelope(sender: int, *messages: SignedMessage) -> Envelope:
    """A sealed envelope; equal content has equal bytes, as with Ed25519."""
    raw = f"{sender}{messages!r}".encode()
    return Envelope(sender=sender, messages=messages, raw=raw, signature=hashlib.sha512(raw).digest())


def seal(time_ms: int, tx_id: bytes, payload: bytes) -> bytes:
    """The bench's disk shows what was sealed, and for whom."""
    return b"sealed %d %s " % (time_ms, tx_id) + payload


def unseal(tx_id: bytes, sealed: bytes) -> bytes:
    """The opposite of `seal`."""
    return sealed.split(b" " + tx_id + b" ", 1)[1]


def make_header_hash(height: int) -> bytes:
    """The header hash that every correct replica gets at a height."""
    return hashlib.sha256(b"header %d" % height).digest()


def make_vote(height: int, header_hash: bytes | None = None, epoch: int = 0) -> HeaderVote:
    """A header vote, on the true header unless another is given."""
    return HeaderVote(
        epoch=epoch, height=height, header_hash=header_hash or make_header_hash(height), signature=bytes(64)
    )


@dataclass(kw_only=True)
class Bench:
    """One replica and what it did. `turn` ends turns until nothing more is asked, as `Driver.flush` does."""

    configuration: CoreConfiguration
    replica_id: int
    executes: bool = True  # the ledger answers at once
    checks: bool = True  # the worker survives a source at once; False: it says nothing (D53)
    checked: list[CheckCode] = field(default_factory=list)
    observes: bool = False  # from the next start on: it holds a key that the epoch does not list (D37)
    journal: dict[bytes, bytes] = field(default_factory=dict)
    envelopes: dict[bytes, Envelope] = field(default_factory=dict)  # journaled envelopes
    sent: list[tuple[int | None, PeerMessage]] = field(default_factory=list)
    asked: list[Execute] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    certificates: list[StoreCertificate] = field(default_factory=list)
    served: list[SendBlocks] = field(default_factory=list)
    snapshots: list[Action] = field(default_factory=list)  # what the ledger was asked about snapshots
    refused: set[bytes] = field(default_factory=set)  # tx ids that the ledger refuses: their nonces stay free
    halted: str | None = None
    wall_ms: int = WALL_MS
    next_due_ms: int | None = None
    asks: bool = False  # what the others have heard of its key
    time_ms: int | None = None  # agreed time of the blocks from now on; None: the wall's
    epoch_end: int | None = None  # from the next block on the ledger says that the epoch ends there
    next_epoch: EpochStart | None = None  # and that this one follows
    epochs_ended: list[SendEpochEnd] = field(default_factory=list)
    replica: Replica = field(init=False)
    _actions: list[Action] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Starts, or restarts from the journal and the blocks executed so far."""
        keys = {key.hex().encode(): key for key in self.envelopes}
        records = [*self.journal.items(), *((key, name) for name, key in keys.items())]
        restored = parse_records(sorted(records), lambda name: self.envelopes[keys[name]], unseal)
        if self.next_epoch is not None and restored.epoch == self.next_epoch.configuration.epoch:
            self._follow()
        self.replica = Replica(
            configuration=self.configuration,
            replica_id=OBSERVER if self.observes else self.replica_id,
            signer=lambda message: hashlib.sha512(message).digest(),
            restored=restored if records else Restored(),
            ledger=self.ledger_head(),
            asks=self.asks,
        )
        self.tick()

    def ledger_head(self) -> LedgerHead:
        """What the ledger knows: the blocks executed so far."""
        height = self.replica.executed_height if hasattr(self, "replica") else 0
        hashes = {h: make_header_hash(h) for h in range(1, height + 1)}
        return LedgerHead(
            height=height,
            header_hashes=hashes,
            next_due_ms=self.next_due_ms,
            epoch_end=self.epoch_end,
            next_epoch=self.next_epoch if height == self.epoch_end else None,
        )

    def decide(self, last_height: int, replica_id: int | None = None, **changes: int) -> None:
        """The next block decides a configuration with these changes: the epoch ends at that height (D40)."""
        following = replace(
            self.configuration,
            epoch=self.configuration.epoch + 1,
            base_height=last_height,
            base_hash=make_header_hash(last_height),
            **changes,
        )
        self.epoch_end = last_height
        self.next_epoch = EpochStart(
            configuration=following, replica_id=self.replica_id if replica_id is None else replica_id
        )

    def _follow(self) -> None:
        """The replica is in the next epoch."""
        assert self.next_epoch is not None
        self.configuration, self.replica_id = self.next_epoch.configuration, self.next_epoch.replica_id
        self.epoch_end = self.next_epoch = None

    def receive(self, sender: int, message: PeerMessage | LocalMessage) -> None:
        """A message, and the end of its turn."""
        self._actions += self.replica.receive(sender, message)
        self.turn()

    def say(self, sender: int, *messages: SignedMessage) -> Envelope:
        """Another replica's envelope arrives."""
        envelope = make_envelope(sender, *messages)
        self.receive(sender, envelope)
        return envelope

    def tick(self, count: int = 1) -> None:
        """Time passes."""
        for _ in range(count):
            self.wall_ms += 50
            self._actions += self.replica.tick(self.wall_ms)
            self.turn()

    def turn(self) -> None:
        """Rounds until nothing more is asked."""
        self._run_turn()
        if self.replica.epoch != self.configuration.epoch:
            self._follow()

    def _run_turn(self) -> None:
        self._actions += self.replica.end_turn()
        while self._actions:
            actions, self._actions = self._actions, []
            for action in actions:
                self._perform(action)
            self._actions += self.replica.end_turn()

    def _perform(self, action: Action) -> None:
        match action:
            case Persist():
                self.envelopes.pop(action.key, None)
                self.journal.pop(action.key, None)
                if action.value is not None:
                    self.journal[action.key] = action.value
            case PersistBody():
                self.journal[body_key(action.batch.digest)] = encode_body(action.batch, seal)
            case PersistEnvelope():
                self.envelopes[action.key] = action.envelope
            case Broadcast():
                envelope = make_envelope(self.replica_id, *action.messages)
                if action.journal_key is not None:
                    self.envelopes[action.journal_key] = envelope
                self.sent.append((None, envelope))
                self._actions += self.replica.receive(self.replica_id, envelope)
            case Publish():
                self.sent.append((None, action.message))
            case Send():
                self.sent.append((action.replica, action.message))
            case CheckCode():
                self.checked.append(action)
                if self.checks:
                    self._actions += self.replica.receive(self.replica_id, CodeChecked(digest=action.batch.digest))
            case Execute():
                self.asked.append(action)
                if self.executes:
                    self.execute(action)
            case StoreCertificate():
                self.certificates.append(action)
            case OfferSnapshot() | SendSnapshotChunk() | BeginSnapshot() | StageChunk() | InstallSnapshot():
                self.snapshots.append(action)
            case SendBlocks():
                self.served.append(action)
            case SendEpochEnd():
                self.epochs_ended.append(action)
            case Reclaim():
                survived = tuple(request for request in action.requests if self.checks or not request.has_code)
                self._actions += self.replica.receive(self.replica_id, Relay(requests=survived))
            case Evidence():
                self.evidence.append(action)
            case Dropped():
                self.dropped.append(action.code)
            case Halt():
                self.halted = action.reason

    def execute(self, action: Execute, header_hash: bytes | None = None) -> None:
        """The ledger's answer."""
        requests = action.batch.requests if action.batch is not None else ()
        executed = Executed(
            height=action.height,
            header_hash=header_hash or make_header_hash(action.height),
            time_ms=self.wall_ms if self.time_ms is None else self.time_ms,
            gas_used=0,
            next_due_ms=self.next_due_ms,
            finished=tuple(request.tx_id for request in requests),
            used=tuple((r.client, r.nonce) for r in requests if r.tx_id not in self.refused),
            epoch_end=self.epoch_end,
            next_epoch=self.next_epoch if action.height == self.epoch_end else None,
        )
        self._actions += self.replica.receive(self.replica_id, executed)

    def hand_in(self, *requests: Request) -> None:
        """Clients' requests, all in one turn."""
        for request in requests:
            self._actions += self.replica.receive(self.replica_id, ClientRequest(request=request))
        self.turn()

    def said(self, kind: type) -> Iterator[SignedMessage]:
        """What this replica signed, of one kind, in order."""
        for _, message in self.sent:
            if isinstance(message, Envelope) and message.sender == self.replica_id:
                yield from (inner for inner in message.messages if isinstance(inner, kind))

    def linked(self, kind: type) -> list[tuple[int | None, PeerMessage]]:
        """The link messages sent, of one kind, with their receivers."""
        return [(to, message) for to, message in self.sent if isinstance(message, kind)]

    def commit(self, height: int, *requests: Request, view: int = 0, time_ms: int | None = None) -> Batch:
        """Lets everybody else take a height through all three phases, from this backup's point of view."""
        batch = make_batch(*requests, time_ms=self.wall_ms if time_ms is None else time_ms)
        epoch, primary = self.replica.epoch, self.configuration.primary(view)
        self.say(primary, PrePrepare(epoch=epoch, view=view, height=height, digest=batch.digest, batch=batch))
        others = [r for r in range(self.configuration.member_count) if r not in (primary, self.replica_id)]
        for other in others:
            self.say(other, Prepare(epoch=epoch, view=view, height=height, digest=batch.digest))
        for other in [primary, *others]:
            self.say(other, Commit(epoch=epoch, view=view, height=height, digest=batch.digest))
        return batch

    def certify(self, height: int) -> None:
        """Q votes of others for the true header."""
        others = [r for r in range(self.configuration.member_count) if r != self.replica_id]
        for other in others[: self.configuration.quorums.quorum]:
            self.say(other, make_vote(height, epoch=self.replica.epoch))


def make_bench(replica_id: int, replicas: int = 4, **parameters: int) -> Bench:
    """A bench for one of n replicas; parameters change the configuration."""
    return Bench(configuration=make_configuration(replicas, **parameters), replica_id=replica_id)
