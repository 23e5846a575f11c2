"""`gridquorum query`: call a view, and say how far its answer can be believed."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pbft.cli.surface import CommandError, data_dir_option, find_data_dir, json_option, print_json

if TYPE_CHECKING:
    from pbft.client.twisted_client import ReadLevel


@click.command()
@click.argument("contract")
@click.argument("method")
@click.argument("arguments", nargs=-1)
@click.option(
    "--read",
    type=click.Choice(["local", "vouched", "latest"]),
    default="vouched",
    show_default=True,
    help="One replica's word; f+1 equal answers; or ordered like a write.",
)
@click.option("--min-height", type=click.IntRange(0), default=0, help="Answers below this height do not count.")
@data_dir_option
@json_option
def query(
    contract: str,
    method: str,
    arguments: tuple[str, ...],
    read: "ReadLevel",
    min_height: int,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Call the view METHOD of CONTRACT with ARGUMENTS (JSON values, as `tx send` takes them)."""
    from pbft.cli.network_client import (
        explain_code,
        open_client,
        own_values,
        parse_arguments,
        show_value,
        show_voices,
        to_json_value,
    )
    from pbft.client.errors import QueryFailed

    texts = parse_arguments(arguments)
    directory = find_data_dir(data_dir)
    with open_client(directory) as client:
        values = own_values(texts, client.address)
        account = client.account if read == "latest" else None
        try:
            answer = client.query(contract, method, *values, read=read, min_height=min_height, account=account)
        except QueryFailed as error:
            raise CommandError(f"{contract}.{method}: {explain_code(error.reason)}") from error
    value = to_json_value(answer.value)
    if as_json:
        print_json(
            {
                "value": value,
                "height": answer.height,
                "time_ms": answer.time_ms,
                "read": answer.read,
                "vouched_by": list(answer.vouched_by),
            }
        )
    else:
        click.echo(show_value(value))
        click.echo(f"{answer.read} at height {answer.height}, by {show_voices(answer.vouched_by)}", err=True)
