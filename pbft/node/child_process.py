"""A helper process of a replica, from the parent's side: started, greeted, asked over a socketpair, ended.

It owns the child process and the socket to it. Its rules: a child is asked nothing before it has said what confines it;
the first sign of its end is reported once, with a cause, unless its owner brought it about; frames have a 4-byte
big-endian length and leave at once. What is asked, how long an answer may take and what follows an end belong to the
owners: `worker_process` and `verifier_processes`. The child's side is `contracts.helper_process`.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from twisted.internet import defer, error
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from ledger.errors import EncodingError
from pbft.node.helper_messages import MESSAGE_BYTES_MAX, encode_greeting, parse_greeting
from pbft.node.prompt import write_now

CHILD_FD: Final = 3  # where the child finds its end of the socketpair
BACKOFF_SECONDS: Final = 0.1  # before the second replacement in a row, doubled for each further one
BACKOFF_SECONDS_MAX: Final = 2.0  # a helper that cannot start at all is tried this often; so is one that waits
END_SECONDS_MAX: Final = 2.0  # to end by itself when its socket closes, before it is killed
STDERR_CHARACTERS_MAX: Final = 2_000  # of a dying helper's last words, for the log


def compute_backoff_seconds(failures_in_a_row: int) -> float:
    """At once after the first failure, then doubling: a helper that cannot run must not take the machine."""
    doublings = failures_in_a_row - 2
    return 0.0 if doublings < 0 else min(BACKOFF_SECONDS * 2.0 ** min(doublings, 16), BACKOFF_SECONDS_MAX)


class ChildProcess(ProcessProtocol):
    """One helper process with its socket, greeted at once."""

    def __init__(
        self,
        reactor: Any,
        command: Sequence[str],
        *,
        on_greeted: Callable[["ChildProcess"], None],
        on_message: Callable[["ChildProcess", bytes], None],
        on_end: Callable[["ChildProcess", str, str], None],
    ) -> None:
        """`on_greeted`: its `confinement` is known; `on_message`: an answer; `on_end`: its cause (`exit`, `bad_answer`)
        and what is known of it; the owner then kills it."""
        self._reactor = reactor
        self._on_greeted = on_greeted
        self._on_message = on_message
        self._on_end = on_end
        self._ended: defer.Deferred[None] = defer.Deferred()
        self._last_words = ""
        self.confinement: Mapping[str, str] | None = None  # until it has greeted
        arguments = list(command)
        environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        ours, theirs = socket.socketpair()
        with ours, theirs, open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device, not a path of ours
            self._frames = _Frames(self._receive, lambda cause: self._on_end(self, cause, ""))
            reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: self._frames))
            descriptors = {0: nothing.fileno(), 1: "r", 2: "r", CHILD_FD: theirs.fileno()}
            self._process: Any = reactor.spawnProcess(
                self, arguments[0], arguments, env=environment, childFDs=descriptors
            )
        self.pid: int = self._process.pid
        self.send(encode_greeting())

    @property
    def missing(self) -> dict[str, str]:
        """What of its confinement this machine's kernel does not give: feature -> why not."""
        return {name: state for name, state in (self.confinement or {}).items() if state != "on"}

    def send(self, message: bytes) -> None:
        """Ask; at most one question is under way."""
        self._frames.send(message)

    def _receive(self, message: bytes) -> None:
        if self.confinement is not None:
            self._on_message(self, message)
            return
        try:
            self.confinement = parse_greeting(message)
        except EncodingError as problem:
            self._on_end(self, "bad_answer", str(problem))
            return
        self._on_greeted(self)

    def kill(self) -> None:
        """End it at once; nothing is reported any more."""
        self._silence()
        self._frames.close()
        self._signal("KILL")

    def end(self) -> "defer.Deferred[None]":
        """Close its socket, and kill it if it does not end by that. Fires when it has ended."""
        self._silence()
        self._frames.close()
        killer = self._reactor.callLater(END_SECONDS_MAX, self._signal, "KILL")
        return self._ended.addCallback(lambda _: killer.cancel() if killer.active() else None)

    def _silence(self) -> None:
        """Nobody needs to hear of an end that its owner brought about."""
        self._on_greeted, self._on_message, self._on_end = _ignore, _ignore, _ignore

    def _signal(self, name: str) -> None:
        try:
            self._process.signalProcess(name)
        except error.ProcessExitedAlready:
            return

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803 - twisted's names
        """The helper says nothing unless it dies; then the end of it is worth a line."""
        self._last_words = (self._last_words + data.decode("utf-8", "replace"))[-STDERR_CHARACTERS_MAX:]

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - twisted's name
        """The process is gone and all its output is read."""
        self._on_end(self, "exit", f"{reason.getErrorMessage()} {self._last_words}".strip())
        self._ended.callback(None)


def _ignore(*_: object) -> None:
    """It is over."""


class _Frames(Int32StringReceiver):
    """Messages with a 4-byte big-endian length, both ways."""

    MAX_LENGTH = MESSAGE_BYTES_MAX

    def __init__(self, on_message: Callable[[bytes], None], on_fault: Callable[[str], None]) -> None:
        self._on_message = on_message
        self._on_fault = on_fault

    def send(self, message: bytes) -> None:
        """Into the socket at once: the replica has nothing to do until the answer is there."""
        write_now(self.transport, len(message).to_bytes(4, "big") + message)

    def stringReceived(self, string: bytes) -> None:  # noqa: N802 - twisted's name
        """A whole message."""
        self._on_message(string)

    def lengthLimitExceeded(self, length: int) -> None:  # noqa: N802 - twisted's name
        """No helper of ours says that much."""
        self._on_fault("bad_answer")

    def close(self) -> None:
        """Let go of the socket at once."""
        if self.transport is not None:
            self.transport.abortConnection()
