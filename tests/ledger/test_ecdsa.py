"""ECDSA of signed meter records: golden cases of every curve, RFC 6979, DER strict and lax, real records where present.

The library and the definition are asked the same claims: two implementations with nothing in common but the form.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors.ledger import ecdsa_cases as maker

from ledger import ecdsa, known_ecdsa_answers
from ledger.curves import (
    CURVES,
    Claim,
    Curve,
    encode_der_signature,
    holds_by_definition,
    read_claim,
    read_der_signature,
)
from ledger.errors import InvariantViolation

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "ledger" / "ecdsa.json").read_text(encoding="utf-8")
)
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
P256 = CURVES["secp256r1"]


def judge(curve: Curve, public_key: bytes, message: bytes, signature: bytes) -> tuple[bool, bool]:
    """What the library and what the definition say of a signature as it came."""
    claim = read_claim(curve, public_key, message, signature)
    return (False, False) if claim is None else (ecdsa.claim_holds(claim), holds_by_definition(claim))


@pytest.mark.parametrize("name", CURVES)
def test_golden_cases(name: str) -> None:
    """Honest, tricked and malformed ones: library and definition both give the recorded verdict."""
    cases = [case for case in VECTORS if case["curve"] == name]
    assert len(cases) > 30
    for case in cases:
        key, message, signature = (bytes.fromhex(case[part]) for part in ("public_key", "message", "signature"))
        assert judge(CURVES[name], key, message, signature) == (case["holds"], case["holds"]), case["name"]


@pytest.mark.parametrize("name", CURVES)
def test_the_table_of_curves(name: str) -> None:
    """The base point is on the curve, and n times it is the point at infinity: so n is the order that is meant."""
    curve = CURVES[name]
    assert curve.has(*curve.base)
    x, y = maker.affine(curve, curve.n - 1)
    assert (x, (-y) % curve.p) == curve.base
    assert curve.width == (curve.p.bit_length() + 7) // 8 and curve.n != curve.p


RFC_6979 = {  # appendix A.2: curve -> private key, then (message, r, s) with SHA-256
    "secp192r1": (
        "6FAB034934E4C0FC9AE67F5B5659A9D7D1FEFD187EE09FD4",
        (
            "sample",
            "4B0B8CE98A92866A2820E20AA6B75B56382E0F9BFD5ECB55",
            "CCDB006926EA9565CBADC840829D8C384E06DE1F1E381B85",
        ),
        (
            "test",
            "3A718BD8B4926C3B52EE6BBE67EF79B18CB6EB62B1AD97AE",
            "5662E6848A4A19B1F1AE2F72ACD4B8BBE50F1EAC65D9124F",
        ),
    ),
    "secp256r1": (
        "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721",
        (
            "sample",
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
            "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
        ),
        (
            "test",
            "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
            "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
        ),
    ),
    "secp384r1": (
        "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5",
        (
            "sample",
            "21B13D1E013C7FA1392D03C5F99AF8B30C570C6F98D4EA8E354B63A21D3DAA33BDE1E888E63355D92FA2B3C36D8FB2CD",
            "F3AA443FB107745BF4BD77CB3891674632068A10CA67E3D45DB2266FA7D1FEEBEFDC63ECCD1AC42EC0CB8668A4FA0AB0",
        ),
        (
            "test",
            "6D6DEFAC9AB64DABAFE36C6BF510352A4CC27001263638E5B16D9BB51D451559F918EEDAF2293BE5B475CC8F0188636B",
            "2D46F3BECBCC523D5F1A1256BF0C9B024D879BA9E838144C8BA6BAEB4B53B47D51AB373F9845C0514EEFB14024787265",
        ),
    ),
}


@pytest.mark.parametrize("name", RFC_6979)
def test_rfc_6979(name: str) -> None:
    """The published signatures hold, and the maker of the golden cases makes them."""
    curve = CURVES[name]
    secret_hex, *signed = RFC_6979[name]
    secret = int(str(secret_hex), 16)
    key = maker.key_bytes(curve, maker.affine(curve, secret))
    for message, r, s in signed:
        numbers = int(r, 16), int(s, 16)
        assert maker.sign(curve, secret, message.encode()) == numbers
        assert judge(curve, key, message.encode(), maker.signature_bytes(curve, *numbers)) == (True, True)


@settings(max_examples=60)
@given(st.sampled_from(sorted(CURVES)), st.integers(1, 2**200), st.binary(max_size=40), st.integers(0, 2**16))
def test_library_and_definition_agree(name: str, secret: int, message: bytes, flip: int) -> None:
    """Random keys below the orders: an honest signature holds for both, one with a bit flipped for neither."""
    curve = CURVES[name]
    secret = secret % (curve.n - 1) + 1
    key = maker.key_bytes(curve, maker.affine(curve, secret))
    honest = maker.signature_bytes(curve, *maker.sign(curve, secret, message))
    assert judge(curve, key, message, honest) == (True, True)
    damaged = bytearray(honest)
    damaged[flip // 8 % len(damaged)] ^= 1 << flip % 8
    assert judge(curve, key, message, bytes(damaged)) == (False, False)


# --- DER ---


def test_strict_der_goes_both_ways() -> None:
    """What the encoder writes is read as strict, for short and long numbers, with and without the 00 octet."""
    for curve in CURVES.values():
        for r, s in ((1, 1), (127, 128), (curve.n - 1, 255), (256, curve.n - 1)):
            expected = maker.signature_bytes(curve, r, s)
            assert read_der_signature(curve, encode_der_signature(r, s)) == (expected, True)


R, S = 0x80 << 248 | 5, 0x7F << 240  # the first needs the 00 octet, the second is 31 octets long
LAX = {
    "without the 00 octet": (R.to_bytes(32, "big"), S.to_bytes(31, "big")),
    "of fixed width": (R.to_bytes(32, "big"), S.to_bytes(32, "big")),
    "one octet more than the width": (R.to_bytes(33, "big"), S.to_bytes(33, "big")),
}


@pytest.mark.parametrize("name", LAX)
def test_lax_integers_are_read_as_unsigned(name: str) -> None:
    """eBZ and Walther meters write them; the numbers are the same, and the deviation is told (ENERGY.md 2.3)."""
    assert read_der_signature(P256, der(*LAX[name])) == (maker.signature_bytes(P256, R, S), False)


def der(*integers: bytes) -> bytes:
    body = b"".join(b"\x02" + bytes((len(octets),)) + octets for octets in integers)
    return b"\x30" + bytes((len(body),)) + body


GOOD = encode_der_signature(R, S)
NO_SIGNATURES = {
    "nothing": b"",
    "a tag": b"\x30",
    "an empty sequence": b"\x30\x00",
    "one number": der(b"\x05"),
    "three numbers": der(b"\x05", b"\x05", b"\x05"),
    "a set": b"\x31" + GOOD[1:],
    "octet strings": b"\x30\x06\x04\x01\x05\x04\x01\x05",
    "a number of no octets": der(b"", b"\x05"),
    "a number two octets too wide": der(bytes(33) + b"\x05", b"\x05"),
    "zero": der(b"\x00", b"\x05"),
    "s is zero": der(b"\x05", b"\x00\x00"),
    "r is n": der(P256.n.to_bytes(33, "big"), b"\x05"),
    "s above n": der(b"\x05", b"\xff" * 32),
    "more behind it": GOOD + b"\x00",
    "less than it says": GOOD[:-1],
    "a length in the long form": b"\x30\x81" + GOOD[1:],
    "a length without end": b"\x30\x80" + GOOD[2:] + b"\x00\x00",
    "a number's length in the long form": b"\x30\x07\x02\x81\x01\x05\x02\x01\x05",
    "a number beyond the end": b"\x30\x06\x02\x01\x05\x02\x05\x05",
    "a huge length": b"\x30\xff" + b"\xff" * 255,
}


@pytest.mark.parametrize("name", NO_SIGNATURES)
def test_what_is_no_der_signature(name: str) -> None:
    """Nothing is guessed, nothing is raised."""
    assert read_der_signature(P256, NO_SIGNATURES[name]) == (b"", False)


@settings(max_examples=300)
@given(st.sampled_from(sorted(CURVES)), st.binary(max_size=120), st.binary(max_size=120))
def test_reading_is_total(name: str, key: bytes, signature: bytes) -> None:
    """Any bytes: a verdict. What is read as strict is exactly what the encoder writes."""
    curve = CURVES[name]
    assert read_claim(curve, key, b"", signature) is None
    numbers, is_strict = read_der_signature(curve, signature)
    assert is_strict <= (len(numbers) == 2 * curve.width)


# --- the machine's own faults ---


def test_self_test_passes_here_and_has_both_verdicts_for_each_curve() -> None:
    """The shipped table is what the maker marks as known."""
    ecdsa.self_test()
    table = [(case.curve, case.name, case.holds) for case in known_ecdsa_answers.CASES]
    assert table == [(case.curve, case.name, case.holds) for case in maker.cases() if case.is_known]
    assert {(curve, holds) for curve, _, holds in table} == {
        (curve, holds) for curve in CURVES for holds in (True, False)
    }


@pytest.mark.parametrize("verdict", [True, False])
def test_self_test_refuses_a_library_that_says_always_the_same(verdict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer that differs stops the replica (D62)."""
    monkeypatch.setattr(ecdsa, "claim_holds", lambda claim: verdict)
    with pytest.raises(InvariantViolation, match="self_test"):
        ecdsa.self_test()


def test_a_library_without_the_curve_is_this_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some builds of OpenSSL leave curves out. That must stop the replica, never become a verdict."""

    class Missing(ec.EllipticCurve):
        name, key_size, group_order = "no_such_curve", 256, P256.n

    monkeypatch.setitem(ecdsa._OPENSSL, "secp256r1", Missing())  # type: ignore[abstract]
    claim = Claim(P256, P256.base, bytes(32), 1, 1)
    with pytest.raises(InvariantViolation, match="ecdsa"):
        ecdsa.claim_holds(claim)


# --- real records ---


def test_real_ocmf_records(capsys: pytest.CaptureFixture[str]) -> None:
    """Public records of five makers on four curves: each verdict of the manifest, strict and lax DER told apart."""
    manifest = DATA / "ocmf" / "manifest.json"
    if not manifest.exists():
        with capsys.disabled():
            print(f"[no real records: {DATA} is not on this machine]", end=" ")
        return
    records = json.loads(manifest.read_text(encoding="utf-8"))["records"]
    curves = {"NIST192p": "secp192r1", "NIST256p": "secp256r1", "SECP256k1": "secp256k1"}
    curves["BRAINPOOLP256r1"] = "brainpool256r1"
    for record in records:
        curve = CURVES[curves[record["curve"]]]
        payload, section = record["record"].removeprefix("OCMF|").rsplit("|", 1)
        fields = json.loads(section)
        der_bytes = base64.b64decode(fields["SD"]) if fields.get("SE") == "base64" else bytes.fromhex(fields["SD"])
        signature, is_strict = read_der_signature(curve, der_bytes)
        key = bytes.fromhex(record["public_key_der_hex"])[-1 - 2 * curve.width :]
        verdicts = judge(curve, key, payload.encode(), signature)
        assert verdicts == (record["verifies_unsigned_der"],) * 2, record["pagination"]
        assert (verdicts[0] and is_strict) == record["verifies_strict_der"], record["pagination"]
    with capsys.disabled():
        print(f"[{len(records)} real records]", end=" ")
