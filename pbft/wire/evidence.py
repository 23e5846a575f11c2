"""Evidence files: that a replica broke the protocol, checked off line by whoever knows the network (M54).

A file holds the claim (who, what, where) and the one or two envelopes whose signatures convict, as they were received.
It is canonical JSON (sorted keys, no spaces, lower-case hexadecimal, one newline at the end): parsing writes it again
and compares, so one piece has one form and one name. What convicts is `pbft.core.evidence`'s to say; this module owns
the bytes, and the signatures, the nested ones too.
"""

import hashlib
import json
from typing import Any, Final

from pbft.core.actions import Evidence
from pbft.core.config import CoreConfiguration
from pbft.core.errors import InvalidMessage
from pbft.core.evidence import EVIDENCE_KINDS, validate_evidence
from pbft.core.messages import Envelope
from pbft.wire import gridquorum_pb2 as pb
from pbft.wire.decode import decode_envelope
from pbft.wire.limits import NUMBER_MAX, WireError, WireRules
from pbft.wire.verify import Verifier

EVIDENCE_BYTES_MAX: Final = 20_971_520  # two envelopes of the largest frame, in hexadecimal
_FIELDS: Final = {"version", "network", "replica", "kind", "view", "height", "envelopes"}


class InvalidEvidence(Exception):
    """An evidence file that convicts nobody; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


def encode_evidence(evidence: Evidence, network: bytes) -> bytes:
    """The file of a piece of evidence. Equal pieces have equal files, whichever envelope came first."""
    pieces = [evidence.first] if evidence.second is None else [evidence.first, evidence.second]
    envelopes = sorted((piece.raw.hex(), piece.signature.hex()) for piece in pieces)
    return _canonical_json(
        {
            "version": 1,
            "network": network.hex(),
            "replica": evidence.replica,
            "kind": evidence.kind,
            "view": evidence.view,
            "height": evidence.height,
            "envelopes": [{"signed": signed, "signature": signature} for signed, signature in envelopes],
        }
    )


def compute_evidence_id(data: bytes) -> str:
    """The name of an evidence file: 16 hexadecimal digits of its hash."""
    return hashlib.sha256(data).hexdigest()[:16]


def verify_evidence(data: bytes, *, verifier: Verifier, rules: WireRules, configuration: CoreConfiguration) -> Evidence:
    """Checks an evidence file; raises InvalidEvidence where anything does not hold.

    1. The file is of this network and in its canonical form. 2. The envelopes are well formed, and every signature in
    them holds under the keys of the configuration. 3. They convict the replica of what is claimed, and of nothing else.
    """
    document = _parse_document(data)
    if document["network"] != rules.network.hex():
        raise InvalidEvidence("network", f"expected {rules.network.hex()}, got {document['network']}")
    try:
        envelopes = [_parse_envelope(item, rules) for item in document["envelopes"]]
        for envelope in envelopes:
            verifier.verify_envelope(envelope)
        evidence = Evidence(
            replica=document["replica"],
            kind=document["kind"],
            view=document["view"],
            height=document["height"],
            first=envelopes[0],
            second=envelopes[1] if len(envelopes) > 1 else None,
        )
        validate_evidence(configuration, evidence)
    except (WireError, InvalidMessage) as error:
        raise InvalidEvidence(error.code, error.detail) from None
    return evidence


def read_claim(data: bytes) -> dict[str, Any]:
    """What a file claims: `replica`, `kind`, `view`, `height`; nothing is verified. InvalidEvidence."""
    document = _parse_document(data)
    return {name: document[name] for name in ("replica", "kind", "view", "height")}


def _parse_envelope(item: dict[str, str], rules: WireRules) -> Envelope:
    """An envelope from its signed bytes, through the decoder that reads those of links."""
    written = pb.Envelope(payload=bytes.fromhex(item["signed"]), signature=bytes.fromhex(item["signature"]))
    return decode_envelope(written.SerializeToString(deterministic=True), rules)


def _canonical_json(document: object) -> bytes:
    return (json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n").encode("ascii")


def _parse_document(data: bytes) -> dict[str, Any]:
    if len(data) > EVIDENCE_BYTES_MAX:
        raise InvalidEvidence("too_long", f"{len(data)} bytes, at most {EVIDENCE_BYTES_MAX}")
    try:
        document: dict[str, Any] = json.loads(data.decode("ascii"))
        is_canonical = type(document) is dict and _canonical_json(document) == data
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError, so is NaN that is written
        raise InvalidEvidence("json", f"not JSON: {type(error).__name__}") from None
    if not is_canonical or set(document) != _FIELDS or document["version"] != 1:
        raise InvalidEvidence("shape", f"expected the canonical form of version 1 with {sorted(_FIELDS)}")
    numbers = (document["replica"], document["view"], document["height"])
    if any(type(number) is not int or not 0 <= number <= NUMBER_MAX for number in numbers):
        raise InvalidEvidence("shape", f"replica, view, height: expected whole numbers, got {numbers!r:.80}")
    if type(document["kind"]) is not str or document["kind"] not in EVIDENCE_KINDS:
        raise InvalidEvidence("kind", f"expected one of {sorted(EVIDENCE_KINDS)}, got {document['kind']!r:.40}")
    envelopes = document["envelopes"]
    if type(envelopes) is not list or not 1 <= len(envelopes) <= 2 or not all(map(_is_envelope, envelopes)):
        raise InvalidEvidence(
            "shape", "envelopes: expected one or two of {signed, signature} in lower-case hexadecimal"
        )
    return document


def _is_envelope(item: object) -> bool:
    return type(item) is dict and set(item) == {"signed", "signature"} and all(map(_is_hex, item.values()))


def _is_hex(text: object) -> bool:
    try:
        return type(text) is str and bytes.fromhex(text).hex() == text
    except ValueError:
        return False
