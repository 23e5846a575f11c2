"""The elliptic curves of signed meter records, and ECDSA over them as its definition says (SEC 1, FIPS 186-5).

OCMF 1.4.1 names seven curves, always with SHA-256; EDL40 uses one of them with bare numbers. Replicas that judge one
record differently fork, so nothing about the form of a key or a signature is left to a library: keys are points in
their one full form and on their curve, numbers are in range, and `ledger.ecdsa` is only asked about a `Claim` that has
passed here. `holds_by_definition` is the slow answer to the same question, for the curve that the library lacks, for
interpreters without any library, and to compare the library with.

Both (r, s) and (r, n - s) hold: meters write either, so a record's identity is its payload's digest (ENERGY.md 2.3).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

_INTEGER, _SEQUENCE = 0x02, 0x30


@dataclass(frozen=True, slots=True)
class Curve:
    """y^2 = x^3 + a x + b over the integers modulo p, with a base point of prime order n; the cofactor is 1."""

    name: str
    p: int
    a: int
    b: int
    base: tuple[int, int]
    n: int

    @property
    def width(self) -> int:
        """Octets of a coordinate, and of r and s."""
        return (self.n.bit_length() + 7) // 8

    def has(self, x: int, y: int) -> bool:
        """Whether the point is on the curve. With cofactor 1 every point but the one at infinity has order n."""
        return x < self.p and y < self.p and (y * y - (x * x + self.a) * x - self.b) % self.p == 0


def _curve(name: str, p: str, a: str, b: str, base: str, n: str) -> Curve:
    x, y = base.split()
    return Curve(name, int(p, 16), int(a, 16), int(b, 16), (int(x, 16), int(y, 16)), int(n, 16))


CURVES: Final = {
    curve.name: curve
    for curve in (  # SEC 2, version 2 (secp); RFC 5639 (brainpool); named as OCMF 1.4.1 names them
        _curve(
            "secp192k1",
            "fffffffffffffffffffffffffffffffffffffffeffffee37",
            "0",
            "3",
            "db4ff10ec057e9ae26b07d0280b7f4341da5d1b1eae06c7d 9b2f2f6d9c5628a7844163d015be86344082aa88d95e2f9d",
            "fffffffffffffffffffffffe26f2fc170f69466a74defd8d",
        ),
        _curve(
            "secp192r1",
            "fffffffffffffffffffffffffffffffeffffffffffffffff",
            "fffffffffffffffffffffffffffffffefffffffffffffffc",
            "64210519e59c80e70fa7e9ab72243049feb8deecc146b9b1",
            "188da80eb03090f67cbf20eb43a18800f4ff0afd82ff1012 07192b95ffc8da78631011ed6b24cdd573f977a11e794811",
            "ffffffffffffffffffffffff99def836146bc9b1b4d22831",
        ),
        _curve(
            "secp256k1",
            "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f",
            "0",
            "7",
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798 "
            "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
            "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        ),
        _curve(
            "secp256r1",
            "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
            "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc",
            "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
            "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296 "
            "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
            "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        ),
        _curve(
            "secp384r1",
            "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
            "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000fffffffc",
            "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
            "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7 "
            "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        ),
        _curve(
            "brainpool256r1",
            "a9fb57dba1eea9bc3e660a909d838d726e3bf623d52620282013481d1f6e5377",
            "7d5a0975fc2c3057eef67530417affe7fb8055c126dc5c6ce94a4b44f330b5d9",
            "26dc5c6ce94a4b44f330b5d9bbd77cbf958416295cf7e1ce6bccdc18ff8c07b6",
            "8bd2aeb9cb7e57cb2c4b482ffc81b7afb9de27e1e3bd23c23a4453bd9ace3262 "
            "547ef835c3dac4fd97f8461a14611dc9c27745132ded8e545c1d54c72f046997",
            "a9fb57dba1eea9bc3e660a909d838d718c397aa3b561a6f7901e0e82974856a7",
        ),
        _curve(
            "brainpool384r1",
            "8cb91e82a3386d280f5d6f7e50e641df152f7109ed5456b412b1da197fb71123acd3a729901d1a71874700133107ec53",
            "7bc382c63d8c150c3c72080ace05afa0c2bea28e4fb22787139165efba91f90f8aa5814a503ad4eb04a8c7dd22ce2826",
            "4a8c7dd22ce28268b39b55416f0447c2fb77de107dcd2a62e880ea53eeb62d57cb4390295dbc9943ab78696fa504c11",
            "1d1c64f068cf45ffa2a63a81b7c13f6b8847a3e77ef14fe3db7fcafe0cbd10e8e826e03436d646aaef87b2e247d4af1e "
            "8abe1d7520f9c2a45cb1eb8e95cfd55262b70b29feec5864e19c054ff99129280e4646217791811142820341263c5315",
            "8cb91e82a3386d280f5d6f7e50e641df152f7109ed5456b31f166e6cac0425a7cf3ab6af6b7fc3103b883202e9046565",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Claim:
    """`key` on `curve` signed the message with this SHA-256 digest: everything in range, and perhaps untrue."""

    curve: Curve
    key: tuple[int, int]
    digest: bytes
    r: int
    s: int


ClaimHolds: TypeAlias = Callable[[Claim], bool]
"""Whether a claim is true."""


def read_claim(curve: Curve, public_key: bytes, message: bytes, signature: bytes) -> Claim | None:
    """The claim, or None where key or signature are malformed. Total.

    public_key -- 0x04, x, y (SEC 1 section 2.3.4, the uncompressed form alone), both of the curve's width
    signature -- r, s as big-endian numbers of the curve's width, each in [1, n - 1]
    """
    width = curve.width
    if len(public_key) != 1 + 2 * width or public_key[0] != 4 or len(signature) != 2 * width:
        return None
    x, y = int.from_bytes(public_key[1 : 1 + width], "big"), int.from_bytes(public_key[1 + width :], "big")
    r, s = int.from_bytes(signature[:width], "big"), int.from_bytes(signature[width:], "big")
    if not curve.has(x, y) or not _in_range(curve, r, s):
        return None
    return Claim(curve, (x, y), hashlib.sha256(message).digest(), r, s)


def read_der_signature(curve: Curve, data: bytes) -> tuple[bytes, bool]:
    """r and s of a DER signature in the form that `read_claim` takes, and whether `data` is the one strict encoding.

    Meters exist that write INTEGERs without their leading 00 octet, or with too many; their signatures are good
    (ENERGY.md 2.3). So each INTEGER is read as unsigned, of at most one octet more than the curve's width. What is
    anything else than two such INTEGERs in a SEQUENCE, or out of range, gives (b"", False). Total.
    """
    width = curve.width
    if len(data) < 2 or data[0] != _SEQUENCE or data[1] >= 0x80 or data[1] != len(data) - 2:
        return b"", False  # two numbers of 49 octets fit the short form of a length
    numbers, rest = [], data[2:]
    for _ in range(2):
        if len(rest) < 3 or rest[0] != _INTEGER or not 1 <= rest[1] <= min(width + 1, len(rest) - 2):
            return b"", False
        numbers.append(int.from_bytes(rest[2 : 2 + rest[1]], "big"))
        rest = rest[2 + rest[1] :]
    r, s = numbers
    if rest or not _in_range(curve, r, s):
        return b"", False
    return r.to_bytes(width, "big") + s.to_bytes(width, "big"), data == encode_der_signature(r, s)


def encode_der_signature(r: int, s: int) -> bytes:
    """The strict DER of two numbers of at most 48 octets."""
    parts = b""
    for number in (r, s):
        octets = number.to_bytes(number.bit_length() // 8 + 1, "big")  # a positive INTEGER never starts with a set bit
        parts += bytes((_INTEGER, len(octets))) + octets
    return bytes((_SEQUENCE, len(parts))) + parts


def _in_range(curve: Curve, r: int, s: int) -> bool:
    return 0 < r < curve.n and 0 < s < curve.n


# --- the definition ---

_Point: TypeAlias = tuple[int, int, int]
"""Jacobian coordinates: (x / z^2, y / z^3); z = 0 is the point at infinity."""
_INFINITY: Final[_Point] = (1, 1, 0)


def holds_by_definition(claim: Claim) -> bool:
    """SEC 1 section 4.1.4, in plain arithmetic: x of (e/s) G + (r/s) Q is r modulo n."""
    curve, n = claim.curve, claim.curve.n
    e = int.from_bytes(claim.digest, "big") >> max(8 * len(claim.digest) - n.bit_length(), 0)
    inverse = pow(claim.s, -1, n)
    x, _, z = _multiply_two(curve, e * inverse % n, claim.r * inverse % n, claim.key)
    if z == 0:
        return False
    return x * pow(z * z, -1, curve.p) % curve.p % n == claim.r


def _multiply_two(curve: Curve, of_base: int, of_key: int, key: tuple[int, int]) -> _Point:
    """`of_base` times the base point plus `of_key` times the key, bit by bit of both at once."""
    base_point, key_point = (*curve.base, 1), (*key, 1)
    steps = {(1, 0): base_point, (0, 1): key_point, (1, 1): _add(curve, base_point, key_point)}
    total = _INFINITY
    for place in reversed(range(curve.n.bit_length())):
        total = _double(curve, total)
        step = steps.get((of_base >> place & 1, of_key >> place & 1))
        if step is not None:
            total = _add(curve, total, step)
    return total


def _double(curve: Curve, point: _Point) -> _Point:
    x, y, z = point
    p = curve.p
    if z == 0:
        return _INFINITY
    y_squared = y * y % p
    s = 4 * x * y_squared % p
    m = (3 * x * x + curve.a * pow(z, 4, p)) % p
    new_x = (m * m - 2 * s) % p
    return new_x, (m * (s - new_x) - 8 * y_squared * y_squared) % p, 2 * y * z % p


def _add(curve: Curve, first: _Point, second: _Point) -> _Point:
    (x1, y1, z1), (x2, y2, z2), p = first, second, curve.p
    if z1 == 0:
        return second
    if z2 == 0:
        return first
    u1, u2 = x1 * z2 * z2 % p, x2 * z1 * z1 % p
    s1, s2 = y1 * z2 * z2 * z2 % p, y2 * z1 * z1 * z1 % p
    h, r = (u2 - u1) % p, (s2 - s1) % p
    if h == 0:
        return _double(curve, first) if r == 0 else _INFINITY
    h_squared = h * h % p
    h_cubed, v = h * h_squared % p, u1 * h_squared % p
    x = (r * r - h_cubed - 2 * v) % p
    return x, (r * (v - x) - s1 * h_cubed) % p, h * z1 * z2 % p
