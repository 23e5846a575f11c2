"""Evidence files: that a replica broke the protocol, in a form that is checked off line (M54).

A file holds the claim (who, what, where), the one or two envelopes whose signatures convict, as they were received, and
the end of every epoch before theirs: as in a proof file, the keys of that epoch follow from genesis alone. `replica` is
an id of that epoch. The file is canonical JSON (sorted keys, no spaces, lower-case hexadecimal, one newline at the
end): parsing writes it again and compares. The id of a piece leaves the ends of epochs out, since replicas keep
different quorums of signatures under one header: so one piece has one id, whoever kept it.

This module owns the bytes. Who signed them is `pbft.node.evidence_judge`'s to check, what convicts
`pbft.core.evidence`'s.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ledger.epochs import EpochLink, parse_link
from ledger.errors import InvalidProof
from ledger.proofs import EPOCHS_MAX
from pbft.core.actions import Evidence
from pbft.core.evidence import EVIDENCE_KINDS
from pbft.core.messages import Envelope
from pbft.wire import gridquorum_pb2 as pb
from pbft.wire.decode import decode_envelope
from pbft.wire.limits import NUMBER_MAX, WireError, WireRules

EVIDENCE_BYTES_MAX: Final = 2 * 2 * WireRules.widest(bytes(32)).envelope_bytes_max + 8_388_608
"""Two of the largest envelopes that any genesis allows, in hexadecimal, and 8 MiB of epoch ends, as in a proof file:
whatever a replica keeps is read. Half a gigabyte, by NEW-VIEWs of 64 members with a window of 1,024; with the default
parameters and 16 members it is two proposals or NEW-VIEWs of 1 to 2 MiB."""
_FIELDS: Final = {"version", "network", "epochs", "replica", "kind", "view", "height", "envelopes"}


class InvalidEvidence(Exception):
    """An evidence file that convicts nobody; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceFile:
    """What a well-formed file holds. Nothing of it is verified."""

    links: tuple[EpochLink, ...]  # from epoch 0 on; as many as there are epochs before that of the envelopes
    evidence: Evidence


def encode_evidence(evidence: Evidence, network: bytes, links: Sequence[EpochLink]) -> bytes:
    """The file of a piece of evidence; `links` lead from genesis to its epoch. Whichever envelope came first, the
    files are equal."""
    pieces = [evidence.first] if evidence.second is None else [evidence.first, evidence.second]
    envelopes = sorted((piece.raw.hex(), piece.signature.hex()) for piece in pieces)
    return _canonical_json(
        {
            "version": 1,
            "network": network.hex(),
            "epochs": [link.to_bytes().hex() for link in links],
            "replica": evidence.replica,
            "kind": evidence.kind,
            "view": evidence.view,
            "height": evidence.height,
            "envelopes": [{"signed": signed, "signature": signature} for signed, signature in envelopes],
        }
    )


def compute_evidence_id(data: bytes) -> str:
    """The name of a piece: 16 hexadecimal digits of the hash of its file without epoch ends. InvalidEvidence."""
    document = _parse_document(data)
    del document["epochs"]
    return hashlib.sha256(_canonical_json(document)).hexdigest()[:16]


def parse_evidence(data: bytes, network: bytes) -> EvidenceFile:
    """A file from its bytes. Raises InvalidEvidence unless it is of this network, in its canonical form, and what it
    holds is well formed: envelopes by the widest limits that any epoch may have."""
    document = _parse_document(data)
    if document["network"] != network.hex():
        raise InvalidEvidence("network", f"expected {network.hex()}, got {document['network']!r:.70}")
    rules = WireRules.widest(network)
    try:
        links = tuple(parse_link(bytes.fromhex(item)) for item in document["epochs"])
        envelopes = [_parse_envelope(item, rules) for item in document["envelopes"]]
    except WireError as error:
        raise InvalidEvidence(error.code, error.detail) from None
    except InvalidProof as error:
        raise InvalidEvidence("epoch", str(error)) from None
    evidence = Evidence(
        replica=document["replica"],
        kind=document["kind"],
        view=document["view"],
        height=document["height"],
        first=envelopes[0],
        second=envelopes[1] if len(envelopes) > 1 else None,
    )
    return EvidenceFile(links=links, evidence=evidence)


def read_claim(data: bytes) -> dict[str, Any]:
    """What a file claims: `epoch`, `replica`, `kind`, `view`, `height`; nothing is verified. InvalidEvidence."""
    document = _parse_document(data)
    claim = {name: document[name] for name in ("replica", "kind", "view", "height")}
    return {"epoch": len(document["epochs"]), **claim}


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
    epochs, envelopes = document["epochs"], document["envelopes"]
    if type(epochs) is not list or len(epochs) > EPOCHS_MAX or not all(map(_is_hex, epochs)):
        raise InvalidEvidence("shape", f"epochs: expected at most {EPOCHS_MAX} links in lower-case hexadecimal")
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
