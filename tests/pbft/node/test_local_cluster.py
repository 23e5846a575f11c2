"""The life of a local network without its processes: who counts as ready, what status says, who holds the lock.

The rest is tests/drills/test_local_cluster.py, with four real processes.
"""

import contextlib
import os
import socket
from typing import Any

import pytest

from pbft.node import local_cluster as subject
from pbft.node.local_cluster import exclusive, kill, start_replica, status, stop, wait_ready
from pbft.node.local_network import LocalNetwork, LocalNetworkError
from pbft.node.local_processes import ProcessRecord, start_time_of, write_record


def answer(replica: int, **changes: Any) -> dict[str, Any]:
    """What the ops port of a healthy replica says, changed."""
    healthy = {
        "replica": replica,
        "state": "primary" if replica == 0 else "backup",
        "height": 5,
        "certified_height": 5,
        "view": 0,
        "primary": 0,
        "state_root": "aa",
        "connected": [other for other in range(4) if other != replica],
        "cause": None,
        "pid": 1000 + replica,
        "worker_pid": 2000 + replica,
    }
    return healthy | changes


def say(monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any] | None) -> None:
    """Let the four ops ports answer this; None is silence."""
    monkeypatch.setattr(subject, "_ask_all", lambda network: dict(enumerate(answers)))


def ours(network: LocalNetwork) -> None:
    """Record this very process as each replica's, so that all of them run."""
    for replica in network.replicas:
        record = ProcessRecord(pid=os.getpid(), started=start_time_of(os.getpid()) or "")
        write_record(replica.record_path, record)


LAGGING = [
    pytest.param({"height": 4}, id="below the height of f + 1 others"),
    pytest.param({"view": 0}, id="in a view that others have left"),
    pytest.param({"connected": [1]}, id="linked with too few"),
    pytest.param({"state": "view_change"}, id="between two views"),
    pytest.param({"state": "halted"}, id="halted"),
    pytest.param({"state": "diverged"}, id="diverged"),
    pytest.param({"state": "starting", "height": None, "certified_height": None, "view": None}, id="starting"),
]


@pytest.mark.parametrize("lag", LAGGING)
def test_a_replica_that_lags_is_not_ready(
    local_network: LocalNetwork, monkeypatch: pytest.MonkeyPatch, lag: dict[str, Any]
) -> None:
    """Ready is to take part: as far as the others, in their view, linked with a quorum."""
    ours(local_network)
    others = [answer(number, view=1, primary=1, state="backup") for number in range(3)]
    say(monkeypatch, *others, answer(3, **({"view": 1, "primary": 1} | lag)))
    with pytest.raises(LocalNetworkError) as caught:
        wait_ready(local_network, timeout_seconds=0)
    assert (caught.value.code, "r3" in str(caught.value)) == ("not_ready", True)
    assert wait_ready(local_network, replica_ids=(0, 1, 2), timeout_seconds=0)["view"] == 1


def test_one_replicas_boast_keeps_nobody_waiting(local_network: LocalNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """A height or view counts when f + 1 replicas name it: one alone may be wrong or lying."""
    ours(local_network)
    say(monkeypatch, answer(0), answer(1), answer(2), answer(3, certified_height=900, height=900, view=7))
    assert wait_ready(local_network, timeout_seconds=0)["answering"] == 4


def test_a_replica_that_has_ended_is_reported_with_its_last_words(
    local_network: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for the dead is pointless: what it wrote to its streams is in the message, at once."""
    say(monkeypatch, None, None, None, None)
    local_network.replica(0).output_path.write_text("gridquorum: r0 cannot listen on port 7")
    with pytest.raises(LocalNetworkError) as caught:
        wait_ready(local_network, timeout_seconds=60)
    assert (caught.value.code, "cannot listen on port 7" in str(caught.value)) == ("not_ready", True)


def test_without_a_quorum_of_processes_nobody_waits(
    local_network: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of four run: the one that came back has read its chain and waits for links that cannot come; said at once.

    While it still reads its chain it is waited for, so that what is said about it is true.
    """
    ours(local_network)
    for number in (0, 1):
        local_network.replica(number).record_path.unlink()
    say(monkeypatch, None, None, answer(2, connected=[3]), answer(3, connected=[2]))
    with pytest.raises(LocalNetworkError) as caught:
        wait_ready(local_network, replica_ids=(3,), timeout_seconds=60)
    assert caught.value.code == "no_quorum"
    assert "r3 runs" in str(caught.value) and "2 of 4 replicas run, 3 make a quorum" in str(caught.value)
    say(monkeypatch, None, None, answer(2, connected=[3]), None)
    with pytest.raises(LocalNetworkError) as caught:
        wait_ready(local_network, replica_ids=(3,), timeout_seconds=0)
    assert caught.value.code == "not_ready"


def test_status_is_what_those_who_answer_say(local_network: LocalNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """The furthest view and height; for the silent ones what is known without them."""
    ours(local_network)
    local_network.replica(0).record_path.unlink()
    say(monkeypatch, None, answer(1, view=1, primary=1, state="primary", height=9), answer(2, view=1, primary=1), None)
    seen = status(local_network)
    assert (seen["view"], seen["primary"], seen["height"], seen["answering"], seen["quorum"]) == (1, 1, 9, 2, 3)
    assert [entry["state"] for entry in seen["replicas"]] == ["down", "primary", "backup", "starting"]
    assert [entry["height"] for entry in seen["replicas"]] == [None, 9, 5, None]


def test_a_replica_that_is_frozen_is_called_silent_and_not_starting(
    local_network: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its port is open and answers nothing: named within the time that all of `gridquorum status` has, with a cause.
    Where the recorded process does not run, whoever sits on the port is not the replica: down."""
    monkeypatch.setattr(subject, "STATUS_SECONDS_MAX", 0.05)
    ours(local_network)
    local_network.replica(3).record_path.unlink()
    with contextlib.ExitStack() as stack:
        for number in (2, 3):
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", local_network.replica(number).ops_port))
            listener.listen()
        seen = status(local_network)
    assert [entry["state"] for entry in seen["replicas"]] == ["starting", "starting", "silent", "down"]
    assert "did not answer" in seen["replicas"][2]["cause"]
    assert seen["replicas"][3]["cause"] is None
    assert (seen["answering"], seen["height"]) == (0, None)


def test_a_worker_is_killed_only_as_a_child_of_its_replica(
    local_network: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pid that the ops port names and that is nobody's child here is not believed: nothing of it is signalled."""
    record = ProcessRecord(pid=os.getpid(), started="of another process")
    write_record(local_network.replica(0).record_path, record)
    with pytest.raises(LocalNetworkError) as caught:
        kill(local_network, 0)
    assert caught.value.code == "not_running"
    monkeypatch.setattr(subject, "_ask", lambda replica: answer(0, worker_pid=os.getppid()))
    live = ProcessRecord(pid=os.getpid(), started=start_time_of(os.getpid()) or "")
    assert subject._worker_of(local_network.replica(0), live) is None


def test_a_running_replica_is_not_started_twice_and_stop_spares_strangers(local_network: LocalNetwork) -> None:
    """The record decides; a record of another process with our pid is removed and its process left alone."""
    ours(local_network)
    with pytest.raises(LocalNetworkError) as caught:
        start_replica(local_network, 0)
    assert caught.value.code == "running"
    for replica in local_network.replicas:
        write_record(replica.record_path, ProcessRecord(pid=os.getpid(), started="long ago"))
    assert stop(local_network) == ()
    assert not local_network.replica(0).record_path.exists()


def test_the_directory_is_held_by_one_and_named(local_network: LocalNetwork) -> None:
    """A second `up` learns the pid of the first; when that lets go, the next may."""
    with exclusive(local_network.directory):
        with pytest.raises(LocalNetworkError) as caught, exclusive(local_network.directory):
            pass
        assert (caught.value.code, str(os.getpid()) in str(caught.value)) == ("running", True)
    with exclusive(local_network.directory):
        pass
