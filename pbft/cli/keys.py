"""`gridquorum keys new|renew|authority|client`: keys, each made where it stays.

`new` and `renew` print the public card of a replica, which is all that the other members need; `authority` the public
key of who lets clients in, for the network definition; `client` makes what one client needs. Where keys live and how
they are protected is left to `pbft.node.identity` and `pbft.node.client_identity`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pbft.cli.surface import ExitCode, errors_as, json_option, print_json, say

if TYPE_CHECKING:
    from pbft.node.identity import PublicCard

directory_option = click.option(
    "--dir",
    "directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the keys are made and stay; must not hold keys yet.",
)
passphrase_option = click.option(
    "--passphrase-file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with one line, readable by its owner alone.",
)


def identity_errors() -> errors_as:
    """What the key directories raise, as exit codes."""
    from pbft.node.identity import IdentityError

    return errors_as({IdentityError: lambda _: ExitCode.REFUSED})


@click.group()
def keys() -> None:
    """Make the keys of a replica, of a client, or of who lets clients in."""


@keys.command("new", short_help="Make the keys of a replica.")
@directory_option
@click.option("--name", required=True, help="Who runs the replica, as others will see it.")
@passphrase_option
@json_option
def new(directory: Path, name: str, passphrase_file: Path, as_json: bool) -> None:
    """Make a consensus, a transport and an operator key, and print their public card."""
    from pbft.node.identity import create_identity, read_passphrase

    with identity_errors():
        card = create_identity(directory, name=name, passphrase=read_passphrase(passphrase_file))
    say(f"keys of {name} are in {directory}; send the card to the other members, keep the rest")
    _show_card(card, directory, as_json)


@keys.command("renew", short_help="Make a new consensus key.")
@click.option(
    "--dir",
    "directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The directory that `keys new` made.",
)
@passphrase_option
@json_option
def renew(directory: Path, passphrase_file: Path, as_json: bool) -> None:
    """Make a new consensus key in the place of the old one, which is destroyed, and print the public card.

    After a lost or restored data directory, or when a key may have been seen by others. The replica is silent until an
    epoch lists the new key: run it with --recover, and have the members vote for it.
    """
    from pbft.node.identity import read_passphrase, renew_consensus_key

    with identity_errors():
        card = renew_consensus_key(directory, passphrase=read_passphrase(passphrase_file))
    say(f"the consensus key in {directory} is new; send the card to the other members, who vote for it")
    _show_card(card, directory, as_json)


def _show_card(card: "PublicCard", directory: Path, as_json: bool) -> None:
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


@keys.command("authority", short_help="Make the key that lets clients in.")
@directory_option
@passphrase_option
@json_option
def authority(directory: Path, passphrase_file: Path, as_json: bool) -> None:
    """Make the key that lets clients in, and print what the network definition lists in `client_authorities`."""
    from pbft.node.client_identity import create_authority
    from pbft.node.identity import read_passphrase

    with identity_errors():
        public_key = create_authority(directory, passphrase=read_passphrase(passphrase_file))
    say(f"the authority's key is in {directory}; whoever holds it lets clients in")
    if as_json:
        print_json({"client_authority": public_key.hex(), "directory": str(directory)})
    else:
        click.echo(public_key.hex())


@keys.command("client", short_help="Make a client's certificate and account.")
@directory_option
@click.option("--name", required=True, help="The client, as the replicas' logs show it.")
@click.option(
    "--authority",
    "authority_directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The directory that `keys authority` made.",
)
@passphrase_option
@json_option
def client(directory: Path, name: str, authority_directory: Path, passphrase_file: Path, as_json: bool) -> None:
    """Make a client's certificate and account; the passphrase file opens the authority and goes with the client."""
    from pbft.node.client_identity import create_client, read_authority
    from pbft.node.identity import read_passphrase
    from pbft.node.tls import CLIENT_CERTIFICATE_DAYS

    with identity_errors():
        passphrase = read_passphrase(passphrase_file)
        key = read_authority(authority_directory, passphrase=passphrase)
        address = create_client(directory, key, name=name, passphrase=passphrase)
    say(f"the client {name} is in {directory}; its certificate ends after {CLIENT_CERTIFICATE_DAYS} days")
    if as_json:
        print_json({"name": name, "account": address.hex(), "directory": str(directory)})
    else:
        click.echo(address.hex())
