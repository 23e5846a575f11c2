"""The adversarial Ed25519 signatures of the start-up self-test, each made to hold but for one trick (D8, D62).

`holds` is libsodium's verdict, which is the network's. The names say what a laxer library gets wrong; FIGURES
section 2 lists which libraries do. RFC 8032 vectors check the maker itself.
"""

import hashlib
from collections.abc import Iterator

from vectors.ledger import slow_ed25519 as ed

RFC_8032 = (
    # section 7.1, tests 1 and 2: seed, message, R, S
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
)

Case = tuple[str, bytes, bytes, bytes, bool]
"""(name, public key, message, signature, holds)"""

SEED = hashlib.sha256(b"gridquorum adversarial signatures").digest()
SCALAR = ed.secret_scalar(SEED)
PUBLIC = ed.multiply(SCALAR, ed.BASE)
PUBLIC_KEY = ed.encode_point(PUBLIC)
NONCE = 0x1234567890ABCDEF


def messages() -> Iterator[bytes]:
    """Messages to search through."""
    return (b"gridquorum %d" % number for number in range(10_000))


def signer_cases() -> list[tuple[str, bytes, bytes, bytes]]:
    """(name, seed, message, signature): what every signer gives."""
    return [
        (f"RFC 8032 7.1 test {number}", bytes.fromhex(seed), bytes.fromhex(message), bytes.fromhex(r + s))
        for number, (seed, message, r, s) in enumerate(RFC_8032, start=1)
    ]


def signature_cases() -> list[Case]:
    """Every case of the table."""
    cases: list[Case] = []
    for name, seed, message, signature in signer_cases():
        scalar = ed.secret_scalar(seed)
        cases.append((name, ed.encode_point(ed.multiply(scalar, ed.BASE)), message, signature, True))
    cases += [*_low_order_keys(), *_mixed_order(), *_scalar_cases()]
    return cases


def _low_order_keys() -> Iterator[Case]:
    """The key is a torsion point and h a multiple of 8, so R = r B, S = r satisfies the strictest equation."""
    for index, point in enumerate(ed.torsion_points()):
        yield _low_order_key(f"low-order key {index}", ed.encode_point(point))
    negative_zero = (1 | 1 << 255).to_bytes(32, "little")
    yield _low_order_key("non-canonical key: identity with sign", negative_zero)
    yield _low_order_key("non-canonical key: y = p", ed.P.to_bytes(32, "little"))
    yield _low_order_key("non-canonical key: y = p + 1", (ed.P + 1).to_bytes(32, "little"))
    order_two = (ed.P - 1 | 1 << 255).to_bytes(32, "little")
    yield _low_order_key("non-canonical key: order 2 with sign", order_two)


def _low_order_key(name: str, public_key: bytes) -> Case:
    for message in messages():
        signature = ed.sign_with(0, public_key, NONCE, message)
        if ed.challenge(signature[:32], public_key, message) % 8 == 0:
            return name, public_key, message, signature, False
    raise AssertionError(name)


def _mixed_order() -> Iterator[Case]:
    """A torsion part in the key or in R: the cofactored equation never sees it."""
    torsion = ed.torsion_points()[1]
    mixed = ed.add(PUBLIC, torsion)
    mixed_key = ed.encode_point(mixed)
    seen = set()
    for message in messages():
        signature = ed.sign_with(SCALAR, mixed_key, NONCE, message)
        h = ed.challenge(signature[:32], mixed_key, message)
        verdicts = ed.equations_hold(mixed, ed.multiply(NONCE, ed.BASE), signature, h)
        assert verdicts[1]
        if verdicts not in seen:
            seen.add(verdicts)
            name = "mixed-order key, both equations" if verdicts[0] else "mixed-order key, cofactored equation only"
            yield name, mixed_key, message, signature, verdicts[0]
        if len(seen) == 2:
            break
    r_point = ed.add(ed.multiply(NONCE, ed.BASE), torsion)
    signature = ed.sign_with(SCALAR, PUBLIC_KEY, NONCE, b"mixed R", ed.encode_point(r_point))
    h = ed.challenge(signature[:32], PUBLIC_KEY, b"mixed R")
    assert ed.equations_hold(PUBLIC, r_point, signature, h) == (False, True)
    yield "mixed-order R, cofactored equation only", PUBLIC_KEY, b"mixed R", signature, False
    signature = ed.sign_with(SCALAR, PUBLIC_KEY, 0, b"identity R", ed.encode_point(ed.IDENTITY))
    yield "R is the identity", PUBLIC_KEY, b"identity R", signature, False


def _scalar_cases() -> Iterator[Case]:
    """S + L satisfies the equation as S does: a second signature for the same bytes."""
    good = ed.sign_with(SCALAR, PUBLIC_KEY, NONCE, b"scalar")
    yield "honest", PUBLIC_KEY, b"scalar", good, True
    larger = (int.from_bytes(good[32:], "little") + ed.L).to_bytes(32, "little")
    yield "S + L", PUBLIC_KEY, b"scalar", good[:32] + larger, False
    yield "another message", PUBLIC_KEY, b"scalaR", good, False
    yield "sign of R flipped", PUBLIC_KEY, b"scalar", good[:31] + bytes((good[31] ^ 0x80,)) + good[32:], False
    not_a_point = next(y for y in range(2, 100) if ed.recover_x(y, 0) is None).to_bytes(32, "little")
    yield "key is not a point", not_a_point, b"scalar", good, False
