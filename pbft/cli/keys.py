"""`gridquorum keys new`: the keys of one replica, made where they stay.

The command prints the public card, which is all that the other members need. Where keys live and how they are protected
is left to `pbft.node.identity`.
"""

from pathlib import Path

import click

from pbft.cli.surface import CommandError, ExitCode, json_option, print_json, say


@click.group()
def keys() -> None:
    """Make the keys of a replica."""


@keys.command("new")
@click.option(
    "--dir",
    "directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the keys are made and stay; must not hold keys yet.",
)
@click.option("--name", required=True, help="Who runs the replica, as others will see it.")
@click.option(
    "--passphrase-file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with one line, readable by its owner alone.",
)
@json_option
def new(directory: Path, name: str, passphrase_file: Path, as_json: bool) -> None:
    """Make a consensus, a transport and an operator key, and print their public card."""
    from pbft.node.identity import IdentityError, create_identity, read_passphrase

    try:
        card = create_identity(directory, name=name, passphrase=read_passphrase(passphrase_file))
    except IdentityError as error:
        raise CommandError(str(error), ExitCode.REFUSED) from error
    except OSError as error:
        raise CommandError(f"{error.filename or directory}: {error.strerror}") from error
    say(f"keys of {name} are in {directory}; send the card to the other members, keep the rest")
    public = {
        "name": card.name,
        "consensus_key": card.consensus_key.hex(),
        "transport_key": card.transport_key.hex(),
        "operator_key": card.operator_key.hex(),
    }
    if as_json:
        print_json({**public, "directory": str(directory)})
    else:
        click.echo(card.to_json().rstrip())
