"""Sealed payloads: nothing readable without the key of the period, nor ever again once it is gone (D16)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import PayloadError, StoreError
from ledger.payload_vault import (
    PERIOD_MAX,
    PERIOD_MS,
    SEALED_OVERHEAD,
    MemoryPayloadKeys,
    PayloadKeyFiles,
    PayloadVault,
    derive_root_key,
)

TX_ID = bytes(range(32))
TIME_MS = 1_700_000_000_000
PERIOD = TIME_MS // PERIOD_MS
ROOT = derive_root_key(bytes(32))


def open_code(vault: PayloadVault, tx_id: bytes, sealed: bytes) -> str:
    """The code with which a sealed payload does not open."""
    with pytest.raises(PayloadError) as refused:
        vault.open(tx_id, sealed)
    return refused.value.code


@given(payload=st.binary(max_size=300))
def test_what_is_sealed_opens_and_shows_nothing(payload: bytes) -> None:
    """Sealing is repeatable, so journal and ledger hold one ciphertext, and it is not the text."""
    vault = PayloadVault(MemoryPayloadKeys(b"a replica"))
    sealed = vault.seal(TIME_MS, TX_ID, payload)
    assert vault.open(TX_ID, sealed) == payload
    assert vault.seal(TIME_MS, TX_ID, payload) == sealed
    assert len(sealed) == len(payload) + SEALED_OVERHEAD
    assert len(payload) < 4 or payload not in sealed


@given(place=st.integers(0, 1_000), bit=st.integers(0, 7))
def test_a_changed_bit_never_opens(place: int, bit: int) -> None:
    """Of the period, the text or the tag: damaged, or under a key that is not there; never another payload."""
    vault = PayloadVault(MemoryPayloadKeys(b"a replica"))
    sealed = bytearray(vault.seal(TIME_MS, TX_ID, b"twelve bytes"))
    sealed[place % len(sealed)] ^= 1 << bit
    assert open_code(vault, TX_ID, bytes(sealed)) in {"damaged", "erased"}


def test_a_sealed_payload_is_of_one_transaction_and_one_replica() -> None:
    """Exchanged between rows or replicas it does not open."""
    vault, other = (PayloadVault(MemoryPayloadKeys(name)) for name in (b"a", b"b"))
    sealed = vault.seal(TIME_MS, TX_ID, b"text")
    other.seal(TIME_MS, TX_ID, b"text")
    assert open_code(other, TX_ID, sealed) == open_code(vault, TX_ID[::-1], sealed) == "damaged"
    assert open_code(vault, TX_ID, sealed[: SEALED_OVERHEAD - 1]) == open_code(vault, TX_ID, b"") == "damaged"


def test_a_destroyed_key_erases_its_period_and_no_other(tmp_path: Path) -> None:
    """D16: one file gone, one day gone, wherever its ciphertext still lies."""
    vault = PayloadVault(PayloadKeyFiles(tmp_path / "keys", ROOT))
    sealed = [vault.seal(TIME_MS + day * PERIOD_MS, TX_ID, b"day %d" % day) for day in range(3)]
    (tmp_path / "keys" / f"{PERIOD + 1}.key").unlink()
    later = PayloadVault(PayloadKeyFiles(tmp_path / "keys", ROOT))
    assert [later.open(TX_ID, sealed[day]) for day in (0, 2)] == [b"day 0", b"day 2"]
    assert open_code(later, TX_ID, sealed[1]) == "erased"


def test_key_files_are_private_sealed_and_found_again(tmp_path: Path) -> None:
    """A file shows neither its key nor a payload, belongs to its owner, and opens under the same root key only."""
    drawn = b"k" * 32
    keys = PayloadKeyFiles(tmp_path / "keys", ROOT, draw=lambda length: drawn[:length])
    assert keys.find(PERIOD) is None
    assert keys.make(PERIOD) == keys.make(PERIOD) == keys.find(PERIOD) == drawn
    path = tmp_path / "keys" / f"{PERIOD}.key"
    assert path.stat().st_mode & 0o777 == 0o600 and (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert drawn not in path.read_bytes() and list((tmp_path / "keys").iterdir()) == [path]
    assert PayloadKeyFiles(tmp_path / "keys", ROOT).find(PERIOD) == drawn
    with pytest.raises(StoreError, match="damaged"):
        PayloadKeyFiles(tmp_path / "keys", derive_root_key(bytes([1]) * 32)).find(PERIOD)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-1] + b"\x00\x00"])
def test_a_damaged_key_file_is_a_failed_store(tmp_path: Path, damage) -> None:
    """It is not called erased, and never replaced by a fresh key: what lies under it would be lost for good."""
    keys = PayloadKeyFiles(tmp_path, ROOT)
    keys.make(PERIOD)
    path = tmp_path / f"{PERIOD}.key"
    path.write_bytes(damage(path.read_bytes()))
    for ask in ("find", "make"):
        with pytest.raises(StoreError, match="damaged"):
            getattr(PayloadKeyFiles(tmp_path, ROOT), ask)(PERIOD)


def test_a_key_of_another_period_does_not_pass(tmp_path: Path) -> None:
    """Files that were renamed do not open: their place is sealed into them."""
    PayloadKeyFiles(tmp_path, ROOT).make(PERIOD)
    (tmp_path / f"{PERIOD}.key").rename(tmp_path / f"{PERIOD + 1}.key")
    with pytest.raises(StoreError, match="damaged"):
        PayloadKeyFiles(tmp_path, ROOT).find(PERIOD + 1)


def test_a_directory_that_takes_no_key_is_a_failed_store(tmp_path: Path) -> None:
    """No key, no seal: the replica stops before anything is journaled in plain."""
    place = tmp_path / "file"
    place.write_text("not a directory")
    with pytest.raises(StoreError, match="io"):
        PayloadKeyFiles(place / "keys", ROOT)
    keys = PayloadKeyFiles(tmp_path / "keys", ROOT)
    (tmp_path / "keys").rmdir()
    with pytest.raises(StoreError, match="io"):
        PayloadVault(keys).seal(TIME_MS, TX_ID, b"text")
    with pytest.raises(StoreError, match="period"):
        keys.make(PERIOD_MAX + 1)


def test_a_root_key_comes_from_a_whole_seed() -> None:
    """The root key is not the seed, and a short seed is refused."""
    assert bytes(32) != ROOT and len(ROOT) == 32
    with pytest.raises(PayloadError, match="seed"):
        derive_root_key(bytes(31))
