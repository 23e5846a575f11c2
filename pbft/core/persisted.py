"""The journal: what a replica must remember above its certified height, and the bytes that it is kept in.

One record per key, canonical encoding, strict parse: a record that does not read back is damage, and damage stops the
start with its key named (M26). The records, and the promise that each one guards (M25):

    view               [epoch, view, active]                  a replica never returns to a view or epoch that it left
    certified          [height, header hash, certificate]     h and its proof are one record (D25)
    own-view-change    sealed envelope                        resent as it was signed (D36)
    new-view           sealed envelope                        why this view is entered; forwarded to others (M49)
    p/<height>         [digest, view]                         P set: prepared, synced before COMMIT
    q/<height><digest> view                                   Q set: pre-prepared, synced before PREPARE or PRE-PREPARE
    b/<digest>         [time, [requests]]                     the bodies of the Q set, their payloads sealed (D50)
    v/<height>         header hash                            header votes given: re-execution is compared (D34)
    halt               [kind, reason, height, own, other]     a replica that halted stays halted (M45)
    starts             number                                 how often it was opened: older copies show (M28)

Heights in keys are 8 bytes big-endian, so keys sort by height. Envelopes are encoded by `pbft.wire`, and private
payloads sealed by `ledger.payload_vault`, both outside the core.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ledger.encoding import decode, encode
from ledger.errors import EncodingError, InvariantViolation
from ledger.quorum_certificate import QuorumCertificate
from pbft.core.actions import Halt
from pbft.core.config import EpochStart
from pbft.core.messages import Batch, Envelope, NewView, Request, SlotEntry, ViewChange

VIEW_KEY: Final = b"view"
CERTIFIED_KEY: Final = b"certified"
OWN_VIEW_CHANGE_KEY: Final = b"own-view-change"
NEW_VIEW_KEY: Final = b"new-view"
HALT_KEY: Final = b"halt"
STARTS_KEY: Final = b"starts"
HALT_KINDS: Final = frozenset({"diverged", "second_signer", "contradicted"})  # `pbft.core.halting`
RECORD_BYTES_MAX: Final = 16_777_216  # the largest record is a batch's body: 1 MiB of transactions and their fields


class DamagedJournal(Exception):
    """A journal record does not parse. The replica must not start: what it promised is unknown (M26, D37)."""

    def __init__(self, key: bytes, reason: str) -> None:
        super().__init__(f"journal record {key!r} is damaged: {reason}")
        self.key = key
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerHead:
    """What the ledger knows at start; the core remembers it from then on through `Executed`."""

    height: int  # e: the last executed height
    header_hashes: dict[int, bytes]  # executed heights from the certified height on, the journal's certified one too
    next_due_ms: int | None
    epoch_end: int | None = None  # the last height of the journal's epoch, once a change is decided (D40)
    next_epoch: EpochStart | None = None  # where `height` is that last height
    certificate: QuorumCertificate | None = None  # the newest one stored: a snapshot brings its own (D39)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The journal's content. A new replica starts from `Restored()`: view 0, active, genesis certified."""

    epoch: int = 0
    view: int = 0
    active: bool = True
    certified_height: int = 0
    certified_hash: bytes = b""  # empty means genesis
    certificate: QuorumCertificate | None = None
    own_view_change: Envelope | None = None
    new_view: Envelope | None = None
    prepared: dict[int, SlotEntry] = field(default_factory=dict)
    pre_prepared: dict[int, dict[bytes, int]] = field(default_factory=dict)  # height -> digest -> latest view
    bodies: dict[bytes, Batch] = field(default_factory=dict)
    voted: dict[int, bytes] = field(default_factory=dict)  # height -> header hash
    halt: Halt | None = None


def prepared_key(height: int) -> bytes:
    return b"p/" + height.to_bytes(8, "big")


def pre_prepared_key(height: int, digest: bytes) -> bytes:
    return b"q/" + height.to_bytes(8, "big") + digest


def body_key(digest: bytes) -> bytes:
    return b"b/" + digest


def voted_key(height: int) -> bytes:
    return b"v/" + height.to_bytes(8, "big")


def encode_view(epoch: int, view: int, *, active: bool) -> bytes:
    return encode([epoch, view, active])


def encode_certified(height: int, header_hash: bytes, certificate: QuorumCertificate | None) -> bytes:
    """The certified height with its proof; None only for genesis."""
    if certificate is None:
        return encode([height, header_hash, None])
    signatures = [[replica, signature] for replica, signature in certificate.signatures]
    return encode([height, header_hash, [certificate.epoch, certificate.height, certificate.header_hash, signatures]])


def encode_entry(entry: SlotEntry) -> bytes:
    return encode([entry.digest, entry.view])


def encode_pre_prepared(view: int) -> bytes:
    return encode(view)


def encode_halt(halt: Halt) -> bytes:
    return encode([halt.kind, halt.reason, halt.height, halt.own, halt.other])


def encode_starts(count: int) -> bytes:
    return encode(count)


def parse_starts(data: bytes) -> int:
    """How often the journal was opened (`pbft.node.start_count`). ValueError, EncodingError: damage."""
    return _number(decode(data))


def encode_voted(header_hash: bytes) -> bytes:
    return encode(header_hash)


SealPayload: TypeAlias = Callable[[int, bytes, bytes], bytes]
"""Batch time in ms, tx id, payload: the payload as it may lie on a disk."""
OpenPayload: TypeAlias = Callable[[bytes, bytes], bytes]
"""Tx id, sealed payload: the payload. ValueError for one that is damaged or whose key is destroyed."""


def encode_body(batch: Batch, seal: SealPayload) -> bytes:
    """A whole batch with every field of its requests: reading it back needs no transaction parser."""
    if not batch.is_whole:
        raise InvariantViolation("body_without_payload", "only whole bodies are promised (D50)", digest=batch.digest)
    requests = [
        [
            *(r.client, r.nonce, r.tx_id, r.expiry_height, r.gas_limit, r.raw),
            seal(batch.time_ms, r.tx_id, r.payload) if r.payload else b"",
        ]
        for r in batch.requests
    ]
    return encode([batch.time_ms, requests])


def parse_records(
    records: Iterable[tuple[bytes, bytes]], decode_envelope: Callable[[bytes], Envelope], open_payload: OpenPayload
) -> Restored:
    """The journal's records as one value, or DamagedJournal naming the record. `decode_envelope` raises ValueError."""
    fields: dict[str, object] = {}
    prepared: dict[int, SlotEntry] = {}
    pre_prepared: dict[int, dict[bytes, int]] = {}
    bodies: dict[bytes, Batch] = {}
    voted: dict[int, bytes] = {}
    for key, value in records:
        try:
            if key == VIEW_KEY:
                fields["epoch"], fields["view"], fields["active"] = _view(decode(value))
            elif key == CERTIFIED_KEY:
                fields.update(_certified(decode(value)))
            elif key == OWN_VIEW_CHANGE_KEY:
                fields["own_view_change"] = _sealed(decode_envelope(value), ViewChange)
            elif key == NEW_VIEW_KEY:
                fields["new_view"] = _sealed(decode_envelope(value), NewView)
            elif key == HALT_KEY:
                fields["halt"] = _halt(decode(value))
            elif key == STARTS_KEY:
                parse_starts(value)
            elif key[:2] == b"p/" and len(key) == 10:
                digest, view = _list(decode(value), 2)
                height = int.from_bytes(key[2:], "big")
                prepared[height] = SlotEntry(height=height, digest=_hash(digest), view=_number(view))
            elif key[:2] == b"q/" and len(key) == 42:
                height = int.from_bytes(key[2:10], "big")
                pre_prepared.setdefault(height, {})[key[10:]] = _number(decode(value))
            elif key[:2] == b"b/" and len(key) == 34:
                bodies[key[2:]] = _body(key[2:], decode(value, max_bytes=RECORD_BYTES_MAX), open_payload)
            elif key[:2] == b"v/" and len(key) == 10:
                voted[int.from_bytes(key[2:], "big")] = _hash(decode(value))
            else:
                raise DamagedJournal(key, "no record of this version has this key")
        except (EncodingError, ValueError) as error:
            raise DamagedJournal(key, str(error)) from error
    return Restored(
        prepared=prepared,
        pre_prepared=pre_prepared,
        bodies=bodies,
        voted=voted,
        **fields,  # type: ignore[arg-type]  # each was checked where it was put in
    )


def _sealed(envelope: Envelope, kind: type[ViewChange | NewView]) -> Envelope:
    """An envelope that holds one message of the kind that its key says: another one would be believed as that."""
    if [type(message) for message in envelope.messages] != [kind]:
        raise ValueError(f"expected one {kind.__name__}, got {[type(m).__name__ for m in envelope.messages]!r:.60}")
    return envelope


def _view(value: object) -> tuple[int, int, bool]:
    epoch, view, active = _list(value, 3)
    if not isinstance(active, bool):
        raise ValueError("active: expected a bool")
    return _number(epoch), _number(view), active


def _halt(value: object) -> Halt:
    kind, reason, height, own, other = _list(value, 5)
    if not isinstance(kind, str) or not isinstance(reason, str) or kind not in HALT_KINDS:
        raise ValueError(f"kind and reason: expected one of {sorted(HALT_KINDS)} and a text, got {kind!r:.40}")
    return Halt(kind=kind, reason=reason, height=_number(height), own=_bytes(own), other=_bytes(other))


def _certified(value: object) -> dict[str, object]:
    height, header_hash, proof = _list(value, 3)
    certificate = None
    if proof is not None:
        epoch, proved, proved_hash, signatures = _list(proof, 4)
        pairs = [_list(pair, 2) for pair in _list(signatures, None)]
        certificate = QuorumCertificate(
            epoch=_number(epoch),
            height=_number(proved),
            header_hash=_hash(proved_hash),
            signatures=tuple((_number(replica), _bytes(signature)) for replica, signature in pairs),
        )
    if (certificate is None) != (height == 0):
        raise ValueError("a certificate is kept for every height but genesis")
    return {"certified_height": _number(height), "certified_hash": _hash(header_hash), "certificate": certificate}


def _body(digest: bytes, value: object, open_payload: OpenPayload) -> Batch:
    time_ms, items = _list(value, 2)
    requests = []
    for item in _list(items, None):
        client, nonce, tx_id, expiry_height, gas_limit, raw, sealed = _list(item, 7)
        requests.append(
            Request(
                client=_hash(client),
                nonce=_number(nonce),
                tx_id=_hash(tx_id),
                expiry_height=_number(expiry_height),
                gas_limit=_number(gas_limit),
                raw=_bytes(raw),
                payload=open_payload(_hash(tx_id), _bytes(sealed)) if _bytes(sealed) else b"",
            )
        )
    return Batch(time_ms=_number(time_ms), requests=tuple(requests), digest=digest)


def _list(value: object, length: int | None) -> list[object]:
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise ValueError(f"expected a list of {length} fields, got {value!r:.60}")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"expected a whole number from 0, got {value!r:.60}")
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError(f"expected bytes, got {value!r:.60}")
    return value


def _hash(value: object) -> bytes:
    if len(_bytes(value)) != 32:
        raise ValueError(f"expected 32 bytes, got {value!r:.60}")
    return _bytes(value)
