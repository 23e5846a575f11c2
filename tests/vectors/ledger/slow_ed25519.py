"""Ed25519 by its definition (RFC 8032, sections 5.1 and 6), slow and readable, to make adversarial vectors.

Never used by the product: it shows what the equation says where libraries differ, so that each vector states what it
attacks. Points are affine pairs (x, y).
"""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_ONE = pow(2, (P - 1) // 4, P)

Point = tuple[int, int]
IDENTITY: Point = (0, 1)


def add(a: Point, b: Point) -> Point:
    """The complete addition law."""
    product = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, -1, P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, P)
    return x % P, y % P


def multiply(scalar: int, point: Point) -> Point:
    """Double and add."""
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def encode_point(point: Point) -> bytes:
    """The canonical encoding."""
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def recover_x(y: int, sign: int) -> int | None:
    """The x of a y with this parity, None if y is not on the curve."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * SQRT_MINUS_ONE % P
    if x * x % P != square:
        return None
    return P - x if x and x & 1 != sign else x


BASE: Point = (recover_x(4 * pow(5, -1, P) % P, 0) or 0, 4 * pow(5, -1, P) % P)


def torsion_points() -> list[Point]:
    """The eight points of order dividing 8: multiples of L times a point outside the prime-order group."""
    y = 2
    while True:
        x = recover_x(y, 0)
        if x is not None:
            generator = multiply(L, (x, y))
            points = [multiply(i, generator) for i in range(8)]
            if len(set(points)) == 8:
                return points
        y += 1


def secret_scalar(seed: bytes) -> int:
    """The clamped scalar of a seed."""
    digest = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    return digest & (2**254 - 8) | 2**254


def challenge(r: bytes, public_key: bytes, message: bytes) -> int:
    """h = SHA-512(R, A, M) mod L."""
    return int.from_bytes(hashlib.sha512(r + public_key + message).digest(), "little") % L


def sign_with(scalar: int, public_key: bytes, nonce: int, message: bytes, r: bytes | None = None) -> bytes:
    """(R, S) with R = nonce * B unless other bytes are given for it."""
    r = encode_point(multiply(nonce, BASE)) if r is None else r
    return r + ((nonce + challenge(r, public_key, message) * scalar) % L).to_bytes(32, "little")


def equations_hold(public_point: Point, r_point: Point, signature: bytes, h: int) -> tuple[bool, bool]:
    """Whether S B = R + h A holds (without cofactor, with cofactor 8)."""
    left = multiply(int.from_bytes(signature[32:], "little"), BASE)
    right = add(r_point, multiply(h, public_point))
    return left == right, multiply(8, left) == multiply(8, right)
