"""Proof files: they need nothing but themselves and the genesis file, and every byte of both matters."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors.ledger import sample_chain as sample

from ledger.admission import EXPIRED, parse_nonce_window
from ledger.block import Header, parse_header
from ledger.chain import Chain
from ledger.errors import InvalidProof, ProofNotReady
from ledger.proofs import VerifiedReceipt, VerifiedState, verify_proof

VECTORS = Path(__file__).parents[1] / "vectors" / "ledger"
GENESIS = (VECTORS / "genesis.json").read_bytes()
PROOFS = {path.name: path.read_bytes() for path in sorted(VECTORS.glob("*.proof.json"))}


def certified_chain() -> Chain:
    """Four blocks of which the third is certified."""
    chain = sample.new_chain()
    sample.execute(chain, sample.transaction(0), sample.transaction(1), sample.transaction(2, expiry_height=0))
    sample.execute(chain, sample.transaction(3))
    sample.execute(chain, time_ms=None)
    chain.store_certificate(sample.certify(chain.head))
    return chain


def test_golden_proofs() -> None:
    """The checked-in files verify and say what they should."""
    verified = {name: verify_proof(data, GENESIS) for name, data in PROOFS.items()}
    receipt = verified["receipt.proof.json"]
    assert isinstance(receipt, VerifiedReceipt)
    assert (receipt.receipt.status, receipt.header.height, receipt.certified_height) == ("ok", 1, 3)
    assert receipt.receipt.tx_id == sample.transaction(0).tx_id
    refusal = verified["refusal.proof.json"]
    assert isinstance(refusal, VerifiedReceipt)
    assert (refusal.receipt.status, refusal.receipt.code) == ("refused", EXPIRED)
    state = verified["state.proof.json"]
    assert isinstance(state, VerifiedState)
    assert (state.key, state.value) == (b"c/notes/founded/007", b"\x07")
    absence = verified["absence.proof.json"]
    assert isinstance(absence, VerifiedState)
    assert (absence.key, absence.value) == (b"n/" + bytes(32), None)


@pytest.mark.parametrize("name", PROOFS)
def test_every_changed_byte_of_a_proof_is_refused(name: str) -> None:
    """Each byte replaced by its neighbour, by another digit and by a flipped bit: never accepted."""
    proof = PROOFS[name]
    for index in range(len(proof)):
        for mask in (1, 2, 0x20, 0x80):
            changed = bytearray(proof)
            changed[index] ^= mask
            with pytest.raises(InvalidProof):
                verify_proof(bytes(changed), GENESIS)


@given(st.sampled_from(sorted(PROOFS)), st.data())
def test_inserted_removed_and_cut_bytes_are_refused(name: str, data: st.DataObject) -> None:
    """A byte more or less anywhere, a truncation at any place, anything appended."""
    proof = PROOFS[name]
    index = data.draw(st.integers(0, len(proof) - 1))
    byte = data.draw(st.binary(min_size=1, max_size=2))
    for changed in (
        proof[:index] + byte + proof[index:],
        proof[:index] + proof[index + 1 :],
        proof[:index],
        proof + byte,
    ):
        if changed != proof:
            with pytest.raises(InvalidProof):
                verify_proof(changed, GENESIS)


def test_every_changed_byte_of_the_genesis_is_refused() -> None:
    """The network id is the hash of the file's bytes."""
    proof = PROOFS["receipt.proof.json"]
    changed = [GENESIS[:-1], GENESIS + b"\n", b"", GENESIS + b" "]
    changed += [
        GENESIS[:i] + bytes((GENESIS[i] ^ mask,)) + GENESIS[i + 1 :] for i in range(len(GENESIS)) for mask in (1, 32)
    ]
    for genesis in changed:
        with pytest.raises(InvalidProof):
            verify_proof(proof, genesis)
    with pytest.raises(InvalidProof, match="certificate"):
        verify_proof(proof, sample.genesis_bytes(name="another"))


@given(st.binary(max_size=300))
def test_verification_is_total(data: bytes) -> None:
    """Any bytes are refused with InvalidProof, whichever of the two files they stand for."""
    with pytest.raises(InvalidProof):
        verify_proof(data, GENESIS)
    with pytest.raises(InvalidProof):
        verify_proof(PROOFS["receipt.proof.json"], data)


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b"[1" * 50_000, b"1" * 10_000, b'{"kind":NaN}', b"null", b"\xff", b"1e999"]
)
def test_hostile_json_is_refused(data: bytes) -> None:
    """Deep nesting, giant numbers, non-JSON numbers and non-ASCII never escape as another error."""
    with pytest.raises(InvalidProof):
        verify_proof(data, GENESIS)
    with pytest.raises(InvalidProof):
        verify_proof(PROOFS["receipt.proof.json"], data)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "1.5"])
def test_numbers_that_json_does_not_have_are_refused(value: str) -> None:
    """Python reads NaN where JSON has none, and cannot write it again."""
    with pytest.raises(InvalidProof):
        verify_proof(shaped(value), GENESIS)


def test_nesting_up_to_the_stack_is_refused() -> None:
    """What the JSON parser just so takes must not overflow the encoder that writes it again."""
    for depth in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit() + 10):
        with pytest.raises(InvalidProof):
            verify_proof(shaped("[" * depth + "]" * depth), GENESIS)


def shaped(receipt: str) -> bytes:
    """A document of the right fields around any JSON."""
    return b'{"certificate":"","headers":[],"kind":"receipt","receipt":%s,"sha256":"","version":1}\n' % receipt.encode()


def rewritten(name: str, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A proof changed on purpose, with its checksum made right again: what a forger would send."""
    document = json.loads(PROOFS[name])
    del document["sha256"]
    change(document)

    def canonical(value: object) -> bytes:
        return (json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n").encode()

    document["sha256"] = hashlib.sha256(canonical(document)).hexdigest()
    return canonical(document)


def forge_certificate(document: dict[str, Any], signers: tuple[int, ...]) -> None:
    """Replaces the certificate by one with these signers."""
    header = sample_header(document)
    document["certificate"] = sample.certify(header, signers=signers).to_bytes().hex()


def sample_header(document: dict[str, Any]) -> Header:
    """The last header of a proof."""

    return parse_header(bytes.fromhex(document["headers"][-1]))


FORGERIES: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "nothing, as a check of the forger": ("receipt.proof.json", lambda document: None),
    "two signers": ("receipt.proof.json", lambda document: forge_certificate(document, (0, 1))),
    "a signer twice": ("receipt.proof.json", lambda document: forge_certificate(document, (0, 1, 1))),
    "signers out of order": ("receipt.proof.json", lambda document: forge_certificate(document, (2, 1, 0))),
    "a stranger signs": ("receipt.proof.json", lambda document: forge_certificate(document, (0, 1, 4))),
    "the first header is gone": ("receipt.proof.json", lambda document: document["headers"].pop(0)),
    "a header in between is gone": ("receipt.proof.json", lambda document: document["headers"].pop(1)),
    "the certified header is gone": ("receipt.proof.json", lambda document: document["headers"].pop()),
    "no headers": ("receipt.proof.json", lambda document: document.update(headers=[])),
    "headers without end": ("receipt.proof.json", lambda document: document.update(headers=document["headers"] * 400)),
    "a header of nonsense": ("receipt.proof.json", lambda document: document.update(headers=["00"])),
    "a certificate of nonsense": ("receipt.proof.json", lambda document: document.update(certificate="00")),
    "another receipt": ("receipt.proof.json", lambda document: document["receipt"].update(receipt="90")),
    "a path without end": (
        "receipt.proof.json",
        lambda document: document["receipt"].update(path=["00" * 32] * 33),
    ),
    "another index": ("receipt.proof.json", lambda document: document["receipt"].update(index=1)),
    "a smaller block": ("receipt.proof.json", lambda document: document["receipt"].update(index=0, count=1)),
    "another value": ("state.proof.json", lambda document: document["state"].update(value="08")),
    "absent": ("state.proof.json", lambda document: document["state"].update(value=None)),
    "present": ("absence.proof.json", lambda document: document["state"].update(value="00")),
    "another kind": ("state.proof.json", lambda document: document.update(kind="receipt")),
    "a field too many": ("state.proof.json", lambda document: document.update(more=1)),
    "another version": ("state.proof.json", lambda document: document.update(version=2)),
    "a version that is only equal": ("state.proof.json", lambda document: document.update(version=True)),
    "upper-case hexadecimal": (
        "state.proof.json",
        lambda document: document["state"].update(key=document["state"]["key"].upper()),
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forgeries_are_refused(forgery: str) -> None:
    """What a forger can do with a right checksum is caught by the hashes and signatures."""
    name, change = FORGERIES[forgery]
    forged = rewritten(name, change)
    if forgery.startswith("nothing"):
        assert forged == PROOFS[name]
    else:
        with pytest.raises(InvalidProof):
            verify_proof(forged, GENESIS)


def test_proofs_from_a_chain() -> None:
    """M52, D5: every receipt of an executed height proves up to the certificate above it; so do state and absence."""
    chain = certified_chain()
    for nonce, height in ((0, 1), (1, 1), (3, 2)):
        tx_id = sample.transaction(nonce).tx_id
        verified = verify_proof(chain.receipt_proof(tx_id), GENESIS)
        assert isinstance(verified, VerifiedReceipt)
        assert (verified.receipt.tx_id, verified.header, verified.certified_height) == (tx_id, chain.header(height), 3)
    window = verify_proof(chain.state_proof(b"n/" + sample.CLIENT.public_key), GENESIS)
    assert isinstance(window, VerifiedState)
    assert window.value is not None
    assert not parse_nonce_window(window.value).is_used(2), "this ends the unknown outcome of nonce 2"


def test_a_proof_waits_for_a_certificate() -> None:
    """Until a height is certified there is a draft, which stays right while the chain goes on."""
    chain = certified_chain()
    sample.execute(chain, sample.transaction(4, arguments=("newer",)))
    key = b"c/notes/" + sample.CLIENT.public_key[:4].hex().encode()
    with pytest.raises(ProofNotReady):
        chain.receipt_proof(sample.transaction(4, arguments=("newer",)).tx_id)
    with pytest.raises(ProofNotReady):
        chain.state_proof(key)
    draft = chain.draft_state_proof(key)
    with sample.open_state(chain) as state:
        value = state.get(key)
    sample.execute(chain, sample.transaction(5, method="drop"))
    chain.store_certificate(sample.certify(chain.head))
    verified = verify_proof(chain.complete_state_proof(draft), GENESIS)
    assert isinstance(verified, VerifiedState)
    assert (verified.value, verified.header.height, verified.certified_height) == (value, 4, 5)
    absent = verify_proof(chain.state_proof(key), GENESIS)
    assert isinstance(absent, VerifiedState)
    assert absent.value is None


def test_an_unknown_transaction_has_no_proof() -> None:
    """Nothing is proved about what has no receipt."""
    with pytest.raises(InvalidProof, match="unknown"):
        certified_chain().receipt_proof(bytes(32))


def test_the_verifier_needs_no_store() -> None:
    """A process that verifies loads neither LMDB nor the key files' library nor Twisted."""
    program = (
        "import sys; from pathlib import Path; from ledger.proofs import verify_proof\n"
        "verify_proof(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_bytes())\n"
        "print(sorted({'lmdb', 'Crypto', 'twisted', 'ledger.store', 'ledger.chain'} & set(sys.modules)))\n"
    )
    files = [str(VECTORS / "receipt.proof.json"), str(VECTORS / "genesis.json")]
    ran = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
