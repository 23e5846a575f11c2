"""What declarations and bodies are made of: names, literals, type hints and the heads of functions.

Reads the small parts of the host's syntax tree, with the tables of a file (`Declarations`) to look names up in. Who
fills the tables: `declarations.py`; who reads bodies with them: `lowering.py`. Everything that is not named here is
refused with a code, a line and a column.
"""

import ast
from dataclasses import dataclass, field
from typing import Final

from contracts.errors import ContractRefused
from contracts.gas import INT_MAX, INT_MIN
from contracts.hints import DICT_KEY_KINDS, HINT_DEPTH_MAX, Hint, depth_of, is_key, is_stored
from contracts.language import (
    ELSEWHERE,
    HINT_NAMES,
    KIT_NAMES,
    METHOD_PATTERN,
    NAME_PATTERN,
    PARAMETERS_MAX,
    REFUSED_NODES,
    RESERVED,
)
from contracts.tree import InterfaceDeclaration, Parameter, Record, Scalar

_PLAIN: Final = {"int": "int", "bool": "bool", "str": "str", "bytes": "bytes", "Address": "address"}
_ENTRY_KINDS: Final = frozenset({"external", "view", "init", "scheduled", "invariant", "migrate", "signature"})
"""Kinds whose parameters and results cross the contract's boundary; a signature is a method of an interface."""


def refusal(node: ast.AST, code: str, hint: str) -> ContractRefused:
    """The refusal of the source at this node."""
    return ContractRefused(code, getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1, hint)


def unknown_syntax(node: ast.AST, otherwise: str) -> ContractRefused:
    """The refusal of syntax that no rule names, with its own code if it is a well-known one."""
    name = type(node).__name__
    code, hint = REFUSED_NODES.get(name, (otherwise, ELSEWHERE.get(otherwise, "this is not part of the language")))
    return refusal(node, code, hint)


def check_name(node: ast.AST, name: str) -> str:
    """A name that an author may give to a field, struct field or method."""
    if NAME_PATTERN.fullmatch(name) is None:
        raise refusal(node, "UNDERSCORE" if "_" in {name[0], name[-1]} else "NAME", f"{name!r} cannot be a name here")
    return name


def read_constant(node: ast.expr) -> Scalar:
    """A literal scalar, negative ints included. Refuses everything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = node.operand.value
        if type(value) is not int:
            raise refusal(node, "CONSTANT", "only ints have a sign")
        return check_literal(node, -value)
    if not isinstance(node, ast.Constant):
        raise refusal(node, "CONSTANT", "a literal int, str, bytes, bool or None is expected")
    return check_literal(node, node.value)


def check_literal(node: ast.AST, value: object) -> Scalar:
    """A literal's value, in range."""
    if type(value) is int:
        if not INT_MIN <= value <= INT_MAX:
            raise refusal(node, "INT_RANGE", "ints lie in [-2**255, 2**255)")
        return value
    if type(value) is str:
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise refusal(node, "TEXT_ESCAPE", "surrogates are not characters")
        return value
    if value is None or value is True or value is False or type(value) is bytes:
        return value
    if type(value) is float:
        raise refusal(node, "FLOAT", "only whole numbers exist; count in Wh, seconds, nano-EUR")
    raise refusal(node, "CONSTANT", "not a literal of this language")


def read_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements after a docstring."""
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str:
        return body[1:]
    return body


@dataclass(slots=True)
class Source:
    """A function that is still to be lowered."""

    node: ast.FunctionDef
    kind: str
    roles: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    result: Hint


@dataclass(slots=True)
class Declarations:
    """The tables of one file, filled by `declarations.read_module`."""

    imported: set[str] = field(default_factory=set)
    constants: dict[str, Scalar] = field(default_factory=dict)
    constant_bytes: int = 0
    """Of the values that uses of constants stand for, so far; counted when bodies are lowered."""
    classes: dict[str, str] = field(default_factory=dict)
    """Class -> its base among the kit's types."""
    structs: dict[str, Record] = field(default_factory=dict)
    events: dict[str, Record] = field(default_factory=dict)
    interfaces: dict[str, InterfaceDeclaration] = field(default_factory=dict)
    contract: str = ""
    fields: dict[str, Parameter] = field(default_factory=dict)
    functions: dict[str, Source] = field(default_factory=dict)
    """Helper functions."""
    methods: dict[str, Source] = field(default_factory=dict)

    def is_defined(self, name: str) -> bool:
        """Whether a module-level definition has this name."""
        return name in self.constants or name in self.classes or name in self.functions


def check_local(declared: Declarations, node: ast.AST, name: str) -> None:
    """A name that a local variable may have."""
    check_name(node, name)
    if name in RESERVED or declared.is_defined(name):
        raise refusal(node, "SHADOW", f"{name!r} already means something")


def name_of(node: ast.expr) -> str:
    """The name that the expression is; empty if it is more than a name."""
    return node.id if isinstance(node, ast.Name) else ""


def read_function(declared: Declarations, node: ast.FunctionDef, kind: str, roles: tuple[str, ...]) -> Source:
    """The head of a function or method of this kind; its body is looked at later. Raises ContractRefused."""
    arguments = node.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
        raise refusal(node, "SIGNATURE", "parameters are plain and positional")
    listed = list(arguments.args)
    if kind != "helper":
        if not listed or listed[0].arg != "self" or listed[0].annotation is not None:
            raise refusal(node, "SIGNATURE", "the first parameter of a method is `self`, without a type")
        listed = listed[1:]
    if len(listed) > PARAMETERS_MAX:
        raise refusal(node, "SIGNATURE", f"at most {PARAMETERS_MAX} parameters")
    plain = kind in _ENTRY_KINDS
    if plain and METHOD_PATTERN.fullmatch(node.name) is None:
        raise refusal(node, "NAME", "a method that others call is named in lower case, at most 32 characters")
    first_default = len(listed) - len(arguments.defaults)
    if first_default < 0:
        raise refusal(node, "SIGNATURE", "`self` has no default")
    parameters: dict[str, Parameter] = {}
    for position, argument in enumerate(listed):
        name = check_name(argument, argument.arg)
        if kind != "signature":
            check_local(declared, argument, name)
        if name in parameters:
            raise refusal(argument, "SHADOW", f"{name!r} is defined twice")
        if argument.annotation is None:
            raise refusal(argument, "SIGNATURE", f"{name!r} needs a type")
        hint = read_hint(declared, argument.annotation)
        if plain and not is_stored(hint):
            raise refusal(argument.annotation, "TYPE_HINT", "methods that others call take plain values")
        has_default = position >= first_default
        default = read_constant(arguments.defaults[position - first_default]) if has_default else None
        parameters[name] = Parameter(name, hint, default, has_default)
    if node.returns is None:
        raise refusal(node, "SIGNATURE", "a function says what it returns (`-> None` too)")
    result = read_hint(declared, node.returns)
    if plain and not is_stored(result):
        raise refusal(node.returns, "TYPE_HINT", "methods that others call return plain values")
    if kind == "invariant" and (parameters or result.kind != "bool"):
        raise refusal(node, "SIGNATURE", "an @invariant has no parameters and returns bool")
    return Source(node, kind, roles, tuple(parameters.values()), result)


def read_hint(declared: Declarations, node: ast.expr) -> Hint:
    """A type hint. Raises ContractRefused."""
    hint = _read_hint(declared, node)
    if depth_of(hint) > HINT_DEPTH_MAX:
        raise refusal(node, "TYPE_HINT", f"types nest at most {HINT_DEPTH_MAX} deep")
    return hint


def _read_hint(declared: Declarations, node: ast.expr) -> Hint:
    if isinstance(node, ast.Constant) and node.value is None:
        return Hint("none")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = _read_hint(declared, node.left), _read_hint(declared, node.right)
        if (left.kind == "none") == (right.kind == "none"):
            raise refusal(node, "TYPE_HINT", "the only union is `T | None`")
        return Hint("optional", arguments=(right if left.kind == "none" else left,))
    if isinstance(node, ast.Subscript):
        return _read_generic(declared, node)
    name = name_of(node)
    if name in KIT_NAMES and name not in declared.imported:
        raise refusal(node, "UNKNOWN_NAME", f"`from contracts import {name}` first")
    if name in _PLAIN:
        return Hint(_PLAIN[name])
    if name == "Ledger":
        return Hint("ledger")
    base = declared.classes.get(name, "")
    if base in {"Struct", "Event", "Interface"}:
        return Hint(base.lower(), name=name)
    if name in HINT_NAMES | {"Map", "Vec", "Indexed"}:
        raise refusal(node, "TYPE_HINT", f"say what is inside: {name}[...]")
    raise refusal(node, "TYPE_HINT", "not a type of the language")


def _read_generic(declared: Declarations, node: ast.Subscript) -> Hint:
    name = name_of(node.value)
    inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name in {"Map", "Vec", "Indexed"} and name not in declared.imported:
        raise refusal(node, "UNKNOWN_NAME", f"`from contracts import {name}` first")
    expected = {"list": 1, "dict": 2, "Map": 2, "Vec": 1, "Indexed": 1}.get(name)
    if name == "tuple" and 0 < len(inside) <= PARAMETERS_MAX:
        expected = len(inside)
    if expected != len(inside):
        raise refusal(node, "TYPE_HINT", "list[T], tuple[T, U], dict[K, V], Map[K, V], Indexed[Map[K, V]] or Vec[T]")
    arguments = tuple(_read_hint(declared, part) for part in inside)
    if name == "Indexed":
        if arguments[0].kind != "map" or not is_stored(arguments[0].arguments[1]):
            raise refusal(node, "TYPE_HINT", "Indexed[Map[K, V]] with plain values V")
        return Hint("indexed", arguments=arguments[0].arguments)
    if name == "Map" and not is_key(arguments[0]):
        raise refusal(node, "TYPE_HINT", "a key is an int, bool, str, bytes, Address, or a tuple of those")
    if name == "dict" and arguments[0].kind not in DICT_KEY_KINDS:
        raise refusal(node, "TYPE_HINT", "a key of a dict is an int, str, bytes or Address")
    return Hint(name.lower(), arguments=arguments)
