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
from contracts.testing import Chain
from ledger.configuration import PARAMETER_BOUNDS
from ledger.execution import OUTCOME_BYTES_MAX, Call
from pbft.cli import app
from pbft.cli.contract import GAS_MAX, TrialDied
from pbft.cli.trial_arguments import read_arguments
from pbft.node.contract_trial import SCHEDULED_GAS_MAX
from pbft.node.worker_process import NANOSECONDS_PER_GAS, WALL_SECONDS_MAX

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
MISSING_GAS = 200  # of a call without arguments of a method that is not there: the transaction alone


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


@pytest.mark.parametrize("arguments", ["[", "one", "", "[1,]", "\udcff"])
def test_arguments_that_are_no_json_are_wrong_usage(box: Path, arguments: str) -> None:
    """Exit code 2 with a sentence, before anything is called: a command line that means nothing."""
    for name in ((), ("--init",)):
        code, answer, said = gridquorum("try", str(box), "put", *name, arguments)
        assert (code, answer) == (2, None)
        assert said.startswith("gridquorum: --init" if name else "gridquorum: ARGUMENTS") and len(said) < 400


MISFITS = {
    "hex that is none": '[1, [7, "xy"], ""]',
    "hex with spaces": f'[1, [7, "{WHO}"], "0 0"]',
    "another type": '["one", [7, ""], ""]',
    "bool for a number": f'[true, [7, "{WHO}"], ""]',
    "short address": '[1, [7, "ab"], ""]',
    "short struct": '[1, [7], ""]',
    "object for a struct": f'[1, {{"number": 7, "who": "{WHO}"}}, ""]',
    "null": "[null, null, null]",
    "too few": "[1]",
    "too many": f'[1, [7, "{WHO}"], "", ""]',
    "no array": "{}",
    "a number alone": "5",
    "a number past 256 bits": f'[{2**255}, [7, "{WHO}"], ""]',
    "a number of thousands of digits": f'[{"9" * 5_000}, [7, "{WHO}"], ""]',
    "half a character": '["\\ud800", [7, ""], ""]',
    "deeper than an encoding": "[" * 20 + "]" * 20,
    "deeper than a parser": "[" * 3_000 + "]" * 3_000,
    "a float": f'[1e3, [7, "{WHO}"], ""]',
    "no number": f'[NaN, [7, "{WHO}"], ""]',
    "endless": f'[-Infinity, [7, "{WHO}"], ""]',
}


@pytest.mark.parametrize("name", MISFITS)
def test_arguments_that_do_not_fit_are_a_transaction_s_failure(box: Path, name: str) -> None:
    """Whatever the JSON, there are bytes for it that a transaction could carry, and the engine says ARGUMENTS."""
    chain = Chain()
    contract = chain.deploy(box, name="box")
    arguments = read_arguments(MISFITS[name], "ARGUMENTS")
    call = Call(
        tx_id=bytes(32),
        sender=bytes(32),
        contract="box",
        method="put",
        arguments=arguments.encode_for(contract.tree, "put"),
        gas_limit=100_000,
    )
    (outcome,) = chain._block(call)
    assert (outcome.status, outcome.code, outcome.events) == ("error", "ARGUMENTS", ())
    assert 0 < len(arguments.misfit) <= 100


@pytest.mark.parametrize("name", ["another type", "a float", "no array"])
def test_arguments_that_do_not_fit_get_the_network_s_answer(box: Path, name: str) -> None:
    """A verdict as any other: the object with error ARGUMENTS, and in words what does not fit."""
    code, answer, said = gridquorum("try", str(box), "put", MISFITS[name])
    call = answer["call"]
    assert (code, answer["deploy"]["accepted"]) == (1, True)
    assert (call["status"], call["code"], call["result"], call["events"]) == ("error", "ARGUMENTS", None, [])
    assert 200 <= call["gas"] < 1_000
    assert said.startswith("gridquorum: put: error ARGUMENTS: ") and len(said) < 400


@pytest.mark.parametrize("arguments", ["[1, 2]", "[1.5]"])
def test_arguments_of_init_that_do_not_fit_are_the_deploy_s_answer(box: Path, arguments: str) -> None:
    """Not deployed, with the engine's code."""
    code, answer, said = gridquorum("try", str(box), "count", "--init", arguments)
    assert (code, answer["call"], answer["deploy"]["accepted"], answer["deploy"]["code"]) == (
        1,
        None,
        False,
        "ARGUMENTS",
    )
    assert "@init: ARGUMENTS " in said


@pytest.mark.parametrize("method", ["setup", "__init__", ""])
def test_a_method_that_is_not_there_is_an_error_whatever_its_name(box: Path, method: str) -> None:
    """What no transaction could name gets the answer of what no contract has, and the worker never sees it."""
    code, answer, said = gridquorum("try", str(box), method)
    assert (code, answer["call"]["status"], answer["call"]["code"]) == (1, "error", "METHOD")
    assert answer["call"]["gas"] == MISSING_GAS
    assert said == f"gridquorum: {method}: error METHOD\n"


def test_a_transaction_may_bring_no_gas_at_all(box: Path) -> None:
    """Out of gas, as one with too little."""
    code, answer, _ = gridquorum("try", str(box), "count", "--gas", "0")
    assert (code, answer["call"]["status"], answer["call"]["code"]) == (1, "out_of_gas", "OUT_OF_GAS")
    assert answer["call"]["gas"] == 0


@pytest.mark.parametrize("gas", [-1, GAS_MAX + 1, 10**30])
def test_gas_far_beyond_all_networks_is_refused_with_its_reason(box: Path, gas: int) -> None:
    """At once: with far more, an endless loop ends at the watchdog of a hanging worker, without a receipt."""
    code, answer, said = gridquorum("try", str(box), "spin", "--gas", str(gas))
    assert (code, answer) == (2, None)
    assert f"from 0 to {GAS_MAX:,}" in said and "any network allows" in said


def test_the_most_gas_of_a_trial_ends_before_the_watchdog_looks() -> None:
    """It is more than a network may choose, and takes a third of the time after which a worker counts as hanging."""
    assert PARAMETER_BOUNDS["transaction_gas_max"][1] * 2 == GAS_MAX
    assert GAS_MAX * NANOSECONDS_PER_GAS * 3 <= WALL_SECONDS_MAX * 1e9


def test_what_the_most_gas_of_a_trial_leaves_can_be_read() -> None:
    """A unit leaves a byte at most (tests/contracts/test_outcome_bounds.py), and due calls run in the same block."""
    assert (GAS_MAX + SCHEDULED_GAS_MAX) * 11 <= OUTCOME_BYTES_MAX * 10


def test_a_call_may_use_more_than_a_network_allows(box: Path) -> None:
    """And ends with its outcome: an endless loop, all of it paid."""
    code, answer, _ = gridquorum("try", str(box), "spin", "--gas", str(GAS_MAX))
    assert (code, answer["call"]["status"], answer["call"]["gas"]) == (1, "out_of_gas", GAS_MAX)


def test_a_worker_that_dies_is_an_object_too(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 and the cause: neither deployed nor called, because nobody can say."""

    def die(*_: object) -> None:
        raise TrialDied("the contract worker did not survive: signal 11")

    monkeypatch.setattr("pbft.cli.contract._run_trial", die)
    done = CliRunner().invoke(app, ["contract", "try", str(box), "count", "--json"])
    answer = json.loads(done.stdout)
    assert done.exit_code == 1 and (answer["deploy"], answer["call"]) == (None, None)
    assert "signal 11" in answer["worker"]["stopped"]


def test_no_text_of_a_contract_breaks_the_line(tmp_path: Path) -> None:
    """What other programs take for the end of a line, or a terminal for an order, comes escaped."""
    path = tmp_path / "lines.py"
    body = """return "\\u2028\\x85\\x9b2J\\x1b[2J\\u202e\\n\\U0001f600" """
    path.write_text(
        "from contracts import Contract, external\n\n\n"
        f"class Lines(Contract):\n    @external\n    def say(self) -> str:\n        {body}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pbft.cli", "contract", "try", str(path), "say", "--json"],
        cwd=ROOT,
        capture_output=True,
        timeout=TRY_SECONDS_MAX,
        check=True,
    )
    assert done.stdout.isascii() and done.stdout.count(b"\n") == 1
    assert json.loads(done.stdout)["call"]["result"] == "\u2028\x85\x9b2J\x1b[2J\u202e\n\U0001f600"


def test_the_gas_of_a_trial_is_the_call_s_alone(box: Path) -> None:
    """The deploy has its own: one unit less than the call uses is too little for it."""
    used = gridquorum("try", str(box), "count")[1]["call"]["gas"]
    code, answer, _ = gridquorum("try", str(box), "count", "--gas", str(used - 1))
    assert (code, answer["deploy"]["accepted"]) == (1, True)
    assert (answer["call"]["status"], answer["call"]["gas"]) == ("out_of_gas", used - 1)


def test_a_file_larger_than_any_source_is_a_verdict(tmp_path: Path) -> None:
    """The checker's refusal, as of any other source."""
    path = tmp_path / "large.py"
    path.write_bytes(b"#" * 3_000_000)
    code, answer, _ = gridquorum("try", str(path), "run")
    assert (code, answer["deploy"]["code"], answer["deploy"]["line"], answer["deploy"]["column"]) == (
        1,
        "SOURCE_SIZE",
        1,
        1,
    )
    missing = gridquorum("try", str(tmp_path / "none.py"), "run")
    assert missing[:2] == (3, None)


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
    assert schemas["methods"]["tally"]["result"]["propertyNames"] == {"pattern": "^(0|-?[1-9][0-9]{0,76})$"}
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
    keys = [{key: None} for key in ("x", "01", "-0", "+1", "1_0", " 1", "\u0661", "1" * 78, "9" * 5_000)]
    texts = [(text, Hint("bytes")) for text in ("zz", "0", "0 0", "00\n", "\u0661\u0661", "0x00")]
    for value, hint in ((True, Hint("int")), ([1], Hint("tuple")), *texts, *((key, table) for key in keys)):
        with pytest.raises(InvalidArgument):
            value_from_json(value, hint, {})
