"""ECDSA signatures of every curve, honest ones and such as hold or fail by one trick (D62).

RFC 6979 gives the nonces, so each case can be made again; its own vectors (appendix A.2) check the maker, in
`tests/ledger/test_ecdsa.py`. The arithmetic is that of `ledger.curves`, which the tests compare with the library.
"""

import hashlib
import hmac
from collections.abc import Iterator
from typing import NamedTuple

from ledger.curves import CURVES, Curve, _multiply_two

MESSAGE = b"OCMF|gridquorum"


class Case(NamedTuple):
    """Key and signature in the forms of `ledger.curves.read_claim`; `is_known` ones are in the start-up table too."""

    curve: str
    name: str
    public_key: bytes
    message: bytes
    signature: bytes
    holds: bool
    is_known: bool = False


def affine(curve: Curve, of_base: int, of_point: int = 0, point: tuple[int, int] | None = None) -> tuple[int, int]:
    """of_base G + of_point P as coordinates; never used for the point at infinity."""
    x, y, z = _multiply_two(curve, of_base, of_point, point or curve.base)
    inverse = pow(z, -1, curve.p)
    return x * inverse**2 % curve.p, y * inverse**3 % curve.p


def digest_number(curve: Curve, message: bytes) -> int:
    """bits2int of RFC 6979 section 2.3.2: the leftmost bits of SHA-256."""
    return int.from_bytes(hashlib.sha256(message).digest(), "big") >> max(256 - curve.n.bit_length(), 0)


def nonce(curve: Curve, secret: int, message: bytes) -> int:
    """RFC 6979 section 3.2 with SHA-256."""
    width, n = curve.width, curve.n
    seed = secret.to_bytes(width, "big") + (digest_number(curve, message) % n).to_bytes(width, "big")
    key, value = bytes(32), b"\x01" * 32
    for octet in (b"\x00", b"\x01"):
        key = hmac.digest(key, value + octet + seed, "sha256")
        value = hmac.digest(key, value, "sha256")
    while True:
        bits = b""
        while len(bits) < width:
            value = hmac.digest(key, value, "sha256")
            bits += value
        k = int.from_bytes(bits, "big") >> (8 * len(bits) - n.bit_length())
        if 0 < k < n:
            return k
        key = hmac.digest(key, value + b"\x00", "sha256")
        value = hmac.digest(key, value, "sha256")


def sign(curve: Curve, secret: int, message: bytes) -> tuple[int, int]:
    """(r, s) of RFC 6979."""
    k = nonce(curve, secret, message)
    r = affine(curve, k)[0] % curve.n
    return r, pow(k, -1, curve.n) * (digest_number(curve, message) + r * secret) % curve.n


def key_bytes(curve: Curve, point: tuple[int, int]) -> bytes:
    """The uncompressed form."""
    return b"\x04" + b"".join(number.to_bytes(curve.width, "big") for number in point)


def signature_bytes(curve: Curve, r: int, s: int) -> bytes:
    """The bare form."""
    return r.to_bytes(curve.width, "big") + s.to_bytes(curve.width, "big")


def cases() -> Iterator[Case]:
    """Every case of every curve."""
    for name, curve in CURVES.items():
        yield from _honest(name, curve)
        yield from _tricks(name, curve)
        yield from _malformed(name, curve)


def secret_of(curve: Curve) -> int:
    """The private key of a curve's cases."""
    return int.from_bytes(hashlib.sha512(b"gridquorum " + curve.name.encode()).digest(), "big") % curve.n


def _honest(name: str, curve: Curve) -> Iterator[Case]:
    for label, secret in (("honest", secret_of(curve)), ("key is G", 1), ("key is -G", curve.n - 1)):
        key = key_bytes(curve, affine(curve, secret))
        r, s = sign(curve, secret, MESSAGE)
        yield Case(name, label, key, MESSAGE, signature_bytes(curve, r, s), True, label == "honest")
        yield Case(name, f"{label}, n - s", key, MESSAGE, signature_bytes(curve, r, curve.n - s), True)
        yield Case(
            name, f"{label}, another message", key, MESSAGE + b"!", signature_bytes(curve, r, s), False, secret > 1
        )
        yield Case(name, f"{label}, s and r", key, MESSAGE, signature_bytes(curve, s, r), False)


def _tricks(name: str, curve: Curve) -> Iterator[Case]:
    """Keys that are made for a signature, not the other way round."""
    n, e = curve.n, digest_number(curve, MESSAGE)
    # e + r d = 0: the sum of the check is the point at infinity, whatever s is.
    r = s = 7
    key = affine(curve, -e * pow(r, -1, n) % n)
    yield Case(name, "sum at infinity", key_bytes(curve, key), MESSAGE, signature_bytes(curve, r, s), False, True)
    if n < curve.p:  # x of R is n or more: it is compared modulo n
        x, y = _point_from(curve, n)
        r, s = x - n, 5
        inverse = pow(r, -1, n)
        key = affine(curve, -e * inverse % n, s * inverse % n, (x, y))
        yield Case(name, "x of R above n", key_bytes(curve, key), MESSAGE, signature_bytes(curve, r, s), True, True)
        yield Case(
            name, "x of R above n, taken as r", key_bytes(curve, key), MESSAGE, signature_bytes(curve, x, s), False
        )


def _point_from(curve: Curve, least: int) -> tuple[int, int]:
    """The first point with x above `least`; all these p are 3 modulo 4."""
    assert curve.p % 4 == 3
    x = least
    while True:
        x += 1
        right = (x**3 + curve.a * x + curve.b) % curve.p
        y = pow(right, (curve.p + 1) // 4, curve.p)
        if y * y % curve.p == right:
            return x, y


def _malformed(name: str, curve: Curve) -> Iterator[Case]:
    width, n, p = curve.width, curve.n, curve.p
    x, y = affine(curve, secret_of(curve))
    key, (r, s) = key_bytes(curve, (x, y)), sign(curve, secret_of(curve), MESSAGE)
    good = signature_bytes(curve, r, s)
    off = key_bytes(curve, (x, y ^ 1))
    keys = {
        "no key": b"",
        "key off the curve": off,
        "key of zeros": bytes(len(key)),
        "point of zeros": b"\x04" + bytes(2 * width),
        "compressed key": bytes((2 + (y & 1),)) + key[1 : 1 + width],
        "hybrid key": bytes((6 + (y & 1),)) + key[1:],
        "point at infinity": b"\x00",
        "short key": key[:-1],
        "long key": key + b"\x00",
        "key without its head": key[1:],
        "key beyond the field": b"\x04" + b"\xff" * (2 * width),
        "key of all bits": b"\xff" * len(key),
    }
    if (x + p) >> 8 * width == 0:
        keys["x not reduced"] = key_bytes(curve, (x + p, y))
    signatures = {
        "no signature": b"",
        "zeros": bytes(2 * width),
        "r is 0": signature_bytes(curve, 0, s),
        "s is 0": signature_bytes(curve, r, 0),
        "r is n": signature_bytes(curve, n, s),
        "s is n": signature_bytes(curve, r, n),
        "all bits": b"\xff" * (2 * width),
        "short": good[:-1],
        "long": good + b"\x00",
    }
    for number, label in ((r, "r"), (s, "s")):
        if (number + n) >> 8 * width == 0:
            pair = (number + n, s) if label == "r" else (r, number + n)
            signatures[f"{label} + n"] = signature_bytes(curve, *pair)
    yield from (Case(name, label, bad, MESSAGE, good, False) for label, bad in keys.items())
    yield from (Case(name, label, key, MESSAGE, bad, False) for label, bad in signatures.items())
