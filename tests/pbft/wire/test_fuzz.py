"""Every decoder, fed with what is almost a message: only its own refusals leave it, in bounded time and memory.

`wire_fuzz.targets` lists the decoders, `wire_fuzz.mutations` edits good inputs by their form, `wire_fuzz.cost` says
what reading may cost. The corpus holds the shortest input found for each outcome; outcomes are fixed, so that a code
that changes shows here.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_fuzz import cost
from wire_fuzz.cost import TooCostly, measure
from wire_fuzz.make_corpus import CORPUS, read_corpus
from wire_fuzz.mutations import DEEP, mutate, write_fields
from wire_fuzz.small_network import make_network
from wire_fuzz.targets import Target, make_targets

from ledger.encoding import encode
from ledger.payload import PAYLOAD_VALUES_MAX, PayloadPart, encode_payload
from ledger.transaction import TRANSACTION_BYTES_MAX, TRANSACTION_VALUES_MAX
from pbft.core import persisted
from pbft.core.messages import Batch, Batches, BlockBody, Blocks, Relay, Request
from pbft.wire.codec import WireError, encode_peer, parse_request
from pbft.wire.gridquorum_pb2 import ClientFrame, PeerFrame, ReplicaFrame

TARGETS = make_targets(make_network())
fuzzed = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_corpus_has_its_outcomes_within_its_cost(name: str) -> None:
    """Each line is read as it was when it was written; `found/` holds what once failed."""
    lines = read_corpus(CORPUS / f"{name}.txt")
    assert any(outcome == "ok" for outcome, _ in lines) and len(lines) > 1
    for outcome, data in lines:
        assert measure(TARGETS[name], data) == outcome, data.hex()


def test_every_target_has_its_corpus_and_every_corpus_its_target() -> None:
    """A decoder that goes takes its inputs with it; one that comes brings some."""
    assert {path.stem for path in CORPUS.glob("*.txt")} == set(TARGETS)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_edited_messages_are_read_or_refused(name: str) -> None:
    """Total: no other exception leaves the decoder, whatever one to three edits make of a good input."""
    target = TARGETS[name]

    @fuzzed
    @given(random=st.randoms(use_true_random=False), seed=st.sampled_from(target.seeds))
    def run(random: Random, seed: bytes) -> None:
        measure(target, mutate(seed, target.edits, random))

    run()


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_any_bytes_are_read_or_refused(name: str) -> None:
    """The same for bytes without any form."""

    @fuzzed
    @given(data=st.binary(max_size=300))
    def run(data: bytes) -> None:
        measure(TARGETS[name], data)

    run()


def test_every_kind_of_frame_has_a_target() -> None:
    """A message kind that is added to the format is fuzzed, or this fails."""
    network = make_network()
    peers = {PeerFrame.FromString(encode_peer(m)).WhichOneof("body") for m in network.peer_messages().values()}
    assert peers == {field.name for field in PeerFrame.DESCRIPTOR.oneofs_by_name["body"].fields}
    for side, kind in {"client": ClientFrame, "replica": ReplicaFrame}.items():
        bodies = [field.name for field in kind.DESCRIPTOR.oneofs_by_name["body"].fields]
        seeds = [seed for name, target in TARGETS.items() if name.startswith(f"{side}_") for seed in target.seeds]
        assert {kind.FromString(seed).WhichOneof("body") for seed in seeds} == set(bodies)


def test_every_journal_record_has_a_target() -> None:
    """The same for records: each key that `pbft.core.persisted` names."""
    names = {name.lower().removesuffix("_key") for name in dir(persisted) if name.lower().endswith("_key")}
    assert {f"journal_{name}" for name in names} == {name for name in TARGETS if name.startswith("journal_")}


# --- the most expensive inputs that anybody could think of ---


HEAVY_BATCH_BYTES = 140_000  # eight short transactions: all their values at once would be seen


def heavy_request(nonce: int, *, length: int) -> Request:
    """A transaction of about that length, of as many containers as it may have."""
    network = make_network()
    values = min(length - 400, TRANSACTION_VALUES_MAX - 20)
    arguments = ([[]] * values, b"x" * max(length - 400 - values, 0))
    return parse_request(network.raw_transaction(nonce, arguments=arguments), network.rules)


def heavy_private_request(nonce: int) -> Request:
    """A payload of as many values as it may have, beside an empty call."""
    network = make_network()
    part = PayloadPart(salt=bytes([nonce]) * 32, value=encode([[]] * (PAYLOAD_VALUES_MAX - 10)))
    raw = network.raw_transaction(nonce, commitments=(part.commitment,))
    return parse_request(raw, network.rules, encode_payload([part]))


def full_batch(make: Callable[[int], Request]) -> Batch:
    """As many of these requests as a small batch holds; a large one has the same ones again."""
    network = make_network()
    first = make(0)
    count = min(HEAVY_BATCH_BYTES // (first.size_bytes + 8), network.rules.batch_requests_max)
    requests = (first, *(make(nonce) for nonce in range(1, count)))
    batch: Batch = network.batch_of(*requests)
    return batch


HEAVY: dict[str, Callable[[], Batch]] = {
    "containers in long transactions": lambda: full_batch(lambda n: heavy_request(n, length=TRANSACTION_BYTES_MAX)),
    "containers in transactions as short as they can be": lambda: full_batch(lambda n: heavy_request(n, length=16_800)),
    "containers in payloads": lambda: full_batch(heavy_private_request),
    "many small ones": lambda: full_batch(make_network().request),
}


@pytest.mark.parametrize("case", HEAVY)
def test_the_heaviest_bodies_cost_what_their_bytes_allow(case: str) -> None:
    """In a relay, an answer to a fetch, a block: one transaction's values are in memory at a time, not a body's."""
    batch = HEAVY[case]()
    body = BlockBody(header=b"h", batch=batch)
    carriers = (Batches(batches=(batch,)), Blocks(first_height=1, blocks=(body,), certificate=None))
    for message in (Relay(requests=batch.requests), carriers["payloads" in case]):
        assert measure(TARGETS["peer_batches"], encode_peer(message)) == "ok"


def test_lists_and_nesting_are_bounded_before_they_are_made() -> None:
    """Two bytes that would become an object, a million times; messages inside messages; numbers that never end."""
    rules = make_network().rules
    size = rules.peer_frame_bytes_max
    for tag in range(1, 16):
        field = tag << 3 | 2
        empty = bytes([field, 0]) * (size // 2 - 8)
        deep = b""
        while len(deep) < 4_000:
            deep = write_fields([(field, deep)])
        for body in (empty, deep, bytes([field]) + b"\xff" * 1_000, b"\x0a\x00" * 100_000):
            outcome = measure(TARGETS["peer_status"], write_fields([(field, body)])[:size])
            assert outcome != "ok" or len(body) < 100
    assert measure(TARGETS["peer_status"], bytes(size + 1)) == "oversized"
    assert measure(TARGETS["transaction"], bytes(64) + b"\x91" * (TRANSACTION_BYTES_MAX - 64)) != "ok"
    assert measure(TARGETS["proof_file"], b"[" * 1_000_000) == "json"
    assert measure(TARGETS["genesis_file"], b'{"a":' * DEEP * 100) == "json"


def test_the_measure_sees_what_is_too_costly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that keeps a list per byte, one that takes its time, and one that lets an exception out are seen."""
    wasteful = Target(decode=lambda data: [[byte] for byte in data], seeds=(), edits=())
    with pytest.raises(TooCostly, match="memory"):
        measure(wasteful, bytes(200_000))
    monkeypatch.setattr(cost, "SECONDS_BASE", 0.001)
    slow = Target(decode=lambda data: sum(range(1_000_000)), seeds=(), edits=())
    with pytest.raises(TooCostly, match=r" s for"):
        measure(slow, b"")
    failing = Target(decode=lambda data: data[1], seeds=(), edits=(), kin=(WireError,))
    with pytest.raises(IndexError):
        measure(failing, b"")


def test_what_once_failed_is_kept() -> None:
    """`found/<target>.<what>.hex`: inputs that broke a decoder, for ever."""
    for path in sorted((Path(CORPUS) / "found").glob("*.hex")):
        measure(TARGETS[path.name.split(".")[0]], bytes.fromhex(path.read_text().strip()))
