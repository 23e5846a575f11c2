"""Proof files: that a receipt or a state value is in the chain, checked offline with the genesis file alone (D13).

A proof holds the value with its path to a root of one header, the headers from there up to a certified one, the quorum
certificate of that, and for each epoch before it the certified header that ended it with the configuration that it
names: so the keys of every epoch follow from those of genesis. The verifier needs the proof's bytes, the bytes of
genesis.json and this room; no node, no network. The file is canonical JSON (sorted keys, no spaces, lower-case
hexadecimal, one newline at the end): parsing writes it again and compares, so any changed, missing or added byte is
refused. Every part is bound by a hash or signature (the number of receipts too, and with it a
receipt's index), but for one: the proof that a key is absent also holds for another absent key at the same place. A
checksum over the document catches that.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from ledger.block import RECEIPTS_MAX, Header, ReceiptPath, parse_header, verify_receipt_path
from ledger.configuration import Configuration
from ledger.epochs import EpochLink, parse_link, verify_link
from ledger.errors import InvalidBlock, InvalidCertificate, InvalidGenesis, InvalidProof, LedgerError
from ledger.genesis import parse_genesis
from ledger.keys import VerifySignature, verify_signature
from ledger.quorum_certificate import QuorumCertificate, parse_certificate, verify_certificate
from ledger.state_trie import DEPTH_MAX, StateProof, verify_state_proof
from ledger.transaction import Receipt, parse_receipt

PROOF_BYTES_MAX: Final = 8 * 1024 * 1024
"""The largest receipt takes 4 MiB of hexadecimal; certificate, headers and paths a few hundred kilobytes."""
HEADERS_MAX: Final = 1024
"""The largest window: a certificate is never further above an executed block than that."""
EPOCHS_MAX: Final = 1024
"""Three kilobytes each with four members; a change a week lasts twenty years."""
_PATH_MAX: Final = 32
"""A block has far fewer than 2^32 receipts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReceipt:
    """What a receipt proof proved."""

    receipt: Receipt
    index: int  # among the receipts of its block
    header: Header  # of the block that holds it
    certified_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedState:
    """What a state proof proved: the key had this value, or none, after the block of `header`."""

    key: bytes
    value: bytes | None
    header: Header
    certified_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What leads from a genesis to a header: the same for every kind of proof."""

    epochs: tuple[EpochLink, ...]  # the end of every epoch before the certificate's, from epoch 0 on
    headers: tuple[Header, ...]  # from the one with the value to the certified one, all of the certificate's epoch
    certificate: QuorumCertificate


def write_receipt_proof(receipt: bytes, path: ReceiptPath, index: int, evidence: Evidence) -> bytes:
    """A proof file for receipt `index` of the block of `headers[0]`, with its path to that header."""
    siblings = [sibling.hex() for sibling in path.siblings]
    body = {"receipt": receipt.hex(), "index": index, "count": path.count, "path": siblings}
    return _write("receipt", body, evidence)


def write_state_proof(proof: StateProof, evidence: Evidence) -> bytes:
    """A proof file for a state key after the block of `headers[0]`."""
    body = {
        "key": proof.key.hex(),
        "value": None if proof.value is None else proof.value.hex(),
        "neighbours": [[key_hash.hex(), entry_hash.hex()] for key_hash, entry_hash in proof.neighbours],
        "siblings": [hashes.hex() for hashes in proof.siblings],
    }
    return _write("state", body, evidence)


def _write(kind: str, body: object, evidence: Evidence) -> bytes:
    document = {
        "version": 1,
        "kind": kind,
        kind: body,
        "epochs": [link.to_bytes().hex() for link in evidence.epochs],
        "headers": [header.to_bytes().hex() for header in evidence.headers],
        "certificate": evidence.certificate.to_bytes().hex(),
    }
    return _canonical_json(document | {"sha256": _checksum(document)})


def _checksum(document: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical_json(document)).hexdigest()


def _canonical_json(document: object) -> bytes:
    return (json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n").encode()


def verify_proof(
    proof: bytes, genesis: bytes, verify: VerifySignature = verify_signature
) -> VerifiedReceipt | VerifiedState:
    """Checks a proof file against the bytes of a genesis file; raises InvalidProof where anything does not hold.

    1. Genesis and proof are in their canonical form. 2. From the genesis members on, each epoch's members certified
    the header that names the next ones. 3. The certificate holds under the last of them. 4. It is for the last header.
    5. The headers are of this network and epoch, and each names its predecessor. 6. The path leads from the receipt or
    state value to the root in the first header.
    """
    try:
        founding = parse_genesis(genesis).configuration
    except InvalidGenesis as error:
        raise InvalidProof("genesis", str(error)) from None
    return verify_proof_from(proof, founding, verify)


def verify_proof_from(
    proof: bytes, founding: Configuration, verify: VerifySignature = verify_signature
) -> VerifiedReceipt | VerifiedState:
    """The same for whoever holds the genesis parsed, and has many proofs to check; `founding` is its configuration."""
    configuration, document = founding, _parse_document(proof)
    for item in _list(document["epochs"], "epochs", EPOCHS_MAX):
        configuration = verify_link(parse_link(_hex(item, "epochs")), configuration, verify)
    headers, certificate = _verify_headers(document, configuration, verify)
    if document["kind"] == "receipt":
        return _verify_receipt(document["receipt"], headers[0], certificate.height)
    return _verify_state(document["state"], headers[0], certificate.height)


def _verify_headers(
    document: dict[str, Any], configuration: Configuration, verify: VerifySignature
) -> tuple[list[Header], QuorumCertificate]:
    """The headers of a proof, linked, of this epoch, the last one certified. Raises InvalidProof."""
    try:
        headers = [parse_header(_hex(item, "headers")) for item in _list(document["headers"], "headers", HEADERS_MAX)]
        certificate = parse_certificate(_hex(document["certificate"], "certificate"))
        verify_certificate(certificate, configuration, verify)
    except (InvalidBlock, InvalidCertificate) as error:
        raise InvalidProof("certificate", str(error)) from None
    if not headers or certificate.height != headers[-1].height or certificate.header_hash != headers[-1].hash:
        raise InvalidProof("certificate", "certifies another header", got=certificate.header_hash)
    for header in headers:
        if (header.network, header.epoch) != (configuration.network, configuration.epoch):
            raise InvalidProof("header", "of another network or epoch", height=header.height)
    for parent, child in pairwise(headers):
        if child.parent_hash != parent.hash or child.height != parent.height + 1:
            raise InvalidProof("header", "does not name its predecessor", height=child.height)
        if parent.next_config_hash != configuration.hash:
            raise InvalidProof("header", "ends the epoch before its last header", height=parent.height)
    return headers, certificate


def _verify_receipt(value: Any, header: Header, certified_height: int) -> VerifiedReceipt:
    body = _object(value, ("receipt", "index", "count", "path"))
    data, index = _hex(body["receipt"], "receipt"), _integer(body["index"], "index")
    siblings = tuple(_hex(item, "path", 32) for item in _list(body["path"], "path", _PATH_MAX))
    verify_receipt_path(data, index, ReceiptPath(_integer(body["count"], "count"), siblings), header)
    try:
        receipt = parse_receipt(data)
    except LedgerError as error:
        raise InvalidProof("receipt", str(error)) from None
    return VerifiedReceipt(receipt=receipt, index=index, header=header, certified_height=certified_height)


def _verify_state(value: Any, header: Header, certified_height: int) -> VerifiedState:
    body = _object(value, ("key", "value", "neighbours", "siblings"))
    neighbours: list[tuple[bytes, bytes]] = []
    for item in _list(body["neighbours"], "neighbours", 8):
        key_hash, entry_hash = _list(item, "neighbours", 2, least=2)
        neighbours.append((_hex(key_hash, "neighbours", 32), _hex(entry_hash, "neighbours", 32)))
    proof = StateProof(
        key=_hex(body["key"], "key"),
        value=None if body["value"] is None else _hex(body["value"], "value"),
        neighbours=tuple(neighbours),
        siblings=tuple(_hex(item, "siblings", 96) for item in _list(body["siblings"], "siblings", DEPTH_MAX)),
    )
    verify_state_proof(proof, header.state_root)
    return VerifiedState(key=proof.key, value=proof.value, header=header, certified_height=certified_height)


# --- the JSON document ---


def _parse_document(data: bytes) -> dict[str, Any]:
    if len(data) > PROOF_BYTES_MAX:
        raise InvalidProof("too_long", expected_max=PROOF_BYTES_MAX, got=len(data))
    try:
        return _check_document(json.loads(data.decode("ascii")), data)
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError, so is NaN that is written
        raise InvalidProof("json", f"not JSON: {type(error).__name__}") from None


def _check_document(document: Any, data: bytes) -> dict[str, Any]:
    kind = document.get("kind") if type(document) is dict else None
    if kind not in ("receipt", "state"):
        raise InvalidProof("shape", "kind", expected=("receipt", "state"), got=kind)
    fields = _object(document, ("version", "kind", kind, "epochs", "headers", "certificate", "sha256"))
    if type(fields["version"]) is not int or fields["version"] != 1:
        raise InvalidProof("version", expected=1, got=fields["version"])
    if _canonical_json(document) != data:
        raise InvalidProof("not_canonical", "the same proof has another byte form")
    checksum = fields.pop("sha256")
    if checksum != _checksum(fields):
        raise InvalidProof("checksum", "the file was changed", expected=_checksum(fields), got=checksum)
    return fields


def _object(value: Any, names: Sequence[str]) -> dict[str, Any]:
    if type(value) is not dict or set(value) != set(names):
        raise InvalidProof("shape", "wrong fields", expected=sorted(names))
    return value


def _integer(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value <= RECEIPTS_MAX:
        raise InvalidProof("shape", f"{what}: a whole number is expected", expected_max=RECEIPTS_MAX, got=value)
    return value


def _list(value: Any, what: str, most: int, *, least: int = 0) -> list[Any]:
    if type(value) is not list or not least <= len(value) <= most:
        raise InvalidProof("shape", f"{what}: a list is expected", expected_min=least, expected_max=most)
    return value


def _hex(value: Any, what: str, length: int | None = None) -> bytes:
    try:
        data = bytes.fromhex(value) if type(value) is str else None
    except ValueError:
        data = None
    if data is None or data.hex() != value or (length is not None and len(data) != length):
        raise InvalidProof("shape", f"{what}: lower-case hexadecimal is expected", expected_bytes=length)
    return data
