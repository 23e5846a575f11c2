"""What a contract pays, as data of the protocol version, and how much a piece of a tree costs (CONTRACTS.md section 7).

Gas is charged before the work. The unit is one node of the tree in a *straight run*: consecutive statements up to and
with the first one that branches or loops. Right sides of and/or, arms of a conditional, loop bodies, and elements and
conditions of comprehensions are runs of their own. What a node costs beyond 1 and can be known from the tree alone is
charged with its run; what depends on sizes is charged by the operation, from its formula, never by counting what C did.

Owns the table, the limits of one call and the static costs. It is shared by every way to run a tree, as the canonical
encoding is; the meter itself lives in the machine (`host.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from contracts.tree import Node

_ECDSA: Final = MappingProxyType(
    {
        "secp192k1": 35_000,  # computed by the definition: no library of ours has this curve
        "secp192r1": 5_000,
        "secp256k1": 8_000,
        "secp256r1": 2_000,
        "secp384r1": 12_000,
        "brainpool256r1": 8_000,
        "brainpool384r1": 16_000,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GasTable:
    """Prices in gas units; one unit is 25-50 ns of this machine class and never more than 100 ns.

    A price is set so that its operation takes at most 65 ns for a unit on a quiet machine: what machines of one class
    differ by, and what a busy neighbour adds, then stays below 100 (`tests/contracts_fuzz/speed.py`). And a unit leaves
    at most one byte in the outcome of a block, which has a limit (`ledger.configuration.EXECUTION_GAS_MAX`)."""

    node: int = 1
    loop_step: int = 1
    unpack_name: int = 1
    """Each name beyond the first that a row is unpacked into."""
    operation: int = 3
    """A builtin, a method of a value, a slice, `container[key] op= value`: what looking it up and entering it takes."""
    call: int = 6
    call_argument: int = 2
    contract_call: int = 500
    contract_call_bytes: int = 8
    """Encoded argument and result bytes for one unit."""
    multiply: int = 2
    divide: int = 6
    power: int = 12
    """`**`, shifts and mul_div."""
    text: int = 1
    text_chars: int = 16
    """Characters (or bytes) produced for one unit; also characters for one memory cell."""
    text_compare_chars: int = 32
    text_search: int = 3
    """Looking for a text in another, counting or splitting, however short they are."""
    text_search_chars: int = 4
    text_search_steps: int = 512
    """Pairs of characters that a search may compare, for one unit."""
    convert: int = 12
    """int(text), str(int), an int beyond 60 bits as a key of a dict."""
    key_chars: int = 64
    """Characters of a key of a dict for one unit."""
    display: int = 2
    display_item: int = 1
    display_pair: int = 4
    append: int = 1
    insert: int = 1
    insert_items: int = 8
    """Items that insert and pop move for one unit."""
    search_item: int = 4
    equal_item: int = 8
    fold_item: int = 3
    """sum, min, max, any, all."""
    enumerate_item: int = 3
    zip_row: int = 5
    """Each row of zip, besides its items."""
    sort: int = 8
    """sorted, besides what its items cost."""
    storage_read: int = 60
    storage_read_bytes: int = 4
    """Bytes read for one unit."""
    container_byte: int = 3
    """Each byte of a container that is decoded, because each byte may be a value."""
    container_nested: int = 7
    """Each container that stands in one which is decoded, paid with the one around it: an empty one is a single byte,
    and to read it takes several bytes' time. What is declared optional pays where it is missing, too."""
    container_item: int = 5
    """Each value inside a container that is checked and encoded."""
    zero_item: int = 8
    """Each value in a struct or tuple that is read before it was ever written: it is made part by part."""
    storage_write: int = 250
    storage_write_byte: int = 2
    storage_delete: int = 100
    storage_key_free: int = 96
    """Bytes of a key that a write or a delete pays for with its fixed price: what a deleted key leaves in the block's
    outcome is then never longer than what was paid for it."""
    storage_key_byte: int = 1
    """Each byte of a written or deleted key beyond those."""
    event: int = 100
    event_byte: int = 2
    sha256: int = 20
    sha256_bytes: int = 64
    ed25519: int = 1_500
    ecdsa: Mapping[str, int] = field(default_factory=lambda: _ECDSA)
    """By curve, the SHA-256 of the message but for its length included."""
    der_signature: int = 60
    schedule: int = 400
    configuration: int = 5_000
    """Of a change of configuration; its document's bytes cost what read and written bytes cost."""
    transaction: int = 200
    transaction_bytes: int = 4
    result_byte: int = 1
    deploy: int = 10_000
    deploy_byte: int = 60
    deploy_tree_byte: int = 5
    """Of the tree, paid before it is stored and woven: one character of a dense expression is up to ten bytes of it."""


GAS_TABLES: Final = {1: GasTable()}
"""Protocol version -> prices. A changed price is a new version; old blocks keep their prices."""

GAS: Final = GAS_TABLES[1]

CALL_DEPTH_MAX: Final = 64
"""Calls inside each other, all contracts together: keeps the interpreter's own stack bounded."""
TEXT_CHARS_MAX: Final = 1_048_576
"""Longest text or byte string: no single operation may take more than about a millisecond."""
MEMORY_CELLS_MAX: Final = 4_000_000
"""Memory cells of a transaction (elements, and 16 characters of text): with at most 100 bytes each, far below the
worker's address space."""
VALUE_BYTES_MAX: Final = 65_536
"""Largest stored value: it is read and written whole."""
KEY_BYTES_MAX: Final = 400
"""Largest storage key, prefix included: stores limit keys to about 500 bytes."""
RESULT_BYTES_MAX: Final = 65_536
"""Largest result; it travels in the receipt to every client."""
EVENT_BYTES_MAX: Final = 4_096
"""Largest event."""
EVENTS_MAX: Final = 256
"""Events of one transaction."""
INT_MAX: Final = 2**255 - 1
INT_MIN: Final = -(2**255)
CONTAINER_DEPTH_MAX: Final = 16
"""Containers inside each other that are compared, encoded or stored; the encoding's own limit."""
DICT_INT_KEY_MAX: Final = 2**8
"""Ints below this in size are dict keys themselves. The interpreter hashes every int predictably: among more keys,
some can be put so that looking for one passes tens of thousands of places (0.3 ms); among these it passes 170."""
SEARCH_STEPS_MAX: Final = 3_000_000
"""Longer searches are linear in every supported interpreter: from 2,500 characters for a part of 100 or more on, from
30,000 for a shorter one."""
SCHEDULE_AHEAD_MAX_S: Final = 10 * 366 * 86_400
"""A due time lies at most about ten years ahead: the record occupies state until then."""

_BINARY_EXTRA: Final = {
    "*": GAS.multiply,
    "//": GAS.divide,
    "%": GAS.divide,
    "**": GAS.power,
    "<<": GAS.power,
    ">>": GAS.power,
}
# Children that are charged with their parent's run; the others are runs of their own.
_RUN_CHILDREN: Final = {
    "and": 1,
    "or": 1,
    "conditional": 1,
    "list_comp": 1,
    "dict_comp": 1,
    "if": 1,
    "while": 0,
    "for": 1,
}
BRANCHING_KINDS: Final = frozenset({"if", "while", "for"})


def compute_node_extra(node: Node) -> int:
    """What a node costs beyond 1, from the tree alone."""
    kind, count = node.kind, len(node.children)
    if kind == "binary":
        return _BINARY_EXTRA.get(str(node.value), 0)
    if kind in {"aug_local", "aug_field"} and type(node.value) is tuple:
        return _BINARY_EXTRA.get(str(node.value[1]), 0)
    if kind == "aug_item":
        return GAS.operation + _BINARY_EXTRA.get(str(node.value), 0)
    if kind in {"builtin", "method", "slice"}:
        return GAS.operation
    if kind == "call":
        return GAS.call + GAS.call_argument * count
    if kind == "unpack" and type(node.value) is tuple:
        return GAS.unpack_name * (len(node.value) - 1)
    if kind in {"list", "tuple", "struct", "event"}:
        return GAS.display + GAS.display_item * count
    if kind == "dict":
        return GAS.display + GAS.display_pair * (count >> 1)
    if kind == "host" and node.value == "mul_div":
        return GAS.power
    return 0


def compute_step_cost(target: Sequence[object]) -> int:
    """A step of a loop or comprehension whose target is (unpacks, slot, ...)."""
    return GAS.loop_step + GAS.unpack_name * (len(target) - 2)


def compute_run_cost(node: Node) -> int:
    """Gas of one expression or statement as part of a straight run."""
    with_it = node.children[: _RUN_CHILDREN.get(node.kind, len(node.children))]
    return GAS.node + compute_node_extra(node) + sum(compute_run_cost(child) for child in with_it)


def split_runs(statements: Sequence[Node]) -> list[tuple[int, tuple[Node, ...]]]:
    """A block's statements as straight runs, each with its cost."""
    runs: list[tuple[int, tuple[Node, ...]]] = []
    run: list[Node] = []
    for statement in statements:
        run.append(statement)
        if statement.kind in BRANCHING_KINDS:
            runs.append((sum(map(compute_run_cost, run)), tuple(run)))
            run = []
    if run:
        runs.append((sum(map(compute_run_cost, run)), tuple(run)))
    return runs


def compute_key_cost(key: bytes) -> int:
    """What the length of a storage key adds to a write or a delete."""
    return GAS.storage_key_byte * max(0, len(key) - GAS.storage_key_free)


def compute_search_cost(length: int, part: int) -> int:
    """Looking for a text of `part` characters in one of `length`. Interpreters search short texts, and for short texts,
    in steps that grow with both; how many at most is theirs, and the bound here lies above all of them."""
    steps = min(length * part, SEARCH_STEPS_MAX) // GAS.text_search_steps
    return GAS.text_search + (length + part) // GAS.text_search_chars + steps


def compute_sort_cost(count: int, weight: int) -> int:
    """8 + n + n * ceil(log2 n) * w; the real number of comparisons differs between interpreter versions."""
    return GAS.sort + count + count * max(count - 1, 0).bit_length() * weight
