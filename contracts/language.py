"""The language as tables: every name a contract may use, and what is refused with which code and advice.

Allow-list, denied by default: an expression or statement that no lowering rule names is refused. The tables here only
give the better-known refusals their own code and hint. Rules: CONTRACTS.md section 6. Lowering: `lowering.py`.
"""

import ast
import re
from typing import Final

TREE_DEPTH_MAX: Final = 40
"""Nodes of the host's syntax tree inside each other, in one statement's expressions and blocks."""
FUNCTIONS_MAX: Final = 500
LOCALS_MAX: Final = 500
PARAMETERS_MAX: Final = 32
CODE_CHARS_MAX: Final = 64
CONSTANT_BYTES_MAX: Final = 262_144
"""What names of constants stand for, all uses together: each is a value in the tree, which would else be thousands of
times as large as its source. The tree without them has up to ten bytes for one, so all of it fits (`tree.py`)."""

KIT_TYPES: Final = frozenset({"Address", "Contract", "Event", "Indexed", "Interface", "Ledger", "Map", "Struct", "Vec"})
KIT_MARKERS: Final = frozenset({"external", "view", "init", "role", "invariant", "migrate", "scheduled"})
HOST_FUNCTIONS: Final[dict[str, tuple[int, int]]] = {  # name -> least and most arguments
    "require": (2, 2),
    "emit": (1, 1),
    "mul_div": (3, 3),
    "schedule": (2, 34),
    "canonical": (1, 1),
    "sha256": (1, 1),
    "verify_ed25519": (3, 3),
    "verify_ecdsa": (4, 4),
    "read_der_signature": (2, 2),
    "change_configuration": (1, 1),
    "deploy_contract": (3, 3),
    "upgrade_contract": (3, 3),
    "private_value": (1, 1),
}
KIT_NAMES: Final = KIT_TYPES | KIT_MARKERS | HOST_FUNCTIONS.keys() | {"ctx"}
CONTEXT_NAMES: Final = frozenset({"sender", "signer", "address", "time", "height", "network", "tx_id"})

BUILTINS: Final[dict[str, tuple[int, int]]] = {  # name -> least and most arguments
    "abs": (1, 1),
    "all": (1, 1),
    "any": (1, 1),
    "bool": (1, 1),
    "bytes": (1, 2),
    "enumerate": (1, 1),
    "int": (1, 1),
    "len": (1, 1),
    "list": (1, 1),
    "max": (1, 32),
    "min": (1, 32),
    "range": (1, 3),
    "reversed": (1, 1),
    "sorted": (1, 1),
    "str": (1, 1),
    "sum": (1, 1),
    "tuple": (1, 1),
    "zip": (1, 8),
}
VALUE_METHODS: Final[dict[str, tuple[int, int]]] = {  # of list, dict, str, bytes and storage handles
    "append": (1, 1),
    "extend": (1, 1),
    "insert": (2, 2),
    "pop": (0, 2),
    "index": (1, 1),
    "copy": (0, 0),
    "get": (1, 2),
    "items": (0, 0),
    "keys": (0, 0),
    "values": (0, 0),
    "join": (1, 1),
    "split": (0, 1),
    "strip": (0, 0),
    "startswith": (1, 1),
    "endswith": (1, 1),
    "replace": (2, 2),
    "upper": (0, 0),
    "lower": (0, 0),
    "find": (1, 1),
    "hex": (0, 0),
    "move": (3, 3),
    "mint": (2, 2),
    "burn": (2, 2),
    "total": (0, 0),
}
HINT_NAMES: Final = frozenset({"int", "bool", "str", "bytes", "list", "tuple", "dict"})

RESERVED: Final = (
    KIT_NAMES | BUILTINS.keys() | HINT_NAMES | {"self", "object", "type", "super", "print", "float", "set"}
)
"""Names that no definition and no local variable may take."""

NAME_PATTERN: Final = re.compile(r"[A-Za-z](?:[A-Za-z0-9_]{0,62}[A-Za-z0-9])?")
"""Names that an author may choose: none starts or ends with an underscore."""
CODE_PATTERN: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
"""Codes of `require` and `assert`."""
METHOD_PATTERN: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""Methods that a transaction can name."""

BINARY_OPERATORS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
}
COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}

REFUSED_NODES: Final[dict[str, tuple[str, str]]] = {
    "AsyncFor": ("ASYNC", "there is nothing to wait for in a contract"),
    "AsyncFunctionDef": ("ASYNC", "there is nothing to wait for in a contract"),
    "AsyncWith": ("ASYNC", "there is nothing to wait for in a contract"),
    "Await": ("ASYNC", "there is nothing to wait for in a contract"),
    "ClassDef": ("NESTED_CLASS", "classes are defined at module level"),
    "FunctionDef": ("NESTED_FUNCTION", "functions are defined at module level or as methods"),
    "GeneratorExp": ("GENERATOR", "use a list comprehension: [x for x in xs]"),
    "Global": ("GLOBAL", "module names are constants; state lives in self.field"),
    "Nonlocal": ("GLOBAL", "module names are constants; state lives in self.field"),
    "Import": ("IMPORT", "only `from contracts import ...` at module level"),
    "ImportFrom": ("IMPORT", "only `from contracts import ...` at module level"),
    "Lambda": ("LAMBDA", "define a helper function at module level"),
    "Match": ("MATCH", "use if and elif"),
    "NamedExpr": ("WALRUS", "assign on a line of its own"),
    "Raise": ("EXCEPTION", 'stop with require(condition, "CODE")'),
    "Set": ("SET", "a set has no order; use a dict or a sorted list"),
    "SetComp": ("SET", "a set has no order; use a dict or a sorted list"),
    "Starred": ("STAR", "write the values out"),
    "Try": ("EXCEPTION", "there are no exceptions; a failure reverts the transaction"),
    "TryStar": ("EXCEPTION", "there are no exceptions; a failure reverts the transaction"),
    "With": ("WITH", "there is nothing to open or close in a contract"),
    "Yield": ("GENERATOR", "build and return a list"),
    "YieldFrom": ("GENERATOR", "build and return a list"),
}
"""Syntax that has a name of its own among the refusals; whatever else has no rule is STATEMENT or EXPRESSION."""
ELSEWHERE: Final = {
    "MODULE_LEVEL": "a file holds imports, constants (`NAME = literal`), classes and functions",
    "FIELD": "a contract holds fields (`name: type`) and methods",
}
"""Advice by code for syntax that has no name of its own."""
