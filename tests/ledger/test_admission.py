"""Nonce windows against a plain set of used nonces, and each verdict of the rules D42 to D49."""

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors.ledger import sample_chain as sample

from ledger import admission
from ledger.admission import (
    EXPIRED,
    EXPIRY_TOO_FAR,
    NONCE_OUT_OF_WINDOW,
    NONCE_WINDOW,
    RETRY,
    NonceWindow,
    RecentWindows,
    judge_transaction,
    judge_transactions,
    parse_nonce_window,
)
from ledger.errors import EncodingError
from ledger.transaction import EXPIRY_AHEAD_MAX, NONCE_MAX

NOW_S = sample.TIME_MS // 1000


@given(st.lists(st.integers(0, 200), max_size=200))
def test_a_window_is_a_set_of_used_nonces(nonces: list[int]) -> None:
    """M19: used, open and closed agree with a set, a contiguous prefix and 64 places above it."""
    window, used = NonceWindow(), set()
    for nonce in nonces:
        base = next(number for number in range(300) if number not in used)
        assert window.base == base
        assert window.is_used(nonce) == (nonce in used)
        assert window.is_open(nonce) == (nonce not in used and nonce < base + NONCE_WINDOW)
        if window.is_open(nonce):
            window = window.compute_with(nonce)
            used.add(nonce)
        assert window.bitmap < 2**NONCE_WINDOW
        assert window.bitmap & 1 == 0
        assert parse_nonce_window(window.to_bytes()) == window


def test_a_window_closes_all_at_once() -> None:
    """With 63 nonces used above a gap, the one that fills it advances over all."""
    window = NonceWindow(10, 0)
    for nonce in range(11, 74):
        window = window.compute_with(nonce)
    assert (window.base, window.bitmap) == (10, 2**64 - 2)
    assert not window.is_open(74)
    assert window.compute_with(10) == NonceWindow(74, 0)


def test_the_last_nonce() -> None:
    """The greatest nonce can be used and leaves a window that still encodes."""
    window = NonceWindow(NONCE_MAX).compute_with(NONCE_MAX)
    assert parse_nonce_window(window.to_bytes()) == NonceWindow(NONCE_MAX + 1)


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x91\x00", b"\x92\x00\xff", b"\x93\x00\x00\x00"])
def test_a_damaged_window_is_refused(data: bytes) -> None:
    """What is no window does not become one."""
    with pytest.raises(EncodingError):
        parse_nonce_window(data)


USED_5 = NonceWindow().compute_with(5)


@pytest.mark.parametrize(
    ("changes", "height", "time_ms", "code"),
    [
        ({"nonce": 0}, 10, NOW_S * 1000, ""),
        ({"nonce": 5}, 10, NOW_S * 1000, "skip"),
        ({"nonce": 5, "expiry_height": 9}, 10, NOW_S * 1000, "skip"),  # a used nonce is never answered twice (D43)
        ({"nonce": 0, "expiry_height": 10}, 10, NOW_S * 1000, ""),
        ({"nonce": 0, "expiry_height": 9}, 10, NOW_S * 1000, EXPIRED),
        ({"nonce": 0, "expiry_time": NOW_S}, 10, NOW_S * 1000, ""),
        ({"nonce": 0, "expiry_time": NOW_S}, 10, NOW_S * 1000 + 1, EXPIRED),
        ({"nonce": 0, "expiry_height": 10 + EXPIRY_AHEAD_MAX}, 10, NOW_S * 1000, ""),
        ({"nonce": 0, "expiry_height": 11 + EXPIRY_AHEAD_MAX}, 10, NOW_S * 1000, EXPIRY_TOO_FAR),
        ({"nonce": 63}, 10, NOW_S * 1000, ""),
        ({"nonce": 64}, 10, NOW_S * 1000, NONCE_OUT_OF_WINDOW),
        ({"nonce": 6, "follows": 5}, 10, NOW_S * 1000, ""),
        ({"nonce": 6, "follows": 4}, 10, NOW_S * 1000, RETRY),
        ({"nonce": 6, "follows": 6}, 10, NOW_S * 1000, RETRY),
        ({"nonce": 64, "follows": 4, "expiry_height": 9}, 10, NOW_S * 1000, EXPIRED),
    ],
)
def test_verdicts(changes: dict, height: int, time_ms: int, code: str) -> None:
    """Each rule, at its boundary, and which one speaks first."""
    nonce = changes.pop("nonce")
    verdict = judge_transaction(sample.transaction(nonce, **changes), height, time_ms, USED_5)
    assert verdict.is_skipped == (code == "skip")
    assert verdict.is_executed == (code == "")
    assert verdict.code == ("" if code == "skip" else code)


def test_a_batch_is_judged_in_order() -> None:
    """An executed transaction opens the way for its follower, and refused ones keep their nonce free."""
    batch = [
        sample.transaction(1, follows=0),
        sample.transaction(0),
        sample.transaction(2, follows=0),
        sample.transaction(70),
        sample.transaction(3, client=sample.OTHER_CLIENT),
    ]
    asked = []

    def windows_of(clients: Collection[bytes]) -> dict[bytes, NonceWindow]:
        asked.append(sorted(clients))
        return {sample.OTHER_CLIENT.public_key: NonceWindow(2, 0)}

    verdicts, windows = judge_transactions(batch, 1, NOW_S * 1000, windows_of)
    assert [verdict.code for verdict in verdicts] == [RETRY, "", "", NONCE_OUT_OF_WINDOW, ""]
    assert dict(windows) == {
        sample.CLIENT.public_key: NonceWindow(1, 0b10),
        sample.OTHER_CLIENT.public_key: NonceWindow(2, 0b10),
    }
    assert asked == [[client for client, _ in windows]], "all windows are read at once"


CLIENTS = [bytes([number]) * 32 for number in range(6)]
asks = st.lists(st.sampled_from(CLIENTS), max_size=4)
blocks = st.lists(
    st.tuples(st.sampled_from(CLIENTS), st.integers(1, 99)), max_size=3, unique_by=lambda change: change[0]
)


@given(st.lists(st.tuples(asks, blocks, st.booleans()), max_size=12))
def test_recent_windows_are_those_of_the_store(steps: list[tuple[list[bytes], list[tuple[bytes, int]], bool]]) -> None:
    """Beside a store that is asked each time: whatever is asked and executed, and however little is kept."""
    stored: dict[bytes, NonceWindow] = {}
    recent = RecentWindows(
        lambda clients: {client: stored[client] for client in clients if client in stored},
        lambda client: stored.get(client, NonceWindow()),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(admission, "RECENT_WINDOWS_MAX", 4)
        for asked, block, is_other_head in steps:
            expected = {client: stored.get(client, NonceWindow()) for client in asked}
            assert {client: recent.one(client) for client in asked[::2]} == {c: expected[c] for c in asked[::2]}
            assert recent.of(asked) == expected
            changed = [(client, NonceWindow(base)) for client, base in block]
            stored.update(changed)
            if is_other_head:
                recent.clear()
            else:
                recent.keep(changed)
            assert len(recent) <= 4


def test_recent_windows_ask_for_what_they_do_not_know_alone() -> None:
    """Once for each client, however often it asks."""
    asked: list[list[bytes]] = []

    def read(clients: Collection[bytes]) -> dict[bytes, NonceWindow]:
        asked.append(sorted(clients))
        return {}

    recent = RecentWindows(read, lambda client: read([client]).get(client, NonceWindow()))
    recent.keep([(CLIENTS[0], NonceWindow(7))])
    for _ in range(2):
        assert recent.of(CLIENTS[:2]) == {CLIENTS[0]: NonceWindow(7), CLIENTS[1]: NonceWindow()}
        assert [recent.one(client) for client in CLIENTS[:3]] == [NonceWindow(7), NonceWindow(), NonceWindow()]
    assert asked == [[CLIENTS[1]], [CLIENTS[2]]]
