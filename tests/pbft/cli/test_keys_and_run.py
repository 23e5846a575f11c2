"""`keys new` and `run`: what an operator can get wrong before a replica starts, with its sentence and exit code."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contracts.helper_process import STACK_BYTES_MIN
from pbft.cli import app
from pbft.node.local_network import LocalNetwork, read_network

RUN_SECONDS_MAX = 60  # a refusal takes a second on an idle machine


@pytest.fixture
def network(made: Path, tmp_path: Path) -> LocalNetwork:
    """A copy of the prepared network."""
    return read_network(Path(shutil.copytree(made, tmp_path / "network")))


def keys_new(directory: Path, passphrase_file: Path, *more: str) -> Result:
    arguments = ["keys", "new", "--dir", str(directory), "--name", "coop-x", "--passphrase-file", str(passphrase_file)]
    return CliRunner().invoke(app, [*arguments, *more])


@pytest.fixture
def passphrase_file(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    return path


def test_new_keys_print_their_public_card_alone(tmp_path: Path, passphrase_file: Path) -> None:
    """The JSON names public keys and the directory; no private key and no passphrase leaves it."""
    result = keys_new(tmp_path / "keys", passphrase_file, "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert set(answer) == {"v", "name", "consensus_key", "transport_key", "operator_key", "directory"}
    assert len({answer["consensus_key"], answer["transport_key"], answer["operator_key"]}) == 3
    assert "correct horse" not in result.output
    card = json.loads((tmp_path / "keys" / "card.json").read_text())
    assert card["consensus_key"] == answer["consensus_key"]


def test_keys_are_never_made_over_keys(tmp_path: Path, passphrase_file: Path) -> None:
    """A second `keys new` in the same directory is refused for safety and changes nothing."""
    assert keys_new(tmp_path / "keys", passphrase_file).exit_code == 0
    before = (tmp_path / "keys" / "consensus.pem").read_bytes()
    assert keys_new(tmp_path / "keys", passphrase_file).exit_code == 15
    assert (tmp_path / "keys" / "consensus.pem").read_bytes() == before


def test_a_passphrase_that_others_can_read_is_refused(tmp_path: Path, passphrase_file: Path) -> None:
    """Group-readable secrets are refused before a key is made."""
    passphrase_file.chmod(0o640)
    assert keys_new(tmp_path / "keys", passphrase_file).exit_code == 15
    assert not (tmp_path / "keys").exists() or not list((tmp_path / "keys").iterdir())


def run(
    network: LocalNetwork, *more: str, python: tuple[str, ...] = (), under: tuple[str, ...] = (), **changes: str
) -> subprocess.CompletedProcess[str]:
    """`gridquorum run` for replica 0, with changed options, `under` another command; it must end by itself."""
    replica = network.replica(0)
    options = {
        "--replica": "0",
        "--keys": str(replica.keys_path),
        "--data-dir": str(replica.data_path),
        "--genesis": str(network.genesis_path),
    } | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    command = [*under, sys.executable, *python, "-m", "pbft.cli", "run", str(network.network_path)]
    command += [part for option in options.items() for part in option]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONOPTIMIZE"}
    return subprocess.run(
        [*command, *more], capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False, env=environment
    )


def test_a_missing_key_is_refused(network: LocalNetwork, tmp_path: Path) -> None:
    """No key directory, or one file less: exit 15 with the file's name, and nothing is made in its place."""
    gone = run(network, keys=str(tmp_path / "nowhere"))
    assert (gone.returncode, "nowhere" in gone.stderr) == (15, True)
    key = network.replica(0).keys_path / "consensus.pem"
    key.unlink()
    less = run(network)
    assert (less.returncode, str(key) in less.stderr) == (15, True)
    assert not key.exists()


def test_keys_of_another_replica_are_refused(network: LocalNetwork) -> None:
    """Replica 0 with the keys of replica 1 would vote in another's name."""
    keys = network.replica(1).keys_path
    done = run(network, keys=str(keys))
    assert (done.returncode, "transport_key" in done.stderr) == (15, True)


def test_d37_a_renewed_key_starts_only_to_recover(network: LocalNetwork) -> None:
    """D37: no epoch lists the new key: without --recover the start is refused, and says what --recover does."""
    keys = network.replica(0).keys_path
    arguments = ["keys", "renew", "--dir", str(keys), "--passphrase-file", str(keys / "passphrase"), "--json"]
    renewed = CliRunner().invoke(app, arguments)
    assert renewed.exit_code == 0, renewed.output
    assert json.loads((keys / "card.json").read_text())["consensus_key"] == json.loads(renewed.stdout)["consensus_key"]
    done = run(network)
    assert (done.returncode, "not_listed" in done.stderr, "--recover" in done.stderr) == (15, True, True), done.stderr


def test_a_key_that_others_can_read_is_refused(network: LocalNetwork) -> None:
    """0640 is one bit too many."""
    (network.replica(0).keys_path / "transport.pem").chmod(0o640)
    done = run(network)
    assert (done.returncode, "transport.pem" in done.stderr) == (15, True)


def test_a_foreign_genesis_is_refused(network: LocalNetwork, tmp_path: Path) -> None:
    """A genesis of another network, given or stored, never starts a replica: exit 15, and the data stay untouched."""
    foreign = tmp_path / "foreign.json"
    foreign.write_bytes(
        network.genesis_path.read_bytes().replace(b'"scheduled_gas_max": 20000000', b'"scheduled_gas_max": 20000001')
    )
    given = run(network, genesis=str(foreign))
    assert (given.returncode, "genesis" in given.stderr) == (15, True)
    stored = network.replica(0).data_path / "genesis.json"
    assert not stored.exists()
    stored.write_bytes(foreign.read_bytes())
    found = run(network)
    assert (found.returncode, "genesis" in found.stderr) == (15, True)
    assert stored.read_bytes() == foreign.read_bytes()


def test_an_optimizing_interpreter_is_refused(network: LocalNetwork) -> None:
    """`python -O` removes assertions: the replica does not run without them."""
    done = run(network, python=("-O",))
    assert (done.returncode, "-O" in done.stderr) == (15, True)


def test_a_stack_too_small_for_the_deepest_contract_is_refused(network: LocalNetwork) -> None:
    """Its worker would die where those of others answer DEPTH: with a byte less than the least, it does not start."""
    limit = STACK_BYTES_MIN - 1
    done = run(network, under=("prlimit", f"--stack={limit}:{limit}"))
    assert (done.returncode, f"stack is {limit} bytes" in done.stderr) == (15, True), done.stderr


@pytest.mark.parametrize(
    ("changes", "exit_code", "says"),
    [
        ({"replica": "9"}, 2, "r0 to r3"),
        ({"replica": "zero"}, 2, "expected a number"),
        ({"genesis": "/no/such/genesis.json"}, 3, "/no/such/genesis.json"),
        ({"passphrase_file": "/no/such/passphrase"}, 15, "/no/such/passphrase"),
    ],
)
def test_what_is_not_there_is_named(network: LocalNetwork, changes: dict[str, str], exit_code: int, says: str) -> None:
    """A replica that is not defined, a file that does not exist."""
    done = run(network, **changes)
    assert (done.returncode, says in done.stderr) == (exit_code, True), done.stderr


def test_a_definition_without_keys_runs_nobody(network: LocalNetwork, tmp_path: Path) -> None:
    """A template is for `up`; `run` wants every key in the definition, and names the first that lacks."""
    definition = json.loads(network.network_path.read_text())
    del definition["replicas"][2]["consensus_key"]
    network.network_path.write_text(json.dumps(definition, indent=2))
    done = run(network)
    assert (done.returncode, "consensus_key" in done.stderr) == (2, True), done.stderr
