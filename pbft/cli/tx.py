"""`gridquorum tx ping|send`: one transaction, seen through to an answer that W replicas vouch for."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pbft.cli.surface import ExitCode, ReplicaId, data_dir_option, find_data_dir, json_option, print_json, say

if TYPE_CHECKING:
    from pbft.client.submissions import SubmitResult

GAS_LIMIT: Final = 1_000_000


@click.group()
def tx() -> None:
    """Submit transactions."""


@tx.command(short_help="Submit a transaction that does nothing.")
@data_dir_option
@json_option
def ping(data_dir: Path | None, as_json: bool) -> None:
    """Submit a transaction that does nothing, and wait for its receipt."""
    _send(data_dir, "ping", "ping", (), GAS_LIMIT, None, as_json)


@tx.command(short_help="Call a method of a contract.")
@click.argument("contract")
@click.argument("method")
@click.argument("arguments", nargs=-1)
@click.option("--gas-limit", type=click.IntRange(1, 5_000_000), default=GAS_LIMIT, show_default=True)
@click.option("--operator", type=ReplicaId(), help="Sign as the operator of this replica of the local network.")
@data_dir_option
@json_option
def send(
    contract: str,
    method: str,
    arguments: tuple[str, ...],
    gas_limit: int,
    operator: int | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Call METHOD of CONTRACT with ARGUMENTS from the network's account.

    ARGUMENTS are JSON values; {"hex": "..."} stands for bytes, {"contract": "..."} for a contract's address, and
    {"account": "own"} for the sender's.
    """
    _send(data_dir, contract, method, arguments, gas_limit, operator, as_json)


def _send(
    data_dir: Path | None,
    contract: str,
    method: str,
    texts: tuple[str, ...],
    gas_limit: int,
    operator: int | None,
    as_json: bool,
) -> None:
    from pbft.cli.network_client import open_client, operator_account, own_values, parse_arguments, submit_anew

    values = parse_arguments(texts)
    directory = find_data_dir(data_dir)
    with open_client(directory) as client:
        account = client.account if operator is None else operator_account(client, directory, operator)
        result = submit_anew(client, account, (contract, method, *own_values(values, account.address)), gas_limit)
    answer, code = describe(result)
    if as_json:
        print_json(answer)
    else:
        click.echo(in_words(answer))
    if code:
        say(f"gridquorum: {_why(answer)}")
        raise click.exceptions.Exit(int(code))


def in_words(answer: dict[str, Any]) -> str:
    """The fields of the JSON for people, on lines of at most 80 columns; what is not known is left out."""
    from pbft.cli.network_client import show_value, show_voices

    lines = [f"{answer['status']}  {answer['tx']}"]
    if answer["height"] is not None:
        index = f", receipt {answer['index']}" if "index" in answer else ""
        lines.append(f"  at height {answer['height']}{index}")
    if "gas_used" in answer:
        lines.append(f"  gas used {answer['gas_used']}")
    if answer.get("result") is not None:
        lines.append(f"  result {show_value(answer['result'])}")
    if answer.get("vouched_by"):
        lines.append(f"  vouched for by {show_voices(answer['vouched_by'])}")
    lines += [f"  {replica}: {refusal}" for replica, refusal in answer.get("refusals", {}).items()]
    return "\n".join(lines)


def _why(answer: dict[str, Any]) -> str:
    """Why it is not done, and what is certain about a transaction whose outcome is not known."""
    from pbft.cli.network_client import explain_code

    if answer["status"] == "unknown":
        until = f"it may still run until height {answer['expiry_height']}, never twice"
        return f"unknown: no answer from enough replicas yet; {until}"
    detail = f": {answer['detail']}" if "detail" in answer else ""
    return f"{answer['status']}: {explain_code(answer['code'])}{detail}"


def describe(result: "SubmitResult") -> tuple[dict[str, Any], int]:
    """An outcome as the fields of the command's JSON, and the exit code."""
    from pbft.cli.network_client import to_json_value
    from pbft.core.client_session import Committed, OutcomeUnknown

    answer: dict[str, Any]
    if isinstance(result, OutcomeUnknown):
        answer = {
            "tx": result.tx_id.hex(),
            "height": None,
            "status": "unknown",
            "expiry_height": result.expiry_height,
            "refusals": {f"r{replica}": code for replica, code in result.refusals},
        }
        return answer, ExitCode.UNKNOWN
    receipt = result.receipt
    if isinstance(result, Committed):
        answer = {
            "tx": result.reply.tx_id.hex(),
            "height": result.reply.height,
            "status": "ok",
            "index": result.reply.index,
            "gas_used": result.receipt.gas_used,
            "result": to_json_value(result.receipt.value),
            "vouched_by": list(result.vouched_by),
        }
        return answer, 0
    answer = {
        "tx": result.tx_id.hex(),
        "height": result.reply.height if result.reply is not None else None,
        "status": receipt.status if receipt is not None else "expired",
        "code": result.code,
        "vouched_by": list(result.vouched_by),
    }
    if receipt is not None and receipt.value is not None:
        answer["detail"] = to_json_value(receipt.value)  # what the code is about: the field that LAYOUT means
    return answer, ExitCode.REJECTED
