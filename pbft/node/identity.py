"""The key directory of one replica: made once by `keys new`, read by `run`, and its public card for the others.

    card = create_identity(directory, name="coop-a", passphrase=b"...")     # IdentityError if it already holds keys
    identity = read_identity(directory, passphrase=b"...")                  # IdentityError: missing, readable by others
    check_identity(identity, definition, replica_id)                        # IdentityError naming the key that differs
    card = renew_consensus_key(directory, passphrase=b"...")                # after a lost disk (D37)

consensus.pem, operator.pem, transport.pem and payload.pem are encrypted PKCS#8 (ledger.key_files), written once and
never over another. payload.pem signs nothing: its seed is what the keys of the private payloads lie under (D50).
transport.crt and card.json hold public keys only. Private keys never leave the directory. Where the passphrase lives is
the operator's decision: it arrives as a file (systemd credential, mounted secret) that only its owner reads.
"""

import json
import os
import stat
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Final

from ledger.errors import KeyFileError
from ledger.hashing import PUBLIC_KEY_BYTES
from ledger.key_files import read_key_file, write_key_file
from ledger.keys import SigningKey
from ledger.payload_vault import derive_root_key
from pbft.node.network_config import NetworkDefinition
from pbft.node.tls import TlsIdentity, make_tls_identity

CONSENSUS_FILE: Final = "consensus.pem"
OPERATOR_FILE: Final = "operator.pem"
TRANSPORT_FILE: Final = "transport.pem"
PAYLOAD_FILE: Final = "payload.pem"
CERTIFICATE_FILE: Final = "transport.crt"
CARD_FILE: Final = "card.json"
CARD_BYTES_MAX: Final = 4_096  # a name and three keys take about 300 bytes
PASSPHRASE_BYTES_MAX: Final = 1_024
KEY_NAMES: Final = ("consensus_key", "transport_key", "operator_key")


class IdentityError(Exception):
    """A key directory that cannot be used; the message names the file and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicCard:
    """What a replica's operator sends to the others: names and public keys, nothing secret."""

    name: str
    consensus_key: bytes
    transport_key: bytes
    operator_key: bytes

    def to_json(self) -> str:
        """The card as its file holds it; keys in lower-case hexadecimal, as a network definition takes them."""
        values = {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(self).items()}
        return json.dumps({"version": 1} | values, indent=2) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaIdentity:
    """What a running replica holds in memory; never the operator's private key, since running is no governance."""

    card: PublicCard
    consensus: SigningKey
    transport: TlsIdentity
    payload_root_key: bytes  # 32 bytes: seals the keys of the private payloads' periods (ledger.payload_vault)


def create_identity(directory: Path, *, name: str, passphrase: bytes) -> PublicCard:
    """Makes four fresh keys and writes them with mode 0600; refuses a directory that already holds one.

    The directory is made with mode 0700 where it is missing. The card is written last: it says that all is there.
    """
    keys = {file: SigningKey.generate() for file in (CONSENSUS_FILE, TRANSPORT_FILE, OPERATOR_FILE, PAYLOAD_FILE)}
    card = PublicCard(
        name=name,
        consensus_key=keys[CONSENSUS_FILE].public_key,
        transport_key=keys[TRANSPORT_FILE].public_key,
        operator_key=keys[OPERATOR_FILE].public_key,
    )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        present = [file for file in (*keys, CERTIFICATE_FILE, CARD_FILE) if (directory / file).exists()]
        if present:
            raise IdentityError(f"{directory / present[0]} exists: keys are never overwritten; choose a new directory")
        for file, key in keys.items():
            write_key_file(directory / file, key, passphrase)
        certificate = make_tls_identity(keys[TRANSPORT_FILE].seed, name).certificate_pem
        (directory / CERTIFICATE_FILE).write_bytes(certificate)
        (directory / CARD_FILE).write_text(card.to_json(), encoding="utf-8")
    except KeyFileError as error:
        raise IdentityError(str(error)) from error
    except OSError as error:
        raise IdentityError(f"{error.filename}: {error.strerror}") from error
    return card


def renew_consensus_key(directory: Path, *, passphrase: bytes) -> PublicCard:
    """Puts a fresh consensus key in the place of one that must not sign again, and destroys that (D37); the other keys
    stay. The card is replaced last: where it is of another key than the file beside it, this was interrupted, and is to
    be done again.
    """
    card = read_card(directory / CARD_FILE)
    _read_key(directory / TRANSPORT_FILE, passphrase, card.transport_key)  # the passphrase is the one of this directory
    key = SigningKey.generate()
    renewed = replace(card, consensus_key=key.public_key)
    new_key, new_card = directory / f"{CONSENSUS_FILE}.new", directory / f"{CARD_FILE}.new"
    try:
        new_key.unlink(missing_ok=True)
        write_key_file(new_key, key, passphrase)
        new_card.write_text(renewed.to_json(), encoding="utf-8")
        new_key.replace(directory / CONSENSUS_FILE)
        new_card.replace(directory / CARD_FILE)
    except KeyFileError as error:
        raise IdentityError(str(error)) from error
    except OSError as error:
        raise IdentityError(f"{error.filename}: {error.strerror}") from error
    return renewed


def read_identity(directory: Path, *, passphrase: bytes) -> ReplicaIdentity:
    """The replica's identity; refuses missing or group-readable files and a card that is not of these keys."""
    card = read_card(directory / CARD_FILE)
    consensus = _read_key(directory / CONSENSUS_FILE, passphrase, card.consensus_key)
    transport = _read_key(directory / TRANSPORT_FILE, passphrase, card.transport_key)
    return ReplicaIdentity(
        card=card,
        consensus=consensus,
        transport=make_tls_identity(transport.seed, card.name),
        payload_root_key=derive_root_key(_read_key(directory / PAYLOAD_FILE, passphrase, None).seed),
    )


def read_operator_key(directory: Path, *, passphrase: bytes) -> SigningKey:
    """The operator's key, for governance commands only."""
    card = read_card(directory / CARD_FILE)
    return _read_key(directory / OPERATOR_FILE, passphrase, card.operator_key)


def read_card(path: Path) -> PublicCard:
    """A public card from its JSON file; IdentityError."""
    data = _read_bytes(path, CARD_BYTES_MAX)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise IdentityError(f"{path}: not a public card: no JSON") from None
    expected = {"version", *(field.name for field in fields(PublicCard))}
    if not isinstance(document, dict) or set(document) != expected or document["version"] != 1:
        raise IdentityError(f"{path}: not a public card of version 1: expected the keys {', '.join(sorted(expected))}")
    if not isinstance(document["name"], str):
        raise IdentityError(f"{path}: name: expected text")
    return PublicCard(name=document["name"], **{name: _card_key(path, name, document[name]) for name in KEY_NAMES})


def read_passphrase(path: Path) -> bytes:
    """The first line of a file that only its owner can read; IdentityError."""
    data = read_secret(path, PASSPHRASE_BYTES_MAX)
    passphrase = data.split(b"\n", 1)[0].rstrip(b"\r")
    if not passphrase:
        raise IdentityError(f"{path}: the first line is empty, expected a passphrase")
    return passphrase


def read_secret(path: Path, bytes_max: int) -> bytes:
    """The bytes of a small file that only its owner can read; IdentityError."""
    return _read_bytes(path, bytes_max, secret=True)


def check_identity(identity: ReplicaIdentity, definition: NetworkDefinition, replica_id: int) -> None:
    """IdentityError where one of the keys is not the one that the definition lists for this replica.

    The consensus key may be another: keys are renewed over epochs, and whether one lists it the chain says at start.
    """
    if not 0 <= replica_id < len(definition.replicas):
        raise IdentityError(
            f"{definition.name} has no replica {replica_id}: ids are 0 to {len(definition.replicas) - 1}"
        )
    listed = definition.replica(replica_id)
    for name in KEY_NAMES[1:]:
        own, expected = getattr(identity.card, name), getattr(listed, name)
        if own != expected:
            shown = "no key" if expected is None else expected.hex()
            raise IdentityError(
                f"these are not the keys of replica {replica_id} ({listed.name}) of {definition.name}: "
                f"{name}: the definition lists {shown}, this directory holds {own.hex()}"
            )


def _read_key(path: Path, passphrase: bytes, public_key: bytes | None) -> SigningKey:
    """The key of a file, that of `public_key` unless the card says nothing of it."""
    try:
        key = read_key_file(path, passphrase)
    except KeyFileError as error:
        raise IdentityError(str(error)) from error
    if public_key is not None and key.public_key != public_key:
        raise IdentityError(f"{path}: holds {key.public_key.hex()}, but {CARD_FILE} beside it says {public_key.hex()}")
    return key


def _card_key(path: Path, name: str, value: object) -> bytes:
    try:
        key = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        key = b""
    if len(key) != PUBLIC_KEY_BYTES or key.hex() != value:
        raise IdentityError(f"{path}: {name}: expected {2 * PUBLIC_KEY_BYTES} lower-case hexadecimal digits")
    return key


def _read_bytes(path: Path, bytes_max: int, *, secret: bool = False) -> bytes:
    """The bytes of a small file; a secret one must be closed to everybody but its owner. The opened file is judged."""
    try:
        with path.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            if secret and mode & 0o077:
                raise IdentityError(f"{path}: others can read it (mode {mode:04o}); run: chmod 600 {path}")
            data = opened.read(bytes_max + 1)
    except OSError as error:
        raise IdentityError(f"{path}: {error.strerror}") from error
    if len(data) > bytes_max:
        raise IdentityError(f"{path}: more than {bytes_max} bytes")
    return data
