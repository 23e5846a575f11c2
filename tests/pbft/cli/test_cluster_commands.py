"""`up`, `down`, `status`, `fault`: every refusal has its sentence and exit code, and leaves nothing running."""

import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pbft.cli import app
from pbft.cli.surface import ENDING_SIGNALS
from pbft.node import local_cluster
from pbft.node.local_cluster import exclusive, running_replicas
from pbft.node.local_network import LocalNetwork, LocalNetworkError, read_network
from pbft.node.local_processes import ProcessRecord, start_time_of, write_record


@pytest.fixture
def directory(made: Path, tmp_path: Path) -> Path:
    """A copy of the prepared network."""
    return Path(shutil.copytree(made, tmp_path / "network"))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_taken_port_is_named_with_its_replica_and_nothing_is_left_running(directory: Path) -> None:
    """The third replica's client port is taken: the two before it are ended again, and the message helps."""
    network = read_network(directory)
    taken = network.replica(2).client_port
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", taken))
        listener.listen()
        result = run("up", "--detach", "--data-dir", directory)
    assert result.exit_code == 1
    for part in ("r2", str(taken), "client port", "--port-base 0"):
        assert part in result.stderr
    assert running_replicas(network) == ()


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file where the directory should be: exit 1, the path, nothing started."""
    (tmp_path / "file").write_text("")
    result = run("up", "--detach", "--data-dir", tmp_path / "file" / "net")
    assert result.exit_code == 1
    assert str(tmp_path / "file") in result.stderr


def test_a_second_up_beside_a_foreground_one_says_already_running(directory: Path) -> None:
    """The lock names the process that holds it; the answer is the network's status, not a failure."""
    with exclusive(directory):
        result = run("up", "--data-dir", directory, "--json")
    assert result.exit_code == 0
    assert "already running (pid" in result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["answering"] == 0


def test_reset_beside_a_foreground_up_is_refused(directory: Path) -> None:
    """A running network is not swept away under its processes."""
    with exclusive(directory):
        result = run("up", "--reset", "--data-dir", directory)
    assert result.exit_code == 1
    assert read_network(directory).genesis_path.exists()


def raise_signals(*numbers: int) -> None:
    for number in numbers:
        signal.raise_signal(number)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, None], ids=["ctrl-c", "sigterm", "failure"])
def test_impatience_does_not_cut_the_ending_short(
    directory: Path, monkeypatch: pytest.MonkeyPatch, first: int | None
) -> None:
    """However a foreground `up` ends, further signals while it ends its replicas change nothing; then they count again.

    The network is faked: it is interrupted, or fails, while it is waited for, and ending it takes two signals' time.
    """
    ended: list[str] = []

    def wait(_network: LocalNetwork) -> None:
        if first is None:
            raise LocalNetworkError("not_ready", "r0 has ended")
        raise_signals(first)

    def stop(network: LocalNetwork) -> tuple[int, ...]:
        raise_signals(signal.SIGTERM, signal.SIGINT, signal.SIGTERM)
        ended.append(network.name)
        return (0, 1, 2, 3)

    monkeypatch.setattr(local_cluster, "start", lambda network, tied: ())
    monkeypatch.setattr(local_cluster, "wait_ready", wait)
    monkeypatch.setattr(local_cluster, "stop", stop)
    before = [signal.getsignal(number) for number in ENDING_SIGNALS]
    result = run("up", "--data-dir", directory)
    assert len(ended) == 1
    assert "ended r0, r1, r2, r3" in result.stderr
    assert result.exit_code == (14 if first is None else 1)  # 1: click's runner for an interrupt; the program says 130
    assert [signal.getsignal(number) for number in ENDING_SIGNALS] == before


def test_a_replica_restarted_without_a_quorum_is_said_to_run(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 14 at once: the process is there and waits; the message says how many run and how many are needed."""
    network = read_network(directory)

    def restart(network: LocalNetwork, replica_id: int, *, tied: bool) -> ProcessRecord:
        record = ProcessRecord(pid=os.getpid(), started=start_time_of(os.getpid()) or "")
        write_record(network.replica(replica_id).record_path, record)
        return record

    opened = {"state": "backup", "height": 0, "certified_height": 0, "view": 0, "connected": []}
    monkeypatch.setattr(local_cluster, "restart", restart)
    monkeypatch.setattr(local_cluster, "_ask_all", lambda network: {0: None, 1: None, 2: opened, 3: None})
    result = run("fault", "restart", "r2", "--data-dir", directory)
    network.replica(2).record_path.unlink()
    assert result.exit_code == 14
    assert f"r2 is started (pid {os.getpid()})" in result.stderr
    assert "r2 runs but cannot take part: 1 of 4 replicas run, 3 make a quorum" in result.stderr


def test_down_twice_is_a_clear_message(directory: Path) -> None:
    """Nothing runs: that is said, and is no failure; without a network it is one."""
    result = run("down", "--data-dir", directory, "--json")
    assert result.exit_code == 0
    assert "nothing is running" in result.stderr
    assert json.loads(result.stdout) == {"v": 1, "ended": []}
    assert run("down", "--data-dir", directory.parent / "elsewhere").exit_code == 3


def test_status_of_a_network_that_is_down(directory: Path) -> None:
    """The object is there for scripts, with every key, and the exit code says that it cannot order."""
    result = run("status", "--data-dir", directory, "--json")
    assert result.exit_code == 14
    answer = json.loads(result.stdout.splitlines()[-1])
    assert (answer["v"], answer["view"], answer["primary"], answer["height"]) == (1, None, None, None)
    keys = {"replica", "state", "height", "view", "state_root", "pid", "worker_pid", "ports"}
    assert all(keys <= set(entry) for entry in answer["replicas"])
    assert [entry["state"] for entry in answer["replicas"]] == ["down"] * 4
    table = run("status", "--data-dir", directory)
    assert all(len(line) <= 80 for line in table.stdout.splitlines() if "logs:" not in line)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["fault", "kill", "r0"], 3, "r0 is not running"),
        (["fault", "kill", "r9"], 2, "r0 to r3"),
        (["fault", "kill", "x"], 2, "expected a number"),
        (["fault", "restart", "9"], 2, "r0 to r3"),
    ],
)
def test_faults_of_what_is_not_there(directory: Path, arguments: list[str], exit_code: int, says: str) -> None:
    """A replica that does not run, or does not exist, is said by name."""
    result = run(*arguments, "--data-dir", directory)
    assert (result.exit_code, says in result.stderr) == (exit_code, True)


@pytest.mark.parametrize("command", [["status"], ["down"], ["fault", "kill", "0"], ["fault", "restart", "0"]])
def test_without_a_network_the_command_says_how_to_make_one(tmp_path: Path, command: list[str]) -> None:
    """Exit 3, and the next step."""
    result = run(*command, "--data-dir", tmp_path / "nothing")
    assert result.exit_code == 3
    assert "gridquorum up" in result.stderr


def test_a_definition_with_a_mistake_is_named_by_file_line_and_key(tmp_path: Path) -> None:
    """`up` with a broken definition is a usage error, and prepares nothing."""
    definition = tmp_path / "network.yaml"
    definition.write_text("version: 1\nnane: x\n")
    result = run("up", definition, "--data-dir", tmp_path / "net")
    assert result.exit_code == 2
    assert f"{definition}:2" in result.stderr
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize("port_base", ["65503", "70000", "-1"])
def test_a_port_base_without_room_is_a_usage_error(tmp_path: Path, port_base: str) -> None:
    """Ports end at 65535, whoever notices first."""
    result = run("up", "--port-base", port_base, "--data-dir", tmp_path / "net")
    assert result.exit_code == 2


def test_the_data_directory_is_found_or_asked_for(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only network under ./.gridquorum is meant; of several, the default; else the user must say which."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path / ".gridquorum" / "a")
    assert str(tmp_path / ".gridquorum" / "a") in run("down").stderr
    shutil.copytree(made, tmp_path / ".gridquorum" / "b")
    several = run("down")
    assert (several.exit_code, "--data-dir" in several.stderr) == (2, True)
    shutil.copytree(made, tmp_path / ".gridquorum" / "dev-4")
    assert str(tmp_path / ".gridquorum" / "dev-4") in run("down").stderr
    monkeypatch.setenv("GRIDQUORUM_DATA_DIR", str(tmp_path / ".gridquorum" / "b"))
    assert str(tmp_path / ".gridquorum" / "b") in run("down").stderr
