"""A whole network on one machine, without a daemon: prepared, started, watched, ended by whoever calls.

It owns the layout of a local network's directory and the rules of its life. Layout: `genesis.json` (its SHA-256 is the
network id), `network.json` (the definition with keys and ports), `client/` (a client's TLS identity and account),
`rN/keys/`, `rN/data/`, `rN/log.jsonl`, `rN/process.json`. Its rules: replicas are processes of `gridquorum run`, the
same command as in production; only processes recorded here are ever signalled; whatever fails while starting leaves
nothing running; a directory that exists goes on with its keys, ports and chain. Ports are drawn below the range of
outgoing connections, so that nobody's connection takes a replica's port while it is down.

What one replica does is left to `service`; what is printed to people, to `pbft.cli`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pbft.node.local_processes import ProcessRecord

READY_SECONDS_MAX: Final = 60.0  # a loaded two-core machine imports four replicas in a few seconds; ten times that
GRACE_SECONDS: Final = 10.0  # a replica ends within 10 s of SIGTERM (service); after that it is killed
STATUS_SECONDS_MAX: Final = 2.0  # each ops port is asked in parallel for at most this long: status answers within 3 s


class LocalNetworkError(Exception):
    """A local network cannot do what was asked. `code` is stable; the text names the replica, port or file."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalReplica:
    """One replica of a local network: where its files are and where it listens."""

    replica_id: int
    directory: Path
    p2p_port: int
    client_port: int
    ops_port: int

    @property
    def keys_path(self) -> Path:
        return self.directory / "keys"

    @property
    def data_path(self) -> Path:
        return self.directory / "data"

    @property
    def log_path(self) -> Path:
        return self.directory / "log.jsonl"

    @property
    def output_path(self) -> Path:
        """What the process itself wrote to its streams: empty unless it failed before its log was open."""
        return self.directory / "output.txt"

    @property
    def record_path(self) -> Path:
        return self.directory / "process.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNetwork:
    """A prepared local network."""

    name: str
    network_id: bytes  # SHA-256 of genesis.json
    directory: Path
    replicas: tuple[LocalReplica, ...]

    @property
    def genesis_path(self) -> Path:
        return self.directory / "genesis.json"

    @property
    def network_path(self) -> Path:
        return self.directory / "network.json"

    @property
    def client_path(self) -> Path:
        """`tls.pem`/`tls-key.pem` for the client ports, `account.pem` and its `passphrase`."""
        return self.directory / "client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """What `kill` ended."""

    replica_id: int
    pid: int
    worker_pid: int | None


def prepare(
    directory: Path, *, template: Path | None = None, port_base: int | None = None, reset: bool = False
) -> LocalNetwork:
    """Make a local network's directory, or go on with the one that is there.

    `template`: a network definition without keys (default: `local-4`). `port_base`: first port, 0 draws free ones,
    None keeps the ports recorded (or draws, in a new directory, those of the template). `reset` removes what was there.
    Raises LocalNetworkError: `running`, `directory_not_ours`, `not_writable`, `port_taken`; ConfigError.
    """
    raise LocalNetworkError("not_there", str(directory))


def read_network(directory: Path) -> LocalNetwork:
    """The network prepared in `directory`. Raises LocalNetworkError `not_there` or `damaged`."""
    raise LocalNetworkError("not_there", str(directory))


def start_replica(network: LocalNetwork, replica_id: int, *, tied: bool = True) -> ProcessRecord:
    """Start one replica as `gridquorum run`. `tied`: it ends when the calling process ends, however that ends.

    Raises LocalNetworkError: `running`, `port_taken`.
    """
    raise LocalNetworkError("not_there", str(network.directory))


def start(network: LocalNetwork, *, tied: bool = True) -> None:
    """Start every replica that does not run. If one cannot be started, those started here are ended again."""


def wait_ready(
    network: LocalNetwork, *, replica_ids: tuple[int, ...] | None = None, timeout_seconds: float = READY_SECONDS_MAX
) -> dict[str, Any]:
    """Wait until the replicas (default: all) take part, then give `status`. Raises LocalNetworkError `not_ready`."""
    return {}


def stop(network: LocalNetwork) -> tuple[int, ...]:
    """End every recorded replica, SIGTERM first; the ids of those that ran. Never raises for one that has gone."""
    return ()


def kill(network: LocalNetwork, replica_id: int) -> Killed:
    """SIGKILL a replica and its contract worker. Raises LocalNetworkError `not_running`."""
    raise LocalNetworkError("not_running", f"r{replica_id}")


def restart(network: LocalNetwork, replica_id: int, *, tied: bool = True) -> ProcessRecord:
    """Start a replica again, ending it in order first if it runs; it is not waited for (`wait_ready`)."""
    raise LocalNetworkError("not_running", f"r{replica_id}")


def status(network: LocalNetwork) -> dict[str, Any]:
    """The object of `gridquorum status --json` (DESIGN.md section 5), within 3 s whatever is down."""
    return {}
