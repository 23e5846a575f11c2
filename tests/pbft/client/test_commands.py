"""`tx`, `query` and `proof` where no network is: arguments, exit codes, and what must not be imported."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.encoding import encode
from ledger.hashing import Tag, tagged_hash
from ledger.transaction import Receipt
from pbft.cli.network_client import explain_code, parse_arguments, to_json_value
from pbft.cli.proof import proof
from pbft.cli.query import query
from pbft.cli.surface import CommandError
from pbft.cli.tx import describe, in_words, tx
from pbft.core.client_session import Committed, OutcomeUnknown, Rejected, ReplyContent

RECEIPT = Receipt(
    tx_id=b"t" * 32,
    sender=b"s" * 32,
    nonce=0,
    status="ok",
    code="",
    gas_used=204,
    result=encode([b"\x01", 2**60]),
    events=(),
)
REPLY = ReplyContent(
    client=b"s" * 32,
    nonce=0,
    tx_id=b"t" * 32,
    height=3,
    index=1,
    receipt=RECEIPT.to_bytes(),
    header_hash=b"h" * 32,
)


def test_arguments_are_json_values_with_bytes_and_addresses() -> None:
    """Numbers, texts, lists, true; hex for bytes; a contract's address by its name."""
    texts = ("12", "-3", "home", '"17"', "true", '[1, {"hex": "ff00"}]', '{"contract": "cash"}')
    assert parse_arguments(texts) == [
        12,
        -3,
        "home",
        "17",
        True,
        [1, b"\xff\x00"],
        tagged_hash(Tag.CONTRACT_ADDRESS, b"cash"),
    ]


@pytest.mark.parametrize("text", ["1.5", "null", '{"a": 1}', '{"hex": 1}', "[0.5]"])
def test_what_has_no_canonical_form_is_refused(text: str) -> None:
    """A float never becomes an amount by accident."""
    with pytest.raises(CommandError) as raised:
        parse_arguments((text,))
    assert raised.value.exit_code == 2


def test_values_show_as_json_without_loss() -> None:
    """Bytes as hex, numbers beyond a double's exact range as texts."""
    value: Any = [1, b"\x01", 2**53, {"a": b""}, None, True]
    assert to_json_value(value) == [1, {"hex": "01"}, str(2**53), {"a": {"hex": ""}}, None, True]


def test_outcomes_become_json_and_exit_codes() -> None:
    """0 done, 11 rejected, 12 unknown: as documented for every command."""
    committed = describe(Committed(reply=REPLY, receipt=RECEIPT, vouched_by=(0, 2)))
    assert committed[0]["tx"] == "74" * 32 and committed[1] == 0
    assert (committed[0]["height"], committed[0]["status"], committed[0]["vouched_by"]) == (3, "ok", [0, 2])
    rejected, code = describe(Rejected(tx_id=b"t" * 32, code="EXPIRED", reply=None, receipt=None, vouched_by=()))
    assert (rejected["status"], rejected["code"], rejected["height"], code) == ("expired", "EXPIRED", None, 11)
    unknown, code = describe(
        OutcomeUnknown(tx_id=b"t" * 32, nonce=0, expiry_height=9, expiry_time=8, answers=1, refusals=((2, "busy"),))
    )
    assert (unknown["status"], unknown["refusals"], code) == ("unknown", {"r2": "busy"}, 12)


def test_outcomes_are_said_in_words_on_short_lines() -> None:
    """People read names of replicas and JSON, never Python's None or lists; what is not known is not mentioned."""
    committed, _ = describe(Committed(reply=REPLY, receipt=RECEIPT, vouched_by=(0, 2)))
    rejected, _ = describe(Rejected(tx_id=b"t" * 32, code="EXPIRED", reply=None, receipt=None, vouched_by=()))
    unknown, _ = describe(
        OutcomeUnknown(tx_id=b"t" * 32, nonce=0, expiry_height=9, expiry_time=8, answers=1, refusals=((2, "busy"),))
    )
    assert in_words(committed).splitlines() == [
        f"ok  {'74' * 32}",
        "  at height 3, receipt 1",
        "  gas used 204",
        '  result [{"hex": "01"}, "1152921504606846976"]',
        "  vouched for by r0, r2",
    ]
    assert in_words(rejected) == f"expired  {'74' * 32}"
    assert in_words(unknown).splitlines() == [f"unknown  {'74' * 32}", "  r2: busy"]
    for answer in (committed, rejected, unknown):
        assert max(map(len, in_words(answer).splitlines())) <= 80


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("METHOD", "no such method that this caller may call (METHOD)"),
        ("OUT_OF_GAS", "the gas limit is used up (OUT_OF_GAS)"),
        ("PRICE_UNKNOWN", "PRICE_UNKNOWN"),
    ],
)
def test_a_code_is_explained_and_named(code: str, words: str) -> None:
    """The engine's codes in plain words; a contract's own code stands for itself."""
    assert explain_code(code) == words


@pytest.mark.parametrize(
    "command", [(tx, ["ping"]), (query, ["cash", "balance"]), (proof, ["export", "00", "--out", "x"])]
)
def test_a_folder_without_a_network_ends_with_3(command: tuple[Any, list[str]], tmp_path: Path) -> None:
    """The message names the folder."""
    group, arguments = command
    result = CliRunner().invoke(group, [*arguments, "--data-dir", str(tmp_path)])
    assert result.exit_code == 3
    assert str(tmp_path) in result.stderr


@pytest.mark.parametrize("missing", ["proof", "genesis"])
def test_a_missing_file_ends_with_3(missing: str, tmp_path: Path) -> None:
    """What is not there was not refuted: another code than 13."""
    paths = {name: tmp_path / f"{name}.json" for name in ("proof", "genesis")}
    for name, path in paths.items():
        if name != missing:
            path.write_bytes(b"{}")
    result = CliRunner().invoke(proof, ["verify", str(paths["proof"]), "--genesis", str(paths["genesis"])])
    assert result.exit_code == 3 and missing in result.stderr


@pytest.mark.parametrize("which", ["proof", "genesis"])
def test_a_file_without_end_is_refused_and_not_read_whole(tmp_path: Path, which: str) -> None:
    """A stranger's file is read up to the limit of its kind and one byte: what does not end cannot fill the memory."""
    paths = {"proof": tmp_path / "proof.json", "genesis": tmp_path / "genesis.json"}
    for path in paths.values():
        path.write_text("{}")
    paths[which].unlink()
    paths[which].symlink_to("/dev/zero")
    result = CliRunner().invoke(proof, ["verify", str(paths["proof"]), "--genesis", str(paths["genesis"])])
    assert result.exit_code == 13


def test_proof_verify_needs_neither_reactor_nor_store(tmp_path: Path) -> None:
    """A verifier's machine has the ledger's pure modules only; garbage ends with 13."""
    (tmp_path / "p").write_bytes(b"{}")
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from pbft.cli.proof import proof\n"
        f"path = {str(tmp_path / 'p')!r}\n"
        "result = CliRunner().invoke(proof, ['verify', path, '--genesis', path])\n"
        "assert result.exit_code == 13, result.output\n"
        "print(sorted({'twisted', 'lmdb', 'OpenSSL', 'yaml'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_client_library_installs_no_reactor() -> None:
    """Importing both faces leaves the choice of the reactor to the program."""
    script = (
        "import sys, pbft.client.blocking, pbft.client.twisted_client\n"
        "print('twisted.internet.reactor' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
