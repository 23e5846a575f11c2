"""What leaves at the end of a turn: in one piece, at once where the socket takes it, in order where it does not."""

from typing import Any

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_LOST

from pbft.node.prompt import TurnEnd, write_now


class Reactor:
    """Who waits to write."""

    def __init__(self) -> None:
        self.writers: list[Any] = []

    def addWriter(self, stream: Any) -> None:  # noqa: N802
        if stream not in self.writers:
            self.writers.append(stream)

    def removeWriter(self, stream: Any) -> None:  # noqa: N802
        self.writers.remove(stream)


class Stream(FileDescriptor):
    """A stream of Twisted's whose socket takes `room` bytes, then no more; or whose other end is gone."""

    def __init__(self, room: int) -> None:
        super().__init__(reactor=Reactor())
        self.connected = 1
        self.room = room
        self.taken = b""
        self.is_gone = False

    def writeSomeData(self, data: bytes) -> Any:  # noqa: N802
        if self.is_gone:
            return CONNECTION_LOST
        count = min(self.room, len(data))
        self.taken += data[:count]
        self.room -= count
        return count


def test_what_the_socket_takes_leaves_at_once_and_the_reactor_is_not_asked() -> None:
    stream = Stream(room=100)
    write_now(stream, b"one")
    write_now(stream, b"two")
    assert (stream.taken, stream.reactor.writers) == (b"onetwo", [])


@pytest.mark.parametrize("room", range(10))
def test_nothing_overtakes_what_waits(room: int) -> None:
    """However little the socket takes, and whenever it takes more: the bytes arrive in order, and once."""
    stream = Stream(room=room)
    for piece in (b"one", b"two", b"three"):
        write_now(stream, piece)
    assert stream.taken == b"onetwothree"[:room] and stream.reactor.writers == [stream]
    stream.room = 1
    write_now(stream, b"four")
    stream.room = 100
    assert stream.doWrite() is None
    assert (stream.taken, stream.reactor.writers) == (b"onetwothreefour", [])
    write_now(stream, b"five")
    assert stream.taken == b"onetwothreefourfive"


def test_who_fills_the_stream_is_paused_and_goes_on_when_it_is_empty() -> None:
    heard: list[str] = []

    class Producer:
        def pauseProducing(self) -> None:  # noqa: N802
            heard.append("pause")

        def resumeProducing(self) -> None:  # noqa: N802
            heard.append("resume")

    stream = Stream(room=10)
    stream.registerProducer(Producer(), streaming=True)
    write_now(stream, bytes(10))
    assert heard == []
    write_now(stream, bytes(stream.bufferSize + 1))
    assert heard == ["pause"]
    stream.room = 1 << 20
    stream.doWrite()
    assert heard == ["pause", "resume"]


def test_a_broken_stream_is_left_to_the_reactor() -> None:
    """It finds the error when it comes by, and tells the protocol as always."""
    stream = Stream(room=10)
    stream.is_gone = True
    write_now(stream, b"lost")
    assert stream.reactor.writers == [stream] and stream.doWrite() is CONNECTION_LOST


@pytest.mark.parametrize("ended", ["disconnecting", "never connected"])
def test_a_stream_that_ends_is_written_to_as_before(ended: str) -> None:
    """Its last bytes and its end are in the reactor's hands: nothing is sent past them."""
    stream = Stream(room=10)
    stream.disconnecting, stream.connected = ended == "disconnecting", int(ended == "disconnecting")
    write_now(stream, b"late")
    assert stream.taken == b""
    assert stream.reactor.writers == ([stream] if stream.connected else [])


def test_calls_of_a_turn_are_made_at_its_end_and_wake_once() -> None:
    wakes: list[None] = []
    made: list[str] = []
    turn = TurnEnd(lambda: wakes.append(None))
    turn.callLater(0, lambda: made.append("first"))
    cancelled = turn.callLater(0, lambda: made.append("cancelled"))
    turn.callLater(0, lambda: turn.callLater(0, lambda: made.append("asked for meanwhile")))
    cancelled.cancel()
    assert (len(wakes), made) == (1, [])
    turn.run()
    assert made == ["first", "asked for meanwhile"]
    turn.run()
    assert len(made) == 2
    turn.callLater(0, lambda: None)
    assert len(wakes) == 3, "the second was for what was asked for while the calls were made"


def test_a_turn_makes_no_call_later() -> None:
    with pytest.raises(ValueError, match="not in 1 s"):
        TurnEnd(lambda: None).callLater(1, lambda: None)
