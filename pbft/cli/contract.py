"""`gridquorum contract`: for those who write contracts. No network is needed until one is deployed.

`check` says whether a file is a contract, `abi` what it shows, `try` runs one method in the node's own worker. `show`,
`diff`, `gas` and `test` are in `contract_tools`, `deploy`, `vote-upgrade` and `upgrade` in `contract_deploy`.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pbft.cli import contract_deploy, contract_tools
from pbft.cli.contract_files import compile_file, read_source, source_file
from pbft.cli.surface import CommandError, json_option, print_json, say

if TYPE_CHECKING:
    from contracts.verdict import SourceVerdict
    from pbft.cli.trial_arguments import TrialArguments
    from pbft.node.contract_trial import ContractTrial

CALLS_MAX: Final = 10_000  # of one trial
METHOD_SHOWN_MAX: Final = 100  # characters of a name in a message
GAS_DEFAULT: Final = 5_000_000  # what a network allows one transaction unless its genesis says otherwise
GAS_MAX: Final = 50_000_000
"""Twice what any network can allow a transaction, so that what is too dear for all of them can still be measured; more
could leave an outcome that nobody can read."""


def _check_gas(_context: click.Context, _option: click.Parameter, gas: int) -> int:
    if not 0 <= gas <= GAS_MAX:
        raise click.BadParameter(
            f"from 0 to {GAS_MAX:,}: twice what any network allows a transaction; what more leaves, nobody can read"
        )
    return gas


@click.group()
def contract() -> None:
    """Write contracts: check, look, try, test, deploy."""


for tool in (contract_tools.show, contract_tools.diff, contract_tools.gas, contract_tools.test):
    contract.add_command(tool)
for step in (contract_deploy.deploy, contract_deploy.vote_upgrade, contract_deploy.upgrade):
    contract.add_command(step)


@contract.command(short_help="Say whether a file is a contract.")
@source_file
@json_option
def check(file: Path, as_json: bool) -> None:
    """Check FILE as a deploy would: exit code 0, or 1 with the first thing that is not allowed, where, and a hint."""
    from contracts.compiler import judge_source

    verdict = judge_source(read_source(file))
    if as_json:
        print_json(_describe_verdict(verdict) | {"tree": verdict.tree_hash.hex() or None})
    elif verdict.is_accepted:
        click.echo(f"{file}: a contract, tree {verdict.tree_hash.hex()[:16]}")
    if not verdict.is_accepted:
        raise CommandError(f"{file}:{verdict.line}:{verdict.column}: {verdict.code}: {verdict.hint}")


@contract.command(short_help="Show methods, events and structs of a contract.")
@source_file
@click.option("--schema", is_flag=True, help="JSON Schemas of arguments, results and events instead.")
@click.option("--stub", is_flag=True, help="A typed Python module for callers instead: its methods fit `submit`.")
@json_option
def abi(file: Path, schema: bool, stub: bool, as_json: bool) -> None:
    """Show what FILE offers: methods with arguments and results, events, structs."""
    from contracts.abi import compute_abi, compute_schemas
    from contracts.client_stub import default_name, make_stub

    if schema and stub:
        raise click.UsageError("--schema and --stub exclude each other")
    tree = compile_file(file)
    if stub:
        source = make_stub(tree, default_name(tree.name))
        if as_json:
            print_json({"stub": source})
        else:
            click.echo(source, nl=False)
        return
    answer = compute_schemas(tree) if schema else compute_abi(tree)
    if as_json:
        print_json(answer)
    elif schema:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        for line in _lines_of(answer):
            click.echo(line)


@contract.command("try", short_help="Deploy a file in memory and call a method.")
@source_file
@click.argument("method")
@click.argument("arguments", default="[]")
@click.option("--gas", type=int, callback=_check_gas, default=GAS_DEFAULT, show_default=True, help="Limit of the call.")
@click.option("--calls", type=click.IntRange(1, CALLS_MAX), default=1, help="Transactions that make the same call.")
@click.option("--init", "init_text", default="[]", help="Arguments of @init, a JSON array.")
@json_option
def try_contract(file: Path, method: str, arguments: str, gas: int, calls: int, init_text: str, as_json: bool) -> None:
    """Deploy FILE in memory and call METHOD with ARGUMENTS, a JSON array, in the worker that a replica runs.

    Bytes and addresses are hexadecimal text. With --calls the last outcome is shown. Arguments that do not fit, and
    methods that are not there, get the network's own answer. Exit code 0 where the call worked, 1 where the contract
    was refused or the call failed.
    """
    from pbft.cli.trial_arguments import read_arguments

    given = read_arguments(arguments, "ARGUMENTS")
    init = read_arguments(init_text, "--init")
    try:
        answer = _run_trial(read_source(file), method, (given, init), gas, calls)
    except TrialDied as error:
        if as_json:
            print_json({"deploy": None, "call": None, "worker": {"pid": None, "stopped": error.message}})
        raise
    call = answer["call"]
    if as_json:
        print_json(answer)
    elif call is not None:
        _show_call(call, answer["worker"])
    deploy = answer["deploy"]
    if not deploy["accepted"]:
        where = f"{deploy['line']}:{deploy['column']}" if deploy["line"] else "@init" if not deploy["hint"] else "file"
        words = deploy["hint"] or init.misfit
        raise CommandError(f"{file}: not deployed: {where}: {deploy['code']} {words}".rstrip())
    if call["status"] != "ok":
        words = f": {given.misfit}" if call["code"] == "ARGUMENTS" and given.misfit else ""
        raise CommandError(f"{method[:METHOD_SHOWN_MAX]}: {call['status']} {call['code']}{words}")


class TrialDied(CommandError):
    """No verdict of the contract, but a defect of what runs it."""


def _run_trial(
    source: bytes, method: str, arguments: "tuple[TrialArguments, TrialArguments]", gas: int, calls: int
) -> dict[str, Any]:
    """The trial in this process's reactor, from start to end."""
    from twisted.internet import reactor as installed
    from twisted.internet.defer import ensureDeferred

    from pbft.node.contract_trial import ContractTrial, TrialStopped
    from pbft.node.log import make_logger

    reactor: Any = installed
    answers: list[dict[str, Any]] = []
    errors: list[Exception] = []

    async def run() -> None:
        with ContractTrial(reactor, make_logger(replica=0, stream=sys.stderr)) as trial:
            try:
                answers.append(await _try(trial, source, method, arguments, gas, calls))
            except (CommandError, TrialStopped) as error:
                errors.append(error)
            finally:
                await trial.close()

    def begin() -> None:
        ensureDeferred(run()).addErrback(fail).addCallback(stop)

    def stop(_: None) -> None:
        reactor.stop()

    def fail(failure: Any) -> None:
        errors.append(failure.value)

    reactor.callWhenRunning(begin)
    reactor.run()
    for error in errors:
        if isinstance(error, TrialStopped):
            raise TrialDied(f"the contract worker did not survive: {error}") from error
        raise error
    if not answers:  # Ctrl-C ended the reactor
        raise click.Abort
    return answers[0]


async def _try(
    trial: "ContractTrial",
    source: bytes,
    method: str,
    arguments: "tuple[TrialArguments, TrialArguments]",
    gas: int,
    calls: int,
) -> dict[str, Any]:
    from contracts.abi import value_to_json
    from contracts.compiler import compile_source
    from pbft.node.contract_trial import describe_call

    verdict = await trial.check(source)
    deploy, call = _describe_verdict(verdict), None
    if verdict.is_accepted:
        tree = compile_source(source)
        given, init = arguments
        constructor = next((function.name for function in tree.functions if function.kind == "init"), None)
        deployed = await trial.deploy(source.decode(), init.encode_for(tree, constructor))
        deploy |= {"accepted": deployed.status == "ok", "code": deployed.code or None}
        if deployed.status == "ok":
            outcome = await trial.call(method, given.encode_for(tree, method), gas=gas, count=calls)
            call = describe_call(outcome, value_to_json)
    return {"deploy": deploy, "call": call, "worker": {"pid": trial.pid, **trial.confinement}}


def _describe_verdict(verdict: "SourceVerdict") -> dict[str, Any]:
    return {
        "accepted": verdict.is_accepted,
        "code": verdict.code or None,
        "line": verdict.line or None,
        "column": verdict.column or None,
        "hint": verdict.hint or None,
    }


def _show_call(call: dict[str, Any], worker: dict[str, Any]) -> None:
    """The outcome for people."""
    click.echo(f"{call['status']}{' ' + call['code'] if call['code'] else ''}, gas {call['gas']}")
    if call["status"] == "ok":
        click.echo(f"result {json.dumps(call['result'], ensure_ascii=False)}")
    for event in call["events"]:
        click.echo(f"event {event['name']} {json.dumps(event['fields'], ensure_ascii=False)}")
    missing = [f"{name} {state}" for name, state in worker.items() if name != "pid" and state != "on"]
    if missing:
        say(f"the kernel does not confine the worker fully: {', '.join(missing)}")


def _lines_of(abi_answer: dict[str, Any]) -> list[str]:
    """The ABI for people: one line a method, event and struct."""

    def fields_of(parts: list[dict[str, Any]]) -> str:
        return ", ".join(
            f"{part['name']}: {part['type']}{' = ' + json.dumps(part['default']) if 'default' in part else ''}"
            for part in parts
        )

    lines = [f"contract {abi_answer['contract']}"]
    for method in abi_answer["methods"]:
        roles = f", role {' or '.join(method['roles'])}" if "roles" in method else ""
        lines.append(
            f"  {method['kind']} {method['name']}({fields_of(method['arguments'])}) -> {method['result']}{roles}"
        )
    for kind in ("events", "structs"):
        lines += [f"  {kind[:-1]} {record['name']}({fields_of(record['fields'])})" for record in abi_answer[kind]]
    return lines
