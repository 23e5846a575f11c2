"""TLS 1.3 for both ports, with Ed25519 certificates and pinned keys; the only place for OpenSSL and X.509.

    identity = make_tls_identity(seed, "coop-a")                  # a replica's own, self-signed, pinned by its key
    client = issue_client_certificate(authority_key, "gateway-7") # signed by a client authority of the genesis
    connections = pinned_connections(identity, {peer_key})        # how Twisted opens TLS, for either role

Its rules (D10): both ends show a certificate; a replica is known by its public key alone, which the genesis pins, so no
authority stands above replicas; a client is known by an authority's signature on its certificate. Chains, names and
host names are never trusted. There is no switch that turns any of it off. Who may say what on a link is `transport`'s.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

from ledger.errors import InvalidSignature
from ledger.keys import SigningKey, verify_signature

NAME_CHARACTERS_MAX: Final = 64  # X.509's own bound of a common name
CLIENT_CERTIFICATE_DAYS: Final = 3650  # a gateway's life in the field
CLOCK_SKEW: Final = timedelta(hours=1)  # a new certificate is valid on a machine whose clock is behind
# A pinned key has no expiry: RFC 5280, 4.1.2.5 writes "no well-defined expiration date" like this.
ALWAYS: Final = (datetime(2020, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
# OpenSSL's verdicts that a pin or an authority's signature replaces: fine, self-signed, unknown issuer (alone or in
# front of a chain). Every other verdict stands: expired, not yet valid, wrong purpose, malformed.
REPLACED_VERDICTS: Final = frozenset({0, 18, 20, 21})
# What reading a certificate may raise that OpenSSL took but `cryptography` does not: malformed, unknown key, version.
UNREADABLE: Final = (ValueError, UnsupportedAlgorithm, x509.InvalidVersion)
# OpenSSL's reasons for a failed handshake -> ours, which are counted; the first that occurs in the error decides.
FAILURE_REASONS: Final = (
    ("peer did not return a certificate", "no_certificate"),
    ("certificate verify failed", "foreign_certificate"),
    ("unsupported protocol", "tls_version"),
    ("no protocols available", "tls_version"),
    ("wrong version number", "plain_tcp"),
    ("http request", "plain_tcp"),
    ("https proxy request", "plain_tcp"),
    ("packet length too long", "plain_tcp"),
    ("alert", "refused_by_peer"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsIdentity:
    """A private key with its certificate, and the public key that others pin."""

    public_key: bytes  # 32 bytes
    private_key_pem: bytes = field(repr=False)  # unencrypted PKCS#8, in memory only
    certificate_pem: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCertificate:
    """Who is at the other end of a completed handshake."""

    public_key: bytes
    name: str  # the certificate's common name; shown, never trusted


def make_tls_identity(seed: bytes, name: str) -> TlsIdentity:
    """A self-signed certificate without expiry for the Ed25519 key of a 32-byte seed; the same for the same input."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    builder = x509.CertificateBuilder().subject_name(_name(name)).issuer_name(_name(name)).serial_number(1)
    return _identity(key, builder.not_valid_before(ALWAYS[0]).not_valid_after(ALWAYS[1]), signer=key)


def issue_client_certificate(
    authority: SigningKey, name: str, *, days: int = CLIENT_CERTIFICATE_DAYS, now: datetime | None = None
) -> TlsIdentity:
    """A fresh client key with a certificate signed by a client authority, valid from now for so many days."""
    start = (now or datetime.now(UTC)) - CLOCK_SKEW
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(f"client authority {authority.public_key.hex()[:16]}"))
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + CLOCK_SKEW + timedelta(days=days))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    return _identity(Ed25519PrivateKey.generate(), builder, signer=Ed25519PrivateKey.from_private_bytes(authority.seed))


def write_tls_identity(identity: TlsIdentity) -> bytes:
    """Key and certificate as one PEM text, to be stored with mode 0600."""
    return identity.private_key_pem + identity.certificate_pem


def read_tls_identity(pem: bytes) -> TlsIdentity:
    """The opposite of `write_tls_identity`; ValueError where the parts are missing or do not belong together."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
        certificate = x509.load_pem_x509_certificate(pem)
    except (*UNREADABLE, TypeError) as error:  # a TypeError: the key is encrypted
        raise ValueError(f"no key with its certificate: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"expected an Ed25519 private key, got {type(key).__name__}")
    public_key = key.public_key().public_bytes_raw()
    if _ed25519_key(certificate) != public_key:
        raise ValueError("the certificate is not of the private key beside it")
    return TlsIdentity(
        public_key=public_key,
        private_key_pem=_private_pem(key),
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
    )


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class TlsConnections:
    """How one port, or one dialler, opens TLS: its own identity, and the judgement of the other end's certificate."""

    def __init__(self, identity: TlsIdentity, is_trusted: Callable[[x509.Certificate], bool]) -> None:
        self._is_trusted = is_trusted
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # a resumed session would not show a certificate again
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        context.use_certificate(x509.load_pem_x509_certificate(identity.certificate_pem))
        key = serialization.load_pem_private_key(identity.private_key_pem, password=None)
        assert isinstance(key, Ed25519PrivateKey)  # TlsIdentity is made only by this module
        context.use_privatekey(key)
        context.check_privatekey()
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        self._context = context

    def clientConnectionForTLS(self, tls_protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802 (Twisted's)
        """A connection of the dialling side (IOpenSSLClientConnectionCreator)."""
        return SSL.Connection(self._context, None)

    def serverConnectionForTLS(self, tls_protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802 (Twisted's)
        """A connection of the accepting side (IOpenSSLServerConnectionCreator)."""
        return SSL.Connection(self._context, None)

    def peer_certificate(self, transport: Any) -> PeerCertificate | None:
        """Who the other end of a completed handshake is, judged once more; None where it is nobody trusted."""
        shown: X509 | None = transport.getPeerCertificate()
        certificate = None if shown is None else self._trusted(shown)
        public_key = None if certificate is None else _ed25519_key(certificate)
        if certificate is None or public_key is None:
            return None
        return PeerCertificate(public_key=public_key, name=_common_name(certificate))

    def _verify(self, _connection: SSL.Connection, shown: X509, verdict: int, depth: int, _accepted: int) -> bool:
        """OpenSSL asks for every certificate and objection: only a trusted leaf with replaceable verdicts passes."""
        return depth == 0 and verdict in REPLACED_VERDICTS and self._trusted(shown) is not None

    def _trusted(self, shown: X509) -> x509.Certificate | None:
        """The certificate that somebody showed, where it is a trusted one. Total: strangers choose these bytes."""
        try:
            certificate = shown.to_cryptography()
            return certificate if self._is_trusted(certificate) else None
        except UNREADABLE:
            return None


def pinned_connections(identity: TlsIdentity, keys: Collection[bytes]) -> TlsConnections:
    """TLS with holders of exactly these public keys: between replicas, and from a client to its replica.

    They may change later, as members do: each handshake asks who is among them then.
    """
    return TlsConnections(identity, lambda certificate: _ed25519_key(certificate) in keys)


def client_port_connections(identity: TlsIdentity, authorities: Collection[bytes]) -> TlsConnections:
    """TLS with clients whose certificate one of these authorities signed."""
    issuers = tuple(authorities)
    return TlsConnections(identity, lambda certificate: any(_is_issued_by(certificate, key) for key in issuers))


def refusal_reason(failure: Failure) -> str | None:
    """Why a TLS handshake failed, as a short stable word to count; None for an error that is not TLS's."""
    error = failure.value
    if not isinstance(error, SSL.Error):
        return None
    entries = error.args[0] if error.args and isinstance(error.args[0], (list, tuple)) else []
    text = " ".join(str(entry[-1]) for entry in entries)
    return next((reason for words, reason in FAILURE_REASONS if words in text), "tls_failed")


def _is_issued_by(certificate: x509.Certificate, authority: bytes) -> bool:
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ED25519:
        return False
    try:
        verify_signature(authority, certificate.tbs_certificate_bytes, certificate.signature)
    except InvalidSignature:
        return False
    return True


def _ed25519_key(certificate: x509.Certificate) -> bytes | None:
    """The certificate's raw key; None for any other algorithm, or a key that cannot be read."""
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return None
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None


def _common_name(certificate: x509.Certificate) -> str:
    try:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return ""
    return str(names[0].value)[:NAME_CHARACTERS_MAX] if names else ""


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:NAME_CHARACTERS_MAX])])


def _identity(key: Ed25519PrivateKey, builder: x509.CertificateBuilder, *, signer: Ed25519PrivateKey) -> TlsIdentity:
    certificate = builder.public_key(key.public_key()).sign(signer, algorithm=None)
    return TlsIdentity(
        public_key=key.public_key().public_bytes_raw(),
        private_key_pem=_private_pem(key),
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
    )


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
