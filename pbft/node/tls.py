"""TLS 1.3 for both ports, with Ed25519 certificates and pinned keys; the only place for OpenSSL and X.509.

    identity = make_tls_identity(seed, "coop-a")                  # a replica's own, self-signed, pinned by its key
    client = issue_client_certificate(authority_key, "gateway-7") # a client's, signed by a client authority of the genesis
"""

from dataclasses import dataclass

from ledger.keys import SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsIdentity:
    """A private key with its certificate, as OpenSSL takes them, and the public key that others pin."""

    public_key: bytes  # 32 bytes
    private_key_pem: bytes  # unencrypted PKCS#8, in memory only
    certificate_pem: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCertificate:
    """Who is at the other end of a completed handshake."""

    public_key: bytes
    name: str  # the certificate's common name; shown, never trusted


def make_tls_identity(seed: bytes, name: str) -> TlsIdentity:
    """A self-signed certificate without expiry for the Ed25519 key of a 32-byte seed."""
    ...


def issue_client_certificate(authority: SigningKey, name: str, *, days: int = 3650) -> TlsIdentity:
    """A fresh client key with a certificate signed by a client authority."""
    ...


def write_tls_identity(identity: TlsIdentity) -> bytes:
    """Key and certificate as one PEM text, to be stored with mode 0600."""
    ...


def read_tls_identity(pem: bytes) -> TlsIdentity:
    """The opposite of `write_tls_identity`; ValueError."""
    ...
