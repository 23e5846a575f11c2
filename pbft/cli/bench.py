"""`gridquorum bench`: what a network costs on this machine, and how near that is to its primitives.

The command asks, shows and explains; what is measured, and how, is `pbft.bench`'s. It starts a network of its own on
free ports in a directory of its own, and leaves nothing behind.
"""

from typing import TYPE_CHECKING, Any

import click

from pbft.cli.surface import ExitCode, errors_as, json_option, print_json, say, terminations_as_interrupts

if TYPE_CHECKING:
    from pbft.bench.options import BenchError
    from pbft.node.local_cluster import LocalNetworkError

_USAGE = "bad_"  # codes of options that make no sense begin so


@click.command()
@click.option("--replicas", type=int, default=4, show_default=True, help="How many replicas, 4 at least.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="Length of the window that is measured.")
@click.option("--warm-up", "warm_up_seconds", type=float, default=2.0, show_default=True, help="The same load before.")
@click.option("--clients", type=int, default=1_000, show_default=True, help="Requests outstanding at once.")
@click.option("--rate", type=float, help="Open loop: requests a second (default: closed loop).")
@click.option("--workload", default="null", show_default=True, help="null, transfer, readings.")
@click.option("--batch", type=int, default=500, show_default=True, help="Requests of a batch at most.")
@click.option("--payload", type=int, default=0, show_default=True, help="Bytes in each request of the null workload.")
@click.option("--window", type=int, default=64, show_default=True, help="Heights between the watermarks.")
@click.option("--accounts", type=int, default=100_000, show_default=True, help="Accounts of the transfer workload.")
@click.option(
    "--faults",
    default="none",
    show_default=True,
    help="silent-primary, slow-primary, equivocating-primary, replica-down, flooding-client, lagging-replica.",
)
@click.option("--verifiers", type=int, help="Processes of each replica that check signatures (default: as `run`).")
@click.option("--port-base", type=click.IntRange(0, 65_535), default=0, show_default=True, help="0 draws free ports.")
@json_option
def bench(as_json: bool, **asked: Any) -> None:
    """Measure a whole network on this machine: throughput, latency, and what it costs, with the limit beside it.

    Sync, TLS, all signature checks and the metered contract worker are on; there is no switch for them.
    """
    from pbft.bench.options import BenchError, BenchOptions
    from pbft.bench.report import make_report, print_report
    from pbft.bench.run import run_bench
    from pbft.node.local_cluster import LocalNetworkError

    with errors_as({BenchError: _code_of, LocalNetworkError: _code_of}), terminations_as_interrupts():
        report = make_report(run_bench(BenchOptions(**asked), say))
    if as_json:
        print_json(report)
    else:
        print_report(report, click.echo)


def _code_of(error: "BenchError | LocalNetworkError") -> int:
    if error.code.startswith(_USAGE):
        return ExitCode.USAGE
    if error.code == "no_memory":
        return ExitCode.REFUSED
    return ExitCode.NOT_READY if error.code in ("not_ready", "silent", "stuck") else ExitCode.FAILED
