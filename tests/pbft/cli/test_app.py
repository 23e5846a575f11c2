"""The command line as a whole: quick, honest about what is missing, and the same exit codes everywhere."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint

import click
import pytest
from click.testing import CliRunner

import pbft.cli
from pbft.cli import COMMANDS, app, main
from pbft.cli.surface import CommandError, ExitCode, ReplicaId, print_json


def test_help_imports_no_reactor_and_no_heavy_library() -> None:
    """`--help` of the program and of each of our commands: no Twisted, OpenSSL, LMDB, protobuf, YAML or crypto."""
    heavy = ["twisted", "OpenSSL", "cryptography", "lmdb", "google.protobuf", "yaml", "nacl", "Crypto", "structlog"]
    program = (
        "import sys\nfrom click.testing import CliRunner\nfrom pbft.cli import COMMANDS, app\n"
        "for name in [None, *COMMANDS]:\n"
        "    result = CliRunner().invoke(app, ([name] if name else []) + ['--help'])\n"
        "    assert result.exit_code == 0, (name, result.output)\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_is_there_with_the_line_that_the_table_promises() -> None:
    """The table of commands is what is imported: each exists and shows its help."""
    runner = CliRunner()
    for name in COMMANDS:
        result = runner.invoke(app, [name, "--help"])
        assert (result.exit_code, name in result.output) == (0, True), name
    assert runner.invoke(app, ["frobnicate"]).exit_code == 2
    assert runner.invoke(app, ["--version"]).output.startswith("gridquorum ")


def groups_of(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all command groups, the program's own `()` first."""
    if isinstance(command, click.Group):
        yield path
        context = click.Context(command)
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            assert member is not None
            yield from groups_of(member, (*path, name))


def test_no_line_of_a_command_list_is_cut_short() -> None:
    """Every group's list gives whole phrases: click ends what is too long with three dots."""
    paths = list(groups_of(app))
    assert {(), ("fault",), ("keys",), ("tx",), ("proof",)} <= set(paths)
    for path in paths:
        _, _, listed = CliRunner().invoke(app, [*path, "--help"]).output.partition("Commands:")
        assert listed.strip(), path
        assert [line for line in listed.splitlines() if line.endswith("...")] == [], path


def entry_point(value: str) -> EntryPoint:
    return EntryPoint(name="extra", value=value, group="gridquorum.commands")


@pytest.mark.parametrize("value", ["no.such.module:command", "json:no_such_name", "json:dumps"])
def test_an_added_command_that_cannot_be_loaded_spoils_no_help(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A broken package says so in its line of the help and when it is called; the others stay usable."""
    monkeypatch.setattr(pbft.cli, "_added", lambda: [entry_point(value)])
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    assert "cannot be loaded" in shown.output
    assert "status" in shown.output
    called = CliRunner().invoke(app, ["extra"])
    assert (called.exit_code, "cannot be loaded" in called.stderr) == (1, True)


def test_an_added_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms to the right of pbft add commands by entry point; a name of ours cannot be taken over."""
    monkeypatch.setattr(pbft.cli, "entry_points", lambda group: [entry_point("pbft.cli.cluster:status")])
    assert "extra" in CliRunner().invoke(app, ["--help"]).output
    assert CliRunner().invoke(app, ["extra", "--help"]).exit_code == 0
    shadow = EntryPoint(name="up", value="no.such:thing", group="gridquorum.commands")
    monkeypatch.setattr(pbft.cli, "entry_points", lambda group: [shadow])
    assert CliRunner().invoke(app, ["up", "--help"]).exit_code == 0


def raising(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "exit_code", "says"),
    [
        (CommandError("r2 is gone", ExitCode.NOT_FOUND), 3, "gridquorum: r2 is gone"),
        (click.UsageError("which one?"), 2, "which one?"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_how_a_command_ends_is_how_the_program_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, exit_code: int, says: str
) -> None:
    """EXPERIENCE.md section 4: errors to stderr, one exit code for one meaning, 130 for Ctrl-C."""
    monkeypatch.setattr(app, "get_command", lambda ctx, name: raising(error))
    with pytest.raises(SystemExit) as caught:
        main(["anything"])
    captured = capsys.readouterr()
    assert (caught.value.code, captured.out) == (exit_code, "")
    assert says in captured.err


def test_a_json_answer_is_one_line_with_its_version_first(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts read the last line and look at `v`; what ends a line for some of them (U+2028) is escaped."""
    print_json({"height": 3, "name": "Zoë\u2028"})
    text = capsys.readouterr().out
    assert text == '{"v": 1, "height": 3, "name": "Zo\\u00eb\\u2028"}\n'
    assert json.loads(text) == {"v": 1, "height": 3, "name": "Zoë\u2028"}


@pytest.mark.parametrize(("text", "number"), [("2", 2), ("r2", 2), ("r63", 63)])
def test_a_replica_is_a_number_with_or_without_its_letter(text: str, number: int) -> None:
    assert ReplicaId().convert(text, None, None) == number


@pytest.mark.parametrize("text", ["", "r", "x2", "-1", "2.0", "²", "rr2", "1000000"])
def test_what_is_no_replica_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        ReplicaId().convert(text, None, None)
