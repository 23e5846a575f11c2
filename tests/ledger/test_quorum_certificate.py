"""Quorum sizes for every n, and certificates that hold or do not."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors.ledger import sample_chain as sample

from ledger.encoding import encode
from ledger.errors import InvalidCertificate
from ledger.genesis import parse_genesis
from ledger.quorum_certificate import (
    faults_tolerated,
    parse_certificate,
    quorum_size,
    verify_certificate,
    vote_bytes,
    weak_quorum_size,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ledger" / "chain.json").read_text())
HEADER = sample.new_chain().head
CONFIGURATION = sample.GENESIS.configuration
CERTIFICATE = sample.certify(HEADER)


def test_quorums_as_stated() -> None:
    """M1's table."""
    stated = {4: 3, 5: 4, 6: 4, 7: 5, 8: 6, 9: 6, 10: 7, 11: 8, 12: 8, 13: 9, 14: 10, 15: 10, 16: 11}
    assert {n: quorum_size(n) for n in stated} == stated


@given(st.integers(4, 1000))
def test_quorums_intersect_and_are_reachable(n: int) -> None:
    """Two quorums share a correct replica, the correct ones alone are a quorum, a weak quorum has a correct one."""
    f, q, w = faults_tolerated(n), quorum_size(n), weak_quorum_size(n)
    assert 3 * f < n <= 3 * (f + 1)
    assert 2 * q - n >= f + 1
    assert q <= n - f
    assert w == f + 1
    assert q - f >= w


def test_golden_certificate() -> None:
    """The checked-in certificate parses, is over the golden vote bytes, and holds."""
    certificate = parse_certificate(bytes.fromhex(VECTORS["certificate"]))
    verify_certificate(certificate, CONFIGURATION)
    vote = vote_bytes(sample.GENESIS.network_id, certificate.epoch, certificate.height, certificate.header_hash)
    assert vote.hex() == VECTORS["vote"]
    assert certificate.to_bytes().hex() == VECTORS["certificate"]
    assert VECTORS["configuration_hash"] == CONFIGURATION.hash.hex()


def test_any_quorum_holds_and_anything_less_does_not() -> None:
    """Every set of members of four: three or four signers hold, fewer do not."""
    for size in range(5):
        for signers in combinations(range(4), size):
            certificate = sample.certify(HEADER, signers=signers)
            if size >= 3:
                verify_certificate(certificate, CONFIGURATION)
            else:
                with pytest.raises(InvalidCertificate, match="quorum"):
                    verify_certificate(certificate, CONFIGURATION)


def _swap(signers: tuple[int, ...]) -> list[tuple[int, bytes]]:
    return [(signer, sample.certify(HEADER, signers=(signer,)).signatures[0][1]) for signer in signers]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"epoch": 1}, "epoch"),
        ({"height": 1}, "signature"),
        ({"header_hash": bytes(32)}, "signature"),
        ({"signatures": tuple(_swap((0, 1, 1)))}, "order"),
        ({"signatures": tuple(_swap((2, 1, 0)))}, "order"),
        ({"signatures": tuple(_swap((0, 1, 4)))}, "signer"),
        ({"signatures": tuple(_swap((-1, 0, 1)))}, "signer"),
        ({"signatures": (*_swap((0, 1)), (2, bytes(64)))}, "signature"),
        ({"signatures": (*_swap((0, 1, 2)), (3, bytes(64)))}, "signature"),
        ({"signatures": (*_swap((0, 1)), (2, _swap((3,))[0][1]))}, "signature"),
    ],
)
def test_what_does_not_hold(changes: dict, code: str) -> None:
    """Another epoch, height or header; strangers; a member twice; one bad signature among good ones."""
    with pytest.raises(InvalidCertificate) as caught:
        verify_certificate(replace(CERTIFICATE, **changes), CONFIGURATION)
    assert caught.value.code == code


def test_another_networks_certificate_does_not_hold() -> None:
    """The same members in another network sign other bytes (D33)."""
    other = parse_genesis(sample.genesis_bytes(name="another"))
    with pytest.raises(InvalidCertificate, match="signature"):
        verify_certificate(sample.certify(HEADER, other), CONFIGURATION)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        encode([2, 0, 0, bytes(32), []]),
        encode([1, -1, 0, bytes(32), []]),
        encode([1, 0, 2**63, bytes(32), []]),
        encode([1, 0, 0, bytes(31), []]),
        encode([1, 0, 0, bytes(32), [[0, bytes(63)]]]),
        encode([1, 0, 0, bytes(32), [[-1, bytes(64)]]]),
        encode([1, 0, 0, bytes(32), [[0]]]),
        encode([1, 0, 0, bytes(32), {}]),
        encode([1, 0, 0, bytes(32), [], None]),
        encode([1, 0, 0, bytes(32), [[0, bytes(64)]] * 200]),
    ],
)
def test_malformed_certificates_are_refused(data: bytes) -> None:
    """Each field has its check, and the whole a limit."""
    with pytest.raises(InvalidCertificate, match="malformed"):
        parse_certificate(data)


@given(st.binary(max_size=300))
def test_parsing_is_total(data: bytes) -> None:
    """Random bytes are refused with InvalidCertificate alone."""
    with pytest.raises(InvalidCertificate):
        parse_certificate(data)
