"""Every message survives the wire unchanged, in exactly one form; everything else is refused by a stable code."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.block import TIME_MAX_MS, compute_batch_digest
from ledger.hashing import NULL_DIGEST
from ledger.snapshot import CHUNK_BYTES_MAX
from pbft.core.messages import (
    Batches,
    CertificateNotice,
    Commit,
    FetchBatches,
    FetchBlocks,
    FetchSnapshot,
    FetchSnapshotChunk,
    Forward,
    HeaderVote,
    Prepare,
    PrePrepare,
    Relay,
    SlotEntry,
    SnapshotChunk,
    SnapshotOffer,
    Status,
    ViewChange,
)
from pbft.core.requests import compute_batch
from pbft.wire import gridquorum_pb2 as pb
from pbft.wire.codec import (
    WireError,
    decode_envelope,
    decode_peer,
    encode_envelope,
    encode_peer,
    encode_peer_frames,
    is_client_traffic,
    parse_request,
    peek_kind,
    seal_turn,
)
from pbft.wire.limits import BATCHES_MAX, FETCHED_DIGESTS_MAX, NUMBER_MAX
from pbft.wire.shape import count_limits, shape_of

relaxed = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = st.integers(0, NUMBER_MAX)
heights = st.integers(1, NUMBER_MAX)
hashes = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=64, max_size=64)


# ---- round trips ----


def test_every_message_survives_the_wire(network) -> None:
    """What was sent is what arrives: equal to the last field, digests and ids recomputed on the way."""
    for name, message in network.peer_messages().items():
        frame = encode_peer(message)
        assert decode_peer(frame, network.rules) == message, name
        assert encode_peer(decode_peer(frame, network.rules)) == frame, name
        assert len(frame) <= network.rules.peer_frame_bytes_max


@relaxed
@given(
    st.lists(
        st.one_of(
            st.builds(Prepare, epoch=st.just(0), view=numbers, height=heights, digest=hashes),
            st.builds(Commit, epoch=st.just(0), view=numbers, height=heights, digest=hashes),
            st.builds(HeaderVote, epoch=st.just(0), height=heights, header_hash=hashes, signature=signatures),
        ),
        min_size=1,
        max_size=32,
    )
)
def test_any_votes_survive_the_wire(network, votes) -> None:
    """In any number and order, with any numbers that the format has."""
    envelope = network.sealed(2, *votes)
    assert decode_peer(encode_peer(envelope), network.rules) == envelope
    assert decode_envelope(encode_envelope(envelope), network.rules) == envelope


slots = st.lists(heights, max_size=8).map(tuple)


@relaxed
@given(
    st.one_of(
        st.builds(
            Status, epoch=numbers, view=numbers, active=st.booleans(), certified_height=numbers,
            executed_height=numbers, pre_prepared=slots, prepared=slots, committed=slots,
            view_changes=st.lists(st.integers(0, 3), max_size=4).map(tuple),
        ),
        st.builds(FetchBatches, digests=st.lists(hashes, max_size=64).map(tuple)),
        st.builds(FetchBlocks, first_height=heights),
    )
)  # fmt: skip
def test_any_link_message_survives_the_wire(network, message) -> None:
    assert decode_peer(encode_peer(message), network.rules) == message


@relaxed
@given(st.integers(0, 10**9), st.data())
def test_any_view_change_survives_the_wire(network, certified_height, data) -> None:
    """Any P and Q set inside the window, null digests too."""
    entries = st.builds(
        SlotEntry,
        height=st.integers(certified_height + 1, certified_height + network.rules.window),
        digest=st.one_of(hashes, st.just(NULL_DIGEST)),
        view=st.integers(0, 6),
    )
    prepared = data.draw(st.lists(entries, max_size=8, unique_by=lambda entry: entry.height))
    pre_prepared = data.draw(st.lists(entries, max_size=40, unique_by=lambda entry: (entry.height, entry.digest)))
    message = replace(
        network.view_change(view=7, height=5),
        certified_height=certified_height,
        certificate=network.certificate(certified_height) if certified_height else None,
        header_hash=network.certificate(certified_height or 1).header_hash,
        prepared=tuple(prepared),
        pre_prepared=tuple(pre_prepared),
    )
    envelope = network.sealed(1, message)
    assert decode_peer(encode_peer(envelope), network.rules) == envelope


# ---- one form only, and nothing unknown ----


def test_the_shape_names_a_limit_for_every_list(network) -> None:
    """A repeated field without a limit, or a limit of a field that is gone, does not get past this test."""
    repeated = {
        f"{name}.{field.name}"
        for name, descriptor in pb.DESCRIPTOR.message_types_by_name.items()
        for field in descriptor.fields
        if field.is_repeated
    }
    assert repeated == set(count_limits(network.rules))
    for descriptor in pb.DESCRIPTOR.message_types_by_name.values():
        assert all(field.number < 16 for field in descriptor.fields), "the walk reads tags of one byte"
    assert shape_of("PeerFrame", network.rules)


def test_more_than_a_list_may_hold_is_refused_before_it_is_parsed(network) -> None:
    """Elements of two bytes each that would become millions of objects: refused at the first one too many."""
    floods = {
        "Forward.envelopes": (b"\x0a\x00", 9, b""),
        "Batches.batches": (b"\x0a\x00", 4, b""),
        "Relay.requests": (b"\x0a\x00", 8, b""),
        "Blocks.blocks": (b"\x12\x00", 6, b""),
    }
    for name, (element, field_number, _) in floods.items():
        body = element * 500_000
        frame = bytes((field_number << 3 | 2,)) + _varint(len(body)) + body
        with pytest.raises(WireError) as refused:
            decode_peer(frame, network.rules)
        assert refused.value.code == "count" and name in refused.value.detail


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def test_another_form_of_the_same_message_is_refused(network) -> None:
    """Unknown fields, fields out of order, a default written out, a longer number, a second body: all refused."""
    frame = encode_peer(FetchBlocks(first_height=7))
    assert frame == b"\x2a\x02\x08\x07"
    forms = {
        b"\x2a\x03\x08\x87\x00": "not_canonical",  # the number 7 in two bytes
        b"\x2a\x04\x08\x05\x08\x07": "count",  # the field twice
        b"\x2a\x04\x08\x07\x10\x01": "unknown_field",  # inside
        b"\x2a\x02\x08\x07\x78\x01": "unknown_field",  # outside
        b"\x2a\x02\x0d\x07": "unknown_field",  # a fixed32 where a number belongs
        b"\x2a\x02\x08\x07\x1a\x00": "not_canonical",  # two bodies
        b"\x2a\x82\x00\x08\x07": "not_canonical",  # a length in two bytes
        b"\x2a\x03\x08\x07": "malformed",  # shorter than announced
        b"\x2a\x02\x08\xff": "malformed",  # a number that does not end
        b"\x2a\x00": "number",  # height 0
        b"": "malformed",  # nothing
        frame + b"\x00": "unknown_field",
    }
    for data, code in forms.items():
        with pytest.raises(WireError) as refused:
            decode_peer(data, network.rules)
        assert refused.value.code == code, data


def test_a_frame_longer_than_any_message_is_refused_unread(network) -> None:
    with pytest.raises(WireError) as refused:
        decode_peer(b"\x00" * (network.rules.peer_frame_bytes_max + 1), network.rules)
    assert refused.value.code == "oversized"


# ---- what a message may not say ----


def refusal(network, message) -> str:
    """The code with which an encoded message is refused."""
    with pytest.raises(WireError) as refused:
        decode_peer(encode_peer(message), network.rules)
    return refused.value.code


def test_contents_that_contradict_themselves_are_refused(network) -> None:
    """A table of defects of each kind of message, each with its code."""
    good = network.view_change(view=3, height=5)
    entry = good.prepared[0]
    vote = Prepare(epoch=0, view=1, height=6, digest=b"d" * 32)
    pre_prepare = network.signed_messages()["pre_prepare"][0]
    new_view = network.new_view()
    first_choice = new_view.choices[0]
    certificate = network.certificate(5)
    status = network.peer_messages()["status"]
    sealed = {
        "digest": replace(pre_prepare, digest=b"x" * 32),
        "certificate without height": (replace(good, certified_height=0, prepared=(), pre_prepared=()), "certificate"),
        "certificate of another height": (replace(good, certificate=network.certificate(4)), "certificate"),
        "entry of the new view": (replace(good, prepared=(replace(entry, view=3),)), "view"),
        "entry at h": (replace(good, prepared=(replace(entry, height=5),)), "window"),
        "entry above the window": (replace(good, pre_prepared=(replace(entry, height=14),)), "window"),
        "two P entries at a height": (replace(good, prepared=(entry, replace(entry, view=0))), "duplicate"),
        "a Q entry twice": (replace(good, pre_prepared=(entry, replace(entry, view=0))), "duplicate"),
        "short digest": (replace(vote, digest=b"d" * 31), "length"),
        "height 0": (replace(vote, height=0), "number"),
        "view too high": (replace(vote, view=2**63), "number"),
        "a gap in the choices": (replace(new_view, choices=(first_choice, replace(first_choice, height=8))), "order"),
        "a VIEW-CHANGE twice": (replace(new_view, view_changes=new_view.view_changes[:1] * 2), "duplicate"),
        "votes in a NEW-VIEW": (replace(new_view, view_changes=(network.sealed(0, vote),)), "kind"),
    }  # fmt: skip
    sealed["digest"] = (sealed["digest"], "digest")
    for name, (message, code) in sealed.items():
        assert refusal(network, network.sealed(1, message)) == code, name
    unsorted_certificate = replace(certificate, signatures=certificate.signatures[::-1])
    stranger = replace(certificate, signatures=((4, b"s" * 64),))
    links = {
        "unsorted signers": (CertificateNotice(certificate=unsorted_certificate), "order"),
        "a signer who is no member": (CertificateNotice(certificate=stranger), "replica"),
        "too many heights": (replace(status, prepared=tuple(range(1, 10))), "count"),
        "a voter who is no member": (replace(status, view_changes=(4,)), "replica"),
        "short signature": (replace(network.sealed(0, vote), signature=b"s" * 63), "length"),
        "an offer without a header": (SnapshotOffer(header=b"", certificate=certificate), "length"),
        "an offer of a long header": (SnapshotOffer(header=bytes(513), certificate=certificate), "length"),
        "an offer with unsorted signers": (SnapshotOffer(header=b"h", certificate=unsorted_certificate), "order"),
        "a chunk of no position": (FetchSnapshotChunk(height=5, position=b""), "length"),
        "a chunk of a long position": (FetchSnapshotChunk(height=5, position=bytes(65)), "length"),
        "a chunk of genesis": (FetchSnapshotChunk(height=0, position=b"p"), "number"),
        "an empty chunk": (SnapshotChunk(height=5, position=b"p", chunk=b""), "length"),
        "a chunk too long": (SnapshotChunk(height=5, position=b"p", chunk=bytes(CHUNK_BYTES_MAX + 1)), "length"),
        "a snapshot above any height": (FetchSnapshot(above_height=2**63), "number"),
    }  # fmt: skip
    for name, (message, code) in links.items():
        assert refusal(network, message) == code, name


def test_envelopes_nested_without_end_are_refused(network) -> None:
    """A NEW-VIEW takes VIEW-CHANGEs only, and looks before it reads: no stack overflows, no work is quadratic."""
    envelope = network.sealed(1, network.view_change())
    for _ in range(600):
        written = pb.Payload(version=1, epoch=0, sender=1, new_view=pb.NewView(view=3))
        written.new_view.view_changes.add(payload=envelope.raw, signature=envelope.signature)
        envelope = replace(envelope, raw=written.SerializeToString(deterministic=True))
    assert refusal(network, envelope) == "kind"
    assert refusal(network, Forward(envelopes=(envelope,))) == "kind"


def test_a_batch_comes_with_the_root_of_its_transactions(network) -> None:
    """It is computed for the digest, and the block's header needs it too."""
    batch = network.batch(3)
    (decoded,) = decode_peer(encode_peer(Batches(batches=(batch,))), network.rules).batches
    computed = compute_batch(batch.time_ms, batch.requests)
    expected = compute_batch_digest(batch.time_ms, [request.raw for request in batch.requests])
    assert (decoded.digest, decoded.transactions_root) == expected
    assert (computed.digest, computed.transactions_root) == expected


def test_a_batch_time_that_no_header_can_hold_is_refused(network) -> None:
    """What is decided must be storable: a faulty primary's clock never makes a block that nobody can read back."""
    batches = Batches(batches=(network.batch(1, time_ms=TIME_MAX_MS),))
    assert decode_peer(encode_peer(batches), network.rules) == batches
    batch = network.batch(1, time_ms=TIME_MAX_MS + 1)
    assert refusal(network, Batches(batches=(batch,))) == "number"
    pre_prepare = PrePrepare(epoch=0, view=1, height=6, digest=batch.digest, batch=batch)
    assert refusal(network, network.sealed(1, pre_prepare)) == "number"


def test_a_sender_who_is_no_member_and_another_version_are_refused(network) -> None:
    vote = Prepare(epoch=0, view=1, height=6, digest=b"d" * 32)
    foreign = pb.Payload(version=2, sender=1)
    foreign.votes.votes.add().prepare.height = 1
    envelope = replace(network.sealed(1, vote), raw=foreign.SerializeToString())
    assert refusal(network, envelope) == "version"
    foreign.version, foreign.sender = 1, 4
    assert refusal(network, replace(envelope, raw=foreign.SerializeToString())) == "replica"


def test_requests_are_judged_by_their_bytes_alone(network) -> None:
    """Another network's transaction and one cut short: refused wherever they appear (D42)."""
    raws = {
        "wrong_network": network.raw_transaction(1, network=b"x" * 32),
        "bad_transaction": network.raw_transaction(1)[:-1],
    }
    for code, raw in raws.items():
        with pytest.raises(WireError) as refused:
            parse_request(raw, network.rules)
        assert refused.value.code == code
        assert refusal(network, Relay(requests=(replace(network.request(1), raw=raw),))) == code


def test_a_batch_beyond_the_parameters_is_refused(network) -> None:
    """By the sum of its bytes and by its number of requests, both from the genesis."""
    rules = replace(network.rules, batch_bytes_max=len(network.request(1).raw), batch_requests_max=2)
    two, three = Batches(batches=(network.batch(1, 2),)), Batches(batches=(network.batch(1, 2, 3),))
    for message, code in ((two, "oversized"), (three, "count")):
        with pytest.raises(WireError) as refused:
            decode_peer(encode_peer(message), rules)
        assert refused.value.code == code


# ---- mutations ----


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_bytes_make_anything_but_a_message_or_a_refusal(network, frames, data) -> None:
    """M5, D9: flips, cuts, insertions and swaps in real frames: a WireError, or a message of exactly these bytes."""
    frame = data.draw(st.sampled_from(frames))
    changed = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(changed) - 1, 0)))
        kind = data.draw(st.sampled_from(("flip", "cut", "insert", "repeat")))
        if kind == "flip" and changed:
            changed[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del changed[at : at + data.draw(st.integers(1, 40))]
        elif kind == "insert":
            changed[at:at] = data.draw(st.binary(min_size=1, max_size=12))
        else:
            changed[at:at] = changed[at : at + 20]
    _message_or_refusal(bytes(changed), network)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_noise_makes_anything_but_a_refusal(network, data) -> None:
    _message_or_refusal(data, network)


@pytest.fixture(scope="module")
def frames(network) -> list[bytes]:
    return [encode_peer(message) for message in network.peer_messages().values()]


def _message_or_refusal(data: bytes, network) -> None:
    try:
        message = decode_peer(data, network.rules)
    except WireError:
        return
    assert encode_peer(message) == data


# ---- grouping and splitting ----


def test_the_votes_of_a_turn_share_an_envelope_and_nothing_else_does(network) -> None:
    """Order is kept; each PRE-PREPARE, VIEW-CHANGE and NEW-VIEW stands alone (D61)."""
    messages = network.signed_messages()
    votes = messages["votes"]
    turn = [*messages["pre_prepare"], *votes, *messages["view_change"], votes[0], *messages["new_view"]]
    options = {"sender": 0, "epoch": 0, "network": network.configuration.network, "key": network.keys[0]}
    envelopes = seal_turn(turn, rules=network.rules, **options)
    assert [len(envelope.messages) for envelope in envelopes] == [1, 3, 1, 1, 1]
    assert [message for envelope in envelopes for message in envelope.messages] == turn
    many = [replace(votes[0], height=height) for height in range(1, 2 * network.rules.votes_max)]
    assert [len(e.messages) for e in seal_turn(many, rules=network.rules, **options)] == [32, 31]


def test_an_envelope_of_mixed_kinds_or_epochs_is_never_sealed(network) -> None:
    messages = network.signed_messages()
    wrong = (
        (),
        (*messages["pre_prepare"], *messages["votes"]),
        (*messages["votes"], *messages["view_change"]),
        (replace(messages["votes"][0], epoch=1),),
    )
    for each in wrong:
        with pytest.raises(ValueError):
            network.sealed(0, *each)


def test_long_answers_are_split_and_lose_nothing(network) -> None:
    """Each part is a legal frame; put together they are the message, in order."""
    rules = network.rules
    batch, envelope = network.batch(1), network.sealed(0, *network.signed_messages()["votes"])
    answers = (
        (Batches(batches=(batch,) * (2 * BATCHES_MAX + 1)), "batches", 3),
        (Forward(envelopes=(envelope,) * 257), "envelopes", 2),
        (Relay(requests=(network.request(1),) * 501), "requests", 2),
        (FetchBatches(digests=(b"d" * 32,) * (FETCHED_DIGESTS_MAX + 1)), "digests", 2),
        (FetchBatches(digests=()), "digests", 1),
    )
    for message, name, count in answers:
        parts = [decode_peer(frame, rules) for frame in encode_peer_frames(message, rules)]
        assert len(parts) == count
        assert tuple(item for part in parts for item in getattr(part, name)) == getattr(message, name)


def test_answers_are_split_by_bytes_too(network) -> None:
    """Requests of 100 kB each: no part exceeds the bytes of a batch."""
    raw = network.raw_transaction(1, arguments=(b"x" * 100_000,))
    relay = Relay(requests=(parse_request(raw, network.rules),) * 25)
    parts = [decode_peer(frame, network.rules) for frame in encode_peer_frames(relay, network.rules)]
    assert [len(part.requests) for part in parts] == [10, 10, 5]


@pytest.mark.parametrize("batch_bytes_max", [131_072, 1_048_576, 8_388_608])
def test_two_of_the_largest_proposals_are_one_frame(network, batch_bytes_max: int) -> None:
    """M54: what convicts a primary arrives as it was sent, together, whatever a batch may hold here."""
    rules = replace(network.rules, batch_bytes_max=batch_bytes_max, batch_requests_max=500)
    (proposal,) = network.signed_messages()["pre_prepare"]
    around = rules.batch_requests_max * 5 + 100  # tags and lengths, and what surrounds the batch
    largest = replace(network.sealed(0, proposal), raw=bytes(batch_bytes_max + around))
    (frame,) = encode_peer_frames(Forward(envelopes=(largest, largest)), rules)
    assert len(frame) <= rules.peer_frame_bytes_max


def test_only_relays_are_client_traffic(network) -> None:
    for name, message in network.peer_messages().items():
        assert is_client_traffic(encode_peer(message)) == isinstance(message, Relay), name


def test_the_kind_of_a_frame_is_seen_before_it_is_read(network) -> None:
    """From its first byte, for every kind; what holds none has none."""
    for message in network.peer_messages().values():
        assert peek_kind(encode_peer(message)) is type(message)
    assert [peek_kind(data) for data in (b"", b"\x00", b"\xff", b"\x08\x01")] == [None] * 4


def test_the_largest_legal_messages_fit_into_a_frame(network) -> None:
    """The limits fit together: a NEW-VIEW with every set full, and a full batch, are frames that decode."""
    full_p = tuple(SlotEntry(height=6 + k, digest=bytes([k]) * 32, view=2**62) for k in range(8))
    full_q = tuple(SlotEntry(height=6 + k % 8, digest=k.to_bytes(32, "big"), view=2**62) for k in range(8 * 16))
    view_change: ViewChange = replace(network.view_change(), view=2**63 - 1, prepared=full_p, pre_prepared=full_q)
    new_view = replace(
        network.new_view(),
        view_changes=tuple(network.sealed(replica, view_change) for replica in range(4)),
        choices=tuple(replace(network.new_view().choices[0], height=6 + k) for k in range(8)),
    )
    envelope = network.sealed(0, new_view)
    chunk = SnapshotChunk(height=2**62, position=bytes(64), chunk=bytes(CHUNK_BYTES_MAX))
    for message in (envelope, Forward(envelopes=(envelope,)), chunk):
        assert decode_peer(encode_peer(message), network.rules) == message
