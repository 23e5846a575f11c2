"""Bytes that leave when a turn ends, in one piece for each connection, without waiting for the reactor to come round.

Twisted writes when a later turn finds the socket writable: for a frame of a hundred bytes two more turns and two calls
of epoll, on each link. A block of one request is a dozen such frames at every replica, one after the other, and their
delays add up. A socket of a link that keeps up is always writable, so it is written to at once; what it does not take
is left to the reactor, in order, as before.

    secured = PromptTlsFactory(connections, False, factory, clock=turn)     # TLS gathers frames until `turn` ends
    turn = TurnEnd(wake);  ... turn.run()
"""

from collections.abc import Callable
from typing import Any

from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory


class _Call:
    """A call that is due, as Twisted's `IDelayedCall` as far as it is used."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function: Callable[[], Any] | None = function

    def cancel(self) -> None:
        """It is not called any more."""
        self.function = None


class TurnEnd:
    """What gathers writes asks its clock for a call in the next turn; it gets it when this turn's work is done.

    `wake` is called with the first request of a turn: whoever calls `run` must come by. One call of the reactor's then
    serves all connections.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._calls: list[_Call] = []

    def callLater(self, delay: float, function: Callable[[], Any]) -> _Call:  # noqa: N802 - twisted's name
        """At the end of the turn; never later."""
        if delay:
            raise ValueError(f"a turn ends now, not in {delay} s")
        call = _Call(function)
        self._calls.append(call)
        if len(self._calls) == 1:
            self._wake()
        return call

    def run(self) -> None:
        """The turn has ended."""
        while self._calls:
            calls, self._calls = self._calls, []
            for call in calls:
                if call.function is not None:
                    call.function()


def write_now(transport: Any, data: bytes) -> None:
    """Writes to a stream of Twisted's (`abstract.FileDescriptor`): now what the socket takes, the rest when it takes
    more. All writes to the stream must come this way: then what waits stands in `dataBuffer`, and nothing overtakes it.
    """
    is_free = transport.connected and not (transport.dataBuffer or transport.disconnecting)
    sent = transport.writeSomeData(data) if is_free else 0
    if sent == len(data):
        return
    transport.write(data[sent:] if isinstance(sent, int) else data)  # an error is met again, and judged, by the reactor
    if is_free:
        transport.doWrite()  # moves what waits into `dataBuffer`; a socket that is full or broken changes nothing else


class _PromptStream:
    """A stream whose `write` is `write_now`; everything else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, data: bytes) -> None:
        write_now(self._stream, data)


class _PromptTls(BufferingTLSTransport):
    """TLS over a prompt stream."""

    def makeConnection(self, transport: Any) -> None:  # noqa: N802 - twisted's name
        super().makeConnection(_PromptStream(transport))  # type: ignore[no-untyped-call]


class PromptTlsFactory(TLSMemoryBIOFactory):
    """TLS connections of which each writes what a turn of `clock` has gathered in one piece, and at once."""

    protocol = _PromptTls
