"""How often a replica was started, counted in its journal and beside its key, so that another journal is noticed (M28).

    KEYS/lock       held for as long as a replica runs with these keys, wherever its data directory is
    KEYS/starts     canonical [1, network id, consensus key, starts]: how often a journal was opened with this key
    journal         the record `starts`: how often it was opened

A journal that counts fewer starts than its key is an older copy, or the empty one of a new disk. What the key signed
since is not in it, and the others may have forgotten it too: the start is refused, before anything is asked or said.
The journal is written first. So a crash between the two leaves it ahead, which only says that the key directory is the
older one, and the next start levels them. Not noticed here: a copy that was made after the last start, and one of both
directories; for those there are the others (`core.own_key`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from ledger.encoding import decode, encode
from ledger.errors import EncodingError
from ledger.hashing import HASH_BYTES, PUBLIC_KEY_BYTES
from ledger.shapes import expect_array, expect_bytes, expect_int
from pbft.core.persisted import STARTS_KEY, DamagedJournal, encode_starts, parse_starts
from pbft.node.data_directory import StartRefused, take_lock, write_durably
from pbft.node.journal import Journal

STARTS_FILE: Final = "starts"
STARTS_BYTES_MAX: Final = 128  # a version, two of 32 bytes, a number: 80
STARTS_MAX: Final = 2**53  # any number of restarts

REPAIR: Final = (
    "what this key signed since is not known here: `keys renew`, an empty data directory, `run --recover`, and the "
    "members vote for the new key (D37)"
)


def hold_keys(directory: Path) -> Callable[[], None]:
    """Takes the lock of a key directory, and gives what lets go of it. StartRefused `second_copy`, `not_writable`."""
    try:
        return take_lock(directory / "lock").close
    except OSError as error:
        raise StartRefused("not_writable", f"{directory}: {error.strerror}: starts are counted there") from error


def count_start(directory: Path, *, network: bytes, public_key: bytes, journal: Journal) -> int:
    """Counts this start in both places, durably; gives the count.

    StartRefused: `older_journal` where the key was used with a journal that counts more, `starts_file` for a file that
    is none, `not_writable`. DamagedJournal, StoreError. To be called with the locks of both directories held.
    """
    path = directory / STARTS_FILE
    record = journal.find(STARTS_KEY)
    try:
        seen = 0 if record is None else parse_starts(record)
    except (EncodingError, ValueError) as error:
        raise DamagedJournal(STARTS_KEY, str(error)) from error
    counted = _read(path, network, public_key)
    if seen < counted:
        what = f"{path} counts {counted} starts with this key, the journal {seen}: it is an older copy, or a new one"
        raise StartRefused("older_journal", f"{what}; {REPAIR}")
    journal.append(STARTS_KEY, encode_starts(seen + 1))
    journal.sync()
    try:
        write_durably(path, encode([1, network, public_key, seen + 1]))
    except OSError as error:
        raise StartRefused("not_writable", f"{path}: {error.strerror}: starts are counted there") from error
    return seen + 1


def _read(path: Path, network: bytes, public_key: bytes) -> int:
    """The count in a file; 0 where there is none, or one of another key or network: this key has signed nothing."""
    try:
        with path.open("rb") as file:
            data = file.read(STARTS_BYTES_MAX + 1)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StartRefused("not_writable", f"{path}: {error.strerror}: starts are counted there") from error
    try:
        version, of_network, of_key, starts = expect_array(decode(data, max_bytes=STARTS_BYTES_MAX), "starts", 4)
        expect_int(version, "version", 1, 1)
        is_own = expect_bytes(of_network, "network", HASH_BYTES) == network
        is_own &= expect_bytes(of_key, "key", PUBLIC_KEY_BYTES) == public_key
        count = expect_int(starts, "starts", 1, STARTS_MAX)
    except EncodingError as error:
        text = f"{path} is damaged: {error}; if the data directory is no copy and no new one, delete this file"
        raise StartRefused("starts_file", f"{text}; else {REPAIR}") from error
    return count if is_own else 0
