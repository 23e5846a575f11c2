"""An account: a signing key and the keeper of its nonces.

The chain accepts nonces inside a window of 64 above the contiguous used prefix, in any order (D45), so one account may
have that many transactions outstanding. The keeper hands out the lowest free nonce, takes back the nonce of a
transaction that has expired (its nonce was proved unused, so another may use it), and advances with the prefix. It is
pure bookkeeping: what is durable across restarts is the caller's (the gateway's outbox; or the nonce window read from
the chain).
"""

from collections.abc import Collection, Sequence
from typing import cast

from ledger.admission import NONCE_WINDOW
from ledger.encoding import Value
from ledger.keys import SigningKey
from ledger.transaction import SignedTransaction, Transaction, sign_transaction
from pbft.client.errors import WindowFull


class NonceKeeper:
    """Which nonces of one account are used, in flight, or free."""

    def __init__(self, *, base: int = 0, used: Collection[int] = ()) -> None:
        self._base = base  # the lowest nonce not known to be used: the chain's window begins here or above
        self._used = {nonce for nonce in used if nonce >= base}
        self._in_flight: set[int] = set()
        self._advance()

    @property
    def base(self) -> int:
        return self._base

    @property
    def in_flight(self) -> tuple[int, ...]:
        """Nonces handed out and not yet settled, ascending."""
        return tuple(sorted(self._in_flight))

    def reserve(self) -> int:
        """The lowest free nonce, now in flight. Raises WindowFull when the window holds none."""
        for nonce in range(self._base, self._base + NONCE_WINDOW):
            if nonce not in self._used and nonce not in self._in_flight:
                self._in_flight.add(nonce)
                return nonce
        raise WindowFull(self._base, NONCE_WINDOW)

    def claim(self, nonce: int) -> None:
        """Mark a nonce in flight that was reserved before a restart. Raises ValueError if it is used already."""
        if nonce < self._base or nonce in self._used:
            raise ValueError(f"nonce {nonce} is used already; the lowest free one is {self._base}")
        self._in_flight.add(nonce)

    def settle(self, nonce: int) -> None:
        """The chain has used this nonce, by whichever transaction."""
        self._in_flight.discard(nonce)
        if nonce >= self._base:
            self._used.add(nonce)
            self._advance()

    def release(self, nonce: int) -> None:
        """The transaction will never execute and left its nonce free: hand it out again (D45)."""
        self._in_flight.discard(nonce)

    def _advance(self) -> None:
        while self._base in self._used:
            self._used.remove(self._base)
            self._base += 1


class Account:
    """Signs transactions of one key for one network, with the nonces that its keeper hands out."""

    def __init__(self, key: SigningKey, *, network: bytes, nonces: NonceKeeper | None = None) -> None:
        self.nonces = nonces if nonces is not None else NonceKeeper()
        self._key = key
        self._network = network

    @property
    def address(self) -> bytes:
        """The 32-byte public key: the account's name on chain."""
        return self._key.public_key

    def sign(
        self,
        contract: str,
        method: str,
        arguments: Sequence[object],
        *,
        nonce: int,
        expiry_height: int,
        expiry_time: int,
        gas_limit: int,
        follows: int | None = None,
        commitments: tuple[bytes, ...] = (),
    ) -> SignedTransaction:
        """Sign a call under a nonce that `nonces` handed out. `expiry_time` is in seconds UTC of agreed time;
        `commitments` are those of the private payload that will travel beside it (`ledger.payload.make_payload`)."""
        transaction = Transaction(
            network=self._network,
            sender=self._key.public_key,
            nonce=nonce,
            expiry_height=expiry_height,
            expiry_time=expiry_time,
            gas_limit=gas_limit,
            follows=follows,
            contract=contract,
            method=method,
            arguments=cast("tuple[Value, ...]", tuple(arguments)),  # sign_transaction refuses what has no encoding
            commitments=commitments,
        )
        return sign_transaction(transaction, self._key)
