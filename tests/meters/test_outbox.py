"""The outbox keeps every reading until its final outcome, whatever moment the power fails at."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import encode
from ledger.errors import EncodingError, StoreError
from ledger.store import MemoryStore, Put
from meters.batch import Batch, GroupChain
from meters.outbox import (
    CHAINS,
    DELIVERED_KEPT,
    OUTBOX_TABLES,
    WAITING,
    DeliveredEntry,
    Outbox,
    OutboxEntry,
    OutboxError,
)
from meters.reading import NO_PREVIOUS, ReadingError

NETWORK = b"n" * 32
HOUR = 3600


def make_chain(register_wh: int = 1_000) -> GroupChain:
    """Two meters in one group."""
    meters = {0: ("a_load", "load", register_wh), 1: ("a_pv", "pv", register_wh)}
    return GroupChain.begin(NETWORK, "a_load", HOUR, meters)


def only(entry: OutboxEntry) -> Batch:
    """The batch of an entry that has one."""
    (batch,) = entry.batches
    return batch


def make_outbox(store: MemoryStore | None = None) -> Outbox:
    outbox = Outbox(MemoryStore(OUTBOX_TABLES) if store is None else store)
    outbox.register_group(make_chain())
    return outbox


def make_delivered(position: int, start: int) -> DeliveredEntry:
    return DeliveredEntry(
        position=position,
        start=start,
        tx_id=b"t" * 32,
        height=7,
        status="ok",
        code="",
        verdicts=("accepted",),
    )


def test_readings_join_across_intervals() -> None:
    """Sequences and registers go on from one interval to the next, meter by meter, and batches name the one before."""
    outbox = make_outbox()
    outbox.record([(HOUR, {"a_load": 10, "a_pv": 3})])
    outbox.record([(2 * HOUR, {"a_load": 20, "a_pv": 0})])
    first, second = outbox.waiting()
    names = ("a_load", "a_pv")
    load, pv = only(first).readings(names)
    later_load, later_pv = only(second).readings(names)
    assert [load.meter, pv.meter] == ["a_load", "a_pv"]
    assert (load.sequence, load.import_register, load.previous) == (1, 1_010, NO_PREVIOUS)
    assert (later_load.sequence, later_load.import_register, later_load.previous) == (2, 1_030, only(first).digest)
    assert (later_pv.export_register, later_pv.import_register) == (1_003, 0)


def test_a_meter_without_an_energy_leaves_its_place_empty() -> None:
    """Its sequence and register stand still, and go on when it speaks again; a place at the edge is not sent at all."""
    outbox = make_outbox()
    outbox.record([(HOUR, {"a_pv": 3}), (2 * HOUR, {"a_load": 10, "a_pv": 4})])
    first, second = (only(entry) for entry in outbox.waiting())
    assert (first.first, first.kinds, first.sequences, first.registers, first.energies) == (
        1,
        "e",
        (1,),
        (1_003,),
        (3,),
    )
    assert (second.kinds, second.sequences, second.registers) == ("ie", (1, 2), (1_010, 1_007))


def test_each_group_of_an_interval_has_its_batch() -> None:
    """They leave together, in one entry; each group has a chain of its own."""
    outbox = make_outbox()
    outbox.register_group(GroupChain.begin(NETWORK, "b_load", HOUR, {0: ("b_load", "load", 0)}))
    outbox.record([(HOUR, {"a_load": 1, "a_pv": 2, "b_load": 3}), (2 * HOUR, {"b_load": 4})])
    first, second = outbox.waiting()
    assert [(batch.group, batch.energies) for batch in first.batches] == [("a_load", (1, 2)), ("b_load", (3,))]
    assert (first.places, second.places) == (3, 1)
    assert only(second).previous == first.batches[1].digest


def test_intervals_are_recorded_in_order_only() -> None:
    """A clock that steps back must not put an interval behind one that may have left already."""
    outbox = make_outbox()
    outbox.record([(2 * HOUR, {"a_load": 1})])
    for start in (2 * HOUR, HOUR):
        with pytest.raises(OutboxError, match="order"):
            outbox.record([(start, {"a_load": 1})])
    with pytest.raises(OutboxError, match="order"):
        outbox.record([(4 * HOUR, {"a_load": 1}), (3 * HOUR, {"a_load": 1})])
    assert [entry.start for entry in outbox.waiting()] == [2 * HOUR]


@pytest.mark.parametrize(("energies", "code"), [({}, "empty"), ({"b_load": 1}, "unknown_meter")])
def test_what_cannot_be_recorded_changes_nothing(energies: dict[str, int], code: str) -> None:
    """A refused interval leaves no half of itself, and no gap in the chains."""
    outbox = make_outbox()
    with pytest.raises(OutboxError, match=code):
        outbox.record([(HOUR, {"a_load": 5}), (2 * HOUR, energies)])
    assert outbox.waiting() == ()
    outbox.record([(HOUR, {"a_load": 6})])
    assert only(outbox.waiting()[0]).sequences == (1,)


def test_a_nonce_is_taken_once_and_kept_by_a_replacement() -> None:
    """The first signature takes the next nonce; a replacement of an expired transaction keeps it (D45)."""
    outbox = make_outbox()
    outbox.record([(HOUR, {"a_load": 1}), (2 * HOUR, {"a_load": 2})])
    first, second = outbox.waiting()
    signed = outbox.sign(first, b"raw one")
    assert (signed.nonce, signed.raw, outbox.next_nonce) == (0, b"raw one", 1)
    again = outbox.sign(signed, b"raw one, later expiry")
    assert (again.nonce, again.raw, outbox.next_nonce) == (0, b"raw one, later expiry", 1)
    assert outbox.sign(second, b"raw two").nonce == 1


def test_delivered_entries_leave_the_queue_and_are_kept() -> None:
    """Only a final outcome takes an entry out; what it was can still be asked for."""
    outbox = make_outbox()
    outbox.record([(HOUR, {"a_load": 1}), (2 * HOUR, {"a_load": 2})])
    outbox.deliver(make_delivered(0, HOUR))
    assert [entry.start for entry in outbox.waiting()] == [2 * HOUR]
    assert outbox.delivered() == (make_delivered(0, HOUR),)


def test_outcomes_are_kept_up_to_the_limit() -> None:
    """The oldest outcome goes when there are more than DELIVERED_KEPT."""
    outbox = make_outbox()
    outbox.deliver(make_delivered(0, HOUR))
    outbox.deliver(make_delivered(DELIVERED_KEPT - 1, 2 * HOUR))
    assert [entry.position for entry in outbox.delivered()] == [0, DELIVERED_KEPT - 1]
    outbox.deliver(make_delivered(DELIVERED_KEPT, 3 * HOUR))
    assert [entry.position for entry in outbox.delivered()] == [DELIVERED_KEPT - 1, DELIVERED_KEPT]


def test_waiting_pages_through_the_queue() -> None:
    """The gateway asks for the next few after what it has sent."""
    outbox = make_outbox()
    outbox.record([(HOUR * number, {"a_load": number}) for number in range(1, 6)])
    assert [entry.position for entry in outbox.waiting(after=1, limit=2)] == [2, 3]


def test_a_failed_write_is_not_taken_for_done() -> None:
    """A full disk raises, and the outbox in memory does not run ahead of what is durable."""
    store = MemoryStore(OUTBOX_TABLES)
    outbox = make_outbox(store)
    store.fail_writes("disk")
    with pytest.raises(StoreError):
        outbox.record([(HOUR, {"a_load": 1})])
    assert (outbox.newest_start, outbox.next_nonce) == (0, 0)


@given(
    steps=st.lists(st.sampled_from(["record", "sign", "deliver", "power"]), max_size=40),
    amounts=st.lists(st.integers(0, 10**6), min_size=40, max_size=40),
)
def test_power_loss_at_any_moment_loses_and_repeats_nothing(steps: list[str], amounts: list[int]) -> None:
    """Whatever the order of records, signatures, outcomes and power losses: every Wh that was recorded is waiting or
    delivered exactly once, in order, in one unbroken chain, and no nonce was given twice.
    """
    store = MemoryStore(OUTBOX_TABLES)
    outbox = make_outbox(store)
    recorded: list[int] = []
    nonces: dict[int, int] = {}
    for step, amount in zip(steps, amounts, strict=False):
        waiting = outbox.waiting()
        unsigned = [entry for entry in waiting if entry.nonce is None]
        if step == "record":
            recorded.append(amount)
            outbox.record([(HOUR * len(recorded), {"a_load": amount})])
        elif step == "sign" and unsigned:
            signed = outbox.sign(unsigned[0], b"raw %d" % unsigned[0].position)
            assert signed.nonce is not None and signed.nonce not in nonces.values()
            nonces[signed.position] = signed.nonce
        elif step == "deliver" and waiting and waiting[0].nonce is not None:
            outbox.deliver(make_delivered(waiting[0].position, waiting[0].start))
        elif step == "power":
            store = store.after_power_loss()
            outbox = make_outbox(store)
    waiting = outbox.waiting()
    delivered = outbox.delivered()
    positions = [entry.position for entry in delivered] + [entry.position for entry in waiting]
    assert positions == list(range(len(recorded)))
    assert [only(entry).energies[0] for entry in waiting] == recorded[len(delivered) :]
    assert {entry.position: entry.nonce for entry in waiting if entry.nonce is not None} == {
        position: nonce for position, nonce in nonces.items() if position >= len(delivered)
    }
    sequences = [only(entry).sequences[0] for entry in waiting]
    assert sequences == list(range(len(delivered) + 1, len(recorded) + 1))


def test_a_group_that_has_begun_is_not_begun_again() -> None:
    """Registering at every start of the gateway must not reset a chain."""
    store = MemoryStore(OUTBOX_TABLES)
    outbox = make_outbox(store)
    outbox.record([(HOUR, {"a_load": 5})])
    outbox.register_group(make_chain(register_wh=0))
    outbox.record([(2 * HOUR, {"a_load": 5})])
    assert only(outbox.waiting()[1]).registers == (1_010,)


def test_a_meter_that_comes_later_joins_its_group() -> None:
    """A meter behind the gateway since its last start gets its place in the chain, which goes on."""
    store = MemoryStore(OUTBOX_TABLES)
    outbox = make_outbox(store)
    outbox.record([(HOUR, {"a_load": 5, "a_pv": 1})])
    later = {0: ("a_load", "load", 0), 3: ("b_load", "load", 70)}
    for _start in range(2):
        outbox = make_outbox(store)
        outbox.register_group(GroupChain.begin(NETWORK, "a_load", HOUR, later))
    outbox.record([(2 * HOUR, {"a_load": 5, "b_load": 2})])
    first, second = (only(entry) for entry in outbox.waiting())
    assert (second.kinds, second.sequences, second.registers) == ("i--i", (2, 0, 0, 1), (1_010, 0, 0, 72))
    assert second.previous == first.digest


def test_a_place_is_for_good() -> None:
    """Another meter at a place, or another kind of meter, is a defect of whoever says so: nothing is changed."""
    outbox = make_outbox()
    for meter in (("c_load", "load", 0), ("a_load", "pv", 0)):
        with pytest.raises(ReadingError, match="a_load at place 0"):
            outbox.register_group(GroupChain.begin(NETWORK, "a_load", HOUR, {0: meter, 1: ("a_pv", "pv", 0)}))
    outbox.record([(HOUR, {"a_load": 5})])
    assert only(outbox.waiting()[0]).registers == (1_005,)


def test_an_outbox_of_another_form_is_refused_aloud() -> None:
    """One that keeps a chain for each meter, as the earlier form did, or readings one by one: nothing is made of it."""
    store = MemoryStore(OUTBOX_TABLES)
    earlier = [NETWORK, "a_load", "load", HOUR, 1_000, 1, b"", bytes(32)]
    store.write([Put(CHAINS, b"a_load", encode(earlier))])
    with pytest.raises(EncodingError, match="group chain"):
        make_outbox(store)
    store.write([Put(WAITING, bytes(8), encode([0, HOUR, [[1, NETWORK, "a_load", *[0] * 12]], -1, b""]))])
    with pytest.raises(ReadingError, match="a list of 14 fields"):
        Outbox(store).waiting()


def make_town(sizes: Sequence[int], first: int = 0) -> tuple[Outbox, dict[str, int]]:
    """An outbox with a group of each size, its places from `first` on, and an energy of each meter."""
    outbox = Outbox(MemoryStore(OUTBOX_TABLES))
    energies: dict[str, int] = {}
    for number, size in enumerate(sizes):
        meters = {first + place: (f"g{number}.{place}", "load", 0) for place in range(size)}
        outbox.register_group(GroupChain.begin(NETWORK, f"g{number}", HOUR, meters))
        energies |= {name: len(energies) + place for place, (name, _, _) in enumerate(meters.values())}
    return outbox, energies


@pytest.mark.parametrize(
    ("sizes", "first", "entries"),
    [((100, 50), 0, [1, 1]), ((60, 40, 1), 0, [2, 1]), ((1,) * 9, 0, [8, 1]), ((1,) * 8, 99, [8])],
    ids=["two-groups", "up-to-the-limit", "many-groups", "high-places"],
)
def test_an_interval_leaves_in_requests_that_the_ledger_takes(
    sizes: tuple[int, ...], first: int, entries: list[int]
) -> None:
    """A gateway with more meters or groups than one request takes would lose every interval: refused as a whole."""
    outbox, energies = make_town(sizes, first)
    outbox.record([(HOUR, energies), (2 * HOUR, energies)])
    waiting = outbox.waiting()
    assert [len(entry.batches) for entry in waiting] == entries * 2
    assert [entry.position for entry in waiting] == list(range(len(waiting)))
    assert all(entry.places <= 100 and len(entry.batches) <= 8 for entry in waiting)
    assert sum(sum(batch.energies) for entry in waiting for batch in entry.batches) == 2 * sum(energies.values())
