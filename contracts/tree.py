"""The canonical tree: what a contract is to the replicas (CONTRACTS.md section 5).

Source is lowered to this tree once, at deploy; the tree's canonical bytes are stored and hashed, and everything that
runs, runs from it. A node has a kind, a value (a scalar or a row of scalars) and children. In the bytes the nodes are
one flat row in post-order, each child named by its position, because a tree of statements is deeper than the
encoding's nesting limit; every node but the roots is used exactly once, so one tree has one byte string.

Owns the node kinds, the declarations of a contract, bytes and hash. Meaning: `closures.py`; prices: `gas.py`.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from contracts.hints import Hint, parse_hint
from ledger.encoding import Value, decode, encode
from ledger.errors import EncodingError
from ledger.hashing import Tag, tagged_hash
from ledger.shapes import expect_array, expect_int, expect_str

TREE_VERSION: Final = 1
"""Version of the language, its node kinds and their meaning."""

TREE_BYTES_MAX: Final = 1_048_576
"""A source of 64 KiB lowers to ten times its size at most, and what its constants repeat (`CONSTANT_BYTES_MAX`)."""

Scalar: TypeAlias = bool | int | str | bytes | None

# Kind -> number of children; None: any number.
EXPRESSION_KINDS: Final[dict[str, int | None]] = {
    "const": 0,  # value: the constant
    "local": 0,  # value: slot
    "field": 0,  # value: storage field
    "ctx": 0,  # value: name
    "list": None,
    "tuple": None,
    "dict": None,  # key, value, key, value, ...
    "neg": 1,
    "not": 1,
    "binary": 2,  # value: operator
    "compare": None,  # value: operators; one child more than operators
    "is_none": 1,  # value: False for `is None`, True for `is not None`
    "and": None,
    "or": None,
    "conditional": 3,  # test, then, else
    "list_comp": None,  # value: (unpack, slot, ...); iterated, element, condition, ...
    "dict_comp": None,  # value: (unpack, slot, ...); iterated, key, value, condition, ...
    "subscript": 2,
    "slice": None,  # value: (has lower, has upper); container, bounds that are there
    "format": None,  # pieces of an f-string
    "attribute": 1,  # value: struct field
    "builtin": None,  # value: name
    "sorted": None,  # value: (key function or None, has reverse); row, reverse
    "call": None,  # value: function
    "method": None,  # value: name; receiver, arguments
    "struct": None,  # value: struct; its fields in order
    "event": None,  # value: event; its fields in order
    "interface": 1,  # value: interface; the address
    "host": None,  # value: kit function
}
STATEMENT_KINDS: Final[dict[str, int | None]] = {
    "block": None,
    "expr": 1,
    "assign": 1,  # value: slot
    "unpack": 1,  # value: slots
    "set_item": 3,  # container, index, value
    "set_field": 1,  # value: field
    "aug_local": 1,  # value: (slot, operator)
    "aug_item": 3,  # value: operator; container, index, operand
    "aug_field": 1,  # value: (field, operator)
    "del_item": 2,
    "if": 3,  # test, block, block
    "while": 2,  # test, block
    "for": 2,  # value: (unpack, slot, ...); iterated, block
    "break": 0,
    "continue": 0,
    "pass": 0,
    "return": None,  # the value, or nothing
    "assert": 2,  # condition, code
}
KINDS: Final = {**EXPRESSION_KINDS, **STATEMENT_KINDS}

FUNCTION_KINDS: Final = ("helper", "internal", "external", "view", "init", "scheduled", "invariant", "migrate")


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a body."""

    kind: str
    value: Scalar | tuple[Scalar, ...] = None
    children: "tuple[Node, ...]" = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function, or one field of a struct or event."""

    name: str
    hint: Hint
    default: Scalar = None
    has_default: bool = False
    is_indexed: bool = False
    """Of an event field: readers may search by it."""


@dataclass(frozen=True, slots=True)
class Function:
    """A method or helper."""

    name: str
    kind: str
    """One of FUNCTION_KINDS."""
    roles: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    result: Hint
    slot_count: int
    """Local variables, parameters first."""
    body: Node
    """A block."""


@dataclass(frozen=True, slots=True)
class Record:
    """A struct or an event: a name and its fields."""

    name: str
    fields: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """A method of an interface."""

    name: str
    parameters: tuple[Parameter, ...]
    result: Hint


@dataclass(frozen=True, slots=True)
class InterfaceDeclaration:
    """Another contract's methods as this contract knows them."""

    name: str
    methods: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole contract."""

    name: str
    structs: tuple[Record, ...]
    events: tuple[Record, ...]
    interfaces: tuple[InterfaceDeclaration, ...]
    fields: tuple[Parameter, ...]
    functions: tuple[Function, ...]

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return encode(self.to_plain())

    def to_plain(self) -> list[Value]:
        """What the canonical bytes encode."""
        rows = _Rows()
        functions: list[Value] = [
            [
                function.name,
                function.kind,
                list(function.roles),
                [_plain_parameter(parameter) for parameter in function.parameters],
                function.result.to_plain(),
                function.slot_count,
                rows.add(function.body),
            ]
            for function in self.functions
        ]
        interfaces: list[Value] = [
            [
                interface.name,
                [[m.name, [_plain_parameter(p) for p in m.parameters], m.result.to_plain()] for m in interface.methods],
            ]
            for interface in self.interfaces
        ]
        return [
            TREE_VERSION,
            self.name,
            [_plain_record(record) for record in self.structs],
            [_plain_record(record) for record in self.events],
            interfaces,
            [_plain_parameter(field) for field in self.fields],
            rows.nodes,
            functions,
        ]


def compute_tree_hash(tree_bytes: bytes) -> bytes:
    """The identity of a contract's code, 32 bytes."""
    return tagged_hash(Tag.CONTRACT_TREE, tree_bytes)


def parse_tree(data: bytes) -> Tree:
    """The tree whose bytes these are. Raises EncodingError for anything else."""
    parts = expect_array(decode(data, max_bytes=TREE_BYTES_MAX), "tree", 8)
    expect_int(parts[0], "tree version", TREE_VERSION, TREE_VERSION)
    nodes = _Nodes(expect_array(parts[6], "nodes"))
    tree = Tree(
        name=expect_str(parts[1], "name", 64),
        structs=tuple(_parse_record(item) for item in expect_array(parts[2], "structs")),
        events=tuple(_parse_record(item) for item in expect_array(parts[3], "events")),
        interfaces=tuple(_parse_interface(item) for item in expect_array(parts[4], "interfaces")),
        fields=tuple(_parse_parameter(item) for item in expect_array(parts[5], "fields")),
        functions=tuple(_parse_function(item, nodes) for item in expect_array(parts[7], "functions")),
    )
    if tree.to_plain() != parts:  # each value has one encoding, so these are equal where the bytes are
        raise EncodingError("shape", "the tree is not in its canonical form")
    return tree


class _Rows:
    """Nodes of all bodies as one flat row, in post-order."""

    def __init__(self) -> None:
        self.nodes: list[Value] = []

    def add(self, node: Node) -> int:
        children: list[Value] = [self.add(child) for child in node.children]
        value: Value = list(node.value) if type(node.value) is tuple else node.value  # type: ignore[assignment]
        self.nodes.append([node.kind, value, *children])
        return len(self.nodes) - 1


class _Nodes:
    """The flat row back as nodes."""

    def __init__(self, rows: list[Value]) -> None:
        self._built: list[Node] = []
        for row in rows:
            self._built.append(self._build(expect_array(row, "node")))

    def at(self, position: Value) -> Node:
        return self._built[expect_int(position, "node position", 0, len(self._built) - 1)]

    def _build(self, row: list[Value]) -> Node:
        if len(row) < 2 or type(row[0]) is not str or row[0] not in KINDS:
            raise EncodingError("shape", "unknown node kind", got=row[0] if row else None)
        kind, value = row[0], row[1]
        children = tuple(self.at(position) for position in row[2:])
        expected = KINDS[kind]
        if expected is not None and len(children) != expected:
            raise EncodingError("shape", "wrong number of children", kind=kind, expected=expected, got=len(children))
        return Node(kind, tuple(value) if type(value) is list else value, children)  # type: ignore[arg-type]


def _plain_parameter(parameter: Parameter) -> Value:
    return [
        parameter.name,
        parameter.hint.to_plain(),
        parameter.has_default,
        parameter.default,
        parameter.is_indexed,
    ]


def _plain_record(record: Record) -> Value:
    return [record.name, [_plain_parameter(field) for field in record.fields]]


def _parse_parameter(value: Value) -> Parameter:
    parts = expect_array(value, "parameter", 5)
    default = parts[3]
    if type(default) in {list, dict} or type(parts[2]) is not bool or type(parts[4]) is not bool:
        raise EncodingError("shape", "parameter default or flags")
    return Parameter(
        name=expect_str(parts[0], "parameter name", 64),
        hint=parse_hint(parts[1]),
        default=default,  # type: ignore[arg-type]
        has_default=parts[2],
        is_indexed=parts[4],
    )


def _parse_record(value: Value) -> Record:
    parts = expect_array(value, "record", 2)
    fields = tuple(_parse_parameter(item) for item in expect_array(parts[1], "fields"))
    return Record(expect_str(parts[0], "record name", 64), fields)


def _parse_interface(value: Value) -> InterfaceDeclaration:
    parts = expect_array(value, "interface", 2)
    methods = []
    for item in expect_array(parts[1], "methods"):
        name, parameters, result = expect_array(item, "method", 3)
        listed = tuple(_parse_parameter(parameter) for parameter in expect_array(parameters, "parameters"))
        methods.append(Signature(expect_str(name, "method name", 64), listed, parse_hint(result)))
    return InterfaceDeclaration(expect_str(parts[0], "interface name", 64), tuple(methods))


def _parse_function(value: Value, nodes: _Nodes) -> Function:
    name, kind, roles, parameters, result, slot_count, body = expect_array(value, "function", 7)
    if kind not in FUNCTION_KINDS:
        raise EncodingError("shape", "unknown kind of function", got=kind)
    return Function(
        name=expect_str(name, "function name", 64),
        kind=expect_str(kind, "function kind", 16),
        roles=tuple(expect_str(role, "role", 64) for role in expect_array(roles, "roles")),
        parameters=tuple(_parse_parameter(item) for item in expect_array(parameters, "parameters")),
        result=parse_hint(result),
        slot_count=expect_int(slot_count, "slots", 0, 65_536),
        body=nodes.at(body),
    )
