"""Where the code of contracts lies in the world state, and what a transaction that brings code looks like.

A tree is stored once, under its own hash, whatever number of contracts run it or ran it; a contract's name leads to the
hash that it runs now, and to every hash that it ever ran. Who may bring code is decided by the contract `code`
(`standard/code.py`); how it comes in, by `lifecycle.py`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from contracts.errors import RuntimeInconsistency
from contracts.overlay import Overlay
from ledger.encoding import decode, encode
from ledger.errors import EncodingError
from ledger.shapes import expect_array, expect_bytes, expect_int

CODE_CONTRACT: Final = "code"
"""The one contract that may bring in code: the one that genesis deploys under this name."""
MEMBERS_CONTRACT: Final = "members"
"""The contract that knows who holds which role."""
GOVERNANCE_CONTRACT: Final = "governance"
"""The contract whose word decides on the next configuration: the one that genesis deploys under this name."""
RESERVED_NAMES: Final = frozenset({CODE_CONTRACT, MEMBERS_CONTRACT, GOVERNANCE_CONTRACT})
"""The runtime asks them by name: a network whose genesis lacks one never gets it."""
CODE_METHODS: Final = frozenset({"deploy", "upgrade"})
"""Its methods whose second argument is a source."""
CONTRACTS_MAX: Final = 1_024
"""On one network: with the next limit, what bounds the memory that woven contracts take."""
CODE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of the trees of all contracts. A worker keeps them all woven: a cache that gives contracts up would make a cheap call
weave a large one. A new worker weaves each at its first call, for no gas, at up to 830 ns a byte: all together in four
seconds, far below the watchdog of the smallest block (D54). Sources do not bound that: a dense one has a tree of ten
times its size."""
_COUNT_MAX: Final = 2**62


def source_key(contract: str) -> bytes:
    """Where a contract's source is stored, as written."""
    return f"k/{contract}/source".encode()


@lru_cache(maxsize=CONTRACTS_MAX)
def hash_key(contract: str) -> bytes:
    """Where the hash of a contract's tree is stored: what names its code."""
    return f"k/{contract}/hash".encode()


def version_key(contract: str, height: int) -> bytes:
    """Where the hashes are stored that a contract began to run at a height: a list, nearly always of one."""
    return f"k/{contract}/version/".encode() + height.to_bytes(8, "big")


def tree_key(tree_hash: bytes) -> bytes:
    """Where the canonical tree of that hash is stored."""
    return b"k/#tree/" + tree_hash


def address_key(address: bytes) -> bytes:
    """Where the name of the contract at an address is stored."""
    return b"k/#address/" + address


SIZE_KEY: Final = b"k/#size"
"""Where [number of contracts, bytes of their trees] is stored."""


def find_source(contract: str, method: str, arguments: Sequence[object]) -> bytes | None:
    """The source that a transaction brings, None where it brings none.

    Each replica has its worker check it before it prepares the transaction (D53), so nothing else becomes code."""
    if contract != CODE_CONTRACT or method not in CODE_METHODS or len(arguments) < 2:
        return None
    source = arguments[1]
    return source if type(source) is bytes else None


def read_size(overlay: Overlay) -> tuple[int, int]:
    """(contracts, bytes of their trees) on this network."""
    stored = overlay.get(SIZE_KEY)
    if stored is None:
        return 0, 0
    try:
        count, size = expect_array(decode(stored), "size", 2)
        return expect_int(count, "contracts", 0, _COUNT_MAX), expect_int(size, "bytes", 0, _COUNT_MAX)
    except EncodingError as error:
        raise RuntimeInconsistency("STATE", "the size of all code is malformed", cause=str(error)) from None


def put_version(overlay: Overlay, contract: str, height: int, tree_hash: bytes) -> None:
    """Notes that the contract runs this code from now on."""
    key = version_key(contract, height)
    stored = overlay.get(key)
    try:
        hashes = [] if stored is None else [expect_bytes(item, "hash") for item in expect_array(decode(stored), "list")]
    except EncodingError as error:
        raise RuntimeInconsistency("STATE", "a contract's history is malformed", cause=str(error)) from None
    overlay.put(key, encode([*hashes, tree_hash]))
