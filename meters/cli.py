"""`gridquorum demo`: the whole way from a reading to a proved bill, on real replicas, in one command.

It owns the options, the exit codes and where words go: the report or the JSON to stdout, everything else to stderr. A
series that cannot be used is refused before anything is started.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pbft.cli.surface import (
    NETWORKS_FOLDER,
    CommandError,
    ExitCode,
    errors_as,
    is_terminal,
    json_option,
    say,
    terminations_as_interrupts,
)

if TYPE_CHECKING:
    from meters.demo_report import DemoResult
    from meters.series import Series

ARTIFACTS: Final = NETWORKS_FOLDER / "demo"  # proof and genesis of a demo whose network is not kept


DAYS_HELP: Final = (
    "Settle the first N days of 24 h. Of the shipped series: 1 by default, at most 7. Of a file given with --data: the"
    " whole file by default, and also where it is shorter."
)


@click.command(short_help="Settle a day of real readings, and prove it.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settle this CSV, whole unless --days says less, instead of the shipped series.",
)
@click.option("--interval-minutes", type=click.IntRange(1, 1440), help="Length of an interval of a CSV with steps.")
@click.option("--days", type=click.IntRange(1, 366), help=DAYS_HELP)
@click.option("--replicas", type=click.IntRange(4, 16), default=4, show_default=True, help="How many replicas.")
@click.option(
    "--keys",
    type=click.Choice(["static", "dynamic", "hybrid"]),
    default="dynamic",
    show_default=True,
    help="How the community shares its surplus.",
)
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Leave the network's data in this folder."
)
@click.option("--serve", is_flag=True, help="Keep the network running after the report, until Ctrl-C.")
@json_option
def demo(
    data: Path | None,
    interval_minutes: int | None,
    days: int | None,
    replicas: int,
    keys: str,
    keep: Path | None,
    serve: bool,
    as_json: bool,
) -> None:
    """Four replicas settle a day of household readings, lose their primary half way, and prove the result."""
    series = _read_series(data, interval_minutes, days)

    from meters.demo import DemoOptions, run_demo
    from meters.demo_progress import make_progress
    from meters.demo_report import render_json, render_text

    options = DemoOptions(replicas=replicas, keys=keys, keep=keep, artifacts=_artifacts())
    progress = make_progress(is_terminal=is_terminal())

    def show(result: "DemoResult") -> None:
        progress.close()
        click.echo(render_json(result) if as_json else render_text(result), nl=as_json)

    def show_and_serve(result: "DemoResult", directory: Path) -> None:
        show(result)
        say(f"serving {directory}; Ctrl-C ends it")
        _wait_for_interrupt()

    serving: Callable[[DemoResult, Path], None] | None = show_and_serve if serve else None
    try:
        with _demo_errors(), terminations_as_interrupts():
            result = run_demo(series, options, progress, serve=serving)
    finally:
        progress.close()
    if not serve:
        show(result)


def _read_series(data: Path | None, interval_minutes: int | None, days: int | None) -> "Series":
    """The series to settle. Whatever is wrong with it ends the command with exit code 2, naming line and column."""
    from meters.formats.interval_csv import FILE_BYTES_MAX, IntervalCsvError, parse_interval_csv
    from meters.series import shipped_series

    if data is None:
        if interval_minutes is not None:
            raise click.UsageError("--interval-minutes is about the file of --data")
        shipped = shipped_series()
        if days is not None and days > shipped.whole_days:
            raise click.UsageError(f"--days {days}: the shipped series has {shipped.whole_days} days")
        return shipped.days(days or 1)
    try:
        with data.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        series = parse_interval_csv(content, interval_minutes=interval_minutes)
        return series if days is None or days > series.whole_days else series.days(days)
    except IntervalCsvError as error:
        raise CommandError(f"{data}: {error}", ExitCode.USAGE) from error
    except OSError as error:
        raise CommandError(f"{data}: {error.strerror}", ExitCode.USAGE) from error


def _artifacts() -> Path | None:
    """Where proof and genesis of a network that is not kept go; None where nothing can be written here."""
    try:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return ARTIFACTS


def _demo_errors() -> errors_as:
    """What can end a demo, as exit codes."""
    from ledger.errors import LedgerError
    from meters.certification import NotCertifiableError
    from meters.demo_traffic import DemoFailed
    from pbft.client.errors import ClientError
    from pbft.node.local_network import LocalNetworkError

    codes = {"foreign_directory": ExitCode.REFUSED, "damaged": ExitCode.REFUSED, "not_ready": ExitCode.NOT_READY}
    return errors_as(
        {
            LocalNetworkError: lambda error: codes.get(error.code, ExitCode.FAILED),
            DemoFailed: lambda _: ExitCode.FAILED,
            NotCertifiableError: lambda _: ExitCode.FAILED,
            ClientError: lambda _: ExitCode.UNREACHABLE,
            LedgerError: lambda _: ExitCode.UNVERIFIED,
        }
    )


def _wait_for_interrupt() -> None:
    """Until the first Ctrl-C or SIGTERM, which is the expected end here; a second one is not heard any more."""
    never = threading.Event()
    with suppress(KeyboardInterrupt):
        while not never.wait(timeout=1.0):
            pass  # a wait with a time-out lets signals through on every platform
