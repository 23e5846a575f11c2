"""The directory of a local network: its layout, keys, ports and genesis. No process is touched here.

    DIR/genesis.json        its SHA-256 is the network id        DIR/rN/keys/       consensus, operator, transport, card
    DIR/network.json        the definition, keys and ports       DIR/rN/data/       journal, ledger
    DIR/client/tls.pem      a client's TLS identity              DIR/rN/log.jsonl   structured log
    DIR/client/account.pem  a client's account                   DIR/rN/output.txt  streams; empty in health

Its rules: a directory is prepared aside and moved in place, `network.json` last, so that half a network is never taken
for one; a directory that exists keeps its keys and chain; nothing is removed that this module did not make. Ports are
drawn below the range of outgoing connections, so that nobody's connection takes a replica's port while it is down.
Passphrases lie beside the keys here, readable by the owner alone: a local network protects nothing but its own tests.
"""

import random
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from contracts.standard import genesis_contracts
from ledger.genesis import ProtocolParameters, parse_genesis
from pbft.node.client_identity import create_authority, create_client, read_authority
from pbft.node.genesis_file import MakeContracts, build_genesis
from pbft.node.identity import create_identity
from pbft.node.network_config import (
    ConfigError,
    NetworkDefinition,
    ReplicaDefinition,
    dump_network,
    load_network,
)

DEFAULT_NAME: Final = "dev-4"
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_REPLICAS: Final = 4
DEFAULT_PORT_BASE: Final = 27_600
PORTS_PER_REPLICA: Final = 10  # replica i listens at base + 10 i: +0 replicas, +1 clients, +3 operators
PORT_MAX: Final = 65_535
DRAWN_PORT_MIN: Final = 10_000  # above the ports that services are registered for, mostly
OUTGOING_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
OUTGOING_MIN: Final = 32_768  # Linux's default start of outgoing connections, where the file above is missing
DRAWS_MAX: Final = 1_000  # of which almost none is needed: most ports are free
PASSPHRASE_BYTES: Final = 24  # 192 random bits


class LocalNetworkError(Exception):
    """A local network cannot do what was asked. `code` is stable; the text names the replica, port or file."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalReplica:
    """One replica of a local network: where its files are and where it listens."""

    replica_id: int
    name: str
    host: str
    directory: Path
    p2p_port: int
    client_port: int
    ops_port: int

    @property
    def keys_path(self) -> Path:
        return self.directory / "keys"

    @property
    def passphrase_path(self) -> Path:
        return self.keys_path / "passphrase"

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

    @property
    def ports(self) -> dict[str, int]:
        """By use, as `status --json` shows them."""
        return {"p2p": self.p2p_port, "client": self.client_port, "ops": self.ops_port}


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
        """`tls.pem` for the client ports, `account.pem` and the `passphrase` of the account."""
        return self.directory / "client"

    def replica(self, replica_id: int) -> LocalReplica:
        """The replica of that id. Raises LocalNetworkError `no_such_replica`."""
        if not 0 <= replica_id < len(self.replicas):
            last = len(self.replicas) - 1
            raise LocalNetworkError("no_such_replica", f"{self.name} has replicas r0 to r{last}, not r{replica_id}")
        return self.replicas[replica_id]


def prepare(
    directory: Path,
    *,
    template: NetworkDefinition | None = None,
    port_base: int | None = None,
    reset: bool = False,
    name: str = DEFAULT_NAME,
    make_contracts: MakeContracts | None = None,
) -> LocalNetwork:
    """Make a local network's directory, or go on with the one that is there.

    `template`: a definition without keys (default: four replicas on 127.0.0.1). `port_base`: the first port, 0 draws
    free ones, None keeps those of the directory or template. `reset` removes what an earlier `prepare` made; the caller
    makes sure that nothing runs there. `make_contracts`: those of a new genesis. Raises LocalNetworkError:
    `foreign_directory`, `damaged`, `not_writable`, `no_free_ports`, `has_keys`; ConfigError and GenesisMismatch for a
    template that cannot be built.
    """
    directory = directory.absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _remove(directory, ("prepared",))
        if reset:
            _remove_network(directory)
        if (directory / "network.json").exists():
            if port_base is not None:
                _write_ports(directory, port_base)
        else:
            _prepare_new(directory, template or default_template(name), port_base, make_contracts)
    except OSError as error:
        raise LocalNetworkError("not_writable", f"{error.filename or directory}: {error.strerror}") from error
    return read_network(directory)


def read_network(directory: Path) -> LocalNetwork:
    """The network prepared in `directory`. Raises LocalNetworkError `not_there` or `damaged`."""
    directory = directory.absolute()
    path = directory / "network.json"
    if not path.is_file():
        raise LocalNetworkError("not_there", f"{directory} holds no network; `gridquorum up` makes one")
    try:
        definition = load_network(path)
    except ConfigError as error:
        raise LocalNetworkError("damaged", str(error)) from error
    if definition.network_id is None:
        raise LocalNetworkError("damaged", f"{path} names no network id")
    return LocalNetwork(
        name=definition.name,
        network_id=definition.network_id,
        directory=directory,
        replicas=tuple(_local_replica(directory, replica) for replica in definition.replicas),
    )


def default_template(name: str = DEFAULT_NAME, replicas: int = DEFAULT_REPLICAS) -> NetworkDefinition:
    """A network of equals on this machine, as `network-configs/local-4.yaml` describes it."""
    return NetworkDefinition(
        version=1,
        name=name,
        genesis_time_ms=None,
        protocol=ProtocolParameters(),
        replicas=tuple(
            ReplicaDefinition(
                id=number,
                name=f"coop-{number}",
                host=DEFAULT_HOST,
                p2p_port=DEFAULT_PORT_BASE + PORTS_PER_REPLICA * number,
                client_port=DEFAULT_PORT_BASE + PORTS_PER_REPLICA * number + 1,
                ops_port=DEFAULT_PORT_BASE + PORTS_PER_REPLICA * number + 3,
            )
            for number in range(replicas)
        ),
    )


def draw_free_ports(host: str, count: int) -> tuple[int, ...]:
    """Distinct ports that nobody listens on now, below the range from which outgoing connections take theirs.

    Held open together while they are drawn. Raises LocalNetworkError `no_free_ports`.
    """
    try:
        below = int(OUTGOING_RANGE.read_text(encoding="ascii").split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        below = OUTGOING_MIN
    candidates = range(DRAWN_PORT_MIN, below if below > DRAWN_PORT_MIN + DRAWS_MAX else PORT_MAX)
    ports: list[int] = []
    with ExitStack() as held:
        for port in random.SystemRandom().sample(candidates, min(DRAWS_MAX, len(candidates))):
            if len(ports) == count:
                break
            listener = held.enter_context(socket.socket())
            try:
                listener.bind((host, port))
            except OSError:
                continue
            ports.append(port)
    if len(ports) < count:
        raise LocalNetworkError("no_free_ports", f"{host} has no {count} free ports in {candidates}")
    return tuple(ports)


def _prepare_new(
    directory: Path, template: NetworkDefinition, port_base: int | None, make_contracts: MakeContracts | None
) -> None:
    strangers = sorted(path.name for path in directory.iterdir() if path.name != LOCK_NAME)
    if any(_is_ours(name) for name in strangers):
        raise LocalNetworkError("damaged", f"{directory} holds parts of a network but no network.json; --reset anew")
    if strangers:
        raise LocalNetworkError("foreign_directory", f"{directory} holds something else ({strangers[0]}): not touched")
    if any(replica.consensus_key for replica in template.replicas) or template.network_id is not None:
        raise LocalNetworkError("has_keys", "a definition with keys is a real network's: `gridquorum run` serves it")
    prepared = directory / "prepared"
    prepared.mkdir(mode=0o700)
    if port_base is not None:
        template = _with_ports(template, port_base)
    authority, account = _write_client(prepared / "client")
    definition = replace(
        template,
        genesis_time_ms=template.genesis_time_ms or time.time_ns() // 1_000_000,
        replicas=tuple(_make_replica(prepared, replica) for replica in template.replicas),
        client_authorities=(*template.client_authorities, authority),
    )
    make = make_contracts or partial(genesis_contracts, authors=[account])  # a place to try things: no vote is needed
    genesis = build_genesis(definition, make)
    (prepared / "genesis.json").write_bytes(genesis)
    definition = replace(definition, network_id=parse_genesis(genesis).network_id)
    (prepared / "network.json").write_text(dump_network(definition), encoding="utf-8")
    load_network(prepared / "network.json")  # what cannot be read again must not become a network
    for path in sorted(prepared.iterdir(), key=lambda path: path.name == "network.json"):
        path.rename(directory / path.name)
    prepared.rmdir()


def _make_replica(prepared: Path, replica: ReplicaDefinition) -> ReplicaDefinition:
    """Keys for one replica, made in its own directory, and its entry with the public ones."""
    home = prepared / f"r{replica.id}"
    (home / "data").mkdir(parents=True, mode=0o700)
    passphrase = secrets.token_urlsafe(PASSPHRASE_BYTES)
    card = create_identity(home / "keys", name=replica.name, passphrase=passphrase.encode())
    _write_secret(home / "keys" / "passphrase", passphrase + "\n")
    return replace(
        replica,
        consensus_key=card.consensus_key,
        transport_key=card.transport_key,
        operator_key=card.operator_key,
    )


def _write_client(directory: Path) -> tuple[bytes, bytes]:
    """A client of this network, and the authority that lets it in: the authority's key, and the client's address."""
    passphrase = secrets.token_urlsafe(PASSPHRASE_BYTES).encode()
    public_key = create_authority(directory, passphrase=passphrase)
    authority = read_authority(directory, passphrase=passphrase)
    account = create_client(directory, authority, name="local", passphrase=passphrase)
    return public_key, account


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="ascii")


def _write_ports(directory: Path, port_base: int) -> None:
    """New ports for a network that exists: they are no part of the genesis."""
    path = directory / "network.json"
    new = path.with_suffix(".new")
    new.write_text(dump_network(_with_ports(load_network(path), port_base)), encoding="utf-8")
    new.replace(path)


def _with_ports(definition: NetworkDefinition, port_base: int) -> NetworkDefinition:
    """Ports from `port_base` on, or free ones drawn for 0."""
    count = len(definition.replicas)
    if port_base == 0:
        drawn = draw_free_ports(definition.replicas[0].host, 3 * count)
        triples = [drawn[3 * number : 3 * number + 3] for number in range(count)]
    else:
        last = port_base + PORTS_PER_REPLICA * (count - 1) + 3
        if not 0 < port_base <= last <= PORT_MAX:
            raise LocalNetworkError(
                "bad_port_base", f"{count} replicas need ports up to {last}; {PORT_MAX} is the last"
            )
        triples = [
            tuple(port_base + PORTS_PER_REPLICA * number + offset for offset in (0, 1, 3)) for number in range(count)
        ]
    return replace(
        definition,
        replicas=tuple(
            replace(replica, p2p_port=p2p, client_port=client, ops_port=ops)
            for replica, (p2p, client, ops) in zip(definition.replicas, triples, strict=True)
        ),
    )


def _local_replica(directory: Path, replica: ReplicaDefinition) -> LocalReplica:
    return LocalReplica(
        replica_id=replica.id,
        name=replica.name,
        host=replica.host,
        directory=directory / f"r{replica.id}",
        p2p_port=replica.p2p_port,
        client_port=replica.client_port,
        ops_port=replica.ops_port,
    )


LOCK_NAME: Final = "up.lock"  # held by `up` while it works in the directory
_OURS: Final = frozenset({"genesis.json", "network.json", "client"})


def _is_ours(name: str) -> bool:
    return name in _OURS or (name[:1] == "r" and name[1:].isdecimal())


def _remove_network(directory: Path) -> None:
    """What `prepare` made and nothing else; `network.json` first, so that a half removal is not taken for a network."""
    names = sorted((path.name for path in directory.iterdir() if _is_ours(path.name)), key=_is_not_definition)
    _remove(directory, names)


def _is_not_definition(name: str) -> tuple[bool, str]:
    return name != "network.json", name


def _remove(directory: Path, names: Iterator[str] | list[str] | tuple[str, ...]) -> None:
    for name in names:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
