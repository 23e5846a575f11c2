"""`gridquorum contract show|diff|gas|test`: what an author asks of a file between writing and deploying it."""

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from pbft.cli.contract_files import compile_file, source_file
from pbft.cli.surface import CommandError, ExitCode, json_option, print_json, say

PYTEST_NO_TESTS = 5  # pytest's own exit code


@click.command(short_help="Show the canonical tree of a contract.")
@source_file
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show what replicas agree on when they agree on FILE: its tree's hash, storage, functions, and every node."""
    from contracts.listing import describe_tree, list_tree

    tree = compile_file(file)
    if as_json:
        print_json(describe_tree(tree))
    else:
        click.echo("\n".join(list_tree(tree)))


@click.command(short_help="Compare two versions of a contract.")
@click.argument("old", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("new", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def diff(old: Path, new: Path, as_json: bool) -> None:
    """Show what changes from OLD to NEW in storage, methods and events, and whether data and callers can stay.

    Exit code 0 where everything is compatible, 1 where something is not. What changes inside methods is not judged.
    """
    from contracts.difference import compare_trees

    before, after = compile_file(old), compile_file(new)
    changes = compare_trees(before, after)
    is_compatible = all(change.is_compatible for change in changes)
    is_same = before.to_bytes() == after.to_bytes()
    if as_json:
        rows = [
            {
                "part": change.part,
                "name": change.name,
                "change": change.change,
                "compatible": change.is_compatible,
                "reason": change.reason,
            }
            for change in changes
        ]
        print_json({"same_tree": is_same, "compatible": is_compatible, "changes": rows})
    else:
        for change in changes:
            sign = "compatible  " if change.is_compatible else "INCOMPATIBLE"
            click.echo(f"{sign} {change.part} {change.name}: {change.change} ({change.reason})")
        if not changes:
            click.echo("the same tree" if is_same else "the same storage, methods and events; other code inside")
    if not is_compatible:
        count = sum(not change.is_compatible for change in changes)
        raise CommandError(f"{count} incompatible change{'s' if count > 1 else ''} from {old} to {new}")


@click.command(short_help="Show what the methods of a contract cost.")
@source_file
@click.option(
    "--tests",
    type=click.Path(path_type=Path, exists=True),
    help="A test file or folder: run it, and show what the calls in it cost.",
)
@json_option
def gas(file: Path, tests: Path | None, as_json: bool) -> None:
    """Show the gas of each method of FILE.

    What a call costs depends on what it is given and finds, so only the least that a call can cost is known from the
    code: the cheapest way through, no step of a loop. With --tests the author's tests run, and the least, middle and
    most of their calls that worked are shown beside it. Of scheduled calls and @init only the bound is shown.
    """
    from contracts.gas_bounds import compute_gas_bounds

    tree = compile_file(file)
    measured = _measure(tests) if tests is not None else []
    of_method = {row.pop("method"): row for row in measured if row.pop("contract") == tree.name}
    rows: list[dict[str, Any]] = [
        {
            "name": bound.method,
            "kind": bound.kind,
            "at_least": bound.at_least,
            "grows_with": list(bound.grows_with),
            "measured": of_method.get(bound.method),
        }
        for bound in compute_gas_bounds(tree)
    ]
    if as_json:
        print_json({"contract": tree.name, "methods": rows})
        return
    for row in rows:
        grows = f", grows with {', '.join(row['grows_with'])}" if row["grows_with"] else ""
        click.echo(f"{row['kind']} {row['name']}: at least {row['at_least']}{grows}")
        if row["measured"] is not None:
            seen = row["measured"]
            many = "call" if seen["calls"] == 1 else "calls"
            click.echo(f"  {seen['calls']} {many}: {seen['least']} to {seen['most']}, the middle one {seen['middle']}")


@click.command(short_help="Run the tests of contracts.")
@click.argument("path", type=click.Path(path_type=Path, exists=True), default=".")
@json_option
def test(path: Path, as_json: bool) -> None:
    """Run the tests in PATH, a file or a folder, with pytest; they have the fixture `chain`: the engine, no node.

    Tests run in the folder they are in, so `chain.deploy("token.py")` finds a contract beside its test. Exit code 0
    where all pass, 1 where one does not, 3 where there is none. `pytest` itself does the same, and takes options.
    """
    code, output = run_pytest(path, [])
    if as_json:
        print_json({"passed": code == 0, "exit_code": code, "output": output})
    else:
        click.echo(output, nl=False)
    if code == PYTEST_NO_TESTS:
        raise CommandError(f"{path}: there is no test", ExitCode.NOT_FOUND)
    if code:
        raise CommandError(f"{path}: tests failed")


def run_pytest(path: Path, options: list[str]) -> tuple[int, str]:
    """pytest's exit code and what it said, run on a file or folder from the folder it is in. Raises CommandError."""
    if find_spec("pytest") is None:
        raise CommandError("pytest is not installed: pip install pytest", ExitCode.NOT_FOUND)
    folder, target = (path, ".") if path.is_dir() else (path.parent, path.name)
    done = subprocess.run(  # noqa: S603 - our own interpreter; the path is an argument, never an option
        [sys.executable, "-m", "pytest", "-q", *options, "--", target],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def _measure(tests: Path) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "gas.json")
        code, output = run_pytest(tests, ["--gas-report", str(report)])
        if code:
            say(output)
            raise CommandError(f"{tests}: tests failed, so nothing was measured")
        rows: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))
        return rows
