"""`gridquorum simulate`: search seeds, and show one again."""

import secrets
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pbft.cli.surface import CommandError, ExitCode, json_option, print_json, say

if TYPE_CHECKING:
    from pbft.simulation.seed import SeedReport

SEEDS_MAX = 1_000_000
LINES_SHOWN = 100  # of a failed seed's transcript; the file has all


class SeedRange(click.ParamType[range]):
    """`A-B`, both included."""

    name = "A-B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """The range of seeds."""
        if isinstance(value, range):
            return value
        first, dash, last = str(value).partition("-")
        if not dash or not all(part.isascii() and part.isdecimal() and len(part) < 16 for part in (first, last)):
            self.fail(f"{value!r} is no range of seeds: expected two numbers, as 1-200", param, ctx)
        seeds = range(int(first), int(last) + 1)
        if not 0 < len(seeds) <= SEEDS_MAX:
            self.fail(f"{value!r}: expected 1 to {SEEDS_MAX} seeds", param, ctx)
        return seeds


@click.command()
@click.option("--seed", type=click.IntRange(0), help="Run this one seed, and tell what it drew and what happened.")
@click.option("--seeds", type=SeedRange(), help="Run a range of seeds, both ends included, as 1-200.")
@click.option("--steps", type=click.IntRange(1, 100_000), help="Length of the faults, in steps of 100 virtual ms.")
@click.option(
    "--report",
    "report_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Append each finished seed to this file, and skip the seeds that it holds.",
)
@json_option
def simulate(seed: int | None, seeds: range | None, steps: int | None, report_path: Path | None, as_json: bool) -> None:
    """Search the protocol: whole networks on virtual time, from seeds; without --seed or --seeds a random one."""
    from pbft.simulation.search import DamagedReport, search, summarise, write_transcript
    from pbft.simulation.seed import DEFAULT_STEPS

    if seed is not None and seeds is not None:
        raise click.UsageError("--seed and --seeds exclude each other")
    if seeds is None:
        chosen = secrets.randbelow(2**40) if seed is None else seed
        seeds = range(chosen, chosen + 1)
    is_alone = len(seeds) == 1
    start, ran = time.monotonic(), 0

    def tell(report: "SeedReport") -> None:
        nonlocal ran
        ran += 1
        if is_alone or report.failure:
            say(f"seed {report.seed}: {report.options.describe()}")
        if report.failure:
            path = write_transcript(report, Path(tempfile.gettempdir()))
            for line in report.transcript[-LINES_SHOWN:]:
                say(line)
            say(f"seed {report.seed} FAILED: {report.failure}")
            say(f"the whole transcript: {path}")

    try:
        records = search(seeds, steps or DEFAULT_STEPS, report_path=report_path, on_seed=tell)
    except (DamagedReport, OSError) as error:
        raise CommandError(str(error)) from error
    summary = summarise(records)
    if ran:
        say(f"{ran} seeds in {time.monotonic() - start:.1f} s, {ran / (time.monotonic() - start):.1f} a second")
    if as_json:
        print_json(summary)
    else:
        click.echo(
            f"{summary['seeds']} seeds, {len(summary['failed'])} failed, {summary['requests_executed']} requests, "
            f"{summary['view_changes']} view changes, trace {summary['trace_sha256']}"
        )
    unseen = [rule for rule, seeds_of_rule in summary["rules"].items() if not seeds_of_rule]
    total = len(summary["rules"])
    say(f"{total - len(unseen)} of {total} rules exercised, without {', '.join(unseen) or 'exception'}")
    if summary["failed"]:
        failed = ", ".join(str(number) for number in summary["failed"])
        raise CommandError(f"failed: {failed}; again with --seed N", ExitCode.FAILED)
