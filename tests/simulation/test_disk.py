"""The simulated disk: written is not synced, and rot changes one bit."""

from random import Random

import pytest

from ledger.errors import StoreError
from ledger.store import Put
from pbft.simulation.disk import PowerFailure, SimulatedDisk


def test_an_interrupted_write_survives_whole_or_not_at_all() -> None:
    """Of the write in progress the disk keeps all or nothing, and both happen; completed writes always stay."""
    kept = set()
    for seed in range(20):
        disk = SimulatedDisk(("t",))
        disk.write([Put("t", b"a", b"1")])
        disk.fail_power(1)
        disk.write([Put("t", b"b", b"1")])
        with pytest.raises(PowerFailure):
            disk.write([Put("t", b"c", b"1"), Put("t", b"d", b"1")])
        assert disk.get("t", b"c") is None
        disk.process_power_loss(Random(seed))
        kept.add(bytes(key[0] for key, _ in disk.scan("t")))
        disk.write([Put("t", b"e", b"1")])
    assert kept == {b"ab", b"abcd"}


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


def test_rot_flips_one_bit_of_one_value() -> None:
    """And says where; an empty table has nothing to rot."""
    disk = SimulatedDisk(("t",))
    assert disk.process_rot("t", Random(1)) is None
    disk.write([Put("t", b"a", b"\x00\x00")])
    assert disk.process_rot("t", Random(1)) == b"a"
    rotten = disk.get("t", b"a")
    assert rotten is not None and int.from_bytes(rotten, "big").bit_count() == 1
