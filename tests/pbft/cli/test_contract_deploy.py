"""`contract deploy`, `upgrade`, `vote-upgrade` where no network answers: what is refused before anything is sent."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from contracts.standard import source_of
from ledger.encoding import encode
from ledger.transaction import Receipt
from pbft.cli.contract import contract
from pbft.cli.network_client import OWN_ADDRESS, explain_code, own_values, parse_arguments
from pbft.cli.tx import describe
from pbft.core.client_session import Rejected


@pytest.mark.parametrize("command", ["deploy", "upgrade"])
def test_a_file_that_is_no_contract_is_not_sent(command: str, tmp_path: Path) -> None:
    """Exit code 1 with the place, as `check` has it, though there is no network at all."""
    file = tmp_path / "wrong.py"
    file.write_text("import os\n")
    ended = CliRunner().invoke(contract, [command, str(file), "--data-dir", str(tmp_path / "none"), "--json"])
    assert ended.exit_code == 1
    answer = json.loads(ended.stdout.splitlines()[-1])
    assert (answer["v"], answer["status"], answer["code"], answer["line"]) == (1, "not_sent", "IMPORT", 1)
    assert "wrong.py:1:1 IMPORT" in ended.stderr


@pytest.mark.parametrize("command", ["deploy", "upgrade", "vote-upgrade"])
def test_without_a_network_the_exit_code_is_3(command: str, tmp_path: Path) -> None:
    """As for every command that needs one."""
    file = tmp_path / "ping.py"
    file.write_text(source_of("ping"))
    options = ["--operator", "r0"] if command == "vote-upgrade" else []
    ended = CliRunner().invoke(contract, [command, str(file), "--data-dir", str(tmp_path / "none"), *options])
    assert ended.exit_code == 3
    assert ended.stderr.startswith("gridquorum: ")


def test_the_own_account_is_named_without_its_key() -> None:
    """At any depth; everything else stays."""
    values = parse_arguments(('{"account": "own"}', '[[{"account": "own"}], 1]', "text"))
    assert values[0] is OWN_ADDRESS
    assert own_values(values, b"me") == [b"me", [[b"me"], 1], "text"]


def test_what_a_code_is_about_is_told() -> None:
    """The field that an upgrade would lose."""
    receipt = Receipt(
        tx_id=b"t" * 32,
        sender=b"s" * 32,
        nonce=0,
        status="error",
        code="LAYOUT",
        gas_used=1,
        result=encode("balance"),
        events=(),
    )
    answer, _ = describe(Rejected(tx_id=b"t" * 32, code="LAYOUT", reply=None, receipt=receipt, vouched_by=(0, 1)))
    assert answer["detail"] == "balance"
    assert explain_code("LAYOUT").endswith("(LAYOUT)")
