"""seam: owned by the ledger room's author. Fields are binding; behaviour to be completed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumCertificate:
    """Header votes of at least Q distinct members over one header hash."""

    epoch: int
    height: int
    header_hash: bytes
    signatures: tuple[tuple[int, bytes], ...]  # (replica id, 64-byte signature), ascending by replica id
