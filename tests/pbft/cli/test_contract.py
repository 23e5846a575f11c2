"""`gridquorum contract`: what an author is told of a file, and the trial in a replica's own worker."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contracts.abi import InvalidArgument, compute_schemas, value_from_json
from contracts.compiler import compile_source
from contracts.hints import Hint
from pbft.cli import app

TRY_SECONDS_MAX = 60  # a trial takes half a second on an idle machine
ROOT = Path(__file__).resolve().parents[3]
SOURCE = '''"""A box."""

from contracts import Address, Contract, Event, Map, Struct, emit, external, init, require, view


class Pair(Struct):
    number: int
    who: Address


class Put(Event):
    who: Address
    data: bytes


class Box(Contract):
    pairs: Map[int, Pair]

    @init
    def setup(self, first: int = 3) -> None:
        require(first > 0, "FIRST")
        self.pairs[0] = Pair(first, b"")

    @external
    def put(self, place: int, pair: Pair, data: bytes) -> tuple[int, bytes]:
        require(place > 0, "PLACE")
        self.pairs[place] = pair
        emit(Put(who=pair.who, data=data))
        return (2**100, data)

    @external
    def count(self) -> int:
        self.pairs[0] = Pair(self.pairs[0].number + 1, b"")
        return self.pairs[0].number

    @external
    def spin(self) -> None:
        while True:
            pass

    @view
    def tally(self) -> dict[int, str]:
        return {1: "one"}
'''
WHO = "ab" * 32


@pytest.fixture
def box(tmp_path: Path) -> Path:
    path = tmp_path / "box.py"
    path.write_text(
        SOURCE.replace('Pair(first, b"")', "Pair(first, ZERO)")
        .replace('number + 1, b"")', "number + 1, ZERO)")
        .replace("class Pair(", f"ZERO = {bytes(32)!r}\n\n\nclass Pair(")
    )
    return path


def gridquorum(*arguments: str) -> tuple[int, Any, str]:
    """Exit code, the JSON object, and what was said to people."""
    answer = subprocess.run(
        [sys.executable, "-m", "pbft.cli", "contract", *arguments, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TRY_SECONDS_MAX,
        check=False,
    )
    return answer.returncode, json.loads(answer.stdout) if answer.stdout else None, answer.stderr


def test_a_call_shows_result_gas_events_and_what_confined_it(box: Path) -> None:
    """Bytes are hexadecimal, tuples lists, whole numbers whole numbers of any size; structs come as lists."""
    code, answer, _ = gridquorum("try", str(box), "put", f'[1, [7, "{WHO}"], "00ff"]')
    assert code == 0
    assert answer["v"] == 1
    assert answer["deploy"] == {"accepted": True, "code": None, "line": None, "column": None, "hint": None}
    call = answer["call"]
    assert (call["status"], call["code"], call["result"]) == ("ok", None, [2**100, "00ff"])
    assert call["events"] == [{"contract": "trial", "name": "Put", "fields": {"who": WHO, "data": "00ff"}}]
    assert 0 < call["gas"] < 5_000
    assert set(answer["worker"]) == {"pid", "capabilities", "landlock", "seccomp", "userns"}


def test_the_calls_of_a_trial_follow_each_other(box: Path) -> None:
    """--calls repeats in transactions of their own: state goes on, and the last outcome is shown."""
    assert gridquorum("try", str(box), "count", "--calls", "5", "--init", "[10]")[1]["call"]["result"] == 15


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("put", f'[0, [7, "{WHO}"], ""]'), "reverted", "PLACE"),
        (("spin", "--gas", "100000"), "out_of_gas", "OUT_OF_GAS"),
        (("missing",), "error", "METHOD"),
        (("count", "[1]"), "error", "ARGUMENTS"),
    ],
)
def test_a_call_that_fails_ends_with_its_code(box: Path, arguments: tuple[str, ...], status: str, code: str) -> None:
    """Exit code 1, the receipt's own words in the answer and on stderr."""
    exit_code, answer, said = gridquorum("try", str(box), *arguments)
    assert (exit_code, answer["call"]["status"], answer["call"]["code"]) == (1, status, code)
    assert code in said


def test_a_file_that_is_no_contract_is_not_deployed(tmp_path: Path) -> None:
    """The verdict with its place, and no call."""
    path = tmp_path / "escape.py"
    path.write_text("import os\n")
    code, answer, said = gridquorum("try", str(path), "anything")
    assert (code, answer["call"], answer["deploy"]["accepted"], answer["deploy"]["line"]) == (1, None, False, 1)
    assert answer["deploy"]["code"] in said


def test_a_deploy_whose_init_fails_is_refused_with_its_code(box: Path) -> None:
    """What @init says is the deploy's outcome."""
    code, answer, said = gridquorum("try", str(box), "count", "--init", "[0]")
    assert (code, answer["deploy"]["accepted"], answer["deploy"]["code"], answer["call"]) == (1, False, "FIRST", None)
    assert "@init" in said


@pytest.mark.parametrize("arguments", ["[", "{}", '[1, [7, "xy"], ""]', '["one", [7, ""], ""]'])
def test_arguments_that_cannot_be_read_are_wrong_usage(box: Path, arguments: str) -> None:
    """Exit code 2 with a sentence, before anything is called."""
    code, answer, said = gridquorum("try", str(box), "put", arguments)
    assert (code, answer) == (2, None)
    assert said.startswith("gridquorum: ARGUMENTS")


@pytest.mark.parametrize(
    "arguments", [f"[{2**255}]", '["\\ud800"]', "[" * 3_000 + "]" * 3_000, "[" * 20 + "]" * 20, "[1e3]"]
)
def test_arguments_that_no_transaction_can_carry_are_wrong_usage(box: Path, arguments: str) -> None:
    """Too large, half a character, too deep, no whole number: a sentence, never a traceback, whatever takes them."""
    code, answer, said = gridquorum("try", str(box), "count", arguments)
    assert (code, answer) == (2, None)
    assert said.startswith("gridquorum: ARGUMENTS") and "Traceback" not in said and len(said) < 400


@pytest.mark.parametrize("method", ["__init__", "Count", "", "count ", "c" * 33])
def test_a_name_that_no_method_can_have_never_reaches_a_worker(box: Path, method: str) -> None:
    """No transaction could name it: the worker would take the question for nonsense, and be replaced for it."""
    code, answer, said = gridquorum("try", str(box), method)
    assert (code, answer) == (2, None)
    assert said.startswith("gridquorum: METHOD")


def test_check_says_where_and_why(box: Path, tmp_path: Path) -> None:
    """Accepted with the hash of its tree, or the first refusal with line, column and hint."""
    accepted = CliRunner().invoke(app, ["contract", "check", str(box), "--json"])
    assert (accepted.exit_code, json.loads(accepted.stdout)["accepted"]) == (0, True)
    path = tmp_path / "float.py"
    path.write_text(box.read_text().replace("first > 0", "first > 0.5"))
    refused = CliRunner().invoke(app, ["contract", "check", str(path), "--json"], standalone_mode=False)
    answer = json.loads(refused.stdout)
    assert not answer["accepted"]
    assert answer["tree"] is None
    assert path.read_text().splitlines()[answer["line"] - 1].strip().startswith("require(first > 0.5")
    missing = CliRunner().invoke(app, ["contract", "check", str(tmp_path / "none.py")])
    assert missing.exit_code == 3


def test_abi_and_schemas_follow_from_the_hints(box: Path) -> None:
    """Methods with what they take and give, events, structs; and schemas that name the struct once."""
    answer = json.loads(CliRunner().invoke(app, ["contract", "abi", str(box), "--json"]).stdout)
    put = next(method for method in answer["methods"] if method["name"] == "put")
    assert put["arguments"][1] == {"name": "pair", "type": "Pair"}
    assert put["result"] == "tuple[int, bytes]"
    assert answer["methods"][0]["arguments"] == [{"name": "first", "type": "int", "default": 3}]
    schemas = json.loads(CliRunner().invoke(app, ["contract", "abi", str(box), "--schema", "--json"]).stdout)
    assert schemas["methods"]["put"]["arguments"]["prefixItems"][1] == {"$ref": "#/$defs/Pair"}
    assert schemas["$defs"]["Pair"]["minItems"] == 2
    assert schemas["methods"]["tally"]["result"]["propertyNames"] == {"pattern": "^-?[0-9]+$"}
    assert "try" not in CliRunner().invoke(app, ["contract", "abi", str(box)]).output


def test_every_standard_contract_has_schemas() -> None:
    """No hint of the standard suite is without one."""
    for path in sorted((ROOT / "contracts" / "standard").glob("[a-z]*.py")):
        schemas = compute_schemas(compile_source(path.read_bytes()))
        assert schemas["methods"], path


def test_json_values_are_read_by_their_hints() -> None:
    """Hexadecimal for bytes, text keys for numbers, null for what is optional; a bool is no number."""
    table = Hint("dict", arguments=(Hint("int"), Hint("optional", arguments=(Hint("bytes"),))))
    assert value_from_json({"-3": "ff", "4": None}, table, {}) == {-3: b"\xff", 4: None}
    for value, hint in ((True, Hint("int")), ("zz", Hint("bytes")), ({"x": None}, table), ([1], Hint("tuple"))):
        with pytest.raises(InvalidArgument):
            value_from_json(value, hint, {})
