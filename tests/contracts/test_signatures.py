"""Signatures as contracts check them: CHECK, CHARGE, EFFECT, RESULT, by closures and by the walker."""

from collections.abc import Callable
from typing import Any

import pytest

from contracts.compiler import Weave, weave_contract
from contracts.gas import GAS
from contracts.runtime import Runtime
from contracts.testing import Chain
from contracts.walker import walk_contract
from ledger import known_ecdsa_answers
from ledger.curves import CURVES, Claim, encode_der_signature, holds_by_definition
from ledger.encoding import decode
from ledger.execution import CallOutcome

KNOWN = {(case.curve, case.name): case for case in known_ecdsa_answers.CASES}
Run = Callable[..., CallOutcome]


@pytest.fixture(params=[weave_contract, walk_contract], ids=["closures", "walker"])
def run(request: pytest.FixtureRequest, source_of: Callable[..., bytes]) -> Run:
    """Calls a body once; `asked` gathers the claims that reach the arithmetic."""
    weave: Weave = request.param

    def call(body: str, *, gas: int = 1_000_000, asked: list[Claim] | None = None) -> CallOutcome:
        def claim_holds(claim: Claim) -> bool:
            if asked is not None:
                asked.append(claim)
            return holds_by_definition(claim)

        chain = Chain()
        chain.runtime = Runtime(weave=weave, claim_holds=claim_holds)
        return chain.attempt(chain.deploy(source_of(body), name="trial"), "run", sender=bytes(32), gas=gas)

    return call


def result_of(outcome: CallOutcome) -> Any:
    assert (outcome.status, outcome.code) == ("ok", "")
    return decode(outcome.result)


def check(curve: str, name: str = "honest", **changed: bytes) -> str:
    """The expression that checks a known case, with some of its parts changed."""
    case = KNOWN[curve, name]
    parts = {
        "public_key": bytes.fromhex("04" + case.x + case.y),
        "message": bytes.fromhex(case.message),
        "signature": bytes.fromhex(case.r + case.s),
    } | changed
    return f"verify_ecdsa({curve!r}, {', '.join(repr(part) for part in parts.values())})"


@pytest.mark.parametrize("case", known_ecdsa_answers.CASES, ids=lambda case: f"{case.curve} {case.name}")
def test_known_signatures_get_their_verdict(run: Run, case: known_ecdsa_answers.EcdsaCase) -> None:
    """Every curve of OCMF's table, those that hold and those that do not."""
    assert result_of(run(f"return 1 if {check(case.curve, case.name)} else 2")) == (1 if case.holds else 2)


@pytest.mark.parametrize(
    "changed", [{"public_key": b""}, {"public_key": b"\x04" + bytes(64)}, {"signature": bytes(64)}, {"signature": b""}]
)
def test_malformed_ones_never_reach_the_arithmetic(run: Run, changed: dict[str, bytes]) -> None:
    """They do not hold, and cost what a check costs: what is charged does not depend on what is found."""
    asked: list[Claim] = []
    honest = run(f"return 1 if {check('secp256r1')} else 2", asked=asked)
    assert len(asked) == 1
    malformed = run(f"return 1 if {check('secp256r1', **changed)} else 2", asked=asked)
    assert (len(asked), result_of(malformed), malformed.gas_used) == (1, 2, honest.gas_used)


@pytest.mark.parametrize("curve", CURVES)
def test_each_curve_has_its_price(run: Run, curve: str) -> None:
    """The call's nodes are 8 less a constant instead of it; and the message pays for its hash."""
    nothing = run("return 1 if True else 2").gas_used
    nodes = 4  # the curve and three texts; the call itself stands where True stood
    assert run(f"return 1 if {check(curve)} else 2").gas_used - nothing == GAS.ecdsa[curve] + nodes
    long = run(f"return 1 if {check(curve, message=bytes(640))} else 2").gas_used
    assert long - nothing == GAS.ecdsa[curve] + nodes + 640 // GAS.sha256_bytes


def test_gas_is_taken_before_the_work(run: Run) -> None:
    """Who cannot pay gets no arithmetic."""
    asked: list[Claim] = []
    outcome = run(f"return 1 if {check('secp256r1')} else 2", gas=200 + GAS.ecdsa["secp256r1"], asked=asked)
    assert (outcome.status, asked) == ("out_of_gas", [])


REFUSED = {
    "verify_ecdsa('P-256', b'', b'', b'')": "VALUE",
    "verify_ecdsa('SECP256R1', b'', b'', b'')": "VALUE",
    "verify_ecdsa('', b'', b'', b'')": "VALUE",
    "verify_ecdsa(b'secp256r1', b'', b'', b'')": "TYPE",
    "verify_ecdsa([], b'', b'', b'')": "TYPE",
    "verify_ecdsa('secp256r1', '', b'', b'')": "TYPE",
    "verify_ecdsa('secp256r1', b'', [], b'')": "TYPE",
    "verify_ecdsa('secp256r1', b'', b'', None)": "TYPE",
    "read_der_signature('secp256r1', 'text')[1]": "TYPE",
    "read_der_signature(1, b'')[1]": "TYPE",
    "read_der_signature('nistp256', b'')[1]": "VALUE",
}


@pytest.mark.parametrize("expression", REFUSED)
def test_what_has_no_meaning_is_a_fault(run: Run, expression: str) -> None:
    """Wrong types and unknown curves: stable codes, alike in both."""
    outcome = run(f"return 1 if {expression} else 2")
    assert (outcome.status, outcome.code) == ("error", REFUSED[expression])


def test_a_der_signature_becomes_the_form_that_is_checked(run: Run) -> None:
    """Strict DER says so, DER without a sign octet is read and told apart, anything else is empty."""
    case = KNOWN["secp256r1", "honest"]
    strict = encode_der_signature(int(case.r, 16), int(case.s, 16))
    r, s = 0x80 << 248, 5
    lax = b"\x30\x25\x02\x20" + r.to_bytes(32, "big") + b"\x02\x01\x05"
    parts = check("secp256r1").rsplit(", ", 1)[0]
    body = f"signature, is_strict = read_der_signature('secp256r1', {strict!r})\n"
    body += f"return 1 if {parts}, signature) and is_strict else 2"
    assert result_of(run(body)) == 1
    body = f"numbers = read_der_signature('secp256r1', {lax!r})\n"
    body += f"return 1 if numbers == ({(r << 256 | s).to_bytes(64, 'big')!r}, False) else 2"
    assert result_of(run(body)) == 1
    body = "return 1 if read_der_signature('secp384r1', b'0\\x00') == (b'', False) else 2"
    assert result_of(run(body)) == 1
