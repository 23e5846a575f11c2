"""What a file declares: imports, constants, structs, events, interfaces, the contract's fields and its functions.

First half of the checker. Reads module level and class bodies of the host's syntax tree into tables; bodies of
functions are left to `lowering.py`. Everything not named here is refused with a code, a line and a column.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from contracts.errors import ContractRefused
from contracts.gas import INT_MAX, INT_MIN
from contracts.hints import (
    DICT_KEY_KINDS,
    HINT_DEPTH_MAX,
    STRUCT_VALUES_MAX,
    Hint,
    depth_of,
    is_field,
    is_key,
    is_stored,
)
from contracts.language import (
    HINT_NAMES,
    KIT_MARKERS,
    KIT_NAMES,
    METHOD_PATTERN,
    NAME_PATTERN,
    PARAMETERS_MAX,
    REFUSED_NODES,
    RESERVED,
)
from contracts.tree import InterfaceDeclaration, Parameter, Record, Scalar, Signature

_CLASS_BASES: Final = frozenset({"Struct", "Event", "Interface", "Contract"})
_PLAIN: Final = {"int": "int", "bool": "bool", "str": "str", "bytes": "bytes", "Address": "address"}
_ENTRY_KINDS: Final = frozenset({"external", "view", "init", "scheduled", "invariant", "migrate", "signature"})
"""Kinds whose parameters and results cross the contract's boundary; a signature is a method of an interface."""


def refusal(node: ast.AST, code: str, hint: str) -> ContractRefused:
    """The refusal of the source at this node."""
    return ContractRefused(code, getattr(node, "lineno", 0), getattr(node, "col_offset", -1) + 1, hint)


def unknown_syntax(node: ast.AST, otherwise: str) -> ContractRefused:
    """The refusal of syntax that no rule names, with its own code if it is a well-known one."""
    name = type(node).__name__
    code, hint = REFUSED_NODES.get(name, (otherwise, f"{name} is not part of the language"))
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
    """The tables of one file, filled by `read_module`."""

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


def read_module(module: ast.Module) -> Declarations:
    """The declarations of a file. Raises ContractRefused."""
    declared = Declarations()
    body = read_docstring(module.body)
    for statement in body:
        _read_name(declared, statement)
    if not declared.contract:
        raise ContractRefused("CONTRACT", 0, 0, "the file has exactly one `class X(Contract)`")
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            _read_class(declared, statement)
        elif isinstance(statement, ast.FunctionDef):
            if statement.decorator_list:
                raise refusal(statement.decorator_list[0], "DECORATOR", "helper functions have no decorators")
            declared.functions[statement.name] = _read_function(declared, statement, "helper", ())
    _check_structs(declared, body)
    return declared


def _read_name(declared: Declarations, statement: ast.stmt) -> None:
    """First pass: which names there are, so that order in the file does not matter."""
    if isinstance(statement, ast.ImportFrom):
        _read_import(declared, statement)
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        if (isinstance(statement, ast.Assign) and len(statement.targets) != 1) or not isinstance(target, ast.Name):
            raise refusal(statement, "CONSTANT", "a constant is `NAME = literal`")
        if statement.value is None:
            raise refusal(statement, "CONSTANT", "a constant has a value")
        if isinstance(statement, ast.AnnAssign):
            read_hint(declared, statement.annotation)
        _define(declared, statement, target.id)
        declared.constants[target.id] = read_constant(statement.value)
    elif isinstance(statement, ast.ClassDef):
        _define(declared, statement, statement.name)
        base = statement.bases[0] if len(statement.bases) == 1 else None
        if not isinstance(base, ast.Name) or base.id not in _CLASS_BASES or statement.keywords:
            raise refusal(statement, "CLASS", "a class derives from one of Struct, Event, Interface, Contract")
        if base.id not in declared.imported:
            raise refusal(base, "UNKNOWN_NAME", f"`from contracts import {base.id}` first")
        if statement.decorator_list:
            raise refusal(statement.decorator_list[0], "DECORATOR", "classes have no decorators")
        declared.classes[statement.name] = base.id
        if base.id == "Contract":
            if declared.contract:
                raise refusal(statement, "CONTRACT", "the file has exactly one `class X(Contract)`")
            declared.contract = statement.name
    elif isinstance(statement, ast.FunctionDef):
        _define(declared, statement, statement.name)
        declared.functions[statement.name] = Source(statement, "helper", (), (), Hint("none"))
    else:
        raise unknown_syntax(statement, "MODULE_LEVEL")


def _read_import(declared: Declarations, statement: ast.ImportFrom) -> None:
    if statement.module != "contracts" or statement.level:
        raise refusal(statement, "IMPORT", "only `from contracts import ...`")
    for alias in statement.names:
        if alias.name not in KIT_NAMES or alias.asname is not None:
            raise refusal(statement, "IMPORT", f"the kit has no {alias.name!r}, and its names are not renamed")
        declared.imported.add(alias.name)


def _define(declared: Declarations, node: ast.AST, name: str) -> None:
    check_name(node, name)
    if name in RESERVED:
        raise refusal(node, "SHADOW", f"{name!r} already means something")
    if declared.is_defined(name):
        raise refusal(node, "SHADOW", f"{name!r} is defined twice")


def _read_class(declared: Declarations, node: ast.ClassDef) -> None:
    base = declared.classes[node.name]
    if base == "Contract":
        _read_contract(declared, node)
    elif base == "Interface":
        declared.interfaces[node.name] = _read_interface(declared, node)
    else:
        record = Record(node.name, _read_fields(declared, node, is_event=base == "Event"))
        (declared.structs if base == "Struct" else declared.events)[node.name] = record


def _check_structs(declared: Declarations, body: list[ast.stmt]) -> None:
    """No struct contains itself, nests too deeply or is too large. Each is measured once, or deploy could last."""
    measured: dict[str, tuple[int, int]] = {}  # levels below a struct, values in it

    def measure(node: ast.stmt, name: str, depth: int) -> tuple[int, int]:
        if name not in measured and depth <= HINT_DEPTH_MAX:
            hints = [parameter.hint for parameter in declared.structs[name].fields]
            inner = {other for hint in hints for other in _structs_of(hint)}
            levels = max((measure(node, other, depth + 1)[0] + 1 for other in sorted(inner)), default=0)
            values = 1 + sum(_count_values(hint, measured) for hint in hints)
            measured[name] = levels, values
        if name not in measured or depth + measured[name][0] > HINT_DEPTH_MAX:
            raise refusal(node, "TYPE_HINT", "structs contain each other, or nest too deeply")
        if measured[name][1] > STRUCT_VALUES_MAX:
            raise refusal(node, "TYPE_HINT", f"a struct holds at most {STRUCT_VALUES_MAX} values, inner ones included")
        return measured[name]

    for node in body:
        if isinstance(node, ast.ClassDef) and node.name in declared.structs:
            measure(node, node.name, 0)


def _count_values(hint: Hint, measured: Mapping[str, tuple[int, int]]) -> int:
    """Values in the zero value of a field, from the sizes of structs that are known."""
    if hint.kind == "struct":
        return measured[hint.name][1]
    return 1 + (sum(_count_values(part, measured) for part in hint.arguments) if hint.kind == "tuple" else 0)


def _structs_of(hint: Hint) -> list[str]:
    return [hint.name] if hint.kind == "struct" else [name for part in hint.arguments for name in _structs_of(part)]


def _read_fields(declared: Declarations, node: ast.ClassDef, *, is_event: bool) -> tuple[Parameter, ...]:
    fields: dict[str, Parameter] = {}
    for statement in read_docstring(node.body):
        if isinstance(statement, ast.Pass):
            continue
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            raise refusal(statement, "FIELD", "this class has annotated fields only: `name: type`")
        if statement.value is not None:
            raise refusal(statement, "DEFAULT", "fields have no default values")
        name = check_name(statement, statement.target.id)
        if name in fields:
            raise refusal(statement, "SHADOW", f"{name!r} is defined twice")
        annotation, is_indexed = statement.annotation, False
        if is_event and isinstance(annotation, ast.Subscript) and _name_of(annotation.value) == "Indexed":
            annotation, is_indexed = annotation.slice, True
        hint = read_hint(declared, annotation)
        if not is_stored(hint):
            raise refusal(annotation, "TYPE_HINT", "fields of structs and events hold plain values")
        fields[name] = Parameter(name, hint, is_indexed=is_indexed)
    return tuple(fields.values())


def _read_interface(declared: Declarations, node: ast.ClassDef) -> InterfaceDeclaration:
    methods: dict[str, Signature] = {}
    for statement in read_docstring(node.body):
        if not isinstance(statement, ast.FunctionDef) or statement.decorator_list:
            raise refusal(statement, "INTERFACE", "an interface has undecorated methods with `...` as body")
        body = read_docstring(statement.body)
        is_stub = len(body) == 1 and isinstance(body[0], ast.Expr | ast.Pass)
        if is_stub and isinstance(body[0], ast.Expr):
            is_stub = isinstance(body[0].value, ast.Constant) and body[0].value.value is Ellipsis
        if not is_stub and body:
            raise refusal(statement, "INTERFACE", "the body of an interface method is `...`")
        source = _read_function(declared, statement, "signature", ())
        if statement.name in methods:
            raise refusal(statement, "SHADOW", f"{statement.name!r} is defined twice")
        methods[statement.name] = Signature(statement.name, source.parameters, source.result)
    return InterfaceDeclaration(node.name, tuple(methods.values()))


def _read_contract(declared: Declarations, node: ast.ClassDef) -> None:
    for statement in read_docstring(node.body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            if statement.value is not None:
                raise refusal(statement, "DEFAULT", "storage fields have no default values; set them in @init")
            name = check_name(statement, statement.target.id)
            hint = read_hint(declared, statement.annotation)
            if not is_field(hint):
                raise refusal(statement.annotation, "TYPE_HINT", "not a type of storage")
            _check_member(declared, statement, name)
            declared.fields[name] = Parameter(name, hint)
        elif isinstance(statement, ast.FunctionDef):
            _check_member(declared, statement, check_name(statement, statement.name))
            kind, roles = _read_markers(declared, statement)
            declared.methods[statement.name] = _read_function(declared, statement, kind, roles)
        elif not isinstance(statement, ast.Pass):
            raise unknown_syntax(statement, "FIELD")
    kinds = [source.kind for source in declared.methods.values()]
    if max(kinds.count("init"), kinds.count("migrate")) > 1:
        raise refusal(node, "DECORATOR", "at most one method is @init, and one is @migrate")


def _check_member(declared: Declarations, node: ast.AST, name: str) -> None:
    if name in declared.fields or name in declared.methods:
        raise refusal(node, "SHADOW", f"{name!r} is defined twice")


def _read_markers(declared: Declarations, node: ast.FunctionDef) -> tuple[str, tuple[str, ...]]:
    kinds: list[str] = []
    roles: list[str] = []
    for decorator in node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        name = _name_of(call.func if call is not None else decorator)
        if name not in KIT_MARKERS or name not in declared.imported:
            raise refusal(decorator, "DECORATOR", "only the kit's markers, imported: external, view, init, ...")
        if name == "role":
            if call is None or len(call.args) != 1 or call.keywords:
                raise refusal(decorator, "DECORATOR", '@role("name") names one role')
            role = read_constant(call.args[0])
            if type(role) is not str or METHOD_PATTERN.fullmatch(role) is None:
                raise refusal(decorator, "DECORATOR", "a role is a literal text of lower-case letters, digits and _")
            roles.append(role)
        elif call is not None:
            raise refusal(decorator, "DECORATOR", f"@{name} is written without brackets")
        else:
            kinds.append(name)
    if len(kinds) > 1:
        raise refusal(node, "DECORATOR", "one marker per method, and roles below it")
    kind = kinds[0] if kinds else "internal"
    if roles and kind not in {"external", "view"}:
        raise refusal(node, "DECORATOR", "@role stands below @external or @view")
    return kind, tuple(roles)


def _read_function(declared: Declarations, node: ast.FunctionDef, kind: str, roles: tuple[str, ...]) -> Source:
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


def check_local(declared: Declarations, node: ast.AST, name: str) -> None:
    """A name that a local variable may have."""
    check_name(node, name)
    if name in RESERVED or declared.is_defined(name):
        raise refusal(node, "SHADOW", f"{name!r} already means something")


def _name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


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
    name = _name_of(node)
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
    name = _name_of(node.value)
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
