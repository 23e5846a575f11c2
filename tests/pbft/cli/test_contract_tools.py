"""`gridquorum contract show|diff|gas|test` and `abi --stub`: what an author is told between writing and deploying."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contracts.gas_bounds import compute_gas_bounds
from contracts.testing import Chain
from contracts.tree import compute_tree_hash
from pbft.cli import app

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "contracts" / "examples").glob("[a-z]*.py"))
STANDARD = sorted((ROOT / "contracts" / "standard").glob("[a-z]*.py"))
SOURCE = '''"""A box of notes."""

from contracts import Address, Contract, Event, Map, Struct, ctx, emit, external, role, scheduled, view


class Note(Struct):
    count: int
    text: str


class Put(Event):
    who: Address
    count: int


class Box(Contract):
    notes: Map[Address, Note]
    total: int

    @external
    def put(self, note: Note, times: int = 1) -> int:
        self.notes[ctx.sender] = note
        for _ in range(times):
            self.total += note.count
        emit(Put(ctx.sender, note.count))
        return self.total

    @external
    @role("cleaner")
    def clear(self) -> None:
        self.total = 0

    @scheduled
    def tick(self, by: int) -> None:
        self.total += by

    @view
    def note_of(self, who: Address) -> Note:
        return self.notes[who]
'''.replace("for _ in", "for step in")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    path = tmp_path / "box.py"
    path.write_text(SOURCE)
    return path


def run(*arguments: object) -> tuple[int, dict[str, Any]]:
    """Exit code and the JSON object of a `gridquorum contract` command."""
    done = CliRunner().invoke(app, ["contract", *map(str, arguments), "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_show_is_the_tree_that_replicas_agree_on(box: Path) -> None:
    """Name, hash, storage, and every node, for programs and for people."""
    code, shown = run("show", box)
    tree = Chain().deploy(SOURCE.encode()).tree
    assert (code, shown["contract"], shown["tree"]) == (0, "Box", compute_tree_hash(tree.to_bytes()).hex())
    assert shown["storage"] == [{"name": "notes", "type": "Map[Address, Note]"}, {"name": "total", "type": "int"}]
    put = next(function for function in shown["functions"] if function["name"] == "put")
    assert [statement["kind"] for statement in put["body"]["children"]] == ["set_item", "for", "expr", "return"]
    lines = CliRunner().invoke(app, ["contract", "show", str(box)]).stdout.splitlines()
    assert "external put(note: Note, times: int) -> int" in lines
    bodies = lines[next(n for n, line in enumerate(lines) if line.startswith("external put")) :]
    nodes = [line for line in bodies if line.startswith("  ")]
    assert len(nodes) == shown["nodes"]


def test_a_layout_of_source_changes_nothing(box: Path, tmp_path: Path) -> None:
    """Comments and blank lines are no part of the tree."""
    other = tmp_path / "other.py"
    other.write_text(SOURCE.replace("    total: int\n", "    total: int  # of all\n\n"))
    assert run("diff", box, other) == (0, {"v": 1, "same_tree": True, "compatible": True, "changes": []})


@pytest.mark.parametrize(
    ("before", "after", "part", "name", "compatible"),
    [
        ("    total: int\n", "    total: int\n    more: str\n", "storage", "more", True),
        ("notes: Map[Address, Note]", "notes: Indexed[Map[Address, Note]]", "storage", "notes", True),
        ("    count: int\n    text: str", "    text: str\n    count: int", "storage", "notes", False),
        ("    total: int\n", "    total: int | None\n", "storage", "total", False),
        ("    def note_of", "    def note_at", "method", "note_of", False),
        ("times: int = 1", "times: int", "method", "put", False),
        ("times: int = 1", "times: int = 2", "method", "put", True),
        ("note: Note, times: int = 1", "note: Note, times: int = 1, more: bool = False", "method", "put", True),
        ("note: Note, times: int = 1", "note: Note", "method", "put", False),
        ("    def tick(self, by: int)", "    def tick(self, by: str)", "method", "tick", False),
        ('    @role("cleaner")\n', "", "method", "clear", True),
        ('@role("cleaner")', '@role("janitor")', "method", "clear", False),
        ("    who: Address\n    count: int", "    count: int\n    who: Address", "", "", True),
        ("    who: Address\n    count: int", "    who: Indexed[Address]\n    count: int", "event", "Put", False),
    ],
)
def test_diff_says_what_data_and_callers_can_live_with(
    box: Path, tmp_path: Path, before: str, after: str, part: str, name: str, compatible: bool
) -> None:
    """The change is named with its part, and the exit code is that of the worst one."""
    assert before in SOURCE
    changed = SOURCE.replace(before, after).replace("Event, Map,", "Event, Indexed, Map,")
    if after == "note: Note":
        changed = changed.replace("range(times)", "range(2)")
    if "by: str" in after:
        changed = changed.replace("self.total += by", "self.total += int(by)")
    other = tmp_path / "other.py"
    other.write_text(changed)
    code, answer = run("diff", box, other)
    assert (code, answer["compatible"]) == (0 if compatible else 1, compatible)
    assert not answer["same_tree"]
    if part:
        assert any(
            (change["part"], change["name"], change["compatible"]) == (part, name, compatible) and change["reason"]
            for change in answer["changes"]
        ), answer
    else:
        assert answer["changes"] == []


def test_diff_tells_removed_from_added(box: Path, tmp_path: Path) -> None:
    """In both directions: what one loses the other gains."""
    other = tmp_path / "other.py"
    other.write_text(SOURCE.replace("self.total", "self.sum").replace("    total: int", "    sum: int"))
    _, answer = run("diff", box, other)
    assert [(change["name"], change["change"]) for change in answer["changes"]] == [
        ("total", "removed"),
        ("sum", "added: int"),
    ]
    said = CliRunner().invoke(app, ["contract", "diff", str(box), str(other)], standalone_mode=False)
    assert "INCOMPATIBLE storage total" in said.stdout
    assert "1 incompatible change" in str(said.exception)


def test_the_least_gas_is_what_an_empty_method_costs() -> None:
    """Where nothing depends on anything the bound is the price."""
    source = b"from contracts import Contract, external\n\n\nclass Idle(Contract):\n    n: int\n\n"
    source += b"    @external\n    def rest(self) -> None:\n        pass\n"
    chain = Chain()
    idle = chain.deploy(source)
    (bound,) = compute_gas_bounds(idle.tree)
    assert bound.at_least == idle.rest(sender=bytes(32)).gas
    assert bound.grows_with == ()


def test_no_call_of_the_examples_is_below_its_bound() -> None:
    """What their tests measure is never less, and every method that changes something was measured."""
    for path in EXAMPLES:
        tests = ROOT / "tests" / "contracts" / "examples" / f"test_{path.name}"
        code, answer = run("gas", path, "--tests", tests)
        assert code == 0
        for method in answer["methods"]:
            measured = method["measured"]
            assert (measured is not None) or method["kind"] != "external", method
            if measured is not None:
                assert method["at_least"] <= measured["least"] <= measured["middle"] <= measured["most"], method


def test_gas_names_what_a_cost_grows_with(box: Path) -> None:
    """Loops, storage, sizes and other contracts; nothing measured without tests."""
    _, answer = run("gas", box)
    methods = {method["name"]: method for method in answer["methods"]}
    assert methods["put"]["grows_with"] == ["loops", "storage", "sizes"]
    assert methods["clear"]["grows_with"] == ["storage", "contracts"]
    assert methods["put"]["measured"] is None
    assert methods["clear"]["at_least"] > 200 + 500 + 250


def test_the_bound_of_every_standard_method_is_there() -> None:
    """Calls of own methods, recursion and all kinds of statement included."""
    for path in STANDARD:
        _, answer = run("gas", path)
        for method in answer["methods"]:
            assert 200 < method["at_least"] < 50_000, (path.name, method)


def test_test_runs_an_authors_tests_beside_the_contract(box: Path) -> None:
    """The fixture is there, files are found, and the exit code says how it went."""
    tests = box.parent / "test_box.py"
    assert CliRunner().invoke(app, ["contract", "test", str(box.parent)], standalone_mode=False).exception is not None
    tests.write_text(
        "def test_put(chain):\n"
        "    (ann,) = chain.accounts(1)\n"
        "    box = chain.deploy('box.py')\n"
        "    assert box.put([2, 'x'], 3, sender=ann).event('Put', who=ann).fields['count'] == 2\n"
        "    assert box.note_of(ann) == [2, 'x']\n"
    )
    code, answer = run("test", box.parent)
    assert (code, answer["passed"]) == (0, True), answer["output"]
    tests.write_text(tests.read_text().replace("== 2", "== 3"))
    code, answer = run("test", tests)
    assert (code, answer["passed"], answer["exit_code"]) == (1, False, 1)
    assert "assert 2 == 3" in answer["output"]


def test_a_stub_is_typed_and_gives_what_the_client_takes(box: Path, tmp_path: Path) -> None:
    """mypy --strict accepts right calls into the real client library and refuses a wrong argument; at run time structs
    travel as lists."""
    for path in [box, *EXAMPLES, *STANDARD]:
        _, answer = run("abi", path, "--stub")
        (tmp_path / f"{path.stem}_calls.py").write_text(answer["stub"])
    (tmp_path / "caller.py").write_text(
        "from box_calls import Box, Note\n"
        "from pbft.client import Account, Client\n\n\n"
        "def run(client: Client, account: Account) -> None:\n"
        '    box = Box()\n    client.submit(account, *box.put(Note(1, "a"), 2), gas_limit=5)\n'
        "    client.query(*box.note_of(bytes(32)))\n"
    )
    (tmp_path / "wrong.py").write_text('from box_calls import Box\n\nBox().put("note")\nBox().tick(1)\n')
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", tmp_path / "cache", "."],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    refused = [line for line in done.stdout.splitlines() if ": error:" in line and not line.startswith("box.py")]
    assert [line.split(":")[:2] for line in refused] == [["wrong.py", "3"], ["wrong.py", "4"]], done.stdout
    called: dict[str, Any] = {}
    exec((tmp_path / "box_calls.py").read_text(), called)
    assert called["Box"]("other").put(called["Note"](1, "a")) == ("other", "put", [1, "a"], 1)
    assert called["Box"]().clear() == ("box", "clear")


def test_deploy_is_no_command_yet() -> None:
    """Nothing pretends to deploy to a network."""
    assert CliRunner().invoke(app, ["contract", "deploy"]).exit_code == 2
