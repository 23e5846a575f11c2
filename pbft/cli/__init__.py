"""The command line: `gridquorum COMMAND ...`. This file finds commands; each one is a module of its own.

A command's module is imported only when the command runs, so that `--help` is quick and imports no reactor. Rooms to
the right of `pbft` add their commands through the entry point group `gridquorum.commands`.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, version
from typing import Final, NoReturn

import click

from ledger.build import BUILD
from pbft.cli.surface import CommandError, ExitCode, say

COMMANDS: Final = {  # name: (module, attribute, one line of help)
    "up": ("pbft.cli.cluster", "up", "Start a whole network on this machine."),
    "down": ("pbft.cli.cluster", "down", "End the local network."),
    "status": ("pbft.cli.cluster", "status", "Where each replica of the local network stands."),
    "fault": ("pbft.cli.cluster", "fault", "Break the local network on purpose: kill, restart."),
    "keys": ("pbft.cli.keys", "keys", "Make the keys of a replica."),
    "run": ("pbft.cli.run", "run", "Run one replica of a network."),
    "tx": ("pbft.cli.tx", "tx", "Submit transactions: ping, send."),
    "query": ("pbft.cli.query", "query", "Ask a contract, vouched for by f+1 replicas."),
    "contract": ("pbft.cli.contract", "contract", "Write contracts: check, look, try, deploy."),
    "simulate": ("pbft.cli.simulate", "simulate", "Search the protocol: whole networks on virtual time, from seeds."),
    "bench": ("pbft.cli.bench", "bench", "Measure a whole network on this machine, and its limit."),
    "evidence": ("pbft.cli.evidence", "evidence", "Proof against a replica: list, export, verify off line."),
    "proof": ("pbft.cli.proof", "proof", "Export a proof, verify one off line."),
}
ENTRY_POINTS: Final = "gridquorum.commands"


class LazyCommands(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of our own commands and of those that other packages add."""
        return sorted({*COMMANDS, *(entry.name for entry in _added())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None if there is none of that name."""
        if cmd_name in COMMANDS:
            module, attribute, _ = COMMANDS[cmd_name]
            command: click.Command = getattr(import_module(module), attribute)
            return command
        for entry in _added():
            if entry.name == cmd_name:
                return _load(entry)
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands; ours come from the table above, without an import."""
        names = self.list_commands(ctx)
        rows = [(name, COMMANDS[name][2] if name in COMMANDS else self._short_help(ctx, name)) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _short_help(self, ctx: click.Context, name: str) -> str:
        """One line about an added command; one that cannot be loaded says so and spoils no other's help."""
        try:
            command = self.get_command(ctx, name)
        except CommandError as error:
            return f"({error.message})"
        return command.get_short_help_str() if command is not None else ""


def _load(entry: EntryPoint) -> click.Command:
    """An added command. Raises CommandError where its package cannot give it."""
    try:
        command = entry.load()
    except (ImportError, AttributeError) as error:
        raise CommandError(f"{entry.name} cannot be loaded: {error}") from error
    if not isinstance(command, click.Command):
        raise CommandError(f"{entry.name} cannot be loaded: {entry.value} is no command")
    return command


def _added() -> list[EntryPoint]:
    """Commands of other packages; a name of ours cannot be taken over."""
    return [entry for entry in entry_points(group=ENTRY_POINTS) if entry.name not in COMMANDS]


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("gridquorum"), message=f"gridquorum %(version)s, {BUILD}")
def app() -> None:
    """GridQuorum: a permissioned energy ledger, ordered by PBFT, settled to the watt-hour.

    Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 10 network unreachable, 11 rejected, 12 outcome unknown,
    13 verification failed, 14 not ready, 15 refused for safety, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The `gridquorum` program."""
    try:
        code = app.main(arguments, prog_name="gridquorum", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:  # click's word for Ctrl-C
        say("gridquorum: interrupted")
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
