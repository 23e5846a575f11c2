"""`gridquorum run`: one replica of a network, in the foreground, until SIGTERM.

It owns the process: reading keys, choosing the log, the reactor, the end. Everything that cannot be right is refused
before the reactor starts, with a sentence and an exit code. The replica itself is `pbft.node.service`'s.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pbft.cli.surface import CommandError, ExitCode, ReplicaId
from pbft.node.verifier_count import VERIFIERS_MAX, count_verifiers

if TYPE_CHECKING:
    from pbft.node.log import Logger
    from pbft.node.service import ServiceConfig

_FILE = click.Path(path_type=Path, dir_okay=False)
_DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("network", type=_FILE)
@click.option("--replica", "replica_id", type=ReplicaId(), required=True, help="Which replica this is: 2 or r2.")
@click.option("--keys", "keys_path", type=_DIRECTORY, required=True, help="The directory that `keys new` made.")
@click.option("--data-dir", "data_path", type=_DIRECTORY, required=True, help="Blocks, state and promises.")
@click.option(
    "--passphrase-file",
    type=_FILE,
    envvar="GRIDQUORUM_PASSPHRASE_FILE",
    help="A file with one line, readable by its owner alone (default: KEYS/passphrase).",
)
@click.option(
    "--genesis", "genesis_path", type=_FILE, help="The network's genesis.json (default: from the definition)."
)
@click.option(
    "--recover", "is_recovering", is_flag=True, help="Start with a key that no epoch lists yet, as an observer."
)
@click.option("--log", "log_path", type=_FILE, help="Log file, JSON lines (default: stderr).")
@click.option(
    "--snapshot-lag",
    type=click.IntRange(min=1),
    help="Behind by more heights, take a snapshot instead of blocks (default: 2048). Each replica's own choice.",
)
@click.option(
    "--verifiers",
    type=click.IntRange(0, VERIFIERS_MAX),
    help="Processes that check clients' signatures (default: as this host's processors allow; 0: none).",
)
@click.option("--until-stdin-closes", is_flag=True, help="End when standard input ends: with whoever started this.")
def run(
    network: Path,
    replica_id: int,
    keys_path: Path,
    data_path: Path,
    passphrase_file: Path | None,
    genesis_path: Path | None,
    is_recovering: bool,
    log_path: Path | None,
    snapshot_lag: int | None,
    verifiers: int | None,
    until_stdin_closes: bool,
) -> None:
    """Run one replica of the network defined in the file NETWORK, until SIGTERM.

    Keys and data are different directories. What promises were made is with the data; beside the keys starts are
    counted, so that an older copy of the data, or a new disk, is refused.
    """
    from pbft.node.log import open_logger

    config = _read_config(network, replica_id, keys_path, data_path, passphrase_file, genesis_path)
    if snapshot_lag is not None:
        config = replace(config, snapshot_lag=snapshot_lag)
    if verifiers is None:
        verifiers = count_verifiers(config.definition, replica_id)
    config = replace(config, is_recovering=is_recovering, verifiers=verifiers)
    try:
        log = open_logger(replica=replica_id, path=log_path)
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from error
    run_replica(config, log, until_stdin_closes=until_stdin_closes)


def _read_config(
    network: Path,
    replica_id: int,
    keys_path: Path,
    data_path: Path,
    passphrase_file: Path | None,
    genesis_path: Path | None,
) -> "ServiceConfig":
    """Everything that is read before the replica starts. Raises CommandError naming the file."""
    from pbft.node.identity import IdentityError, check_identity, read_identity, read_passphrase
    from pbft.node.network_config import ConfigError, load_network, require_complete
    from pbft.node.service import ServiceConfig

    try:
        definition = load_network(network)
        require_complete(definition, str(network))
    except ConfigError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error
    if replica_id >= len(definition.replicas):
        raise click.UsageError(f"{network} defines r0 to r{len(definition.replicas) - 1}, not r{replica_id}")
    try:
        passphrase = read_passphrase(passphrase_file or keys_path / "passphrase")
        identity = read_identity(keys_path, passphrase=passphrase)
        check_identity(identity, definition, replica_id)
    except IdentityError as error:
        raise CommandError(str(error), ExitCode.REFUSED) from error
    try:
        genesis = genesis_path.read_bytes() if genesis_path is not None else None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}", ExitCode.NOT_FOUND) from error
    return ServiceConfig(
        definition=definition,
        replica_id=replica_id,
        identity=identity,
        keys_path=keys_path,
        data_path=data_path,
        genesis=genesis,
    )


def run_replica(config: "ServiceConfig", log: "Logger", *, until_stdin_closes: bool) -> None:
    """Run the replica in this process's reactor. Returns after an ordered end; raises CommandError else."""
    from twisted.internet import reactor as installed
    from twisted.internet.error import ReactorNotRunning
    from twisted.internet.stdio import StandardIO

    from pbft.node.data_directory import StartRefused
    from pbft.node.process_edge import EndWithInput, report_unhandled, settle_collector
    from pbft.node.service import make_service

    reactor: Any = installed
    ends: list[CommandError] = []
    try:
        service = make_service(config, reactor, log)
    except StartRefused as error:
        raise CommandError(str(error), ExitCode.REFUSED) from error

    def end(cause: str | None) -> None:
        if cause is not None:
            ends.append(CommandError(cause))
        try:
            reactor.stop()
        except ReactorNotRunning:
            return

    def begin() -> None:
        try:
            service.start()
        except StartRefused as error:
            code = ExitCode.FAILED if error.code in ("port_taken", "not_writable") else ExitCode.REFUSED
            ends.append(CommandError(str(error), code))
            end(None)

    report_unhandled(log)
    service.stopped.addCallback(end)
    reactor.addSystemEventTrigger("before", "shutdown", service.stop)
    reactor.callWhenRunning(begin)
    if until_stdin_closes:
        reactor.callWhenRunning(StandardIO, EndWithInput(end))
    settle_collector()
    reactor.run()
    if ends:
        raise ends[0]
