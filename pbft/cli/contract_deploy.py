"""`gridquorum contract deploy|upgrade|vote-upgrade`: a contract comes to a network, and goes on with other code there.

A source is checked here first, so that its author is told where it is wrong and nothing is paid; what the network then
says is the receipt's word. Who may do what is decided by the contract `code` (contracts/standard/README.md).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pbft.cli.contract_files import read_source, source_file
from pbft.cli.surface import CommandError, ReplicaId, data_dir_option, find_data_dir, json_option, print_json

if TYPE_CHECKING:
    from contracts.tree import Tree
    from pbft.client.submissions import SubmitResult

GAS_LIMIT: Final = 5_000_000  # a source of 64 KiB needs nearly all of it; what is not used is not paid
WORDS: Final = {
    "NOT_AN_AUTHOR": "this account may not deploy; the operators can vote for it: code.vote_author",
    "NOT_AN_OPERATOR": "this key is no operator's of a member",
    "NOT_DECIDED": "the operators have not decided on this code with these arguments: contract vote-upgrade",
    "TOO_EARLY": "decided, but from a later height on",
    "FROZEN": "the operators have decided that this contract never changes",
    "VOTED_BEFORE": "this operator has voted for it already",
}
"""What the contract `code` says by its own codes."""

name_option = click.option(
    "--name", help="The contract's name on the network (default: the class's, as energy_market)."
)
gas_option = click.option("--gas-limit", type=click.IntRange(1, 5_000_000), default=GAS_LIMIT, show_default=True)


@click.command(short_help="Deploy a contract on a network.")
@source_file
@click.argument("arguments", nargs=-1)
@name_option
@gas_option
@data_dir_option
@json_option
def deploy(
    file: Path, arguments: tuple[str, ...], name: str | None, gas_limit: int, data_dir: Path | None, as_json: bool
) -> None:
    """Deploy FILE; ARGUMENTS are its @init's, as `tx send` takes them. Waits for the receipt.

    Then `tx send NAME METHOD` and `query NAME METHOD` call it. Exit code 1 where FILE is no contract (nothing is sent
    then), 11 where the network refuses it.
    """
    _bring("deploy", file, arguments, name, gas_limit, data_dir, as_json)


@click.command(short_help="Let a deployed contract go on with other code.")
@source_file
@click.argument("arguments", nargs=-1)
@name_option
@gas_option
@data_dir_option
@json_option
def upgrade(
    file: Path, arguments: tuple[str, ...], name: str | None, gas_limit: int, data_dir: Path | None, as_json: bool
) -> None:
    """Put FILE in the place of the contract's code, as the operators decided; ARGUMENTS are its @migrate's.

    What is stored stays. Exit code 11 with LAYOUT where a field of storage would be lost; `contract diff` says so
    before.
    """
    _bring("upgrade", file, arguments, name, gas_limit, data_dir, as_json)


@click.command("vote-upgrade", short_help="Vote, as an operator, for an upgrade.")
@source_file
@click.argument("arguments", nargs=-1)
@name_option
@click.option("--from-height", type=click.IntRange(0), default=0, help="The upgrade may happen from this height on.")
@click.option(
    "--operator",
    "operators",
    type=ReplicaId(),
    multiple=True,
    required=True,
    help="Vote as the operator of this replica of the local network; may be repeated.",
)
@data_dir_option
@json_option
def vote_upgrade(
    file: Path,
    arguments: tuple[str, ...],
    name: str | None,
    from_height: int,
    operators: tuple[int, ...],
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Vote that a contract goes on with FILE, with these ARGUMENTS of its @migrate, from a height on.

    A vote is for exactly that code, by its tree's hash, and those arguments; the quorum of the operators decides.
    """
    from contracts.client_stub import default_name
    from contracts.tree import compute_tree_hash
    from pbft.cli.network_client import open_client, operator_account, own_values, parse_arguments, submit_anew
    from pbft.client import code

    source = read_source(file)
    tree = _compile(file, source, as_json)
    tree_hash = compute_tree_hash(tree.to_bytes())
    values = parse_arguments(arguments)
    contract, directory = name or default_name(tree.name), find_data_dir(data_dir)
    votes = []
    with open_client(directory) as client:
        call = code.vote_upgrade(contract, source, *own_values(values, client.address), from_height=from_height)
        for replica_id in operators:
            account = operator_account(client, directory, replica_id)
            result = submit_anew(client, account, call, GAS_LIMIT)
            answer = _expect_ok(result, f"the vote of r{replica_id}", as_json)
            votes.append({"operator": replica_id, "tx": answer["tx"], "height": answer["height"]})
    is_decided = bool(answer["result"])
    if as_json:
        told = {"contract": contract, "tree": tree_hash.hex(), "from_height": from_height}
        print_json({**told, "votes": votes, "decided": is_decided})
    else:
        for one in votes:
            click.echo(f"r{one['operator']} voted at height {one['height']}")
        click.echo(f"{contract}: tree {tree_hash.hex()[:16]} is {'decided' if is_decided else 'not decided yet'}")


def _bring(
    method: str,
    file: Path,
    texts: tuple[str, ...],
    name: str | None,
    gas_limit: int,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """One transaction that brings a source, seen through."""
    from contracts.client_stub import default_name
    from contracts.tree import compute_tree_hash
    from ledger.execution import contract_address
    from pbft.cli.network_client import open_client, own_values, parse_arguments, submit_anew
    from pbft.client import code

    source = read_source(file)
    tree = _compile(file, source, as_json)
    values = parse_arguments(texts)
    contract = name or default_name(tree.name)
    with open_client(find_data_dir(data_dir)) as client:
        make_call = code.deploy if method == "deploy" else code.upgrade
        call = make_call(contract, source, *own_values(values, client.address))
        result = submit_anew(client, client.account, call, gas_limit)
    answer = _expect_ok(result, f"{file} as {contract}", as_json)
    told = {
        "tx": answer["tx"],
        "height": answer["height"],
        "status": "ok",
        "contract": contract,
        "address": contract_address(contract).hex(),
        "tree": compute_tree_hash(tree.to_bytes()).hex(),
        "gas_used": answer["gas_used"],
    }
    if as_json:
        print_json(told)
    else:
        done = "deployed" if method == "deploy" else "upgraded"
        click.echo(f"{contract} {done} at height {told['height']}, gas {told['gas_used']}")
        click.echo(f"  address {told['address']}")
        click.echo(f"  tree    {told['tree']}")


def _compile(file: Path, source: bytes, as_json: bool) -> "Tree":
    """The tree of a source that is about to be sent. Raises CommandError, as `contract check` does."""
    from contracts.compiler import compile_source
    from contracts.errors import ContractRefused

    try:
        return compile_source(source)
    except ContractRefused as refusal:
        if as_json:
            place = {"line": refusal.line or None, "column": refusal.column or None, "hint": refusal.hint}
            print_json({"tx": None, "status": "not_sent", "code": refusal.code, **place})
        raise CommandError(f"{file}:{refusal}") from refusal


def _expect_ok(result: "SubmitResult", what: str, as_json: bool) -> dict[str, Any]:
    """The answer's fields as `tx send --json` has them. Any other end is printed so, and raised as CommandError."""
    from pbft.cli.network_client import explain_code
    from pbft.cli.tx import describe

    answer, exit_code = describe(result)
    if not exit_code:
        return answer
    if as_json:
        print_json(answer)
    if answer["status"] == "unknown":
        raise CommandError(f"{what}: not known yet; it may still run until height {answer['expiry_height']}", exit_code)
    code = answer["code"]
    words = f"{WORDS[code]} ({code})" if code in WORDS else explain_code(code)
    detail = f": {answer['detail']}" if answer.get("detail") else ""
    raise CommandError(f"{what}: {answer['status']}: {words}{detail}", exit_code)
