"""Four real processes: started, asked, killed in every way, restarted, kept. Slow, honest, and always cleaned up."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pbft.node.local_cluster import (
    LocalNetwork,
    LocalNetworkError,
    prepare,
    restart,
    running_replicas,
    start,
    start_replica,
    status,
    stop,
    wait_ready,
)
from pbft.node.local_processes import is_running, read_record, start_time_of, wait_ended

pytestmark = pytest.mark.drill
COMMAND_SECONDS_MAX = 120  # of any one command on a loaded machine of two cores
GRIDQUORUM = [sys.executable, "-m", "pbft.cli"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """One network for the whole file; each test leaves it with four running replicas."""
    local = prepare(tmp_path_factory.mktemp("drill") / "network", port_base=0)
    try:
        start(local)
        wait_ready(local)
        yield local
    finally:
        stop(local)


def gridquorum(*arguments: str, network: LocalNetwork, exit_code: int = 0) -> dict[str, Any]:
    """Run a command as a user does; its JSON."""
    command = [*GRIDQUORUM, *arguments, "--data-dir", str(network.directory), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False)
    assert done.returncode == exit_code, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert answer["v"] == 1
    return answer


def ping(network: LocalNetwork) -> dict[str, Any]:
    answer = gridquorum("tx", "ping", network=network)
    assert answer["status"] == "ok"
    return answer


def equal_roots(network: LocalNetwork, height: int) -> str:
    """Wait until all are at `height` or above; the state root that all of them have."""
    roots = {entry["state_root"] for entry in wait_ready(network, min_height=height)["replicas"]}
    assert len(roots) == 1
    return str(roots.pop())


def test_status_names_every_replica_as_scripts_expect(network: LocalNetwork) -> None:
    """DESIGN.md section 5: view, primary, height, and for each replica state, height, root, pids and ports."""
    answer = gridquorum("status", network=network)
    assert isinstance(answer["view"], int)
    assert isinstance(answer["height"], int)
    assert answer["primary"] == answer["view"] % 4
    for number, entry in enumerate(answer["replicas"]):
        assert entry["replica"] == number
        assert entry["state"] == ("primary" if number == answer["primary"] else "backup")
        assert set(entry["ports"]) == {"p2p", "client", "ops"}
        record = read_record(network.replica(number).record_path)
        assert record is not None
        assert record.pid == entry["pid"]
        assert start_time_of(entry["worker_pid"]) is not None
        assert entry["worker"].keys() == {"capabilities", "landlock", "seccomp", "userns"}
        assert bytes.fromhex(entry["state_root"])


def test_a_transaction_goes_through_and_is_vouched_for(network: LocalNetwork) -> None:
    """`tx ping`: one more block, the same state root on all replicas."""
    before = status(network)["height"]
    answer = ping(network)
    assert answer["height"] > before
    assert len(answer["tx"]) == 64
    equal_roots(network, answer["height"])


SUBMIT_PRIVATELY = """
import sys
from pathlib import Path
from pbft.client.blocking import Client
with Client.open(Path(sys.argv[1])) as client:
    result = client.submit(client.account, "ping", "ping", private=[{"reading": sys.argv[2]}], patience_ms=60_000)
    print(result.reply.height if result.receipt.status == "ok" else result)
"""


def test_a_private_value_reaches_no_file_of_any_replica_in_plain(network: LocalNetwork) -> None:
    """D50: executed by all four, and then in no page, log, key file or report; each replica has one key for the day."""
    secret = "the-private-value-of-this-drill"
    command = [sys.executable, "-c", SUBMIT_PRIVATELY, str(network.directory), secret]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr
    equal_roots(network, int(done.stdout))
    files = [path for path in network.directory.rglob("*") if path.is_file()]
    assert len(files) > 20 and not [path for path in files if secret.encode() in path.read_bytes()]
    for number in range(4):
        keys = network.replica(number).data_path / "payload-keys"
        assert [path.stat().st_mode & 0o777 for path in keys.iterdir()] == [0o600]


def test_the_primary_and_its_worker_are_killed_and_the_network_goes_on(network: LocalNetwork) -> None:
    """SIGKILL to both; a transaction goes through in the next view; the restarted replica has the same root."""
    before = status(network)
    victim = before["primary"]
    killed = gridquorum("fault", "kill", f"r{victim}", network=network)
    assert killed["pid"] == before["replicas"][victim]["pid"]
    assert killed["worker_pid"] == before["replicas"][victim]["worker_pid"]
    assert start_time_of(killed["pid"]) is None
    answer = ping(network)
    after = gridquorum("status", network=network)
    assert after["replicas"][victim]["state"] == "down"
    assert after["view"] > before["view"]
    assert after["primary"] != victim
    back = gridquorum("fault", "restart", str(victim), network=network)
    assert back["pid"] != killed["pid"]
    assert back["height"] >= answer["height"]
    equal_roots(network, answer["height"])
    assert start_time_of(killed["worker_pid"]) is None


def test_a_killed_worker_alone_is_replaced_under_the_running_replica(network: LocalNetwork) -> None:
    """The replica keeps its process; its next blocks run in a new worker."""
    entry = status(network)["replicas"][2]
    os.kill(entry["worker_pid"], signal.SIGKILL)
    height = ping(network)["height"]
    equal_roots(network, height)
    now = wait_ready(network)["replicas"][2]
    assert now["pid"] == entry["pid"]
    assert now["worker_pid"] not in (None, entry["worker_pid"])


SUBMIT_WHEN_ASKED = """
import sys
from pathlib import Path
from pbft.client.blocking import Client
with Client.open(Path(sys.argv[1])) as client:
    for _ in sys.stdin:
        result = client.submit(client.account, "ping", "ping", patience_ms=60_000)
        assert result.receipt.status == "ok", result
        print(result.reply.height, flush=True)
"""


def test_a_replica_whose_workers_all_die_orders_on_and_says_why_it_executes_nothing(network: LocalNetwork) -> None:
    """D54: three workers die on one block. Execution stops with its cause in `status`; what the replica orders still
    counts: with another one down, no batch commits without its votes. A restart runs the block."""
    before = wait_ready(network)
    victim, other = [number for number in (3, 2, 1) if number != before["primary"]][:2]
    pid = before["replicas"][victim]["pid"]
    command = [sys.executable, "-c", SUBMIT_WHEN_ASKED, str(network.directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as load:
        assert load.stdin is not None and load.stdout is not None
        load.stdin.write("\n" * 20)
        deadline, cause = time.monotonic() + COMMAND_SECONDS_MAX, None
        while cause is None and time.monotonic() < deadline:
            for worker in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(worker), signal.SIGKILL)
            cause = status(network)["replicas"][victim]["cause"]
        assert cause is not None and "the contract worker failed 3 times" in cause
        heights = [int(load.stdout.readline()) for _ in range(20)]
        stop(network, replica_ids=(other,))
        load.stdin.write("\n")
        height = int(load.stdout.readline())
        stuck = status(network)["replicas"][victim]
    assert (stuck["pid"], stuck["state"], stuck["cause"]) == (pid, "backup", cause)
    assert before["height"] <= stuck["height"] < max(heights) < height
    start_replica(network, other)
    restart(network, victim)
    equal_roots(network, height)
    assert status(network)["replicas"][victim]["cause"] is None


def test_nothing_acknowledged_is_lost_when_all_four_are_killed_at_once(network: LocalNetwork, tmp_path: Path) -> None:
    """kill -9 of everything right after an acknowledgement; after the restart the receipt is there and proves."""
    answer = ping(network)
    for number in running_replicas(network):
        record = read_record(network.replica(number).record_path)
        assert record is not None
        os.kill(record.pid, signal.SIGKILL)
        assert wait_ended(record, timeout_seconds=COMMAND_SECONDS_MAX)
    down = gridquorum("status", network=network, exit_code=14)
    assert [entry["state"] for entry in down["replicas"]] == ["down"] * 4
    start(network)
    assert wait_ready(network)["height"] >= answer["height"]
    equal_roots(network, answer["height"])
    proof = tmp_path / "proof.json"
    command = [*GRIDQUORUM, "proof", "export", answer["tx"], "--out", str(proof), "--data-dir", str(network.directory)]
    subprocess.run(command, check=True, timeout=COMMAND_SECONDS_MAX, capture_output=True)
    command = [*GRIDQUORUM, "proof", "verify", str(proof), "--genesis", str(network.genesis_path), "--json"]
    verified = subprocess.run(command, check=True, timeout=COMMAND_SECONDS_MAX, capture_output=True, text=True)
    assert json.loads(verified.stdout)["height"] == answer["height"]
    assert ping(network)["height"] > answer["height"]


def test_a_kept_directory_goes_on_with_the_same_chain(network: LocalNetwork) -> None:
    """`down`, then `up` on the directory: same height, same root, and the next block follows."""
    before = ping(network)
    root = equal_roots(network, before["height"])
    assert gridquorum("down", network=network)["ended"] == [0, 1, 2, 3]
    assert gridquorum("down", network=network)["ended"] == []
    up = gridquorum("up", "--detach", network=network)
    assert up["height"] == before["height"]
    assert {entry["state_root"] for entry in up["replicas"]} == {root}
    assert ping(network)["height"] == before["height"] + 1


SUBMIT_MANY = """
import sys
from pathlib import Path
from pbft.client.blocking import Client
with Client.open(Path(sys.argv[1])) as client:
    for _ in range(int(sys.argv[2])):
        result = client.submit(client.account, "ping", "ping", patience_ms=60_000)
        assert result.receipt.status == "ok", result
    print(result.reply.height)
"""


def test_a_replica_far_behind_takes_a_snapshot_then_serves_and_votes(network: LocalNetwork) -> None:
    """D15, D39: one replica is down while blocks are made; it comes back by a snapshot, and a quorum can rest on it."""
    stop(network, replica_ids=(3,))
    command = [
        sys.executable,
        "-c",
        SUBMIT_MANY,
        str(network.directory),
        "120",
    ]  # beyond what the window lets it follow
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr
    start_replica(network, 3, options=["--snapshot-lag", "8"])
    equal_roots(network, int(done.stdout))
    logged = [json.loads(line) for line in network.replica(3).log_path.read_text().splitlines()]
    (installed,) = [line for line in logged if line["event"] == "snapshot"]
    assert installed["height"] >= int(done.stdout) - 8
    stop(network, replica_ids=(0,))  # three are left, and a quorum is three
    height = ping(network)["height"]
    assert next(r for r in status(network)["replicas"] if r["replica"] == 3)["height"] >= height
    start_replica(network, 0)
    wait_ready(network)  # with two of four away, whoever hears of a request leaves the view for it
    restart(network, 3)  # without the option, from what the snapshot left on its disks
    equal_roots(network, ping(network)["height"])


def test_a_second_up_says_what_runs_and_starts_nothing(network: LocalNetwork) -> None:
    """The same processes, the same answer; `--reset` under a running network is refused for safety."""
    pids = [entry["pid"] for entry in status(network)["replicas"]]
    again = gridquorum("up", "--detach", network=network)
    assert [entry["pid"] for entry in again["replicas"]] == pids
    command = [*GRIDQUORUM, "up", "--reset", "--data-dir", str(network.directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False)
    assert (done.returncode, "down" in done.stderr) == (15, True)
    assert [entry["pid"] for entry in status(network)["replicas"]] == pids


def test_a_second_copy_of_a_replica_is_refused(network: LocalNetwork) -> None:
    """The same keys twice would vote twice: the data directory's lock stops the second before it listens."""
    replica = network.replica(1)
    command = [*GRIDQUORUM, "run", str(network.network_path), "--replica", "1", "--keys", str(replica.keys_path)]
    command += ["--data-dir", str(replica.data_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False)
    assert done.returncode == 15
    assert "second copy" in done.stderr
    with pytest.raises(LocalNetworkError) as caught:
        start_replica(network, 1)
    assert caught.value.code == "running"


def test_status_answers_in_three_seconds_with_a_frozen_replica(network: LocalNetwork) -> None:
    """SIGSTOP: the replica's port still accepts and never answers. Status waits for it, but not for long."""
    record = read_record(network.replica(3).record_path)
    assert record is not None
    os.kill(record.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = status(network)
        assert time.monotonic() - began < 3.0
        assert [entry["state"] for entry in answer["replicas"]].count("silent") == 1
        assert answer["answering"] == 3
    finally:
        os.kill(record.pid, signal.SIGCONT)
    wait_ready(network)


def test_sigterm_ends_a_replica_in_order_and_its_worker_with_it(network: LocalNetwork) -> None:
    """Less than ten seconds, exit by itself, no process left, and it comes back from its journal."""
    entry = status(network)["replicas"][1]
    record = read_record(network.replica(1).record_path)
    assert record is not None
    os.kill(record.pid, signal.SIGTERM)
    assert wait_ended(record, timeout_seconds=10)
    assert not is_running(record)
    assert start_time_of(entry["worker_pid"]) is None
    restart(network, 1)
    wait_ready(network)


def test_no_log_holds_an_argument_of_a_transaction(network: LocalNetwork) -> None:
    """A text sent to the chain, readable or in hexadecimal, is in no log and in no output of any process."""
    secret = "geheim-4711"
    command = [*GRIDQUORUM, "tx", "send", "ping", "ping", secret, "--data-dir", str(network.directory), "--json"]
    subprocess.run(command, capture_output=True, timeout=COMMAND_SECONDS_MAX, check=False)
    for replica in network.replicas:
        text = replica.log_path.read_text(encoding="utf-8") + replica.output_path.read_text(encoding="utf-8")
        assert '"event": "block"' in text
        assert secret not in text
        assert secret.encode().hex() not in text


def test_a_foreground_up_takes_its_replicas_along(tmp_path: Path) -> None:
    """Ctrl-C ends all four in order with exit code 130, and impatience changes nothing.

    SIGKILL of `up` ends them too, through their standard input.
    """
    for numbers, exit_code in (((signal.SIGINT, signal.SIGTERM, signal.SIGINT), 130), ((signal.SIGKILL,), -9)):
        directory = tmp_path / numbers[0].name
        command = [*GRIDQUORUM, "up", "--port-base", "0", "--data-dir", str(directory), "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            answer = json.loads(process.stdout.readline())
            for number in numbers:
                process.send_signal(number)
            assert process.wait(timeout=COMMAND_SECONDS_MAX) == exit_code
        for entry in answer["replicas"]:
            record = read_record(directory / f"r{entry['replica']}" / "process.json")
            assert record is None or wait_ended(record, timeout_seconds=10)
            assert start_time_of(entry["worker_pid"]) is None
