"""The first frame on every link: which protocol, which network, who speaks. Small, and read with suspicion.

TLS has already shown which key the other end holds; Hello says what it believes to talk to, so that a mistake (another
network, another version, a wrong id) gets a name instead of a silence. The protocol's version is not the release's.
"""

from dataclasses import dataclass

from ledger.hashing import HASH_BYTES
from pbft.wire import gridquorum_pb2 as pb
from pbft.wire.limits import HELLO_BYTES_MAX, RELEASE_CHARACTERS_MAX, WIRE_VERSION, WireError
from pbft.wire.shape import parse_canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who speaks, and to which network."""

    network: bytes  # 32 bytes: the network id
    replica: int | None  # its id; None from a client
    release: str = ""  # for logs only
    version: int = WIRE_VERSION


def encode_hello(hello: Hello) -> bytes:
    """The bytes of a Hello."""
    replica = 0 if hello.replica is None else hello.replica + 1
    written = pb.Hello(version=hello.version, network=hello.network, replica=replica, release=hello.release)
    return written.SerializeToString(deterministic=True)


def decode_hello(data: bytes) -> Hello:
    """A Hello of any version, or WireError(code): whoever reads it decides whether it can go on."""
    if len(data) > HELLO_BYTES_MAX:
        raise WireError("oversized", f"{len(data)} bytes, at most {HELLO_BYTES_MAX}")
    hello = parse_canonical(pb.Hello, data)
    if len(hello.network) != HASH_BYTES:
        raise WireError("length", f"network: expected {HASH_BYTES} bytes, got {len(hello.network)}")
    if len(hello.release) > RELEASE_CHARACTERS_MAX:
        raise WireError("length", f"release: expected at most {RELEASE_CHARACTERS_MAX} characters")
    return Hello(
        version=hello.version,
        network=hello.network,
        replica=hello.replica - 1 if hello.replica else None,
        release=hello.release,
    )
