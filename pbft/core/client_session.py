"""A client's side of section 4.1, pure: one transaction on its way to an answer that cannot be taken back.

The session owns: whom to send to and when (the primary first, W others only for their word; after a
time-out everybody, then again with capped backoff), which answers count (byte-equal reply content from W distinct
replicas, D43, M20), and when the question ends. It holds no clock, no socket and no key: time arrives as ticks, replies
arrive from the edge tagged with the replica whose link they came on, and what to do next leaves as a list of actions.

Unlike the paper (section 4.1), replicas answer only the links that asked them, because clients have no address of
their own: so W witnesses beside the primary are asked for the outcome when the request is sent, by its id, and answer
when they have executed it. Only after the time-out is anybody else asked to order it.

How a session ends:

- `Committed`: W replicas report the same receipt with status "ok". W = f + 1 contains a correct replica, so the block
  is fixed and survives any f faults (PROTOCOL.md 32).
- `Rejected`: the same, with a receipt that says why not; or with the receipt of another transaction that used the
  nonce (code NONCE_USED, D43); or without any receipt, when a verified state proof shows the nonce unused at a
  certified header past the expiry (code EXPIRED, D46, D47).
- `OutcomeUnknown` is not an end but a report that a caller can ask for at any moment: the session goes on, and the
  expiry bounds it.

A refusal by a replica's door is never final (D47): it only moves the next attempt. A receipt that leaves the nonce
free (RETRY, say) is not final either: the same transaction may still execute, so the session resends.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from ledger.admission import EXPIRED, EXPIRY_TOO_FAR, NONCE_OUT_OF_WINDOW, RETRY
from ledger.encoding import decode
from ledger.errors import EncodingError
from ledger.hashing import HASH_BYTES
from ledger.shapes import expect_array, expect_bytes, expect_int
from ledger.short_forms import encode_bytes, encode_int
from ledger.transaction import NONCE_MAX, RECEIPT_BYTES_MAX, Receipt, parse_receipt

REPLY_BYTES_MAX: Final = RECEIPT_BYTES_MAX + 256  # a receipt with six short fields around it

NONCE_USED: Final = "NONCE_USED"
NOT_FINAL: Final = frozenset({RETRY, NONCE_OUT_OF_WINDOW, EXPIRY_TOO_FAR})  # refused receipts that end nothing


class InvalidReply(ValueError):
    """Reply bytes that no correct replica sends."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid reply: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyContent:
    """What a REPLY says, and nothing that differs between correct replicas (D43): no view, primary or certificate."""

    client: bytes  # 32-byte public key
    nonce: int
    tx_id: bytes  # of the transaction that used the nonce, which need not be the one asked about
    height: int
    index: int  # of the receipt in its block
    receipt: bytes
    header_hash: bytes

    def to_bytes(self) -> bytes:
        """The canonical bytes that W replicas must send alike."""
        return write_reply(self.client, self.nonce, self.tx_id, self.height, self.index, self.receipt, self.header_hash)


def write_reply(
    client: bytes, nonce: int, tx_id: bytes, height: int, index: int, receipt: bytes, header_hash: bytes
) -> bytes:
    """The canonical bytes of a ReplyContent, for who writes thousands."""
    return b"".join(
        (
            b"\x97",  # an array of seven
            encode_bytes(client),
            encode_int(nonce),
            encode_bytes(tx_id),
            encode_int(height),
            encode_int(index),
            encode_bytes(receipt),
            encode_bytes(header_hash),
        )
    )


def parse_reply(data: bytes) -> ReplyContent:
    """Read reply content; total and bounded. Raises InvalidReply for anything a correct replica would not send."""
    try:
        fields = expect_array(decode(data, max_bytes=REPLY_BYTES_MAX), "reply", 7)
        return ReplyContent(
            client=expect_bytes(fields[0], "client", HASH_BYTES),
            nonce=expect_int(fields[1], "nonce", 0, NONCE_MAX),
            tx_id=expect_bytes(fields[2], "tx_id", HASH_BYTES),
            height=expect_int(fields[3], "height", 0, NONCE_MAX),
            index=expect_int(fields[4], "index", 0, NONCE_MAX),
            receipt=expect_bytes(fields[5], "receipt"),
            header_hash=expect_bytes(fields[6], "header_hash", HASH_BYTES),
        )
    except EncodingError as error:
        raise InvalidReply(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A signed transaction as the session needs to know it."""

    client: bytes
    nonce: int
    tx_id: bytes
    expiry_height: int
    expiry_time: int  # seconds UTC, of agreed time
    raw: bytes
    payload: bytes = b""  # the private payload that travels beside `raw` (D50)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTiming:
    """Waiting times in ticks; each is at least 1."""

    primary_alone_ticks: int = 20  # how long the primary has the request to itself at least (section 4.1)
    resend_ticks: int = 40  # first interval between resends to everybody
    resend_max_ticks: int = 320  # where doubling stops: a healed network is noticed within this time

    def validate(self) -> None:
        """Raise ValueError where the values do not make sense together."""
        if self.primary_alone_ticks < 1 or self.resend_ticks < 1:
            raise ValueError("session timing: every interval is at least one tick")
        if self.resend_max_ticks < self.resend_ticks:
            raise ValueError(
                f"session timing: resend_max_ticks {self.resend_max_ticks} < resend_ticks {self.resend_ticks}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest:
    """Send the transaction to this replica."""

    replica: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOutcome:
    """Ask this replica for the outcome of the transaction, once it has executed it."""

    replica: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AskHead:
    """Ask this replica how far the chain is: a hint that the expiry may have passed."""

    replica: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AskNonceProof:
    """Ask this replica for a state proof of the client's nonce window; verify it before telling the session."""

    replica: int


SessionAction: TypeAlias = SendRequest | AskOutcome | AskHead | AskNonceProof


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Executed with status "ok", vouched for by W replicas."""

    reply: ReplyContent
    receipt: Receipt
    vouched_by: tuple[int, ...]  # ascending replica ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Will never have an effect, with the stable code that says why."""

    tx_id: bytes
    code: str
    reply: ReplyContent | None  # None only for an expiry shown by a state proof
    receipt: Receipt | None
    vouched_by: tuple[int, ...]  # empty for an expiry shown by a state proof: the certificate vouches


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeUnknown:
    """Not an answer: what is known so far. Ask again; the expiry ends it."""

    tx_id: bytes
    nonce: int
    expiry_height: int
    expiry_time: int
    answers: int  # replicas that sent a reply
    refusals: tuple[tuple[int, str], ...]  # (replica, code): the last word of each door, never final


Outcome: TypeAlias = Committed | Rejected


class NetworkBelief:
    """What a client believes about the network from unproved hints: who leads, how far the chain is.

    One replica's word moves nothing: a view or height is believed when W replicas claim it or more, so at least one
    correct replica does. A wrong belief costs time, never safety.
    """

    def __init__(self, *, replicas: int, weak_quorum: int) -> None:
        self._replicas = replicas
        self._weak_quorum = weak_quorum
        self._views: dict[int, tuple[int, int]] = {}  # replica -> (view, primary) that it claims
        self._heads: dict[int, tuple[int, int]] = {}  # replica -> (height, time in ms) that it claims

    def receive_view(self, replica: int, view: int, primary: int) -> None:
        """A replica's hint on its view; a primary that does not exist is ignored."""
        if 0 <= replica < self._replicas and 0 <= primary < self._replicas:
            self._views[replica] = (view, primary)

    def receive_head(self, replica: int, height: int, time_ms: int) -> None:
        """A replica's word on its newest block; only growth counts."""
        if 0 <= replica < self._replicas and (height, time_ms) > self._heads.get(replica, (-1, 0)):
            self._heads[replica] = (height, time_ms)

    @property
    def primary(self) -> int:
        """The primary of the highest view that W replicas claim alike, or replica 0."""
        claims = sorted(set(self._views.values()), reverse=True)
        for claim in claims:
            if sum(other == claim for other in self._views.values()) >= self._weak_quorum:
                return claim[1]
        return 0

    @property
    def height(self) -> int | None:
        """A height that some correct replica has executed; None before W replicas have said theirs."""
        heights = sorted((height for height, _ in self._heads.values()), reverse=True)
        return heights[self._weak_quorum - 1] if len(heights) >= self._weak_quorum else None


class ClientSession:
    """One transaction of one client. Feed it replies, refusals, heads, proofs and ticks; perform its actions."""

    def __init__(
        self, submission: Submission, *, replicas: int, weak_quorum: int, primary: int, timing: SessionTiming
    ) -> None:
        timing.validate()
        if not 0 <= primary < replicas or not 1 <= weak_quorum <= replicas:
            raise ValueError(f"session: primary {primary} or weak quorum {weak_quorum} outside 0..{replicas}")
        self.submission = submission
        self.outcome: Outcome | None = None
        self.misbehaved: set[int] = set()  # replicas that sent what no correct replica sends
        self._replicas = replicas
        self._weak_quorum = weak_quorum
        self._primary = primary
        self._timing = timing
        self._tick = 0
        self._next_send_tick = timing.primary_alone_ticks
        self._interval_ticks = timing.resend_ticks
        self._replies: dict[int, bytes] = {}  # the latest content of each replica: one vote each (M3)
        self._refusals: dict[int, str] = {}
        self._not_before_tick: dict[int, int] = {}  # a busy door's wish, honoured for this replica alone
        self._expiry_claimed = False
        self._asked_everybody = False

    def start(self) -> list[SessionAction]:
        """The first step of section 4.1: the request goes to the primary alone; W others are asked for its outcome."""
        ring = [(self._primary + offset) % self._replicas for offset in range(1, self._replicas)]
        witnesses = [AskOutcome(replica=witness) for witness in ring[: self._weak_quorum]]
        return [SendRequest(replica=self._primary), *witnesses]

    def tick(self) -> list[SessionAction]:
        """One tick has passed. Resends to everybody who has not given a countable answer, when it is time."""
        self._tick += 1
        if self.outcome is not None or self._tick < self._next_send_tick:
            return []
        self._next_send_tick = self._tick + self._interval_ticks
        self._interval_ticks = min(self._interval_ticks * 2, self._timing.resend_max_ticks)
        return self._resend_actions()

    @property
    def _is_decided(self) -> bool:
        """Asked again after each step that may decide; compiled code would believe what it knows of the attribute."""
        return self.outcome is not None

    def receive_reply(self, replica: int, content: bytes) -> list[SessionAction]:
        """Count a reply from the replica at the other end of the link. Sets `outcome` when W agree.

        Where another transaction used the nonce, the witnesses, who were asked about this one, have nothing to say:
        everybody is asked now.
        """
        if self._is_decided or not self._is_member(replica):
            return []
        try:
            reply = parse_reply(content)
            parse_receipt(reply.receipt)
        except (InvalidReply, EncodingError):
            self.misbehaved.add(replica)
            return []
        if reply.client != self.submission.client or reply.nonce != self.submission.nonce:
            self.misbehaved.add(replica)
            return []
        self._replies[replica] = content
        self._refusals.pop(replica, None)
        voters = tuple(sorted(voter for voter, vote in self._replies.items() if vote == content))
        if len(voters) >= self._weak_quorum:
            self._decide(reply, voters)
        if not self._is_decided and reply.tx_id != self.submission.tx_id and not self._asked_everybody:
            self._next_send_tick = self._tick + self._interval_ticks
            return self._resend_actions()
        return []

    def receive_refusal(self, replica: int, code: str, retry_after_ticks: int) -> list[SessionAction]:
        """A door would not take the request. Never final (D47): if the primary refused, everybody is asked now."""
        if self.outcome is not None or not self._is_member(replica):
            return []
        self._refusals[replica] = code
        wait_ticks = min(max(retry_after_ticks, 1), self._timing.resend_max_ticks)
        self._not_before_tick[replica] = self._tick + wait_ticks
        if replica == self._primary and not self._asked_everybody:
            self._next_send_tick = self._tick + self._interval_ticks
            return self._resend_actions()
        return []

    def receive_head(self, replica: int, certified_height: int, time_ms: int) -> list[SessionAction]:
        """A replica's unproved word on how far the chain is; past the expiry it is worth asking for the proof."""
        if self.outcome is not None or not self._is_member(replica):
            return []
        if not self._is_past_expiry(certified_height, time_ms):
            return []
        self._expiry_claimed = True
        return [AskNonceProof(replica=replica)]

    def receive_nonce_proof(self, *, height: int, time_ms: int, is_used: bool) -> None:
        """A state proof that the edge has verified down to a certified header: the only end without a receipt (D47).

        A used nonce ends nothing here: the receipt exists, and the replies to the next resend will show it.
        """
        if self.outcome is not None or is_used or not self._is_past_expiry(height, time_ms):
            return
        self.outcome = Rejected(tx_id=self.submission.tx_id, code=EXPIRED, reply=None, receipt=None, vouched_by=())

    def unknown(self) -> OutcomeUnknown:
        """What is known so far, for a caller whose patience has ended before the session has."""
        return OutcomeUnknown(
            tx_id=self.submission.tx_id,
            nonce=self.submission.nonce,
            expiry_height=self.submission.expiry_height,
            expiry_time=self.submission.expiry_time,
            answers=len(self._replies),
            refusals=tuple(sorted(self._refusals.items())),
        )

    def _decide(self, reply: ReplyContent, voters: tuple[int, ...]) -> None:
        receipt = parse_receipt(reply.receipt)
        if reply.tx_id != self.submission.tx_id:
            self.outcome = self._rejected(NONCE_USED, reply, receipt, voters)
        elif receipt.status == "ok":
            self.outcome = Committed(reply=reply, receipt=receipt, vouched_by=voters)
        elif receipt.code not in NOT_FINAL:
            self.outcome = self._rejected(receipt.code, reply, receipt, voters)

    def _rejected(self, code: str, reply: ReplyContent, receipt: Receipt, voters: tuple[int, ...]) -> Rejected:
        return Rejected(tx_id=self.submission.tx_id, code=code, reply=reply, receipt=receipt, vouched_by=voters)

    def _resend_actions(self) -> list[SessionAction]:
        self._asked_everybody = True
        due = [replica for replica in self._awaited() if self._not_before_tick.get(replica, 0) <= self._tick]
        actions: list[SessionAction] = [SendRequest(replica=replica) for replica in due]
        ask = AskNonceProof if self._expiry_claimed else AskHead
        actions.extend(ask(replica=replica) for replica in range(self._replicas))
        return actions

    def _awaited(self) -> Iterable[int]:
        """Replicas whose answer could still change the count: a final reply already given is not asked for again."""
        for replica in range(self._replicas):
            content = self._replies.get(replica)
            if content is None or parse_receipt(parse_reply(content).receipt).code in NOT_FINAL:
                yield replica

    def _is_member(self, replica: int) -> bool:
        return 0 <= replica < self._replicas

    def _is_past_expiry(self, height: int, time_ms: int) -> bool:
        """Whether no block after this one can execute the transaction: heights and agreed time never fall (D46)."""
        return height >= self.submission.expiry_height or time_ms > self.submission.expiry_time * 1000
