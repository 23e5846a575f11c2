"""`gridquorum up`, `down`, `status` and `fault`: a whole network on this machine, without a daemon.

The commands say to people and scripts what `pbft.node.local_cluster` does. `up` in the foreground owns its replicas:
they end with it, however it ends. `up --detach` leaves them to `down`.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pbft.cli.surface import (
    CommandError,
    ExitCode,
    ReplicaId,
    data_dir_option,
    errors_as,
    find_data_dir,
    json_option,
    print_json,
    say,
    terminations_as_interrupts,
    uninterrupted,
)

if TYPE_CHECKING:
    from pbft.node.local_cluster import LocalNetwork
    from pbft.node.network_config import NetworkDefinition

LOOK_SECONDS: Final = 0.5  # how often the foreground looks whether its replicas still run

_CODES: Final = {
    "not_there": ExitCode.NOT_FOUND,
    "no_such_replica": ExitCode.USAGE,
    "bad_port_base": ExitCode.USAGE,
    "has_keys": ExitCode.USAGE,
    "not_running": ExitCode.NOT_FOUND,
    "not_ready": ExitCode.NOT_READY,
    "no_quorum": ExitCode.NOT_READY,
    "foreign_directory": ExitCode.REFUSED,
    "damaged": ExitCode.REFUSED,
}


def _cluster_errors() -> errors_as:
    """Errors of the local network and of definitions as exit codes."""
    from pbft.node.genesis_file import GenesisMismatch
    from pbft.node.local_cluster import LocalNetworkError
    from pbft.node.network_config import ConfigError

    return errors_as(
        {
            LocalNetworkError: lambda error: _CODES.get(error.code, ExitCode.FAILED),
            ConfigError: lambda _: ExitCode.USAGE,
            GenesisMismatch: lambda _: ExitCode.REFUSED,
        }
    )


@click.command()
@click.argument("network", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--detach", is_flag=True, help="Return when the network is ready; `gridquorum down` ends it.")
@click.option("--reset", is_flag=True, help="Begin anew: removes the network's keys and chain in the directory.")
@click.option(
    "--port-base",
    type=click.IntRange(0, 65_535),
    envvar="GRIDQUORUM_PORT_BASE",
    help="First port (default 27600); 0 draws free ports.",
)
@data_dir_option
@json_option
def up(
    network: Path | None, detach: bool, reset: bool, port_base: int | None, data_dir: Path | None, as_json: bool
) -> None:
    """Start a whole network on this machine: four replicas, each its own process, or those of the file NETWORK.

    A directory that exists goes on with its keys and chain. Keys made here are for this machine alone.
    """
    from pbft.node.local_cluster import LocalNetworkError, exclusive, prepare, read_network, running_replicas

    with _cluster_errors(), terminations_as_interrupts():
        template = _read_template(network)
        directory = find_data_dir(data_dir, template.name if template is not None else None)
        try:
            with exclusive(directory):
                there = (directory / "network.json").is_file()
                running = running_replicas(read_network(directory)) if there else ()
                if running and reset:
                    raise CommandError(f"{directory} is running: `gridquorum down` first", ExitCode.REFUSED)
                if running and len(running) == len(read_network(directory).replicas):
                    raise LocalNetworkError("running", f"{directory} is already running")
                local = prepare(directory, template=template, port_base=port_base, reset=reset)
                _bring_up(local, detach=detach, as_json=as_json)
        except LocalNetworkError as error:
            if error.code != "running" or reset:
                raise
            say(str(error))
            _print_network(read_network(directory), as_json=as_json)


def _read_template(path: Path | None) -> "NetworkDefinition | None":
    from pbft.node.network_config import load_network

    return load_network(path) if path is not None else None


def _bring_up(local: "LocalNetwork", *, detach: bool, as_json: bool) -> None:
    """Start what does not run, wait for it, and in the foreground stay. A failure leaves nothing running."""
    from pbft.node.local_cluster import start, stop, wait_ready

    say(f'local network "{local.name}" in {local.directory}: keys made here, for this machine alone')
    leaves_running = False
    try:
        start(local, tied=not detach)
        wait_ready(local)
        _print_network(local, as_json=as_json)
        leaves_running = detach
        if not detach:
            say("stop: Ctrl-C")
            _wait_for_end(local)
    finally:
        if not leaves_running:
            with uninterrupted():
                ended = stop(local)
            say(f"ended {_names(ended)}" if ended else "nothing left to end")


def _wait_for_end(local: "LocalNetwork") -> None:
    """Until Ctrl-C (KeyboardInterrupt), or until no replica is left; says which one has ended by itself."""
    from pbft.node.local_cluster import running_replicas

    before = running_replicas(local)
    pause = threading.Event()
    while before:
        pause.wait(LOOK_SECONDS)
        now = running_replicas(local)
        for replica_id in sorted(set(before) - set(now)):
            say(f"r{replica_id} has ended; its log: {local.replica(replica_id).log_path}")
        before = now


@click.command()
@data_dir_option
@json_option
def down(data_dir: Path | None, as_json: bool) -> None:
    """End the local network: exactly the processes that were started for it."""
    from pbft.node.local_cluster import read_network, stop

    with _cluster_errors():
        local = read_network(find_data_dir(data_dir))
        ended = stop(local)
        say(f"ended {_names(ended)}" if ended else f"nothing is running in {local.directory}")
        if as_json:
            print_json({"ended": list(ended)})


@click.command()
@data_dir_option
@json_option
def status(data_dir: Path | None, as_json: bool) -> None:
    """Where each replica of the local network stands. Exit code 14 when too few answer for a quorum."""
    from pbft.node.local_cluster import read_network

    with _cluster_errors():
        answer = _print_network(read_network(find_data_dir(data_dir)), as_json=as_json)
        if answer["answering"] < answer["quorum"]:
            text = f"{answer['answering']} of {len(answer['replicas'])} replicas answer, {answer['quorum']} are needed"
            raise CommandError(text, ExitCode.NOT_READY)


@click.group()
def fault() -> None:
    """Break the local network on purpose, and see that it goes on."""


@fault.command("kill")
@click.argument("replica", type=ReplicaId())
@data_dir_option
@json_option
def fault_kill(replica: int, data_dir: Path | None, as_json: bool) -> None:
    """SIGKILL a replica and its contract worker."""
    from pbft.node.local_cluster import kill, read_network

    with _cluster_errors():
        killed = kill(read_network(find_data_dir(data_dir)), replica)
        worker = f" and its worker (pid {killed.worker_pid})" if killed.worker_pid is not None else ""
        say(f"killed r{replica} (pid {killed.pid}){worker}")
        if as_json:
            print_json({"replica": replica, "pid": killed.pid, "worker_pid": killed.worker_pid})


@fault.command("restart", short_help="Start a replica again, and wait for it.")
@click.argument("replica", type=ReplicaId())
@data_dir_option
@json_option
def fault_restart(replica: int, data_dir: Path | None, as_json: bool) -> None:
    """Start a replica again, ending it in order first if it runs, and wait until it takes part.

    Exit code 14 where it runs and too few others do for a quorum.
    """
    from pbft.node.local_cluster import read_network, restart, wait_ready

    with _cluster_errors():
        local = read_network(find_data_dir(data_dir))
        record = restart(local, replica, tied=False)
        say(f"r{replica} is started (pid {record.pid}); waiting until it takes part")
        entry = wait_ready(local, replica_ids=(replica,))["replicas"][replica]
        say(f"r{replica} is back (pid {record.pid}): {entry['state']} at height {entry['height']}")
        if as_json:
            print_json({"replica": replica, "pid": record.pid, "state": entry["state"], "height": entry["height"]})


def _print_network(local: "LocalNetwork", *, as_json: bool) -> dict[str, Any]:
    """The status of the network: one object for scripts, else a table that fits 80 columns."""
    from pbft.node.local_cluster import status as read_status

    answer = read_status(local)
    if as_json:
        print_json(answer)
        return answer
    click.echo(
        f"{'':4}{'state':12}{'view':>5}{'height':>8}  {'state root':18}{'p2p':>6}{'client':>8}{'ops':>6}{'pid':>8}"
    )
    for entry in answer["replicas"]:
        ports = entry["ports"]
        click.echo(
            f"r{entry['replica']:<3}{entry['state']:12}{_shown(entry['view']):>5}{_shown(entry['height']):>8}  "
            f"{(entry['state_root'] or '-')[:16]:18}{ports['p2p']:>6}{ports['client']:>8}{ports['ops']:>6}"
            f"{_shown(entry['pid']):>8}"
        )
        if entry["cause"]:
            click.echo(f"    {entry['cause']}")
    primary = f"r{answer['primary']}" if answer["primary"] is not None else "unknown"
    click.echo(f"primary {primary}, height {_shown(answer['height'])}, certified {_shown(answer['certified_height'])}")
    click.echo(f"logs: {local.directory}/rN/log.jsonl")
    return answer


def _shown(value: object) -> str:
    return "-" if value is None else str(value)


def _names(replica_ids: tuple[int, ...]) -> str:
    return ", ".join(f"r{replica_id}" for replica_id in replica_ids)
