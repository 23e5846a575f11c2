"""Which transactions of a batch execute: nonces, order and expiry, judged at execution (D42, D43, D45, D46, D49).

A client's nonce window is part of the certified state: every nonce below `base` is used; of the next
`NONCE_WINDOW` a bitmap tells. So a client may have many requests outstanding, each executes once, and a proof that a
nonce is unused past an expiry ends an unknown outcome for ever (D47). All functions are pure.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from ledger.encoding import decode
from ledger.shapes import expect_array, expect_int
from ledger.short_forms import encode_int
from ledger.transaction import EXPIRY_AHEAD_MAX, NONCE_MAX, SignedTransaction

NONCE_WINDOW: Final = 64
"""Nonces above the contiguous used prefix that may execute: the most a client can have outstanding (D45)."""

RECENT_WINDOWS_MAX: Final = 16_384
"""Windows kept in memory, about four megabytes: more clients than a replica has transactions pending."""

NONCES_PREFIX: Final = b"n/"
"""State keys of nonce windows: prefix, client."""

NONCE_OUT_OF_WINDOW: Final = "NONCE_OUT_OF_WINDOW"
EXPIRED: Final = "EXPIRED"
EXPIRY_TOO_FAR: Final = "EXPIRY_TOO_FAR"
RETRY: Final = "RETRY"


class NonceWindow(NamedTuple):
    """The used nonces of a client: all below `base`, and base + i for every bit i of `bitmap`."""

    base: int = 0
    bitmap: int = 0  # bit 0 is never set: it would belong to the prefix

    def is_used(self, nonce: int) -> bool:
        """Whether a transaction with this nonce has executed."""
        return nonce < self.base or (nonce < self.base + NONCE_WINDOW and self.bitmap >> nonce - self.base & 1 == 1)

    def is_open(self, nonce: int) -> bool:
        """Whether a transaction with this nonce may execute now."""
        return nonce < self.base + NONCE_WINDOW and not self.is_used(nonce)

    def compute_with(self, nonce: int) -> "NonceWindow":
        """The window after an open nonce is used: advances over the contiguous prefix only (D45)."""
        bitmap = self.bitmap | 1 << nonce - self.base
        used_prefix = (~bitmap & (bitmap + 1)).bit_length() - 1  # the number of low bits that are all set
        return NonceWindow(self.base + used_prefix, bitmap >> used_prefix)

    def to_bytes(self) -> bytes:
        """The canonical bytes of the state value."""
        return b"\x92" + encode_int(self.base) + encode_int(self.bitmap)


def parse_nonce_window(data: bytes) -> NonceWindow:
    """A window from its state value. Raises EncodingError."""
    if len(data) == 3 and data[0] == 0x92 and data[1] < 0x80 and data[2] == 0:  # most have few used nonces and no gap
        return NonceWindow(data[1], 0)
    fields = expect_array(decode(data), "nonce window", 2)
    return NonceWindow(
        expect_int(fields[0], "base", 0, NONCE_MAX + 1), expect_int(fields[1], "bitmap", 0, 2**NONCE_WINDOW - 1)
    )


def nonce_key(client: bytes) -> bytes:
    """The state key of a client's nonce window."""
    return NONCES_PREFIX + client


def parse_nonce_key(key: bytes) -> bytes:
    """The client of a state key that `nonce_key` made."""
    return key[len(NONCES_PREFIX) :]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a transaction. Exactly one of three: executed, skipped, refused with a code."""

    is_executed: bool
    is_skipped: bool
    code: str  # of a refusal, else ""


EXECUTE: Final = Verdict(True, False, "")
SKIP: Final = Verdict(False, True, "")


WindowsOf: TypeAlias = Callable[[Collection[bytes]], dict[bytes, NonceWindow]]
_UNUSED: Final = NonceWindow()


class RecentWindows:
    """The nonce windows after the head, kept of the clients that asked or were executed last; the others are read.

    Doors ask for one with each request, and a block for those of all its clients, mostly the same. Two generations:
    when the younger one is full it becomes the older, and that is forgotten. To forget one window at a time, the first
    of a dictionary, would look at the places of all that were forgotten before: 3 us for each new client.
    """

    def __init__(self, read: WindowsOf, read_one: Callable[[bytes], NonceWindow]) -> None:
        self._read = read
        self._read_one = read_one
        self._young: dict[bytes, NonceWindow] = {}
        self._old: dict[bytes, NonceWindow] = {}

    def __len__(self) -> int:
        """How many windows are kept; one that is in both generations counts twice."""
        return len(self._young) + len(self._old)

    def one(self, client: bytes) -> NonceWindow:
        """The window of this client."""
        window = self._young.get(client) or self._old.get(client)
        if window is None:
            window = self._read_one(client)
            self.keep(((client, window),))
        return window

    def of(self, clients: Collection[bytes]) -> dict[bytes, NonceWindow]:
        """The windows of these clients, of all of them."""
        young, old = self._young, self._old
        windows = {client: old[client] for client in clients if client in old}
        windows.update((client, young[client]) for client in clients if client in young)
        if len(windows) < len(clients):
            missing = [client for client in clients if client not in windows]
            stored = self._read(missing)
            read = [(client, stored.get(client, _UNUSED)) for client in missing]
            windows.update(read)
            self.keep(read)
        return windows

    def keep(self, windows: Sequence[tuple[bytes, NonceWindow]]) -> None:
        """What they are now: read, or after a block."""
        for client, window in windows:
            if len(self._young) >= RECENT_WINDOWS_MAX // 2 and client not in self._young:
                self._young, self._old = {}, self._young
            self._young[client] = window

    def clear(self) -> None:
        """The head is another one."""
        self._young, self._old = {}, {}


def judge_transactions(
    transactions: Sequence[SignedTransaction], height: int, time_ms: int, windows_of: WindowsOf
) -> tuple[tuple[Verdict, ...], tuple[tuple[bytes, NonceWindow], ...]]:
    """A verdict for each transaction in batch order, and the nonce windows that change, ascending by client.

    `windows_of` gives the windows before the block of those clients that have used a nonce; it is asked once.
    An executed transaction uses its nonce whatever its outcome, so later transactions of the same batch can be judged
    before the contracts run.
    """
    windows = windows_of({signed.transaction.sender for signed in transactions})
    changed: dict[bytes, NonceWindow] = {}
    verdicts = []
    for signed in transactions:
        transaction = signed.transaction
        window = windows.get(transaction.sender, _UNUSED)
        verdict = judge_transaction(signed, height, time_ms, window)
        if verdict.is_executed:
            window = window.compute_with(transaction.nonce)
            windows[transaction.sender] = changed[transaction.sender] = window
        verdicts.append(verdict)
    return tuple(verdicts), tuple(sorted(changed.items()))


def judge_transaction(signed: SignedTransaction, height: int, time_ms: int, window: NonceWindow) -> Verdict:
    """1. A used nonce is skipped, whatever else holds: the first answer is the answer (D43). 2. Expired by height or
    agreed time: refused, the nonce stays free (D45, D46). 3. Outside the window: refused. 4. What it must follow is
    unused: refused RETRY (D49). Else it executes.
    """
    transaction = signed.transaction
    if window.is_used(transaction.nonce):
        return SKIP
    if height > transaction.expiry_height or time_ms > transaction.expiry_time * 1000:
        return Verdict(False, False, EXPIRED)
    if transaction.expiry_height > height + EXPIRY_AHEAD_MAX:  # no correct door lets it in
        return Verdict(False, False, EXPIRY_TOO_FAR)
    if not window.is_open(transaction.nonce):
        return Verdict(False, False, NONCE_OUT_OF_WINDOW)
    if transaction.follows is not None and not window.is_used(transaction.follows):
        return Verdict(False, False, RETRY)
    return EXECUTE
