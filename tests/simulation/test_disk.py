"""The simulated disk: written is not synced, and rot changes one bit, which production's checksum finds."""

from random import Random

import pytest

from ledger.errors import DamagedRecord, StoreError
from ledger.store import Delete, Operation, Put
from pbft.simulation.disk import PowerFailure, SimulatedDisk, count_whole, write_records

TRANSACTION: list[Operation] = [Put("t", b"c", b"1"), Put("t", b"d", b"2"), Delete("t", b"a")]


def test_an_interrupted_write_survives_whole_or_not_at_all() -> None:
    """Of the write in progress the disk keeps all or nothing, and both happen; completed writes always stay."""
    kept = set()
    for seed in range(20):
        disk = SimulatedDisk(("t",))
        disk.write([Put("t", b"a", b"1")])
        disk.fail_power(1)
        disk.write([Put("t", b"b", b"1")])
        with pytest.raises(PowerFailure):
            disk.write(TRANSACTION)
        assert disk.get("t", b"c") is None
        disk.process_power_loss(Random(seed))
        kept.add(bytes(key[0] for key, _ in disk.scan("t")))
        disk.write([Put("t", b"e", b"1")])
    assert kept == {b"ab", b"bcd"}


def test_any_prefix_of_the_records_may_be_there_and_the_last_one_torn() -> None:
    """At every byte of a transaction: the records before it are whole, the torn one is not, and no commit, no write."""
    records = write_records(TRANSACTION)
    counts = [count_whole(records[:arrived]) for arrived in range(len(records) + 1)]
    assert counts == sorted(counts)
    assert set(counts) == set(range(len(TRANSACTION) + 2))
    assert counts.count(len(TRANSACTION) + 1) == 1, "only with its last byte the commit record is whole"
    torn = bytearray(records)
    torn[-1] ^= 1
    assert count_whole(bytes(torn)) == len(TRANSACTION)


def test_a_full_disk_stays_failed_until_the_process_starts_again() -> None:
    """D3: after a failed write the store refuses everything, even when there is room again."""
    disk = SimulatedDisk(("t",))
    disk.fill()
    for _ in range(2):
        with pytest.raises(StoreError, match="disk_full"):
            disk.write([Put("t", b"a", b"1")])
        disk.repair()
    disk.process_power_loss(Random(1))
    disk.write([Put("t", b"a", b"1")])
    assert disk.get("t", b"a") == b"1"


@pytest.mark.parametrize("seed", range(20))
def test_rot_is_found_by_whoever_reads_the_record(seed: int) -> None:
    """By get, scan and snapshots; others are read as before, an empty table has nothing to rot, a new write mends."""
    disk = SimulatedDisk(("t",))
    assert disk.process_rot("t", Random(seed)) is None
    disk.write([Put("t", b"a", b"\x00\x00"), Put("t", b"b", b"")])
    key = disk.process_rot("t", Random(seed))
    assert key is not None
    with pytest.raises(DamagedRecord) as damage:
        disk.get("t", key)
    assert (damage.value.table, damage.value.key) == ("t", key)
    with disk.snapshot() as view:
        with pytest.raises(DamagedRecord):
            view.get("t", key)
        with pytest.raises(DamagedRecord):
            list(view.scan("t"))
    with pytest.raises(DamagedRecord):
        list(disk.scan("t"))
    assert disk.get("t", b"b" if key == b"a" else b"a") is not None
    disk.write([Put("t", key, b"new")])
    assert disk.get("t", key) == b"new"
