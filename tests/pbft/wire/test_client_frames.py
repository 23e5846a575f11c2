"""The client port's frames and Hello: round trips, limits of every field, and mutations."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbft.wire import gridquorum_pb2 as pb
from pbft.wire.client_frames import (
    Await,
    Head,
    HeadRequest,
    Proof,
    ProofAnswer,
    Refused,
    Replies,
    Submit,
    View,
    ViewAnswer,
    decode_client_frame,
    decode_replica_frame,
    encode_client_frame,
    encode_replica_frame,
)
from pbft.wire.hello import Hello, decode_hello, encode_hello
from pbft.wire.limits import CLIENT_FRAME_BYTES_MAX, HELLO_BYTES_MAX, NUMBER_MAX, REPLICA_FRAME_BYTES_MAX, WireError

numbers = st.integers(0, NUMBER_MAX)
hashes = st.binary(min_size=32, max_size=32)
names = st.from_regex(r"\A[a-z][a-z0-9_]{0,31}\Z")
codes = st.text(alphabet="abcdefgh_", max_size=64)

client_frames = st.one_of(
    st.builds(Submit, correlation=numbers, transaction=st.binary(min_size=1, max_size=300)),
    st.builds(
        View, correlation=numbers, contract=names, method=names, arguments=st.binary(max_size=99), min_height=numbers
    ),
    st.builds(Proof, correlation=numbers, tx_id=hashes, key=st.none()),
    st.builds(Proof, correlation=numbers, tx_id=st.none(), key=st.binary(min_size=1, max_size=90)),
    st.builds(HeadRequest, correlation=numbers),
    st.builds(Await, st.lists(st.tuples(numbers, hashes), min_size=1, max_size=9).map(tuple)),
)
replica_frames = st.one_of(
    st.builds(
        Replies, replies=st.lists(st.tuples(numbers, st.binary(max_size=300)), min_size=1, max_size=9).map(tuple),
        view_hint=numbers, primary_hint=st.integers(0, 63),
    ),
    st.builds(
        Refused, correlation=numbers, tx_id=st.one_of(hashes, st.just(b"")), code=codes, detail=st.text(max_size=500),
        retry_after_ms=numbers,
    ),
    st.builds(
        ViewAnswer, correlation=numbers, height=numbers, time_ms=numbers, status=codes, code=codes,
        result=st.binary(max_size=99),
    ),
    st.builds(ProofAnswer, correlation=numbers, code=codes, proof=st.binary(max_size=99)),
    st.builds(
        Head, correlation=numbers, height=numbers, time_ms=numbers, header_hash=hashes, certified_height=numbers,
        view=numbers, primary=st.integers(0, 63),
    ),
)  # fmt: skip


@given(client_frames)
def test_any_question_survives_the_wire(frame) -> None:
    assert decode_client_frame(encode_client_frame(frame)) == frame


@given(replica_frames)
def test_any_answer_survives_the_wire(frame) -> None:
    assert decode_replica_frame(encode_replica_frame(frame)) == frame


def test_fields_beyond_their_limits_are_refused() -> None:
    """A table: each field at fault, and the code."""
    view = View(correlation=1, contract="readings", method="latest", arguments=b"", min_height=0)
    head = Head(correlation=1, height=1, time_ms=1, header_hash=b"h" * 32, certified_height=0, view=0, primary=0)
    refused = Refused(correlation=1, tx_id=b"", code="busy", detail="", retry_after_ms=5)
    questions = {
        "no transaction": (Submit(correlation=1, transaction=b""), "length"),
        "long transaction": (Submit(correlation=1, transaction=b"x" * 131_073), "length"),
        "upper case": (replace(view, contract="Readings"), "name"),
        "empty name": (replace(view, method=""), "name"),
        "long arguments": (replace(view, arguments=b"x" * 65_537), "length"),
        "height": (replace(view, min_height=2**63), "number"),
        "correlation": (HeadRequest(correlation=2**63), "number"),
        "proof of nothing": (Proof(correlation=1, tx_id=None, key=None), "malformed"),
        "short id": (Proof(correlation=1, tx_id=b"x" * 31, key=None), "length"),
        "empty key": (Proof(correlation=1, tx_id=None, key=b""), "length"),
        "correlation in a list": (Await(((2**63, bytes(32)),)), "number"),
        "too many outcomes": (Await(((1, bytes(32)),) * 1_025), "length"),
        "no outcomes": (Await(()), "length"),
        "long key": (Proof(correlation=1, tx_id=None, key=b"x" * 1_025), "length"),
    }
    replies = Replies(replies=((1, b"r"),), view_hint=0, primary_hint=0)
    answers = {
        "too many replies": (replace(replies, replies=((1, b"r"),) * 1_025), "count"),
        "correlation in a list": (replace(replies, replies=((2**63, b"r"),)), "number"),
        "hint": (replace(replies, view_hint=2**63), "number"),
        "short hash": (replace(head, header_hash=b"h"), "length"),
        "tx id": (replace(refused, tx_id=b"x"), "length"),
        "code": (replace(refused, code="x" * 65), "length"),
        "detail": (replace(refused, detail="x" * 501), "length"),
        "wait": (replace(refused, retry_after_ms=2**63), "number"),
    }
    for table, encode, decode in (
        (questions, encode_client_frame, decode_client_frame),
        (answers, encode_replica_frame, decode_replica_frame),
    ):
        for name, (frame, code) in table.items():
            with pytest.raises(WireError) as error:
                decode(encode(frame))
            assert error.value.code == code, name


def test_lists_that_do_not_come_out_even_are_refused() -> None:
    """No entry may be half there, and a list has no correlation of its own."""
    entries, numbers = bytes(40), bytes(16)
    questions = [
        pb.ClientFrame(awaited=pb.Await(entries=entries[1:])),
        pb.ClientFrame(awaited=pb.Await(entries=entries + b"1")),
        pb.ClientFrame(correlation=1, awaited=pb.Await(entries=entries)),
    ]
    answers = [
        pb.ReplicaFrame(replies=pb.Replies(correlations=numbers, replies=[b"r"])),
        pb.ReplicaFrame(replies=pb.Replies(correlations=numbers, replies=[b"r"] * 3)),
        pb.ReplicaFrame(replies=pb.Replies()),
        pb.ReplicaFrame(correlation=1, replies=pb.Replies(correlations=numbers, replies=[b"r"] * 2)),
    ]
    for decode, frames in ((decode_client_frame, questions), (decode_replica_frame, answers)):
        for frame in frames:
            with pytest.raises(WireError) as error:
                decode(frame.SerializeToString(deterministic=True))
            assert error.value.code == ("malformed" if frame.correlation else "length")


def test_long_empty_and_unknown_frames_are_refused() -> None:
    for decode, limit in (
        (decode_client_frame, CLIENT_FRAME_BYTES_MAX),
        (decode_replica_frame, REPLICA_FRAME_BYTES_MAX),
        (decode_hello, HELLO_BYTES_MAX),
    ):
        for data, code in ((b"\0" * (limit + 1), "oversized"), (b"\x7a\x00", "unknown_field")):
            with pytest.raises(WireError) as error:
                decode(data)
            assert error.value.code == code
    for decode in (decode_client_frame, decode_replica_frame):
        for data in (b"", b"\x08\x01"):
            with pytest.raises(WireError) as error:
                decode(data)
            assert error.value.code == "malformed"
    with pytest.raises(WireError):
        decode_client_frame(b"\x1a\x03\x0a\x01\xff")  # a contract's name that is not UTF-8


def test_hello_tells_replica_0_from_a_client() -> None:
    for hello in (
        Hello(network=b"n" * 32, replica=0, release="0.1.0"),
        Hello(network=b"n" * 32, replica=63),
        Hello(network=b"n" * 32, replica=None),
        Hello(network=b"n" * 32, replica=None, version=99),
    ):
        assert decode_hello(encode_hello(hello)) == hello
    for wrong in (Hello(network=b"n" * 31, replica=0), Hello(network=b"n" * 32, replica=0, release="x" * 33)):
        with pytest.raises(WireError):
            decode_hello(encode_hello(wrong))


@settings(max_examples=300)
@given(st.one_of(client_frames, replica_frames), st.integers(0, 10**6), st.integers(0, 255))
def test_no_change_makes_anything_but_a_frame_or_a_refusal(frame, position, value) -> None:
    """One byte changed: refused, or a frame that has exactly these bytes. Each decoder meets the other's frames too."""
    is_question = isinstance(frame, Submit | Await | View | Proof | HeadRequest)
    data = bytearray((encode_client_frame if is_question else encode_replica_frame)(frame)) or bytearray(1)
    data[position % len(data)] = value
    for encode, decode in ((encode_client_frame, decode_client_frame), (encode_replica_frame, decode_replica_frame)):
        try:
            decoded = decode(bytes(data))
        except WireError:
            continue
        assert encode(decoded) == bytes(data)
