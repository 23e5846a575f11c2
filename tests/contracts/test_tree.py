"""The tree's bytes: read back to themselves, and nothing else reads as a tree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.compiler import compile_source
from contracts.standard import MANIFEST, source_of
from contracts.tree import parse_tree
from ledger.errors import EncodingError

DATA = compile_source(source_of("tariffs").encode()).to_bytes()


@pytest.mark.parametrize("name", [name for name, _ in MANIFEST])
def test_the_tree_of_a_standard_contract_reads_back(name: str) -> None:
    """Bytes to tree to bytes, for real contracts."""
    data = compile_source(source_of(name).encode()).to_bytes()
    assert parse_tree(data).to_bytes() == data


@settings(max_examples=200)
@given(st.integers(0, len(DATA) - 1), st.integers(0, 255))
def test_changed_bytes_are_another_tree_or_none(position: int, byte: int) -> None:
    """A parser that is total: a change is refused, or is the exact form of another tree."""
    changed = DATA[:position] + bytes([byte]) + DATA[position + 1 :]
    try:
        tree = parse_tree(changed)
    except EncodingError:
        return
    assert tree.to_bytes() == changed


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"\x00", b"\x98" + b"\xc0" * 8])
def test_what_is_no_tree_is_refused(data: bytes) -> None:
    """Truncated, extended, empty, of other types."""
    with pytest.raises(EncodingError):
        parse_tree(data)


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_answered(data: bytes) -> None:
    """No other exception leaves the parser."""
    with pytest.raises(EncodingError):
        parse_tree(data)
