"""Makes the golden vectors of the ledger room and the table of its start-up self-test.

Run ``cd tests && ../.venv/bin/python -m vectors.ledger.make_vectors`` after a deliberate change of format; a test
compares what this makes with what is checked in. Where an independent source exists, the maker uses it: RFC 8032
vectors check the slow Ed25519 of the signature cases; msgspec is the tests' oracle for encodings. Everything else pins
our own formats, so that a change shows.
"""

import json
from pathlib import Path

from vectors.ledger import ecdsa_cases
from vectors.ledger import sample_chain as sample
from vectors.ledger.signature_cases import signature_cases, signer_cases

from ledger import merkle
from ledger.block import compute_batch_digest
from ledger.encoding import encode
from ledger.execution import contract_address, scheduled_call_id
from ledger.hashing import Tag, tagged_hash
from ledger.payload import PayloadPart, encode_payload
from ledger.quorum_certificate import vote_bytes
from ledger.state_trie import Entry, compute_subtree, hash_entry, hash_key

HERE = Path(__file__).parent
KNOWN_ANSWERS = HERE.parents[2] / "ledger" / "known_answers.py"
KNOWN_ECDSA_ANSWERS = KNOWN_ANSWERS.with_name("known_ecdsa_answers.py")

ENCODED_VALUES: list[tuple[str, object]] = [
    ("nil", None),
    ("false", False),
    ("true", True),
    ("greatest one-byte integer", 127),
    ("least uint8", 128),
    ("least uint16", 256),
    ("least uint32", 65_536),
    ("least uint64", 2**32),
    ("greatest uint64", 2**64 - 1),
    ("least big integer", 2**64),
    ("fixext16 integer", 2**120),
    ("greatest integer", 2**255 - 1),
    ("least one-byte negative", -32),
    ("greatest int8", -33),
    ("greatest int16", -129),
    ("greatest int32", -32_769),
    ("greatest int64", -(2**31) - 1),
    ("least int64", -(2**63)),
    ("greatest negative big integer", -(2**63) - 1),
    ("least integer", -(2**255)),
    ("empty string", ""),
    ("longest fixstr", "x" * 31),
    ("str8", "Zähler " * 5),
    ("empty bytes", b""),
    ("bin8", bytes(range(40))),
    ("empty array", []),
    ("array", [1, [True, None], b"\x00"]),
    ("array16", list(range(16))),
    ("empty map", {}),
    ("str keys by code point", {"z": 1, "a": 2, "ä": 3, "\U0001f50c": 4, "aa": 5}),
    ("int keys", {-1: "below", 0: "zero", 300: "above"}),
    ("bytes keys", {b"\xff": 1, b"": 2, b"a": 3}),
]

REFUSED_BYTES: list[tuple[str, str, str]] = [
    # (name, hexadecimal, code)
    ("nothing", "", "truncated"),
    ("trailing byte", "c000", "trailing_bytes"),
    ("uint8 below 128", "cc7f", "not_shortest"),
    ("uint16 below 256", "cd00ff", "not_shortest"),
    ("uint32 below 65536", "ce0000ffff", "not_shortest"),
    ("uint64 below 2^32", "cf00000000ffffffff", "not_shortest"),
    ("int8 for a small negative", "d0e0", "not_shortest"),
    ("int8 for a positive", "d001", "not_shortest"),
    ("int64 for a positive", "d30000000100000000", "not_shortest"),
    ("float32", "ca00000000", "form"),
    ("float64", "cb0000000000000000", "form"),
    ("unused byte", "c1", "form"),
    ("timestamp", "d6ff00000000", "form"),
    ("extension of another type", "c70902010000000000000000", "extension"),
    ("big integer that fits 64 bits", "c70901" + "00" + "ff" * 8, "not_shortest"),
    ("big integer with a needless sign byte", "c70a01" + "0001" + "00" * 8, "not_shortest"),
    ("big integer as ext8 of 16 bytes", "c71001" + "01" + "00" * 15, "not_shortest"),
    ("33-byte big integer", "c72101" + "01" + "00" * 32, "integer_range"),
    ("str8 for a short string", "d90161", "not_shortest"),
    ("surrogate", "a3eda080", "utf8"),
    ("overlong UTF-8", "a2c0af", "utf8"),
    ("cut string", "a26f", "truncated"),
    ("bin16 for short bytes", "c5000100", "not_shortest"),
    ("cut bytes", "c40200", "truncated"),
    ("array16 for a short array", "dc000100", "not_shortest"),
    ("cut array", "9200", "truncated"),
    ("huge array", "ddffffffff", "truncated"),
    ("map out of order", "82a16201a16102", "key_order"),
    ("map with a key twice", "82a16101a16102", "key_order"),
    ("map with two kinds of key", "820001a16102", "key_type"),
    ("map with a boolean key", "81c301", "key_type"),
    ("map with an array key", "819001", "key_type"),
    ("map16 for a short map", "de00010001", "not_shortest"),
    ("seventeen arrays deep", "91" * 16 + "90", "depth"),
]


def to_json(value: object) -> object:
    """A value in JSON: bytes and maps are tagged objects, so that every value has a form."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, dict):
        return {"map": [[to_json(key), to_json(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def encoding_vectors() -> object:
    """Values with their bytes; bytes with the code that refuses them."""
    return {
        "encoded": [{"name": n, "value": to_json(v), "hex": encode(v).hex()} for n, v in ENCODED_VALUES],
        "refused": [{"name": name, "hex": data, "code": code} for name, data, code in REFUSED_BYTES],
    }


def hashing_vectors() -> object:
    """Each tag over nothing and over two parts, and what is derived with tags."""
    return {
        "tagged": [
            {"tag": tag.name, "text": tag.value.decode(), "parts": parts, "hash": tagged_hash(tag, *data).hex()}
            for tag in Tag
            for parts, data in (([], ()), (["00", "6772696471756f72756d"], (b"\x00", b"gridquorum")))
        ],
        "contract_address": {"name": "notes", "address": contract_address("notes").hex()},
        "scheduled_call_id": {"height": 9, "due": 8, "call_id": 7, "id": scheduled_call_id(9, 8, 7).hex()},
    }


def signature_vectors() -> object:
    """The adversarial table; signature_cases.py explains each case."""
    return [
        {"name": name, "public_key": key.hex(), "message": message.hex(), "signature": sig.hex(), "holds": holds}
        for name, key, message, sig, holds in signature_cases()
    ]


def merkle_vectors() -> object:
    """Roots of 0 to 9 leaves, and the paths of a tree of seven (RFC 6962, section 2.1.3)."""
    leaves = [bytes([number]) * number for number in range(9)]
    return {
        "leaves": [leaf.hex() for leaf in leaves],
        "roots": [merkle.root(leaves[:count]).hex() for count in range(10)],
        "inclusion_of_7": [[h.hex() for h in merkle.inclusion_path(leaves[:7], index)] for index in range(7)],
        "consistency_with_7": [[h.hex() for h in merkle.consistency_path(leaves[:7], first)] for first in range(1, 8)],
    }


def transaction_vectors() -> object:
    """Transactions with raw bytes and ids, and a payload with its commitments."""
    parts = [PayloadPart(salt=bytes([number]) * 32, value=encode({"wh": number})) for number in range(2)]
    cases = [
        sample.transaction(0),
        sample.transaction(2**63 - 1, follows=5, arguments=(), method="m" * 32, gas_limit=5_000_000),
        sample.transaction(3, arguments=({"a": [b"\x01", -1]},), commitments=tuple(part.commitment for part in parts)),
        sample.transaction(
            4,
            contract="code",
            method="deploy",
            arguments=("notes", b"a source\n", encode(["first"])),
            gas_limit=5_000_000,
        ),
    ]
    return {
        "transactions": [{"raw": case.raw.hex(), "tx_id": case.tx_id.hex()} for case in cases],
        "payload": {"hex": encode_payload(parts).hex(), "commitments": [part.commitment.hex() for part in parts]},
    }


def state_vectors() -> object:
    """State roots of sets of keys: none, a bucket, a split, a deep one."""

    def root(count: int) -> str:
        entries: list[Entry] = []
        for number in range(count):
            key_hash = hash_key(b"key %d" % number)
            entries.append((key_hash, hash_entry(key_hash, b"value %d" % number)))
        return compute_subtree(sorted(entries), 0, 0, {}).hex()

    return [{"keys": "key 0..n-1", "values": "value 0..n-1", "n": n, "root": root(n)} for n in (0, 1, 8, 9, 100, 1000)]


def chain_files() -> dict[str, bytes]:
    """The sample genesis, its first blocks' headers and receipts, a certificate, and proofs of all kinds."""
    chain = sample.new_chain()
    expired = sample.transaction(4, expiry_height=0)
    blocks = [
        sample.execute(chain, sample.transaction(0), sample.transaction(1, method="fail"), expired),
        sample.execute(chain, time_ms=None),
        sample.execute(chain, sample.transaction(0, client=sample.OTHER_CLIENT), time_ms=sample.TIME_MS + 2000),
    ]
    head = chain.head
    certificate = sample.certify(head)
    chain.store_certificate(certificate)
    document = {
        "network_id": sample.GENESIS.network_id.hex(),
        "configuration_hash": sample.GENESIS.configuration.hash.hex(),
        "headers": [{"bytes": chain.header(h).to_bytes().hex(), "hash": chain.header(h).hash.hex()} for h in range(4)],
        "batch_digest": compute_batch_digest(sample.TIME_MS + 1000, blocks[0].transactions)[0].hex(),
        "receipts": [receipt.hex() for block in blocks for receipt in block.receipts],
        "vote": vote_bytes(sample.GENESIS.network_id, 0, head.height, head.hash).hex(),
        "certificate": certificate.to_bytes().hex(),
    }
    return {
        "genesis.json": sample.GENESIS_BYTES,
        "chain.json": pretty(document),
        "receipt.proof.json": chain.receipt_proof(sample.transaction(0).tx_id),
        "refusal.proof.json": chain.receipt_proof(expired.tx_id),
        "state.proof.json": chain.state_proof(b"c/notes/founded/007"),
        "absence.proof.json": chain.state_proof(b"n/" + bytes(32)),
    }


def known_answers() -> bytes:
    """The source of ledger/known_answers.py."""
    source = KNOWN_ANSWERS.read_text(encoding="utf-8")
    lines = [source[: source.index("SIGNATURES: Final")], "SIGNATURES: Final[tuple[SignatureCase, ...]] = (\n"]
    for name, key, message, signature, holds in signature_cases():
        fields = [f"name={quoted(name)}", f"public_key={hexadecimal(key)}", f"message={hexadecimal(message)}"]
        lines.append(constructor("SignatureCase", [*fields, *split_signature(signature), f"holds={holds}"]))
    lines.append(")\n\nSIGNERS: Final[tuple[SignerCase, ...]] = (\n")
    for name, seed, message, signature in signer_cases():
        fields = [f"name={quoted(name)}", f"seed={hexadecimal(seed)}", f"message={hexadecimal(message)}"]
        lines.append(constructor("SignerCase", [*fields, *split_signature(signature)]))
    lines.append(")\n\nTAGGED_HASHES: Final[tuple[tuple[str, bytes], ...]] = (\n")
    lines += [f"    ({quoted(tag.name)}, {hexadecimal(tagged_hash(tag, b'gridquorum'))}),\n" for tag in Tag]
    lines.append(")\n\nENCODINGS: Final[tuple[tuple[object, bytes], ...]] = (\n")
    values = [2**64 - 1, 2**64, -(2**127) - 1, "Zähler", b"\x00", [None, True], {"a": 1, "ä": 2}, {-1: 0, 300: 0}]
    lines += [f"    ({literal(value)}, {hexadecimal(encode(value))}),\n" for value in values]
    lines.append(")\n\nREFUSED_ENCODINGS: Final[tuple[tuple[str, bytes], ...]] = (\n")
    lines += [f"    ({quoted(name)}, {hexadecimal(bytes.fromhex(data))}),\n" for name, data, _ in REFUSED_BYTES]
    lines.append(")\n")
    return "".join(lines).encode()


def ecdsa_vectors() -> object:
    """Every case of every curve; ecdsa_cases.py explains them."""
    return [
        {
            "curve": case.curve,
            "name": case.name,
            "public_key": case.public_key.hex(),
            "message": case.message.hex(),
            "signature": case.signature.hex(),
            "holds": case.holds,
        }
        for case in ecdsa_cases.cases()
    ]


def known_ecdsa_answers() -> bytes:
    """The source of ledger/known_ecdsa_answers.py."""
    source = KNOWN_ECDSA_ANSWERS.read_text(encoding="utf-8")
    lines = [source[: source.index("CASES: Final")], "CASES: Final[tuple[EcdsaCase, ...]] = (\n"]
    for case in ecdsa_cases.cases():
        if case.is_known:
            half = len(case.signature) // 2
            parts = (case.public_key[1 : half + 1], case.public_key[half + 1 :])
            parts += (case.signature[:half], case.signature[half:])
            fields = [
                f"curve={quoted(case.curve)}",
                f"name={quoted(case.name)}",
                f"message={quoted(case.message.hex())}",
            ]
            fields += [f"{name}={quoted(part.hex())}" for name, part in zip("xyrs", parts, strict=True)]
            lines.append(constructor("EcdsaCase", [*fields, f"holds={case.holds}"]))
    return "".join([*lines, ")\n"]).encode()


def constructor(name: str, fields: list[str]) -> str:
    """A call in the form that the formatter leaves alone."""
    return f"    {name}(\n" + "".join(f"        {field},\n" for field in fields) + "    ),\n"


def split_signature(signature: bytes) -> list[str]:
    """R and S apart: a whole signature is longer than a line."""
    return [f"r={hexadecimal(signature[:32])}", f"s={hexadecimal(signature[32:])}"]


def hexadecimal(data: bytes) -> str:
    """An expression for bytes."""
    return f'bytes.fromhex("{data.hex()}")'


def quoted(text: str) -> str:
    """A string literal with double quotes."""
    return json.dumps(text, ensure_ascii=False)


def literal(value: object) -> str:
    """A literal as the formatter writes it."""
    return repr(value).replace("'", '"')


def pretty(document: object) -> bytes:
    """JSON for people."""
    return (json.dumps(document, indent=1, ensure_ascii=True) + "\n").encode()


def make_all() -> dict[Path, bytes]:
    """Every generated file with its content."""
    documents = {
        "encoding.json": pretty(encoding_vectors()),
        "hashing.json": pretty(hashing_vectors()),
        "signatures.json": pretty(signature_vectors()),
        "ecdsa.json": pretty(ecdsa_vectors()),
        "merkle.json": pretty(merkle_vectors()),
        "transactions.json": pretty(transaction_vectors()),
        "state.json": pretty(state_vectors()),
        **chain_files(),
    }
    tables = {KNOWN_ANSWERS: known_answers(), KNOWN_ECDSA_ANSWERS: known_ecdsa_answers()}
    return {HERE / name: data for name, data in documents.items()} | tables


if __name__ == "__main__":
    for path, content in make_all().items():
        path.write_bytes(content)
