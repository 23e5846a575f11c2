"""The keeper of nonces agrees with the chain's window, whatever order outcomes come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.admission import NONCE_WINDOW, NonceWindow
from ledger.keys import SigningKey
from ledger.transaction import verify_transaction
from pbft.client.account import Account, NonceKeeper
from pbft.client.errors import WindowFull


def test_nonces_ascend_and_the_window_bounds_them() -> None:
    """64 may be outstanding; the next one waits for the oldest (D45)."""
    keeper = NonceKeeper()
    assert [keeper.reserve() for _ in range(NONCE_WINDOW)] == list(range(NONCE_WINDOW))
    with pytest.raises(WindowFull, match=r"0\.\.63"):
        keeper.reserve()
    keeper.settle(5)
    with pytest.raises(WindowFull):
        keeper.reserve()
    keeper.settle(0)
    assert (keeper.reserve(), keeper.base) == (NONCE_WINDOW, 1)


def test_the_nonce_of_an_expired_transaction_is_handed_out_again() -> None:
    """It was proved unused: leaving it open would block the window for ever."""
    keeper = NonceKeeper()
    keeper.reserve()
    keeper.reserve()
    keeper.release(0)
    assert keeper.reserve() == 0
    assert keeper.in_flight == (0, 1)


def test_a_keeper_begins_where_the_chain_is() -> None:
    """Used nonces beyond the base are not handed out."""
    keeper = NonceKeeper(base=10, used=[10, 12, 3])
    assert (keeper.base, keeper.reserve(), keeper.reserve()) == (11, 11, 13)


def test_claiming_a_used_nonce_is_an_error() -> None:
    """A restart that claims what the chain has used would send into the void."""
    keeper = NonceKeeper(base=4, used=[6])
    for nonce in (3, 6):
        with pytest.raises(ValueError, match="used already"):
            keeper.claim(nonce)
    keeper.claim(4)
    assert keeper.in_flight == (4,)


@given(steps=st.lists(st.tuples(st.sampled_from(["reserve", "settle", "release"]), st.integers(0, 9)), max_size=300))
def test_every_nonce_handed_out_is_open_on_chain(steps: list[tuple[str, int]]) -> None:
    """The chain's own window is the oracle: what is reserved may execute, and the bases move together."""
    keeper, window = NonceKeeper(), NonceWindow()
    for step, choice in steps:
        flying = keeper.in_flight
        if step == "reserve":
            try:
                nonce = keeper.reserve()
            except WindowFull:
                inside = range(window.base, window.base + NONCE_WINDOW)
                assert all(window.is_used(nonce) or nonce in flying for nonce in inside)
                continue
            assert window.is_open(nonce)
        elif flying and step == "settle":
            nonce = flying[choice % len(flying)]
            keeper.settle(nonce)
            window = window.compute_with(nonce)
        elif flying:
            keeper.release(flying[choice % len(flying)])
        assert keeper.base == window.base


def test_an_account_signs_for_its_network() -> None:
    """The transaction carries the network and the nonce, and the strict verifier accepts it."""
    key = SigningKey.from_seed(b"a" * 32)
    account = Account(key, network=b"n" * 32)
    signed = account.sign("cash", "transfer", [b"b" * 32, 5], nonce=3, expiry_height=9, expiry_time=8, gas_limit=7)
    verify_transaction(signed)
    transaction = signed.transaction
    assert (transaction.network, transaction.sender, transaction.nonce) == (b"n" * 32, account.address, 3)
    assert transaction.arguments == (b"b" * 32, 5)
