"""A dict that lost its keys takes no more time than its gas: the places of removed keys are given back."""

from contracts.values import remove_key

SIZE = 20_000


def places_of(pairs: dict[int, int]) -> int:
    """Bytes that a walk over the dict may pass."""
    return pairs.__sizeof__()


def test_what_is_left_keeps_its_order_and_little_memory() -> None:
    """Removed from the front, from the back and in between: the same keys in the same order, in proportion."""
    for removed in (range(SIZE - 3), range(3, SIZE), [key for key in range(SIZE) if key % 9_000]):
        pairs = {key: -key for key in range(SIZE)}
        shared = pairs
        full = places_of(pairs)
        for key in removed:
            assert remove_key(pairs, key) == -key
        gone = set(removed)
        kept = [key for key in range(SIZE) if key not in gone]
        assert shared is pairs and list(pairs.items()) == [(key, -key) for key in kept]
        assert places_of(pairs) < 2_048 < full


def test_a_dict_is_built_anew_seldom() -> None:
    """All keys removed, one by one: the memory shrinks a few times, not at each removal."""
    pairs = {key: key for key in range(SIZE)}
    sizes = []
    for key in range(SIZE):
        remove_key(pairs, key)
        sizes.append(places_of(pairs))
    assert len(set(sizes)) < 12
    assert all(size <= 1_024 + 256 * (SIZE - done) for done, size in enumerate(sizes, start=1))
